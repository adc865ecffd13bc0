/* Loops and handles in Lua. Most functions exist twice: as a method of a loop, and in the module for the
** default loop; `args` tells which was called and where its arguments begin. */
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "../core/alloc.h"
#include "lua_private.h"

const rotor__kind rotor__kind_loop = {"rotor.loop"};
const rotor__kind rotor__kind_handle = {"rotor.handle"};

typedef struct loop_object {
    rotor__object object;
    rotor__lua_loop *ll;
} loop_object;

typedef struct handle_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_handle handle;
} handle_object;

/* -- making and ending ------------------------------------------------------------------------- */

/* A machine ended with an error that nobody else hears. What was thrown in Lua has been reported when
** it was; that a peer went away is told to the protocol, and is otherwise no news. */
static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    rotor__lua_loop *ll = rotor_loop_context(loop);
    const char *name = m->type->name;
    if (rotor__lua_push_reason(ll, m)) {
        rotor__lua_report(ll, name, NULL);
        return;
    }
    if (error == ROTOR_ELUA)
        return;
    if (m->type == &rotor_stream_type) {
        const rotor_protocol *protocol = ((rotor_stream *)m)->protocol;
        bool connecting = ((rotor_stream *)m)->transport->handshake != NULL;
        if (!(connecting && !protocol->fatal) && error != ROTOR_EUNEXPECTED)
            return;
        name = protocol->name;
    }
    lua_pushfstring(ll->vm->D, "%s: %s", rotor_err_name(error), rotor_strerror(error));
    rotor__lua_report(ll, name, NULL);
}

static rotor__lua_loop *new_loop(lua_State *L, const rotor_config *given)
{
    rotor__vm *vm = rotor__lua_vm(L);
    rotor__lua_loop *ll = rotor_alloc_zero(sizeof *ll);
    if (!ll)
        luaL_error(L, "not enough memory");
    rotor_config config = *given;
    config.context = ll;
    config.on_error = on_error;
    int error = rotor_loop_new(&ll->loop, &config);
    if (error) {
        rotor_free(ll);
        luaL_error(L, "no loop: %s", rotor_strerror(error));
    }
    ll->vm = vm;
    ll->on_error = ll->context = ll->scope_object = LUA_NOREF;
    ll->next = vm->loops;
    vm->loops = ll;
    return ll;
}

/* Inside one of its transitions a loop cannot be freed; only os.exit() gets here then, and the
** process ends. */
void rotor__lua_free_loop(rotor__lua_loop *ll)
{
    if (ll->loop && !rotor_loop_busy(ll->loop) && !rotor_loop_free(ll->loop))
        ll->loop = NULL;
}

void rotor__lua_push_loop(lua_State *L, rotor__lua_loop *ll)
{
    loop_object *object = rotor__lua_new(L, &rotor__kind_loop, sizeof *object, 0);
    object->ll = ll;
}

