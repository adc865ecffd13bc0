#include "traced.h"

#include "test.h"

rotor_trace *traced_new(const rotor_protocol *protocol)
{
    rotor_trace *trace;
    assert_int_equal(rotor_trace_new(&trace, protocol), 0);
    return trace;
}

int traced_try_open(stage *st, rotor_trace **trace, script *sc, size_t window)
{
    *trace = traced_new(&sc->protocol);
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    rotor_memory_window(st->peer, window);
    return rotor_memory_connect(st->peer, st->loop, rotor_trace_protocol(*trace), sc, &st->self);
}

rotor_trace *traced_open(stage *st, script *sc, size_t window)
{
    rotor_trace *trace;
    assert_int_equal(traced_try_open(st, &trace, sc, window), 0);
    return trace;
}

void traced_close(stage *st, rotor_trace *trace)
{
    stage_close(st);
    rotor_trace_free(trace);
}

void traced_step(script *sc, rotor_stream *s, rotor_scope *scope)
{
    const rotor_protocol *const *states = sc->context;
    if (states[sc->played])
        assert_int_equal(rotor_become(s, states[sc->played]), 0);
    script_note(sc, "%s", s->protocol->name);
}

static const char *const shorthand[][2] = {
    {"<<table border=\"0\" cellspacing=\"0\"><tr><td><b>", "{"},
    {"</b></td></tr><hr/><tr><td align=\"left\" balign=\"left\">", "|"},
    {"</b></td></tr><hr/><tr><td>", "||"},
    {"</b></td></tr></table>>", "|}"},
    {"</td></tr><hr/><tr><td>", "|"},
    {"</td></tr></table>>", "}"},
    {"<br/>", ", "},
    {"\\n ", ", "},
    {"style=\"rounded,dashed\"", "dashed"},
};

static char drawn[8192];

static void append(const char *text, size_t n)
{
    assert_true(strlen(drawn) + n < sizeof drawn);
    strncat(drawn, text, n);
}

const char *traced_draw(const rotor_trace *trace)
{
    rotor_buf dot = ROTOR_BUF_INIT;
    assert_int_equal(rotor_trace_diagram(trace, &dot), 0);
    assert_int_equal(rotor_buf_extend(&dot, "", 1), 0);
    drawn[0] = '\0';
    for (const char *from = rotor_buf_data(&dot); *from;) {
        size_t i = 0, n = sizeof shorthand / sizeof shorthand[0];
        while (i < n && strncmp(from, shorthand[i][0], strlen(shorthand[i][0])) != 0)
            i++;
        append(i < n ? shorthand[i][1] : from, i < n ? strlen(shorthand[i][1]) : 1);
        from += i < n ? strlen(shorthand[i][0]) : 1;
    }
    rotor_buf_fini(&dot);
    return drawn;
}

void traced_has(const rotor_trace *trace, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n  %s;\n", line);
    if (!strstr(traced_draw(trace), whole))
        fail_msg("there is no %s in\n%s", line, drawn);
}
