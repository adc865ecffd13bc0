/* The Lua module rotor.core: opening it, and what its files share: userdata, results, calls. */
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "lua_task.h"
#include "lua_threads.h"

/* -- userdata ---------------------------------------------------------------------------------- */

void *rotor__lua_new(lua_State *L, const rotor__kind *kind, size_t size, int uservalues)
{
    rotor__object *object = lua_newuserdatauv(L, size, uservalues);
    memset(object, 0, size);
    object->kind = kind;
    lua_rawgetp(L, LUA_REGISTRYINDEX, kind);
    lua_setmetatable(L, -2);
    return object;
}

void *rotor__lua_test(lua_State *L, int index, const rotor__kind *kind)
{
    /* A light userdata, or another library's, is told by its size (0, and most likely another). */
    const rotor__object *object = lua_touserdata(L, index);
    if (!object || lua_rawlen(L, index) < sizeof *object || object->kind != kind)
        return NULL;
    return (void *)object;
}

void *rotor__lua_check(lua_State *L, int index, const rotor__kind *kind)
{
    void *object = rotor__lua_test(L, index, kind);
    if (!object)
        luaL_typeerror(L, index, kind->name);
    return object;
}

void rotor__lua_kind(lua_State *L, const rotor__kind *kind, const luaL_Reg *methods,
                     const luaL_Reg *meta)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    lua_newtable(L);
    lua_pushstring(L, kind->name);
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "a rotor object");
    lua_setfield(L, -2, "__metatable");
    if (methods) {
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    luaL_setfuncs(L, meta ? meta : none, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, kind);
}

/* -- results and arguments --------------------------------------------------------------------- */

int rotor__lua_fail(lua_State *L, int error)
{
    const char *name = rotor_err_name(error);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", name, rotor_strerror(error));
    lua_pushstring(L, name);
    return 3;
}

int rotor__lua_result(lua_State *L, int error)
{
    if (error < 0)
        return rotor__lua_fail(L, error);
    lua_pushboolean(L, 1);
    return 1;
}

const char *rotor__lua_check_address(lua_State *L, int index)
{
    size_t len;
    const char *address = luaL_checklstring(L, index, &len);
    luaL_argcheck(L, strlen(address) == len, index, "an address has no NUL in it");
    return address;
}

static bool to_ms(lua_Number seconds, uint64_t *ms)
{
    if (!(seconds >= 0)) /* NaN, too */
        return false;
    *ms = seconds > 9e15 ? ROTOR_NEVER : (uint64_t)ceil(seconds * 1000);
    return true;
}

uint64_t rotor__lua_check_ms(lua_State *L, int index)
{
    uint64_t ms = 0;
    if (lua_isnoneornil(L, index))
        return ROTOR_NEVER;
    if (!to_ms(luaL_checknumber(L, index), &ms))
        luaL_argerror(L, index, "seconds expected, at least 0");
    return ms;
}

uint64_t rotor__lua_check_deadline(lua_State *L, int index, const rotor_loop *loop)
{
    uint64_t ms = rotor__lua_check_ms(L, index);
    return ms == ROTOR_NEVER ? ms : rotor_loop_now(loop) + ms;
}

