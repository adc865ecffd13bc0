#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "../core/future.h"
#include "probe.h"
#include "support.h"

static atomic_int alive; /* values not yet destroyed */

static int *new_value(int n)
{
    int *value = malloc(sizeof *value);
    if (!value)
        abort();
    *value = n;
    atomic_fetch_add(&alive, 1);
    return value;
}

static void destroy(void *value)
{
    free(value);
    atomic_fetch_sub(&alive, 1);
}

static rotor_loop *new_loop(size_t capacity)
{
    rotor_loop *loop;
    probe_reset();
    test_monotonic_ms = 1000;
    rotor_config config = {.capacity = capacity, .clock = &test_clock, .buffer = 64};
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
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

static void new_pair(rotor_loop *loop, rotor_future **f, rotor_port **p)
{
    assert_int_equal(rotor_future_new(loop, f, p, destroy), 0);
}

/* Take the value of a future that must have one. */
static int taken(rotor_future *f)
{
    void *value;
    assert_int_equal(rotor_future_take(f, &value), 0);
    int n = *(int *)value;
    destroy(value);
    return n;
}

static void assert_fails(rotor_future *f, int error)
{
    void *value = &alive;
    assert_int_equal(rotor_future_status(f), error);
    assert_null(rotor_future_peek(f));
    assert_int_equal(rotor_future_take(f, &value), error);
    assert_null(value);
}

/* -- the pair ---------------------------------------------------------------------------------- */

static void a_value_arrives_once(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    void *value = &alive;
    new_pair(loop, &f, &p);
    assert_false(rotor_port_is_canceled(p));
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    assert_int_equal(rotor_port_set(p, new_value(7)), 0);
    assert_int_equal(rotor_future_take(f, &value), UV_EAGAIN); /* it is still on its way */
    assert_null(value);
    assert_null(rotor_future_peek(f));
    turn(loop);
    assert_int_equal(rotor_future_status(f), 0);
    assert_int_equal(*(int *)rotor_future_peek(f), 7);
    assert_int_equal(taken(f), 7);
    end_loop(loop);
}

static void errors_arrive_too(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[4];
    rotor_port *p[4];
    for (int i = 0; i < 4; i++)
        new_pair(loop, &f[i], &p[i]);
    assert_int_equal(rotor_port_fail(p[0], UV_EPIPE), 0);
    rotor_port_drop(p[1]);
    assert_int_equal(rotor_port_fail(p[2], 0), 0);
    assert_int_equal(rotor_port_fail(p[3], UV_EAGAIN), 0);
    rotor_port_drop(NULL);
    turn(loop);
    assert_fails(f[0], UV_EPIPE);
    assert_fails(f[1], ROTOR_ECANCELED);
    assert_fails(f[2], ROTOR_EUNEXPECTED);
    assert_fails(f[3], ROTOR_EUNEXPECTED);
    end_loop(loop);
}

static void an_error_may_have_a_detail(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f, *g, *k;
    rotor_port *p, *q, *r;
    void *value;
    new_pair(loop, &f, &p);
    new_pair(loop, &g, &q);
    new_pair(loop, &k, &r);
    assert_int_equal(rotor_port_fail_with(p, UV_EIO, new_value(8)), 0);
    assert_int_equal(rotor_port_fail_with(q, UV_EIO, new_value(9)), 0);
    turn(loop);
    assert_int_equal(*(int *)rotor_future_peek(f), 8);
    assert_int_equal(rotor_future_take(f, &value), UV_EIO);
    assert_int_equal(*(int *)value, 8);
    destroy(value);
    rotor_future_drop(g);
    rotor_future_drop(k);
    assert_int_equal(rotor_port_fail_with(r, UV_EIO, new_value(10)), ROTOR_ECANCELED);
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void null_is_a_value(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    void *value = &alive;
    new_pair(loop, &f, &p);
    rotor_port_set(p, NULL);
    turn(loop);
    assert_int_equal(rotor_future_status(f), 0);
    assert_int_equal(rotor_future_take(f, &value), 0);
    assert_null(value);
    new_pair(loop, &f, &p);
    rotor_port_set(p, NULL);
    turn(loop);
    rotor_future_drop(f); /* nothing to destroy */
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void without_a_destructor(void **state)
{
    static int value;
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    assert_int_equal(rotor_future_new(loop, &f, &p, NULL), 0);
    rotor_port_set(p, &value);
    turn(loop);
    rotor_future_drop(f);
    end_loop(loop);
}

/* What happened to the port when the future is dropped; and the loop may end at any point. */
enum { UNSET, SET, FAILED, DROPPED, PORT_STATES };

static int settle_port(rotor_port *p, int how)
{
    switch (how) {
    case SET:
        return rotor_port_set(p, new_value(1));
    case FAILED:
        return rotor_port_fail(p, UV_EIO);
    case DROPPED:
        rotor_port_drop(p);
    }
    return 0;
}

static void dropped_in_every_state(void **state)
{
    for (int how = UNSET; how < PORT_STATES; how++) {
        for (int arrived = 0; arrived <= 1; arrived++) {
            rotor_loop *loop = new_loop(0);
            size_t before = test_alloc_live();
            rotor_future *f;
            rotor_port *p;
            new_pair(loop, &f, &p);
            assert_int_equal(settle_port(p, how), 0);
            if (arrived)
                turn(loop);
            rotor_future_drop(f);
            if (how == UNSET) {
                assert_true(rotor_port_is_canceled(p));
                assert_int_equal(rotor_port_set(p, new_value(2)), ROTOR_ECANCELED);
            }
            turn(loop);
            assert_int_equal(alive, 0);
            assert_int_equal(test_alloc_live(), before);
            end_loop(loop);
        }
    }
}

static void used_after_the_loop_in_every_state(void **state)
{
    static const int statuses[] = {ROTOR_ECLOSED, 0, UV_EIO, ROTOR_ECANCELED};
    for (int how = UNSET; how < PORT_STATES; how++) {
        for (int drop = 0; drop <= 1; drop++) {
            rotor_loop *loop = new_loop(0);
            rotor_future *f;
            rotor_port *p;
            new_pair(loop, &f, &p);
            assert_int_equal(settle_port(p, how), 0);
            end_loop(loop); /* what was on its way arrives all the same */
            assert_int_equal(rotor_future_status(f), statuses[how]);
            assert_int_equal(rotor_future_watch(f, (rotor_handle){0, 1}), ROTOR_ECLOSED);
            if (how == UNSET) {
                assert_true(rotor_port_is_canceled(p));
                assert_int_equal(rotor_port_set(p, new_value(2)), ROTOR_ECLOSED);
                assert_int_equal(alive, 0);
                assert_int_equal(rotor_future_status(f), ROTOR_ECLOSED);
            }
            if (drop)
                rotor_future_drop(f);
            else if (how == SET)
                assert_int_equal(taken(f), 1);
            else
                assert_fails(f, statuses[how]);
            assert_int_equal(alive, 0);
            assert_int_equal(test_alloc_live(), 0);
        }
    }
}

static void the_port_may_be_the_last(void **state)
{
    for (int how = SET; how < PORT_STATES; how++) {
        rotor_loop *loop = new_loop(0);
        rotor_future *f;
        rotor_port *p;
        new_pair(loop, &f, &p);
        end_loop(loop);
        rotor_future_drop(f);
        (void)settle_port(p, how);
        assert_int_equal(alive, 0);
    }
}

/* -- watching ---------------------------------------------------------------------------------- */

static rotor_response take_context(probe *p, rotor_scope *scope)
{
    assert_int_equal(taken(p->plan->context), 5);
    return rotor_done();
}

static void the_watcher_is_woken(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = take_context};
    new_pair(loop, &f, &p);
    b.context = f;
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    assert_int_equal(rotor_future_watch(f, b.self), 0); /* in its place */
    turn(loop);
    assert_int_equal(b.count[WAKEUP], 0);
    rotor_port_set(p, new_value(5));
    turn(loop);
    assert_int_equal(a.count[WAKEUP], 0);
    assert_int_equal(b.count[DROP], 1);
    end_loop(loop);
}

static void watching_what_is_there_wakes_now(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = take_context};
    new_pair(loop, &f, &p);
    b.context = f;
    rotor_port_set(p, new_value(5));
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    assert_int_equal(rotor_future_watch(f, ROTOR_NO_HANDLE), 0); /* nobody */
    turn(loop);
    assert_int_equal(rotor_future_watch(f, ROTOR_NO_HANDLE), 0);
    assert_int_equal(a.count[WAKEUP], 0);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(rotor_future_watch(f, b.self), 0);
    assert_int_equal(b.count[WAKEUP], 0); /* never at once */
    turn(loop);
    assert_int_equal(b.count[DROP], 1);
    end_loop(loop);
}

static void a_watcher_that_has_ended(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b"};
    new_pair(loop, &f, &p);
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    rotor_end(loop, a.self, 0);
    turn(loop);
    assert_int_equal(rotor_future_watch(f, a.self), ROTOR_ECLOSED);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(b.self.slot, a.self.slot);
    rotor_port_set(p, new_value(5));
    turn(loop);
    assert_int_equal(b.count[WAKEUP], 0);
    assert_int_equal(taken(f), 5);
    end_loop(loop);
}

/* -- map and then ------------------------------------------------------------------------------ */

typedef struct helper {
    rotor_loop *loop;
    rotor_future *f; /* then: to return; otherwise: to drop, if any */
    rotor_port *p;
    int error;
    int calls, released, status;
} helper;

static void release(void *context)
{
    ((helper *)context)->released++;
}

static int add_one(void *context, void *value, void **result)
{
    helper *h = context;
    assert_int_equal(h->released, 0);
    assert_true(!h->loop || rotor_loop_busy(h->loop));
    h->calls++;
    if (h->f)
        rotor_future_drop(h->f);
    if (!h->error)
        *result = new_value(*(int *)value + 1);
    destroy(value);
    return h->error;
}

static rotor_future *go_on(void *context, int status, void *value, int *error)
{
    helper *h = context;
    assert_int_equal(h->released, 0);
    h->calls++;
    h->status = status;
    if (value)
        destroy(value);
    *error = h->error;
    return h->f;
}

static void map_changes_the_value(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    helper first = {.loop = loop}, second = {.loop = loop};
    new_pair(loop, &f, &p);
    f = rotor_future_map(f, add_one, &first, release, destroy);
    f = rotor_future_map(f, add_one, &second, NULL, destroy);
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    rotor_port_set(p, new_value(1));
    assert_int_equal(first.calls, 0);
    turn(loop);
    assert_int_equal(taken(f), 3);
    assert_int_equal(first.calls + second.calls, 2);
    assert_int_equal(first.released, 1);
    end_loop(loop);
}

static void map_of_what_is_there_waits_its_turn(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    helper h = {.loop = loop};
    new_pair(loop, &f, &p);
    rotor_port_set(p, new_value(1));
    turn(loop);
    f = rotor_future_map(f, add_one, &h, release, destroy);
    assert_int_equal(h.calls, 0);
    turn(loop);
    assert_int_equal(taken(f), 2);
    end_loop(loop);
}

static void map_passes_errors_and_may_fail(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[3];
    rotor_port *p[3];
    helper passed = {.loop = loop}, failing = {.error = UV_EIO}, strange = {.error = 1};
    helper *helpers[] = {&passed, &failing, &strange};
    for (int i = 0; i < 3; i++) {
        new_pair(loop, &f[i], &p[i]);
        f[i] = rotor_future_map(f[i], add_one, helpers[i], release, destroy);
    }
    rotor_port_fail(p[0], UV_EPIPE);
    rotor_port_set(p[1], new_value(1));
    rotor_port_set(p[2], new_value(1));
    turn(loop);
    assert_fails(f[0], UV_EPIPE);
    assert_fails(f[1], UV_EIO);
    assert_fails(f[2], ROTOR_EUNEXPECTED);
    assert_int_equal(passed.calls, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(helpers[i]->released, 1);
    end_loop(loop);
}

static void then_follows_another(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[3];
    rotor_port *p[3];
    helper h[3] = {0};
    for (int i = 0; i < 3; i++) {
        new_pair(loop, &f[i], &p[i]);
        new_pair(loop, &h[i].f, &h[i].p);
        f[i] = rotor_future_then(f[i], go_on, &h[i], release, destroy);
    }
    rotor_port_set(h[0].p, new_value(6)); /* there before it is asked for */
    rotor_port_set(p[0], new_value(1));
    rotor_port_fail(p[1], UV_EPIPE); /* mended */
    rotor_port_set(p[2], new_value(1));
    turn(loop);
    assert_int_equal(taken(f[0]), 6);
    assert_int_equal(h[1].status, UV_EPIPE);
    assert_int_equal(rotor_future_status(f[1]), UV_EAGAIN);
    rotor_port_set(h[1].p, new_value(7));
    rotor_port_fail(h[2].p, UV_EIO);
    turn(loop);
    assert_int_equal(taken(f[1]), 7);
    assert_fails(f[2], UV_EIO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(h[i].calls + h[i].released, 2);
    end_loop(loop);
}

static void then_may_fail(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f, *g;
    rotor_port *p, *q;
    helper h = {.error = UV_EIO}, careless = {0};
    new_pair(loop, &f, &p);
    new_pair(loop, &g, &q);
    f = rotor_future_then(f, go_on, &h, release, destroy);
    g = rotor_future_then(g, go_on, &careless, release, destroy);
    rotor_port_set(p, new_value(1));
    rotor_port_set(q, new_value(1));
    turn(loop);
    assert_fails(f, UV_EIO);
    assert_fails(g, ROTOR_EUNEXPECTED);
    end_loop(loop);
}

static void dropping_the_result_drops_the_sources(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f, *g;
    rotor_port *p, *q;
    helper h = {0}, k = {0};
    new_pair(loop, &f, &p);
    f = rotor_future_map(f, add_one, &h, release, destroy);
    f = rotor_future_map(f, add_one, &k, release, destroy);
    rotor_future_drop(f);
    assert_true(rotor_port_is_canceled(p));
    assert_int_equal(h.released + k.released, 2);
    rotor_port_drop(p);

    h = k = (helper){0};
    new_pair(loop, &f, &p);
    new_pair(loop, &h.f, &q); /* dropped while the second one is waited for */
    f = rotor_future_then(f, go_on, &h, release, destroy);
    rotor_port_set(p, new_value(1));
    turn(loop);
    assert_false(rotor_port_is_canceled(q));
    rotor_future_drop(f);
    assert_true(rotor_port_is_canceled(q));
    rotor_port_set(q, new_value(1));
    assert_int_equal(h.released, 1);

    h = (helper){0};
    new_pair(loop, &f, &p); /* dropped when resolved, but `fn` not called yet */
    rotor_port_set(p, new_value(1));
    turn(loop);
    g = rotor_future_map(f, add_one, &h, release, destroy);
    rotor_future_drop(g);
    turn(loop);
    assert_int_equal(h.calls, 0);
    assert_int_equal(h.released, 1);
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static rotor_future *drop_and_go_on(void *context, int status, void *value, int *error)
{
    helper *h = context;
    rotor_future *out = h->f, *next;
    destroy(value);
    rotor_future_drop(out);
    assert_int_equal(h->released, 0); /* the context is still in use */
    new_pair(h->loop, &next, &h->p);
    return next;
}

static void a_function_may_drop_its_own_result(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    helper h = {.loop = loop}, k = {.loop = loop};
    new_pair(loop, &f, &p);
    h.f = rotor_future_map(f, add_one, &h, release, destroy);
    rotor_port_set(p, new_value(1));
    new_pair(loop, &f, &p);
    k.f = rotor_future_then(f, drop_and_go_on, &k, release, destroy);
    rotor_port_set(p, new_value(1));
    turn(loop);
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.released + k.released, 2);
    assert_true(rotor_port_is_canceled(k.p));
    rotor_port_drop(k.p);
    end_loop(loop);
    assert_int_equal(alive, 0);
}

/* A chain of this length would overflow the stack if each link called the next. */
static void long_chains_take_no_stack(void **state)
{
    enum { LENGTH = 200000 };
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    helper h = {0};
    for (int drop = 0; drop <= 1; drop++) {
        new_pair(loop, &f, &p);
        for (int i = 0; i < LENGTH; i++)
            f = rotor_future_map(f, add_one, &h, NULL, destroy);
        if (drop)
            rotor_future_drop(f);
        assert_int_equal(rotor_port_set(p, new_value(0)), drop ? ROTOR_ECANCELED : 0);
        assert_int_equal(rotor_loop_run(loop), 0); /* which lasts until all of it is through */
        if (!drop)
            assert_int_equal(taken(f), LENGTH);
    }
    end_loop(loop);
}

static int set_port(void *context, void *value, void **result)
{
    rotor_port_set(context, value);
    return 0;
}

/* Nothing but a letter of the loop to itself is left, and no machine. */
static void run_waits_for_letters_on_their_way(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[4];
    rotor_port *p[4];
    for (int i = 0; i < 4; i++)
        new_pair(loop, &f[i], &p[i]);
    for (int i = 0; i < 3; i++)
        f[i] = rotor_future_map(f[i], set_port, p[i + 1], NULL, destroy);
    rotor_port_set(p[0], new_value(9));
    assert_int_equal(rotor_loop_run(loop), 0);
    for (int i = 0; i < 3; i++)
        rotor_future_drop(f[i]);
    assert_int_equal(taken(f[3]), 9);
    end_loop(loop);
}

/* -- all and first ----------------------------------------------------------------------------- */

enum { N = 3 };

static void new_pairs(rotor_loop *loop, rotor_future **f, rotor_port **p)
{
    for (int i = 0; i < N; i++)
        new_pair(loop, &f[i], &p[i]);
}

static void all_has_the_values_in_order(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    void *value;
    new_pairs(loop, f, p);
    rotor_port_set(p[1], new_value(11));
    turn(loop);
    rotor_future *all = rotor_future_all(loop, f, N, destroy);
    rotor_port_set(p[2], new_value(12));
    turn(loop);
    assert_int_equal(rotor_future_status(all), UV_EAGAIN);
    rotor_port_set(p[0], new_value(10));
    turn(loop);
    assert_int_equal(rotor_future_take(all, &value), 0);
    rotor_values *values = value;
    assert_int_equal(values->n, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(*(int *)values->values[i], 10 + i);
    destroy(values->values[1]);
    values->values[1] = NULL; /* taken */
    rotor_values_free(values);
    rotor_values_free(NULL);

    all = rotor_future_all(loop, NULL, 0, destroy);
    assert_int_equal(rotor_future_status(all), 0);
    assert_int_equal(((rotor_values *)rotor_future_peek(all))->n, 0);
    rotor_future_drop(all);
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void all_fails_with_the_first_error(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    new_pairs(loop, f, p);
    rotor_future *all = rotor_future_all(loop, f, N, destroy);
    rotor_port_set(p[0], new_value(1));
    rotor_port_fail(p[1], UV_EPIPE);
    turn(loop);
    assert_true(rotor_port_is_canceled(p[2]));
    assert_int_equal(alive, 0);
    rotor_port_fail(p[2], UV_EIO);
    turn(loop);
    assert_fails(all, UV_EPIPE);
    end_loop(loop);
}

static void first_is_the_first_value(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    new_pairs(loop, f, p);
    rotor_future *first = rotor_future_first(loop, f, N, destroy);
    rotor_port_fail(p[1], UV_EIO); /* an error is not it */
    turn(loop);
    assert_int_equal(rotor_future_status(first), UV_EAGAIN);
    rotor_port_set(p[2], new_value(3));
    rotor_port_set(p[0], new_value(1)); /* too late, though in the same turn */
    turn(loop);
    assert_int_equal(taken(first), 3);

    new_pairs(loop, f, p);
    first = rotor_future_first(loop, f, N, destroy);
    rotor_port_fail(p[2], UV_EIO);
    rotor_port_fail(p[0], UV_EIO);
    rotor_port_fail(p[1], UV_EPIPE);
    turn(loop);
    assert_fails(first, UV_EPIPE); /* the last error when all fail */
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void destroy_wrongly(void *value)
{
    fail_msg("the destructor of another future");
}

static int fail_with_detail(void *context, void *value, void **result)
{
    *result = value;
    return UV_EIO;
}

static rotor_future *combined(rotor_loop *loop, int kind, rotor_future **f)
{
    switch (kind) {
    case 0:
        rotor_future_drop(f[1]);
        return rotor_future_map(f[0], fail_with_detail, NULL, NULL, destroy);
    case 1:
        rotor_future_drop(f[1]);
        return rotor_future_map(f[0], add_one, NULL, NULL, destroy_wrongly);
    case 2:
        rotor_future_drop(f[1]);
        return rotor_future_timeout(f[0], 5000);
    case 3:
        return rotor_future_all(loop, f, 2, destroy_wrongly);
    default:
        return rotor_future_first(loop, f, 2, destroy_wrongly);
    }
}

/* A detail passes through, and is destroyed by the destructor it came with. */
static void details_pass_through_combinators(void **state)
{
    for (int kind = 0; kind < 5; kind++) {
        for (int take = 0; take <= 1; take++) {
            rotor_loop *loop = new_loop(0);
            rotor_future *f[2];
            rotor_port *p[2];
            new_pair(loop, &f[0], &p[0]);
            new_pair(loop, &f[1], &p[1]);
            rotor_future *out = combined(loop, kind, f);
            if (kind == 0)
                rotor_port_set(p[0], new_value(1));
            else
                rotor_port_fail_with(p[0], UV_EIO, new_value(1));
            rotor_port_fail_with(p[1], UV_EPIPE, new_value(2));
            turn(loop);
            if (take) {
                void *value;
                assert_int_equal(rotor_future_take(out, &value), kind == 4 ? UV_EPIPE : UV_EIO);
                assert_int_equal(*(int *)value, kind == 4 ? 2 : 1);
                destroy(value);
            } else {
                rotor_future_drop(out);
            }
            assert_int_equal(alive, 0);
            end_loop(loop);
        }
    }
}

static void destroy_int(void *value)
{
    assert_int_equal(*(int *)value, 77);
}

/* The loser's detail is destroyed as it should be, and so is the winner's value. */
static void each_value_of_first_keeps_its_destructor(void **state)
{
    static int seventy_seven = 77;
    rotor_loop *loop = new_loop(0);
    rotor_future *f[2];
    rotor_port *p[2];
    new_pair(loop, &f[0], &p[0]);
    assert_int_equal(rotor_future_new(loop, &f[1], &p[1], destroy_int), 0);
    rotor_future *first = rotor_future_first(loop, f, 2, destroy_int);
    rotor_port_fail_with(p[0], UV_EIO, new_value(1));
    turn(loop);
    assert_int_equal(alive, 0);
    rotor_port_set(p[1], &seventy_seven);
    turn(loop);
    rotor_future_drop(first);
    end_loop(loop);
}

/* Some of its members resolved, some not, some with an error. */
static rotor_future *new_group(rotor_loop *loop, bool all, rotor_port **p)
{
    rotor_future *f[N];
    new_pairs(loop, f, p);
    rotor_port_set(p[0], new_value(1));
    rotor_future *g =
        all ? rotor_future_all(loop, f, N, destroy) : rotor_future_first(loop, f, N, destroy);
    return g;
}

static void groups_may_be_dropped_at_any_time(void **state)
{
    for (int all = 0; all <= 1; all++) {
        for (int turns = 0; turns <= 1; turns++) {
            for (int ended = 0; ended <= 1; ended++) {
                rotor_loop *loop = new_loop(0);
                rotor_port *p[N];
                rotor_future *g = new_group(loop, all, p);
                if (turns)
                    turn(loop);
                if (ended)
                    end_loop(loop);
                rotor_future_drop(g);
                for (int i = 1; i < N; i++) {
                    assert_true(rotor_port_is_canceled(p[i]));
                    rotor_port_set(p[i], new_value(i));
                }
                if (!ended)
                    end_loop(loop);
                assert_int_equal(alive, 0);
                assert_int_equal(test_alloc_live(), 0);
            }
        }
    }
}

/* -- timeout ----------------------------------------------------------------------------------- */

static void timeout_when_nothing_comes(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f;
    rotor_port *p;
    new_pair(loop, &f, &p);
    f = rotor_future_timeout(f, 1500);
    assert_int_equal(rotor_loop_count(loop), 1);
    turn_at(loop, 1499);
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    turn_at(loop, 1500);
    assert_true(rotor_port_is_canceled(p));
    assert_fails(f, ROTOR_ETIMEDOUT);
    assert_int_equal(rotor_loop_count(loop), 0);
    rotor_port_set(p, new_value(1));
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void timeout_is_called_off(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f, *g, *h;
    rotor_port *p, *q, *r;
    new_pair(loop, &f, &p);
    new_pair(loop, &g, &q);
    new_pair(loop, &h, &r);
    f = rotor_future_timeout(f, 1500);
    g = rotor_future_timeout(g, 1500);
    h = rotor_future_timeout(h, 1500);
    rotor_port_set(p, new_value(4));
    rotor_port_fail(q, UV_EIO);
    rotor_future_drop(h);
    assert_true(rotor_port_is_canceled(r));
    rotor_port_drop(r);
    turn(loop);
    assert_int_equal(rotor_loop_count(loop), 0);
    turn_at(loop, 2000);
    assert_int_equal(taken(f), 4);
    assert_fails(g, UV_EIO);
    end_loop(loop);
}

static void timeout_takes_a_machine(void **state)
{
    rotor_loop *loop = new_loop(1);
    rotor_future *f, *g;
    rotor_port *p, *q;
    new_pair(loop, &f, &p);
    new_pair(loop, &g, &q);
    f = rotor_future_timeout(f, 1500);
    assert_non_null(f);
    assert_null(rotor_future_timeout(g, 1500));
    assert_true(rotor_port_is_canceled(q));
    rotor_port_drop(q);
    end_loop(loop); /* with the one still waiting */
    rotor_port_set(p, new_value(1));
    assert_fails(f, ROTOR_ECLOSED);
}

static rotor_response timeout_of_context(probe *p, rotor_scope *scope)
{
    helper *h = p->plan->context;
    h->f = rotor_future_timeout(h->f, rotor_now(scope));
    assert_non_null(h->f);
    assert_int_equal(rotor_future_status(h->f), UV_EAGAIN);
    assert_int_equal(rotor_future_watch(h->f, p->machine.self), 0);
    return rotor_ok();
}

static void timeout_from_a_transition(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_port *p;
    helper h = {0};
    probe_plan a = {
        .name = "a", .on[CREATE] = timeout_of_context, .on[WAKEUP] = probe_done, .context = &h};
    new_pair(loop, &h.f, &p);
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    turn_at(loop, 1001);
    assert_string_equal(probe_log(), "a.create a.wakeup a.drop");
    assert_fails(h.f, ROTOR_ETIMEDOUT);
    rotor_port_drop(p);
    end_loop(loop);
}

/* -- the end of the loop ----------------------------------------------------------------------- */

/* Every combinator, on sources resolved (`set`) or not, in one pile of futures. */
enum { KINDS = 5 };

static int combine(rotor_loop *loop, rotor_future **out, rotor_port **ports, helper *h, bool set)
{
    rotor_future *f[KINDS + 2];
    int made = 0;
    for (; made < KINDS + 2; made++)
        if (rotor_future_new(loop, &f[made], &ports[made], destroy))
            break;
    if (made < KINDS + 2) {
        for (int i = 0; i < made; i++) {
            rotor_future_drop(f[i]);
            rotor_port_drop(ports[i]);
        }
        return UV_ENOMEM;
    }
    for (int i = 0; set && i < made; i++)
        rotor_port_set(ports[i], new_value(i));
    out[0] = rotor_future_map(f[0], add_one, h, release, destroy);
    out[1] = rotor_future_then(f[1], go_on, h + 1, release, destroy);
    out[2] = rotor_future_all(loop, f + 2, 2, destroy);
    out[3] = rotor_future_first(loop, f + 4, 2, destroy);
    out[4] = rotor_future_timeout(f[6], 1500);
    return 0;
}

static void combinators_outlive_the_loop(void **state)
{
    for (int set = 0; set <= 1; set++) {
        for (int take = 0; take <= 1; take++) {
            rotor_loop *loop = new_loop(0);
            rotor_future *out[KINDS];
            rotor_port *ports[KINDS + 2];
            helper h[2] = {{0}, {.error = UV_EIO}};
            assert_int_equal(combine(loop, out, ports, h, set), 0);
            end_loop(loop);
            assert_int_equal(h[0].calls + h[1].calls, 0); /* nothing is called any more */
            for (int i = 0; i < KINDS; i++)
                if (take)
                    assert_fails(out[i], ROTOR_ECLOSED);
                else
                    rotor_future_drop(out[i]);
            assert_int_equal(h[0].released + h[1].released, 2);
            for (int i = 0; !set && i < KINDS + 2; i++)
                assert_int_equal(rotor_port_set(ports[i], new_value(i)), ROTOR_ECANCELED);
            assert_int_equal(alive, 0);
            assert_int_equal(test_alloc_live(), 0);
        }
    }
}

static void combining_after_the_loop(void **state)
{
    rotor_loop *loop = new_loop(0);
    rotor_future *f, *g, *k;
    rotor_port *p, *q, *r;
    helper h[2] = {0};
    new_pair(loop, &f, &p);
    new_pair(loop, &g, &q);
    new_pair(loop, &k, &r);
    rotor_port_set(p, new_value(1));
    end_loop(loop);
    f = rotor_future_map(f, add_one, &h[0], release, destroy);
    g = rotor_future_then(g, go_on, &h[1], release, destroy);
    k = rotor_future_timeout(k, 1500);
    assert_fails(f, ROTOR_ECLOSED);
    assert_fails(g, ROTOR_ECLOSED);
    rotor_future_drop(k);
    assert_int_equal(h[0].released + h[1].released, 2);
    rotor_port_drop(q);
    rotor_port_drop(r);
    assert_int_equal(alive, 0);
}

static void drop_futures(probe *p)
{
    rotor_future **out = p->plan->context;
    for (int i = 0; i < KINDS; i++)
        rotor_future_drop(out[i]);
}

static void a_machine_may_own_futures(void **state)
{
    for (int set = 0; set <= 1; set++) {
        rotor_loop *loop = new_loop(0);
        rotor_future *out[KINDS];
        rotor_port *ports[KINDS + 2];
        helper h[2] = {{0}, {.error = UV_EIO}};
        probe_plan a = {.name = "a", .dropped = drop_futures, .context = out};
        assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
        assert_int_equal(combine(loop, out, ports, h, set), 0);
        if (set)
            turn(loop);
        end_loop(loop); /* whose `drop` drops them */
        for (int i = 0; !set && i < KINDS + 2; i++)
            rotor_port_drop(ports[i]);
        assert_int_equal(h[0].released + h[1].released, 2);
        assert_int_equal(alive, 0);
    }
}

/* -- from threads ------------------------------------------------------------------------------ */

enum { THREADS = 4, PER_THREAD = 1000 };

typedef struct worker {
    rotor_port *ports[PER_THREAD];
    int set, canceled, closed;
} worker;

static void *resolve_ports(void *context)
{
    worker *w = context;
    for (int i = 0; i < PER_THREAD; i++) {
        rotor_port *p = w->ports[i];
        int error = 0;
        if (i % 7 == 0)
            rotor_port_drop(p);
        else if (i % 5 == 0)
            error = rotor_port_fail(p, UV_EIO);
        else
            error = rotor_port_set(p, new_value(i));
        w->set += error == 0;
        w->canceled += error == ROTOR_ECANCELED;
        w->closed += error == ROTOR_ECLOSED;
    }
    return NULL;
}

typedef struct consumer {
    rotor_future **futures;
    int left, values, errors;
} consumer;

static rotor_response take_all_there_are(probe *p, rotor_scope *scope)
{
    consumer *c = p->plan->context;
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        if (!c->futures[i] || rotor_future_status(c->futures[i]) == UV_EAGAIN)
            continue;
        void *value;
        int status = rotor_future_take(c->futures[i], &value);
        int n = i % PER_THREAD;
        assert_int_equal(status, n % 7 == 0 ? ROTOR_ECANCELED : n % 5 == 0 ? UV_EIO : 0);
        if (status == 0) {
            assert_int_equal(*(int *)value, n);
            destroy(value);
        }
        c->values += status == 0;
        c->errors += status != 0;
        c->futures[i] = NULL;
        c->left--;
    }
    return c->left ? rotor_ok() : rotor_done();
}

static void four_threads_resolve(void **state)
{
    static worker workers[THREADS];
    static rotor_future *futures[THREADS * PER_THREAD];
    pthread_t threads[THREADS];
    rotor_loop *loop;
    probe_reset();
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    consumer c = {.futures = futures, .left = THREADS * PER_THREAD};
    probe_plan a = {.name = "a", .on[WAKEUP] = take_all_there_are, .context = &c};
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        new_pair(loop, &futures[i], &workers[i / PER_THREAD].ports[i % PER_THREAD]);
        assert_int_equal(rotor_future_watch(futures[i], a.self), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_ports, &workers[i]), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].set, PER_THREAD);
    }
    assert_int_equal(c.values + c.errors, THREADS * PER_THREAD);
    assert_int_equal(alive, 0);
    end_loop(loop);
}

/* The futures are dropped, and then the loop freed, while four threads set their ports. */
static void threads_against_drops_and_the_end(void **state)
{
    static worker workers[THREADS];
    static rotor_future *futures[THREADS * PER_THREAD];
    pthread_t threads[THREADS];
    memset(workers, 0, sizeof workers);
    rotor_loop *loop = new_loop(0);
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        new_pair(loop, &futures[i], &workers[i / PER_THREAD].ports[i % PER_THREAD]);
        if (i % 3 == 0)
            futures[i] = rotor_future_map(futures[i], add_one, NULL, NULL, destroy);
    }
    /* Those that are mapped are dropped before the loop turns, so nothing is called. */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_ports, &workers[i]), 0);
    for (int i = 0; i < THREADS * PER_THREAD; i += 3)
        rotor_future_drop(futures[i]);
    turn(loop);
    end_loop(loop);
    for (int i = 0; i < THREADS * PER_THREAD; i++)
        if (i % 3 != 0)
            rotor_future_drop(futures[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].set + workers[i].canceled + workers[i].closed, PER_THREAD);
    }
    assert_int_equal(alive, 0);
}

