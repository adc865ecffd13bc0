local task = require "rotor.task"
local support = require "spec.support"

local function pid()
  local file <close> = assert(io.open("/proc/self/stat"))
  return file:read("n")
end

local function kill(name)
  assert(os.execute(("kill -%s %d"):format(name, pid())))
end

describe("a task and a signal", function()
  local scene = support.scene()
  local loop
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(scene.finish)

  -- What libuv has been told in one turn it tells in the next.
  local function turn()
    for _ = 1, 4 do loop:turn() end
  end

  it("come together", function()
    local got
    local handle = loop:spawn(function() got = task.signal "USR1" end)
    turn()
    assert.is_nil(got)
    kill "USR1"
    turn()
    assert.equal("USR1", got)
    assert.is_true(handle:done())
  end)

  it("are several, next to a function", function()
    local got = {}
    loop:on_signal("WINCH", function(name) got[#got + 1] = "function " .. name end)
    for i = 1, 3 do
      loop:spawn(function() table.insert(got, i .. " " .. task.signal "WINCH") end)
    end
    loop:spawn(function() table.insert(got, "other " .. task.signal "USR2") end)
    turn()
    kill "WINCH"
    turn()
    table.sort(got)
    assert.same({ "1 WINCH", "2 WINCH", "3 WINCH", "function WINCH" }, got)
    loop:on_signal("WINCH", nil)
    kill "USR2"
    turn()
    assert.equal("other USR2", got[5])
  end)

  it("do not wait for longer than they are told to", function()
    local virtual = scene.loop { virtual = true }
    local got
    virtual:spawn(function() got = { task.signal("USR1", 0.5) } end)
    virtual:turn()
    virtual:advance(0.4)
    assert.is_nil(got)
    virtual:advance(0.1)
    assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }, got)
  end)

  it("do not miss each other between two waits", function()
    local got = 0
    local gate = task.channel(3)
    local handle = loop:spawn(function()
      for _ = 1, 3 do
        task.signal "USR1"
        got = got + 1
        gate:recv()
      end
    end)
    turn()
    kill "USR1"
    turn()
    assert.equal(1, got)
    kill "USR1" -- while the task does something else
    turn()
    assert.equal(1, got)
    assert(gate:try_send(true))
    turn()
    assert.equal(2, got)
    assert(gate:try_send(true))
    turn()
    assert.equal(2, got) -- it has been told once of the second one
    kill "USR1"
    turn()
    assert.equal(3, got)
    handle:cancel()
    turn()
  end)

  it("part when the task is canceled", function()
    local closed
    local handle = loop:spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      task.signal "USR1"
    end)
    turn()
    handle:cancel()
    turn()
    assert.is_true(closed)
    assert.equal(0, loop:count())
  end)

  it("may be one case of several", function()
    local got = {}
    local channel = task.channel()
    loop:spawn(function()
      for _ = 1, 3 do
        local cases = { came = { signal = "USR1" }, message = { recv = channel } }
        table.insert(got, { task.select(cases) })
      end
      assert.equal("default", task.select { came = { signal = "USR1" }, default = true })
    end)
    turn()
    kill "USR1"
    turn()
    loop:spawn(function() channel:send("hello") end)
    turn()
    kill "USR1"
    turn()
    assert.same({ { "came", "USR1" }, { "message", "hello" }, { "came", "USR1" } }, got)
    assert.equal(0, loop:count())
  end)

  it("is asked for by name", function()
    local errors = {}
    loop:spawn(function()
      for _, fn in ipairs {
        function() task.signal "SIGUSR1" end,
        function() task.signal("USR1", -1) end,
        function() task.select { came = { signal = 10 } } end,
        function() task.select { came = { signal = "SIGUSR1" } } end,
      } do
        errors[#errors + 1] = select(2, pcall(fn))
      end
    end)
    turn()
    assert.matches("a signal expected: HUP INT", errors[1])
    assert.matches("seconds expected", errors[2])
    assert.matches("the name of a signal expected, got number", errors[3])
    assert.matches("a signal expected: HUP INT", errors[4])
    assert.error_matches(function() task.signal "USR1" end, "only a task can wait")
  end)

  it("do not keep the loop that is closed", function()
    loop:spawn(function() task.signal "USR1" end)
    loop:spawn(function() task.select { came = { signal = "USR1" } } end)
    turn()
    loop:close()
  end)

  local program = [[
    local rotor = require "rotor"
    local task = require "rotor.task"
    local file = io.open("/proc/self/stat")
    local kill = "kill -TERM " .. file:read("n")
    file:close()
    task.spawn(function()
      %s
    end)
    rotor.run()
    print "end"
  ]]

  it("leaves a signal to the system that no task has waited for", function()
    local output = support.program(program:format [[
      print((task.spawn(function() return task.signal("TERM", 0.001) end):join()))
      os.execute(kill)
      task.sleep(10)
      print "alive"
    ]])
    assert.not_matches("alive", output)
    assert.not_matches("end", output)
  end)

  it("keeps a signal for a task that has waited for it", function()
    local output, status = support.program(program:format [[
      print((task.signal("TERM", 0.001)))
      os.execute(kill)
      task.sleep(0.01)
      print(task.signal("TERM", 10))
    ]])
    assert.equal("nil\nTERM\nend\n", output)
    assert.equal(0, status)
  end)
end)
