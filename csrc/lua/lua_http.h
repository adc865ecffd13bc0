/* What the files about the HTTP server share: the request and the response as Lua sees them. */
#ifndef ROTOR_LUA_HTTP_H
#define ROTOR_LUA_HTTP_H

#include "lua_task.h"

/* A request, its headers or trailers, or its response. */
typedef struct rotor__exchange_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_http_ref ref;
    int status;             /* response: what status() has set */
    const rotor_http *over; /* request: in request_over, the connection on which it was */
} rotor__exchange_object;

extern const rotor__kind rotor__kind_request, rotor__kind_response;

/* What a transition has asked for. */
typedef enum rotor__lua_asked {
    ROTOR__ASKED_NOTHING,
    ROTOR__ASKED_RESPONSE,
    ROTOR__ASKED_RECEIVE,
    ROTOR__ASKED_EITHER /* hold, done, error: for headers_received as for any */
} rotor__lua_asked;

/* What Lua has of a request beyond the two objects; made when it is first needed, and then what
** rotor_http_data() points to. */
typedef struct rotor__lua_exchange {
    int self, request, response; /* references, of a handler that is a table */
    int body;                    /* reference to the function that gives more of the body */
    int hangup;                  /* reference to the function of on_hangup() */
    int error;                   /* reference to what req:error() was given */
    bool asking;                 /* a transition is running */
    unsigned answers;
    rotor__lua_asked asked;
    rotor_response response_asked;
    rotor_http_receive receive_asked;
    rotor__waits writers; /* tasks that wait until the client has taken enough */
    /* Of a function that has become a task: */
    rotor_http *h;     /* NULL: the request is over */
    rotor__task *task; /* NULL: there is none, or it has ended */
    bool ended;        /* the latter, with `status` */
    int status;
} rotor__lua_exchange;

/* [-0, +0, v] The open request of the request or response at `index`; NULL when it is over. */
rotor_http *rotor__lua_check_request(lua_State *L, int index);
rotor_http *rotor__lua_check_response(lua_State *L, int index);

/* What Lua has of the request; NULL: no memory. */
rotor__lua_exchange *rotor__lua_exchange_of(rotor_http *h);

/* The request is over: give that back. If a task handles the request, it is told, and has to free it. */
void rotor__lua_free_exchange(rotor__lua_loop *ll, rotor_http *h);

/* [-0, +1, m] */
rotor__exchange_object *rotor__lua_new_exchange_object(lua_State *L, const rotor__kind *kind,
                                                       rotor__lua_loop *ll, const rotor_http *h);

/* A server: requests are handled by one function, or by a class of transitions. */
typedef struct rotor__lua_server {
    rotor__lua_loop *ll;
    int function;            /* reference; LUA_NOREF: it is a class */
    rotor__lua_class *class; /* retained */
    int log;                 /* reference to a function */
    /* Of a function: the pair and the thread for the next request, see http_function.c. */
    rotor__exchange_object *request, *response; /* response NULL: neither is there */
    rotor__candidate candidate;
    int thread_ref;
    rotor_http *handled; /* by the function that runs */
    uint32_t place;      /* where the server was made */
} rotor__lua_server;

/* Of a function, which is in `function`. */
extern const rotor_http_handler rotor__lua_function;
void rotor__lua_free_function(rotor__lua_server *server);

/* The request is over; its task may go on. */
void rotor__lua_leave_exchange(rotor_http *h);

/* More of a body that a function gives, or that tasks wait to write, as any transition answers; false: there
** is none. */
bool rotor__lua_pump(rotor_http *h, rotor_response *r);

/* [-0, +0, -] An open request was not answered in time: tell its author, answer 503. */
rotor_response rotor__lua_unanswered(rotor_http *h);

/* [-0, +0, -] Answer 503, if it is not too late for that. */
rotor_response rotor__lua_unavailable(rotor_http *h);

/* [-0, +n, e] What a function that has written returns (h NULL: the request is over); a task waits first until
** the client has taken enough. */
int rotor__lua_wrote(lua_State *L, rotor_http *h);

/* The methods by which a request's transitions answer (http_answer.c); to be added to those of requests. */
extern const luaL_Reg rotor__lua_answers[];

#endif
