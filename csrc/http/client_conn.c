/* A connection of the client: a protocol that sends one request after the other, each when the response
** to the one before has been read to its end.
**
** The requester's transitions are called from here, in the middle of the connection's own. So what the
** connection does next is not decided on the way but at the end, by `intent`, from the state that is
** left then. */
#include <string.h>

#include "client_private.h"

enum {
    LOW_WATER = 16384, /* output left when more of the body is asked for */
    SKIP_MOST = 65536  /* of a redirect's body: rather that than a new connection */
};

static rotor_http__conn *of(rotor_stream *s)
{
    return (rotor_http__conn *)s;
}

static rotor_buf *input_of(rotor_http__conn *conn)
{
    return rotor_stream_input(&conn->stream);
}

/* -- what is waited for ------------------------------------------------------------------------ */

static rotor_intent intent(const rotor_http__conn *conn)
{
    const rotor_http_call *c = conn->call;
    if (conn->state == CONN__PASSING)
        return rotor_intent_pass(&conn->next);
    if (conn->state == CONN__IDLE)
        return rotor_intent_until(rotor_expect_bytes(1), conn->until);
    if (conn->state == CONN__CLOSED || !c)
        return rotor_intent_abort();
    rotor_intent in = c->held ? rotor_intent_sleep() : rotor_expect_bytes(conn->need);
    if (c->sending == CALL__SENDS && !c->parked)
        in = rotor_and_flush(in, LOW_WATER);
    if (c->sending == CALL__EXPECTS)
        in = rotor_intent_until(in, conn->until);
    return in;
}

void rotor_http__conn_resume(rotor_http__conn *conn)
{
    if (conn->inside || conn->state == CONN__CONNECTING || conn->state == CONN__CLOSED)
        return;
    conn->stream.intent = intent(conn);
    rotor__machine_soon(&conn->stream.machine);
}

/* -- beginning and ending ---------------------------------------------------------------------- */

bool rotor_http__conn_is_quiet(rotor_http__conn *conn)
{
    char byte;
    return rotor_buf_len(input_of(conn)) == 0 &&
           conn->stream.transport->recv(&conn->stream, &byte, 1) == UV_EAGAIN;
}

int rotor_http__conn_begin(rotor_http__conn *conn, rotor_http_call *c)
{
    rotor_buf *output = rotor_stream_output(&conn->stream);
    int error = output ? rotor_http_ask_write(&c->ask, output) : ROTOR_ECLOSED;
    if (error)
        return error;
    conn->reused = conn->state != CONN__CONNECTING;
    conn->state = CONN__HEAD;
    conn->progress = (rotor_http_progress){0};
    conn->answered = conn->ended = false;
    conn->need = 1;
    conn->call = c;
    c->conn = conn;
    c->given = 0;
    c->parked = false;
    c->to_send = c->ask.length;
    if (!c->ask.has_body) {
        c->sending = CALL__SENT;
    } else if (c->ask.expect_continue) {
        c->sending = CALL__EXPECTS;
        conn->until = c->machine.loop->now + c->client->config.continue_ms;
    } else {
        c->sending = CALL__SENDS;
        (void)rotor_http__call_feed(c); /* if it fails, it will again when the head was sent */
    }
    rotor_http__conn_resume(conn);
    return 0;
}

void rotor_http__conn_close(rotor_http__conn *conn)
{
    rotor_http__forget(conn);
    conn->state = CONN__CLOSED;
    if (!conn->inside)
        (void)rotor_end(conn->client->loop, conn->stream.machine.self, 0);
}

/* Take the call from the connection. */
static rotor_http_call *part(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    conn->call = NULL;
    c->conn = NULL;
    return c;
}

/* The connection is of no more use, and the call fails for it. */
static void give_up(rotor_http__conn *conn, int error)
{
    rotor_http_call *c = conn->call ? part(conn) : NULL;
    rotor_http__conn_close(conn);
    if (c)
        rotor_http__call_fail(c, error);
}

