/* Deadlines: a hierarchical timer wheel with ticks of one millisecond.
**
** Eight levels of 64 buckets. A deadline that moves later stays where it is queued and is looked
** at again when that bucket comes up; so the common case, extending a deadline on every request,
** is one comparison and one store. The wheel knows no clock: it is told the time. Not
** thread-safe. */
#ifndef ROTOR_CORE_DEADLINE_H
#define ROTOR_CORE_DEADLINE_H

#include <stdint.h>

/* The deadline that never comes. */
#define ROTOR_NEVER UINT64_MAX

#define ROTOR_WHEEL_LEVELS 8

/* One deadline, embedded in what it belongs to. All zero but `at` = ROTOR_NEVER when new. */
typedef struct rotor_deadline {
    uint64_t at;                  /* read-only: when, in ms of the wheel's clock, or ROTOR_NEVER */
    uint64_t queued;              /* private: the time it was queued for */
    struct rotor_deadline *next;  /* private */
    struct rotor_deadline **link; /* private: what points to this one; NULL when not queued */
} rotor_deadline;

#define ROTOR_DEADLINE_INIT                                                                        \
    {                                                                                              \
        .at = ROTOR_NEVER                                                                          \
    }

typedef struct rotor_wheel {
    /* private */
    uint64_t now;                          /* no bucket that came up before this holds anything */
    uint64_t occupied[ROTOR_WHEEL_LEVELS]; /* a bit for each bucket that is not empty */
    rotor_deadline *buckets[ROTOR_WHEEL_LEVELS][64];
} rotor_wheel;

/* Make an empty wheel whose time is `now` ms. */
void rotor_wheel_init(rotor_wheel *w, uint64_t now);

/* private: queue `d`, whose `at` is not ROTOR_NEVER, or move it to an earlier bucket. */
void rotor__wheel_queue(rotor_wheel *w, rotor_deadline *d);

/* Set, move or (with ROTOR_NEVER) clear `d`. A time already past is due at the next expire, even
** one for the same `now` as the last. Cleared or moved later, `d` stays in the wheel until its
** bucket comes up or it is removed.
**
** Returns 1 when `d` is now queued for an earlier time than before (or at all): a clock set to wake
** later than `at` has to be set again. 0 when a clock that was right before is right still. */
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

/* Advance to `now` and return a deadline with at <= now, taken out of the wheel with its `at`
** left as it was; NULL when there is none left. Call until NULL.
**
** Deadlines come out in the order of their times, those of the same time in any order. The
** wheel's own time moves along with them and is `now` after NULL; it never goes back, and a `now`
** before it counts as it. A deadline set to a time before the wheel's counts as set to that: so
** one set to `now` or earlier while looping comes out in the same loop, in its turn, and after
** the loop at the next call. */
rotor_deadline *rotor_wheel_expire(rotor_wheel *w, uint64_t now);

/* No deadline is due before the time returned; ROTOR_NEVER when the wheel is empty. May be early
** (a bucket of a coarser level comes up, or a deadline has moved later), never late. After
** expiring at that time the answer is a later one, so sleeping from one to the next finds every
** deadline. */
uint64_t rotor_wheel_next(const rotor_wheel *w);

#endif
