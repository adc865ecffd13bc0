#include "test.h"

#include <pthread.h>

#include "futures.h"
#include "probe.h"
#include "support.h"

/* -- the pair ---------------------------------------------------------------------------------- */

static void a_value_arrives_once(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    void *value = &values_alive;
    future_pair(loop, &f, &p);
    assert_false(rotor_port_is_canceled(p));
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    assert_int_equal(rotor_port_set(p, value_new(7)), 0);
    assert_int_equal(rotor_future_take(f, &value), UV_EAGAIN); /* it is still on its way */
    assert_null(value);
    assert_null(rotor_future_peek(f));
    probe_turn(loop);
    assert_int_equal(rotor_future_status(f), 0);
    assert_int_equal(*(int *)rotor_future_peek(f), 7);
    assert_int_equal(value_taken(f), 7);
    probe_free(loop);
}

static void errors_arrive_too(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[4];
    rotor_port *p[4];
    for (int i = 0; i < 4; i++)
        future_pair(loop, &f[i], &p[i]);
    assert_int_equal(rotor_port_fail(p[0], UV_EPIPE), 0);
    rotor_port_drop(p[1]);
    assert_int_equal(rotor_port_fail(p[2], 0), 0);
    assert_int_equal(rotor_port_fail(p[3], UV_EAGAIN), 0);
    rotor_port_drop(NULL);
    probe_turn(loop);
    future_fails(f[0], UV_EPIPE);
    future_fails(f[1], ROTOR_ECANCELED);
    future_fails(f[2], ROTOR_EUNEXPECTED);
    future_fails(f[3], ROTOR_EUNEXPECTED);
    probe_free(loop);
}

