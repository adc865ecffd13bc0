local rotor = require "rotor"
local support = require "spec.support"

describe("a stream", function()
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

  local function expect(_, stream)
    return stream:expect_bytes(1 << 20)
  end

  -- A server and one client, each with these transitions, until both streams have ended.
  local function talk(server, client, options)
    options = options or {}
    local listener
    local left = 2
    for _, side in ipairs { server, client } do
      local drop = side.drop or function() end
      side.create = side.create or expect
      side.drop = function(...)
        left = left - 1
        if left == 0 then listener:close() end
        return drop(...)
      end
    end
    listener = assert(loop:listen(options.address or "127.0.0.1:0",
      rotor.protocol("Server", options.server) (server), { seed = options.server_seed }))
    local address = listener:address()
    assert(loop:connect(options.connect and options.connect(address) or address,
      rotor.protocol("Client", options.client) (client), { seed = options.client_seed }))
    support.run(loop)
    return address
  end

  local function done(_, stream)
    return stream:done()
  end

  describe("reads", function()
    it("so many bytes, which stay until they are taken", function()
      local seen = {}
      talk({
        create = function(_, stream) return stream:expect_bytes(3) end,
        bytes_read = function(_, stream, n)
          seen[#seen + 1] = n
          seen[#seen + 1] = #stream
          seen[#seen + 1] = stream:peek()
          seen[#seen + 1] = stream:peek(2)
          seen[#seen + 1] = stream:take(1)
          stream:consume(2)
          seen[#seen + 1] = stream:take()
          seen[#seen + 1] = stream:take()
          return stream:done()
        end,
      }, {
        create = function(_, stream)
          stream:write("abcdef")
          return stream:expect_bytes(1)
        end,
        exception = done,
      })
      assert.same({ 3, 6, "abcdef", "ab", "a", "def", "" }, seen)
    end)

    it("up to a delimiter, from an offset on", function()
      local seen = {}
      talk({
        create = function(_, stream) return stream:expect_delimiter("\r\n", 100, nil, 4) end,
        bytes_read = function(_, stream, n)
          seen[#seen + 1] = n
          seen[#seen + 1] = stream:take(n)
          seen[#seen + 1] = stream:take(2)
          if #seen < 6 then return stream:expect_delimiter("\r\n", 100) end
          return stream:done()
        end,
      }, {
        create = function(_, stream)
          stream:write("a\r\nbcd\r\nx\r\n")
          return stream:expect_bytes(1)
        end,
        exception = done,
      })
      assert.same({ 6, "a\r\nbcd", "\r\n", 1, "x", "\r\n" }, seen)
    end)

    it("in pieces, as they come", function()
      local lines = {}
      talk({
        create = function(_, stream) return stream:expect_delimiter("\n", 100) end,
        bytes_read = function(_, stream, n)
          lines[#lines + 1] = stream:take(n + 1)
          return stream:expect_delimiter("\n", 100)
        end,
        exception = done,
      }, {
        create = function(self, stream)
          self.left = "one\ntwo\nthree\n"
          return stream:sleep(0)
        end,
        timeout = function(self, stream)
          stream:write(self.left:sub(1, 1))
          self.left = self.left:sub(2)
          return #self.left > 0 and stream:sleep(0) or stream:done()
        end,
      })
      assert.same({ "one\n", "two\n", "three\n" }, lines)
    end)

    it("and keeps the delimiter that it waits for, whatever is asked for meanwhile", function()
      local taken, woken
      talk({
        create = function(_, stream)
          stream:handle():wake()
          return stream:expect_delimiter(("x"):rep(100), 1000)
        end,
        wakeup = function(_, stream)
          woken = true
          stream:expect_delimiter(("y"):rep(100), 1000)
          collectgarbage()
          for i = 1, 100 do stream:expect_delimiter(("z"):rep(100) .. i, 1000) end
          return stream:same()
        end,
        bytes_read = function(_, stream, n)
          taken = stream:take(n)
          return stream:done()
        end,
      }, {
        create = function(_, stream)
          stream:write("hello")
          return stream:sleep(0.002)
        end,
        timeout = function(_, stream)
          stream:write(("x"):rep(100))
          return stream:expect_bytes(1)
        end,
        exception = done,
      })
      assert.equal("hello", taken)
      assert.is_true(woken)
    end)
  end)

  it("is written to by strings and numbers, all of one dispatch at once", function()
    local got
    talk({
      create = function(_, stream)
        assert(stream:write("a", 1, "", 2.5, "b") == true)
        assert(stream:write() == true)
        assert(stream:unsent() == 6)
        return stream:done()
      end,
    }, {
      exception = function(_, stream)
        got = stream:take()
        return stream:done()
      end,
    })
    assert.equal("a12.5b", got)
  end)

  it("knows its addresses, its loop and the time", function()
    local seen = {}
    loop:close()
    loop = scene.loop { context = "the context" }
    local address = talk({
      create = function(_, stream, seed)
        seen.seed, seen.here, seen.peer = seed, stream:address(), stream:peer()
        seen.loop, seen.context, seen.now = stream:loop(), stream:context(), stream:now()
        seen.handle, seen.text, seen.ended = stream:handle(), tostring(stream), stream:ended()
        seen.alive = seen.handle:alive()
        return stream:done()
      end,
    }, {
      create = function(_, stream, seed)
        seen.client, seen.client_seed = stream:address(), seed
        return stream:expect_bytes(1)
      end,
      exception = done,
    }, { server_seed = "for the server", client_seed = "for the client" })
    assert.equal("for the server", seen.seed)
    assert.equal("for the client", seen.client_seed)
    assert.equal(address, seen.here)
    assert.equal(seen.client, seen.peer)
    assert.equal(loop, seen.loop)
    assert.equal("the context", seen.context)
    assert.is_true(math.abs(loop:now() - seen.now) < 20)
    assert.equal("rotor.stream: Server", seen.text)
    assert.is_false(seen.ended)
    assert.is_true(seen.alive)
    assert.is_false(seen.handle:alive())
    assert.matches("%(ended%)$", tostring(seen.handle))
  end)

  it("goes on after half-closing", function()
    local got
    talk({
      exception = function(_, stream, code)
        stream:write(code .. ": " .. stream:take())
        return stream:done()
      end,
    }, {
      create = function(_, stream)
        stream:write("request")
        stream:shutdown()
        local written, message, name = stream:write("more")
        assert(written == nil and message == "ECLOSED: already closed" and name == "ECLOSED")
        return stream:expect_bytes(1 << 20)
      end,
      exception = function(_, stream)
        got = stream:take()
        return stream:done()
      end,
    })
    assert.equal("EEOF: request", got)
  end)

  describe("waits no longer than", function()
    -- An intent with a deadline, which passes: the stream hears timeout.
    local function patience(intent)
      local heard
      talk({
        create = function(_, stream) return stream:expect_bytes(1) end,
        exception = done,
      }, {
        create = function(_, stream) return intent(stream) end,
        timeout = function(_, stream)
          heard = true
          return stream:done()
        end,
      })
      return heard
    end

    it("expect_bytes says", function()
      assert.is_true(patience(function(stream) return stream:expect_bytes(1, 0.002) end))
    end)
    it("expect_delimiter says", function()
      assert.is_true(patience(function(stream)
        return stream:expect_delimiter("\n", 10, 0.002)
      end))
    end)
    it("sleep says", function()
      assert.is_true(patience(function(stream) return stream:sleep(0.002) end))
    end)
    it("expect_flush says", function()
      -- The other end reads nothing, so that much cannot leave.
      local heard
      talk({
        create = function(_, stream) return stream:sleep(0.02) end,
        timeout = function(_, stream) return stream:abort() end,
      }, {
        create = function(_, stream)
          stream:write(("x"):rep(1 << 24))
          return stream:expect_flush(0, 0.002)
        end,
        timeout = function(_, stream)
          heard = stream:unsent() > 0
          return stream:abort()
        end,
      })
      assert.is_true(heard)
    end)
    it("same keeps", function()
      local heard = {}
      talk({
        create = function(_, stream) return stream:expect_bytes(1) end,
        exception = done,
      }, {
        create = function(_, stream)
          stream:handle():wake()
          return stream:sleep(0.002)
        end,
        wakeup = function(_, stream)
          heard[#heard + 1] = "wakeup"
          return stream:same()
        end,
        timeout = function(_, stream)
          heard[#heard + 1] = "timeout"
          return stream:done()
        end,
      })
      assert.same({ "wakeup", "timeout" }, heard)
    end)
  end)

  it("hears when its output has left", function()
    local got, flushed = 0, nil
    talk({
      create = function(_, stream) return stream:expect_bytes(1 << 16) end,
      bytes_read = function(_, stream)
        got = got + #stream:take()
        return stream:expect_bytes(1 << 16)
      end,
      exception = function(_, stream)
        got = got + #stream:take()
        return stream:done()
      end,
    }, {
      create = function(_, stream)
        stream:write(("x"):rep(1 << 22))
        return stream:expect_flush()
      end,
      bytes_flushed = function(_, stream)
        flushed = stream:unsent()
        return stream:done()
      end,
    })
    assert.equal(0, flushed)
    assert.equal(1 << 22, got)
  end)

  describe("hears exception", function()
    it("when the peer closes, with what came before", function()
      local heard
      talk({
        exception = function(self, stream, ...)
          heard = { type(self), stream:take(), ... }
          return stream:done()
        end,
      }, {
        create = function(_, stream)
          stream:write("half a line")
          return stream:done()
        end,
      })
      assert.same({ "table", "half a line", "EEOF",
                    "peer closed before the expected bytes came" }, heard)
    end)

    it("when the delimiter does not come in time", function()
      local heard
      talk({
        create = function(_, stream) return stream:expect_delimiter("\n", 10) end,
        exception = function(_, stream, ...)
          heard = { ... }
          return stream:done()
        end,
      }, {
        create = function(_, stream)
          stream:write("hello, world\n")
          return stream:expect_bytes(1)
        end,
        exception = done,
        fatal = function() end,
      })
      assert.same({ "ELIMIT", "limit reached before the expected bytes came" }, heard)
    end)

    it("or ends without it, quietly", function()
      talk({ create = function(_, stream) return stream:expect_bytes(1) end },
        { create = done })
      talk({ create = function(_, stream) return stream:expect_delimiter("\n", 1) end }, {
        create = function(_, stream)
          stream:write("hello, world\n")
          return stream:done()
        end,
      })
    end)
  end)

  describe("ends", function()
    it("by linger, when the peer has closed too", function()
      local ended
      talk({
        create = function(_, stream)
          stream:write("bye")
          return stream:linger(10)
        end,
        drop = function() ended = true end,
      }, {
        create = function(_, stream) return stream:expect_bytes(3) end,
        bytes_read = done,
      })
      assert.is_true(ended)
    end)

    it("by abort, without what was written", function()
      local got
      talk({
        create = function(_, stream)
          stream:write("never")
          return stream:abort()
        end,
      }, {
        exception = function(_, stream)
          got = stream:take()
          return stream:done()
        end,
      })
      assert.equal("", got)
    end)

    it("by error(value), which is reported", function()
      talk({
        create = function(_, stream) return stream:error("no such luck") end,
      }, { exception = done })
      assert.equal("Server: create: no such luck", scene.error())
    end)

    it("by its handle", function()
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
        create = function(_, stream) return stream:expect_bytes(1) end,
        exception = done,
      }))
      local dropped
      local client = assert(loop:connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream) return stream:sleep() end,
        drop = function()
          dropped = true
          listener:close()
        end,
      }))
      loop:add(rotor.machine "Killer" {
        create = function(_, scope) return scope:ok(0.002) end,
        timeout = function(_, scope)
          assert(client:close())
          return scope:done()
        end,
      })
      support.run(loop)
      assert.is_true(dropped)
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:close() })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:wake() })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:address() })
    end)

    it("and is dropped once, with its self", function()
      local dropped = {}
      local function drop(self, stream)
        dropped[#dropped + 1] = self.name
        assert(stream:write("too late") == nil)
        assert(#stream == 0)
      end
      talk({
        create = function(self, stream)
          self.name = "server"
          return stream:done()
        end,
        drop = drop,
      }, {
        create = function(self, stream)
          self.name = "client"
          return stream:expect_bytes(1)
        end,
        drop = drop,
      })
      table.sort(dropped)
      assert.same({ "client", "server" }, dropped)
    end)
  end)

  describe("that has ended", function()
    local kept
    before_each(function()
      talk({
        create = function(_, stream)
          kept = stream
          return stream:done()
        end,
      }, { exception = done })
    end)
    after_each(function() kept = nil end)

    it("takes no output, which is a failure", function()
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:write("anyone?") })
    end)

    it("says so", function()
      assert.is_true(kept:ended())
      assert.equal("rotor.stream: (ended)", tostring(kept))
    end)

    it("throws for all else", function()
      for _, call in ipairs {
        "take()", "peek()", "consume(0)", "unsent()", "shutdown()", "expect_bytes(1)",
        "expect_delimiter('x', 1)", "expect_flush()", "sleep()", "same()", "done()", "linger(1)",
        "abort()", "error('x')", "peer()", "address()", "now()", "handle()", "notifier()",
        "loop()", "context()",
      } do
        local _, message = pcall(load("return kept:" .. call, "=there", "t", { kept = kept }))
        assert.equal("there:1: the stream has ended", message)
      end
      assert.has_error(function() return #kept end, "the stream has ended")
    end)

    it("still checks what it is given first", function()
      assert.has_error(function() kept:write({}) end,
        "bad argument #1 to 'write' (string or buf expected, got table)")
    end)
  end)

  describe("to nowhere", function()
    -- An address that nobody listens on any more.
    local function deserted()
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "P" { create = done }))
      local address = listener:address()
      listener:close()
      loop:turn()
      return address
    end

    it("hears fatal, and nothing else", function()
      local heard, order = nil, {}
      local address = deserted()
      assert(loop:connect(address, rotor.protocol "Client" {
        name = "me",
        create = function(_, stream)
          order[#order + 1] = "create"
          return stream:done()
        end,
        fatal = function(self, stream, ...)
          heard = { self.name, type(stream), ... }
          return stream:done() -- does no harm
        end,
        drop = function() order[#order + 1] = "drop" end,
      }, { seed = "seed" }))
      support.run(loop)
      assert.same({ "me", "userdata", "ECONNREFUSED",
        "connection refused (" .. address .. ")", "seed" }, heard)
      assert.same({}, order)
    end)

    it("reaches on_error when it has no fatal", function()
      local address = deserted()
      assert(loop:connect(address, rotor.protocol "Client" { create = done }))
      support.run(loop)
      assert.equal("Client: ECONNREFUSED: connection refused (" .. address .. ")", scene.error())
    end)

    it("is given up after the timeout", function()
      -- Nobody accepts, and with the backlog full the kernel does not answer either.
      local heard = {}
      local busy = scene.loop()
      local listener = assert(busy:listen("127.0.0.1:0", rotor.protocol "P" { create = done },
        { backlog = 1 }))
      local Client = rotor.protocol "Client" {
        create = done,
        fatal = function(_, _, code) heard[#heard + 1] = code end,
      }
      for _ = 1, 4 do assert(loop:connect(listener:address(), Client, { timeout = 0.02 })) end
      support.run(loop)
      assert.equal("ETIMEDOUT", heard[1])
    end)

    it("hears what the resolver says", function()
      local heard
      assert(loop:connect("a..b:1", rotor.protocol "Client" {
        create = done,
        fatal = function(_, _, code) heard = code end,
      }))
      support.run(loop)
      assert.matches("^EAI_", heard)
    end)
  end)

  describe("connects by", function()
    local function hello(options)
      local got
      local address = talk({
        create = function(_, stream)
          stream:write("hello")
          return stream:done()
        end,
      }, {
        exception = function(_, stream)
          got = { stream:take(), stream:peer() }
          return stream:done()
        end,
      }, options)
      assert.equal("hello", got[1])
      assert.equal(address, got[2])
      return address
    end

    it("IPv4", function() assert.matches("^127%.0%.0%.1:%d+$", hello {}) end)

    it("IPv6, where there is any", function()
      local listener, _, code = loop:listen("[::1]:0", rotor.protocol "P" { create = done })
      if listener then
        listener:close()
        assert.matches("^%[::1%]:%d+$", hello { address = "[::1]:0" })
      else
        assert.is_true(code == "EADDRNOTAVAIL" or code == "EAFNOSUPPORT", code)
      end
    end)

    it("a port alone", function()
      assert.matches("^127%.0%.0%.1:%d+$", hello {
        address = "0",
        connect = function(address) return address:match(":(%d+)$") end,
      })
    end)

    it("name", function()
      assert.matches("^127%.0%.0%.1:%d+$", hello {
        connect = function(address) return address:gsub("127.0.0.1", "localhost") end,
      })
    end)

    it("path", function()
      local path = os.tmpname()
      os.remove(path)
      assert.equal("unix:" .. path, hello { address = "unix:" .. path })
      os.remove(path)
    end)

    it("abstract name", function()
      local name = "unix:@rotor-spec-" .. os.tmpname():match("[^/]*$")
      assert.equal(name, hello { address = name })
      os.remove((name:gsub("^.*%-", "/tmp/")))
    end)
  end)

  it("is reached by writes and wakes from any machine's transition", function()
    local heard, room, said = {}, {}, 0
    local Member = rotor.protocol "Member" {
      create = function(self, stream)
        self.stream = stream
        room[#room + 1] = self
        return stream:expect_delimiter("\n", 100)
      end,
      bytes_read = function(self, stream, n)
        local line = stream:take(n + 1)
        said = said + 1
        for _, member in ipairs(room) do
          if member ~= self then assert(member.stream:write("> ", line)) end
        end
        return stream:expect_delimiter("\n", 100)
      end,
      wakeup = function(_, stream)
        stream:write("closing time\n")
        return stream:done()
      end,
    }
    local listener = assert(loop:listen("127.0.0.1:0", Member))
    local Guest = rotor.protocol "Guest" {
      create = function(self, stream, name)
        self.name = name
        stream:write(name, "\n")
        return stream:expect_bytes(1 << 20)
      end,
      exception = function(self, stream)
        heard[self.name] = stream:take()
        return stream:done()
      end,
    }
    for _, name in ipairs { "ann", "bob", "cyd" } do
      assert(loop:connect(listener:address(), Guest, { seed = name }))
    end
    loop:add(rotor.machine "Host" {
      create = function(_, scope) return scope:ok(0.01) end,
      timeout = function(_, scope)
        if said < 3 then return scope:ok(0.01) end
        for _, member in ipairs(room) do
          assert(member.stream:write("host: "))
          assert(member.stream:handle():wake())
        end
        listener:close()
        return scope:done()
      end,
    })
    support.run(loop)
    assert.matches("host: closing time\n$", heard.ann)
    assert.matches("host: closing time\n$", heard.bob)
    assert.matches("host: closing time\n$", heard.cyd)
    -- Who came later has not heard who came before; the last two have been heard by the first.
    local all = heard.ann .. heard.bob .. heard.cyd
    local _, passed_on = all:gsub("> %l%l%l\n", "")
    assert.is_true(passed_on >= 3, all)
  end)

  it("answers for itself only", function()
    local message
    talk({
      create = function(self, stream)
        self.stream = stream
        stream:loop():add(rotor.machine "Meddler" {
          create = function(_, scope)
            local env = { stream = stream }
            message = select(2, pcall(load("return stream:done()", "=there", "t", env)))
            stream:handle():wake()
            return scope:done()
          end,
        })
        return stream:sleep()
      end,
      wakeup = done,
    }, { exception = done })
    assert.equal("there:1: only a stream's own transitions may say what it waits for; to reach "
      .. "it from elsewhere, wake it or close it by its handle()", message)
  end)

  it("waits for what its transition returns, and not for what else it asked for", function()
    talk({
      create = function(_, stream)
        local first = stream:expect_bytes(1)
        stream:done()
        return first
      end,
    }, { create = expect, exception = done, fatal = function() end })
    assert.matches("create returned what another has asked for, or asked for earlier; it returns",
                   scene.error(), 1, true)
  end)

  it("may ask as often as it likes before it returns the last", function()
    local seen
    talk({
      create = function(_, stream)
        for _ = 1, 255 do stream:sleep() end
        return stream:expect_bytes(1)
      end,
      bytes_read = function(_, stream)
        seen = stream:take()
        return stream:done()
      end,
    }, {
      create = function(_, stream)
        stream:write("x")
        return stream:expect_bytes(1)
      end,
      exception = done,
    })
    assert.equal("x", seen)
  end)

  describe("whose transition returns no intent", function()
    local wanted = "; it returns what stream:expect_bytes, expect_delimiter, expect_flush, "
      .. "and_flush, sleep, same, done, linger, abort or error does"

    it("is told what it could return", function()
      for got, transition in pairs {
        nothing = function() end,
        boolean = function() return true end,
        table = function(self) return self end,
        ["the stream, with no intent of it"] = function(_, stream) return stream end,
        ["what another has asked for, or asked for earlier"] = function(self) return self.first end,
      } do
        local place = debug.getinfo(transition, "S")
        talk({
          create = function(self, stream)
            self.first = stream:expect_bytes(1)
            return self.first
          end,
          bytes_read = transition,
        }, {
          create = function(_, stream)
            stream:write("x")
            return stream:expect_bytes(1)
          end,
          exception = done,
          fatal = function() end,
        })
        assert.equal(("Server: bytes_read: %s:%d: bytes_read returned %s%s"):format(
          place.short_src, place.linedefined, got, wanted), scene.error():match("^[^\n]*"))
      end
    end)

    it("gets no other stream's intent past", function()
      local first
      local Server = rotor.protocol "Server" {
        create = function(_, stream)
          local own = stream:sleep()
          first = first or own
          return first
        end,
      }
      local listener = assert(loop:listen("127.0.0.1:0", Server))
      for _ = 1, 2 do
        assert(loop:connect(listener:address(), rotor.protocol "Client" {
          create = function(_, stream) return stream:sleep(0.01) end,
          timeout = function(_, stream)
            loop:stop()
            return stream:done()
          end,
        }))
      end
      support.run(loop)
      assert.matches("create returned what another has asked for", scene.error())
    end)
  end)

  it("that throws ends alone, and the report names it and the transition", function()
    local places = {}
    local function thrower(which)
      local function throw() error("kaputt in " .. which) end
      places[which] = debug.getinfo(throw, "S")
      return throw
    end
    for _, which in ipairs { "create", "bytes_read", "bytes_flushed", "timeout", "wakeup",
                             "exception", "drop" } do
      local server = {
        create = function(_, stream)
          if which == "timeout" then return stream:sleep(0) end
          if which == "wakeup" then stream:handle():wake() end
          if which == "bytes_flushed" then return stream:expect_flush() end
          if which == "drop" then return stream:done() end
          return stream:expect_bytes(1)
        end,
      }
      server[which] = thrower(which)
      talk(server, {
        create = function(_, stream)
          if which == "bytes_read" then stream:write("x") end
          if which == "exception" then stream:shutdown() end
          return stream:expect_bytes(1)
        end,
        exception = done,
        fatal = function() end,
      })
      local message = scene.error()
      assert.equal(("Server: %s: %s:%d: kaputt in %s"):format(which, places[which].short_src,
        places[which].linedefined, which), message:match("^[^\n]*"))
      assert.matches("\nstack traceback:\n.*stream_spec%.lua:", message)
    end
  end)

  it("that throws in fatal is reported", function()
    local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "P" { create = done }))
    local address = listener:address()
    listener:close()
    loop:turn()
    assert(loop:connect(address, rotor.protocol "Client" {
      create = done,
      fatal = function() error("worse") end,
    }))
    support.run(loop)
    assert.matches("^Client: fatal: .*: worse\n", scene.error())
  end)

  it("without the transition for what happened ends with an error", function()
    talk({ create = function(_, stream) return stream:expect_bytes(1) end }, {
      create = function(_, stream)
        stream:write("x")
        return stream:expect_bytes(1)
      end,
      exception = done,
      fatal = function() end,
    })
    assert.equal("Server: EUNEXPECTED: the machine has no transition for what happened",
      scene.error())
  end)

  it("checks what its methods are given, at the caller's line", function()
    local said = {}
    local calls = {
      ["write({})"] = "#1 to 'write' (string or buf expected, got table)",
      ["write('a', nil)"] = "#2 to 'write' (string or buf expected, got nil)",
      ["take(4)"] = "#1 to 'take' (4 bytes asked for, there are 3)",
      ["take(-1)"] = "#1 to 'take' (-1 bytes asked for, there are 3)",
      ["take(1.5)"] = "#1 to 'take' (number has no integer representation)",
      ["peek(4)"] = "#1 to 'peek' (4 bytes asked for, there are 3)",
      ["consume()"] = "#1 to 'consume' (number expected, got no value)",
      ["expect_bytes()"] = "#1 to 'expect_bytes' (number expected, got no value)",
      ["expect_bytes(-1)"] = "#1 to 'expect_bytes' (0 to 2147483647 expected, got -1)",
      ["expect_bytes(1, -1)"] = "#2 to 'expect_bytes' (seconds expected, at least 0)",
      ["expect_delimiter('', 1)"] = "#1 to 'expect_delimiter' (1 to 65535 bytes expected)",
      ["expect_delimiter('x')"] = "#2 to 'expect_delimiter' (number expected, got no value)",
      ["expect_delimiter('x', 5, nil, 6)"] = "#4 to 'expect_delimiter' (0 to 5 expected, got 6)",
      ["expect_delimiter('x', 5, {})"] =
        "#3 to 'expect_delimiter' (number expected, got table)",
      ["expect_flush('x')"] = "#1 to 'expect_flush' (number expected, got string)",
      ["sleep('x')"] = "#1 to 'sleep' (number expected, got string)",
      ["done(-1)"] = "#1 to 'done' (seconds expected, at least 0)",
      ["linger()"] = "#1 to 'linger' (number expected, got no value)",
      ["error()"] = "#1 to 'error' (value expected)",
    }
    talk({
      create = function(_, stream) return stream:expect_bytes(3) end,
      bytes_read = function(_, stream)
        for call in pairs(calls) do
          local _, message = pcall(load("\nstream:" .. call, "=there", "t", { stream = stream }))
          said[call] = message:match("^there:2: bad argument (.*)$") or message
        end
        return stream:done()
      end,
    }, {
      create = function(_, stream)
        stream:write("abc")
        return stream:expect_bytes(1)
      end,
      exception = done,
    })
    assert.same(calls, said)
  end)

  it("gives up on a peer that takes nothing, after the protocol's stall", function()
    local heard
    talk({
      create = function(_, stream) return stream:sleep(0.05) end,
      timeout = function(_, stream) return stream:abort() end,
    }, {
      create = function(_, stream)
        stream:write(("x"):rep(1 << 24))
        return stream:expect_flush()
      end,
      fatal = function(_, _, code) heard = code end,
    }, { client = { stall = 0.005 } })
    assert.equal("ESTALLED", heard)
  end)

  it("that takes its turns answers all the same", function()
    local got
    talk({
      create = function(_, stream) return stream:expect_delimiter("\n", 10) end,
      bytes_read = function(_, stream, n)
        stream:write(stream:take(n + 1))
        return stream:expect_delimiter("\n", 10)
      end,
    }, {
      create = function(_, stream)
        stream:write(("x\n"):rep(1000))
        stream:shutdown()
        return stream:expect_bytes(1 << 20)
      end,
      exception = function(_, stream)
        got = stream:take()
        return stream:done()
      end,
    }, { server = { turns = 1, high_water = 4 } })
    assert.equal(("x\n"):rep(1000), got)
  end)
end)

describe("a listener", function()
  local scene = support.scene()
  local loop
  local P = rotor.protocol "P" {
    create = function(_, stream) return stream:expect_bytes(1) end,
  }
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  it("has an address as long as it listens", function()
    local listener = assert(loop:listen("127.0.0.1:0", P))
    assert.matches("^127%.0%.0%.1:%d+$", listener:address())
    assert.matches("^rotor%.handle: %d+%.%d+ %(listener%)$", tostring(listener))
    assert.is_true(listener:close())
    loop:turn()
    assert.is_false(listener:alive())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { listener:address() })
    assert.equal(0, loop:count())
  end)

  it("shares its port by reuse_port", function()
    local options = { reuse_port = true, backlog = 16, delay = true, connections = 10 }
    local listener = assert(loop:listen("127.0.0.1:0", P, options))
    local second = assert(loop:listen(listener:address(), P, options))
    assert.equal(listener:address(), second:address())
    assert.are_not_equal(listener, second)
  end)

  it("closes, and its connections go on", function()
    local got
    local listener
    local Server = rotor.protocol "Server" {
      create = function(_, stream)
        listener:close()
        return stream:sleep(0.005)
      end,
      timeout = function(_, stream)
        stream:write(listener:alive() and "open" or "closed")
        return stream:done()
      end,
    }
    listener = assert(loop:listen("127.0.0.1:0", Server))
    local address = listener:address()
    Server = nil -- kept by its streams
    got = support.exchange(loop, address, "")
    assert.equal("closed", got)
    assert.is_nil(Server)
  end)

  it("does not wait for itself when the loop is run by something else", function()
    local other = scene.loop()
    assert(other:listen("127.0.0.1:0", P))
    loop:run()
    other:turn()
    assert.equal(1, other:count())
  end)
end)
