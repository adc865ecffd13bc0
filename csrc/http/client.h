/* The HTTP/1 client: calls, over connections that are kept for the next one.
**
** A call is a request and what becomes of it: a machine that is told of the response by its requester's
** transitions. One deadline covers all of it: waiting for a connection, looking the name up, connecting,
** sending, redirects, and the last byte of the response.
**
** Connections are kept by origin, that is, by where they lead. One whose peer closes it or says something
** unasked is dropped as soon as that happens, and looked at once more before it is used again. When it
** breaks all the same before a byte of the response has come, the request is sent again, once and over a
** new connection, if its method is idempotent and none of a streamed body has been sent (RFC 9112 section
** 9.3.1). Connections that are kept do not keep the loop running.
**
** A response that ends before its end is an error, whatever was told of it before. One that begins before
** the body of the request was sent ends the sending if its status is 300 or above, and otherwise when it
** ends itself; the connection ends with it.
**
** What a client allows (rotor_http_client_config):
**
**     limits.request_line (status line)  8 KiB     timeout_ms      30 s   ROTOR_ETIMEDOUT
**     limits.head                       32 KiB     idle_ms         30 s   close
**     limits.fields                        128     continue_ms      1 s   send the body
**     limits.body (buffered)             8 MiB     stall_ms        30 s   ROTOR_ESTALLED
**     limits.chunk_line                  256 B     redirects         10   ROTOR_HTTP_EREDIRECTS
**     limits.chunk_extensions           16 KiB     connections      512   wait
**     limits.trailers                    8 KiB       to an origin    64   wait
**                                                  kept             256   close the oldest
**                                                    of an origin    32   close the oldest */
#ifndef ROTOR_HTTP_CLIENT_H
#define ROTOR_HTTP_CLIENT_H

#include "../stream/connect.h"
#include "ask.h"
#include "server.h"

typedef struct rotor_http_client rotor_http_client;
typedef struct rotor_http_call rotor_http_call;

typedef struct rotor_http_client_config {
    rotor_http_limits limits; /* of responses; a member that is 0: its default */
    uint32_t timeout_ms;      /* for a whole call; UINT32_MAX: no limit */
    uint32_t idle_ms;         /* that a connection is kept */
    uint32_t continue_ms;     /* to wait for "100 Continue" where it was asked for */
    uint32_t stall_ms;        /* for a server that takes no output */
    int redirects;            /* followed in a row; 0: the default; -1: none */
    uint32_t connections;     /* at a time, in all */
    uint32_t per_origin;      /* at a time, to an origin */
    uint32_t idle;            /* kept at a time, in all */
    uint32_t idle_per_origin; /* kept at a time, to an origin */
} rotor_http_client_config;

/* Make a client for `loop`; `config` (NULL: all defaults) is copied. Each call holds a reference; release
** gives back the maker's, and closes the connections that are kept. NULL when memory is short. */
rotor_http_client *rotor_http_client_new(rotor_loop *loop, const rotor_http_client_config *config);
void rotor_http_client_release(rotor_http_client *client);

/* How many connections there are, and how many of those are kept for later. */
size_t rotor_http_client_connections(const rotor_http_client *client);
size_t rotor_http_client_idle(const rotor_http_client *client);

/* What is told of a call: a constant table. Any transition may be NULL. They obey the rules of machines
** (core/machine.h), and return
** - rotor_ok() or rotor_ok_until() to go on. The call's own deadline stays in force as well;
** - rotor_http_hold() of one of these to go on without reading: what the server sends is left with it until
**   another transition returns otherwise;
** - rotor_same() to wait for the same as before;
** - rotor_done() to give the call up: the rest of the response is not read, and the connection closed;
** - rotor_error(code): the same, and `code` goes to on_error. (So with rotor_spawn(), which is not for
**   requesters.)
** To wake a call: rotor_wake() on its handle, or a notifier for it. To cancel one: rotor_end(). */
typedef struct rotor_http_requester {
    const char *name; /* for messages */

    /* The head of the response is there. Says how its body is to be had: rotor_http_buffered() (0: of at most
    ** limits.body bytes) or rotor_http_progressive(), otherwise ROTOR_HTTP_EBODYSIZE; rotor_http_answered() and
    ** rotor_http_failed() are as rotor_done() and rotor_error(). After 101, or a 2xx to CONNECT, the
    ** connection is to be taken over (rotor_http_call_upgrade). NULL: buffered, or, if there is no
    ** response_received, progressive. */
    rotor_http_receive (*headers_received)(rotor_http_call *c, rotor_scope *scope);

    /* An interim response (1xx but 101): its status and headers can be looked at. NULL: ignored. */
    rotor_response (*informational)(rotor_http_call *c, rotor_scope *scope);

    /* A redirect is about to be followed: the status and headers are its own, the URL is the next one.
    ** NULL: it is. */
    rotor_response (*redirected)(rotor_http_call *c, rotor_scope *scope);

    /* A whole response, with its body. Whatever is returned, the call is over. */
    rotor_response (*response_received)(rotor_http_call *c, rotor_scope *scope);

    /* Some of the body, at least a byte; what is not copied is gone. */
    rotor_response (*response_chunk)(rotor_http_call *c, rotor_scope *scope, rotor_text data);

    /* The body has ended, after all of its chunks. Whatever is returned, the call is over. */
    rotor_response (*response_end)(rotor_http_call *c, rotor_scope *scope);

    /* More of a streamed body can be sent: to be written here, or later. Told when that may begin, and
    ** again whenever most of what was written has been sent. */
    rotor_response (*body_wanted)(rotor_http_call *c, rotor_scope *scope);

    /* The call was woken. NULL: go on. */
    rotor_response (*wakeup)(rotor_http_call *c, rotor_scope *scope);

    /* The deadline of a transition's answer has passed. NULL: the call fails with ROTOR_ETIMEDOUT. */
    rotor_response (*timeout)(rotor_http_call *c, rotor_scope *scope);

    /* The call has failed: with ROTOR_ETIMEDOUT at its deadline, with what broke the connection or kept it
    ** from being made (see rotor_connect), with what is wrong with the response (ROTOR_HTTP_E…). The call is
    ** over. NULL: `error` goes to on_error. */
    void (*failed)(rotor_http_call *c, rotor_scope *scope, int error);

    /* The call is over, whatever became of it; exactly once for each that was started. It can still be
    ** looked at. */
    void (*call_over)(rotor_http_call *c);
} rotor_http_requester;

