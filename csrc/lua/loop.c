/* Loops in Lua. Most functions exist twice: as a method of a loop, and in the module for the default
** loop; rotor__lua_args() tells which was called and where its arguments begin. */
#include <string.h>

#include "lua_task.h"
#include "lua_threads.h"

const rotor__kind rotor__kind_loop = {.name = "rotor.loop"};

typedef struct loop_object {
    rotor__object object;
    rotor__lua_loop *ll;
} loop_object;

/* -- making and ending ------------------------------------------------------------------------- */

/* A machine ended with an error that nobody else hears. What was thrown in Lua has been reported when
** it was; that a peer went away is told to the protocol, and is otherwise no news. */
static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    rotor__lua_loop *ll = rotor_loop_context(loop);
    const rotor_protocol *listened = rotor__listener_protocol(m); /* its create has failed */
    const char *name = listened ? listened->name : rotor_machine_name(m), *address = NULL;
    if (rotor__lua_push_reason(ll, m)) {
        rotor__lua_report(ll, name, NULL);
        return;
    }
    if (error == ROTOR_ELUA)
        return;
    char peer[ROTOR_ADDRESS_SIZE];
    if (m->type == &rotor_datagram_type &&
        rotor_datagram_peer((rotor_datagram *)m, peer, sizeof peer) == 0)
        address = peer;
    if (m->type == &rotor_stream_type) {
        const rotor_stream *s = (rotor_stream *)m;
        bool connecting = s->transport->handshake != NULL;
        bool unheard = connecting && !s->protocol->fatal;
        bool chosen = !connecting && s->intent.kind == ROTOR_INTENT_ERROR && error != ROTOR_EEOF &&
                      error != ROTOR_ELIMIT; /* by a protocol in C */
        if (!unheard && !chosen)
            return;
        if (connecting && rotor_stream_peer(s, peer, sizeof peer) == 0)
            address = peer;
    }
    rotor__lua_report_error(ll, name, error, address);
}

static uint64_t virtual_ms(void *context)
{
    return ((rotor__lua_loop *)context)->virtual_ms;
}

/* [-0, +0, e] A clock that is given stands for one of the loop's own. */
static rotor__lua_loop *new_loop(lua_State *L, const rotor_config *given)
{
    rotor__vm *vm = rotor__lua_vm(L);
    if (vm->closed)
        luaL_error(L, "no loop: the Lua state closes");
    rotor__lua_loop *ll = lua_newuserdatauv(L, sizeof *ll, 0);
    memset(ll, 0, sizeof *ll);
    lua_rawsetp(L, LUA_REGISTRYINDEX, ll);
    rotor_config config = *given;
    const rotor_clock clock = {.monotonic_ms = virtual_ms, .context = ll};
    config.context = ll;
    if (given->clock)
        config.clock = &clock; /* of which it makes a copy */
    config.on_error = on_error;
    int error = rotor_loop_new(&ll->loop, &config);
    if (error) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, ll);
        luaL_error(L, "no loop: %s", rotor_strerror(error));
    }
    ll->vm = vm;
    ll->virtual = given->clock != NULL;
    ll->on_error = ll->context = ll->scope_object = ll->handles = ll->client = LUA_NOREF;
    ll->next = vm->loops;
    vm->loops = ll;
    return ll;
}

