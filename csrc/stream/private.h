/* What the files of this folder share and do not install: what a stream notes of itself, the sockets
** that a listener has, the seeds of streams that connect, those of datagram sockets, and what a trace
** counts. */
#ifndef ROTOR_STREAM_PRIVATE_H
#define ROTOR_STREAM_PRIVATE_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "connect.h"
#include "datagram.h"
#include "listen.h"
#include "trace.h"

/* rotor_stream.flags */
enum {
    ROTOR__RUNNING = 1,   /* inside dispatch, so output is going to be sent */
    ROTOR__HANDSHAKE = 2, /* the transport is not ready; the protocol has not begun */
    ROTOR__BEGUN = 4,     /* the protocol's create was called */
    ROTOR__AT_EOF = 8,    /* nothing more will be received */
    ROTOR__FULL = 16, /* output is above the high-water mark and has not gone below half of it */
    ROTOR__SHUT_ASKED = 32, /* half-close as soon as the output is sent */
    ROTOR__SHUT = 64,
    ROTOR__OVER = 128,     /* broken or ended: nothing can be written any more */
    ROTOR__PASSED = 256,   /* with ROTOR__HANDSHAKE: only the protocol is still to begin */
    ROTOR__HUNG_UP = 512,  /* which was told */
    ROTOR__PULLING = 1024, /* there is more output to be had from the protocol's pull */
    ROTOR__IN_PULL = 2048  /* which runs, and may write */
};

/* Those that stay with a connection, whatever protocol it runs. */
enum { ROTOR__LASTING = ROTOR__AT_EOF | ROTOR__SHUT_ASKED | ROTOR__SHUT };

/* Declare `found`, the nearest table from the present state upwards that has `member`, or else the
** protocol. */
#define ROTOR__IN_FORCE(found, s, member)                                                          \
    const rotor_protocol *found = (s)->protocol;                                                   \
    while (__builtin_expect(!found->member, 0) && found->parent)                                   \
    found = found->parent

/* Whether output can be added. */
static inline bool rotor__stream_takes_output(const rotor_stream *s)
{
    const uint32_t not_any_more = ROTOR__HANDSHAKE | ROTOR__SHUT_ASKED | ROTOR__OVER;
    if (s->flags & not_any_more || s->intent.kind >= ROTOR_INTENT_DONE)
        return s->flags & ROTOR__IN_PULL;
    return true;
}

/* Whether something is still to be sent. */
static inline bool rotor__stream_is_sending(const rotor_stream *s)
{
    return rotor_buf_len(&s->output) > 0 || s->flags & ROTOR__PULLING;
}

/* Call the protocol's pull, with no output there. 1: something has changed; 0: the peer takes no more; or an
** error. */
int rotor__stream_pull(rotor_stream *s, rotor_scope *scope);

/* See rotor_type.describe. */
void rotor__stream_describe(const rotor_machine *m, char *text, size_t size);

/* The stream was asked to pass its connection on. */
rotor_response rotor__stream_pass(rotor_stream *s, rotor_scope *scope);

/* Give the loop its blocks back; what is left in them moves to memory of the stream's own. 0 or
** UV_ENOMEM. */
static inline int rotor__stream_return_blocks(rotor_stream *s)
{
    int input = rotor_buf_return(&s->input);
    int output = rotor_buf_return(&s->output);
    return input ? input : output;
}

/* The stream has ended with `r`. */
static inline rotor_response rotor__stream_finish(rotor_stream *s, rotor_response r)
{
    s->flags = (s->flags & ~(uint32_t)ROTOR__RUNNING) | ROTOR__OVER;
    rotor_buf_fini(&s->input);
    rotor_buf_fini(&s->output);
    return r;
}

/* The file that was made for a Unix socket. Of those who listen there the last to close removes it. */
typedef struct rotor__file {
    atomic_uint users;
    dev_t device;
    ino_t inode;
} rotor__file;

