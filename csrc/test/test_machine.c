#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "../core/private.h"
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
    probe_free(loop);
    assert_string_equal(probe_log(), "a.create a.drop");
}

static void a_type_that_cannot_work_is_refused(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = probe_type;
    rotor_handle handle;
    type.create = NULL;
    assert_int_equal(rotor_add(loop, &type, NULL, &handle), UV_EINVAL);
    type = probe_type;
    type.size = sizeof(rotor_machine) - 1;
    assert_int_equal(rotor_add(loop, &type, NULL, &handle), UV_EINVAL);
    assert_int_equal(handle.generation, 0);
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_free(loop);
    assert_string_equal(probe_log(), "");
}

static rotor_response timeout_now(probe *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope));
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
        a.on[CREATE] = probe_wake_self;
    else if (last != CREATE)
        a.on[CREATE] = probe_spawn;
    if (last == SPAWN_ERROR)
        child.on[CREATE] = probe_error;
    if (last == CHILD_DONE)
        child.on[WAKEUP] = probe_error;
    a.on[last] = end;

    int error = rotor_add(loop, &probe_type, &a, NULL);
    assert_int_equal(error, failed && last == CREATE ? UV_EIO : 0);
    if (last == CHILD_DONE)
        assert_int_equal(rotor_wake(loop, child.self), 0);
    probe_turn(loop);
    assert_int_equal(a.count[last], 1);
    assert_int_equal(a.count[DROP], 1);
    assert_null(rotor_find(loop, a.self));
    assert_int_equal(probe_errors, failed && last != CREATE);
    assert_int_equal(probe_last_error, failed && last != CREATE ? UV_EIO : 0);
    probe_free(loop);
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
    probe_add(loop, &b);
    rotor_wake(loop, b.self);
    probe_turn(loop);
    assert_int_equal(probe_last_error, ROTOR_EUNEXPECTED);
    probe_free(loop);
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
    probe_free(loop);
}

static void a_handle_names_one_machine_for_ever(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_done}, b = {.name = "b"};
    assert_null(rotor_find(loop, ROTOR_NO_HANDLE));
    probe_add(loop, &a);
    assert_null(rotor_find(loop, ROTOR_NO_HANDLE));
    rotor_wake(loop, a.self);
    probe_turn(loop);
    probe_add(loop, &b);
    assert_int_equal(a.self.slot, b.self.slot);
    assert_null(rotor_find(loop, a.self));
    assert_int_equal(rotor_wake(loop, a.self), ROTOR_ECLOSED);
    assert_int_equal(rotor_end(loop, a.self, 0), ROTOR_ECLOSED);
    assert_int_equal(rotor_wake(loop, (rotor_handle){99, 1}), ROTOR_ECLOSED);
    probe_turn(loop);
    assert_ptr_equal(rotor_find(loop, b.self), b.probe);
    assert_string_equal(probe_log(), "a.create a.wakeup a.drop b.create");
    probe_free(loop);
}

/* -- what is not there ------------------------------------------------------------------------- */

static void missing_transitions_do_as_documented(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = {.name = "bare", .size = sizeof(probe), .create = probe_type.create};
    probe_plan a = {.name = "a", .on[CREATE] = timeout_now};
    probe_plan c = {.name = "c", .on[CREATE] = probe_error};
    probe_plan b = {.name = "b", .on[CREATE] = probe_spawn, .context = &c};
    probe_plan e = {.name = "e", .on[WAKEUP] = probe_error};
    probe_plan d = {.name = "d", .on[CREATE] = probe_spawn, .context = &e};
    rotor_handle ha, hb, hd;

    assert_int_equal(rotor_add(loop, &type, &a, &ha), 0);
    rotor_wake(loop, ha); /* keeps waiting for the same, so the deadline comes */
    probe_turn(loop);
    probe_turn_at(loop, 1001);
    assert_null(rotor_find(loop, ha));
    assert_int_equal(probe_last_error, ROTOR_ETIMEDOUT);

    assert_int_equal(rotor_add(loop, &type, &b, &hb), 0);
    probe_turn(loop);
    assert_null(rotor_find(loop, hb)); /* ends with the error of the spawn */
    assert_int_equal(probe_last_error, UV_EIO);
    assert_int_equal(probe_errors, 2);

    assert_int_equal(rotor_add(loop, &type, &d, &hd), 0);
    probe_turn(loop);
    rotor_wake(loop, e.self);
    probe_turn(loop);
    assert_non_null(rotor_find(loop, hd)); /* neither `spawned` nor `child_done` */
    assert_int_equal(probe_errors, 3);     /* so the child's error goes to on_error */
    assert_int_equal(e.count[DROP], 1);
    probe_free(loop);
}

