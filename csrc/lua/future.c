/* Notifiers, ports and futures in Lua. */
#include <stdatomic.h>

#include "../core/alloc.h"
#include "lua_future.h"

static const rotor__kind kind_notifier = {.name = "rotor.notifier"};
static const rotor__kind kind_port = {.name = "rotor.port"};
static const rotor__waitable future_waitables[] = {
    {"await", rotor__lua_poll_future, rotor__lua_future_queue}, {NULL, NULL, NULL}};
const rotor__kind rotor__kind_future = {"rotor.future", future_waitables};

/* -- notifiers --------------------------------------------------------------------------------- */

typedef struct notifier_object {
    rotor__object object;
    rotor_notifier *notifier;
} notifier_object;

void rotor__lua_push_notifier(lua_State *L, rotor__lua_loop *ll, rotor_handle machine)
{
    rotor__lua_check_not_closing(L, ll->vm);
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

static void *take_notifier(lua_State *L, void *object)
{
    rotor_notifier *n = ((notifier_object *)object)->notifier;
    if (!n)
        luaL_error(L, "the notifier was closed");
    return rotor_notifier_copy(n);
}

static void release_notifier(void *notifier)
{
    rotor_notifier_release(notifier);
}

static void push_notifier(lua_State *L, void *notifier)
{
    notifier_object *object = rotor__lua_new(L, &kind_notifier, sizeof *object, 0);
    object->notifier = rotor_notifier_copy(notifier);
}

const rotor__passage rotor__passage_notifier = {.kind = &kind_notifier,
                                                .take = take_notifier,
                                                .release = release_notifier,
                                                .push = push_notifier};

static int notifier_gc(lua_State *L)
{
    notifier_object *object = rotor__lua_check(L, 1, &kind_notifier);
    rotor_notifier_release(object->notifier);
    object->notifier = NULL;
    return 0;
}

/* -- boxes ------------------------------------------------------------------------------------- */

void rotor__lua_free_box(void *value)
{
    rotor__lua_box *b = value;
    b->freed = b->opening;
    if (b->freed)
        return;
    if (b->vm)
        luaL_unref(b->vm->D, LUA_REGISTRYINDEX, b->ref);
    rotor__parcel_free(b->parcel);
    rotor_free(b);
}

rotor__lua_box *rotor__lua_new_box(lua_State *L, rotor__vm *vm)
{
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    rotor__lua_box *b = rotor_alloc(sizeof *b);
    if (!b) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        luaL_error(L, "not enough memory");
    }
    *b = (rotor__lua_box){.vm = vm, .ref = ref};
    return b;
}

rotor__lua_box *rotor__lua_box_parcel(rotor__parcel *parcel, bool named)
{
    rotor__lua_box *b = rotor_alloc(sizeof *b);
    if (b)
        *b = (rotor__lua_box){.ref = LUA_NOREF, .named = named, .parcel = parcel};
    return b;
}

/* [-0, +1, m] The value, which is of this state from now on, and the same one for whoever looks. Finalizers may look
** meanwhile, or free the box. */
static void open_box(lua_State *L, rotor__lua_box *b)
{
    luaL_checkstack(L, 3, "not enough memory");
    lua_pushboolean(L, 0); /* in its place */
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    b->opening = true;
    int status = rotor__try_unpack(L, b->parcel);
    b->opening = false;
    if (status == LUA_OK) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, LUA_REGISTRYINDEX, ref);
        rotor__parcel_free(b->parcel);
        b->parcel = NULL;
        b->vm = rotor__lua_vm(L);
        b->ref = ref;
    } else {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
    }
    if (b->freed)
        rotor__lua_free_box(b);
    if (status != LUA_OK)
        lua_error(L);
}

int rotor__lua_push_outcome(lua_State *L, int status, rotor__lua_box *b)
{
    if (status && !b)
        return rotor__lua_fail(L, status);
    if (b->opening)
        return rotor__lua_fail(L, UV_EAGAIN);
    bool named = b->named;
    if (status)
        lua_pushnil(L);
    if (b->parcel)
        open_box(L, b);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, b->ref);
    if (!status)
        return 1;
    if (named) {
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        lua_remove(L, -3);
    } else {
        lua_pushstring(L, rotor_err_name(status));
    }
    return 3;
}

/* -- ports ------------------------------------------------------------------------------------- */

/* A port that has travelled: whoever has an object of it, in whatever thread, has a reference. */
typedef struct shared_port {
    atomic_uint refs;
    uv_mutex_t lock;
    rotor_port *port; /* NULL once it was used */
} shared_port;

typedef struct port_object {
    rotor__object object;
    rotor__lua_loop *ll; /* NULL: it has come from another state */
    rotor_port *port;    /* NULL once it was used, or is shared */
    shared_port *shared;
} port_object;

static void release_port(void *data)
{
    shared_port *shared = data;
    if (!shared || atomic_fetch_sub(&shared->refs, 1) > 1)
        return;
    rotor_port_drop(shared->port);
    uv_mutex_destroy(&shared->lock);
    rotor_free(shared);
}

