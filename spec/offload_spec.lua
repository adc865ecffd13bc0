local core = require "rotor.core"
local rotor = require "rotor"
local task = require "rotor.task"
local support = require "spec.support"

-- What task.offload() is made of: futures of what functions return that run on the thread pool.
describe("offloading", function()
  local scene = support.scene()
  local loop
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  -- Run the loop until all of the futures are resolved.
  local function settle(...)
    for _, future in ipairs { ... } do
      while future:status() == "pending" do loop:run() end
    end
  end

  it("keeps the loop running until the function has returned", function()
    local future = core.offload(loop, function(a, b) return a + b end, 1, 2)
    assert.equal("pending", future:status())
    loop:run()
    assert.same({ 3, n = 1 }, future:get())
    assert.equal(future:get(), future:get())
  end)

  it("has all results, as copies", function()
    local value = { 1 }
    value[2] = value
    local future = core.offload(loop, function(...) return ..., nil end, value, "x")
    local both = core.offload(loop, function(a, b) return a == b[2], nil, b, nil end, value, value)
    settle(future, both)
    assert.equal(2, future:get().n)
    local copy = future:get()[1]
    assert.equal(copy, copy[2])
    assert.are_not_equal(value, copy)
    local results = both:get()
    assert.same({ 4, true }, { results.n, results[1] })
    assert.is_nil(results[2])
  end)

  it("takes upvalues along by copy, and _ENV from the state where it runs", function()
    local config = { depth = 3 }
    local same = config
    local future = core.offload(loop, function()
      config.depth = config.depth + 1
      return config.depth, config == same, type(print), _G == _ENV
    end)
    settle(future)
    assert.same({ 4, true, "function", true, n = 4 }, future:get())
    assert.equal(3, config.depth)
  end)

  it("moves bufs there and back, or leaves them if it cannot begin", function()
    local buf, up = rotor.buf("arg"), rotor.buf("up")
    assert.has_error(function() core.offload(loop, function() return up end, buf, print) end)
    assert.same({ "arg", "up" }, { buf:peek(), up:peek() })
    local future = core.offload(loop, function(a)
      a:append(up)
      return a, up
    end, buf)
    assert.same({ 0, 0 }, { #buf, #up })
    settle(future)
    local results = future:get()
    assert.same({ "argup", "up" }, { results[1]:take(), results[2]:take() })
    assert.equal(0, #future:get()[1])
  end)

  it("begins in a task, or says so where it was called", function()
    local message = select(2, pcall(task.offload, print))
    assert.matches("only a task can wait", message)
    message = select(2, pcall(function() task.offload(print) end))
    assert.matches("^spec/offload_spec.lua:%d+: only a task can wait", message)
    local results
    loop:spawn(function()
      message = select(2, pcall(function() task.offload(5) end))
      results = table.pack(task.offload(math.max, 1, 2))
    end)
    loop:run()
    assert.matches("^spec/offload_spec.lua:%d+: bad argument #1 .*function expected, got number",
      message)
    assert.same({ 2, n = 1 }, results)
  end)

  it("does not block for nobody", function()
    local gates, started = {}, core.threads.channel()
    loop:spawn(function()
      task.scope(function(s)
        for i = 1, 4 do -- as many as there are threads in the pool
          gates[i] = core.threads.channel()
          s:spawn(task.offload, function(up, gate)
            up:send(true)
            return gate:recv()
          end, started, gates[i])
        end
        for _ = 1, 4 do started:recv() end
        s:cancel()
      end)
    end)
    loop:run() -- comes back
    local result
    loop:spawn(function() result = task.offload(math.max, 1, 2) end)
    loop:run()
    assert.equal(2, result)
    -- Nor does it when the loop is closed.
    core.offload(loop, function(up, gate)
      up:send(true)
      gate:recv()
    end, started, gates[1])
    started:recv()
    loop:close()
  end)

  it("does not keep the process from ending, nor ends it #process", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local task = require "rotor.task"
      task.spawn(function()
        local _, message = pcall(task.offload, function() os.exit(3) end)
        print(message:match("[^\n]*"))
        local up = rotor.threads.channel()
        task.spawn(task.offload, function(a, b)
          a:send(true)
          b:recv()
        end, up, rotor.threads.channel())
        up:recv()
        os.exit(4)
      end)
      rotor.run()
    ]]
    assert.matches("an offloaded function cannot end the process; its caller can", output)
    assert.equal(4, status)
  end)

  it("says which upvalue or argument cannot travel", function()
    local helper = { deep = { print } }
    local _, message = pcall(core.offload, loop, function() return helper end)
    assert.truthy(message:find("the function's upvalue helper.deep[1] is a function;", 1, true))
    _, message = pcall(core.offload, loop, function() end, 1, { x = io.stdout })
    assert.truthy(message:find("args[2].x is a FILE*, which cannot travel;", 1, true), message)
    _, message = pcall(core.offload, loop, "print")
    assert.truthy(message:find("function expected, got string", 1, true), message)
    _, message = pcall(core.offload, loop, string.gmatch("a", "a"))
    assert.truthy(message:find("a function written in C that has upvalues cannot travel", 1, true),
      message)
  end)

  it("runs functions written in C", function()
    local future = core.offload(loop, math.max, 3, 9, 4)
    settle(future)
    assert.same({ 9, n = 1 }, future:get())
  end)

  it("fails with the error and its traceback", function()
    local future = core.offload(loop, function()
      local function inner() error("thrown") end
      inner()
    end)
    local odd = core.offload(loop, function() error { code = 5 } end)
    local result = core.offload(loop, function() return { print } end)
    settle(future, odd, result)
    local nothing, message, name = future:get()
    assert.is_nil(nothing)
    assert.equal("ELUA", name)
    assert.truthy(message:find("offload_spec.lua:%d+: thrown\nstack traceback:.*inner"), message)
    assert.truthy(select(2, odd:get()):find("^table: "))
    assert.truthy(select(2, result:get()):find("results[1][1] is a function", 1, true))
  end)

  it("uses states again, which look for modules where this one does", function()
    local futures = {}
    for i = 1, 50 do
      futures[i] = core.offload(loop, function(n)
        local support_of_specs = package.path
        require "rotor"
        COUNT = (COUNT or 0) + 1 -- luacheck: ignore 111 113
        return n, COUNT, support_of_specs -- luacheck: ignore 113
      end, i)
    end
    settle(table.unpack(futures))
    local most = 0
    for i = 1, 50 do
      assert.equal(i, futures[i]:get()[1])
      assert.equal(package.path, futures[i]:get()[3])
      most = math.max(most, futures[i]:get()[2])
    end
    assert(most > 1)
  end)

  it("does not begin what nobody waits for any more", function()
    -- Fill the pool with what waits for us, so that the rest cannot begin.
    local gate, ran = rotor.threads.channel(), rotor.threads.counter()
    local blocked = {}
    local size = tonumber(os.getenv "UV_THREADPOOL_SIZE") or 4
    for i = 1, size do
      blocked[i] = core.offload(loop, function(ch) return (ch:recv()) end, gate)
    end
    local dropped = core.offload(loop, function(counter) counter:add() end, ran)
    local kept = core.offload(loop, function(counter) counter:add(10) end, ran)
    dropped:cancel()
    for _ = 1, size do assert.is_true(gate:send("go")) end
    settle(kept, table.unpack(blocked))
    assert.equal(10, ran:get())
    assert.equal("go", blocked[1]:get()[1])
  end)

  it("ends with its loop", function()
    local ran, futures = rotor.threads.counter(), {}
    for i = 1, 20 do
      futures[i] = core.offload(loop, function(counter) return counter:add() end, ran)
    end
    loop:close()
    for i = 1, 20 do assert.equal("ECLOSED", (select(3, futures[i]:get()))) end
    assert(ran:get() <= 20)
  end)

  it("ends with the Lua state #process", function()
    local output, status = support.program [[
      local core = require "rotor.core"
      for i = 1, 10 do
        core.offload(function(n)
          setmetatable({}, { __gc = function() io.write "." end })
          return n
        end, i)
      end
      core.offload(function(channel) channel:recv() end, core.threads.channel())
      io.write "end"
    ]]
    assert.equal(0, status)
    assert.truthy(output:find("^end%.*$"), output)
  end)
end)
