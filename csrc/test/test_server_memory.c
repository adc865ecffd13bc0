/* What the server keeps, how little that is, and what it does when memory is short. */
#include "test.h"

#include "../http/private.h"
#include "support.h"
#include "web.h"

#define HOST         "Host: h\r\n"
#define GET(target)  "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST         "POST /p HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n"
#define POST_CHUNKED "POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

static void open_and_connect(web *w)
{
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

/* -- idle connections -------------------------------------------------------------------------- */

/* The budget is 400 bytes for an idle connection with all that malloc adds. */
static void a_connection_is_small(void **state)
{
    assert_in_range(sizeof(rotor_http), 1, 368);
}

static rotor_response with_many_headers(rotor_http *h, rotor_scope *scope)
{
    for (int i = 0; i < 500; i++)
        assert_int_equal(rotor_http_add_text(h, "X-Long", "01234567890123456789"), 0);
    return rotor_http_query(h).data ? rotor_ok() : web_answer(h, scope);
}

/* Asks, is answered, and finds that the connection holds as many blocks as before. */
static void holds_nothing_behind(web *w, const char *ask)
{
    for (size_t split = 0; split <= 1; split++) {
        size_t before = test_alloc_live();
        int requests = w->requests;
        rotor_memory_split(w->client, split);
        web_send(w, ask);
        while (w->overs < w->requests) {
            assert_int_equal(rotor_wake(w->loop, w->connection), 0);
            web_turn(w);
        }
        assert_true(w->requests > requests);
        web_received(w);
        assert_false(web_is_shut(w));
        assert_int_equal(test_alloc_live(), before);
    }
}

static void an_idle_connection_holds_no_buffer(void **state)
{
    web w = {.wakeup = web_answer};
    open_and_connect(&w);
    holds_nothing_behind(&w, GET("/"));
    holds_nothing_behind(&w, GET("/") GET("/") GET("/"));
    holds_nothing_behind(&w, POST "abc" POST_CHUNKED "1\r\na\r\n0\r\n\r\n");
    w.received = with_many_headers;
    holds_nothing_behind(&w, GET("/") POST "abc");
    holds_nothing_behind(&w, GET("/?") POST "abc" GET("/?"));
    w.received = web_waits;
    holds_nothing_behind(&w, GET("/") POST "abc" GET("/"));
    web_close(&w);
}

static void a_new_connection_is_one_block(void **state)
{
    web w = {0};
    open_and_connect(&w);
    size_t one = test_alloc_live();
    rotor_memory *first = w.client;
    w.client = NULL;
    assert_int_equal(web_connect(&w), 0);
    assert_int_equal(test_alloc_live(), one + 2); /* of which one is the client's */
    rotor_memory_free(first);
    web_close(&w);
}

/* -- what is kept while a handler waits -------------------------------------------------------- */

static void check_request(rotor_http *h)
{
    rotor_text name, value;
    assert_true(is(rotor_http_method(h), "PUT"));
    assert_true(is(rotor_http_target(h), "/a/b?c=d"));
    assert_true(is(rotor_http_path(h), "/a/b"));
    assert_true(is(rotor_http_query(h), "c=d"));
    assert_true(is(rotor_http_body(h), "chunked body"));
    assert_int_equal(rotor_http_minor(h), 1);
    assert_true(is(rotor_http_header(h, "x-twice", 7), "1"));
    assert_null(rotor_http_header(h, "x-twic", 6).data);
    assert_true(is(rotor_http_header(h, "EMPTY", 5), ""));
    assert_non_null(rotor_http_header(h, "EMPTY", 5).data);
    assert_true(rotor_http_header_at(h, 3, &name, &value));
    assert_true(is(name, "X-Twice") && is(value, "2"));
    assert_false(rotor_http_header_at(h, 5, &name, &value));
    assert_ptr_equal(rotor_http_stream(h), h);
    assert_ptr_equal(*rotor_http_data(h), web_of(h));
}

static rotor_response check_and_add(rotor_http *h, rotor_scope *scope)
{
    check_request(h);
    for (int i = 0; i < 200; i++)
        assert_int_equal(rotor_http_add_text(h, "X-Long", "01234567890123456789"), 0);
    return rotor_ok();
}

static rotor_response check_and_send(rotor_http *h, rotor_scope *scope)
{
    check_request(h);
    assert_int_equal(rotor_http_add_text(h, "X-Last", "1"), 0);
    assert_int_equal(rotor_http_send_text(h, 200, "done"), 0);
    return rotor_done();
}

static void request_and_response_survive_a_wait(void **state)
{
    static const char ask[] = "PUT /a/b?c=d HTTP/1.1\r\n" HOST
                              "X-Twice: 1\r\nEmpty:\r\nX-Twice: 2\r\nTransfer-Encoding: chunked\r\n"
                              "\r\n8\r\nchunked \r\n4\r\nbody\r\n0\r\n\r\n" GET("/next");
    static char expected[16384];
    strcpy(expected, "HTTP/1.1 200 OK\r\n" DATE);
    for (int i = 0; i < 200; i++)
        strcat(expected, "X-Long: 01234567890123456789\r\n");
    strcat(expected, "X-Last: 1\r\nContent-Length: 4\r\n\r\ndone");
    for (size_t split = 0; split < 3; split++) {
        web w = {.received = check_and_add, .wakeup = check_and_send};
        open_and_connect(&w);
        rotor_memory_split(w.client, split);
        web_send(&w, ask);
        w.received = web_waits;
        rotor_wake(w.loop, w.connection);
        web_turn(&w);
        assert_string_equal(web_received(&w), expected);
        assert_string_equal(w.log, "PUT /a/b?c=d wakeup over GET /next");
        web_close(&w);
    }
}

static void targets_of_other_forms(void **state)
{
    static const struct {
        const char *target, *path;
    } cases[] = {{"http://x", "/"}, {"http://x?q", "/"}, {"http://x/y", "/y"}, {"/", "/"}};
    web w = {.received = web_waits};
    open_and_connect(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char ask[128];
        snprintf(ask, sizeof ask, "GET %s HTTP/1.1\r\n" HOST "\r\n", cases[i].target);
        web_send(&w, ask);
        rotor_http *h = rotor_http_find(w.loop, w.ref);
        assert_true(is(rotor_http_target(h), cases[i].target));
        assert_true(is(rotor_http_path(h), cases[i].path));
        assert_int_equal(rotor_http_query(h).data != NULL, strchr(cases[i].target, '?') != NULL);
        assert_int_equal(rotor_http_send_text(h, 200, ""), 0);
        web_turn(&w);
    }
    web_close(&w);
}

static rotor_response add_and_wait(rotor_http *h, rotor_scope *scope)
{
    rotor_text target = rotor_http_target(h);
    assert_int_equal(rotor_http_add(h, (rotor_text){"For", 3}, target), 0);
    return rotor_ok();
}

static void several_clients_wait_at_once(void **state)
{
    enum { CLIENTS = 20 };
    web w = {.received = add_and_wait};
    rotor_memory *clients[CLIENTS];
    rotor_http_ref refs[CLIENTS];
    assert_int_equal(web_open(&w), 0);
    for (int i = 0; i < CLIENTS; i++) {
        char ask[64];
        assert_int_equal(web_connect(&w), 0);
        snprintf(ask, sizeof ask, "GET /%d HTTP/1.1\r\n" HOST "\r\n", 10 + i);
        web_send(&w, ask);
        clients[i] = w.client;
        refs[i] = w.ref;
        w.client = NULL;
    }
    assert_int_equal(w.requests - w.overs, CLIENTS);
    for (int i = CLIENTS - 1; i >= 0; i--) {
        char expected[256];
        rotor_scope scope = {.loop = w.loop};
        web_answer(rotor_http_find(w.loop, refs[i]), &scope);
        web_turn(&w);
        w.client = clients[i];
        snprintf(expected, sizeof expected,
                 "HTTP/1.1 200 OK\r\n" DATE "For: /%d\r\nContent-Length: 7\r\n\r\nGET /%d", 10 + i,
                 10 + i);
        assert_string_equal(web_received(&w), expected);
        rotor_memory_free(clients[i]);
        w.client = NULL;
    }
    web_close(&w);
}

/* -- when memory is short ---------------------------------------------------------------------- */

/* Where memory does not allow to send, the client says no more. */
static void try_to_send(web *w, const char *text)
{
    bool *mute = w->context;
    *mute = *mute || rotor_memory_send(w->client, text, strlen(text));
    web_turn(w);
}

/* Whatever there is must be whole answers, each with a status that can have come of this. */
static void check_answers(web *w)
{
    const char *at = web_received(w);
    while (*at) {
        int status, length = 0;
        assert_int_equal(sscanf(at, "HTTP/1.1 %d ", &status), 1);
        assert_true(status == 100 || status == 200 || status == 408 || status == 500);
        const char *end = strstr(at, "\r\n\r\n");
        assert_non_null(end);
        const char *field = strstr(at, "Content-Length: ");
        if (status != 100)
            assert_int_equal(sscanf(field, "Content-Length: %d", &length), 1);
        at = end + 4;
        assert_true(strlen(at) >= (size_t)length);
        at += length;
    }
}

static rotor_response answer_or_wait(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_add_text(h, "A", "b");
    if (error)
        return rotor_error(error);
    return rotor_http_query(h).data ? rotor_ok() : web_answer(h, scope);
}

static rotor_response answer_long(rotor_http *h, rotor_scope *scope)
{
    static char body[70000];
    memset(body, 'x', sizeof body);
    int error = rotor_http_send(h, 200, (rotor_text){body, sizeof body});
    return error ? rotor_error(error) : rotor_done();
}

/* The input may be gone by then, but not be read behind its end. */
static void read_all(rotor_http *h)
{
    rotor_text texts[] = {rotor_http_method(h), rotor_http_target(h),
                          rotor_http_path(h),   rotor_http_query(h),
                          rotor_http_body(h),   rotor_http_header(h, "host", 4)};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t at = 0; at < texts[i].len; at++)
            assert_int_not_equal(texts[i].data[at], 0);
}

