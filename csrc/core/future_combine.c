/* Combinators: futures that are resolved by other futures.
**
** What a combinator waits for is dropped with it, so nothing is ever called for one that is gone. A
** function of the user's may well drop the future that it works for: each call holds a reference. */
#include <stdio.h>

#include "future.h"
#include "private.h"

static rotor_future *detach(rotor_future **source)
{
    rotor_future *f = *source;
    *source = NULL;
    return f;
}

/* Take what `source` was resolved with, for `out`. An error's detail is of the source's making, so
** `out` must destroy it as the source would have. */
static int take_for(rotor_future *out, rotor_future *source, void **value)
{
    void (*destroy)(void *) = source->destroy;
    int status = rotor_future_take(source, value);
    if (status)
        out->destroy = destroy;
    return status;
}

/* -- map and then ------------------------------------------------------------------------------ */

typedef struct chain {
    rotor_future out;
    rotor_future *source;
    rotor_map_fn map;
    rotor_then_fn then;
    void *context;
    void (*release)(void *context); /* NULL: has been called, or there is none */
} chain;

static void release_context(void (*release)(void *), void *context)
{
    if (release)
        release(context);
}

static rotor_future *chain_abandon(rotor_future *out)
{
    chain *c = (chain *)out;
    rotor_future *source = detach(&c->source);
    void (*release)(void *) = c->release;
    c->release = NULL;
    release_context(release, c->context);
    return source;
}

static chain *chain_new(rotor_future *f, void *context, void (*release)(void *context),
                        void (*destroy)(void *value))
{
    chain *c = (chain *)rotor__future_make(sizeof *c, f->loop, f->mailbox, destroy, chain_abandon);
    if (!c) {
        rotor_future_drop(f);
        release_context(release, context);
        return NULL;
    }
    c->source = f;
    c->context = context;
    c->release = release;
    return c;
}

static void pass_on(rotor_future *source, void *context)
{
    chain *c = context;
    void *value;
    c->source = NULL;
    int status = take_for(&c->out, source, &value);
    rotor__future_resolve(&c->out, status, value);
}

static void map_value(rotor_future *source, void *context)
{
    chain *c = (chain *)rotor__future_ref(context);
    void (*release)(void *) = c->release;
    void *value;
    c->source = NULL;
    c->release = NULL; /* not before `map` is done with the context */
    int status = take_for(&c->out, source, &value);
    if (!status) {
        void *result = NULL;
        status = c->map(c->context, value, &result);
        status = status ? rotor__future_error(status) : 0;
        value = result;
    }
    release_context(release, c->context);
    rotor__future_resolve(&c->out, status, value);
    rotor__future_unref(&c->out);
}

rotor_future *rotor_future_map(rotor_future *f, rotor_map_fn fn, void *context,
                               void (*release)(void *context), void (*destroy)(void *value))
{
    chain *c = chain_new(f, context, release, destroy);
    if (!c)
        return NULL;
    c->map = fn;
    rotor__future_follow(f, map_value, c);
    return &c->out;
}

static void then_begin(rotor_future *source, void *context)
{
    chain *c = (chain *)rotor__future_ref(context);
    void (*release)(void *) = c->release;
    void *value;
    int error = 0;
    c->source = NULL;
    c->release = NULL;
    int status = rotor_future_take(source, &value);
    rotor_future *next = c->then(c->context, status, value, &error);
    release_context(release, c->context);
    if (!next) {
        rotor__future_resolve(&c->out, rotor__future_error(error), NULL);
    } else if (atomic_load(&c->out.dropped)) {
        rotor_future_drop(next);
    } else {
        c->source = next;
        rotor__future_follow(next, pass_on, c);
    }
    rotor__future_unref(&c->out);
}

rotor_future *rotor_future_then(rotor_future *f, rotor_then_fn fn, void *context,
                                void (*release)(void *context), void (*destroy)(void *value))
{
    chain *c = chain_new(f, context, release, destroy);
    if (!c)
        return NULL;
    c->then = fn;
    rotor__future_follow(f, then_begin, c);
    return &c->out;
}

/* -- all and first ----------------------------------------------------------------------------- */

typedef struct group group;

typedef struct member {
    group *group;
    rotor_future *source;
} member;

struct group {
    rotor_future out;
    size_t n, left;
    rotor_values *values; /* all: the values so far */
    member members[];
};

static void destroy_values(void *values)
{
    rotor_values_free(values);
}

void rotor_values_free(rotor_values *values)
{
    if (!values)
        return;
    for (size_t i = 0; i < values->n; i++)
        if (values->values[i] && values->destroy)
            values->destroy(values->values[i]);
    rotor_free(values);
}

static rotor_future *group_abandon(rotor_future *out)
{
    group *g = (group *)out;
    rotor_values *values = g->values;
    rotor_future *source = NULL;
    g->values = NULL;
    for (size_t i = 0; i < g->n; i++) {
        rotor_future_drop(source);
        source = detach(&g->members[i].source);
    }
    rotor_values_free(values);
    return source;
}

/* `last` decides, and what else the group waits for is dropped. */
static void group_resolve(group *g, rotor_future *last)
{
    void *value;
    rotor__future_ref(&g->out); /* destructors of values may drop it */
    int status = take_for(&g->out, last, &value);
    rotor_future_drop(group_abandon(&g->out));
    rotor__future_resolve(&g->out, status, value);
    rotor__future_unref(&g->out);
}

