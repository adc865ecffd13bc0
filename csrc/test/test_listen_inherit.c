/* Listening on descriptors that somebody else has opened. How they are passed to a program is tested
** as it happens: this program runs itself, with descriptors from 3 on and the environment that tells
** of them, and the name of the one test it is then to run. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../stream/address.h"
#include "greeter.h"
#include "sockets.h"
#include "support.h"

static const rotor_listen_options none = {0};

static const char *fd_address(int fd)
{
    static char text[32];
    snprintf(text, sizeof text, "fd:%d", fd);
    return text;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* -- fd:N -------------------------------------------------------------------------------------- */

static void a_descriptor_is_listened_on(void **state)
{
    greeter g;
    char where[128];
    int fd = sockets_listen("127.0.0.1:0", 16, where);
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    greeter_begin(&g, fd_address(fd), (rotor_listen_options){.keepalive_s = 77, .backlog = 8}, 0);
    assert_string_equal(g.where, where);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    int client = greeter_visit(&g, where);
    greeter_assert_echoes(&g, client);
    int served = g.sc.stream->io.fd;
    assert_int_equal(option(served, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(served, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(served, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    close(client);
    greeter_end(&g);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it went with the listener */
}

static void its_file_stays(void **state)
{
    greeter g;
    char folder[] = "/tmp/rotor-test-XXXXXX", address[80];
    struct stat info;
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    int fd = sockets_listen(address, 16, NULL);
    greeter_begin(&g, fd_address(fd), (rotor_listen_options){.keepalive_s = 77}, 0);
    assert_string_equal(g.where, address);
    close(greeter_visit(&g, address));
    greeter_end(&g);
    assert_int_equal(stat(address + 5, &info), 0);
    assert_int_equal(unlink(address + 5), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void assert_refused(int fd, int error)
{
    int flags = fcntl(fd, F_GETFD), modes = fcntl(fd, F_GETFL);
    assert_int_equal(greeter_fails(fd_address(fd), none, error), 0);
    assert_int_equal(fcntl(fd, F_GETFD), flags);
    assert_int_equal(fcntl(fd, F_GETFL), modes);
}

static void what_does_not_listen_is_refused(void **state)
{
    int ends[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_int_equal(pipe(ends), 0);
    assert_refused(ends[0], ROTOR_ELISTENING);
    close(ends[0]);
    close(ends[1]);
    sockets_pair(AF_INET, &ends[0], &ends[1]);
    assert_refused(ends[0], ROTOR_ELISTENING);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(greeter_fails("fd:100000000", none, UV_EBADF), 0);
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, types[i], 0);
        assert_refused(fd, ROTOR_ELISTENING);
        close(fd);
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0); /* listens, but is no stream */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_refused(fd, ROTOR_ELISTENING);
    close(fd);
}

static void what_is_no_number_is_no_descriptor(void **state)
{
    static const char *const cases[] = {"fd:",   "fd:x",  "fd:-1",         "fd:3x",
                                        "fd: 3", "fd:3 ", "fd:9999999999", "inherited:"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(greeter_fails(cases[i], none, ROTOR_EADDRESS), 0);
}

static void one_descriptor_has_one_listener(void **state)
{
    greeter g;
    char where[128], list[64];
    int fd = sockets_listen("127.0.0.1:0", 16, where);
    int n = snprintf(list, sizeof list, "0,fd:%d,", fd);
    snprintf(list + n, sizeof list - (size_t)n, "fd:%d", fd);
    assert_int_equal(greeter_fails(list, none, ROTOR_ETAKEN), n);

    greeter_begin(&g, fd_address(fd), none, 0);
    rotor_handle first = g.listener;
    snprintf(list, sizeof list, "0,0,fd:%d", fd);
    assert_int_equal(greeter_listen(&g, list, none), ROTOR_ETAKEN);
    assert_ptr_equal(g.failed, list + 4);
    assert_int_equal(g.closed, 0);
    assert_non_null(rotor_find(g.st.loop, first));
    close(greeter_visit(&g, where));
    greeter_end(&g);
}

static void it_stays_the_callers_when_another_fails(void **state)
{
    greeter g;
    char where[128], list[64];
    int fd = sockets_listen("127.0.0.1:0", 16, where);
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    snprintf(list, sizeof list, "fd:%d,0,192.0.2.1:0", fd);
    greeter_prepare(&g, 0);
    assert_int_equal(greeter_listen(&g, list, none), UV_EADDRNOTAVAIL);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    *strrchr(list, ',') = '\0';
    assert_int_equal(greeter_listen(&g, list, none), 0);
    close(greeter_visit(&g, where));
    greeter_end(&g);
}

/* -- LISTEN_FDS -------------------------------------------------------------------------------- */

static void pass_nothing(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static void nothing_passed_is_an_error(void **state)
{
    static const char *const fds[] = {NULL, "", "0", "-1", "x", "1x", "10000000000"};
    char self[16], parent[16];
    snprintf(self, sizeof self, "%ld", (long)getpid());
    snprintf(parent, sizeof parent, "%ld", (long)getppid());
    const char *const others[] = {NULL, "", "0", "x", parent};
    pass_nothing();
    setenv("LISTEN_FDNAMES", "web", 1);
    setenv("LISTEN_PID", self, 1);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i])
            setenv("LISTEN_FDS", fds[i], 1);
        assert_int_equal(greeter_fails("0,inherited", none, ROTOR_EINHERIT), 2);
        assert_int_equal(greeter_fails("inherited:web", none, ROTOR_EINHERIT), 0);
    }
    setenv("LISTEN_FDS", "1", 1);
    unsetenv("LISTEN_PID");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i])
            setenv("LISTEN_PID", others[i], 1);
        assert_int_equal(greeter_fails("inherited", none, ROTOR_EINHERIT), 0);
    }
    pass_nothing();
}

/* Run the test `name` in a process to which the `n` descriptors were passed, and `names`, or NULL. */
static void run_with(const char *name, int n, const int fds[], const char *names)
{
    pid_t child = fork();
    if (child == 0) {
        char text[16];
        int spare[8];
        for (int i = 0; i < n; i++)
            spare[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
        for (int i = 0; i < n; i++)
            (void)dup2(spare[i], 3 + i); /* which stays open */
        snprintf(text, sizeof text, "%ld", (long)getpid());
        pass_nothing();
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof text, "%d", n);
        setenv("LISTEN_FDS", text, 1);
        if (names)
            setenv("LISTEN_FDNAMES", names, 1);
        execl("/proc/self/exe", "test_listen_inherit", name, NULL);
        _exit(127);
    }
    int status = -1;
    for (int i = 0; i < n; i++)
        close(fds[i]);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static char folder[] = "/tmp/rotor-test-XXXXXX", unix_address[80];

static void all_that_were_passed(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(unix_address, sizeof unix_address, "unix:%s/socket", folder);
    int fds[] = {sockets_listen("127.0.0.1:0", 16, NULL), sockets_listen(unix_address, 16, NULL),
                 sockets_listen("127.0.0.1:0", 16, NULL)};
    run_with("take_all", 3, fds, NULL);
    assert_int_equal(unlink(unix_address + 5), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void those_of_a_name(void **state)
{
    int fds[] = {sockets_listen("127.0.0.1:0", 16, NULL), sockets_listen("127.0.0.1:0", 16, NULL),
                 sockets_listen("127.0.0.1:0", 16, NULL)};
    run_with("take_by_name", 3, fds, "web:admin:web");
}

static void one_that_does_not_listen(void **state)
{
    int fds[] = {sockets_listen("127.0.0.1:0", 16, NULL), open("/dev/null", O_RDONLY)};
    run_with("take_what_listens", 2, fds, "web:log");
}

/* -- in the process they were passed to -------------------------------------------------------- */

static void take_all(void **state)
{
    greeter g;
    int descriptors = test_descriptors();
    greeter_begin(&g, "0, inherited", none, 0);
    for (int i = 0; i < 4; i++)
        close(greeter_visit(&g, greeter_where(&g, i)));
    for (int fd = 3; fd < 6; fd++)
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(greeter_fails("inherited", none, ROTOR_ETAKEN), 0);
    assert_int_equal(greeter_fails("inherited:web", none, ROTOR_EFDNAME), 0);
    greeter_end(&g);
    assert_int_equal(greeter_fails("inherited", none, ROTOR_ETAKEN), 0); /* closed, too */
    assert_int_equal(test_descriptors(), descriptors - 3);
    assert_string_equal(getenv("LISTEN_FDS"), "3");
}

static void take_by_name(void **state)
{
    greeter web, admin;
    assert_int_equal(greeter_fails("inherited:log", none, ROTOR_EFDNAME), 0);
    assert_int_equal(greeter_fails("inherited:we", none, ROTOR_EFDNAME), 0);
    assert_int_equal(greeter_fails("inherited:webs", none, ROTOR_EFDNAME), 0);
    assert_int_equal(greeter_fails("inherited:web:admin", none, ROTOR_EFDNAME), 0);
    assert_int_equal(greeter_fails("inherited:web,192.0.2.1:0", none, UV_EADDRNOTAVAIL), 14);
    assert_int_equal(greeter_fails("inherited,inherited:web", none, ROTOR_ETAKEN), 10);
    greeter_begin(&web, "inherited:web", none, 0);
    greeter_begin(&admin, "inherited:admin", none, 0);
    for (int i = 0; i < 2; i++)
        close(greeter_visit(&web, greeter_where(&web, i)));
    assert_null(strchr(admin.where, ','));
    close(greeter_visit(&admin, admin.where));
    greeter_end(&admin);
    assert_int_equal(greeter_fails("inherited:web", none, ROTOR_ETAKEN), 0);
    assert_int_equal(greeter_fails("inherited:admin", none, ROTOR_ETAKEN), 0);
    greeter_end(&web);
}

static void take_what_listens(void **state)
{
    greeter g;
    assert_int_equal(greeter_fails("inherited", none, ROTOR_ELISTENING), 0);
    assert_int_equal(greeter_fails("inherited:log", none, ROTOR_ELISTENING), 0);
    greeter_begin(&g, "inherited:web", none, 0);
    close(greeter_visit(&g, g.where));
    greeter_end(&g);
    assert_int_equal(fcntl(4, F_GETFD), 0);
}

static int run_passed_to(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(take_all, test_begin),
        cmocka_unit_test_setup(take_by_name, test_begin),
        cmocka_unit_test_setup(take_what_listens, test_begin),
    };
    cmocka_set_test_filter(name);
    return cmocka_run_group_tests_name("listen_inherit, passed", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return run_passed_to(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(a_descriptor_is_listened_on),
        TEST(its_file_stays),
        TEST(what_does_not_listen_is_refused),
        TEST(what_is_no_number_is_no_descriptor),
        TEST(one_descriptor_has_one_listener),
        TEST(it_stays_the_callers_when_another_fails),
        TEST(nothing_passed_is_an_error),
        TEST(all_that_were_passed),
        TEST(those_of_a_name),
        TEST(one_that_does_not_listen),
    };
    return cmocka_run_group_tests_name("listen_inherit", tests, NULL, NULL);
}
