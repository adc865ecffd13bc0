/* Hangups: a stream that does not read is told that its peer has closed. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "script.h"
#include "sockets.h"
#include "support.h"
#include "traced.h"

/* A stream in memory whose script has a `hangup`, and whose peer takes `window` bytes. */
static void open_minding(stage *st, script *sc, size_t window)
{
    sc->protocol.hangup = script_hangup;
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    rotor_memory_window(st->peer, window);
    assert_int_equal(rotor_memory_connect(st->peer, st->loop, &sc->protocol, sc, &st->self), 0);
    stage_turn(st);
}

static void hang_up(stage *st)
{
    rotor_memory_shutdown(st->peer);
    stage_turn(st);
}

/* -- when -------------------------------------------------------------------------------------- */

static void who_sleeps_is_told_once(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    open_minding(&st, &sc, SIZE_MAX);
    stage_send(&st, "not read");
    assert_string_equal(sc.log, "create");
    for (int i = 0; i < 3; i++)
        hang_up(&st);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create hangup wakeup");
    stage_close(&st);
}

static void who_hung_up_before_is_told_too(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    sc.protocol.hangup = script_hangup;
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_shutdown(st.peer);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    assert_string_equal(sc.log, "create");
    stage_turn(&st);
    assert_string_equal(sc.log, "create hangup");
    stage_close(&st);
}

static void who_waits_for_a_flush_is_told(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_flush(2), .say = "some"},
                       {.then = rotor_intent_same()}, {.then = rotor_intent_done()});
    open_minding(&st, &sc, 1);
    hang_up(&st);
    assert_string_equal(sc.log, "create hangup");
    rotor_memory_window(st.peer, SIZE_MAX);
    stage_turn(&st);
    assert_string_equal(sc.log, "create hangup flushed(0) drop");
    assert_string_equal(stage_received(&st), "some");
    stage_close(&st);
}

static void who_has_stopped_reading_is_told(void **state)
{
    const rotor_intent waits[] = {rotor_expect_bytes(1), rotor_expect_delimiter("\n", 1, 9),
                                  rotor_and_flush(rotor_expect_bytes(1), 3)};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = waits[i], .bulk = 10}, {.then = rotor_intent_same()});
        sc.protocol.high_water = 10;
        open_minding(&st, &sc, 0);
        stage_send(&st, "abc");
        assert_string_equal(sc.log, "create");
        hang_up(&st);
        assert_string_equal(sc.log, "create hangup");
        rotor_memory_window(st.peer, SIZE_MAX);
        stage_turn(&st);
        assert_non_null(strstr(sc.log, "hangup "));
        assert_null(strstr(strstr(sc.log, "hangup") + 1, "hangup"));
        assert_true(stage_is_over(&st)); /* by the end, in the midst of an expectation or not */
        stage_close(&st);
    }
}

static void who_reads_hears_of_the_end_by_reading(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(9)}, {.then = rotor_intent_sleep()});
    open_minding(&st, &sc, SIZE_MAX);
    stage_send(&st, "abc");
    hang_up(&st);
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create exception(EEOF)");
    stage_close(&st);
}

static void who_closes_is_not_told(void **state)
{
    const rotor_intent ends[] = {rotor_intent_done(), rotor_intent_linger(ROTOR_NEVER)};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = ends[i], .say = "bye"});
        open_minding(&st, &sc, 0);
        hang_up(&st);
        assert_string_equal(sc.log, "create");
        rotor_memory_window(st.peer, SIZE_MAX);
        stage_turn(&st);
        assert_string_equal(sc.log, "create drop");
        assert_string_equal(stage_received(&st), "bye");
        stage_close(&st);
    }
}

static void who_does_not_mind_is_not_told(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_done()});
    stage_open(&st, &sc);
    hang_up(&st);
    assert_string_equal(sc.log, "create");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create wakeup exception(EEOF) drop");
    stage_close(&st);
}

/* -- states ------------------------------------------------------------------------------------ */

/* Into sc->context and back, when it is woken. */
static void enter_or_leave(script *sc, rotor_stream *s, rotor_scope *scope)
{
    const rotor_protocol *root = rotor_protocol_of(s->protocol);
    if (sc->played > 0)
        assert_int_equal(rotor_become(s, s->protocol == root ? sc->context : root), 0);
}

static void a_state_may_mind(void **state)
{
    for (int leaves = 0; leaves <= 1; leaves++) {
        stage st;
        script sc = SCRIPT({.then = rotor_intent_sleep()});
        script_line lines[] = {{.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep()}};
        sc.lines = lines;
        sc.nlines = 2;
        rotor_protocol in = {.name = "in", .parent = &sc.protocol, .hangup = script_hangup};
        sc.act = enter_or_leave;
        sc.context = &in;
        stage_open(&st, &sc);
        for (int i = 0; i <= leaves; i++) {
            assert_int_equal(rotor_wake(st.loop, st.self), 0);
            stage_turn(&st);
        }
        hang_up(&st);
        assert_string_equal(sc.log, leaves ? "create wakeup wakeup" : "create wakeup hangup");
        stage_close(&st);
    }
}

