#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"
#include "support.h"

static rotor_loop *new_loop(void)
{
    rotor_loop *loop;
    rotor_config config = {.on_error = probe_on_error, .buffer = 64};
    probe_reset();
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* Watch the first descriptor of each of the pairs that context points to. */
typedef struct watched {
    int pairs[3][2];
    unsigned events[3];
    int n;
} watched;

static rotor_response watch(probe *p, rotor_scope *scope)
{
    watched *w = p->plan->context;
    for (int i = 0; i < w->n; i++) {
        assert_int_equal(rotor_io_open(&p->io[i], &p->machine, w->pairs[i][0]), 0);
        assert_int_equal(p->io[i].fd, w->pairs[i][0]);
        assert_int_equal(p->io[i].interest, 0);
        assert_int_equal(rotor_io_want(&p->io[i], w->events[i]), 0);
        assert_int_equal(p->io[i].interest, w->events[i]);
    }
    return rotor_ok();
}

static watched new_watched(int n, unsigned events)
{
    watched w = {.n = n};
    for (int i = 0; i < n; i++) {
        pair(w.pairs[i]);
        w.events[i] = events;
    }
    return w;
}

static void close_peers(watched *w)
{
    for (int i = 0; i < w->n; i++)
        close(w->pairs[i][1]);
}

static void send_byte(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static rotor_response read_byte(probe *p, rotor_scope *scope)
{
    char byte;
    assert_int_equal(read(p->plan->io->fd, &byte, 1), 1);
    return rotor_ok();
}

/* -- events ------------------------------------------------------------------------------------ */

static void ready_tells_which_and_what(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(3, ROTOR_READABLE);
    w.events[1] |= ROTOR_WRITABLE;
    w.events[2] = 0;
    probe_plan a = {.name = "a", .on = {watch, [READY] = read_byte}, .context = &w};
    a.on[READY] = NULL;
    probe_add(loop, &a);
    send_byte(w.pairs[2][1]); /* nobody waits for that */
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    assert_ptr_equal(a.io, &a.probe->io[1]);
    assert_int_equal(a.events, ROTOR_WRITABLE);

    assert_int_equal(rotor_io_want(&a.probe->io[1], 0), 0);
    a.on[READY] = read_byte;
    send_byte(w.pairs[0][1]);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 2);
    assert_ptr_equal(a.io, &a.probe->io[0]);
    assert_int_equal(a.events, ROTOR_READABLE);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 2);

    assert_int_equal(rotor_io_want(&a.probe->io[2], ROTOR_READABLE | ROTOR_WRITABLE), 0);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 3);
    assert_int_equal(a.events, ROTOR_READABLE | ROTOR_WRITABLE);
    probe_free(loop);
    close_peers(&w);
}

static void it_is_told_again_until_dealt_with(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(1, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on[CREATE] = watch, .context = &w};
    probe_add(loop, &a);
    close_peers(&w); /* the end of file is something to read */
    probe_turn(loop);
    int once = a.count[READY];
    assert_true(once > 0);
    probe_turn(loop);
    assert_true(a.count[READY] > once);
    assert_int_equal(rotor_io_want(&a.probe->io[0], ROTOR_READABLE), 0);
    probe_turn(loop);
    assert_int_equal(rotor_io_want(&a.probe->io[0], 0), 0);
    once = a.count[READY];
    probe_turn(loop);
    assert_int_equal(a.count[READY], once);
    probe_free(loop);
}

/* Whether or not there is something to read before it. */
static void a_hangup_needs_no_reading(void **state)
{
    for (int sent = 0; sent <= 1; sent++) {
        rotor_loop *loop = new_loop();
        watched w = new_watched(1, ROTOR_HANGUP);
        probe_plan a = {.name = "a", .on[CREATE] = watch, .context = &w};
        probe_add(loop, &a);
        if (sent)
            send_byte(w.pairs[0][1]);
        probe_turn(loop);
        assert_int_equal(a.count[READY], 0);
        assert_int_equal(shutdown(w.pairs[0][1], SHUT_WR), 0);
        probe_turn(loop);
        assert_true(a.count[READY] > 0);
        assert_int_equal(a.events, ROTOR_HANGUP);
        close_peers(&w);
        probe_turn(loop);
        assert_int_equal(a.events, ROTOR_HANGUP);
        probe_free(loop);
    }
}

static rotor_response want_nothing(probe *p, rotor_scope *scope)
{
    assert_int_equal(p->plan->io->interest, 0);
    return rotor_ok();
}

/* Nobody reads from the pipe any more, which epoll reports as an error: writing tells which. */
static void an_error_shows_as_what_was_waited_for(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = {.n = 1, .events = {ROTOR_WRITABLE}};
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    w.pairs[0][0] = fds[1];
    close(fds[0]);
    probe_plan a = {.name = "a", .on = {watch, [READY] = want_nothing}, .context = &w};
    probe_add(loop, &a);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    assert_int_equal(a.events, ROTOR_WRITABLE);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    assert_int_equal(rotor_io_want(a.io, ROTOR_WRITABLE), 0); /* it can be asked for again */
    probe_turn(loop);
    assert_int_equal(a.count[READY], 2);
    probe_free(loop);
}

