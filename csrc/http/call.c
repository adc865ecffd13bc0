/* The machine of a call: its deadlines, what becomes of what transitions answer, and what they may ask. */
#include <stdio.h>
#include <string.h>

#include "client_private.h"
#include "put.h"

enum { PIECE = 65536 }; /* of a body in memory: so much of it is in the output at a time */

/* -- what transitions have answered ------------------------------------------------------------ */

static void arm(rotor_http_call *c)
{
    rotor__machine_until(&c->machine, c->until < c->deadline ? c->until : c->deadline);
}

static void leave_connection(rotor_http_call *c)
{
    rotor_http__conn *conn = c->conn;
    rotor_http__call_unwait(c);
    if (!conn)
        return;
    conn->call = NULL;
    c->conn = NULL;
    rotor_http__conn_close(conn);
}

void rotor_http__call_end(rotor_http_call *c, int status)
{
    leave_connection(c);
    c->over = true;
    (void)rotor_end(c->machine.loop, c->machine.self, status);
}

void rotor_http__call_heed(rotor_http_call *c, rotor_response r)
{
    if (c->over)
        return;
    if (r.kind == ROTOR_OK) {
        c->held = r.error & ROTOR_HTTP__HELD;
        c->until = r.deadline;
        arm(c);
    } else if (r.kind != ROTOR_SAME) {
        rotor_http__call_end(c, rotor_http__status_of(r));
    }
}

void rotor_http__call_fail(rotor_http_call *c, int error)
{
    if (c->over)
        return;
    c->error = error;
    rotor__machine_soon(&c->machine);
}

/* -- the request ------------------------------------------------------------------------------- */

bool rotor_http__call_can_repeat(const rotor_http_call *c)
{
    return !c->consumed;
}

int rotor_http__call_feed(rotor_http_call *c)
{
    if (c->ask.streamed)
        return 0;
    size_t len = rotor_buf_len(&c->ask.body), n = len - c->given;
    if (n > PIECE)
        n = PIECE;
    int error = 0;
    if (n > 0)
        error = rotor_stream_write(&c->conn->stream, rotor_buf_data(&c->ask.body) + c->given, n);
    if (error)
        return error;
    c->given += n;
    if (c->given == len)
        c->sending = CALL__SENT;
    return 0;
}

static void drop_head(rotor_http_call *c)
{
    rotor_free(c->head.fields);
    c->head = (rotor_http_response_head){0};
    c->text = NULL;
}

static void drop_trailers(rotor_http_call *c)
{
    rotor_buf_fini(&c->received);
    rotor_free(c->trailers);
    c->trailers = NULL;
    c->ntrailers = 0;
}

static void go_on(rotor_http_call *c, int error)
{
    drop_trailers(c);
    c->retried = false;
    c->sending = CALL__UNSENT;
    if (!error)
        error = rotor_http__acquire(c, false);
    if (error)
        rotor_http__call_fail(c, error);
}

void rotor_http__call_follow(rotor_http_call *c)
{
    if (c->head.status == 417) {
        c->ask.expect_continue = false;
        go_on(c, 0);
        return;
    }
    int most = c->ask.redirects < 0 ? c->client->config.redirects : c->ask.redirects;
    int error = c->followed++ < most ? 0 : ROTOR_HTTP_EREDIRECTS;
    if (!error)
        error = rotor_http_ask_redirect(&c->ask, c->head.status,
                                        rotor_http_call_header(c, "location", 8), c->consumed);
    if (!error && c->requester->redirected) {
        rotor_scope scope = rotor_http__call_scope(c);
        rotor_http__call_heed(c, c->requester->redirected(c, &scope));
    }
    if (!c->over)
        go_on(c, error);
}

bool rotor_http_call_wants_body(const rotor_http_call *c)
{
    return c->ask.streamed && c->sending == CALL__SENDS && c->conn;
}

