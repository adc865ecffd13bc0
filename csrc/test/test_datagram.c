/* Datagrams on real sockets: what arrives, what does not, and how either is told. */
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "party.h"
#include "sockets.h"
#include "support.h"

/* Where there is no IPv6, its tests are skipped. */
static bool has_ipv6(rotor_loop *loop)
{
    party p;
    party_init(&p);
    int error = party_try(&p, loop, "[::1]:0", NULL);
    if (error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT)
        return false;
    assert_int_equal(error, 0);
    party_end(&p, loop);
    return true;
}

/* An address nobody listens at: of a socket that was open a moment ago. */
static void open_and_close(rotor_loop *loop, const char *address, char where[128])
{
    party p;
    party_init(&p);
    party_open(&p, loop, address, NULL);
    strcpy(where, p.where);
    party_end(&p, loop);
    assert_int_equal(p.count[PARTY_DROP], 1);
}

/* -- there and back ---------------------------------------------------------------------------- */

static void exchange(rotor_loop *loop, const char *at, const char *from, bool connected)
{
    party server, client;
    char peer[128];
    party_init(&server);
    party_init(&client);
    server.on[PARTY_DATAGRAM] = party_echo;
    party_open(&server, loop, at, NULL);
    party_open(&client, loop, from, &(rotor_udp_options){.peer = connected ? server.where : NULL});
    const char *to = connected ? NULL : server.where;
    assert_int_equal(party_send(&client, "one", to), 0);
    party_expect(&client, loop, 1);
    assert_int_equal(party_send(&client, "two", to), 0);
    party_expect(&client, loop, 2);
    assert_string_equal(client.log, "one two ");
    assert_int_equal(server.info.size, 3);
    assert_int_equal(rotor_address_format(&client.info.from, peer, sizeof peer), 0);
    assert_string_equal(peer, server.where);
    assert_int_equal(rotor_datagram_peer(client.d, peer, sizeof peer), connected ? 0 : UV_ENOTCONN);
    assert_string_equal(peer, connected ? server.where : "");
    assert_true(fcntl(client.d->io.fd, F_GETFD) & FD_CLOEXEC);
    party_end(&server, loop);
    party_end(&client, loop);
    assert_int_equal(rotor_loop_count(loop), 0);
    assert_int_equal(client.released, 1);
}

static void datagrams_go_there_and_back(void **state)
{
    rotor_loop *loop = party_loop();
    for (int connected = 0; connected <= 1; connected++) {
        exchange(loop, "127.0.0.1:0", "127.0.0.1:0", connected);
        exchange(loop, "0", ":0", connected);
        exchange(loop, "127.0.0.1:0", NULL, connected);
        exchange(loop, "localhost:0", "localhost:0", connected);
        if (has_ipv6(loop))
            exchange(loop, "[::1]:0", "[::1]:0", connected);
    }
    if (has_ipv6(loop))
        exchange(loop, "[::1]:0", NULL, true);
    party_close(loop);
}

static void unix_datagrams_go_there_and_back(void **state)
{
    rotor_loop *loop = party_loop();
    char folder[] = "/tmp/rotor-test-XXXXXX", at[80], from[80];
    assert_non_null(mkdtemp(folder));
    snprintf(at, sizeof at, "unix:%s/at", folder);
    snprintf(from, sizeof from, "unix:%s/from", folder);
    for (int connected = 0; connected <= 1; connected++) {
        exchange(loop, at, from, connected);
        exchange(loop, party_unix(1), from, connected);
    }
    exchange(loop, at, NULL, true); /* which has a name, or nothing would come back */
    party_close(loop);
    assert_int_equal(rmdir(folder), 0); /* so their files are gone */
}

/* As a client of the system's that has bound itself to nothing. */
static void a_sender_without_a_name_is_told(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    char from[80];
    rotor_address to;
    rotor_host host;
    party_init(&p);
    party_open(&p, loop, party_unix(1), NULL);
    assert_int_equal(rotor_address_parse(party_unix(1), &to, &host), 0);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(fd, "hi", 2, 0, &to.any, to.len), 2);
    party_expect(&p, loop, 1);
    assert_int_equal(rotor_address_format(&p.info.from, from, sizeof from), 0);
    assert_string_equal(from, "unix:");
    close(fd);
    party_close(loop);
}

