/* The datagram socket as a machine: receives in batches into the loop's read block, and sends at once.
**
** Nothing is queued, in or out: what cannot be sent is the sender's to send again. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "../core/private.h"
#include "private.h"

enum {
    CREATED = 1,   /* the protocol's create was called */
    CONNECTED = 2, /* there is a peer */
    BLOCKED = 4    /* `writable` is owed */
};

enum { DEFAULT_TURNS = 64 };

/* -- sending ----------------------------------------------------------------------------------- */

static int try_to_send(const rotor_datagram *d, const void *data, size_t n, const rotor_address *to)
{
    ssize_t sent;
    do
        sent = sendto(d->io.fd, data, n, MSG_NOSIGNAL, to ? &to->any : NULL, to ? to->len : 0);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    return errno == EWOULDBLOCK ? UV_EAGAIN : -errno;
}

static int wait_for_room(rotor_datagram *d, const rotor_address *to)
{
    /* A Unix socket is refused while its receiver's queue is full, but polls for its own buffer and
    ** its peer's queue only: it would be found writable at once, again and again. */
    struct pollfd self = {.fd = d->io.fd, .events = POLLOUT};
    if (d->family == AF_UNIX && to && poll(&self, 1, 0) > 0 && self.revents & POLLOUT)
        return UV_ENOBUFS;
    if (!d->protocol->writable)
        return UV_EAGAIN;
    d->flags |= BLOCKED;
    int error = d->flags & CREATED ? rotor_io_want(&d->io, ROTOR_READABLE | ROTOR_WRITABLE) : 0;
    return error ? error : UV_EAGAIN;
}

int rotor_datagram_send(rotor_datagram *d, const void *data, size_t n, const rotor_address *to)
{
    int error = try_to_send(d, data, n, to);
    if (error && error != UV_EAGAIN && d->flags & CONNECTED && d->family != AF_UNIX) {
        /* What has become of an earlier datagram is told to whichever call comes next. If this is
        ** such news, it is gone now, and nothing was sent. */
        int again = try_to_send(d, data, n, to);
        if (again != error) {
            d->error = error;
            rotor__machine_soon(&d->machine);
            error = again;
        }
    }
    return error == UV_EAGAIN ? wait_for_room(d, to) : error;
}

/* -- transitions ------------------------------------------------------------------------------- */

/* Nobody here would hear `spawned`. */
static rotor_response checked(rotor_response answer)
{
    return answer.kind == ROTOR_SPAWN ? rotor_error(ROTOR_EUNEXPECTED) : answer;
}

static bool goes_on(rotor_response r)
{
    return r.kind == ROTOR_OK || r.kind == ROTOR_SAME;
}

/* Add an answer to those before it in the same event. False when it is the last. */
static bool add_answer(rotor_response *r, rotor_response answer)
{
    answer = checked(answer);
    if (answer.kind != ROTOR_SAME)
        *r = answer;
    return goes_on(answer);
}

static bool except(rotor_datagram *d, rotor_scope *scope, int error, rotor_response *r)
{
    return add_answer(r, d->protocol->exception ? d->protocol->exception(d, scope, error)
                                                : rotor_error(error));
}

/* Receive one datagram, or what has become of one that was sent, into `room` and tell it. False when
** there is none, or the machine ends. */
static bool receive_one(rotor_datagram *d, rotor_scope *scope, char *room, rotor_response *r)
{
    rotor_datagram_info info;
    struct iovec part = {room, d->max};
    struct msghdr message = {.msg_name = &info.from.storage,
                             .msg_namelen = sizeof info.from.storage,
                             .msg_iov = &part,
                             .msg_iovlen = 1};
    info.from.any.sa_family = d->family; /* which a sender without a name leaves as it is */
    ssize_t n = recvmsg(d->io.fd, &message, MSG_TRUNC);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n < 0)
        return except(d, scope, -errno, r);
    if (!d->protocol->datagram)
        return true;
    info.from.len = message.msg_namelen;
    info.size = (size_t)n;
    size_t have = info.size < d->max ? info.size : d->max;
    return add_answer(r, d->protocol->datagram(d, scope, room, have, &info));
}

/* False when the machine ends. What is left over is found in the loop's next turn, as it polls. */
static bool receive(rotor_datagram *d, rotor_scope *scope, rotor_response *r)
{
    rotor_buf buffer = ROTOR_BUF_INIT;
    rotor_buf_lend(&buffer, d->machine.loop->read_block);
    char *room = rotor_buf_reserve(&buffer, d->max);
    uint32_t turns = d->protocol->turns ? d->protocol->turns : DEFAULT_TURNS;
    while (turns > 0 && receive_one(d, scope, room, r))
        turns--;
    (void)rotor_buf_return(&buffer);
    return goes_on(*r);
}

