/* Opening datagram sockets: addresses, options, and multicast groups. */
#include "test.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include "party.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

/* -- where ------------------------------------------------------------------------------------- */

static void bad_addresses_are_errors(void **state)
{
    static const struct {
        const char *address, *peer;
        int error;
    } cases[] = {{"", NULL, ROTOR_EADDRESS},
                 {"127.0.0.1", NULL, ROTOR_EADDRESS},
                 {"127.0.0.1:65536", NULL, ROTOR_EADDRESS},
                 {"unix:", NULL, ROTOR_EADDRESS},
                 {NULL, "", ROTOR_EADDRESS},
                 {"127.0.0.1:0", "1.2.3.4.5:6", ROTOR_EADDRESS},
                 {"192.0.2.77:0", NULL, UV_EADDRNOTAVAIL},
                 {"unix:/no/such/folder/socket", NULL, UV_ENOENT},
                 {NULL, "unix:/no/such/folder/socket", UV_ENOENT},
                 {"not..a.name:0", NULL, UV_EAI_NONAME},
                 {"127.0.0.1:0", "not..a.name:1", UV_EAI_NONAME},
                 {"127.0.0.1:0", "[::1]:1", UV_EAFNOSUPPORT},
                 {"localhost:0", "unix:@nobody", UV_EINVAL}};
    rotor_loop *loop = party_loop();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        party p;
        party_init(&p);
        assert_int_equal(
            party_try(&p, loop, cases[i].address, &(rotor_udp_options){.peer = cases[i].peer}),
            cases[i].error);
        assert_int_equal(p.self.generation, 0);
        assert_int_equal(p.count[PARTY_CREATE], 0);
        assert_int_equal(p.released, 0);
    }
    assert_int_equal(rotor_loop_count(loop), 0);
    party_close(loop);
}

static void bad_protocols_are_errors(void **state)
{
    rotor_loop *loop = party_loop();
    rotor_datagram_protocol none = {.name = "none", .size = sizeof(rotor_datagram)};
    rotor_datagram_protocol small = party_protocol;
    small.size = sizeof(rotor_datagram) - 1;
    assert_int_equal(rotor_udp(loop, "0", &none, NULL, NULL), UV_EINVAL);
    assert_int_equal(rotor_udp(loop, "0", &small, NULL, NULL), UV_EINVAL);
    party_close(loop);
}

static rotor_response only_ok(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    assert_null(seed);
    return rotor_ok();
}

static void all_options_have_defaults(void **state)
{
    rotor_loop *loop = party_loop();
    rotor_datagram_protocol least = {
        .name = "least", .size = sizeof(rotor_datagram), .create = only_ok};
    rotor_handle handle;
    char text[64];
    assert_int_equal(rotor_udp(loop, NULL, &least, NULL, &handle), 0);
    assert_int_equal(rotor_udp(loop, "0", &least, NULL, NULL), 0);
    rotor_datagram *d = (rotor_datagram *)rotor_find(loop, handle);
    assert_ptr_equal(d->machine.type, &rotor_datagram_type);
    assert_string_equal(rotor_machine_name(&d->machine), "least");
    assert_int_equal(rotor_datagram_local(d, text, sizeof text), 0);
    assert_int_equal(strncmp(text, "0.0.0.0:", 8), 0);
    assert_string_not_equal(text, "0.0.0.0:0"); /* it has a port */
    assert_int_equal(rotor_loop_count(loop), 2);
    party_close(loop);
}

static void an_address_in_use_is_an_error(void **state)
{
    rotor_loop *loop = party_loop();
    char folder[] = "/tmp/rotor-test-XXXXXX", path[80];
    struct stat info;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "unix:%s/socket", folder);
    const char *const addresses[] = {"127.0.0.1:0", path, party_unix(0)};
    for (int i = 0; i < 3; i++) {
        party first, second;
        party_init(&first);
        party_init(&second);
        party_open(&first, loop, addresses[i], NULL);
        assert_int_equal(party_try(&second, loop, first.where, NULL), UV_EADDRINUSE);
        if (i == 1) /* the file of the first stays */
            assert_int_equal(stat(path + strlen("unix:"), &info), 0);
        party_end(&first, loop);
    }
    party_close(loop);
    assert_int_equal(rmdir(folder), 0);
}