/* The connection has broken with `error`, or has ended (ROTOR_EEOF). */
static void lose(rotor_http__conn *conn, int error)
{
    rotor_http_call *c = conn->call;
    bool eof = error == ROTOR_EEOF;
    if (!c) {
        rotor_http__conn_close(conn);
    } else if (conn->state == CONN__HEAD && !conn->answered && conn->reused && !c->retried &&
               rotor_http_ask_is_idempotent(&c->ask) && rotor_http__call_can_repeat(c)) {
        c->retried = true;
        part(conn);
        rotor_http__conn_close(conn);
        error = rotor_http__acquire(c, true);
        if (error)
            rotor_http__call_fail(c, error);
    } else if (eof && conn->state != CONN__CONNECTING) {
        give_up(conn, conn->answered ? ROTOR_HTTP_ETRUNCATED : ROTOR_HTTP_ENORESPONSE);
    } else {
        give_up(conn, error);
    }
}

/* -- the end of a response --------------------------------------------------------------------- */

static int keep_trailers(rotor_http_call *c)
{
    size_t len = rotor_buf_len(&c->received);
    const char *lines = rotor_buf_data(&c->received);
    ptrdiff_t n = len > 0 ? rotor_http_parse_trailers(NULL, 0, lines, len) : 0;
    if (n <= 0)
        return (int)n;
    c->trailers = rotor_alloc((size_t)n * sizeof *c->trailers);
    if (!c->trailers)
        return UV_ENOMEM;
    c->ntrailers = (uint32_t)n;
    (void)rotor_http_parse_trailers(c->trailers, (size_t)n, lines, len);
    return 0;
}

/* All of the response has been read. The connection goes on before the call is told, so that it can serve
** what the call asks for next. */
static void complete(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    const rotor_http_requester *r = c->requester;
    rotor_scope scope = rotor_http__call_scope(c);
    int error = keep_trailers(c);
    if (!error && conn->body_len > 0)
        error = rotor_http__call_take_input(c, input_of(conn), conn->body_len);
    conn->body_len = 0;
    if (error) {
        give_up(conn, error);
        return;
    }
    part(conn);
    if (conn->keep && c->sending == CALL__SENT && rotor_buf_len(input_of(conn)) == 0)
        rotor_http__release(conn);
    else
        rotor_http__conn_close(conn);
    if (c->taking == CALL__SKIPS) {
        rotor_http__call_follow(c);
        return;
    }
    rotor_response (*last)(rotor_http_call *, rotor_scope *) =
        c->taking == CALL__BUFFERS ? r->response_received : r->response_end;
    rotor_response said = last ? last(c, &scope) : rotor_done();
    if (!c->over)
        rotor_http__call_end(c, rotor_http__status_of(said));
}

/* -- bodies ------------------------------------------------------------------------------------ */

static void deliver(rotor_http__conn *conn, rotor_text data)
{
    rotor_http_call *c = conn->call;
    if (data.len > 0 && c->taking == CALL__STREAMS && c->requester->response_chunk) {
        rotor_scope scope = rotor_http__call_scope(c);
        rotor_http__call_heed(c, c->requester->response_chunk(c, &scope, data));
    }
}

static bool is_too_much(const rotor_http__conn *conn, uint64_t len)
{
    const rotor_http_call *c = conn->call;
    return len > (c->taking == CALL__SKIPS ? SKIP_MOST : c->max);
}

/* What is too long to be skipped costs the connection; otherwise the call fails. */
static void refuse_body(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    if (c->taking == CALL__SKIPS) {
        part(conn);
        rotor_http__conn_close(conn);
        rotor_http__call_follow(c);
    } else {
        give_up(conn, ROTOR_HTTP_EBODYSIZE);
    }
}

