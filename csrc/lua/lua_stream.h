/* A stream that runs a protocol written in Lua, and the object Lua sees of it. */
#ifndef ROTOR_LUA_STREAM_H
#define ROTOR_LUA_STREAM_H

#include "lua_private.h"

typedef struct rotor__lua_stream {
    rotor_stream stream;
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    int class_ref;
    int object_ref; /* to the stream's object */
    int error_ref;  /* to what stream:error() was given */
    bool has_intent;
    rotor_intent intent; /* what the transition has asked for */
} rotor__lua_stream;

typedef struct rotor__stream_object {
    rotor__object object;
    rotor__lua_stream *s; /* NULL once the stream has ended */
} rotor__stream_object;

#define ROTOR__LUA_CLASS_OF(p)                                                                     \
    ((rotor__lua_class *)((char *)(p)-offsetof(rotor__lua_class, protocol)))

#endif
