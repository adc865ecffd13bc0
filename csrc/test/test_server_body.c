/* Bodies that are told as they come, and what headers_received may say of them. */
#include "test.h"

#include "support.h"
#include "web.h"

#define HOST          "Host: h\r\n"
#define GET(target)   "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST(n, body) "POST /p HTTP/1.1\r\n" HOST "Content-Length: " #n "\r\n\r\n" body
#define CHUNKED(body) "POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n" body

static void open_and_connect(web *w)
{
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

/* What has come of the body, over all chunks, is kept here. */
static char body[1024];
static size_t chunks;

static rotor_http_receive progressive(rotor_http *h, rotor_scope *scope)
{
    body[0] = '\0';
    chunks = 0;
    return rotor_http_progressive(0);
}

static rotor_http_receive buffered(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_buffered(0);
}

static rotor_response keep(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    size_t len = strlen(body);
    assert_true(data.len > 0 && len + data.len < sizeof body);
    assert_int_equal(rotor_http_body(h).len, data.len);
    memcpy(body + len, data.data, data.len);
    body[len + data.len] = '\0';
    chunks++;
    return rotor_ok();
}

static rotor_response answer_body(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_send_text(h, 200, body);
    return error ? rotor_error(error) : rotor_done();
}

static rotor_response end_waits(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

/* -- whole and in pieces ----------------------------------------------------------------------- */

static const char burst[] = POST(3, "abc") CHUNKED("2\r\nde\r\n1;x=y\r\nf\r\n0\r\n\r\n") GET("/1")
    POST(0, "") CHUNKED("0\r\n\r\n") POST(2, "gh");
static const char answers[] = OK(3, "abc") OK(3, "def") OK(0, "") OK(0, "") OK(0, "") OK(2, "gh");
static const char log_of_burst[] = "POST /p end over POST /c end over GET /1 end over POST /p end "
                                   "over POST /c end over POST /p end over";

static void bodies_come_in_pieces(void **state)
{
    web w = {.headers = progressive, .chunk = keep, .end = answer_body};
    open_and_connect(&w);
    web_asks(&w, burst, answers);
    assert_string_equal(w.log, log_of_burst);
    for (size_t cut = 1; cut < sizeof burst - 1; cut++) {
        char all[sizeof answers + 1] = "";
        assert_int_equal(web_connect(&w), 0);
        web_send_bytes(&w, burst, cut);
        strcat(all, web_received(&w));
        web_send(&w, burst + cut);
        strcat(all, web_received(&w));
        assert_string_equal(all, answers);
    }
    assert_int_equal(web_connect(&w), 0);
    rotor_memory_split(w.client, 1);
    web_asks(&w, burst, answers);
    web_close(&w);
}

/* Without headers_received, and without request_received, bodies are progressive. */
static void a_handler_of_chunks_needs_no_headers_received(void **state)
{
    web w = {.chunk = keep, .end = answer_body};
    open_and_connect(&w);
    body[0] = '\0';
    web_asks(&w, POST(3, "abc"), OK(3, "abc"));
    body[0] = '\0';
    web_asks(&w, GET("/"), OK(0, ""));
    web_close(&w);
}

static rotor_response is_there(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_send(h, 200, rotor_http_body(h)), 0);
    return rotor_done();
}

static void headers_received_may_want_it_whole(void **state)
{
    web w = {.headers = buffered, .received = is_there};
    open_and_connect(&w);
    web_asks(&w, burst, answers);
    for (size_t cut = 1; cut < sizeof burst - 1; cut++) {
        assert_int_equal(web_connect(&w), 0);
        web_send_bytes(&w, burst, cut);
        web_send(&w, burst + cut);
        assert_string_equal(web_received(&w), answers);
    }
    web_close(&w);
}

/* -- limits ------------------------------------------------------------------------------------ */

static rotor_http_receive at_most_three(rotor_http *h, rotor_scope *scope)
{
    body[0] = '\0';
    return rotor_http_query(h).data ? rotor_http_buffered(3) : rotor_http_progressive(3);
}

static void a_body_has_the_limit_that_was_said(void **state)
{
    static const char *const fits[] = {POST(3, "abc"), CHUNKED("3\r\nabc\r\n0\r\n\r\n"),
                                       "POST /?b HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"};
    static const char *const does_not[] = {POST(4, "abcd"), CHUNKED("4\r\nabcd\r\n0\r\n\r\n"),
                                           CHUNKED("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"),
                                           "POST /?b HTTP/1.1\r\n" HOST
                                           "Content-Length: 4\r\n\r\nabcd"};
    web w = {.headers = at_most_three, .chunk = keep, .end = answer_body, .received = is_there};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(web_connect(&w), 0);
        web_asks(&w, fits[i], OK(3, "abc"));
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(web_connect(&w), 0);
        web_asks(&w, does_not[i], web_refusal(413, rotor_strerror(ROTOR_HTTP_EBODYSIZE)));
    }
    web_close(&w);
}

