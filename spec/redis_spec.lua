local redis = require "rotor.redis"
local server = require "spec.redis_server"
local support = require "spec.support"

-- The client against a real server.
describe("rotor.redis", function()
  local scene = support.scene()
  local real, loop
  setup(function() real = server.start "--enable-debug-command local" end)
  teardown(function() real:stop() end)
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  local function connect(options, address)
    options = options or {}
    options.loop = loop
    options.backoff, options.backoff_max = options.backoff or 0.005, options.backoff_max or 0.02
    return assert(redis.connect(address or real.address, options))
  end

  local function wait(future) return server.wait(loop, future) end

  local function ready(...)
    local client = connect(...)
    assert(wait(client:ready()))
    assert.same("OK", wait(client:flushall()))
    return client
  end

  -- What the function throws, which names this file's line.
  local function thrown(fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    return message:match("^spec/redis_spec.lua:%d+: (.*)$") or "elsewhere: " .. message
  end

  local function plain(v)
    if v == redis.null then return "the null" end
    if redis.is_error(v) then return "the error " .. v.name end
    if type(v) ~= "table" then return v end
    local t = {}
    for key, item in pairs(v) do t[key] = plain(item) end
    return t
  end

  local function results(future) return plain(wait(future)) end

  describe("asks", function()
    for _, protocol in ipairs { 2, 3 } do
      it(("in RESP%d and has replies of every kind"):format(protocol), function()
        local client <close> = ready { protocol = protocol }
        assert.equal(protocol, client:protocol())
        assert.equal("OK", wait(client:set("key", "value")))
        assert.equal("value", wait(client:get("key")))
        assert.same(table.pack(nil), table.pack(wait(client:get("nothing"))))
        assert.equal(3, wait(client:rpush("list", "a", "b\r\n", "")))
        assert.same({ "a", "b\r\n", "" }, wait(client:lrange("list", 0, -1)))
        assert.same({ "value", "the null" }, results(client:mget("key", "nothing")))
        assert.same({}, wait(client:keys("no*")))
        assert.same({ nil, "WRONGTYPE: Operation against a key holding the wrong kind of value",
                      "WRONGTYPE" }, { wait(client:incr("list")) })
        local _, message, name = wait(client:nonsense())
        assert.matches("^ERR: unknown command 'NONSENSE'", message)
        assert.equal("ERR", name)
        assert.equal(2, wait(client:hset("hash", "a", 1, "b", 2)))
        assert.same(protocol == 3 and { a = "1", b = "2" } or { "a", "1", "b", "2" },
          wait(client:hgetall("hash")))
        assert.equal(1, wait(client:zadd("zset", 1.5, "a")))
        local score = wait(client:zscore("zset", "a"))
        assert.equal(protocol == 3 and 1.5 or "1.5", score)
        assert.equal("string", wait(client:call("type", "key")))
        assert.same({ { { 1 } } }, wait(client:eval("return {{{1}}}", 0)))
        assert.equal("value", wait(client:call("Get", "key")))
        assert.equal("value", wait(client.GeT(client, "key")))
      end)
    end

    it("with what only RESP3 has", function()
      local client <close> = ready()
      assert.is_true(wait(client:eval("redis.setresp(3); return true", 0)))
      local function debug_protocol(what) return wait(client:debug("PROTOCOL", what)) end
      assert.is_false(debug_protocol "false")
      assert.is_nil(debug_protocol "null")
      assert.equal("1234567999999999999999999999999999999", debug_protocol "bignum")
      assert.same({ [0] = false, true, false }, debug_protocol "map")
      assert.same({ 0, 1, 2 }, debug_protocol "set")
      assert.equal("This is a verbatim\nstring", debug_protocol "verbatim")
      assert.equal("Some real reply following the attribute", debug_protocol "attrib")
      assert.equal(3.141, debug_protocol "double")
    end)

    it("with numbers, in the shortest form that is the same number", function()
      local client <close> = ready()
      for number, text in pairs {
        [1] = "1", [-7] = "-7", [3.0] = "3", [2^53] = "9007199254740992", [0.1] = "0.1",
        [1 / 3] = "0.3333333333333333", [1e300] = "1e+300", [-2.5e-8] = "-2.5e-08",
        [math.maxinteger] = "9223372036854775807", [math.huge] = "inf", [-math.huge] = "-inf",
        [5e-324] = "4.9406564584125e-324",
      } do
        assert.equal("OK", wait(client:set("n", number)))
        assert.equal(text, wait(client:get("n")))
      end
    end)

    it("many things at once, and is answered in order", function()
      local client <close> = ready()
      local futures = {}
      for i = 1, 3000 do
        futures[2 * i - 1] = client:set("key" .. i, i)
        futures[2 * i] = client:get("key" .. i)
      end
      local values = wait(loop:all(futures))
      assert.equal(6000, values.n)
      for i = 1, 3000 do
        assert(values[2 * i - 1] == "OK" and values[2 * i] == tostring(i), i)
      end
    end)

    it("with large arguments, and many", function()
      local client <close> = ready()
      local value = ("0123456789abcdef"):rep(1 << 18)
      client:set("large", value)
      assert.is_true(wait(client:get("large")) == value)
      local words = {}
      for i = 1, 10000 do words[i] = i % 100 end
      assert.equal(10000, wait(client:rpush("list", table.unpack(words))))
      assert.equal("99", wait(client:lindex("list", 98)))
    end)

    it("and goes on when nobody waits for a reply any more", function()
      local client <close> = ready()
      local other <close> = connect()
      assert(wait(other:ready()))
      local late = client:blpop("queue", 0):timeout(0.005)
      assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }, { wait(late) })
      client:set("a", 1):cancel()
      other:rpush("queue", "late")
      client:set("a", 2)
      collectgarbage()
      assert.equal("2", wait(client:get("a")))
    end)

    it("over a Unix socket", function()
      local client <close> = ready({}, real.socket)
      assert.equal("PONG", wait(client:ping()))
      assert.equal("redis.client: " .. real.socket, tostring(client))
    end)

    it("under a name, in a database", function()
      for _, protocol in ipairs { 2, 3 } do
        local client <close> = connect { protocol = protocol, name = "spec", database = 3 }
        assert(wait(client:ready()))
        local info = wait(client:call("CLIENT", "INFO"))
        assert.matches(" name=spec ", info)
        assert.matches(" db=3 ", info)
        assert.matches(" resp=" .. protocol .. "%f[%D]", info)
      end
    end)
  end)

  describe("makes transactions:", function()
    for _, protocol in ipairs { 2, 3 } do
      it(("results in order, an error in its place (RESP%d)"):format(protocol), function()
        local client <close> = ready { protocol = protocol }
        local places = {}
        assert.same({ "OK", 2, "the error WRONGTYPE", "the null", { "x" }, "2" },
          results(client:transaction(function(tx)
            places[1] = tx:set("a", 1)
            places[2] = tx:incr("a")
            places[3] = tx:lpush("a", 1)
            places[4] = tx:get("b")
            tx:call("rpush", "l", "x")
            places[5] = tx:lrange("l", 0, -1)
            tx:get("a")
          end):map(function(list)
            assert(redis.is_error(list[3]))
            assert.matches("^WRONGTYPE: Operation against", tostring(list[3]))
            table.remove(list, 5)
            return list
          end)))
        assert.same({ 1, 2, 3, 4, 6 }, places)
        assert.same({}, wait(client:transaction(function() end)))
      end)

      it(("one with a command that is none does nothing (RESP%d)"):format(protocol), function()
        local client <close> = ready { protocol = protocol }
        local _, message, name = wait(client:transaction(function(tx)
          tx:set("a", 1)
          tx:nonsense()
          tx:get()
        end))
        assert.equal("EXECABORT", name)
        assert.matches("^EXECABORT: Transaction discarded because of previous errors%. "
          .. "%(ERR: unknown command 'NONSENSE'", message)
        assert.is_nil(wait(client:get("a")))
        assert.is_true(redis.is_reply(name))
      end)

      it(("what is watched may change, and then it is nil (RESP%d)"):format(protocol), function()
        local client <close> = ready { protocol = protocol }
        local other <close> = connect()
        assert(wait(other:ready()))
        -- The other client is sure to come between as long as its reply is waited for.
        local function read(changes)
          return function(c)
            return c:get("n"):and_then(function(n)
              if not changes then return n end
              return other:incr("n"):map(function() return n end)
            end)
          end
        end
        local function double(tx, n) tx:set("n", 2 * n) end
        client:set("n", 4)
        assert.same({ "OK" },
          wait(client:transaction(double, { watch = "n", read = read(false) })))
        assert.equal("8", wait(client:get("n")))
        assert.same(table.pack(nil),
          table.pack(wait(client:transaction(double, { watch = { "n", "m" }, read = read(true) }))))
        assert.equal("9", wait(client:get("n")))
        assert.same({ 10 },
          wait(client:transaction(function(tx) tx:incr("n") end, { watch = "n" })))
      end)
    end

    it("one at a time as long as one looks at what it watches", function()
      local client <close> = ready()
      local first = client:transaction(function(tx, n) tx:set("n", n + 1) end, {
        watch = "n", read = function(c) return c:incr("other") end,
      })
      local _, message, name = wait(client:transaction(function(tx) tx:get("a") end))
      assert.equal("EBUSY", name)
      assert.equal("EBUSY: another transaction of this client watches its keys", message)
      if first:status() == "pending" then wait(first) end
      assert.equal("2", wait(client:get("n")))
      assert.same({ "2" }, wait(client:transaction(function(tx) tx:get("n") end)))
    end)

    it("what its functions throw is thrown or told, and nothing is done", function()
      local client <close> = ready()
      local other <close> = connect()
      local function kaputt() error("kaputt") end
      local function get(c) return c:get("n") end
      assert.equal("kaputt", thrown(function() client:transaction(kaputt) end))
      assert.equal("kaputt", thrown(function()
        client:transaction(print, { watch = "n", read = kaputt })
      end))
      assert.matches("^option 'read': its function has to return a future: ", thrown(function()
        client:transaction(print, { watch = "n", read = function() return 1 end })
      end))
      local _, message = wait(client:transaction(kaputt, { watch = "n", read = get }))
      assert.matches("spec.lua:%d+: kaputt$", message)
      assert.matches("^future: and_then: spec/redis_spec.lua:%d+: kaputt\n", scene.error())
      _, message = wait(client:transaction(print, { watch = "n", read = function(c)
        c:set("n", "text")
        return c:incr("n")
      end }))
      assert.matches("^ERR: value is not an integer", message)
      -- Nothing is watched any more.
      assert(wait(other:set("n", 5)))
      assert.same({ "5" }, wait(client:transaction(function(tx) tx:get("n") end)))
    end)

    it("not when it was canceled meanwhile", function()
      local client <close> = ready()
      local called = false
      client:transaction(function() called = true end, {
        watch = "n", read = function(c) return c:get("n") end,
      }):cancel()
      assert.equal("PONG", wait(client:ping()))
      assert.same({}, wait(client:transaction(function() end)))
      assert.is_false(called)
    end)

    it("only inside of its function", function()
      local client <close> = ready()
      local kept
      wait(client:transaction(function(tx)
        kept = tx
        for name, message in pairs {
          exec = "EXEC has no place inside of a transaction",
          multi = "MULTI has no place inside of a transaction",
          select = "SELECT is the client's own; use the option database",
          blpop = "argument #1 of BLPOP: a string or a number expected, got nil",
        } do
          assert.equal(message, thrown(function() tx[name](tx, nil) end))
        end
      end))
      assert.equal("the transaction is on its way; nothing can be added any more",
        thrown(function() kept:get("a") end))
    end)
  end)

  describe("publishes and subscribes", function()
    -- Runs the loop until there are so many messages.
    local function listener()
      local heard = { wanted = math.huge }
      function heard.hear(...)
        heard[#heard + 1] = table.concat({ ... }, " ")
        if #heard >= heard.wanted then loop:stop() end
      end
      function heard.wait(n)
        heard.wanted = n
        if #heard < n then support.run(loop) end
        local list = table.move(heard, 1, #heard, 1, {})
        for i = 1, #heard do heard[i] = nil end
        heard.wanted = math.huge
        return list
      end
      return heard
    end

    for _, protocol in ipairs { 2, 3 } do
      it(("to channels and patterns (RESP%d)"):format(protocol), function()
        local client <close> = ready { protocol = protocol }
        local other <close> = connect()
        local heard = listener()
        assert(wait(other:ready()))
        assert.equal(2, wait(client:subscribe({ "news", "weather" }, heard.hear)))
        assert.equal(3, wait(client:psubscribe("n*", heard.hear)))
        assert.equal(2, wait(other:publish("news", "one")))
        assert.equal(1, wait(other:publish("weather", "rain")))
        assert.equal(1, wait(other:publish("none", "two")))
        assert.same({ "one news", "one news n*", "rain weather", "two none n*" }, heard.wait(4))
        assert.equal(2, wait(client:unsubscribe("news")))
        other:publish("news", "three")
        assert.same({ "three news n*" }, heard.wait(1))
        assert.equal(1, wait(client:punsubscribe()))
        assert.equal(0, wait(client:unsubscribe()))
        assert.equal(0, wait(client:unsubscribe()))
        assert.equal(0, wait(client:punsubscribe({ "a", "b" })))
        assert.equal(0, wait(other:publish("news", "four")))
        assert.equal("PONG", wait(client:ping()))
        assert.same({}, heard.wait(0))
      end)
    end

    it("in RESP3 beside all else", function()
      local client <close> = ready()
      local heard = listener()
      local futures = {}
      for i = 1, 100 do
        futures[#futures + 1] = client:set("a", i)
        if i == 50 then futures[#futures + 1] = client:subscribe("a", heard.hear) end
        futures[#futures + 1] = client:publish("a", i)
        futures[#futures + 1] = client:get("a")
      end
      local values = wait(loop:all(futures))
      assert.same({ "OK", 0, "49", "OK", 1, 1, "50" }, table.move(values, 145, 151, 1, {}))
      local list = heard.wait(51)
      assert.same({ "50 a", "100 a", 51 }, { list[1], list[51], #list })
    end)

    it("in RESP2 and nothing else, until it has unsubscribed", function()
      local client <close> = ready { protocol = 2 }
      local BUSY = { nil, "EBUSY: under RESP2 a subscribed client takes no other commands",
                     "EBUSY" }
      client:rpush("message", "message", "x", "y")
      local before = client:lrange("message", 0, -1)
      client:subscribe("a", print)
      assert.same(BUSY, { wait(client:get("a")) })
      assert.same({ "message", "x", "y" }, wait(before))
      assert.same(BUSY, { wait(client:transaction(function() end)) })
      assert.equal(2, wait(client:psubscribe("b", print)))
      client:unsubscribe()
      assert.same(BUSY, { wait(client:get("a")) })
      client:punsubscribe("b")
      assert.is_nil(wait(client:get("a")))
      assert.same({ "message", "x", "y" }, wait(client:lrange("message", 0, -1)))
    end)

    it("and the last function given is called", function()
      local client <close> = ready()
      local first, second = listener(), listener()
      client:subscribe("a", first.hear)
      client:subscribe("a", second.hear)
      client:publish("a", 1)
      assert.same({ "1 a" }, second.wait(1))
      assert.same({}, first.wait(0))
      client:publish("a", 2)
      client:unsubscribe("a") -- from here on nothing is heard, be it on its way or not
      assert.equal("PONG", wait(client:ping()))
      assert.same({}, second.wait(0))
    end)

    it("and hears nothing after unsubscribing or closing, also of what has come", function()
      local client <close> = ready()
      local heard = {}
      local function listen(what, leave, name)
        wait(client[what](client, "a", function()
          heard[#heard + 1] = what
          client[leave](client, name)
        end))
        client:publish("a", 1)
        return loop:all { client:publish("a", 2), client:publish("a", 3) }
      end
      wait(listen("subscribe", "unsubscribe", "a"))
      wait(listen("psubscribe", "punsubscribe"))
      listen("subscribe", "close")
      support.run(loop)
      assert.same({ "subscribe", "psubscribe", "subscribe" }, heard)
    end)

    it("and what a function throws harms nobody", function()
      local client <close> = ready()
      local heard = listener()
      client:subscribe("a", function(message)
        if message == "1" then error("kaputt") end
        heard.hear(message)
      end)
      local futures = { client:publish("a", 1), client:publish("a", 2), client:get("a") }
      assert.same({ 1, 1, n = 3 }, wait(loop:all(futures)))
      assert.same({ "2" }, heard.wait(1))
      assert.matches("spec/redis_spec.lua:%d+: kaputt\nstack traceback:", scene.error())
    end)

    for _, protocol in ipairs { 2, 3 } do
      it(("again after a reconnect, before on_up (RESP%d)"):format(protocol), function()
        local heard, events = listener(), {}
        local other <close> = ready()
        local client <close> = connect {
          protocol = protocol,
          on_up = function()
            events[#events + 1] = "up"
            other:publish("b", #events)
          end,
          on_down = function(_, name) events[#events + 1] = name end,
        }
        assert(wait(client:ready()))
        wait(client:subscribe({ "a", "b" }, heard.hear))
        wait(client:psubscribe("b*", heard.hear))
        wait(client:unsubscribe("a"))
        assert.equal(1, wait(other:client("KILL", "TYPE", "pubsub")))
        assert.same({ "3 b", "3 b b*" }, heard.wait(2))
        assert.same({ "up", "EEOF", "up" }, events)
        assert.equal(0, wait(other:publish("a", 1)))
      end)
    end

    it("hears in on_push what else the server has to say", function()
      local push
      local client <close> = ready {
        on_push = function(_, what)
          push = what
          loop:stop()
        end,
      }
      local other <close> = connect()
      assert(wait(other:ready()))
      assert.equal("OK", wait(client:client("TRACKING", "ON")))
      wait(client:get("a"))
      other:set("a", 1)
      support.run(loop)
      assert.same({ "invalidate", { "a" } }, push)
    end)
  end)
end)
