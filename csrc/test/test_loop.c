#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "probe.h"
#include "support.h"

static rotor_loop *new_loop(uv_loop_t *uv, bool virtual)
{
    rotor_loop *loop;
    rotor_config config = {.uv = uv,
                           .clock = virtual ? &test_clock : NULL,
                           .on_error = probe_on_error,
                           .context = "context",
                           .buffer = 64};
    probe_reset();
    test_monotonic_ms = 1000;
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

static rotor_response at_once(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope));
}

/* Be told that a pipe is readable, which it is from the beginning. */
static rotor_response open_readable(probe *p, rotor_scope *scope)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[1]);
    assert_int_equal(rotor_io_open(&p->io[0], &p->machine, fds[0]), 0);
    assert_int_equal(rotor_io_want(&p->io[0], ROTOR_READABLE), 0);
    return rotor_ok();
}

/* -- looking ----------------------------------------------------------------------------------- */

static rotor_response look_around(probe *p, rotor_scope *scope)
{
    assert_int_equal(rotor_now(scope), test_monotonic_ms);
    assert_string_equal(rotor_context(scope), "context");
    assert_true(rotor_loop_busy(scope->loop));
    return rotor_done();
}

static void a_loop_tells_about_itself(void **state)
{
    rotor_loop *loop = new_loop(NULL, true);
    probe_plan a = {.name = "a", .on[WAKEUP] = look_around};
    test_wall_ms = UINT64_C(1700000000123);
    assert_int_equal(rotor_loop_now(loop), 1000);
    assert_int_equal(rotor_loop_wall(loop), test_wall_ms);
    assert_string_equal(rotor_loop_context(loop), "context");
    assert_int_equal(rotor_loop_capacity(loop), 1 << 20);
    assert_non_null(rotor_loop_uv(loop));
    assert_false(rotor_loop_busy(loop));
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_add(loop, &a);
    assert_int_equal(rotor_loop_count(loop), 1);
    rotor_wake(loop, a.self);
    test_monotonic_ms = 1234;
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 1);
    assert_int_equal(rotor_loop_now(loop), 1234);
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_free(loop);
}

static void a_loop_of_defaults(void **state)
{
    rotor_loop *loop;
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    assert_null(rotor_loop_context(loop));
    assert_true(rotor_loop_wall(loop) > UINT64_C(1600000000000));
    assert_int_equal(rotor_loop_now(loop), uv_now(rotor_loop_uv(loop)));
    assert_int_equal(rotor_loop_run(loop), 0);
    probe_turn(loop);
    probe_free(loop);
}

/* -- deadlines --------------------------------------------------------------------------------- */

static rotor_response until_context(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(*(uint64_t *)p->plan->context);
}

static void deadlines_come_in_order(void **state)
{
    rotor_loop *loop = new_loop(NULL, true);
    uint64_t at[] = {5000, 1001, 70000, 1001, 1000};
    probe_plan plans[5];
    for (int i = 0; i < 5; i++) {
        plans[i] = (probe_plan){.name = (const char *[]){"c", "b", "d", "b", "a"}[i],
                                .on[CREATE] = until_context,
                                .on[TIMEOUT] = probe_done,
                                .context = &at[i]};
        probe_add(loop, &plans[i]);
    }
    probe_reset();
    probe_turn(loop); /* passed already when it was set, but that was in another event */
    assert_string_equal(probe_log(), "a.timeout a.drop");
    test_monotonic_ms = 4999;
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.timeout a.drop b.timeout b.drop b.timeout b.drop");
    probe_reset();
    test_monotonic_ms = 70000;
    probe_turn(loop);
    assert_string_equal(probe_log(), "c.timeout c.drop d.timeout d.drop");
    probe_free(loop);
}

