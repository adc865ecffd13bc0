#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "probe.h"
#include "support.h"

static rotor_loop *new_loop(size_t capacity)
{
    rotor_loop *loop;
    rotor_config config = {
        .capacity = capacity, .clock = &test_clock, .on_error = probe_on_error, .buffer = 64};
    probe_reset();
    test_monotonic_ms = 1000;
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

static void add(rotor_loop *loop, probe_plan *plan)
{
    assert_int_equal(rotor_add(loop, &probe_type, plan, NULL), 0);
}

static void turn(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_turn(loop), 0);
}

static void turn_at(rotor_loop *loop, uint64_t ms)
{
    test_monotonic_ms = ms;
    turn(loop);
}

static void end_loop(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_free(loop), 0);
}

/* -- creating and ending ----------------------------------------------------------------------- */

static void created_at_once_and_dropped_with_the_loop(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a"};
    rotor_handle handle;
    assert_int_equal(rotor_add(loop, &probe_type, &a, &handle), 0);
    assert_string_equal(probe_log(), "a.create");
    assert_int_equal(rotor_loop_count(loop), 1);
    assert_ptr_equal(rotor_find(loop, handle), a.probe);
    assert_false(rotor_loop_busy(loop));
    end_loop(loop);
    assert_string_equal(probe_log(), "a.create a.drop");
}

static rotor_response spawn_context(probe *p, rotor_scope *scope)
{
    return rotor_spawn(scope, &probe_type, p->plan->context);
}

static rotor_response timeout_now(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope));
}

static rotor_response wake_self(probe *p, rotor_scope *scope)
{
    assert_int_equal(rotor_wake(scope->loop, p->machine.self), 0);
    return rotor_ok();
}

/* Bring the machine into the transition `last`, which ends it as `end` does. */
static void end_in(probe_event last, rotor_response (*end)(probe *, rotor_scope *))
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {.name = "a", .context = &child};
    bool failed = end == probe_error;
    if (last == READY)
        a.on[CREATE] = probe_again;
    else if (last == TIMEOUT)
        a.on[CREATE] = timeout_now;
    else if (last == WAKEUP)
        a.on[CREATE] = wake_self;
    else if (last != CREATE)
        a.on[CREATE] = spawn_context;
    if (last == SPAWN_ERROR)
        child.on[CREATE] = probe_error;
    if (last == CHILD_DONE)
        child.on[WAKEUP] = probe_error;
    a.on[last] = end;

    int error = rotor_add(loop, &probe_type, &a, NULL);
    assert_int_equal(error, failed && last == CREATE ? UV_EIO : 0);
    if (last == CHILD_DONE)
        assert_int_equal(rotor_wake(loop, child.self), 0);
    turn(loop);
    assert_int_equal(a.count[last], 1);
    assert_int_equal(a.count[DROP], 1);
    assert_null(rotor_find(loop, a.self));
    assert_int_equal(probe_errors, failed && last != CREATE);
    assert_int_equal(probe_last_error, failed && last != CREATE ? UV_EIO : 0);
    end_loop(loop);
    assert_int_equal(a.count[DROP], 1);
    assert_int_equal(child.count[DROP], child.count[CREATE]);
}

static void ends_in_each_transition(void **state)
{
    for (probe_event last = CREATE; last < DROP; last++) {
        end_in(last, probe_done);
        end_in(last, probe_error);
    }
}

static rotor_response no_error(probe *p, rotor_scope *scope)
{
    return rotor_error(0);
}

static void an_error_that_is_none_is_unexpected(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = no_error};
    probe_plan b = {.name = "b", .on[WAKEUP] = no_error};
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), ROTOR_EUNEXPECTED);
    add(loop, &b);
    rotor_wake(loop, b.self);
    turn(loop);
    assert_int_equal(probe_last_error, ROTOR_EUNEXPECTED);
    end_loop(loop);
}

typedef struct sized {
    rotor_machine machine;
    unsigned char bytes[];
} sized;

static const size_t sized_seed = 5000;
static bool sized_was_zero;

static size_t sized_size(const void *seed)
{
    return sizeof(sized) + *(const size_t *)seed;
}

static rotor_response sized_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    sized *s = (sized *)m;
    sized_was_zero = true;
    for (size_t i = 0; i < *(size_t *)seed; i++)
        sized_was_zero = sized_was_zero && s->bytes[i] == 0;
    memset(s->bytes, 1, *(size_t *)seed);
    return rotor_done();
}

