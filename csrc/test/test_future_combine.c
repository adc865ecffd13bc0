#include "test.h"

#include "futures.h"
#include "probe.h"
#include "support.h"

/* -- map and then ------------------------------------------------------------------------------ */

static void map_changes_the_value(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_helper first = {.loop = loop}, second = {.loop = loop};
    future_pair(loop, &f, &p);
    f = rotor_future_map(f, future_add_one, &first, future_release, value_destroy);
    f = rotor_future_map(f, future_add_one, &second, NULL, value_destroy);
    assert_int_equal(rotor_future_status(f), UV_EAGAIN);
    rotor_port_set(p, value_new(1));
    assert_int_equal(first.calls, 0);
    probe_turn(loop);
    assert_int_equal(value_taken(f), 3);
    assert_int_equal(first.calls + second.calls, 2);
    assert_int_equal(first.released, 1);
    probe_free(loop);
}

static void map_of_what_is_there_waits_its_turn(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_helper h = {.loop = loop};
    future_pair(loop, &f, &p);
    rotor_port_set(p, value_new(1));
    probe_turn(loop);
    f = rotor_future_map(f, future_add_one, &h, future_release, value_destroy);
    assert_int_equal(h.calls, 0);
    probe_turn(loop);
    assert_int_equal(value_taken(f), 2);
    probe_free(loop);
}

