/* Requests as bytes: what a client asks for, in the making. The builder cannot emit an invalid message:
** the method is a token, the URL was read, values have no line break, and Host, the framing and
** Connection are its own. Pure but for memory. */
#ifndef ROTOR_HTTP_ASK_H
#define ROTOR_HTTP_ASK_H

#include "url.h"

/* The length of a body that is sent in chunks, as its length is not known. */
#define ROTOR_HTTP_NO_LENGTH UINT64_MAX

/* A request in the making. */
typedef struct rotor_http_ask {
    /* To be set, if at all, behind init. */
    int redirects;        /* how many to follow at most; -1, as after init: the client's number */
    uint32_t timeout_ms;  /* for all of it; 0: the client's; UINT32_MAX: no limit */
    bool expect_continue; /* send the body only when the server has said "100 Continue", or has said
                             nothing for a while */
    bool absolute;        /* send the whole URL as the target, which a proxy wants */
    /* private */
    bool has_length, has_agent, has_te, has_upgrade, close, has_body, streamed;
    uint64_t length; /* as declared; of a body that is not streamed, its own */
    char *method;
    size_t method_len;
    char *address;
    rotor_http_url url;
    rotor_buf headers; /* complete lines */
    rotor_buf body;
} rotor_http_ask;

/* Begin a request for `url` with any `method`; for CONNECT, the URL's host and port are the target.
** 0; ROTOR_HTTP_EMETHOD: not a token; what rotor_http_url_parse() says; UV_ENOMEM. After an error `ask` is
** all zero. */
int rotor_http_ask_init(rotor_http_ask *ask, rotor_text method, rotor_text url);

/* Add a header field. Content-Length declares the length of the body, which is held against it;
** "Connection: close" closes the connection behind the response; "Expect: 100-continue" sets the member
** of that name; Upgrade and TE are mentioned in Connection, as they have to be. User-Agent replaces the
** usual one ("rotor"), or, when empty, has none sent.
** 0; ROTOR_EHEADER: the name is not a token, the value has CR, LF, NUL or another control character, or
** the field is not the caller's to set (Host, which is the URL's, Transfer-Encoding, Connection but for
** close, Expect of anything else, a malformed Content-Length or a second one); UV_ENOMEM. After an error
** the request is as before. */
int rotor_http_ask_add(rotor_http_ask *ask, rotor_text name, rotor_text value);

/* Give it a body: bytes, which are copied; or one that is streamed (see client.h), of that length or
** ROTOR_HTTP_NO_LENGTH. 0; ROTOR_EBODY: it has one, or the method may have none (TRACE, CONNECT), or
** another length was declared; UV_ENOMEM. */
int rotor_http_ask_body(rotor_http_ask *ask, rotor_text body);
int rotor_http_ask_stream(rotor_http_ask *ask, uint64_t length);

/* Connect to `address` (see stream/address.h: a Unix socket, say, or a proxy) rather than to what the URL
** names. It is for this origin alone: a redirect to another one goes there. 0; ROTOR_EADDRESS;
** UV_ENOMEM. */
int rotor_http_ask_address(rotor_http_ask *ask, const char *address);

/* NUL-terminated forms of the same. */
int rotor_http_ask_init_text(rotor_http_ask *ask, const char *method, const char *url);
int rotor_http_ask_add_text(rotor_http_ask *ask, const char *name, const char *value);

/* Append the head, from the request line to the empty line, to `out`. 0; ROTOR_EBODY: a length was declared
** for a body that is not there; UV_ENOMEM, with `out` as before. */
int rotor_http_ask_write(const rotor_http_ask *ask, rotor_buf *out);

/* Whether the method is one whose request may be sent again when it is not known what became of it
** (RFC 9110 section 9.2.2). */
bool rotor_http_ask_is_idempotent(const rotor_http_ask *ask);

/* private: whether the method is this one. */
static inline bool rotor__asks(const rotor_http_ask *ask, const char *method)
{
    return ask->method_len == strlen(method) && memcmp(ask->method, method, ask->method_len) == 0;
}

/* Whether the client follows a response with `status` to its Location (RFC 9110 section 15.4): 301, 302,
** 303, 307 and 308. */
bool rotor_http_is_redirect(int status);

/* Make of `ask` the request that follows such a response. 303 turns any method but HEAD into GET, as do 301
** and 302 with POST; then the body goes, and the headers that describe it. When the origin is another one,
** Authorization, Cookie and Proxy-Authorization go, and the address. `sent`: some of a streamed body
** was sent. 0; ROTOR_HTTP_EREPLAY; or what is wrong with the location, as of rotor_http_url_resolve(). After an
** error the request is as before. */
int rotor_http_ask_redirect(rotor_http_ask *ask, int status, rotor_text location, bool sent);

/* Free what the request holds; it is all zero then. */
void rotor_http_ask_fini(rotor_http_ask *ask);

#endif
