/* Programs in Lua. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/alloc.h"
#include "../core/process.h"
#include "lua_future.h"

static const rotor__kind kind_process = {.name = "rotor.process"};

enum { EXITED = 1, USERVALUES = 1 };

typedef struct rotor__lua_process {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_handle handle;
    int pid;
    int pipes[3]; /* -1: none, or somebody has connected to it */
    const struct ending *ended;
    int kept; /* reference to it, while it runs and somebody may still connect; or LUA_NOREF */
    struct rotor__lua_process *next, **link; /* among all of the Lua state; link is NULL in none */
} process_object;

static const char *const stdio_names[] = {"stdin", "stdout", "stderr"};

/* -- the end ------------------------------------------------------------------------------------ */

/* What waits for it. */
typedef struct ending {
    rotor__lua_loop *ll;
    rotor_port *port;
    int64_t status;
    int signum;
    rotor__lua_box *box;
} ending;

static const struct {
    const char *name;
    int signum;
} signals[] = {{"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},     {"HUP", SIGHUP},
               {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},   {"STOP", SIGSTOP},
               {"CONT", SIGCONT}, {"ABRT", SIGABRT}, {"SEGV", SIGSEGV},   {"PIPE", SIGPIPE},
               {"ALRM", SIGALRM}, {"CHLD", SIGCHLD}, {"WINCH", SIGWINCH}, {"FPE", SIGFPE},
               {"ILL", SIGILL},   {"BUS", SIGBUS},   {"TRAP", SIGTRAP},   {"TSTP", SIGTSTP},
               {"XCPU", SIGXCPU}, {"SYS", SIGSYS}};

enum { SIGNALS = sizeof signals / sizeof *signals };

/* [ending] { status = … } or { signal = "TERM" } */
static int make_box(lua_State *D)
{
    ending *e = lua_touserdata(D, 1);
    int i = 0;
    lua_createtable(D, 0, 1);
    while (i < SIGNALS && signals[i].signum != e->signum)
        i++;
    if (e->signum == 0)
        lua_pushinteger(D, (lua_Integer)e->status);
    else if (i < SIGNALS)
        lua_pushstring(D, signals[i].name);
    else
        lua_pushinteger(D, e->signum);
    lua_setfield(D, -2, e->signum ? "signal" : "status");
    e->box = rotor__lua_new_box(D, e->ll->vm);
    return 0;
}

static bool has_pipes(const process_object *object)
{
    return object->pipes[0] >= 0 || object->pipes[1] >= 0 || object->pipes[2] >= 0;
}

/* The collector may have it when the program has it no more. */
static void let_go(process_object *object)
{
    luaL_unref(object->ll->vm->D, LUA_REGISTRYINDEX, object->kept);
    object->kept = LUA_NOREF;
}

static void on_ended(void *context, int error, int64_t status, int signum)
{
    ending *e = context;
    for (process_object *p = e->ll->vm->processes; p; p = p->next)
        if (p->ended == e)
            let_go(p);
    e->status = status;
    e->signum = signum;
    if (!error)
        (void)rotor__lua_run(e->ll, make_box, e, "process", "exited");
    if (e->box)
        (void)rotor_port_set(e->port, e->box);
    else
        rotor_port_drop(e->port);
    rotor_free(e);
}

/* -- beginning ---------------------------------------------------------------------------------- */

/* [-0, +0, v] The string at `index`, which has no NUL in it. */
static const char *check_text(lua_State *L, int index, const char *what)
{
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "%s: a string expected, got %s", what, luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &len);
    if (strlen(text) != len)
        luaL_error(L, "%s: a string without NUL expected", what);
    return text;
}

/* [-0, +1, v] The array of strings 1 to #t at `t`, which stay where they are as long as what is pushed
** does: a userdata with all of them, and the table of them as its uservalue. */
static const char **push_args(lua_State *L, int t)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, t);
    luaL_argcheck(L, n > 0 && n < INT_MAX, t, "the name of a program expected, and its arguments");
    const char **args = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *args, 1);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, t, i);
        args[i - 1] = check_text(L, -1, "an argument");
        lua_rawseti(L, -2, i);
    }
    args[n] = NULL;
    lua_setiuservalue(L, -2, 1);
    return args;
}

