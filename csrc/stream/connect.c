/* Connecting, as a transport: its handshake looks the name up and connects, and then puts the plain
** transport in its own place.
**
** Addresses are tried by RFC 8305: families in turn, and the next one begins while earlier ones are
** still under way. All of that is decided in `proceed`, in the stream's handshake: libuv's callbacks
** note what has happened, and have the handshake called. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/private.h"
#include "address.h"
#include "connect.h"
#include "private.h"

enum { DEFAULT_TIMEOUT_MS = 10000, ATTEMPT_DELAY_MS = 250 };

typedef struct attempt attempt;

typedef struct connector {
    rotor_transport transport;
    rotor_loop *loop;
    rotor_handle stream;
    uint32_t timeout_ms, keepalive_s;
    bool delay, started, looking, abandoned;
    int error;                      /* the most telling one so far */
    int fd;                         /* that is connected, or -1 */
    uint64_t next_at;               /* when the next attempt begins, if any is under way */
    attempt *attempts;              /* under way */
    int family, turn;               /* of the first address; whose turn it is */
    const struct addrinfo *next[2]; /* yet to be tried: of that family, and of others */
    struct addrinfo *found, only;   /* by looking up; for a numeric address */
    rotor_address numeric;
    rotor_host host;
    uv_getaddrinfo_t lookup;
} connector;

/* A socket connecting. Lives until libuv has closed its handle, which may be after the connector. */
struct attempt {
    uv_poll_t poll;
    rotor_loop *loop;
    connector *owner;
    attempt *next;
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
    if (m)
        rotor__machine_soon(m);
}

/* -- one attempt ------------------------------------------------------------------------------- */

static void on_attempt_closed(uv_handle_t *handle)
{
    attempt *a = (attempt *)handle;
    rotor_loop *loop = a->loop;
    rotor_free(a);
    rotor__loop_handle_closed(loop);
}

/* Stop watching; the descriptor is the caller's again. */
static int end_attempt(attempt *a)
{
    attempt **link = &a->owner->attempts;
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    uv_close((uv_handle_t *)&a->poll, on_attempt_closed);
    return a->fd;
}

static void end_attempts(connector *c)
{
    while (c->attempts)
        close(end_attempt(c->attempts));
}

static void win(connector *c, int fd)
{
    c->fd = fd;
    end_attempts(c);
}

/* How much an error says, where several addresses have failed in different ways. */
static int weight(int error)
{
    switch (error) {
    case 0:
        return 0;
    case UV_ENETUNREACH:
    case UV_EHOSTUNREACH:
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
        return 1; /* there is no way to that one, as on a machine without IPv6 */
    default:
        return 2;
    case UV_ENOMEM:
    case UV_ENOBUFS:
    case UV_EMFILE:
    case UV_ENFILE:
        return 3; /* it was not even tried */
    }
}

static void fail(connector *c, int error)
{
    if (weight(error) > weight(c->error))
        c->error = error;
    c->next_at = 0;
}

static void on_attempt(uv_poll_t *poll, int status, int events)
{
    attempt *a = (attempt *)poll;
    connector *c = a->owner;
    int error = 0;
    socklen_t len = sizeof error;
    rotor__loop_enter(c->loop);
    int fd = end_attempt(a);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error) {
        close(fd);
        fail(c, -error);
    } else {
        win(c, fd);
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
    a->next = c->attempts;
    c->attempts = a;
    error = uv_poll_start(&a->poll, UV_WRITABLE, on_attempt);
    if (error)
        end_attempt(a);
    return error;
}

