/* A stream that runs a protocol written in Lua, and the object Lua sees of it. */
#ifndef ROTOR_LUA_STREAM_H
#define ROTOR_LUA_STREAM_H

#include "lua_private.h"

typedef struct rotor__stream_object rotor__stream_object;

typedef struct rotor__lua_stream {
    rotor_stream stream;
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    rotor__stream_object *object; /* NULL until there is one */
    int object_ref;
    int error_ref;       /* to what stream:error() was given */
    bool asked;          /* one of its transitions is running */
    unsigned intents;    /* how often it has asked for one */
    bool second;         /* the delimiter waited for is in the second of its uservalues */
    rotor_intent intent; /* what it has asked for last */
} rotor__lua_stream;

/* Its uservalues: `self`, and two delimiters, as one may be waited for while another is asked for. */
enum { ROTOR__STREAM_SELF = 1, ROTOR__STREAM_DELIMITER, ROTOR__STREAM_USERVALUES = 3 };

struct rotor__stream_object {
    rotor__object object;
    rotor__lua_stream *s; /* NULL once the stream has ended */
};

#define ROTOR__LUA_CLASS_OF(p)                                                                     \
    ((rotor__lua_class *)((char *)(p)-offsetof(rotor__lua_class, protocol)))

#endif
