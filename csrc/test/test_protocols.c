/* Protocols such as one would write, each run with its input whole, cut in two at each byte, and byte
** by byte, over memory, a Unix socket pair and TCP, and traced. Only the bytes may decide what comes out. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../stream/trace.h"
#include "protocols.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

enum { CHUNKS = 12, CHUNK = 50 }; /* of the duplex protocol */

/* -- the driver -------------------------------------------------------------------------------- */

typedef struct text {
    char data[1024];
    size_t len;
} text;

typedef enum transport { MEMORY, TRACED, UNIX, TCP, TRANSPORTS } transport;

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

static text run_traced(const rotor_protocol *protocol, text in, size_t first, size_t step)
{
    rotor_trace *trace;
    assert_int_equal(rotor_trace_new(&trace, protocol), 0);
    text out = run_in_memory(rotor_trace_protocol(trace), in, first, step);
    rotor_trace_free(trace);
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
    if (over == TRACED)
        return run_traced(protocol, in, first, step);
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
    assert_answers(&protocol_lines, TEXT("hello\r\n\r\n\r\r\nno\ncarriage\r\nexactly12345\r\n"),
                   TEXT("hello\r\n\r\n\r\r\nno\ncarriage\r\nexactly12345\r\nbye\r\n"));
}

static void long_lines_are_skipped(void **state)
{
    assert_answers(&protocol_lines,
                   TEXT("short\r\nthis one is much too long\r\nthirteen long\r\nok\r\nhalf"),
                   TEXT("short\r\ntoo long\r\ntoo long\r\nok\r\nbye\r\n"));
}

static void nothing_is_answered_too(void **state)
{
    assert_answers(&protocol_lines, TEXT(""), TEXT("bye\r\n"));
    for (transport over = MEMORY; over < TRANSPORTS; over++) {
        text out = run_protocol(&protocol_lines, TEXT(""), 1, 1, over);
        assert_int_equal(out.len, 5);
    }
}

static void frames_are_answered(void **state)
{
    assert_answers(&protocol_frames, TEXT("\0\3abc\0\0\0\1x\0\11backwards"),
                   TEXT("\0\3cba\0\0\0\1x\0\11sdrawkcab"));
}

static void a_conversation_goes_through_its_states(void **state)
{
    assert_answers(&protocol_mail,
                   TEXT("HELP\nDATA\nDear\n..\nyes\n.\nDATA\n\n.\nQUIT\nDATA\nnot any more"),
                   TEXT("220 ready\n500 what?\n354 go on\n250 mail 1 of 11\n354 go on\n"
                        "250 mail 2 of 0\n221 bye\n"));
}

static void a_conversation_may_break_off(void **state)
{
    assert_answers(&protocol_mail, TEXT("DATA\nDear\n."), TEXT("220 ready\n354 go on\n421 no\n"));
    assert_answers(&protocol_mail, TEXT("a command that is too long\nDATA\n\n.\n"),
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
    assert_answers(&protocol_duplex, TEXT("what a proxy is given"), wanted);
}

static void a_connection_goes_on_by_another(void **state)
{
    assert_answers(&protocol_switch, TEXT("eh\nlines\nhello\r\nhalf\r\nno"),
                   TEXT("what?\nok\nhello\r\nhalf\r\nbye\r\n"));
    assert_answers(&protocol_switch, TEXT("frames\n\0\3abc\0\0\0\1x"),
                   TEXT("ok\n\0\3cba\0\0\0\1x"));
    assert_answers(&protocol_switch, TEXT("lines\n"), TEXT("ok\nbye\r\n"));
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
        TEST(a_connection_goes_on_by_another),
    };
    return cmocka_run_group_tests_name("protocols", tests, NULL, NULL);
}
