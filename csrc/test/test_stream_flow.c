/* Streams: how much is read and sent, when, and what memory that takes. */
#include "test.h"

#include "../core/private.h"
#include "probe.h"
#include "script.h"
#include "support.h"

/* As stage_open, with a peer that takes `window` bytes. */
static void open_window(stage *st, script *sc, size_t window)
{
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    assert_non_null(st->peer);
    rotor_memory_window(st->peer, window);
    assert_int_equal(rotor_memory_connect(st->peer, st->loop, &sc->protocol, sc, &st->self), 0);
    stage_turn(st);
}

static void window(stage *st, size_t n)
{
    rotor_memory_window(st->peer, n);
    stage_turn(st);
}

/* -- sending ----------------------------------------------------------------------------------- */

static void pipelined_requests_are_answered_in_one_write(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 9), .echo = true});
    stage_open(&st, &sc);
    stage_send(&st, "a\nbc\n\ndef\nrest");
    assert_int_equal(sc.reads, 4);
    assert_int_equal(rotor_memory_writes(st.peer), 1);
    assert_string_equal(stage_received(&st), "a\nbc\n\ndef\n");
    stage_send(&st, "\n");
    assert_int_equal(rotor_memory_writes(st.peer), 2);
    stage_close(&st);
}

static void a_dispatch_without_output_sends_nothing(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .say = ""});
    stage_open(&st, &sc);
    stage_send(&st, "abc");
    assert_int_equal(sc.said, 0);
    assert_int_equal(rotor_memory_writes(st.peer), 0);
    assert_null(sc.stream->output.block);
    stage_close(&st);
}

static void output_larger_than_the_lent_block_leaves_in_one_write(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1), .bulk = 200000});
    sc.protocol.high_water = 1u << 20;
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_int_equal(rotor_memory_writes(st.peer), 1);
    assert_int_equal(rotor_buf_len(rotor_memory_received(st.peer)), 200000);
    assert_null(sc.stream->output.block);
    stage_close(&st);
}

static void done_flushes_all_through_a_tiny_window(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done(), .bulk = 1000});
    open_window(&st, &sc, 0);
    for (int i = 1; i <= 1000; i++) {
        assert_false(stage_is_over(&st));
        window(&st, 1);
        assert_int_equal(rotor_buf_len(rotor_memory_received(st.peer)), i);
    }
    assert_string_equal(sc.log, "create drop");
    assert_int_equal(st.errors, 0);
    stage_close(&st);
}

static void a_reset_while_done_flushes_is_fatal(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done(), .bulk = 10});
    open_window(&st, &sc, 4);
    rotor_memory_fail(st.peer, UV_EPIPE);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(EPIPE) drop");
    assert_int_equal(st.error, UV_EPIPE);
    stage_close(&st);
}

static void shutting_down_waits_for_the_output(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .say = "hello", .shutdown = true},
                       {.then = rotor_expect_bytes(1), .say = "more"});
    open_window(&st, &sc, 2);
    assert_false(rotor_memory_is_shutdown(st.peer));
    assert_int_equal(rotor_stream_write(sc.stream, "more", 4), ROTOR_ECLOSED);
    assert_null(rotor_stream_output(sc.stream));
    window(&st, 2);
    assert_false(rotor_memory_is_shutdown(st.peer));
    window(&st, 2);
    assert_true(rotor_memory_is_shutdown(st.peer));
    stage_send(&st, "ab"); /* reading goes on */
    assert_string_equal(sc.log, "create read(a) read(b)");
    assert_int_equal(sc.said, ROTOR_ECLOSED);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) read(b) exception(EEOF) drop");
    assert_string_equal(stage_received(&st), "hello");
    stage_close(&st);
}

