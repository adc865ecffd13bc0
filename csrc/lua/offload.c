/* core.offload: a function runs on libuv's thread pool, in a Lua state of its own, and a future has what it
** returns. States are used again; there are no more of them than threads of the pool.
**
** Whatever ends the process waits for the threads of the pool: libuv sees to that. So all that blocks there is
** told to stop before, and none of them ends the process, as it would wait for itself. */
#include <pthread.h>

#include "../core/alloc.h"
#include "lua_future.h"
#include "lua_threads.h"

typedef struct pool_state {
    struct pool_state *next;  /* among those that do nothing */
    struct pool_state *older; /* among all */
    lua_State *L;
    rotor__blocker blocker;
} pool_state;

/* What the jobs of one Lua state share. */
struct rotor__offloads {
    uv_mutex_t lock; /* for all but `jobs` and `paths` */
    pool_state *spare, *newest;
    bool stop;        /* nothing is to block any more */
    struct job *jobs; /* that have not ended; the Lua state's own thread only */
    rotor__parcel *paths;
    struct rotor__offloads *next, **link; /* among those of all Lua states */
};

/* It begins with its future, and lives as long as either is needed. */
typedef struct job {
    rotor_future future;
    uv_work_t work;
    rotor__lua_loop *ll;
    struct rotor__offloads *offloads;
    pool_state *state; /* in which it runs, or NULL; under the lock, */
    bool abandoned;    /* as is that nobody wants what it returns */
    rotor__parcel *program;
    rotor__parcel *result;
    char *error;
    struct job *next, **link;
} job;

/* -- the end of the process -------------------------------------------------------------------- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rotor__offloads *all;

static void stop_blocking(struct rotor__offloads *o)
{
    uv_mutex_lock(&o->lock);
    o->stop = true;
    for (pool_state *s = o->newest; s; s = s->older)
        rotor__blocker_stop(&s->blocker);
    uv_mutex_unlock(&o->lock);
}

/* Before those of the libraries that this one needs. */
__attribute__((destructor)) static void on_exit_of_process(void)
{
    pthread_mutex_lock(&all_lock);
    for (struct rotor__offloads *o = all; o; o = o->next)
        stop_blocking(o);
    pthread_mutex_unlock(&all_lock);
}

static void enlist(struct rotor__offloads *o)
{
    pthread_mutex_lock(&all_lock);
    o->next = all;
    if (o->next)
        o->next->link = &o->next;
    o->link = &all;
    all = o;
    pthread_mutex_unlock(&all_lock);
}

static void strike_off(struct rotor__offloads *o)
{
    pthread_mutex_lock(&all_lock);
    *o->link = o->next;
    if (o->next)
        o->next->link = o->link;
    pthread_mutex_unlock(&all_lock);
}

/* -- in the pool ------------------------------------------------------------------------------- */

static int refuse_exit(lua_State *L)
{
    return luaL_error(L, "an offloaded function cannot end the process; its caller can");
}

/* Put that in place of os.exit. */
static int forbid_exit(lua_State *L)
{
    lua_getglobal(L, "os");
    lua_pushcfunction(L, refuse_exit);
    lua_setfield(L, -2, "exit");
    return 0;
}

/* NULL: no memory. */
static lua_State *new_lua(rotor__parcel *paths)
{
    lua_State *L = rotor__new_state(paths);
    if (!L)
        return NULL;
    lua_pushcfunction(L, forbid_exit);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK)
        return L;
    lua_close(L);
    return NULL;
}

/* NULL: no memory. */
static pool_state *new_state(struct rotor__offloads *o)
{
    pool_state *s = rotor_alloc(sizeof *s);
    if (!s || rotor__blocker_init(&s->blocker)) {
        rotor_free(s);
        return NULL;
    }
    s->L = new_lua(o->paths);
    if (!s->L) {
        rotor__blocker_fini(&s->blocker);
        rotor_free(s);
        return NULL;
    }
    rotor__lua_vm(s->L)->blocker = &s->blocker;
    uv_mutex_lock(&o->lock);
    s->older = o->newest;
    o->newest = s;
    uv_mutex_unlock(&o->lock);
    return s;
}

