/* What a WebSocket waits for, and for how long: silent peers, deadlines of the handler, closes that are not
** answered, connections that are not ended. */
#include "test.h"

#include "support.h"
#include "talk.h"

static const rotor_text nothing = {NULL, 0};

static void open_talk(talk *t, bool is_client)
{
    assert_int_equal(talk_open(t), 0);
    assert_int_equal(t->is_client, is_client);
    talk_turn(t);
    TALK_LOG(t, "open");
}

static void init_and_open(talk *t, bool is_client)
{
    talk_init(t, is_client);
    open_talk(t, is_client);
}

static void expect(talk *t, const char *answers)
{
    assert_string_equal(talk_received(t), answers);
}

/* -- silence ----------------------------------------------------------------------------------- */

static void who_is_silent_is_asked_and_then_gone(void **state)
{
    for (int is_client = 0; is_client <= 1; is_client++) {
        talk t;
        init_and_open(&t, is_client);
        talk_wait(&t, 29999);
        expect(&t, "");
        talk_wait(&t, 1);
        expect(&t, "ping()");
        talk_wait(&t, 29999);
        expect(&t, "");
        assert_false(talk_is_over(&t));
        talk_wait(&t, 1);
        TALK_LOG(&t, "open close(1006 WEBSOCKET_ESILENT) drop");
        assert_true(talk_is_over(&t));
        assert_int_equal(t.errors, 0);
        talk_close(&t);
    }
}

static void whatever_comes_is_a_sign_of_life(void **state)
{
    static const char *const signs[] = {"T(a)", "P(a)", "Q()", "<81>", "<8105>", "t(a)"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        talk t;
        init_and_open(&t, false);
        talk_wait(&t, 20000);
        assert_int_equal(talk_send(&t, signs[i]), 0);
        (void)talk_received(&t);
        talk_wait(&t, 29999);
        expect(&t, "");
        talk_wait(&t, 1);
        expect(&t, "ping()");
        talk_wait(&t, 29000);
        assert_int_equal(rotor_memory_send(t.peer, "\0", 1), 0); /* goes on, or is malformed */
        talk_turn(&t);
        talk_wait(&t, 29000);
        assert_null(strstr(t.log, "ESILENT"));
        talk_close(&t);
    }
}

static void a_pong_is_told_and_all_begins_anew(void **state)
{
    talk t;
    init_and_open(&t, true);
    for (int i = 0; i < 3; i++) {
        talk_wait(&t, 30000);
        expect(&t, "ping()");
        talk_wait(&t, 10000);
        assert_int_equal(talk_send(&t, "Q()"), 0);
        talk_wait(&t, 20000); /* when a ping unanswered would have been the end */
        expect(&t, "");
        talk_wait(&t, 9999);
        expect(&t, "");
        talk_wait(&t, 1);
        expect(&t, "ping()");
        assert_int_equal(talk_send(&t, "Q()"), 0);
    }
    TALK_LOG(&t, "open pong() pong() pong() pong() pong() pong()");
    talk_close(&t);
}

static void times_may_be_others(void **state)
{
    talk t;
    talk_init(&t, false);
    t.handler.ping_ms = 100;
    t.handler.pong_ms = 10;
    open_talk(&t, false);
    talk_wait(&t, 100);
    expect(&t, "ping()");
    talk_wait(&t, 10);
    TALK_LOG(&t, "open close(1006 WEBSOCKET_ESILENT) drop");
    talk_close(&t);

    talk_init(&t, false); /* whichever of them is longer */
    t.handler.ping_ms = 100;
    t.handler.pong_ms = 1000;
    open_talk(&t, false);
    for (int i = 0; i < 3; i++) {
        talk_wait(&t, 100);
        expect(&t, "ping()");
        talk_wait(&t, 50);
        assert_int_equal(talk_send(&t, "Q()"), 0);
    }
    TALK_LOG(&t, "open pong() pong() pong()");
    talk_close(&t);

    talk_init(&t, false);
    t.handler.ping_ms = ROTOR_WEBSOCKET_NEVER;
    open_talk(&t, false);
    talk_wait(&t, UINT32_MAX);
    talk_wait(&t, UINT32_MAX);
    expect(&t, "");
    TALK_LOG(&t, "open");
    talk_close(&t);

    talk_init(&t, false);
    t.handler.pong_ms = ROTOR_WEBSOCKET_NEVER;
    open_talk(&t, false);
    talk_wait(&t, 30000);
    expect(&t, "ping()");
    talk_wait(&t, UINT32_MAX);
    expect(&t, "");
    TALK_LOG(&t, "open");
    talk_close(&t);
}

