/* rotor.threads(n, fn, …): threads, each with a Lua state and a loop of its own.
**
** The threads that one call starts are a crew. Its memory goes with the last of those who need it: the Lua
** state that has started it, its handle, and each thread until that state has heard of its end by a letter.
** What both sides touch is under the crew's lock. */
#include <stdio.h>

#include "../core/alloc.h"
#include "../http/server.h"
#include "../stream/listen.h"
#include "lua_task.h"
#include "lua_threads.h"

typedef struct rotor__crew crew;
typedef struct rotor__thread thread;

struct rotor__thread {
    rotor__letter ended_letter; /* to the loop that has started it */
    rotor__letter stop_letter;  /* to its own */
    crew *crew;
    unsigned index; /* from 1 */
    uv_thread_t id;
    rotor__blocker blocker;
    rotor__mailbox *mailbox; /* of its loop, while there is one */
    bool stops;              /* it was asked to, */
    uint64_t drain_ms;       /* within that time, */
    bool posted;             /* and the letter that says so is on its way */
    bool ended;
    char *error; /* what it has died of, or NULL */
    rotor__parcel *result;
    /* Of the thread that has started it: */
    bool heard; /* of its end, and it is joined */
    bool told;  /* somebody, of its error */
};

struct rotor__crew {
    atomic_uint refs;
    uv_mutex_t lock;
    uv_cond_t cond;
    bool go;    /* all could be started; */
    bool abort; /* or they could not */
    unsigned n, running;
    rotor__parcel *paths, *program;
    rotor__doors doors;
    rotor__mailbox *home; /* of `ll` */
    /* Of the thread that has started it: */
    rotor__lua_loop *ll;
    rotor__waits joiners; /* tasks */
    bool blocked;         /* a call runs the loop until all have ended, */
    rotor_handle keeper;  /* and this machine keeps it running */
    bool asked;           /* they were asked to stop by a signal */
    unsigned heard;
    struct rotor__crew *next, **link; /* of those that have not all been heard of */
    thread threads[];
};

static const rotor__kind kind_crew = {.name = "rotor.threads.crew"};

typedef struct crew_object {
    rotor__object object;
    crew *crew; /* NULL while it is made, and once it is collected */
} crew_object;

static crew *ref(crew *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void unref(crew *c)
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

rotor__doors *rotor__doors_of(thread *t, unsigned *index)
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
    if (rotor__add_now(loop, &stopper_type, &ms, NULL)) /* no memory, so at once */
        rotor_loop_stop(loop);
}

static void deliver_stop(rotor__letter *letter, rotor_loop *loop)
{
    thread *t = ROTOR__CONTAINER(letter, thread, stop_letter);
    crew *c = t->crew;
    uv_mutex_lock(&c->lock);
    t->posted = false;
    uint64_t ms = t->drain_ms;
    uv_mutex_unlock(&c->lock);
    if (loop && ms > 0)
        drain(loop, ms);
    else if (loop)
        rotor_loop_stop(loop);
    unref(c);
}

/* With the lock: tell the thread's loop, if there is one, to stop. */
static void post_stop(thread *t)
{
    if (!t->stops || t->posted || !t->mailbox)
        return;
    t->posted = rotor__mailbox_post(t->mailbox, &t->stop_letter) == 0;
    if (t->posted)
        (void)ref(t->crew);
}

/* Any thread. */
static void stop(crew *c, uint64_t drain_ms)
{
    for (unsigned i = 0; i < c->n; i++) {
        thread *t = &c->threads[i];
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
static void set_mailbox(thread *t, rotor__mailbox *box)
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
    thread *t = lua_touserdata(L, 1);
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
    t->result = rotor__pack(L, 2, "the thread's result");
    return 0;
}

static bool may_go(thread *t)
{
    crew *c = t->crew;
    uv_mutex_lock(&c->lock);
    while (!c->go && !c->abort)
        uv_cond_wait(&c->cond, &c->lock);
    bool go = c->go;
    uv_mutex_unlock(&c->lock);
    return go;
}

static char *run_state(thread *t)
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
    lua_close(L);
    return error;
}

static void thread_main(void *data)
{
    thread *t = data;
    crew *c = t->crew;
    char *error = may_go(t) ? run_state(t) : NULL;
    uv_mutex_lock(&c->lock);
    t->error = error;
    t->ended = true;
    c->running--;
    uv_cond_broadcast(&c->cond);
    uv_mutex_unlock(&c->lock);
    if (rotor__mailbox_post(c->home, &t->ended_letter))
        unref(c);
}

