/* The client's redirects. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

#define HTTP  "HTTP/1.1 "
#define EMPTY HTTP "200 OK\r\nContent-Length: 0\r\n\r\n"
#define DONE  "head 200, received , over"

static void redirect(int fd, int status, const char *location, const char *rest)
{
    char text[512];
    snprintf(text, sizeof text, HTTP "%d\r\nLocation: %s\r\n%s", status, location, rest);
    sockets_send(fd, text);
}

static void expect_get(calls *k, int fd, const char *path)
{
    sockets_expect(k->loop, fd, calls_request(k, "GET", path, ""));
}

static const char *to(const calls *k, int status, const char *path)
{
    static char text[256];
    snprintf(text, sizeof text, "%d to %s%s", status, k->url, path);
    return text;
}

/* The connection goes on when the body of the redirect can be skipped. */
static void redirects_are_followed(void **state)
{
    static const struct {
        const char *rest;
        bool goes_on;
    } cases[] = {
        {"Content-Length: 0\r\n\r\n", true},
        {"Content-Length: 5\r\n\r\nmoved", true},
        {"Transfer-Encoding: chunked\r\n\r\n5\r\nmoved\r\n0\r\n\r\n", true},
        {"Connection: close\r\nContent-Length: 5\r\n\r\nmoved", false},
        {"\r\nmoved", false},
        {"Content-Length: 100000\r\n\r\nmoved", false},
        {"Transfer-Encoding: chunked\r\n\r\nfffff\r\nmoved", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int streamed = 0; streamed < 2; streamed++) {
            calls k = {.headers = streamed ? calls_progressive : NULL};
            assert_int_equal(calls_open(&k), 0);
            calls_get(&k, "/a/b");
            int fd = calls_accept(&k);
            expect_get(&k, fd, "/a/b");
            redirect(fd, 302, "../c?d#e", cases[i].rest);
            calls_expect(&k, to(&k, 302, "/c?d"));
            int next = cases[i].goes_on ? fd : calls_accept(&k);
            assert_false(calls_is_asked_for_more(&k));
            expect_get(&k, next, "/c?d");
            sockets_send(next, EMPTY);
            calls_expect(&k, streamed ? "head 200, end, over" : DONE);
            close(fd);
            if (next != fd)
                close(next);
            calls_close(&k);
        }
    }
}

static void a_redirect_at_every_split(void **state)
{
    static const char response[] = HTTP
        "301\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    for (size_t i = 1; i < sizeof response; i++) {
        expect_get(&k, fd, "/");
        assert_int_equal(send(fd, response, i, MSG_NOSIGNAL), (ssize_t)i);
        calls_turn(&k);
        sockets_send(fd, response + i);
        expect_get(&k, fd, "/x");
        sockets_send(fd, EMPTY);
        char log[512];
        snprintf(log, sizeof log, "%s, " DONE, to(&k, 301, "/x"));
        calls_expect(&k, log);
        calls_get(&k, "/");
    }
    close(fd);
    calls_close(&k);
}

