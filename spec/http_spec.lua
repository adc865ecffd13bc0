local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"

describe("http.serve", function()
  local scene = support.scene()
  local loop, address
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  local function serve(handler, options)
    address = assert(http.serve(loop, "127.0.0.1:0", handler, options)):address()
  end

  -- Send requests, of which the last has the connection closed; the answers, each with its status,
  -- its headers by lower-case name and in order, and its body.
  local function ask(...)
    local bytes = support.exchange(loop, address, table.concat { ... })
    local answers, at = {}, 1
    while at <= #bytes do
      local head, behind = bytes:match("^(HTTP/1.1 .-\r\n)\r\n()", at)
      assert(head, bytes:sub(at))
      local answer = { status = tonumber(head:sub(10, 12)), headers = {}, names = {} }
      for name, value in head:gmatch("\n([^:]+): (.-)\r") do
        answer.headers[name:lower()] = value
        answer.names[#answer.names + 1] = name
      end
      local length = tonumber(answer.headers["content-length"] or 0)
      answer.body = bytes:sub(behind, behind + length - 1)
      answers[#answers + 1] = answer
      at = behind + #answer.body
    end
    return table.unpack(answers)
  end

  local function get(path, headers)
    return ("GET %s HTTP/1.1\r\nHost: spec\r\n%s\r\n"):format(path, headers or "")
  end
  local LAST = "Connection: close\r\n"

  local function post(body, headers)
    return ("POST / HTTP/1.1\r\nHost: spec\r\nContent-Length: %d\r\n%s\r\n%s"):format(#body,
      headers or "", body)
  end

  -- Calls `fn` after so many seconds.
  local function later(seconds, fn)
    assert(loop:add(rotor.machine "Later" {
      create = function(_, scope) return scope:ok(seconds) end,
      timeout = function(_, scope)
        fn()
        return scope:done()
      end,
    }))
  end

  describe("shows of a request", function()
    it("all there is", function()
      local seen
      serve(function(req, res)
        seen = { req.method, req.path, req.query, req.target, req.version, req.body }
        res:send()
      end)
      assert.equal(200, ask(post("the body", LAST):gsub("/", "/a%%20b?c=d?e", 1)).status)
      assert.same({ "POST", "/a%20b", "c=d?e", "/a%20b?c=d?e", "1.1", "the body" }, seen)
      assert.equal(200, ask("GET / HTTP/1.0\r\n\r\n").status)
      assert.same({ "GET", "/", nil, "/", "1.0", "" }, seen)
      ask(get("http://spec?", LAST))
      assert.same({ "GET", "/", "", "http://spec?", "1.1", "" }, seen)
    end)

    it("a body that came in chunks", function()
      local body
      serve(function(req, res)
        body = req.body
        res:send()
      end)
      ask("POST / HTTP/1.1\r\nHost: spec\r\nTransfer-Encoding: chunked\r\n", LAST, "\r\n",
        "5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nTrailer: x\r\n\r\n")
      assert.equal("hello, world", body)
    end)

    it("its headers: by name without case, and all in order", function()
      local byname, inorder = {}, {}
      serve(function(req, res)
        local headers = req.headers
        byname = { headers["host"], headers["HOST"], headers["X-One"], headers["x-two"],
                   headers["x-three"], req.headers.host }
        for name, value in pairs(headers) do inorder[#inorder + 1] = name .. "=" .. value end
        res:send()
      end)
      ask(get("/", "X-One: 1\r\nX-Two:  a \r\nx-one: 2\r\nX-Empty:\r\n" .. LAST))
      assert.same({ "spec", "spec", "1", "a", nil, "spec" }, byname)
      assert.same({ "Host=spec", "X-One=1", "X-Two=a", "x-one=2", "X-Empty=",
                    "Connection=close" }, inorder)
    end)

    it("where it comes from", function()
      local remote
      serve(function(req, res)
        remote = req.remote
        res:send()
      end)
      ask(get("/", LAST))
      assert.matches("^127%.0%.0%.1:%d+$", remote)
    end)

    it("nothing else", function()
      serve(function(req, res)
        local ok, message = pcall(load("return req.url", "=there", "t", { req = req }))
        res:send(ok and 500 or 200, message)
      end)
      assert.equal("there:1: a request has no 'url'; it has method, path, query, target, version, "
        .. "host, headers, has_body, length, body, trailers and remote", ask(get("/", LAST)).body)
    end)

    it("to nobody's change", function()
      serve(function(req, res)
        local ok = pcall(function() req.path = "/other" end)
          or pcall(function() req.headers.host = "other" end)
        res:send(ok and 500 or 200)
      end)
      assert.equal(200, ask(get("/", LAST)).status)
    end)
  end)

  describe("sends", function()
    it("status and body, body alone, status alone, or nothing", function()
      local ways = {
        ["/both"] = function(res) return res:send(201, "both") end,
        ["/body"] = function(res) return res:send("body") end,
        ["/status"] = function(res) return res:send(404) end,
        ["/nothing"] = function(res) return res:send() end,
        ["/nil"] = function(res) return res:send(202, nil) end,
        ["/default"] = function(res) return res:send(nil, "default") end,
        ["/number"] = function(res) return res:send(200, 42) end,
        ["/before"] = function(res) return res:status(418):send("before") end,
        ["/rather"] = function(res) return res:status(418):send(200, "rather") end,
      }
      local returned = {}
      serve(function(req, res) returned[#returned + 1] = ways[req.path](res) end)
      for path, expected in pairs {
        ["/both"] = { 201, "both" }, ["/body"] = { 200, "body" }, ["/status"] = { 404, "" },
        ["/nothing"] = { 200, "" }, ["/nil"] = { 202, "" },
        ["/default"] = { 200, "default" }, ["/number"] = { 200, "42" },
        ["/before"] = { 418, "before" }, ["/rather"] = { 200, "rather" },
      } do
        local answer = ask(get(path, LAST))
        assert.same(expected, { answer.status, answer.body }, path)
      end
      for _, result in ipairs(returned) do assert.is_true(result) end
      assert.equal(9, #returned)
    end)

    it("headers as they were given, in order", function()
      serve(function(_, res)
        res:header("X-One", "1"):header("x-two", ""):header("X-One", 2)
        res:send("body")
      end)
      local answer = ask(get("/", LAST))
      assert.equal("Date Connection X-One x-two X-One Content-Length",
        table.concat(answer.names, " "))
      assert.equal("2", answer.headers["x-one"])
      assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", answer.headers.date)
    end)

    it("answers to pipelined requests in order", function()
      serve(function(req, res)
        if req.path == "/slow" then
          later(0.002, function() res:send("slow") end)
        else
          res:send(req.path)
        end
      end)
      local bodies = {}
      for _, answer in ipairs { ask(get "/1", get "/slow", get "/2", get "/slow", get("/3", LAST)) }
      do bodies[#bodies + 1] = answer.body end
      assert.same({ "/1", "slow", "/2", "slow", "/3" }, bodies)
    end)

    it("once", function()
      serve(function(_, res)
        assert(res:sent() == false)
        res:send("first")
        assert(res:sent() == true)
        local ok, message = pcall(load("res:send('second')", "=there", "t", { res = res }))
        assert(not ok and message == "there:1: the request was answered before; it is answered "
          .. "once", message)
        ok, message = pcall(load("res:header('X', 'y')", "=there", "t", { res = res }))
        assert(not ok and message == "there:1: the request was answered before; headers come "
          .. "before send", message)
      end)
      assert.equal("first", ask(get("/", LAST)).body)
    end)

    it("nothing that is not HTTP", function()
      local said = {}
      local calls = {
        ["header('X', 'a\\r\\nSet-Cookie: b')"] = "header 'X': invalid header: "
          .. "not a token, CR, LF or NUL in a value, or not to be set",
        ["header('X\\n', 'a')"] = "header 'X\n': invalid header: "
          .. "not a token, CR, LF or NUL in a value, or not to be set",
        ["header('X', 'a\\0')"] = "header 'X': invalid header: "
          .. "not a token, CR, LF or NUL in a value, or not to be set",
        ["header('Transfer-Encoding', 'chunked')"] = "header 'Transfer-Encoding': invalid header: "
          .. "not a token, CR, LF or NUL in a value, or not to be set",
        ["header('X')"] = "bad argument #2 to 'header' (string expected, got no value)",
        ["send(204, 'body')"] = "EBODY: body not allowed, or not of the declared length",
        ["send(304, 'body')"] = "EBODY: body not allowed, or not of the declared length",
        ["send(100)"] = "bad argument #1 to 'send' (a status from 200 to 599 expected)",
        ["send(200.5)"] = "bad argument #1 to 'send' (a status from 200 to 599 expected)",
        ["send(200, {})"] =
          "bad argument #2 to 'send' (string, buf or function expected, got table)",
        ["send({})"] = "bad argument #1 to 'send' (string, buf or function expected, got table)",
        ["send('body', 200)"] = "bad argument #2 to 'send' "
          .. "(nothing more expected; a status comes before the body)",
        ["status(600)"] = "bad argument #1 to 'status' (a status from 200 to 599 expected)",
        ["status()"] = "bad argument #1 to 'status' (number expected, got no value)",
      }
      serve(function(_, res)
        for call in pairs(calls) do
          local ok, message = pcall(load("\nres:" .. call, "=there", "t", { res = res }))
          said[call] = ok and "" or message:match("^there:2: (.*)$") or message
        end
        if not res:sent() then res:send(200, "after all") end
      end)
      assert.equal("after all", ask(get("/", LAST)).body)
      assert.same(calls, said)
    end)

    it("a body of the length that was declared", function()
      serve(function(_, res)
        res:header("Content-Length", "4")
        assert(not pcall(res.send, res, "fives"))
        res:send("four")
      end)
      assert.equal("four", ask(get("/", LAST)).body)
    end)
  end)

  describe("waits for an answer that comes later", function()
    it("from a deadline", function()
      serve(function(req, res)
        local path = req.path
        later(0.002, function()
          assert(req.path == path and res:send(200, "late " .. path))
        end)
      end)
      assert.equal("late /x", ask(get("/x", LAST)).body)
    end)

    it("from a future", function()
      serve(function(_, res)
        local port, future = loop:future()
        future:map(function(value) res:send(value) end)
        later(0.002, function() port:set("the value") end)
      end)
      assert.equal("the value", ask(get("/", LAST)).body)
    end)

    it("from another request", function()
      local waiting
      serve(function(req, res)
        if req.path == "/wait" then
          waiting = res
        else
          res:send(waiting:send(200, req.path) and "told" or "nobody")
        end
      end)
      later(0.005, function()
        assert(loop:connect(address, rotor.protocol "Teller" {
          create = function(_, stream)
            stream:write(get("/tell", LAST))
            return stream:expect_bytes(1 << 16)
          end,
        }))
      end)
      assert.equal("/tell", ask(get("/wait", LAST)).body)
    end)

    it("and never gives its pair to another request", function()
      local kept = {}
      serve(function(req, res)
        for _, pair in ipairs(kept) do assert(pair.req ~= req and pair.res ~= res) end
        if req.path == "/now" then return res:send("now") end
        kept[#kept + 1] = { req = req, res = res, path = req.path }
        later(0.01, function() res:send("later " .. req.path) end)
      end)
      local requests = {}
      for i = 1, 4 do
        requests[#requests + 1] = get "/now"
        requests[#requests + 1] = get("/later" .. i, i == 4 and LAST or "")
      end
      local bodies = {}
      for _, answer in ipairs { ask(table.unpack(requests)) } do
        bodies[#bodies + 1] = answer.body
      end
      assert.same({ "now", "later /later1", "now", "later /later2", "now", "later /later3", "now",
                    "later /later4" }, bodies)
      for _, pair in ipairs(kept) do
        assert.has_error(function() return pair.req.path end,
          "the request is over; copy what is needed of it before it is answered")
        assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { pair.res:send("again") })
        assert.is_true(pair.res:sent())
      end
    end)

    it("as long as handler_timeout; then it has no use any more", function()
      local kept, late
      serve(function(req, res)
        kept = { req, res, req.headers }
        later(0.02, function()
          late = { res:send("late") }
          loop:stop()
        end)
      end, { handler_timeout = 0.002 })
      assert.equal(503, ask(get("/", LAST)).status)
      assert.matches("^http: GET / was not answered in time\n", scene.error())
      support.run(loop) -- until the machine above has tried
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, late)
      assert.equal(kept[2], kept[2]:header("X", "y"))
      assert.has_error(function() return kept[1].method end,
        "the request is over; copy what is needed of it before it is answered")
      assert.has_error(function() return kept[3].host end,
        "the request is over; copy what is needed of it before it is answered")
      assert.has_error(function() pairs(kept[3]) end,
        "the request is over; copy what is needed of it before it is answered")
    end)

    it("for a client that has left meanwhile, which ends the connection", function()
      local sent
      serve(function(_, res)
        later(0.005, function() sent = res:send(200, ("x"):rep(1 << 20)) end)
      end)
      assert(loop:connect(address, rotor.protocol "Client" {
        create = function(_, stream)
          stream:write(get("/"))
          return stream:expect_flush()
        end,
        bytes_flushed = function(_, stream) return stream:sleep(0.001) end,
        timeout = function(_, stream) return stream:abort() end,
      }))
      for _ = 1, 1000 do
        if sent and loop:count() == 1 then break end
        later(0.001, function() loop:stop() end)
        loop:run()
      end
      assert.is_true(sent) -- that the client has left is noticed only now
      assert.equal(1, loop:count()) -- the listener
    end)

    it("but not longer than its loop", function()
      local kept
      serve(function(_, res)
        kept = res
        loop:stop()
      end)
      assert(loop:connect(address, rotor.protocol "Client" {
        create = function(_, stream)
          stream:write(get("/"))
          return stream:expect_bytes(1)
        end,
      }))
      support.run(loop)
      loop:close()
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { kept:send("anyone?") })
    end)
  end)

  describe("with a handler that throws", function()
    it("answers 500, closes, and reports it", function()
      serve(function() error("kaputt") end)
      local answer, more = ask(get "/", get("/", LAST))
      assert.equal(500, answer.status)
      assert.equal("close", answer.headers.connection)
      assert.is_nil(more)
      local message = scene.error()
      assert.matches("^http: handler: spec/http_spec%.lua:%d+: kaputt\nstack traceback:\n", message)
      assert.matches("\n\tspec/http_spec%.lua:%d+: in function", message)
    end)

    it("answers what was sent before, and closes", function()
      serve(function(_, res)
        res:send("sent")
        error("too late")
      end)
      local answer, more = ask(get "/", get("/", LAST))
      assert.equal("sent", answer.body)
      assert.is_nil(more)
      assert.matches("^http: handler: .*: too late\n", scene.error())
    end)

    it("serves the others, with another pair", function()
      local kept = {}
      serve(function(req, res)
        kept[#kept + 1] = { req, res }
        if req.path == "/bad" then error("bad") end
        res:send(req.path)
      end)
      assert.equal("/1", ask(get("/1", LAST)).body)
      assert.equal(500, ask(get("/bad", LAST)).status)
      assert.equal("/2", ask(get("/2", LAST)).body)
      scene.error()
      assert.equal(kept[1][2], kept[2][2]) -- answered before its handler returned, so used again
      assert.are_not_equal(kept[2][1], kept[3][1])
      assert.are_not_equal(kept[2][2], kept[3][2])
    end)
  end)

  describe("limits", function()
    local function answer_to(options, ...)
      serve(function(req, res) res:send("body of " .. #req.body) end, options)
      local answer = ask(...)
      return answer and answer.status
    end

    it("the request line", function()
      assert.equal(414, answer_to({ max_request_line = 100 }, get("/" .. ("x"):rep(100), LAST)))
    end)
    it("the head", function()
      assert.equal(431, answer_to({ max_head = 200 }, get("/", "X: " .. ("x"):rep(200) .. "\r\n")))
    end)
    it("the fields", function()
      assert.equal(431, answer_to({ max_fields = 2 }, get("/", "X: 1\r\nY: 2\r\n")))
    end)
    it("the body", function()
      assert.equal(200, answer_to({ max_body = 10 }, post(("x"):rep(10), LAST)))
      assert.equal(413, answer_to({ max_body = 10 }, post(("x"):rep(11), LAST)))
    end)
    it("the time for the head", function()
      assert.equal(408, answer_to({ head_timeout = 0.002 }, "GET / HTTP/1.1\r\n"))
    end)
    it("the time for the body", function()
      assert.equal(408, answer_to({ body_timeout = 0.002, body_rate = 1 << 20 },
        "POST / HTTP/1.1\r\nHost: spec\r\nContent-Length: 10\r\n\r\nhalf"))
    end)
    it("the time for the next request", function()
      assert.equal(200, answer_to({ idle_timeout = 0.002, stall_timeout = 1 }, get "/"))
    end)
    it("the connections", function()
      assert.equal(200, answer_to({ connections = 100, backlog = 10, reuse_port = true,
        delay = true }, get("/", LAST)))
    end)
  end)

  it("refuses what is malformed, without asking the handler", function()
    serve(function() error("asked") end)
    assert.equal(400, ask("GET / HTTP/1.1\r\n\r\n").status)
    assert.equal(400, ask("GET /\r\n\r\n").status)
    assert.equal(501, ask("POST / HTTP/1.1\r\nHost: spec\r\n",
      "Transfer-Encoding: gzip\r\n\r\n").status)
  end)

  it("answers HEAD without the body", function()
    serve(function(_, res) res:send("the body") end)
    local bytes = support.exchange(loop, address,
      "HEAD / HTTP/1.1\r\nHost: spec\r\nConnection: close\r\n\r\n")
    assert.matches("\r\nContent%-Length: 8\r\n\r\n$", bytes)
  end)

  it("stops accepting when its listener is closed", function()
    local listener = assert(loop:serve("127.0.0.1:0", function(_, res) res:send("hello") end))
    address = listener:address()
    assert.equal("hello", ask(get("/", LAST)).body)
    assert.is_true(listener:close())
    support.run(loop)
    assert.equal(0, loop:count())
    assert.equal("ECONNREFUSED", support.exchange(loop, address, get "/"))
  end)

  it("drains: what is under way is answered, and nothing more", function()
    local server, draining
    server = assert(http.serve(loop, "127.0.0.1:0", function(req, res)
      later(0.005, function() res:send("late " .. req.path) end)
      draining = assert(server:close { drain = 5 })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { server:close { drain = 5 } })
    end))
    address = server:address()
    -- No `LAST`: it is the server that ends the connection, before the second request.
    local answer, more = ask(get "/1", get "/2")
    assert.equal("late /1", answer.body)
    assert.equal("close", answer.headers.connection)
    assert.is_nil(more)
    support.run(loop)
    assert.equal(0, draining:get())
    assert.equal(0, loop:count())
    assert.equal("ECONNREFUSED", support.exchange(loop, address, get "/"))

    local Sink = rotor.protocol "Sink" { create = function(_, stream) return stream:sleep() end }
    local listener = assert(loop:listen("127.0.0.1:0", Sink))
    assert.has_error(function() listener:close { drain = 1 } end,
      "only what http.serve returned can drain")
    assert.has_error(function() listener:close { drain = 0 } end,
      "option 'drain': seconds expected, more than 0 and less than 50 days, got 0")
    listener:close()
  end)

  it("serves the default loop when none is given", function()
    loop = rotor.default()
    address = assert(http.serve("127.0.0.1:0", function(_, res) res:send("hello") end)):address()
    assert.equal("hello", ask(get("/", LAST)).body)
    loop:close()
  end)

  it("may be two servers on one loop", function()
    serve(function(_, res) res:send("one") end)
    local one = address
    serve(function(_, res) res:send("two") end)
    assert.equal("two", ask(get("/", LAST)).body)
    address = one
    assert.equal("one", ask(get("/", LAST)).body)
  end)
end)
