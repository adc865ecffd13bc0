local rotor = require "rotor"
local support = require "spec.support"

describe("a protocol's states", function()
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

  local function declare(states, more)
    local transitions = { create = function(_, stream) return stream:sleep() end, states = states }
    for name, value in pairs(more or {}) do transitions[name] = value end
    return rotor.protocol "Chat" (transitions)
  end

  -- A mail server of sorts: `command` and `body` fall back to `session`, and that to the protocol.
  local function mail()
    return rotor.protocol "Mail" {
      create = function(self, stream)
        self.mails = 0
        stream:write("220 ready\n")
        return stream:become("session"):expect_flush()
      end,
      exception = function(_, stream)
        stream:write("421 no\n")
        return stream:linger(10)
      end,
      states = {
        session = {
          bytes_flushed = function(_, stream)
            return stream:become("command"):expect_delimiter("\n", 20)
          end,
        },
        command = {
          parent = "session",
          bytes_read = function(_, stream, n)
            local command = stream:take(n)
            stream:consume(1)
            if command == "DATA" then
              stream:write("354 go on\n")
              return stream:become("body"):expect_delimiter("\n.\n", 1000)
            elseif command == "QUIT" then
              stream:write("221 bye\n")
              return stream:become("goodbye"):expect_flush()
            end
            stream:write("500 what?\n")
            return stream:expect_flush()
          end,
        },
        body = {
          parent = "session",
          bytes_read = function(self, stream, n)
            self.mails = self.mails + 1
            stream:consume(n + 3)
            stream:write(("250 mail %d of %d\n"):format(self.mails, n))
            return stream:expect_flush()
          end,
        },
        goodbye = { bytes_flushed = function(_, stream) return stream:linger(10) end },
      },
    }
  end

  -- Sends `first` bytes, and the rest, or what is left, `step` at a time, each when it has left.
  local Talker = rotor.protocol "Talker" {
    create = function(self, stream, talk)
      self.talk, self.at, self.n = talk, 1, talk.first
      return self.talk.say(self, stream)
    end,
    bytes_flushed = function(self, stream) return self.talk.say(self, stream) end,
    exception = function(self, stream)
      self.talk.answer = stream:take()
      self.talk.over()
      return stream:done()
    end,
  }

  local function say(self, stream)
    local talk = self.talk
    if self.at > #talk.bytes then
      stream:shutdown()
      return stream:expect_bytes(1 << 20)
    end
    stream:write(talk.bytes:sub(self.at, self.at + self.n - 1))
    self.at, self.n = self.at + self.n, talk.step
    return stream:expect_flush()
  end

  it("lead through a conversation that is cut at any byte", function()
    local bytes = "HELP\nDATA\nDear\n..\nyes\n.\nDATA\n\n.\nQUIT\nDATA\nno more"
    local wanted = "220 ready\n500 what?\n354 go on\n250 mail 1 of 11\n354 go on\n"
      .. "250 mail 2 of 0\n221 bye\n"
    local server = assert(loop:listen("127.0.0.1:0", mail()))
    local talks, left = {}, #bytes + 1
    local function over()
      left = left - 1
      if left == 0 then server:close() end
    end
    for first = 0, #bytes do
      local talk = { bytes = bytes, first = math.max(first, 1), say = say, over = over,
                     step = first == 0 and 1 or #bytes }
      talks[first] = talk
      assert(loop:connect(server:address(), Talker, { seed = talk }))
    end
    support.run(loop)
    for first = 0, #bytes do assert.equal(wanted, talks[first].answer, first) end
  end)

  -- One connection to a server that runs `protocol`, to which `bytes` are sent.
  local function converse(protocol, bytes)
    local server = assert(loop:listen("127.0.0.1:0", protocol))
    local answer = support.exchange(loop, server:address(), bytes)
    server:close()
    loop:turn()
    return answer
  end

  it("have names that a stream tells", function()
    local seen = {}
    local function see(_, stream)
      seen[#seen + 1] = stream:state() or "none"
      stream:consume(1)
      if stream:state() == "b" then return stream:become():expect_bytes(1) end
      return stream:become(#seen == 1 and "a" or "b"):expect_bytes(1)
    end
    local P = declare({ a = { bytes_read = see }, b = { bytes_read = see } }, {
      create = function(_, stream) return stream:expect_bytes(1) end,
      bytes_read = function(self, stream)
        if #seen == 3 then return stream:done() end
        return see(self, stream)
      end,
    })
    converse(P, "12345")
    assert.same({ "none", "a", "b" }, seen)
  end)

  it("that are unknown are an error that names both", function()
    local P = declare({ body = {}, command = {} }, {
      create = function(_, stream) return stream:become("bodi"):sleep() end,
    })
    converse(P, "")
    assert.matches('protocol "Chat" has no state "bodi"; it has: body, command', scene.error(),
                   1, true)
    local Q = declare(nil, { create = function(_, stream) return stream:become("x"):sleep() end })
    converse(Q, "")
    assert.matches('protocol "Chat" has no state "x"; it has: none', scene.error(), 1, true)
  end)

  it("are named in errors", function()
    local P = declare({ body = { bytes_read = function() error "oops" end } }, {
      create = function(_, stream) return stream:become("body"):expect_bytes(1) end,
    })
    converse(P, "x")
    assert.matches("^Chat%.body: bytes_read: .*oops", scene.error())
    local Q = declare({ body = { bytes_read = function() end } }, {
      create = function(_, stream) return stream:become("body"):expect_bytes(1) end,
    })
    converse(Q, "x")
    assert.matches("^Chat%.body: .*bytes_read returned nothing; it returns what", scene.error())
  end)

  it("are checked when they are declared", function()
    for message, states in pairs {
      ["states: a table of states by their names expected, got number"] = 1,
      ["states: NAME = { … } expected, got a key that is a number"] = { {} },
      ["state a: a table of transitions expected, got string"] = { a = "x" },
      ["state body: no transition is called byte_read; did you mean bytes_read?"] =
        { body = { byte_read = print } },
      ["state body: no transition is called create"] = { body = { create = print } },
      ["state body: x is neither a transition nor parent"] = { body = { x = 1 } },
      ["state body: timeout is a transition, so a function is expected, got number"] =
        { body = { timeout = 1 } },
      ["state a: no state is called bdy, which is to be its parent; did you mean body?"] =
        { body = {}, a = { parent = "bdy" } },
      ["state a: it is its own parent"] = { a = { parent = "b" }, b = { parent = "a" } },
      ["state x: it is its own parent"] = { x = { parent = "x" } },
    } do
      local _, wrong = pcall(declare, states)
      assert.matches('protocol "Chat": ' .. message, wrong, 1, true)
    end
  end)

  it("are left to a stream's own transitions", function()
    local kept
    local P = declare({ a = {} }, {
      create = function(_, stream)
        kept = stream
        return stream:sleep()
      end,
    })
    local server = assert(loop:listen("127.0.0.1:0", P))
    assert(loop:connect(server:address(), declare()))
    while not kept do loop:turn() end
    assert.error_matches(function() kept:become("a") end, "only a stream's own transitions")
    loop:close()
    assert.error_matches(function() kept:state() end, "the stream has ended")
  end)

  describe("and_flush", function()
    it("waits for input and output at once", function()
      local seen = {}
      local P = declare(nil, {
        create = function(_, stream)
          stream:write(("x"):rep(100))
          return stream:and_flush(stream:expect_delimiter("\n", 10), 0)
        end,
        bytes_flushed = function(_, stream)
          seen[#seen + 1] = stream:unsent()
          return stream:same()
        end,
        bytes_read = function(_, stream, n)
          seen[#seen + 1] = stream:take(n)
          return stream:done()
        end,
      })
      assert.equal(("x"):rep(100), converse(P, "abc\n"))
      assert.same({ 0, "abc" }, seen)
    end)

    it("takes only what this stream asks for", function()
      local messages = {}
      local P = declare(nil, {
        create = function(_, stream)
          local function try(...)
            messages[#messages + 1] = select(2, pcall(stream.and_flush, stream, ...))
          end
          try(nil, 1)
          try(stream:same(), 1)
          try(stream:done(), 1)
          try(stream:sleep(), -1)
          try(stream:sleep())
          return stream:done()
        end,
      })
      converse(P, "")
      for i = 1, 3 do
        assert.matches("what expect_bytes, expect_delimiter or sleep of this stream returns",
                       messages[i], 1, true)
      end
      assert.matches("0 to %d+ expected, got %-1", messages[4])
      assert.matches("number expected, got no value", messages[5])
      assert.equal(5, #messages)
    end)
  end)
end)
