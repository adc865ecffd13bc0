/* The HTTP/1 server: a protocol over streams that answers requests by calling a handler.
**
** Requests of one connection are handled one at a time and answered in order; what is answered in one
** dispatch leaves in one write. A handler answers at once, or says that it waits and answers after a
** wakeup or from any other transition of the loop; whole, or piece by piece. It gets a body whole, or
** as it comes. A bad message is answered with its status after all requests before it, and nothing behind
** it is looked at: the connection is half-closed, drained for a second at most, and closed. So it is
** behind a CONNECT, too, unless the handler takes the connection over.
**
** What a server allows, and what it answers when that is passed (rotor_http_config):
**
**     limits.request_line       8 KiB    414    head_ms     10 s   408 (no byte of it: close)
**     limits.head              32 KiB    431    body_ms     30 s   408
**     limits.fields             128      431    handler_ms  30 s   503
**     limits.empty_lines          4      400    idle_ms     60 s   close
**     limits.body (buffered)    8 MiB    413    stall_ms    30 s   close
**     limits.chunk_line       256 B      400
**     limits.chunk_extensions  16 KiB    400    connections        stop accepting
**     limits.trailers           8 KiB    400    pipelined   64     others have their turn
**                                               drain       30 s   close (see rotor_http_drain)
**
** Requests sent ahead are not read while one before them waits or its answer is blocked. A response that
** was started cannot be answered otherwise any more: where the table has a status, it is cut off, so
** that the client sees that it is not whole. */
#ifndef ROTOR_HTTP_SERVER_H
#define ROTOR_HTTP_SERVER_H

#include "../stream/listen.h"
#include "message.h"

/* A connection, and the request that is being handled on it. */
typedef struct rotor_http rotor_http;

/* -- What a handler returns. -------------------------------------------------------------------
** - rotor_done() when the request has been answered (if it has not: 500 is, and the connection closed);
** - rotor_ok() or rotor_ok_until() to wait with the request still open: for wakeup and timeout, and for
**   what there is to come of a progressive body. Without a deadline, for handler_ms, unless it is the
**   client that is waited for, to send a body or to take output;
** - rotor_same() to wait for the same as before;
** - rotor_error(code): 500 is answered, unless the request has been; the connection is closed, and
**   `code` goes to on_error. (So with rotor_spawn(), which is not for handlers.) */

/* private: what rotor_response.error says of a ROTOR_OK. */
enum { ROTOR_HTTP__HELD = 1 << 30, ROTOR_HTTP__MARK = ROTOR_HTTP__HELD - 1 };

/* What `ok` waits for, but nothing of the body: it is not read until a transition returns otherwise, so
** that a client sends no faster than the handler can do with it. */
static inline rotor_response rotor_http_hold(rotor_response ok)
{
    ok.error |= ROTOR_HTTP__HELD;
    return ok;
}

/* What `ok` waits for, and also until at most `n` bytes of output are still to be sent: `flushed`. */
static inline rotor_response rotor_http_and_flush(rotor_response ok, size_t n)
{
    ok.error =
        (ok.error & ROTOR_HTTP__HELD) | (n < ROTOR_HTTP__MARK ? (int)n + 1 : ROTOR_HTTP__MARK);
    return ok;
}

/* How a request's body is to be had: what headers_received returns. */
typedef enum rotor_http_receive_kind {
    ROTOR_HTTP_BUFFERED,    /* whole: request_received */
    ROTOR_HTTP_PROGRESSIVE, /* as it comes: request_chunk, and at its end request_end */
    ROTOR_HTTP_ANSWERED     /* not at all */
} rotor_http_receive_kind;

typedef struct rotor_http_receive {
    rotor_http_receive_kind kind;
    int error;         /* < 0: as of rotor_error(); or ROTOR_HTTP__HELD */
    uint64_t max;      /* bytes of it; 0: the usual limit */
    uint64_t deadline; /* in ms of the loop's clock, or ROTOR_NEVER */
} rotor_http_receive;

/* The whole body, of at most `max` bytes (0: limits.body), or else 413. A request without one is
** received at once. */
static inline rotor_http_receive rotor_http_buffered(uint64_t max)
{
    return (rotor_http_receive){ROTOR_HTTP_BUFFERED, 0, max, ROTOR_NEVER};
}

