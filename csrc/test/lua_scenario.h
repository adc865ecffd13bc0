/* For tests that run a script in a Lua state of their own, in which any allocation may fail: Lua's, and
** rotor's. Included by such a test behind `script`, a chunk that is given rotor.core, an address, the path of loaded.so, and
** whether all that it begins must happen. */
#ifndef ROTOR_TEST_LUA_SCENARIO_H
#define ROTOR_TEST_LUA_SCENARIO_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <unistd.h>

#include "support.h"

int luaopen_rotor_core(lua_State *L);

static struct {
    size_t blocks, bytes; /* alive */
    size_t calls;         /* that may fail */
    size_t fail_at;       /* 0: none */
    bool for_good;
    bool failed;
} lua_memory;

/* A lua_Alloc, of which making a block smaller never fails (Lua's manual, lua_Alloc). */
static void *lua_resize(void *context, void *ptr, size_t old, size_t size)
{
    if (size == 0) {
        lua_memory.blocks -= ptr != NULL;
        lua_memory.bytes -= ptr ? old : 0;
        free(ptr);
        return NULL;
    }
    if (!ptr || size > old) {
        size_t call = ++lua_memory.calls, at = lua_memory.fail_at;
        if (at && (call == at || (lua_memory.for_good && call > at))) {
            lua_memory.failed = true;
            return NULL;
        }
    }
    void *block = realloc(ptr, size);
    assert_non_null(block);
    lua_memory.blocks += ptr == NULL;
    lua_memory.bytes += size - (ptr ? old : 0); /* without a block `old` is the kind of object */
    return block;
}

/* [-0, +1, m] The path of loaded.so, which is beside this program. */
static void push_module(lua_State *L)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    lua_pushfstring(L, "%s/loaded.so", path);
}

static int scenario(lua_State *L)
{
    bool all = lua_toboolean(L, 1); /* that the script begins must happen */
    luaL_openlibs(L);
    luaL_requiref(L, "rotor.core", luaopen_rotor_core, 0);
    if (luaL_loadstring(L, script) != LUA_OK)
        return lua_error(L);
    lua_insert(L, -2);
    lua_pushfstring(L, "unix:@rotor-test-lua-%d", (int)getpid());
    push_module(L);
    lua_pushboolean(L, all);
    lua_call(L, 4, 0);
    return 0;
}

/* True when it came to its end without an error. */
static bool run(bool all)
{
    lua_State *L = lua_newstate(lua_resize, NULL);
    if (!L)
        return false;
    if (lua_memory.for_good) /* or Lua gives up on a finalizer for which there is no stack */
        lua_gc(L, LUA_GCSTOP);
    lua_pushcfunction(L, scenario); /* a light C function: allocates nothing */
    lua_pushboolean(L, all);
    bool ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
    if (!ok && !lua_memory.failed && test_alloc_failed() == 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    return ok;
}

/* TSan keeps more of each allocation than there is memory for when all are tried, and a place on a stack for each jump
** out of a coroutine; ASan sees to the others. */
#if defined(__SANITIZE_THREAD__)
enum { STEP = 64 };
#elif defined(SCENARIO_STEP) /* of a test that takes long each time */
enum { STEP = SCENARIO_STEP };
#else
enum { STEP = 1 };
#endif

static void lua_fails(bool for_good)
{
    size_t n = 0;
    do {
        memset(&lua_memory, 0, sizeof lua_memory);
        n += STEP;
        lua_memory.fail_at = n;
        lua_memory.for_good = for_good;
        (void)run(false);
        assert_int_equal(lua_memory.blocks, 0);
        assert_int_equal(test_alloc_live(), 0);
    } while (lua_memory.failed);
    assert_true(n > 500); /* or it was not the scenario that ran */
}

static void an_allocation_of_luas_fails(void **state)
{
    lua_fails(false);
}

static void all_allocations_of_luas_fail_from_one_on(void **state)
{
    lua_fails(true);
}

static void once(void)
{
    memset(&lua_memory, 0, sizeof lua_memory);
    (void)run(false);
    assert_int_equal(lua_memory.blocks, 0);
}

static void allocations_of_rotors_fail(void **state)
{
#if defined(__SANITIZE_THREAD__)
    skip();
#endif
    test_out_of_memory(once);
}

static void without_a_failure(void **state)
{
    memset(&lua_memory, 0, sizeof lua_memory);
    assert_true(run(true));
}

#endif
