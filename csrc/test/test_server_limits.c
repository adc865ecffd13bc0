/* What a request may cost: up to each limit it is served, a byte more is refused. With the defaults,
** and with small limits at every split. */
#include "test.h"

#include "../core/buf.h"
#include "support.h"
#include "web.h"

#define HOST    "Host: h\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* A request in the making. */
static void put(rotor_buf *b, const char *text)
{
    assert_int_equal(rotor_buf_extend(b, text, strlen(text)), 0);
}

static void fill(rotor_buf *b, char c, size_t n)
{
    char *room = n > 0 ? rotor_buf_reserve(b, n) : NULL;
    if (room) {
        memset(room, c, n);
        rotor_buf_commit(b, n);
    }
}

static void put_number(rotor_buf *b, const char *format, size_t n)
{
    char text[64];
    snprintf(text, sizeof text, format, n);
    put(b, text);
}

/* Requests that have just `n` of what is limited. */

static void request_line(rotor_buf *b, size_t n)
{
    put(b, "GET /");
    fill(b, 'a', n - strlen("GET / HTTP/1.1"));
    put(b, " HTTP/1.1\r\n" HOST "\r\n");
}

static void head(rotor_buf *b, size_t n)
{
    put(b, "GET / HTTP/1.1\r\n" HOST "A: ");
    fill(b, 'a', n - strlen(HOST "A: \r\n"));
    put(b, "\r\n\r\n");
}

static void fields(rotor_buf *b, size_t n)
{
    put(b, "GET / HTTP/1.1\r\n" HOST);
    for (size_t i = 1; i < n; i++)
        put(b, "A: b\r\n");
    put(b, "\r\n");
}

static void empty_lines(rotor_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, "\r\n");
    put(b, "GET / HTTP/1.1\r\n" HOST "\r\n");
}

static void body(rotor_buf *b, size_t n)
{
    put(b, "POST / HTTP/1.1\r\n" HOST);
    put_number(b, "Content-Length: %zu\r\n\r\n", n);
    fill(b, 'a', n);
}

static void chunked_body(rotor_buf *b, size_t n)
{
    put(b, "POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n1\r\na\r\n");
    put_number(b, "%zx\r\n", n - 1);
    fill(b, 'a', n - 1);
    put(b, "\r\n0\r\n\r\n");
}

static void chunk_line(rotor_buf *b, size_t n)
{
    put(b, "POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n1\r\na\r\n0;");
    fill(b, 'a', n - 2);
    put(b, "\r\n\r\n");
}

static void chunk_extensions(rotor_buf *b, size_t n)
{
    put(b, "POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n");
    for (; n > 20; n -= 10)
        put(b, "1;234567890\r\na\r\n");
    put(b, "0;");
    fill(b, 'a', n - 1);
    put(b, "\r\n\r\n");
}

static void trailers(rotor_buf *b, size_t n)
{
    put(b, "POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n0\r\nA: ");
    fill(b, 'a', n - strlen("A: \r\n"));
    put(b, "\r\n\r\n");
}

typedef struct limit {
    void (*make)(rotor_buf *b, size_t n);
    size_t usual, small;
    int status, why;
} limit;

static const limit limits[] = {
    {request_line, 8192, 40, 414, ROTOR_HTTP_ELINESIZE},
    {head, 32768, 60, 431, ROTOR_HTTP_EHEADSIZE},
    {fields, 128, 4, 431, ROTOR_HTTP_EFIELDS},
    {empty_lines, 4, 2, 400, ROTOR_HTTP_EEMPTY},
    {body, 8 << 20, 20, 413, ROTOR_HTTP_EBODYSIZE},
    {chunked_body, 8 << 20, 20, 413, ROTOR_HTTP_EBODYSIZE},
    {chunk_line, 256, 24, 400, ROTOR_HTTP_ECHUNKSIZE},
    {chunk_extensions, 16384, 35, 400, ROTOR_HTTP_ECHUNKSIZE},
    {trailers, 8192, 12, 400, ROTOR_HTTP_ECHUNKSIZE},
};

static const rotor_http_limits small_limits = {.request_line = 40,
                                               .head = 60,
                                               .fields = 4,
                                               .empty_lines = 2,
                                               .chunk_line = 24,
                                               .chunk_extensions = 35,
                                               .trailers = 12,
                                               .body = 20};

static rotor_response no_content(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_send_text(h, 204, ""), 0);
    return rotor_done();
}

#define NO_CONTENT "HTTP/1.1 204 No Content\r\n" DATE "\r\n"

/* In pieces of `split` bytes; 0: as they come. */
static void sends(web *w, const rotor_buf *b, size_t split, const char *expected)
{
    assert_int_equal(web_connect(w), 0);
    rotor_memory_split(w->client, split);
    web_send_bytes(w, rotor_buf_data(b), rotor_buf_len(b));
    assert_string_equal(web_received(w), expected);
    assert_int_equal(web_is_shut(w), expected[9] != '2');
}

