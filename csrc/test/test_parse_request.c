/* The parser of requests' heads, in all the ways that heads.h knows, and the searches under it. */
#include "test.h"

#include "../http/parser.h"
#include "../http/scan.h"

#include <sys/mman.h>
#include <unistd.h>

#include "request_cases.h"

static void test_accepted(void **state)
{
    heads_check(heads_request, accepted, sizeof accepted / sizeof *accepted);
}

static void test_refused(void **state)
{
    heads_check(heads_request, refused, sizeof refused / sizeof *refused);
}

/* Which bytes may stand where, each tried in the middle of a text of 40 bytes, where both the
** vectors and the loops behind them see it, and at its end. */
static void test_every_byte(void **state)
{
    static const char alnum[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char tchar[] = "!#$%&'*+-.^_`|~", host[] = "!$&'()*+,;=-._~";
    static const struct {
        const char *format;
        int kind;
    } places[] = {
        {"%s / HTTP/1.1\r\nHost: h\r\n\r\n", 't'},
        {"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", 'p'},
        {"GET /?%s HTTP/1.1\r\nHost: h\r\n\r\n", 'q'},
        {"GET / HTTP/1.1\r\nHost: h\r\n%s:\r\n\r\n", 'n'},
        {"GET / HTTP/1.1\r\nHost: %s\r\n\r\n", 'h'},
        {"GET / HTTP/1.1\r\nHost: h\r\nA:%s\r\n\r\n", 'v'},
        {"GET http://%s/ HTTP/1.1\r\nHost: h\r\n\r\n", 'h'},
    };
    static struct heads_result r;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (int b = 1; b < 256; b++) {
            for (int at = 0; at < 40; at += at == 20 ? 19 : 1) {
                char text[41], request[128];
                bool plain = strchr(alnum, b) != NULL, ok = plain;

                memset(text, 'a', 40);
                text[40] = '\0';
                text[at] = (char)b;
                switch (places[i].kind) {
                case 'n':
                case 't':
                    ok = plain || strchr(tchar, b) || (places[i].kind == 'n' && b == ':' && at > 0);
                    break;
                case 'p':
                    ok = (b > 32 && b < 127 && b != '#' && b != '%') || (b == '%' && at < 38);
                    break;
                case 'q':
                    ok = b > 32 && b < 127 && b != '#';
                    break;
                case 'h':
                    ok =
                        plain || strchr(host, b) || (b == '%' && at < 38) || (b == ':' && at == 39);
                    ok = ok || ((b == ' ' || b == '\t') && i == 4 && (at == 0 || at == 39));
                    ok = ok || ((b == '/' || b == '?') && i == 6 && at > 0);
                    break;
                default:
                    ok = b == '\t' || (b >= 32 && b != 127);
                }
                sprintf(request, places[i].format, text);
                heads_parse(&r, heads_request, request, strlen(request), strlen(request), 1,
                            &heads_limits);
                if ((r.verdict > 0) != ok)
                    fail_msg("byte %02x at %d in '%s': %zd", b, at, places[i].format, r.verdict);
            }
        }
    }
}

static void test_limits(void **state)
{
    rotor_http_limits limits = {.request_line = 14, .head = 19, .fields = 2, .empty_lines = 1};
#define CHECK(text, expected) heads_expect(heads_request, TEXT(text), &limits, expected)
    CHECK("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
    CHECK("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 29);
    CHECK("\r\n\r\n", ROTOR_HTTP_EEMPTY);
    CHECK("\r\n\r", ROTOR_MORE);

    CHECK("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", ROTOR_HTTP_ELINESIZE);
    CHECK("GET /aaaaaaaaa", ROTOR_MORE);
    CHECK("GET /aaaaaaaaaa", ROTOR_HTTP_ELINESIZE);
    CHECK("GET (aaaaaaaaaa", ROTOR_HTTP_ELINESIZE);
    CHECK("GET /aaaaaaaaa\n", ROTOR_HTTP_ECONTROL);
    CHECK("GET /aaaaaaaaa\r", ROTOR_MORE);

    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:4567890\r\n\r\n", ROTOR_HTTP_EHEADSIZE);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:456789\r\n\r\n", 37);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:456789", ROTOR_MORE);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:4567890", ROTOR_HTTP_EHEADSIZE);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:456789\x01", ROTOR_HTTP_ECONTROL);
    CHECK("GET / HTTP/1.1\r\nHost: 78901234567\r\n\r\n", 37);
    CHECK("GET / HTTP/1.1\r\nHost: 789012345678\r\n\r\n", ROTOR_HTTP_EHEADSIZE);

    limits.head = 100;
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n", 31);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:\r\nB", ROTOR_HTTP_EFIELDS);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:\r\n B", ROTOR_HTTP_EFIELDS);
    CHECK("GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\n", ROTOR_HTTP_ECONTROL);

    limits.fields = 0;
    limits.empty_lines = 0;
    CHECK("GET / HTTP/1.0\r\n\r\n", 18);
    CHECK("GET / HTTP/1.0\r\nH", ROTOR_HTTP_EFIELDS);
    CHECK("\r\n", ROTOR_HTTP_EEMPTY);
    limits.head = 0;
    CHECK("GET / HTTP/1.0\r\n\r\n", 18);
