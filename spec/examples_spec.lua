local lfs = require "lfs"
local http = require "rotor.http"
local rotor = require "rotor"
local support = require "spec.support"
local task = require "rotor.task"
local websocket = require "rotor.websocket"

-- Each example as a process, in both languages, and a conversation with it.
describe("the example", function()
  local scene = support.scene()
  local loop, running
  before_each(function()
    scene.begin()
    loop, running = scene.loop(), {}
  end)
  after_each(function()
    for program in pairs(running) do program:stop() end
    loop = nil
    scene.finish()
  end)

  local interpreter
  do
    local i = 0
    while arg[i - 1] do i = i - 1 end
    interpreter = arg[i]
  end

  -- The command that runs an example. Those in C are not built with the sanitizers of this process.
  local function command(language, name)
    if language == "Lua" then return ("'%s' examples/%s.lua"):format(interpreter, name) end
    return "env -u LD_PRELOAD build/examples/" .. name
  end

  local Program = {}
  Program.__index = Program

  -- Ends with a minute at the latest, whatever happens to this process. Its first line is its pid.
  local function start(language, name, arguments)
    local pipe = assert(io.popen(("echo $$; exec timeout --foreground 60 %s %s 2>&1"):format(
      command(language, name), arguments)))
    local program = setmetatable({ pipe = pipe, pid = pipe:read("n", "l") }, Program)
    running[program] = true
    return program
  end

  -- The same for a server: with where it listens.
  local function serve(language, name, arguments)
    local program = start(language, name, arguments or "127.0.0.1:0")
    program.line = program.pipe:read("l")
    program.address = assert(program.line:match("listening on [a-z:/]*([%d.]+:%d+)"), program.line)
    return program
  end

  -- What else it has printed, and its status.
  function Program:stop(signal)
    running[self] = nil
    os.execute(("kill -%s %d"):format(signal or "TERM", self.pid))
    local output = self.pipe:read("a")
    return output, select(3, self.pipe:close())
  end

  -- The same of one that ends by itself.
  function Program:wait()
    running[self] = nil
    local output = self.pipe:read("a")
    return output, select(3, self.pipe:close())
  end

  -- Run it to its end, behind a pipe perhaps: what it printed, and its status.
  local function run(language, name, arguments, before)
    local pipe = assert(io.popen(("%s timeout 60 %s %s 2>&1"):format(
      before or "", command(language, name), arguments)))
    local output = pipe:read("a")
    return output, select(3, pipe:close())
  end

  local LEAVE = {}

  -- Says each of the strings when what is before it, a pattern, has come.
  local Visitor = rotor.protocol "Visitor" {
    create = function(self, stream, visit)
      self.visit, self.step, self.heard = visit, 0, ""
      visit.handle = stream:handle()
      return self.visit.go_on(self, stream)
    end,
    bytes_read = function(self, stream)
      self.heard = self.heard .. stream:take()
      return self.visit.go_on(self, stream)
    end,
    exception = function(_, stream)
      return stream:done()
    end,
    drop = function(self)
      self.visit.heard = self.heard
      self.visit.over()
    end,
  }

  local function go_on(self, stream)
    local visit = self.visit
    while self.step < #visit do
      local wanted = visit[self.step + 1][1]
      if wanted and not self.heard:find(wanted) then return stream:expect_bytes(1) end
      self.step = self.step + 1
      local said = visit[self.step][2]
      if said == LEAVE then return stream:abort() end
      if said then stream:write(said) else stream:shutdown() end
      if visit[self.step].after then visit[self.step].after() end
    end
    return stream:expect_bytes(1)
  end

  -- Have visits to `address` until all are over: each a list of { PATTERN or nil, what then: TEXT,
  -- LEAVE, or nil: half-close }.
  local function visit(address, ...)
    local left = select("#", ...)
    local visits = { ... }
    for _, each in ipairs(visits) do
      each.go_on = go_on
      each.over = function()
        left = left - 1
        if left == 0 then loop:stop() end
      end
      if not each.later then assert(loop:connect(address, Visitor, { seed = each })) end
    end
    support.run(loop)
    return visits
  end

  -- Answers each request by what `host` has for its path; or, where that is nothing, with `late`
  -- when all that are `expected` have been made. It stops the loop then if it keeps connections, or
  -- else when so many are over.
  local Host = rotor.protocol "Host" {
    create = function(self, stream, host)
      self.host, host.connections = host, (host.connections or 0) + 1
      return stream:expect_delimiter("\r\n\r\n", 4096)
    end,
    bytes_read = function(self, stream, n)
      local host, path = self.host, stream:take(n + 4):match("^GET (%S+) HTTP/1.1\r\n")
      host.asked = (host.asked or 0) + 1
      if not host[path] then host.waits = stream:handle() end
      if host.asked == host.expected then
        if host.waits then host.waits:wake() end
        if host.keeps then loop:stop() end
      end
      if not host[path] then return stream:sleep() end
      stream:write(host[path])
      return host.keeps and stream:expect_delimiter("\r\n\r\n", 4096) or stream:linger(10)
    end,
    wakeup = function(self, stream)
      stream:write(self.host.late)
      return stream:linger(10)
    end,
    drop = function(self)
      local host = self.host
      host.over = (host.over or 0) + 1
      if host.over == host.expected then loop:stop() end
    end,
  }

  for _, language in ipairs { "Lua", "C" } do
    local is_built = language == "Lua" or lfs.attributes("build/examples/echo")

    local function works(what, test)
      it(("%s in %s"):format(what, language), function()
        if not is_built then return pending("the examples in C are not built") end
        test()
      end)
    end

    -- Ended by a signal it has nothing more to say, and no error.
    local function ends_well(program, signal)
      local output, status = program:stop(signal)
      assert.same({ "", 0 }, { output, status })
    end

    works("echo sends lines back", function()
      local echo = serve(language, "echo")
      local there = visit(echo.address, { { nil, "hello\nworld\n" }, { "world\n" } })
      assert.equal("hello\nworld\n", there[1].heard)
      ends_well(echo, "INT")
    end)

    works("proxy hands on what is said, both ways, and ends", function()
      local echo = serve(language, "echo")
      local proxy = serve(language, "proxy", "127.0.0.1:0 " .. echo.address)
      local line = ("x"):rep(4000) .. "\n"
      local lines = line:rep(500) -- two MB, more than both proxy and sockets hold
      local there = visit(proxy.address, { { nil, lines }, { nil, nil } },
                          { { nil, "hello\n" }, { "hello\n" } })
      assert.equal(#lines, #there[1].heard)
      assert.equal(lines, there[1].heard)
      assert.equal("hello\n", there[2].heard)
      ends_well(echo)
      visit(proxy.address, { { nil, "nobody is there" } })
      local output, status = proxy:stop()
      assert.matches("connection refused", output)
      assert.equal(0, status)
    end)

    works("chat passes on what each says", function()
      local chat = serve(language, "chat")
      local bob
      local ann = { { "name%?\n", "Ann\n" },
        { "now Ann\n", "/who\n", after = function()
          assert(loop:connect(chat.address, Visitor, { seed = bob }))
        end },
        { "Bob: hello\n", "hi, Bob\n/quit\n" } }
      bob = { later = true, { "name%?\n", "Ann\n" }, { "no name", "Bob\n" },
              { "now Bob\n", "hello\n" }, { "Ann: hi, Bob\n.*Ann has left\n" } }
      visit(chat.address, ann, bob)
      assert.matches("Bob: hello\n", ann.heard)
      assert.matches("now Bob\nAnn: hi, Bob\nAnn has left\n", bob.heard)
      ends_well(chat)
    end)

    works("chat drops who does not read", function()
      local chat = serve(language, "chat")
      local Sleeper = rotor.protocol "Sleeper" {
        create = function(_, stream)
          stream:write("Sleeper\n")
          return stream:sleep()
        end,
      }
      local Talker = rotor.protocol "Talker" {
        create = function(_, stream)
          stream:write("Talker\n")
          return stream:expect_delimiter("Sleeper\n", 100000)
        end,
        bytes_read = function(self, stream, n) -- the sleeper has come, or has gone
          stream:consume(n)
          if self.talks then
            loop:stop()
            return stream:abort()
          end
          self.talks = true
          return stream:and_flush(stream:expect_delimiter("Sleeper has left\n", 1 << 20), 0)
        end,
        bytes_flushed = function(_, stream)
          stream:write((("x"):rep(1000) .. "\n"):rep(60))
          return stream:and_flush(stream:expect_delimiter("Sleeper has left\n", 1 << 20), 0)
        end,
      }
      assert(loop:connect(chat.address, Talker))
      assert(loop:connect(chat.address, Sleeper))
      support.run(loop)
      ends_well(chat)
    end)

    works("static serves the files of a folder, and of no other", function()
      local static = serve(language, "static", "127.0.0.1:0 examples")
      assert.matches("^examples: listening on http://", static.line)
      local file <close> = assert(io.open("examples/static.lua"))
      local text = file:read("a")
      local function get(path, headers)
        return ("GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n"):format(path, headers or "")
      end
      local there = visit(static.address, {
        { nil, get "/static.lua" .. get("/static.lua", "Range: bytes=0-7\r\n")
          .. get "/../Makefile" .. get("/static.lua", "If-None-Match: *\r\n") },
        { "304 Not Modified.-\r\n\r\n$", LEAVE },
      })
      local first, second = there[1].heard:match("^(.-\r\n\r\n" .. text:gsub("%p", "%%%0")
        .. ")(.*)$")
      assert.matches("^HTTP/1.1 200 OK\r\n.*Content%-Length: " .. #text .. "\r\n", first)
      assert.matches("^HTTP/1.1 206 Partial.*\r\n\r\n%-%- UsageHTTP/1.1 404 Not Found\r\n", second)
      ends_well(static)
      local output, status = run(language, "static", "0 no/such/folder")
      assert.matches("static.*no/such/folder", output)
      assert.equal(1, status)
      assert.equal(2, select(2, run(language, "static", "0")))
    end)

    local function get(path, headers)
      return ("GET %s HTTP/1.1\r\nHost: public\r\n%s\r\n"):format(path, headers or "")
    end
    local LAST = "Connection: close\r\n"

    -- Upstreams that say which one was asked, and for what. They keep their connections.
    local function upstreams(log)
      local addresses = {}
      for i = 1, 2 do
        local server = assert(loop:serve("127.0.0.1:0", function(req, res)
          log[#log + 1] = i .. req.path
          log[req.remote] = true
          if req.path == "/never" then
            log.visit.handle:close()
            return req:on_hangup(function()
              log.left = true
              loop:stop()
            end)
          end
          res:header("Connection", "close"):header("X-Upstream", i):header("Keep-Alive", "x")
          local said = { req.method, req.target, req.body }
          for name, value in pairs(req.headers) do said[#said + 1] = name .. "=" .. value end
          res:send(req.path == "/gone" and 404 or 200, table.concat(said, "|"))
        end))
        addresses[i] = server:address()
      end
      return addresses
    end

    works("reverse_proxy passes requests on to its upstreams in turn", function()
      local log = {}
      local addresses = upstreams(log)
      local proxy = serve(language, "reverse_proxy", "127.0.0.1:0 " .. table.concat(addresses, " "))
      local there = visit(proxy.address, {
        { nil, get("/a?b=c", "X-A: 1\r\nConnection: X-B\r\nX-B: 2\r\nX-Forwarded-For: me\r\n") },
        { "^HTTP/1.1 200 OK\r\n.*Via: 1.1 rotor\r\n.*|Via=1.1 rotor.*$",
          "POST /gone HTTP/1.1\r\nHost: public\r\nContent-Length: 3\r\n" .. LAST .. "\r\nabc" },
        { "404 Not Found.*abc|" },
      })
      local first, second = there[1].heard:match("^(.-)(HTTP/1.1 404.*)$")
      assert.same({ "1/a", "2/gone" }, { log[1], log[2] })
      assert.matches("\r\n\r\nGET|/a%?b=c||Host=" .. addresses[1]:gsub("%p", "%%%0") .. "|", first)
      assert.matches("|X%-A=1|", first)
      assert.is_nil(first:find("X-B", 1, true))
      assert.is_nil(first:find("|X%-Forwarded%-For=me"))
      assert.matches("|X%-Forwarded%-For=127%.0%.0%.1|", first)
      assert.matches("|X%-Forwarded%-Host=public|", first)
      assert.matches("X%-Upstream: 1\r\n", first)
      assert.is_nil(first:find "Keep%-Alive")
      assert.matches("X%-Upstream: 2\r\n", second)
      assert.matches("\r\n\r\nPOST|/gone|abc|", second)
      ends_well(proxy)
    end)

    works("reverse_proxy streams both ways, over connections that it keeps", function()
      local echo = serve(language, "http_echo")
      local proxy = serve(language, "reverse_proxy", "127.0.0.1:0 " .. echo.address)
      local chunk = "fa0\r\n" .. ("x"):rep(4000) .. "\r\n"
      local head = "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
      local there = visit(proxy.address,
        { { nil, head .. "\r\n" .. chunk:rep(250) .. "0\r\n\r\n" }, { "\r\n0\r\n\r\n$", LEAVE } },
        { { nil, head .. LAST .. "\r\n1\r\na\r\n" }, { "1\r\na\r\n", "1\r\nb\r\n0\r\n\r\n" } })
      assert.equal(1000000, select(2, there[1].heard:gsub("x", "")))
      assert.matches("\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n$", there[2].heard)
      ends_well(proxy)
      ends_well(echo)
    end)

    works("reverse_proxy says when nobody answers, and lets go when its client does", function()
      local log = {}
      local addresses = upstreams(log)
      local proxy = serve(language, "reverse_proxy", "127.0.0.1:0 127.0.0.1:1 " .. addresses[1])
      local there = visit(proxy.address,
        { { nil, get "/lost" }, { "502 Bad Gateway.*answer", LEAVE } })
      assert.matches("^HTTP/1.1 502 Bad Gateway\r\n", there[1].heard)
      -- The client leaves when the upstream has been asked, which stops the loop when that sees it.
      log.visit = { { nil, get "/never" }, go_on = go_on, over = function() end }
      assert(loop:connect(proxy.address, Visitor, { seed = log.visit }))
      support.run(loop)
      assert.is_true(log.left)
      local output, status = proxy:stop()
      assert.matches("http://127.0.0.1:1/lost: .*connection refused", output)
      assert.equal(0, status)
      assert.equal(2, select(2, run(language, "reverse_proxy", "0")))
    end)

    works("countdown counts for its visitors", function()
      local countdown = serve(language, "countdown")
      local there = visit(countdown.address, { { "^5\r?\n", LEAVE } })
      assert.matches("^5\r?\n$", there[1].heard)
      ends_well(countdown)
    end)

    works("fetch gets a page, or says why not", function()
      local hello = serve(language, "hello_http")
      local url = ("http://%s/"):format(hello.address)
      local output, status = run(language, "fetch", url .. " " .. url)
      assert.same({ "Hello, World!Hello, World!", 0 }, { output, status })
      ends_well(hello)
      output, status = run(language, "fetch", url)
      assert.matches("connection refused", output)
      assert.equal(1, status)
      assert.equal(2, select(2, run(language, "fetch", "")))
    end)

    works("fetch prints in the order of the URLs what comes in any other", function()
      local chunks = "5;x\r\n in c\r\n1e\r\n" .. ("x"):rep(30) .. "\r\n0\r\nA: b\r\n\r\n"
      local at = "http://" .. assert(loop:listen("127.0.0.1:0", Host, { seed = {
        expected = 5,
        late = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlater",
        ["/chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunks,
        ["/end?q"] = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n to the end",
        ["/cut"] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n cut",
        ["/gone"] = "HTTP/1.1 404 Not Found\r\n\r\nno",
      } })):address()
      local fetch = start(language, "fetch",
        ("%s/late %s/chunks '%s/end?q#z' %s/cut %s/gone"):gsub("%%s", at))
      support.run(loop)
      local output, status = fetch:stop("CONT")
      assert.equal(1, status)
      assert.matches("/cut: peer closed before", output)
      assert.matches("/gone: [^\n]*404", output)
      output = output:gsub("fetch[^\n]*\n", "")
      assert.equal("later in c" .. ("x"):rep(30) .. " to the end cut", output)
    end)

    works("telnet passes on a pipe and a file", function()
      local echo = serve(language, "echo")
      assert.same({ "a\r\nb\r\n", 0 },
                  { run(language, "telnet", echo.address .. " <<'END'\na\nb\nEND\n") })
      ends_well(echo)
    end)

    works("telnet passes on more than it keeps, to who sends it all back", function()
      local compose = serve(language, "compose", "127.0.0.1:0 127.0.0.1:0")
      local name, text = os.tmpname(), ("0123456789"):rep(50000)
      local file = assert(io.open(name, "w"))
      file:write(text)
      file:close()
      local by_file, by_pipe = { run(language, "telnet", compose.address .. " < " .. name) },
        { run(language, "telnet", compose.address, ("cat %s |"):format(name)) }
      os.remove(name)
      compose:stop()
      for _, got in ipairs { by_file, by_pipe } do
        assert.same({ #text, 0 }, { #got[1], got[2] })
        assert.is_true(got[1] == text)
      end
    end)

    works("monitor tells what becomes of a server", function()
      local hello = serve(language, "hello_http")
      local monitor = start(language, "monitor", hello.address .. " / 0.01")
      local lines = {}
      local function wait_for(pattern)
        repeat
          lines[#lines + 1] = monitor.pipe:read("l")
        until not lines[#lines] or lines[#lines]:find(pattern)
      end
      wait_for " up"
      wait_for " 200 OK"
      wait_for " 200 OK"
      ends_well(hello)
      wait_for "connection refused"
      assert.matches("connection refused.*next try in", lines[#lines])
      monitor:stop()
    end)

    works("monitor keeps one connection, also if answers have no body", function()
      local host = {
        keeps = true,
        expected = 3,
        ["/x"] = "HTTP/1.1 204 No Content\r\n\r\n",
      }
      local listener = assert(loop:listen("127.0.0.1:0", Host, { seed = host }))
      local monitor = start(language, "monitor", listener:address() .. " /x 0.01")
      support.run(loop)
      monitor:stop()
      assert.same({ 3, 1 }, { host.asked, host.connections })
    end)

    works("statsd adds up what statsd_send sends", function()
      local statsd = serve(language, "statsd")
      assert.same({ "", 0 }, { run(language, "statsd_send",
                                   statsd.address .. " 'hits:1|c' 'hits:2|c' 'heat:7|g'") })
      local output, status = statsd:stop()
      assert.equal(0, status)
      assert.matches("hits|c 3\n", output, 1, true)
      assert.matches("heat|g 7\n", output, 1, true)
    end)

    works("compose serves both, and a ticker", function()
      local compose = serve(language, "compose", "127.0.0.1:0 127.0.0.1:0")
      local page = compose.line:match("http://([%d.:]+)/")
      local there = visit(compose.address, { { nil, "hello" }, { "hello" } })
      assert.equal("hello", there[1].heard)
      there = visit(page, { { nil, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" } })
      assert.matches("%d+ ticks, 0 failures, 5 bytes echoed\n$", there[1].heard)
      local output, status = compose:stop()
      assert.same({ "ticker: gone\nsupervisor: gone\n", 0 }, { output, status })
    end)

    works("websocket_chat passes on what each says, and says goodbye", function()
      local chat = serve(language, "websocket_chat")
      local page = visit(chat.address, {
        { nil, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /chat HTTP/1.1\r\nHost: h\r\n\r\n" },
        { "426 Upgrade Required", LEAVE },
      })[1].heard
      assert.matches("^HTTP/1.1 200 OK\r\n.*new WebSocket.*HTTP/1.1 426 Upgrade Required", page)
      local left = 2
      local url = ("ws://%s/chat"):format(chat.address)
      local Guest = websocket.handler "Guest" {
        open = function(self, ws, guest)
          self.guest, self.heard = guest, {}
          return ws:expect_message()
        end,
        message = function(self, ws, data)
          table.insert(self.heard, data)
          self.guest.hears(ws, data)
          return ws:expect_message()
        end,
        close = function(self, _, code, reason)
          self.guest.heard, self.guest.code = table.concat(self.heard, "\n"), code .. " " .. reason
        end,
        drop = function()
          left = left - 1
          if left == 0 then loop:stop() end
        end,
      }
      local ann, bob = {}, {}
      function ann.hears(ws, data)
        if data:find "^Welcome" then
          ws:send "Ann"
        elseif data == "Ann is here" then
          assert(websocket.connect(loop, url, Guest, { seed = bob }))
        elseif data == "Bob: hello" then
          ws:send "hi, Bob"
        end
      end
      function bob.hears(ws, data)
        if data:find "^Welcome" then
          ws:send "Ann"
        elseif data:find "^Ann is no name" then
          ws:send "Bob"
        elseif data == "Bob is here" then
          ws:send "hello"
        elseif data == "Ann: hi, Bob" then
          os.execute("kill -TERM " .. chat.pid)
        end
      end
      assert(websocket.connect(loop, url, Guest, { seed = ann }))
      support.run(loop)
      assert.same({ "1001 the server ends", "1001 the server ends" }, { ann.code, bob.code })
      local said = "Bob is here\nBob: hello\nAnn: hi, Bob"
      local ends = bob.heard:sub(-#said) == said and ann.heard:find(said, 1, true)
      assert.truthy(ends, ann.heard .. "\n" .. bob.heard)
      running[chat] = nil
      local output, status = chat.pipe:read("a"), select(3, chat.pipe:close())
      assert.same({ "", 0 }, { output, status })
      assert.equal(2, select(2, run(language, "websocket_chat", "")))
    end)

    works("websocket_chat takes text of some length only", function()
      local chat = serve(language, "websocket_chat")
      local closed, left = {}, 2
      local Guest = websocket.handler "Guest" {
        open = function(_, ws, send)
          send(ws)
          return ws:expect_message()
        end,
        message = function(_, ws) return ws:expect_message() end,
        close = function(_, _, code, reason)
          closed[#closed + 1] = code .. " " .. reason
        end,
        drop = function()
          left = left - 1
          if left == 0 then loop:stop() end
        end,
      }
      for _, send in ipairs {
        function(ws) ws:send(("x"):rep(1025)) end, function(ws) ws:send_binary("x") end,
      } do
        assert(websocket.connect(loop, "ws://" .. chat.address .. "/chat", Guest, { seed = send }))
      end
      support.run(loop)
      table.sort(closed)
      assert.equal("1003 only text is said here", closed[1])
      assert.matches("^1009 message too large", closed[2])
      ends_well(chat)
    end)
  end

  it("check_urls tells what each URL answers", function()
    local server = serve("Lua", "http_echo")
    local urls = ("http://%s/ http://127.0.0.1:1/ nonsense"):format(server.address)
    local output, status = run("Lua", "check_urls", "-n 2 -t 5 " .. urls)
    assert.matches("\nhttp://127.0.0.1:%d+/ +%d+%.%d+ s  200 OK, 0 bytes\n", "\n" .. output)
    assert.matches("http://127.0.0.1:1/ +%d+%.%d+ s  ECONNREFUSED: ", output)
    assert.matches("nonsense +%d+%.%d+ s  HTTP_EURL: not an http:// URL", output)
    assert.equal(1, status)
    local feed = ("for i in 1 2 3; do echo http://%s/; done |"):format(server.address)
    output, status = run("Lua", "check_urls", "-", feed)
    assert.equal(3, select(2, output:gsub("200 OK", "")))
    assert.equal(0, status)
    assert.matches("^usage: ", (run("Lua", "check_urls", "-n x")))
  end)

  it("task_echo sends back what comes", function()
    local echo = serve("Lua", "task_echo")
    local data = ("x"):rep(1 << 20)
    local there = visit(echo.address, { { nil, data }, { nil, nil } }, { { nil, "a" }, { "a" } })
    assert.equal(data, there[1].heard)
    assert.equal("a", there[2].heard)
    assert.same({ "", 0 }, { echo:stop("INT") })
    local path = os.tmpname()
    os.remove(path)
    echo = start("Lua", "task_echo", "unix:" .. path)
    assert.equal("listening on unix:" .. path, echo.pipe:read("l"))
    there = visit("unix:" .. path, { { nil, "hello" }, { "hello" } })
    assert.equal("hello", there[1].heard)
    assert.same({ "", 0 }, { echo:stop() })
    assert.is_nil(lfs.attributes(path))
    local output, status = run("Lua", "task_echo", "nowhere")
    assert.matches("^task_echo.lua: EADDRESS", output)
    assert.equal(1, status)
  end)

  it("task_udp_echo sends datagrams back", function()
    local echo = serve("Lua", "task_udp_echo")
    local heard = {}
    loop:spawn(function()
      local socket <close> = assert(task.udp(nil, { peer = echo.address }))
      for i = 1, 10 do
        socket:send("message " .. i)
        heard[i] = socket:recv(10)
      end
    end)
    support.run(loop)
    for i = 1, 10 do assert.equal("message " .. i, heard[i]) end
    assert.same({ "10 echoed, 0 not, 0 dropped\n", 0 }, { echo:stop("INT") })
  end)

  it("task_shutdown says goodbye, and cuts off who stays", function()
    local server = serve("Lua", "task_shutdown", "127.0.0.1:0 0.1")
    local polite, rude
    loop:spawn(function()
      local a <close> = assert(task.connect(server.address))
      local b <close> = assert(task.connect(server.address))
      a:write("hello\n")
      assert.equal("HELLO", a:read_until("\n"))
      b:write("me too\n")
      assert.equal("ME TOO", b:read_until("\n"))
      os.execute("kill -INT " .. server.pid)
      polite = a:read_all()
      a:write("what is not read any more")
      a:close()
      rude = b:read_all()
      repeat task.yield() until not b:write("x")
    end)
    support.run(loop)
    assert.equal("Goodbye.\n", polite)
    assert.equal("Goodbye.\n", rude)
    assert.same({ "cut off: 1\n", 0 }, { server:wait() })
  end)

  it("task_http joins what others have, in time or not", function()
    local waiting = 0
    local upstream = "http://" .. assert(http.serve(loop, "127.0.0.1:0", function(req, res)
      if req.path == "/gone" then return res:send(404) end
      if req.path == "/slow" then
        waiting = waiting + 1
        local _ <close> = setmetatable({}, { __close = function() waiting = waiting - 1 end })
        task.sleep(60)
      end
      res:send(200, req.path .. "\n")
    end)):address()
    local function ask(expected, ...)
      local urls = {}
      for i, path in ipairs { ... } do urls[i] = upstream .. path end
      local server = serve("Lua", "task_http", "127.0.0.1:0 " .. table.concat(urls, " ") .. " 0.2")
      local request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
      visit(server.address, { { nil, request }, { expected, LEAVE } })
      assert.same({ "", 0 }, { server:stop() })
    end
    ask("^HTTP/1.1 200 OK\r\n.*\r\n\r\n/a\n/b\n$", "/a", "/b")
    ask("^HTTP/1.1 502 .*/gone: answered 404\n$", "/slow", "/gone", "/slow")
    ask("^HTTP/1.1 504 .*in time\n$", "/a", "/slow")
    loop:spawn(function()
      while waiting > 0 do task.yield() end -- for those who have gone
      loop:stop()
    end)
    support.run(loop)
    assert.equal(2, select(2, run("Lua", "task_http", "0")))
  end)

  it("http_threads answers on all threads, and drains", function()
    local server = serve("Lua", "http_threads", "127.0.0.1:0 3")
    local visits = {}
    for i = 1, 30 do
      visits[i] = { { nil, "GET / HTTP/1.1\r\nHost: h\r\n\r\n" }, { "visitor %d+%.\n", LEAVE } }
    end
    visit(server.address, table.unpack(visits))
    local seen, threads = {}, {}
    for _, each in ipairs(visits) do
      local thread, visitor = each.heard:match("Hello from thread (%d+), visitor (%d+)")
      assert.is_nil(seen[visitor])
      seen[visitor], threads[thread] = true, true
    end
    assert.truthy(next(threads, next(threads)))
    local output, status = server:stop()
    assert.same({ "", 0 }, { output, status })
    server = serve("Lua", "http_threads", "127.0.0.1:0 2")
    output, status = server:stop("INT")
    assert.same({ "", 0 }, { output, status })
    output, status = run("Lua", "http_threads", "nowhere.invalid:1 2")
    assert.matches("^http_threads.lua: ", output)
    assert.equal(1, status)
  end)

  it("http_cheat answers whatever comes", function()
    local server = serve("Lua", "http_cheat", "127.0.0.1:0 2")
    local there = visit(server.address, { { nil, "no request at all" }, { "Hello, World!$", "!" },
                                          { "Hello, World!.*Hello, World!$" } })
    local answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!"
    assert.equal(answer .. answer, there[1].heard)
    local output, status = server:stop()
    assert.same({ "", 0 }, { output, status })
  end)

  it("thread_channel counts what is in files", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(("some words, and a line\n"):rep(20000))
    file:close()
    local output, status = run("Lua", "thread_channel", path .. " - " .. path, "echo one two |")
    os.remove(path)
    local counts = ("   20000  100000  460000 %s\n"):format(path)
    assert.equal(counts .. "       1       2       8 -\n" .. counts, output)
    assert.equal(0, status)
    output, status = run("Lua", "thread_channel", path)
    assert.matches("^thread_channel.lua: .*No such file", output)
    assert.equal(1, status)
  end)

  it("swap gives the same answers in both languages", function()
    if not lfs.attributes("build/examples/swap_lines.so") then
      return pending("the examples in C are not built")
    end
    if os.getenv("LD_PRELOAD") then return pending("its module is built without sanitizers") end
    local output, status = run("Lua", "swap", "lua c 5000")
    assert.equal(0, status)
    assert.matches("lua .*c .*times lua", output)
  end)
end)

-- In this process, where it can be seen how much it keeps.
describe("the example proxy", function()
  local HIGH, BUFFER = 65536, 16384
  local scene = support.scene()
  local loop, listener, sides, on_read
  before_each(function()
    scene.begin()
    loop, sides = scene.loop { buffer = BUFFER }, {}
  end)
  after_each(function()
    loop, listener, sides, on_read = nil, nil, nil, nil
    scene.finish()
  end)

  -- Its protocol, which connects to `listener`. Each side's `self` knows how much it has `taken`.
  local Proxy
  do
    local function watch(transitions)
      local create, bytes_read = transitions.create, transitions.bytes_read
      function transitions.create(self, stream, seed)
        table.insert(sides, self)
        self.taken = 0
        return create(self, stream, seed)
      end
      function transitions.bytes_read(self, stream, n)
        self.taken = self.taken + #stream
        local intent = bytes_read(self, stream, n)
        on_read(self.peer.stream:unsent())
        return intent
      end
      return transitions
    end
    local stand_in = {
      protocol = function(...)
        local declare = rotor.protocol(...)
        return function(transitions) return declare(watch(transitions)) end
      end,
      listen = function(_, protocol)
        Proxy = protocol
        return { address = function() return "" end }
      end,
      connect = function(_, ...) return loop:connect(listener:address(), ...) end,
      on_signal = function() end,
      run = function() end,
    }
    assert(loadfile("examples/proxy.lua", "t", setmetatable({
      arg = { "here", "there" },
      require = function() return stand_in end,
      print = function() end,
    }, { __index = _G })))()
  end

  -- Writes without reading until it is woken; then does what its seed says.
  local Filler = rotor.protocol "Filler" {
    create = function(self, stream, filler)
      self.filler, filler.stream, filler.said, filler.heard = filler, stream, 0, 0
      return filler.fill(filler, stream)
    end,
    bytes_flushed = function(self, stream) return self.filler.fill(self.filler, stream) end,
    wakeup = function(self, stream) return self.filler.turn(stream) end,
    bytes_read = function(self, stream)
      self.filler.heard = self.filler.heard + #stream
      stream:consume(#stream)
      return stream:expect_bytes(1)
    end,
    drop = function(self) self.filler.over() end,
  }

  local function fill(filler, stream)
    stream:write(("x"):rep(65536))
    filler.said = filler.said + 65536
    return stream:expect_flush()
  end

  local function shut_and_read(stream)
    stream:shutdown()
    return stream:expect_bytes(1)
  end

  local function read(stream) return stream:expect_bytes(1) end
  local function reset(stream) return stream:abort() end

  -- A client and a target fill the proxy from both sides until it reads from neither; then each
  -- does what is said. Returns both when they are over, and the most that was to be sent to one.
  local function fill_both(client_turn, target_turn)
    local over, most, stopped = 0, 0, {}
    local function count()
      over = over + 1
      if over == 2 then loop:stop() end
    end
    local client = { fill = fill, turn = client_turn, over = count }
    local target = { fill = fill, turn = target_turn, over = count }
    listener = assert(loop:listen("127.0.0.1:0", Filler, { seed = target }))
    function on_read(unsent)
      most = math.max(most, unsent)
      if stopped and sides[1].full and sides[2].full then
        stopped = nil
        client.stream:handle():wake()
        target.stream:handle():wake()
      end
    end
    local proxy = assert(loop:listen("127.0.0.1:0", Proxy))
    assert(loop:connect(proxy:address(), Filler, { seed = client }))
    support.run(loop)
    return client, target, most
  end

  it("keeps no more than its mark and one read for each side, and loses nothing", function()
    local client, target, most = fill_both(shut_and_read, shut_and_read)
    assert.same({ target.said, client.said }, { client.heard, target.heard })
    assert.is_true(most > HIGH and most <= HIGH + BUFFER, tostring(most))
  end)

  it("delivers what it has received to a target that was sending, too", function()
    local _, target = fill_both(reset, read)
    assert.equal(sides[1].taken, target.heard)
  end)

  it("delivers what it has received to a client that was sending, too", function()
    local client = fill_both(read, reset)
    assert.equal(sides[2].taken, client.heard)
  end)
end)
