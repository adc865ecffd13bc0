/* task.select: the first of several things to come.
**
** What is there is taken at once, of several any, so that none is put off for ever. Otherwise the task is in
** all the queues at the same time, and whoever completes one of its waits takes it out of the others: so
** exactly one of them happens. */
#include <string.h>

#include "lua_task.h"

enum {
    CASES = 1,
    SELECT,
    FIRST
}; /* on the stack; from FIRST on a key, an object and a value for each */
enum { EACH = 3, MOST_CASES = 64 };

typedef struct select_case {
    const rotor__waitable *how; /* NULL: after a time */
    rotor__waits *queue;
} select_case;

typedef struct selecting {
    rotor__object object;
    bool guarded; /* it is closed with the stack */
    uint64_t at;  /* of the earliest time */
    uint32_t at_case;
    select_case *how;
    rotor__cases cases; /* last */
} selecting;

static const rotor__kind kind_selecting = {.name = "rotor.task.select"};

static int base_of(uint32_t i)
{
    return FIRST + EACH * (int)i;
}

/* -- the cases --------------------------------------------------------------------------------- */

/* [-0, +0, -] The kind of the object at `index`; NULL: it is no userdata of rotor's. What another library's
** begins with may be anything, so it is only looked up. */
static const rotor__kind *kind_of(lua_State *L, int index)
{
    const rotor__object *object = lua_touserdata(L, index);
    if (!object || lua_rawlen(L, index) < sizeof *object || !lua_getmetatable(L, index))
        return NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, object->kind);
    bool is_ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_ours ? object->kind : NULL;
}

static int complain(lua_State *L, int index, const char *verb)
{
    const rotor__kind *kind = kind_of(L, index);
    const rotor__waitable *waitables = kind ? kind->waitables : NULL;
    const char *given = luaL_tolstring(L, index, NULL);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (const rotor__waitable *w = waitables; w && w->verb; w++) {
        luaL_addstring(&b, w == waitables ? "; it can be: " : ", ");
        luaL_addstring(&b, w->verb);
    }
    luaL_pushresult(&b);
    return luaL_error(L, "task.select cannot wait for { %s = %s }%s", verb, given,
                      lua_tostring(L, -1));
}

/* [-0, +0, v] How the object at `index` is waited for. */
static const rotor__waitable *find_verb(lua_State *L, int index, const char *verb)
{
    const rotor__kind *kind = kind_of(L, index);
    for (const rotor__waitable *w = kind ? kind->waitables : NULL; w && w->verb; w++)
        if (strcmp(w->verb, verb) == 0)
            return w;
    complain(L, index, verb);
    return NULL;
}

/* [-1, +3, v] The case on top, which becomes its object and its value; its key is below. */
static void read_case(lua_State *L, rotor__task *t, selecting *s, uint32_t i)
{
    int given = lua_gettop(L);
    const char *verb = NULL;
    if (!lua_istable(L, given))
        luaL_error(L, "a case of task.select is a table such as { recv = channel }, not a %s",
                   luaL_typename(L, given));
    for (lua_pushnil(L); lua_next(L, given); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "value") == 0)
            continue;
        if (verb)
            luaL_error(L, "a case of task.select waits for one thing, not for '%s' and '%s'", verb,
                       name);
        verb = name; /* which is a key of the table */
    }
    if (!verb)
        luaL_error(L, "a case of task.select is empty; it is a table such as { recv = channel }");
    lua_pushstring(L, verb);
    lua_rawget(L, given);
    lua_pushliteral(L, "value");
    lua_rawget(L, given);
    lua_remove(L, given);
    if (strcmp(verb, "after") == 0) {
        uint64_t at = rotor__lua_check_deadline(L, given, t->machine.loop);
        if (at < s->at) {
            s->at = at;
            s->at_case = i;
        }
    } else {
        if (strcmp(verb, "signal") == 0)
            rotor__lua_replace_signal(L, given, rotor__task_ll(t));
        s->how[i].how = find_verb(L, given, verb);
    }
}

/* [-0, +n, v] All of the table at CASES; whether there is a default. */
static bool read_cases(lua_State *L, rotor__task *t, selecting *s)
{
    bool has_default = false;
    uint32_t i = 0;
    for (lua_pushnil(L); lua_next(L, CASES);) {
        if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "default") == 0) {
            has_default = lua_toboolean(L, -1);
            lua_pop(L, 1);
            continue;
        }
        if (i == s->cases.n) /* by a finalizer */
            luaL_error(L, "the cases of task.select were changed meanwhile");
        lua_pushvalue(L, -2); /* for lua_next() */
        lua_insert(L, -2);
        read_case(L, t, s, i++); /* [key, key, object, value] */
        lua_rotate(L, -4, -1);
    }
    return has_default;
}

