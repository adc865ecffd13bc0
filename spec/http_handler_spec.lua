local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"

-- Handlers that are tables, bodies in pieces, both ways, and what becomes of connections.
describe("http.handler", function()
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

  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end

  local function serve(handler, options)
    local server = assert(http.serve(loop, "127.0.0.1:0", handler, options))
    address = server:address()
    return server
  end

  local function ask(...)
    local bytes = support.exchange(loop, address, table.concat { ... })
    return (bytes:gsub("Date: [^\r]*\r\n", ""))
  end

  local function get(path, headers)
    return ("GET %s HTTP/1.1\r\nHost: spec\r\n%s\r\n"):format(path, headers or "")
  end
  local LAST = "Connection: close\r\n"

  local function post(body, headers)
    return ("POST / HTTP/1.1\r\nHost: spec\r\nContent-Length: %d\r\n%s\r\n%s"):format(#body,
      headers or "", body)
  end

  local function ok(body, headers)
    return ("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s"):format(headers or "", #body, body)
  end

  -- Says hello to a client, and then what it says, in capitals.
  local Shout = rotor.protocol "Shout" {
    create = function(_, stream, seed)
      stream:write(seed or "hello", "\n")
      return stream:expect_delimiter("\n", 100)
    end,
    bytes_read = function(_, stream, n)
      stream:write(stream:take(n):upper(), "\n")
      return stream:done()
    end,
  }

  describe("bodies", function()
    local Collect = http.handler "Collect" {
      headers_received = function(self, req)
        self.parts = {}
        return req.path == "/whole" and req:buffered(5) or req:progressive(10)
      end,
      request_received = function(_, req, res)
        res:send("whole " .. req.body)
        return req:done()
      end,
      request_chunk = function(self, req, _, data)
        table.insert(self.parts, data)
        return req:ok()
      end,
      request_end = function(self, req, res)
        res:send("pieces " .. table.concat(self.parts))
        return req:done()
      end,
    }

    it("come whole or in pieces", function()
      serve(Collect)
      assert.equal(ok "pieces abc" .. ok("pieces ", LAST), ask(post "abc", get("/", LAST)))
      assert.equal(ok("whole abc", LAST),
        ask((post("abc", LAST):gsub("^POST /", "POST /whole"))))
      assert.truthy(ask((post "abcdef":gsub("^POST /", "POST /whole"))):find("^HTTP/1.1 413 "))
      assert.truthy(ask(post(("x"):rep(11))):find("^HTTP/1.1 413 "))
    end)

    it("are held until the handler can take more", function()
      local request
      serve(http.handler "Slow" {
        headers_received = function(_, req)
          request = req
          return req:hold(10)
        end,
        request_chunk = function(_, req, _, data)
          note("chunk", data)
          return req:hold(10)
        end,
        request_end = function(_, req, res)
          note "end"
          res:send "done"
          return req:done()
        end,
        wakeup = function(_, req)
          note "wakeup"
          return req:ok()
        end,
      })
      local Waker = rotor.machine "Waker" {
        create = function(_, scope) return scope:ok(0.01) end,
        timeout = function(self, scope)
          self.n = (self.n or 0) + 1
          if request and not request:handle():wake() then return scope:done() end
          return scope:ok(0.01)
        end,
      }
      loop:add(Waker)
      assert.equal(ok("done", LAST), ask(post("abc", LAST)))
      local text = table.concat(log, ",")
      assert.truthy(text:find("^[wakeup,]*wakeup,chunk abc,wakeup,end$"), text)
    end)

    it("have trailers", function()
      serve(function(req, res)
        assert.is_nil(req.length)
        assert.is_true(req.has_body)
        local names = {}
        for name, value in pairs(req.trailers) do names[#names + 1] = name .. "=" .. value end
        assert.equal("5", req.trailers.sum)
        assert.is_nil(req.trailers.host)
        res:send(req.body .. " " .. table.concat(names, ";"))
      end)
      assert.equal(ok("abcde Sum=5;X=y", LAST), ask(
        "POST / HTTP/1.1\r\nHost: spec\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        "3\r\nabc\r\n2\r\nde\r\n0\r\nSum: 5\r\nHost: x\r\nX: y\r\n\r\n"))
    end)
  end)

  describe("answers", function()
    it("go piece by piece", function()
      serve(function(_, res)
        assert.has_error(function() res:write "x" end, "start() comes before, and finish() ends it")
        assert(res:header("X-A", "b"):start(201))
        assert.is_false(res:sent())
        assert(res:write("abc", 12))
        assert(res:trailer("Sum", 5))
        assert.has_error(function() res:trailer("Content-Length", 5) end)
        assert.has_error(function() res:header("X", "y") end,
          "the request was answered before; headers come before send")
        assert(res:finish "d")
        assert.is_true(res:sent())
        assert.has_error(function() res:finish() end,
          "start() comes before, and finish() ends it")
      end)
      assert.equal("HTTP/1.1 201 Created\r\nConnection: close\r\nX-A: b\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\n12\r\n1\r\nd\r\n0\r\nSum: 5\r\n\r\n",
        ask(get("/", LAST)))
    end)

    it("are of the length that was said", function()
      serve(function(_, res)
        res:header("Content-Length", 5):start()
        res:write "abc"
        assert.has_error(function() res:write "def" end)
        assert.has_error(function() res:finish() end)
        assert(res:finish "de")
      end)
      assert.equal(ok("abcde", LAST), ask(get("/", LAST)))
    end)

    it("come from a function", function()
      local n = 0
      serve(function(_, res)
        res:send(200, function()
          n = n + 1
          return n <= 600 and ("%04d"):format(n):rep(256) or nil
        end)
      end)
      local answer = ask(get("/", LAST))
      local body, at = {}, answer:match("\r\n\r\n()")
      while true do
        local size, behind = answer:match("^(%x+)\r\n()", at)
        size = tonumber(size, 16)
        if size == 0 then break end
        body[#body + 1] = answer:sub(behind, behind + size - 1)
        at = behind + size + 2
      end
      assert.equal(600, #body)
      assert.equal(("0600"):rep(256), body[600])
      assert.equal(601, n)
    end)

    it("from a function that fails are cut off", function()
      local n = 0
      serve(function(_, res)
        res:send(function()
          n = n + 1
          if n == 2 then error "no more" end
          return "abc"
        end)
      end)
      assert.equal("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ask(get "/"))
      assert.truthy(scene.error():find("no more", 1, true))
      serve(function(_, res) res:send(function() return {} end) end)
      assert.equal("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ask(get "/"))
      assert.truthy(scene.error():find(
        "a function that gives a body returned a table; it returns a string, or nil at its end",
        1, true))
    end)

    it("wait for a slow client", function()
      local most, left = 0, 80
      local function fill(_, req, res)
        while left > 0 and res:unsent() < 20000 do
          left = left - 1
          assert(res:write(("x"):rep(10000)))
        end
        most = math.max(most, res:unsent())
        if left > 0 then return req:and_flush(req:ok(), 5000) end
        assert(res:finish())
        return req:done()
      end
      serve(http.handler "Large" {
        request_received = function(self, req, res)
          res:header("Content-Length", 800000):start()
          return fill(self, req, res)
        end,
        flushed = fill,
      })
      local answer = ask(get("/", LAST))
      assert.equal(800000, #answer:match("\r\n\r\n(.*)"))
      assert.is_true(most < 31000)
    end)
  end)

  describe("errors", function()
    it("have the handler's pages", function()
      serve(http.handler "Pages" {
        request_received = function(_, req) return req:done() end,
        bad_request = function(self, req, _, name, message)
          self.bad = true
          note("bad", name, message, req.method)
        end,
        error_page = function(self, _, res, status, why)
          note("page", status, why or "-", tostring(self.bad))
          res:header("Content-Type", "text/html")
          if why then res:send(status, "<p>" .. why) end
        end,
        request_over = function(_, req) note("over", req.target) end,
      })
      local answer = ask("GET / HTTP/1.1\r\n\r\n")
      assert.truthy(answer:find("^HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
        .. "Content%-Type: text/html\r\nContent%-Length: %d+\r\n\r\n<p>missing"), answer)
      answer = ask(get "/x")
      assert.equal("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n"
        .. "Content-Type: text/html\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n\r\n"
        .. "500 Internal Server Error\n", answer)
      assert.same({
        "bad HTTP_EHOST missing, repeated or invalid Host (section 3.2) ",
        "page 400 missing, repeated or invalid Host (section 3.2) true", "over ",
        "page 500 - nil", "over /x" }, log)
    end)

    it("are told with the handler's name", function()
      serve(http.handler "Broken" {
        request_received = function(_, req)
          if req.path == "/throw" then error "thrown" end
          if req.path == "/error" then return req:error("failed") end
          if req.path == "/receive" then return req:buffered() end
          if req.path == "/earlier" then
            local earlier = req:ok()
            req:ok()
            return earlier
          end
        end,
      })
      for path, expected in pairs {
        ["/throw"] = "Broken: request_received: .*thrown",
        ["/error"] = "Broken: request_received: failed",
        ["/receive"] = "request_received returned .*; it returns what req:ok, hold, and_flush",
        ["/earlier"] = "returned what another has asked for, or asked for earlier",
        ["/nothing"] = "request_received returned nothing; it returns",
      } do
        assert.truthy(ask(get(path)):find("^HTTP/1.1 500 "))
        local message = scene.error()
        assert.truthy(message:find(expected), message)
      end
    end)

    it("in declaring say what was meant", function()
      assert.has_error(function() http.handler "H" {} end,
        'handler "H": request_received is missing, or, to get bodies as they come, request_end')
      assert.has_error(function() http.handler "H" { request_recieved = print } end,
        'handler "H": no transition is called request_recieved; did you mean request_received? '
        .. "(other functions go outside the table)")
      assert.has_error(function() http.handler(1) end, "http.handler: a name expected, got number")
      assert.has_error(function() http.serve(loop, "127.0.0.1:0", {}) end)
      assert.has_error(function() http.serve(loop, "127.0.0.1:0", print, { log = 1 }) end,
        "option 'log': a function expected, got number")
    end)

    it("answers are for transitions only", function()
      local kept
      serve(http.handler "Keeps" {
        request_received = function(_, req, res)
          kept = req
          res:send "x"
          return req:done()
        end,
      })
      ask(get("/", LAST))
      assert.has_error(function() kept:ok() end)
      serve(function(req, res)
        assert.has_error(function() req:ok() end)
        res:send "x"
      end)
      ask(get("/", LAST))
    end)
  end)

  describe("time", function()
    it("is the handler's", function()
      serve(http.handler "Late" {
        request_received = function(self, req)
          self.n = 0
          return req:ok(0.01)
        end,
        timeout = function(self, req, res)
          self.n = self.n + 1
          if self.n < 3 then return req:ok(0.01) end
          res:send("after " .. self.n)
          return req:done()
        end,
      })
      assert.equal(ok "after 3" .. ok("after 3", LAST), ask(get "/", get("/", LAST)))
    end)

    it("passes without an answer", function()
      serve(http.handler "Never" { request_received = function(_, req) return req:ok(0.01) end })
      assert.truthy(ask(get "/x"):find("^HTTP/1.1 503 "))
      assert.truthy(scene.error():find("GET /x was not answered in time", 1, true))
    end)
  end)

  describe("clients that leave", function()
    -- Sends, and leaves as soon as the server says so.
    local function leave(text)
      local Client = rotor.protocol "Client" {
        create = function(_, stream)
          stream:write(text)
          return stream:expect_flush()
        end,
        bytes_flushed = function(_, stream) return stream:sleep(0.02) end,
        timeout = function(_, stream) return stream:abort() end,
      }
      assert(loop:connect(address, Client))
    end

    it("tell the handler", function()
      local server
      server = serve(http.handler "Waits" {
        request_received = function(_, req) return req:ok(10) end,
        hangup = function(_, req)
          note("hangup", req.path)
          server:close()
          return req:done()
        end,
        request_over = function(_, req) note("over", req.path, req.headers.host) end,
      })
      leave(get "/x")
      support.run(loop)
      assert.same({ "hangup /x", "over /x spec" }, log)
    end)

    it("tell on_hangup", function()
      local server
      server = serve(function(req, res)
        req:on_hangup(function()
          note("left")
          res:send("too late")
          server:close()
        end)
      end)
      leave(get "/x")
      support.run(loop)
      assert.same({ "left" }, log)
    end)
  end)

  describe("connections", function()
    it("become streams", function()
      serve(function(req, res)
        if req.path == "/other" then
          assert.has_error(function() res:upgrade(Shout) end,
            "EUPGRADE: the client has not asked to change the protocol (RFC 9110 7.8)")
          return res:send "no"
        end
        assert(res:header("Upgrade", "shout"):upgrade(Shout, { seed = "hi" }))
      end)
      assert.equal(ok "no" .. "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\n"
        .. "Connection: Upgrade\r\n\r\nhi\nONE\n",
        ask(get "/other", get("/", "Connection: upgrade\r\nUpgrade: shout\r\n"), "one\n"))
    end)

    it("become tunnels", function()
      serve(function(_, res) assert(res:upgrade(Shout)) end)
      assert.equal("HTTP/1.1 200 OK\r\n\r\nhello\nONE\n",
        ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\none\n"))
    end)
  end)

  it("logs", function()
    serve(function(req, res)
      if req.path == "/none" then error "thrown" end
      res:send(req.body)
    end, { log = function(entry)
      assert.equal("number", math.type(entry.seconds) and "number")
      assert.truthy(entry.remote:find("^127.0.0.1:%d+$"))
      note(entry.method or "-", entry.target or "-", entry.version or "-", entry.host or "-",
        entry.user_agent or "-", entry.status, tostring(entry.whole), entry.received, entry.sent)
    end })
    local request = post("abc", "User-Agent: me\r\n")
    local answer = support.exchange(loop, address, request .. "bad\r\n\r\n")
    local first = #answer:match("^.-\r\n\r\nabc")
    ask(get "/none")
    scene.error()
    assert.equal(("POST / 1.1 spec me 200 true %d %d"):format(#request, first), log[1])
    assert.equal(("- - - - - 400 true 7 %d"):format(#answer - first), log[2])
    assert.truthy(log[3]:find("^GET /none 1.1 spec %- 500 true %d+ %d+$"), log[3])
  end)

  it("counts", function()
    local function count(name)
      return tonumber(http.metrics():match("\nrotor_http_" .. name .. " ([%d.]+)\n"))
    end
    local before = {}
    local names = { "connections_total", 'requests_total{status="200"}', "sent_bytes_total",
                    'requests_total{status="404"}', "request_duration_seconds_count",
                    'request_duration_seconds_bucket{le="+Inf"}', "received_bytes_total" }
    for i, name in ipairs(names) do
      names[i] = name:gsub("[%+%-]", "%%%0")
      before[i] = count(names[i]) or 0
    end
    serve(function(req, res)
      assert.equal(1, count("requests_active"))
      assert.equal(1, count("connections_active"))
      res:send(req.path == "/" and 200 or 404, "x")
    end, { metrics = true })
    local asked = get "/" .. get "/x" .. get("/", LAST)
    local answer = support.exchange(loop, address, asked)
    local turns = 0
    while count("connections_active") > 0 and turns < 1000 do
      loop:turn()
      turns = turns + 1
    end
    local after = {}
    for i, name in ipairs(names) do after[i] = count(name) - before[i] end
    assert.same({ 1, 2, #answer, 1, 3, 3, #asked }, after)
    assert.equal(0, count("requests_active"))
    serve(function(_, res) res:send "x" end)
    ask(get("/", LAST))
    assert.equal(before[1] + 1, count("connections_total"))
  end)

  it("says what a drain has cut off", function()
    local server = serve(http.handler "Waits" {
      request_received = function(_, req) return req:ok(10) end,
      request_over = function() note "over" end,
    })
    local drained
    assert(loop:add(rotor.machine "Drainer" {
      create = function(_, scope) return scope:ok(0.05) end,
      timeout = function(_, scope)
        drained = assert(server:close { drain = 0.05 })
        return scope:done()
      end,
    }))
    assert.equal("", ask(get "/x"))
    support.run(loop)
    assert.equal(1, drained:get())
    assert.same({ "over" }, log)
  end)
end)
