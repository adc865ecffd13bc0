/* Named states, and input and a flush mark waited for together, in every order. */
#include "test.h"

#include "script.h"
#include "support.h"

/* -- states ------------------------------------------------------------------------------------ */

/* What a state of the stage's script does: note its own name, and go on with the script. */
static rotor_intent note(rotor_stream *s, const char *what)
{
    script *sc = (script *)rotor_protocol_of(s->protocol);
    script_note(sc, "%s.%s", s->protocol->name, what);
    return rotor_intent_same();
}

static rotor_intent note_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf_consume(rotor_stream_input(s), n);
    return note(s, "read");
}

static rotor_intent note_flushed(rotor_stream *s, rotor_scope *scope)
{
    return note(s, "flushed");
}

static rotor_intent note_timeout(rotor_stream *s, rotor_scope *scope)
{
    return note(s, "timeout");
}

static rotor_intent note_wakeup(rotor_stream *s, rotor_scope *scope)
{
    return note(s, "wakeup");
}

static rotor_intent note_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    note(s, "exception");
    return rotor_intent_done();
}

static void note_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    note(s, "fatal");
}

/* Every transition that a state can have, but for those a test leaves out. */
static const rotor_protocol full_state = {
    .name = "state",
    .bytes_read = note_read,
    .bytes_flushed = note_flushed,
    .timeout = note_timeout,
    .wakeup = note_wakeup,
    .exception = note_exception,
    .fatal = note_fatal,
};

/* Goes into sc->context, which is a state, in its first transition. */
static void enter(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->played == 0)
        assert_int_equal(rotor_become(s, sc->context), 0);
}

static void a_state_is_asked_before_the_protocol(void **state)
{
    stage st;
    script sc = SCRIPT(
        {.then = rotor_intent_until(rotor_and_flush(rotor_expect_bytes(1), 0), 1), .say = "x"});
    rotor_protocol in = full_state;
    in.parent = &sc.protocol;
    sc.act = enter;
    sc.context = &in;
    test_monotonic_ms = 0;
    stage_open(&st, &sc);
    assert_string_equal(sc.log, "create state.flushed");
    stage_send(&st, "ab");
    stage_wait(&st, 1);
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create state.flushed state.read state.read state.timeout "
                                "state.wakeup state.exception drop");
    stage_close(&st);
}

static void what_it_lacks_is_the_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol outer = {.name = "outer", .parent = &sc.protocol, .wakeup = note_wakeup};
    rotor_protocol inner = {.name = "inner", .parent = &outer, .fatal = note_fatal};
    sc.act = enter;
    sc.context = &inner;
    stage_open(&st, &sc);
    stage_send(&st, "a");
    assert_int_equal(rotor_wake(st.loop, st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) inner.wakeup");
    rotor_memory_fail(st.peer, UV_ECONNRESET);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a) inner.wakeup inner.fatal drop");
    assert_int_equal(st.error, UV_ECONNRESET);
    stage_close(&st);
}

static void its_numbers_are_its_own_or_the_parents(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1), .bulk = 100});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol, .stall_ms = 7};
    sc.protocol.high_water = 50;
    sc.act = enter;
    sc.context = &in;
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    rotor_memory_window(st.peer, 10);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create"); /* 90 bytes unsent are above the protocol's mark */
    stage_wait(&st, 6);
    assert_string_equal(sc.log, "create");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create fatal(ESTALLED) drop");
    stage_close(&st);
}

/* Back and forth: in the state, reading becomes the protocol again. */
static rotor_intent go_back(rotor_stream *s, rotor_scope *scope, size_t n)
{
    note_read(s, scope, n);
    assert_int_equal(rotor_become(s, rotor_protocol_of(s->protocol)), 0);
    return rotor_expect_bytes(2);
}

static void enter_on_read(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->reads % 2 == 1)
        assert_int_equal(rotor_become(s, sc->context), 0);
}

static void a_state_leads_back_to_the_protocol(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_expect_bytes(1)});
    rotor_protocol in = {.name = "in", .parent = &sc.protocol, .bytes_read = go_back};
    sc.act = enter_on_read;
    sc.context = &in;
    stage_open(&st, &sc);
    stage_send(&st, "abcde");
    assert_string_equal(sc.log, "create read(a) in.read read(cd) read(e)");
    assert_string_equal(rotor_machine_name(&sc.stream->machine), sc.protocol.name);
    stage_close(&st);
}

static void try_another(script *sc, rotor_stream *s, rotor_scope *scope)
{
    const rotor_protocol *before = s->protocol;
    script_note(sc, "%s", rotor_err_name(rotor_become(s, sc->context)));
    assert_ptr_equal(s->protocol, before);
}

static void a_state_of_another_protocol_is_refused(void **state)
{
    stage st;
    rotor_protocol other = script_protocol;
    rotor_protocol foreign = {.name = "foreign", .parent = &other};
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    sc.act = try_another;
    sc.context = &foreign;
    stage_open(&st, &sc);
    assert_string_equal(sc.log, "create EINVAL");
    stage_close(&st);
}

