/* Sockets of tasks when memory runs out. What they do otherwise is in spec/. */
#include "test.h"

static const char script[] =
    "local core, address, module, all = ...\n"
    "local task, log = core.task, {}\n"
    "local loop = core.loop { capacity = 64 }\n"
    "loop:on_error(function(message) if all then error(message) end end)\n"
    "local function note(what) log[#log + 1] = what end\n"
    "local listener, server, client\n"
    "local kept = { 0, 0, 0, 0, 0 } -- the handles\n"
    "kept[1] = loop:spawn(function()\n"
    "  listener = assert(task.listen(address))\n"
    "  for conn in listener do\n"
    "    kept[5] = core.spawn(function()\n"
    "      local conn <close> = conn\n"
    "      for line in conn:lines() do conn:write(line, '!\\n') end\n"
    "      assert(conn:flush())\n"
    "    end)\n"
    "  end\n"
    "  note('closed')\n"
    "end)\n"
    "kept[2] = loop:spawn(function()\n"
    "  local conn <close> = assert(task.connect(address))\n"
    "  assert(conn:write('one\\ntwo'))\n"
    "  note(conn:read_until('\\n'))\n"
    "  assert(conn:write('\\nthree\\n'))\n"
    "  note(conn:read(5))\n"
    "  local key = task.select { come = { readable = conn }, { after = 1 } }\n"
    "  note(key .. conn:read_some())\n"
    "  local writer = core.spawn(function()\n"
    "    local block = ('x'):rep(40000)\n"
    "    for _ = 1, 6 do assert(conn:write(block, '\\n')) end\n"
    "    conn:shutdown()\n"
    "  end)\n"
    "  note(#conn:read_all())\n"
    "  writer:join()\n"
    "  listener:close()\n"
    "end)\n"
    "kept[3] = loop:spawn(function()\n"
    "  server = assert(task.udp(address .. '-udp'))\n"
    "  for data, from in server do server:send(data .. '!', from) end\n"
    "end)\n"
    "kept[4] = loop:spawn(function()\n"
    "  client = assert(task.udp(address .. '-client', { peer = address .. '-udp' }))\n"
    "  assert(client:send('datagram'))\n"
    "  note((client:recv()))\n"
    "  for i = 1, 5 do server:send(tostring(i), client:address()) end\n"
    "  while #client < 5 do task.yield() end\n"
    "  for i = 1, 5 do note(tonumber((client:recv()))) end\n"
    "  client:close()\n"
    "  server:close()\n"
    "end)\n"
    "local turns = 0\n"
    "while loop:count() > 0 and turns < 25 do\n"
    "  turns = turns + 1\n"
    "  loop:turn()\n"
    "end\n"
    "table.sort(log, function(a, b) return tostring(a) < tostring(b) end)\n"
    "local text = ''\n"
    "for _, what in ipairs(log) do text = text .. tostring(what) .. ' ' end\n"
    "assert(not all or text == '1 2 240012 3 4 5 closed comethree!\\n datagram! one! two!\\n ', "
    "text)\n"
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
    return cmocka_run_group_tests_name("lua_sockets", tests, NULL, NULL);
}