#undef CHECK
}

/* With the defaults and at full size: 8 KiB of request line and 32 KiB of head, exactly and one
** over. */
static void test_default_limits(void **state)
{
    static char text[64 * 1024];
    static struct heads_result r;
    const char start[] = "GET /", middle[] = " HTTP/1.1\r\nHost: h\r\nA:";

    for (int over = 0; over < 4; over++) {
        int path = 8192 - 14 + (over & 1), value = 32768 - 9 - 4 + (over >> 1);
        size_t n;
        n = (size_t)sprintf(text, "%s", start);
        n += (size_t)sprintf(text + n, "%0*d%s", path, 0, middle);
        n += (size_t)sprintf(text + n, "%0*d\r\n\r\n", value, 0);
        for (size_t step = 1; step < 70000; step = step * 7 + 1) {
            rotor_http_field fields[128];
            rotor_http_head head = {.fields = fields};
            rotor_http_progress progress = {0};
            size_t len = 0;

            do {
                len = len + step < n ? len + step : n;
                r.verdict = rotor_http_parse_request(&head, heads_place(text, len), len,
                                                     &heads_limits, &progress);
            } while (r.verdict == ROTOR_MORE && len < n);
            if (over == 0)
                assert_int_equal(r.verdict, n);
            else
                assert_int_equal(r.verdict, over & 1 ? ROTOR_HTTP_ELINESIZE : ROTOR_HTTP_EHEADSIZE);
        }
    }
}

static void protect(size_t from, size_t to, int how)
{
    if (from < to)
        assert_int_equal(mprotect(heads_room + from, to - from, how), 0);
}

/* A head that comes byte by byte is looked at a bounded number of times: the lines that are
** complete are unreadable until the last byte is there, and what was scanned of the present line
** until its LF is. (By whole pages, but for the line's first bytes and the 16 before that a vector
** overlaps.) */
static void check_linear(int path, int value, int times)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    rotor_http_limits limits = {.request_line = HEADS_ROOM, .head = HEADS_ROOM, .fields = 3000};
    rotor_http_field *fields = malloc(limits.fields * sizeof *fields);
    rotor_http_head head = {.fields = fields};
    rotor_http_progress progress = {0};
    size_t n = (size_t)sprintf(heads_room, "GET /%0*d HTTP/1.1\r\nHost: h\r\n", path, 0),
           closed = 0;

    assert_non_null(fields);
    while (times-- > 0)
        n += (size_t)sprintf(heads_room + n, "A: %0*d\r\n", value, 0);
    n += (size_t)sprintf(heads_room + n, "\r\n");
    assert_true(n < HEADS_ROOM);

    for (size_t len = 1; len <= n; len++) {
        rotor_http_progress before = progress;
        size_t start, line, end;
        ptrdiff_t got;

        if (heads_room[len - 1] == '\n')
            protect(len < n ? before.line / page * page : 0, HEADS_ROOM, PROT_READ | PROT_WRITE);
        got = rotor_http_parse_request(&head, heads_room, len, &limits, &progress);
        assert_int_equal(got, len < n ? ROTOR_MORE : (ptrdiff_t)n);
        if (got != ROTOR_MORE)
            break;
        assert_true(progress.scanned >= before.scanned && progress.line >= before.line);
        start = progress.line < 16 ? 0 : (progress.line - 16) / page * page;
        line = progress.line / page * page + page;
        end = progress.scanned < 16 ? 0 : (progress.scanned - 16) / page * page;
        protect(0, start, PROT_NONE);
        protect(line, end, PROT_NONE);
        closed += start + (end > line ? end - line : 0);
    }
    assert_true(closed > 0);
    free(fields);
}

static void test_linear(void **state)
{
    check_linear(32000, 1, 1);
    check_linear(1, 32000, 1);
    check_linear(1, 14, 1600);
}

