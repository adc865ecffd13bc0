/* Keeping a connection alive: tries and waits, ups and downs, and the options. How it ends is in
** test_persist_ends.c. */
#include "test.h"

#include <netinet/tcp.h>
#include <unistd.h>

#include "names.h"
#include "persisting.h"
#include "probe.h"
#include "sockets.h"
#include "support.h"

static void assert_between(uint64_t wait, uint64_t delay)
{
    assert_in_range(wait, (delay + 1) / 2, delay);
}

/* -- waits ------------------------------------------------------------------------------------- */

static void it_tries_until_it_is_up(void **state)
{
    static const uint64_t delays[] = {100,  200,   400,   800,   1600, 3200,
                                      6400, 12800, 25600, 30000, 30000};
    char where[128];
    int listener = persisting_reserve(where);
    persisting f;
    persisting_begin(&f, 0);
    persisting_to(&f, where);
    for (int i = 0; i < (int)(sizeof delays / sizeof delays[0]); i++) {
        persisting_await_down(&f, i + 1);
        assert_string_equal(f.sc.log, "fatal(ECONNREFUSED) down(ECONNREFUSED)");
        assert_int_equal(f.error, UV_ECONNREFUSED);
        assert_between(f.waits[i], delays[i]);
        assert_false(persisting_is_up(&f));
        persisting_wait(&f);
    }
    assert_int_equal(listen(listener, 10), 0);
    f.lines[0].say = "hello";
    persisting_await_up(&f, 1);
    assert_string_equal(f.sc.log, "create up");
    assert_true(persisting_is_up(&f));
    int fd = sockets_accept(f.st.loop, listener);
    sockets_expect(f.st.loop, fd, "hello");
    close(fd);
    persisting_end(&f);
    close(listener);
}

static void the_delays_may_be_chosen(void **state)
{
    static const struct {
        uint32_t first, most;
        uint64_t delays[4];
    } cases[] = {{1, 7, {1, 2, 4, 7}},
                 {100, 100, {100, 100, 100, 100}},
                 {300, 200, {300, 300, 300, 300}}, /* the ceiling is at least the first */
                 {40000, 0, {40000, 40000, 40000, 40000}},
                 {0, 801, {100, 200, 400, 800}},
                 {3000000000, 4000000000, {3000000000, 4000000000, 4000000000, 4000000000}}};
    char where[128];
    int listener = persisting_reserve(where);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        persisting f;
        persisting_begin(&f, 0);
        f.options.backoff_ms = cases[i].first;
        f.options.backoff_max_ms = cases[i].most;
        persisting_to(&f, where);
        for (int n = 0; n < 4; n++) {
            persisting_await_down(&f, n + 1);
            assert_between(f.waits[n], cases[i].delays[n]);
            persisting_wait(&f);
        }
        persisting_end(&f);
    }
    close(listener);
}

/* The waits after so many tries that are refused. */
static void draw(persisting *f, const char *where, uint64_t random, int n)
{
    persisting_begin(f, 0);
    f->options.random = random;
    f->options.backoff_ms = f->options.backoff_max_ms = 100;
    persisting_to(f, where);
    for (int i = 0; i < n; i++) {
        persisting_await_down(f, i + 1);
        f->sc.log[0] = '\0';
        test_monotonic_ms += f->waits[i];
    }
    persisting_end(f);
}

static void the_waits_are_random_and_repeatable(void **state)
{
    enum { N = 20, MANY = 200 };
    char where[128];
    int listener = persisting_reserve(where), high = 0, low = 0;
    persisting a, b;
    draw(&a, where, 7, N);
    draw(&b, where, 7, N);
    assert_memory_equal(a.waits, b.waits, N * sizeof a.waits[0]);
    draw(&b, where, 8, N);
    assert_memory_not_equal(a.waits, b.waits, N * sizeof a.waits[0]);
    draw(&a, where, 0, N);
    draw(&b, where, 0, N);
    assert_memory_not_equal(a.waits, b.waits, N * sizeof a.waits[0]);
    draw(&a, where, 1, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_between(a.waits[i], 100);
        low += a.waits[i] < 60;
        high += a.waits[i] > 90;
    }
    assert_in_range(low, 20, 60); /* a fifth each */
    assert_in_range(high, 20, 60);
    close(listener);
}

