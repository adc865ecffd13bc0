/* Usage: proxy PORT | ADDR:PORT TARGET
** Passes connections on to TARGET (ADDR:PORT or unix:PATH), in both directions at once and each at its
** own pace: who sends faster than the other side reads is not read from for a while. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384, PATIENCE_MS = 600000 };

typedef struct side {
    rotor_stream stream; /* to the client, or to the target */
    rotor_handle peer;
    bool full, ended; /* output above HIGH and not yet at LOW: the peer waits; no more input */
} side;

static const rotor_protocol proxy;

static rotor_intent next(rotor_stream *s, rotor_scope *scope)
{
    side *me = (side *)s, *peer = (side *)rotor_find(scope->loop, me->peer);
    if (me->ended && peer)
        rotor_stream_shutdown(&peer->stream);
    if (me->ended && (!peer || peer->ended))
        return rotor_intent_done();
    if (!peer) /* what it has sent shall arrive, which closing with unread input could prevent */
        return rotor_intent_linger(rotor_now(scope) + PATIENCE_MS);
    bool sent = me->full && rotor_stream_unsent(s) <= LOW;
    bool fills = !peer->full && rotor_stream_unsent(&peer->stream) > HIGH;
    if (sent || fills)
        rotor_wake(scope->loop, me->peer);
    me->full = me->full && !sent;
    peer->full = peer->full || fills;
    rotor_intent intent = peer->full || me->ended ? rotor_intent_sleep() : rotor_expect_bytes(1);
    return me->full ? rotor_and_flush(intent, LOW) : intent;
}

/* For the target the seed is the client, which sleeps, and so cannot end, until then. */
static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    side *me = (side *)s, *client = seed;
    if (client) {
        me->peer = client->stream.machine.self;
        rotor_wake(scope->loop, me->peer);
        return next(s, scope);
    }
    rotor_connect_options options = {.seed = me};
    int error = rotor_connect(scope->loop, rotor_context(scope), &proxy, &options, &me->peer);
    return error ? rotor_intent_error(error) : rotor_intent_sleep();
}

static rotor_intent bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    side *peer = (side *)rotor_find(scope->loop, ((side *)s)->peer);
    rotor_buf *input = rotor_stream_input(s);
    if (peer && rotor_stream_write(&peer->stream, rotor_buf_data(input), rotor_buf_len(input)))
        return rotor_intent_error(UV_ENOMEM);
    rotor_buf_consume(input, rotor_buf_len(input));
    return next(s, scope);
}

static rotor_intent end_of_input(rotor_stream *s, rotor_scope *scope, int reason)
{
    ((side *)s)->ended = true;
    return next(s, scope);
}

static void fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    const side *client = rotor_stream_seed_left(s);
    if (client && !rotor_end(scope->loop, client->stream.machine.self, error))
        fprintf(stderr, "proxy: %s: %s\n", (char *)rotor_context(scope), rotor_strerror(error));
}

static void drop(rotor_stream *s)
{
    rotor_wake(s->machine.loop, ((side *)s)->peer);
}

static const rotor_protocol proxy = {.name = "proxy",
                                     .size = sizeof(side),
                                     .create = create,
                                     .bytes_read = bytes_read,
                                     .bytes_flushed = next,
                                     .wakeup = next,
                                     .exception = end_of_input,
                                     .fatal = fatal,
                                     .drop = drop,
                                     .high_water = 4 * HIGH, /* it would stop both directions */
                                     .stall_ms = PATIENCE_MS};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    rotor_address address;
    rotor_host host;
    if (argc != 3 || rotor_address_parse(argv[2], &address, &host) < 0)
        return fprintf(stderr, "usage: %s PORT | ADDR:PORT TARGET\n", argv[0]), 2;
    int error = rotor_loop_new(&loop, &(rotor_config){.context = argv[2]});
    if (!error)
        error = rotor_listen(loop, argv[1], &proxy, NULL, &listener);
    if (error)
        return fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error)), 1;
    rotor_loop_on_signal(loop, SIGINT, stop, NULL);
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on %s\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