static void missing_ready_keeps_waiting(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = probe_type;
    probe_plan a = {.name = "a", .on[CREATE] = probe_again};
    type.ready = NULL;
    assert_int_equal(rotor_add(loop, &type, &a, NULL), 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create");
    probe_free(loop);
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
                          .on[WAKEUP] = probe_spawn,
                          .on[SPAWNED] = probe_same,
                          .context = &child};
    probe_plan fresh = {.name = "fresh", .on[CREATE] = probe_same};
    probe_add(loop, &cleared);
    probe_add(loop, &kept);
    probe_add(loop, &once);
    probe_add(loop, &spawner);
    probe_add(loop, &fresh);
    rotor_wake(loop, cleared.self);
    rotor_wake(loop, kept.self);
    rotor_wake(loop, spawner.self);
    probe_turn_at(loop, 1999);
    assert_int_equal(kept.count[TIMEOUT] + once.count[TIMEOUT], 0);
    probe_turn_at(loop, 2000);
    probe_turn_at(loop, 9000);
    assert_int_equal(cleared.count[TIMEOUT], 0);
    assert_int_equal(kept.count[TIMEOUT], 1);
    assert_int_equal(once.count[TIMEOUT], 1);
    assert_int_equal(spawner.count[TIMEOUT], 0);
    assert_int_equal(fresh.count[TIMEOUT], 0);
    probe_free(loop);
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
    probe_add(loop, &a);
    assert_string_equal(probe_log(), "a.create a.returns b.create b.returns fails.create "
                                     "fails.on_error fails.drop");
    assert_int_equal(probe_last_error, UV_EIO);
    assert_int_equal(rotor_loop_count(loop), 2);
    probe_free(loop);
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
    probe_plan f = {.name = "f", .on[CREATE] = probe_spawn, .context = &g};
    probe_plan e = {.name = "e", .on[CREATE] = add_and_end, .context = &f};
    probe_add(loop, &a);
    assert_string_equal(probe_log(), "a.create b.create b.wakeup");
    probe_reset();
    probe_add(loop, &c); /* whoever gives a seed relies on it */
    assert_string_equal(probe_log(), "c.create d.create d.on_error d.drop");
    assert_int_equal(probe_last_error, UV_EPIPE);
    probe_reset();
    probe_add(loop, &e);
    assert_string_equal(probe_log(),
                        "e.create f.create g.create f.spawned g.drop f.on_error f.drop");
    probe_free(loop);
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
    probe_add(loop, &b);
    probe_add(loop, &a);
    probe_turn(loop);
    assert_string_equal(probe_log(), "b.create a.create a.returns b.wakeup");
    rotor_wake(loop, b.self);
    rotor_wake(loop, b.self);
    probe_turn(loop);
    assert_int_equal(b.count[WAKEUP], 2);
    b.on[WAKEUP] = probe_wake_self; /* a wake inside of wakeup is another one */
    rotor_wake(loop, b.self);
    probe_turn(loop);
    assert_true(b.count[WAKEUP] >= 4);
    probe_free(loop);
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
    probe_plan parent = {.name = "parent", .on[CREATE] = probe_spawn, .context = &child};
    probe_plan self = {.name = "self", .on[WAKEUP] = end_context};
    self.context = &self;
    probe_add(loop, &b);
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "b.create a.create a.wakeup a.returns b.on_error b.drop");
    assert_int_equal(probe_last_error, UV_EPIPE);

    probe_add(loop, &parent);
    assert_int_equal(rotor_end(loop, child.self, UV_EIO), 0);
    assert_int_equal(rotor_end(loop, child.self, ROTOR_EEOF), 0); /* the later one counts */
    assert_non_null(rotor_find(loop, child.self));
    probe_turn(loop);
    assert_int_equal(parent.status, ROTOR_EEOF);
    assert_int_equal(child.count[DROP], 1);

    probe_add(loop, &self);
    probe_reset();
    rotor_wake(loop, self.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "self.wakeup self.returns self.on_error self.drop");
    assert_int_equal(rotor_end(loop, a.self, 0), 0);
    probe_turn(loop);
    assert_int_equal(probe_errors, 1);
    assert_int_equal(a.count[DROP], 1);
    probe_free(loop);
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
    probe_add(loop, &a);
    probe_add(loop, &b);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create b.create a.wakeup a.drop b.wakeup c.create");
    probe_free(loop);
}

