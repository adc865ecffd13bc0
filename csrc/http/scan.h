/* What the parsers and the chunked decoder share: classes of characters, words, and searches that look
** at 16 bytes at a time where the compiler has SSE2 or NEON. With ROTOR__SCALAR defined they do not, as
** for the tests, which hold that equal. Private. */
#ifndef ROTOR_HTTP_SCAN_H
#define ROTOR_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(ROTOR__SCALAR)
#elif defined(__SSE2__)
#include <emmintrin.h>
#define ROTOR__SIMD      1
#define ROTOR__MASK_BITS 1 /* bits of a mask that stand for one byte */
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#include <arm_neon.h>
#define ROTOR__SIMD      1
#define ROTOR__MASK_BITS 4
#endif

/* Classes of characters. No control character but HTAB is in any of them, so that a run of one
** class ends at the CR of its line at the latest. */
enum {
    ROTOR__TOKEN = 1,   /* tchar (RFC 9110 section 5.6.2) */
    ROTOR__PATH = 2,    /* what a target may hold before its '?', but for '%' */
    ROTOR__QUERY = 4,   /* what a target may hold behind its '?' */
    ROTOR__HOST = 8,    /* unreserved and sub-delims (RFC 3986 section 3.2.2) */
    ROTOR__DIGIT = 16,  /* 0-9 */
    ROTOR__HEX = 32,    /* 0-9 A-F a-f */
    ROTOR__QUOTED = 64, /* qdtext (RFC 9110 section 5.6.4) */
    ROTOR__VALUE = 128  /* field-vchar, SP and HTAB (RFC 9110 section 5.5) */
};

extern const uint8_t rotor__classes[256];

static inline bool rotor__is(char c, int class)
{
    return (rotor__classes[(uint8_t)c] & class) != 0;
}

/* Behind the run of one class that begins at `p`. Nothing says where the text ends: the callers'
** texts are followed by a delimiter or by their line's CR, which is in none of the classes they ask
** for. */
static inline const char *rotor__skip(const char *p, int class)
{
    while (rotor__is(*p, class))
        p++;
    return p;
}

static inline bool rotor__is_ows(char c)
{
    return c == ' ' || c == '\t';
}

static inline const char *rotor__skip_ows(const char *p)
{
    while (rotor__is_ows(*p))
        p++;
    return p;
}

/* 4 or 8 bytes with bit 5 set in each. That makes letters lower-case, and nothing else becomes a
** lower-case letter, a digit or '-' by it but control characters, which no line has. */
static inline uint32_t rotor__lower32(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word | UINT32_C(0x20202020);
}

static inline uint64_t rotor__lower64(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word | UINT64_C(0x2020202020202020);
}

/* Whether the `n` bytes at `p`, 4 to 24 without a control character, are the lower-case `word` but
** for case. */
static inline bool rotor__is_word(const char *p, const char *word, size_t n)
{
    if (n < 8)
        return rotor__lower32(p) == rotor__lower32(word) &&
               rotor__lower32(p + n - 4) == rotor__lower32(word + n - 4);
    return rotor__lower64(p) == rotor__lower64(word) &&
           (n < 16 || rotor__lower64(p + 8) == rotor__lower64(word + 8)) &&
           rotor__lower64(p + n - 8) == rotor__lower64(word + n - 8);
}

/* Where the first control character other than HTAB is in [p, end), or `end` when there is none.
** The twin of rotor__scan(), which the tests hold equal to it. */
static inline const char *rotor__scan_scalar(const char *p, const char *end)
{
    while (p < end && rotor__is(*p, ROTOR__VALUE))
        p++;
    return p;
}

#if defined(ROTOR__SIMD)

typedef uint8_t rotor__vector __attribute__((vector_size(16)));

static inline rotor__vector rotor__load(const char *p)
{
    rotor__vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The same for `n` bytes, 8 to 16: the first eight, then the last eight. */
static inline rotor__vector rotor__load_ends(const char *p, size_t n)
{
    rotor__vector v;
    memcpy(&v, p, 8);
    memcpy((char *)&v + 8, p + n - 8, 8);
    return v;
}

/* The mask of a comparison; rotor__first() is the index of the first byte in a mask that is
** not 0. */
static inline uint64_t rotor__mask(rotor__vector hit)
{
#if defined(__SSE2__)
    return (unsigned)_mm_movemask_epi8((__m128i)hit);
#else
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16((uint16x8_t)hit, 4)), 0);
#endif
}

static inline size_t rotor__first(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask) / ROTOR__MASK_BITS;
}

static inline uint64_t rotor__control_mask(rotor__vector v)
{
    return rotor__mask((rotor__vector)(((v <= 0x1f) & ~(v == '\t')) | (v == 0x7f)));
}

/* How many bytes at the front of `v` are plain: letters, digits, '-' and '.', which may stand in a
** token and in a host alike. */
static inline size_t rotor__plain_run(rotor__vector v)
{
    uint64_t mask =
        ~rotor__mask((rotor__vector)(((v | 32) - 'a' <= 25) | (v - '0' <= 9) | (v - '-' <= 1)));
    return mask ? rotor__first(mask) : 16;
}

/* The same as rotor__scan_scalar(). `start` <= `p` is where the bytes begin that may be read: the
** last ones are looked at by a load that ends where they do and overlaps what was seen before;
** fewer than 16 are left to the scalar twin. */
static inline const char *rotor__scan(const char *start, const char *p, const char *end)
{
    uint64_t mask;

    for (; end - p >= 16; p += 16) {
        mask = rotor__control_mask(rotor__load(p));
        if (mask)
            return p + rotor__first(mask);
    }
    if (end - start < 16)
        return rotor__scan_scalar(p, end);
    if (p == end)
        return end;
    mask = rotor__control_mask(rotor__load(end - 16)) >> (16 - (end - p)) * ROTOR__MASK_BITS;
    return mask ? p + rotor__first(mask) : end;
}

/* How many bytes from `p` on are plain: at most 16, and 0 when fewer than 16 can be read before
** `end`. A head start for a loop by class. */
static inline size_t rotor__plain(const char *p, const char *end)
{
    return end - p < 16 ? 0 : rotor__plain_run(rotor__load(p));
}

/* rotor__scan() and rotor__plain() of the same place, for the price of one and a half. */
static inline const char *rotor__scan_plain(const char *start, const char *p, const char *end,
                                            size_t *plain)
{
    rotor__vector v;
    uint64_t mask;

    *plain = 0;
    if (end - p < 16)
        return rotor__scan(start, p, end);
    v = rotor__load(p);
    *plain = rotor__plain_run(v);
    mask = rotor__control_mask(v);
    return mask ? p + rotor__first(mask) : rotor__scan(start, p + 16, end);
}

#else

static inline const char *rotor__scan(const char *start, const char *p, const char *end)
{
    return rotor__scan_scalar(p, end);
}

static inline size_t rotor__plain(const char *p, const char *end)
{
    return 0;
}

static inline const char *rotor__scan_plain(const char *start, const char *p, const char *end,
                                            size_t *plain)
{
    *plain = 0;
    return rotor__scan_scalar(p, end);
}

#endif

#endif
