/* The stream machine: runs a protocol over a transport.
**
** Everything happens in `dispatch`: receive once, run transitions while what they expect is there,
** send what they wrote, and say what to wait for. Bytes are received into the loop's read block and
** parsed there; only what is left over is copied into memory of the stream's own. */
#include "../core/private.h"
#include "private.h"

enum { DEFAULT_HIGH_WATER = 65536, DEFAULT_STALL_MS = 30000, DEFAULT_TURNS = 64 };

/* Input up to this long is moved into the lent block, to be received behind it: cheaper than a block
** of its own that grows. A longer one stays where it is, or moving it each time would be quadratic. */
enum { MOVABLE = 4096, LEAST_ROOM = 8192 };

static bool is_closing(const rotor_stream *s)
{
    return s->intent.kind >= ROTOR_INTENT_DONE;
}

static bool is_reading(const rotor_stream *s)
{
    return s->intent.kind == ROTOR_EXPECT_BYTES || s->intent.kind == ROTOR_EXPECT_DELIMITER;
}

static void set_intent(rotor_stream *s, rotor_intent intent)
{
    if (intent.kind != ROTOR_INTENT_SAME)
        s->intent = intent;
}

/* -- bytes in, bytes out ----------------------------------------------------------------------- */

static int lend_input(rotor_stream *s)
{
    rotor_block *block = s->machine.loop->read_block;
    rotor_buf kept = s->input;
    if (rotor_buf_is_lent(&kept) || rotor_buf_len(&kept) > MOVABLE)
        return 0;
    s->input = (rotor_buf)ROTOR_BUF_INIT;
    rotor_buf_lend(&s->input, block);
    if (!kept.block)
        return 0;
    int error = rotor_buf_extend(&s->input, rotor_buf_data(&kept), rotor_buf_len(&kept));
    rotor_buf_fini(&kept);
    return error;
}

static int receive(rotor_stream *s)
{
    int error = lend_input(s);
    if (error)
        return error;
    char *room = rotor_buf_reserve(&s->input, LEAST_ROOM);
    if (!room)
        return UV_ENOMEM;
    ssize_t n = s->transport->recv(s, room, rotor_buf_room(&s->input));
    if (n > 0) {
        rotor_buf_commit(&s->input, (size_t)n);
        return 0;
    }
    rotor_buf_commit(&s->input, 0);
    if (n == 0)
        s->flags |= ROTOR__AT_EOF;
    return n == UV_EAGAIN ? 0 : (int)n;
}

/* Send what there is: `n` bytes, more than 0. */
static inline int flush(rotor_stream *s, size_t n)
{
    ssize_t sent = s->transport->send(s, rotor_buf_data(&s->output), n);
    if (sent <= 0)
        return sent == UV_EAGAIN ? 0 : (int)sent;
    s->stalled_ms = (uint32_t)s->machine.loop->now;
    if ((size_t)sent == n)
        rotor_buf_fini(&s->output);
    else
        rotor_buf_consume(&s->output, (size_t)sent);
    return 0;
}

rotor_buf *rotor_stream_output(rotor_stream *s)
{
    if (!rotor__stream_takes_output(s))
        return NULL;
    bool running = s->flags & ROTOR__RUNNING;
    if (rotor_buf_len(&s->output) == 0) {
        rotor_block *block = s->machine.loop->write_block;
        s->stalled_ms = (uint32_t)s->machine.loop->now;
        if (running && !s->output.block && !block->lent)
            rotor_buf_lend(&s->output, block);
    }
    if (!running)
        rotor__machine_soon(&s->machine);
    return &s->output;
}

int rotor_stream_write(rotor_stream *s, const void *data, size_t n)
{
    rotor_buf *output = rotor_stream_output(s);
    return output ? rotor_buf_extend(output, data, n) : ROTOR_ECLOSED;
}

void rotor_stream_shutdown(rotor_stream *s)
{
    s->flags |= ROTOR__SHUT_ASKED;
    if (!(s->flags & ROTOR__RUNNING))
        rotor__machine_soon(&s->machine);
}

