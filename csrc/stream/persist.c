/* The machine that keeps one connection alive. Each try is a stream of its own, which this machine
** spawns and, as it has child_done, owns. */
#include <stdio.h>
#include <string.h>

#include "../core/private.h"
#include "address.h"
#include "persist.h"
#include "private.h"

enum { DEFAULT_BACKOFF_MS = 100, DEFAULT_BACKOFF_MAX_MS = 30000 };

typedef enum phase {
    WAITING, /* for the next try: for its time, or for a slot in the loop */
    TRYING,
    UP
} phase;

typedef struct persist {
    rotor_machine machine;
    const rotor_protocol *protocol;
    rotor_persist_options options;
    rotor_stream_seed connecting; /* while a stream is being spawned */
    rotor_handle stream;
    phase phase;
    uint32_t delay_ms; /* what the next wait is drawn from */
    uint64_t up_since;
    uint64_t random;
    char address[];
} persist;

typedef struct persist_seed {
    const char *address;
    const rotor_protocol *protocol;
    const rotor_persist_options *options;
} persist_seed;

static const rotor_type persist_type;

/* -- waiting ----------------------------------------------------------------------------------- */

/* A number below `n`, by splitmix64. */
static uint64_t draw(persist *p, uint64_t n)
{
    uint64_t z = p->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

static uint64_t begin_draws(const persist *p)
{
    uint64_t number = p->options.random;
    if (number == 0 && uv_random(NULL, NULL, &number, sizeof number, 0, NULL))
        number = uv_hrtime() ^ (uintptr_t)p;
    return number;
}

/* A try has come to its end. */
static rotor_response wait_for_next(persist *p, rotor_scope *scope, int error)
{
    const rotor_persist_options *o = &p->options;
    uint64_t wait = p->delay_ms - p->delay_ms / 2 + draw(p, p->delay_ms / 2 + 1);
    uint64_t at = scope->loop->now + wait, doubled = 2 * (uint64_t)p->delay_ms;
    p->phase = WAITING;
    p->delay_ms = doubled < o->backoff_max_ms ? (uint32_t)doubled : o->backoff_max_ms;
    if (o->down)
        o->down(scope, error, wait, o->context);
    return rotor_ok_until(at);
}

/* -- trying ------------------------------------------------------------------------------------ */

static rotor_response try_now(persist *p, rotor_scope *scope)
{
    rotor_connect_options options = {.seed = p->options.seed,
                                     .timeout_ms = p->options.timeout_ms,
                                     .delay = p->options.delay,
                                     .keepalive_s = p->options.keepalive_s};
    int error = rotor__connect_seed(scope->loop, p->address, p->protocol, &options, &p->connecting);
    if (error)
        return wait_for_next(p, scope, error);
    p->phase = TRYING;
    return rotor_spawn(scope, &rotor_stream_type, &p->connecting);
}

static rotor_response persist_spawned(rotor_machine *m, rotor_scope *scope, rotor_handle stream)
{
    ((persist *)m)->stream = stream;
    return rotor_ok();
}

static rotor_response persist_spawn_error(rotor_machine *m, rotor_scope *scope, int error,
                                          void *seed)
{
    persist *p = (persist *)m;
    rotor__connect_seed_free(&p->connecting);
    if (error != ROTOR_ECAPACITY)
        return wait_for_next(p, scope, error);
    p->phase = WAITING; /* to be woken */
    return rotor_ok();
}

/* -- up and down ------------------------------------------------------------------------------- */

/* Whether the protocol's create has been called: the connecting transport is gone then. */
static bool has_begun(const rotor_machine *stream)
{
    return !((const rotor_stream *)stream)->transport->handshake;
}

static void go_up(persist *p, rotor_scope *scope)
{
    p->phase = UP;
    p->up_since = scope->loop->now;
    if (p->options.up)
        p->options.up(scope, p->stream, p->options.context);
}

static rotor_response persist_wakeup(rotor_machine *m, rotor_scope *scope)
{
    persist *p = (persist *)m;
    if (p->phase == WAITING)
        return try_now(p, scope);
    const rotor_machine *stream = rotor_find(scope->loop, p->stream);
    if (p->phase == TRYING && stream && has_begun(stream))
        go_up(p, scope);
    return rotor_same();
}

static rotor_response persist_timeout(rotor_machine *m, rotor_scope *scope)
{
    return try_now((persist *)m, scope);
}

static rotor_response persist_child_done(rotor_machine *m, rotor_scope *scope, rotor_machine *child,
                                         int status)
{
    persist *p = (persist *)m;
    if (p->phase == TRYING && has_begun(child)) /* and ended before it could be told */
        go_up(p, scope);
    if (p->phase == UP && scope->loop->now - p->up_since > p->delay_ms)
        p->delay_ms = p->options.backoff_ms;
    return wait_for_next(p, scope, status);
}

/* -- beginning and ending ---------------------------------------------------------------------- */

static rotor_response persist_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    persist *p = (persist *)m;
    const persist_seed *seed = data;
    p->protocol = seed->protocol;
    p->options = *seed->options;
    p->random = begin_draws(p);
    p->delay_ms = p->options.backoff_ms;
    memcpy(p->address, seed->address, strlen(seed->address) + 1);
    /* Not now: this may be inside somebody's transition, and the handle is not known yet. */
    return rotor_ok_until(scope->loop->now);
}