/* The port itself, which is the caller's then; NULL when it was used before. */
static rotor_port *use_port(port_object *object)
{
    shared_port *shared = object->shared;
    if (shared)
        uv_mutex_lock(&shared->lock);
    rotor_port **where = shared ? &shared->port : &object->port, *port = *where;
    *where = NULL;
    if (shared)
        uv_mutex_unlock(&shared->lock);
    return port;
}

static bool was_used(const port_object *object)
{
    shared_port *shared = object->shared;
    if (!shared)
        return !object->port;
    uv_mutex_lock(&shared->lock);
    bool used = !shared->port;
    uv_mutex_unlock(&shared->lock);
    return used;
}

static int throw_used(lua_State *L)
{
    return luaL_error(L, "the port was used before; it resolves its future once");
}

static const char *refuse_port(const void *object, rotor__way way)
{
    return was_used(object) ? "is a port that was used before" : NULL;
}

static void *take_port(lua_State *L, void *data)
{
    port_object *object = data;
    if (!object->shared) {
        shared_port *shared = rotor_alloc(sizeof *shared);
        if (!shared || uv_mutex_init(&shared->lock)) {
            rotor_free(shared);
            luaL_error(L, "not enough memory");
        }
        atomic_init(&shared->refs, 1);
        shared->port = object->port;
        object->port = NULL;
        object->shared = shared;
    }
    atomic_fetch_add(&object->shared->refs, 1);
    return object->shared;
}

static void push_port(lua_State *L, void *data)
{
    port_object *object = rotor__lua_new(L, &kind_port, sizeof *object, 0);
    object->shared = data;
    atomic_fetch_add(&object->shared->refs, 1);
}

const rotor__passage rotor__passage_port = {.kind = &kind_port,
                                            .refusal = refuse_port,
                                            .take = take_port,
                                            .release = release_port,
                                            .push = push_port};

/* [-0, +0, e] The value at `index` in a box. */
static rotor__lua_box *box_value(lua_State *L, const port_object *object, int index,
                                 const char *name)
{
    rotor__lua_box *b;
    if (object->ll) {
        lua_pushvalue(L, index);
        return rotor__lua_new_box(L, object->ll->vm);
    }
    rotor__parcel *parcel = rotor__pack(L, index, name, ROTOR__TO_ONE);
    b = rotor__lua_box_parcel(parcel, false);
    if (!b) {
        rotor__parcel_return(parcel);
        luaL_error(L, "not enough memory");
    }
    return b;
}

static int resolve(lua_State *L, int status)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    if (was_used(object))
        return throw_used(L);
    lua_settop(L, 3);
    bool named = status && !lua_isnil(L, 3);
    if (named) {
        lua_createtable(L, 2, 0);
        lua_insert(L, 2);
        lua_rawseti(L, 2, 2);
        lua_rawseti(L, 2, 1);
    }
    lua_settop(L, 2);
    rotor__lua_box *b = box_value(L, object, 2, status ? "error" : "value");
    b->named = named;
    rotor_port *port = use_port(object); /* NULL: another thread has used it, a moment ago */
    int error = port ? rotor__port_resolve(port, status, b) : ROTOR_ESTATE;
    if (error) {
        if (b->parcel)
            rotor__parcel_return(b->parcel);
        b->parcel = NULL;
        rotor__lua_free_box(b);
    }
    return port ? rotor__lua_result(L, error) : throw_used(L);
}

/* [-0, +1 or 3, e] set(value) */
static int port_set(lua_State *L)
{
    return resolve(L, 0);
}

/* [-0, +1 or 3, e] fail(error[, name]) */
static int port_fail(lua_State *L)
{
    luaL_checkany(L, 2);
    luaL_optstring(L, 3, NULL);
    return resolve(L, ROTOR_ELUA);
}

/* [-0, +1, e] whether nobody waits for the value any more */
static int port_canceled(lua_State *L)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    shared_port *shared = object->shared;
    if (shared)
        uv_mutex_lock(&shared->lock);
    const rotor_port *port = shared ? shared->port : object->port;
    bool canceled = !port || rotor_port_is_canceled(port);
    if (shared)
        uv_mutex_unlock(&shared->lock);
    lua_pushboolean(L, canceled);
    return 1;
}

/* [-0, +1 or 3, e] watch(handle): have that machine woken when nobody waits any more */
static int port_watch(lua_State *L)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    if (!object->ll)
        return luaL_error(L, "the port has come from another thread; only there it can be watched");
    rotor_handle handle = rotor__lua_check_handle(L, 2, object->ll);
    shared_port *shared = object->shared;
    if (shared)
        uv_mutex_lock(&shared->lock);
    rotor_port *port = shared ? shared->port : object->port;
    int error = port ? rotor_port_watch(port, handle) : 0;
    if (shared)
        uv_mutex_unlock(&shared->lock);
    return port ? rotor__lua_result(L, error) : throw_used(L);
}

