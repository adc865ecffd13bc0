/* Machines written in Lua, and the scope their transitions are given. */
#include <string.h>

#include "lua_private.h"

const rotor__kind rotor__kind_type = {.name = "rotor.machine type"};
const rotor__kind rotor__kind_scope = {.name = "rotor.scope"};

enum { CREATE, READY, SPAWNED, SPAWN_ERROR, TIMEOUT, WAKEUP, CHILD_DONE, DROP };
static const char *const names[] = {"create", "ready",      "spawned", "spawn_error", "timeout",
                                    "wakeup", "child_done", "drop",    NULL};

typedef struct lua_machine {
    rotor_machine machine;
    rotor__lua_loop *ll;
    rotor__lua_class *class;
    int self_ref;
    int value_ref;         /* what it is done with, or its error */
    bool reported;         /* the error has been told */
    rotor__lua_seed spawn; /* of the child it is spawning */
    rotor__lua_io *ios;    /* NULL: none */
} lua_machine;

/* There is one for each loop; what a transition does with it is noted in the loop. */
typedef struct scope_object {
    rotor__object object;
    rotor__lua_loop *ll;
} scope_object;

/* -- calling transitions ----------------------------------------------------------------------- */

typedef struct call {
    lua_machine *m;
    int which;
    rotor_handle handle; /* SPAWNED, CHILD_DONE */
    int ref;             /* CREATE, SPAWN_ERROR: the seed */
    const rotor_io *io;  /* READY */
    unsigned events;     /* READY */
    int error;           /* SPAWN_ERROR, CHILD_DONE */
    const rotor_machine *child;
} call;

static bool is_lua_machine(const rotor_machine *m);

/* [-0, +1 or 3, m] What the child is done with; or nil, its error and the name of that. */
static int push_end(lua_State *D, const rotor_machine *child, int error)
{
    int ref = is_lua_machine(child) ? ((const lua_machine *)child)->value_ref : LUA_NOREF;
    if (error && ref == LUA_NOREF)
        return rotor__lua_fail(D, error);
    if (!is_lua_machine(child)) {
        rotor__lua_push_done(D, child);
        return 1;
    }
    if (error)
        lua_pushnil(D);
    lua_rawgeti(D, LUA_REGISTRYINDEX, ref);
    if (error)
        lua_pushstring(D, rotor_err_name(error));
    return error ? 3 : 1;
}

static int push_arguments(lua_State *D, const call *c)
{
    switch (c->which) {
    case CREATE:
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 1;
    case READY:
        rotor__lua_push_io(D, c->io);
        lua_pushboolean(D, c->events & ROTOR_READABLE);
        lua_pushboolean(D, c->events & ROTOR_WRITABLE);
        return 3;
    case SPAWNED:
        rotor__lua_push_handle(D, c->m->ll, c->handle);
        return 1;
    case SPAWN_ERROR:
        lua_pushstring(D, rotor_err_name(c->error));
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 2;
    case CHILD_DONE:
        rotor__lua_push_handle(D, c->m->ll, c->handle);
        return 1 + push_end(D, c->child, c->error);
    default:
        return 0;
    }
}

static void push_scope(lua_State *L, rotor__lua_loop *ll)
{
    if (ll->scope_object == LUA_NOREF) {
        scope_object *so = rotor__lua_new(L, &rotor__kind_scope, sizeof *so, 0);
        so->ll = ll;
        ll->scope_object = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, ll->scope_object);
}

static int run(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    lua_machine *m = c->m;
    rotor__lua_push_transition(D, m->class, c->which);
    if (c->which == CREATE) {
        rotor__lua_push_self(D, m->class);
        lua_pushvalue(D, -1);
        m->self_ref = luaL_ref(D, LUA_REGISTRYINDEX);
    } else {
        lua_rawgeti(D, LUA_REGISTRYINDEX, m->self_ref);
    }
    if (c->which == DROP) {
        lua_call(D, 1, 0);
        return 0;
    }
    push_scope(D, m->ll);
    m->ll->responses = 0;
    lua_call(D, 2 + push_arguments(D, c), 1);
    if (!rotor__lua_is_token(D, -1, m->ll, m->ll->responses))
        return rotor__lua_no_verdict(D, m->class, c->which,
                                     "what scope:ok, same, spawn, done or error does");
    return 0;
}

