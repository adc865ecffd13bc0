/* Ending a connection that is kept alive, at each of its points; and living with short supplies. */
#include "test.h"

#include <unistd.h>

#include "../core/private.h"
#include "names.h"
#include "persisting.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

/* -- ending ------------------------------------------------------------------------------------ */

typedef enum point {
    NOT_BEGUN,
    LOOKING_UP,
    CONNECTING,
    UP,
    ABOUT_TO_TRY_AGAIN,
    AT_CAPACITY,
    IN_CREATE, /* from here on, by what runs then */
    IN_UP,
    IN_DOWN,
    IN_BYTES_READ,
    POINTS
} point;

typedef enum way { BY_END, BY_FREE, BY_FREE_OF_ADOPTED, WAYS } way;

static void end_it(persisting *f, rotor_scope *scope)
{
    assert_int_equal(rotor_end(scope->loop, f->st.self, 0), 0);
}

static void end_it_in_up(persisting *f, rotor_scope *scope)
{
    if (f->ups > 0)
        end_it(f, scope);
}

static void end_it_in_create(script *sc, rotor_stream *s, rotor_scope *scope)
{
    end_it(sc->context, scope);
}

static void end_it_when_read(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->reads > 0)
        end_it(sc->context, scope);
}

typedef struct world {
    sockets_crowd crowd;
    char open[128], shut[128];
    int listener, reserved;
} world;

static void reach(persisting *f, const world *w, point at)
{
    static probe_plan plan;
    switch (at) {
    case NOT_BEGUN:
        persisting_to(f, w->open);
        break;
    case LOOKING_UP:
        names_hold();
        persisting_to(f, "slow.test:80");
        stage_turn(&f->st);
        names_wait(1);
        break;
    case CONNECTING:
        persisting_to(f, w->crowd.where);
        stage_turn(&f->st);
        break;
    case UP:
        persisting_to(f, w->open);
        persisting_await_up(f, 1);
        break;
    case ABOUT_TO_TRY_AGAIN:
        persisting_to(f, w->shut);
        persisting_await_down(f, 1);
        break;
    case AT_CAPACITY:
        plan = (probe_plan){.name = "p"};
        persisting_to(f, w->open);
        assert_int_equal(rotor_add(f->st.loop, &probe_type, &plan, NULL), 0);
        stage_turn(&f->st);
        break;
    case IN_CREATE:
        f->sc.act = end_it_in_create;
        persisting_to(f, w->open);
        break;
    case IN_UP:
        f->act = end_it_in_up;
        persisting_to(f, w->open);
        break;
    case IN_DOWN:
        f->act = end_it;
        persisting_to(f, w->shut);
        break;
    case IN_BYTES_READ:
        f->sc.act = end_it_when_read;
        persisting_to(f, w->open);
        int fd = sockets_accept(f->st.loop, w->listener);
        sockets_send(fd, "hello");
        TURN_UNTIL(f->st.loop, stage_is_over(&f->st));
        close(fd);
        break;
    case POINTS:
        break;
    }
}

static void assert_log(const persisting *f, point at)
{
    static const char *const logs[] = {[NOT_BEGUN] = "",
                                       [LOOKING_UP] = "",
                                       [CONNECTING] = "",
                                       [UP] = "create up drop",
                                       [ABOUT_TO_TRY_AGAIN] =
                                           "fatal(ECONNREFUSED) down(ECONNREFUSED)",
                                       [AT_CAPACITY] = "",
                                       [IN_CREATE] = "create drop",
                                       [IN_UP] = "create up drop",
                                       [IN_DOWN] = "fatal(ECONNREFUSED) down(ECONNREFUSED)",
                                       [IN_BYTES_READ] = "create up read(hello) drop"};
    assert_string_equal(f->sc.log, logs[at]);
}

