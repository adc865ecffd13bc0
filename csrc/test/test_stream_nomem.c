/* Streams when memory is short, at each allocation in turn, once and for good: whoever is concerned is
** told or sees his connection closed, and everything else goes on. */
#include "test.h"

#include <errno.h>
#include <unistd.h>

#include "../stream/connect.h"
#include "../stream/listen.h"
#include "names.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

static int told; /* by on_error */

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    assert_int_equal(error, UV_ENOMEM);
    told = error;
}

/* NULL when memory is short. */
static rotor_loop *new_loop(size_t buffer)
{
    rotor_loop *loop;
    rotor_config config = {.clock = &test_clock, .on_error = on_error, .buffer = buffer};
    int error = rotor_loop_new(&loop, &config);
    told = 0;
    if (error) {
        assert_int_equal(error, UV_ENOMEM);
        assert_true(test_alloc_failed() > 0);
        return NULL;
    }
    return loop;
}

/* -- over memory ------------------------------------------------------------------------------- */

static void turn(rotor_loop *loop)
{
    for (int i = 0; i < 8; i++)
        rotor_loop_turn(loop);
}

/* Input that comes in pieces and output that is not taken at once, so that both are kept. */
static void echo_over_memory(size_t buffer)
{
    static const char *const pieces[] = {"one\ntwo", "\nthree\nfo", "ur\n", "five\n"};
    static const char wanted[] = "one\ntwo\nthree\nfour\nfive\n";
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 10), .echo = true});
    rotor_loop *loop = new_loop(buffer);
    rotor_memory *peer = rotor_memory_new();
    int error =
        loop && peer ? rotor_memory_connect(peer, loop, &sc.protocol, &sc, NULL) : UV_ENOMEM;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0] && !error; i++) {
        rotor_memory_window(peer, 2);
        error = rotor_memory_send(peer, pieces[i], strlen(pieces[i]));
        turn(loop);
    }
    if (!error) {
        rotor_memory_window(peer, SIZE_MAX);
        rotor_memory_shutdown(peer);
        turn(loop);
        rotor_buf *received = rotor_memory_received(peer);
        bool all = rotor_buf_len(received) == sizeof wanted - 1 &&
                   memcmp(rotor_buf_data(received), wanted, sizeof wanted - 1) == 0;
        assert_true(all || sc.said == UV_ENOMEM || told == UV_ENOMEM);
        assert_true(rotor_memory_is_closed(peer));
        assert_int_equal(sc.fatals, told ? 1 : 0);
    } else {
        assert_int_equal(error, UV_ENOMEM);
    }
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    if (peer)
        rotor_memory_free(peer);
    assert_int_equal(sc.drops, sc.creates);
}

static void echo_in_lent_blocks(void)
{
    echo_over_memory(0);
}

static void echo_in_own_blocks(void)
{
    echo_over_memory(1);
}

static void echoing_over_memory(void **state)
{
    test_out_of_memory(echo_in_lent_blocks);
    test_out_of_memory(echo_in_own_blocks);
}

/* -- accepting --------------------------------------------------------------------------------- */

enum { CLIENTS = 3 };

/* What has become of a client. */
static bool is_served(rotor_loop *loop, int fd, char have[16])
{
    char buffer[16];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n > 0)
        strncat(have, buffer, (size_t)n);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void greet(script *sc, rotor_stream *s, rotor_scope *scope)
{
    sc->played = s->intent.kind == ROTOR_INTENT_SLEEP ? 0 : 1;
}

