local task = require "rotor.task"
local support = require "spec.support"

local TIMEOUT = { nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }
local CLOSED = { nil, "ECLOSED: already closed", "ECLOSED" }

describe("a task's datagram socket", function()
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

  -- Run `fn` as a task with two sockets until nothing is left.
  local function between(fn)
    local results
    loop:spawn(function()
      results = table.pack(task.spawn(function()
        local here <close> = assert(task.udp("127.0.0.1:0"))
        local there <close> = assert(task.udp("127.0.0.1:0"))
        return fn(here, there, here:address(), there:address())
      end):join())
    end)
    support.run(loop)
    if results[3] == "ELUA" then error(results[2], 0) end
  end

  it("sends and receives", function()
    between(function(here, there, at_here, at_there)
      assert.is_true(there:send("one", at_here))
      assert.same({ "one", at_there }, { here:recv() })
      assert.is_true(here:send("", at_there))
      assert.same({ "", at_here }, { there:recv() })
    end)
  end)

  it("echoes to whoever has sent", function()
    between(function(here, there, at_here)
      local server = task.spawn(function()
        for data, from in here do here:send(data:upper(), from) end
        return "closed"
      end)
      for i = 1, 100 do
        there:send("message " .. i, at_here)
        assert.equal("MESSAGE " .. i, (there:recv(1)))
      end
      here:close()
      assert.equal("closed", server:join())
    end)
  end)

  it("keeps in order what comes while nobody receives", function()
    between(function(here, there, at_here)
      for i = 1, 100 do there:send(tostring(i), at_here) end
      while #here < 100 do task.yield() end
      for i = 1, 100 do assert.equal(tostring(i), (here:recv(0))) end
      assert.equal(0, #here)
      assert.equal(0, here:dropped())
      assert.same(TIMEOUT, { here:recv(0) })
    end)
  end)

  it("drops what comes when it keeps as much as it may, and counts that", function()
    between(function(here, there, at_here)
      for i = 1, 300 do
        there:send(tostring(i), at_here)
        while #here + here:dropped() < i do task.yield() end
      end
      assert.equal(256, #here)
      assert.equal(44, here:dropped())
      for i = 1, 256 do assert.equal(tostring(i), (here:recv(0))) end
      local big = ("x"):rep(60000)
      for i = 1, 20 do
        there:send(big, at_here)
        while #here + here:dropped() < 44 + i do task.yield() end
      end
      assert.equal(17, #here) -- a mebibyte
      assert.equal(47, here:dropped())
    end)
  end)

  it("tells the true size of what was cut", function()
    between(function(_, there)
      local short <close> = assert(task.udp("127.0.0.1:0", { max = 3 }))
      there:send("abcdef", short:address())
      assert.same({ "abc", there:address(), 6 }, { short:recv(1) })
    end)
  end)

  it("is one of several that are waited for", function()
    between(function(here, there, at_here, at_there)
      there:send("x", at_here)
      local other = task.channel()
      assert.same({ "come", "x", at_there },
        { task.select { come = { recv = here }, other = { recv = other }, late = { after = 1 } } })
      assert.equal("late", (task.select { come = { recv = here }, late = { after = 0.01 } }))
    end)
  end)

  it("hears that nobody is at its peer's address, and goes on", function()
    between(function(here, _, at_here)
      local peer = assert(task.udp(nil, { peer = at_here }))
      assert.equal(at_here, peer:peer())
      here:close()
      task.yield()
      assert.is_true(peer:send("x"))
      assert.equal("ECONNREFUSED", (select(3, peer:recv(1))))
      assert.same(TIMEOUT, { peer:recv(0.01) })
      peer:close()
    end)
  end)

  it("over Unix waits until there is room for what it sends", function()
    between(function()
      local path = os.tmpname()
      os.remove(path)
      local server <close> = assert(task.udp("unix:" .. path))
      local own = "unix:" .. path .. ".client"
      local client <close> = assert(task.udp(own, { peer = "unix:" .. path }))
      local data, got = ("x"):rep(1000), 0
      local writer = task.spawn(function()
        for _ = 1, 2000 do assert(client:send(data)) end
      end)
      while got < 2000 do
        local piece, from = server:recv(1)
        assert.equal(data, piece)
        assert.equal(own, from)
        got = got + 1
      end
      writer:join()
    end)
  end)

  it("tells whoever waits that it is closed, and is good for nothing then", function()
    between(function(here)
      local waiting = task.spawn(function() return select(3, here:recv()) end)
      task.yield()
      assert.is_true(here:close())
      assert.equal("ECLOSED", waiting:join())
      assert.is_true(here:close())
      for _, method in ipairs { "recv", "address", "peer" } do
        assert.same(CLOSED, { here[method](here) })
      end
      assert.same(CLOSED, { here:send("x", "127.0.0.1:1") })
      assert.equal(0, here:dropped())
    end)
  end)

  it("may be closed by the task that runs inside of its transition", function()
    between(function(here, there, at_here)
      local reader = task.spawn(function()
        local data = here:recv()
        here:close()
        return data
      end)
      task.yield()
      there:send("x", at_here)
      there:send("y", at_here)
      assert.equal("x", reader:join())
    end)
  end)

  it("loses nothing to one that is canceled", function()
    between(function(here, there, at_here)
      local reader = task.spawn(function() return here:recv() end)
      task.yield()
      reader:cancel()
      there:send("x", at_here)
      reader:join()
      assert.equal("x", (here:recv(1)))
    end)
  end)

  it("is closed when it is collected", function()
    between(function()
      local address = assert(task.udp("127.0.0.1:0")):address()
      collectgarbage()
      collectgarbage()
      task.yield()
      assert(task.udp(address)):close()
    end)
  end)

  it("is taken only for what it is", function()
    between(function(here)
      assert.error_matches(function() here:send("x", "localhost:1") end,
        "a name is not looked up here")
      assert.has_error(function() here:send() end)
      assert.has_error(function() here:recv(-1) end)
      assert.has_error(function() task.udp("127.0.0.1:0", { nonsense = 1 }) end)
      assert.equal("EADDRESS", (select(3, here:send("x", "nonsense"))))
      assert.equal("EADDRINUSE", (select(3, task.udp(here:address()))))
    end)
  end)
end)
