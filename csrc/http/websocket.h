/* WebSockets (RFC 6455), server and client alike: a protocol over streams that sends and receives
** messages, and calls a handler.
**
** What is done without the handler: pings are answered; a peer that is silent for too long is sent one, and
** is gone if it does not answer; a close is answered with its code; what breaks the RFC, or a limit, is
** answered with a close frame that says so (1002, 1003, 1007, 1008, 1009), and nothing behind it is looked at.
** A message in one frame is unmasked, checked and handed over where it was received; fragments are moved
** together. Text is checked as it comes, so what cannot become UTF-8 is refused before its message ends.
**
** All that is sent in one dispatch leaves in one write. A peer that sends and does not read is not read
** from either (protocol.high_water), so its pings cannot pile up answers; one that takes no output at all
** is given up after protocol.stall_ms.
**
** What a WebSocket allows (rotor_websocket_handler), and what becomes of who does not keep to it:
**
**     max_message      16 MiB     1009      ping_ms    30 s   of silence: a ping
**     max_fragments    131,072    1008      pong_ms    30 s   for an answer: gone (1006)
**                                           close_ms   10 s   for the answer to a close: gone (1006)
**
** Extensions are not offered and not accepted: there is no permessage-deflate. */
#ifndef ROTOR_HTTP_WEBSOCKET_H
#define ROTOR_HTTP_WEBSOCKET_H

#include "../stream/connect.h"
#include "server.h"
#include "websocket_frame.h"

/* A WebSocket; the first member of the struct that a handler says the size of. */
typedef struct rotor_websocket rotor_websocket;

/* For ping_ms: never; for others, for ever. */
#define ROTOR_WEBSOCKET_NEVER UINT32_MAX

/* Wait for messages. With the other intents of streams (stream/stream.h) this is what transitions of a
** handler return:
** - rotor_expect_message(): the next message is told, or what else happens;
** - rotor_intent_sleep(), rotor_expect_flush(n): nothing is read meanwhile, neither messages nor pings nor
**   that the peer has closed;
** - with rotor_and_flush(intent, n): and `flushed`, once at most `n` bytes are still to be sent;
** - with rotor_intent_until(intent, deadline): and `timeout`;
** - rotor_intent_same(): what it waited for before, the deadline included;
** - rotor_intent_done(): close with 1000, as rotor_websocket_close() does;
** - rotor_intent_abort(): end the connection at once, without a close;
** - rotor_intent_error(code): close with 1011, and `code` goes to on_error. */
static inline rotor_intent rotor_expect_message(void)
{
    return rotor_expect_bytes(1);
}

/* What handles a WebSocket: a constant table. Its transitions obey the rules of machines
** (core/machine.h); any of them may be NULL, and then is done what is noted. */
typedef struct rotor_websocket_handler {
    rotor_protocol protocol; /* ROTOR_WEBSOCKET_PROTOCOL("name", struct type) */

    /* The handshake is through. What is behind the rotor_websocket is all zero. NULL: wait for
    ** messages. */
    rotor_intent (*open)(rotor_websocket *ws, rotor_scope *scope, void *seed);

    /* A message, whole; `data` is valid until this returns. NULL, with no message_chunk either: a peer
    ** that sends one is refused (1003). */
    rotor_intent (*message)(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text);

    /* If not NULL, `message` is not called: messages come in pieces, as they are received, and nothing of
    ** them is kept. A piece of text may end inside of a character. `last`: the message ends with this
    ** piece, which then may be empty. */
    rotor_intent (*message_chunk)(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                                  bool is_text, bool last);

    /* The peer has sent a ping, which was answered. NULL: keep waiting. */
    rotor_intent (*ping)(rotor_websocket *ws, rotor_scope *scope, rotor_text data);

    /* The peer has sent a pong: as an answer, also to a ping of ping_ms, which is empty, or unasked.
    ** NULL: keep waiting. */
    rotor_intent (*pong)(rotor_websocket *ws, rotor_scope *scope, rotor_text data);

    /* The output is flushed as far as was waited for. NULL: close with 1011 (ROTOR_EUNEXPECTED). */
    rotor_intent (*flushed)(rotor_websocket *ws, rotor_scope *scope);

    /* The deadline has passed. NULL: close with 1001. */
    rotor_intent (*timeout)(rotor_websocket *ws, rotor_scope *scope);

    /* Somebody woke the WebSocket. NULL: keep waiting. Not told before `open` or once it closes. */
    rotor_intent (*wakeup)(rotor_websocket *ws, rotor_scope *scope);

    /* It is closed: nothing more can be sent, or is told but `drop`. Exactly once if `open` was called,
    ** whatever has ended it; and once, without `open`, if a client could not connect.
    **
    ** `code` is the peer's, 1005 if it gave none; or that with which it was closed for what it did wrong;
    ** or 1006 if the connection ended otherwise. But for the first, `reason` says why, and
    ** rotor_websocket_error() is not 0. */
    void (*close)(rotor_websocket *ws, int code, rotor_text reason);

    /* The destructor: exactly once, if `open` was called. */
    void (*drop)(rotor_websocket *ws);

    /* 0: the default of the table above. */
    uint64_t max_message;   /* bytes; whole messages are limited to 1 GiB in any case */
    uint32_t max_fragments; /* of one message */
    uint32_t ping_ms, pong_ms, close_ms;
} rotor_websocket_handler;

