/* What the client's files share: the client with its pool, a connection, a call. Private. */
#ifndef ROTOR_HTTP_CLIENT_PRIVATE_H
#define ROTOR_HTTP_CLIENT_PRIVATE_H

#include "../core/private.h"
#include "chunked.h"
#include "client.h"

typedef struct rotor_http__origin rotor_http__origin;
typedef struct rotor_http__conn rotor_http__conn;

/* A ring of nodes, of which one is the list itself. */
typedef struct rotor_http__node {
    struct rotor_http__node *next, *prev;
} rotor_http__node;

static inline void rotor_http__list_init(rotor_http__node *list)
{
    list->next = list->prev = list;
}

static inline bool rotor_http__list_is_empty(const rotor_http__node *list)
{
    return list->next == list;
}

/* Put `node` before `other`: at the end, if that is the list. */
static inline void rotor_http__list_put(rotor_http__node *other, rotor_http__node *node)
{
    node->next = other;
    node->prev = other->prev;
    other->prev->next = node;
    other->prev = node;
}

/* Without effect on a node that is in no list (all zero). */
static inline void rotor_http__list_remove(rotor_http__node *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* -- the client: client.c ---------------------------------------------------------------------- */

enum { HTTP__ORIGINS = 64 };

struct rotor_http_client {
    unsigned refs; /* the maker's; one for each call, and for each connection */
    rotor_loop *loop;
    rotor_http_client_config config;
    bool released; /* nothing is kept any more */
    uint32_t open; /* connections, those under way, too */
    uint32_t nidle;
    rotor_http__node idle;   /* connections that are kept, the oldest first */
    rotor_http__node hungry; /* origins that calls wait for */
    rotor_http__origin *origins[HTTP__ORIGINS];
    rotor_protocol protocol;
    rotor_http_field fields[]; /* of the head that is being read */
};

/* A place to connect to. There as long as it has connections or calls that wait for one. */
struct rotor_http__origin {
    rotor_http__origin *next, **link;
    rotor_http__node hungry;
    rotor_http__node idle;    /* connections that are kept, the oldest first */
    rotor_http__node waiting; /* calls, in their order */
    uint32_t open, nidle;
    char address[];
};

void rotor_http__client_unref(rotor_http_client *client);

/* Find a connection for the call, make one, or have the call wait for one. `anew`: not one that was kept.
** 0 or an error. */
int rotor_http__acquire(rotor_http_call *c, bool anew);

/* The call does not wait for a connection any more. */
void rotor_http__call_unwait(rotor_http_call *c);

/* The connection's call is through with it, and another may have it. */
void rotor_http__release(rotor_http__conn *conn);

/* The connection does not count any more, and is never used again. */
void rotor_http__forget(rotor_http__conn *conn);

/* Where a connection has ended there may be room for one that is waited for. */
void rotor_http__serve(rotor_http_client *client);

/* -- a connection: client_conn.c --------------------------------------------------------------- */

enum {
    CONN__CONNECTING,
    CONN__IDLE,
    CONN__HEAD, /* a response is waited for */
    CONN__BODY, /* … is being read */
    CONN__PASSING,
    CONN__CLOSED
};

struct rotor_http__conn {
    rotor_stream stream;
    rotor_http_client *client;
    rotor_http__origin *origin; /* NULL: it does not count any more */
    rotor_http_call *call;      /* NULL: none */
    rotor_http__node of_origin, of_client;
    rotor_http_progress progress;
    rotor_http_chunked chunked;
    uint64_t left;   /* of a body with a length */
    uint64_t total;  /* of any other, or one that is skipped: what has come */
    uint64_t until;  /* a deadline of its own: idle, or waiting for 100 Continue */
    size_t need;     /* bytes of input to wait for */
    size_t body_len; /* of a buffered body: what is decoded at the input's front */
    uint8_t state, framing;
    bool inside; /* one of its transitions runs */
    bool reused;
    bool answered;          /* something of the response has come */
    bool ended;             /* all of the body was read, but the end of it not told yet */
    bool keep;              /* it can be used again behind this response */
    rotor_stream_seed next; /* CONN__PASSING */
};

extern const rotor_protocol rotor_http__conn_protocol;

/* See rotor_protocol.describe. */
void rotor_http__conn_describe(const rotor_stream *s, char *text, size_t size);

/* Send the call's request on a connection that has none. 0 or an error: then it has none still. */
int rotor_http__conn_begin(rotor_http__conn *conn, rotor_http_call *c);

/* Whether an idle connection is still as it was left. */
bool rotor_http__conn_is_quiet(rotor_http__conn *conn);

/* Close it, whatever it is doing; its call must have been taken from it. */
void rotor_http__conn_close(rotor_http__conn *conn);

/* What the connection waits for may have changed. */
void rotor_http__conn_resume(rotor_http__conn *conn);

/* -- a call: call.c ---------------------------------------------------------------------------- */

/* How far the body of the request is. */
enum {
    CALL__UNSENT,  /* the head is not sent yet */
    CALL__EXPECTS, /* "100 Continue" is waited for */
    CALL__SENDS,
    CALL__SENT,
    CALL__STOPPED /* the response has come before */
};

/* How the response's body is taken. */
enum { CALL__BUFFERS, CALL__STREAMS, CALL__SKIPS };

struct rotor_http_call {
    rotor_machine machine;
    rotor_http_client *client;
    const rotor_http_requester *requester;
    void *data;
    rotor_http_ask ask;
    rotor_http__conn *conn;     /* NULL: none */
    rotor_http__origin *origin; /* where it waits for one; NULL: it does not */
    rotor_http__node waiting;
    uint64_t deadline; /* of the call */
    uint64_t until;    /* of the last transition's answer */
    int error;         /* that it is about to fail with */
    bool begun;        /* a connection was asked for */
    bool over;         /* no transition is called any more */
    bool held;
    bool retried;

    uint8_t sending;
    bool parked;      /* body_wanted was told, and nothing written since */
    bool consumed;    /* some of a streamed body was written */
    uint64_t to_send; /* what is left of a body with a length */
    size_t given;     /* of a body that is not streamed */
    rotor_buf trailer_lines;

    uint8_t taking;
    int followed; /* redirects */
    uint64_t max; /* bytes of the response's body */
    rotor_http_response_head head;
    char *text;         /* of the head, behind its fields */
    rotor_buf received; /* of the trailer section */
    rotor_buf body;     /* when it is whole */
    uint32_t ntrailers;
    rotor_http_field *trailers;
    rotor_stream_seed *next; /* valid in headers_received, where the connection can be taken over */
};

/* The scope for the call's transitions, wherever they are called from. */
static inline rotor_scope rotor_http__call_scope(rotor_http_call *c)
{
    return (rotor_scope){.loop = c->machine.loop, .machine = &c->machine};
}

/* What a call ends with that a transition has ended. */
static inline int rotor_http__status_of(rotor_response r)
{
    if (r.kind == ROTOR_ERROR)
        return r.error < 0 ? r.error : ROTOR_EUNEXPECTED;
    return r.kind == ROTOR_SPAWN ? ROTOR_EUNEXPECTED : 0;
}

/* Do what a transition has answered. */
void rotor_http__call_heed(rotor_http_call *c, rotor_response r);

/* Have the call fail, once the present transition has returned. It has no connection any more. */
void rotor_http__call_fail(rotor_http_call *c, int error);

/* The call ends with `status`; nothing more is told of it but that. */
void rotor_http__call_end(rotor_http_call *c, int status);

/* Remember the head that was read from `text`. 0 or UV_ENOMEM. */
int rotor_http__call_keep_head(rotor_http_call *c, const rotor_http_response_head *head,
                               const char *text, size_t len);

/* Move the first `n` bytes of the input, which are the whole body, to the call. 0 or UV_ENOMEM. */
int rotor_http__call_take_input(rotor_http_call *c, rotor_buf *input, size_t n);

/* Append what comes next of the body to the connection's output, if there is room. 0 or an error. */
int rotor_http__call_feed(rotor_http_call *c);

/* Whether the request can be sent again as if it had not been before. */
bool rotor_http__call_can_repeat(const rotor_http_call *c);

/* The head of a redirect, and its body, are through: go where it leads. */
void rotor_http__call_follow(rotor_http_call *c);

/* Fields whose spans are of `text`: the value of the first with that name; and the i-th. */
rotor_text rotor_http__field_named(const rotor_http_field *fields, uint32_t n, const char *text,
                                   const char *name, size_t len);
bool rotor_http__field_at(const rotor_http_field *fields, uint32_t n, const char *text, size_t i,
                          rotor_text *name, rotor_text *value);

#endif
