/* What happens on a connection of the server: heads and bodies are read, the handler is called, and what
** it returns is done. See request.c and respond.c for what a handler may ask. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "private.h"

enum { FIRST_BYTES = 1, LINGER_MS = 1000, LAST_MS = 100 };

static uint64_t in_ms(const rotor_scope *scope, uint32_t ms)
{
    return rotor_now(scope) + ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* -- the exchange ------------------------------------------------------------------------------ */

/* A request that is answered before its dispatch ends lives in the server's one exchange; one that
** takes longer gets memory of its own. */

static bool is_method(const rotor_http *h, const char *name, size_t len)
{
    rotor_http_span method = h->exchange->head.method;
    return method.len == len &&
           memcmp(rotor_buf_data(&h->stream.input) + method.at, name, len) == 0;
}

static inline void begin_exchange(rotor_http *h, rotor_http__exchange *x, size_t head_len)
{
    h->state = HTTP__BODY;
    h->exchange = x;
    x->head_len = x->size = head_len;
    x->body_len = 0;
    x->notes = (rotor_http__notes){0};
    x->data = NULL;
    x->deadline = ROTOR_NEVER;
    x->response = (rotor_http_response){.keep_alive = x->head.keep_alive, .minor = x->head.minor};
    if (is_method(h, "HEAD", 4)) {
        x->response.to_head = true;
    } else if (is_method(h, "CONNECT", 7)) {
        /* What follows may be meant for a tunnel, and is never to be taken for a request. */
        x->response.to_connect = true;
        x->response.keep_alive = false;
    }
    if (rotor_http__server(h)->records)
        rotor_http__begin_record(h);
}

/* Give back what few requests have. */
static __attribute__((noinline)) void release_rest(rotor_http__exchange *x)
{
    if (x->notes.trailed)
        rotor_free(x->trailers);
    if (x->notes.then == HTTP__THEN_FILE)
        close(x->file);
    if (x->notes.then == HTTP__THEN_PROTOCOL && x->next.release)
        x->next.release(x->next.seed);
}

/* The request is over: tell whoever wants to know, when nothing can be sent any more, nor the request
** found; and give its memory back. */
static inline void end_exchange(rotor_http *h)
{
    const rotor_http_server *server = rotor_http__server(h);
    rotor_http__exchange *x = h->exchange;
    h->state = HTTP__CLOSING;
    if (server->records)
        rotor_http__record(h);
    if (server->handler->request_over && x->notes.told)
        server->handler->request_over(h);
    h->serial++;
    if (x->response.headers.block)
        rotor_http_response_fini(&x->response);
    if (x->notes.trailed || x->notes.then)
        release_rest(x);
    if (x != server->shared)
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

/* End in the middle of a response that was begun, so that the client sees that it is not whole. Where
** only its end would tell, nothing but a reset does. */
static rotor_intent cut_off(rotor_http *h)
{
    const rotor_http_response *r = &h->exchange->response;
    bool is_framed = r->chunked || r->has_length;
    end_exchange(h);
    return is_framed ? close_gently(h) : rotor_intent_abort();
}

/* An answer to HEAD has no body, also when the head was refused before it was understood. */
static bool is_to_head(const rotor_http *h)
{
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

/* An exchange of which nothing is known. */
static void begin_blank(rotor_http *h)
{
    bool to_head = is_to_head(h);
    rotor_http__exchange *x = rotor_http__server(h)->shared;
    x->head = (rotor_http_head){.fields = x->fields, .minor = 1, .keep_alive = true};
    begin_exchange(h, x, rotor_buf_len(&h->stream.input));
    x->response.to_head = to_head;
}

static rotor_intent answered(rotor_http *h, rotor_scope *scope);

/* A page of the server's own. */
static int send_page(rotor_http *h, int status, const char *why)
{
    char text[256];
    int len = snprintf(text, sizeof text, "%d %s%s%s\n", status, rotor_http_reason(status),
                       why ? ": " : "", why ? why : "");
    int error = rotor_http_add_text(h, "Content-Type", "text/plain");
    return error ? error : rotor_http_send(h, status, (rotor_text){text, (size_t)len});
}

/* Answer on the server's own account, then close: nothing of what else was sent is looked at. */
static __attribute__((noinline)) rotor_intent refuse(rotor_http *h, rotor_scope *scope, int status,
                                                     const char *why)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (!rotor_http__has_exchange(h))
        begin_blank(h);
    rotor_http_response *r = &h->exchange->response;
    h->state = HTTP__CALLING;
    if (!r->started) {
        rotor_http_response_fini(r);
        *r = (rotor_http_response){.minor = 1, .to_head = r->to_head};
        if (handler->error_page) {
            h->exchange->notes.told = true;
            handler->error_page(h, scope, status, why);
        }
    }
    int error = r->started ? 0 : send_page(h, status, why);
    if (r->started && !r->sent)
        return cut_off(h);
    if (h->exchange->notes.then)
        return answered(h, scope);
    end_exchange(h);
    return error && error != ROTOR_ECLOSED ? rotor_intent_error(error) : close_gently(h);
}

static rotor_intent refuse_error(rotor_http *h, rotor_scope *scope, int error)
{
    return refuse(h, scope, rotor_http_error_status(error),
                  error == UV_ENOMEM ? NULL : rotor_strerror(error));
}

/* The message is at fault. */
static __attribute__((noinline)) rotor_intent refuse_message(rotor_http *h, rotor_scope *scope,
                                                             int error)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (handler->bad_request) {
        if (!rotor_http__has_exchange(h))
            begin_blank(h);
        rotor_http_response *r = &h->exchange->response;
        r->keep_alive = false;
        h->state = HTTP__CALLING;
        h->exchange->notes.told = true;
        handler->bad_request(h, scope, error);
    }
    return error == ROTOR_EEOF ? refuse(h, scope, 400, rotor_strerror(error))
                               : refuse_error(h, scope, error);
}

