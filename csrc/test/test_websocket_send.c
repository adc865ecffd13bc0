/* What a WebSocket sends, how its handler closes it, and how it minds a peer that is slow to read. */
#include "test.h"

#include "support.h"
#include "talk.h"

#define TEXT(literal) ((rotor_text){literal, sizeof(literal) - 1})

static const rotor_text nothing = {NULL, 0};

static void open_talk(talk *t, bool is_client)
{
    assert_int_equal(talk_open(t), 0);
    assert_int_equal(t->is_client, is_client);
    talk_turn(t);
    TALK_LOG(t, "open");
}

static void end_talk(talk *t)
{
    rotor_memory_shutdown(t->peer);
    talk_turn(t);
    assert_true(talk_is_over(t));
    talk_close(t);
}

/* -- sending ----------------------------------------------------------------------------------- */

static rotor_intent say_much(talk *t, rotor_scope *scope)
{
    rotor_websocket *ws = t->ws;
    assert_int_equal(rotor_websocket_send_text(ws, TEXT("a\xe2\x82\xac")), 0);
    assert_int_equal(rotor_websocket_send_text(ws, nothing), 0);
    assert_int_equal(rotor_websocket_send_binary(ws, TEXT("\xff")), 0);
    assert_int_equal(rotor_websocket_send_binary(ws, nothing), 0);
    assert_int_equal(rotor_websocket_ping(ws, TEXT("p")), 0);
    assert_int_equal(rotor_websocket_ping(ws, nothing), 0);
    assert_true(rotor_websocket_unsent(ws) > 0);
    return rotor_expect_message();
}

static void all_of_a_dispatch_leaves_in_one_write(void **state)
{
    for (int is_client = 0; is_client <= 1; is_client++) {
        talk t;
        talk_init(&t, is_client);
        t.open = say_much;
        open_talk(&t, is_client);
        assert_int_equal(rotor_memory_writes(t.peer), 1);
        assert_string_equal(talk_received(&t),
                            "text(a\xe2\x82\xac) text() binary(\xff) binary() ping(p) ping()");
        assert_int_equal(talk_send(&t, "P(1) P(2) T(a) P(3)"), 0);
        assert_int_equal(rotor_memory_writes(t.peer), 2);
        assert_string_equal(talk_received(&t), "pong(1) pong(2) pong(3)");
        end_talk(&t);
    }
}

static void sizes_of_every_kind_are_sent(void **state)
{
    static const size_t sizes[] = {0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 200000};
    char *data = malloc(200000);
    assert_non_null(data);
    memset(data, 'x', 200000);
    for (int is_client = 0; is_client <= 1; is_client++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            talk t;
            char expected[300];
            talk_init(&t, is_client);
            t.handler.protocol.high_water = 1 << 20;
            open_talk(&t, is_client);
            assert_int_equal(rotor_websocket_send_text(t.ws, (rotor_text){data, sizes[i]}), 0);
            talk_turn(&t);
            if (sizes[i] > 100)
                snprintf(expected, sizeof expected, "text<%zu>", sizes[i]);
            else
                snprintf(expected, sizeof expected, "text(%.*s)", (int)sizes[i], data);
            assert_string_equal(talk_received(&t), expected);
            end_talk(&t);
        }
    free(data);
}

static void keys_of_masks_differ(void **state)
{
    talk t;
    char keys[200][4];
    talk_init(&t, true);
    open_talk(&t, true);
    size_t same = 0;
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(rotor_websocket_send_binary(t.ws, nothing), 0);
        talk_turn(&t);
        rotor_buf *received = rotor_memory_received(t.peer);
        assert_int_equal(rotor_buf_len(received), 6);
        memcpy(keys[i], rotor_buf_data(received) + 2, 4);
        rotor_buf_consume(received, 6);
        for (size_t k = 0; k < i; k++)
            same += memcmp(keys[k], keys[i], 4) == 0;
    }
    assert_true(same < 3); /* one in 200,000 times there are two alike */
    end_talk(&t);
}