static void the_seed_may_give_the_size(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = {.size = sizeof(sized), .size_of = sized_size, .create = sized_create};
    assert_int_equal(rotor_add(loop, &type, (void *)&sized_seed, NULL), 0);
    assert_true(sized_was_zero);
    assert_int_equal(rotor_loop_count(loop), 0);
    end_loop(loop);
}

static void a_handle_names_one_machine_for_ever(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_done}, b = {.name = "b"};
    assert_null(rotor_find(loop, ROTOR_NO_HANDLE));
    add(loop, &a);
    assert_null(rotor_find(loop, ROTOR_NO_HANDLE));
    rotor_wake(loop, a.self);
    turn(loop);
    add(loop, &b);
    assert_int_equal(a.self.slot, b.self.slot);
    assert_null(rotor_find(loop, a.self));
    assert_int_equal(rotor_wake(loop, a.self), ROTOR_ECLOSED);
    assert_int_equal(rotor_end(loop, a.self, 0), ROTOR_ECLOSED);
    assert_int_equal(rotor_wake(loop, (rotor_handle){99, 1}), ROTOR_ECLOSED);
    turn(loop);
    assert_ptr_equal(rotor_find(loop, b.self), b.probe);
    assert_string_equal(probe_log(), "a.create a.wakeup a.drop b.create");
    end_loop(loop);
}

/* -- what is not there ------------------------------------------------------------------------- */

static void missing_transitions_do_as_documented(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = {.name = "bare", .size = sizeof(probe), .create = probe_type.create};
    probe_plan a = {.name = "a", .on[CREATE] = timeout_now};
    probe_plan c = {.name = "c", .on[CREATE] = probe_error};
    probe_plan b = {.name = "b", .on[CREATE] = spawn_context, .context = &c};
    probe_plan e = {.name = "e", .on[WAKEUP] = probe_error};
    probe_plan d = {.name = "d", .on[CREATE] = spawn_context, .context = &e};
    rotor_handle ha, hb, hd;

    assert_int_equal(rotor_add(loop, &type, &a, &ha), 0);
    rotor_wake(loop, ha); /* keeps waiting for the same, so the deadline comes */
    turn(loop);
    turn_at(loop, 1001);
    assert_null(rotor_find(loop, ha));
    assert_int_equal(probe_last_error, ROTOR_ETIMEDOUT);

    assert_int_equal(rotor_add(loop, &type, &b, &hb), 0);
    turn(loop);
    assert_null(rotor_find(loop, hb)); /* ends with the error of the spawn */
    assert_int_equal(probe_last_error, UV_EIO);
    assert_int_equal(probe_errors, 2);

    assert_int_equal(rotor_add(loop, &type, &d, &hd), 0);
    turn(loop);
    rotor_wake(loop, e.self);
    turn(loop);
    assert_non_null(rotor_find(loop, hd)); /* neither `spawned` nor `child_done` */
    assert_int_equal(probe_errors, 3);     /* so the child's error goes to on_error */
    assert_int_equal(e.count[DROP], 1);
    end_loop(loop);
}

static void missing_ready_keeps_waiting(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = probe_type;
    probe_plan a = {.name = "a", .on[CREATE] = probe_again};
    type.ready = NULL;
    assert_int_equal(rotor_add(loop, &type, &a, NULL), 0);
    turn(loop);
    assert_string_equal(probe_log(), "a.create");
    end_loop(loop);
}

/* -- deadlines --------------------------------------------------------------------------------- */

static rotor_response until_2000(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(2000);
}