/* Half-close when it is time. A peer that is gone already will be noticed by reading. */
static void shut_if_asked(rotor_stream *s)
{
    bool asked = s->flags & ROTOR__SHUT_ASKED || s->intent.kind == ROTOR_INTENT_LINGER;
    if (asked && !(s->flags & ROTOR__SHUT) && !rotor__stream_is_sending(s)) {
        s->flags |= ROTOR__SHUT;
        (void)s->transport->shutdown(s);
    }
}

/* -- transitions ------------------------------------------------------------------------------- */

/* What has become of the expectation: 1, it is met by `*n` bytes; 0, more may come; ROTOR_ELIMIT or
** ROTOR_EEOF, it cannot be met. */
static inline int judge(rotor_stream *s, size_t *n)
{
    const rotor_intent *in = &s->intent;
    size_t have = rotor_buf_len(&s->input);
    if (in->kind == ROTOR_EXPECT_BYTES) {
        *n = in->size;
        if (have >= in->size)
            return 1;
    } else {
        ssize_t at = rotor_buf_find(&s->input, in->delimiter, in->delimiter_len, in->offset);
        *n = (size_t)at;
        if (at >= 0 && *n <= in->size)
            return 1;
        if (at >= 0 || (have >= in->delimiter_len && have - in->delimiter_len >= in->size))
            return ROTOR_ELIMIT;
    }
    return s->flags & ROTOR__AT_EOF ? ROTOR_EEOF : 0;
}

static __attribute__((cold, noinline)) void unmet(rotor_stream *s, rotor_scope *scope, int reason)
{
    size_t n, before = rotor_buf_len(&s->input);
    ROTOR__IN_FORCE(protocol, s, exception);
    if (protocol->exception) {
        set_intent(s, protocol->exception(s, scope, reason));
        bool skipped = reason == ROTOR_ELIMIT && rotor_buf_len(&s->input) < before;
        if (!is_reading(s) || skipped || judge(s, &n) != reason)
            return;
    }
    bool at_end = reason == ROTOR_EEOF && rotor_buf_len(&s->input) == 0;
    s->intent = at_end ? rotor_intent_done() : rotor_intent_error(reason);
}

static __attribute__((noinline)) bool is_above_mark(rotor_stream *s)
{
    size_t unsent = rotor_buf_len(&s->output);
    ROTOR__IN_FORCE(protocol, s, high_water);
    size_t high = protocol->high_water ? protocol->high_water : DEFAULT_HIGH_WATER;
    if (unsent >= high)
        s->flags |= ROTOR__FULL;
    else if (unsent <= high / 2)
        s->flags &= ~(uint32_t)ROTOR__FULL;
    return s->flags & ROTOR__FULL;
}

static bool is_flushed(const rotor_stream *s)
{
    return rotor_buf_len(&s->output) < s->intent.flush && !(s->flags & ROTOR__PULLING);
}

static inline bool is_full(rotor_stream *s)
{
    return (s->output.block || s->flags & ROTOR__FULL) && is_above_mark(s);
}

/* Run the one transition whose time has come; false when there is none. */
static bool step(rotor_stream *s, rotor_scope *scope)
{
    if (s->intent.flush > 0 && is_flushed(s)) {
        ROTOR__IN_FORCE(flushed, s, bytes_flushed);
        s->intent.flush = 0;
        set_intent(s, flushed->bytes_flushed ? flushed->bytes_flushed(s, scope)
                                             : rotor_intent_error(ROTOR_EUNEXPECTED));
        return true;
    }
    if (!is_reading(s))
        return false;
    size_t n;
    int verdict = judge(s, &n);
    if (verdict == 0 || is_full(s))
        return false;
    ROTOR__IN_FORCE(protocol, s, bytes_read);
    if (verdict > 0)
        set_intent(s, protocol->bytes_read ? protocol->bytes_read(s, scope, n)
                                           : rotor_intent_error(ROTOR_EUNEXPECTED));
    else
        unmet(s, scope, verdict);
    return true;
}

/* -- the dispatch ------------------------------------------------------------------------------ */