/* [-0, +0, v] The field `name` of the options at `t` is on top: what it stands for. */
static rotor_stdio check_stdio(lua_State *L, const char *name)
{
    static const struct {
        const char *word;
        rotor_stdio_kind kind;
    } words[] = {
        {"inherit", ROTOR_STDIO_INHERIT}, {"null", ROTOR_STDIO_NULL}, {"pipe", ROTOR_STDIO_PIPE}};
    luaL_Stream *file = luaL_testudata(L, -1, LUA_FILEHANDLE);
    if (lua_isnil(L, -1))
        return (rotor_stdio){ROTOR_STDIO_INHERIT, 0};
    if (file && file->closef)
        return (rotor_stdio){ROTOR_STDIO_FD, fileno(file->f)};
    if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0 && lua_tointeger(L, -1) <= INT_MAX)
        return (rotor_stdio){ROTOR_STDIO_FD, (int)lua_tointeger(L, -1)};
    const char *given = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    for (int i = 0; i < 3; i++)
        if (strcmp(given, words[i].word) == 0)
            return (rotor_stdio){words[i].kind, 0};
    luaL_error(
        L, "option '%s': 'inherit', 'null', 'pipe', an open file or a descriptor expected, got %s",
        name, luaL_tolstring(L, -1, NULL));
    return (rotor_stdio){0};
}

/* Whether `entry`, "NAME=value", is to give way to what the table at `env` has of that name. */
static bool is_replaced(lua_State *L, int env, const char *entry)
{
    lua_pushlstring(L, entry, strcspn(entry, "="));
    bool replaced = lua_rawget(L, env) != LUA_TNIL;
    lua_pop(L, 1);
    return replaced;
}

/* [-0, +1, v] The environment of this process with what the table at `env` has: values in place of or
** added to its own, false for what is to be left out. As push_args(). */
static const char **push_env(lua_State *L, int env)
{
    extern char **environ;
    size_t n = 0, most = 1;
    for (char **entry = environ; entry && *entry; entry++)
        most++;
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strchr(lua_tostring(L, -2), '='))
            luaL_error(L, "option 'env': a table of values by the names of variables expected");
        if (lua_type(L, -1) != LUA_TBOOLEAN || lua_toboolean(L, -1))
            (void)check_text(L, -1, "option 'env'");
        most++;
    }
    const char **list = lua_newuserdatauv(L, most * sizeof *list, 1);
    lua_newtable(L);
    int kept = lua_gettop(L);
    for (char **entry = environ; entry && *entry; entry++)
        if (!is_replaced(L, env, *entry))
            list[n++] = *entry;
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
        if (lua_isboolean(L, -1))
            continue;
        lua_pushvalue(L, -1); /* or a number would become a string in the program's table */
        list[n] = lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), lua_tostring(L, -1));
        lua_rawseti(L, kept, (lua_Integer)++n);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    lua_setiuservalue(L, -2, 1);
    return list;
}

/* [-0, +n, v] Read the table at `t`. */
static void read_options(lua_State *L, int t, rotor_process_options *o)
{
    static const char *const known[] = {"env", "cwd", "stdin", "stdout", "stderr"};
    luaL_checktype(L, t, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        bool is_known = lua_isinteger(L, -2);
        for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
            is_known |= strcmp(name, known[i]) == 0;
        if (!is_known)
            luaL_error(L, "unknown option '%s'; known are: env, cwd, stdin, stdout, stderr",
                       luaL_tolstring(L, -2, NULL));
    }
    o->args = push_args(L, t);
    if (lua_getfield(L, t, "env") != LUA_TNIL) {
        if (!lua_istable(L, -1))
            luaL_error(L, "option 'env': a table expected, got %s", luaL_typename(L, -1));
        o->env = push_env(L, lua_gettop(L));
    }
    if (lua_getfield(L, t, "cwd") != LUA_TNIL)
        o->cwd = check_text(L, -1, "option 'cwd'");
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, t, stdio_names[i]);
        o->stdio[i] = check_stdio(L, stdio_names[i]);
    }
}

