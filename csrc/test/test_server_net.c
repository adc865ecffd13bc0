/* The server behind a listener and real sockets; its life from the first connection to the last. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "support.h"
#include "web.h"

#define HOST        "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

typedef struct site {
    web web;
    rotor_handle listener;
    char address[128];
} site;

static void site_open(site *s, const char *address)
{
    web *w = &s->web;
    assert_int_equal(web_open_loop(w), 0);
    assert_int_equal(rotor_http_serve(w->loop, address, &w->handler, &w->config, &s->listener), 0);
    assert_int_equal(rotor_listener_address(w->loop, s->listener, s->address, sizeof s->address),
                     0);
}

/* Sends and receives in turns, until all of `out` was sent and `expected` bytes have come. */
static void exchange(site *s, int fd, const char *out, size_t n, size_t expected, char *last)
{
    static char buffer[65536];
    for (int left = 100000; n > 0 || expected > 0; left--) {
        assert_true(left > 0);
        ssize_t sent = n > 0 ? send(fd, out, n, MSG_NOSIGNAL) : 0;
        assert_true(sent >= 0 || errno == EAGAIN);
        if (sent > 0) {
            out += sent;
            n -= (size_t)sent;
        }
        assert_int_equal(rotor_loop_turn(s->web.loop), 0);
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        assert_true(got > 0 || (got < 0 && errno == EAGAIN));
        if (got > 0) {
            assert_true((size_t)got <= expected);
            expected -= (size_t)got;
            *last = buffer[got - 1];
        }
    }
}

/* -- connections ------------------------------------------------------------------------------- */

static void serves_on(const char *address)
{
    site s = {0};
    site_open(&s, address);
    int fd = sockets_connect(s.address), other = sockets_connect(s.address);
    for (int i = 0; i < 3; i++) {
        sockets_send(fd, GET("/1") "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
        sockets_expect(s.web.loop, fd, OK(6, "GET /1"));
        sockets_send(other, GET("/other"));
        sockets_expect(s.web.loop, other, OK(10, "GET /other"));
        sockets_send(fd, "bc");
        sockets_expect(s.web.loop, fd, OK(11, "POST /2 abc"));
    }
    assert_int_equal(rotor_loop_count(s.web.loop), 3);
    close(fd);
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 2);
    sockets_reset(other);
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 1);
    web_close(&s.web);
}

static void over_tcp(void **state)
{
    serves_on("127.0.0.1:0");
}

static void over_unix_sockets(void **state)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@rotor-test-server-%d", (int)getpid());
    serves_on(address);
}

/* The connection ends when the client does, and only then: what it goes on sending is taken. */
static void a_refused_client_can_read_why(void **state)
{
    static char more[1 << 16];
    site s = {0};
    site_open(&s, "127.0.0.1:0");
    int fd = sockets_connect(s.address);
    memset(more, 'x', sizeof more);
    sockets_send(fd, GET("/1") "bad\n");
    for (int i = 0; i < 50; i++) {
        ssize_t n = send(fd, more, sizeof more, MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN);
        sockets_turn(s.web.loop);
    }
    char expected[1024];
    snprintf(expected, sizeof expected, "%s%s", OK(6, "GET /1"),
             web_refusal(400, rotor_strerror(ROTOR_HTTP_ECONTROL)));
    sockets_expect(s.web.loop, fd, expected);
    assert_int_equal(sockets_end(s.web.loop, fd, NULL), 0);
    assert_int_equal(rotor_loop_count(s.web.loop), 2);
    close(fd);
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 1);
    assert_int_equal(s.web.requests, 1);
    web_close(&s.web);
}

/* … but not for ever. */
static void a_refused_client_is_left_in_the_end(void **state)
{
    site s = {0};
    site_open(&s, "127.0.0.1:0");
    int fd = sockets_connect(s.address);
    sockets_send(fd, "bad\n");
    assert_int_equal(sockets_end(s.web.loop, fd, NULL), 0);
    web_wait(&s.web, 999);
    assert_int_equal(rotor_loop_count(s.web.loop), 2);
    web_wait(&s.web, 1);
    assert_int_equal(rotor_loop_count(s.web.loop), 1);
    close(fd);
    web_close(&s.web);
}

/* -- much -------------------------------------------------------------------------------------- */

enum { MUCH = 3000000 };

static rotor_response echo(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_send(h, 200, rotor_http_body(h)) ? rotor_error(UV_EIO) : rotor_done();
}

