/* The HTTP/1 request parser: a line is found, then parsed, then the next.
**
** A verdict must not depend on how the bytes were split. So what one line shows is judged when that
** line is complete, and what takes several lines (a second Host, Content-Length next to
** Transfer-Encoding …) only when the head is: a call that begins in the middle does not know what
** was in the lines before. When such a call completes the head, it is read once more from the
** start.
**
** Bytes are judged left to right: of two faults in different lines the first is reported. */
#include "fields.h"

#include <arpa/inet.h>

/* What the field lines said, to be judged at the end of the head. */
enum {
    SEEN_CLOSE = 1,
    SEEN_KEEP_ALIVE = 2,
    SEEN_HOST = 4,
    SEEN_HOST_AGAIN = 8,
    SEEN_LENGTH = 16,
    SEEN_LENGTH_OTHER = 32, /* a second, different one */
    SEEN_CODING = 64,
    SEEN_CODING_UNKNOWN = 128,
    SEEN_CODING_SENSELESS = 256,
    SEEN_CONTINUE = 512,
    SEEN_EXPECT_OTHER = 1024
};

#define IS(p, end, word)                                                                           \
    ((end) - (p) == sizeof word - 1 && rotor__is_word(p, word, sizeof word - 1))

static inline bool is_escape(const char *p)
{
    return *p == '%' && rotor__is(p[1], ROTOR__HEX) && rotor__is(p[2], ROTOR__HEX);
}

/* The end of the "[IPv6]" at `p`, or `p`. IPvFuture is refused: none was ever defined. */
static const char *skip_ip_literal(const char *p, const char *end)
{
    const char *close = memchr(p, ']', (size_t)(end - p));
    size_t n = close ? (size_t)(close - p) - 1 : 0;
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (n >= sizeof text)
        return p;
    memcpy(text, p + 1, n);
    text[n] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1 ? close + 1 : p;
}

/* Whether [p, end) is uri-host [":" port] (RFC 9110 section 4.2.1) with a host that is not empty
** and a port that can exist. */
__attribute__((always_inline)) static inline bool is_authority(const char *p, const char *end,
                                                               const char *limit)
{
    const char *host = p;

    if (*p == '[') {
        p = skip_ip_literal(p, end);
    } else {
        p = rotor__skip(p + rotor__plain(p, limit), ROTOR__HOST);
        while (is_escape(p))
            p = rotor__skip(p + 3, ROTOR__HOST);
    }
    if (p == host)
        return false;
    if (*p == ':') {
        const char *port = ++p;
        p = rotor__skip(p, ROTOR__DIGIT);
        if (p - port > 4 && (p - port > 5 || (*port >= '6' && memcmp(port, "65535", 5) > 0)))
            return false;
    }
    return p == end;
}

/* Whether an authority ends in a port that can be connected to (RFC 9110 section 9.3.6). */
static bool names_port(const char *host, const char *end)
{
    bool other = false; /* than 0 */

    for (; end > host && rotor__is(end[-1], ROTOR__DIGIT); end--)
        other = other || end[-1] != '0';
    return other && end > host && end[-1] == ':';
}

/* A target that is not in origin form (section 3.2). `query` is where its '?' is, or its end. */
static int read_other_target(rotor_http_head *head, const char *data, const char *query,
                             const char *limit)
{
    const char *method = data + head->method.at, *target = data + head->target.at;
    const char *end = target + head->target.len, *host = target, *path = end;
    bool connect = head->method.len == 7 && memcmp(method, "CONNECT", 7) == 0;

    if (connect) {
        query = end;
    } else if (*target == '*') {
        bool options = head->method.len == 7 && memcmp(method, "OPTIONS", 7) == 0;
        head->path = head->target;
        return options && head->target.len == 1 ? 0 : ROTOR_HTTP_ETARGET;
    } else {
        /* However short the target is: the version stands behind it, and is not equal to this. */
        if (rotor_http_name_equal(target, "http://", 7))
            host += 7;
        else if (rotor_http_name_equal(target, "https://", 8))
            host += 8;
        else
            return ROTOR_HTTP_ETARGET;
        path = memchr(host, '/', (size_t)(query - host));
        if (!path)
            path = query;
    }
    if (!is_authority(host, path, limit) || (connect && !names_port(host, path)))
        return ROTOR_HTTP_ETARGET;
    head->host = rotor__span(data, host, path);
    head->path = rotor__span(data, path, query);
    return 0;
}

