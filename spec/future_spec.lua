local rotor = require "rotor"
local support = require "spec.support"

describe("a future", function()
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

  local CANCELED = { nil, "ECANCELED: canceled", "ECANCELED" }
  local PENDING = { nil, "EAGAIN: the future is not resolved yet", "EAGAIN" }

  -- A future that is resolved already, with a value or with an error.
  local function ready(value)
    local port, future = loop:future()
    port:set(value)
    return future
  end
  local function failed(reason)
    local port, future = loop:future()
    port:fail(reason)
    return future
  end

  it("has its value when it has been set, as often as it is asked for", function()
    local port, future = loop:future()
    local value = {}
    assert.equal("pending", future:status())
    assert.same(PENDING, { future:get() })
    assert.is_true(port:set(value))
    assert.equal("pending", future:status()) -- it comes with the next turn
    loop:run()
    assert.equal("ready", future:status())
    assert.equal(value, (future:get()))
    assert.equal(value, (future:get()))
    assert.equal(1, select("#", future:get()))
  end)

  it("may have any value, nil too", function()
    for _, value in ipairs { false, 0, "", 1.5 } do
      local future = ready(value)
      loop:run()
      assert.same({ value }, { future:get() })
    end
    local future = ready(nil)
    loop:run()
    assert.equal("ready", future:status())
    assert.same(table.pack(nil), table.pack(future:get()))
  end)

  it("fails with any error", function()
    local reason = { "a table" }
    local future = failed(reason)
    loop:run()
    assert.equal("failed", future:status())
    local value, message, name = future:get()
    assert.is_nil(value)
    assert.equal(reason, message)
    assert.equal("ELUA", name)
    future = failed("no luck")
    loop:run()
    assert.has_error(function() _G.assert(future:get()) end, "no luck")
  end)

  it("fails with an error that has a name, which it keeps in combinators", function()
    local port, future = loop:future()
    port:fail({ "a table" }, "EMINE")
    loop:run()
    assert.same({ nil, { "a table" }, "EMINE" }, { future:get() })
    assert.same({ nil, { "a table" }, "EMINE" }, { future:get() })
    local heard
    for _, combine in ipairs {
      function(f) return f:map(print) end,
      function(f) return f:and_then(function(...)
        heard = table.pack(...)
        local other_port, other = loop:future()
        other_port:fail(heard[2], heard[3])
        return other
      end) end,
      function(f) return f:timeout(20) end,
      function(f) return loop:all { ready(1), f } end,
      function(f) return loop:first { f } end,
    } do
      port, future = loop:future()
      port:fail("EMINE: no luck", "EMINE")
      future = combine(future)
      loop:run()
      assert.same({ nil, "EMINE: no luck", "EMINE" }, { future:get() })
    end
    assert.same({ nil, "EMINE: no luck", "EMINE", n = 3 }, heard)
    port = loop:future()
    assert.has_error(function() port:fail("no luck", {}) end,
      "bad argument #2 to 'fail' (string expected, got table)")
    port:fail("no luck", nil)
  end)

  it("fails when its port is dropped, closed or collected", function()
    local port, future = loop:future()
    assert.is_nil(port:drop())
    loop:run()
    assert.same(CANCELED, { future:get() })
    do
      local own <close>, other = loop:future()
      future = other
      assert(own)
    end
    loop:run()
    assert.same(CANCELED, { future:get() })
    port, future = loop:future()
    assert(port)
    port = nil -- luacheck: ignore
    collectgarbage()
    loop:run()
    assert.same(CANCELED, { future:get() })
    assert.equal("failed", future:status())
  end)

  it("that is gone is told to the port", function()
    local port, future = loop:future()
    assert.is_false(port:canceled())
    future:cancel()
    assert.is_true(port:canceled())
    assert.same(CANCELED, { port:set(1) })
    port = loop:future() -- and the future is nobody's
    collectgarbage()
    assert.is_true(port:canceled())
    assert.same(CANCELED, { port:fail("?") })
    assert.is_true(port:canceled())
    port = loop:future()
    loop:close()
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { port:set(1) })
  end)

  it("that is gone wakes the machine that watches its port", function()
    local canceled = {}
    local port, future = loop:future()
    local M = rotor.machine "M" {
      create = function(_, scope)
        assert(port:watch(scope:handle()))
        return scope:ok()
      end,
      wakeup = function(_, scope)
        canceled[#canceled + 1] = port:canceled()
        return scope:done()
      end,
    }
    assert(loop:add(M))
    loop:turn()
    assert.same({}, canceled)
    future:cancel()
    loop:run()
    assert.same({ true }, canceled)
    assert(loop:add(M)) -- which it was before
    loop:run()
    assert.same({ true, true }, canceled)
    local Idle = rotor.machine "Idle" { create = function(_, scope) return scope:ok() end }
    local idle, foreign = assert(loop:add(Idle)), assert(scene.loop():add(Idle))
    assert.has_error(function() port:watch(foreign) end,
      "bad argument #1 to 'watch' (a handle of another loop)")
    port:drop()
    assert.has_error(function() port:watch(idle) end,
      "the port was used before; it resolves its future once")
  end)

  it("is resolved once", function()
    local used = "the port was used before; it resolves its future once"
    for _, method in ipairs { "set", "fail", "drop" } do
      local port = loop:future()
      port[method](port, 1)
      assert.has_error(function() port:set(2) end, used)
      assert.has_error(function() port:fail(2) end, used)
      port:drop() -- of no effect
    end
    local port = loop:future()
    assert.has_error(function() port:fail() end, "bad argument #1 to 'fail' (value expected)")
  end)

  it("may be canceled by a finalizer while it is combined", function()
    for _, method in ipairs { "map", "and_then", "timeout" } do
      local _, future = loop:future()
      local canceled
      local ok, message = support.finalized(function()
        future:cancel()
        canceled = true
      end, future[method], future, method == "timeout" and 1 or print)
      assert.is_true(canceled)
      assert.same({ false, "the future was canceled, was sent or went into a combinator" },
        { ok, message })
    end
  end)

  it("is not made when a finalizer closes the loop meanwhile", function()
    local own = scene.loop()
    local function close() own:close() end
    assert.same({ false, "the loop is closed" }, { support.finalized(close, own.future, own) })
    own = scene.loop()
    local ok, message = support.finalized(close, own.spawn, own, print)
    assert.same({ false, "no task: ECLOSED: already closed" }, { ok, message })
  end)

  it("is of no use after cancel", function()
    local gone = "the future was canceled, was sent or went into a combinator"
    local port, future = loop:future()
    future:cancel()
    future:cancel()
    for _, call in ipairs {
      "get()", "status()", "map(print)", "and_then(print)", "timeout(1)", "watch(handle)",
    } do
      local handle = assert(loop:add(rotor.machine "M" {
        create = function(_, scope) return scope:ok() end,
      }))
      local env = { future = future, handle = handle, print = print }
      local ok, message = pcall(load("\nfuture:" .. call, "=there", "t", env))
      assert.is_false(ok)
      assert.equal("there:2: " .. gone, message)
    end
    assert.is_true(port:canceled())
  end)

  it("wakes the machine that watches it", function()
    local got
    local port, future = loop:future()
    assert(loop:add(rotor.machine "M" {
      create = function(_, scope)
        assert(future:watch(scope:handle()))
        return scope:ok()
      end,
      wakeup = function(_, scope)
        got = future:get()
        return scope:done()
      end,
    }))
    loop:turn()
    assert.is_nil(got)
    port:set("news")
    loop:run()
    assert.equal("news", got)
  end)

  it("wakes at once when it has been resolved before", function()
    local woken
    local future = ready(1)
    loop:run()
    assert(loop:add(rotor.machine "M" {
      create = function(_, scope)
        assert(future:watch(scope:handle()))
        return scope:ok()
      end,
      wakeup = function(_, scope)
        woken = true
        return scope:done()
      end,
    }))
    support.run(loop)
    assert.is_true(woken)
  end)

  it("is watched by a machine of its own loop, which is alive", function()
    local M = rotor.machine "M" { create = function(_, scope) return scope:done() end }
    local _, future = loop:future()
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" },
      { future:watch(assert(loop:add(M))) })
    local foreign = assert(scene.loop():add(M))
    assert.has_error(function() future:watch(foreign) end,
      "bad argument #1 to 'watch' (a handle of another loop)")
    assert.has_error(function() future:watch() end,
      "bad argument #1 to 'watch' (rotor.handle expected, got no value)")
  end)

  describe("mapped", function()
    it("has what the function makes of its value", function()
      local future = ready(20):map(function(n) return n + 1 end):map(function(n) return 2 * n end)
      loop:run()
      assert.equal(42, future:get())
    end)

    it("calls it outside of transitions, not before map has returned", function()
      local source, called = ready(1), false
      loop:run()
      local future = source:map(function() called = true end)
      assert.is_false(called)
      loop:run()
      assert.is_true(called)
      assert.same(table.pack(nil), table.pack(future:get()))
    end)

    it("runs also when nobody holds it", function()
      local port, future = loop:future()
      local got
      future:map(function(value) got = value end)
      future = nil -- luacheck: ignore
      collectgarbage()
      port:set("value")
      loop:run()
      assert.equal("value", got)
    end)

    it("passes an error by", function()
      local called = false
      local future = failed("no luck"):map(function() called = true end)
      loop:run()
      assert.is_false(called)
      assert.same({ nil, "no luck", "ELUA" }, { future:get() })
      local port, source = loop:future()
      future = source:map(function() called = true end)
      port:drop()
      loop:run()
      assert.is_false(called)
      assert.same(CANCELED, { future:get() })
    end)

    it("fails with what the function throws, which is reported", function()
      local future = ready(1):map(function() error("kaputt") end)
      loop:run()
      assert.matches("^future: map: spec/future_spec.lua:%d+: kaputt\nstack traceback:\n",
        scene.error())
      local value, message, name = future:get()
      assert.is_nil(value)
      assert.matches("^spec/future_spec.lua:%d+: kaputt$", message)
      assert.equal("ELUA", name)
    end)

    it("to a future is a mistake, which is told", function()
      local port, inner = loop:future()
      local future = ready(1):map(function() return inner end)
      loop:run()
      assert.matches("^future: map: the function of map returned a future; use and_then\n",
        scene.error())
      assert.same({ nil, "the function of map returned a future; use and_then", "ELUA" },
        { future:get() })
      port:drop()
    end)

    it("and canceled calls nothing, and cancels its source", function()
      local port, source = loop:future()
      local called = false
      local future = source:map(function() called = true end)
      assert.is_false(port:canceled())
      future:cancel()
      assert.is_true(port:canceled())
      port:set(1)
      loop:run()
      assert.is_false(called)
    end)

    it("may be canceled by its own function", function()
      local future
      future = ready(1):map(function()
        future:cancel()
        collectgarbage()
        return {}
      end)
      loop:run()
      assert.has_error(function() future:get() end,
        "the future was canceled, was sent or went into a combinator")
    end)

    it("takes the future that it follows", function()
      local source = ready(1)
      local future = source:map(function(n) return n end)
      assert.has_error(function() source:get() end,
        "the future was canceled, was sent or went into a combinator")
      future:cancel()
      assert.has_error(function() ready(1):map() end,
        "bad argument #1 to 'map' (function expected, got no value)")
    end)

    it("takes a future that a task is about to be told of", function()
      local first_port, first = loop:future()
      local port, future = loop:future()
      local mapped, awaited
      loop:spawn(function() awaited = table.pack(future:await()) end)
      local _ = first:map(function() mapped = future:map(function(value) return value + 1 end) end)
      loop:turn()
      first_port:set(0)
      port:set(1)
      loop:run()
      assert.equal(2, mapped:get())
      assert.equal("ECANCELED", awaited[3])
    end)

    it("a thousand times is no strain", function()
      local future = ready(0)
      for _ = 1, 1000 do future = future:map(function(n) return n + 1 end) end
      loop:run()
      assert.equal(1000, future:get())
    end)
  end)

  describe("and_then", function()
    it("has the value of the future that the function returns", function()
      local port, inner = loop:future()
      local future = ready(1):and_then(function(n)
        assert(n == 1)
        return inner
      end)
      loop:run()
      assert.equal("pending", future:status())
      port:set("inner")
      loop:run()
      assert.equal("inner", future:get())
    end)

    it("has the value that the function returns", function()
      local future = ready(1):and_then(function(n) return n + 1 end)
      loop:run()
      assert.equal(2, future:get())
    end)

    it("hears of an error, and may do without", function()
      local heard
      local future = failed("no luck"):and_then(function(...)
        heard = table.pack(...)
        return "second best"
      end)
      loop:run()
      assert.same({ nil, "no luck", "ELUA", n = 3 }, heard)
      assert.equal("second best", future:get())
    end)

    it("fails with what the function throws, which is reported", function()
      local future = ready(1):and_then(function() error("kaputt") end)
      loop:run()
      assert.matches("^future: and_then: .*: kaputt\nstack traceback:\n", scene.error())
      assert.matches(": kaputt$", select(2, future:get()))
    end)

    it("refuses a future that it cannot follow", function()
      local _, inner = loop:future()
      inner:cancel()
      local future = ready(1):and_then(function() return inner end)
      loop:run()
      local reason = "the function of and_then returned a future that "
      assert.same({ nil, reason .. "was canceled, was sent or went into a combinator", "ELUA" },
        { future:get() })
      scene.error()
      local port, foreign = scene.loop():future()
      future = ready(1):and_then(function() return foreign end)
      loop:run()
      assert.same({ nil, reason .. "is of another loop", "ELUA" }, { future:get() })
      scene.error()
      port:drop()
    end)

    it("cancels what it waits for", function()
      local port, inner = loop:future()
      local future = ready(1):and_then(function() return inner end)
      loop:run()
      assert.is_false(port:canceled())
      future:cancel()
      assert.is_true(port:canceled())
    end)
  end)

  describe("with a timeout", function()
    it("fails when that has passed, and cancels its source", function()
      local port, source = loop:future()
      local future = source:timeout(0.002)
      support.run(loop)
      assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }, { future:get() })
      assert.is_true(port:canceled())
    end)

    it("has its value when that comes before", function()
      local future = ready("in time"):timeout(20)
      loop:run()
      assert.equal("in time", future:get())
    end)

    it("fails as its source does", function()
      local future = failed("no luck"):timeout(20)
      loop:run()
      assert.same({ nil, "no luck", "ELUA" }, { future:get() })
    end)

    it("keeps nothing running when it is canceled", function()
      local port, source = loop:future()
      source:timeout(20):cancel()
      loop:run()
      assert.is_true(port:canceled())
    end)

    it("is a machine more, for which there may be no room", function()
      local full = scene.loop { capacity = 1 }
      assert(full:add(rotor.machine "M" { create = function(_, scope) return scope:ok() end }))
      local port, source = full:future()
      assert.same({ nil, "ECAPACITY: the loop's capacity is used up", "ECAPACITY" },
        { source:timeout(1) })
      assert.is_true(port:canceled())
    end)

    it("wants seconds", function()
      for arguments, message in pairs {
        [""] = "bad argument #1 to 'timeout' (number expected, got no value)",
        ["-1"] = "bad argument #1 to 'timeout' (seconds expected, at least 0)",
      } do
        local _, future = loop:future()
        local call = load("future:timeout(" .. arguments .. ")", "=there", "t", { future = future })
        assert.equal("there:1: " .. message, select(2, pcall(call)))
        assert.equal("pending", future:status())
      end
    end)
  end)

  describe("of all", function()
    it("has all values, in order", function()
      local port, late = loop:future()
      local future = loop:all { ready(1), late, ready(nil), ready("four") }
      loop:run()
      assert.equal("pending", future:status())
      port:set(2)
      loop:run()
      assert.same({ 1, 2, nil, "four", n = 4 }, future:get())
    end)

    it("of none is there at once", function()
      local future = loop:all {}
      loop:run()
      assert.same({ n = 0 }, future:get())
    end)

    it("fails with the first that fails, and cancels the others", function()
      local port, other = loop:future()
      local future = loop:all { ready(1), failed("no luck"), other }
      loop:run()
      assert.same({ nil, "no luck", "ELUA" }, { future:get() })
      assert.is_true(port:canceled())
    end)

    it("goes into other combinators like any other", function()
      local future = loop:all {
        loop:all { ready(1), ready(2) },
        loop:all { ready(3) }:map(function(values) return values[1] end),
        ready(0):and_then(function() return loop:all { ready(4) } end),
        loop:all { ready(5) }:timeout(20),
      }
      loop:run()
      assert.same({ { 1, 2, n = 2 }, 3, { 4, n = 1 }, { 5, n = 1 }, n = 4 }, future:get())
      future:cancel()
      loop:all { ready({}), ready({}) }:map(function(values) assert(values.n == 2) end)
      loop:run()
    end)

    it("takes all of them or none", function()
      local _, one = loop:future()
      local _, two = loop:future()
      local _, foreign = scene.loop():future()
      local _, gone = loop:future()
      gone:cancel()
      for _, case in ipairs {
        { { one, two, one }, "item 3 was canceled, was sent, went into a combinator, or stands in "
          .. "the table twice" },
        { { one, gone }, "item 2 was canceled, was sent, went into a combinator, or stands in "
          .. "the table twice" },
        { { one, foreign }, "item 2 is a future of another loop" },
        { { one, 42 }, "item 2 is not a future" },
      } do
        for _, method in ipairs { "all", "first" } do
          local call = load("loop:" .. method .. "(list)", "=there", "t",
            { loop = loop, list = case[1] })
          assert.equal(("there:1: bad argument #1 to '%s' (%s)"):format(method, case[2]),
            select(2, pcall(call)))
        end
        assert.equal("pending", one:status())
        assert.equal("pending", two:status())
      end
      local default = rotor.all {}
      rotor.run()
      assert.same({ n = 0 }, default:get())
      rotor.default():close()
    end)
  end)

  describe("of the first", function()
    it("has the first value, and cancels the others", function()
      local port, slow = loop:future()
      local future = loop:first { slow, ready("fast") }
      loop:run()
      assert.equal("fast", future:get())
      assert.is_true(port:canceled())
    end)

    it("passes by those that fail, but for the last", function()
      local port, good = loop:future()
      local future = loop:first { failed("one"), good }
      loop:run()
      assert.equal("pending", future:status())
      port:set("two")
      loop:run()
      assert.equal("two", future:get())
      future = loop:first { failed("one"), failed("other") }
      loop:run()
      assert.same({ nil, "other", "ELUA" }, { future:get() })
    end)
  end)

  it("that its loop has left behind says so", function()
    local port, future = loop:future()
    local _, other = loop:future()
    local kept = other:map(function() error("called") end)
    loop:close()
    assert.equal("failed", future:status())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { future:get() })
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:get() })
    for _, call in ipairs { "map(print)", "and_then(print)", "timeout(1)" } do
      local _, message = pcall(load("future:" .. call, "=there", "t",
        { future = future, print = print }))
      assert.equal("there:1: the future's loop is closed", message)
    end
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { port:set({}) })
  end)

  it("that has a value still has it when its loop is closed", function()
    local future = ready({ "value" })
    loop:run()
    loop:close()
    assert.same({ "value" }, future:get())
  end)

  it("waits with functions that a closed loop forgets", function()
    -- What is counted when the scene is over would have grown.
    local ports = {}
    for i = 1, 10 do
      local port, future = loop:future()
      ports[i] = port
      future:map(function() end):timeout(20):and_then(function() end)
      loop:all { (select(2, loop:future())) }:map(function() end)
    end
    loop:turn()
    loop:close()
    assert.is_true(ports[1]:canceled())
  end)

  it("resolves from transitions, outside of which its functions are called", function()
    local order = {}
    local port, future = loop:future()
    future:map(function(value)
      order[#order + 1] = value
      assert(loop:add(rotor.machine "Next" {
        create = function(_, scope)
          order[#order + 1] = "created"
          return scope:done()
        end,
      }))
    end)
    assert(loop:add(rotor.machine "M" {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope)
        port:set("value")
        order[#order + 1] = "set"
        return scope:done()
      end,
    }))
    loop:run()
    assert.same({ "set", "value", "created" }, order)
  end)
end)
