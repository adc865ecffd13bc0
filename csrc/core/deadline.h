/* Deadlines: a hierarchical timer wheel with ticks of one millisecond.
**
** Eight levels of 64 buckets. A deadline that moves later stays where it is queued and is looked at
** again when that bucket comes up; so the common case, extending a deadline on every request, is one
** comparison and one store. The wheel knows no clock: it is told the time. Not thread-safe. */
#ifndef ROTOR_CORE_DEADLINE_H
#define ROTOR_CORE_DEADLINE_H

#include <stdint.h>

/* The deadline that never comes. */
#define ROTOR_NEVER UINT64_MAX

#define ROTOR_WHEEL_LEVELS 8

/* One deadline, embedded in what it belongs to. All zero but `at` = ROTOR_NEVER when new. */
typedef struct rotor_deadline {
    uint64_t at;                  /* read-only: when, in ms of the wheel's clock, or ROTOR_NEVER */
    uint64_t queued;              /* private: the time of the bucket it waits in */
    struct rotor_deadline *next;  /* private */
    struct rotor_deadline **link; /* private: what points to this one; NULL when not queued */
} rotor_deadline;

#define ROTOR_DEADLINE_INIT {.at = ROTOR_NEVER}

typedef struct rotor_wheel {
    /* private */
    uint64_t now;                             /* every bucket before this time has been emptied */
    uint64_t occupied[ROTOR_WHEEL_LEVELS];    /* a bit for each bucket that may hold something */
    rotor_deadline *buckets[ROTOR_WHEEL_LEVELS][64];
} rotor_wheel;

/* Make an empty wheel whose time is `now` ms. */
void rotor_wheel_init(rotor_wheel *w, uint64_t now);

/* private: queue `d`, whose `at` is set, or move it to an earlier bucket. */
void rotor__wheel_queue(rotor_wheel *w, rotor_deadline *d);

/* Set, move or (with ROTOR_NEVER) clear `d`. A time already past is due at the next expire.
** Returns 1 when `d` was put into an earlier bucket than before, so that a sleeping clock may have
** to be set again (see rotor_wheel_next), else 0. */
static inline int rotor_wheel_set(rotor_wheel *w, rotor_deadline *d, uint64_t at)
{
    d->at = at;
    if (d->link ? at >= d->queued : at == ROTOR_NEVER)
        return 0;
    rotor__wheel_queue(w, d);
    return 1;
}

/* Take `d` out of the wheel, so that its memory may go. Its `at` becomes ROTOR_NEVER. */
void rotor_wheel_remove(rotor_wheel *w, rotor_deadline *d);

/* Advance to `now` (never backwards) and return a deadline with at <= now, taken out of the wheel
** with its `at` left as it was; NULL when there is none left. Call until NULL. Deadlines come out in
** the order of their times. A deadline set to a past time while looping comes out in the same loop. */
rotor_deadline *rotor_wheel_expire(rotor_wheel *w, uint64_t now);

/* No deadline is due before the time returned; ROTOR_NEVER when the wheel is empty. May be early
** (a cascade, or a deadline that has moved later), never late. */
uint64_t rotor_wheel_next(const rotor_wheel *w);

#endif