/* As after a program that was killed. */
static void a_stale_file_is_no_obstacle(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    rotor_address address;
    rotor_host host;
    char folder[] = "/tmp/rotor-test-XXXXXX", path[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "unix:%s/socket", folder);
    assert_int_equal(rotor_address_parse(path, &address, &host), 0);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, &address.any, address.len), 0);
    close(fd);
    party_init(&p);
    party_open(&p, loop, path, NULL);
    assert_int_equal(party_send(&p, "to itself", path), 0);
    party_expect(&p, loop, 1);
    party_close(loop);

    loop = party_loop(); /* but what is none of ours is */
    const char *name = path + strlen("unix:");
    fclose(fopen(name, "w"));
    party_init(&p);
    assert_int_equal(party_try(&p, loop, path, NULL), UV_EADDRINUSE);
    assert_int_equal(unlink(name), 0);
    party_close(loop);
    assert_int_equal(rmdir(folder), 0);
}

static void a_file_that_took_its_place_is_left_alone(void **state)
{
    rotor_loop *loop = party_loop();
    party first, second;
    char folder[] = "/tmp/rotor-test-XXXXXX", path[80];
    struct stat info;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "unix:%s/socket", folder);
    const char *name = path + strlen("unix:");
    party_init(&first);
    party_init(&second);
    party_open(&first, loop, path, NULL);
    assert_int_equal(unlink(name), 0);
    party_open(&second, loop, path, NULL);
    party_end(&first, loop);
    assert_int_equal(stat(name, &info), 0);
    party_end(&second, loop);
    assert_int_not_equal(stat(name, &info), 0);
    party_close(loop);
    assert_int_equal(rmdir(folder), 0);
}

static rotor_response open_now(probe *p, rotor_scope *scope)
{
    party *guest = p->plan->context;
    assert_int_equal(party_try(guest, scope->loop, "127.0.0.1:0", NULL), 0);
    assert_int_equal(guest->count[PARTY_CREATE], 0); /* but it can be used */
    rotor_datagram *d = (rotor_datagram *)rotor_find(scope->loop, guest->self);
    assert_int_equal(rotor_datagram_local(d, guest->where, sizeof guest->where), 0);
    guest->d = d;
    assert_int_equal(party_send(guest, "to itself", guest->where), 0);
    return rotor_done();
}

static void a_transition_may_open(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    probe_plan plan = {.name = "p", .context = &p, .on = {[WAKEUP] = open_now}};
    party_init(&p);
    probe_reset();
    probe_add(loop, &plan);
    assert_int_equal(rotor_wake(loop, plan.self), 0);
    TURN_UNTIL(loop, p.count[PARTY_CREATE] == 1);
    assert_int_equal(p.released, 1);
    party_expect(&p, loop, 1);
    assert_string_equal(p.log, "to itself ");
    party_close(loop);
}

/* -- options ----------------------------------------------------------------------------------- */

static int option_of(const party *p, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(p->d->io.fd, level, name, &value, &len), 0);
    return value;
}

static void options_are_set(void **state)
{
    static const struct {
        rotor_udp_options options;
        int level, name, without, with;
    } cases[] = {
        {{.broadcast = true}, SOL_SOCKET, SO_BROADCAST, 0, 1},
        {{.reuse_address = true}, SOL_SOCKET, SO_REUSEADDR, 0, 1},
        {{.reuse_port = true}, SOL_SOCKET, SO_REUSEPORT, 0, 1},
        {{.multicast_ttl = 7}, IPPROTO_IP, IP_MULTICAST_TTL, 1, 7},
        {{.no_multicast_loop = true}, IPPROTO_IP, IP_MULTICAST_LOOP, 1, 0},
        {{.receive_buffer = 8192}, SOL_SOCKET, SO_RCVBUF, -1, 2 * 8192}, /* Linux doubles it */
        {{.send_buffer = 8192}, SOL_SOCKET, SO_SNDBUF, -1, 2 * 8192},
    };
    rotor_loop *loop = party_loop();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        party without, with;
        party_init(&without);
        party_init(&with);
        party_open(&without, loop, "127.0.0.1:0", NULL);
        party_open(&with, loop, "127.0.0.1:0", &cases[i].options);
        if (cases[i].without >= 0)
            assert_int_equal(option_of(&without, cases[i].level, cases[i].name), cases[i].without);
        assert_int_equal(option_of(&with, cases[i].level, cases[i].name), cases[i].with);
        party_end(&without, loop);
        party_end(&with, loop);
    }
    party_close(loop);
}

