/* Traces: what they count and draw, and that those who are traced do as those who are not. */
#include "test.h"

#include "../stream/connect.h"
#include "../stream/trace.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

/* -- the diagram ------------------------------------------------------------------------------- */

static char drawn[8192];

static const char *draw(const rotor_trace *trace)
{
    rotor_buf dot = ROTOR_BUF_INIT;
    assert_int_equal(rotor_trace_diagram(trace, &dot), 0);
    size_t n = rotor_buf_len(&dot);
    assert_true(n < sizeof drawn);
    memcpy(drawn, rotor_buf_data(&dot), n);
    drawn[n] = '\0';
    rotor_buf_fini(&dot);
    return drawn;
}

/* The diagram has the line, or (with `not`) it has not. */
static void assert_line(const rotor_trace *trace, const char *line, bool not )
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n  %s;\n", line);
    if ((strstr(draw(trace), whole) != NULL) == not )
        fail_msg("%s in the diagram: %s\n%s", not ? "is" : "is not", line, drawn);
}

#define HAS(trace, line)     assert_line(trace, line, false)
#define HAS_NOT(trace, line) assert_line(trace, line, true)

static rotor_trace *new_trace(const rotor_protocol *protocol)
{
    rotor_trace *trace;
    assert_int_equal(rotor_trace_new(&trace, protocol), 0);
    return trace;
}

/* A stage whose stream is traced, with a peer that takes `window` bytes for now; and what came of it. */
static int try_open_traced(stage *st, rotor_trace **trace, script *sc, size_t window)
{
    *trace = new_trace(&sc->protocol);
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    rotor_memory_window(st->peer, window);
    return rotor_memory_connect(st->peer, st->loop, rotor_trace_protocol(*trace), sc, &st->self);
}

static rotor_trace *open_traced(stage *st, script *sc, size_t window)
{
    rotor_trace *trace;
    assert_int_equal(try_open_traced(st, &trace, sc, window), 0);
    return trace;
}

static void close_traced(stage *st, rotor_trace *trace)
{
    stage_close(st);
    rotor_trace_free(trace);
}

#define HEAD                                                                                       \
    "  graph [fontname=\"sans-serif\", fontsize=12, style=rounded, labeljust=l];\n"                \
    "  node [fontname=\"sans-serif\", fontsize=11, shape=Mrecord];\n"                              \
    "  edge [fontname=\"sans-serif\", fontsize=10];\n"                                             \
    "  start [label=\"\", shape=circle, style=filled, fillcolor=black, width=0.2];\n"

static void a_protocol_and_its_ends(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()});
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    stage_send(&st, "ab");
    assert_string_equal(draw(trace),
                        "digraph \"script\" {\n" HEAD
                        "  state0 [label=\"{script|bytes_read 2\\lbytes_flushed 0\\ltimeout 0\\l"
                        "wakeup 0\\lexception 0\\lfatal 0\\l|1 here now}\"];\n"
                        "  start -> state0 [label=\" create 1\"];\n"
                        "}\n");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) read(b) wakeup drop");
    assert_string_equal(draw(trace),
                        "digraph \"script\" {\n" HEAD
                        "  state0 [label=\"{script|bytes_read 2\\lbytes_flushed 0\\ltimeout 0\\l"
                        "wakeup 1\\lexception 0\\lfatal 0\\l}\"];\n"
                        "  done [label=\"done 1\", shape=ellipse];\n"
                        "  start -> state0 [label=\" create 1\"];\n"
                        "  state0 -> done [label=\" wakeup 1\"];\n"
                        "}\n");
    close_traced(&st, trace);
}

/* -- states ------------------------------------------------------------------------------------ */

/* Goes through the states of its context, one with each transition. */
static void step(script *sc, rotor_stream *s, rotor_scope *scope)
{
    const rotor_protocol *const *states = sc->context;
    if (states[sc->played])
        assert_int_equal(rotor_become(s, states[sc->played]), 0);
    script_note(sc, "%s", s->protocol->name);
}

