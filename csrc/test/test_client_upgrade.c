/* The client's connections handed over to other protocols. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

#define HTTP  "HTTP/1.1 "
#define EMPTY HTTP "200 OK\r\nContent-Length: 0\r\n\r\n"

static calls *rig; /* of the protocol, whose seed it is */

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rig = seed;
    calls_note(rig, "create");
    (void)rotor_stream_write(s, "hello", 5);
    return rotor_expect_bytes(1);
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    char text[64] = "";
    rotor_buf *input = rotor_stream_input(s);
    n = rotor_buf_len(input);
    assert_in_range(n, 1, sizeof text - 1);
    memcpy(text, rotor_buf_data(input), n);
    calls_note(rig, "bytes %s", text);
    rotor_buf_consume(input, n);
    return rotor_expect_bytes(1);
}

static void on_drop(rotor_stream *s)
{
    calls_note(rig, "drop");
}

static const rotor_protocol other = {.name = "other",
                                     .size = sizeof(rotor_stream),
                                     .create = on_create,
                                     .bytes_read = on_bytes_read,
                                     .drop = on_drop};

static void on_release(void *seed)
{
    calls_note(seed, "release");
}

static rotor_http_receive take_over(rotor_http_call *c, rotor_scope *scope)
{
    static const rotor_protocol none = {.name = "none"};
    rotor_text value = rotor_http_call_header(c, "upgrade", 7);
    if (value.data)
        calls_note(calls_of(c), "%.*s", (int)value.len, value.data);
    assert_int_equal(rotor_http_call_upgrade(c, &none, NULL, NULL), UV_EINVAL);
    assert_int_equal(rotor_http_call_upgrade(c, &other, calls_of(c), on_release), 0);
    assert_int_equal(rotor_http_call_upgrade(c, &other, calls_of(c), on_release), ROTOR_ESTATE);
    return rotor_http_answered();
}

static rotor_http_receive try_to_take_over(rotor_http_call *c, rotor_scope *scope)
{
    assert_int_equal(rotor_http_call_upgrade(c, &other, NULL, NULL), ROTOR_ESTATE);
    return rotor_http_buffered(0);
}

static void upgrades(void **state)
{
    static const char response[] = HTTP "101\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\nabc";
    for (size_t first = 1; first < sizeof response; first++) {
        calls k = {.headers = take_over};
        rotor_http_ask ask;
        assert_int_equal(calls_open(&k), 0);
        assert_int_equal(calls_ask(&k, &ask, "GET", "/"), 0);
        assert_int_equal(rotor_http_ask_add_text(&ask, "Upgrade", "other"), 0);
        assert_int_equal(calls_start(&k, &ask), 0);
        int fd = calls_accept(&k);
        sockets_expect(k.loop, fd,
                       calls_request(&k, "GET", "/", "Upgrade: other\r\nConnection: Upgrade\r\n"));
        assert_int_equal(send(fd, response, first, MSG_NOSIGNAL), (ssize_t)first);
        calls_turn(&k);
        sockets_send(fd, response + first);
        sockets_expect(k.loop, fd, "hello");
        TURN_UNTIL(k.loop, strstr(k.log, "c") && k.log[strlen(k.log) - 1] != 'e');
        assert_int_equal(rotor_http_client_connections(k.client), 0);
        close(fd);
        TURN_UNTIL(k.loop, rotor_loop_count(k.loop) == 0);
        const char *log = calls_log(&k);
        assert_non_null(strstr(log, "head 101, other"));
        assert_non_null(strstr(log, "create, release"));
        assert_non_null(strstr(log, "over"));
        assert_string_equal(log + strlen(log) - 4, "drop");
        calls_close(&k);
    }
}

static void tunnels(void **state)
{
    calls k = {.headers = take_over};
    rotor_http_ask ask;
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "CONNECT", "http://example.org:443"), 0);
    assert_int_equal(rotor_http_ask_address(&ask, k.where), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    sockets_send(fd, HTTP "200\r\nContent-Length: 5\r\n\r\n");
    sockets_expect(k.loop, fd, "hello");
    calls_expect(&k, "head 200, over, create, release");
    sockets_send(fd, "abc");
    calls_expect(&k, "bytes abc");
    calls_close(&k);
    close(fd);
}

static void what_nobody_takes_over(void **state)
{
    for (int i = 0; i < 4; i++) {
        calls k = {.headers = try_to_take_over};
        rotor_http_ask ask;
        assert_int_equal(calls_open(&k), 0);
        assert_int_equal(calls_ask(&k, &ask, i == 1 ? "CONNECT" : "GET", ""), 0);
        if (i != 1)
            assert_int_equal(rotor_http_ask_add_text(&ask, "Upgrade", "other"), 0);
        if (i < 2)
            k.headers = NULL;
        k.requester.headers_received = i < 2 ? NULL : k.requester.headers_received;
        assert_int_equal(calls_start(&k, &ask), 0);
        int fd = calls_accept(&k);
        sockets_send(fd, i == 0   ? HTTP "101\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n"
                         : i == 1 ? HTTP "200\r\n\r\n"
                         : i == 2 ? EMPTY /* the server need not do it */
                                  : HTTP "426\r\nContent-Length: 0\r\n\r\n");
        calls_expect(&k, i < 2    ? "failed HTTP_EUPGRADE, over"
                         : i == 2 ? "head 200, received , over"
                                  : "head 426, received , over");
        close(fd);
        calls_close(&k);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(upgrades),
        TEST(tunnels),
        TEST(what_nobody_takes_over),
    };
    return cmocka_run_group_tests_name("client_upgrade", tests, NULL, NULL);
}
