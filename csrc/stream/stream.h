/* Streams: buffered, bidirectional byte streams, run by protocols.
**
** A protocol says what it expects next (so many bytes, or bytes up to a delimiter, or its output
** flushed), and is called when that is there. All output of one dispatch leaves in one write. Input is
** bounded by the expectation, output by a high-water mark that stops reading.
**
** A stream is a machine: its handle is `s->machine.self`. Use it in its loop's thread only. */
#ifndef ROTOR_STREAM_STREAM_H
#define ROTOR_STREAM_STREAM_H

#include "../core/buf.h"
#include "../core/loop.h"
#include "transport.h"

typedef enum rotor_intent_kind {
    ROTOR_EXPECT_BYTES,
    ROTOR_EXPECT_DELIMITER,
    ROTOR_INTENT_SLEEP,
    ROTOR_INTENT_SAME,
    ROTOR_INTENT_DONE,
    ROTOR_INTENT_LINGER,
    ROTOR_INTENT_ABORT,
    ROTOR_INTENT_ERROR,
    ROTOR_INTENT_PASS
} rotor_intent_kind;

/* What a protocol's transition returns: all that the stream waits for next. Made by the functions
** below. */
typedef struct rotor_intent {
    uint16_t kind;
    uint16_t delimiter_len;
    uint32_t flush; /* one more than the output may still have, to be told; 0: not to be told */
    union {
        struct {
            const char *delimiter;
            uint32_t size;     /* how many bytes, or at most how many */
            uint32_t offset;   /* ROTOR_EXPECT_DELIMITER: where the search begins */
            uint64_t deadline; /* in ms of the loop's clock, or ROTOR_NEVER */
        };
        int error; /* ROTOR_INTENT_ERROR */
        struct {
            const struct rotor_protocol *protocol;
            void *seed;
            void (*release)(void *seed);
        } next; /* ROTOR_INTENT_PASS */
    };
} rotor_intent;

/* private: `n`, and what no buffer can hold is as good as any of that kind. */
static inline uint32_t rotor__intent_size(size_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX - 1;
}

/* Wait until at least `n` bytes of input are there: bytes_read(n). */
static inline rotor_intent rotor_expect_bytes(size_t n)
{
    return (rotor_intent){
        .kind = ROTOR_EXPECT_BYTES, .size = rotor__intent_size(n), .deadline = ROTOR_NEVER};
}

/* Wait until `delimiter` (`len` bytes, 1 to 65,535, which must stay in place meanwhile) occurs in the
** input at or behind `offset`: bytes_read(n), where n bytes stand before it. When it does not begin
** within the first `max` bytes: exception(ROTOR_ELIMIT). */
static inline rotor_intent rotor_expect_delimiter_at(const char *delimiter, uint16_t len,
                                                     size_t max, uint32_t offset)
{
    return (rotor_intent){.kind = ROTOR_EXPECT_DELIMITER,
                          .delimiter_len = len,
                          .offset = offset,
                          .delimiter = delimiter,
                          .size = rotor__intent_size(max),
                          .deadline = ROTOR_NEVER};
}

/* The same from the start of the input. */
static inline rotor_intent rotor_expect_delimiter(const char *delimiter, uint16_t len, size_t max)
{
    return rotor_expect_delimiter_at(delimiter, len, max, 0);
}

/* Wait for wakeups and the deadline only. Nothing is read. */
static inline rotor_intent rotor_intent_sleep(void)
{
    return (rotor_intent){.kind = ROTOR_INTENT_SLEEP, .deadline = ROTOR_NEVER};
}

/* What `intent` waits for, and also until at most `n` bytes of output are still to be sent, whichever
** is first: bytes_flushed. Told once: rotor_intent_same() goes on with the rest of it. Input is read
** meanwhile as without the mark: while output is below the high-water mark, so a protocol that minds
** its output by such marks sets `high_water` well above them. */
static inline rotor_intent rotor_and_flush(rotor_intent intent, size_t n)
{
    if (intent.kind <= ROTOR_INTENT_SLEEP)
        intent.flush = rotor__intent_size(n) + 1;
    return intent;
}

