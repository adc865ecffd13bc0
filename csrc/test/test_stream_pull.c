/* Output that is pulled, and files. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"
#include "script.h"
#include "sockets.h"
#include "support.h"
#include "traced.h"

/* A script that also pulls, and asks for that in its first transition. */
typedef struct puller {
    script sc;
    const char *piece; /* what it writes each time; NULL: it sends a file */
    int left;          /* how often, */
    ssize_t then;      /* and then it returns this */
    int fd;
    uint64_t offset, end; /* of what is still to be sent of the file */
    size_t most;          /* at a time; 0: all */
    const char *first;    /* NULL, or written before that */
    int pulls;
} puller;

static ssize_t give_file(puller *p, rotor_stream *s)
{
    size_t n = (size_t)(p->end - p->offset);
    uint64_t before = p->offset;
    if (p->most > 0 && p->most < n)
        n = p->most;
    if (p->first)
        assert_int_equal(rotor_stream_write(s, p->first, strlen(p->first)), 0);
    p->first = NULL;
    ssize_t sent = rotor_stream_send_file(s, p->fd, &p->offset, n);
    assert_int_equal(p->offset - before, sent > 0 ? sent : 0);
    assert_true(sent <= (ssize_t)n);
    return sent;
}

static ssize_t on_pull(rotor_stream *s, rotor_scope *scope)
{
    puller *p = (puller *)rotor_protocol_of(s->protocol);
    assert_int_equal(rotor_stream_unsent(s), 0);
    assert_true(rotor_loop_busy(scope->loop));
    p->pulls++;
    if (!p->piece)
        return give_file(p, s);
    if (p->left == 0)
        return p->then;
    p->left--;
    assert_int_equal(rotor_stream_write(s, p->piece, strlen(p->piece)), 0);
    return (ssize_t)strlen(p->piece);
}

static void ask_first(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->played == 0)
        rotor_stream_pull(s);
}

#define PULLER(...)                                                                                \
    {                                                                                              \
        .sc = SCRIPT(__VA_ARGS__)                                                                  \
    }

static void writes(puller *p, const char *piece, int times)
{
    p->sc.protocol.pull = on_pull;
    p->sc.act = ask_first;
    p->piece = piece;
    p->left = times;
}

static void sends(puller *p, int fd, size_t from, size_t to)
{
    writes(p, NULL, 0);
    p->fd = fd;
    p->offset = from;
    p->end = to;
}

static void open_window(stage *st, puller *p, size_t window)
{
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    rotor_memory_window(st->peer, window);
    assert_int_equal(rotor_memory_connect(st->peer, st->loop, &p->sc.protocol, &p->sc, &st->self),
                     0);
    stage_turn(st);
}

static void widen(stage *st, size_t window)
{
    rotor_memory_window(st->peer, window);
    stage_turn(st);
}

/* -- what is written --------------------------------------------------------------------------- */

static void it_goes_on_until_there_is_no_more(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_expect_bytes(1), .say = "0"}, {.then = rotor_expect_bytes(1)});
    writes(&p, "ab", 3);
    open_window(&st, &p, SIZE_MAX);
    assert_string_equal(stage_received(&st), "0ababab");
    assert_int_equal(p.pulls, 4);
    stage_send(&st, "x");
    assert_int_equal(p.pulls, 4);
    assert_string_equal(p.sc.log, "create read(x)");
    assert_null(p.sc.stream->output.block);
    stage_close(&st);
}

/* However much the peer takes at a time. */
static void what_waits_for_a_flush_waits_for_it(void **state)
{
    const struct {
        rotor_intent then;
        bool shutdown;
        const char *log;
    } cases[] = {{rotor_expect_flush(0), false, "create flushed(0) drop"},
                 {rotor_expect_flush(100), false, "create flushed(0) drop"},
                 {rotor_and_flush(rotor_expect_bytes(1), 1), false, "create flushed(0) drop"},
                 {rotor_intent_done(), false, "create drop"},
                 {rotor_intent_linger(ROTOR_NEVER), false, "create"},
                 {rotor_expect_bytes(1), true, "create"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t window = 1; window <= 8; window++) {
            stage st;
            puller p = PULLER({.then = cases[i].then, .say = "1", .shutdown = cases[i].shutdown},
                              {.then = rotor_intent_done()});
            writes(&p, "abc", 2);
            open_window(&st, &p, window);
            for (size_t sent = window; sent < 7; sent += window) {
                assert_string_equal(p.sc.log, "create");
                assert_false(rotor_memory_is_shutdown(st.peer));
                assert_non_null(p.sc.stream);
                widen(&st, window);
            }
            assert_string_equal(p.sc.log, cases[i].log);
            assert_int_equal(rotor_memory_is_shutdown(st.peer),
                             strcmp(cases[i].log, "create") == 0);
            assert_string_equal(stage_received(&st), "1abcabc");
            assert_int_equal(p.pulls, 3);
            stage_close(&st);
        }
    }
}

