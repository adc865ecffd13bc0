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

/* -- spawning ---------------------------------------------------------------------------------- */

static void a_child_is_created_before_spawned(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_spawn, .context = &child};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned");
    assert_memory_equal(&a.child, &child.self, sizeof a.child);
    probe_free(loop);
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
                    .on[WAKEUP] = probe_spawn,
                    .on[CHILD_DONE] = read_the_child,
                    .context = &child};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    rotor_wake(loop, child.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned child.wakeup "
                                     "a.child_done child.drop");
    assert_int_equal(a.status, UV_EIO);
    assert_int_equal(probe_errors, 0);
    probe_free(loop);
}

/* -- families ---------------------------------------------------------------------------------- */

static probe_plan *last_born;

static rotor_response spawn_last(probe *p, rotor_scope *scope)
{
    return rotor_spawn(scope, &probe_type, last_born);
}

/* a has the children b and c, and c has d. */
typedef struct kin {
    probe_plan a, b, c, d;
} kin;

static rotor_loop *new_family(kin *k)
{
    rotor_loop *loop = new_loop(0);
    *k = (kin){{.name = "a", .on[WAKEUP] = spawn_last},
               {.name = "b"},
               {.name = "c", .on[WAKEUP] = spawn_last},
               {.name = "d"}};
    probe_add(loop, &k->a);
    last_born = &k->b;
    rotor_wake(loop, k->a.self);
    probe_turn(loop);
    last_born = &k->c;
    rotor_wake(loop, k->a.self);
    probe_turn(loop);
    last_born = &k->d;
    rotor_wake(loop, k->c.self);
    probe_turn(loop);
    assert_int_equal(rotor_loop_count(loop), 4);
    probe_reset();
    return loop;
}

static void a_parent_takes_its_children_with_it(void **state)
{
    kin k;
    rotor_loop *loop = new_family(&k);
    rotor_end(loop, k.a.self, 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "d.drop c.drop b.drop a.drop");
    assert_int_equal(probe_errors, 0);
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_free(loop);
}

static void children_that_end_leave_the_family(void **state)
{
    kin k;
    rotor_loop *loop = new_family(&k);
    rotor_end(loop, k.c.self, UV_EIO);
    probe_turn(loop);
    assert_string_equal(probe_log(), "d.drop a.child_done c.drop");
    rotor_end(loop, k.a.self, 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "d.drop a.child_done c.drop b.drop a.drop");
    probe_free(loop);
}

static void a_parent_may_end_when_it_hears_of_a_child(void **state)
{
    kin k;
    rotor_loop *loop = new_family(&k);
    k.a.on[CHILD_DONE] = probe_done;
    rotor_end(loop, k.b.self, 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.child_done d.drop c.drop a.drop b.drop");
    probe_free(loop);
}

static void the_loop_may_be_freed_with_families_in_it(void **state)
{
    kin k;
    rotor_loop *loop = new_family(&k);
    rotor_end(loop, k.b.self, 0);
    probe_free(loop);
    assert_int_equal(k.a.count[DROP] + k.b.count[DROP] + k.c.count[DROP] + k.d.count[DROP], 4);
}

static void machines_without_child_done_own_nobody(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_type type = probe_type;
    type.child_done = NULL;
    probe_plan child = {.name = "child"};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_spawn, .context = &child};
    assert_int_equal(rotor_add(loop, &type, &a, NULL), 0);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    rotor_end(loop, a.self, 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned a.drop");
    assert_int_equal(rotor_loop_count(loop), 1);
    probe_free(loop);
}

static rotor_response spawn_next_in_line(probe *p, rotor_scope *scope)
{
    probe_plan *next = p->plan + 1;
    return next->name ? rotor_spawn(scope, &probe_type, next) : rotor_ok();
}

static void a_long_line_of_descent_takes_no_stack(void **state)
{
    enum { LINE = 100000 };
    rotor_loop *loop = new_loop(0);
    probe_plan *plans = rotor_alloc_zero((LINE + 1) * sizeof *plans);
    assert_non_null(plans);
    for (int i = 0; i < LINE; i++)
        plans[i] = (probe_plan){.name = "x", .on[CREATE] = spawn_next_in_line};
    probe_add(loop, plans);
    while (rotor_loop_count(loop) < LINE)
        probe_turn(loop);
    rotor_end(loop, plans[0].self, 0);
    probe_turn(loop);
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_free(loop);
    rotor_free(plans);
}

static void a_child_that_is_to_spawn_is_taken_along(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan grandchild = {.name = "grandchild"};
    probe_plan child = {.name = "child", .on[CREATE] = probe_spawn, .context = &grandchild};
    probe_plan a = {
        .name = "a", .on = {[WAKEUP] = probe_spawn, [SPAWNED] = probe_done}, .context = &child};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned child.drop a.drop");
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_free(loop);
}

/* -- ends -------------------------------------------------------------------------------------- */

static void a_child_may_end_in_create(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[CREATE] = probe_done};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_spawn, .context = &child};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create a.spawned a.child_done "
                                     "child.drop");
    assert_int_equal(a.status, 0);
    probe_free(loop);
}

