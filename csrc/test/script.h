/* A protocol for tests that does what a script says and writes down what happened. It fails the test
** when a transition runs inside another one. And a stage to play it on: a loop with the clock that
** is set by hand, and a peer in memory. */
#ifndef ROTOR_TEST_SCRIPT_H
#define ROTOR_TEST_SCRIPT_H

#include "../stream/memory.h"
#include "../stream/stream.h"

/* What one transition does. */
typedef struct script_line {
    rotor_intent then; /* its answer */
    const char *say;   /* written before; NULL: nothing */
    size_t bulk;       /* and so many bytes "x" */
    bool echo;         /* and what was read */
    bool keep;         /* what was read is not consumed */
    bool shutdown;     /* and then it shuts down */
} script_line;

typedef struct script {
    rotor_protocol protocol; /* first, so that it leads back to the script */
    const script_line *lines;
    size_t nlines; /* each transition plays the next, and the last over and over */
    /* NULL, or called in each transition but fatal and drop, after it was written down. */
    void (*act)(struct script *sc, rotor_stream *s, rotor_scope *scope);
    void *context; /* the test's */

    size_t played;
    int said;             /* the last error of a write, or 0 */
    rotor_stream *stream; /* NULL before create and after drop */
    int creates, reads, drops, fatals;
    char log[1024]; /* "create read(abc) exception(EEOF) drop" */
} script;

/* Has every transition but `hangup`, which is watched for where there is one. */
extern const rotor_protocol script_protocol;
rotor_intent script_hangup(rotor_stream *s, rotor_scope *scope);

/* A script of these lines, each of them in braces. */
#define SCRIPT(...)                                                                                \
    {                                                                                              \
        .protocol = script_protocol, .lines = (script_line[]){__VA_ARGS__},                        \
        .nlines = sizeof((script_line[]){__VA_ARGS__}) / sizeof(script_line)                       \
    }

/* Append to the log. */
void script_note(script *sc, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct stage {
    rotor_loop *loop;
    rotor_memory *peer;
    rotor_handle self;
    int error;  /* what on_error was told last */
    int errors; /* and how often */
} stage;

/* A loop of `capacity` machines (0: the usual). */
void stage_open_loop(stage *st, size_t capacity);
/* That, and a stream in memory that plays `sc`. */
void stage_open(stage *st, script *sc);
/* Frees what there is. */
void stage_close(stage *st);

/* Turn the loop until nothing more happens of itself. */
void stage_turn(stage *st);
/* The peer sends, and the loop turns. */
void stage_send(stage *st, const char *text);
/* What the peer has received since it was last asked; valid until then. */
const char *stage_received(stage *st);
/* Time passes, and the loop turns. */
void stage_wait(stage *st, uint64_t ms);

/* Whether the machine has ended. */
bool stage_is_over(stage *st);

#endif