/* The body as it comes, of at most `max` bytes (0: any number), or else 413. A request without one is at
** its end at once. */
static inline rotor_http_receive rotor_http_progressive(uint64_t max)
{
    return (rotor_http_receive){ROTOR_HTTP_PROGRESSIVE, 0, max, ROTOR_NEVER};
}

/* The request was answered, whatever its body is: that is not read, and the connection closed if it is
** not all there. */
static inline rotor_http_receive rotor_http_answered(void)
{
    return (rotor_http_receive){ROTOR_HTTP_ANSWERED, 0, 0, ROTOR_NEVER};
}

/* As rotor_error(code). */
static inline rotor_http_receive rotor_http_failed(int code)
{
    return (rotor_http_receive){ROTOR_HTTP_ANSWERED, code, 0, ROTOR_NEVER};
}

/* `receive`, but not longer than until `deadline` (in ms of the loop's clock): then `timeout`. */
static inline rotor_http_receive rotor_http_receive_until(rotor_http_receive receive,
                                                          uint64_t deadline)
{
    receive.deadline = deadline;
    return receive;
}

/* `receive`, but nothing is read of the body (and no "100 Continue" sent) until a transition returns
** without rotor_http_hold(): when it must be asked elsewhere first whether it is welcome. Progressive
** only. */
static inline rotor_http_receive rotor_http_receive_hold(rotor_http_receive receive)
{
    receive.error |= ROTOR_HTTP__HELD;
    return receive;
}

/* What handles requests: a constant table. Its transitions obey the rules of machines (core/machine.h). To
** wake one: rotor_wake() on rotor_http_stream(h)->machine.self, or a notifier for it. */
typedef struct rotor_http_handler {
    const char *name; /* for messages */

    /* A request's head is there; may answer. NULL: bodies are buffered, or, if there is no
    ** request_received, progressive. */
    rotor_http_receive (*headers_received)(rotor_http *h, rotor_scope *scope);

    /* A whole request, with its body. */
    rotor_response (*request_received)(rotor_http *h, rotor_scope *scope);

    /* Some of the body, at least a byte; what is not copied is gone. It may be answered before its end: if
    ** all of the answer is, the rest is not read, and the connection closed. */
    rotor_response (*request_chunk)(rotor_http *h, rotor_scope *scope, rotor_text data);

    /* The body has ended, after all of its chunks. */
    rotor_response (*request_end)(rotor_http *h, rotor_scope *scope);

    /* Output is sent as far as was asked for. NULL: keep waiting. */
    rotor_response (*flushed)(rotor_http *h, rotor_scope *scope);

    /* The connection was woken with the request still open. NULL: keep waiting. */
    rotor_response (*wakeup)(rotor_http *h, rotor_scope *scope);

    /* The deadline has passed with the request still open. NULL: 503 is answered. */
    rotor_response (*timeout)(rotor_http *h, rotor_scope *scope);

    /* The client has closed its direction while the request waits: most have left, but some only say
    ** that nothing follows and still want the answer. Told once. NULL: keep waiting. A connection that
    ** broke is told by request_over alone. */
    rotor_response (*hangup)(rotor_http *h, rotor_scope *scope);

    /* A message that cannot be accepted, or not all of one: `error` says why (ROTOR_HTTP_E…, ROTOR_EEOF). What
    ** is not known of it is empty. It may be answered here, or will be by error_page. NULL: none. */
    void (*bad_request)(rotor_http *h, rotor_scope *scope, int error);

    /* The server is about to answer on its own account with `status`, because of `why` (or NULL), and
    ** will do so if the request is not answered here. NULL: a line of plain text. */
    void (*error_page)(rotor_http *h, rotor_scope *scope, int status, const char *why);

    /* The request is over, whatever became of it (see rotor_http_is_sent, rotor_http_status). Exactly once
    ** for each of which any transition was told. It can still be looked at (all its
    ** texts are empty if memory ran out), but not be answered. NULL: none. */
    void (*request_over)(rotor_http *h);
} rotor_http_handler;

