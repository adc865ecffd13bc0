/* The protocol that connections of tasks run.
**
** The stream waits for what tasks wait for. When that is there, the task runs inside of the stream's
** transition, and what it waits for next is what the transition answers; so reading what has come, answering
** it and waiting for more is one dispatch, with one write. A task that asks at another time wakes the
** stream. */
#include "lua_conn.h"

/* What is still read from a connection that is broken, at most; and a piece of it. */
enum { MOST_REST = 1 << 20, LEAST_ROOM = 8192 };

rotor_intent rotor__conn_next(const rotor__conn_stream *s)
{
    const rotor__conn *c = s->conn;
    rotor_intent intent = rotor_intent_sleep();
    if (s->ending)
        return s->abort ? rotor_intent_abort() : rotor_intent_done();
    if (rotor__waits_first(&c->reading)) {
        const rotor__reading *want = &c->want;
        if (want->mode == ROTOR__READ_UNTIL)
            intent = rotor_expect_delimiter(want->delimiter, want->delimiter_len, want->size);
        else if (want->mode == ROTOR__READ_SOME)
            intent = rotor_expect_bytes(1);
        else
            intent = rotor_expect_bytes(want->size + (want->mode == ROTOR__READ_ALL));
    } else if (rotor__waits_first(&c->readable)) {
        intent = rotor_expect_bytes(1);
    }
    if (rotor__waits_first(&c->writing))
        return rotor_and_flush(intent, ROTOR__LOW_WATER);
    return rotor__waits_first(&c->flushing) ? rotor_and_flush(intent, 0) : intent;
}

/* Run the first who waits there, and wait for what is waited for then. */
static rotor_intent tell(rotor__conn_stream *s, rotor__waits *queue)
{
    rotor__wait *wait = rotor__waits_first(queue);
    if (wait) {
        s->inside = true;
        rotor__task_complete_now(wait, 0);
        s->inside = false;
    }
    return rotor__conn_next(s);
}

static rotor__waits *readers(rotor__conn *c)
{
    return rotor__waits_first(&c->reading) ? &c->reading : &c->readable;
}

static rotor_intent on_create(rotor_stream *stream, rotor_scope *scope, void *seed)
{
    rotor__conn_stream *s = (rotor__conn_stream *)stream;
    s->conn = seed;
    s->conn->cell.begun = true;
    if (s->conn->closed)
        return rotor_intent_abort();
    s->conn->open = true;
    return tell(s, &s->conn->reading);
}

static rotor_intent on_bytes_read(rotor_stream *stream, rotor_scope *scope, size_t n)
{
    rotor__conn_stream *s = (rotor__conn_stream *)stream;
    rotor__conn *c = s->conn;
    if (s->ending)
        return rotor__conn_next(s);
    if (rotor__waits_first(&c->reading)) {
        rotor_intent next = rotor__conn_next(s);
        if (next.kind != stream->intent.kind || next.size != stream->intent.size)
            return next; /* who waited for that does no more */
        if (next.kind == ROTOR_EXPECT_DELIMITER) {
            if (next.delimiter != stream->intent.delimiter)
                return next;
            c->found = n + 1;
        }
    }
    return tell(s, readers(c));
}

static rotor_intent on_bytes_flushed(rotor_stream *stream, rotor_scope *scope)
{
    rotor__conn_stream *s = (rotor__conn_stream *)stream;
    rotor__conn *c = s->conn;
    if (s->ending)
        return rotor__conn_next(s);
    if (rotor_stream_unsent(stream) == 0)
        rotor__task_complete_all(&c->flushing);
    return tell(s, &c->writing);
}

static rotor_intent on_wakeup(rotor_stream *stream, rotor_scope *scope)
{
    return rotor__conn_next((rotor__conn_stream *)stream);
}

/* All that read later find it without asking the stream again. */
static rotor_intent on_exception(rotor_stream *stream, rotor_scope *scope, int reason)
{
    rotor__conn_stream *s = (rotor__conn_stream *)stream;
    rotor__conn *c = s->conn;
    if (s->ending)
        return rotor__conn_next(s);
    if (reason == ROTOR_EEOF) {
        c->eof = true;
        rotor__task_complete_all(&c->readable);
    }
    return tell(s, &c->reading);
}

void rotor__conn_tell_all(rotor__conn *c)
{
    rotor__task_complete_all(&c->reading);
    rotor__task_complete_all(&c->readable);
    rotor__task_complete_all(&c->writing);
    rotor__task_complete_all(&c->flushing);
}

/* What the peer has sent before may still be there, such as why it takes no more. */
static void receive_rest(rotor_stream *stream)
{
    ssize_t n = 1;
    while (n > 0 && rotor_buf_len(&stream->input) < MOST_REST) {
        char *room = rotor_buf_reserve(&stream->input, LEAST_ROOM);
        n = room ? stream->transport->recv(stream, room, rotor_buf_room(&stream->input)) : 0;
        rotor_buf_commit(&stream->input, n > 0 ? (size_t)n : 0);
    }
}

/* Before `create` the seed is all there is. */
static void on_fatal(rotor_stream *stream, rotor_scope *scope, int error)
{
    rotor__conn *c = rotor_stream_seed_left(stream);
    if (!c)
        c = ((rotor__conn_stream *)stream)->conn;
    if (c->closed)
        return;
    c->error = error;
    if (c->open && !c->eof)
        receive_rest(stream);
    (void)rotor_buf_return(&stream->input);
    c->rest = stream->input;
    stream->input = (rotor_buf)ROTOR_BUF_INIT;
    rotor__conn_tell_all(c);
}

static void on_drop(rotor_stream *stream)
{
    rotor__cell_let_go(((rotor__conn_stream *)stream)->conn);
}

const rotor_protocol rotor__conn_protocol = {
    .name = "task.conn",
    .size = sizeof(rotor__conn_stream),
    .create = on_create,
    .bytes_read = on_bytes_read,
    .bytes_flushed = on_bytes_flushed,
    .wakeup = on_wakeup,
    .exception = on_exception,
    .fatal = on_fatal,
    .drop = on_drop,
    /* Who writes waits, but who reads is not to wait for that, or two who write to each other would wait
    ** for ever. */
    .high_water = SIZE_MAX,
};