static void nothing_can_be_written_while_closing(void **state)
{
    const rotor_intent ends[] = {rotor_intent_done(), rotor_intent_linger(ROTOR_NEVER)};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        script sc = SCRIPT({.then = ends[i], .say = "hello"});
        open_window(&st, &sc, 2);
        assert_int_equal(rotor_stream_write(sc.stream, "more", 4), ROTOR_ECLOSED);
        assert_null(rotor_stream_output(sc.stream));
        rotor_memory_shutdown(st.peer);
        window(&st, SIZE_MAX);
        assert_string_equal(stage_received(&st), "hello");
        assert_true(stage_is_over(&st));
        stage_close(&st);
    }
}

static void output_is_composed_in_place(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    stage_open(&st, &sc);
    rotor_buf *output = rotor_stream_output(sc.stream);
    char *room = rotor_buf_reserve(output, 10);
    memcpy(room, "123", 3);
    rotor_buf_commit(output, 3);
    assert_int_equal(rotor_stream_unsent(sc.stream), 3);
    assert_int_equal(rotor_buf_extend(output, "45", 2), 0);
    stage_turn(&st);
    assert_string_equal(stage_received(&st), "12345");
    assert_int_equal(rotor_memory_writes(st.peer), 1);
    stage_close(&st);
}

static rotor_response write_twice(probe *p, rotor_scope *scope)
{
    script *sc = p->plan->context;
    assert_int_equal(rotor_stream_write(sc->stream, "one ", 4), 0);
    assert_int_equal(rotor_stream_write(sc->stream, "two", 3), 0);
    return rotor_ok();
}

static rotor_response shut_down(probe *p, rotor_scope *scope)
{
    rotor_stream_shutdown(((script *)p->plan->context)->stream);
    return rotor_done();
}

static void another_machine_may_write(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    probe_plan writer = {
        .name = "writer", .context = &sc, .on = {[WAKEUP] = write_twice, [TIMEOUT] = shut_down}};
    stage_open(&st, &sc);
    probe_reset();
    assert_int_equal(rotor_add(st.loop, &probe_type, &writer, NULL), 0);
    assert_int_equal(rotor_wake(st.loop, writer.self), 0);
    rotor_loop_turn(st.loop); /* in this turn */
    assert_string_equal(stage_received(&st), "one two");
    assert_int_equal(rotor_memory_writes(st.peer), 1);
    assert_string_equal(sc.log, "create");
    writer.on[WAKEUP] = shut_down;
    assert_int_equal(rotor_wake(st.loop, writer.self), 0);
    rotor_loop_turn(st.loop);
    assert_true(rotor_memory_is_shutdown(st.peer));
    stage_close(&st);
}

/* -- the high-water mark ----------------------------------------------------------------------- */

static void reading_stops_at_the_high_water_mark(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 9), .echo = true});
    sc.protocol.high_water = 10;
    open_window(&st, &sc, 0);
    stage_send(&st, "abc\nabc\nabc\nabc\nabc\nabc\nabc\nabc\n");
    assert_int_equal(sc.reads, 3);
    assert_int_equal(rotor_stream_unsent(sc.stream), 12);
    size_t held = rotor_buf_len(rotor_stream_input(sc.stream));
    stage_send(&st, "and more that is not to be taken");
    rotor_memory_shutdown(st.peer);
    window(&st, 6); /* not below half of it yet */
    assert_int_equal(rotor_stream_unsent(sc.stream), 6);
    assert_int_equal(sc.reads, 3);
    window(&st, 1);
    assert_int_equal(sc.reads, 5);
    assert_int_equal(rotor_stream_unsent(sc.stream), 13);
    assert_true(rotor_buf_len(rotor_stream_input(sc.stream)) < held);
    window(&st, SIZE_MAX);
    assert_int_equal(sc.reads, 8);
    assert_true(strstr(sc.log, "exception(ELIMIT) drop")); /* the rest has been received now */
    stage_close(&st);
}

