/* Protocols such as one would write, each run with its input whole, cut in two at each byte, and byte
** by byte, over memory, a Unix socket pair and TCP. Only the bytes may decide what comes out. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "script.h"
#include "sockets.h"
#include "support.h"

/* -- line echo --------------------------------------------------------------------------------- */

typedef struct echo {
    rotor_stream stream;
    bool skipping; /* the rest of a line that was too long */
} echo;

static rotor_intent next_line(void)
{
    return rotor_expect_delimiter("\r\n", 2, 12);
}

static rotor_intent echo_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return next_line();
}

static rotor_intent echo_line(rotor_stream *s, rotor_scope *scope, size_t n)
{
    echo *e = (echo *)s;
    rotor_buf *input = rotor_stream_input(s);
    if (!e->skipping)
        rotor_stream_write(s, rotor_buf_data(input), n + 2);
    e->skipping = false;
    rotor_buf_consume(input, n + 2);
    return next_line();
}

/* What is in the input when a line is too long depends on how it came; what is answered must not. */
static rotor_intent echo_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    echo *e = (echo *)s;
    rotor_buf *input = rotor_stream_input(s);
    if (reason == ROTOR_EEOF) {
        rotor_stream_write(s, "bye\r\n", 5);
        return rotor_intent_done();
    }
    if (!e->skipping)
        rotor_stream_write(s, "too long\r\n", 10);
    e->skipping = true;
    rotor_buf_consume(input, 12); /* its last byte may be the CR */
    return next_line();
}

static const rotor_protocol line_echo = {
    .name = "line echo",
    .size = sizeof(echo),
    .create = echo_create,
    .bytes_read = echo_line,
    .exception = echo_exception,
};

/* -- frames: two bytes of length, then so many; answered backwards, the same way --------------- */

typedef struct frames {
    rotor_stream stream;
    bool in_body;
} frames;

static rotor_intent frames_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_expect_bytes(2);
}

static rotor_intent frames_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    frames *f = (frames *)s;
    rotor_buf *input = rotor_stream_input(s);
    const unsigned char *data = (const unsigned char *)rotor_buf_data(input);
    f->in_body = !f->in_body;
    if (f->in_body) {
        size_t len = (size_t)data[0] << 8 | data[1];
        rotor_stream_write(s, data, 2);
        rotor_buf_consume(input, 2);
        return rotor_expect_bytes(len);
    }
    for (size_t i = n; i > 0; i--)
        rotor_stream_write(s, data + i - 1, 1);
    rotor_buf_consume(input, n);
    return rotor_expect_bytes(2);
}

static const rotor_protocol framed = {
    .name = "frames",
    .size = sizeof(frames),
    .create = frames_create,
    .bytes_read = frames_read,
};

/* -- a mailbox that talks, in states: the session's two fall back to it, and it to the protocol --- */

typedef struct chat {
    rotor_stream stream;
    unsigned mails;
} chat;

static const rotor_protocol chatty, session, command, body, goodbye;

static rotor_intent become(rotor_stream *s, const rotor_protocol *state, rotor_intent intent)
{
    assert_int_equal(rotor_become(s, state), 0);
    return intent;
}

static rotor_intent chat_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_stream_write(s, "220 ready\n", 10);
    return become(s, &session, rotor_expect_flush(0));
}

static rotor_intent session_flushed(rotor_stream *s, rotor_scope *scope)
{
    return become(s, &command, rotor_expect_delimiter("\n", 1, 20));
}

static rotor_intent command_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    const char *data = rotor_buf_data(input);
    bool is_data = n == 4 && memcmp(data, "DATA", 4) == 0;
    bool is_quit = n == 4 && memcmp(data, "QUIT", 4) == 0;
    rotor_buf_consume(input, n + 1);
    if (is_data) {
        rotor_stream_write(s, "354 go on\n", 10);
        return become(s, &body, rotor_expect_delimiter("\n.\n", 3, 1000));
    }
    if (is_quit) {
        rotor_stream_write(s, "221 bye\n", 8);
        return become(s, &goodbye, rotor_expect_flush(0));
    }
    rotor_stream_write(s, "500 what?\n", 10);
    return rotor_expect_flush(5); /* which does not matter */
}

static rotor_intent body_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    char answer[64];
    int len = snprintf(answer, sizeof answer, "250 mail %u of %zu\n", ++((chat *)s)->mails, n);
    rotor_stream_write(s, answer, (size_t)len);
    rotor_buf_consume(rotor_stream_input(s), n + 3);
    return rotor_expect_flush(0);
}