/* Connected for `ms` after two tries that were refused, when the delay would be 400: what it is. */
static void connection_lasts(uint64_t ms, uint64_t delay)
{
    char where[128];
    int listener = persisting_reserve(where);
    persisting f;
    persisting_begin(&f, 0);
    persisting_to(&f, where);
    persisting_await_down(&f, 1);
    persisting_wait(&f);
    persisting_await_down(&f, 2);
    persisting_wait(&f);
    assert_int_equal(listen(listener, 10), 0);
    persisting_await_up(&f, 1);
    int fd = sockets_accept(f.st.loop, listener);
    stage_wait(&f.st, ms);
    close(fd);
    persisting_await_down(&f, 3);
    assert_between(f.waits[2], delay);
    persisting_wait(&f);
    persisting_await_up(&f, 2);
    close(sockets_accept(f.st.loop, listener));
    persisting_await_down(&f, 4);
    assert_between(f.waits[3], 2 * delay); /* it goes on from there */
    persisting_end(&f);
    close(listener);
}

static void the_delay_starts_anew_when_a_connection_has_lasted(void **state)
{
    connection_lasts(0, 400);
    connection_lasts(400, 400);
    connection_lasts(401, 100);
    connection_lasts(1000000, 100);
}

static void a_wake_has_it_try_at_once(void **state)
{
    char where[128];
    int listener = persisting_reserve(where);
    persisting f;
    persisting_begin(&f, 0);
    persisting_to(&f, where);
    persisting_await_down(&f, 1);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0);
        persisting_await_down(&f, i + 1);
    }
    f.sc.log[0] = '\0';
    assert_int_equal(listen(listener, 10), 0);
    assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0);
    persisting_await_up(&f, 1);
    assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0); /* to no effect */
    stage_turn(&f.st);
    assert_string_equal(f.sc.log, "create up");
    stage_wait(&f.st, 100000); /* nor does an earlier wait come to its end */
    assert_int_equal(f.ups, 1);
    assert_int_equal(f.downs, 4);
    assert_true(persisting_is_up(&f));
    persisting_end(&f);
    close(listener);
}

/* -- up and down ------------------------------------------------------------------------------- */

static void it_comes_back(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    persisting f;
    persisting_begin(&f, 0);
    persisting_to(&f, where);
    f.lines[0].say = "hello";
    for (int i = 0; i < 4; i++) {
        bool by_reset = i % 2;
        persisting_await_up(&f, i + 1);
        assert_true(persisting_is_up(&f));
        assert_ptr_equal(f.sc.stream, rotor_find(f.st.loop, f.stream));
        int fd = sockets_accept(f.st.loop, listener);
        sockets_expect(f.st.loop, fd, "hello");
        if (by_reset)
            sockets_reset(fd);
        else
            close(fd);
        persisting_await_down(&f, i + 1);
        assert_int_equal(f.error, by_reset ? UV_ECONNRESET : 0);
        assert_string_equal(f.sc.log, by_reset ? "create up fatal(ECONNRESET) down(ECONNRESET) drop"
                                               : "create up exception(EEOF) down(OK) drop");
        assert_false(persisting_is_up(&f));
        assert_int_equal(f.sc.creates, i + 1);
        persisting_wait(&f);
    }
    persisting_end(&f);
    close(listener);
}

static void assert_not_up(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_false(persisting_is_up(sc->context));
    assert_int_equal(rotor_wake(scope->loop, s->machine.self), 0);
}

static void a_protocol_may_end_in_create(void **state)
{
    static const struct {
        rotor_intent then;
        const char *log;
        int error;
    } cases[] = {
        {{.kind = ROTOR_INTENT_DONE}, "create up down(OK) drop", 0},
        {{.kind = ROTOR_INTENT_ABORT}, "create up down(OK) drop", 0},
        {{.kind = ROTOR_INTENT_ERROR, .error = UV_EIO}, "create up down(EIO) drop", UV_EIO}};
    char name[80];
    snprintf(name, sizeof name, "unix:@rotor-test-%ld", (long)getpid()); /* connects at once */
    int listener = sockets_listen(name, 10, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        persisting f;
        persisting_begin(&f, 0);
        f.lines[0].then = cases[i].then;
        f.sc.act = assert_not_up;
        persisting_to(&f, name);
        for (int n = 1; n <= 3; n++) {
            persisting_await_down(&f, n);
            assert_string_equal(f.sc.log, cases[i].log);
            assert_int_equal(f.error, cases[i].error);
            assert_int_equal(f.ups, n);
            persisting_wait(&f);
        }
        persisting_end(&f);
    }
    close(listener);
}

