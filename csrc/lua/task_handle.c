/* Tasks as Lua holds them: spawning, and handles, by which they are joined and canceled. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_task.h"

static int poll_join(lua_State *L, int index);
static rotor__waits *join_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {{"join", poll_join, join_queue}, {NULL, NULL, NULL}};
const rotor__kind rotor__kind_task = {"rotor.task", waitables};

enum { MAX_ARGUMENTS = 200 };

/* What a handle stands for: one of any number for a task, each of which is told of the end. Not in Lua's
** memory, as Lua drops a handle without calling its finalizer if there is no memory to call it: then this
** stays until the Lua state closes. */
typedef struct rotor__task_object {
    rotor__link link; /* among all of the Lua state; first */
    rotor__lua_loop *ll;
    rotor__task *task;               /* NULL once it has ended and this was told */
    struct rotor__task_object *next; /* of the same task */
    rotor_handle id;                 /* to compare */
    rotor__waits joiners;
    int status;
    int results;  /* how many; more than one are in a table */
    int ref;      /* to the result or results, or the error as text */
    int name;     /* reference to the name it ended with */
    bool dropped; /* it was collected while it is told of the end */
} handle_object;

typedef struct proxy {
    rotor__object object;
    handle_object *handle;
} proxy;

static handle_object *check_handle(lua_State *L, int index)
{
    const proxy *p = rotor__lua_check(L, index, &rotor__kind_task);
    rotor__lua_check_not_closing(L, rotor__lua_vm(L)); /* or there may be none any more */
    return p->handle;
}

/* -- the end ----------------------------------------------------------------------------------- */

void rotor__task_leave_handles(rotor__task *t)
{
    for (handle_object *h = t->handles, *next; h; h = next) {
        next = h->next;
        h->task = NULL;
        h->next = NULL;
    }
    t->handles = NULL;
}

static void discard(lua_State *L, handle_object *h)
{
    luaL_unref(L, LUA_REGISTRYINDEX, h->ref);
    luaL_unref(L, LUA_REGISTRYINDEX, h->name);
    rotor__link_remove(&h->link);
    rotor_free(h);
}

typedef struct result {
    rotor__task *task;
    handle_object *handle;
    int n;
    bool failed;
} result;

/* [result, text if it failed] */
static int keep_result(lua_State *D)
{
    const result *r = lua_touserdata(D, 1);
    lua_State *thread = r->task->L;
    handle_object *h = r->handle;
    rotor__task_push_name(D, r->task);
    h->name = lua_isnil(D, -1) ? (lua_pop(D, 1), LUA_NOREF) : luaL_ref(D, LUA_REGISTRYINDEX);
    if (r->failed) {
        h->ref = luaL_ref(D, LUA_REGISTRYINDEX);
        return 0;
    }
    if (r->n == 1) {
        lua_pushvalue(thread, -1);
        lua_xmove(thread, D, 1);
    } else {
        lua_createtable(D, r->n, 0);
        for (int i = 0; i < r->n; i++) {
            lua_pushvalue(thread, i - r->n);
            lua_xmove(thread, D, 1);
            lua_rawseti(D, -2, i + 1);
        }
    }
    h->ref = luaL_ref(D, LUA_REGISTRYINDEX);
    h->results = r->n;
    return 0;
}

static void keep(handle_object *h, rotor__task *t, int status, int n)
{
    lua_State *D = h->ll->vm->D;
    result r = {t, h, n, status == ROTOR_ELUA};
    h->status = status;
    h->results = 0;
    if (!r.failed && (status || n == 0) && t->extra == LUA_NOREF)
        return;
    if (status && !r.failed)
        r.n = 0;
    rotor__lua_push_handler(D);
    lua_pushcfunction(D, keep_result);
    lua_pushlightuserdata(D, &r);
    if (r.failed)
        lua_pushvalue(D, -4);
    if (rotor__lua_protect(h->ll, r.failed ? 2 : 1, "task", "result"))
        h->status = UV_ENOMEM;
}

bool rotor__task_tell_handles(rotor__task *t, int status, int n)
{
    bool failed = status == ROTOR_ELUA, told = false;
    t->flags |= ROTOR__TASK_TELLS; /* meanwhile none of them goes */
    for (handle_object *h = t->handles; h; h = h->next)
        told |= rotor__waits_first(&h->joiners) != NULL;
    for (handle_object *h = t->handles; h; h = h->next)
        keep(h, t, status, n);
    for (handle_object *h = t->handles; h; h = h->next)
        rotor__task_complete_all(&h->joiners);
    t->flags &= (uint8_t)~ROTOR__TASK_TELLS;
    for (handle_object **link = &t->handles, *h; (h = *link);) {
        if (h->dropped) {
            *link = h->next;
            discard(rotor__task_ll(t)->vm->D, h);
        } else {
            link = &h->next;
        }
    }
    if (!failed || told)
        rotor__task_leave_handles(t);
    return told;
}