static void end_at(const world *w, point at, way by)
{
    persisting f;
    uv_loop_t uv;
    persisting_begin(&f, at == AT_CAPACITY ? 2 : 0);
    f.lines[1].then = rotor_expect_bytes(1);
    if (by == BY_FREE_OF_ADOPTED) {
        rotor_config config = f.st.loop->config;
        config.uv = &uv;
        assert_int_equal(rotor_loop_free(f.st.loop), 0);
        assert_int_equal(uv_loop_init(&uv), 0);
        assert_int_equal(rotor_loop_new(&f.st.loop, &config), 0);
    }
    reach(&f, w, at);
    if (by == BY_END && at < IN_CREATE)
        assert_int_equal(rotor_end(f.st.loop, f.st.self, 0), 0);
    if (by == BY_END || at >= IN_CREATE) {
        TURN_UNTIL(f.st.loop, stage_is_over(&f.st));
        stage_turn(&f.st);
        assert_int_equal(f.closes, 1);
        assert_int_equal(rotor_loop_count(f.st.loop), at == AT_CAPACITY);
        assert_int_equal(rotor_persist_stream(f.st.loop, f.st.self).generation, 0);
        stage_wait(&f.st, 1000000);
        assert_int_equal(rotor_loop_count(f.st.loop), at == AT_CAPACITY);
    }
    names_release();
    persisting_end(&f);
    if (by == BY_FREE_OF_ADOPTED) {
        uv_run(&uv, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&uv), 0);
    }
    assert_log(&f, at);
}

static void any_point_any_way(void **state)
{
    world w;
    sockets_gather(&w.crowd, "127.0.0.1:0");
    w.listener = sockets_listen("127.0.0.1:0", 10, w.open);
    w.reserved = persisting_reserve(w.shut);
    int descriptors = test_descriptors();
    for (point at = NOT_BEGUN; at < POINTS; at++) {
        for (way by = BY_END; by < WAYS; by++) {
            end_at(&w, at, by);
            assert_int_equal(test_descriptors(), descriptors);
            assert_int_equal(test_alloc_live(), 0);
            /* Those who were connected are left by the kernel's queue. */
            for (int fd; (fd = accept(w.listener, NULL, NULL)) >= 0;)
                close(fd);
        }
    }
    close(w.listener);
    close(w.reserved);
    sockets_disperse(&w.crowd);
}

static rotor_response persist_and_leave(probe *p, rotor_scope *scope)
{
    persisting *f = p->plan->context;
    persisting_to(f, p->plan->name);
    assert_string_equal(f->sc.log, "");
    if (f->options.delay)
        assert_int_equal(rotor_end(scope->loop, f->st.self, 0), 0);
    return rotor_done();
}

static void a_transition_may_begin_it(void **state)
{
    char name[80];
    snprintf(name, sizeof name, "unix:@rotor-test-%ld", (long)getpid());
    const char *addresses[] = {name, "unix:@rotor-test-nobody"}; /* known at once */
    int listener = sockets_listen(name, 10, NULL);
    for (int i = 0; i < 4; i++) {
        persisting f;
        bool ended = i >= 2; /* before it has begun */
        persisting_begin(&f, 0);
        f.options.delay = ended;
        probe_plan plan = {
            .name = addresses[i % 2], .context = &f, .on = {[WAKEUP] = persist_and_leave}};
        probe_reset();
        assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
        assert_int_equal(rotor_wake(f.st.loop, plan.self), 0);
        assert_int_equal(rotor_loop_turn(f.st.loop), 0);
        stage_turn(&f.st);
        assert_int_equal(rotor_loop_turn(f.st.loop), 0);
        assert_string_equal(f.sc.log, ended   ? ""
                                      : i % 2 ? "fatal(ECONNREFUSED) down(ECONNREFUSED)"
                                              : "create up");
        assert_int_equal(f.closes, ended);
        persisting_end(&f);
    }
    close(listener);
}

/* -- short supplies ---------------------------------------------------------------------------- */

