#include "test.h"

#include "futures.h"
#include "probe.h"
#include "support.h"

/* -- timeout ----------------------------------------------------------------------------------- */

static void timeout_when_nothing_comes(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_pair(loop, &f, &p);
    f = rotor_future_timeout(f, 1500);
    assert_int_equal(rotor_loop_count(loop), 1);
    probe_turn_at(loop, 1499);
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    probe_turn_at(loop, 1500);
    assert_true(rotor_port_is_canceled(p));
    future_fails(f, ROTOR_ETIMEDOUT);
    assert_int_equal(rotor_loop_count(loop), 0);
    rotor_port_set(p, value_new(1));
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static void timeout_is_called_off(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f, *g, *h;
    rotor_port *p, *q, *r;
    future_pair(loop, &f, &p);
    future_pair(loop, &g, &q);
    future_pair(loop, &h, &r);
    f = rotor_future_timeout(f, 1500);
    g = rotor_future_timeout(g, 1500);
    h = rotor_future_timeout(h, 1500);
    rotor_port_set(p, value_new(4));
    rotor_port_fail(q, UV_EIO);
    rotor_future_drop(h);
    assert_true(rotor_port_is_canceled(r));
    rotor_port_drop(r);
    probe_turn(loop);
    assert_int_equal(rotor_loop_count(loop), 0);
    probe_turn_at(loop, 2000);
    assert_int_equal(value_taken(f), 4);
    future_fails(g, UV_EIO);
    probe_free(loop);
}

static void timeout_takes_a_machine(void **state)
{
    rotor_loop *loop = future_loop(1);
    rotor_future *f, *g;
    rotor_port *p, *q;
    future_pair(loop, &f, &p);
    future_pair(loop, &g, &q);
    f = rotor_future_timeout(f, 1500);
    assert_non_null(f);
    assert_null(rotor_future_timeout(g, 1500));
    assert_true(rotor_port_is_canceled(q));
    rotor_port_drop(q);
    probe_free(loop); /* with the one still waiting */
    rotor_port_set(p, value_new(1));
    future_fails(f, ROTOR_ECLOSED);
}

static rotor_response timeout_of_context(probe *p, rotor_scope *scope)
{
    future_helper *h = p->plan->context;
    h->f = rotor_future_timeout(h->f, rotor_now(scope));
    assert_non_null(h->f);
    assert_int_equal(rotor_future_status(h->f), UV_EAGAIN);
    assert_int_equal(rotor_future_watch(h->f, p->machine.self), 0);
    return rotor_ok();
}

static void timeout_from_a_transition(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_port *p;
    future_helper h = {0};
    probe_plan a = {
        .name = "a", .on[CREATE] = timeout_of_context, .on[WAKEUP] = probe_done, .context = &h};
    future_pair(loop, &h.f, &p);
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
    probe_turn_at(loop, 1001);
    assert_string_equal(probe_log(), "a.create a.wakeup a.drop");
    future_fails(h.f, ROTOR_ETIMEDOUT);
    rotor_port_drop(p);
    probe_free(loop);
}

/* -- the end of the loop ----------------------------------------------------------------------- */

/* Every combinator, on sources resolved (`set`) or not, in one pile of futures. */
enum { KINDS = 5 };

static int combine(rotor_loop *loop, rotor_future **out, rotor_port **ports, future_helper *h,
                   bool set)
{
    rotor_future *f[KINDS + 2];
    int made = 0;
    for (; made < KINDS + 2; made++)
        if (rotor_future_new(loop, &f[made], &ports[made], value_destroy))
            break;
    if (made < KINDS + 2) {
        for (int i = 0; i < made; i++) {
            rotor_future_drop(f[i]);
            rotor_port_drop(ports[i]);
        }
        return UV_ENOMEM;
    }
    for (int i = 0; set && i < made; i++)
        rotor_port_set(ports[i], value_new(i));
    out[0] = rotor_future_map(f[0], future_add_one, h, future_release, value_destroy);
    out[1] = rotor_future_then(f[1], future_go_on, h + 1, future_release, value_destroy);
    out[2] = rotor_future_all(loop, f + 2, 2, value_destroy);
    out[3] = rotor_future_first(loop, f + 4, 2, value_destroy);
    out[4] = rotor_future_timeout(f[6], 1500);
    return 0;
}

static void combinators_outlive_the_loop(void **state)
{
    for (int set = 0; set <= 1; set++) {
        for (int take = 0; take <= 1; take++) {
            rotor_loop *loop = future_loop(0);
            rotor_future *out[KINDS];
            rotor_port *ports[KINDS + 2];
            future_helper h[2] = {{0}, {.error = UV_EIO}};
            assert_int_equal(combine(loop, out, ports, h, set), 0);
            probe_free(loop);
            assert_int_equal(h[0].calls + h[1].calls, 0); /* nothing is called any more */
            for (int i = 0; i < KINDS; i++)
                if (take)
                    future_fails(out[i], ROTOR_ECLOSED);
                else
                    rotor_future_drop(out[i]);
            assert_int_equal(h[0].released + h[1].released, 2);
            for (int i = 0; !set && i < KINDS + 2; i++)
                assert_int_equal(rotor_port_set(ports[i], value_new(i)), ROTOR_ECANCELED);
            assert_int_equal(values_alive, 0);
            assert_int_equal(test_alloc_live(), 0);
        }
    }
}

static void a_call_still_to_come_when_the_loop_ends(void **state)
{
    for (int dropped = 0; dropped <= 1; dropped++) {
        rotor_loop *loop = future_loop(0);
        rotor_future *f;
        rotor_port *p;
        future_helper h = {.loop = loop};
        future_pair(loop, &f, &p);
        rotor_port_set(p, value_new(1));
        probe_turn(loop);
        f = rotor_future_map(f, future_add_one, &h, future_release, value_destroy);
        if (dropped)
            rotor_future_drop(f);
        probe_free(loop);
        if (!dropped)
            future_fails(f, ROTOR_ECLOSED);
        assert_int_equal(h.calls, 0);
        assert_int_equal(h.released, 1);
        assert_int_equal(values_alive, 0);
    }
}

static void combining_after_the_loop(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f, *g, *k;
    rotor_port *p, *q, *r;
    future_helper h[2] = {0};
    future_pair(loop, &f, &p);
    future_pair(loop, &g, &q);
    future_pair(loop, &k, &r);
    rotor_port_set(p, value_new(1));
    probe_free(loop);
    f = rotor_future_map(f, future_add_one, &h[0], future_release, value_destroy);
    g = rotor_future_then(g, future_go_on, &h[1], future_release, value_destroy);
    k = rotor_future_timeout(k, 1500);
    future_fails(f, ROTOR_ECLOSED);
    future_fails(g, ROTOR_ECLOSED);
    rotor_future_drop(k);
    assert_int_equal(h[0].released + h[1].released, 2);
    rotor_port_drop(q);
    rotor_port_drop(r);
    assert_int_equal(values_alive, 0);
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
        rotor_loop *loop = future_loop(0);
        rotor_future *out[KINDS];
        rotor_port *ports[KINDS + 2];
        future_helper h[2] = {{0}, {.error = UV_EIO}};
        probe_plan a = {.name = "a", .dropped = drop_futures, .context = out};
        assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), 0);
        assert_int_equal(combine(loop, out, ports, h, set), 0);
        if (set)
            probe_turn(loop);
        probe_free(loop); /* whose `drop` drops them */
        for (int i = 0; !set && i < KINDS + 2; i++)
            rotor_port_drop(ports[i]);
        assert_int_equal(h[0].released + h[1].released, 2);
        assert_int_equal(values_alive, 0);
    }
}

/* -- out of memory ----------------------------------------------------------------------------- */

static void combine_all(void)
{
    rotor_loop *loop;
    rotor_future *out[KINDS];
    rotor_port *ports[KINDS + 2];
    future_helper h[2] = {{0}, {.error = UV_EIO}};
    probe_reset();
    test_monotonic_ms = 1000;
    if (rotor_loop_new(&loop, &(rotor_config){.clock = &test_clock, .buffer = 64}))
        return;
    if (combine(loop, out, ports, h, true)) {
        assert_true(test_alloc_failed() > 0);
    } else {
        probe_turn(loop);
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
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static void out_of_memory(void **state)
{
    test_out_of_memory(combine_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timeout_when_nothing_comes),
        TEST(timeout_is_called_off),
        TEST(timeout_takes_a_machine),
        TEST(timeout_from_a_transition),
        TEST(combinators_outlive_the_loop),
        TEST(a_call_still_to_come_when_the_loop_ends),
        TEST(combining_after_the_loop),
        TEST(a_machine_may_own_futures),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("future_ends", tests, NULL, NULL);
}
