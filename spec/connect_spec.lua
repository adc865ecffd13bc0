local rotor = require "rotor"
local support = require "spec.support"

describe("a connection fails", function()
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
    return stream:expect_bytes(1)
  end

  local Server = rotor.protocol "Server" { create = expect }

  -- All who can hear of a failure to connect hear the same of it, with the address.
  local function fails(address, code, text, timeout)
    local function connect(how, transitions, options)
      transitions.create = transitions.create or done
      options = options or {}
      options.timeout = timeout
      local handle = assert(how(loop, address, rotor.protocol "Client" (transitions), options))
      support.run(loop)
      return handle
    end

    local heard
    connect(loop.connect, { fatal = function(_, _, ...) heard = { ... } end }, { seed = "seed" })
    assert.same({ code, ("%s (%s)"):format(text, address), "seed" }, heard)

    connect(loop.connect, {})
    assert.equal(("Client: %s: %s (%s)"):format(code, text, address), scene.error())

    local down, fatal
    connect(loop.persist, {
      fatal = function(_, _, ...) fatal = { ... } end,
    }, {
      seed = "seed",
      down = function(...)
        down = { ... }
        loop:stop()
      end,
    }):close()
    loop:turn()
    assert.same(heard, fatal)
    assert.equal(code, down[1])
    assert.equal(("%s: %s (%s)"):format(code, text, address), down[2])
  end

  -- An address that nobody listens on any more.
  local function deserted(address)
    local listener = assert(loop:listen(address, Server))
    address = listener:address()
    listener:close()
    loop:turn()
    return address
  end

  it("with ECONNREFUSED when nobody listens", function()
    fails(deserted "127.0.0.1:0", "ECONNREFUSED", "connection refused")
    fails("unix:@rotor-nobody-" .. tostring(loop):match("0x(%x+)"), "ECONNREFUSED",
      "connection refused")
  end)

  it("with ECONNREFUSED when nobody listens on any of a name's addresses", function()
    fails("localhost:" .. deserted("127.0.0.1:0"):match(":(%d+)$"), "ECONNREFUSED",
      "connection refused")
  end)

  it("with ENOENT when there is no such socket", function()
    fails("unix:/nobody/here", "ENOENT", "no such file or directory")
  end)

  it("with ETIMEDOUT when nobody answers in time", function()
    -- Nobody accepts, and with the backlog full the kernel does not answer either.
    local busy = scene.loop()
    local full = assert(busy:listen("127.0.0.1:0", Server, { backlog = 1 }))
    local others = scene.loop()
    for _ = 1, 4 do
      assert(others:connect(full:address(), rotor.protocol "Other" { create = expect }))
    end
    others:turn()
    fails(full:address(), "ETIMEDOUT", "deadline passed", 0.01)
  end)

  it("with ENETUNREACH when there is no way", function()
    fails("224.0.0.1:1", "ENETUNREACH", "network is unreachable") -- nobody's, but a group's
  end)

  it("with EAI_NONAME when there is no such name", function()
    fails("a..b:1", "EAI_NONAME", "unknown node or service")
  end)

  it("with EACCES when it is not permitted", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local path, again = os.tmpname(), ...
      os.remove(path)
      local address = "unix:" .. path
      local listener = assert(rotor.listen(address, rotor.protocol "Server" {
        create = function(_, stream) return stream:done() end,
      }))
      os.execute("chmod 0 " .. path)
      assert(rotor.connect(address, rotor.protocol "Client" {
        create = function(_, stream)
          print "permitted"
          return stream:done()
        end,
        fatal = function(_, _, code, message)
          print(code, (message:gsub(address:gsub("%p", "%%%0"), "ADDRESS")))
        end,
        drop = function() listener:close() end,
      }))
      for _ = 1, 4 do rotor.turn() end
      listener:close()
      rotor.turn()
      if not again then -- once more, as root may use any socket
        io.stdout:flush()
        os.execute(("setpriv --bounding-set -dac_override %s %s again"):format(arg[-1], arg[0]))
      end
    ]]
    assert.equal(0, status)
    if not output:find("EACCES", 1, true) then
      pending("this is root, and setpriv cannot make it less")
      return
    end
    assert.matches("EACCES\tpermission denied %(ADDRESS%)\n", output)
  end)

  it("with ECONNRESET when the peer breaks it", function()
    local fatal, down, kept, peer
    local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
      create = function(_, stream)
        peer = stream:handle()
        stream:write("x")
        return stream:sleep()
      end,
    }))
    local address = listener:address()
    kept = assert(loop:persist(address, rotor.protocol "Client" {
      create = expect,
      bytes_read = function(_, stream, n)
        stream:consume(n)
        stream:write("never read")
        return stream:expect_flush()
      end,
      bytes_flushed = function(_, stream)
        peer:close()
        return stream:expect_bytes(1)
      end,
      fatal = function(_, _, ...) fatal = { ... } end,
    }, {
      down = function(...)
        down = { ... }
        kept:close()
        listener:close()
      end,
    }))
    support.run(loop)
    assert.same({ "ECONNRESET", "connection reset by peer" }, { fatal[1], fatal[2] })
    assert.equal("ECONNRESET", down[1])
    assert.equal(("ECONNRESET: connection reset by peer (%s)"):format(address), down[2])
  end)

  it("with EADDRINUSE when two listen on the same address", function()
    local listener = assert(loop:listen("127.0.0.1:0", Server))
    assert.same({ nil, ("EADDRINUSE: address already in use (%s)"):format(listener:address()),
                  "EADDRINUSE" }, { loop:listen(listener:address(), Server) })
  end)

  it("with EADDRNOTAVAIL when one listens where one is not", function()
    assert.same({ nil, "EADDRNOTAVAIL: address not available (203.0.113.1:1)", "EADDRNOTAVAIL" },
      { loop:listen("203.0.113.1:1", Server) })
  end)
end)

describe("a connection", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  it("may be kept alive by the system", function()
    local loop = scene.loop()
    local got
    local listener
    listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
      create = function(_, stream)
        stream:write("hello")
        return stream:done()
      end,
      drop = function() listener:close() end,
    }))
    assert(loop:connect(listener:address(), rotor.protocol "Client" {
      create = function(_, stream) return stream:expect_bytes(5) end,
      bytes_read = function(_, stream)
        got = stream:take()
        return stream:done()
      end,
    }, { keepalive = 30, delay = true, timeout = 5 }))
    support.run(loop)
    assert.equal("hello", got)
    assert.has_error(function() loop:connect("1", rotor.protocol "P" { create = print },
      { keepalive = 32768 }) end,
      "option 'keepalive': an integer from 1 to 32767 expected, got 32768")
  end)
end)
