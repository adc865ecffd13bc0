/* Requests in the making, and what redirects make of them. */
#include "test.h"

#include "../http/ask.h"
#include "support.h"

static rotor_text text_of(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

#define AGENT "User-Agent: rotor\r\n"

static rotor_http_ask begin(const char *method, const char *url)
{
    rotor_http_ask ask;
    assert_int_equal(rotor_http_ask_init_text(&ask, method, url), 0);
    return ask;
}

static void add(rotor_http_ask *ask, const char *name, const char *value)
{
    assert_int_equal(rotor_http_ask_add_text(ask, name, value), 0);
}

static void assert_writes(const rotor_http_ask *ask, const char *expected)
{
    rotor_buf out = ROTOR_BUF_INIT;
    assert_int_equal(rotor_http_ask_write(ask, &out), 0);
    assert_int_equal(rotor_buf_extend(&out, "", 1), 0);
    assert_string_equal(rotor_buf_data(&out), expected);
    rotor_buf_fini(&out);
}

static void end(rotor_http_ask *ask, const char *expected)
{
    assert_writes(ask, expected);
    rotor_http_ask_fini(ask);
}

static void heads(void **state)
{
    rotor_http_ask a = begin("GET", "http://h");
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
    a = begin("PURGE", "http://[::1]:8080/a?b#c");
    end(&a, "PURGE /a?b HTTP/1.1\r\nHost: [::1]:8080\r\n" AGENT "\r\n");
    a = begin("DELETE", "http://h:80/");
    add(&a, "X-A", "1");
    add(&a, "x-b", "");
    add(&a, "X-A", "\t\x80 2");
    end(&a, "DELETE / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-b: \r\nX-A: \t\x80 2\r\n" AGENT "\r\n");
}

static void forms_of_the_target(void **state)
{
    rotor_http_ask a = begin("OPTIONS", "http://h");
    end(&a, "OPTIONS * HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
    a = begin("OPTIONS", "http://h/");
    end(&a, "OPTIONS / HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
    a = begin("OPTIONS", "http://h?");
    end(&a, "OPTIONS /? HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
    a = begin("CONNECT", "http://h:443");
    end(&a, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n" AGENT "\r\n");
    a = begin("GET", "http://h/x?y");
    a.absolute = true;
    end(&a, "GET http://h/x?y HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
}

static void the_user_agent(void **state)
{
    rotor_http_ask a = begin("GET", "http://h");
    add(&a, "user-agent", "mine");
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\nuser-agent: mine\r\n\r\n");
    a = begin("GET", "http://h");
    add(&a, "User-Agent", "");
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

static void connections(void **state)
{
    rotor_http_ask a = begin("GET", "http://h");
    add(&a, "Connection", "Close");
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\n" AGENT "Connection: close\r\n\r\n");
    a = begin("GET", "http://h");
    add(&a, "Upgrade", "websocket");
    end(&a,
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n" AGENT "Connection: Upgrade\r\n\r\n");
    a = begin("GET", "http://h");
    add(&a, "TE", "trailers");
    add(&a, "Connection", "close");
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n" AGENT "Connection: close, TE\r\n\r\n");
}

static void bodies(void **state)
{
    rotor_http_ask a = begin("POST", "http://h");
    assert_int_equal(rotor_http_ask_body(&a, text_of("abc")), 0);
    end(&a, "POST / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 3\r\n\r\n");
    a = begin("GET", "http://h");
    assert_int_equal(rotor_http_ask_body(&a, (rotor_text){NULL, 0}), 0);
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 0\r\n\r\n");
    static const char *const usually_with[] = {"POST", "PUT", "PATCH"};
    for (int i = 0; i < 3; i++) {
        char expected[128];
        a = begin(usually_with[i], "http://h");
        snprintf(expected, sizeof expected,
                 "%s / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 0\r\n\r\n", usually_with[i]);
        end(&a, expected);
    }
    a = begin("PUT", "http://h");
    assert_int_equal(rotor_http_ask_stream(&a, UINT64_MAX - 1), 0);
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 18446744073709551614\r\n\r\n");
    a = begin("PUT", "http://h");
    assert_int_equal(rotor_http_ask_stream(&a, ROTOR_HTTP_NO_LENGTH), 0);
    a.expect_continue = true;
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    a = begin("PUT", "http://h");
    add(&a, "Expect", "100-Continue");
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 0\r\n\r\n");
}

static void lengths_that_are_declared(void **state)
{
    rotor_buf out = ROTOR_BUF_INIT;
    rotor_http_ask a = begin("PUT", "http://h");
    add(&a, "Content-Length", "3");
    assert_int_equal(rotor_http_ask_add_text(&a, "content-length", "3"), ROTOR_EHEADER);
    assert_int_equal(rotor_http_ask_write(&a, &out), ROTOR_EBODY);
    assert_int_equal(rotor_http_ask_body(&a, text_of("ab")), ROTOR_EBODY);
    assert_int_equal(rotor_http_ask_stream(&a, 4), ROTOR_EBODY);
    assert_int_equal(rotor_http_ask_body(&a, text_of("abc")), 0);
    assert_int_equal(rotor_http_ask_body(&a, text_of("abc")), ROTOR_EBODY);
    assert_int_equal(rotor_http_ask_stream(&a, 3), ROTOR_EBODY);
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 3\r\n\r\n");
    a = begin("PUT", "http://h");
    add(&a, "Content-Length", "5");
    assert_int_equal(rotor_http_ask_stream(&a, ROTOR_HTTP_NO_LENGTH), 0);
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 5\r\n\r\n");
    a = begin("PUT", "http://h");
    assert_int_equal(rotor_http_ask_stream(&a, ROTOR_HTTP_NO_LENGTH), 0);
    add(&a, "Content-Length", "6");
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 6\r\n\r\n");
    a = begin("PUT", "http://h");
    assert_int_equal(rotor_http_ask_stream(&a, 7), 0);
    assert_int_equal(rotor_http_ask_add_text(&a, "Content-Length", "6"), ROTOR_EHEADER);
    assert_int_equal(rotor_http_ask_add_text(&a, "Content-Length", "7"), 0);
    end(&a, "PUT / HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 7\r\n\r\n");
}

static void methods_without_a_body(void **state)
{
    static const char *const methods[] = {"TRACE", "CONNECT"};
    for (int i = 0; i < 2; i++) {
        rotor_http_ask a = begin(methods[i], "http://h");
        assert_int_equal(rotor_http_ask_body(&a, text_of("")), ROTOR_EBODY);
        assert_int_equal(rotor_http_ask_stream(&a, 1), ROTOR_EBODY);
        rotor_http_ask_fini(&a);
    }
}

static void what_is_refused(void **state)
{
    static const char *const headers[][2] = {
        {"", "x"},
        {"a b", "x"},
        {"a:", "x"},
        {"a\r\nb", "x"},
        {"a", "x\r\nb: c"},
        {"a", "x\ny"},
        {"a", "x\ry"},
        {"a", "\x01"},
        {"a", "\x7f"},
        {"Host", "other"},
        {"Transfer-Encoding", "chunked"},
        {"Connection", "keep-alive"},
        {"Connection", "close, x"},
        {"Expect", "x"},
        {"Content-Length", "x"},
        {"Content-Length", ""},
        {"Content-Length", "-1"},
        {"Content-Length", "+1"},
        {"Content-Length", "1 "},
        {"Content-Length", "99999999999999999999"},
        {"User-Agent", "a\nb"},
    };
    rotor_http_ask a = begin("GET", "http://h");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_int_equal(rotor_http_ask_add_text(&a, headers[i][0], headers[i][1]), ROTOR_EHEADER);
    assert_int_equal(rotor_http_ask_add(&a, text_of("a"), (rotor_text){"b\0c", 3}), ROTOR_EHEADER);
    assert_int_equal(rotor_http_ask_add(&a, (rotor_text){"b\0c", 3}, text_of("a")), ROTOR_EHEADER);
    end(&a, "GET / HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");

    static const char *const methods[] = {"", "GE T", "GET\r\nX:", "G\xc3\xa4T", "GET/"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        assert_int_equal(rotor_http_ask_init_text(&a, methods[i], "http://h"), ROTOR_HTTP_EMETHOD);
    assert_int_equal(rotor_http_ask_init_text(&a, "GET", "h"), ROTOR_HTTP_EURL);
    rotor_http_ask_fini(&a);
}

static void addresses(void **state)
{
    rotor_http_ask a = begin("GET", "http://h");
    assert_int_equal(rotor_http_ask_address(&a, "unix:/x"), 0);
    assert_int_equal(rotor_http_ask_address(&a, "[::1]:1"), 0);
    assert_int_equal(rotor_http_ask_address(&a, "no address"), ROTOR_EADDRESS);
    assert_string_equal(a.address, "[::1]:1");
    rotor_http_ask_fini(&a);
}

static void idempotent_methods(void **state)
{
    static const struct {
        const char *method;
        bool is;
    } cases[] = {
        {"GET", true},    {"HEAD", true}, {"OPTIONS", true}, {"TRACE", true},  {"PUT", true},
        {"DELETE", true}, {"get", false}, {"POST", false},   {"PATCH", false}, {"CONNECT", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rotor_http_ask a = begin(cases[i].method, "http://h");
        assert_int_equal(rotor_http_ask_is_idempotent(&a), cases[i].is);
        rotor_http_ask_fini(&a);
    }
}

/* -- redirects --------------------------------------------------------------------------------- */

static void statuses(void **state)
{
    for (int status = 100; status < 600; status++) {
        bool is = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
        assert_int_equal(rotor_http_is_redirect(status), is);
    }
}

static void methods_after_a_redirect(void **state)
{
    static const struct {
        int status;
        const char *method, *then;
    } cases[] = {
        {301, "GET", "GET"},   {301, "HEAD", "HEAD"}, {301, "POST", "GET"},   {301, "PUT", "PUT"},
        {302, "GET", "GET"},   {302, "POST", "GET"},  {302, "PUT", "PUT"},    {302, "X", "X"},
        {303, "GET", "GET"},   {303, "HEAD", "HEAD"}, {303, "POST", "GET"},   {303, "PUT", "GET"},
        {303, "X", "GET"},     {307, "POST", "POST"}, {307, "PUT", "PUT"},    {308, "POST", "POST"},
        {308, "HEAD", "HEAD"}, {308, "GET", "GET"},   {303, "DELETE", "GET"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[128];
        rotor_http_ask a = begin(cases[i].method, "http://h/a");
        assert_int_equal(rotor_http_ask_redirect(&a, cases[i].status, text_of("b"), false), 0);
        bool bodied = !strcmp(cases[i].then, "POST") || !strcmp(cases[i].then, "PUT");
        snprintf(expected, sizeof expected, "%s /b HTTP/1.1\r\nHost: h\r\n" AGENT "%s\r\n",
                 cases[i].then, bodied ? "Content-Length: 0\r\n" : "");
        end(&a, expected);
    }
}

static void bodies_after_a_redirect(void **state)
{
    rotor_http_ask a = begin("POST", "http://h/a");
    add(&a, "X", "1");
    add(&a, "content-type", "text/plain");
    add(&a, "Content-Language", "la");
    add(&a, "Y", "2");
    add(&a, "Expect", "100-continue");
    assert_int_equal(rotor_http_ask_body(&a, text_of("abc")), 0);
    assert_int_equal(rotor_http_ask_redirect(&a, 307, text_of("/b"), true), 0);
    assert_writes(&a, "POST /b HTTP/1.1\r\nHost: h\r\nX: 1\r\ncontent-type: text/plain\r\n"
                      "Content-Language: la\r\nY: 2\r\n" AGENT
                      "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(rotor_buf_len(&a.body), 3);
    assert_int_equal(rotor_http_ask_redirect(&a, 303, text_of("/c"), true), 0);
    assert_int_equal(rotor_buf_len(&a.body), 0);
    end(&a, "GET /c HTTP/1.1\r\nHost: h\r\nX: 1\r\nY: 2\r\n" AGENT "\r\n");

    a = begin("POST", "http://h/a");
    assert_int_equal(rotor_http_ask_stream(&a, 3), 0);
    assert_int_equal(rotor_http_ask_redirect(&a, 308, text_of("/b"), false), 0);
    assert_int_equal(rotor_http_ask_redirect(&a, 308, text_of("/c"), true), ROTOR_HTTP_EREPLAY);
    assert_writes(&a, "POST /b HTTP/1.1\r\nHost: h\r\n" AGENT "Content-Length: 3\r\n\r\n");
    assert_int_equal(rotor_http_ask_redirect(&a, 302, text_of("/c"), true), 0);
    end(&a, "GET /c HTTP/1.1\r\nHost: h\r\n" AGENT "\r\n");
}

static void credentials_stay_with_their_origin(void **state)
{
    static const char *const elsewhere[] = {"http://i/", "http://h:81/", "//i"};
    for (size_t i = 0; i < 3; i++) {
        rotor_http_ask a = begin("GET", "http://h/");
        add(&a, "authorization", "Basic x");
        add(&a, "Cookie", "a=b");
        add(&a, "X", "1");
        add(&a, "COOKIE", "c=d");
        add(&a, "Proxy-Authorization", "y");
        assert_int_equal(rotor_http_ask_address(&a, "unix:/x"), 0);
        assert_int_equal(rotor_http_ask_redirect(&a, 302, text_of("/b"), false), 0);
        assert_int_equal(rotor_http_ask_redirect(&a, 302, text_of("http://H:80/c"), false), 0);
        assert_string_equal(a.address, "unix:/x");
        assert_writes(&a, "GET /c HTTP/1.1\r\nHost: h\r\nauthorization: Basic x\r\nCookie: a=b\r\n"
                          "X: 1\r\nCOOKIE: c=d\r\nProxy-Authorization: y\r\n" AGENT "\r\n");
        assert_int_equal(rotor_http_ask_redirect(&a, 302, text_of(elsewhere[i]), false), 0);
        assert_null(a.address);
        rotor_buf out = ROTOR_BUF_INIT;
        assert_int_equal(rotor_http_ask_write(&a, &out), 0);
        assert_true(rotor_buf_find(&out, "\r\nX: 1\r\nUser-Agent", 17, 0) > 0);
        assert_int_equal(rotor_buf_find(&out, "uthorization", 12, 0), -1);
        assert_int_equal(rotor_buf_find(&out, "a=b", 3, 0), -1);
        assert_int_equal(rotor_buf_find(&out, "c=d", 3, 0), -1);
        rotor_buf_fini(&out);
        rotor_http_ask_fini(&a);
    }
}

static void locations_that_lead_nowhere(void **state)
{
    rotor_http_ask a = begin("POST", "http://h/a");
    add(&a, "Cookie", "x");
    assert_int_equal(rotor_http_ask_redirect(&a, 301, text_of("https://i/"), false),
                     ROTOR_HTTP_ESCHEME);
    assert_int_equal(rotor_http_ask_redirect(&a, 301, text_of("//"), false), ROTOR_HTTP_EURL);
    assert_int_equal(rotor_http_ask_redirect(&a, 301, text_of("http://u@i/"), false),
                     ROTOR_HTTP_EUSERINFO);
    end(&a, "POST /a HTTP/1.1\r\nHost: h\r\nCookie: x\r\n" AGENT "Content-Length: 0\r\n\r\n");
}

/* -- memory ------------------------------------------------------------------------------------ */

static int make(rotor_http_ask *ask, rotor_buf *out)
{
    int error = rotor_http_ask_init_text(ask, "POST", "http://h/");
    if (!error)
        error = rotor_http_ask_address(ask, "127.0.0.1:1");
    if (!error)
        error = rotor_http_ask_add_text(ask, "a", "b");
    if (!error)
        error = rotor_http_ask_body(ask, text_of("body"));
    if (!error)
        error = rotor_http_ask_redirect(ask, 307, text_of("/x"), true);
    return error ? error : rotor_http_ask_write(ask, out);
}

static void out_of_memory(void)
{
    rotor_http_ask ask;
    rotor_buf out = ROTOR_BUF_INIT;
    int error = make(&ask, &out);
    assert_true(error == 0 || (error == UV_ENOMEM && test_alloc_failed() > 0));
    rotor_buf_fini(&out);
    rotor_http_ask_fini(&ask);
}

static void memory_that_is_short(void **state)
{
    test_out_of_memory(out_of_memory);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(heads),
        TEST(forms_of_the_target),
        TEST(the_user_agent),
        TEST(connections),
        TEST(bodies),
        TEST(lengths_that_are_declared),
        TEST(methods_without_a_body),
        TEST(what_is_refused),
        TEST(addresses),
        TEST(idempotent_methods),
        TEST(statuses),
        TEST(methods_after_a_redirect),
        TEST(bodies_after_a_redirect),
        TEST(credentials_stay_with_their_origin),
        TEST(locations_that_lead_nowhere),
        TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