static uint32_t count_cases(lua_State *L)
{
    uint32_t n = 0;
    for (lua_pushnil(L); lua_next(L, CASES); lua_pop(L, 1))
        n += lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "default") != 0;
    if (n > MOST_CASES)
        luaL_error(L, "task.select with %d cases; it takes %d", (int)n, MOST_CASES);
    return n;
}

/* -- selecting --------------------------------------------------------------------------------- */

/* [-0, +n, m] The key, below the `n` results on top. */
static int choose(lua_State *L, uint32_t i, int n)
{
    lua_pushvalue(L, base_of(i));
    lua_insert(L, -(n + 1));
    return n + 1;
}

/* Xorshift. */
static uint32_t any(rotor__tasks *tasks)
{
    uint32_t x = tasks->random;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return tasks->random = x;
}

/* [-0, +n or 0, v] What is there already; or 0. */
static int poll(lua_State *L, selecting *s)
{
    uint32_t n = s->cases.n, from = n ? any(rotor__lua_vm(L)->tasks) % n : 0;
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = (from + j) % n;
        int results = s->how[i].how ? s->how[i].how->poll(L, base_of(i) + 1) : -1;
        if (results >= 0)
            return choose(L, i, results);
    }
    return 0;
}

static int wait(lua_State *L, rotor__task *t, selecting *s);

static int selected(lua_State *L, int status, lua_KContext top)
{
    selecting *s = lua_touserdata(L, SELECT);
    if (!rotor__task_completed(L))
        return choose(L, s->at_case, 0);
    uint32_t i = s->cases.completed->which - 1;
    int n = lua_gettop(L) - (int)top;
    if (n == 0) {
        n = s->how[i].how->poll(L, base_of(i) + 1);
        if (n < 0) { /* somebody was faster */
            n = poll(L, s);
            return n > 0 ? n : wait(L, s->cases.task, s);
        }
    }
    return choose(L, i, n);
}

/* [selecting] If the coroutine was closed by somebody, the waits go with its stack. */
static int selecting_close(lua_State *L)
{
    const selecting *s = lua_touserdata(L, 1);
    rotor__task *t = s->cases.task;
    if (!rotor__task_on(L) && t->flags & ROTOR__TASK_SELECTS && t->cases == &s->cases) {
        rotor__task_interrupt(t);
        (void)rotor_wake(t->machine.loop, t->machine.self);
    }
    return 0;
}

static int wait(lua_State *L, rotor__task *t, selecting *s)
{
    uint32_t n = s->cases.n;
    if (!s->guarded)
        lua_toclose(L, SELECT);
    s->guarded = true;
    for (uint32_t i = 0; i < n; i++)
        s->how[i].queue = s->how[i].how ? s->how[i].how->queue(L, base_of(i) + 1) : NULL;
    for (uint32_t i = 0; i < n; i++) { /* and from here on nothing is thrown */
        s->cases.waits[i] = (rotor__wait){.slot = (uint32_t)base_of(i) + 2, .which = i + 1};
        if (s->how[i].queue)
            rotor__link_add(&s->how[i].queue->head, &s->cases.waits[i].link);
    }
    s->cases.completed = NULL;
    t->cases = &s->cases;
    t->flags |= ROTOR__TASK_SELECTS;
    return rotor__task_park(L, t, s->at, lua_gettop(L), selected);
}

/* [-0, +n, e] select { key = { verb = object }, ... }: key, results */
static int l_select(lua_State *L)
{
    luaL_checktype(L, CASES, LUA_TTABLE);
    lua_settop(L, CASES);
    uint32_t n = count_cases(L);
    rotor__task *t = rotor__task_here(L);
    luaL_checkstack(L, EACH * (int)n + LUA_MINSTACK, "too many cases");
    size_t size = sizeof(selecting) + n * sizeof(rotor__wait);
    selecting *s = rotor__lua_new(L, &kind_selecting, size + n * sizeof(select_case), 0);
    s->how = (select_case *)(void *)((char *)s + size);
    s->at = ROTOR_NEVER;
    s->cases.task = t;
    s->cases.n = n;
    bool has_default = read_cases(L, t, s);
    int results = poll(L, s);
    if (results > 0)
        return rotor__task_breathe(L, t, results);
    if (has_default) {
        lua_pushliteral(L, "default");
        return rotor__task_breathe(L, t, 1);
    }
    if (n == 0)
        return luaL_error(L, "task.select without a case would wait for ever");
    return wait(L, t, s);
}

void rotor__lua_open_select(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__close", selecting_close}, {NULL, NULL}};
    lua_pushcfunction(L, l_select);
    lua_setfield(L, -2, "select");
    rotor__lua_kind(L, &kind_selecting, NULL, meta);
}
