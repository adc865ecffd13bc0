/* Datagram sockets: no room, floods, deadlines, wakeups, and sending from elsewhere. */
#include "test.h"

#include <sys/ioctl.h>

#include "party.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

/* -- room -------------------------------------------------------------------------------------- */

/* Sends to its peer until there is no room. */
static int fill(party *p)
{
    int sent = 0, error;
    while ((error = party_send(p, "x", NULL)) == 0)
        assert_true(++sent < 100000);
    assert_int_equal(error, UV_EAGAIN);
    assert_true(sent > 0);
    return sent;
}

static void turn_five_times(rotor_loop *loop)
{
    for (int i = 0; i < 5; i++)
        sockets_turn(loop);
}

static void room_is_told_once(void **state)
{
    rotor_loop *loop = party_loop(), *theirs = party_loop();
    party server, client;
    int sent = 0;
    party_init(&server);
    party_init(&client);
    party_open(&server, theirs, party_unix(1), NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = party_unix(1)});
    for (int round = 0; round < 2; round++) {
        sent += fill(&client);
        assert_int_equal(party_send(&client, "x", NULL), UV_EAGAIN);
        assert_int_equal(client.d->io.interest, ROTOR_READABLE | ROTOR_WRITABLE);
        turn_five_times(loop);
        assert_int_equal(client.count[PARTY_WRITABLE], round); /* as there is no room */
        party_expect(&server, theirs, sent);
        TURN_UNTIL(loop, client.count[PARTY_WRITABLE] > round);
        assert_int_equal(client.d->io.interest, ROTOR_READABLE); /* nothing is polled for nothing */
        turn_five_times(loop);
        assert_int_equal(client.count[PARTY_WRITABLE], round + 1);
    }
    party_close(loop);
    party_close(theirs);
}

static void without_writable_nothing_is_polled(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    client.protocol.writable = NULL;
    party_open(&server, loop, party_unix(1), NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = party_unix(1)});
    int sent = fill(&client);
    assert_int_equal(client.d->io.interest, ROTOR_READABLE);
    party_expect(&server, loop, sent);
    assert_int_equal(party_send(&client, "x", NULL), 0);
    party_expect(&server, loop, sent + 1);
    party_close(loop);
}

/* Its own buffer has room, so it would be told so without end. */
static void a_full_receiver_that_is_no_peer_is_no_reason_to_poll(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    int error, sent = 0;
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, party_unix(1), NULL);
    party_open(&client, loop, party_unix(2), NULL);
    while ((error = party_send(&client, "x", party_unix(1))) == 0)
        assert_true(++sent < 100000);
    assert_int_equal(error, UV_ENOBUFS);
    assert_int_equal(client.d->io.interest, ROTOR_READABLE);
    party_expect(&server, loop, sent);
    assert_int_equal(client.count[PARTY_WRITABLE], 0);
    party_close(loop);
}

/* But when it is its own buffer that is full, waiting helps. */
static void a_full_buffer_is_waited_for(void **state)
{
    static char bytes[4096];
    rotor_loop *loop = party_loop();
    party server, client;
    rotor_address to;
    rotor_host host;
    int error, sent = 0;
    assert_int_equal(rotor_address_parse(party_unix(1), &to, &host), 0);
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, party_unix(1), NULL);
    party_open(&client, loop, NULL,
               &(rotor_udp_options){.peer = party_unix(1), .send_buffer = 8192});
    while ((error = rotor_datagram_send(client.d, bytes, sizeof bytes, &to)) == 0)
        assert_true(++sent < 8);
    assert_int_equal(error, UV_EAGAIN);
    party_expect(&server, loop, sent);
    TURN_UNTIL(loop, client.count[PARTY_WRITABLE] == 1);
    assert_int_equal(client.d->io.interest, ROTOR_READABLE);
    party_close(loop);
}

/* -- many at once ------------------------------------------------------------------------------ */

