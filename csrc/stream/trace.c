/* Tracing, by tables that stand in for the protocol's own.
**
** Each state, and the protocol itself, has a shadow, with a wrapper for each transition that is in
** force in it. A wrapper shows the protocol its own table while it runs, so it sees where it has
** moved to, and then puts the stream in that state's shadow. */
#include <string.h>

#include "../core/private.h"
#include "private.h"

/* -- counting ---------------------------------------------------------------------------------- */

static void count_arrow(rotor__shadow *from, int to, int by)
{
    size_t i = 0;
    while (i < from->narrows &&
           (from->arrows[i].to < to || (from->arrows[i].to == to && from->arrows[i].by < by)))
        i++;
    if (i < from->narrows && from->arrows[i].to == to && from->arrows[i].by == by) {
        from->arrows[i].count++;
        return;
    }
    rotor__arrow *grown = rotor_realloc(from->arrows, (from->narrows + 1) * sizeof *grown);
    if (!grown) {
        from->trace->uncounted++;
        return;
    }
    memmove(grown + i + 1, grown + i, (from->narrows - i) * sizeof *grown);
    grown[i] = (rotor__arrow){to, by, 1};
    from->arrows = grown;
    from->narrows++;
}

/* The stream is none of the trace's any more. */
static void let_go(rotor_trace *trace)
{
    if (--trace->streams == 0 && trace->freed)
        rotor_trace_free(trace);
}

static rotor__shadow *shadow_of(rotor_trace *trace, const rotor_protocol *state);

/* A transition begins, for which the stream is in its protocol's own table. */
static rotor__shadow *enter(rotor_stream *s, int which)
{
    rotor__shadow *from = ((const rotor__face *)s->protocol)->of;
    s->protocol = from->original;
    from->counts[which]++;
    return from;
}

/* It is over, and the stream may have moved. */
static rotor_intent leave(rotor_stream *s, rotor__shadow *from, int which, rotor_intent intent)
{
    rotor__shadow *to = from;
    if (s->protocol != from->original) {
        to = shadow_of(from->trace, s->protocol);
        from->here--;
        if (!to) { /* the stream goes on without being counted, in the protocol's own table */
            from->trace->uncounted++;
            let_go(from->trace);
            return intent;
        }
        count_arrow(from, to->index, which);
        to->here++;
        to->entered = true;
    }
    s->protocol = &to->faces[intent.kind >= ROTOR_INTENT_DONE ? which : ROTOR__BY_NONE].table;
    return intent;
}

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_trace *trace = ((const rotor__face *)s->protocol)->of->trace;
    s->protocol = trace->home.original;
    trace->streams++;
    trace->entry.here++;
    return leave(s, &trace->entry, ROTOR__BY_CREATE, s->protocol->create(s, scope, seed));
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor__shadow *from = enter(s, ROTOR__BY_BYTES_READ);
    return leave(s, from, ROTOR__BY_BYTES_READ, from->real.bytes_read(s, scope, n));
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor__shadow *from = enter(s, ROTOR__BY_BYTES_FLUSHED);
    return leave(s, from, ROTOR__BY_BYTES_FLUSHED, from->real.bytes_flushed(s, scope));
}

static ssize_t on_pull(rotor_stream *s, rotor_scope *scope)
{
    const rotor_protocol *before = s->protocol;
    rotor__shadow *from = enter(s, ROTOR__BY_PULL);
    ssize_t n = from->real.pull(s, scope);
    s->protocol = before;
    return n;
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    rotor__shadow *from = enter(s, ROTOR__BY_TIMEOUT);
    return leave(s, from, ROTOR__BY_TIMEOUT, from->real.timeout(s, scope));
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    rotor__shadow *from = enter(s, ROTOR__BY_WAKEUP);
    return leave(s, from, ROTOR__BY_WAKEUP, from->real.wakeup(s, scope));
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor__shadow *from = enter(s, ROTOR__BY_EXCEPTION);
    return leave(s, from, ROTOR__BY_EXCEPTION, from->real.exception(s, scope, reason));
}

static rotor_intent on_hangup(rotor_stream *s, rotor_scope *scope)
{
    rotor__shadow *from = enter(s, ROTOR__BY_HANGUP);
    return leave(s, from, ROTOR__BY_HANGUP, from->real.hangup(s, scope));
}

static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    const rotor_protocol *before = s->protocol;
    rotor__shadow *from = enter(s, ROTOR__BY_FATAL);
    from->real.fatal(s, scope, error);
    s->protocol = before;
}

/* The connection was never made. This is all the stream hears. */
static void on_failure(rotor_stream *s, rotor_scope *scope, int error)
{
    rotor__shadow *entry = ((const rotor__face *)s->protocol)->of;
    count_arrow(entry, error, ROTOR__BY_NONE);
    s->protocol = entry->trace->home.original;
    if (s->protocol->fatal)
        s->protocol->fatal(s, scope, error);
}

static int outcome(const rotor_stream *s)
{
    if (s->machine.status < 0)
        return s->machine.status;
    switch (s->intent.kind) {
    case ROTOR_INTENT_DONE:
        return ROTOR__TO_DONE;
    case ROTOR_INTENT_LINGER:
        return ROTOR__TO_LINGER;
    case ROTOR_INTENT_ABORT:
        return ROTOR__TO_ABORT;
    case ROTOR_INTENT_PASS:
        return ROTOR__TO_PASS;
    default:
        return ROTOR__TO_ENDED;
    }
}

