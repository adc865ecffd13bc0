local rotor = require "rotor"
local support = require "spec.support"

describe("a datagram socket", function()
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

  local function ok(_, socket)
    return socket:ok()
  end

  local function done(_, socket)
    return socket:done()
  end

  -- Open a socket with these transitions.
  local function open(transitions, address, options)
    transitions.create = transitions.create or ok
    return assert(loop:udp(address, rotor.datagram "Test" (transitions), options))
  end

  -- Sends back what comes, in capitals; for as long as the loop runs.
  local function open_server(address, options)
    return open({
      datagram = function(_, socket, data, from)
        assert(socket:send(data:upper(), from))
        return socket:ok()
      end,
    }, address or "127.0.0.1:0", options)
  end

  -- A client of `server`, which ends together with it.
  local function open_client(server, transitions, options)
    options = options or {}
    local drop = transitions.drop or function() end
    transitions.drop = function(...)
      server:close()
      return drop(...)
    end
    if options.peer == nil then options.peer = server:address() end
    return open(transitions, options.address, { peer = options.peer or nil, max = options.max })
  end

  -- An address where nobody is.
  local function nobody()
    local handle = open({}, "127.0.0.1:0")
    local address = handle:address()
    handle:close()
    loop:turn()
    return address
  end

  local function unix(name)
    return ("unix:@rotor-spec-%s-%s"):format(tostring(loop):match("%w+$"), name)
  end

  local has_ipv6
  do
    local probe <close> = rotor.loop()
    has_ipv6 = probe:udp("[::1]:0", rotor.datagram "Probe" { create = done }) ~= nil
  end

  describe("exchanges datagrams", function()
    it("with whoever sends one", function()
      local server = open_server()
      local seen
      local client = open_client(server, {
        create = function(_, socket)
          assert.is_true(socket:send("hello", server:address()))
          return socket:ok()
        end,
        datagram = function(_, socket, ...)
          seen = table.pack(...)
          return socket:done()
        end,
      }, { peer = false, address = "127.0.0.1:0" })
      assert.matches("^127%.0%.0%.1:%d+$", client:address())
      local where = server:address()
      support.run(loop)
      assert.same({ "HELLO", where, n = 2 }, seen)
    end)

    it("with its peer only", function()
      local server = open_server()
      local seen, peer, stranger = {}, nil, nil
      local client = open_client(server, {
        create = function(_, socket)
          peer = socket:peer()
          return socket:ok()
        end,
        wakeup = function(_, socket)
          socket:send("a")
          return socket:ok()
        end,
        datagram = function(_, socket, data)
          seen[#seen + 1] = data
          return socket:done()
        end,
      })
      open({
        create = function(_, socket)
          stranger = socket
          return socket:ok()
        end,
        wakeup = done,
      }, "127.0.0.1:0")
      assert.equal(server:address(), peer)
      assert.is_true(stranger:send("not heard", "127.0.0.1" .. client:address():match(":%d+$")))
      client:wake()
      stranger:handle():wake()
      support.run(loop)
      assert.same({ "A" }, seen)
    end)

    it("of no bytes, and of any", function()
      local server = open({
        datagram = function(_, socket, data, from)
          assert(socket:send(data, from))
          return socket:ok()
        end,
      }, "127.0.0.1:0")
      local seen = {}
      local sent = { "", "\0", "a\0b\n", ("x"):rep(20000), "" }
      open_client(server, {
        create = function(_, socket)
          for _, data in ipairs(sent) do assert(socket:send(data)) end
          return socket:ok()
        end,
        datagram = function(_, socket, data)
          seen[#seen + 1] = data
          return #seen < #sent and socket:ok() or socket:done()
        end,
      })
      support.run(loop)
      assert.same(sent, seen)
    end)

    it("over IPv6, and between Unix sockets", function()
      local folder = os.tmpname()
      os.remove(folder)
      local addresses = { unix "server", "unix:" .. folder, has_ipv6 and "[::1]:0" or nil }
      for _, address in ipairs(addresses) do
        local server = open_server(address)
        local seen
        open_client(server, {
          create = function(_, socket)
            socket:send("x")
            return socket:ok()
          end,
          datagram = function(_, socket, ...)
            seen = table.pack(...)
            return socket:done()
          end,
        })
        local where = server:address()
        support.run(loop)
        assert.same({ "X", where, n = 2 }, seen)
      end
      assert.is_nil(io.open(folder))
    end)

    it("and tells the true size of one that was cut", function()
      local seen = {}
      local server = open({
        datagram = function(_, socket, data, _, size)
          seen[#seen + 1] = { data, size }
          return #seen < 3 and socket:ok() or socket:done()
        end,
      }, "127.0.0.1:0", { max = 4 })
      open({
        create = function(_, socket)
          for _, data in ipairs { "123", "1234", "123456789" } do socket:send(data) end
          return socket:done()
        end,
      }, nil, { peer = server:address() })
      support.run(loop)
      assert.same({ { "123" }, { "1234" }, { "1234", 9 } }, seen)
    end)

    it("with many at once, who are told apart", function()
      local server = open_server()
      local left, answers = 20, {}
      for i = 1, 20 do
        open({
          create = function(_, socket)
            socket:send("client " .. i, server:address())
            return socket:ok()
          end,
          datagram = function(_, socket, data)
            answers[i] = data
            left = left - 1
            if left == 0 then server:close() end
            return socket:done()
          end,
        }, "127.0.0.1:0")
      end
      support.run(loop)
      for i = 1, 20 do assert.equal("CLIENT " .. i, answers[i]) end
    end)

    it("in batches, between which others have their turn", function()
      local n, at_wakeup = 0, nil
      local flooded = assert(loop:udp("127.0.0.1:0", rotor.datagram("Flooded", { turns = 3 }) {
        create = ok,
        datagram = function(_, socket)
          n = n + 1
          return n < 12 and socket:ok() or socket:done()
        end,
        wakeup = function(_, socket)
          at_wakeup = n
          return socket:same()
        end,
      }))
      open({
        create = function(_, socket)
          for _ = 1, 12 do socket:send("x", flooded:address()) end
          return socket:done()
        end,
      }, "127.0.0.1:0")
      loop:turn()
      flooded:wake()
      support.run(loop)
      assert.equal(12, n)
      assert.equal(0, at_wakeup % 3)
    end)
  end)

  describe("is told", function()
    it("that nobody listens, and goes on", function()
      local address = nobody()
      local seen = {}
      open({
        create = function(_, socket)
          socket:send("x")
          return socket:ok()
        end,
        exception = function(_, socket, ...)
          seen[#seen + 1] = table.pack(...)
          if #seen == 2 then return socket:done() end
          assert.is_true(socket:send("x"))
          return socket:ok()
        end,
      }, nil, { peer = address })
      support.run(loop)
      local told = { "ECONNREFUSED", ("connection refused (%s)"):format(address), n = 2 }
      assert.same({ told, told }, seen)
    end)

    it("so by its end when it has no exception", function()
      local address = nobody()
      open({
        create = function(_, socket)
          socket:send("x")
          return socket:ok()
        end,
      }, nil, { peer = address })
      support.run(loop)
      assert.equal(("Test: ECONNREFUSED: connection refused (%s)"):format(address), scene.error())
    end)

    it("when there is room again", function()
      local got, sent, rooms, failure = 0, 0, 0, nil
      open({
        datagram = function(_, socket, data)
          got = got + 1
          return data == "last" and socket:done() or socket:ok()
        end,
      }, unix "server")
      open({
        create = function(_, socket)
          repeat
            local result = table.pack(socket:send("x"))
            if result[1] then sent = sent + 1 else failure = result end
          until failure or sent > 100000
          return socket:ok()
        end,
        writable = function(_, socket)
          rooms = rooms + 1
          assert.is_true(socket:send("last"))
          return socket:done()
        end,
      }, nil, { peer = unix "server" })
      support.run(loop)
      assert.same({ nil, "EAGAIN: resource temporarily unavailable", "EAGAIN", n = 3 }, failure)
      assert.equal(1, rooms)
      assert.equal(sent + 1, got)
    end)

    it("that a receiver is full who is not its peer, and no more", function()
      local name, failure = unix "server", nil
      open({ wakeup = done }, name):wake()
      open({
        create = function(_, socket)
          repeat
            local result = table.pack(socket:send("x", name))
            if not result[1] then failure = result end
          until failure
          return socket:done()
        end,
        writable = function() error("not to be told") end,
      }, unix "client")
      support.run(loop)
      local message = ("ENOBUFS: no buffer space available (%s)"):format(name)
      assert.same({ nil, message, "ENOBUFS", n = 3 }, failure)
    end)

    it("of wakeups and deadlines", function()
      local seen = {}
      local handle = open({
        create = function(_, socket, seed)
          seen[#seen + 1] = seed
          return socket:ok(60)
        end,
        wakeup = function(self, socket)
          seen[#seen + 1] = "wakeup"
          if self.woken then return socket:ok(0.001) end
          self.woken = true
          socket:notifier():wakeup()
          return socket:same()
        end,
        timeout = function(_, socket)
          seen[#seen + 1] = "timeout"
          return socket:done()
        end,
      }, nil, { seed = "seed" })
      handle:wake()
      support.run(loop)
      assert.same({ "seed", "wakeup", "wakeup", "timeout" }, seen)
    end)

    it("of deadlines by its end when it has no timeout", function()
      open({ create = function(_, socket) return socket:ok(0.001) end }, "127.0.0.1:0")
      support.run(loop)
      assert.equal("Test: ETIMEDOUT: deadline passed", scene.error())
    end)

    it("nothing of what it does not ask for", function()
      local handle = open({}, "127.0.0.1:0")
      open({
        create = function(_, socket)
          socket:send("dropped", handle:address())
          return socket:ok(0.002)
        end,
        timeout = function(_, socket)
          assert.is_true(handle:close())
          return socket:done()
        end,
      }, "127.0.0.1:0")
      handle:wake()
      support.run(loop)
    end)
  end)

  describe("takes part", function()
    it("in multicast groups, and leaves them", function()
      local group, seen, results = "239.255.78.1", {}, {}
      local member = open({
        create = function(self, socket)
          self.to = group .. socket:address():match(":%d+$")
          self.direct = socket:address():gsub("^0%.0%.0%.0", "127.0.0.1")
          results[1] = table.pack(socket:join(group, "lo"))
          results[2] = table.pack(socket:join(group, "127.0.0.1"))
          socket:send("one", self.to)
          return socket:ok()
        end,
        datagram = function(self, socket, data)
          seen[#seen + 1] = data
          if #seen > 1 then return socket:done() end
          results[3] = table.pack(socket:leave(group, "127.0.0.1"))
          results[4] = table.pack(socket:leave(group, "lo"))
          socket:send("two", self.to)
          socket:send("three", self.direct)
          return socket:ok()
        end,
      }, "0.0.0.0:0", { multicast_interface = "lo", multicast_ttl = 1, reuse_address = true })
      assert.is_true(member:alive())
      support.run(loop)
      assert.same({ "one", "three" }, seen)
      assert.same({ true, n = 1 }, results[1])
      assert.same({ nil, "EADDRINUSE: address already in use (239.255.78.1 by 127.0.0.1)",
                    "EADDRINUSE", n = 3 }, results[2])
      assert.same({ true, n = 1 }, results[3])
      assert.equal("EADDRNOTAVAIL", results[4][3])
    end)

    it("in none that is none", function()
      local socket
      local handle = open({
        create = function(_, s)
          socket = s
          return s:ok()
        end,
      }, "0.0.0.0:0")
      for _, case in ipairs {
        { "EINVAL: invalid argument (nonsense)", "EINVAL", "nonsense" },
        { "EINVAL: invalid argument (127.0.0.1 by lo)", "EINVAL", "127.0.0.1", "lo" },
        { "ENODEV: no such device (239.1.1.1 by nowhere)", "ENODEV", "239.1.1.1", "nowhere" },
      } do
        assert.same({ nil, case[1], case[2], n = 3 }, table.pack(socket:join(case[3], case[4])))
        assert.is_nil(socket:leave(case[3], case[4]))
      end
      assert.has_error(function() socket:join() end,
        "bad argument #1 to 'join' (string expected, got no value)")
      handle:close()
      loop:turn()
      assert.has_error(function() socket:join("239.1.1.1") end, "the socket has ended")
    end)
  end)

  describe("sends", function()
    -- What is a socket of that address, kept; it is closed with the loop.
    local function keep(address, options)
      local kept
      open({
        create = function(_, socket)
          kept = socket
          return socket:ok()
        end,
      }, address, options)
      return kept
    end

    it("not to where it cannot", function()
      local socket = keep("127.0.0.1:0")
      for _, case in ipairs {
        { "EDESTADDRREQ: destination address required", "EDESTADDRREQ", "x" },
        { "EADDRESS: not an address: expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH (nonsense)",
          "EADDRESS", "x", "nonsense" },
        { "EAFNOSUPPORT: address family not supported ([::1]:1)", "EAFNOSUPPORT", "x", "[::1]:1" },
        { "EMSGSIZE: message too long (127.0.0.1:1)", "EMSGSIZE", ("x"):rep(65508), "127.0.0.1:1" },
      } do
        local result = table.pack(socket:send(case[3], case[4]))
        assert.same({ nil, case[1], case[2], n = 3 }, result)
      end
      assert.has_error(function() socket:send("x", "localhost:1") end,
        "bad argument #2 to 'send' (a name is not looked up here; rotor.udp looks up its peer's)")
      assert.has_error(function() socket:send() end,
        "bad argument #1 to 'send' (string or buf expected, got no value)")
      assert.has_error(function() socket:send("x", {}) end,
        "bad argument #2 to 'send' (string expected, got table)")
    end)

    it("to ports on the loopback, and numbers as text", function()
      local seen = {}
      local server = open({
        datagram = function(_, socket, data)
          seen[#seen + 1] = data
          return #seen < 3 and socket:ok() or socket:done()
        end,
      }, "0")
      local port = server:address():match(":(%d+)$")
      local socket = keep(nil)
      assert.is_true(socket:send(1.5, tonumber(port)))
      assert.is_true(socket:send("b", port))
      assert.is_true(socket:send("c", ":" .. port))
      socket:handle():close()
      support.run(loop)
      assert.same({ "1.5", "b", "c" }, seen)
    end)

    it("to another each time, whoever was the last", function()
      local seen = {}
      local function receiver(i)
        return open({
          datagram = function(_, socket, data, from)
            seen[i] = (seen[i] or "") .. data
            socket:send(data, from)
            return socket:ok()
          end,
        }, "127.0.0.1:0")
      end
      local a, b = receiver(1), receiver(2)
      local to, answers = { a:address(), b:address() }, {}
      open({
        create = function(self, socket)
          self.n = 0
          socket:send("0", to[1])
          return socket:ok()
        end,
        datagram = function(self, socket, data, from)
          answers[#answers + 1] = data .. (from == to[1] and "a" or from == to[2] and "b" or from)
          self.n = self.n + 1
          if self.n == 6 then
            a:close()
            b:close()
            return socket:done()
          end
          -- Back to whoever sent it, to the other one by a string of its own, and again.
          assert(socket:send(self.n, self.n % 3 == 1 and from or to[1 + self.n % 2] .. ""))
          return socket:ok()
        end,
      }, "127.0.0.1:0")
      support.run(loop)
      assert.same({ "0a", "1a", "2a", "3b", "4b", "5b" }, answers)
      assert.same({ "012", "345" }, seen)
    end)

    it("for other machines, until it has ended", function()
      local seen
      local server = open({
        datagram = function(_, socket, data)
          seen = data
          return socket:done()
        end,
      }, "127.0.0.1:0")
      local socket = keep(nil, { peer = server:address() })
      loop:add(rotor.machine "Other" {
        create = function(_, scope)
          assert.is_true(socket:send("for another"))
          socket:handle():close()
          return scope:done()
        end,
      })
      support.run(loop)
      assert.equal("for another", seen)
      assert.is_true(socket:ended())
      assert.equal("rotor.socket: (ended)", tostring(socket))
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { socket:send("x") })
      for _, method in ipairs { "peer", "address", "now", "handle", "notifier", "loop", "context",
                                "ok", "same", "done", "error" } do
        assert.has_error(function() socket[method](socket, 1) end, "the socket has ended")
      end
    end)

    it("in drop, which is called once", function()
      local seen
      local drops = 0
      local server = open({
        datagram = function(_, socket, data)
          seen = data
          return socket:done()
        end,
      }, "127.0.0.1:0")
      open({
        create = done,
        drop = function(_, socket)
          drops = drops + 1
          assert.is_true(socket:send("good-bye"))
        end,
      }, nil, { peer = server:address() })
      support.run(loop)
      assert.equal("good-bye", seen)
      assert.equal(1, drops)
    end)
  end)

  describe("knows", function()
    it("its loop, its time, its handle", function()
      local context = {}
      local own = scene.loop { context = context }
      local seen
      local handle = assert(own:udp("127.0.0.1:0", rotor.datagram "Knowing" {
        answer = 42,
        create = function(self, socket)
          seen = { socket:loop() == own, socket:context(), socket:now() == own:now(),
                   socket:handle(), tostring(socket), self.answer, socket:address(),
                   (select(3, socket:peer())), socket:ended() }
          return socket:done()
        end,
      }))
      assert.same({ true, context, true, handle, "rotor.socket: Knowing", 42, seen[7], "ENOTCONN",
                    false }, seen)
      assert.matches("^127%.0%.0%.1:%d+$", seen[7])
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { handle:address() })
    end)

    it("its address before create, in a transition", function()
      local address, created
      loop:add(rotor.machine "Opener" {
        create = function(_, scope)
          local handle = open({
            create = function(_, socket)
              created = socket:address()
              return socket:done()
            end,
          }, "127.0.0.1:0")
          assert.is_nil(created)
          address = handle:address()
          return scope:done()
        end,
      })
      support.run(loop)
      assert.matches(":%d+$", address)
      assert.equal(address, created)
    end)
  end)

  describe("cannot be opened", function()
    local D = rotor.datagram "D" { create = done }

    it("where it cannot", function()
      local taken = open({}, "127.0.0.1:0")
      local address = taken:address()
      for _, case in ipairs {
        { "EADDRESS", "nonsense" },
        { "EADDRINUSE: address already in use (" .. address .. ")", address },
        { "EADDRNOTAVAIL: address not available (192.0.2.77:0)", "192.0.2.77:0" },
        { "ENOENT: no such file or directory (unix:/no/such/socket)", nil,
          { peer = "unix:/no/such/socket" } },
        { "EAFNOSUPPORT: address family not supported (127.0.0.1:0 to [::1]:1)", "127.0.0.1:0",
          { peer = "[::1]:1" } },
        { "ENODEV: no such device (any)", nil, { multicast_interface = "nowhere" } },
        { "EINVAL: invalid argument (0)", 0, { max = 65537 } },
      } do
        local result, message, name = loop:udp(case[2], D, case[3])
        assert.is_nil(result)
        assert.equal(case[1], message:sub(1, #case[1]))
        assert.equal(case[1]:match("^%w+"), name)
      end
    end)

    it("when its create throws, or says so", function()
      for transition, message in pairs {
        [function() error("no") end] = "D: create: .*no\nstack traceback:",
        [function(_, socket) return socket:error("no") end] = "^D: create: no$",
        [function() end] = "create returned nothing; it returns what socket:ok, same, done or",
      } do
        assert.same({ nil, "ELUA: error in a Lua transition, told to on_error (0)", "ELUA" },
                    { loop:udp(0, rotor.datagram "D" { create = transition }) })
        assert.matches(message, scene.error())
      end
    end)

    it("with arguments that make no sense", function()
      for message, call in pairs {
        ["bad argument #1 to 'udp' (string expected, got table)"] =
          function() rotor.udp({}, D) end,
        ["bad argument #2 to 'udp' (rotor.datagram expected, got nil)"] =
          function() rotor.udp("0", nil) end,
        ["bad argument #2 to 'udp' (rotor.datagram expected, got rotor.protocol)"] =
          function() rotor.udp("0", rotor.protocol "P" { create = done }) end,
        ["bad argument #2 to 'listen' (rotor.protocol expected, got rotor.datagram)"] =
          function() rotor.listen("0", D) end,
        ["option 'max': an integer from 1 to 2147483647 expected, got 0"] =
          function() rotor.udp("0", D, { max = 0 }) end,
        ["option 'multicast_ttl': an integer from 1 to 255 expected, got 256"] =
          function() rotor.udp("0", D, { multicast_ttl = 256 }) end,
        ["option 'peer': a string expected, got boolean"] =
          function() rotor.udp("0", D, { peer = true }) end,
        ["option 'broadcast': a boolean expected, got number"] =
          function() rotor.udp("0", D, { broadcast = 1 }) end,
      } do
        assert.has_error(call, message)
      end
      rotor.default():close()
    end)
  end)

  describe("is declared", function()
    it("with transitions that it has", function()
      for message, declare in pairs {
        ['datagram "X": no transition is called bytes_read; a datagram protocol has create, '
          .. "datagram, writable, timeout, wakeup, exception, drop (other functions go outside the "
          .. "table)"] = function() rotor.datagram "X" { create = ok, bytes_read = ok } end,
        ['datagram "X": no transition is called datagramm; did you mean datagram? (other functions '
          .. "go outside the table)"] =
          function() rotor.datagram "X" { create = ok, datagramm = ok } end,
        ['datagram "X": create is missing, with which every datagram protocol begins'] =
          function() rotor.datagram "X" { datagram = ok } end,
        ['datagram "X": writable is a transition, so a function is expected, got boolean'] =
          function() rotor.datagram "X" { create = ok, writable = true } end,
        ["rotor.datagram: a name expected, got table"] = function() rotor.datagram {} end,
        ['datagram "X": unknown option \'turn\'; known are: turns'] =
          function() rotor.datagram("X", { turn = 1 }) { create = ok } end,
      } do
        local _, told = pcall(declare)
        assert.equal(message, (told:gsub("^[^:]*:%d+: ", "")))
      end
    end)
  end)

  describe("ends", function()
    local function one(transitions)
      local handle = open(transitions, "127.0.0.1:0")
      handle:wake()
      support.run(loop)
      assert.is_false(handle:alive())
      return scene.error()
    end

    it("when a transition throws", function()
      assert.matches("^Test: wakeup: spec/datagram_spec.lua:%d+: thrown\nstack traceback:",
                     one { wakeup = function() error("thrown") end })
      assert.matches("^Test: drop: spec/datagram_spec.lua:%d+: thrown\nstack traceback:",
                     one { wakeup = done, drop = function() error("thrown") end })
    end)

    it("with an error of its own", function()
      assert.equal("Test: wakeup: broken",
                   one { wakeup = function(_, socket) return socket:error("broken") end })
    end)

    it("when a transition returns what it should not", function()
      local it_returns = "; it returns what socket:ok, same, done or error does"
      local other
      open({
        create = function(_, socket)
          other = socket:ok()
          return other
        end,
        wakeup = done,
      }, "127.0.0.1:0"):wake()
      for got, transition in pairs {
        ["nothing"] = function() end,
        ["boolean"] = function() return true end,
        ["what another has asked for, or asked for earlier"] = function() return other end,
      } do
        local message = one { wakeup = transition }
        assert.matches("^Test: wakeup: spec/datagram_spec.lua:%d+: wakeup returned " .. got
                       .. it_returns, message)
      end
    end)

    it("only by its own transitions", function()
      local socket
      local handle = open({
        create = function(_, s)
          socket = s
          return s:ok()
        end,
        drop = function(_, s)
          assert.has_error(function() s:ok() end)
        end,
      }, "127.0.0.1:0")
      for _, method in ipairs { "ok", "same", "done", "error" } do
        assert.has_error(function() socket[method](socket, 1) end,
          "only a socket's own transitions may say what it waits for; to reach it from elsewhere, "
          .. "wake it or close it by its handle()")
      end
      handle:close()
      support.run(loop)
    end)

    it("while garbage is collected all the time", function()
      local server, client, n = nil, nil, 0
      local function create(_, socket, to)
        collectgarbage()
        if to then socket:send("x", to) end
        return socket:ok()
      end
      local function datagram(_, socket, data, from)
        collectgarbage()
        n = n + 1
        if n == 20 then
          server:close()
          client:close()
        end
        assert(socket:send(data, n % 2 == 0 and from or from .. ""))
        collectgarbage()
        return socket:same()
      end
      server = open({ create = create, datagram = datagram }, "127.0.0.1:0")
      client = open({ create = create, datagram = datagram }, "127.0.0.1:0",
                    { seed = server:address() })
      collectgarbage()
      support.run(loop)
      assert.equal(20, n)
    end)

    it("with its loop", function()
      local drops = 0
      for _ = 1, 3 do
        open({ drop = function() drops = drops + 1 end }, "127.0.0.1:0", { seed = {} })
      end
      loop:close()
      assert.equal(3, drops)
    end)
  end)
end)