static void ending_the_stream_leads_to_the_next(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    persisting f;
    persisting_begin(&f, 0);
    persisting_to(&f, where);
    for (int i = 0; i < 2; i++) {
        persisting_await_up(&f, i + 1);
        assert_int_equal(rotor_end(f.st.loop, f.stream, i ? UV_EIO : 0), 0);
        persisting_await_down(&f, i + 1);
        assert_string_equal(f.sc.log, i ? "create up down(EIO) drop" : "create up down(OK) drop");
        persisting_wait(&f);
    }
    persisting_end(&f);
    close(listener);
}

static void a_name_is_looked_up_each_time(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", NULL, "224.0.0.1", NULL, "127.0.0.1", NULL};
    static const int errors[] = {0, UV_EAI_NONAME, UV_ENETUNREACH, UV_EAI_NONAME, 0};
    char where[128], address[64];
    int listener = sockets_listen("127.0.0.1:0", 10, where), before = names_asked(), ups = 0;
    persisting f;
    persisting_begin(&f, 0);
    snprintf(address, sizeof address, "set.test:%s", strrchr(where, ':') + 1);
    names_set(hosts[0]);
    persisting_to(&f, address);
    for (int i = 0; i < 5; i++) {
        if (!errors[i]) {
            persisting_await_up(&f, ++ups);
            close(sockets_accept(f.st.loop, listener));
        }
        persisting_await_down(&f, i + 1);
        assert_int_equal(f.error, errors[i]);
        assert_int_equal(names_asked(), before + i + 1);
        names_set(hosts[i + 1]);
        persisting_wait(&f);
    }
    persisting_end(&f);
    close(listener);
}

/* -- what it is given -------------------------------------------------------------------------- */

static void each_try_has_its_timeout(void **state)
{
    sockets_crowd crowd;
    sockets_gather(&crowd, "127.0.0.1:0");
    for (uint32_t given = 0; given <= 300; given += 300) {
        persisting f;
        persisting_begin(&f, 0);
        f.options.timeout_ms = given;
        persisting_to(&f, crowd.where);
        for (int i = 0; i < 2; i++) {
            stage_turn(&f.st);
            assert_int_equal(rotor_wake(f.st.loop, f.st.self), 0); /* it is trying */
            stage_wait(&f.st, (given ? given : 10000) - 1);
            assert_string_equal(f.sc.log, "");
            stage_wait(&f.st, 1);
            assert_string_equal(f.sc.log, "fatal(ETIMEDOUT) down(ETIMEDOUT)");
            assert_int_equal(f.error, ROTOR_ETIMEDOUT);
            persisting_wait(&f);
        }
        persisting_end(&f);
    }
    sockets_disperse(&crowd);
}

static void options_reach_the_socket(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    for (int set = 0; set <= 1; set++) {
        persisting f;
        int value;
        socklen_t len = sizeof value;
        persisting_begin(&f, 0);
        f.options.keepalive_s = set ? 77 : 0;
        f.options.delay = set;
        persisting_to(&f, where);
        persisting_await_up(&f, 1);
        int fd = f.sc.stream->io.fd;
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        assert_int_equal(value, set);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len), 0);
        assert_int_equal(value == 77, set);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        assert_int_equal(value, !set);
        persisting_end(&f);
    }
    close(listener);
}

static void what_cannot_work_is_refused(void **state)
{
    static const char *const bad[] = {"", "127.0.0.1", "[::1]", "unix:", "1.2.3.4:99999"};
    persisting f;
    persisting_begin(&f, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f.st.self = (rotor_handle){7, 7};
        assert_int_equal(persisting_try(&f, bad[i]), ROTOR_EADDRESS);
        assert_int_equal(f.st.self.generation, 0);
    }
    f.options.keepalive_s = 32768;
    assert_int_equal(persisting_try(&f, "127.0.0.1:1"), UV_EINVAL);
    f.options.keepalive_s = 0;
    f.sc.protocol.create = NULL;
    assert_int_equal(persisting_try(&f, "127.0.0.1:1"), UV_EINVAL);
    assert_int_equal(rotor_loop_count(f.st.loop), 0);
    persisting_end(&f); /* nothing was released */
}

