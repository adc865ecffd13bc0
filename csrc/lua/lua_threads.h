/* What the files about threads share: what is one for all of them, and functions on their way to another
** Lua state. */
#ifndef ROTOR_LUA_THREADS_H
#define ROTOR_LUA_THREADS_H

#include "travel.h"

/* Each adds its functions to the table of rotor.threads on top of the stack. */
void rotor__lua_open_shared(lua_State *L);
void rotor__lua_open_thread_channel(lua_State *L);

#endif
