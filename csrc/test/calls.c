#include "calls.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/private.h"
#include "sockets.h"
#include "support.h"
#include "test.h"

calls *calls_of(const rotor_http_call *c)
{
    return rotor_http_call_data(c);
}

void calls_note(calls *k, const char *format, ...)
{
    size_t len = strlen(k->log);
    va_list args;
    va_start(args, format);
    if (len > 0)
        len += (size_t)snprintf(k->log + len, sizeof k->log - len, ", ");
    if (len < sizeof k->log)
        vsnprintf(k->log + len, sizeof k->log - len, format, args);
    va_end(args);
}

const char *calls_log(calls *k)
{
    static char log[sizeof k->log];
    memcpy(log, k->log, sizeof log);
    k->log[0] = '\0';
    return log;
}

/* -- the requester ----------------------------------------------------------------------------- */

rotor_http_receive calls_progressive(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_progressive(0);
}

rotor_http_receive calls_progressive_held(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_receive_hold(rotor_http_progressive(0));
}

rotor_response calls_ok(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_ok();
}

rotor_response calls_hold(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_http_hold(rotor_ok());
}

rotor_response calls_done(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_done();
}

rotor_response calls_error(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_error(UV_EIO);
}

rotor_response calls_write_body(rotor_http_call *c, rotor_scope *scope)
{
    calls *k = calls_of(c);
    int error = rotor_http_call_write(c, (rotor_text){k->body, strlen(k->body)});
    if (!error)
        error = rotor_http_call_finish(c);
    return error ? rotor_error(error) : rotor_ok();
}

static rotor_response then(rotor_http_call *c, rotor_scope *scope, calls_transition *transition)
{
    assert_ptr_equal(scope->machine, rotor_find(scope->loop, rotor_http_call_handle(c)));
    return transition ? transition(c, scope) : rotor_ok();
}

static rotor_http_receive on_headers(rotor_http_call *c, rotor_scope *scope)
{
    calls *k = calls_of(c);
    calls_note(k, "head %d", rotor_http_call_status(c));
    return k->headers ? k->headers(c, scope) : rotor_http_buffered(0);
}

static rotor_response on_informational(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "%d", rotor_http_call_status(c));
    return then(c, scope, calls_of(c)->informational);
}

static rotor_response on_redirected(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "%d to %s", rotor_http_call_status(c), rotor_http_call_url(c));
    return then(c, scope, calls_of(c)->redirected);
}

static void note_trailers(rotor_http_call *c)
{
    rotor_text name, value;
    for (size_t i = 0; rotor_http_call_trailer_at(c, i, &name, &value); i++)
        calls_note(calls_of(c), "trailer %.*s=%.*s", (int)name.len, name.data, (int)value.len,
                   value.data);
}

static rotor_response on_received(rotor_http_call *c, rotor_scope *scope)
{
    rotor_text body = rotor_http_call_body(c);
    calls_note(calls_of(c), "received %.*s", (int)body.len, body.len ? body.data : "");
    note_trailers(c);
    return then(c, scope, calls_of(c)->received);
}

/* Chunks that come one after the other are one in the log: how a body is cut is nobody's business. */
static rotor_response on_chunk(rotor_http_call *c, rotor_scope *scope, rotor_text data)
{
    calls *k = calls_of(c);
    const char *last = strrchr(k->log, ',');
    assert_int_not_equal(data.len, 0);
    if (strncmp(last ? last + 2 : k->log, "chunk ", 6) == 0)
        snprintf(k->log + strlen(k->log), sizeof k->log - strlen(k->log), "%.*s", (int)data.len,
                 data.data);
    else
        calls_note(k, "chunk %.*s", (int)data.len, data.data);
    return then(c, scope, k->chunk);
}

static rotor_response on_end(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "end");
    note_trailers(c);
    return then(c, scope, calls_of(c)->end);
}

static rotor_response on_body_wanted(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "wanted");
    return then(c, scope, calls_of(c)->body_wanted);
}

static rotor_response on_wakeup(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "wakeup");
    return then(c, scope, calls_of(c)->wakeup);
}

static rotor_response on_timeout(rotor_http_call *c, rotor_scope *scope)
{
    calls_note(calls_of(c), "timeout");
    return then(c, scope, calls_of(c)->timeout);
}

static void on_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    calls_note(calls_of(c), "failed %s", rotor_err_name(error));
}