static void names_of_peers_are_looked_up(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    char peer[64], told[64];
    party_init(&server);
    party_open(&server, loop, "127.0.0.1:0", NULL);
    /* [::1] is the first of its addresses, and cannot be reached from 127.0.0.1. */
    snprintf(peer, sizeof peer, "two.test%s", strrchr(server.where, ':'));
    party_init(&client);
    party_open(&client, loop, "127.0.0.1:0", &(rotor_udp_options){.peer = peer});
    assert_int_equal(rotor_datagram_peer(client.d, told, sizeof told), 0);
    assert_string_equal(told, server.where);
    assert_int_equal(party_send(&client, "hi", NULL), 0);
    party_expect(&server, loop, 1);
    party_close(loop);
}

static void others_than_the_peer_are_not_heard(void **state)
{
    rotor_loop *loop = party_loop();
    party server, stranger, client;
    party_init(&server);
    party_init(&stranger);
    party_init(&client);
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&stranger, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, "127.0.0.1:0", &(rotor_udp_options){.peer = server.where});
    assert_int_equal(party_send(&stranger, "not heard", client.where), 0);
    assert_int_equal(party_send(&server, "heard", client.where), 0);
    party_expect(&client, loop, 1);
    assert_string_equal(client.log, "heard ");
    party_close(loop);
}

static void sending_needs_an_address(void **state)
{
    rotor_loop *loop = party_loop();
    party udp, local;
    party_init(&udp);
    party_init(&local);
    party_open(&udp, loop, "127.0.0.1:0", NULL);
    party_open(&local, loop, party_unix(1), NULL);
    assert_int_equal(party_send(&udp, "x", NULL), UV_EDESTADDRREQ);
    assert_int_equal(party_send(&local, "x", NULL), UV_ENOTCONN);
    assert_int_equal(party_send(&udp, "x", party_unix(1)), UV_EAFNOSUPPORT);
    party_close(loop);
}

/* -- sizes ------------------------------------------------------------------------------------- */

static void a_datagram_of_no_bytes_is_one(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    server.on[PARTY_DATAGRAM] = party_echo;
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    client.n = 99;
    assert_int_equal(rotor_datagram_send(client.d, NULL, 0, NULL), 0);
    party_expect(&client, loop, 1);
    assert_int_equal(client.n, 0);
    assert_int_equal(client.info.size, 0);
    party_close(loop);
}

static void what_is_cut_tells_its_size(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, "127.0.0.1:0", &(rotor_udp_options){.max = 4});
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    static const struct {
        const char *text, *seen;
    } cases[] = {{"123", "123"}, {"1234", "1234"}, {"12345", "1234"}, {"123456789", "1234"}};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(party_send(&client, cases[i].text, NULL), 0);
        party_expect(&server, loop, i + 1);
        assert_string_equal(server.data, cases[i].seen);
        assert_int_equal(server.info.size, strlen(cases[i].text));
    }
    party_close(loop);
}

static void the_largest_arrives_whole(void **state)
{
    enum { LARGEST = 65507 }; /* over IPv4 */
    static char bytes[LARGEST + 1];
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, "127.0.0.1:0", NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = server.where});
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(rotor_datagram_send(client.d, bytes, LARGEST + 1, NULL), UV_EMSGSIZE);
    assert_int_equal(rotor_datagram_send(client.d, bytes, LARGEST, NULL), 0);
    party_expect(&server, loop, 1);
    assert_int_equal(server.n, LARGEST);
    assert_int_equal(server.info.size, LARGEST);
    assert_memory_equal(server.data, bytes, LARGEST);
    sockets_turn(loop);
    assert_int_equal(client.count[PARTY_EXCEPTION], 0); /* being too large is no news */
    party_close(loop);
}

/* -- what does not arrive ---------------------------------------------------------------------- */

