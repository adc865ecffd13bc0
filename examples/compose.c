/* Usage: compose ECHO_ADDRESS HTTP_ADDRESS
** An echo server, an HTTP page with its numbers, and a supervisor that owns a ticker, in one loop. A
** POST to the page makes the ticker fail; the supervisor hears of it and starts another. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

enum { TICK_MS = 1000 };

static struct {
    unsigned long echoed, ticks, failures;
    rotor_handle ticker;
} service;

static rotor_intent echo_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_expect_bytes(1);
}

static rotor_intent echo_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    n = rotor_buf_len(input);
    int error = rotor_stream_write(s, rotor_buf_data(input), n);
    rotor_buf_consume(input, n);
    service.echoed += n;
    return error ? rotor_intent_error(error) : rotor_expect_bytes(1);
}

static const rotor_protocol echo = {
    .name = "echo", .size = sizeof(rotor_stream), .create = echo_create, .bytes_read = echo_read};

static rotor_response page(rotor_http *h, rotor_scope *scope)
{
    char text[100] = "failing\n";
    rotor_text method = rotor_http_method(h);
    if (method.len == 4 && memcmp(method.data, "POST", 4) == 0)
        rotor_end(scope->loop, service.ticker, UV_EINTR);
    else
        snprintf(text, sizeof text, "%lu ticks, %lu failures, %lu bytes echoed\n", service.ticks,
                 service.failures, service.echoed);
    return rotor_http_send_text(h, 200, text) ? rotor_error(UV_ENOMEM) : rotor_done();
}

static const rotor_http_handler status = {.name = "status", .request_received = page};

static rotor_response ticker_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    service.ticker = m->self;
    return rotor_ok_until(rotor_now(scope) + TICK_MS);
}

static rotor_response ticker_timeout(rotor_machine *m, rotor_scope *scope)
{
    service.ticks++;
    return rotor_ok_until(rotor_now(scope) + TICK_MS);
}

static void say_gone(rotor_machine *m)
{
    fprintf(stderr, "%s: gone\n", rotor_machine_name(m));
}

static const rotor_type ticker = {.name = "ticker",
                                  .size = sizeof(rotor_machine),
                                  .create = ticker_create,
                                  .timeout = ticker_timeout,
                                  .drop = say_gone};

static rotor_response begin(rotor_machine *m, rotor_scope *scope, void *seed)
{
    return rotor_spawn(scope, &ticker, NULL);
}

static rotor_response child_done(rotor_machine *m, rotor_scope *scope, rotor_machine *child, int e)
{
    fprintf(stderr, "%s: %s\n", rotor_machine_name(child), rotor_strerror(e));
    service.failures++;
    return rotor_spawn(scope, &ticker, NULL);
}

/* Having child_done it owns what it spawns: wherever it ends, its ticker ends before it. */
static const rotor_type supervisor = {.name = "supervisor",
                                      .size = sizeof(rotor_machine),
                                      .create = begin,
                                      .child_done = child_done,
                                      .drop = say_gone};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle lines = ROTOR_NO_HANDLE, pages;
    char where[2][128];
    if (argc != 3) {
        fprintf(stderr, "usage: %s ECHO_ADDRESS HTTP_ADDRESS\n", argv[0]);
        return 2;
    }
    int error = rotor_loop_new(&loop, NULL);
    if (error || (error = rotor_listen(loop, argv[1], &echo, NULL, &lines)) ||
        (error = rotor_http_serve(loop, argv[2], &status, NULL, &pages)) ||
        (error = rotor_add(loop, &supervisor, NULL, NULL))) {
        fprintf(stderr, "%s: %s: %s\n", *argv, argv[1 + !!lines.generation], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, lines, where[0], sizeof *where);
    rotor_listener_address(loop, pages, where[1], sizeof *where);
    printf("listening on %s (echo) and http://%s/ (status)\n", where[0], where[1]);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
