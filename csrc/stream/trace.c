/* Tracing, by tables that stand in for the protocol's own.
**
** Each state, and the protocol itself, has a shadow, with a wrapper for each transition that is in
** force in it. A wrapper shows the protocol its own table while it runs, so it sees where it has
** moved to, and then puts the stream in that state's shadow. */
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "../core/private.h"
#include "trace.h"

enum { CREATE, BYTES_READ, BYTES_FLUSHED, TIMEOUT, WAKEUP, EXCEPTION, FATAL, TRANSITIONS };
static const char *const names[] = {"create", "bytes_read", "bytes_flushed", "timeout",
                                    "wakeup", "exception",  "fatal"};

/* Where an arrow leads that leads to no state: the ways to end without an error (less than 0 is an
** error), and where all begin, as they are numbered in the diagram. */
enum { DONE = INT_MAX - 4, LINGER, ABORT, ENDED, START };

/* From a shadow to the one of that index, or to an end, how often by which transition. For an end that
** no transition has asked for `by` is TRANSITIONS. */
typedef struct arrow {
    int to, by;
    uint64_t count;
} arrow;

typedef struct shadow shadow;

/* What a stream's `protocol` points to. All faces of a shadow are alike; which one it is says which
** transition has asked to end, or the last one, that none has. */
typedef struct face {
    rotor_protocol table; /* first */
    shadow *of;
} face;

struct shadow {
    const rotor_protocol *original;
    rotor_protocol real; /* its own, with what it takes from its parents */
    rotor_trace *trace;
    shadow *parent, *next;
    int index;
    bool entered, has_states;
    uint64_t here; /* streams */
    uint64_t counts[TRANSITIONS];
    arrow *arrows; /* sorted by `to` and `by` */
    size_t narrows;
    face faces[TRANSITIONS + 1];
};

struct rotor_trace {
    shadow entry; /* where streams are before their create; of no state */
    shadow home;  /* the protocol itself, with the others behind it */
    uint64_t streams, uncounted;
    bool freed;
};

/* -- counting ---------------------------------------------------------------------------------- */

static void count_arrow(shadow *from, int to, int by)
{
    size_t i = 0;
    while (i < from->narrows &&
           (from->arrows[i].to < to || (from->arrows[i].to == to && from->arrows[i].by < by)))
        i++;
    if (i < from->narrows && from->arrows[i].to == to && from->arrows[i].by == by) {
        from->arrows[i].count++;
        return;
    }
    arrow *grown = rotor_realloc(from->arrows, (from->narrows + 1) * sizeof *grown);
    if (!grown) {
        from->trace->uncounted++;
        return;
    }
    memmove(grown + i + 1, grown + i, (from->narrows - i) * sizeof *grown);
    grown[i] = (arrow){to, by, 1};
    from->arrows = grown;
    from->narrows++;
}

/* The stream is none of the trace's any more. */
static void let_go(rotor_trace *trace)
{
    if (--trace->streams == 0 && trace->freed)
        rotor_trace_free(trace);
}

static shadow *shadow_of(rotor_trace *trace, const rotor_protocol *state);

/* A transition begins, for which the stream is in its protocol's own table. */
static shadow *enter(rotor_stream *s, int which)
{
    shadow *from = ((const face *)s->protocol)->of;
    s->protocol = from->original;
    from->counts[which]++;
    return from;
}

/* It is over, and the stream may have moved. */
static rotor_intent leave(rotor_stream *s, shadow *from, int which, rotor_intent intent)
{
    shadow *to = from;
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
    s->protocol = &to->faces[intent.kind >= ROTOR_INTENT_DONE ? which : TRANSITIONS].table;
    return intent;
}

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_trace *trace = ((const face *)s->protocol)->of->trace;
    s->protocol = trace->home.original;
    trace->streams++;
    trace->entry.here++;
    return leave(s, &trace->entry, CREATE, s->protocol->create(s, scope, seed));
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    shadow *from = enter(s, BYTES_READ);
    return leave(s, from, BYTES_READ, from->real.bytes_read(s, scope, n));
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    shadow *from = enter(s, BYTES_FLUSHED);
    return leave(s, from, BYTES_FLUSHED, from->real.bytes_flushed(s, scope));
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    shadow *from = enter(s, TIMEOUT);
    return leave(s, from, TIMEOUT, from->real.timeout(s, scope));
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    shadow *from = enter(s, WAKEUP);
    return leave(s, from, WAKEUP, from->real.wakeup(s, scope));
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    shadow *from = enter(s, EXCEPTION);
    return leave(s, from, EXCEPTION, from->real.exception(s, scope, reason));
}

