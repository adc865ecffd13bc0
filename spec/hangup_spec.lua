local rotor = require "rotor"
local support = require "spec.support"

-- A protocol that does not read is told that its peer has closed.
describe("hangup", function()
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

  -- One connection to a server with these transitions, which sleeps unless it says otherwise; the
  -- client does `client` in its create. Until the server's stream has ended.
  local function serve(server, client)
    local listener
    server.create = server.create or function(_, stream) return stream:sleep() end
    server.drop = function() listener:close() end
    listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" (server)))
    assert(loop:connect(listener:address(), rotor.protocol "Client" {
      create = client,
      bytes_read = function(_, stream) return stream:abort() end,
      exception = function(_, stream) return stream:done() end,
      fatal = function() end,
    }))
    support.run(loop)
  end

  local function close(_, stream) return stream:done() end

  it("is told once, in a sleep", function()
    local log = {}
    serve({
      hangup = function(self, stream)
        log[#log + 1] = "hangup"
        self.heard = true
        stream:handle():wake()
        return stream:sleep(0.01)
      end,
      wakeup = function(self, stream)
        log[#log + 1] = self.heard and "wakeup"
        return stream:same()
      end,
      timeout = function(_, stream)
        log[#log + 1] = "timeout"
        return stream:done()
      end,
    }, close)
    assert.same({ "hangup", "wakeup", "timeout" }, log)
  end)

  it("leaves what was sent before to be read", function()
    local log = {}
    serve({
      hangup = function(_, stream)
        log[#log + 1] = #stream
        return stream:expect_bytes(5)
      end,
      bytes_read = function(_, stream, n)
        log[#log + 1] = stream:take(n)
        return stream:expect_bytes(1)
      end,
      exception = function(_, stream, code)
        log[#log + 1] = code
        return stream:done()
      end,
    }, function(_, stream)
      stream:write("hello")
      return stream:done()
    end)
    assert.same({ 0, "hello", "EEOF" }, log)
  end)

  it("is not told to one who reads", function()
    local log = {}
    serve({
      create = function(_, stream) return stream:expect_bytes(1) end,
      exception = function(_, stream, code)
        log[#log + 1] = code
        return stream:sleep(0.01)
      end,
      hangup = function(_, stream)
        log[#log + 1] = "hangup"
        return stream:done()
      end,
      timeout = close,
    }, close)
    assert.same({ "EEOF" }, log)
  end)

  it("may be a state's", function()
    local states = {}
    serve({
      create = function(_, stream) return stream:become("inner"):sleep() end,
      hangup = function(_, stream)
        states[#states + 1] = stream:state()
        return stream:done()
      end,
      states = {
        outer = {
          hangup = function(_, stream)
            states[#states + 1] = stream:state()
            return stream:become():done()
          end,
        },
        inner = { parent = "outer" },
      },
    }, close)
    assert.same({ "inner" }, states)
  end)

  it("is not for a connection that was reset, which goes to fatal", function()
    local log = {}
    serve({
      create = function(_, stream)
        stream:write(("x"):rep(1 << 18)) -- most of which the client leaves unread
        return stream:sleep()
      end,
      hangup = function(_, stream)
        log[#log + 1] = "hangup"
        return stream:done()
      end,
      fatal = function(_, _, code) log[#log + 1] = code end,
    }, function(_, stream) return stream:expect_bytes(1) end)
    assert.same({ "ECONNRESET" }, log)
  end)

  it("that throws ends the stream, and the report names it", function()
    serve({ hangup = function() error("kaputt") end }, close)
    assert.matches("^Server: hangup: .*: kaputt\n", scene.error())
  end)

  it("has to return what it waits for", function()
    serve({ hangup = function() end }, close)
    assert.matches("hangup returned nothing; it returns what stream:expect_bytes", scene.error())
  end)

  it("is known by its name", function()
    local function declare(transitions)
      transitions.create = close
      return select(2, pcall(function() rotor.protocol "P" (transitions) end))
    end
    assert.matches("no transition is called hang_up; did you mean hangup%?",
      declare { hang_up = close })
    assert.matches("state s: no transition is called hungup; did you mean hangup%?",
      declare { states = { s = { hungup = close } } })
  end)

  it("is counted when traced", function()
    local P = rotor.trace(rotor.protocol "P" {
      create = function(_, stream) return stream:sleep() end,
      hangup = close,
    })
    local listener = assert(loop:listen("127.0.0.1:0", P))
    assert(loop:connect(listener:address(), rotor.protocol "Client" {
      create = close,
      drop = function() listener:close() end,
    }))
    support.run(loop)
    local diagram = rotor.diagram(P)
    assert.truthy(diagram:find("hangup 1", 1, true))
    assert.matches('-> done %[label=" hangup 1"%]', diagram)
  end)
end)
