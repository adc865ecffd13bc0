/* What the files of this folder share and do not install: the sockets that a listener has, the
** seeds of streams that connect, and those of datagram sockets. */
#ifndef ROTOR_STREAM_PRIVATE_H
#define ROTOR_STREAM_PRIVATE_H

#include <sys/types.h>

#include "connect.h"
#include "datagram.h"
#include "listen.h"

/* One socket that listens. */
typedef struct rotor__listening {
    int fd;
    bool inherited;
    dev_t device;      /* of the file that was made for it */
    ino_t inode;       /* 0: none was */
    const char *asked; /* where in the list of addresses it was asked for */
} rotor__listening;

typedef struct rotor__listenings {
    rotor__listening *all;
    size_t n;
} rotor__listenings;

/* Open all addresses of `list` into the empty `set`, as rotor_listen() says. 0 or an error; the set is
** to be released in either case. */
int rotor__listenings_open(rotor__listenings *set, rotor_loop *loop, const char *list,
                           const rotor_listen_options *options);

/* Close those that are in the set and were not inherited; free its memory. */
void rotor__listenings_release(rotor__listenings *set);

/* It is a listener's now, and not for another program, nor for another "inherited". */
void rotor__listening_take(const rotor__listening *l);

/* Close the socket, and remove the file that was made for it if it is still there. */
void rotor__listening_close(const rotor__listening *l);

/* Bind a socket of that type, in place of a Unix one that is stale: nobody has it open. 0 or an error. */
int rotor__bind(int fd, const rotor_address *address, int type);

enum { ROTOR__KEEPALIVE_MOST_S = 32767 };

/* Make a seed of rotor_stream_type that connects, for a machine to spawn from. That machine is
** woken when the connection is made, and its `wakeup` runs after the protocol's create. As long as
** no stream was made, which any `spawn_error` says, the seed has to be freed. 0; ROTOR_EADDRESS;
** UV_ENOMEM; UV_EINVAL for the options. */
int rotor__connect_seed(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                        const rotor_connect_options *options, rotor_stream_seed *seed);
void rotor__connect_seed_free(const rotor_stream_seed *seed);

/* What `s` is connecting to, or could not, as rotor_stream_peer() has it. UV_EINVAL: its transport is
** another one. */
int rotor__connecting_peer(const rotor_stream *s, char *text, size_t size);

/* What a datagram socket is created from. It takes `fd`, and puts -1 there. */
typedef struct rotor__datagram_seed {
    const rotor_datagram_protocol *protocol;
    int fd;
    uint16_t family;
    bool connected;
    bool at_once; /* outside of transitions: the protocol's create may run inside the machine's */
    size_t max;
    void *seed;
    void (*release)(void *seed);
} rotor__datagram_seed;

/* Close a datagram socket, and remove the file of a Unix one. */
void rotor__datagram_close(int fd);

#endif
