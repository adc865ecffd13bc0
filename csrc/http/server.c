/* The HTTP/1 server: what happens on a connection. See request.c for what a handler may ask. */
#include <stdio.h>
#include <string.h>

#include "private.h"

enum {
    FIRST_BYTES = 1,
    TURNS = 64, /* said rather than left to the default, as it is looked at for each request */
    SCRATCH = 4096,
    LINGER_MS = 2000,
    LAST_MS = 100,
    HEAD_MS = 10000,
    BODY_MS = 30000,
    BODY_RATE = 500,
    HANDLER_MS = 30000,
    IDLE_MS = 60000
};

static uint64_t in_ms(const rotor_scope *scope, uint32_t ms)
{
    return rotor_now(scope) + ms;
}

/* -- the exchange ------------------------------------------------------------------------------ */

/* A request that is answered before its dispatch ends lives in the server's one exchange; one that
** takes longer gets memory of its own. */

static bool has_exchange(const rotor_http *h)
{
    return h->state == HTTP__BODY || rotor_http__is_handled(h);
}

static bool is_method(const rotor_http *h, const char *name, size_t len)
{
    rotor_http_span method = h->exchange->head.method;
    return method.len == len &&
           memcmp(rotor_buf_data(&h->stream.input) + method.at, name, len) == 0;
}

static void begin_exchange(rotor_http *h, rotor_http__exchange *x)
{
    h->state = HTTP__BODY;
    h->exchange = x;
    x->body_len = 0;
    x->data = NULL;
    x->response = (rotor_http_response){.keep_alive = x->head.keep_alive, .minor = x->head.minor};
    if (is_method(h, "HEAD", 4)) {
        x->response.to_head = true;
    } else if (is_method(h, "CONNECT", 7)) {
        /* What follows may be meant for a tunnel, and is never to be taken for a request. */
        x->response.to_connect = true;
        x->response.keep_alive = false;
    }
}

static inline void end_exchange(rotor_http *h)
{
    rotor_http__exchange *x = h->exchange;
    bool handled = rotor_http__is_handled(h);
    h->state = HTTP__CLOSING; /* request_over can send nothing more, nor find the request */
    if (handled && rotor_http__server(h)->handler->request_over)
        rotor_http__server(h)->handler->request_over(h);
    h->serial++;
    if (x->response.headers.block)
        rotor_http_response_fini(&x->response);
    if (x != rotor_http__server(h)->shared)
        rotor_free(x);
    h->progress = (rotor_http_progress){0};
}

/* -- closing ----------------------------------------------------------------------------------- */

/* Send what there is, half-close, and drop what still comes for a short time: closing at once might
** take the last answer from a client that goes on sending (RFC 9112 section 9.6). */
static rotor_intent close_gently(rotor_http *h)
{
    h->state = HTTP__CLOSING;
    return rotor_expect_flush(0);
}

/* An answer to HEAD has no body, also when the head was refused before it was understood. */
static bool is_to_head(const rotor_http *h)
{
    if (has_exchange(h))
        return h->exchange->response.to_head;
    const char *p = rotor_buf_data(&h->stream.input);
    size_t len = rotor_buf_len(&h->stream.input);
    for (uint32_t i = 0; i < rotor_http__server(h)->limits.empty_lines; i++) {
        if (len < 2 || memcmp(p, "\r\n", 2) != 0)
            break;
        p += 2;
        len -= 2;
    }
    return len >= 5 && memcmp(p, "HEAD ", 5) == 0;
}

/* Answer on the server's own account, then close: nothing of what else was sent is looked at. */
static rotor_intent refuse(rotor_http *h, rotor_scope *scope, int status, const char *why)
{
    rotor_http_response r = {.minor = 1, .to_head = is_to_head(h)};
    char text[256];
    int len = snprintf(text, sizeof text, "%d %s%s%s\n", status, rotor_http_reason(status),
                       why ? ": " : "", why ? why : "");
    if (has_exchange(h))
        end_exchange(h);
    rotor_buf *output = rotor_stream_output(&h->stream);
    r.date = rotor_http__date(rotor_http__server(h), scope->loop);
    rotor_buf_lend(&r.headers, rotor_http__server(h)->scratch);
    int error = rotor_http_response_add(&r, (rotor_text){"Content-Type", 12},
                                        (rotor_text){"text/plain", 10});
    if (!error && output)
        error = rotor_http_response_send(&r, output, status, (rotor_text){text, (size_t)len});
    rotor_http_response_fini(&r);
    return error ? rotor_intent_error(error) : close_gently(h);
}

static rotor_intent refuse_error(rotor_http *h, rotor_scope *scope, int error)
{
    return refuse(h, scope, rotor_http_error_status(error),
                  error == UV_ENOMEM ? NULL : rotor_strerror(error));
}

