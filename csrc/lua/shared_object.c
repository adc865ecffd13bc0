/* threads.counter, threads.dict and threads.copy. */
#include <string.h>

#include "lua_threads.h"
#include "shared.h"

static const rotor__kind kind_counter = {.name = "rotor.threads.counter"};
static const rotor__kind kind_dict = {.name = "rotor.threads.dict"};

/* -- counters ---------------------------------------------------------------------------------- */

typedef struct counter_object {
    rotor__object object;
    rotor__counter *counter; /* NULL while it is made, and once it is collected */
} counter_object;

static rotor__counter *check_counter(lua_State *L)
{
    counter_object *object = rotor__lua_check(L, 1, &kind_counter);
    if (!object->counter)
        luaL_error(L, "the counter was closed with its Lua state");
    return object->counter;
}

/* [-0, +1, e] counter([n]) */
static int l_counter(lua_State *L)
{
    lua_Integer n = luaL_optinteger(L, 1, 0);
    counter_object *object = rotor__lua_new(L, &kind_counter, sizeof *object, 0);
    object->counter = rotor__counter_new(n);
    return object->counter ? 1 : luaL_error(L, "not enough memory");
}

/* [-0, +1, e] */
static int counter_get(lua_State *L)
{
    lua_pushinteger(L, rotor__counter_get(check_counter(L)));
    return 1;
}

/* [-0, +1, e] add([n]): the new value */
static int counter_add(lua_State *L)
{
    rotor__counter *c = check_counter(L);
    lua_pushinteger(L, rotor__counter_add(c, luaL_optinteger(L, 2, 1)));
    return 1;
}

/* [-0, +0, e] set(n) */
static int counter_set(lua_State *L)
{
    rotor__counter *c = check_counter(L);
    rotor__counter_set(c, luaL_checkinteger(L, 2));
    return 0;
}

/* [-0, +1, e] compare_and_set(expected, n): whether it was */
static int counter_compare_and_set(lua_State *L)
{
    rotor__counter *c = check_counter(L);
    lua_Integer expected = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    lua_pushboolean(L, rotor__counter_compare_and_set(c, expected, to));
    return 1;
}

static int counter_gc(lua_State *L)
{
    counter_object *object = rotor__lua_check(L, 1, &kind_counter);
    rotor__counter_unref(object->counter);
    object->counter = NULL;
    return 0;
}

static void *take_counter(lua_State *L, void *object)
{
    rotor__counter *c = ((counter_object *)object)->counter;
    if (!c)
        luaL_error(L, "the counter was closed with its Lua state");
    return rotor__counter_ref(c);
}

static void release_counter(void *counter)
{
    rotor__counter_unref(counter);
}

static void push_counter(lua_State *L, void *counter)
{
    counter_object *object = rotor__lua_new(L, &kind_counter, sizeof *object, 0);
    object->counter = rotor__counter_ref(counter);
}

const rotor__passage rotor__passage_counter = {
    .kind = &kind_counter, .take = take_counter, .release = release_counter, .push = push_counter};

/* -- dictionaries ------------------------------------------------------------------------------ */

enum { SMALL = 512 };

typedef struct dict_object {
    rotor__object object;
    rotor__dict *dict; /* NULL while it is made, and once it is collected */
} dict_object;

typedef struct dict_key {
    const char *data;
    size_t len;
} dict_key;

static rotor__dict *check_dict(lua_State *L)
{
    dict_object *object = rotor__lua_check(L, 1, &kind_dict);
    if (!object->dict)
        luaL_error(L, "the dictionary was closed with its Lua state");
    return object->dict;
}

/* [-0, +0, v] The key at 2, which is no number: 1 and "1" would be one. */
static dict_key check_key(lua_State *L)
{
    dict_key key;
    luaL_checktype(L, 2, LUA_TSTRING);
    key.data = lua_tolstring(L, 2, &key.len);
    return key;
}

/* [-0, +0, v] */
static rotor__dict_value check_number(lua_State *L, int index)
{
    if (lua_isinteger(L, index))
        return (rotor__dict_value){.type = ROTOR__DICT_INTEGER, .integer = lua_tointeger(L, index)};
    luaL_checktype(L, index, LUA_TNUMBER);
    return (rotor__dict_value){.type = ROTOR__DICT_FLOAT, .number = lua_tonumber(L, index)};
}

/* [-0, +0, v] */
static rotor__dict_value check_value(lua_State *L, int index)
{
    rotor__dict_value value = {.type = ROTOR__DICT_STRING};
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        return check_number(L, index);
    case LUA_TBOOLEAN:
        return (rotor__dict_value){.type = ROTOR__DICT_BOOLEAN, .boolean = lua_toboolean(L, index)};
    case LUA_TSTRING:
        value.string.data = lua_tolstring(L, index, &value.string.len);
        return value;
    default:
        luaL_typeerror(L, index, "string, number or boolean");
        return value;
    }
}

