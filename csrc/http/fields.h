/* Lines, as all heads and trailer sections have them: how they are found, how fields are read, and what
** those fields that frame a message say. Private; inline is what each request passes through.
**
** A verdict must not depend on how the bytes were split. So what one line shows is judged when that
** line is complete, and what takes several lines (a second Host, Content-Length next to
** Transfer-Encoding …) only when the head is: a call that begins in the middle does not know what
** was in the lines before. When such a call completes the head, it is read once more from the
** start.
**
** Bytes are judged left to right: of two faults in different lines the first is reported. */
#ifndef ROTOR_HTTP_FIELDS_H
#define ROTOR_HTTP_FIELDS_H

#include "parser.h"
#include "scan.h"

/* What the field lines said, to be judged at the end of the head. */
enum {
    ROTOR__CLOSE = 1,
    ROTOR__KEEP_ALIVE = 2,
    ROTOR__UPGRADE = 4,
    ROTOR__LENGTH = 8,
    ROTOR__LENGTH_OTHER = 16, /* a second, different one */
    ROTOR__CODING = 32,
    ROTOR__CODING_UNKNOWN = 64,
    ROTOR__CODING_SENSELESS = 128,
    ROTOR__SEEN_OWN = 256 /* from here on: what only one direction has */
};

/* A header section that is being read. */
typedef struct rotor__section {
    rotor_http_field *fields;
    uint64_t length; /* as Content-Length says, if it was seen */
    int seen;
    rotor_http_span host; /* a request's, if it was seen */
} rotor__section;

/* Where the parts of a field line are. */
typedef struct rotor__field_line {
    const char *name, *name_end, *value, *value_end;
} rotor__field_line;

#define ROTOR__IS(p, end, word)                                                                    \
    ((end) - (p) == sizeof word - 1 && rotor__is_word(p, word, sizeof word - 1))

static inline rotor_http_span rotor__span(const char *data, const char *from, const char *to)
{
    return (rotor_http_span){(uint32_t)(from - data), (uint32_t)(to - from)};
}

/* `last` is the last byte there is. */
static inline bool rotor__is_crlf(const char *p, const char *last)
{
    return p < last && memcmp(p, "\r\n", 2) == 0;
}

/* The values of fields that matter in both directions. Each returns what it adds to `seen`, or an
** error; that of Content-Length, only an error or 0. */
int rotor__read_length(const char *p, const char *end, uint64_t *length);
int rotor__read_coding(const char *p, const char *end);
int rotor__read_connection(const char *p, const char *end);

/* What is ambiguous in the whole head: 0 or an error. */
int rotor__judge_framing(int seen, uint8_t minor);

/* The minor version that [version, end) stands for, or an error. HTTP/1.2 to 1.9 are read as 1.1, the
** highest minor version known here (RFC 9110 section 2.5). */
int rotor__read_version(const char *version, const char *end);

/* Whether the connection may go on by version and Connection (RFC 9112 section 9.3). */
static inline bool rotor__keeps_alive(int seen, uint8_t minor)
{
    int wanted = minor == 1 ? 0 : ROTOR__KEEP_ALIVE;

    return (seen & (ROTOR__CLOSE | wanted)) == wanted;
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
    *field = (rotor__field_line){line, name_end, p, end};
    return 0;
}

/* A field that may frame the message, or say what becomes of the connection. Returns what it adds to
** `seen`, or an error. */
static inline int rotor__read_framing(rotor__section *section, rotor__field_line field,
                                      const char *data, const char *limit)
{
    const char *name = field.name, *p = field.value, *end = field.value_end;
    uint64_t length = 0;
    int error;

    switch (field.name_end - name) {
    case 10:
        if (!rotor__is_word(name, "connection", 10))
            return 0;
        return ROTOR__IS(p, end, "keep-alive") ? ROTOR__KEEP_ALIVE : rotor__read_connection(p, end);
    case 14:
        if (!rotor__is_word(name, "content-length", 14))
            return 0;
        error = rotor__read_length(p, end, &length);
        if (error)
            return error;
        if (section->seen & ROTOR__LENGTH && length != section->length)
            return ROTOR__LENGTH_OTHER;
        section->length = length;
        return ROTOR__LENGTH;
    case 17:
        if (!rotor__is_word(name, "transfer-encoding", 17))
            return 0;
        return rotor__read_coding(p, end) |
               (section->seen & ROTOR__CODING ? ROTOR__CODING_SENSELESS : 0);
    default:
        return 0;
    }
}

/* A line whose first control character, at `end`, does not begin a CRLF; or there is none yet. */
static inline ptrdiff_t rotor__stop_short(rotor_http_progress *progress, const char *data,
                                          const char *line, const char *end, const char *limit,
                                          size_t section, size_t fields)
{
    if (end < limit && (*end != '\r' || end + 1 < limit))
        return ROTOR_HTTP_ECONTROL;
    *progress = (rotor_http_progress){(uint32_t)(line - data), (uint32_t)(end - data),
                                      (uint32_t)section, (uint32_t)fields};
    return ROTOR_MORE;
}

/* The end of the first line, which begins at `line` and was scanned up to `from`: a positive offset
** from `data`, ROTOR_MORE or an error. It must not be empty. */
static inline ptrdiff_t rotor__find_start_line(const char *data, const char *line, const char *from,
                                               const char *limit, const rotor_http_limits *limits,
                                               rotor_http_progress *progress)
{
    const char *end = rotor__scan(data, from, limit);

    if ((size_t)(end - line) > limits->request_line)
        return ROTOR_HTTP_ELINESIZE;
    if (!rotor__is_crlf(end, limit - 1))
        return rotor__stop_short(progress, data, line, end, limit, 0, 0);
    return end - data;
}

/* Read the field lines that are there, from `at` on. Returns the number of bytes of the whole head,
** ROTOR_MORE or an error. `read` is a constant where this is called, and inlined like this itself:
** rotor__read_framing() or what ends in a call of that. */
__attribute__((always_inline)) static inline ptrdiff_t
rotor__read_fields(rotor__section *section, uint32_t *nfields, const char *data, const char *limit,
                   const rotor_http_limits *limits, rotor_http_progress at,
                   rotor_http_progress *progress,
                   int (*read)(rotor__section *, rotor__field_line, const char *, const char *))
{
    const char *line = data + at.line, *from = data + at.scanned, *end;
    const char *last = limit - 1;
    size_t fields = at.fields, plain;
    size_t most = (size_t)at.section + limits->head - 2; /* where the last CRLF may begin */
    rotor__field_line field;
    int result;

    for (; !rotor__is_crlf(line, last); from = line = end + 2) {
        end = rotor__scan_plain(data, from, limit, &plain);
        if (fields == limits->fields && end > line)
            return ROTOR_HTTP_EFIELDS;
        if ((size_t)(end - data) > most && end > line)
            return ROTOR_HTTP_EHEADSIZE;
        if (!rotor__is_crlf(end, last))
            return rotor__stop_short(progress, data, line, end, limit, at.section, fields);
        if (from != line)
            plain = 0;
        result = rotor__split_field(&field, line, end, plain);
        if (result < 0)
            return result;
        section->fields[fields] =
            (rotor_http_field){rotor__span(data, line, field.name_end),
                               rotor__span(data, field.value, field.value_end)};
        result = read(section, field, data, limit);
        if (result < 0)
            return result;
        section->seen |= result;
        fields++;
    }
    *nfields = (uint32_t)fields;
    return line + 2 - data;
}

#endif
