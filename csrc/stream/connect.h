/* Connecting: a stream that begins by looking up and connecting to its peer. */
#ifndef ROTOR_STREAM_CONNECT_H
#define ROTOR_STREAM_CONNECT_H

#include "stream.h"

typedef struct rotor_connect_options {
    void *seed; /* for the protocol's create; must stay valid until then */
    /* NULL, or called once when the seed is not needed any more: create has returned, or will not be
    ** called (not when rotor_connect() itself fails). */
    void (*release)(void *seed);
    uint32_t timeout_ms; /* for the look-up and all attempts together; 0: 10,000 */
    bool delay;          /* leave Nagle's algorithm on (TCP_NODELAY is set otherwise) */
    /* Have the system ask a silent TCP peer after so many seconds whether it is still there
    ** (SO_KEEPALIVE, TCP_KEEPIDLE); at most 32,767, 0: never. */
    uint32_t keepalive_s;
} rotor_connect_options;

/* Connect to `address` (see address.h) and run `protocol` on the connection: its `create` is called
** when it is made, or its `fatal` when it cannot be, with ROTOR_ETIMEDOUT, an error of connect() or
** one of getaddrinfo() (UV_EAI_…). `options` NULL: all defaults. `stream` (may be NULL) gets the
** handle. Never blocks. 0; ROTOR_EADDRESS; ROTOR_ECAPACITY; UV_ENOMEM; UV_EINVAL when the protocol
** has no create or a size below a stream's, or an option is out of bounds. May be called from a
** transition.
**
** The addresses of a name are tried by RFC 8305 ("Happy Eyeballs"): in getaddrinfo()'s order, but
** IPv6 and IPv4 in turn (section 4); the next one 250 ms after the last attempt has begun (section 5),
** or as soon as one has failed, while earlier ones go on. The first to connect counts, and the others
** are closed at once. When all have failed, the error is the first one's; but one that this process
** is to blame for (ENOMEM, EMFILE and the like) comes before it, and that there is no way to an
** address from here (ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT) comes last.
**
** "fd:3" is that descriptor, a stream socket which is connected already, such as one end of a pair. From
** then on it is the stream's, does not block, and is not inherited; if this fails, it is still the
** caller's. UV_ENOTSOCK, UV_EBADF, UV_ENOTCONN; UV_EINVAL: a socket of another type, or one that listens. */
int rotor_connect(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                  const rotor_connect_options *options, rotor_handle *stream);

#endif
