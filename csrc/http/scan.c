/* Character classes, in a table that the compiler computes from the rules of the RFCs, and the
** public functions that judge characters by them. */
#include "parser.h"
#include "scan.h"

#define ALPHA(c)   (((c) | 32) >= 'a' && ((c) | 32) <= 'z')
#define DIGIT(c)   ((c) >= '0' && (c) <= '9')
#define HEX(c)     (DIGIT(c) || (((c) | 32) >= 'a' && ((c) | 32) <= 'f'))
#define VISIBLE(c) ((c) > 32 && (c) < 127)
#define VALUE(c)   ((c) == '\t' || ((c) >= 32 && (c) != 127))
#define TOKEN(c)                                                                                   \
    (ALPHA(c) || DIGIT(c) || (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' ||            \
     (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' || (c) == '_' || (c) == '`' ||           \
     (c) == '|' || (c) == '~')
#define HOST(c)                                                                                    \
    (ALPHA(c) || DIGIT(c) || (c) == '!' || (c) == '$' || ((c) >= '&' && (c) <= '.') ||             \
     (c) == ';' || (c) == '=' || (c) == '_' || (c) == '~')

#define CLASS(c)                                                                                   \
    ((TOKEN(c) ? ROTOR__TOKEN : 0) | (HOST(c) ? ROTOR__HOST : 0) |                                 \
     (VISIBLE(c) && (c) != '#' ? ROTOR__QUERY : 0) |                                               \
     (VISIBLE(c) && (c) != '#' && (c) != '?' && (c) != '%' ? ROTOR__PATH : 0) |                    \
     (DIGIT(c) ? ROTOR__DIGIT : 0) | (HEX(c) ? ROTOR__HEX : 0) |                                   \
     (VALUE(c) && (c) != '"' && (c) != '\\' ? ROTOR__QUOTED : 0) | (VALUE(c) ? ROTOR__VALUE : 0))

#define CLASS4(c)  CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS16(c) CLASS4(c), CLASS4((c) + 4), CLASS4((c) + 8), CLASS4((c) + 12)
#define CLASS64(c) CLASS16(c), CLASS16((c) + 16), CLASS16((c) + 32), CLASS16((c) + 48)

const uint8_t rotor__classes[256] = {CLASS64(0), CLASS64(64), CLASS64(128), CLASS64(192)};

bool rotor_http_name_equal(const char *name, const char *other, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (name[i] == other[i])
            continue;
        if ((name[i] ^ other[i]) != 32 || (name[i] | 32) < 'a' || (name[i] | 32) > 'z')
            return false;
    }
    return true;
}

/* Names and values of fields mostly have 8 to 16 bytes, which are looked at all at once. */

bool rotor_http_is_token(const char *s, size_t n)
{
    size_t i = 0;

#if defined(ROTOR__SIMD)
    if (n >= 8 && n <= 16 && rotor__plain_run(rotor__load_ends(s, n)) == 16)
        return true;
#endif
    while (i < n && rotor__is(s[i], ROTOR__TOKEN))
        i++;
    return n > 0 && i == n;
}

bool rotor_http_is_value(const char *s, size_t n)
{
#if defined(ROTOR__SIMD)
    if (n >= 8 && n <= 16)
        return rotor__control_mask(rotor__load_ends(s, n)) == 0;
#endif
    return rotor__scan(s, s, s + n) == s + n;
}
