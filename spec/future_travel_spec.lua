local rotor = require "rotor"
local support = require "spec.support"
local task = require "rotor.task"
local threads = rotor.threads

describe("a future that is sent", function()
  local scene = support.scene()
  local home, away, channel
  before_each(function()
    scene.begin()
    home, away, channel = scene.loop(), scene.loop(), threads.channel()
  end)
  after_each(function()
    home, away, channel = nil, nil, nil
    rotor.default():close()
    scene.finish()
  end)

  -- What is in the channel next, received by a task of the loop.
  local function receive(loop)
    local got
    loop:spawn(function() got = table.pack(channel:try_recv()) end)
    loop:turn()
    return table.unpack(got, 1, got.n)
  end

  local function send(value)
    assert.is_true(channel:try_send(value))
    return receive(away)
  end

  local function turn()
    for _ = 1, 3 do
      home:turn()
      away:turn()
    end
  end

  local function collect()
    collectgarbage()
    collectgarbage()
  end

  local gone = "the future was canceled, was sent or went into a combinator"

  it("is another loop's, and has the value there", function()
    local port, future = home:future()
    local there = send { future }[1]
    assert.has_error(function() future:get() end, gone)
    assert.equal("pending", there:status())
    port:set { 1, { 2 }, rotor.buf "buf" }
    away:turn()
    assert.equal("pending", there:status())
    turn()
    assert.equal("ready", there:status())
    local value = there:get()
    assert.same({ 1, 2, "buf" }, { value[1], value[2][1], value[3]:take() })
    assert.equal(value, there:get())
  end)

  it("has it also when that came before it was sent, or received", function()
    local port, future = home:future()
    port:set "before"
    home:turn()
    assert.equal("before", future:get())
    local there = send(future)
    turn()
    assert.equal("before", there:get())

    port, future = home:future()
    assert(channel:try_send(future))
    port:set "meanwhile"
    turn()
    assert.equal("meanwhile", receive(away):get())
  end)

  it("fails as the first does", function()
    local port, future = home:future()
    local there = send(future)
    port:fail({ "why" }, "EWHY")
    turn()
    assert.same({ nil, { "why" }, "EWHY" }, { there:get() })

    port, future = home:future()
    there = send(future)
    port:fail("plain")
    turn()
    assert.same({ nil, "plain", "ELUA" }, { there:get() })

    port, future = home:future()
    there = send(future)
    port:drop()
    turn()
    assert.same({ nil, "ECANCELED: canceled", "ECANCELED" }, { there:get() })
  end)

  it("fails when the value cannot travel, which it says", function()
    local port, future = home:future()
    local there = send(future)
    port:set { f = { print } }
    turn()
    assert.same({ nil, "value.f[1] is a function", "ELUA" }, { there:get() })
    port, future = home:future() -- an error goes as text
    there = send(future)
    local why = setmetatable({}, { __tostring = function() return "why" end })
    port:fail(why, "EWHY")
    turn()
    assert.same({ nil, "why", "EWHY" }, { there:get() })
    port, future = home:future()
    there = send(future)
    port:fail(why)
    turn()
    assert.same({ nil, "why", "ELUA" }, { there:get() })
  end)

  it("is like any other there: awaited, combined, watched", function()
    local ports, futures = {}, {}
    for i = 1, 5 do ports[i], futures[i] = home:future() end
    local there = send(futures)
    local woken
    assert(away:add(rotor.machine "Watcher" {
      create = function(_, scope)
        assert(there[5]:watch(scope:handle()))
        return scope:ok()
      end,
      wakeup = function(_, scope)
        woken = there[5]:get()
        return scope:done()
      end,
    }))
    local got = {}
    away:spawn(function() got.awaited = there[1]:await() end)
    away:spawn(function() got.late = select(3, there[2]:await(0.001)) end)
    away:spawn(function() got.selected = table.pack(task.select { f = { await = there[3] } }) end)
    local mapped = there[4]:map(function(v) return v + 1 end)
    away:turn()
    for i, port in ipairs(ports) do
      if i ~= 2 then port:set(i) end
    end
    turn()
    away:run()
    assert.equal(1, got.awaited)
    assert.equal("ETIMEDOUT", got.late)
    assert.same({ "f", 3, n = 2 }, got.selected)
    assert.equal(5, mapped:get())
    assert.equal(5, woken)
    ports[2]:set(2)
    turn()
    assert.equal(2, there[2]:get())
  end)

  it("is sent on, and on", function()
    local port, future = home:future()
    for i = 1, 20 do
      assert(channel:try_send { future })
      future = receive(i % 2 == 1 and away or home)[1]
    end
    local value = { "far" }
    port:set(value)
    for _ = 1, 10 do turn() end
    assert.same(value, future:get())
    assert.are_not_equal(value, future:get())

    port, future = home:future()
    for i = 1, 20 do
      assert(channel:try_send { future })
      future = receive(i % 2 == 1 and away or home)[1]
    end
    future:cancel()
    for _ = 1, 10 do turn() end
    assert.is_true(port:canceled())
  end)

  it("cancels the first when it is canceled, or nobody has it any more", function()
    local port, future = home:future()
    send(future):cancel()
    assert.is_false(port:canceled())
    turn()
    assert.is_true(port:canceled())
    assert.equal("ECANCELED", (select(3, port:set { 1 })))

    port, future = home:future()
    send(future)
    collect()
    turn()
    assert.is_true(port:canceled())

    port, future = home:future() -- it was never received
    assert(channel:try_send(future))
    channel = nil
    collect()
    turn()
    assert.is_true(port:canceled())
  end)

  it("and canceled wakes the machine that watches the port", function()
    local port, future = home:future()
    local canceled
    assert(home:add(rotor.machine "M" {
      create = function(_, scope)
        assert(port:watch(scope:handle()))
        return scope:ok()
      end,
      wakeup = function(_, scope)
        canceled = port:canceled()
        return scope:done()
      end,
    }))
    send(future):timeout(0.001)
    collect()
    away:run()
    home:run()
    assert.is_true(canceled)
  end)

  it("stays at home when it could not be sent", function()
    local port, future = home:future()
    assert.has_error(function() channel:try_send { future, print } end, "msg[2] is a function")
    channel:close()
    assert.same({ nil, "closed" }, { channel:try_send { future, { future } } })
    assert.equal("pending", future:status())
    port:set(print)
    turn()
    assert.equal(print, future:get())
    assert.same({ nil, "closed" }, { channel:send { future } })
    turn()
    assert.equal(print, future:get())
  end)

  it("is none that a task waits for, or that is gone, or for several receivers", function()
    local port, future = home:future()
    local got
    home:spawn(function() got = future:await() end)
    home:turn()
    assert.has_error(function() channel:try_send { { f = future } } end,
      "msg[1].f is a future that a task waits for")
    port:set(1)
    home:run()
    assert.equal(1, got)
    send(future)
    assert.has_error(function() channel:try_send { future } end,
      "msg[1] is a future that is not here any more: it was canceled, sent or combined")
    local _, other = home:future()
    local alone = " is a future, which only one can have; a channel passes it on"
    assert.has_error(function() threads.copy { other } end, "value[1]" .. alone)
    local ok, message = pcall(threads, 2, function() end, { x = other })
    assert.is_false(ok)
    assert.equal("args[1].x" .. alone .. "; of a function only _ENV and values go to another Lua "
      .. "state, so modules are to be required inside of it", message)
    assert.equal("pending", other:status())
    home:close()
    assert.has_error(function() channel:try_send { other } end,
      "msg[1] is a future whose loop is closed")
  end)

  it("outlives the loop at home: with the value if there was one, or ECLOSED", function()
    local port, future = home:future()
    local there = send(future)
    local ready_port, ready = home:future()
    local there_ready = send(ready)
    assert(channel:try_send((select(2, home:future()))))
    ready_port:set { "value" }
    home:close()
    away:turn()
    assert.same({ "value" }, there_ready:get())
    assert.equal("ECLOSED", (select(3, there:get())))
    assert.equal("ECLOSED", (select(3, receive(away):get())))
    assert.equal("ECANCELED", (select(3, port:set(1))))
  end)

  it("is canceled when the loop that it has come to is closed, and it goes", function()
    local port, future = home:future()
    local there = send(future)
    away:close()
    assert.equal("ECLOSED", (select(3, there:get())))
    there:cancel()
    home:turn()
    assert.is_true(port:canceled())

    away = scene.loop()
    port, future = home:future()
    there = send(future)
    away:close()
    port:set(1)
    home:turn()
    home:turn()
    assert.equal("ECLOSED", (select(3, there:get())))
  end)

  it("is none that an offloaded function gets, or returns", function()
    local _, future = home:future()
    local message, returned
    home:spawn(function()
      message = select(2, pcall(task.offload, function() end, future))
      returned = select(2, pcall(task.offload, function()
        local own = require "rotor"
        local loop <close> = own.loop()
        return { select(2, loop:future()) }
      end))
    end)
    home:run()
    assert.matches("args[1] is a future, which an offloaded function could not wait for; of a ",
      message, 1, true)
    assert.equal("pending", future:status())
    assert.matches("results[1][1] is a future whose loop is closed", returned, 1, true)
    home:spawn(function()
      returned = select(2, pcall(task.offload, function()
        return (select(2, require "rotor".future()))
      end))
    end)
    home:run()
    assert.matches("results[1] is a future of an offloaded function, whose loop nobody runs",
      returned, 1, true)
    home:spawn(task.offload, function() require "rotor".default():close() end)
    home:run()
  end)

  it("of a thread that ends has the value that came before that", function()
    local crew = threads(2, function(i, to)
      local own = require "rotor"
      local port, future = own.future()
      to:send { i = i, future = future }
      if i == 1 then port:set { own.buf "data", "text" } end
      if i == 1 then error "on purpose" end
      return { select(2, own.future()) }
    end, channel)
    local loop = rotor.default()
    loop:on_error(function() end)
    local results, errors = crew:join()
    assert.matches("on purpose", errors[1])
    local got = {}
    for _ = 1, 2 do
      local message = channel:recv()
      got[message.i] = message.future
    end
    rotor.turn()
    local value = got[1]:get()
    assert.same({ "data", "text" }, { value[1]:take(), value[2] })
    assert.equal("ECLOSED", (select(3, got[2]:get())))
    assert.equal("ECLOSED", (select(3, results[2][1]:get())))
  end)

  it("may be in the value of another, and so on, without end", function()
    local port, future = home:future()
    assert(channel:try_send(future))
    for i = 1, 100000 do
      local next_port, next_future = home:future()
      port:set { i, next_future }
      home:turn()
      port = next_port
    end
    channel = nil
    collect()
    home:turn()
    assert.is_true(port:canceled())
  end)

  it("wakes its machine after all, if it came back while it was told of", function()
    local port, future = home:future()
    local closed, woken = threads.channel(), false
    closed:close()
    assert(home:add(rotor.machine "Watcher" {
      create = function(_, scope)
        future:watch(scope:handle())
        return scope:ok()
      end,
      wakeup = function(_, scope)
        woken = true
        return scope:done()
      end,
    }))
    home:spawn(function() future:await(0) end)
    home:turn()
    home:turn()
    home:spawn(function()
      channel:recv()
      closed:try_send(future)
    end)
    home:turn()
    port:set(1)
    channel:send(1)
    for _ = 1, 5 do home:turn() end
    assert.is_true(woken)
  end)

  describe("while finalizers run that", function()
    -- Call fn, in which the collector works hard, and calls `finalizer` wherever it can.
    local function disturbed(finalizer, fn)
      local on, ran = true, 0
      local function arm()
        setmetatable({}, { __gc = function()
          if not on then return end
          ran = ran + 1
          finalizer()
          arm()
        end })
      end
      collectgarbage("incremental", 10, 1000, 5)
      arm()
      local results = table.pack(pcall(fn))
      on = false
      collectgarbage("incremental", 200, 100, 13)
      assert(ran > 1, "no finalizers were run")
      assert(results[1], results[2])
      return table.unpack(results, 2, results.n)
    end

    local SIZE = 20000
    local function large()
      local value = {}
      for i = 1, SIZE do value[i] = { "string " .. i } end
      return value
    end

    it("receive, too", function()
      for _ = 1, 5 do
        channel:send(large())
        local first, second
        first = disturbed(function() second = second or channel:try_recv() end,
          function() return channel:try_recv() end)
        assert.equal(SIZE, #(type(first) == "table" and first or second))
        assert.is_nil((channel:try_recv()))
      end
    end)

    it("look at the same value, or cancel it", function()
      local cancel = false
      for _ = 1, 2 do
        local port, future = home:future()
        local there = send(future)
        port:set(large())
        turn()
        local value = disturbed(function()
          if cancel then there:cancel() end
          if not cancel and there:status() == "ready" then there:get() end
        end, function() return there:get() end)
        assert.equal(SIZE, #value)
        cancel = true
      end
    end)

    it("join the same threads", function()
      local crew = threads(2, function()
        local value = {}
        for i = 1, SIZE do value[i] = { i } end
        return value
      end)
      local nested = {}
      local results = disturbed(function()
        nested[#nested + 1] = select(2, pcall(crew.join, crew))
      end, function() return crew:join() end)
      assert.same({ SIZE, SIZE }, { #results[1], #results[2] })
      for _, got in ipairs(nested) do
        assert(type(got) == "string" or (#got[1] == SIZE and #got[2] == SIZE))
      end
      assert.equal(results[1], crew:join()[1])
    end)

    it("close the loop that it comes to", function()
      local port, future = home:future()
      port:set(1)
      home:turn()
      channel:try_send { future, large() }
      home:turn()
      local got = disturbed(function() rotor.default():close() end,
        function() return channel:try_recv() end)
      assert.equal("ECLOSED", (select(3, got[1]:get())))
    end)
  end)
end)