static void large_bodies_both_ways(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n";
    size_t answer = strlen(OK(3000000, "")) + MUCH;
    size_t n = sizeof head - 1 + MUCH;
    site s = {.web.received = echo};
    site_open(&s, "127.0.0.1:0");
    char *ask = malloc(n), last = 0;
    assert_non_null(ask);
    memcpy(ask, head, sizeof head - 1);
    memset(ask + sizeof head - 1, 'x', MUCH);
    ask[n - 1] = 'z';
    int fd = sockets_connect(s.address);
    for (int i = 0; i < 2; i++) {
        exchange(&s, fd, ask, n, answer, &last);
        assert_int_equal(last, 'z');
    }
    free(ask);
    close(fd);
    web_close(&s.web);
}

static void many_requests_in_bursts(void **state)
{
    enum { BURST = 1000 };
    static const char ask[] = GET("/");
    site s = {0};
    site_open(&s, "127.0.0.1:0");
    size_t n = BURST * (sizeof ask - 1);
    char *burst = malloc(n), last = 0;
    assert_non_null(burst);
    for (int i = 0; i < BURST; i++)
        memcpy(burst + (size_t)i * (sizeof ask - 1), ask, sizeof ask - 1);
    int fd = sockets_connect(s.address);
    exchange(&s, fd, burst, n, BURST * strlen(OK(5, "GET /")), &last);
    assert_int_equal(last, '/');
    assert_int_equal(s.web.requests, BURST);
    free(burst);
    close(fd);
    web_close(&s.web);
}

/* -- a client that goes while the handler waits ------------------------------------------------- */

static void an_answer_to_nobody(void **state)
{
    site s = {.web.received = web_waits};
    web *w = &s.web;
    site_open(&s, "127.0.0.1:0");
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/"));
    TURN_UNTIL(w->loop, w->requests == 1);
    sockets_reset(fd);
    assert_int_equal(rotor_http_send_text(rotor_http_find(w->loop, w->ref), 200, "hello?"), 0);
    TURN_UNTIL(w->loop, rotor_loop_count(w->loop) == 1);
    assert_null(rotor_http_find(w->loop, w->ref));
    assert_int_equal(w->overs, 1);
    web_close(w);
}

/* -- life -------------------------------------------------------------------------------------- */

static void connections_outlive_the_listener(void **state)
{
    site s = {0};
    site_open(&s, "127.0.0.1:0");
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/1"));
    sockets_expect(s.web.loop, fd, OK(6, "GET /1"));
    assert_int_equal(rotor_end(s.web.loop, s.listener, 0), 0);
    TURN_UNTIL(s.web.loop, !rotor_find(s.web.loop, s.listener));
    assert_int_equal(s.web.closed, 0);
    sockets_send(fd, GET("/2"));
    sockets_expect(s.web.loop, fd, OK(6, "GET /2"));
    close(fd);
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 0);
    assert_int_equal(s.web.closed, 1);
    web_close(&s.web);
}

static void connections_outlive_their_maker(void **state)
{
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    rotor_http_server_release(w.server);
    w.server = NULL;
    assert_int_equal(w.closed, 0);
    web_asks(&w, GET("/"), OK(5, "GET /"));
    rotor_memory_shutdown(w.client);
    web_turn(&w);
    assert_int_equal(w.closed, 1);
    web_close(&w);
}

static void a_server_without_settings(void **state)
{
    rotor_loop *loop;
    static const rotor_http_handler handler = {.name = "echo", .request_received = echo};
    char address[64];
    rotor_handle listener;
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    assert_int_equal(rotor_http_serve(loop, "127.0.0.1:0", &handler, NULL, &listener), 0);
    assert_int_equal(rotor_listener_address(loop, listener, address, sizeof address), 0);
    int fd = sockets_connect(address);
    sockets_send(fd, "GET / HTTP/1.0\r\n\r\n");
    size_t n;
    assert_int_equal(sockets_end(loop, fd, &n), 0);
    assert_int_not_equal(n, 0);
    close(fd);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void addresses_that_cannot_be_served(void **state)
{
    site s = {0};
    rotor_handle second;
    site_open(&s, "127.0.0.1:0");
    web *w = &s.web;
    assert_int_equal(rotor_http_serve(w->loop, s.address, &w->handler, &w->config, &second),
                     UV_EADDRINUSE);
    assert_null(rotor_find(w->loop, second));
    assert_int_equal(rotor_http_serve(w->loop, "no address", &w->handler, &w->config, NULL),
                     ROTOR_EADDRESS);
    assert_int_equal(w->closed, 0);
    web_close(w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(over_tcp),
        TEST(over_unix_sockets),
        TEST(a_refused_client_can_read_why),
        TEST(a_refused_client_is_left_in_the_end),
        TEST(large_bodies_both_ways),
        TEST(many_requests_in_bursts),
        TEST(an_answer_to_nobody),
        TEST(connections_outlive_the_listener),
        TEST(connections_outlive_their_maker),
        TEST(a_server_without_settings),
        TEST(addresses_that_cannot_be_served),
    };
    return cmocka_run_group_tests_name("server_net", tests, NULL, NULL);
}
