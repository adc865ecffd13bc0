/* Streams: how they end, what is told before, and what is done where a transition is missing. */
#include "test.h"

#include "script.h"
#include "support.h"

/* -- the ends ---------------------------------------------------------------------------------- */

static void done_sends_what_was_written(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done(), .say = "bye"});
    stage_open(&st, &sc);
    stage_send(&st, "quit");
    assert_string_equal(sc.log, "create read(q) drop");
    assert_string_equal(stage_received(&st), "bye");
    assert_true(stage_is_over(&st));
    assert_true(rotor_memory_is_closed(st.peer));
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void abort_does_not(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_abort(), .say = "bye"});
    stage_open(&st, &sc);
    stage_send(&st, "quit");
    assert_string_equal(sc.log, "create read(q) drop");
    assert_string_equal(stage_received(&st), "");
    assert_int_equal(rotor_memory_writes(st.peer), 0);
    assert_true(rotor_memory_is_closed(st.peer));
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void error_ends_the_machine_with_it(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_error(UV_EPROTO), .say = "bye"});
    stage_open(&st, &sc);
    stage_send(&st, "quit");
    assert_string_equal(sc.log, "create read(q) drop");
    assert_string_equal(stage_received(&st), "");
    assert_int_equal(st.errors, 1);
    assert_int_equal(st.error, UV_EPROTO);
    stage_close(&st);
}

static void linger_sends_shuts_down_and_drops(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_linger(ROTOR_NEVER), .say = "bye"});
    stage_open(&st, &sc);
    stage_send(&st, "quit");
    assert_string_equal(stage_received(&st), "bye");
    assert_true(rotor_memory_is_shutdown(st.peer));
    assert_false(rotor_memory_is_closed(st.peer));
    assert_null(sc.stream->input.block);
    for (int i = 0; i < 100; i++)
        stage_send(&st, "some more");
    assert_null(sc.stream->input.block);
    assert_int_equal(rotor_wake(st.loop, st.self), 0); /* not told any more */
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(q)");
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(q) drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void linger_ends_at_its_deadline(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_linger(test_monotonic_ms + 50), .say = "bye"});
    stage_open(&st, &sc);
    stage_wait(&st, 49);
    assert_false(stage_is_over(&st));
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void linger_does_not_mind_a_reset(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_linger(ROTOR_NEVER), .say = "bye"});
    stage_open(&st, &sc);
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void linger_after_the_end_is_done(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_linger(ROTOR_NEVER), .say = "bye"});
    stage_open(&st, &sc);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) drop");
    assert_string_equal(stage_received(&st), "bye");
    stage_close(&st);
}

static void create_may_end_the_stream(void **state)
{
    const struct {
        rotor_intent then;
        int error;
        const char *received;
    } cases[] = {{rotor_intent_done(), 0, "hello"},
                 {rotor_intent_abort(), 0, ""},
                 {rotor_intent_error(UV_EPERM), UV_EPERM, ""},
                 {rotor_intent_error(1), ROTOR_EUNEXPECTED, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = cases[i].then, .say = "hello"});
        stage_open_loop(&st, 0);
        st.peer = rotor_memory_new();
        int error = rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self);
        assert_int_equal(error, cases[i].error);
        assert_string_equal(sc.log, "create drop");
        assert_string_equal(stage_received(&st), cases[i].received);
        assert_true(rotor_memory_is_closed(st.peer));
        assert_int_equal(st.errors, 0); /* it was returned */
        stage_close(&st);
    }
}

static void ending_from_outside_drops_the_output(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .say = "hello"});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 2);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    assert_int_equal(rotor_end(st.loop, st.self, UV_EINTR), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.error, UV_EINTR);
    assert_string_equal(stage_received(&st), "he");
    stage_close(&st);
}

/* -- exceptions -------------------------------------------------------------------------------- */

static void the_end_is_told_inside_an_expectation(void **state)
{
    const rotor_intent waits[] = {rotor_expect_bytes(4), rotor_expect_delimiter("\n", 1, 10)};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = waits[i]}, {.then = rotor_intent_done(), .say = "eh?"});
        stage_open(&st, &sc);
        stage_send(&st, "abc");
        rotor_memory_shutdown(st.peer);
        stage_turn(&st);
        assert_string_equal(sc.log, "create exception(EEOF) drop");
        assert_string_equal(stage_received(&st), "eh?");
        stage_close(&st);
    }
}

static void the_rest_can_be_read_at_the_end(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(4)}, {.then = rotor_expect_bytes(2)},
                       {.then = rotor_expect_bytes(2)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_sleep()}, {.then = rotor_expect_bytes(1)});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) read(ab) exception(EEOF) read(c)");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_true(stage_is_over(&st));
    stage_close(&st);
}

