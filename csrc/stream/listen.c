/* The listener: accepts, and makes a stream of each connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../core/private.h"
#include "address.h"
#include "private.h"

enum {
    SPARE_DESCRIPTORS = 64, /* left to the rest of the program */
    ACCEPTS_PER_EVENT = 64,
    RETRY_MS = 100
};

/* One of a listener's sockets. */
typedef struct door {
    rotor_io io;
    rotor__listening socket;
} door;

typedef struct listener {
    rotor_machine machine;
    rotor_listen_options options;
    rotor_stream_seed child; /* child.fd: accepted, but no stream yet; -1: none */
    const door *knocked;     /* the only one to be asked in this event; NULL: all, in turn */
    size_t turn;             /* the one to be asked next */
    size_t silent;           /* how many have been asked in vain since somebody came */
    int accepts;             /* in this event */
    size_t n;
    door doors[];
} listener;

typedef struct listener_seed {
    const rotor_protocol *protocol;
    const rotor_listen_options *options;
    rotor__listenings *sockets;
} listener_seed;

static int want(listener *l, unsigned events)
{
    int error = 0;
    for (size_t i = 0; i < l->n && !error; i++)
        error = rotor_io_want(&l->doors[i].io, events);
    return error;
}

/* Accept nothing until a machine of this loop has ended, or until `deadline`. */
static rotor_response pause_until(listener *l, uint64_t deadline)
{
    rotor__machine_wait_slot(&l->machine);
    (void)want(l, 0);
    return rotor_ok_until(deadline);
}

static rotor_response accept_next(listener *l, rotor_scope *scope)
{
    if (l->child.fd >= 0)
        return rotor_spawn(scope, &rotor_stream_type, &l->child);
    if (rotor_loop_count(scope->loop) >= l->options.connections)
        return pause_until(l, ROTOR_NEVER);
    while (l->accepts < ACCEPTS_PER_EVENT && l->silent < (l->knocked ? 1 : l->n)) {
        size_t i = l->knocked ? (size_t)(l->knocked - l->doors) : l->turn;
        l->child.fd = accept4(l->doors[i].socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        /* Unless nobody is left, or who came has gone again, descriptors or memory are short, or it
        ** is something that polling again would not make better. */
        if (l->child.fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED &&
            errno != EINTR)
            return pause_until(l, rotor_now(scope) + RETRY_MS);
        l->turn = (i + 1) % l->n;
        if (l->child.fd >= 0) {
            l->accepts++;
            l->silent = 0;
            return rotor_spawn(scope, &rotor_stream_type, &l->child);
        }
        l->silent++;
    }
    int error = want(l, ROTOR_READABLE);
    return error ? rotor_error(error) : rotor_ok();
}

static size_t size_of(const void *data)
{
    const listener_seed *seed = data;
    return sizeof(listener) + seed->sockets->n * sizeof(door);
}

static int open_doors(listener *l, const listener_seed *seed)
{
    for (size_t i = 0; i < seed->sockets->n; i++) {
        door *d = &l->doors[i];
        d->socket = seed->sockets->all[i];
        int error = rotor_io_open(&d->io, &l->machine, d->socket.fd);
        if (!error)
            error = rotor_io_want(&d->io, ROTOR_READABLE);
        if (error) {
            if (seed->options->failed)
                *seed->options->failed = d->socket.asked;
            return error == UV_EEXIST ? ROTOR_ETAKEN : error;
        }
    }
    return 0;
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    listener *l = (listener *)m;
    const listener_seed *seed = data;
    l->child =
        (rotor_stream_seed){.protocol = seed->protocol, .fd = -1, .seed = seed->options->seed};
    int error = open_doors(l, seed);
    if (error) /* rotor_listen itself fails: the sockets stay its own, and `closed` is not called */
        return rotor_error(error);
    l->options = *seed->options;
    l->options.failed = NULL;
    l->n = seed->sockets->n;
    seed->sockets->n = 0;
    for (size_t i = 0; i < l->n; i++)
        rotor__listening_take(&l->doors[i].socket);
    return rotor_ok();
}

/* `io` NULL: a pause is over. */
static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    listener *l = (listener *)m;
    l->knocked = io ? ROTOR__CONTAINER(io, door, io) : NULL;
    l->silent = 0;
    l->accepts = 0;
    return accept_next(l, scope);
}

static rotor_response on_spawned(rotor_machine *m, rotor_scope *scope, rotor_handle child)
{
    return accept_next((listener *)m, scope);
}