/* A progressive body may be larger than what is buffered. */
static void a_progressive_body_has_no_limit_of_its_own(void **state)
{
    web w = {.config.limits.body = 2, .chunk = keep, .end = answer_body};
    open_and_connect(&w);
    body[0] = '\0';
    web_asks(&w, POST(3, "abc"), OK(3, "abc"));
    web_close(&w);
}

/* -- holding ----------------------------------------------------------------------------------- */

static rotor_http_receive held(rotor_http *h, rotor_scope *scope)
{
    body[0] = '\0';
    return rotor_http_receive_hold(rotor_http_progressive(0));
}

static rotor_response go_on(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

static rotor_response keep_and_hold(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    (void)keep(h, scope, data);
    return rotor_http_hold(rotor_ok());
}

static void wake(web *w)
{
    assert_int_equal(rotor_wake(w->loop, w->connection), 0);
    web_turn(w);
}

static void what_is_held_is_not_read(void **state)
{
    web w = {.headers = held, .chunk = keep_and_hold, .end = answer_body, .wakeup = go_on};
    open_and_connect(&w);
    web_send(&w, POST(6, ""));
    web_send(&w, "abc");
    assert_string_equal(w.log, "POST /p");
    wake(&w);
    assert_string_equal(body, "abc");
    web_send(&w, "def" GET("/next"));
    assert_string_equal(body, "abc");
    assert_string_equal(web_received(&w), "");
    wake(&w);
    assert_string_equal(body, "abcdef");
    assert_string_equal(w.log, "POST /p wakeup wakeup"); /* the end is held, too */
    wake(&w);
    assert_string_equal(web_received(&w), OK(6, "abcdef"));
    assert_string_equal(w.log, "POST /p wakeup wakeup wakeup end over GET /next");
    wake(&w);
    assert_string_equal(web_received(&w), OK(0, ""));
    web_close(&w);
}

/* A client that has to wait for the handler is not late; it is, when it may go on and does not. */
static void time_that_is_held_is_not_the_clients(void **state)
{
    web w = {.config.handler_ms = 100000,
             .headers = held,
             .chunk = keep,
             .end = answer_body,
             .wakeup = go_on};
    open_and_connect(&w);
    web_send(&w, POST(6, "abc"));
    web_wait(&w, 99000);
    wake(&w);
    assert_string_equal(body, "abc");
    web_wait(&w, 29999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), web_refusal(408, NULL));
    web_close(&w);
}

static void a_handler_that_holds_for_ever_is_late(void **state)
{
    web w = {.headers = held, .chunk = keep, .end = answer_body};
    open_and_connect(&w);
    web_send(&w, POST(6, "abc"));
    web_wait(&w, 29999);
    assert_string_equal(web_received(&w), "");
    web_wait(&w, 1);
    assert_string_equal(web_received(&w), web_refusal(503, NULL));
    web_close(&w);
}

/* -- 100 Continue ------------------------------------------------------------------------------ */

#define EXPECTS(n)                                                                                 \
    "POST /e HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: " #n "\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static void the_client_is_told_to_go_on_when_it_is_wanted(void **state)
{
    web w = {.headers = progressive, .chunk = keep, .end = answer_body};
    open_and_connect(&w);
    web_asks(&w, EXPECTS(3), CONTINUE);
    web_asks(&w, "abc", OK(3, "abc"));
    web_asks(&w, EXPECTS(0), OK(0, ""));
    web_asks(&w, EXPECTS(3) "a", "");
    web_asks(&w, "bc", OK(3, "abc"));
    web_close(&w);

    w = (web){.headers = held, .chunk = keep, .end = answer_body, .wakeup = go_on};
    open_and_connect(&w);
    web_asks(&w, EXPECTS(3), "");
    wake(&w);
    assert_string_equal(web_received(&w), CONTINUE);
    web_asks(&w, "abc", OK(3, "abc"));
    web_close(&w);
}

static rotor_http_receive forbid(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_send_text(h, 403, "no"), 0);
    return rotor_http_answered();
}

#define NO(connection) "HTTP/1.1 403 Forbidden\r\n" DATE connection "Content-Length: 2\r\n\r\nno"