/* The vectors against the loop: every length, and with it every alignment, and every byte value. */
static void test_scan(void **state)
{
    static char text[200];
    unsigned seed = 1;

    memset(text, 'a', sizeof text);
    for (size_t len = 1; len <= sizeof text; len++) {
        char *data = heads_place(text, len), *end = data + len;

        assert_ptr_equal(rotor__scan(end, end, end), end);
        for (int b = 0; b < 256; b++) {
            size_t at = (seed = seed * 1103515245 + 12345) / 65536 % len;
            char *expected = (b < 32 && b != '\t') || b == 127 ? data + at : end;

            data[at] = (char)b;
            assert_ptr_equal(rotor__scan_scalar(data, end), expected);
            for (char *from = data; from <= end; from += 1 + len / 8)
                assert_ptr_equal(rotor__scan(data, from, end), rotor__scan_scalar(from, end));
            data[at] = 'a';
        }
        for (size_t at = 0; at < len; at++) { /* the first of two, each place */
            data[at] = data[len - 1] = '\r';
            assert_ptr_equal(rotor__scan(data, data, end), data + at);
            data[at] = data[len - 1] = 'a';
        }
    }
}

/* The head start must never run over a byte that is not in both classes; where there are vectors it
** finds what it should. */
static void test_plain(void **state)
{
    static const char text[] = "aaaaaaaaaaaaaaaaaaaa\r\n";
    char *data = heads_place(text, 22), *end = data + 22;

    for (int b = 0; b < 256; b++) {
        for (size_t at = 0; at < 20; at++) {
            bool plain = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') ||
                         (b >= 'a' && b <= 'z') || b == '-' || b == '.';
            size_t expected = plain || at > 16 ? 16 : at, n;

            data[at] = (char)b;
#if !defined(ROTOR__SIMD)
            expected = 0;
#endif
            assert_int_equal(rotor__plain(data, end), expected);
            assert_ptr_equal(rotor__scan_plain(data, data, end, &n), rotor__scan_scalar(data, end));
            assert_int_equal(n, expected);
            assert_int_equal(rotor__plain(end - 15, end), 0);
            data[at] = 'a';
        }
    }
}

/* Short texts are looked at in another way than long ones. */
static void test_characters_anywhere(void **state)
{
    for (size_t n = 1; n <= 20; n++) {
        char *text = memset(heads_room + HEADS_ROOM - n, 'a', n);
        for (size_t at = 0; at < n; at++) {
            for (int b = 0; b < 256; b++) {
                bool is_token = rotor__is((char)b, ROTOR__TOKEN);
                text[at] = (char)b;
                assert_int_equal(rotor_http_is_token(text, n), is_token);
                assert_int_equal(rotor_http_is_value(text, n), b == '\t' || (b >= 32 && b != 127));
            }
            text[at] = 'a';
        }
    }
}

static void test_characters(void **state)
{
    static const char name[] = "!#$%&'*+-.^_`|~09azAZ";

    assert_true(rotor_http_is_token(name, sizeof name - 1));
    assert_false(rotor_http_is_token(name, sizeof name));
    assert_true(rotor_http_is_token("ab", 1));
    assert_false(rotor_http_is_token("", 0));
    assert_false(rotor_http_is_token("a b", 3));
    assert_false(rotor_http_is_token("a:", 2));
    assert_false(rotor_http_is_token("\xe9", 1));

    assert_true(rotor_http_is_value("", 0));
    assert_true(rotor_http_is_value("a \t\x80\xff~", 6));

    assert_true(rotor_http_name_equal("Content-Length", "cONTENT-lENGTH", 14));
    assert_true(rotor_http_name_equal("a", "b", 0));
    assert_false(rotor_http_name_equal("ab", "ac", 2));
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool letters = (a | 32) == (b | 32) && (a | 32) >= 'a' && (a | 32) <= 'z';
            assert_int_equal(rotor_http_name_equal(&x, &y, 1), a == b || letters);
        }
    }
}

static void test_status(void **state)
{
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_ELINE), 400);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_ESMUGGLE), 400);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_EBODYSIZE), 413);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_ELINESIZE), 414);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_EEXPECT), 417);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_EHEADSIZE), 431);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_EFIELDS), 431);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_ECODING), 501);
    assert_int_equal(rotor_http_error_status(ROTOR_HTTP_EUNSUPPORTED), 505);
    assert_int_equal(rotor_http_error_status(ROTOR_ETIMEDOUT), 500);
    assert_int_equal(rotor_http_error_status(UV_ENOMEM), 500);
    assert_int_equal(rotor_http_error_status(0), 500);
}

static void test_damaged(void **state)
{
    heads_check_damaged(heads_request, accepted, sizeof accepted / sizeof *accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_byte),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_default_limits), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_scan),           cmocka_unit_test(test_plain),
        cmocka_unit_test(test_characters),     cmocka_unit_test(test_characters_anywhere),
        cmocka_unit_test(test_status),         cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests_name("parse_request", tests, heads_setup, heads_teardown);
}
