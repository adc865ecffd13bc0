/* Listening on real sockets. The clients are sockets of the same thread. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../stream/address.h"
#include "greeter.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

/* -- where ------------------------------------------------------------------------------------- */

static void tcp_is_served(void **state)
{
    static const char *const addresses[] = {
        "127.0.0.1:0", "0", ":0", "[::1]:0", "localhost:0", "two.test:0", "elsewhere.test:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        greeter f;
        greeter_prepare(&f, 0);
        int error = greeter_listen(&f, addresses[i], (rotor_listen_options){0});
        if (strcmp(addresses[i], "[::1]:0") == 0 && error == UV_EADDRNOTAVAIL) {
            assert_int_equal(rotor_loop_free(f.st.loop), 0);
            continue; /* this machine has no IPv6 */
        }
        assert_int_equal(error, 0);
        assert_int_equal(rotor_listener_address(f.st.loop, f.listener, f.where, sizeof f.where), 0);
        assert_non_null(strrchr(f.where, ':'));
        assert_string_not_equal(strrchr(f.where, ':'), ":0");
        int fd = greeter_visit(&f, f.where);
        greeter_assert_echoes(&f, fd);
        close(fd);
        greeter_end(&f);
    }
}

static void ends_are_told_as_text(void **state)
{
    greeter f;
    char local[64], peer[64], own[64];
    rotor_address address = {.len = sizeof address.storage};
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    int fd = greeter_visit(&f, f.where);
    assert_int_equal(rotor_stream_local(f.sc.stream, local, sizeof local), 0);
    assert_string_equal(local, f.where);
    assert_int_equal(getsockname(fd, &address.any, &address.len), 0);
    assert_int_equal(rotor_address_format(&address, own, sizeof own), 0);
    assert_int_equal(rotor_stream_peer(f.sc.stream, peer, sizeof peer), 0);
    assert_string_equal(peer, own);
    close(fd);
    greeter_end(&f);
}

static void unix_sockets_are_served(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX", path[64], address[80];
    struct stat info;
    greeter f;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    greeter_begin(&f, address, (rotor_listen_options){0}, 0);
    assert_string_equal(f.where, address);
    int fd = greeter_visit(&f, address);
    char peer[64];
    assert_int_equal(rotor_stream_peer(f.sc.stream, peer, sizeof peer), 0);
    assert_string_equal(peer, "unix:");
    assert_int_equal(rotor_stream_local(f.sc.stream, peer, sizeof peer), 0);
    assert_string_equal(peer, address);

    assert_int_equal(rotor_end(f.st.loop, f.listener, 0), 0);
    stage_turn(&f.st);
    assert_int_equal(stat(path, &info), -1); /* it goes with the listener */
    greeter_assert_echoes(&f, fd);
    close(fd);
    greeter_end(&f);
    assert_int_equal(rmdir(folder), 0);
}

static void abstract_sockets_are_served(void **state)
{
    greeter f;
    char address[64];
    snprintf(address, sizeof address, "unix:@rotor-test-%ld", (long)getpid());
    greeter_begin(&f, address, (rotor_listen_options){0}, 0);
    assert_string_equal(f.where, address);
    int fd = greeter_visit(&f, address);
    close(fd);
    greeter_end(&f);
}

static void a_port_in_use_is_an_error(void **state)
{
    greeter f;
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    assert_int_equal(greeter_fails(f.where, (rotor_listen_options){0}, UV_EADDRINUSE), 0);
    greeter_end(&f);
}