/* -- and then ---------------------------------------------------------------------------------- */

static void what_was_sent_before_can_be_read(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_expect_bytes(2)},
                       {.then = rotor_expect_bytes(2)}, {.then = rotor_intent_done()});
    open_minding(&st, &sc, SIZE_MAX);
    stage_send(&st, "abc");
    hang_up(&st);
    assert_string_equal(sc.log, "create hangup read(ab) exception(EEOF) drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void any_answer_will_do(void **state)
{
    const struct {
        rotor_intent then;
        const char *log, *received;
        int error;
    } cases[] = {
        {rotor_intent_done(), "create hangup drop", "so", 0},
        {rotor_intent_abort(), "create hangup drop", "", 0},
        {rotor_intent_error(UV_EPIPE), "create hangup drop", "", UV_EPIPE},
        {rotor_intent_linger(ROTOR_NEVER), "create hangup drop", "so", 0},
        {rotor_expect_flush(0), "create hangup flushed(0) drop", "so", 0},
        {rotor_expect_bytes(1), "create hangup exception(EEOF) drop", "so", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = cases[i].then, .say = "so"},
                           {.then = rotor_intent_done()});
        open_minding(&st, &sc, SIZE_MAX);
        hang_up(&st);
        assert_string_equal(sc.log, cases[i].log);
        assert_string_equal(stage_received(&st), cases[i].received);
        assert_int_equal(st.error, cases[i].error);
        stage_close(&st);
    }
}

static void the_deadline_goes_on(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_intent_sleep(), test_monotonic_ms + 10)},
                       {.then = rotor_intent_same()}, {.then = rotor_intent_done()});
    open_minding(&st, &sc, SIZE_MAX);
    stage_wait(&st, 4);
    hang_up(&st);
    stage_wait(&st, 5);
    assert_string_equal(sc.log, "create hangup");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create hangup timeout drop");
    stage_close(&st);
}

static void the_next_protocol_is_told_for_itself(void **state)
{
    stage st;
    script next = SCRIPT({.then = rotor_intent_sleep()});
    next.protocol.hangup = script_hangup;
    rotor_stream_seed seed = {.protocol = &next.protocol, .seed = &next};
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_pass(&seed)});
    open_minding(&st, &sc, SIZE_MAX);
    hang_up(&st);
    assert_string_equal(sc.log, "create hangup drop");
    assert_string_equal(next.log, "create hangup");
    stage_close(&st);
}

/* -- failures ---------------------------------------------------------------------------------- */

static void a_connection_that_failed_is_fatal(void **state)
{
    const rotor_intent waits[] = {rotor_intent_sleep(), rotor_expect_flush(0),
                                  rotor_expect_bytes(1)};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = waits[i], .bulk = i > 0 ? 10 : 0});
        sc.protocol.high_water = 10;
        open_minding(&st, &sc, 0);
        rotor_memory_fail(st.peer, UV_ECONNRESET);
        stage_turn(&st);
        assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
        assert_int_equal(st.errors, 1);
        assert_int_equal(st.error, UV_ECONNRESET);
        stage_close(&st);
    }
}

static void a_failure_after_it_shows_by_writing(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep()},
                       {.then = rotor_intent_sleep(), .say = "there?"});
    open_minding(&st, &sc, SIZE_MAX);
    hang_up(&st);
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create hangup");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create hangup wakeup fatal(ECONNRESET) drop");
    stage_close(&st);
}

/* -- over sockets ------------------------------------------------------------------------------ */

enum { LONG = 8 << 20 }; /* more than any socket's buffers take */

static int begin(stage *st, script *sc, int family)
{
    int near, far;
    sc->protocol.hangup = script_hangup;
    stage_open_loop(st, 0);
    sockets_pair(family, &near, &far);
    rotor_stream_seed seed = {.protocol = &sc->protocol, .fd = near, .seed = sc};
    assert_int_equal(rotor_add(st->loop, &rotor_stream_type, &seed, &st->self), 0);
    return far;
}

static const int families[] = {AF_UNIX, AF_INET};

