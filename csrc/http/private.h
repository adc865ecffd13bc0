/* What the server's files share: the connection, the exchange on it, the server behind it. */
#ifndef ROTOR_HTTP_PRIVATE_H
#define ROTOR_HTTP_PRIVATE_H

#include "../core/private.h"
#include "chunked.h"
#include "server.h"

/* One request and its response. */
typedef struct rotor_http__exchange {
    rotor_http_head head;
    size_t head_len, body_len; /* the input's front: the head, then what there is of the body */
    uint64_t body_since;
    rotor_http_chunked chunked;
    rotor_http_response response;
    void *data;
    rotor_http_field fields[];
} rotor_http__exchange;

/* rotor_http.state: what the connection is doing. */
enum {
    HTTP__HEAD,    /* waiting for a request: `progress` is valid */
    HTTP__BODY,    /* reading a body: `exchange` is valid from here on … */
    HTTP__CALLING, /* in a transition of the handler, so request_over is owed */
    HTTP__WAITING, /* … to here: the handler waits, and request_over is owed */
    HTTP__CLOSING
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

static inline bool rotor_http__is_handled(const rotor_http *h)
{
    return h->state == HTTP__CALLING || h->state == HTTP__WAITING;
}

struct rotor_http_server {
    unsigned refs; /* the maker's or the listener's, and one for each connection */
    const rotor_http_handler *handler;
    rotor_http_limits limits;
    uint32_t head_ms, body_ms, body_rate, handler_ms, idle_ms;
    void *context;
    void (*closed)(void *context);
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
