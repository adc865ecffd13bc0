/* Streams over real sockets: what only a kernel does. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

static const int families[] = {AF_UNIX, AF_INET};

/* A stream that plays `sc`; returns the far end. */
static int begin(stage *st, script *sc, int family)
{
    int near, far;
    stage_open_loop(st, 0);
    sockets_pair(family, &near, &far);
    rotor_stream_seed seed = {.protocol = &sc->protocol, .fd = near, .seed = sc};
    assert_int_equal(rotor_add(st->loop, &rotor_stream_type, &seed, &st->self), 0);
    assert_int_equal(seed.fd, -1);
    return far;
}

static void end(stage *st, int far)
{
    if (far >= 0)
        close(far);
    stage_close(st);
}

static void an_idle_stream_holds_nothing(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 99), .echo = true});
        int far = begin(&st, &sc, families[i]);
        size_t live = test_alloc_live();
        for (int n = 0; n < 3; n++) {
            sockets_send(far, "some\nlines\nand a half");
            sockets_expect(st.loop, far, "some\nlines\n");
            sockets_send(far, "\n");
            sockets_expect(st.loop, far, "and a half\n");
            assert_null(sc.stream->input.block);
            assert_null(sc.stream->output.block);
            assert_int_equal(test_alloc_live(), live);
        }
        end(&st, far);
    }
}

static void the_peer_may_close_half(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc =
            SCRIPT({.then = rotor_expect_bytes(9)}, {.then = rotor_intent_sleep(), .say = "half"},
                   {.then = rotor_intent_done(), .say = " and half"});
        int far = begin(&st, &sc, families[i]);
        sockets_send(far, "abc");
        shutdown(far, SHUT_WR);
        sockets_expect(st.loop, far, "half");
        assert_string_equal(sc.log, "create exception(EEOF)");
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
        sockets_expect(st.loop, far, " and half");
        assert_int_equal(sockets_end(st.loop, far, NULL), 0);
        assert_string_equal(sc.log, "create exception(EEOF) wakeup drop");
        end(&st, far);
    }
}

static void the_stream_may_close_half(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_expect_bytes(3), .say = "last words", .shutdown = true});
        int far = begin(&st, &sc, families[i]);
        sockets_expect(st.loop, far, "last words");
        assert_int_equal(sockets_end(st.loop, far, NULL), 0);
        sockets_send(far, "abcdef");
        TURN_UNTIL(st.loop, sc.reads == 2);
        shutdown(far, SHUT_WR);
        TURN_UNTIL(st.loop, stage_is_over(&st));
        assert_string_equal(sc.log, "create read(abc) read(def) exception(EEOF) drop");
        end(&st, far);
    }
}

/* -- long output ------------------------------------------------------------------------------- */

enum { LONG = 8 << 20 }; /* more than any socket's buffers take */

static void done_sends_everything(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        size_t received;
        script sc = SCRIPT({.then = rotor_intent_done(), .bulk = LONG});
        int far = begin(&st, &sc, families[i]);
        stage_turn(&st);
        assert_string_equal(sc.log, "create");
        assert_in_range(rotor_stream_unsent(sc.stream), 1, LONG - 1);
        assert_int_equal(sockets_end(st.loop, far, &received), 0);
        assert_int_equal(received, LONG);
        assert_string_equal(sc.log, "create drop");
        assert_int_equal(st.errors, 0);
        end(&st, far);
    }
}

static void abort_drops_what_is_not_sent(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        size_t received;
        script sc =
            SCRIPT({.then = rotor_intent_sleep(), .bulk = LONG}, {.then = rotor_intent_abort()});
        int far = begin(&st, &sc, families[i]);
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
        stage_turn(&st);
        assert_string_equal(sc.log, "create wakeup drop");
        assert_int_equal(sockets_end(st.loop, far, &received), 0);
        assert_in_range(received, 1, LONG - 1);
        end(&st, far);
    }
}

static void a_peer_that_never_reads_has_stalled(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_intent_done(), .bulk = LONG});
        int far = begin(&st, &sc, families[i]);
        /* The kernel may take some more, but not for ever. */
        TURN_UNTIL(st.loop, (test_monotonic_ms += 30000, stage_is_over(&st)));
        assert_string_equal(sc.log, "create fatal(ESTALLED) drop");
        assert_int_equal(st.error, ROTOR_ESTALLED);
        end(&st, far);
    }
}

