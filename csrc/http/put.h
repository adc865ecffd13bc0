/* What the builders of responses and of requests share: bytes put one behind the other into memory
** that is known to have room, and what is asked of a field before it is. Private. */
#ifndef ROTOR_HTTP_PUT_H
#define ROTOR_HTTP_PUT_H

#include <string.h>

#include "message.h"

/* Not mempcpy, which gcc does not expand in place for a constant length. */
static inline char *rotor__put(char *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

#define ROTOR__PUT(p, literal) rotor__put(p, literal, sizeof(literal) - 1)

/* In decimal: 20 bytes at most. */
static inline char *rotor__put_number(char *p, uint64_t n)
{
    char *end = p + 1;
    for (uint64_t rest = n; rest > 9; rest /= 10)
        end++;
    for (char *digit = end; digit > p; n /= 10)
        *--digit = (char)('0' + n % 10);
    return end;
}

/* Whether `name` is `other` but for case. */
static inline bool rotor__is_named(rotor_text name, const char *other, size_t len)
{
    return name.len == len && rotor_http_name_equal(name.data, other, len);
}

/* The value of a Content-Length that somebody sets. */
static inline bool rotor__parse_length(rotor_text value, uint64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || *length > UINT64_MAX / 10 - 1)
            return false;
        *length = *length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return value.len > 0;
}

/* Whether a line can be made of them (RFC 9110 section 5). */
static inline bool rotor__is_field(rotor_text name, rotor_text value)
{
    return rotor_http_is_token(name.data, name.len) &&
           (value.len == 0 || rotor_http_is_value(value.data, value.len));
}

/* Append the line of a field. 0 or UV_ENOMEM. */
static inline int rotor__append_field(rotor_buf *lines, rotor_text name, rotor_text value)
{
    size_t size = name.len + value.len + 4;
    char *p = rotor_buf_reserve(lines, size);
    if (!p)
        return UV_ENOMEM;
    p = rotor__put(p, name.data, name.len);
    p = ROTOR__PUT(p, ": ");
    if (value.len > 0) /* memcpy may not be given NULL */
        p = rotor__put(p, value.data, value.len);
    ROTOR__PUT(p, "\r\n");
    rotor_buf_commit(lines, size);
    return 0;
}

/* More than a chunk's size and its CRLFs can take. */
enum { ROTOR__CHUNK_FRAME = 24 };

/* `data`, of at least a byte, as a chunk (RFC 9112 section 7.1). */
static inline char *rotor__put_chunk(char *p, rotor_text data)
{
    int shift = 0;
    while (data.len >> shift > 15)
        shift += 4;
    for (; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[data.len >> shift & 15];
    p = ROTOR__PUT(p, "\r\n");
    p = rotor__put(p, data.data, data.len);
    return ROTOR__PUT(p, "\r\n");
}

/* Append the chunk that ends a body, with the lines of its trailer section. 0 or UV_ENOMEM. */
static inline int rotor__append_last_chunk(rotor_buf *out, const rotor_buf *trailers)
{
    size_t lines = rotor_buf_len(trailers);
    char *p = rotor_buf_reserve(out, lines + ROTOR__CHUNK_FRAME);
    if (!p)
        return UV_ENOMEM;
    p = ROTOR__PUT(p, "0\r\n");
    if (lines > 0)
        p = rotor__put(p, rotor_buf_data(trailers), lines);
    ROTOR__PUT(p, "\r\n");
    rotor_buf_commit(out, lines + 5);
    return 0;
}

#endif
