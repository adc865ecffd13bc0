/* Datagrams: UDP and Unix datagram sockets, run by protocols.
**
** A datagram socket is a machine that is also given datagrams. Its transitions answer as those of any
** machine do (core/machine.h): rotor_ok(), rotor_ok_until(), rotor_same(), rotor_done() and
** rotor_error(); each answer states all that is waited for. It always waits for datagrams. There is no
** rotor_spawn() here (it ends the socket with ROTOR_EUNEXPECTED): rotor_add() makes machines.
**
** Its handle is `d->machine.self`. Use it in its loop's thread only. */
#ifndef ROTOR_STREAM_DATAGRAM_H
#define ROTOR_STREAM_DATAGRAM_H

#include <sys/types.h>

#include "../core/io.h"
#include "../core/loop.h"
#include "address.h"

typedef struct rotor_datagram rotor_datagram;

typedef struct rotor_datagram_info {
    rotor_address from; /* where a datagram back goes; "unix:" as text: nowhere */
    size_t size;        /* the datagram's true size: more than was given when it was cut */
} rotor_datagram_info;

/* What a socket does when something happens to it: a constant table. Every transition but `create` may
** be NULL; then the socket does what is noted. They obey the rules of machines (core/machine.h). */
typedef struct rotor_datagram_protocol {
    const char *name; /* for messages */
    size_t size;      /* of the struct, whose first member is a rotor_datagram */

    /* The socket is open. What is behind the rotor_datagram is all zero. */
    rotor_response (*create)(rotor_datagram *d, rotor_scope *scope, void *seed);

    /* A datagram has come: `n` bytes of it, perhaps none, to be read or changed in place until this
    ** returns. When info->size is more than `n`, the rest is lost. NULL: read it and drop it, as
    ** anybody may send one. */
    rotor_response (*datagram)(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                               const rotor_datagram_info *info);

    /* After UV_EAGAIN: sending may be tried again. NULL: keep waiting. */
    rotor_response (*writable)(rotor_datagram *d, rotor_scope *scope);

    /* The deadline has passed. NULL: end with ROTOR_ETIMEDOUT. */
    rotor_response (*timeout)(rotor_datagram *d, rotor_scope *scope);

    /* Somebody woke the socket. NULL: keep waiting. */
    rotor_response (*wakeup)(rotor_datagram *d, rotor_scope *scope);

    /* Something that was sent before has not arrived, for which the network has given `error`
    ** (UV_ECONNREFUSED: nobody listens there); only sockets with a peer are told. Or the system
    ** cannot receive now (UV_ENOMEM). The socket is as good as before. NULL: end with `error`. */
    rotor_response (*exception)(rotor_datagram *d, rotor_scope *scope, int error);

    /* The destructor; exactly once, if `create` was called. Sending is still possible. */
    void (*drop)(rotor_datagram *d);

    /* Datagrams in a row before others have their turn; 0: 64. */
    uint32_t turns;
} rotor_datagram_protocol;

struct rotor_datagram {
    rotor_machine machine;                   /* read-only */
    const rotor_datagram_protocol *protocol; /* read-only */
    rotor_io io;                             /* io.fd: the socket, to set options of; read-only */
    /* private */
    void *seed;
    void (*release)(void *seed);
    size_t max;
    dev_t device; /* of a Unix socket's file */
    ino_t inode;  /* 0: it has none */
    int error;    /* which a send() met in passing, for `exception` */
    uint16_t family;
    uint16_t flags;
};

/* The type of every machine that is a datagram socket; rotor_udp() makes them. */
extern const rotor_type rotor_datagram_type;

