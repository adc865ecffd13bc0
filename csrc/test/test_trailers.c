/* Trailer sections: their fields, always against an unreadable page, and which may be among them. */
#include "test.h"

#include "../http/chunked.h"

#include <sys/mman.h>
#include <unistd.h>

static char *page; /* cannot be touched; the one before can */

/* Parse the section, against the page, and leave its fields in `shown` and their number. */
static ptrdiff_t show_trailers(char *shown, const char *text, size_t len, size_t room_for)
{
    rotor_http_field fields[8];
    const char *data = memcpy(page - len, text, len);
    ptrdiff_t n;

    memset(fields, 0xff, sizeof fields);
    n = rotor_http_parse_trailers(fields, room_for, data, len);
    *shown = '\0';
    for (size_t i = 0; n > 0 && i < (size_t)n && i < room_for; i++) {
        rotor_http_field f = fields[i];
        assert_true((size_t)f.name.at + f.name.len < len && (size_t)f.value.at + f.value.len < len);
        shown += sprintf(shown, "[%.*s=%.*s]", (int)f.name.len, data + f.name.at, (int)f.value.len,
                         data + f.value.at);
    }
    return n;
}

static void test_trailers(void **state)
{
    static const struct {
        const char *text;
        ptrdiff_t n;
        const char *shown;
    } sections[] = {
        {"", 0, ""},
        {"A: b\r\n", 1, "[A=b]"},
        {"A:\r\nETag:\t\"x\" \r\nA:c d\r\n", 3, "[A=][ETag=\"x\"][A=c d]"},
        {"A: b\r\nHost: h\r\nC: d\r\n", 2, "[A=b][C=d]"},
        {"content-LENGTH: 5\r\n", 0, ""},
        {"A: b", ROTOR_HTTP_ECONTROL, ""},
        {"A: b\r", ROTOR_HTTP_ECONTROL, ""},
        {"A: b\n", ROTOR_HTTP_ECONTROL, ""},
        {"A: b\x01\r\n", ROTOR_HTTP_ECONTROL, ""},
        {"A: b\r\n\r\n", ROTOR_HTTP_EFIELD, ""},
        {"A: b\r\nC\r\n", ROTOR_HTTP_EFIELD, ""},
        {"A : b\r\n", ROTOR_HTTP_ESPACE, ""},
        {"A: b\r\n c\r\n", ROTOR_HTTP_EFOLD, ""},
    };
    char shown[256];

    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const char *text = sections[i].text;
        if (show_trailers(shown, text, strlen(text), 8) != sections[i].n)
            fail_msg("'%s': not %zd", text, sections[i].n);
        assert_string_equal(shown, sections[i].shown);
    }
    assert_int_equal(show_trailers(shown, "A: b\r\nHost: h\r\nC: d\r\nE: f\r\n", 27, 2), 3);
    assert_string_equal(shown, "[A=b][C=d]");
    assert_int_equal(rotor_http_parse_trailers(NULL, 0, "A: b\r\n", 6), 1);
}

/* RFC 9110 section 6.5.1. */
static void test_which_may_trail(void **state)
{
    static const char *const barred[] = {"Transfer-Encoding",
                                         "Content-Length",
                                         "TE",
                                         "Trailer",
                                         "Connection",
                                         "Keep-Alive",
                                         "Proxy-Connection",
                                         "Upgrade",
                                         "HTTP2-Settings",
                                         "Host",
                                         "Max-Forwards",
                                         "Forwarded",
                                         "X-Forwarded-For",
                                         "X-Forwarded-Host",
                                         "X-Real-IP",
                                         "Authorization",
                                         "Proxy-Authorization",
                                         "WWW-Authenticate",
                                         "Proxy-Authenticate",
                                         "Cookie",
                                         "Set-Cookie",
                                         "Cache-Control",
                                         "Expect",
                                         "Pragma",
                                         "Range",
                                         "If-Match",
                                         "If-None-Match",
                                         "If-Modified-Since",
                                         "If-Unmodified-Since",
                                         "If-Range",
                                         "Accept",
                                         "Accept-Charset",
                                         "Accept-Encoding",
                                         "Accept-Language",
                                         "Age",
                                         "Date",
                                         "Expires",
                                         "Location",
                                         "Retry-After",
                                         "Vary",
                                         "Warning",
                                         "Content-Encoding",
                                         "Content-Language",
                                         "Content-Location",
                                         "Content-Range",
                                         "Content-Type",
                                         "Content-Disposition"};
    static const char *const allowed[] = {"ETag",
                                          "Accept-Ranges",
                                          "Authentication-Info",
                                          "Content-Digest",
                                          "Repr-Digest",
                                          "Signature",
                                          "Server-Timing",
                                          "grpc-status",
                                          "If",
                                          "If-",
                                          "X-Forwarded",
                                          "Hosts",
                                          "Hos",
                                          "T",
                                          "x"};

    for (size_t i = 0; i < sizeof barred / sizeof *barred; i++) {
        char name[32] = "";
        size_t len = strlen(barred[i]);
        assert_false(rotor_http_is_trailer(barred[i], len));
        for (size_t at = 0; at < len; at++)
            name[at] = (char)(barred[i][at] >= 'A' && barred[i][at] <= 'Z' ? barred[i][at] | 32
                                                                           : barred[i][at]);
        assert_false(rotor_http_is_trailer(name, len));
        name[0] = '~';
        assert_true(rotor_http_is_trailer(name, len));
    }
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        assert_true(rotor_http_is_trailer(allowed[i], strlen(allowed[i])));
}

static int setup(void **state)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);

    page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    page += size;
    return mprotect(page, size, PROT_NONE);
}

static int teardown(void **state)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);

    return munmap(page - size, 2 * size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_which_may_trail),
    };

    return cmocka_run_group_tests_name("trailers", tests, setup, teardown);
}
