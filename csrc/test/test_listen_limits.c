/* Listening when there is no room for who comes: he waits, is not lost, and nothing spins meanwhile. */
#include "test.h"

#include <sys/resource.h>
#include <unistd.h>

#include "../core/private.h"
#include "greeter.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

enum { MOST = 200 };

typedef struct fixture {
    stage st;
    script sc;
    rotor_handle listener;
    char where[128];
    int clients[MOST];
    int nclients;
} fixture;

/* Each connection is greeted and then kept until the client ends it. */
static void greet(script *sc, rotor_stream *s, rotor_scope *scope)
{
    sc->played = s->intent.kind == ROTOR_INTENT_SLEEP ? 0 : 1;
}

static script_line lines[2];

static void begin(fixture *f, rotor_listen_options options, size_t capacity)
{
    memset(f, 0, sizeof *f);
    lines[0] = (script_line){.then = rotor_expect_bytes(1), .say = "hi\n"};
    lines[1] = (script_line){.then = rotor_intent_done()};
    f->sc = (script){.protocol = script_protocol, .lines = lines, .nlines = 2, .act = greet};
    options.seed = &f->sc;
    stage_open_loop(&f->st, capacity);
    assert_int_equal(rotor_listen(f->st.loop, "0", &f->sc.protocol, &options, &f->listener), 0);
    assert_int_equal(rotor_listener_address(f->st.loop, f->listener, f->where, sizeof f->where), 0);
}

static void come(fixture *f, int n)
{
    while (n-- > 0)
        f->clients[f->nclients++] = sockets_connect(f->where);
}

static void leave(fixture *f, int i)
{
    close(f->clients[i]);
    f->clients[i] = -1;
}

static void end(fixture *f)
{
    for (int i = 0; i < f->nclients; i++)
        if (f->clients[i] >= 0)
            close(f->clients[i]);
    stage_close(&f->st);
    assert_int_equal(f->sc.drops, f->sc.creates);
}

/* -- capacity ---------------------------------------------------------------------------------- */

/* `places` clients are served at a time. */
static void serve_in_turn(fixture *f, int places, int n)
{
    come(f, n);
    for (int served = 0; served < n; served++) {
        int most = served + places < n ? served + places : n;
        TURN_UNTIL(f->st.loop, f->sc.creates == most);
        if (most < n)
            greeter_assert_quiet(&f->st);
        assert_int_equal(f->sc.creates, most);
        sockets_expect(f->st.loop, f->clients[served], "hi\n");
        leave(f, served);
    }
    TURN_UNTIL(f->st.loop, f->sc.drops == n);
    assert_int_equal(f->st.errors, 0);
}

static void capacity_two_with_three_waiting(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 2); /* the listener is one */
    serve_in_turn(&f, 1, 3);
    end(&f);
}

static void room_for_two_with_three_waiting(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 3);
    serve_in_turn(&f, 2, 3);
    end(&f);
}

static void as_many_as_are_allowed(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){.connections = 4}, 0);
    serve_in_turn(&f, 3, 10);
    end(&f);
}

static void any_order_of_leaving(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 4);
    come(&f, 6);
    TURN_UNTIL(f.st.loop, f.sc.creates == 3);
    leave(&f, 4); /* who still waits */
    greeter_assert_quiet(&f.st);
    leave(&f, 1);
    TURN_UNTIL(f.st.loop, f.sc.creates == 4);
    sockets_expect(f.st.loop, f.clients[3], "hi\n");
    leave(&f, 0);
    leave(&f, 2);
    sockets_expect(f.st.loop, f.clients[5], "hi\n");
    end(&f);
}

static void the_listener_may_end_while_others_wait(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 2);
    come(&f, 3);
    TURN_UNTIL(f.st.loop, f.sc.creates == 1);
    greeter_assert_quiet(&f.st);
    assert_int_equal(rotor_end(f.st.loop, f.listener, 0), 0);
    stage_turn(&f.st);
    for (int i = 1; i < 3; i++) { /* these hear of it */
        (void)sockets_end(f.st.loop, f.clients[i], NULL);
        leave(&f, i);
    }
    leave(&f, 0);
    TURN_UNTIL(f.st.loop, rotor_loop_count(f.st.loop) == 0);
    assert_int_equal(f.sc.creates, 1);
    end(&f);
}

static void many_at_once_are_served(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 0);
    come(&f, MOST);
    rotor_loop_turn(f.st.loop);
    assert_int_equal(f.sc.creates, 64); /* but there is more to do in a turn */
    for (int i = 0; i < MOST; i++)
        sockets_expect(f.st.loop, f.clients[i], "hi\n");
    assert_int_equal(f.sc.creates, MOST);
    end(&f);
}

/* Two addresses with three who wait at each: one is served at a time. */
static void serve_both_in_turn(greeter *g)
{
    int clients[2][3], served[2] = {0, 0}, last = -1;
    char where[2][64], local[64];
    for (int i = 0; i < 2; i++) {
        snprintf(where[i], sizeof where[i], "%s", greeter_where(g, i));
        for (int j = 0; j < 3; j++)
            clients[i][j] = sockets_connect(where[i]);
    }
    for (int n = 1; n <= 6; n++) {
        TURN_UNTIL(g->st.loop, g->sc.creates == n);
        greeter_assert_quiet(&g->st);
        assert_int_equal(g->sc.creates, n);
        assert_int_equal(rotor_stream_local(g->sc.stream, local, sizeof local), 0);
        int now = strcmp(local, where[1]) == 0;
        assert_int_not_equal(now, last);
        last = now;
        int fd = clients[now][served[now]++];
        sockets_expect(g->st.loop, fd, "hi\n");
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    }
    TURN_UNTIL(g->st.loop, g->sc.drops == 6);
    for (int i = 0; i < 6; i++)
        close(clients[i % 2][i / 2]);
}