/* A request that is over, for an access log. What is known of it is to be asked of the connection, as in
** request_over; of a bad request that may be nothing. */
typedef struct rotor_http_record {
    int status;        /* 0: it was not answered */
    bool whole;        /* all of the answer was written */
    uint64_t received; /* bytes of its head, and of its body as decoded, as far as it was read */
    uint64_t sent;     /* bytes of its answer, as far as it was written */
    uint64_t ns;       /* from the end of its head to the end of its answer */
} rotor_http_record;

typedef struct rotor_http_config {
    rotor_http_limits limits; /* a member that is 0: its default */
    uint32_t head_ms;         /* for a whole request head, from its first byte */
    uint32_t body_ms;         /* for a body without progress */
    uint32_t body_rate;  /* bytes a second a body must make on average beyond body_ms; 0: 500 */
    uint32_t handler_ms; /* for a handler that waits without a deadline of its own */
    uint32_t idle_ms;    /* for the next request on a kept connection */
    uint32_t stall_ms;   /* for a client that takes no output */
    uint32_t pipelined;  /* requests of one connection in a row before others have their turn */
    void *context;       /* the user's, see rotor_http_context() */
    /* NULL, or called with `context` when the listener and all connections are gone. */
    void (*closed)(void *context);
    /* NULL, or called for each request that is over, refused ones, too. */
    void (*log)(rotor_http *h, const rotor_http_record *record);
    struct rotor_http_metrics
        *metrics;                /* NULL, or where to count; see metrics.h. The user's, it must
                                           outlive the server */
    rotor_listen_options listen; /* seed and closed are not looked at */
} rotor_http_config;

/* Serve HTTP on `address` (see stream/address.h). `config` NULL: all defaults; it is copied.
** `handler` must outlive the server. `listener` (may be NULL) gets a handle: rotor_end() stops accepting.
** 0; UV_EINVAL: the handler has neither request_received nor request_end; or what rotor_listen() says. Then
** `closed` is not called. */
int rotor_http_serve(rotor_loop *loop, const char *address, const rotor_http_handler *handler,
                     const rotor_http_config *config, rotor_handle *listener);

/* End a server gently: accept no more, close the connections that wait for a request, have the requests
** under way answered with "Connection: close", and after `drain_ms` (0: 30,000) close what is left.
** `listener` is the handle that rotor_http_serve() gave. When all is gone, or the loop ends, `drained` (may
** be NULL) is called with how many connections were cut off with a request, or some of an answer, still
** open; and then config.closed.
** 0; ROTOR_ECLOSED when the listener has ended already (a second drain, too); UV_EINVAL when it is not a
** server's; ROTOR_ECAPACITY or UV_ENOMEM: then nothing has changed. */
int rotor_http_drain(rotor_loop *loop, rotor_handle listener, uint32_t drain_ms,
                     void (*drained)(void *context, size_t cut), void *context);

/* To serve on one stream of another origin (memory, a socket pair): make a server, then streams by
** rotor_stream_seed.protocol = rotor_http_protocol(server), .seed = server. Each holds a reference;
** NULL when memory is short; release gives the maker's back. */
typedef struct rotor_http_server rotor_http_server;
rotor_http_server *rotor_http_server_new(const rotor_http_handler *handler,
                                         const rotor_http_config *config);
void rotor_http_server_release(rotor_http_server *server);
const rotor_protocol *rotor_http_protocol(const rotor_http_server *server);

/* -- The request. ------------------------------------------------------------------------------
** These may be called from headers_received to request_over. The texts point into the input, which
** moves: each is valid until the present transition returns. */

rotor_text rotor_http_method(const rotor_http *h); /* as sent: methods have a case */
rotor_text rotor_http_target(const rotor_http *h); /* as sent */
rotor_text rotor_http_path(const rotor_http *h);   /* still percent-encoded; at least "/" */
rotor_text rotor_http_query(const rotor_http *h);  /* behind the first '?'; data NULL: none */
rotor_text rotor_http_host(const rotor_http *h);   /* of the target, or else of Host */
rotor_text rotor_http_body(const rotor_http *h);   /* buffered, decoded of chunks; len 0: none */
int rotor_http_minor(const rotor_http *h);         /* HTTP/1.minor: 0 or 1 */

/* Whether the head announced a body, and its length: UINT64_MAX if only its end will tell. */
bool rotor_http_has_body(const rotor_http *h);
uint64_t rotor_http_body_length(const rotor_http *h);