/* Wait until at most `n` bytes of output are still to be sent: bytes_flushed. Nothing is read. */
static inline rotor_intent rotor_expect_flush(size_t n)
{
    return rotor_and_flush(rotor_intent_sleep(), n);
}

/* Keep waiting for what was waited for, the deadline included, but for a flush mark that was told.
** From `create`: sleep. */
static inline rotor_intent rotor_intent_same(void)
{
    return (rotor_intent){.kind = ROTOR_INTENT_SAME};
}

/* Send what was written, then close. A deadline bounds the sending. */
static inline rotor_intent rotor_intent_done(void)
{
    return (rotor_intent){.kind = ROTOR_INTENT_DONE, .deadline = ROTOR_NEVER};
}

/* Send what was written, close that direction, and read and drop what the peer still sends until it
** closes, too, in whatever way, or until `deadline`. Closing with unread input resets a TCP connection, which may
** take the last answer from the peer before it was read (RFC 9112 section 9.6). */
static inline rotor_intent rotor_intent_linger(uint64_t deadline)
{
    return (rotor_intent){.kind = ROTOR_INTENT_LINGER, .deadline = deadline};
}

/* Close at once; what was written and not yet sent is dropped. */
static inline rotor_intent rotor_intent_abort(void)
{
    return (rotor_intent){.kind = ROTOR_INTENT_ABORT};
}

/* As abort, and the machine ends with `code` < 0. */
static inline rotor_intent rotor_intent_error(int code)
{
    return (rotor_intent){.kind = ROTOR_INTENT_ERROR, .error = code};
}

typedef struct rotor_stream_seed rotor_stream_seed;

/* Hand the connection over to another protocol: to next->protocol, whose `create` is called with
** next->seed when the present protocol's `drop` has been. Of `next`, which is copied, no more is looked
** at than these two and `release`, which is called as ever, exactly once.
**
** The new protocol finds the input that was not consumed, its end, too, if that has come; what was
** written and not yet sent is sent before what it writes. The machine keeps its handle, its parent
** and what wakes it, but in another struct: who casts what rotor_find() returns has to look at
** `protocol` first. What was still to be pulled is the old one's, and not sent. When that cannot be made, the connection is closed, and the machine ends with
** UV_ENOMEM, or UV_EINVAL for a protocol that is none. */
static inline rotor_intent rotor_intent_pass(const rotor_stream_seed *next);

/* `intent`, but not longer than until `deadline` (in ms of the loop's clock): then `timeout`. */
static inline rotor_intent rotor_intent_until(rotor_intent intent, uint64_t deadline)
{
    if (intent.kind < ROTOR_INTENT_ABORT)
        intent.deadline = deadline;
    return intent;
}