static void what_must_not_be_sent_is_refused(void **state)
{
    talk t;
    char long_text[126] = {0};
    talk_init(&t, false);
    open_talk(&t, false);
    rotor_websocket *ws = t.ws;
    rotor_text too_long = {long_text, 126}, longest = {long_text, 125}, reason = {long_text, 124};
    assert_int_equal(rotor_websocket_send_text(ws, TEXT("\xff")), ROTOR_WEBSOCKET_EUTF8);
    assert_int_equal(rotor_websocket_send_text(ws, TEXT("\xe2\x82")), ROTOR_WEBSOCKET_EUTF8);
    assert_int_equal(rotor_websocket_ping(ws, too_long), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 1000, reason), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 1000, TEXT("\x80")), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 1005, nothing), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 1006, nothing), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 2999, nothing), UV_EINVAL);
    assert_int_equal(rotor_websocket_close(ws, 0, nothing), UV_EINVAL);
    assert_int_equal(rotor_websocket_ping(ws, longest), 0);
    talk_turn(&t);
    assert_string_equal(talk_received(&t), "ping<125>");
    end_talk(&t);
}

static void messages_may_be_sent_in_fragments(void **state)
{
    talk t;
    talk_init(&t, true);
    open_talk(&t, true);
    rotor_websocket *ws = t.ws;
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("a\xe2"), true, false), 0);
    assert_int_equal(rotor_websocket_send_text(ws, TEXT("x")), ROTOR_ESTATE);
    assert_int_equal(rotor_websocket_send_binary(ws, TEXT("x")), ROTOR_ESTATE);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\x82"), false, true),
                     ROTOR_WEBSOCKET_EUTF8); /* it is text, as it has begun */
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\xff"), true, false),
                     ROTOR_WEBSOCKET_EUTF8);
    assert_int_equal(rotor_websocket_ping(ws, TEXT("p")), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\x82"), true, false), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, nothing, true, false), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\xac"), true, true), 0);
    assert_int_equal(rotor_websocket_send_text(ws, TEXT("x")), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\xff"), false, true), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\xff"), false, false), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, nothing, true, true), 0);
    assert_int_equal(rotor_websocket_send_fragment(ws, TEXT("\xff"), true, true),
                     ROTOR_WEBSOCKET_EUTF8);
    talk_turn(&t);
    assert_string_equal(talk_received(&t),
                        "text(a\xe2) + ping(p) more(\x82) + more() + more(\xac) text(x) "
                        "binary(\xff) binary(\xff) + more()");
    end_talk(&t);
}

/* -- closing ----------------------------------------------------------------------------------- */

static rotor_intent say_done(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    assert_int_equal(rotor_websocket_send_text(t->ws, TEXT("last")), 0);
    return rotor_intent_done();
}

static rotor_intent say_abort(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_abort();
}

static rotor_intent say_error(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_error(UV_EIO);
}

static rotor_intent say_linger(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_linger(rotor_now(scope) + 1);
}

static rotor_intent close_it(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    assert_int_equal(rotor_websocket_close(t->ws, 4000, TEXT("enough")), 0);
    assert_int_equal(rotor_websocket_send_text(t->ws, TEXT("late")), ROTOR_ECLOSED);
    assert_int_equal(rotor_websocket_close(t->ws, 4001, nothing), ROTOR_ECLOSED);
    return rotor_expect_message();
}

