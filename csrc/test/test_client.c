/* The HTTP client: responses of all kinds, whole and in pieces. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

#define HTTP "HTTP/1.1 "

typedef struct response_case {
    const char *method, *response;
    bool eof;  /* the server closes behind it */
    bool kept; /* the connection is, afterwards */
    const char *buffered, *streamed;
} response_case;

static const response_case responses[] = {
    {"GET", HTTP "200 OK\r\nContent-Length: 3\r\n\r\nabc", false, true,
     "head 200, received abc, over", "head 200, chunk abc, end, over"},
    {"GET", HTTP "200\r\nContent-Length: 0\r\n\r\n", false, true, "head 200, received , over",
     "head 200, end, over"},
    {"GET", "HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", false, false,
     "head 404, received x, over", "head 404, chunk x, end, over"},
    {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", false, true,
     "head 200, received x, over", "head 200, chunk x, end, over"},
    {"GET", HTTP "200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false, false,
     "head 200, received x, over", "head 200, chunk x, end, over"},
    /* framing (RFC 9112 section 6.3) */
    {"GET", HTTP "200 OK\r\n\r\nabc", true, false, "head 200, received abc, over",
     "head 200, chunk abc, end, over"},
    {"GET", HTTP "200 OK\r\n\r\n", true, false, "head 200, received , over", "head 200, end, over"},
    {"GET", HTTP "204 No Content\r\n\r\n", false, true, "head 204, received , over",
     "head 204, end, over"},
    {"GET", HTTP "304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, true,
     "head 304, received , over", "head 304, end, over"},
    {"HEAD", HTTP "200 OK\r\nContent-Length: 5\r\n\r\n", false, true, "head 200, received , over",
     "head 200, end, over"},
    {"HEAD", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, true,
     "head 200, received , over", "head 200, end, over"},
    {"GET",
     HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=\"y\"\r\ncde\r\n0\r\n\r\n",
     false, true, "head 200, received abcde, over", "head 200, chunk abcde, end, over"},
    {"GET", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, true,
     "head 200, received , over", "head 200, end, over"},
    {"GET",
     HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nContent-Length: 7\r\n"
          "C:d \r\n\r\n",
     false, true, "head 200, received x, trailer A=b, trailer C=d, over",
     "head 200, chunk x, end, trailer A=b, trailer C=d, over"},
    /* interim responses */
    {"GET",
     HTTP "100 Continue\r\n\r\n" HTTP "103 Early Hints\r\nLink: </x>\r\n\r\n" HTTP
          "200 OK\r\nContent-Length: 1\r\n\r\nx",
     false, true, "100, 103, head 200, received x, over", "100, 103, head 200, chunk x, end, over"},
    /* what follows a response belongs to nobody */
    {"GET", HTTP "200 OK\r\nContent-Length: 1\r\n\r\nxyz", false, false,
     "head 200, received x, over", "head 200, chunk x, end, over"},
    {"GET", HTTP "204 No Content\r\nContent-Length: 3\r\n\r\nabc", false, false,
     "head 204, received , over", "head 204, end, over"},
    {"HEAD", HTTP "200 OK\r\nContent-Length: 3\r\n\r\nabc", false, false,
     "head 200, received , over", "head 200, end, over"},
    {"GET", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
     false, false, "head 200, received , over", "head 200, end, over"},
    /* what cannot be understood */
    {"GET", "ICY 200 OK\r\n\r\n", false, false, "failed HTTP_EVERSION, over",
     "failed HTTP_EVERSION, over"},
    {"GET", HTTP "200 OK\nContent-Length: 1\r\n\r\nx", false, false, "failed HTTP_ECONTROL, over",
     "failed HTTP_ECONTROL, over"},
    {"GET", HTTP "200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", false, false,
     "failed HTTP_ELENGTH, over", "failed HTTP_ELENGTH, over"},
    {"GET", HTTP "200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     false, false, "failed HTTP_ESMUGGLE, over", "failed HTTP_ESMUGGLE, over"},
    {"GET", HTTP "200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, false,
     "failed HTTP_ECODING, over", "failed HTTP_ECODING, over"},
    {"GET", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", false, false,
     "head 200, failed HTTP_ECHUNK, over", NULL},
    {"GET", HTTP "101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", false, false,
     "failed HTTP_EUPGRADE, over", "failed HTTP_EUPGRADE, over"},
};

/* The server answers one request, in pieces of the given size after a first one. */
static void answers(calls *k, const response_case *c, size_t first, size_t then, const char *log)
{
    size_t len = strlen(c->response);
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, c->method, "/"), 0);
    assert_int_equal(calls_start(k, &ask), 0);
    int fd = calls_accept(k);
    sockets_expect(k->loop, fd, calls_request(k, c->method, "/", ""));
    for (size_t at = 0, n = first; at < len; at += n, n = then) {
        if (n > len - at)
            n = len - at;
        ssize_t sent = send(fd, c->response + at, n, MSG_NOSIGNAL);
        assert_true(sent == (ssize_t)n || k->log[0]); /* it may have failed already */
        calls_turn(k);
    }
    if (c->eof)
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    calls_expect(k, log);
    assert_int_equal(rotor_http_client_idle(k->client), c->kept);
    assert_int_equal(rotor_http_client_connections(k->client), c->kept);
    close(fd);
    TURN_UNTIL(k->loop, rotor_loop_count(k->loop) == 0);
    assert_int_equal(rotor_http_client_connections(k->client), 0);
}

