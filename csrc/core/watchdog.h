/* The watchdog: tells of events that have kept a loop for too long, in which nothing else could happen. */
#ifndef ROTOR_CORE_WATCHDOG_H
#define ROTOR_CORE_WATCHDOG_H

#include "loop.h"

enum { ROTOR_LAG_NAME = 64 };

typedef struct rotor_lag {
    uint64_t ms; /* how long the event has taken */
    char name
        [ROTOR_LAG_NAME]; /* "NAME SLOT.GENERATION" of the machine that has taken most of that, cut;
                                  empty: no machine ran, but a function for a signal or a future */
    uint64_t machine_ms;  /* how long that took */
    const char
        *transition; /* which of its transitions, as far as the language it is written in tells;
                                  or NULL */
} rotor_lag;

/* Have `fn` called behind each event that takes `limit_ms` > 0 or longer, by the system's clock, whatever
** the loop's own is; NULL: not any more. It runs as a transition does. Costs nothing while it is off, and
** a look at the clock for each event and transition while it is on. 0, UV_EINVAL or UV_ENOMEM. */
int rotor_loop_watchdog(rotor_loop *loop, uint64_t limit_ms,
                        void (*fn)(rotor_loop *loop, const rotor_lag *lag, void *context),
                        void *context);

#endif
