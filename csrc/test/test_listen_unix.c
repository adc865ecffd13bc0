/* The files of Unix sockets: which are replaced, which are left alone, and which are removed. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../stream/address.h"
#include "greeter.h"
#include "sockets.h"
#include "support.h"

static const rotor_listen_options none = {0};

/* A folder of its own for each test, and addresses of files in it. */
static char folder[32], path[64], address[80], elsewhere[80];

static int begin(void **state)
{
    strcpy(folder, "/tmp/rotor-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    snprintf(elsewhere, sizeof elsewhere, "unix:%s/elsewhere", folder);
    return test_begin(state);
}

/* Also sees that no file is left. */
static int end(void **state)
{
    int left = rmdir(folder);
    return test_end(state) || left;
}

static ino_t inode_of(const char *file)
{
    struct stat info;
    return lstat(file, &info) ? 0 : info.st_ino;
}

/* As a program leaves it behind that was killed. */
static void leave_stale(const char *where)
{
    close(sockets_listen(where, 1, NULL));
}

/* -- what is in the way ------------------------------------------------------------------------ */

static void a_socket_nobody_listens_on_is_replaced(void **state)
{
    greeter g;
    leave_stale(address);
    assert_int_not_equal(inode_of(path), 0);
    greeter_begin(&g, address, none, 0);
    close(greeter_visit(&g, address));
    greeter_end(&g);
    assert_int_equal(inode_of(path), 0);
}

static void one_that_is_listened_on_is_left_alone(void **state)
{
    int listener = sockets_listen(address, 4, NULL);
    ino_t inode = inode_of(path);
    assert_int_equal(greeter_fails(address, none, UV_EADDRINUSE), 0);
    assert_int_equal(inode_of(path), inode);
    close(sockets_connect(address)); /* still reaches it */
    close(listener);
    unlink(path);
}

static void also_when_it_has_no_time(void **state)
{
    sockets_crowd crowd;
    sockets_gather(&crowd, address);
    ino_t inode = inode_of(path);
    assert_int_equal(greeter_fails(address, none, UV_EADDRINUSE), 0);
    assert_int_equal(inode_of(path), inode);
    sockets_disperse(&crowd);
    unlink(path);
}

static void another_listener_of_ours_is_left_alone(void **state)
{
    greeter g;
    greeter_begin(&g, address, none, 0);
    assert_int_equal(greeter_fails(address, none, UV_EADDRINUSE), 0);
    int fd = greeter_visit(&g, address);
    greeter_assert_echoes(&g, fd);
    close(fd);
    greeter_end(&g);
}

static void assert_left_alone(void)
{
    ino_t inode = inode_of(path);
    assert_int_not_equal(inode, 0);
    assert_int_equal(greeter_fails(address, none, UV_EADDRINUSE), 0);
    assert_int_equal(inode_of(path), inode);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_left_alone();
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_left_alone();
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_left_alone();
    unlink(path);
    leave_stale(elsewhere); /* where a link leads is not looked at */
    assert_int_equal(symlink(elsewhere + 5, path), 0);
    assert_left_alone();
    unlink(elsewhere + 5);
    assert_left_alone();
    unlink(path);
}

static void a_datagram_socket_is_left_alone(void **state)
{
    rotor_address at;
    rotor_host host;
    assert_int_equal(rotor_address_parse(address, &at, &host), 0);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, &at.any, at.len), 0);
    assert_left_alone();
    close(fd);
    unlink(path);
}

static void where_one_may_not_write_is_an_error(void **state)
{
    bool root = geteuid() == 0;
    assert_int_equal(chmod(folder, 0500), 0);
    if (root && seteuid(65534)) {
        chmod(folder, 0700);
        skip();
    }
    int failed = greeter_fails(address, none, UV_EACCES);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(failed, 0);
}

/* -- what is removed --------------------------------------------------------------------------- */

static void the_file_of_another_stays(void **state)
{
    greeter g;
    greeter_begin(&g, address, none, 0);
    assert_int_equal(unlink(path), 0);
    int other = sockets_listen(address, 1, NULL);
    ino_t inode = inode_of(path);
    greeter_end(&g);
    assert_int_equal(inode_of(path), inode);
    close(sockets_connect(address));
    close(other);
    unlink(path);
}

static void a_file_that_is_gone_is_not_missed(void **state)
{
    greeter g;
    greeter_begin(&g, address, none, 0);
    int fd = greeter_visit(&g, address);
    assert_int_equal(unlink(path), 0);
    greeter_assert_echoes(&g, fd);
    close(fd);
    greeter_end(&g);
}

static void a_stale_file_that_was_replaced_goes_with_a_list_that_fails(void **state)
{
    char list[256];
    leave_stale(address);
    int n = snprintf(list, sizeof list, "%s,", address);
    snprintf(list + n, sizeof list - (size_t)n, "%s,0", address);
    assert_int_equal(greeter_fails(list, none, UV_EADDRINUSE), n);
    assert_int_equal(inode_of(path), 0);
}

static void options_of_tcp_do_nothing(void **state)
{
    greeter g;
    rotor_listen_options all = {
        .backlog = 8, .reuse_port = true, .ipv6_only = true, .delay = true, .keepalive_s = 60};
    greeter_begin(&g, address, all, 0);
    close(greeter_visit(&g, address));
    assert_int_equal(greeter_fails(address, all, UV_EADDRINUSE), 0);
    greeter_end(&g);
}

#define UNIX_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIX_TEST(a_socket_nobody_listens_on_is_replaced),
        UNIX_TEST(one_that_is_listened_on_is_left_alone),
        UNIX_TEST(also_when_it_has_no_time),
        UNIX_TEST(another_listener_of_ours_is_left_alone),
        UNIX_TEST(what_is_no_socket_is_left_alone),
        UNIX_TEST(a_datagram_socket_is_left_alone),
        UNIX_TEST(where_one_may_not_write_is_an_error),
        UNIX_TEST(the_file_of_another_stays),
        UNIX_TEST(a_file_that_is_gone_is_not_missed),
        UNIX_TEST(a_stale_file_that_was_replaced_goes_with_a_list_that_fails),
        UNIX_TEST(options_of_tcp_do_nothing),
    };
    return cmocka_run_group_tests_name("listen_unix", tests, NULL, NULL);
}