/* -- what the handler says --------------------------------------------------------------------- */

static rotor_intent read_body(rotor_http *h, rotor_scope *scope);
static rotor_intent feed(rotor_http *h, rotor_scope *scope);

static __attribute__((noinline)) rotor_intent last_request(rotor_http *h)
{
    const rotor_http__exchange *x = h->exchange;
    /* A client that has said that it sends no more, and kept to it, needs no care. */
    bool harmless = !x->head.keep_alive && !x->notes.reading &&
                    rotor_buf_len(rotor_stream_input(&h->stream)) == x->size;
    end_exchange(h);
    return harmless ? rotor_intent_done() : close_gently(h);
}

/* The answer came before the end of the body, which is skipped if it is there. */
static __attribute__((noinline)) void skip_body(rotor_http *h)
{
    rotor_http__exchange *x = h->exchange;
    if (rotor_http__is_all_there(h))
        x->size += (size_t)(x->head.content_length - x->body_total);
    else
        x->response.keep_alive = false;
}

static inline __attribute__((always_inline)) rotor_intent next_request(rotor_http *h,
                                                                       rotor_scope *scope)
{
    const rotor_http__exchange *x = h->exchange;
    if (x->notes.reading)
        skip_body(h);
    if (!x->response.keep_alive)
        return last_request(h);
    size_t size = x->size;
    end_exchange(h);
    rotor_buf_consume(rotor_stream_input(&h->stream), size);
    h->state = HTTP__HEAD;
    return rotor_intent_until(rotor_expect_bytes(FIRST_BYTES),
                              in_ms(scope, rotor_http__server(h)->idle_ms));
}

/* Nothing more is read or told until the file is sent. */
static rotor_intent send_file(rotor_http *h, rotor_scope *scope)
{
    if (rotor_http__exchange_keep(h))
        return cut_off(h);
    h->state = HTTP__SENDING;
    rotor_stream_pull(&h->stream);
    return rotor_expect_flush(0);
}

/* HTTP is over; the request is in the way of what comes next. */
static rotor_intent pass_on(rotor_http *h)
{
    rotor_http__exchange *x = h->exchange;
    rotor_intent intent = rotor_intent_pass(&x->next);
    size_t size = x->size;
    x->notes.then = HTTP__THEN_REQUEST; /* it is not this exchange's any more */
    end_exchange(h);
    rotor_buf_consume(rotor_stream_input(&h->stream), size);
    return intent;
}

/* The request is answered. */
static __attribute__((noinline)) rotor_intent answered(rotor_http *h, rotor_scope *scope)
{
    switch (h->exchange->notes.then) {
    case HTTP__THEN_FILE:
        return send_file(h, scope);
    case HTTP__THEN_PROTOCOL:
        return pass_on(h);
    default:
        return next_request(h, scope);
    }
}