/* Where more of the body can be written now. 0 or an error. */
static int find_output(rotor_http_call *c, rotor_buf **output)
{
    if (c->ask.streamed && c->sending == CALL__STOPPED)
        return ROTOR_ECLOSED;
    if (!rotor_http_call_wants_body(c))
        return ROTOR_ESTATE;
    *output = rotor_stream_output(&c->conn->stream);
    return *output ? 0 : ROTOR_ECLOSED;
}

static void have_written(rotor_http_call *c)
{
    c->consumed = true;
    c->parked = false;
    rotor_http__conn_resume(c->conn);
}

int rotor_http_call_write(rotor_http_call *c, rotor_text data)
{
    rotor_buf *output;
    int error = find_output(c, &output);
    if (error || data.len == 0)
        return error;
    bool chunked = c->ask.length == ROTOR_HTTP_NO_LENGTH;
    if (!chunked && data.len > c->to_send)
        return ROTOR_EBODY;
    if (data.len > ROTOR_BUF_MAX) /* the sum must not wrap around */
        return UV_ENOMEM;
    char *start = rotor_buf_reserve(output, data.len + ROTOR__CHUNK_FRAME);
    if (!start)
        return UV_ENOMEM;
    char *end = chunked ? rotor__put_chunk(start, data) : rotor__put(start, data.data, data.len);
    rotor_buf_commit(output, (size_t)(end - start));
    if (!chunked)
        c->to_send -= data.len;
    have_written(c);
    return 0;
}

int rotor_http_call_trailer(rotor_http_call *c, rotor_text name, rotor_text value)
{
    rotor_buf *output;
    int error = find_output(c, &output);
    if (error)
        return error;
    if (c->ask.length != ROTOR_HTTP_NO_LENGTH)
        return ROTOR_ESTATE;
    if (!rotor__is_field(name, value) || !rotor_http_is_trailer(name.data, name.len))
        return ROTOR_EHEADER;
    return rotor__append_field(&c->trailer_lines, name, value);
}

int rotor_http_call_finish(rotor_http_call *c)
{
    rotor_buf *output;
    int error = find_output(c, &output);
    if (error)
        return error;
    if (c->ask.length == ROTOR_HTTP_NO_LENGTH)
        error = rotor__append_last_chunk(output, &c->trailer_lines);
    else if (c->to_send > 0)
        error = ROTOR_EBODY;
    if (error)
        return error;
    c->sending = CALL__SENT;
    have_written(c);
    return 0;
}

size_t rotor_http_call_unsent(const rotor_http_call *c)
{
    return c->conn ? rotor_stream_unsent(&c->conn->stream) : 0;
}

/* -- the response ------------------------------------------------------------------------------ */

int rotor_http__call_keep_head(rotor_http_call *c, const rotor_http_response_head *head,
                               const char *text, size_t len)
{
    size_t size = head->nfields * sizeof *head->fields;
    drop_head(c);
    char *copy = rotor_alloc(size + len);
    if (!copy)
        return UV_ENOMEM;
    if (size > 0)
        memcpy(copy, head->fields, size);
    memcpy(copy + size, text, len);
    c->head = *head;
    c->head.fields = (rotor_http_field *)(void *)copy;
    c->text = copy + size;
    return 0;
}

int rotor_http__call_take_input(rotor_http_call *c, rotor_buf *input, size_t n)
{
    return rotor_buf_split(input, n, &c->body);
}

static rotor_text text_of(const char *text, rotor_http_span span)
{
    return (rotor_text){text + span.at, span.len};
}

int rotor_http_call_status(const rotor_http_call *c)
{
    return c->head.status;
}

int rotor_http_call_minor(const rotor_http_call *c)
{
    return c->head.minor;
}

rotor_text rotor_http_call_reason(const rotor_http_call *c)
{
    return c->text ? text_of(c->text, c->head.reason) : (rotor_text){NULL, 0};
}

