#include "test.h"

#include <stdio.h>
#include <string.h>

#include "protocols.h"

/* -- line echo --------------------------------------------------------------------------------- */

typedef struct echo {
    rotor_stream stream;
    bool skipping; /* the rest of a line that was too long */
} echo;

static rotor_intent next_line(void)
{
    return rotor_expect_delimiter("\r\n", 2, 12);
}

static rotor_intent echo_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return next_line();
}

static rotor_intent echo_line(rotor_stream *s, rotor_scope *scope, size_t n)
{
    echo *e = (echo *)s;
    rotor_buf *input = rotor_stream_input(s);
    if (!e->skipping)
        rotor_stream_write(s, rotor_buf_data(input), n + 2);
    e->skipping = false;
    rotor_buf_consume(input, n + 2);
    return next_line();
}

/* What is in the input when a line is too long depends on how it came; what is answered must not. */
static rotor_intent echo_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    echo *e = (echo *)s;
    rotor_buf *input = rotor_stream_input(s);
    if (reason == ROTOR_EEOF) {
        rotor_stream_write(s, "bye\r\n", 5);
        return rotor_intent_done();
    }
    if (!e->skipping)
        rotor_stream_write(s, "too long\r\n", 10);
    e->skipping = true;
    rotor_buf_consume(input, 12); /* its last byte may be the CR */
    return next_line();
}

const rotor_protocol protocol_lines = {
    .name = "line echo",
    .size = sizeof(echo),
    .create = echo_create,
    .bytes_read = echo_line,
    .exception = echo_exception,
};

/* -- frames: two bytes of length, then so many; answered backwards, the same way --------------- */

typedef struct frames {
    rotor_stream stream;
    bool in_body;
} frames;

static rotor_intent frames_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_expect_bytes(2);
}

static rotor_intent frames_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    frames *f = (frames *)s;
    rotor_buf *input = rotor_stream_input(s);
    const unsigned char *data = (const unsigned char *)rotor_buf_data(input);
    f->in_body = !f->in_body;
    if (f->in_body) {
        size_t len = (size_t)data[0] << 8 | data[1];
        rotor_stream_write(s, data, 2);
        rotor_buf_consume(input, 2);
        return rotor_expect_bytes(len);
    }
    for (size_t i = n; i > 0; i--)
        rotor_stream_write(s, data + i - 1, 1);
    rotor_buf_consume(input, n);
    return rotor_expect_bytes(2);
}

const rotor_protocol protocol_frames = {
    .name = "frames",
    .size = sizeof(frames),
    .create = frames_create,
    .bytes_read = frames_read,
};

/* -- a mailbox that talks, in states: the session's two fall back to it, and it to the protocol --- */

typedef struct mail {
    rotor_stream stream;
    unsigned mails;
} mail;

static const rotor_protocol session, command, body, goodbye;

static rotor_intent become(rotor_stream *s, const rotor_protocol *state, rotor_intent intent)
{
    assert_int_equal(rotor_become(s, state), 0);
    return intent;
}

static rotor_intent mail_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_stream_write(s, "220 ready\n", 10);
    return become(s, &session, rotor_expect_flush(0));
}

static rotor_intent session_flushed(rotor_stream *s, rotor_scope *scope)
{
    return become(s, &command, rotor_expect_delimiter("\n", 1, 20));
}

static rotor_intent command_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    const char *data = rotor_buf_data(input);
    bool is_data = n == 4 && memcmp(data, "DATA", 4) == 0;
    bool is_quit = n == 4 && memcmp(data, "QUIT", 4) == 0;
    rotor_buf_consume(input, n + 1);
    if (is_data) {
        rotor_stream_write(s, "354 go on\n", 10);
        return become(s, &body, rotor_expect_delimiter("\n.\n", 3, 1000));
    }
    if (is_quit) {
        rotor_stream_write(s, "221 bye\n", 8);
        return become(s, &goodbye, rotor_expect_flush(0));
    }
    rotor_stream_write(s, "500 what?\n", 10);
    return rotor_expect_flush(5); /* which does not matter */
}

