#include "web.h"

#include "../core/private.h"
#include "support.h"
#include "test.h"

web *web_of(const rotor_http *h)
{
    return rotor_http_context(h);
}

void web_note(web *w, const char *format, ...)
{
    size_t len = strlen(w->log);
    va_list args;
    va_start(args, format);
    if (len > 0 && len < sizeof w->log - 1)
        w->log[len++] = ' ';
    vsnprintf(w->log + len, sizeof w->log - len, format, args);
    va_end(args);
}

/* -- the handler ------------------------------------------------------------------------------- */

rotor_response web_answer(rotor_http *h, rotor_scope *scope)
{
    rotor_text parts[] = {rotor_http_method(h), rotor_http_target(h), rotor_http_body(h)};
    size_t len = parts[0].len + 1 + parts[1].len + (parts[2].len > 0 ? 1 + parts[2].len : 0);
    char *text = malloc(len), *p = text;
    assert_non_null(text);
    for (int i = 0; i < 3; i++) {
        if (i > 0 && parts[i].len > 0)
            *p++ = ' ';
        if (parts[i].len > 0)
            memcpy(p, parts[i].data, parts[i].len);
        p += parts[i].len;
    }
    int error = rotor_http_send(h, 200, (rotor_text){text, len});
    free(text);
    return error ? rotor_error(error) : rotor_done();
}

rotor_response web_waits(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

rotor_response web_done(rotor_http *h, rotor_scope *scope)
{
    return rotor_done();
}

rotor_response web_error(rotor_http *h, rotor_scope *scope)
{
    return rotor_error(UV_EIO);
}

/* The handler is told of the request for the first time. */
static web *meet(rotor_http *h, rotor_scope *scope)
{
    web *w = web_of(h);
    rotor_text method = rotor_http_method(h), target = rotor_http_target(h);
    if (*rotor_http_data(h))
        return w;
    w->requests++;
    w->ref = rotor_http_ref_of(h);
    assert_ptr_equal(rotor_http_find(scope->loop, w->ref), h);
    *rotor_http_data(h) = w;
    web_note(w, "%.*s %.*s", (int)method.len, method.data, (int)target.len, target.data);
    return w;
}

static rotor_response on_request_received(rotor_http *h, rotor_scope *scope)
{
    web *w = meet(h, scope);
    if (w->headers)
        web_note(w, "received");
    return w->received ? w->received(h, scope) : web_answer(h, scope);
}

static rotor_http_receive on_headers_received(rotor_http *h, rotor_scope *scope)
{
    return meet(h, scope)->headers(h, scope);
}

static rotor_response on_request_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    return meet(h, scope)->chunk(h, scope, data);
}

static rotor_response on_request_end(rotor_http *h, rotor_scope *scope)
{
    web *w = meet(h, scope);
    web_note(w, "end");
    return w->end(h, scope);
}

static rotor_response on_flushed(rotor_http *h, rotor_scope *scope)
{
    web_note(web_of(h), "flushed");
    return web_of(h)->flushed(h, scope);
}

static rotor_response on_hangup(rotor_http *h, rotor_scope *scope)
{
    web_note(web_of(h), "hangup");
    return web_of(h)->hangup(h, scope);
}

static void on_bad_request(rotor_http *h, rotor_scope *scope, int error)
{
    web *w = meet(h, scope);
    web_note(w, "bad");
    w->bad(h, scope, error);
}

static void on_error_page(rotor_http *h, rotor_scope *scope, int status, const char *why)
{
    web *w = meet(h, scope);
    web_note(w, "%d", status);
    w->page(h, scope, status, why);
}

static rotor_response on_wakeup(rotor_http *h, rotor_scope *scope)
{
    web_note(web_of(h), "wakeup");
    return web_of(h)->wakeup(h, scope);
}

static rotor_response on_timeout(rotor_http *h, rotor_scope *scope)
{
    web_note(web_of(h), "timeout");
    return web_of(h)->timeout(h, scope);
}

static void on_request_over(rotor_http *h)
{
    web *w = web_of(h);
    w->overs++;
    assert_ptr_equal(*rotor_http_data(h), w);
    *rotor_http_data(h) = NULL; /* so that a second time would be seen */
    assert_null(rotor_http_find(w->loop, rotor_http_ref_of(h)));
    web_note(w, "over");
    if (w->over)
        w->over(h);
}

static void on_error(rotor_loop *loop, rotor_machine *machine, int error)
{
    web *w = rotor_loop_context(loop);
    w->errors++;
    w->error = error;
}

static void on_closed(void *context)
{
    web *w = context;
    w->closed++;
}