static void a_deadline_moves_both_ways(void **state)
{
    rotor_loop *loop = new_loop(NULL, true);
    uint64_t at = 5000;
    probe_plan a = {
        .name = "a", .on[CREATE] = until_context, .on[WAKEUP] = until_context, .context = &at};
    probe_add(loop, &a);
    for (int i = 0; i < 1000; i++) { /* extended again and again, as a busy connection does */
        at += 10;
        test_monotonic_ms += 10;
        rotor_wake(loop, a.self);
        probe_turn(loop);
    }
    assert_int_equal(a.count[TIMEOUT], 0);
    at = test_monotonic_ms + 3;
    rotor_wake(loop, a.self);
    probe_turn(loop);
    test_monotonic_ms = at - 1;
    probe_turn(loop);
    assert_int_equal(a.count[TIMEOUT], 0);
    test_monotonic_ms = at;
    probe_turn(loop);
    assert_int_equal(a.count[TIMEOUT], 1);
    probe_free(loop);
}

static rotor_response soon(probe *p, rotor_scope *scope)
{
    return p->plan->count[TIMEOUT] < 3 ? rotor_ok_until(rotor_now(scope) + 1) : rotor_done();
}

static void deadlines_wake_a_waiting_loop(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    rotor_type type = probe_type;
    probe_plan a = {.name = "a", .on[CREATE] = soon, .on[TIMEOUT] = soon};
    probe_plan b = {.name = "b", .on[CREATE] = at_once};
    type.timeout = NULL;
    probe_add(loop, &a);
    assert_int_equal(rotor_add(loop, &type, &b, NULL), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(a.count[TIMEOUT], 3);
    assert_int_equal(probe_errors, 1);
    assert_int_equal(probe_last_error, ROTOR_ETIMEDOUT);
    probe_free(loop);
}

/* -- fairness ---------------------------------------------------------------------------------- */

/* Machines that keep each other busy; it counts how long they did before `reader` had its turn. */
typedef struct contest {
    probe_plan a, b, reader;
    int rounds;
} contest;

static rotor_response play(probe *p, rotor_scope *scope)
{
    contest *c = p->plan->context;
    probe_plan *other = p->plan == &c->a ? &c->b : &c->a;
    (void)rotor_wake(scope->loop, other->self);
    return c->reader.count[READY] > 0 || ++c->rounds > 100000 ? rotor_done() : rotor_ok();
}

static rotor_response play_late(probe *p, rotor_scope *scope)
{
    rotor_response r = play(p, scope);
    r.deadline = 0;
    return r;
}

static rotor_response play_again(probe *p, rotor_scope *scope)
{
    rotor_again(scope);
    return play(p, scope);
}

static void contend(contest *c)
{
    rotor_loop *loop = new_loop(NULL, false);
    c->a.name = "a";
    c->b.name = "b";
    c->reader =
        (probe_plan){.name = "reader", .on[CREATE] = open_readable, .on[READY] = probe_done};
    c->a.context = c->b.context = c;
    probe_add(loop, &c->a);
    probe_add(loop, &c->b);
    probe_add(loop, &c->reader);
    rotor_wake(loop, c->a.self);
    rotor_wake(loop, c->b.self);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(c->reader.count[READY], 1);
    assert_in_range(c->rounds, 2, 5000);
    probe_free(loop);
}

static void endless_wakes_do_not_starve_io(void **state)
{
    contend(&(contest){.a.on[WAKEUP] = play, .b.on[WAKEUP] = play});
}

static void past_deadlines_do_not_starve_io(void **state)
{
    contend(&(contest){.a.on = {[TIMEOUT] = play_late, [WAKEUP] = play_late},
                       .b.on = {[TIMEOUT] = play_late, [WAKEUP] = play_late}});
    contend(
        &(contest){.a.on = {[TIMEOUT] = play_late, [WAKEUP] = play_late}, .b.on[WAKEUP] = play});
}

static void endless_again_does_not_starve_io(void **state)
{
    contend(&(contest){.a.on = {[READY] = play_again, [WAKEUP] = play_again},
                       .b.on = {[READY] = play_again, [WAKEUP] = play_again}});
}

typedef struct lineage {
    rotor_machine machine;
    contest *contest;
} lineage;

static const rotor_type lineage_type;

static rotor_response lineage_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    contest *c = seed;
    ((lineage *)m)->contest = c;
    if (c->reader.count[READY] == 0 && ++c->rounds < 100000)
        assert_int_equal(rotor_add(scope->loop, &lineage_type, c, NULL), 0);
    return rotor_done();
}