static void converse(web *w, size_t split)
{
    rotor_memory_split(w->client, split);
    try_to_send(w, GET("/1") GET("/2?") GET("/3"));
    try_to_send(w, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    if (!web_is_gone(w))
        rotor_wake(w->loop, w->connection);
    try_to_send(w, "abc" POST_CHUNKED "3\r\nabc");
    try_to_send(w, "\r\n0\r\n\r\n");
    check_answers(w);
    w->wakeup = answer_long;
    try_to_send(w, GET("/4?"));
    if (!web_is_gone(w))
        rotor_wake(w->loop, w->connection);
    try_to_send(w, "GET /5");
    web_wait(w, 60000);
    check_answers(w);
}

static void conversations(void)
{
    static const size_t splits[] = {0, 1, 7};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        bool mute = false;
        web w = {
            .received = answer_or_wait, .wakeup = web_answer, .over = read_all, .context = &mute};
        if (web_open(&w))
            return;
        if (web_connect(&w) == 0)
            converse(&w, splits[i]);
        if (test_alloc_failed() == 0) /* or nothing was tested */
            assert_string_equal(w.log, "GET /1 over GET /2? wakeup over GET /3 over POST / over "
                                       "POST /p over GET /4? wakeup over");
        web_close(&w);
    }
}

static void an_error_or_a_closed_connection(void **state)
{
    test_out_of_memory(conversations);
}

static void serve(void)
{
    web w = {0};
    rotor_handle listener;
    if (web_open_loop(&w))
        return;
    int error = rotor_http_serve(w.loop, "127.0.0.1:0", &w.handler, &w.config, &listener);
    assert_int_equal(error, test_alloc_failed() > 0 ? UV_ENOMEM : 0);
    assert_int_equal(w.closed, 0);
    assert_int_equal(rotor_find(w.loop, listener) != NULL, error == 0);
    assert_int_equal(rotor_loop_free(w.loop), 0);
    assert_int_equal(w.closed, error == 0);
}

static void a_server_is_made_or_not(void **state)
{
    test_out_of_memory(serve);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_connection_is_small),           TEST(an_idle_connection_holds_no_buffer),
        TEST(a_new_connection_is_one_block),   TEST(request_and_response_survive_a_wait),
        TEST(targets_of_other_forms),          TEST(several_clients_wait_at_once),
        TEST(an_error_or_a_closed_connection), TEST(a_server_is_made_or_not),
    };
    return cmocka_run_group_tests_name("server_memory", tests, NULL, NULL);
}