static void a_handler_closes(void **state)
{
    static const struct {
        rotor_intent (*message)(talk *, rotor_scope *, rotor_text, bool);
        const char *answers, *then, *log;
        int errors;
    } cases[] = {
        {say_done, "text(last) close(1000)", "X(1000)", "close(1000) drop", 0},
        {say_done, "text(last) close(1000)", "T(late) P(late) X(1000)", "close(1000) drop", 0},
        {say_done, "text(last) close(1000)", "t(late) P(late) C(\xff) X(4000 why)",
         "close(4000 why) drop", 0},
        {say_done, "text(last) close(1000)", "X()", "close(1005) drop", 0},
        {say_done, "text(last) close(1000)", "C(x)", "close(1002 WEBSOCKET_EFRAGMENT) drop", 0},
        {say_done, "text(last) close(1000)", "X(1006)", "close(1002 WEBSOCKET_ECLOSE) drop", 0},
        {say_done, "text(last) close(1000)", "<8101>", "close(1006 EEOF) drop", 0},
        {say_done, "text(last) close(1000)", "B*100000 X(1000)", "close(1000) drop", 0},
        {say_linger, "close(1000)", "X(1000)", "close(1000) drop", 0},
        {close_it, "close(4000)", "X(4000 enough)", "close(4000 enough) drop", 0},
        {close_it, "close(4000)", "", "close(1006 EEOF) drop", 0},
        {say_abort, "", "", "close(1006 ECANCELED) drop", 0},
        {say_error, "close(1011)", "T(a)", "close(1011 EIO) drop", 1},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        talk t;
        char log[200];
        talk_init(&t, i % 2);
        t.message = cases[i / 2].message;
        open_talk(&t, i % 2);
        assert_int_equal(talk_send(&t, "T(go)"), 0);
        assert_string_equal(talk_received(&t), cases[i / 2].answers);
        assert_int_equal(talk_send(&t, cases[i / 2].then), 0);
        assert_string_equal(talk_received(&t), "");
        assert_int_equal(t.errors, cases[i / 2].errors);
        end_talk(&t);
        snprintf(log, sizeof log, "open text(go) %s", cases[i / 2].log);
        TALK_LOG(&t, log);
    }
}

static rotor_intent close_at_once(talk *t, rotor_scope *scope)
{
    assert_int_equal(rotor_websocket_close(t->ws, 1013, TEXT("full")), 0);
    return rotor_intent_same();
}

static void it_may_close_as_soon_as_it_opens(void **state)
{
    talk t;
    talk_init(&t, false);
    t.open = close_at_once;
    open_talk(&t, false);
    assert_string_equal(talk_received(&t), "close(1013)");
    assert_int_equal(talk_send(&t, "T(a) X(1013)"), 0);
    TALK_LOG(&t, "open close(1013)");
    end_talk(&t);
}

/* Closed, and written to, from without: while it waits for messages, inside of one, while it sleeps. */
static void anybody_may_close_it(void **state)
{
    static const char *const before[] = {"", "t(a) c(b)", "<8105>", "T(sleep)"};
    for (size_t i = 0; i < 2 * sizeof before / sizeof *before; i++) {
        talk t;
        talk_init(&t, i % 2);
        open_talk(&t, i % 2);
        assert_int_equal(talk_send(&t, before[i / 2]), 0);
        assert_int_equal(rotor_websocket_send_text(t.ws, TEXT("bye")), 0);
        assert_int_equal(rotor_websocket_close(t.ws, 1001, nothing), 0);
        assert_false(rotor_websocket_is_open(t.ws));
        talk_turn(&t);
        assert_string_equal(talk_received(&t), "text(bye) close(1001)");
        assert_int_equal(rotor_wake(t.loop, t.self), 0); /* which is not told any more */
        talk_turn(&t);
        assert_null(strstr(t.log, "wakeup"));
        if (i / 2 == 2) /* the rest of the frame */
            assert_int_equal(rotor_memory_send(t.peer, "hello", 5), 0);
        assert_int_equal(talk_send(&t, i / 2 == 1 ? "C(c) X(1001)" : "X(1001)"), 0);
        assert_non_null(strstr(t.log, "close(1001)"));
        end_talk(&t);
    }
}

static rotor_intent sleep_now(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_sleep();
}

static rotor_intent go_on(talk *t, rotor_scope *scope)
{
    return rotor_expect_message();
}

