/* The in-memory transport itself: that it behaves as a socket would. */
#include "test.h"

#include "script.h"
#include "support.h"

static void a_peer_needs_no_stream(void **state)
{
    rotor_memory *peer = rotor_memory_new();
    assert_non_null(peer);
    assert_int_equal(rotor_memory_send(peer, "hello", 5), 0);
    assert_int_equal(rotor_buf_len(rotor_memory_received(peer)), 0);
    assert_int_equal(rotor_memory_writes(peer), 0);
    assert_false(rotor_memory_is_shutdown(peer));
    assert_false(rotor_memory_is_closed(peer));
    rotor_memory_free(peer);
}

static void what_was_sent_before_is_there(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(5)}, {.then = rotor_intent_done()});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_send(st.peer, "hello", 5), 0);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, NULL), 0);
    assert_string_equal(sc.log, "create"); /* as by a poll, it is told later */
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(hello) drop");
    assert_true(rotor_memory_is_closed(st.peer));
    stage_close(&st);
}

static void a_loop_without_room_is_an_error(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    script more = SCRIPT({.then = rotor_intent_sleep()});
    rotor_handle handle = {7, 7};
    rotor_memory *peer = rotor_memory_new();
    stage_open_loop(&st, 1);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, NULL), 0);
    assert_int_equal(rotor_memory_connect(peer, st.loop, &more.protocol, &more, &handle),
                     ROTOR_ECAPACITY);
    assert_int_equal(handle.generation, 0);
    assert_string_equal(more.log, "");
    rotor_memory_free(peer);
    stage_close(&st);
}

static void note_length(script *sc, rotor_stream *s, rotor_scope *scope)
{
    script_note(sc, "%zu", rotor_buf_len(rotor_stream_input(s)));
}

static void receiving_is_split(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(3), .keep = true},
               {.then = rotor_expect_bytes(5), .keep = true},
               {.then = rotor_expect_bytes(6), .keep = true}, {.then = rotor_intent_sleep()});
    sc.act = note_length;
    stage_open(&st, &sc);
    rotor_memory_split(st.peer, 2);
    stage_send(&st, "abcde");
    assert_string_equal(sc.log, "create 0 read(a) 2 read(abc) 4 read(abcde) 5");
    rotor_memory_split(st.peer, 0);
    stage_send(&st, "fghi");
    assert_string_equal(sc.log, "create 0 read(a) 2 read(abc) 4 read(abcde) 5 read(abcdef) 9");
    stage_close(&st);
}

static void sending_is_limited_by_the_window(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_flush(0), .say = "abcdef"}, {.then = rotor_intent_done()});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 4);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_turn(&st);
    assert_string_equal(stage_received(&st), "abcd");
    size_t writes = rotor_memory_writes(st.peer);
    for (int i = 0; i < 10; i++)
        stage_turn(&st);
    assert_int_equal(rotor_memory_writes(st.peer), writes); /* it is not tried for nothing */
    rotor_memory_window(st.peer, SIZE_MAX);
    stage_turn(&st);
    assert_string_equal(stage_received(&st), "ef");
    assert_true(stage_is_over(&st));
    stage_close(&st);
}

static void failing_comes_behind_what_was_sent(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    stage_open(&st, &sc);
    assert_int_equal(rotor_memory_send(st.peer, "ab", 2), 0);
    rotor_memory_fail(st.peer, UV_ETIMEDOUT);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) read(b) fatal(ETIMEDOUT) drop");
    stage_close(&st);
}

static void failing_makes_sending_fail(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open(&st, &sc);
    rotor_memory_fail(st.peer, UV_EPIPE);
    stage_turn(&st);
    assert_string_equal(sc.log, "create"); /* who does not ask is not told */
    assert_int_equal(rotor_stream_write(sc.stream, "x", 1), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(EPIPE) drop");
    stage_close(&st);
}

static void failing_is_found_by_output_that_waits(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_flush(0), .say = "hello"});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 0);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_turn(&st);
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
    stage_close(&st);
}

static void a_freed_peer_resets_its_stream(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(4)});
    stage_open(&st, &sc);
    assert_int_equal(rotor_memory_send(st.peer, "abcd", 4), 0);
    rotor_memory_free(st.peer); /* what it sent is gone with it */
    st.peer = NULL;
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(ECONNRESET) drop");
    stage_close(&st);
}

static void a_freed_peer_of_a_sleeping_stream_goes_with_it(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open(&st, &sc);
    rotor_memory_free(st.peer);
    st.peer = NULL;
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    stage_close(&st);
    assert_string_equal(sc.log, "create drop");
}

static void a_peer_outlives_stream_and_loop(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done(), .say = "bye"});
    stage_open(&st, &sc);
    rotor_memory *peer = st.peer;
    st.peer = NULL;
    stage_close(&st);
    assert_true(rotor_memory_is_closed(peer));
    assert_int_equal(rotor_buf_len(rotor_memory_received(peer)), 3);
    assert_int_equal(rotor_memory_send(peer, "hello", 5), 0); /* into the void */
    rotor_memory_shutdown(peer);
    rotor_memory_fail(peer, UV_EPIPE);
    rotor_memory_window(peer, 1);
    rotor_memory_free(peer);
}

static void it_has_no_address(void **state)
{
    stage st;
    char text[16] = "untouched";
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open(&st, &sc);
    assert_int_equal(rotor_stream_peer(sc.stream, text, sizeof text), UV_EBADF);
    assert_string_equal(text, "");
    assert_int_equal(rotor_stream_local(sc.stream, text, 0), UV_EBADF);
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_peer_needs_no_stream),
        TEST(what_was_sent_before_is_there),
        TEST(a_loop_without_room_is_an_error),
        TEST(receiving_is_split),
        TEST(sending_is_limited_by_the_window),
        TEST(failing_comes_behind_what_was_sent),
        TEST(failing_makes_sending_fail),
        TEST(failing_is_found_by_output_that_waits),
        TEST(a_freed_peer_resets_its_stream),
        TEST(a_freed_peer_of_a_sleeping_stream_goes_with_it),
        TEST(a_peer_outlives_stream_and_loop),
        TEST(it_has_no_address),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
