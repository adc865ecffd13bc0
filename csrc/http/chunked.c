/* The chunked decoder: a state for each place in the grammar, one byte at a time but for the
** chunks' data, which moves in runs. Every verdict falls on the byte that shows it, so it cannot
** depend on how the bytes were split. */
#include "chunked.h"
#include "scan.h"

#include <string.h>

/* What is expected next. */
enum {
    SIZE_FIRST,
    SIZE,
    EXT, /* behind a size or an extension and white space: a ';' */
    EXT_NAME_FIRST,
    EXT_NAME,
    EXT_NAME_END, /* behind a name and white space: '=' or ';' */
    EXT_VALUE_FIRST,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    OVER
};

static uint64_t hex_digit(char c)
{
    return rotor__is(c, ROTOR__DIGIT) ? (uint64_t)(c - '0') : (uint64_t)((c | 32) - 'a' + 10);
}

static int become(rotor_http_chunked *c, uint8_t state)
{
    c->state = state;
    return 0;
}

/* Behind a size, an extension's name or its value: what may follow all three. White space must have
** something behind it (section 7.1.1), which `spaced` is the state for. */
static int end_part(rotor_http_chunked *c, char byte, uint8_t spaced)
{
    if (byte == '\r')
        return become(c, SIZE_LF);
    if (byte == ';')
        return become(c, EXT_NAME_FIRST);
    if (rotor__is_ows(byte))
        return become(c, spaced);
    return ROTOR_HTTP_ECHUNK;
}

static int step_size(rotor_http_chunked *c, char byte, uint64_t most)
{
    int error;

    if (rotor__is(byte, ROTOR__HEX)) {
        if (c->line > 16)
            return ROTOR_HTTP_ECHUNK;
        c->left = c->left << 4 | hex_digit(byte);
        return become(c, SIZE);
    }
    error = c->state == SIZE ? end_part(c, byte, EXT) : ROTOR_HTTP_ECHUNK;
    if (error)
        return error;
    if (c->total > most || c->left > most - c->total)
        return ROTOR_HTTP_EBODYSIZE;
    c->total += c->left;
    return 0;
}

static int step_extension(rotor_http_chunked *c, char byte)
{
    switch (c->state) {
    case EXT:
        if (byte == '\r')
            return ROTOR_HTTP_ECHUNK;
        return end_part(c, byte, EXT);
    case EXT_NAME_FIRST:
        if (rotor__is_ows(byte))
            return 0;
        return rotor__is(byte, ROTOR__TOKEN) ? become(c, EXT_NAME) : ROTOR_HTTP_ECHUNK;
    case EXT_NAME:
        if (rotor__is(byte, ROTOR__TOKEN))
            return 0;
        if (byte == '=')
            return become(c, EXT_VALUE_FIRST);
        return end_part(c, byte, EXT_NAME_END);
    case EXT_NAME_END:
        if (byte == '=')
            return become(c, EXT_VALUE_FIRST);
        if (byte == '\r')
            return ROTOR_HTTP_ECHUNK;
        return end_part(c, byte, EXT_NAME_END);
    case EXT_VALUE_FIRST:
        if (rotor__is_ows(byte))
            return 0;
        if (byte == '"')
            return become(c, EXT_QUOTED);
        return rotor__is(byte, ROTOR__TOKEN) ? become(c, EXT_VALUE) : ROTOR_HTTP_ECHUNK;
    case EXT_VALUE:
        if (rotor__is(byte, ROTOR__TOKEN))
            return 0;
        return end_part(c, byte, EXT);
    case EXT_QUOTED:
        if (byte == '"')
            return become(c, EXT_QUOTED_END);
        if (byte == '\\')
            return become(c, EXT_ESCAPED);
        return rotor__is(byte, ROTOR__QUOTED) ? 0 : ROTOR_HTTP_ECHUNK;
    case EXT_ESCAPED:
        return rotor__is(byte, ROTOR__VALUE) ? become(c, EXT_QUOTED) : ROTOR_HTTP_ECHUNK;
    default: /* EXT_QUOTED_END */
        return end_part(c, byte, EXT);
    }
}