typedef struct rotor_udp_options {
    void *seed;                  /* for the protocol's create; must stay valid until then */
    void (*release)(void *seed); /* NULL, or called once when the seed is not needed any more:
                                    create has returned, or will not be called (not when
                                    rotor_udp() itself fails) */

    /* The only one to exchange datagrams with, and then the system tells what has not arrived:
    ** `exception`. NULL: whoever sends one, and whomever it is sent to. */
    const char *peer;

    size_t max; /* bytes of a datagram that are read, the rest is cut; 0: as many as the loop's read
                   buffer holds (65,536 unless configured), and more is UV_EINVAL */

    int receive_buffer, send_buffer; /* bytes that the system is to keep; 0: the system's choice */
    bool reuse_port;                 /* SO_REUSEPORT: several sockets share the datagrams */
    bool reuse_address;              /* SO_REUSEADDR: several get each multicast datagram */
    bool broadcast;                  /* allow sending to broadcast addresses */
    bool ipv6_only;                  /* of an IPv6 socket: nothing by IPv4 */

    /* Of multicast datagrams sent: how many networks they may cross, 0: 1, which is none but the
    ** own; the interface they leave by, its name or an address of it, NULL: the system's choice;
    ** and whether sockets of this machine are not to get them. */
    uint8_t multicast_ttl;
    const char *multicast_interface;
    bool no_multicast_loop;
} rotor_udp_options;

/* Open a datagram socket and run `protocol` on it. `address` (see address.h) is the own one, NULL: any
** free port of the peer's family (of IPv4 without a peer). "0.0.0.0:53" and "[::]:53" take what comes by
** any interface; "53" is the loopback's. With "unix:/path" it is a Unix datagram socket, whose file goes
** with it; a file left behind by a program that was killed is replaced. Numbers never wait for a thread;
** names, of the peer, too, are looked up at once, as by rotor_listen(), which may block, and the first of
** their addresses that works is taken.
**
** Outside a transition `create` runs at once, and its failure is returned (after `drop`). Inside one it
** is queued, and its failure goes to on_error; but the socket is open in any case: it has an address,
** and can send. `options` NULL: all defaults; they are copied, the texts as well. `handle` may be NULL.
** 0; ROTOR_EADDRESS; an error of getaddrinfo() (UV_EAI_…); what socket, setsockopt, bind and connect
** said; UV_ENODEV: no such multicast_interface; ROTOR_ECAPACITY; UV_ENOMEM; UV_EINVAL: the protocol has
** no create or a size below a rotor_datagram's, or `max` is too large. */
int rotor_udp(rotor_loop *loop, const char *address, const rotor_datagram_protocol *protocol,
              const rotor_udp_options *options, rotor_handle *handle);

/* Send one datagram of `n` bytes, perhaps none, to `to`, or to the peer when it is NULL. From any
** transition of the loop, or from outside. 0: it is on its way, which does not say that it arrives.
** UV_EAGAIN: it was not sent; `writable` is called once when it can be tried again. UV_ENOBUFS: the
** same, but the system will not tell when (a Unix receiver whose queue is full, and who is not the
** peer). UV_EMSGSIZE: larger than the network carries (65,507 bytes over IPv4). UV_EDESTADDRREQ,
** UV_ENOTCONN: no `to` and no peer, or the Unix peer has gone. UV_EISCONN: the system does not let a
** socket with a peer send to another. Or another error of sendto(). */
int rotor_datagram_send(rotor_datagram *d, const void *data, size_t n, const rotor_address *to);

/* Take part in the multicast group `group` ("239.1.2.3", "ff02::1:3"), or no longer, by `interface`: its
** name ("eth0"), an address of it, or NULL for the system's choice. The end of the socket leaves all.
** 0; UV_EINVAL: not a multicast address; UV_ENODEV: no such interface, or none that leads there;
** UV_EADDRINUSE: a member already; UV_EADDRNOTAVAIL: no member; or another error of setsockopt(), as
** UV_ENOPROTOOPT for a group of another family than the socket's. */
int rotor_datagram_join(rotor_datagram *d, const char *group, const char *interface);
int rotor_datagram_leave(rotor_datagram *d, const char *group, const char *interface);

/* The own address or the peer's as text, as rotor_stream_local() tells it. 0, UV_ENOTCONN (no peer), or
** another error; then the text is empty. */
int rotor_datagram_local(const rotor_datagram *d, char *text, size_t size);
int rotor_datagram_peer(const rotor_datagram *d, char *text, size_t size);

#endif
