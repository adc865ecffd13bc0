/* Usage: soak_server ADDR:PORT ROOT
** The server of bench/soak: does all that a server can do, with the files of ROOT below /files, and tells
** what it holds at /figures. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rotor.h>

enum { LIMIT_MS = 5000, LATE_MS = 20, HIGH = 65536, LOW = 16384, BLOCKS = 256, BLOCK = 16384 };

static char block[BLOCK];

/* -- what is held ------------------------------------------------------------------------------ */

static size_t blocks, bytes;

/* Every byte of the library's memory goes through here. */
static void *resize(void *context, void *ptr, size_t size)
{
    size_t before = ptr ? malloc_usable_size(ptr) : 0;
    if (size == 0) {
        free(ptr);
        blocks--;
        bytes -= before;
        return NULL;
    }
    void *result = realloc(ptr, size);
    if (result) {
        blocks += !ptr;
        bytes += malloc_usable_size(result) - before;
    }
    return result;
}

static int figures(rotor_http *h, rotor_loop *loop)
{
    char text[128];
    snprintf(text, sizeof text, "machines %zu\nblocks %zu\nbytes %zu\n", rotor_loop_count(loop),
             blocks, bytes);
    return rotor_http_send_text(h, 200, text);
}

/* -- the other paths --------------------------------------------------------------------------- */

static bool is_for(const rotor_http *h, const char *path)
{
    rotor_text text = rotor_http_path(h);
    return text.len == strlen(path) && memcmp(text.data, path, text.len) == 0;
}

static rotor_response done(int error)
{
    return error ? rotor_error(error) : rotor_done();
}

/* A connection that was upgraded: what comes goes back. */
static rotor_intent raw_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_intent_until(rotor_expect_bytes(1), rotor_now(scope) + LIMIT_MS);
}

static rotor_intent raw_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    int error = rotor_stream_write(s, rotor_buf_data(input), rotor_buf_len(input));
    rotor_buf_consume(input, rotor_buf_len(input));
    return error ? rotor_intent_error(error) : raw_create(s, scope, NULL);
}

static const rotor_protocol raw = {.name = "raw",
                                   .size = sizeof(rotor_stream),
                                   .create = raw_create,
                                   .bytes_read = raw_bytes_read};

/* Answers a request that is somebody else's, if it is still open then. */
typedef struct elsewhere {
    rotor_machine machine;
    rotor_http_ref ref;
} elsewhere;

static rotor_response elsewhere_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    ((elsewhere *)m)->ref = *(const rotor_http_ref *)seed;
    rotor_free(seed);
    return rotor_ok_until(rotor_now(scope) + LATE_MS);
}

static rotor_response elsewhere_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_http *h = rotor_http_find(scope->loop, ((elsewhere *)m)->ref);
    if (h)
        (void)rotor_http_send_text(h, 200, "elsewhere");
    return rotor_done();
}

static const rotor_type elsewhere_type = {.name = "elsewhere",
                                          .size = sizeof(elsewhere),
                                          .create = elsewhere_create,
                                          .timeout = elsewhere_timeout};

/* Four megabytes, no faster than the client takes them; rotor_http_data() counts the blocks. */
static rotor_response more(rotor_http *h)
{
    uintptr_t *sent = (uintptr_t *)rotor_http_data(h);
    for (; *sent < BLOCKS; ++*sent) {
        if (rotor_http_unsent(h) >= HIGH)
            return rotor_http_and_flush(rotor_ok(), LOW);
        int error = rotor_http_write(h, (rotor_text){block, BLOCK});
        if (error)
            return rotor_error(error);
    }
    return done(rotor_http_finish(h));
}