/* -- hearing of their end ---------------------------------------------------------------------- */

static bool all_ended(crew *c)
{
    uv_mutex_lock(&c->lock);
    bool all = c->running == 0;
    uv_mutex_unlock(&c->lock);
    return all;
}

/* The thread has ended, or is about to. */
static void hear(thread *t)
{
    crew *c = t->crew;
    if (t->heard)
        return;
    (void)uv_thread_join(&t->id);
    t->heard = true;
    if (++c->heard == c->n && c->link) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
        c->link = NULL;
        unref(c);
    }
}

/* [thread] */
static int push_error(lua_State *D)
{
    const thread *t = lua_touserdata(D, 1);
    lua_pushstring(D, t->error);
    return 1;
}

static void report(thread *t)
{
    rotor__lua_loop *ll = t->crew->ll;
    lua_State *D = ll->vm->D;
    char name[40];
    t->told = true;
    (void)snprintf(name, sizeof name, "thread %u of %u", t->index, t->crew->n);
    lua_pushcfunction(D, push_error);
    lua_pushlightuserdata(D, t);
    (void)lua_pcall(D, 1, 1, 0);
    rotor__lua_report(ll, name, NULL);
}

/* In the loop that has started it. */
static void deliver_ended(rotor__letter *letter, rotor_loop *loop)
{
    thread *t = ROTOR__CONTAINER(letter, thread, ended_letter);
    crew *c = t->crew;
    if (loop) {
        hear(t);
        if (t->error)
            report(t);
        if (c->heard == c->n) {
            rotor__task_complete_all(&c->joiners);
            if (c->blocked) {
                (void)rotor_end(loop, c->keeper, 0);
                rotor_loop_stop(loop);
            }
        }
    }
    unref(c);
}

/* [-0, +2, m] The list of results, and that of errors or nil. */
static int push_results(lua_State *L, crew *c)
{
    bool failed = false;
    for (unsigned i = 0; i < c->n; i++)
        failed = failed || c->threads[i].error;
    lua_createtable(L, (int)c->n, 0);
    if (failed)
        lua_newtable(L);
    else
        lua_pushnil(L);
    for (unsigned i = 0; i < c->n; i++) {
        thread *t = &c->threads[i];
        if (t->error) {
            lua_pushstring(L, t->error);
            lua_rawseti(L, -2, i + 1);
            t->told = true;
        } else if (t->result) {
            rotor__unpack(L, t->result);
            lua_rawseti(L, -3, i + 1);
        }
    }
    for (unsigned i = 0; i < c->n; i++)
        hear(&c->threads[i]);
    return 2;
}

void rotor__lua_end_crews(rotor__vm *vm)
{
    for (crew *c = vm->crews; c; c = c->next)
        stop(c, 0);
    while (vm->crews) {
        crew *c = ref(vm->crews);
        for (rotor__wait *wait; (wait = rotor__waits_first(&c->joiners));)
            rotor__link_remove(&wait->link);
        for (unsigned i = 0; i < c->n; i++) {
            thread *t = &c->threads[i];
            hear(t);
            if (t->error && !t->told)
                lua_writestringerror("rotor: a thread has died: %s\n", t->error);
            t->told = true;
        }
        unref(c);
    }
}

/* -- starting ---------------------------------------------------------------------------------- */

enum { MOST_THREADS = 1024, DRAIN_MS = 30000 };

/* NULL: no memory. */
static crew *new_crew(rotor__lua_loop *ll, unsigned n)
{
    crew *c = rotor_alloc_zero(sizeof *c + n * sizeof(thread));
    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    if (uv_mutex_init(&c->lock)) {
        rotor_free(c);
        return NULL;
    }
    if (uv_cond_init(&c->cond)) {
        uv_mutex_destroy(&c->lock);
        rotor_free(c);
        return NULL;
    }
    if (rotor__doors_init(&c->doors, n)) {
        uv_cond_destroy(&c->cond);
        uv_mutex_destroy(&c->lock);
        rotor_free(c);
        return NULL;
    }
    c->ll = ll;
    c->home = rotor__mailbox_ref(ll->loop->mailbox);
    for (; c->n < n; c->n++) {
        thread *t = &c->threads[c->n];
        if (rotor__blocker_init(&t->blocker)) {
            unref(c);
            return NULL;
        }
        t->crew = c;
        t->index = c->n + 1;
        t->ended_letter.deliver = deliver_ended;
        t->stop_letter.deliver = deliver_stop;
    }
    return c;
}

