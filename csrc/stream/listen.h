/* Listening: a machine that accepts connections and makes a stream of each. */
#ifndef ROTOR_STREAM_LISTEN_H
#define ROTOR_STREAM_LISTEN_H

#include "stream.h"

typedef struct rotor_listen_options {
    void *seed;           /* for each stream's create; must outlive the listener */
    int backlog;          /* connections the kernel keeps waiting; 0: 1,024 */
    bool reuse_port;      /* SO_REUSEPORT: several listeners share the connections */
    bool delay;           /* leave Nagle's algorithm on (TCP_NODELAY is set otherwise) */
    uint32_t connections; /* stop accepting when the loop has so many machines; 0: what the
                               descriptor limit allows, less 64 */
    /* NULL, or called when the listener has ended (once; not when rotor_listen itself fails). */
    void (*closed)(void *seed);
} rotor_listen_options;

/* Accept connections on `address` (see address.h; port 0 takes a free one; a name is looked up at once)
** and run `protocol` on each. `options` NULL: all defaults. `listener` (may be NULL) gets the machine's
** handle: rotor_end() closes it, and the connections go on.
**
** When the loop is at its capacity or the process out of descriptors, accepting stops and goes on by
** itself; who waits in the backlog meanwhile is not lost. 0, ROTOR_EADDRESS, or what socket, bind and
** listen said; UV_EINVAL when the protocol has no create or a size below a stream's. May be called from
** a transition. */
int rotor_listen(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                 const rotor_listen_options *options, rotor_handle *listener);

/* private: the options it was given; NULL when the handle is not a living listener's. */
const rotor_listen_options *rotor__listener_options(rotor_loop *loop, rotor_handle listener);

/* Where it listens, as text, with the true port. 0 or an error. */
int rotor_listener_address(rotor_loop *loop, rotor_handle listener, char *text, size_t size);

#endif
