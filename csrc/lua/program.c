/* Functions that go to another Lua state, and the states they go to.
**
** A program is a table, { what, upvalues, arguments, _ENV }: what is to run, as the bytes that string.dump
** makes, as those of a pointer to a C function, or as the name of a module. */
#include <lualib.h>
#include <string.h>

#include "../core/alloc.h"
#include "lua_threads.h"

int luaopen_rotor_core(lua_State *L);

enum { CODE = 1, NATIVE, MODULE, UPVALUES, ARGUMENTS, ENVIRONMENT };

/* -- packing ----------------------------------------------------------------------------------- */

typedef struct code {
    bool begun; /* once the function is not looked for on top any more */
    luaL_Buffer buffer;
} code;

static int write_code(lua_State *L, const void *data, size_t size, void *context)
{
    code *c = context;
    if (!c->begun)
        luaL_buffinit(L, &c->buffer);
    c->begun = true;
    luaL_addlstring(&c->buffer, data, size);
    return 0;
}

/* [-0, +1, m] The code of the function at `index`, with what tracebacks need. */
static void push_code(lua_State *L, int index)
{
    code c = {.begun = false};
    lua_pushvalue(L, index);
    (void)lua_dump(L, write_code, &c, 0);
    luaL_pushresult(&c.buffer);
    lua_remove(L, -2);
}

/* [-0, +0, m] The list of its upvalues into the table on top. */
static void add_upvalues(lua_State *L, int index)
{
    lua_newtable(L);
    for (int i = 1;; i++) {
        const char *name = lua_getupvalue(L, index, i);
        if (!name)
            break;
        if (strcmp(name, "_ENV") == 0) {
            lua_pop(L, 1);
            lua_pushinteger(L, i);
            lua_rawseti(L, -3, ENVIRONMENT);
        } else {
            lua_rawseti(L, -2, i);
        }
    }
    lua_rawseti(L, -2, UPVALUES);
}

/* [-0, +1, e] The program of the function at 1 with the arguments behind it. */
static void push_program(lua_State *L)
{
    int n = lua_gettop(L) - 1;
    lua_createtable(L, ENVIRONMENT, 0);
    lua_CFunction native = lua_tocfunction(L, 1);
    if (native) {
        lua_pushlstring(L, (const char *)&native, sizeof native);
        lua_rawseti(L, -2, NATIVE);
    } else if (lua_isfunction(L, 1)) {
        push_code(L, 1);
        lua_rawseti(L, -2, CODE);
        add_upvalues(L, 1);
    } else {
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, MODULE);
    }
    lua_createtable(L, n, 1);
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, i + 1);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    lua_rawseti(L, -2, ARGUMENTS);
}

/* [-1, +0, -] The way that it goes, which is said last. */
static rotor__way pop_way(lua_State *L)
{
    rotor__way way = (rotor__way)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return way;
}

/* [function, arguments..., way] */
static int pack(lua_State *L)
{
    rotor__way way = pop_way(L);
    push_program(L);
    lua_pushlightuserdata(L, rotor__pack(L, -1, "program", way));
    return 1;
}

/* The same, to throw why it cannot be done, by the names of the upvalues and arguments. */
static int explain(lua_State *L)
{
    rotor__way way = pop_way(L);
    int n = lua_gettop(L) - 1;
    for (int i = 1; !lua_iscfunction(L, 1) && lua_isfunction(L, 1); i++) {
        const char *name = lua_getupvalue(L, 1, i);
        if (!name)
            break;
        if (strcmp(name, "_ENV") != 0) {
            lua_pushfstring(L, "the function's upvalue %s", name);
            rotor__parcel_return(rotor__pack(L, -2, lua_tostring(L, -1), way));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_createtable(L, n, 0);
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, i + 1);
        lua_rawseti(L, -2, i);
    }
    rotor__parcel_return(rotor__pack(L, -1, "args", way));
    return 0;
}

/* [-0, +results or 1, m] Call `fn` with all from `index` on. */
static int call(lua_State *L, lua_CFunction fn, int index, rotor__way way, int results)
{
    int n = lua_gettop(L) - index + 1;
    luaL_checkstack(L, n + 2, "too many arguments");
    lua_pushcfunction(L, fn);
    for (int i = 0; i < n; i++)
        lua_pushvalue(L, index + i);
    lua_pushinteger(L, way);
    return lua_pcall(L, n + 1, results, 0);
}