static void sends_in_two(web *w, const rotor_buf *b, const char *expected)
{
    for (size_t cut = 1; cut < rotor_buf_len(b); cut++) {
        assert_int_equal(web_connect(w), 0);
        web_send_bytes(w, rotor_buf_data(b), cut);
        web_send_bytes(w, rotor_buf_data(b) + cut, rotor_buf_len(b) - cut);
        assert_string_equal(web_received(w), expected);
    }
}

static void the_defaults(void **state)
{
    web w = {.received = no_content};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const limit *l = &limits[i];
        const char *refusal = web_refusal(l->status, rotor_strerror(l->why));
        for (size_t split = 0; split <= 4000; split += 1000) {
            rotor_buf b = ROTOR_BUF_INIT;
            l->make(&b, l->usual);
            sends(&w, &b, split, NO_CONTENT);
            rotor_buf_fini(&b);
            l->make(&b, l->usual + 1);
            sends(&w, &b, split, refusal);
            rotor_buf_fini(&b);
        }
    }
    web_close(&w);
}

static void small_limits_at_every_split(void **state)
{
    web w = {.config.limits = small_limits, .received = no_content};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const limit *l = &limits[i];
        rotor_buf b = ROTOR_BUF_INIT;
        l->make(&b, l->small);
        for (size_t split = 0; split <= 2; split++)
            sends(&w, &b, split, NO_CONTENT);
        sends_in_two(&w, &b, NO_CONTENT);
        rotor_buf_fini(&b);

        const char *refusal = web_refusal(l->status, rotor_strerror(l->why));
        l->make(&b, l->small + 1);
        for (size_t split = 0; split <= 2; split++)
            sends(&w, &b, split, refusal);
        sends_in_two(&w, &b, refusal);
        rotor_buf_fini(&b);
    }
    web_close(&w);
}

/* What is too large is refused as soon as that can be known, not when it is all there. */
static void refused_in_advance(void **state)
{
    static const struct {
        const char *ask;
        int status, why;
    } cases[] = {
        {"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 414, ROTOR_HTTP_ELINESIZE},
        {"GET / HTTP/1.1\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 431,
         ROTOR_HTTP_EHEADSIZE},
        {"GET / HTTP/1.1\r\nA:\r\nA:\r\nA:\r\nA:\r\nA", 431, ROTOR_HTTP_EFIELDS},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 21\r\n\r\n", 413, ROTOR_HTTP_EBODYSIZE},
        {"POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n15\r\n", 413, ROTOR_HTTP_EBODYSIZE},
        {"POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n1\r\na\r\n14\r\n", 413, ROTOR_HTTP_EBODYSIZE},
    };
    web w = {.config.limits = small_limits, .received = no_content};
    assert_int_equal(web_open(&w), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(web_connect(&w), 0);
        web_asks(&w, cases[i].ask, web_refusal(cases[i].status, rotor_strerror(cases[i].why)));
    }
    assert_int_equal(w.requests, 0);
    web_close(&w);
}

static rotor_response check_body(rotor_http *h, rotor_scope *scope)
{
    rotor_text got = rotor_http_body(h);
    const size_t *n = web_of(h)->context;
    assert_int_equal(got.len, *n);
    for (size_t i = 0; i < got.len; i++)
        assert_true(got.data[i] == (char)(i % 251));
    return no_content(h, scope);
}

/* Bodies much larger than the loop's buffer arrive as they were sent, behind a head that can still
** be read. */
static void large_bodies(void **state)
{
    size_t n = 1000000;
    web w = {.received = check_body, .context = &n};
    assert_int_equal(web_open(&w), 0);
    char *sent = malloc(n);
    assert_non_null(sent);
    for (size_t i = 0; i < n; i++)
        sent[i] = (char)(i % 251);

    rotor_buf b = ROTOR_BUF_INIT;
    put(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
    assert_int_equal(rotor_buf_extend(&b, sent, n), 0);
    put(&b, "POST / HTTP/1.1\r\n" HOST CHUNKED "\r\n");
    for (size_t at = 0, size; at < n; at += size) {
        size = n - at < 7777 ? n - at : 7777;
        put_number(&b, "%zX\r\n", size);
        assert_int_equal(rotor_buf_extend(&b, sent + at, size), 0);
        put(&b, "\r\n");
    }
    put(&b, "0\r\n\r\n");
    for (size_t split = 0; split < 20000; split += 6667)
        sends(&w, &b, split, NO_CONTENT NO_CONTENT);
    assert_int_equal(w.requests, 6);
    rotor_buf_fini(&b);
    free(sent);
    web_close(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_defaults),
        TEST(small_limits_at_every_split),
        TEST(refused_in_advance),
        TEST(large_bodies),
    };
    return cmocka_run_group_tests_name("server_limits", tests, NULL, NULL);
}
