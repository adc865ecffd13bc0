/* Addresses: what is one, what is a name, what is neither, and back to text. */
#include "test.h"

#include <net/if.h>
#include <netinet/in.h>

#include "../stream/address.h"

static void good_addresses_are_read(void **state)
{
    static const struct {
        const char *text;
        int family;
        const char *formatted; /* NULL: as `text` */
    } cases[] = {
        {"127.0.0.1:80", AF_INET, NULL},
        {"0.0.0.0:0", AF_INET, NULL},
        {"255.255.255.255:65535", AF_INET, NULL},
        {"80", AF_INET, "127.0.0.1:80"},
        {":80", AF_INET, "127.0.0.1:80"},
        {"0", AF_INET, "127.0.0.1:0"},
        {"65535", AF_INET, "127.0.0.1:65535"},
        {"00080", AF_INET, "127.0.0.1:80"},
        {"[::1]:80", AF_INET6, NULL},
        {"[::]:0", AF_INET6, NULL},
        {"[2001:db8::1:2]:443", AF_INET6, NULL},
        {"[2001:0DB8:0:0::0001]:443", AF_INET6, "[2001:db8::1]:443"},
        {"[::ffff:127.0.0.1]:80", AF_INET6, NULL},
        {"[fe80::1%lo]:80", AF_INET6, NULL},
        {"unix:/run/rotor.sock", AF_UNIX, NULL},
        {"unix:relative", AF_UNIX, NULL},
        {"unix:/with:colon:80", AF_UNIX, NULL},
        {"unix:80", AF_UNIX, NULL},
        {"unix:@abstract", AF_UNIX, NULL},
        {"unix:@/like/a/path", AF_UNIX, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rotor_address address, again;
        rotor_host host;
        char text[128];
        const char *formatted = cases[i].formatted ? cases[i].formatted : cases[i].text;
        if (rotor_address_parse(cases[i].text, &address, &host))
            fail_msg("%s is refused", cases[i].text);
        assert_int_equal(address.any.sa_family, cases[i].family);
        assert_int_equal(rotor_address_format(&address, text, sizeof text), 0);
        assert_string_equal(text, formatted);
        assert_int_equal(rotor_address_parse(text, &again, &host), 0);
        assert_int_equal(again.len, address.len);
        assert_memory_equal(&again.storage, &address.storage, address.len);
    }
}

static void ports_and_zones_are_where_they_belong(void **state)
{
    rotor_address address;
    rotor_host host;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address.storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address.storage;
    assert_int_equal(rotor_address_parse("1.2.3.4:258", &address, &host), 0);
    assert_int_equal(address.len, sizeof *in);
    assert_int_equal(in->sin_port, htons(258));
    assert_int_equal(in->sin_addr.s_addr, htonl(0x01020304));
    assert_int_equal(rotor_address_parse("[fe80::1%lo]:258", &address, &host), 0);
    assert_int_equal(address.len, sizeof *in6);
    assert_int_equal(in6->sin6_port, htons(258));
    assert_int_equal(in6->sin6_scope_id, if_nametoindex("lo"));
    assert_int_equal(in6->sin6_addr.s6_addr[0], 0xfe);
}

static void names_are_to_be_looked_up(void **state)
{
    static const struct {
        const char *text, *name, *port;
    } cases[] = {
        {"localhost:80", "localhost", "80"},
        {"example.com:0", "example.com", "0"},
        {"a:65535", "a", "65535"},
        {"1e100.net:443", "1e100.net", "443"},
        {"1.2.3.4.example:1", "1.2.3.4.example", "1"},
        {"UNIX:80", "UNIX", "80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rotor_address address;
        rotor_host host;
        if (rotor_address_parse(cases[i].text, &address, &host) != 1)
            fail_msg("%s is not a name", cases[i].text);
        assert_string_equal(host.name, cases[i].name);
        assert_string_equal(host.port, cases[i].port);
    }
}

static void bad_addresses_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        ":",
        "::",
        "host",
        "host:",
        "host:http",
        "host:80 ",
        "host: 80",
        " 80",
        "80 ",
        "+80",
        "-1",
        "0x50",
        "65536",
        ":65536",
        "127.0.0.1:65536",
        "127.0.0.1:99999999999999999999",
        "000080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:80:80",
        "256.0.0.1:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "1234:80",
        ".:80",
        "::1:80",
        "::1",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[::1:80",
        "[]:80",
        "[:80",
        "]:80",
        "[::1]]:80",
        "[[::1]]:80",
        "[::g]:80",
        "[127.0.0.1]:80",
        "[localhost]:80",
        "[::1]:65536",
        "unix:",
        "unix:@",
        "unix",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rotor_address address;
        rotor_host host;
        int result = rotor_address_parse(cases[i], &address, &host);
        if (result != ROTOR_EADDRESS)
            fail_msg("\"%s\" gives %d", cases[i], result);
    }
}

static void parse_padded(const char *prefix, size_t pad, const char *suffix, int wanted)
{
    rotor_address address;
    rotor_host host;
    char text[600];
    size_t at = strlen(prefix);
    assert_true(at + pad + strlen(suffix) < sizeof text);
    memcpy(text, prefix, at);
    memset(text + at, 'x', pad);
    memcpy(text + at + pad, suffix, strlen(suffix) + 1);
    assert_int_equal(rotor_address_parse(text, &address, &host), wanted);
    if (wanted == 0) {
        char formatted[600];
        assert_int_equal(rotor_address_format(&address, formatted, sizeof formatted), 0);
        assert_string_equal(formatted, text);
    }
}

static void lengths_have_their_limits(void **state)
{
    parse_padded("", 255, ":80", 1);
    parse_padded("", 256, ":80", ROTOR_EADDRESS);
    parse_padded("[", 255, "]:80", ROTOR_EADDRESS);
    parse_padded("[", 500, "]:80", ROTOR_EADDRESS);
    parse_padded("unix:/", 106, "", 0);
    parse_padded("unix:/", 107, "", ROTOR_EADDRESS);
    parse_padded("unix:@", 106, "", 0);
    parse_padded("unix:@", 107, "", ROTOR_EADDRESS);
}

static void lists_are_split_at_commas(void **state)
{
    static const struct {
        const char *list, *parts[4];
    } cases[] = {
        {"127.0.0.1:80", {"127.0.0.1:80"}},
        {"80,[::1]:80,unix:/x", {"80", "[::1]:80", "unix:/x"}},
        {"80, 81,  82", {"80", "81", "82"}},
        {"", {""}},
        {",", {"", ""}},
        {"80,", {"80", ""}},
        {"80, ", {"80", ""}},
        {" 80 ,81 ", {" 80 ", "81 "}},
        {"80,\t81", {"80", "\t81"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *rest = cases[i].list;
        char part[32];
        int n = 0;
        for (; rest; n++) {
            rest = rotor_address_split(rest, part, sizeof part);
            assert_non_null(cases[i].parts[n]);
            assert_string_equal(part, cases[i].parts[n]);
        }
        assert_null(cases[i].parts[n]);
    }
}

static void parts_are_cut_to_their_room(void **state)
{
    const char *list = "127.0.0.1:80,81";
    for (size_t size = 1; size <= 13; size++) {
        char part[16];
        memset(part, '#', sizeof part);
        assert_ptr_equal(rotor_address_split(list, part, size), list + 13);
        assert_int_equal(strlen(part), size - 1);
        assert_memory_equal(part, list, size - 1);
        assert_int_equal(part[size], '#');
    }
}

/* Any prefix of it that fills the room for an address is none, like itself. */
static void nothing_becomes_an_address_by_being_cut(void **state)
{
    static const char *const beginnings[] = {"",       "1",      "[",  "[::1%",
                                             "unix:/", "unix:@", "a:", "80:"};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        rotor_address address;
        rotor_host host;
        char text[2 * ROTOR_ADDRESS_SIZE], cut[ROTOR_ADDRESS_SIZE];
        memset(text, beginnings[i][0] == '1' ? '1' : 'x', sizeof text);
        memcpy(text, beginnings[i], strlen(beginnings[i]));
        strcpy(text + sizeof text - 4, ":80");
        assert_null(rotor_address_split(text, cut, sizeof cut));
        assert_int_equal(rotor_address_parse(cut, &address, &host), ROTOR_EADDRESS);
        /* Also with its port where the cut is. */
        strcpy(text + sizeof cut - 4, ":80");
        assert_int_equal(rotor_address_parse(text, &address, &host), ROTOR_EADDRESS);
    }
}

static void text_is_cut_to_its_room(void **state)
{
    static const char *const cases[] = {"127.0.0.1:80", "[::1]:80", "unix:/tmp/x", "unix:@tmp"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rotor_address address;
        rotor_host host;
        assert_int_equal(rotor_address_parse(cases[i], &address, &host), 0);
        for (size_t size = 1; size <= strlen(cases[i]) + 1; size++) {
            char text[32];
            memset(text, '#', sizeof text);
            assert_int_equal(rotor_address_format(&address, text, size), 0);
            assert_int_equal(strlen(text), size - 1);
            assert_memory_equal(text, cases[i], size - 1);
            assert_int_equal(text[size], '#');
        }
        assert_int_equal(rotor_address_format(&address, NULL, 0), 0);
    }
}

static void what_the_system_gives_is_formatted(void **state)
{
    char text[128];
    rotor_address address = {.len = sizeof(sa_family_t)};
    address.any.sa_family = AF_UNIX;
    assert_int_equal(rotor_address_format(&address, text, sizeof text), 0);
    assert_string_equal(text, "unix:");
    /* Without the final NUL, as a path of the full length has none. */
    memset(address.un.sun_path, 'p', sizeof address.un.sun_path);
    address.len = sizeof address.un;
    assert_int_equal(rotor_address_format(&address, text, sizeof text), 0);
    assert_int_equal(strlen(text), 5 + sizeof address.un.sun_path);
    address.any.sa_family = AF_UNSPEC;
    assert_int_equal(rotor_address_format(&address, text, sizeof text), UV_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_read),
        cmocka_unit_test(ports_and_zones_are_where_they_belong),
        cmocka_unit_test(names_are_to_be_looked_up),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(lengths_have_their_limits),
        cmocka_unit_test(lists_are_split_at_commas),
        cmocka_unit_test(parts_are_cut_to_their_room),
        cmocka_unit_test(nothing_becomes_an_address_by_being_cut),
        cmocka_unit_test(text_is_cut_to_its_room),
        cmocka_unit_test(what_the_system_gives_is_formatted),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
