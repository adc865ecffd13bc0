/* A requester whose calls resolve futures. The response is moved from the call to the answer, so that
** nothing of it is copied. */
#include "client_private.h"
#include "fetch.h"

/* The public part first, which points into the rest. */
typedef struct answer {
    rotor_http_answer shown;
    rotor_http_url url;
    rotor_http_response_head head; /* its fields and, behind them, its text are one block */
    const char *text;
    rotor_buf body, trailer_lines;
    rotor_http_field *trailers;
    uint32_t ntrailers;
} answer;

static void free_answer(void *value)
{
    rotor_http_answer_free(value);
}

void rotor_http_answer_free(rotor_http_answer *shown)
{
    answer *a = (answer *)shown;
    if (!a)
        return;
    rotor_http_url_fini(&a->url);
    rotor_free(a->head.fields);
    rotor_buf_fini(&a->body);
    rotor_buf_fini(&a->trailer_lines);
    rotor_free(a->trailers);
    rotor_free(a);
}

rotor_text rotor_http_answer_header(const rotor_http_answer *shown, const char *name, size_t len)
{
    const answer *a = (const answer *)shown;
    return rotor_http__field_named(a->head.fields, a->head.nfields, a->text, name, len);
}

bool rotor_http_answer_header_at(const rotor_http_answer *shown, size_t i, rotor_text *name,
                                 rotor_text *value)
{
    const answer *a = (const answer *)shown;
    return rotor_http__field_at(a->head.fields, a->head.nfields, a->text, i, name, value);
}

bool rotor_http_answer_trailer_at(const rotor_http_answer *shown, size_t i, rotor_text *name,
                                  rotor_text *value)
{
    const answer *a = (const answer *)shown;
    return rotor_http__field_at(a->trailers, a->ntrailers, rotor_buf_data(&a->trailer_lines), i,
                                name, value);
}

/* Take the response from the call, which is over. NULL: no memory. */
static answer *take_response(rotor_http_call *c)
{
    answer *a = rotor_alloc_zero(sizeof *a);
    if (!a)
        return NULL;
    a->shown = (rotor_http_answer){.status = rotor_http_call_status(c),
                                   .minor = rotor_http_call_minor(c),
                                   .url = rotor_http_call_url(c),
                                   .reason = rotor_http_call_reason(c),
                                   .body = rotor_http_call_body(c)};
    a->url = c->ask.url;
    c->ask.url = (rotor_http_url){0};
    a->head = c->head;
    a->text = c->text;
    c->head = (rotor_http_response_head){0};
    a->body = c->body;
    c->body = (rotor_buf)ROTOR_BUF_INIT;
    a->trailer_lines = c->received;
    c->received = (rotor_buf)ROTOR_BUF_INIT;
    a->trailers = c->trailers;
    a->ntrailers = c->ntrailers;
    c->trailers = NULL;
    return a;
}

/* -- the future -------------------------------------------------------------------------------- */

/* Its holder has a reference, and the call, whose data it is. */
typedef struct fetch {
    rotor_future future;
    rotor_handle call;
    uint64_t max;
} fetch;

static fetch *of(rotor_http_call *c)
{
    return rotor_http_call_data(c);
}

static rotor_future *on_abandoned(rotor_future *f)
{
    if (!atomic_load(&f->mailbox->closed))
        (void)rotor_end(f->loop, ((fetch *)f)->call, 0);
    return NULL;
}

static rotor_http_receive on_headers(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_buffered(of(c)->max);
}

static rotor_response on_received(rotor_http_call *c, rotor_scope *scope)
{
    answer *a = take_response(c);
    rotor__future_resolve(&of(c)->future, a ? 0 : UV_ENOMEM, a);
    return rotor_done();
}

static void on_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    rotor__future_resolve(&of(c)->future, rotor__future_error(error), NULL);
}

static void on_over(rotor_http_call *c)
{
    rotor_future *f = &of(c)->future;
    if (!f->resolved && !c->machine.loop->closing)
        rotor__future_resolve(f, ROTOR_ECANCELED, NULL);
    rotor__future_unref(f);
}

static const rotor_http_requester requester = {
    .name = "http fetch",
    .headers_received = on_headers,
    .response_received = on_received,
    .failed = on_failed,
    .call_over = on_over,
};

int rotor_http_fetch(rotor_http_client *client, rotor_http_ask *ask, uint64_t max,
                     rotor_future **future)
{
    rotor_loop *loop = client->loop;
    *future = NULL;
    int error = ask->streamed ? UV_EINVAL : UV_ENOMEM;
    fetch *f = NULL;
    if (!ask->streamed)
        f = (fetch *)rotor__future_make(sizeof *f, loop, loop->mailbox, free_answer, on_abandoned);
    if (!f) {
        rotor_http_ask_fini(ask);
        return error;
    }
    f->max = max;
    error = rotor_http_client_call(client, ask, &requester, f, &f->call);
    if (!error)
        *future = rotor__future_ref(&f->future);
    else
        rotor__future_unref(&f->future);
    return error;
}

int rotor_http_get(rotor_http_client *client, const char *url, rotor_future **future)
{
    rotor_http_ask ask;
    *future = NULL;
    int error = rotor_http_ask_init_text(&ask, "GET", url);
    return error ? error : rotor_http_fetch(client, &ask, 0, future);
}
