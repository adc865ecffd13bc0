/* Field lines, as heads and trailer sections have them. Private. */
#ifndef ROTOR_HTTP_FIELDS_H
#define ROTOR_HTTP_FIELDS_H

#include "parser.h"
#include "scan.h"

/* Where the parts of a field line are. */
typedef struct rotor__field_line {
    const char *name_end, *value, *value_end;
} rotor__field_line;

static inline rotor_http_span rotor__span(const char *data, const char *from, const char *to)
{
    return (rotor_http_span){(uint32_t)(from - data), (uint32_t)(to - from)};
}

/* `last` is the last byte there is. */
static inline bool rotor__is_crlf(const char *p, const char *last)
{
    return p < last && memcmp(p, "\r\n", 2) == 0;
}

/* Find the parts of one field line (RFC 9112 section 5), [line, end), of which `plain` bytes are
** known to be plain. It has no control character but HTAB, and its CRLF is at `end`. 0 or an
** error. */
static inline int rotor__split_field(rotor__field_line *field, const char *line, const char *end,
                                     size_t plain)
{
    const char *name_end = rotor__skip(line + plain, ROTOR__TOKEN), *p;

    if (*name_end != ':' || name_end == line) {
        if (rotor__is_ows(*name_end))
            return name_end == line ? ROTOR_HTTP_EFOLD : ROTOR_HTTP_ESPACE;
        return ROTOR_HTTP_EFIELD;
    }
    p = name_end + 1;
    p += *p == ' ';
    if ((uint8_t)*p <= ' ')
        p = rotor__skip_ows(p);
    while (end > p && (uint8_t)end[-1] <= ' ') /* a line has nothing else so small */
        end--;
    *field = (rotor__field_line){name_end, p, end};
    return 0;
}

#endif
