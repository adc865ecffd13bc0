/* figures: what a Lua state cannot know of its process. */
#include <malloc.h>

#include <lauxlib.h>

/* [-0, +1, -] allocated(): bytes that malloc has given out, all of the process's */
static int allocated(lua_State *L)
{
    struct mallinfo2 info = mallinfo2();
    lua_pushinteger(L, (lua_Integer)(info.uordblks + info.hblkhd));
    return 1;
}

static const luaL_Reg functions[] = {{"allocated", allocated}, {NULL, NULL}};

int luaopen_figures(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
