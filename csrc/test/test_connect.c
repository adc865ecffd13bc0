/* Connecting to real sockets, and how that can fail. Time passes by hand only. */
#include "test.h"

#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../core/private.h"
#include "../stream/connect.h"
#include "../stream/listen.h"
#include "names.h"
#include "probe.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

typedef struct fixture {
    stage st;
    script sc;
    script_line lines[2];
    int released;
} fixture;

static void on_release(void *seed)
{
    script *sc = seed;
    fixture *f = sc->context;
    f->released++;
    script_note(sc, "release");
}

static void begin(fixture *f)
{
    memset(f, 0, sizeof *f);
    stage_open_loop(&f->st, 0);
    f->lines[0] = (script_line){.then = rotor_expect_bytes(5), .say = "hello"};
    f->lines[1] = (script_line){.then = rotor_intent_done()};
    f->sc = (script){.protocol = script_protocol, .lines = f->lines, .nlines = 2, .context = f};
}

static int try_connect(fixture *f, const char *address, rotor_connect_options options)
{
    options.seed = &f->sc;
    options.release = on_release;
    return rotor_connect(f->st.loop, address, &f->sc.protocol, &options, &f->st.self);
}

static void connect_to(fixture *f, const char *address)
{
    assert_int_equal(try_connect(f, address, (rotor_connect_options){0}), 0);
}

static void end(fixture *f)
{
    stage_close(&f->st);
    assert_int_equal(f->sc.drops, f->sc.creates);
}

static const char *port_of(const char *where)
{
    return strrchr(where, ':') + 1;
}

/* -- where ------------------------------------------------------------------------------------- */

static void assert_reaches(const char *address, int listener)
{
    fixture f;
    begin(&f);
    connect_to(&f, address);
    int fd = sockets_accept(f.st.loop, listener);
    sockets_expect(f.st.loop, fd, "hello");
    sockets_send(fd, "world");
    TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
    assert_string_equal(f.sc.log, "create release read(world) drop");
    assert_int_equal(sockets_end(f.st.loop, fd, NULL), 0);
    assert_int_equal(f.st.errors, 0);
    close(fd);
    end(&f);
}

static void a_protocol_that_cannot_work_is_refused(void **state)
{
    fixture f;
    begin(&f);
    rotor_protocol protocol = f.sc.protocol;
    rotor_handle handle;
    protocol.create = NULL;
    assert_int_equal(rotor_connect(f.st.loop, "127.0.0.1:1", &protocol, NULL, &handle), UV_EINVAL);
    assert_int_equal(rotor_listen(f.st.loop, "127.0.0.1:0", &protocol, NULL, &handle), UV_EINVAL);
    protocol = f.sc.protocol;
    protocol.size = sizeof(rotor_stream) - 1;
    assert_int_equal(rotor_connect(f.st.loop, "127.0.0.1:1", &protocol, NULL, &handle), UV_EINVAL);
    assert_int_equal(rotor_listen(f.st.loop, "127.0.0.1:0", &protocol, NULL, &handle), UV_EINVAL);
    assert_int_equal(rotor_loop_count(f.st.loop), 0);
    end(&f);
}

static void a_stream_is_named_by_its_protocol(void **state)
{
    fixture f;
    begin(&f);
    f.sc.protocol.name = "courier";
    connect_to(&f, "127.0.0.1:1");
    const rotor_machine *m = rotor_find(f.st.loop, f.st.self);
    assert_string_equal(m->type->name, "stream");
    assert_string_equal(rotor_machine_name(m), "courier");
    end(&f);
}

static void tcp_is_reached(void **state)
{
    static const char *const hosts[] = {
        "127.0.0.1:", ":",          "",
        "localhost:", "slow.test:", "two.test:" /* of which the other one refuses */};
    char where[128], address[64];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        snprintf(address, sizeof address, "%s%s", hosts[i], port_of(where));
        assert_reaches(address, listener);
    }
    close(listener);
}

static void tcp6_is_reached(void **state)
{
    char where[128], address[64];
    int tried = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int error = tried < 0 ? -1 : bind(tried, (struct sockaddr *)&any, sizeof any);
    close(tried);
    if (error)
        skip(); /* this machine has no IPv6 */
    int listener = sockets_listen("[::1]:0", 10, where);
    assert_reaches(where, listener);
    snprintf(address, sizeof address, "two.test:%s", port_of(where));
    assert_reaches(address, listener);
    close(listener);
}

static void unix_sockets_are_reached(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX", path[64], address[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    int listener = sockets_listen(address, 10, NULL);
    assert_reaches(address, listener);
    close(listener);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);

    snprintf(address, sizeof address, "unix:@rotor-test-%ld", (long)getpid());
    listener = sockets_listen(address, 10, NULL);
    assert_reaches(address, listener);
    close(listener);
}

