/* URLs: split into parts, judged, and put together anew in memory of their own. */
#include <arpa/inet.h>

#include "../core/alloc.h"
#include "put.h"
#include "scan.h"
#include "url.h"

enum { HTTP_PORT = 80, LONGEST_NAME = 253 };

/* What RFC 3986 appendix B makes of any text; data NULL: that part is not there. A path always is. */
typedef struct parts {
    rotor_text scheme, authority, path, query;
} parts;

static rotor_text take_until(rotor_text *rest, const char *stops)
{
    rotor_text part = {rest->data, 0};
    while (part.len < rest->len && !strchr(stops, part.data[part.len] ? part.data[part.len] : ' '))
        part.len++;
    rest->data += part.len;
    rest->len -= part.len;
    return part;
}

static bool begins_with(rotor_text text, const char *start)
{
    size_t n = strlen(start);
    return text.len >= n && memcmp(text.data, start, n) == 0;
}

static void skip(rotor_text *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

/* Section 3.1. */
static bool is_scheme(rotor_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        bool later = rotor__is(c, ROTOR__DIGIT) || c == '+' || c == '-' || c == '.';
        if (!letter && !(i > 0 && later))
            return false;
    }
    return text.len > 0;
}

static parts split(rotor_text text)
{
    parts p = {0};
    rotor_text rest = text;
    p.scheme = take_until(&rest, ":/?#");
    if (is_scheme(p.scheme) && begins_with(rest, ":")) {
        skip(&rest, 1);
    } else {
        p.scheme.data = NULL;
        rest = text;
    }
    if (begins_with(rest, "//")) {
        skip(&rest, 2);
        p.authority = take_until(&rest, "/?#");
    }
    p.path = take_until(&rest, "?#");
    if (begins_with(rest, "?")) {
        skip(&rest, 1);
        p.query = take_until(&rest, "#");
    }
    return p;
}

/* -- the authority ----------------------------------------------------------------------------- */

static bool is_ip_literal(rotor_text host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (host.len < 2 || host.len - 2 >= sizeof text || host.data[host.len - 1] != ']')
        return false;
    memcpy(text, host.data + 1, host.len - 2);
    text[host.len - 2] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_host(rotor_text host)
{
    if (host.len == 0 || host.len > LONGEST_NAME)
        return false;
    if (*host.data == '[')
        return is_ip_literal(host);
    for (size_t i = 0; i < host.len; i++)
        if (!rotor__is(host.data[i], ROTOR__HOST))
            return false;
    return true;
}

/* An empty one is the usual one (section 6.2.3). */
static bool read_port(rotor_text text, uint16_t *port)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!rotor__is(text.data[i], ROTOR__DIGIT) || n > UINT16_MAX)
            return false;
        n = n * 10 + (unsigned)(text.data[i] - '0');
    }
    *port = text.len > 0 ? (uint16_t)n : HTTP_PORT;
    return n <= UINT16_MAX && *port > 0;
}

static int read_authority(rotor_text authority, rotor_text *host, uint16_t *port)
{
    rotor_text rest = authority;
    if (authority.len > 0 && memchr(authority.data, '@', authority.len))
        return ROTOR_HTTP_EUSERINFO;
    if (begins_with(rest, "[")) {
        *host = take_until(&rest, "]");
        if (rest.len > 0) { /* the bracket */
            host->len++;
            skip(&rest, 1);
        }
    } else {
        *host = take_until(&rest, ":");
    }
    if (begins_with(rest, ":"))
        skip(&rest, 1);
    else if (rest.len > 0)
        return ROTOR_HTTP_EURL;
    return is_host(*host) && read_port(rest, port) ? 0 : ROTOR_HTTP_EURL;
}

/* -- path and query ---------------------------------------------------------------------------- */

static bool is_written_as_is(char c)
{
    return c > ' ' && c < 0x7f;
}

/* `strict`: a '%' must begin an escape. */
static bool is_fit(rotor_text text, bool strict)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if ((uint8_t)c < ' ' || c == 0x7f)
            return false;
        bool escapes = text.len - i > 2 && rotor__is(text.data[i + 1], ROTOR__HEX) &&
                       rotor__is(text.data[i + 2], ROTOR__HEX);
        if (c == '%' && strict && !escapes)
            return false;
    }
    return true;
}

static char *put_encoded(char *p, rotor_text text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (is_written_as_is(c)) {
            *p++ = c;
        } else {
            *p++ = '%';
            *p++ = digits[(uint8_t)c >> 4];
            *p++ = digits[(uint8_t)c & 15];
        }
    }
    return p;
}

