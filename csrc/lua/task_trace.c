/* Where tasks come from, and what is told of their errors.
**
** A place is a line on which tasks were spawned, with the place of the task that did so. There are as many
** as such lines in a program, so they are kept for as long as the Lua state; a task has but a number. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_task.h"

enum { BUCKETS = 256, MOST = 65536, DEEPEST = 8 };

typedef struct place {
    char source[LUA_IDSIZE];
    int line;
    uint32_t parent; /* 0: it was no task */
    uint32_t next;   /* in its bucket */
    unsigned depth;
} place;

struct rotor__places {
    rotor__object object;
    uint32_t n, capacity; /* places[0] stands for one that is not known */
    place *places;
    uint32_t buckets[BUCKETS];
};

static const rotor__kind kind_places = {.name = "rotor.task.places"};

/* -- places ------------------------------------------------------------------------------------ */

static uint32_t add(struct rotor__places *p, const lua_Debug *ar, uint32_t parent, uint32_t *bucket)
{
    if (p->n == MOST)
        return 0;
    if (p->n == p->capacity) {
        uint32_t capacity = p->capacity ? 2 * p->capacity : 16;
        place *places = rotor_realloc(p->places, capacity * sizeof *places);
        if (!places)
            return 0;
        p->places = places;
        p->capacity = capacity;
        if (p->n == 0)
            p->places[p->n++] = (place){.source = "?"};
    }
    place *added = &p->places[p->n];
    *added = (place){.line = ar->currentline, .parent = parent, .next = *bucket};
    memcpy(added->source, ar->short_src, sizeof added->source);
    added->depth = parent ? p->places[parent].depth + 1 : 0;
    *bucket = p->n;
    return p->n++;
}

static bool is_at(const place *p, const lua_Debug *ar)
{
    return p->line == ar->currentline && strcmp(p->source, ar->short_src) == 0;
}

uint32_t rotor__task_place(lua_State *L, rotor__tasks *tasks)
{
    lua_Debug ar;
    if (!lua_getstack(L, 1, &ar) || !lua_getinfo(L, "Sl", &ar) || ar.currentline < 0)
        return 0;
    struct rotor__places *p = tasks->places;
    uint32_t parent = tasks->running ? tasks->running->place : 0;
    if (parent && (p->places[parent].depth == DEEPEST || is_at(&p->places[parent], &ar)))
        parent = is_at(&p->places[parent], &ar) ? p->places[parent].parent : 0;
    uint32_t *bucket = &p->buckets[((uint32_t)ar.currentline * 31 + parent) % BUCKETS];
    for (uint32_t i = *bucket; i; i = p->places[i].next)
        if (p->places[i].parent == parent && is_at(&p->places[i], &ar))
            return i;
    return add(p, &ar, parent, bucket);
}

const char *rotor__task_place_of(const rotor__tasks *tasks, uint32_t at, int *line)
{
    if (!at)
        return NULL;
    *line = tasks->places->places[at].line;
    return tasks->places->places[at].source;
}

void rotor__task_push_place(lua_State *L, const rotor__tasks *tasks, uint32_t at)
{
    if (at)
        lua_pushfstring(L, "%s:%d", tasks->places->places[at].source,
                        tasks->places->places[at].line);
    else
        lua_pushnil(L);
}

static int places_gc(lua_State *L)
{
    struct rotor__places *p = rotor__lua_check(L, 1, &kind_places);
    rotor_free(p->places);
    p->places = NULL;
    p->n = p->capacity = 0;
    memset(p->buckets, 0, sizeof p->buckets);
    return 0;
}

/* -- extras ------------------------------------------------------------------------------------ */

void rotor__task_push_extra(lua_State *L, rotor__task *t)
{
    if (t->extra == LUA_NOREF) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, -1);
        t->extra = luaL_ref(L, LUA_REGISTRYINDEX);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, t->extra);
    }
}

void rotor__task_push_name(lua_State *L, const rotor__task *t)
{
    if (t->extra == LUA_NOREF) {
        lua_pushnil(L);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->extra);
    lua_getfield(L, -1, "name");
    lua_remove(L, -2);
}

/* -- errors ------------------------------------------------------------------------------------ */

static const char traces_key = 0;

/* The text on top says where the value below it was thrown. */
void rotor__task_keep_trace(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traces_key);
    lua_pushthread(L);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, -5);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -4);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    rotor__task *t = rotor__task_on(L);
    if (t)
        t->flags |= ROTOR__TASK_TRACED;
}

