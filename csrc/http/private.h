/* What the server's files share: the connection, the exchange on it, the server behind it. */
#ifndef ROTOR_HTTP_PRIVATE_H
#define ROTOR_HTTP_PRIVATE_H

#include "../core/private.h"
#include "chunked.h"
#include "metrics.h"
#include "server.h"

/* What comes when a request is answered. */
enum { HTTP__THEN_REQUEST, HTTP__THEN_FILE, HTTP__THEN_PROTOCOL };

/* What is noted of an exchange. */
typedef struct rotor_http__notes {
    bool told;        /* the handler was called, so request_over is owed */
    bool reading;     /* the end of its body was not told yet */
    bool progressive; /* its body is told as it comes */
    bool ended;       /* of which all was received */
    bool held;        /* the handler wants nothing of the body for now */
    bool expected;    /* the client waits for "100 Continue" */
    bool trailed;     /* it has trailers */
    uint8_t then;     /* the next request; its body, from `file`; the protocol of `next` */
} rotor_http__notes;

/* One request and its response. */
typedef struct rotor_http__exchange {
    rotor_http_head head;
    /* The front of the input: the head, what there is of the body, and of the trailer section. */
    size_t head_len, body_len, size; /* the last is of all three */
    rotor_http__notes notes;
    rotor_http_response response;
    void *data;
    uint64_t began_ns; /* when the head was there; only if somebody is told */
    /* What follows is set when it is needed. */
    uint64_t deadline;      /* the handler's, or ROTOR_NEVER */
    uint32_t mark;          /* what output it waits for, as in rotor_intent */
    uint64_t body_deadline; /* the client's, for more of the body */
    uint64_t body_since;    /* from when on it is held to a rate */
    uint64_t body_seen;     /* bytes of the body that have come since then, as sent; and in all */
    uint64_t body_total;
    uint64_t body_max;
    rotor_http_chunked chunked;
    rotor_http_field *trailers; /* memory of its own */
    size_t ntrailers;
    int file;
    uint64_t file_at, file_left;
    rotor_stream_seed next;
    rotor_http_field fields[];
} rotor_http__exchange;

/* rotor_http.state: what the connection is doing. */
enum {
    HTTP__HEAD,    /* waiting for a request: `progress` is valid */
    HTTP__CLOSING, /* no request will be looked at any more */
    HTTP__BODY,    /* reading a body to be told whole: `exchange` is valid from here on */
    HTTP__CALLING, /* in a transition of the handler */
    HTTP__WAITING, /* the handler waits */
    HTTP__SENDING  /* a file is being sent */
};

struct rotor_http {
    rotor_stream stream;
    union {
        rotor_http_progress progress;
        rotor_http__exchange *exchange;
    };
    uint32_t serial; /* of the present request */
    uint8_t state;
    bool head_begun; /* some of the head is there, and its deadline is running */
};

/* See rotor_protocol.describe. */
void rotor_http__describe(const rotor_stream *s, char *text, size_t size);

static inline bool rotor_http__has_exchange(const rotor_http *h)
{
    return h->state >= HTTP__BODY;
}

/* Whether there is a request that can be answered. */
static inline bool rotor_http__is_open(const rotor_http *h)
{
    return h->state == HTTP__CALLING || (h->state >= HTTP__BODY && h->exchange->notes.told);
}

/* Whether there is a request that the handler knows of. */
static inline bool rotor_http__is_handled(const rotor_http *h)
{
    return rotor_http__has_exchange(h) && h->exchange->notes.told;
}

struct rotor_http_server {
    unsigned refs; /* the maker's or the listener's, and one for each connection */
    const rotor_http_handler *handler;
    rotor_http_limits limits;
    uint32_t head_ms, body_ms, body_rate, handler_ms, idle_ms;
    bool records; /* somebody is told of requests that are over */
    bool asks;    /* the handler is asked how to receive even what has no body */
    void *context;
    void (*closed)(void *context);
    void (*log)(rotor_http *h, const rotor_http_record *record);
    struct rotor_http_metrics *metrics;
    rotor_loop *loop;             /* while draining */
    bool draining;                /* nothing is kept alive any more */
    rotor_handle drainer;         /* the machine that waits for the connections' end, if any */
    rotor_http__exchange *shared; /* of a request that is answered at once */
    rotor_block *scratch;         /* lent to the shared exchange's response for its headers */
    uint64_t date_until;          /* on the loop's clock */
    char date[ROTOR_HTTP_DATE_SIZE];
    rotor_protocol protocol;
};

/* An exchange with room for `fields` header fields; NULL: no memory. */
rotor_http__exchange *rotor_http__exchange_new(uint32_t fields);

/* Move the connection's exchange out of the server's memory, if it is there. 0 or UV_ENOMEM: then the
** headers added so far may be gone. */
int rotor_http__exchange_keep(rotor_http *h);

/* Whether the rest of the request's body is in the input. */
bool rotor_http__is_all_there(const rotor_http *h);

/* The request has begun, and is over: log and count it, if there is anybody to be told. */
void rotor_http__begin_record(rotor_http *h);
void rotor_http__record(rotor_http *h);

/* More of a file, as rotor_protocol.pull says. */
ssize_t rotor_http__pull(rotor_stream *s, rotor_scope *scope);

/* The transitions of a connection, of the server's own protocol. */
extern const rotor_protocol rotor_http__connection;

/* The server behind a listener: 0, ROTOR_ECLOSED, or UV_EINVAL when it is no server's. */
int rotor_http__server_of(rotor_loop *loop, rotor_handle listener, rotor_http_server **server);

/* The server whose protocol the connection runs. */
static inline rotor_http_server *rotor_http__server(const rotor_http *h)
{
    return ROTOR__CONTAINER(h->stream.protocol, rotor_http_server, protocol);
}

/* Whether it runs the protocol of any server. */
bool rotor_http__is_connection(const rotor_stream *s);

/* The Date header's value for now. */
void rotor_http__set_date(rotor_http_server *server, rotor_loop *loop);

static inline const char *rotor_http__date(rotor_http_server *server, rotor_loop *loop)
{
    if (loop->now >= server->date_until)
        rotor_http__set_date(server, loop);
    return server->date;
}

#endif
