/* Connecting: a stream that begins by looking up and connecting to its peer. */
#ifndef ROTOR_STREAM_CONNECT_H
#define ROTOR_STREAM_CONNECT_H

#include "stream.h"

typedef struct rotor_connect_options {
    void *seed; /* for the protocol's create; must stay valid until then */
    void (*release)(
        void *seed);     /* NULL, or called once when the seed is not needed any more: create
                                    has returned, or will not be called (not when rotor_connect()
                                    itself fails) */
    uint32_t timeout_ms; /* for the look-up and all attempts together; 0: 10,000 */
    bool delay;          /* leave Nagle's algorithm on (TCP_NODELAY is set otherwise) */
} rotor_connect_options;

/* Connect to `address` (see address.h) and run `protocol` on the connection: its `create` is called when
** it is made, or its `fatal` when it cannot be, with ROTOR_ETIMEDOUT, an error of connect() or one of
** getaddrinfo() (UV_EAI_…). Several addresses of one name are tried in turn. `options` NULL: all
** defaults. `stream` (may be NULL) gets the handle. Never blocks. 0; ROTOR_EADDRESS; ROTOR_ECAPACITY;
** UV_ENOMEM; UV_EINVAL when the protocol has no create or a size below a stream's. May be called from a
** transition. */
int rotor_connect(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                  const rotor_connect_options *options, rotor_handle *stream);

#endif
