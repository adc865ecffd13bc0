/* What the server does when a client, or a handler, takes its time. */
#include "test.h"

#include "support.h"
#include "web.h"

#define HOST        "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

static void open_and_connect(web *w)
{
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

/* The connection is left alone for `ms` and a little less, and then ends without a word. */
static void closes_after(web *w, uint64_t ms)
{
    web_wait(w, ms - 1);
    assert_false(web_is_gone(w));
    web_wait(w, 1);
    assert_true(web_is_gone(w));
    assert_string_equal(web_received(w), "");
}

/* The same, but with an answer; then there are two more seconds to read it in. */
static void refuses_after(web *w, uint64_t ms, int status)
{
    web_wait(w, ms - 1);
    assert_string_equal(web_received(w), "");
    assert_false(web_is_shut(w));
    web_wait(w, 1);
    assert_string_equal(web_received(w), web_refusal(status, NULL));
    assert_true(web_is_shut(w));
    closes_after(w, 1000);
}

static void connect_again(web *w)
{
    assert_int_equal(web_connect(w), 0);
}

/* -- heads ------------------------------------------------------------------------------------- */

static void who_says_nothing_is_left(void **state)
{
    web w = {0};
    open_and_connect(&w);
    closes_after(&w, 10000);
    assert_int_equal(w.errors, 0);
    web_close(&w);
}

static void a_head_has_ten_seconds_from_its_first_byte(void **state)
{
    web w = {0};
    open_and_connect(&w);
    web_wait(&w, 9999);
    for (int i = 0; i < 9; i++) {
        web_send(&w, i == 0 ? "GET /" : "a");
        web_wait(&w, 1000);
    }
    refuses_after(&w, 1000, 408);

    connect_again(&w);
    web_send(&w, "\r\n"); /* which belongs to it */
    refuses_after(&w, 10000, 408);
    assert_int_equal(w.requests, 0);
    web_close(&w);
}

static void the_next_head_has_ten_seconds_too(void **state)
{
    web w = {0};
    open_and_connect(&w);
    web_asks(&w, GET("/1") "GET", OK(6, "GET /1"));
    refuses_after(&w, 10000, 408);

    connect_again(&w);
    web_asks(&w, GET("/1"), OK(6, "GET /1"));
    web_wait(&w, 59999);
    web_send(&w, "G");
    web_wait(&w, 9999);
    web_asks(&w, "ET /2 HTTP/1.1\r\n" HOST "\r\n", OK(6, "GET /2"));
    web_close(&w);
}

static void a_kept_connection_may_be_idle_for_a_minute(void **state)
{
    web w = {0};
    open_and_connect(&w);
    for (int i = 0; i < 3; i++) {
        web_asks(&w, GET("/"), OK(5, "GET /"));
        web_wait(&w, 59999);
        assert_false(web_is_gone(&w));
    }
    closes_after(&w, 1);
    assert_int_equal(w.errors, 0);
    web_close(&w);
}

/* -- bodies ------------------------------------------------------------------------------------ */

#define POST         "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n"
#define POST_CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

static void a_body_must_make_progress(void **state)
{
    web w = {0};
    open_and_connect(&w);
    web_send(&w, POST);
    refuses_after(&w, 30000, 408);

    connect_again(&w);
    web_send(&w, POST "a");
    refuses_after(&w, 30000, 408);

    connect_again(&w);
    web_send(&w, POST_CHUNKED "5\r\nab");
    refuses_after(&w, 30000, 408);

    connect_again(&w);
    web_send(&w, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_string_equal(web_received(&w), "HTTP/1.1 100 Continue\r\n\r\n");
    refuses_after(&w, 30000, 408);
    assert_int_equal(w.requests, 0);
    web_close(&w);
}

/* 500 bytes a second; so each byte is worth 2 ms beyond the first 30 seconds. */
static void and_no_slower_than_a_certain_rate(void **state)
{
    web w = {0};
    open_and_connect(&w);
    web_send(&w, POST);
    web_wait(&w, 29000);
    web_send(&w, "a");
    refuses_after(&w, 1002, 408);

    connect_again(&w);
    web_send(&w, POST_CHUNKED "10\r\nab");
    web_wait(&w, 20000);
    web_send(&w, "c");
    refuses_after(&w, 10006, 408);

    connect_again(&w);
    web_send(&w, POST_CHUNKED "10;aaaaaaaaaaaaaaaaaa"); /* is not the body's */
    web_wait(&w, 20000);
    web_send(&w, "aaaaaa");
    refuses_after(&w, 10000, 408);
    web_close(&w);
}

static void a_body_may_take_long_if_it_is_long(void **state)
{
    static char piece[10000];
    web w = {.config.limits.body = 100 << 20};
    memset(piece, 'a', sizeof piece);
    open_and_connect(&w);
    web_send(&w, POST);
    for (int i = 1; i <= 99; i++) {
        web_send_bytes(&w, piece, sizeof piece);
        web_wait(&w, 20000);
        assert_false(web_is_shut(&w));
    }
    w.received = web_done; /* the answer does not matter */
    web_send_bytes(&w, piece, sizeof piece);
    assert_int_equal(w.requests, 1);
    web_close(&w);
}

/* -- handlers ---------------------------------------------------------------------------------- */

static void a_handler_has_thirty_seconds(void **state)
{
    web w = {.received = web_waits};
    open_and_connect(&w);
    web_send(&w, GET("/") GET("/secret"));
    refuses_after(&w, 30000, 503);
    assert_string_equal(w.log, "GET / over");
    web_close(&w);
}

static rotor_response same(rotor_http *h, rotor_scope *scope)
{
    return rotor_same();
}

/* Not for what the connection waited for before. */
static void also_when_it_waits_for_the_same(void **state)
{
    web w = {.received = same};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    refuses_after(&w, 30000, 503);
    web_close(&w);
}

static rotor_response in_five_seconds(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 5000);
}

static void or_what_it_says(void **state)
{
    web w = {.received = in_five_seconds};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    refuses_after(&w, 5000, 503);
    web_close(&w);
}

static void its_timeout_is_called(void **state)
{
    web w = {.received = in_five_seconds, .timeout = web_answer};
    open_and_connect(&w);
    web_send(&w, GET("/") GET("/2"));
    web_wait(&w, 4999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));
    web_wait(&w, 5000);
    assert_string_equal(web_received(&w), OK(6, "GET /2"));
    assert_string_equal(w.log, "GET / timeout over GET /2 timeout over");
    web_close(&w);
}

