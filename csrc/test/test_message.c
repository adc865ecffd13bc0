#include "test.h"

#include "../http/message.h"
#include "support.h"

static rotor_text text(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

static rotor_http_response open_response(void)
{
    return (rotor_http_response){.keep_alive = true, .minor = 1};
}

static int add(rotor_http_response *r, const char *name, const char *value)
{
    return rotor_http_response_add(r, text(name), text(value));
}

static int try_send(rotor_http_response *r, int status, const char *body)
{
    rotor_buf out = ROTOR_BUF_INIT;
    int error = rotor_http_response_send(r, &out, status, text(body));
    assert_int_equal(rotor_buf_len(&out) > 0, error == 0);
    rotor_buf_fini(&out);
    return error;
}

/* Sends, ends the response, and holds what came out against `expected`. */
static void sends(rotor_http_response r, int status, const char *body, const char *expected)
{
    rotor_buf out = ROTOR_BUF_INIT;
    assert_int_equal(rotor_buf_extend(&out, "<", 1), 0); /* what is there already stays */
    assert_int_equal(rotor_http_response_send(&r, &out, status, text(body)), 0);
    assert_int_equal(rotor_buf_extend(&out, "", 1), 0);
    assert_string_equal(rotor_buf_data(&out) + 1, expected);
    rotor_buf_fini(&out);
    rotor_http_response_fini(&r);
}

/* -- dates ------------------------------------------------------------------------------------- */

static void dates_follow_the_calendar(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {1735689600, "Wed, 01 Jan 2025 00:00:00 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, /* 2100 is no leap year */
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"}, /* there is no later one */
        {UINT64_MAX / 1000, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char date[ROTOR_HTTP_DATE_SIZE];
        rotor_http_format_date(date, cases[i].seconds * 1000);
        assert_string_equal(date, cases[i].text);
        rotor_http_format_date(date, cases[i].seconds * 1000 + 615);
        assert_string_equal(date, cases[i].text);
    }
}

static void dates_name_each_day_and_month(void **state)
{
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t day = 0;
    for (int month = 0; month < 12; month++) {
        for (int i = 1; i <= lengths[month]; i++, day++) {
            char date[ROTOR_HTTP_DATE_SIZE], expected[64];
            rotor_http_format_date(date, day * 86400000);
            snprintf(expected, sizeof expected, "%s, %02d %s 1970 00:00:00 GMT", days[day % 7], i,
                     months[month]);
            assert_string_equal(date, expected);
        }
    }
}

/* -- status lines ------------------------------------------------------------------------------ */

static void reasons(void **state)
{
    assert_string_equal(rotor_http_reason(100), "Continue");
    assert_string_equal(rotor_http_reason(200), "OK");
    assert_string_equal(rotor_http_reason(308), "Permanent Redirect");
    assert_string_equal(rotor_http_reason(404), "Not Found");
    assert_string_equal(rotor_http_reason(413), "Content Too Large");
    assert_string_equal(rotor_http_reason(431), "Request Header Fields Too Large");
    assert_string_equal(rotor_http_reason(505), "HTTP Version Not Supported");
    assert_string_equal(rotor_http_reason(511), "Network Authentication Required");
    static const int none[] = {INT32_MIN, -1,  0,   99,  199, 306,  418,
                               420,       499, 512, 599, 600, 1000, INT32_MAX};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_string_equal(rotor_http_reason(none[i]), "");
}

static void status_lines(void **state)
{
    sends(open_response(), 200, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    sends(open_response(), 404, "no", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    /* The space stands before an empty reason, too. */
    sends(open_response(), 299, "", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
    sends(open_response(), 599, "", "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n");
}

static void statuses_out_of_range_are_refused(void **state)
{
    rotor_http_response r = open_response();
    static const int bad[] = {INT32_MIN, -200, 0, 99, 100, 101, 199, 600, 1000, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(try_send(&r, bad[i], ""), UV_EINVAL);
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* -- header fields ----------------------------------------------------------------------------- */

static void fields_stand_in_their_order(void **state)
{
    rotor_http_response r = open_response();
    assert_int_equal(add(&r, "X-B", "2"), 0);
    assert_int_equal(add(&r, "x-a", "1, \t 1"), 0);
    assert_int_equal(add(&r, "Set-Cookie", "a=b"), 0);
    assert_int_equal(add(&r, "Set-Cookie", "c=d"), 0);
    assert_int_equal(add(&r, "Empty", ""), 0);
    assert_int_equal(rotor_http_response_add(&r, text("Null"), (rotor_text){NULL, 0}), 0);
    assert_int_equal(add(&r, "Latin", "caf\xe9"), 0);
    sends(r, 200, "",
          "HTTP/1.1 200 OK\r\nX-B: 2\r\nx-a: 1, \t 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"
          "Empty: \r\nNull: \r\nLatin: caf\xe9\r\nContent-Length: 0\r\n\r\n");
}

static void every_byte_of_a_name_is_checked(void **state)
{
    rotor_http_response r = open_response();
    for (int c = 0; c < 256; c++) {
        char name[] = {'a', (char)c, 'b'};
        bool is_token = c && (strchr("!#$%&'*+-.^_`|~", c) || (c >= '0' && c <= '9') ||
                              ((c | 32) >= 'a' && (c | 32) <= 'z'));
        int expected = is_token ? 0 : ROTOR_EHEADER;
        for (size_t at = 0; at < 2; at++)
            assert_int_equal(
                rotor_http_response_add(&r, (rotor_text){name + at, 3 - at}, text("v")), expected);
    }
    assert_int_equal(rotor_http_response_add(&r, (rotor_text){NULL, 0}, text("v")), ROTOR_EHEADER);
    rotor_http_response_fini(&r);
}

static void every_byte_of_a_value_is_checked(void **state)
{
    for (int c = 0; c < 256; c++) {
        bool is_control = (c < 32 && c != '\t') || c == 127;
        for (size_t at = 0; at < 40; at++) { /* wherever it falls in a vector */
            rotor_http_response r = open_response();
            char value[40];
            memset(value, 'v', sizeof value);
            value[at] = (char)c;
            int error = rotor_http_response_add(&r, text("n"), (rotor_text){value, sizeof value});
            assert_int_equal(error, is_control ? ROTOR_EHEADER : 0);
            rotor_http_response_fini(&r);
        }
    }
}

static void a_refused_field_leaves_the_response_as_it_was(void **state)
{
    static const struct {
        const char *name, *value;
    } bad[] = {
        {"Evil", "a\r\nSet-Cookie: b"},
        {"Evil", "a\nb"},
        {"Evil", "a\rb"},
        {"Evil\r\nName", "a"},
        {"Evil Name", "a"},
        {"Evil:", "a"},
        {"", "a"},
        {"Content-Length", ""},
        {"Content-Length", "+1"},
        {"Content-Length", "-1"},
        {"Content-Length", "1 "},
        {"Content-Length", "1, 1"},
        {"Content-Length", "0x1"},
        {"content-length", "99999999999999999999"},
        {"Transfer-Encoding", "chunked"},
        {"transfer-encoding", "identity"},
        {"Connection", "keep-alive"},
        {"Connection", "upgrade"},
        {"Connection", ""},
        {"connection", "close, upgrade"},
    };
    rotor_http_response r = open_response();
    assert_int_equal(add(&r, "Kept", "1"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(add(&r, bad[i].name, bad[i].value), ROTOR_EHEADER);
    sends(r, 200, "body", "HTTP/1.1 200 OK\r\nKept: 1\r\nContent-Length: 4\r\n\r\nbody");
}

static void the_date_is_the_usual_one_or_the_handlers(void **state)
{
    rotor_http_response r = open_response();
    r.date = "Sun, 06 Nov 1994 08:49:37 GMT";
    sends(r, 204, "", "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");

    assert_int_equal(add(&r, "DATE", "Mon, 28 Feb 2000 23:59:59 GMT"), 0);
    assert_int_equal(add(&r, "date", "Mon, 28 Feb 2000 23:59:59 GMT"), ROTOR_EHEADER);
    sends(r, 204, "", "HTTP/1.1 204 No Content\r\nDATE: Mon, 28 Feb 2000 23:59:59 GMT\r\n\r\n");
}

static void connections(void **state)
{
    rotor_http_response r = open_response();
    assert_int_equal(add(&r, "connection", "CLOSE"), 0);
    assert_int_equal(add(&r, "Connection", "close"), 0); /* is said once */
    assert_false(r.keep_alive);
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");

    r = (rotor_http_response){.keep_alive = true, .minor = 0};
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    r = (rotor_http_response){.keep_alive = false, .minor = 0};
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

/* -- bodies ------------------------------------------------------------------------------------ */

static void a_declared_length_must_be_right(void **state)
{
    rotor_http_response r = open_response();
    assert_int_equal(add(&r, "Content-Length", "4"), 0);
    assert_int_equal(add(&r, "Content-Length", "4"), ROTOR_EHEADER);
    assert_int_equal(try_send(&r, 200, "bod"), ROTOR_EBODY);
    assert_int_equal(try_send(&r, 200, "body!"), ROTOR_EBODY);
    assert_int_equal(try_send(&r, 200, ""), ROTOR_EBODY);
    sends(r, 200, "body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");

    r = open_response();
    assert_int_equal(add(&r, "Content-Length", "18446744073709551609"), 0);
    assert_int_equal(try_send(&r, 200, ""), ROTOR_EBODY);
}

static void some_statuses_have_no_body(void **state)
{
    static const struct {
        int status;
        bool to_connect;
        const char *expected;
    } cases[] = {
        {204, false, "HTTP/1.1 204 No Content\r\n\r\n"},
        {304, false, "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {205, false, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"},
        {200, true, "HTTP/1.1 200 OK\r\n\r\n"},
        {299, true, "HTTP/1.1 299 \r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rotor_http_response r = open_response();
        r.to_connect = cases[i].to_connect;
        assert_int_equal(try_send(&r, cases[i].status, "body"), ROTOR_EBODY);
        sends(r, cases[i].status, "", cases[i].expected);
    }
    rotor_http_response r = open_response();
    r.to_connect = true;
    sends(r, 300, "body", "HTTP/1.1 300 Multiple Choices\r\nContent-Length: 4\r\n\r\nbody");

    for (int status = 100; status < 600; status++)
        assert_int_equal(rotor_http_is_bodiless(status),
                         status < 200 || status == 204 || status == 304);
}

static void some_statuses_have_no_length(void **state)
{
    for (int to_head = 0; to_head <= 1; to_head++) {
        for (int length = 0; length <= 1; length++) {
            rotor_http_response r = open_response();
            r.to_head = to_head;
            assert_int_equal(add(&r, "Content-Length", length ? "4" : "0"), 0);
            assert_int_equal(try_send(&r, 204, ""), ROTOR_EBODY);
            if (length > 0)
                assert_int_equal(try_send(&r, 205, ""), ROTOR_EBODY);
            r.to_connect = true;
            assert_int_equal(try_send(&r, 200, ""), ROTOR_EBODY);
        }
    }
    /* With 304 it is that of the body that was not sent. */
    rotor_http_response r = open_response();
    assert_int_equal(add(&r, "Content-Length", "4"), 0);
    sends(r, 304, "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n");
}

static void to_head_the_body_is_counted_and_left_out(void **state)
{
    rotor_http_response r = open_response();
    r.to_head = true;
    sends(r, 200, "body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    sends(r, 200, "", "HTTP/1.1 200 OK\r\n\r\n"); /* which GET need not be the same for */
    assert_int_equal(try_send(&r, 204, "body"), ROTOR_EBODY);
    assert_int_equal(try_send(&r, 205, "body"), ROTOR_EBODY);
    assert_int_equal(try_send(&r, 304, "body"), ROTOR_EBODY);

    assert_int_equal(add(&r, "Content-Length", "8000000000"), 0);
    assert_int_equal(try_send(&r, 200, "body"), ROTOR_EBODY);
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nContent-Length: 8000000000\r\n\r\n");
}

static void a_response_is_sent_once(void **state)
{
    rotor_http_response r = open_response();
    assert_int_equal(try_send(&r, 200, "one"), 0);
    assert_int_equal(try_send(&r, 200, "two"), ROTOR_ESTATE);
    assert_int_equal(try_send(&r, 999, "two"), ROTOR_ESTATE);
    assert_int_equal(add(&r, "X", "y"), ROTOR_ESTATE);
    assert_int_equal(add(&r, "X Y", "y"), ROTOR_ESTATE);
    rotor_http_response_fini(&r);
}

static void bodies_may_be_any_bytes_and_large(void **state)
{
    rotor_http_response r = open_response();
    rotor_buf out = ROTOR_BUF_INIT;
    rotor_block *block = rotor_block_new(1024); /* as a stream's output is, at first */
    size_t n = 3000000;
    char *body = malloc(n);
    assert_non_null(body);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7 + (i >> 9));
    rotor_buf_lend(&out, block);
    assert_int_equal(rotor_http_response_send(&r, &out, 200, (rotor_text){body, n}), 0);
    const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n";
    assert_int_equal(rotor_buf_len(&out), sizeof head - 1 + n);
    assert_memory_equal(rotor_buf_data(&out), head, sizeof head - 1);
    assert_memory_equal(rotor_buf_data(&out) + sizeof head - 1, body, n);
    rotor_buf_fini(&out);
    rotor_free(block);
    free(body);
}

static void a_body_too_large_for_the_output_is_refused(void **state)
{
    rotor_http_response r = open_response();
    rotor_buf out = ROTOR_BUF_INIT;
    /* Nothing is read of a body that cannot fit. */
    assert_int_equal(rotor_http_response_send(&r, &out, 200, (rotor_text){"", SIZE_MAX}),
                     UV_ENOMEM);
    assert_int_equal(rotor_http_response_send(&r, &out, 200, (rotor_text){"", ROTOR_BUF_MAX}),
                     UV_ENOMEM);
    assert_int_equal(rotor_buf_len(&out), 0);
    sends(r, 200, "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    r.to_head = true; /* here it is only counted */
    assert_int_equal(rotor_http_response_send(&r, &out, 200, (rotor_text){"", SIZE_MAX}), 0);
    rotor_buf_fini(&out);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void headers_outgrow_a_lent_block(void **state)
{
    rotor_http_response r = open_response();
    rotor_block *block = rotor_block_new(64);
    rotor_buf_lend(&r.headers, block);
    char expected[16384] = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "X-%d", i);
        assert_int_equal(add(&r, name, "value"), 0);
        strcat(strcat(expected, name), ": value\r\n");
    }
    assert_int_equal(block->lent, 0); /* given back as soon as it was too small */
    strcat(expected, "Content-Length: 0\r\n\r\n");
    sends(r, 200, "", expected);
    rotor_free(block);
}

static void scenario(void)
{
    rotor_http_response r = open_response();
    rotor_buf out = ROTOR_BUF_INIT;
    size_t added = 0;
    for (int i = 0; i < 20; i++) {
        size_t before = rotor_buf_len(&r.headers);
        int error = add(&r, "Name", "a value");
        assert_true(error == 0 || (error == UV_ENOMEM && test_alloc_failed() > 0));
        if (error)
            assert_int_equal(rotor_buf_len(&r.headers), before);
        else
            added++;
    }
    assert_int_equal(rotor_buf_len(&r.headers), added * strlen("Name: a value\r\n"));
    int error = rotor_http_response_send(&r, &out, 200, text("body"));
    if (error) {
        assert_int_equal(error, UV_ENOMEM);
        assert_int_equal(rotor_buf_len(&out), 0);
        assert_false(r.sent);
    }
    rotor_buf_fini(&out);
    rotor_http_response_fini(&r);
}

static void memory_that_is_short(void **state)
{
    test_out_of_memory(scenario);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(dates_follow_the_calendar),
        TEST(dates_name_each_day_and_month),
        TEST(reasons),
        TEST(status_lines),
        TEST(statuses_out_of_range_are_refused),
        TEST(fields_stand_in_their_order),
        TEST(every_byte_of_a_name_is_checked),
        TEST(every_byte_of_a_value_is_checked),
        TEST(a_refused_field_leaves_the_response_as_it_was),
        TEST(the_date_is_the_usual_one_or_the_handlers),
        TEST(connections),
        TEST(a_declared_length_must_be_right),
        TEST(some_statuses_have_no_body),
        TEST(some_statuses_have_no_length),
        TEST(to_head_the_body_is_counted_and_left_out),
        TEST(a_response_is_sent_once),
        TEST(bodies_may_be_any_bytes_and_large),
        TEST(a_body_too_large_for_the_output_is_refused),
        TEST(headers_outgrow_a_lent_block),
        TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