static rotor_intent sleep_long(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_sleep();
}

static rotor_intent go_on(talk *t, rotor_scope *scope)
{
    return rotor_expect_message();
}

/* Whoever does not listen cannot hear an answer. */
static void a_sleeper_does_not_ask(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = sleep_long;
    t.wakeup = go_on;
    open_talk(&t, false);
    talk_wait(&t, 29000);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    talk_wait(&t, 1000000);
    expect(&t, "");
    assert_int_equal(rotor_wake(t.loop, t.self), 0);
    talk_turn(&t);
    talk_wait(&t, 29999);
    expect(&t, "");
    talk_wait(&t, 1);
    expect(&t, "ping()");
    talk_close(&t);
}

/* While output is blocked nothing is read: what the peer is slow to take is no silence. */
static void a_slow_reader_is_not_silent(void **state)
{
    talk t;
    char data[100] = {0};
    talk_init(&t, false);
    t.handler.protocol.stall_ms = 50000;
    open_talk(&t, false);
    rotor_memory_window(t.peer, 10);
    assert_int_equal(rotor_websocket_send_binary(t.ws, (rotor_text){data, 100}), 0);
    talk_turn(&t);
    talk_wait(&t, 40000); /* a ping is due */
    rotor_memory_window(t.peer, 10);
    talk_turn(&t);
    talk_wait(&t, 40000);
    TALK_LOG(&t, "open");
    rotor_memory_window(t.peer, SIZE_MAX);
    talk_turn(&t);
    assert_non_null(strstr(talk_received(&t), "binary("));
    talk_wait(&t, 30000);
    expect(&t, "ping()");
    talk_close(&t);
}

static void who_takes_nothing_is_given_up(void **state)
{
    talk t;
    init_and_open(&t, false);
    rotor_memory_window(t.peer, 0);
    assert_int_equal(rotor_websocket_send_text(t.ws, (rotor_text){"a", 1}), 0);
    talk_turn(&t);
    talk_wait(&t, 30000);
    TALK_LOG(&t, "open close(1006 ESTALLED) drop");
    talk_close(&t);
}

/* -- deadlines --------------------------------------------------------------------------------- */

static rotor_intent within_5_s(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_until(rotor_expect_message(), rotor_now(scope) + 5000);
}

static rotor_intent the_same(talk *t, rotor_scope *scope)
{
    return rotor_intent_same();
}

static void the_deadline_is_the_handlers(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = within_5_s;
    open_talk(&t, false);
    talk_wait(&t, 10000);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    talk_wait(&t, 4999);
    assert_int_equal(talk_send(&t, "P() Q() <89>"), 0); /* which are the same to it */
    TALK_LOG(&t, "open text(a) ping() pong()");
    talk_wait(&t, 1);
    TALK_LOG(&t, "open text(a) ping() pong() timeout");
    talk_wait(&t, 20000);
    TALK_LOG(&t, "open text(a) ping() pong() timeout"); /* once */
    talk_close(&t);
}

static void a_deadline_that_has_passed_is_not_the_same(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = within_5_s;
    t.timeout = the_same;
    open_talk(&t, false);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    talk_wait(&t, 5000);
    talk_wait(&t, 5000);
    TALK_LOG(&t, "open text(a) timeout");
    (void)talk_received(&t);
    talk_wait(&t, 20000); /* and the peer is asked all the same */
    expect(&t, "ping()");
    talk_close(&t);
}

static void a_deadline_nobody_hears_of_closes(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = within_5_s;
    t.handler.timeout = NULL;
    open_talk(&t, false);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    talk_wait(&t, 5000);
    expect(&t, "close(1001)");
    assert_int_equal(talk_send(&t, "X(1001)"), 0);
    TALK_LOG(&t, "open text(a) close(1001)");
    talk_close(&t);
}

/* -- closing ----------------------------------------------------------------------------------- */