static void all_may_be_left_out(void **state)
{
    char where[128];
    int listener = persisting_reserve(where);
    persisting f;
    persisting_begin(&f, 0);
    f.sc.protocol.fatal = NULL;
    assert_int_equal(rotor_persist(f.st.loop, "224.0.0.1:1", &f.sc.protocol, NULL, NULL), 0);
    f.options = (rotor_persist_options){.seed = &f.sc};
    persisting_to(&f, where);
    assert_int_equal(listen(listener, 10), 0);
    f.lines[0].say = "hello";
    for (int left = 1000; f.sc.creates == 0; left--) {
        assert_true(left > 0);
        sockets_turn(f.st.loop);
        test_monotonic_ms += 10;
    }
    assert_true(persisting_is_up(&f));
    assert_int_equal(rotor_loop_free(f.st.loop), 0);
    assert_int_equal(f.st.errors, 0);
    close(listener);
}

static rotor_response nothing(rotor_machine *m, rotor_scope *scope, void *seed)
{
    return rotor_ok();
}

static void only_a_persisting_machine_has_such_a_stream(void **state)
{
    static const rotor_type other = {
        .name = "other", .size = sizeof(rotor_machine), .create = nothing};
    persisting f;
    rotor_handle handle;
    persisting_begin(&f, 0);
    assert_int_equal(rotor_add(f.st.loop, &other, NULL, &handle), 0);
    assert_int_equal(rotor_persist_stream(f.st.loop, handle).generation, 0);
    assert_int_equal(rotor_persist_stream(f.st.loop, ROTOR_NO_HANDLE).generation, 0);
    persisting_end(&f);
}

static rotor_handle observer;

static rotor_response observe(probe *p, rotor_scope *scope)
{
    persisting *f = p->plan->context;
    assert_int_equal(f->downs, 0);
    assert_null(rotor_find(scope->loop, f->stream));
    assert_int_equal(rotor_persist_stream(scope->loop, f->st.self).generation, 0);
    return rotor_done();
}

static void wake_observer(script *sc, rotor_stream *s, rotor_scope *scope)
{
    if (sc->reads > 0)
        assert_int_equal(rotor_wake(scope->loop, observer), 0);
}

static void what_has_just_ended_is_not_the_stream(void **state)
{
    char where[128];
    int listener = sockets_listen("127.0.0.1:0", 10, where);
    persisting f;
    probe_plan plan = {.name = "observer", .context = &f, .on = {[WAKEUP] = observe}};
    persisting_begin(&f, 0);
    probe_reset();
    assert_int_equal(rotor_add(f.st.loop, &probe_type, &plan, NULL), 0);
    observer = plan.self;
    f.sc.act = wake_observer;
    persisting_to(&f, where);
    int fd = sockets_accept(f.st.loop, listener);
    sockets_send(fd, "hello");
    persisting_await_down(&f, 1);
    assert_int_equal(plan.count[WAKEUP], 1);
    close(fd);
    persisting_end(&f);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_tries_until_it_is_up),
        TEST(the_delays_may_be_chosen),
        TEST(the_waits_are_random_and_repeatable),
        TEST(the_delay_starts_anew_when_a_connection_has_lasted),
        TEST(a_wake_has_it_try_at_once),
        TEST(it_comes_back),
        TEST(a_protocol_may_end_in_create),
        TEST(ending_the_stream_leads_to_the_next),
        TEST(a_name_is_looked_up_each_time),
        TEST(each_try_has_its_timeout),
        TEST(options_reach_the_socket),
        TEST(what_cannot_work_is_refused),
        TEST(all_may_be_left_out),
        TEST(only_a_persisting_machine_has_such_a_stream),
        TEST(what_has_just_ended_is_not_the_stream),
    };
    return cmocka_run_group_tests_name("persist", tests, NULL, NULL);
}
