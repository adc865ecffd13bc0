/* Usage: telnet ADDR:PORT
** What is typed goes to the peer, a line's end as CR LF, and what the peer sends is printed. Options
** that it would negotiate are refused (RFC 854). Ends when the peer does, or by ^C. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384, SE = 240, SB = 250, WILL, WONT, DO, DONT, IAC };

typedef struct keyboard {
    rotor_machine machine;
    rotor_io io;
    bool is_file; /* always ready, and cannot be watched */
} keyboard;

static rotor_handle the_session, the_keyboard;
static int command; /* of the peer's, that has not ended: IAC, or what was behind it; 0: none */
static int status;

/* Whether the byte is to be printed. A WILL is refused by DONT, a DO by WONT; what is negotiated in
** detail is skipped up to SE. */
static bool is_text(rotor_stream *s, int byte)
{
    int before = command;
    char refusal[] = {(char)IAC, (char)(before == WILL ? DONT : WONT), (char)byte};
    if (before == WILL || before == DO)
        rotor_stream_write(s, refusal, sizeof refusal);
    if (before == 0 && byte == IAC)
        command = IAC;
    else if (before == IAC && byte >= SB && byte < IAC)
        command = byte;
    else if (before != SB || byte == SE)
        command = 0;
    return before == IAC ? byte == IAC : before == 0 && byte != IAC;
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
    the_session = s->machine.self;
    return go_on(s, scope);
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    struct pollfd output = {.fd = 1, .events = POLLOUT};
    rotor_buf *input = rotor_stream_input(s);
    char *text = rotor_buf_data(input);
    size_t len = 0;
    for (size_t i = 0; i < rotor_buf_len(input); i++)
        if (is_text(s, (unsigned char)text[i]))
            text[len++] = text[i];
    while (len > 0) { /* all waits for standard output, be it blocking or not */
        ssize_t written = poll(&output, 1, -1) < 0 ? -1 : write(output.fd, text, len);
        if (written < 0)
            return rotor_intent_error(-errno);
        text += written;
        len -= (size_t)written;
    }
    rotor_buf_consume(input, rotor_buf_len(input));
    return go_on(s, scope);
}

static void drop(rotor_stream *s)
{
    rotor_loop_stop(s->machine.loop);
}

static const rotor_protocol telnet = {.name = "telnet",
                                      .size = sizeof(rotor_stream),
                                      .create = create,
                                      .bytes_read = bytes_read,
                                      .bytes_flushed = go_on,
                                      .wakeup = go_on,
                                      .drop = drop,
                                      .high_water = 4 * HIGH};

/* Send what is typed while the session takes it; or else it wakes this machine when it does. */
static rotor_response type(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    keyboard *k = (keyboard *)m;
    rotor_stream *s = (rotor_stream *)rotor_find(scope->loop, the_session);
    char typed[4096];
    bool takes = s && rotor_stream_output(s) && rotor_stream_unsent(s) < HIGH;
    rotor_io_want(&k->io, takes ? ROTOR_READABLE : 0);
    if (!takes)
        rotor_wake(scope->loop, the_session);
    if (!takes || (!io && !k->is_file))
        return rotor_ok();
    ssize_t n = read(0, typed, sizeof typed);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        rotor_stream_shutdown(s);
        return rotor_done();
    }
    for (const char *c = typed; c < typed + n; c++)
        if (*c == '\n')
            rotor_stream_write(s, "\r\n", 2);
        else
            rotor_stream_write(s, (char[]){*c, *c}, *c == (char)IAC ? 2 : 1);
    if (k->is_file)
        rotor_again(scope);
    return rotor_ok();
}

static rotor_response wakeup(rotor_machine *m, rotor_scope *scope)
{
    return type(m, scope, NULL, 0);
}

/* What libuv watches it makes non-blocking, also for others who use it, such as standard output. */
static rotor_response plug_in(rotor_machine *m, rotor_scope *scope, void *seed)
{
    keyboard *k = (keyboard *)m;
    int flags = fcntl(0, F_GETFL), error = rotor_io_open(&k->io, m, 0);
    fcntl(0, F_SETFL, flags);
    k->is_file = error == UV_EPERM;
    return error && !k->is_file ? rotor_error(error) : rotor_ok();
}

static const rotor_type keyboard_type = {.name = "keyboard",
                                         .size = sizeof(keyboard),
                                         .create = plug_in,
                                         .ready = type,
                                         .wakeup = wakeup};

static void failed(rotor_loop *loop, rotor_machine *m, int error)
{
    fprintf(stderr, "telnet: %s\n", rotor_strerror(error));
    status = 1;
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    int error = argc == 2 ? rotor_loop_new(&loop, &(rotor_config){.on_error = failed}) : UV_EINVAL;
    if (!error)
        error = rotor_add(loop, &keyboard_type, NULL, &the_keyboard);
    if (!error)
        error = rotor_connect(loop, argv[1], &telnet, NULL, NULL);
    if (error)
        return fprintf(stderr, "telnet: %s; usage: telnet ADDR:PORT\n", rotor_strerror(error)), 2;
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : status;
}
