/* Programs: how they begin and end, what they read and write, and that nothing stays of them. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/dump.h"
#include "../core/process.h"
#include "../stream/connect.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

typedef struct rig {
    rotor_loop *loop;
    rotor_process_options options;
    rotor_handle handle;
    int pipes[3];
    int ends, error, signum;
    int64_t status;
} rig;

static void on_end(void *context, int error, int64_t status, int signum)
{
    rig *r = context;
    r->ends++;
    r->error = error;
    r->status = status;
    r->signum = signum;
}

static void prepare(rig *r, const char *const *args)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(rotor_loop_new(&r->loop, NULL), 0);
    r->options = (rotor_process_options){.args = args, .ended = on_end, .context = r};
    r->options.stdio[0].kind = ROTOR_STDIO_NULL;
}

#define SHELL(command)                                                                             \
    (const char *const[])                                                                          \
    {                                                                                              \
        "sh", "-c", command, NULL                                                                  \
    }

static void begin(rig *r)
{
    assert_int_equal(rotor_process_begin(r->loop, &r->options, r->pipes, &r->handle), 0);
}

static void finish(rig *r)
{
    assert_int_equal(rotor_loop_free(r->loop), 0);
    for (int i = 0; i < 3; i++)
        if (r->pipes[i] > 0)
            close(r->pipes[i]);
}

static void run(rig *r)
{
    begin(r);
    assert_int_equal(rotor_loop_run(r->loop), 0);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->error, 0);
}

static void assert_status(const char *command, int64_t status, int signum)
{
    rig r;
    prepare(&r, SHELL(command));
    run(&r);
    assert_int_equal(r.status, status);
    assert_int_equal(r.signum, signum);
    finish(&r);
}

static void it_tells_how_a_program_has_ended(void **state)
{
    assert_status("exit 0", 0, 0);
    assert_status("exit 7", 7, 0);
    assert_status("kill -TERM $$", 0, SIGTERM);
}

static void what_it_prints_can_be_read(void **state)
{
    rig r;
    prepare(&r, SHELL("echo hello; echo oh >&2"));
    r.options.stdio[1].kind = r.options.stdio[2].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    assert_int_equal(r.pipes[0], -1);
    sockets_expect(r.loop, r.pipes[1], "hello\n");
    sockets_expect(r.loop, r.pipes[2], "oh\n");
    assert_int_equal(sockets_end(r.loop, r.pipes[1], NULL), 0);
    assert_int_equal(sockets_end(r.loop, r.pipes[2], NULL), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_int_equal(r.ends, 1);
    finish(&r);
}

static void a_stream_talks_to_it(void **state)
{
    rig r;
    char address[32];
    script in = SCRIPT({.then = rotor_intent_done(), .say = "3\n1\n2\n"});
    script out = SCRIPT({.then = rotor_expect_bytes(6)}, {.then = rotor_intent_done()});
    prepare(&r, (const char *const[]){"sort", "-n", NULL, NULL});
    r.options.stdio[0].kind = r.options.stdio[1].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    snprintf(address, sizeof address, "fd:%d", r.pipes[0]);
    rotor_connect_options options = {.seed = &in};
    assert_int_equal(rotor_connect(r.loop, address, &in.protocol, &options, NULL), 0);
    snprintf(address, sizeof address, "fd:%d", r.pipes[1]);
    options.seed = &out;
    assert_int_equal(rotor_connect(r.loop, address, &out.protocol, &options, NULL), 0);
    r.pipes[0] = r.pipes[1] = -1;
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_string_equal(in.log, "create drop");
    assert_string_equal(out.log, "create read(1\n2\n3\n) drop");
    assert_int_equal(r.ends, 1);
    assert_int_equal(r.status, 0);
    finish(&r);
}

static void it_may_have_descriptors_of_ours(void **state)
{
    rig r;
    int near, far, flags;
    sockets_pair(AF_UNIX, &near, &far);
    flags = fcntl(far, F_GETFD);
    prepare(&r, SHELL("echo one; echo two >&2"));
    r.options.stdio[1] = r.options.stdio[2] = (rotor_stdio){ROTOR_STDIO_FD, far};
    run(&r);
    sockets_expect(r.loop, near, "one\ntwo\n");
    assert_int_equal(fcntl(far, F_GETFD), flags);
    close(near);
    close(far);
    finish(&r);
}

static void it_begins_where_and_with_what_is_said(void **state)
{
    rig r;
    prepare(&r, SHELL("echo $PWD $COLOUR $HOME"));
    r.options.cwd = "/usr/bin";
    r.options.env = (const char *const[]){"COLOUR=green", "PATH=/usr/bin:/bin", NULL};
    r.options.stdio[1].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    sockets_expect(r.loop, r.pipes[1], "/usr/bin green\n");
    assert_int_equal(rotor_loop_run(r.loop), 0);
    finish(&r);
}

static void it_has_none_of_our_other_descriptors(void **state)
{
    rig r;
    char command[64];
    prepare(&r, SHELL(command));
    snprintf(command, sizeof command, "test -e /proc/$$/fd/%d || echo no",
             uv_backend_fd(rotor_loop_uv(r.loop)));
    r.options.stdio[1].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    sockets_expect(r.loop, r.pipes[1], "no\n");
    assert_int_equal(rotor_loop_run(r.loop), 0);
    finish(&r);
}

static void what_cannot_be_run_is_refused(void **state)
{
    rig r;
    prepare(&r, (const char *const[]){"no-such-program", NULL, NULL, NULL});
    r.options.stdio[0].kind = r.options.stdio[1].kind = ROTOR_STDIO_PIPE;
    int n = test_descriptors();
    assert_int_equal(rotor_process_begin(r.loop, &r.options, r.pipes, &r.handle), UV_ENOENT);
    assert_int_equal(r.handle.generation, 0);
    assert_int_equal(r.pipes[0], -1);
    assert_int_equal(r.pipes[1], -1);
    assert_int_equal(rotor_loop_turn(r.loop), 0);
    assert_true(test_descriptors() <= n + 2); /* what libuv has opened to hear of ends */
    r.options.args = SHELL("exit 0");
    r.options.cwd = "/no such folder";
    assert_int_equal(rotor_process_begin(r.loop, &r.options, r.pipes, NULL), UV_ENOENT);
    r.options.cwd = NULL;
    r.options.args = (const char *const[]){"/", NULL};
    assert_int_equal(rotor_process_begin(r.loop, &r.options, r.pipes, NULL), UV_EACCES);
    assert_int_equal(rotor_loop_count(r.loop), 0);
    assert_int_equal(r.ends, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    finish(&r);
}

