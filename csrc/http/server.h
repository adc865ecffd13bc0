/* The HTTP/1 server: a protocol over streams that answers requests by calling a handler.
**
** Requests of one connection are handled one at a time and answered in order; what is answered in one
** dispatch leaves in one write. A handler answers at once, or says that it waits and answers after a
** wakeup or from any other transition of the loop. A bad message is answered with its status after
** all requests before it, and nothing behind it is looked at: the connection is half-closed, drained
** for two seconds at most, and closed. So it is behind a CONNECT, too, which is the handler's to refuse.
**
** That a client has left while the handler waits is noticed when it is answered.
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
**     limits.trailers           8 KiB    400        drain (see rotor_http_drain)  30 s  close */
#ifndef ROTOR_HTTP_SERVER_H
#define ROTOR_HTTP_SERVER_H

#include "../stream/listen.h"
#include "message.h"

/* A connection, and the request that is being handled on it. */
typedef struct rotor_http rotor_http;

/* What handles requests: a constant table. Its transitions return
** - rotor_done() when the request has been answered (if it has not: 500 is, and the connection closed);
** - rotor_ok() or rotor_ok_until() to wait for wakeup and timeout with the request still open; without a
**   deadline, for handler_ms;
** - rotor_error(code): 500 is answered, unless the request has been; the connection is closed, and
**   `code` goes to on_error. (So with rotor_spawn(), which is not for handlers.)
** They obey the rules of machines (core/machine.h). To wake one: rotor_wake() on
** rotor_http_stream(h)->machine.self, or a notifier for it. From `wakeup`, rotor_same() keeps the
** deadline; elsewhere it is rotor_ok(). */
typedef struct rotor_http_handler {
    const char *name; /* for messages */

    /* A whole request, with its body. */
    rotor_response (*request_received)(rotor_http *h, rotor_scope *scope);

    /* The connection was woken with the request still open. NULL: keep waiting. */
    rotor_response (*wakeup)(rotor_http *h, rotor_scope *scope);

    /* The deadline has passed with the request still open. NULL: 503 is answered. */
    rotor_response (*timeout)(rotor_http *h, rotor_scope *scope);

    /* The request is over, whatever became of it. Exactly once for each request_received. It can
    ** still be looked at (all its texts are empty if memory ran out), but not be answered. NULL: none. */
    void (*request_over)(rotor_http *h);
} rotor_http_handler;

typedef struct rotor_http_config {
    rotor_http_limits limits; /* a member that is 0: its default */
    uint32_t head_ms;         /* for a whole request head, from its first byte */
    uint32_t body_ms;         /* for a body without progress */
    uint32_t body_rate;  /* bytes a second a body must make on average beyond body_ms; 0: 500 */
    uint32_t handler_ms; /* for a handler that waits without a deadline of its own */
    uint32_t idle_ms;    /* for the next request on a kept connection */
    uint32_t stall_ms;   /* for a client that takes no output */
    void *context;       /* the user's, see rotor_http_context() */
    /* NULL, or called with `context` when the listener and all connections are gone. */
    void (*closed)(void *context);
    rotor_listen_options listen; /* seed and closed are not looked at */
} rotor_http_config;

/* Serve HTTP on `address` (see stream/address.h). `config` NULL: all defaults; it is copied.
** `handler` must outlive the server. `listener` (may be NULL) gets a handle: rotor_end() stops accepting.
** 0 or what rotor_listen() says; then `closed` is not called. */
int rotor_http_serve(rotor_loop *loop, const char *address, const rotor_http_handler *handler,
                     const rotor_http_config *config, rotor_handle *listener);

/* End a server gently: accept no more, close the connections that wait for a request, have the requests
** under way answered with "Connection: close", and after `drain_ms` (0: 30,000) close what is left.
** `listener` is the handle that rotor_http_serve() gave. When all is gone, config.closed is called.
** 0; ROTOR_ECLOSED when the listener has ended already (a second drain, too); UV_EINVAL when it is not a
** server's; ROTOR_ECAPACITY or UV_ENOMEM: then nothing has changed. */
int rotor_http_drain(rotor_loop *loop, rotor_handle listener, uint32_t drain_ms);

/* To serve on one stream of another origin (memory, a socket pair): make a server, then streams by
** rotor_stream_seed.protocol = rotor_http_protocol(server), .seed = server. Each holds a reference;
** NULL when memory is short; release gives the maker's back. */
typedef struct rotor_http_server rotor_http_server;
rotor_http_server *rotor_http_server_new(const rotor_http_handler *handler,
                                         const rotor_http_config *config);
void rotor_http_server_release(rotor_http_server *server);
const rotor_protocol *rotor_http_protocol(const rotor_http_server *server);

/* -- The request. ------------------------------------------------------------------------------
** These may be called from request_received to request_over. The texts point into the input, which
** moves: each is valid until the present transition returns. */

rotor_text rotor_http_method(const rotor_http *h); /* as sent: methods have a case */
rotor_text rotor_http_target(const rotor_http *h); /* as sent */
rotor_text rotor_http_path(const rotor_http *h);   /* still percent-encoded; at least "/" */
rotor_text rotor_http_query(const rotor_http *h);  /* behind the first '?'; data NULL: none */
rotor_text rotor_http_body(const rotor_http *h);   /* decoded of chunks; len 0: none */
int rotor_http_minor(const rotor_http *h);         /* HTTP/1.minor: 0 or 1 */

/* The value of the first field named `name` (any case; `len` bytes); data NULL when there is none. */
rotor_text rotor_http_header(const rotor_http *h, const char *name, size_t len);

/* The i-th field, from 0; false when there are no more. */
bool rotor_http_header_at(const rotor_http *h, size_t i, rotor_text *name, rotor_text *value);

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

/* -- The response. ---------------------------------------------------------------------------- */

/* Add a header field, before send. 0 or an error; see rotor_http_response_add(). */
int rotor_http_add(rotor_http *h, rotor_text name, rotor_text value);

/* Answer with `status` and `body`, which is copied. 0 or an error: see rotor_http_response_send();
** ROTOR_ESTATE also in request_over, and ROTOR_ECLOSED when nothing can be sent any more. After any
** other error the request is still to be answered. */
int rotor_http_send(rotor_http *h, int status, rotor_text body);

/* Whether the request has been answered. */
bool rotor_http_is_sent(const rotor_http *h);

/* For C callers: NUL-terminated forms of the same. */
int rotor_http_add_text(rotor_http *h, const char *name, const char *value);
int rotor_http_send_text(rotor_http *h, int status, const char *body);

#endif
