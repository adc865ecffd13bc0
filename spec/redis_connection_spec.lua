local redis = require "rotor.redis"
local rotor = require "rotor"
local server = require "spec.redis_server"
local support = require "spec.support"

-- How the client begins, loses its connection, finds another, and ends.
describe("rotor.redis", function()
  local scene = support.scene()
  local loop
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  local function wait(future) return server.wait(loop, future) end

  -- A client, and what it was told.
  local function connect(address, options)
    options = options or {}
    local events = {}
    local function note(event)
      events[#events + 1] = event
      if #events == events.wanted then loop:stop() end
    end
    options.loop = loop
    options.backoff, options.backoff_max = options.backoff or 0.005, options.backoff_max or 0.02
    options.on_up = function(client) note("up " .. client:protocol()) end
    options.on_down = function(_, name, message, seconds)
      assert(message:find("^" .. name .. ": "), message)
      note(name .. (seconds and "" or " for good"))
    end
    return assert(redis.connect(address, options)), events
  end

  -- Run the loop until there are so many events.
  local function until_events(events, n)
    events.wanted = n
    if #events < n then support.run(loop) end
  end

  local HELLO = { hear = "\r\n3\r\n", say = "%1\r\n$5\r\nproto\r\n:3\r\n" }
  local NO_HELLO = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"

  describe("greets", function()
    it("older servers in RESP2", function()
      for _, refusal in ipairs { NO_HELLO, "-NOPROTO unsupported protocol version\r\n",
                                 "-ERR unknown command 'HELLO'\r\n" } do
        local client <close> = connect(server.fake(loop, {
          { hear = "\r\n3\r\n", say = refusal },
          { hear = "PING\r\n", say = "+PONG\r\n" },
          { hear = "GET\r\n$1\r\na\r\n", say = "$1\r\n1\r\n" },
        }))
        assert.equal(client, wait(client:ready()))
        assert.equal(2, client:protocol())
        assert.equal("1", wait(client:get("a")))
      end
    end)

    it("older servers with all they want to know", function()
      local client <close> = connect(server.fake(loop, {
        { hear = "\r\n3\r\n$4\r\nAUTH\r\n$4\r\nanna\r\n$6\r\nsesame\r\n"
            .. "$7\r\nSETNAME\r\n$4\r\nspec\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n",
          say = NO_HELLO .. "-NOAUTH first things first\r\n" },
        { hear = "*3\r\n$4\r\nAUTH\r\n$4\r\nanna\r\n$6\r\nsesame\r\n"
            .. "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$4\r\nspec\r\n"
            .. "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n", say = "+OK\r\n+OK\r\n+OK\r\n" },
      }), { username = "anna", password = "sesame", name = "spec", database = 7 })
      assert.equal(client, wait(client:ready()))
      assert.equal(2, client:protocol())
    end)

    it("servers that do not let it say anything but what it asks", function()
      local client <close> = connect(server.fake(loop, {
        { hear = "PING\r\n", say = "-NOPERM this user has no permissions to run 'ping'\r\n" },
      }), { protocol = 2 })
      assert.equal(client, wait(client:ready()))
    end)

    it("again when the server was only not ready yet", function()
      for _, error in ipairs {
        "-ERR max number of clients reached\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
      } do
        local client <close>, events = connect(server.fake(loop,
          { { say = error }, close = true }, { HELLO }))
        assert.equal(client, wait(client:ready()))
        assert.same({ error:match("^%-(%u+)"), "up 3" }, events)
      end
    end)

    it("not for ever when there is no answer", function()
      local client <close>, events = connect(server.fake(loop,
        { { hear = "\r\n3\r\n", say = "%1\r\n+half" } }), { timeout = 0.05, backoff = 60,
        backoff_max = 60 })
      until_events(events, 1)
      assert.equal("ETIMEDOUT", events[1])
      local _, message = wait(client:get("a"))
      assert.matches("^ENOTCONN: not connected: ETIMEDOUT: the server has not answered "
        .. "the greeting %(unix:@", message)
    end)

    it("and ends with what is no answer", function()
      local client <close>, events = connect(server.fake(loop,
        { { hear = "\r\n3\r\n", say = "HTTP/1.1 400 Bad Request\r\n\r\n" } }, { HELLO }))
      assert.equal(client, wait(client:ready()))
      assert.same({ "EPROTO", "up 3" }, events)
    end)
  end)

  describe("that is refused", function()
    -- It says why, once, and for good.
    local function refused(address, options, name, pattern)
      local client, events = connect(address, options)
      local value, message, code = wait(client:ready())
      assert.same({ nil, name }, { value, code })
      assert.matches(pattern, message)
      support.run(loop) -- which has nothing left to do
      assert.same({ name .. " for good" }, events)
      assert.same({ nil, message, name }, { wait(client:ready()) })
      assert.same({ nil, "ENOTCONN: not connected: " .. message, "ENOTCONN" },
        { wait(client:get("a")) })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:close() })
      assert.equal(0, loop:count())
    end

    local real
    setup(function()
      real = server.start("--requirepass sesame --user anna on '>open' '~*' '&a*' '+@all'")
    end)
    teardown(function() real:stop() end)

    for _, protocol in ipairs { 2, 3 } do
      describe(("in RESP%d,"):format(protocol), function()
        it("for want of a password", function()
          refused(real.address, { protocol = protocol }, "NOAUTH",
            "^NOAUTH: the server asks for a password, which is an option of connect %(127.0.0.1:")
        end)
        it("for a wrong one", function()
          refused(real.address, { protocol = protocol, password = "abracadabra" }, "WRONGPASS",
            "^WRONGPASS: invalid username%-password pair or user is disabled%. %(127.0.0.1:")
        end)
        it("for a wrong user", function()
          refused(real.address, { protocol = protocol, username = "otto", password = "sesame" },
            "WRONGPASS", "^WRONGPASS: ")
        end)
        it("for a database that there is not", function()
          refused(real.address, { protocol = protocol, password = "sesame", database = 16 },
            "ERR", "^ERR: DB index is out of range %(127.0.0.1:")
        end)
        it("or is not, with the right one", function()
          for _, options in ipairs {
            { password = "sesame" }, { username = "anna", password = "open" },
          } do
            options.protocol = protocol
            local client <close> = connect(real.address, options)
            assert.equal(client, wait(client:ready()))
            assert.equal("OK", wait(client:set("a", 1)))
            assert.equal(options.username or "default", wait(client:acl("WHOAMI")))
          end
        end)

        it("a subscription only, goes on", function()
          local client <close> = connect(real.address,
            { username = "anna", password = "open", protocol = protocol })
          assert(wait(client:ready()))
          local _, message, name = wait(client:subscribe("b", print))
          assert.equal("NOPERM", name)
          assert.matches("^NOPERM: this user has no permissions to access", message)
          assert.equal("PONG", wait(client:ping()))
          assert.equal(1, wait(client:subscribe("a", print)))
        end)

        it("a subscription that it had before, is refused", function()
          local client, events = connect(real.address,
            { username = "anna", password = "open", protocol = protocol })
          local other <close> = connect(real.address, { password = "sesame" })
          assert(wait(client:ready()) and wait(other:ready()))
          assert.equal(1, wait(client:subscribe("a", print)))
          assert.equal("OK", wait(other:acl("SETUSER", "anna", "resetchannels")))
          local _, message, name
          repeat -- the client may not know yet that it was thrown out
            wait(other:ping())
            _, message, name = wait(client:ready())
          until name
          assert.equal("NOPERM", name, message)
          assert.equal("OK", wait(other:acl("SETUSER", "anna", "&a*")))
          assert.equal("NOPERM for good", events[#events])
        end)
      end)
    end
  end)

  describe("while there is no server", function()
    it("fails commands at once, and connects as soon as there is one", function()
      local real = server.start()
      real:stop()
      local client <close>, events = connect(real.address)
      assert.same({ nil, ("ENOTCONN: not connected: still connecting (%s)"):format(real.address),
                    "ENOTCONN" }, { wait(client:get("a")) })
      until_events(events, 2)
      assert.same({ "ECONNREFUSED", "ECONNREFUSED" }, { events[1], events[2] })
      assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" },
        { wait(client:ready():timeout(0.005)) })
      local refused = ("ENOTCONN: not connected: ECONNREFUSED: connection refused (%s)"):format(
        real.address)
      assert.same({ nil, refused, "ENOTCONN" }, { wait(client:set("a", 1)) })
      assert.same({ nil, refused, "ENOTCONN" }, { wait(client:subscribe("a", print)) })
      assert.same({ nil, refused, "ENOTCONN" }, { wait(client:transaction(function() end)) })
      assert.same({ nil, refused, "ENOTCONN" }, { wait(client:transaction(print,
        { watch = "a", read = print })) })
      assert.is_nil(client:protocol())
      assert.is_false(redis.is_reply("ENOTCONN"))
      assert.is_false(redis.is_reply(nil))
      local again <close> = setmetatable(server.start("", real.port), { -- luacheck: ignore 211
        __index = getmetatable(real).__index, __close = function(it) it:stop() end,
      })
      assert.equal(client, wait(client:ready()))
      assert.is_nil(wait(client:get("a")))
      assert.equal("up 3", events[#events])
    end)
  end)

  describe("that loses its connection", function()
    local real
    setup(function() real = server.start() end)
    teardown(function() real:stop() end)

    it("fails what is under way, says so, and goes on with another", function()
      local client <close>, events = connect(real.address)
      local other <close> = connect(real.address)
      assert(wait(client:ready()) and wait(other:ready()))
      local id = wait(client:client("ID"))
      local futures = {
        client:set("a", 1), client:blpop("queue", 0), client:incr("a"),
        client:transaction(function(tx) tx:incr("a") end), client:subscribe("a", print),
        client:transaction(print, { watch = "a", read = function(c) return c:get("a") end }),
      }
      assert.equal("OK", wait(futures[1]))
      assert.equal(1, wait(other:client("KILL", "ID", id)))
      for i = 2, #futures do
        assert.same({ nil, ("EEOF: the server has closed the connection (%s); "
          .. "the command may or may not have been executed"):format(real.address), "EEOF" },
          { wait(futures[i]) }, i)
      end
      assert.equal(client, wait(client:ready()))
      assert.same({ "up 3", "EEOF", "up 3" }, events)
      assert.equal("1", wait(client:get("a")))
      assert.equal(0, wait(other:publish("a", 1))) -- what was not confirmed is not subscribed to
      assert.same({}, wait(client:transaction(function() end)))
    end)

    it("not because of the deadline that the greeting had", function()
      local client <close>, events = connect(real.address, { timeout = 0.03 })
      until_events(events, 1)
      if events[1] == "up 3" then -- or the machine was too slow
        assert.is_nil(wait(client:blpop("nothing", 0.06)))
        assert.equal(1, #events)
      end
    end)

    it("does not end a transaction on another than where it began", function()
      local client <close> = connect(real.address)
      local other <close> = connect(real.address)
      assert(wait(client:ready()) and wait(other:ready()))
      local id = wait(client:client("ID"))
      local port, future = loop:future()
      local called
      local result = client:transaction(function() called = true end,
        { watch = "a", read = function() return future end })
      assert.equal("PONG", wait(client:ping())) -- so what is watched is watched
      wait(other:client("KILL", "ID", id))
      assert.equal(client, wait(client:ready()))
      port:set(1)
      assert.same({ nil, "ENOTCONN: the connection that watched has ended", "ENOTCONN" },
        { wait(result) })
      assert.is_nil(called)
    end)

    it("by a reset", function()
      local client <close>, events = connect(server.fake(loop,
        { HELLO, { hear = "$4\r\nLAST\r\n", say = "+OK\r\n" }, close = "reset" }, { HELLO }))
      assert(wait(client:ready()))
      local first, second = client:call("LAST"), client:set("a", ("x"):rep(1 << 22))
      assert.equal("OK", wait(first))
      local _, message, name = wait(second)
      assert.is_true(name == "ECONNRESET" or name == "EPIPE", name)
      assert.matches("^" .. name .. ": .* %(unix:@.*%); the command may or may not have been",
        message)
      assert.is_false(redis.is_reply(name))
      assert.equal(client, wait(client:ready()))
      assert.same({ "up 3", name, "up 3" }, events)
    end)
  end)

  describe("that is closed", function()
    local real
    setup(function() real = server.start() end)
    teardown(function() real:stop() end)

    local CANCELED = "ECANCELED: the client was closed"
    local UNKNOWN = CANCELED .. "; the command may or may not have been executed"

    it("fails what is under way, and connects no more", function()
      local client, events = connect(real.address)
      assert(wait(client:ready()))
      local futures = { client:set("a", 1), client:subscribe("a", print),
        client:transaction(function() end) }
      assert.is_true(client:close())
      for _, future in ipairs(futures) do
        assert.same({ nil, UNKNOWN, "ECANCELED" }, { wait(future) })
      end
      local CLOSED = { nil, "ECLOSED: the client is closed", "ECLOSED" }
      assert.same(CLOSED, { wait(client:get("a")) })
      assert.same(CLOSED, { wait(client:ready()) })
      assert.same(CLOSED, { wait(client:subscribe("a", print)) })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:close() })
      support.run(loop)
      assert.same({ "up 3" }, events)
    end)

    it("before it was connected", function()
      local client, events = connect(real.address)
      local future = client:ready()
      assert.is_true(client:close())
      assert.same({ nil, CANCELED, "ECANCELED" }, { wait(future) })
      support.run(loop)
      assert.same({}, events)
    end)

    it("in any of its functions", function()
      local client
      for _, act in ipairs {
        function(c) c:ready():map(function() c:close() end) end,
        function(c)
          c:ready():map(function() c:subscribe("a", function() c:close() end) c:publish("a", 1) end)
        end,
        function(c) c:ready():map(function() c:get("a"):map(function() c:close() end) end) end,
      } do
        client = connect(real.address)
        act(client)
        support.run(loop)
        assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:close() })
      end
      for _, name in ipairs { "on_up", "on_down", "on_push" } do
        client = assert(redis.connect(name == "on_down" and "127.0.0.1:1" or real.address, {
          loop = loop, [name] = function(c) c:close() end,
        }))
        client:ready():map(function()
          client:client("TRACKING", "ON")
          client:get("a")
          client:set("a", 1)
        end)
        support.run(loop)
        assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { client:close() })
      end
    end)

    it("with its loop", function()
      local own = rotor.loop()
      local client = assert(redis.connect(real.address, { loop = own }))
      assert(server.wait(own, client:ready()))
      local future = client:blpop("queue", 0)
      client:subscribe("a", print)
      client:transaction(print, { watch = "a", read = function(c) return c:get("a") end })
      own:turn()
      own:close()
      assert.equal("failed", future:status())
      local ok, message = pcall(function() client:get("a") end)
      assert.is_false(ok)
      assert.matches("^spec/redis_connection_spec.lua:%d+: the loop is closed$", message)
      assert.is_false(pcall(client.ready, client))
      client:close()
    end)
  end)

  describe("tells a mistake by the line that made it:", function()
    local client
    before_each(function() client = connect("127.0.0.1:1") end)
    after_each(function() client:close() end)

    local function mistake(code, expected)
      it(code, function()
        local closed = rotor.loop()
        closed:close()
        local env = { redis = redis, client = client, loop = loop, print = print, closed = closed }
        local ok, message = pcall(assert(load("\n" .. code, "=there", "t", env)))
        assert.is_false(ok)
        assert.equal("there:2: " .. expected, message)
      end)
    end

    local WANTED = "a string or a number expected, got "
    for code, expected in pairs {
      ["client:get(nil)"] = "argument #1 of GET: " .. WANTED .. "nil",
      ["client:set('a', {})"] = "argument #2 of SET: " .. WANTED .. "table",
      ["client:call('set', 'a', true)"] = "argument #2 of SET: " .. WANTED .. "boolean",
      ["client:del(1, 2, 3, print, 5)"] = "argument #4 of DEL: " .. WANTED .. "function",
      ["client:set('a', 0 / 0)"] = "argument #2 of SET: not a number",
      ["client.get('a')"] = "a method of a client: client:GET(…), with a colon",
      ["client.close('a')"] = "a method of a client: client:close(…), with a colon",
      ["client:call()"] = "the name of a command expected, got nil",
      ["client:call(1)"] = "the name of a command expected, got number",
      ["client:select(1)"] = "SELECT is the client's own; use the option database",
      ["client:call('Subscribe', 'a')"] =
        "SUBSCRIBE is the client's own; use subscribe(channel, fn)",
      ["client:quit()"] = "QUIT is the client's own; use close()",
      ["client:monitor()"] = "MONITOR is not for this client",
      ["client:client('reply', 'off')"] =
        "CLIENT REPLY is not for this client, which waits for every reply",
      ["client:subscribe()"] =
        "argument #1 of subscribe: a channel or a list of some expected, got nil",
      ["client:psubscribe({}, print)"] =
        "argument #1 of psubscribe: a pattern or a list of some expected, got an empty table",
      ["client:subscribe({ 'a', 2 }, print)"] =
        "argument #1 of subscribe: item 2 is no channel but a number",
      ["client:subscribe('a')"] = "argument #2 of subscribe: a function expected, got nil",
      ["client:unsubscribe(1)"] =
        "argument #1 of unsubscribe: a channel or a list of some expected, got number",
      ["client:transaction()"] = "a function expected, got nil",
      ["client:transaction(print, 1)"] = "a table of options expected, got number",
      ["client:transaction(print, { watch = {} })"] =
        "option 'watch': a key or a list of keys expected, got table",
      ["client:transaction(print, { watch = 'a', read = 1 })"] =
        "option 'read': a function expected, got number",
      ["client:transaction(print, { read = print })"] = "option 'read': there is nothing to watch",
      ["client:transaction(print, { watch = { 'a', print } })"] =
        "argument #2 of WATCH: " .. WANTED .. "function",
      ["redis.connect({})"] = "an address expected, got table",
      ["redis.connect('a:1', 1)"] = "a table of options expected, got number",
      ["redis.connect('a:1', { protocol = 4 })"] =
        "option 'protocol': an integer from 2 to 3 expected, got 4",
      ["redis.connect('a:1', { timeout = 0 })"] =
        "option 'timeout': seconds, more than 0 and less than 46 days, expected, got 0",
      ["redis.connect('a:1', { database = '1' })"] =
        "option 'database': an integer from 0 to 2147483648 expected, got 1",
      ["redis.connect('a:1', { on_up = true })"] = "option 'on_up': a function expected, got true",
      ["redis.connect('a:1', { username = 'a' })"] =
        "option 'username': there is no password with it",
      ["redis.connect('a:1', { loop = closed })"] =
        "option 'loop': an open loop expected, got rotor.loop (closed)",
      ["redis.connect('a:1', { loop = 1 })"] = "option 'loop': an open loop expected, got 1",
    } do
      mistake(code, expected)
    end

    it("but an address that is none is a failure", function()
      local none, message, name = redis.connect("nowhere", { loop = loop })
      assert.same({ nil, "EADDRESS" }, { none, name })
      assert.matches("^EADDRESS: .* %(nowhere%)$", message)
    end)
  end)

  it("writes all of one transition at once", function()
    local chunks = {}
    local listener = assert(loop:listen("127.0.0.1:0", rotor.protocol "Chunks" {
      create = function(_, stream) return stream:expect_bytes(1) end,
      bytes_read = function(_, stream)
        chunks[#chunks + 1] = stream:take()
        if #chunks == 1 then stream:write(HELLO.say) else loop:stop() end
        return stream:expect_bytes(1)
      end,
      exception = function(_, stream) return stream:done() end,
    }))
    local client <close> = connect(listener:address())
    client:ready():map(function()
      client:get("a")
      client:transaction(function(tx) tx:get("b") end)
      client:subscribe("c", print)
    end)
    support.run(loop)
    listener:close()
    assert.equal("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
      .. "*1\r\n$4\r\nEXEC\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n", chunks[2])
  end)

  it("uses the default loop, and the usual address", function()
    local client = redis.connect()
    assert.equal("redis.client: 127.0.0.1:6379", tostring(client))
    assert.is_true(client:close())
    rotor.default():close()
  end)
end)
