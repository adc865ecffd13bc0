/* Giving up a connection at each stage of its making: nothing may be left, and the seed is released. */
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#include "../core/private.h"
#include "../stream/connect.h"
#include "names.h"
#include "script.h"
#include "sockets.h"
#include "support.h"

typedef enum stage_of {
    LOOKING_UP,
    CONNECTING,
    CONNECTING_TO_ALL, /* addresses of a name at once */
    CONNECTED,         /* but its stream does not know */
    FAILED,            /* nor does it here */
    STAGES
} stage_of;

typedef enum way { BY_END, BY_FREE, BY_FREE_OF_ADOPTED, BY_TIMEOUT, WAYS } way;

typedef struct fixture {
    stage st;
    script sc;
    script_line line;
    char name[64]; /* of a Unix socket */
    int released;
} fixture;

static void on_release(void *seed)
{
    script *sc = seed;
    ((fixture *)sc->context)->released++;
}

static void begin(fixture *f, uv_loop_t *adopted)
{
    memset(f, 0, sizeof *f);
    rotor_config config = {.clock = &test_clock, .uv = adopted, .context = &f->st};
    assert_int_equal(rotor_loop_new(&f->st.loop, &config), 0);
    f->line = (script_line){.then = rotor_expect_bytes(1)};
    f->sc = (script){.protocol = script_protocol, .lines = &f->line, .nlines = 1, .context = f};
}

static int try_connect(fixture *f, const char *address)
{
    rotor_connect_options options = {.seed = &f->sc, .release = on_release, .timeout_ms = 1000};
    return rotor_connect(f->st.loop, address, &f->sc.protocol, &options, &f->st.self);
}

static void *release_names(void *ignored)
{
    names_release();
    return NULL;
}

/* Freeing a loop waits for its look-ups. */
static void free_loop(fixture *f, uv_loop_t *adopted)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_names, NULL), 0);
    assert_int_equal(rotor_loop_free(f->st.loop), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (adopted) {
        uv_run(adopted, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(adopted), 0);
    }
}

static rotor_response connect_and_leave(rotor_machine *m, rotor_scope *scope, void *seed)
{
    fixture *f = seed;
    assert_int_equal(try_connect(f, f->name), 0);
    assert_int_equal(rotor_end(scope->loop, f->st.self, 0), 0); /* before it can be told */
    return rotor_done();
}

static const rotor_type hasty = {
    .name = "hasty", .size = sizeof(rotor_machine), .create = connect_and_leave};

/* One address is silent; the first attempt goes on while the second does, and the third is to come. */
static void connect_to_all(fixture *f, const char *port)
{
    char address[32];
    names_set("127.0.0.1 127.0.0.1 127.0.0.1");
    snprintf(address, sizeof address, "set.test:%s", port);
    int idle = test_descriptors();
    assert_int_equal(try_connect(f, address), 0);
    TURN_UNTIL(f->st.loop, test_descriptors() == idle + 1);
    stage_wait(&f->st, 250);
    assert_int_equal(test_descriptors(), idle + 2);
}

static void cancel(stage_of at, way by)
{
    fixture f;
    uv_loop_t uv, *adopted = by == BY_FREE_OF_ADOPTED ? &uv : NULL;
    sockets_crowd crowd;
    int listener = -1;
    if (adopted)
        assert_int_equal(uv_loop_init(adopted), 0);
    begin(&f, adopted);
    sockets_gather(&crowd, "127.0.0.1:0");
    snprintf(f.name, sizeof f.name, "unix:@rotor-test-%ld", (long)getpid());
    switch (at) {
    case LOOKING_UP:
        names_hold();
        assert_int_equal(try_connect(&f, "slow.test:80"), 0);
        names_wait(1);
        break;
    case CONNECTING:
        assert_int_equal(try_connect(&f, crowd.where), 0);
        break;
    case CONNECTING_TO_ALL:
        connect_to_all(&f, strrchr(crowd.where, ':') + 1);
        break;
    case CONNECTED:
        listener = sockets_listen(f.name, 10, NULL);
        assert_int_equal(rotor_add(f.st.loop, &hasty, &f, NULL), 0);
        break;
    case FAILED:
        assert_int_equal(rotor_add(f.st.loop, &hasty, &f, NULL), 0);
        break;
    case STAGES:
        break;
    }
    if (by == BY_END && at < CONNECTED) {
        assert_int_equal(rotor_end(f.st.loop, f.st.self, 0), 0);
        stage_turn(&f.st);
        assert_int_equal(f.released, 1);
        assert_int_equal(rotor_loop_count(f.st.loop), 0);
    }
    if (by == BY_TIMEOUT) {
        stage_wait(&f.st, 1000);
        assert_string_equal(f.sc.log, at < CONNECTED ? "fatal(ETIMEDOUT)" : "");
    }
    free_loop(&f, adopted);
    assert_int_equal(f.released, 1);
    assert_int_equal(f.sc.creates, 0);
    assert_int_equal(f.sc.drops, 0);
    sockets_disperse(&crowd);
    if (listener >= 0)
        close(listener);
}