/* Start a call: what `ask` says, which is taken over and all zero afterwards, also after an error.
** `requester` must outlive the call; `data` is the user's. `call` (may be NULL) gets its handle. Never blocks;
** no transition is called before this has returned. 0; ROTOR_ECAPACITY; UV_ENOMEM; ROTOR_EBODY: a length was
** declared for a body that is not there. Then no transition is called. May be called from a
** transition. */
int rotor_http_client_call(rotor_http_client *client, rotor_http_ask *ask,
                           const rotor_http_requester *requester, void *data, rotor_handle *call);

/* The call that `handle` names; NULL when it is over. */
rotor_http_call *rotor_http_call_find(rotor_loop *loop, rotor_handle handle);

rotor_handle rotor_http_call_handle(const rotor_http_call *c);
rotor_http_client *rotor_http_call_client(const rotor_http_call *c);
void *rotor_http_call_data(const rotor_http_call *c);

/* The URL asked for, of the last redirect that was followed; NUL-terminated. */
const char *rotor_http_call_url(const rotor_http_call *c);

/* The connection, for its addresses; NULL while there is none. Not to be read or written. */
rotor_stream *rotor_http_call_stream(rotor_http_call *c);

/* -- The response. -----------------------------------------------------------------------------
** From headers_received (and in informational and redirected) on; before, the status is 0 and the texts are
** empty. They are valid until the call is over, or another head has come. */

int rotor_http_call_status(const rotor_http_call *c);
int rotor_http_call_minor(const rotor_http_call *c);         /* HTTP/1.minor: 0 or 1 */
rotor_text rotor_http_call_reason(const rotor_http_call *c); /* as sent; often empty */

/* The value of the first field named `name` (any case; `len` bytes); data NULL when there is none. */
rotor_text rotor_http_call_header(const rotor_http_call *c, const char *name, size_t len);

/* The i-th field, from 0; false when there are no more. Of the trailer section: from response_received or
** response_end on. */
bool rotor_http_call_header_at(const rotor_http_call *c, size_t i, rotor_text *name,
                               rotor_text *value);
bool rotor_http_call_trailer_at(const rotor_http_call *c, size_t i, rotor_text *name,
                                rotor_text *value);

/* How long the body is going to be; ROTOR_HTTP_NO_LENGTH: only its end will tell. */
uint64_t rotor_http_call_length(const rotor_http_call *c);

/* The whole body, in response_received; and the same to keep: `body`, which must be empty, gets it. */
rotor_text rotor_http_call_body(const rotor_http_call *c);
void rotor_http_call_take_body(rotor_http_call *c, rotor_buf *body);

/* In headers_received after 101, or a 2xx to CONNECT: hand the connection over to `protocol`, as
** rotor_intent_pass() does; its `create` gets `seed`, and what has come behind the head is its input. The call
** is over then. ROTOR_ESTATE: at any other time; UV_EINVAL: not a protocol. Then `release` is not called. */
int rotor_http_call_upgrade(rotor_http_call *c, const rotor_protocol *protocol, void *seed,
                            void (*release)(void *seed));

/* -- A streamed body. --------------------------------------------------------------------------
** From body_wanted on, and from anywhere in the loop's thread. What the server does not take is kept, so
** write when body_wanted is told, or look at rotor_http_call_unsent().
** 0; ROTOR_ESTATE: not yet, or no longer, or not streamed; ROTOR_ECLOSED: the server wants no more of it;
** UV_ENOMEM. After an error all is as before. */

/* Append some of the body. ROTOR_EBODY: more than was declared. */
int rotor_http_call_write(rotor_http_call *c, rotor_text data);

/* Add a trailer field, sent behind the body. ROTOR_ESTATE also: the body has a length; ROTOR_EHEADER: it cannot
** be a field, or not one of trailers. */
int rotor_http_call_trailer(rotor_http_call *c, rotor_text name, rotor_text value);

/* The body ends here. ROTOR_EBODY: it is shorter than was declared. */
int rotor_http_call_finish(rotor_http_call *c);

/* Bytes written that are still to be sent; and whether more can be written now. */
size_t rotor_http_call_unsent(const rotor_http_call *c);
bool rotor_http_call_wants_body(const rotor_http_call *c);

#endif