/* HTTP/1.2 to 1.9 are read as 1.1, the highest minor version known here (RFC 9110 section 2.5). */
static int read_other_version(rotor_http_head *head, const char *version, const char *end)
{
    if (memchr(version, ' ', (size_t)(end - version)))
        return ROTOR_HTTP_ELINE;
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' ||
        !rotor__is(version[5], ROTOR__DIGIT) || !rotor__is(version[7], ROTOR__DIGIT))
        return ROTOR_HTTP_EVERSION;
    if (version[5] != '1')
        return ROTOR_HTTP_EUNSUPPORTED;
    head->minor = version[7] != '0';
    return 0;
}

/* The request line (section 3), [line, end). The version is judged before the form of the target,
** since it says by whose rules to read that. */
static inline int read_request_line(rotor_http_head *head, const char *data, const char *line,
                                    const char *end, const char *limit)
{
    const char *p, *target, *query;
    bool get = end - line >= 4 && memcmp(line, "GET ", 4) == 0;

    p = get ? line + 3 : rotor__skip(line, ROTOR__TOKEN);
    if (p == line || *p != ' ')
        return p == end ? ROTOR_HTTP_ELINE : ROTOR_HTTP_EMETHOD;
    head->method = rotor__span(data, line, p);

    target = ++p;
    p = rotor__skip(p, ROTOR__PATH);
    while (is_escape(p))
        p = rotor__skip(p + 3, ROTOR__PATH);
    query = p;
    if (*p == '?') {
        p = rotor__skip(p, ROTOR__QUERY);
        head->has_query = true;
        head->query = rotor__span(data, query + 1, p);
    }
    if (p == target || *p != ' ')
        return *p == ' ' || p == end ? ROTOR_HTTP_ELINE : ROTOR_HTTP_ETARGET;
    head->target = rotor__span(data, target, p);
    head->path = rotor__span(data, target, query);

    p++;
    head->minor = 1;
    if (end - p != 8 || memcmp(p, "HTTP/1.1", 8) != 0) {
        int error = read_other_version(head, p, end);
        if (error)
            return error;
    }
    if (*target != '/' || (head->method.len == 7 && memcmp(line, "CONNECT", 7) == 0))
        return read_other_target(head, data, query, limit);
    return 0;
}

/* Content-Length (RFC 9110 section 8.6): digits. A list of equal numbers counts as one, as does the
** same field again: a proxy may have merged the one into the other. */
static int read_length(const char *p, const char *end, uint64_t *length)
{
    for (bool first = true;; first = false) {
        const char *start = p;
        uint64_t n = 0;

        for (; rotor__is(*p, ROTOR__DIGIT); p++) {
            unsigned digit = (unsigned)(*p - '0');
            if (n > (UINT64_MAX - digit) / 10)
                return ROTOR_HTTP_ELENGTH;
            n = n * 10 + digit;
        }
        if (p == start || (!first && n != *length))
            return ROTOR_HTTP_ELENGTH;
        *length = n;
        if (p == end)
            return 0;
        p = rotor__skip_ows(p);
        if (*p++ != ',')
            return ROTOR_HTTP_ELENGTH;
        p = rotor__skip_ows(p);
    }
}

/* Transfer-Encoding (section 6.1). Other codings are merely unknown here (501). What is no list, or
** names chunked anywhere but once at the end, has no certain meaning (400). */
static int read_coding(const char *p, const char *end)
{
    bool chunked = false;

    if (IS(p, end, "chunked"))
        return SEEN_CODING;
    for (;;) {
        const char *name = p;

        p = rotor__skip(p, ROTOR__TOKEN);
        if (p == name || chunked)
            return SEEN_CODING | SEEN_CODING_SENSELESS;
        chunked = IS(name, p, "chunked");
        p = rotor__skip_ows(p);
        if (*p == ';' && !chunked) {
            while (p < end && *p != ',')
                p++;
        }
        if (p >= end)
            return SEEN_CODING | SEEN_CODING_UNKNOWN;
        if (*p++ != ',')
            return SEEN_CODING | SEEN_CODING_SENSELESS;
        p = rotor__skip_ows(p);
    }
}

