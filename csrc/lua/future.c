/* Notifiers and futures in Lua. A value on its way is a box with a reference to it; so is an error,
** which in Lua may be any value. */
#include "../core/alloc.h"
#include "lua_private.h"

static const rotor__kind kind_notifier = {"rotor.notifier"};
static const rotor__kind kind_port = {"rotor.port"};
static const rotor__kind kind_future = {"rotor.future"};

/* -- notifiers --------------------------------------------------------------------------------- */

typedef struct notifier_object {
    rotor__object object;
    rotor_notifier *notifier;
} notifier_object;

void rotor__lua_push_notifier(lua_State *L, rotor__lua_loop *ll, rotor_handle machine)
{
    notifier_object *object = rotor__lua_new(L, &kind_notifier, sizeof *object, 0);
    object->notifier = rotor_notifier_new(ll->loop, machine);
    if (!object->notifier)
        luaL_error(L, "not enough memory");
}

/* [-0, +1 or 3, e] */
static int notifier_wakeup(lua_State *L)
{
    notifier_object *object = rotor__lua_check(L, 1, &kind_notifier);
    return rotor__lua_result(L, object->notifier ? rotor_wakeup(object->notifier) : ROTOR_ECLOSED);
}

static int notifier_gc(lua_State *L)
{
    notifier_object *object = lua_touserdata(L, 1);
    rotor_notifier_release(object->notifier);
    object->notifier = NULL;
    return 0;
}

/* -- boxes ------------------------------------------------------------------------------------- */

typedef struct box {
    rotor__vm *vm;
    int ref;
} box;

static void free_box(void *value)
{
    box *b = value;
    luaL_unref(b->vm->D, LUA_REGISTRYINDEX, b->ref);
    rotor_free(b);
}

/* [-1, +0, m] Put the value on top into a box. */
static box *new_box(lua_State *L, rotor__vm *vm)
{
    box *b = rotor_alloc(sizeof *b);
    if (!b)
        luaL_error(L, "not enough memory");
    b->vm = vm;
    b->ref = LUA_NOREF;
    b->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return b;
}

/* [-0, +1 to 3, m] What a resolved future is to Lua: the value; or nil, the error and its name. */
static int push_outcome(lua_State *L, int status, const box *b)
{
    if (status && !b)
        return rotor__lua_fail(L, status);
    if (status)
        lua_pushnil(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, b->ref);
    if (status)
        lua_pushstring(L, rotor_err_name(status));
    return status ? 3 : 1;
}

/* -- ports ------------------------------------------------------------------------------------- */

typedef struct port_object {
    rotor__object object;
    rotor__vm *vm;
    rotor_port *port; /* NULL once it was used */
} port_object;

static int resolve(lua_State *L, int status)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    if (!object->port)
        return luaL_error(L, "the port was used before; it resolves its future once");
    lua_settop(L, 2);
    box *b = new_box(L, object->vm);
    rotor_port *port = object->port;
    object->port = NULL;
    return rotor__lua_result(L, status ? rotor_port_fail_with(port, status, b)
                                       : rotor_port_set(port, b));
}

/* [-0, +1 or 3, e] set(value) */
static int port_set(lua_State *L)
{
    return resolve(L, 0);
}

/* [-0, +1 or 3, e] fail(error) */
static int port_fail(lua_State *L)
{
    luaL_checkany(L, 2);
    return resolve(L, ROTOR_ELUA);
}

/* [-0, +1, e] whether nobody waits for the value any more */
static int port_canceled(lua_State *L)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    lua_pushboolean(L, !object->port || rotor_port_is_canceled(object->port));
    return 1;
}

/* [-0, +0, e] Also when collected: then the future fails with ECANCELED. */
static int port_drop(lua_State *L)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    rotor_port_drop(object->port);
    object->port = NULL;
    return 0;
}

/* -- futures ----------------------------------------------------------------------------------- */

typedef struct future_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_future *future; /* NULL once it was canceled or went into a combinator */
    bool is_list;         /* of rotor.all(): its value is a rotor_values */
} future_object;

static future_object *push_future(lua_State *L, rotor__lua_loop *ll)
{
    future_object *object = rotor__lua_new(L, &kind_future, sizeof *object, 0);
    object->ll = ll;
    return object;
}

static future_object *check_future(lua_State *L, int index)
{
    future_object *object = rotor__lua_check(L, index, &kind_future);
    luaL_argcheck(L, object->future, index, "the future was canceled or went into a combinator");
    return object;
}

/* The future itself, which is the caller's now. */
static rotor_future *take_future(lua_State *L, int index)
{
    future_object *object = check_future(L, index);
    luaL_argcheck(L, object->ll->loop, index, "the future's loop is closed");
    rotor_future *f = object->future;
    object->future = NULL;
    return f;
}