static void while_it_closes_only_it_may_write(void **state)
{
    const rotor_intent ends[] = {rotor_intent_done(), rotor_intent_linger(ROTOR_NEVER)};
    for (size_t i = 0; i < 2; i++) {
        stage st;
        puller p = PULLER({.then = ends[i]});
        writes(&p, "abc", 3);
        open_window(&st, &p, 4);
        assert_int_equal(rotor_stream_write(p.sc.stream, "x", 1), ROTOR_ECLOSED);
        widen(&st, SIZE_MAX);
        assert_string_equal(stage_received(&st), "abcabcabc");
        stage_close(&st);
    }
}

static void anybody_may_ask_and_again(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_expect_bytes(1)});
    writes(&p, "abc", 1);
    p.sc.act = NULL;
    open_window(&st, &p, SIZE_MAX);
    assert_int_equal(p.pulls, 0);
    for (int i = 1; i <= 3; i++) {
        p.left = i;
        rotor_stream_pull(p.sc.stream);
        stage_turn(&st);
        assert_int_equal(p.left, 0);
    }
    assert_string_equal(stage_received(&st), "abcabcabcabcabcabc");
    stage_close(&st);
}

static void who_cannot_write_cannot_ask(void **state)
{
    for (int shutdown = 0; shutdown <= 1; shutdown++) {
        stage st;
        puller p = PULLER({.then = shutdown ? rotor_expect_bytes(1) : rotor_intent_done(),
                           .say = "last",
                           .shutdown = shutdown});
        writes(&p, "abc", 1);
        p.sc.act = NULL;
        open_window(&st, &p, 1);
        rotor_stream_pull(p.sc.stream);
        widen(&st, SIZE_MAX);
        assert_string_equal(stage_received(&st), "last");
        assert_int_equal(p.pulls, 0);
        stage_close(&st);
    }
}

static void without_pull_there_is_no_more(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_intent_done(), .say = "all"});
    writes(&p, "abc", 1);
    p.sc.protocol.pull = NULL;
    open_window(&st, &p, SIZE_MAX);
    assert_string_equal(p.sc.log, "create drop");
    assert_string_equal(stage_received(&st), "all");
    stage_close(&st);
}

static void its_errors_are_fatal(void **state)
{
    const rotor_intent waits[] = {rotor_intent_sleep(), rotor_intent_done(), rotor_expect_bytes(1)};
    for (size_t i = 0; i < 3; i++) {
        stage st;
        puller p = PULLER({.then = waits[i]});
        writes(&p, "abc", 2);
        p.then = UV_EIO;
        open_window(&st, &p, 4);
        widen(&st, SIZE_MAX);
        assert_string_equal(p.sc.log, "create fatal(EIO) drop");
        assert_int_equal(st.error, UV_EIO);
        assert_string_equal(stage_received(&st), "abcabc");
        stage_close(&st);
    }
}

static void it_may_be_a_states(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_intent_sleep()});
    writes(&p, "abc", 1);
    rotor_protocol in = {.name = "in", .parent = &p.sc.protocol, .pull = on_pull};
    const rotor_protocol *const states[] = {&in};
    p.sc.protocol.pull = NULL;
    p.sc.act = traced_step;
    p.sc.context = (void *)states;
    open_window(&st, &p, SIZE_MAX);
    p.sc.act = NULL;
    rotor_stream_pull(p.sc.stream);
    stage_turn(&st);
    assert_string_equal(stage_received(&st), "abc");
    stage_close(&st);
}

/* -- with what else happens -------------------------------------------------------------------- */

