/* The threads that one call of rotor.threads starts: a crew. Its memory goes with the last of those who need
** it: the Lua state that has started it, its handle, and each thread until that state has heard of its end by a
** letter. What both sides touch is under the crew's lock. */
#ifndef ROTOR_LUA_CREW_H
#define ROTOR_LUA_CREW_H

#include "lua_task.h"
#include "lua_threads.h"

typedef struct rotor__crew rotor__crew;
typedef struct rotor__thread rotor__thread;

struct rotor__thread {
    rotor__letter ended_letter; /* to the loop that has started it */
    rotor__letter stop_letter;  /* to its own */
    rotor__crew *crew;
    unsigned index; /* from 1 */
    uv_thread_t id;
    rotor__blocker blocker;
    rotor__mailbox *mailbox; /* of its loop, while there is one */
    bool stops;              /* it was asked to, */
    uint64_t drain_ms;       /* within that time, */
    bool posted;             /* and the letter that says so is on its way */
    bool ended;
    char *error; /* what it has died of, or NULL */
    rotor__parcel *result;
    /* Of the thread that has started it: */
    bool heard; /* of its end, and it is joined */
    bool told;  /* somebody, of its error */
};

struct rotor__crew {
    atomic_uint refs;
    uv_mutex_t lock;
    uv_cond_t cond;
    bool go;    /* all could be started; */
    bool abort; /* or they could not */
    unsigned n, running;
    rotor__parcel *paths, *program;
    rotor__doors doors;
    rotor__mailbox *home; /* of `ll` */
    /* Of the thread that has started it: */
    rotor__lua_loop *ll;
    rotor__waits joiners; /* tasks */
    bool blocked;         /* a call runs the loop until all have ended, */
    rotor_handle keeper;  /* and this machine keeps it running */
    bool asked;           /* they were asked to stop by a signal */
    unsigned heard;
    struct rotor__crew *next, **link; /* of those that have not all been heard of */
    rotor__thread threads[];
};

/* -- of the threads (thread.c) ------------------------------------------------------------------ */

rotor__crew *rotor__crew_ref(rotor__crew *c);
void rotor__crew_unref(rotor__crew *c);

/* Start all of them, or none. 0 or an error. */
int rotor__crew_start(rotor__crew *c);

/* Have them stop within that time. Any thread. */
void rotor__crew_stop(rotor__crew *c, uint64_t drain_ms);

/* What its letter does, in its loop. */
void rotor__thread_stop(rotor__letter *letter, rotor_loop *loop);

#endif