static void answer_all(calls *k, const response_case *c, const char *log)
{
    size_t len = strlen(c->response);
    for (size_t first = 1; first <= len; first++)
        answers(k, c, first, len, log);
    answers(k, c, 1, 1, log);
}

static void responses_buffered(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++)
        answer_all(&k, &responses[i], responses[i].buffered);
    calls_close(&k);
}

static void responses_as_they_come(void **state)
{
    calls k = {.headers = calls_progressive};
    assert_int_equal(calls_open(&k), 0);
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++)
        if (responses[i].streamed)
            answer_all(&k, &responses[i], responses[i].streamed);
    calls_close(&k);
}

/* -- what a response tells ---------------------------------------------------------------------- */

static void assert_text(rotor_text text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static rotor_response look(rotor_http_call *c, rotor_scope *scope)
{
    rotor_text name, value;
    char peer[128];
    assert_int_equal(rotor_http_call_status(c), 299);
    assert_int_equal(rotor_http_call_minor(c), 1);
    assert_text(rotor_http_call_reason(c), "Very fine");
    assert_text(rotor_http_call_header(c, "x-a", 3), "1");
    assert_text(rotor_http_call_header(c, "x-B", 3), "2");
    assert_null(rotor_http_call_header(c, "x-c", 3).data);
    assert_true(rotor_http_call_header_at(c, 2, &name, &value));
    assert_text(name, "X-a");
    assert_text(value, "3");
    assert_false(rotor_http_call_header_at(c, 4, &name, &value));
    assert_false(rotor_http_call_trailer_at(c, 0, &name, &value));
    assert_int_equal(rotor_http_call_length(c), 4);
    assert_text(rotor_http_call_body(c), "body");
    assert_string_equal(rotor_http_call_url(c) + strlen(calls_of(c)->url), "/x");
    assert_null(rotor_http_call_stream(c));
    assert_ptr_equal(rotor_http_call_client(c), calls_of(c)->client);
    rotor_buf body = ROTOR_BUF_INIT;
    rotor_http_call_take_body(c, &body);
    assert_int_equal(rotor_buf_len(&body), 4);
    assert_int_equal(rotor_http_call_body(c).len, 0);
    rotor_buf_fini(&body);
    calls_note(calls_of(c), "looked");
    (void)peer;
    return rotor_ok();
}

static rotor_http_receive look_at_nothing(rotor_http_call *c, rotor_scope *scope)
{
    char peer[128];
    assert_int_equal(rotor_http_call_body(c).len, 0);
    assert_int_equal(rotor_stream_peer(rotor_http_call_stream(c), peer, sizeof peer), 0);
    assert_string_equal(peer, calls_of(c)->where);
    return rotor_http_buffered(0);
}

static void what_a_response_tells(void **state)
{
    calls k = {.received = look, .headers = look_at_nothing};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/x#y");
    rotor_http_call *c = rotor_http_call_find(k.loop, k.call);
    assert_int_equal(rotor_http_call_status(c), 0);
    assert_null(rotor_http_call_reason(c).data);
    assert_null(rotor_http_call_header(c, "a", 1).data);
    assert_null(rotor_http_call_stream(c));
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, calls_request(&k, "GET", "/x", ""));
    sockets_send(fd, HTTP
                 "299 Very fine\r\nX-A: 1\r\nX-B:2 \r\nX-a: 3\r\nContent-Length: 4\r\n\r\nbody");
    calls_expect(&k, "head 299, received body, looked, over");
    close(fd);
    calls_close(&k);
}

