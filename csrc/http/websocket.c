/* WebSockets: what is received, and how they end.
**
** The input begins with what there is of the present message, decoded (`have` bytes); up to `at` stand
** headers and masks that are used up; then comes what was not looked at yet. The space between is given up
** when more has to be waited for, so a byte is moved once, however small the fragments are. */
#include "websocket_private.h"

enum {
    MAX_MESSAGE = 16 << 20,
    MAX_WHOLE = 1 << 30,
    MAX_FRAGMENTS = 131072,
    PING_MS = 30000,
    PONG_MS = 30000,
    CLOSE_MS = 10000,
    LINGER_MS = 2000
};

static bool has(const rotor_websocket *ws, uint32_t flag)
{
    return ws->flags & flag;
}

static uint64_t later(const rotor_scope *scope, uint32_t given, uint32_t usual)
{
    if (given == ROTOR_WEBSOCKET_NEVER)
        return ROTOR_NEVER;
    return rotor_now(scope) + (given ? given : usual);
}

static rotor_text text_of(const char *text)
{
    return (rotor_text){text, strlen(text)};
}

/* -- waiting ----------------------------------------------------------------------------------- */

/* Wait for the bytes that are needed next, and for what else the state says; `mark` is a flush mark as
** rotor_intent has it. */
static rotor_intent await(rotor_websocket *ws, uint32_t mark)
{
    rotor_intent intent = rotor_expect_bytes((size_t)ws->at + ws->need);
    intent.deadline = ws->deadline;
    if (ws->state == WEBSOCKET__OPEN) {
        if (has(ws, WEBSOCKET__PAUSED))
            intent = rotor_intent_until(rotor_intent_sleep(), ws->deadline);
        else if (ws->check_at < ws->deadline)
            intent.deadline = ws->check_at;
        intent.flush = mark;
    }
    return intent;
}

static rotor_intent await_same(rotor_websocket *ws)
{
    return await(ws, ws->stream.intent.flush);
}

/* Give up the space behind the message, and wait for `n` bytes that were not looked at yet. */
static rotor_intent await_more(rotor_websocket *ws, size_t n)
{
    rotor_buf *input = rotor_stream_input(&ws->stream);
    rotor_buf_remove_range(input, ws->have, ws->at);
    ws->at = ws->have;
    ws->need = (uint32_t)n;
    return await_same(ws);
}

/* -- the end ----------------------------------------------------------------------------------- */

void rotor__websocket_tell(rotor_websocket *ws, int error, int code, rotor_text reason)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    if (has(ws, WEBSOCKET__TOLD))
        return;
    ws->flags |= WEBSOCKET__TOLD;
    if (ws->state <= WEBSOCKET__OPEN) /* nothing can be sent any more */
        ws->state = WEBSOCKET__CLOSED;
    ws->error = error;
    if (handler->close)
        handler->close(ws, code, reason);
}

static void tell_broken(rotor_websocket *ws, int error)
{
    rotor__websocket_tell(ws, error, ROTOR_WEBSOCKET_ABNORMAL, text_of(rotor_strerror(error)));
}

/* Send what there is, half-close, and drop what still comes for a short time: closing at once might take
** the close frame from a peer that goes on sending. */
static rotor_intent end_gently(rotor_websocket *ws)
{
    ws->state = WEBSOCKET__ENDING;
    return rotor_expect_flush(0);
}

/* The peer has broken the rules, or the handler has failed. */
static rotor_intent refuse(rotor_websocket *ws, int error)
{
    int code = rotor_websocket_error_code(error);
    rotor_text reason = text_of(rotor_strerror(error));
    if (ws->state == WEBSOCKET__OPEN)
        (void)rotor__websocket_send_close(ws, code, reason);
    rotor_intent intent = end_gently(ws);
    rotor__websocket_tell(ws, error, code, reason);
    return intent;
}

static void begin_closing(rotor_websocket *ws)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    uint32_t close_ms = handler->close_ms ? handler->close_ms : CLOSE_MS;
    ws->state = WEBSOCKET__CLOSING;
    ws->have = 0;
    ws->in = (rotor_utf8){0};
    ws->deadline = close_ms == ROTOR_WEBSOCKET_NEVER
                       ? ROTOR_NEVER
                       : rotor_loop_now(ws->stream.machine.loop) + close_ms;
}