static void on_over(rotor_http_call *c)
{
    calls *k = calls_of(c);
    k->overs++;
    assert_null(rotor_http_call_find(k->loop, rotor_http_call_handle(c)));
    calls_note(k, "over");
}

static void on_error(rotor_loop *loop, rotor_machine *machine, int error)
{
    calls *k = rotor_loop_context(loop);
    assert_string_equal(rotor_machine_name(machine), "calls");
    k->errors++;
    k->error = error;
}

/* -- the rig ----------------------------------------------------------------------------------- */

int calls_open_at(calls *k, const char *address)
{
    rotor_config config = {
        .context = k, .clock = &test_clock, .on_error = on_error, .capacity = k->capacity};
    test_monotonic_ms = 1000000;
    k->requester = (rotor_http_requester){.name = "calls",
                                          .headers_received = on_headers,
                                          .informational = on_informational,
                                          .redirected = on_redirected,
                                          .response_received = on_received,
                                          .response_chunk = on_chunk,
                                          .response_end = on_end,
                                          .body_wanted = on_body_wanted,
                                          .wakeup = on_wakeup,
                                          .timeout = k->timeout ? on_timeout : NULL,
                                          .failed = k->is_not_told_of_failures ? NULL : on_failed,
                                          .call_over = on_over};
    int error = rotor_loop_new(&k->loop, &config);
    if (error)
        return error;
    k->client = rotor_http_client_new(k->loop, &k->config);
    if (!k->client) {
        assert_int_equal(rotor_loop_free(k->loop), 0);
        return UV_ENOMEM;
    }
    k->listener = sockets_listen(address, 16, k->where);
    bool is_unix = strncmp(k->where, "unix:", 5) == 0;
    snprintf(k->url, sizeof k->url, "http://%s", is_unix ? "localhost" : k->where);
    return 0;
}

int calls_open(calls *k)
{
    return calls_open_at(k, "127.0.0.1:0");
}

void calls_release(calls *k)
{
    if (k->client)
        rotor_http_client_release(k->client);
    k->client = NULL;
    if (k->listener >= 0)
        close(k->listener);
    k->listener = -1;
}

void calls_close(calls *k)
{
    calls_release(k);
    assert_int_equal(rotor_loop_free(k->loop), 0);
    assert_int_equal(k->started, k->overs);
}

int calls_ask(calls *k, rotor_http_ask *ask, const char *method, const char *path)
{
    char url[256];
    snprintf(url, sizeof url, "%s%s", strncmp(path, "http", 4) ? k->url : "", path);
    int error = rotor_http_ask_init_text(ask, method, url);
    if (!error && strncmp(k->where, "unix:", 5) == 0)
        error = rotor_http_ask_address(ask, k->where);
    if (!error)
        error = rotor_http_ask_add_text(ask, "User-Agent", "");
    if (error)
        rotor_http_ask_fini(ask);
    return error;
}

int calls_start(calls *k, rotor_http_ask *ask)
{
    int error = rotor_http_client_call(k->client, ask, &k->requester, k, &k->call);
    k->started += !error;
    assert_null(ask->method);
    if (!error)
        assert_ptr_equal(rotor_http_call_handle(rotor_http_call_find(k->loop, k->call)).slot ==
                                 k->call.slot
                             ? k
                             : NULL,
                         k);
    return error;
}

void calls_get(calls *k, const char *path)
{
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, "GET", path), 0);
    assert_int_equal(calls_start(k, &ask), 0);
}

int calls_accept(calls *k)
{
    return sockets_accept(k->loop, k->listener);
}

bool calls_is_asked_for_more(calls *k)
{
    struct pollfd poll_fd = {.fd = k->listener, .events = POLLIN};
    calls_turn(k);
    return poll(&poll_fd, 1, 0) == 1;
}

void calls_turn(calls *k)
{
    int left = 1000000;
    do {
        assert_true(left-- > 0);
        assert_int_equal(rotor_loop_turn(k->loop), 0);
    } while (uv_is_active((uv_handle_t *)&k->loop->idle));
}

void calls_wait(calls *k, uint64_t ms)
{
    test_monotonic_ms += ms;
    calls_turn(k);
}

void calls_expect(calls *k, const char *log)
{
    for (int left = 1000; left > 0 && strlen(k->log) < strlen(log); left--)
        sockets_turn(k->loop);
    calls_turn(k);
    assert_string_equal(calls_log(k), log);
}

const char *calls_request(const calls *k, const char *method, const char *path, const char *headers)
{
    static char text[1024];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, k->url + 7,
             headers);
    return text;
}
