/* What is common to the heads of requests and responses: versions, and the fields that frame a message. */
#include "fields.h"

int rotor__read_version(const char *version, const char *end)
{
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' ||
        !rotor__is(version[5], ROTOR__DIGIT) || !rotor__is(version[7], ROTOR__DIGIT))
        return ROTOR_HTTP_EVERSION;
    if (version[5] != '1')
        return ROTOR_HTTP_EUNSUPPORTED;
    return version[7] != '0';
}

/* Content-Length (RFC 9110 section 8.6): digits. A list of equal numbers counts as one, as does the
** same field again: a proxy may have merged the one into the other. */
int rotor__read_length(const char *p, const char *end, uint64_t *length)
{
    for (bool first = true;; first = false) {
        const char *start = p;
        uint64_t n = 0;

        for (; rotor__is(*p, ROTOR__DIGIT); p++) {
            unsigned digit = (unsigned)(*p - '0');
            if (n > (UINT64_MAX - digit) / 10)
                return ROTOR_HTTP_ELENGTH;
            n = n * 10 + digit;
        }
        if (p == start || (!first && n != *length))
            return ROTOR_HTTP_ELENGTH;
        *length = n;
        if (p == end)
            return 0;
        p = rotor__skip_ows(p);
        if (*p++ != ',')
            return ROTOR_HTTP_ELENGTH;
        p = rotor__skip_ows(p);
    }
}

/* Transfer-Encoding (section 6.1). Other codings are merely unknown here (501). What is no list, or
** names chunked anywhere but once at the end, has no certain meaning (400). */
int rotor__read_coding(const char *p, const char *end)
{
    bool chunked = false;

    if (ROTOR__IS(p, end, "chunked"))
        return ROTOR__CODING;
    for (;;) {
        const char *name = p;

        p = rotor__skip(p, ROTOR__TOKEN);
        if (p == name || chunked)
            return ROTOR__CODING | ROTOR__CODING_SENSELESS;
        chunked = ROTOR__IS(name, p, "chunked");
        p = rotor__skip_ows(p);
        if (*p == ';' && !chunked) {
            while (p < end && *p != ',')
                p++;
        }
        if (p >= end)
            return ROTOR__CODING | ROTOR__CODING_UNKNOWN;
        if (*p++ != ',')
            return ROTOR__CODING | ROTOR__CODING_SENSELESS;
        p = rotor__skip_ows(p);
    }
}

/* Connection (RFC 9110 section 7.6.1): a list of tokens, where empty elements count for nothing. It may
** not name what is meant for all recipients: who passes the message on would have to drop that, and the
** next would see other framing, or another host. */
int rotor__read_connection(const char *p, const char *end)
{
    int seen = 0;

    while (p < end) {
        const char *option = p;

        p = rotor__skip(p, ROTOR__TOKEN);
        if (ROTOR__IS(option, p, "close"))
            seen |= ROTOR__CLOSE;
        else if (ROTOR__IS(option, p, "keep-alive"))
            seen |= ROTOR__KEEP_ALIVE;
        else if (ROTOR__IS(option, p, "upgrade"))
            seen |= ROTOR__UPGRADE;
        else if (ROTOR__IS(option, p, "content-length") || ROTOR__IS(option, p, "host"))
            return ROTOR_HTTP_ECONNECTION;
        p = rotor__skip_ows(p);
        if (p < end && *p++ != ',')
            return ROTOR_HTTP_ECONNECTION;
        p = rotor__skip_ows(p);
    }
    return seen;
}

int rotor__judge_framing(int seen, uint8_t minor)
{
    if (seen & ROTOR__CODING) {
        if (minor == 0)
            return ROTOR_HTTP_ECODING10;
        if (seen & (ROTOR__LENGTH | ROTOR__CODING_SENSELESS))
            return ROTOR_HTTP_ESMUGGLE;
    }
    return seen & ROTOR__LENGTH_OTHER ? ROTOR_HTTP_ELENGTH : 0;
}

int rotor_http_error_status(int code)
{
    switch (code) {
#define XX(name, code, status, message)                                                            \
    case ROTOR_##name:                                                                             \
        return status;
        ROTOR_HTTP_ERRORS(XX)
#undef XX
    default:
        return 500;
    }
}

void rotor_http_limits_complete(rotor_http_limits *limits)
{
    static const rotor_http_limits usual = ROTOR_HTTP_LIMITS_DEFAULT;
#define COMPLETE(member) limits->member = limits->member ? limits->member : usual.member
    COMPLETE(request_line);
    COMPLETE(head);
    COMPLETE(fields);
    COMPLETE(empty_lines);
    COMPLETE(chunk_line);
    COMPLETE(chunk_extensions);
    COMPLETE(trailers);
    COMPLETE(body);
#undef COMPLETE
}
