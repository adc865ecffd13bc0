/* Usage: statsd_send PORT | ADDR:PORT NAME:NUMBER|c …
** Sends its arguments to a statsd, as many in one datagram as fit. Nobody answers; but that nobody is there
** is told by the system, for which it waits a moment. */
#include <stdio.h>
#include <string.h>

#include <rotor.h>

enum { LARGEST = 1400, MOMENT_MS = 100 }; /* what every network carries in one piece */

typedef struct sender {
    rotor_datagram d;
    char **next; /* of the lines, with a NULL behind the last */
} sender;

static const char *where;
static int status; /* of the program */

static rotor_response fail(const char *message)
{
    fprintf(stderr, "statsd_send: %s: %s\n", where, message);
    status = 1;
    return rotor_done();
}

static rotor_response send_lines(rotor_datagram *d, rotor_scope *scope)
{
    sender *s = (sender *)d;
    while (*s->next) {
        char text[LARGEST + 1];
        size_t n = 0;
        char **line = s->next;
        for (; *line && n + strlen(*line) < LARGEST; line++)
            n += (size_t)sprintf(text + n, "%s\n", *line);
        if (n == 0)
            return fail("a line is too long");
        int error = rotor_datagram_send(d, text, n, NULL);
        if (error == UV_EAGAIN)
            return rotor_ok(); /* then goes on in `writable` */
        if (error)
            return fail(rotor_strerror(error));
        s->next = line;
    }
    return rotor_ok_until(rotor_now(scope) + MOMENT_MS);
}

static rotor_response create(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    ((sender *)d)->next = seed;
    return send_lines(d, scope);
}

static rotor_response exception(rotor_datagram *d, rotor_scope *scope, int error)
{
    return fail(rotor_strerror(error));
}

static rotor_response timeout(rotor_datagram *d, rotor_scope *scope)
{
    return rotor_done();
}

static const rotor_datagram_protocol protocol = {
    .name = "sender",
    .size = sizeof(sender),
    .create = create,
    .writable = send_lines,
    .exception = exception,
    .timeout = timeout,
};

int main(int argc, char **argv)
{
    rotor_loop *loop;
    if (argc < 3) {
        fprintf(stderr, "usage: %s PORT | ADDR:PORT NAME:NUMBER|c …\n", argv[0]);
        return 2;
    }
    where = argv[1];
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_udp(loop, NULL, &protocol,
                          &(rotor_udp_options){.peer = where, .seed = argv + 2}, NULL);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], where, rotor_strerror(error));
        return 1;
    }
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : status;
}