/* A protocol: a constant table. Every transition but `create` may be NULL; then the stream does what
** is noted. They obey the rules of machines (core/machine.h).
**
** A protocol may be split into states, each a table like this one whose `parent` is the protocol, or
** another state: what is NULL or 0 in a state is taken from its parent, and so on up. `create`,
** `drop` and `size` are the protocol's own. A stream begins in the protocol itself, and
** rotor_become() moves it. */
typedef struct rotor_protocol {
    const char *name;                    /* for messages */
    size_t size;                         /* of the struct, whose first member is a rotor_stream */
    const struct rotor_protocol *parent; /* NULL: this is no state */

    /* The connection is there. What is behind the rotor_stream is all zero. */
    rotor_intent (*create)(rotor_stream *s, rotor_scope *scope, void *seed);

    /* The expected bytes are there: the first `n` of rotor_stream_input(), and for a delimiter the
    ** delimiter behind them. What is not consumed stays. NULL: end with ROTOR_EUNEXPECTED. */
    rotor_intent (*bytes_read)(rotor_stream *s, rotor_scope *scope, size_t n);

    /* The output is flushed as far as was expected. NULL: end with ROTOR_EUNEXPECTED. */
    rotor_intent (*bytes_flushed)(rotor_stream *s, rotor_scope *scope);

    /* More output was asked for by rotor_stream_pull(), and none is left: give some, by writing or by
    ** rotor_stream_send_file(). How many bytes that are, > 0; 0: that was all, until it is asked for
    ** again; UV_EAGAIN: the peer takes no more now; any other error is fatal. No answer to what the
    ** stream waits for; called while closing, too. NULL: there is no more. */
    ssize_t (*pull)(rotor_stream *s, rotor_scope *scope);

    /* The deadline has passed. NULL: end with ROTOR_ETIMEDOUT. */
    rotor_intent (*timeout)(rotor_stream *s, rotor_scope *scope);

    /* Somebody woke the stream. NULL: keep waiting. Not told before `create` or while closing. */
    rotor_intent (*wakeup)(rotor_stream *s, rotor_scope *scope);

    /* The expectation cannot be met: ROTOR_EEOF, the peer has closed its direction (the input has what
    ** came before; output can still be sent); ROTOR_ELIMIT, the delimiter did not come in time. An
    ** answer that cannot be met for the same reason ends the stream with it, but for ROTOR_ELIMIT when
    ** input was consumed: that is told again.
    ** NULL: at EOF with nothing left in the input, done; otherwise end with `reason`. */
    rotor_intent (*exception)(rotor_stream *s, rotor_scope *scope, int reason);

    /* The peer has closed its direction while nothing was being read: in a sleep, while only a flush is
    ** waited for, or with reading stopped by output above the high-water mark. What it sent before may
    ** still be read, and output be sent. Told once, not while closing, and not when `exception` has
    ** told the end. A connection that failed instead, as by a reset, goes to `fatal` at once; after
    ** this, only the next read or write shows it.
    ** NULL: not watched for; then reading or writing tells, when it comes to that. */
    rotor_intent (*hangup)(rotor_stream *s, rotor_scope *scope);

    /* The connection is broken (or, before `create`, was never made): no more can be read or sent. The
    ** stream ends with `error` after this, also with NULL. */
    void (*fatal)(rotor_stream *s, rotor_scope *scope, int error);

    /* The destructor; exactly once, if `create` was called. */
    void (*drop)(rotor_stream *s);

    /* No transition: say in words what it waits for, see rotor_type.describe. NULL: its intent. */
    void (*describe)(const rotor_stream *s, char *text, size_t size);

    /* Output at which reading stops until it has gone below half of it; 0: 65,536 bytes. */
    size_t high_water;
    /* How long the peer may take no output while there is some, before fatal(ROTOR_ESTALLED);
    ** 0: 30,000 ms. */
    uint32_t stall_ms;
    /* Transitions and pulls in a row before others have their turn; 0: 64. */
    uint32_t turns;
} rotor_protocol;

struct rotor_stream {
    rotor_machine machine;            /* read-only */
    const rotor_protocol *protocol;   /* read-only; the state it is in */
    const rotor_transport *transport; /* a transport's handshake may change it */
    rotor_io io;                      /* the transport's */
    /* private */
    rotor_buf input, output;
    union {
        rotor_intent intent;
        struct { /* until the transport's handshake is through */
            void *seed;
            uint64_t deadline;
            void (*release)(void *seed);
            uint64_t retry_at; /* the transport's: when to call its handshake again, without an
                                  event; 0: not */
        } opening;
    };
    uint32_t stalled_ms; /* when the output last moved; low bits of the loop's clock */
    uint32_t flags;
};

/* Move to `state`, a state of the stream's protocol or the protocol itself; from one of its own
** transitions, whose answer is then the first of the new state. 0, or UV_EINVAL when it belongs to
** another protocol. */
int rotor_become(rotor_stream *s, const rotor_protocol *state);

