local task = require "rotor.task"
local threads = require "rotor.threads"
local support = require "spec.support"

-- Everything a task can wait in, and every way in which that ends before it has happened: canceled,
-- past a deadline around it, an error in a sibling, its loop closed. Nothing may be left in a
-- queue, nothing that was waited for be lost, and the scene counts descriptors and references.

-- How each is waited in: a function that makes what it takes, and returns `wait`, the function that
-- waits, perhaps `check`, which shows that nobody waits any more and nothing was lost, and `close`.
local primitives = {}

function primitives.sleep()
  return { wait = function() task.sleep(1000) end }
end

function primitives.join()
  local slow = task.spawn(task.sleep, 1000)
  return {
    wait = function() slow:join() end,
    check = function() assert(not slow:done()) end,
    close = function() slow:cancel() end,
  }
end

primitives["recv"] = function()
  local channel = task.channel(1)
  return {
    wait = function() channel:recv() end,
    check = function()
      assert(channel:try_send("kept"))
      assert(channel:try_recv() == "kept")
    end,
  }
end

primitives["recv of no capacity"] = function()
  local channel = task.channel(0)
  return {
    wait = function() channel:recv() end,
    check = function() assert(channel:try_send("x") == false) end,
  }
end

primitives["send"] = function()
  local channel = task.channel(1)
  channel:send("first")
  return {
    wait = function() channel:send("never") end,
    check = function()
      assert(channel:recv() == "first")
      assert(select(2, channel:try_recv()) == "empty")
    end,
  }
end

primitives["send of no capacity"] = function()
  local channel = task.channel(0)
  return {
    wait = function() channel:send("never") end,
    check = function() assert(select(2, channel:try_recv()) == "empty") end,
  }
end