static void report(rotor_http *h, int error)
{
    rotor_loop *loop = h->stream.machine.loop;
    if (loop->config.on_error)
        loop->config.on_error(loop, &h->stream.machine, error < 0 ? error : ROTOR_EUNEXPECTED);
}

/* Expect what the handler waits for. */
static rotor_intent wait_on(rotor_http *h, rotor_scope *scope)
{
    rotor_http__exchange *x = h->exchange;
    bool feeding = x->notes.reading && !x->notes.held;
    uint64_t deadline = x->deadline;
    rotor_intent intent = rotor_intent_sleep();
    if (feeding) {
        intent = rotor_expect_bytes(rotor_buf_len(rotor_stream_input(&h->stream)) + 1);
        deadline = earlier(deadline, x->body_deadline);
    } else if (deadline == ROTOR_NEVER && x->mark == 0) {
        deadline = x->deadline = in_ms(scope, rotor_http__server(h)->handler_ms);
    }
    intent = rotor_intent_until(intent, deadline);
    intent.flush = x->mark;
    return intent;
}

/* The handler waits, with the request still open. */
static __attribute__((noinline)) rotor_intent wait_as_told(rotor_http *h, rotor_scope *scope,
                                                           rotor_response r)
{
    bool waited = h->exchange != rotor_http__server(h)->shared, resumed = false;
    if (rotor_http__exchange_keep(h))
        return refuse_error(h, scope, UV_ENOMEM);
    rotor_http__exchange *x = h->exchange;
    x->mark = waited ? h->stream.intent.flush : 0;
    if (r.kind == ROTOR_OK) {
        resumed = x->notes.held && !(r.error & ROTOR_HTTP__HELD);
        x->deadline = r.deadline;
        x->notes.held = r.error & ROTOR_HTTP__HELD;
        x->mark = (uint32_t)(r.error & ROTOR_HTTP__MARK);
    }
    if (x->notes.reading && !x->notes.progressive) {
        h->state = HTTP__BODY;
        return read_body(h, scope);
    }
    h->state = HTTP__WAITING;
    if (resumed) /* the client could not go on meanwhile */
        x->body_since = 0;
    if (x->notes.reading && !x->notes.held && (x->notes.ended || resumed))
        return feed(h, scope);
    return wait_on(h, scope);
}

/* Do what a transition of the handler has said. */
static __attribute__((noinline)) rotor_intent settle(rotor_http *h, rotor_scope *scope,
                                                     rotor_response r)
{
    rotor_http_response *response = &h->exchange->response;
    if (r.kind == ROTOR_ERROR || r.kind == ROTOR_SPAWN) {
        report(h, r.kind == ROTOR_ERROR ? r.error : 0);
        response->keep_alive = false;
    }
    if (response->sent)
        return answered(h, scope);
    if (r.kind == ROTOR_OK || r.kind == ROTOR_SAME)
        return wait_as_told(h, scope, r);
    return response->started ? cut_off(h) : refuse(h, scope, 500, NULL);
}

static rotor_intent call(rotor_http *h, rotor_scope *scope,
                         rotor_response (*transition)(rotor_http *, rotor_scope *))
{
    h->state = HTTP__CALLING;
    h->exchange->notes.told = true;
    return settle(h, scope, transition ? transition(h, scope) : rotor_error(ROTOR_EUNEXPECTED));
}

/* All of the request is there. */
static inline __attribute__((always_inline)) rotor_intent handle(rotor_http *h, rotor_scope *scope)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    rotor_http__exchange *x = h->exchange;
    if (!handler->request_received)
        return settle(h, scope, rotor_error(ROTOR_EUNEXPECTED));
    h->state = HTTP__CALLING;
    x->notes.told = true;
    rotor_response r = handler->request_received(h, scope);
    if (r.kind == ROTOR_DONE && x->response.sent && !x->notes.then) /* as nearly always */
        return next_request(h, scope);
    return settle(h, scope, r);
}

/* -- bodies ------------------------------------------------------------------------------------ */