static const rotor_type lineage_type = {.size = sizeof(lineage), .create = lineage_create};

static void endless_adding_does_not_starve_io(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    contest c = {
        .reader = {.name = "reader", .on[CREATE] = open_readable, .on[READY] = probe_done}};
    probe_add(loop, &c.reader);
    assert_int_equal(rotor_add(loop, &lineage_type, &c, NULL), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(c.reader.count[READY], 1);
    assert_in_range(c.rounds, 2, 5000);
    probe_free(loop);
}

/* -- running and stopping ---------------------------------------------------------------------- */

static rotor_response stop(probe *p, rotor_scope *scope)
{
    rotor_loop_stop(scope->loop);
    return rotor_ok();
}

static void stop_leaves_the_machines_as_they_are(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    probe_plan a = {.name = "a", .on[WAKEUP] = stop};
    probe_add(loop, &a);
    for (int i = 1; i <= 3; i++) {
        rotor_wake(loop, a.self);
        assert_int_equal(rotor_loop_run(loop), 0);
        assert_int_equal(a.count[WAKEUP], i);
    }
    a.on[WAKEUP] = probe_done;
    rotor_wake(loop, a.self);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(a.count[DROP], 1);
    probe_free(loop);
}

static void stop_before_run_counts_once(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_done};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    rotor_loop_stop(loop);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(a.count[WAKEUP], 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(a.count[WAKEUP], 1);
    rotor_loop_stop(loop);
    probe_free(loop); /* which a pending stop does not keep from closing its handles */
}

static rotor_response run_inside(probe *p, rotor_scope *scope)
{
    assert_int_equal(rotor_loop_run(scope->loop), UV_EBUSY);
    assert_int_equal(rotor_loop_turn(scope->loop), UV_EBUSY);
    assert_int_equal(rotor_loop_free(scope->loop), UV_EBUSY);
    return rotor_ok();
}

static void on_user_timer(uv_timer_t *timer)
{
    assert_int_equal(rotor_loop_free(timer->data), UV_EBUSY);
    uv_close((uv_handle_t *)timer, NULL);
}

static void no_loop_runs_inside_itself(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    uv_timer_t timer = {.data = loop};
    probe_plan a = {.name = "a", .on[WAKEUP] = run_inside};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    uv_timer_init(rotor_loop_uv(loop), &timer);
    uv_timer_start(&timer, on_user_timer, 0, 0);
    probe_turn(loop);
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 1);
    assert_true(uv_is_closing((uv_handle_t *)&timer));
    probe_free(loop);
}

typedef struct brood {
    probe_plan parent, children[600];
    int next;
} brood;

static rotor_response spawn_next(probe *p, rotor_scope *scope)
{
    brood *b = p->plan->context;
    return b->next < 600 ? rotor_spawn(scope, &probe_type, &b->children[b->next++]) : rotor_ok();
}

/* A loop with more children to be ended than run in one event. */
static rotor_loop *new_bereaved_loop(brood *b)
{
    rotor_loop *loop = new_loop(NULL, false);
    *b = (brood){.parent = {.name = "parent", .on = {spawn_next, [SPAWNED] = spawn_next}}};
    b->parent.context = b;
    for (int i = 0; i < 600; i++)
        b->children[i] = (probe_plan){.name = "child"};
    probe_add(loop, &b->parent);
    probe_turn(loop);
    assert_int_equal(rotor_loop_count(loop), 601);
    for (int i = 0; i < 600; i++)
        rotor_end(loop, b->children[i].self, 0);
    return loop;
}

static int dropped_children(const brood *b)
{
    int n = 0;
    for (int i = 0; i < 600; i++)
        n += b->children[i].count[DROP];
    return n;
}