static rotor_intent goodbye_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor_stream_shutdown(s);
    return rotor_intent_linger(ROTOR_NEVER);
}

static rotor_intent chat_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_stream_write(s, "421 no\n", 7);
    return rotor_intent_linger(ROTOR_NEVER);
}

static const rotor_protocol chatty = {
    .name = "chat",
    .size = sizeof(chat),
    .create = chat_create,
    .exception = chat_exception,
};

static const rotor_protocol session = {
    .name = "session", .parent = &chatty, .bytes_flushed = session_flushed};

static const rotor_protocol command = {
    .name = "command", .parent = &session, .bytes_read = command_read};

static const rotor_protocol body = {.name = "body", .parent = &session, .bytes_read = body_read};

static const rotor_protocol goodbye = {
    .name = "goodbye", .parent = &chatty, .bytes_flushed = goodbye_flushed};

/* -- full duplex: counts what comes while much more than a window's worth goes out --------------- */

enum { CHUNKS = 12, CHUNK = 50 };

typedef struct duplex {
    rotor_stream stream;
    unsigned chunks, bytes;
} duplex;

static rotor_intent duplex_more(rotor_stream *s, rotor_scope *scope)
{
    duplex *d = (duplex *)s;
    char chunk[CHUNK];
    if (d->chunks == CHUNKS)
        return rotor_expect_bytes(1);
    memset(chunk, 'a' + (int)d->chunks++, CHUNK);
    rotor_stream_write(s, chunk, CHUNK);
    return rotor_and_flush(rotor_expect_bytes(1), 0);
}

static rotor_intent duplex_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return duplex_more(s, scope);
}

static rotor_intent duplex_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    ((duplex *)s)->bytes += (unsigned)rotor_buf_len(input);
    rotor_buf_consume(input, rotor_buf_len(input));
    return rotor_and_flush(rotor_expect_bytes(1), 0);
}

static rotor_intent duplex_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    char total[32];
    for (rotor_intent more = duplex_more(s, scope); more.flush > 0;)
        more = duplex_more(s, scope);
    int n = snprintf(total, sizeof total, "%u", ((duplex *)s)->bytes);
    rotor_stream_write(s, total, (size_t)n);
    return rotor_intent_done();
}

static const rotor_protocol full_duplex = {
    .name = "duplex",
    .size = sizeof(duplex),
    .create = duplex_create,
    .bytes_read = duplex_read,
    .bytes_flushed = duplex_more,
    .exception = duplex_exception,
};

/* -- the driver -------------------------------------------------------------------------------- */

typedef struct text {
    char data[1024];
    size_t len;
} text;

typedef enum transport { MEMORY, UNIX, TCP, TRANSPORTS } transport;

static void append(text *t, const char *data, size_t n)
{
    assert_true(t->len + n <= sizeof t->data);
    if (n > 0)
        memcpy(t->data + t->len, data, n);
    t->len += n;
}

static text run_in_memory(const rotor_protocol *protocol, text in, size_t first, size_t step)
{
    stage st;
    text out = {.len = 0};
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, protocol, NULL, &st.self), 0);
    for (size_t at = 0, n = first; at < in.len; at += n, n = step) {
        n = n < in.len - at ? n : in.len - at;
        assert_int_equal(rotor_memory_send(st.peer, in.data + at, n), 0);
        stage_turn(&st);
    }
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_true(stage_is_over(&st));
    rotor_buf *received = rotor_memory_received(st.peer);
    append(&out, rotor_buf_data(received), rotor_buf_len(received));
    stage_close(&st);
    return out;
}

static bool has_read_all(int fd)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

static text run_over_sockets(const rotor_protocol *protocol, text in, size_t first, size_t step,
                             int family)
{
    stage st;
    text out = {.len = 0};
    int near, far;
    stage_open_loop(&st, 0);
    sockets_pair(family, &near, &far);
    rotor_stream_seed seed = {.protocol = protocol, .fd = near};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
    assert_int_equal(seed.fd, -1);
    for (size_t at = 0, n = first; at < in.len; at += n, n = step) {
        n = n < in.len - at ? n : in.len - at;
        assert_int_equal(send(far, in.data + at, n, MSG_NOSIGNAL), (ssize_t)n);
        struct pollfd arrived = {.fd = near, .events = POLLIN};
        assert_int_equal(poll(&arrived, 1, 10000), 1);
        TURN_UNTIL(st.loop, has_read_all(near));
    }
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    ssize_t n;
    char data[sizeof out.data];
    while ((n = recv(far, data, sizeof data, 0)) > 0)
        append(&out, data, (size_t)n);
    assert_int_equal(n, 0); /* and not a reset */
    close(far);
    stage_close(&st);
    return out;
}