static bool push_option(lua_State *L, int index, const char *name)
{
    if (lua_isnoneornil(L, index))
        return false;
    if (lua_getfield(L, index, name) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

lua_Integer rotor__lua_option(lua_State *L, int index, const char *name, lua_Integer least,
                              lua_Integer most)
{
    int is_integer;
    if (!push_option(L, index, name))
        return 0;
    lua_Integer value = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || lua_type(L, -1) != LUA_TNUMBER || value < least || value > most)
        luaL_error(L, "option '%s': an integer from %I to %I expected, got %s", name,
                   (LUAI_UACINT)least, (LUAI_UACINT)most, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return value;
}

uint32_t rotor__lua_option_ms(lua_State *L, int index, const char *name)
{
    uint64_t ms = 0;
    if (!push_option(L, index, name))
        return 0;
    if (lua_type(L, -1) != LUA_TNUMBER || !to_ms(lua_tonumber(L, -1), &ms) || ms == 0 ||
        ms > UINT32_MAX)
        luaL_error(L, "option '%s': seconds expected, more than 0 and less than 50 days, got %s",
                   name, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return (uint32_t)ms;
}

bool rotor__lua_option_bool(lua_State *L, int index, const char *name)
{
    if (!push_option(L, index, name))
        return false;
    if (!lua_isboolean(L, -1))
        luaL_error(L, "option '%s': a boolean expected, got %s", name, luaL_typename(L, -1));
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

void rotor__lua_check_options(lua_State *L, int index, const char *const *names)
{
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const char *const *known = names;
        while (name && *known && strcmp(name, *known) != 0)
            known++;
        if (!name || !*known) {
            luaL_Buffer b;
            name = luaL_tolstring(L, -2, NULL);
            luaL_buffinit(L, &b);
            for (known = names; *known; known++) {
                luaL_addstring(&b, known == names ? "" : ", ");
                luaL_addstring(&b, *known);
            }
            luaL_pushresult(&b);
            luaL_error(L, "unknown option '%s'; known are: %s", name, lua_tostring(L, -1));
        }
        lua_pop(L, 1);
    }
}

/* -- calling Lua ------------------------------------------------------------------------------- */

int rotor__lua_traceback(lua_State *L)
{
    const char *message = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, message, 1);
    return 1; /* a memory error has no message handler, and needs none */
}

static void print_error(lua_State *L, int index)
{
    const char *message = lua_tostring(L, index);
    lua_writestringerror("rotor: %s\n", message ? message : "an error without a message");
}

typedef struct report {
    rotor__lua_loop *ll;
    const char *name, *transition;
    int error;           /* 0: it is a value of Lua's */
    const char *address; /* NULL: none */
} report;

/* [value, report] */
static int tell(lua_State *D)
{
    const report *r = lua_touserdata(D, 2);
    if (r->error)
        lua_pushfstring(D, r->address ? "%s: %s (%s)" : "%s: %s", rotor_err_name(r->error),
                        rotor_strerror(r->error), r->address);
    const char *message = luaL_tolstring(D, r->error ? -1 : 1, NULL);
    if (r->transition)
        lua_pushfstring(D, "%s: %s: %s", r->name, r->transition, message);
    else
        lua_pushfstring(D, "%s: %s", r->name, message);
    int told = lua_gettop(D);
    if (r->ll->on_error == LUA_NOREF) {
        print_error(D, told);
        return 0;
    }
    rotor__lua_push_handler(D);
    lua_rawgeti(D, LUA_REGISTRYINDEX, r->ll->on_error);
    lua_pushvalue(D, told);
    if (lua_pcall(D, 1, 0, -3) != LUA_OK) { /* there is nobody else to tell */
        print_error(D, told);
        lua_pushfstring(D, "on_error: %s", lua_tostring(D, -1));
        print_error(D, -1);
    }
    return 0;
}

/* [-1, +0, -] */
static void report_value(report *r)
{
    lua_State *D = r->ll->vm->D;
    rotor__lua_push_handler(D);
    lua_insert(D, -2);
    lua_pushcfunction(D, tell);
    lua_insert(D, -2);
    lua_pushlightuserdata(D, r);
    if (lua_pcall(D, 2, 0, -4) != LUA_OK) {
        print_error(D, -1);
        lua_pop(D, 1);
    }
    lua_pop(D, 1);
}

void rotor__lua_report(rotor__lua_loop *ll, const char *name, const char *transition)
{
    report_value(&(report){ll, name, transition, 0, NULL});
}

void rotor__lua_report_error(rotor__lua_loop *ll, const char *name, int error, const char *address)
{
    lua_pushnil(ll->vm->D);
    report_value(&(report){ll, name, NULL, error, address});
}

void rotor__lua_check_not_closing(lua_State *L, const rotor__vm *vm)
{
    if (vm->closed)
        luaL_error(L, "the Lua state closes; nothing new can be made");
}

/* -- opening ----------------------------------------------------------------------------------- */

static const rotor__kind kind_vm = {.name = "rotor.vm"};

typedef struct vm_object {
    rotor__object object;
    rotor__vm vm;
} vm_object;

rotor__vm *rotor__lua_vm(lua_State *L)
{
    static const char key = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    vm_object *object = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (object)
        return &object->vm;
    object = rotor__lua_new(L, &kind_vm, sizeof *object, 1);
    object->vm.D = lua_newthread(L);
    lua_setiuservalue(L, -2, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    return &object->vm;
}

/* A loop that could not be freed has handlers of signals, which may come when Lua has closed this module:
** it is not to go, nor libuv with it, before the process does. */
static void stay_loaded(void)
{
    Dl_info self;
    if (dladdr((void *)stay_loaded, &self))
        (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD); /* once more than it is closed */
}

/* The state closes. This was the first userdata with a finalizer, so it is the last of rotor's to go;
** the program's own finalizers may still come. */
static int vm_gc(lua_State *L)
{
    vm_object *object = rotor__lua_check(L, 1, &kind_vm);
    object->vm.closed = true;
    rotor__lua_stop_offloads(&object->vm);
    rotor__lua_end_crews(&object->vm);
    if (rotor__lua_free_loops(&object->vm))
        rotor__task_free_handles(&object->vm);
    else
        stay_loaded();
    object->vm.loops = NULL;
    rotor__lua_free_offloads(&object->vm);
    rotor__lua_free_traces(&object->vm);
    rotor__slab_leave(&object->vm);
    return 0;
}

static const luaL_Reg vm_meta[] = {{"__gc", vm_gc}, {NULL, NULL}};

LUAMOD_API int luaopen_rotor_core(lua_State *L)
{
    luaL_checkversion(L);
    rotor__lua_kind(L, &kind_vm, NULL, vm_meta);
    rotor__lua_vm(L);
    lua_newtable(L);
    lua_pushliteral(L, ROTOR_VERSION);
    lua_setfield(L, -2, "version");
    rotor__lua_open_task(L);
    rotor__lua_open_loop(L);
    rotor__lua_open_handle(L);
    rotor__lua_open_machine(L);
    rotor__lua_open_protocol(L);
    rotor__lua_open_stream(L);
    rotor__lua_open_datagram(L);
    rotor__lua_open_socket(L);
    rotor__lua_open_trace(L);
    rotor__lua_open_buf(L);
    rotor__lua_open_future(L);
    rotor__lua_open_http(L);
    rotor__lua_open_handler(L);
    rotor__lua_open_websocket(L);
    rotor__lua_open_serve(L);
    rotor__lua_open_files(L);
    rotor__lua_open_client(L);
    rotor__lua_open_requester(L);
    rotor__lua_open_load(L);
    rotor__lua_open_descriptor(L);
    rotor__lua_open_process(L);
    lua_newtable(L); /* what rotor.task is made of */
    rotor__lua_open_task_trace(L);
    rotor__lua_open_task_handle(L);
    rotor__lua_open_task_scope(L);
    rotor__lua_open_task_wait(L);
    rotor__lua_open_channel(L);
    rotor__lua_open_select(L);
    rotor__lua_open_signal(L);
    rotor__lua_open_task_conn(L);
    rotor__lua_open_task_listen(L);
    rotor__lua_open_task_udp(L);
    lua_setfield(L, -2, "task");
    lua_newtable(L); /* and rotor.threads */
    rotor__lua_open_shared(L);
    rotor__lua_open_thread_channel(L);
    rotor__lua_open_thread(L);
    lua_setfield(L, -2, "threads");
    lua_pushcfunction(L, rotor__lua_offload); /* for task.offload */
    lua_setfield(L, -2, "offload");
    return 1;
}