static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    const rotor_protocol *before = s->protocol;
    shadow *from = enter(s, FATAL);
    from->real.fatal(s, scope, error);
    s->protocol = before;
}

/* The connection was never made. This is all the stream hears. */
static void on_failure(rotor_stream *s, rotor_scope *scope, int error)
{
    shadow *entry = ((const face *)s->protocol)->of;
    count_arrow(entry, error, TRANSITIONS);
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
        return DONE;
    case ROTOR_INTENT_LINGER:
        return LINGER;
    case ROTOR_INTENT_ABORT:
        return ABORT;
    default:
        return ENDED;
    }
}

static void on_drop(rotor_stream *s)
{
    const face *last = (const face *)s->protocol;
    shadow *from = last->of;
    rotor_trace *trace = from->trace;
    /* What came after it has asked to end, such as a reset, is not its doing. */
    bool asked = s->machine.status == 0 || s->intent.kind == ROTOR_INTENT_ERROR;
    count_arrow(from, outcome(s), asked ? (int)(last - from->faces) : TRANSITIONS);
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
        INHERIT(timeout);
        INHERIT(wakeup);
        INHERIT(exception);
        INHERIT(fatal);
        INHERIT(high_water);
        INHERIT(stall_ms);
        INHERIT(turns);
    }
#undef INHERIT
    return flat;
}

static void init(shadow *sh, rotor_trace *trace, const rotor_protocol *state)
{
    sh->trace = trace;
    sh->original = state;
    sh->real = flatten(state);
    rotor_protocol table = sh->real;
    table.parent = state->parent ? &trace->home.faces[TRANSITIONS].table : NULL;
    table.create = on_create;
    table.bytes_read = table.bytes_read ? on_bytes_read : NULL;
    table.bytes_flushed = table.bytes_flushed ? on_bytes_flushed : NULL;
    table.timeout = table.timeout ? on_timeout : NULL;
    table.wakeup = table.wakeup ? on_wakeup : NULL;
    table.exception = table.exception ? on_exception : NULL;
    table.fatal = table.fatal ? on_fatal : NULL;
    table.drop = on_drop;
    for (int i = 0; i <= TRANSITIONS; i++)
        sh->faces[i] = (face){table, sh};
}

/* The shadow of `state`, made when it is first asked for, behind those of its parents. NULL when
** memory is short. */
static shadow *shadow_of(rotor_trace *trace, const rotor_protocol *state)
{
    shadow *last = NULL;
    for (shadow *sh = &trace->home; sh; last = sh, sh = sh->next)
        if (sh->original == state)
            return sh;
    shadow *parent = shadow_of(trace, state->parent);
    shadow *sh = parent ? rotor_alloc_zero(sizeof *sh) : NULL;
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
    trace->entry.index = START;
    trace->entry.next = &trace->home;
    trace->entry.faces[TRANSITIONS].table.fatal = on_failure;
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
    return &trace->entry.faces[TRANSITIONS].table;
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
    for (shadow *sh = trace->home.next, *next; sh; sh = next) {
        next = sh->next;
        rotor_free(sh->arrows);
        rotor_free(sh);
    }
    rotor_free(trace);
}

/* -- the diagram ------------------------------------------------------------------------------- */

typedef struct text {
    rotor_buf *dot;
    int error;
} text;

static void put_bytes(text *t, const char *bytes, size_t n)
{
    if (!t->error)
        t->error = rotor_buf_extend(t->dot, bytes, n);
}

/* What fits a line, as all but names does. */
static __attribute__((format(printf, 2, 3))) void put(text *t, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert((size_t)n < sizeof line);
    put_bytes(t, line, (size_t)n);
}

/* A name inside a string. All that is special anywhere is escaped, needed there or not. */
static void put_name(text *t, const char *name)
{
    for (; name && *name; name++) {
        if (*name == '&')
            put(t, "&amp;");
        else if (strchr("\"\\{}|<>", *name))
            put(t, "\\%c", *name);
        else
            put(t, "%c", (unsigned char)*name < ' ' || *name == 0x7f ? ' ' : *name);
    }
}

static const char *end_name(int to)
{
    static const char *const ways[] = {"done", "linger", "abort", "ended", "start"};
    return to < 0 ? rotor_err_name(to) : ways[to - DONE];
}

