/* The response builder. */
#include <string.h>
#include <time.h>

#include <uv.h>

#include "chunked.h"
#include "put.h"

/* 9999-12-31 23:59:59: the last second whose year has the four digits of the format. */
static const uint64_t last_second = 253402300799;

void rotor_http_format_date(char text[ROTOR_HTTP_DATE_SIZE], uint64_t wall_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t whole = wall_ms / 1000;
    time_t seconds = (time_t)(whole < last_second ? whole : last_second);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    /* Not by strftime's %a and %b, which follow the locale. */
    strftime(text, ROTOR_HTTP_DATE_SIZE, "---, %d --- %Y %H:%M:%S GMT", &tm);
    memcpy(text, days + 3 * tm.tm_wday, 3);
    memcpy(text + 8, months + 3 * tm.tm_mon, 3);
}

const char *rotor_http_reason(int status)
{
    static const char *const phrases[] = {
        [100] = "Continue",
        [101] = "Switching Protocols",
        [102] = "Processing",
        [103] = "Early Hints",
        [200] = "OK",
        [201] = "Created",
        [202] = "Accepted",
        [203] = "Non-Authoritative Information",
        [204] = "No Content",
        [205] = "Reset Content",
        [206] = "Partial Content",
        [207] = "Multi-Status",
        [208] = "Already Reported",
        [300] = "Multiple Choices",
        [301] = "Moved Permanently",
        [302] = "Found",
        [303] = "See Other",
        [304] = "Not Modified",
        [305] = "Use Proxy",
        [307] = "Temporary Redirect",
        [308] = "Permanent Redirect",
        [400] = "Bad Request",
        [401] = "Unauthorized",
        [402] = "Payment Required",
        [403] = "Forbidden",
        [404] = "Not Found",
        [405] = "Method Not Allowed",
        [406] = "Not Acceptable",
        [407] = "Proxy Authentication Required",
        [408] = "Request Timeout",
        [409] = "Conflict",
        [410] = "Gone",
        [411] = "Length Required",
        [412] = "Precondition Failed",
        [413] = "Content Too Large",
        [414] = "URI Too Long",
        [415] = "Unsupported Media Type",
        [416] = "Range Not Satisfiable",
        [417] = "Expectation Failed",
        [421] = "Misdirected Request",
        [422] = "Unprocessable Content",
        [423] = "Locked",
        [424] = "Failed Dependency",
        [425] = "Too Early",
        [426] = "Upgrade Required",
        [428] = "Precondition Required",
        [429] = "Too Many Requests",
        [431] = "Request Header Fields Too Large",
        [451] = "Unavailable For Legal Reasons",
        [500] = "Internal Server Error",
        [501] = "Not Implemented",
        [502] = "Bad Gateway",
        [503] = "Service Unavailable",
        [504] = "Gateway Timeout",
        [505] = "HTTP Version Not Supported",
        [506] = "Variant Also Negotiates",
        [507] = "Insufficient Storage",
        [508] = "Loop Detected",
        [511] = "Network Authentication Required",
    };
    bool known = status >= 0 && status < (int)(sizeof phrases / sizeof *phrases) && phrases[status];
    return known ? phrases[status] : "";
}

bool rotor_http_is_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

int rotor_http_response_add(rotor_http_response *r, rotor_text name, rotor_text value)
{
    uint64_t length;
    if (r->started)
        return ROTOR_ESTATE;
    if (!rotor__is_field(name, value))
        return ROTOR_EHEADER;
    if (rotor__is_named(name, "content-length", 14)) {
        if (r->has_length || !rotor__parse_length(value, &length))
            return ROTOR_EHEADER;
        r->has_length = true;
        r->length = length;
        return 0;
    }
    if (rotor__is_named(name, "connection", 10)) {
        if (!rotor__is_named(value, "close", 5))
            return ROTOR_EHEADER;
        r->keep_alive = false;
        return 0;
    }
    bool is_date = rotor__is_named(name, "date", 4);
    if (rotor__is_named(name, "transfer-encoding", 17) || (is_date && r->has_date))
        return ROTOR_EHEADER;
    int error = rotor__append_field(&r->headers, name, value);
    if (!error)
        r->has_date |= is_date;
    return error;
}

