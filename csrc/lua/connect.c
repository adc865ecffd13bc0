/* Listening and connecting in Lua, and the seeds that machines of Lua's are created from. */
#include <limits.h>
#include <string.h>

#include "../core/alloc.h"
#include "lua_private.h"
#include "lua_threads.h"

/* -- seeds ------------------------------------------------------------------------------------- */

rotor__lua_seed *rotor__lua_new_seed(lua_State *L, rotor__lua_loop *ll, int index)
{
    rotor__lua_class *class = lua_touserdata(L, index);
    rotor__lua_seed begun = {.ll = ll, .class = class, .ref = LUA_NOREF};
    if (class->exported) {
        begun.error = rotor__lua_from_lua(L, class, lua_gettop(L), &begun.made);
        lua_pop(L, 1);
    } else {
        begun.ref = luaL_ref(L, LUA_REGISTRYINDEX);
        rotor__lua_retain(L, index);
    }
    rotor__lua_seed *seed = rotor_alloc(sizeof *seed);
    if (!seed) {
        rotor__lua_clear_seed(&begun);
        luaL_error(L, "not enough memory");
    }
    *seed = begun;
    return seed;
}

void rotor__lua_clear_seed(rotor__lua_seed *seed)
{
    luaL_unref(seed->ll->vm->D, LUA_REGISTRYINDEX, seed->ref);
    seed->ref = LUA_NOREF;
    if (seed->class && !seed->class->exported)
        rotor__lua_release(seed->ll, seed->class);
    else if (seed->class && !seed->error)
        rotor__lua_release_made(seed->class, seed->made);
    seed->class = NULL;
}

void rotor__lua_free_seed(void *data)
{
    rotor__lua_seed *seed = data;
    rotor__lua_clear_seed(seed);
    rotor_free(seed);
}

/* [-0, +1, e] The seed's value in the options at `index` (or none). */
static void push_seed(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        lua_pushnil(L);
    else
        lua_getfield(L, index, "seed");
}

int rotor__lua_begin(lua_State *L, rotor__lua_loop *ll, int index, rotor__lua_start *start)
{
    const rotor__lua_class *class = lua_touserdata(L, index);
    *start = (rotor__lua_start){NULL, NULL};
    push_seed(L, index + 1);
    if (!class->exported) {
        start->seed = rotor__lua_new_seed(L, ll, index);
        start->release = rotor__lua_free_seed;
        return 0;
    }
    int error = rotor__lua_from_lua(L, class, lua_gettop(L), &start->seed);
    lua_pop(L, 1);
    if (class->exported->from_lua)
        start->release = class->exported->release;
    return error ? rotor__lua_fail(L, error) : 0;
}

/* -- listening and connecting ------------------------------------------------------------------ */

/* [-0, +0, e] */
static bool has_option(lua_State *L, int index, const char *name)
{
    if (lua_isnoneornil(L, index))
        return false;
    bool has = lua_getfield(L, index, name) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

void rotor__lua_listen_options(lua_State *L, int index, rotor_listen_options *options)
{
    options->backlog = (int)rotor__lua_option(L, index, "backlog", 1, INT_MAX);
    options->reuse_port = rotor__lua_option_bool(L, index, "reuse_port");
    if (rotor__lua_vm(L)->thread && !has_option(L, index, "reuse_port"))
        options->reuse_port = true; /* as they are to share the connections */
    options->ipv6_only = rotor__lua_option_bool(L, index, "ipv6_only");
    options->delay = rotor__lua_option_bool(L, index, "delay");
    options->keepalive_s = (uint32_t)rotor__lua_option(L, index, "keepalive", 1, 32767);
    options->connections = (uint32_t)rotor__lua_option(L, index, "connections", 1, UINT32_MAX - 1);
}

int rotor__lua_opened(lua_State *L, rotor__lua_loop *ll, const char *address, int error,
                      rotor_handle handle)
{
    if (error) {
        rotor__lua_fail(L, error);
        lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), address);
        lua_replace(L, -3);
        return 3;
    }
    rotor__lua_push_handle(L, ll, handle);
    return 1;
}

int rotor__lua_listening(lua_State *L, rotor__lua_loop *ll, const char *address, const char *failed,
                         int error, rotor_handle handle)
{
    size_t len = failed ? strcspn(failed, ",") : 0;
    if (len > 0) /* or the list itself tells more */
        address = lua_pushlstring(L, failed, len);
    return rotor__lua_opened(L, ll, address, error, handle);
}

/* [-0, +1 or 3, e] listen(address, protocol[, options]) */
int rotor__lua_listen(lua_State *L)
{
    static const char *const known[] = {"backlog",   "reuse_port",  "ipv6_only", "delay",
                                        "keepalive", "connections", "seed",      NULL};
    int a = rotor__lua_args(L);
    const char *address = rotor__lua_check_address(L, a);
    const rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_protocol);
    const char *failed;
    rotor_listen_options options = {.failed = &failed};
    rotor__lua_start start;
    rotor_handle handle;
    rotor__lua_check_options(L, a + 2, known);
    rotor__lua_listen_options(L, a + 2, &options);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    int failure = rotor__lua_begin(L, ll, a + 1, &start);
    if (failure)
        return failure;
    options.seed = start.seed;
    options.closed = start.release;
    rotor__share share;
    const char *where = rotor__share_begin(&share, ll->vm, address, options.reuse_port);
    int error = rotor_listen(ll->loop, where, rotor__lua_protocol(class), &options, &handle);
    rotor__share_end(&share, error, error ? NULL : rotor__listener_socket(ll->loop, handle));
    if (error)
        rotor__lua_cancel(&start);
    return rotor__lua_listening(L, ll, address, failed, error, handle);
}

/* [-0, +1 or 3, e] connect(address, protocol[, options]) */
int rotor__lua_connect(lua_State *L)
{
    static const char *const known[] = {"timeout", "delay", "keepalive", "seed", NULL};
    int a = rotor__lua_args(L);
    const char *address = rotor__lua_check_address(L, a);
    const rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_protocol);
    rotor_connect_options options = {0};
    rotor__lua_start start;
    rotor_handle handle;
    rotor__lua_check_options(L, a + 2, known);
    options.timeout_ms = rotor__lua_option_ms(L, a + 2, "timeout");
    options.delay = rotor__lua_option_bool(L, a + 2, "delay");
    options.keepalive_s = (uint32_t)rotor__lua_option(L, a + 2, "keepalive", 1, 32767);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    int failure = rotor__lua_begin(L, ll, a + 1, &start);
    if (failure)
        return failure;
    options.seed = start.seed;
    options.release = start.release;
    int error = rotor__lua_dial(ll, address, rotor__lua_protocol(class), &options, &handle);
    if (error)
        rotor__lua_cancel(&start);
    return rotor__lua_opened(L, ll, address, error, handle);
}
