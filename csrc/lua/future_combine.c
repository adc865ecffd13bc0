/* Futures that follow other futures: map, and_then, timeout, all and first. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_future.h"

/* A future that is to go into a combinator. */
static rotor__lua_future_object *check_source(lua_State *L)
{
    rotor__lua_future_object *object = lua_touserdata(L, 1);
    if (!object->future)
        luaL_error(L, "the future %s", rotor__lua_future_gone);
    if (!object->ll->loop)
        luaL_error(L, "the future's loop is closed");
    if (rotor__lua_is_opening(object))
        luaL_error(L, "the future's value is being looked at");
    return object;
}

/* -- map and and_then -------------------------------------------------------------------------- */

/* A function of Lua's that a combinator is to call. It keeps the object of the combined future, so that
** the function runs also when nobody else does: only cancel() withdraws it. */
typedef struct rotor__lua_follower {
    rotor__lua_loop *ll;
    int function, object;
    struct rotor__lua_follower *next, **link; /* among the loop's; link NULL: not any more */
} follower;

static void withdraw(follower *f)
{
    if (!f->link)
        return;
    *f->link = f->next;
    if (f->next)
        f->next->link = f->link;
    f->link = NULL;
}

static void let_go(follower *f)
{
    lua_State *D = f->ll->vm->D;
    withdraw(f);
    luaL_unref(D, LUA_REGISTRYINDEX, f->function);
    luaL_unref(D, LUA_REGISTRYINDEX, f->object);
    f->function = f->object = LUA_NOREF;
}

void rotor__lua_drop_followers(rotor__lua_loop *ll)
{
    while (ll->followers)
        let_go(ll->followers);
}

static void free_follower(void *context)
{
    let_go(context);
    rotor_free(context);
}

typedef struct follower_call {
    follower *follower;
    int status;
    rotor__lua_box *value;
    rotor__lua_box *result;
    rotor_future *next; /* what the function returned, if that was a future */
} follower_call;

static int run_map(lua_State *D)
{
    follower_call *c = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->follower->function);
    lua_call(D, rotor__lua_push_outcome(D, 0, c->value), 1);
    if (rotor__lua_test(D, -1, &rotor__kind_future))
        return luaL_error(D, "the function of map returned a future; use and_then");
    c->result = rotor__lua_new_box(D, c->follower->ll->vm);
    return 0;
}

static int run_then(lua_State *D)
{
    follower_call *c = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->follower->function);
    lua_call(D, rotor__lua_push_outcome(D, c->status, c->value), 1);
    rotor__lua_future_object *next = rotor__lua_test(D, -1, &rotor__kind_future);
    if (!next) {
        c->result = rotor__lua_new_box(D, c->follower->ll->vm);
        return 0;
    }
    if (!next->future || next->ll != c->follower->ll)
        return luaL_error(D, "the function of and_then returned a future that %s",
                          next->future ? "is of another loop" : rotor__lua_future_gone);
    c->next = rotor__lua_take_future(next);
    return 0;
}

/* [call, error] The message alone is what the future fails with. */
static int box_failure(lua_State *D)
{
    follower_call *c = lua_touserdata(D, 1);
    const char *message = luaL_tolstring(D, 2, NULL);
    const char *trace = strstr(message, "\nstack traceback:");
    if (trace)
        lua_pushlstring(D, message, (size_t)(trace - message));
    c->result = rotor__lua_new_box(D, c->follower->ll->vm);
    return 0;
}

/* Call it; what it throws is reported, and is what the future fails with. */
static int call_follower(follower_call *c, lua_CFunction fn, const char *method)
{
    rotor__lua_loop *ll = c->follower->ll;
    lua_State *D = ll->vm->D;
    rotor__lua_push_handler(D);
    lua_pushcfunction(D, fn);
    lua_pushlightuserdata(D, c);
    int error = lua_pcall(D, 1, 0, -3) ? ROTOR_ELUA : 0;
    if (c->value)
        rotor__lua_free_box(c->value);
    if (error) {
        lua_pushvalue(D, -1);
        rotor__lua_report(ll, "future", method);
        lua_pushcfunction(D, box_failure);
        lua_insert(D, -2);
        lua_pushlightuserdata(D, c);
        lua_insert(D, -2);
        if (lua_pcall(D, 2, 0, 0)) /* no memory for more than the code */
            lua_pop(D, 1);
    }
    lua_pop(D, 1);
    return error;
}

static int on_map(void *context, void *value, void **result)
{
    follower_call c = {.follower = context, .value = value};
    int error = call_follower(&c, run_map, "map");
    *result = c.result;
    return error;
}

static rotor_future *on_then(void *context, int status, void *value, int *error)
{
    follower_call c = {.follower = context, .status = status, .value = value};
    rotor_port *port;
    rotor_future *f = NULL;
    *error = call_follower(&c, run_then, "and_then");
    if (c.next || !c.result)
        return c.next;
    if (rotor_future_new(c.follower->ll->loop, &f, &port, rotor__lua_free_box)) {
        rotor__lua_free_box(c.result);
        *error = *error ? *error : UV_ENOMEM;
        return NULL;
    }
    (void)(*error ? rotor_port_fail_with(port, *error, c.result) : rotor_port_set(port, c.result));
    return f;
}

