/* What a handler may do about the response. */
#include <string.h>
#include <unistd.h>

#include "private.h"

int rotor_http_add(rotor_http *h, rotor_text name, rotor_text value)
{
    rotor_http__exchange *x = h->exchange;
    rotor_buf *headers = &x->response.headers;
    if (!headers->block && x == rotor_http__server(h)->shared)
        rotor_buf_lend(headers, rotor_http__server(h)->scratch);
    return rotor_http_response_add(&x->response, name, value);
}

/* The response can be begun: set what its head depends on. The output, or NULL with `*error` set. */
static inline rotor_buf *begin(rotor_http *h, int *error)
{
    rotor_http_server *server = rotor_http__server(h);
    if (!rotor_http__is_open(h)) {
        *error = ROTOR_ESTATE;
        return NULL;
    }
    rotor_http_response *response = &h->exchange->response;
    response->keep_alive &= !server->draining;
    response->date = rotor_http__date(server, h->stream.machine.loop);
    *error = ROTOR_ECLOSED;
    return rotor_stream_output(&h->stream);
}

/* Have the connection's machine go on, if the answer is complete and came from elsewhere. */
static inline int end(rotor_http *h, int error)
{
    if (!error && h->state != HTTP__CALLING)
        (void)rotor_wake(h->stream.machine.loop, h->stream.machine.self);
    return error;
}

/* An answer that is whole before the request is: the connection cannot go on behind what was not read. */
static inline void give_up_body(rotor_http *h)
{
    if (h->exchange->notes.reading && !rotor_http__is_all_there(h))
        h->exchange->response.keep_alive = false;
}

int rotor_http_send(rotor_http *h, int status, rotor_text body)
{
    int error;
    rotor_buf *output = begin(h, &error);
    if (!output)
        return error;
    give_up_body(h);
    return end(h, rotor_http_response_send(&h->exchange->response, output, status, body));
}

/* -- in pieces --------------------------------------------------------------------------------- */

int rotor_http_start(rotor_http *h, int status)
{
    int error;
    rotor_buf *output = begin(h, &error);
    return output ? rotor_http_response_start(&h->exchange->response, output, status) : error;
}

int rotor_http_write(rotor_http *h, rotor_text data)
{
    if (!rotor_http__is_open(h))
        return ROTOR_ESTATE;
    rotor_buf *output = rotor_stream_output(&h->stream);
    return output ? rotor_http_response_write(&h->exchange->response, output, data) : ROTOR_ECLOSED;
}

int rotor_http_trailer(rotor_http *h, rotor_text name, rotor_text value)
{
    return rotor_http__is_open(h) ? rotor_http_response_trailer(&h->exchange->response, name, value)
                                  : ROTOR_ESTATE;
}

int rotor_http_finish(rotor_http *h)
{
    if (!rotor_http__is_open(h))
        return ROTOR_ESTATE;
    rotor_buf *output = rotor_stream_output(&h->stream);
    if (!output)
        return ROTOR_ECLOSED;
    return end(h, rotor_http_response_finish(&h->exchange->response, output));
}

size_t rotor_http_unsent(const rotor_http *h)
{
    return rotor_stream_unsent(&h->stream);
}

/* -- files ------------------------------------------------------------------------------------- */

/* What is sent of a file in one go, before others have their turn. */
enum { FILE_PIECE = 1 << 20 };

int rotor_http_send_file(rotor_http *h, int status, int fd, uint64_t offset, uint64_t length)
{
    int error;
    rotor_buf *output = begin(h, &error);
    rotor_http__exchange *x = h->exchange;
    rotor_http_response *r = output ? &x->response : NULL;
    if (r && !r->started) {
        if (r->has_length && r->length != length)
            error = ROTOR_EBODY;
        else
            error = 0;
        bool had_length = r->has_length;
        uint64_t had = r->length;
        r->has_length = true;
        r->length = length;
        give_up_body(h);
        if (!error)
            error = rotor_http_response_start(r, output, status);
        if (error) {
            r->has_length = had_length;
            r->length = had;
        }
    } else if (r) {
        error = ROTOR_ESTATE;
    }
    if (error || r->to_head || r->bodiless || length == 0) {
        close(fd);
        if (!error)
            r->sent = true;
        return end(h, error);
    }
    r->sent = true;
    x->notes.then = HTTP__THEN_FILE;
    x->file = fd;
    x->file_at = offset;
    x->file_left = length;
    return end(h, 0);
}

ssize_t rotor_http__pull(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    rotor_http__exchange *x = h->exchange;
    if (h->state != HTTP__SENDING || x->file_left == 0)
        return 0;
    size_t piece = x->file_left < FILE_PIECE ? (size_t)x->file_left : FILE_PIECE;
    ssize_t n = rotor_stream_send_file(s, x->file, &x->file_at, piece);
    if (n > 0) {
        x->file_left -= (uint64_t)n;
        x->response.size += (uint64_t)n;
    }
    return n;
}

/* -- other protocols --------------------------------------------------------------------------- */

int rotor_http_upgrade(rotor_http *h, int status, const rotor_protocol *protocol, void *seed,
                       void (*release)(void *seed))
{
    int error;
    rotor_buf *output = begin(h, &error);
    if (!output)
        return error;
    rotor_http__exchange *x = h->exchange;
    bool connect = x->response.to_connect;
    if (!rotor__protocol_is_valid(protocol))
        return UV_EINVAL;
    if (!connect && !(x->head.upgrade && rotor_http_header(h, "upgrade", 7).data))
        return ROTOR_EUPGRADE;
    if (x->notes.reading && rotor_http_has_body(h))
        return ROTOR_ESTATE;
    error = rotor_http_response_switch(&x->response, output, status);
    if (error)
        return error;
    x->notes.then = HTTP__THEN_PROTOCOL;
    x->next = (rotor_stream_seed){.protocol = protocol, .fd = -1, .seed = seed, .release = release};
    return end(h, 0);
}

/* -- looking ----------------------------------------------------------------------------------- */

bool rotor_http_is_started(const rotor_http *h)
{
    return h->exchange->response.started;
}

bool rotor_http_is_sent(const rotor_http *h)
{
    return h->exchange->response.sent;
}

int rotor_http_status(const rotor_http *h)
{
    return h->exchange->response.status;
}

/* -- for C ------------------------------------------------------------------------------------- */

int rotor_http_add_text(rotor_http *h, const char *name, const char *value)
{
    return rotor_http_add(h, (rotor_text){name, strlen(name)}, (rotor_text){value, strlen(value)});
}

int rotor_http_send_text(rotor_http *h, int status, const char *body)
{
    return rotor_http_send(h, status, (rotor_text){body, strlen(body)});
}

int rotor_http_write_text(rotor_http *h, const char *data)
{
    return rotor_http_write(h, (rotor_text){data, strlen(data)});
}