static int socket_option(const fixture *f, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(f->sc.stream->io.fd, level, name, &value, &len), 0);
    return value;
}

static void small_packets_are_not_delayed_unless_asked(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    for (int delay = 0; delay <= 1; delay++) {
        fixture f;
        begin(&f);
        assert_int_equal(try_connect(&f, where, (rotor_connect_options){.delay = delay}), 0);
        int fd = sockets_accept(f.st.loop, listener);
        sockets_expect(f.st.loop, fd, "hello");
        assert_int_equal(socket_option(&f, IPPROTO_TCP, TCP_NODELAY), !delay);
        close(fd);
        end(&f);
    }
    close(listener);
}

static void a_silent_peer_is_asked_if_wanted(void **state)
{
    char where[128], path[80];
    snprintf(path, sizeof path, "unix:@rotor-test-%ld", (long)getpid());
    int listeners[] = {sockets_listen("127.0.0.1:0", 10, where), sockets_listen(path, 10, NULL)};
    for (int is_unix = 0; is_unix <= 1; is_unix++) {
        for (uint32_t seconds = 0; seconds <= 32767; seconds += 32767) {
            fixture f;
            begin(&f);
            rotor_connect_options options = {.keepalive_s = seconds};
            assert_int_equal(try_connect(&f, is_unix ? path : where, options), 0);
            int fd = sockets_accept(f.st.loop, listeners[is_unix]);
            sockets_expect(f.st.loop, fd, "hello");
            bool wanted = seconds > 0 && !is_unix;
            assert_int_equal(socket_option(&f, SOL_SOCKET, SO_KEEPALIVE), wanted);
            if (wanted)
                assert_int_equal(socket_option(&f, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
            close(fd);
            end(&f);
        }
        close(listeners[is_unix]);
    }
    fixture f;
    begin(&f);
    assert_int_equal(try_connect(&f, where, (rotor_connect_options){.keepalive_s = 32768}),
                     UV_EINVAL);
    assert_int_equal(rotor_loop_count(f.st.loop), 0);
    end(&f);
}

/* -- failures ---------------------------------------------------------------------------------- */

static void assert_fails(const char *address, const char *log, int error)
{
    for (int with_fatal = 1; with_fatal >= 0; with_fatal--) {
        fixture f;
        begin(&f);
        if (!with_fatal)
            f.sc.protocol.fatal = NULL;
        connect_to(&f, address);
        TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
        assert_string_equal(f.sc.log, with_fatal ? log : "release");
        assert_int_equal(f.st.error, error);
        assert_int_equal(f.st.errors, 1);
        end(&f);
    }
}

static char called[64]; /* the peer, in `fatal` */

static void ask_for_peer(rotor_stream *s, rotor_scope *scope, int error)
{
    char less[3];
    assert_int_equal(rotor_stream_peer(s, called, sizeof called), 0);
    assert_int_equal(rotor_stream_peer(s, less, sizeof less), 0);
    assert_int_equal(strlen(less), 2);
    assert_memory_equal(less, called, 2);
    script_protocol.fatal(s, scope, error);
}

static void who_was_not_reached_is_known(void **state)
{
    static const char *const addresses[][2] = {{"1", "127.0.0.1:1"},
                                               {"[0::1]:1", "[::1]:1"},
                                               {"unix:/nobody/here", "unix:/nobody/here"},
                                               {"two.test:1", "two.test:1"}};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        fixture f;
        begin(&f);
        f.sc.protocol.fatal = ask_for_peer;
        connect_to(&f, addresses[i][0]);
        TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
        assert_string_equal(called, addresses[i][1]);
        assert_int_equal(f.sc.fatals, 1);
        end(&f);
    }
}

/* A port that nobody listens on, and a while nobody else takes. */
static void take_port(int *fd, char where[128])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&address, &len), 0);
    snprintf(where, 128, "127.0.0.1:%d", ntohs(address.sin_port));
}

static void who_refuses_is_fatal(void **state)
{
    int fd;
    char where[128], address[64];
    take_port(&fd, where);
    assert_fails(where, "fatal(ECONNREFUSED) release", UV_ECONNREFUSED);
    snprintf(address, sizeof address, "two.test:%s", port_of(where)); /* both do */
    assert_fails(address, "fatal(ECONNREFUSED) release", UV_ECONNREFUSED);
    close(fd);
}

static void no_unix_socket_is_fatal(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX", path[64], address[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_fails(address, "fatal(ENOENT) release", UV_ENOENT);
    close(sockets_listen(address, 1, NULL));
    assert_fails(address, "fatal(ECONNREFUSED) release", UV_ECONNREFUSED);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

/* Root may use any file, but for this. */
static void give_up(struct __user_cap_data_struct usual[2])
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct less[2];
    assert_int_equal(syscall(SYS_capget, &header, usual), 0);
    memcpy(less, usual, sizeof less);
    less[0].effective &= ~(1u << CAP_DAC_OVERRIDE);
    assert_int_equal(syscall(SYS_capset, &header, less), 0);
}

