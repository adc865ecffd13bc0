/* HTTP handlers that are tasks when memory runs out. What they do otherwise is in spec/. */
#include "test.h"

static const char script[] =
    "local core, address, module, all = ...\n"
    "local task, log = core.task, {}\n"
    "local loop = core.loop { capacity = 64 }\n"
    "local expected = 0\n"
    "loop:on_error(function(message)\n"
    "  if not all then return end\n"
    "  if message:find('kaputt') or message:find('without an answer') then expected = expected + "
    "1\n"
    "  else error(message) end\n"
    "end)\n"
    "local function note(what) log[#log + 1] = tostring(what) end\n"
    "local function closing(name) return setmetatable({}, { __close = function() note(name) end }) "
    "end\n"
    "local server = assert(core.serve(loop, address, function(req, res)\n"
    "  if req.path == '/now' then return res:send(200, 'now') end\n"
    "  local _ <close> = closing('closed')\n"
    "  if req.path == '/early' then error('kaputt') end\n"
    "  task.sleep(0)\n"
    "  if req.path == '/late' then error('kaputt') end\n"
    "  if req.path == '/forget' then return end\n"
    "  if req.path == '/long' then\n"
    "    assert(res:start(200))\n"
    "    for _ = 1, 6 do assert(res:write(('x'):rep(40000))) end\n"
    "    return res:finish()\n"
    "  end\n"
    "  if req.path == '/never' then task.sleep(1000) end\n"
    "  res:header('X-Path', req.path):send(200, 'waited')\n"
    "end))\n"
    "local function get(client, path)\n"
    "  local answer = client:get('http://h' .. path, { address = address }):await()\n"
    "  return answer and answer.status .. ' ' .. #answer.body\n"
    "end\n"
    "loop:spawn(function()\n"
    "  local client <close> = core.client()\n"
    "  for _, path in ipairs { '/now', '/wait', '/now', '/early', '/late', '/forget', '/long' } "
    "do\n"
    "    note(path .. ' ' .. tostring(get(client, path)))\n"
    "  end\n"
    "  local never = core.spawn(get, client, '/never')\n"
    "  for _ = 1, 20 do task.yield() end\n"
    "  never:cancel()\n"
    "  note((select(3, never:join())))\n"
    "  server:close()\n"
    "end)\n"
    "local turns = 0\n"
    "while loop:count() > 0 and turns < 100 do\n"
    "  turns = turns + 1\n"
    "  loop:turn()\n"
    "end\n"
    "local text = table.concat(log, ', ')\n"
    "assert(not all or expected == 3, expected)\n"
    "assert(not all or text == '/now 200 3, closed, /wait 200 6, /now 200 3, closed, /early 500 "
    "26, '\n"
    "  .. 'closed, /late 500 26, closed, /forget 500 26, closed, /long 200 240000, ECANCELED, '\n"
    "  .. 'closed', text)\n"
    "loop:close()\n";

#include "lua_scenario.h"

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_a_failure),
        TEST(an_allocation_of_luas_fails),
        TEST(all_allocations_of_luas_fail_from_one_on),
        TEST(allocations_of_rotors_fail),
    };
    return cmocka_run_group_tests_name("lua_http", tests, NULL, NULL);
}
