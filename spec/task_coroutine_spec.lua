local task = require "rotor.task"
local support = require "spec.support"

-- What others do to a task, and what it tries where that cannot be: coroutines, finalizers, hooks.
describe("a task and its coroutine:", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)
  local inside = scene.inside

  it("may use coroutines, but not wait in them", function()
    inside(function()
      local generator = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
      local sum = 0
      for i in generator do sum = sum + i end
      assert.equal(6, sum)
      local waiting = coroutine.wrap(function() task.sleep(1) end)
      assert.error_matches(waiting, "a coroutine inside of a task cannot wait, only the task")
    end)
  end)

  it("does not yield by itself", function()
    local loop = scene.loop()
    loop:spawn(function() coroutine.yield(1) end)
    loop:run()
    assert.matches("a task has called coroutine.yield", scene.error())
  end)

  it("is resumed by nobody else", function()
    local loop = scene.loop()
    local thread
    loop:spawn(function()
      thread = coroutine.running()
      task.sleep(0.001)
    end)
    loop:spawn(function()
      local _, message = coroutine.resume(thread) -- which is the end of it
      assert.matches("resumed by its loop only", message)
    end)
    loop:run()
    assert.matches("^task: cannot resume dead coroutine", scene.error())
  end)

  it("is resumed and closed by nobody else, whatever it waits for", function()
    local loop, channel = scene.loop(), task.channel()
    local waiting = {
      function() return channel:recv() end,
      function() return channel:send(1) end,
      function() return task.deadline(10, task.sleep, 10) end,
      function() return task.select { a = { recv = channel }, b = { recv = channel } } end,
      function()
        local _ <close> = setmetatable({}, { __close = function() collectgarbage() end })
        return task.select { a = { recv = channel }, b = { after = 10 } }
      end,
      function()
        return task.scope(function(s)
          s:spawn(task.sleep, 0)
          task.sleep(10)
        end)
      end,
      function() return task.scope(function(s) s:spawn(task.sleep, 0.001) end) end,
    }
    for i, fn in ipairs(waiting) do
      channel = task.channel(i == 2 and 0 or 8)
      for _, meddle in ipairs { coroutine.close, coroutine.resume } do
        local thread
        local handle = loop:spawn(function()
          thread = coroutine.running()
          return fn()
        end)
        local left
        loop:spawn(function()
          meddle(thread)
          collectgarbage()
          channel:try_send(i) -- nobody is there who would get it
          left = channel:try_recv()
        end)
        loop:run()
        assert.equal(i ~= 2 and i or nil, left)
        assert.matches("cannot resume dead coroutine", (select(2, handle:join())))
        assert.matches("cannot resume dead coroutine", scene.error())
      end
    end
  end)

  it("does not wait where Lua cannot yield, and nothing is lost by that", function()
    local wanted = "cannot wait inside of what a C function calls"
    local loop, channel = scene.loop(), task.channel()
    local handle = loop:spawn(function()
      assert.error_matches(function()
        table.sort({ 3, 1, 2 }, function() return channel:recv() end)
      end, wanted)
      assert.error_matches(function()
        ("x"):gsub("x", function() task.select { a = { recv = channel } } end)
      end, wanted)
      channel:try_send("value")
      assert.error_matches(function() ("x"):gsub("x", function() channel:recv() end) end, wanted)
      assert.equal("value", channel:recv())
      setmetatable({}, { __gc = function()
        assert.error_matches(function() task.sleep(0) end, wanted)
        channel:try_send("collected")
      end })
      collectgarbage()
      assert.equal("collected", channel:recv(1))
      return "done"
    end)
    loop:run()
    assert.same({ "done" }, { handle:join() })
  end)

  it("is told of though its handles are collected meanwhile", function()
    local loop, ended = scene.loop(), 0
    collectgarbage("generational")
    for i = 1, 300 do
      loop:spawn(function()
        task.running().name = "worker " .. i
        task.yield()
        ended = ended + 1
        return i, {}
      end)
    end
    loop:run()
    collectgarbage("incremental")
    assert.same({ 300, 0 }, { ended, loop:count() })
  end)

  it("is equal to nothing else", function()
    local loop = scene.loop()
    local handle = loop:spawn(function() end)
    assert.is_false(handle == io.stdout)
    assert.is_false(handle == loop)
  end)

  it("leaves no hook and no trace to the next on its thread", function()
    local loop, hooked, threads = scene.loop(), 0, {}
    local function first() error("the same", 0) end
    local function second() error("the same", 0) end
    for i, fn in ipairs { first, second } do
      loop:spawn(function()
        threads[i] = coroutine.running()
        if i == 1 then
          debug.sethook(function() hooked = hooked + 1 end, "", 1000)
          pcall(task.deadline, 1, fn)
        else
          hooked = 0
          for _ = 1, 100000 do end
          task.deadline(1, fn)
        end
      end)
      loop:run()
    end
    assert.equal(threads[1], threads[2])
    assert.equal(0, hooked)
    assert.matches(("in function <spec/task_coroutine_spec.lua:%d>"):format(
      debug.getinfo(second, "S").linedefined), scene.error())
  end)
end)