/* Start all of them, or none. */
static int start(crew *c)
{
    int error = 0;
    unsigned started = 0;
    while (started < c->n && !error) {
        (void)ref(c);
        error = uv_thread_create(&c->threads[started].id, thread_main, &c->threads[started]);
        if (error)
            unref(c);
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

/* [-0, +1, e] As a light userdata: what tells the default loop looks at the bottom of a stack. */
static int default_loop(lua_State *L)
{
    lua_pushlightuserdata(L, rotor__lua_meant(L));
    return 1;
}

/* [-0, +1 or 3, e] (module, n, fn or name, …) */
static int l_start(lua_State *L)
{
    int is_integer;
    lua_remove(L, 1);
    lua_Integer n = lua_tointegerx(L, 1, &is_integer);
    if (!is_integer || n < 1 || n > MOST_THREADS)
        return luaL_error(L, "rotor.threads(n, fn, ...): how many threads expected, from 1 to %d",
                          MOST_THREADS);
    if (!lua_isfunction(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L,
                          "rotor.threads(n, fn, ...): a function, or the name of a module that "
                          "returns one, expected, got %s",
                          luaL_typename(L, 2));
    rotor__lua_check_not_closing(L, rotor__lua_vm(L));
    crew_object *object = rotor__lua_new(L, &kind_crew, sizeof *object, 0);
    lua_insert(L, 1);
    lua_pushcfunction(L, default_loop);
    lua_call(L, 0, 1);
    rotor__lua_loop *ll = lua_touserdata(L, -1);
    lua_pop(L, 1);
    crew *c = object->crew = new_crew(ll, (unsigned)n);
    if (!c)
        return luaL_error(L, "not enough memory");
    c->paths = rotor__pack_paths(L);
    c->program = rotor__pack_program(L, 3);
    int error = start(c);
    if (error)
        return rotor__lua_fail(L, error);
    rotor__vm *vm = ll->vm;
    c->next = vm->crews;
    if (c->next)
        c->next->link = &c->next;
    c->link = &vm->crews;
    vm->crews = ref(c);
    lua_settop(L, 1);
    return 1;
}

/* -- joining ----------------------------------------------------------------------------------- */

static crew *check_crew(lua_State *L)
{
    crew_object *object = rotor__lua_check(L, 1, &kind_crew);
    if (!object->crew)
        luaL_error(L, "the threads could not be started, or were closed with their Lua state");
    return object->crew;
}

/* Whoever waits for threads has SIGTERM end them gently, and a second one at once. */
static void on_term(rotor__lua_loop *ll)
{
    for (crew *c = ll->vm->crews; c; c = c->next) {
        stop(c, c->asked ? 0 : ll->drain_ms);
        c->asked = true;
    }
}

/* [-0, +0, e] */
static void begin_join(lua_State *L, rotor__lua_loop *ll, uint64_t drain_ms)
{
    if (ll->joins == 0)
        rotor__lua_begin_term(L, ll, on_term);
    ll->drain_ms = drain_ms;
    ll->joins++;
}

static void end_join(rotor__lua_loop *ll)
{
    if (--ll->joins == 0 && ll->loop)
        rotor__lua_end_term(ll);
}

/* Keeps the loop running. */
static rotor_response on_keeper_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    uint64_t ms = *(const uint64_t *)seed;
    return ms == ROTOR_NEVER ? rotor_ok() : rotor_ok_until(rotor_now(scope) + ms);
}

static rotor_response on_keeper_timeout(rotor_machine *m, rotor_scope *scope)
{
    rotor_loop_stop(scope->loop);
    return rotor_done();
}

static const rotor_type keeper_type = {.name = "join",
                                       .size = sizeof(rotor_machine),
                                       .create = on_keeper_create,
                                       .timeout = on_keeper_timeout};

/* Without a loop nothing is to be done meanwhile. */
static int wait_for(crew *c, uint64_t ms)
{
    uint64_t now = uv_hrtime();
    uint64_t until = ms < (UINT64_MAX - now) / 1000000 ? now + ms * 1000000 : UINT64_MAX;
    uv_mutex_lock(&c->lock);
    while (c->running > 0 && now < until) {
        if (until == UINT64_MAX)
            uv_cond_wait(&c->cond, &c->lock);
        else
            (void)uv_cond_timedwait(&c->cond, &c->lock, until - now);
        now = uv_hrtime();
    }
    int error = c->running > 0 ? UV_ETIMEDOUT : 0;
    uv_mutex_unlock(&c->lock);
    return error;
}

/* Run the loop until they have ended. */
static int run_until_ended(crew *c, uint64_t ms)
{
    rotor__lua_loop *ll = c->ll;
    rotor_loop *loop = ll->loop;
    int error = rotor_add(loop, &keeper_type, &ms, &c->keeper);
    if (error)
        return error;
    c->blocked = true;
    error = rotor_loop_run(loop);
    c->blocked = false;
    rotor__tasks_settle(ll);
    if (all_ended(c))
        error = 0;
    else if (!error)
        error = rotor_find(loop, c->keeper) ? ROTOR_ECANCELED : UV_ETIMEDOUT;
    (void)rotor_end(loop, c->keeper, 0);
    return error;
}

/* [-0, +2 or 3, m] */
static int joined(lua_State *L, crew *c, int error)
{
    if (error == ROTOR_ECANCELED) {
        lua_pushnil(L);
        lua_pushliteral(L, "ECANCELED: the loop was stopped while threads still run");
        lua_pushliteral(L, "ECANCELED");
        return 3;
    }
    return error ? rotor__lua_fail(L, error) : push_results(L, c);
}

static int resume_join(lua_State *L, int status, lua_KContext context)
{
    crew *c = check_crew(L);
    bool unwinds, completed = rotor__task_was_completed(L, &unwinds);
    end_join(c->ll);
    if (unwinds)
        return rotor__task_unwind(L);
    return joined(L, c, completed ? 0 : UV_ETIMEDOUT);
}

/* [-0, +2 or 3, e] join([{ timeout = seconds, drain = seconds }]): results, errors; nil, …, ETIMEDOUT */
static int crew_join(lua_State *L)
{
    static const char *const known[] = {"timeout", "drain", NULL};
    crew *c = check_crew(L);
    rotor__lua_check_options(L, 2, known);
    uint64_t ms = rotor__lua_option_ms(L, 2, "timeout"), now;
    uint64_t drain_ms = rotor__lua_option_ms(L, 2, "drain");
    ms = ms ? ms : ROTOR_NEVER;
    drain_ms = drain_ms ? drain_ms : DRAIN_MS;
    lua_settop(L, 1);
    if (rotor__may_block(c->ll->vm)) {
        if (all_ended(c))
            return push_results(L, c);
        if (!c->ll->loop)
            return joined(L, c, wait_for(c, ms));
        begin_join(L, c->ll, drain_ms);
        int error = run_until_ended(c, ms);
        end_join(c->ll);
        return joined(L, c, error);
    }
    rotor__task *t = rotor__task_here(L);
    if (rotor__task_ll(t) != c->ll)
        return luaL_error(L, "threads are joined by tasks of the default loop, which starts them");
    if (all_ended(c))
        return rotor__task_breathe(L, t, push_results(L, c));
    begin_join(L, c->ll, drain_ms);
    now = t->machine.loop->now;
    return rotor__task_wait(L, t, &c->joiners, 0, ms == ROTOR_NEVER ? ms : now + ms, 0,
                            resume_join);
}

/* [-0, +0, e] stop([seconds]) */
static int crew_stop(lua_State *L)
{
    crew *c = check_crew(L);
    uint64_t ms = lua_isnoneornil(L, 2) ? DRAIN_MS : rotor__lua_check_ms(L, 2);
    stop(c, ms);
    return 0;
}

/* [-0, +1, e] #threads */
static int crew_len(lua_State *L)
{
    lua_pushinteger(L, check_crew(L)->n);
    return 1;
}

/* They run on. */
static int crew_gc(lua_State *L)
{
    crew_object *object = rotor__lua_check(L, 1, &kind_crew);
    if (object->crew)
        unref(object->crew);
    object->crew = NULL;
    return 0;
}

static const luaL_Reg methods[] = {{"join", crew_join}, {"stop", crew_stop}, {NULL, NULL}};
static const luaL_Reg meta[] = {{"__len", crew_len}, {"__gc", crew_gc}, {NULL, NULL}};

void rotor__lua_open_thread(lua_State *L)
{
    rotor__lua_kind(L, &kind_crew, methods, meta);
    lua_pushcfunction(L, l_start);
    lua_setfield(L, -2, "start");
}