/* Decode what there is of a chunked body behind the part of it that is kept: `*n` bytes more of it.
** 1: all of it; 0: not yet; or an error. */
static int decode(rotor_http__conn *conn, size_t *n)
{
    rotor_http_call *c = conn->call;
    rotor_buf *input = input_of(conn);
    size_t before = conn->body_len, have = rotor_buf_len(input), trailers;
    char *data = rotor_buf_data(input) + before;
    uint64_t most = c->taking == CALL__SKIPS ? SKIP_MOST : c->max;
    ptrdiff_t used = rotor_http_chunked_decode(&conn->chunked, data, have - before,
                                               &c->client->config.limits, most, n, &trailers);
    if (used < 0)
        return (int)used;
    int error = trailers > 0 ? rotor_buf_extend(&c->received, data + *n, trailers) : 0;
    if (error)
        return error;
    size_t end = used == ROTOR_MORE ? have : before + (size_t)used;
    if (before + *n < end)
        rotor_buf_remove_range(input, before + *n, end);
    return used != ROTOR_MORE;
}

static void read_buffered(rotor_http__conn *conn)
{
    size_t have = rotor_buf_len(input_of(conn)), n;
    int whole = 0;
    switch (conn->framing) {
    case ROTOR_HTTP_CHUNKED:
        whole = decode(conn, &n);
        if (whole >= 0)
            conn->body_len += n;
        have = rotor_buf_len(input_of(conn));
        break;
    case ROTOR_HTTP_LENGTH:
        whole = have >= conn->left;
        conn->body_len = whole ? (size_t)conn->left : 0;
        break;
    default:
        if (is_too_much(conn, have))
            whole = ROTOR_HTTP_EBODYSIZE;
        conn->body_len = have;
    }
    if (whole < 0)
        give_up(conn, whole);
    else if (whole)
        complete(conn);
    else
        conn->need = conn->framing == ROTOR_HTTP_LENGTH ? (size_t)conn->left : have + 1;
}

static void read_progressive(rotor_http__conn *conn)
{
    rotor_buf *input = input_of(conn);
    size_t n = rotor_buf_len(input);
    int whole = 0;
    if (conn->framing == ROTOR_HTTP_CHUNKED) {
        whole = decode(conn, &n);
    } else if (conn->framing == ROTOR_HTTP_LENGTH) {
        if (n > conn->left)
            n = (size_t)conn->left;
        conn->left -= n;
        whole = conn->left == 0;
    } else {
        conn->total += n;
        if (is_too_much(conn, conn->total))
            whole = ROTOR_HTTP_EBODYSIZE;
    }
    if (whole == ROTOR_HTTP_EBODYSIZE) {
        refuse_body(conn);
        return;
    }
    if (whole < 0) {
        give_up(conn, whole);
        return;
    }
    conn->ended = whole;
    rotor_http_call *c = conn->call;
    deliver(conn, (rotor_text){rotor_buf_data(input), n});
    rotor_buf_consume(input, n);
    conn->need = conn->ended ? 0 : 1;
    if (conn->call == c && conn->ended && !c->held)
        complete(conn);
}

static void read_body(rotor_http__conn *conn)
{
    if (conn->ended)
        complete(conn);
    else if (conn->call->taking == CALL__BUFFERS)
        read_buffered(conn);
    else
        read_progressive(conn);
}

/* -- heads ------------------------------------------------------------------------------------- */

static void begin_body(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    uint64_t length = c->head.content_length;
    conn->state = CONN__BODY;
    conn->left = length;
    conn->total = 0;
    conn->body_len = 0;
    conn->chunked = (rotor_http_chunked){0};
    conn->need = 1;
    bool none =
        conn->framing == ROTOR_HTTP_NO_BODY || (conn->framing == ROTOR_HTTP_LENGTH && length == 0);
    if (none) {
        conn->ended = true;
        conn->need = 0;
        if (!c->held)
            complete(conn);
    } else if ((conn->framing == ROTOR_HTTP_LENGTH && is_too_much(conn, length)) ||
               (conn->framing == ROTOR_HTTP_UNTIL_CLOSE && c->taking == CALL__SKIPS)) {
        refuse_body(conn);
    } else if (conn->framing == ROTOR_HTTP_LENGTH && c->taking == CALL__BUFFERS) {
        conn->need = (size_t)length;
    }
}

