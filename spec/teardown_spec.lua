local support = require "spec.support"

-- A program that uses everything: echo over TCP and a Unix socket, HTTP answered at once and later,
-- machines that spawn, futures, notifiers, errors. It stops when all of it has been done `ROUNDS`
-- times, with most of it still open.
local EVERYTHING = [[
local rotor = require "rotor"
local http = require "rotor.http"
local websocket = require "rotor.websocket"

local errors, done = 0, 0
rotor.on_error(function(message)
  assert(message:find("kaputt", 1, true), message)
  errors = errors + 1
end)

local Echo = rotor.protocol "Echo" {
  create = function(self, stream, seed)
    self.seed = { seed }
    return stream:expect_delimiter(("\r"):rep(seed) .. "\n", 100, 10)
  end,
  bytes_read = function(self, stream, n)
    stream:write(stream:take(n + self.seed[1] + 1))
    return stream:expect_delimiter(("\r"):rep(self.seed[1]) .. "\n", 100, 10)
  end,
  wakeup = function(_, stream) return stream:same() end,
}

local Client = rotor.protocol "Client" {
  create = function(self, stream, finished)
    self.finished, self.notifier, self.stream = finished, stream:notifier(), stream
    stream:write("hello", "\r\n", "world\r\n")
    return stream:expect_bytes(14)
  end,
  bytes_read = function(self, stream, n)
    assert(stream:take(n) == "hello\r\nworld\r\n")
    self.notifier:wakeup()
    return stream:sleep()
  end,
  wakeup = function(self, stream)
    self.finished(stream)
    if stream:unsent() == 0 then error("kaputt") end
    return stream:done()
  end,
  drop = function(self) self.stream = nil end,
}

local Browser = rotor.protocol "Browser" {
  create = function(self, stream, finished)
    self.finished = finished
    for _, path in ipairs { "/now", "/later", "/now", "/bad" } do
      stream:write("GET ", path, " HTTP/1.1\r\nHost: x\r\nX-Header: ", path, "\r\n\r\n")
    end
    return stream:expect_bytes(1 << 20)
  end,
  exception = function(self, stream)
    local _, n = stream:take():gsub("HTTP/1.1 (%d+)", "")
    assert(n == 4)
    self.finished()
    return stream:done()
  end,
}

local Shout = websocket.handler "Shout" {
  open = function(self, ws, seed)
    self.seed = { seed }
    return ws:expect_message(10)
  end,
  message = function(self, ws, data)
    ws:send(data:upper() .. self.seed[1])
    return ws:expect_message(10)
  end,
  close = function(self) self.seed = nil end,
}

local Talker = websocket.handler "Talker" {
  open = function(self, ws, finished)
    self.finished, self.ws = finished, ws
    ws:send("hello")
    return ws:expect_message()
  end,
  message = function(self, ws, data)
    assert(data == "HELLO!")
    self.finished()
    return ws:close(4000, data)
  end,
  drop = function(self) self.ws = nil end,
}

local Child = rotor.machine "Child" {
  create = function(self, scope, seed)
    self.seed, self.junk = seed, { {}, {}, {} }
    return scope:ok(0.001)
  end,
  timeout = function(self, scope) return scope:done({ self.seed }) end,
}

local Parent = rotor.machine "Parent" {
  create = function(self, scope, finished)
    self.children, self.left, self.finished = {}, 3, finished
    return scope:spawn(Child, { 3 })
  end,
  spawned = function(self, scope, child)
    self.children[child] = self.left
    self.left = self.left - 1
    if self.left == 0 then return scope:ok() end
    return scope:spawn(Child, { self.left })
  end,
  child_done = function(self, scope, child, value)
    assert(self.children[child] == value[1][1])
    self.children[child] = nil
    if next(self.children) then return scope:ok() end
    self.finished()
    error("kaputt")
  end,
}

local servers = {
  assert(rotor.listen("127.0.0.1:0", Echo, { seed = 0 })),
  assert(rotor.listen("unix:@rotor-" .. tostring({}):match("0x(%x+)"), Echo, { seed = 1 })),
  assert(http.serve("127.0.0.1:0", function(req, res)
    for name, value in pairs(req.headers) do assert(#name + #value > 1) end
    if req.path == "/bad" then error("kaputt") end
    if req.path == "/ws" then return assert(websocket.upgrade(req, res, Shout, { seed = "!" })) end
    if req.path == "/now" then return res:header("X-" .. #req.body, req.remote):send(req.target) end
    local port, future = rotor.future()
    future:map(function(body) res:send(201, body .. req.headers.host) end)
    rotor.add(Child, function() port:set("body") end)
    rotor.add(rotor.machine "Late" {
      create = function(_, scope) return scope:ok(0.001) end,
      timeout = function(_, scope)
        port:set("body")
        return scope:done()
      end,
    })
  end)),
}

local function round()
  local left, ports = 6, {}
  local function finished(stream)
    if stream then assert(stream:peer()) end
    left = left - 1
    if left > 0 then return end
    done = done + 1
    if done == ROUNDS then rotor.stop() else round() end
  end
  for i = 1, 2 do assert(rotor.connect(servers[i]:address(), Client, { seed = finished })) end
  assert(rotor.connect(servers[3]:address(), Browser, { seed = finished }))
  local url = "ws://" .. servers[3]:address() .. "/ws"
  assert(websocket.connect(url, Talker, { seed = finished, protocols = { "a", "b" } }))
  assert(rotor.add(Parent, finished))
  local futures = {}
  for i = 1, 3 do
    ports[i], futures[i] = rotor.future()
    futures[i] = futures[i]:map(function(n) return { n } end):timeout(10)
  end
  rotor.all { rotor.first { futures[1], futures[2] }, futures[3] }
    :and_then(function(values)
      assert(values[1][1] == 2 and values[2][1] == 3)
      return rotor.all {}
    end)
    :map(function() finished() end)
  ports[2]:set(2)
  ports[3]:set(3)
end

rotor.on_signal("USR1", function() end)
round()
]]

describe("everything", function()
  local function everything(rounds, before, after)
    local code = ("local ROUNDS = %d\n%s\n%s\n%s"):format(rounds, before, EVERYTHING, after or "")
    return support.program(code)
  end

  -- In the thread of transitions, too.
  local HOOK = [[
    local function collect()
      collectgarbage()
    end
    local rotor = require "rotor"
    debug.sethook(collect, "", 97)
    rotor.add(rotor.machine "Hook" {
      create = function(_, scope)
        debug.sethook(collect, "", 23)
        return scope:done()
      end,
    })
  ]]
  local RUN = "rotor.run() assert(done == ROUNDS) print('all well', errors > 0)"

  it("works", function()
    assert.same({ "all well\ttrue\n", 0 }, { everything(50, "", RUN) })
  end)

  it("works while garbage is collected all the time", function()
    assert.same({ "all well\ttrue\n", 0 }, { everything(5, HOOK, RUN) })
  end)

  it("works with each kind of collector, as busy as can be", function()
    for _, kind in ipairs { "'generational', 1, 1", "'incremental', 1, 1000, 1" } do
      assert.same({ "all well\ttrue\n", 0 },
        { everything(5, ("collectgarbage(%s)"):format(kind), RUN) })
    end
    assert.same({ "all well\ttrue\n", 0 },
      { everything(2, "collectgarbage('generational', 1, 1)" .. HOOK, RUN) })
  end)

  it("may be open when the state closes, after any number of turns", function()
    for turns = 0, 24, 3 do
      for _, exit in ipairs { "", "os.exit(0, true)", "os.exit(0)" } do
        assert.same({ "", 0 },
          { everything(1000, "", ("for _ = 1, %d do rotor.turn() end %s"):format(turns, exit)) })
      end
    end
  end)

  it("may be closed with its loop after any number of turns", function()
    for turns = 0, 24, 3 do
      assert.same({ "closed\n", 0 }, { everything(1000, HOOK, ([[
        for _ = 1, %d do rotor.turn() end
        local loop = rotor.default()
        loop:close()
        collectgarbage()
        assert(not pcall(loop.count, loop))
        print "closed"
      ]]):format(turns)) })
    end
  end)

  it("may be used by finalizers that run when it is gone", function()
    local output, status = support.program([[
      -- Objects with finalizers go in the order opposite to that in which they were made: what is
      -- made before rotor goes last.
      local kept = {}
      local function use()
        local said = {}
        for name, call in pairs {
          loop = function() return kept.loop:count() end,
          default = function() return kept.rotor.count() end,
          new = function() return kept.rotor.loop() end,
          add = function() return kept.rotor.add(kept.other) end,
          handle = function() return kept.handle:wake() end,
          text = function() return tostring(kept.handle) end,
          stream = function() return kept.stream:write("x") end,
          future = function() return kept.future:get() end,
          port = function() return kept.port:set(1) end,
          notifier = function() return kept.notifier:wakeup() end,
          request = function() return kept.req.path end,
          response = function() return kept.res:send(200, "x") end,
        } do
          said[name] = select(2, pcall(call))
        end
        return said
      end
      local first = setmetatable({}, { __gc = function()
        kept.last = use()
        local names = {}
        for name in pairs(kept.last) do names[#names + 1] = name end
        print(#names > 5)
      end })
      local rotor = require "rotor"
      local http = require "rotor.http"
      kept.rotor, kept.loop = rotor, rotor.default()
      kept.port, kept.future = rotor.future()
      kept.type = rotor.machine "M" {
        create = function(_, scope)
          kept.notifier, kept.scope = scope:notifier(), scope
          return scope:ok()
        end,
        drop = function()
          use()
          print "dropped"
        end,
      }
      kept.other = rotor.machine "Other" { create = function(_, scope) return scope:ok() end }
      kept.handle = rotor.add(kept.type)
      local listener = http.serve("127.0.0.1:0", function(req, res)
        kept.req, kept.res = req, res
        rotor.stop()
      end)
      rotor.connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream)
          kept.stream = stream
          stream:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
          return stream:expect_bytes(1)
        end,
        drop = function() print "stream dropped" end,
      })
      rotor.run()
      local last = setmetatable({}, { __gc = use })
      _G.keep = { first, last }
    ]])
    assert.equal(0, status)
    assert.equal("dropped\nstream dropped\ntrue\n", output)
  end)

  it("drops its machines with their own transitions when the state closes", function()
    assert.same({ "drop 1\ndrop 2\ndrop 3\n", 0 }, { support.program([[
      local rotor = require "rotor"
      for i = 1, 3 do
        assert(rotor.add(rotor.machine "M" {
          name = "drop " .. i,
          create = function(_, scope) return scope:ok() end,
          drop = function(self) print(self.name) end,
        }))
      end
    ]]) })
  end)

  it("makes nothing new for those that end with it", function()
    local output, status = support.program([[
      local rotor = require "rotor"
      assert(rotor.add(rotor.machine "M" {
        create = function(_, scope) return scope:ok() end,
        drop = function() print(select(2, pcall(rotor.future))) end,
      }))
    ]])
    assert.same({ "the Lua state closes; nothing new can be made\n", 0 }, { output, status })
  end)
end)

describe("os.exit(5, true)", function()
  local function exits(code)
    assert.same({ "", 5 }, { support.program([[
      local rotor = require "rotor"
      local http = require "rotor.http"
      local function quit() os.exit(5, true) end
      local function ok(_, scope) return scope:ok(0) end
      local function add(transitions)
        transitions.create = transitions.create or ok
        rotor.add(rotor.machine "M" (transitions))
      end
      -- Something else that is open.
      add { create = function(_, scope) return scope:ok(10) end }
      assert(http.serve("127.0.0.1:0", print))
      local other = rotor.loop()
      other:add(rotor.machine "Other" {
        create = function(_, scope) return scope:ok() end,
        drop = function() local _ = {} end,
      })
    ]] .. code .. "\nrotor.run()") })
  end

  it("in a machine's transition", function()
    local child = [[rotor.machine "Child" {
      create = function(_, scope) return scope:done() end,
    }]]
    exits "add { create = quit }"
    exits "add { timeout = quit }"
    exits [[add {
      create = function(_, scope)
        scope:handle():wake()
        return scope:ok()
      end,
      wakeup = quit,
    }]]
    exits("add { create = function(_, scope) return scope:spawn(" .. child .. ") end, "
      .. "spawned = quit }")
    exits("add { create = function(_, scope) return scope:spawn(" .. child .. ") end, "
      .. "child_done = quit }")
    exits [[rotor.on_error(function() end)
    add {
      create = function(_, scope)
        return scope:spawn(rotor.machine "Bad" {
          create = function(_, bad) return bad:error("bad") end,
        })
      end,
      spawn_error = quit,
    }]]
    exits "add { create = function(_, scope) return scope:done() end, drop = quit }"
    exits "add { timeout = function() error('bad') end } rotor.on_error(quit)"
    exits "add { timeout = coroutine.wrap(quit) }"
    exits "add { timeout = function() setmetatable({}, { __gc = quit }) collectgarbage() end }"
    exits [[add { timeout = function()
      other:add(rotor.machine "Inner" { create = ok, timeout = quit })
      other:run()
    end }]]
    exits "add { drop = quit } rotor.default():close()"
  end)

  it("in a stream's transition", function()
    for transition, create in pairs {
      create = "return quit()",
      bytes_read = "return stream:expect_bytes(1)",
      bytes_flushed = "stream:write('x') return stream:expect_flush()",
      timeout = "return stream:sleep(0)",
      wakeup = "stream:handle():wake() return stream:sleep()",
      exception = "return stream:expect_bytes(2)",
      hangup = "return stream:sleep()",
      drop = "return stream:done()",
    } do
      exits(([[
        local transitions = { create = function(_, stream) %s end }
        transitions.%s = transitions.%s or quit
        local listener = assert(rotor.listen("127.0.0.1:0", rotor.protocol "P" (transitions)))
        assert(rotor.connect(listener:address(), rotor.protocol "C" {
          create = function(_, stream)
            stream:write("x")
            return stream:done()
          end,
        }))
      ]]):format(create, transition, transition))
    end
    exits [[
      local listener = assert(rotor.listen("127.0.0.1:0", rotor.protocol "P" { create = ok }))
      local address = listener:address()
      listener:close()
      rotor.turn()
      assert(rotor.connect(address, rotor.protocol "C" { create = ok, fatal = quit }))
    ]]
  end)

  it("in a handler", function()
    for _, how in ipairs { "", "res:send('x')" } do
      exits(([[
        local listener = assert(http.serve("127.0.0.1:0", function(_, res) %s quit() end))
        assert(rotor.connect(listener:address(), rotor.protocol "C" {
          create = function(_, stream)
            stream:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return stream:expect_bytes(1)
          end,
        }))
      ]]):format(how))
    end
  end)

  it("in a function of a future", function()
    for _, method in ipairs { "map", "and_then" } do
      exits(([[
        local port, future = rotor.future()
        future:%s(quit)
        port:set(1)
      ]]):format(method))
    end
  end)

  it("on a signal", function()
    exits [[
      rotor.on_signal("USR1", quit)
      add { timeout = function(_, scope)
        local file <close> = io.open("/proc/self/stat")
        os.execute("kill -USR1 " .. file:read("n"))
        return scope:done()
      end }
    ]]
  end)
end)
