/* Handles in Lua: names of machines, good for ever. */
#include <string.h>

#include "lua_private.h"

const rotor__kind rotor__kind_handle = {.name = "rotor.handle"};

typedef struct handle_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_handle handle;
} handle_object;

/* [-0, +1, m] The loop's table of handles, which keeps none of them. */
static void push_handles(lua_State *L, rotor__lua_loop *ll)
{
    if (lua_rawgeti(L, LUA_REGISTRYINDEX, ll->handles) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    ll->handles = luaL_ref(L, LUA_REGISTRYINDEX);
}

void rotor__lua_push_handle(lua_State *L, rotor__lua_loop *ll, rotor_handle handle)
{
    lua_Integer key = (lua_Integer)((uint64_t)handle.generation << 32 | handle.slot);
    push_handles(L, ll);
    if (lua_rawgeti(L, -1, key) == LUA_TNIL) {
        lua_pop(L, 1);
        handle_object *object = rotor__lua_new(L, &rotor__kind_handle, sizeof *object, 0);
        object->ll = ll;
        object->handle = handle;
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, key);
    }
    lua_remove(L, -2);
}

rotor_handle rotor__lua_check_handle(lua_State *L, int index, const rotor__lua_loop *ll)
{
    const handle_object *object = rotor__lua_check(L, index, &rotor__kind_handle);
    luaL_argcheck(L, object->ll == ll, index, "a handle of another loop");
    return object->handle;
}

static rotor_machine *find(const handle_object *object)
{
    return object->ll->loop ? rotor_find(object->ll->loop, object->handle) : NULL;
}

/* [-0, +1 or 3, e] */
static int handle_wake(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    return rotor__lua_result(L, find(object) ? rotor_wake(object->ll->loop, object->handle)
                                             : ROTOR_ECLOSED);
}

/* [-0, +1 or 3, e] close([{ drain = seconds }]) */
static int handle_close(lua_State *L)
{
    static const char *const known[] = {"drain", NULL};
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    rotor__lua_check_options(L, 2, known);
    uint32_t drain_ms = rotor__lua_option_ms(L, 2, "drain");
    if (drain_ms && find(object))
        return rotor__lua_drain(L, object->ll, object->handle, drain_ms);
    return rotor__lua_result(L, find(object) ? rotor_end(object->ll->loop, object->handle, 0)
                                             : ROTOR_ECLOSED);
}

/* [-0, +1, e] */
static int handle_alive(lua_State *L)
{
    lua_pushboolean(L, find(rotor__lua_check(L, 1, &rotor__kind_handle)) != NULL);
    return 1;
}

/* [-0, +1 or 3, e] where a listener listens, or a stream's or datagram socket's own end is */
static int handle_address(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    rotor_machine *m = find(object);
    size_t size = ROTOR_ADDRESS_SIZE, len;
    do { /* a listener's may be a list of any length */
        luaL_Buffer b;
        char *text = luaL_buffinitsize(L, &b, size);
        int error = ROTOR_ECLOSED;
        if (m && m->type == &rotor_stream_type)
            error = rotor_stream_local((rotor_stream *)m, text, size);
        else if (m && m->type == &rotor_datagram_type)
            error = rotor_datagram_local((rotor_datagram *)m, text, size);
        else if (m)
            error = rotor_listener_address(object->ll->loop, object->handle, text, size);
        if (error)
            return rotor__lua_fail(L, error);
        len = strlen(text);
        luaL_pushresultsize(&b, len);
        size *= 2;
    } while (len + 1 == size / 2);
    return 1;
}

/* [-0, +1, e] the present stream of what rotor.persist returned, or nil */
static int handle_stream(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    rotor_loop *loop = object->ll->loop;
    rotor_handle stream = loop ? rotor_persist_stream(loop, object->handle) : ROTOR_NO_HANDLE;
    if (stream.generation)
        rotor__lua_push_handle(L, object->ll, stream);
    else
        lua_pushnil(L);
    return 1;
}

/* [-0, +1, e] */
static int handle_tostring(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    const rotor_machine *m = find(object);
    const char *name = m ? rotor_machine_name(m) : "ended";
    lua_pushfstring(L, "rotor.handle: %d.%d (%s)", (int)object->handle.slot,
                    (int)object->handle.generation, name);
    return 1;
}

static const luaL_Reg methods[] = {{"wake", handle_wake},     {"close", handle_close},
                                   {"alive", handle_alive},   {"address", handle_address},
                                   {"stream", handle_stream}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__tostring", handle_tostring}, {NULL, NULL}};

void rotor__lua_open_handle(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_handle, methods, meta);
}
