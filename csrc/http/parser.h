/* The HTTP/1 parser of heads: bytes in, spans out. Pure: no allocation, no I/O, no state of its own
** but `rotor_http_progress`. Strict by RFC 9112 and RFC 9110: what is ambiguous is refused.
**
** Everything it yields is an offset into the bytes parsed, so the caller may move those bytes. */
#ifndef ROTOR_HTTP_PARSER_H
#define ROTOR_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/error.h"

/* What a parser returns when the message is valid so far but not all there. */
#define ROTOR_MORE 0

/* `len` bytes at offset `at` of the bytes parsed. */
typedef struct rotor_http_span {
    uint32_t at, len;
} rotor_http_span;

/* One header field; the value is without the white space around it. */
typedef struct rotor_http_field {
    rotor_http_span name, value;
} rotor_http_field;

/* What a message may cost; see the table in the server's documentation for the defaults. Sizes are
** in bytes and must not exceed 1 GiB in total. */
typedef struct rotor_http_limits {
    uint32_t request_line;     /* or a status line; without its CRLF */
    uint32_t head;             /* the header section: all field lines with their CRLFs */
    uint32_t fields;           /* header fields */
    uint32_t empty_lines;      /* before the request line */
    uint32_t chunk_line;       /* one chunk-size line with its extensions, without its CRLF */
    uint32_t chunk_extensions; /* all chunk extensions of one body */
    uint32_t trailers;         /* the trailer section: all its lines with their CRLFs */
    uint64_t body;             /* a buffered body, decoded: not for the parsers to look at */
} rotor_http_limits;

#define ROTOR_HTTP_LIMITS_DEFAULT                                                                  \
    {                                                                                              \
        .request_line = 8192, .head = 32768, .fields = 128, .empty_lines = 4, .chunk_line = 256,   \
        .chunk_extensions = 16384, .trailers = 8192, .body = 8u << 20                              \
    }

/* Put its default in the place of each limit that is 0. */
void rotor_http_limits_complete(rotor_http_limits *limits);

typedef struct rotor_http_head {
    rotor_http_span method;
    rotor_http_span target;  /* as sent: origin, absolute, authority or asterisk form */
    rotor_http_span path;    /* the target's path, still percent-encoded; "*" in asterisk form;
                                 empty in authority form; absolute form without a path: empty, to
                                 be read as "/" */
    rotor_http_span query;   /* what follows the first '?', without it; empty when there is none */
    rotor_http_span host;    /* the authority of an absolute or authority form target, else the
                                 value of Host; empty only when HTTP/1.0 has neither */
    uint64_t content_length; /* 0 without Content-Length */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;         /* by version and Connection (RFC 9112 section 9.3) */
    bool has_length;         /* Content-Length was given */
    bool chunked;            /* Transfer-Encoding: chunked */
    bool expect_continue;    /* Expect: 100-continue; never set for HTTP/1.0 (RFC 9110 10.1.1) */
    bool has_query;          /* there was a '?' */
    bool upgrade;            /* Connection lists "upgrade"; never set for HTTP/1.0, where Upgrade is
                                to be ignored (RFC 9110 7.8) */
    uint32_t nfields;
    rotor_http_field *fields; /* in: room for limits->fields of them; filled in their order */
} rotor_http_head;

/* How far a message that is not all there has been looked at. All zero before the first byte; the
** bytes it speaks of must be given again, from the same start, with more behind them. */
typedef struct rotor_http_progress {
    uint32_t line;    /* private: where the first line not yet complete begins */
    uint32_t scanned; /* private: up to where that line holds no control character */
    uint32_t section; /* private: where the header section begins; 0: not reached */
    uint32_t fields;  /* private: field lines complete */
} rotor_http_progress;

