/* What the server answers, and what becomes of the connection. Every conversation is held with the
** request sent as a whole, byte by byte, and in two parts, cut at every place; and over TCP. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "support.h"
#include "web.h"

#define HOST               "Host: h\r\n"
#define GET(target)        "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST(fields, body) "POST /p HTTP/1.1\r\n" HOST fields "\r\n" body
#define BODY3              "Content-Length: 3\r\n"
#define CHUNKED            "Transfer-Encoding: chunked\r\n"
/* What a server that reads on behind a bad message would answer. */
#define SECRET GET("/secret")

typedef struct conversation {
    const char *ask, *answers;
} conversation;

typedef struct refusal {
    const char *ask;
    const char *answers; /* what comes before it */
    int status, why;
} refusal;

/* Behind which the connection stays open. */
static const conversation kept_open[] = {
    {GET("/"), OK(5, "GET /")},
    {GET("/a%20b?q=%&r"), OK(16, "GET /a%20b?q=%&r")},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", OK(9, "OPTIONS *")},
    {"GET http://x/y HTTP/1.1\r\n" HOST "\r\n", OK(14, "GET http://x/y")},
    {"BREW / HTTP/1.1\r\n" HOST "\r\n", OK(6, "BREW /")},
    {"GET / HTTP/1.7\r\n" HOST "\r\n", OK(5, "GET /")},
    {"\r\n\r\n\r\n\r\n" GET("/"), OK(5, "GET /")},
    {"GET / HTTP/1.1\r\nhOsT:h\r\nA:\r\nB: \t b \t\r\n\r\n", OK(5, "GET /")},

    /* Bodies. */
    {POST(BODY3, "abc"), OK(11, "POST /p abc")},
    {POST("Content-Length: 0\r\n", ""), OK(7, "POST /p")},
    {POST("Content-Length: 3, 03\r\n" BODY3, "abc"), OK(11, "POST /p abc")},
    {"GET /p HTTP/1.1\r\n" HOST BODY3 "\r\nabc", OK(10, "GET /p abc")},
    {POST(CHUNKED, "3\r\nabc\r\n0\r\n\r\n"), OK(11, "POST /p abc")},
    {POST(CHUNKED, "0\r\n\r\n"), OK(7, "POST /p")},
    {POST(CHUNKED,
          "1\r\na\r\n02;x=\"y;\\\"\"\r\nbc\r\nA\r\n0123456789\r\n000\r\nT: t\r\nU:\r\n\r\n"),
     OK(21, "POST /p abc0123456789")},
    {POST("Transfer-Encoding: Chunked\r\n", "3\r\n\r\n\r\r\n0\r\n\r\n"), OK(11, "POST /p \r\n\r")},

    /* One behind the other, with the next one's first byte right behind the body. */
    {GET("/1") GET("/2") GET("/3"), OK(6, "GET /1") OK(6, "GET /2") OK(6, "GET /3")},
    {GET("/1") "\r\n" GET("/2"), OK(6, "GET /1") OK(6, "GET /2")},
    {POST(BODY3, "abc") GET("/2") POST(BODY3, "def"),
     OK(11, "POST /p abc") OK(6, "GET /2") OK(11, "POST /p def")},
    {POST(CHUNKED, "3\r\nabc\r\n0\r\n\r\n") POST(CHUNKED, "2\r\nde\r\n1\r\nf\r\n0\r\nA: b\r\n\r\n")
         GET("/3"),
     OK(11, "POST /p abc") OK(11, "POST /p def") OK(6, "GET /3")},
    {POST("Content-Length: 28\r\n", GET("/b")) GET("/2"),
     OK(36, "POST /p " GET("/b")) OK(6, "GET /2")},

    /* HEAD: as GET, without the body. */
    {"HEAD / HTTP/1.1\r\n" HOST "\r\n" GET("/2"), OK(6, "") OK(6, "GET /2")},
    {"HEAD / HTTP/1.1\r\n" HOST BODY3 "\r\nabc" GET("/2"), OK(10, "") OK(6, "GET /2")},

    /* Who says that it stays. */
    {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n" GET("/2"),
     OK(5, "GET /") OK(6, "GET /2")},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" GET("/2"),
     "HTTP/1.1 200 OK\r\n" DATE "Connection: keep-alive\r\nContent-Length: 5\r\n\r\n"
     "GET /" OK(6, "GET /2")},
};

