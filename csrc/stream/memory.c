/* The in-memory transport. Readiness is told as a poll would: level-triggered, one turn later. */
#include <stdint.h>

#include "../core/private.h"
#include "memory.h"

struct rotor_memory {
    rotor_transport transport;
    rotor_stream *stream; /* NULL: not made yet, or closed */
    rotor_buf to_stream, from_stream;
    size_t split, window, writes;
    int error;
    unsigned wanted;
    bool no_more, shutdown, closed, freed;
};

static rotor_memory *of_stream(rotor_stream *s)
{
    return ROTOR__CONTAINER(s->transport, rotor_memory, transport);
}

static unsigned ready_events(const rotor_memory *peer)
{
    unsigned events = 0;
    if (rotor_buf_len(&peer->to_stream) > 0 || peer->no_more || peer->error)
        events |= ROTOR_READABLE;
    if (peer->window > 0 || peer->error)
        events |= ROTOR_WRITABLE;
    if (peer->no_more || peer->error)
        events |= ROTOR_HANGUP;
    return events & peer->wanted;
}

static void poke(rotor_memory *peer)
{
    if (peer->stream && ready_events(peer))
        rotor__machine_again(&peer->stream->machine);
}

static ssize_t memory_recv(rotor_stream *s, void *buffer, size_t n)
{
    rotor_memory *peer = of_stream(s);
    size_t have = rotor_buf_len(&peer->to_stream);
    if (have == 0)
        return peer->error ? peer->error : peer->no_more ? 0 : UV_EAGAIN;
    if (n > have)
        n = have;
    if (peer->split && n > peer->split)
        n = peer->split;
    memcpy(buffer, rotor_buf_data(&peer->to_stream), n);
    rotor_buf_consume(&peer->to_stream, n);
    return (ssize_t)n;
}

static ssize_t memory_send(rotor_stream *s, const void *data, size_t n)
{
    rotor_memory *peer = of_stream(s);
    peer->writes++;
    if (peer->error)
        return peer->error;
    if (peer->window == 0)
        return UV_EAGAIN;
    if (n > peer->window)
        n = peer->window;
    int error = rotor_buf_extend(&peer->from_stream, data, n);
    if (error)
        return error;
    if (peer->window != SIZE_MAX)
        peer->window -= n;
    return (ssize_t)n;
}

static int memory_shutdown(rotor_stream *s)
{
    of_stream(s)->shutdown = true;
    return 0;
}

static int memory_want(rotor_stream *s, unsigned events)
{
    rotor_memory *peer = of_stream(s);
    peer->wanted = events;
    poke(peer);
    return 0;
}

static int memory_error(rotor_stream *s)
{
    return of_stream(s)->error;
}

static unsigned memory_pending(rotor_stream *s)
{
    return ready_events(of_stream(s));
}

static void memory_passed(rotor_stream *to)
{
    rotor_memory *peer = of_stream(to);
    peer->stream = to;
    peer->wanted = 0;
}

static void memory_close(rotor_stream *s)
{
    rotor_memory *peer = of_stream(s);
    peer->stream = NULL;
    peer->closed = true;
    if (peer->freed)
        rotor_memory_free(peer);
}

rotor_memory *rotor_memory_new(void)
{
    rotor_memory *peer = rotor_alloc_zero(sizeof *peer);
    if (!peer)
        return NULL;
    peer->window = SIZE_MAX;
    peer->transport = (rotor_transport){
        .name = "memory",
        .recv = memory_recv,
        .send = memory_send,
        .shutdown = memory_shutdown,
        .want = memory_want,
        .error = memory_error,
        .pending = memory_pending,
        .passed = memory_passed,
        .close = memory_close,
    };
    return peer;
}

void rotor_memory_free(rotor_memory *peer)
{
    peer->freed = true;
    if (peer->stream) { /* which still uses the transport; its close comes back here */
        rotor_buf_consume(&peer->to_stream, rotor_buf_len(&peer->to_stream));
        rotor_memory_fail(peer, UV_ECONNRESET);
        return;
    }
    rotor_buf_fini(&peer->to_stream);
    rotor_buf_fini(&peer->from_stream);
    rotor_free(peer);
}

int rotor_memory_connect(rotor_memory *peer, rotor_loop *loop, const rotor_protocol *protocol,
                         void *seed, rotor_handle *handle)
{
    rotor_stream_seed stream = {
        .protocol = protocol, .transport = &peer->transport, .fd = -1, .seed = seed};
    rotor_handle self;
    int error = rotor_add(loop, &rotor_stream_type, &stream, &self);
    peer->stream = (rotor_stream *)rotor_find(loop, self);
    if (peer->stream)
        poke(peer);
    if (handle)
        *handle = self;
    return error;
}

int rotor_memory_send(rotor_memory *peer, const void *data, size_t n)
{
    int error = rotor_buf_extend(&peer->to_stream, data, n);
    poke(peer);
    return error;
}

void rotor_memory_shutdown(rotor_memory *peer)
{
    peer->no_more = true;
    poke(peer);
}

void rotor_memory_fail(rotor_memory *peer, int error)
{
    peer->error = error;
    poke(peer);
}

void rotor_memory_split(rotor_memory *peer, size_t n)
{
    peer->split = n;
}

void rotor_memory_window(rotor_memory *peer, size_t n)
{
    peer->window = n;
    poke(peer);
}

rotor_buf *rotor_memory_received(rotor_memory *peer)
{
    return &peer->from_stream;
}

size_t rotor_memory_writes(const rotor_memory *peer)
{
    return peer->writes;
}

bool rotor_memory_is_shutdown(const rotor_memory *peer)
{
    return peer->shutdown;
}

bool rotor_memory_is_closed(const rotor_memory *peer)
{
    return peer->closed;
}