/* Parse a request head at the start of `data`, from the request line to the empty line.
**
** Returns the number of bytes it takes (leading empty lines and the final one included) with `head`
** filled in and `progress` all zero; ROTOR_MORE; or one of ROTOR_HTTP_E… for what cannot become an
** acceptable request: a control character, or a limit passed, as soon as its byte is there; any
** other fault of one line as soon as that line is complete; what takes several lines to see (Host
** missing or repeated, framing that contradicts itself) at the end of the head. `head` holds
** nothing of use unless a number of bytes is returned.
**
** The verdict does not depend on how the bytes were split between calls. Every byte is looked at a
** bounded number of times, however they arrive. Reads no byte at or behind data + len.
**
** Where the RFCs leave a choice:
** - a target may hold any visible ASCII but '#': clients send unescaped `| { } ^ " < > \ ` and
**   brackets. A '%' in the path must have its two hex digits; behind the '?' it may stand alone;
** - absolute form is http or https, without user information; its authority, like that of CONNECT,
**   outdoes Host, which must be there and valid all the same;
** - an empty Host is refused unless the target has an authority; so is a port above 65535;
** - HTTP/1.2 to 1.9 are read as 1.1; any other major version is refused (505);
** - Content-Length may be repeated, or be a list, if all its numbers are equal;
** - Connection may not name Host or Content-Length, which are not the connection's to drop;
** - a coding other than chunked is 501, as is a list of such that may end in chunked; a list that
**   names chunked elsewhere or twice, a repeated Transfer-Encoding and an empty one are 400;
** - of several faults of the whole head, what is ambiguous (400) goes before what is merely not
**   supported (501, 417). */
ptrdiff_t rotor_http_parse_request(rotor_http_head *head, const char *data, size_t len,
                                   const rotor_http_limits *limits, rotor_http_progress *progress);

typedef struct rotor_http_response_head {
    rotor_http_span reason;  /* the reason phrase, often empty: of no meaning to a program */
    uint64_t content_length; /* 0 without Content-Length */
    uint16_t status;         /* 100 to 999; one above 599 is to be treated like a 500 */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;         /* by version and Connection, of no avail to a body that lasts until
                                the close */
    bool has_length;         /* Content-Length was given */
    bool chunked;            /* Transfer-Encoding: chunked */
    bool upgrade;            /* Connection lists "upgrade" */
    uint32_t nfields;
    rotor_http_field *fields; /* in: room for limits->fields of them; filled in their order */
} rotor_http_response_head;

/* Parse a response head at the start of `data`, from the status line to the empty line. All that is
** said of rotor_http_parse_request() holds, also of versions and of the fields that frame a message;
** and no empty line may come before a status line.
**
** Where the RFCs leave a choice:
** - without a reason phrase the space before it may be missing, too, as it is in the wild: nothing else
**   can be meant. No other white space is taken for a space;
** - a status from 600 to 999 is invalid and given as it is, to be treated like a 500 (RFC 9110
**   section 15); one below 100 is refused, since others take it for an interim response;
** - chunked is the only coding known. With another one the body would last until the close, but it
**   could not be decoded: ROTOR_HTTP_ECODING;
** - Content-Length next to Transfer-Encoding is refused, whatever the status is; so is either in a 1xx,
**   but for a Content-Length of 0. In a 204 they are without effect (RFC 9112 section 6.3), but what
**   comes behind may be the body that they spoke of: keep_alive is off. */
ptrdiff_t rotor_http_parse_response(rotor_http_response_head *head, const char *data, size_t len,
                                    const rotor_http_limits *limits, rotor_http_progress *progress);

/* How the end of a body is known. */
typedef enum rotor_http_framing {
    ROTOR_HTTP_NO_BODY,    /* not even with a length or a coding in the head */
    ROTOR_HTTP_LENGTH,     /* head->content_length bytes */
    ROTOR_HTTP_CHUNKED,    /* to be decoded (chunked.h) */
    ROTOR_HTTP_UNTIL_CLOSE /* all that comes; whether it is whole cannot be known */
} rotor_http_framing;

/* How the body of a response to a request with this method ends (RFC 9112 section 6.3). Methods have a
** case. */
rotor_http_framing rotor_http_response_framing(const rotor_http_response_head *head,
                                               const char *method, size_t len);

/* The status that an error of the parser is answered with: 400, 413, 414, 417, 431, 501 or 505; 502
** for what only a response can be refused for; 500 for any other code. */
int rotor_http_error_status(int code);

/* Whether `n` bytes of `name` and of `other` are equal but for the case of ASCII letters. */
bool rotor_http_name_equal(const char *name, const char *other, size_t n);

/* Whether `n` > 0 bytes of `s` form a token (RFC 9110 section 5.6.2). */
bool rotor_http_is_token(const char *s, size_t n);

/* Whether `n` bytes of `s` may stand in a field value: no control character but HTAB
** (RFC 9110 section 5.5). */
bool rotor_http_is_value(const char *s, size_t n);

#endif
