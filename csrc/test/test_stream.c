/* Streams: what each intent waits for and which transition is called then, over memory. */
#include "test.h"

#include "script.h"
#include "support.h"

static void bytes_are_awaited_and_the_rest_is_kept(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(3)});
    stage_open(&st, &sc);
    stage_send(&st, "ab");
    assert_string_equal(sc.log, "create");
    stage_send(&st, "c");
    assert_string_equal(sc.log, "create read(abc)");
    stage_send(&st, "defghij");
    assert_string_equal(sc.log, "create read(abc) read(def) read(ghi)");
    stage_send(&st, "kl");
    assert_string_equal(sc.log, "create read(abc) read(def) read(ghi) read(jkl)");
    stage_close(&st);
    assert_int_equal(sc.drops, 1);
}

static void what_is_not_consumed_is_there_again(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(2)}, {.then = rotor_expect_bytes(4), .keep = true},
               {.then = rotor_expect_bytes(1)});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    stage_send(&st, "de");
    assert_string_equal(sc.log, "create read(ab) read(abcd) read(e)");
    stage_close(&st);
}

static void no_bytes_are_there_at_once(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(0)}, {.then = rotor_expect_bytes(2)});
    stage_open(&st, &sc);
    assert_string_equal(sc.log, "create read()");
    stage_send(&st, "ab");
    assert_string_equal(sc.log, "create read() read(ab)");
    stage_close(&st);
}

static void no_bytes_are_there_even_at_the_end(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(0)},
                       {.then = rotor_intent_done()});
    stage_open(&st, &sc);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) read() drop");
    stage_close(&st);
}

static void delimiters_are_found(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\r\n", 2, 10)});
    stage_open(&st, &sc);
    stage_send(&st, "one\r\ntwo\r");
    assert_string_equal(sc.log, "create read(one)");
    stage_send(&st, "\n\r\n");
    assert_string_equal(sc.log, "create read(one) read(two) read()");
    stage_send(&st, "\r");
    stage_send(&st, "\r");
    stage_send(&st, "\n");
    assert_string_equal(sc.log, "create read(one) read(two) read() read(\r)");
    stage_close(&st);
}

/* `max` bytes may stand before the delimiter. */
static void delimiters_have_a_limit(void **state)
{
    static const struct {
        const char *sent;
        const char *log;
    } cases[] = {
        {"1234\r\n", "create read(1234)"},
        {"1234\r", "create"},
        {"12345", "create"}, /* told when there is room for the delimiter behind `max` bytes */
        {"12345\r", "create exception(ELIMIT)"},
        {"12345\r\n", "create exception(ELIMIT)"},
        {"123456", "create exception(ELIMIT)"},
        {"123456789\r\n", "create exception(ELIMIT)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t split = 0; split < 3; split++) {
            stage st;
            script sc = SCRIPT({.then = rotor_expect_delimiter("\r\n", 2, 4)},
                               {.then = rotor_intent_sleep()});
            stage_open(&st, &sc);
            rotor_memory_split(st.peer, split);
            stage_send(&st, cases[i].sent);
            assert_string_equal(sc.log, cases[i].log);
            stage_close(&st);
        }
    }
}

static void delimiters_need_no_limit(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, SIZE_MAX)});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    assert_string_equal(sc.log, "create");
    stage_send(&st, "d\n");
    assert_string_equal(sc.log, "create read(abcd)");
    stage_close(&st);
}

static void delimiters_are_searched_from_an_offset(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter_at(";", 1, 8, 2)});
    stage_open(&st, &sc);
    stage_send(&st, ";");
    stage_send(&st, ";");
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create");
    stage_send(&st, ";;;;");
    assert_string_equal(sc.log, "create read(;;a) read(;;)");
    stage_close(&st);
}

static void flushing_is_awaited(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_flush(4), .say = "0123456789"},
                       {.then = rotor_expect_flush(0)}, {.then = rotor_expect_bytes(1)});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 5);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_send(&st, "z"); /* not read meanwhile */
    assert_string_equal(sc.log, "create");
    rotor_memory_window(st.peer, 2);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(3)");
    rotor_memory_window(st.peer, 2);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(3)");
    rotor_memory_window(st.peer, 2);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(3) flushed(0) read(z)");
    assert_string_equal(stage_received(&st), "0123456789");
    stage_close(&st);
}

static void flushing_of_so_little_is_no_wait(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_flush(0)}, {.then = rotor_expect_flush(5), .say = "abc"},
               {.then = rotor_intent_sleep()});
    stage_open(&st, &sc);
    assert_string_equal(sc.log, "create flushed(0) flushed(3)");
    assert_string_equal(stage_received(&st), "abc");
    stage_close(&st);
}

static void sleeping_reads_nothing(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_expect_bytes(3)});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create wakeup read(abc) exception(EEOF) drop");
    stage_close(&st);
}

