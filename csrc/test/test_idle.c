/* Machines that do not keep the loop running, and those of whose end on_error is not told. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "../core/private.h"
#include "sockets.h"
#include "support.h"

typedef struct watcher {
    rotor_machine machine;
    rotor_io io;
    int fd;
} watcher;

static int events, errors;

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    watcher *w = (watcher *)m;
    w->fd = *(int *)seed;
    assert_int_equal(rotor_io_open(&w->io, m, w->fd), 0);
    assert_int_equal(rotor_io_want(&w->io, ROTOR_READABLE), 0);
    return rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned what)
{
    char byte;
    events++;
    assert_int_equal(recv(((watcher *)m)->fd, &byte, 1, 0), 1);
    return byte == 'e' ? rotor_error(UV_EIO) : rotor_same();
}

static void on_drop(rotor_machine *m)
{
    close(((watcher *)m)->fd);
}

static const rotor_type watcher_type = {
    .name = "watcher",
    .size = sizeof(watcher),
    .create = on_create,
    .ready = on_ready,
    .drop = on_drop,
};

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    errors++;
}

typedef struct rig {
    rotor_loop *loop;
    rotor_machine *m[2];
    int far[2];
} rig;

static rig open_rig(void)
{
    rig r;
    events = errors = 0;
    assert_int_equal(rotor_loop_new(&r.loop, &(rotor_config){.on_error = on_error}), 0);
    for (int i = 0; i < 2; i++) {
        int near;
        rotor_handle handle;
        sockets_pair(AF_UNIX, &near, &r.far[i]);
        assert_int_equal(rotor_add(r.loop, &watcher_type, &near, &handle), 0);
        r.m[i] = rotor_find(r.loop, handle);
    }
    return r;
}

static void close_rig(rig *r)
{
    assert_int_equal(rotor_loop_free(r->loop), 0);
    close(r->far[0]);
    close(r->far[1]);
}

static bool keeps_running(const rig *r)
{
    return uv_loop_alive(r->loop->uv);
}

static void a_loop_does_not_run_for_idle_machines(void **state)
{
    rig r = open_rig();
    rotor__machine_idle(r.m[0], true);
    assert_true(keeps_running(&r));
    rotor__machine_idle(r.m[1], true);
    rotor__machine_idle(r.m[1], true);
    assert_false(keeps_running(&r));
    assert_int_equal(rotor_loop_run(r.loop), 0); /* returns */
    assert_int_equal(rotor_loop_count(r.loop), 2);
    rotor__machine_idle(r.m[0], false);
    assert_true(keeps_running(&r));
    rotor__machine_idle(r.m[0], true);
    assert_false(keeps_running(&r));
    close_rig(&r);
}

static void idle_machines_are_told_what_happens(void **state)
{
    rig r = open_rig();
    rotor__machine_idle(r.m[0], true);
    sockets_send(r.far[0], "x");
    TURN_UNTIL(r.loop, events == 1);
    rotor__machine_idle(r.m[1], true);
    sockets_send(r.far[1], "x");
    TURN_UNTIL(r.loop, events == 2);
    close_rig(&r);
}

static void the_last_machine_that_is_not_idle_ends(void **state)
{
    rig r = open_rig();
    rotor__machine_idle(r.m[0], true);
    assert_int_equal(rotor_end(r.loop, r.m[1]->self, 0), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_int_equal(rotor_loop_count(r.loop), 1);
    rotor_handle other;
    int near, far;
    sockets_pair(AF_UNIX, &near, &far);
    assert_int_equal(rotor_add(r.loop, &watcher_type, &near, &other), 0);
    assert_true(keeps_running(&r));
    assert_int_equal(rotor_end(r.loop, r.m[0]->self, 0), 0);
    TURN_UNTIL(r.loop, rotor_loop_count(r.loop) == 1);
    assert_true(keeps_running(&r));
    assert_int_equal(rotor_end(r.loop, other, 0), 0);
    assert_int_equal(rotor_loop_run(r.loop), 0);
    assert_int_equal(rotor_loop_count(r.loop), 0);
    close(far);
    close_rig(&r);
}

static void on_error_is_not_told_of_quiet_machines(void **state)
{
    rig r = open_rig();
    r.m[0]->flags |= ROTOR__QUIET;
    sockets_send(r.far[0], "e");
    TURN_UNTIL(r.loop, rotor_loop_count(r.loop) == 1);
    assert_int_equal(errors, 0);
    sockets_send(r.far[1], "e");
    TURN_UNTIL(r.loop, rotor_loop_count(r.loop) == 0);
    assert_int_equal(errors, 1);
    close_rig(&r);
}

static rotor_response on_passed(rotor_machine *m, rotor_scope *scope)
{
    events++;
    return rotor_done();
}

static rotor_response on_sleep(rotor_machine *m, rotor_scope *scope, void *seed)
{
    return rotor_ok();
}

static void a_deadline_may_be_set_from_outside(void **state)
{
    static const rotor_type sleeper = {
        .name = "sleeper", .size = sizeof(rotor_machine), .create = on_sleep, .timeout = on_passed};
    rotor_loop *loop;
    rotor_handle handle;
    events = 0;
    test_monotonic_ms = 1000;
    assert_int_equal(rotor_loop_new(&loop, &(rotor_config){.clock = &test_clock}), 0);
    assert_int_equal(rotor_add(loop, &sleeper, NULL, &handle), 0);
    rotor__machine_until(rotor_find(loop, handle), 1010);
    test_monotonic_ms = 1009;
    assert_int_equal(rotor_loop_turn(loop), 0);
    assert_int_equal(events, 0);
    rotor__machine_until(rotor_find(loop, handle), 1011);
    test_monotonic_ms = 1010;
    assert_int_equal(rotor_loop_turn(loop), 0);
    assert_int_equal(events, 0);
    test_monotonic_ms = 1011;
    assert_int_equal(rotor_loop_turn(loop), 0);
    assert_int_equal(events, 1);
    assert_int_equal(rotor_loop_free(loop), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_loop_does_not_run_for_idle_machines),  TEST(idle_machines_are_told_what_happens),
        TEST(the_last_machine_that_is_not_idle_ends), TEST(on_error_is_not_told_of_quiet_machines),
        TEST(a_deadline_may_be_set_from_outside),
    };
    return cmocka_run_group_tests_name("idle", tests, NULL, NULL);
}
