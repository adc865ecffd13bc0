/* The plain transport: a connected, non-blocking socket. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#ifdef __linux__
#include <sys/sendfile.h>
#endif
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "private.h"

/* What does not block is hardly ever interrupted; if it is, the poll has it tried again. */
static ssize_t negated(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EWOULDBLOCK || errno == EINTR ? UV_EAGAIN : -errno;
}

static ssize_t plain_recv(rotor_stream *s, void *buffer, size_t n)
{
    return negated(recv(s->io.fd, buffer, n, 0));
}

static ssize_t plain_send(rotor_stream *s, const void *data, size_t n)
{
    return negated(send(s->io.fd, data, n, MSG_NOSIGNAL));
}

#ifdef __linux__
/* Nothing tells sendfile() not to raise SIGPIPE, so that waits meanwhile, and is taken away: unless one
** was waiting before. */
static ssize_t plain_send_file(rotor_stream *s, int fd, uint64_t offset, size_t n)
{
    const struct timespec now = {0};
    sigset_t pipe, before, pending;
    off_t at = (off_t)offset;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    bool waiting = sigismember(&before, SIGPIPE) == 1 && !sigpending(&pending) &&
                   sigismember(&pending, SIGPIPE) == 1;
    ssize_t result = negated(sendfile(s->io.fd, fd, &at, n));
    /* Some may have been sent before the peer was found to be gone. */
    if (result != (ssize_t)n && result != UV_EAGAIN && !waiting)
        while (sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
#else
static ssize_t plain_send_file(rotor_stream *s, int fd, uint64_t offset, size_t n)
{
    return UV_ENOSYS;
}
#endif

static int plain_shutdown(rotor_stream *s)
{
    return shutdown(s->io.fd, SHUT_WR) ? -errno : 0;
}

static int plain_want(rotor_stream *s, unsigned events)
{
    return rotor_io_want(&s->io, events);
}

static int plain_error(rotor_stream *s)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) ? -errno : -error;
}

static void plain_close(rotor_stream *s)
{
    if (s->io.fd >= 0)
        close(s->io.fd);
    s->io.fd = -1;
}

const rotor_transport rotor_plain = {
    .name = "plain",
    .recv = plain_recv,
    .send = plain_send,
    .send_file = plain_send_file,
    .shutdown = plain_shutdown,
    .want = plain_want,
    .error = plain_error,
    .close = plain_close,
};

static void no_close(rotor_stream *s) {}

const rotor_transport rotor__nowhere = {.name = "nowhere", .close = no_close};

static int address_of(const rotor_stream *s, char *text, size_t size,
                      int (*get)(int, struct sockaddr *, socklen_t *))
{
    rotor_address address = {.len = sizeof address.storage};
    if (size > 0)
        text[0] = '\0';
    if (get(s->io.fd, &address.any, &address.len))
        return -errno;
    return rotor_address_format(&address, text, size);
}

int rotor_stream_peer(const rotor_stream *s, char *text, size_t size)
{
    if (s->transport->handshake && rotor__connecting_peer(s, text, size) == 0)
        return 0;
    return address_of(s, text, size, getpeername);
}

int rotor_stream_local(const rotor_stream *s, char *text, size_t size)
{
    return address_of(s, text, size, getsockname);
}