static void others_have_their_turn(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_expect_bytes(1)});
    writes(&p, "abc", 1000);
    p.sc.protocol.turns = 5;
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    int error = rotor_memory_connect(st.peer, st.loop, &p.sc.protocol, &p.sc, &st.self);
    assert_int_equal(error, 0);
    for (int turns = 1; turns <= 10; turns++) {
        assert_true(p.pulls <= 5 * turns);
        assert_int_equal(rotor_loop_turn(st.loop), 0);
    }
    assert_true(p.pulls >= 10);
    stage_turn(&st);
    assert_int_equal(p.pulls, 1001);
    stage_close(&st);
}

static void input_is_read_meanwhile(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_expect_bytes(2)}, {.then = rotor_expect_bytes(2)});
    writes(&p, "abc", 3);
    open_window(&st, &p, 4);
    stage_send(&st, "1234");
    assert_string_equal(p.sc.log, "create read(12) read(34)");
    widen(&st, SIZE_MAX);
    assert_string_equal(stage_received(&st), "abcabcabc");
    stage_close(&st);
}

static void what_others_write_goes_between(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_expect_bytes(2)});
    writes(&p, "abc", 3);
    open_window(&st, &p, 4);
    assert_int_equal(rotor_stream_write(p.sc.stream, "-", 1), 0);
    widen(&st, SIZE_MAX);
    assert_string_equal(stage_received(&st), "abcabc-abc");
    stage_close(&st);
}

static void hangups_and_wakeups_are_told_meanwhile(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_intent_sleep()}, {.then = rotor_intent_same()},
                      {.then = rotor_intent_abort()});
    writes(&p, "abc", 3);
    p.sc.protocol.hangup = script_hangup;
    open_window(&st, &p, 1);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(p.sc.log, "create wakeup hangup drop");
    stage_close(&st);
}

static void a_peer_that_takes_nothing_has_stalled(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_intent_sleep()});
    writes(&p, "abcdef", 9);
    p.sc.protocol.stall_ms = 100;
    open_window(&st, &p, 1);
    for (int i = 0; i < 20; i++) {
        stage_wait(&st, 99);
        widen(&st, 1);
    }
    assert_string_equal(p.sc.log, "create");
    stage_wait(&st, 100);
    assert_string_equal(p.sc.log, "create fatal(ESTALLED) drop");
    stage_close(&st);
}

static void it_ends_with_the_protocol(void **state)
{
    stage st;
    script next = SCRIPT({.then = rotor_intent_done(), .say = "next"});
    rotor_stream_seed seed = {.protocol = &next.protocol, .seed = &next};
    puller p = PULLER({.then = rotor_intent_sleep()}, {.then = rotor_intent_pass(&seed)});
    writes(&p, "abc", 9);
    open_window(&st, &p, 4);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    widen(&st, SIZE_MAX);
    assert_string_equal(stage_received(&st), "abcabcnext");
    assert_string_equal(next.log, "create drop");
    stage_close(&st);
}

static void a_trace_counts_it(void **state)
{
    stage st;
    puller p = PULLER({.then = rotor_intent_done()});
    writes(&p, "abc", 3);
    p.sc.protocol.name = "pulls";
    rotor_trace *trace = traced_open(&st, &p.sc, 4);
    traced_has(trace, "state0 [label={pulls|bytes_read 0, bytes_flushed 0, pull 2, timeout 0, "
                      "wakeup 0, exception 0, fatal 0|1 here now}]");
    widen(&st, SIZE_MAX);
    traced_has(trace, "state0 -> done [label=\" create 1\"]");
    assert_string_equal(stage_received(&st), "abcabcabc");
    assert_int_equal(p.pulls, 4);
    traced_close(&st, trace);
}

/* -- files ------------------------------------------------------------------------------------- */

static char byte_at(size_t i)
{
    return (char)(i * 31 + i / 251);
}

static int make_file(size_t n)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    char *data = malloc(n + 1);
    assert_true(fd >= 0);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(i);
    assert_int_equal(write(fd, data, n), n);
    free(data);
    return fd;
}

/* `n` bytes of the file, from `from` on. */
static void assert_of_file(const char *data, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != byte_at(from + i))
            fail_msg("byte %zu is not that of the file", from + i);
}