static void moves_between_nested_states(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)});
    rotor_protocol outer = {.name = "outer", .parent = &sc.protocol};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    rotor_protocol never = {.name = "never", .parent = &outer, .timeout = sc.protocol.timeout};
    rotor_protocol other = {.name = "other", .parent = &sc.protocol};
    const rotor_protocol *const states[] = {&inner, &inner, &other, &inner, &other,
                                            &outer, &other, &inner, &other, &outer};
    sc.act = step;
    sc.context = (void *)states;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    assert_int_equal(rotor_trace_add(trace, &never), 0);
    stage_send(&st, "abc");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    stage_send(&st, "defg");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create inner read(a) inner read(b) other read(c) inner "
                                "wakeup other read(d) outer read(e) other read(f) inner "
                                "read(g) other wakeup outer");
    assert_string_equal(draw(trace), "digraph \"script\" {\n" HEAD "  subgraph cluster_0 {\n"
                                     "  label=\"script\";\n"
                                     "  subgraph cluster_1 {\n"
                                     "  label=\"outer\";\n"
                                     "  state1 [label=\"{outer|bytes_read 1\\l|1 here now}\"];\n"
                                     "  state2 [label=\"{inner|bytes_read 3\\lwakeup 1\\l}\"];\n"
                                     "  state3 [label=\"{never|timeout 0\\l}\", style=dashed];\n"
                                     "  }\n"
                                     "  state4 [label=\"{other|bytes_read 3\\lwakeup 1\\l}\"];\n"
                                     "  }\n"
                                     "  start -> state2 [label=\" create 1\"];\n"
                                     "  state1 -> state4 [label=\" bytes_read 1\"];\n"
                                     "  state2 -> state4 [label=\" bytes_read 2\\n wakeup 1\"];\n"
                                     "  state4 -> state1 [label=\" bytes_read 1\\n wakeup 1\"];\n"
                                     "  state4 -> state2 [label=\" bytes_read 2\"];\n"
                                     "}\n");
    close_traced(&st, trace);
}

static void states_are_drawn_in_the_order_they_are_added(void **state)
{
    rotor_trace *trace = new_trace(&script_protocol);
    rotor_protocol outer = {.name = "outer", .parent = &script_protocol};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    rotor_protocol other = {.name = "other", .parent = &script_protocol};
    assert_int_equal(rotor_trace_add(trace, &other), 0);
    assert_int_equal(rotor_trace_add(trace, &inner), 0); /* which adds `outer` before it */
    assert_int_equal(rotor_trace_add(trace, &outer), 0);
    assert_int_equal(rotor_trace_add(trace, &script_protocol), 0);
    HAS(trace, "state1 [label=\"{other|}\", style=dashed]");
    HAS(trace, "state3 [label=\"{inner|}\", style=dashed]");
    assert_non_null(strstr(drawn, "subgraph cluster_2 {\n  label=\"outer\";\n  state3 "));
    assert_null(strstr(drawn, "state0"));
    assert_null(strstr(drawn, "state2"));
    rotor_trace_free(trace);
}

static void what_does_not_belong_is_refused(void **state)
{
    rotor_trace *trace;
    rotor_protocol foreign = script_protocol;
    rotor_protocol in = {.name = "in", .parent = &foreign};
    rotor_protocol no_create = script_protocol, too_small = script_protocol;
    no_create.create = NULL;
    too_small.size = sizeof(rotor_stream) - 1;
    assert_int_equal(rotor_trace_new(&trace, &in), UV_EINVAL);
    assert_null(trace);
    assert_int_equal(rotor_trace_new(&trace, &no_create), UV_EINVAL);
    assert_int_equal(rotor_trace_new(&trace, &too_small), UV_EINVAL);
    trace = new_trace(&script_protocol);
    assert_int_equal(rotor_trace_add(trace, &in), UV_EINVAL);
    assert_int_equal(rotor_trace_add(trace, &foreign), UV_EINVAL);
    rotor_trace_free(trace);
    rotor_trace_free(NULL);
}

static void names_are_escaped(void **state)
{
    rotor_protocol odd = script_protocol;
    odd.name = "a \"b\" {c|d} <e> \\l &amp; \n\xc3\xbc";
    rotor_protocol nameless = {.parent = &odd};
    rotor_trace *trace = new_trace(&odd);
    assert_non_null(strstr(draw(trace),
                           "digraph \"a \\\"b\\\" \\{c\\|d\\} \\<e\\> \\\\l &amp;amp;  "
                           "\xc3\xbc\" {\n"));
    assert_int_equal(rotor_trace_add(trace, &nameless), 0);
    HAS(trace, "state1 [label=\"{|}\", style=dashed]");
    rotor_trace_free(trace);
}

/* -- ends -------------------------------------------------------------------------------------- */

