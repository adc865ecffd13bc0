/* How the client's calls end before their time: connections that break anywhere, and deadlines. */
#include "test.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "names.h"
#include "sockets.h"
#include "support.h"

#define HTTP  "HTTP/1.1 "
#define EMPTY HTTP "200 OK\r\nContent-Length: 0\r\n\r\n"
#define DONE  "head 200, received , over"

static void expect_get(calls *k, int fd, const char *path)
{
    sockets_expect(k->loop, fd, calls_request(k, "GET", path, ""));
}

/* -- connections that break ---------------------------------------------------------------------- */

/* Responses that are cut at each byte; what the log ends with, depending on where. */
static const struct {
    const char *response;
    size_t head; /* bytes of the head */
} responses[] = {
    {HTTP "200\r\nContent-Length: 3\r\n\r\nabc", 35},
    {HTTP "200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n", 44},
    {HTTP "103\r\n\r\n" HTTP "200\r\nContent-Length: 3\r\n\r\nabc", 51},
};

static void cut(bool streamed, bool reset)
{
    calls k = {.headers = streamed ? calls_progressive : NULL};
    assert_int_equal(calls_open(&k), 0);
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        size_t len = strlen(responses[i].response);
        for (size_t n = 0; n < len; n++) {
            calls_get(&k, "/");
            int fd = calls_accept(&k);
            expect_get(&k, fd, "/");
            assert_int_equal(send(fd, responses[i].response, n, MSG_NOSIGNAL), (ssize_t)n);
            calls_turn(&k);
            if (reset)
                sockets_reset(fd);
            else
                close(fd);
            const char *expected = reset    ? "failed ECONNRESET, over"
                                   : n == 0 ? "failed HTTP_ENORESPONSE, over"
                                            : "failed HTTP_ETRUNCATED, over";
            TURN_UNTIL(k.loop, rotor_loop_count(k.loop) == 0);
            const char *log = calls_log(&k);
            assert_true(strlen(log) >= strlen(expected));
            assert_string_equal(log + strlen(log) - strlen(expected), expected);
            assert_int_equal(strstr(log, "head 200") != NULL, n >= responses[i].head);
        }
    }
    assert_int_equal(k.errors, 0);
    calls_close(&k);
}

static void truncated_responses(void **state)
{
    cut(false, false);
    cut(true, false);
}

static void connections_that_are_reset(void **state)
{
    cut(false, true);
    cut(true, true);
}

/* Such a body has its end where the connection has, but only a proper end. */
static void a_reset_is_not_the_end_of_a_body(void **state)
{
    for (int streamed = 0; streamed < 2; streamed++) {
        calls k = {.headers = streamed ? calls_progressive : NULL};
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        expect_get(&k, fd, "/");
        sockets_send(fd, HTTP "200\r\n\r\nabc");
        calls_expect(&k, streamed ? "head 200, chunk abc" : "head 200");
        sockets_reset(fd);
        calls_expect(&k, "failed ECONNRESET, over");
        calls_close(&k);
    }
}

static void a_reset_while_the_body_is_held(void **state)
{
    calls k = {.headers = calls_progressive_held};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    expect_get(&k, fd, "/");
    sockets_send(fd, HTTP "200\r\nContent-Length: 3\r\n\r\na");
    calls_expect(&k, "head 200");
    sockets_reset(fd);
    calls_expect(&k, "failed ECONNRESET, over");
    calls_close(&k);
}

static void what_was_sent_before_a_close_is_there_after_a_hold(void **state)
{
    calls k = {.headers = calls_progressive_held};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    expect_get(&k, fd, "/");
    sockets_send(fd, HTTP "200\r\nContent-Length: 3\r\n\r\na");
    calls_expect(&k, "head 200");
    sockets_send(fd, "bc");
    close(fd);
    calls_turn(&k);
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    calls_expect(&k, "wakeup, chunk abc, end, over");
    calls_close(&k);
}

/* -- the deadline -------------------------------------------------------------------------------- */

static void look_ups_that_take_too_long(void **state)
{
    calls k = {.config.timeout_ms = 100};
    assert_int_equal(calls_open(&k), 0);
    names_hold();
    calls_get(&k, "http://slow.test:1/");
    calls_turn(&k);
    names_wait(1);
    calls_wait(&k, 99);
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    names_release();
    TURN_UNTIL(k.loop, rotor_loop_count(k.loop) == 0);
    calls_close(&k);
}