static void run_goes_on_until_all_is_dropped(void **state)
{
    static brood b;
    rotor_loop *loop = new_bereaved_loop(&b);
    rotor_end(loop, b.parent.self, 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(dropped_children(&b), 600);
    probe_free(loop);
}

static void children_whose_end_is_still_to_be_told(void **state)
{
    static brood b;
    rotor_loop *loop = new_bereaved_loop(&b);
    while (rotor_loop_count(loop) > 1)
        probe_turn(loop);
    assert_in_range(dropped_children(&b), 0, 599);
    probe_free(loop);
    assert_int_equal(dropped_children(&b), 600);
}

/* -- the end ----------------------------------------------------------------------------------- */

static rotor_response wait_long(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 1000000);
}

static rotor_response open_and_close(probe *p, rotor_scope *scope)
{
    open_readable(p, scope);
    rotor_io_close(&p->io[0]);
    return rotor_ok();
}

enum { WOKEN = 6, TO_END, AGAIN_TO_END, PARENT, REFUSED, CHILD, ADDER, STATES, LATE = 300 };

static probe_plan plans[STATES], late[LATE];

/* Adds more machines than are created in one event, and before them wakes its context. */
static rotor_response add_late(probe *p, rotor_scope *scope)
{
    rotor_wake(scope->loop, ((probe_plan *)p->plan->context)->self);
    for (int i = 0; i < LATE; i++)
        assert_int_equal(rotor_add(scope->loop, &probe_type, &late[i], NULL), 0);
    return rotor_ok();
}

/* Machines in every state there is between events. */
static void populate(rotor_loop *loop)
{
    static probe_plan never[1]; /* there is no room for it */
    static const probe_plan states[STATES] = {
        {.name = "idle"},
        {.name = "deadline", .on[CREATE] = wait_long},
        {.name = "due", .on[CREATE] = at_once},
        {.name = "io", .on[CREATE] = open_readable},
        {.name = "closing", .on[CREATE] = open_and_close},
        {.name = "again", .on[CREATE] = probe_again},
        {.name = "woken"},
        {.name = "to end"},
        {.name = "again and to end", .on = {probe_again, [READY] = probe_again}},
        {.name = "parent", .on[CREATE] = probe_spawn},
        {.name = "refused", .on[WAKEUP] = probe_spawn},
        {.name = "child"},
        {.name = "adder", .on[CREATE] = add_late},
    };
    for (int i = 0; i < STATES; i++)
        plans[i] = states[i];
    plans[PARENT].context = &plans[CHILD];
    plans[REFUSED].context = never;
    plans[ADDER].context = &plans[REFUSED];
    for (int i = 0; i < LATE; i++)
        late[i] = (probe_plan){.name = "late", .on[CREATE] = open_readable};
    for (int i = 0; i < LATE; i += 2) /* these have a spawn yet to come, too */
        late[i] = (probe_plan){.name = "late", .on[CREATE] = probe_spawn, .context = never};
    for (int i = 0; i < STATES; i++)
        if (i != CHILD)
            probe_add(loop, &plans[i]);
    assert_int_equal(plans[CHILD].count[CREATE], 1);
    assert_int_equal(plans[REFUSED].status, ROTOR_ECAPACITY);
    rotor_wake(loop, plans[WOKEN].self);
    rotor_end(loop, plans[TO_END].self, UV_EIO);
    rotor_end(loop, plans[AGAIN_TO_END].self, UV_EIO);
    rotor_end(loop, plans[CHILD].self, UV_EIO);
}

static void check_population(void)
{
    for (int i = 0; i < STATES; i++) {
        assert_int_equal(plans[i].count[CREATE], 1);
        assert_int_equal(plans[i].count[DROP], 1);
    }
    for (int i = 0; i < LATE; i++) {
        assert_int_equal(late[i].count[CREATE], 1);
        assert_int_equal(late[i].count[DROP], 1);
    }
}