/* [-0, +1, e] The new future on top, following the future at 1 by the function at 2. */
static int follow(lua_State *L, bool is_map)
{
    (void)rotor__lua_check(L, 1, &rotor__kind_future);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    rotor__lua_future_object *source = check_source(L);
    lua_settop(L, 2);
    rotor__lua_loop *ll = source->ll;
    rotor__lua_future_object *object = rotor__lua_push_future(L, ll);
    (void)check_source(L); /* again, as finalizers may have run; now none do any more */
    lua_pushvalue(L, -1);
    int object_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 2);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    follower *f = rotor_alloc(sizeof *f);
    if (!f) {
        luaL_unref(L, LUA_REGISTRYINDEX, object_ref);
        luaL_unref(L, LUA_REGISTRYINDEX, function);
        return luaL_error(L, "not enough memory");
    }
    *f = (follower){ll, function, object_ref, ll->followers, &ll->followers};
    if (f->next)
        f->next->link = &f->next;
    ll->followers = f;
    rotor_future *from = rotor__lua_take_future(source);
    object->future = is_map
                         ? rotor_future_map(from, on_map, f, free_follower, rotor__lua_free_box)
                         : rotor_future_then(from, on_then, f, free_follower, rotor__lua_free_box);
    return object->future ? 1 : luaL_error(L, "not enough memory");
}

/* [-0, +1, e] map(function(value) … return other end) */
int rotor__lua_future_map(lua_State *L)
{
    return follow(L, true);
}

/* [-0, +1, e] and_then(function(value, error, name) … return a value or a future end) */
int rotor__lua_future_and_then(lua_State *L)
{
    return follow(L, false);
}

/* -- timeout, all and first -------------------------------------------------------------------- */

/* [-0, +1 or 3, e] timeout(seconds) */
int rotor__lua_future_timeout(lua_State *L)
{
    (void)rotor__lua_check(L, 1, &rotor__kind_future);
    luaL_checknumber(L, 2);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__lua_future_object *source = check_source(L);
    uint64_t deadline = ms == ROTOR_NEVER ? ms : rotor_loop_now(source->ll->loop) + ms;
    rotor__lua_future_object *object = rotor__lua_push_future(L, source->ll);
    (void)check_source(L); /* again, as finalizers may have run */
    object->future = rotor_future_timeout(rotor__lua_take_future(source), deadline);
    if (object->future)
        return 1;
    if (rotor_loop_count(object->ll->loop) >= rotor_loop_capacity(object->ll->loop))
        return rotor__lua_fail(L, ROTOR_ECAPACITY);
    return luaL_error(L, "not enough memory");
}

/* The values of all() on their way to a table. */
typedef struct list_call {
    rotor__lua_loop *ll;
    rotor_values *values;
    rotor__lua_box *result;
} list_call;

static int make_list(lua_State *D)
{
    list_call *c = lua_touserdata(D, 1);
    const rotor_values *values = c->values;
    lua_createtable(D, (int)values->n, 1);
    for (size_t i = 0; i < values->n; i++) {
        rotor__lua_push_outcome(D, 0, values->values[i]);
        lua_rawseti(D, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(D, (lua_Integer)values->n);
    lua_setfield(D, -2, "n");
    c->result = rotor__lua_new_box(D, c->ll->vm);
    return 0;
}

static int on_all(void *context, void *values, void **result)
{
    list_call c = {.ll = context, .values = values};
    int error = rotor__lua_run(c.ll, make_list, &c, "future", "all");
    rotor_values_free(values);
    *result = c.result;
    return error;
}

static rotor_future *all_of(rotor__lua_loop *ll, rotor_future **futures, size_t n)
{
    rotor_future *f = rotor_future_all(ll->loop, futures, n, rotor__lua_free_box);
    return f ? rotor_future_map(f, on_all, ll, NULL, rotor__lua_free_box) : NULL;
}

/* Why a member of the table cannot be waited for, or NULL. */
static const char *refuse(const rotor__lua_future_object *item, const rotor__lua_loop *ll)
{
    if (!item)
        return "is not a future";
    if (rotor__lua_is_opening(item))
        return "is a future whose value is being looked at";
    if (!item->future)
        return "was canceled, was sent, went into a combinator, or stands in the table twice";
    return item->ll == ll ? NULL : "is a future of another loop";
}

/* [-0, +1, e] all{…} or first{…}, of the futures in the table at the first argument */
static int gather(lua_State *L, bool is_all)
{
    int a = rotor__lua_args(L);
    luaL_checktype(L, a, LUA_TTABLE);
    size_t n = lua_rawlen(L, a);
    luaL_argcheck(L, is_all || n > 0, a, "at least one future expected");
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_settop(L, a);
    rotor__lua_future_object *object = rotor__lua_push_future(L, ll);
    rotor_future **futures = lua_newuserdatauv(L, (n + 1) * sizeof *futures, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, a, (lua_Integer)i + 1);
        rotor__lua_future_object *item = rotor__lua_test(L, -1, &rotor__kind_future);
        const char *wrong = refuse(item, ll);
        if (wrong) {
            lua_pushfstring(L, "item %I %s", (LUAI_UACINT)i + 1, wrong);
            while (i-- > 0) { /* all of them, or none */
                lua_rawgeti(L, a, (lua_Integer)i + 1);
                ((rotor__lua_future_object *)lua_touserdata(L, -1))->future = futures[i];
                lua_pop(L, 1);
            }
            return luaL_argerror(L, a, lua_tostring(L, -1));
        }
        futures[i] = rotor__lua_take_future(item);
        lua_pop(L, 1);
    }
    object->future = is_all ? all_of(ll, futures, n)
                            : rotor_future_first(ll->loop, futures, n, rotor__lua_free_box);
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
