/* The watchdog in Lua: names the function that has kept the loop too long, as far as that is written in Lua.
**
** While it is on, all threads that rotor runs Lua on, and those made by them, have a hook that looks at the
** clock once in a while, and notes where Lua is when an event has passed its limit. A hook of the program's
** is left alone. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../core/alloc.h"
#include "lua_task.h"

enum { EVERY = 1000, FRAMES = 12 }; /* instructions of Lua; lines of a traceback */

typedef struct rotor__lua_watch {
    rotor__lua_loop *ll;
    uint64_t caught; /* when the event began in which `trace` was taken; 0: none was */
    uint64_t caught_ms;
    size_t used;
    char trace[2048];
    int ref; /* reference to the function that is told, or LUA_NOREF */
} rotor__lua_watch;

/* -- where Lua is ------------------------------------------------------------------------------- */

static void add(rotor__lua_watch *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(rotor__lua_watch *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(w->trace + w->used, sizeof w->trace - w->used, format, arguments);
    va_end(arguments);
    if (n > 0)
        w->used = w->used + (size_t)n < sizeof w->trace ? w->used + (size_t)n : sizeof w->trace - 1;
}

/* As luaL_traceback() does, but without taking memory of Lua's. */
static void take_trace(rotor__lua_watch *w, lua_State *L)
{
    lua_Debug ar;
    w->used = 0;
    add(w, "stack traceback:");
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        if (level == FRAMES) {
            add(w, "\n\t...");
            return;
        }
        (void)lua_getinfo(L, "nSl", &ar);
        if (ar.currentline > 0)
            add(w, "\n\t%s:%d: in ", ar.short_src, ar.currentline);
        else
            add(w, "\n\t%s: in ", ar.short_src);
        if (*ar.namewhat)
            add(w, "%s '%s'", ar.namewhat, ar.name);
        else if (*ar.what == 'm')
            add(w, "main chunk");
        else if (*ar.what == 'C')
            add(w, "?");
        else
            add(w, "function <%s:%d>", ar.short_src, ar.linedefined);
    }
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    bool watched = false;
    for (rotor__lua_loop *ll = rotor__lua_vm(L)->loops; ll; ll = ll->next) {
        rotor__lua_watch *w = ll->watchdog;
        const rotor__watch *watch = w && ll->loop ? ll->loop->watch : NULL;
        watched |= w != NULL;
        if (!watch || watch->began == 0 || w->caught == watch->began)
            continue;
        uint64_t took = uv_hrtime() - watch->began;
        if (took < watch->limit)
            continue;
        w->caught = watch->began;
        w->caught_ms = took / 1000000;
        take_trace(w, L);
    }
    if (!watched) /* a thread that nobody has thought of when it was switched off */
        lua_sethook(L, NULL, 0, 0);
}

/* -- hooks -------------------------------------------------------------------------------------- */

static void hook(lua_State *L, bool on)
{
    lua_Hook now = lua_gethook(L);
    if (on && !now)
        lua_sethook(L, on_count, LUA_MASKCOUNT, EVERY);
    else if (!on && now == on_count)
        lua_sethook(L, NULL, 0, 0);
}

static lua_State *main_thread(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    return main;
}

static bool hook_task(void *context, rotor_machine *m)
{
    const rotor__task *t = (const rotor__task *)m;
    if (m->type == &rotor__task_type && t->L)
        hook(t->L, *(bool *)context);
    return true;
}

/* Threads that are made later have the hook of whoever makes them. */
static void hook_all(lua_State *L, rotor__vm *vm)
{
    bool on = false;
    for (const rotor__lua_loop *ll = vm->loops; ll; ll = ll->next)
        on |= ll->watchdog != NULL;
    hook(L, on);
    hook(main_thread(L), on);
    hook(vm->D, on);
    for (unsigned i = 0; i < vm->tasks->nspare; i++)
        hook(vm->tasks->spare[i].L, on);
    for (const rotor__lua_loop *ll = vm->loops; ll; ll = ll->next)
        if (ll->loop)
            rotor_loop_each(ll->loop, hook_task, &on);
}

static bool is_hooked_by_others(lua_State *L)
{
    lua_Hook now = lua_gethook(L);
    return now && now != on_count;
}

/* -- reports ------------------------------------------------------------------------------------ */

typedef struct report {
    rotor__lua_loop *ll;
    const rotor_lag *lag;
    bool caught;
} report;

static void push_seconds(lua_State *L, uint64_t ms)
{
    lua_pushnumber(L, (lua_Number)ms / 1000);
}