static void accept_over(const char *address)
{
    script sc = SCRIPT({.then = rotor_expect_delimiter("\n", 1, 10), .say = "hi"},
                       {.then = rotor_intent_done(), .echo = true});
    rotor_loop *loop = new_loop(0);
    rotor_listen_options options = {.seed = &sc};
    rotor_handle listener;
    int fds[CLIENTS], nfds = 0;
    char where[128], have[CLIENTS][16] = {""};
    bool over[CLIENTS] = {false};
    sc.act = greet;
    int error = loop ? rotor_listen(loop, address, &sc.protocol, &options, &listener) : UV_ENOMEM;
    if (!error) {
        assert_int_equal(rotor_listener_address(loop, listener, where, sizeof where), 0);
        for (; nfds < CLIENTS; nfds++) {
            fds[nfds] = sockets_connect(where);
            sockets_send(fds[nfds], "ech");
        }
        sockets_turn(loop);
        for (int i = 0; i < CLIENTS; i++)
            (void)!send(fds[i], "o\n", 2, MSG_NOSIGNAL);
        int left = 10000;
        /* While every allocation fails, they wait. */
        for (int done = 0; done < CLIENTS && test_alloc_failed() < 5;) {
            assert_true(left-- > 0);
            test_monotonic_ms += 100;
            sockets_turn(loop);
            for (int i = 0; i < CLIENTS; i++)
                if (!over[i] && (over[i] = is_served(loop, fds[i], have[i])))
                    done++;
        }
        bool lost = false;
        for (int i = 0; i < CLIENTS; i++) {
            assert_true(over[i] || test_alloc_failed() >= 5);
            lost |= strcmp(have[i], "hiecho\n") != 0;
        }
        assert_true(!lost || test_alloc_failed() > 0);
        assert_non_null(rotor_find(loop, listener));
    } else {
        assert_int_equal(error, UV_ENOMEM);
    }
    while (nfds > 0)
        close(fds[--nfds]);
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    assert_int_equal(sc.drops, sc.creates);
}

static void accept_over_tcp(void)
{
    accept_over("127.0.0.1:0");
}

static char unix_address[80];

static void accept_over_unix(void)
{
    accept_over(unix_address);
    assert_int_equal(access(unix_address + 5, F_OK), -1); /* whether it came to that or not */
}

static void accepting(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(unix_address, sizeof unix_address, "unix:%s/socket", folder);
    test_out_of_memory(accept_over_tcp);
    test_out_of_memory(accept_over_unix);
    assert_int_equal(rmdir(folder), 0);
}

/* -- connecting -------------------------------------------------------------------------------- */

static char server[128], server_name[128];
static int listener_fd;

static int released;

static void on_release(void *seed)
{
    released++;
}

static void connect_over(const char *address)
{
    script sc =
        SCRIPT({.then = rotor_expect_bytes(5), .say = "hello"}, {.then = rotor_intent_done()});
    rotor_loop *loop = new_loop(0);
    rotor_connect_options options = {.seed = &sc, .release = on_release};
    rotor_handle self;
    int fd = -1;
    released = 0;
    int error = loop ? rotor_connect(loop, address, &sc.protocol, &options, &self) : UV_ENOMEM;
    if (!error) {
        for (int left = 10000; rotor_find(loop, self); left--) {
            assert_true(left > 0);
            sockets_turn(loop);
            if (fd < 0 && (fd = accept(listener_fd, NULL, NULL)) >= 0)
                sockets_send(fd, "world");
        }
        assert_true(sc.reads == 1 || told == UV_ENOMEM);
        assert_int_equal(sc.fatals, told ? 1 : 0);
        assert_int_equal(released, 1);
    } else {
        assert_int_equal(error, UV_ENOMEM);
        assert_int_equal(released, 0);
    }
    if (fd < 0) /* it may have come so far and then no further */
        fd = accept(listener_fd, NULL, NULL);
    if (fd >= 0)
        close(fd);
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    assert_int_equal(sc.drops, sc.creates);
}

static void connect_over_tcp(void)
{
    connect_over(server);
}

static void connect_by_name(void)
{
    connect_over(server_name);
}

static void connecting(void **state)
{
    listener_fd = sockets_listen("127.0.0.1:0", 10, server);
    snprintf(server_name, sizeof server_name, "two.test:%s", strrchr(server, ':') + 1);
    test_out_of_memory(connect_over_tcp);
    test_out_of_memory(connect_by_name);
    close(listener_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(echoing_over_memory),
        TEST(accepting),
        TEST(connecting),
    };
    return cmocka_run_group_tests_name("stream_nomem", tests, NULL, NULL);
}