int rotor_websocket_close(rotor_websocket *ws, int code, rotor_text reason)
{
    rotor_loop *loop = ws->stream.machine.loop;
    if (!rotor_websocket_is_open(ws))
        return ROTOR_ECLOSED;
    if (!rotor_websocket_is_code(code) || reason.len > ROTOR_WEBSOCKET_CONTROL_MOST - 2 ||
        !rotor_is_utf8(reason.data, reason.len))
        return UV_EINVAL;
    int error = rotor__websocket_send_close(ws, code, reason);
    if (error)
        return error;
    begin_closing(ws);
    (void)rotor_wake(loop, ws->stream.machine.self); /* it has something else to wait for now */
    return 0;
}

/* The peer has sent a close. It is answered with the same, unless it is the answer itself. */
static rotor_intent on_close(rotor_websocket *ws, rotor_scope *scope, rotor_text payload)
{
    int code;
    int error = rotor_websocket_parse_close(&code, payload.data, payload.len);
    if (error)
        return refuse(ws, error);
    if (ws->state == WEBSOCKET__OPEN)
        (void)rotor__websocket_send_close(ws, code, (rotor_text){NULL, 0});
    rotor_intent intent = end_gently(ws);
    rotor_text reason = {payload.data + 2, payload.len - 2};
    if (payload.len == 0)
        reason = (rotor_text){"", 0};
    rotor__websocket_tell(ws, 0, code, reason);
    if (!has(ws, WEBSOCKET__CLIENT))
        return intent;
    /* The server ends the connection (section 7.1.1). */
    ws->state = WEBSOCKET__LEAVING;
    ws->deadline = later(scope, rotor__websocket_handler(ws)->close_ms, CLOSE_MS);
    ws->have = 0;
    return await(ws, 0);
}

static rotor_intent leave(rotor_websocket *ws)
{
    rotor_buf *input = rotor_stream_input(&ws->stream);
    rotor_buf_consume(input, rotor_buf_len(input));
    ws->at = 0;
    return await(ws, 0);
}

/* -- the handler ------------------------------------------------------------------------------- */

static void report(rotor_websocket *ws, int error)
{
    rotor_loop *loop = ws->stream.machine.loop;
    if (loop->config.on_error)
        loop->config.on_error(loop, &ws->stream.machine, error);
}

static rotor_intent fail(rotor_websocket *ws, int error)
{
    report(ws, error);
    return refuse(ws, error);
}

/* Something has come, or nothing was read before, which is as good. */
static void be_heard(rotor_websocket *ws, rotor_scope *scope)
{
    ws->heard_ms = (uint32_t)rotor_now(scope);
    if (!has(ws, WEBSOCKET__PINGED))
        return;
    ws->flags &= ~(uint32_t)WEBSOCKET__PINGED;
    ws->check_at = later(scope, rotor__websocket_handler(ws)->ping_ms, PING_MS);
}

static void read_on(rotor_websocket *ws, rotor_scope *scope)
{
    ws->flags &= ~(uint32_t)WEBSOCKET__PAUSED;
    ws->flags |= WEBSOCKET__PINGED; /* so that all begins anew */
    be_heard(ws, scope);
}

/* What was told is used up. */
static void consume_told(rotor_websocket *ws)
{
    if (ws->have > 0)
        return;
    rotor_buf_consume(rotor_stream_input(&ws->stream), ws->at);
    ws->at = 0;
}

static rotor_intent close_as_said(rotor_websocket *ws, rotor_intent said)
{
    int error = rotor_websocket_close(ws, ROTOR_WEBSOCKET_NORMAL, (rotor_text){NULL, 0});
    if (error)
        return fail(ws, error);
    consume_told(ws);
    if (said.deadline < ws->deadline)
        ws->deadline = said.deadline;
    return await(ws, 0);
}

/* Do what a transition of the handler has said. */
static rotor_intent settle(rotor_websocket *ws, rotor_scope *scope, rotor_intent said)
{
    uint32_t mark = ws->stream.intent.flush;
    if (said.kind == ROTOR_INTENT_ABORT || said.kind == ROTOR_INTENT_PASS) {
        tell_broken(ws, ROTOR_ECANCELED);
        return said;
    }
    if (said.kind == ROTOR_INTENT_ERROR)
        return fail(ws, said.error);
    if (ws->state != WEBSOCKET__OPEN) { /* closed by that transition */
        consume_told(ws);
        return await(ws, 0);
    }
    if (said.kind == ROTOR_INTENT_DONE || said.kind == ROTOR_INTENT_LINGER)
        return close_as_said(ws, said);
    if (said.kind != ROTOR_INTENT_SAME) {
        ws->deadline = said.deadline;
        mark = said.flush;
        if (said.kind == ROTOR_INTENT_SLEEP)
            ws->flags |= WEBSOCKET__PAUSED;
        else if (has(ws, WEBSOCKET__PAUSED))
            read_on(ws, scope);
    }
    consume_told(ws);
    return await(ws, mark);
}

