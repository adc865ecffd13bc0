/* Peers that do what they should not, at each point of whole conversations, over TCP. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocols.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

typedef struct conversation {
    const rotor_protocol *protocol;
    const char *in;
    size_t len;
} conversation;

#define SAY(protocol, text)                                                                        \
    {                                                                                              \
        &(protocol), text, sizeof text - 1                                                         \
    }

static const conversation conversations[] = {
    SAY(protocol_lines, "hello\r\n\r\nthis one is much too long\r\nok\r\nhalf"),
    SAY(protocol_frames, "\0\3abc\0\0\0\1x\0\11backwards\0"),
    SAY(protocol_mail, "HELP\nDATA\nDear\n..\nyes\n.\nDATA\n\n.\nQUIT\nmore"),
    SAY(protocol_duplex, "what a proxy is given"),
};

enum { CONVERSATIONS = sizeof conversations / sizeof *conversations };

static bool has_read_all(int fd)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

/* A stream that runs the protocol and has read the first `n` bytes; `far` is its peer. */
static void talk(stage *st, const conversation *c, size_t n, int *far)
{
    int near;
    stage_open_loop(st, 0);
    sockets_pair(AF_INET, &near, far);
    rotor_stream_seed seed = {.protocol = c->protocol, .fd = near};
    assert_int_equal(rotor_add(st->loop, &rotor_stream_type, &seed, &st->self), 0);
    if (n == 0)
        return;
    assert_int_equal(send(*far, c->in, n, MSG_NOSIGNAL), (ssize_t)n);
    struct pollfd arrived = {.fd = near, .events = POLLIN};
    assert_int_equal(poll(&arrived, 1, 10000), 1);
    TURN_UNTIL(st->loop, stage_is_over(st) || has_read_all(near));
}

/* With what came before read by the peer or not: a reset over unread bytes is another one. */
static void the_peer_resets_at_each_point(void **state)
{
    for (int i = 0; i < 2 * CONVERSATIONS; i++) {
        const conversation *c = &conversations[i / 2];
        for (size_t n = 0; n <= c->len; n++) {
            stage st;
            int far;
            char answer[1024];
            talk(&st, c, n, &far);
            if (i % 2)
                while (recv(far, answer, sizeof answer, 0) > 0)
                    continue;
            sockets_reset(far);
            TURN_UNTIL(st.loop, stage_is_over(&st));
            assert_int_equal(rotor_loop_count(st.loop), 0);
            /* The mailbox lingers behind QUIT, and then it does not matter how the peer leaves. */
            if (st.errors)
                assert_int_equal(st.error, UV_ECONNRESET);
            else
                assert_true(c->protocol == &protocol_mail && n >= c->len - 5);
            stage_close(&st);
        }
    }
}

/* What the protocol answers to the first `n` bytes and the end behind them. */
static size_t answer_over_tcp(const conversation *c, size_t n, char answer[2048])
{
    stage st;
    int far;
    size_t have = 0;
    talk(&st, c, n, &far);
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    for (ssize_t got = 1; got > 0; have += (size_t)got) {
        got = -1;
        TURN_UNTIL(st.loop, (got = recv(far, answer + have, 2048 - have, 0)) >= 0);
    }
    TURN_UNTIL(st.loop, stage_is_over(&st));
    close(far);
    stage_close(&st);
    return have;
}

static size_t answer_in_memory(const conversation *c, size_t n, char answer[2048])
{
    stage st;
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, c->protocol, NULL, &st.self), 0);
    assert_int_equal(rotor_memory_send(st.peer, c->in, n), 0);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_true(stage_is_over(&st));
    rotor_buf *received = rotor_memory_received(st.peer);
    size_t have = rotor_buf_len(received);
    assert_true(have <= 2048);
    memcpy(answer, have ? rotor_buf_data(received) : "", have);
    stage_close(&st);
    return have;
}

static void the_peer_closes_half_at_each_point(void **state)
{
    for (const conversation *c = conversations; c < conversations + CONVERSATIONS; c++) {
        for (size_t n = 0; n <= c->len; n++) {
            char answer[2048], wanted[2048];
            size_t have = answer_over_tcp(c, n, answer);
            assert_int_equal(have, answer_in_memory(c, n, wanted));
            assert_memory_equal(answer, wanted, have);
        }
    }
}

static void the_peer_closes_at_each_point(void **state)
{
    for (const conversation *c = conversations; c < conversations + CONVERSATIONS; c++) {
        for (size_t n = 0; n <= c->len; n++) {
            stage st;
            int far;
            talk(&st, c, n, &far);
            close(far);
            TURN_UNTIL(st.loop, stage_is_over(&st));
            assert_int_equal(rotor_loop_count(st.loop), 0);
            stage_close(&st);
        }
    }
}

/* -- a peer that sends for ever and never reads -------------------------------------------------- */

enum { MARK = 10000 };

static rotor_intent repeat_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    *(rotor_stream **)seed = s;
    return rotor_expect_bytes(100);
}

/* Ten times as much output as input. */
static rotor_intent repeat_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    for (int i = 0; i < 10; i++)
        assert_int_equal(rotor_stream_write(s, rotor_buf_data(rotor_stream_input(s)), n), 0);
    rotor_buf_consume(rotor_stream_input(s), n);
    return rotor_expect_bytes(100);
}

static const rotor_protocol repeater = {
    .name = "repeater",
    .size = sizeof(rotor_stream),
    .create = repeat_create,
    .bytes_read = repeat_read,
    .high_water = MARK,
};

static void the_peer_never_reads(void **state)
{
    stage st;
    int near, far;
    static char flood[100000];
    rotor_stream *s;
    size_t sent = 0, most_output = 0, most_input = 0;
    stage_open_loop(&st, 0);
    sockets_pair(AF_INET, &near, &far);
    rotor_stream_seed seed = {.protocol = &repeater, .fd = near, .seed = &s};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self), 0);
    /* Until the peer can send no more, although the stream has had many turns. */
    for (int refused = 0; refused < 100;) {
        ssize_t n = send(far, flood, sizeof flood, MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN);
        refused = n > 0 ? 0 : refused + 1;
        sent += n > 0 ? (size_t)n : 0;
        rotor_loop_turn(st.loop);
        most_output = most_output > rotor_stream_unsent(s) ? most_output : rotor_stream_unsent(s);
        size_t input = rotor_buf_len(rotor_stream_input(s));
        most_input = most_input > input ? most_input : input;
    }
    assert_true(sent > 200000); /* which is ten times as much output */
    /* It stops at the mark, or one answer above, of which the socket may still take some. */
    assert_in_range(most_output, MARK / 2, MARK + 999);
    assert_in_range(most_input, 1, 65536); /* what the loop reads at once */
    close(far);
    TURN_UNTIL(st.loop, stage_is_over(&st));
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_peer_resets_at_each_point),
        TEST(the_peer_closes_half_at_each_point),
        TEST(the_peer_closes_at_each_point),
        TEST(the_peer_never_reads),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
