/* Heads of responses: status lines, and what frames the body. See fields.h for how lines are read. */
#include "fields.h"

/* The status line (RFC 9112 section 4), [line, end). */
static int read_status_line(rotor_http_response_head *head, const char *data, const char *line,
                            const char *end)
{
    const char *status = memchr(line, ' ', (size_t)(end - line)), *p;
    int minor = rotor__read_version(line, status ? status : end);

    if (minor < 0)
        return minor;
    if (!status)
        return ROTOR_HTTP_ESTATUSLINE;
    head->minor = (uint8_t)minor;

    p = ++status;
    while (rotor__is(*p, ROTOR__DIGIT))
        p++;
    if (p - status != 3 || *status == '0' || (p < end && *p != ' '))
        return ROTOR_HTTP_ESTATUS;
    head->status = (uint16_t)((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
    head->reason = rotor__span(data, p < end ? p + 1 : end, end);
    return 0;
}

/* What can only be judged by the whole head. */
static int judge_response(rotor_http_response_head *head, const rotor__section *section)
{
    int seen = section->seen, error = rotor__judge_framing(seen, head->minor);
    bool announced = seen & ROTOR__CODING || section->length > 0;

    if (error)
        return error;
    if (head->status < 200 && announced)
        return ROTOR_HTTP_ESMUGGLE;
    if (seen & ROTOR__CODING_UNKNOWN)
        return ROTOR_HTTP_ECODING;
    head->has_length = (seen & ROTOR__LENGTH) != 0;
    head->content_length = section->length;
    head->chunked = (seen & ROTOR__CODING) != 0;
    head->upgrade = (seen & ROTOR__UPGRADE) && head->minor == 1;
    head->keep_alive = rotor__keeps_alive(seen, head->minor) && !(head->status == 204 && announced);
    return 0;
}

/* Read the lines that are there, from where `progress` stands. */
static ptrdiff_t read_response(rotor_http_response_head *head, rotor__section *section,
                               const char *data, const char *limit, const rotor_http_limits *limits,
                               rotor_http_progress *progress)
{
    rotor_http_progress at = *progress;

    if (at.section == 0) {
        ptrdiff_t end;
        int error;

        if (rotor__is_crlf(data, limit - 1))
            return ROTOR_HTTP_ESTATUSLINE;
        end = rotor__find_start_line(data, data, data + at.scanned, limit, limits, progress);
        if (end <= 0)
            return end;
        error = read_status_line(head, data, data, data + end);
        if (error)
            return error;
        at.line = at.scanned = at.section = (uint32_t)end + 2;
    }
    return rotor__read_fields(section, &head->nfields, data, limit, limits, at, progress,
                              rotor__read_framing);
}

ptrdiff_t rotor_http_parse_response(rotor_http_response_head *head, const char *data, size_t len,
                                    const rotor_http_limits *limits, rotor_http_progress *progress)
{
    rotor__section section = {.fields = head->fields};
    bool all = progress->line == 0;
    ptrdiff_t n;
    int error;

    if (len == 0)
        return ROTOR_MORE;
    *head = (rotor_http_response_head){.fields = head->fields};
    n = read_response(head, &section, data, data + len, limits, progress);
    if (n <= 0)
        return n;
    *progress = (rotor_http_progress){0};
    if (!all)
        return rotor_http_parse_response(head, data, len, limits, progress);
    error = judge_response(head, &section);
    return error ? error : n;
}

rotor_http_framing rotor_http_response_framing(const rotor_http_response_head *head,
                                               const char *method, size_t len)
{
    bool to_head = len == 4 && memcmp(method, "HEAD", 4) == 0;
    bool to_connect = len == 7 && memcmp(method, "CONNECT", 7) == 0;

    if (to_head || head->status < 200 || head->status == 204 || head->status == 304 ||
        (to_connect && head->status < 300))
        return ROTOR_HTTP_NO_BODY;
    if (head->chunked)
        return ROTOR_HTTP_CHUNKED;
    return head->has_length ? ROTOR_HTTP_LENGTH : ROTOR_HTTP_UNTIL_CLOSE;
}