static void same_from_create_sleeps(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_same()}, {.then = rotor_intent_done()});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    stage_wait(&st, 1u << 30);
    assert_string_equal(sc.log, "create");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create wakeup drop");
    stage_close(&st);
}

static void same_keeps_intent_and_deadline(void **state)
{
    stage st;
    uint64_t deadline = test_monotonic_ms + 100;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(3), deadline)},
                       {.then = rotor_intent_same()});
    stage_open(&st, &sc);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_send(&st, "abcd");
    assert_string_equal(sc.log, "create wakeup read(abc)");
    stage_wait(&st, 99);
    assert_string_equal(sc.log, "create wakeup read(abc)");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create wakeup read(abc) timeout");
    stage_send(&st, "ef");
    assert_string_equal(sc.log, "create wakeup read(abc) timeout read(def)");
    stage_wait(&st, 1000); /* it has passed, and was not set again */
    assert_string_equal(sc.log, "create wakeup read(abc) timeout read(def)");
    stage_close(&st);
}

/* -- deadlines and wakeups --------------------------------------------------------------------- */

static void every_wait_may_have_a_deadline(void **state)
{
    const struct {
        rotor_intent wait;
        const char *log;
        int error;
    } cases[] = {
        {rotor_expect_bytes(9), "create timeout drop", 0},
        {rotor_expect_delimiter("\n", 1, 9), "create timeout drop", 0},
        {rotor_expect_flush(0), "create timeout drop", 0},
        {rotor_intent_sleep(), "create timeout drop", 0},
        {rotor_intent_done(), "create drop", ROTOR_ETIMEDOUT},
        {rotor_intent_linger(0), "create drop", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stage st;
        rotor_intent wait = rotor_intent_until(cases[i].wait, test_monotonic_ms + 70000);
        script sc = SCRIPT({.then = wait, .say = "hello"}, {.then = rotor_intent_done()});
        sc.protocol.stall_ms = 1u << 20;
        stage_open_loop(&st, 0);
        st.peer = rotor_memory_new();
        rotor_memory_window(st.peer, 1);
        assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
        stage_wait(&st, 69999);
        assert_string_equal(sc.log, "create");
        rotor_memory_window(st.peer, i < 4 ? 4 : 0); /* for `done` to end */
        test_monotonic_ms += 1;
        assert_int_equal(rotor_loop_turn(st.loop), 0);
        stage_turn(&st);
        assert_string_equal(sc.log, cases[i].log);
        assert_int_equal(st.error, cases[i].error);
        stage_close(&st);
    }
}

static void an_answer_without_a_deadline_clears_it(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms + 10)},
                       {.then = rotor_expect_bytes(1)});
    stage_open(&st, &sc);
    stage_send(&st, "a");
    stage_wait(&st, 1000000);
    assert_string_equal(sc.log, "create read(a)");
    stage_close(&st);
}

static void a_deadline_in_the_past_is_called_once_and_later(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), test_monotonic_ms)},
                       {.then = rotor_expect_bytes(1)});
    test_monotonic_ms += 1000;
    stage_open(&st, &sc);
    assert_string_equal(sc.log, "create");
    stage_turn(&st);
    assert_string_equal(sc.log, "create timeout");
    stage_wait(&st, 1000);
    assert_string_equal(sc.log, "create timeout");
    stage_close(&st);
}

static void wakeups_are_told_whatever_is_awaited(void **state)
{
    const rotor_intent waits[] = {rotor_expect_bytes(1), rotor_expect_delimiter("\n", 1, 5),
                                  rotor_intent_sleep()};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = waits[i]}, {.then = rotor_intent_done(), .say = "woken"});
        stage_open(&st, &sc);
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
        assert_int_equal(rotor_wake(st.loop, st.self), 0);
        stage_turn(&st);
        assert_string_equal(sc.log, "create wakeup drop");
        assert_string_equal(stage_received(&st), "woken");
        stage_close(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_awaited_and_the_rest_is_kept),
        TEST(what_is_not_consumed_is_there_again),
        TEST(no_bytes_are_there_at_once),
        TEST(no_bytes_are_there_even_at_the_end),
        TEST(delimiters_are_found),
        TEST(delimiters_have_a_limit),
        TEST(delimiters_need_no_limit),
        TEST(delimiters_are_searched_from_an_offset),
        TEST(flushing_is_awaited),
        TEST(flushing_of_so_little_is_no_wait),
        TEST(sleeping_reads_nothing),
        TEST(same_from_create_sleeps),
        TEST(same_keeps_intent_and_deadline),
        TEST(every_wait_may_have_a_deadline),
        TEST(an_answer_without_a_deadline_clears_it),
        TEST(a_deadline_in_the_past_is_called_once_and_later),
        TEST(wakeups_are_told_whatever_is_awaited),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
