/* Datagram sockets end at every point, and memory may run out at any: nothing is left behind, `drop` and
** the seed's release run once, and the loop's block comes back. */
#include "test.h"

#include "../core/private.h"
#include "party.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

static const char *const event_names[] = {"create", "datagram",  "writable", "timeout",
                                          "wakeup", "exception", "drop"};

static rotor_response in_a_second(party *p, rotor_scope *scope)
{
    return rotor_ok_until(rotor_now(scope) + 1000);
}

/* A socket to which everything happens: three datagrams at once, no room and then room, a deadline, a
** wakeup, and news that a datagram did not arrive. Each until it ends. */
static void live(party *p, rotor_loop *loop)
{
    party peer;
    char where[128];
    test_monotonic_ms = 0;
    party_init(&peer);
    party_open(&peer, loop, "127.0.0.1:0", NULL);
    strcpy(where, peer.where);
    if (!p->on[PARTY_CREATE])
        p->on[PARTY_CREATE] = in_a_second;
    (void)party_try(p, loop, NULL, &(rotor_udp_options){.peer = where});
    if (p->d) {
        assert_int_equal(rotor_datagram_local(p->d, p->where, sizeof p->where), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(party_send(&peer, "x", p->where), 0);
        for (int i = 0; i < 3; i++)
            sockets_turn(loop);
    }
    if (rotor_wake(loop, p->self) == 0)
        sockets_turn(loop);
    test_monotonic_ms = 1000;
    sockets_turn(loop);
    party_end(&peer, loop);
    if (rotor_find(loop, p->self)) {
        assert_int_equal(party_send(p, "x", NULL), 0);
        for (int i = 0; i < 3; i++)
            sockets_turn(loop);
    }
}

/* The transitions that only Unix sockets come to. */
static void live_on_unix(party *p, rotor_loop *loop)
{
    party peer;
    party_init(&peer);
    party_open(&peer, loop, party_unix(0), NULL);
    assert_int_equal(party_try(p, loop, NULL, &(rotor_udp_options){.peer = party_unix(0)}), 0);
    p->d = (rotor_datagram *)rotor_find(loop, p->self);
    while (party_send(p, "x", NULL) == 0)
        continue;
    for (int i = 0; i < 3; i++)
        sockets_turn(loop);
    party_end(&peer, loop);
}

typedef rotor_response (*answer)(party *p, rotor_scope *scope);

static rotor_response end_itself(party *p, rotor_scope *scope)
{
    assert_int_equal(rotor_end(scope->loop, p->self, UV_EIO), 0);
    return rotor_ok();
}

static rotor_response spawn(party *p, rotor_scope *scope)
{
    return rotor_spawn(scope, &probe_type, NULL);
}

static void check_end(party_event event, answer how, int error, int least, int most)
{
    party p;
    rotor_loop *loop = party_loop();
    party_init(&p);
    p.on[event] = how;
    (event == PARTY_WRITABLE ? live_on_unix : live)(&p, loop);
    bool returned = event == PARTY_CREATE && how != end_itself && error;
    bool ended = p.count[PARTY_DROP] == 1 && !rotor_find(loop, p.self) && p.count[event] >= least &&
                 p.count[event] <= most && party_errors == (error && !returned) &&
                 party_last_error == (returned ? 0 : error) && p.released == !returned;
    if (!ended)
        fail_msg("%s: %d times, %d dropped, %d errors, the last %d", event_names[event],
                 p.count[event], p.count[PARTY_DROP], party_errors, party_last_error);
    assert_int_equal(loop->read_block->lent, 0);
    party_close(loop);
}

static void each_transition_may_end_it(void **state)
{
    for (party_event event = PARTY_CREATE; event < PARTY_DROP; event++) {
        check_end(event, party_done, 0, 1, 1);
        check_end(event, party_fail, UV_EIO, 1, 1);
        check_end(event, spawn, ROTOR_EUNEXPECTED, 1, 1);
        /* Which is queued: the datagrams of its batch are still told. */
        check_end(event, end_itself, UV_EIO, 1, event == PARTY_DATAGRAM ? 3 : 1);
    }
}

/* Freed with the loop, after so many turns of its life. */
static void it_ends_with_its_loop(void **state)
{
    for (int turns = 0; turns <= 4; turns++) {
        rotor_loop *loop = party_loop();
        party p, peer;
        party_init(&p);
        party_init(&peer);
        party_open(&peer, loop, party_unix(0), NULL);
        party_open(&p, loop, NULL, &(rotor_udp_options){.peer = party_unix(0)});
        while (party_send(&p, "x", NULL) == 0)
            continue;
        for (int i = 0; i < turns; i++)
            sockets_turn(loop);
        party_close(loop);
        assert_int_equal(p.count[PARTY_DROP], 1);
        assert_int_equal(peer.count[PARTY_DROP], 1);
        assert_int_equal(p.released, 1);
        assert_int_equal(party_errors, 0);
    }
}

static void a_failed_create_is_returned(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    p.on[PARTY_CREATE] = party_fail;
    assert_int_equal(party_try(&p, loop, "127.0.0.1:0", NULL), UV_EIO);
    assert_int_equal(p.self.generation, 0);
    assert_int_equal(p.count[PARTY_DROP], 1);
    assert_int_equal(p.released, 0); /* the seed is still the caller's */
    assert_int_equal(party_errors, 0);
    assert_int_equal(rotor_loop_count(loop), 0);
    party_close(loop);
}

/* What a machine that opens `context` in a transition does next with it. */
static rotor_response open_only(probe *p, rotor_scope *scope)
{
    assert_int_equal(party_try(p->plan->context, scope->loop, "127.0.0.1:0", NULL), 0);
    return rotor_done();
}

static rotor_response open_and_end(probe *p, rotor_scope *scope)
{
    party *guest = p->plan->context;
    assert_int_equal(party_try(guest, scope->loop, "127.0.0.1:0", NULL), 0);
    assert_int_equal(rotor_end(scope->loop, guest->self, UV_EIO), 0);
    return rotor_done();
}

static rotor_response open_without_room(probe *p, rotor_scope *scope)
{
    party *guest = p->plan->context;
    assert_int_equal(party_try(guest, scope->loop, "127.0.0.1:0", NULL), ROTOR_ECAPACITY);
    assert_int_equal(guest->self.generation, 0);
    return rotor_done();
}

static void open_inside(party *guest, rotor_loop *loop,
                        rotor_response (*how)(probe *, rotor_scope *))
{
    probe_plan plan = {.name = "p", .context = guest, .on = {[WAKEUP] = how}};
    probe_reset();
    probe_add(loop, &plan);
    assert_int_equal(rotor_wake(loop, plan.self), 0);
    sockets_turn(loop);
    sockets_turn(loop);
    assert_int_equal(rotor_loop_count(loop), 0);
    assert_int_equal(plan.count[DROP], 1);
}

static void inside_a_transition_it_is_reported(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    p.on[PARTY_CREATE] = party_fail;
    open_inside(&p, loop, open_only);
    assert_int_equal(p.count[PARTY_CREATE], 1);
    assert_int_equal(p.count[PARTY_DROP], 1);
    assert_int_equal(p.released, 1);
    assert_int_equal(party_errors, 1);
    assert_int_equal(party_last_error, UV_EIO);
    party_close(loop);
}

/* `create` is called nevertheless, as it is for any machine. */
static void it_may_be_ended_before_it_begins(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    open_inside(&p, loop, open_and_end);
    assert_int_equal(p.count[PARTY_CREATE], p.count[PARTY_DROP]);
    assert_int_equal(p.released, 1);
    assert_int_equal(party_last_error, UV_EIO);
    party_close(loop);
}

static rotor_response open_and_stop(probe *p, rotor_scope *scope)
{
    assert_int_equal(party_try(p->plan->context, scope->loop, "127.0.0.1:0", NULL), 0);
    return rotor_ok();
}

/* More machines are queued than run in one event, so that the loop is freed with the last unbegun. */
static void its_loop_may_be_freed_before_it_begins(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    probe_plan plans[1000];
    party_init(&p);
    probe_reset();
    for (int i = 0; i < 1000; i++) {
        plans[i] = (probe_plan){.name = "p"};
        probe_add(loop, &plans[i]);
    }
    plans[0].on[WAKEUP] = open_and_stop;
    plans[0].context = &p;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rotor_wake(loop, plans[i].self), 0);
    assert_int_equal(rotor_loop_turn(loop), 0);
    assert_int_equal(plans[0].count[WAKEUP], 1);
    assert_int_equal(p.count[PARTY_CREATE], 0);
    party_close(loop);
    assert_int_equal(p.count[PARTY_CREATE], 0);
    assert_int_equal(p.count[PARTY_DROP], 0);
    assert_int_equal(p.released, 1);
}

