local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"
local websocket = require "rotor.websocket"

describe("websocket", function()
  local scene = support.scene()
  local loop, address, log
  before_each(function()
    scene.begin()
    loop, log = scene.loop(), {}
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  local function note(...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    log[#log + 1] = table.concat(words, " ")
  end

  -- What both ends have noted, apart from each other: which of them is first is not said.
  local function noted(who)
    local lines = {}
    for _, line in ipairs(log) do
      local rest = line:match("^" .. who .. " (.*)")
      if rest then lines[#lines + 1] = rest end
    end
    return table.concat(lines, "; ")
  end

  local Until = rotor.machine "Until" {
    create = function(self, scope, done)
      self.done = done
      return scope:ok(0.001)
    end,
    timeout = function(self, scope)
      if not self.done() then return scope:ok(0.001) end
      loop:stop()
      return scope:done()
    end,
  }

  local function run_until(done)
    assert(loop:add(Until, done))
    support.run(loop)
  end

  local function serve(handler, options)
    address = assert(http.serve(loop, "127.0.0.1:0", function(req, res)
      local ok, _, name = websocket.upgrade(req, res, handler, options)
      if not ok then note("refused", name) end
    end)):address()
  end

  -- Connect, and run until this end is closed and the other one, too, if it was opened.
  local function connect(handler, options)
    local handle = assert(websocket.connect(loop, "ws://" .. address .. "/chat", handler, options))
    support.run(loop)
    return handle
  end

  -- A handler that notes what happens to it and does what it is told to; the client's end stops
  -- the loop.
  local function noting(who, transitions, options)
    local given = {}
    for _, name in ipairs { "open", "message", "ping", "pong", "flushed", "timeout", "wakeup" } do
      local act = transitions[name]
      if act ~= false then
        given[name] = function(self, ws, ...)
          note(who, name, ...)
          if act then return act(self, ws, ...) end
          return ws:expect_message()
        end
      end
    end
    given.message_chunk = transitions.message_chunk
    if given.message_chunk then given.message = nil end
    given.close = function(self, ws, code, reason, name)
      note(who, "close", code, reason, name)
      if transitions.close then transitions.close(self, ws, code, reason, name) end
    end
    given.drop = function(self, ws)
      if transitions.drop then transitions.drop(self, ws) end
      note(who, "drop")
      if who == "client" and loop then loop:stop() end
    end
    return websocket.handler(who, options)(given)
  end

  local function echo(_, ws, data, kind)
    if kind == "text" then ws:send(data) else ws:send_binary(data) end
    return ws:expect_message()
  end

  describe("messages", function()
    it("go both ways, text and binary", function()
      local all = {}
      for byte = 0, 255 do all[#all + 1] = string.char(byte) end
      all = table.concat(all)
      serve(noting("server", { message = echo }))
      local rest = { "", "é€😀", ("x"):rep(70000) }
      connect(noting("client", {
        open = function(_, ws)
          assert(ws:send("hello"))
          assert(ws:send(42))
          assert(ws:send_binary(all))
          return ws:expect_message()
        end,
        message = function(_, ws, data, kind)
          if kind == "binary" then assert.equal(all, data) end
          if data == "42" or kind == "text" and data ~= "hello" then
            local text = table.remove(rest)
            if not text then return ws:close() end
            ws:send(text)
          end
          return ws:expect_message()
        end,
      }))
      local said = { "open nil", "message hello text", "message 42 text",
                     "message " .. all .. " binary", "message " .. ("x"):rep(70000) .. " text",
                     "message é€😀 text", "message  text", "close 1000  nil" }
      assert.equal(table.concat(said, "; "), (noted "server":gsub("; drop$", "")))
      assert.equal(table.concat(said, "; ") .. "; drop", noted "client")
    end)

    it("may be sent in fragments, and told in pieces", function()
      local pieces, lasts = {}, 0
      serve(noting("server", {
        message_chunk = function(_, ws, data, kind, last)
          pieces[#pieces + 1] = data
          if not last then return ws:expect_message() end
          lasts = lasts + 1
          ws:send(kind .. " " .. #table.concat(pieces))
          pieces = {}
          return ws:expect_message()
        end,
      }))
      connect(noting("client", {
        open = function(_, ws)
          ws:send_fragment("a\xe2\x82", false)
          assert.error_matches(function() ws:send("x") end, "a message is being sent in fragments")
          ws:ping("between")
          ws:send_fragment("\xac", false, "binary") -- which it is not, as it has begun as text
          ws:send_fragment("", true)
          ws:send_fragment(("x"):rep(200000), false, "binary")
          ws:send_fragment("y", true)
          return ws:expect_message()
        end,
        message = function(_, ws, data)
          return data == "binary 200001" and ws:close() or ws:expect_message()
        end,
      }))
      assert.equal(2, lasts)
      assert.equal("open nil; pong between; message text 4 text; message binary 200001 text; "
        .. "close 1000  nil; drop", noted "client")
    end)

    it("are limited", function()
      serve(noting("server", { message = echo }, { max_message = 4 }))
      connect(noting("client", {
        open = function(_, ws)
          ws:send("1234")
          ws:send("12345")
          return ws:expect_message()
        end,
      }))
      assert.matches("^open nil; message 1234 text; close 1009 message too large "
        .. "%(section 7.4.1%) WEBSOCKET_ESIZE", noted "server")
      assert.equal("open nil; message 1234 text; close 1009 message too large (section 7.4.1) nil; "
        .. "drop", noted "client")
    end)

    it("are refused by a handler that has no transition for them", function()
      serve(noting("server", { message = false }))
      connect(noting("client", {
        open = function(_, ws)
          ws:send("x")
          return ws:expect_message()
        end,
      }))
      assert.matches("; close 1003 messages are not taken here", noted "client")
    end)
  end)

  describe("a WebSocket", function()
    it("has a self, a seed, a subprotocol, addresses, and a name", function()
      serve(noting("server", {
        open = function(self, ws, seed)
          self.seed = seed
          note("server", ws:protocol(), ws:peer() ~= ws:address(), tostring(ws))
          return ws:expect_message()
        end,
        message = function(self, ws)
          ws:send(self.seed)
          return ws:expect_message()
        end,
      }), { seed = "sown", protocols = { "v2", "v1" } })
      connect(noting("client", {
        open = function(_, ws, seed)
          note("client", ws:protocol(), ws:peer() == address, seed == loop, ws:loop() == loop,
               ws:is_open(), ws:ended(), math.type(ws:now()), ws:handle():alive())
          ws:send("?")
          return ws:expect_message()
        end,
        message = function(_, ws, data)
          return ws:close(4000, data)
        end,
      }), { seed = loop, protocols = { "v1", "v3" }, timeout = 5, headers = { Cookie = "a=b" } })
      assert.matches("^open sown; v1 true rotor.websocket: server; message %? text; "
        .. "close 4000 sown nil", noted "server")
      assert.matches("v1 true true true true false float true; message sown text; "
        .. "close 4000  nil; drop$", noted "client")
    end)

    it("shows the server what it has asked with", function()
      local seen = {}
      address = assert(http.serve(loop, "127.0.0.1:0", http.handler "Web" {
        request_received = function(_, req, res)
          seen = { req.target, req.headers.host, req.headers.cookie, req.headers["x-number"] }
          res:header("X-Extra", "yes")
          assert(websocket.upgrade(req, res, noting("server", {}), { origins = "*" }))
          return req:done()
        end,
      })):address()
      assert(websocket.connect(loop, "ws://example.org/a?b", noting("client", {
        open = function(_, ws) return ws:done() end,
      }), { address = address, headers = { Cookie = "a=b", ["X-Number"] = 7, Origin = "null" } }))
      support.run(loop)
      assert.same({ "/a?b", "example.org", "a=b", "7" }, seen)
      assert.equal("open nil; close 1000  nil; drop", noted "client")
    end)

    it("pings and is pinged", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws)
          ws:ping()
          ws:ping("data")
          return ws:expect_message()
        end,
        pong = function(_, ws, data)
          return data == "data" and ws:close() or ws:same()
        end,
      }))
      assert.matches("^open nil; ping ; ping data; close 1000  nil", noted "server")
      assert.equal("open nil; pong ; pong data; close 1000  nil; drop", noted "client")
    end)

    it("asks who is silent, and gives up who does not answer", function()
      serve(noting("server", { open = function(_, ws) return ws:sleep() end }))
      connect(noting("client", {}, { ping_interval = 0.005, pong_timeout = 0.005 }))
      assert.equal("open nil; close 1006 peer did not answer a ping in time WEBSOCKET_ESILENT; "
        .. "drop", noted "client")
    end)

    it("asks no more often than it is told to", function()
      serve(noting("server", {}, { ping_interval = 0.003 }))
      connect(noting("client", {
        ping = function(self, ws)
          self.pings = (self.pings or 0) + 1
          return self.pings == 3 and ws:close() or ws:same()
        end,
      }, { ping_interval = false }))
      assert.equal("open nil; ping ; ping ; ping ; close 1000  nil; drop", noted "client")
    end)

    it("has deadlines and can be woken", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws) return ws:expect_message(0.002) end,
        timeout = function(_, ws)
          ws:handle():wake()
          return ws:sleep()
        end,
        wakeup = function(_, ws) return ws:close() end,
      }))
      assert.equal("open nil; timeout; wakeup; close 1000  nil; drop", noted "client")
    end)

    it("closes when nobody hears of its deadline", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws) return ws:expect_message(0.002) end,
        timeout = false,
      }))
      assert.equal("open nil; close 1001  nil; drop", noted "client")
    end)

    it("waits until output is sent", function()
      local most = 0
      serve(noting("server", {
        open = function(self, ws)
          self.left = 40
          ws:send_binary(("x"):rep(100000))
          return ws:and_flush(ws:expect_message(), 1000)
        end,
        flushed = function(self, ws)
          most = math.max(most, ws:unsent())
          self.left = self.left - 1
          if self.left == 0 then return ws:close() end
          ws:send_binary(("x"):rep(100000))
          return ws:expect_flush(1000)
        end,
      }))
      local n = 0
      connect(noting("client", {
        message_chunk = function(_, ws, data)
          n = n + #data
          return ws:expect_message()
        end,
      }, { max_message = 100000 }))
      assert.equal(4000000, n)
      assert(most <= 1000)
      assert.equal("open nil; close 1000  nil; drop", noted "client")
    end)

    it("complains about a flush that nobody hears of", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws) return ws:expect_flush() end,
        flushed = false,
      }))
      assert.equal("open nil; close 1011 error in a Lua transition, told to on_error ELUA; drop",
        noted "client")
      assert.equal("client: EUNEXPECTED: the machine has no transition for what happened (flushed)",
        scene.error())
    end)
  end)

  describe("closing", function()
    it("tells both ends code and reason", function()
      serve(noting("server", {
        open = function(_, ws)
          assert.is_true(ws:is_open())
          local intent = ws:close(4321, "größer")
          assert.is_false(ws:is_open())
          assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { ws:send("late") })
          return intent
        end,
      }))
      connect(noting("client", {}))
      assert.equal("open nil; close 4321 größer nil; drop", noted "client")
      assert.matches("^open nil; close 4321  nil", noted "server")
    end)

    it("may be done from elsewhere, as sending may", function()
      local kept
      serve(noting("server", {
        open = function(_, ws)
          kept = ws
          return ws:sleep()
        end,
      }))
      assert(loop:add(rotor.machine "Elsewhere" {
        create = function(_, scope) return scope:ok(0.001) end,
        timeout = function(_, scope)
          if not kept then return scope:ok(0.001) end
          assert(kept:send("one") and kept:ping("two") and kept:close(1001))
          assert.error_matches(function() kept:expect_message() end,
            "only a WebSocket's own transitions may say what it waits for")
          assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:close() })
          return scope:done()
        end,
      }))
      connect(noting("client", {}))
      assert.equal("open nil; message one text; ping two; close 1001  nil; drop", noted "client")
      run_until(function() return kept:ended() end)
      assert.is_true(kept:ended() and not kept:is_open())
      assert.equal("rotor.websocket: (ended)", tostring(kept))
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:send("late") })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:close() })
      assert.error_matches(function() kept:peer() end, "the WebSocket has ended")
      kept = nil
    end)

    it("may be abrupt", function()
      serve(noting("server", { message = function(_, ws) return ws:abort() end }))
      connect(noting("client", {
        open = function(_, ws)
          ws:send("x")
          return ws:expect_message()
        end,
      }))
      assert.matches("^open nil; close 1006 peer closed before the expected bytes came EEOF; drop",
        noted "client")
      assert.matches("close 1006 canceled ECANCELED", noted "server")
    end)

    it("is given up when the peer does not answer", function()
      serve(noting("server", { open = function(_, ws) return ws:sleep() end }))
      connect(noting("client", {
        open = function(_, ws) return ws:close() end,
      }, { close_timeout = 0.005 }))
      assert.equal("open nil; close 1006 peer did not answer the close in time "
        .. "WEBSOCKET_EUNCLOSED; drop", noted "client")
    end)

    it("is told when the loop or the handle closes it", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws)
          ws:handle():close()
          return ws:expect_message()
        end,
      }))
      assert.equal("open nil; close 1006 canceled ECANCELED; drop", noted "client")
      log = {}
      assert(websocket.connect(loop, "ws://" .. address, noting("client", {
        open = function(_, ws)
          loop:stop()
          return ws:expect_message()
        end,
      })))
      support.run(loop)
      assert.equal("open nil", noted "client")
      loop:close()
      assert.equal("open nil; close 1006 canceled ECANCELED; drop", noted "client")
    end)
  end)

  describe("an error", function()
    it("ends its WebSocket only, with its traceback", function()
      serve(noting("server", {
        message = function(_, ws, data)
          if data == "bad" then error("oh no") end
          ws:send(data)
          return ws:expect_message()
        end,
      }))
      local kept
      local bad = noting("bad", {
        open = function(_, ws)
          ws:send("bad")
          return ws:expect_message()
        end,
        drop = function() kept:send("good") end,
      })
      connect(noting("client", {
        open = function(_, ws)
          kept = ws
          assert(websocket.connect(loop, "ws://" .. address, bad))
          return ws:expect_message()
        end,
        message = function(_, ws) return ws:close() end,
      }))
      kept = nil
      local message = scene.error()
      assert.matches("^server: message: .*websocket_spec.lua:%d+: oh no", message)
      assert.matches("stack traceback:", message, 1, true)
      assert.matches("close 1011 error in a Lua transition", noted "bad")
      assert.equal("open nil; message good text; close 1000  nil; drop", noted "client")
    end)

    it("may be said", function()
      serve(noting("server", {}))
      connect(noting("client", { open = function(_, ws) return ws:error("never mind") end }))
      assert.equal("client: open: never mind", scene.error())
      assert.matches("close 1011 ", noted "server")
    end)

    it("is to return nothing, or what was asked for earlier", function()
      local first
      for said, open in pairs {
        ["open returned nothing; it returns what ws:expect_message, expect_flush, and_flush, "
          .. "sleep, same, done, close, abort or error does"] = function() end,
        ["open returned number; it returns "] = function() return 1 end,
        ["open returned what another has asked for, or asked for earlier; "] = function(_, ws)
          first = ws:expect_message()
          ws:sleep()
          return first
        end,
      } do
        serve(noting("server", {}))
        connect(noting("client", { open = open }))
        local message = scene.error()
        assert(message:find(said, 1, true), message)
        assert.matches("client: open: .*websocket_spec.lua:%d+: ", message)
      end
    end)

    it("in close and drop is reported, too", function()
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws) return ws:close() end,
        close = function() error("in close") end,
      }))
      assert.matches("^client: close: .*in close", scene.error())
    end)
  end)

  describe("misuse", function()
    it("throws where it was done", function()
      local calls = {
        ["ws:send('\\xff')"] = "bad argument #1 to 'send' (text is not UTF-8; send_binary sends "
          .. "any bytes)",
        ["ws:send()"] = "bad argument #1 to 'send' (string or buf expected, got no value)",
        ["ws:send({})"] = "bad argument #1 to 'send' (string or buf expected, got table)",
        ["ws:send_fragment('x')"] = "bad argument #2 to 'send_fragment' (boolean expected, got no "
          .. "value)",
        ["ws:send_fragment('x', true, 'blob')"] = "bad argument #3 to 'send_fragment' (invalid "
          .. "option 'blob')",
        ["ws:ping(('x'):rep(126))"] = "bad argument #1 to 'ping' (at most 125 bytes expected)",
        ["ws:close(1005)"] = "bad argument #1 to 'close' (a code that may be sent expected: "
          .. "1000 to 1003, 1007 to 1014, 3000 to 4999)",
        ["ws:close(5000)"] = "bad argument #1 to 'close' (a code that may be sent expected: ",
        ["ws:close(1000, ('x'):rep(124))"] = "bad argument #2 to 'close' (at most 123 bytes of "
          .. "UTF-8 expected)",
        ["ws:close(1000, '\\xff')"] = "bad argument #2 to 'close' (at most 123 bytes of UTF-8",
        ["ws:expect_message(-1)"] = "bad argument #1 to 'expect_message' (seconds expected, at "
          .. "least 0)",
        ["ws:expect_flush(-1)"] = "bad argument #1 to 'expect_flush' (a number of bytes expected)",
        ["ws:and_flush(ws:done(), 1)"] = "bad argument #1 to 'and_flush' (what expect_message or "
          .. "sleep of this WebSocket returns expected)",
        ["ws:and_flush(nil, 1)"] = "bad argument #1 to 'and_flush' (what expect_message or sleep",
        ["ws:nonsense()"] = "attempt to call a nil value (method 'nonsense')",
        ["ws.send({}, 'x')"] = "bad argument #1 to 'send' (rotor.websocket expected, got table)",
      }
      serve(noting("server", {}))
      connect(noting("client", {
        open = function(_, ws)
          for code, expected in pairs(calls) do
            local ok, message = pcall(assert(load(code, "=there", "t", { ws = ws })))
            assert.is_false(ok)
            assert(message:find("there:1: " .. expected, 1, true), code .. ": " .. message)
          end
          return ws:close()
        end,
      }))
      assert.equal("open nil; close 1000  nil; drop", noted "client")
    end)

    it("of a declaration names what was meant", function()
      for expected, code in pairs {
        ['handler "X": no transition is called on_message; did you mean message? (other functions '
          .. 'go outside the table)'] = "websocket.handler 'X' { on_message = print }",
        ['handler "X": no transition is called closed; did you mean close?'] =
          "websocket.handler 'X' { closed = print }",
        ['handler "X": message is a transition, so a function is expected, got string'] =
          "websocket.handler 'X' { message = 'x' }",
        ['handler "X": message is never called next to message_chunk'] =
          "websocket.handler 'X' { message = print, message_chunk = print }",
        ['handler "X": the transitions go behind the name: websocket.handler "X" { … }'] =
          "websocket.handler('X', { message = print })",
        ['handler "X": a table of transitions expected, got nil'] = "websocket.handler 'X' (nil)",
        ["websocket.handler: a name expected, got table"] = "websocket.handler { message = print }",
        ["unknown option 'max'; known are: max_message, max_fragments, ping_interval, "
          .. "pong_timeout, close_timeout, high_water, stall_timeout, turns"] =
          "websocket.handler('X', { max = 1 }) {}",
        ["option 'ping_interval': seconds expected, more than 0 and less than 50 days, got true"] =
          "websocket.handler('X', { ping_interval = true }) {}",
        ["option 'max_message': an integer from 1 to "] =
          "websocket.handler('X', { max_message = 0 }) {}",
      } do
        local ok, message = pcall(assert(load(code, "=there", "t", {
          websocket = websocket, print = print,
        })))
        assert.is_false(ok)
        assert(message:find("there:1: ", 1, true) and message:find(expected, 1, true), message)
      end
    end)

    it("of upgrade and connect throws, too", function()
      local W = websocket.handler "W" {}
      local env = { websocket = websocket, W = W, loop = loop }
      local function throws(code, expected)
        local ok, message = pcall(assert(load(code, "=there", "t", env)))
        assert.is_false(ok)
        assert(message:find("there:1: " .. expected, 1, true), code .. ": " .. message)
      end
      throws("websocket.connect(loop, 'ws://h', {})", "bad argument #3 to 'connect' "
        .. "(rotor.websocket.handler expected, got table)")
      throws("websocket.connect(loop, 'ws://h', W, { protocols = { 'a b' } })",
        "option 'protocols': tokens expected, and none of them twice")
      throws("websocket.connect(loop, 'ws://h', W, { protocols = 7 })",
        "option 'protocols': a string or a list of strings expected, got number")
      throws("websocket.connect(loop, 'ws://h', W, { protocols = { 7 } })",
        "option 'protocols': a list of strings without NULs expected")
      throws("websocket.connect(loop, 'ws://h', W, { headers = { Upgrade = 'x' } })",
        "option 'headers': invalid header: not a token, CR, LF or NUL in a value, or not to be set")
      throws("websocket.connect(loop, 'ws://h', W, { headers = { 'x' } })",
        "option 'headers': names and values that are strings expected")
      throws("websocket.connect(loop, 'ws://h', W, { headers = 'x' })",
        "option 'headers': a table expected, got string")
      throws("websocket.connect(loop, 'ws://h', W, { timeout = 0 })",
        "option 'timeout': seconds expected")
      throws("websocket.connect(loop, 'ws://h\\0', W)", "bad argument #2 to 'connect'")
      throws("websocket.upgrade({}, {}, W)", "bad argument #1 to 'upgrade' (rotor.http.request "
        .. "expected, got table)")
      address = assert(http.serve(loop, "127.0.0.1:0", function(req, res)
        env.req, env.res = req, res
        throws("websocket.upgrade(req, req, W)", "bad argument #2 to 'upgrade'")
        throws("websocket.upgrade(req, res, 'W')", "bad argument #3 to 'upgrade'")
        throws("websocket.upgrade(req, res, W, { origin = 'x' })", "unknown option 'origin'")
        res:send("answered")
        throws("websocket.upgrade(req, res, W)", "the request was answered before; it is answered "
          .. "once")
      end)):address()
      connect(websocket.handler "Client" {
        close = function(_, _, ...)
          note("client close", ...)
          loop:stop()
        end,
      })
      assert.equal("close 1006 the server has answered 200 OK WEBSOCKET_EREFUSED nil",
        noted "client")
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" },
        { websocket.upgrade(env.req, env.res, W) })
      env.req, env.res, env.loop = nil, nil, nil
    end)
  end)

  describe("a handshake", function()
    local function refused(handler, options)
      connect(handler or websocket.handler "Client" {
        open = error,
        close = function(_, ws, code, reason, name, seed)
          note("client close", code, reason, name, seed)
          note("client", ws:is_open(), (ws:send("x")))
          loop:stop()
        end,
        drop = error,
      }, options)
    end

    it("is refused to pages of other sites, unless they are listed", function()
      local server = noting("server", {})
      serve(server)
      refused(nil, { headers = { Origin = "http://evil.example" } })
      assert.equal("WEBSOCKET_EORIGIN", noted "refused")
      assert.equal("close 1006 the server has answered 403 Forbidden WEBSOCKET_EREFUSED nil; "
        .. "false nil", noted "client")
      log = {}
      serve(server, { origins = { "http://evil.example", "http://more.example" } })
      connect(noting("client", { open = function(_, ws) return ws:done() end }),
        { headers = { Origin = "http://evil.example" } })
      assert.equal("open nil; close 1000  nil; drop", noted "client")
    end)

    it("is answered when it is none", function()
      serve(noting("server", {}))
      local answer = support.exchange(loop, address,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      assert.matches("^HTTP/1.1 426 Upgrade Required\r\n", answer)
      assert.matches("\r\nUpgrade: websocket\r\n", answer)
      assert.equal("WEBSOCKET_EHANDSHAKE", noted "refused")
    end)

    it("that fails is told to close, with the seed", function()
      address = "127.0.0.1:1"
      refused(nil, { seed = "sown" })
      assert.equal("close 1006 connection refused ECONNREFUSED sown; false nil", noted "client")
    end)

    it("that fails and is told to nobody is an error", function()
      address = "127.0.0.1:1"
      assert(websocket.connect(loop, "ws://" .. address, websocket.handler "Deaf" {}))
      loop:on_error(function(message)
        note("error", message)
        loop:stop()
      end)
      support.run(loop)
      assert.equal("Deaf: ECONNREFUSED: connection refused (127.0.0.1:1)", noted "error")
      local server = assert(http.serve(loop, "127.0.0.1:0", function(_, res) res:send(404) end))
      address = server:address()
      log = {}
      assert(websocket.connect(loop, "ws://" .. address, websocket.handler "Deaf" {}))
      support.run(loop)
      assert.equal("Deaf: WEBSOCKET_EREFUSED: server has not accepted the WebSocket (section 4.1) ("
        .. address .. ")", noted "error")
    end)

    it("of a URL that is none is refused at once", function()
      local W = websocket.handler "W" {}
      for url, expected in pairs {
        ["wss://h/"] = "WEBSOCKET_ETLS: wss:// needs TLS, which this rotor does not have "
          .. "(wss://h/)",
        ["http://h/"] = "WEBSOCKET_EURL: not a WebSocket URL: expected ws://HOST[:PORT][/PATH]"
          .. "[?QUERY] (section 3) (http://h/)",
        ["ws://u:p@h/"] = "HTTP_EUSERINFO: a URL with user information; set an Authorization "
          .. "header instead (ws://u:p@h/)",
      } do
        local handle, message, name = websocket.connect(loop, url, W, { seed = {} })
        assert.is_nil(handle)
        assert.equal(expected, message)
        assert.equal(expected:match("^[^:]+"), name)
      end
    end)

    it("may be called off", function()
      address = assert(http.serve(loop, "127.0.0.1:0", function() end)):address()
      local handle = assert(websocket.connect(loop, "ws://" .. address,
        websocket.handler "Client" { open = error, close = error, drop = error }, { seed = {} }))
      assert(handle:close())
      loop:turn()
      assert.is_false(handle:alive())
    end)

    it("uses the default loop when none is given", function()
      local output, status = support.program [[
        local rotor, http = require "rotor", require "rotor.http"
        local websocket = require "rotor.websocket"
        local Shout = websocket.handler "Shout" {
          message = function(_, ws, data)
            ws:send(data:upper())
            return ws:expect_message()
          end,
        }
        local server = assert(http.serve("127.0.0.1:0", function(req, res)
          assert(websocket.upgrade(req, res, Shout))
        end))
        assert(websocket.connect("ws://" .. server:address(), websocket.handler "Client" {
          open = function(_, ws)
            ws:send("hello")
            return ws:expect_message()
          end,
          message = function(_, ws, data)
            print(data)
            if data == "STOP" then os.exit(true, true) end -- with everything open
            ws:send("stop")
            return ws:expect_message()
          end,
          close = print,
        }))
        rotor.run()
      ]]
      assert.equal("HELLO\nSTOP\n", output)
      assert(status)
    end)
  end)

  -- Node's is that of the browsers' standard; before version 22 it has to be asked for it.
  it("talks with another's", function()
    local node = "node --no-warnings --experimental-websocket"
    local try = " -e 'new WebSocket(`ws://127.0.0.1:1`).onerror = () => {}' 2>&-"
    if not os.execute(node .. try) then
      return pending("there is no node with WebSockets")
    end
    local over = false
    serve(noting("server", {
      message = function(_, ws, data, kind)
        ws:ping("are you there")
        if kind == "text" then
          ws:send_fragment(data, false)
          ws:send_fragment("!", true)
        else
          ws:send_binary(data)
        end
        return ws:expect_message()
      end,
      drop = function() over = true end,
    }), { protocols = "echo" })
    local pipe = assert(io.popen(("%s - %s 2>&1 <<'END'\n%s\nEND"):format(node, address, [[
      const ws = new WebSocket("ws://" + process.argv[2], ["other", "echo"])
      const said = ["grüß Gott", "x".repeat(200000), new Uint8Array(70000).fill(255)]
      ws.binaryType = "arraybuffer"
      ws.onopen = () => {
        console.log("open", ws.protocol, JSON.stringify(ws.extensions))
        for (const data of said) ws.send(data)
      }
      ws.onmessage = ({ data }) => {
        const expected = said.shift()
        if (typeof data == "string")
          console.log("text", data.length, data == expected + "!")
        else
          console.log("binary", Buffer.compare(Buffer.from(data), Buffer.from(expected)) == 0)
        if (said.length == 0) ws.close(4000, "größer")
      }
      ws.onclose = event => console.log("close", event.code, event.reason, event.wasClean)
    ]])))
    run_until(function() return over end)
    assert.equal('open echo ""\ntext 10 true\ntext 200001 true\nbinary true\n'
      .. 'close 4000  true\n', pipe:read("a"))
    pipe:close()
    assert.equal(3, select(2, noted "server":gsub("pong are you there", "")))
    assert.matches("close 4000 größer nil; drop$", noted "server")
  end)

  it("is collected, whatever is kept of it", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local Client = noting("client", {
        open = function(self, ws, seed)
          weak[self], weak[ws], weak[seed] = true, true, true
          self.ws = ws -- a cycle
          return ws:close()
        end,
      })
      weak[Client] = true
      serve(noting("server", {}))
      connect(Client, { seed = {} })
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)
end)