/* An answer that cannot be met for the same reason. */
static void waiting_for_more_at_the_end_ends(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(4)}, {.then = rotor_expect_bytes(5), .say = "eh?"});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) drop");
    assert_int_equal(st.error, ROTOR_EEOF);
    assert_string_equal(stage_received(&st), "");
    stage_close(&st);

    script idle =
        SCRIPT({.then = rotor_expect_bytes(4)}, {.then = rotor_intent_same(), .say = "bye"});
    stage_open(&st, &idle);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(idle.log, "create exception(EEOF) drop");
    assert_int_equal(st.errors, 0); /* nothing was left over */
    assert_string_equal(stage_received(&st), "bye");
    stage_close(&st);
}

static void consume_all(script *sc, rotor_stream *s, rotor_scope *scope)
{
    rotor_buf *input = rotor_stream_input(s);
    rotor_buf_consume(input, rotor_buf_len(input));
}

/* A line too long is skipped, piece by piece, and then comes the end: each is told. */
static void limits_are_told_again_after_progress(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 3)});
    sc.act = consume_all;
    stage_open(&st, &sc);
    stage_send(&st, "abcdef");
    stage_send(&st, "ghijkl");
    stage_send(&st, "mn");
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(ELIMIT) exception(ELIMIT) exception(EEOF) drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void a_limit_without_progress_ends(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 3)});
    stage_open(&st, &sc);
    stage_send(&st, "abcdef");
    assert_string_equal(sc.log, "create exception(ELIMIT) drop");
    assert_int_equal(st.error, ROTOR_ELIMIT);
    stage_close(&st);
}

static void a_higher_limit_goes_on(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 3)},
                       {.then = rotor_expect_delimiter("\n", 1, 10)});
    stage_open(&st, &sc);
    stage_send(&st, "abcdef");
    stage_send(&st, "g\n");
    assert_string_equal(sc.log, "create exception(ELIMIT) read(abcdefg)");
    stage_close(&st);
}

static void a_broken_connection_is_fatal(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(4)});
    stage_open(&st, &sc);
    assert_int_equal(rotor_memory_send(st.peer, "abc", 3), 0);
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
    assert_int_equal(st.error, UV_ECONNRESET);
    assert_int_equal(st.errors, 1);
    stage_close(&st);
}

/* -- transitions that are missing -------------------------------------------------------------- */

static void without_bytes_read(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    sc.protocol.bytes_read = NULL;
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.error, ROTOR_EUNEXPECTED);
    stage_close(&st);
}

static void without_bytes_flushed(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_flush(0), .say = "b"});
    sc.protocol.bytes_flushed = NULL;
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create read(a) drop");
    assert_int_equal(st.error, ROTOR_EUNEXPECTED);
    stage_close(&st);
}

static void without_timeout(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms + 5)});
    sc.protocol.timeout = NULL;
    stage_open(&st, &sc);
    stage_wait(&st, 5);
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.error, ROTOR_ETIMEDOUT);
    stage_close(&st);
}

static void without_wakeup(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms + 5)});
    sc.protocol.wakeup = NULL;
    stage_open(&st, &sc);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    stage_wait(&st, 5);
    assert_string_equal(sc.log, "create timeout");
    stage_close(&st);
}

static void without_exception(void **state)
{
    static const struct {
        const char *sent;
        int error;
    } cases[] = {{"", 0}, {"ab", ROTOR_EEOF}, {"abcde", ROTOR_ELIMIT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 3), .say = "hello"});
        sc.protocol.exception = NULL;
        stage_open(&st, &sc);
        stage_send(&st, cases[i].sent);
        rotor_memory_shutdown(st.peer);
        stage_turn(&st);
        assert_string_equal(sc.log, "create drop");
        assert_int_equal(st.error, cases[i].error);
        assert_string_equal(stage_received(&st), "hello");
        stage_close(&st);
    }
}

static void without_fatal_and_drop(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    sc.protocol.fatal = NULL;
    sc.protocol.drop = NULL;
    stage_open(&st, &sc);
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    assert_int_equal(st.error, UV_ECONNRESET);
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(done_sends_what_was_written),
        TEST(abort_does_not),
        TEST(error_ends_the_machine_with_it),
        TEST(linger_sends_shuts_down_and_drops),
        TEST(linger_ends_at_its_deadline),
        TEST(linger_does_not_mind_a_reset),
        TEST(linger_after_the_end_is_done),
        TEST(create_may_end_the_stream),
        TEST(ending_from_outside_drops_the_output),
        TEST(the_end_is_told_inside_an_expectation),
        TEST(the_rest_can_be_read_at_the_end),
        TEST(waiting_for_more_at_the_end_ends),
        TEST(limits_are_told_again_after_progress),
        TEST(a_limit_without_progress_ends),
        TEST(a_higher_limit_goes_on),
        TEST(a_broken_connection_is_fatal),
        TEST(without_bytes_read),
        TEST(without_bytes_flushed),
        TEST(without_timeout),
        TEST(without_wakeup),
        TEST(without_exception),
        TEST(without_fatal_and_drop),
    };
    return cmocka_run_group_tests_name("stream_ends", tests, NULL, NULL);
}