static rotor_loop *new_full_loop(uv_loop_t *uv)
{
    rotor_loop *loop;
    rotor_config config = {.uv = uv, .capacity = STATES + LATE, .buffer = 64};
    probe_reset();
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

static void an_owned_loop_ends_in_any_state(void **state)
{
    rotor_loop *loop = new_full_loop(NULL);
    populate(loop);
    int created = 0;
    for (int i = 0; i < LATE; i++)
        created += late[i].count[CREATE];
    assert_in_range(created, 1, LATE - 1);
    probe_free(loop);
    check_population();
}

static void an_adopted_loop_ends_in_any_state(void **state)
{
    uv_loop_t uv;
    assert_int_equal(uv_loop_init(&uv), 0);
    rotor_loop *loop = new_full_loop(&uv);
    assert_ptr_equal(rotor_loop_uv(loop), &uv);
    populate(loop);
    probe_free(loop);
    check_population(); /* dropped at once */
    assert_true(test_alloc_live() > 0);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(test_alloc_live(), 0); /* released when libuv has let go */
    assert_int_equal(uv_loop_close(&uv), 0);
}

static void an_adopted_loop_is_run_by_its_owner(void **state)
{
    uv_loop_t uv;
    assert_int_equal(uv_loop_init(&uv), 0);
    rotor_loop *loop = new_loop(&uv, false);
    rotor_loop *other;
    assert_int_equal(rotor_loop_new(&other, &(rotor_config){.uv = &uv, .buffer = 64}), 0);
    probe_plan a = {.name = "a", .on[CREATE] = soon, .on[TIMEOUT] = soon};
    probe_plan b = {.name = "b", .on[CREATE] = probe_wake_self, .on[WAKEUP] = probe_done};
    probe_add(loop, &a);
    probe_add(other, &b);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0); /* which ends when the last machine does */
    assert_int_equal(a.count[TIMEOUT], 3);
    assert_int_equal(b.count[DROP], 1);
    probe_plan c = {.name = "c", .on[CREATE] = open_readable, .on[READY] = probe_done};
    probe_add(other, &c);
    assert_int_equal(rotor_loop_run(other), 0); /* the same */
    assert_int_equal(c.count[DROP], 1);
    probe_free(loop);
    probe_free(other);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&uv), 0);
}

static void meddle(probe *p)
{
    rotor_loop *loop = p->machine.loop;
    probe_plan *other = p->plan->context;
    assert_int_equal(rotor_add(loop, &probe_type, other, NULL), ROTOR_ECLOSED);
    assert_int_equal(rotor_loop_run(loop), UV_EBUSY);
    assert_int_equal(rotor_loop_free(loop), UV_EBUSY);
    if (rotor_find(loop, other->self)) {
        assert_int_equal(rotor_wake(loop, other->self), 0);
        assert_int_equal(rotor_end(loop, other->self, 0), 0);
    }
}

static void drop_cannot_revive_an_ending_loop(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    probe_plan a = {.name = "a", .dropped = meddle}, b = {.name = "b", .dropped = meddle};
    a.context = &b;
    b.context = &a;
    probe_add(loop, &a);
    probe_add(loop, &b);
    probe_free(loop);
    assert_string_equal(probe_log(), "a.create b.create a.drop b.drop");
}

/* -- threads ----------------------------------------------------------------------------------- */

static rotor_response tick(probe *p, rotor_scope *scope)
{
    return p->plan->count[TIMEOUT] < 10 ? rotor_ok_until(rotor_now(scope)) : rotor_done();
}

static void *run_a_loop(void *result)
{
    rotor_loop *loop;
    if (rotor_loop_new(&loop, &(rotor_config){.on_error = probe_on_error}))
        return NULL;
    probe_plan child = {.name = "child", .on[CREATE] = tick, .on[TIMEOUT] = tick};
    probe_plan a = {.name = "a",
                    .on = {probe_spawn, [SPAWNED] = wait_long, [CHILD_DONE] = probe_done},
                    .context = &child};
    if (rotor_add(loop, &probe_type, &a, NULL) || rotor_loop_run(loop) || rotor_loop_free(loop))
        return NULL;
    *(int *)result = child.count[TIMEOUT] + a.count[DROP];
    return NULL;
}

static void several_loops_in_several_threads(void **state)
{
    enum { N = 4 };
    pthread_t threads[N];
    int results[N] = {0};
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_a_loop, &results[i]), 0);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], 11);
    }
}

/* -- signals ----------------------------------------------------------------------------------- */

static void count_signal(rotor_loop *loop, int signum, void *context)
{
    assert_true(rotor_loop_busy(loop));
    assert_int_equal(signum, SIGUSR1);
    ++*(int *)context;
}

