/* The chunked decoder. Each case is decoded whole, in two pieces split at each byte, byte
** by byte, and with another request behind it, always against an unreadable page: verdict, body,
** trailers and the bytes taken must be the same, also when the trailers are dropped. A case named
** "RFC section: …" stands for a rule of that section. */
#include "test.h"

#include "../http/chunked.h"

#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 64 * 1024 };

static const rotor_http_limits defaults = ROTOR_HTTP_LIMITS_DEFAULT;
static char *room; /* ROOM bytes, then a page that cannot be touched */

struct result {
    ptrdiff_t verdict;    /* bytes taken in all, ROTOR_MORE or an error */
    size_t len, trailers; /* the body's and theirs, which is behind it */
    char body[ROOM];
};

/* Decode `text` as if its first `first` bytes came at once and then `step` at a time. */
static void decode(struct result *r, const char *text, size_t len, size_t first, size_t step,
                   const rotor_http_limits *limits, bool keep)
{
    rotor_http_chunked c = {0};
    size_t at = 0, n = first;

    r->verdict = ROTOR_MORE;
    r->len = r->trailers = 0;
    for (;; n = step < len - at ? step : len - at) {
        char *data = memcpy(room + ROOM - n, text + at, n);
        size_t body = SIZE_MAX, trailers = keep ? SIZE_MAX : 0;
        ptrdiff_t got = rotor_http_chunked_decode(&c, data, n, limits, limits->body, &body,
                                                  keep ? &trailers : NULL);

        assert_true(body <= n && trailers <= n - body);
        assert_true(body == 0 || r->trailers == 0);
        memcpy(r->body + r->len + r->trailers, data, body + trailers);
        r->len += body;
        r->trailers += trailers;
        if (got > 0) {
            size_t end = 1, last = 1;
            assert_true((size_t)got <= n);
            assert_memory_equal(data + got, text + at + got, n - (size_t)got);
            assert_int_equal(rotor_http_chunked_decode(&c, data, 0, limits, 0, &end, &last),
                             ROTOR_MORE);
            assert_int_equal(end + last, 0);
        }
        if (got != ROTOR_MORE) {
            char more[] = "5";
            r->verdict = got > 0 ? (ptrdiff_t)at + got : got;
            trailers = 1;
            assert_int_equal(rotor_http_chunked_decode(&c, more, 1, limits, 1, &body, &trailers),
                             ROTOR_ESTATE);
            assert_int_equal(body + trailers, 0);
            return;
        }
        at += n;
        if (at == len)
            return;
    }
}

static void same(const char *name, const char *how, size_t at, const struct result *r,
                 const struct result *other)
{
    if (r->verdict != other->verdict)
        fail_msg("%s: %zd whole, %zd %s %zu", name, r->verdict, other->verdict, how, at);
    if (r->len != other->len || memcmp(r->body, other->body, r->len) != 0)
        fail_msg("%s: another body %s %zu", name, how, at);
    if (r->trailers != other->trailers ||
        memcmp(r->body + r->len, other->body + r->len, r->trailers) != 0)
        fail_msg("%s: other trailers %s %zu", name, how, at);
}

static void decode_all_ways(struct result *r, const char *name, const char *text, size_t len,
                            const rotor_http_limits *limits)
{
    static const char next[] = "GET /next HTTP/1.1\r\n\0garbage";
    static struct result other;
    char *longer = malloc(len + sizeof next);

    assert_non_null(longer);
    decode(r, text, len, len, 1, limits, true);
    for (size_t i = 0; i <= len; i++) {
        decode(&other, text, len, i, len, limits, true);
        same(name, "split at", i, r, &other);
    }
    decode(&other, text, len, 0, 1, limits, true);
    same(name, "at a time", 1, r, &other);
    decode(&other, text, len, len, 1, limits, false);
    other.trailers = r->trailers;
    memcpy(other.body + other.len, r->body + r->len, r->trailers);
    same(name, "without trailers", 0, r, &other);
    if (r->verdict != ROTOR_MORE) {
        memcpy(longer, text, len);
        memcpy(longer + len, next, sizeof next);
        decode(&other, longer, len + sizeof next, len + sizeof next, 1, limits, true);
        same(name, "with more behind", sizeof next, r, &other);
    }
    free(longer);
}

#define END "0\r\n\r\n"
#define X16 "xxxxxxxxxxxxxxxx"
#define CASE(name, text, verdict, body, trailers)                                                  \
    {                                                                                              \
        name, text, sizeof(text) - 1, verdict, body, trailers                                      \
    }
