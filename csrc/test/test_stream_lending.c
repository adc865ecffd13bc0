/* Streams: an idle one holds no buffer, and the loop's blocks come back whatever happens. */
#include "test.h"

#include "../core/private.h"
#include "script.h"
#include "support.h"

static void assert_blocks_are_back(stage *st)
{
    assert_int_equal(st->loop->read_block->lent, 0);
    assert_int_equal(st->loop->write_block->lent, 0);
}

static void assert_holds_nothing(rotor_stream *s)
{
    assert_null(s->input.block);
    assert_null(s->output.block);
}

static void an_idle_stream_holds_no_buffer(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 100), .echo = true});
    stage_open(&st, &sc);
    size_t live = test_alloc_live();
    assert_holds_nothing(sc.stream);
    for (int i = 0; i < 10; i++) {
        stage_send(&st, "ping\npong\n");
        assert_string_equal(stage_received(&st), "ping\npong\n");
        assert_holds_nothing(sc.stream);
        assert_blocks_are_back(&st);
        assert_int_equal(test_alloc_live(), live);
    }
    stage_close(&st);
}

static void what_is_left_over_is_copied(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 100), .echo = true});
    stage_open(&st, &sc);
    size_t live = test_alloc_live();
    stage_send(&st, "ping\npo");
    assert_blocks_are_back(&st);
    assert_int_equal(rotor_buf_len(rotor_stream_input(sc.stream)), 2);
    assert_true(sc.stream->input.block->capacity < 64); /* not more than it needs */
    assert_null(sc.stream->output.block);
    (void)stage_received(&st);
    assert_int_equal(test_alloc_live(), live + 1);
    stage_send(&st, "ng\n");
    assert_string_equal(sc.log, "create read(ping) read(pong)");
    assert_string_equal(stage_received(&st), "pong\n");
    assert_holds_nothing(sc.stream);
    assert_int_equal(test_alloc_live(), live);
    stage_close(&st);
}

static void output_that_is_not_taken_is_copied(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .echo = true});
    stage_open(&st, &sc);
    size_t live = test_alloc_live();
    rotor_memory_window(st.peer, 2);
    stage_send(&st, "abcd");
    assert_blocks_are_back(&st);
    assert_null(sc.stream->input.block);
    assert_int_equal(rotor_stream_unsent(sc.stream), 2);
    rotor_memory_window(st.peer, SIZE_MAX);
    stage_turn(&st);
    assert_string_equal(stage_received(&st), "abcd");
    assert_holds_nothing(sc.stream);
    assert_int_equal(test_alloc_live(), live);
    stage_close(&st);
}

/* That a poll woke it for nothing, for its end, or while another one works, is no reason either. */
static void a_stream_that_received_nothing_holds_nothing(void **state)
{
    static const size_t buffers[] = {0, 16};
    for (size_t i = 0; i < 2; i++) {
        rotor_loop *loop;
        rotor_config config = {.clock = &test_clock, .buffer = buffers[i]};
        rotor_handle self;
        script sc =
            SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_intent_sleep(), .keep = true});
        rotor_memory *peer = rotor_memory_new();
        assert_int_equal(rotor_loop_new(&loop, &config), 0);
        assert_int_equal(rotor_memory_connect(peer, loop, &sc.protocol, &sc, &self), 0);
        size_t live = test_alloc_live();
        assert_int_equal(rotor_memory_send(peer, "", 0), 0);
        rotor_memory_shutdown(peer);
        for (int turn = 0; turn < 5; turn++)
            rotor_loop_turn(loop);
        assert_string_equal(sc.log, "create exception(EEOF)");
        assert_holds_nothing(sc.stream);
        assert_int_equal(test_alloc_live(), live);
        assert_int_equal(rotor_loop_free(loop), 0);
        rotor_memory_free(peer);
    }
}

