/* Usage: telnet ADDR:PORT
** What is typed goes to the peer, a line's end as CR LF, and what the peer sends is printed. Options
** that it would negotiate are refused (RFC 854). Ends when the peer does, or by ^C. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384 };
enum { SE = 240, SB = 250, WILL = 251, DO = 253, DONT = 254, IAC = 255 };

typedef struct session {
    rotor_stream stream;
    int command; /* of the peer's, that has not ended: IAC, or what was behind it; 0: none */
} session;

typedef struct keyboard {
    rotor_machine machine;
    rotor_io io;
    int fd;
} keyboard;

static rotor_handle the_session, the_keyboard;
static int status;

/* A WILL is refused by DONT, a DO by WONT. What is negotiated in detail is skipped up to SE. */
static void take(session *s, int byte)
{
    char refusal[] = {(char)IAC, (char)(s->command == WILL ? DONT : WILL + 1), (char)byte};
    if (s->command == WILL || s->command == DO)
        rotor_stream_write(&s->stream, refusal, sizeof refusal);
    if (s->command == 0 && byte != IAC)
        putchar(byte);
    else if (s->command == IAC && byte == IAC)
        putchar(byte);
    if (s->command == 0)
        s->command = byte == IAC ? IAC : 0;
    else if (s->command == IAC)
        s->command = byte >= SB && byte < IAC ? byte : 0;
    else if (s->command != SB || byte == SE)
        s->command = 0;
}

static rotor_intent go_on(rotor_stream *s, rotor_scope *scope)
{
    if (rotor_stream_unsent(s) >= HIGH)
        return rotor_and_flush(rotor_expect_bytes(1), LOW);
    rotor_wake(scope->loop, the_keyboard);
    return rotor_expect_bytes(1);
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return go_on(s, scope);
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    for (n = 0; n < rotor_buf_len(input); n++)
        take((session *)s, (unsigned char)rotor_buf_data(input)[n]);
    rotor_buf_consume(input, n);
    fflush(stdout);
    return go_on(s, scope);
}

static void fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    fprintf(stderr, "telnet: %s\n", rotor_strerror(error));
    status = 1;
    rotor_end(scope->loop, the_keyboard, 0);
}

static void drop(rotor_stream *s)
{
    rotor_end(s->machine.loop, the_keyboard, 0);
}

static const rotor_protocol telnet = {.name = "telnet",
                                      .size = sizeof(session),
                                      .create = create,
                                      .bytes_read = bytes_read,
                                      .bytes_flushed = go_on,
                                      .wakeup = go_on,
                                      .fatal = fatal,
                                      .drop = drop};

/* Send what was typed, as long as the session takes it; it wakes this machine when it does again. */
static rotor_response type(rotor_machine *m, rotor_scope *scope)
{
    keyboard *k = (keyboard *)m;
    rotor_stream *s = (rotor_stream *)rotor_find(scope->loop, the_session);
    char typed[4096];
    while (s && rotor_stream_output(s) && rotor_stream_unsent(s) < HIGH) {
        ssize_t n = read(k->fd, typed, sizeof typed);
        if (n < 0 && errno == EAGAIN)
            return rotor_io_want(&k->io, ROTOR_READABLE) ? rotor_done() : rotor_ok();
        if (n <= 0) {
            rotor_stream_shutdown(s);
            return rotor_done();
        }
        for (char *c = typed; c < typed + n; c++)
            if (*c == '\n')
                rotor_stream_write(s, "\r\n", 2);
            else
                rotor_stream_write(s, (char[]){*c, *c}, *c == (char)IAC ? 2 : 1);
    }
    rotor_io_want(&k->io, 0);
    rotor_wake(scope->loop, the_session);
    return rotor_ok();
}

static rotor_response ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    return type(m, scope);
}

/* A terminal is opened anew, as it would become non-blocking for whoever prints to it, too. A file is
** always ready, and cannot be watched. */
static rotor_response plug_in(rotor_machine *m, rotor_scope *scope, void *seed)
{
    keyboard *k = (keyboard *)m;
    k->fd = isatty(0) ? open("/dev/tty", O_RDONLY | O_CLOEXEC) : 0;
    int error = k->fd < 0 ? -errno : rotor_io_open(&k->io, m, k->fd);
    return error && error != UV_EPERM ? rotor_error(error) : rotor_ok();
}

static const rotor_type keyboard_type = {.name = "keyboard",
                                         .size = sizeof(keyboard),
                                         .create = plug_in,
                                         .ready = ready,
                                         .wakeup = type};

int main(int argc, char **argv)
{
    rotor_loop *loop;
    int error = argc == 2 ? rotor_loop_new(&loop, NULL) : UV_EINVAL;
    if (!error)
        error = rotor_connect(loop, argv[1], &telnet, NULL, &the_session);
    if (!error)
        error = rotor_add(loop, &keyboard_type, NULL, &the_keyboard);
    if (error)
        return fprintf(stderr, "telnet: %s; usage: telnet ADDR:PORT\n", rotor_strerror(error)), 2;
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : status;
}
