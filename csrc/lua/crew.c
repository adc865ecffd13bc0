/* rotor.threads as the Lua state sees it that starts them: starting, hearing of their end, joining. */
#include <stdio.h>

#include "../core/alloc.h"
#include "crew.h"

enum { MOST_THREADS = 1024, DRAIN_MS = 30000 };

static const rotor__kind kind_crew = {.name = "rotor.threads.crew"};

/* Its uservalue is the table of the results that have been unpacked. */
typedef struct crew_object {
    rotor__object object;
    rotor__crew *crew; /* NULL while it is made, and once it is collected */
} crew_object;

/* -- hearing of their end ---------------------------------------------------------------------- */

static bool all_ended(rotor__crew *c)
{
    uv_mutex_lock(&c->lock);
    bool all = c->running == 0;
    uv_mutex_unlock(&c->lock);
    return all;
}

/* The thread has ended, or is about to. */
static void hear(rotor__thread *t)
{
    rotor__crew *c = t->crew;
    if (t->heard)
        return;
    (void)uv_thread_join(&t->id);
    t->heard = true;
    if (++c->heard == c->n && c->link) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
        c->link = NULL;
        rotor__crew_unref(c);
    }
}

/* [thread] */
static int push_error(lua_State *D)
{
    const rotor__thread *t = lua_touserdata(D, 1);
    lua_pushstring(D, t->error);
    return 1;
}

static void report(rotor__thread *t)
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
    rotor__thread *t = ROTOR__CONTAINER(letter, rotor__thread, ended_letter);
    rotor__crew *c = t->crew;
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
    rotor__crew_unref(c);
}

/* [-0, +0, m] Finalizers may join them meanwhile; they find the thread itself in the result's place. */
static void unpack_result(lua_State *L, rotor__thread *t, int unpacked)
{
    lua_pushlightuserdata(L, t);
    lua_rawseti(L, unpacked, t->index);
    rotor__parcel *result = t->result;
    t->result = NULL;
    if (rotor__try_unpack(L, result) != LUA_OK) {
        t->result = result;
        lua_error(L);
    }
    lua_rawseti(L, unpacked, t->index);
    rotor__parcel_free(result);
}

/* [-0, +2, m] The list of results, and that of errors or nil. */
static int push_results(lua_State *L, rotor__crew *c)
{
    (void)lua_getiuservalue(L, 1, 1);
    int unpacked = lua_gettop(L);
    bool failed = false;
    for (unsigned i = 0; i < c->n; i++)
        failed = failed || c->threads[i].error;
    lua_createtable(L, (int)c->n, 0);
    if (failed)
        lua_newtable(L);
    else
        lua_pushnil(L);
    for (unsigned i = 0; i < c->n; i++) {
        rotor__thread *t = &c->threads[i];
        if (t->error) {
            lua_pushstring(L, t->error);
            lua_rawseti(L, -2, i + 1);
            t->told = true;
            continue;
        }
        if (t->result)
            unpack_result(L, t, unpacked);
        lua_rawgeti(L, unpacked, i + 1);
        if (lua_touserdata(L, -1) == t)
            luaL_error(L, "join() while another is about to return the results");
        lua_rawseti(L, -3, i + 1);
    }
    for (unsigned i = 0; i < c->n; i++)
        hear(&c->threads[i]);
    return 2;
}

void rotor__lua_end_crews(rotor__vm *vm)
{
    for (rotor__crew *c = vm->crews; c; c = c->next)
        rotor__crew_stop(c, 0);
    while (vm->crews) {
        rotor__crew *c = rotor__crew_ref(vm->crews);
        for (rotor__wait *wait; (wait = rotor__waits_first(&c->joiners));)
            rotor__link_remove(&wait->link);
        for (unsigned i = 0; i < c->n; i++) {
            rotor__thread *t = &c->threads[i];
            hear(t);
            if (t->error && !t->told)
                lua_writestringerror("rotor: a thread has died: %s\n", t->error);
            t->told = true;
        }
        rotor__crew_unref(c);
    }
}

/* -- starting ---------------------------------------------------------------------------------- */

