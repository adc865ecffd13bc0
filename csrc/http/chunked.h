/* The chunked transfer coding (RFC 9112 section 7.1), decoded in place. Pure, like the parser. */
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

/* Decode `len` bytes of chunked framing at `data`, moving the body's bytes together at its front;
** `*body` is set to how many there are.
**
** Returns the number of bytes of `data` that belonged to the body (the last CRLF included: what
** follows them is the next message and has not been moved); ROTOR_MORE when all `len` bytes did and
** the end is not among them; ROTOR_HTTP_ECHUNK; ROTOR_HTTP_ECHUNKSIZE; ROTOR_HTTP_EBODYSIZE (more
** than limits->body decoded, known as soon as the chunk's size is); or what a malformed trailer
** line deserves. Trailers are checked like header fields and dropped (RFC 9110 section 6.5.1).
**
** The verdict, and the bytes decoded before it, do not depend on how `data` was split between
** calls. Once the body has ended, or was refused, further bytes get ROTOR_ESTATE. */
ptrdiff_t rotor_http_chunked_decode(rotor_http_chunked *c, char *data, size_t len, size_t *body,
                                    const rotor_http_limits *limits);

#endif
