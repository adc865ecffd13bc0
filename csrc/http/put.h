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

#endif