/* What cannot be set is done without. */
static void set_options(const connector *c, int fd)
{
    int on = 1, idle = (int)c->keepalive_s;
    if (!c->delay)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (idle > 0 && !setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static void attempt_address(connector *c, const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail(c, -errno);
        return;
    }
    int error = 0;
    if (info->ai_family != AF_UNIX)
        set_options(c, fd);
    if (!connect(fd, info->ai_addr, info->ai_addrlen)) {
        win(c, fd);
        return;
    }
    /* A Unix socket answers EAGAIN when the listener's backlog is full, and will not tell when it no
    ** longer is (connect(2)); TCP would refuse. */
    if (errno == EINPROGRESS || errno == EINTR)
        error = watch(c, fd);
    else
        error = errno == EAGAIN ? UV_ECONNREFUSED : -errno;
    if (error) {
        close(fd);
        fail(c, error);
    }
}

/* -- the addresses ----------------------------------------------------------------------------- */

static const struct addrinfo *skip_to(const struct addrinfo *info, int family, bool same)
{
    while (info && (info->ai_family == family) != same)
        info = info->ai_next;
    return info;
}

static void set_addresses(connector *c, const struct addrinfo *first)
{
    c->family = first ? first->ai_family : AF_UNSPEC;
    c->next[0] = first;
    c->next[1] = skip_to(first, c->family, false);
}

static bool has_next(const connector *c)
{
    return c->next[0] || c->next[1];
}

static const struct addrinfo *take_next(connector *c)
{
    int turn = c->next[c->turn] ? c->turn : !c->turn;
    const struct addrinfo *info = c->next[turn];
    c->next[turn] = skip_to(info->ai_next, c->family, turn == 0);
    c->turn = !turn;
    return info;
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    connector *c = ROTOR__CONTAINER(request, connector, lookup);
    c->looking = false;
    c->found = found;
    if (c->abandoned) {
        free_connector(c);
        return;
    }
    rotor__loop_enter(c->loop);
    c->error = status;
    set_addresses(c, found);
    tell_stream(c);
    rotor__loop_leave(c->loop);
}

static void start(connector *c)
{
    c->started = true;
    if (c->fd >= 0) /* it was connected before */
        return;
    if (c->numeric.len) {
        set_addresses(c, &c->only);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    c->error =
        uv_getaddrinfo(c->loop->uv, &c->lookup, on_found, c->host.name, c->host.port, &hints);
    c->looking = !c->error;
}

/* -- the transport ----------------------------------------------------------------------------- */

/* 0: connected; UV_EAGAIN: under way; or why there is no connection. */
static int proceed(connector *c, rotor_stream *s)
{
    uint64_t now = c->loop->now;
    while (c->fd < 0 && has_next(c) && (!c->attempts || now >= c->next_at)) {
        c->next_at = now + ATTEMPT_DELAY_MS;
        attempt_address(c, take_next(c));
    }
    if (c->fd >= 0)
        return 0;
    if (!c->attempts && !c->looking)
        return c->error ? c->error : UV_EAI_NODATA;
    s->opening.retry_at = has_next(c) ? c->next_at : 0;
    return UV_EAGAIN;
}

/* Whoever spawned the stream is told by waking it: it will run when `create` has. */
static int be_plain(connector *c, rotor_stream *s)
{
    int error = rotor_io_open(&s->io, &s->machine, c->fd);
    if (error)
        return error;
    s->transport = &rotor_plain;
    free_connector(c);
    (void)rotor_wake(s->machine.loop, s->machine.parent);
    return 0;
}

static int connecting_handshake(rotor_stream *s)
{
    connector *c = of_stream(s);
    bool first = !c->started;
    if (first) {
        c->stream = s->machine.self;
        s->opening.deadline = c->loop->now + c->timeout_ms;
        start(c);
    }
    int result = proceed(c, s);
    if (first && result != UV_EAGAIN) {
        /* Told later: this may be inside somebody's transition, and the protocol must not begin inside
        ** of it. */
        rotor__machine_soon(&s->machine);
        return UV_EAGAIN;
    }
    return result ? result : be_plain(c, s);
}

static void connecting_close(rotor_stream *s)
{
    connector *c = of_stream(s);
    s->transport = &rotor_plain;
    end_attempts(c);
    if (c->fd >= 0)
        close(c->fd);
    if (c->looking) {
        c->abandoned = true; /* on_found frees it */
        (void)uv_cancel((uv_req_t *)&c->lookup);
    } else {
        free_connector(c);
    }
}

int rotor__connecting_peer(const rotor_stream *s, char *text, size_t size)
{
    if (s->transport->handshake != connecting_handshake)
        return UV_EINVAL;
    const connector *c = ROTOR__CONTAINER(s->transport, const connector, transport);
    if (c->numeric.len > 0)
        return rotor_address_format(&c->numeric, text, size);
    if (!c->host.name[0] && c->fd >= 0)
        snprintf(text, size, "fd:%d", c->fd);
    else
        snprintf(text, size, "%s:%s", c->host.name, c->host.port);
    return 0;
}

/* -- making one -------------------------------------------------------------------------------- */

static connector *new_connector(rotor_loop *loop, const rotor_protocol *protocol,
                                const rotor_connect_options *options, rotor_stream_seed *seed)
{
    connector *c = rotor_alloc_zero(sizeof *c);
    if (!c)
        return NULL;
    c->transport = (rotor_transport){
        .name = "connecting", .handshake = connecting_handshake, .close = connecting_close};
    c->loop = loop;
    c->fd = -1;
    c->delay = options->delay;
    c->keepalive_s = options->keepalive_s;
    c->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    *seed = (rotor_stream_seed){.protocol = protocol,
                                .transport = &c->transport,
                                .fd = -1,
                                .seed = options->seed,
                                .release = options->release};
    return c;
}

int rotor__connect_seed(rotor_loop *loop, const char *text, const rotor_protocol *protocol,
                        const rotor_connect_options *options, rotor_stream_seed *seed)
{
    if (options->keepalive_s > ROTOR__KEEPALIVE_MOST_S)
        return UV_EINVAL;
    connector *c = new_connector(loop, protocol, options, seed);
    if (!c)
        return UV_ENOMEM;
    int error = rotor_address_parse(text, &c->numeric, &c->host);
    if (error < 0) {
        rotor_free(c);
        return error;
    }
    if (error > 0)
        c->numeric.len = 0;
    c->only = (struct addrinfo){.ai_family = c->numeric.any.sa_family,
                                .ai_addr = &c->numeric.any,
                                .ai_addrlen = c->numeric.len};
    return 0;
}

/* Whether `fd` is a stream socket with a peer: 0 or an error. */
static int judge_descriptor(int fd)
{
    int type = 0, listens = 0;
    socklen_t len = sizeof type;
    rotor_address peer = {.len = sizeof peer.storage};
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
        return -errno;
    if (type != SOCK_STREAM)
        return UV_EINVAL;
    len = sizeof listens;
    if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) && listens)
        return UV_EINVAL;
    return getpeername(fd, &peer.any, &peer.len) ? -errno : 0;
}

