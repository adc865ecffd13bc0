/* http:// URLs, and references to them (RFC 3986). Pure but for memory. */
#ifndef ROTOR_HTTP_URL_H
#define ROTOR_HTTP_URL_H

#include "message.h"

/* A URL that a request can be sent to. All zero: none yet. */
typedef struct rotor_http_url {
    /* read-only: NUL-terminated, "http://name:port/path?query"; the port only if it is not 80, and never a
    ** fragment. What follows points into it. */
    char *text;
    rotor_text host;   /* read-only: in lower case; an IPv6 address has its brackets */
    rotor_text target; /* read-only: path and query; begins with a slash */
    uint16_t port;     /* read-only */
    bool has_path;     /* read-only: that slash was there */
} rotor_http_url;

/* Read an absolute URL. Its path stays as it is, dot segments, too; but a space or what is not ASCII is
** percent-encoded, as browsers do. Its fragment is dropped.
**
** 0 with `url` set, whatever it held before; or an error, and it is as before: ROTOR_HTTP_ESCHEME, another
** scheme than http; ROTOR_HTTP_EUSERINFO, "user@" or "user:password@"; ROTOR_HTTP_EURL, not a URL (a
** control character, no host or one that is not ASCII, a port that cannot be, a '%' in the path without its
** two digits); UV_ENOMEM. */
int rotor_http_url_parse(rotor_http_url *url, rotor_text text);

/* Set `url` to what `reference`, relative or not, means where `base` (which may be `url` itself) is the
** base (section 5.2). As rotor_http_url_parse(), but dot segments are removed from a path that is the
** reference's. */
int rotor_http_url_resolve(rotor_http_url *url, const rotor_http_url *base, rotor_text reference);

/* Whether both name the same host and port. */
bool rotor_http_url_same_origin(const rotor_http_url *a, const rotor_http_url *b);

/* Free what the URL holds; it is all zero then. */
void rotor_http_url_fini(rotor_http_url *url);

#endif
