/* What a stream waits for, in words, for those who dump a loop. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../core/private.h"
#include "private.h"

enum { SHOWN = 16 }; /* bytes of a delimiter */

typedef struct words {
    char *text;
    size_t size, used;
} words;

static __attribute__((format(printf, 2, 3))) void say(words *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(w->text + w->used, w->size - w->used, format, arguments);
    va_end(arguments);
    if (n > 0)
        w->used = w->used + (size_t)n < w->size ? w->used + (size_t)n : w->size - 1;
}

static void say_delimiter(words *w, const rotor_intent *in)
{
    say(w, "\"");
    for (size_t i = 0; i < in->delimiter_len && i < SHOWN; i++) {
        unsigned char c = (unsigned char)in->delimiter[i];
        if (c == '\n' || c == '\r')
            say(w, c == '\n' ? "\\n" : "\\r");
        else
            say(w, c == '"' || c == '\\' ? "\\%c" : isprint(c) ? "%c" : "\\x%02x", c);
    }
    say(w, in->delimiter_len > SHOWN ? "…\" within %u bytes" : "\" within %u bytes", in->size);
}

static void say_intent(words *w, const rotor_stream *s)
{
    const rotor_intent *in = &s->intent;
    switch (in->kind) {
    case ROTOR_EXPECT_BYTES:
        say(w, in->size == 1 ? "%u byte" : "%u bytes", in->size);
        break;
    case ROTOR_EXPECT_DELIMITER:
        say_delimiter(w, in);
        break;
    case ROTOR_INTENT_DONE:
        say(w, "its output to be sent, to close then");
        break;
    case ROTOR_INTENT_LINGER:
        say(w, s->flags & ROTOR__SHUT ? "the peer to close"
                                      : "its output to be sent, then the peer to close");
        break;
    default:
        if (in->flush == 0)
            say(w, "a wakeup");
    }
    if (in->kind <= ROTOR_INTENT_SLEEP && in->flush > 0)
        say(w, "%sat most %u unsent", in->kind == ROTOR_INTENT_SLEEP ? "" : ", or ", in->flush - 1);
}

static void say_what(words *w, const rotor_stream *s)
{
    ROTOR__IN_FORCE(protocol, s, describe);
    if (!protocol->describe || s->intent.kind >= ROTOR_INTENT_DONE) {
        say_intent(w, s);
        return;
    }
    protocol->describe(s, w->text, w->size);
    w->used = strlen(w->text);
}

static void say_bytes(words *w, const rotor_stream *s)
{
    if (rotor_buf_len(&s->input) > 0)
        say(w, ", %zu unread", rotor_buf_len(&s->input));
    if (rotor_buf_len(&s->output) > 0)
        say(w, ", %zu unsent", rotor_buf_len(&s->output));
    if (s->flags & ROTOR__AT_EOF)
        say(w, ", after the end of its input");
}

void rotor__stream_describe(const rotor_machine *m, char *text, size_t size)
{
    const rotor_stream *s = (const rotor_stream *)m;
    words w = {text, size, 0};
    char peer[ROTOR_ADDRESS_SIZE];
    bool known = rotor_stream_peer(s, peer, sizeof peer) == 0;
    if (rotor__connecting_peer(s, peer, sizeof peer) == 0) {
        say(&w, "connecting to %s", peer);
        return;
    }
    if (s->flags & ROTOR__RUNNING)
        say(&w, "running");
    else if (s->flags & ROTOR__HANDSHAKE)
        say(&w, "the handshake of its transport (%s)", s->transport->name);
    else
        say_what(&w, s);
    say_bytes(&w, s);
    if (s->protocol->parent)
        say(&w, ", in state %s", s->protocol->name);
    if (known)
        say(&w, ", peer %s", peer);
}