static void persist_drop(rotor_machine *m)
{
    const rotor_persist_options *o = &((persist *)m)->options;
    if (o->release)
        o->release(o->seed);
    if (o->closed)
        o->closed(o->context);
}

static size_t persist_size(const void *seed)
{
    return sizeof(persist) + strlen(((const persist_seed *)seed)->address) + 1;
}

static void persist_describe(const rotor_machine *m, char *text, size_t size)
{
    static const char *const words[] = {[WAITING] = "the next try of",
                                        [TRYING] = "a connection to",
                                        [UP] = "the end of the one to"};
    const persist *p = (const persist *)m;
    snprintf(text, size, "%s %s", words[p->phase], p->address);
}

static const rotor_type persist_type = {
    .name = "persist",
    .size = sizeof(persist),
    .size_of = persist_size,
    .create = persist_create,
    .spawned = persist_spawned,
    .spawn_error = persist_spawn_error,
    .timeout = persist_timeout,
    .wakeup = persist_wakeup,
    .child_done = persist_child_done,
    .drop = persist_drop,
    .describe = persist_describe,
};

int rotor_persist(rotor_loop *loop, const char *address, const rotor_protocol *protocol,
                  const rotor_persist_options *given, rotor_handle *handle)
{
    rotor_persist_options options = {0};
    rotor_address numeric;
    rotor_host host;
    if (given)
        options = *given;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    if (options.backoff_ms == 0)
        options.backoff_ms = DEFAULT_BACKOFF_MS;
    if (options.backoff_max_ms == 0)
        options.backoff_max_ms = DEFAULT_BACKOFF_MAX_MS;
    if (options.backoff_max_ms < options.backoff_ms)
        options.backoff_max_ms = options.backoff_ms;
    int error = rotor_address_parse(address, &numeric, &host);
    if (error < 0)
        return error;
    if (!rotor__protocol_is_valid(protocol) || options.keepalive_s > ROTOR__KEEPALIVE_MOST_S)
        return UV_EINVAL;
    persist_seed seed = {address, protocol, &options};
    return rotor__add_now(loop, &persist_type, &seed, handle);
}

rotor_handle rotor_persist_stream(rotor_loop *loop, rotor_handle handle)
{
    const rotor_machine *m = rotor_find(loop, handle);
    if (!m || m->type != &persist_type)
        return ROTOR_NO_HANDLE;
    const persist *p = (const persist *)m;
    return p->phase == UP && rotor_find(loop, p->stream) ? p->stream : ROTOR_NO_HANDLE;
}
