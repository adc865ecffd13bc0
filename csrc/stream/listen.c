/* The listener: accepts, and makes a stream of each connection. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../core/private.h"
#include "address.h"
#include "listen.h"

enum {
    DEFAULT_BACKLOG = 1024,
    SPARE_DESCRIPTORS = 64, /* left to the rest of the program */
    ACCEPTS_PER_EVENT = 64,
    RETRY_MS = 100
};

typedef struct listener {
    rotor_machine machine;
    rotor_io io;
    rotor_listen_options options;
    rotor_stream_seed child; /* child.fd: accepted, but no stream yet; -1: none */
    rotor_address address;   /* as bound, but for port 0 */
    int fd;
    int accepts; /* in this event */
} listener;

typedef struct listener_seed {
    const rotor_protocol *protocol;
    const rotor_listen_options *options;
    const rotor_address *address;
    int fd;
} listener_seed;

/* A Unix socket's file goes with the socket. */
static void close_socket(int fd, const rotor_address *address)
{
    close(fd);
    if (address->any.sa_family == AF_UNIX && address->un.sun_path[0])
        unlink(address->un.sun_path);
}

/* Accept nothing until a machine of this loop has ended, or until `deadline`. */
static rotor_response pause_until(listener *l, uint64_t deadline)
{
    rotor__machine_wait_slot(&l->machine);
    rotor_io_want(&l->io, 0);
    return rotor_ok_until(deadline);
}

static rotor_response accept_next(listener *l, rotor_scope *scope)
{
    if (l->child.fd >= 0)
        return rotor_spawn(scope, &rotor_stream_type, &l->child);
    if (rotor_loop_count(scope->loop) >= l->options.connections)
        return pause_until(l, ROTOR_NEVER);
    if (l->accepts++ < ACCEPTS_PER_EVENT) {
        l->child.fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (l->child.fd >= 0)
            return rotor_spawn(scope, &rotor_stream_type, &l->child);
        /* Nobody is left, or who came has gone again. Otherwise descriptors or memory are short, or
        ** it is something that polling again would not make better. */
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED && errno != EINTR)
            return pause_until(l, rotor_now(scope) + RETRY_MS);
    }
    int error = rotor_io_want(&l->io, ROTOR_READABLE);
    return error ? rotor_error(error) : rotor_ok();
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    listener *l = (listener *)m;
    listener_seed *seed = data;
    l->options = *seed->options;
    l->child = (rotor_stream_seed){.protocol = seed->protocol, .fd = -1, .seed = l->options.seed};
    l->address = *seed->address;
    l->fd = seed->fd;
    seed->fd = -1;
    int error = rotor_io_open(&l->io, m, l->fd);
    if (!error)
        error = rotor_io_want(&l->io, ROTOR_READABLE);
    if (error) {
        l->options.closed = NULL; /* rotor_listen itself fails */
        return rotor_error(error);
    }
    return rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    listener *l = (listener *)m;
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
    close_socket(l->fd, &l->address);
    if (l->options.closed)
        l->options.closed(l->options.seed);
}

static const rotor_type listener_type = {
    .name = "listener",
    .size = sizeof(listener),
    .create = on_create,
    .ready = on_ready,
    .spawned = on_spawned,
    .spawn_error = on_spawn_error,
    .timeout = on_wakeup,
    .wakeup = on_wakeup,
    .drop = on_drop,
};

static uint32_t descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > UINT32_MAX)
        return UINT32_MAX;
    uint32_t n = (uint32_t)limit.rlim_cur;
    return n > 2 * SPARE_DESCRIPTORS ? n - SPARE_DESCRIPTORS : n / 2 + 1;
}

static int open_socket(const rotor_address *address, const rotor_listen_options *options)
{
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    bool tcp = family != AF_UNIX;
    if ((tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)) ||
        (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) ||
        /* Connections inherit it, which saves a call for each (Linux, BSD). */
        (tcp && !options->delay && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) ||
        bind(fd, &address->any, address->len)) {
        int error = -errno;
        close(fd);
        return error;
    }
    if (listen(fd, options->backlog ? options->backlog : DEFAULT_BACKLOG)) {
        int error = -errno;
        close_socket(fd, address);
        return error;
    }
    return fd;
}

/* The first of the name's addresses that can be listened on. */
static int open_named(rotor_loop *loop, const rotor_host *host, rotor_address *address,
                      const rotor_listen_options *options)
{
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int error = uv_getaddrinfo(loop->uv, &request, NULL, host->name, host->port, &hints);
    if (error)
        return error;
    int fd = UV_EAI_NODATA;
    for (const struct addrinfo *info = request.addrinfo; info && fd < 0; info = info->ai_next) {
        address->len = info->ai_addrlen;
        memcpy(&address->storage, info->ai_addr, address->len);
        fd = open_socket(address, options);
    }
    uv_freeaddrinfo(request.addrinfo);
    return fd;
}

int rotor_listen(rotor_loop *loop, const char *text, const rotor_protocol *protocol,
                 const rotor_listen_options *given, rotor_handle *handle)
{
    rotor_listen_options options = {0};
    rotor_address address;
    rotor_host host;
    if (given)
        options = *given;
    if (options.connections == 0)
        options.connections = descriptor_limit();
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    if (!rotor__protocol_is_valid(protocol))
        return UV_EINVAL;

    int kind = rotor_address_parse(text, &address, &host);
    if (kind < 0)
        return kind;
    int fd =
        kind > 0 ? open_named(loop, &host, &address, &options) : open_socket(&address, &options);
    if (fd < 0)
        return fd;
    listener_seed seed = {protocol, &options, &address, fd};
    int error = rotor__add_now(loop, &listener_type, &seed, handle);
    if (seed.fd >= 0) /* no listener was made that would own it */
        close_socket(seed.fd, &address);
    return error;
}

const rotor_listen_options *rotor__listener_options(rotor_loop *loop, rotor_handle handle)
{
    rotor_machine *m = rotor_find(loop, handle);
    return m && m->type == &listener_type ? &((listener *)m)->options : NULL;
}

int rotor_listener_address(rotor_loop *loop, rotor_handle handle, char *text, size_t size)
{
    rotor_machine *m = rotor_find(loop, handle);
    rotor_address address = {.len = sizeof address.storage};
    if (size > 0)
        text[0] = '\0';
    if (!m)
        return ROTOR_ECLOSED;
    if (m->type != &listener_type)
        return UV_EINVAL;
    if (getsockname(((listener *)m)->fd, &address.any, &address.len))
        return -errno;
    return rotor_address_format(&address, text, size);
}