/* -- again ------------------------------------------------------------------------------------- */

static rotor_response wake_self_and_again(probe *p, rotor_scope *scope)
{
    probe_wake_self(p, scope);
    rotor_again(scope);
    return rotor_ok();
}

static void again_lets_others_have_their_turn(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = probe_again, .on[READY] = wake_self_and_again};
    probe_add(loop, &a);
    for (int i = 1; i <= 5; i++) {
        probe_turn(loop);
        assert_int_equal(a.count[READY], i); /* a wakeup in the same event does not hurry it */
        assert_null(a.io);
        assert_int_equal(a.events, 0);
    }
    probe_free(loop);
}

static void again_and_woken_and_ended(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = wake_self_and_again, .on[READY] = probe_done};
    probe_plan b = {.name = "b", .on[CREATE] = probe_again, .on[READY] = probe_done};
    probe_plan c = {.name = "c", .on[CREATE] = probe_again, .on[WAKEUP] = probe_done};
    probe_add(loop, &a);
    probe_add(loop, &b);
    rotor_wake(loop, b.self); /* owed both; the first one ends it */
    probe_add(loop, &c);
    rotor_end(loop, c.self, 0);
    probe_turn(loop);
    assert_int_equal(a.count[DROP] + b.count[DROP] + c.count[DROP], 3);
    assert_int_equal(b.count[WAKEUP], 0);
    assert_int_equal(c.count[READY], 0);
    probe_free(loop);
}

/* As for a stream that had its turns, and is written to by another before the next one. */
static void again_and_due_already(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan a = {.name = "a", .on[CREATE] = probe_again};
    probe_add(loop, &a);
    rotor__machine_soon(&a.probe->machine);
    probe_turn(loop);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    probe_free(loop);
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
    probe_plan child = {.name = "child", .on[CREATE] = probe_spawn, .context = &leaf};
    probe_plan root = {.name = "root", .on[CREATE] = probe_spawn, .context = &child};
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
    probe_turn(loop);
    assert_int_equal(failed || probe_errors || root.status, test_alloc_failed() > 0);
    probe_free(loop);
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
        TEST(add_in_a_transition_is_queued),
        TEST(create_comes_before_all_else),
        TEST(wakes_are_queued_and_merged),
        TEST(end_from_outside),
        TEST(drop_may_queue_as_well),
        TEST(again_lets_others_have_their_turn),
        TEST(again_and_woken_and_ended),
        TEST(again_and_due_already),
        TEST(a_type_that_cannot_work_is_refused),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