static void a_deadline_or_wakeup_leaves_the_interest(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(1, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on = {watch, [READY] = read_byte}, .context = &w};
    probe_add(loop, &a);
    rotor_wake(loop, a.self);
    probe_turn(loop);
    send_byte(w.pairs[0][1]);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.wakeup a.ready");
    probe_free(loop);
    close_peers(&w);
}

/* -- closing ----------------------------------------------------------------------------------- */

static rotor_response close_own(probe *p, rotor_scope *scope)
{
    rotor_io *io = p->plan->io;
    rotor_io_close(io);
    rotor_io_close(io); /* once more does nothing */
    assert_int_equal(rotor_io_want(io, ROTOR_READABLE), 0);
    assert_int_equal(rotor_io_open(io, &p->machine, io->fd), UV_EBUSY);
    return rotor_ok();
}

static void close_in_its_own_ready(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(2, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on = {watch, [READY] = close_own}, .context = &w};
    probe_add(loop, &a);
    send_byte(w.pairs[0][1]);
    probe_turn(loop);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    a.on[READY] = read_byte;
    send_byte(w.pairs[1][1]); /* the other one goes on */
    probe_turn(loop);
    assert_ptr_equal(a.io, &a.probe->io[1]);
    /* The struct is free for another descriptor, or the same, when libuv has let go of it. */
    rotor_io *io = &a.probe->io[0];
    assert_int_equal(rotor_io_open(io, &a.probe->machine, w.pairs[0][0]), 0);
    assert_int_equal(rotor_io_want(io, ROTOR_READABLE), 0);
    probe_turn(loop);
    assert_ptr_equal(a.io, io);
    probe_free(loop);
    close_peers(&w);
}

static rotor_response close_both(probe *p, rotor_scope *scope)
{
    rotor_io_close(&p->io[0]);
    rotor_io_close(&p->io[1]);
    return rotor_ok();
}

static void close_another_that_is_ready_too(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(2, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on = {watch, [READY] = close_both}, .context = &w};
    probe_add(loop, &a);
    send_byte(w.pairs[0][1]);
    send_byte(w.pairs[1][1]);
    probe_turn(loop);
    probe_turn(loop);
    assert_int_equal(a.count[READY], 1);
    probe_free(loop);
    close_peers(&w);
}

static void done_in_ready(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(3, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on = {watch, [READY] = probe_done}, .context = &w};
    probe_add(loop, &a);
    for (int i = 0; i < 3; i++)
        send_byte(w.pairs[i][1]);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_string_equal(probe_log(), "a.create a.ready a.drop");
    for (int i = 0; i < 3; i++) { /* the descriptors are closed */
        char byte;
        assert_true(read(w.pairs[i][1], &byte, 1) <= 0);
    }
    probe_free(loop);
    close_peers(&w);
}

static rotor_response watch_and_fail(probe *p, rotor_scope *scope)
{
    watch(p, scope);
    return rotor_error(UV_EIO);
}

static void failed_create_with_open_ios(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(3, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on[CREATE] = watch_and_fail, .context = &w};
    send_byte(w.pairs[0][1]);
    size_t before = test_alloc_live();
    assert_int_equal(rotor_add(loop, &probe_type, &a, NULL), UV_EIO);
    assert_string_equal(probe_log(), "a.create a.drop");
    probe_turn(loop);
    assert_int_equal(a.count[READY], 0);
    assert_int_equal(test_alloc_live(), before + 1); /* the table of slots; the machine is gone */
    probe_free(loop);
    close_peers(&w);
}

static rotor_response see_the_ios(probe *p, rotor_scope *scope)
{
    assert_true(p->plan->ended->io[0].open && p->plan->ended->io[1].open);
    return rotor_ok();
}

static void a_child_keeps_its_ios_until_its_parent_has_seen_it(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(2, ROTOR_READABLE);
    probe_plan child = {.name = "child", .on = {watch, [READY] = probe_done}, .context = &w};
    probe_plan a = {
        .name = "a", .on = {probe_spawn, [CHILD_DONE] = see_the_ios}, .context = &child};
    probe_add(loop, &a);
    send_byte(w.pairs[0][1]);
    send_byte(w.pairs[1][1]);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create child.create a.spawned child.ready a.child_done "
                                     "child.drop");
    probe_free(loop);
    close_peers(&w);
}

typedef struct rivals {
    watched watched[2];
    probe_plan plans[3];
    int reused[2];
} rivals;

static rotor_response watch_reused(probe *p, rotor_scope *scope)
{
    rivals *r = p->plan->context;
    assert_int_equal(rotor_io_open(&p->io[0], &p->machine, r->reused[0]), 0);
    assert_int_equal(rotor_io_want(&p->io[0], ROTOR_READABLE), 0);
    return rotor_ok();
}

