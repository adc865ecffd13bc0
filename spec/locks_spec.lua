local task = require "rotor.task"
local support = require "spec.support"

local TIMEOUT = { nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }

describe("locks:", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)
  local inside = scene.inside

  -- Tasks that each do `fn(i)`, and what they have logged.
  local function crowd(n, fn)
    local log = {}
    local function note(what) table.insert(log, what) end
    local tasks = {}
    for i = 1, n do tasks[i] = task.spawn(fn, i, note) end
    return log, tasks
  end

  describe("a mutex", function()
    it("is the task's, whichever of its coroutines has locked it", function()
      inside(function()
        local mutex = task.mutex()
        task.spawn(function()
          coroutine.wrap(function() mutex:lock() end)()
          assert.error_matches(function() mutex:lock() end, "holds this mutex already")
        end):join()
        assert.is_false(mutex:locked())
      end)
    end)

    it("is held while what it guards is closed, also with the loop", function()
      local rotor = require "rotor"
      local loop, mutex, locked = rotor.loop(), task.mutex(), nil
      loop:spawn(function()
        local _ <close> = mutex:lock()
        local _ <close> = setmetatable({}, { __close = function() locked = mutex:locked() end })
        task.sleep(10)
      end)
      loop:turn()
      loop:close()
      assert.is_true(locked)
      assert.is_false(mutex:locked())
    end)

    it("is one task's at a time, in the order in which they came", function()
      inside(function()
        local mutex, holders = task.mutex(), 0
        local log = crowd(5, function(i, note)
          local _ <close> = mutex:lock()
          holders = holders + 1
          assert(holders == 1)
          task.sleep(1)
          note(i)
          holders = holders - 1
        end)
        task.sleep(10)
        assert.same({ 1, 2, 3, 4, 5 }, log)
        assert.is_false(mutex:locked())
      end)
    end)

    it("is not taken by who comes in between", function()
      inside(function()
        local mutex = task.mutex()
        mutex:lock()
        local log = crowd(1, function(_, note)
          mutex:lock()
          note("handed over")
          mutex:unlock()
        end)
        task.yield()
        mutex:unlock()
        assert.is_false(mutex:try_lock())
        assert.is_true(mutex:locked())
        task.yield()
        assert.same({ "handed over" }, log)
        assert.equal(mutex, mutex:try_lock())
        mutex:unlock()
      end)
    end)

    it("is waited for only as long as one likes", function()
      inside(function()
        local mutex = task.mutex()
        local holder = task.spawn(function()
          mutex:lock()
          task.sleep(5)
          mutex:unlock()
        end)
        task.yield()
        assert.same(TIMEOUT, { mutex:lock(1) })
        assert.equal(mutex, mutex:lock(10))
        mutex:unlock()
        holder:join()
      end)
    end)

    it("is free when its holder has ended, in whatever way", function()
      inside(function()
        local mutex = task.mutex()
        for _, ending in ipairs {
          function() mutex:lock() end,
          function() mutex:lock() task.sleep(100) end,
          function() mutex:lock() error("failed") end,
          function() mutex:lock() task.running():cancel() task.yield() end,
        } do
          local holder = task.spawn(ending)
          local waiting = task.spawn(function()
            local _ <close> = mutex:lock()
            return "mine"
          end)
          task.yield()
          task.yield()
          holder:cancel()
          holder:join()
          assert.equal("mine", (waiting:join()))
          assert.is_false(mutex:locked())
        end
      end)
    end)

    it("is not lost when a task is canceled that was just handed it", function()
      inside(function()
        local mutex = task.mutex()
        mutex:lock()
        local next_one = task.spawn(function()
          mutex:lock()
          task.sleep(1)
        end)
        local last = task.spawn(function()
          mutex:lock()
          return "mine"
        end)
        task.yield()
        mutex:unlock()
        next_one:cancel()
        assert.equal("mine", (last:join()))
        assert.is_false(mutex:locked())
      end)
    end)

    it("is unlocked by its holder, once, and not locked twice", function()
      inside(function()
        local mutex = task.mutex()
        mutex:lock()
        assert.error_matches(function() mutex:lock() end, "the task holds this mutex already")
        task.spawn(function()
          assert.error_matches(function() mutex:unlock() end, "only who holds a mutex can")
        end)
        task.yield()
        mutex:unlock()
        assert.error_matches(function() mutex:unlock() end, "only who holds a mutex can unlock it")
      end)
    end)
  end)

  describe("a read-write lock", function()
    it("has several readers, or one writer", function()
      inside(function()
        local lock, reading, writing = task.rwlock(), 0, 0
        local most = 0
        crowd(20, function(i)
          for _ = 1, 5 do
            if i % 4 == 0 then
              local _ <close> = lock:write()
              writing = writing + 1
              assert(writing == 1 and reading == 0)
              task.sleep(0.01)
              writing = writing - 1
            else
              local _ <close> = lock:read()
              reading = reading + 1
              most = math.max(most, reading)
              assert(writing == 0)
              task.sleep(0.01)
              reading = reading - 1
            end
          end
        end)
        task.sleep(100)
        assert.is_true(most > 1)
        assert.equal(0, reading + writing)
        lock:write():unlock()
      end)
    end)

    it("lets neither readers nor writers wait for ever", function()
      inside(function()
        local lock = task.rwlock()
        local first = lock:read()
        local log = crowd(4, function(i, note)
          task.sleep(i / 10)
          local guard = i % 2 == 1 and lock:write() or lock:read()
          note(i)
          task.sleep(1)
          guard:unlock()
        end)
        task.sleep(1)
        first:unlock()
        task.sleep(10)
        assert.same({ 1, 2, 4, 3 }, log) -- after a writer the readers that wait, then the next
      end)
    end)

    it("does not keep readers waiting for a writer that has given up", function()
      inside(function()
        local lock = task.rwlock()
        local first = lock:read()
        local writer = task.spawn(lock.write, lock)
        task.yield()
        local log = crowd(2, function(i, note)
          lock:read():unlock()
          note(i)
        end)
        task.sleep(1)
        assert.same({}, log)
        writer:cancel()
        task.sleep(1)
        assert.same({ 1, 2 }, log)
        assert.same(TIMEOUT, { lock:write(1) })
        first:unlock()
      end)
    end)

    it("is free when its holders have ended", function()
      inside(function()
        local lock = task.rwlock()
        local holders = {}
        for i = 1, 3 do
          holders[i] = task.spawn(function()
            lock:read()
            task.sleep(100)
          end)
        end
        task.yield()
        holders[4] = task.spawn(function()
          lock:write()
          task.sleep(100)
        end)
        task.yield()
        for _, holder in ipairs(holders) do
          holder:cancel()
          holder:join()
        end
        lock:write(1):unlock()
        local guard = lock:read(1)
        guard:unlock()
        assert.error_matches(function() guard:unlock() end, "this was unlocked before")
      end)
    end)
  end)

  describe("a semaphore", function()
    it("lets in as many as it has", function()
      inside(function()
        local semaphore, now, most = task.semaphore(3), 0, 0
        crowd(10, function()
          local _ <close> = semaphore:acquire()
          now = now + 1
          most = math.max(most, now)
          task.sleep(1)
          now = now - 1
        end)
        task.sleep(10)
        assert.equal(3, most)
        for _ = 1, 3 do assert.equal(semaphore, semaphore:try_acquire()) end
        assert.is_false(semaphore:try_acquire())
        assert.same(TIMEOUT, { semaphore:acquire(1) })
        semaphore:release()
        assert.equal(semaphore, semaphore:acquire(1))
      end)
    end)

    it("has a number", function()
      assert.error_matches(task.semaphore, "a number of at least 0 expected")
      assert.error_matches(function() task.semaphore(-1) end, "a number of at least 0 expected")
    end)
  end)

  describe("a condition", function()
    it("is waited for without the mutex, and then with it", function()
      inside(function()
        local mutex = task.mutex()
        local condition, value = task.condition(mutex), nil
        local log = crowd(3, function(i, note)
          local _ <close> = mutex:lock()
          while not value do condition:wait() end
          note(i)
        end)
        task.yield()
        assert.is_false(mutex:locked())
        condition:signal()
        task.sleep(1)
        assert.same({}, log)
        value = true
        condition:broadcast()
        task.sleep(1)
        table.sort(log)
        assert.same({ 1, 2, 3 }, log)
      end)
    end)

    it("has the mutex again when the wait is given up", function()
      inside(function()
        local mutex = task.mutex()
        local condition = task.condition(mutex)
        mutex:lock()
        assert.same(TIMEOUT, { condition:wait(1) })
        mutex:unlock()
        local waiting = task.spawn(function()
          local _ <close> = mutex:lock()
          condition:wait()
        end)
        task.yield()
        waiting:cancel()
        assert.equal("ECANCELED", (select(3, waiting:join())))
        assert.is_false(mutex:locked())
      end)
    end)

    it("is waited for until the loop ends, whoever has the mutex then", function()
      local loop = scene.loop()
      local mutex = task.mutex()
      local condition = task.condition(mutex)
      for _ = 1, 2 do
        loop:spawn(function()
          local _ <close> = mutex:lock()
          condition:wait()
        end)
      end
      loop:spawn(function()
        local _ <close> = mutex:lock()
        task.sleep(10)
      end)
      loop:turn()
      assert.is_true(mutex:locked())
      loop:close()
      assert.is_false(mutex:locked())
    end)

    it("is made of a mutex", function()
      assert.error_matches(task.condition, "a mutex expected")
      assert.error_matches(function() task.condition(task.semaphore(1)) end, "a mutex expected")
    end)
  end)

  it("a wait group is waited for until all are done", function()
    inside(function()
      local group = task.wait_group()
      assert.is_true(group:wait())
      group:add(2)
      local log = crowd(2, function(i, note)
        group:wait()
        note(i)
      end)
      task.sleep(1)
      group:done()
      assert.same(TIMEOUT, { group:wait(1) })
      group:done()
      task.sleep(1)
      assert.same({ 1, 2 }, log)
      assert.error_matches(function() group:done() end, "more are done than were added")
      assert.error_matches(function() group:add(-1) end, "a wait group counts down to 0")
    end)
  end)

  it("once is once, and again only if that has failed", function()
    inside(function()
      local once, calls = task.once(), 0
      local log, tasks = crowd(4, function(_, note)
        note(once:run(function(what)
          calls = calls + 1
          task.sleep(1)
          if calls < 3 then error("not yet", 0) end
          return what
        end, "done"))
      end)
      for i = 1, 2 do assert.matches("^not yet\n", (select(2, tasks[i]:join()))) end
      for i = 3, 4 do tasks[i]:join() end
      assert.equal(3, calls)
      assert.same({ "done", "done" }, log)
    end)
  end)

  it("a barrier lets go of as many as it wants, again and again", function()
    inside(function()
      local barrier = task.barrier(3)
      local rounds, last = {}, 0
      crowd(3, function(i)
        for round = 1, 4 do
          task.sleep(i)
          rounds[round] = (rounds[round] or 0) + 1
          if barrier:wait() then last = last + 1 end
          assert(rounds[round] == 3)
        end
      end)
      task.sleep(100)
      assert.equal(4, last)
      assert.same(TIMEOUT, { barrier:wait(1) }) -- which does not count any more
      assert.same(TIMEOUT, { barrier:wait(1) })
      assert.error_matches(function() task.barrier(0) end, "a number of at least 1 expected")
    end)
  end)
end)
