/* Machine types and protocols as Lua declares them: a name and a table of transitions. */
#include <string.h>

#include "lua_private.h"

static const char verdict = 0;

void rotor__lua_push_verdict(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&verdict);
}

bool rotor__lua_is_verdict(lua_State *L, int index)
{
    return lua_touserdata(L, index) == &verdict;
}

rotor__lua_class *rotor__lua_new_class(lua_State *L, const rotor__kind *kind,
                                       const char *const *names)
{
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    rotor__lua_class *class = rotor__lua_new(L, kind, sizeof *class, 1);
    class->vm = rotor__lua_vm(L);
    class->names = names;
    class->metatable = LUA_NOREF;
    for (int i = 0; i < ROTOR__LUA_TRANSITIONS; i++)
        class->transitions[i] = LUA_NOREF;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 3, 1); /* the name's bytes, for as long as the class */

    for (int i = 0; names[i]; i++) {
        if (lua_getfield(L, 2, names[i]) == LUA_TNIL)
            lua_pop(L, 1);
        else
            class->transitions[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "__name");
    class->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    return class;
}

int rotor__lua_class_gc(lua_State *L)
{
    rotor__lua_class *class = lua_touserdata(L, 1);
    for (int i = 0; i < ROTOR__LUA_TRANSITIONS; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, class->transitions[i]);
    luaL_unref(L, LUA_REGISTRYINDEX, class->metatable);
    return 0;
}

const char *rotor__lua_class_name(const rotor__lua_class *class)
{
    return class->object.kind == &rotor__kind_type ? class->type.name : class->protocol.name;
}

void rotor__lua_push_self(lua_State *L, const rotor__lua_class *class)
{
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, class->metatable);
    lua_setmetatable(L, -2);
}
