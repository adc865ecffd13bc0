#include "script.h"

#include "../core/private.h"
#include "support.h"
#include "test.h"

static int depth;

static script *of(const rotor_stream *s)
{
    return (script *)rotor_protocol_of(s->protocol);
}

void script_note(script *sc, const char *format, ...)
{
    va_list args;
    size_t used = strlen(sc->log);
    if (used > 0 && used + 1 < sizeof sc->log)
        sc->log[used++] = ' ';
    va_start(args, format);
    (void)vsnprintf(sc->log + used, sizeof sc->log - used, format, args);
    va_end(args);
}

static void say(script *sc, rotor_stream *s, const char *data, size_t n)
{
    int error = rotor_stream_write(s, data, n);
    if (error)
        sc->said = error;
}

static void say_bulk(script *sc, rotor_stream *s, size_t n)
{
    char *x = malloc(n);
    assert_non_null(x);
    memset(x, 'x', n);
    say(sc, s, x, n);
    free(x);
}

/* `n` bytes were read. */
static rotor_intent play(rotor_stream *s, rotor_scope *scope, size_t n)
{
    script *sc = of(s);
    assert_int_equal(depth, 0);
    assert_true(rotor_loop_busy(scope->loop));
    assert_ptr_equal(scope->machine, &s->machine);
    depth++;
    if (sc->act)
        sc->act(sc, s, scope);
    script_line line = sc->lines[sc->played];
    if (sc->played + 1 < sc->nlines)
        sc->played++;
    rotor_buf *input = rotor_stream_input(s);
    if (line.say)
        say(sc, s, line.say, strlen(line.say));
    if (line.bulk)
        say_bulk(sc, s, line.bulk);
    if (line.echo && n > 0)
        say(sc, s, rotor_buf_data(input), n);
    if (!line.keep)
        rotor_buf_consume(input, n);
    if (line.shutdown)
        rotor_stream_shutdown(s);
    depth--;
    return line.then;
}

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    script *sc = of(s);
    assert_ptr_equal(seed, sc);
    for (char *byte = (char *)(s + 1); byte < (char *)s + s->protocol->size; byte++)
        assert_int_equal(*byte, 0);
    sc->creates++;
    sc->stream = s;
    script_note(sc, "create");
    return play(s, scope, 0);
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    script *sc = of(s);
    rotor_buf *input = rotor_stream_input(s);
    size_t delimiter =
        s->intent.kind == ROTOR_EXPECT_DELIMITER ? (size_t)s->intent.delimiter_len : 0;
    assert_true(n + delimiter <= rotor_buf_len(input));
    if (delimiter)
        assert_memory_equal(rotor_buf_data(input) + n, s->intent.delimiter, delimiter);
    sc->reads++;
    script_note(sc, "read(%.*s)", (int)n, n ? rotor_buf_data(input) : "");
    return play(s, scope, n + delimiter);
}

static rotor_intent on_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    script_note(of(s), "flushed(%zu)", rotor_stream_unsent(s));
    return play(s, scope, 0);
}

static rotor_intent on_timeout(rotor_stream *s, rotor_scope *scope)
{
    script_note(of(s), "timeout");
    return play(s, scope, 0);
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    script_note(of(s), "wakeup");
    return play(s, scope, 0);
}

static rotor_intent on_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    script_note(of(s), "exception(%s)", rotor_err_name(reason));
    return play(s, scope, 0);
}

rotor_intent script_hangup(rotor_stream *s, rotor_scope *scope)
{
    script_note(of(s), "hangup");
    return play(s, scope, 0);
}

static void on_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    script *sc = of(s);
    assert_int_equal(depth, 0);
    assert_int_equal(rotor_stream_write(s, "too late", 8), ROTOR_ECLOSED);
    sc->fatals++;
    script_note(sc, "fatal(%s)", rotor_err_name(error));
}

static void on_drop(rotor_stream *s)
{
    script *sc = of(s);
    assert_int_equal(depth, 0);
    assert_int_equal(rotor_stream_write(s, "too late", 8), ROTOR_ECLOSED);
    sc->drops++;
    sc->stream = NULL;
    script_note(sc, "drop");
}

const rotor_protocol script_protocol = {
    .name = "script",
    .size = sizeof(rotor_stream) + 64, /* to see that what is behind the stream is zero */
    .create = on_create,
    .bytes_read = on_bytes_read,
    .bytes_flushed = on_bytes_flushed,
    .timeout = on_timeout,
    .wakeup = on_wakeup,
    .exception = on_exception,
    .fatal = on_fatal,
    .drop = on_drop,
};

/* -- the stage --------------------------------------------------------------------------------- */

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    stage *st = rotor_loop_context(loop);
    st->error = error;
    st->errors++;
}

void stage_open_loop(stage *st, size_t capacity)
{
    *st = (stage){0};
    depth = 0; /* which a test that failed may have left */
    rotor_config config = {
        .capacity = capacity, .context = st, .clock = &test_clock, .on_error = on_error};
    assert_int_equal(rotor_loop_new(&st->loop, &config), 0);
}

void stage_open(stage *st, script *sc)
{
    stage_open_loop(st, 0);
    st->peer = rotor_memory_new();
    assert_non_null(st->peer);
    int error = rotor_memory_connect(st->peer, st->loop, &sc->protocol, sc, &st->self);
    assert_int_equal(error, 0);
}

void stage_close(stage *st)
{
    assert_int_equal(rotor_loop_free(st->loop), 0);
    if (st->peer)
        rotor_memory_free(st->peer);
}

void stage_turn(stage *st)
{
    int left = 10000;
    do {
        assert_true(left-- > 0);
        assert_int_equal(rotor_loop_turn(st->loop), 0);
    } while (uv_is_active((uv_handle_t *)&st->loop->idle)); /* as long as something is queued */
}

void stage_send(stage *st, const char *text)
{
    assert_int_equal(rotor_memory_send(st->peer, text, strlen(text)), 0);
    stage_turn(st);
}

const char *stage_received(stage *st)
{
    static char text[4096];
    rotor_buf *received = rotor_memory_received(st->peer);
    size_t n = rotor_buf_len(received);
    assert_true(n < sizeof text);
    if (n > 0)
        memcpy(text, rotor_buf_data(received), n);
    text[n] = '\0';
    rotor_buf_consume(received, n);
    return text;
}

void stage_wait(stage *st, uint64_t ms)
{
    test_monotonic_ms += ms;
    stage_turn(st);
}

bool stage_is_over(stage *st)
{
    return !rotor_find(st->loop, st->self);
}
