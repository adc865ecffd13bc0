/* Usage: reverse_proxy PORT | ADDR:PORT UPSTREAM...
** Passes HTTP requests on to the servers UPSTREAM (HOST:PORT), to each in its turn, over connections that
** are kept; bodies go both ways as they come, and who sends is slowed down by who reads. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384 }; /* unsent bytes at which a sender is held, and goes on */

static rotor_http_client *client;
static rotor_handle listener;
static char **upstreams;
static int count, next;

/* A request and the call that it has become; of each of the two there is one reference. */
typedef struct exchange {
    rotor_loop *loop;
    rotor_http_ref request;
    rotor_handle call;
    int refs;
    bool failed, late;
} exchange;

static void release(exchange *x)
{
    if (--x->refs == 0)
        free(x);
}

static rotor_text text(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

static bool is(rotor_text a, const char *b)
{
    return a.len == strlen(b) && rotor_http_name_equal(a.data, b, a.len);
}

/* Whether `name` is in the list that Connection's value is. */
static bool is_listed(rotor_text list, rotor_text name)
{
    for (size_t at = 0, n; at < list.len; at += n + 1) {
        const char *comma = memchr(list.data + at, ',', list.len - at);
        n = comma ? (size_t)(comma - list.data) - at : list.len - at;
        size_t from = at, to = at + n;
        while (from < to && strchr(" \t", list.data[from]))
            from++;
        while (to > from && strchr(" \t", list.data[to - 1]))
            to--;
        if (to - from == name.len && rotor_http_name_equal(list.data + from, name.data, name.len))
            return true;
    }
    return false;
}

/* Fields of one connection only (RFC 9110 section 7.6.1), those that are made anew, and names that some
** take for others. */
static bool is_passed_on(rotor_text name, rotor_text connection)
{
    static const char *const not [] = {"connection", "keep-alive",      "proxy-connection",
                                       "te",         "trailer",         "transfer-encoding",
                                       "upgrade",    "content-length",  "host",
                                       "expect",     "x-forwarded-for", "x-forwarded-host"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (is(name, not [i]))
            return false;
    return !memchr(name.data, '_', name.len) && !is_listed(connection, name);
}

/* -- the call: what the upstream says ---------------------------------------------------------- */

static rotor_http *request_of(rotor_http_call *c)
{
    const exchange *x = rotor_http_call_data(c);
    return rotor_http_find(x->loop, x->request);
}

/* Have the request's transitions say anew what it waits for. */
static void nudge(rotor_http *h)
{
    if (h)
        rotor_wake(rotor_http_stream(h)->machine.loop, rotor_http_stream(h)->machine.self);
}

static rotor_http_receive on_head(rotor_http_call *c, rotor_scope *scope)
{
    rotor_text name, value, connection = rotor_http_call_header(c, "connection", 10);
    rotor_text length = rotor_http_call_header(c, "content-length", 14);
    rotor_http *h = request_of(c);
    if (!h)
        return rotor_http_answered();
    int error = length.data ? rotor_http_add(h, text("Content-Length"), length) : 0;
    for (size_t i = 0; !error && rotor_http_call_header_at(c, i, &name, &value); i++)
        if (is_passed_on(name, connection))
            error = rotor_http_add(h, name, value);
    if (!error)
        error = rotor_http_add_text(h, "Via", "1.1 rotor");
    if (!error)
        error = rotor_http_start(h, rotor_http_call_status(c));
    nudge(h);
    return error ? rotor_http_failed(error) : rotor_http_progressive(0);
}

static rotor_response on_chunk(rotor_http_call *c, rotor_scope *scope, rotor_text data)
{
    rotor_http *h = request_of(c);
    int error = h ? rotor_http_write(h, data) : 0;
    nudge(h);
    if (!h || error)
        return h ? rotor_error(error) : rotor_done();
    return rotor_http_unsent(h) > HIGH ? rotor_http_hold(rotor_ok()) : rotor_ok();
}

static rotor_response on_end(rotor_http_call *c, rotor_scope *scope)
{
    rotor_text name, value;
    rotor_http *h = request_of(c);
    for (size_t i = 0; h && rotor_http_call_trailer_at(c, i, &name, &value); i++)
        (void)rotor_http_trailer(h, name, value); /* there are none in HTTP/1.0 */
    int error = h ? rotor_http_finish(h) : 0;
    return error ? rotor_error(error) : rotor_done();
}

static rotor_response on_body_wanted(rotor_http_call *c, rotor_scope *scope)
{
    nudge(request_of(c));
    return rotor_same();
}

static rotor_response on_call_wakeup(rotor_http_call *c, rotor_scope *scope)
{
    return rotor_ok();
}

static void on_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    exchange *x = rotor_http_call_data(c);
    fprintf(stderr, "reverse_proxy: %s: %s\n", rotor_http_call_url(c), rotor_strerror(error));
    x->late = error == ROTOR_ETIMEDOUT;
}

/* Whatever has ended it: who has no answer gets one, and what was begun is cut off. */
static void on_call_over(rotor_http_call *c)
{
    exchange *x = rotor_http_call_data(c);
    rotor_http *h = request_of(c);
    x->call = ROTOR_NO_HANDLE;
    x->failed = h && !rotor_http_is_sent(h);
    if (x->failed && !rotor_http_is_started(h))
        (void)rotor_http_send_text(h, x->late ? 504 : 502, "no answer\n");
    nudge(h);
    release(x);
}

static const rotor_http_requester requester = {.name = "upstream",
                                               .headers_received = on_head,
                                               .response_chunk = on_chunk,
                                               .response_end = on_end,
                                               .body_wanted = on_body_wanted,
                                               .wakeup = on_call_wakeup,
                                               .failed = on_failed,
                                               .call_over = on_call_over};

/* -- the request: what the client says --------------------------------------------------------- */

static int make_ask(rotor_http *h, rotor_http_ask *ask)
{
    char url[16384], from[128] = "";
    rotor_text path = rotor_http_path(h), query = rotor_http_query(h), name, value;
    rotor_text connection = rotor_http_header(h, "connection", 10);
    int n = snprintf(url, sizeof url, "http://%s%.*s%s%.*s", upstreams[next], (int)path.len,
                     path.data, query.data ? "?" : "", (int)query.len, query.data);
    next = (next + 1) % count;
    if ((size_t)n >= sizeof url)
        return UV_E2BIG;
    int error = rotor_http_ask_init(ask, rotor_http_method(h), text(url));
    for (size_t i = 0; !error && rotor_http_header_at(h, i, &name, &value); i++)
        if (is_passed_on(name, connection))
            error = rotor_http_ask_add(ask, name, value);
    rotor_stream_peer(rotor_http_stream(h), from, sizeof from);
    if (strrchr(from, ':')) /* without the port */
        *strrchr(from, ':') = '\0';
    if (!error)
        error = rotor_http_ask_add_text(ask, "X-Forwarded-For", from);
    if (!error)
        error = rotor_http_ask_add(ask, text("X-Forwarded-Host"), rotor_http_host(h));
    if (!error)
        error = rotor_http_ask_add_text(ask, "Via", "1.1 rotor");
    if (!error && rotor_http_has_body(h))
        error = rotor_http_ask_stream(ask, rotor_http_body_length(h));
    ask->redirects = 0;
    ask->timeout_ms = UINT32_MAX; /* the request has a deadline */
    return error;
}

static rotor_http_receive headers_received(rotor_http *h, rotor_scope *scope)
{
    rotor_http_ask ask = {0};
    exchange *x = calloc(1, sizeof *x);
    if (!x)
        return rotor_http_failed(UV_ENOMEM);
    *x = (exchange){scope->loop, rotor_http_ref_of(h), ROTOR_NO_HANDLE, 2, false, false};
    *rotor_http_data(h) = x;
    int error = is(rotor_http_method(h), "CONNECT") ? ROTOR_HTTP_EMETHOD : make_ask(h, &ask);
    if (!error)
        error = rotor_http_client_call(client, &ask, &requester, x, &x->call);
    rotor_http_ask_fini(&ask);
    if (!error) /* the body waits until it is wanted */
        return rotor_http_receive_hold(rotor_http_progressive(0));
    x->refs--;
    error = rotor_http_send_text(h, error == ROTOR_HTTP_EMETHOD ? 405 : 502, "not passed on\n");
    return error ? rotor_http_failed(error) : rotor_http_answered();
}

/* What the request waits for, as things are. */
static rotor_response wait_on(rotor_http *h, rotor_scope *scope)
{
    exchange *x = *rotor_http_data(h);
    rotor_http_call *c = rotor_http_call_find(scope->loop, x->call);
    if (x->failed)
        return rotor_done();
    rotor_response r = rotor_ok();
    if (c && rotor_http_call_unsent(c) > LOW)
        r = rotor_http_hold(r);
    if (rotor_http_unsent(h) > LOW)
        return rotor_http_and_flush(r, LOW);
    if (c && rotor_http_is_started(h)) /* it may have been held */
        rotor_wake(scope->loop, x->call);
    return r;
}

static rotor_response request_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    const exchange *x = *rotor_http_data(h);
    rotor_http_call *c = rotor_http_call_find(scope->loop, x->call);
    int error = c ? rotor_http_call_write(c, data) : 0;
    return error && error != ROTOR_ECLOSED ? rotor_error(error) : wait_on(h, scope);
}