void rotor__task_forget_trace(lua_State *D, lua_State *thread)
{
    lua_rawgetp(D, LUA_REGISTRYINDEX, &traces_key);
    lua_pushthread(thread);
    lua_xmove(thread, D, 1);
    lua_pushnil(D);
    lua_rawset(D, -3);
    lua_pop(D, 1);
}

/* What is thrown again on its way out keeps the place where it was thrown first. */
int rotor__task_catch(lua_State *L)
{
    lua_settop(L, 1);
    if (rotor__task_is_unwinding(L, 1))
        return 1;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traces_key);
    lua_pushthread(L);
    if (lua_rawget(L, 2) == LUA_TTABLE) {
        lua_rawgeti(L, 3, 1);
        if (lua_rawequal(L, -1, 1)) {
            lua_settop(L, 1);
            return 1;
        }
    }
    lua_settop(L, 1);
    luaL_traceback(L, L, NULL, 1);
    rotor__task_keep_trace(L);
    return 1;
}

/* [-0, +0 or 1, m] The traceback of the value at `index`, which `thread` has thrown. */
static void add_traceback(lua_State *D, luaL_Buffer *b, lua_State *thread, int index)
{
    lua_rawgetp(D, LUA_REGISTRYINDEX, &traces_key);
    lua_pushthread(thread);
    lua_xmove(thread, D, 1);
    bool known = lua_rawget(D, -2) == LUA_TTABLE;
    if (known) {
        lua_rawgeti(D, -1, 1);
        known = lua_rawequal(D, -1, index);
        lua_pop(D, 1);
    }
    if (known)
        lua_rawgeti(D, -1, 2);
    else
        luaL_traceback(D, thread, NULL, 0);
    lua_replace(D, -3);
    lua_pop(D, 1);
    luaL_addvalue(b);
}

/* [-0, +0, m] " spawned at file:line, by one spawned at ..." */
static void add_places(lua_State *D, luaL_Buffer *b, const rotor__tasks *tasks, uint32_t at)
{
    const char *before = " spawned at ";
    for (; at; at = tasks->places->places[at].parent) {
        luaL_addstring(b, before);
        rotor__task_push_place(D, tasks, at);
        luaL_addvalue(b);
        before = ", by one spawned at ";
    }
}

/* [-0, +0, m] */
static void add_name(lua_State *D, luaL_Buffer *b, const rotor__task *t)
{
    luaL_addstring(b, "task");
    rotor__task_push_name(D, t);
    if (lua_isnil(D, -1)) {
        lua_pop(D, 1);
        return;
    }
    lua_pushfstring(D, " '%s'", lua_tostring(D, -1));
    lua_remove(D, -2);
    luaL_addvalue(b);
}

/* [-0, +0, m] Where a waiting task is. */
static void add_position(lua_State *D, luaL_Buffer *b, const rotor__task *t)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(t->L, level, &ar); level++)
        if (lua_getinfo(t->L, "Sl", &ar) && ar.currentline > 0) {
            lua_pushfstring(D, " at %s:%d", ar.short_src, ar.currentline);
            luaL_addvalue(b);
            return;
        }
}

/* [-0, +0, m] Who waits for `t`, who waits for those, and so on. */
static void add_joiners(lua_State *D, luaL_Buffer *b, const rotor__tasks *tasks,
                        const rotor__task *t, int depth)
{
    for (const rotor__task *above; depth > 0 && (above = rotor__task_joiner(t)); depth--) {
        luaL_addstring(b, "\njoined by ");
        add_name(D, b, above);
        add_position(D, b, above);
        luaL_addstring(b, ",");
        add_places(D, b, tasks, above->place);
        t = above;
    }
}

void rotor__task_explain(lua_State *D, lua_State *thread, rotor__task *t)
{
    luaL_Buffer b;
    int value = lua_gettop(D);
    luaL_tolstring(D, value, NULL);
    luaL_buffinit(D, &b);
    lua_pushvalue(D, value + 1);
    luaL_addvalue(&b);
    luaL_addstring(&b, "\n");
    add_traceback(D, &b, thread, value);
    if (t) {
        const rotor__tasks *tasks = rotor__task_ll(t)->vm->tasks;
        luaL_addstring(&b, "\n");
        add_name(D, &b, t);
        add_places(D, &b, tasks, t->place);
        add_joiners(D, &b, tasks, t, DEEPEST);
    }
    luaL_pushresult(&b);
    lua_replace(D, value);
    lua_settop(D, value);
    rotor__task_forget_trace(D, thread);
}

void rotor__lua_open_task_trace(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", places_gc}, {NULL, NULL}};
    rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    rotor__lua_kind(L, &kind_places, NULL, meta);
    tasks->places = rotor__lua_new(L, &kind_places, sizeof *tasks->places, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, tasks->places);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traces_key);
}