/* [-0, +0, e] The future fails with ECANCELED. */
static int port_drop(lua_State *L)
{
    rotor_port_drop(use_port(rotor__lua_check(L, 1, &kind_port)));
    return 0;
}

/* [-0, +0, e] So it does when this was the only object of it. */
static int port_gc(lua_State *L)
{
    port_object *object = rotor__lua_check(L, 1, &kind_port);
    shared_port *shared = object->shared;
    rotor_port_drop(object->port);
    object->port = NULL;
    object->shared = NULL;
    release_port(shared);
    return 0;
}

/* -- futures ----------------------------------------------------------------------------------- */

const char rotor__lua_future_gone[] = "was canceled, was sent or went into a combinator";

rotor__lua_future_object *rotor__lua_push_future(lua_State *L, rotor__lua_loop *ll)
{
    rotor__lua_check_not_closing(L, ll->vm);
    rotor__lua_future_object *object = rotor__lua_new(L, &rotor__kind_future, sizeof *object, 0);
    object->ll = ll;
    if (!ll->loop) /* a finalizer has closed it meanwhile */
        luaL_error(L, "the loop is closed");
    return object;
}

bool rotor__lua_is_opening(const rotor__lua_future_object *object)
{
    const rotor__lua_box *b = object->future ? rotor_future_peek(object->future) : NULL;
    return b && b->opening;
}

rotor_future *rotor__lua_take_future(rotor__lua_future_object *object)
{
    rotor_future *f = object->future;
    object->future = NULL;
    if (object->followed && f)
        f->follow = NULL;
    object->followed = false;
    rotor__task_complete_all(&object->waits);
    return f;
}

static rotor__lua_future_object *check_future(lua_State *L, int index)
{
    rotor__lua_future_object *object = rotor__lua_check(L, index, &rotor__kind_future);
    if (!object->future)
        luaL_error(L, "the future %s", rotor__lua_future_gone);
    return object;
}

/* [-0, +2, e] future() → port, future */
int rotor__lua_future(lua_State *L)
{
    (void)rotor__lua_args(L);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    rotor__lua_check_not_closing(L, ll->vm);
    port_object *port = rotor__lua_new(L, &kind_port, sizeof *port, 0);
    rotor__lua_future_object *future = rotor__lua_push_future(L, ll);
    port->ll = ll;
    if (rotor_future_new(ll->loop, &future->future, &port->port, rotor__lua_free_box))
        return luaL_error(L, "not enough memory");
    return 2;
}

/* [-0, +1 to 3, e] get(): the value, as often as one likes; or nil, message, name: EAGAIN while there is
** none. */
static int future_get(lua_State *L)
{
    const rotor_future *f = check_future(L, 1)->future;
    int status = rotor_future_status(f);
    if (status == UV_EAGAIN) {
        lua_pushnil(L);
        lua_pushliteral(L, "EAGAIN: the future is not resolved yet");
        lua_pushliteral(L, "EAGAIN");
        return 3;
    }
    return rotor__lua_push_outcome(L, status, rotor_future_peek(f));
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
    rotor__lua_future_object *object = check_future(L, 1);
    rotor_handle handle = rotor__lua_check_handle(L, 2, object->ll);
    return rotor__lua_result(L, rotor_future_watch(object->future, handle));
}

/* [-0, +0, e] Also when collected. */
static int future_cancel(lua_State *L)
{
    rotor__lua_future_object *object = rotor__lua_check(L, 1, &rotor__kind_future);
    rotor_future_drop(rotor__lua_take_future(object));
    return 0;
}

static const luaL_Reg notifier_methods[] = {{"wakeup", notifier_wakeup}, {NULL, NULL}};
static const luaL_Reg notifier_meta[] = {
    {"__gc", notifier_gc}, {"__close", notifier_gc}, {NULL, NULL}};

static const luaL_Reg port_methods[] = {{"set", port_set},           {"fail", port_fail},
                                        {"canceled", port_canceled}, {"watch", port_watch},
                                        {"drop", port_drop},         {NULL, NULL}};
static const luaL_Reg port_meta[] = {{"__gc", port_gc}, {"__close", port_gc}, {NULL, NULL}};

static const luaL_Reg future_methods[] = {{"get", future_get},
                                          {"status", future_status},
                                          {"watch", future_watch},
                                          {"cancel", future_cancel},
                                          {"await", rotor__lua_future_await},
                                          {"map", rotor__lua_future_map},
                                          {"and_then", rotor__lua_future_and_then},
                                          {"timeout", rotor__lua_future_timeout},
                                          {NULL, NULL}};
static const luaL_Reg future_meta[] = {
    {"__gc", future_cancel}, {"__close", future_cancel}, {NULL, NULL}};

void rotor__lua_open_future(lua_State *L)
{
    rotor__lua_kind(L, &kind_notifier, notifier_methods, notifier_meta);
    rotor__lua_kind(L, &kind_port, port_methods, port_meta);
    rotor__lua_kind(L, &rotor__kind_future, future_methods, future_meta);
}