/* [-0, +2, e] future() → port, future */
int rotor__lua_future(lua_State *L)
{
    rotor__lua_loop *ll;
    rotor__lua_args(L, &ll);
    port_object *port = rotor__lua_new(L, &kind_port, sizeof *port, 0);
    future_object *future = push_future(L, ll);
    port->vm = ll->vm;
    if (rotor_future_new(ll->loop, &future->future, &port->port, free_box))
        return luaL_error(L, "not enough memory");
    return 2;
}

/* [-0, +1, m] The values of all(), as a table with its count in `n`. */
static int push_list(lua_State *L, const rotor_values *values)
{
    lua_createtable(L, (int)values->n, 1);
    for (size_t i = 0; i < values->n; i++) {
        push_outcome(L, 0, values->values[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, (lua_Integer)values->n);
    lua_setfield(L, -2, "n");
    return 1;
}

/* [-0, +1 to 3, e] get(): the value, as often as one likes; or nil, message, name: EAGAIN while there is
** none. */
static int future_get(lua_State *L)
{
    future_object *object = check_future(L, 1);
    int status = rotor_future_status(object->future);
    void *value = rotor_future_peek(object->future);
    if (!status && object->is_list)
        return push_list(L, value);
    return push_outcome(L, status, value);
}

/* [-0, +1, e] */
static int future_status(lua_State *L)
{
    int status = rotor_future_status(check_future(L, 1)->future);
    lua_pushstring(L, status == 0 ? "ready" : status == UV_EAGAIN ? "pending" : "failed");
    return 1;
}

/* [-0, +1 or 3, e] watch(handle): have that machine woken when the future is resolved */
static int future_watch(lua_State *L)
{
    future_object *object = check_future(L, 1);
    rotor_handle handle = rotor__lua_to_handle(L, 2);
    return rotor__lua_result(L, rotor_future_watch(object->future, handle));
}

/* [-0, +0, e] Also when collected. */
static int future_cancel(lua_State *L)
{
    future_object *object = rotor__lua_check(L, 1, &kind_future);
    rotor_future *f = object->future;
    object->future = NULL;
    rotor_future_drop(f);
    return 0;
}

/* -- combinators ------------------------------------------------------------------------------- */

/* A function of Lua's that a combinator is to call. It keeps the object of the combined future, so that
** the function runs also when nobody else does: only cancel() withdraws it. */
typedef struct follower {
    rotor__lua_loop *ll;
    int function, object;
    bool is_list; /* the source's value is a rotor_values */
} follower;

static void free_follower(void *context)
{
    follower *f = context;
    lua_State *D = f->ll->vm->D;
    luaL_unref(D, LUA_REGISTRYINDEX, f->function);
    luaL_unref(D, LUA_REGISTRYINDEX, f->object);
    rotor_free(f);
}

typedef struct follower_call {
    follower *follower;
    int status;
    void *value;
    box *result;
    rotor_future *next; /* what the function returned, if that was a future */
} follower_call;

static int run_follower(lua_State *D)
{
    follower_call *c = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->follower->function);
    int n = c->follower->is_list && !c->status ? push_list(D, c->value)
                                               : push_outcome(D, c->status, c->value);
    lua_call(D, n, 1);
    if (rotor__lua_test(D, -1, &kind_future))
        c->next = take_future(D, lua_gettop(D));
    else
        c->result = new_box(D, c->follower->ll->vm);
    return 0;
}

static int box_failure(lua_State *D)
{
    follower_call *c = lua_touserdata(D, 1);
    lua_pushstring(D, "a function given to a future has failed");
    c->result = new_box(D, c->follower->ll->vm);
    return 0;
}

/* Call it; what it throws has then been reported, and is what the future fails with. */
static int call_follower(follower_call *c, const char *method)
{
    rotor__lua_loop *ll = c->follower->ll;
    int error = rotor__lua_run(ll, run_follower, c, "future", method);
    if (c->value) {
        if (c->follower->is_list && !c->status)
            rotor_values_free(c->value);
        else
            free_box(c->value);
    }
    if (error)
        (void)rotor__lua_run(ll, box_failure, c, "future", method);
    return error;
}

static int on_map(void *context, void *value, void **result)
{
    follower_call c = {.follower = context, .value = value};
    int error = call_follower(&c, "map");
    if (c.next) {
        rotor_future_drop(c.next);
        lua_pushstring(c.follower->ll->vm->D, "the function of map returned a future; use and_then");
        rotor__lua_report(c.follower->ll, "future", "map");
        error = ROTOR_ELUA;
    }
    *result = c.result;
    return error;
}

static rotor_future *on_then(void *context, int status, void *value, int *error)
{
    follower_call c = {.follower = context, .status = status, .value = value};
    rotor_port *port;
    rotor_future *f = NULL;
    *error = call_follower(&c, "and_then");
    if (c.next)
        return c.next;
    if (!c.result || rotor_future_new(c.follower->ll->loop, &f, &port, free_box)) {
        if (c.result)
            free_box(c.result);
        *error = *error ? *error : UV_ENOMEM;
        return NULL;
    }
    (void)(*error ? rotor_port_fail_with(port, *error, c.result) : rotor_port_set(port, c.result));
    return f;
}

/* [-0, +1, e] The new future on top, following the future at 1 by the function at 2. */
static int follow(lua_State *L, bool is_map)
{
    future_object *source = check_future(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    future_object *object = push_future(L, source->ll);
    follower *context = rotor_alloc_zero(sizeof *context);
    if (!context)
        return luaL_error(L, "not enough memory");
    context->ll = source->ll;
    context->is_list = source->is_list;
    lua_pushvalue(L, 2);
    context->function = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 3);
    context->object = luaL_ref(L, LUA_REGISTRYINDEX);
    rotor_future *f = take_future(L, 1);
    object->future = is_map ? rotor_future_map(f, on_map, context, free_follower, free_box)
                            : rotor_future_then(f, on_then, context, free_follower, free_box);
    return object->future ? 1 : luaL_error(L, "not enough memory");
}

/* [-0, +1, e] map(function(value) … return other end) */
static int future_map(lua_State *L)
{
    return follow(L, true);
}

/* [-0, +1, e] and_then(function(value, error, name) … return a value or a future end) */
static int future_and_then(lua_State *L)
{
    return follow(L, false);
}

/* [-0, +1, e] timeout(seconds) */
static int future_timeout(lua_State *L)
{
    future_object *source = check_future(L, 1);
    luaL_checknumber(L, 2);
    uint64_t deadline = rotor__lua_check_deadline(L, 2, source->ll->loop);
    future_object *object = push_future(L, source->ll);
    object->is_list = source->is_list;
    object->future = rotor_future_timeout(take_future(L, 1), deadline);
    return object->future ? 1 : luaL_error(L, "not enough memory, or the loop is full");
}

/* [-0, +1, e] all{…} or first{…}, of the futures in the table at the first argument */
static int gather(lua_State *L, bool is_all)
{
    rotor__lua_loop *ll;
    int a = rotor__lua_args(L, &ll);
    luaL_checktype(L, a, LUA_TTABLE);
    lua_Integer n = luaL_len(L, a);
    luaL_argcheck(L, is_all || n > 0, a, "at least one future expected");
    lua_settop(L, a);
    for (lua_Integer i = 1; i <= n; i++) { /* all of them are looked at before any is taken */
        lua_geti(L, a, i);
        future_object *member = rotor__lua_test(L, -1, &kind_future);
        if (!member || !member->future || member->ll != ll || member->is_list)
            return luaL_error(L, "item %I is not an open future of one value of this loop",
                              (LUAI_UACINT)i);
        lua_pop(L, 1);
    }
    future_object *object = push_future(L, ll);
    rotor_future **futures = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *futures, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_geti(L, a, i + 1);
        future_object *member = lua_touserdata(L, -1);
        futures[i] = member->future;
        member->future = NULL;
        lua_pop(L, 1);
        if (!futures[i]) { /* twice in the table */
            for (lua_Integer k = 0; k < i; k++)
                rotor_future_drop(futures[k]);
            return luaL_error(L, "item %I stands in the table before", (LUAI_UACINT)i + 1);
        }
    }
    object->is_list = is_all;
    object->future = is_all ? rotor_future_all(ll->loop, futures, (size_t)n, free_box)
                            : rotor_future_first(ll->loop, futures, (size_t)n, free_box);
    lua_settop(L, a + 1);
    return object->future ? 1 : luaL_error(L, "not enough memory");
}