static void each_return_states_the_deadline(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan cleared = {.name = "cleared", .on[CREATE] = until_2000};
    probe_plan kept = {.name = "kept", .on[CREATE] = until_2000, .on[WAKEUP] = probe_same};
    probe_plan once = {.name = "once", .on[CREATE] = until_2000, .on[TIMEOUT] = probe_same};
    probe_plan child = {.name = "child"};
    probe_plan spawner = {.name = "spawner",
                          .on[CREATE] = until_2000,
                          .on[WAKEUP] = spawn_context,
                          .on[SPAWNED] = probe_same,
                          .context = &child};
    probe_plan fresh = {.name = "fresh", .on[CREATE] = probe_same};
    add(loop, &cleared);
    add(loop, &kept);
    add(loop, &once);
    add(loop, &spawner);
    add(loop, &fresh);
    rotor_wake(loop, cleared.self);
    rotor_wake(loop, kept.self);
    rotor_wake(loop, spawner.self);
    turn_at(loop, 1999);
    assert_int_equal(kept.count[TIMEOUT] + once.count[TIMEOUT], 0);
    turn_at(loop, 2000);
    turn_at(loop, 9000);
    assert_int_equal(cleared.count[TIMEOUT], 0);
    assert_int_equal(kept.count[TIMEOUT], 1);
    assert_int_equal(once.count[TIMEOUT], 1);
    assert_int_equal(spawner.count[TIMEOUT], 0);
    assert_int_equal(fresh.count[TIMEOUT], 0);
    end_loop(loop);
}

/* -- spawning ---------------------------------------------------------------------------------- */

static void a_child_is_created_before_spawned(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {.name = "a", .on[WAKEUP] = spawn_context, .context = &child};
    add(loop, &a);
    rotor_wake(loop, a.self);
    turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned");
    assert_memory_equal(&a.child, &child.self, sizeof a.child);
    end_loop(loop);
}

static rotor_response read_the_child(probe *p, rotor_scope *scope)
{
    probe_plan *child = p->plan->context;
    assert_ptr_equal(p->plan->ended, child->probe);
    assert_ptr_equal(p->plan->ended->plan, child);
    assert_int_equal(child->count[DROP], 0);
    assert_null(rotor_find(scope->loop, child->self)); /* it may be read, but is no more */
    assert_int_equal(rotor_wake(scope->loop, child->self), ROTOR_ECLOSED);
    return rotor_ok();
}

static void the_parent_reads_the_ended_child(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[WAKEUP] = probe_error};
    probe_plan a = {.name = "a",
                    .on[WAKEUP] = spawn_context,
                    .on[CHILD_DONE] = read_the_child,
                    .context = &child};
    add(loop, &a);
    rotor_wake(loop, a.self);
    turn(loop);
    rotor_wake(loop, child.self);
    turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned child.wakeup "
                                     "a.child_done child.drop");
    assert_int_equal(a.status, UV_EIO);
    assert_int_equal(probe_errors, 0);
    end_loop(loop);
}

static void a_child_may_end_in_create(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[CREATE] = probe_done};
    probe_plan a = {.name = "a", .on[WAKEUP] = spawn_context, .context = &child};
    add(loop, &a);
    rotor_wake(loop, a.self);
    turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned a.child_done "
                                     "child.drop");
    assert_int_equal(a.status, 0);
    end_loop(loop);
}

static void a_failed_create_is_a_spawn_error(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[CREATE] = probe_error};
    probe_plan a = {.name = "a", .on[WAKEUP] = spawn_context, .context = &child};
    add(loop, &a);
    rotor_wake(loop, a.self);
    turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create child.drop a.spawn_error");
    assert_int_equal(a.status, UV_EIO);
    assert_ptr_equal(a.seed, &child);
    assert_int_equal(probe_errors, 0);
    assert_int_equal(rotor_loop_count(loop), 1);
    end_loop(loop);
}

static void an_error_nobody_hears_goes_to_on_error(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[WAKEUP] = probe_error};
    probe_plan a = {.name = "a", .on[CREATE] = spawn_context, .context = &child};
    add(loop, &a);
    turn(loop);
    rotor_wake(loop, child.self); /* the child ends first, */
    rotor_end(loop, a.self, 0);   /* and its parent before it has heard of that */
    probe_reset();
    turn(loop);
    assert_string_equal(probe_log(), "child.wakeup a.drop child.on_error child.drop");
    assert_int_equal(probe_last_error, UV_EIO);
    end_loop(loop);
}