static rotor_response ask_elsewhere(rotor_http *h, rotor_scope *scope)
{
    rotor_http_ref *ref = rotor_alloc(sizeof *ref);
    if (!ref)
        return rotor_error(UV_ENOMEM);
    *ref = rotor_http_ref_of(h);
    int error = rotor_add(scope->loop, &elsewhere_type, ref, NULL);
    if (!error)
        return rotor_ok();
    rotor_free(ref);
    return rotor_error(error);
}

/* Answered with what this server answers to its own client. */
static rotor_http_client *client;
static char own_url[160];

static rotor_response own_response(rotor_http_call *c, rotor_scope *scope)
{
    rotor_http *h = rotor_http_find(scope->loop, *(rotor_http_ref *)rotor_http_call_data(c));
    if (h)
        (void)rotor_http_send(h, rotor_http_call_status(c), rotor_http_call_body(c));
    return rotor_done();
}

static void own_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    rotor_http *h = rotor_http_find(scope->loop, *(rotor_http_ref *)rotor_http_call_data(c));
    if (h)
        (void)rotor_http_send_text(h, 502, rotor_strerror(error));
}

static void own_over(rotor_http_call *c)
{
    rotor_free(rotor_http_call_data(c));
}

static const rotor_http_requester requester = {
    .name = "soak", .response_received = own_response, .failed = own_failed, .call_over = own_over};

static rotor_response ask_ourselves(rotor_http *h)
{
    rotor_http_ask ask = {0};
    rotor_http_ref *ref = rotor_alloc(sizeof *ref);
    int error = ref ? rotor_http_ask_init_text(&ask, "PUT", own_url) : UV_ENOMEM;
    if (!error)
        error = rotor_http_ask_body(&ask, rotor_http_body(h));
    if (!error) {
        *ref = rotor_http_ref_of(h);
        error = rotor_http_client_call(client, &ask, &requester, ref, NULL);
    } else {
        rotor_http_ask_fini(&ask);
    }
    if (!error)
        return rotor_ok();
    rotor_free(ref);
    return rotor_error(error);
}

static rotor_http_files *files;

/* What comes goes back. */
static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    int error =
        is_text ? rotor_websocket_send_text(ws, data) : rotor_websocket_send_binary(ws, data);
    return error ? rotor_intent_error(error) : rotor_expect_message();
}

static const rotor_websocket_handler socket_handler = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("socket", rotor_websocket, .stall_ms = LIMIT_MS),
    .message = on_message,
    .ping_ms = LIMIT_MS / 2,
    .pong_ms = LIMIT_MS / 2,
    .close_ms = LIMIT_MS / 2};

static rotor_http_receive headers_received(rotor_http *h, rotor_scope *scope)
{
    return is_for(h, "/stream") ? rotor_http_progressive(0) : rotor_http_buffered(0);
}

static rotor_response request_received(rotor_http *h, rotor_scope *scope)
{
    if (is_for(h, "/late"))
        return rotor_ok_until(rotor_now(scope) + LATE_MS);
    if (is_for(h, "/elsewhere"))
        return ask_elsewhere(h, scope);
    if (is_for(h, "/big")) {
        int error = rotor_http_start(h, 200);
        return error ? rotor_error(error) : more(h);
    }
    if (is_for(h, "/upgrade")) {
        int error = rotor_http_add_text(h, "Upgrade", "raw");
        if (!error && rotor_http_upgrade(h, 101, &raw, NULL, NULL))
            error = rotor_http_send_text(h, 426, "upgrade");
        return done(error);
    }
    rotor_text path = rotor_http_path(h);
    if (path.len > 7 && memcmp(path.data, "/files/", 7) == 0)
        return rotor_http_files_send(files, h, scope, NULL);
    if (is_for(h, "/proxied"))
        return ask_ourselves(h);
    if (is_for(h, "/socket")) {
        (void)rotor_websocket_upgrade(h, &socket_handler, NULL); /* or it says what is wrong */
        return rotor_done();
    }
    if (is_for(h, "/throws"))
        return rotor_error(UV_EIO);
    return done(is_for(h, "/figures") ? figures(h, scope->loop)
                                      : rotor_http_send(h, 200, rotor_http_body(h)));
}