/* [-0, +0, v] The same, or nil, for none. */
static rotor__dict_value check_optional(lua_State *L, int index)
{
    luaL_checkany(L, index);
    return lua_isnil(L, index) ? (rotor__dict_value){.type = ROTOR__DICT_NONE}
                               : check_value(L, index);
}

/* [-0, +0, v] Seconds until it expires as ms, 0: never. */
static uint64_t check_expiry(lua_State *L, int index)
{
    uint64_t ms = rotor__lua_check_ms(L, index);
    luaL_argcheck(L, ms > 0, index, "seconds expected, more than 0");
    return ms == ROTOR_NEVER ? 0 : ms;
}

/* [-0, +1, m] Not of strings, but where their bytes are. */
static void push_value(lua_State *L, const rotor__dict_value *value)
{
    switch (value->type) {
    case ROTOR__DICT_BOOLEAN:
        lua_pushboolean(L, value->boolean);
        break;
    case ROTOR__DICT_INTEGER:
        lua_pushinteger(L, value->integer);
        break;
    case ROTOR__DICT_FLOAT:
        lua_pushnumber(L, value->number);
        break;
    case ROTOR__DICT_STRING:
        lua_pushlstring(L, value->string.data, value->string.len);
        break;
    default:
        lua_pushnil(L);
    }
}

/* [-0, +1 or 3, m] Whether it was done, or the failure. */
static int result(lua_State *L, int done)
{
    if (done == UV_E2BIG) {
        lua_pushnil(L);
        lua_pushliteral(L, "E2BIG: the value is larger than a part of the dictionary");
        lua_pushliteral(L, "E2BIG");
        return 3;
    }
    if (done < 0)
        return rotor__lua_fail(L, done);
    lua_pushboolean(L, done);
    return 1;
}

/* [-0, +1, e] dict { max_bytes = … } */
static int l_dict(lua_State *L)
{
    static const char *const known[] = {"max_bytes", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    rotor__lua_check_options(L, 1, known);
    lua_Integer max = rotor__lua_option(L, 1, "max_bytes", ROTOR__DICT_LEAST, (lua_Integer)1 << 46);
    luaL_argcheck(L, max > 0, 1, "option 'max_bytes' expected: what it may take");
    dict_object *object = rotor__lua_new(L, &kind_dict, sizeof *object, 0);
    object->dict = rotor__dict_new((size_t)max, NULL);
    return object->dict ? 1 : luaL_error(L, "not enough memory");
}

/* [-0, +1, e] get(key) */
static int dict_get(lua_State *L)
{
    char small[SMALL];
    rotor__dict *d = check_dict(L);
    dict_key key = check_key(L);
    rotor__dict_value value = rotor__dict_get(d, key.data, key.len, small, sizeof small);
    while (value.type == ROTOR__DICT_STRING && !value.string.data) { /* it may grow meanwhile */
        size_t size = value.string.len;
        lua_settop(L, 2);
        value = rotor__dict_get(d, key.data, key.len, lua_newuserdatauv(L, size, 0), size);
    }
    push_value(L, &value);
    return 1;
}

static int put(lua_State *L, rotor__dict_how how)
{
    rotor__dict *d = check_dict(L);
    dict_key key = check_key(L);
    rotor__dict_value value = check_value(L, 3);
    uint64_t ms = check_expiry(L, 4);
    return result(L, rotor__dict_put(d, how, key.data, key.len, &value, ms));
}

/* [-0, +1 or 3, e] set(key, value[, seconds]) */
static int dict_set(lua_State *L)
{
    return put(L, ROTOR__DICT_SET);
}

/* [-0, +1 or 3, e] add(key, value[, seconds]): whether there was no such key */
static int dict_add(lua_State *L)
{
    return put(L, ROTOR__DICT_ADD);
}

/* [-0, +1 or 3, e] incr(key[, n[, initial[, seconds]]]): the new value; nil, …, "ENOENT" */
static int dict_incr(lua_State *L)
{
    rotor__dict *d = check_dict(L);
    dict_key key = check_key(L);
    lua_settop(L, 5);
    rotor__dict_value n = {.type = ROTOR__DICT_INTEGER, .integer = 1}, initial, value;
    if (!lua_isnil(L, 3))
        n = check_number(L, 3);
    bool has_initial = !lua_isnil(L, 4);
    if (has_initial)
        initial = check_number(L, 4);
    uint64_t ms = check_expiry(L, 5);
    int done =
        rotor__dict_incr(d, key.data, key.len, &n, has_initial ? &initial : NULL, ms, &value);
    if (done == UV_EINVAL) {
        lua_pushnil(L);
        lua_pushliteral(L, "EINVAL: what is stored there is not a number");
        lua_pushliteral(L, "EINVAL");
        return 3;
    }
    if (done == 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "ENOENT: there is no such key");
        lua_pushliteral(L, "ENOENT");
        return 3;
    }
    if (done < 0)
        return rotor__lua_fail(L, done);
    push_value(L, &value);
    return 1;
}

