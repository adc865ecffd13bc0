/* Output that a stream asks its protocol for when it can be sent, and files. */
#include <errno.h>
#include <unistd.h>

#include "../core/private.h"
#include "private.h"

/* What is sent of a file at once, at most, so that a fast peer does not keep others waiting; and the least
** that is read of one at once. */
enum { MOST_SENT = 128 << 10, LEAST_READ = 8192 };

void rotor_stream_pull(rotor_stream *s)
{
    if (!rotor__stream_takes_output(s))
        return;
    if (!rotor__stream_is_sending(s))
        s->stalled_ms = (uint32_t)s->machine.loop->now;
    s->flags |= ROTOR__PULLING;
    if (!(s->flags & ROTOR__RUNNING))
        rotor__machine_soon(&s->machine);
}

int rotor__stream_pull(rotor_stream *s, rotor_scope *scope)
{
    ROTOR__IN_FORCE(protocol, s, pull);
    s->flags |= ROTOR__IN_PULL;
    ssize_t n = protocol->pull ? protocol->pull(s, scope) : 0;
    s->flags &= ~(uint32_t)ROTOR__IN_PULL;
    if (n == UV_EAGAIN)
        return 0;
    if (n == 0)
        s->flags &= ~(uint32_t)ROTOR__PULLING;
    return n < 0 ? (int)n : 1;
}

static ssize_t read_file(rotor_stream *s, int fd, uint64_t offset, size_t n)
{
    rotor_buf *output = rotor_stream_output(s);
    char *room = rotor_buf_reserve(output, n < LEAST_READ ? n : LEAST_READ);
    ssize_t got;
    if (!room)
        return UV_ENOMEM;
    if (n > rotor_buf_room(output))
        n = rotor_buf_room(output);
    do
        got = pread(fd, room, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    int error = errno;
    rotor_buf_commit(output, got > 0 ? (size_t)got : 0);
    return got < 0 ? -error : got;
}

ssize_t rotor_stream_send_file(rotor_stream *s, int fd, uint64_t *offset, size_t n)
{
    ssize_t sent = UV_ENOSYS;
    if (!(s->flags & ROTOR__IN_PULL))
        return ROTOR_ESTATE;
    if (n == 0)
        return 0;
    if (s->transport->send_file && rotor_buf_len(&s->output) == 0) {
        sent = s->transport->send_file(s, fd, *offset, n < MOST_SENT ? n : MOST_SENT);
        if (sent > 0)
            s->stalled_ms = (uint32_t)s->machine.loop->now;
    }
    if (sent == UV_ENOSYS || sent == UV_EINVAL)
        sent = read_file(s, fd, *offset, n);
    if (sent > 0)
        *offset += (uint64_t)sent;
    return sent == 0 ? ROTOR_ETRUNCATED : sent;
}
