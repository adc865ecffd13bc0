/* Usage: echo PORT | ADDR:PORT
** Sends every line back to whoever sent it. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

enum { LONGEST_LINE = 4096 };

static rotor_intent next_line(rotor_stream *s, rotor_scope *scope)
{
    rotor_intent intent = rotor_expect_delimiter("\n", 1, LONGEST_LINE);
    return rotor_intent_until(intent, rotor_now(scope) + 60000);
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return next_line(s, scope);
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    int error = rotor_stream_write(s, rotor_buf_data(input), n + 1);
    if (error)
        return rotor_intent_error(error);
    rotor_buf_consume(input, n + 1);
    return next_line(s, scope);
}

/* Nothing came for a minute, or too long a line, or the peer has closed in the middle of one. */
static rotor_intent timeout(rotor_stream *s, rotor_scope *scope)
{
    return rotor_intent_done();
}

static rotor_intent exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    return rotor_intent_done();
}

static const rotor_protocol echo = {
    .name = "echo",
    .size = sizeof(rotor_stream),
    .create = create,
    .bytes_read = bytes_read,
    .timeout = timeout,
    .exception = exception,
};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT | ADDR:PORT\n", argv[0]);
        return 2;
    }
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_listen(loop, argv[1], &echo, NULL, &listener);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on %s\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