static rotor_intent body_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    char answer[64];
    int len = snprintf(answer, sizeof answer, "250 mail %u of %zu\n", ++((mail *)s)->mails, n);
    rotor_stream_write(s, answer, (size_t)len);
    rotor_buf_consume(rotor_stream_input(s), n + 3);
    return rotor_expect_flush(0);
}

static rotor_intent goodbye_flushed(rotor_stream *s, rotor_scope *scope)
{
    rotor_stream_shutdown(s);
    return rotor_intent_linger(ROTOR_NEVER);
}

static rotor_intent mail_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    rotor_stream_write(s, "421 no\n", 7);
    return rotor_intent_linger(ROTOR_NEVER);
}

const rotor_protocol protocol_mail = {
    .name = "mail",
    .size = sizeof(mail),
    .create = mail_create,
    .exception = mail_exception,
};

static const rotor_protocol session = {
    .name = "session", .parent = &protocol_mail, .bytes_flushed = session_flushed};

static const rotor_protocol command = {
    .name = "command", .parent = &session, .bytes_read = command_read};

static const rotor_protocol body = {.name = "body", .parent = &session, .bytes_read = body_read};

static const rotor_protocol goodbye = {
    .name = "goodbye", .parent = &protocol_mail, .bytes_flushed = goodbye_flushed};

/* -- full duplex: counts what comes while much more than a window's worth goes out --------------- */

enum { CHUNKS = 12, CHUNK = 50 };

typedef struct duplex {
    rotor_stream stream;
    unsigned chunks, bytes;
} duplex;

static rotor_intent duplex_more(rotor_stream *s, rotor_scope *scope)
{
    duplex *d = (duplex *)s;
    char chunk[CHUNK];
    if (d->chunks == CHUNKS)
        return rotor_expect_bytes(1);
    memset(chunk, 'a' + (int)d->chunks++, CHUNK);
    rotor_stream_write(s, chunk, CHUNK);
    return rotor_and_flush(rotor_expect_bytes(1), 0);
}

static rotor_intent duplex_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return duplex_more(s, scope);
}

static rotor_intent duplex_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    ((duplex *)s)->bytes += (unsigned)rotor_buf_len(input);
    rotor_buf_consume(input, rotor_buf_len(input));
    return rotor_and_flush(rotor_expect_bytes(1), 0);
}

static rotor_intent duplex_exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    char total[32];
    for (rotor_intent more = duplex_more(s, scope); more.flush > 0;)
        more = duplex_more(s, scope);
    int n = snprintf(total, sizeof total, "%u", ((duplex *)s)->bytes);
    rotor_stream_write(s, total, (size_t)n);
    return rotor_intent_done();
}

const rotor_protocol protocol_duplex = {
    .name = "duplex",
    .size = sizeof(duplex),
    .create = duplex_create,
    .bytes_read = duplex_read,
    .bytes_flushed = duplex_more,
    .exception = duplex_exception,
};

/* -- a switch: one line says which protocol goes on with the connection ---------------------------- */

static rotor_intent switch_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_expect_delimiter("\n", 1, 10);
}

static rotor_intent switch_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    const char *data = rotor_buf_data(input);
    rotor_stream_seed next = {.protocol = NULL};
    if (n == 5 && memcmp(data, "lines", n) == 0)
        next.protocol = &protocol_lines;
    else if (n == 6 && memcmp(data, "frames", n) == 0)
        next.protocol = &protocol_frames;
    rotor_buf_consume(input, n + 1);
    rotor_stream_write(s, next.protocol ? "ok\n" : "what?\n", next.protocol ? 3 : 6);
    return next.protocol ? rotor_intent_pass(&next) : rotor_expect_delimiter("\n", 1, 10);
}

const rotor_protocol protocol_switch = {
    .name = "switch",
    .size = sizeof(rotor_stream),
    .create = switch_create,
    .bytes_read = switch_read,
};