/* [-0, +1 or 3, e] process { program, arguments …, options … } */
int rotor__lua_process(lua_State *L)
{
    rotor_process_options options = {0};
    int a = rotor__lua_args(L);
    lua_settop(L, a);
    read_options(L, a, &options);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    process_object *object = rotor__lua_new(L, &kind_process, sizeof *object, USERVALUES);
    object->ll = ll;
    object->pipes[0] = object->pipes[1] = object->pipes[2] = -1;
    object->kept = LUA_NOREF;
    int index = lua_gettop(L);
    rotor__lua_future_object *future = rotor__lua_push_future(L, ll);
    lua_setiuservalue(L, index, EXITED);
    ending *e = rotor_alloc_zero(sizeof *e);
    if (!e || rotor_future_new(ll->loop, &future->future, &e->port, rotor__lua_free_box)) {
        rotor_free(e);
        return luaL_error(L, "not enough memory");
    }
    e->ll = ll;
    object->ended = e;
    options.ended = on_ended;
    options.context = e;
    int error = rotor_process_begin(ll->loop, &options, object->pipes, &object->handle);
    if (error) {
        rotor_port_drop(e->port);
        rotor_free(e);
        rotor__lua_fail(L, error);
        lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), options.args[0]);
        lua_replace(L, -3);
        return 3;
    }
    object->pid = rotor_process_pid(ll->loop, object->handle);
    object->next = ll->vm->processes;
    object->link = &ll->vm->processes;
    if (object->next)
        object->next->link = &object->next;
    ll->vm->processes = object;
    lua_settop(L, index);
    if (has_pipes(object)) {
        lua_pushvalue(L, index);
        object->kept = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

/* -- the object --------------------------------------------------------------------------------- */

static process_object *check_process(lua_State *L)
{
    return rotor__lua_check(L, 1, &kind_process);
}

static void close_pipes(process_object *object)
{
    for (int i = 0; i < 3; i++) {
        if (object->pipes[i] >= 0)
            close(object->pipes[i]);
        object->pipes[i] = -1;
    }
}

static int send_signal(const process_object *object, int signum)
{
    return object->ll->loop ? rotor_process_kill(object->ll->loop, object->handle, signum)
                            : ROTOR_ECLOSED;
}

/* [-0, +1 or 3, e] kill([name]): TERM unless another is named */
static int process_kill(lua_State *L)
{
    process_object *object = check_process(L);
    const char *name = luaL_optstring(L, 2, "TERM");
    int i = 0;
    while (i < SIGNALS && strcmp(name, signals[i].name) != 0)
        i++;
    luaL_argcheck(L, i < SIGNALS, 2, "a signal expected, such as TERM, KILL, INT or HUP");
    return rotor__lua_result(L, send_signal(object, signals[i].signum));
}

/* [-0, +1 or 3, e] wait([seconds]): exited:await(…) */
static int process_wait(lua_State *L)
{
    (void)check_process(L);
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, EXITED);
    lua_replace(L, 1);
    return rotor__lua_future_await(L);
}

/* [-0, +0, e] Not needed any more: it is killed if it still runs. Idempotent. */
static int process_close(lua_State *L)
{
    process_object *object = check_process(L);
    close_pipes(object);
    let_go(object);
    (void)send_signal(object, SIGKILL);
    return 0;
}

static int process_gc(lua_State *L)
{
    process_object *object = check_process(L);
    close_pipes(object);
    if (object->link) {
        *object->link = object->next;
        if (object->next)
            object->next->link = object->link;
    }
    object->link = NULL;
    return 0;
}

/* [-0, +1, m] The address of that end, as long as it is to be had. */
static int push_address(lua_State *L, const process_object *object, int i)
{
    if (object->pipes[i] >= 0)
        lua_pushfstring(L, "fd:%d", object->pipes[i]);
    else
        lua_pushnil(L);
    return 1;
}

int rotor__lua_dial(rotor__lua_loop *ll, const char *address, const rotor_protocol *protocol,
                    const rotor_connect_options *options, rotor_handle *handle)
{
    int error = rotor_connect(ll->loop, address, protocol, options, handle);
    if (error || strncmp(address, "fd:", 3) != 0)
        return error;
    int fd = atoi(address + 3);
    for (process_object *p = ll->vm->processes; p; p = p->next)
        for (int i = 0; i < 3; i++)
            if (p->pipes[i] == fd) {
                p->pipes[i] = -1;
                if (!has_pipes(p))
                    let_go(p);
            }
    return 0;
}

/* [-0, +1, e] pid, exited, stdin, stdout, stderr, or a method */
static int process_index(lua_State *L)
{
    process_object *object = check_process(L);
    const char *name = luaL_checkstring(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, stdio_names[i]) == 0)
            return push_address(L, object, i);
    if (strcmp(name, "pid") == 0)
        lua_pushinteger(L, object->pid);
    else if (strcmp(name, "exited") == 0)
        lua_getiuservalue(L, 1, EXITED);
    return 1;
}

static int process_tostring(lua_State *L)
{
    lua_pushfstring(L, "rotor.process: %d", check_process(L)->pid);
    return 1;
}

static const luaL_Reg methods[] = {
    {"kill", process_kill}, {"wait", process_wait}, {"close", process_close}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__gc", process_gc},
                                {"__close", process_close},
                                {"__tostring", process_tostring},
                                {NULL, NULL}};

void rotor__lua_open_process(lua_State *L)
{
    rotor__lua_kind(L, &kind_process, NULL, meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kind_process);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, process_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