static void on_drop(rotor_stream *s)
{
    const rotor__face *last = (const rotor__face *)s->protocol;
    rotor__shadow *from = last->of;
    rotor_trace *trace = from->trace;
    /* What came after it has asked to end, such as a reset, is not its doing. */
    bool asked = s->machine.status == 0 || s->intent.kind == ROTOR_INTENT_ERROR;
    count_arrow(from, outcome(s), asked ? (int)(last - from->faces) : ROTOR__BY_NONE);
    from->here--;
    s->protocol = from->original;
    if (from->real.drop)
        from->real.drop(s);
    let_go(trace);
}

/* -- shadows ----------------------------------------------------------------------------------- */

/* `state` with what is in force in it. */
static rotor_protocol flatten(const rotor_protocol *state)
{
    const rotor_protocol *root = rotor_protocol_of(state);
    rotor_protocol flat = *state;
    flat.size = root->size;
    flat.create = root->create;
    flat.drop = root->drop;
#define INHERIT(member) flat.member = flat.member ? flat.member : up->member
    for (const rotor_protocol *up = state->parent; up; up = up->parent) {
        INHERIT(bytes_read);
        INHERIT(bytes_flushed);
        INHERIT(pull);
        INHERIT(timeout);
        INHERIT(wakeup);
        INHERIT(exception);
        INHERIT(hangup);
        INHERIT(fatal);
        INHERIT(describe);
        INHERIT(high_water);
        INHERIT(stall_ms);
        INHERIT(turns);
    }
#undef INHERIT
    return flat;
}

static void init(rotor__shadow *sh, rotor_trace *trace, const rotor_protocol *state)
{
    sh->trace = trace;
    sh->original = state;
    sh->real = flatten(state);
    rotor_protocol table = sh->real;
    table.parent = state->parent ? &trace->home.faces[ROTOR__BY_NONE].table : NULL;
    table.create = on_create;
    table.bytes_read = table.bytes_read ? on_bytes_read : NULL;
    table.bytes_flushed = table.bytes_flushed ? on_bytes_flushed : NULL;
    table.pull = table.pull ? on_pull : NULL;
    table.timeout = table.timeout ? on_timeout : NULL;
    table.wakeup = table.wakeup ? on_wakeup : NULL;
    table.exception = table.exception ? on_exception : NULL;
    table.hangup = table.hangup ? on_hangup : NULL;
    table.fatal = table.fatal ? on_fatal : NULL;
    table.drop = on_drop;
    for (int i = 0; i <= ROTOR__BY_NONE; i++)
        sh->faces[i] = (rotor__face){table, sh};
}

/* The shadow of `state`, made when it is first asked for, behind those of its parents. NULL when
** memory is short. */
static rotor__shadow *shadow_of(rotor_trace *trace, const rotor_protocol *state)
{
    rotor__shadow *last = NULL;
    for (rotor__shadow *sh = &trace->home; sh; last = sh, sh = sh->next)
        if (sh->original == state)
            return sh;
    rotor__shadow *parent = shadow_of(trace, state->parent);
    rotor__shadow *sh = parent ? rotor_alloc_zero(sizeof *sh) : NULL;
    if (!sh)
        return NULL;
    while (last->next)
        last = last->next;
    init(sh, trace, state);
    sh->parent = parent;
    parent->has_states = true;
    sh->index = last->index + 1;
    last->next = sh;
    return sh;
}

int rotor_trace_new(rotor_trace **result, const rotor_protocol *protocol)
{
    *result = NULL;
    if (!rotor__protocol_is_valid(protocol))
        return UV_EINVAL;
    rotor_trace *trace = rotor_alloc_zero(sizeof *trace);
    if (!trace)
        return UV_ENOMEM;
    init(&trace->home, trace, protocol);
    init(&trace->entry, trace, protocol);
    trace->entry.original = NULL;
    trace->entry.index = ROTOR__TO_START;
    trace->entry.next = &trace->home;
    trace->entry.faces[ROTOR__BY_NONE].table.fatal = on_failure;
    *result = trace;
    return 0;
}

int rotor_trace_add(rotor_trace *trace, const rotor_protocol *state)
{
    if (rotor_protocol_of(state) != trace->home.original)
        return UV_EINVAL;
    return shadow_of(trace, state) ? 0 : UV_ENOMEM;
}

const rotor_protocol *rotor_trace_protocol(const rotor_trace *trace)
{
    return &trace->entry.faces[ROTOR__BY_NONE].table;
}

void rotor_trace_free(rotor_trace *trace)
{
    if (!trace)
        return;
    trace->freed = true;
    if (trace->streams > 0)
        return;
    rotor_free(trace->entry.arrows);
    rotor_free(trace->home.arrows);
    for (rotor__shadow *sh = trace->home.next, *next; sh; sh = next) {
        next = sh->next;
        rotor_free(sh->arrows);
        rotor_free(sh);
    }
    rotor_free(trace);
}