/* The body is in the way of the next request unless it is there. */
static void an_answer_before_the_body(void **state)
{
    web w = {.headers = forbid, .received = is_there};
    open_and_connect(&w);
    web_asks(&w, EXPECTS(3), NO("Connection: close\r\n"));
    assert_true(web_is_shut(&w));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, POST(3, "a"), NO("Connection: close\r\n"));
    web_asks(&w, "bc" GET("/"), "");
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, CHUNKED("1\r\na\r\n0\r\n\r\n") GET("/"), NO("Connection: close\r\n"));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, POST(3, "abc") GET("/"), NO("") NO(""));
    assert_false(web_is_shut(&w));
    web_close(&w);
}

static rotor_response answer_early(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    (void)keep(h, scope, data);
    assert_int_equal(rotor_http_send_text(h, 200, body), 0);
    return rotor_ok();
}

static void an_answer_in_the_middle_of_the_body(void **state)
{
    web w = {.headers = progressive, .chunk = answer_early, .end = answer_body};
    open_and_connect(&w);
    web_asks(&w, POST(6, "abc"), LAST(3, "abc"));
    assert_string_equal(w.log, "POST /p over");
    assert_int_equal(web_connect(&w), 0);
    w.log[0] = '\0';
    web_asks(&w, POST(3, "abc") GET("/"), OK(3, "abc") OK(0, ""));
    assert_string_equal(w.log, "POST /p over GET / end over");
    web_close(&w);
}

static rotor_http_receive say_nothing(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_query(h).data ? rotor_http_failed(UV_EIO) : rotor_http_answered();
}

static void no_answer_at_all_is_500(void **state)
{
    web w = {.headers = say_nothing, .received = is_there};
    open_and_connect(&w);
    web_asks(&w, GET("/"), web_refusal(500, NULL));
    assert_int_equal(w.errors, 0);
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, GET("/?"), web_refusal(500, NULL));
    assert_int_equal(w.error, UV_EIO);
    web_close(&w);
}

/* -- deadlines --------------------------------------------------------------------------------- */

static rotor_http_receive five_seconds(rotor_http *h, rotor_scope *scope)
{
    rotor_http_receive how =
        rotor_http_query(h).data ? rotor_http_buffered(0) : rotor_http_progressive(0);
    body[0] = '\0';
    return rotor_http_receive_until(how, rotor_now(scope) + 5000);
}

static rotor_response too_late(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_send_text(h, 504, "late"), 0);
    return rotor_done();
}

#define LATE                                                                                       \
    "HTTP/1.1 504 Gateway Timeout\r\n" DATE "Connection: close\r\nContent-Length: 4\r\n\r\nlate"

static void the_handlers_deadline_holds_while_reading(void **state)
{
    web w = {.headers = five_seconds,
             .chunk = keep,
             .end = end_waits,
             .received = is_there,
             .timeout = too_late};
    assert_int_equal(web_open(&w), 0);
    static const char *const begun[] = {POST(6, "abc"), "POST /?b HTTP/1.1\r\n" HOST
                                                        "Content-Length: 6\r\n\r\nabc"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(web_connect(&w), 0);
        web_asks(&w, begun[i], "");
        web_wait(&w, 4999);
        web_asks(&w, "d", "");
        web_wait(&w, 1);
        if (i == 0) /* the chunk's answer has set another */
            web_wait(&w, 30000);
        assert_string_equal(web_received(&w), i == 0 ? web_refusal(408, NULL) : LATE);
    }
    web_close(&w);
}

/* -- trailers ---------------------------------------------------------------------------------- */

static rotor_response show_trailers(rotor_http *h, rotor_scope *scope)
{
    char text[256] = "";
    rotor_text name, value;
    for (size_t i = 0; rotor_http_trailer_at(h, i, &name, &value); i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s=%.*s;", (int)name.len,
                 name.data, (int)value.len, value.data);
    assert_int_equal(rotor_http_send_text(h, 200, text), 0);
    return rotor_done();
}

static void trailers_are_there_at_the_end(void **state)
{
    static const char ask[] =
        CHUNKED("3\r\nabc\r\n2\r\nde\r\n0\r\nSum: 5\r\nHost: x\r\nX:\r\n\r\n") GET("/");
    static const char shown[] = OK(9, "Sum=5;X=;") OK(0, "");
    web in_pieces = {.headers = progressive, .chunk = keep, .end = show_trailers};
    web whole = {.received = show_trailers};
    web *rigs[] = {&in_pieces, &whole};
    for (size_t i = 0; i < 2; i++) {
        web *w = rigs[i];
        open_and_connect(w);
        web_asks(w, ask, shown);
        for (size_t cut = 1; cut < sizeof ask - 1; cut++) {
            assert_int_equal(web_connect(w), 0);
            web_send_bytes(w, ask, cut);
            web_send(w, ask + cut);
            assert_string_equal(web_received(w), shown);
        }
        web_close(w);
    }
}

/* -- broken off -------------------------------------------------------------------------------- */

