local rotor = require "rotor"
local http = require "rotor.http"
local task = require "rotor.task"
local support = require "spec.support"

describe("an HTTP handler that waits", function()
  local scene = support.scene()
  local loop, address, server, client
  before_each(function()
    scene.begin()
    loop = scene.loop()
    client = http.client(loop)
  end)
  after_each(function()
    client:close()
    loop, server, client = nil, nil, nil
    scene.finish()
  end)

  local function serve(handler, options)
    server = assert(http.serve(loop, "127.0.0.1:0", handler, options))
    address = server:address()
  end

  -- Run `fn` as a task until it ends; what it returns, or throws.
  local function run(fn)
    local handle = loop:spawn(function(...)
      local results = table.pack(fn(...))
      loop:stop()
      return table.unpack(results, 1, results.n)
    end)
    local watch = loop:spawn(function()
      task.sleep(10)
      handle:cancel()
      loop:stop()
    end)
    -- An error ends the task without stopping the loop.
    local joiner = loop:spawn(function()
      handle:join()
      loop:stop()
    end)
    loop:run()
    watch:cancel()
    joiner:cancel()
    local results = table.pack(handle:join())
    if results[3] == "ELUA" or results[3] == "ECANCELED" then error(results[2], 0) end
    return table.unpack(results, 1, results.n)
  end

  local function fetch(path, options)
    options = options or {}
    options.url = "http://" .. address .. (path or "/")
    return assert(client:request(options):await())
  end

  local function get(path, headers)
    return ("GET %s HTTP/1.1\r\nHost: spec\r\n%s\r\n"):format(path, headers or "")
  end
  local LAST = "Connection: close\r\n"

  -- A connection that sends `bytes` and then does what `stream` is told to by who holds it.
  local Peer = rotor.protocol "Peer" {
    create = function(self, stream, seed)
      self.seed, seed.stream = seed, stream
      stream:write(seed.bytes)
      seed.handle = stream:handle()
      return stream:sleep()
    end,
    fatal = function() end,
  }

  -- Whether `is` comes to hold within a second.
  local function becomes(is)
    for _ = 1, 1000 do
      if is() then return true end
      task.sleep(0.001)
    end
    return false
  end

  describe("is a task", function()
    it("that sleeps", function()
      serve(function(req, res)
        task.sleep(0.001)
        res:send(200, req.path)
      end)
      run(function()
        assert.equal("/a", fetch("/a").body)
        assert.equal("/b", fetch("/b").body)
      end)
    end)

    it("only once it waits, or says that it is one", function()
      local log = {}
      serve(function(_, res)
        log[#log + 1] = loop:count()
        task.sleep(0)
        log[#log + 1] = loop:count()
        res:send(200, tostring(task.running()))
      end)
      run(function()
        assert.equal("rotor.task: without a name (running)", fetch("/").body)
        assert.equal(log[1] + 1, log[2])
      end)
      serve(function(_, res) res:send(200, task.running().name or "none") end)
      run(function() assert.equal("none", fetch("/").body) end)
    end)

    it("that waits for futures, channels, locks, signals, other tasks and other servers", function()
      local channel, mutex = task.channel(), task.mutex()
      local upstream
      serve(function(_, res) res:send(200, "upstream") end)
      upstream = "http://" .. address
      serve(function(req, res)
        if req.path == "/future" then
          local port, future = loop:future()
          loop:spawn(function() port:set("future") end)
          res:send(200, future:await())
        elseif req.path == "/channel" then
          res:send(200, channel:recv())
        elseif req.path == "/mutex" then
          local _ <close> = mutex:lock()
          task.sleep(0.001)
          res:send(200, "mutex")
        elseif req.path == "/http" then
          res:send(200, client:get(upstream):await().body)
        elseif req.path == "/join" then
          res:send(200, task.spawn(function() task.yield() return "join" end):join())
        elseif req.path == "/scope" then
          local parts = {}
          task.scope(function(scope)
            for i = 1, 3 do scope:spawn(function() task.sleep(0.001 * (4 - i)) parts[i] = i end) end
          end)
          res:send(200, table.concat(parts))
        elseif req.path == "/select" then
          local key, value = task.select { one = { recv = channel }, two = { after = 10 } }
          res:send(200, key .. value)
        end
      end)
      run(function()
        for _, path in ipairs { "future", "mutex", "join" } do
          assert.equal(path, fetch("/" .. path).body)
        end
        assert.equal("upstream", fetch("/http").body)
        assert.equal("123", fetch("/scope").body)
        local get_it = task.spawn(function() return fetch("/channel").body end)
        channel:send("sent")
        assert.equal("sent", get_it:join())
        get_it = task.spawn(function() return fetch("/select").body end)
        channel:send("!")
        assert.equal("one!", get_it:join())
      end)
    end)

    it("whose request can be read until it is answered, and whose pair is its own", function()
      local kept = {}
      serve(function(req, res)
        kept[#kept + 1] = { req, res }
        task.sleep(0.001)
        res:header("X-Path", req.path):send(200, req.body .. req.headers.host)
      end)
      run(function()
        local url = "http://" .. address
        local first = client:request { url = url .. "/1", method = "POST", body = "b" }
        local second = client:request { url = url .. "/2", method = "POST", body = "c" }
        assert.equal("b" .. address, first:await().body)
        assert.equal("c" .. address, second:await().body)
        assert.equal("/1", first:await().headers["x-path"])
        assert.not_equal(kept[1][1], kept[2][1])
        local _, message, name = kept[1][2]:send(200)
        assert.same({ "ECLOSED" }, { name })
        assert.matches("^ECLOSED", message)
      end)
    end)

    it("by the thousand", function()
      local n = support.sanitized() and 200 or 1000
      local waiting, go = 0, task.channel()
      serve(function(req, res)
        waiting = waiting + 1
        go:recv()
        res:send(200, req.path)
      end)
      local many = http.client(loop, { connections = n, connections_per_origin = n })
      run(function()
        local answers = {}
        for i = 1, n do answers[i] = many:get("http://" .. address .. "/" .. i) end
        assert.is_true(becomes(function() return waiting == n end))
        go:close()
        for i = 1, n do assert.equal("/" .. i, answers[i]:await().body) end
      end)
      many:close()
    end)

    it("and pipelined requests are answered in order", function()
      serve(function(req, res)
        if req.path ~= "/2" then task.sleep(0.003) end
        res:send(200, req.path)
      end)
      local bytes = support.exchange(loop, address,
        get("/1") .. get("/2") .. get("/3") .. get("/4", LAST))
      local bodies = {}
      for body in bytes:gmatch("\r\n\r\n(/%d)") do bodies[#bodies + 1] = body end
      assert.same({ "/1", "/2", "/3", "/4" }, bodies)
    end)

    it("and goes on after its answer", function()
      local after
      serve(function(_, res)
        task.sleep(0)
        res:send(200)
        task.sleep(0.002)
        after = { res:send(200) }
      end)
      run(function()
        fetch("/")
        assert.is_true(becomes(function() return after end))
        assert.equal("ECLOSED", after[3])
      end)
    end)

    it("also if it only waits after its answer", function()
      local after = 0
      serve(function(_, res)
        res:send(200, "early")
        task.sleep(0.002)
        after = after + 1
      end)
      run(function()
        assert.equal("early", fetch("/").body)
        assert.equal("early", fetch("/").body)
        assert.is_true(becomes(function() return after == 2 end))
      end)
    end)

    it("whose children go to its loop", function()
      local ran
      serve(function(_, res)
        task.spawn(function() ran = true end)
        res:send(200)
      end)
      run(function()
        fetch("/")
        assert.is_true(becomes(function() return ran end))
      end)
    end)
  end)

  describe("that fails", function()
    it("before it waits, answers 500 with a traceback", function()
      serve(function() error("kaputt") end)
      run(function() assert.equal(500, fetch("/").status) end)
      local message = scene.error()
      assert.matches("^http: handler: .*: kaputt\nstack traceback:\n", message)
      assert.matches("http_task_spec", message)
      assert.is_nil(message:find("task spawned", 1, true))
    end)

    it("after it has waited, answers 500, and says where it comes from", function()
      serve(function()
        task.sleep(0)
        error("kaputt")
      end)
      run(function()
        local answer = fetch("/")
        assert.equal(500, answer.status)
        assert.equal("close", answer.headers.connection)
      end)
      local message = scene.error()
      assert.matches("^http: handler: .*: kaputt\nstack traceback:\n", message)
      assert.matches("\ntask spawned at .*http_task_spec.lua:%d+$", message)
    end)

    it("behind the beginning of its answer, cuts that off", function()
      serve(function(_, res)
        res:start(200)
        res:write("some")
        task.sleep(0)
        error("kaputt")
      end)
      run(function()
        local answer, message = client:get("http://" .. address):await()
        assert.is_nil(answer)
        assert.is_string(message)
      end)
      assert.matches("kaputt", scene.error())
    end)

    it("may wait while it closes what it has opened", function()
      local log = {}
      local function closing(name)
        return setmetatable({}, { __close = function()
          task.sleep(0.001)
          log[#log + 1] = name
        end })
      end
      serve(function(req)
        local _ <close> = closing("a")
        if req.path == "/late" then task.sleep(0) end
        local _ <close> = closing("b")
        error("kaputt")
      end)
      run(function()
        assert.equal(500, fetch("/early").status)
        assert.matches("kaputt", scene.error())
        assert.equal(500, fetch("/late").status)
        assert.matches("kaputt", scene.error())
        assert.same({ "b", "a", "b", "a" }, log)
      end)
    end)

    it("by coroutine.yield is told what to do instead", function()
      serve(function(req)
        if req.path == "/late" then task.sleep(0) end
        coroutine.yield()
      end)
      run(function()
        assert.equal(500, fetch("/early").status)
        assert.matches("a handler has called coroutine.yield; it waits by", scene.error())
        assert.equal(500, fetch("/late").status)
        assert.matches("a task has called coroutine.yield; it waits by", scene.error())
      end)
    end)

    it("in a coroutine that somebody else closes or resumes only ends", function()
      local thread, channel = nil, task.channel()
      local waiting = {
        function() task.sleep(10) end,
        function() task.deadline(10, task.sleep, 10) end,
        function() task.scope(function(s) s:spawn(task.sleep, 0.001) end) end,
        function() task.select { { recv = channel }, { after = 10 } } end,
      }
      local n = 0
      serve(function()
        thread = coroutine.running()
        n = n + 1
        waiting[(n + 1) // 2]()
      end)
      run(function()
        for i = 1, 2 * #waiting do
          thread = nil
          local answer = task.spawn(fetch, "/")
          while not thread do task.sleep(0.001) end
          local meddle = i % 2 == 0 and coroutine.close or coroutine.resume
          meddle(thread)
          collectgarbage()
          channel:try_send(i)
          assert.equal(i, (channel:try_recv()))
          answer:cancel() -- so the client leaves
          assert.is_true(becomes(function() return #scene.errors > 0 end))
          assert.matches("cannot resume dead coroutine", scene.error())
        end
      end)
    end)

    it("in a coroutine of its own is told that only the task can wait", function()
      serve(function(_, res)
        local ok, message = pcall(coroutine.wrap(function() task.sleep(0) end))
        res:send(ok and 500 or 200, message)
        assert(not ok)
      end)
      run(function() assert.matches("only the task itself can", fetch("/").body) end)
    end)

    it("is not a transition", function()
      local Table = http.handler "Table" {
        request_received = function(_, req, res)
          local ok, message = pcall(task.sleep, 0)
          loop:spawn(function()
            task.sleep(0)
            res:send(ok and 500 or 200, message)
          end)
          return req:ok()
        end,
      }
      serve(Table)
      run(function()
        assert.matches("^only a task can wait; task.spawn", fetch("/").body)
      end)
    end)
  end)

  describe("that forgets to answer", function()
    it("has 500 answered at once", function()
      serve(function() task.sleep(0) end)
      run(function() assert.equal(500, fetch("/x").status) end)
      assert.matches("^http: handler: the task that handles GET /x has ended without an answer",
        scene.error())
    end)

    it("also if it never really waited", function()
      serve(function() task.scope(function() end) end)
      run(function() assert.equal(500, fetch("/x").status) end)
      assert.matches("has ended without an answer", scene.error())
    end)

    it("to finish is cut off", function()
      serve(function(_, res)
        task.sleep(0)
        res:start(200)
        res:write("some")
      end)
      run(function() assert.is_nil((client:get("http://" .. address .. "/x"):await())) end)
      assert.matches("GET /x has ended without finishing its answer", scene.error())
    end)

    it("is not one whose body a function gives", function()
      serve(function(_, res)
        task.sleep(0)
        local n = 0
        res:send(200, function()
          n = n + 1
          return n <= 100 and ("x"):rep(10000) or nil
        end)
      end)
      run(function() assert.equal(1000000, #fetch("/").body) end)
    end)
  end)

  describe("is canceled", function()
    local ended, why
    local function wait_for_ever(_, res)
      local _ <close> = setmetatable({}, { __close = function(_, err)
        ended, why = true, { res:send(200) }
        assert(err == nil or task.is_cancellation(err)) -- nil: its loop was closed
      end })
      task.sleep(1000)
    end
    before_each(function() ended, why = false, nil end)

    it("when its client leaves", function()
      serve(wait_for_ever)
      local peer = { bytes = get("/") }
      run(function()
        local before = loop:count()
        assert(loop:connect(address, Peer, { seed = peer }))
        assert.is_true(becomes(function() return loop:count() == before + 3 end))
        peer.handle:close()
        assert.is_true(becomes(function() return ended end))
        assert.is_true(becomes(function() return loop:count() == before end))
      end)
    end)

    it("but not if it has said what to do then", function()
      local left
      serve(function(req, res)
        req:on_hangup(function() left = true end)
        task.sleep(0.01)
        res:send(200, "still")
      end)
      local peer = { bytes = get("/") }
      run(function()
        assert(loop:connect(address, Peer, { seed = peer }))
        assert.is_true(becomes(function() return peer.handle end))
        peer.handle:close()
        assert.is_true(becomes(function() return left end))
      end)
    end)

    it("when its time is over, and 503 is answered", function()
      serve(wait_for_ever, { handler_timeout = 0.01 })
      run(function()
        assert.equal(503, fetch("/").status)
        assert.is_true(becomes(function() return ended end))
        assert.equal("ECLOSED", why[3])
      end)
      assert.matches("^http: GET / was not answered in time", scene.error())
    end)

    it("by somebody else, and 503 is answered", function()
      local it_runs
      serve(function()
        it_runs = task.running()
        task.sleep(1000)
      end)
      run(function()
        local answer = client:get("http://" .. address)
        assert.is_true(becomes(function() return it_runs end))
        it_runs:cancel()
        assert.equal(503, answer:await().status)
      end)
    end)

    it("with its loop", function()
      serve(wait_for_ever)
      run(function()
        local before = loop:count()
        client:get("http://" .. address)
        assert.is_true(becomes(function() return loop:count() >= before + 3 end))
      end)
      client:close()
      loop:close()
      assert.is_true(ended)
    end)
  end)

  describe("is drained", function()
    it("when its server closes", function()
      local waits
      serve(function(_, res)
        waits = true
        task.sleep(0.01)
        res:send(200, "drained")
      end)
      run(function()
        local answer = client:get("http://" .. address)
        assert.is_true(becomes(function() return waits end))
        local cut = server:close { drain = 10 }
        assert.equal("drained", answer:await().body)
        assert.equal(0, cut:await())
      end)
    end)

    it("and cut off when that takes too long", function()
      local waits, canceled
      serve(function()
        local _ <close> = setmetatable({}, { __close = function() canceled = true end })
        waits = true
        task.sleep(1000)
      end)
      run(function()
        local answer = client:get("http://" .. address)
        assert.is_true(becomes(function() return waits end))
        assert.equal(1, server:close { drain = 0.01 }:await())
        assert.is_nil((answer:await()))
        assert.is_true(becomes(function() return canceled end))
      end)
    end)
  end)

  describe("that writes piece by piece", function()
    it("waits until the client takes it", function()
      local most = 0
      serve(function(_, res)
        res:start(200)
        for _ = 1, 100 do
          res:write(("x"):rep(65536))
          most = math.max(most, res:unsent())
        end
        res:finish()
      end)
      run(function() assert.equal(6553600, #fetch("/").body) end)
      assert.is_true(most <= 2 * 65536 + 100, most)
    end)

    it("has time for each piece", function()
      serve(function(_, res)
        res:start(200)
        for _ = 1, 8 do
          res:write("tick\n")
          task.sleep(0.02)
        end
        res:finish()
      end, { handler_timeout = 0.1 })
      run(function() assert.equal(("tick\n"):rep(8), fetch("/").body) end)
    end)

    it("is canceled when the client leaves while it waits for room", function()
      local written, ended = 0, false
      serve(function(_, res)
        local _ <close> = setmetatable({}, { __close = function() ended = true end })
        res:start(200)
        while true do
          res:write(("x"):rep(65536))
          written = written + 1
        end
      end)
      local peer = { bytes = get("/") }
      run(function()
        assert(loop:connect(address, Peer, { seed = peer }))
        local seen
        assert.is_true(becomes(function() -- nothing more goes into it
          local before = seen
          seen = written
          return written > 0 and seen == before and peer.handle
        end))
        peer.handle:close()
        assert.is_true(becomes(function() return ended end))
      end)
    end)
  end)
end)

describe("http.get in a task", function()
  local scene = support.scene()
  local loop, url, begun, gone
  before_each(function()
    scene.begin()
    loop = scene.loop()
    begun, gone = 0, 0
    url = "http://" .. assert(http.serve(loop, "127.0.0.1:0", function(req, res)
      begun = begun + 1
      if req.path == "/quick" then return res:send(200, req.body) end
      local _ <close> = setmetatable({}, { __close = function(_, err)
        if err then gone = gone + 1 end
      end })
      task.sleep(tonumber(req.path:match("%d[%d.]*$")) or 1000)
      res:send(200, "slow")
    end)):address()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  -- Run `fn` as a task, then what is left, which ends.
  local function run(fn)
    local handle
    handle = loop:spawn(function()
      local results = table.pack(task.deadline(10, fn))
      loop:stop()
      return table.unpack(results, 1, results.n)
    end)
    loop:spawn(function()
      handle:join()
      loop:stop()
    end)
    loop:run()
    local ok, message, name = handle:join()
    if name == "ELUA" or name == "ETIMEDOUT" then error(message, 0) end
    return ok
  end

  local function becomes(is)
    for _ = 1, 1000 do
      if is() then return true end
      task.sleep(0.001)
    end
    return false
  end

  it("gives the response, by the loop of the task", function()
    run(function()
      assert.equal(200, http.get(url .. "/quick"):await().status)
      local posted = http.request { url = url .. "/quick", method = "POST", body = "b" }
      assert.equal("b", posted:await().body)
      local client <close> = http.client()
      assert.equal(200, client:get(url .. "/quick"):await().status)
      local answer, message, name = http.get("http://127.0.0.1:1/"):await()
      assert.same({ nil, "ECONNREFUSED" }, { answer, name })
      assert.matches("refused", message)
    end)
  end)

  it("is aborted when its task is canceled", function()
    run(function()
      local before = loop:count()
      local asks = task.spawn(function() http.get(url):await() end)
      assert.is_true(becomes(function() return begun == 1 end))
      asks:cancel()
      assert.same("ECANCELED", select(3, asks:join()))
      assert.is_true(becomes(function() return gone == 1 end))
      assert.is_true(becomes(function() return loop:count() == before end))
    end)
  end)

  it("is aborted by the deadline of what it is called in", function()
    run(function()
      local _, _, name = task.deadline(0.02, function() return http.get(url):await() end)
      assert.equal("ETIMEDOUT", name)
      assert.is_true(becomes(function() return gone == begun end))
    end)
  end)

  it("is aborted when a sibling fails", function()
    run(function()
      local ok, message = pcall(task.scope, function(scope)
        for _ = 1, 3 do scope:spawn(function() http.get(url):await() end) end
        scope:spawn(function()
          assert(becomes(function() return begun == 3 end))
          error("enough")
        end)
      end)
      assert.is_false(ok)
      assert.matches("enough", tostring(message))
      assert.is_true(becomes(function() return gone == 3 end))
    end)
  end)

  it("goes on for others that wait for it, and for who only stops waiting", function()
    run(function()
      local response = http.get(url .. "/0.05")
      local first = task.spawn(function() response:await() end)
      local second = task.spawn(function() return response:await().body end)
      task.yield()
      first:cancel()
      assert.equal("ETIMEDOUT", select(3, response:await(0.001)))
      assert.equal("slow", second:join())
      assert.equal("slow", response:await().body)
    end)
  end)
end)