/* NULL is fine. */
static inline rotor__file *rotor__file_ref(rotor__file *file)
{
    if (file)
        atomic_fetch_add(&file->users, 1);
    return file;
}

/* One socket that listens. */
typedef struct rotor__listening {
    int fd;
    bool inherited;
    rotor__file *file; /* NULL: none was made */
    const char *asked; /* where in the list of addresses it was asked for */
} rotor__listening;

/* That of a listener which has one only; NULL: it has several, or the handle is no living listener's. */
rotor__listening *rotor__listener_socket(rotor_loop *loop, rotor_handle handle);

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

/* How many machines the loop may have while somebody accepts, who asked for so many, or for 0. */
uint32_t rotor__listen_most(const rotor_loop *loop, uint32_t asked);

/* It is a listener's now, and not for another program, nor for another "inherited". */
void rotor__listening_take(const rotor__listening *l);

/* Close the socket, and, as the last, remove the file that was made for it if it is still there. */
void rotor__listening_close(const rotor__listening *l);

/* The file that a Unix socket was just bound to: its device and inode, 0 if there is none. */
void rotor__file_find(int fd, dev_t *device, ino_t *inode);

/* Remove that file, unless another one has taken its place. To be called before the socket is closed. */
void rotor__file_remove(int fd, dev_t device, ino_t inode);

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
    dev_t device;
    ino_t inode; /* as in rotor_datagram */
    uint16_t family;
    bool connected;
    bool at_once; /* outside of transitions: the protocol's create may run inside the machine's */
    size_t max;
    void *seed;
    void (*release)(void *seed);
} rotor__datagram_seed;

/* Close a datagram socket, and remove the file that was made for it if it is still there. */
void rotor__datagram_close(int fd, dev_t device, ino_t inode);

/* -- tracing ----------------------------------------------------------------------------------- */

/* By which transition; or by none, but of itself. */
enum {
    ROTOR__BY_CREATE,
    ROTOR__BY_BYTES_READ,
    ROTOR__BY_BYTES_FLUSHED,
    ROTOR__BY_PULL,
    ROTOR__BY_TIMEOUT,
    ROTOR__BY_WAKEUP,
    ROTOR__BY_EXCEPTION,
    ROTOR__BY_HANGUP,
    ROTOR__BY_FATAL,
    ROTOR__BY_NONE
};

/* To where, if not to a state: the ways to end without an error (less than 0 is an error); and, as no
** arrow leads there, where all begin. */
enum {
    ROTOR__TO_DONE = INT_MAX - 5,
    ROTOR__TO_LINGER,
    ROTOR__TO_ABORT,
    ROTOR__TO_PASS,
    ROTOR__TO_ENDED,
    ROTOR__TO_START
};

/* How often a state was left to the one of that index, or to an end, by that transition. */
typedef struct rotor__arrow {
    int to, by;
    uint64_t count;
} rotor__arrow;

typedef struct rotor__shadow rotor__shadow;

/* What a stream's `protocol` points to. All faces of a shadow are alike; which one it is says by which
** transition the stream was asked to end. */
typedef struct rotor__face {
    rotor_protocol table; /* first */
    rotor__shadow *of;
} rotor__face;

/* Stands in for a state, or for the protocol itself. */
struct rotor__shadow {
    const rotor_protocol *original;
    rotor_protocol real; /* its own, with what it takes from its parents */
    rotor_trace *trace;
    rotor__shadow *parent, *next;
    int index;
    bool entered, has_states;
    uint64_t here; /* streams */
    uint64_t counts[ROTOR__BY_NONE];
    rotor__arrow *arrows; /* sorted by `to` and `by` */
    size_t narrows;
    rotor__face faces[ROTOR__BY_NONE + 1];
};

struct rotor_trace {
    rotor__shadow entry; /* where streams are before their create; of no state */
    rotor__shadow home;  /* the protocol itself, with the others behind it */
    uint64_t streams, uncounted;
    bool freed;
};

#endif
