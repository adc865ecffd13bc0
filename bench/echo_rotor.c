/* Echo as a protocol of rotor: whatever has come is written back. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_expect_bytes(1);
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    int error = rotor_stream_write(s, rotor_buf_data(input), rotor_buf_len(input));
    rotor_buf_consume(input, rotor_buf_len(input));
    return error ? rotor_intent_error(error) : rotor_expect_bytes(1);
}

static const rotor_protocol echo = {
    .name = "echo", .size = sizeof(rotor_stream), .create = create, .bytes_read = bytes_read};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    const char *address = argc > 1 ? argv[1] : "7000";
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_listen(loop, address, &echo, NULL, NULL);
    if (error) {
        fprintf(stderr, "echo_rotor: %s: %s\n", address, rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