static rotor_response request_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    int error = rotor_http_is_started(h) ? 0 : rotor_http_start(h, 200);
    if (!error)
        error = rotor_http_write(h, data);
    if (error)
        return rotor_error(error);
    if (rotor_http_unsent(h) < HIGH)
        return rotor_ok();
    return rotor_http_and_flush(rotor_http_hold(rotor_ok()), LOW);
}

static rotor_response request_end(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_is_started(h) ? 0 : rotor_http_start(h, 200);
    return done(error ? error : rotor_http_finish(h));
}

static rotor_response flushed(rotor_http *h, rotor_scope *scope)
{
    return is_for(h, "/big") ? more(h) : rotor_ok();
}

static rotor_response timed_out(rotor_http *h, rotor_scope *scope)
{
    return done(is_for(h, "/late") ? rotor_http_send_text(h, 200, "late")
                                   : rotor_http_send_text(h, 503, "too late"));
}

static rotor_response hangup(rotor_http *h, rotor_scope *scope)
{
    return is_for(h, "/late") ? rotor_done() : rotor_same();
}

static const rotor_http_handler handler = {.name = "soak",
                                           .headers_received = headers_received,
                                           .request_received = request_received,
                                           .request_chunk = request_chunk,
                                           .request_end = request_end,
                                           .flushed = flushed,
                                           .timeout = timed_out,
                                           .hangup = hangup};

/* -- the program ------------------------------------------------------------------------------- */

/* But for what /throws says, and what clients do. */
static void on_error(rotor_loop *loop, rotor_machine *machine, int error)
{
    if (error != UV_EIO && error != UV_ECONNRESET && error != UV_EPIPE && error != ROTOR_ESTALLED)
        fprintf(stderr, "%s: %s\n", rotor_machine_name(machine), rotor_strerror(error));
}

static void stop(rotor_loop *loop, int signum, void *context)
{
    const rotor_handle *listener = context;
    if (rotor_http_drain(loop, *listener, 0, NULL, NULL) == 0)
        rotor_http_client_release(client);
}

int main(int argc, char **argv)
{
    rotor_config loop_config = {.on_error = on_error};
    rotor_http_client_config client_config = {.timeout_ms = LIMIT_MS, .idle_ms = LIMIT_MS};
    rotor_http_config config = {.head_ms = LIMIT_MS,
                                .body_ms = LIMIT_MS,
                                .handler_ms = LIMIT_MS,
                                .idle_ms = LIMIT_MS,
                                .stall_ms = LIMIT_MS};
    rotor_http_files_options files_options = {.prefix = "/files", .precompressed = true};
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    if (argc != 3)
        return 2;
    for (int i = 0; i < BLOCK; i++)
        block[i] = "0123456789abcdef"[i % 16];
    rotor_allocator_set(&(rotor_allocator){resize, NULL});
    int error = rotor_loop_new(&loop, &loop_config);
    if (!error)
        error = rotor_http_serve(loop, argv[1], &handler, &config, &listener);
    if (!error)
        error = rotor_http_files_new(&files, argv[2], &files_options);
    client = error ? NULL : rotor_http_client_new(loop, &client_config);
    if (!client && !error)
        error = UV_ENOMEM;
    if (error) {
        fprintf(stderr, "%s: %s\n", argv[1], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGTERM, stop, &listener);
    rotor_listener_address(loop, listener, where, sizeof where);
    snprintf(own_url, sizeof own_url, "http://%s/", where);
    printf("listening on http://%s/\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    error = rotor_loop_free(loop);
    rotor_http_files_free(files);
    if (error || blocks > 0)
        fprintf(stderr, "left: %s, %zu blocks\n", error ? rotor_strerror(error) : "0", blocks);
    return error || blocks > 0;
}
