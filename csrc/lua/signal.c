/* Signals: the function that a loop has for one, the tasks that wait for it, and the dump it may print.
**
** A task that has waited for a signal once has it noted from then on, so that one which comes between
** two waits is there at the next, and does not end the process. When a signal comes that nobody is there
** for any more, it is left to do what it does where nobody handles it. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "../core/alloc.h"
#include "lua_task.h"
#include "lua_threads.h"

enum { SIGNALS = 8 };

static const struct {
    const char *name;
    int signum;
} signals[SIGNALS] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
                      {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"WINCH", SIGWINCH}};

/* A task that has waited. */
typedef struct waiter {
    struct waiter *next;
    rotor_handle task;
    bool pending; /* the signal has come since */
} waiter;

/* What a loop does on a signal. */
typedef struct rotor__lua_signal {
    int ref;   /* reference to a function, or LUA_NOREF */
    bool dump; /* print what all machines wait for */
    rotor__waits waits;
    waiter *waiters;
    void (*otherwise)(
        rotor__lua_loop *ll); /* NULL, or what is to be done if the program does nothing */
} rotor__lua_signal;

static int check_signal(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int i = 0; i < SIGNALS; i++)
        if (strcmp(name, signals[i].name) == 0)
            return i;
    return luaL_argerror(L, index, "a signal expected: HUP INT QUIT USR1 USR2 TERM CHLD or WINCH");
}

/* [-0, +0, v] The loop's. */
static rotor__lua_signal *want(lua_State *L, rotor__lua_loop *ll, int i)
{
    if (!ll->signals) {
        ll->signals = rotor_alloc_zero(SIGNALS * sizeof *ll->signals);
        if (!ll->signals)
            luaL_error(L, "not enough memory");
        for (int j = 0; j < SIGNALS; j++)
            ll->signals[j].ref = LUA_NOREF;
    }
    return &ll->signals[i];
}

void rotor__lua_free_signals(rotor__lua_loop *ll)
{
    for (int i = 0; ll->signals && i < SIGNALS; i++) {
        luaL_unref(ll->vm->D, LUA_REGISTRYINDEX, ll->signals[i].ref);
        for (waiter *w = ll->signals[i].waiters, *next; w; w = next) {
            next = w->next;
            rotor_free(w);
        }
    }
    rotor_free(ll->signals);
    ll->signals = NULL;
}

/* -- when one comes ---------------------------------------------------------------------------- */

typedef struct signal_call {
    int ref;
    const char *name;
} signal_call;

static int call_signal(lua_State *D)
{
    const signal_call *call = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, call->ref);
    lua_pushstring(D, call->name);
    lua_call(D, 1, 0);
    return 0;
}

static void forget_the_ended(rotor_loop *loop, rotor__lua_signal *s)
{
    for (waiter **link = &s->waiters, *w; (w = *link);) {
        if (rotor_find(loop, w->task)) {
            link = &w->next;
        } else {
            *link = w->next;
            rotor_free(w);
        }
    }
}

static bool is_wanted(rotor_loop *loop, rotor__lua_signal *s)
{
    forget_the_ended(loop, s);
    return s->ref != LUA_NOREF || s->dump || s->waiters || s->otherwise;
}

/* Nobody here wants it, and if nobody else in this process does, it is as if there were no handler. */
static void leave_to_system(rotor_loop *loop, int signum)
{
    struct sigaction now;
    (void)rotor_loop_on_signal(loop, signum, NULL, NULL);
    if (!sigaction(signum, NULL, &now) && now.sa_handler == SIG_DFL)
        (void)kill(getpid(), signum);
}

static void on_signal(rotor_loop *loop, int signum, void *context)
{
    rotor__lua_loop *ll = rotor_loop_context(loop);
    int i = 0;
    while (signals[i].signum != signum)
        i++;
    rotor__lua_signal *s = &ll->signals[i];
    if (!is_wanted(loop, s)) {
        leave_to_system(loop, signum);
        return;
    }
    if (s->otherwise && s->ref == LUA_NOREF && !s->waiters)
        s->otherwise(ll);
    if (s->dump)
        rotor__lua_print_dump(ll);
    for (waiter *w = s->waiters; w; w = w->next)
        w->pending = true;
    rotor__task_complete_all(&s->waits);
    signal_call call = {s->ref, signals[i].name};
    if (s->ref != LUA_NOREF)
        (void)rotor__lua_run(ll, call_signal, &call, "signal", call.name);
}

/* Have it told to this loop, or not any more. 0 or an error. */
static int watch(rotor__lua_loop *ll, int i)
{
    bool wanted = is_wanted(ll->loop, &ll->signals[i]);
    return rotor_loop_on_signal(ll->loop, signals[i].signum, wanted ? on_signal : NULL,
                                ll->signals);
}

void rotor__lua_begin_term(lua_State *L, rotor__lua_loop *ll, void (*fn)(rotor__lua_loop *ll))
{
    int i = 0;
    while (signals[i].signum != SIGTERM)
        i++;
    want(L, ll, i)->otherwise = fn;
    int error = watch(ll, i);
    if (error)
        luaL_error(L, "signal TERM: %s", rotor_strerror(error));
}

void rotor__lua_end_term(rotor__lua_loop *ll)
{
    for (int i = 0; ll->signals && i < SIGNALS; i++) {
        if (!ll->signals[i].otherwise)
            continue;
        ll->signals[i].otherwise = NULL;
        (void)watch(ll, i);
    }
}

