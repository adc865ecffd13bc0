local redis = require "rotor.redis"
local task = require "rotor.task"
local server = require "spec.redis_server"
local support = require "spec.support"

-- The client against a real server, in tasks.
describe("rotor.redis in a task", function()
  local scene = support.scene()
  local real, loop
  setup(function() real = server.start() end)
  teardown(function() real:stop() end)
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  -- A client that is connected, in a task.
  local function connect()
    local client = assert(redis.connect(real.address))
    assert(client:ready():await())
    return client
  end

  -- Run `fn` as a task with a client, which is closed when it ends.
  local function run(fn)
    local handle = loop:spawn(function()
      local client <close> = connect()
      assert.equal("OK", client:flushall():await())
      local _, late = task.deadline(10, fn, client)
      return late or "done"
    end)
    support.run(loop)
    assert.same({ "done" }, { handle:join() })
  end

  it("gives replies of every kind, and errors", function()
    run(function(client)
      assert.equal("OK", client:set("key", "value"):await())
      assert.equal("value", client:get("key"):await())
      assert.is_nil((client:get("none"):await()))
      assert.equal(2, client:rpush("list", "a", "b"):await())
      assert.same({ "a", "b" }, client:lrange("list", 0, -1):await())
      local reply, message, name = client:incr("key"):await()
      assert.same({ nil, "ERR" }, { reply, name })
      assert.matches("not an integer", message)
    end)
  end)

  it("goes on as soon as each reply is there, ten tasks on one connection", function()
    run(function(client)
      local sums = {}
      task.scope(function(scope)
        for i = 1, 10 do
          scope:spawn(function()
            local sum = 0
            for _ = 1, 20 do sum = sum + client:incr("counter" .. i):await() end
            sums[i] = sum
          end)
        end
      end)
      for i = 1, 10 do assert.equal(210, sums[i]) end
      local futures = {}
      for i = 1, 10 do futures[i] = client:get("counter" .. i) end
      for i = 10, 1, -1 do assert.equal("20", futures[i]:await()) end
    end)
  end)

  it("does not mix up replies when a task that waits is canceled", function()
    run(function(client)
      local other <close> = connect()
      local asked
      local pops = task.spawn(function()
        asked = true
        client:blpop("queue", 0):await()
      end)
      repeat task.yield() until asked
      pops:cancel()
      assert.equal("ECANCELED", select(3, pops:join()))
      local after = client:get("x")
      assert.equal(1, other:rpush("queue", "popped"):await())
      assert.is_nil((after:await()))
      assert.equal("PONG", client:ping():await())
    end)
  end)

  it("is bounded by the deadline it is called in", function()
    run(function(client)
      local other <close> = connect()
      local _, _, name = task.deadline(0.01, function() return client:blpop("queue", 0):await() end)
      assert.equal("ETIMEDOUT", name)
      assert.equal(1, other:rpush("queue", "popped"):await())
      assert.equal("PONG", client:ping():await())
    end)
  end)

  it("has transactions", function()
    run(function(client)
      local results = client:transaction(function(t)
        t:set("a", 1)
        t:incr("a")
      end):await()
      assert.equal(2, results[2])
    end)
  end)

  it("waits for messages by a channel", function()
    run(function(client)
      local other <close> = connect()
      local messages, got = task.channel(), {}
      assert.equal(1, other:subscribe("news", function(m) messages:try_send(m) end):await())
      local reader = task.spawn(function()
        for message in messages do
          got[#got + 1] = message
          if #got == 3 then return end
        end
      end)
      for i = 1, 3 do assert.equal(1, client:publish("news", "message " .. i):await()) end
      reader:join()
      assert.equal(0, other:unsubscribe("news"):await())
      assert.same({ "message 1", "message 2", "message 3" }, got)
    end)
  end)

  it("fails in all tasks that wait when the connection is closed", function()
    run(function()
      local client = connect()
      local names = {}
      task.scope(function(scope)
        for i = 1, 3 do
          scope:spawn(function() names[i] = select(3, client:blpop("none", 0):await()) end)
        end
        scope:spawn(function()
          task.yield() -- until all three have asked
          client:close()
        end)
      end)
      assert.same({ "ECANCELED", "ECANCELED", "ECANCELED" }, names)
    end)
  end)
end)