static void look_ups_that_fail(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    names_set(NULL);
    calls_get(&k, "http://set.test/");
    calls_expect(&k, "failed EAI_NONAME, over");
    calls_close(&k);
}

static void names_are_looked_up(void **state)
{
    calls k = {0};
    char url[160], expected[512];
    assert_int_equal(calls_open(&k), 0);
    snprintf(url, sizeof url, "http://two.test:%s/", strrchr(k.where, ':') + 1);
    calls_get(&k, url);
    int fd = calls_accept(&k); /* of the second address: nobody is at the first */
    snprintf(expected, sizeof expected, "GET / HTTP/1.1\r\nHost: two.test:%s\r\n\r\n",
             strrchr(k.where, ':') + 1);
    sockets_expect(k.loop, fd, expected);
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    close(fd);
    calls_close(&k);
}

static void connections_that_take_too_long(void **state)
{
    calls k = {.config.timeout_ms = 20000};
    sockets_crowd crowd;
    char url[160];
    assert_int_equal(calls_open(&k), 0);
    sockets_gather(&crowd, "127.0.0.1:0");
    snprintf(url, sizeof url, "http://%s/", crowd.where);
    calls_get(&k, url);
    calls_turn(&k);
    calls_wait(&k, 19999); /* there is no limit for connecting alone */
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    assert_int_equal(rotor_loop_count(k.loop), 0);
    sockets_disperse(&crowd);
    calls_close(&k);
}

/* Also when there is always something happening. */
static void responses_that_take_too_long(void **state)
{
    static const char *const parts[] = {"",
                                        "HTTP",
                                        "/1.1 ",
                                        "103\r\n\r\n",
                                        HTTP "200\r\n",
                                        "Transfer-Encoding: chunked\r\n\r\n",
                                        "1\r\n",
                                        "a\r\n"};
    calls k = {.config.timeout_ms = 100, .headers = calls_progressive};
    assert_int_equal(calls_open(&k), 0);
    for (size_t most = 1; most <= sizeof parts / sizeof *parts; most++) {
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        expect_get(&k, fd, "/");
        for (size_t i = 0; i < most; i++) {
            calls_wait(&k, 12);
            sockets_send(fd, parts[i]);
            calls_turn(&k);
        }
        calls_wait(&k, 99 - 12 * most);
        assert_null(strstr(calls_log(&k), "failed"));
        calls_wait(&k, 1);
        calls_expect(&k, "failed ETIMEDOUT, over");
        assert_int_equal(sockets_end(k.loop, fd, NULL), 0);
        close(fd);
    }
    calls_close(&k);
}

static void requests_that_take_too_long(void **state)
{
    enum { LENGTH = 40000000 };
    calls k = {.config = {.timeout_ms = 100}};
    rotor_http_ask ask;
    char *body = calloc(LENGTH, 1);
    assert_non_null(body);
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, (rotor_text){body, LENGTH}), 0);
    free(body);
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    calls_turn(&k);
    calls_wait(&k, 99);
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    close(fd);
    calls_close(&k);
}

static void a_call_may_have_a_deadline_of_its_own(void **state)
{
    calls k = {.config.timeout_ms = 100};
    rotor_http_ask ask;
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "GET", "/"), 0);
    ask.timeout_ms = 50;
    assert_int_equal(calls_start(&k, &ask), 0);
    int a = calls_accept(&k);
    assert_int_equal(calls_ask(&k, &ask, "GET", "/"), 0);
    ask.timeout_ms = UINT32_MAX;
    assert_int_equal(calls_start(&k, &ask), 0);
    int b = calls_accept(&k);
    calls_wait(&k, 50);
    calls_expect(&k, "failed ETIMEDOUT, over");
    calls_wait(&k, UINT64_C(1) << 40);
    expect_get(&k, b, "/");
    sockets_send(b, EMPTY);
    calls_expect(&k, DONE);
    close(a);
    close(b);
    calls_close(&k);
}