primitives["iteration"] = function()
  local channel = task.channel()
  return {
    wait = function() for _ in channel do error("there is nothing") end end,
    check = function() assert(channel:try_send("kept") and #channel == 1) end,
  }
end

function primitives.await(loop)
  local port, future = loop:future()
  return {
    wait = function() future:await() end,
    check = function()
      port:set("value")
      assert(future:await(1) == "value")
    end,
  }
end

function primitives.select(loop)
  local one, other, full = task.channel(), task.channel(0), task.channel(1)
  local port, future = loop:future()
  local slow = task.spawn(task.sleep, 1000)
  full:send("first")
  return {
    wait = function()
      task.select {
        { recv = one }, { recv = other }, { send = full, value = "never" }, { await = future },
        { join = slow }, { after = 1000 },
      }
    end,
    check = function()
      assert(one:try_send("kept") and one:try_recv() == "kept")
      assert(other:try_send("x") == false)
      assert(full:recv() == "first" and #full == 0)
      assert(not slow:done())
      port:set("value")
      assert(future:await(1) == "value")
    end,
    close = function() slow:cancel() end,
  }
end

-- Held by another task, which ends with the rest.
local function held(make, hold, try)
  return function()
    local lock = make()
    local holder = task.spawn(function()
      hold(lock)
      task.sleep(1000)
    end)
    task.yield()
    return {
      wait = function() hold(lock) error("it was not free") end,
      check = function()
        holder:cancel()
        holder:join()
        try(lock)
      end,
      close = function() holder:cancel() end,
    }
  end
end

local function write(lock) return lock:write() end
local function try_write(lock) lock:write(1):unlock() end

primitives["mutex"] = held(task.mutex, function(m) return m:lock() end,
  function(m) assert(m:try_lock()):unlock() end)
primitives["read"] = function()
  local lock = task.rwlock()
  local guard = lock:write()
  return {
    wait = function() lock:read() error("it was not free") end,
    check = function()
      guard:unlock()
      try_write(lock)
    end,
  }
end
primitives["write behind a writer"] = held(task.rwlock, write, try_write)
primitives["write behind a reader"] = function()
  local lock = task.rwlock()
  local guard = lock:read()
  return {
    wait = function() lock:write() error("it was not free") end,
    check = function()
      lock:read(1):unlock()
      guard:unlock()
      try_write(lock)
    end,
  }
end
primitives["semaphore"] = function()
  local semaphore = task.semaphore(0)
  return {
    wait = function() semaphore:acquire() end,
    check = function()
      semaphore:release()
      assert(semaphore:try_acquire() and not semaphore:try_acquire())
    end,
  }
end
primitives["condition"] = function()
  local mutex = task.mutex()
  local condition = task.condition(mutex)
  return {
    wait = function()
      local _ <close> = mutex:lock()
      condition:wait()
    end,
    check = function()
      assert(not mutex:locked())
      assert(condition:signal() == false)
    end,
  }
end
primitives["wait group"] = function()
  local group = task.wait_group()
  group:add()
  return { wait = function() group:wait() end, check = function() group:done() end }
end
primitives["once"] = function()
  local once = task.once()
  return {
    wait = function() once:run(task.sleep, 1000) end,
    check = function() assert(once:run(function() return "mine" end) == "mine") end,
  }
end
primitives["barrier"] = function()
  local barrier = task.barrier(2)
  return {
    wait = function() barrier:wait() end,
    check = function() assert(select(3, barrier:wait(0)) == "ETIMEDOUT") end,
  }
end
primitives["scope"] = function()
  local running = 0
  return {
    wait = function()
      task.scope(function(scope)
        for _ = 1, 3 do
          scope:spawn(function()
            running = running + 1
            local _ <close> = setmetatable({}, { __close = function() running = running - 1 end })
            task.sleep(1000)
          end)
        end
      end)
    end,
    check = function() assert(running == 0) end,
  }
end
primitives["shielded by nothing but a deadline"] = function()
  return { wait = function() task.deadline(1000, task.sleep, 1000) end }
end

primitives["recv between threads"] = function()
  local channel = threads.channel()
  return {
    wait = function() channel:recv() end,
    check = function()
      assert(channel:send("kept"))
      assert(channel:recv(1) == "kept" and #channel == 0)
    end,
  }
end
primitives["send between threads"] = function()
  local channel = threads.channel(1)
  channel:send("first")
  return {
    wait = function() channel:send("never") end,
    check = function()
      assert(channel:recv() == "first" and #channel == 0)
      assert(channel:send("second", 1) and channel:recv() == "second")
    end,
  }
end
primitives["select between threads"] = function()
  local empty, full = threads.channel(), threads.channel(1)
  full:send("first")
  return {
    wait = function() task.select { { recv = empty }, { send = full, value = "never" } } end,
    check = function()
      assert(empty:send("kept") and empty:recv() == "kept")
      assert(full:recv() == "first" and #full == 0)
    end,
  }
end

-- Sockets need a loop whose time is real.
local real = require("spec.task_sockets").waits

-- What is to come of a wait that does not happen.
local endings = {}

function endings.canceled(prepared)
  local waiting = task.spawn(prepared.wait)
  task.sleep(0.01)
  assert(not waiting:done(), "it does not wait")
  waiting:cancel()
  assert.equal("ECANCELED", (select(3, waiting:join())))
end

endings["past its deadline"] = function(prepared)
  assert.equal("ETIMEDOUT", (select(3, task.deadline(0.01, prepared.wait))))
end

endings["with an error in a sibling"] = function(prepared)
  local ok, text = pcall(task.scope, function(scope)
    scope:spawn(prepared.wait)
    scope:spawn(function()
      task.sleep(0.01)
      error("sibling", 0)
    end)
  end)
  assert.is_false(ok)
  assert.matches("^sibling\n", text)
end

endings["in a scope that is canceled"] = function(prepared)
  assert.equal("ECANCELED", (select(3, task.scope(function(scope)
    scope:spawn(prepared.wait)
    task.sleep(0.01)
    scope:cancel()
    task.yield()
  end))))
end

local function names(list)
  local sorted = {}
  for name in pairs(list) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  return sorted
end

describe("a task that waits in", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  for _, list in ipairs { primitives, real } do
    for _, name in ipairs(names(list)) do
      for _, ending in ipairs(names(endings)) do
        it(name .. ", " .. ending, function()
          local loop = scene.loop { virtual = list == primitives }
          local handle = loop:spawn(function()
            local prepared = list[name](loop)
            endings[ending](prepared)
            if prepared.check then prepared.check() end
            if prepared.close then prepared.close() end
          end)
          if list == primitives then loop:advance(100) else support.run(loop) end
          assert.is_true(handle:done())
          local _, text, code = handle:join()
          assert(code ~= "ELUA", text)
          if list == primitives then loop:advance(10000) end
          assert.equal(0, loop:count())
        end)
      end

      it(name .. ", when its loop is closed", function()
        local loop = scene.loop { virtual = list == primitives }
        loop:spawn(function()
          local prepared = list[name](loop)
          task.spawn(prepared.wait)
          task.sleep(1000)
        end)
        for _ = 1, 10 do
          if list == primitives then loop:advance(0.01) else loop:turn() end
        end
        loop:close()
      end)
    end
  end
end)
