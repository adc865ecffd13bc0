/* Packing values; unpack.c has the other side.
**
** A parcel is the value, and behind it the insides of each table, in the order in which the tables were
** met. Where a table is met first its size stands, else its number. So neither side recurses, however deep
** tables are nested. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "../core/alloc.h"
#include "travel.h"

static const rotor__passage *const passages[] = {
    &rotor__passage_channel, &rotor__passage_notifier, &rotor__passage_port,
    &rotor__passage_counter, &rotor__passage_dict,     &rotor__passage_buf,
    &rotor__passage_future,
};

/* -- packing ----------------------------------------------------------------------------------- */

enum { FIRST_SIZE = 256, KNOWN = 3, CURRENT = 4 };

/* Works at the bottom of a stack of its own: the value at 1, the packer at 2, at KNOWN nil or the table
** of what was met (tables by their numbers, and the other way round; objects by theirs, and -1 less), at
** CURRENT the table whose insides are being packed. */
typedef struct packer {
    rotor__parcel *parcel;
    size_t capacity;
    size_t *sizes; /* where the size of each table stands */
    size_t room;   /* in `sizes` */
    uint32_t at;   /* the number of the table that is being packed */
    rotor__way way;
    const char *name;
    char why[80];
} packer;

/* Room for `n` bytes more, to be written at once. */
static char *add(lua_State *L, packer *p, size_t n)
{
    size_t len = p->parcel->len;
    if (p->capacity - len < n) {
        size_t capacity = p->capacity * 2 > len + n ? p->capacity * 2 : len + n;
        rotor__parcel *grown = rotor_realloc(p->parcel, sizeof *grown + capacity);
        if (!grown)
            luaL_error(L, "not enough memory");
        p->parcel = grown;
        p->capacity = capacity;
    }
    p->parcel->len += n;
    return p->parcel->bytes + len;
}

static void add_tagged(lua_State *L, packer *p, char tag, const void *data, size_t n)
{
    char *to = add(L, p, n + 1);
    *to = tag;
    memcpy(to + 1, data, n);
}

static void add_string(lua_State *L, packer *p, int index)
{
    size_t len;
    const char *data = lua_tolstring(L, index, &len);
    if (len < 256) {
        char *to = add(L, p, len + 2);
        to[0] = ROTOR__TAG_SHORT;
        to[1] = (char)(unsigned char)len;
        memcpy(to + 2, data, len);
    } else {
        add_tagged(L, p, ROTOR__TAG_LONG, &len, sizeof len);
        memcpy(add(L, p, len), data, len);
    }
}

