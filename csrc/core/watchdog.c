/* The watchdog. What it notes is behind a pointer that is NULL while there is none. */
#include <stdio.h>
#include <string.h>

#include "private.h"
#include "watchdog.h"

enum { NS_PER_MS = 1000000 };

int rotor_loop_watchdog(rotor_loop *loop, uint64_t limit_ms,
                        void (*fn)(rotor_loop *loop, const rotor_lag *lag, void *context),
                        void *context)
{
    if (fn && (limit_ms == 0 || limit_ms > UINT64_MAX / NS_PER_MS))
        return UV_EINVAL;
    if (!fn) { /* its memory stays, as this may be one of its own events */
        if (loop->watched)
            loop->watched->fn = NULL;
        loop->watch = NULL;
        return 0;
    }
    if (!loop->watched)
        loop->watched = rotor_alloc_zero(sizeof *loop->watched);
    if (!loop->watched)
        return UV_ENOMEM;
    loop->watch = loop->watched;
    loop->watch->limit = limit_ms * NS_PER_MS;
    loop->watch->fn = fn;
    loop->watch->context = context;
    loop->watch->began = 0; /* from the next event on */
    return 0;
}

/* What has run since the last mark is over. */
static void close_mark(rotor__watch *w, uint64_t now)
{
    if (w->name[0] && now - w->marked >= w->longest) {
        w->longest = now - w->marked;
        memcpy(w->lag.name, w->name, sizeof w->name);
        w->lag.transition = w->transition ? *w->transition : NULL;
    }
    w->name[0] = '\0';
}

void rotor__watch_enter(rotor_loop *loop)
{
    rotor__watch *w = loop->watch;
    w->event = w->began = uv_hrtime();
    w->name[0] = '\0';
    w->longest = 0;
    w->lag = (rotor_lag){0};
}

void rotor__watch_mark(rotor_machine *m)
{
    rotor__watch *w = m->loop->watch;
    uint64_t now = uv_hrtime();
    close_mark(w, now);
    w->marked = now;
    if (w->transition)
        *w->transition = NULL;
    /* It may be gone when that is to be told. */
    snprintf(w->name, sizeof w->name, "%.40s %u.%u", rotor_machine_name(m), m->self.slot,
             m->self.generation);
}

void rotor__watch_leave(rotor_loop *loop)
{
    rotor__watch *w = loop->watch;
    if (w->began == 0)
        return;
    uint64_t now = uv_hrtime(), took = now - w->began;
    w->began = 0;
    if (took < w->limit)
        return;
    close_mark(w, now);
    w->lag.ms = took / NS_PER_MS;
    w->lag.machine_ms = w->longest / NS_PER_MS;
    loop->busy = true;
    w->fn(loop, &w->lag, w->context);
    rotor__loop_settle(loop);
}
