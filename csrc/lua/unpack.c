/* Unpacking values: what travel.c has packed. */
#include <string.h>

#include "travel.h"

/* At `seen` the table of what was made, by the numbers of packing; there is none for one table. */
typedef struct unpacker {
    const rotor__parcel *parcel;
    const char *next;
    int seen;
    uint32_t tables;
    int first; /* where the first table is, and its size, if there is no other */
    uint32_t size[2];
} unpacker;

static void get(unpacker *u, void *to, size_t n)
{
    memcpy(to, u->next, n);
    u->next += n;
}

static void push_object(lua_State *L, unpacker *u, uint32_t which)
{
    const struct rotor__carried *carried = &u->parcel->carried[which];
    if (lua_rawgeti(L, u->seen, -1 - (lua_Integer)which) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    carried->passage->push(L, carried->thing);
    lua_pushvalue(L, -1);
    lua_rawseti(L, u->seen, -1 - (lua_Integer)which);
}

static void push_table(lua_State *L, unpacker *u)
{
    get(u, u->size, sizeof u->size);
    lua_createtable(L, (int)u->size[0], u->size[1] < INT32_MAX ? (int)u->size[1] : INT32_MAX);
    if (++u->tables == 1 && !u->seen)
        return;
    lua_pushvalue(L, -1);
    lua_rawseti(L, u->seen, u->tables);
    /* What was asked for is kept beside it, until it is filled. */
    lua_pushinteger(L, (lua_Integer)((uint64_t)u->size[0] << 32 | u->size[1]));
    lua_rawseti(L, u->seen + 1, u->tables);
}

static void push_value(lua_State *L, unpacker *u)
{
    lua_Integer integer;
    lua_Number number;
    uint32_t which;
    size_t len;
    switch (*u->next++) {
    case ROTOR__TAG_NIL:
        lua_pushnil(L);
        break;
    case ROTOR__TAG_FALSE:
        lua_pushboolean(L, 0);
        break;
    case ROTOR__TAG_TRUE:
        lua_pushboolean(L, 1);
        break;
    case ROTOR__TAG_NUL:
        lua_pushlightuserdata(L, NULL);
        break;
    case ROTOR__TAG_INTEGER:
        get(u, &integer, sizeof integer);
        lua_pushinteger(L, integer);
        break;
    case ROTOR__TAG_FLOAT:
        get(u, &number, sizeof number);
        lua_pushnumber(L, number);
        break;
    case ROTOR__TAG_SHORT:
        len = (unsigned char)*u->next++;
        lua_pushlstring(L, u->next, len);
        u->next += len;
        break;
    case ROTOR__TAG_LONG:
        get(u, &len, sizeof len);
        lua_pushlstring(L, u->next, len);
        u->next += len;
        break;
    case ROTOR__TAG_TABLE:
        push_table(L, u);
        break;
    case ROTOR__TAG_AGAIN:
        get(u, &which, sizeof which);
        if (u->seen)
            lua_rawgeti(L, u->seen, which);
        else
            lua_pushvalue(L, u->first);
        break;
    case ROTOR__TAG_OBJECT:
        get(u, &which, sizeof which);
        push_object(L, u, which);
        break;
    }
}

/* [-0, +0, m] Fill the table at `index`. */
static void fill(lua_State *L, unpacker *u, int index, uint32_t in_order, uint32_t pairs)
{
    for (uint32_t i = 1; i <= in_order; i++) {
        push_value(L, u);
        lua_rawseti(L, index, i);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        push_value(L, u);
        push_value(L, u);
        lua_rawset(L, index);
    }
}

/* [-0, +0, -] Nothing can fail any more. */
static void arrive(lua_State *L, const unpacker *u)
{
    for (uint32_t i = 0; i < u->parcel->objects; i++) {
        struct rotor__carried *c = &u->parcel->carried[i];
        if (!c->passage->moving)
            continue;
        lua_rawgeti(L, u->seen, -1 - (lua_Integer)i);
        c->passage->moving->arrive(lua_touserdata(L, -1), c->thing);
        c->thing = NULL;
        lua_pop(L, 1);
    }
}

void rotor__unpack(lua_State *L, rotor__parcel *parcel)
{
    unpacker u = {.parcel = parcel, .next = parcel->bytes};
    luaL_checkstack(L, 8, "not enough memory");
    int top = lua_gettop(L);
    bool single = parcel->tables <= 1 && parcel->objects == 0;
    if (!single) {
        lua_newtable(L);
        lua_newtable(L);
        u.seen = top + 1;
    }
    push_value(L, &u);
    int result = u.first = lua_gettop(L);
    if (single && parcel->tables == 1)
        fill(L, &u, result, u.size[0], u.size[1]);
    for (uint32_t i = 1; !single && i <= parcel->tables; i++) {
        lua_rawgeti(L, u.seen, i);
        lua_rawgeti(L, u.seen + 1, i);
        uint64_t size = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        fill(L, &u, result + 1, (uint32_t)(size >> 32), (uint32_t)size);
        lua_pop(L, 1);
    }
    if (!single) {
        arrive(L, &u);
        lua_replace(L, top + 1);
        lua_settop(L, top + 1);
    }
}

/* [parcel] */
static int unpack(lua_State *L)
{
    rotor__unpack(L, lua_touserdata(L, 1));
    return 1;
}

int rotor__try_unpack(lua_State *L, rotor__parcel *parcel)
{
    unpacker u = {.parcel = parcel, .next = parcel->bytes};
    if (*u.next <= ROTOR__TAG_FLOAT) { /* which needs no memory */
        push_value(L, &u);
        return LUA_OK;
    }
    lua_pushcfunction(L, unpack);
    lua_pushlightuserdata(L, parcel);
    return lua_pcall(L, 1, 1, 0);
}