/* All that `protocol` answers to `in`, sent as `first` bytes and then `step` at a time. */
static text run_protocol(const rotor_protocol *protocol, text in, size_t first, size_t step,
                         transport over)
{
    if (over == MEMORY)
        return run_in_memory(protocol, in, first, step);
    return run_over_sockets(protocol, in, first, step, over == UNIX ? AF_UNIX : AF_INET);
}

static void assert_answers(const rotor_protocol *protocol, text in, text wanted)
{
    for (transport over = MEMORY; over < TRANSPORTS; over++) {
        for (size_t first = 0; first <= in.len; first++) {
            /* 0: byte by byte; otherwise in two pieces, the last time whole. */
            text out = run_protocol(protocol, in, first ? first : 1, first ? in.len : 1, over);
            if (out.len != wanted.len || memcmp(out.data, wanted.data, out.len) != 0)
                fail_msg("%s over transport %d, cut at %zu: %.*s", protocol->name, (int)over, first,
                         (int)out.len, out.data);
        }
    }
}

#define TEXT(literal)                                                                              \
    (text)                                                                                         \
    {                                                                                              \
        .data = literal, .len = sizeof literal - 1                                                 \
    }

static void lines_are_echoed(void **state)
{
    assert_answers(&line_echo, TEXT("hello\r\n\r\n\r\r\nno\ncarriage\r\nexactly12345\r\n"),
                   TEXT("hello\r\n\r\n\r\r\nno\ncarriage\r\nexactly12345\r\nbye\r\n"));
}

static void long_lines_are_skipped(void **state)
{
    assert_answers(&line_echo,
                   TEXT("short\r\nthis one is much too long\r\nthirteen long\r\nok\r\nhalf"),
                   TEXT("short\r\ntoo long\r\ntoo long\r\nok\r\nbye\r\n"));
}

static void nothing_is_answered_too(void **state)
{
    assert_answers(&line_echo, TEXT(""), TEXT("bye\r\n"));
    for (transport over = MEMORY; over < TRANSPORTS; over++) {
        text out = run_protocol(&line_echo, TEXT(""), 1, 1, over);
        assert_int_equal(out.len, 5);
    }
}

static void frames_are_answered(void **state)
{
    assert_answers(&framed, TEXT("\0\3abc\0\0\0\1x\0\11backwards"),
                   TEXT("\0\3cba\0\0\0\1x\0\11sdrawkcab"));
}

static void a_conversation_goes_through_its_states(void **state)
{
    assert_answers(&chatty,
                   TEXT("HELP\nDATA\nDear\n..\nyes\n.\nDATA\n\n.\nQUIT\nDATA\nnot any more"),
                   TEXT("220 ready\n500 what?\n354 go on\n250 mail 1 of 11\n354 go on\n"
                        "250 mail 2 of 0\n221 bye\n"));
}

static void a_conversation_may_break_off(void **state)
{
    assert_answers(&chatty, TEXT("DATA\nDear\n."), TEXT("220 ready\n354 go on\n421 no\n"));
    assert_answers(&chatty, TEXT("a command that is too long\nDATA\n\n.\n"),
                   TEXT("220 ready\n421 no\n"));
}

static void both_directions_go_on_at_once(void **state)
{
    text wanted = {.len = 0};
    for (int i = 0; i < CHUNKS; i++) {
        char chunk[CHUNK];
        memset(chunk, 'a' + i, CHUNK);
        append(&wanted, chunk, CHUNK);
    }
    append(&wanted, "21", 2);
    assert_answers(&full_duplex, TEXT("what a proxy is given"), wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_are_echoed),
        TEST(long_lines_are_skipped),
        TEST(nothing_is_answered_too),
        TEST(frames_are_answered),
        TEST(a_conversation_goes_through_its_states),
        TEST(a_conversation_may_break_off),
        TEST(both_directions_go_on_at_once),
    };
    return cmocka_run_group_tests_name("protocols", tests, NULL, NULL);
}