/* -- functions ---------------------------------------------------------------------------------- */

/* [-0, +1 or 3, e] on_signal(name, function(name) … end), or nil: not any more */
int rotor__lua_on_signal(lua_State *L)
{
    int a = rotor__lua_args(L);
    int i = check_signal(L, a);
    bool wanted = !lua_isnoneornil(L, a + 1);
    if (wanted)
        luaL_checktype(L, a + 1, LUA_TFUNCTION);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_settop(L, a + 1);
    if (!wanted && !ll->signals)
        return rotor__lua_result(L, 0);
    rotor__lua_signal *s = want(L, ll, i);
    int before = s->ref;
    s->ref = wanted ? luaL_ref(L, LUA_REGISTRYINDEX) : LUA_NOREF;
    int error = watch(ll, i);
    luaL_unref(L, LUA_REGISTRYINDEX, error ? s->ref : before);
    if (error)
        s->ref = before;
    return rotor__lua_result(L, error);
}

/* [-0, +1 or 3, e] dump_on_signal(name[, false]): print a dump to stderr whenever it comes, or not any more */
int rotor__lua_dump_on_signal(lua_State *L)
{
    int a = rotor__lua_args(L);
    int i = check_signal(L, a);
    if (!lua_isnoneornil(L, a + 1))
        luaL_checktype(L, a + 1, LUA_TBOOLEAN);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    rotor__lua_signal *s = want(L, ll, i);
    bool before = s->dump;
    s->dump = lua_isnoneornil(L, a + 1) || lua_toboolean(L, a + 1);
    int error = watch(ll, i);
    if (error)
        s->dump = before;
    return rotor__lua_result(L, error);
}

/* -- tasks that wait ---------------------------------------------------------------------------- */

/* A case of task.select. */
typedef struct signal_object {
    rotor__object object;
    rotor__lua_loop *ll;
    int i;
} signal_object;

static waiter *find_waiter(const rotor__lua_signal *s, rotor_handle task)
{
    waiter *w = s->waiters;
    while (w && (w->task.slot != task.slot || w->task.generation != task.generation))
        w = w->next;
    return w;
}

static rotor_handle running_task(const rotor__lua_loop *ll)
{
    return ll->vm->tasks->running->machine.self;
}

/* Whether it has come since the running task has last been told, which it is now. */
static bool take(rotor__lua_loop *ll, int i)
{
    waiter *w = ll->signals ? find_waiter(&ll->signals[i], running_task(ll)) : NULL;
    bool pending = w && w->pending;
    if (pending)
        w->pending = false;
    return pending;
}

/* [-0, +0, v] Where the running task is to wait for it. */
static rotor__waits *wait_in(lua_State *L, rotor__lua_loop *ll, int i)
{
    rotor__lua_signal *s = want(L, ll, i);
    forget_the_ended(ll->loop, s);
    if (!find_waiter(s, running_task(ll))) {
        waiter *w = rotor_alloc_zero(sizeof *w);
        if (!w)
            luaL_error(L, "not enough memory");
        *w = (waiter){s->waiters, running_task(ll), false};
        s->waiters = w;
    }
    int error = watch(ll, i);
    if (error)
        luaL_error(L, "signal %s: %s", signals[i].name, rotor_strerror(error));
    return &s->waits;
}

/* [-0, +1, m] */
static int push_name(lua_State *L, int i)
{
    lua_pushstring(L, signals[i].name);
    return 1;
}

static int come(lua_State *L, int status, lua_KContext i)
{
    if (!rotor__task_completed(L))
        return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    (void)take(rotor__task_ll(rotor__lua_vm(L)->tasks->running), (int)i);
    return push_name(L, (int)i);
}

/* [-0, +1 or 3, e] signal(name[, seconds]): the name, when it has come */
static int l_signal(lua_State *L)
{
    int i = check_signal(L, 1);
    (void)rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__task_here(L);
    rotor__lua_loop *ll = rotor__task_ll(t);
    if (take(ll, i))
        return rotor__task_breathe(L, t, push_name(L, i));
    return rotor__task_wait(L, t, wait_in(L, ll, i), 0, rotor__lua_check_deadline(L, 2, ll->loop),
                            i, come);
}

static int poll_signal(lua_State *L, int index);
static rotor__waits *signal_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {{"signal", poll_signal, signal_queue},
                                            {NULL, NULL, NULL}};
static const rotor__kind kind_signal = {"rotor.signal", waitables};

static int poll_signal(lua_State *L, int index)
{
    const signal_object *object = rotor__lua_check(L, index, &kind_signal);
    return take(object->ll, object->i) ? push_name(L, object->i) : -1;
}

static rotor__waits *signal_queue(lua_State *L, int index)
{
    const signal_object *object = rotor__lua_check(L, index, &kind_signal);
    return wait_in(L, object->ll, object->i);
}

void rotor__lua_replace_signal(lua_State *L, int index, rotor__lua_loop *ll)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "a case of task.select: the name of a signal expected, got %s",
                   luaL_typename(L, index));
    int i = check_signal(L, index);
    signal_object *object = rotor__lua_new(L, &kind_signal, sizeof *object, 0);
    object->ll = ll;
    object->i = i;
    lua_replace(L, index);
}

void rotor__lua_open_signal(lua_State *L)
{
    rotor__lua_kind(L, &kind_signal, NULL, NULL);
    lua_pushcfunction(L, l_signal);
    lua_setfield(L, -2, "signal");
}