#define OK(name, text, body)        CASE(name, text, (ptrdiff_t)sizeof(text) - 1, body, "")
#define NO(name, text, error, body) CASE(name, text, ROTOR_##error, body, NULL)
#define MORE(name, text, body)      CASE(name, text, ROTOR_MORE, body, "")
/* with trailers, of which these are kept */
#define TRAIL(name, text, body, trailers)                                                          \
    CASE(name, text, (ptrdiff_t)sizeof(text) - 1, body, trailers)
#define MORE_TRAIL(name, text, trailers) CASE(name, text, ROTOR_MORE, "", trailers)

/* clang-format off */
static const struct chunked {
    const char *name, *text;
    size_t len;
    ptrdiff_t verdict;
    const char *body, *trailers; /* NULL: not looked at */
} cases[] = {
    OK("9112 7.1: nothing", END, ""),
    OK("9112 7.1: one chunk", "5\r\nhello\r\n" END, "hello"),
    OK("9112 7.1: several", "1\r\na\r\n2\r\nbc\r\n10\r\n" X16 "\r\n" END, "abc" X16),
    OK("9112 7.1: hex without case",
       "a\r\n0123456789\r\nA\r\n0123456789\r\n" END, "01234567890123456789"),
    OK("9112 7.1: 1F", "1F\r\n" X16 "abcdefghijklmno\r\n" END, X16 "abcdefghijklmno"),
    OK("9112 7.1: leading zeros", "0005\r\nhello\r\n0000\r\n\r\n", "hello"),
    OK("9112 7.1: sixteen digits",
       "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
    OK("9112 7.1: data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n" END, "\r\n0\r\n\r\n"),
    OK("9112 7.1: any byte in the data",
       "6\r\n\x80\xff\n\r\x01\x7f\r\n" END, "\x80\xff\n\r\x01\x7f"),

    OK("9112 7.1.1: a name", "5;a\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: a value", "5;a=b\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: several", "5;a=b;c;d=e\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: bad white space", "5 \t; \ta \t= \tb \t; c\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: white space behind a name", "5;a ;b\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: quoted", "5;a=\"b c\"\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: quoted and empty", "5;a=\"\"\r\nhello\r\n" END, "hello"),
    OK("9110 5.6.4: quoted pairs", "5;a=\"\\\"\\\\\\\t\\x\"\r\nhello\r\n" END, "hello"),
    OK("9110 5.6.4: quoted obs-text and HTAB", "5;a=\"\x80\xff\t;=,\"\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: more behind the quotes", "5;a=\"b\";c=\"d\" ;e\r\nhello\r\n" END, "hello"),
    OK("9112 7.1.1: any token",
       "5;!#$%&'*+-.^_`|~09azAZ=!#$%&'*+-.^_`|~09azAZ\r\nhello\r\n" END, "hello"),
    OK("9112 7.1: of the last chunk", "0;a=b\r\n\r\n", ""),

    TRAIL("9112 7.1.2: a trailer", "0\r\nA: b\r\n\r\n", "", "A: b\r\n"),
    TRAIL("9112 7.1.2: several", "5\r\nhello\r\n0\r\nA: b\r\nC:\r\nD:\t\x80\xff e \r\n\r\n",
       "hello", "A: b\r\nC:\r\nD:\t\x80\xff e \r\n"),
    TRAIL("9112 7.1.2: behind an extension", "0;a=\"b\"\r\nA:\r\n\r\n", "", "A:\r\n"),
    TRAIL("9110 6.5.1: framing in a trailer is not read",
       "0\r\nContent-Length: x\r\nHost: a b\r\n\r\n", "",
       "Content-Length: x\r\nHost: a b\r\n"),

    MORE("nothing yet", "", ""),
    MORE("a size", "5", ""),
    MORE("a size and its CR", "5\r", ""),
    MORE("a size's line", "5\r\n", ""),
    MORE("some data", "5\r\nhel", "hel"),
    MORE("all data", "5\r\nhello", "hello"),
    MORE("a CR behind", "5\r\nhello\r", "hello"),
    MORE("a chunk", "5\r\nhello\r\n", "hello"),
    MORE("the last chunk", "5\r\nhello\r\n0\r\n", "hello"),
    MORE_TRAIL("half a trailer", "0\r\nA", "A"),
    MORE_TRAIL("a trailer but its LF", "0\r\nA: b\r", "A: b\r"),
    MORE_TRAIL("a trailer", "0\r\nA: b\r\n", "A: b\r\n"),
    MORE("all but the last LF", "0\r\n\r", ""),
    MORE_TRAIL("all but the last LF, with a trailer", "0\r\nA: b\r\n\r", "A: b\r\n"),
    MORE("a body as large as the limit begins", "800000\r\n", ""),

    NO("9112 7.1: no size", "\r\nhello", HTTP_ECHUNK, ""),
    NO("9112 7.1: no size but an extension", ";a\r\nhello", HTTP_ECHUNK, ""),
    NO("9112 7.1: white space before the size", " 5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: white space behind the size", "5 \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: HTAB behind the size", "5\t\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: not hex", "g\r\nhello", HTTP_ECHUNK, ""),
    NO("9112 7.1: 0x", "0x5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: plus", "+5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: minus", "-5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: underscore", "1_0\r\n" X16 "\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: two sizes", "5 5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: comma", "5,a\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: NUL", "5\0\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: not ASCII", "\xd9\xa5\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: seventeen digits", "00000000000000005\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: overflow", "10000000000000005\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1: largest size", "ffffffffffffffff\r\nhello\r\n" END, HTTP_EBODYSIZE, ""),
    NO("9112 7.1: largest size, then overflow",
       "5\r\nhello\r\nFFFFFFFFFFFFFFFF\r\n", HTTP_EBODYSIZE, "hello"),
    NO("9110 15.5.14: larger than the limit", "800001\r\n", HTTP_EBODYSIZE, ""),
    NO("9110 15.5.14: known before the line ends", "800001;", HTTP_EBODYSIZE, ""),
    NO("9110 15.5.14: larger in sum", "1\r\nx\r\n800000\r", HTTP_EBODYSIZE, "x"),
    NO("malformed before too large", "800001x\r\n", HTTP_ECHUNK, ""),
    NO("9112 2.2: bare LF behind the size", "5\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 2.2: bare CR behind the size", "5\rhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 2.2: two CRs behind the size", "5\r\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 2.2: bare LF behind the last size", "0\n\r\n", HTTP_ECHUNK, ""),
    NO("9112 7.1: data too short", "5\r\nhell\r\n" END, HTTP_ECHUNK, "hell\r"),
    NO("9112 7.1: data too long", "5\r\nhello!\r\n" END, HTTP_ECHUNK, "hello"),
    NO("9112 2.2: bare LF behind the data", "5\r\nhello\n" END, HTTP_ECHUNK, "hello"),
    NO("9112 2.2: bare CR behind the data", "5\r\nhello\r" END, HTTP_ECHUNK, "hello"),
    NO("9112 7.1: no line end behind the data", "5\r\nhello" END, HTTP_ECHUNK, "hello"),

    NO("9112 7.1.1: nothing behind ';'", "5;\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: white space behind ';'", "5; \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: two ';'", "5;;a\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: no name", "5;=b\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: no value", "5;a=\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: white space for a value", "5;a= \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: ';' for a value", "5;a=;b\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: two values", "5;a=b=c\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: two names", "5;a b\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: white space at the end", "5;a \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: white space behind a value", "5;a=b \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: white space behind quotes", "5;a=\"b\" \r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: name is no token", "5;a/b\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: value is no token", "5;a=b/c\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: name quoted", "5;\"a\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: more right behind the quotes", "5;a=\"b\"c\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: quotes inside a value", "5;a=b\"c\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: bare LF ends an extension", "5;a\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9112 7.1.1: bare CR in an extension", "5;a\rb\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9110 5.6.4: quotes left open", "5;a=\"b\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9110 5.6.4: LF in quotes", "5;a=\"b\n\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9110 5.6.4: NUL in quotes", "5;a=\"b\0\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9110 5.6.4: DEL in quotes", "5;a=\"\x7f\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),
    NO("9110 5.6.4: CR as a quoted pair", "5;a=\"\\\r\n\"\r\nhello\r\n" END, HTTP_ECHUNK, ""),

    NO("9112 5.1: space before a trailer's colon", "0\r\nA : b\r\n\r\n", HTTP_ESPACE, ""),
    NO("9112 5.1: HTAB before a trailer's colon", "0\r\nA\t: b\r\n\r\n", HTTP_ESPACE, ""),
    NO("9112 5.2: folded trailer", "0\r\nA: b\r\n c\r\n\r\n", HTTP_EFOLD, ""),
    NO("9112 5.2: white space before the trailers", "0\r\n\tA: b\r\n\r\n", HTTP_EFOLD, ""),
    NO("9112 5: trailer without a colon", "0\r\nA\r\n\r\n", HTTP_EFIELD, ""),
    NO("9112 5: trailer without a name", "0\r\n: b\r\n\r\n", HTTP_EFIELD, ""),
    NO("9112 5: trailer's name is no token", "0\r\nA(: b\r\n\r\n", HTTP_EFIELD, ""),
    NO("9112 5: trailer's name is not ASCII", "0\r\n\xc3\x84: b\r\n\r\n", HTTP_EFIELD, ""),
    NO("9112 2.2: bare LF behind a trailer", "0\r\nA: b\n\r\n", HTTP_ECONTROL, ""),
    NO("9112 2.2: bare CR in a trailer", "0\r\nA: b\rc\r\n\r\n", HTTP_ECONTROL, ""),
    NO("9112 2.2: bare LF ends the trailers", "0\r\n\n", HTTP_ECONTROL, ""),
    NO("9112 2.2: bare CR ends the trailers", "0\r\n\rx", HTTP_ECONTROL, ""),
    NO("9110 5.5: NUL in a trailer", "0\r\nA: \0\r\n\r\n", HTTP_ECONTROL, ""),
    NO("9110 5.5: NUL in a trailer's name", "0\r\nA\0: b\r\n\r\n", HTTP_ECONTROL, ""),
    NO("9110 5.5: DEL in a trailer", "0\r\nA: \x7f\r\n\r\n", HTTP_ECONTROL, ""),
    CASE("what came before a fault is kept, the fault is not", "0\r\nA: b\x7f", ROTOR_HTTP_ECONTROL,
       "", "A: b"),
    NO("the next request for trailers", "0\r\nGET / HTTP/1.1\r\n\r\n", HTTP_ESPACE, ""),
};
/* clang-format on */

static void test_cases(void **state)
{
    static struct result r;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct chunked *c = &cases[i];
        decode_all_ways(&r, c->name, c->text, c->len, &defaults);
        if (r.verdict != c->verdict)
            fail_msg("%s: expected %zd, got %zd", c->name, c->verdict, r.verdict);
        if (r.len != strlen(c->body) || memcmp(r.body, c->body, r.len) != 0)
            fail_msg("%s: body is '%.*s'", c->name, (int)r.len, r.body);
        if (c->trailers && (r.trailers != strlen(c->trailers) ||
                            memcmp(r.body + r.len, c->trailers, r.trailers) != 0))
            fail_msg("%s: trailers are '%.*s'", c->name, (int)r.trailers, r.body + r.len);
    }
}

static void check_limit(const char *text, size_t len, const rotor_http_limits *limits,
                        ptrdiff_t expected)
{
    static struct result r;

    decode_all_ways(&r, text, text, len, limits);
    if (r.verdict != expected)
        fail_msg("%s: expected %zd, got %zd", text, expected, r.verdict);
}

static void test_limits(void **state)
{
    rotor_http_limits limits = {.chunk_line = 6, .chunk_extensions = 7, .trailers = 10, .body = 5};
#define CHECK(text, expected) check_limit(text, sizeof(text) - 1, &limits, expected)
    CHECK("5\r\nhello\r\n0\r\n\r\n", 15);
    CHECK("6", ROTOR_MORE);
    CHECK("6\r", ROTOR_HTTP_EBODYSIZE);
    CHECK("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 20);
    CHECK("3\r\nabc\r\n3\r\nde", ROTOR_HTTP_EBODYSIZE);

    CHECK("000000\r\n\r\n", 10);
    CHECK("0000000", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0;a=bc\r\n\r\n", 10);
    CHECK("0;a=bcd", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0;a=\"b\"", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0;a=bc\n", ROTOR_HTTP_ECHUNKSIZE);

    CHECK("1;a=bc\r\nx\r\n0;a\r\n\r\n", 18);
    CHECK("1;a=bc\r\nx\r\n0;aa", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("1 ;a=b\r\nx\r\n0;a\r\n\r\n", 18);
    CHECK("1 ;a=b\r\nx\r\n0 ;a", ROTOR_HTTP_ECHUNKSIZE);

    CHECK("0\r\nA:345678\r\n\r\n", 15);
    CHECK("0\r\nA:345678", ROTOR_MORE);
    CHECK("0\r\nA:3456789", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0\r\nA2345678901", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0\r\nA:\r\nB:34\r\n\r\n", 15);
    CHECK("0\r\nA:\r\nB:345", ROTOR_HTTP_ECHUNKSIZE);
    CHECK("0\r\nA:\r\nB:34\r\nC", ROTOR_HTTP_ECHUNKSIZE);

    limits.trailers = 0;
    CHECK("0\r\n\r\n", 5);
    CHECK("0\r\nA", ROTOR_HTTP_ECHUNKSIZE);
    limits.body = 0;
    CHECK("0\r\n\r\n", 5);
    CHECK("1\r", ROTOR_HTTP_EBODYSIZE);
    limits.body = UINT64_MAX;
    limits.chunk_line = 16;
    CHECK("FFFFFFFFFFFFFFFF\r\n", ROTOR_MORE);
    CHECK("1\r\na\r\nFFFFFFFFFFFFFFFe\r\n", ROTOR_MORE);
    CHECK("1\r\na\r\nFFFFFFFFFFFFFFFF\r\n", ROTOR_HTTP_EBODYSIZE);
#undef CHECK
}

/* The limit of the body is given with each call: it may be lowered, even below what there was. */
static void test_lowered(void **state)
{
    char first[] = "5\r\nhello\r\n", second[] = "1\r\n";
    rotor_http_chunked c = {0};
    size_t body;

    assert_int_equal(rotor_http_chunked_decode(&c, first, 10, &defaults, 5, &body, NULL), 0);
    assert_int_equal(body, 5);
    assert_int_equal(rotor_http_chunked_decode(&c, second, 3, &defaults, 4, &body, NULL),
                     ROTOR_HTTP_EBODYSIZE);
    assert_int_equal(body, 0);
}

/* What is put into chunks of random sizes comes out again, however it is split. */
static void test_round_trip(void **state)
{
    static char text[ROOM], plain[ROOM];
    static struct result r;
    unsigned seed = 3;

    for (int round = 0; round < 200; round++) {
        size_t n = 0, len = 0;

        for (int chunk = 0; chunk < round % 20; chunk++) {
            size_t size = 1 + (seed = seed * 1103515245 + 12345) / 65536 % (chunk % 5 ? 30 : 1000);
            len += (size_t)sprintf(text + len, chunk % 3 ? "%zx\r\n" : "%04zX;a=\"\\b\"\r\n", size);
            for (size_t i = 0; i < size; i++)
                text[len++] = plain[n++] = (char)((seed = seed * 1103515245 + 12345) / 65536);
            len += (size_t)sprintf(text + len, "\r\n");
        }
        len += (size_t)sprintf(text + len, "0\r\nTrailer: x\r\n\r\n");
        for (size_t step = 1; step <= len; step = step * 3 + 1) {
            decode(&r, text, len, step, step, &defaults, true);
            assert_int_equal(r.verdict, len);
            assert_int_equal(r.len, n);
            assert_memory_equal(r.body, plain, n);
            assert_int_equal(r.trailers, 12);
            assert_memory_equal(r.body + n, "Trailer: x\r\n", 12);
        }
    }
}

/* Damaged bodies: whatever the verdict is, it is the same in all the ways there are. */
static void test_damaged(void **state)
{
    static const char bytes[] = "\r\n\r\n\0 \t;:=\"\\0123faxg\x7f\xff";
    rotor_http_limits tight = {
        .chunk_line = 12, .chunk_extensions = 20, .trailers = 10, .body = 20};
    static struct result r;
    unsigned seed = 5;

    for (size_t i = 0; i < 2000; i++) {
        const struct chunked *c = &cases[i % (sizeof cases / sizeof *cases)];
        char text[128];

        if (c->len == 0)
            continue;
        memcpy(text, c->text, c->len);
        for (size_t n = 0; n <= i % 3; n++) {
            size_t at = (seed = seed * 1103515245 + 12345) / 65536 % c->len;
            text[at] = bytes[(seed = seed * 1103515245 + 12345) / 65536 % (sizeof bytes - 1)];
        }
        decode_all_ways(&r, c->name, text, c->len, i % 2 ? &tight : &defaults);
    }
}

static int setup(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    room = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED || ROOM % page != 0 ? -1 : mprotect(room + ROOM, page, PROT_NONE);
}

static int teardown(void **state)
{
    return munmap(room, ROOM + (size_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_lowered), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests_name("chunked", tests, setup, teardown);
}