static rotor_response on_spawn_error(rotor_machine *m, rotor_scope *scope, int error, void *seed)
{
    listener *l = (listener *)m;
    if (l->child.fd >= 0) /* it waits in hand until there is room for it */
        return pause_until(l, error == ROTOR_ECAPACITY ? ROTOR_NEVER : rotor_now(scope) + RETRY_MS);
    /* It began, failed, and closed its socket: no reason to stop, and nobody else hears of it. */
    if (scope->loop->config.on_error)
        scope->loop->config.on_error(scope->loop, m, error);
    return accept_next(l, scope);
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    return on_ready(m, scope, NULL, 0);
}

static void on_drop(rotor_machine *m)
{
    listener *l = (listener *)m;
    if (l->child.fd >= 0)
        close(l->child.fd);
    for (size_t i = 0; i < l->n; i++)
        rotor__listening_close(&l->doors[i].socket);
    if (l->options.closed)
        l->options.closed(l->options.seed);
}

static void describe(const rotor_machine *m, char *text, size_t size)
{
    char where[ROTOR_ADDRESS_SIZE];
    bool waits = m->flags & ROTOR__WAITS; /* for a slot or a descriptor */
    if (rotor_listener_address(m->loop, m->self, where, sizeof where))
        where[0] = '\0';
    snprintf(text, size, "%s on %s", waits ? "room for connections" : "connections", where);
}

static const rotor_type listener_type = {
    .name = "listener",
    .size = sizeof(listener),
    .size_of = size_of,
    .create = on_create,
    .ready = on_ready,
    .spawned = on_spawned,
    .spawn_error = on_spawn_error,
    .timeout = on_wakeup,
    .wakeup = on_wakeup,
    .drop = on_drop,
    .describe = describe,
};

static uint32_t descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    uint32_t n = (uint32_t)limit.rlim_cur;
    return n > 2 * SPARE_DESCRIPTORS ? n - SPARE_DESCRIPTORS : n / 2 + 1;
}

uint32_t rotor__listen_most(const rotor_loop *loop, uint32_t asked)
{
    uint32_t most = asked ? asked : descriptor_limit();
    size_t capacity = rotor_loop_capacity(loop);
    return most > capacity ? (uint32_t)capacity : most;
}

int rotor_listen(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                 const rotor_listen_options *given, rotor_handle *handle)
{
    rotor_listen_options options = {0};
    rotor__listenings sockets = {0};
    if (given)
        options = *given;
    options.connections = rotor__listen_most(loop, options.connections);
    if (options.failed)
        *options.failed = NULL;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    if (!rotor__protocol_is_valid(protocol) || options.keepalive_s > ROTOR__KEEPALIVE_MOST_S)
        return UV_EINVAL;

    int error = rotor__listenings_open(&sockets, loop, address, &options);
    if (!error) {
        listener_seed seed = {protocol, &options, &sockets};
        error = rotor__add_now(loop, &listener_type, &seed, handle);
    }
    rotor__listenings_release(&sockets);
    return error;
}

const rotor_listen_options *rotor__listener_options(rotor_loop *loop, rotor_handle handle)
{
    rotor_machine *m = rotor_find(loop, handle);
    return m && m->type == &listener_type ? &((listener *)m)->options : NULL;
}

const rotor_protocol *rotor__listener_protocol(const rotor_machine *m)
{
    return m->type == &listener_type ? ((const listener *)m)->child.protocol : NULL;
}

rotor__listening *rotor__listener_socket(rotor_loop *loop, rotor_handle handle)
{
    rotor_machine *m = rotor_find(loop, handle);
    listener *l = m && m->type == &listener_type ? (listener *)m : NULL;
    return l && l->n == 1 ? &l->doors[0].socket : NULL;
}

int rotor_listener_address(rotor_loop *loop, rotor_handle handle, char *text, size_t size)
{
    rotor_machine *m = rotor_find(loop, handle);
    size_t used = 0;
    int error = 0;
    if (size > 0)
        text[0] = '\0';
    if (!m)
        return ROTOR_ECLOSED;
    if (m->type != &listener_type)
        return UV_EINVAL;
    const listener *l = (const listener *)m;
    for (size_t i = 0; i < l->n && used + 1 < size && !error; i++) {
        rotor_address address = {.len = sizeof address.storage};
        if (i > 0)
            text[used++] = ',';
        if (getsockname(l->doors[i].socket.fd, &address.any, &address.len))
            error = -errno;
        else
            error = rotor_address_format(&address, text + used, size - used);
        used += error ? 0 : strlen(text + used);
    }
    if (error)
        text[0] = '\0';
    return error;
}