static void its_timeout_may_wait_further(void **state)
{
    web w = {.received = in_five_seconds, .timeout = in_five_seconds};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    web_wait(&w, 5000);
    web_wait(&w, 5000);
    assert_string_equal(w.log, "GET / timeout timeout");
    w.timeout = web_waits; /* without a deadline: the usual one */
    web_wait(&w, 5000);
    web_wait(&w, 29999);
    assert_string_equal(w.log, "GET / timeout timeout timeout");
    w.timeout = same; /* there is none any more that could be kept */
    web_wait(&w, 1);
    web_wait(&w, 29999);
    assert_string_equal(w.log, "GET / timeout timeout timeout timeout");
    w.timeout = web_answer;
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));
    web_close(&w);
}

static void its_timeout_may_fail(void **state)
{
    static const struct {
        web_transition *timeout;
        int errors;
    } cases[] = {{web_done, 0}, {web_error, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        web w = {.received = in_five_seconds, .timeout = cases[i].timeout};
        open_and_connect(&w);
        web_send(&w, GET("/"));
        refuses_after(&w, 5000, 500);
        assert_int_equal(w.errors, cases[i].errors);
        web_close(&w);
    }
}

static rotor_response in_the_past(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok_until(1);
}

static void a_deadline_that_has_passed(void **state)
{
    web w = {.received = in_the_past, .timeout = web_answer};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));
    web_close(&w);
}

static void a_wakeup_keeps_the_deadline_or_sets_another(void **state)
{
    web w = {.received = in_five_seconds, .wakeup = same, .timeout = web_answer};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    web_wait(&w, 4000);
    assert_int_equal(rotor_wake(w.loop, w.connection), 0);
    web_wait(&w, 999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));

    w.wakeup = in_five_seconds;
    web_send(&w, GET("/"));
    web_wait(&w, 4000);
    assert_int_equal(rotor_wake(w.loop, w.connection), 0);
    web_turn(&w);
    web_wait(&w, 4999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));

    w.wakeup = web_waits;
    web_send(&w, GET("/"));
    assert_int_equal(rotor_wake(w.loop, w.connection), 0);
    web_turn(&w);
    web_wait(&w, 29999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), OK(5, "GET /"));
    web_close(&w);
}

/* -- answers that are slow to be taken --------------------------------------------------------- */

enum { LONG = 40000 };

static rotor_response answer_long(rotor_http *h, rotor_scope *scope)
{
    static char body[LONG];
    memset(body, 'x', sizeof body);
    if (rotor_http_query(h).data)
        assert_int_equal(rotor_http_add_text(h, "Connection", "close"), 0);
    assert_int_equal(rotor_http_send(h, 200, (rotor_text){body, sizeof body}), 0);
    return rotor_done();
}

/* So much is taken every 20 seconds, until it is all there. */
static void take(web *w, size_t piece)
{
    size_t taken = 0;
    while (taken < LONG) {
        rotor_memory_window(w->client, piece);
        web_wait(w, 20000);
        size_t n = strlen(web_received(w));
        assert_int_not_equal(n, 0);
        taken += n;
    }
    rotor_memory_window(w->client, SIZE_MAX);
    web_turn(w);
    web_received(w);
}