/* A stream in memory that answers with `then`, first in create and then when "a" is read. */
static void ends_by(rotor_intent then, bool shut_down, const char *end, const char *arrow)
{
    char in_create[128], in_read[128];
    for (int first = 0; first <= 1; first++) {
        stage st;
        script sc = SCRIPT({.then = first ? then : rotor_expect_bytes(1)}, {.then = then});
        rotor_trace *trace;
        int error = try_open_traced(&st, &trace, &sc, SIZE_MAX);
        assert_true(error == 0 || (first && then.kind == ROTOR_INTENT_ERROR));
        stage_send(&st, "a");
        if (shut_down)
            rotor_memory_shutdown(st.peer);
        stage_turn(&st);
        assert_true(stage_is_over(&st));
        HAS(trace, end);
        snprintf(in_create, sizeof in_create, "%s [label=\" create 1\"]", arrow);
        snprintf(in_read, sizeof in_read, "%s [label=\" bytes_read 1\"]", arrow);
        HAS(trace, first ? in_create : in_read);
        HAS(trace, "start -> state0 [label=\" create 1\"]");
        close_traced(&st, trace);
    }
}

static void ends_that_were_asked_for(void **state)
{
    ends_by(rotor_intent_done(), false, "done [label=\"done 1\", shape=ellipse]", "state0 -> done");
    ends_by(rotor_intent_linger(ROTOR_NEVER), true, "linger [label=\"linger 1\", shape=ellipse]",
            "state0 -> linger");
    ends_by(rotor_intent_abort(), false, "abort [label=\"abort 1\", shape=ellipse]",
            "state0 -> abort");
    ends_by(rotor_intent_error(ROTOR_ESTATE), false,
            "error10012 [label=\"ESTATE 1\", shape=ellipse, color=red]", "state0 -> error10012");
    ends_by(rotor_intent_error(0), false,
            "error10008 [label=\"EUNEXPECTED 1\", shape=ellipse, color=red]",
            "state0 -> error10008");
}

/* The transitions that are left out have defaults, and these are at work in the states, too. */
static rotor_trace *open_bare(stage *st, script *sc, rotor_intent first)
{
    static const script_line line = {.then = {.kind = ROTOR_INTENT_SAME}};
    *sc = (script){.protocol = {.name = "bare",
                                .size = script_protocol.size,
                                .create = script_protocol.create},
                   .lines = (script_line[]){{.then = first}, line},
                   .nlines = 1};
    return open_traced(st, sc, SIZE_MAX);
}