static group *group_new(rotor_loop *loop, size_t n, void (*destroy)(void *value))
{
    size_t size = sizeof(group) + n * sizeof(member);
    group *g = (group *)rotor__future_make(size, loop, loop->mailbox, destroy, group_abandon);
    if (g)
        g->n = g->left = n;
    return g;
}

static rotor_future *group_begin(group *g, rotor_future **futures,
                                 void (*follow)(rotor_future *, void *))
{
    for (size_t i = 0; i < g->n; i++) {
        g->members[i] = (member){g, futures[i]};
        rotor__future_follow(futures[i], follow, &g->members[i]);
    }
    return &g->out;
}

static rotor_future *group_failed(group *g, rotor_future **futures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rotor_future_drop(futures[i]);
    if (g)
        rotor__future_unref(&g->out);
    return NULL;
}

static void all_one(rotor_future *source, void *context)
{
    member *m = context;
    group *g = m->group;
    m->source = NULL;
    g->left--;
    if (rotor_future_status(source)) {
        group_resolve(g, source);
        return;
    }
    rotor_values *values = g->values;
    (void)rotor_future_take(source, &values->values[m - g->members]);
    if (g->left == 0) {
        g->values = NULL;
        rotor__future_resolve(&g->out, 0, values);
    }
}

rotor_future *rotor_future_all(rotor_loop *loop, rotor_future **futures, size_t n,
                               void (*destroy)(void *value))
{
    group *g = group_new(loop, n, destroy_values);
    rotor_values *values = rotor_alloc_zero(sizeof *values + n * sizeof values->values[0]);
    if (!g || !values) {
        rotor_free(values);
        return group_failed(g, futures, n);
    }
    values->n = n;
    values->destroy = destroy;
    if (n == 0)
        rotor__future_resolve(&g->out, 0, values);
    else
        g->values = values;
    return group_begin(g, futures, all_one);
}

static void first_one(rotor_future *source, void *context)
{
    member *m = context;
    group *g = m->group;
    m->source = NULL;
    g->left--;
    if (rotor_future_status(source) && g->left > 0)
        rotor_future_drop(source);
    else
        group_resolve(g, source);
}

rotor_future *rotor_future_first(rotor_loop *loop, rotor_future **futures, size_t n,
                                 void (*destroy)(void *value))
{
    group *g = group_new(loop, n, destroy);
    return g ? group_begin(g, futures, first_one) : group_failed(g, futures, n);
}

/* -- timeout ----------------------------------------------------------------------------------- */

typedef struct timed {
    rotor_future out;
    rotor_future *source;
    uint64_t deadline;
    rotor_handle alarm;
} timed;

typedef struct alarm_machine {
    rotor_machine machine;
    timed *timed;
} alarm_machine;

static rotor_response alarm_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    timed *t = (timed *)rotor__future_ref(seed);
    ((alarm_machine *)m)->timed = t;
    return rotor_ok_until(t->deadline);
}

static rotor_response alarm_timeout(rotor_machine *m, rotor_scope *scope)
{
    timed *t = ((alarm_machine *)m)->timed;
    rotor_future *source = detach(&t->source);
    if (source) { /* otherwise it has just been resolved */
        rotor_future_drop(source);
        rotor__future_resolve(&t->out, ROTOR_ETIMEDOUT, NULL);
    }
    return rotor_done();
}

static void alarm_drop(rotor_machine *m)
{
    rotor__future_unref(&((alarm_machine *)m)->timed->out);
}

static void alarm_describe(const rotor_machine *m, char *text, size_t size)
{
    snprintf(text, size, "a future");
}

static const rotor_type alarm_type = {
    .name = "future timeout",
    .size = sizeof(alarm_machine),
    .create = alarm_create,
    .timeout = alarm_timeout,
    .drop = alarm_drop,
    .describe = alarm_describe,
};

static rotor_future *timed_abandon(rotor_future *out)
{
    timed *t = (timed *)out;
    if (!atomic_load(&out->mailbox->closed))
        (void)rotor_end(out->loop, t->alarm, 0);
    return detach(&t->source);
}

static void timed_one(rotor_future *source, void *context)
{
    timed *t = context;
    void *value;
    t->source = NULL;
    int status = take_for(&t->out, source, &value);
    (void)rotor_end(t->out.loop, t->alarm, 0);
    rotor__future_resolve(&t->out, status, value);
}

rotor_future *rotor_future_timeout(rotor_future *f, uint64_t deadline)
{
    timed *t =
        (timed *)rotor__future_make(sizeof *t, f->loop, f->mailbox, f->destroy, timed_abandon);
    int error = t ? 0 : UV_ENOMEM;
    if (t) {
        t->source = f;
        t->deadline = deadline;
        if (!atomic_load(&f->mailbox->closed))
            error = rotor__add_now(f->loop, &alarm_type, t, &t->alarm);
    }
    if (error) {
        if (t)
            rotor__future_unref(&t->out);
        rotor_future_drop(f);
        return NULL;
    }
    rotor__future_follow(f, timed_one, t);
    return &t->out;
}