/* -- the server -------------------------------------------------------------------------------- */

int web_open_loop(web *w)
{
    rotor_config config = {.context = w, .clock = &test_clock, .on_error = on_error};
    test_monotonic_ms = 1000000;
    test_wall_ms = WEB_WALL_MS;
    w->config.context = w;
    w->config.closed = on_closed;
    w->handler = (rotor_http_handler){.name = "web",
                                      .request_received =
                                          w->end && !w->received ? NULL : on_request_received,
                                      .headers_received = w->headers ? on_headers_received : NULL,
                                      .request_chunk = w->chunk ? on_request_chunk : NULL,
                                      .request_end = w->end ? on_request_end : NULL,
                                      .flushed = w->flushed ? on_flushed : NULL,
                                      .hangup = w->hangup ? on_hangup : NULL,
                                      .bad_request = w->bad ? on_bad_request : NULL,
                                      .error_page = w->page ? on_error_page : NULL,
                                      .wakeup = w->wakeup ? on_wakeup : NULL,
                                      .timeout = w->timeout ? on_timeout : NULL,
                                      .request_over = on_request_over};
    return rotor_loop_new(&w->loop, &config);
}

int web_open(web *w)
{
    int error = web_open_loop(w);
    if (error)
        return error;
    w->server = rotor_http_server_new(&w->handler, &w->config);
    if (!w->server)
        assert_int_equal(rotor_loop_free(w->loop), 0);
    return w->server ? 0 : UV_ENOMEM;
}

static void free_client(web *w)
{
    if (w->client)
        rotor_memory_free(w->client);
    w->client = NULL;
}

void web_close(web *w)
{
    if (w->server)
        rotor_http_server_release(w->server);
    assert_int_equal(rotor_loop_free(w->loop), 0);
    free_client(w);
    assert_int_equal(w->requests, w->overs);
    assert_int_equal(w->closed, 1);
}

int web_connect(web *w)
{
    free_client(w);
    web_turn(w); /* so that the last one's connection is gone */
    w->client = rotor_memory_new();
    if (!w->client)
        return UV_ENOMEM;
    return rotor_memory_connect(w->client, w->loop, rotor_http_protocol(w->server), w->server,
                                &w->connection);
}

void web_adopt(web *w, int fd)
{
    rotor_stream_seed seed = {
        .protocol = rotor_http_protocol(w->server), .fd = fd, .seed = w->server};
    assert_int_equal(rotor_add(w->loop, &rotor_stream_type, &seed, &w->connection), 0);
    assert_int_equal(seed.fd, -1);
}

void web_turn(web *w)
{
    int left = 1000000;
    do {
        assert_true(left-- > 0);
        assert_int_equal(rotor_loop_turn(w->loop), 0);
    } while (uv_is_active((uv_handle_t *)&w->loop->idle)); /* as long as something is queued */
}

/* -- the client -------------------------------------------------------------------------------- */

void web_send_bytes(web *w, const char *data, size_t n)
{
    assert_int_equal(rotor_memory_send(w->client, data, n), 0);
    web_turn(w);
}

void web_send(web *w, const char *text)
{
    web_send_bytes(w, text, strlen(text));
}

const char *web_received(web *w)
{
    static char text[1 << 17];
    rotor_buf *received = rotor_memory_received(w->client);
    size_t n = rotor_buf_len(received);
    assert_true(n < sizeof text);
    if (n > 0)
        memcpy(text, rotor_buf_data(received), n);
    text[n] = '\0';
    rotor_buf_consume(received, n);
    return text;
}

void web_asks(web *w, const char *text, const char *expected)
{
    web_send(w, text);
    assert_string_equal(web_received(w), expected);
}

void web_wait(web *w, uint64_t ms)
{
    test_monotonic_ms += ms;
    web_turn(w);
}

bool web_is_shut(const web *w)
{
    return rotor_memory_is_shutdown(w->client);
}

bool web_is_gone(const web *w)
{
    bool gone = !rotor_find(w->loop, w->connection);
    assert_int_equal(gone, rotor_memory_is_closed(w->client));
    return gone;
}

const char *web_refusal(int status, const char *why)
{
    static char text[1024];
    char body[512];
    int n = snprintf(body, sizeof body, "%d %s%s%s\n", status, rotor_http_reason(status),
                     why ? ": " : "", why ? why : "");
    snprintf(text, sizeof text,
             "HTTP/1.1 %d %s\r\n" DATE "Connection: close\r\nContent-Type: text/plain\r\n"
             "Content-Length: %d\r\n\r\n%s",
             status, rotor_http_reason(status), n, body);
    return text;
}