static bool is_tunnel(const rotor_http_call *c)
{
    int status = c->head.status;
    return status == 101 || (rotor__asks(&c->ask, "CONNECT") && status < 300);
}

/* Whether this is not the last word on the request. A server that does not know what was expected of it
** is asked without (RFC 9110 section 10.1.1). */
static bool is_to_be_followed(const rotor_http_call *c)
{
    if (c->head.status == 417 && c->ask.has_body && c->ask.expect_continue)
        return rotor_http__call_can_repeat(c);
    int most = c->ask.redirects < 0 ? c->client->config.redirects : c->ask.redirects;
    return most > 0 && rotor_http_is_redirect(c->head.status) &&
           rotor_http_call_header(c, "location", 8).data;
}

static rotor_http_receive ask_how(rotor_http_call *c)
{
    const rotor_http_requester *r = c->requester;
    rotor_scope scope = rotor_http__call_scope(c);
    if (r->headers_received)
        return r->headers_received(c, &scope);
    bool streams = !r->response_received && (r->response_chunk || r->response_end);
    return streams ? rotor_http_progressive(0) : rotor_http_buffered(0);
}

/* The head of the response proper. */
static void begin_response(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    bool tunnel = is_tunnel(c);
    conn->framing =
        (uint8_t)rotor_http_response_framing(&c->head, c->ask.method, c->ask.method_len);
    conn->keep =
        c->head.keep_alive && conn->framing != ROTOR_HTTP_UNTIL_CLOSE && !c->ask.close && !tunnel;
    /* A server that likes the request may answer it while the body still comes. */
    if (c->sending == CALL__EXPECTS || (c->sending == CALL__SENDS && c->head.status >= 300))
        c->sending = CALL__STOPPED;
    if (!tunnel && is_to_be_followed(c)) {
        c->taking = CALL__SKIPS;
        begin_body(conn);
        return;
    }
    c->next = tunnel ? &conn->next : NULL;
    rotor_http_receive how = ask_how(c);
    c->next = NULL;
    if (conn->next.protocol) { /* which was taken over */
        part(conn);
        rotor_http__forget(conn);
        conn->state = CONN__PASSING;
        rotor_http__call_end(c, how.error < 0 ? how.error : 0);
        return;
    }
    if (c->over)
        return;
    if (tunnel) {
        give_up(conn, ROTOR_HTTP_EUPGRADE);
        return;
    }
    if (how.kind == ROTOR_HTTP_ANSWERED) {
        rotor_http__call_end(c, how.error < 0 ? how.error : 0);
        return;
    }
    c->taking = how.kind == ROTOR_HTTP_BUFFERED ? CALL__BUFFERS : CALL__STREAMS;
    c->max = how.max;
    if (c->max == 0)
        c->max = c->taking == CALL__BUFFERS ? c->client->config.limits.body : UINT64_MAX;
    rotor_response ok = rotor_ok_until(how.deadline);
    rotor_http__call_heed(c, how.error & ROTOR_HTTP__HELD ? rotor_http_hold(ok) : ok);
    begin_body(conn);
}

/* An interim response; another one follows. */
static void begin_interim(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    conn->need = 1;
    if (c->sending == CALL__EXPECTS && c->head.status == 100)
        c->sending = CALL__SENDS;
    if (c->requester->informational) {
        rotor_scope scope = rotor_http__call_scope(c);
        rotor_http__call_heed(c, c->requester->informational(c, &scope));
    }
}