/* And behind which it closes. */
static const conversation closed[] = {
    /* Who says that it closes, and what it sends all the same. */
    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", LAST(5, "GET /")},
    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" SECRET, LAST(5, "GET /")},
    {"HEAD / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" SECRET, LAST(6, "")},
    {POST(BODY3 "Connection: a, CLOSE ,keep-alive\r\n", "abc") SECRET, LAST(11, "POST /p abc")},
    {GET("/1") "GET /2 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" SECRET,
     OK(6, "GET /1") LAST(6, "GET /2")},
    /* HTTP/1.0 */
    {"GET / HTTP/1.0\r\n\r\n", LAST(5, "GET /")},
    {"GET / HTTP/1.0\r\n\r\n" SECRET, LAST(5, "GET /")},
    {"GET / HTTP/1.0\r\n" HOST "Connection: close, keep-alive\r\n\r\n" SECRET, LAST(5, "GET /")},
    {"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", LAST(10, "POST / abc")},
    /* It does not know 100 (Continue), and is not sent it. */
    {"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
     LAST(10, "POST / abc")},

    /* What follows may be meant for a tunnel. */
    {"CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n" SECRET,
     "HTTP/1.1 404 Not Found\r\n" DATE "Connection: close\r\nContent-Length: 2\r\n\r\nno"},
};