static void the_end_is_not_looked_for_above_it(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 8}, {.then = rotor_intent_done()});
    sc.protocol.high_water = 8;
    open_window(&st, &sc, 0);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    window(&st, 3);
    assert_string_equal(sc.log, "create");
    window(&st, 1);
    assert_string_equal(sc.log, "create exception(EEOF)");
    window(&st, 4);
    assert_string_equal(sc.log, "create exception(EEOF) drop");
    stage_close(&st);
}

static void output_above_it_that_leaves_at_once_is_no_stop(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .echo = true});
    sc.protocol.high_water = 1;
    stage_open(&st, &sc);
    stage_send(&st, "abcdef");
    assert_int_equal(sc.reads, 6);
    assert_string_equal(stage_received(&st), "abcdef");
    stage_close(&st);
}

/* -- stalling ---------------------------------------------------------------------------------- */

static void a_peer_that_takes_nothing_has_stalled(void **state)
{
    for (int usual = 0; usual <= 1; usual++) {
        stage st;
        script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 100});
        uint64_t ms = usual ? 30000 : 100;
        sc.protocol.stall_ms = usual ? 0 : 100;
        open_window(&st, &sc, 10);
        stage_wait(&st, ms - 1);
        assert_string_equal(sc.log, "create");
        stage_wait(&st, 1);
        assert_string_equal(sc.log, "create fatal(ESTALLED) drop");
        assert_int_equal(st.error, ROTOR_ESTALLED);
        stage_close(&st);
    }
}

static void each_progress_begins_the_wait_anew(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 20});
    sc.protocol.stall_ms = 100;
    open_window(&st, &sc, 1);
    for (int i = 0; i < 10; i++) {
        stage_wait(&st, 90);
        window(&st, 1);
    }
    stage_send(&st, "abc"); /* that it sends does not mean that it receives */
    stage_wait(&st, 99);
    assert_string_equal(sc.log, "create read(a) read(b) read(c)");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create read(a) read(b) read(c) fatal(ESTALLED) drop");
    stage_close(&st);
}

static void the_wait_begins_with_the_output(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep(), .say = "hello"});
    sc.protocol.stall_ms = 100;
    open_window(&st, &sc, 0);
    stage_wait(&st, 1000);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    stage_wait(&st, 99);
    assert_string_equal(sc.log, "create wakeup");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create wakeup fatal(ESTALLED) drop");
    stage_close(&st);
}

/* As when the process was stopped for a while. */
static void a_peer_that_would_take_it_now_has_not_stalled(void **state)
{
    stage st;
    script sc =
        SCRIPT({.then = rotor_expect_flush(0), .say = "hello"}, {.then = rotor_intent_done()});
    sc.protocol.stall_ms = 100;
    open_window(&st, &sc, 0);
    rotor_memory_window(st.peer, SIZE_MAX);
    stage_wait(&st, 100000);
    assert_string_equal(sc.log, "create flushed(0) drop");
    assert_string_equal(stage_received(&st), "hello");
    stage_close(&st);
}

static void deadlines_come_while_it_stalls(void **state)
{
    stage st;
    uint64_t deadline = test_monotonic_ms + 50;
    script sc =
        SCRIPT({.then = rotor_intent_until(rotor_expect_bytes(1), deadline), .say = "hello"},
               {.then = rotor_expect_bytes(1)});
    sc.protocol.stall_ms = 100;
    open_window(&st, &sc, 0);
    stage_wait(&st, 50);
    assert_string_equal(sc.log, "create timeout");
    stage_wait(&st, 50);
    assert_string_equal(sc.log, "create timeout fatal(ESTALLED) drop");
    stage_close(&st);
}

/* -- fairness ---------------------------------------------------------------------------------- */

static void note_turn(script *sc, rotor_stream *s, rotor_scope *scope)
{
    char *order = sc->context;
    size_t n = strlen(order);
    order[n] = s->protocol->name[0];
    order[n + 1] = '\0';
}

