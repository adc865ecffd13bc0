/* Values that travel between Lua states, by copy: packed in the one, unpacked in the other.
**
** nil, booleans, numbers, strings and NULL as a light userdata travel, tables of them, with cycles and
** whatever they share, and the objects of rotor's that may be used from any thread, which go by
** reference. Nothing else does: no function, coroutine or foreign userdata, and no table that has a
** metatable, as what makes it more than a table would be lost on the way. */
#ifndef ROTOR_LUA_TRAVEL_H
#define ROTOR_LUA_TRAVEL_H

#include "lua_private.h"
#include "thread_queue.h"

/* A packed value. It belongs to no Lua state. */
typedef struct rotor__parcel {
    rotor__item item; /* first: it may be queued */
    struct rotor__carried *carried;
    uint32_t objects; /* in `carried` */
    uint32_t tables;
    size_t len;
    char bytes[];
} rotor__parcel;

/* [-0, +0, e] Pack the value at `index`. What cannot travel throws an error that names the path to it,
** which begins with `name`: "msg.handlers[2] is a function". */
rotor__parcel *rotor__pack(lua_State *L, int index, const char *name);

/* [-0, +1, m] Unpack it, as often as one likes. Makes the room that it needs on the stack. */
void rotor__unpack(lua_State *L, const rotor__parcel *parcel);

/* Any thread, with or without a Lua state. NULL is fine. */
void rotor__parcel_free(rotor__parcel *parcel);

/* How the objects of a kind travel. What they are about is counted by references. */
typedef struct rotor__passage {
    const rotor__kind *kind;
    /* [-0, +0, e] Another reference to what the object is about. */
    void *(*take)(lua_State *L, void *object);
    /* Give it back. Any thread. */
    void (*release)(void *thing);
    /* [-0, +1, m] An object of this state that has a reference of its own. */
    void (*push)(lua_State *L, void *thing);
} rotor__passage;

/* The kinds that travel; each is in the file of its kind. */
extern const rotor__passage rotor__passage_notifier, rotor__passage_port;
extern const rotor__passage rotor__passage_counter, rotor__passage_dict;
extern const rotor__passage rotor__passage_channel;

/* -- between travel.c and unpack.c --------------------------------------------------------------- */

struct rotor__carried {
    const rotor__passage *passage;
    void *thing;
};

enum rotor__tag {
    ROTOR__TAG_NIL,
    ROTOR__TAG_FALSE,
    ROTOR__TAG_TRUE,
    ROTOR__TAG_NUL,
    ROTOR__TAG_INTEGER,
    ROTOR__TAG_FLOAT,
    ROTOR__TAG_SHORT,  /* a string: one byte of length */
    ROTOR__TAG_LONG,   /* a string: a size_t of length */
    ROTOR__TAG_TABLE,  /* the next one: how many values it has at 1, 2 …, and pairs besides */
    ROTOR__TAG_AGAIN,  /* the number of a table that was there before */
    ROTOR__TAG_OBJECT, /* the number of what is in `carried` */
};

#endif