static void map_passes_errors_and_may_fail(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[3];
    rotor_port *p[3];
    future_helper passed = {.loop = loop}, failing = {.error = UV_EIO}, strange = {.error = 1};
    future_helper *helpers[] = {&passed, &failing, &strange};
    for (int i = 0; i < 3; i++) {
        future_pair(loop, &f[i], &p[i]);
        f[i] = rotor_future_map(f[i], future_add_one, helpers[i], future_release, value_destroy);
    }
    rotor_port_fail(p[0], UV_EPIPE);
    rotor_port_set(p[1], value_new(1));
    rotor_port_set(p[2], value_new(1));
    probe_turn(loop);
    future_fails(f[0], UV_EPIPE);
    future_fails(f[1], UV_EIO);
    future_fails(f[2], ROTOR_EUNEXPECTED);
    assert_int_equal(passed.calls, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(helpers[i]->released, 1);
    probe_free(loop);
}

static void then_follows_another(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[3];
    rotor_port *p[3];
    future_helper h[3] = {0};
    for (int i = 0; i < 3; i++) {
        future_pair(loop, &f[i], &p[i]);
        future_pair(loop, &h[i].f, &h[i].p);
        f[i] = rotor_future_then(f[i], future_go_on, &h[i], future_release, value_destroy);
    }
    rotor_port_set(h[0].p, value_new(6)); /* there before it is asked for */
    rotor_port_set(p[0], value_new(1));
    rotor_port_fail(p[1], UV_EPIPE); /* mended */
    rotor_port_set(p[2], value_new(1));
    probe_turn(loop);
    assert_int_equal(value_taken(f[0]), 6);
    assert_int_equal(h[1].status, UV_EPIPE);
    assert_int_equal(rotor_future_status(f[1]), UV_EAGAIN);
    rotor_port_set(h[1].p, value_new(7));
    rotor_port_fail(h[2].p, UV_EIO);
    probe_turn(loop);
    assert_int_equal(value_taken(f[1]), 7);
    future_fails(f[2], UV_EIO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(h[i].calls + h[i].released, 2);
    probe_free(loop);
}

static void then_may_fail(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f, *g;
    rotor_port *p, *q;
    future_helper h = {.error = UV_EIO}, careless = {0};
    future_pair(loop, &f, &p);
    future_pair(loop, &g, &q);
    f = rotor_future_then(f, future_go_on, &h, future_release, value_destroy);
    g = rotor_future_then(g, future_go_on, &careless, future_release, value_destroy);
    rotor_port_set(p, value_new(1));
    rotor_port_set(q, value_new(1));
    probe_turn(loop);
    future_fails(f, UV_EIO);
    future_fails(g, ROTOR_EUNEXPECTED);
    probe_free(loop);
}

static void dropping_the_result_drops_the_sources(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f, *g;
    rotor_port *p, *q;
    future_helper h = {0}, k = {0};
    future_pair(loop, &f, &p);
    f = rotor_future_map(f, future_add_one, &h, future_release, value_destroy);
    f = rotor_future_map(f, future_add_one, &k, future_release, value_destroy);
    rotor_future_drop(f);
    assert_true(rotor_port_is_canceled(p));
    assert_int_equal(h.released + k.released, 2);
    rotor_port_drop(p);

    h = k = (future_helper){0};
    future_pair(loop, &f, &p);
    future_pair(loop, &h.f, &q); /* dropped while the second one is waited for */
    f = rotor_future_then(f, future_go_on, &h, future_release, value_destroy);
    rotor_port_set(p, value_new(1));
    probe_turn(loop);
    assert_false(rotor_port_is_canceled(q));
    rotor_future_drop(f);
    assert_true(rotor_port_is_canceled(q));
    rotor_port_set(q, value_new(1));
    assert_int_equal(h.released, 1);

    h = (future_helper){0};
    future_pair(loop, &f, &p); /* dropped when resolved, but `fn` not called yet */
    rotor_port_set(p, value_new(1));
    probe_turn(loop);
    g = rotor_future_map(f, future_add_one, &h, future_release, value_destroy);
    rotor_future_drop(g);
    probe_turn(loop);
    assert_int_equal(h.calls, 0);
    assert_int_equal(h.released, 1);
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static rotor_future *drop_and_go_on(void *context, int status, void *value, int *error)
{
    future_helper *h = context;
    rotor_future *out = h->f, *next;
    value_destroy(value);
    rotor_future_drop(out);
    assert_int_equal(h->released, 0); /* the context is still in use */
    future_pair(h->loop, &next, &h->p);
    return next;
}

static void a_function_may_drop_its_own_result(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_helper h = {.loop = loop}, k = {.loop = loop};
    future_pair(loop, &f, &p);
    h.f = rotor_future_map(f, future_add_one, &h, future_release, value_destroy);
    rotor_port_set(p, value_new(1));
    future_pair(loop, &f, &p);
    k.f = rotor_future_then(f, drop_and_go_on, &k, future_release, value_destroy);
    rotor_port_set(p, value_new(1));
    probe_turn(loop);
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.released + k.released, 2);
    assert_true(rotor_port_is_canceled(k.p));
    rotor_port_drop(k.p);
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

/* A chain of this length would overflow the stack if each link called the next. */
static void long_chains_take_no_stack(void **state)
{
    enum { LENGTH = 200000 };
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_helper h = {0};
    for (int drop = 0; drop <= 1; drop++) {
        future_pair(loop, &f, &p);
        for (int i = 0; i < LENGTH; i++)
            f = rotor_future_map(f, future_add_one, &h, NULL, value_destroy);
        if (drop)
            rotor_future_drop(f);
        assert_int_equal(rotor_port_set(p, value_new(0)), drop ? ROTOR_ECANCELED : 0);
        assert_int_equal(rotor_loop_run(loop), 0); /* which lasts until all of it is through */
        if (!drop)
            assert_int_equal(value_taken(f), LENGTH);
    }
    probe_free(loop);
}

static int set_port(void *context, void *value, void **result)
{
    rotor_port_set(context, value);
    return 0;
}

/* Nothing but a letter of the loop to itself is left, and no machine. */
static void run_waits_for_letters_on_their_way(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[4];
    rotor_port *p[4];
    for (int i = 0; i < 4; i++)
        future_pair(loop, &f[i], &p[i]);
    for (int i = 0; i < 3; i++)
        f[i] = rotor_future_map(f[i], set_port, p[i + 1], NULL, value_destroy);
    rotor_port_set(p[0], value_new(9));
    assert_int_equal(rotor_loop_run(loop), 0);
    for (int i = 0; i < 3; i++)
        rotor_future_drop(f[i]);
    assert_int_equal(value_taken(f[3]), 9);
    probe_free(loop);
}

/* -- all and first ----------------------------------------------------------------------------- */

enum { N = 3 };

static void new_pairs(rotor_loop *loop, rotor_future **f, rotor_port **p)
{
    for (int i = 0; i < N; i++)
        future_pair(loop, &f[i], &p[i]);
}

static void all_has_the_values_in_order(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    void *value;
    new_pairs(loop, f, p);
    rotor_port_set(p[1], value_new(11));
    probe_turn(loop);
    rotor_future *all = rotor_future_all(loop, f, N, value_destroy);
    rotor_port_set(p[2], value_new(12));
    probe_turn(loop);
    assert_int_equal(rotor_future_status(all), UV_EAGAIN);
    rotor_port_set(p[0], value_new(10));
    probe_turn(loop);
    assert_int_equal(rotor_future_take(all, &value), 0);
    rotor_values *values = value;
    assert_int_equal(values->n, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(*(int *)values->values[i], 10 + i);
    value_destroy(values->values[1]);
    values->values[1] = NULL; /* taken */
    rotor_values_free(values);
    rotor_values_free(NULL);

    all = rotor_future_all(loop, NULL, 0, value_destroy);
    assert_int_equal(rotor_future_status(all), 0);
    assert_int_equal(((rotor_values *)rotor_future_peek(all))->n, 0);
    rotor_future_drop(all);
    probe_free(loop);
    assert_int_equal(values_alive, 0);
}

static void all_fails_with_the_first_error(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    new_pairs(loop, f, p);
    rotor_future *all = rotor_future_all(loop, f, N, value_destroy);
    rotor_port_set(p[0], value_new(1));
    rotor_port_fail(p[1], UV_EPIPE);
    probe_turn(loop);
    assert_true(rotor_port_is_canceled(p[2]));
    assert_int_equal(values_alive, 0);
    rotor_port_fail(p[2], UV_EIO);
    probe_turn(loop);
    future_fails(all, UV_EPIPE);
    probe_free(loop);
}

static void first_is_the_first_value(void **state)
{
    rotor_loop *loop = future_loop(0);
    rotor_future *f[N];
    rotor_port *p[N];
    new_pairs(loop, f, p);
    rotor_future *first = rotor_future_first(loop, f, N, value_destroy);
    rotor_port_fail(p[1], UV_EIO); /* an error is not it */
    probe_turn(loop);
    assert_int_equal(rotor_future_status(first), UV_EAGAIN);
    rotor_port_set(p[2], value_new(3));
    rotor_port_set(p[0], value_new(1)); /* too late, though in the same turn */
    probe_turn(loop);
    assert_int_equal(value_taken(first), 3);

    new_pairs(loop, f, p);
    first = rotor_future_first(loop, f, N, value_destroy);
    rotor_port_fail(p[2], UV_EIO);
    rotor_port_fail(p[0], UV_EIO);
    rotor_port_fail(p[1], UV_EPIPE);
    probe_turn(loop);
    future_fails(first, UV_EPIPE); /* the last error when all fail */
    probe_free(loop);
    assert_int_equal(values_alive, 0);
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
        return rotor_future_map(f[0], fail_with_detail, NULL, NULL, value_destroy);
    case 1:
        rotor_future_drop(f[1]);
        return rotor_future_map(f[0], future_add_one, NULL, NULL, destroy_wrongly);
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
            rotor_loop *loop = future_loop(0);
            rotor_future *f[2];
            rotor_port *p[2];
            future_pair(loop, &f[0], &p[0]);
            future_pair(loop, &f[1], &p[1]);
            rotor_future *out = combined(loop, kind, f);
            if (kind == 0)
                rotor_port_set(p[0], value_new(1));
            else
                rotor_port_fail_with(p[0], UV_EIO, value_new(1));
            rotor_port_fail_with(p[1], UV_EPIPE, value_new(2));
            probe_turn(loop);
            if (take) {
                void *value;
                assert_int_equal(rotor_future_take(out, &value), kind == 4 ? UV_EPIPE : UV_EIO);
                assert_int_equal(*(int *)value, kind == 4 ? 2 : 1);
                value_destroy(value);
            } else {
                rotor_future_drop(out);
            }
            assert_int_equal(values_alive, 0);
            probe_free(loop);
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
    rotor_loop *loop = future_loop(0);
    rotor_future *f[2];
    rotor_port *p[2];
    future_pair(loop, &f[0], &p[0]);
    assert_int_equal(rotor_future_new(loop, &f[1], &p[1], destroy_int), 0);
    rotor_future *first = rotor_future_first(loop, f, 2, destroy_int);
    rotor_port_fail_with(p[0], UV_EIO, value_new(1));
    probe_turn(loop);
    assert_int_equal(values_alive, 0);
    rotor_port_set(p[1], &seventy_seven);
    probe_turn(loop);
    rotor_future_drop(first);
    probe_free(loop);
}

static int to_seventy_seven(void *context, void *value, void **result)
{
    value_destroy(value);
    *result = context;
    return 0;
}

static void a_result_has_a_destructor_of_its_own(void **state)
{
    static int seventy_seven = 77;
    rotor_loop *loop = future_loop(0);
    rotor_future *f;
    rotor_port *p;
    future_pair(loop, &f, &p);
    f = rotor_future_map(f, to_seventy_seven, &seventy_seven, NULL, destroy_int);
    rotor_port_set(p, value_new(1));
    probe_turn(loop);
    rotor_future_drop(f);
    assert_int_equal(values_alive, 0);
    probe_free(loop);
}

/* Some of its members resolved, some not, some with an error. */
static rotor_future *new_group(rotor_loop *loop, bool all, rotor_port **p)
{
    rotor_future *f[N];
    new_pairs(loop, f, p);
    rotor_port_set(p[0], value_new(1));
    rotor_future *g = all ? rotor_future_all(loop, f, N, value_destroy)
                          : rotor_future_first(loop, f, N, value_destroy);
    return g;
}

static void groups_may_be_dropped_at_any_time(void **state)
{
    for (int all = 0; all <= 1; all++) {
        for (int turns = 0; turns <= 1; turns++) {
            for (int ended = 0; ended <= 1; ended++) {
                rotor_loop *loop = future_loop(0);
                rotor_port *p[N];
                rotor_future *g = new_group(loop, all, p);
                if (turns)
                    probe_turn(loop);
                if (ended)
                    probe_free(loop);
                rotor_future_drop(g);
                for (int i = 1; i < N; i++) {
                    assert_true(rotor_port_is_canceled(p[i]));
                    rotor_port_set(p[i], value_new(i));
                }
                if (!ended)
                    probe_free(loop);
                assert_int_equal(values_alive, 0);
                assert_int_equal(test_alloc_live(), 0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        TEST(a_result_has_a_destructor_of_its_own),
        TEST(groups_may_be_dropped_at_any_time),
    };
    return cmocka_run_group_tests_name("future_combine", tests, NULL, NULL);
}