static rotor_http_receive of_three_bytes(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_buffered(3);
}

static rotor_http_receive three_bytes_progressive(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_progressive(3);
}

static void bodies_that_are_too_large(void **state)
{
    static const response_case fits[] = {
        {"GET", HTTP "200 OK\r\nContent-Length: 3\r\n\r\nabc", false, true,
         "head 200, received abc, over", "head 200, chunk abc, end, over"},
        {"GET", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false,
         true, "head 200, received abc, over", "head 200, chunk abc, end, over"},
        {"GET", HTTP "200 OK\r\n\r\nabc", true, false, "head 200, received abc, over",
         "head 200, chunk abc, end, over"},
        {"GET", HTTP "200 OK\r\nContent-Length: 4\r\n\r\n", false, false,
         "head 200, failed HTTP_EBODYSIZE, over", "head 200, failed HTTP_EBODYSIZE, over"},
        {"GET", HTTP "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n", false, false,
         "head 200, failed HTTP_EBODYSIZE, over", "head 200, failed HTTP_EBODYSIZE, over"},
    };
    for (int streamed = 0; streamed < 2; streamed++) {
        calls k = {.headers = streamed ? three_bytes_progressive : of_three_bytes};
        assert_int_equal(calls_open(&k), 0);
        for (size_t i = 0; i < sizeof fits / sizeof *fits; i++)
            answer_all(&k, &fits[i], streamed ? fits[i].streamed : fits[i].buffered);
        calls_close(&k);
    }
    static const response_case until_close = {
        "GET", HTTP "200 OK\r\n\r\nabcd", false, false, "head 200, failed HTTP_EBODYSIZE, over",
        NULL};
    calls k = {.headers = of_three_bytes};
    assert_int_equal(calls_open(&k), 0);
    answer_all(&k, &until_close, until_close.buffered);
    calls_close(&k);
}

static void heads_that_are_too_large(void **state)
{
    calls k = {.config.limits = {.request_line = 20, .head = 20, .fields = 1}};
    static const response_case cases[] = {
        {"GET", HTTP "200 OK123456", false, false, "failed HTTP_ELINESIZE, over", NULL},
        {"GET", HTTP "200\r\nA: 1234567890123456789", false, false, "failed HTTP_EHEADSIZE, over",
         NULL},
        {"GET", HTTP "200\r\nA:\r\nB", false, false, "failed HTTP_EFIELDS, over", NULL},
    };
    assert_int_equal(calls_open(&k), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        answer_all(&k, &cases[i], cases[i].buffered);
    calls_close(&k);
}

/* -- back-pressure ----------------------------------------------------------------------------- */

static void a_body_that_is_held_is_not_read(void **state)
{
    calls k = {.headers = calls_progressive_held, .chunk = calls_hold};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, calls_request(&k, "GET", "/", ""));
    sockets_send(fd, HTTP "200 OK\r\nContent-Length: 6\r\n\r\nabc");
    calls_expect(&k, "head 200");
    sockets_send(fd, "def");
    calls_turn(&k);
    calls_expect(&k, "");
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    calls_expect(&k, "wakeup, chunk abc"); /* read with the head */
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    calls_expect(&k, "wakeup, chunk def"); /* not its end, as it is held again */
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    calls_expect(&k, "wakeup, end, over");
    assert_int_equal(rotor_http_client_idle(k.client), 1);
    close(fd);
    calls_close(&k);
}

