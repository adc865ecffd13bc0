/* Frames of WebSockets: their headers, masks, and what a close frame carries. */
#include <string.h>

#include "websocket_frame.h"
#include "websocket_private.h"

/* The header's first two bytes. */
enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
/* Lengths that say that the length itself follows, in 2 or 8 bytes. */
enum { IN_2 = 126, IN_8 = 127 };

static int judge_first(uint8_t first, bool inside)
{
    uint8_t opcode = first & OPCODE;
    if (first & RESERVED)
        return ROTOR_WEBSOCKET_ERSV;
    if (opcode > ROTOR_WEBSOCKET_PONG ||
        (opcode > ROTOR_WEBSOCKET_BINARY && opcode < ROTOR_WEBSOCKET_CLOSE))
        return ROTOR_WEBSOCKET_EOPCODE;
    if (rotor_websocket_is_control(opcode))
        return first & FIN ? 0 : ROTOR_WEBSOCKET_ECONTROL;
    return (opcode == ROTOR_WEBSOCKET_CONTINUATION) == inside ? 0 : ROTOR_WEBSOCKET_EFRAGMENT;
}

static int judge_second(uint8_t second, bool is_control, bool masked)
{
    if (!(second & MASKED) == masked)
        return ROTOR_WEBSOCKET_EMASK;
    return is_control && (second & LENGTH) >= IN_2 ? ROTOR_WEBSOCKET_ECONTROL : 0;
}

/* Whether a length of `n` bytes of which `have` are there has turned out too large, or so small that it
** would have fitted less. */
static bool is_length_wrong(const uint8_t *p, size_t n, size_t have)
{
    if (n == 2) /* at least 126 */
        return have == 2 && p[0] == 0 && p[1] < IN_2;
    if (n == 8 && have > 0 && p[0] & 0x80)
        return true;
    for (size_t i = 0; i < 6 && i < have; i++) /* at least 65,536 */
        if (p[i])
            return false;
    return n == 8 && have >= 6;
}

ptrdiff_t rotor_websocket_parse_frame(rotor_websocket_frame *frame, const char *data, size_t len,
                                      bool masked, bool inside)
{
    const uint8_t *p = (const uint8_t *)data;
    if (len < 1)
        return ROTOR_MORE;
    int error = judge_first(p[0], inside);
    if (error)
        return error;
    if (len < 2)
        return ROTOR_MORE;
    error = judge_second(p[1], rotor_websocket_is_control(p[0] & OPCODE), masked);
    if (error)
        return error;

    uint8_t small = p[1] & LENGTH;
    size_t size = 2, extended = small == IN_2 ? 2 : small == IN_8 ? 8 : 0;
    uint64_t length = extended ? 0 : small;
    if (extended > 0) {
        size_t have = len - size < extended ? len - size : extended;
        if (is_length_wrong(p + size, extended, have))
            return ROTOR_WEBSOCKET_ELENGTH;
        for (size_t i = 0; i < have; i++)
            length = length << 8 | p[size + i];
        size += extended;
    }
    size += masked ? sizeof frame->key : 0;
    if (len < size)
        return ROTOR_MORE;
    frame->length = length;
    frame->opcode = p[0] & OPCODE;
    frame->fin = p[0] & FIN;
    frame->masked = masked;
    if (masked)
        memcpy(frame->key, data + size - sizeof frame->key, sizeof frame->key);
    return (ptrdiff_t)size;
}

size_t rotor_websocket_write_frame(char *out, const rotor_websocket_frame *frame)
{
    uint8_t *p = (uint8_t *)out;
    uint8_t mask = frame->masked ? MASKED : 0;
    size_t extended = frame->length < IN_2 ? 0 : frame->length <= UINT16_MAX ? 2 : 8;
    *p++ = (uint8_t)(frame->opcode | (frame->fin ? FIN : 0));
    *p++ = (uint8_t)(mask | (extended == 0 ? frame->length : extended == 2 ? IN_2 : IN_8));
    for (size_t left = extended; left > 0; left--)
        *p++ = (uint8_t)(frame->length >> 8 * (left - 1));
    if (frame->masked)
        memcpy(p, frame->key, sizeof frame->key);
    return 2 + extended + (frame->masked ? sizeof frame->key : 0);
}

/* -- masks ------------------------------------------------------------------------------------- */

void rotor__websocket_mask_scalar(char *data, size_t n, const char key[4], size_t offset)
{
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(data[i] ^ key[(offset + i) % 4]);
}

/* As wide as SSE2 and NEON have them; where there is neither, the compiler makes words of it. */
typedef uint32_t words __attribute__((vector_size(16)));

void rotor_websocket_mask(char *data, size_t n, const char key[4], size_t offset)
{
    const char turned[4] = {key[offset % 4], key[(offset + 1) % 4], key[(offset + 2) % 4],
                            key[(offset + 3) % 4]};
    uint32_t word, mask;
    memcpy(&mask, turned, sizeof mask);
    const words four = {mask, mask, mask, mask};
    for (; n >= sizeof four; data += sizeof four, n -= sizeof four) {
        words w;
        memcpy(&w, data, sizeof w);
        w ^= four;
        memcpy(data, &w, sizeof w);
    }
    for (; n >= sizeof word; data += sizeof word, n -= sizeof word) {
        memcpy(&word, data, sizeof word);
        word ^= mask;
        memcpy(data, &word, sizeof word);
    }
    rotor__websocket_mask_scalar(data, n, turned, 0);
}

/* -- the end ----------------------------------------------------------------------------------- */

bool rotor_websocket_is_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int rotor_websocket_parse_close(int *code, const char *data, size_t n)
{
    *code = ROTOR_WEBSOCKET_NO_CODE;
    if (n == 0)
        return 0;
    if (n == 1)
        return ROTOR_WEBSOCKET_ECLOSE;
    *code = (uint8_t)data[0] << 8 | (uint8_t)data[1];
    if (!rotor_websocket_is_code(*code))
        return ROTOR_WEBSOCKET_ECLOSE;
    return rotor_is_utf8(data + 2, n - 2) ? 0 : ROTOR_WEBSOCKET_EUTF8;
}

int rotor_websocket_error_code(int error)
{
    switch (error) {
#define XX(name, value, close, message)                                                            \
    case value:                                                                                    \
        return close ? close : ROTOR_WEBSOCKET_INTERNAL_ERROR;
        ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
    default:
        return ROTOR_WEBSOCKET_INTERNAL_ERROR;
    }
}
