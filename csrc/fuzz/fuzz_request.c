/* libFuzzer target for the request parser: the verdict and what is found do not depend on how the
** bytes are split, everything found lies within them and obeys its own grammar, and the parser without
** vectors agrees at each step. */
#include "../test/scalar.c"

#include <stdlib.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const rotor_http_limits limits[2] = {
    ROTOR_HTTP_LIMITS_DEFAULT,
    {.request_line = 48, .head = 160, .fields = 4, .empty_lines = 1},
};

static rotor_http_field fields[2][128];

/* A copy of just these bytes, so that reading behind them is seen. */
static char *copy(const char *data, size_t len)
{
    char *exact = malloc(len > 0 ? len : 1);

    REQUIRE(exact);
    return len > 0 ? memcpy(exact, data, len) : exact;
}

static void check_span(rotor_http_span s, ptrdiff_t n)
{
    REQUIRE((uint64_t)s.at + s.len <= (uint64_t)n);
}

static void check_head(const rotor_http_head *head, const char *data, ptrdiff_t n, uint32_t most)
{
    check_span(head->method, n);
    check_span(head->target, n);
    check_span(head->path, n);
    check_span(head->query, n);
    check_span(head->host, n);
    REQUIRE(memcmp(data + n - 2, "\r\n", 2) == 0);
    REQUIRE(rotor_http_is_token(data + head->method.at, head->method.len));
    REQUIRE(head->target.len > 0 && head->minor <= 1);
    REQUIRE(!memchr(data + head->target.at, ' ', head->target.len));
    REQUIRE(head->host.len > 0 || head->minor == 0);
    REQUIRE(!head->chunked || (head->minor == 1 && !head->has_length));
    REQUIRE(!head->expect_continue || head->minor == 1);
    REQUIRE(!head->upgrade || head->minor == 1);
    REQUIRE(head->has_length || head->content_length == 0);
    REQUIRE(head->has_query || head->query.len == 0);
    REQUIRE(head->nfields <= most);
    for (uint32_t i = 0; i < head->nfields; i++) {
        rotor_http_span name = head->fields[i].name, value = head->fields[i].value;
        check_span(name, n);
        check_span(value, n);
        REQUIRE(rotor_http_is_token(data + name.at, name.len));
        REQUIRE(rotor_http_is_value(data + value.at, value.len));
    }
}

static void check_same(const rotor_http_head *a, const rotor_http_head *b)
{
    REQUIRE(memcmp(a, b, offsetof(rotor_http_head, content_length)) == 0); /* the spans */
    REQUIRE(a->content_length == b->content_length && a->minor == b->minor);
    REQUIRE(a->keep_alive == b->keep_alive && a->has_length == b->has_length);
    REQUIRE(a->chunked == b->chunked && a->expect_continue == b->expect_continue);
    REQUIRE(a->upgrade == b->upgrade && a->has_query == b->has_query && a->nfields == b->nfields);
    REQUIRE(memcmp(a->fields, b->fields, a->nfields * sizeof *a->fields) == 0);
}

/* By both parsers. */
static ptrdiff_t parse(rotor_http_head *head, const char *data, size_t len,
                       const rotor_http_limits *limit, rotor_http_progress *progress)
{
    static rotor_http_field twin_fields[128];
    rotor_http_head twin = {.fields = twin_fields};
    rotor_http_progress twin_progress = *progress;
    ptrdiff_t n = rotor_http_parse_request(head, data, len, limit, progress);

    REQUIRE(scalar_parse_request(&twin, data, len, limit, &twin_progress) == n);
    REQUIRE(memcmp(progress, &twin_progress, sizeof twin_progress) == 0);
    if (n > 0)
        check_same(head, &twin);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *whole = copy((const char *)bytes, size);

    for (int i = 0; i < 2; i++) {
        rotor_http_head head = {.fields = fields[0]}, other = {.fields = fields[1]};
        rotor_http_progress progress = {0};
        ptrdiff_t n = parse(&head, whole, size, &limits[i], &progress), got;
        size_t cut = size > 0 ? bytes[size / 2] % size : 0;
        char *piece = copy(whole, cut);

        if (n > 0)
            check_head(&head, whole, n, limits[i].fields);

        progress = (rotor_http_progress){0};
        got = parse(&other, piece, cut, &limits[i], &progress);
        if (got == ROTOR_MORE)
            got = parse(&other, whole, size, &limits[i], &progress);
        REQUIRE(got == n);
        if (n > 0)
            check_same(&head, &other);
        free(piece);

        progress = (rotor_http_progress){0};
        got = ROTOR_MORE;
        for (size_t len = 1; len <= size && got == ROTOR_MORE; len++)
            got = parse(&other, whole, len, &limits[i], &progress);
        REQUIRE(got == n);
        if (n > 0)
            check_same(&head, &other);
    }
    free(whole);
    return 0;
}