static void addresses_have_a_place_in_turn(void **state)
{
    greeter g;
    greeter_begin(&g, "0,0", (rotor_listen_options){0}, 2);
    serve_both_in_turn(&g);
    greeter_end(&g);
}

/* -- descriptors ------------------------------------------------------------------------------- */

static struct rlimit usual;

/* Leave no more than `n` descriptors to be opened. */
static void limit_descriptors(int n)
{
    int spare[64];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_true(n <= 64);
    for (int i = 0; i < n; i++)
        assert_true((spare[i] = dup(0)) >= 0);
    int next = dup(0);
    for (int i = 0; i < n; i++)
        close(spare[i]);
    close(next);
    struct rlimit limit = {(rlim_t)next, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void unlimit_descriptors(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

static int unlimit_at_the_end(void **state)
{
    if (usual.rlim_cur)
        unlimit_descriptors();
    return test_end(state);
}

static void who_finds_no_descriptor_waits_for_one(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 0);
    come(&f, 8);
    limit_descriptors(3);
    TURN_UNTIL(f.st.loop, f.sc.creates == 3);
    greeter_assert_quiet(&f.st);
    test_monotonic_ms += 99;
    greeter_assert_quiet(&f.st);
    for (int i = 0; i < 10; i++) { /* it tries again, in vain, now and then */
        test_monotonic_ms += 100;
        greeter_assert_quiet(&f.st);
    }
    assert_int_equal(f.sc.creates, 3);
    unlimit_descriptors();
    test_monotonic_ms += 99;
    greeter_assert_quiet(&f.st);
    assert_int_equal(f.sc.creates, 3);
    test_monotonic_ms += 1;
    for (int i = 0; i < 8; i++)
        sockets_expect(f.st.loop, f.clients[i], "hi\n");
    assert_int_equal(f.st.errors, 0);
    end(&f);
}

static void a_connection_that_ends_gives_its_descriptor_on(void **state)
{
    fixture f;
    begin(&f, (rotor_listen_options){0}, 0);
    come(&f, 6);
    limit_descriptors(2);
    for (int i = 0; i < 6; i++) {
        /* Without the clock being moved. The clients keep theirs. */
        sockets_expect(f.st.loop, f.clients[i], "hi\n");
        assert_int_equal(f.sc.creates, i + 2 < 6 ? i + 2 : 6);
        assert_int_equal(shutdown(f.clients[i], SHUT_WR), 0);
        TURN_UNTIL(f.st.loop, f.sc.drops == i + 1);
    }
    unlimit_descriptors();
    end(&f);
}

static void addresses_have_a_descriptor_in_turn(void **state)
{
    greeter g;
    greeter_begin(&g, "0,0", (rotor_listen_options){0}, 0);
    limit_descriptors(7); /* the clients take six */
    serve_both_in_turn(&g);
    unlimit_descriptors();
    greeter_end(&g);
}

static void the_listener_may_end_when_there_is_no_descriptor(void **state)
{
    greeter g;
    int fds[4];
    greeter_begin(&g, "0,0", (rotor_listen_options){0}, 0);
    for (int i = 0; i < 4; i++)
        fds[i] = sockets_connect(greeter_where(&g, i % 2));
    limit_descriptors(1);
    TURN_UNTIL(g.st.loop, g.sc.creates == 1);
    greeter_assert_quiet(&g.st);
    char local[64];
    assert_int_equal(rotor_stream_local(g.sc.stream, local, sizeof local), 0);
    int served = strcmp(local, greeter_where(&g, 1)) == 0;
    assert_int_equal(rotor_end(g.st.loop, g.listener, 0), 0);
    stage_turn(&g.st);
    unlimit_descriptors();
    assert_int_equal(rotor_loop_count(g.st.loop), 1);
    sockets_expect(g.st.loop, fds[served], "hi\n"); /* goes on */
    greeter_assert_echoes(&g, fds[served]);
    for (int i = 0; i < 4; i++) {
        if (i != served) /* these hear of it */
            (void)sockets_end(g.st.loop, fds[i], NULL);
        close(fds[i]);
    }
    greeter_end(&g);
}

static void the_usual_limit_leaves_some_to_others(void **state)
{
    fixture f;
    limit_descriptors(40);
    begin(&f, (rotor_listen_options){0}, 0);
    unlimit_descriptors();
    come(&f, 60);
    stage_turn(&f.st);
    TURN_UNTIL(f.st.loop, f.sc.creates > 10);
    greeter_assert_quiet(&f.st);
    assert_in_range(rotor_loop_count(f.st.loop), 10, 50);
    end(&f);
}

#define LIMITED_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, test_begin, unlimit_at_the_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(capacity_two_with_three_waiting),
        TEST(room_for_two_with_three_waiting),
        TEST(as_many_as_are_allowed),
        TEST(any_order_of_leaving),
        TEST(the_listener_may_end_while_others_wait),
        TEST(many_at_once_are_served),
        TEST(addresses_have_a_place_in_turn),
        LIMITED_TEST(who_finds_no_descriptor_waits_for_one),
        LIMITED_TEST(a_connection_that_ends_gives_its_descriptor_on),
        LIMITED_TEST(addresses_have_a_descriptor_in_turn),
        LIMITED_TEST(the_listener_may_end_when_there_is_no_descriptor),
        LIMITED_TEST(the_usual_limit_leaves_some_to_others),
    };
    return cmocka_run_group_tests_name("listen_limits", tests, NULL, NULL);
}