static void a_close_without_answer_is_given_up(void **state)
{
    talk t;
    init_and_open(&t, true);
    assert_int_equal(rotor_websocket_close(t.ws, 1000, nothing), 0);
    talk_turn(&t);
    talk_wait(&t, 9999);
    assert_int_equal(talk_send(&t, "T(a) P(b)"), 0); /* are no answer */
    TALK_LOG(&t, "open");
    talk_wait(&t, 1);
    TALK_LOG(&t, "open close(1006 WEBSOCKET_EUNCLOSED) drop");
    assert_true(talk_is_over(&t));
    talk_close(&t);
}

/* The deadline of the closing counts, be it later or earlier than the one before. */
static void closing_has_a_deadline_of_its_own(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = within_5_s;
    open_talk(&t, false);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    test_monotonic_ms += 5000; /* and the loop has not turned yet */
    assert_int_equal(rotor_websocket_close(t.ws, 1000, nothing), 0);
    talk_turn(&t);
    TALK_LOG(&t, "open text(a)");
    assert_false(talk_is_over(&t));
    talk_wait(&t, 4999);
    assert_int_equal(talk_send(&t, "X(1000)"), 0);
    TALK_LOG(&t, "open text(a) close(1000)");
    talk_close(&t);

    talk_init(&t, false);
    t.handler.close_ms = 70000;
    open_talk(&t, false);
    assert_int_equal(rotor_websocket_close(t.ws, 1000, nothing), 0);
    talk_turn(&t);
    expect(&t, "close(1000)");
    talk_wait(&t, 69999); /* no pings behind a close */
    expect(&t, "");
    TALK_LOG(&t, "open");
    talk_wait(&t, 1);
    TALK_LOG(&t, "open close(1006 WEBSOCKET_EUNCLOSED) drop");
    talk_close(&t);

    talk_init(&t, false);
    t.handler.close_ms = ROTOR_WEBSOCKET_NEVER;
    open_talk(&t, false);
    assert_int_equal(rotor_websocket_close(t.ws, 1000, nothing), 0);
    talk_turn(&t);
    talk_wait(&t, UINT32_MAX);
    TALK_LOG(&t, "open");
    talk_close(&t);
}

static rotor_intent done_within_1_s(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    return rotor_intent_until(rotor_intent_done(), rotor_now(scope) + 1000);
}

static void done_may_have_a_deadline(void **state)
{
    talk t;
    talk_init(&t, false);
    t.message = done_within_1_s;
    open_talk(&t, false);
    assert_int_equal(talk_send(&t, "T(a)"), 0);
    talk_wait(&t, 1000);
    TALK_LOG(&t, "open text(a) close(1006 WEBSOCKET_EUNCLOSED) drop");
    talk_close(&t);
}

/* Who has closed and does not end its connection is not waited for for ever. */
static void the_connection_ends_in_time(void **state)
{
    talk t;
    init_and_open(&t, false);
    assert_int_equal(talk_send(&t, "X(1000)"), 0);
    assert_true(rotor_memory_is_shutdown(t.peer));
    talk_wait(&t, 1999);
    assert_false(talk_is_over(&t));
    talk_wait(&t, 1);
    assert_true(talk_is_over(&t));
    TALK_LOG(&t, "open close(1000) drop");
    talk_close(&t);

    init_and_open(&t, true); /* the server is to end it first */
    assert_int_equal(talk_send(&t, "X(1000)"), 0);
    assert_false(rotor_memory_is_shutdown(t.peer));
    assert_int_equal(talk_send(&t, "T(a) X(1000) <ffff>"), 0);
    expect(&t, "close(1000)");
    talk_wait(&t, 9999);
    assert_false(talk_is_over(&t));
    talk_wait(&t, 1);
    assert_true(talk_is_over(&t));
    TALK_LOG(&t, "open close(1000) drop");
    talk_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_is_silent_is_asked_and_then_gone),
        TEST(whatever_comes_is_a_sign_of_life),
        TEST(a_pong_is_told_and_all_begins_anew),
        TEST(times_may_be_others),
        TEST(a_sleeper_does_not_ask),
        TEST(a_slow_reader_is_not_silent),
        TEST(who_takes_nothing_is_given_up),
        TEST(the_deadline_is_the_handlers),
        TEST(a_deadline_that_has_passed_is_not_the_same),
        TEST(a_deadline_nobody_hears_of_closes),
        TEST(a_close_without_answer_is_given_up),
        TEST(closing_has_a_deadline_of_its_own),
        TEST(done_may_have_a_deadline),
        TEST(the_connection_ends_in_time),
    };
    return cmocka_run_group_tests_name("websocket_time", tests, NULL, NULL);
}
