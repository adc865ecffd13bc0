/* Listening: a machine that accepts connections and makes a stream of each. */
#ifndef ROTOR_STREAM_LISTEN_H
#define ROTOR_STREAM_LISTEN_H

#include "stream.h"

/* Those about TCP and IPv6 do nothing to a Unix socket; reuse_port and ipv6_only, which come before
** an address is bound, nothing to an inherited one. */
typedef struct rotor_listen_options {
    void *seed;           /* for each stream's create; must outlive the listener */
    int backlog;          /* connections the kernel keeps waiting; 0: 1,024, or as inherited. The
                               system has a limit of its own (Linux: net.core.somaxconn) */
    bool reuse_port;      /* SO_REUSEPORT: several listeners share the connections */
    bool ipv6_only;       /* IPV6_V6ONLY; otherwise "[::]:80" is for IPv4, too */
    bool delay;           /* leave Nagle's algorithm on (TCP_NODELAY is set otherwise) */
    uint32_t keepalive_s; /* SO_KEEPALIVE: seconds (to 32,767) of silence after which the kernel
                               asks the peer for a sign of life; 0: never */
    uint32_t connections; /* stop accepting when the loop has so many machines; 0: what the
                               descriptor limit allows, less 64 */
    /* NULL, or called when the listener has ended (once; not when rotor_listen itself fails). */
    void (*closed)(void *seed);
    /* NULL, or set when rotor_listen fails: where in its `address` the one begins that could not be
    ** listened on (to the next comma, or the end); NULL when it is not about one of them. */
    const char **failed;
} rotor_listen_options;

/* Accept connections on `address` and run `protocol` on each. `options` NULL: all defaults.
** `listener` (may be NULL) gets the machine's handle: rotor_end() closes it, and the connections go
** on.
**
** `address` is one or several, separated by commas, behind which there may be spaces; so no path or
** name in it may have a comma. All of them are listened on, or none. Each is
**   - one of address.h. Port 0 takes a free one. A name is looked up at once, and the first of its
**     addresses that can be listened on is taken. The file of a Unix socket is removed with the
**     listener, if it still is the same; a socket in its place is replaced when nobody listens on it
**     (nor is just about to: do not start two servers on one path at the same moment).
**   - "fd:3": that descriptor, a stream socket which listens already. From then on it is the
**     listener's: non-blocking, close-on-exec, closed at the end; when rotor_listen fails, it stays
**     the caller's. The file of a Unix socket stays, too.
**   - "inherited" or "inherited:NAME": likewise all sockets that were passed to this process, or those
**     of that name, by LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; see sd_listen_fds(3). Each can be
**     taken once: it is known to be taken by being close-on-exec, which nothing is that was passed.
**     The variables are not changed, as LISTEN_PID keeps other processes from believing them.
**
** When the loop has as many machines as it may, or the process no descriptor left, accepting stops on
** all addresses, and goes on by itself when a machine of the loop has ended, from one address to the
** next; who waits in the backlog meanwhile is not lost.
**
** 0; ROTOR_EADDRESS; what getaddrinfo, socket, bind and listen said (UV_EADDRINUSE, UV_EACCES,
** UV_EADDRNOTAVAIL …); of descriptors UV_EBADF, ROTOR_ELISTENING, ROTOR_EINHERIT, ROTOR_EFDNAME,
** ROTOR_ETAKEN; UV_EINVAL when the protocol has no create or a size below a stream's, or keepalive_s
** is too large; what rotor_add() says. May be called from a transition. */
int rotor_listen(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                 const rotor_listen_options *options, rotor_handle *listener);

/* private: the options it was given; NULL when the handle is not a living listener's. */
const rotor_listen_options *rotor__listener_options(rotor_loop *loop, rotor_handle listener);

/* private: what its connections run; NULL when the machine is no listener. */
const rotor_protocol *rotor__listener_protocol(const rotor_machine *m);

/* Where it listens, as text, with the true port: a list if there are several, cut to `size` bytes
** with the final NUL. 0 or an error; then the text is empty. */
int rotor_listener_address(rotor_loop *loop, rotor_handle listener, char *text, size_t size);

#endif