/* [-0, +1, e] */
static int l_loop(lua_State *L)
{
    static const char *const options[] = {"capacity", "buffer", "context", NULL};
    rotor_config config = {0};
    rotor__lua_check_options(L, 1, options);
    config.capacity = (size_t)rotor__lua_option(L, 1, "capacity", 1, UINT32_MAX - 1);
    config.buffer = (size_t)rotor__lua_option(L, 1, "buffer", 4096, 1 << 30);
    rotor__lua_loop *ll = new_loop(L, &config);
    rotor__lua_push_loop(L, ll);
    if (!lua_isnoneornil(L, 1)) {
        lua_getfield(L, 1, "context");
        ll->context = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

static rotor__lua_loop *usual_loop(lua_State *L)
{
    rotor__vm *vm = rotor__lua_vm(L);
    if (!vm->usual || !vm->usual->loop)
        vm->usual = new_loop(L, &(rotor_config){0});
    return vm->usual;
}

rotor__lua_loop *rotor__lua_check_loop(lua_State *L, int index)
{
    rotor__lua_loop *ll = ((loop_object *)rotor__lua_check(L, index, &rotor__kind_loop))->ll;
    luaL_argcheck(L, ll->loop, index, "the loop is closed");
    return ll;
}

/* The index of the first argument, with *ll set to the loop that is meant. */
int rotor__lua_args(lua_State *L, rotor__lua_loop **ll)
{
    if (rotor__lua_test(L, 1, &rotor__kind_loop)) {
        *ll = rotor__lua_check_loop(L, 1);
        return 2;
    }
    *ll = usual_loop(L);
    return 1;
}

/* [-0, +1, e] the default loop */
static int l_default(lua_State *L)
{
    rotor__lua_push_loop(L, usual_loop(L));
    return 1;
}

/* -- running ----------------------------------------------------------------------------------- */

/* [-0, +1 or 3, e] */
static int l_run(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    if (rotor_loop_run(ll->loop))
        return luaL_error(L, "the loop is running already; a transition cannot run it again");
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] */
static int l_turn(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    if (rotor_loop_turn(ll->loop))
        return luaL_error(L, "the loop is running already; a transition cannot run it again");
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +0, e] */
static int l_stop(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    rotor_loop_stop(ll->loop);
    return 0;
}

/* [-0, +1, e] Idempotent. */
static int l_close(lua_State *L)
{
    rotor__lua_loop *ll = ((loop_object *)rotor__lua_check(L, 1, &rotor__kind_loop))->ll;
    if (ll->loop && rotor_loop_busy(ll->loop))
        return luaL_error(L, "a transition cannot close its loop; stop it, and close it after run");
    rotor__lua_free_loop(ll);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] seconds on the loop's monotonic clock */
static int l_now(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    lua_pushnumber(L, (lua_Number)rotor_loop_now(ll->loop) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int l_count(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    lua_pushinteger(L, (lua_Integer)rotor_loop_count(ll->loop));
    return 1;
}

/* [-0, +0, e] */
static int l_on_error(lua_State *L)
{
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    if (!lua_isnil(L, a))
        luaL_checktype(L, a, LUA_TFUNCTION);
    lua_settop(L, a);
    luaL_unref(L, LUA_REGISTRYINDEX, ll->on_error);
    ll->on_error = lua_isnil(L, a) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* -- signals ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int signum;
} signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
               {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"WINCH", SIGWINCH}};

enum { SIGNALS = sizeof signals / sizeof *signals };

static int check_signal(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int i = 0; i < SIGNALS; i++)
        if (strcmp(name, signals[i].name) == 0)
            return i;
    return luaL_argerror(L, index, "a signal expected: HUP INT QUIT USR1 USR2 TERM CHLD or WINCH");
}

typedef struct signal_call {
    int ref;
    const char *name;
} signal_call;

static int call_signal(lua_State *D)
{
    const signal_call *call = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, call->ref);
    lua_pushstring(D, call->name);
    lua_call(D, 1, 0);
    return 0;
}

static void on_signal(rotor_loop *loop, int signum, void *context)
{
    int i = 0;
    while (signals[i].signum != signum)
        i++;
    signal_call call = {(int)(intptr_t)context, signals[i].name};
    (void)rotor__lua_run(rotor_loop_context(loop), call_signal, &call, "signal", call.name);
}

/* [-0, +1 or 3, e] */
static int l_on_signal(lua_State *L)
{
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    int signum = signals[check_signal(L, a)].signum;
    if (lua_isnoneornil(L, a + 1))
        return rotor__lua_result(L, rotor_loop_on_signal(ll->loop, signum, NULL, NULL));
    luaL_checktype(L, a + 1, LUA_TFUNCTION);
    lua_settop(L, a + 1);
    intptr_t ref = luaL_ref(L, LUA_REGISTRYINDEX); /* the process's few; kept until it ends */
    return rotor__lua_result(L, rotor_loop_on_signal(ll->loop, signum, on_signal, (void *)ref));
}

/* -- adding, listening, connecting ------------------------------------------------------------- */

/* [-0, +1 or 3, e] */
static int l_add(lua_State *L)
{
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    rotor__lua_check(L, a, &rotor__kind_type);
    if (a == 2)
        lua_remove(L, 1);
    lua_settop(L, 2);
    return rotor__lua_add(L, ll);
}

static void free_seed(void *data)
{
    rotor__lua_seed *seed = data;
    lua_State *D = seed->ll->vm->D;
    luaL_unref(D, LUA_REGISTRYINDEX, seed->ref);
    luaL_unref(D, LUA_REGISTRYINDEX, seed->class_ref);
    rotor_free(seed);
}

/* [-0, +0, e] The seed of streams of the protocol at `index`, from options.seed. */
static rotor__lua_seed *new_seed(lua_State *L, rotor__lua_loop *ll, int index, int options)
{
    rotor__lua_class *class = rotor__lua_check(L, index, &rotor__kind_protocol);
    rotor__lua_seed *seed = rotor_alloc_zero(sizeof *seed);
    if (!seed)
        luaL_error(L, "not enough memory");
    seed->ll = ll;
    seed->class = class;
    seed->ref = LUA_NOREF;
    if (!lua_isnoneornil(L, options)) {
        lua_getfield(L, options, "seed");
        seed->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pushvalue(L, index);
    seed->class_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return seed;
}

void rotor__lua_listen_options(lua_State *L, int index, rotor_listen_options *options)
{
    options->backlog = (int)rotor__lua_option(L, index, "backlog", 1, INT_MAX);
    options->reuse_port = rotor__lua_option_bool(L, index, "reuse_port");
    options->delay = rotor__lua_option_bool(L, index, "delay");
    options->connections =
        (uint32_t)rotor__lua_option(L, index, "connections", 1, UINT32_MAX - 1);
}

/* [-0, +1 or 3, m] The handle, or the failure with the address in its message. */
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

/* [-0, +1 or 3, e] listen(address, protocol[, options]) */
static int l_listen(lua_State *L)
{
    static const char *const known[] = {"backlog",     "reuse_port", "delay",
                                        "connections", "seed",       NULL};
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    const char *address = luaL_checkstring(L, a);
    rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_protocol);
    rotor_listen_options options = {.closed = free_seed};
    rotor_handle handle;
    rotor__lua_check_options(L, a + 2, known);
    rotor__lua_listen_options(L, a + 2, &options);
    options.seed = new_seed(L, ll, a + 1, a + 2);
    int error = rotor_listen(ll->loop, address, &class->protocol, &options, &handle);
    if (error)
        free_seed(options.seed);
    return rotor__lua_opened(L, ll, address, error, handle);
}

/* [-0, +1 or 3, e] connect(address, protocol[, options]) */
static int l_connect(lua_State *L)
{
    static const char *const known[] = {"timeout", "delay", "seed", NULL};
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    const char *address = luaL_checkstring(L, a);
    rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_protocol);
    rotor_connect_options options = {.release = free_seed};
    rotor_handle handle;
    rotor__lua_check_options(L, a + 2, known);
    options.timeout_ms = rotor__lua_option_ms(L, a + 2, "timeout");
    options.delay = rotor__lua_option_bool(L, a + 2, "delay");
    options.seed = new_seed(L, ll, a + 1, a + 2);
    int error = rotor_connect(ll->loop, address, &class->protocol, &options, &handle);
    if (error)
        free_seed(options.seed);
    return rotor__lua_opened(L, ll, address, error, handle);
}