/* Some of the body has come, or it begins: when more must have. Progress alone is not enough: a byte every
** 29 seconds would hold the connection for ever. */
static void time_body(rotor_http *h, rotor_scope *scope, size_t n)
{
    rotor_http__exchange *x = h->exchange;
    const rotor_http_server *server = rotor_http__server(h);
    uint64_t now = rotor_now(scope);
    if (x->body_since == 0) {
        x->body_since = now;
        x->body_seen = 0;
    }
    x->body_seen += n;
    uint64_t latest = x->body_since + server->body_ms + x->body_seen * 1000 / server->body_rate;
    x->body_deadline = earlier(latest, now + server->body_ms);
}

/* A client that waits for it is told to go on. */
static int go_on(rotor_http *h)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    rotor_http__exchange *x = h->exchange;
    bool wanted = x->notes.expected && !x->response.started &&
                  rotor_buf_len(rotor_stream_input(&h->stream)) == x->head_len;
    x->notes.expected = false;
    return wanted ? rotor_stream_write(&h->stream, text, sizeof text - 1) : 0;
}

/* The fields of the trailer section, for whoever wants to see them. 0 or UV_ENOMEM. */
static int keep_trailers(rotor_http__exchange *x, const char *data)
{
    const char *section = data + x->head_len + x->body_len;
    size_t len = x->size - x->head_len - x->body_len;
    ptrdiff_t n = rotor_http_parse_trailers(NULL, 0, section, len);
    if (n <= 0)
        return (int)n;
    x->trailers = rotor_alloc((size_t)n * sizeof *x->trailers);
    if (!x->trailers)
        return UV_ENOMEM;
    x->notes.trailed = true;
    x->ntrailers = (size_t)n;
    (void)rotor_http_parse_trailers(x->trailers, x->ntrailers, section, len);
    return 0;
}

/* Decode what has come of the body, behind what is there of it, and count that in `*got`. 0 or an error;
** x->notes.ended says whether that is all of it. */
static int decode(rotor_http *h, size_t *got)
{
    rotor_http__exchange *x = h->exchange;
    rotor_buf *input = rotor_stream_input(&h->stream);
    size_t before = x->size, have = rotor_buf_len(input) - before, body = have, trailers = 0;
    ptrdiff_t n = ROTOR_MORE;
    if (x->head.chunked) {
        n = rotor_http_chunked_decode(&x->chunked, rotor_buf_data(input) + before, have,
                                      &rotor_http__server(h)->limits, x->body_max, &body,
                                      &trailers);
        if (n < 0)
            return (int)n;
        x->notes.ended = n != ROTOR_MORE;
        size_t used = before + body + trailers;
        if (n == ROTOR_MORE)
            rotor_buf_truncate(input, used);
        else
            rotor_buf_remove_range(input, used, before + (size_t)n);
    } else {
        uint64_t left = x->head.content_length - x->body_total;
        if (body > left)
            body = (size_t)left;
        x->notes.ended = body == left;
    }
    x->body_len += body;
    x->body_total += body;
    *got = body + trailers;
    x->size += *got;
    bool trailed = x->notes.ended && x->size > x->head_len + x->body_len;
    return trailed ? keep_trailers(x, rotor_buf_data(input)) : 0;
}

/* Read a body that is to be told whole. */
static __attribute__((noinline)) rotor_intent read_body(rotor_http *h, rotor_scope *scope)
{
    size_t got = 0;
    int error = go_on(h);
    if (error)
        return refuse_error(h, scope, error);
    error = decode(h, &got);
    if (error)
        return refuse_message(h, scope, error);
    if (h->exchange->notes.ended) {
        h->exchange->notes.reading = false;
        return handle(h, scope);
    }
    if (rotor_http__exchange_keep(h))
        return refuse_error(h, scope, UV_ENOMEM);
    time_body(h, scope, got);
    const rotor_http__exchange *x = h->exchange;
    size_t have = rotor_buf_len(rotor_stream_input(&h->stream));
    return rotor_intent_until(rotor_expect_bytes(have + 1), earlier(x->body_deadline, x->deadline));
}