int rotor_http_response_trailer(rotor_http_response *r, rotor_text name, rotor_text value)
{
    if (!r->started || r->sent || !r->chunked)
        return ROTOR_ESTATE;
    if (!rotor__is_field(name, value) || !rotor_http_is_trailer(name.data, name.len))
        return ROTOR_EHEADER;
    return rotor__append_field(&r->headers, name, value);
}

static __attribute__((noinline)) char *put_other_status_line(char *p, int status)
{
    const char *reason = rotor_http_reason(status);
    p = ROTOR__PUT(p, "HTTP/1.1 ");
    p = rotor__put_number(p, (uint64_t)status);
    *p++ = ' '; /* stands before an empty reason, too (RFC 9112 section 4) */
    p = rotor__put(p, reason, strlen(reason));
    if (status == 426) /* has an Upgrade, which has to be mentioned (RFC 9110 section 7.8) */
        p = ROTOR__PUT(p, "\r\nConnection: Upgrade");
    return ROTOR__PUT(p, "\r\n");
}

static inline char *put_status_line(char *p, int status)
{
    return status == 200 ? ROTOR__PUT(p, "HTTP/1.1 200 OK\r\n") : put_other_status_line(p, status);
}

/* Whether a 2xx turns the connection into a tunnel, which has neither a body nor a length. */
static bool is_tunnel(const rotor_http_response *r, int status)
{
    return r->to_connect && status < 300;
}

static bool may_have_length(const rotor_http_response *r, int status)
{
    return !rotor_http_is_bodiless(status) && !is_tunnel(r, status);
}

static bool may_have_body(const rotor_http_response *r, int status)
{
    return may_have_length(r, status) && status != 205;
}

/* Whether the length that was declared can stand next to a body of `n` bytes. To HEAD and with 304 it
** is the one that the body would have had (RFC 9110 section 8.6). */
static bool is_length_right(const rotor_http_response *r, int status, size_t n)
{
    if (status == 304 || (r->to_head && may_have_body(r, status)))
        return n == 0 || r->length == n;
    return may_have_length(r, status) && r->length == n;
}

static int judge(const rotor_http_response *r, int status, size_t n)
{
    if (status < 200 || status > 599)
        return UV_EINVAL;
    if (n > 0 && !may_have_body(r, status))
        return ROTOR_EBODY;
    return r->has_length && !is_length_right(r, status, n) ? ROTOR_EBODY : 0;
}

/* More than the status line and all headers of our own can take. */
enum { OWN_HEADERS = 256 };

/* The status line and all header fields but for the body's length. */
static inline __attribute__((always_inline)) char *put_head(const rotor_http_response *r, char *p,
                                                            int status)
{
    size_t headers = rotor_buf_len(&r->headers);
    p = put_status_line(p, status);
    if (r->date && !r->has_date) {
        p = ROTOR__PUT(p, "Date: ");
        p = rotor__put(p, r->date, ROTOR_HTTP_DATE_SIZE - 1);
        p = ROTOR__PUT(p, "\r\n");
    }
    if (!r->keep_alive)
        p = ROTOR__PUT(p, "Connection: close\r\n");
    else if (r->minor == 0)
        p = ROTOR__PUT(p, "Connection: keep-alive\r\n");
    return headers > 0 ? rotor__put(p, rotor_buf_data(&r->headers), headers) : p;
}

static inline char *put_length(char *p, uint64_t length)
{
    p = ROTOR__PUT(p, "Content-Length: ");
    p = rotor__put_number(p, length);
    return ROTOR__PUT(p, "\r\n");
}

static void commit(rotor_http_response *r, rotor_buf *out, size_t n)
{
    rotor_buf_commit(out, n);
    r->size += n;
}

int rotor_http_response_send(rotor_http_response *r, rotor_buf *out, int status, rotor_text body)
{
    if (r->started)
        return ROTOR_ESTATE;
    if (status != 200 || r->has_length || r->to_connect) { /* else there is nothing to judge */
        int error = judge(r, status, body.len);
        if (error)
            return error;
    }

    size_t payload = r->to_head ? 0 : body.len;
    if (payload > ROTOR_BUF_MAX) /* the sum must not wrap around */
        return UV_ENOMEM;
    char *start = rotor_buf_reserve(out, OWN_HEADERS + rotor_buf_len(&r->headers) + payload);
    if (!start)
        return UV_ENOMEM;
    char *p = put_head(r, start, status);
    /* Nothing given to answer HEAD with does not say that GET has nothing. */
    if (body.len > 0 || r->has_length || (!r->to_head && may_have_length(r, status)))
        p = put_length(p, r->has_length ? r->length : body.len);
    p = ROTOR__PUT(p, "\r\n");
    if (payload > 0)
        p = rotor__put(p, body.data, payload);
    commit(r, out, (size_t)(p - start));
    r->status = (uint16_t)status;
    r->started = r->sent = true;
    return 0;
}

