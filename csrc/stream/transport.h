/* Transports: what carries a stream's bytes. A stream reaches the network through this table only, so
** that a plain socket, TLS and a test's memory look alike to it.
**
** A transport without state of its own is a constant; one with state puts this struct first (or
** anywhere) in its own and finds itself from `s->transport`. */
#ifndef ROTOR_STREAM_TRANSPORT_H
#define ROTOR_STREAM_TRANSPORT_H

#include <sys/types.h>

#include "../core/io.h"

typedef struct rotor_stream rotor_stream;

typedef struct rotor_transport {
    const char *name; /* for messages */

    /* NULL: ready at once. Otherwise called when the stream is made, and again whenever something
    ** that was waited for (see want, rotor_again) happened: 0 when bytes can flow, UV_EAGAIN while
    ** it is under way, or the error that ends the stream. It may replace s->transport. Not called
    ** any more once it was through, also if the stream is handed on (see passed). */
    int (*handshake)(rotor_stream *s);

    /* Up to `n` > 0 bytes: how many, 0 at the end of the stream, UV_EAGAIN, or an error. */
    ssize_t (*recv)(rotor_stream *s, void *buffer, size_t n);

    /* Take up to `n` > 0 bytes: how many, UV_EAGAIN, or an error. Never raises SIGPIPE. */
    ssize_t (*send)(rotor_stream *s, const void *data, size_t n);

    /* NULL, or the same from the file `fd` at `offset`: 0 when it ends there; UV_EINVAL or UV_ENOSYS for
    ** a file that cannot be sent so, but perhaps be read. Never raises SIGPIPE either. */
    ssize_t (*send_file)(rotor_stream *s, int fd, uint64_t offset, size_t n);

    /* Tell the peer that no more will be sent. 0 or an error. */
    int (*shutdown)(rotor_stream *s);

    /* Have the stream's machine told when it can receive (ROTOR_READABLE) or send (ROTOR_WRITABLE), or
    ** that the peer has closed its direction (ROTOR_HANGUP); level-triggered, in place of what was
    ** wanted before. 0 or an error. */
    int (*want)(rotor_stream *s, unsigned events);

    /* NULL: not known. Asked at a ROTOR_HANGUP: the error the connection has failed with; 0 when the
    ** peer has only closed its direction. */
    int (*error)(rotor_stream *s);

    /* NULL: none. What is possible now without waiting for the descriptor (bytes that were read ahead
    ** and decrypted, say); asked when the stream's machine runs without an event. */
    unsigned (*pending)(rotor_stream *s);

    /* NULL: nothing to be done. The connection goes on as `to`, another stream, and from now on that
    ** one's machine is to be told. What it wanted is forgotten. */
    void (*passed)(rotor_stream *to);

    /* Release everything, the descriptor too. Called exactly once. */
    void (*close)(rotor_stream *s);
} rotor_transport;

/* The plain socket s->io.fd, TCP or Unix, already connected. */
extern const rotor_transport rotor_plain;

/* private: a transport for what is not reached any more. */
extern const rotor_transport rotor__nowhere;

#endif