/* The protocol of which `state` is a state. */
const rotor_protocol *rotor_protocol_of(const rotor_protocol *state);

/* The input not yet consumed. Consume, split or take from it; do not add to it. */
static inline rotor_buf *rotor_stream_input(rotor_stream *s)
{
    return &s->input;
}

/* Append `n` bytes to the output; they leave at the end of the present dispatch. From another
** machine's transition: in this turn of the loop. 0; UV_ENOMEM, with nothing appended; ROTOR_ECLOSED
** when output is not possible (done, shut down, broken, or not connected yet). */
int rotor_stream_write(rotor_stream *s, const void *data, size_t n);

/* The output, to compose in place (extend, reserve and commit); NULL when not possible, as above. */
rotor_buf *rotor_stream_output(rotor_stream *s);

/* How many bytes of output are still to be sent (but for those yet to be pulled). */
static inline size_t rotor_stream_unsent(const rotor_stream *s)
{
    return rotor_buf_len(&s->output);
}

/* Have the protocol's `pull` called whenever all that was written has been sent, until it returns 0. So
** long output need not be in memory, and leaves as fast as the peer takes it. As long as this goes on,
** nothing counts as flushed: flush marks, done, linger and the half-close wait for it. Without effect
** where rotor_stream_write() is refused. From another machine's transition: in this turn of the loop. */
void rotor_stream_pull(rotor_stream *s);

/* Send up to `n` bytes of the file `fd` from `*offset` on, and add to that how many were; may be called in
** `pull` only, whose result this can be. Over a plain socket the kernel copies them, and some are sent
** at once; otherwise they go to the output. How many, > 0, but 0 if `n` is; UV_EAGAIN when the peer takes
** no more now; ROTOR_ETRUNCATED at the end of the file; ROTOR_ESTATE outside of `pull`; or an error. */
ssize_t rotor_stream_send_file(rotor_stream *s, int fd, uint64_t *offset, size_t n);

/* Send what was written and then tell the peer that no more comes (half-close); reading goes on. */
void rotor_stream_shutdown(rotor_stream *s);

/* The peer's or the own address as text ("127.0.0.1:4242", "unix:/path", "unix:"), cut to `size` bytes
** with the final NUL. While a connection is being made, and in `fatal` when it was not, the peer is
** what rotor_connect() was given, perhaps a name. 0 or an error; then the text is empty. */
int rotor_stream_peer(const rotor_stream *s, char *text, size_t size);
int rotor_stream_local(const rotor_stream *s, char *text, size_t size);

/* The seed that the protocol's create has not been given yet (in `fatal`, as the connection was never
** made); NULL once it has been. */
void *rotor_stream_seed_left(const rotor_stream *s);

/* To make a stream by rotor_spawn(scope, &rotor_stream_type, seed) or rotor_add(). */
struct rotor_stream_seed {
    const rotor_protocol *protocol;
    const rotor_transport *transport; /* NULL: rotor_plain */
    int fd;     /* a connected non-blocking socket, or -1. The stream takes it in `create` and
                         puts -1 here; as long as it stands here it is the caller's */
    void *seed; /* for the protocol's create, which may be called later than the stream's */
    uint64_t deadline; /* for the transport's handshake, in ms of the loop's clock; 0: none */
    void (*release)(void *seed); /* NULL, or called with `seed` when the protocol's create has
                                    returned, or can no longer be called; exactly once if the
                                    stream's create was called */
};

static inline rotor_intent rotor_intent_pass(const rotor_stream_seed *next)
{
    return (rotor_intent){.kind = ROTOR_INTENT_PASS,
                          .next = {next->protocol, next->seed, next->release}};
}

extern const rotor_type rotor_stream_type;

/* private: whether it has a create, and the size of a stream at least. */
bool rotor__protocol_is_valid(const rotor_protocol *protocol);

#endif
