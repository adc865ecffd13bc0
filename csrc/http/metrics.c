/* Logging and counting requests. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "private.h"

static const uint32_t bounds_us[] = ROTOR_HTTP_BUCKETS_US;

_Static_assert(sizeof bounds_us / sizeof *bounds_us == ROTOR_HTTP_BUCKETS - 1,
               "the last bucket has no bound");

static void count(rotor_http_metrics *m, const rotor_http_record *record)
{
    size_t i = 0;
    while (i < ROTOR_HTTP_BUCKETS - 1 && record->ns > bounds_us[i] * UINT64_C(1000))
        i++;
    m->buckets[i]++;
    m->total_ns += record->ns;
    m->statuses[record->status]++;
    m->cut += !record->whole;
    m->received += record->received;
    m->sent += record->sent;
    m->requests_active--;
}

void rotor_http__begin_record(rotor_http *h)
{
    rotor_http__exchange *x = h->exchange;
    x->began_ns = uv_hrtime();
    x->body_total = 0;
    if (rotor_http__server(h)->metrics)
        rotor_http__server(h)->metrics->requests_active++;
}

void rotor_http__record(rotor_http *h)
{
    const rotor_http_server *server = rotor_http__server(h);
    const rotor_http__exchange *x = h->exchange;
    const rotor_http_response *r = &x->response;
    bool filed = x->notes.then != HTTP__THEN_FILE || x->file_left == 0;
    rotor_http_record record = {.status = r->status,
                                .whole = r->sent && filed,
                                .received = x->head_len + x->body_total,
                                .sent = r->size,
                                .ns = uv_hrtime() - x->began_ns};
    if (server->metrics)
        count(server->metrics, &record);
    if (server->log)
        server->log(h, &record);
}

/* -- as text ----------------------------------------------------------------------------------- */

/* Append a line; after an error nothing more. */
static __attribute__((format(printf, 3, 4))) void say(rotor_buf *out, int *error,
                                                      const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (!*error)
        *error = rotor_buf_extend(out, line, (size_t)n);
}

static void describe(rotor_buf *out, int *error, const char *name, const char *type,
                     const char *help)
{
    say(out, error, "# HELP rotor_http_%s %s\n# TYPE rotor_http_%s %s\n", name, help, name, type);
}

static void say_one(rotor_buf *out, int *error, const char *name, const char *type,
                    const char *help, uint64_t value)
{
    describe(out, error, name, type, help);
    say(out, error, "rotor_http_%s %" PRIu64 "\n", name, value);
}

static void say_durations(const rotor_http_metrics *m, rotor_buf *out, int *error)
{
    static const char name[] = "rotor_http_request_duration_seconds";
    uint64_t sum = 0;
    describe(out, error, "request_duration_seconds", "histogram",
             "From the end of a request's head to the end of its answer.");
    for (size_t i = 0; i < ROTOR_HTTP_BUCKETS; i++) {
        sum += m->buckets[i];
        if (i < ROTOR_HTTP_BUCKETS - 1)
            say(out, error, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds_us[i] / 1e6, sum);
    }
    say(out, error, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
    say(out, error, "%s_sum %.9f\n%s_count %" PRIu64 "\n", name, (double)m->total_ns / 1e9, name,
        sum);
}

int rotor_http_metrics_text(const rotor_http_metrics *m, rotor_buf *out)
{
    int error = 0;
    say_one(out, &error, "connections_total", "counter", "Connections accepted.", m->connections);
    say_one(out, &error, "connections_active", "gauge", "Connections open.", m->connections_active);
    say_one(out, &error, "requests_active", "gauge", "Requests that are not answered yet.",
            m->requests_active);
    describe(out, &error, "requests_total", "counter",
             "Requests by the status of their answer; none: they were not answered.");
    for (int i = 0; i < 600; i++) {
        if (m->statuses[i] > 0 && i > 0)
            say(out, &error, "rotor_http_requests_total{status=\"%d\"} %" PRIu64 "\n", i,
                m->statuses[i]);
        else if (m->statuses[i] > 0)
            say(out, &error, "rotor_http_requests_total{status=\"none\"} %" PRIu64 "\n",
                m->statuses[i]);
    }
    say_one(out, &error, "requests_cut_total", "counter", "Requests not wholly answered.", m->cut);
    say_one(out, &error, "received_bytes_total", "counter", "Bytes of requests.", m->received);
    say_one(out, &error, "sent_bytes_total", "counter", "Bytes of answers.", m->sent);
    say_durations(m, out, &error);
    return error;
}
