/* UTF-8, incrementally. Most text is ASCII, and that is skipped 32 bytes at a time. */
#include <string.h>

#include "websocket_frame.h"
#include "websocket_private.h"

const char *rotor__ascii_scalar(const char *p, const char *end)
{
    while (p < end && !(*p & 0x80))
        p++;
    return p;
}

/* The highest bit of each byte, which ASCII has not. */
static const uint64_t high_bits = UINT64_C(0x8080808080808080);

const char *rotor__ascii(const char *p, const char *end)
{
    for (uint64_t w[4]; (size_t)(end - p) >= sizeof w; p += sizeof w) {
        memcpy(w, p, sizeof w);
        if ((w[0] | w[1] | w[2] | w[3]) & high_bits)
            break;
    }
    return rotor__ascii_scalar(p, end);
}

/* Begin the character whose first byte is `c`, of 0x80 or above (RFC 3629 section 4). */
static bool begin(rotor_utf8 *u, uint8_t c)
{
    u->least = 0x80;
    u->most = 0xbf;
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    switch (c) {
    case 0xe0: /* or it would be overlong */
        u->least = 0xa0;
        break;
    case 0xed: /* or a surrogate */
        u->most = 0x9f;
        break;
    case 0xf0:
        u->least = 0x90;
        break;
    case 0xf4: /* or above U+10FFFF */
        u->most = 0x8f;
        break;
    default:
        break;
    }
    return true;
}

/* How many bytes the character at `p` takes, where 4 can be read; 0: it is none. */
static inline size_t measure(const uint8_t *p)
{
    uint32_t w = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    if ((w & 0xe0c00000) == 0xc0800000)
        return w >= 0xc2000000 ? 2 : 0;
    if ((w & 0xf0c0c000) == 0xe0808000) {
        uint32_t high = w & 0x0f200000;
        return high != 0 && high != 0x0d200000 ? 3 : 0; /* neither overlong nor a surrogate */
    }
    if ((w & 0xf8c0c0c0) == 0xf0808080) {
        uint32_t high = w & 0x07300000;
        return high != 0 && high <= 0x04000000 ? 4 : 0; /* U+10000 to U+10FFFF */
    }
    return p[0] < 0x80;
}

/* Behind characters that are there as a whole: up to the first that is none, or to the last few. */
static const char *skip_characters(const char *p, const char *end)
{
    for (uint64_t w; (size_t)(end - p) >= sizeof w;) {
        memcpy(&w, p, sizeof w);
        size_t n = w & high_bits ? measure((const uint8_t *)p) : sizeof w;
        if (n == 0)
            break;
        p += n;
    }
    return p;
}

bool rotor_utf8_go_on(rotor_utf8 *u, const char *data, size_t n)
{
    const char *p = data, *end = data + n;
    if (u->left == 0)
        p = skip_characters(rotor__ascii(p, end), end);
    while (p < end) {
        uint8_t c = (uint8_t)*p++;
        if (u->left > 0) {
            if (c < u->least || c > u->most)
                return false;
            u->left--;
            u->least = 0x80;
            u->most = 0xbf;
            if (u->left == 0)
                p = skip_characters(p, end);
        } else if (c >= 0x80 && !begin(u, c)) {
            return false;
        }
    }
    return true;
}

bool rotor_is_utf8(const char *data, size_t n)
{
    rotor_utf8 u = {0};
    return rotor_utf8_go_on(&u, data, n) && u.left == 0;
}
