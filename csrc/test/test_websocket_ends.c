/* However a WebSocket ends: its peer leaves or resets the connection behind any byte, memory runs out at any
** allocation. `close` and `drop` come exactly once, and nothing is left behind. */
#include "test.h"

#include "support.h"
#include "talk.h"
#include "websocket_cases.h"

enum { CASES = sizeof websocket_cases / sizeof *websocket_cases };

typedef enum ending { LEAVE, RESET, LEAVE_CLOSED, VANISH } ending;

static rotor_loop *loop; /* of all the cases */

static void end_after(const websocket_case *c, bool is_client, size_t n, ending how)
{
    talk t;
    size_t len;
    talk_init(&t, is_client);
    t.loop = loop;
    assert_int_equal(talk_open(&t), 0);
    char *frames = talk_frames(&t, c->frames, &len);
    assert_int_equal(rotor_memory_send(t.peer, frames, n < len ? n : len), 0);
    talk_turn(&t);
    if (how == LEAVE_CLOSED && t.ws)
        (void)rotor_websocket_close(t.ws, 1000, (rotor_text){NULL, 0});
    if (how == RESET)
        rotor_memory_fail(t.peer, UV_ECONNRESET);
    else if (how != VANISH)
        rotor_memory_shutdown(t.peer);
    talk_turn(&t);
    if (how == VANISH) {
        talk_wait(&t, 40000);
        talk_wait(&t, 40000);
    }
    if (how == LEAVE || how == VANISH || how == LEAVE_CLOSED) {
        assert_true(talk_is_over(&t));
        assert_int_equal(t.closes, 1);
    }
    talk_close(&t);
    assert_int_equal(t.closes, 1);
    assert_true(t.errors <= (how == RESET));
    free(frames);
}

static void end_everywhere(ending how)
{
    assert_int_equal(talk_open_loop(&loop), 0);
    for (size_t i = 0; i < CASES; i++)
        for (int is_client = 0; is_client <= 1; is_client++) {
            talk t;
            size_t len;
            talk_init(&t, is_client);
            free(talk_frames(&t, websocket_cases[i].frames, &len));
            for (size_t n = 0; n <= len && n <= 40; n++)
                end_after(&websocket_cases[i], is_client, n, how);
        }
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void the_peer_leaves_behind_any_byte(void **state)
{
    end_everywhere(LEAVE);
}

static void the_peer_leaves_while_it_closes(void **state)
{
    end_everywhere(LEAVE_CLOSED);
}

static void the_connection_is_reset_behind_any_byte(void **state)
{
    end_everywhere(RESET);
}

static void the_peer_vanishes_behind_any_byte(void **state)
{
    end_everywhere(VANISH);
}

static void a_reset_is_told(void **state)
{
    talk t;
    talk_init(&t, false);
    assert_int_equal(talk_open(&t), 0);
    assert_int_equal(talk_send(&t, "t(a)"), 0);
    rotor_memory_fail(t.peer, UV_ECONNRESET);
    talk_turn(&t);
    TALK_LOG(&t, "open close(1006 ECONNRESET) drop");
    talk_close(&t);
}

/* -- memory ------------------------------------------------------------------------------------ */

static rotor_intent echo(talk *t, rotor_scope *scope, rotor_text data, bool is_text)
{
    int error =
        is_text ? rotor_websocket_send_text(t->ws, data) : rotor_websocket_send_binary(t->ws, data);
    if (error)
        return rotor_intent_error(error);
    return data.len == 1 ? rotor_intent_done() : rotor_expect_message();
}

static void converse(bool is_client)
{
    talk t;
    talk_init(&t, is_client);
    t.subprotocol = "chat";
    t.message = echo;
    t.handler.protocol.high_water = 1000;
    if (talk_open(&t))
        return;
    rotor_memory_window(t.peer, 100);
    (void)talk_send(&t, "T(hello) b*3000 P*100 c*80000 C*5");
    rotor_memory_window(t.peer, 50000);
    talk_turn(&t);
    (void)talk_send(&t, "<8505>"); /* of no use, if it has not ended before */
    (void)talk_send(&t, "T(.) X(1000)");
    rotor_memory_window(t.peer, SIZE_MAX);
    talk_turn(&t);
    rotor_memory_shutdown(t.peer);
    talk_turn(&t);
    assert_true(test_alloc_failed() > 0 || talk_is_over(&t));
    talk_close(&t);
}

static void as_server(void)
{
    converse(false);
}

static void as_client(void)
{
    converse(true);
}

static void close_it_all(void)
{
    for (int is_client = 0; is_client <= 1; is_client++) {
        talk t;
        talk_init(&t, is_client);
        t.message = echo;
        if (talk_open(&t))
            return;
        (void)talk_send(&t, "T(hello) T(.)");
        (void)talk_send(&t, "T(late) X(1000)");
        if (t.ws)
            (void)rotor_websocket_close(t.ws, 1000, (rotor_text){"x", 1});
        talk_turn(&t);
        talk_wait(&t, 30000);
        talk_wait(&t, 30000);
        talk_close(&t);
    }
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(as_server);
    test_out_of_memory(as_client);
    test_out_of_memory(close_it_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_peer_leaves_behind_any_byte),
        TEST(the_peer_leaves_while_it_closes),
        TEST(the_connection_is_reset_behind_any_byte),
        TEST(the_peer_vanishes_behind_any_byte),
        TEST(a_reset_is_told),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("websocket_ends", tests, NULL, NULL);
}