/* Of a failure that was kept: whoever holds this has been told now. */
static void be_told(handle_object *h)
{
    rotor__task *t = h->task;
    if (!t || t->state != ROTOR__TASK_FAILED)
        return;
    luaL_unref(h->ll->vm->D, LUA_REGISTRYINDEX, t->ref);
    t->ref = LUA_NOREF;
    t->state = ROTOR__TASK_ENDED;
    (void)rotor_end(t->machine.loop, t->machine.self, 0);
    rotor__task_leave_handles(t);
}

static bool has_ended(const handle_object *h)
{
    return !h->task || h->task->state >= ROTOR__TASK_ENDED;
}

/* -- spawning ---------------------------------------------------------------------------------- */

/* [-0, +1, m] */
static handle_object *push_object(lua_State *L, rotor__lua_loop *ll)
{
    rotor__lua_check_not_closing(L, ll->vm);
    proxy *p = rotor__lua_new(L, &rotor__kind_task, sizeof *p, 0);
    handle_object *h = p->handle = rotor_alloc_zero(sizeof *h);
    if (!h)
        luaL_error(L, "not enough memory");
    rotor__link_add(&ll->vm->tasks->handles, &h->link);
    h->ll = ll;
    h->ref = h->name = LUA_NOREF;
    return h;
}

static void attach(handle_object *h, rotor__task *t)
{
    h->task = t;
    h->id = t->machine.self;
    h->next = t->handles;
    t->handles = h;
}

/* [-0, +0, m] A child begins with a copy of what its parent has as locals: a reference to its extras, or
** LUA_NOREF. */
static int inherited(lua_State *L, const rotor__task *parent)
{
    if (!parent || parent->extra == LUA_NOREF)
        return LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, parent->extra);
    if (lua_getfield(L, -1, "locals") != LUA_TTABLE) {
        lua_pop(L, 2);
        return LUA_NOREF;
    }
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, -4);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_setfield(L, -2, "locals");
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 2);
    return ref;
}

int rotor__task_spawn(lua_State *L, rotor__lua_loop *ll, int first, const rotor__task_tail *tail)
{
    rotor__tasks *tasks = ll->vm->tasks;
    int n = lua_gettop(L) - first;
    luaL_checktype(L, first, LUA_TFUNCTION);
    luaL_argcheck(L, n <= MAX_ARGUMENTS, first + MAX_ARGUMENTS, "too many arguments");
    handle_object *h = push_object(L, ll);
    lua_insert(L, first);
    rotor__task_seed seed = {.place = rotor__task_place(L, tasks), .tail = tail};
    h->ref = inherited(L, tasks->running); /* which the handle gives back if anything is thrown */
    seed.L = rotor__task_take_thread(L, tasks, &seed.ref);
    int error = lua_checkstack(seed.L, n + LUA_MINSTACK) ? 0 : UV_ENOMEM;
    if (!ll->loop) /* a finalizer has closed it meanwhile */
        error = ROTOR_ECLOSED;
    if (!error) {
        lua_pushcfunction(seed.L, rotor__task_main);
        lua_rawgeti(seed.L, LUA_REGISTRYINDEX, tasks->guard);
        lua_xmove(L, seed.L, n + 1);
        rotor__task *t;
        error = rotor__task_new(ll, &seed, &t);
        if (!error) {
            attach(h, t);
            t->extra = h->ref;
            h->ref = LUA_NOREF;
            return 1;
        }
    }
    rotor__task_give_thread(L, tasks, seed.L, seed.ref);
    return luaL_error(L, "no task: %s: %s", rotor_err_name(error), rotor_strerror(error));
}

const rotor__task *rotor__task_joiner(const rotor__task *t)
{
    for (const handle_object *h = t->handles; h; h = h->next) {
        const rotor__wait *wait = rotor__waits_first(&h->joiners);
        if (wait)
            return rotor__task_of(wait);
    }
    return NULL;
}

rotor__task *rotor__task_of_handle(lua_State *L, int index)
{
    return check_handle(L, index)->task;
}

/* [-0, +1, e] spawn(fn, ...): in the loop of a method; or in that of the task that runs, or the default one */
int rotor__lua_spawn(lua_State *L)
{
    int first = rotor__lua_args(L);
    luaL_checktype(L, first, LUA_TFUNCTION);
    return rotor__task_spawn(L, rotor__lua_meant(L), first, NULL);
}