static void a_chain_of_spawns_from_create(void **state)
{
    enum { N = 1000 };
    static probe_plan chain[N];
    rotor_loop *loop = new_loop(N - 1);
    for (int i = 0; i < N; i++)
        chain[i] = (probe_plan){.name = "x", .on[CREATE] = spawn_context, .context = &chain[i + 1]};
    add(loop, &chain[0]);
    for (int i = 0; i < 10; i++)
        turn(loop);
    for (int i = 0; i < N - 2; i++)
        assert_int_equal(chain[i].count[SPAWNED], 1);
    assert_int_equal(chain[N - 2].status, ROTOR_ECAPACITY);
    assert_ptr_equal(chain[N - 2].seed, &chain[N - 1]);
    assert_int_equal(chain[N - 1].count[CREATE], 0);
    end_loop(loop);
    for (int i = 0; i < N - 1; i++)
        assert_int_equal(chain[i].count[DROP], 1);
}

typedef struct brood {
    probe_plan children[100];
    int next;
} brood;

static rotor_response spawn_next(probe *p, rotor_scope *scope)
{
    brood *b = p->plan->context;
    return b->next < 100 ? rotor_spawn(scope, &probe_type, &b->children[b->next++]) : rotor_ok();
}

static void many_children_one_after_another(void **state)
{
    static brood b;
    b = (brood){0};
    for (int i = 0; i < 100; i++)
        b.children[i].name = "child";
    rotor_loop *loop = new_loop(0);
    probe_plan a = {
        .name = "a", .on[CREATE] = spawn_next, .on[SPAWNED] = spawn_next, .context = &b};
    add(loop, &a);
    turn(loop);
    assert_int_equal(a.count[SPAWNED], 100);
    assert_int_equal(rotor_loop_count(loop), 101);
    end_loop(loop);
}

static rotor_response noisy_spawn(probe *p, rotor_scope *scope)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    close(fds[1]); /* so the other end is readable */
    assert_int_equal(rotor_io_open(&p->io[0], &p->machine, fds[0]), 0);
    assert_int_equal(rotor_io_want(&p->io[0], ROTOR_READABLE), 0);
    rotor_wake(scope->loop, p->machine.self);
    rotor_again(scope);
    return spawn_context(p, scope);
}

static void nothing_comes_between_a_spawn_and_spawned(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {
        .name = "a", .on[CREATE] = noisy_spawn, .on[READY] = probe_done, .context = &child};
    add(loop, &a);
    turn(loop);
    assert_memory_equal(probe_log(), "a.create child.create a.spawned a.", 34);
    assert_int_equal(a.count[DROP], 1);
    end_loop(loop);
}

/* -- capacity ---------------------------------------------------------------------------------- */

static void capacity_is_a_limit(void **state)
{
    rotor_loop *loop = new_loop(2);
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = probe_done}, c = {.name = "c"};
    rotor_handle handle = {7, 7};
    assert_int_equal(rotor_loop_capacity(loop), 2);
    add(loop, &a);
    add(loop, &b);
    assert_int_equal(rotor_add(loop, &probe_type, &c, &handle), ROTOR_ECAPACITY);
    assert_int_equal(handle.generation, 0);
    assert_int_equal(c.count[CREATE], 0);
    rotor_wake(loop, b.self);
    turn(loop);
    add(loop, &c);
    end_loop(loop);
}

/* Three connections and room for two: the acceptor hears of the third when a slot is free. */
static void back_pressure(void **state)
{
    rotor_loop *loop = new_loop(3);
    brood b = {0};
    probe_plan a = {
        .name = "a", .on[CREATE] = spawn_next, .on[SPAWNED] = spawn_next, .context = &b};
    b.children[0] = (probe_plan){.name = "c0", .on[WAKEUP] = probe_done};
    b.children[1] = (probe_plan){.name = "c1", .on[WAKEUP] = probe_error};
    b.children[2] = (probe_plan){.name = "c2"};
    add(loop, &a);
    turn(loop);
    assert_string_equal(probe_log(), "a.create c0.create a.spawned c1.create a.spawned "
                                     "a.spawn_error");
    assert_int_equal(a.status, ROTOR_ECAPACITY);
    assert_ptr_equal(a.seed, &b.children[2]);
    assert_int_equal(b.children[2].count[CREATE], 0);
    turn(loop);
    assert_int_equal(a.count[WAKEUP], 0);

    b.next--; /* once more with the same seed */
    a.on[WAKEUP] = spawn_next;
    b.children[3] = (probe_plan){.name = "c3"};
    probe_reset();
    rotor_wake(loop, b.children[1].self);
    turn(loop);
    assert_string_equal(probe_log(), "c1.wakeup a.wakeup c2.create a.spawned a.spawn_error "
                                     "a.child_done c1.drop");
    probe_reset();
    rotor_wake(loop, b.children[0].self);
    b.next--;
    turn(loop);
    assert_int_equal(b.children[3].count[CREATE], 1);
    end_loop(loop);
}