/* Any part of it, however much the peer takes and the protocol gives at a time. */
static void files_go_over_any_transport(void **state)
{
    enum { SIZE = 20000 };
    const size_t parts[][2] = {{0, SIZE}, {0, 1}, {SIZE - 1, SIZE}, {777, 9000}, {5, 5}};
    const size_t sizes[] = {3000, 8192, 8193, SIZE_MAX}, mosts[] = {0, 4096, 2999};
    int fd = make_file(SIZE);
    for (size_t i = 0; i < 5 * 4 * 3; i++) {
        stage st;
        size_t from = parts[i % 5][0], to = parts[i % 5][1], window = sizes[i / 5 % 4];
        puller p = PULLER({.then = rotor_intent_done(), .say = "head "});
        sends(&p, fd, from, to);
        p.most = mosts[i / 20];
        p.first = "and ";
        open_window(&st, &p, window);
        for (int left = 1000; !stage_is_over(&st); left--) {
            assert_true(left > 0);
            widen(&st, window);
        }
        rotor_buf *received = rotor_memory_received(st.peer);
        assert_int_equal(rotor_buf_len(received), 9 + to - from);
        assert_memory_equal(rotor_buf_data(received), "head and ", 9);
        assert_of_file(rotor_buf_data(received) + 9, to - from, from);
        assert_int_equal(st.errors, 0);
        stage_close(&st);
    }
    close(fd);
}

static int outside;
static uint64_t outside_offset;

static void send_outside(script *sc, rotor_stream *s, rotor_scope *scope)
{
    outside = (int)rotor_stream_send_file(s, 0, &outside_offset, 1);
}

static void files_are_sent_in_pull_only(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done()});
    sc.act = send_outside;
    outside = 0;
    stage_open(&st, &sc);
    assert_int_equal(outside, ROTOR_ESTATE);
    assert_int_equal(outside_offset, 0);
    stage_close(&st);
}

static void a_file_that_is_too_short_is_an_error(void **state)
{
    for (int family = 0; family <= 2; family++) {
        stage st;
        int fd = make_file(5000), near, far = -1;
        puller p = PULLER({.then = rotor_intent_done()});
        sends(&p, fd, 1000, 5001);
        if (family == 0) {
            stage_open_loop(&st, 0);
            st.peer = rotor_memory_new();
            assert_int_equal(
                rotor_memory_connect(st.peer, st.loop, &p.sc.protocol, &p.sc, &st.self),
                ROTOR_ETRUNCATED);
            assert_int_equal(rotor_buf_len(rotor_memory_received(st.peer)), 4000);
        } else {
            size_t received;
            stage_open_loop(&st, 0);
            sockets_pair(family == 1 ? AF_UNIX : AF_INET, &near, &far);
            rotor_stream_seed seed = {.protocol = &p.sc.protocol, .fd = near, .seed = &p.sc};
            assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, &st.self),
                             ROTOR_ETRUNCATED);
            assert_int_equal(sockets_end(st.loop, far, &received), 0);
            assert_int_equal(received, 4000);
            close(far);
        }
        assert_string_equal(p.sc.log, "create fatal(ETRUNCATED) drop");
        close(fd);
        stage_close(&st);
    }
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    for (int over_socket = 0; over_socket <= 1; over_socket++) {
        for (int missing = 0; missing <= 1; missing++) {
            stage st;
            int fds[2], near, far = -1, error = 0;
            assert_int_equal(pipe(fds), 0); /* which has no places to read from */
            puller p = PULLER({.then = rotor_expect_bytes(1)});
            sends(&p, missing ? -1 : fds[1], 0, 1000);
            if (over_socket) {
                stage_open_loop(&st, 0);
                sockets_pair(AF_UNIX, &near, &far);
                rotor_stream_seed seed = {.protocol = &p.sc.protocol, .fd = near, .seed = &p.sc};
                error = rotor_add(st.loop, &rotor_stream_type, &seed, &st.self);
                assert_true(error < 0);
                close(far);
            } else {
                stage_open_loop(&st, 0);
                st.peer = rotor_memory_new();
                error = rotor_memory_connect(st.peer, st.loop, &p.sc.protocol, &p.sc, &st.self);
            }
            assert_true(missing ? error == UV_EBADF : error == UV_ESPIPE || error == UV_EBADF);
            assert_int_equal(p.sc.fatals, 1);
            assert_int_equal(p.sc.drops, 1);
            close(fds[0]);
            close(fds[1]);
            stage_close(&st);
        }
    }
}

/* -- over sockets ------------------------------------------------------------------------------ */

enum { BIG = 9000001 }; /* more than any socket's buffers take */

