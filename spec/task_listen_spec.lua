local task = require "rotor.task"
local sockets = require "spec.task_sockets"
local support = require "spec.support"

local EOF = { nil, "EEOF: peer closed before the expected bytes came", "EEOF" }
local TIMEOUT = { nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }
local CLOSED = { nil, "ECLOSED: already closed", "ECLOSED" }

describe("a task's connection", function()
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

  -- Run `fn` as a task until nothing is left; what it returns, or its error.
  local function inside(fn)
    local results
    loop:spawn(function() results = table.pack(task.spawn(fn):join()) end)
    support.run(loop)
    if results[3] == "ELUA" then error(results[2], 0) end
    return table.unpack(results, 1, results.n)
  end

  -- The same with both ends of a connection, which are closed afterwards.
  local function between(fn, address)
    return inside(function()
      local a, b = sockets.pair(address)
      local here <close> = a
      local there <close> = b
      return fn(here, there)
    end)
  end

  describe("is made", function()
    it("over Unix sockets, too", function()
      local path = os.tmpname()
      os.remove(path)
      between(function(here, there)
        assert.equal("unix:" .. path, here:peer())
        here:write("x")
        assert.equal("x", there:read(1))
      end, "unix:" .. path)
      assert.is_nil(io.open(path))
    end)

    it("with an address at each end", function()
      between(function(here, there)
        assert.equal(here:peer(), there:address())
        assert.equal(there:peer(), here:address())
        assert.equal("rotor.task.conn: " .. here:peer(), tostring(here))
      end)
    end)

    it("by names", function()
      inside(function()
        local listener <close> = assert(task.listen("127.0.0.1:0"))
        local port = listener:address():match("%d+$")
        assert(task.connect("localhost:" .. port)):close()
        assert(listener:accept()):close()
      end)
    end)

    it("or not", function()
      inside(function()
        local listener = assert(task.listen("127.0.0.1:0"))
        local address = listener:address()
        listener:close()
        task.yield()
        assert.same({ nil, "ECONNREFUSED: connection refused (" .. address .. ")",
                      "ECONNREFUSED" }, { task.connect(address) })
        assert.equal("EADDRESS", (select(3, task.connect("nonsense"))))
        assert.equal("ENOENT", (select(3, task.connect("unix:/nowhere/at/all"))))
        local busy <close>, conns = sockets.busy()
        assert.equal("ETIMEDOUT", (select(3, task.connect(busy:address(), { timeout = 0.01 }))))
        for _, conn in ipairs(conns) do conn:close() end
        assert.has_error(function() task.connect() end)
        assert.has_error(function() task.connect("1", { timeout = 0 }) end)
        assert.has_error(function() task.connect("1", { patience = 1 }) end)
      end)
    end)

    it("not when the loop has no room for it", function()
      loop = scene.loop { capacity = 4 } -- with the watchdog and another task
      inside(function()
        local listener <close> = assert(task.listen("127.0.0.1:0"))
        assert.equal("ECAPACITY", (select(3, task.connect(listener:address()))))
      end)
    end)
  end)

  describe("comes from a listener", function()
    it("that is gone through until it is closed", function()
      inside(function()
        local listener = assert(task.listen("127.0.0.1:0"))
        local served = 0
        local server = task.spawn(function()
          for conn in listener do
            served = served + 1
            conn:close()
          end
          return select(3, listener:accept())
        end)
        for _ = 1, 100 do
          local conn <close> = assert(task.connect(listener:address()))
          assert.same(EOF, { conn:read(1) })
        end
        listener:close()
        listener:close()
        assert.equal("ECLOSED", server:join())
        assert.equal(100, served)
        assert.is_true(listener:closed())
        assert.same(CLOSED, { listener:address() })
      end)
    end)

    it("that keeps them until somebody asks", function()
      inside(function()
        local listener <close> = assert(task.listen("127.0.0.1:0"))
        local conns = {}
        for i = 1, 20 do
          conns[i] = assert(task.connect(listener:address()))
          conns[i]:write(tostring(i))
        end
        for i = 1, 20 do
          local conn <close> = assert(listener:accept(1))
          assert.equal(tostring(i), conn:read_some())
          conns[i]:close()
        end
        assert.same(TIMEOUT, { listener:accept(0.01) })
      end)
    end)

    it("in several tasks", function()
      inside(function()
        local listener = assert(task.listen("127.0.0.1:0"))
        local workers, n = {}, 0
        for i = 1, 4 do
          workers[i] = task.spawn(function()
            for conn in listener do
              n = n + 1
              conn:close()
              task.yield()
            end
          end)
        end
        local clients = {}
        for i = 1, 40 do
          clients[i] = task.spawn(function()
            local conn <close> = assert(task.connect(listener:address()))
            conn:read_all()
          end)
        end
        for _, client in ipairs(clients) do client:join() end
        assert.equal(40, n)
        listener:close()
        for _, worker in ipairs(workers) do worker:join() end
      end)
    end)

    it("as one of several that are waited for", function()
      inside(function()
        local one <close> = assert(task.listen("127.0.0.1:0"))
        local other <close> = assert(task.listen("127.0.0.1:0"))
        local client = task.spawn(function()
          local conn <close> = assert(task.connect(other:address()))
          return conn:read(2)
        end)
        local key, conn = task.select { one = { accept = one }, other = { accept = other } }
        assert.equal("other", key)
        conn:write("ok")
        conn:close()
        assert.equal("ok", client:join())
      end)
    end)

    it("of several addresses", function()
      inside(function()
        local path = os.tmpname()
        os.remove(path)
        local listener <close> = assert(task.listen("127.0.0.1:0,unix:" .. path))
        local tcp = listener:address():match("^[^,]+")
        assert.equal(tcp .. ",unix:" .. path, listener:address())
        for _, address in ipairs { tcp, "unix:" .. path } do
          local conn <close> = assert(task.connect(address))
          conn:write("x")
          local there <close> = assert(listener:accept(1))
          assert.equal("x", there:read(1))
        end
      end)
    end)

    it("that stops at as many machines as it may, and goes on", function()
      inside(function()
        local listener <close> = assert(task.listen("127.0.0.1:0", { connections = 7 }))
        local first = assert(task.connect(listener:address())) -- with the watchdog, five
        local accepted = assert(listener:accept(1))
        local second = assert(task.connect(listener:address()))
        assert.same(TIMEOUT, { listener:accept(0.01) })
        first:close()
        assert(listener:accept(1)):close()
        accepted:close()
        second:close()
      end)
    end)

    it("or not", function()
      inside(function()
        local listener <close> = assert(task.listen("127.0.0.1:0"))
        local address = listener:address()
        assert.same({ nil, "EADDRINUSE: address already in use (" .. address .. ")", "EADDRINUSE" },
          { task.listen("unix:@rotor-" .. address .. "," .. address) })
        assert.has_error(function() task.listen(address, { nonsense = 1 }) end)
      end)
    end)

    it("that is closed when it is collected", function()
      inside(function()
        local address = assert(task.listen("127.0.0.1:0")):address()
        collectgarbage()
        collectgarbage()
        task.yield()
        assert.equal("ECONNREFUSED", (select(3, task.connect(address))))
      end)
    end)
  end)
end)