static void a_state_is_no_protocol_to_begin_with(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    rotor_protocol in = script_protocol;
    in.parent = &sc.protocol;
    stage_open_loop(&st, 0);
    rotor_stream_seed seed = {.protocol = &in, .fd = -1};
    assert_int_equal(rotor_add(st.loop, &rotor_stream_type, &seed, NULL), UV_EINVAL);
    stage_close(&st);
}

/* -- full duplex ------------------------------------------------------------------------------- */

/* A stage whose peer takes `window` bytes for now. */
static void open_with_window(stage *st, script *sc, size_t window)
{
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    rotor_memory_window(st->peer, window);
    assert_int_equal(rotor_memory_connect(st->peer, st->loop, &sc->protocol, sc, &st->self), 0);
}

static void input_may_come_first(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_and_flush(rotor_expect_bytes(2), 3), .say = "0123456789"},
                       {.then = rotor_and_flush(rotor_expect_bytes(2), 1)},
                       {.then = rotor_expect_bytes(1)});
    open_with_window(&st, &sc, 4);
    stage_send(&st, "abc");
    assert_string_equal(sc.log, "create read(ab)");
    rotor_memory_window(st.peer, 4);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(ab)"); /* the answer replaced the mark */
    rotor_memory_window(st.peer, 1);
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(ab) flushed(1) read(c)");
    stage_close(&st);
}

static void output_may_come_first(void **state)
{
    stage st;
    script sc = SCRIPT(
        {.then = rotor_and_flush(rotor_expect_delimiter("\n", 1, 9), 3), .say = "0123456789"},
        {.then = rotor_intent_same()});
    open_with_window(&st, &sc, 4);
    stage_send(&st, "ab");
    assert_string_equal(sc.log, "create");
    rotor_memory_window(st.peer, 3);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(3)");
    rotor_memory_window(st.peer, 3);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(3)"); /* told once; `same` waits for the line */
    stage_send(&st, "c\n");
    assert_string_equal(sc.log, "create flushed(3) read(abc)");
    stage_close(&st);
}

static void the_mark_is_told_before_input_when_both_are_there(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_and_flush(rotor_expect_bytes(1), 0), .say = "x"},
                       {.then = rotor_expect_bytes(1)});
    stage_open_loop(&st, 0);
    st.peer = rotor_memory_new();
    assert_int_equal(rotor_memory_send(st.peer, "a", 1), 0);
    assert_int_equal(rotor_memory_connect(st.peer, st.loop, &sc.protocol, &sc, &st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create flushed(0) read(a)");
    stage_close(&st);
}

static void the_end_of_input_leaves_the_mark(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_and_flush(rotor_expect_bytes(1), 0), .say = "0123456789"},
                       {.then = rotor_expect_flush(0)}, {.then = rotor_intent_done()});
    open_with_window(&st, &sc, 4);
    rotor_memory_shutdown(st.peer);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF)");
    rotor_memory_window(st.peer, 6);
    stage_turn(&st);
    assert_string_equal(sc.log, "create exception(EEOF) flushed(0) drop");
    stage_close(&st);
}

static void one_deadline_bounds_both(void **state)
{
    stage st;
    test_monotonic_ms = 0;
    script sc = SCRIPT({.then = rotor_intent_until(rotor_and_flush(rotor_expect_bytes(1), 0), 5),
                        .say = "0123456789"},
                       {.then = rotor_intent_sleep()});
    open_with_window(&st, &sc, 4);
    stage_wait(&st, 4);
    assert_string_equal(sc.log, "create");
    stage_wait(&st, 1);
    assert_string_equal(sc.log, "create timeout");
    stage_close(&st);
}

static void the_high_water_mark_still_holds(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_and_flush(rotor_expect_bytes(1), 2), .bulk = 100},
                       {.then = rotor_expect_bytes(1)});
    sc.protocol.high_water = 50;
    open_with_window(&st, &sc, 10);
    stage_send(&st, "a");
    assert_string_equal(sc.log, "create");
    rotor_memory_window(st.peer, 65); /* 25 are left: half of it */
    stage_turn(&st);
    assert_string_equal(sc.log, "create read(a)");
    stage_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_state_is_asked_before_the_protocol),
        TEST(what_it_lacks_is_the_parents),
        TEST(its_numbers_are_its_own_or_the_parents),
        TEST(a_state_leads_back_to_the_protocol),
        TEST(a_state_of_another_protocol_is_refused),
        TEST(a_state_is_no_protocol_to_begin_with),
        TEST(input_may_come_first),
        TEST(output_may_come_first),
        TEST(the_mark_is_told_before_input_when_both_are_there),
        TEST(the_end_of_input_leaves_the_mark),
        TEST(one_deadline_bounds_both),
        TEST(the_high_water_mark_still_holds),
    };
    return cmocka_run_group_tests_name("stream states", tests, NULL, NULL);
}