static void that_nobody_listens_is_told(void **state)
{
    rotor_loop *loop = party_loop();
    party client;
    char nobody[128];
    const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};
    for (int i = 0; i < (has_ipv6(loop) ? 2 : 1); i++) {
        open_and_close(loop, addresses[i], nobody);
        party_init(&client);
        party_open(&client, loop, NULL, &(rotor_udp_options){.peer = nobody});
        for (int n = 1; n <= 3; n++) { /* the socket is as good as before */
            assert_int_equal(party_send(&client, "x", NULL), 0);
            TURN_UNTIL(loop, client.count[PARTY_EXCEPTION] == n);
            assert_int_equal(client.error, UV_ECONNREFUSED);
        }
        assert_int_equal(client.count[PARTY_DATAGRAM], 0);
        assert_int_equal(rotor_loop_count(loop), 1);
        party_end(&client, loop);
    }
    party_close(loop);
}

/* The news of the first is there before the second is sent, whose result it must not be. */
static void it_is_told_when_sending_finds_out(void **state)
{
    rotor_loop *loop = party_loop();
    party client;
    char nobody[128];
    open_and_close(loop, "127.0.0.1:0", nobody);
    party_init(&client);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = nobody});
    for (int i = 0; i < 10; i++)
        assert_int_equal(party_send(&client, "x", NULL), 0);
    TURN_UNTIL(loop, client.count[PARTY_EXCEPTION] > 0);
    assert_int_equal(client.error, UV_ECONNREFUSED);
    party_close(loop);
}

static void a_socket_without_a_peer_is_not_told(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    char nobody[128];
    open_and_close(loop, "127.0.0.1:0", nobody);
    party_init(&p);
    party_open(&p, loop, "127.0.0.1:0", NULL);
    assert_int_equal(party_send(&p, "x", nobody), 0);
    assert_int_equal(party_send(&p, "self", p.where), 0);
    party_expect(&p, loop, 1);
    assert_int_equal(p.count[PARTY_EXCEPTION], 0);
    party_close(loop);
}

static void without_exception_it_ends(void **state)
{
    for (int sends = 1; sends <= 2; sends++) { /* found by receiving, and by sending */
        rotor_loop *loop = party_loop();
        party p;
        char nobody[128];
        open_and_close(loop, "127.0.0.1:0", nobody);
        party_init(&p);
        p.protocol.exception = NULL;
        party_open(&p, loop, NULL, &(rotor_udp_options){.peer = nobody});
        for (int i = 0; i < sends; i++)
            assert_int_equal(party_send(&p, "x", NULL), 0);
        TURN_UNTIL(loop, rotor_loop_count(loop) == 0);
        assert_int_equal(p.count[PARTY_DROP], 1);
        assert_int_equal(party_errors, 1);
        assert_int_equal(party_last_error, UV_ECONNREFUSED);
        party_close(loop);
    }
}

static void a_unix_peer_that_has_gone_is_an_error(void **state)
{
    rotor_loop *loop = party_loop();
    party server, client;
    party_init(&server);
    party_init(&client);
    party_open(&server, loop, party_unix(1), NULL);
    party_open(&client, loop, NULL, &(rotor_udp_options){.peer = party_unix(1)});
    party_end(&server, loop);
    assert_int_equal(party_send(&client, "x", NULL), UV_ECONNREFUSED);
    assert_int_equal(party_send(&client, "x", NULL), UV_ENOTCONN);
    assert_int_equal(party_send(&client, "x", party_unix(1)), UV_ECONNREFUSED);
    sockets_turn(loop);
    assert_int_equal(client.count[PARTY_EXCEPTION], 0);
    party_close(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(datagrams_go_there_and_back),        TEST(unix_datagrams_go_there_and_back),
        TEST(a_sender_without_a_name_is_told),    TEST(names_of_peers_are_looked_up),
        TEST(others_than_the_peer_are_not_heard), TEST(sending_needs_an_address),
        TEST(a_datagram_of_no_bytes_is_one),      TEST(what_is_cut_tells_its_size),
        TEST(the_largest_arrives_whole),          TEST(that_nobody_listens_is_told),
        TEST(it_is_told_when_sending_finds_out),  TEST(a_socket_without_a_peer_is_not_told),
        TEST(without_exception_it_ends),          TEST(a_unix_peer_that_has_gone_is_an_error),
    };
    return cmocka_run_group_tests_name("datagram", tests, NULL, NULL);
}