static pool_state *take_state(job *j)
{
    struct rotor__offloads *o = j->offloads;
    uv_mutex_lock(&o->lock);
    pool_state *s = o->spare;
    if (s)
        o->spare = s->next;
    uv_mutex_unlock(&o->lock);
    if (!s)
        s = new_state(o);
    if (!s)
        return NULL;
    uv_mutex_lock(&o->lock);
    j->state = s;
    rotor__blocker_reset(&s->blocker, o->stop || j->abandoned);
    uv_mutex_unlock(&o->lock);
    return s;
}

static void give_state(job *j, pool_state *s)
{
    struct rotor__offloads *o = j->offloads;
    uv_mutex_lock(&o->lock);
    j->state = NULL;
    s->next = o->spare;
    o->spare = s;
    uv_mutex_unlock(&o->lock);
}

/* [job] */
static int run(lua_State *L)
{
    job *j = lua_touserdata(L, 1);
    int n = rotor__unpack_program(L, j->program);
    lua_call(L, n, LUA_MULTRET);
    n = lua_gettop(L) - 1;
    luaL_checkstack(L, LUA_MINSTACK, "too many results");
    lua_createtable(L, n, 1);
    lua_insert(L, 2);
    for (int i = n; i >= 1; i--)
        lua_rawseti(L, 2, i);
    lua_pushinteger(L, n);
    lua_setfield(L, 2, "n");
    j->result = rotor__pack(L, 2, "results", ROTOR__FROM_POOL);
    return 0;
}

static void on_work(uv_work_t *work)
{
    job *j = ROTOR__CONTAINER(work, job, work);
    pool_state *s = take_state(j);
    if (!s)
        return; /* without a result that is for want of memory */
    lua_State *L = s->L;
    lua_settop(L, 0);
    rotor__lua_push_handler(L);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, j);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK)
        j->error = rotor__keep_error(L);
    lua_settop(L, 0);
    give_state(j, s);
}

/* -- in the loop ------------------------------------------------------------------------------- */

static void end(job *j)
{
    rotor__parcel_free(j->program);
    rotor__parcel_free(j->result);
    if (j->error)
        rotor__free_error(j->error);
    if (j->link) {
        *j->link = j->next;
        if (j->next)
            j->next->link = j->link;
    }
    rotor__future_unref(&j->future);
}

typedef struct boxing {
    rotor__vm *vm;
    const char *text;
    rotor__lua_box *box;
} boxing;

static int box_error(lua_State *D)
{
    boxing *b = lua_touserdata(D, 1);
    lua_pushstring(D, b->text);
    b->box = rotor__lua_new_box(D, b->vm);
    return 0;
}

/* The error as the detail of a future; NULL: there is no memory for that. */
static rotor__lua_box *error_box(job *j)
{
    lua_State *D = j->ll->vm->D;
    boxing b = {j->ll->vm, j->error, NULL};
    lua_pushcfunction(D, box_error);
    lua_pushlightuserdata(D, &b);
    if (lua_pcall(D, 1, 0, 0) != LUA_OK)
        lua_pop(D, 1);
    return b.box;
}

static void resolve(job *j)
{
    rotor__lua_box *box = NULL;
    int status = UV_ENOMEM;
    if (j->result) {
        box = rotor__lua_box_parcel(j->result, false);
        if (box)
            j->result = NULL;
        status = box ? 0 : UV_ENOMEM;
    } else if (j->error) {
        box = error_box(j);
        status = ROTOR_ELUA;
    }
    rotor__future_resolve(&j->future, status, box);
}

static void after_work(uv_work_t *work, int status)
{
    job *j = ROTOR__CONTAINER(work, job, work);
    rotor_loop *loop = j->ll->loop;
    if (!loop->closing) {
        rotor__loop_enter(loop);
        if (!atomic_load(&j->future.dropped))
            resolve(j);
        end(j);
        rotor__loop_leave(loop);
    } else {
        end(j);
    }
}