/* The value of the first field named `name` (any case; `len` bytes); data NULL when there is none. */
rotor_text rotor_http_header(const rotor_http *h, const char *name, size_t len);

/* The i-th field, from 0; false when there are no more. */
bool rotor_http_header_at(const rotor_http *h, size_t i, rotor_text *name, rotor_text *value);

/* The i-th field of the trailer section, from request_received or request_end on. */
bool rotor_http_trailer_at(const rotor_http *h, size_t i, rotor_text *name, rotor_text *value);

/* The connection: for its addresses and its handle. Not to be read or written. */
rotor_stream *rotor_http_stream(rotor_http *h);

/* config.context */
void *rotor_http_context(const rotor_http *h);

/* A pointer of the handler's own for the time of the request; NULL at its start. */
void **rotor_http_data(rotor_http *h);

/* Names a request, for an answer that comes later. */
typedef struct rotor_http_ref {
    rotor_handle stream;
    uint32_t serial;
} rotor_http_ref;

/* The name of the request that is being handled. */
rotor_http_ref rotor_http_ref_of(const rotor_http *h);

/* The connection on which that request is still open; NULL when it is over. */
rotor_http *rotor_http_find(rotor_loop *loop, rotor_http_ref ref);

/* -- The response. -----------------------------------------------------------------------------
** From anywhere in the loop's thread as long as the request is open. Each returns 0 or an error, after
** which the request is still to be answered: ROTOR_ESTATE: too late for that, in request_over, too;
** ROTOR_ECLOSED: nothing can be sent any more; and what message.h says. */

/* Add a header field, before send or start. See rotor_http_response_add(). */
int rotor_http_add(rotor_http *h, rotor_text name, rotor_text value);

/* Answer with `status` and `body`, which is copied. See rotor_http_response_send(). */
int rotor_http_send(rotor_http *h, int status, rotor_text body);

/* Answer with `status` and, piece by piece, a body of the Content-Length that was added, or else in
** chunks. What is written and not taken by the client is kept: look at rotor_http_unsent(), and wait by
** rotor_http_and_flush(). What was not finished when the handler is done is cut off. */
int rotor_http_start(rotor_http *h, int status);
int rotor_http_write(rotor_http *h, rotor_text data);
int rotor_http_trailer(rotor_http *h, rotor_text name, rotor_text value);
int rotor_http_finish(rotor_http *h);

/* Bytes written on the connection that are still to be sent. */
size_t rotor_http_unsent(const rotor_http *h);

/* Answer with `status` and `length` bytes of the file `fd` from `offset` on, without reading them into memory
** where the transport can do so. Takes `fd`, and closes it in any case. The request is over when all
** is sent; a file that turns out to be shorter cuts the answer off. */
int rotor_http_send_file(rotor_http *h, int status, int fd, uint64_t offset, uint64_t length);

/* Answer with 101 and "Connection: Upgrade", or a 2xx to CONNECT, and the headers that were added. HTTP
** ends there: the connection becomes a stream that runs `protocol`, whose create is given `seed`; what
** was read behind the request is its first input. `release` (may be NULL) is called with `seed` once,
** when that create has returned or cannot be called any more, but not after an error here. From one of
** the handler's transitions, which then returns rotor_done(), or from elsewhere.
** UV_EINVAL: another status, or no valid protocol; ROTOR_EUPGRADE: the client has not asked for it
** (RFC 9110 section 7.8); ROTOR_ESTATE also: the request's body was not read. */
int rotor_http_upgrade(rotor_http *h, int status, const rotor_protocol *protocol, void *seed,
                       void (*release)(void *seed));

/* Whether the request has been answered: begun, and wholly. The status of its answer, 0: none. */
bool rotor_http_is_started(const rotor_http *h);
bool rotor_http_is_sent(const rotor_http *h);
int rotor_http_status(const rotor_http *h);

/* For C callers: NUL-terminated forms of the same. */
int rotor_http_add_text(rotor_http *h, const char *name, const char *value);
int rotor_http_send_text(rotor_http *h, int status, const char *body);
int rotor_http_write_text(rotor_http *h, const char *data);

#endif