/* -- out of memory ----------------------------------------------------------------------------- */

static void combine_all(void)
{
    rotor_loop *loop;
    rotor_future *out[KINDS];
    rotor_port *ports[KINDS + 2];
    helper h[2] = {{0}, {.error = UV_EIO}};
    probe_reset();
    test_monotonic_ms = 1000;
    if (rotor_loop_new(&loop, &(rotor_config){.clock = &test_clock, .buffer = 64}))
        return;
    if (combine(loop, out, ports, h, true)) {
        assert_true(test_alloc_failed() > 0);
    } else {
        turn(loop);
        int missing = 0;
        for (int i = 0; i < KINDS; i++) {
            if (out[i])
                assert_int_equal(rotor_future_status(out[i]), i == 1 ? UV_EIO : 0);
            missing += !out[i];
            rotor_future_drop(out[i]);
        }
        assert_int_equal(missing > 0, test_alloc_failed() > 0);
        assert_int_equal(h[0].released + h[1].released, 2);
    }
    end_loop(loop);
    assert_int_equal(alive, 0);
}

static void out_of_memory(void **state)
{
    test_out_of_memory(combine_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_arrives_once),
        TEST(errors_arrive_too),
        TEST(an_error_may_have_a_detail),
        TEST(null_is_a_value),
        TEST(without_a_destructor),
        TEST(dropped_in_every_state),
        TEST(used_after_the_loop_in_every_state),
        TEST(the_port_may_be_the_last),
        TEST(the_watcher_is_woken),
        TEST(watching_what_is_there_wakes_now),
        TEST(a_watcher_that_has_ended),
        TEST(map_changes_the_value),
        TEST(map_of_what_is_there_waits_its_turn),
        TEST(map_passes_errors_and_may_fail),
        TEST(then_follows_another),
        TEST(then_may_fail),
        TEST(dropping_the_result_drops_the_sources),
        TEST(a_function_may_drop_its_own_result),
        TEST(long_chains_take_no_stack),
        TEST(run_waits_for_letters_on_their_way),
        TEST(all_has_the_values_in_order),
        TEST(all_fails_with_the_first_error),
        TEST(first_is_the_first_value),
        TEST(details_pass_through_combinators),
        TEST(each_value_of_first_keeps_its_destructor),
        TEST(groups_may_be_dropped_at_any_time),
        TEST(timeout_when_nothing_comes),
        TEST(timeout_is_called_off),
        TEST(timeout_takes_a_machine),
        TEST(timeout_from_a_transition),
        TEST(combinators_outlive_the_loop),
        TEST(combining_after_the_loop),
        TEST(a_machine_may_own_futures),
        TEST(four_threads_resolve),
        TEST(threads_against_drops_and_the_end),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("future", tests, NULL, NULL);
}
