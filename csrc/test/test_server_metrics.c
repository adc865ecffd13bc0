/* What a server logs and counts, and the text that is made of it. */
#include "test.h"

#include "../http/metrics.h"
#include "support.h"
#include "web.h"

#define HOST        "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST        "POST /p HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"

static void log_it(rotor_http *h, const rotor_http_record *record)
{
    rotor_text method = rotor_http_method(h), target = rotor_http_target(h);
    assert_true(record->ns < UINT64_C(60000000000));
    web_note(web_of(h), "[%.*s %.*s %d %s %d %d]", (int)method.len, method.data ? method.data : "",
             (int)target.len, target.data ? target.data : "", record->status,
             record->whole ? "whole" : "cut", (int)record->received, (int)record->sent);
}

static rotor_response answer_or_begin(rotor_http *h, rotor_scope *scope)
{
    if (!rotor_http_query(h).data)
        return web_answer(h, scope);
    assert_int_equal(rotor_http_start(h, 200), 0);
    assert_int_equal(rotor_http_write_text(h, "abc"), 0);
    return rotor_ok();
}

#define BEGUN "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"

static void each_request_is_logged_once(void **state)
{
    rotor_http_metrics metrics = {0};
    web w = {.config = {.log = log_it, .metrics = &metrics}, .received = answer_or_begin};
    char expected[512];
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    web_send(&w, GET("/1") POST "bad\r\n\r\n");
    size_t refused = strlen(web_refusal(400, rotor_strerror(ROTOR_HTTP_ELINE)));
    snprintf(expected, sizeof expected,
             "GET /1 [GET /1 200 whole %zu %zu] over POST /p [POST /p 200 whole %zu %zu] over "
             "[  400 whole 7 %zu]",
             strlen(GET("/1")), strlen(OK(6, "GET /1")), strlen(POST),
             strlen(OK(11, "POST /p abc")), refused);
    assert_string_equal(w.log, expected);

    assert_int_equal(web_connect(&w), 0);
    w.log[0] = '\0';
    web_asks(&w, GET("/2?"), BEGUN);
    assert_int_equal(metrics.requests_active, 1);
    assert_int_equal(metrics.connections_active, 1);
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    snprintf(expected, sizeof expected, "GET /2? [GET /2? 200 cut %zu %zu] over",
             strlen(GET("/2?")), strlen(BEGUN));
    assert_string_equal(w.log, expected);

    w.received = web_waits;
    assert_int_equal(web_connect(&w), 0);
    web_send(&w, GET("/3"));
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    web_close(&w);

    assert_int_equal(metrics.connections, 3);
    assert_int_equal(metrics.connections_active, 0);
    assert_int_equal(metrics.requests_active, 0);
    assert_int_equal(metrics.statuses[200], 3);
    assert_int_equal(metrics.statuses[400], 1);
    assert_int_equal(metrics.statuses[0], 1);
    assert_int_equal(metrics.cut, 2);
    assert_int_equal(metrics.received,
                     strlen(GET("/1")) + strlen(POST) + 7 + strlen(GET("/2?")) + strlen(GET("/3")));
    assert_int_equal(metrics.sent, strlen(OK(6, "GET /1")) + strlen(OK(11, "POST /p abc")) +
                                       refused + strlen(BEGUN));
    uint64_t all = 0;
    for (int i = 0; i < ROTOR_HTTP_BUCKETS; i++)
        all += metrics.buckets[i];
    assert_int_equal(all, 5);
}

static const char text[] =
    "# HELP rotor_http_connections_total Connections accepted.\n"
    "# TYPE rotor_http_connections_total counter\n"
    "rotor_http_connections_total 7\n"
    "# HELP rotor_http_connections_active Connections open.\n"
    "# TYPE rotor_http_connections_active gauge\n"
    "rotor_http_connections_active 2\n"
    "# HELP rotor_http_requests_active Requests that are not answered yet.\n"
    "# TYPE rotor_http_requests_active gauge\n"
    "rotor_http_requests_active 1\n"
    "# HELP rotor_http_requests_total Requests by the status of their answer; none: they were not "
    "answered.\n"
    "# TYPE rotor_http_requests_total counter\n"
    "rotor_http_requests_total{status=\"none\"} 3\n"
    "rotor_http_requests_total{status=\"200\"} 18446744073709551615\n"
    "rotor_http_requests_total{status=\"599\"} 1\n"
    "# HELP rotor_http_requests_cut_total Requests not wholly answered.\n"
    "# TYPE rotor_http_requests_cut_total counter\n"
    "rotor_http_requests_cut_total 4\n"
    "# HELP rotor_http_received_bytes_total Bytes of requests.\n"
    "# TYPE rotor_http_received_bytes_total counter\n"
    "rotor_http_received_bytes_total 1000\n"
    "# HELP rotor_http_sent_bytes_total Bytes of answers.\n"
    "# TYPE rotor_http_sent_bytes_total counter\n"
    "rotor_http_sent_bytes_total 2000\n"
    "# HELP rotor_http_request_duration_seconds From the end of a request's head to the end of its "
    "answer.\n"
    "# TYPE rotor_http_request_duration_seconds histogram\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.0001\"} 5\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.00025\"} 5\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.0005\"} 5\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.001\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.0025\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.005\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.01\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.025\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.05\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.1\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.25\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"0.5\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"1\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"2.5\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"5\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"10\"} 6\n"
    "rotor_http_request_duration_seconds_bucket{le=\"+Inf\"} 8\n"
    "rotor_http_request_duration_seconds_sum 1.500000000\n"
    "rotor_http_request_duration_seconds_count 8\n";

static const rotor_http_metrics counted = {.connections = 7,
                                           .connections_active = 2,
                                           .requests_active = 1,
                                           .statuses = {[0] = 3, [200] = UINT64_MAX, [599] = 1},
                                           .cut = 4,
                                           .received = 1000,
                                           .sent = 2000,
                                           .buckets = {[0] = 5, [3] = 1, [16] = 2},
                                           .total_ns = 1500000000};

static void the_text_is_for_prometheus(void **state)
{
    rotor_buf out = ROTOR_BUF_INIT;
    assert_int_equal(rotor_http_metrics_text(&counted, &out), 0);
    assert_int_equal(rotor_buf_len(&out), sizeof text - 1);
    assert_memory_equal(rotor_buf_data(&out), text, sizeof text - 1);
    rotor_buf_fini(&out);
}

static void make_text(void)
{
    rotor_buf out = ROTOR_BUF_INIT;
    int error = rotor_http_metrics_text(&counted, &out);
    assert_int_equal(error, test_alloc_failed() > 0 ? UV_ENOMEM : 0);
    assert_int_equal(error == 0, rotor_buf_len(&out) == sizeof text - 1);
    rotor_buf_fini(&out);
}

static void the_text_may_not_fit_into_memory(void **state)
{
    test_out_of_memory(make_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_is_logged_once),
        TEST(the_text_is_for_prometheus),
        cmocka_unit_test(the_text_may_not_fit_into_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