/* -- the last answer --------------------------------------------------------------------------- */

/* The peer keeps sending while it is told that it is to stop. Whether it notices nothing but that. */
static bool is_refused_politely(rotor_intent answer)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = answer, .say = "no more!"});
    int far = begin(&st, &sc, AF_INET);
    char talk[10000], text[16] = "";
    bool polite = true;
    memset(talk, 't', sizeof talk);
    for (int n = 0; n < 50; n++) {
        polite &= send(far, talk, sizeof talk, MSG_NOSIGNAL) > 0 || errno == EAGAIN;
        stage_turn(&st);
        sockets_turn(st.loop);
    }
    assert_int_equal(sc.reads, 1);
    polite &= recv(far, text, sizeof text, 0) == 8 && strcmp(text, "no more!") == 0;
    (void)shutdown(far, SHUT_WR);
    polite &= sockets_end(st.loop, far, NULL) == 0;
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_int_equal(st.errors, 0);
    end(&st, far);
    return polite;
}

static void lingering_brings_the_last_answer_home(void **state)
{
    assert_true(is_refused_politely(rotor_intent_linger(ROTOR_NEVER)));
    assert_false(is_refused_politely(rotor_intent_done())); /* or it would be of no use */
}

static void lingering_over_a_unix_socket_ends_too(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_linger(ROTOR_NEVER), .say = "no more!"});
    int far = begin(&st, &sc, AF_UNIX);
    sockets_send(far, "talk talk");
    sockets_expect(st.loop, far, "no more!");
    sockets_send(far, "talk talk");
    assert_int_equal(sockets_end(st.loop, far, NULL), 0);
    close(far);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_int_equal(st.errors, 0);
    end(&st, -1);
}

/* -- resets ------------------------------------------------------------------------------------ */

static void resets_are_fatal_wherever_they_come(void **state)
{
    static const char *const sent[] = {"", "x", "xyz", "xyz\n12"};
    const struct {
        rotor_intent wait;
        size_t bulk;
        bool shutdown;
    } waits[] = {{rotor_expect_bytes(10), 0, false},
                 {rotor_expect_delimiter("\n\n", 2, 20), 0, false},
                 {rotor_expect_delimiter("\n", 1, 20), 0, true},
                 {rotor_expect_bytes(10), LONG, false},
                 {rotor_expect_flush(0), LONG, false},
                 {rotor_intent_sleep(), LONG, false},
                 {rotor_intent_done(), LONG, false},
                 {rotor_intent_linger(ROTOR_NEVER), LONG, false}};
    for (size_t w = 0; w < sizeof waits / sizeof waits[0]; w++) {
        for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
            for (int turned = 0; turned <= 1; turned++) {
                stage st;
                script sc = SCRIPT(
                    {.then = waits[w].wait, .bulk = waits[w].bulk, .shutdown = waits[w].shutdown});
                int far = begin(&st, &sc, AF_INET);
                if (sent[i][0])
                    sockets_send(far, sent[i]);
                if (turned)
                    stage_turn(&st);
                sockets_reset(far);
                TURN_UNTIL(st.loop, stage_is_over(&st));
                assert_int_equal(sc.creates, 1);
                assert_int_equal(sc.fatals, 1);
                assert_int_equal(sc.drops, 1);
                assert_true(st.error == UV_ECONNRESET || st.error == UV_EPIPE);
                assert_int_equal(st.errors, 1);
                end(&st, -1);
            }
        }
    }
}

static void a_reset_is_found_when_one_looks(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep(), .say = "there?"});
    int far = begin(&st, &sc, AF_INET);
    sockets_reset(far);
    for (int i = 0; i < 3; i++)
        sockets_turn(st.loop);
    assert_string_equal(sc.log, "create");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_int_equal(sc.fatals, 1);
    end(&st, -1);
}

static void a_reset_while_lingering_is_an_end(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_linger(ROTOR_NEVER), .say = "bye"});
    int far = begin(&st, &sc, AF_INET);
    sockets_expect(st.loop, far, "bye");
    assert_int_equal(sockets_end(st.loop, far, NULL), 0);
    sockets_reset(far);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.errors, 0);
    end(&st, -1);
}

