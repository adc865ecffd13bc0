/* The HTTP client under test: on a loop whose clock is set by hand, with a requester that writes down what
** it is told, and a server that is a socket in the hands of the test. */
#ifndef ROTOR_TEST_CALLS_H
#define ROTOR_TEST_CALLS_H

#include "../http/client.h"

typedef rotor_response calls_transition(rotor_http_call *c, rotor_scope *scope);

typedef struct calls {
    /* What the test sets before calls_open(). */
    rotor_http_client_config config;
    /* NULL: does the usual. The log is written in any case. */
    rotor_http_receive (*headers)(rotor_http_call *c, rotor_scope *scope);
    calls_transition *informational, *redirected, *received, *chunk, *end, *body_wanted, *wakeup,
        *timeout;
    bool is_not_told_of_failures;
    size_t capacity; /* of the loop; 0: the usual one */

    rotor_loop *loop;
    rotor_http_client *client;
    rotor_http_requester requester;
    int listener;
    char where[128];
    char url[160];     /* of the server; a path goes behind it */
    rotor_handle call; /* the last that was started */
    int started, overs;
    int errors, error; /* told to on_error: how many, and the last */
    const char *body;  /* for calls_write_body: what is left to write */
    char log[16384];   /* "head 200, chunk abc, end, over" */
} calls;

calls *calls_of(const rotor_http_call *c);

/* Append to the log. */
void calls_note(calls *k, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What has been logged since it was last asked; valid until then. */
const char *calls_log(calls *k);

/* What `headers` may be: the body as it comes; … but not yet. */
rotor_http_receive calls_progressive(rotor_http_call *c, rotor_scope *scope);
rotor_http_receive calls_progressive_held(rotor_http_call *c, rotor_scope *scope);

/* What the others may be: wait; wait without reading; end; end with UV_EIO. */
rotor_response calls_ok(rotor_http_call *c, rotor_scope *scope);
rotor_response calls_hold(rotor_http_call *c, rotor_scope *scope);
rotor_response calls_done(rotor_http_call *c, rotor_scope *scope);
rotor_response calls_error(rotor_http_call *c, rotor_scope *scope);

/* What body_wanted may be: write all of k->body and finish. */
rotor_response calls_write_body(rotor_http_call *c, rotor_scope *scope);

/* Make loop, client, and a listening socket (on `address`; NULL: any port of 127.0.0.1). 0 or UV_ENOMEM: then
** there is nothing to close. */
int calls_open(calls *k);
int calls_open_at(calls *k, const char *address);

/* End everything; each call must have been over exactly once. */
void calls_close(calls *k);

/* The client and its listener alone; the loop goes on. */
void calls_release(calls *k);

/* Begin a request in `ask`, for a path of the server. 0 or UV_ENOMEM. */
int calls_ask(calls *k, rotor_http_ask *ask, const char *method, const char *path);

/* Start the call. 0 or an error. */
int calls_start(calls *k, rotor_http_ask *ask);

/* Both, without anything else in the request; fails the test if that fails. */
void calls_get(calls *k, const char *path);

/* Accept a connection. */
int calls_accept(calls *k);

/* Whether another connection has come: it is not accepted. */
bool calls_is_asked_for_more(calls *k);

/* Turn the loop until nothing more happens of itself. */
void calls_turn(calls *k);

/* Time passes, and the loop turns. */
void calls_wait(calls *k, uint64_t ms);

/* Turn until the log says so much, no more and no less, since it was last asked. */
void calls_expect(calls *k, const char *log);

/* What a server gets for GET of a path, without other headers. Static. */
const char *calls_request(const calls *k, const char *method, const char *path,
                          const char *headers);

#endif
