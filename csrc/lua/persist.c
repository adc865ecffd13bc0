/* Connections that are kept alive, in Lua. */
#include "lua_private.h"

/* A userdata in the registry for as long as the machine lives; its uservalues are the functions, and the
** address's bytes. */
typedef struct persistence {
    rotor__lua_loop *ll;
    const rotor__lua_class *class;
    const char *address;
    int ref;
} persistence;

enum { UP = 1, DOWN, ADDRESS, USERVALUES = 3 };

typedef struct call {
    const persistence *p;
    rotor_handle stream; /* UP */
    int error;           /* DOWN */
    uint64_t wait_ms;    /* DOWN */
} call;

/* [-0, +1, -] */
static void push_function(lua_State *D, const call *c, int which)
{
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->p->ref);
    lua_getiuservalue(D, -1, which);
    lua_remove(D, -2);
}

static int call_up(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    push_function(D, c, UP);
    rotor__lua_push_handle(D, c->p->ll, c->stream);
    lua_call(D, 1, 0);
    return 0;
}

static int call_down(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    push_function(D, c, DOWN);
    if (c->error) {
        const char *name = rotor_err_name(c->error);
        lua_pushstring(D, name);
        lua_pushfstring(D, "%s: %s (%s)", name, rotor_strerror(c->error), c->p->address);
    } else {
        lua_pushnil(D);
        lua_pushnil(D);
    }
    lua_pushnumber(D, (lua_Number)c->wait_ms / 1000);
    lua_call(D, 3, 0);
    return 0;
}

static void on_up(rotor_scope *scope, rotor_handle stream, void *context)
{
    call c = {.p = context, .stream = stream};
    (void)rotor__lua_run(c.p->ll, call_up, &c, c.p->class->title, "up");
}

static void on_down(rotor_scope *scope, int error, uint64_t wait_ms, void *context)
{
    call c = {.p = context, .error = error, .wait_ms = wait_ms};
    (void)rotor__lua_run(c.p->ll, call_down, &c, c.p->class->title, "down");
}

/* There is no function to be told. That a connection has ended is no news then, but a mistake is. */
static void on_down_unheard(rotor_scope *scope, int error, uint64_t wait_ms, void *context)
{
    const persistence *p = context;
    if (error == ROTOR_EUNEXPECTED)
        rotor__lua_report_error(p->ll, p->class->title, error, p->address);
}

static void on_closed(void *context)
{
    persistence *p = context;
    luaL_unref(p->ll->vm->D, LUA_REGISTRYINDEX, p->ref);
}

/* [-0, +1, v] The function in the options at `index` (or nil), or nil. */
static bool push_callback(lua_State *L, int index, const char *name)
{
    if (lua_isnil(L, index)) {
        lua_pushnil(L);
        return false;
    }
    int type = lua_getfield(L, index, name);
    if (type != LUA_TFUNCTION && type != LUA_TNIL)
        luaL_error(L, "option '%s': a function expected, got %s", name, luaL_typename(L, -1));
    return type == LUA_TFUNCTION;
}

/* [persist] */
static int anchor(lua_State *L)
{
    persistence *p = lua_touserdata(L, 1);
    p->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* [-0, +1 or 3, e] persist(address, protocol[, options]) */
int rotor__lua_persist(lua_State *L)
{
    static const char *const known[] = {"timeout", "delay", "keepalive", "backoff", "backoff_max",
                                        "up",      "down",  "seed",      NULL};
    int a = rotor__lua_args(L);
    const char *address = rotor__lua_check_address(L, a);
    const rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_protocol);
    rotor__lua_start start;
    rotor_handle handle;
    lua_settop(L, a + 2);
    rotor__lua_check_options(L, a + 2, known);
    rotor_persist_options options = {
        .closed = on_closed,
        .timeout_ms = rotor__lua_option_ms(L, a + 2, "timeout"),
        .delay = rotor__lua_option_bool(L, a + 2, "delay"),
        .keepalive_s = (uint32_t)rotor__lua_option(L, a + 2, "keepalive", 1, 32767),
        .backoff_ms = rotor__lua_option_ms(L, a + 2, "backoff"),
        .backoff_max_ms = rotor__lua_option_ms(L, a + 2, "backoff_max")};
    options.up = push_callback(L, a + 2, "up") ? on_up : NULL;
    options.down = push_callback(L, a + 2, "down") ? on_down : on_down_unheard;
    rotor__lua_loop *ll = rotor__lua_meant(L);

    persistence *p = options.context = lua_newuserdatauv(L, sizeof *p, USERVALUES);
    lua_insert(L, -3);
    lua_setiuservalue(L, -3, DOWN);
    lua_setiuservalue(L, -2, UP);
    lua_pushstring(L, address);
    p->address = lua_tostring(L, -1);
    lua_setiuservalue(L, -2, ADDRESS);
    p->ll = ll;
    p->class = class;
    int failure = rotor__lua_begin(L, ll, a + 1, &start);
    if (failure)
        return failure;
    lua_pushcfunction(L, anchor);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        rotor__lua_cancel(&start);
        return lua_error(L);
    }
    options.seed = start.seed;
    options.release = start.release;
    int error = rotor_persist(ll->loop, address, rotor__lua_protocol(class), &options, &handle);
    if (error) {
        rotor__lua_cancel(&start);
        on_closed(p);
    }
    return rotor__lua_opened(L, ll, address, error, handle);
}