static void ends_that_come_of_themselves(void **state)
{
    stage st;
    script sc;
    rotor_trace *trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    HAS(trace, "state0 [label=\"{bare|}\"]");
    HAS(trace, "state0 -> error104 [label=\" 1\"]");
    HAS(trace, "error104 [label=\"ECONNRESET 1\", shape=ellipse, color=red]");
    close_traced(&st, trace);

    test_monotonic_ms = 0;
    trace = open_bare(&st, &sc, rotor_intent_until(rotor_expect_bytes(1), 5));
    stage_wait(&st, 5);
    HAS(trace, "state0 -> error10003 [label=\" 1\"]");
    HAS(trace, "error10003 [label=\"ETIMEDOUT 1\", shape=ellipse, color=red]");
    close_traced(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    HAS(trace, "state0 -> done [label=\" EEOF 1\"]");
    close_traced(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(2));
    rotor_memory_shutdown(st.peer);
    stage_send(&st, "a");
    HAS(trace, "state0 -> error10006 [label=\" 1\"]");
    close_traced(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    stage_send(&st, "a");
    HAS(trace, "state0 -> error10008 [label=\" 1\"]");
    close_traced(&st, trace);
}

static void ends_from_outside(void **state)
{
    stage st;
    script sc;
    rotor_trace *trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    assert_int_equal(rotor_end(st.loop, st.self, 0), 0);
    stage_turn(&st);
    HAS(trace, "state0 -> ended [label=\" 1\"]");
    HAS(trace, "ended [label=\"ended 1\", shape=ellipse]");
    close_traced(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    assert_int_equal(rotor_end(st.loop, st.self, UV_EIO), 0);
    stage_turn(&st);
    HAS(trace, "state0 -> error5 [label=\" 1\"]");
    close_traced(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    stage_close(&st);
    HAS(trace, "state0 [label=\"{bare|}\"]");
    HAS(trace, "state0 -> error10004 [label=\" 1\"]");
    rotor_trace_free(trace);
}

/* What it asked for was to be done when all is sent; it came to something else. */
static void an_end_that_came_first_was_not_asked_for(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done(), .say = "never taken"});
    rotor_trace *trace = open_traced(&st, &sc, 0);
    HAS(trace, "state0 [label=\"{script|bytes_read 0\\lbytes_flushed 0\\ltimeout 0\\lwakeup 0\\l"
               "exception 0\\lfatal 0\\l|1 here now}\"]");
    rotor_memory_fail(st.peer, UV_EPIPE);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(EPIPE) drop");
    HAS(trace, "state0 [label=\"{script|bytes_read 0\\lbytes_flushed 0\\ltimeout 0\\lwakeup 0\\l"
               "exception 0\\lfatal 1\\l}\"]");
    HAS(trace, "state0 -> error32 [label=\" 1\"]");
    close_traced(&st, trace);
}

static void ends_of_many_are_added_up(void **state)
{
    stage st;
    script scs[3];
    rotor_memory *peers[3];
    rotor_protocol in = {.name = "in", .parent = &scs[0].protocol};
    const rotor_protocol *const states[] = {&in, NULL};
    scs[0] = (script){
        .protocol = script_protocol,
        .act = step,
        .context = (void *)states,
        .lines = (script_line[]){{.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()}},
        .nlines = 2};
    rotor_trace *trace = new_trace(&scs[0].protocol);
    stage_open_loop(&st, 0);
    for (int i = 0; i < 3; i++) {
        scs[0].played = 0; /* all play the same, one after the other */
        peers[i] = rotor_memory_new();
        assert_int_equal(
            rotor_memory_connect(peers[i], st.loop, rotor_trace_protocol(trace), &scs[0], NULL), 0);
        if (i == 0)
            assert_int_equal(rotor_memory_send(peers[i], "a", 1), 0);
        else if (i == 1)
            rotor_memory_shutdown(peers[i]);
        stage_turn(&st);
    }
    HAS(trace, "start -> state1 [label=\" create 3\"]");
    HAS(trace, "state1 -> done [label=\" bytes_read 1\\n exception 1\"]");
    HAS(trace, "done [label=\"done 2\", shape=ellipse]");
    HAS(trace, "state1 [label=\"{in|bytes_read 1\\lexception 1\\l|1 here now}\"]");
    stage_close(&st);
    HAS(trace, "state1 -> error10004 [label=\" 1\"]");
    for (int i = 0; i < 3; i++)
        rotor_memory_free(peers[i]);
    rotor_trace_free(trace);
}

/* -- connections that are never made ----------------------------------------------------------- */

static const rotor_protocol *seen_by_on_error;

static void look(rotor_loop *loop, rotor_machine *m, int error)
{
    seen_by_on_error = ((rotor_stream *)m)->protocol;
}

static void a_failure_to_connect(void **state)
{
    for (int with_fatal = 0; with_fatal <= 1; with_fatal++) {
        rotor_loop *loop;
        char where[128];
        int fd = sockets_listen("127.0.0.1:0", 1, where);
        close(fd); /* so that nobody listens there */
        script sc = SCRIPT({.then = rotor_intent_sleep()});
        if (!with_fatal)
            sc.protocol.fatal = NULL;
        rotor_trace *trace = new_trace(&sc.protocol);
        rotor_connect_options options = {.seed = &sc};
        rotor_config config = {.on_error = look};
        assert_int_equal(rotor_loop_new(&loop, &config), 0);
        assert_int_equal(rotor_connect(loop, where, rotor_trace_protocol(trace), &options, NULL),
                         0);
        assert_int_equal(rotor_loop_run(loop), 0);
        assert_string_equal(sc.log, with_fatal ? "fatal(ECONNREFUSED)" : "");
        /* Where it tells whether the protocol has heard of it. */
        assert_ptr_equal(seen_by_on_error, &sc.protocol);
        HAS(trace, "start -> error111 [label=\" 1\"]");
        HAS(trace, "error111 [label=\"ECONNREFUSED 1\", shape=ellipse, color=red]");
        assert_null(strstr(drawn, "create"));
        assert_int_equal(rotor_loop_free(loop), 0);
        rotor_trace_free(trace);
    }
}

/* -- the same behaviour ------------------------------------------------------------------------ */

static void who_is_not_traced_runs_the_protocols_own_table(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol before = sc.protocol;
    rotor_trace *trace = new_trace(&sc.protocol);
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_ptr_equal(sc.stream->protocol, &sc.protocol);
    assert_memory_equal(&before, &sc.protocol, sizeof before);
    assert_null(strstr(draw(trace), "create"));
    close_traced(&st, trace);
}

static void note_protocol(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_ptr_equal(s->protocol, &sc->protocol);
}

static void transitions_see_their_own_table(void **state)
{
    stage st;
    test_monotonic_ms = 0;
    script sc = SCRIPT({.then = rotor_and_flush(rotor_expect_bytes(1), 0), .say = "x"},
                       {.then = rotor_intent_same()},
                       {.then = rotor_intent_until(rotor_expect_bytes(1), 5)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_intent_sleep()},
                       {.then = rotor_intent_sleep(), .say = "x"});
    sc.act = note_protocol;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    stage_send(&st, "a");
    stage_wait(&st, 5);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    rotor_memory_fail(st.peer, UV_EPIPE);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(0) read(a) timeout exception(EEOF) wakeup "
                                "fatal(EPIPE) drop");
    HAS(trace, "state0 [label=\"{script|bytes_read 1\\lbytes_flushed 1\\ltimeout 1\\lwakeup 1\\l"
               "exception 1\\lfatal 1\\l}\"]");
    close_traced(&st, trace);
}

static void the_name_is_the_protocols(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol};
    const rotor_protocol *const states[] = {&in};
    sc.act = step;
    sc.context = (void *)states;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    assert_string_equal(rotor_machine_name(&sc.stream->machine), "script");
    close_traced(&st, trace);
}