static rotor_response end_the_other(probe *p, rotor_scope *scope)
{
    rivals *r = p->plan->context;
    assert_int_equal(rotor_end(scope->loop, r->plans[p->plan == &r->plans[0]].self, 0), 0);
    return read_byte(p, scope);
}

static void take_its_descriptor(probe *p)
{
    rivals *r = p->plan->context;
    if (r->plans[2].count[CREATE] > 0 || r->reused[0])
        return;
    pair(r->reused); /* the lowest free number: the one just closed */
    assert_int_equal(r->reused[0], p->io[0].fd);
    assert_int_equal(rotor_add(p->machine.loop, &probe_type, &r->plans[2], NULL), 0);
}

static rotor_response watch_rival(probe *p, rotor_scope *scope)
{
    rivals *r = p->plan->context;
    p->plan->context = &r->watched[p->plan == &r->plans[1]];
    rotor_response response = watch(p, scope);
    p->plan->context = r;
    return response;
}

/* Two are ready in the same turn. The first ends the second, whose descriptor number a third takes
** over at once: that one must not be told what was meant for the second. */
static void a_stale_event_reaches_nobody(void **state)
{
    rotor_loop *loop = new_loop();
    rivals r = {.watched = {new_watched(1, ROTOR_READABLE), new_watched(1, ROTOR_READABLE)}};
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 2; i++) {
        r.plans[i] = (probe_plan){.name = names[i],
                                  .on = {watch_rival, [READY] = end_the_other},
                                  .dropped = take_its_descriptor,
                                  .context = &r};
        probe_add(loop, &r.plans[i]);
    }
    r.plans[2] = (probe_plan){.name = "c", .on[CREATE] = watch_reused, .context = &r};
    for (int i = 0; i < 2; i++)
        send_byte(r.watched[i].pairs[0][1]);
    probe_turn(loop);
    assert_int_equal(r.plans[0].count[READY] + r.plans[1].count[READY], 1);
    assert_int_equal(r.plans[0].count[DROP] + r.plans[1].count[DROP], 1);
    assert_int_equal(r.plans[2].count[CREATE], 1);
    probe_turn(loop);
    assert_int_equal(r.plans[2].count[READY], 0);
    send_byte(r.reused[1]);
    probe_turn(loop);
    assert_int_equal(r.plans[2].count[READY], 1);
    probe_free(loop);
    for (int i = 0; i < 2; i++)
        close_peers(&r.watched[i]);
    close(r.reused[1]);
}

/* -- errors ------------------------------------------------------------------------------------ */

static rotor_response open_badly(probe *p, rotor_scope *scope)
{
    int fd = *(int *)p->plan->context;
    rotor_io none = {.fd = 0};
    p->plan->status = rotor_io_open(&p->io[0], &p->machine, fd);
    assert_memory_equal(&p->io[0], &none, sizeof none);
    rotor_io_close(&p->io[0]);
    return rotor_ok();
}

static void what_cannot_be_watched(void **state)
{
    rotor_loop *loop = new_loop();
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), none = -1;
    probe_plan a = {.name = "a", .on[CREATE] = open_badly, .context = &file};
    probe_plan b = {.name = "b", .on[CREATE] = open_badly, .context = &none};
    probe_add(loop, &a);
    probe_add(loop, &b);
    assert_int_equal(a.status, UV_EPERM);
    assert_int_equal(b.status, UV_EBADF);
    probe_free(loop);
    close(file);
}

static rotor_response open_twice(probe *p, rotor_scope *scope)
{
    watch(p, scope);
    assert_int_equal(rotor_io_open(&p->io[0], &p->machine, p->io[0].fd), UV_EBUSY);
    assert_int_equal(rotor_io_open(&p->io[1], &p->machine, p->io[0].fd), UV_EEXIST);
    return rotor_ok();
}

static void one_io_for_one_descriptor(void **state)
{
    rotor_loop *loop = new_loop();
    watched w = new_watched(1, ROTOR_READABLE);
    probe_plan a = {.name = "a", .on[CREATE] = open_twice, .context = &w};
    probe_add(loop, &a);
    probe_free(loop);
    close_peers(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ready_tells_which_and_what),
        TEST(it_is_told_again_until_dealt_with),
        TEST(a_hangup_needs_no_reading),
        TEST(an_error_shows_as_what_was_waited_for),
        TEST(a_deadline_or_wakeup_leaves_the_interest),
        TEST(close_in_its_own_ready),
        TEST(close_another_that_is_ready_too),
        TEST(done_in_ready),
        TEST(failed_create_with_open_ios),
        TEST(a_stale_event_reaches_nobody),
        TEST(a_child_keeps_its_ios_until_its_parent_has_seen_it),
        TEST(what_cannot_be_watched),
        TEST(one_io_for_one_descriptor),
    };
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
