/* Ending a server gently: a machine that waits for its connections to end, but not for ever. */
#include <stdio.h>

#include "private.h"

enum { DRAIN_MS = 30000 };

typedef struct drainer {
    rotor_machine machine;
    rotor_http_server *server;
    size_t cut; /* requests */
    void (*drained)(void *context, size_t cut);
    void *context;
} drainer;

typedef struct drainer_seed {
    rotor_http_server *server;
    uint64_t deadline;
    void (*drained)(void *context, size_t cut);
    void *context;
} drainer_seed;

/* Connections are not listed anywhere, which would cost each of them; here there is time to look. */
static void each_connection(rotor_http_server *server, void (*fn)(rotor_http *h, drainer *d),
                            drainer *d)
{
    rotor_loop *loop = server->loop;
    for (uint32_t i = 0; i < loop->nslots; i++) {
        rotor_machine *m = loop->slots[i].machine;
        if (m && m->type == &rotor_stream_type &&
            ((rotor_stream *)m)->protocol == &server->protocol)
            fn((rotor_http *)m, d);
    }
}

static void wake(rotor_http *h, drainer *d)
{
    (void)rotor_wake(h->stream.machine.loop, h->stream.machine.self);
}

static void cut(rotor_http *h, drainer *d)
{
    d->cut += rotor_http__has_exchange(h) || h->head_begun || rotor_stream_unsent(&h->stream) > 0;
    (void)rotor_end(h->stream.machine.loop, h->stream.machine.self, 0);
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    const drainer_seed *seed = data;
    drainer *d = (drainer *)m;
    d->server = seed->server;
    d->server->refs++;
    d->server->draining = true;
    d->server->loop = scope->loop;
    d->server->drainer = m->self;
    d->drained = seed->drained;
    d->context = seed->context;
    return rotor_ok_until(seed->deadline);
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    each_connection(((drainer *)m)->server, cut, (drainer *)m);
    return rotor_done();
}

static void on_drop(rotor_machine *m)
{
    drainer *d = (drainer *)m;
    if (d->drained)
        d->drained(d->context, d->cut);
    d->server->drainer = ROTOR_NO_HANDLE;
    rotor_http_server_release(d->server);
}

static void describe(const rotor_machine *m, char *text, size_t size)
{
    snprintf(text, size, "the connections of a server to end");
}

static const rotor_type drainer_type = {
    .name = "http drain",
    .size = sizeof(drainer),
    .create = on_create,
    .timeout = on_timeout,
    .drop = on_drop,
    .describe = describe,
};

int rotor_http_drain(rotor_loop *loop, rotor_handle listener, uint32_t drain_ms,
                     void (*drained)(void *context, size_t cut), void *context)
{
    rotor_http_server *server = NULL;
    int error = rotor_http__server_of(loop, listener, &server);
    if (error)
        return error;
    drainer_seed seed = {server, rotor_loop_now(loop) + (drain_ms ? drain_ms : DRAIN_MS), drained,
                         context};
    error = rotor__add_now(loop, &drainer_type, &seed, NULL);
    if (error)
        return error;
    (void)rotor_end(loop, listener, 0);
    each_connection(server, wake, NULL);
    return 0;
}
