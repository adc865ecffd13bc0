/* An HTTP server under test: on a loop whose clock is set by hand, with a handler that does what the
** test says and writes down what happens, and a client in memory. */
#ifndef ROTOR_TEST_WEB_H
#define ROTOR_TEST_WEB_H

#include "../http/server.h"
#include "../stream/memory.h"

/* The time at web_open(). */
#define WEB_WALL_MS UINT64_C(784111777000)
#define DATE        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

/* Answers with a body of `length` bytes, before which the connection stays open, or closes. */
#define OK(length, body) "HTTP/1.1 200 OK\r\n" DATE "Content-Length: " #length "\r\n\r\n" body
#define LAST(length, body)                                                                         \
    "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\nContent-Length: " #length "\r\n\r\n" body

typedef rotor_response web_transition(rotor_http *h, rotor_scope *scope);

typedef struct web {
    /* What the test sets before web_open(). */
    rotor_http_config config; /* but for `context` and `closed` */
    web_transition *received; /* NULL: web_answer */
    web_transition *wakeup, *timeout, *flushed, *hangup, *end;
    rotor_http_receive (*headers)(rotor_http *h, rotor_scope *scope);
    rotor_response (*chunk)(rotor_http *h, rotor_scope *scope, rotor_text data);
    void (*bad)(rotor_http *h, rotor_scope *scope, int error);
    void (*page)(rotor_http *h, rotor_scope *scope, int status, const char *why);
    void (*over)(rotor_http *h);
    void *context; /* the test's */

    rotor_loop *loop;
    rotor_http_server *server;
    rotor_http_handler handler;
    rotor_memory *client;    /* NULL: none now */
    rotor_handle connection; /* of the client */
    rotor_http_ref ref;      /* of the request received last */
    int requests, overs;     /* as many as the handler was told of, and request_over */
    int errors, error;       /* how often on_error was called, and with what last */
    int closed;              /* how often config.closed was called */
    char log[4096];          /* "GET / wakeup over GET /2 over" */
} web;

web *web_of(const rotor_http *h);

/* Append to the log. */
void web_note(web *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What `received` and the others may be: 200 with the method, the target and, if there is one, the
** body, with spaces between; wait without a deadline; end without an answer; end with UV_EIO. */
rotor_response web_answer(rotor_http *h, rotor_scope *scope);
rotor_response web_waits(rotor_http *h, rotor_scope *scope);
rotor_response web_done(rotor_http *h, rotor_scope *scope);
rotor_response web_error(rotor_http *h, rotor_scope *scope);

/* Make loop and server, and set the clock. The loop alone, for servers of other kinds. 0 or UV_ENOMEM:
** then there is nothing to close. */
int web_open_loop(web *w);
int web_open(web *w);

/* End everything there is; each request must have been over exactly once. */
void web_close(web *w);

/* A new client in place of the last, which is freed. 0 or an error. */
int web_connect(web *w);

/* A connection over `fd`, which it owns; `w->client` has no part in it. */
void web_adopt(web *w, int fd);

/* Turn the loop until nothing more happens of itself. */
void web_turn(web *w);

/* The client sends, and the loop turns. */
void web_send(web *w, const char *text);
void web_send_bytes(web *w, const char *data, size_t n);

/* What the client has received since it was last asked; valid until then. */
const char *web_received(web *w);

/* The client sends `text` and must receive just `expected`. */
void web_asks(web *w, const char *text, const char *expected);

/* Time passes, and the loop turns. */
void web_wait(web *w, uint64_t ms);

/* Whether the server has half-closed, and whether the connection is gone. */
bool web_is_shut(const web *w);
bool web_is_gone(const web *w);

/* The server's own answer with `status`; its text says `why`, unless that is NULL. Static. */
const char *web_refusal(int status, const char *why);

#endif
