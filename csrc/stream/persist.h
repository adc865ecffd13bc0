/* Persisting: a machine that keeps one connection alive. It connects, and when the connection has
** ended, or could not be made, waits and connects again, until it is ended itself.
**
** Between two tries it waits at random between half of a delay and all of it. The delay doubles with
** each try up to a ceiling, and starts anew after a connection that has lasted longer than it: so
** that a thousand clients of a server that has come back do not all come at once, and one that takes
** connections only to close them is not overrun either.
**
** Nothing is queued for a connection that is not there: what was not sent, or not answered, is for
** the protocol to send again or to give up. */
#ifndef ROTOR_STREAM_PERSIST_H
#define ROTOR_STREAM_PERSIST_H

#include "connect.h"

typedef struct rotor_persist_options {
    void *seed; /* for the protocol's create, each time; must stay valid until it is released */
    void (*release)(void *seed); /* NULL, or called once when the machine and its stream have ended
                                    (not when rotor_persist() itself fails) */

    /* For each try, as in rotor_connect_options. */
    uint32_t timeout_ms;
    uint32_t keepalive_s;
    bool delay;

    uint32_t backoff_ms;     /* the first delay; 0: 100 */
    uint32_t backoff_max_ms; /* the ceiling, at least the first; 0: 30,000 */
    uint64_t random;         /* what the waits are drawn from: the same ones again from the same
                                number; 0: others each time */

    /* What follows is called with `context`, from the machine's own transitions, and may be NULL. */
    void *context;
    /* There is a connection, and the protocol's create has run. `stream` may have ended meanwhile. */
    void (*up)(rotor_scope *scope, rotor_handle stream, void *context);
    /* The connection has ended (0: well) or could not be made. The next try is in `wait_ms`. Not called
    ** when it is the machine itself that ends. */
    void (*down)(rotor_scope *scope, int error, uint64_t wait_ms, void *context);
    /* The machine has ended; the last of all calls, after `release` (not when rotor_persist() itself
    ** fails). */
    void (*closed)(void *context);
} rotor_persist_options;

/* Keep a connection to `address` (see address.h; a name is looked up for each try), and run `protocol`
** on each that is made: its `create` is called anew, or its `fatal` when none could be made, as with
** rotor_connect(). How a connection ended goes to `down` and not to the loop's on_error. `options`
** NULL: all defaults. `handle` (may be NULL) gets the machine's: rotor_end() ends it, and the
** connection with it; rotor_wake(), while it waits, has it try at once. Ending the stream alone leads
** to the next one.
**
** While the loop is at its capacity no connection is tried, and that goes on by itself. Never blocks;
** nothing is called before it has returned. 0; ROTOR_EADDRESS; ROTOR_ECAPACITY; UV_ENOMEM; UV_EINVAL
** as of rotor_connect(). May be called from a transition. */
int rotor_persist(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                  const rotor_persist_options *options, rotor_handle *handle);

/* The present connection's stream, from `up` to its end; otherwise, and when the handle is not of a
** living machine of this kind, ROTOR_NO_HANDLE. */
rotor_handle rotor_persist_stream(rotor_loop *loop, rotor_handle handle);

#endif