/* Section 5.2.4, on the path [path, end), which begins with a slash; in place, as it never grows. Returns
** its new end. */
static char *remove_dots(char *path, char *end)
{
    char *out = path;
    for (char *p = path; p < end;) {
        char *next = memchr(p + 1, '/', (size_t)(end - p - 1));
        size_t len = (size_t)((next ? next : end) - p);
        bool up = len == 3 && memcmp(p, "/..", 3) == 0;
        if (up || (len == 2 && p[1] == '.')) {
            while (up && out > path && *--out != '/')
                continue;
            if (!next) /* what is left is a directory */
                *out++ = '/';
        } else {
            memmove(out, p, len);
            out += len;
        }
        p += len;
    }
    return out;
}

/* -- putting together -------------------------------------------------------------------------- */

typedef struct pieces {
    rotor_text host;
    uint16_t port;
    rotor_text directory, path; /* one behind the other */
    rotor_text query;
    bool without_dots;
} pieces;

static int compose(rotor_http_url *url, const pieces *p)
{
    enum { REST = sizeof "http://:65535/?" };
    if (!is_fit(p->directory, true) || !is_fit(p->path, true) || !is_fit(p->query, false))
        return ROTOR_HTTP_EURL;
    size_t size = p->host.len + 3 * (p->directory.len + p->path.len + p->query.len) + REST;
    char *text = rotor_alloc(size);
    if (!text)
        return UV_ENOMEM;
    rotor_http_url made = {.text = text, .port = p->port};

    char *at = ROTOR__PUT(text, "http://");
    made.host = (rotor_text){at, p->host.len};
    for (size_t i = 0; i < p->host.len; i++) {
        char c = p->host.data[i];
        *at++ = c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
    }
    if (p->port != HTTP_PORT) {
        *at++ = ':';
        at = rotor__put_number(at, p->port);
    }
    char *target = at;
    at = put_encoded(at, p->directory);
    at = put_encoded(at, p->path);
    made.has_path = at > target;
    if (!made.has_path)
        *at++ = '/';
    if (p->without_dots)
        at = remove_dots(target, at);
    if (p->query.data) {
        *at++ = '?';
        at = put_encoded(at, p->query);
    }
    made.target = (rotor_text){target, (size_t)(at - target)};
    *at = '\0';
    rotor_http_url_fini(url);
    *url = made;
    return 0;
}

/* The base's path up to its last slash (section 5.2.3). */
static rotor_text directory_of(rotor_text path)
{
    while (path.len > 0 && path.data[path.len - 1] != '/')
        path.len--;
    return path;
}

static int set(rotor_http_url *url, const parts *p, bool without_dots)
{
    pieces made = {.path = p->path, .query = p->query, .without_dots = without_dots};
    int error = read_authority(p->authority, &made.host, &made.port);
    return error ? error : compose(url, &made);
}

int rotor_http_url_parse(rotor_http_url *url, rotor_text text)
{
    parts p = split(text);
    if (!p.scheme.data)
        return ROTOR_HTTP_EURL;
    if (!rotor__is_named(p.scheme, "http", 4))
        return p.authority.data ? ROTOR_HTTP_ESCHEME : ROTOR_HTTP_EURL;
    return p.authority.data ? set(url, &p, false) : ROTOR_HTTP_EURL;
}

int rotor_http_url_resolve(rotor_http_url *url, const rotor_http_url *base, rotor_text reference)
{
    parts p = split(reference);
    if (p.scheme.data && !rotor__is_named(p.scheme, "http", 4))
        return ROTOR_HTTP_ESCHEME;
    if (p.authority.data)
        return set(url, &p, true);
    if (p.scheme.data) /* no path can stand for a host (RFC 9110 section 4.2.1) */
        return ROTOR_HTTP_EURL;

    rotor_text rest = base->target;
    rotor_text path = take_until(&rest, "?");
    pieces made = {.host = base->host, .port = base->port, .path = p.path, .query = p.query};
    made.without_dots = p.path.len > 0;
    if (p.path.len == 0) {
        made.path = path;
        if (!p.query.data && rest.len > 0)
            made.query = (rotor_text){rest.data + 1, rest.len - 1};
    } else if (*p.path.data != '/') {
        made.directory = directory_of(path);
    }
    return compose(url, &made);
}

bool rotor_http_url_same_origin(const rotor_http_url *a, const rotor_http_url *b)
{
    return a->port == b->port && a->host.len == b->host.len &&
           memcmp(a->host.data, b->host.data, a->host.len) == 0;
}

void rotor_http_url_fini(rotor_http_url *url)
{
    rotor_free(url->text);
    *url = (rotor_http_url){0};
}