/* Connection (RFC 9110 section 7.6.1): a list of tokens, where empty elements count for nothing. */
static int read_connection(rotor_http_head *head, const char *p, const char *end)
{
    int seen = 0;

    while (p < end) {
        const char *option = p;

        p = rotor__skip(p, ROTOR__TOKEN);
        if (IS(option, p, "close"))
            seen |= SEEN_CLOSE;
        else if (IS(option, p, "keep-alive"))
            seen |= SEEN_KEEP_ALIVE;
        else if (IS(option, p, "upgrade"))
            head->upgrade = head->minor == 1;
        p = rotor__skip_ows(p);
        if (p < end && *p++ != ',')
            return ROTOR_HTTP_ECONNECTION;
        p = rotor__skip_ows(p);
    }
    return seen;
}

/* A field of [p, end) whose name has the length of one that matters here. Returns what it adds to
** `seen`, or an error. */
static inline int read_known(rotor_http_head *head, rotor_http_field field, const char *name,
                             const char *p, const char *end, const char *limit, int seen)
{
    uint64_t length = 0;
    int error;

    switch (field.name.len) {
    case 4:
        if (!rotor__is_word(name, "host", 4))
            return 0;
        /* Whether it may be empty depends on the target, which a call in the middle does
        ** not know. */
        if (p < end && !is_authority(p, end, limit))
            return ROTOR_HTTP_EHOST;
        if (head->host.len == 0)
            head->host = field.value;
        return seen & SEEN_HOST ? SEEN_HOST_AGAIN : SEEN_HOST;
    case 6:
        if (!rotor__is_word(name, "expect", 6))
            return 0;
        return IS(p, end, "100-continue") ? SEEN_CONTINUE : SEEN_EXPECT_OTHER;
    case 10:
        if (!rotor__is_word(name, "connection", 10))
            return 0;
        return IS(p, end, "keep-alive") ? SEEN_KEEP_ALIVE : read_connection(head, p, end);
    case 14:
        if (!rotor__is_word(name, "content-length", 14))
            return 0;
        error = read_length(p, end, &length);
        if (error)
            return error;
        if (head->has_length && length != head->content_length)
            return SEEN_LENGTH_OTHER;
        head->has_length = true;
        head->content_length = length;
        return SEEN_LENGTH;
    case 17:
        if (!rotor__is_word(name, "transfer-encoding", 17))
            return 0;
        return read_coding(p, end) | (seen & SEEN_CODING ? SEEN_CODING_SENSELESS : 0);
    default:
        return 0;
    }
}

/* One field line (section 5), [line, end), of which `plain` bytes are known to be plain. Returns
** what it adds to `seen`, or an error. */
static inline int read_field(rotor_http_head *head, size_t i, const char *data, const char *line,
                             const char *end, size_t plain, const char *limit, int seen)
{
    rotor__field_line parts;
    rotor_http_field field;
    int error = rotor__split_field(&parts, line, end, plain);

    if (error)
        return error;
    field = (rotor_http_field){rotor__span(data, line, parts.name_end),
                               rotor__span(data, parts.value, parts.value_end)};
    head->fields[i] = field;
    return read_known(head, field, line, parts.value, parts.value_end, limit, seen);
}

/* What can only be judged by the whole head: first what is ambiguous, then what is
** not supported. */
static int judge_rest(rotor_http_head *head, int seen)
{
    if (seen & SEEN_CODING) {
        if (head->minor == 0)
            return ROTOR_HTTP_ECODING10;
        if (seen & (SEEN_LENGTH | SEEN_CODING_SENSELESS))
            return ROTOR_HTTP_ESMUGGLE;
    }
    if (seen & SEEN_LENGTH_OTHER)
        return ROTOR_HTTP_ELENGTH;
    if (seen & SEEN_HOST ? head->host.len == 0 || (seen & SEEN_HOST_AGAIN) : head->minor == 1)
        return ROTOR_HTTP_EHOST;
    if (seen & SEEN_CODING_UNKNOWN)
        return ROTOR_HTTP_ECODING;
    if (seen & SEEN_EXPECT_OTHER && head->minor == 1)
        return ROTOR_HTTP_EEXPECT;
    head->chunked = (seen & SEEN_CODING) != 0;
    head->expect_continue = (seen & SEEN_CONTINUE) && head->minor == 1;
    return 0;
}