static void an_error_may_have_a_detail(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f, *g, *k;
    rotor_port *p, *q, *r;
    void *value;
    future_pair(loop, &f, &p);
    future_pair(loop, &g, &q);
    future_pair(loop, &k, &r);
    assert_int_equal(rotor_port_fail_with(p, UV_EIO, value_new(8)), 0);
    assert_int_equal(rotor_port_fail_with(q, UV_EIO, value_new(9)), 0);
    probe_turn(loop);
    assert_int_equal(*(int *)rotor_future_peek(f), 8);
    assert_int_equal(rotor_future_take(f, &value), UV_EIO);
    assert_int_equal(*(int *)value, 8);
    value_destroy(value);
    rotor_future_drop(g);
    rotor_future_drop(k);
    assert_int_equal(rotor_port_fail_with(r, UV_EIO, value_new(10)), ROTOR_ECANCELED);
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static void null_is_a_value(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    void *value = &values_alive;
    future_pair(loop, &f, &p);
    rotor_port_set(p, NULL);
    probe_turn(loop);
    assert_int_equal(rotor_future_status(f), 0);
    assert_int_equal(rotor_future_take(f, &value), 0);
    assert_null(value);
    future_pair(loop, &f, &p);
    rotor_port_set(p, NULL);
    probe_turn(loop);
    rotor_future_drop(f); /* nothing to destroy */
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static void without_a_destructor(void **state)
{
    static int value;
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    assert_int_equal(rotor_future_new(loop, &f, &p, NULL), 0);
    rotor_port_set(p, &value);
    probe_turn(loop);
    rotor_future_drop(f);
    probe_free(loop);
}

/* What happened to the port when the future is dropped; and the loop may end at any point. */
enum { UNSET, SET, FAILED, DROPPED, PORT_STATES };

static int settle_port(rotor_port *p, int how)
{
    switch (how) {
    case SET:
        return rotor_port_set(p, value_new(1));
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
            rotor_loop *loop = future_loop(0);
            size_t before = test_alloc_live();
            rotor_future *f;
            rotor_port *p;
            future_pair(loop, &f, &p);
            assert_int_equal(settle_port(p, how), 0);
            if (arrived)
                probe_turn(loop);
            rotor_future_drop(f);
            if (how == UNSET) {
                assert_true(rotor_port_is_canceled(p));
                assert_int_equal(rotor_port_set(p, value_new(2)), ROTOR_ECANCELED);
            }
            probe_turn(loop);
            assert_int_equal(values_alive, 0);
            assert_int_equal(test_alloc_live(), before);
            probe_free(loop);
        }
    }
}

static void used_after_the_loop_in_every_state(void **state)
{
    static const int statuses[] = {ROTOR_ECLOSED, 0, UV_EIO, ROTOR_ECANCELED};
    for (int how = UNSET; how < PORT_STATES; how++) {
        for (int drop = 0; drop <= 1; drop++) {
            rotor_loop *loop = future_loop(0);
            rotor_future *f;
            rotor_port *p;
            future_pair(loop, &f, &p);
            assert_int_equal(settle_port(p, how), 0);
            probe_free(loop); /* what was on its way arrives all the same */
            assert_int_equal(rotor_future_status(f), statuses[how]);
            assert_int_equal(rotor_future_watch(f, (rotor_handle){0, 1}), ROTOR_ECLOSED);
            if (how == UNSET) {
                assert_true(rotor_port_is_canceled(p));
                assert_int_equal(rotor_port_set(p, value_new(2)), ROTOR_ECLOSED);
                assert_int_equal(values_alive, 0);
                assert_int_equal(rotor_future_status(f), ROTOR_ECLOSED);
            }
            if (drop)
                rotor_future_drop(f);
            else if (how == SET)
                assert_int_equal(value_taken(f), 1);
            else
                future_fails(f, statuses[how]);
            assert_int_equal(values_alive, 0);
            assert_int_equal(test_alloc_live(), 0);
        }
    }
}

static void the_port_may_be_the_last(void **state)
{
    for (int how = SET; how < PORT_STATES; how++) {
        rotor_loop *loop = future_loop(0);
        rotor_future *f;
        rotor_port *p;
        future_pair(loop, &f, &p);
        probe_free(loop);
        rotor_future_drop(f);
        (void)settle_port(p, how);
        assert_int_equal(values_alive, 0);
    }
}

/* -- watching ---------------------------------------------------------------------------------- */

static rotor_response take_context(probe *p, rotor_scope *scope)
{
    assert_int_equal(value_taken(p->plan->context), 5);
    return rotor_done();
}

static void the_watcher_is_woken(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = take_context};
    future_pair(loop, &f, &p);
    b.context = f;
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    assert_int_equal(rotor_future_watch(f, b.self), 0); /* in its place */
    probe_turn(loop);
    assert_int_equal(b.count[WAKEUP], 0);
    rotor_port_set(p, value_new(5));
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 0);
    assert_int_equal(b.count[DROP], 1);
    probe_free(loop);
}

static void watching_what_is_there_wakes_now(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b", .on[WAKEUP] = take_context};
    future_pair(loop, &f, &p);
    b.context = f;
    rotor_port_set(p, value_new(5));
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    assert_int_equal(rotor_future_watch(f, ROTOR_NO_HANDLE), 0); /* nobody */
    probe_turn(loop);
    assert_int_equal(rotor_future_watch(f, ROTOR_NO_HANDLE), 0);
    assert_int_equal(a.count[WAKEUP], 0);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(rotor_future_watch(f, b.self), 0);
    assert_int_equal(b.count[WAKEUP], 0); /* never at once */
    probe_turn(loop);
    assert_int_equal(b.count[DROP], 1);
    probe_free(loop);
}

static void a_watcher_that_has_ended(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"}, b = {.name = "b"};
    future_pair(loop, &f, &p);
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_future_watch(f, a.self), 0);
    rotor_end(loop, a.self, 0);
    probe_turn(loop);
    assert_int_equal(rotor_future_watch(f, a.self), ROTOR_ECLOSED);
    assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
    assert_int_equal(b.self.slot, a.self.slot);
    rotor_port_set(p, value_new(5));
    probe_turn(loop);
    assert_int_equal(b.count[WAKEUP], 0);
    assert_int_equal(value_taken(f), 5);
    probe_free(loop);
}