/* -- handles ----------------------------------------------------------------------------------- */

/* [-0, +n, m] What it has ended with. */
static int push_results(lua_State *L, handle_object *h)
{
    be_told(h);
    if (h->status == ROTOR_ELUA) {
        lua_pushnil(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, h->ref);
        lua_pushstring(L, rotor_err_name(ROTOR_ELUA));
        return 3;
    }
    if (h->status)
        return rotor__lua_fail(L, h->status);
    if (h->results == 0)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->ref);
    if (h->results == 1)
        return 1;
    int table = lua_gettop(L);
    luaL_checkstack(L, h->results, "too many results");
    for (int i = 1; i <= h->results; i++)
        lua_rawgeti(L, table, i);
    return h->results;
}

static int poll_join(lua_State *L, int index)
{
    handle_object *h = check_handle(L, index);
    return has_ended(h) ? push_results(L, h) : -1;
}

static rotor__waits *join_queue(lua_State *L, int index)
{
    handle_object *h = check_handle(L, index);
    if (h->task->L == L)
        luaL_error(L, "a task cannot join itself");
    return &h->joiners;
}

static int joined(lua_State *L, int status, lua_KContext context)
{
    return rotor__task_completed(L) ? push_results(L, check_handle(L, 1))
                                    : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
}

/* [-0, +n, e] join([seconds]) */
static int handle_join(lua_State *L)
{
    handle_object *h = check_handle(L, 1);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__lua_vm(L)->tasks->running;
    if (has_ended(h) && !(t && t->L == L)) /* then a program may ask, too */
        return push_results(L, h);
    t = rotor__task_here(L);
    if (has_ended(h))
        return rotor__task_breathe(L, t, push_results(L, h));
    uint64_t deadline = rotor__task_deadline(t, ms);
    return rotor__task_wait(L, t, join_queue(L, 1), 0, deadline, 0, joined);
}

/* [-0, +1, e] cancel(): whether it was still to be */
static int handle_cancel(lua_State *L)
{
    handle_object *h = check_handle(L, 1);
    bool alive = !has_ended(h);
    if (alive)
        rotor__task_cancel(h->task);
    lua_pushboolean(L, alive);
    return 1;
}

/* [-0, +1, e] */
static int handle_done(lua_State *L)
{
    lua_pushboolean(L, has_ended(check_handle(L, 1)));
    return 1;
}

/* [-0, +1, e] handle.name, or a method */
static int handle_index(lua_State *L)
{
    const handle_object *h = check_handle(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL || lua_type(L, 2) != LUA_TSTRING)
        return 1;
    if (strcmp(lua_tostring(L, 2), "name") == 0) {
        if (h->task)
            rotor__task_push_name(L, h->task);
        else
            lua_rawgeti(L, LUA_REGISTRYINDEX, h->name);
    }
    return 1;
}

/* [-0, +0, e] handle.name = string */
static int handle_newindex(lua_State *L)
{
    handle_object *h = check_handle(L, 1);
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "name") != 0)
        return luaL_error(L, "a task has no field '%s' to set; it has name", key);
    luaL_checkstring(L, 3);
    if (!h->task)
        return luaL_error(L, "the task has ended");
    rotor__task_push_extra(L, h->task);
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "name");
    return 0;
}

/* [-0, +1, e] */
static int handle_eq(lua_State *L)
{
    bool both =
        rotor__lua_test(L, 1, &rotor__kind_task) && rotor__lua_test(L, 2, &rotor__kind_task);
    const handle_object *a = both ? check_handle(L, 1) : NULL;
    const handle_object *b = both ? check_handle(L, 2) : NULL;
    lua_pushboolean(L, both && a->ll == b->ll && a->id.slot == b->id.slot &&
                           a->id.generation == b->id.generation);
    return 1;
}

/* [-0, +1, m] */
static int handle_tostring(lua_State *L)
{
    static const char *const states[] = {"ready", "running", "waiting", "ended", "failed"};
    const handle_object *h = check_handle(L, 1);
    lua_getfield(L, 1, "name");
    const char *name = lua_tostring(L, -1);
    lua_pushfstring(L, "rotor.task: %s (%s)", name ? name : "without a name",
                    states[h->task ? h->task->state : ROTOR__TASK_ENDED]);
    return 1;
}

