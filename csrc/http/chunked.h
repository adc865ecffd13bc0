/* The chunked transfer coding (RFC 9112 section 7.1), decoded in place, and trailers. Pure, like the
** parser. */
#ifndef ROTOR_HTTP_CHUNKED_H
#define ROTOR_HTTP_CHUNKED_H

#include "parser.h"

/* A decoder; all zero at the start of a body. */
typedef struct rotor_http_chunked {
    /* private */
    uint64_t left;       /* bytes left of the present chunk's data */
    uint64_t total;      /* bytes of body decoded */
    uint32_t line;       /* bytes of the present line */
    uint32_t extensions; /* bytes of extensions so far */
    uint32_t trailers;   /* bytes of trailers so far, with their CRLFs */
    uint8_t state;
} rotor_http_chunked;

/* Decode `len` bytes of chunked framing at `data`, moving the body's bytes together at its front and
** those of the trailer section right behind them; `*body` and `*trailers` are set to how many of each
** there are. Body is never followed by more of it once there were trailers, so a caller that keeps all
** has, in the end, the body and then the trailer section: whole lines with their CRLFs, without the
** empty line that ends it, for rotor_http_parse_trailers(). `trailers` NULL: they are checked and
** dropped.
**
** Returns the number of bytes of `data` that belonged to the body (the last CRLF included: what
** follows them is the next message and has not been moved); ROTOR_MORE when all `len` bytes did and
** the end is not among them; ROTOR_HTTP_ECHUNK; ROTOR_HTTP_ECHUNKSIZE; ROTOR_HTTP_EBODYSIZE (more
** than `most` bytes of body in all, known as soon as the chunk's size is; limits->body is not looked
** at); or what a malformed trailer line deserves, as a header field's would.
**
** The verdict, and the bytes decoded before it, do not depend on how `data` was split between
** calls. Once the body has ended, or was refused, further bytes get ROTOR_ESTATE. */
ptrdiff_t rotor_http_chunked_decode(rotor_http_chunked *c, char *data, size_t len,
                                    const rotor_http_limits *limits, uint64_t most, size_t *body,
                                    size_t *trailers);

/* Make fields of a whole trailer section, `len` bytes at `data`, as the decoder leaves it; their spans
** are offsets from `data`. Those that may not be trailers are left out. Fills in the first `room` of
** `fields` and returns how many there are, which may be more; so with `room` 0 it counts them. An error
** for what the decoder does not let through. */
ptrdiff_t rotor_http_parse_trailers(rotor_http_field *fields, size_t room, const char *data,
                                    size_t len);

/* Whether the field `name`, of `len` bytes, may be sent and read as a trailer: not what says something
** about framing, routing, authentication or the content's format, nor what modifies a request or
** controls a response (RFC 9110 section 6.5.1). Without case. */
bool rotor_http_is_trailer(const char *name, size_t len);

#endif