static void options_of_ipv6_are_set(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    rotor_udp_options options = {.ipv6_only = true,
                                 .multicast_ttl = 7,
                                 .multicast_interface = "::1",
                                 .no_multicast_loop = true};
    party_init(&p);
    int error = party_try(&p, loop, "[::1]:0", &options);
    if (error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT || error == UV_ENODEV) {
        party_close(loop);
        print_message("skipped: this machine has no IPv6\n");
        skip();
    }
    assert_int_equal(error, 0);
    assert_int_equal(option_of(&p, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_int_equal(option_of(&p, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 7);
    assert_int_equal(option_of(&p, IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0);
    assert_int_not_equal(option_of(&p, IPPROTO_IPV6, IPV6_MULTICAST_IF), 0);
    party_close(loop);
}

/* Of another family than the socket's, which may be a name's. */
static void options_of_another_family_are_nothing(void **state)
{
    rotor_loop *loop = party_loop();
    party udp, local;
    rotor_udp_options options = {.ipv6_only = true, .multicast_ttl = 7, .no_multicast_loop = true};
    party_init(&udp);
    party_init(&local);
    party_open(&udp, loop, "127.0.0.1:0", &options);
    options.multicast_interface = "no such interface";
    party_open(&local, loop, party_unix(0), &options);
    party_close(loop);
}

static void options_that_cannot_be_are_errors(void **state)
{
    rotor_loop *loop = party_loop();
    party p;
    party_init(&p);
    size_t most = 65536;
    rotor_udp_options options = {.max = most + 1};
    assert_int_equal(party_try(&p, loop, "0", &options), UV_EINVAL);
    options = (rotor_udp_options){.multicast_interface = "192.0.2.77"};
    assert_int_equal(party_try(&p, loop, "0", &options), UV_ENODEV);
    options.multicast_interface = "no such interface";
    assert_int_equal(party_try(&p, loop, "0", &options), UV_ENODEV);
    options = (rotor_udp_options){.max = most};
    assert_int_equal(party_try(&p, loop, "0", &options), 0);
    assert_int_equal(p.count[PARTY_CREATE], 1);
    party_close(loop);
}

static void a_port_may_be_shared(void **state)
{
    rotor_loop *loop = party_loop();
    rotor_udp_options share = {.reuse_port = true};
    party first, second;
    party_init(&first);
    party_init(&second);
    party_open(&first, loop, "127.0.0.1:0", &share);
    party_open(&second, loop, first.where, &share);
    assert_string_equal(second.where, first.where);
    for (int i = 1; i <= 20; i++) { /* each goes to one of them */
        party sender;
        party_init(&sender);
        party_open(&sender, loop, NULL, NULL);
        assert_int_equal(party_send(&sender, "x", first.where), 0);
        TURN_UNTIL(loop, first.count[PARTY_DATAGRAM] + second.count[PARTY_DATAGRAM] == i);
        party_end(&sender, loop);
    }
    party_close(loop);
}

/* -- multicast --------------------------------------------------------------------------------- */

/* A group, with the port of `where`. */
static const char *at(const char *group, const char *where)
{
    static char text[128];
    bool v6 = strchr(group, ':');
    snprintf(text, sizeof text, v6 ? "[%s]%s" : "%s%s", group, strrchr(where, ':'));
    return text;
}

/* Two members of one port, of which one joins two groups, and one who plays for them. */
static void play(rotor_loop *loop, const char *any, const char *group, const char *other_group,
                 const char *interface)
{
    rotor_udp_options share = {.reuse_address = true};
    party member, other, player;
    party_init(&member);
    party_init(&other);
    party_init(&player);
    party_open(&member, loop, any, &share);
    party_open(&other, loop, member.where, &share);
    party_open(&player, loop, any, &(rotor_udp_options){.multicast_interface = interface});
    assert_int_equal(rotor_datagram_join(member.d, group, interface), 0);
    assert_int_equal(rotor_datagram_join(member.d, group, interface), UV_EADDRINUSE);
    assert_int_equal(rotor_datagram_join(other.d, group, interface), 0);
    assert_int_equal(rotor_datagram_join(other.d, other_group, interface), 0);

    assert_int_equal(party_send(&player, "all", at(group, member.where)), 0);
    assert_int_equal(party_send(&player, "other", at(other_group, member.where)), 0);
    party_expect(&other, loop, 2);
    assert_string_equal(other.log, "all other ");
    assert_string_equal(member.log, "all "); /* though somebody on its port has joined */

    assert_int_equal(rotor_datagram_leave(member.d, group, interface), 0);
    assert_int_equal(rotor_datagram_leave(member.d, group, interface), UV_EADDRNOTAVAIL);
    assert_int_equal(party_send(&player, "left", at(group, member.where)), 0);
    party_expect(&other, loop, 3);
    assert_string_equal(member.log, "all ");
    party_end(&member, loop);
    party_end(&other, loop);
    party_end(&player, loop);
}

static void groups_are_joined_and_left(void **state)
{
    rotor_loop *loop = party_loop();
    play(loop, "0.0.0.0:0", "239.255.77.1", "239.255.77.2", "lo");
    play(loop, "0.0.0.0:0", "239.255.77.1", "239.255.77.2", "127.0.0.1");
    party_close(loop);
}

/* Linux has no way to IPv6 groups by the loopback. But those of ff11:: never leave the machine (RFC 4291
** section 2.7), whatever the interface. */
typedef struct interface {
    char name[IF_NAMESIZE], address[INET6_ADDRSTRLEN];
} interface;

static interface find_interface_or_skip(void)
{
    interface found = {"", ""};
    struct ifaddrs *all;
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *one = all; one && !found.name[0]; one = one->ifa_next) {
        unsigned wanted = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
        if ((one->ifa_flags & wanted) != wanted || !one->ifa_addr ||
            one->ifa_addr->sa_family != AF_INET6)
            continue;
        snprintf(found.name, sizeof found.name, "%s", one->ifa_name);
        (void)uv_ip6_name((const struct sockaddr_in6 *)one->ifa_addr, found.address,
                          sizeof found.address);
    }
    freeifaddrs(all);
    if (!found.name[0]) {
        print_message("skipped: no interface is up that has IPv6 and multicast\n");
        skip();
    }
    return found;
}

static void groups_of_ipv6_are_joined_and_left(void **state)
{
    interface i = find_interface_or_skip();
    char group[64];
    rotor_loop *loop = party_loop();
    play(loop, "[::]:0", "ff11::7:1", "ff11::7:2", i.name);
    play(loop, "[::]:0", "ff11::7:1", "ff11::7:2", i.address);
    party p;
    party_init(&p);
    party_open(&p, loop, "[::]:0", NULL);
    snprintf(group, sizeof group, "ff11::7:1%%%s", i.name);
    assert_int_equal(rotor_datagram_join(p.d, group, NULL), 0);
    assert_int_equal(rotor_datagram_leave(p.d, "ff11::7:1", i.name), 0);
    party_close(loop);
}

static void what_one_sends_need_not_come_back(void **state)
{
    interface i = find_interface_or_skip();
    rotor_loop *loop = party_loop();
    for (int quiet = 0; quiet <= 1; quiet++) {
        party member, player;
        party_init(&member);
        party_init(&player);
        party_open(&member, loop, "[::]:0", NULL);
        party_open(&player, loop, "[::]:0",
                   &(rotor_udp_options){.multicast_interface = i.name, .no_multicast_loop = quiet});
        assert_int_equal(rotor_datagram_join(member.d, "ff11::7:1", i.name), 0);
        assert_int_equal(party_send(&player, "heard", at("ff11::7:1", member.where)), 0);
        assert_int_equal(party_send(&player, "last", at("::1", member.where)), 0);
        party_expect(&member, loop, quiet ? 1 : 2);
        assert_string_equal(member.log, quiet ? "last " : "heard last ");
        party_end(&member, loop);
        party_end(&player, loop);
    }
    party_close(loop);
}

static void groups_that_cannot_be_are_errors(void **state)
{
    static const struct {
        const char *group, *interface;
        int error;
    } cases[] = {{"not a group", "lo", UV_EINVAL},     {"", NULL, UV_EINVAL},
                 {"127.0.0.1", "lo", UV_EINVAL},       {"239.255.77.1", "nowhere", UV_ENODEV},
                 {"239.255.77.1", "", UV_ENODEV},      {"239.255.77.1", "192.0.2.77", UV_ENODEV},
                 {"239.255.77.1:80", "lo", UV_EINVAL}, {"ff11::7:1", "127.0.0.1", UV_ENOPROTOOPT}};
    rotor_loop *loop = party_loop();
    party p, local;
    party_init(&p);
    party_init(&local);
    party_open(&p, loop, "0.0.0.0:0", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(rotor_datagram_join(p.d, cases[i].group, cases[i].interface),
                         cases[i].error);
        assert_true(rotor_datagram_leave(p.d, cases[i].group, cases[i].interface) < 0);
    }
    party_open(&local, loop, party_unix(0), NULL);
    assert_true(rotor_datagram_join(local.d, "239.255.77.1", NULL) < 0);
    party_close(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_addresses_are_errors),
        TEST(bad_protocols_are_errors),
        TEST(all_options_have_defaults),
        TEST(an_address_in_use_is_an_error),
        TEST(a_stale_file_is_no_obstacle),
        TEST(a_file_that_took_its_place_is_left_alone),
        TEST(a_transition_may_open),
        TEST(options_are_set),
        TEST(options_of_ipv6_are_set),
        TEST(options_of_another_family_are_nothing),
        TEST(options_that_cannot_be_are_errors),
        TEST(a_port_may_be_shared),
        TEST(groups_are_joined_and_left),
        TEST(groups_of_ipv6_are_joined_and_left),
        TEST(what_one_sends_need_not_come_back),
        TEST(groups_that_cannot_be_are_errors),
    };
    return cmocka_run_group_tests_name("datagram open", tests, NULL, NULL);
}