rotor_intent rotor__websocket_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    ws->state = WEBSOCKET__OPEN;
    ws->flags |= WEBSOCKET__OPENED;
    ws->deadline = ROTOR_NEVER;
    ws->need = 1;
    read_on(ws, scope);
    return settle(ws, scope,
                  handler->open ? handler->open(ws, scope, seed) : rotor_expect_message());
}

/* -- what comes -------------------------------------------------------------------------------- */

/* A part of a message, or the whole: what is at the front of the input. */
static rotor_intent tell_data(rotor_websocket *ws, rotor_scope *scope, bool last)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    const char *front = rotor_buf_data(rotor_stream_input(&ws->stream));
    rotor_text data = {ws->have > 0 ? front : "", ws->have};
    bool is_text = has(ws, WEBSOCKET__TEXT);
    ws->have = 0;
    if (last) {
        ws->flags &= ~(uint32_t)(WEBSOCKET__INSIDE | WEBSOCKET__TEXT);
        ws->total = ws->fragments = 0;
    }
    if (ws->state != WEBSOCKET__OPEN) {
        consume_told(ws);
        return await(ws, 0);
    }
    return settle(ws, scope,
                  handler->message_chunk ? handler->message_chunk(ws, scope, data, is_text, last)
                                         : handler->message(ws, scope, data, is_text));
}

/* More of the present frame is there: move it behind what there is of the message. */
static int take_payload(rotor_websocket *ws, size_t n)
{
    char *data = rotor_buf_data(rotor_stream_input(&ws->stream));
    char *from = data + ws->at, *to = data + ws->have;
    ws->at += (uint32_t)n;
    if (ws->state != WEBSOCKET__OPEN) /* it is dropped */
        return 0;
    if (!has(ws, WEBSOCKET__CLIENT))
        rotor_websocket_mask(from, n, ws->key, ws->offset);
    ws->offset = (uint8_t)((ws->offset + n) % 4);
    if (has(ws, WEBSOCKET__TEXT) && !rotor_utf8_go_on(&ws->in, from, n))
        return ROTOR_WEBSOCKET_EUTF8;
    if (from != to)
        memmove(to, from, n);
    ws->have += (uint32_t)n;
    return 0;
}

/* Go on with the present frame of a message. False: it is through, but more frames follow; else what is
** to be done is in `intent`. */
static bool read_payload(rotor_websocket *ws, rotor_scope *scope, rotor_intent *intent)
{
    size_t n = rotor_buf_len(rotor_stream_input(&ws->stream)) - ws->at;
    bool in_pieces = rotor__websocket_handler(ws)->message_chunk;
    if (n > ws->left)
        n = (size_t)ws->left;
    ws->left -= n;
    int error = n > 0 ? take_payload(ws, n) : 0;
    bool last = ws->left == 0 && !has(ws, WEBSOCKET__INSIDE);
    if (!error && last && ws->in.left > 0)
        error = ROTOR_WEBSOCKET_EUTF8;
    if (error)
        *intent = refuse(ws, error);
    else if (last || (in_pieces && ws->have > 0))
        *intent = tell_data(ws, scope, last);
    else if (ws->left > 0)
        *intent = await_more(ws, 1);
    else
        return false;
    return true;
}

static int judge_message(rotor_websocket *ws, const rotor_websocket_frame *frame)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    uint64_t most = handler->max_message ? handler->max_message : MAX_MESSAGE;
    if (!handler->message_chunk) {
        if (!handler->message)
            return ROTOR_WEBSOCKET_EKIND;
        most = most < MAX_WHOLE ? most : MAX_WHOLE;
    }
    if (frame->length > most || ws->total > most - frame->length)
        return ROTOR_WEBSOCKET_ESIZE;
    return ws->fragments >= (handler->max_fragments ? handler->max_fragments : MAX_FRAGMENTS)
               ? ROTOR_WEBSOCKET_EFRAGMENTS
               : 0;
}

static int begin_frame(rotor_websocket *ws, const rotor_websocket_frame *frame)
{
    int error = ws->state == WEBSOCKET__OPEN ? judge_message(ws, frame) : 0;
    if (error)
        return error;
    if (frame->opcode != ROTOR_WEBSOCKET_CONTINUATION) {
        ws->in = (rotor_utf8){0};
        if (frame->opcode == ROTOR_WEBSOCKET_TEXT)
            ws->flags |= WEBSOCKET__TEXT;
    }
    ws->flags &= ~(uint32_t)WEBSOCKET__INSIDE;
    if (!frame->fin)
        ws->flags |= WEBSOCKET__INSIDE;
    ws->total += frame->length;
    ws->left = frame->length;
    ws->fragments++;
    ws->offset = 0;
    memcpy(ws->key, frame->key, sizeof ws->key);
    return 0;
}

