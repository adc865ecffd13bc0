/* Tasks: how they are made, run, wait and end.
**
** All of a task runs inside of rotor__task_main(), which catches what it throws; so `<close>` variables are
** closed while the task can still wait, and its thread serves another task afterwards. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_task.h"

/* How often in a row a task may go on without waiting, and for how long a failure is kept in case somebody
** joins. */
enum { STREAK = 64, KEPT_MS = 1000 };

static const rotor__kind kind_guard = {.name = "rotor.task.guard"};
static const rotor__kind kind_unwinding = {.name = "rotor.task.unwinding"};

typedef struct guard_object {
    rotor__object object;
    rotor__vm *vm;
} guard_object;

typedef struct unwinding_object {
    rotor__object object;
    int why;
} unwinding_object;

/* -- queues ------------------------------------------------------------------------------------ */

void rotor__link_add(rotor__link *head, rotor__link *link)
{
    if (!head->next)
        head->next = head->prev = head;
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

void rotor__link_remove(rotor__link *link)
{
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* -- threads ----------------------------------------------------------------------------------- */

lua_State *rotor__task_take_thread(lua_State *L, rotor__tasks *tasks, int *ref)
{
    if (tasks->nspare > 0) {
        struct rotor__spare spare = tasks->spare[--tasks->nspare];
        *ref = spare.ref;
        return spare.L;
    }
    lua_State *thread = lua_newthread(L);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return thread;
}

void rotor__task_give_thread(lua_State *L, rotor__tasks *tasks, lua_State *thread, int ref)
{
    lua_settop(thread, 0);
    if (lua_gethook(thread))
        lua_sethook(thread, NULL, 0, 0);
    if (tasks->nspare < ROTOR__TASKS_SPARE)
        tasks->spare[tasks->nspare++] = (struct rotor__spare){thread, ref};
    else
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
}

static rotor__tasks *tasks_of(const rotor__task *t)
{
    return rotor__task_ll(t)->vm->tasks;
}

/* -- unwinding --------------------------------------------------------------------------------- */

static int why(const rotor__frame *f, uint64_t now)
{
    return f->canceled ? ROTOR_ECANCELED : f->at <= now ? ROTOR_ETIMEDOUT : 0;
}

int rotor__task_why(const rotor__task *t)
{
    const uint64_t now = t->machine.loop->now;
    int result = 0;
    for (const rotor__frame *f = t->frame; f; f = f->prev) {
        int reason = why(f, now);
        if (reason) /* the outermost counts: all inside of it is over */
            result = reason;
        if (f->shield)
            return result;
    }
    const rotor__task_tail *tail = rotor__task_tail_of((rotor__task *)t);
    if (t->flags & ROTOR__TASK_CANCELED)
        return ROTOR_ECANCELED;
    return tail && tail->at <= now ? ROTOR_ETIMEDOUT : result;
}

/* Until when it may wait at most. */
static uint64_t bound(const rotor__task *t, uint64_t at)
{
    for (const rotor__frame *f = t->frame; f; f = f->prev) {
        if (f->at < at)
            at = f->at;
        if (f->shield)
            return at;
    }
    const rotor__task_tail *tail = rotor__task_tail_of((rotor__task *)t);
    return tail && tail->at < at ? tail->at : at;
}

bool rotor__task_is_bounded(const rotor__task *t)
{
    return bound(t, ROTOR_NEVER) != ROTOR_NEVER;
}

int rotor__task_unwind(lua_State *L)
{
    const rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    bool expired = rotor__task_why(tasks->running) == ROTOR_ETIMEDOUT;
    lua_rawgeti(L, LUA_REGISTRYINDEX, expired ? tasks->expired : tasks->canceled);
    return lua_error(L);
}

bool rotor__task_is_unwinding(lua_State *L, int index)
{
    return rotor__lua_test(L, index, &kind_unwinding);
}

/* [-0, +1, m] */
static int unwinding_tostring(lua_State *L)
{
    const unwinding_object *object = rotor__lua_check(L, 1, &kind_unwinding);
    lua_pushfstring(L, "%s: the task %s", rotor_err_name(object->why),
                    object->why == ROTOR_ETIMEDOUT ? "has passed its deadline" : "was canceled");
    return 1;
}

/* -- waiting ----------------------------------------------------------------------------------- */

static rotor__cases *cases_of(const rotor__wait *wait)
{
    return ROTOR__CONTAINER(wait - (wait->which - 1), rotor__cases, waits);
}

rotor__task *rotor__task_of(const rotor__wait *wait)
{
    return wait->which ? cases_of(wait)->task : ROTOR__CONTAINER(wait, rotor__task, wait);
}

lua_State *rotor__task_thread(const rotor__wait *wait)
{
    return rotor__task_of(wait)->L;
}

rotor__task *rotor__task_on(lua_State *L)
{
    rotor__task *t = rotor__lua_vm(L)->tasks->running;
    return t && t->L == L ? t : NULL;
}

bool rotor__task_can_wait(lua_State *L)
{
    const rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    return lua_isyieldable(L) &&
           (rotor__task_on(L) || (tasks->candidate && tasks->candidate->L == L));
}

static void check_yieldable(lua_State *L)
{
    if (!lua_isyieldable(L))
        luaL_error(L,
                   "a task cannot wait inside of what a C function calls, such as a comparator of "
                   "table.sort, nor in a finalizer");
}

rotor__task *rotor__task_here(lua_State *L)
{
    rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    rotor__task *t = tasks->running;
    if (t && t->L == L) {
        check_yieldable(L);
    } else {
        if (tasks->candidate && tasks->candidate->L == L) {
            check_yieldable(L);
            t = tasks->candidate->adopt(tasks->candidate);
        } else if (t || tasks->candidate)
            luaL_error(L, "a coroutine inside of a task cannot wait, only the task itself can");
        else
            luaL_error(L, "only a task can wait; task.spawn(function() ... end) makes one");
    }
    if (rotor__task_why(t))
        rotor__task_unwind(L);
    return t;
}

int rotor__task_park(lua_State *L, rotor__task *t, uint64_t deadline, lua_KContext context,
                     lua_KFunction k)
{
    t->state = ROTOR__TASK_WAITING;
    t->flags &= (uint8_t)~ROTOR__TASK_COMPLETED;
    t->streak = 0;
    rotor__machine_until(&t->machine, bound(t, deadline));
    return lua_yieldk(L, 0, context, k);
}

int rotor__task_wait(lua_State *L, rotor__task *t, rotor__waits *queue, uint32_t slot,
                     uint64_t deadline, lua_KContext context, lua_KFunction k)
{
    t->wait = (rotor__wait){.slot = slot};
    if (queue)
        rotor__link_add(&queue->head, &t->wait.link);
    return rotor__task_park(L, t, deadline, context, k);
}

int rotor__task_blame_resumer(lua_State *L)
{
    return luaL_error(L, "the coroutine of a task is resumed by its loop only");
}

bool rotor__task_was_completed(lua_State *L, bool *unwinds)
{
    const rotor__task *t = rotor__lua_vm(L)->tasks->running;
    if (!t || t->L != L)
        rotor__task_blame_resumer(L);
    bool completed = t->flags & ROTOR__TASK_COMPLETED;
    *unwinds = !completed && rotor__task_why(t);
    return completed;
}

bool rotor__task_completed(lua_State *L)
{
    bool unwinds, completed = rotor__task_was_completed(L, &unwinds);
    if (unwinds)
        rotor__task_unwind(L);
    return completed;
}

static int pass(lua_State *L, int status, lua_KContext n)
{
    return (int)n;
}

/* Let others have their turn, and return the `n` values on top. */
int rotor__task_take_turns(lua_State *L, rotor__task *t, int n)
{
    t->state = ROTOR__TASK_READY;
    t->streak = 0;
    (void)rotor_wake(t->machine.loop, t->machine.self);
    return lua_yieldk(L, 0, n, pass);
}

int rotor__task_breathe(lua_State *L, rotor__task *t, int n)
{
    return ++t->streak < STREAK ? n : rotor__task_take_turns(L, t, n);
}

static void leave_queues(rotor__task *t)
{
    if (t->flags & ROTOR__TASK_SELECTS) {
        for (uint32_t i = 0; i < t->cases->n; i++)
            rotor__link_remove(&t->cases->waits[i].link);
        t->flags &= (uint8_t)~ROTOR__TASK_SELECTS;
    } else {
        rotor__link_remove(&t->wait.link);
    }
}

void rotor__task_interrupt(rotor__task *t)
{
    leave_queues(t);
    t->state = ROTOR__TASK_READY;
}

static rotor__task *complete(rotor__wait *wait, int n)
{
    rotor__task *t = rotor__task_of(wait);
    if (wait->which)
        cases_of(wait)->completed = wait;
    leave_queues(t);
    t->state = ROTOR__TASK_READY;
    t->flags |= ROTOR__TASK_COMPLETED;
    t->values = (uint8_t)n;
    return t;
}

void rotor__task_complete(rotor__wait *wait, int n)
{
    rotor__task *t = complete(wait, n);
    (void)rotor_wake(t->machine.loop, t->machine.self);
}

void rotor__task_complete_all(rotor__waits *queue)
{
    for (rotor__wait *wait; (wait = rotor__waits_first(queue));)
        rotor__task_complete(wait, 0);
}

/* -- ending ------------------------------------------------------------------------------------ */

static void unref(rotor__vm *vm, int *ref)
{
    luaL_unref(vm->D, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

/* [task] */
static int give_back_locks(lua_State *D)
{
    rotor__task *t = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, tasks_of(t)->held);
    lua_pushthread(t->L);
    lua_xmove(t->L, D, 1);
    lua_call(D, 1, 0);
    return 0;
}

/* [task] What it has thrown, with all that is known about it. */
static int explain(lua_State *D)
{
    rotor__task *t = lua_touserdata(D, 1);
    lua_pushvalue(t->L, -1);
    lua_xmove(t->L, D, 1);
    rotor__task_explain(D, t->L, t);
    return 1;
}

/* [-0, +1, -] On D: that text, or of what kept it from being made. */
static void push_explanation(rotor__task *t)
{
    lua_State *D = rotor__task_ll(t)->vm->D;
    lua_pushcfunction(D, explain);
    lua_pushlightuserdata(D, t);
    (void)lua_pcall(D, 1, 1, 0);
}

/* The thread is another's from now on. What its variables throw while they are closed is told. */
static void leave_thread(rotor__task *t)
{
    rotor__lua_loop *ll = rotor__task_ll(t);
    rotor__vm *vm = ll->vm;
    bool whole = lua_status(t->L) == LUA_OK;
    const lua_State *outer = vm->tasks->dropped;
    vm->tasks->dropped = t->L;
    if (!whole && lua_resetthread(t->L) != LUA_OK && !rotor__task_is_unwinding(t->L, -1) &&
        !(t->flags & ROTOR__TASK_THROWN)) {
        lua_xmove(t->L, vm->D, 1);
        rotor__lua_report(ll, "task", "close");
    }
    vm->tasks->dropped = outer;
    if (t->flags & ROTOR__TASK_HOLDS)
        (void)rotor__lua_run(ll, give_back_locks, t, "task", "locks");
    if (t->flags & ROTOR__TASK_TRACED)
        rotor__task_forget_trace(vm->D, t->L);
    if (whole)
        rotor__task_give_thread(vm->D, vm->tasks, t->L, t->ref);
    else
        luaL_unref(vm->D, LUA_REGISTRYINDEX, t->ref);
    t->L = NULL;
    t->ref = LUA_NOREF;
}

/* [-1, +0, -] On D: report the failure. */
static void report(rotor__task *t)
{
    rotor__lua_report(rotor__task_ll(t), "task", NULL);
}

static int keep_text(lua_State *D)
{
    int *ref = lua_touserdata(D, 1);
    lua_settop(D, 2);
    *ref = luaL_ref(D, LUA_REGISTRYINDEX);
    return 0;
}

/* [-1, +0, -] On D: nobody has been told of the failure, but somebody still may ask. */
static void keep_failure(rotor__task *t)
{
    lua_State *D = rotor__task_ll(t)->vm->D;
    lua_pushcfunction(D, keep_text);
    lua_pushlightuserdata(D, &t->ref);
    lua_pushvalue(D, -3);
    if (lua_pcall(D, 2, 0, 0) != LUA_OK) {
        lua_pop(D, 1);
        report(t);
        return;
    }
    lua_pop(D, 1);
    t->state = ROTOR__TASK_FAILED;
}

/* Tell whoever is to know. */
static void tell(rotor__task *t, int status, int n)
{
    lua_State *D = rotor__task_ll(t)->vm->D;
    rotor__task_tail *tail = rotor__task_tail_of(t);
    bool failed = status == ROTOR_ELUA, told = !failed;
    if (failed)
        push_explanation(t);
    told |= rotor__task_tell_handles(t, status, n);
    if (tail && (tail->scope || tail->ended)) {
        if (failed)
            lua_pushvalue(D, -1);
        if (tail->scope)
            rotor__scope_child_ended(t, status);
        else
            tail->ended(tail->context, status);
        told = true;
    }
    leave_thread(t);
    if (!failed)
        return;
    if (told)
        lua_pop(D, 1);
    else if (t->handles)
        keep_failure(t);
    else
        report(t);
}

/* It has returned, `n` results, or what it has thrown. */
static void end(rotor__task *t, int n)
{
    int status = 0;
    if (t->flags & ROTOR__TASK_THROWN)
        status = rotor__task_is_unwinding(t->L, -1) ? rotor__task_why(t) : ROTOR_ELUA;
    if (t->flags & ROTOR__TASK_THROWN && status == 0)
        status = ROTOR_ECANCELED; /* by what somebody has kept from earlier */
    t->state = ROTOR__TASK_ENDED;
    tell(t, status, n);
}

/* -- running ----------------------------------------------------------------------------------- */

int rotor__task_thrown(lua_State *L)
{
    rotor__task *t = rotor__task_on(L);
    if (t)
        t->flags |= ROTOR__TASK_THROWN;
    return 1;
}

enum { GUARD = 1, CATCH };

/* [guard] Closed last of all on a task's stack. If it is not the task's own end, somebody has closed or
** resumed its coroutine: what it waits for is gone with the stack. It ends when it runs next. */
static int guard_close(lua_State *L)
{
    const rotor__vm *vm = ((const guard_object *)lua_touserdata(L, 1))->vm;
    const rotor__tasks *tasks = vm->tasks;
    if ((tasks->running && tasks->running->L == L) || tasks->dropped == L)
        return 0;
    for (const rotor__lua_loop *ll = vm->loops; ll; ll = ll->next)
        for (uint32_t i = 0; ll->loop && i < ll->loop->nslots; i++) {
            rotor__task *t = (rotor__task *)ll->loop->slots[i].machine;
            if (!t || t->machine.type != &rotor__task_type || t->L != L)
                continue;
            t->values = 0;
            if (t->state == ROTOR__TASK_WAITING)
                rotor__task_interrupt(t);
            (void)rotor_wake(ll->loop, t->machine.self);
        }
    return 0;
}

static int main_done(lua_State *L, int status, lua_KContext context)
{
    bool thrown = status != LUA_OK && status != LUA_YIELD;
    return thrown ? rotor__task_thrown(L) : lua_gettop(L) - CATCH;
}

int rotor__task_main(lua_State *L)
{
    int n = lua_gettop(L) - GUARD;
    lua_pushcfunction(L, rotor__task_catch);
    lua_insert(L, CATCH);
    lua_toclose(L, GUARD);
    int status = lua_pcallk(L, n - 1, LUA_MULTRET, CATCH, 0, main_done);
    return main_done(L, status, 0);
}

/* [task] Put on its stack what is wrong with it. */
static int blame_yield(lua_State *D)
{
    const rotor__task *t = lua_touserdata(D, 1);
    lua_pushliteral(D,
                    "a task has called coroutine.yield; it waits by what rotor.task has for that");
    lua_xmove(D, t->L, 1);
    return 0;
}

/* It has waited or ended, as lua_resume() says. */
static rotor_response settle(rotor__task *t, int status, int results)
{
    rotor__lua_loop *ll = rotor__task_ll(t);
    if (status == LUA_YIELD && t->state != ROTOR__TASK_RUNNING)
        return rotor_same();
    if (status == LUA_YIELD) {
        t->flags |= ROTOR__TASK_THROWN;
        (void)rotor__lua_run(ll, blame_yield, t, "task", NULL);
    } else if (status != LUA_OK) { /* it has never begun, or not been caught */
        t->flags |= ROTOR__TASK_THROWN;
    }
    const rotor__task_tail *tail = rotor__task_tail_of(t);
    end(t, tail ? results - tail->kept : results);
    ll->transition = NULL; /* the watchdog is not to think that it was what came of it */
    if (t->state != ROTOR__TASK_FAILED)
        return rotor_done();
    rotor__machine_idle(&t->machine, true);
    return rotor_ok_until(t->machine.loop->now + KEPT_MS);
}

/* Run it until it waits or ends. */
static rotor_response run(rotor__task *t)
{
    rotor__lua_loop *ll = rotor__task_ll(t);
    rotor__tasks *tasks = ll->vm->tasks;
    rotor__task *outer = tasks->running;
    int results, values = t->values;
    t->values = 0;
    t->state = ROTOR__TASK_RUNNING;
    tasks->running = t;
    int status = lua_resume(t->L, ll->vm->D, values, &results);
    tasks->running = outer;
    return settle(t, status, results);
}

/* It has run outside of its machine's transitions. */
static void respond(rotor__task *t, rotor_response r)
{
    if (r.kind == ROTOR_DONE)
        (void)rotor_end(t->machine.loop, t->machine.self, 0);
    else if (r.kind == ROTOR_OK)
        rotor__machine_until(&t->machine, r.deadline);
}

void rotor__task_complete_now(rotor__wait *wait, int n)
{
    rotor__task *t = complete(wait, n);
    respond(t, run(t));
}

void rotor__task_adopted(rotor__task *t, int status, int results)
{
    respond(t, settle(t, status, results));
}

void rotor__task_kick(rotor__task *t)
{
    if (t->state != ROTOR__TASK_WAITING || !rotor__task_why(t))
        return;
    rotor__task_interrupt(t);
    (void)rotor_wake(t->machine.loop, t->machine.self);
}

void rotor__task_cancel(rotor__task *t)
{
    t->flags |= ROTOR__TASK_CANCELED;
    rotor__task_kick(t);
}

/* -- the machine ------------------------------------------------------------------------------- */

static size_t size_of(const void *data)
{
    const rotor__task_seed *seed = data;
    return sizeof(rotor__task) + (seed->tail ? sizeof(rotor__task_tail) : 0);
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    const rotor__task_seed *seed = data;
    rotor__task *t = (rotor__task *)m;
    t->L = seed->L;
    t->ref = seed->ref;
    t->extra = LUA_NOREF;
    t->place = seed->place;
    if (seed->tail) {
        t->flags |= ROTOR__TASK_TAIL;
        *rotor__task_tail_of(t) = *seed->tail;
    }
    if (seed->running)
        t->state = ROTOR__TASK_RUNNING;
    else
        t->values = (uint8_t)(lua_gettop(t->L) - 1);
    return rotor_ok();
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    rotor__task *t = (rotor__task *)m;
    return t->state == ROTOR__TASK_READY ? run(t) : rotor_same();
}

/* [-0, +0, -] Report the failure that was kept. */
static void report_kept(rotor__task *t)
{
    rotor__vm *vm = rotor__task_ll(t)->vm;
    lua_rawgeti(vm->D, LUA_REGISTRYINDEX, t->ref);
    unref(vm, &t->ref);
    t->state = ROTOR__TASK_ENDED;
    report(t);
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor__task *t = (rotor__task *)m;
    if (t->state == ROTOR__TASK_FAILED) {
        report_kept(t);
        return rotor_done();
    }
    if (t->state != ROTOR__TASK_WAITING)
        return rotor_same();
    rotor__task_interrupt(t);
    return run(t);
}

/* When the loop is closed before the task has ended, its thread is closed where it is. */
static void on_drop(rotor_machine *m)
{
    rotor__task *t = (rotor__task *)m;
    if (t->state == ROTOR__TASK_FAILED) {
        report_kept(t);
    } else if (t->state != ROTOR__TASK_ENDED) {
        if (t->state == ROTOR__TASK_WAITING)
            leave_queues(t);
        t->state = ROTOR__TASK_ENDED;
        tell(t, ROTOR_ECANCELED, 0);
    }
    rotor__task_leave_handles(t);
    unref(rotor__task_ll(t)->vm, &t->extra);
}

const rotor_type rotor__task_type = {
    .name = "task",
    .size_of = size_of,
    .name_of = rotor__task_name_of,
    .create = on_create,
    .wakeup = on_wakeup,
    .timeout = on_timeout,
    .drop = on_drop,
    .describe = rotor__task_describe,
};

int rotor__task_new(rotor__lua_loop *ll, const rotor__task_seed *seed, rotor__task **task)
{
    rotor_handle handle;
    int error = rotor__add_now(ll->loop, &rotor__task_type, (void *)(uintptr_t)seed, &handle);
    if (error)
        return error;
    if (!seed->running)
        (void)rotor_wake(ll->loop, handle);
    *task = (rotor__task *)rotor_find(ll->loop, handle);
    return 0;
}

void rotor__tasks_settle(rotor__lua_loop *ll)
{
    rotor_loop *loop = ll->loop;
    for (uint32_t i = 0; loop->count > 0 && i < loop->nslots; i++) {
        rotor__task *t = (rotor__task *)loop->slots[i].machine;
        if (t && t->machine.type == &rotor__task_type && t->state == ROTOR__TASK_FAILED) {
            report_kept(t);
            (void)rotor_end(loop, t->machine.self, 0);
        }
    }
}

/* -- what they share --------------------------------------------------------------------------- */

/* [-0, +1, m] */
static int new_unwinding(lua_State *L, int reason)
{
    unwinding_object *object = rotor__lua_new(L, &kind_unwinding, sizeof *object, 0);
    object->why = reason;
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void rotor__lua_open_task(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__tostring", unwinding_tostring}, {NULL, NULL}};
    static const luaL_Reg guard_meta[] = {{"__close", guard_close}, {NULL, NULL}};
    rotor__vm *vm = rotor__lua_vm(L);
    rotor__lua_kind(L, &kind_unwinding, NULL, meta);
    /* In memory of Lua's, that goes with the state. */
    rotor__tasks *tasks = lua_newuserdatauv(L, sizeof *tasks, 0);
    memset(tasks, 0, sizeof *tasks);
    lua_rawsetp(L, LUA_REGISTRYINDEX, tasks);
    tasks->held = LUA_NOREF;
    rotor__lua_kind(L, &kind_guard, NULL, guard_meta);
    guard_object *guard = rotor__lua_new(L, &kind_guard, sizeof *guard, 0);
    guard->vm = vm;
    tasks->guard = luaL_ref(L, LUA_REGISTRYINDEX);
    tasks->canceled = new_unwinding(L, ROTOR_ECANCELED);
    tasks->expired = new_unwinding(L, ROTOR_ETIMEDOUT);
    tasks->random = (uint32_t)(uv_hrtime() | 1);
    vm->tasks = tasks;
}