static void nobody_starves(void **state)
{
    for (uint32_t turns = 0; turns <= 3; turns += 3) {
        rotor_loop *loop = party_loop();
        party flooded, other, sender;
        int batch = turns ? (int)turns : 64;
        party_init(&flooded);
        party_init(&other);
        party_init(&sender);
        flooded.protocol.turns = turns;
        party_open(&flooded, loop, "127.0.0.1:0", NULL);
        party_open(&other, loop, "127.0.0.1:0", NULL);
        party_open(&sender, loop, "127.0.0.1:0", NULL);
        for (int i = 0; i < 3 * batch; i++)
            assert_int_equal(party_send(&sender, "x", flooded.where), 0);
        assert_int_equal(party_send(&sender, "y", other.where), 0);
        for (int i = 1; i <= 3; i++) {
            sockets_turn(loop);
            assert_int_equal(flooded.count[PARTY_DATAGRAM], i * batch);
            assert_int_equal(other.count[PARTY_DATAGRAM], 1);
        }
        for (int i = 0; i < 3; i++)
            sockets_turn(loop);
        assert_int_equal(flooded.count[PARTY_DATAGRAM], 3 * batch);
        party_close(loop);
    }
}

static size_t allocations;

static void *count_allocations(void *context, void *ptr, size_t size)
{
    allocations += size > 0;
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static void no_memory_is_taken_for_a_datagram(void **state)
{
    rotor_allocator_set(&(rotor_allocator){count_allocations, NULL});
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    server.on[PARTY_DATAGRAM] = party_echo;
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    assert_true(allocations > 0);
    allocations = 0;
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(party_send(&client, "x", NULL), 0);
        party_expect(&client, loop, i);
    }
    assert_int_equal(allocations, 0);
    party_close(loop);
}

/* -- time and wakeups -------------------------------------------------------------------------- */

static rotor_response in_a_second(party *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 1000);
}

static void turn_at(rotor_loop *loop, uint64_t ms)
{
    test_monotonic_ms = ms;
    sockets_turn(loop);
}

static void deadlines_pass(void **state)
{
    test_monotonic_ms = 0;
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    p.on[PARTY_CREATE] = p.on[PARTY_DATAGRAM] = in_a_second;
    party_open(&p, loop, "127.0.0.1:0", NULL);
    turn_at(loop, 999);
    assert_int_equal(p.count[PARTY_TIMEOUT], 0);
    assert_int_equal(party_send(&p, "more", p.where), 0);
    party_expect(&p, loop, 1);
    turn_at(loop, 1998);
    assert_int_equal(p.count[PARTY_TIMEOUT], 0);
    turn_at(loop, 1999);
    assert_int_equal(p.count[PARTY_TIMEOUT], 1);
    turn_at(loop, 10000); /* which has answered without one */
    assert_int_equal(p.count[PARTY_TIMEOUT], 1);
    party_close(loop);
}

static rotor_response by_text(party *p, rotor_scope *scope)
{
    switch (p->data[0]) {
    case '1':
        return rotor_ok_until(100);
    case '2':
        return rotor_ok_until(200);
    case '0':
        return rotor_ok();
    default:
        return rotor_same();
    }
}

static rotor_response at_50(party *p, rotor_scope *scope)
{
    return rotor_ok_until(50);
}

