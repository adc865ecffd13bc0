/* What a trace has counted, in the language of Graphviz. */
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

static const char *const names[] = {"create", "bytes_read", "bytes_flushed", "pull", "timeout",
                                    "wakeup", "exception",  "hangup",        "fatal"};

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

/* How long the UTF-8 character is that begins there, which what draws insists on; 0: it is none. */
static size_t character(const char *s)
{
    unsigned char first = (unsigned char)*s;
    size_t n = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 0;
    return first < 0xf5 ? n : 0;
}

/* A name where HTML goes, or, as what is special there is escaped, in a string. */
static void put_name(text *t, const char *name)
{
    if (!name || !*name)
        put(t, "&#160;"); /* nothing at all is an error */
    while (name && *name) {
        size_t n = character(name);
        if (strchr("&<>\"\\", *name))
            put(t, "&#%d;", *name);
        else if (n == 0 || (unsigned char)*name < ' ' || *name == 0x7f)
            put(t, "?");
        else
            put_bytes(t, name, n);
        name += n ? n : 1;
    }
}

static const char *end_name(int to)
{
    static const char *const ways[] = {"done", "linger", "abort", "pass", "ended", "start"};
    return to < 0 ? rotor_err_name(to) : ways[to - ROTOR__TO_DONE];
}

/* Of a state, an end, or where streams begin. */
static void put_id(text *t, int to)
{
    if (to < 0)
        put(t, "error%u", 0U - (unsigned)to);
    else if (to < ROTOR__TO_DONE)
        put(t, "state%d", to);
    else
        put(t, "%s", end_name(to));
}

/* The transitions that ran, and those of the state's own that did not. */
static void put_counts(text *t, const rotor__shadow *sh)
{
    const rotor_protocol *own = sh->original;
    const bool has[] = {false,       own->bytes_read, own->bytes_flushed, own->pull, own->timeout,
                        own->wakeup, own->exception,  own->hangup,        own->fatal};
    const char *before = "<hr/><tr><td align=\"left\" balign=\"left\">", *after = "";
    for (int i = 0; i < ROTOR__BY_NONE; i++)
        if (has[i] || sh->counts[i]) {
            put(t, "%s%s %" PRIu64, before, names[i], sh->counts[i]);
            before = "<br/>";
            after = "</td></tr>";
        }
    put(t, "%s", after);
}

static void put_node(text *t, const rotor__shadow *sh)
{
    put(t, "  state%d [label=<<table border=\"0\" cellspacing=\"0\"><tr><td><b>", sh->index);
    put_name(t, sh->real.name);
    put(t, "</b></td></tr>");
    put_counts(t, sh);
    if (sh->here)
        put(t, "<hr/><tr><td>%" PRIu64 " here now</td></tr>", sh->here);
    put(t, "</table>>%s];\n", sh->entered ? "" : ", style=\"rounded,dashed\"");
}

/* The state, with its states in a box around them. */
static void put_state(text *t, const rotor__shadow *sh)
{
    if (!sh->has_states) {
        put_node(t, sh);
        return;
    }
    put(t, "  subgraph cluster_%d {\n  label=<<b>", sh->index);
    put_name(t, sh->real.name);
    put(t, "</b>>;\n");
    if (sh->entered)
        put_node(t, sh);
    for (const rotor__shadow *in = sh->next; in; in = in->next)
        if (in->parent == sh)
            put_state(t, in);
    put(t, "  }\n");
}

/* The first end behind `*to` that any stream has come to, and how many have. 0: there is no more. */
static uint64_t next_end(const rotor_trace *trace, int *to)
{
    uint64_t n = 0;
    int next = INT_MAX;
    for (const rotor__shadow *sh = &trace->entry; sh; sh = sh->next)
        for (const rotor__arrow *a = sh->arrows; a < sh->arrows + sh->narrows; a++) {
            bool is_end = a->to < 0 || a->to >= ROTOR__TO_DONE;
            if (!is_end || a->to <= *to || a->to > next)
                continue;
            n = a->to < next ? a->count : n + a->count;
            next = a->to;
        }
    *to = next;
    return n;
}

static void put_arrows(text *t, const rotor__shadow *from)
{
    for (size_t i = 0; i < from->narrows;) {
        int to = from->arrows[i].to;
        put(t, "  ");
        put_id(t, from->index);
        put(t, " -> ");
        put_id(t, to);
        put(t, " [label=\"");
        for (const char *between = ""; i < from->narrows && from->arrows[i].to == to; i++) {
            const rotor__arrow *a = &from->arrows[i];
            const char *by = "";
            if (a->by < ROTOR__BY_NONE)
                by = names[a->by];
            else if (to == ROTOR__TO_DONE) /* which no transition was told of, or none minded */
                by = "EEOF";
            /* A space keeps each line off the arrow. */
            put(t, *by ? "%s %s %" PRIu64 : "%s%s %" PRIu64, between, by, a->count);
            between = "\\n";
        }
        put(t, "\"];\n");
    }
}

int rotor_trace_diagram(const rotor_trace *trace, rotor_buf *dot)
{
    static const char styles[] =
        "  graph [fontname=\"sans-serif\", fontsize=12, style=rounded, labeljust=l, "
        "newrank=true];\n"
        "  node [fontname=\"sans-serif\", fontsize=11, shape=box, style=rounded];\n"
        "  edge [fontname=\"sans-serif\", fontsize=10];\n"
        "  { rank=source; start }\n"
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
    for (const rotor__shadow *sh = &trace->entry; sh; sh = sh->next)
        put_arrows(&t, sh);
    put(&t, "}\n");
    if (t.error)
        rotor_buf_truncate(dot, before);
    return t.error;
}
