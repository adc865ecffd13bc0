/* Usage: proxy LISTEN TARGET
** Hands every connection on to TARGET, both ways at once. What one side does not take is not read from
** the other: at most HIGH bytes and what is read at once wait on each. An end is handed on, too. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384 };

typedef struct side {
    rotor_stream stream;
    rotor_handle other; /* none: still connecting to the target */
    bool at_end;        /* its peer sends no more */
    bool other_waits;   /* for this side's output to fall to LOW */
} side;

static side *other_of(rotor_stream *s)
{
    return (side *)rotor_find(s->machine.loop, ((side *)s)->other);
}

/* What a side waits for next, whatever has happened. */
static rotor_intent go_on(rotor_stream *s, rotor_scope *scope)
{
    side *me = (side *)s, *other = other_of(s);
    if (me->other.generation == 0)
        return rotor_intent_same();
    if (!other || (me->at_end && other->at_end))
        return rotor_intent_done(); /* when what is left has been sent */
    if (me->other_waits && rotor_stream_unsent(s) <= LOW) {
        me->other_waits = false;
        rotor_wake(scope->loop, me->other);
    }
    bool is_full = rotor_stream_unsent(&other->stream) >= HIGH;
    if (is_full && !other->other_waits) {
        other->other_waits = true;
        rotor_wake(scope->loop, me->other);
    }
    rotor_intent input = me->at_end || is_full ? rotor_intent_sleep() : rotor_expect_bytes(1);
    return me->other_waits ? rotor_and_flush(input, LOW) : input;
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    side *other = other_of(s);
    rotor_buf *input = rotor_stream_input(s);
    n = rotor_buf_len(input);
    if (!other || rotor_stream_write(&other->stream, rotor_buf_data(input), n))
        return rotor_intent_done();
    rotor_buf_consume(input, n);
    return go_on(s, scope);
}

static rotor_intent exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    ((side *)s)->at_end = true;
    if (other_of(s))
        rotor_stream_shutdown(&other_of(s)->stream);
    rotor_wake(scope->loop, ((side *)s)->other);
    return go_on(s, scope);
}

/* However a side ends, the other one sends what it still has, and ends. */
static void drop(rotor_stream *s)
{
    rotor_wake(s->machine.loop, ((side *)s)->other);
}

static rotor_intent target_create(rotor_stream *s, rotor_scope *scope, void *client)
{
    ((side *)s)->other = *(rotor_handle *)client;
    if (other_of(s)) /* it may have gone meanwhile */
        other_of(s)->other = s->machine.self;
    rotor_wake(scope->loop, ((side *)s)->other);
    return go_on(s, scope);
}

static void target_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    rotor_handle *client = rotor_stream_seed_left(s);
    if (client) { /* it was never connected */
        fprintf(stderr, "proxy: %s\n", rotor_strerror(error));
        rotor_end(scope->loop, *client, 0);
    }
}

#define BOTH(create_it, fatal_to_it)                                                               \
    {                                                                                              \
        .name = "proxy", .size = sizeof(side), .create = (create_it), .fatal = (fatal_to_it),      \
        .bytes_read = bytes_read, .bytes_flushed = go_on, .wakeup = go_on, .exception = exception, \
        .drop = drop, .high_water = 4 * HIGH                                                       \
    }

static const rotor_protocol target = BOTH(target_create, target_fatal);

static rotor_intent client_create(rotor_stream *s, rotor_scope *scope, void *address)
{
    rotor_handle *seed = rotor_alloc(sizeof *seed);
    rotor_connect_options options = {.seed = seed, .release = rotor_free};
    if (seed)
        *seed = s->machine.self;
    int error = seed ? rotor_connect(scope->loop, address, &target, &options, NULL) : UV_ENOMEM;
    if (error)
        rotor_free(seed);
    return error ? rotor_intent_error(error) : rotor_intent_sleep();
}

static const rotor_protocol client = BOTH(client_create, NULL);

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    char where[128];
    rotor_handle listener;
    rotor_listen_options options = {.seed = argc == 3 ? argv[2] : NULL};
    int error = argc == 3 ? rotor_loop_new(&loop, NULL) : UV_EINVAL;
    if (!error)
        error = rotor_listen(loop, argv[1], &client, &options, &listener);
    if (error)
        return fprintf(stderr, "proxy: %s; usage: proxy LISTEN TARGET\n", rotor_strerror(error)), 2;
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on %s\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
