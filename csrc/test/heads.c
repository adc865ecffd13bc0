#include "test.h"

#include "heads.h"
#include "scalar.h"

#include <sys/mman.h>
#include <unistd.h>

char *heads_room;
const rotor_http_limits heads_limits = ROTOR_HTTP_LIMITS_DEFAULT;

int heads_setup(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    heads_room =
        mmap(NULL, HEADS_ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return heads_room == MAP_FAILED || HEADS_ROOM % page != 0
               ? -1
               : mprotect(heads_room + HEADS_ROOM, page, PROT_NONE);
}

int heads_teardown(void **state)
{
    return munmap(heads_room, HEADS_ROOM + (size_t)sysconf(_SC_PAGESIZE));
}

char *heads_place(const char *text, size_t n)
{
    return memcpy(heads_room + HEADS_ROOM - n, text, n);
}

/* -- what was found, as text --------------------------------------------------------------------- */

static char *put(char *to, const char *before, const char *data, rotor_http_span s)
{
    return to + sprintf(to, "%s%.*s", before, (int)s.len, data + s.at);
}

static bool same(const char *data, rotor_http_span a, rotor_http_span b)
{
    return a.len == b.len && memcmp(data + a.at, data + b.at, a.len) == 0;
}

static char *put_framing(char *to, uint8_t minor, bool keep_alive, bool has_length, uint64_t length,
                         bool chunked)
{
    to += sprintf(to, "%s%s", minor == 1 ? "" : " 1.0", keep_alive ? "" : " close");
    if (has_length)
        to += sprintf(to, " length=%llu", (unsigned long long)length);
    return to + sprintf(to, "%s", chunked ? " chunked" : "");
}

static char *put_field(char *to, const char *data, rotor_http_field f)
{
    to = put(to, " [", data, f.name);
    to = put(to, "=", data, f.value);
    return to + sprintf(to, "]");
}

/* What is as usual (path as target, 1.1, keep-alive) is left out, and so is the field Host, next to
** `host`. */
static void show_request(char *to, const char *data, const rotor_http_head *head)
{
    to = put(to, "", data, head->method);
    to = put(to, " ", data, head->target);
    if (!same(data, head->target, head->path))
        to = put(to, " path=", data, head->path);
    if (head->has_query)
        to = put(to, " query=", data, head->query);
    to = put(to, " host=", data, head->host);
    to = put_framing(to, head->minor, head->keep_alive, head->has_length, head->content_length,
                     head->chunked);
    to += sprintf(to, "%s%s", head->expect_continue ? " 100" : "", head->upgrade ? " upgrade" : "");
    for (uint32_t i = 0; i < head->nfields; i++) {
        rotor_http_field f = head->fields[i];
        if (f.name.len != 4 || !rotor_http_name_equal(data + f.name.at, "Host", 4))
            to = put_field(to, data, f);
    }
}

static void show_response(char *to, const char *data, const rotor_http_response_head *head)
{
    to += sprintf(to, "%d", head->status);
    if (head->reason.len > 0)
        to = put(to, " ", data, head->reason);
    to = put_framing(to, head->minor, head->keep_alive, head->has_length, head->content_length,
                     head->chunked);
    to += sprintf(to, "%s", head->upgrade ? " upgrade" : "");
    for (uint32_t i = 0; i < head->nfields; i++)
        to = put_field(to, data, head->fields[i]);
}

/* -- parsing --------------------------------------------------------------------------------------- */

/* Nothing but the fields that there are may have been written to. */
static void check_fields(const rotor_http_field *fields, const rotor_http_field *twins, uint32_t n)
{
    static const rotor_http_field untouched = {{0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}};

    assert_memory_equal(fields, twins, n * sizeof *fields);
    if (n < 128)
        assert_memory_equal(&fields[n], &untouched, sizeof untouched);
}

ptrdiff_t heads_request(char *shown, const char *data, size_t len, const rotor_http_limits *limits,
                        rotor_http_progress *progress)
{
    rotor_http_field fields[128], twins[128];
    rotor_http_head head = {.fields = fields}, twin = {.fields = twins};
    rotor_http_progress twin_progress = *progress;
    char twin_shown[sizeof((struct heads_result *)0)->shown];
    ptrdiff_t n, m;

    memset(fields, 0xff, sizeof fields);
    n = rotor_http_parse_request(&head, data, len, limits, progress);
    m = scalar_parse_request(&twin, data, len, limits, &twin_progress);
    assert_int_equal(n, m);
    assert_memory_equal(progress, &twin_progress, sizeof twin_progress);
    if (n > 0) {
        assert_ptr_equal(head.fields, fields);
        check_fields(fields, twins, head.nfields);
        show_request(shown, data, &head);
        show_request(twin_shown, data, &twin);
        assert_string_equal(shown, twin_shown);
    }
    return n;
}

ptrdiff_t heads_response(char *shown, const char *data, size_t len, const rotor_http_limits *limits,
                         rotor_http_progress *progress)
{
    rotor_http_field fields[128], twins[128];
    rotor_http_response_head head = {.fields = fields}, twin = {.fields = twins};
    rotor_http_progress twin_progress = *progress;
    char twin_shown[sizeof((struct heads_result *)0)->shown];
    ptrdiff_t n, m;

    memset(fields, 0xff, sizeof fields);
    n = rotor_http_parse_response(&head, data, len, limits, progress);
    m = scalar_parse_response(&twin, data, len, limits, &twin_progress);
    assert_int_equal(n, m);
    assert_memory_equal(progress, &twin_progress, sizeof twin_progress);
    if (n > 0) {
        assert_ptr_equal(head.fields, fields);
        check_fields(fields, twins, head.nfields);
        show_response(shown, data, &head);
        show_response(twin_shown, data, &twin);
        assert_string_equal(shown, twin_shown);
    }
    return n;
}

void heads_parse(struct heads_result *r, heads_parser *parser, const char *text, size_t len,
                 size_t first, size_t step, const rotor_http_limits *limits)
{
    static const rotor_http_progress zero;
    rotor_http_progress progress = {0};
    size_t n = first;

    for (;; n = n + step < len ? n + step : len) {
        r->shown[0] = '\0';
        r->verdict = parser(r->shown, heads_place(text, n), n, limits, &progress);
        r->at = n;
        if (r->verdict > 0) {
            assert_memory_equal(&progress, &zero, sizeof zero);
            assert_true((size_t)r->verdict <= n);
        }
        if (r->verdict != ROTOR_MORE || n == len)
            return;
    }
}

void heads_parse_all_ways(struct heads_result *r, heads_parser *parser, const char *name,
                          const char *text, size_t len, const rotor_http_limits *limits)
{
    static const char next[] = "GET /next HTTP/1.1\r\nHost: next\r\n\r\n\0\x01garbage";
    static struct heads_result other;
    char *longer = malloc(len + sizeof next);

    assert_non_null(longer);
    heads_parse(r, parser, text, len, len, 1, limits);
    for (size_t i = 0; i <= len; i++) {
        heads_parse(&other, parser, text, len, i, len, limits);
        if (other.verdict != r->verdict || strcmp(other.shown, r->shown) != 0)
            fail_msg("%s: %zd whole, %zd split at %zu", name, r->verdict, other.verdict, i);
    }
    heads_parse(&other, parser, text, len, 0, 1, limits);
    if (other.verdict != r->verdict || strcmp(other.shown, r->shown) != 0)
        fail_msg("%s: %zd whole, %zd byte by byte", name, r->verdict, other.verdict);
    if (r->verdict > 0 && other.at != (size_t)r->verdict)
        fail_msg("%s: takes %zd, but known at %zu", name, r->verdict, other.at);

    if (r->verdict != ROTOR_MORE) {
        memcpy(longer, text, len);
        memcpy(longer + len, next, sizeof next);
        heads_parse(&other, parser, longer, len + sizeof next, len + sizeof next, 1, limits);
        if (other.verdict != r->verdict || strcmp(other.shown, r->shown) != 0)
            fail_msg("%s: what follows changes %zd to %zd", name, r->verdict, other.verdict);
    }
    free(longer);
}

void heads_expect(heads_parser *parser, const char *text, size_t len,
                  const rotor_http_limits *limits, ptrdiff_t expected)
{
    static struct heads_result r;

    heads_parse_all_ways(&r, parser, text, text, len, limits);
    if (r.verdict != expected)
        fail_msg("%s: expected %zd, got %zd", text, expected, r.verdict);
}

void heads_check(heads_parser *parser, const struct head *table, size_t n)
{
    static struct heads_result r;

    for (size_t i = 0; i < n; i++) {
        const struct head *c = &table[i];
        heads_parse_all_ways(&r, parser, c->name, c->text, c->len, &heads_limits);
        if (c->error < 0 && r.verdict != c->error)
            fail_msg("%s: expected %d, got %zd", c->name, c->error, r.verdict);
        if (c->error == 0 && r.verdict != (c->shown[0] ? (ptrdiff_t)c->len : ROTOR_MORE))
            fail_msg("%s: takes %zd of %zu", c->name, r.verdict, c->len);
        if (strcmp(r.shown, c->shown) != 0)
            fail_msg("%s:\nexpected %s\n     got %s", c->name, c->shown, r.shown);
    }
}

void heads_check_damaged(heads_parser *parser, const struct head *table, size_t n)
{
    static const char bytes[] = "\r\n\r\n\0 \t:,;/?#%*aH15\x7f\xff";
    rotor_http_limits tight = {.request_line = 40, .head = 90, .fields = 3, .empty_lines = 1};
    static struct heads_result r;
    unsigned seed = 7;

    for (size_t i = 0; i < 6000; i++) {
        const struct head *c = &table[i % n];
        char text[1024];
        size_t len = c->len;

        if (len == 0 || len > 300)
            continue;
        memcpy(text, c->text, len);
        for (size_t times = 0; times <= i % 3; times++) {
            size_t at = (seed = seed * 1103515245 + 12345) / 65536 % len;
            text[at] = bytes[(seed = seed * 1103515245 + 12345) / 65536 % (sizeof bytes - 1)];
        }
        heads_parse_all_ways(&r, parser, c->name, text, len, i % 2 ? &tight : &heads_limits);
    }
}