/* Tell what has come of a body that is told as it comes. */
static __attribute__((noinline)) rotor_intent feed(rotor_http *h, rotor_scope *scope)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    rotor_http__exchange *x = h->exchange;
    rotor_buf *input = rotor_stream_input(&h->stream);
    size_t got = 0;
    int error = x->notes.ended ? 0 : go_on(h);
    if (error)
        return refuse_error(h, scope, error);
    error = x->notes.ended ? 0 : decode(h, &got);
    if (error)
        return refuse_message(h, scope, error);
    time_body(h, scope, got);
    if (x->body_len > 0) {
        rotor_text data = {rotor_buf_data(input) + x->head_len, x->body_len};
        h->state = HTTP__CALLING;
        rotor_response r = handler->request_chunk ? handler->request_chunk(h, scope, data)
                                                  : rotor_error(ROTOR_EUNEXPECTED);
        x = h->exchange; /* it may have moved */
        rotor_buf_remove_range(input, x->head_len, x->head_len + x->body_len);
        x->size -= x->body_len;
        x->body_len = 0;
        return settle(h, scope, r);
    }
    if (x->notes.ended) {
        x->notes.reading = false;
        return call(h, scope, handler->request_end);
    }
    if (rotor_http__exchange_keep(h))
        return refuse_error(h, scope, UV_ENOMEM);
    h->state = HTTP__WAITING;
    return wait_on(h, scope);
}

/* -- heads ------------------------------------------------------------------------------------- */

/* A request with a body, or one whose handler wants to be asked how to receive it. */
static __attribute__((noinline)) rotor_intent receive(rotor_http *h, rotor_scope *scope)
{
    const rotor_http_server *server = rotor_http__server(h);
    const rotor_http_handler *handler = server->handler;
    rotor_http__exchange *x = h->exchange;
    rotor_http_receive how =
        handler->request_received ? rotor_http_buffered(0) : rotor_http_progressive(0);
    x->body_since = x->body_seen = x->body_total = 0;
    x->mark = 0;
    x->chunked = (rotor_http_chunked){0};
    x->notes.expected = x->head.expect_continue && rotor_http_has_body(h);
    x->notes.reading = true;
    if (handler->headers_received) {
        h->state = HTTP__CALLING;
        x->notes.told = true;
        how = handler->headers_received(h, scope);
        x = h->exchange;
    }
    if (how.kind == ROTOR_HTTP_ANSWERED || x->response.sent)
        return settle(h, scope, how.error < 0 ? rotor_error(how.error) : rotor_done());
    x->deadline = how.deadline;
    x->body_max = how.max;
    x->notes.progressive = how.kind == ROTOR_HTTP_PROGRESSIVE;
    if (x->body_max == 0)
        x->body_max = x->notes.progressive ? UINT64_MAX : server->limits.body;
    if (x->head.content_length > x->body_max)
        return refuse_message(h, scope, ROTOR_HTTP_EBODYSIZE);
    if (!x->notes.progressive) {
        h->state = HTTP__BODY;
        return read_body(h, scope);
    }
    x->notes.told = true;
    x->notes.held = how.error & ROTOR_HTTP__HELD;
    if (!x->notes.held)
        return feed(h, scope);
    rotor_response held = {ROTOR_OK, ROTOR_HTTP__HELD, how.deadline};
    return settle(h, scope, held);
}

static rotor_intent read_head(rotor_http *h, rotor_scope *scope)
{
    rotor_http_server *server = rotor_http__server(h);
    rotor_http__exchange *x = server->shared;
    rotor_buf *input = rotor_stream_input(&h->stream);
    size_t have = rotor_buf_len(input);
    ptrdiff_t n = rotor_http_parse_request(&x->head, rotor_buf_data(input), have, &server->limits,
                                           &h->progress);
    if (n < 0)
        return refuse_message(h, scope, (int)n);
    if (n == ROTOR_MORE) {
        rotor_intent intent = rotor_expect_bytes(have + 1);
        if (h->head_begun) /* the deadline is for the whole head */
            return rotor_intent_until(intent, h->stream.intent.deadline);
        h->head_begun = true;
        return rotor_intent_until(intent, in_ms(scope, server->head_ms));
    }
    h->head_begun = false;
    begin_exchange(h, x, (size_t)n);
    if (server->asks || x->head.chunked || x->head.content_length > 0)
        return receive(h, scope);
    return handle(h, scope);
}