static void redirects_to_another_origin(void **state)
{
    calls k = {0};
    char where[128], url[160], expected[512];
    rotor_http_ask ask;
    assert_int_equal(calls_open(&k), 0);
    int other = sockets_listen("127.0.0.1:0", 8, where);
    snprintf(url, sizeof url, "http://%s/x", where);
    assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_add_text(&ask, "Authorization", "Basic secret"), 0);
    assert_int_equal(rotor_http_ask_add_text(&ask, "Cookie", "a=b"), 0);
    assert_int_equal(rotor_http_ask_add_text(&ask, "X-Y", "z"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, (rotor_text){"abc", 3}), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    snprintf(expected, sizeof expected, "%sabc",
             calls_request(&k, "POST", "/",
                           "Authorization: Basic secret\r\nCookie: a=b\r\nX-Y: z\r\n"
                           "Content-Length: 3\r\n"));
    sockets_expect(k.loop, fd, expected);
    redirect(fd, 308, "/y", "Content-Length: 0\r\n\r\n");
    calls_expect(&k, to(&k, 308, "/y"));
    snprintf(expected, sizeof expected, "%sabc",
             calls_request(&k, "POST", "/y",
                           "Authorization: Basic secret\r\nCookie: a=b\r\nX-Y: z\r\n"
                           "Content-Length: 3\r\n"));
    sockets_expect(k.loop, fd, expected);
    redirect(fd, 307, url, "Content-Length: 0\r\n\r\n");
    int there = sockets_accept(k.loop, other);
    snprintf(expected, sizeof expected,
             "POST /x HTTP/1.1\r\nHost: %s\r\nX-Y: z\r\nContent-Length: 3\r\n\r\nabc", where);
    sockets_expect(k.loop, there, expected);
    redirect(there, 303, "/z", "Content-Length: 0\r\n\r\n");
    snprintf(expected, sizeof expected, "GET /z HTTP/1.1\r\nHost: %s\r\nX-Y: z\r\n\r\n", where);
    sockets_expect(k.loop, there, expected);
    sockets_send(there, EMPTY);
    snprintf(expected, sizeof expected, "307 to http://%s/x, 303 to http://%s/z, " DONE, where,
             where);
    calls_expect(&k, expected);
    assert_int_equal(rotor_http_client_idle(k.client), 2);
    close(other);
    close(there);
    close(fd);
    calls_close(&k);
}

static void redirects_are_limited(void **state)
{
    for (int limit = 0; limit < 4; limit++) {
        calls k = {.config.redirects = limit == 3 ? -1 : 0};
        rotor_http_ask ask;
        int most = limit == 2 ? 10 : limit;
        assert_int_equal(calls_open(&k), 0);
        assert_int_equal(calls_ask(&k, &ask, "GET", "/"), 0);
        if (limit < 2)
            ask.redirects = limit;
        assert_int_equal(calls_start(&k, &ask), 0);
        int fd = calls_accept(&k);
        for (int i = 0; i < most && limit < 3; i++) {
            expect_get(&k, fd, "/");
            redirect(fd, 302, "/", "Content-Length: 0\r\n\r\n");
            calls_expect(&k, to(&k, 302, "/"));
        }
        expect_get(&k, fd, "/");
        redirect(fd, 302, "/", "Content-Length: 0\r\n\r\n");
        calls_expect(&k, limit == 0 || limit == 3 ? "head 302, received , over"
                                                  : "failed HTTP_EREDIRECTS, over");
        close(fd);
        calls_close(&k);
    }
}