static inline int judge_head(rotor_http_head *head, int seen)
{
    int wanted = head->minor == 1 ? 0 : SEEN_KEEP_ALIVE;

    head->keep_alive = (seen & (SEEN_CLOSE | wanted)) == wanted;
    seen &= ~(SEEN_CLOSE | SEEN_KEEP_ALIVE);
    return seen == SEEN_HOST && head->host.len > 0 ? 0 : judge_rest(head, seen);
}

/* A line whose first control character, at `end`, does not begin a CRLF; or there is none yet. */
static ptrdiff_t stop_short(rotor_http_progress *progress, const char *data, const char *line,
                            const char *end, const char *limit, size_t section, size_t fields)
{
    if (end < limit && (*end != '\r' || end + 1 < limit))
        return ROTOR_HTTP_ECONTROL;
    *progress = (rotor_http_progress){(uint32_t)(line - data), (uint32_t)(end - data),
                                      (uint32_t)section, (uint32_t)fields};
    return ROTOR_MORE;
}

/* Read the lines that are there, from where `progress` stands. */
static inline ptrdiff_t read_lines(rotor_http_head *head, const char *data, const char *limit,
                                   const rotor_http_limits *limits, rotor_http_progress *progress,
                                   int *seen)
{
    const char *line = data + progress->line, *from = data + progress->scanned, *end;
    const char *last = limit - 1;
    size_t section = progress->section, fields = progress->fields, plain, most;
    int result;

    if (section == 0) {
        for (; rotor__is_crlf(line, last); from = line += 2) {
            if ((size_t)(line - data) / 2 == limits->empty_lines)
                return ROTOR_HTTP_EEMPTY;
        }
        end = rotor__scan(data, from, limit);
        if ((size_t)(end - line) > limits->request_line)
            return ROTOR_HTTP_ELINESIZE;
        if (!rotor__is_crlf(end, last))
            return stop_short(progress, data, line, end, limit, 0, 0);
        result = read_request_line(head, data, line, end, limit);
        if (result < 0)
            return result;
        from = line = end + 2;
        section = (size_t)(line - data);
    }

    most = section + limits->head - 2; /* where the last CRLF may begin */
    for (; !rotor__is_crlf(line, last); from = line = end + 2) {
        end = rotor__scan_plain(data, from, limit, &plain);
        if (fields == limits->fields && end > line)
            return ROTOR_HTTP_EFIELDS;
        if ((size_t)(end - data) > most && end > line)
            return ROTOR_HTTP_EHEADSIZE;
        if (!rotor__is_crlf(end, last))
            return stop_short(progress, data, line, end, limit, section, fields);
        if (from != line)
            plain = 0;
        result = read_field(head, fields, data, line, end, plain, limit, *seen);
        if (result < 0)
            return result;
        *seen |= result;
        fields++;
    }
    head->nfields = (uint32_t)fields;
    return line + 2 - data;
}

ptrdiff_t rotor_http_parse_request(rotor_http_head *head, const char *data, size_t len,
                                   const rotor_http_limits *limits, rotor_http_progress *progress)
{
    bool all = progress->line == 0;
    int seen = 0, error;
    ptrdiff_t n;

    if (len == 0)
        return ROTOR_MORE;
    *head = (rotor_http_head){.fields = head->fields};
    n = read_lines(head, data, data + len, limits, progress, &seen);
    if (n <= 0)
        return n;
    *progress = (rotor_http_progress){0};
    if (!all)
        return rotor_http_parse_request(head, data, len, limits, progress);
    error = judge_head(head, seen);
    return error ? error : n;
}

int rotor_http_error_status(int code)
{
    switch (code) {
#define XX(name, code, status, message)                                                            \
    case ROTOR_##name:                                                                             \
        return status;
        ROTOR_HTTP_ERRORS(XX)
#undef XX
    default:
        return 500;
    }
}
