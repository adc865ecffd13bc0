/* A datagram socket whose transitions are written in Lua, and the object Lua sees of it. */
#ifndef ROTOR_LUA_DATAGRAM_H
#define ROTOR_LUA_DATAGRAM_H

#include "lua_private.h"

typedef struct rotor__socket_object rotor__socket_object;

/* An address as the program has it and as the system does. */
typedef struct rotor__known_address {
    const char *text; /* of the string in a uservalue; NULL: none yet */
    rotor_address address;
} rotor__known_address;

typedef struct rotor__lua_socket {
    rotor_datagram datagram;
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    rotor__socket_object *object; /* NULL until there is one */
    int object_ref;
    int error_ref;           /* to what socket:error() was given */
    bool asked;              /* one of its transitions is running */
    unsigned responses;      /* how often it has asked for one */
    rotor_response response; /* what the transition has asked for */
    /* The last sender, and the last receiver: mostly they are the same again, or one the other. */
    rotor__known_address from, to;
} rotor__lua_socket;

/* Its uservalues: `self`, and the texts of the two addresses. */
enum { ROTOR__SOCKET_SELF = 1, ROTOR__SOCKET_FROM, ROTOR__SOCKET_TO, ROTOR__SOCKET_USERVALUES = 3 };

struct rotor__socket_object {
    rotor__object object;
    rotor__lua_socket *s; /* NULL once the socket has ended */
};

extern const rotor__kind rotor__kind_socket;

/* [-0, +2, v] The options that opening takes, from the table at `index` (or none). */
void rotor__lua_udp_options(lua_State *L, int index, rotor_udp_options *o);

/* [-0, +0, -] Keep the string on top, which stands for `address`, with the socket object at `index`. */
static inline void rotor__lua_keep_address(lua_State *L, int index, int uservalue,
                                           rotor__known_address *known,
                                           const rotor_address *address)
{
    known->text = lua_tostring(L, -1);
    known->address = *address;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, uservalue);
}

#endif