static rotor_intent on_control(rotor_websocket *ws, rotor_scope *scope, uint8_t opcode,
                               rotor_text payload)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    rotor_intent (*transition)(rotor_websocket *, rotor_scope *, rotor_text) = handler->pong;
    if (opcode == ROTOR_WEBSOCKET_CLOSE)
        return on_close(ws, scope, payload);
    if (ws->state != WEBSOCKET__OPEN) {
        consume_told(ws);
        return await(ws, 0);
    }
    if (opcode == ROTOR_WEBSOCKET_PING) {
        int error = rotor__websocket_send(ws, ROTOR_WEBSOCKET_PONG, true, payload);
        if (error)
            return fail(ws, error);
        transition = handler->ping;
    }
    return settle(ws, scope, transition ? transition(ws, scope, payload) : rotor_intent_same());
}

/* Read the next frame's header. False: a frame of a message has begun; else what is to be done is in
** `intent`. */
static bool read_frame(rotor_websocket *ws, rotor_scope *scope, rotor_intent *intent)
{
    rotor_buf *input = rotor_stream_input(&ws->stream);
    rotor_websocket_frame frame;
    consume_told(ws);
    size_t have = rotor_buf_len(input) - ws->at;
    if (have == 0) {
        *intent = await_more(ws, 1);
        return true;
    }
    char *p = rotor_buf_data(input) + ws->at;
    ptrdiff_t header = rotor_websocket_parse_frame(&frame, p, have, !has(ws, WEBSOCKET__CLIENT),
                                                   has(ws, WEBSOCKET__INSIDE));
    if (header < 0) {
        *intent = refuse(ws, (int)header);
        return true;
    }
    if (header == ROTOR_MORE) {
        *intent = await_more(ws, have + 1);
        return true;
    }
    if (!rotor_websocket_is_control(frame.opcode)) {
        ws->at += (uint32_t)header;
        int error = begin_frame(ws, &frame);
        if (error)
            *intent = refuse(ws, error);
        consume_told(ws); /* so that a message in one frame need not be moved */
        return error;
    }
    size_t size = (size_t)header + (size_t)frame.length;
    if (have < size) {
        *intent = await_more(ws, size);
        return true;
    }
    if (frame.masked)
        rotor_websocket_mask(p + header, (size_t)frame.length, frame.key, 0);
    ws->at += (uint32_t)size;
    *intent = on_control(ws, scope, frame.opcode, (rotor_text){p + header, (size_t)frame.length});
    return true;
}

/* -- the protocol ------------------------------------------------------------------------------ */

int rotor__websocket_set_subprotocol(rotor_websocket *ws, rotor_text name)
{
    ws->subprotocol = rotor_alloc(name.len + 1);
    if (!ws->subprotocol)
        return UV_ENOMEM;
    memcpy(ws->subprotocol, name.data, name.len);
    ws->subprotocol[name.len] = '\0';
    return 0;
}

rotor_intent rotor__websocket_create(rotor_stream *s, rotor_scope *scope, void *data)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    const rotor_websocket_seed *seed = data;
    if (seed->is_client)
        ws->flags |= WEBSOCKET__CLIENT;
    if (seed->opening)
        return rotor__websocket_ask(ws, seed->opening);
    if (seed->subprotocol && rotor__websocket_set_subprotocol(ws, text_of(seed->subprotocol)))
        return rotor_intent_error(UV_ENOMEM);
    return rotor__websocket_open(ws, scope, seed->seed);
}

rotor_intent rotor__websocket_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    rotor_intent intent;
    if (ws->state == WEBSOCKET__SHAKING)
        return rotor__websocket_shake(ws, scope);
    be_heard(ws, scope);
    ws->need = 1;
    if (ws->state == WEBSOCKET__LEAVING)
        return leave(ws);
    if (ws->left > 0 && read_payload(ws, scope, &intent))
        return intent;
    while (!read_frame(ws, scope, &intent) && !read_payload(ws, scope, &intent))
        continue;
    return intent;
}