static void clear_value(lua_machine *m)
{
    luaL_unref(m->ll->vm->D, LUA_REGISTRYINDEX, m->value_ref);
    m->value_ref = LUA_NOREF;
}

static rotor_response transition(rotor_scope *scope, call *c)
{
    lua_machine *m = c->m;
    rotor__lua_loop *ll = m->ll;
    ll->scope = scope;
    int error = rotor__lua_run(ll, run, c, m->class->type.name, names[c->which]);
    ll->scope = NULL;
    if (error) {
        clear_value(m);
        m->reported = true;
        return rotor_error(error);
    }
    rotor_response r = ll->response;
    if (m->spawn.ref != LUA_NOREF && r.kind != ROTOR_SPAWN)
        rotor__lua_clear_seed(&m->spawn); /* it wants no child after all */
    if (m->value_ref != LUA_NOREF && r.kind != ROTOR_DONE && r.kind != ROTOR_ERROR)
        clear_value(m); /* it has thought better of it */
    return r;
}

/* -- the machine ------------------------------------------------------------------------------- */

static rotor_response on_create(rotor_machine *base, rotor_scope *scope, void *data)
{
    lua_machine *m = (lua_machine *)base;
    rotor__lua_seed *seed = data;
    call c = {.m = m, .which = CREATE, .ref = seed->ref};
    m->ll = seed->ll;
    m->class = seed->class;
    m->self_ref = m->value_ref = m->spawn.ref = LUA_NOREF;
    m->spawn.ll = m->ll;
    seed->class = NULL;
    seed->ref = LUA_NOREF;
    if (seed->passed)
        rotor__lua_free_seed(seed);
    rotor_response r = transition(scope, &c);
    luaL_unref(m->ll->vm->D, LUA_REGISTRYINDEX, c.ref);
    /* Whoever adds or spawns this machine hears a code only. */
    if (r.kind == ROTOR_ERROR && rotor__lua_push_reason(m->ll, base)) {
        rotor__lua_report(m->ll, m->class->type.name, names[CREATE]);
        m->reported = true;
    }
    return r;
}

static rotor_response on_ready(rotor_machine *base, rotor_scope *scope, rotor_io *io,
                               unsigned events)
{
    return transition(
        scope, &(call){.m = (lua_machine *)base, .which = READY, .io = io, .events = events});
}

static rotor_response on_spawned(rotor_machine *base, rotor_scope *scope, rotor_handle child)
{
    lua_machine *m = (lua_machine *)base;
    if (!rotor__lua_has(m->class, SPAWNED))
        return rotor_ok();
    return transition(scope, &(call){.m = m, .which = SPAWNED, .handle = child});
}

static rotor_response on_spawn_error(rotor_machine *base, rotor_scope *scope, int error, void *seed)
{
    lua_machine *m = (lua_machine *)base;
    if (!rotor__lua_has(m->class, SPAWN_ERROR)) {
        if (error ==
            ROTOR_ELUA) { /* told in the child's name, but not what becomes of its parent */
            rotor__lua_report_error(m->ll, m->class->title, error, "of the machine it spawned");
            m->reported = true;
        }
        return rotor_error(error);
    }
    call c = {.m = m, .which = SPAWN_ERROR, .error = error, .ref = m->spawn.ref};
    m->spawn.ref = LUA_NOREF; /* the transition may spawn again */
    rotor__lua_clear_seed(&m->spawn);
    rotor_response r = transition(scope, &c);
    luaL_unref(m->ll->vm->D, LUA_REGISTRYINDEX, c.ref);
    return r;
}

static rotor_response on_timeout(rotor_machine *base, rotor_scope *scope)
{
    lua_machine *m = (lua_machine *)base;
    if (!rotor__lua_has(m->class, TIMEOUT))
        return rotor_error(ROTOR_ETIMEDOUT);
    return transition(scope, &(call){.m = m, .which = TIMEOUT});
}