static void responses_that_are_not_to_be_followed(void **state)
{
    static const struct {
        const char *response, *log;
    } cases[] = {
        {HTTP "302\r\nContent-Length: 0\r\n\r\n", "head 302, received , over"},
        {HTTP "300\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "head 300, received , over"},
        {HTTP "304\r\nLocation: /x\r\n\r\n", "head 304, received , over"},
        {HTTP "201\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "head 201, received , over"},
        {HTTP "302\r\nLocation: https://h/\r\nContent-Length: 0\r\n\r\n",
         "failed HTTP_ESCHEME, over"},
        {HTTP "302\r\nLocation: http://u:p@h/\r\nContent-Length: 0\r\n\r\n",
         "failed HTTP_EUSERINFO, over"},
        {HTTP "302\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n", "failed HTTP_EURL, over"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        calls k = {0};
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        expect_get(&k, fd, "/");
        sockets_send(fd, cases[i].response);
        calls_expect(&k, cases[i].log);
        close(fd);
        calls_close(&k);
    }
}

static rotor_response write_some(rotor_http_call *c, rotor_scope *scope)
{
    (void)rotor_http_call_write(c, (rotor_text){"a", 1}); /* no more than that */
    return rotor_ok();
}

static void bodies_that_cannot_be_sent_again(void **state)
{
    for (int status = 302; status < 309; status += 5) {
        calls k = {.body_wanted = write_some};
        rotor_http_ask ask;
        assert_int_equal(calls_open(&k), 0);
        assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0);
        assert_int_equal(rotor_http_ask_stream(&ask, 1), 0);
        assert_int_equal(calls_start(&k, &ask), 0);
        int fd = calls_accept(&k);
        char expected[512];
        snprintf(expected, sizeof expected, "%sa",
                 calls_request(&k, "POST", "/", "Content-Length: 1\r\n"));
        sockets_expect(k.loop, fd, expected);
        k.body_wanted = NULL;
        calls_turn(&k);
        calls_log(&k);
        redirect(fd, status, "/x", "Content-Length: 0\r\n\r\n");
        if (status == 307) {
            calls_expect(&k, "failed HTTP_EREPLAY, over");
        } else { /* which is answered without one; but what was announced was not finished */
            int again = calls_accept(&k);
            expect_get(&k, again, "/x");
            sockets_send(again, EMPTY);
            snprintf(expected, sizeof expected, "%s, " DONE, to(&k, 302, "/x"));
            calls_expect(&k, expected);
            close(again);
        }
        close(fd);
        calls_close(&k);
    }
}

static void a_stream_that_has_not_begun_can_be_redirected(void **state)
{
    calls k = {.body_wanted = calls_write_body, .body = "a"};
    rotor_http_ask ask;
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "PUT", "/"), 0);
    assert_int_equal(rotor_http_ask_stream(&ask, 1), 0);
    ask.expect_continue = true;
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    static const char headers[] = "Content-Length: 1\r\nExpect: 100-continue\r\n";
    sockets_expect(k.loop, fd, calls_request(&k, "PUT", "/", headers));
    redirect(fd, 307, "/x", "Content-Length: 0\r\n\r\n");
    int again = calls_accept(&k);
    sockets_expect(k.loop, again, calls_request(&k, "PUT", "/x", headers));
    sockets_send(again, HTTP "100\r\n\r\n");
    sockets_expect(k.loop, again, "a");
    sockets_send(again, EMPTY);
    char log[512];
    snprintf(log, sizeof log, "%s, 100, wanted, " DONE, to(&k, 307, "/x"));
    calls_expect(&k, log);
    close(fd);
    close(again);
    calls_close(&k);
}

static void a_requester_may_say_no(void **state)
{
    static calls_transition *const answers[] = {calls_done, calls_error};
    for (int i = 0; i < 2; i++) {
        calls k = {.redirected = answers[i]};
        char log[512];
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        expect_get(&k, fd, "/");
        redirect(fd, 302, "/x", "Content-Length: 0\r\n\r\n");
        snprintf(log, sizeof log, "%s, over", to(&k, 302, "/x"));
        calls_expect(&k, log);
        assert_int_equal(k.errors, i);
        assert_int_equal(rotor_http_client_idle(k.client), 1);
        close(fd);
        calls_close(&k);
    }
}

static void one_deadline_for_all_of_it(void **state)
{
    calls k = {.config.timeout_ms = 100};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    for (int i = 0; i < 4; i++) {
        calls_wait(&k, 24);
        expect_get(&k, fd, "/");
        redirect(fd, 302, "/", "Content-Length: 0\r\n\r\n");
        calls_expect(&k, to(&k, 302, "/"));
    }
    calls_wait(&k, 3);
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    close(fd);
    calls_close(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(redirects_are_followed),
        TEST(a_redirect_at_every_split),
        TEST(redirects_to_another_origin),
        TEST(redirects_are_limited),
        TEST(responses_that_are_not_to_be_followed),
        TEST(bodies_that_cannot_be_sent_again),
        TEST(a_stream_that_has_not_begun_can_be_redirected),
        TEST(a_requester_may_say_no),
        TEST(one_deadline_for_all_of_it),
    };
    return cmocka_run_group_tests_name("client_redirect", tests, NULL, NULL);
}