static void all_that_wait_for_a_slot_are_woken(void **state)
{
    rotor_loop *loop = new_loop(4);
    probe_plan nothing = {.name = "nothing"};
    probe_plan busy = {.name = "busy", .on[WAKEUP] = probe_done};
    probe_plan a = {.name = "a", .on[WAKEUP] = spawn_context, .context = &nothing};
    probe_plan b = {.name = "b", .on[WAKEUP] = spawn_context, .context = &nothing};
    probe_plan gone = {.name = "gone", .on[WAKEUP] = spawn_context, .context = &nothing};
    probe_plan *waiting[] = {&a, &b, &gone};
    add(loop, &busy);
    for (int i = 0; i < 3; i++) {
        add(loop, waiting[i]);
    }
    for (int i = 0; i < 3; i++)
        rotor_wake(loop, waiting[i]->self);
    turn(loop);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waiting[i]->status, ROTOR_ECAPACITY);
        waiting[i]->on[WAKEUP] = NULL;
    }
    probe_reset();
    rotor_end(loop, gone.self, 0); /* one that waits itself frees a slot */
    turn(loop);
    assert_string_equal(probe_log(), "gone.drop a.wakeup b.wakeup");
    probe_reset();
    rotor_wake(loop, busy.self);
    turn(loop);
    assert_string_equal(probe_log(), "busy.wakeup busy.drop"); /* they did not ask again */
    assert_int_equal(nothing.count[CREATE], 0);
    end_loop(loop);
}

/* -- queued, never nested ---------------------------------------------------------------------- */

static rotor_response add_context(probe *p, rotor_scope *scope)
{
    rotor_handle handle;
    probe_plan *other = p->plan->context;
    assert_int_equal(rotor_add(scope->loop, &probe_type, other, &handle), 0);
    assert_non_null(rotor_find(scope->loop, handle));
    assert_int_equal(other->count[CREATE], 0);
    probe_note(p->plan->name, "returns");
    return rotor_ok();
}

static void add_in_a_transition_is_queued(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan fails = {.name = "fails", .on[CREATE] = probe_error};
    probe_plan b = {.name = "b", .on[CREATE] = add_context, .context = &fails};
    probe_plan a = {.name = "a", .on[CREATE] = add_context, .context = &b};
    add(loop, &a);
    assert_string_equal(probe_log(), "a.create a.returns b.create b.returns fails.create "
                                     "fails.on_error fails.drop");
    assert_int_equal(probe_last_error, UV_EIO);
    assert_int_equal(rotor_loop_count(loop), 2);
    end_loop(loop);
}

static rotor_response add_and_wake(probe *p, rotor_scope *scope)
{
    rotor_handle handle;
    rotor_add(scope->loop, &probe_type, p->plan->context, &handle);
    assert_int_equal(rotor_wake(scope->loop, handle), 0);
    return rotor_ok();
}

static rotor_response add_and_end(probe *p, rotor_scope *scope)
{
    rotor_handle handle;
    rotor_add(scope->loop, &probe_type, p->plan->context, &handle);
    assert_int_equal(rotor_end(scope->loop, handle, UV_EPIPE), 0);
    return rotor_ok();
}

static void create_comes_before_all_else(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan b = {.name = "b"}, d = {.name = "d"}, g = {.name = "g"};
    probe_plan a = {.name = "a", .on[CREATE] = add_and_wake, .context = &b};
    probe_plan c = {.name = "c", .on[CREATE] = add_and_end, .context = &d};
    probe_plan f = {.name = "f", .on[CREATE] = spawn_context, .context = &g};
    probe_plan e = {.name = "e", .on[CREATE] = add_and_end, .context = &f};
    add(loop, &a);
    assert_string_equal(probe_log(), "a.create b.create b.wakeup");
    probe_reset();
    add(loop, &c); /* whoever gives a seed relies on it */
    assert_string_equal(probe_log(), "c.create d.create d.on_error d.drop");
    assert_int_equal(probe_last_error, UV_EPIPE);
    probe_reset();
    add(loop, &e);
    assert_string_equal(probe_log(), "e.create f.create g.create f.spawned f.on_error f.drop");
    end_loop(loop);
}

