/* Machines on descriptors of every kind, with ios of their own memory. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "../core/io.h"
#include "sockets.h"
#include "support.h"

/* Watches what it is given, and reads what comes. */
typedef struct reader {
    rotor_machine machine;
    rotor_io *io;
    int fd;
    char got[4096];
    size_t n;
    bool gone;
} reader;

static reader *the_reader;

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    reader *r = the_reader = (reader *)m;
    r->fd = *(int *)seed;
    int error = rotor_io_new(&r->io, sizeof *r->io, m, r->fd);
    if (error)
        return rotor_error(error);
    error = rotor_io_want(r->io, ROTOR_READABLE);
    return error ? rotor_error(error) : rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    reader *r = (reader *)m;
    assert_ptr_equal(io, r->io);
    ssize_t n = read(r->fd, r->got + r->n, sizeof r->got - r->n);
    if (n <= 0) { /* the other end of a pty that has closed is an error */
        rotor_io_close(r->io);
        r->gone = true;
    } else {
        r->n += (size_t)n;
    }
    return rotor_ok();
}

static void on_drop(rotor_machine *m)
{
    close(((reader *)m)->fd);
}

static const rotor_type reader_type = {
    .name = "reader",
    .size = sizeof(reader),
    .create = on_create,
    .ready = on_ready,
    .drop = on_drop,
};

static rotor_loop *read_from(int fd)
{
    rotor_loop *loop;
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    assert_int_equal(rotor_add(loop, &reader_type, &fd, NULL), 0);
    rotor_loop_turn(loop);
    assert_int_equal(the_reader->n, 0);
    return loop;
}

static void a_pipe(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    rotor_loop *loop = read_from(ends[0]);
    assert_int_equal(write(ends[1], "abc", 3), 3);
    TURN_UNTIL(loop, the_reader->n == 3);
    assert_memory_equal(the_reader->got, "abc", 3);
    close(ends[1]);
    TURN_UNTIL(loop, the_reader->gone);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void an_eventfd(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    rotor_loop *loop = read_from(fd);
    uint64_t total = 0;
    assert_int_equal(eventfd_write(fd, 3), 0);
    assert_int_equal(eventfd_write(fd, 4), 0);
    TURN_UNTIL(loop, the_reader->n == sizeof total);
    memcpy(&total, the_reader->got, sizeof total);
    assert_int_equal(total, 7);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void an_inotify(void **state)
{
    char folder[] = "/tmp/rotor-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    int fd = inotify_init1(IN_CLOEXEC);
    assert_true(inotify_add_watch(fd, folder, IN_CREATE) >= 0);
    rotor_loop *loop = read_from(fd);
    snprintf(path, sizeof path, "%s/file", folder);
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    TURN_UNTIL(loop, the_reader->n > 0);
    struct inotify_event event;
    memcpy(&event, the_reader->got, sizeof event);
    assert_int_equal(event.mask, IN_CREATE);
    assert_string_equal(the_reader->got + sizeof event, "file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void a_pty(void **state)
{
    int near, far;
    if (openpty(&near, &far, NULL, NULL, NULL)) { /* as in a container without /dev/pts */
        assert_true(errno == ENOENT || errno == ENODEV || errno == EACCES || errno == ENOSPC);
        skip();
    }
    rotor_loop *loop = read_from(near);
    assert_int_equal(write(far, "hello\n", 6), 6);
    TURN_UNTIL(loop, the_reader->n == 7);
    assert_memory_equal(the_reader->got, "hello\r\n", 7); /* as the terminal's driver has it */
    close(far);
    TURN_UNTIL(loop, the_reader->gone);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void a_file_is_refused(void **state)
{
    rotor_loop *loop;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    assert_int_equal(rotor_add(loop, &reader_type, &fd, NULL), UV_EPERM); /* and dropped */
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void watch_a_pipe(void)
{
    rotor_loop *loop;
    int ends[2];
    if (rotor_loop_new(&loop, NULL))
        return;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    if (rotor_add(loop, &reader_type, &ends[0], NULL) == 0) {
        assert_int_equal(write(ends[1], "x", 1), 1);
        TURN_UNTIL(loop, the_reader->n == 1);
    } else if (the_reader == NULL) {
        close(ends[0]);
    }
    the_reader = NULL;
    close(ends[1]);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void without_memory(void **state)
{
    the_reader = NULL;
    test_out_of_memory(watch_a_pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pipe), TEST(an_eventfd),        TEST(an_inotify),
        TEST(a_pty),  TEST(a_file_is_refused), TEST(without_memory),
    };
    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