static void a_failed_create_is_a_spawn_error(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[CREATE] = probe_error};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_spawn, .context = &child};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup child.create child.drop a.spawn_error");
    assert_int_equal(a.status, UV_EIO);
    assert_ptr_equal(a.seed, &child);
    assert_int_equal(probe_errors, 0);
    assert_int_equal(rotor_loop_count(loop), 1);
    probe_free(loop);
}

static void an_error_nobody_hears_goes_to_on_error(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child", .on[WAKEUP] = probe_error};
    probe_plan a = {.name = "a", .on[CREATE] = probe_spawn, .context = &child};
    probe_add(loop, &a);
    probe_turn(loop);
    rotor_wake(loop, child.self); /* the child ends first, */
    rotor_end(loop, a.self, 0);   /* and its parent before it has heard of that */
    probe_reset();
    probe_turn(loop);
    assert_string_equal(probe_log(), "child.wakeup child.on_error child.drop a.drop");
    assert_int_equal(probe_last_error, UV_EIO);
    probe_free(loop);
}

static void a_chain_of_spawns_from_create(void **state)
{
    enum { N = 1000 };
    static probe_plan chain[N];
    rotor_loop *loop = new_loop(N - 1);
    for (int i = 0; i < N; i++)
        chain[i] = (probe_plan){.name = "x", .on[CREATE] = probe_spawn, .context = &chain[i + 1]};
    probe_add(loop, &chain[0]);
    for (int i = 0; i < 10; i++)
        probe_turn(loop);
    for (int i = 0; i < N - 2; i++)
        assert_int_equal(chain[i].count[SPAWNED], 1);
    assert_int_equal(chain[N - 2].status, ROTOR_ECAPACITY);
    assert_ptr_equal(chain[N - 2].seed, &chain[N - 1]);
    assert_int_equal(chain[N - 1].count[CREATE], 0);
    probe_free(loop);
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
    probe_add(loop, &a);
    probe_turn(loop);
    assert_int_equal(a.count[SPAWNED], 100);
    assert_int_equal(rotor_loop_count(loop), 101);
    probe_free(loop);
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
    return probe_spawn(p, scope);
}

static void nothing_comes_between_a_spawn_and_spawned(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {
        .name = "a", .on[CREATE] = noisy_spawn, .on[READY] = probe_done, .context = &child};
    probe_add(loop, &a);
    probe_turn(loop);
    assert_memory_equal(probe_log(), "a.create child.create a.spawned a.", 34);
    assert_int_equal(a.count[DROP], 1);
    probe_free(loop);
}

static probe_plan flood[2000];

static rotor_response flood_and_spawn(probe *p, rotor_scope *scope)
{
    for (int i = 0; i < 2000; i++) {
        flood[i] = (probe_plan){.name = "x"};
        assert_int_equal(rotor_add(scope->loop, &probe_type, &flood[i], NULL), 0);
    }
    return noisy_spawn(p, scope);
}

/* So much is queued that descriptors are looked at while the spawn is still to come. */
static void not_even_events_come_between(void **state)
{
    rotor_loop *loop = new_loop(0);
    probe_plan child = {.name = "child"};
    probe_plan a = {.name = "a", .on[CREATE] = flood_and_spawn, .context = &child};
    a.on[READY] = a.on[WAKEUP] = probe_error; /* unless it was spawned before */
    a.on[SPAWNED] = probe_done;
    probe_add(loop, &a);
    assert_int_equal(a.count[SPAWNED], 0);
    while (a.count[DROP] == 0)
        probe_turn(loop);
    assert_int_equal(a.count[SPAWNED], 1);
    assert_int_equal(probe_errors, 0);
    probe_free(loop);
}

