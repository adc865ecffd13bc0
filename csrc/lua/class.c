/* Machine types and protocols as Lua declares them: a name and a table of transitions. */
#include "lua_private.h"

rotor__lua_class *rotor__lua_bare_class(lua_State *L, const rotor__kind *kind)
{
    rotor__lua_class *class = rotor__lua_new(L, kind, sizeof *class, ROTOR__CLASS_USERVALUES);
    class->metatable = class->anchor = LUA_NOREF;
    for (int i = 0; i < ROTOR__LUA_TRANSITIONS; i++)
        class->transitions[i] = LUA_NOREF;
    return class;
}

rotor__lua_class *rotor__lua_new_class(lua_State *L, const rotor__kind *kind,
                                       const char *const *names)
{
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    rotor__lua_class *class = rotor__lua_bare_class(L, kind);
    class->names = names;
    lua_pushvalue(L, 1);
    rotor__lua_set_title(L, class);
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

void rotor__lua_set_title(lua_State *L, rotor__lua_class *class)
{
    class->title = lua_tostring(L, -1);
    lua_setiuservalue(L, -2, ROTOR__CLASS_TITLE); /* its bytes stay for as long as the class */
}

static void unref(lua_State *L, int *ref)
{
    luaL_unref(L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

int rotor__lua_class_gc(lua_State *L)
{
    static const rotor__kind *const kinds[] = {&rotor__kind_type, &rotor__kind_datagram,
                                               &rotor__kind_handler, &rotor__kind_requester,
                                               &rotor__kind_websocket_handler};
    rotor__lua_class *class = NULL;
    for (size_t i = 0; !class && i < sizeof kinds / sizeof *kinds; i++)
        class = rotor__lua_test(L, 1, kinds[i]);
    if (!class)
        class = rotor__lua_check(L, 1, &rotor__kind_protocol);
    if ((class->root ? class->root : class)->uses >
        0) /* the Lua state closes before its machines */
        return 0;
    rotor__lua_untrace(class);
    for (int i = 0; i < ROTOR__LUA_TRANSITIONS; i++)
        unref(L, &class->transitions[i]);
    unref(L, &class->metatable);
    return 0;
}

rotor__lua_class *rotor__lua_retain(lua_State *L, int index)
{
    rotor__lua_class *class = lua_touserdata(L, index);
    if (class->uses == 0) {
        lua_pushvalue(L, index);
        class->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    class->uses++;
    return class;
}

void rotor__lua_release(rotor__lua_loop *ll, rotor__lua_class *class)
{
    if (--class->uses == 0)
        unref(ll->vm->D, &class->anchor);
}

void rotor__lua_push_self(lua_State *L, const rotor__lua_class *class)
{
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, class->metatable);
    lua_setmetatable(L, -2);
}

int rotor__lua_no_verdict(lua_State *D, const rotor__lua_class *class, int which,
                          const char *wanted)
{
    lua_Debug place;
    const char *got = luaL_typename(D, -1);
    if (lua_isnil(D, -1))
        got = "nothing";
    else if (lua_islightuserdata(D, -1))
        got = "what another has asked for, or asked for earlier";
    else if (rotor__lua_test(D, -1, &rotor__kind_stream))
        got = "the stream, with no intent of it";
    rotor__lua_push_transition(D, class, which);
    lua_getinfo(D, ">S", &place);
    return luaL_error(D, "%s:%d: %s returned %s; it returns %s", place.short_src, place.linedefined,
                      class->names[which], got, wanted);
}