/* -- in pieces --------------------------------------------------------------------------------- */

int rotor_http_response_start(rotor_http_response *r, rotor_buf *out, int status)
{
    if (r->started)
        return ROTOR_ESTATE;
    if (status < 200 || status > 599)
        return UV_EINVAL;
    if (r->has_length && (!may_have_length(r, status) || (r->length > 0 && status == 205)) &&
        status != 304)
        return ROTOR_EBODY;
    bool bodiless = !may_have_body(r, status);
    bool chunked = !bodiless && !r->has_length && r->minor > 0;
    char *start = rotor_buf_reserve(out, OWN_HEADERS + rotor_buf_len(&r->headers));
    if (!start)
        return UV_ENOMEM;
    if (!bodiless && !r->has_length && r->minor == 0 && !r->to_head)
        r->keep_alive = false;
    char *p = put_head(r, start, status);
    if (r->has_length)
        p = put_length(p, r->length);
    else if (status == 205)
        p = put_length(p, 0);
    else if (chunked)
        p = ROTOR__PUT(p, "Transfer-Encoding: chunked\r\n");
    p = ROTOR__PUT(p, "\r\n");
    commit(r, out, (size_t)(p - start));
    rotor_buf_fini(&r->headers);
    r->status = (uint16_t)status;
    r->chunked = chunked;
    r->bodiless = bodiless;
    r->started = true;
    return 0;
}

int rotor_http_response_write(rotor_http_response *r, rotor_buf *out, rotor_text data)
{
    if (!r->started || r->sent)
        return ROTOR_ESTATE;
    if (data.len == 0) /* a chunk without data would be the last */
        return 0;
    if (r->bodiless || (r->has_length && data.len > r->length))
        return ROTOR_EBODY;
    if (data.len > ROTOR_BUF_MAX)
        return UV_ENOMEM;
    if (!r->to_head) {
        char *start = rotor_buf_reserve(out, data.len + ROTOR__CHUNK_FRAME);
        if (!start)
            return UV_ENOMEM;
        char *end =
            r->chunked ? rotor__put_chunk(start, data) : rotor__put(start, data.data, data.len);
        commit(r, out, (size_t)(end - start));
    }
    r->length -= r->has_length ? data.len : 0;
    return 0;
}

int rotor_http_response_finish(rotor_http_response *r, rotor_buf *out)
{
    if (!r->started || r->sent)
        return ROTOR_ESTATE;
    if (r->has_length && r->length > 0 && !r->bodiless && !r->to_head)
        return ROTOR_EBODY;
    if (r->chunked && !r->to_head) {
        size_t before = rotor_buf_len(out);
        int error = rotor__append_last_chunk(out, &r->headers);
        if (error)
            return error;
        r->size += rotor_buf_len(out) - before;
    }
    r->sent = true;
    return 0;
}

int rotor_http_response_switch(rotor_http_response *r, rotor_buf *out, int status)
{
    if (r->started)
        return ROTOR_ESTATE;
    if (r->to_connect ? status < 200 || status > 299 : status != 101)
        return UV_EINVAL;
    if (r->has_length)
        return ROTOR_EBODY;
    char *start = rotor_buf_reserve(out, OWN_HEADERS + rotor_buf_len(&r->headers));
    if (!start)
        return UV_ENOMEM;
    bool keep_alive = r->keep_alive;
    r->keep_alive = true; /* there is nothing to be said of closing */
    char *p = put_head(r, start, status);
    r->keep_alive = keep_alive;
    if (!r->to_connect)
        p = ROTOR__PUT(p, "Connection: Upgrade\r\n");
    p = ROTOR__PUT(p, "\r\n");
    commit(r, out, (size_t)(p - start));
    r->status = (uint16_t)status;
    r->started = r->sent = true;
    return 0;
}

void rotor_http_response_fini(rotor_http_response *r)
{
    rotor_buf_fini(&r->headers);
}
