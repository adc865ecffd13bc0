/* Responses as bytes. The builder cannot emit an invalid message: names are tokens, values have no
** line break, the body is as long as it says, and where there may be none there is none. */
#ifndef ROTOR_HTTP_MESSAGE_H
#define ROTOR_HTTP_MESSAGE_H

#include <stdbool.h>

#include "../core/buf.h"
#include "parser.h"

/* Some bytes, not NUL-terminated; data NULL: none at all. */
typedef struct rotor_text {
    const char *data;
    size_t len;
} rotor_text;

/* "Thu, 01 Jan 1970 00:00:00 GMT" (RFC 9110 section 5.6.7), 29 bytes and a NUL. */
#define ROTOR_HTTP_DATE_SIZE 30
void rotor_http_format_date(char text[ROTOR_HTTP_DATE_SIZE], uint64_t wall_ms);

/* The standard reason phrase, or "" for a status without one. */
const char *rotor_http_reason(int status);

/* A response in the making. All zero, but for the members that its maker sets. It is sent whole, or
** started, written and finished. */
typedef struct rotor_http_response {
    bool to_head;     /* answers HEAD: the body is counted and left out (RFC 9110 section 9.3.2) */
    bool to_connect;  /* answers CONNECT: a 2xx has no body and no length (section 9.3.6) */
    bool keep_alive;  /* whether the connection may go on; cleared by "Connection: close" */
    uint8_t minor;    /* of the request's version */
    const char *date; /* ROTOR_HTTP_DATE_SIZE; NULL: none is sent */
    /* read-only */
    bool started; /* its head was written */
    bool sent;    /* all of it was */
    uint16_t status;
    uint64_t size; /* bytes that were written of it */
    /* private */
    bool has_date, has_length, chunked, bodiless;
    uint64_t length;   /* as declared; once started, what is left of it */
    rotor_buf headers; /* complete lines; once started, of the trailer section */
} rotor_http_response;

/* Add a header field. Content-Length is remembered and held against the body; "Connection: close"
** closes the connection behind the response; a Date replaces the usual one.
** 0; ROTOR_EHEADER: the name is not a token, the value has CR, LF, NUL or another control character,
** or the field is not the handler's to set (Transfer-Encoding, Connection but for close, a
** malformed Content-Length, a second one or a second Date); ROTOR_ESTATE: the response was started or
** sent; UV_ENOMEM. After an error the response is as before. */
int rotor_http_response_add(rotor_http_response *r, rotor_text name, rotor_text value);

/* Whether a response with `status` never has a body: 1xx, 204 and 304 (RFC 9110 section 6.4.1). */
bool rotor_http_is_bodiless(int status);

/* Append the whole response to `out`. 0; ROTOR_ESTATE: started or sent before; UV_EINVAL: `status` is
** not in 200 … 599; ROTOR_EBODY: a body where there may be none (204, 205, 304, a 2xx to CONNECT), or
** of another length than was declared, or a length declared where there may be none (204, a 2xx to
** CONNECT); UV_ENOMEM. After an error `out` is as before, and the response may be sent otherwise.
** To HEAD an empty `body` says nothing of the length: then the one declared is sent, or none. */
int rotor_http_response_send(rotor_http_response *r, rotor_buf *out, int status, rotor_text body);

/* Append the head only; the body follows by write and finish. Without a length declared the body is
** chunked, or, to HTTP/1.0, goes on until the connection closes (RFC 9112 section 6.3). Errors as of
** send. */
int rotor_http_response_start(rotor_http_response *r, rotor_buf *out, int status);

/* Append some of the body. 0; ROTOR_ESTATE: not started, or sent; ROTOR_EBODY: more than was declared,
** or there may be none; UV_ENOMEM. After an error all is as before. */
int rotor_http_response_write(rotor_http_response *r, rotor_buf *out, rotor_text data);

/* Add a trailer field, after start and before finish. Clients that did not say "TE: trailers" may drop
** it (RFC 9110 section 6.5.1). 0; ROTOR_EHEADER: as of add, or a name that may not be a trailer;
** ROTOR_ESTATE: the body is not chunked, or not in the making; UV_ENOMEM. */
int rotor_http_response_trailer(rotor_http_response *r, rotor_text name, rotor_text value);

/* The body ends here. 0; ROTOR_ESTATE: not started, or sent; ROTOR_EBODY: it is shorter than was
** declared (to HEAD, and with 304, it may be left out); UV_ENOMEM. */
int rotor_http_response_finish(rotor_http_response *r, rotor_buf *out);

/* Append the head that ends HTTP on the connection: 101 with "Connection: Upgrade", or a 2xx to CONNECT
** (RFC 9110 sections 7.8 and 9.3.6). 0; ROTOR_ESTATE: started or sent; UV_EINVAL: another status;
** ROTOR_EBODY: a length was declared; UV_ENOMEM. */
int rotor_http_response_switch(rotor_http_response *r, rotor_buf *out, int status);

/* Free what the response holds. */
void rotor_http_response_fini(rotor_http_response *r);

#endif