static void a_peer_that_closes_before_it_reads_is_no_signal(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc =
            SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_sleep(), .say = "1"},
                   {.then = rotor_intent_sleep(), .say = "2"});
        int far = begin(&st, &sc, families[i]);
        sockets_send(far, "x");
        close(far);
        /* The first may yet be sent; a later one is not, and SIGPIPE would end this program. */
        while (!stage_is_over(&st)) {
            (void)rotor_wake(st.loop, st.self);
            sockets_turn(st.loop);
        }
        assert_int_equal(sc.fatals, 1);
        assert_true(st.error == UV_EPIPE || st.error == UV_ECONNRESET);
        end(&st, -1);
    }
}

/* -- making them ------------------------------------------------------------------------------- */

static void count_release(void *seed)
{
    ++*(int *)((script *)seed)->context;
}

static void what_cannot_be_polled_is_refused(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    char name[] = "/tmp/rotor-test-XXXXXX";
    int fd = mkstemp(name), copy = dup(fd);
    unlink(name);
    int released = 0;
    sc.context = &released;
    stage_open_loop(&st, 0);
    rotor_stream_seed seed = {
        .protocol = &sc.protocol, .fd = fd, .seed = &sc, .release = count_release};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, NULL), UV_EPERM);
    assert_string_equal(sc.log, "fatal(EPERM)");
    assert_int_equal(released, 1);
    assert_int_equal(seed.fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was taken, so it was closed */
    close(copy);
    end(&st, -1);
}

static void a_loop_without_room_takes_nothing(void **state)
{
    stage st;
    int near, far;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    probe_plan plan = {.name = "p"};
    int released = 0;
    sc.context = &released;
    sockets_pair(AF_UNIX, &near, &far);
    stage_open_loop(&st, 1);
    probe_reset();
    assert_int_equal(rotor_add(st.loop, &probe_type, &plan, NULL), 0);
    rotor_stream_seed seed = {
        .protocol = &sc.protocol, .fd = near, .seed = &sc, .release = count_release};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, NULL), ROTOR_ECAPACITY);
    assert_int_equal(released, 0);
    assert_int_equal(seed.fd, near);
    assert_string_equal(sc.log, "");
    close(near);
    end(&st, far);
}

static rotor_response spawn_it(probe *p, rotor_scope *scope)
{
    return rotor_spawn(scope, &rotor_stream_type, p->plan->context);
}

static void a_parent_hears_of_its_streams_end(void **state)
{
    const struct {
        rotor_intent then;
        int status;
    } cases[] = {{rotor_intent_done(), 0}, {rotor_intent_error(UV_EPROTO), UV_EPROTO}};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        int near, far;
        script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = cases[i].then, .say = "bye"});
        sockets_pair(AF_UNIX, &near, &far);
        rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
        probe_plan parent = {.name = "parent",
                             .context = &seed,
                             .on = {[CREATE] = spawn_it, [CHILD_DONE] = probe_done}};
        stage_open_loop(&st, 0);
        probe_reset();
        assert_int_equal(rotor_add(st.loop, &probe_type, &parent, NULL), 0);
        TURN_UNTIL(st.loop, sc.creates == 1);
        sockets_send(far, "x");
        TURN_UNTIL(st.loop, rotor_loop_count(st.loop) == 0);
        assert_int_equal(parent.count[CHILD_DONE], 1);
        assert_int_equal(parent.status, cases[i].status);
        assert_int_equal(st.errors, 0);
        end(&st, far);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_idle_stream_holds_nothing),
        TEST(the_peer_may_close_half),
        TEST(the_stream_may_close_half),
        TEST(done_sends_everything),
        TEST(abort_drops_what_is_not_sent),
        TEST(a_peer_that_never_reads_has_stalled),
        TEST(lingering_brings_the_last_answer_home),
        TEST(lingering_over_a_unix_socket_ends_too),
        TEST(resets_are_fatal_wherever_they_come),
        TEST(a_reset_is_found_when_one_looks),
        TEST(a_reset_while_lingering_is_an_end),
        TEST(a_peer_that_closes_before_it_reads_is_no_signal),
        TEST(what_cannot_be_polled_is_refused),
        TEST(a_loop_without_room_takes_nothing),
        TEST(a_parent_hears_of_its_streams_end),
    };
    return cmocka_run_group_tests_name("stream_sockets", tests, NULL, NULL);
}
