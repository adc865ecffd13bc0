/* The HTTP/1 server: what all its connections share, and its life. See connection.c for theirs. */
#include "private.h"

enum {
    TURNS = 64, /* said rather than left to the default, as it is looked at for each request */
    SCRATCH = 4096,
    HEAD_MS = 10000,
    BODY_MS = 30000,
    BODY_RATE = 500,
    HANDLER_MS = 30000,
    IDLE_MS = 60000
};

static uint32_t or_default(uint32_t given, uint32_t usual)
{
    return given ? given : usual;
}

rotor_http_server *rotor_http_server_new(const rotor_http_handler *handler,
                                         const rotor_http_config *given)
{
    rotor_http_config config = {0};
    if (given)
        config = *given;
    rotor_http_limits_complete(&config.limits);
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
        .records = config.log || config.metrics,
        .asks = handler->headers_received || !handler->request_received,
        .log = config.log,
        .metrics = config.metrics,
        .protocol = rotor_http__connection,
    };
    server->protocol.name = handler->name;
    server->protocol.stall_ms = config.stall_ms;
    server->protocol.turns = or_default(config.pipelined, TURNS);
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
    return s->protocol->create == rotor_http__connection.create;
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
    if (!handler->request_received && !handler->request_end)
        return UV_EINVAL;
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