static rotor_response wake_thrice(probe *p, rotor_scope *scope)
{
    probe_plan *other = p->plan->context;
    for (int i = 0; i < 3; i++)
        assert_int_equal(rotor_wake(scope->loop, other->self), 0);
    probe_note(p->plan->name, "returns");
    return rotor_ok();
}

static void wakes_are_queued_and_merged(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan b = {.name = "b"};
    probe_plan a = {.name = "a", .on[CREATE] = wake_thrice, .context = &b};
    add(loop, &b);
    add(loop, &a);
    turn(loop);
    assert_string_equal(probe_log(), "b.create a.create a.returns b.wakeup");
    rotor_wake(loop, b.self);
    rotor_wake(loop, b.self);
    turn(loop);
    assert_int_equal(b.count[WAKEUP], 2);
    b.on[WAKEUP] = wake_self; /* a wake inside of wakeup is another one */
    rotor_wake(loop, b.self);
    turn(loop);
    assert_true(b.count[WAKEUP] >= 4);
    end_loop(loop);
}

static rotor_response end_context(probe *p, rotor_scope *scope)
{
    probe_plan *other = p->plan->context;
    assert_int_equal(rotor_end(scope->loop, other->self, UV_EPIPE), 0);
    assert_non_null(rotor_find(scope->loop, other->self));
    probe_note(p->plan->name, "returns");
    return rotor_ok();
}

static void end_from_outside(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan b = {.name = "b"};
    probe_plan a = {.name = "a", .on[WAKEUP] = end_context, .context = &b};
    probe_plan child = {.name = "child"};
    probe_plan parent = {.name = "parent", .on[CREATE] = spawn_context, .context = &child};
    probe_plan self = {.name = "self", .on[WAKEUP] = end_context};
    self.context = &self;
    add(loop, &b);
    add(loop, &a);
    rotor_wake(loop, a.self);
    turn(loop);
    assert_string_equal(probe_log(), "b.create a.create a.wakeup a.returns b.on_error b.drop");
    assert_int_equal(probe_last_error, UV_EPIPE);

    add(loop, &parent);
    assert_int_equal(rotor_end(loop, child.self, UV_EIO), 0);
    assert_int_equal(rotor_end(loop, child.self, ROTOR_EEOF), 0); /* the later one counts */
    assert_non_null(rotor_find(loop, child.self));
    turn(loop);
    assert_int_equal(parent.status, ROTOR_EEOF);
    assert_int_equal(child.count[DROP], 1);

    add(loop, &self);
    probe_reset();
    rotor_wake(loop, self.self);
    turn(loop);
    assert_string_equal(probe_log(), "self.wakeup self.returns self.on_error self.drop");
    assert_int_equal(rotor_end(loop, a.self, 0), 0);
    turn(loop);
    assert_int_equal(probe_errors, 1);
    assert_int_equal(a.count[DROP], 1);
    end_loop(loop);
}

static void wake_dropped(probe *p)
{
    probe_plan *other = p->plan->context;
    rotor_loop *loop = p->machine.loop;
    assert_int_equal(rotor_wake(loop, p->machine.self), ROTOR_ECLOSED);
    rotor_wake(loop, other->self);
    assert_int_equal(rotor_add(loop, &probe_type, other->context, NULL), 0);
}

static void drop_may_queue_as_well(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan c = {.name = "c"}, b = {.name = "b", .context = &c};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_done, .dropped = wake_dropped, .context = &b};
    add(loop, &a);
    add(loop, &b);
    rotor_wake(loop, a.self);
    turn(loop);
    assert_string_equal(probe_log(), "a.create b.create a.wakeup a.drop b.wakeup c.create");
    end_loop(loop);
}

/* -- again ------------------------------------------------------------------------------------- */

static rotor_response wake_self_and_again(probe *p, rotor_scope *scope)
{
    wake_self(p, scope);
    rotor_again(scope);
    return rotor_ok();
}

static void again_lets_others_have_their_turn(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = probe_again, .on[READY] = wake_self_and_again};
    add(loop, &a);
    for (int i = 1; i <= 5; i++) {
        turn(loop);
        assert_int_equal(a.count[READY], i); /* a wakeup in the same event does not hurry it */
        assert_null(a.io);
        assert_int_equal(a.events, 0);
    }
    end_loop(loop);
}

