/* What crosses threads, and threads, when memory runs out; here and in them. What they do otherwise is in
** spec/. */
#include "test.h"

static const char script[] =
    "local core, address, module, all = ...\n"
    "local threads, errors, got = core.threads, {}, {}\n"
    "local loop = core.default()\n"
    "loop:on_error(function(message) errors[#errors + 1] = message end)\n"
    "local deep = { 'text', ('x'):rep(300), 1.5, true }\n"
    "for i = 1, 5 do deep = { deep, name = deep, [deep] = i } end\n"
    "local counter, dict = threads.counter(1), threads.dict { max_bytes = 4096 }\n"
    "local port, future = loop:future()\n"
    "local failing, failed = loop:future()\n"
    "local all_of = threads.copy { deep, counter, dict, port, failing, channel = threads.channel() "
    "}\n"
    "assert(all_of[2] ~= nil and all_of[1].name == all_of[1][1])\n"
    "all_of[4]:set { 'value', { all_of[2] } }\n"
    "all_of[5]:fail({ 'error' }, 'ENAME')\n"
    "dict:set('key', ('y'):rep(600))\n"
    "dict:incr('n', 1, 0, 60)\n"
    "dict:compare_and_set('n', 1, nil)\n"
    "for i = 1, 4 do dict:set('key' .. i, ('z'):rep(900)) end\n"
    "assert(#dict:keys() < 5)\n"
    "local ok, why = pcall(threads.copy, { a = { b = { print } } })\n"
    "assert(not ok and (not all or why == 'value.a.b[1] is a function'), why)\n"
    "local there, back = threads.channel(1), threads.channel()\n"
    "local buf = core.buf('abc', 'def')\n"
    "local head = buf:split(4)\n"
    "head:append(buf, 1)\n"
    "local through = threads.channel(1)\n"
    "ok, why = pcall(through.try_send, through, { head, { buf, head }, threads.copy(buf) })\n"
    "assert(ok or (head:peek() == 'abcdef1' and #buf == 2))\n"
    "for _ = 1, ok and 2 or 0 do\n" /* what was sent stays there until it could be received */
    "  local came, v = pcall(through.try_recv, through)\n"
    "  if came and type(v) == 'table' then\n"
    "    assert(v[1] == v[2][2] and v[1]:peek() == 'abcdef1' and v[3]:take() == 'ef' and #buf == "
    "0)\n"
    "    got[#got + 1] = 'b'\n"
    "  end\n"
    "end\n"
    "assert(ok or not all)\n"
    "core.spawn(function() for i = 1, 3 do there:send { i } end there:close() end)\n"
    "core.spawn(function() for v in there do back:send(v[1]) end end)\n"
    "core.spawn(function()\n"
    "  for _ = 1, 3 do\n"
    "    local key, value = core.task.select { x = { recv = back }, { after = 10 } }\n"
    "    got[#got + 1] = value\n"
    "  end\n"
    "end)\n"
    "local answers, up = threads.channel(), { 5 }\n"
    "local offloaded = core.offload(function(a) return a, { up } end, { 1 })\n"
    "local thrown = core.offload(function() error('thrown') end)\n"
    "core.spawn(function()\n"
    "  local _ <close> = answers\n"
    "  offloaded:await()\n"
    "  thrown:await()\n"
    "  local m = all_of.channel:recv()\n"
    "  answers:send(m[1] + m[2][1])\n"
    "end)\n"
    "local crew = assert(threads.start(threads, 2, function(i, channel, here)\n"
    "  if i == 2 then error({}) end\n"
    "  channel:send { i, up }\n"
    "  return { here:recv() }\n"
    "end, all_of.channel, answers))\n"
    "local results, died = crew:join { timeout = all and 10 or 0.01 }\n"
    "crew:stop(0)\n"
    "assert(not all or (results[1][1] == 6 and died[2] and #errors == 1))\n"
    "assert(not all or (offloaded:get()[2][1][1] == 5 and select(3, thrown:get()) == 'ELUA'))\n"
    "assert(not all or table.concat(got) == 'b123')\n"
    "local name = select(3, failed:get())\n"
    "assert(not all or (future:get()[2][1]:get() == 1 and name == 'ENAME'))\n";

#include "lua_scenario.h"

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_a_failure),
        TEST(an_allocation_of_luas_fails),
        TEST(all_allocations_of_luas_fail_from_one_on),
        TEST(allocations_of_rotors_fail),
    };
    return cmocka_run_group_tests_name("lua_threads", tests, NULL, NULL);
}
