/* Tracing in Lua: rotor.trace() and rotor.diagram(). A traced protocol is run by its trace's tables in
** place of its own, from what listens or connects next; the others go on as they are. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_private.h"

/* All of a Lua state are in one list: at its end the protocols' finalizers come before the end of what
** runs them (or, without memory, not at all), and so the traces are freed behind both. */
struct rotor__lua_trace {
    rotor_trace *trace;
    bool on;
    struct rotor__lua_trace *next, **link;
};

static void free_trace(rotor__lua_trace *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    rotor_trace_free(t->trace);
    rotor_free(t);
}

void rotor__lua_untrace(rotor__lua_class *class)
{
    if (class
            ->exported) /* whose machines do not retain it: the trace stays until they have ended */
        return;
    if (class->trace)
        free_trace(class->trace);
    class->trace = NULL;
}

void rotor__lua_free_traces(rotor__vm *vm)
{
    while (vm->traces)
        free_trace(vm->traces);
}

const rotor_protocol *rotor__lua_protocol(const rotor__lua_class *class)
{
    const rotor__lua_trace *t = class->trace;
    return t && t->on ? rotor_trace_protocol(t->trace) : rotor__lua_own_protocol(class);
}

/* [-0, +0, -] The first state of the table at `index` whose name is behind `last` in the alphabet. */
static const rotor_protocol *next_state(lua_State *L, int index, const char *last)
{
    const rotor_protocol *next = NULL;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const rotor__lua_class *class = rotor__lua_test(L, -1, &rotor__kind_protocol);
        if (class && (!last || strcmp(class->protocol.name, last) > 0) &&
            (!next || strcmp(class->protocol.name, next->name) < 0))
            next = &class->protocol;
        lua_pop(L, 1);
    }
    return next;
}

/* [-0, +0, -] The class at index 1 gets a trace with all its states. 0 or UV_ENOMEM. */
static int begin(lua_State *L, rotor__lua_class *class)
{
    rotor__vm *vm = rotor__lua_vm(L);
    rotor__lua_trace *t = rotor_alloc_zero(sizeof *t);
    int error = t ? rotor_trace_new(&t->trace, rotor__lua_own_protocol(class)) : UV_ENOMEM;
    if (error) {
        rotor_free(t);
        return error;
    }
    t->link = &vm->traces;
    t->next = vm->traces;
    if (t->next)
        t->next->link = &t->next;
    vm->traces = t;
    lua_getiuservalue(L, 1, ROTOR__CLASS_STATES);
    const rotor_protocol *state = NULL;
    while (!error && (state = next_state(L, lua_gettop(L), state ? state->name : NULL)) != NULL)
        error = rotor_trace_add(t->trace, state);
    if (error)
        free_trace(t);
    else
        class->trace = t;
    lua_pop(L, 1);
    return error;
}

/* [-0, +0, v] The state must not be closing: there are no traces any more. */
static void check_open(lua_State *L)
{
    if (rotor__lua_vm(L)->closed)
        luaL_error(L, "no trace: the Lua state closes");
}

/* [-0, +1, e] trace(protocol[, on]): the protocol, whose streams are counted from now on, or not */
static int l_trace(lua_State *L)
{
    rotor__lua_class *class = rotor__lua_check(L, 1, &rotor__kind_protocol);
    bool on = true;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TBOOLEAN);
        on = lua_toboolean(L, 2);
    }
    check_open(L);
    if (on && !class->trace && begin(L, class))
        luaL_error(L, "not enough memory");
    if (class->trace)
        class->trace->on = on;
    lua_settop(L, 1);
    return 1;
}

/* [buf] */
static int push_text(lua_State *L)
{
    const rotor_buf *text = lua_touserdata(L, 1);
    lua_pushlstring(L, rotor_buf_data(text), rotor_buf_len(text));
    return 1;
}

/* [-0, +1, e] diagram(protocol): what was counted, in the language of Graphviz */
static int l_diagram(lua_State *L)
{
    const rotor__lua_class *class = rotor__lua_check(L, 1, &rotor__kind_protocol);
    rotor_buf text = ROTOR_BUF_INIT;
    check_open(L);
    if (!class->trace)
        luaL_error(L,
                   "protocol \"%s\" was never traced; call rotor.trace(protocol) before it is "
                   "listened or connected with",
                   class->title);
    lua_settop(L, 1);
    lua_pushcfunction(L, push_text);
    lua_pushlightuserdata(L, &text);
    int error = rotor_trace_diagram(class->trace->trace, &text);
    bool pushed = !error && lua_pcall(L, 1, 1, 0) == LUA_OK;
    rotor_buf_fini(&text);
    return pushed ? 1 : luaL_error(L, "not enough memory");
}

static const luaL_Reg functions[] = {{"trace", l_trace}, {"diagram", l_diagram}, {NULL, NULL}};

void rotor__lua_open_trace(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
}
