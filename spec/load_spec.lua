local lfs = require "lfs"
local rotor = require "rotor"
local support = require "spec.support"

local path = support.shared "loaded"
assert(rotor.load(path))
local counts = assert(package.loadlib(path, "luaopen_loaded"))()
local EINVAL, EPROTO = -22, -71 -- libuv's codes on Linux

describe("rotor.load", function()
  local scene = support.scene()
  local loop, loaded, made, released
  before_each(function()
    scene.begin()
    loop = scene.loop()
    loaded = assert(rotor.load(path))
    made, released = counts()
  end)
  after_each(function()
    loop, loaded = nil, nil
    scene.finish()
    local made_now, released_now = counts()
    assert.equal(made_now - made, released_now - released)
  end)

  -- How many seeds were made in this test, and how many of these are still held.
  local function seeds()
    local made_now, released_now = counts()
    made_now, released_now = made_now - made, released_now - released
    return made_now, made_now - released_now
  end

  local function turn(n)
    for _ = 1, n or 5 do loop:turn() end
  end

  describe("of a module", function()
    it("has all of its types and protocols, always the same", function()
      local again = assert(rotor.load(path))
      assert.same(loaded, again)
      assert.equal(loaded.Delay, again.Delay)
      assert.are_not_equal(loaded, again)
      assert.matches("^rotor.machine type: ", tostring(loaded.Delay))
      assert.matches("^rotor.protocol: ", tostring(loaded.Marks))
      assert.matches("^rotor.datagram: ", tostring(loaded.Prefix))
      local names = {}
      for name in pairs(loaded) do names[#names + 1] = name end
      table.sort(names)
      assert.same({ "Bye", "Delay", "Marks", "Nothing", "Owner", "Plain", "Prefix", "Row" },
        names)
    end)

    it("knows a file without a folder as one in the current folder", function()
      local here = lfs.currentdir()
      assert(lfs.chdir(path:match("^(.*)/")))
      local result = table.pack(rotor.load("loaded.so"))
      local other = table.pack(rotor.load("libc.so.6"))
      assert(lfs.chdir(here))
      assert.same(loaded, result[1])
      assert.equal("ELOAD", other[3])
    end)

    it("says what is wrong with it", function()
      local function refused(name, expected)
        local file = name:find("/") and name or support.shared(name)
        local failure = table.pack(rotor.load(file))
        assert.is_nil(failure[1])
        assert.equal(expected:match("^%u+"), failure[3])
        assert.equal(expected:format(file), failure[2])
        assert.equal(3, failure.n)
      end
      refused("/nobody/here.so",
        "ELOAD: %s: cannot open shared object file: No such file or directory")
      refused("misfit_symbol", "ELOAD: %s: undefined symbol: rotor_test_nowhere")
      refused(assert(package.searchpath("rotor.core", package.cpath)),
        "ELOAD: %s: it has no ROTOR_EXPORTS")
      refused("misfit_version",
        "EVERSION: %s: made for rotor 0.0.1, and this is rotor " .. rotor.version)
      refused("misfit_sizes", ("EVERSION: %%s: made for a rotor %s whose structs are of other "
        .. "sizes than in this rotor %s"):format(rotor.version, rotor.version))
      refused("misfit_protocol", "EINVAL: %s: Incomplete: a protocol has a create, a size as of a "
        .. "rotor_stream at least, and no parent")
      refused("misfit_type",
        "EINVAL: %s: Small: a type has a create, and a size as of a rotor_machine at least")
      assert.equal("ELOAD", select(3, rotor.load("/proc/self/cmdline")))
    end)

    it("wants a path", function()
      assert.has_error(function() rotor.load() end,
        "bad argument #1 to 'load' (string expected, got no value)")
    end)
  end)

  describe("of a machine type", function()
    it("makes machines like any other", function()
      local handle = assert(loop:add(loaded.Delay, { after_ms = 1 }))
      assert.same({ 1, 0 }, { seeds() }) -- released once create has returned
      assert.is_true(handle:alive())
      assert.matches("%(delay%)$", tostring(handle))
      support.run(loop)
      assert.is_false(handle:alive())
    end)

    it("gives no machine when the seed will not do", function()
      assert.same({ nil, "EPROTO: protocol error", "EPROTO" }, { loop:add(loaded.Delay, EPROTO) })
      local ok, message = pcall(loop.add, loop, loaded.Delay)
      assert.is_false(ok)
      assert.matches("table expected, got nil", message)
      assert.same({ 0, 0 }, { seeds() })
      assert.equal(0, loop:count())
    end)

    it("gives no machine when its create fails", function()
      assert.same({ nil, "EINVAL: invalid argument", "EINVAL" },
        { loop:add(loaded.Delay, { fail = EINVAL }) })
      assert.same({ 1, 0 }, { seeds() })
      assert.same({}, scene.errors)
    end)

    it("may have machines whose size depends on the seed", function()
      for _, n in ipairs { 0, 1, 100000 } do assert(loop:add(loaded.Row, { value = n })) end
      support.run(loop)
      assert.equal("EINVAL", select(3, loop:add(loaded.Row, { value = -1 })))
      assert.same({ 4, 0 }, { seeds() })
    end)

    it("must not take a positive number for an error", function()
      local ok, message = pcall(loop.add, loop, loaded.Delay, 3)
      assert.is_false(ok)
      assert.equal("Delay: its from_lua returned 3, which is neither 0 nor an error", message)
      assert.equal(0, loop:count())
      assert.same({ 0, 0 }, { seeds() })
    end)

    it("may take no seed", function()
      assert(loop:add(loaded.Plain))
      assert(loop:add(loaded.Plain, nil))
      support.run(loop)
      local ok, message = pcall(loop.add, loop, loaded.Plain, {})
      assert.is_false(ok)
      assert.equal("Plain takes no seed", message)
      assert.same({ 0, 0 }, { seeds() })
    end)

    it("releases the seed when the loop is full", function()
      local small = scene.loop { capacity = 1 }
      assert(small:add(loaded.Delay, { after_ms = 1000000 }))
      assert.equal("ECAPACITY", select(3, small:add(loaded.Delay, {})))
      assert.same({ 2, 0 }, { seeds() })
    end)

    it("has its errors told with its name", function()
      assert(loop:add(loaded.Delay, { error = EPROTO }))
      support.run(loop)
      assert.equal("delay: EPROTO: protocol error", scene.error())
    end)

    it("is added by a transition after that", function()
      local held
      assert(loop:add(rotor.machine "M" {
        create = function(_, scope)
          assert(scope.loop:add(loaded.Delay, {}))
          assert(scope.loop:add(loaded.Delay, { fail = EINVAL }))
          held = select(2, seeds())
          return scope:done()
        end,
      }))
      support.run(loop)
      assert.equal(2, held)
      assert.same({ 2, 0 }, { seeds() })
      assert.equal("delay: EINVAL: invalid argument", scene.error())
    end)

    it("may be ended, or its loop closed, before its create", function()
      for _, how in ipairs { "end", "stop" } do
        local other = scene.loop()
        assert(other:add(rotor.machine "M" {
          create = function(_, scope)
            local handle = assert(scope.loop:add(loaded.Delay, {}))
            if how == "end" then handle:close() else scope.loop:stop() end
            return scope:done()
          end,
        }))
        other:close()
      end
      assert.same({ 2, 0 }, { seeds() })
    end)

    it("may be dropped with its loop", function()
      assert(loop:add(loaded.Delay, { after_ms = 1000000 }))
      assert(loop:add(loaded.Owner, { after_ms = 1000000, children = 1 }))
      turn()
      assert.equal(3, loop:count())
      loop:close()
    end)
  end)

  describe("of a child's type", function()
    -- Spawn a machine from the seed; what its parent hears of it, and with which arguments.
    local function spawn(type, seed, more)
      local heard, with = {}, {}
      local function hear(name, verdict)
        return function(_, scope, ...)
          heard[#heard + 1] = name
          with[name] = table.pack(...)
          return scope[verdict](scope)
        end
      end
      local transitions = {
        create = function(_, scope) return scope:spawn(type, seed) end,
        spawned = hear("spawned", "ok"),
        spawn_error = hear("spawn_error", "done"),
        child_done = hear("child_done", "done"),
      }
      for name, transition in pairs(more or {}) do transitions[name] = transition end
      loop:add(rotor.machine "Parent" (transitions))
      support.run(loop)
      return heard, with
    end

    it("tells the parent what the child is done with", function()
      local heard, with = spawn(loaded.Delay, { value = 21 })
      assert.same({ "spawned", "child_done" }, heard)
      assert.same({ with.spawned[1], 42, n = 2 }, with.child_done)
      assert.same({ 1, 0 }, { seeds() })
    end)

    it("gives nil where the module says nothing", function()
      local _, with = spawn(loaded.Row, { value = 3 })
      assert.same({ with.spawned[1], nil, n = 2 }, with.child_done)
    end)

    it("tells why the child failed", function()
      local _, with = spawn(loaded.Delay, { error = EPROTO })
      assert.same({ with.spawned[1], nil, "EPROTO: protocol error", "EPROTO", n = 4 },
        with.child_done)
    end)

    it("tells that create has failed", function()
      local _, with = spawn(loaded.Delay, { fail = EINVAL })
      assert.same({ "EINVAL", nil, n = 2 }, with.spawn_error)
      assert.same({ 1, 0 }, { seeds() })
    end)

    it("tells that the seed will not do, and gives it back", function()
      for _, name in ipairs { "Delay", "Row", "Owner" } do
        local _, with = spawn(loaded[name], EPROTO)
        assert.same({ "EPROTO", EPROTO, n = 2 }, with.spawn_error)
      end
      assert.same({ 0, 0 }, { seeds() })
    end)

    it("ends the parent when nobody is there to be told", function()
      assert(loop:add(rotor.machine "Parent" {
        create = function(_, scope) return scope:spawn(loaded.Delay, EPROTO) end,
      }))
      support.run(loop)
      assert.equal("Parent: EPROTO: protocol error", scene.error())
    end)

    it("throws in the parent's transition when the seed is misuse", function()
      assert.same({}, spawn(loaded.Delay, true))
      assert.matches("^Parent: create: .*table expected, got boolean", scene.error())
      assert.same({}, spawn(loaded.Plain, true))
      assert.matches("^Parent: create: .*Plain takes no seed", scene.error())
    end)

    it("hears that the loop is full, with the seed, and tries again", function()
      local small = scene.loop { capacity = 2 }
      local seed, heard = { value = 4 }, {}
      local filler = assert(small:add(loaded.Delay, { after_ms = 1000000 }))
      assert(small:add(rotor.machine "Parent" {
        create = function(_, scope) return scope:spawn(loaded.Delay, seed) end,
        spawn_error = function(_, scope, code, given)
          heard[#heard + 1] = code
          assert.equal(seed, given)
          filler:close()
          return scope:ok()
        end,
        wakeup = function(_, scope) return scope:spawn(loaded.Delay, seed) end,
        child_done = function(_, scope, _, value)
          heard[#heard + 1] = value
          return scope:done()
        end,
      }))
      small:run()
      assert.same({ "ECAPACITY", 8 }, heard)
      assert.same({ 3, 0 }, { seeds() })
    end)

    it("releases what is not spawned after all", function()
      assert(loop:add(rotor.machine "Parent" {
        create = function(_, scope)
          scope:spawn(loaded.Delay, {})
          scope:spawn(loaded.Delay, {})
          return scope:ok(0)
        end,
        timeout = function(_, scope)
          assert.same({ 2, 0 }, { seeds() })
          scope:spawn(loaded.Delay, {})
          error("no child")
        end,
      }))
      support.run(loop)
      assert.matches("no child", scene.error())
      assert.same({ 3, 0 }, { seeds() })
    end)

    it("may have children of its own", function()
      local _, with = spawn(loaded.Owner, { value = 5, children = 3 })
      assert.equal(30, with.child_done[2])
      _, with = spawn(loaded.Owner, { error = EPROTO, children = 3 })
      assert.equal("EPROTO", with.child_done[4])
    end)

    it("ends with its parent", function()
      assert.same({ "spawned" }, spawn(loaded.Owner, { after_ms = 1000000, children = 1 }, {
        create = function(_, scope)
          scope:handle():wake()
          return scope:spawn(loaded.Owner, { after_ms = 1000000, children = 1 })
        end,
        wakeup = function(_, scope) return scope:done() end,
      }))
    end)
  end)

  describe("of a protocol", function()
    local function address_of(name)
      return ("unix:@rotor-%s-%s"):format(name, tostring(loop):match("0x(%x+)"))
    end

    -- An address that nobody listens on any more.
    local function deserted()
      local listener = assert(loop:listen("127.0.0.1:0", loaded.Bye))
      local address = listener:address()
      listener:close()
      loop:turn()
      return address
    end

    it("runs on what a listener accepts, in any of its states", function()
      for _, at in ipairs { "127.0.0.1:0", address_of "listen" } do
        local listener = assert(loop:listen(at, loaded.Marks, { seed = "hello " }))
        for _ = 1, 2 do
          assert.equal("hello one!\nagain!\nagain: two!\nagain: ", support.exchange(loop,
            listener:address(), "one\nagain\ntwo\nquit\n"))
        end
        assert.equal(1, select(2, seeds()))
        listener:close()
        turn()
        assert.equal(0, select(2, seeds()))
      end
      assert.equal(2, (seeds()))
    end)

    it("may go on when its listener has ended", function()
      local listener = assert(loop:listen("127.0.0.1:0", loaded.Marks, { seed = "hello " }))
      local answer
      assert(loop:connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream) return stream:expect_bytes(6) end,
        bytes_read = function(self, stream, n)
          if self.asked then
            answer = stream:take()
            return stream:done()
          end
          stream:consume(n)
          listener:close()
          self.asked = true
          return stream:sleep(0.001)
        end,
        timeout = function(_, stream)
          assert.is_false(listener:alive())
          stream:write("late\n")
          return stream:expect_bytes(6)
        end,
      }))
      support.run(loop)
      assert.equal("late!\n", answer)
      assert.same({ 1, 0 }, { seeds() })
    end)

    it("runs on a connection that was made", function()
      local got
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
        create = function(_, stream)
          stream:write("x\n")
          return stream:expect_bytes(8)
        end,
        bytes_read = function(_, stream)
          got = stream:take()
          loop:stop()
          return stream:done()
        end,
      }))
      local handle = assert(loop:connect(listener:address(), loaded.Marks, { seed = "seed " }))
      support.run(loop)
      assert.equal("seed x!\n", got)
      assert.same({ 1, 0 }, { seeds() })
      assert.is_false(handle:alive())
    end)

    it("hears that no connection could be made, and has its seed then", function()
      assert(loop:connect(deserted(), loaded.Marks, { seed = "kept" }))
      support.run(loop)
      assert.equal("ECONNREFUSED kept", (select(3, counts())))
      assert.same({ 1, 0 }, { seeds() })
      assert.same({}, scene.errors)
    end)

    it("has it told, with the address, when it does not listen to that", function()
      local address = deserted()
      assert(loop:connect(address, loaded.Bye))
      support.run(loop)
      assert.equal("bye: ECONNREFUSED: connection refused (" .. address .. ")", scene.error())
    end)

    it("may begin and end with a connection that is never made", function()
      assert(loop:connect("192.0.2.1:1", loaded.Marks, { seed = "never" }))
      loop:turn()
      loop:close()
      assert.same({ 1, 0 }, { seeds() })
    end)

    it("is connected again and again with one seed", function()
      local ups = 0
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
        create = function(_, stream) return stream:expect_bytes(5) end,
        bytes_read = function(_, stream)
          assert.equal("again", stream:take())
          return stream:done()
        end,
      }))
      local handle
      handle = assert(loop:persist(listener:address(), loaded.Marks, {
        seed = "again",
        backoff = 0.001,
        up = function()
          ups = ups + 1
          assert.same({ 1, 1 }, { seeds() })
          if ups == 3 then
            handle:close()
            loop:stop()
          end
        end,
      }))
      support.run(loop)
      turn()
      assert.equal(3, ups)
      assert.same({ 1, 0 }, { seeds() })
      listener:close()
      turn()
      local downs = {}
      handle = assert(loop:persist(listener:address() or deserted(), loaded.Bye, {
        down = function(code)
          downs[#downs + 1] = code
          handle:close()
        end,
      }))
      support.run(loop)
      assert.same({ "ECONNREFUSED" }, downs)
    end)

    it("does not begin when the seed will not do", function()
      local refused = {
        listen = "127.0.0.1:0", connect = "127.0.0.1:1", persist = "127.0.0.1:1",
      }
      for method, address in pairs(refused) do
        assert.same({ nil, "EPROTO: protocol error", "EPROTO" },
          { loop[method](loop, address, loaded.Marks, { seed = EPROTO }) })
        local ok, message = pcall(loop[method], loop, address, loaded.Marks)
        assert.is_false(ok)
        assert.matches("table expected, got nil", message)
        ok, message = pcall(loop[method], loop, address, loaded.Bye, { seed = false })
        assert.is_false(ok)
        assert.equal("Bye takes no seed", message)
      end
      assert.equal(0, loop:count())
      assert.same({ 0, 0 }, { seeds() })
    end)

    it("releases the seed when nothing begins", function()
      for _, method in ipairs { "listen", "connect", "persist" } do
        local small = scene.loop { capacity = 1 }
        assert(small:add(loaded.Delay, { after_ms = 1000000 }))
        assert.equal("EADDRESS", select(3,
          small[method](small, "nowhere", loaded.Marks, { seed = "seed" })))
        assert.equal("ECAPACITY", select(3,
          small[method](small, "127.0.0.1:0", loaded.Marks, { seed = "seed" })))
      end
      assert.same({ 9, 0 }, { seeds() })
    end)

    it("releases a seed that is nothing, too", function()
      local listener = assert(loop:listen("127.0.0.1:0", loaded.Nothing))
      assert.equal("bye\n", support.exchange(loop, listener:address(), ""))
      assert.same({ 1, 1 }, { seeds() })
    end)

    it("has the errors told that it ends with", function()
      local listener = assert(loop:listen("127.0.0.1:0", loaded.Marks, { seed = "" }))
      assert.equal("", support.exchange(loop, listener:address(), "fail\n"))
      assert.equal("marks: EPROTO: protocol error", scene.error())
      -- But not that the peer went away, which was told to the protocol.
      assert(loop:connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream)
          stream:write("half a line")
          return stream:done()
        end,
      }))
      turn()
      assert.same({}, scene.errors)
      assert(loop:connect(listener:address(), loaded.Marks, { seed = { fail = EINVAL } }))
      turn()
      assert.equal("marks: EINVAL: invalid argument", scene.error())
      listener = assert(loop:listen("127.0.0.1:0", loaded.Marks, { seed = { fail = EINVAL } }))
      support.exchange(loop, listener:address(), "")
      assert.equal("marks: EINVAL: invalid argument", scene.error())
    end)

    it("may be traced, with its states", function()
      local listener = assert(loop:listen("127.0.0.1:0", rotor.trace(loaded.Marks), { seed = "" }))
      support.exchange(loop, listener:address(), "one\nagain\ntwo\nquit\n")
      local diagram = rotor.diagram(loaded.Marks)
      rotor.trace(loaded.Marks, false)
      assert.matches("bytes_read 2.*again.*bytes_read 2", diagram)
      assert(loop:connect("127.0.0.1:1", rotor.trace(loaded.Bye)))
      rotor.trace(loaded.Bye, false)
      turn()
      assert.equal("bye: ECONNREFUSED: connection refused (127.0.0.1:1)", scene.error())
    end)

    it("is no machine, and a machine is no protocol", function()
      for _, call in ipairs {
        function() loop:add(loaded.Marks, "") end,
        function() loop:listen("127.0.0.1:0", loaded.Delay, { seed = {} }) end,
      } do
        assert.matches("expected, got", select(2, pcall(call)))
      end
      assert.same({ 0, 0 }, { seeds() })
    end)
  end)

  it("of a datagram protocol makes sockets like any other", function()
    local answer
    local server = assert(loop:udp("127.0.0.1:0", loaded.Prefix, { seed = "re: " }))
    assert(loop:udp(nil, rotor.datagram "Client" {
      create = function(_, socket)
        socket:send("hello")
        return socket:ok()
      end,
      datagram = function(_, socket, data)
        answer = data
        server:close()
        return socket:done()
      end,
    }, { peer = server:address() }))
    support.run(loop)
    assert.equal("re: hello", answer)
    assert.same({ 1, 0 }, { seeds() })
    local any = "127.0.0.1:0"
    assert.equal("EPROTO", select(3, loop:udp(any, loaded.Prefix, { seed = EPROTO })))
    assert.equal("EINVAL", select(3, loop:udp(any, loaded.Prefix, { seed = { fail = EINVAL } })))
    assert.equal("EADDRESS", select(3, loop:udp("nowhere", loaded.Prefix, { seed = "" })))
    assert.same({ 3, 0 }, { seeds() })
    assert.has_error(function() loop:listen(any, loaded.Prefix) end)
    assert.has_error(function() loop:udp(any, loaded.Marks) end)
  end)

  it("traces what it loads when all is to be traced", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
    local file, lua = folder .. "/Marks.dot", 0
    while arg[lua - 1] do lua = lua - 1 end
    local command = ("ROTOR_TRACE=%s %s -e 'local r = require \"rotor\" for _ = 1, 2 do "
      .. "assert(r.load(\"%s\").Marks) end assert(not r.load(\"nowhere\"))'"):format(
      folder, arg[lua], path)
    assert(os.execute(command))
    assert(io.open(file)):close()
    for name in lfs.dir(folder) do
      assert(name:find("^%.+$") or name:find("^%u%l+%.dot$"), name)
      os.remove(folder .. "/" .. name)
    end
    assert(lfs.rmdir(folder))
  end)

  it("leaves nothing behind when the state closes in the middle of it all", function()
    for turns = 0, 12, 3 do
      assert.same({ "all released\n", 0 }, { support.program(([[
        local counts
        local last = setmetatable({}, { __gc = function()
          local made, released = counts()
          print(made > 5 and made == released and "all released" or made .. " " .. released)
        end })
        local rotor = require "rotor"
        rotor.on_error(function() end)
        local loaded = assert(rotor.load("%s"))
        counts = assert(package.loadlib("%s", "luaopen_loaded"))()
        local Parent = rotor.machine "Parent" {
          create = function(_, scope) return scope:spawn(loaded.Owner, { children = 2 }) end,
          child_done = function(_, scope)
            assert(rotor.add(loaded.Delay, { after_ms = 3 }))
            return scope:spawn(loaded.Owner, { children = 2, after_ms = 1 })
          end,
        }
        assert(rotor.add(Parent))
        assert(rotor.add(loaded.Row, { value = 1000 }))
        local listener = assert(rotor.listen("127.0.0.1:0", loaded.Marks, { seed = "hello\n" }))
        assert(rotor.connect(listener:address(), loaded.Marks, { seed = "hello\n" }))
        assert(rotor.connect("127.0.0.1:1", loaded.Marks, { seed = "hello\n" }))
        assert(rotor.connect("localhost:1", loaded.Marks, { seed = "hello\n" }))
        assert(rotor.udp("127.0.0.1:0", loaded.Prefix, { seed = "hello\n" }))
        assert(rotor.persist(listener:address(), loaded.Marks, { seed = "hello\n" }))
        for _ = 1, %d do rotor.turn() end
        _G.last = last
      ]]):format(path, path, turns)) })
    end
  end)
end)
