/* A machine for tests: writes down what happens to it, and does what the test says. It fails the test
** when a transition runs inside another one of the same thread. */
#ifndef ROTOR_TEST_PROBE_H
#define ROTOR_TEST_PROBE_H

#include "../core/io.h"
#include "../core/loop.h"

typedef enum probe_event {
    CREATE,
    READY,
    SPAWNED,
    SPAWN_ERROR,
    TIMEOUT,
    WAKEUP,
    CHILD_DONE,
    DROP,
    PROBE_EVENTS
} probe_event;

typedef struct probe probe;
typedef struct probe_plan probe_plan;

/* What a machine is to do, and what it has seen. The seed of a probe; outlives it. */
struct probe_plan {
    const char *name;
    /* What each transition returns; rotor_ok() where it is NULL. */
    rotor_response (*on[PROBE_EVENTS])(probe *p, rotor_scope *scope);
    /* Called last thing in `drop`. */
    void (*dropped)(probe *p);
    void *context; /* the test's */

    int count[PROBE_EVENTS]; /* how often each was called */
    probe *probe;            /* NULL before `create` and after `drop` */
    rotor_handle self;
    /* The arguments of the transition called last. */
    rotor_handle child; /* SPAWNED */
    int status;         /* SPAWN_ERROR, CHILD_DONE */
    void *seed;         /* SPAWN_ERROR */
    probe *ended;       /* CHILD_DONE: the child, alive until that has returned */
    rotor_io *io;       /* READY */
    unsigned events;    /* READY */
};

struct probe {
    rotor_machine machine;
    probe_plan *plan;
    rotor_io io[3]; /* `drop` closes the descriptors of those that were opened */
};

/* Has every transition. Copy it to leave some out. */
extern const rotor_type probe_type;

/* The transitions of all probes of this thread since probe_reset(): "a.create b.create a.drop", by the
** names of their plans; cut off when long. */
const char *probe_log(void);
void probe_reset(void);

/* Append to the log. */
void probe_note(const char *name, const char *what);

/* What `on` may be: end, well or with UV_EIO; keep waiting for the same; call rotor_again(); wake the
** machine itself; spawn the plan that is the context. */
rotor_response probe_done(probe *p, rotor_scope *scope);
rotor_response probe_error(probe *p, rotor_scope *scope);
rotor_response probe_same(probe *p, rotor_scope *scope);
rotor_response probe_again(probe *p, rotor_scope *scope);
rotor_response probe_wake_self(probe *p, rotor_scope *scope);
rotor_response probe_spawn(probe *p, rotor_scope *scope);

/* What must succeed: adding a probe, a turn (at a time of test_clock), freeing the loop. */
void probe_add(rotor_loop *loop, probe_plan *plan);
void probe_turn(rotor_loop *loop);
void probe_turn_at(rotor_loop *loop, uint64_t ms);
void probe_free(rotor_loop *loop);

/* For rotor_config: notes "NAME.on_error", and keeps the error and the number of calls. */
void probe_on_error(rotor_loop *loop, rotor_machine *m, int error);
extern _Thread_local int probe_errors, probe_last_error;

#endif