/* Of a state, an end, or where streams begin. */
static void put_id(text *t, int to)
{
    if (to < 0)
        put(t, "error%d", -to);
    else if (to < DONE)
        put(t, "state%d", to);
    else
        put(t, "%s", end_name(to));
}

/* Those that ran, and those of the state's own that did not. */
static void put_counts(text *t, const shadow *sh)
{
    const rotor_protocol *own = sh->original;
    const bool has[] = {false,       own->bytes_read, own->bytes_flushed, own->timeout,
                        own->wakeup, own->exception,  own->fatal};
    for (int i = 0; i < TRANSITIONS; i++)
        if (has[i] || sh->counts[i])
            put(t, "%s %" PRIu64 "\\l", names[i], sh->counts[i]);
}

static void put_node(text *t, const shadow *sh)
{
    put(t, "  state%d [label=\"{", sh->index);
    put_name(t, sh->real.name);
    put(t, "|");
    put_counts(t, sh);
    if (sh->here)
        put(t, "|%" PRIu64 " here now", sh->here);
    put(t, "}\"%s];\n", sh->entered ? "" : ", style=dashed");
}

/* The state, with its states in a box around them. */
static void put_state(text *t, const shadow *sh)
{
    if (!sh->has_states) {
        put_node(t, sh);
        return;
    }
    put(t, "  subgraph cluster_%d {\n  label=\"", sh->index);
    put_name(t, sh->real.name);
    put(t, "\";\n");
    if (sh->entered)
        put_node(t, sh);
    for (const shadow *in = sh->next; in; in = in->next)
        if (in->parent == sh)
            put_state(t, in);
    put(t, "  }\n");
}

/* The first end behind `*to` that any stream has come to, and how many have. 0: there is no more. */
static uint64_t next_end(const rotor_trace *trace, int *to)
{
    uint64_t n = 0;
    int next = INT_MAX;
    for (const shadow *sh = &trace->entry; sh; sh = sh->next)
        for (const arrow *a = sh->arrows; a < sh->arrows + sh->narrows; a++) {
            bool is_end = a->to < 0 || a->to >= DONE;
            if (!is_end || a->to <= *to || a->to > next)
                continue;
            n = a->to < next ? a->count : n + a->count;
            next = a->to;
        }
    *to = next;
    return n;
}

static void put_arrows(text *t, const shadow *from)
{
    for (size_t i = 0; i < from->narrows;) {
        int to = from->arrows[i].to;
        put(t, "  ");
        put_id(t, from->index);
        put(t, " -> ");
        put_id(t, to);
        put(t, " [label=\"");
        for (const char *between = ""; i < from->narrows && from->arrows[i].to == to; i++) {
            const arrow *a = &from->arrows[i];
            const char *by = to == DONE ? "EEOF" : ""; /* the end of input is done where unheard */
            if (a->by < TRANSITIONS)
                by = names[a->by];
            put(t, *by ? "%s %s" : "%s%s", between, by);
            put(t, " %" PRIu64, a->count); /* a space keeps it off the arrow */
            between = "\\n";
        }
        put(t, "\"];\n");
    }
}

int rotor_trace_diagram(const rotor_trace *trace, rotor_buf *dot)
{
    static const char styles[] =
        "  graph [fontname=\"sans-serif\", fontsize=12, style=rounded, labeljust=l];\n"
        "  node [fontname=\"sans-serif\", fontsize=11, shape=Mrecord];\n"
        "  edge [fontname=\"sans-serif\", fontsize=10];\n"
        "  start [label=\"\", shape=circle, style=filled, fillcolor=black, width=0.2];\n";
    text t = {dot, 0};
    size_t before = rotor_buf_len(dot);
    put(&t, "digraph \"");
    put_name(&t, trace->home.real.name);
    put(&t, "\" {\n");
    put_bytes(&t, styles, sizeof styles - 1);
    if (trace->uncounted)
        put(&t, "  label=\"%" PRIu64 " not counted, as memory was short\";\n", trace->uncounted);
    put_state(&t, &trace->home);
    uint64_t n;
    for (int to = INT_MIN; (n = next_end(trace, &to)) > 0;) {
        put(&t, "  ");
        put_id(&t, to);
        put(&t, " [label=\"%s %" PRIu64 "\", shape=ellipse%s];\n", end_name(to), n,
            to < 0 ? ", color=red" : "");
    }
    for (const shadow *sh = &trace->entry; sh; sh = sh->next)
        put_arrows(&t, sh);
    put(&t, "}\n");
    if (t.error)
        rotor_buf_truncate(dot, before);
    return t.error;
}
