local rotor = require "rotor"
local support = require "spec.support"

describe("a connection that is kept alive", function()
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

  local function done(_, stream)
    return stream:done()
  end

  local function expect(_, stream)
    return stream:expect_bytes(1 << 20)
  end

  -- A protocol that waits for its peer to close.
  local function waiting(transitions)
    transitions = transitions or {}
    transitions.create = transitions.create or expect
    transitions.exception = transitions.exception or done
    return rotor.protocol "Client" (transitions)
  end

  -- A listener whose protocol has this `create`; what it has accepted ends with `leave`.
  local function serve(create, address)
    return assert(loop:listen(address or "127.0.0.1:0", rotor.protocol "Server" {
      create = create,
      exception = done,
      fatal = function() end,
    }))
  end

  -- An address that nobody listens on any more.
  local function deserted()
    local listener = serve(done)
    local address = listener:address()
    listener:close()
    loop:turn()
    return address
  end

  it("comes back when the peer has closed", function()
    local log, selves, kept = {}, {}, nil
    local listener = serve(function(_, stream)
      stream:write("hi")
      return stream:done()
    end)
    kept = assert(loop:persist(listener:address(), rotor.protocol "Client" {
      create = function(self, stream, seed)
        assert(seed == "seed" and self.used == nil)
        self.used = true
        selves[#selves + 1] = self
        log[#log + 1] = "create"
        return stream:expect_bytes(2)
      end,
      bytes_read = function(_, stream, n)
        log[#log + 1] = stream:take(n)
        return stream:expect_bytes(1)
      end,
      drop = function() log[#log + 1] = "drop" end,
    }, {
      seed = "seed",
      backoff = 0.002,
      up = function(stream, ...)
        assert(select("#", ...) == 0)
        log[#log + 1] = "up " .. tostring(stream == kept:stream() and stream:alive())
      end,
      down = function(code, message, seconds)
        assert(code == nil and message == nil, message)
        log[#log + 1] = seconds >= 0.001 and "down" or seconds
        assert(kept:stream() == nil)
        if #selves == 3 then
          kept:close()
          listener:close()
        end
      end,
    }))
    assert.is_nil(kept:stream())
    assert.matches("%(persist%)$", tostring(kept))
    support.run(loop)
    assert.same(3, #selves)
    local one = { "create", "up true", "hi", "down", "drop" }
    for i, said in ipairs(log) do assert.equal(one[(i - 1) % #one + 1], said) end
    assert.equal(3 * #one, #log)
    assert.is_false(kept:alive())
    assert.is_nil(kept:stream())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:close() })
  end)

  it("is tried until somebody listens", function()
    local address = deserted()
    local log, kept, listener = {}, nil, nil
    kept = assert(loop:persist(address, waiting {
      fatal = function(_, _, code, message, seed)
        log[#log + 1] = ("fatal %s %s %s"):format(code, message, seed)
      end,
      drop = function() listener:close() end,
    }, {
      seed = 7,
      backoff = 0.004,
      backoff_max = 0.008,
      up = function()
        log[#log + 1] = "up"
        kept:close()
      end,
      down = function(code, message, seconds)
        log[#log + 1] = ("down %s %s"):format(code, message)
        local most = #log == 2 and 0.004 or 0.008
        assert(seconds >= most / 2 and seconds <= most)
        if #log == 6 then listener = serve(expect, address) end
      end,
    }))
    support.run(loop)
    local failed = {
      ("fatal ECONNREFUSED connection refused (%s) 7"):format(address),
      ("down ECONNREFUSED ECONNREFUSED: connection refused (%s)"):format(address),
    }
    assert.same({ failed[1], failed[2], failed[1], failed[2], failed[1], failed[2], "up" }, log)
  end)

  it("is quiet when nobody asks", function()
    local address, tries = deserted(), 0
    local Client = waiting {
      fatal = function()
        tries = tries + 1
        if tries == 3 then loop:stop() end
      end,
    }
    assert(loop:persist(address, Client, { backoff = 0.001, backoff_max = 0.001 }))
    assert(loop:persist("a..b:1", waiting()))
    support.run(loop)
    assert.is_true(tries >= 3) -- and another one while it stopped, perhaps
  end)

  it("hears of a name that cannot be found", function()
    local kept, heard
    kept = assert(loop:persist("a..b:1", waiting(), {
      down = function(...)
        heard = { ... }
        kept:close()
      end,
    }))
    support.run(loop)
    assert.matches("^EAI_", heard[1])
    assert.matches("^" .. heard[1] .. ": .* %(a%.%.b:1%)$", heard[2])
    assert.is_true(heard[3] >= 0.05 and heard[3] <= 0.1)
  end)

  it("gives up each try after the timeout", function()
    local busy = scene.loop()
    local full = assert(busy:listen("127.0.0.1:0", rotor.protocol "P" { create = done },
      { backlog = 1 }))
    local kept, codes = {}, {}
    for i = 1, 4 do -- two of them find room in the backlog
      kept[i] = assert(loop:persist(full:address(), waiting(), {
        timeout = 0.01,
        backoff = 0.001,
        down = function(code, message)
          codes[#codes + 1] = message
          assert(code == "ETIMEDOUT")
          if #codes == 4 then for _, k in ipairs(kept) do k:close() end end
        end,
      }))
    end
    support.run(loop)
    assert.equal(("ETIMEDOUT: deadline passed (%s)"):format(full:address()), codes[1])
  end)

  describe("ends with its stream", function()
    -- Until it is ended by `finish`, which is called in the transition or function of that name.
    local function ends_in(where)
      local log, kept, listener = {}, nil, serve(function(_, stream)
        if where == "exception" then return stream:done() end
        stream:write("x")
        return stream:expect_bytes(1)
      end)
      local function note(name)
        log[#log + 1] = name
        if name == where then kept:close() end
      end
      local Client = rotor.protocol "Client" {
        create = function(_, stream)
          note "create"
          if where == "wakeup" then stream:handle():wake() end
          return stream:expect_bytes(1)
        end,
        wakeup = function(_, stream)
          note "wakeup"
          return stream:same()
        end,
        bytes_read = function(_, stream)
          note "bytes_read"
          return stream:expect_bytes(2)
        end,
        exception = function(_, stream)
          note "exception"
          return stream:done()
        end,
        fatal = function() note "fatal" end,
        drop = function()
          note "drop"
          listener:close()
        end,
      }
      local address = listener:address()
      if where == "down" or where == "fatal" then
        listener:close()
        loop:turn()
      end
      kept = assert(loop:persist(address, Client, {
        up = function() note "up" end,
        down = function() note "down" end,
      }))
      support.run(loop)
      assert.is_false(kept:alive())
      return table.concat(log, " ")
    end

    it("in the functions it tells", function()
      assert.equal("create up drop", ends_in("up"))
      assert.equal("fatal down", ends_in("down"))
    end)

    it("in transitions of the protocol", function()
      assert.equal("create drop", ends_in("create"))
      assert.equal("create up wakeup drop", ends_in("wakeup"))
      assert.equal("create up bytes_read drop", ends_in("bytes_read"))
      assert.equal("create up exception drop", ends_in("exception"))
      assert.equal("fatal", (ends_in("fatal"):gsub(" down$", "")))
    end)

    it("with its loop, and all is given back", function()
      for turns = 0, 6 do
        local inner = scene.loop()
        local here = setmetatable({}, { __mode = "k" })
        local listener = assert(inner:listen("127.0.0.1:0", rotor.protocol "Server" {
          create = done,
        }))
        do
          local seed, up, down = {}, function() return here end, function() return here end
          here[seed], here[up], here[down] = true, true, true
          for _, address in ipairs { listener:address(), "a..b:1", "unix:/nobody/here" } do
            assert(inner:persist(address, waiting(), { seed = seed, up = up, down = down }))
          end
        end
        for _ = 1, turns do inner:turn() end
        collectgarbage()
        assert.is_truthy(next(here))
        inner:close()
        collectgarbage()
        collectgarbage()
        assert.is_nil(next(here))
      end
    end)
  end)

  it("goes on when its stream alone is closed", function()
    local ups, downs, kept, listener = 0, {}, nil, serve(expect)
    kept = assert(loop:persist(listener:address(), waiting(), {
      backoff = 0.001,
      up = function(stream)
        ups = ups + 1
        if ups == 3 then
          kept:close()
          listener:close()
        else
          assert(stream:close())
        end
      end,
      down = function(code) downs[#downs + 1] = code or "well" end,
    }))
    support.run(loop)
    assert.equal(3, ups)
    assert.same({ "well", "well" }, downs)
  end)

  it("tries at once when it is woken", function()
    local kept, tries = nil, 0
    local before = loop:now()
    kept = assert(loop:persist(deserted(), waiting(), {
      backoff = 1000,
      backoff_max = 1000,
      down = function()
        tries = tries + 1
        if tries == 4 then kept:close() else kept:wake() end
      end,
    }))
    support.run(loop)
    assert.equal(4, tries)
    assert.is_true(loop:now() - before < 100)
  end)

  it("waits for room in the loop", function()
    loop:close()
    loop = scene.loop { capacity = 3 }
    local listener = assert(loop:listen("unix:@rotor-persist-" .. tostring(loop):match("0x(%x+)"),
      rotor.protocol "Server" { create = done }))
    local up
    assert(loop:persist(listener:address(), waiting {
      fatal = function(_, _, code) error(code) end,
    }, {
      up = function() up = true end,
    }))
    local other = assert(loop:add(rotor.machine "Other" {
      create = function(_, scope) return scope:ok() end,
    }))
    for _ = 1, 5 do loop:turn() end
    assert.is_nil(up)
    assert.same({ nil, "ECAPACITY: the loop's capacity is used up (127.0.0.1:1)", "ECAPACITY" },
      { loop:persist("127.0.0.1:1", waiting()) })
    other:close()
    for _ = 1, 5 do loop:turn() end
    assert.is_true(up)
  end)

  describe("tells on_error", function()
    it("what up and down throw, and goes on", function()
      local kept, ups, listener = nil, 0, serve(done)
      kept = assert(loop:persist(listener:address(), waiting(), {
        backoff = 0.001,
        up = function()
          ups = ups + 1
          error("kaputt")
        end,
        down = function()
          if ups == 2 then
            kept:close()
            listener:close()
          end
          error({})
        end,
      }))
      support.run(loop)
      assert.equal(4, #scene.errors)
      for i, message in ipairs(scene.errors) do
        if i % 2 == 1 then
          assert.matches("^Client: up: .*persist_spec%.lua:%d+: kaputt\nstack traceback:", message)
        else
          assert.matches("^Client: down: table: ", message)
        end
      end
      scene.errors = {}
    end)

    it("what transitions throw, and hears ELUA", function()
      local kept, heard, listener = nil, nil, serve(done)
      kept = assert(loop:persist(listener:address(), waiting {
        create = function() error("kaputt") end,
      }, {
        down = function(...)
          heard = { ... }
          kept:close()
          listener:close()
        end,
      }))
      support.run(loop)
      assert.matches("^Client: create: .*: kaputt\n", scene.error())
      assert.equal("ELUA", heard[1])
      assert.equal(("ELUA: error in a Lua transition, told to on_error (%s)"):format(
        listener:address() or heard[2]:match("%((.*)%)$")), heard[2])
    end)

    it("that a transition is missing, when there is no down", function()
      local address
      local listener = serve(function(_, stream)
        stream:write("x")
        return stream:expect_bytes(1)
      end)
      address = listener:address()
      assert(loop:persist(address, rotor.protocol "Client" {
        create = function(_, stream) return stream:expect_bytes(1) end,
        drop = function() loop:stop() end,
      }))
      support.run(loop)
      assert.equal(("Client: EUNEXPECTED: the machine has no transition for what happened (%s)")
        :format(address), scene.error())
    end)
  end)

  it("fails at once for what is no address", function()
    assert.same({
      nil,
      "EADDRESS: not an address: expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH (nowhere)",
      "EADDRESS",
    }, { loop:persist("nowhere", waiting(), { up = print, seed = {} }) })
    assert.equal(0, loop:count())
  end)

  it("checks what it is given, at the caller's line", function()
    local P = waiting()
    for call, wanted in pairs {
      ["persist()"] = "bad argument #1 to 'persist' (string expected, got no value)",
      ["persist('1', {})"] = "bad argument #2 to 'persist' (rotor.protocol expected, got table)",
      ["persist('1', P, 1)"] = "bad argument #3 to 'persist' (table expected, got number)",
      ["persist('1', P, { up = 1 })"] = "option 'up': a function expected, got number",
      ["persist('1', P, { down = {} })"] = "option 'down': a function expected, got table",
      ["persist('1', P, { backoff = 0 })"] =
        "option 'backoff': seconds expected, more than 0 and less than 50 days, got 0",
      ["persist('1', P, { keepalive = 0.5 })"] =
        "option 'keepalive': an integer from 1 to 32767 expected, got 0.5",
      ["persist('1', P, { upp = print })"] = "unknown option 'upp'; known are: timeout, delay, "
        .. "keepalive, backoff, backoff_max, up, down, seed",
    } do
      local env = { rotor = rotor, P = P, print = print }
      local _, message = pcall(load("\nrotor." .. call, "=there", "t", env))
      assert.equal("there:2: " .. wanted, message)
    end
    assert.has_error(function() loop.persist("1", P) end,
      "bad argument #1 to 'persist' (rotor.loop expected, got string)")
    loop:close()
    assert.has_error(function() loop:persist("1", P) end, "the loop is closed")
  end)

  describe("of a program", function()
    local KEEP = [[
      local rotor = require "rotor"
      local log = setmetatable({}, { __index = table })
      local Server = rotor.protocol "Server" {
        create = function(_, stream) return stream:done() end,
      }
      local listener = assert(rotor.listen("127.0.0.1:0", Server))
      local Client = rotor.protocol "Client" {
        create = function(self, stream)
          self.stream, self.junk = stream, { {}, {} }
          return stream:expect_bytes(1)
        end,
        exception = function(_, stream) return stream:done() end,
      }
      local ups, downs = 0, 0
      local function keep(address, up, down)
        return assert(rotor.persist(address, Client, {
          seed = {}, backoff = 0.001, backoff_max = 0.002,
          up = function(...) ups = ups + 1 return up and up(...) end,
          down = function(...) downs = downs + 1 return down and down(...) end,
        }))
      end
    ]]

    local function runs(code)
      return support.program(KEEP .. code)
    end

    it("may be open when the state closes", function()
      for turns = 0, 12, 2 do
        for _, exit in ipairs { "", "os.exit(0, true)", "os.exit(0)" } do
          assert.same({ "", 0 }, { runs(([[
            keep(listener:address())
            keep("a..b:1")
            keep("unix:/nobody/here")
            for _ = 1, %d do rotor.turn() end
            %s]]):format(turns, exit)) })
        end
      end
    end)

    it("may leave in up and down", function()
      assert.same({ "", 5 }, { runs [[
        keep(listener:address(), function() os.exit(5, true) end)
        rotor.run()]] })
      assert.same({ "", 5 }, { runs [[
        keep("unix:/nobody/here", nil, function() os.exit(5, true) end)
        rotor.run()]] })
    end)

    it("works while garbage is collected all the time", function()
      assert.same({ "well\n", 0 }, { runs [[
        local function collect() collectgarbage() end
        debug.sethook(collect, "", 17)
        rotor.add(rotor.machine "Hook" {
          create = function(_, scope)
            debug.sethook(collect, "", 17)
            return scope:done()
          end,
        })
        local first, second
        first = keep(listener:address())
        second = keep("unix:/nobody/here", nil, function()
          if ups > 5 and downs > 12 then
            first:close()
            second:close()
            listener:close()
          end
        end)
        rotor.run()
        print "well"]] })
    end)
  end)
end)
