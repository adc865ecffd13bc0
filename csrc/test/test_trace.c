/* Traces: what they count, and that those who are traced do as those who are not. */
#include "test.h"

#include "../stream/connect.h"
#include "../stream/trace.h"
#include "script.h"
#include "sockets.h"
#include "support.h"
#include "traced.h"

/* -- ends -------------------------------------------------------------------------------------- */

/* A stream in memory that answers with `then`, first in create and then when "a" is read. */
static void ends_by(rotor_intent then, bool shut_down, const char *end, const char *arrow)
{
    char in_create[128], in_read[128];
    for (int first = 0; first <= 1; first++) {
        stage st;
        script sc = SCRIPT({.then = first ? then : rotor_expect_bytes(1)}, {.then = then});
        rotor_trace *trace;
        int error = traced_try_open(&st, &trace, &sc, SIZE_MAX);
        assert_true(error == 0 || (first && then.kind == ROTOR_INTENT_ERROR));
        stage_send(&st, "a");
        if (shut_down)
            rotor_memory_shutdown(st.peer);
        stage_turn(&st);
        assert_true(stage_is_over(&st));
        traced_has(trace, end);
        snprintf(in_create, sizeof in_create, "%s [label=\" create 1\"]", arrow);
        snprintf(in_read, sizeof in_read, "%s [label=\" bytes_read 1\"]", arrow);
        traced_has(trace, first ? in_create : in_read);
        traced_has(trace, "start -> state0 [label=\" create 1\"]");
        traced_close(&st, trace);
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
    return traced_open(st, sc, SIZE_MAX);
}

static void ends_that_come_of_themselves(void **state)
{
    stage st;
    script sc;
    rotor_trace *trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    traced_has(trace, "state0 [label={bare|}]");
    traced_has(trace, "state0 -> error104 [label=\" 1\"]");
    traced_has(trace, "error104 [label=\"ECONNRESET 1\", shape=ellipse, color=red]");
    traced_close(&st, trace);

    test_monotonic_ms = 0;
    trace = open_bare(&st, &sc, rotor_intent_until(rotor_expect_bytes(1), 5));
    stage_wait(&st, 5);
    traced_has(trace, "state0 -> error10003 [label=\" 1\"]");
    traced_has(trace, "error10003 [label=\"ETIMEDOUT 1\", shape=ellipse, color=red]");
    traced_close(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    traced_has(trace, "state0 -> done [label=\" EEOF 1\"]");
    traced_close(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(2));
    rotor_memory_shutdown(st.peer);
    stage_send(&st, "a");
    traced_has(trace, "state0 -> error10006 [label=\" 1\"]");
    traced_close(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    stage_send(&st, "a");
    traced_has(trace, "state0 -> error10008 [label=\" 1\"]");
    traced_close(&st, trace);
}

static void ends_from_outside(void **state)
{
    stage st;
    script sc;
    rotor_trace *trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    assert_int_equal(rotor_end(st.loop, st.self, 0), 0);
    stage_turn(&st);
    traced_has(trace, "state0 -> ended [label=\" 1\"]");
    traced_has(trace, "ended [label=\"ended 1\", shape=ellipse]");
    traced_close(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    assert_int_equal(rotor_end(st.loop, st.self, UV_EIO), 0);
    stage_turn(&st);
    traced_has(trace, "state0 -> error5 [label=\" 1\"]");
    traced_close(&st, trace);

    trace = open_bare(&st, &sc, rotor_expect_bytes(1));
    stage_close(&st);
    traced_has(trace, "state0 [label={bare|}]");
    traced_has(trace, "state0 -> error10004 [label=\" 1\"]");
    rotor_trace_free(trace);
}

/* What it asked for was to be done when all is sent; it came to something else. */
static void an_end_that_came_first_was_not_asked_for(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_done(), .say = "never taken"});
    rotor_trace *trace = traced_open(&st, &sc, 0);
    traced_has(trace, "state0 [label={script|bytes_read 0, bytes_flushed 0, timeout 0, wakeup 0, "
                      "exception 0, fatal 0|1 here now}]");
    rotor_memory_fail(st.peer, UV_EPIPE);
    stage_turn(&st);
    assert_string_equal(sc.log, "create fatal(EPIPE) drop");
    traced_has(trace, "state0 [label={script|bytes_read 0, bytes_flushed 0, timeout 0, wakeup 0, "
                      "exception 0, fatal 1}]");
    traced_has(trace, "state0 -> error32 [label=\" 1\"]");
    traced_close(&st, trace);
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
        .act = traced_step,
        .context = (void *)states,
        .lines = (script_line[]){{.then = rotor_expect_bytes(1)}, {.then = rotor_intent_done()}},
        .nlines = 2};
    rotor_trace *trace = traced_new(&scs[0].protocol);
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
    traced_has(trace, "start -> state1 [label=\" create 3\"]");
    traced_has(trace, "state1 -> done [label=\" bytes_read 1, exception 1\"]");
    traced_has(trace, "done [label=\"done 2\", shape=ellipse]");
    traced_has(trace, "state1 [label={in|bytes_read 1, exception 1|1 here now}]");
    stage_close(&st);
    traced_has(trace, "state1 -> error10004 [label=\" 1\"]");
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
        rotor_trace *trace = traced_new(&sc.protocol);
        rotor_connect_options options = {.seed = &sc};
        rotor_config config = {.on_error = look};
        assert_int_equal(rotor_loop_new(&loop, &config), 0);
        assert_int_equal(rotor_connect(loop, where, rotor_trace_protocol(trace), &options, NULL),
                         0);
        assert_int_equal(rotor_loop_run(loop), 0);
        assert_string_equal(sc.log, with_fatal ? "fatal(ECONNREFUSED)" : "");
        /* Where it tells whether the protocol has heard of it. */
        assert_ptr_equal(seen_by_on_error, &sc.protocol);
        traced_has(trace, "start -> error111 [label=\" 1\"]");
        traced_has(trace, "error111 [label=\"ECONNREFUSED 1\", shape=ellipse, color=red]");
        assert_null(strstr(traced_draw(trace), "create"));
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
    rotor_trace *trace = traced_new(&sc.protocol);
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_ptr_equal(sc.stream->protocol, &sc.protocol);
    assert_memory_equal(&before, &sc.protocol, sizeof before);
    assert_null(strstr(traced_draw(trace), "create"));
    traced_close(&st, trace);
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
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    stage_send(&st, "a");
    stage_wait(&st, 5);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    rotor_memory_fail(st.peer, UV_EPIPE);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(0) read(a) timeout exception(EEOF) wakeup "
                                "fatal(EPIPE) drop");
    traced_has(trace, "state0 [label={script|bytes_read 1, bytes_flushed 1, timeout 1, wakeup 1, "
                      "exception 1, fatal 1}]");
    traced_close(&st, trace);
}