static void a_full_loop_is_waited_for(void **state)
{
    char where[128];
    int listener = persisting_reserve(where);
    persisting f;
    persisting_begin(&f, 2);
    persisting_to(&f, where);
    for (int i = 0; i < 3; i++) {
        probe_plan plan = {.name = "p"};
        probe_reset();
        assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
        stage_wait(&f.st, 1000000);
        assert_string_equal(f.sc.log, "");
        assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0); /* in vain */
        stage_turn(&f.st);
        assert_string_equal(f.sc.log, "");
        assert_int_equal(f.downs, i);
        if (i == 2)
            assert_int_equal(listen(listener, 10), 0);
        assert_int_equal(rotor_end(f.st.loop, plan.self, 0), 0);
        if (i < 2)
            persisting_await_down(&f, i + 1);
        else
            persisting_await_up(&f, 1);
        f.sc.log[0] = '\0';
    }
    persisting_end(&f);
    close(listener);
}

static void two_may_share_a_slot(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    persisting a, b;
    persisting_begin(&a, 3);
    persisting_begin(&b, 0);
    assert_int_equal(rotor_loop_free(b.st.loop), 0);
    b.st.loop = a.st.loop;
    persisting_to(&a, where);
    persisting_await_up(&a, 1);
    persisting_to(&b, where);
    for (int i = 1; i <= 3; i++) {
        persisting *has = i % 2 ? &a : &b, *has_not = i % 2 ? &b : &a;
        test_monotonic_ms += 1000000;
        stage_turn(&a.st);
        assert_true(persisting_is_up(has));
        assert_false(persisting_is_up(has_not));
        close(sockets_accept(a.st.loop, listener));
        TURN_UNTIL(a.st.loop, persisting_is_up(has_not));
        assert_int_equal(has->downs, has->ups);
        a.sc.played = b.sc.played = 0;
        has_not->sc.played = 1;
    }
    assert_int_equal(rotor_end(a.st.loop, b.st.self, 0), 0);
    stage_turn(&a.st);
    assert_int_equal(b.closes, 1);
    persisting_end(&a);
    close(listener);
}

static void no_room_for_it_is_returned(void **state)
{
    persisting f;
    probe_plan plan = {.name = "p"};
    persisting_begin(&f, 1);
    probe_reset();
    assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
    f.st.self = (rotor_handle){7, 7};
    assert_int_equal(persisting_try(&f, "127.0.0.1:1"), ROTOR_ECAPACITY);
    assert_int_equal(f.st.self.generation, 0);
    persisting_end(&f); /* nothing was released */
}

static char server[128];
static int server_fd;

static void never(rotor_loop *loop, rotor_machine *m, int error)
{
    fail();
}

/* Up, down and up again: with memory that is short once it takes another try. */
static void come_back_short_of_memory(void)
{
    persisting f;
    rotor_config config = {.clock = &test_clock, .on_error = never};
    persisting_init(&f);
    int error = rotor_loop_new(&f.st.loop, &config);
    if (!error) {
        error = persisting_try(&f, server);
        for (int left = 10000; !error && f.ups < 2 && test_alloc_failed() < 5; left--) {
            assert_true(left > 0);
            sockets_turn(f.st.loop);
            test_monotonic_ms += 10;
            f.sc.log[0] = '\0';
            int fd = accept(server_fd, NULL, NULL);
            if (fd >= 0)
                close(fd);
            assert_true(f.error == 0 || f.error == UV_ENOMEM);
        }
        persisting_end(&f);
    }
    assert_true(error == 0 || (error == UV_ENOMEM && test_alloc_failed() > 0));
}

static void any_allocation_may_fail(void **state)
{
    server_fd = sockets_listen("127.0.0.1:0", 100, server);
    test_out_of_memory(come_back_short_of_memory);
    close(server_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_point_any_way),          TEST(a_transition_may_begin_it),
        TEST(a_full_loop_is_waited_for),  TEST(two_may_share_a_slot),
        TEST(no_room_for_it_is_returned), TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("persist_ends", tests, NULL, NULL);
}