rotor_text rotor_http__field_named(const rotor_http_field *fields, uint32_t n, const char *text,
                                   const char *name, size_t len)
{
    for (uint32_t i = 0; i < n; i++)
        if (rotor__is_named(text_of(text, fields[i].name), name, len))
            return text_of(text, fields[i].value);
    return (rotor_text){NULL, 0};
}

bool rotor_http__field_at(const rotor_http_field *fields, uint32_t n, const char *text, size_t i,
                          rotor_text *name, rotor_text *value)
{
    if (i >= n)
        return false;
    *name = text_of(text, fields[i].name);
    *value = text_of(text, fields[i].value);
    return true;
}

rotor_text rotor_http_call_header(const rotor_http_call *c, const char *name, size_t len)
{
    return rotor_http__field_named(c->head.fields, c->head.nfields, c->text, name, len);
}

bool rotor_http_call_header_at(const rotor_http_call *c, size_t i, rotor_text *name,
                               rotor_text *value)
{
    return rotor_http__field_at(c->head.fields, c->head.nfields, c->text, i, name, value);
}

bool rotor_http_call_trailer_at(const rotor_http_call *c, size_t i, rotor_text *name,
                                rotor_text *value)
{
    return rotor_http__field_at(c->trailers, c->ntrailers, rotor_buf_data(&c->received), i, name,
                                value);
}

uint64_t rotor_http_call_length(const rotor_http_call *c)
{
    switch (rotor_http_response_framing(&c->head, c->ask.method, c->ask.method_len)) {
    case ROTOR_HTTP_NO_BODY:
        return 0;
    case ROTOR_HTTP_LENGTH:
        return c->head.content_length;
    default:
        return ROTOR_HTTP_NO_LENGTH;
    }
}

rotor_text rotor_http_call_body(const rotor_http_call *c)
{
    return (rotor_text){rotor_buf_data(&c->body), rotor_buf_len(&c->body)};
}

void rotor_http_call_take_body(rotor_http_call *c, rotor_buf *body)
{
    *body = c->body;
    c->body = (rotor_buf)ROTOR_BUF_INIT;
}

int rotor_http_call_upgrade(rotor_http_call *c, const rotor_protocol *protocol, void *seed,
                            void (*release)(void *seed))
{
    if (!c->next || c->next->protocol)
        return ROTOR_ESTATE;
    if (!rotor__protocol_is_valid(protocol))
        return UV_EINVAL;
    *c->next = (rotor_stream_seed){.protocol = protocol, .seed = seed, .release = release};
    return 0;
}

/* -- the call ---------------------------------------------------------------------------------- */

rotor_handle rotor_http_call_handle(const rotor_http_call *c)
{
    return c->machine.self;
}

rotor_http_client *rotor_http_call_client(const rotor_http_call *c)
{
    return c->client;
}

void *rotor_http_call_data(const rotor_http_call *c)
{
    return c->data;
}

const char *rotor_http_call_url(const rotor_http_call *c)
{
    return c->ask.url.text;
}

rotor_stream *rotor_http_call_stream(rotor_http_call *c)
{
    return c->conn ? &c->conn->stream : NULL;
}

/* -- the machine ------------------------------------------------------------------------------- */

typedef struct call_seed {
    rotor_http_client *client;
    rotor_http_ask *ask;
    const rotor_http_requester *requester;
    void *data;
} call_seed;

static rotor_http_call *of(rotor_machine *m)
{
    return (rotor_http_call *)m;
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    const call_seed *seed = data;
    rotor_http_call *c = of(m);
    c->client = seed->client;
    c->client->refs++;
    c->requester = seed->requester;
    c->data = seed->data;
    c->ask = *seed->ask;
    *seed->ask = (rotor_http_ask){0};
    uint32_t timeout = c->ask.timeout_ms ? c->ask.timeout_ms : c->client->config.timeout_ms;
    c->deadline = timeout == UINT32_MAX ? ROTOR_NEVER : scope->loop->now + timeout;
    c->until = ROTOR_NEVER;
    return rotor_ok_until(c->deadline);
}

