/* Values that travel between Lua states: packed in the one, unpacked in the other.
**
** nil, booleans, numbers, strings and NULL as a light userdata travel by copy, tables of them, with cycles and
** whatever they share; the objects of rotor's that may be used from any thread go by reference; bufs move, and
** their sender's are empty from then on. Nothing else travels: no function, coroutine or foreign userdata, and no
** table that has a metatable, as what makes it more than a table would be lost on the way. */
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
    struct rotor__slab *slab; /* which it is in; NULL: it is memory of its own */
    size_t len;
    char bytes[];
} rotor__parcel;

/* The one that is queued there, or NULL. */
static inline rotor__parcel *rotor__parcel_of(rotor__item *item)
{
    return item ? ROTOR__CONTAINER(item, rotor__parcel, item) : NULL;
}

/* The way that a value goes: to one receiver, as by a channel; to or from a function on the thread pool, where no loop
** runs; or to several, where nothing moves, and what else would is copied. */
typedef enum rotor__way {
    ROTOR__TO_ONE,
    ROTOR__TO_POOL,
    ROTOR__FROM_POOL,
    ROTOR__TO_SEVERAL
} rotor__way;

/* [-0, +0, e] Pack the value at `index`. What cannot travel throws an error that names the path to it, which begins
** with `name`: "msg.handlers[2] is a function"; then nothing has moved. */
rotor__parcel *rotor__pack(lua_State *L, int index, const char *name, rotor__way way);

/* [-0, +1, m] Unpack it: once, unless it was packed for several, who may do so at the same time. What it throws for
** want of memory leaves it as it was. Finalizers run meanwhile, and must not find it. */
void rotor__unpack(lua_State *L, rotor__parcel *parcel);

/* [-0, +1, -] The same, but returns LUA_OK or not, with the value or the error on top; so that who has taken it out of
** where finalizers find it can put it back. There is to be room for two on the stack. */
int rotor__try_unpack(lua_State *L, rotor__parcel *parcel);

/* Any thread, with or without a Lua state. NULL is fine. */
void rotor__parcel_free(rotor__parcel *parcel);

/* The same, but what has moved is where it was again. Only by who has packed it and has done nothing in that Lua
** state since then, with the value still in reach of it. */
void rotor__parcel_return(rotor__parcel *parcel);

/* What is done last, of what moves, when nothing can fail any more: on packing, or to undo that, and on
** unpacking. */
typedef struct rotor__moving {
    /* What is on its way instead of `thing`. */
    void *(*depart)(void *object, void *thing);
    void (*restore)(void *object, void *thing);
    void (*arrive)(void *object, void *thing);
} rotor__moving;

/* How the objects of a kind travel. */
typedef struct rotor__passage {
    const rotor__kind *kind;
    /* Why this one does not go that way: "is …"; NULL: it does. NULL itself: all do. */
    const char *(*refusal)(const void *object, rotor__way way);
    /* [-0, +0, e] Another reference to what the object is about; of what moves, what it needs on the way. */
    void *(*take)(lua_State *L, void *object);
    /* Give it back. Any thread. Of what moves NULL is fine. */
    void (*release)(void *thing);
    /* [-0, +1, m] An object of this state that has a reference of its own; of what moves, one to move into. */
    void (*push)(lua_State *L, void *thing);
    const rotor__moving *moving; /* NULL: it does not move */
    const struct rotor__passage
        *copying; /* instead of it, to several; NULL: it can do that itself */
} rotor__passage;

/* The kinds that travel; each is in the file of its kind. */
extern const rotor__passage rotor__passage_notifier, rotor__passage_port, rotor__passage_future;
extern const rotor__passage rotor__passage_counter, rotor__passage_dict;
extern const rotor__passage rotor__passage_channel, rotor__passage_buf;

/* The Lua state closes: nothing more is put into the slab that it has begun. */
void rotor__slab_leave(rotor__vm *vm);

/* -- between parcel.c, travel.c and unpack.c ----------------------------------------------------- */

/* An empty parcel with room for `size` bytes, which may be in a slab unless it is to grow. NULL: no memory. */
rotor__parcel *rotor__parcel_new(rotor__vm *vm, size_t size, bool may_share);

/* What moves goes over to the parcel. */
void rotor__parcel_depart(rotor__parcel *parcel);

struct rotor__carried {
    const rotor__passage *passage;
    void *thing;
    void *origin; /* the object, while the parcel can be returned */
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