/* Like a header field's line, but judged byte by byte: the line may have gone in part. */
static int step_trailer(rotor_http_chunked *c, char byte, const rotor_http_limits *limits)
{
    if (c->state == TRAILER_FIRST && byte == '\r')
        return become(c, LAST_LF);
    c->trailers++;
    if (byte != '\r' && byte != '\n' && c->trailers + 2 > limits->trailers)
        return ROTOR_HTTP_ECHUNKSIZE;

    switch (c->state) {
    case TRAILER_FIRST:
    case TRAILER_NAME:
        if (rotor__is(byte, ROTOR__TOKEN))
            return become(c, TRAILER_NAME);
        if (rotor__is_ows(byte))
            return c->state == TRAILER_FIRST ? ROTOR_HTTP_EFOLD : ROTOR_HTTP_ESPACE;
        if (byte == ':' && c->state == TRAILER_NAME)
            return become(c, TRAILER_VALUE);
        return byte == '\r' || rotor__is(byte, ROTOR__VALUE) ? ROTOR_HTTP_EFIELD
                                                             : ROTOR_HTTP_ECONTROL;
    case TRAILER_VALUE:
        if (byte == '\r')
            return become(c, TRAILER_LF);
        return rotor__is(byte, ROTOR__VALUE) ? 0 : ROTOR_HTTP_ECONTROL;
    default: /* TRAILER_LF */
        return byte == '\n' ? become(c, TRAILER_FIRST) : ROTOR_HTTP_ECONTROL;
    }
}

static int step(rotor_http_chunked *c, char byte, const rotor_http_limits *limits, uint64_t most)
{
    if (c->state < SIZE_LF && byte != '\r') {
        if (++c->line > limits->chunk_line)
            return ROTOR_HTTP_ECHUNKSIZE;
        if ((c->state > SIZE || (c->state == SIZE && !rotor__is(byte, ROTOR__HEX))) &&
            ++c->extensions > limits->chunk_extensions)
            return ROTOR_HTTP_ECHUNKSIZE;
    }
    switch (c->state) {
    case SIZE_FIRST:
    case SIZE:
        return step_size(c, byte, most);
    case SIZE_LF:
        c->line = 0;
        if (byte != '\n')
            return ROTOR_HTTP_ECHUNK;
        return become(c, c->left > 0 ? DATA : TRAILER_FIRST);
    case DATA_CR:
        return byte == '\r' ? become(c, DATA_LF) : ROTOR_HTTP_ECHUNK;
    case DATA_LF:
        return byte == '\n' ? become(c, SIZE_FIRST) : ROTOR_HTTP_ECHUNK;
    case TRAILER_FIRST:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
        return step_trailer(c, byte, limits);
    case LAST_LF:
        return byte == '\n' ? become(c, OVER) : ROTOR_HTTP_ECONTROL;
    case OVER:
        return ROTOR_ESTATE;
    default:
        return step_extension(c, byte);
    }
}

/* Whether the byte that led here is of the trailer section: of one of its lines, that is. */
static bool in_trailers(const rotor_http_chunked *c, uint8_t before)
{
    return before >= TRAILER_FIRST && before <= TRAILER_LF && c->state != LAST_LF;
}

ptrdiff_t rotor_http_chunked_decode(rotor_http_chunked *c, char *data, size_t len,
                                    const rotor_http_limits *limits, uint64_t most, size_t *body,
                                    size_t *trailers)
{
    size_t i = 0, out = 0, kept = 0;
    int error = 0;

    while (i < len && !error) {
        uint8_t before = c->state;
        if (before == DATA) {
            size_t n = c->left < len - i ? (size_t)c->left : len - i;
            if (out != i)
                memmove(data + out, data + i, n);
            i += n;
            out += n;
            c->left -= n;
            if (c->left == 0)
                c->state = DATA_CR;
            continue;
        }
        error = step(c, data[i++], limits, most);
        if (c->state == OVER)
            break;
        if (trailers && !error && in_trailers(c, before))
            data[out + kept++] = data[i - 1];
    }
    *body = out;
    if (trailers)
        *trailers = kept;
    if (error) {
        c->state = OVER;
        return error;
    }
    return c->state == OVER && i > 0 ? (ptrdiff_t)i : ROTOR_MORE;
}
