#include "persisting.h"

#include <netinet/in.h>
#include <unistd.h>

#include "../core/private.h"
#include "sockets.h"
#include "support.h"
#include "test.h"

static bool inside; /* `up` or `down` */

static void enter(persisting *f, rotor_scope *scope)
{
    assert_false(inside);
    assert_true(rotor_loop_busy(scope->loop));
    assert_int_equal(scope->machine->self.slot, f->st.self.slot);
    assert_int_equal(scope->machine->self.generation, f->st.self.generation);
    inside = true;
    if (f->act)
        f->act(f, scope);
    inside = false;
}

static void on_up(rotor_scope *scope, rotor_handle stream, void *context)
{
    persisting *f = context;
    f->ups++;
    f->stream = stream;
    script_note(&f->sc, "up");
    enter(f, scope);
}

static void on_down(rotor_scope *scope, int error, uint64_t wait_ms, void *context)
{
    persisting *f = context;
    assert_true(f->downs < MOST_WAITS);
    f->waits[f->downs++] = wait_ms;
    f->error = error;
    script_note(&f->sc, "down(%s)", rotor_err_name(error));
    enter(f, scope);
}

static void on_release(void *seed)
{
    persisting *f = ((script *)seed)->context;
    assert_null(f->sc.stream);
    f->releases++;
}

static void on_closed(void *context)
{
    persisting *f = context;
    assert_int_equal(f->releases, 1);
    f->closes++;
}

static void assert_outside(script *sc, rotor_stream *s, rotor_scope *scope)
{
    assert_false(inside);
}

void persisting_init(persisting *f)
{
    memset(f, 0, sizeof *f);
    inside = false;
    f->lines[0] = (script_line){.then = rotor_expect_bytes(5)};
    f->lines[1] = (script_line){.then = rotor_intent_done()};
    f->sc = (script){.protocol = script_protocol,
                     .lines = f->lines,
                     .nlines = 2,
                     .act = assert_outside,
                     .context = f};
    f->options = (rotor_persist_options){.seed = &f->sc,
                                         .release = on_release,
                                         .context = f,
                                         .up = on_up,
                                         .down = on_down,
                                         .closed = on_closed};
}

void persisting_begin(persisting *f, size_t capacity)
{
    persisting_init(f);
    stage_open_loop(&f->st, capacity);
}

int persisting_try(persisting *f, const char *address)
{
    return rotor_persist(f->st.loop, address, &f->sc.protocol, &f->options, &f->st.self);
}

void persisting_to(persisting *f, const char *address)
{
    assert_int_equal(persisting_try(f, address), 0);
}

void persisting_end(persisting *f)
{
    bool began = f->st.self.generation > 0;
    assert_int_equal(rotor_loop_free(f->st.loop), 0);
    assert_int_equal(f->releases, began);
    assert_int_equal(f->closes, began);
    assert_int_equal(f->sc.drops, f->sc.creates);
    assert_int_equal(f->st.errors, 0);
}

void persisting_await_down(persisting *f, int n)
{
    TURN_UNTIL(f->st.loop, f->downs >= n);
    assert_int_equal(f->downs, n);
}

void persisting_await_up(persisting *f, int n)
{
    TURN_UNTIL(f->st.loop, f->ups >= n);
    assert_int_equal(f->ups, n);
}

void persisting_wait(persisting *f)
{
    int ups = f->ups, downs = f->downs;
    uint64_t wait = f->waits[downs - 1];
    stage_turn(&f->st);
    size_t machines = rotor_loop_count(f->st.loop);
    assert_true(wait > 0);
    stage_wait(&f->st, wait - 1);
    assert_int_equal(rotor_loop_count(f->st.loop), machines);
    assert_int_equal(f->ups, ups);
    assert_int_equal(f->downs, downs);
    test_monotonic_ms++;
    f->sc.log[0] = '\0';
    f->sc.played = 0;
}

bool persisting_is_up(persisting *f)
{
    rotor_handle stream = rotor_persist_stream(f->st.loop, f->st.self);
    return stream.generation > 0 && rotor_find(f->st.loop, stream) == &f->sc.stream->machine;
}

int persisting_reserve(char where[128])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(where, 128, "127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}
