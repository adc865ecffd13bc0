local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"

local function pid()
  local file <close> = assert(io.open("/proc/self/stat"))
  return file:read("n")
end

describe("a loop", function()
  local scene = support.scene()
  local loop
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    rotor.default():close()
    scene.finish()
  end)

  local Idle = rotor.machine "Idle" {
    create = function(_, scope) return scope:ok() end,
    wakeup = function(_, scope) return scope:done() end,
  }

  -- A machine that calls fn in a transition, once.
  local function inside(fn, where)
    assert((where or loop):add(rotor.machine "Inside" {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope)
        fn(scope)
        return scope:done()
      end,
    }))
  end

  it("runs until no machine is left", function()
    assert.is_true(loop:run())
    inside(function() end)
    assert.equal(1, loop:count())
    assert.is_true(loop:run())
    assert.equal(0, loop:count())
  end)

  it("is the default one for the functions of the module", function()
    local handle = assert(rotor.add(Idle))
    assert.equal(1, rotor.count())
    assert.equal(1, rotor.default():count())
    assert.equal(0, loop:count())
    handle:wake()
    assert.is_true(rotor.run())
    assert.equal(0, rotor.count())
    assert.equal(rotor.default(), rotor.default())
    assert.are_not_equal(loop, rotor.default())
    assert.is_true(rotor.turn())
    assert.equal("number", type(rotor.now()))
    -- Closed, it is replaced by another when it is needed again.
    local first = rotor.default()
    first:close()
    assert.are_not_equal(first, rotor.default())
  end)

  it("stops in the middle, and goes on when it is run again", function()
    local heard = {}
    inside(function() heard[1] = loop:stop() == nil end)
    local handle = assert(loop:add(Idle))
    loop:run()
    assert.same({ true }, heard)
    assert.is_true(handle:alive())
    handle:wake()
    loop:run()
    assert.is_false(handle:alive())
  end)

  it("turns without waiting", function()
    assert(loop:add(Idle))
    local before = loop:now()
    assert.is_true(loop:turn())
    assert.is_true(loop:now() - before < 1)
  end)

  it("cannot be run, turned or closed from inside itself", function()
    local messages = {}
    local function try(what)
      for _, call in ipairs { "run", "turn", "close" } do
        local ok, message = pcall(load("\nloop:" .. call .. "()", "=there", "t", { loop = loop }))
        assert(not ok)
        messages[#messages + 1] = what .. message
      end
    end
    inside(function() try "transition: " end)
    local port, future = loop:future()
    future:map(function() try "future: " end)
    port:set(1)
    loop:on_signal("USR1", function() try "signal: " end)
    inside(function() os.execute("kill -USR1 " .. pid()) end)
    loop:on_error(function()
      try "on_error: "
      loop:on_error(nil)
    end)
    inside(function() error("for on_error") end)
    inside(function(scope)
      scope.loop:add(rotor.machine "Dropped" {
        create = function(_, own) return own:ok(0.01) end,
        timeout = function(_, own) return own:done() end,
        drop = function() try "drop: " end,
      })
    end)
    support.run(loop)
    assert.equal(15, #messages)
    table.sort(messages)
    for i, message in ipairs(messages) do
      local what = ({ "drop", "future", "on_error", "signal", "transition" })[(i + 2) // 3]
      local said = i % 3 == 1 and "a loop that is running cannot be closed; stop it, and close it "
        .. "after" or "the loop is running already; a transition cannot run it again"
      assert.equal(what .. ": there:2: " .. said, message)
    end
  end)

  it("may be run inside a transition of another", function()
    local other = scene.loop()
    local order = {}
    inside(function() order[#order + 1] = "inner" end, other)
    inside(function() error("inner fails") end, other)
    inside(function()
      order[#order + 1] = "outer"
      assert(other:run())
      coroutine.wrap(function()
        inside(function() order[#order + 1] = "in a coroutine" end, other)
        assert(other:run())
      end)()
      order[#order + 1] = "after"
    end)
    loop:run()
    assert.same({ "outer", "inner", "in a coroutine", "after" }, order)
    assert.matches("^Inside: timeout: .*inner fails\nstack traceback:", scene.error())
  end)

  it("may be run by a coroutine", function()
    local ran
    inside(function() ran = not coroutine.isyieldable() end)
    assert.is_true(coroutine.wrap(function() return loop:run() end)())
    assert.is_true(ran)
  end)

  it("does not mind what is done to the thread that transitions run on", function()
    local thread
    inside(function() thread = coroutine.running() end)
    loop:run()
    assert.equal("dead", coroutine.status(thread))
    assert.is_false((coroutine.resume(thread)))
    assert.is_true(coroutine.close(thread))
    inside(function() error("still caught") end)
    loop:run()
    assert.matches("still caught\nstack traceback:", scene.error())
  end)

  it("may be closed by a to-be-closed variable", function()
    local closed
    do
      local own <close> = rotor.loop()
      assert(own:add(Idle))
      closed = own
    end
    assert.equal("rotor.loop (closed)", tostring(closed))
    assert.matches("^rotor%.loop: ", tostring(loop))
  end)

  it("lets go of all machines when it is closed", function()
    local handle = assert(loop:add(Idle))
    local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "P" {
      create = function(_, stream) return stream:sleep() end,
    }))
    loop:close()
    assert.is_false(handle:alive())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { handle:wake() })
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { handle:close() })
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { listener:address() })
    assert.matches("%(ended%)$", tostring(listener))
  end)

  it("has any value for context", function()
    local context = { db = "…" }
    assert.equal(context, scene.loop({ context = context }).context)
    assert.equal(false, scene.loop({ context = false }).context)
    assert.is_nil(scene.loop({}).context)
    assert.is_nil(scene.loop().contxt)
    assert.has_error(function() loop.context = 3 end)
  end)

  it("takes no more than its capacity, and connections wait meanwhile", function()
    local small = scene.loop { capacity = 2, buffer = 4096 }
    local open, most, served = 0, 0, 0
    local listener
    listener = assert(small:listen("127.0.0.1:0", rotor.protocol "Server" {
      create = function(_, stream)
        open = open + 1
        most = math.max(most, open)
        return stream:expect_bytes(1)
      end,
      bytes_read = function(_, stream)
        stream:write(stream:take())
        return stream:done()
      end,
      drop = function()
        open, served = open - 1, served + 1
        if served == 3 then listener:close() end
      end,
    }))
    local got = 0
    for _ = 1, 3 do
      assert(loop:connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream)
          stream:write("x")
          return stream:expect_bytes(1)
        end,
        bytes_read = function(_, stream)
          got = got + 1
          return stream:done()
        end,
      }))
    end
    for _ = 1, 1000 do
      if got == 3 and small:count() == 0 then break end
      small:turn()
      loop:turn()
    end
    assert.same({ 1, 3, 3 }, { most, served, got })
  end)

  describe("reports errors", function()
    it("to on_error, as one text with the traceback", function()
      inside(function() error("kaputt") end)
      loop:run()
      assert.matches("^Inside: timeout: spec/loop_spec.lua:%d+: kaputt\nstack traceback:\n"
        .. "\t%[C%]: in function 'error'\n\tspec/loop_spec%.lua:%d+: in ", scene.error())
    end)

    it("to standard error by default, and after on_error(nil)", function()
      for _, code in ipairs { "", "rotor.on_error(print) rotor.on_error(nil)" } do
        local output, status = support.program([[
          local rotor = require "rotor"
          ]] .. code .. [[
          rotor.add(rotor.machine "M" {
            create = function(_, scope) return scope:ok(0) end,
            timeout = function() error("kaputt") end,
          })
          rotor.run()
          io.stderr:write("and on it goes\n")
        ]])
        assert.matches("^rotor: M: timeout: .*:%d+: kaputt\nstack traceback:\n.*"
          .. "\nand on it goes\n$", output)
        assert.equal(0, status)
      end
    end)

    it("to standard error, both of them, when on_error itself fails", function()
      local output, status = support.program([[
        local rotor = require "rotor"
        rotor.on_error(function() error("worse") end)
        rotor.add(rotor.machine "M" {
          create = function(_, scope) return scope:ok(0) end,
          timeout = function() error("bad") end,
        })
        rotor.run()
      ]])
      assert.matches("rotor: M: timeout: .-: bad\n", output)
      assert.matches("rotor: on_error: .-: worse\n", output)
      assert.equal(0, status)
    end)

    it("of each loop to its own", function()
      local other, mine = scene.loop(), nil
      other:on_error(function(message) mine = message end)
      inside(function() error("other's") end, other)
      other:run()
      assert.matches("other's", mine)
      assert.equal(0, #scene.errors)
    end)
  end)

  describe("on a signal", function()
    local function kill(name)
      inside(function() assert(os.execute("kill -" .. name .. " " .. pid())) end)
      -- What libuv has been told in one turn it tells in the next.
      for _ = 1, 3 do loop:turn() end
    end

    it("calls the function with its name", function()
      local heard = {}
      for _, name in ipairs { "USR1", "USR2", "HUP", "WINCH" } do
        assert.is_true(loop:on_signal(name, function(...) heard[#heard + 1] = { ... } end))
        kill(name)
      end
      assert.same({ { "USR1" }, { "USR2" }, { "HUP" }, { "WINCH" } }, heard)
    end)

    it("calls the last one set, and none after nil", function()
      local heard = {}
      assert.is_true(loop:on_signal("WINCH", function() heard[#heard + 1] = 1 end))
      assert.is_true(loop:on_signal("WINCH", function() heard[#heard + 1] = 2 end))
      kill "WINCH"
      assert.is_true(loop:on_signal("WINCH", nil))
      assert.is_true(loop:on_signal("WINCH"))
      kill "WINCH"
      assert.same({ 2 }, heard)
    end)

    it("may take its own function away", function()
      local heard = 0
      loop:on_signal("WINCH", function()
        heard = heard + 1
        loop:on_signal("WINCH", nil)
        collectgarbage()
      end)
      kill "WINCH"
      kill "WINCH"
      assert.equal(1, heard)
    end)

    it("reports what the function throws", function()
      loop:on_signal("WINCH", function() error("startled") end)
      kill "WINCH"
      assert.matches("^signal: WINCH: .*: startled\nstack traceback:", scene.error())
    end)

    it("does not keep running for it, and may be stopped by it", function()
      loop:on_signal("TERM", function() loop:stop() end)
      loop:run() -- returns: nothing is left to do
      assert(loop:add(Idle))
      inside(function() os.execute("kill -TERM " .. pid()) end)
      support.run(loop)
      assert.equal(1, loop:count())
    end)

    it("may be ended by rotor.stop itself", function()
      local output, status = support.program([[
        local rotor = require "rotor"
        local http = require "rotor.http"
        assert(http.serve("127.0.0.1:0", print))
        assert(rotor.on_signal("TERM", rotor.stop))
        rotor.add(rotor.machine "M" {
          create = function(_, scope) return scope:ok(0) end,
          timeout = function(_, scope)
            local file <close> = io.open("/proc/self/stat")
            os.execute("kill -TERM " .. file:read("n"))
            return scope:done()
          end,
        })
        print(rotor.run())
      ]])
      assert.equal("true\n", output)
      assert.equal(0, status)
    end)
  end)

  it("and its handles know each other again", function()
    local handle = assert(loop:add(Idle))
    local seen
    assert(loop:add(rotor.machine "M" {
      create = function(_, scope)
        seen = scope:handle()
        return scope:ok()
      end,
    }))
    assert.are_not_equal(handle, seen)
    assert.equal("rotor.handle: 0.1 (Idle)", tostring(handle))
    local other = scene.loop()
    local foreign = assert(other:add(Idle))
    assert.are_not_equal(handle, foreign)
    -- A slot that is taken again is another machine's.
    handle:wake()
    loop:turn()
    local again = assert(loop:add(Idle))
    assert.are_not_equal(handle, again)
    assert.is_false(handle:alive())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { handle:wake() })
    assert.is_true(again:alive())
  end)

  describe("'s notifier", function()
    it("wakes its machine, once for all calls before", function()
      local notifier, n = nil, 0
      assert(loop:add(rotor.machine "M" {
        create = function(_, scope)
          notifier = scope:notifier()
          return scope:ok()
        end,
        wakeup = function(_, scope)
          n = n + 1
          return n < 2 and scope:ok() or scope:done()
        end,
      }))
      for _ = 1, 5 do assert.is_true(notifier:wakeup()) end
      assert.equal(0, n)
      loop:turn()
      assert.equal(1, n)
      notifier:wakeup()
      loop:run()
      assert.equal(2, n)
      assert.is_true(notifier:wakeup()) -- nothing happens to a machine that has ended
      loop:close()
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { notifier:wakeup() })
    end)

    it("wakes a stream", function()
      local woken
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "P" {
        create = function(_, stream)
          local notifier <close> = stream:notifier()
          notifier:wakeup()
          return stream:sleep()
        end,
        wakeup = function(_, stream)
          woken = true
          return stream:done()
        end,
      }))
      support.exchange(loop, listener:address(), "")
      assert.is_true(woken)
    end)
  end)

  it("of HTTP cannot be run by a handler", function()
    local listener = assert(http.serve(loop, "127.0.0.1:0", function(_, res)
      res:send(200, select(2, pcall(loop.run, loop)))
    end))
    assert.matches("the loop is running already", support.exchange(loop, listener:address(),
      "GET / HTTP/1.1\r\nHost: spec\r\nConnection: close\r\n\r\n"))
  end)
end)