static void numbers_are_the_states_or_its_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 100});
    rotor_protocol outer = {
        .name = "outer", .parent = &sc.protocol, .high_water = 50, .stall_ms = 7};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    const rotor_protocol *const states[] = {&inner};
    sc.act = step;
    sc.context = (void *)states;
    test_monotonic_ms = 0;
    rotor_trace *trace = open_traced(&st, &sc, 10);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create inner"); /* 90 bytes are unsent: above the mark */
    stage_wait(&st, 6);
    assert_false(stage_is_over(&st));
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create inner fatal(ESTALLED) drop");
    HAS(trace, "state2 -> error10007 [label=\" 1\"]");
    close_traced(&st, trace);
}

static void turns_are_the_states_or_its_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol outer = {.name = "outer", .parent = &sc.protocol, .turns = 2};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    const rotor_protocol *const states[] = {&inner};
    sc.act = step;
    sc.context = (void *)states;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    assert_int_equal(rotor_memory_send(st.peer, "abc", 3), 0);
    for (int left = 100; sc.reads == 0; left--) {
        assert_true(left > 0);
        assert_int_equal(rotor_loop_turn(st.loop), 0);
    }
    assert_int_equal(sc.reads, 2);
    close_traced(&st, trace);
}

/* Of each transition, the nearest table upwards that has it is the one that counts. */
static rotor_intent outer_flushed(rotor_stream *s, rotor_scope *scope)
{
    script_note((script *)rotor_protocol_of(s->protocol), "outer.flushed");
    return rotor_intent_until(rotor_intent_sleep(), 5);
}

static rotor_intent outer_timeout(rotor_stream *s, rotor_scope *scope)
{
    script_note((script *)rotor_protocol_of(s->protocol), "outer.timeout");
    return rotor_intent_done();
}

static void transitions_are_the_states_or_its_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_flush(0), .say = "x"});
    rotor_protocol outer = {.name = "outer",
                            .parent = &sc.protocol,
                            .bytes_flushed = outer_flushed,
                            .timeout = outer_timeout};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    const rotor_protocol *const states[] = {&inner};
    sc.act = step;
    sc.context = (void *)states;
    test_monotonic_ms = 0;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    stage_wait(&st, 5);
    assert_string_equal(sc.log, "create inner outer.flushed outer.timeout drop");
    HAS(trace, "state2 [label=\"{inner|bytes_flushed 1\\ltimeout 1\\l}\"]");
    HAS(trace, "state2 -> done [label=\" timeout 1\"]");
    close_traced(&st, trace);
}

/* -- lifetimes --------------------------------------------------------------------------------- */

