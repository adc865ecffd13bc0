/* What the files about the HTTP client share: a call as Lua sees it. */
#ifndef ROTOR_LUA_HTTP_CLIENT_H
#define ROTOR_LUA_HTTP_CLIENT_H

#include "lua_http.h"

/* A client, closed or not. */
typedef struct rotor__client_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_http_client *client; /* NULL: it was closed */
} rotor__client_object;

/* A request in the making, which is given up when something is thrown. */
typedef struct rotor__ask_object {
    rotor__object object;
    rotor_http_ask ask;
} rotor__ask_object;

/* A call; begins like rotor__exchange_object, as far as answers look at either. */
typedef struct rotor__call_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_handle handle;
    rotor_http_call
        *over; /* in failed and call_over: the call itself, which cannot be found any more */
} rotor__call_object;

extern const rotor__kind rotor__kind_call;

/* What Lua has of a call; its rotor_http_call_data(). */
typedef struct rotor__lua_call {
    rotor__lua_exchange e; /* `request` is the call's object; `body`, the function that gives it */
    rotor__lua_loop *ll;
    rotor__lua_class *class; /* a requester, retained; NULL: the rest is for a future */
    int seed;                /* reference */
    rotor_port *port;        /* NULL: the future was resolved */
    int on_body, response;   /* references: to a function; to a table */
    rotor_future *more;      /* that the next piece of the body is waited for by; or NULL */
    rotor_future *room;      /* … that there is room for more of the response */
    uint64_t max;
} rotor__lua_call;

/* [-0, +0, v] The call of the object at `index`; NULL: it is over. */
rotor_http_call *rotor__lua_check_call(lua_State *L, int index);

/* [-0, +0, -] Give back what the call has of Lua's. */
void rotor__lua_free_call(rotor__lua_call *lc);

/* [-0, +1, m] The fields as an object, copied: those of the header section, or of the trailers. */
typedef bool rotor__lua_field_at(const rotor_http_call *c, size_t i, rotor_text *name,
                                 rotor_text *value);
void rotor__lua_push_fields(lua_State *L, const rotor_http_call *c, rotor__lua_field_at *at);

/* [-0, +1, m] Nil, if there is no text. */
void rotor__lua_push_text(lua_State *L, rotor_text text);

#endif