static void a_socket_that_is_not_for_us_is_fatal(void **state)
{
    char folder[] = "/tmp/rotor-test-XXXXXX", path[64], address[80];
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct usual[2];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    int listener = sockets_listen(address, 1, NULL);
    assert_int_equal(chmod(path, 0), 0);
    give_up(usual);
    assert_fails(address, "fatal(EACCES) release", UV_EACCES);
    assert_int_equal(syscall(SYS_capset, &header, usual), 0);
    close(listener);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void no_way_is_fatal(void **state)
{
    assert_fails("224.0.0.1:1", "fatal(ENETUNREACH) release", UV_ENETUNREACH);
}

static void no_room_in_a_unix_backlog_is_fatal(void **state)
{
    char address[80];
    sockets_crowd crowd;
    snprintf(address, sizeof address, "unix:@rotor-test-%ld", (long)getpid());
    sockets_gather(&crowd, address);
    assert_fails(address, "fatal(ECONNREFUSED) release", UV_ECONNREFUSED);
    sockets_disperse(&crowd);
}

static void no_such_name_is_fatal(void **state)
{
    assert_fails("not..a.name:80", "fatal(EAI_NONAME) release", UV_EAI_NONAME);
    assert_fails("not-utf-8-\xff:80", "fatal(EINVAL) release",
                 UV_EINVAL); /* nor looked up at all */
}

static void no_descriptor_is_fatal(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    fixture f;
    struct rlimit usual, none;
    begin(&f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = try_connect(&f, where, (rotor_connect_options){0});
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(error, 0);
    stage_turn(&f.st);
    assert_string_equal(f.sc.log, "fatal(EMFILE) release");
    end(&f);
    close(listener);
}

static void what_cannot_be_tried_is_returned(void **state)
{
    static const char *const bad[] = {"", "127.0.0.1", "[::1]", "unix:", "1.2.3.4:99999"};
    fixture f;
    probe_plan plan = {.name = "p"};
    begin(&f);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f.st.self = (rotor_handle){7, 7};
        assert_int_equal(try_connect(&f, bad[i], (rotor_connect_options){0}), ROTOR_EADDRESS);
        assert_int_equal(f.st.self.generation, 0);
    }
    stage_close(&f.st);
    stage_open_loop(&f.st, 1);
    probe_reset();
    assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
    assert_int_equal(try_connect(&f, "127.0.0.1:1", (rotor_connect_options){0}), ROTOR_ECAPACITY);
    assert_int_equal(f.st.self.generation, 0);
    assert_string_equal(f.sc.log, ""); /* nor was the seed released */
    end(&f);
}

/* -- time -------------------------------------------------------------------------------------- */

static void assert_times_out(const char *address, uint32_t given, uint32_t ms)
{
    fixture f;
    begin(&f);
    test_monotonic_ms +=
        100000; /* that the loop has not looked at its clock for long is no matter */
    assert_int_equal(try_connect(&f, address, (rotor_connect_options){.timeout_ms = given}), 0);
    stage_wait(&f.st, ms - 1);
    assert_string_equal(f.sc.log, "");
    stage_wait(&f.st, 1);
    assert_string_equal(f.sc.log, "fatal(ETIMEDOUT) release");
    assert_int_equal(f.st.error, ROTOR_ETIMEDOUT);
    names_release();
    end(&f);
}

static void connecting_takes_so_long_at_most(void **state)
{
    sockets_crowd crowd;
    sockets_gather(&crowd, "127.0.0.1:0");
    assert_times_out(crowd.where, 250, 250);
    assert_times_out(crowd.where, 0, 10000);
    sockets_disperse(&crowd);
}

static void looking_up_counts(void **state)
{
    names_hold();
    assert_times_out("slow.test:80", 250, 250);
}

static void a_connection_made_is_not_timed(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    fixture f;
    begin(&f);
    connect_to(&f, where);
    int fd = sockets_accept(f.st.loop, listener);
    sockets_expect(f.st.loop, fd, "hello");
    stage_wait(&f.st, 1000000);
    assert_string_equal(f.sc.log, "create release");
    close(fd);
    end(&f);
    close(listener);
}

/* -- meanwhile --------------------------------------------------------------------------------- */

static void nothing_can_be_written_before_it_is_made(void **state)
{
    char where[128], text[32];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    fixture f;
    begin(&f);
    connect_to(&f, where);
    rotor_stream *s = (rotor_stream *)rotor_find(f.st.loop, f.st.self);
    assert_non_null(s);
    assert_int_equal(rotor_stream_write(s, "early", 5), ROTOR_ECLOSED);
    assert_null(rotor_stream_output(s));
    assert_int_equal(rotor_stream_unsent(s), 0);
    assert_int_equal(rotor_stream_local(s, text, sizeof text), UV_EBADF);
    assert_int_equal(rotor_stream_peer(s, text, sizeof text), 0);
    assert_string_equal(text, where);
    assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0);
    /* Nor does that depend on a seed. */
    rotor_handle other;
    assert_int_equal(rotor_connect(f.st.loop, where, &f.sc.protocol, NULL, &other), 0);
    s = (rotor_stream *)rotor_find(f.st.loop, other);
    assert_int_equal(rotor_stream_write(s, "early", 5), ROTOR_ECLOSED);
    assert_int_equal(rotor_end(f.st.loop, other, 0), 0);
    int fd = sockets_accept(f.st.loop, listener);
    sockets_expect(f.st.loop, fd, "hello");
    assert_string_equal(f.sc.log, "create release"); /* it has seen all there is to see */
    close(fd);
    end(&f);
    close(listener);
}