static rotor_response broken(rotor_stream *s, rotor_scope *scope, int error)
{
    ROTOR__IN_FORCE(protocol, s, fatal);
    s->flags |= ROTOR__OVER;
    if (protocol->fatal)
        protocol->fatal(s, scope, error);
    return rotor__stream_finish(s, rotor_error(error));
}

static uint32_t stall_limit(const rotor_stream *s)
{
    ROTOR__IN_FORCE(protocol, s, stall_ms);
    return protocol->stall_ms ? protocol->stall_ms : DEFAULT_STALL_MS;
}

static uint32_t stalled_for(const rotor_stream *s)
{
    return (uint32_t)s->machine.loop->now - s->stalled_ms;
}

/* Whether it wants to know that the peer closes its direction. */
static __attribute__((noinline)) bool minds_hangup(const rotor_stream *s)
{
    ROTOR__IN_FORCE(protocol, s, hangup);
    return protocol->hangup && !(s->flags & (ROTOR__AT_EOF | ROTOR__HUNG_UP)) && !is_closing(s);
}

static rotor_response wait_on(rotor_stream *s, rotor_scope *scope, bool tired)
{
    bool unsent = rotor__stream_is_sending(s);
    bool dropping = s->intent.kind == ROTOR_INTENT_LINGER && s->flags & ROTOR__SHUT;
    unsigned events = unsent ? ROTOR_WRITABLE : 0;
    bool reading = is_reading(s) && !(unsent && is_full(s));
    if (dropping || (reading && !(s->flags & ROTOR__AT_EOF) && !tired))
        events |= ROTOR_READABLE;
    else if (!reading && minds_hangup(s))
        events |= ROTOR_HANGUP;
    int error = rotor__stream_return_blocks(s);
    if (!error)
        error = s->transport->want(s, events);
    if (error)
        return broken(s, scope, error);
    if (tired)
        rotor_again(scope);
    s->flags &= ~(uint32_t)ROTOR__RUNNING;
    uint64_t deadline = s->intent.deadline;
    if (unsent) {
        uint64_t stall = scope->loop->now - stalled_for(s) + stall_limit(s);
        deadline = stall < deadline ? stall : deadline;
    }
    return rotor_ok_until(deadline);
}

/* Nothing more is to be read or run, or a direction is to be shut. True when the stream has ended. */
static __attribute__((noinline)) bool is_through(rotor_stream *s)
{
    if (is_closing(s)) {
        rotor_buf_consume(&s->input, rotor_buf_len(&s->input));
        bool flushed = !rotor__stream_is_sending(s);
        if (flushed && (s->intent.kind == ROTOR_INTENT_DONE || s->flags & ROTOR__AT_EOF))
            return true;
    }
    shut_if_asked(s);
    return false;
}

static __attribute__((noinline)) uint32_t turns_in_force(const rotor_stream *s)
{
    ROTOR__IN_FORCE(protocol, s, turns);
    return protocol->turns ? protocol->turns : DEFAULT_TURNS;
}

/* What was asked for is not to wait. */
static __attribute__((noinline)) rotor_response leave(rotor_stream *s, rotor_scope *scope)
{
    if (s->intent.kind == ROTOR_INTENT_PASS)
        return rotor__stream_pass(s, scope);
    bool failed = s->intent.kind == ROTOR_INTENT_ERROR;
    return rotor__stream_finish(s, failed ? rotor_error(s->intent.error) : rotor_done());
}

/* After a write: 1, there may be something to be done at once, as less than `unsent` is left, which may be
** what is waited for, or there is more to be sent; 0; or an error. */
static __attribute__((noinline)) int go_on(rotor_stream *s, rotor_scope *scope, size_t unsent)
{
    size_t left = rotor_buf_len(&s->output);
    if (s->flags & ROTOR__PULLING && left == 0)
        return rotor__stream_pull(s, scope);
    return left < unsent;
}

