#include "probe.h"

#include <unistd.h>

#include "support.h"
#include "test.h"

static _Thread_local char log_text[2048];
static _Thread_local int depth;
_Thread_local int probe_errors, probe_last_error;

static const char *const event_names[PROBE_EVENTS] = {
    "create", "ready", "spawned", "spawn_error", "timeout", "wakeup", "child_done", "drop",
};

const char *probe_log(void)
{
    return log_text;
}

void probe_reset(void)
{
    log_text[0] = '\0';
    depth = 0;
    probe_errors = 0;
    probe_last_error = 0;
}

void probe_note(const char *name, const char *what)
{
    size_t used = strlen(log_text);
    (void)snprintf(log_text + used, sizeof log_text - used, "%s%s.%s", used ? " " : "", name, what);
}

static rotor_response run(rotor_machine *m, rotor_scope *scope, probe_event event)
{
    probe *p = (probe *)m;
    probe_plan *plan = p->plan;
    assert_int_equal(depth, 0);
    assert_ptr_equal(scope->machine, m);
    assert_true(rotor_loop_busy(scope->loop));
    assert_true(event == CREATE ? plan->count[CREATE] == 0 : plan->count[CREATE] == 1);
    depth++;
    plan->count[event]++;
    probe_note(plan->name, event_names[event]);
    rotor_response r = plan->on[event] ? plan->on[event](p, scope) : rotor_ok();
    depth--;
    return r;
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    probe *p = (probe *)m;
    p->plan = seed;
    p->plan->probe = p;
    p->plan->self = m->self;
    return run(m, scope, CREATE);
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    probe_plan *plan = ((probe *)m)->plan;
    plan->io = io;
    plan->events = events;
    return run(m, scope, READY);
}

static rotor_response on_spawned(rotor_machine *m, rotor_scope *scope, rotor_handle child)
{
    ((probe *)m)->plan->child = child;
    return run(m, scope, SPAWNED);
}

static rotor_response on_spawn_error(rotor_machine *m, rotor_scope *scope, int error, void *seed)
{
    probe_plan *plan = ((probe *)m)->plan;
    plan->status = error;
    plan->seed = seed;
    return run(m, scope, SPAWN_ERROR);
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    return run(m, scope, TIMEOUT);
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    return run(m, scope, WAKEUP);
}

static rotor_response on_child_done(rotor_machine *m, rotor_scope *scope, rotor_machine *child,
                                    int status)
{
    probe_plan *plan = ((probe *)m)->plan;
    plan->ended = (probe *)child;
    plan->status = status;
    return run(m, scope, CHILD_DONE);
}

static void on_drop(rotor_machine *m)
{
    probe *p = (probe *)m;
    probe_plan *plan = p->plan;
    assert_int_equal(depth, 0);
    assert_int_equal(plan->count[DROP], 0);
    plan->count[DROP]++;
    probe_note(plan->name, event_names[DROP]);
    for (size_t i = 0; i < sizeof p->io / sizeof p->io[0]; i++)
        if (p->io[i].poll.loop)
            close(p->io[i].fd);
    plan->probe = NULL;
    if (plan->dropped)
        plan->dropped(p);
}

const rotor_type probe_type = {
    .name = "probe",
    .size = sizeof(probe),
    .create = on_create,
    .ready = on_ready,
    .spawned = on_spawned,
    .spawn_error = on_spawn_error,
    .timeout = on_timeout,
    .wakeup = on_wakeup,
    .child_done = on_child_done,
    .drop = on_drop,
};

rotor_response probe_done(probe *p, rotor_scope *scope)
{
    return rotor_done();
}

rotor_response probe_error(probe *p, rotor_scope *scope)
{
    return rotor_error(UV_EIO);
}

rotor_response probe_same(probe *p, rotor_scope *scope)
{
    return rotor_same();
}

rotor_response probe_again(probe *p, rotor_scope *scope)
{
    rotor_again(scope);
    return rotor_ok();
}

rotor_response probe_wake_self(probe *p, rotor_scope *scope)
{
    assert_int_equal(rotor_wake(scope->loop, p->machine.self), 0);
    return rotor_ok();
}

rotor_response probe_spawn(probe *p, rotor_scope *scope)
{
    return rotor_spawn(scope, &probe_type, p->plan->context);
}

void probe_add(rotor_loop *loop, probe_plan *plan)
{
    assert_int_equal(rotor_add(loop, &probe_type, plan, NULL), 0);
}

void probe_turn(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_turn(loop), 0);
}

void probe_turn_at(rotor_loop *loop, uint64_t ms)
{
    test_monotonic_ms = ms;
    probe_turn(loop);
}

void probe_free(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_free(loop), 0);
}

void probe_on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    assert_int_equal(depth, 0);
    probe_errors++;
    probe_last_error = error;
    if (m->type->create == on_create)
        probe_note(((probe *)m)->plan->name, "on_error");
}
