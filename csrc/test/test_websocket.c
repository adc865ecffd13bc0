/* What WebSockets take and refuse. Each case is held by a server and by a client, with the frames sent as a
** whole, byte by byte, and in two parts, cut at every place: what is told and what is answered must be the
** same. */
#include "test.h"

#include "support.h"
#include "talk.h"
#include "websocket_cases.h"

enum { CASES = sizeof websocket_cases / sizeof *websocket_cases };

/* Send `n` bytes in two parts, of which the loop gets at most `split` at a time. */
static void send_parts(talk *t, const char *data, size_t n, size_t cut, size_t split)
{
    rotor_memory_split(t->peer, split);
    assert_int_equal(rotor_memory_send(t->peer, data, cut), 0);
    talk_turn(t);
    assert_int_equal(rotor_memory_send(t->peer, data + cut, n - cut), 0);
    talk_turn(t);
}

static void check(const websocket_case *c, talk *t, size_t cut, size_t split)
{
    char expected[1024];
    bool closed = strstr(c->log, "close(") != NULL;
    snprintf(expected, sizeof expected, "open%s%s", *c->log ? " " : "", c->log);
    const char *answers = talk_received(t);
    if (strcmp(t->log, expected) != 0 || strcmp(answers, c->answers) != 0)
        fail_msg("%s, %s, cut at %zu, split by %zu: '%s' answered '%s'", c->name,
                 t->is_client ? "client" : "server", cut, split, t->log, answers);
    if (closed && (!t->is_client || rotor_websocket_error(t->ws)))
        assert_true(rotor_memory_is_shutdown(t->peer));
    assert_false(talk_is_over(t));
    assert_int_equal(t->errors, 0);

    rotor_memory_shutdown(t->peer);
    talk_turn(t);
    strcat(expected, closed ? " drop" : " close(1006 EEOF) drop");
    TALK_LOG(t, expected);
    assert_string_equal(talk_received(t), "");
    assert_true(talk_is_over(t));
}

static rotor_loop *loop; /* of all the cases */

static void hold(const websocket_case *c, bool is_client, size_t cut, size_t split)
{
    talk t;
    size_t n;
    talk_init(&t, is_client);
    t.loop = loop;
    assert_int_equal(talk_open(&t), 0);
    talk_turn(&t);
    char *frames = talk_frames(&t, c->frames, &n);
    send_parts(&t, frames, n, cut < n ? cut : n, split);
    check(c, &t, cut, split);
    talk_close(&t);
    free(frames);
}