/* With input left over and output written, in each transition, each end. */
static void every_way_out_returns_the_blocks(void **state)
{
    const rotor_intent ends[] = {rotor_intent_done(), rotor_intent_abort(),
                                 rotor_intent_error(UV_EIO), rotor_intent_linger(ROTOR_NEVER)};
    enum { READ, FLUSHED, TIMEOUT, WAKEUP, EXCEPTION, FATAL, ENDED, WAYS };
    for (int way = 0; way < WAYS; way++) {
        for (size_t end = 0; end < sizeof ends / sizeof ends[0]; end++) {
            for (size_t window = 0; window < 3; window++) {
                stage st;
                uint64_t deadline = way == TIMEOUT ? test_monotonic_ms + 10 : ROTOR_NEVER;
                rotor_intent first = way == FLUSHED ? rotor_expect_flush(0) : rotor_expect_bytes(4);
                script sc = SCRIPT({.then = rotor_expect_bytes(1)},
                                   {.then = rotor_intent_until(first, deadline), .say = "1"},
                                   {.then = ends[end], .say = "234"});
                stage_open(&st, &sc);
                size_t before = test_alloc_live();
                stage_send(&st, "abc");
                assert_int_equal(sc.reads, 1);
                rotor_memory_window(st.peer, window);
                switch (way) {
                case READ:
                    stage_send(&st, "defgh");
                    break;
                case TIMEOUT:
                    stage_wait(&st, 10);
                    break;
                case WAKEUP:
                    assert_int_equal(rotor_wake(st.loop, st.self), 0);
                    break;
                case EXCEPTION:
                    rotor_memory_shutdown(st.peer);
                    break;
                case FATAL:
                    rotor_memory_fail(st.peer, UV_ECONNRESET);
                    break;
                case ENDED:
                    assert_int_equal(rotor_end(st.loop, st.self, 0), 0);
                    break;
                }
                stage_turn(&st);
                assert_blocks_are_back(&st);
                rotor_memory_window(st.peer, SIZE_MAX);
                rotor_memory_shutdown(st.peer);
                stage_turn(&st);
                assert_blocks_are_back(&st);
                assert_true(stage_is_over(&st));
                assert_int_equal(sc.drops, 1);
                (void)stage_received(&st);
                assert_true(test_alloc_live() < before);
                stage_close(&st);
            }
        }
    }
}

static void a_create_that_ends_returns_the_blocks(void **state)
{
    const rotor_intent ends[] = {rotor_intent_done(), rotor_intent_abort(),
                                 rotor_intent_error(UV_EIO)};
    for (size_t end = 0; end < sizeof ends / sizeof ends[0]; end++) {
        stage st;
        script sc = SCRIPT({.then = ends[end], .say = "hello"});
        stage_open_loop(&st, 0);
        st.peer = rotor_memory_new();
        (void)rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, NULL);
        assert_string_equal(sc.log, "create drop");
        assert_blocks_are_back(&st);
        stage_close(&st);
    }
}

/* A block that is too small is left alone, and all goes on in memory of the stream's own. */
static void small_buffers_will_do(void **state)
{
    static const size_t buffers[] = {1, 16, 100, 5000};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        rotor_loop *loop;
        rotor_config config = {.clock = &test_clock, .buffer = buffers[i]};
        rotor_handle self;
        script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 5000), .echo = true});
        rotor_memory *peer = rotor_memory_new();
        assert_int_equal(rotor_loop_new(&loop, &config), 0);
        assert_int_equal(rotor_memory_connect(peer, loop, &sc.protocol, &sc, &self), 0);
        size_t live = test_alloc_live();
        char line[3000];
        memset(line, 'x', sizeof line);
        line[sizeof line - 1] = '\n';
        rotor_memory_split(peer, 1000);
        for (int n = 0; n < 3; n++)
            assert_int_equal(rotor_memory_send(peer, line, sizeof line), 0);
        for (int turn = 0; turn < 20; turn++)
            rotor_loop_turn(loop);
        assert_int_equal(sc.reads, 3);
        rotor_buf *received = rotor_memory_received(peer);
        assert_int_equal(rotor_buf_len(received), 3 * sizeof line);
        for (int n = 0; n < 3; n++) {
            assert_memory_equal(rotor_buf_data(received), line, sizeof line);
            rotor_buf_consume(received, sizeof line);
        }
        assert_holds_nothing(sc.stream);
        assert_int_equal(test_alloc_live(), live);
        assert_int_equal(rotor_loop_free(loop), 0);
        rotor_memory_free(peer);
    }
}

/* Longer than what is moved into the lent block each time. */
static void long_input_is_gathered(void **state)
{
    enum { SIZE = 300000 };
    static const size_t splits[] = {0, 1000, 4096, 5000, 65536};
    char *sent = malloc(SIZE);
    assert_non_null(sent);
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        stage st;
        script sc = SCRIPT({.then = rotor_expect_bytes(SIZE)},
                           {.then = rotor_expect_bytes(1), .echo = true});
        sc.protocol.high_water = SIZE + 1;
        stage_open(&st, &sc);
        rotor_memory_split(st.peer, splits[i]);
        assert_int_equal(rotor_memory_send(st.peer, sent, SIZE), 0);
        stage_turn(&st);
        assert_int_equal(sc.reads, 1);
        rotor_buf *received = rotor_memory_received(st.peer);
        assert_int_equal(rotor_buf_len(received), SIZE);
        assert_memory_equal(rotor_buf_data(received), sent, SIZE);
        assert_holds_nothing(sc.stream);
        stage_close(&st);
    }
    free(sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_idle_stream_holds_no_buffer),
        TEST(what_is_left_over_is_copied),
        TEST(output_that_is_not_taken_is_copied),
        TEST(a_stream_that_received_nothing_holds_nothing),
        TEST(every_way_out_returns_the_blocks),
        TEST(a_create_that_ends_returns_the_blocks),
        TEST(small_buffers_will_do),
        TEST(long_input_is_gathered),
    };
    return cmocka_run_group_tests_name("stream_lending", tests, NULL, NULL);
}