/* Nobody wants what it returns: if it has not begun it never will; else it is let run, but does not block in
** channels any more. */
static void cancel(job *j)
{
    struct rotor__offloads *o = j->offloads;
    if (uv_cancel((uv_req_t *)&j->work) == 0)
        return;
    uv_mutex_lock(&o->lock);
    j->abandoned = true;
    if (j->state)
        rotor__blocker_stop(&j->state->blocker);
    uv_mutex_unlock(&o->lock);
}

static rotor_future *on_abandon(rotor_future *f)
{
    if (!atomic_load(&f->mailbox->closed))
        cancel(ROTOR__CONTAINER(f, job, future));
    return NULL;
}

void rotor__lua_cancel_offloads(rotor__lua_loop *ll)
{
    struct rotor__offloads *o = ll->vm->offloads;
    for (job *j = o ? o->jobs : NULL; j; j = j->next)
        if (j->ll == ll)
            cancel(j);
}

void rotor__lua_stop_offloads(rotor__vm *vm)
{
    if (vm->offloads)
        stop_blocking(vm->offloads);
}

void rotor__lua_free_offloads(rotor__vm *vm)
{
    struct rotor__offloads *o = vm->offloads;
    if (!o || o->jobs) /* as the process ends in a transition */
        return;
    for (pool_state *s = o->newest, *older; s; s = older) {
        older = s->older;
        lua_close(s->L);
        rotor__blocker_fini(&s->blocker);
        rotor_free(s);
    }
    strike_off(o);
    rotor__parcel_free(o->paths);
    uv_mutex_destroy(&o->lock);
    rotor_free(o);
    vm->offloads = NULL;
}

/* [-0, +0, m] */
static struct rotor__offloads *offloads_of(lua_State *L, rotor__vm *vm)
{
    if (vm->offloads)
        return vm->offloads;
    rotor__parcel *paths = rotor__pack_paths(L);
    if (vm->offloads) { /* a finalizer has offloaded something meanwhile */
        rotor__parcel_free(paths);
        return vm->offloads;
    }
    struct rotor__offloads *o = rotor_alloc_zero(sizeof *o);
    if (!o || uv_mutex_init(&o->lock)) {
        rotor_free(o);
        rotor__parcel_free(paths);
        luaL_error(L, "not enough memory");
    }
    o->paths = paths;
    enlist(o);
    return vm->offloads = o;
}

/* [-0, +1, e] offload(fn, …): a future of the table of its results, with `n` */
int rotor__lua_offload(lua_State *L)
{
    int a = rotor__lua_args(L);
    luaL_checktype(L, a, LUA_TFUNCTION);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    struct rotor__offloads *o = offloads_of(L, ll->vm);
    rotor__lua_future_object *object = rotor__lua_push_future(L, ll);
    lua_insert(L, 1);
    rotor__parcel *program = rotor__pack_program(L, a + 1, ROTOR__TO_POOL);
    if (!ll->loop) { /* a finalizer has closed it meanwhile */
        rotor__parcel_return(program);
        return luaL_error(L, "the loop is closed");
    }
    job *j = (job *)rotor__future_make(sizeof *j, ll->loop, ll->loop->mailbox, rotor__lua_free_box,
                                       on_abandon);
    if (!j) {
        rotor__parcel_return(program);
        return luaL_error(L, "not enough memory");
    }
    j->ll = ll;
    j->offloads = o;
    j->program = program;
    j->next = o->jobs;
    if (j->next)
        j->next->link = &j->next;
    j->link = &o->jobs;
    o->jobs = j;
    object->future = rotor__future_ref(&j->future);
    lua_settop(L, 1);
    (void)uv_queue_work(ll->loop->uv, &j->work, on_work,
                        after_work); /* fails for no function only */
    return 1;
}