static void again_and_woken_and_ended(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = wake_self_and_again, .on[READY] = probe_done};
    probe_plan b = {.name = "b", .on[CREATE] = probe_again, .on[READY] = probe_done};
    probe_plan c = {.name = "c", .on[CREATE] = probe_again, .on[WAKEUP] = probe_done};
    add(loop, &a);
    add(loop, &b);
    rotor_wake(loop, b.self); /* owed both; the first one ends it */
    add(loop, &c);
    rotor_end(loop, c.self, 0);
    turn(loop);
    assert_int_equal(a.count[DROP] + b.count[DROP] + c.count[DROP], 3);
    assert_int_equal(b.count[WAKEUP], 0);
    assert_int_equal(c.count[READY], 0);
    end_loop(loop);
}

/* -- out of memory ----------------------------------------------------------------------------- */

static rotor_response add_or_fail(probe *p, rotor_scope *scope)
{
    int error = rotor_add(scope->loop, &probe_type, p->plan->context, NULL);
    return error ? rotor_error(error) : rotor_ok();
}

/* Some more machines than there are slots at first, by each way of making one. */
static void tree(void)
{
    enum { N = 70 };
    static probe_plan crowd[N];
    rotor_loop *loop;
    rotor_config config = {.clock = &test_clock, .on_error = probe_on_error, .buffer = 64};
    probe_reset();
    int error = rotor_loop_new(&loop, &config);
    if (error) {
        assert_int_equal(error, UV_ENOMEM);
        assert_null(loop);
        return;
    }
    probe_plan leaf = {.name = "leaf"};
    probe_plan child = {.name = "child", .on[CREATE] = spawn_context, .context = &leaf};
    probe_plan root = {.name = "root", .on[CREATE] = spawn_context, .context = &child};
    probe_plan late = {.name = "late", .on[CREATE] = probe_done};
    probe_plan adder = {.name = "adder", .on[CREATE] = add_or_fail, .context = &late};
    child.on[SPAWN_ERROR] = root.on[SPAWN_ERROR] = probe_error;
    int failed = 0;
    failed += rotor_add(loop, &probe_type, &root, NULL) != 0;
    failed += rotor_add(loop, &probe_type, &adder, NULL) != 0;
    for (int i = 0; i < N; i++) {
        crowd[i] = (probe_plan){.name = "crowd"};
        failed += rotor_add(loop, &probe_type, &crowd[i], NULL) != 0;
    }
    turn(loop);
    assert_int_equal(failed || probe_errors || root.status, test_alloc_failed() > 0);
    end_loop(loop);
    probe_plan *all[] = {&leaf, &late, &child, &root, &adder};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(all[i]->count[DROP], all[i]->count[CREATE]);
    for (int i = 0; i < N; i++)
        assert_int_equal(crowd[i].count[DROP], crowd[i].count[CREATE]);
}

static void out_of_memory(void **state)
{
    test_out_of_memory(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(created_at_once_and_dropped_with_the_loop),
        TEST(ends_in_each_transition),
        TEST(an_error_that_is_none_is_unexpected),
        TEST(the_seed_may_give_the_size),
        TEST(a_handle_names_one_machine_for_ever),
        TEST(missing_transitions_do_as_documented),
        TEST(missing_ready_keeps_waiting),
        TEST(each_return_states_the_deadline),
        TEST(a_child_is_created_before_spawned),
        TEST(the_parent_reads_the_ended_child),
        TEST(a_child_may_end_in_create),
        TEST(a_failed_create_is_a_spawn_error),
        TEST(an_error_nobody_hears_goes_to_on_error),
        TEST(a_chain_of_spawns_from_create),
        TEST(many_children_one_after_another),
        TEST(nothing_comes_between_a_spawn_and_spawned),
        TEST(capacity_is_a_limit),
        TEST(back_pressure),
        TEST(all_that_wait_for_a_slot_are_woken),
        TEST(add_in_a_transition_is_queued),
        TEST(create_comes_before_all_else),
        TEST(wakes_are_queued_and_merged),
        TEST(end_from_outside),
        TEST(drop_may_queue_as_well),
        TEST(again_lets_others_have_their_turn),
        TEST(again_and_woken_and_ended),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
