/* Diagrams of traces, to the letter; also when memory is short. */
#include "test.h"

#include "script.h"
#include "support.h"
#include "traced.h"

#define HEAD                                                                                       \
    "digraph \"script\" {\n"                                                                       \
    "  graph [fontname=\"sans-serif\", fontsize=12, style=rounded, labeljust=l, newrank=true];\n"  \
    "  node [fontname=\"sans-serif\", fontsize=11, shape=box, style=rounded];\n"                   \
    "  edge [fontname=\"sans-serif\", fontsize=10];\n"                                             \
    "  { rank=source; start }\n"                                                                   \
    "  start [label=\"\", shape=circle, style=filled, fillcolor=black, width=0.2];\n"

static void a_protocol_and_its_ends(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)}, {.then = rotor_expect_bytes(1)},
                       {.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()});
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    stage_send(&st, "ab");
    assert_string_equal(traced_draw(trace),
                        HEAD "  state0 [label={script|bytes_read 2, bytes_flushed 0, "
                             "timeout 0, wakeup 0, exception 0, fatal 0|1 here now}];\n"
                             "  start -> state0 [label=\" create 1\"];\n"
                             "}\n");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) read(b) wakeup drop");
    assert_string_equal(traced_draw(trace),
                        HEAD "  state0 [label={script|bytes_read 2, bytes_flushed 0, "
                             "timeout 0, wakeup 1, exception 0, fatal 0}];\n"
                             "  done [label=\"done 1\", shape=ellipse];\n"
                             "  start -> state0 [label=\" create 1\"];\n"
                             "  state0 -> done [label=\" wakeup 1\"];\n"
                             "}\n");
    traced_close(&st, trace);
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
    sc.act = traced_step;
    sc.context = (void *)states;
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
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
    assert_string_equal(traced_draw(trace),
                        HEAD "  subgraph cluster_0 {\n"
                             "  label=<<b>script</b>>;\n"
                             "  subgraph cluster_1 {\n"
                             "  label=<<b>outer</b>>;\n"
                             "  state1 [label={outer|bytes_read 1|1 here now}];\n"
                             "  state2 [label={inner|bytes_read 3, wakeup 1}];\n"
                             "  state3 [label={never|timeout 0}, dashed];\n"
                             "  }\n"
                             "  state4 [label={other|bytes_read 3, wakeup 1}];\n"
                             "  }\n"
                             "  start -> state2 [label=\" create 1\"];\n"
                             "  state1 -> state4 [label=\" bytes_read 1\"];\n"
                             "  state2 -> state4 [label=\" bytes_read 2, wakeup 1\"];\n"
                             "  state4 -> state1 [label=\" bytes_read 1, wakeup 1\"];\n"
                             "  state4 -> state2 [label=\" bytes_read 2\"];\n"
                             "}\n");
    traced_close(&st, trace);
}

static void states_are_drawn_in_the_order_they_are_added(void **state)
{
    rotor_trace *trace = traced_new(&script_protocol);
    rotor_protocol outer = {.name = "outer", .parent = &script_protocol};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    rotor_protocol other = {.name = "other", .parent = &script_protocol};
    assert_int_equal(rotor_trace_add(trace, &other), 0);
    assert_int_equal(rotor_trace_add(trace, &inner), 0); /* which adds `outer` before it */
    assert_int_equal(rotor_trace_add(trace, &outer), 0);
    assert_int_equal(rotor_trace_add(trace, &script_protocol), 0);
    traced_has(trace, "state1 [label={other|}, dashed]");
    traced_has(trace, "state3 [label={inner|}, dashed]");
    assert_non_null(
        strstr(traced_draw(trace), "subgraph cluster_2 {\n  label=<<b>outer</b>>;\n  state3 "));
    assert_null(strstr(traced_draw(trace), "state0"));
    assert_null(strstr(traced_draw(trace), "state2"));
    rotor_trace_free(trace);
}

static void names_are_escaped(void **state)
{
    rotor_protocol odd = script_protocol;
    odd.name = "a \"b\" {c|d} <e> \\l &amp; \n\x7f";
    rotor_protocol nameless = {.parent = &odd};
    rotor_protocol letters = {.name = "\xc3\xbc\xe2\x82\xac\xf0\x9f\x99\x82", .parent = &odd};
    rotor_protocol none = {.name = "\xc1\x80 \xe2\x82 \xff", .parent = &odd};
    rotor_trace *trace = traced_new(&odd);
    static const char escaped[] = "a &#34;b&#34; {c|d} &#60;e&#62; &#92;l &#38;amp; ??";
    char line[128];
    snprintf(line, sizeof line, "digraph \"%s\" {\n", escaped);
    assert_non_null(strstr(traced_draw(trace), line));
    assert_int_equal(rotor_trace_add(trace, &nameless), 0);
    assert_int_equal(rotor_trace_add(trace, &letters), 0);
    assert_int_equal(rotor_trace_add(trace, &none), 0);
    snprintf(line, sizeof line, "label=<<b>%s</b>>", escaped);
    traced_has(trace, line);
    traced_has(trace, "state1 [label={&#160;|}, dashed]");
    traced_has(trace, "state2 [label={\xc3\xbc\xe2\x82\xac\xf0\x9f\x99\x82|}, dashed]");
    traced_has(trace, "state3 [label={?? ?? ?|}, dashed]");
    rotor_trace_free(trace);
}

/* -- without memory ---------------------------------------------------------------------------- */

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
    sc.act = traced_step;
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
        TEST(names_are_escaped),
        TEST(a_stream_goes_on_when_tracing_lacks_memory),
    };
    return cmocka_run_group_tests_name("trace_diagram", tests, NULL, NULL);
}