static void a_loop_without_room_has_none_for_it(void **state)
{
    rotor_loop *loop;
    party p;
    assert_int_equal(rotor_loop_new(&loop, &(rotor_config){.capacity = 1}), 0);
    party_init(&p);
    open_inside(&p, loop, open_without_room);
    party_open(&p, loop, "127.0.0.1:0", NULL);
    party other;
    party_init(&other);
    assert_int_equal(party_try(&other, loop, "127.0.0.1:0", NULL), ROTOR_ECAPACITY);
    assert_int_equal(other.released, 0);
    party_close(loop);
    assert_int_equal(p.released, 1);
}

static rotor_response send_twice(party *p, rotor_scope *scope)
{
    assert_int_equal(party_send(p, "last word", NULL), 0);
    assert_int_equal(party_send(p, "last word", NULL), 0);
    return rotor_ok();
}

/* That the first has not arrived is found by sending the second, when there is nobody left to tell. */
static void news_in_drop_is_nobodys(void **state)
{
    for (int freed = 0; freed <= 1; freed++) {
        rotor_loop *loop = party_loop();
        party p, peer;
        party_init(&p);
        party_init(&peer);
        p.on[PARTY_DROP] = send_twice;
        party_open(&peer, loop, "127.0.0.1:0", NULL);
        party_open(&p, loop, NULL, &(rotor_udp_options){.peer = peer.where});
        party_end(&peer, loop);
        if (!freed)
            party_end(&p, loop);
        sockets_turn(loop);
        party_close(loop);
        assert_int_equal(p.count[PARTY_DROP], 1);
        assert_int_equal(p.count[PARTY_EXCEPTION], 0);
    }
}

