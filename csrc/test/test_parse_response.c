/* The parser of responses' heads, in all the ways that heads.h knows, and what frames a body. */
#include "test.h"

#include "response_cases.h"
#include "scalar.h"

static void test_accepted(void **state)
{
    heads_check(heads_response, accepted, sizeof accepted / sizeof *accepted);
}

static void test_refused(void **state)
{
    heads_check(heads_response, refused, sizeof refused / sizeof *refused);
}

static void test_damaged(void **state)
{
    heads_check_damaged(heads_response, accepted, sizeof accepted / sizeof *accepted);
}

/* Which bytes may stand where. */
static void test_every_byte(void **state)
{
    static const char digits[] = "0123456789", tchar[] = "!#$%&'*+-.^_`|~";
    static const struct {
        const char *before, *behind;
        int kind;
    } places[] = {
        {"HTT", "/1.1 200 OK\r\n\r\n", 'P'},
        {"HTTP/", ".1 200 OK\r\n\r\n", '1'},
        {"HTTP/1.", " 200 OK\r\n\r\n", 'd'},
        {"HTTP/1.1", "200 OK\r\n\r\n", ' '},
        {"HTTP/1.1 ", "00 OK\r\n\r\n", 's'},
        {"HTTP/1.1 2", "0 OK\r\n\r\n", 'd'},
        {"HTTP/1.1 20", " OK\r\n\r\n", 'd'},
        {"HTTP/1.1 200", "OK\r\n\r\n", ' '},
        {"HTTP/1.1 200", "\r\n\r\n", ' '},
        {"HTTP/1.1 200 a", "b\r\n\r\n", 'v'},
        {"HTTP/1.1 200 a", "\r\n\r\n", 'v'},
        {"HTTP/1.1 200 ", "\r\n\r\n", 'v'},
        {"HTTP/1.1 200 OK\r", "\r\n", '\n'},
        {"HTTP/1.1 200 OK\r\n", ":\r\n\r\n", 't'},
        {"HTTP/1.1 200 OK\r\na", "\r\n\r\n", ':'},
        {"HTTP/1.1 200 OK\r\na:b", "c\r\n\r\n", 'v'},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1", "2\r\n\r\n", 'l'},
    };
    static struct heads_result r;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (int b = 0; b < 256; b++) {
            char text[80];
            int len = snprintf(text, sizeof text, "%s", places[i].before);
            bool ok = b == places[i].kind, digit = b > 0 && strchr(digits, b);

            text[len] = (char)b;
            len +=
                1 + snprintf(text + len + 1, sizeof text - (size_t)len - 1, "%s", places[i].behind);
            switch (places[i].kind) {
            case 'd':
            case 'l':
                ok = digit;
                break;
            case 's':
                ok = digit && b != '0';
                break;
            case 'v':
                ok = b == '\t' || (b >= 32 && b != 127);
                break;
            case 't':
                ok = digit || ((b | 32) >= 'a' && (b | 32) <= 'z') || (b > 0 && strchr(tchar, b));
                break;
            default:
                break;
            }
            heads_parse(&r, heads_response, text, (size_t)len, (size_t)len, 1, &heads_limits);
            if ((r.verdict > 0) != ok)
                fail_msg("byte %02x in '%s': %zd", b, places[i].before, r.verdict);
        }
    }
}

/* A number of three digits is a status, or is not, whatever its digits are. */
static void test_every_status(void **state)
{
    static struct heads_result r;
    char text[32], shown[16];

    for (int status = 0; status < 1000; status++) {
        size_t len = (size_t)sprintf(text, "HTTP/1.1 %03d \r\n\r\n", status);
        sprintf(shown, "%d", status);
        heads_parse(&r, heads_response, text, len, len, 1, &heads_limits);
        if (status < 100) {
            assert_int_equal(r.verdict, ROTOR_HTTP_ESTATUS);
        } else {
            assert_int_equal(r.verdict, len);
            assert_string_equal(r.shown, shown);
        }
    }
}