static void streams_may_outlive_the_trace(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol};
    const rotor_protocol *const states[] = {NULL, &in, &sc.protocol, &in};
    sc.lines = (script_line[]){{.then = rotor_expect_bytes(1)},
                               {.then = rotor_expect_bytes(1)},
                               {.then = rotor_expect_bytes(1)},
                               {.then = rotor_intent_done()}};
    sc.nlines = 4;
    sc.act = step;
    sc.context = (void *)states;
    rotor_trace *trace = open_traced(&st, &sc, SIZE_MAX);
    stage_send(&st, "a");
    rotor_trace_free(trace);
    stage_send(&st, "bc");
    assert_string_equal(sc.log, "create script read(a) in read(b) script read(c) in drop");
    stage_close(&st);
}

/* How often a conversation was traced in part, and how often its diagram could not be drawn. */
static int in_part, not_drawn;

static void draw_behind(const rotor_trace *trace, bool in_full)
{
    rotor_buf dot = ROTOR_BUF_INIT;
    int error = rotor_buf_extend(&dot, "before", 6);
    if (!error && (error = rotor_trace_diagram(trace, &dot)) != 0) {
        assert_int_equal(rotor_buf_len(&dot), 6);
        assert_memory_equal(rotor_buf_data(&dot), "before", 6);
        not_drawn++;
    }
    if (!error) {
        static const char last[] = "\n  state1 -> done [label=\" bytes_read 1\"];\n}\n";
        static const char note[] = "not counted, as memory was short";
        const char *data = rotor_buf_data(&dot);
        size_t n = rotor_buf_len(&dot);
        bool noted = memmem(data, n, note, sizeof note - 1) != NULL;
        assert_true(noted || !memcmp(data + n - (sizeof last - 1), last, sizeof last - 1));
        assert_true(noted || in_full);
        in_part += noted;
    }
    assert_true(!error || (error == UV_ENOMEM && test_alloc_failed() > 0));
    rotor_buf_fini(&dot);
}

/* As long as the stream has what it needs, all goes as ever, and the trace says what it has missed. */
static void converse(void)
{
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_intent_done()});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol};
    const rotor_protocol *const states[] = {NULL, &in, NULL};
    rotor_trace *trace = NULL;
    rotor_loop *loop = NULL;
    rotor_handle self;
    rotor_memory *peer = rotor_memory_new();
    sc.act = step;
    sc.context = (void *)states;
    int error = peer ? rotor_memory_send(peer, "ab", 2) : UV_ENOMEM;
    if (!error)
        error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_trace_new(&trace, &sc.protocol);
    if (!error)
        error = rotor_memory_connect(peer, loop, rotor_trace_protocol(trace), &sc, &self);
    if (!error) {
        while (rotor_find(loop, self))
            rotor_loop_turn(loop);
        assert_string_equal(sc.log, "create script read(a) in read(b) in drop");
        draw_behind(trace, test_alloc_failed() == 0);
    } else {
        assert_int_equal(error, UV_ENOMEM);
    }
    if (loop)
        assert_int_equal(rotor_loop_free(loop), 0);
    rotor_trace_free(trace);
    if (peer)
        rotor_memory_free(peer);
}

static void a_stream_goes_on_when_tracing_lacks_memory(void **state)
{
    in_part = not_drawn = 0;
    test_out_of_memory(converse);
    assert_true(in_part >= 4); /* a state, and an arrow to it, from it, and to it */
    assert_true(not_drawn > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_protocol_and_its_ends),
        TEST(moves_between_nested_states),
        TEST(states_are_drawn_in_the_order_they_are_added),
        TEST(what_does_not_belong_is_refused),
        TEST(names_are_escaped),
        TEST(ends_that_were_asked_for),
        TEST(ends_that_come_of_themselves),
        TEST(ends_from_outside),
        TEST(an_end_that_came_first_was_not_asked_for),
        TEST(ends_of_many_are_added_up),
        TEST(a_failure_to_connect),
        TEST(who_is_not_traced_runs_the_protocols_own_table),
        TEST(transitions_see_their_own_table),
        TEST(the_name_is_the_protocols),
        TEST(numbers_are_the_states_or_its_parents),
        TEST(turns_are_the_states_or_its_parents),
        TEST(transitions_are_the_states_or_its_parents),
        TEST(streams_may_outlive_the_trace),
        TEST(a_stream_goes_on_when_tracing_lacks_memory),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
