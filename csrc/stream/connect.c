/* Connecting, as a transport: its handshake looks the name up and connects, and then puts the plain
** transport in its own place. */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "../core/private.h"
#include "address.h"
#include "connect.h"

enum { DEFAULT_TIMEOUT_MS = 10000 };

typedef struct attempt attempt;

typedef struct connector {
    rotor_transport transport;
    rotor_loop *loop;
    rotor_handle stream;
    uint32_t timeout_ms;
    bool started, abandoned, looking, delay;
    int result; /* 0: `fd` is connected; UV_EAGAIN: under way; else why the last attempt failed */
    int fd;
    attempt *attempt;
    rotor_address numeric; /* len 0: none, or tried already */
    rotor_host host;
    struct addrinfo *found, *next;
    uv_getaddrinfo_t lookup;
} connector;

/* A socket connecting. Lives until libuv has closed its handle, which may be after the connector. */
struct attempt {
    uv_poll_t poll;
    rotor_loop *loop;
    connector *owner;
    int fd;
};

static connector *of_stream(rotor_stream *s)
{
    return ROTOR__CONTAINER(s->transport, connector, transport);
}

static void free_connector(connector *c)
{
    uv_freeaddrinfo(c->found);
    rotor_free(c);
}

static void tell_stream(connector *c)
{
    rotor_machine *m = rotor_find(c->loop, c->stream);
    if (m && c->result != UV_EAGAIN)
        rotor__machine_soon(m);
}

/* -- one attempt ------------------------------------------------------------------------------- */

static void try_next(connector *c);

static void on_attempt_closed(uv_handle_t *handle)
{
    attempt *a = (attempt *)handle;
    rotor_loop *loop = a->loop;
    rotor_free(a);
    rotor__loop_handle_closed(loop);
}

/* Stop watching; the descriptor is the caller's again. */
static int end_attempt(connector *c)
{
    int fd = c->attempt->fd;
    uv_close((uv_handle_t *)&c->attempt->poll, on_attempt_closed);
    c->attempt = NULL;
    return fd;
}

static void on_attempt(uv_poll_t *poll, int status, int events)
{
    connector *c = ((attempt *)poll)->owner;
    int error = 0;
    socklen_t len = sizeof error;
    rotor__loop_enter(c->loop);
    int fd = end_attempt(c);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error) {
        close(fd);
        c->result = -error;
        try_next(c);
    } else {
        c->fd = fd;
        c->result = 0;
    }
    tell_stream(c);
    rotor__loop_leave(c->loop);
}

static int watch(connector *c, int fd)
{
    attempt *a = rotor_alloc_zero(sizeof *a);
    if (!a)
        return UV_ENOMEM;
    int error = uv_poll_init(c->loop->uv, &a->poll, fd);
    if (error) {
        rotor_free(a);
        return error;
    }
    a->loop = c->loop;
    a->owner = c;
    a->fd = fd;
    a->loop->handles++;
    c->attempt = a;
    error = uv_poll_start(&a->poll, UV_WRITABLE, on_attempt);
    if (error)
        end_attempt(c);
    return error;
}

/* 0: connected or under way, as c->result says. */
static int attempt_address(connector *c, const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    int error = 0;
    if (address->sa_family != AF_UNIX && !c->delay)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!connect(fd, address, len)) {
        c->result = 0;
        c->fd = fd;
        return 0;
    }
    /* A Unix socket answers EAGAIN when the listener's backlog is full, and will not tell when it no
    ** longer is (connect(2)); TCP would refuse. */
    if (errno == EINPROGRESS || errno == EINTR)
        error = watch(c, fd);
    else
        error = errno == EAGAIN ? UV_ECONNREFUSED : -errno;
    if (error)
        close(fd);
    else
        c->result = UV_EAGAIN;
    return error;
}

static void try_next(connector *c)
{
    if (c->numeric.len) {
        socklen_t len = c->numeric.len;
        c->numeric.len = 0;
        int error = attempt_address(c, &c->numeric.any, len);
        if (error)
            c->result = error;
        return;
    }
    while (c->next) {
        const struct addrinfo *info = c->next;
        c->next = info->ai_next;
        int error = attempt_address(c, info->ai_addr, info->ai_addrlen);
        if (!error)
            return;
        c->result = error;
    }
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    connector *c = ROTOR__CONTAINER(request, connector, lookup);
    c->looking = false;
    c->found = c->next = found;
    if (c->abandoned) {
        free_connector(c);
        return;
    }
    rotor__loop_enter(c->loop);
    c->result = status ? status : UV_EAI_NODATA;
    try_next(c);
    tell_stream(c);
    rotor__loop_leave(c->loop);
}

/* -- the transport ----------------------------------------------------------------------------- */

static void start(connector *c)
{
    c->result = UV_EAGAIN;
    if (c->numeric.len) {
        try_next(c);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int error =
        uv_getaddrinfo(c->loop->uv, &c->lookup, on_found, c->host.name, c->host.port, &hints);
    c->looking = !error;
    if (error)
        c->result = error;
}

static int connecting_handshake(rotor_stream *s)
{
    connector *c = of_stream(s);
    if (!c->started) {
        /* The result is told later, also when it is there at once: this may be inside somebody's
        ** transition, and the protocol must not begin inside of it. */
        c->started = true;
        c->stream = s->machine.self;
        s->opening.deadline = c->loop->now + c->timeout_ms;
        start(c);
        tell_stream(c);
        return UV_EAGAIN;
    }
    if (c->result)
        return c->result;
    s->io.fd = c->fd;
    s->transport = &rotor_plain;
    free_connector(c);
    return rotor_io_open(&s->io, &s->machine, s->io.fd);
}

static void connecting_close(rotor_stream *s)
{
    connector *c = of_stream(s);
    s->transport = &rotor_plain;
    if (c->attempt)
        close(end_attempt(c));
    else if (c->started && c->result == 0)
        close(c->fd);
    if (c->looking) {
        c->abandoned = true; /* on_found frees it */
        (void)uv_cancel((uv_req_t *)&c->lookup);
    } else {
        free_connector(c);
    }
}

int rotor_connect(rotor_loop *loop, const char *text, const rotor_protocol *protocol,
                  const rotor_connect_options *given, rotor_handle *handle)
{
    rotor_connect_options options = {0};
    if (given)
        options = *given;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    connector *c = rotor_alloc_zero(sizeof *c);
    if (!c)
        return UV_ENOMEM;
    int error = rotor_address_parse(text, &c->numeric, &c->host);
    if (error < 0) {
        rotor_free(c);
        return error;
    }
    if (error > 0)
        c->numeric.len = 0;
    c->transport = (rotor_transport){
        .name = "connecting", .handshake = connecting_handshake, .close = connecting_close};
    c->loop = loop;
    c->delay = options.delay;
    c->timeout_ms = options.timeout_ms ? options.timeout_ms : DEFAULT_TIMEOUT_MS;
    rotor_stream_seed seed = {.protocol = protocol,
                              .transport = &c->transport,
                              .fd = -1,
                              .seed = options.seed,
                              .release = options.release};
    rotor_handle stream;
    error = rotor__add_now(loop, &rotor_stream_type, &seed, &stream);
    if (error)
        rotor_free(c); /* no stream was made, so none has closed it */
    else if (handle)
        *handle = stream;
    return error;
}