/* [-0, +1 or 3, e] compare_and_set(key, expected, value[, seconds]): whether it was */
static int dict_compare_and_set(lua_State *L)
{
    rotor__dict *d = check_dict(L);
    dict_key key = check_key(L);
    rotor__dict_value expected = check_optional(L, 3), to = check_optional(L, 4);
    uint64_t ms = check_expiry(L, 5);
    return result(L, rotor__dict_compare_and_set(d, key.data, key.len, &expected, &to, ms));
}

/* [-0, +1, e] delete(key): whether it was there */
static int dict_delete(lua_State *L)
{
    rotor__dict *d = check_dict(L);
    dict_key key = check_key(L);
    lua_pushboolean(L, rotor__dict_delete(d, key.data, key.len));
    return 1;
}

/* [-0, +1, e] */
static int dict_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor__dict_count(check_dict(L)));
    return 1;
}

/* [-0, +1, e] flush(): drop what has expired; how many */
static int dict_flush(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor__dict_flush(check_dict(L)));
    return 1;
}

/* [-0, +1, e] keys(): a list */
static int dict_keys(lua_State *L)
{
    rotor__dict *d = check_dict(L);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_Integer n = 0;
    size_t size = SMALL, used;
    for (unsigned part = 0;;) {
        lua_settop(L, 2);
        char *room = lua_newuserdatauv(L, size, 0);
        if (!rotor__dict_keys(d, part, room, size, &used))
            break;
        if (used > size) {
            size = used + used / 8;
            continue;
        }
        for (const char *end = room + used; room < end;) {
            size_t len;
            memcpy(&len, room, sizeof len);
            lua_pushlstring(L, room + sizeof len, len);
            lua_rawseti(L, 2, ++n);
            room += sizeof len + len;
        }
        part++;
    }
    lua_settop(L, 2);
    return 1;
}

static int dict_gc(lua_State *L)
{
    dict_object *object = rotor__lua_check(L, 1, &kind_dict);
    rotor__dict_unref(object->dict);
    object->dict = NULL;
    return 0;
}

static void *take_dict(lua_State *L, void *object)
{
    rotor__dict *d = ((dict_object *)object)->dict;
    if (!d)
        luaL_error(L, "the dictionary was closed with its Lua state");
    return rotor__dict_ref(d);
}

static void release_dict(void *dict)
{
    rotor__dict_unref(dict);
}

static void push_dict(lua_State *L, void *dict)
{
    dict_object *object = rotor__lua_new(L, &kind_dict, sizeof *object, 0);
    object->dict = rotor__dict_ref(dict);
}

const rotor__passage rotor__passage_dict = {
    .kind = &kind_dict, .take = take_dict, .release = release_dict, .push = push_dict};

/* -- copies ------------------------------------------------------------------------------------ */

/* [-0, +1, e] copy(value): as it would arrive in another thread */
static int l_copy(lua_State *L)
{
    luaL_checkany(L, 1);
    rotor__parcel *parcel = rotor__pack(L, 1, "value", ROTOR__TO_SEVERAL);
    int status = rotor__try_unpack(L, parcel);
    rotor__parcel_free(parcel);
    return status == LUA_OK ? 1 : lua_error(L);
}

static const luaL_Reg counter_methods[] = {{"get", counter_get},
                                           {"set", counter_set},
                                           {"add", counter_add},
                                           {"compare_and_set", counter_compare_and_set},
                                           {NULL, NULL}};
static const luaL_Reg counter_meta[] = {{"__gc", counter_gc}, {NULL, NULL}};

static const luaL_Reg dict_methods[] = {{"get", dict_get},
                                        {"set", dict_set},
                                        {"add", dict_add},
                                        {"incr", dict_incr},
                                        {"compare_and_set", dict_compare_and_set},
                                        {"delete", dict_delete},
                                        {"keys", dict_keys},
                                        {"count", dict_count},
                                        {"flush", dict_flush},
                                        {NULL, NULL}};
static const luaL_Reg dict_meta[] = {{"__gc", dict_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"counter", l_counter}, {"dict", l_dict}, {"copy", l_copy}, {NULL, NULL}};

void rotor__lua_open_shared(lua_State *L)
{
    rotor__lua_kind(L, &kind_counter, counter_methods, counter_meta);
    rotor__lua_kind(L, &kind_dict, dict_methods, dict_meta);
    luaL_setfuncs(L, functions, 0);
}