static void unref(rotor__lua_loop *ll, int *ref)
{
    luaL_unref(ll->vm->D, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

/* Inside one of its transitions a loop cannot be freed; only os.exit() gets here then, and the
** process ends. */
void rotor__lua_free_loop(rotor__lua_loop *ll)
{
    if (!ll->loop)
        return;
    if (!ll->loop->busy && !ll->loop->running)
        rotor__lua_cancel_offloads(ll);
    if (rotor_loop_free(ll->loop))
        return;
    ll->loop = NULL;
    rotor__lua_drop_followers(ll);
    rotor__lua_end_relays(ll);
    unref(ll, &ll->on_error);
    unref(ll, &ll->context);
    unref(ll, &ll->scope_object);
    unref(ll, &ll->handles);
    unref(ll, &ll->client);
    rotor__lua_free_signals(ll);
    rotor__lua_free_watchdog(ll);
}

bool rotor__lua_free_loops(const rotor__vm *vm)
{
    bool left = false;
    const rotor__lua_loop *newest;
    do { /* those that are made meanwhile, too */
        newest = vm->loops;
        left = false;
        for (rotor__lua_loop *ll = vm->loops; ll; ll = ll->next) {
            rotor__lua_free_loop(ll);
            left |= ll->loop != NULL;
        }
    } while (newest != vm->loops);
    return !left;
}

void rotor__lua_push_loop(lua_State *L, rotor__lua_loop *ll)
{
    loop_object *object = rotor__lua_new(L, &rotor__kind_loop, sizeof *object, 0);
    object->ll = ll;
}

/* [-0, +1, e] loop([options]) */
static int l_loop(lua_State *L)
{
    static const char *const options[] = {"capacity", "buffer", "context", "virtual", NULL};
    const rotor_clock clock = {0};
    rotor_config config = {0};
    lua_settop(L, 1);
    rotor__lua_check_options(L, 1, options);
    config.capacity = (size_t)rotor__lua_option(L, 1, "capacity", 1, UINT32_MAX - 1);
    config.buffer = (size_t)rotor__lua_option(L, 1, "buffer", 4096, 1 << 30);
    if (rotor__lua_option_bool(L, 1, "virtual"))
        config.clock = &clock;
    rotor__lua_loop *ll = new_loop(L, &config);
    rotor__lua_push_loop(L, ll);
    if (!lua_isnil(L, 1)) {
        lua_getfield(L, 1, "context");
        ll->context = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

static rotor__lua_loop *usual_loop(lua_State *L)
{
    rotor__vm *vm = rotor__lua_vm(L);
    if (vm->usual && vm->usual->loop)
        return vm->usual;
    rotor__lua_loop *ll = new_loop(L, &(rotor_config){0});
    if (vm->usual && vm->usual->loop) /* a finalizer has made one meanwhile */
        rotor__lua_free_loop(ll);
    else
        vm->usual = ll;
    return vm->usual;
}

int rotor__lua_args(lua_State *L)
{
    bool is_method = lua_toboolean(L, lua_upvalueindex(1));
    if (rotor__lua_test(L, 1, &rotor__kind_loop))
        return 2;
    if (is_method)
        luaL_typeerror(L, 1, rotor__kind_loop.name);
    return 1;
}

rotor__lua_loop *rotor__lua_present_loop(lua_State *L)
{
    const rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    if (tasks->running)
        return rotor__task_ll(tasks->running);
    return tasks->candidate ? tasks->candidate->ll : usual_loop(L);
}

rotor__lua_loop *rotor__lua_meant(lua_State *L)
{
    const loop_object *object = rotor__lua_test(L, 1, &rotor__kind_loop);
    rotor__lua_loop *ll = object ? object->ll : rotor__lua_present_loop(L);
    if (!ll->loop)
        luaL_error(L, "the loop is closed");
    return ll;
}

/* The same where there are no arguments. */
static rotor__lua_loop *check_loop(lua_State *L)
{
    (void)rotor__lua_args(L);
    return rotor__lua_meant(L);
}

/* [-0, +1, e] the default loop */
static int l_default(lua_State *L)
{
    rotor__lua_push_loop(L, usual_loop(L));
    return 1;
}

/* -- running ----------------------------------------------------------------------------------- */

static int run(lua_State *L, int (*how)(rotor_loop *))
{
    rotor__lua_loop *ll = check_loop(L);
    if (how(ll->loop))
        return luaL_error(L, "the loop is running already; a transition cannot run it again");
    if (how == rotor_loop_run)
        rotor__tasks_settle(ll);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] */
static int l_run(lua_State *L)
{
    return run(L, rotor_loop_run);
}

/* [-0, +1, e] */
static int l_turn(lua_State *L)
{
    return run(L, rotor_loop_turn);
}

/* [-0, +0, e] */
static int l_stop(lua_State *L)
{
    rotor_loop_stop(check_loop(L)->loop);
    return 0;
}

/* [-0, +1, e] Idempotent. */
static int l_close(lua_State *L)
{
    rotor__lua_loop *ll = ((loop_object *)rotor__lua_check(L, 1, &rotor__kind_loop))->ll;
    rotor__lua_free_loop(ll);
    if (ll->loop)
        return luaL_error(L,
                          "a loop that is running cannot be closed; stop it, and close it after");
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] seconds on the loop's monotonic clock */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)rotor_loop_now(check_loop(L)->loop) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int l_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor_loop_count(check_loop(L)->loop));
    return 1;
}

/* Whether there is something to do without any time passing. */
static bool is_busy(const rotor_loop *loop)
{
    return loop->turning || loop->queue.first || loop->later.first || loop->letters ||
           rotor__mailbox_has_mail(loop->mailbox);
}

/* [-0, +1, e] advance(seconds): have that time pass in a loop made with { virtual = true }, and everything
** done that is due meanwhile, each thing at its time */
static int l_advance(lua_State *L)
{
    rotor__lua_loop *ll = check_loop(L);
    luaL_checknumber(L, 2);
    uint64_t until = rotor__lua_check_deadline(L, 2, ll->loop);
    if (!ll->virtual)
        return luaL_error(L, "only the time of a loop made with { virtual = true } can be moved");
    for (uint64_t next = ll->virtual_ms; next <= until;) {
        ll->virtual_ms = next > ll->virtual_ms ? next : ll->virtual_ms;
        do
            if (rotor_loop_turn(ll->loop))
                return luaL_error(L, "the loop is running already; a transition cannot advance it");
        while (is_busy(ll->loop));
        next = rotor_wheel_next(&ll->loop->wheel);
    }
    ll->virtual_ms = until;
    return run(L, rotor_loop_turn);
}

/* [-0, +0, e] on_error(function(message) … end), or nil: print it */
static int l_on_error(lua_State *L)
{
    int a = rotor__lua_args(L);
    if (!lua_isnil(L, a))
        luaL_checktype(L, a, LUA_TFUNCTION);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_settop(L, a);
    unref(ll, &ll->on_error);
    if (!lua_isnil(L, a))
        ll->on_error = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* -- the object -------------------------------------------------------------------------------- */

/* [-0, +1, e] loop.context, or a method */
static int loop_index(lua_State *L)
{
    loop_object *object = rotor__lua_check(L, 1, &rotor__kind_loop);
    const char *name = luaL_checkstring(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL && strcmp(name, "context") == 0)
        lua_rawgeti(L, LUA_REGISTRYINDEX, object->ll->context);
    return 1;
}

static int loop_eq(lua_State *L)
{
    loop_object *a = rotor__lua_test(L, 1, &rotor__kind_loop);
    loop_object *b = rotor__lua_test(L, 2, &rotor__kind_loop);
    lua_pushboolean(L, a && b && a->ll == b->ll);
    return 1;
}

static int loop_tostring(lua_State *L)
{
    const rotor__lua_loop *ll = ((loop_object *)rotor__lua_check(L, 1, &rotor__kind_loop))->ll;
    if (ll->loop)
        lua_pushfstring(L, "rotor.loop: %p", (void *)ll);
    else
        lua_pushliteral(L, "rotor.loop (closed)");
    return 1;
}

static const luaL_Reg both[] = {{"run", l_run},
                                {"turn", l_turn},
                                {"stop", l_stop},
                                {"now", l_now},
                                {"count", l_count},
                                {"on_error", l_on_error},
                                {"on_signal", rotor__lua_on_signal},
                                {"dump", rotor__lua_dump},
                                {"process", rotor__lua_process},
                                {"watchdog", rotor__lua_watchdog},
                                {"dump_on_signal", rotor__lua_dump_on_signal},
                                {"add", rotor__lua_add},
                                {"listen", rotor__lua_listen},
                                {"connect", rotor__lua_connect},
                                {"persist", rotor__lua_persist},
                                {"udp", rotor__lua_udp},
                                {"future", rotor__lua_future},
                                {"all", rotor__lua_all},
                                {"first", rotor__lua_first},
                                {"serve", rotor__lua_serve},
                                {"client", rotor__lua_client},
                                {"spawn", rotor__lua_spawn},
                                {NULL, NULL}};

static const luaL_Reg functions[] = {{"loop", l_loop}, {"default", l_default}, {NULL, NULL}};

static const luaL_Reg loop_meta[] = {
    {"__close", l_close}, {"__eq", loop_eq}, {"__tostring", loop_tostring}, {NULL, NULL}};

void rotor__lua_open_loop(lua_State *L)
{
    luaL_setfuncs(L, both, 0);
    luaL_setfuncs(L, functions, 0);
    rotor__lua_kind(L, &rotor__kind_loop, NULL, loop_meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_loop);
    luaL_newlibtable(L, both);
    lua_pushboolean(L, 1); /* methods want their loop, or loop.run() would run another */
    luaL_setfuncs(L, both, 1);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "close");
    lua_pushboolean(L, 1);
    lua_pushcclosure(L, l_advance, 1);
    lua_setfield(L, -2, "advance");
    lua_pushcclosure(L, loop_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