/* [-0, +1, -] loop.context, or a method */
static int loop_index(lua_State *L)
{
    loop_object *object = rotor__lua_check(L, 1, &rotor__kind_loop);
    if (strcmp(luaL_checkstring(L, 2), "context") == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, object->ll->context);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int loop_eq(lua_State *L)
{
    loop_object *a = rotor__lua_test(L, 1, &rotor__kind_loop);
    loop_object *b = rotor__lua_test(L, 2, &rotor__kind_loop);
    lua_pushboolean(L, a && b && a->ll == b->ll);
    return 1;
}

/* -- handles ----------------------------------------------------------------------------------- */

void rotor__lua_push_handle(lua_State *L, rotor__lua_loop *ll, rotor_handle handle)
{
    handle_object *object = rotor__lua_new(L, &rotor__kind_handle, sizeof *object, 0);
    object->ll = ll;
    object->handle = handle;
}

rotor_handle rotor__lua_to_handle(lua_State *L, int index)
{
    return ((handle_object *)rotor__lua_check(L, index, &rotor__kind_handle))->handle;
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

/* [-0, +1 or 3, e] */
static int handle_close(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    return rotor__lua_result(L, find(object) ? rotor_end(object->ll->loop, object->handle, 0)
                                             : ROTOR_ECLOSED);
}

/* [-0, +1, e] */
static int handle_alive(lua_State *L)
{
    lua_pushboolean(L, find(rotor__lua_check(L, 1, &rotor__kind_handle)) != NULL);
    return 1;
}

/* [-0, +1 or 3, e] where a listener listens, or a stream's own end is */
static int handle_address(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    rotor_machine *m = find(object);
    char text[sizeof(struct sockaddr_un) + 8] = "";
    int error = ROTOR_ECLOSED;
    if (m && m->type == &rotor_stream_type)
        error = rotor_stream_local((rotor_stream *)m, text, sizeof text);
    else if (m)
        error = rotor_listener_address(object->ll->loop, object->handle, text, sizeof text);
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

static int handle_eq(lua_State *L)
{
    handle_object *a = rotor__lua_test(L, 1, &rotor__kind_handle);
    handle_object *b = rotor__lua_test(L, 2, &rotor__kind_handle);
    lua_pushboolean(L, a && b && a->ll == b->ll &&
                           memcmp(&a->handle, &b->handle, sizeof a->handle) == 0);
    return 1;
}

static int handle_tostring(lua_State *L)
{
    handle_object *object = rotor__lua_check(L, 1, &rotor__kind_handle);
    lua_pushfstring(L, "rotor.handle: %d.%d%s", (int)object->handle.slot,
                    (int)object->handle.generation, find(object) ? "" : " (ended)");
    return 1;
}

static const luaL_Reg handle_methods[] = {{"wake", handle_wake},
                                          {"close", handle_close},
                                          {"alive", handle_alive},
                                          {"address", handle_address},
                                          {NULL, NULL}};

static const luaL_Reg handle_meta[] = {
    {"__eq", handle_eq}, {"__tostring", handle_tostring}, {NULL, NULL}};

static const luaL_Reg both[] = {{"run", l_run},
                                {"turn", l_turn},
                                {"stop", l_stop},
                                {"now", l_now},
                                {"count", l_count},
                                {"add", l_add},
                                {"listen", l_listen},
                                {"connect", l_connect},
                                {"on_error", l_on_error},
                                {"on_signal", l_on_signal},
                                {"future", rotor__lua_future},
                                {"all", rotor__lua_all},
                                {"first", rotor__lua_first},
                                {"serve", rotor__lua_serve},
                                {NULL, NULL}};

static const luaL_Reg loop_meta[] = {{"__eq", loop_eq}, {NULL, NULL}};

void rotor__lua_open_loop(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_handle, handle_methods, handle_meta);
    rotor__lua_kind(L, &rotor__kind_loop, NULL, loop_meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_loop);
    luaL_newlib(L, both);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "close");
    lua_pushcclosure(L, loop_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    luaL_setfuncs(L, both, 0);
    lua_pushcfunction(L, l_loop);
    lua_setfield(L, -2, "loop");
    lua_pushcfunction(L, l_default);
    lua_setfield(L, -2, "default");
}