static void what_makes_no_sense_is_refused(void **state)
{
    rig r;
    prepare(&r, (const char *const[]){NULL});
    assert_int_equal(rotor_process_begin(r.loop, &r.options, NULL, NULL), UV_EINVAL);
    r.options.args = SHELL("exit 0");
    r.options.stdio[1] = (rotor_stdio){ROTOR_STDIO_FD, -1};
    assert_int_equal(rotor_process_begin(r.loop, &r.options, NULL, NULL), UV_EINVAL);
    r.options.stdio[1].kind = ROTOR_STDIO_PIPE;
    assert_int_equal(rotor_process_begin(r.loop, &r.options, NULL, NULL), UV_EINVAL);
    finish(&r);
}

static void it_hears_signals(void **state)
{
    rig r;
    prepare(&r, (const char *const[]){"cat", NULL, NULL, NULL});
    r.options.stdio[0].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    int pid = rotor_process_pid(r.loop, r.handle);
    assert_true(pid > 0);
    char line[ROTOR_LINE_SIZE], expected[64];
    rotor_machine_line(rotor_find(r.loop, r.handle), line, sizeof line);
    snprintf(expected, sizeof expected, "process 0.1: the end of process %d; for ", pid);
    assert_memory_equal(line, expected, strlen(expected));
    assert_int_equal(rotor_process_kill(r.loop, r.handle, 1000), UV_EINVAL);
    assert_int_equal(rotor_process_kill(r.loop, r.handle, SIGKILL), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_int_equal(r.signum, SIGKILL);
    assert_int_equal(rotor_process_kill(r.loop, r.handle, SIGKILL), ROTOR_ECLOSED);
    assert_int_equal(rotor_process_pid(r.loop, r.handle), ROTOR_ECLOSED);
    finish(&r);
}

static bool exists(int pid)
{
    return kill(pid, 0) == 0;
}

static void a_program_goes_on_without_its_machine_and_leaves_no_zombie(void **state)
{
    rig r;
    prepare(&r, (const char *const[]){"cat", NULL, NULL, NULL});
    r.options.stdio[0].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    int pid = rotor_process_pid(r.loop, r.handle);
    assert_int_equal(rotor_end(r.loop, r.handle, 0), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0); /* which ends, though the program goes on */
    assert_int_equal(r.ends, 1);
    assert_int_equal(r.error, ROTOR_ECANCELED);
    assert_true(exists(pid));
    close(r.pipes[0]); /* now it ends, too */
    r.pipes[0] = -1;
    TURN_UNTIL(r.loop, !exists(pid));
    assert_int_equal(r.ends, 1);
    finish(&r);
}

/* Until it has ended, without taking note of that. */
static void await_end(int pid)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void a_program_that_outlives_its_loop_leaves_no_zombie(void **state)
{
    rig r;
    prepare(&r, (const char *const[]){"cat", NULL, NULL, NULL});
    r.options.stdio[0].kind = ROTOR_STDIO_PIPE;
    begin(&r);
    int pid = rotor_process_pid(r.loop, r.handle);
    assert_int_equal(rotor_loop_free(r.loop), 0);
    assert_int_equal(r.error, ROTOR_ECANCELED);
    assert_true(exists(pid));
    close(r.pipes[0]);
    await_end(pid);
    assert_true(exists(pid)); /* as a zombie */
    prepare(&r, SHELL("exit 0"));
    begin(&r);
    assert_false(exists(pid));
    pid = rotor_process_pid(r.loop, r.handle);
    await_end(pid);
    finish(&r); /* without a turn in which its end could be told */
    assert_false(exists(pid));
}

static rotor_response begin_inside(rotor_machine *m, rotor_scope *scope, void *seed)
{
    rig *r = seed;
    assert_int_equal(rotor_process_begin(scope->loop, &r->options, r->pipes, &r->handle), 0);
    assert_true(rotor_process_pid(scope->loop, r->handle) > 0);
    assert_int_equal(rotor_process_kill(scope->loop, m->self, SIGTERM), UV_EINVAL);
    return rotor_done();
}

static void a_transition_may_begin_one(void **state)
{
    static const rotor_type type = {
        .name = "beginner", .size = sizeof(rotor_machine), .create = begin_inside};
    rig r;
    prepare(&r, SHELL("exit 3"));
    assert_int_equal(rotor_add(r.loop, &type, &r, NULL), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_int_equal(r.status, 3);
    finish(&r);
}

static void scenario(void)
{
    rotor_loop *loop;
    rig r = {0};
    r.options = (rotor_process_options){.args = SHELL("exit 0"), .ended = on_end, .context = &r};
    r.options.stdio[0].kind = ROTOR_STDIO_PIPE;
    if (rotor_loop_new(&loop, NULL))
        return;
    int error = rotor_process_begin(loop, &r.options, r.pipes, &r.handle);
    if (!error) {
        assert_int_equal(rotor_loop_run(loop), 0);
        close(r.pipes[0]);
    }
    assert_true(!error || test_alloc_failed() > 0);
    assert_int_equal(r.ends, !error);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void memory_may_run_out(void **state)
{
    test_out_of_memory(scenario);
}

/* -- descriptors that are connected already ----------------------------------------------------- */

static void what_is_no_connected_socket_is_refused(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    rotor_connect_options options = {.seed = &sc};
    int pipes[2], near, far, listener = sockets_listen("127.0.0.1:0", 1, NULL);
    int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char address[32];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    sockets_pair(AF_INET, &near, &far);
    const struct {
        int fd, error;
    } cases[] = {{pipes[0], UV_ENOTSOCK},
                 {9999, UV_EBADF},
                 {listener, UV_EINVAL},
                 {unconnected, UV_ENOTCONN},
                 {datagrams, UV_EINVAL}};
    stage_open_loop(&st, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(address, sizeof address, "fd:%d", cases[i].fd);
        assert_int_equal(rotor_connect(st.loop, address, &sc.protocol, &options, NULL),
                         cases[i].error);
    }
    static const char *const malformed[] = {"fd:", "fd:x", "fd:-1", "fd:3 ", "fd:99999999999"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_int_equal(rotor_connect(st.loop, malformed[i], &sc.protocol, &options, NULL),
                         ROTOR_EADDRESS);
    snprintf(address, sizeof address, "fd:%d", near);
    assert_int_equal(rotor_connect(st.loop, address, &sc.protocol, &options, &st.self), 0);
    stage_turn(&st);
    assert_string_equal(sc.log, "create");
    snprintf(address, sizeof address, "fd:%d", far); /* which stays ours */
    assert_int_equal(rotor_connect(st.loop, address, &sc.protocol, &options, NULL),
                     ROTOR_ECAPACITY);
    stage_close(&st);
    int open[] = {far, pipes[0], pipes[1], listener, unconnected, datagrams};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        assert_int_equal(close(open[i]), 0);
}

static void a_descriptor_goes_with_its_loop(void **state)
{
    stage st;
    script sc = SCRIPT({.then = rotor_intent_sleep()});
    rotor_connect_options options = {.seed = &sc};
    int near, far;
    char address[32], peer[32];
    sockets_pair(AF_UNIX, &near, &far);
    snprintf(address, sizeof address, "fd:%d", near);
    stage_open_loop(&st, 0);
    assert_int_equal(rotor_connect(st.loop, address, &sc.protocol, &options, &st.self), 0);
    const rotor_stream *s = (rotor_stream *)rotor_find(st.loop, st.self);
    assert_int_equal(rotor_stream_peer(s, peer, sizeof peer), 0);
    assert_string_equal(peer, address);
    stage_close(&st); /* before it has begun */
    assert_string_equal(sc.log, "");
    close(far);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(it_tells_how_a_program_has_ended),
        TEST(what_it_prints_can_be_read),
        TEST(a_stream_talks_to_it),
        TEST(it_may_have_descriptors_of_ours),
        TEST(it_begins_where_and_with_what_is_said),
        TEST(it_has_none_of_our_other_descriptors),
        TEST(what_cannot_be_run_is_refused),
        TEST(what_makes_no_sense_is_refused),
        TEST(it_hears_signals),
        TEST(a_program_goes_on_without_its_machine_and_leaves_no_zombie),
        TEST(a_program_that_outlives_its_loop_leaves_no_zombie),
        TEST(a_transition_may_begin_one),
        TEST(memory_may_run_out),
        TEST(what_is_no_connected_socket_is_refused),
        TEST(a_descriptor_goes_with_its_loop),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
