/* Heads of requests: request lines, targets, Host. See fields.h for how lines are read. */
#include "fields.h"

#include <arpa/inet.h>

/* What only the field lines of requests say. */
enum {
    SEEN_HOST = ROTOR__SEEN_OWN,
    SEEN_HOST_AGAIN = SEEN_HOST << 1,
    SEEN_CONTINUE = SEEN_HOST << 2,
    SEEN_EXPECT_OTHER = SEEN_HOST << 3
};

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

static int read_other_version(const char *version, const char *end)
{
    if (memchr(version, ' ', (size_t)(end - version)))
        return ROTOR_HTTP_ELINE;
    return rotor__read_version(version, end);
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
        int minor = read_other_version(p, end);
        if (minor < 0)
            return minor;
        head->minor = (uint8_t)minor;
    }
    if (*target != '/' || (head->method.len == 7 && memcmp(line, "CONNECT", 7) == 0))
        return read_other_target(head, data, query, limit);
    return 0;
}

/* Returns what the field adds to `seen`, or an error. */
static inline int read_field(rotor__section *section, rotor__field_line field, const char *data,
                             const char *limit)
{
    const char *name = field.name, *p = field.value, *end = field.value_end;

    switch (field.name_end - name) {
    case 4:
        if (!rotor__is_word(name, "host", 4))
            return 0;
        /* Whether it may be empty depends on the target, which a call in the middle does
        ** not know. */
        if (p < end && !is_authority(p, end, limit))
            return ROTOR_HTTP_EHOST;
        section->host = rotor__span(data, p, end);
        return section->seen & SEEN_HOST ? SEEN_HOST_AGAIN : SEEN_HOST;
    case 6:
        if (!rotor__is_word(name, "expect", 6))
            return 0;
        return ROTOR__IS(p, end, "100-continue") ? SEEN_CONTINUE : SEEN_EXPECT_OTHER;
    default:
        return rotor__read_framing(section, field, data, limit);
    }
}

/* What can only be judged by the whole head: first what is ambiguous, then what is
** not supported. */
static int judge_rest(rotor_http_head *head, const rotor__section *section)
{
    int seen = section->seen, error = rotor__judge_framing(seen, head->minor);

    if (error)
        return error;
    if (seen & SEEN_HOST ? head->host.len == 0 || (seen & SEEN_HOST_AGAIN) : head->minor == 1)
        return ROTOR_HTTP_EHOST;
    if (seen & ROTOR__CODING_UNKNOWN)
        return ROTOR_HTTP_ECODING;
    if (seen & SEEN_EXPECT_OTHER && head->minor == 1)
        return ROTOR_HTTP_EEXPECT;
    head->has_length = (seen & ROTOR__LENGTH) != 0;
    head->content_length = section->length;
    head->chunked = (seen & ROTOR__CODING) != 0;
    head->expect_continue = (seen & SEEN_CONTINUE) && head->minor == 1;
    head->upgrade = (seen & ROTOR__UPGRADE) && head->minor == 1;
    return 0;
}

static inline int judge_request(rotor_http_head *head, const rotor__section *section)
{
    int seen = section->seen & ~(ROTOR__CLOSE | ROTOR__KEEP_ALIVE);

    head->keep_alive = rotor__keeps_alive(section->seen, head->minor);
    if (head->host.len == 0)
        head->host = section->host;
    return seen == SEEN_HOST && head->host.len > 0 ? 0 : judge_rest(head, section);
}

/* Read the lines that are there, from where `progress` stands. */
static inline ptrdiff_t read_request(rotor_http_head *head, rotor__section *section,
                                     const char *data, const char *limit,
                                     const rotor_http_limits *limits, rotor_http_progress *progress)
{
    const char *line = data + progress->line, *from = data + progress->scanned;
    rotor_http_progress at = *progress;

    if (at.section == 0) {
        ptrdiff_t end;
        int error;

        for (; rotor__is_crlf(line, limit - 1); from = line += 2) {
            if ((size_t)(line - data) / 2 == limits->empty_lines)
                return ROTOR_HTTP_EEMPTY;
        }
        end = rotor__find_start_line(data, line, from, limit, limits, progress);
        if (end <= 0)
            return end;
        error = read_request_line(head, data, line, data + end, limit);
        if (error)
            return error;
        at.line = at.scanned = at.section = (uint32_t)end + 2;
    }
    return rotor__read_fields(section, &head->nfields, data, limit, limits, at, progress,
                              read_field);
}

ptrdiff_t rotor_http_parse_request(rotor_http_head *head, const char *data, size_t len,
                                   const rotor_http_limits *limits, rotor_http_progress *progress)
{
    rotor__section section = {.fields = head->fields};
    bool all = progress->line == 0;
    ptrdiff_t n;
    int error;

    if (len == 0)
        return ROTOR_MORE;
    *head = (rotor_http_head){.fields = head->fields};
    n = read_request(head, &section, data, data + len, limits, progress);
    if (n <= 0)
        return n;
    *progress = (rotor_http_progress){0};
    if (!all)
        return rotor_http_parse_request(head, data, len, limits, progress);
    error = judge_request(head, &section);
    return error ? error : n;
}