/* -- the machine's transitions ----------------------------------------------------------------- */

static rotor_response wait_on(rotor_datagram *d, rotor_response r)
{
    unsigned events = ROTOR_READABLE | (d->flags & BLOCKED ? ROTOR_WRITABLE : 0);
    int error = rotor_io_want(&d->io, events);
    return error ? rotor_error(error) : r;
}

/* `told`: rotor_udp() returns the failure of `create`, and with it the seed. */
static rotor_response begin(rotor_datagram *d, rotor_scope *scope, bool told)
{
    d->flags |= CREATED;
    rotor_response r = checked(d->protocol->create(d, scope, d->seed));
    if (d->release && !(told && r.kind == ROTOR_ERROR))
        d->release(d->seed);
    return goes_on(r) ? wait_on(d, r) : r;
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    rotor_datagram *d = (rotor_datagram *)m;
    rotor__datagram_seed *seed = data;
    d->protocol = seed->protocol;
    d->family = seed->family;
    d->device = seed->device;
    d->inode = seed->inode;
    d->flags = seed->connected ? CONNECTED : 0;
    d->max = seed->max;
    d->io.fd = seed->fd;
    seed->fd = -1;
    int error = rotor_io_open(&d->io, m, d->io.fd);
    if (error)
        return rotor_error(error);
    d->seed = seed->seed;
    d->release = seed->release;
    if (seed->at_once)
        return begin(d, scope, true);
    rotor__machine_soon(m);
    return rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    rotor_datagram *d = (rotor_datagram *)m;
    rotor_response r = rotor_same();
    if (!(d->flags & CREATED))
        return begin(d, scope, false);
    if (d->error) {
        int error = d->error;
        d->error = 0;
        if (!except(d, scope, error, &r))
            return r;
    }
    if (events & ROTOR_READABLE && !receive(d, scope, &r))
        return r;
    if (events & ROTOR_WRITABLE && d->flags & BLOCKED) {
        d->flags &= (uint16_t)~BLOCKED;
        if (!add_answer(&r, d->protocol->writable(d, scope)))
            return r;
    }
    return wait_on(d, r);
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_datagram *d = (rotor_datagram *)m;
    if (!d->protocol->timeout)
        return rotor_error(ROTOR_ETIMEDOUT);
    return checked(d->protocol->timeout(d, scope));
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    rotor_datagram *d = (rotor_datagram *)m;
    return d->protocol->wakeup ? checked(d->protocol->wakeup(d, scope)) : rotor_same();
}

static void on_drop(rotor_machine *m)
{
    rotor_datagram *d = (rotor_datagram *)m;
    if (!(d->flags & CREATED) && d->release)
        d->release(d->seed);
    if (d->flags & CREATED && d->protocol->drop)
        d->protocol->drop(d);
    rotor__datagram_close(d->io.fd, d->device, d->inode);
}

static size_t datagram_size(const void *seed)
{
    const rotor_datagram_protocol *protocol = ((const rotor__datagram_seed *)seed)->protocol;
    return protocol->create && protocol->size >= sizeof(rotor_datagram) ? protocol->size : 0;
}

static const char *datagram_name(const rotor_machine *m)
{
    return ((const rotor_datagram *)m)->protocol->name;
}

static void describe(const rotor_machine *m, char *text, size_t size)
{
    const rotor_datagram *d = (const rotor_datagram *)m;
    char own[ROTOR_ADDRESS_SIZE] = "", peer[ROTOR_ADDRESS_SIZE] = "";
    (void)rotor_datagram_local(d, own, sizeof own);
    bool connected = rotor_datagram_peer(d, peer, sizeof peer) == 0;
    snprintf(text, size, "datagrams%s on %s%s%s", d->flags & BLOCKED ? ", or room to send," : "",
             own, connected ? ", peer " : "", peer);
}

const rotor_type rotor_datagram_type = {
    .name = "datagram",
    .size = sizeof(rotor_datagram),
    .size_of = datagram_size,
    .name_of = datagram_name,
    .create = on_create,
    .ready = on_ready,
    .timeout = on_timeout,
    .wakeup = on_wakeup,
    .drop = on_drop,
    .describe = describe,
};