rotor__parcel *rotor__pack_program(lua_State *L, int index, rotor__way way)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_checktype(L, index, LUA_TFUNCTION);
    if (lua_iscfunction(L, index) && lua_getupvalue(L, index, 1))
        luaL_argerror(L, index, "a function written in C that has upvalues cannot travel");
    if (call(L, pack, index, way, 1) == LUA_OK) {
        rotor__parcel *program = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return program;
    }
    if (call(L, explain, index, way, 0) == LUA_OK)
        lua_error(L); /* as it was: memory is short, say */
    luaL_error(
        L,
        "%s; of a function only _ENV and values go to another Lua state, so modules are to be "
        "required inside of it",
        lua_tostring(L, -1));
    return NULL;
}

rotor__parcel *rotor__pack_paths(lua_State *L)
{
    lua_createtable(L, 2, 0);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE) {
        lua_getfield(L, -1, "path");
        lua_setfield(L, -4, "path");
        lua_getfield(L, -1, "cpath");
        lua_setfield(L, -4, "cpath");
    }
    lua_pop(L, 2);
    rotor__parcel *paths = rotor__pack(L, -1, "package", ROTOR__TO_SEVERAL);
    lua_pop(L, 1);
    return paths;
}

/* -- unpacking --------------------------------------------------------------------------------- */

/* [-0, +1, e] The function that the program at `index` is about. */
static void push_function(lua_State *L, int index)
{
    size_t len;
    lua_CFunction native;
    if (lua_rawgeti(L, index, NATIVE) == LUA_TSTRING) {
        memcpy(&native, lua_tostring(L, -1), sizeof native);
        lua_pushcfunction(L, native);
        return;
    }
    if (lua_rawgeti(L, index, MODULE) == LUA_TSTRING) {
        const char *name = lua_tostring(L, -1);
        lua_getglobal(L, "require");
        lua_pushvalue(L, -2);
        lua_call(L, 1, 1);
        if (!lua_isfunction(L, -1))
            luaL_error(L, "the module %s returns a %s, not the function that a thread is to run",
                       name, luaL_typename(L, -1));
        return;
    }
    (void)lua_rawgeti(L, index, CODE);
    const char *bytes = lua_tolstring(L, -1, &len);
    if (luaL_loadbufferx(L, bytes, len, "offloaded", "b") != LUA_OK)
        lua_error(L);
    int function = lua_gettop(L);
    lua_rawgeti(L, index, ENVIRONMENT);
    int environment = (int)lua_tointeger(L, -1);
    lua_rawgeti(L, index, UPVALUES);
    for (int i = 1; lua_getupvalue(L, function, i); i++) {
        lua_pop(L, 1);
        if (i == environment)
            lua_pushglobaltable(L);
        else
            lua_rawgeti(L, -1, i);
        lua_setupvalue(L, function, i);
    }
    lua_settop(L, function);
}

int rotor__unpack_program(lua_State *L, rotor__parcel *program)
{
    rotor__unpack(L, program);
    int top = lua_gettop(L);
    push_function(L, top);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    lua_rawgeti(L, top, ARGUMENTS);
    lua_getfield(L, -1, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n + LUA_MINSTACK, "too many arguments");
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, top + 2, i);
    lua_remove(L, top + 2);
    lua_remove(L, top);
    return n;
}

/* -- states ------------------------------------------------------------------------------------ */

static void set_path(lua_State *L, const char *name)
{
    if (lua_getfield(L, 2, name) == LUA_TSTRING)
        lua_setfield(L, 3, name);
    else
        lua_pop(L, 1);
}

/* [paths] */
static int open_state(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "rotor.core", luaopen_rotor_core, 0);
    lua_settop(L, 1);
    rotor__unpack(L, lua_touserdata(L, 1));
    lua_getglobal(L, LUA_LOADLIBNAME);
    set_path(L, "path");
    set_path(L, "cpath");
    return 0;
}

lua_State *rotor__new_state(rotor__parcel *paths)
{
    lua_State *L = luaL_newstate();
    if (!L)
        return NULL;
    lua_pushcfunction(L, open_state);
    lua_pushlightuserdata(L, paths);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return L;
    lua_close(L);
    return NULL;
}

static char no_memory[] = "not enough memory";

/* [error, where the text goes] */
static int keep(lua_State *L)
{
    size_t len;
    const char *text = luaL_tolstring(L, 1, &len);
    char *kept = rotor_alloc(len + 1);
    if (kept)
        memcpy(kept, text, len + 1);
    *(char **)lua_touserdata(L, 2) = kept;
    return 0;
}

char *rotor__keep_error(lua_State *L)
{
    char *kept = NULL;
    if (!L)
        return no_memory;
    lua_pushcfunction(L, keep);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &kept);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
    return kept ? kept : no_memory;
}

void rotor__free_error(char *error)
{
    if (error != no_memory)
        rotor_free(error);
}