static bool is_handled(int signum)
{
    struct sigaction action;
    assert_int_equal(sigaction(signum, NULL, &action), 0);
    return action.sa_handler != SIG_DFL;
}

static void signals_are_events(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    int first = 0, second = 0;
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR1, count_signal, &first), 0);
    assert_int_equal(rotor_loop_run(loop), 0); /* it does not keep the loop running */
    probe_plan a = {.name = "a"};
    probe_add(loop, &a);
    raise(SIGUSR1);
    assert_int_equal(first, 0);
    probe_turn(loop);
    assert_int_equal(first, 1);
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR1, count_signal, &second), 0);
    raise(SIGUSR1);
    probe_turn(loop);
    assert_int_equal(first, 1);
    assert_int_equal(second, 1);

    assert_true(is_handled(SIGUSR1));
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR1, NULL, NULL), 0);
    assert_false(is_handled(SIGUSR1)); /* the process gets it as if nothing had been */
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR1, NULL, NULL), 0);
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR2, NULL, NULL), 0);
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR1, count_signal, &first), 0);
    raise(SIGUSR1);
    probe_turn(loop);
    assert_int_equal(first, 2);
    assert_int_equal(rotor_loop_on_signal(loop, SIGKILL, count_signal, &first), UV_EINVAL);
    raise(SIGUSR1); /* one on its way when the loop ends */
    probe_free(loop);
    assert_int_equal(first, 2);
    assert_false(is_handled(SIGUSR1));
}

static void stop_on_signal(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
    assert_int_equal(rotor_add(loop, &probe_type, context, NULL),
                     0); /* queued, as in a transition */
    assert_int_equal(((probe_plan *)context)->count[CREATE], 0);
}

static rotor_response raise_signal(probe *p, rotor_scope *scope)
{
    raise(SIGUSR2);
    return rotor_ok();
}

static void a_signal_may_stop_the_loop(void **state)
{
    rotor_loop *loop = new_loop(NULL, false);
    probe_plan added = {.name = "added"};
    probe_plan a = {.name = "a", .on[WAKEUP] = raise_signal};
    assert_int_equal(rotor_loop_on_signal(loop, SIGUSR2, stop_on_signal, &added), 0);
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_string_equal(probe_log(), "a.create a.wakeup added.create");
    probe_free(loop);
}

/* -- failures ---------------------------------------------------------------------------------- */

static void setting_up(void)
{
    rotor_loop *loop;
    int error = rotor_loop_new(&loop, &(rotor_config){.buffer = 64});
    if (error) {
        assert_int_equal(error, UV_ENOMEM);
        assert_null(loop);
        return;
    }
    int count = 0;
    error = rotor_loop_on_signal(loop, SIGUSR1, count_signal, &count);
    assert_int_equal(error, test_alloc_failed() ? UV_ENOMEM : 0);
    probe_free(loop);
}

static void out_of_memory(void **state)
{
    test_out_of_memory(setting_up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loop_tells_about_itself),
        TEST(a_loop_of_defaults),
        TEST(deadlines_come_in_order),
        TEST(a_deadline_moves_both_ways),
        TEST(deadlines_wake_a_waiting_loop),
        TEST(endless_wakes_do_not_starve_io),
        TEST(past_deadlines_do_not_starve_io),
        TEST(endless_again_does_not_starve_io),
        TEST(endless_adding_does_not_starve_io),
        TEST(stop_leaves_the_machines_as_they_are),
        TEST(stop_before_run_counts_once),
        TEST(no_loop_runs_inside_itself),
        TEST(run_goes_on_until_all_is_dropped),
        TEST(children_whose_end_is_still_to_be_told),
        TEST(an_owned_loop_ends_in_any_state),
        TEST(an_adopted_loop_ends_in_any_state),
        TEST(an_adopted_loop_is_run_by_its_owner),
        TEST(drop_cannot_revive_an_ending_loop),
        TEST(several_loops_in_several_threads),
        TEST(signals_are_events),
        TEST(a_signal_may_stop_the_loop),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