/* -- the protocol ------------------------------------------------------------------------------ */

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_http *h = (rotor_http *)s;
    rotor_http_server *server = rotor_http__server(h);
    server->refs++;
    if (server->metrics) {
        server->metrics->connections++;
        server->metrics->connections_active++;
    }
    h->state = HTTP__HEAD;
    return rotor_intent_until(rotor_expect_bytes(FIRST_BYTES), in_ms(scope, server->head_ms));
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_http *h = (rotor_http *)s;
    if (h->state == HTTP__HEAD)
        return read_head(h, scope);
    return h->state == HTTP__BODY ? read_body(h, scope) : feed(h, scope);
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (h->state == HTTP__SENDING)
        return next_request(h, scope);
    if (h->state == HTTP__WAITING)
        return handler->flushed ? call(h, scope, handler->flushed) : rotor_intent_same();
    return rotor_intent_linger(in_ms(scope, LINGER_MS));
}

/* Whether some of a request is there, but not all of it. */
static bool is_reading(const rotor_http *h)
{
    if (h->state == HTTP__HEAD)
        return h->head_begun;
    return h->state >= HTTP__BODY && h->exchange->notes.reading;
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    if (h->state == HTTP__HEAD && !h->head_begun && rotor_http__server(h)->draining)
        /* Not at once, as a request may be on its way. */
        return rotor_intent_until(s->intent, in_ms(scope, LAST_MS));
    if (!rotor_http__is_handled(h) || h->state >= HTTP__SENDING)
        return rotor_intent_same();
    if (h->exchange->response.sent)
        return answered(h, scope);
    return handler->wakeup ? call(h, scope, handler->wakeup) : rotor_intent_same();
}

/* How long a client may take for what it has to send next. */
static uint32_t patience(const rotor_http *h)
{
    if (h->state >= HTTP__BODY)
        return rotor_http__server(h)->body_ms;
    return h->head_begun ? rotor_http__server(h)->head_ms : rotor_http__server(h)->idle_ms;
}

/* The handler's deadline has passed. */
static rotor_intent handler_is_late(rotor_http *h, rotor_scope *scope)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    h->exchange->deadline = ROTOR_NEVER;
    return handler->timeout ? call(h, scope, handler->timeout) : refuse(h, scope, 503, NULL);
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    if (rotor_http__has_exchange(h) && h->state < HTTP__SENDING) {
        if (h->exchange->response.sent)
            return answered(h, scope);
        if (h->exchange->deadline <= rotor_now(scope))
            return handler_is_late(h, scope);
    }
    if (!is_reading(h) && rotor_http__server(h)->draining)
        return rotor_stream_unsent(s) > 0 ? close_gently(h) : rotor_intent_done();
    /* Reading may have stopped for answers that the client is slow to take; stall_ms bounds that. */
    if (rotor_stream_unsent(s) > 0)
        return rotor_intent_until(s->intent, in_ms(scope, patience(h)));
    return is_reading(h) ? refuse(h, scope, 408, NULL) : rotor_intent_done();
}

static rotor_intent on_hangup(rotor_stream *s, rotor_scope *scope)
{
    rotor_http *h = (rotor_http *)s;
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    bool told = h->state == HTTP__WAITING && handler->hangup && !h->exchange->response.sent;
    return told ? call(h, scope, handler->hangup) : rotor_intent_same();
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_http *h = (rotor_http *)s;
    /* The client has closed its direction only; it may still read why. */
    return is_reading(h) ? refuse_message(h, scope, reason) : rotor_intent_done();
}

/* Before the input is given up, so that request_over can still look at its request. */
static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    rotor_http *h = (rotor_http *)s;
    if (rotor_http__has_exchange(h))
        end_exchange(h);
}

static void on_drop(rotor_stream *s)
{
    rotor_http *h = (rotor_http *)s;
    if (rotor_http__has_exchange(h))
        end_exchange(h);
    if (rotor_http__server(h)->metrics)
        rotor_http__server(h)->metrics->connections_active--;
    rotor_http_server_release(rotor_http__server(h));
}

const rotor_protocol rotor_http__connection = {
    .size = sizeof(rotor_http),
    .create = on_create,
    .bytes_read = on_bytes_read,
    .bytes_flushed = on_bytes_flushed,
    .timeout = on_timeout,
    .wakeup = on_wakeup,
    .hangup = on_hangup,
    .exception = on_exception,
    .fatal = on_fatal,
    .drop = on_drop,
    .pull = rotor_http__pull,
    .describe = rotor_http__describe,
};
