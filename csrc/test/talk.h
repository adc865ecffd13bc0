/* A WebSocket under test: over memory, on a clock set by hand, with a handler that writes down what happens
** and does what the test says; and its peer, whose frames are written as a server sends them. */
#ifndef ROTOR_TEST_TALK_H
#define ROTOR_TEST_TALK_H

#include "../http/websocket.h"
#include "../stream/memory.h"

typedef struct talk talk;

/* The struct of the handler. */
typedef struct talker {
    rotor_websocket ws;
    talk *of;
} talker;

struct talk {
    /* What the test sets before talk_open(), if it needs it. */
    rotor_websocket_handler handler; /* talk_init() has set it */
    bool is_client;                  /* the one under test; else it is the server */
    const char *subprotocol;
    /* What these transitions do after they were written down; NULL: wait for messages. */
    rotor_intent (*open)(talk *t, rotor_scope *scope);
    rotor_intent (*message)(talk *t, rotor_scope *scope, rotor_text data, bool is_text);
    rotor_intent (*chunk)(talk *t, rotor_scope *scope, rotor_text data, bool is_text, bool last);
    rotor_intent (*flushed)(talk *t, rotor_scope *scope);
    rotor_intent (*timeout)(talk *t, rotor_scope *scope);
    rotor_intent (*wakeup)(talk *t, rotor_scope *scope);
    rotor_intent (*ping)(talk *t, rotor_scope *scope);
    void *context; /* the test's */

    rotor_loop *loop; /* NULL: talk_open() makes it, and talk_close() frees it */
    bool is_loop_shared;
    rotor_memory *peer;
    rotor_handle self;
    rotor_websocket *ws; /* NULL before `open` and after `drop` */
    int opens, closes, drops, errors, error;
    bool inside;     /* of a message that the peer receives in fragments */
    bool silent;     /* nothing is written down */
    size_t messages; /* how many there were */
    char log[8192];  /* "open text(Hello) ping() close(1000 bye) drop" */
};

/* A talk whose handler has all transitions but `message_chunk`. */
void talk_init(talk *t, bool is_client);

/* A loop for many talks, one after the other, as making one takes its time. 0 or UV_ENOMEM. */
int talk_open_loop(rotor_loop **loop);

/* Make the WebSocket, and the loop if there is none; the clock is set. 0 or UV_ENOMEM: then there is nothing
** to close. */
int talk_open(talk *t);

/* End everything there is: `close` and `drop` must have come exactly once for each `open`. */
void talk_close(talk *t);

void talk_note(talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Turn the loop until nothing more happens of itself; the same after so much time. */
void talk_turn(talk *t);
void talk_wait(talk *t, uint64_t ms);

/* The peer sends frames, and the loop turns; 0, or an error of memory. They are masked if the peer is a client.
** Their notation:
**
**     T(Hello) B(..)   text and binary; C: continuation, P: ping, Q: pong
**     t(ab) C(cd)      a small letter: more fragments follow
**     X() X(1000 bye)  close
**     T*126            with so many stars
**     4T(abc) #3(x)    with reserved bits: RSV1 4, RSV2 2, RSV3 1; with that opcode, in hex
**     <827f80>         these bytes, but for the mask */
int talk_send(talk *t, const char *frames);

/* Their bytes, for free(). */
char *talk_frames(const talk *t, const char *frames, size_t *n);

/* What the peer has received since it was last asked, as text: "text(Hello) pong() close(1002)". Each
** frame must be well-formed, and masked if it is a client's. Static. */
const char *talk_received(talk *t);

/* Whether the WebSocket's connection has ended. */
bool talk_is_over(const talk *t);

/* What the log must be. */
#define TALK_LOG(t, text) assert_string_equal((t)->log, text)

#endif