/* [-0, +1, m] */
static void push_message(lua_State *D, const report *r)
{
    const rotor__lua_watch *w = r->ll->watchdog;
    const rotor_lag *lag = r->lag;
    char text[256];
    snprintf(text, sizeof text, "the loop was kept for %.3f s%s%s%s%s", (double)lag->ms / 1000,
             lag->name[0] ? ", by " : "", lag->name, lag->transition ? ": " : "",
             lag->transition ? lag->transition : "");
    if (r->caught)
        lua_pushfstring(D, "%s; after %f s it was here:\n%s", text, (lua_Number)w->caught_ms / 1000,
                        w->trace);
    else
        lua_pushfstring(D, "%s; that was not in Lua, or in a function of C that was called from it",
                        text);
}

/* [-0, +1, m] */
static void push_report(lua_State *D, const report *r)
{
    lua_createtable(D, 0, 5);
    push_message(D, r);
    lua_setfield(D, -2, "message");
    push_seconds(D, r->lag->ms);
    lua_setfield(D, -2, "seconds");
    if (r->lag->name[0]) {
        lua_pushstring(D, r->lag->name);
        lua_setfield(D, -2, "machine");
    }
    if (r->lag->transition) {
        lua_pushstring(D, r->lag->transition);
        lua_setfield(D, -2, "transition");
    }
    if (r->caught) {
        lua_pushstring(D, r->ll->watchdog->trace);
        lua_setfield(D, -2, "traceback");
    }
}

/* [report] */
static int tell(lua_State *D)
{
    const report *r = lua_touserdata(D, 1);
    int ref = r->ll->watchdog->ref;
    if (ref == LUA_NOREF) {
        push_message(D, r);
        rotor__lua_report(r->ll, "watchdog", NULL);
        return 0;
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, ref);
    push_report(D, r);
    lua_call(D, 1, 0);
    return 0;
}

static void on_lag(rotor_loop *loop, const rotor_lag *lag, void *context)
{
    const rotor__lua_watch *w = context;
    rotor__lua_loop *ll = w->ll;
    report r = {ll, lag, w->caught == loop->watch->event};
    (void)rotor__lua_run(ll, tell, &r, "watchdog", NULL);
}

/* -- the function ------------------------------------------------------------------------------- */

void rotor__lua_free_watchdog(rotor__lua_loop *ll)
{
    if (ll->watchdog)
        luaL_unref(ll->vm->D, LUA_REGISTRYINDEX, ll->watchdog->ref);
    rotor_free(ll->watchdog);
    ll->watchdog = NULL;
}

static bool is_off(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) || (lua_isboolean(L, index) && !lua_toboolean(L, index)) ||
           (lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == 0);
}

/* [-0, +0, e] watchdog(seconds[, function(report) … end]); nil, false or 0: off */
int rotor__lua_watchdog(lua_State *L)
{
    int a = rotor__lua_args(L);
    bool off = is_off(L, a);
    uint64_t ms = off ? 0 : rotor__lua_check_ms(L, a);
    luaL_argcheck(L, ms < ROTOR_NEVER, a, "seconds expected, or nothing to switch it off");
    if (!lua_isnoneornil(L, a + 1))
        luaL_checktype(L, a + 1, LUA_TFUNCTION);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_settop(L, a + 1);
    if (off) {
        (void)rotor_loop_watchdog(ll->loop, 0, NULL, NULL);
        rotor__lua_free_watchdog(ll);
        hook_all(L, ll->vm);
        return 0;
    }
    if (is_hooked_by_others(L) || is_hooked_by_others(main_thread(L)) ||
        is_hooked_by_others(ll->vm->D))
        return luaL_error(L, "debug.sethook has set a hook, and the watchdog needs it to be free");
    rotor__lua_watch *w = ll->watchdog;
    if (!w) {
        w = rotor_alloc_zero(sizeof *w);
        if (!w)
            return luaL_error(L, "not enough memory");
        w->ref = LUA_NOREF;
        w->ll = ll;
    }
    if (rotor_loop_watchdog(ll->loop, ms, on_lag, w)) {
        if (!ll->watchdog)
            rotor_free(w);
        return luaL_error(L, "not enough memory");
    }
    ll->watchdog = w;
    ll->loop->watch->transition = &ll->transition;
    luaL_unref(L, LUA_REGISTRYINDEX, w->ref);
    w->ref = LUA_NOREF;
    if (!lua_isnil(L, a + 1))
        w->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    hook_all(L, ll->vm);
    return 0;
}