static void hold_all(bool is_client)
{
    assert_int_equal(talk_open_loop(&loop), 0);
    for (size_t i = 0; i < CASES; i++) {
        const websocket_case *c = &websocket_cases[i];
        talk t;
        size_t n;
        talk_init(&t, is_client);
        free(talk_frames(&t, c->frames, &n));
        hold(c, is_client, n, 0);
        hold(c, is_client, n, 1);
        hold(c, is_client, n, 7);
        for (size_t cut = 1; cut < n; cut++)
            hold(c, is_client, cut, 0);
    }
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void a_server_holds_every_case(void **state)
{
    hold_all(false);
}

static void a_client_holds_every_case(void **state)
{
    hold_all(true);
}

static void masks_are_asked_of_clients_and_forbidden_to_servers(void **state)
{
    for (int is_client = 0; is_client <= 1; is_client++) {
        talk t;
        size_t n;
        talk_init(&t, is_client);
        assert_int_equal(talk_open(&t), 0);
        t.is_client = !is_client; /* to have frames as its own kind sends them */
        char *frames = talk_frames(&t, "T(Hello)", &n);
        t.is_client = is_client;
        assert_int_equal(rotor_memory_send(t.peer, frames, n), 0);
        talk_turn(&t);
        TALK_LOG(&t, "open close(1002 WEBSOCKET_EMASK)");
        assert_string_equal(talk_received(&t), "close(1002)");
        talk_close(&t);
        free(frames);
    }
}

/* -- long ones --------------------------------------------------------------------------------- */

static rotor_intent echo(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    int error =
        is_text ? rotor_websocket_send_text(t->ws, data) : rotor_websocket_send_binary(t->ws, data);
    return error ? rotor_intent_error(error) : rotor_expect_message();
}

static const struct {
    const char *frames, *told, *answered;
} long_ones[] = {
    {"T*65535", "open text<65535>", "text<65535>"},
    {"T*65536", "open text<65536>", "text<65536>"},
    {"B*65537 P(x) B*100000", "open binary<65537> ping(x) binary<100000>",
     "binary<65537> pong(x) binary<100000>"},
    {"t*70000 c*70000 P(x) C*1 T(a)", "open ping(x) text<140001> text(a)",
     "pong(x) text<140001> text(a)"},
    {"b(a) c*200000 c() C(z)", "open binary<200002>", "binary<200002>"},
};

static void long_messages_are_echoed(void **state)
{
    static const size_t splits[] = {0, 7, 4096, 65536};
    for (size_t i = 0; i < 2 * sizeof long_ones / sizeof *long_ones; i++)
        for (size_t k = 0; k < sizeof splits / sizeof *splits; k++) {
            talk t;
            talk_init(&t, i % 2);
            t.message = echo;
            assert_int_equal(talk_open(&t), 0);
            rotor_memory_split(t.peer, splits[k]);
            assert_int_equal(talk_send(&t, long_ones[i / 2].frames), 0);
            TALK_LOG(&t, long_ones[i / 2].told);
            assert_string_equal(talk_received(&t), long_ones[i / 2].answered);
            talk_close(&t);
        }
}

/* Each payload that arrives is to be the one that was sent, not only as long. */
static rotor_intent check_bytes(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    for (size_t i = 0; i < data.len; i++)
        assert_int_equal((uint8_t)data.data[i], i * 7 % 251);
    return rotor_expect_message();
}

static void fragments_are_put_together_in_order(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 5, 64, 125, 126, 1000, 4096};
    enum { TOTAL = 20000 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        char *frames = malloc(TOTAL * 8 + 64);
        size_t n = 0;
        talk t;
        assert_non_null(frames);
        talk_init(&t, false);
        t.message = check_bytes;
        assert_int_equal(talk_open(&t), 0);
        for (size_t at = 0; at < TOTAL;) {
            size_t len = at + sizes[k] < TOTAL ? sizes[k] : TOTAL - at;
            rotor_websocket_frame frame = {.length = len,
                                           .opcode = at == 0 ? 2 : 0,
                                           .fin = at + len == TOTAL,
                                           .masked = true,
                                           .key = "abc"};
            n += rotor_websocket_write_frame(frames + n, &frame);
            for (size_t i = 0; i < len; i++)
                frames[n + i] = (char)((at + i) * 7 % 251);
            rotor_websocket_mask(frames + n, len, frame.key, 0);
            at += len;
            n += len;
        }
        for (size_t split = 0; split < 3000; split = split * 3 + 1000) {
            rotor_memory_split(t.peer, split);
            assert_int_equal(rotor_memory_send(t.peer, frames, n), 0);
            talk_turn(&t);
        }
        TALK_LOG(&t, "open binary<20000> binary<20000>");
        talk_close(&t);
        free(frames);
    }
}

/* -- limits ------------------------------------------------------------------------------------ */

static void check_limit(bool is_client, uint64_t message, uint32_t fragments, const char *frames,
                        const char *log)
{
    talk t;
    talk_init(&t, is_client);
    t.handler.max_message = message;
    t.handler.max_fragments = fragments;
    assert_int_equal(talk_open(&t), 0);
    assert_int_equal(talk_send(&t, frames), 0);
    TALK_LOG(&t, log);
    talk_close(&t);
}

