/* Listening on several addresses at once: all or none, and each in its turn; and IPv6 with IPv4. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../stream/address.h"
#include "greeter.h"
#include "sockets.h"
#include "support.h"

static const rotor_listen_options none = {0};

/* -- lists ------------------------------------------------------------------------------------- */

static void all_of_a_list_are_served(void **state)
{
    greeter g;
    char folder[] = "/tmp/rotor-test-XXXXXX", list[128], unix_address[80];
    struct stat info;
    int fds[4];
    assert_non_null(mkdtemp(folder));
    snprintf(unix_address, sizeof unix_address, "unix:%s/socket", folder);
    snprintf(list, sizeof list, "127.0.0.1:0,localhost:0,   0,%s", unix_address);
    greeter_begin(&g, list, none, 0);
    assert_int_equal(rotor_loop_count(g.st.loop), 1);
    assert_string_equal(greeter_where(&g, 3), unix_address);
    for (int i = 0; i < 4; i++) {
        assert_null(strstr(greeter_where(&g, i), ":0")); /* but the true port */
        fds[i] = greeter_visit(&g, greeter_where(&g, i));
    }

    assert_int_equal(rotor_end(g.st.loop, g.listener, 0), 0);
    stage_turn(&g.st);
    assert_int_equal(stat(unix_address + 5, &info), -1);
    for (int i = 0; i < 4; i++) {
        rotor_address address;
        rotor_host host;
        assert_int_equal(rotor_address_parse(greeter_where(&g, i), &address, &host), 0);
        int late = socket(address.any.sa_family, SOCK_STREAM, 0);
        assert_int_equal(connect(late, &address.any, address.len), -1);
        assert_int_equal(errno, i < 3 ? ECONNREFUSED : ENOENT);
        close(late);
        greeter_assert_echoes(&g, fds[i]);
        close(fds[i]);
    }
    greeter_end(&g);
    assert_int_equal(rmdir(folder), 0);
}

static void a_list_may_be_long(void **state)
{
    greeter g;
    char list[50 * 12] = "127.0.0.1:0";
    for (int i = 1; i < 40; i++)
        strcat(list, ",127.0.0.1:0");
    greeter_begin(&g, list, none, 0);
    for (int i = 39; i >= 0; i--)
        close(greeter_visit(&g, greeter_where(&g, i)));
    greeter_end(&g);
}

static void the_text_is_cut_to_its_room(void **state)
{
    greeter g;
    char text[256];
    snprintf(text, sizeof text, "0,unix:@rotor-test-%ld,0", (long)getpid());
    greeter_begin(&g, text, none, 0);
    for (size_t size = 1; size <= strlen(g.where) + 1; size++) {
        memset(text, '#', sizeof text);
        assert_int_equal(rotor_listener_address(g.st.loop, g.listener, text, size), 0);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, g.where, size - 1);
        assert_int_equal(text[size], '#');
    }
    assert_int_equal(rotor_listener_address(g.st.loop, g.listener, NULL, 0), 0);
    greeter_end(&g);
}

static void one_that_fails_is_named_and_takes_the_others_along(void **state)
{
    greeter busy;
    char folder[] = "/tmp/rotor-test-XXXXXX", file[80], bad[4][128];
    const int errors[4] = {UV_EADDRINUSE, UV_EADDRNOTAVAIL, ROTOR_EADDRESS, UV_EAI_NONAME};
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "unix:%s/socket", folder);
    greeter_begin(&busy, "127.0.0.1:0", none, 0);
    strcpy(bad[0], busy.where);
    strcpy(bad[1], "192.0.2.1:0");
    strcpy(bad[2], "127.0.0.1");
    strcpy(bad[3], "not..a.name:0");
    for (int i = 0; i < 4; i++) {
        char list[1600];
        for (int at = 0; at < 3; at++) {
            const char *first = at == 0 ? bad[i] : file, *second = at == 1 ? bad[i] : "0";
            snprintf(list, sizeof list, "%s, %s, %s", first, second, at == 2 ? bad[i] : "0");
            size_t wanted =
                (size_t[]){0, strlen(first) + 2, strlen(first) + strlen(second) + 4}[at];
            assert_int_equal(greeter_fails(list, none, errors[i]), wanted);
        }
    }
    assert_int_equal(rmdir(folder), 0); /* so the socket is gone */
    close(greeter_visit(&busy, busy.where));
    greeter_end(&busy);
}

