/* Looking at a loop from Lua: what every machine and task waits for. */
#include <stdio.h>
#include <string.h>

#include "../core/dump.h"
#include "lua_task.h"

/* -- tasks ------------------------------------------------------------------------------------- */

typedef struct naming {
    const rotor__task *task;
    const char *name; /* in the task's table, so it stays */
} naming;

static int find_name(lua_State *D)
{
    naming *n = lua_touserdata(D, 1);
    rotor__task_push_name(D, n->task);
    n->name = lua_type(D, -1) == LUA_TSTRING ? lua_tostring(D, -1) : NULL;
    return 0;
}

const char *rotor__task_name_of(const rotor_machine *m)
{
    const rotor__task *t = (const rotor__task *)m;
    naming n = {t, NULL};
    if (t->extra != LUA_NOREF)
        (void)rotor__lua_run(rotor__task_ll(t), find_name, &n, "task", NULL);
    return n.name ? n.name : m->type->name;
}

/* What of rotor is written in Lua is not where a task waits, but by what. */
static bool is_rotor(const lua_Debug *ar)
{
    return strstr(ar->source, "/rotor/task/") || strstr(ar->source, "/rotor/task.lua");
}

/* The function that the program has called, and where. Nothing is allocated. */
static size_t describe_wait(lua_State *L, char *text, size_t size)
{
    lua_Debug ar;
    char name[64] = "a wakeup";
    for (int level = 0; lua_getstack(L, level, &ar) && lua_getinfo(L, "nSl", &ar); level++) {
        if (ar.currentline > 0 && !is_rotor(&ar))
            return (size_t)snprintf(text, size, "%s at %s:%d", name, ar.short_src, ar.currentline);
        if (ar.name)
            snprintf(name, sizeof name, "%s", ar.name);
    }
    return (size_t)snprintf(text, size, "%s", name);
}

void rotor__task_describe(const rotor_machine *m, char *text, size_t size)
{
    static const char *const words[] = {[ROTOR__TASK_READY] = "its turn",
                                        [ROTOR__TASK_RUNNING] = "running",
                                        [ROTOR__TASK_WAITING] = "",
                                        [ROTOR__TASK_ENDED] = "its end",
                                        [ROTOR__TASK_FAILED] = "somebody to ask for its error"};
    const rotor__task *t = (const rotor__task *)m;
    int line;
    const char *source = rotor__task_place_of(rotor__task_ll(t)->vm->tasks, t->place, &line);
    size_t used = t->state == ROTOR__TASK_WAITING
                      ? describe_wait(t->L, text, size)
                      : (size_t)snprintf(text, size, "%s", words[t->state]);
    if (source && used < size)
        snprintf(text + used, size - used, ", a task spawned at %s:%d", source, line);
}

/* -- dumps ------------------------------------------------------------------------------------- */

static void add_line(void *context, const char *line)
{
    luaL_Buffer *b = context;
    luaL_addstring(b, line);
    luaL_addchar(b, '\n');
}

/* [-0, +1, e] dump(): a line for each machine and task */
int rotor__lua_dump(lua_State *L)
{
    luaL_Buffer b;
    (void)rotor__lua_args(L);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    luaL_buffinit(L, &b);
    rotor_loop_dump(ll->loop, add_line, &b);
    luaL_pushresult(&b);
    return 1;
}

static void print_line(void *context, const char *line)
{
    lua_writestringerror("%s\n", line);
}

void rotor__lua_print_dump(rotor__lua_loop *ll)
{
    lua_writestringerror("rotor: %s\n", "what machines wait for:");
    rotor_loop_dump(ll->loop, print_line, NULL);
}