/* -- the handler ------------------------------------------------------------------------------- */

static rotor_intent last_request(rotor_http *h)
{
    const rotor_http__exchange *x = h->exchange;
    size_t have = rotor_buf_len(rotor_stream_input(&h->stream));
    /* A client that has said that it sends no more, and kept to it, needs no care. */
    bool harmless = !x->head.keep_alive && have == x->head_len + x->body_len;
    end_exchange(h);
    return harmless ? rotor_intent_done() : close_gently(h);
}

static rotor_intent next_request(rotor_http *h, rotor_scope *scope)
{
    const rotor_http__exchange *x = h->exchange;
    size_t size = x->head_len + x->body_len;
    if (!x->response.keep_alive)
        return last_request(h);
    end_exchange(h);
    rotor_buf_consume(rotor_stream_input(&h->stream), size);
    h->state = HTTP__HEAD;
    return rotor_intent_until(rotor_expect_bytes(FIRST_BYTES),
                              in_ms(scope, rotor_http__server(h)->idle_ms));
}

static void report(rotor_http *h, rotor_response r)
{
    rotor_loop *loop = h->stream.machine.loop;
    int error = r.kind == ROTOR_ERROR && r.error < 0 ? r.error : ROTOR_EUNEXPECTED;
    if (loop->config.on_error)
        loop->config.on_error(loop, &h->stream.machine, error);
}

/* Do what a transition of the handler has said. */
static rotor_intent settle(rotor_http *h, rotor_scope *scope, rotor_response r)
{
    rotor_http_response *response = &h->exchange->response;
    if (r.kind == ROTOR_ERROR || r.kind == ROTOR_SPAWN) {
        report(h, r);
        response->keep_alive = false;
    }
    if (response->sent)
        return next_request(h, scope);
    if (r.kind != ROTOR_OK && r.kind != ROTOR_SAME)
        return refuse(h, scope, 500, NULL);
    if (rotor_http__exchange_keep(h))
        return refuse_error(h, scope, UV_ENOMEM);
    h->state = HTTP__WAITING;
    uint64_t deadline = r.deadline;
    if (r.kind == ROTOR_SAME) /* it may not have waited yet */
        deadline =
            h->stream.intent.kind == ROTOR_INTENT_SLEEP ? h->stream.intent.deadline : ROTOR_NEVER;
    if (deadline == ROTOR_NEVER)
        deadline = in_ms(scope, rotor_http__server(h)->handler_ms);
    return rotor_intent_until(rotor_intent_sleep(), deadline);
}

static rotor_intent call(rotor_http *h, rotor_scope *scope,
                         rotor_response (*transition)(rotor_http *, rotor_scope *))
{
    h->state = HTTP__CALLING;
    return settle(h, scope, transition(h, scope));
}

static rotor_intent handle(rotor_http *h, rotor_scope *scope)
{
    return call(h, scope, rotor_http__server(h)->handler->request_received);
}

/* -- bodies ------------------------------------------------------------------------------------ */

static rotor_intent await_body(rotor_http *h, rotor_scope *scope)
{
    rotor_http__exchange *x = h->exchange;
    uint64_t now = rotor_now(scope);
    if (x == rotor_http__server(h)->shared) {
        if (rotor_http__exchange_keep(h))
            return refuse_error(h, scope, UV_ENOMEM);
        x = h->exchange;
        x->body_since = now;
    }
    size_t have = rotor_buf_len(rotor_stream_input(&h->stream));
    /* Progress alone is not enough: a byte every 29 seconds would hold the connection for ever. */
    uint64_t latest = x->body_since + rotor_http__server(h)->body_ms +
                      (uint64_t)(have - x->head_len) * 1000 / rotor_http__server(h)->body_rate;
    uint64_t deadline = now + rotor_http__server(h)->body_ms;
    return rotor_intent_until(rotor_expect_bytes(have + 1), latest < deadline ? latest : deadline);
}

static rotor_intent read_chunked(rotor_http *h, rotor_scope *scope)
{
    rotor_http__exchange *x = h->exchange;
    rotor_buf *input = rotor_stream_input(&h->stream);
    size_t before = x->head_len + x->body_len; /* the head, and what was decoded already */
    const rotor_http_limits *limits = &rotor_http__server(h)->limits;
    size_t body;
    ptrdiff_t n =
        rotor_http_chunked_decode(&x->chunked, rotor_buf_data(input) + before,
                                  rotor_buf_len(input) - before, limits, limits->body, &body, NULL);
    if (n < 0)
        return refuse_error(h, scope, (int)n);
    x->body_len += body;
    if (n == ROTOR_MORE) {
        rotor_buf_truncate(input, before + body);
        return await_body(h, scope);
    }
    rotor_buf_remove_range(input, before + body, before + (size_t)n);
    return handle(h, scope);
}