static void nothing_between_commas_is_no_address(void **state)
{
    static const struct {
        const char *list;
        int failed;
    } cases[] = {{"", 0},      {",", 0},    {",0", 0},  {"0,", 2},     {"0,,0", 2},
                 {"0, ,0", 3}, {"0 ,0", 0}, {"0;0", 0}, {"0\n,0", 0},  {"0,\t0", 2},
                 {" 0", 0},    {"0,0 ", 2}, {"0, ", 3}, {"0,unix:", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int failed = greeter_fails(cases[i].list, none, ROTOR_EADDRESS);
        if (failed != cases[i].failed)
            fail_msg("\"%s\" fails at %d", cases[i].list, failed);
    }
}

static void the_same_twice_is_in_use(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX", list[160];
    assert_non_null(mkdtemp(folder));
    int n = snprintf(list, sizeof list, "unix:%s/socket,", folder);
    snprintf(list + n, sizeof list - (size_t)n, "unix:%s/socket", folder);
    assert_int_equal(greeter_fails(list, none, UV_EADDRINUSE), n);
    assert_int_equal(rmdir(folder), 0);
}

static void what_is_not_about_an_address_names_none(void **state)
{
    greeter g;
    greeter_prepare(&g, 1);
    assert_int_equal(greeter_listen(&g, "0", none), 0);
    rotor_handle listener = g.listener;
    assert_int_equal(greeter_listen(&g, "0,0", none), ROTOR_ECAPACITY);
    assert_null(g.failed);
    g.sc.protocol.create = NULL;
    assert_int_equal(greeter_listen(&g, "nonsense", none), UV_EINVAL);
    assert_null(g.failed);
    assert_non_null(rotor_find(g.st.loop, listener));
    greeter_end(&g);
}

static void listen_without_memory(void)
{
    script sc = SCRIPT({.then = rotor_intent_done()});
    rotor_loop *loop;
    rotor_handle handle;
    if (rotor_loop_new(&loop, NULL)) {
        assert_true(test_alloc_failed() > 0);
        return;
    }
    char list[64];
    snprintf(list, sizeof list, "0,unix:@rotor-test-%ld,localhost:0,0", (long)getpid());
    int descriptors = test_descriptors();
    int error =
        rotor_listen(loop, list, &sc.protocol, &(rotor_listen_options){.seed = &sc}, &handle);
    if (error) {
        assert_int_equal(error, UV_ENOMEM);
        assert_true(test_alloc_failed() > 0);
        assert_int_equal(test_descriptors(), descriptors);
    } else {
        assert_int_equal(test_descriptors(), descriptors + 4);
    }
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void memory_may_be_short(void **state)
{
    test_out_of_memory(listen_without_memory);
}

/* -- turns ------------------------------------------------------------------------------------- */

static void a_busy_address_leaves_the_others_their_turn(void **state)
{
    enum { MANY = 100 };
    greeter g;
    int fds[MANY];
    greeter_begin(&g, "0,0,0", none, 0);
    for (int i = 0; i < MANY; i++)
        fds[i] = sockets_connect(greeter_where(&g, 1));
    int first = sockets_connect(greeter_where(&g, 0)), last = sockets_connect(greeter_where(&g, 2));
    rotor_loop_turn(g.st.loop);
    assert_int_equal(g.sc.creates, 64 + 2);
    sockets_expect(g.st.loop, first, "hi\n");
    sockets_expect(g.st.loop, last, "hi\n");
    for (int i = 0; i < MANY; i++) {
        sockets_expect(g.st.loop, fds[i], "hi\n");
        close(fds[i]);
    }
    close(first);
    close(last);
    greeter_end(&g);
}

/* -- IPv6 -------------------------------------------------------------------------------------- */

/* On the wildcard address of IPv6; false: this machine has no IPv6, which only "[::1]" tells. */
static bool begin_on_ipv6(greeter *g, bool only)
{
    greeter_prepare(g, 0);
    int error = greeter_listen(g, "[::]:0,[::1]:0", (rotor_listen_options){.ipv6_only = only});
    if (error) {
        assert_true(error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT);
        assert_int_equal(rotor_loop_free(g->st.loop), 0);
        return false;
    }
    assert_int_equal(rotor_listener_address(g->st.loop, g->listener, g->where, sizeof g->where), 0);
    return true;
}

/* `host` with the port of `where`. */
static const char *with_port(const char *host, const char *where)
{
    static char text[64];
    snprintf(text, sizeof text, "%s%s", host, strrchr(where, ':'));
    return text;
}

static void ipv6_is_for_ipv4_too(void **state)
{
    greeter g;
    char peer[64] = "";
    if (!begin_on_ipv6(&g, false))
        skip();
    const char *where = greeter_where(&g, 0);
    close(greeter_visit(&g, with_port("[::1]", where)));
    TURN_UNTIL(g.st.loop, g.sc.drops == 1);
    int fd = greeter_visit(&g, with_port("127.0.0.1", where));
    assert_int_equal(rotor_stream_peer(g.sc.stream, peer, sizeof peer), 0);
    assert_non_null(strstr(peer, "[::ffff:127.0.0.1]:"));
    close(fd);
    assert_int_equal(greeter_fails(with_port("127.0.0.1", where), none, UV_EADDRINUSE), 0);
    greeter_end(&g);
}

static void ipv6_only_is_for_ipv6_only(void **state)
{
    greeter g;
    rotor_address address;
    rotor_host host;
    if (!begin_on_ipv6(&g, true))
        skip();
    const char *where = greeter_where(&g, 0);
    close(greeter_visit(&g, with_port("[::1]", where)));
    assert_int_equal(rotor_address_parse(with_port("127.0.0.1", where), &address, &host), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, &address.any, address.len), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    greeter_end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_a_list_are_served),
        TEST(a_list_may_be_long),
        TEST(the_text_is_cut_to_its_room),
        TEST(one_that_fails_is_named_and_takes_the_others_along),
        TEST(nothing_between_commas_is_no_address),
        TEST(the_same_twice_is_in_use),
        TEST(what_is_not_about_an_address_names_none),
        TEST(memory_may_be_short),
        TEST(a_busy_address_leaves_the_others_their_turn),
        TEST(ipv6_is_for_ipv4_too),
        TEST(ipv6_only_is_for_ipv6_only),
    };
    return cmocka_run_group_tests_name("listen_list", tests, NULL, NULL);
}