static const int families[] = {AF_UNIX, AF_INET};

static int begin(stage *st, puller *p, int family, const rotor_transport *transport)
{
    int near, far;
    stage_open_loop(st, 0);
    sockets_pair(family, &near, &far);
    rotor_stream_seed seed = {
        .protocol = &p->sc.protocol, .transport = transport, .fd = near, .seed = &p->sc};
    assert_int_equal(rotor_add(st->loop, &rotor_stream_type, &seed, &st->self), 0);
    return far;
}

/* What comes from `fd` until its end. */
static char *receive_all(rotor_loop *loop, int fd, size_t *total)
{
    size_t room = BIG + 1000;
    char *data = malloc(room);
    assert_non_null(data);
    *total = 0;
    for (;;) {
        ssize_t n = -1;
        TURN_UNTIL(loop, (n = recv(fd, data + *total, room - *total, 0)) >= 0);
        if (n == 0)
            return data;
        *total += (size_t)n;
    }
}

static ssize_t refuse_file(rotor_stream *s, int fd, uint64_t offset, size_t n)
{
    return UV_EINVAL;
}

static void big_files_go_over_sockets(void **state)
{
    rotor_transport without = rotor_plain, refuses = rotor_plain;
    const rotor_transport *const transports[] = {NULL, &without, &refuses};
    without.send_file = NULL;
    refuses.send_file = refuse_file;
    int fd = make_file(BIG);
    for (size_t i = 0; i < 6; i++) {
        stage st;
        size_t n;
        puller p = PULLER({.then = rotor_intent_done(), .say = "head "});
        sends(&p, fd, 7, BIG);
        int far = begin(&st, &p, families[i % 2], transports[i / 2]);
        char *data = receive_all(st.loop, far, &n);
        assert_int_equal(n, 5 + BIG - 7);
        assert_memory_equal(data, "head ", 5);
        assert_of_file(data + 5, BIG - 7, 7);
        assert_string_equal(p.sc.log, "create drop");
        assert_int_equal(st.errors, 0);
        free(data);
        close(far);
        stage_close(&st);
    }
    close(fd);
}

static void a_peer_that_reads_no_file_has_stalled(void **state)
{
    int fd = make_file(BIG);
    for (size_t i = 0; i < 2; i++) {
        stage st;
        puller p = PULLER({.then = rotor_intent_done()});
        sends(&p, fd, 0, BIG);
        int far = begin(&st, &p, families[i], NULL);
        /* The kernel may take some more, but not for ever. */
        TURN_UNTIL(st.loop, (test_monotonic_ms += 30000, stage_is_over(&st)));
        assert_string_equal(p.sc.log, "create fatal(ESTALLED) drop");
        close(far);
        stage_close(&st);
    }
    close(fd);
}

static void one_download_does_not_starve_others(void **state)
{
    int fd = make_file(BIG);
    stage st;
    puller p = PULLER({.then = rotor_intent_done()});
    sends(&p, fd, 0, BIG);
    p.sc.protocol.turns = 2;
    p.most = 1000;
    int far = begin(&st, &p, AF_UNIX, NULL);
    for (int turns = 1; turns <= 10; turns++) {
        assert_true(p.pulls > 0 && p.pulls <= 4 * turns); /* for its own turn, and the poll's */
        assert_int_equal(rotor_loop_turn(st.loop), 0);
    }
    close(far);
    close(fd);
    stage_close(&st);
}

/* -- SIGPIPE ----------------------------------------------------------------------------------- */

static bool is_pending(int signum)
{
    sigset_t pending;
    sigemptyset(&pending);
    assert_int_equal(sigpending(&pending), 0);
    return sigismember(&pending, signum);
}

/* The peer is gone in the midst of it, or was before. */
static void send_to_nobody(int family, bool before)
{
    int fd = make_file(BIG);
    stage st;
    puller p = PULLER({.then = rotor_intent_sleep()}, {.then = rotor_intent_sleep()});
    sends(&p, fd, 0, BIG);
    if (before)
        p.sc.act = NULL;
    int far = begin(&st, &p, family, NULL);
    if (before)
        /* As if the peer had reset: the kernel answers EPIPE from now on. */
        assert_int_equal(shutdown(p.sc.stream->io.fd, SHUT_WR), 0);
    close(far);
    if (before) {
        rotor_stream_pull(p.sc.stream);
        stage_turn(&st);
    }
    TURN_UNTIL(st.loop, stage_is_over(&st));
    assert_int_equal(p.sc.fatals, 1);
    assert_true(st.error == UV_EPIPE || (!before && st.error == UV_ECONNRESET));
    close(fd);
    stage_close(&st);
}