static void bad_addresses_are_errors(void **state)
{
    static const struct {
        const char *address;
        int error;
    } cases[] = {{"", ROTOR_EADDRESS},
                 {"127.0.0.1", ROTOR_EADDRESS},
                 {"127.0.0.1:65536", ROTOR_EADDRESS},
                 {"unix:", ROTOR_EADDRESS},
                 {"192.0.2.1:0", UV_EADDRNOTAVAIL},
                 {"unix:/no/such/folder/socket", UV_ENOENT},
                 {"not..a.name:0", UV_EAI_NONAME}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(greeter_fails(cases[i].address, (rotor_listen_options){0}, cases[i].error),
                         0);
}

static void a_port_may_be_shared(void **state)
{
    greeter f, other;
    rotor_listen_options share = {.reuse_port = true};
    greeter_begin(&f, "127.0.0.1:0", share, 0);
    greeter_begin(&other, f.where, share, 0);
    assert_string_equal(f.where, other.where);
    for (int i = 0; i < 20; i++) {
        int fd = sockets_connect(f.where);
        TURN_UNTIL(f.st.loop,
                   (sockets_turn(other.st.loop), f.sc.creates + other.sc.creates == i + 1));
        close(fd);
    }
    greeter_end(&f);
    greeter_end(&other);
}

/* -- options ----------------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void small_packets_are_not_delayed_unless_asked(void **state)
{
    for (int delay = 0; delay <= 1; delay++) {
        greeter f;
        greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){.delay = delay}, 0);
        int fd = greeter_visit(&f, f.where);
        assert_int_equal(option(f.sc.stream->io.fd, IPPROTO_TCP, TCP_NODELAY), !delay);
        assert_true(fcntl(f.sc.stream->io.fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        greeter_end(&f);
    }
}

static void silent_peers_are_asked_for_a_sign_of_life(void **state)
{
    for (uint32_t s = 0; s <= 32767; s += 32767) {
        greeter f;
        greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){.keepalive_s = s}, 0);
        int fd = greeter_visit(&f, f.where);
        assert_int_equal(option(f.sc.stream->io.fd, SOL_SOCKET, SO_KEEPALIVE), s > 0);
        if (s > 0)
            assert_int_equal(option(f.sc.stream->io.fd, IPPROTO_TCP, TCP_KEEPIDLE), (int)s);
        close(fd);
        greeter_end(&f);
    }
    rotor_listen_options too_long = {.keepalive_s = 32768};
    assert_int_equal(greeter_fails("127.0.0.1:0", too_long, UV_EINVAL), -1);
    assert_int_equal(greeter_fails("unix:@rotor-test-never", too_long, UV_EINVAL), -1);
}

static void all_options_have_defaults(void **state)
{
    greeter f;
    greeter_prepare(&f, 0);
    assert_int_equal(rotor_listen(f.st.loop, "0", &f.sc.protocol, NULL, NULL), 0);
    assert_int_equal(rotor_loop_count(f.st.loop), 1);
    assert_int_equal(rotor_loop_free(f.st.loop), 0);
}

/* -- the end ----------------------------------------------------------------------------------- */

static void connections_survive_their_listener(void **state)
{
    greeter f;
    char text[64] = "untouched";
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    int fd = greeter_visit(&f, f.where);
    rotor_handle stream = f.sc.stream->machine.self;
    assert_int_equal(rotor_listener_address(f.st.loop, stream, text, sizeof text), UV_EINVAL);
    assert_string_equal(text, "");
    assert_int_equal(rotor_end(f.st.loop, f.listener, 0), 0);
    stage_turn(&f.st);
    assert_int_equal(f.closed, 1);
    assert_int_equal(rotor_listener_address(f.st.loop, f.listener, text, sizeof text),
                     ROTOR_ECLOSED);
    greeter_assert_echoes(&f, fd);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    assert_int_equal(getpeername(fd, (struct sockaddr *)&address, &len), 0);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&address, len), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(late);
    close(fd);
    TURN_UNTIL(f.st.loop, rotor_loop_count(f.st.loop) == 0);
    greeter_end(&f);
}

/* Which a connection that was closed here would keep it from, for a while. */
static void a_port_is_free_at_once(void **state)
{
    greeter f;
    char where[128];
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    int fd = greeter_visit(&f, f.where);
    greeter_end(&f);
    assert_int_equal(recv(fd, where, 1, 0), 0);
    close(fd);
    strcpy(where, f.where);
    greeter_begin(&f, where, (rotor_listen_options){0}, 0);
    fd = greeter_visit(&f, where);
    close(fd);
    greeter_end(&f);
}