static rotor_intent read_body(rotor_http *h, rotor_scope *scope)
{
    rotor_http__exchange *x = h->exchange;
    if (x->head.chunked)
        return read_chunked(h, scope);
    if (rotor_buf_len(rotor_stream_input(&h->stream)) - x->head_len < x->head.content_length)
        return await_body(h, scope);
    x->body_len = (size_t)x->head.content_length;
    return handle(h, scope);
}

/* -- heads ------------------------------------------------------------------------------------- */

static rotor_intent read_head(rotor_http *h, rotor_scope *scope)
{
    rotor_http_server *server = rotor_http__server(h);
    rotor_http__exchange *x = server->shared;
    rotor_buf *input = rotor_stream_input(&h->stream);
    size_t have = rotor_buf_len(input);
    ptrdiff_t n = rotor_http_parse_request(&x->head, rotor_buf_data(input), have, &server->limits,
                                           &h->progress);
    if (n < 0)
        return refuse_error(h, scope, (int)n);
    if (n == ROTOR_MORE) {
        rotor_intent intent = rotor_expect_bytes(have + 1);
        if (h->head_begun) /* the deadline is for the whole head */
            return rotor_intent_until(intent, h->stream.intent.deadline);
        h->head_begun = true;
        return rotor_intent_until(intent, in_ms(scope, server->head_ms));
    }
    h->head_begun = false;
    begin_exchange(h, x);
    x->head_len = (size_t)n;
    if (!x->head.chunked && x->head.content_length == 0)
        return handle(h, scope);
    x->chunked = (rotor_http_chunked){0};
    if (x->head.content_length > server->limits.body)
        return refuse_error(h, scope, ROTOR_HTTP_EBODYSIZE);
    if (x->head.expect_continue && have == (size_t)n) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        int error = rotor_stream_write(&h->stream, go_on, sizeof go_on - 1);
        if (error)
            return refuse_error(h, scope, error);
    }
    return read_body(h, scope);
}

/* -- the protocol ------------------------------------------------------------------------------ */

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_http *h = (rotor_http *)s;
    rotor_http__server(h)->refs++;
    h->state = HTTP__HEAD;
    return rotor_intent_until(rotor_expect_bytes(FIRST_BYTES),
                              in_ms(scope, rotor_http__server(h)->head_ms));
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_http *h = (rotor_http *)s;
    return h->state == HTTP__BODY ? read_body(h, scope) : read_head(h, scope);
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    return rotor_intent_linger(in_ms(scope, LINGER_MS));
}

/* Whether some of a request is there, but not all of it. */
static bool is_reading(const rotor_http *h)
{
    return h->state == HTTP__BODY || (h->state == HTTP__HEAD && h->head_begun);
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (h->state == HTTP__HEAD && !h->head_begun && rotor_http__server(h)->draining)
        /* Not at once, as a request may be on its way. */
        return rotor_intent_until(s->intent, in_ms(scope, LAST_MS));
    if (h->state != HTTP__WAITING)
        return rotor_intent_same();
    if (h->exchange->response.sent)
        return settle(h, scope, rotor_done());
    return handler->wakeup ? call(h, scope, handler->wakeup) : rotor_intent_same();
}

/* How long a client may take for what it has to send next. */
static uint32_t patience(const rotor_http *h)
{
    if (h->state == HTTP__BODY)
        return rotor_http__server(h)->body_ms;
    return h->head_begun ? rotor_http__server(h)->head_ms : rotor_http__server(h)->idle_ms;
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (h->state == HTTP__WAITING) {
        if (h->exchange->response.sent)
            return settle(h, scope, rotor_done());
        return handler->timeout ? call(h, scope, handler->timeout) : refuse(h, scope, 503, NULL);
    }
    if (!is_reading(h) && rotor_http__server(h)->draining)
        return rotor_stream_unsent(s) > 0 ? close_gently(h) : rotor_intent_done();
    /* Reading may have stopped for answers that the client is slow to take; stall_ms bounds that. */
    if (rotor_stream_unsent(s) > 0)
        return rotor_intent_until(s->intent, in_ms(scope, patience(h)));
    return is_reading(h) ? refuse(h, scope, 408, NULL) : rotor_intent_done();
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_http *h = (rotor_http *)s;
    /* The client has closed its direction only; it may still read why. */
    return is_reading(h) ? refuse(h, scope, 400, rotor_strerror(reason)) : rotor_intent_done();
}

/* Before the input is given up, so that request_over can still look at its request. */
static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    rotor_http *h = (rotor_http *)s;
    if (has_exchange(h))
        end_exchange(h);
}

