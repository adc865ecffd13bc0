/* What the files about futures share. A value on its way is a box with a reference to it, or packed if it
** is from another Lua state; so is an error, which in Lua may be any value, and may have a name. */
#ifndef ROTOR_LUA_FUTURE_H
#define ROTOR_LUA_FUTURE_H

#include "lua_task.h"
#include "travel.h"

extern const rotor__kind rotor__kind_future;

/* What became of a future whose object has none any more. */
extern const char rotor__lua_future_gone[];

typedef struct rotor__lua_box {
    rotor__vm *vm;
    int ref;
    bool named;            /* it is a table of an error and its name */
    bool opening;          /* the parcel is being unpacked, */
    bool freed;            /* and then it is to be freed */
    rotor__parcel *parcel; /* NULL, or the value, until it is first looked at */
} rotor__lua_box;

/* [-1, +0, m] Put the value on top into a box. */
rotor__lua_box *rotor__lua_new_box(lua_State *L, rotor__vm *vm);
void rotor__lua_free_box(void *box);

/* A box that belongs to no Lua state yet, which has the parcel from here on. NULL: there is no memory. */
rotor__lua_box *rotor__lua_box_parcel(rotor__parcel *parcel, bool named);

/* [-0, +1 to 3, m] What a resolved future is to Lua: the value; or nil, the error and its name. */
int rotor__lua_push_outcome(lua_State *L, int status, rotor__lua_box *box);

typedef struct rotor__lua_future_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_future *future; /* NULL once it was canceled, was sent or went into a combinator */
    rotor__waits waits;   /* of tasks */
    bool followed;        /* for those */
    /* Of what was asked for, as a response: the last task that waits for it, if it is unwound, cancels it. */
    bool asked;
} rotor__lua_future_object;

/* [-0, +1, m] One without a future yet. */
rotor__lua_future_object *rotor__lua_push_future(lua_State *L, rotor__lua_loop *ll);

/* Whether its value is being unpacked, so that this is inside of a finalizer, which must leave it alone. */
bool rotor__lua_is_opening(const rotor__lua_future_object *object);

/* The future itself, which is the caller's now. Tasks that wait for it hear that it was canceled. */
rotor_future *rotor__lua_take_future(rotor__lua_future_object *object);

/* How tasks wait for one (task_wait.c). */
int rotor__lua_poll_future(lua_State *L, int index);
rotor__waits *rotor__lua_future_queue(lua_State *L, int index);
int rotor__lua_future_await(lua_State *L);

int rotor__lua_future_map(lua_State *L);
int rotor__lua_future_and_then(lua_State *L);
int rotor__lua_future_timeout(lua_State *L);

#endif