static void a_busy_stream_lets_others_have_their_turn(void **state)
{
    for (int usual = 0; usual <= 1; usual++) {
        stage st;
        char order[256] = "", wanted[256] = "", lines[201] = "";
        rotor_memory *other = rotor_memory_new();
        script a = SCRIPT({.then = rotor_expect_bytes(1)}), b = a;
        a.protocol.name = "a";
        b.protocol.name = "b";
        b.lines = a.lines;
        a.protocol.turns = b.protocol.turns = usual ? 0 : 5;
        stage_open(&st, &a);
        assert_int_equal(rotor_memory_connect(other, st.loop, &b.protocol, &b, NULL), 0);
        stage_turn(&st);
        a.context = b.context = order;
        a.act = b.act = note_turn;
        memset(lines, 'x', 100);
        assert_int_equal(rotor_memory_send(st.peer, lines, 100), 0);
        assert_int_equal(rotor_memory_send(other, lines, 2), 0);
        stage_turn(&st);
        memset(wanted, 'a', 102);
        memset(wanted + (usual ? 64 : 5), 'b', 2);
        assert_string_equal(order, wanted);
        stage_close(&st);
        rotor_memory_free(other);
    }
}

/* What is left for its next turn is not added to meanwhile. */
static void a_busy_stream_does_not_read_ahead(void **state)
{
    enum { SIZE = 20000, SPLIT = 100 };
    static const char bytes[SIZE];
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    sc.protocol.turns = 1;
    stage_open(&st, &sc);
    rotor_memory_split(st.peer, SPLIT);
    assert_int_equal(rotor_memory_send(st.peer, bytes, SIZE), 0);
    for (int i = 0; i < 2 * SIZE && sc.reads < SIZE; i++) {
        rotor_loop_turn(st.loop);
        assert_true(rotor_buf_len(rotor_stream_input(sc.stream)) < SPLIT);
    }
    assert_int_equal(sc.reads, SIZE);
    stage_close(&st);
}

static void a_stream_that_waits_for_nothing_does_not_hold_the_loop(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(0)});
    stage_open(&st, &sc);
    int before = sc.reads;
    rotor_loop_turn(st.loop);
    assert_in_range(sc.reads - before, 1, 64);
    assert_int_equal(rotor_end(st.loop, st.self, 0), 0);
    stage_turn(&st);
    stage_close(&st);
}

static void a_producer_lets_others_have_their_turn(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_flush(0), .bulk = 10});
    sc.protocol.turns = 5;
    stage_open(&st, &sc);
    assert_in_range(rotor_buf_len(rotor_memory_received(st.peer)), 10, 60);
    assert_int_equal(rotor_end(st.loop, st.self, 0), 0);
    stage_turn(&st);
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pipelined_requests_are_answered_in_one_write),
        TEST(a_dispatch_without_output_sends_nothing),
        TEST(output_larger_than_the_lent_block_leaves_in_one_write),
        TEST(done_flushes_all_through_a_tiny_window),
        TEST(a_reset_while_done_flushes_is_fatal),
        TEST(shutting_down_waits_for_the_output),
        TEST(nothing_can_be_written_while_closing),
        TEST(output_is_composed_in_place),
        TEST(another_machine_may_write),
        TEST(reading_stops_at_the_high_water_mark),
        TEST(the_end_is_not_looked_for_above_it),
        TEST(output_above_it_that_leaves_at_once_is_no_stop),
        TEST(a_peer_that_takes_nothing_has_stalled),
        TEST(each_progress_begins_the_wait_anew),
        TEST(the_wait_begins_with_the_output),
        TEST(a_peer_that_would_take_it_now_has_not_stalled),
        TEST(deadlines_come_while_it_stalls),
        TEST(a_busy_stream_lets_others_have_their_turn),
        TEST(a_busy_stream_does_not_read_ahead),
        TEST(a_stream_that_waits_for_nothing_does_not_hold_the_loop),
        TEST(a_producer_lets_others_have_their_turn),
    };
    return cmocka_run_group_tests_name("stream_flow", tests, NULL, NULL);
}