/* [-0, +0, -] Nobody can join by this any more: of a failure that was kept for that, all are told. */
static int handle_gc(lua_State *L)
{
    proxy *p = rotor__lua_check(L, 1, &rotor__kind_task);
    handle_object *h = p->handle;
    if (!h || rotor__lua_vm(L)->closed)
        return 0;
    rotor__task *t = h->task;
    p->handle = NULL;
    if (t && t->flags & ROTOR__TASK_TELLS) {
        h->dropped = true;
        return 0;
    }
    if (t) {
        struct rotor__task_object **link = &t->handles;
        while (*link != h)
            link = &(*link)->next;
        *link = h->next;
        if (!t->handles && t->state == ROTOR__TASK_FAILED) /* which its drop reports */
            (void)rotor_end(t->machine.loop, t->machine.self, 0);
    }
    discard(L, h);
    return 0;
}

void rotor__task_free_handles(rotor__vm *vm)
{
    for (rotor__link *link; vm->tasks && (link = rotor__link_first(&vm->tasks->handles));) {
        rotor__link_remove(link);
        rotor_free(link);
    }
}

/* -- the running task -------------------------------------------------------------------------- */

/* [-0, +0, v] Who is to be one becomes it when asked. */
static rotor__task *running(lua_State *L)
{
    const rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    if (!tasks->running && rotor__task_can_wait(L))
        return tasks->candidate->adopt(tasks->candidate);
    return tasks->running;
}

/* [-0, +1, m] running(): the handle of the task that runs, or nil */
static int l_running(lua_State *L)
{
    rotor__task *t = running(L);
    if (!t) {
        lua_pushnil(L);
        return 1;
    }
    attach(push_object(L, rotor__task_ll(t)), t);
    return 1;
}

/* [-0, +1, e] present(): the loop in which the module's functions do something here */
static int l_present(lua_State *L)
{
    lua_settop(L, 0);
    rotor__lua_push_loop(L, rotor__lua_meant(L));
    return 1;
}

/* [-0, +1, m] locals(): the table of the task that runs, or nil; made if `true` is given */
static int l_locals(lua_State *L)
{
    bool make = lua_toboolean(L, 1);
    rotor__task *t = make ? running(L) : rotor__lua_vm(L)->tasks->running;
    if (!t && make)
        return luaL_error(L, "only a task has locals");
    if (!t || (t->extra == LUA_NOREF && !make)) {
        lua_pushnil(L);
        return 1;
    }
    rotor__task_push_extra(L, t);
    if (lua_getfield(L, -1, "locals") == LUA_TNIL && make) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, "locals");
    }
    return 1;
}

/* [-0, +1, -] is_cancellation(error): whether it is what unwinds a task */
static int l_is_cancellation(lua_State *L)
{
    lua_pushboolean(L, rotor__task_is_unwinding(L, 1));
    return 1;
}

/* [-0, +1, e] hold([fn]): with a function, have it called with the thread of each task that ends after it
** has called hold(); the thread that runs, and whether it is a task's */
static int l_hold(lua_State *L)
{
    rotor__vm *vm = rotor__lua_vm(L);
    if (lua_isfunction(L, 1)) {
        lua_settop(L, 1);
        luaL_unref(L, LUA_REGISTRYINDEX, vm->tasks->held);
        vm->tasks->held = luaL_ref(L, LUA_REGISTRYINDEX);
        return 0;
    }
    rotor__task *t = running(L);
    if (t)
        t->flags |= ROTOR__TASK_HOLDS;
    lua_pushboolean(L, t != NULL);
    return 1;
}

/* [-0, +1, -] identity(): the thread of the task that runs, also in a coroutine inside of it; or that of the
** program */
static int l_identity(lua_State *L)
{
    const rotor__task *t = rotor__lua_vm(L)->tasks->running;
    lua_State *thread = t ? t->L : L;
    lua_pushthread(thread);
    lua_xmove(thread, L, 1);
    return 1;
}

/* [-0, +1, m] spare(): how many threads are kept to be used again, each by a reference */
static int l_spare(lua_State *L)
{
    lua_pushinteger(L, rotor__lua_vm(L)->tasks->nspare);
    return 1;
}

static const luaL_Reg methods[] = {
    {"join", handle_join}, {"cancel", handle_cancel}, {"done", handle_done}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__newindex", handle_newindex},
                                {"__eq", handle_eq},
                                {"__tostring", handle_tostring},
                                {"__gc", handle_gc},
                                {NULL, NULL}};

static const luaL_Reg functions[] = {{"running", l_running}, {"present", l_present},
                                     {"locals", l_locals},   {"is_cancellation", l_is_cancellation},
                                     {"hold", l_hold},       {"identity", l_identity},
                                     {"spare", l_spare},     {NULL, NULL}};

/* [..., core, tasks] */
void rotor__lua_open_task_handle(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
    rotor__lua_kind(L, &rotor__kind_task, NULL, meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_task);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, handle_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