static bool is_name(const char *s, size_t len)
{
    if (len == 0 || len > 40 || isdigit((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    return true;
}

/* [-1, +1, m] How the key on top is written behind a table's name. */
static void push_step(lua_State *L)
{
    size_t len;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *s = lua_tolstring(L, -1, &len);
        if (is_name(s, len))
            lua_pushfstring(L, ".%s", s);
        else if (len <= 40 && strlen(s) == len && !strpbrk(s, "\"\\\n"))
            lua_pushfstring(L, "[\"%s\"]", s);
        else
            lua_pushliteral(L, "[a string]");
    } else if (lua_type(L, -1) == LUA_TNUMBER || lua_isboolean(L, -1)) {
        lua_pushfstring(L, "[%s]", luaL_tolstring(L, -1, NULL));
        lua_remove(L, -2);
    } else {
        lua_pushfstring(L, "[a %s]", luaL_typename(L, -1));
    }
    lua_remove(L, -2);
}

/* [-0, +1, m] The step to table `number` from one that was met before it, whose number is returned. */
static uint32_t push_step_to(lua_State *L, uint32_t number)
{
    int top = lua_gettop(L);
    lua_rawgeti(L, KNOWN, number);
    for (uint32_t from = number - 1; from > 0; from--) {
        lua_rawgeti(L, KNOWN, from);
        lua_pushnil(L);
        while (lua_next(L, top + 2)) {
            bool as_key = lua_rawequal(L, -2, top + 1);
            if (as_key || lua_rawequal(L, -1, top + 1)) {
                lua_pop(L, 1);
                push_step(L);
                lua_replace(L, top + 1);
                lua_settop(L, top + 1);
                return from;
            }
            lua_pop(L, 1);
        }
        lua_settop(L, top + 1);
    }
    lua_pushliteral(L, "?"); /* not reached: each was met in another */
    lua_replace(L, top + 1);
    return 1;
}

enum { STEPS = 24 };

/* [-0, +1, m] The path to the table that is being packed. */
static void push_path(lua_State *L, packer *p)
{
    uint32_t number = p->at;
    lua_pushliteral(L, "");
    for (int i = 0; number > 1; i++) {
        if (i == STEPS) { /* the end of it must do */
            lua_pushfstring(L, "%s…%s", p->name, lua_tostring(L, -1));
            lua_remove(L, -2);
            return;
        }
        number = push_step_to(L, number);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    lua_pushfstring(L, "%s%s", p->name, lua_tostring(L, -1));
    lua_remove(L, -2);
}

/* What the value on top is, which cannot travel. */
static int refuse(lua_State *L, packer *p, bool is_key, const char *why)
{
    if (p->at == 0)
        return luaL_error(L, "%s %s", p->name, why);
    luaL_checkstack(L, 10, "not enough memory");
    if (is_key) {
        push_path(L, p);
        return luaL_error(L, "a key of %s %s", lua_tostring(L, -1), why);
    }
    lua_pushvalue(L, -2);
    push_step(L);
    push_path(L, p);
    return luaL_error(L, "%s%s %s", lua_tostring(L, -1), lua_tostring(L, -2), why);
}

/* [-0, +0, m] There is more than one table, or an object: note what was met, the first table included. */
static void know(lua_State *L, packer *p)
{
    if (!lua_isnil(L, KNOWN))
        return;
    lua_newtable(L);
    lua_replace(L, KNOWN);
    if (p->parcel->tables == 0)
        return;
    lua_pushvalue(L, 1);
    lua_rawseti(L, KNOWN, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 1);
    lua_rawset(L, KNOWN);
}

/* [-0, +0, m] The number of the value on top, or 0. */
static lua_Integer number_of(lua_State *L)
{
    lua_Integer number = 0;
    if (!lua_isnil(L, KNOWN)) {
        lua_pushvalue(L, -1);
        lua_rawget(L, KNOWN);
        number = lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    return number;
}

static void note(lua_State *L, lua_Integer number)
{
    lua_pushvalue(L, -1);
    lua_pushinteger(L, number);
    lua_rawset(L, KNOWN);
}

static void add_table(lua_State *L, packer *p, bool is_key)
{
    static const uint32_t none[2] = {0, 0};
    if (p->parcel->tables > 0) {
        know(L, p);
        uint32_t number = (uint32_t)number_of(L);
        if (number > 0) {
            add_tagged(L, p, ROTOR__TAG_AGAIN, &number, sizeof number);
            return;
        }
    }
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        refuse(L, p, is_key, "has a metatable, which cannot travel");
    }
    if (p->parcel->tables == p->room) {
        size_t room = p->room ? p->room * 2 : 8;
        size_t *sizes = rotor_realloc(p->sizes, room * sizeof *sizes);
        if (!sizes)
            luaL_error(L, "not enough memory");
        p->sizes = sizes;
        p->room = room;
    }
    uint32_t number = p->parcel->tables + 1;
    if (!lua_isnil(L, KNOWN)) {
        note(L, number);
        lua_pushvalue(L, -1);
        lua_rawseti(L, KNOWN, number);
    }
    p->sizes[p->parcel->tables] = p->parcel->len + 1;
    add_tagged(L, p, ROTOR__TAG_TABLE, none, sizeof none);
    p->parcel->tables = number;
}

/* What the userdata on top is is told by its metatable, which keeps the text. */
static void refuse_object(lua_State *L, packer *p, bool is_key)
{
    const char *kind = "userdata";
    if (luaL_getmetafield(L, -1, "__name") != LUA_TNIL) {
        if (lua_type(L, -1) == LUA_TSTRING)
            kind = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    (void)snprintf(p->why, sizeof p->why, "is a %s, which cannot travel", kind);
    refuse(L, p, is_key, p->why);
}

static void add_object(lua_State *L, packer *p, bool is_key)
{
    const rotor__passage *passage = NULL;
    void *object = NULL;
    for (size_t i = 0; i < sizeof passages / sizeof *passages && !object; i++) {
        passage = passages[i];
        object = rotor__lua_test(L, -1, passage->kind);
    }
    if (!object)
        refuse_object(L, p, is_key);
    know(L, p); /* the last time that finalizers may run while anything is packed */
    const char *why = passage->refusal ? passage->refusal(object, p->way) : NULL;
    if (why)
        refuse(L, p, is_key, why);
    if (p->way == ROTOR__TO_SEVERAL && passage->copying)
        passage = passage->copying;
    lua_Integer number = number_of(L);
    if (number == 0) {
        uint32_t n = p->parcel->objects;
        struct rotor__carried *carried = p->parcel->carried;
        if ((n & (n - 1)) == 0) {
            carried = rotor_realloc(carried, (n ? n * 2 : 1) * sizeof *carried);
            if (!carried)
                luaL_error(L, "not enough memory");
            p->parcel->carried = carried;
        }
        carried[n] = (struct rotor__carried){passage, passage->take(L, object), object};
        p->parcel->objects = n + 1;
        number = -1 - (lua_Integer)n;
        note(L, number);
    }
    uint32_t which = (uint32_t)(-1 - number);
    add_tagged(L, p, ROTOR__TAG_OBJECT, &which, sizeof which);
}

static const char *const refusals[] = {
    [LUA_TLIGHTUSERDATA] = "is a light userdata, which is nothing to another Lua state",
    [LUA_TFUNCTION] = "is a function",
    [LUA_TTHREAD] = "is a coroutine",
};

/* The value on top; its key is below it, unless it is one. */
static void add_value(lua_State *L, packer *p, bool is_key)
{
    int type = lua_type(L, -1);
    switch (type) {
    case LUA_TNIL:
        *add(L, p, 1) = ROTOR__TAG_NIL;
        break;
    case LUA_TBOOLEAN:
        *add(L, p, 1) = lua_toboolean(L, -1) ? ROTOR__TAG_TRUE : ROTOR__TAG_FALSE;
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            lua_Integer integer = lua_tointeger(L, -1);
            add_tagged(L, p, ROTOR__TAG_INTEGER, &integer, sizeof integer);
        } else {
            lua_Number number = lua_tonumber(L, -1);
            add_tagged(L, p, ROTOR__TAG_FLOAT, &number, sizeof number);
        }
        break;
    case LUA_TSTRING:
        add_string(L, p, -1);
        break;
    case LUA_TTABLE:
        add_table(L, p, is_key);
        break;
    case LUA_TUSERDATA:
        add_object(L, p, is_key);
        break;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, -1)) {
            *add(L, p, 1) = ROTOR__TAG_NUL;
            break;
        } /* fall through */
    default:
        refuse(L, p, is_key, refusals[type]);
    }
}

static void add_insides(lua_State *L, packer *p)
{
    uint32_t size[2] = {0, 0};
    bool in_order = true;
    lua_pushnil(L);
    while (lua_next(L, CURRENT)) {
        in_order = in_order && lua_isinteger(L, -2) &&
                   lua_tointeger(L, -2) == (lua_Integer)size[0] + 1 && size[0] < INT32_MAX;
        if (!in_order) {
            lua_pushvalue(L, -2);
            add_value(L, p, true);
            lua_pop(L, 1);
        }
        add_value(L, p, false);
        size[in_order ? 0 : 1]++;
        lua_pop(L, 1);
    }
    memcpy(p->parcel->bytes + p->sizes[p->at - 1], size, sizeof size);
}

/* [value, packer] */
static int pack(lua_State *L)
{
    packer *p = lua_touserdata(L, 2);
    lua_pushnil(L); /* KNOWN */
    lua_pushvalue(L, 1);
    add_value(L, p, false);
    while (p->at < p->parcel->tables) {
        p->at++;
        if (p->at > 1) {
            lua_rawgeti(L, KNOWN, p->at);
            lua_replace(L, CURRENT);
        }
        add_insides(L, p);
    }
    return 0;
}

/* A value that nothing can happen to on the way, and which needs no more than `size` bytes. */
static bool is_plain(lua_State *L, int index, size_t *size)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
        *size = 1 + sizeof(lua_Number) + sizeof(lua_Integer);
        return true;
    case LUA_TSTRING:
        *size = 1 + sizeof(size_t) + lua_rawlen(L, index);
        return true;
    default:
        return false;
    }
}

rotor__parcel *rotor__pack(lua_State *L, int index, const char *name, rotor__way way)
{
    size_t size = FIRST_SIZE;
    bool plain = is_plain(L, index, &size);
    packer p = {.capacity = size, .name = name, .way = way};
    luaL_checkstack(L, 4, "not enough memory");
    lua_pushvalue(L, index);
    p.parcel = rotor__parcel_new(rotor__lua_vm(L), size, plain);
    if (!p.parcel)
        luaL_error(L, "not enough memory");
    if (plain) {
        add_value(L, &p, false);
        lua_pop(L, 1);
        return p.parcel;
    }
    lua_pushcfunction(L, pack);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &p);
    int status = lua_pcall(L, 2, 0, 0);
    rotor_free(p.sizes);
    if (status != LUA_OK) {
        rotor__parcel_free(p.parcel);
        lua_error(L);
    }
    rotor__parcel_depart(p.parcel);
    return p.parcel;
}