rotor_intent rotor__websocket_bytes_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    if (ws->state == WEBSOCKET__ENDING)
        return rotor_intent_linger(later(scope, LINGER_MS, 0));
    if (ws->state != WEBSOCKET__OPEN) /* closed since the mark was set */
        return await(ws, 0);
    return settle(ws, scope,
                  handler->flushed ? handler->flushed(ws, scope)
                                   : rotor_intent_error(ROTOR_EUNEXPECTED));
}

/* The peer is silent, or this end has not listened. */
static rotor_intent check_life(rotor_websocket *ws, rotor_scope *scope)
{
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    uint32_t ping_ms = handler->ping_ms ? handler->ping_ms : PING_MS;
    uint32_t silent = (uint32_t)rotor_now(scope) - ws->heard_ms;
    if (rotor_stream_unsent(&ws->stream) > 0) {
        /* Reading may have stopped for what the peer is slow to take; stall_ms bounds that. */
        ws->check_at = rotor_now(scope) + ping_ms;
    } else if (silent < ping_ms) {
        ws->check_at = rotor_now(scope) + (ping_ms - silent);
    } else if (!has(ws, WEBSOCKET__PINGED)) {
        int error = rotor__websocket_send(ws, ROTOR_WEBSOCKET_PING, true, (rotor_text){NULL, 0});
        if (error)
            return fail(ws, error);
        ws->flags |= WEBSOCKET__PINGED;
        ws->check_at = later(scope, handler->pong_ms, PONG_MS);
    } else {
        tell_broken(ws, ROTOR_WEBSOCKET_ESILENT);
        return rotor_intent_abort();
    }
    return await_same(ws);
}

rotor_intent rotor__websocket_timeout(rotor_stream *s, rotor_scope *scope)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    bool due = ws->deadline <= rotor_now(scope);
    if (ws->state == WEBSOCKET__SHAKING)
        return rotor__websocket_give_up(ws, ROTOR_ETIMEDOUT, NULL);
    if (ws->state != WEBSOCKET__OPEN) {
        if (!due) /* closed since that deadline was set */
            return await(ws, 0);
        tell_broken(ws, ROTOR_WEBSOCKET_EUNCLOSED);
        return rotor_intent_abort();
    }
    if (!due)
        return check_life(ws, scope);
    ws->deadline = ROTOR_NEVER;
    if (handler->timeout)
        return settle(ws, scope, handler->timeout(ws, scope));
    int error = rotor_websocket_close(ws, ROTOR_WEBSOCKET_GOING_AWAY, (rotor_text){NULL, 0});
    return error ? fail(ws, error) : settle(ws, scope, rotor_intent_same());
}

rotor_intent rotor__websocket_wakeup(rotor_stream *s, rotor_scope *scope)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    if (ws->state == WEBSOCKET__CLOSING) {
        consume_told(ws);
        return await(ws, 0);
    }
    if (ws->state != WEBSOCKET__OPEN || !handler->wakeup)
        return rotor_intent_same();
    return settle(ws, scope, handler->wakeup(ws, scope));
}

rotor_intent rotor__websocket_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    if (ws->state == WEBSOCKET__SHAKING)
        return rotor__websocket_give_up(ws, reason, NULL);
    tell_broken(ws, reason);
    return rotor_intent_done();
}

void rotor__websocket_fatal(rotor_stream *s, rotor_scope *scope, int error)
{
    tell_broken((rotor_websocket *)s, error);
}

void rotor__websocket_drop(rotor_stream *s)
{
    rotor_websocket *ws = (rotor_websocket *)s;
    const rotor_websocket_handler *handler = rotor__websocket_handler(ws);
    if (has(ws, WEBSOCKET__OPENED)) {
        tell_broken(ws, ROTOR_ECANCELED);
        if (handler->drop)
            handler->drop(ws);
    } else {
        rotor__websocket_drop_opening(ws);
    }
    rotor_free(ws->subprotocol);
}

/* -- looking ----------------------------------------------------------------------------------- */

bool rotor_websocket_is_open(const rotor_websocket *ws)
{
    return ws->state == WEBSOCKET__OPEN;
}

int rotor_websocket_error(const rotor_websocket *ws)
{
    return ws->error;
}

void *rotor_websocket_seed_left(const rotor_websocket *ws)
{
    const rotor_websocket_seed *seed = rotor_stream_seed_left(&ws->stream);
    if (seed || has(ws, WEBSOCKET__OPENED))
        return seed ? seed->seed : NULL;
    /* An opening begins with it. */
    return ws->opening ? ((const rotor_websocket_seed *)ws->opening)->seed : NULL;
}

const char *rotor_websocket_subprotocol(const rotor_websocket *ws)
{
    return ws->subprotocol;
}