static void limits(void **state)
{
    for (int is_client = 0; is_client <= 1; is_client++) {
        check_limit(is_client, 3, 0, "T(abc) b(ab) C(c) B()",
                    "open text(abc) binary(abc) binary()");
        check_limit(is_client, 3, 0, "T(abcd) T(a)", "open close(1009 WEBSOCKET_ESIZE)");
        check_limit(is_client, 3, 0, "t(ab) C(cd)", "open close(1009 WEBSOCKET_ESIZE)");
        check_limit(is_client, 3, 0, "T(abc) P*125 <8204>",
                    "open text(abc) ping<125> close(1009 WEBSOCKET_ESIZE)");
        check_limit(is_client, 0, 2, "t(a) C(b) t(a) C(b)", "open text(ab) text(ab)");
        check_limit(is_client, 0, 2, "t(a) P(x) P(y) c(b) C(c)",
                    "open ping(x) ping(y) close(1008 WEBSOCKET_EFRAGMENTS)");
        check_limit(is_client, 0, 3, "t() c() c() C()", "open close(1008 WEBSOCKET_EFRAGMENTS)");
    }
}

static void who_takes_no_messages_refuses_them(void **state)
{
    talk t;
    talk_init(&t, false);
    t.handler.message = NULL;
    assert_int_equal(talk_open(&t), 0);
    assert_int_equal(talk_send(&t, "P(x) B(a) P(y)"), 0);
    TALK_LOG(&t, "open ping(x) close(1003 WEBSOCKET_EKIND)");
    assert_string_equal(talk_received(&t), "pong(x) close(1003)");
    talk_close(&t);
}

/* -- in pieces --------------------------------------------------------------------------------- */

static rotor_intent take(talk *t, rotor_scope *scope, rotor_text data, bool is_text, bool last)
{
    return rotor_expect_message();
}

static void messages_may_be_told_in_pieces(void **state)
{
    static const struct {
        const char *frames;
        size_t split;
        const char *log;
    } cases[] = {
        {"T(abc) B()", 0, "open text(abc) last binary() last"},
        {"t(abc) c(d) P(x) C(e)", 0, "open text(abc) text(d) ping(x) text(e) last"},
        {"t(abc) c() C()", 0, "open text(abc) text() last"},
        {"b() C()", 0, "open binary() last"},
        {"B(abc)", 1, "open binary(a) binary(b) binary(c) last"},
        {"B(abcdef)", 4, "open binary(ab) binary(cdef) last"},
        {"T(a\xe2\x82\xac)", 1, "open text(a) text(\xe2) text(\x82) text(\xac) last"},
        {"t(a\xe2\x82) C(\xff)", 0, "open text(a\xe2\x82) close(1007 WEBSOCKET_EUTF8)"},
        {"t(a\xe2\x82) C()", 0, "open text(a\xe2\x82) close(1007 WEBSOCKET_EUTF8)"},
        {"b(ab) c(cd) C(ef)", 0, "open binary(ab) binary(cd) close(1009 WEBSOCKET_ESIZE)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        talk t;
        talk_init(&t, true);
        t.chunk = take;
        t.handler.max_message = 6 - (i == 9);
        assert_int_equal(talk_open(&t), 0);
        rotor_memory_split(t.peer, cases[i].split);
        assert_int_equal(talk_send(&t, cases[i].frames), 0);
        TALK_LOG(&t, cases[i].log);
        talk_close(&t);
    }
}

static size_t taken;

static rotor_intent count(talk *t, rotor_scope *scope, rotor_text data, bool is_text, bool last)
{
    assert_true(data.len <= 65536);
    taken += data.len;
    return last ? rotor_intent_done() : rotor_expect_message();
}

static void a_message_in_pieces_is_not_kept(void **state)
{
    talk t;
    talk_init(&t, false);
    t.chunk = count;
    t.silent = true;
    taken = 0;
    assert_int_equal(talk_open(&t), 0);
    assert_int_equal(talk_send(&t, "b*1 c*300000 C*300000"), 0);
    assert_int_equal(taken, 600001);
    assert_string_equal(talk_received(&t), "close(1000)");
    talk_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_holds_every_case),
        TEST(a_client_holds_every_case),
        TEST(masks_are_asked_of_clients_and_forbidden_to_servers),
        TEST(long_messages_are_echoed),
        TEST(fragments_are_put_together_in_order),
        TEST(limits),
        TEST(who_takes_no_messages_refuses_them),
        TEST(messages_may_be_told_in_pieces),
        TEST(a_message_in_pieces_is_not_kept),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