static rotor_response listen_now(probe *p, rotor_scope *scope)
{
    greeter *f = p->plan->context;
    assert_int_equal(greeter_listen(f, "127.0.0.1:0", (rotor_listen_options){0}), 0);
    assert_int_equal(rotor_listener_address(scope->loop, f->listener, f->where, sizeof f->where),
                     0);
    return rotor_done();
}

static void a_transition_may_listen(void **state)
{
    greeter f;
    probe_plan plan = {.name = "p", .context = &f, .on = {[WAKEUP] = listen_now}};
    greeter_prepare(&f, 0);
    probe_reset();
    assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
    assert_int_equal(rotor_wake(f.st.loop, plan.self), 0);
    stage_turn(&f.st);
    int fd = greeter_visit(&f, f.where);
    close(fd);
    greeter_end(&f);
}

static void a_loop_without_room_cannot_listen(void **state)
{
    greeter f;
    probe_plan plan = {.name = "p"};
    char folder[] = "/tmp/rotor-test-XXXXXX", address[80];
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    greeter_prepare(&f, 1);
    probe_reset();
    assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
    assert_int_equal(greeter_listen(&f, address, (rotor_listen_options){0}), ROTOR_ECAPACITY);
    assert_int_equal(rotor_loop_free(f.st.loop), 0);
    assert_int_equal(f.closed, 0);
    assert_int_equal(rmdir(folder), 0); /* so the socket is gone */
}

/* -- connections that fail --------------------------------------------------------------------- */

static void fail_every_other(script *sc, rotor_stream *s, rotor_scope *scope)
{
    static const script_line fails = {.then = {.kind = ROTOR_INTENT_ERROR, .error = UV_EPERM}};
    static script_line lines[2];
    lines[0] = sc->creates % 2 ? fails : (script_line){.then = rotor_intent_done(), .say = "ok\n"};
    sc->lines = lines;
    sc->played = 0;
}

static void a_create_that_fails_ends_one_connection(void **state)
{
    greeter f;
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    f.sc.act = fail_every_other;
    int fds[6];
    for (int i = 0; i < 6; i++)
        fds[i] = sockets_connect(f.where);
    for (int i = 0; i < 6; i++) {
        if (i % 2)
            sockets_expect(f.st.loop, fds[i], "ok\n");
        assert_int_equal(sockets_end(f.st.loop, fds[i], NULL), 0);
        close(fds[i]);
    }
    assert_int_equal(rotor_loop_count(f.st.loop), 1);
    assert_int_equal(f.st.errors, 3);
    assert_int_equal(f.st.error, UV_EPERM);
    greeter_end(&f);
}

static void a_connection_that_is_gone_already_does_no_harm(void **state)
{
    greeter f;
    greeter_begin(&f, "127.0.0.1:0", (rotor_listen_options){0}, 0);
    for (int i = 0; i < 5; i++)
        sockets_reset(sockets_connect(f.where));
    int fd = greeter_visit(&f, f.where);
    greeter_assert_echoes(&f, fd);
    close(fd);
    greeter_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tcp_is_served),
        TEST(ends_are_told_as_text),
        TEST(unix_sockets_are_served),
        TEST(abstract_sockets_are_served),
        TEST(a_port_in_use_is_an_error),
        TEST(bad_addresses_are_errors),
        TEST(a_port_may_be_shared),
        TEST(small_packets_are_not_delayed_unless_asked),
        TEST(silent_peers_are_asked_for_a_sign_of_life),
        TEST(all_options_have_defaults),
        TEST(connections_survive_their_listener),
        TEST(a_port_is_free_at_once),
        TEST(a_transition_may_listen),
        TEST(a_loop_without_room_cannot_listen),
        TEST(a_create_that_fails_ends_one_connection),
        TEST(a_connection_that_is_gone_already_does_no_harm),
    };
    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