static void shutting_down_early_is_not_forgotten(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    fixture f;
    begin(&f);
    connect_to(&f, where);
    rotor_stream_shutdown((rotor_stream *)rotor_find(f.st.loop, f.st.self));
    int fd = sockets_accept(f.st.loop, listener);
    assert_int_equal(sockets_end(f.st.loop, fd, NULL), 0);
    assert_int_equal(f.sc.said, ROTOR_ECLOSED);
    sockets_send(fd, "world");
    TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
    assert_string_equal(f.sc.log, "create release read(world) drop");
    close(fd);
    end(&f);
    close(listener);
}

static bool in_transition;

static void assert_outside(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_false(in_transition);
}

static rotor_response connect_now(probe *p, rotor_scope *scope)
{
    fixture *f = ((script *)p->plan->context)->context;
    in_transition = true;
    connect_to(f, p->plan->name);
    assert_string_equal(f->sc.log, "");
    in_transition = false;
    return rotor_done();
}

static void a_transition_may_connect(void **state)
{
    char name[80];
    snprintf(name, sizeof name, "unix:@rotor-test-%ld", (long)getpid());
    int listener = sockets_listen(name, 10, NULL);
    /* The first is there at once, the second fails at once; neither is told at once. */
    const char *addresses[] = {name, "unix:@rotor-test-nobody"};
    for (int i = 0; i < 2; i++) {
        fixture f;
        begin(&f);
        f.sc.act = assert_outside;
        probe_plan plan = {.name = addresses[i], .context = &f.sc, .on = {[WAKEUP] = connect_now}};
        probe_reset();
        assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
        assert_int_equal(rotor_wake(f.st.loop, plan.self), 0);
        stage_turn(&f.st);
        assert_string_equal(f.sc.log, i ? "fatal(ECONNREFUSED) release" : "create release");
        end(&f);
    }
    close(listener);
}

static void a_reset_at_once_is_told_to_the_protocol(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    fixture f;
    begin(&f);
    f.lines[0].say = NULL;
    connect_to(&f, where);
    int fd = -1;
    while ((fd = accept(listener, NULL, NULL)) < 0)
        assert_int_equal(errno, EAGAIN);
    sockets_reset(fd);
    TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
    assert_int_equal(f.sc.fatals, 1);
    assert_int_equal(f.released, 1);
    assert_int_equal(f.st.error, UV_ECONNRESET);
    end(&f);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_protocol_that_cannot_work_is_refused),
        TEST(a_stream_is_named_by_its_protocol),
        TEST(tcp_is_reached),
        TEST(tcp6_is_reached),
        TEST(unix_sockets_are_reached),
        TEST(small_packets_are_not_delayed_unless_asked),
        TEST(a_silent_peer_is_asked_if_wanted),
        TEST(who_was_not_reached_is_known),
        TEST(who_refuses_is_fatal),
        TEST(no_unix_socket_is_fatal),
        TEST(a_socket_that_is_not_for_us_is_fatal),
        TEST(no_way_is_fatal),
        TEST(no_room_in_a_unix_backlog_is_fatal),
        TEST(no_such_name_is_fatal),
        TEST(no_descriptor_is_fatal),
        TEST(what_cannot_be_tried_is_returned),
        TEST(connecting_takes_so_long_at_most),
        TEST(looking_up_counts),
        TEST(a_connection_made_is_not_timed),
        TEST(nothing_can_be_written_before_it_is_made),
        TEST(shutting_down_early_is_not_forgotten),
        TEST(a_transition_may_connect),
        TEST(a_reset_at_once_is_told_to_the_protocol),
    };
    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