static void thirty_seconds_are_enough(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    calls_wait(&k, 29999);
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    close(fd);
    calls_close(&k);
}

/* -- deadlines of transitions -------------------------------------------------------------------- */

static rotor_http_receive in_10_ms(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_receive_until(rotor_http_progressive(0), rotor_now(scope) + 10);
}

static rotor_response next_in_10_ms(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 10);
}

static void transitions_have_deadlines(void **state)
{
    for (int told = 0; told < 2; told++) {
        calls k = {.headers = in_10_ms,
                   .chunk = next_in_10_ms,
                   .timeout = told ? next_in_10_ms : NULL,
                   .config.timeout_ms = 55};
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        expect_get(&k, fd, "/");
        sockets_send(fd, HTTP "200\r\nContent-Length: 3\r\n\r\n");
        calls_expect(&k, "head 200");
        calls_wait(&k, 9);
        sockets_send(fd, "a");
        calls_expect(&k, "chunk a");
        calls_wait(&k, 9);
        calls_expect(&k, "");
        calls_wait(&k, 1);
        if (told) {
            calls_expect(&k, "timeout");
            calls_wait(&k, 10);
            calls_expect(&k, "timeout");
            sockets_send(fd, "b");
            calls_expect(&k, "chunk b");
            calls_wait(&k, 10);
            calls_wait(&k, 10);
            calls_expect(&k, "timeout, timeout");
            calls_wait(&k, 5);
            calls_expect(&k, "");
            calls_wait(&k, 1); /* and this is that of the call */
        }
        calls_expect(&k, "failed ETIMEDOUT, over");
        close(fd);
        calls_close(&k);
    }
}

static void timeouts_may_end_the_call(void **state)
{
    static calls_transition *const answers[] = {calls_done, calls_error};
    for (int i = 0; i < 2; i++) {
        calls k = {.headers = in_10_ms, .timeout = answers[i]};
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        sockets_send(fd, HTTP "200\r\nContent-Length: 3\r\n\r\n");
        calls_expect(&k, "head 200");
        calls_wait(&k, 10);
        calls_expect(&k, "timeout, over");
        assert_int_equal(k.errors, i);
        assert_int_equal(rotor_http_client_connections(k.client), 0);
        close(fd);
        calls_close(&k);
    }
}

static void wakeups_may_end_the_call(void **state)
{
    static calls_transition *const answers[] = {calls_done, calls_error};
    for (int i = 0; i < 2; i++) {
        calls k = {.wakeup = answers[i]};
        assert_int_equal(calls_open(&k), 0);
        calls_get(&k, "/");
        int fd = calls_accept(&k);
        assert_int_equal(rotor_wake(k.loop, k.call), 0);
        calls_expect(&k, "wakeup, over");
        assert_int_equal(k.errors, i);
        assert_int_equal(rotor_http_client_connections(k.client), 0);
        close(fd);
        calls_close(&k);
    }
}

static void failures_go_to_on_error_if_nobody_else_hears_of_them(void **state)
{
    calls k = {.is_not_told_of_failures = true};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/");
    int fd = calls_accept(&k);
    calls_wait(&k, 30000);
    calls_expect(&k, "over");
    assert_int_equal(k.errors, 1);
    assert_int_equal(k.error, ROTOR_ETIMEDOUT);
    close(fd);
    calls_close(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(truncated_responses),
        TEST(connections_that_are_reset),
        TEST(a_reset_is_not_the_end_of_a_body),
        TEST(a_reset_while_the_body_is_held),
        TEST(what_was_sent_before_a_close_is_there_after_a_hold),
        TEST(look_ups_that_take_too_long),
        TEST(look_ups_that_fail),
        TEST(names_are_looked_up),
        TEST(connections_that_take_too_long),
        TEST(responses_that_take_too_long),
        TEST(requests_that_take_too_long),
        TEST(a_call_may_have_a_deadline_of_its_own),
        TEST(thirty_seconds_are_enough),
        TEST(transitions_have_deadlines),
        TEST(timeouts_may_end_the_call),
        TEST(wakeups_may_end_the_call),
        TEST(failures_go_to_on_error_if_nobody_else_hears_of_them),
    };
    return cmocka_run_group_tests_name("client_ends", tests, NULL, NULL);
}