static void sockets_tell_it_once(void **state)
{
    for (size_t i = 0; i < 4; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep()},
                           {.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()});
        int far = begin(&st, &sc, families[i % 2]);
        bool unread = i >= 2;
        assert_int_equal(sc.stream->io.interest, ROTOR_HANGUP);
        if (unread)
            sockets_send(far, "a");
        for (int n = 0; n < 3; n++)
            sockets_turn(st.loop);
        assert_string_equal(sc.log, "create");
        shutdown(far, SHUT_WR);
        TURN_UNTIL(st.loop, sc.played > 1);
        assert_int_equal(sc.stream->io.interest, 0);
        for (int n = 0; n < 3; n++)
            sockets_turn(st.loop);
        assert_string_equal(sc.log, "create hangup");
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
        TURN_UNTIL(st.loop, stage_is_over(&st));
        assert_string_equal(sc.log, unread ? "create hangup wakeup read(a) drop"
                                           : "create hangup wakeup exception(EEOF) drop");
        close(far);
        stage_close(&st);
    }
}

/* It may be that the kernel only knows that later, as the peer has not read all. */
static void a_peer_that_is_gone_has_hung_up_or_reset(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc =
            SCRIPT({.then = rotor_expect_flush(0), .bulk = LONG}, {.then = rotor_expect_flush(0)});
        int far = begin(&st, &sc, families[i]);
        stage_turn(&st);
        assert_int_equal(sc.stream->io.interest, ROTOR_HANGUP | ROTOR_WRITABLE);
        close(far);
        TURN_UNTIL(st.loop, stage_is_over(&st));
        assert_int_equal(sc.fatals, 1);
        assert_true(st.error == UV_ECONNRESET || st.error == UV_EPIPE);
        stage_close(&st);
    }
}

static void resets_are_fatal(void **state)
{
    for (int bulk = 0; bulk <= 1; bulk++) {
        for (int sent = 0; sent <= 1; sent++) {
            stage st;
            script sc = SCRIPT({.then = rotor_intent_sleep(), .bulk = bulk ? LONG : 0});
            int far = begin(&st, &sc, AF_INET);
            if (sent)
                sockets_send(far, "never read");
            sockets_turn(st.loop);
            sockets_reset(far);
            TURN_UNTIL(st.loop, stage_is_over(&st));
            assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
            assert_int_equal(st.errors, 1);
            assert_int_equal(st.error, UV_ECONNRESET);
            stage_close(&st);
        }
    }
}

/* As of a Unix socket whose peer closes with something unread. */
static void a_reset_over_a_unix_socket_is_fatal(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep(), .say = "never read"});
    int far = begin(&st, &sc, AF_UNIX);
    close(far);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
    stage_close(&st);
}

static void without_it_nothing_is_watched(void **state)
{
    stage st;
    int near, far;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open_loop(&st, 0);
    sockets_pair(AF_INET, &near, &far);
    rotor_stream_seed seed = {.protocol = &sc.protocol, .fd = near, .seed = &sc};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
    assert_int_equal(sc.stream->io.interest, 0);
    close(far);
    for (int n = 0; n < 3; n++)
        sockets_turn(st.loop);
    assert_string_equal(sc.log, "create");
    stage_close(&st);
}

/* -- traced ------------------------------------------------------------------------------------ */

static void a_trace_counts_it(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_done()});
    sc.protocol = (rotor_protocol){.name = "minds",
                                   .size = script_protocol.size,
                                   .create = script_protocol.create,
                                   .hangup = script_hangup};
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    traced_has(trace, "state0 [label={minds|hangup 0|1 here now}]");
    hang_up(&st);
    assert_string_equal(sc.log, "create hangup");
    traced_has(trace, "state0 [label={minds|hangup 1}]");
    traced_has(trace, "state0 -> done [label=\" hangup 1\"]");
    traced_close(&st, trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_sleeps_is_told_once),
        TEST(who_hung_up_before_is_told_too),
        TEST(who_waits_for_a_flush_is_told),
        TEST(who_has_stopped_reading_is_told),
        TEST(who_reads_hears_of_the_end_by_reading),
        TEST(who_closes_is_not_told),
        TEST(who_does_not_mind_is_not_told),
        TEST(a_state_may_mind),
        TEST(what_was_sent_before_can_be_read),
        TEST(any_answer_will_do),
        TEST(the_deadline_goes_on),
        TEST(the_next_protocol_is_told_for_itself),
        TEST(a_connection_that_failed_is_fatal),
        TEST(a_failure_after_it_shows_by_writing),
        TEST(sockets_tell_it_once),
        TEST(a_peer_that_is_gone_has_hung_up_or_reset),
        TEST(resets_are_fatal),
        TEST(a_reset_over_a_unix_socket_is_fatal),
        TEST(without_it_nothing_is_watched),
        TEST(a_trace_counts_it),
    };
    return cmocka_run_group_tests_name("stream_hangup", tests, NULL, NULL);
}
