/* Usage: countdown PORT | ADDR:PORT
** Counts down from five, a second a step, for whoever connects (try telnet). The counting is a machine
** that waits for nothing but deadlines; it writes to the visitor's stream. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <rotor.h>

enum { FROM = 5, STEP_MS = 1000 };

typedef struct countdown {
    rotor_machine machine;
    rotor_handle visitor;
    int left;
} countdown;

/* False when the visitor has left. */
static bool say(countdown *c)
{
    char text[16];
    rotor_stream *s = (rotor_stream *)rotor_find(c->machine.loop, c->visitor);
    int len = c->left > 0 ? snprintf(text, sizeof text, "%d\r\n", c->left)
                          : snprintf(text, sizeof text, "lift-off\r\n");
    return s && !rotor_stream_write(s, text, (size_t)len);
}

static rotor_response count_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    countdown *c = (countdown *)m;
    c->visitor = *(rotor_handle *)seed;
    free(seed);
    c->left = FROM;
    return say(c) ? rotor_ok_until(rotor_now(scope) + STEP_MS) : rotor_done();
}

static rotor_response count_timeout(rotor_machine *m, rotor_scope *scope)
{
    countdown *c = (countdown *)m;
    c->left--;
    if (!say(c))
        return rotor_done();
    if (c->left > 0)
        return rotor_ok_until(rotor_now(scope) + STEP_MS);
    rotor_wake(scope->loop, c->visitor);
    return rotor_done();
}

static const rotor_type countdown_type = {
    .name = "countdown",
    .size = sizeof(countdown),
    .create = count_create,
    .timeout = count_timeout,
};

static rotor_intent visitor_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    /* Inside a transition the new machine is created later, when this stream may be gone. */
    rotor_handle *self = malloc(sizeof *self);
    if (!self)
        return rotor_intent_error(UV_ENOMEM);
    *self = s->machine.self;
    int error = rotor_add(scope->loop, &countdown_type, self, NULL);
    if (error) {
        free(self);
        return rotor_intent_error(error);
    }
    return rotor_expect_bytes(1); /* nothing is expected, but so the stream hears of its end */
}

static rotor_intent visitor_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf_consume(rotor_stream_input(s), rotor_buf_len(rotor_stream_input(s)));
    return rotor_expect_bytes(1);
}

static rotor_intent visitor_wakeup(rotor_stream *s, rotor_scope *scope)
{
    return rotor_intent_done();
}

static const rotor_protocol visitor = {
    .name = "visitor",
    .size = sizeof(rotor_stream),
    .create = visitor_create,
    .bytes_read = visitor_bytes_read,
    .wakeup = visitor_wakeup,
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
        error = rotor_listen(loop, argv[1], &visitor, NULL, &listener);
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
