/* Trailer sections, as the chunked decoder leaves them: their fields, and which may be among them. */
#include "chunked.h"
#include "fields.h"

/* Names whose fields mean something only ahead of the content (RFC 9110 section 6.5.1); a final '-'
** stands for all that begin so. Whoever merged one of these into the header section could be told
** anything about a message that has already been let in by it. */
static const char *const barred[] = {
    /* framing and the connection */
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    /* routing */
    "forwarded",
    "host",
    "max-forwards",
    "x-forwarded-",
    "x-real-ip",
    /* authentication */
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    /* request modifiers */
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "expect",
    "if-",
    "range",
    /* response controls */
    "age",
    "cache-control",
    "date",
    "expires",
    "location",
    "pragma",
    "retry-after",
    "vary",
    "warning",
    /* content format */
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
};

bool rotor_http_is_trailer(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof barred / sizeof *barred; i++) {
        size_t n = strlen(barred[i]);
        if ((barred[i][n - 1] == '-' ? len > n : len == n) &&
            rotor_http_name_equal(name, barred[i], n))
            return false;
    }
    return true;
}

ptrdiff_t rotor_http_parse_trailers(rotor_http_field *fields, size_t room, const char *data,
                                    size_t len)
{
    const char *limit = data + len, *end;
    size_t n = 0;

    for (const char *line = data; line < limit; line = end + 2) {
        rotor__field_line field;
        int error;

        end = rotor__scan(data, line, limit);
        if (!rotor__is_crlf(end, limit - 1))
            return ROTOR_HTTP_ECONTROL;
        error = rotor__split_field(&field, line, end, 0);
        if (error)
            return error;
        if (!rotor_http_is_trailer(line, (size_t)(field.name_end - line)))
            continue;
        if (n < room)
            fields[n] = (rotor_http_field){rotor__span(data, line, field.name_end),
                                           rotor__span(data, field.value, field.value_end)};
        n++;
    }
    return (ptrdiff_t)n;
}
