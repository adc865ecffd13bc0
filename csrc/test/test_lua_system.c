/* What Lua has of the system, when memory runs out: programs, signals that tasks wait for, dumps and the
** watchdog. */
#include "test.h"

#include <signal.h>

/* What takes time comes last, as most runs end before. */
static const char script[] =
    "local core, _, _, all = ...\n"
    "local task, errors, reports = core.task, {}, {}\n"
    "local loop = core.loop { capacity = 16 }\n"
    "loop:on_error(function(message) errors[#errors + 1] = message end)\n"
    "local Reader = core.protocol('Reader', {\n"
    "  create = function(self, s, into) self.into = into; return s:expect_bytes(9) end,\n"
    "  exception = function(self, s) self.into.text = s:take(); return s:done() end,\n"
    "})\n"
    "local got, ended, key, dump = {}, nil, nil, ''\n"
    "local waiter = loop:spawn(function() task.signal('USR1') end)\n"
    "waiter.name = 'waiter'\n"
    "loop:spawn(function() key = task.select { a = { signal = 'USR2' }, b = { after = 0 } } end)\n"
    "loop:dump_on_signal('USR1')\n"
    "loop:on_signal('USR1', function() end)\n"
    "for _ = 1, 20 do loop:turn() end\n"
    "dump = loop:dump()\n"
    "waiter:cancel()\n"
    "loop:run()\n"
    "loop:dump_on_signal('USR1', false)\n"
    "loop:watchdog(0.001, function(report) reports[#reports + 1] = report end)\n"
    "loop:spawn(function()\n"
    "  local at = os.clock() + 0.001\n"
    "  repeat until os.clock() > at\n"
    "end)\n"
    "loop:run()\n"
    "loop:watchdog()\n"
    "local process = assert(loop:process { 'pwd', cwd = '/',\n"
    "  env = { WORD = 'hi', PWD = false }, stdin = 'pipe', stdout = 'pipe' })\n"
    "loop:spawn(function() ended = process:wait() end)\n"
    "loop:connect(process.stdout, Reader, { seed = got })\n"
    "loop:run()\n"
    "process:kill()\n"
    "process:close()\n"
    "assert(not all or (#errors == 0 and #reports > 0 and key == 'b'))\n"
    "assert(not all or (got.text == '/\\n' and ended.status == 0))\n"
    "assert(not all or dump:find('^waiter %d+.%d+: signal at '), dump)\n";

#define SCENARIO_STEP 7
#include "lua_scenario.h"

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_a_failure),
        TEST(an_allocation_of_luas_fails),
        TEST(all_allocations_of_luas_fail_from_one_on),
        TEST(allocations_of_rotors_fail),
    };
    /* The first loop with a signal opens what libuv keeps. */
    rotor_loop *loop;
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    (void)rotor_loop_on_signal(loop, SIGUSR1, NULL, NULL);
    assert_int_equal(rotor_loop_free(loop), 0);
    return cmocka_run_group_tests_name("lua_system", tests, NULL, NULL);
}