static rotor_response request_end(rotor_http *h, rotor_scope *scope)
{
    const exchange *x = *rotor_http_data(h);
    rotor_http_call *c = rotor_http_call_find(scope->loop, x->call);
    if (c && rotor_http_has_body(h))
        (void)rotor_http_call_finish(c);
    return wait_on(h, scope);
}

static rotor_response on_timeout(rotor_http *h, rotor_scope *scope)
{
    if (!rotor_http_is_started(h))
        (void)rotor_http_send_text(h, 504, "no answer in time\n");
    return rotor_done();
}

/* The client has left. */
static rotor_response on_hangup(rotor_http *h, rotor_scope *scope)
{
    return rotor_done();
}

static void request_over(rotor_http *h)
{
    exchange *x = *rotor_http_data(h);
    if (!x)
        return;
    rotor_end(x->loop, x->call, 0);
    release(x);
}

static const rotor_http_handler handler = {.name = "proxy",
                                           .headers_received = headers_received,
                                           .request_chunk = request_chunk,
                                           .request_end = request_end,
                                           .flushed = wait_on,
                                           .wakeup = wait_on,
                                           .timeout = on_timeout,
                                           .hangup = on_hangup,
                                           .request_over = request_over};

/* The first time: end when the requests under way are answered. The second time: end now. */
static void stop(rotor_loop *loop, int signum, void *context)
{
    if (rotor_http_drain(loop, listener, 0, NULL, NULL))
        rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    char where[128];
    if (argc < 3) {
        fprintf(stderr, "usage: %s PORT | ADDR:PORT UPSTREAM...\n", argv[0]);
        return 2;
    }
    upstreams = argv + 2;
    count = argc - 2;
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = (client = rotor_http_client_new(loop, NULL)) ? 0 : UV_ENOMEM;
    if (!error)
        error = rotor_http_serve(loop, argv[1], &handler, NULL, &listener);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on http://%s/\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    rotor_http_client_release(client);
    return rotor_loop_free(loop) ? 1 : 0;
}