static void read_head(rotor_http__conn *conn)
{
    rotor_http_call *c = conn->call;
    rotor_http_client *client = conn->client;
    rotor_buf *input = input_of(conn);
    size_t have = rotor_buf_len(input);
    rotor_http_response_head head = {.fields = client->fields};
    conn->answered = true;
    ptrdiff_t n = rotor_http_parse_response(&head, rotor_buf_data(input), have,
                                            &client->config.limits, &conn->progress);
    if (n == ROTOR_MORE) {
        conn->need = have + 1;
        return;
    }
    int error =
        n < 0 ? (int)n : rotor_http__call_keep_head(c, &head, rotor_buf_data(input), (size_t)n);
    if (!error && head.status == 101 && !c->ask.has_upgrade)
        error = ROTOR_HTTP_EUPGRADE;
    if (error) {
        give_up(conn, error);
        return;
    }
    rotor_buf_consume(input, (size_t)n);
    if (head.status < 200 && head.status != 101)
        begin_interim(conn);
    else
        begin_response(conn);
}

/* -- the protocol ------------------------------------------------------------------------------ */

static rotor_intent leave(rotor_http__conn *conn)
{
    conn->inside = false;
    return intent(conn);
}

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *client)
{
    rotor_http__conn *conn = of(s);
    ((rotor_http_client *)client)->refs++;
    conn->inside = true;
    if (conn->call) {
        int error = rotor_http__conn_begin(conn, conn->call);
        if (error)
            give_up(conn, error);
    }
    return leave(conn);
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_http__conn *conn = of(s);
    conn->inside = true;
    if (conn->state == CONN__HEAD)
        read_head(conn);
    else if (conn->state == CONN__BODY)
        read_body(conn);
    else /* what nobody has asked for */
        rotor_http__conn_close(conn);
    return leave(conn);
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor_http__conn *conn = of(s);
    rotor_http_call *c = conn->call;
    conn->inside = true;
    if (c && c->sending == CALL__SENDS && !c->ask.streamed) {
        int error = rotor_http__call_feed(c);
        if (error)
            give_up(conn, error);
    } else if (c && c->sending == CALL__SENDS) {
        c->parked = true;
        if (c->requester->body_wanted) {
            rotor_scope own = rotor_http__call_scope(c);
            rotor_http__call_heed(c, c->requester->body_wanted(c, &own));
        }
    }
    return leave(conn);
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    rotor_http__conn *conn = of(s);
    conn->inside = true;
    if (conn->state == CONN__IDLE)
        rotor_http__conn_close(conn);
    else if (conn->call && conn->call->sending == CALL__EXPECTS)
        conn->call->sending = CALL__SENDS; /* a server may not know what was asked of it */
    return leave(conn);
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_http__conn *conn = of(s);
    conn->inside = true;
    if (conn->state == CONN__BODY && conn->framing == ROTOR_HTTP_UNTIL_CLOSE &&
        reason == ROTOR_EEOF)
        complete(conn);
    else
        lose(conn, reason);
    return leave(conn);
}

/* While a body is held: what was sent before may still be read. A reset is told as such. */
static rotor_intent on_hangup(rotor_stream *s, rotor_scope *scope)
{
    return rotor_intent_same();
}

static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    rotor_http__conn *conn = of(s);
    conn->inside = true;
    lose(conn, error);
}

/* However it ends, it has been closed before, unless the loop ends. */
static void on_drop(rotor_stream *s)
{
    rotor_http__conn *conn = of(s);
    rotor_http_client *client = conn->client;
    conn->inside = true;
    if (conn->call)
        give_up(conn, ROTOR_ECANCELED);
    rotor_http__forget(conn);
    rotor_http__serve(client);
    rotor_http__client_unref(client);
}

const rotor_protocol rotor_http__conn_protocol = {
    .name = "http client",
    .size = sizeof(rotor_http__conn),
    .create = on_create,
    .bytes_read = on_bytes_read,
    .bytes_flushed = on_bytes_flushed,
    .timeout = on_timeout,
    .exception = on_exception,
    .hangup = on_hangup,
    .fatal = on_fatal,
    .drop = on_drop,
    .describe = rotor_http__conn_describe,
};
