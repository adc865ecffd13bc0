/* The client and the server of rotor talk to each other, by futures and by streams. */
#include "test.h"

#include <unistd.h>

#include "../http/fetch.h"
#include "../stream/listen.h"
#include "sockets.h"
#include "support.h"

typedef struct site {
    rotor_loop *loop;
    rotor_http_client *client;
    rotor_handle listener;
    char where[128];
    int requests, closed;
} site;

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

/* -- the server: says what it was asked; /stream sends the body back as it comes ------------------ */

static rotor_http_receive on_headers(rotor_http *h, rotor_scope *scope)
{
    site *s = rotor_http_context(h);
    s->requests++;
    return is(rotor_http_path(h), "/stream") ? rotor_http_progressive(0) : rotor_http_buffered(0);
}

static rotor_response on_request(rotor_http *h, rotor_scope *scope)
{
    rotor_text path = rotor_http_path(h), body = rotor_http_body(h), method = rotor_http_method(h);
    char text[256];
    int n = snprintf(text, sizeof text, "%.*s %.*s %.*s", (int)method.len, method.data,
                     (int)path.len, path.data, (int)body.len, body.len ? body.data : "");
    int status = is(path, "/gone") ? 404 : is(path, "/moved") ? 302 : 200;
    int error = status == 302 ? rotor_http_add_text(h, "Location", "/here?x") : 0;
    if (!error && is(path, "/never"))
        return rotor_ok();
    if (!error)
        error = rotor_http_send(h, status, (rotor_text){text, (size_t)n});
    return error ? rotor_error(error) : rotor_done();
}

static int begin(rotor_http *h)
{
    return rotor_http_is_started(h) ? 0 : rotor_http_start(h, 200);
}

enum { FULL = 65536 };

static rotor_response on_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    int error = begin(h);
    if (!error)
        error = rotor_http_write(h, data);
    if (error)
        return rotor_error(error);
    if (rotor_http_unsent(h) < FULL)
        return rotor_ok();
    return rotor_http_hold(rotor_http_and_flush(rotor_ok(), FULL / 2));
}