static void any_stage_any_way(void **state)
{
    int descriptors = test_descriptors();
    for (stage_of at = LOOKING_UP; at < STAGES; at++) {
        for (way by = BY_END; by < WAYS; by++) {
            cancel(at, by);
            assert_int_equal(test_descriptors(), descriptors);
            assert_int_equal(test_alloc_live(), 0);
        }
    }
}

/* A connection that the kernel has made, while the loop has not turned. */
static void made_and_not_looked_at(void **state)
{
    for (int by_end = 0; by_end <= 1; by_end++) {
        fixture f;
        char where[128];
        int listener = sockets_listen("127.0.0.1:0", 10, where);
        begin(&f, NULL);
        assert_int_equal(try_connect(&f, where), 0);
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(fd >= 0);
        if (by_end) {
            assert_int_equal(rotor_end(f.st.loop, f.st.self, 0), 0);
            assert_int_equal(sockets_end(f.st.loop, fd, NULL), 0);
        }
        free_loop(&f, NULL);
        assert_int_equal(f.released, 1);
        char byte;
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
        close(fd);
        close(listener);
    }
}

/* More look-ups than libuv does at a time (it leaves them half of its threads): the last ones have not
** even begun, and can be taken back. */
static void look_ups_in_the_queue_are_taken_back(void **state)
{
    enum { RUNNING = 2, MORE = 3 };
    fixture f[RUNNING + MORE];
    names_hold();
    begin(&f[0], NULL);
    for (int i = 1; i < RUNNING + MORE; i++) {
        f[i] = f[0];
        f[i].sc.lines = &f[i].line;
        f[i].sc.context = &f[i];
    }
    f[0].sc.context = &f[0];
    rotor_loop *loop = f[0].st.loop;
    size_t idle = test_alloc_live() + 1; /* with the loop's slots */
    for (int i = 0; i < RUNNING; i++)
        assert_int_equal(try_connect(&f[i], "slow.test:80"), 0);
    names_wait(RUNNING);
    size_t waiting = test_alloc_live();
    for (int i = RUNNING; i < RUNNING + MORE; i++)
        assert_int_equal(try_connect(&f[i], "slow.test:80"), 0);
    for (int i = RUNNING; i < RUNNING + MORE; i++)
        assert_int_equal(rotor_end(loop, f[i].st.self, 0), 0);
    TURN_UNTIL(loop, test_alloc_live() == waiting);
    for (int i = 0; i < RUNNING; i++)
        assert_int_equal(rotor_end(loop, f[i].st.self, 0), 0);
    stage_turn(&f[0].st);
    assert_true(test_alloc_live() > idle); /* these cannot be, and end when they end */
    names_release();
    TURN_UNTIL(loop, test_alloc_live() == idle);
    for (int i = 0; i < RUNNING + MORE; i++)
        assert_int_equal(f[i].released, 1);
    assert_int_equal(rotor_loop_free(loop), 0);
}

int main(void)
{
    (void)setenv("UV_THREADPOOL_SIZE", "4", 1);
    const struct CMUnitTest tests[] = {
        TEST(any_stage_any_way),
        TEST(made_and_not_looked_at),
        TEST(look_ups_in_the_queue_are_taken_back),
    };
    return cmocka_run_group_tests_name("connect_cancel", tests, NULL, NULL);
}