static void the_name_is_the_protocols(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol};
    const rotor_protocol *const states[] = {&in};
    sc.act = traced_step;
    sc.context = (void *)states;
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    assert_string_equal(rotor_machine_name(&sc.stream->machine), "script");
    traced_close(&st, trace);
}

static void numbers_are_the_states_or_its_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 100});
    rotor_protocol outer = {
        .name = "outer", .parent = &sc.protocol, .high_water = 50, .stall_ms = 7};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    const rotor_protocol *const states[] = {&inner};
    sc.act = traced_step;
    sc.context = (void *)states;
    test_monotonic_ms = 0;
    rotor_trace *trace = traced_open(&st, &sc, 10);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create inner"); /* 90 bytes are unsent: above the mark */
    stage_wait(&st, 6);
    assert_false(stage_is_over(&st));
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create inner fatal(ESTALLED) drop");
    traced_has(trace, "state2 -> error10007 [label=\" 1\"]");
    traced_close(&st, trace);
}

static void turns_are_the_states_or_its_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol outer = {.name = "outer", .parent = &sc.protocol, .turns = 2};
    rotor_protocol inner = {.name = "inner", .parent = &outer};
    const rotor_protocol *const states[] = {&inner};
    sc.act = traced_step;
    sc.context = (void *)states;
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    assert_int_equal(rotor_memory_send(st.peer, "abc", 3), 0);
    for (int left = 100; sc.reads == 0; left--) {
        assert_true(left > 0);
        assert_int_equal(rotor_loop_turn(st.loop), 0);
    }
    assert_int_equal(sc.reads, 2);
    traced_close(&st, trace);
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
    sc.act = traced_step;
    sc.context = (void *)states;
    test_monotonic_ms = 0;
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    stage_wait(&st, 5);
    assert_string_equal(sc.log, "create inner outer.flushed outer.timeout drop");
    traced_has(trace, "state2 [label={inner|bytes_flushed 1, timeout 1}]");
    traced_has(trace, "state2 -> done [label=\" timeout 1\"]");
    traced_close(&st, trace);
}

/* -- what is refused --------------------------------------------------------------------------- */

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
    trace = traced_new(&script_protocol);
    assert_int_equal(rotor_trace_add(trace, &in), UV_EINVAL);
    assert_int_equal(rotor_trace_add(trace, &foreign), UV_EINVAL);
    rotor_trace_free(trace);
    rotor_trace_free(NULL);
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
    sc.act = traced_step;
    sc.context = (void *)states;
    rotor_trace *trace = traced_open(&st, &sc, SIZE_MAX);
    stage_send(&st, "a");
    rotor_trace_free(trace);
    stage_send(&st, "bc");
    assert_string_equal(sc.log, "create script read(a) in read(b) script read(c) in drop");
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_does_not_belong_is_refused),
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
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
