/* libFuzzer target for what a client reads: heads of responses (interim ones first), how the body is
** framed, and the body. What is read does not depend on how the bytes are split; everything found lies
** within them and obeys its own grammar; what follows a message is left alone; and the parser without
** vectors agrees at each step. */
#include "../http/chunked.h"
#include "../test/scalar.c"

#include <stdlib.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const rotor_http_limits limits[2] = {
    ROTOR_HTTP_LIMITS_DEFAULT,
    {.request_line = 32,
     .head = 160,
     .fields = 4,
     .chunk_line = 12,
     .chunk_extensions = 24,
     .trailers = 24,
     .body = 40},
};

/* What was read of one conversation. */
typedef struct outcome {
    ptrdiff_t verdict; /* of the part that was read last */
    size_t taken;      /* bytes of complete parts */
    size_t heads;
    rotor_http_framing framing; /* of the last head that is complete */
    bool keep_alive;
    size_t body, trailers;
    char *text; /* both */
} outcome;

static void check_span(rotor_http_span s, ptrdiff_t n)
{
    REQUIRE((uint64_t)s.at + s.len <= (uint64_t)n);
}

static void check_head(const rotor_http_response_head *head, const char *data, ptrdiff_t n,
                       uint32_t most)
{
    bool announced = head->chunked || head->content_length > 0;

    check_span(head->reason, n);
    REQUIRE(n >= 16 && memcmp(data, "HTTP/1.", 7) == 0 && memcmp(data + n - 2, "\r\n", 2) == 0);
    REQUIRE(head->status >= 100 && head->status <= 999 && atoi(data + 9) == head->status);
    REQUIRE(rotor_http_is_value(data + head->reason.at, head->reason.len));
    REQUIRE(head->minor <= 1 && (head->minor == 1 || !head->upgrade));
    REQUIRE(!head->chunked || (head->minor == 1 && !head->has_length));
    REQUIRE(head->has_length || head->content_length == 0);
    REQUIRE(!announced || (head->status >= 200 && (head->status != 204 || !head->keep_alive)));
    REQUIRE(head->nfields <= most);
    for (uint32_t i = 0; i < head->nfields; i++) {
        rotor_http_span name = head->fields[i].name, value = head->fields[i].value;
        check_span(name, n);
        check_span(value, n);
        REQUIRE(rotor_http_is_token(data + name.at, name.len));
        REQUIRE(rotor_http_is_value(data + value.at, value.len));
    }
}

static ptrdiff_t parse(rotor_http_response_head *head, const char *data, size_t len,
                       const rotor_http_limits *limit, rotor_http_progress *progress)
{
    static rotor_http_field twin_fields[128];
    rotor_http_response_head twin = {.fields = twin_fields};
    rotor_http_progress twin_progress = *progress;
    ptrdiff_t n = rotor_http_parse_response(head, data, len, limit, progress);

    REQUIRE(scalar_parse_response(&twin, data, len, limit, &twin_progress) == n);
    REQUIRE(memcmp(progress, &twin_progress, sizeof twin_progress) == 0);
    if (n > 0) {
        check_head(head, data, n, limit->fields);
        REQUIRE(head->nfields == twin.nfields);
        REQUIRE(memcmp(head->fields, twin_fields, head->nfields * sizeof *twin_fields) == 0);
        REQUIRE(head->status == twin.status && head->minor == twin.minor);
        REQUIRE(memcmp(&head->reason, &twin.reason, sizeof twin.reason) == 0);
        REQUIRE(head->has_length == twin.has_length);
        REQUIRE(head->content_length == twin.content_length);
        REQUIRE(head->keep_alive == twin.keep_alive && head->upgrade == twin.upgrade);
        REQUIRE(head->chunked == twin.chunked);
    }
    return n;
}

/* A copy of just these bytes, so that reading behind them is seen. */
static char *copy(const uint8_t *bytes, size_t len)
{
    char *exact = malloc(len > 0 ? len : 1);

    REQUIRE(exact);
    return len > 0 ? memcpy(exact, bytes, len) : exact;
}

