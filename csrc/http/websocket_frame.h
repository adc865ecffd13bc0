/* What WebSockets are made of (RFC 6455): frames, masks, the text in them, the end of them, and the
** key of the handshake. Pure: bytes in, verdicts out; no allocation, no I/O.
**
** Strict where the RFC says MUST: a reserved bit or opcode, a length that is not minimal, a mask missing or
** out of place, a control frame that is fragmented or too long is an error, not to be worked around.
** Extensions are not negotiated, so no bit and no opcode means anything else. */
#ifndef ROTOR_HTTP_WEBSOCKET_FRAME_H
#define ROTOR_HTTP_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser.h"

typedef enum rotor_websocket_opcode {
    ROTOR_WEBSOCKET_CONTINUATION = 0,
    ROTOR_WEBSOCKET_TEXT = 1,
    ROTOR_WEBSOCKET_BINARY = 2,
    ROTOR_WEBSOCKET_CLOSE = 8,
    ROTOR_WEBSOCKET_PING = 9,
    ROTOR_WEBSOCKET_PONG = 10
} rotor_websocket_opcode;

/* What a frame's header says. */
typedef struct rotor_websocket_frame {
    uint64_t length; /* of the payload, which follows the header */
    uint8_t opcode;
    bool fin;    /* the message ends with this frame */
    bool masked; /* by `key`, that is, sent by a client */
    char key[4];
} rotor_websocket_frame;

/* Close codes (section 7.4.1). Those of an application's own are 3000 to 4999. */
enum {
    ROTOR_WEBSOCKET_NORMAL = 1000,
    ROTOR_WEBSOCKET_GOING_AWAY = 1001,
    ROTOR_WEBSOCKET_PROTOCOL_ERROR = 1002,
    ROTOR_WEBSOCKET_UNACCEPTABLE = 1003, /* a kind of data that this end does not take */
    ROTOR_WEBSOCKET_NO_CODE = 1005,      /* never sent: the peer has closed without one */
    ROTOR_WEBSOCKET_ABNORMAL = 1006,     /* never sent: the connection ended without a close */
    ROTOR_WEBSOCKET_NOT_UTF8 = 1007,
    ROTOR_WEBSOCKET_POLICY = 1008,
    ROTOR_WEBSOCKET_TOO_LARGE = 1009,
    ROTOR_WEBSOCKET_INTERNAL_ERROR = 1011
};

enum {
    ROTOR_WEBSOCKET_HEADER_MOST = 14,  /* bytes of a frame's header */
    ROTOR_WEBSOCKET_CONTROL_MOST = 125 /* bytes that a ping, pong or close may carry */
};

static inline bool rotor_websocket_is_control(uint8_t opcode)
{
    return opcode >= ROTOR_WEBSOCKET_CLOSE;
}

/* Parse the header of a frame at the start of `data`. `masked`: whether it has to be, as what a server
** receives; `inside`: whether a fragmented message has begun and not ended.
**
** Returns the number of bytes it takes, 2 to 14; ROTOR_MORE; or the ROTOR_WEBSOCKET_E… of the first byte
** that is wrong, as soon as that is there: so the verdict does not depend on how the bytes were split. */
ptrdiff_t rotor_websocket_parse_frame(rotor_websocket_frame *frame, const char *data, size_t len,
                                      bool masked, bool inside);

/* Write the header of `frame` to `out`, which has room for ROTOR_WEBSOCKET_HEADER_MOST bytes: how many
** it takes. `length` must be below 2^63. */
size_t rotor_websocket_write_frame(char *out, const rotor_websocket_frame *frame);

/* Mask, or unmask, the `n` bytes at `data`, of which the first is the payload's `offset`-th. */
void rotor_websocket_mask(char *data, size_t n, const char key[4], size_t offset);

/* -- text -------------------------------------------------------------------------------------- */

/* How far text that comes in pieces was looked at; all zero at its start. */
typedef struct rotor_utf8 {
    uint8_t left;        /* bytes that the present character still needs; 0: none is begun */
    uint8_t least, most; /* private: bounds of the next one */
} rotor_utf8;

/* Whether `n` more bytes can be part of UTF-8 (RFC 3629: nothing overlong, no surrogates, nothing above
** U+10FFFF), known at the first byte that cannot. The text may end where `left` is 0. After false, `u` is
** of no use. */
bool rotor_utf8_go_on(rotor_utf8 *u, const char *data, size_t n);

/* Whether `n` bytes are UTF-8 as a whole. */
bool rotor_is_utf8(const char *data, size_t n);

/* -- the end ----------------------------------------------------------------------------------- */

/* Whether a close frame may have that code (section 7.4.2, and IANA's registry): 1000 to 1003, 1007 to
** 1014, 3000 to 4999. */
bool rotor_websocket_is_code(int code);

/* Parse the payload of a close frame: its code goes to `code`, ROTOR_WEBSOCKET_NO_CODE if there is none;
** the reason is what stands behind the first two bytes. 0, ROTOR_WEBSOCKET_ECLOSE or
** ROTOR_WEBSOCKET_EUTF8. */
int rotor_websocket_parse_close(int *code, const char *data, size_t n);

/* The code that `error` is closed with: 1002, 1007, 1009, …; 1011 for any other error. */
int rotor_websocket_error_code(int error);

/* -- the handshake ----------------------------------------------------------------------------- */

/* The bytes of a Sec-WebSocket-Key, and of the Sec-WebSocket-Accept for it. */
enum { ROTOR_WEBSOCKET_KEY = 24, ROTOR_WEBSOCKET_ACCEPT = 28 };

/* Whether `n` bytes are 16 bytes in base64 (section 4.1). */
bool rotor_websocket_is_key(const char *key, size_t n);

/* Write the key for 16 bytes that nobody can foresee. */
void rotor_websocket_make_key(char key[ROTOR_WEBSOCKET_KEY], const uint8_t nonce[16]);

/* Write what a server answers that key with (section 4.2.2). */
void rotor_websocket_accept(char accept[ROTOR_WEBSOCKET_ACCEPT],
                            const char key[ROTOR_WEBSOCKET_KEY]);

#endif