static void a_response_without_a_body_can_be_held(void **state)
{
    calls k = {.headers = calls_progressive_held};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    sockets_send(fd, HTTP "204\r\n\r\n");
    calls_expect(&k, "head 204");
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    calls_expect(&k, "wakeup, end, over");
    close(fd);
    calls_close(&k);
}

/* The server cannot send more than the two sockets hold. */
static void a_server_is_kept_waiting(void **state)
{
    enum { LENGTH = 64 << 20 };
    static char data[65536];
    size_t sent = 0;
    calls k = {.headers = calls_progressive, .chunk = calls_hold};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    sockets_send(fd, HTTP "200 OK\r\nContent-Length: 67108864\r\n\r\nx");
    memset(data, 'x', sizeof data);
    for (int quiet = 0; quiet < 3; quiet++) {
        ssize_t n = send(fd, data, sizeof data, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        quiet = n > 0 ? 0 : quiet;
        calls_turn(&k);
    }
    assert_true(sent < LENGTH / 2);
    assert_true(strncmp(calls_log(&k), "head 200, chunk x", 17) == 0);
    assert_int_equal(rotor_end(k.loop, k.call, 0), 0);
    calls_expect(&k, "over");
    close(fd);
    calls_close(&k);
}

/* -- giving up --------------------------------------------------------------------------------- */

static rotor_http_receive answered(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_answered();
}

static rotor_http_receive failed(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_failed(UV_EIO);
}

static void transitions_may_end_the_call(void **state)
{
    static const struct {
        calls k;
        const char *log;
        int errors;
        bool kept;
    } cases[] = {
        {{.headers = answered}, "100, head 200, over", 0, false},
        {{.headers = failed}, "100, head 200, over", 1, false},
        {{.informational = calls_done}, "100, over", 0, false},
        {{.informational = calls_error}, "100, over", 1, false},
        {{.headers = calls_progressive, .chunk = calls_done},
         "100, head 200, chunk abc, over",
         0,
         false},
        {{.headers = calls_progressive, .chunk = calls_error},
         "100, head 200, chunk abc, over",
         1,
         false},
        {{.headers = calls_progressive, .end = calls_done},
         "100, head 200, chunk abc, end, over",
         0,
         true},
        {{.headers = calls_progressive, .end = calls_error},
         "100, head 200, chunk abc, end, over",
         1,
         true},
        {{.received = calls_done}, "100, head 200, received abc, over", 0, true},
        {{.received = calls_hold}, "100, head 200, received abc, over", 0, true},
        {{.received = calls_error}, "100, head 200, received abc, over", 1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        calls k = cases[i].k;
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        sockets_send(fd, HTTP "100\r\n\r\n" HTTP "200\r\nContent-Length: 3\r\n\r\nabc");
        calls_expect(&k, cases[i].log);
        assert_int_equal(k.errors, cases[i].errors);
        if (k.errors)
            assert_int_equal(k.error, UV_EIO);
        assert_int_equal(rotor_http_client_idle(k.client), cases[i].kept);
        assert_int_equal(rotor_http_client_connections(k.client), cases[i].kept);
        close(fd);
        calls_close(&k);
    }
}

static void calls_may_be_canceled(void **state)
{
    static const char response[] = HTTP "200\r\nContent-Length: 3\r\n\r\nabc";
    calls k = {.headers = calls_progressive};
    assert_int_equal(calls_open(&k), 0);
    for (size_t n = 0; n < sizeof response - 1; n++) {
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        sockets_expect(k.loop, fd, calls_request(&k, "GET", "/", ""));
        assert_int_equal(send(fd, response, n, MSG_NOSIGNAL), (ssize_t)n);
        sockets_turn(k.loop);
        assert_int_equal(rotor_end(k.loop, k.call, 0), 0);
        int error = sockets_end(k.loop, fd, NULL);
        assert_true(error == 0 || error == -ECONNRESET);
        assert_int_equal(rotor_loop_count(k.loop), 0);
        const char *log = calls_log(&k);
        assert_string_equal(log + strlen(log) - 4, "over");
        close(fd);
    }
    calls_get(&k, "/"); /* at once, and while it connects */
    assert_int_equal(rotor_end(k.loop, k.call, UV_EIO), 0);
    calls_expect(&k, "over");
    assert_int_equal(k.error, UV_EIO);
    calls_get(&k, "/");
    assert_int_equal(rotor_loop_turn(k.loop), 0);
    assert_int_equal(rotor_end(k.loop, k.call, 0), 0);
    calls_expect(&k, "over");
    TURN_UNTIL(k.loop, rotor_loop_count(k.loop) == 0);
    calls_close(&k);
}

/* The loop may end with calls in any state. */
static void loops_end(void **state)
{
    static const char response[] = HTTP "200\r\nContent-Length: 3\r\n\r\nabc";
    for (size_t n = 0; n < sizeof response; n++) {
        for (int released = 0; released < 2; released++) {
            calls k = {.config.per_origin = 1, .headers = calls_progressive};
            assert_int_equal(calls_open(&k), 0);
            calls_get(&k, "/1");
            int fd = calls_accept(&k);
            sockets_expect(k.loop, fd, calls_request(&k, "GET", "/1", ""));
            calls_get(&k, "/2"); /* waits */
            assert_int_equal(send(fd, response, n, MSG_NOSIGNAL), (ssize_t)n);
            sockets_turn(k.loop);
            calls_get(&k, "/3"); /* has not begun */
            if (released)
                calls_release(&k);
            calls_close(&k);
            close(fd);
        }
    }
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    assert_int_equal(rotor_loop_turn(k.loop), 0);
    calls_close(&k); /* while connecting */
}

static void a_client_may_be_released_before_its_calls_are_over(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    rotor_http_client_release(k.client);
    k.client = NULL;
    sockets_send(fd, HTTP "200\r\nContent-Length: 3\r\n\r\nabc");
    calls_expect(&k, "head 200, received abc, over");
    assert_int_equal(sockets_end(k.loop, fd, NULL), 0); /* nothing is kept */
    assert_int_equal(rotor_loop_count(k.loop), 0);
    close(fd);
    calls_close(&k);
}

/* -- without transitions ----------------------------------------------------------------------- */

static void a_requester_that_says_nothing(void **state)
{
    static const rotor_http_requester silent = {.name = "calls"};
    static const char *const answers_of[] = {
        HTTP "103\r\n\r\n" HTTP "200\r\nContent-Length: 3\r\n\r\nabc", "nonsense", ""};
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    for (int i = 0; i < 3; i++) {
        rotor_http_ask ask;
        assert_int_equal(calls_ask(&k, &ask, "GET", "/"), 0);
        assert_int_equal(rotor_http_client_call(k.client, &ask, &silent, NULL, NULL), 0);
        int fd = calls_accept(&k);
        sockets_send(fd, answers_of[i]);
        close(fd);
        TURN_UNTIL(k.loop, rotor_loop_count(k.loop) == 0);
        assert_int_equal(k.errors, i); /* which are on_error's to hear, then */
    }
    assert_int_equal(k.error, UV_ECONNRESET); /* as the request was not read */
    calls_close(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(responses_buffered),
        TEST(responses_as_they_come),
        TEST(what_a_response_tells),
        TEST(bodies_that_are_too_large),
        TEST(heads_that_are_too_large),
        TEST(a_body_that_is_held_is_not_read),
        TEST(a_response_without_a_body_can_be_held),
        TEST(a_server_is_kept_waiting),
        TEST(transitions_may_end_the_call),
        TEST(calls_may_be_canceled),
        TEST(loops_end),
        TEST(a_client_may_be_released_before_its_calls_are_over),
        TEST(a_requester_that_says_nothing),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
