/* The threads of rotor.threads: each runs a function and then its loop, in a Lua state of its own. */
#include "crew.h"

#include "../core/alloc.h"
#include "../http/server.h"
#include "../stream/listen.h"

rotor__crew *rotor__crew_ref(rotor__crew *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void rotor__crew_unref(rotor__crew *c)
{
    if (atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    for (unsigned i = 0; i < c->n; i++) {
        rotor__blocker_fini(&c->threads[i].blocker);
        rotor__parcel_free(c->threads[i].result);
        if (c->threads[i].error)
            rotor__free_error(c->threads[i].error);
    }
    rotor__parcel_free(c->paths);
    rotor__parcel_free(c->program);
    rotor__mailbox_unref(c->home);
    rotor__doors_fini(&c->doors);
    uv_cond_destroy(&c->cond);
    uv_mutex_destroy(&c->lock);
    rotor_free(c);
}

rotor__doors *rotor__doors_of(rotor__thread *t, unsigned *index)
{
    *index = t->index - 1;
    return &t->crew->doors;
}

/* -- stopping, in the thread ------------------------------------------------------------------- */

/* Ends the loop when the time is over. It keeps none running. */
static rotor_response on_stopper_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    rotor__machine_idle(m, true);
    return rotor_ok_until(rotor_now(scope) + *(const uint64_t *)seed);
}

static rotor_response on_stopper_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_loop_stop(scope->loop);
    return rotor_done();
}

static const rotor_type stopper_type = {.name = "stopper",
                                        .size = sizeof(rotor_machine),
                                        .create = on_stopper_create,
                                        .timeout = on_stopper_timeout};

static void drain(rotor_loop *loop, uint64_t ms)
{
    for (uint32_t i = 0; i < loop->nslots; i++) {
        rotor_machine *m = loop->slots[i].machine;
        if (!m || rotor__close_task_listener(m) || !rotor__listener_protocol(m))
            continue;
        uint32_t drain_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
        if (rotor_http_drain(loop, m->self, drain_ms, NULL, NULL) == UV_EINVAL)
            (void)rotor_end(loop, m->self, 0);
    }
    if (ms != ROTOR_NEVER && rotor__add_now(loop, &stopper_type, &ms, NULL))
        rotor_loop_stop(loop); /* there is no memory, so at once */
}

void rotor__thread_stop(rotor__letter *letter, rotor_loop *loop)
{
    rotor__thread *t = ROTOR__CONTAINER(letter, rotor__thread, stop_letter);
    rotor__crew *c = t->crew;
    uv_mutex_lock(&c->lock);
    t->posted = false;
    uint64_t ms = t->drain_ms;
    uv_mutex_unlock(&c->lock);
    if (loop && ms > 0)
        drain(loop, ms);
    else if (loop)
        rotor_loop_stop(loop);
    rotor__crew_unref(c);
}

/* With the lock: tell the thread's loop, if there is one, to stop. */
static void post_stop(rotor__thread *t)
{
    if (!t->stops || t->posted || !t->mailbox)
        return;
    t->posted = rotor__mailbox_post(t->mailbox, &t->stop_letter) == 0;
    if (t->posted)
        (void)rotor__crew_ref(t->crew);
}

void rotor__crew_stop(rotor__crew *c, uint64_t drain_ms)
{
    for (unsigned i = 0; i < c->n; i++) {
        rotor__thread *t = &c->threads[i];
        uv_mutex_lock(&c->lock);
        if (!t->ended) {
            t->stops = true;
            t->drain_ms = drain_ms;
            post_stop(t);
        }
        uv_mutex_unlock(&c->lock);
        rotor__blocker_stop(&t->blocker);
    }
}

/* -- in the thread ----------------------------------------------------------------------------- */

/* Where it can be told to stop. */
static void set_mailbox(rotor__thread *t, rotor__mailbox *box)
{
    uv_mutex_lock(&t->crew->lock);
    if (t->mailbox)
        rotor__mailbox_unref(t->mailbox);
    t->mailbox = box ? rotor__mailbox_ref(box) : NULL;
    post_stop(t);
    uv_mutex_unlock(&t->crew->lock);
}

/* [-0, +0, e] Run the default loop, as the program itself would. */
static void run_loop(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "rotor") != LUA_TTABLE)
        lua_getfield(L, -2, "rotor.core");
    lua_getfield(L, -1, "run");
    lua_call(L, 0, 0);
}

/* [thread] */
static int run(lua_State *L)
{
    rotor__thread *t = lua_touserdata(L, 1);
    rotor__vm *vm = rotor__lua_vm(L);
    vm->thread = t;
    vm->blocker = &t->blocker;
    set_mailbox(t, rotor__lua_meant(L)->loop->mailbox);
    int n = rotor__unpack_program(L, t->crew->program);
    lua_pushinteger(L, t->index);
    lua_insert(L, -(n + 1));
    lua_call(L, n + 1, 1);
    set_mailbox(t, rotor__lua_meant(L)->loop->mailbox); /* it may have closed the other */
    run_loop(L);
    lua_settop(L, 2);
    t->result = rotor__pack(L, 2, "the thread's result", ROTOR__TO_ONE);
    return 0;
}

static bool may_go(rotor__thread *t)
{
    rotor__crew *c = t->crew;
    uv_mutex_lock(&c->lock);
    while (!c->go && !c->abort)
        uv_cond_wait(&c->cond, &c->lock);
    bool go = c->go;
    uv_mutex_unlock(&c->lock);
    return go;
}

static char *run_state(rotor__thread *t)
{
    char *error = NULL;
    lua_State *L = rotor__new_state(t->crew->paths);
    if (!L)
        return rotor__keep_error(NULL);
    rotor__lua_push_handler(L);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, t);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK)
        error = rotor__keep_error(L);
    set_mailbox(t, NULL);
    /* Before finalizers run, for what futures that have gone to other threads are resolved with. */
    (void)rotor__lua_free_loops(rotor__lua_vm(L));
    lua_close(L);
    return error;
}

static void thread_main(void *data)
{
    rotor__thread *t = data;
    rotor__crew *c = t->crew;
    char *error = may_go(t) ? run_state(t) : NULL;
    uv_mutex_lock(&c->lock);
    t->error = error;
    t->ended = true;
    rotor__parcel *program = NULL;
    if (--c->running == 0 &&
        c->go) { /* what they were started with is not kept for the handle's sake */
        program = c->program;
        c->program = NULL;
        rotor__doors_close(&c->doors);
    }
    uv_cond_broadcast(&c->cond);
    uv_mutex_unlock(&c->lock);
    rotor__parcel_free(program);
    if (rotor__mailbox_post(c->home, &t->ended_letter))
        rotor__crew_unref(c);
}

/* -- starting ---------------------------------------------------------------------------------- */

int rotor__crew_start(rotor__crew *c)
{
    int error = 0;
    unsigned started = 0;
    while (started < c->n && !error) {
        (void)rotor__crew_ref(c);
        error = uv_thread_create(&c->threads[started].id, thread_main, &c->threads[started]);
        if (error)
            rotor__crew_unref(c);
        else
            started++;
    }
    uv_mutex_lock(&c->lock);
    c->running = started;
    c->go = !error;
    c->abort = error != 0;
    uv_cond_broadcast(&c->cond);
    uv_mutex_unlock(&c->lock);
    for (unsigned i = 0; error && i < c->n; i++) {
        if (i < started)
            (void)uv_thread_join(&c->threads[i].id);
        c->threads[i].heard = true;
    }
    return error;
}
