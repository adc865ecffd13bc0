/* Tasks when memory runs out, and what one costs. What they do otherwise is in spec/. */
#include "test.h"

static const char script[] =
    "local core, address, module, all = ...\n"
    "local task, errors, log = core.task, {}, {}\n"
    "local loop = core.loop { capacity = 64, virtual = true }\n"
    "loop:on_error(function(message) errors[#errors + 1] = message end)\n"
    "local function note(what) log[#log + 1] = what end\n"
    "local function closing(what)\n"
    "  return setmetatable({}, { __close = function() note(what) end })\n"
    "end\n"
    "local channel, handed, ring = task.channel(2), task.channel(0), task.channel()\n"
    "local queue, kept = task.queue(), {}\n"
    "task.hold(function(thread) kept[thread] = nil end)\n"
    "local port, future = loop:future()\n"
    "loop:spawn(function()\n"
    "  task.locals(true).x = 1\n"
    "  local me = task.running()\n"
    "  me.name = 'first'\n"
    "  for i = 1, 4 do channel:send({ i }) end\n"
    "  for i = 1, 20 do ring:send(i) end\n"
    "  task.hold()\n"
    "  kept[coroutine.running()] = true\n"
    "  local child = core.spawn(function(...) task.sleep(0.01) return me.name, task.locals().x, "
    "... end, 3)\n"
    "  local a, b, c = child:join()\n"
    "  note(a .. b .. c)\n"
    "  handed:send('handed')\n"
    "  channel:close()\n"
    "end)\n"
    "loop:spawn(function()\n"
    "  local sum = 0\n"
    "  for value in channel do sum = sum + value[1] end\n"
    "  for i = 1, 20 do sum = sum + ring:recv() end\n"
    "  note(sum)\n"
    "end)\n"
    "loop:spawn(function()\n"
    "  local key, value = task.select { got = { recv = handed }, never = { await = future }, { "
    "after = 50 } }\n"
    "  note(key .. value)\n"
    "  task.select { { wait = queue }, { after = 0.01 } }\n"
    "  assert(task.select { { recv = ring }, default = true } == 'default')\n"
    "  queue:wait(0.01)\n"
    "  note(future:await())\n"
    "end)\n"
    "loop:spawn(function()\n"
    "  task.sleep(1)\n"
    "  port:set('resolved')\n"
    "end)\n"
    "loop:spawn(function()\n"
    "  local ok, text = pcall(task.scope, function(scope)\n"
    "    scope:spawn(function() local _ <close> = closing('closed') task.sleep(100) end)\n"
    "    scope:spawn(function() task.sleep(0.1) error({}) end)\n"
    "    task.sleep(100)\n"
    "  end)\n"
    "  note(type(text))\n"
    "  note((select(3, task.deadline(0.1, task.scope, function(scope) scope:spawn(task.sleep, 9) "
    "end))))\n"
    "  local worker = core.spawn(function()\n"
    "    local _ <close> = setmetatable({}, { __close = function() task.shield(1, task.sleep, 0.1) "
    "end })\n"
    "    task.sleep(100)\n"
    "  end)\n"
    "  task.yield()\n"
    "  worker:cancel()\n"
    "  note((select(3, worker:join())))\n"
    "  note(select('#', core.spawn(error, 'thrown'):join()))\n"
    "end)\n"
    "loop:spawn(function() error('unheard') end)\n"
    "loop:spawn(function() task.scope(function(scope) scope:spawn(task.sleep, 1000) "
    "task.sleep(1000) end) end)\n"
    "loop:spawn(coroutine.yield)\n"
    "loop:advance(10)\n"
    "table.sort(log, function(a, b) return tostring(a) < tostring(b) end)\n"
    "local text = ''\n"
    "for _, what in ipairs(log) do text = text .. tostring(what) .. ' ' end\n"
    "assert(not all or text == '220 3 ECANCELED ETIMEDOUT closed first13 gothanded resolved table "
    "', text)\n"
    "assert(not all or #errors == 2, #errors)\n";

#include "lua_scenario.h"

/* -- the cost ---------------------------------------------------------------------------------- */

#if defined(                                                                                       \
    __SANITIZE_THREAD__) /* which loses track of where it is by each jump out of a coroutine */
enum { PARKED = 1000 };
#else
enum { PARKED = 100000 };
#endif

/* Parks so many tasks, and calls `look` in between. */
static const char park[] = "local core, n, look = ...\n"
                           "local loop, channel = core.loop(), core.task.channel(0)\n"
                           "local function wait() channel:recv() end\n"
                           "loop:run()\n"
                           "collectgarbage() collectgarbage() look()\n"
                           "for _ = 1, n do loop:spawn(wait) end\n"
                           "for _ = 1, n // 100 do loop:turn() end\n"
                           "assert(loop:count() == n)\n"
                           "collectgarbage() collectgarbage() look()\n"
                           "channel:close()\n"
                           "loop:run()\n"
                           "loop:close()\n";

static size_t seen[2];
static int looks;

static int look(lua_State *L)
{
    seen[looks++] = lua_memory.bytes + test_alloc_bytes();
    return 0;
}

static int count_parked(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "rotor.core", luaopen_rotor_core, 0);
    if (luaL_loadstring(L, park) != LUA_OK)
        return lua_error(L);
    lua_insert(L, -2);
    lua_pushinteger(L, PARKED);
    lua_pushcfunction(L, look);
    lua_call(L, 3, 0);
    return 0;
}

/* The budget is 1.3 KiB, of which Lua's own thread takes 1,117 bytes. */
static void a_parked_task_is_small(void **state)
{
    memset(&lua_memory, 0, sizeof lua_memory);
    looks = 0;
    test_alloc_install(0, false);
    lua_State *L = lua_newstate(lua_resize, NULL);
    lua_pushcfunction(L, count_parked);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    assert_int_equal(looks, 2);
    size_t each = (seen[1] - seen[0]) / PARKED;
    print_message("%zu bytes each\n", each);
    assert_in_range(each, 1000, 1331);
    assert_int_equal(lua_memory.blocks, 0);
    assert_int_equal(test_alloc_live(), 0);
    rotor_allocator_set(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_a_failure),
        TEST(an_allocation_of_luas_fails),
        TEST(all_allocations_of_luas_fail_from_one_on),
        TEST(allocations_of_rotors_fail),
        TEST(a_parked_task_is_small),
    };
    return cmocka_run_group_tests_name("lua_tasks", tests, NULL, NULL);
}