static rotor_response tell_failure(rotor_http_call *c, rotor_scope *scope, int error)
{
    leave_connection(c);
    c->over = true;
    if (!c->requester->failed)
        return rotor_error(error);
    c->requester->failed(c, scope, error);
    return rotor_done();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    rotor_http_call *c = of(m);
    if (!c->over && !c->begun) {
        c->begun = true;
        c->error = rotor_http__acquire(c, false);
    }
    return c->error && !c->over ? tell_failure(c, scope, c->error) : rotor_same();
}

/* After a transition of the requester's that was called from one of the machine's own. */
static rotor_response settle(rotor_http_call *c, rotor_response r)
{
    rotor_http__call_heed(c, r);
    if (c->conn)
        rotor_http__conn_resume(c->conn);
    return rotor_same();
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    rotor_http_call *c = of(m);
    if (c->over || c->error || !c->requester->wakeup)
        return rotor_same();
    return settle(c, c->requester->wakeup(c, scope));
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_http_call *c = of(m);
    if (c->over)
        return rotor_same();
    uint64_t now = scope->loop->now;
    bool ends = now >= c->deadline || (now >= c->until && !c->requester->timeout);
    if (c->error || ends)
        return tell_failure(c, scope, c->error ? c->error : ROTOR_ETIMEDOUT);
    if (now < c->until) {
        arm(c);
        return rotor_same();
    }
    c->until = ROTOR_NEVER;
    arm(c);
    return settle(c, c->requester->timeout(c, scope));
}

static void on_drop(rotor_machine *m)
{
    rotor_http_call *c = of(m);
    leave_connection(c);
    c->over = true;
    if (c->requester->call_over)
        c->requester->call_over(c);
    rotor_http_ask_fini(&c->ask);
    rotor_buf_fini(&c->trailer_lines);
    drop_head(c);
    drop_trailers(c);
    rotor_buf_fini(&c->body);
    rotor_http__client_unref(c->client);
}

static const char *call_name(const rotor_machine *m)
{
    return ((const rotor_http_call *)m)->requester->name;
}

static void describe(const rotor_machine *m, char *text, size_t size)
{
    const rotor_http_call *c = (const rotor_http_call *)m;
    bool connecting = c->conn && c->conn->state == CONN__CONNECTING;
    const char *what = c->origin || !c->conn          ? "a connection"
                       : connecting                   ? "connecting"
                       : c->conn->state == CONN__BODY ? "the body of a response"
                                                      : "a response";
    snprintf(text, size, "%s", what);
}

static const rotor_type call_type = {
    .name = "http call",
    .size = sizeof(rotor_http_call),
    .name_of = call_name,
    .create = on_create,
    .ready = on_ready,
    .wakeup = on_wakeup,
    .timeout = on_timeout,
    .drop = on_drop,
    .describe = describe,
};

int rotor_http_client_call(rotor_http_client *client, rotor_http_ask *ask,
                           const rotor_http_requester *requester, void *data, rotor_handle *call)
{
    rotor_handle handle = ROTOR_NO_HANDLE;
    call_seed seed = {client, ask, requester, data};
    bool lacks_body = ask->has_length && !ask->has_body && ask->length > 0;
    int error = lacks_body ? ROTOR_EBODY : rotor__add_now(client->loop, &call_type, &seed, &handle);
    if (error)
        rotor_http_ask_fini(ask);
    else /* to begin when this has returned, and the transition that it is called from */
        rotor__machine_soon(rotor_find(client->loop, handle));
    if (call)
        *call = handle;
    return error;
}

rotor_http_call *rotor_http_call_find(rotor_loop *loop, rotor_handle handle)
{
    rotor_machine *m = rotor_find(loop, handle);
    return m && m->type == &call_type && !of(m)->over ? of(m) : NULL;
}
