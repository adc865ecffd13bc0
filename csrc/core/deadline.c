/* The timer wheel. A bucket of level n stands for 64^n ms.
**
** A bucket's level is given by the highest bit in which its time differs from the wheel's; and so
** is that of a deadline, as long as every bucket is emptied when the wheel's time reaches it.
** Everything on a level then comes up before anything on the next one. The top level is a ring:
** its buckets are the 63 that follow the present one, and what lies beyond waits in the last. */
#include "deadline.h"

#include <stddef.h>
#include <string.h>

#define LEVEL_BITS 6
#define LEVEL_MASK 63u
#define TOP        (ROTOR_WHEEL_LEVELS - 1)
#define TOP_SHIFT  (TOP * LEVEL_BITS)

static unsigned level_of(const rotor_wheel *w, uint64_t time)
{
    unsigned highest = 63u - (unsigned)__builtin_clzll((time ^ w->now) | 1);
    unsigned level = highest / LEVEL_BITS;
    return level < TOP ? level : TOP;
}

static unsigned slot_of(unsigned level, uint64_t time)
{
    return (unsigned)(time >> (level * LEVEL_BITS)) & LEVEL_MASK;
}

/* The finest level that holds anything, or ROTOR_WHEEL_LEVELS; `*time` is when its first bucket
** comes up. */
static unsigned first_level(const rotor_wheel *w, uint64_t *time)
{
    for (unsigned level = 0; level < ROTOR_WHEEL_LEVELS; level++) {
        uint64_t bits = w->occupied[level];
        if (!bits)
            continue;
        unsigned slot = slot_of(level, w->now);
        uint64_t ahead = bits >> slot | bits << (-slot & LEVEL_MASK);
        uint64_t steps = (uint64_t)__builtin_ctzll(ahead);
        *time = ((w->now >> (level * LEVEL_BITS)) + steps) << (level * LEVEL_BITS);
        return level;
    }
    return ROTOR_WHEEL_LEVELS;
}

static void detach(rotor_wheel *w, rotor_deadline *d)
{
    *d->link = d->next;
    if (d->next)
        d->next->link = d->link;
    d->link = NULL;
    unsigned level = level_of(w, d->queued);
    unsigned slot = slot_of(level, d->queued);
    if (!w->buckets[level][slot])
        w->occupied[level] &= ~(UINT64_C(1) << slot);
}

void rotor_wheel_init(rotor_wheel *w, uint64_t now)
{
    memset(w, 0, sizeof *w);
    w->now = now;
}

void rotor__wheel_queue(rotor_wheel *w, rotor_deadline *d)
{
    if (d->link)
        detach(w, d);
    uint64_t time = d->at > w->now ? d->at : w->now;
    unsigned level = level_of(w, time);
    if (level == TOP) {
        uint64_t last = (w->now >> TOP_SHIFT) + LEVEL_MASK;
        if (time >> TOP_SHIFT > last)
            time = last << TOP_SHIFT;
    }
    unsigned slot = slot_of(level, time);
    rotor_deadline **bucket = &w->buckets[level][slot];
    d->queued = time;
    d->next = *bucket;
    d->link = bucket;
    if (d->next)
        d->next->link = &d->next;
    *bucket = d;
    w->occupied[level] |= UINT64_C(1) << slot;
}

void rotor_wheel_remove(rotor_wheel *w, rotor_deadline *d)
{
    if (d->link)
        detach(w, d);
    d->at = ROTOR_NEVER;
}

/* Spread what waits in a bucket, now that the wheel's time has reached it, over the finer levels.
** All of it at once: a part left behind would no longer be on the level that its time gives it. */
static void cascade(rotor_wheel *w, unsigned level)
{
    unsigned slot = slot_of(level, w->now);
    rotor_deadline *d = w->buckets[level][slot];
    w->buckets[level][slot] = NULL;
    w->occupied[level] &= ~(UINT64_C(1) << slot);
    while (d) {
        rotor_deadline *next = d->next;
        d->link = NULL;
        if (d->at != ROTOR_NEVER)
            rotor__wheel_queue(w, d);
        d = next;
    }
}

rotor_deadline *rotor_wheel_expire(rotor_wheel *w, uint64_t now)
{
    if (now < w->now)
        now = w->now;
    uint64_t time;
    unsigned level;
    while ((level = first_level(w, &time)) < ROTOR_WHEEL_LEVELS && time <= now) {
        w->now = time;
        if (level > 0) {
            cascade(w, level);
            continue;
        }
        rotor_deadline *d = w->buckets[0][slot_of(0, time)];
        detach(w, d);
        if (d->at == ROTOR_NEVER)
            continue;
        if (d->at <= time)
            return d;
        rotor__wheel_queue(w, d);
    }
    w->now = now;
    return NULL;
}

uint64_t rotor_wheel_next(const rotor_wheel *w)
{
    uint64_t time;
    return first_level(w, &time) < ROTOR_WHEEL_LEVELS ? time : ROTOR_NEVER;
}