static void the_last_answer_of_a_batch_holds(void **state)
{
    static const struct {
        const char *batch;
        int timeouts[3]; /* so many at 50, 100 and 200 ms */
    } cases[] = {{"1", {0, 1, 1}},  {"s", {1, 1, 1}},   {"1s", {0, 1, 1}}, {"1s2s", {0, 0, 1}},
                 {"10", {0, 0, 0}}, {"0s1", {0, 1, 1}}, {"ss", {1, 1, 1}}, {"2ss1", {0, 1, 1}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_monotonic_ms = 0;
        rotor_loop *loop = party_loop();
        party p;
        party_init(&p);
        p.on[PARTY_CREATE] = at_50;
        p.on[PARTY_DATAGRAM] = by_text;
        party_open(&p, loop, "127.0.0.1:0", NULL);
        int n = (int)strlen(cases[i].batch);
        for (int k = 0; k < n; k++)
            assert_int_equal(party_send(&p, (char[]){cases[i].batch[k], '\0'}, p.where), 0);
        sockets_wait(loop);
        turn_at(loop, 0);
        assert_int_equal(p.count[PARTY_DATAGRAM], n);
        for (int k = 0; k < 3; k++) {
            turn_at(loop, (uint64_t[]){50, 100, 200}[k]);
            assert_int_equal(p.count[PARTY_TIMEOUT], cases[i].timeouts[k]);
        }
        party_close(loop);
    }
}

static void wakeups_come(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    party_open(&p, loop, "127.0.0.1:0", NULL);
    assert_int_equal(rotor_wake(loop, p.self), 0);
    assert_int_equal(rotor_wake(loop, p.self), 0);
    sockets_turn(loop);
    assert_int_equal(p.count[PARTY_WAKEUP], 1);
    party_close(loop);
}

static void transitions_left_out_have_defaults(void **state)
{
    test_monotonic_ms = 0;
    rotor_loop *loop = party_loop();
    party p;
    int unread = -1;
    party_init(&p);
    p.on[PARTY_CREATE] = in_a_second;
    p.protocol.datagram = NULL;
    p.protocol.wakeup = NULL;
    p.protocol.timeout = NULL;
    p.protocol.drop = NULL;
    party_open(&p, loop, "127.0.0.1:0", NULL);
    assert_int_equal(party_send(&p, "dropped", p.where), 0);
    assert_int_equal(party_send(&p, "as well", p.where), 0);
    assert_int_equal(rotor_wake(loop, p.self), 0);
    TURN_UNTIL(loop, ioctl(p.d->io.fd, FIONREAD, &unread) == 0 && unread == 0);
    assert_int_equal(rotor_loop_count(loop), 1);
    turn_at(loop, 1000); /* the deadline holds */
    assert_int_equal(rotor_loop_count(loop), 0);
    assert_int_equal(party_last_error, ROTOR_ETIMEDOUT);
    party_close(loop);
}

/* -- sending from elsewhere -------------------------------------------------------------------- */

static rotor_response send_for(probe *p, rotor_scope *scope)
{
    assert_int_equal(party_send(p->plan->context, "for another", NULL), 0);
    return rotor_done();
}

static void another_machine_may_send(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    probe_plan plan = {.name = "p", .context = &client, .on = {[WAKEUP] = send_for}};
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    probe_reset();
    probe_add(loop, &plan);
    assert_int_equal(rotor_wake(loop, plan.self), 0);
    party_expect(&server, loop, 1);
    assert_string_equal(server.log, "for another ");
    party_close(loop);
}

static rotor_response say_good_bye(party *p, rotor_scope *scope)
{
    assert_int_equal(party_send(p, "good-bye", NULL), 0);
    return rotor_ok();
}

static void the_last_word_is_sent_in_drop(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    client.on[PARTY_DROP] = say_good_bye;
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    party_end(&client, loop);
    party_expect(&server, loop, 1);
    assert_string_equal(server.log, "good-bye ");
    party_close(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(room_is_told_once),
        TEST(without_writable_nothing_is_polled),
        TEST(a_full_receiver_that_is_no_peer_is_no_reason_to_poll),
        TEST(a_full_buffer_is_waited_for),
        TEST(nobody_starves),
        TEST(no_memory_is_taken_for_a_datagram),
        TEST(deadlines_pass),
        TEST(the_last_answer_of_a_batch_holds),
        TEST(wakeups_come),
        TEST(transitions_left_out_have_defaults),
        TEST(another_machine_may_send),
        TEST(the_last_word_is_sent_in_drop),
    };
    return cmocka_run_group_tests_name("datagram flow", tests, NULL, NULL);
}