static rotor_response dispatch(rotor_stream *s, rotor_scope *scope, unsigned events)
{
    uint32_t turns = s->protocol->turns;
    if (turns == 0)
        turns = turns_in_force(s);
    s->flags |= ROTOR__RUNNING;
    int error = events & ROTOR_READABLE && !(s->flags & ROTOR__AT_EOF) ? receive(s) : 0;
    for (bool again = true; !error && again && turns > 0;) {
        while (turns > 0 && step(s, scope))
            turns--;
        if (s->intent.kind >= ROTOR_INTENT_ABORT)
            return leave(s, scope);
        size_t unsent = rotor_buf_len(&s->output);
        error = unsent > 0 ? flush(s, unsent) : 0;
        again = !error && turns > 0 &&
                (s->intent.flush > 0 || s->flags & (ROTOR__FULL | ROTOR__PULLING));
        if (again) {
            int result = go_on(s, scope, unsent);
            error = result < 0 ? result : 0;
            again = result > 0;
            turns -= s->flags & ROTOR__PULLING ? 1 : 0;
        }
    }
    if (error && s->intent.kind == ROTOR_INTENT_LINGER && s->flags & ROTOR__SHUT)
        return rotor__stream_finish(
            s, rotor_done()); /* all was sent; how the peer leaves does not matter */
    if (error)
        return broken(s, scope, error);
    if ((is_closing(s) || s->flags & ROTOR__SHUT_ASKED) && is_through(s))
        return rotor__stream_finish(s, rotor_done());
    return wait_on(s, scope, turns == 0);
}

/* -- the machine's transitions ----------------------------------------------------------------- */

static rotor_response begin(rotor_stream *s, rotor_scope *scope)
{
    s->opening.retry_at = 0;
    bool through = !s->transport->handshake || s->flags & ROTOR__PASSED;
    int error = through ? 0 : s->transport->handshake(s);
    if (error == UV_EAGAIN) {
        uint64_t deadline = s->opening.deadline, retry_at = s->opening.retry_at;
        return rotor_ok_until(retry_at > 0 && retry_at < deadline ? retry_at : deadline);
    }
    if (error)
        return broken(s, scope, error);
    void *seed = s->opening.seed;
    void (*free_seed)(void *seed) = s->opening.release;
    s->flags = ROTOR__BEGUN | ROTOR__RUNNING | (s->flags & ROTOR__LASTING);
    s->intent = rotor_intent_sleep();
    set_intent(s, s->protocol->create(s, scope, seed));
    if (free_seed)
        free_seed(seed);
    return dispatch(s, scope, 0);
}

static rotor_response stream_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    rotor_stream *s = (rotor_stream *)m;
    rotor_stream_seed *seed = data;
    s->protocol = seed->protocol;
    s->transport = seed->transport ? seed->transport : &rotor_plain;
    s->io.fd = seed->fd;
    seed->fd = -1;
    s->flags = ROTOR__HANDSHAKE;
    s->opening.seed = seed->seed;
    s->opening.release = seed->release;
    s->opening.deadline = seed->deadline ? seed->deadline : ROTOR_NEVER;
    int error = s->io.fd >= 0 ? rotor_io_open(&s->io, m, s->io.fd) : 0;
    return error ? broken(s, scope, error) : begin(s, scope);
}

static __attribute__((noinline)) rotor_response hung_up(rotor_stream *s, rotor_scope *scope,
                                                        unsigned events)
{
    int error = s->transport->error ? s->transport->error(s) : 0;
    if (error)
        return broken(s, scope, error);
    s->flags |= ROTOR__RUNNING | ROTOR__HUNG_UP;
    ROTOR__IN_FORCE(protocol, s, hangup);
    set_intent(s, protocol->hangup(s, scope));
    return dispatch(s, scope, events & ~(unsigned)ROTOR_HANGUP);
}

static inline rotor_response proceed(rotor_stream *s, rotor_scope *scope, unsigned events)
{
    return events & ROTOR_HANGUP ? hung_up(s, scope, events) : dispatch(s, scope, events);
}

static __attribute__((noinline)) rotor_response run_again(rotor_stream *s, rotor_scope *scope)
{
    return proceed(s, scope, s->transport->pending ? s->transport->pending(s) : 0);
}

static rotor_response stream_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io,
                                   unsigned events)
{
    rotor_stream *s = (rotor_stream *)m;
    if (s->flags & ROTOR__HANDSHAKE)
        return begin(s, scope);
    return io ? proceed(s, scope, events) : run_again(s, scope);
}

