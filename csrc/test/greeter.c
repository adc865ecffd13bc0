#include "greeter.h"

#include <poll.h>

#include "../core/private.h"
#include "../stream/address.h"
#include "sockets.h"
#include "support.h"
#include "test.h"

/* Every connection is a first one. */
static void from_the_top(script *sc, rotor_stream *s, rotor_scope *scope)
{
    sc->played = s->intent.kind == ROTOR_INTENT_SLEEP ? 0 : 1;
}

static void on_closed(void *seed)
{
    script *sc = seed;
    greeter *g = sc->context;
    g->closed++;
}

void greeter_prepare(greeter *g, size_t capacity)
{
    static script_line lines[2];
    lines[0] = (script_line){.then = rotor_expect_delimiter("\n", 1, 100), .say = "hi\n"};
    lines[1] = (script_line){.then = rotor_expect_delimiter("\n", 1, 100), .echo = true};
    *g = (greeter){0};
    stage_open_loop(&g->st, capacity);
    g->sc = (script){.protocol = script_protocol,
                     .lines = lines,
                     .nlines = 2,
                     .act = from_the_top,
                     .context = g};
}

int greeter_listen(greeter *g, const char *address, rotor_listen_options options)
{
    options.seed = &g->sc;
    options.closed = on_closed;
    options.failed = &g->failed;
    g->failed = "not set";
    return rotor_listen(g->st.loop, address, &g->sc.protocol, &options, &g->listener);
}

void greeter_begin(greeter *g, const char *address, rotor_listen_options options, size_t capacity)
{
    greeter_prepare(g, capacity);
    assert_int_equal(greeter_listen(g, address, options), 0);
    assert_null(g->failed);
    assert_int_equal(rotor_listener_address(g->st.loop, g->listener, g->where, sizeof g->where), 0);
}

void greeter_end(greeter *g)
{
    stage_close(&g->st);
    assert_int_equal(g->closed, 1);
    assert_int_equal(g->sc.drops, g->sc.creates);
}

int greeter_fails(const char *address, rotor_listen_options options, int error)
{
    greeter g;
    greeter_prepare(&g, 0);
    int descriptors = test_descriptors();
    g.listener = (rotor_handle){1, 1};
    int result = greeter_listen(&g, address, options);
    if (result != error)
        fail_msg("\"%s\" gives %s, not %s", address, rotor_err_name(result), rotor_err_name(error));
    assert_int_equal(g.listener.generation, 0);
    assert_int_equal(rotor_loop_count(g.st.loop), 0);
    assert_int_equal(test_descriptors(), descriptors);
    assert_int_equal(rotor_loop_free(g.st.loop), 0);
    assert_int_equal(g.closed, 0);
    return g.failed ? (int)(g.failed - address) : -1;
}

const char *greeter_where(const greeter *g, int i)
{
    static char one[ROTOR_ADDRESS_SIZE];
    const char *rest = g->where;
    for (; i >= 0; i--) {
        assert_non_null(rest);
        rest = rotor_address_split(rest, one, sizeof one);
    }
    return one;
}

int greeter_visit(greeter *g, const char *address)
{
    int fd = sockets_connect(address);
    sockets_expect(g->st.loop, fd, "hi\n");
    return fd;
}

void greeter_assert_echoes(greeter *g, int fd)
{
    sockets_send(fd, "echo\n");
    sockets_expect(g->st.loop, fd, "echo\n");
}

void greeter_assert_quiet(stage *st)
{
    struct pollfd backend = {.fd = uv_backend_fd(st->loop->uv), .events = POLLIN};
    stage_turn(st);
    assert_int_equal(poll(&backend, 1, 0), 0);
    assert_false(uv_is_active((uv_handle_t *)&st->loop->idle));
}