static void send_to_nobody_in_each_way(void)
{
    for (size_t i = 0; i < 4; i++)
        send_to_nobody(families[i % 2], i / 2);
}

static void nobody_dies_of_a_peer_that_is_gone(void **state)
{
    struct sigaction action;
    sigset_t before, after;
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL); /* or this would show nothing */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    send_to_nobody_in_each_way();
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    for (int i = 1; i < NSIG; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    assert_false(is_pending(SIGPIPE));
}

/* What waits for whoever has blocked it is not ours. */
static void a_signal_that_waits_is_left_alone(void **state)
{
    const struct timespec now = {0};
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &pipe, &before), 0);
    send_to_nobody_in_each_way();
    assert_false(is_pending(SIGPIPE));
    assert_int_equal(raise(SIGPIPE), 0);
    send_to_nobody_in_each_way();
    assert_true(is_pending(SIGPIPE));
    assert_int_equal(sigtimedwait(&pipe, NULL, &now), SIGPIPE);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

/* -- short of memory --------------------------------------------------------------------------- */

static int told;

static void note_error(rotor_loop *loop, rotor_machine *m, int error)
{
    assert_int_equal(error, UV_ENOMEM);
    told = error;
}

static int small_file;

static void send_a_file_in_memory(void)
{
    enum { SIZE = 30000 };
    rotor_loop *loop = NULL;
    rotor_config config = {.clock = &test_clock, .on_error = note_error, .buffer = 1};
    rotor_memory *peer = rotor_memory_new();
    puller p = PULLER({.then = rotor_intent_done()});
    rotor_handle self = ROTOR_NO_HANDLE;
    sends(&p, small_file, 0, SIZE);
    told = 0;
    int error = peer ? rotor_loop_new(&loop, &config) : UV_ENOMEM;
    if (!error)
        error = rotor_memory_connect(peer, loop, &p.sc.protocol, &p.sc, &self);
    for (int i = 0; i < 100 && !error && rotor_find(loop, self); i++) {
        rotor_memory_window(peer, 5000);
        assert_int_equal(rotor_loop_turn(loop), 0);
    }
    if (!error && !told) {
        assert_int_equal(rotor_buf_len(rotor_memory_received(peer)), SIZE);
        assert_of_file(rotor_buf_data(rotor_memory_received(peer)), SIZE, 0);
    }
    assert_true(!error || error == UV_ENOMEM);
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    if (peer)
        rotor_memory_free(peer);
    assert_int_equal(p.sc.drops, p.sc.creates);
}

static void short_of_memory(void **state)
{
    small_file = make_file(30000);
    test_out_of_memory(send_a_file_in_memory);
    close(small_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_goes_on_until_there_is_no_more),
        TEST(what_waits_for_a_flush_waits_for_it),
        TEST(while_it_closes_only_it_may_write),
        TEST(anybody_may_ask_and_again),
        TEST(who_cannot_write_cannot_ask),
        TEST(without_pull_there_is_no_more),
        TEST(its_errors_are_fatal),
        TEST(it_may_be_a_states),
        TEST(others_have_their_turn),
        TEST(input_is_read_meanwhile),
        TEST(what_others_write_goes_between),
        TEST(hangups_and_wakeups_are_told_meanwhile),
        TEST(a_peer_that_takes_nothing_has_stalled),
        TEST(it_ends_with_the_protocol),
        TEST(a_trace_counts_it),
        TEST(files_go_over_any_transport),
        TEST(files_are_sent_in_pull_only),
        TEST(a_file_that_is_too_short_is_an_error),
        TEST(a_file_that_cannot_be_read_is_an_error),
        TEST(big_files_go_over_sockets),
        TEST(a_peer_that_reads_no_file_has_stalled),
        TEST(one_download_does_not_starve_others),
        TEST(nobody_dies_of_a_peer_that_is_gone),
        TEST(a_signal_that_waits_is_left_alone),
        TEST(short_of_memory),
    };
    return cmocka_run_group_tests_name("stream_pull", tests, NULL, NULL);
}