/* The handler's first member: a name for messages, the type of the struct, and, if they are to be others
** than a stream's usual, high_water, stall_ms and turns:
**
**     static const rotor_websocket_handler chat = {
**         .protocol = ROTOR_WEBSOCKET_PROTOCOL("chat", member, .high_water = 1 << 20),
**         .message = on_message,
**     }; */
#define ROTOR_WEBSOCKET_PROTOCOL(title, type, ...)                                                 \
    {                                                                                              \
        .name = (title), .size = sizeof(type), .create = rotor__websocket_create,                  \
        .bytes_read = rotor__websocket_bytes_read,                                                 \
        .bytes_flushed = rotor__websocket_bytes_flushed, .timeout = rotor__websocket_timeout,      \
        .wakeup = rotor__websocket_wakeup, .exception = rotor__websocket_exception,                \
        .fatal = rotor__websocket_fatal, .drop = rotor__websocket_drop, __VA_ARGS__                \
    }

struct rotor_websocket {
    rotor_stream stream; /* for its addresses and its handle; not to be read or written */
    /* private */
    uint64_t deadline; /* the handler's, or that of the closing */
    uint64_t check_at; /* when to look whether the peer is silent */
    uint64_t total;    /* bytes of the present message, as declared so far */
    union {
        uint64_t left; /* bytes of the present frame of it that are still to come */
        struct rotor__websocket_opening *opening; /* of a client, until its handshake is through */
    };
    uint32_t have; /* bytes of it at the front of the input, decoded; … */
    uint32_t at;   /* … the input is looked at up to here, … */
    uint32_t need; /* … and so many bytes behind that are waited for */
    uint32_t fragments;
    uint32_t heard_ms; /* when something last came; low bits of the loop's clock */
    char key[4];
    uint32_t flags;
    rotor_utf8 in, out; /* of text that is not complete */
    uint8_t offset;     /* in the mask of the present frame */
    uint8_t state;
    int error;
    char *subprotocol;
};

/* -- sending -----------------------------------------------------------------------------------
** From any transition of the loop. The bytes are copied, and leave at the end of the present dispatch.
** 0; ROTOR_ECLOSED: it is closed or closing, or not open yet; UV_ENOMEM; or what is noted. After an error
** nothing was sent. */

/* A message. Text that is not UTF-8: ROTOR_WEBSOCKET_EUTF8. While one is sent in fragments: ROTOR_ESTATE. */
int rotor_websocket_send_text(rotor_websocket *ws, rotor_text text);
int rotor_websocket_send_binary(rotor_websocket *ws, rotor_text data);

/* A fragment of a message, the first or the next; `last`: the message ends with it. What it is says the
** first. Text may be split anywhere; what cannot be UTF-8 together with what came before it, or ends
** inside of a character: ROTOR_WEBSOCKET_EUTF8. */
int rotor_websocket_send_fragment(rotor_websocket *ws, rotor_text data, bool is_text, bool last);

/* A ping; more than 125 bytes: UV_EINVAL. */
int rotor_websocket_ping(rotor_websocket *ws, rotor_text data);

/* Begin to close: send what was sent before and a close with `code` and `reason`, and wait for the peer's
** answer, which `close` is told of. Messages that come meanwhile are dropped. A `code` that must not be
** sent, or a reason that is longer than 123 bytes or not UTF-8: UV_EINVAL. */
int rotor_websocket_close(rotor_websocket *ws, int code, rotor_text reason);

/* How many bytes are still to be sent. */
static inline size_t rotor_websocket_unsent(const rotor_websocket *ws)
{
    return rotor_stream_unsent(&ws->stream);
}

/* Whether messages can be sent. */
bool rotor_websocket_is_open(const rotor_websocket *ws);

/* In `close` and `drop`: 0 if the peer has closed it, or why it was closed. */
int rotor_websocket_error(const rotor_websocket *ws);

/* The subprotocol that was agreed on in the handshake, or NULL. */
const char *rotor_websocket_subprotocol(const rotor_websocket *ws);

/* -- the server's handshake --------------------------------------------------------------------- */