static void who_takes_nothing_is_left(void **state)
{
    web w = {.received = answer_long};
    open_and_connect(&w);
    rotor_memory_window(w.client, 100);
    web_send(&w, GET("/"));
    assert_int_equal(strlen(web_received(&w)), 100);
    closes_after(&w, 30000);
    assert_int_equal(w.errors, 1);
    assert_int_equal(w.error, ROTOR_ESTALLED);
    web_close(&w);
}

/* Neither idleness nor a late head or body counts as long as there is output for the client to take:
** the server may have stopped reading for it. */
static void who_takes_it_slowly_is_waited_for(void **state)
{
    static const struct {
        const char *before, *after;
        uint64_t at_least, at_most; /* how long the server still waits then */
        int status;
    } cases[] = {
        {"", GET("/"), 15000, 60000, 0},
        {"GET", " / HTTP/1.1\r\n" HOST "\r\n", 0, 10000, 408},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab", "c", 0, 30000, 408},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int goes_on = 0; goes_on <= 1; goes_on++) {
            web w = {.received = answer_long};
            open_and_connect(&w);
            rotor_memory_window(w.client, 100);
            web_send(&w, GET("/"));
            web_send(&w, cases[i].before);
            take(&w, 2000);
            web_wait(&w, cases[i].at_least);
            assert_false(web_is_gone(&w) || web_is_shut(&w));
            if (goes_on) {
                web_send(&w, cases[i].after);
                assert_int_equal(w.requests, 2);
            } else {
                web_wait(&w, cases[i].at_most);
                assert_string_equal(web_received(&w),
                                    cases[i].status ? web_refusal(cases[i].status, NULL) : "");
                assert_int_equal(w.requests, 1);
            }
            web_close(&w);
        }
    }
}

/* Then the connection lingers, but not for a client that said it would send no more and did not. */
static void a_last_answer_is_sent_to_its_end(void **state)
{
    static const struct {
        const char *ask;
        bool lingers;
    } cases[] = {
        {GET("/?close"), true},
        {GET("/?close") GET("/secret"), true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n" GET("/secret"), true},
        {GET("/") "bad\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        web w = {.received = answer_long};
        open_and_connect(&w);
        rotor_memory_window(w.client, 100);
        web_send(&w, cases[i].ask);
        take(&w, 3000);
        assert_int_equal(web_is_gone(&w), !cases[i].lingers);
        if (cases[i].lingers) {
            assert_true(web_is_shut(&w));
            closes_after(&w, 1000);
        }
        assert_int_equal(w.requests, 1);
        assert_int_equal(w.errors, 0);
        web_close(&w);
    }
}

/* -- settings ---------------------------------------------------------------------------------- */

static void every_time_can_be_set(void **state)
{
    web w = {.config = {.head_ms = 100,
                        .body_ms = 200,
                        .body_rate = 10,
                        .handler_ms = 300,
                        .idle_ms = 400,
                        .stall_ms = 500}};
    open_and_connect(&w);
    closes_after(&w, 100);
    connect_again(&w);
    web_send(&w, "G");
    refuses_after(&w, 100, 408);
    connect_again(&w);
    web_send(&w, POST);
    web_wait(&w, 100);
    web_send(&w, "a");
    refuses_after(&w, 200, 408);
    connect_again(&w);
    web_asks(&w, GET("/"), OK(5, "GET /"));
    closes_after(&w, 400);
    w.received = web_waits;
    connect_again(&w);
    web_send(&w, GET("/"));
    refuses_after(&w, 300, 503);
    w.received = answer_long;
    connect_again(&w);
    rotor_memory_window(w.client, 0);
    web_send(&w, GET("/"));
    closes_after(&w, 500);
    web_close(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(who_says_nothing_is_left),
        TEST(a_head_has_ten_seconds_from_its_first_byte),
        TEST(the_next_head_has_ten_seconds_too),
        TEST(a_kept_connection_may_be_idle_for_a_minute),
        TEST(a_body_must_make_progress),
        TEST(and_no_slower_than_a_certain_rate),
        TEST(a_body_may_take_long_if_it_is_long),
        TEST(a_handler_has_thirty_seconds),
        TEST(also_when_it_waits_for_the_same),
        TEST(or_what_it_says),
        TEST(its_timeout_is_called),
        TEST(its_timeout_may_wait_further),
        TEST(its_timeout_may_fail),
        TEST(a_deadline_that_has_passed),
        TEST(a_wakeup_keeps_the_deadline_or_sets_another),
        TEST(who_takes_nothing_is_left),
        TEST(who_takes_it_slowly_is_waited_for),
        TEST(a_last_answer_is_sent_to_its_end),
        TEST(every_time_can_be_set),
    };
    return cmocka_run_group_tests_name("server_time", tests, NULL, NULL);
}