/* Read `n` bytes of body at `data`, whose framing is as o->framing says. Returns how many were taken; the
** verdict is positive at the end of the body. */
static size_t read_body(outcome *o, char *data, size_t n, rotor_http_chunked *chunked,
                        uint64_t *left, const rotor_http_limits *limit)
{
    size_t body = n, trailers = 0;

    o->verdict = ROTOR_MORE;
    if (o->framing == ROTOR_HTTP_CHUNKED) {
        o->verdict =
            rotor_http_chunked_decode(chunked, data, n, limit, limit->body, &body, &trailers);
        REQUIRE(body <= n && trailers <= n - body);
        if (o->verdict > 0)
            n = (size_t)o->verdict;
    } else if (o->framing == ROTOR_HTTP_LENGTH && *left <= n) {
        n = body = (size_t)*left;
        o->verdict = 1;
    }
    *left -= body;
    memcpy(o->text + o->body + o->trailers, data, body + trailers);
    o->body += body;
    o->trailers += trailers;
    return n;
}

/* Read an answer to a request with `method` as if its first `first` bytes came at once and then `step` at a
** time. */
static void converse(outcome *o, const uint8_t *bytes, size_t size, size_t first, size_t step,
                     const char *method, const rotor_http_limits *limit)
{
    static rotor_http_field fields[128];
    rotor_http_response_head head = {.fields = fields};
    rotor_http_progress progress = {0};
    rotor_http_chunked chunked = {0};
    uint64_t left = UINT64_MAX;
    bool in_body = false, over = false;

    *o = (outcome){.text = copy(bytes, size)};
    for (size_t n = first; !over; n = step < size - n ? n + step : size) {
        for (bool again = true; again && !over;) {
            char *data = copy(bytes + o->taken, n - o->taken);
            if (in_body) {
                o->taken += read_body(o, data, n - o->taken, &chunked, &left, limit);
                over = o->verdict != ROTOR_MORE;
                again = false;
            } else {
                o->verdict = parse(&head, data, n - o->taken, limit, &progress);
                over = o->verdict < 0;
                again = o->verdict > 0;
            }
            free(data);
            if (again) {
                o->taken += (size_t)o->verdict;
                o->heads++;
                o->framing = rotor_http_response_framing(&head, method, strlen(method));
                o->keep_alive = head.keep_alive;
                in_body = head.status >= 200 || head.status == 101;
                over = in_body && o->framing == ROTOR_HTTP_NO_BODY;
                left = o->framing == ROTOR_HTTP_LENGTH ? head.content_length : UINT64_MAX;
                if (in_body)
                    over = over || left == 0;
            }
        }
        if (n == size)
            break;
    }
}

/* An error is the same one; an end is an end. */
static ptrdiff_t kind(ptrdiff_t verdict)
{
    return verdict > 0 ? 1 : verdict;
}

static void check_same(const outcome *a, const outcome *b)
{
    REQUIRE(kind(a->verdict) == kind(b->verdict));
    REQUIRE(a->verdict < 0 || a->taken == b->taken);
    REQUIRE(a->heads == b->heads && a->framing == b->framing && a->keep_alive == b->keep_alive);
    REQUIRE(a->body == b->body && a->trailers == b->trailers);
    REQUIRE(memcmp(a->text, b->text, a->body + a->trailers) == 0);
}

static void check_splits(const uint8_t *bytes, size_t size, const char *method,
                         const rotor_http_limits *limit)
{
    size_t cut = size > 0 ? bytes[size / 2] % size : 0;
    rotor_http_field fields[8];
    outcome whole, other;

    converse(&whole, bytes, size, size, 1, method, limit);
    REQUIRE(whole.taken <= size && whole.body + whole.trailers <= whole.taken);
    if (whole.framing == ROTOR_HTTP_CHUNKED && whole.verdict > 0)
        REQUIRE(rotor_http_parse_trailers(fields, 8, whole.text + whole.body, whole.trailers) >= 0);

    converse(&other, bytes, size, cut, size, method, limit);
    check_same(&whole, &other);
    free(other.text);
    if (strcmp(method, "GET") == 0) { /* once is enough of what takes so long */
        converse(&other, bytes, size, 0, 1, method, limit);
        check_same(&whole, &other);
        free(other.text);
    }
    free(whole.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const methods[] = {"GET", "HEAD", "CONNECT"};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        check_splits(bytes, size, methods[i], &limits[0]);
        check_splits(bytes, size, methods[i], &limits[1]);
    }
    return 0;
}
