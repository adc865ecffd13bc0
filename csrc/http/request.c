/* What a handler may ask of the request. */
#include <string.h>

#include "private.h"

/* -- the exchange ------------------------------------------------------------------------------ */

rotor_http__exchange *rotor_http__exchange_new(uint32_t fields)
{
    rotor_http__exchange *x = rotor_alloc_zero(sizeof *x + fields * sizeof *x->fields);
    if (x)
        x->head.fields = x->fields;
    return x;
}

int rotor_http__exchange_keep(rotor_http *h)
{
    rotor_http__exchange *shared = h->exchange;
    if (shared != rotor_http__server(h)->shared)
        return 0;
    rotor_http__exchange *own = rotor_http__exchange_new(shared->head.nfields);
    if (!own || rotor_buf_return(&shared->response.headers)) {
        rotor_free(own);
        return UV_ENOMEM;
    }
    *own = *shared;
    own->head.fields = own->fields;
    memcpy(own->fields, shared->fields, shared->head.nfields * sizeof *own->fields);
    shared->response.headers = (rotor_buf)ROTOR_BUF_INIT;
    h->exchange = own;
    return 0;
}

/* -- the request ------------------------------------------------------------------------------- */

/* Memory running out may have taken the input from a connection whose request is not over yet. */
static rotor_text input_at(const rotor_http *h, size_t at, size_t len)
{
    const char *data = rotor_buf_data(&h->stream.input);
    return data ? (rotor_text){data + at, len} : (rotor_text){NULL, 0};
}

static rotor_text text_of(const rotor_http *h, rotor_http_span span)
{
    return input_at(h, span.at, span.len);
}

rotor_text rotor_http_method(const rotor_http *h)
{
    return text_of(h, h->exchange->head.method);
}

rotor_text rotor_http_target(const rotor_http *h)
{
    return text_of(h, h->exchange->head.target);
}

rotor_text rotor_http_path(const rotor_http *h)
{
    rotor_text path = text_of(h, h->exchange->head.path);
    return path.len > 0 ? path : (rotor_text){"/", 1};
}

rotor_text rotor_http_query(const rotor_http *h)
{
    if (!h->exchange->head.has_query)
        return (rotor_text){NULL, 0};
    return text_of(h, h->exchange->head.query);
}

rotor_text rotor_http_host(const rotor_http *h)
{
    return text_of(h, h->exchange->head.host);
}

rotor_text rotor_http_body(const rotor_http *h)
{
    const rotor_http__exchange *x = h->exchange;
    return input_at(h, x->head_len, x->body_len);
}

bool rotor_http_has_body(const rotor_http *h)
{
    const rotor_http_head *head = &h->exchange->head;
    return head->chunked || head->content_length > 0;
}

uint64_t rotor_http_body_length(const rotor_http *h)
{
    const rotor_http_head *head = &h->exchange->head;
    return head->chunked ? UINT64_MAX : head->content_length;
}

bool rotor_http__is_all_there(const rotor_http *h)
{
    const rotor_http__exchange *x = h->exchange;
    size_t have = rotor_buf_len(&h->stream.input) - x->size;
    return !x->head.chunked && x->head.content_length - x->body_total <= have;
}

int rotor_http_minor(const rotor_http *h)
{
    return h->exchange->head.minor;
}

rotor_text rotor_http_header(const rotor_http *h, const char *name, size_t len)
{
    const rotor_http_head *head = &h->exchange->head;
    for (uint32_t i = 0; i < head->nfields; i++) {
        rotor_text other = text_of(h, head->fields[i].name);
        if (other.len == len && rotor_http_name_equal(other.data, name, len))
            return text_of(h, head->fields[i].value);
    }
    return (rotor_text){NULL, 0};
}

bool rotor_http_header_at(const rotor_http *h, size_t i, rotor_text *name, rotor_text *value)
{
    const rotor_http_head *head = &h->exchange->head;
    if (i >= head->nfields)
        return false;
    *name = text_of(h, head->fields[i].name);
    *value = text_of(h, head->fields[i].value);
    return true;
}

bool rotor_http_trailer_at(const rotor_http *h, size_t i, rotor_text *name, rotor_text *value)
{
    const rotor_http__exchange *x = h->exchange;
    if (!x->notes.trailed || i >= x->ntrailers)
        return false;
    size_t at = x->head_len + x->body_len;
    const rotor_http_field *field = &x->trailers[i];
    *name = input_at(h, at + field->name.at, field->name.len);
    *value = input_at(h, at + field->value.at, field->value.len);
    return true;
}

rotor_stream *rotor_http_stream(rotor_http *h)
{
    return &h->stream;
}

void *rotor_http_context(const rotor_http *h)
{
    return rotor_http__server(h)->context;
}

void **rotor_http_data(rotor_http *h)
{
    return &h->exchange->data;
}

rotor_http_ref rotor_http_ref_of(const rotor_http *h)
{
    return (rotor_http_ref){h->stream.machine.self, h->serial};
}

rotor_http *rotor_http_find(rotor_loop *loop, rotor_http_ref ref)
{
    rotor_http *h = (rotor_http *)rotor_find(loop, ref.stream);
    if (h && !rotor_http__is_connection(&h->stream)) /* it was passed on to another protocol */
        return NULL;
    return h && rotor_http__is_handled(h) && h->serial == ref.serial ? h : NULL;
}