static void on_drop(rotor_stream *s)
{
    rotor_http *h = (rotor_http *)s;
    if (has_exchange(h))
        end_exchange(h);
    rotor_http_server_release(rotor_http__server(h));
}

/* -- the server -------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t given, uint32_t usual)
{
    return given ? given : usual;
}

static void set_limits(rotor_http_limits *limits)
{
    static const rotor_http_limits usual = ROTOR_HTTP_LIMITS_DEFAULT;
    limits->request_line = or_default(limits->request_line, usual.request_line);
    limits->head = or_default(limits->head, usual.head);
    limits->fields = or_default(limits->fields, usual.fields);
    limits->empty_lines = or_default(limits->empty_lines, usual.empty_lines);
    limits->chunk_line = or_default(limits->chunk_line, usual.chunk_line);
    limits->chunk_extensions = or_default(limits->chunk_extensions, usual.chunk_extensions);
    limits->trailers = or_default(limits->trailers, usual.trailers);
    if (!limits->body)
        limits->body = usual.body;
}

rotor_http_server *rotor_http_server_new(const rotor_http_handler *handler,
                                         const rotor_http_config *given)
{
    rotor_http_config config = {0};
    if (given)
        config = *given;
    set_limits(&config.limits);
    rotor_http_server *server = rotor_alloc_zero(sizeof *server);
    rotor_http__exchange *shared = rotor_http__exchange_new(config.limits.fields);
    rotor_block *scratch = rotor_block_new(SCRATCH);
    if (!server || !shared || !scratch) {
        rotor_free(server);
        rotor_free(shared);
        rotor_free(scratch);
        return NULL;
    }
    *server = (rotor_http_server){
        .refs = 1,
        .handler = handler,
        .limits = config.limits,
        .head_ms = or_default(config.head_ms, HEAD_MS),
        .body_ms = or_default(config.body_ms, BODY_MS),
        .body_rate = or_default(config.body_rate, BODY_RATE),
        .handler_ms = or_default(config.handler_ms, HANDLER_MS),
        .idle_ms = or_default(config.idle_ms, IDLE_MS),
        .context = config.context,
        .closed = config.closed,
        .shared = shared,
        .scratch = scratch,
        .protocol = {.name = handler->name,
                     .size = sizeof(rotor_http),
                     .create = on_create,
                     .bytes_read = on_bytes_read,
                     .bytes_flushed = on_bytes_flushed,
                     .timeout = on_timeout,
                     .wakeup = on_wakeup,
                     .exception = on_exception,
                     .fatal = on_fatal,
                     .drop = on_drop,
                     .stall_ms = config.stall_ms,
                     .turns = TURNS},
    };
    return server;
}

void rotor_http_server_release(rotor_http_server *server)
{
    server->refs--;
    if (server->refs == 1 && server->draining) /* only the machine that waits for this holds it */
        (void)rotor_end(server->loop, server->drainer, 0);
    if (server->refs > 0)
        return;
    if (server->closed)
        server->closed(server->context);
    rotor_free(server->shared);
    rotor_free(server->scratch);
    rotor_free(server);
}

const rotor_protocol *rotor_http_protocol(const rotor_http_server *server)
{
    return &server->protocol;
}

bool rotor_http__is_connection(const rotor_stream *s)
{
    return s->protocol->create == on_create;
}

void rotor_http__set_date(rotor_http_server *server, rotor_loop *loop)
{
    uint64_t wall = rotor_loop_wall(loop);
    rotor_http_format_date(server->date, wall);
    server->date_until = rotor_loop_now(loop) + 1000 - wall % 1000;
}

static void on_listener_closed(void *server)
{
    rotor_http_server_release(server);
}

int rotor_http__server_of(rotor_loop *loop, rotor_handle listener, rotor_http_server **server)
{
    const rotor_listen_options *options = rotor__listener_options(loop, listener);
    if (!options)
        return rotor_find(loop, listener) ? UV_EINVAL : ROTOR_ECLOSED;
    if (options->closed != on_listener_closed)
        return UV_EINVAL;
    *server = options->seed;
    return (*server)->draining ? ROTOR_ECLOSED : 0;
}

int rotor_http_serve(rotor_loop *loop, const char *address, const rotor_http_handler *handler,
                     const rotor_http_config *config, rotor_handle *listener)
{
    rotor_http_server *server = rotor_http_server_new(handler, config);
    if (!server)
        return UV_ENOMEM;
    rotor_listen_options options = {0};
    if (config)
        options = config->listen;
    options.seed = server;
    options.closed = on_listener_closed;
    int error = rotor_listen(loop, address, &server->protocol, &options, listener);
    if (error) {
        server->closed = NULL;
        rotor_http_server_release(server);
    }
    return error;
}
