/* Dates as HTTP writes them (RFC 9110 section 5.6.7). Pure. What writes one is
** rotor_http_format_date(), in message.h. */
#ifndef ROTOR_HTTP_DATE_H
#define ROTOR_HTTP_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

/* Read a date in any of the three forms that have to be understood:
**
**     Sun, 06 Nov 1994 08:49:37 GMT      the only one to be sent
**     Sunday, 06-Nov-94 08:49:37 GMT     as in RFC 850: the year is the one nearest to `wall_ms`
**                                        that is not more than 50 years ahead of it
**     Sun Nov  6 08:49:37 1994           as C's asctime() writes it
**
** `seconds` is then the time since 1970, which may be negative. False, with `seconds` as before,
** for anything else: another letter's case, a space too many, a day that its month does not have. The
** day of the week has to be one, but not the right one: nothing depends on it. */
bool rotor_http_parse_date(rotor_text text, uint64_t wall_ms, int64_t *seconds);

#endif