int rotor__lua_all(lua_State *L)
{
    return gather(L, true);
}

int rotor__lua_first(lua_State *L)
{
    return gather(L, false);
}

static const luaL_Reg notifier_methods[] = {{"wakeup", notifier_wakeup}, {NULL, NULL}};
static const luaL_Reg notifier_meta[] = {
    {"__gc", notifier_gc}, {"__close", notifier_gc}, {NULL, NULL}};

static const luaL_Reg port_methods[] = {{"set", port_set},
                                        {"fail", port_fail},
                                        {"canceled", port_canceled},
                                        {"drop", port_drop},
                                        {NULL, NULL}};
static const luaL_Reg port_meta[] = {{"__gc", port_drop}, {"__close", port_drop}, {NULL, NULL}};

static const luaL_Reg future_methods[] = {{"get", future_get},
                                          {"status", future_status},
                                          {"watch", future_watch},
                                          {"cancel", future_cancel},
                                          {"map", future_map},
                                          {"and_then", future_and_then},
                                          {"timeout", future_timeout},
                                          {NULL, NULL}};
static const luaL_Reg future_meta[] = {
    {"__gc", future_cancel}, {"__close", future_cancel}, {NULL, NULL}};

void rotor__lua_open_future(lua_State *L)
{
    rotor__lua_kind(L, &kind_notifier, notifier_methods, notifier_meta);
    rotor__lua_kind(L, &kind_port, port_methods, port_meta);
    rotor__lua_kind(L, &kind_future, future_methods, future_meta);
}