static void a_sleeper_reads_nothing(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = sleep_now;
    open_talk(&t, false);
    assert_int_equal(talk_send(&t, "T(a) T(b)"), 0);
    assert_int_equal(talk_send(&t, "P(c)"), 0);
    TALK_LOG(&t, "open text(a)");
    assert_int_equal(rotor_wake(t.loop, t.self), 0);
    talk_turn(&t);
    TALK_LOG(&t, "open text(a) wakeup"); /* which goes on with the same, which is to sleep */
    t.wakeup = go_on;
    assert_int_equal(rotor_wake(t.loop, t.self), 0);
    talk_turn(&t);
    TALK_LOG(&t, "open text(a) wakeup wakeup text(b)");
    assert_int_equal(rotor_websocket_close(t.ws, 1000, nothing), 0);
    talk_turn(&t);
    assert_string_equal(talk_received(&t), "close(1000)");
    assert_int_equal(talk_send(&t, "X(1000)"), 0);
    TALK_LOG(&t, "open text(a) wakeup wakeup text(b) close(1000)");
    end_talk(&t);
}

static void what_ends_it_from_without_is_told(void **state)
{
    talk t;
    talk_init(&t, false);
    open_talk(&t, false);
    assert_int_equal(rotor_end(t.loop, t.self, 0), 0);
    talk_turn(&t);
    TALK_LOG(&t, "open close(1006 ECANCELED) drop");
    talk_close(&t);
    talk_init(&t, true);
    open_talk(&t, true);
    talk_close(&t); /* with the loop */
    TALK_LOG(&t, "open close(1006 ECANCELED) drop");
}

/* -- slow peers -------------------------------------------------------------------------------- */

static rotor_intent fill(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    for (int i = 0; i < 10; i++)
        assert_int_equal(rotor_websocket_send_binary(t->ws, (rotor_text){"0123456789", 10}), 0);
    return rotor_and_flush(rotor_expect_message(), 24);
}

static rotor_intent stop_filling(talk *t, rotor_scope *scope)
{
    assert_true(rotor_websocket_unsent(t->ws) <= 24);
    return rotor_intent_same();
}

static void a_flush_mark_is_told_once(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = fill;
    t.flushed = stop_filling;
    open_talk(&t, false);
    rotor_memory_window(t.peer, 50);
    assert_int_equal(talk_send(&t, "T(go)"), 0);
    assert_int_equal(talk_send(&t, "P(x)"), 0); /* after which the mark is still there */
    assert_int_equal(talk_send(&t, "<890579>"), 0);
    TALK_LOG(&t, "open text(go) ping(x)");
    rotor_memory_window(t.peer, 40);
    talk_turn(&t);
    TALK_LOG(&t, "open text(go) ping(x)");
    rotor_memory_window(t.peer, SIZE_MAX);
    talk_turn(&t);
    TALK_LOG(&t, "open text(go) ping(x) flushed");
    assert_int_equal(rotor_memory_send(t.peer, "\xfb\x22\x3e\x3a", 4), 0); /* the rest of a ping */
    assert_int_equal(talk_send(&t, "P(z)"), 0);
    assert_non_null(strstr(t.log, "flushed ping("));
    end_talk(&t);
}

static rotor_intent wait_for_flush(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    assert_int_equal(rotor_websocket_send_text(t->ws, data), 0);
    return rotor_expect_flush(0);
}

static void messages_wait_for_a_flush(void **state)
{
    talk t;
    talk_init(&t, true);
    t.message = wait_for_flush;
    open_talk(&t, true);
    rotor_memory_window(t.peer, 3);
    assert_int_equal(talk_send(&t, "T(a) T(b)"), 0);
    TALK_LOG(&t, "open text(a)");
    rotor_memory_window(t.peer, SIZE_MAX);
    talk_turn(&t);
    TALK_LOG(&t, "open text(a) flushed text(b) flushed");
    assert_string_equal(talk_received(&t), "text(a) text(b)");
    end_talk(&t);
}