static rotor_response on_flushed(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

static rotor_response on_end(rotor_http *h, rotor_scope *scope)
{
    rotor_text name, value;
    int error = begin(h);
    for (size_t i = 0; !error && rotor_http_trailer_at(h, i, &name, &value); i++)
        error = rotor_http_trailer(h, name, value);
    if (!error)
        error = rotor_http_finish(h);
    return error ? rotor_error(error) : rotor_done();
}

static const rotor_http_handler handler = {
    .name = "site",
    .headers_received = on_headers,
    .request_received = on_request,
    .request_chunk = on_chunk,
    .request_end = on_end,
    .flushed = on_flushed,
};

static void on_closed(void *context)
{
    ((site *)context)->closed++;
}

static int site_open(site *s)
{
    *s = (site){0};
    test_monotonic_ms = 1000000;
    int error = rotor_loop_new(&s->loop, &(rotor_config){.clock = &test_clock});
    if (error)
        return error;
    rotor_http_config config = {.context = s, .closed = on_closed};
    error = rotor_http_serve(s->loop, "127.0.0.1:0", &handler, &config, &s->listener);
    if (!error)
        error = rotor_listener_address(s->loop, s->listener, s->where, sizeof s->where);
    if (!error) {
        s->client = rotor_http_client_new(s->loop, NULL);
        error = s->client ? 0 : UV_ENOMEM;
    }
    if (error)
        assert_int_equal(rotor_loop_free(s->loop), 0);
    return error;
}

static void site_close(site *s)
{
    rotor_http_client_release(s->client);
    assert_int_equal(rotor_loop_free(s->loop), 0);
}

static int ask(site *s, rotor_http_ask *a, const char *method, const char *path)
{
    char url[256];
    snprintf(url, sizeof url, "http://%s%s", s->where, path);
    return rotor_http_ask_init_text(a, method, url);
}

static rotor_future *get(site *s, const char *path)
{
    char url[256];
    rotor_future *f;
    snprintf(url, sizeof url, "http://%s%s", s->where, path);
    assert_int_equal(rotor_http_get(s->client, url, &f), 0);
    return f;
}

static int wait_for(site *s, rotor_future *f, rotor_http_answer **a)
{
    void *value;
    TURN_UNTIL(s->loop, rotor_future_status(f) != UV_EAGAIN);
    int status = rotor_future_take(f, &value);
    *a = value;
    return status;
}

/* -- futures ------------------------------------------------------------------------------------- */

static void answers(void **state)
{
    site s;
    rotor_http_ask a;
    rotor_http_answer *answer;
    rotor_future *f;
    rotor_text name, value;
    char url[256];
    assert_int_equal(site_open(&s), 0);
    assert_int_equal(wait_for(&s, get(&s, "/a"), &answer), 0);
    assert_int_equal(answer->status, 200);
    assert_int_equal(answer->minor, 1);
    assert_true(is(answer->reason, "OK"));
    assert_true(is(answer->body, "GET /a "));
    assert_true(is(rotor_http_answer_header(answer, "content-LENGTH", 14), "7"));
    assert_null(rotor_http_answer_header(answer, "x", 1).data);
    assert_true(rotor_http_answer_header_at(answer, 1, &name, &value));
    assert_false(rotor_http_answer_header_at(answer, 2, &name, &value));
    assert_false(rotor_http_answer_trailer_at(answer, 0, &name, &value));
    rotor_http_answer_free(answer);

    assert_int_equal(wait_for(&s, get(&s, "/moved"), &answer), 0);
    snprintf(url, sizeof url, "http://%s/here?x", s.where);
    assert_string_equal(answer->url, url);
    assert_true(is(answer->body, "GET /here "));
    rotor_http_answer_free(answer);

    assert_int_equal(wait_for(&s, get(&s, "/gone"), &answer), 0);
    assert_int_equal(answer->status, 404);
    rotor_http_answer_free(answer);

    assert_int_equal(ask(&s, &a, "HEAD", "/"), 0);
    assert_int_equal(rotor_http_fetch(s.client, &a, 0, &f), 0);
    assert_int_equal(wait_for(&s, f, &answer), 0);
    assert_int_equal(answer->body.len, 0);
    rotor_http_answer_free(answer);

    assert_int_equal(ask(&s, &a, "POST", "/b"), 0);
    assert_int_equal(rotor_http_ask_body(&a, (rotor_text){"body", 4}), 0);
    assert_int_equal(rotor_http_fetch(s.client, &a, 12, &f), 0);
    assert_int_equal(wait_for(&s, f, &answer), 0);
    assert_true(is(answer->body, "POST /b body"));
    rotor_http_answer_free(answer);
    rotor_http_answer_free(NULL);

    assert_int_equal(ask(&s, &a, "GET", "/a"), 0);
    assert_int_equal(rotor_http_fetch(s.client, &a, 6, &f), 0);
    assert_int_equal(wait_for(&s, f, &answer), ROTOR_HTTP_EBODYSIZE);
    assert_null(answer);
    assert_int_equal(rotor_http_client_connections(s.client), 0);
    site_close(&s);
}

static void what_cannot_be_fetched(void **state)
{
    site s;
    rotor_http_ask a;
    rotor_future *f = (void *)&s;
    assert_int_equal(site_open(&s), 0);
    assert_int_equal(rotor_http_get(s.client, "no url", &f), ROTOR_HTTP_EURL);
    assert_null(f);
    assert_int_equal(ask(&s, &a, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_stream(&a, 1), 0);
    assert_int_equal(rotor_http_fetch(s.client, &a, 0, &f), UV_EINVAL);
    assert_null(f);
    assert_int_equal(ask(&s, &a, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_add_text(&a, "Content-Length", "1"), 0);
    assert_int_equal(rotor_http_fetch(s.client, &a, 0, &f), ROTOR_EBODY);
    assert_null(f);
    site_close(&s);
}

static void failures(void **state)
{
    site s;
    rotor_http_answer *answer;
    rotor_future *f;
    assert_int_equal(site_open(&s), 0);
    assert_int_equal(rotor_http_get(s.client, "http://set.test/", &f), 0);
    assert_int_equal(wait_for(&s, f, &answer), UV_EAI_NONAME);
    f = get(&s, "/never");
    TURN_UNTIL(s.loop, s.requests == 1);
    test_monotonic_ms += 30000;
    assert_int_equal(wait_for(&s, f, &answer), ROTOR_ETIMEDOUT);
    assert_null(answer);
    site_close(&s);
}

static void dropping_a_future_cancels_the_call(void **state)
{
    site s;
    assert_int_equal(site_open(&s), 0);
    rotor_future_drop(get(&s, "/never"));
    TURN_UNTIL(s.loop, rotor_loop_count(s.loop) == 1);
    assert_int_equal(s.requests, 0);
    rotor_future *f = get(&s, "/never");
    TURN_UNTIL(s.loop, s.requests == 1);
    rotor_future_drop(f);
    TURN_UNTIL(s.loop, rotor_http_client_connections(s.client) == 0);
    /* One that has its value. */
    f = get(&s, "/a");
    TURN_UNTIL(s.loop, rotor_future_status(f) == 0);
    rotor_future_drop(f);
    site_close(&s);
}

static void futures_outlive_their_loop(void **state)
{
    site s;
    void *value;
    assert_int_equal(site_open(&s), 0);
    rotor_future *a = get(&s, "/never"), *b = get(&s, "/never"), *c = get(&s, "/a");
    TURN_UNTIL(s.loop, rotor_future_status(c) == 0);
    site_close(&s);
    assert_int_equal(rotor_future_take(a, &value), ROTOR_ECLOSED);
    rotor_future_drop(b);
    assert_int_equal(rotor_future_take(c, &value), 0);
    rotor_http_answer_free(value);
}

static void many_at_once(void **state)
{
    enum { MANY = 200 };
    site s;
    rotor_future *futures[MANY];
    void *all;
    assert_int_equal(site_open(&s), 0);
    for (int i = 0; i < MANY; i++) {
        char path[16];
        snprintf(path, sizeof path, "/%d", i);
        futures[i] = get(&s, path);
    }
    rotor_future *f = rotor_future_all(s.loop, futures, MANY, NULL);
    TURN_UNTIL(s.loop, rotor_future_status(f) != UV_EAGAIN);
    assert_int_equal(rotor_future_take(f, &all), 0);
    rotor_values *values = all;
    for (int i = 0; i < MANY; i++) {
        char expected[32];
        rotor_http_answer *answer = values->values[i];
        snprintf(expected, sizeof expected, "GET /%d ", i);
        assert_true(is(answer->body, expected));
        rotor_http_answer_free(answer);
        values->values[i] = NULL;
    }
    rotor_values_free(values);
    assert_true(rotor_http_client_connections(s.client) <= 64);
    site_close(&s);
}

/* -- streams both ways --------------------------------------------------------------------------- */

enum { PIECE = 10000, PIECES = 2000 };

typedef struct transfer {
    site *s;
    size_t written, received, held, most;
    bool ended, over;
    int error;
} transfer;

static char pattern_at(size_t i)
{
    return (char)('a' + i % 23);
}

static rotor_response on_wanted(rotor_http_call *c, rotor_scope *scope)
{
    transfer *t = rotor_http_call_data(c);
    char piece[PIECE];
    if (t->written == (size_t)PIECE * PIECES) {
        assert_int_equal(rotor_http_call_trailer(c, (rotor_text){"Sum", 3}, (rotor_text){"1", 1}),
                         0);
        assert_int_equal(rotor_http_call_finish(c), 0);
        return rotor_same();
    }
    for (size_t i = 0; i < PIECE; i++)
        piece[i] = pattern_at(t->written + i);
    assert_int_equal(rotor_http_call_write(c, (rotor_text){piece, PIECE}), 0);
    t->written += PIECE;
    if (rotor_http_call_unsent(c) > t->most)
        t->most = rotor_http_call_unsent(c);
    return rotor_same();
}

/* Now and then it wants no more for a while. */
static rotor_response on_response_chunk(rotor_http_call *c, rotor_scope *scope, rotor_text data)
{
    transfer *t = rotor_http_call_data(c);
    for (size_t i = 0; i < data.len; i++)
        assert_int_equal(data.data[i], pattern_at(t->received + i));
    bool hold = (t->received + data.len) >> 20 > t->received >> 20;
    t->received += data.len;
    if (!hold)
        return rotor_ok();
    t->held++;
    return rotor_http_hold(rotor_ok_until(rotor_now(scope) + 10));
}

static rotor_response on_rested(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_ok();
}

static rotor_response on_response_end(rotor_http_call *c, rotor_scope *scope)
{
    transfer *t = rotor_http_call_data(c);
    rotor_text name, value;
    assert_true(rotor_http_call_trailer_at(c, 0, &name, &value));
    assert_true(is(name, "Sum") && is(value, "1"));
    t->ended = true;
    return rotor_done();
}

static void on_transfer_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    ((transfer *)rotor_http_call_data(c))->error = error;
}

static void on_transfer_over(rotor_http_call *c)
{
    ((transfer *)rotor_http_call_data(c))->over = true;
}

static void streams_both_ways(void **state)
{
    static const rotor_http_requester requester = {.name = "transfer",
                                                   .body_wanted = on_wanted,
                                                   .response_chunk = on_response_chunk,
                                                   .response_end = on_response_end,
                                                   .timeout = on_rested,
                                                   .failed = on_transfer_failed,
                                                   .call_over = on_transfer_over};
    site s;
    rotor_http_ask a;
    assert_int_equal(site_open(&s), 0);
    for (int i = 0; i < 2; i++) { /* the second time over the same connection */
        transfer t = {.s = &s};
        assert_int_equal(ask(&s, &a, "POST", "/stream"), 0);
        assert_int_equal(rotor_http_ask_stream(&a, ROTOR_HTTP_NO_LENGTH), 0);
        a.timeout_ms = UINT32_MAX;
        assert_int_equal(rotor_http_client_call(s.client, &a, &requester, &t, NULL), 0);
        for (int left = 100000; left > 0 && !t.over; left--) {
            test_monotonic_ms++;
            assert_int_equal(rotor_loop_turn(s.loop), 0);
        }
        assert_int_equal(t.error, 0);
        assert_true(t.over && t.ended);
        assert_int_equal(t.received, (size_t)PIECE * PIECES);
        assert_int_equal(t.held, t.received >> 20);
        assert_true(t.most < 64 * 1024);
        assert_int_equal(rotor_http_client_connections(s.client), 1);
    }
    site_close(&s);
}

/* -- memory -------------------------------------------------------------------------------------- */

static void out_of_memory(void)
{
    site s;
    char url[256];
    rotor_future *f;
    if (site_open(&s))
        return;
    snprintf(url, sizeof url, "http://%s/moved", s.where);
    int error = rotor_http_get(s.client, url, &f);
    if (!error) {
        void *value;
        for (int left = 50; left > 0 && rotor_future_status(f) == UV_EAGAIN; left--)
            sockets_turn(s.loop);
        error = rotor_future_take(f, &value);
        if (error == UV_EAGAIN) /* the server had no memory for an answer */
            rotor_future_drop(f);
        rotor_http_answer_free(value);
    }
    assert_true(error == 0 || test_alloc_failed() > 0);
    site_close(&s);
}

static void memory_that_is_short(void **state)
{
    test_out_of_memory(out_of_memory);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(answers),
        TEST(what_cannot_be_fetched),
        TEST(failures),
        TEST(dropping_a_future_cancels_the_call),
        TEST(futures_outlive_their_loop),
        TEST(many_at_once),
        TEST(streams_both_ways),
        TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