static rotor_response stream_wakeup(rotor_machine *m, rotor_scope *scope)
{
    rotor_stream *s = (rotor_stream *)m;
    if (s->flags & ROTOR__HANDSHAKE || is_closing(s))
        return rotor_same();
    ROTOR__IN_FORCE(protocol, s, wakeup);
    if (!protocol->wakeup)
        return rotor_same();
    s->flags |= ROTOR__RUNNING;
    set_intent(s, protocol->wakeup(s, scope));
    return dispatch(s, scope, 0);
}

static rotor_response stream_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_stream *s = (rotor_stream *)m;
    if (s->flags & ROTOR__HANDSHAKE)
        return s->opening.deadline > scope->loop->now ? begin(s, scope)
                                                      : broken(s, scope, ROTOR_ETIMEDOUT);
    if (rotor__stream_is_sending(s) && stalled_for(s) >= stall_limit(s)) {
        /* Unless it was this process that had no time. */
        s->flags |= ROTOR__RUNNING;
        size_t unsent = rotor_buf_len(&s->output);
        int error = unsent > 0 ? flush(s, unsent) : rotor__stream_pull(s, scope);
        if (error >= 0 && rotor__stream_is_sending(s) && stalled_for(s) >= stall_limit(s))
            error = ROTOR_ESTALLED;
        if (error < 0)
            return broken(s, scope, error);
    }
    if (s->intent.deadline > scope->loop->now)
        return dispatch(s, scope, 0);
    s->intent.deadline = ROTOR_NEVER;
    if (s->intent.kind == ROTOR_INTENT_LINGER)
        return rotor__stream_finish(s, rotor_done());
    ROTOR__IN_FORCE(protocol, s, timeout);
    if (is_closing(s) || !protocol->timeout)
        return rotor__stream_finish(s, rotor_error(ROTOR_ETIMEDOUT));
    s->flags |= ROTOR__RUNNING;
    set_intent(s, protocol->timeout(s, scope));
    return dispatch(s, scope, 0);
}

static void stream_drop(rotor_machine *m)
{
    rotor_stream *s = (rotor_stream *)m;
    s->flags |= ROTOR__OVER;
    if (!(s->flags & ROTOR__BEGUN) && s->opening.release)
        s->opening.release(s->opening.seed);
    const rotor_protocol *protocol = rotor_protocol_of(s->protocol);
    if (s->flags & ROTOR__BEGUN && protocol->drop)
        protocol->drop(s);
    rotor__stream_finish(s, rotor_done());
    s->transport->close(s);
}

void *rotor_stream_seed_left(const rotor_stream *s)
{
    return s->flags & ROTOR__BEGUN ? NULL : s->opening.seed;
}

const rotor_protocol *rotor_protocol_of(const rotor_protocol *state)
{
    while (state->parent)
        state = state->parent;
    return state;
}

int rotor_become(rotor_stream *s, const rotor_protocol *state)
{
    if (rotor_protocol_of(state) != rotor_protocol_of(s->protocol))
        return UV_EINVAL;
    s->protocol = state;
    return 0;
}

bool rotor__protocol_is_valid(const rotor_protocol *protocol)
{
    return !protocol->parent && protocol->create && protocol->size >= sizeof(rotor_stream);
}

static size_t stream_size(const void *seed)
{
    const rotor_protocol *protocol = ((const rotor_stream_seed *)seed)->protocol;
    return rotor__protocol_is_valid(protocol) ? protocol->size : 0;
}

static const char *stream_name(const rotor_machine *m)
{
    return rotor_protocol_of(((const rotor_stream *)m)->protocol)->name;
}

const rotor_type rotor_stream_type = {
    .name = "stream",
    .size = sizeof(rotor_stream),
    .size_of = stream_size,
    .name_of = stream_name,
    .create = stream_create,
    .ready = stream_ready,
    .wakeup = stream_wakeup,
    .timeout = stream_timeout,
    .drop = stream_drop,
    .describe = rotor__stream_describe,
};