static void note_bad(rotor_http *h, rotor_scope *scope, int error)
{
    web_note(web_of(h), "%s", rotor_err_name(error));
}

static void a_client_that_leaves_in_the_body_is_told(void **state)
{
    web w = {.headers = progressive, .chunk = keep, .end = answer_body, .bad = note_bad};
    open_and_connect(&w);
    web_send(&w, POST(6, "abc"));
    rotor_memory_shutdown(w.client);
    web_turn(&w);
    assert_string_equal(web_received(&w), web_refusal(400, rotor_strerror(ROTOR_EEOF)));
    assert_string_equal(w.log, "POST /p bad EEOF over");
    w.log[0] = '\0';
    assert_int_equal(web_connect(&w), 0);
    web_send(&w, POST(6, "abc"));
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    assert_string_equal(w.log, "POST /p over");
    web_close(&w);
}

/* -- error pages ------------------------------------------------------------------------------- */

static void own_page(rotor_http *h, rotor_scope *scope, int status, const char *why)
{
    assert_int_equal(rotor_http_add_text(h, "X-Why", why ? why : "?"), 0);
    if (status != 413)
        assert_int_equal(rotor_http_send_text(h, status, "sorry\n"), 0);
}

static void own_answer(rotor_http *h, rotor_scope *scope, int error)
{
    if (error == ROTOR_HTTP_EVERSION)
        assert_int_equal(rotor_http_send_text(h, 418, "pot\n"), 0);
}

static void error_pages_are_the_handlers(void **state)
{
    web w = {.page = own_page, .bad = own_answer, .config.limits.body = 2};
    open_and_connect(&w);
    web_asks(&w, GET("/") "bad\r\n\r\n",
             OK(5, "GET /") "HTTP/1.1 400 Bad Request\r\n" DATE
                            "Connection: close\r\nX-Why: malformed request line (section 3)\r\n"
                            "Content-Length: 6\r\n\r\nsorry\n");
    assert_true(web_is_shut(&w));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, "GET / HTTQ/1.1\r\n\r\n",
             "HTTP/1.1 418 \r\n" DATE "Connection: close\r\nContent-Length: 4\r\n\r\npot\n");
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, POST(3, ""),
             "HTTP/1.1 413 Content Too Large\r\n" DATE
             "Connection: close\r\nX-Why: body too large (RFC 9110 15.5.14)\r\n"
             "Content-Type: text/plain\r\nContent-Length: 57\r\n\r\n"
             "413 Content Too Large: body too large (RFC 9110 15.5.14)\n");
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, "HEAD / HTTP/1.1\r\n\r\n",
             "HTTP/1.1 400 Bad Request\r\n" DATE "Connection: close\r\n"
             "X-Why: missing, repeated or invalid Host (section 3.2)\r\n"
             "Content-Length: 6\r\n\r\n");
    web_close(&w);
}

/* -- memory ------------------------------------------------------------------------------------ */

static rotor_response show_what_there_is(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_send_text(h, 200, body);
    return error ? rotor_error(error) : rotor_done();
}

static void a_body_in_pieces(void)
{
    static const char ask[] = CHUNKED("3\r\nabc\r\n0\r\nSum: 5\r\n\r\n") POST(2, "d");
    web w = {.headers = progressive, .chunk = keep, .end = show_what_there_is};
    if (web_open(&w))
        return;
    if (web_connect(&w) == 0) {
        rotor_memory_split(w.client, 30);
        if (rotor_memory_send(w.client, ask, sizeof ask - 1) == 0)
            web_turn(&w);
        if (test_alloc_failed() == 0)
            assert_string_equal(w.log, "POST /c end over POST /p");
    }
    web_close(&w);
}

static void memory_may_run_out(void **state)
{
    test_out_of_memory(a_body_in_pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bodies_come_in_pieces),
        TEST(a_handler_of_chunks_needs_no_headers_received),
        TEST(headers_received_may_want_it_whole),
        TEST(a_body_has_the_limit_that_was_said),
        TEST(a_progressive_body_has_no_limit_of_its_own),
        TEST(what_is_held_is_not_read),
        TEST(time_that_is_held_is_not_the_clients),
        TEST(a_handler_that_holds_for_ever_is_late),
        TEST(the_client_is_told_to_go_on_when_it_is_wanted),
        TEST(an_answer_before_the_body),
        TEST(an_answer_in_the_middle_of_the_body),
        TEST(no_answer_at_all_is_500),
        TEST(the_handlers_deadline_holds_while_reading),
        TEST(trailers_are_there_at_the_end),
        TEST(a_client_that_leaves_in_the_body_is_told),
        TEST(error_pages_are_the_handlers),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
