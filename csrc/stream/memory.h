/* The in-memory transport: a stream whose peer is the program itself. For tests: the same protocol at
** every split, with short writes and faults, without a socket and in the order one chooses. */
#ifndef ROTOR_STREAM_MEMORY_H
#define ROTOR_STREAM_MEMORY_H

#include "stream.h"

/* The peer's end. */
typedef struct rotor_memory rotor_memory;

/* A peer whose stream is not made yet. NULL when memory is short. */
rotor_memory *rotor_memory_new(void);

/* Free the peer; its stream, if it still runs, finds the connection reset when it next receives or
** sends. */
void rotor_memory_free(rotor_memory *peer);

/* Make the stream: `protocol` runs on it. Once for each peer, and not from a transition. 0 or what
** rotor_add() says. */
int rotor_memory_connect(rotor_memory *peer, rotor_loop *loop, const rotor_protocol *protocol,
                         void *seed, rotor_handle *stream);

/* Send `n` bytes to the stream. 0 or UV_ENOMEM. */
int rotor_memory_send(rotor_memory *peer, const void *data, size_t n);

/* Send no more: the stream finds the end of its input behind what was sent. */
void rotor_memory_shutdown(rotor_memory *peer);

/* From now on receiving (behind what was sent) and sending fail with `error` < 0. */
void rotor_memory_fail(rotor_memory *peer, int error);

/* Let the stream receive at most `n` bytes at a time. 0: no such limit. */
void rotor_memory_split(rotor_memory *peer, size_t n);

/* Take at most `n` bytes more from the stream; then its sends would block. SIZE_MAX: no limit. */
void rotor_memory_window(rotor_memory *peer, size_t n);

/* What the stream has sent; consume it as it is read. */
rotor_buf *rotor_memory_received(rotor_memory *peer);

/* How often the stream has sent, that is, calls of send() on a socket. */
size_t rotor_memory_writes(const rotor_memory *peer);

/* Whether the stream has shut down its direction; whether it has closed altogether. */
bool rotor_memory_is_shutdown(const rotor_memory *peer);
bool rotor_memory_is_closed(const rotor_memory *peer);

#endif