/* -- out of memory ----------------------------------------------------------------------------- */

static void open_and_exchange(void)
{
    rotor_loop *loop;
    party server, client;
    test_monotonic_ms = 0;
    if (rotor_loop_new(&loop, &(rotor_config){.clock = &test_clock}))
        return;
    party_init(&server);
    party_init(&client);
    server.on[PARTY_DATAGRAM] = party_echo;
    client.on[PARTY_DATAGRAM] = in_a_second;
    int error = party_try(&server, loop, "127.0.0.1:0", NULL);
    if (!error) {
        server.d = (rotor_datagram *)rotor_find(loop, server.self);
        assert_int_equal(rotor_datagram_local(server.d, server.where, sizeof server.where), 0);
        error = party_try(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    }
    if (!error) {
        client.d = (rotor_datagram *)rotor_find(loop, client.self);
        assert_int_equal(party_send(&client, "x", NULL), 0);
        party_expect(&client, loop, 1);
    }
    party_close(loop);
    assert_true(!error || test_alloc_failed() > 0);
    assert_int_equal(server.count[PARTY_DROP], server.count[PARTY_CREATE]);
    assert_int_equal(client.count[PARTY_DROP], client.count[PARTY_CREATE]);
}

static void memory_may_run_out(void **state)
{
    test_out_of_memory(open_and_exchange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_transition_may_end_it),
        TEST(it_ends_with_its_loop),
        TEST(a_failed_create_is_returned),
        TEST(inside_a_transition_it_is_reported),
        TEST(it_may_be_ended_before_it_begins),
        TEST(its_loop_may_be_freed_before_it_begins),
        TEST(a_loop_without_room_has_none_for_it),
        TEST(news_in_drop_is_nobodys),
        TEST(memory_may_run_out),
    };
    return cmocka_run_group_tests_name("datagram ends", tests, NULL, NULL);
}
