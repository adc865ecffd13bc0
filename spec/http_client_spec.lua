local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"

-- The client, against rotor's server, and against peers that say what the test wants.
describe("the HTTP client", function()
  local scene = support.scene()
  local loop, client, base
  before_each(function()
    scene.begin()
    loop = scene.loop()
    client = loop:client()
  end)
  after_each(function()
    client:close()
    loop, client = nil, nil
    scene.finish()
  end)

  local function serve(handler, options)
    local server = assert(loop:serve("127.0.0.1:0", handler, options))
    base = "http://" .. server:address()
    return server
  end

  -- Says each of `answers`, in order, when the head of a request is there, then waits, or closes.
  local function say(answers, closes)
    local requests, said = {}, 0
    local server = assert(loop:listen("127.0.0.1:0", rotor.protocol "Say" {
      create = function(_, stream) return stream:expect_delimiter("\r\n\r\n", 65536) end,
      bytes_read = function(_, stream, n)
        requests[#requests + 1] = stream:take(n + 4)
        said = said + 1
        stream:write(answers[said] or "")
        if closes or not answers[said] then return stream:done() end
        return stream:expect_delimiter("\r\n\r\n", 65536)
      end,
    }))
    base = "http://" .. server:address()
    return requests
  end

  -- Run until the futures are resolved: what they have got.
  local function wait(...)
    local futures = { ... }
    local patience = loop:now() + 10
    local function pending()
      for _, future in ipairs(futures) do
        if future:status() == "pending" then return true end
      end
    end
    while pending() do
      assert(loop:now() < patience, "nothing for ten seconds")
      loop:turn()
    end
    local results = {}
    for i, future in ipairs(futures) do results[i] = future:get() or select(2, future:get()) end
    return table.unpack(results)
  end

  local function echo(req, res)
    res:header("X-Method", req.method)
    res:send(200, req.method .. " " .. req.target .. " " .. req.body)
  end

  describe("future", function()
    it("has the response", function()
      serve(function(_, res)
        res:header("Set-Cookie", "a=1"):header("set-cookie", "b=2"):header("X", "")
        res:send(203, "text")
      end)
      local reply = wait(client:get(base .. "/a?b#c"))
      assert.same({ 203, "Non-Authoritative Information", "1.1", "text", base .. "/a?b" },
        { reply.status, reply.reason, reply.version, reply.body, reply.url })
      assert.equal("a=1", reply.headers["SET-cookie"])
      assert.equal("", reply.headers.x)
      assert.is_nil(reply.headers.nothing)
      local names = {}
      for name, value in pairs(reply.headers) do names[#names + 1] = name .. "=" .. value end
      assert.same("Set-Cookie=a=1 set-cookie=b=2 X= Content-Length=4",
        (table.concat(names, " "):gsub("Date=[%w,: ]*GMT ", "")))
    end)

    it("is of a request with any method, headers and body", function()
      serve(function(req, res)
        local said = { req.method, req.target, req.version }
        for name, value in pairs(req.headers) do said[#said + 1] = name .. "=" .. value end
        said[#said + 1] = req.body
        res:send(200, table.concat(said, "|"))
      end)
      local host = base:sub(8)
      local a, b, c, d = wait(
        client:request { url = base .. "/x", method = "PURGE" },
        client:request { url = base, method = "POST", body = "abc", headers = { A = 1 } },
        client:request { url = base, method = "PUT", body = 12,
                         headers = { { "B", "1" }, { "b", 2 }, ["User-Agent"] = "" } },
        client:request { url = base, headers = { C = { "1", "2" }, ["User-Agent"] = "spec" } })
      assert.equal("PURGE|/x|1.1|Host=" .. host .. "|User-Agent=rotor|", a.body)
      assert.equal("POST|/|1.1|Host=" .. host .. "|A=1|User-Agent=rotor|Content-Length=3|abc",
        b.body)
      assert.equal("PUT|/|1.1|Host=" .. host .. "|B=1|b=2|Content-Length=2|12", c.body)
      assert.same({ 2, 1 }, { select(2, d.body:gsub("|C=", "")),
                              select(2, d.body:gsub("User%-Agent=spec", "")) })
    end)

    it("follows redirects", function()
      serve(function(req, res)
        local n = tonumber(req.path:match "%d+")
        if n > 0 then res:header("Location", "/" .. n - 1):send(req.query == "keep" and 307 or 302)
        else res:send(200, req.method .. req.body) end
      end)
      local url = base .. "/2"
      local a, b, c, d = wait(
        client:request { url = url, method = "POST", body = "x" },
        client:get(url, { redirects = 2 }),
        client:get(url, { redirects = 1 }),
        client:get(url, { redirects = 0 }))
      assert.same({ "GET", base .. "/0" }, { a.body, a.url })
      assert.equal(200, b.status)
      assert.equal("HTTP_EREDIRECTS: redirected more often than allowed (" .. base .. "/1)", c)
      assert.same({ 302, "/1", url }, { d.status, d.headers.location, d.url })
      local limited <close> = loop:client { redirects = 0 }
      assert.equal(302, wait(limited:get(url)).status)
    end)

    it("fails with what went wrong, by its name", function()
      say({ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "nonsense\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: https://x/\r\n\r\n" }, true)
      local function failure(future)
        wait(future)
        local value, message, name = future:get()
        assert.is_nil(value)
        return name .. "; " .. message
      end
      assert.equal("HTTP_ETRUNCATED; HTTP_ETRUNCATED: connection closed before the end of the "
        .. "response (" .. base .. "/)", failure(client:get(base)))
      assert.matches("^HTTP_EVERSION; HTTP_EVERSION: ", failure(client:get(base)))
      assert.matches("^HTTP_ESCHEME; HTTP_ESCHEME: only http:// is spoken here",
        failure(client:get(base)))
      assert.matches("^HTTP_ENORESPONSE; ", failure(client:get(base)))
      assert.equal("ECONNREFUSED; ECONNREFUSED: connection refused (http://127.0.0.1:1/)",
        failure(client:get("http://127.0.0.1:1")))
      assert.equal("HTTP_EURL; HTTP_EURL: not an http:// URL (nonsense)",
        failure(client:get("nonsense")))
      assert.matches("^HTTP_ESCHEME; ", failure(client:get("https://example.org/")))
      assert.matches("^HTTP_EUSERINFO; ", failure(client:get("http://a:b@example.org/")))
      assert.matches("^EADDRESS; ", failure(client:get(base, { address = "nowhere" })))
    end)

    it("fails when time is up", function()
      serve(function() end)
      local slow <close> = loop:client { timeout = 0.01 }
      assert.matches("^ETIMEDOUT: ", (wait(slow:get(base))))
      assert.matches("^ETIMEDOUT: ", (wait(client:get(base, { timeout = 0.01 }))))
    end)

    it("has no limit of time if that is said", function()
      serve(echo)
      local patient <close> = loop:client { timeout = math.huge }
      assert.equal(200, wait(patient:get(base)).status)
      assert.equal(200, wait(client:get(base, { timeout = math.huge })).status)
    end)

    it("cancels the request when it is canceled", function()
      local left
      serve(function(req) req:on_hangup(function() left = true end) end)
      local future = client:get(base)
      local n
      repeat
        loop:turn()
        n = client:connections()
      until n == 1
      for _ = 1, 10 do loop:turn() end
      future:cancel()
      while not left do loop:turn() end
      assert.equal(0, (client:connections()))
    end)

    it("cancels the request when it is collected", function()
      serve(function() end)
      client:get(base)
      loop:turn()
      collectgarbage()
      for _ = 1, 10 do loop:turn() end
      assert.equal(0, (client:connections()))
    end)

    it("may be combined", function()
      serve(echo)
      local all = loop:all { client:get(base .. "/1"), client:get(base .. "/2") }
      local bodies = all:map(function(replies) return replies[1].body .. replies[2].body end)
      assert.equal("GET /1 GET /2 ", wait(bodies))
      local late = client:get(base .. "/a"):timeout(5):and_then(function(reply)
        return client:get(base .. "/b?" .. reply.status)
      end)
      assert.equal("GET /b?200 ", wait(late).body)
    end)

    it("outlives its client", function()
      serve(echo)
      local short = loop:client()
      local future = short:get(base)
      short:close()
      short:close()
      assert.equal(200, wait(future).status)
      assert.same({ 0, 0 }, { short:connections() })
      assert.has_error(function() short:get(base) end, "the client is closed")
    end)
  end)

  describe("body", function()
    it("may be given by a function", function()
      serve(function(req, res)
        res:send(200, (req.headers["content-length"] or req.headers["transfer-encoding"])
          .. " " .. req.body)
      end)
      local function pieces(...)
        local left = { ... }
        return function() return table.remove(left, 1) end
      end
      local a, b, c = wait(
        client:request { url = base, method = "POST", body = pieces("abc", "", 4) },
        client:request { url = base, method = "POST", body = pieces() },
        client:request { url = base, method = "POST", body = pieces("ab", "c"),
                         headers = { ["Content-Length"] = 3 } })
      assert.same({ "chunked abc4", "chunked ", "3 abc" }, { a.body, b.body, c.body })
    end)

    it("may be given by futures", function()
      serve(echo)
      local port, future = loop:future()
      local step = 0
      local reply = client:request { url = base, method = "POST", body = function()
        step = step + 1
        if step == 1 then return future end
        if step == 2 then return "b" end
        local last, ended = loop:future()
        last:set(nil)
        return ended
      end }
      for _ = 1, 10 do loop:turn() end
      assert.equal("pending", reply:status())
      port:set("a")
      assert.equal("POST / ab", wait(reply).body)
    end)

    it("is asked for as it is taken", function()
      local asked, total = 0, 0
      local Slow = http.handler "Slow" {
        request_chunk = function(_, req, _, data)
          total = total + #data
          return req:hold(0.001)
        end,
        timeout = function(_, req) return req:ok() end,
        request_end = function(_, req, res)
          res:send(200, tostring(total))
          return req:done()
        end,
      }
      serve(Slow)
      local piece = ("x"):rep(50000)
      local reply = wait(client:request { url = base, method = "POST", body = function()
        asked = asked + 1
        return asked <= 100 and piece or nil
      end })
      assert.equal("5000000", reply.body)
    end)

    it("that fails fails the request", function()
      serve(echo)
      local function post(body)
        return (wait(client:request { url = base, method = "POST", body = body }))
      end
      assert.matches("^ELUA: ", post(function() error "no more" end))
      assert.matches("no more", scene.error())
      assert.matches("^ELUA: ", post(function() return {} end))
      assert.matches("a function that gives a body returned a table; it returns a string",
        scene.error())
      assert.matches("^ELUA: ", post(function()
        local port, future = loop:future()
        port:fail("lost")
        return future
      end))
      assert.matches("lost", scene.error())
      local n = 0
      assert.matches("^ELUA: ", (wait(client:request {
        url = base, method = "POST", headers = { ["Content-Length"] = 3 },
        body = function()
          n = n + 1
          return n == 1 and "abcd" or nil
        end })))
      assert.matches("EBODY: ", scene.error())
    end)

    it("is not sent on once the server has refused it", function()
      serve(function() end, { max_body = 10 })
      local n = 0
      local reply = wait(client:request { url = base, method = "POST", body = function()
        n = n + 1
        return n < 1000 and ("x"):rep(10000) or nil
      end })
      assert.equal(413, reply.status)
    end)

    it("waits to be welcome, if that is said", function()
      local requests = say { "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno" }
      local asked = false
      local function body()
        asked = true
        return nil
      end
      local reply = wait(client:request { url = base, method = "POST", expect = true, body = body })
      assert.same({ 403, "no", false }, { reply.status, reply.body, asked })
      assert.matches("\r\nExpect: 100%-continue\r\n", requests[1])
    end)
  end)

  describe("response", function()
    it("may be given to a function as it comes", function()
      serve(function(_, res)
        res:header("X", "y")
        local n = 0
        res:send(200, function()
          n = n + 1
          return n <= 50 and ("x"):rep(10000) or nil
        end)
      end)
      local total, header = 0, nil
      local reply = wait(client:get(base, { on_body = function(data, early)
        total, header = total + #data, early.headers.x
      end }))
      assert.same({ 200, nil, 500000, "y" }, { reply.status, reply.body, total, header })
    end)

    it("waits for the futures of that function", function()
      serve(function(_, res)
        local n = 0
        res:send(200, function()
          n = n + 1
          return n <= 1000 and ("x"):rep(10000) or nil
        end)
      end)
      local ports, total = {}, 0
      local reply = client:get(base, { on_body = function(data)
        local port, future = loop:future()
        ports[#ports + 1], total = port, total + #data
        return future
      end })
      for _ = 1, 100 do loop:turn() end
      assert.equal(1, #ports)
      while reply:status() == "pending" do
        ports[#ports]:set(true)
        local n = #ports
        repeat loop:turn() until #ports > n or reply:status() ~= "pending"
      end
      assert.equal(200, reply:get().status)
      assert.equal(10000000, total)
    end)

    it("fails with that function", function()
      serve(echo)
      local function get(on_body) return (wait(client:get(base, { on_body = on_body }))) end
      assert.matches("^ELUA: ", get(function() error "full" end))
      assert.matches("on_body: .*full", scene.error())
      assert.matches("^ELUA: ", get(function() return 1 end))
      assert.matches("on_body returned a number; it returns nothing, or a future", scene.error())
      assert.matches("^ELUA: ", get(function()
        local port, future = loop:future()
        port:fail("disk full")
        return future
      end))
      assert.matches("disk full", scene.error())
    end)

    it("has a limit", function()
      serve(function(_, res) res:send(200, ("x"):rep(100)) end)
      assert.matches("^HTTP_EBODYSIZE: ", (wait(client:get(base, { max_body = 99 }))))
      assert.equal(100, #wait(client:get(base, { max_body = 100 })).body)
      local reply = client:get(base, { max_body = 99, on_body = print })
      assert.matches("^HTTP_EBODYSIZE: ", (wait(reply)))
      local small <close> = loop:client { max_body = 99 }
      assert.matches("^HTTP_EBODYSIZE: ", (wait(small:get(base))))
    end)

    it("has trailers", function()
      say { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSum: 1\r\n\r\n" }
      local reply = wait(client:get(base))
      assert.same({ "a", "1" }, { reply.body, reply.trailers.sum })
    end)
  end)

  describe("connections", function()
    it("are used again, and limited", function()
      serve(function(req, res) res:send(200, req.remote) end)
      local few <close> = loop:client { connections_per_origin = 2 }
      local futures = {}
      for i = 1, 20 do futures[i] = few:get(base) end
      local remotes, n = {}, 0
      for _, reply in ipairs { wait(table.unpack(futures)) } do
        if not remotes[reply.body] then n = n + 1 end
        remotes[reply.body] = true
      end
      assert.equal(2, n)
      assert.same({ 2, 2 }, { few:connections() })
    end)

    it("do not keep the loop running", function()
      local peer = scene.loop() -- so that only the client is in the other one
      local server = assert(peer:serve("127.0.0.1:0", echo))
      local reply = client:get("http://" .. server:address())
      while reply:status() == "pending" do
        loop:turn()
        peer:turn()
      end
      assert.same({ 1, 1 }, { client:connections() })
      assert.equal(1, loop:count())
      loop:run() -- returns
      assert.equal(1, loop:count())
    end)

    it("lead where it is said", function()
      local requests = say { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }
      local address = base:sub(8)
      wait(client:get("http://example.org/x", { address = address }))
      wait(client:get("http://example.org/x", { proxy = address }))
      assert.matches("^GET /x HTTP/1.1\r\nHost: example.org\r\n", requests[1])
      assert.matches("^GET http://example.org/x HTTP/1.1\r\nHost: example.org\r\n", requests[2])
    end)

    it("of the module are the default loop's", function()
      local server = assert(http.serve("127.0.0.1:0", echo))
      local url = "http://" .. server:address()
      local body
      http.get(url):map(function(reply)
        http.request { url = url .. "/2" }:map(function(r)
          body = reply.body .. r.body
          server:close { drain = 1 }
        end)
      end)
      rotor.run()
      assert.equal("GET / GET /2 ", body)
      local other = http.get(loop, "nonsense") -- or that loop's
      loop:turn()
      assert.equal("failed", other:status())
      local mine <close> = http.client()
      assert.same({ 0, 0 }, { mine:connections() })
      rotor.default():close()
    end)
  end)

  describe("requester", function()
    local log
    before_each(function() log = {} end)

    local function note(...) log[#log + 1] = table.concat({ ... }, " ") end

    -- Transitions that log, and do what `given` does or the usual.
    local function requester(given)
      local transitions = {
        headers_received = function(_, call)
          note("head", call.status)
          return call:buffered()
        end,
        informational = function(_, call)
          note(call.status)
          return call:ok()
        end,
        redirected = function(_, call)
          note("to", (call.url:gsub("^http://[^/]*", "")))
          return call:ok()
        end,
        response_received = function(_, call)
          note("received", call.body)
          return call:done()
        end,
        response_chunk = function(_, call, data)
          note("chunk", data)
          return call:ok()
        end,
        response_end = function(_, call)
          note("end", call.trailers.sum)
          return call:done()
        end,
        failed = function(_, call, name, message)
          note("failed", name, message, call.status)
        end,
        call_over = function(_, call)
          note("over", call.status)
          loop:stop()
        end,
      }
      for name, transition in pairs(given or {}) do transitions[name] = transition end
      return http.requester "Log" (transitions)
    end

    local function run(class, options)
      options.url = options.url or base
      local handle, message = client:request(class, options)
      assert(handle, message)
      support.run(loop)
      local said = table.concat(log, ", ")
      log = {}
      return said, handle
    end

    it("hears of all that happens", function()
      say { "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /x\r\n"
              .. "Content-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab" }
      assert.equal("103, to /x, head 200, received abc, over 200", (run(requester(), {})))
      local progressive = { headers_received = function(_, call) return call:progressive() end }
      assert.equal("chunk a, end 1, over 200", (run(requester(progressive), {})))
      progressive.response_chunk = function(_, call, data)
        note("chunk", data)
        return call:done()
      end
      assert.equal("chunk ab, over 200", (run(requester(progressive), {})))
      assert.equal("failed HTTP_ENORESPONSE connection closed before a response came 0, over 0",
        (run(requester(), {})))
    end)

    it("has a self and a seed for each call", function()
      serve(echo)
      local class = http.requester "Self" {
        start = "declared",
        headers_received = function(self, call)
          self.seen = call.seed.value
          return call:buffered()
        end,
        response_received = function(self, call)
          note(self.start, self.seen, call.seed.value)
          return call:done()
        end,
        call_over = function() loop:stop() end,
      }
      assert.equal("declared a a", (run(class, { seed = { value = "a" } })))
      assert.equal("declared b b", (run(class, { seed = { value = "b" } })))
    end)

    it("may stream the body, with trailers", function()
      serve(http.handler "Echo" {
        request_received = function(_, req, res)
          res:send(200, (req.headers["content-length"] or "chunked") .. " " .. req.body .. " "
            .. (req.trailers.sum or "none"))
          return req:done()
        end,
      })
      local wanted = requester {
        body_wanted = function(self, call)
          self.n = (self.n or 0) + 1
          if self.n == 1 then
            assert(call:write("a", 1))
            assert.is_true(call:unsent() > 0)
            return call:ok()
          end
          if not call.seed then call:trailer("Sum", 1) end
          assert(call:finish("b"))
          return call:same()
        end,
      }
      assert.equal("head 200, received chunked a1b 1, over 200",
        (run(wanted, { method = "PUT", streamed = true })))
      assert.equal("head 200, received 3 a1b none, over 200",
        (run(wanted, { method = "PUT", streamed = true, seed = true,
                       headers = { ["Content-Length"] = 3 } })))
    end)

    it("may hold the body, and be woken", function()
      serve(echo)
      local handle
      local class = requester {
        headers_received = function(_, call)
          note "head"
          handle = call:handle()
          return call:hold()
        end,
        wakeup = function(_, call)
          note "wakeup"
          return call:ok()
        end,
      }
      local same = assert(client:request(class, { url = base }))
      for _ = 1, 20 do loop:turn() end
      assert.same({ "head" }, log)
      assert.equal(same, handle)
      assert(handle:wake())
      support.run(loop)
      assert.equal("head, wakeup, chunk GET / , end, over 200", table.concat(log, ", "))
      log = {}
      assert.is_false(handle:alive())
    end)

    it("may have deadlines of its own", function()
      serve(function() end)
      local class = requester {
        body_wanted = function(_, call) return call:ok(0.001) end,
        timeout = function(_, call)
          note "timeout"
          return call:error("too slow")
        end,
      }
      assert.equal("timeout, over 0", (run(class, { method = "PUT", streamed = true })))
      assert.matches("Log: timeout: too slow", scene.error())
    end)

    it("is canceled by its handle", function()
      serve(function() end)
      local handle = assert(client:request(requester(), { url = base }))
      for _ = 1, 10 do loop:turn() end
      assert(handle:close())
      support.run(loop)
      assert.same({ "over 0" }, log)
      log = {}
    end)

    it("without a transition for failures has them reported", function()
      serve(echo)
      local class = http.requester "Quiet" { call_over = function() loop:stop() end }
      run(class, { url = "http://127.0.0.1:1/" })
      assert.equal("Quiet: ECONNREFUSED: connection refused", scene.error())
    end)

    it("that throws ends the call", function()
      serve(echo)
      local class = requester { headers_received = function() error "mistake" end }
      assert.equal("over 200", (run(class, {})))
      assert.matches("Log: headers_received: .*mistake", scene.error())
      class = requester { response_received = function() end }
      assert.equal("head 200, over 200", (run(class, {})))
      assert.matches("response_received returned nothing; it returns what call:ok, hold",
        scene.error())
      class = requester { headers_received = function(_, call) return call:ok() end }
      assert.equal("over 200", (run(class, {})))
      assert.matches("it returns what call:buffered, progressive, hold, done or error does",
        scene.error())
      class = requester { call_over = function()
        loop:stop()
        error "at the end"
      end }
      assert.equal("head 200, received GET / ", (run(class, {})))
      assert.matches("Log: call_over: .*at the end", scene.error())
    end)

    it("may take the connection over", function()
      say { "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n"
              .. "hello" }
      local Shout = rotor.protocol "Shout" {
        create = function(_, stream, seed)
          note("create", seed)
          return stream:expect_bytes(5)
        end,
        bytes_read = function(_, stream, n)
          note("bytes", stream:take(n))
          loop:stop()
          return stream:done()
        end,
      }
      local class = requester {
        headers_received = function(_, call)
          note("head", call.headers.upgrade)
          assert(call:upgrade(Shout, { seed = "seed" }))
          return call:done()
        end,
        call_over = function() note "over" end,
      }
      assert.equal("head shout, over, create seed, bytes hello",
        (run(class, { headers = { Upgrade = "shout" } })))
    end)

    it("throws away what is over", function()
      serve(echo)
      local kept
      local class = requester {
        response_received = function(_, call)
          kept = call
          return call:done()
        end,
      }
      run(class, {})
      assert.has_error(function() return kept.status end,
        "the call is over; copy what is needed of it before")
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:write("x") })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:finish() })
      assert.equal(0, kept:unsent())
      assert.has_error(function() kept:ok() end, "only a requester's own transitions may say what "
        .. "the call waits for; from elsewhere wake it by its handle()")
    end)
  end)

  describe("misuse", function()
    local function fails(message, fn, ...)
      local ok, got = pcall(fn, ...)
      assert.is_false(ok)
      assert.equal(message, (tostring(got):gsub("^[^ ]*%.lua:%d+: ", "")))
    end

    it("throws, and says what would be right", function()
      base = "http://127.0.0.1:1/"
      local function request(options)
        return function()
          options.url = options.url or base
          client:request(options)
        end
      end
      fails("bad argument #1 to 'get' (string expected, got no value)", function() client:get() end)
      fails("bad argument #2 to 'get' (table expected, got string)",
        function() client:get(base, "x") end)
      fails("get(url, options): the options have no url and no method",
        function() client:get(base, { method = "POST" }) end)
      fails("bad argument #1 to 'get' (rotor.http.client expected, got string)",
        function() client.get(base) end)
      fails("option 'url': a string expected, got nil", function() client:request {} end)
      fails("option 'method': a string expected, got number", request { method = 1 })
      fails("option 'method': a token expected, got 'GET /'", request { method = "GET /" })
      fails("option 'body': a string or a function expected, got table", request { body = {} })
      fails("option 'body': body not allowed, or not of the declared length",
        request { method = "TRACE", body = "x" })
      fails("option 'body': body not allowed, or not of the declared length",
        request { body = "x", headers = { ["Content-Length"] = 2 } })
      fails("header 'Content-Length': body not allowed, or not of the declared length",
        request { headers = { ["Content-Length"] = 2 } })
      fails("option 'headers': a table expected, got string", request { headers = "A: b" })
      fails("option 'headers': NAME = VALUE or { NAME, VALUE } expected",
        request { headers = { "A: b" } })
      fails("header 'A': a string expected, got boolean", request { headers = { A = true } })
      fails("header 'A': a string expected, got nil", request { headers = { { "A" } } })
      local bad = "invalid header: not a token, CR, LF or NUL in a value, or not to be set"
      fails("header 'A': " .. bad, request { headers = { A = "x\r\nB: y" } })
      fails("header 'A b': " .. bad, request { headers = { ["A b"] = "x" } })
      fails("header 'Host': " .. bad, request { headers = { Host = "x" } })
      fails("header 'Transfer-Encoding': " .. bad,
        request { headers = { ["Transfer-Encoding"] = "x" } })
      fails("option 'on_body': a function expected, got boolean", request { on_body = true })
      fails("option 'address': an address expected", request { address = true })
      fails("option 'redirects': an integer from 0 to 1000 expected, got -1",
        request { redirects = -1 })
      fails("option 'timeout': seconds expected, more than 0 and less than 50 days, got 0",
        request { timeout = 0 })
      fails("option 'expect': a boolean expected, got string", request { expect = "yes" })
      fails("the options streamed and seed are for requesters; a body may be a function here",
        request { streamed = true })
      local class = http.requester "R" {}
      fails("the options on_body and max_body are for futures; a requester has transitions for "
        .. "that",
        function() client:request(class, { url = base, max_body = 1 }) end)
      fails("option 'body': a string expected; a requester streams by the option streamed and the "
        .. "transition body_wanted",
        function() client:request(class, { url = base, body = function() end }) end)
      fails("unknown option 'nonsense'; known are: url, method, headers, body, timeout, max_body, "
        .. "redirects, address, proxy, expect, on_body, streamed, seed", request { nonsense = 1 })
      assert.same({ nil, "HTTP_EURL: not an http:// URL (x)", "HTTP_EURL" },
        { client:request(class, { url = "x" }) })
    end)

    it("of a requester is found when it is declared", function()
      fails('requester "R": no transition is called response_recieved; did you mean '
        .. "response_received? (other functions go outside the table)",
        function() http.requester "R" { response_recieved = print } end)
    end)

    it("of what has come is found, too", function()
      serve(echo)
      local messages = {}
      local class = http.requester "R" {
        headers_received = function(_, call)
          for _, fn in ipairs {
            function() return call.nonsense end,
            function() call:write("x") end,
            function() call:trailer("A", "b") end,
            function() call:upgrade(rotor.protocol "P" { create = print }) end,
            function() call:buffered(-1) end,
            function() call:hold(-1) end,
          } do
            messages[#messages + 1] = select(2, pcall(fn)):gsub("^[^ ]*%.lua:%d+: ", "")
          end
          loop:stop()
          return call:done()
        end,
      }
      assert(client:request(class, { url = base }))
      support.run(loop)
      assert.same({
        "a call has no 'nonsense'; it has url, status, reason, version, headers, length, body, "
          .. "trailers, remote and seed",
        "there is nothing to be written now: the option streamed comes first, then body_wanted is "
          .. "told, and finish() ends it",
        "trailers are for a body in chunks, until finish()",
        "a connection is taken over once, in headers_received, after 101 or a 2xx to CONNECT",
        "bad argument #1 to 'buffered' (a number of bytes expected)",
        "bad argument #1 to 'hold' (seconds expected, at least 0)",
      }, messages)
    end)
  end)

  describe("ends", function()
    it("with the loop, in any state", function()
      for turns = 0, 12 do
        local short = rotor.loop()
        local server = assert(short:serve("127.0.0.1:0", function(req, res)
          if req.path == "/" then res:send(200, ("x"):rep(100000)) end
        end))
        local url = "http://" .. server:address()
        local own = short:client()
        local futures = { own:get(url), own:get(url .. "/never"), http.get(short, url),
                          own:get(url, { on_body = function() end }) }
        own:request(http.requester "R" {
          response_chunk = function(_, call) return call:hold() end,
        }, { url = url })
        for _ = 1, turns do short:turn() end
        short:close()
        for _, future in ipairs(futures) do assert.is_not.equal("pending", future:status()) end
        assert.has_error(function() own:get(url) end, "the loop is closed")
        assert.same({ 0, 0 }, { own:connections() })
      end
    end)

    it("with the Lua state", function()
      local output, status = support.program [[
        local rotor, http = require "rotor", require "rotor.http"
        local server = http.serve("127.0.0.1:0", function(_, res) res:send(200, "x") end)
        local url = "http://" .. server:address()
        kept = { http.get(url), http.client(), http.client():get(url) }
        http.get(url):map(function(reply)
          print(reply.body)
          kept[4] = http.get(url)
          os.exit(true, true)
        end)
        rotor.run()
      ]]
      assert.same({ "x\n", 0 }, { output, status })
    end)
  end)
end)
