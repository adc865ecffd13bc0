local http = require "rotor.http"
local rotor = require "rotor"
local support = require "spec.support"
local task = require "rotor.task"
local websocket = require "rotor.websocket"
local descriptors = assert(package.loadlib(support.shared "descriptors", "luaopen_descriptors"))()

describe("a buf", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  it("is filled at the back and taken at the front", function()
    local buf = rotor.buf()
    assert.equal(0, #buf)
    assert.equal("rotor.buf: 0 bytes", tostring(buf))
    assert.equal("", buf:take())
    buf:append("a", 12, 0.5, "\0", "")
    assert.equal("rotor.buf: 7 bytes", tostring(buf))
    assert.equal("a1", buf:peek(2))
    assert.equal("a1", buf:take(2))
    assert.equal("", buf:take(0))
    buf:consume(1)
    assert.equal("0.5\0", buf:peek())
    assert.equal("0.5\0", buf:take())
    assert.equal(0, #buf)
  end)

  it("begins with what it is given, also of bufs, itself included", function()
    local buf = rotor.buf("ab", 1, rotor.buf("c"))
    buf:append("-", buf, "-", buf)
    assert.equal("ab1c-ab1c-ab1c", buf:peek())
    assert.equal("rotor.buf: 1 byte", tostring(rotor.buf("x")))
  end)

  it("is split, and the parts are independent", function()
    for n = 0, 6 do
      local buf = rotor.buf("abcdef")
      local head = buf:split(n)
      assert.same({ ("abcdef"):sub(1, n), ("abcdef"):sub(n + 1) }, { head:peek(), buf:peek() })
      head:append("!")
      buf:append("?")
      assert.same({ ("abcdef"):sub(1, n) .. "!", ("abcdef"):sub(n + 1) .. "?" },
        { head:peek(), buf:peek() })
    end
    local buf = rotor.buf("abc")
    assert.equal("abc", buf:split():take())
    assert.equal(0, #buf)
  end)

  it("finds what is in it, also when that came in parts", function()
    local buf = rotor.buf("GET /\r")
    assert.is_nil(buf:find("\r\n"))
    buf:append("\nHost: a\r\n")
    assert.equal(5, buf:find("\r\n"))
    assert.equal("GET /", buf:take(buf:find("\r\n")))
    assert.equal(0, buf:find("\r\n"))
    assert.equal(9, buf:find("\r\n", 1))
    assert.is_nil(buf:find("\r\n", 10))
    assert.is_nil(buf:find("\r\n", 1000))
    assert.is_nil(buf:find("\r\n", math.maxinteger))
    assert.equal(6, buf:find(":", 0))
  end)

  it("does what a string would, in 10,000 random steps", function()
    local random = support.random(7)
    local buf, string = rotor.buf(), ""
    for step = 1, 10000 do
      local n = random(math.min(#string, 40) + 1) - 1
      local what = random(6)
      if what <= 2 then
        local more = ("ab,"):rep(random(9)):sub(random(3))
        buf:append(more)
        string = string .. more
      elseif what == 3 then
        if string:sub(1, n) ~= buf:take(n) then error("step " .. step) end
        string = string:sub(n + 1)
      elseif what == 4 then
        buf:consume(n)
        string = string:sub(n + 1)
      elseif what == 5 then
        local rest = rotor.buf(buf:split(n), buf:take())
        if rest:peek() ~= string then error("step " .. step) end
        buf = rest
      else
        local delimiter = ({ ",", "b,a", "aa" })[random(3)]
        local at = string:find(delimiter, n + 1, true)
        if buf:find(delimiter, n) ~= (at and at - 1) then error("step " .. step) end
      end
      if #buf ~= #string or buf:peek() ~= string then error("step " .. step) end
    end
  end)

  it("says what was wrong, and is as it was", function()
    local buf = rotor.buf("abc")
    for call, message in pairs {
      ["buf:take(4)"] = "bad argument #1 to 'take' (4 bytes asked for, there are 3)",
      ["buf:peek(-1)"] = "bad argument #1 to 'peek' (-1 bytes asked for, there are 3)",
      ["buf:consume()"] = "bad argument #1 to 'consume' (number expected, got no value)",
      ["buf:consume(9)"] = "bad argument #1 to 'consume' (9 bytes asked for, there are 3)",
      ["buf:split('x')"] = "bad argument #1 to 'split' (number expected, got string)",
      ["buf:append('x', {})"] = "bad argument #2 to 'append' (string or buf expected, got table)",
      ["buf:append('x', nil)"] = "bad argument #2 to 'append' (string or buf expected, got nil)",
      ["buf:find('')"] = "bad argument #1 to 'find' (at least one byte expected)",
      ["buf:find('a', -1)"] = "bad argument #2 to 'find' (an offset from 0 on expected)",
      ["buf.find('abc', 'a')"] = "bad argument #1 to 'find' (rotor.buf expected, got string)",
      ["rotor.buf(true)"] = "bad argument #1 to 'buf' (string or buf expected, got boolean)",
    } do
      local ok, got = pcall(load(call, "=", "t", { buf = buf, rotor = rotor }))
      assert.is_false(ok)
      assert.equal(message, (got:gsub("^:1: ", "")))
      assert.equal("abc", buf:peek())
    end
  end)

  it("holds nothing any more when it is closed", function()
    local kept
    do
      local buf <close> = rotor.buf("abc")
      kept = buf
    end
    assert.equal(0, #kept)
    kept:append("again")
    assert.equal("again", kept:peek())
  end)

  it("gives each byte once, to finalizers, too", function()
    collectgarbage("incremental", 10, 1000, 5)
    local buf, seen, n, on, finalized = rotor.buf(), {}, 0, true, 0
    local function take()
      if #buf < 600 then return end
      for number in buf:take(300):gmatch "%d+" do seen[number] = (seen[number] or 0) + 1 end
    end
    local function arm()
      setmetatable({}, { __gc = function()
        if not on then return end
        finalized = finalized + 1
        take()
        arm()
      end })
    end
    arm()
    local rounds = 0
    repeat -- the more there is in this Lua state, the longer it takes the collector to come round
      rounds = rounds + 1
      for _ = 1, 30 do
        n = n + 1
        buf:append(("%09d\n"):format(n))
      end
      take()
    until rounds >= 500 and finalized >= 20 or rounds == 50000
    on = false
    collectgarbage("incremental", 200, 100, 13)
    for number in buf:take():gmatch "%d+" do seen[number] = (seen[number] or 0) + 1 end
    assert(finalized >= 20)
    for i = 1, n do
      if seen[("%09d"):format(i)] ~= 1 then error(i .. " was not seen once") end
    end
  end)

  it("counts for the collector, by what is in it", function()
    local bufs, alive = 0, 0
    local bytes = ("x"):rep(1 << 16)
    for _ = 1, 400 do
      local buf = rotor.buf(bytes)
      bufs = bufs + #buf
      alive = alive + 1
      setmetatable({ buf = buf }, { __gc = function() alive = alive - 1 end })
    end
    assert(alive < 300, alive .. " of 400 are left")
    assert.equal(400 << 16, bufs)
  end)

  describe("is taken where strings are:", function()
    local loop
    before_each(function() loop = scene.loop() end)
    after_each(function() loop = nil end)

    -- Run fn in a task of the loop.
    local function in_task(fn)
      local handle = loop:spawn(function()
        local _, late = task.deadline(10, fn)
        return late or "done"
      end)
      support.run(loop)
      assert.same({ "done" }, { handle:join() })
    end

    it("by a stream, which gives its input as one", function()
      local kept
      local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Echo" {
        create = function(_, stream) return stream:expect_delimiter("\n", 100) end,
        bytes_read = function(_, stream, n)
          kept = stream:split(n + 1)
          stream:write("<", kept, 1, ">")
          return #kept == 4 and stream:done() or stream:expect_delimiter("\n", 100)
        end,
      }))
      in_task(function()
        local conn <close> = assert(task.connect(listener:address()))
        local hello = rotor.buf("hello\n")
        conn:write(hello, rotor.buf("end\n"))
        assert.equal(6, #hello)
        assert.equal("<hello\n1><end\n1>", conn:read_all())
        assert.equal("end\n", kept:peek())
        assert.has_error(function() conn:write("x", loop) end,
          "bad argument #2 to 'write' (string or buf expected, got rotor.loop)")
        listener:close()
      end)
    end)

    it("by datagram sockets", function()
      local server = assert(loop:udp("127.0.0.1:0", rotor.datagram "Back" {
        create = function(_, socket) return socket:ok() end,
        datagram = function(_, socket, data, from)
          socket:send(rotor.buf(data, "!"), from)
          return socket:done()
        end,
      }))
      in_task(function()
        local socket <close> = assert(task.udp(nil, { peer = server:address() }))
        assert.is_true(socket:send(rotor.buf("ping")))
        assert.equal("ping!", socket:recv())
      end)
    end)

    it("by a machine's descriptor", function()
      local near, far = descriptors.pipe()
      local written
      assert(loop:add(rotor.machine "Writer" {
        create = function(_, scope)
          local from, to = assert(scope:open(near)), assert(scope:open(far))
          written = to:write(rotor.buf("some", "thing"))
          written = written .. from:read(100)
          return scope:done()
        end,
        ready = function(_, scope) return scope:ok() end,
      }))
      loop:turn()
      assert.equal("9something", written)
    end)

    it("by HTTP servers, clients and WebSockets", function()
      local listener = assert(http.serve(loop, "127.0.0.1:0", function(req, res)
        if req.path == "/ws" then
          local ws <close> = assert(websocket.accept(req, res))
          local data = ws:recv()
          ws:send(rotor.buf(data, "!"))
          ws:send(rotor.buf("\0\255"), "binary")
        elseif req.path == "/parts" then
          res:start(200)
          res:write(rotor.buf("one,"), "two,", 3)
          res:finish(rotor.buf(",four"))
        else
          res:send(200, rotor.buf("whole ", req.body))
        end
      end))
      in_task(function()
        local base = listener:address()
        assert.equal("one,two,3,four", assert(http.get("http://" .. base .. "/parts"):await()).body)
        assert.equal("whole body", assert(http.request {
          url = "http://" .. base .. "/", method = "POST", body = "body",
        }:await()).body)
        local ws <close> = assert(websocket.dial("ws://" .. base .. "/ws"))
        ws:send(rotor.buf("hi"))
        assert.equal("hi!", ws:recv())
        assert.equal("\0\255", ws:recv())
        listener:close { drain = 0.01 }
      end)
    end)
  end)
end)