static void a_port_is_told_that_its_future_is_dropped(void **state)
{
    rotor_loop *loop = future_loop(0);
    for (int combined = 0; combined < 2; combined++) {
        rotor_future *f;
        rotor_port *p;
        probe_plan a = {.name = "a"}, b = {.name = "b"};
        future_pair(loop, &f, &p);
        assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
        assert_int_equal(rotor_add(loop, &probe_type, &b, NULL), 0);
        assert_int_equal(rotor_port_watch(p, a.self), 0);
        assert_int_equal(rotor_port_watch(p, ROTOR_NO_HANDLE), 0);
        assert_int_equal(rotor_port_watch(p, b.self), 0); /* in their place */
        if (combined)
            f = rotor_future_timeout(f, ROTOR_NEVER);
        probe_turn(loop);
        assert_int_equal(b.count[WAKEUP], 0);
        rotor_future_drop(f);
        assert_int_equal(b.count[WAKEUP], 0); /* never at once */
        probe_turn(loop);
        assert_int_equal(a.count[WAKEUP], 0);
        assert_int_equal(b.count[WAKEUP], 1);
        assert_true(rotor_port_is_canceled(p));
        assert_int_equal(rotor_port_watch(p, a.self), 0); /* which is so already */
        probe_turn(loop);
        assert_int_equal(a.count[WAKEUP], 1);
        rotor_end(loop, a.self, 0);
        probe_turn(loop);
        assert_int_equal(rotor_port_watch(p, a.self), ROTOR_ECLOSED);
        rotor_port_drop(p);
        /* One that was resolved before it is dropped is no news. */
        future_pair(loop, &f, &p);
        assert_int_equal(rotor_port_watch(p, b.self), 0);
        rotor_port_set(p, value_new(5));
        probe_turn(loop);
        rotor_future_drop(f);
        probe_turn(loop);
        assert_int_equal(b.count[WAKEUP], 1);
        rotor_end(loop, b.self, 0);
        probe_turn(loop);
    }
    probe_free(loop);
}

static void ports_that_outlive_their_loop(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    probe_plan a = {.name = "a"};
    future_pair(loop, &f, &p);
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    assert_int_equal(rotor_port_watch(p, a.self), 0);
    probe_free(loop);
    assert_int_equal(rotor_port_watch(p, a.self), ROTOR_ECLOSED);
    rotor_future_drop(f);
    rotor_port_drop(p);
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
            error = rotor_port_set(p, value_new(i));
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
            value_destroy(value);
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
        future_pair(loop, &futures[i], &workers[i / PER_THREAD].ports[i % PER_THREAD]);
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
    assert_int_equal(values_alive, 0);
    probe_free(loop);
}

static int keep(void *context, void *value, void **result)
{
    *result = value;
    return 0;
}

/* The futures are dropped, and then the loop freed, while four threads set their ports. */
static void threads_against_drops_and_the_end(void **state)
{
    static worker workers[THREADS];
    static rotor_future *futures[THREADS * PER_THREAD];
    pthread_t threads[THREADS];
    memset(workers, 0, sizeof workers);
    rotor_loop *loop = future_loop(0);
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        future_pair(loop, &futures[i], &workers[i / PER_THREAD].ports[i % PER_THREAD]);
        if (i % 3 == 0)
            futures[i] = rotor_future_map(futures[i], keep, NULL, NULL, value_destroy);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_ports, &workers[i]), 0);
    for (int i = 0; i < THREADS * PER_THREAD; i += 3)
        rotor_future_drop(futures[i]);
    probe_turn(loop);
    probe_free(loop);
    for (int i = 0; i < THREADS * PER_THREAD; i++)
        if (i % 3 != 0)
            rotor_future_drop(futures[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].set + workers[i].canceled + workers[i].closed, PER_THREAD);
    }
    assert_int_equal(values_alive, 0);
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
        TEST(a_port_is_told_that_its_future_is_dropped),
        TEST(ports_that_outlive_their_loop),
        TEST(four_threads_resolve),
        TEST(threads_against_drops_and_the_end),
    };
    return cmocka_run_group_tests_name("future", tests, NULL, NULL);
}