static rotor_response on_wakeup(rotor_machine *base, rotor_scope *scope)
{
    lua_machine *m = (lua_machine *)base;
    if (!rotor__lua_has(m->class, WAKEUP))
        return rotor_same();
    return transition(scope, &(call){.m = m, .which = WAKEUP});
}

static rotor_response on_child_done(rotor_machine *base, rotor_scope *scope, rotor_machine *child,
                                    int status)
{
    return transition(scope, &(call){.m = (lua_machine *)base,
                                     .which = CHILD_DONE,
                                     .handle = child->self,
                                     .child = child,
                                     .error = status});
}

static void on_drop(rotor_machine *base)
{
    lua_machine *m = (lua_machine *)base;
    lua_State *D = m->ll->vm->D;
    rotor__lua_end_ios(m->ios);
    if (rotor__lua_has(m->class, DROP) && m->self_ref != LUA_NOREF) {
        call c = {.m = m, .which = DROP};
        (void)rotor__lua_run(m->ll, run, &c, m->class->type.name, names[DROP]);
    }
    luaL_unref(D, LUA_REGISTRYINDEX, m->self_ref);
    clear_value(m);
    rotor__lua_clear_seed(&m->spawn);
    rotor__lua_release(m->ll, m->class);
}

static bool is_lua_machine(const rotor_machine *m)
{
    return m->type->drop == on_drop;
}

bool rotor__lua_push_reason(rotor__lua_loop *ll, const rotor_machine *base)
{
    const lua_machine *m = (const lua_machine *)base;
    if (!is_lua_machine(base) || m->reported || m->value_ref == LUA_NOREF)
        return false;
    lua_rawgeti(ll->vm->D, LUA_REGISTRYINDEX, m->value_ref);
    return true;
}

/* -- types ------------------------------------------------------------------------------------- */

/* [-0, +1, e] type(name, transitions) */
static int l_type(lua_State *L)
{
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_type, names);
    class->type = (rotor_type){
        .name = lua_tostring(L, 1),
        .size = sizeof(lua_machine),
        .create = on_create,
        .ready = on_ready,
        .spawned = on_spawned,
        .spawn_error = on_spawn_error,
        .timeout = on_timeout,
        .wakeup = on_wakeup,
        /* Only those who ask keep their children until they have heard of their end. */
        .child_done = rotor__lua_has(class, CHILD_DONE) ? on_child_done : NULL,
        .drop = on_drop,
    };
    return 1;
}

/* [-0, +1 or 3, e] add(type[, seed]) */
int rotor__lua_add(lua_State *L)
{
    rotor_handle handle;
    int a = rotor__lua_args(L);
    rotor__lua_class *class = rotor__lua_check(L, a, &rotor__kind_type);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_settop(L, a + 1);
    rotor__lua_seed *seed = rotor__lua_new_seed(L, ll, a);
    bool later = rotor_loop_busy(ll->loop);
    seed->passed = later;
    int error = seed->error;
    if (!error)
        error = rotor_add(ll->loop, &class->type, seed, &handle);
    if (error || !later)
        rotor__lua_free_seed(seed);
    if (error)
        return rotor__lua_fail(L, error);
    rotor__lua_push_handle(L, ll, handle);
    return 1;
}

/* -- the scope --------------------------------------------------------------------------------- */

static scope_object *check_scope(lua_State *L)
{
    scope_object *so = rotor__lua_check(L, 1, &rotor__kind_scope);
    if (!so->ll->scope)
        luaL_error(L, "a scope is valid during its transition only");
    return so;
}

/* What a transition has to return is a light userdata that only this loop's scope gives. */
static int respond(lua_State *L, scope_object *so, rotor_response r)
{
    so->ll->response = r;
    so->ll->responses++;
    lua_pushlightuserdata(L, rotor__lua_token(so->ll, so->ll->responses));
    return 1;
}