static const refusal refused[] = {
    {"GET / HTTP/1.1\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EHOST},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EHOST},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EHOST},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_EHOST},
    {POST("Content-Length: +3\r\n", "abc") SECRET, "", 400, ROTOR_HTTP_ELENGTH},
    {POST("Content-Length: -3\r\n", "abc") SECRET, "", 400, ROTOR_HTTP_ELENGTH},
    {POST("Content-Length: 3\r\nContent-Length: 4\r\n", "abc") SECRET, "", 400, ROTOR_HTTP_ELENGTH},
    {POST("Content-Length: 3, 4\r\n", "abc") SECRET, "", 400, ROTOR_HTTP_ELENGTH},
    {POST("Content-Length: 18446744073709551616\r\n", "") SECRET, "", 400, ROTOR_HTTP_ELENGTH},
    {POST(BODY3 CHUNKED, "0\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_ESMUGGLE},
    {POST(CHUNKED BODY3, "0\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_ESMUGGLE},
    {POST(CHUNKED CHUNKED, "0\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_ESMUGGLE},
    {POST("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n") SECRET, "", 400,
     ROTOR_HTTP_ESMUGGLE},
    {POST("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") SECRET, "", 501, ROTOR_HTTP_ECODING},
    {POST("Transfer-Encoding: identity\r\n", "") SECRET, "", 501, ROTOR_HTTP_ECODING},
    {"POST / HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_ECODING10},
    {"GET / HTTP/1.1\r\nHost : h\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_ESPACE},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EFOLD},
    {"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EFIELD},
    {"GET / HTTP/1.1\n" HOST "\n" SECRET, "", 400, ROTOR_HTTP_ECONTROL},
    {"GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_ECONTROL},
    {"GET / HTTP/1.1\r\n" HOST "A: \1\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_ECONTROL},
    {"\r\n\r\n\r\n\r\n\r\n" SECRET, "", 400, ROTOR_HTTP_EEMPTY},
    /* These are not HEAD, whatever would come of reading on. */
    {"\rHEAD / HTTP/1.1\r\n" HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_ECONTROL},
    {"\r\n\r\n\r\n\r\n\r\nHEAD / HTTP/1.1\r\n" HOST "\r\n", "", 400, ROTOR_HTTP_EEMPTY},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_ELINE},
    {"G@T / HTTP/1.1\r\n" HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_EMETHOD},
    {"GET x HTTP/1.1\r\n" HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_ETARGET},
    {"GET / HTTP/11\r\n" HOST "\r\n" SECRET, "", 400, ROTOR_HTTP_EVERSION},
    {"GET / HTTP/2.0\r\n" HOST "\r\n" SECRET, "", 505, ROTOR_HTTP_EUNSUPPORTED},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", 505, ROTOR_HTTP_EUNSUPPORTED},
    {POST(BODY3 "Expect: 200-ok\r\n", "abc") SECRET, "", 417, ROTOR_HTTP_EEXPECT},
    {POST(CHUNKED, "x\r\n") SECRET, "", 400, ROTOR_HTTP_ECHUNK},
    {POST(CHUNKED, "3\r\nabcd\r\n0\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_ECHUNK},
    {POST(CHUNKED, "3\nabc\r\n0\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_ECHUNK},
    {POST(CHUNKED, "-1\r\n") SECRET, "", 400, ROTOR_HTTP_ECHUNK},
    {POST(CHUNKED, "1\r\na\r\n0\r\nA: b\r\n c\r\n\r\n") SECRET, "", 400, ROTOR_HTTP_EFOLD},
    {POST("Content-Length: 8388609\r\n", "abc") SECRET, "", 413, ROTOR_HTTP_EBODYSIZE},
    {POST("Content-Length: 8388609\r\nExpect: 100-continue\r\n", "") SECRET, "", 413,
     ROTOR_HTTP_EBODYSIZE},
    {POST(CHUNKED, "1\r\na\r\n800000\r\n") SECRET, "", 413, ROTOR_HTTP_EBODYSIZE},

    /* What came before is answered first. */
    {GET("/1") POST(BODY3, "abc") "GET / HTTP/1.1\r\n\r\n" SECRET,
     OK(6, "GET /1") OK(11, "POST /p abc"), 400, ROTOR_HTTP_EHOST},
    {GET("/1") POST(CHUNKED, "x") SECRET, OK(6, "GET /1"), 400, ROTOR_HTTP_ECHUNK},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\n" SECRET,
     "HTTP/1.1 200 OK\r\n" DATE "Connection: keep-alive\r\nContent-Length: 5\r\n\r\nGET /", 400,
     ROTOR_HTTP_ECONTROL},
};

/* Once the answers are there: is the connection as it should be, and does it end well? */
static void check_end(web *w, const char *expected, bool open)
{
    assert_string_equal(web_received(w), expected);
    assert_int_equal(w->requests, w->overs);
    assert_int_equal(w->errors, 0);
    if (open) {
        assert_false(web_is_shut(w));
        web_asks(w, GET("/again"), OK(10, "GET /again"));
    } else if (!web_is_gone(w)) {
        assert_true(web_is_shut(w));
        int requests = w->requests;
        web_send(w, SECRET); /* that is dropped, too */
        assert_int_equal(w->requests, requests);
    }
    rotor_memory_shutdown(w->client);
    web_turn(w);
    assert_true(web_is_gone(w));
    assert_string_equal(web_received(w), "");
}

/* In two parts; the second may find the connection closed after a bad message in the first. */
static void hold_over_socket(web *w, int family, size_t cut, const char *ask, const char *expected,
                             bool open)
{
    int near, far;
    sockets_pair(family, &near, &far);
    web_adopt(w, near);
    assert_int_equal(send(far, ask, cut, MSG_NOSIGNAL), cut);
    if (ask[cut]) {
        assert_int_equal(rotor_loop_turn(w->loop), 0);
        (void)send(far, ask + cut, strlen(ask + cut), MSG_NOSIGNAL);
    }
    sockets_expect(w->loop, far, expected);
    if (open) {
        sockets_send(far, GET("/again"));
        sockets_expect(w->loop, far, OK(10, "GET /again"));
        assert_int_equal(shutdown(far, SHUT_WR), 0);
    }
    size_t more;
    assert_int_equal(sockets_end(w->loop, far, &more), 0); /* and no reset */
    assert_int_equal(more, 0);
    assert_int_equal(close(far), 0);
    TURN_UNTIL(w->loop, !rotor_find(w->loop, w->connection));
}

static void hold(web *w, const char *ask, const char *expected, bool open)
{
    hold_over_socket(w, AF_INET, strlen(ask), ask, expected, open);
    for (size_t cut = 1; cut < strlen(ask); cut++)
        hold_over_socket(w, AF_UNIX, cut, ask, expected, open);

    assert_int_equal(web_connect(w), 0);
    web_send(w, ask);
    assert_int_equal(rotor_memory_writes(w->client), 1); /* all of it in one */
    check_end(w, expected, open);

    assert_int_equal(web_connect(w), 0);
    rotor_memory_split(w->client, 1);
    web_send(w, ask);
    check_end(w, expected, open);

    for (size_t cut = 1; cut < strlen(ask); cut++) {
        assert_int_equal(web_connect(w), 0);
        web_send_bytes(w, ask, cut);
        if (!web_is_gone(w))
            web_send(w, ask + cut);
        check_end(w, expected, open);
    }
}

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

static rotor_response answer(rotor_http *h, rotor_scope *scope)
{
    assert_false(is(rotor_http_target(h), "/secret"));
    if (!is(rotor_http_method(h), "CONNECT"))
        return web_answer(h, scope);
    assert_int_equal(rotor_http_send_text(h, 200, "no tunnels"), ROTOR_EBODY);
    assert_int_equal(rotor_http_send_text(h, 404, "no"), 0);
    return rotor_done();
}

static void good_conversations(void **state)
{
    web w = {.received = answer};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof kept_open / sizeof *kept_open; i++)
        hold(&w, kept_open[i].ask, kept_open[i].answers, true);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        hold(&w, closed[i].ask, closed[i].answers, false);
    web_close(&w);
}

static void bad_conversations(void **state)
{
    web w = {.received = answer};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const refusal *r = &refused[i];
        char expected[1024];
        snprintf(expected, sizeof expected, "%s%s", r->answers,
                 web_refusal(r->status, rotor_strerror(r->why)));
        hold(&w, r->ask, expected, false);
    }
    web_close(&w);
}

/* A byte that C strings cannot hold. */
static void a_nul_is_refused(void **state)
{
    static const char ask[] = "GET / HTTP/1.1\r\n" HOST "A: \0\r\n\r\n" SECRET;
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    web_send_bytes(&w, ask, sizeof ask - 1);
    assert_string_equal(web_received(&w), web_refusal(400, rotor_strerror(ROTOR_HTTP_ECONTROL)));
    web_close(&w);
}

/* An answer to HEAD has no body, whoever gives it. */
static void refusals_of_head_have_no_body(void **state)
{
    static const struct {
        const char *ask;
        int status, why;
    } cases[] = {
        {"HEAD / HTTP/1.1\r\n\r\n", 400, ROTOR_HTTP_EHOST},
        {"\r\n\r\nHEAD / HTTP/1.1\r\n\r\n", 400, ROTOR_HTTP_EHOST},
        {"HEAD / HTTP/3.0\r\n", 505, ROTOR_HTTP_EUNSUPPORTED},
        {"HEAD / HTTP/1.1\r\n" HOST "Content-Length: 8388609\r\n\r\n", 413, ROTOR_HTTP_EBODYSIZE},
    };
    web w = {.received = web_done};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t split = 0; split <= 1; split++) {
            char expected[1024];
            snprintf(expected, sizeof expected, "%s",
                     web_refusal(cases[i].status, rotor_strerror(cases[i].why)));
            strstr(expected, "\r\n\r\n")[4] = '\0';
            assert_int_equal(web_connect(&w), 0);
            rotor_memory_split(w.client, split);
            web_asks(&w, cases[i].ask, expected);
        }
    }
    assert_int_equal(web_connect(&w), 0); /* and one that the handler gave no answer to */
    char expected[1024];
    snprintf(expected, sizeof expected, "%s", web_refusal(500, NULL));
    strstr(expected, "\r\n\r\n")[4] = '\0';
    web_asks(&w, "HEAD / HTTP/1.1\r\n" HOST "\r\n", expected);
    web_close(&w);
}

/* -- 100 (Continue) ---------------------------------------------------------------------------- */

#define GO_ON  "HTTP/1.1 100 Continue\r\n\r\n"
#define EXPECT "Expect: 100-Continue\r\n"

static void continue_is_sent_when_the_body_is_not_there_yet(void **state)
{
    static const struct {
        const char *head, *body;
    } cases[] = {
        {POST(EXPECT BODY3, ""), "abc"},
        {POST(EXPECT CHUNKED, ""), "3\r\nabc\r\n0\r\n\r\n"},
    };
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char whole[256];
        snprintf(whole, sizeof whole, "%s%s", cases[i].head, cases[i].body);
        size_t head = strlen(cases[i].head);
        for (size_t cut = 1; cut <= strlen(whole); cut++) {
            assert_int_equal(web_connect(&w), 0);
            web_send_bytes(&w, whole, cut);
            if (cut == head)
                assert_string_equal(web_received(&w), GO_ON);
            web_asks(&w, whole + cut,
                     cut == strlen(whole) ? OK(11, "POST /p abc") : OK(11, "POST /p abc"));
        }
    }
    web_close(&w);
}

static void continue_comes_behind_earlier_answers(void **state)
{
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, GET("/1") POST(EXPECT BODY3, ""), OK(6, "GET /1") GO_ON);
    assert_int_equal(rotor_memory_writes(w.client), 1);
    web_asks(&w, "abc" GET("/2"), OK(11, "POST /p abc") OK(6, "GET /2"));
    web_close(&w);
}

static void continue_is_not_sent_for_no_body(void **state)
{
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, "GET / HTTP/1.1\r\n" HOST EXPECT "\r\n", OK(5, "GET /"));
    web_asks(&w, POST(EXPECT "Content-Length: 0\r\n", ""), OK(7, "POST /p"));
    web_close(&w);
}

/* -- one write --------------------------------------------------------------------------------- */

static void a_burst_is_answered_in_one_write(void **state)
{
    char ask[4096] = "", expected[8192] = "";
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    for (int i = 10; i < 60; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
        strcat(ask, text);
        snprintf(text, sizeof text, OK(7, "GET /%d"), i);
        strcat(expected, text);
    }
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, ask, expected);
    assert_int_equal(rotor_memory_writes(w.client), 1);
    web_close(&w);
}

static rotor_response answer_long(rotor_http *h, rotor_scope *scope)
{
    static char body[50000];
    memset(body, 'x', sizeof body);
    assert_int_equal(rotor_http_send(h, 200, (rotor_text){body, sizeof body}), 0);
    return rotor_done();
}

/* Pipelining stops reading while the answers are not taken: memory is bounded. */
static void who_takes_no_answers_is_read_no_further(void **state)
{
    web w = {.received = answer_long};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    rotor_memory_window(w.client, 0);
    for (int i = 0; i < 20; i++)
        web_send(&w, GET("/"));
    assert_in_range(w.requests, 2, 3);
    for (int i = 0; i < 40; i++) {
        rotor_memory_window(w.client, 30000);
        web_turn(&w);
        web_received(&w);
    }
    assert_int_equal(w.requests, 20);
    web_close(&w);
}

/* -- the date ---------------------------------------------------------------------------------- */

static const char *date_now(web *w)
{
    static char date[ROTOR_HTTP_DATE_SIZE];
    web_send(w, GET("/"));
    memcpy(date, strstr(web_received(w), "Date: ") + 6, sizeof date - 1);
    return date;
}

static void the_wall_clock_is_read_once_a_second(void **state)
{
    web w = {0};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    test_wall_ms += 300;
    assert_string_equal(date_now(&w), "Sun, 06 Nov 1994 08:49:37 GMT");
    test_wall_ms += 86400000; /* which goes unnoticed */
    test_monotonic_ms += 699;
    assert_string_equal(date_now(&w), "Sun, 06 Nov 1994 08:49:37 GMT");
    test_monotonic_ms += 1;
    assert_string_equal(date_now(&w), "Mon, 07 Nov 1994 08:49:37 GMT");
    test_wall_ms += 86400000;
    test_monotonic_ms += 699; /* the second began when it was read */
    assert_string_equal(date_now(&w), "Mon, 07 Nov 1994 08:49:37 GMT");
    test_monotonic_ms += 1;
    assert_string_equal(date_now(&w), "Tue, 08 Nov 1994 08:49:37 GMT");
    web_close(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(good_conversations),
        TEST(bad_conversations),
        TEST(a_nul_is_refused),
        TEST(refusals_of_head_have_no_body),
        TEST(continue_is_sent_when_the_body_is_not_there_yet),
        TEST(continue_comes_behind_earlier_answers),
        TEST(continue_is_not_sent_for_no_body),
        TEST(a_burst_is_answered_in_one_write),
        TEST(who_takes_no_answers_is_read_no_further),
        TEST(the_wall_clock_is_read_once_a_second),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