static void a_mark_nobody_hears_of_closes(void **state)
{
    talk t;
    talk_init(&t, true);
    t.message = wait_for_flush;
    t.handler.flushed = NULL;
    open_talk(&t, true);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    assert_string_equal(talk_received(&t), "text(a) close(1011)");
    TALK_LOG(&t, "open text(a) close(1011 EUNEXPECTED)");
    assert_int_equal(t.error, ROTOR_EUNEXPECTED);
    end_talk(&t);
}

/* Who sends pings and does not read gets no more of them answered than high_water allows. */
static void pings_do_not_pile_up_answers(void **state)
{
    talk t;
    size_t n;
    talk_init(&t, false);
    open_talk(&t, false);
    t.silent = true;
    rotor_memory_window(t.peer, 1000);
    char *ping = talk_frames(&t, "P*125", &n);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(rotor_memory_send(t.peer, ping, n), 0);
    talk_turn(&t);
    assert_in_range(rotor_websocket_unsent(t.ws), 65536 - 127, 65536 + 127);
    rotor_memory_window(t.peer, SIZE_MAX); /* and when he reads, all are answered */
    talk_turn(&t);
    assert_int_equal(rotor_buf_len(rotor_memory_received(t.peer)), 5000 * 127);
    free(ping);
    end_talk(&t);
}

/* -- memory ------------------------------------------------------------------------------------ */

static size_t blocks;

static void *count_blocks(void *context, void *ptr, size_t size)
{
    blocks += size > 0;
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static rotor_intent answer(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    assert_int_equal(rotor_websocket_send_text(t->ws, data), 0);
    return rotor_expect_message();
}

/* Of the protocol, that is; what the peer in memory keeps is not its. */
static void a_message_in_one_frame_costs_no_memory(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = answer;
    rotor_allocator_set(&(rotor_allocator){count_blocks, NULL});
    open_talk(&t, false);
    t.silent = true;
    size_t per_round[2];
    for (int i = 0; i < 2; i++) {
        blocks = 0;
        assert_int_equal(talk_send(&t, i ? "T*400 T*400 T*400 P*100 T*400 T*400" : "T*2000"), 0);
        per_round[i] = blocks;
        rotor_buf_fini(rotor_memory_received(t.peer));
    }
    assert_int_equal(per_round[0],
                     per_round[1]); /* one for what is sent, one for what is received */
    assert_int_equal(per_round[0], 2);
    end_talk(&t);
    rotor_allocator_set(NULL);
}

static void the_subprotocol_is_kept(void **state)
{
    talk t;
    char name[] = "chat.v2";
    talk_init(&t, false);
    t.subprotocol = name;
    open_talk(&t, false);
    memset(name, 'x', sizeof name - 1);
    assert_string_equal(rotor_websocket_subprotocol(t.ws), "chat.v2");
    end_talk(&t);
    talk_init(&t, false);
    open_talk(&t, false);
    assert_null(rotor_websocket_subprotocol(t.ws));
    end_talk(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_a_dispatch_leaves_in_one_write),
        TEST(sizes_of_every_kind_are_sent),
        TEST(keys_of_masks_differ),
        TEST(what_must_not_be_sent_is_refused),
        TEST(messages_may_be_sent_in_fragments),
        TEST(a_handler_closes),
        TEST(it_may_close_as_soon_as_it_opens),
        TEST(anybody_may_close_it),
        TEST(a_sleeper_reads_nothing),
        TEST(what_ends_it_from_without_is_told),
        TEST(a_flush_mark_is_told_once),
        TEST(messages_wait_for_a_flush),
        TEST(a_mark_nobody_hears_of_closes),
        TEST(pings_do_not_pile_up_answers),
        cmocka_unit_test(a_message_in_one_frame_costs_no_memory),
        TEST(the_subprotocol_is_kept),
    };
    return cmocka_run_group_tests_name("websocket_send", tests, NULL, NULL);
}