/* A seed for what is connected already. */
static int descriptor_seed(rotor_loop *loop, const char *number, const rotor_protocol *protocol,
                           const rotor_connect_options *options, rotor_stream_seed *seed)
{
    size_t digits = strspn(number, "0123456789");
    if (digits == 0 || digits > 9 || number[digits])
        return ROTOR_EADDRESS;
    int fd = atoi(number), error = judge_descriptor(fd);
    if (error)
        return error;
    if (options->keepalive_s > ROTOR__KEEPALIVE_MOST_S)
        return UV_EINVAL;
    connector *c = new_connector(loop, protocol, options, seed);
    if (!c)
        return UV_ENOMEM;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
        error = -errno;
        rotor_free(c);
        return error;
    }
    set_options(c, fd); /* of TCP; others have none of them */
    c->fd = fd;
    return 0;
}

void rotor__connect_seed_free(const rotor_stream_seed *seed)
{
    rotor_free(ROTOR__CONTAINER(seed->transport, connector, transport));
}

int rotor_connect(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                  const rotor_connect_options *given, rotor_handle *handle)
{
    rotor_connect_options options = {0};
    rotor_stream_seed seed;
    rotor_handle stream;
    if (given)
        options = *given;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    bool is_descriptor = strncmp(address, "fd:", 3) == 0;
    int error = is_descriptor ? descriptor_seed(loop, address + 3, protocol, &options, &seed)
                              : rotor__connect_seed(loop, address, protocol, &options, &seed);
    if (error)
        return error;
    error = rotor__add_now(loop, &rotor_stream_type, &seed, &stream);
    if (error)
        rotor__connect_seed_free(&seed);
    else if (handle)
        *handle = stream;
    return error;
}
