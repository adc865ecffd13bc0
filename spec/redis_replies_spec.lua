local redis = require "rotor.redis"
local server = require "spec.redis_server"
local support = require "spec.support"

-- The client against a server that sends what it is told to, cut in every way.
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

  local HELLO = { hear = "\r\n3\r\n", say = "%1\r\n$5\r\nproto\r\n:3\r\n" }
  local PING = { hear = "PING\r\n", say = "+PONG\r\n" }
  local function greeting(protocol) return protocol == 3 and HELLO or PING end

  -- A value that assert.same tells from others.
  local function plain(v)
    if v == redis.null then return "the null" end
    if redis.is_error(v) then return "the error " .. tostring(v) end
    if math.type(v) == "float" then return v ~= v and "nan" or "the float " .. v end
    if type(v) ~= "table" then return v end
    local t = {}
    for key, item in pairs(v) do t[plain(key)] = plain(item) end
    return t
  end

  -- Connect to a server that says `bytes` after the last of `n` commands. What comes of it is
  -- complete when each command is answered and, if that is told, the connection is down.
  local function ask(protocol, n, bytes, options)
    options = options or {}
    local run = { answers = {}, downs = {}, pushes = {}, left = n }
    local address = server.fake(loop, { greeting(protocol), { hear = "LAST\r\n", say = bytes },
      how = options.how, close = options.close })
    local function finish()
      if run.left > 0 or options.down and #run.downs == 0 then return end
      run.client:close()
    end
    run.client = assert(redis.connect(address, {
      loop = loop, protocol = protocol, max_reply = options.max_reply, backoff = 60,
      backoff_max = 60,
      on_down = function(_, ...)
        run.downs[#run.downs + 1] = { ... }
        finish()
      end,
      on_push = function(_, push) run.pushes[#run.pushes + 1] = plain(push) end,
      on_up = function(client)
        for i = 1, n do
          client:call(i == n and "LAST" or "COMMAND"):and_then(function(...)
            run.answers[i] = { plain((...)), select(2, ...) }
            run.left = run.left - 1
            finish()
          end)
        end
      end,
    }))
    return run
  end

  local RESP2 = {
    { "+OK\r\n", "OK" },
    { "+\r\n", "" },
    { "-ERR no such thing\r\n", nil, "ERR: no such thing", "ERR" },
    { "-WRONGTYPE Operation against\r\n", nil, "WRONGTYPE: Operation against", "WRONGTYPE" },
    { "-EXECABORT\r\n", nil, "EXECABORT: ", "EXECABORT" },
    { "-Oops, no code\r\n", nil, "ERR: Oops, no code", "ERR" },
    { "-ECONNRESET is rotor's\r\n", nil, "ERR: ECONNRESET is rotor's", "ERR" },
    { "-\r\n", nil, "ERR: ", "ERR" },
    { ":0\r\n", 0 },
    { ":-12\r\n", -12 },
    { ":+7\r\n", 7 },
    { ":9223372036854775807\r\n", math.maxinteger },
    { ":-9223372036854775808\r\n", math.mininteger },
    { "$0\r\n\r\n", "" },
    { "$7\r\na\r\nb\0\r\n\r\n", "a\r\nb\0\r\n" },
    { "$-1\r\n", nil },
    { "*-1\r\n", nil },
    { "*0\r\n", {} },
    { "*2\r\n*1\r\n:1\r\n*0\r\n", { { 1 }, {} } },
    { "*3\r\n$-1\r\n*-1\r\n-ERR inside\r\n", { "the null", "the null", "the error ERR: inside" } },
    { "$12\r\nHello, World\r\n", "Hello, World" },
  }
  local RESP3 = {
    { "_\r\n", nil },
    { "#t\r\n", true },
    { "#f\r\n", false },
    { ",1.25\r\n", "the float 1.25" },
    { ",-3\r\n", "the float -3.0" },
    { ",1e3\r\n", "the float 1000.0" },
    { ",inf\r\n", "the float inf" },
    { ",-inf\r\n", "the float -inf" },
    { ",nan\r\n", "nan" },
    { "(-12345678901234567890123\r\n", "-12345678901234567890123" },
    { "!21\r\nSYNTAX invalid syntax\r\n", nil, "SYNTAX: invalid syntax", "SYNTAX" },
    { "=15\r\ntxt:Some string\r\n", "Some string" },
    { "~2\r\n+a\r\n~1\r\n:1\r\n", { "a", { 1 } } },
    { "%0\r\n", {} },
    { "%3\r\n+k\r\n_\r\n:1\r\n#f\r\n#f\r\n%1\r\n,0.5\r\n*0\r\n",
      { k = "the null", [1] = false, [false] = { ["the float 0.5"] = {} } } },
    { "%1\r\n,nan\r\n+v\r\n", { nan = "v" } },
    { "|1\r\n+ttl\r\n:3600\r\n*2\r\n|1\r\n+a\r\n*1\r\n*0\r\n:1\r\n|0\r\n*1\r\n:2\r\n",
      { 1, { 2 } } },
    { ">2\r\n+other\r\n%1\r\n+a\r\n_\r\n*1\r\n#t\r\n", { true } }, -- behind a push
  }
  table.move(RESP2, 1, #RESP2, #RESP3 + 1, RESP3)

  local function transcript(replies)
    local bytes, expected = {}, {}
    for i, reply in ipairs(replies) do
      bytes[i] = reply[1]
      expected[i] = { table.unpack(reply, 2, 4) }
    end
    return table.concat(bytes), expected
  end

  for protocol, replies in pairs { [2] = RESP2, [3] = RESP3 } do
    local bytes, expected = transcript(replies)
    local pushes = protocol == 3 and { { "other", { a = "the null" } } } or {}

    local function check(runs)
      support.run(loop)
      for _, run in ipairs(runs) do
        assert.same(expected, run.answers)
        assert.same(pushes, run.pushes)
        assert.same({}, run.downs)
      end
    end

    describe(("understands all replies of RESP%d,"):format(protocol), function()
      it("whole", function()
        check { ask(protocol, #replies, bytes) }
      end)

      it("one byte at a time", function()
        check { ask(protocol, #replies, bytes, { how = "bytes" }) }
      end)

      it("in two at each byte", function()
        for first = 1, #bytes - 1, 100 do
          local runs = {}
          for at = first, math.min(first + 99, #bytes - 1) do
            runs[#runs + 1] = ask(protocol, #replies, bytes, { how = at })
          end
          check(runs)
        end
      end)

      it("and tells what was answered and what was not when it breaks off at any byte", function()
        local whole = {} -- how many replies there are in so many bytes
        local at, n = 0, 0
        for _, reply in ipairs(replies) do
          for _ = 1, #reply[1] do
            whole[at], at = n, at + 1
          end
          n = n + 1
        end
        for first = 0, #bytes - 1, 100 do
          local runs = {}
          for cut = first, math.min(first + 99, #bytes - 1) do
            runs[cut] = ask(protocol, #replies, bytes:sub(1, cut), { close = true, down = true })
          end
          support.run(loop)
          for cut, run in pairs(runs) do
            assert.same({ table.unpack(expected, 1, whole[cut]) },
              { table.unpack(run.answers, 1, whole[cut]) })
            for i = whole[cut] + 1, #replies do
              local message, name = table.unpack(run.answers[i], 2, 3)
              assert.equal("EEOF", name)
              assert.matches("^EEOF: the server has closed the connection %(unix:@.*%); "
                .. "the command may or may not have been executed$", message)
            end
            assert.equal(1, #run.downs)
            assert.equal("EEOF", run.downs[1][1])
          end
        end
      end)
    end)
  end

  it("understands a large text in pieces, and what comes behind it", function()
    local text = ("0123456789abcdef"):rep(1 << 16)
    local bytes = ("$%d\r\n%s\r\n"):format(#text, text)
    bytes = bytes .. "*3\r\n" .. bytes .. ":1\r\n$1\r\na\r\n"
    for _, how in ipairs { "whole", 1, 9, 10, 100000, #text + 10, #text + 12, #text + 20 } do
      local run = ask(3, 2, bytes, { how = how })
      support.run(loop)
      assert.is_true(run.answers[1][1] == text)
      assert.same({ #text, 1, "a" }, { #run.answers[2][1][1], table.unpack(run.answers[2][1], 2) })
    end
  end)

  it("understands lists of many, and of many levels", function()
    local bytes = "*20000\r\n" .. (":1\r\n"):rep(20000) .. ("*1\r\n"):rep(127) .. "*1\r\n:7\r\n"
    local run = ask(3, 2, bytes)
    support.run(loop)
    assert.equal(20000, #run.answers[1][1])
    local value, depth = run.answers[2][1], 0
    while type(value) == "table" do value, depth = value[1], depth + 1 end
    assert.same({ 7, 128 }, { value, depth })
  end)

  describe("ends the connection for", function()
    -- The first command is answered, the second is not.
    local function refuse(what, bytes, expected, max_reply)
      it(what, function()
        for _, how in ipairs { "whole", #bytes < 100 and "bytes" or 1, #bytes + 2 } do
          local run = ask(3, 2, "+OK\r\n" .. bytes,
            { how = how, down = true, max_reply = max_reply })
          support.run(loop)
          assert.same({ "OK" }, run.answers[1])
          local value, message, name = table.unpack(run.answers[2], 1, 3)
          assert.same({ nil, "EPROTO" }, { value, name })
          -- What is shown is what was there by then.
          local shown = message:match('^EPROTO: (.*: ".+)" %(unix:@')
          assert.equal(expected:sub(1, #shown), shown)
          assert.matches("may or may not have been executed$", message)
          assert.same({ "EPROTO", (message:gsub(";.*", "")) }, { table.unpack(run.downs[1], 1, 2) })
          assert.equal("number", type(run.downs[1][3]))
        end
      end)
    end

    for bytes, expected in pairs {
      ["HTTP/1.1 400 Bad Request\r\n"] = "no type of reply",
      ["\r\n"] = "no type of reply",
      [":\r\n"] = "a value that is not of its type",
      [":1 \r\n"] = "a value that is not of its type",
      [":0x10\r\n"] = "a value that is not of its type",
      [":9223372036854775808\r\n"] = "a value that is not of its type",
      ["#x\r\n"] = "a value that is not of its type",
      ["_x\r\n"] = "a value that is not of its type",
      [",\r\n"] = "a value that is not of its type",
      [",0x1p4\r\n"] = "a value that is not of its type",
      [",1.2.3\r\n"] = "a value that is not of its type",
      ["(12a\r\n"] = "a value that is not of its type",
      ["+a\rb\r\n"] = "a value that is not of its type",
      ["$x\r\n"] = "not a length",
      ["$\r\n"] = "not a length",
      ["$-2\r\n"] = "not a length",
      ["$+3\r\n"] = "not a length",
      ["$?\r\n"] = "not a length",
      ["=-1\r\n"] = "not a length",
      ["*-2\r\n"] = "not a length",
      ["*1.5\r\n"] = "not a length",
      ["%-1\r\n"] = "not a length",
      ["$3\r\nabcd\r\n"] = "a text that is not of its length",
      ["$3\r\nab\r\n\r\n"] = "a text that is not of its length",
      ["=3\r\ntxt\r\n"] = "a text without its format",
      ["=5\r\ntxt-a\r\n"] = "a text without its format",
      ["*1\r\n>1\r\n+a\r\n"] = "a push inside of a reply",
      ["*2\r\n:1\r\n@\r\n"] = "no type of reply",
    } do
      local part = bytes:gsub("^%*%d\r\n:1\r\n", ""):gsub("^%*%d\r\n>", ">")
      part = part:gsub("\r", "\\r"):gsub("\n", "\\n")
      refuse(part, bytes, ('%s: "%s"'):format(expected, part))
    end

    local long = ("x"):rep(40)
    refuse("a line without an end", "+" .. ("x"):rep(70000), 'too long a line: "+' .. long .. '"')
    refuse("too long a line", "+" .. ("x"):rep(65536) .. "\r\n",
      'too long a line: "+' .. long .. '"')
    refuse("a number without an end", ":" .. ("1"):rep(65),
      'too long a line: ":' .. ("1"):rep(40) .. '"')
    refuse("too many levels", ("*1\r\n"):rep(129),
      'more than 128 levels: "*1\\r\\n"')
    refuse("a text that is larger than it may be", "$993\r\n",
      'a reply of more than 1000 bytes: "$993\\r\\n"', 1000)
    refuse("a list that cannot but be larger than it may be", "*332\r\n",
      'a reply of more than 1000 bytes: "*332\\r\\n"', 1000)
    refuse("a list that becomes so", "*3\r\n:1\r\n$500\r\n" .. ("x"):rep(500) .. "\r\n$480\r\n",
      'a reply of more than 1000 bytes: "$480\\r\\n"', 1000)
    refuse("lines that do", "*2\r\n+" .. ("x"):rep(600) .. "\r\n+" .. ("x"):rep(600) .. "\r\n",
      'a reply of more than 1000 bytes: "+' .. long .. '"', 1000)

    it("a reply that nobody has asked for", function()
      local run = ask(3, 1, "+OK\r\n+OK\r\n", { down = true })
      support.run(loop)
      assert.same({ "OK" }, run.answers[1])
      assert.equal("EPROTO", run.downs[1][1])
      assert.matches("^EPROTO: a reply that nobody has asked for %(", run.downs[1][2])
    end)
  end)

  it("takes replies as large as they may be", function()
    local text = "$992\r\n" .. ("x"):rep(992) .. "\r\n"
    local bytes = text .. "*331\r\n" .. ("+\r\n"):rep(331) .. text
    for _, how in ipairs { "whole", 500, 1500, 2500 } do
      local run = ask(3, 3, bytes, { max_reply = 1000, how = how })
      support.run(loop)
      assert.same({ 992, 331, 992 },
        { #run.answers[1][1], #run.answers[2][1], #run.answers[3][1] })
    end
    bytes = ("|1\r\n+a\r\n:1\r\n:5\r\n"):rep(10)
    local run = ask(3, 10, bytes, { max_reply = 20, how = "bytes" })
    support.run(loop)
    assert.same({ 5 }, run.answers[10])
  end)
end)
