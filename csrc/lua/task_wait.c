/* Waiting for time, for a turn, in a queue that programs make locks from, and for futures. */
#include "lua_future.h"
#include "lua_task.h"

/* -- time and turns ---------------------------------------------------------------------------- */

static uint64_t check_until(lua_State *L, int index, const rotor__task *t)
{
    return rotor__lua_check_deadline(L, index, t->machine.loop);
}

static int slept(lua_State *L, int status, lua_KContext context)
{
    (void)rotor__task_completed(L);
    return 0;
}

/* [-0, +0, e] sleep(seconds) */
static int l_sleep(lua_State *L)
{
    luaL_checknumber(L, 1);
    (void)rotor__lua_check_ms(L, 1);
    rotor__task *t = rotor__task_here(L);
    return rotor__task_wait(L, t, NULL, 0, check_until(L, 1, t), 0, slept);
}

/* [-0, +0, e] yield(): others have their turn */
static int l_yield(lua_State *L)
{
    return rotor__task_take_turns(L, rotor__task_here(L), 0);
}

/* [-0, +0, e] check(): unwind now if that is to be */
static int l_check(lua_State *L)
{
    rotor__task *t = rotor__task_here(L);
    if (!rotor__task_is_bounded(t))
        return 0;
    rotor_loop *loop = t->machine.loop; /* whose clock stands still meanwhile */
    uv_update_time(loop->uv);
    rotor__loop_read_clock(loop);
    if (rotor__task_why(t))
        return rotor__task_unwind(L);
    return 0;
}

/* -- queues ------------------------------------------------------------------------------------ */

static int poll_queue(lua_State *L, int index)
{
    return -1;
}

static rotor__waits *queue_of(lua_State *L, int index);

static const rotor__waitable queue_waitables[] = {{"wait", poll_queue, queue_of},
                                                  {NULL, NULL, NULL}};
static const rotor__kind kind_queue = {"rotor.task.queue", queue_waitables};

typedef struct queue_object {
    rotor__object object;
    rotor__waits waits;
} queue_object;

static rotor__waits *queue_of(lua_State *L, int index)
{
    return &((queue_object *)rotor__lua_check(L, index, &kind_queue))->waits;
}

/* [-0, +1, m] queue() */
static int l_queue(lua_State *L)
{
    (void)rotor__lua_new(L, &kind_queue, sizeof(queue_object), 0);
    return 1;
}

static int woken(lua_State *L, int status, lua_KContext context)
{
    return rotor__task_completed(L) ? 1 : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
}

/* [-0, +1 or 3, e] queue:wait([seconds]): what it was woken with */
static int queue_wait(lua_State *L)
{
    rotor__waits *queue = queue_of(L, 1);
    (void)rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__task_here(L);
    return rotor__task_wait(L, t, queue, 0, check_until(L, 2, t), 0, woken);
}

/* [-0, +1, e] queue:wake([value]): wake the first, with true or that; whether there was one */
static int queue_wake(lua_State *L)
{
    rotor__wait *wait = rotor__waits_first(queue_of(L, 1));
    if (wait) {
        lua_settop(L, 2);
        if (lua_isnil(L, 2)) {
            lua_pushboolean(L, 1);
            lua_replace(L, 2);
        }
        lua_xmove(L, rotor__task_thread(wait), 1);
        rotor__task_complete(wait, 1);
    }
    lua_pushboolean(L, wait != NULL);
    return 1;
}

/* [-0, +1, e] queue:hand(): wake the first as the one that holds something from now on: its thread; or nil */
static int queue_hand(lua_State *L)
{
    rotor__wait *wait = rotor__waits_first(queue_of(L, 1));
    if (!wait) {
        lua_pushnil(L);
        return 1;
    }
    rotor__task *t = rotor__task_of(wait);
    t->flags |= ROTOR__TASK_HOLDS;
    lua_pushthread(t->L);
    lua_xmove(t->L, L, 1);
    lua_pushboolean(t->L, 1);
    rotor__task_complete(wait, 1);
    return 1;
}

/* [-0, +1, e] #queue: how many wait */
static int queue_len(lua_State *L)
{
    const rotor__waits *queue = queue_of(L, 1);
    const rotor__link *first = rotor__link_first(&queue->head);
    lua_Integer n = 0;
    for (const rotor__link *link = first; link && link != &queue->head; link = link->next)
        n++;
    lua_pushinteger(L, n);
    return 1;
}

/* -- futures ----------------------------------------------------------------------------------- */

static rotor__lua_future_object *check_future(lua_State *L, int index)
{
    return rotor__lua_check(L, index, &rotor__kind_future);
}

static void on_resolved(rotor_future *f, void *context)
{
    rotor__lua_future_object *object = context;
    object->followed = false;
    f->follow = NULL;
    rotor__task_complete_all(&object->waits);
    (void)rotor_wake(f->loop, f->watcher); /* who has asked by future:watch() */
}

int rotor__lua_poll_future(lua_State *L, int index)
{
    const rotor_future *f = check_future(L, index)->future;
    if (!f)
        return rotor__lua_fail(L, ROTOR_ECANCELED);
    int status = rotor_future_status(f);
    return status == UV_EAGAIN ? -1 : rotor__lua_push_outcome(L, status, rotor_future_peek(f));
}

/* From here on the future is followed until it is resolved or taken, whether somebody waits or not. */
rotor__waits *rotor__lua_future_queue(lua_State *L, int index)
{
    rotor__lua_future_object *object = check_future(L, index);
    if (!object->future) /* a finalizer has canceled it meanwhile */
        luaL_error(L, "the future %s", rotor__lua_future_gone);
    if (!object->followed)
        rotor__future_follow(object->future, on_resolved, object);
    object->followed = true;
    return &object->waits;
}

static int awaited(lua_State *L, int status, lua_KContext context)
{
    rotor__lua_future_object *object = check_future(L, 1);
    bool unwinds;
    if (rotor__task_was_completed(L, &unwinds))
        return rotor__lua_poll_future(L, 1);
    if (!unwinds)
        return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    if (object->asked && !rotor__waits_first(&object->waits))
        rotor_future_drop(rotor__lua_take_future(object));
    return rotor__task_unwind(L);
}

int rotor__lua_future_await(lua_State *L)
{
    rotor__lua_future_object *object = check_future(L, 1);
    (void)rotor__lua_check_ms(L, 2);
    if (!object->future)
        return luaL_error(L, "the future %s", rotor__lua_future_gone);
    rotor__task *t = rotor__task_here(L);
    luaL_argcheck(L, rotor__task_ll(t) == object->ll, 1, "a future of another loop");
    int n = rotor__lua_poll_future(L, 1);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    return rotor__task_wait(L, t, rotor__lua_future_queue(L, 1), 0, check_until(L, 2, t), 0,
                            awaited);
}

/* -- opening ----------------------------------------------------------------------------------- */

static const luaL_Reg queue_methods[] = {
    {"wait", queue_wait}, {"wake", queue_wake}, {"hand", queue_hand}, {NULL, NULL}};
static const luaL_Reg queue_meta[] = {{"__len", queue_len}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"sleep", l_sleep}, {"yield", l_yield}, {"check", l_check}, {"queue", l_queue}, {NULL, NULL}};

void rotor__lua_open_task_wait(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
    rotor__lua_kind(L, &kind_queue, queue_methods, queue_meta);
}
