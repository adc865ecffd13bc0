/* What the files about WebSockets share and do not install, and the scalar twins that the tests hold
** the fast searches against. */
#ifndef ROTOR_HTTP_WEBSOCKET_PRIVATE_H
#define ROTOR_HTTP_WEBSOCKET_PRIVATE_H

#include "../core/private.h"
#include "put.h"
#include "websocket.h"

/* rotor_websocket.state: */
enum {
    WEBSOCKET__SHAKING, /* a client that waits for the answer to its handshake; `opening` is valid */
    WEBSOCKET__OPEN,
    WEBSOCKET__CLOSING, /* a close was sent, and the peer's is waited for */
    WEBSOCKET__ENDING,  /* the last is to be sent */
    WEBSOCKET__LEAVING, /* a client that waits for the server to end the connection */
    WEBSOCKET__CLOSED   /* broken */
};

/* rotor_websocket.flags: */
enum {
    WEBSOCKET__CLIENT = 1,
    WEBSOCKET__OPENED = 2,    /* so `drop` is owed */
    WEBSOCKET__TOLD = 4,      /* `close` was called */
    WEBSOCKET__PAUSED = 8,    /* the handler wants nothing to be read */
    WEBSOCKET__PINGED = 16,   /* a ping was sent because of the silence since then */
    WEBSOCKET__INSIDE = 32,   /* more frames of the present message are to come */
    WEBSOCKET__TEXT = 64,     /* it is text */
    WEBSOCKET__SENDING = 128, /* a message is being sent in fragments */
    WEBSOCKET__SENDING_TEXT = 256
};

/* The handler whose protocol the stream runs. */
static inline const rotor_websocket_handler *rotor__websocket_handler(const rotor_websocket *ws)
{
    return ROTOR__CONTAINER(ws->stream.protocol, const rotor_websocket_handler, protocol);
}

/* -- sending (websocket_send.c) ---------------------------------------------------------------- */

/* Append a frame to the output. 0, ROTOR_ECLOSED or UV_ENOMEM. */
int rotor__websocket_send(rotor_websocket *ws, uint8_t opcode, bool fin, rotor_text data);

/* Append a close frame, without a code for ROTOR_WEBSOCKET_NO_CODE; a long reason is cut. */
int rotor__websocket_send_close(rotor_websocket *ws, int code, rotor_text reason);

/* -- the protocol (websocket.c) ---------------------------------------------------------------- */

/* The handshake is through: call `open`. */
rotor_intent rotor__websocket_open(rotor_websocket *ws, rotor_scope *scope, void *seed);

/* Tell `close`, if it was not told. An `error` of 0 is none. */
void rotor__websocket_tell(rotor_websocket *ws, int error, int code, rotor_text reason);

/* Keep a copy of it. 0 or UV_ENOMEM. */
int rotor__websocket_set_subprotocol(rotor_websocket *ws, rotor_text name);

/* -- the client's handshake (websocket_connect.c) ---------------------------------------------- */

typedef struct rotor__websocket_opening rotor__websocket_opening;

/* The connection is there: send the request. */
rotor_intent rotor__websocket_ask(rotor_websocket *ws, rotor__websocket_opening *opening);

/* Some of the answer is there. */
rotor_intent rotor__websocket_shake(rotor_websocket *ws, rotor_scope *scope);

/* There will be no handshake; `why` NULL: what `error` means. */
rotor_intent rotor__websocket_give_up(rotor_websocket *ws, int error, const char *why);

/* Free what there is of it. */
void rotor__websocket_drop_opening(rotor_websocket *ws);

/* -- the handshake ----------------------------------------------------------------------------- */

/* Take the next element off a list (RFC 9110 section 5.6.1); false: there are no more. Empty ones count for
** nothing. */
static inline bool rotor__next_item(rotor_text *list, rotor_text *item)
{
    const char *p = list->data, *end = p + list->len;
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t'))
        p++;
    const char *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
    const char *stop = comma ? comma : end;
    *item = (rotor_text){p, (size_t)(stop - p)};
    *list = (rotor_text){stop, (size_t)(end - stop)};
    while (item->len > 0 && (p[item->len - 1] == ' ' || p[item->len - 1] == '\t'))
        item->len--;
    return item->len > 0;
}

/* -- the codec --------------------------------------------------------------------------------- */

/* The twin of rotor_websocket_mask(). */
void rotor__websocket_mask_scalar(char *data, size_t n, const char key[4], size_t offset);

/* The first byte in [p, end) that is not ASCII, or `end`; and its twin. */
const char *rotor__ascii(const char *p, const char *end);
const char *rotor__ascii_scalar(const char *p, const char *end);

void rotor__sha1(uint8_t digest[20], const void *data, size_t n);

/* Write `n` bytes in base64: 4 characters for every 3 of them or less; no NUL. */
void rotor__base64(char *out, const uint8_t *data, size_t n);

#endif
