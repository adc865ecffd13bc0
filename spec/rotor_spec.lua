local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"
require "rotor.task" -- which holds a reference from then on

local function nothing() end

describe("a program as it is printed", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(function()
    rotor.default():close()
    scene.finish()
  end)

  -- Run a program whose rotor.run() is `run`, which is given the handles that the program got.
  local function perform(program, run)
    local opened = {}
    local function noting(open)
      return function(...)
        table.insert(opened, (assert(open(...))))
        return opened[#opened]
      end
    end
    local modules = {
      rotor = setmetatable({
        listen = noting(rotor.listen),
        run = function() run(table.unpack(opened)) end,
      }, { __index = rotor }),
      ["rotor.http"] = { serve = noting(http.serve) },
    }
    local function find(name) return modules[name] or require(name) end
    local env = setmetatable({ require = find }, { __index = _G })
    return assert(load(program, "=program", "t", env))()
  end

  it("echoes lines", function()
    local answer
    perform([[
local rotor = require "rotor"

local Echo = rotor.protocol "Echo" {
  create     = function(self, stream)    return stream:expect_delimiter("\n", 4096) end,
  bytes_read = function(self, stream, n) stream:write(stream:take(n + 1))
                                         return stream:expect_delimiter("\n", 4096) end,
}
rotor.listen("127.0.0.1:0", Echo)
rotor.run()
]], function(listener)
      local Client = rotor.protocol "Client" {
        create = function(_, stream)
          stream:write("hello\nworld\n")
          return stream:expect_bytes(12)
        end,
        bytes_read = function(_, stream, n)
          answer = stream:take(n)
          rotor.stop()
          return stream:done()
        end,
      }
      assert(rotor.connect(listener:address(), Client))
      support.run(rotor.default())
    end)
    assert.equal("hello\nworld\n", answer)
  end)

  it("counts down", function()
    local Countdown = perform([[
local rotor = require "rotor"

local Countdown = rotor.machine "Countdown" {
  create  = function(self, scope, n) self.left = n; return scope:ok(0.001) end,     -- 1 ms
  timeout = function(self, scope)
    self.left = self.left - 1
    if self.left == 0 then return scope:done("lift-off") end
    return scope:ok(0.001)
  end,
}
return Countdown
]])
    local said
    local Crew = rotor.machine "Crew" {
      create = function(_, scope) return scope:spawn(Countdown, 3) end,
      child_done = function(_, scope, _, what)
        said = what
        return scope:done()
      end,
    }
    assert(rotor.add(Crew))
    support.run(rotor.default())
    assert.equal("lift-off", said)
  end)

  it("says hello over HTTP", function()
    local answer
    perform([[
local rotor = require "rotor"
local http = require "rotor.http"
http.serve("127.0.0.1:0", function(req, res) res:send(200, "Hello, World!") end)
rotor.run()
]], function(listener)
      answer = support.exchange(rotor.default(), listener:address(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    end)
    assert.equal("HTTP/1.1 200 OK", answer:match("^[^\r]*"))
    assert.equal("Hello, World!", answer:match("\r\n\r\n(.*)$"))
  end)

  it("in the README, which echoes and serves", function()
    local file <close> = assert(io.open("README.md"))
    local program = file:read("a"):match("```lua\n(.-)```")
    program = program:gsub('"127%.0%.0%.1:%d+"', '"127.0.0.1:0"'):gsub("sleep%(0%.2%)", "sleep(0)")
    local echo, pages = nil, {}
    perform(program, function(echoing, serving)
      local loop = rotor.default()
      local Client = rotor.protocol "Client" {
        create = function(_, stream)
          stream:write("hello\n")
          return stream:expect_bytes(6)
        end,
        bytes_read = function(_, stream, n)
          echo = stream:take(n)
          loop:stop()
          return stream:done()
        end,
      }
      assert(rotor.connect(echoing:address(), Client))
      support.run(loop)
      for _, path in ipairs { "/", "/slow", "/else" } do
        local answer = support.exchange(loop, serving:address(),
          "GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        pages[#pages + 1] = answer:match("^HTTP/1.1 (%d+)") .. answer:match("\r\n\r\n(.*)$")
      end
    end)
    assert.equal("hello\n", echo)
    assert.same({ "200Hello, World!\n", "200At last.\n", "404Nothing here.\n" }, pages)
  end)
end)

-- What fn throws, which must begin with the place of its first line.
local function thrown(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  local info = debug.getinfo(fn, "S")
  local place = info.short_src .. ":" .. info.linedefined .. ": "
  assert.equal(place, message:sub(1, #place))
  return message:sub(#place + 1)
end

describe("a declaration", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  it("knows what a transition is called", function()
    assert.equal('protocol "P": no transition is called byte_read; did you mean bytes_read? '
      .. "(other functions go outside the table)",
      thrown(function() rotor.protocol "P" { create = nothing, byte_read = nothing } end))
    assert.equal('machine "M": no transition is called timeuot; did you mean timeout? '
      .. "(other functions go outside the table)",
      thrown(function() rotor.machine "M" { create = nothing, timeuot = nothing } end))
    assert.matches("did you mean bytes_read%?",
      thrown(function() rotor.protocol "P" { create = nothing, read_bytes = nothing } end))
    assert.matches("no transition is called 1;",
      thrown(function() rotor.machine "M" { create = nothing, nothing } end))
    -- Each language of its own: what a stream hears is no machine's.
    assert.matches("no transition is called bytes_read;",
      thrown(function() rotor.machine "M" { create = nothing, bytes_read = nothing } end))
  end)

  it("has its transitions behind the name", function()
    assert.equal('machine "M": the transitions go behind the name: rotor.machine "M" { … }',
      thrown(function() rotor.machine("M", { create = nothing }) end))
    assert.equal('protocol "P": the transitions go behind the name: rotor.protocol "P" { … }',
      thrown(function() rotor.protocol("P", { create = nothing }) end))
  end)

  it("needs a create", function()
    assert.equal('machine "M": create is missing, with which every machine begins',
      thrown(function() rotor.machine "M" {} end))
    assert.equal('protocol "P": create is missing, with which every protocol begins',
      thrown(function() rotor.protocol "P" { bytes_read = nothing } end))
  end)

  it("takes functions for transitions", function()
    assert.equal('machine "M": timeout is a transition, so a function is expected, got number',
      thrown(function() rotor.machine "M" { create = nothing, timeout = 3 } end))
    assert.equal('protocol "P": create is a transition, so a function is expected, got boolean',
      thrown(function() rotor.protocol "P" { create = false } end))
  end)

  it("takes a name, then a table", function()
    assert.equal("rotor.machine: a name expected, got table",
      thrown(function() rotor.machine { create = nothing } end))
    assert.equal("rotor.protocol: a name expected, got nil",
      thrown(function() rotor.protocol() end))
    assert.equal('protocol "P": a table of transitions expected, got nil',
      thrown(function() rotor.protocol "P" (nil) end))
    assert.equal('machine "M": a table of transitions expected, got function',
      thrown(function() rotor.machine "M" (nothing) end))
    assert.equal("bad argument #1 to 'add' (rotor.machine type expected, got function)",
      thrown(function() rotor.add(rotor.machine "M") end))
  end)

  it("of a protocol has options", function()
    assert.is_userdata(rotor.protocol("P", { high_water = 1, stall = 0.5, turns = 3 }) {
      create = nothing })
    assert.equal('protocol "P": a table of options expected, got number',
      thrown(function() rotor.protocol("P", 7) { create = nothing } end))
    assert.equal('protocol "P": unknown option \'highwater\'; known are: high_water, stall, turns',
      thrown(function() rotor.protocol("P", { highwater = 1 }) { create = nothing } end))
    assert.equal('protocol "P": option \'turns\': an integer from 1 to 1048576 expected, got 0',
      thrown(function() rotor.protocol("P", { turns = 0 }) { create = nothing } end))
  end)

  it("may hold other values, which self begins with", function()
    local loop, seen = scene.loop(), nil
    assert(loop:add(rotor.machine "M" {
      limit = 42,
      create = function(self, scope)
        seen = { self.limit, rawget(self, "limit"), tostring(self):match("^M: ") }
        return scope:done()
      end,
    }))
    assert.same({ 42, nil, "M: " }, seen)
  end)
end)

describe("misuse throws at the caller's line", function()
  local scene = support.scene()
  local known

  -- What the expression throws, which must begin with its place.
  local function misuse(expression)
    local chunk = assert(load("\n\nlocal _ = " .. expression, "=there", "t", known))
    local ok, message = pcall(chunk)
    assert.is_false(ok, expression)
    assert.equal("there:3: ", message:sub(1, 9), expression)
    return message:sub(10)
  end

  before_each(function()
    scene.begin()
    known = {
      rotor = rotor, http = http, loop = scene.loop(), fn = nothing, pairs = pairs, math = math,
      P = rotor.protocol "P" { create = nothing },
      M = rotor.machine "M" { create = nothing },
    }
  end)
  after_each(function()
    known = nil
    rotor.default():close()
    scene.finish()
  end)

  it("about arguments, numbered alike for a function and for a method", function()
    local seconds = "option 'timeout': seconds expected, more than 0 and less than 50 days, got "
    local backlog = "option 'backlog': an integer from 1 to 2147483647 expected, got "
    for call, message in pairs {
      ["listen()"] = "bad argument #1 to 'listen' (string expected, got no value)",
      ["listen(nil, P)"] = "bad argument #1 to 'listen' (string expected, got nil)",
      ["listen('0')"] = "bad argument #2 to 'listen' (rotor.protocol expected, got no value)",
      ["listen('0', M)"] =
        "bad argument #2 to 'listen' (rotor.protocol expected, got rotor.machine type)",
      ["listen('0', {})"] = "bad argument #2 to 'listen' (rotor.protocol expected, got table)",
      ["listen('0', P, 1)"] = "bad argument #3 to 'listen' (table expected, got number)",
      ["listen('0', P, { nodelay = true })"] =
        "unknown option 'nodelay'; known are: backlog, reuse_port, ipv6_only, delay, keepalive, "
        .. "connections, seed",
      ["listen('0', P, { 'delay' })"] =
        "unknown option '1'; known are: backlog, reuse_port, ipv6_only, delay, keepalive, "
        .. "connections, seed",
      ["listen('0', P, { backlog = 0 })"] = backlog .. "0",
      ["listen('0', P, { backlog = 1.5 })"] = backlog .. "1.5",
      ["listen('0', P, { backlog = '10' })"] = backlog .. "10",
      ["listen('0', P, { delay = 'no' })"] = "option 'delay': a boolean expected, got string",
      ["connect(true, P)"] = "bad argument #1 to 'connect' (string expected, got boolean)",
      ["connect('1')"] = "bad argument #2 to 'connect' (rotor.protocol expected, got no value)",
      ["connect('1', P, { backlog = 1 })"] =
        "unknown option 'backlog'; known are: timeout, delay, keepalive, seed",
      ["connect('1', P, { timeout = 0 })"] = seconds .. "0",
      ["connect('1', P, { timeout = -1 })"] = seconds .. "-1",
      ["connect('1', P, { timeout = math.huge })"] = seconds .. "inf",
      ["connect('1', P, { timeout = '1' })"] = seconds .. "1",
      ["add()"] = "bad argument #1 to 'add' (rotor.machine type expected, got no value)",
      ["add(P)"] = "bad argument #1 to 'add' (rotor.machine type expected, got rotor.protocol)",
      ["on_error()"] = "bad argument #1 to 'on_error' (function expected, got no value)",
      ["on_error({})"] = "bad argument #1 to 'on_error' (function expected, got table)",
      ["on_signal('SIGINT', fn)"] = "bad argument #1 to 'on_signal' "
        .. "(a signal expected: HUP INT QUIT USR1 USR2 TERM CHLD or WINCH)",
      ["on_signal('INT', true)"] =
        "bad argument #2 to 'on_signal' (function expected, got boolean)",
      ["all()"] = "bad argument #1 to 'all' (table expected, got no value)",
      ["all { 1 }"] = "bad argument #1 to 'all' (item 1 is not a future)",
      ["first {}"] = "bad argument #1 to 'first' (at least one future expected)",
    } do
      assert.equal(message, misuse("rotor." .. call))
      assert.equal(message, misuse("loop:" .. call))
    end
  end)

  it("of http.serve", function()
    for call, message in pairs {
      ["serve()"] = "bad argument #1 to 'serve' (string expected, got no value)",
      ["serve('0', {})"] = "bad argument #2 to 'serve' (function or handler expected, got table)",
      ["serve('0', fn, fn)"] = "bad argument #3 to 'serve' (table expected, got function)",
      ["serve('0', fn, { max_bdy = 1 })"] =
        "unknown option 'max_bdy'; known are: max_request_line, max_head, max_fields, max_body, "
        .. "max_trailers, head_timeout, body_timeout, body_rate, idle_timeout, handler_timeout, "
        .. "stall_timeout, pipelined, log, metrics, backlog, reuse_port, ipv6_only, delay, "
        .. "keepalive, connections",
      ["serve('0', fn, { max_body = 0 })"] =
        "option 'max_body': an integer from 1 to 1073741824 expected, got 0",
      ["serve('0', fn, { idle_timeout = false })"] = "option 'idle_timeout': "
        .. "seconds expected, more than 0 and less than 50 days, got false",
    } do
      assert.equal(message, misuse("http." .. call))
      assert.equal(message, misuse("loop:" .. call))
    end
  end)

  it("of rotor.loop", function()
    assert.equal("bad argument #1 to 'loop' (table expected, got number)", misuse "rotor.loop(1)")
    assert.equal("unknown option 'size'; known are: capacity, buffer, context, virtual",
      misuse "rotor.loop { size = 1 }")
    assert.equal("option 'capacity': an integer from 1 to 4294967294 expected, got 0",
      misuse "rotor.loop { capacity = 0 }")
    assert.equal("option 'buffer': an integer from 4096 to 1073741824 expected, got 100",
      misuse "rotor.loop { buffer = 100 }")
  end)

  it("when a method is called with a dot", function()
    assert.equal("bad argument #1 to 'run' (rotor.loop expected, got no value)",
      misuse "loop.run()")
    assert.equal("bad argument #1 to 'listen' (rotor.loop expected, got string)",
      misuse "loop.listen('127.0.0.1:0', P)")
    assert.equal("bad argument #1 to 'close' (rotor.loop expected, got no value)",
      misuse "loop.close()")
  end)

  it("of a closed loop", function()
    known.loop:close()
    for _, call in ipairs {
      "run()", "turn()", "stop()", "now()", "count()", "on_error(fn)", "on_signal('INT', fn)",
      "add(M)", "listen('0', P)", "connect('1', P)", "serve('0', fn)", "future()", "all {}",
    } do
      assert.equal("the loop is closed", misuse("loop:" .. call))
    end
    assert.is_true(known.loop:close())
    assert.equal("rotor.loop (closed)", tostring(known.loop))
  end)

  it("of objects of another kind", function()
    known.listener = assert(known.loop:listen("127.0.0.1:0", known.P))
    known.port, known.future = known.loop:future()
    assert.equal("bad argument #1 to 'get' (rotor.future expected, got rotor.port)",
      misuse "future.get(port)")
    assert.equal("bad argument #1 to 'set' (rotor.port expected, got rotor.future)",
      misuse "port.set(future, 1)")
    assert.equal("bad argument #1 to 'address' (rotor.handle expected, got rotor.loop)",
      misuse "listener.address(loop)")
    -- Neither another library's userdata nor a light one is taken for one of rotor's.
    known.file = io.stdout
    assert.equal("bad argument #1 to 'get' (rotor.future expected, got FILE*)",
      misuse "future.get(file)")
    assert(known.loop:add(rotor.machine "M" {
      create = function(_, scope)
        known.light = scope:ok()
        return scope:done()
      end,
    }))
    assert.equal("bad argument #1 to 'get' (rotor.future expected, got light userdata)",
      misuse "future.get(light)")
  end)
end)

describe("a failure at run time", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  local P = rotor.protocol "P" { create = function(_, stream) return stream:sleep() end }

  it("is returned as nil, message, name", function()
    local loop = scene.loop()
    local listener = assert(loop:listen("127.0.0.1:0", P))
    local address = listener:address()
    assert.same(
      { nil, "EADDRINUSE: address already in use (" .. address .. ")", "EADDRINUSE" },
      { loop:listen(address, P) })
    assert.same(
      { nil, "EADDRINUSE: address already in use (" .. address .. ")", "EADDRINUSE" },
      { loop:serve(address, nothing) })
    assert.same({ nil, "EADDRESS: not an address: expected HOST:PORT, [IPV6]:PORT, PORT or "
      .. "unix:PATH (nowhere)", "EADDRESS" }, { loop:connect("nowhere", P) })
    assert.same({ nil, "ENOENT: no such file or directory (unix:/nonexistent/socket)", "ENOENT" },
      { loop:listen("unix:/nonexistent/socket", P) })
  end)

  it("makes assert() throw the message", function()
    local loop = scene.loop()
    assert.has_error(function() _G.assert(loop:listen("65536", P)) end,
      "EADDRESS: not an address: expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH (65536)")
  end)

  it("takes nothing with it", function()
    -- What is counted when the scene is over would have grown.
    local loop = scene.loop()
    for _ = 1, 10 do
      assert.is_nil(loop:listen("65536", P, { seed = {} }))
      assert.is_nil(loop:connect("65536", P, { seed = {} }))
      assert.is_nil(loop:serve("65536", function() end))
    end
  end)
end)