/* -- capacity ---------------------------------------------------------------------------------- */

static void capacity_is_a_limit(void **state)
{
    rotor_loop *loop = new_loop(2);
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = probe_done}, c = {.name = "c"};
    rotor_handle handle = {7, 7};
    assert_int_equal(rotor_loop_capacity(loop), 2);
    probe_add(loop, &a);
    probe_add(loop, &b);
    assert_int_equal(rotor_add(loop, &probe_type, &c, &handle), ROTOR_ECAPACITY);
    assert_int_equal(handle.generation, 0);
    assert_int_equal(c.count[CREATE], 0);
    rotor_wake(loop, b.self);
    probe_turn(loop);
    probe_add(loop, &c);
    probe_free(loop);
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
    probe_add(loop, &a);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create c0.create a.spawned c1.create a.spawned "
                                     "a.spawn_error");
    assert_int_equal(a.status, ROTOR_ECAPACITY);
    assert_ptr_equal(a.seed, &b.children[2]);
    assert_int_equal(b.children[2].count[CREATE], 0);
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 0);

    b.next--; /* once more with the same seed */
    a.on[WAKEUP] = spawn_next;
    b.children[3] = (probe_plan){.name = "c3"};
    probe_reset();
    rotor_wake(loop, b.children[1].self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "c1.wakeup a.wakeup c2.create a.spawned a.spawn_error "
                                     "a.child_done c1.drop");
    probe_reset();
    rotor_wake(loop, b.children[0].self);
    b.next--;
    probe_turn(loop);
    assert_int_equal(b.children[3].count[CREATE], 1);
    probe_free(loop);
}

static void all_that_wait_for_a_slot_are_woken(void **state)
{
    rotor_loop *loop = new_loop(4);
    probe_plan nothing = {.name = "nothing"};
    probe_plan busy = {.name = "busy", .on[WAKEUP] = probe_done};
    probe_plan a = {.name = "a", .on[WAKEUP] = probe_spawn, .context = &nothing};
    probe_plan b = {.name = "b", .on[WAKEUP] = probe_spawn, .context = &nothing};
    probe_plan gone = {.name = "gone", .on[WAKEUP] = probe_spawn, .context = &nothing};
    probe_plan *waiting[] = {&a, &b, &gone};
    probe_add(loop, &busy);
    for (int i = 0; i < 3; i++) {
        probe_add(loop, waiting[i]);
    }
    for (int i = 0; i < 3; i++)
        rotor_wake(loop, waiting[i]->self);
    probe_turn(loop);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waiting[i]->status, ROTOR_ECAPACITY);
        waiting[i]->on[WAKEUP] = NULL;
    }
    probe_reset();
    rotor_end(loop, gone.self, 0); /* one that waits itself frees a slot */
    probe_turn(loop);
    assert_string_equal(probe_log(), "gone.drop a.wakeup b.wakeup");
    probe_reset();
    rotor_wake(loop, busy.self);
    probe_turn(loop);
    assert_string_equal(probe_log(), "busy.wakeup busy.drop"); /* they did not ask again */
    assert_int_equal(nothing.count[CREATE], 0);
    probe_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_parent_takes_its_children_with_it),
        TEST(children_that_end_leave_the_family),
        TEST(a_parent_may_end_when_it_hears_of_a_child),
        TEST(the_loop_may_be_freed_with_families_in_it),
        TEST(machines_without_child_done_own_nobody),
        TEST(a_long_line_of_descent_takes_no_stack),
        TEST(a_child_that_is_to_spawn_is_taken_along),
        TEST(a_child_is_created_before_spawned),
        TEST(the_parent_reads_the_ended_child),
        TEST(a_child_may_end_in_create),
        TEST(a_failed_create_is_a_spawn_error),
        TEST(an_error_nobody_hears_goes_to_on_error),
        TEST(a_chain_of_spawns_from_create),
        TEST(many_children_one_after_another),
        TEST(nothing_comes_between_a_spawn_and_spawned),
        TEST(not_even_events_come_between),
        TEST(capacity_is_a_limit),
        TEST(back_pressure),
        TEST(all_that_wait_for_a_slot_are_woken),
    };
    return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
