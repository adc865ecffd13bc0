/* Machines: structs with transitions, which the loop calls.
**
** A transition is called when something happened to its machine; what it returns says what the
** machine waits for next, all of it: a return without a deadline clears the deadline before. After a
** transition has returned, the loop touches the machine only as the response says. A transition never
** runs inside another one: waking, adding and resolving from inside a transition are queued. */
#ifndef ROTOR_CORE_MACHINE_H
#define ROTOR_CORE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deadline.h"
#include "error.h"

typedef struct rotor_loop rotor_loop;
typedef struct rotor_machine rotor_machine;
typedef struct rotor_type rotor_type;
typedef struct rotor_io rotor_io;

/* Names one machine of one loop, for ever: a handle to a machine that has ended finds nothing, also
** when its slot has been taken by another. All zero names no machine. */
typedef struct rotor_handle {
    uint32_t slot, generation;
} rotor_handle;

#define ROTOR_NO_HANDLE ((rotor_handle){0, 0})

/* What a transition is given to look around with; valid until it returns. */
typedef struct rotor_scope {
    rotor_loop *loop;
    rotor_machine *machine; /* the machine whose transition this is */
    /* private */
    const rotor_type *spawn_type;
    void *spawn_seed;
} rotor_scope;

typedef enum rotor_response_kind {
    ROTOR_OK,      /* wait: for events, wakeups and the deadline */
    ROTOR_SAME,    /* wait for what it waited for before, the deadline included */
    ROTOR_SPAWN,   /* create a machine, then hear `spawned` or `spawn_error` */
    ROTOR_DONE,    /* end */
    ROTOR_ERROR,   /* end with an error */
    ROTOR__SUCCEED /* private: see rotor__succeed() */
} rotor_response_kind;

/* What a transition returns; made by the functions below. */
typedef struct rotor_response {
    rotor_response_kind kind;
    int error;         /* ROTOR_ERROR: a negative code */
    uint64_t deadline; /* ROTOR_OK: in ms of the loop's clock, or ROTOR_NEVER */
} rotor_response;

/* Wait for events and wakeups, without a deadline. */
static inline rotor_response rotor_ok(void)
{
    return (rotor_response){ROTOR_OK, 0, ROTOR_NEVER};
}

/* Wait for events and wakeups, and for `deadline` (in ms of the loop's clock, see rotor_now): then
** `timeout` is called. A deadline that has passed is called at once, but not before others had
** their turn. */
static inline rotor_response rotor_ok_until(uint64_t deadline)
{
    return (rotor_response){ROTOR_OK, 0, deadline};
}

/* Keep waiting for what the machine waited for before. From `create`: rotor_ok(). */
static inline rotor_response rotor_same(void)
{
    return (rotor_response){ROTOR_SAME, 0, 0};
}

/* Create a machine of `type` from `seed`; then `spawned` or `spawn_error` of this machine is called,
** and its deadline is gone. `seed` must stay valid until then. */
static inline rotor_response rotor_spawn(rotor_scope *scope, const rotor_type *type, void *seed)
{
    scope->spawn_type = type;
    scope->spawn_seed = seed;
    return (rotor_response){ROTOR_SPAWN, 0, 0};
}

/* End this machine: well, or with `code` < 0. `drop` is called and its memory released. */
static inline rotor_response rotor_done(void)
{
    return (rotor_response){ROTOR_DONE, 0, 0};
}

static inline rotor_response rotor_error(int code)
{
    return (rotor_response){ROTOR_ERROR, code, 0};
}

/* A type of machine: a constant table. Every transition but `create` may be NULL; then the loop does
** what is noted. `scope` is valid during the call only. */
struct rotor_type {
    const char *name; /* for messages */
    size_t size;      /* of the struct, whose first member is a rotor_machine */

    /* NULL, or the size of the struct to make from `seed`, and the name of one machine, where they
    ** differ from machine to machine. A size of 0 refuses the seed (UV_EINVAL). */
    size_t (*size_of)(const void *seed);
    const char *(*name_of)(const rotor_machine *m);

    /* Begin. The struct is all zero but for its rotor_machine. What `create` takes out of `seed`
    ** it owns, also when it fails; `drop` follows in any case. */
    rotor_response (*create)(rotor_machine *m, rotor_scope *scope, void *seed);

    /* A rotor_io of this machine has `events` (ROTOR_READABLE …); or `io` is NULL and `events` 0:
    ** rotor_again() was called. NULL: keep waiting. */
    rotor_response (*ready)(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events);

    /* The machine asked for exists; its `create` has run, and it may have ended already.
    ** NULL: wait without a deadline. */
    rotor_response (*spawned)(rotor_machine *m, rotor_scope *scope, rotor_handle child);

    /* The machine asked for does not exist. ROTOR_ECAPACITY: `seed` was not touched, and `wakeup` is
    ** called when a slot gets free. Otherwise memory was short, or `create` has seen the seed and
    ** failed; a seed that owns something shows what was taken (see rotor_stream_seed.fd).
    ** NULL: end with `error`. */
    rotor_response (*spawn_error)(rotor_machine *m, rotor_scope *scope, int error, void *seed);

    /* The deadline has passed. NULL: end with ROTOR_ETIMEDOUT. */
    rotor_response (*timeout)(rotor_machine *m, rotor_scope *scope);

    /* Somebody woke this machine, once or more often: rotor_wake(), a notifier, a future it owns.
    ** NULL: keep waiting. */
    rotor_response (*wakeup)(rotor_machine *m, rotor_scope *scope);

    /* A machine this one spawned has ended with `status`: 0, or the error. `child` may be read, but
    ** is dropped as soon as this returns. Not called for a failed `create`, which `spawn_error` tells.
    ** A machine that has this transition owns those it spawned: whatever ends it ends them before it,
    ** without telling anybody, and they are dropped first. NULL: children go their own way. */
    rotor_response (*child_done)(rotor_machine *m, rotor_scope *scope, rotor_machine *child,
                                 int status);

    /* The destructor. Runs exactly once for each created machine, whatever ended it: done, an error,
    ** a failed create, the end of the loop. Its ios are closed already, so `drop` may close their
    ** descriptors. */
    void (*drop)(rotor_machine *m);

    /* No transition: say in words what the machine waits for, for dump.h: into `text`, cut to `size`
    ** bytes with the final NUL. To be called at any time after `create` has begun, in between
    ** transitions or during one. NULL: its ios, its deadline, or a wakeup, which the loop sees. */
    void (*describe)(const rotor_machine *m, char *text, size_t size);
};

/* The part of a machine that is the loop's; the first member of every machine's struct. */
struct rotor_machine {
    const rotor_type *type; /* read-only */
    rotor_loop *loop;       /* read-only */
    rotor_handle self;      /* read-only */
    /* private */
    rotor_handle parent;
    union {
        rotor_deadline deadline;
        struct { /* while its `create`, or a spawn by its `create`, is still to come */
            const rotor_type *type;
            void *seed;
        } deferred;
    };
    rotor_machine *next; /* in the loop's queue of machines to run */
    rotor_io *ios;       /* those open or closing */
    uint32_t flags;
    union {
        int status;     /* once it is to end: how */
        uint32_t since; /* before: when it began to wait; low bits of the loop's clock */
    };
};

/* The machine's name for messages: of its type, or a stream's protocol's. */
const char *rotor_machine_name(const rotor_machine *m);

#endif