/* [-0, +1, e] ok([seconds]) */
static int scope_ok(lua_State *L)
{
    scope_object *so = check_scope(L);
    return respond(L, so, rotor_ok_until(rotor__lua_check_deadline(L, 2, so->ll->loop)));
}

/* [-0, +1, e] */
static int scope_same(lua_State *L)
{
    return respond(L, check_scope(L), rotor_same());
}

static lua_machine *machine_of(const scope_object *so)
{
    return (lua_machine *)so->ll->scope->machine;
}

/* [-0, +1, e] spawn(type[, seed]) */
static int scope_spawn(lua_State *L)
{
    scope_object *so = check_scope(L);
    rotor__lua_class *class = rotor__lua_check(L, 2, &rotor__kind_type);
    rotor__lua_seed *seed = &machine_of(so)->spawn;
    lua_settop(L, 3);
    rotor__lua_clear_seed(seed);
    lua_pushvalue(L, 3);
    seed->ref = luaL_ref(L, LUA_REGISTRYINDEX); /* also of a loaded one, for spawn_error */
    seed->error = class->exported ? rotor__lua_from_lua(L, class, 3, &seed->made) : 0;
    seed->class = class->exported ? class : rotor__lua_retain(L, 2);
    return respond(L, so, rotor_spawn(so->ll->scope, &class->type, seed));
}

/* [-0, +1 or 3, e] open(file or descriptor) */
static int scope_open(lua_State *L)
{
    scope_object *so = check_scope(L);
    lua_machine *m = machine_of(so);
    if (!rotor__lua_has(m->class, READY))
        luaL_error(L, "%s has no transition ready, which would be told", m->class->title);
    return rotor__lua_open(L, 2, so->ll, &m->machine, &m->ios);
}

static void set_value(lua_State *L, const scope_object *so)
{
    lua_machine *m = machine_of(so);
    lua_settop(L, 2);
    clear_value(m);
    m->value_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [-0, +1, e] done([value]) */
static int scope_done(lua_State *L)
{
    scope_object *so = check_scope(L);
    set_value(L, so);
    return respond(L, so, rotor_done());
}

/* [-0, +1, e] error(value) */
static int scope_error(lua_State *L)
{
    scope_object *so = check_scope(L);
    luaL_checkany(L, 2);
    set_value(L, so);
    return respond(L, so, rotor_error(ROTOR_ELUA));
}

/* [-0, +1, e] */
static int scope_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)rotor_now(check_scope(L)->ll->scope) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int scope_handle(lua_State *L)
{
    scope_object *so = check_scope(L);
    rotor__lua_push_handle(L, so->ll, so->ll->scope->machine->self);
    return 1;
}

/* [-0, +1, e] */
static int scope_notifier(lua_State *L)
{
    scope_object *so = check_scope(L);
    rotor__lua_push_notifier(L, so->ll, so->ll->scope->machine->self);
    return 1;
}

/* [-0, +1, e] scope.context, scope.loop, or a method */
static int scope_index(lua_State *L)
{
    scope_object *so = rotor__lua_check(L, 1, &rotor__kind_scope);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL || lua_type(L, 2) != LUA_TSTRING)
        return 1;
    const char *name = lua_tostring(L, 2);
    if (strcmp(name, "context") == 0)
        lua_rawgeti(L, LUA_REGISTRYINDEX, so->ll->context);
    else if (strcmp(name, "loop") == 0)
        rotor__lua_push_loop(L, so->ll);
    return 1;
}

static const luaL_Reg scope_methods[] = {
    {"ok", scope_ok},     {"same", scope_same},     {"spawn", scope_spawn},
    {"done", scope_done}, {"error", scope_error},   {"now", scope_now},
    {"open", scope_open}, {"handle", scope_handle}, {"notifier", scope_notifier},
    {NULL, NULL}};

static const luaL_Reg type_meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

void rotor__lua_open_machine(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_type, NULL, type_meta);
    rotor__lua_kind(L, &rotor__kind_scope, NULL, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_scope);
    luaL_newlib(L, scope_methods);
    lua_pushcclosure(L, scope_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_type);
    lua_setfield(L, -2, "type");
}
