/* The response builder. */
#include <string.h>
#include <time.h>

#include <uv.h>

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
    if (r->sent)
        return ROTOR_ESTATE;
    if (value.len == 0)
        value.data = ""; /* for memcpy, which may not be given NULL */
    if (!rotor_http_is_token(name.data, name.len) || !rotor_http_is_value(value.data, value.len))
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

    size_t size = name.len + value.len + 4;
    char *p = rotor_buf_reserve(&r->headers, size);
    if (!p)
        return UV_ENOMEM;
    p = rotor__put(p, name.data, name.len);
    p = ROTOR__PUT(p, ": ");
    p = rotor__put(p, value.data, value.len);
    ROTOR__PUT(p, "\r\n");
    rotor_buf_commit(&r->headers, size);
    r->has_date |= is_date;
    return 0;
}

static char *put_status_line(char *p, int status)
{
    if (status == 200)
        return ROTOR__PUT(p, "HTTP/1.1 200 OK\r\n");
    const char *reason = rotor_http_reason(status);
    p = ROTOR__PUT(p, "HTTP/1.1 ");
    p = rotor__put_number(p, (uint64_t)status);
    *p++ = ' '; /* stands before an empty reason, too (RFC 9112 section 4) */
    p = rotor__put(p, reason, strlen(reason));
    return ROTOR__PUT(p, "\r\n");
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

int rotor_http_response_send(rotor_http_response *r, rotor_buf *out, int status, rotor_text body)
{
    if (r->sent)
        return ROTOR_ESTATE;
    if (status != 200 || r->has_length || r->to_connect) { /* else there is nothing to judge */
        int error = judge(r, status, body.len);
        if (error)
            return error;
    }

    size_t headers = rotor_buf_len(&r->headers);
    size_t payload = r->to_head ? 0 : body.len;
    if (payload > ROTOR_BUF_MAX) /* the sum must not wrap around */
        return UV_ENOMEM;
    char *start = rotor_buf_reserve(out, OWN_HEADERS + headers + payload);
    if (!start)
        return UV_ENOMEM;
    char *p = put_status_line(start, status);
    if (r->date && !r->has_date) {
        p = ROTOR__PUT(p, "Date: ");
        p = rotor__put(p, r->date, ROTOR_HTTP_DATE_SIZE - 1);
        p = ROTOR__PUT(p, "\r\n");
    }
    if (!r->keep_alive)
        p = ROTOR__PUT(p, "Connection: close\r\n");
    else if (r->minor == 0)
        p = ROTOR__PUT(p, "Connection: keep-alive\r\n");
    if (headers > 0)
        p = rotor__put(p, rotor_buf_data(&r->headers), headers);
    /* Nothing given to answer HEAD with does not say that GET has nothing. */
    if (body.len > 0 || r->has_length || (!r->to_head && may_have_length(r, status))) {
        p = ROTOR__PUT(p, "Content-Length: ");
        p = rotor__put_number(p, r->has_length ? r->length : body.len);
        p = ROTOR__PUT(p, "\r\n");
    }
    p = ROTOR__PUT(p, "\r\n");
    if (payload > 0)
        p = rotor__put(p, body.data, payload);
    rotor_buf_commit(out, (size_t)(p - start));
    r->sent = true;
    return 0;
}

void rotor_http_response_fini(rotor_http_response *r)
{
    rotor_buf_fini(&r->headers);
}