typedef struct rotor_websocket_options {
    /* The subprotocols that are spoken here, the best first, up to a NULL: the first that the client has
    ** asked for is agreed on. NULL: none. */
    const char *const *protocols;
    /* The sites whose pages may connect, as in "https://example.org", up to a NULL; "*": any. NULL: those
    ** from the host that the request is for. A client that is no browser says no origin, and may always
    ** connect. */
    const char *const *origins;
    void *seed; /* for `open`, which may be called later */
    /* NULL, or called once with `seed`: `open` has returned, or will not be called. Not called when
    ** rotor_websocket_upgrade() returns an error. */
    void (*release)(void *seed);
} rotor_websocket_options;

/* Answer a request that asks for a WebSocket: with 101, and then the connection is one; or with what is
** wrong with it (400, 403, 405, 426). The handler of HTTP returns rotor_done() next in both cases.
** `options` NULL: all defaults; what they point to is copied, but for the seed.
**
** 0; ROTOR_WEBSOCKET_EHANDSHAKE, ROTOR_WEBSOCKET_EORIGIN: it was refused; or another error, and the request is
** still to be answered: ROTOR_ESTATE (it is too late), ROTOR_ECLOSED, UV_ENOMEM, UV_EINVAL. */
int rotor_websocket_upgrade(rotor_http *h, const rotor_websocket_handler *handler,
                            const rotor_websocket_options *options);

/* Whether a request asks for a WebSocket, be it in the right way or not. */
bool rotor_websocket_is_asked(const rotor_http *h);

/* -- the client's handshake -------------------------------------------------------------------- */

typedef struct rotor_websocket_connect_options {
    const char *const
        *protocols; /* subprotocols to ask for, the best first, up to a NULL; NULL: none */
    const char *const *headers; /* name, value, name, value …, up to a NULL; NULL: none */
    const char *address;  /* where to connect to (stream/address.h); NULL: what the URL says */
    uint32_t timeout_ms;  /* for connecting and the handshake together; 0: 10,000 */
    uint32_t keepalive_s; /* as in rotor_connect_options */
    bool delay;           /* as there */
    void *seed;           /* for `open`; must stay valid until then */
    void (*release)(
        void *seed); /* NULL, or called once with `seed`: `open` has returned, or will not be
                                    called. Not called when rotor_websocket_connect() returns an error */
} rotor_websocket_connect_options;

/* Connect to `url`, "ws://host:port/path?query": `open` is called when the handshake is through; or `close`
** (1006) when there is no connection, or the server's answer is not that of a WebSocket: what then can be
** said for sure says its `reason`. Without a `close`, the error goes to on_error. `options` NULL: all
** defaults; what they point to is copied, but for the seed. `ws` (may be NULL) gets the handle; rotor_end()
** on it before `open` calls the whole thing off, and nothing is told.
**
** 0; ROTOR_WEBSOCKET_EURL; ROTOR_WEBSOCKET_ETLS, "wss://"; ROTOR_HTTP_EUSERINFO; UV_EINVAL, a subprotocol that is not a
** token, or one twice; ROTOR_EHEADER, a header that is invalid or not the caller's to set; what
** rotor_connect() says. */
int rotor_websocket_connect(rotor_loop *loop, const char *url,
                            const rotor_websocket_handler *handler,
                            const rotor_websocket_connect_options *options, rotor_handle *ws);

/* The seed that `open` has not been given: in `close`, if it was not called; else NULL. */
void *rotor_websocket_seed_left(const rotor_websocket *ws);

/* -- WebSockets over streams of another origin ------------------------------------------------- */

/* The seed of a stream that is a WebSocket whose handshake is through: over memory, a pair of sockets, a
** pipe. rotor_stream_seed.protocol = &handler->protocol, .seed = this. What it points to is valid until
** `open` has returned. */
typedef struct rotor_websocket_seed {
    bool is_client;          /* its frames are masked, and those of its peer are not */
    const char *subprotocol; /* NULL, or copied */
    void *seed;              /* for `open` */
    /* private */
    struct rotor__websocket_opening *opening;
} rotor_websocket_seed;

/* private */
rotor_intent rotor__websocket_create(rotor_stream *s, rotor_scope *scope, void *seed);
rotor_intent rotor__websocket_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n);
rotor_intent rotor__websocket_bytes_flushed(rotor_stream *s, rotor_scope *scope);
rotor_intent rotor__websocket_timeout(rotor_stream *s, rotor_scope *scope);
rotor_intent rotor__websocket_wakeup(rotor_stream *s, rotor_scope *scope);
rotor_intent rotor__websocket_exception(rotor_stream *s, rotor_scope *scope, int reason);
void rotor__websocket_fatal(rotor_stream *s, rotor_scope *scope, int error);
void rotor__websocket_drop(rotor_stream *s);

#endif