static void test_limits(void **state)
{
    rotor_http_limits limits = {.request_line = 15, .head = 10, .fields = 2};
#define CHECK(text, expected) heads_expect(heads_response, TEXT(text), &limits, expected)
    CHECK("HTTP/1.1 200 OK\r\n\r\n", 19);
    CHECK("HTTP/1.1 200 OK!\r\n\r\n", ROTOR_HTTP_ELINESIZE);
    CHECK("HTTP/1.1 200 OK\r", ROTOR_MORE);
    CHECK("HTTP/1.1 200 OK!", ROTOR_HTTP_ELINESIZE);
    CHECK("a page of HTML ", ROTOR_MORE);
    CHECK("a page of HTML, without end", ROTOR_HTTP_ELINESIZE);
    CHECK("HTTP/1.1 200 OK\n", ROTOR_HTTP_ECONTROL);
    CHECK("\r\nHTTP/1.1 200 OK\r\n\r\n", ROTOR_HTTP_ESTATUSLINE);

    CHECK("HTTP/1.1 200 OK\r\nA:3456789\r\n\r\n", ROTOR_HTTP_EHEADSIZE);
    CHECK("HTTP/1.1 200 OK\r\nA:345678\r\n\r\n", 29);
    CHECK("HTTP/1.1 200 OK\r\nA:345678", ROTOR_MORE);
    CHECK("HTTP/1.1 200 OK\r\nA:3456789", ROTOR_HTTP_EHEADSIZE);

    limits.head = 100;
    CHECK("HTTP/1.1 200 OK\r\nA:\r\nB:\r\n\r\n", 27);
    CHECK("HTTP/1.1 200 OK\r\nA:\r\nB:\r\nC", ROTOR_HTTP_EFIELDS);
    limits.fields = 0;
    CHECK("HTTP/1.1 200 OK\r\n\r\n", 19);
    CHECK("HTTP/1.1 200 OK\r\nA", ROTOR_HTTP_EFIELDS);
#undef CHECK
}

/* RFC 9112 section 6.3, rule by rule. */
static void test_framing(void **state)
{
    static const struct {
        const char *method;
        int status;
        const char *fields;
        rotor_http_framing framing;
    } cases[] = {
        {"HEAD", 200, "Content-Length: 5\r\n", ROTOR_HTTP_NO_BODY},
        {"HEAD", 200, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_NO_BODY},
        {"HEAD", 200, "", ROTOR_HTTP_NO_BODY},
        {"HEAD", 404, "", ROTOR_HTTP_NO_BODY},
        {"GET", 100, "", ROTOR_HTTP_NO_BODY},
        {"GET", 101, "", ROTOR_HTTP_NO_BODY},
        {"GET", 199, "", ROTOR_HTTP_NO_BODY},
        {"GET", 204, "", ROTOR_HTTP_NO_BODY},
        {"GET", 204, "Content-Length: 5\r\n", ROTOR_HTTP_NO_BODY},
        {"GET", 204, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_NO_BODY},
        {"GET", 304, "", ROTOR_HTTP_NO_BODY},
        {"GET", 304, "Content-Length: 5\r\n", ROTOR_HTTP_NO_BODY},
        {"GET", 304, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_NO_BODY},
        {"CONNECT", 200, "", ROTOR_HTTP_NO_BODY},
        {"CONNECT", 200, "Content-Length: 5\r\n", ROTOR_HTTP_NO_BODY},
        {"CONNECT", 299, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_NO_BODY},
        {"CONNECT", 300, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"CONNECT", 407, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_CHUNKED},
        {"CONNECT", 502, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"GET", 200, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_CHUNKED},
        {"GET", 404, "Transfer-Encoding: chunked\r\n", ROTOR_HTTP_CHUNKED},
        {"GET", 200, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"GET", 200, "Content-Length: 0\r\n", ROTOR_HTTP_LENGTH},
        {"GET", 205, "Content-Length: 0\r\n", ROTOR_HTTP_LENGTH},
        {"GET", 303, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"GET", 600, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"GET", 200, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"GET", 200, "Connection: keep-alive\r\n", ROTOR_HTTP_UNTIL_CLOSE},
        {"GET", 205, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"GET", 305, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"POST", 200, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"head", 200, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"connect", 200, "", ROTOR_HTTP_UNTIL_CLOSE},
        {"HEAT", 200, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"HEADS", 200, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
        {"CONNECX", 200, "Content-Length: 5\r\n", ROTOR_HTTP_LENGTH},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rotor_http_field fields[8];
        rotor_http_response_head head = {.fields = fields};
        rotor_http_progress progress = {0};
        const char *method = cases[i].method;
        char text[80];
        size_t len =
            (size_t)sprintf(text, "HTTP/1.1 %d x\r\n%s\r\n", cases[i].status, cases[i].fields);

        assert_int_equal(rotor_http_parse_response(&head, text, len, &heads_limits, &progress),
                         len);
        if (rotor_http_response_framing(&head, method, strlen(method)) != cases[i].framing)
            fail_msg("%s, %d, %s: not %d", method, cases[i].status, cases[i].fields,
                     cases[i].framing);
        assert_int_equal(scalar_response_framing(&head, method, strlen(method)), cases[i].framing);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_every_status),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_framing),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests_name("parse_response", tests, heads_setup, heads_teardown);
}
