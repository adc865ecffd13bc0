local rotor = require "rotor"
local task = require "rotor.task"
local support = require "spec.support"

-- Nothing here asserts how long something takes: what is to be slow looks at the clock.
describe("the watchdog", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  local function spin(seconds)
    local until_ = os.clock() + seconds
    repeat until os.clock() > until_
  end

  -- The reports about those who were slow; anybody may be at a time, on a busy machine.
  local function watched(name)
    local loop, reports = scene.loop(), {}
    loop:watchdog(0.01, function(report)
      if report.machine == name and report.seconds >= 0.05 then reports[#reports + 1] = report end
    end)
    return loop, reports
  end

  local Spinner = rotor.machine "Spinner" {
    create = function(_, scope) return scope:ok(0) end,
    timeout = function(_, scope, seconds)
      spin(seconds or 0.06)
      return scope:done()
    end,
  }

  it("names the function that has kept the loop", function()
    local loop, reports = watched "Spinner 0.1"
    assert(loop:add(Spinner))
    loop:run()
    assert.equal(1, #reports)
    local report = reports[1]
    assert.equal("timeout", report.transition)
    assert.matches("^stack traceback:\n", report.traceback)
    assert.matches("\n\tspec/watchdog_spec.lua:%d+: in upvalue 'spin'\n", report.traceback)
    assert.matches("\n\tspec/watchdog_spec.lua:%d+: in function <spec/watchdog_spec.lua:%d+>",
                   report.traceback)
    assert.matches("^the loop was kept for 0.%d+ s, by Spinner 0.1: timeout; after 0.%d+ s "
      .. "it was here:\nstack traceback:\n", report.message)
  end)

  it("looks into tasks, and coroutines inside of them", function()
    local loop, reports = watched "worker 0.1"
    local handle = loop:spawn(function()
      task.sleep(0)
      coroutine.wrap(function() spin(0.06) end)()
    end)
    handle.name = "worker"
    loop:run()
    assert.equal(1, #reports)
    assert.matches("in upvalue 'spin'", reports[1].traceback)
    assert.is_nil(reports[1].transition)
  end)

  it("looks into tasks that were there before", function()
    local loop, reports = scene.loop(), nil
    loop:spawn(function()
      task.sleep(0.001)
      spin(0.06)
    end)
    loop:turn()
    loop:watchdog(0.01, function(report)
      if report.seconds >= 0.05 then reports = report end
    end)
    loop:run()
    assert.matches("in upvalue 'spin'", reports.traceback)
  end)

  it("names the machine where C has taken the time", function()
    local loop, reports = watched "Sleeper 0.1"
    assert(loop:add(rotor.machine "Sleeper" {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope)
        os.execute "sleep 0.06"
        return scope:done()
      end,
    }))
    loop:run()
    assert.equal(1, #reports)
    assert.equal("timeout", reports[1].transition)
    assert.matches("^the loop was kept for 0.%d+ s, by Sleeper 0.1: timeout; that was not in Lua",
                   reports[1].message)
    assert.is_nil(reports[1].traceback)
  end)

  it("tells on_error where there is no function", function()
    local loop, errors = scene.loop(), {}
    loop:on_error(function(message) errors[#errors + 1] = message end)
    loop:watchdog(0.01)
    assert(loop:add(Spinner))
    loop:run()
    local all = table.concat(errors, "\n")
    assert.matches("watchdog: the loop was kept for 0.%d+ s, by Spinner 0.1: timeout; after", all)
  end)

  it("is off when it is switched off", function()
    local called = 0
    for _, off in ipairs { false, 0, nil } do
      local loop = scene.loop()
      loop:watchdog(0.01, function() called = called + 1 end)
      assert.equal("external hook", (debug.gethook()))
      loop:watchdog(off)
      assert.is_nil(debug.gethook())
      assert(loop:add(Spinner))
      loop:run()
    end
    assert.equal(0, called)
  end)

  it("may be switched off and on by what it tells", function()
    local loop, called = scene.loop(), 0
    loop:watchdog(0.01, function()
      called = called + 1
      loop:watchdog(called == 1 and 0.02, function()
        called = called + 1
        loop:watchdog()
      end)
    end)
    for _ = 1, 4 do -- each in an event of its own
      assert(loop:add(Spinner))
      loop:run()
    end
    assert.equal(2, called)
    assert.is_nil(debug.gethook())
  end)

  it("ends with its loop", function()
    local loop = scene.loop()
    loop:watchdog(0.01, print)
    loop:close()
    for _ = 1, 10000 do math.abs(1) end
    assert.is_nil(debug.gethook())
  end)

  it("may be on when the process ends inside of a transition, among other things", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local task = require "rotor.task"
      local process = assert(rotor.process { "cat", stdin = "pipe", stdout = "pipe" })
      rotor.watchdog(3600)
      rotor.dump_on_signal "USR1"
      task.spawn(function() task.signal "USR2" end)
      task.spawn(function() process:wait() end)
      setmetatable({}, { __gc = function() -- which comes when rotor's own have been
        for _ = 1, 10000 do math.abs(1) end
        print(process.pid > 0, process:kill())
      end })
      rotor.add(rotor.machine "Last" {
        create = function(_, scope) return scope:ok(0.001) end,
        timeout = function() os.exit(3, true) end,
      })
      rotor.run()
    ]]
    assert.matches("^true\t", output)
    assert.not_matches("leak", output)
    assert.equal(3, status)
  end)

  it("reports what its function throws", function()
    local loop = scene.loop()
    local thrown
    loop:watchdog(0.01, function()
      if thrown then return end
      thrown = true
      error "bitten"
    end)
    assert(loop:add(Spinner))
    loop:run()
    assert.matches("^watchdog: .*: bitten\nstack traceback:", scene.error())
  end)

  it("leaves the hooks of others alone", function()
    local loop = scene.loop()
    local hook = function() end
    debug.sethook(hook, "", 1000000)
    local ok, message = pcall(loop.watchdog, loop, 0.01)
    assert.equal(hook, (debug.gethook()))
    debug.sethook()
    assert.is_false(ok)
    assert.matches("debug.sethook has set a hook, and the watchdog needs it to be free", message)
    loop:watchdog(0.01, print)
    debug.sethook(hook, "", 1000000)
    loop:watchdog()
    assert.equal(hook, (debug.gethook()))
    debug.sethook()
  end)

  it("takes seconds and a function", function()
    local loop = scene.loop()
    assert.error_matches(function() loop:watchdog("soon") end, "number expected, got string")
    assert.error_matches(function() loop:watchdog(-1) end, "seconds expected")
    assert.error_matches(function() loop:watchdog(math.huge) end, "seconds expected")
    assert.error_matches(function() loop:watchdog(1, 2) end, "function expected, got number")
    assert.is_nil(debug.gethook())
  end)
end)
