/* Keys of the handshake: base64, and the SHA-1 of the accepting answer. It is there to show that the
** server has understood, and keeps no secret; so a weak hash does no harm. */
#include <string.h>

#include "websocket_frame.h"
#include "websocket_private.h"

/* -- SHA-1 (FIPS 180-4, RFC 3174) -------------------------------------------------------------- */

static uint32_t turn(uint32_t word, int by)
{
    return word << by | word >> (32 - by);
}

static void add_block(uint32_t hash[5], const uint8_t block[64])
{
    uint32_t w[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t mixed = i < 20   ? (b & c) | (~b & d)
                         : i < 40 ? b ^ c ^ d
                         : i < 60 ? (b & c) | (b & d) | (c & d)
                                  : b ^ c ^ d;
        uint32_t next = turn(a, 5) + mixed + e + w[i] + constants[i / 20];
        e = d;
        d = c;
        c = turn(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

void rotor__sha1(uint8_t digest[20], const void *data, size_t n)
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *p = data;
    uint64_t bits = (uint64_t)n * 8;
    uint8_t last[128] = {0};
    for (; n >= 64; p += 64, n -= 64)
        add_block(hash, p);
    /* A one and the length have to fit behind the rest. */
    size_t size = n + 9 <= 64 ? 64 : 128;
    if (n > 0)
        memcpy(last, p, n);
    last[n] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[size - 1 - i] = (uint8_t)(bits >> 8 * i);
    add_block(hash, last);
    if (size > 64)
        add_block(hash, last + 64);
    for (size_t i = 0; i < 20; i++)
        digest[i] = (uint8_t)(hash[i / 4] >> 8 * (3 - i % 4));
}

/* -- base64 (RFC 4648 section 4) --------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void rotor__base64(char *out, const uint8_t *data, size_t n)
{
    for (; n > 0; data += 3, out += 4) {
        uint32_t three =
            (uint32_t)data[0] << 16 | (n > 1 ? (uint32_t)data[1] << 8 : 0) | (n > 2 ? data[2] : 0);
        out[0] = digits[three >> 18];
        out[1] = digits[three >> 12 & 63];
        out[2] = n > 1 ? digits[three >> 6 & 63] : '=';
        out[3] = n > 2 ? digits[three & 63] : '=';
        n -= n < 3 ? n : 3;
    }
}

/* -- keys -------------------------------------------------------------------------------------- */

bool rotor_websocket_is_key(const char *key, size_t n)
{
    if (n != ROTOR_WEBSOCKET_KEY || memcmp(key + 22, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!memchr(digits, key[i], sizeof digits - 1))
            return false;
    return true;
}

void rotor_websocket_make_key(char key[ROTOR_WEBSOCKET_KEY], const uint8_t nonce[16])
{
    rotor__base64(key, nonce, 16);
}

void rotor_websocket_accept(char accept[ROTOR_WEBSOCKET_ACCEPT],
                            const char key[ROTOR_WEBSOCKET_KEY])
{
    static const char id[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* section 1.3 */
    char text[ROTOR_WEBSOCKET_KEY + sizeof id - 1];
    uint8_t digest[20];
    memcpy(text, key, ROTOR_WEBSOCKET_KEY);
    memcpy(text + ROTOR_WEBSOCKET_KEY, id, sizeof id - 1);
    rotor__sha1(digest, text, sizeof text);
    rotor__base64(accept, digest, sizeof digest);
}