/* NULL: no memory. */
static rotor__crew *new_crew(rotor__lua_loop *ll, unsigned n)
{
    rotor__crew *c = rotor_alloc_zero(sizeof *c + n * sizeof(rotor__thread));
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
        rotor__thread *t = &c->threads[c->n];
        if (rotor__blocker_init(&t->blocker)) {
            rotor__crew_unref(c);
            return NULL;
        }
        t->crew = c;
        t->index = c->n + 1;
        t->ended_letter.deliver = deliver_ended;
        t->stop_letter.deliver = rotor__thread_stop;
    }
    return c;
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
    crew_object *object = rotor__lua_new(L, &kind_crew, sizeof *object, 1);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_insert(L, 1);
    lua_pushcfunction(L, default_loop);
    lua_call(L, 0, 1);
    rotor__lua_loop *ll = lua_touserdata(L, -1);
    lua_pop(L, 1);
    rotor__crew *c = object->crew = new_crew(ll, (unsigned)n);
    if (!c)
        return luaL_error(L, "not enough memory");
    c->paths = rotor__pack_paths(L);
    c->program = rotor__pack_program(L, 3, ROTOR__TO_SEVERAL);
    int error = rotor__crew_start(c);
    if (error)
        return rotor__lua_fail(L, error);
    rotor__vm *vm = ll->vm;
    c->next = vm->crews;
    if (c->next)
        c->next->link = &c->next;
    c->link = &vm->crews;
    vm->crews = rotor__crew_ref(c);
    lua_settop(L, 1);
    return 1;
}

/* -- joining ----------------------------------------------------------------------------------- */

static rotor__crew *check_crew(lua_State *L)
{
    crew_object *object = rotor__lua_check(L, 1, &kind_crew);
    if (!object->crew)
        luaL_error(L, "the threads could not be started, or were closed with their Lua state");
    return object->crew;
}

/* Whoever waits for threads has SIGTERM end them gently, and a second one at once. */
static void on_term(rotor__lua_loop *ll)
{
    for (rotor__crew *c = ll->vm->crews; c; c = c->next) {
        rotor__crew_stop(c, c->asked ? 0 : ll->drain_ms);
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
    if (--ll->joins > 0)
        return;
    for (rotor__crew *c = ll->vm->crews; c; c = c->next)
        c->asked = false;
    if (ll->loop)
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

enum { LOOK_NS = 100000000 };

/* Without a loop nothing is to be done meanwhile, but to look now and then whether this thread is to stop itself. */
static int wait_for(rotor__crew *c, uint64_t ms)
{
    const rotor__blocker *b = c->ll->vm->blocker;
    bool stopped = false;
    uint64_t now = uv_hrtime();
    uint64_t until = ms < (UINT64_MAX - now) / 1000000 ? now + ms * 1000000 : UINT64_MAX;
    uv_mutex_lock(&c->lock);
    while (c->running > 0 && now < until && !stopped) {
        if (until == UINT64_MAX && !b)
            uv_cond_wait(&c->cond, &c->lock);
        else
            (void)uv_cond_timedwait(&c->cond, &c->lock,
                                    until - now < LOOK_NS ? until - now : LOOK_NS);
        now = uv_hrtime();
        stopped = b && atomic_load(&b->stop);
    }
    int error = c->running == 0 ? 0 : stopped ? ROTOR_ECANCELED : UV_ETIMEDOUT;
    uv_mutex_unlock(&c->lock);
    return error;
}

/* Run the loop until they have ended. */
static int run_until_ended(rotor__crew *c, uint64_t ms)
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
static int joined(lua_State *L, rotor__crew *c, int error)
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
    rotor__crew *c = check_crew(L);
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
    rotor__crew *c = check_crew(L);
    rotor__lua_check_options(L, 2, known);
    uint64_t ms = rotor__lua_option_ms(L, 2, "timeout");
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
    return rotor__task_wait(L, t, &c->joiners, 0, rotor__task_deadline(t, ms), 0, resume_join);
}

/* [-0, +0, e] stop([seconds]) */
static int crew_stop(lua_State *L)
{
    rotor__crew *c = check_crew(L);
    uint64_t ms = lua_isnoneornil(L, 2) ? DRAIN_MS : rotor__lua_check_ms(L, 2);
    rotor__crew_stop(c, ms);
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
        rotor__crew_unref(object->crew);
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
