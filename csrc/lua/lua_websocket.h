/* A WebSocket whose handler is written in Lua, and the object Lua sees of it. */
#ifndef ROTOR_LUA_WEBSOCKET_H
#define ROTOR_LUA_WEBSOCKET_H

#include "lua_private.h"

extern const rotor__kind rotor__kind_websocket;

typedef struct rotor__websocket_object rotor__websocket_object;

typedef struct rotor__lua_websocket {
    rotor_websocket ws;
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    rotor__websocket_object *object; /* NULL until there is one */
    int object_ref;
    int error_ref;       /* to what ws:error() was given */
    bool asked;          /* one of its transitions is running */
    unsigned intents;    /* how often it has asked for one */
    rotor_intent intent; /* what it has asked for last */
} rotor__lua_websocket;

/* Its uservalue is `self`. */
struct rotor__websocket_object {
    rotor__object object;
    rotor__lua_websocket *w; /* NULL once it has ended */
};

void rotor__lua_open_websocket_object(lua_State *L);

#endif
