local rotor = require "rotor"
local task = require "rotor.task"
local support = require "spec.support"

local CANCELED = { nil, "ECANCELED: canceled", "ECANCELED" }
local TIMEOUT = { nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }

describe("a task", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)
  local inside = scene.inside

  -- A variable to close that says so.
  local function closing(log, name)
    return setmetatable({}, { __close = function() table.insert(log, name) end })
  end

  it("runs when the loop does, with the arguments it was given", function()
    local loop, got = scene.loop(), nil
    loop:spawn(function(...) got = table.pack(...) end, 1, nil, "c")
    assert.is_nil(got)
    loop:run()
    assert.same({ 1, nil, "c", n = 3 }, got)
  end)

  it("gives what it returns to who joins, as often as one likes", function()
    inside(function()
      local slow = task.spawn(function() task.sleep(1) return 1, nil, 3 end)
      local none = task.spawn(function() end)
      assert.same({ n = 3, 1, nil, 3 }, table.pack(slow:join()))
      assert.same({ n = 3, 1, nil, 3 }, table.pack(slow:join()))
      assert.same({ n = 0 }, table.pack(none:join()))
    end)
  end)

  it("can be joined by several, and by the program when it has ended", function()
    local loop = scene.loop()
    local log = {}
    local worker = loop:spawn(function() task.yield() return "done" end)
    for i = 1, 3 do
      loop:spawn(function() log[i] = worker:join() end)
    end
    assert.has_error(function() worker:join() end,
      "only a task can wait; task.spawn(function() ... end) makes one")
    loop:run()
    assert.same({ "done", "done", "done" }, log)
    assert.equal("done", worker:join())
  end)

  it("is joined only as long as one likes", function()
    inside(function()
      local slow = task.spawn(function() task.sleep(10) return "late" end)
      assert.same(TIMEOUT, { slow:join(1) })
      assert.equal("late", slow:join())
    end)
  end)

  it("cannot join itself", function()
    inside(function()
      assert.has_error(function() task.running():join() end, "a task cannot join itself")
    end)
  end)

  it("sleeps as long as it says", function()
    inside(function()
      local loop = rotor.loop() -- whose clock is another
      loop:close()
      local log = {}
      for _, seconds in ipairs { 0.3, 0.1, 0.2, 0 } do
        task.spawn(function()
          task.sleep(seconds)
          table.insert(log, seconds)
        end)
      end
      task.sleep(0.25)
      assert.same({ 0, 0.1, 0.2 }, log)
      task.sleep(0.25)
      assert.same({ 0, 0.1, 0.2, 0.3 }, log)
    end)
  end)

  it("takes turns with others", function()
    local log = {}
    inside(function()
      task.scope(function(scope)
        for _, name in ipairs { "a", "b" } do
          scope:spawn(function()
            for i = 1, 3 do
              table.insert(log, name .. i)
              task.yield()
            end
          end)
        end
      end)
    end)
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, log)
  end)

  it("has a name, and tells its state", function()
    inside(function()
      local worker = task.spawn(function() return task.running().name end)
      assert.is_nil(worker.name)
      worker.name = "worker"
      assert.equal("rotor.task: worker (ready)", tostring(worker))
      assert.is_false(worker:done())
      assert.equal("worker", worker:join())
      assert.equal("worker", worker.name)
      assert.is_true(worker:done())
      assert.has_error(function() worker.name = "late" end, "the task has ended")
      assert.has_error(function() worker.nmae = "x" end,
        "a task has no field 'nmae' to set; it has name")
    end)
  end)

  it("knows itself", function()
    assert.is_nil(task.running())
    inside(function()
      local me
      local worker = task.spawn(function() me = task.running() end)
      worker:join()
      assert.is_true(me == worker)
      assert.is_false(task.running() == worker)
    end)
  end)

  it("has locals, of which its children begin with a copy", function()
    inside(function()
      assert.is_nil(task.locals.user)
      task.locals.user = "me"
      local child = task.spawn(function()
        assert.equal("me", task.locals.user)
        task.locals.user = "child"
        task.locals.more = 1
      end)
      child:join()
      assert.equal("me", task.locals.user)
      assert.is_nil(task.locals.more)
    end)
    assert.is_nil(task.locals.user)
    assert.has_error(function() task.locals.user = 1 end, "only a task has locals")
  end)

  it("looks at the clock to check its deadline", function()
    local loop = scene.loop()
    local name
    loop:spawn(function()
      name = select(3, task.deadline(0.005, function()
        while true do task.check() end
      end))
    end)
    loop:run()
    assert.equal("ETIMEDOUT", name)
  end)

  it("waits in a program or a transition only if it is one", function()
    local message = "only a task can wait; task.spawn(function() ... end) makes one"
    assert.has_error(function() task.sleep(1) end, message)
    local loop = scene.loop()
    local Machine = rotor.machine "Machine" {
      create = function(_, scope)
        assert.has_error(function() task.yield() end, message)
        return scope:done()
      end,
    }
    loop:add(Machine)
    loop:run()
  end)

  it("may be spawned by transitions and signals", function()
    local loop, log = scene.loop(), {}
    local function note(what) table.insert(log, what) end
    local Machine = rotor.machine "Machine" {
      create = function(_, scope)
        scope.loop:spawn(note, "create")
        return scope:ok(0)
      end,
      timeout = function(_, scope)
        scope.loop:spawn(note, "timeout")
        return scope:done()
      end,
    }
    loop:add(Machine)
    local Protocol = rotor.protocol "Protocol" {
      create = function(_, stream)
        stream:notifier():wakeup()
        return stream:sleep()
      end,
      wakeup = function(_, stream)
        stream:loop():spawn(note, "wakeup")
        return stream:done()
      end,
    }
    local listener = assert(loop:listen("127.0.0.1:0", Protocol))
    loop:spawn(function()
      local conn <close> = task.connect(listener:address())
      conn:read_some()
      listener:close()
    end)
    loop:run()
    assert.same({ "create", "timeout", "wakeup" }, log)
    loop:on_signal("USR1", function()
      loop:spawn(note, "signal")
      loop:on_signal("USR1", nil)
    end)
    loop:spawn(function()
      local file <close> = assert(io.open("/proc/self/stat"))
      assert(os.execute("kill -USR1 " .. file:read("n")))
      while not log[4] do task.yield() end
    end)
    loop:run()
    assert.equal("signal", log[4])
  end)

  it("is spawned with a function, and not too much", function()
    local loop = scene.loop()
    assert.has_error(function() loop:spawn(1) end,
      "bad argument #1 to 'spawn' (function expected, got number)")
    assert.has_error(function() task.spawn() end,
      "bad argument #1 to 'spawn' (function expected, got no value)")
    local many = table.move({}, 1, 0, 1)
    for i = 1, 300 do many[i] = i end
    assert.error_matches(function() loop:spawn(print, table.unpack(many)) end, "too many arguments")
  end)

  it("is refused when the loop is full, and nothing is lost", function()
    local loop = scene.loop { capacity = 2 }
    loop:spawn(task.sleep, 0)
    loop:spawn(task.sleep, 0)
    assert.error_matches(function() loop:spawn(task.sleep, 0) end, "no task: ECAPACITY")
    loop:run()
  end)

  describe("that is canceled", function()
    it("unwinds where it waits, closes what it has, and joins as canceled", function()
      inside(function()
        local log = {}
        local worker = task.spawn(function()
          local _ <close> = closing(log, "a")
          local _ <close> = closing(log, "b")
          task.sleep(100)
          table.insert(log, "never")
        end)
        task.yield()
        assert.is_true(worker:cancel())
        assert.same(CANCELED, { worker:join() })
        assert.same({ "b", "a" }, log)
        assert.is_false(worker:cancel())
      end)
    end)

    it("goes on until it waits", function()
      inside(function()
        local log = {}
        local worker
        worker = task.spawn(function()
          worker:cancel()
          table.insert(log, "still")
          task.yield()
          table.insert(log, "never")
        end)
        assert.same(CANCELED, { worker:join() })
        assert.same({ "still" }, log)
      end)
    end)

    it("does not begin to wait if it has not begun", function()
      inside(function()
        local began
        local worker = task.spawn(function()
          began = true
          task.sleep(100)
        end)
        worker:cancel()
        assert.same(CANCELED, { worker:join() })
        assert.is_true(began)
      end)
    end)

    it("unwinds again when it has caught that", function()
      inside(function()
        local caught = 0
        local worker = task.spawn(function()
          for _ = 1, 3 do
            local ok, reason = pcall(task.sleep, 100)
            assert.is_false(ok)
            assert.is_true(task.is_cancellation(reason))
            caught = caught + 1
          end
        end)
        task.yield()
        worker:cancel()
        worker:join()
        assert.equal(3, caught)
      end)
    end)

    it("may wait for what it shields", function()
      inside(function()
        local log = {}
        local worker = task.spawn(function()
          local _ <close> = setmetatable({}, { __close = function()
            task.shield(1, function()
              task.sleep(0.5)
              table.insert(log, "cleaned")
            end)
            table.insert(log, (select(3, task.shield(1, task.sleep, 100))))
          end })
          task.sleep(100)
        end)
        task.yield()
        worker:cancel()
        assert.same(CANCELED, { worker:join() })
        assert.same({ "cleaned", "ETIMEDOUT" }, log)
      end)
    end)

    it("has what it was given before", function()
      inside(function()
        local channel, got = task.channel(), nil
        local worker = task.spawn(function()
          got = channel:recv()
          task.yield()
        end)
        task.yield()
        channel:send("value")
        worker:cancel()
        assert.same(CANCELED, { worker:join() })
        assert.equal("value", got)
      end)
    end)
  end)

  describe("with a deadline", function()
    it("is cut off when that has passed, all that it calls as well", function()
      inside(function()
        local log = {}
        local results = { task.deadline(1, function()
          local _ <close> = closing(log, "closed")
          local worker = task.spawn(task.sleep, 10)
          worker:join()
          table.insert(log, "never")
        end) }
        assert.same(TIMEOUT, results)
        assert.same({ "closed" }, log)
        task.sleep(0.1) -- and goes on as before
      end)
    end)

    it("returns what its function does in time", function()
      inside(function()
        assert.same({ n = 3, 1, nil, 3 }, table.pack(task.deadline(1, function(...)
          task.sleep(0.5)
          return ...
        end, 1, nil, 3)))
      end)
    end)

    it("obeys the earliest of several", function()
      inside(function()
        local inner
        assert.same(TIMEOUT, { task.deadline(1, function()
          inner = { task.deadline(10, task.sleep, 5) }
        end) })
        assert.is_nil(inner)
        local outer = task.deadline(10, function()
          assert.same(TIMEOUT, { task.deadline(1, task.sleep, 5) })
          return "on"
        end)
        assert.equal("on", outer)
      end)
    end)

    it("passes on what its function throws", function()
      inside(function()
        local thrown = {}
        local ok, value = pcall(task.deadline, 1, function() error(thrown) end)
        assert.is_false(ok)
        assert.equal(thrown, value)
      end)
    end)

    it("is canceled rather than late if it is both", function()
      inside(function()
        local worker = task.spawn(function() return task.deadline(1, task.sleep, 10) end)
        task.yield()
        worker:cancel()
        assert.same(CANCELED, { worker:join() })
      end)
    end)

    it("wants seconds and a function", function()
      inside(function()
        assert.error_matches(function() task.deadline(print, 1) end, "number expected, got func")
        assert.error_matches(function() task.deadline(-1, print) end, "seconds expected, at least")
        assert.error_matches(function() task.deadline(1) end, "function expected, got no value")
      end)
    end)
  end)

  describe("that fails", function()
    it("tells who joins, with where it was, where it comes from and who waits", function()
      local worker, boss
      inside(function()
        worker = task.spawn(function()
          local function fail() error("boom") end
          task.yield()
          fail()
        end)
        worker.name = "worker"
        boss = task.running()
        boss.name = "boss"
        local value, text, name = worker:join()
        assert.is_nil(value)
        assert.equal("ELUA", name)
        assert.matches("spec/task_spec.lua:%d+: boom\nstack traceback:", text)
        assert.matches("in local 'fail'", text)
        assert.matches("\ntask 'worker' spawned at spec/task_spec.lua:%d+, by one spawned at " ..
          "%./spec/support.lua:%d+\n", text)
        assert.matches("\njoined by task 'boss' at spec/task_spec.lua:%d+", text)
      end)
    end)

    it("is reported if nobody can join", function()
      local loop = scene.loop()
      loop:spawn(error, "lost", 0)
      loop:run()
      assert.matches("^task: lost\nstack traceback:", scene.error())
    end)

    it("is reported if nobody has joined when the loop has nothing more to do, once", function()
      local loop = scene.loop()
      local handle = loop:spawn(error, "lost", 0)
      loop:run()
      assert.matches("^task: lost\n", scene.error())
      assert.equal("ELUA", (select(3, handle:join()))) -- who joins late hears it still
      loop:run()
    end)

    it("is reported if nobody has joined a second later", function()
      local loop = scene.loop { virtual = true }
      local handle = loop:spawn(error, "lost", 0)
      loop:advance(0.9)
      assert.equal(0, #scene.errors)
      loop:advance(0.2)
      assert.matches("^task: lost\n", scene.error())
      assert.is_true(handle:done())
    end)

    it("is reported when the last handle is collected", function()
      local loop = scene.loop { virtual = true }
      loop:spawn(error, "lost", 0)
      loop:advance(0)
      collectgarbage()
      collectgarbage()
      loop:advance(0)
      assert.matches("^task: lost\n", scene.error())
    end)

    it("is reported when the loop is closed", function()
      local loop = scene.loop { virtual = true }
      local handle = loop:spawn(error, "lost", 0)
      loop:advance(0)
      loop:close()
      assert.matches("^task: lost\n", scene.error())
      assert.is_true(handle:done())
    end)

    it("is told to who joins within a second, and to nobody else", function()
      inside(function()
        local worker = task.spawn(error, "late", 0)
        task.sleep(0.5)
        assert.matches("^late\n", (select(2, worker:join())))
        task.sleep(5)
      end)
    end)

    it("may throw anything", function()
      inside(function()
        for _, value in ipairs { false, 1, { 1 } } do
          local worker = task.spawn(function() error(value) end)
          assert.matches("^" .. tostring(value):gsub("%p", "%%%0"), (select(2, worker:join())))
        end
        assert.matches("^nil", (select(2, task.spawn(error):join())))
      end)
    end)
  end)

  describe("in a scope", function()
    it("is waited for", function()
      inside(function()
        local log = {}
        local result = task.scope(function(scope, more)
          for i = 1, 3 do
            scope:spawn(function(n)
              task.sleep(n)
              table.insert(log, n)
            end, i)
          end
          assert.equal(3, #scope)
          return more
        end, "result")
        assert.equal("result", result)
        assert.same({ 1, 2, 3 }, log)
      end)
    end)

    it("cancels the others when it fails, and the scope throws that", function()
      inside(function()
        local log = {}
        local ok, text = pcall(task.scope, function(scope)
          scope:spawn(function()
            local _ <close> = closing(log, "other")
            task.sleep(100)
          end)
          scope:spawn(function()
            task.sleep(1)
            error("boom", 0)
          end)
          local _ <close> = closing(log, "body")
          task.sleep(100)
        end)
        assert.is_false(ok)
        assert.matches("^boom\nstack traceback:.*\ntask spawned at spec/task_spec.lua", text)
        table.sort(log)
        assert.same({ "body", "other" }, log)
      end)
    end)

    it("may fail with any value, which is what the scope throws", function()
      local thrown = {}
      local loop = scene.loop { virtual = true }
      loop:spawn(function()
        local ok, value = pcall(task.scope, function(scope)
          local function fail() error(thrown) end
          scope:spawn(function() fail() end)
        end)
        assert.is_false(ok)
        assert.equal(thrown, value)
        error(value)
      end)
      loop:advance(1)
      assert.matches("^task: table: .*\nstack traceback:.*in upvalue 'fail'.*\ntask spawned at",
        scene.error())
    end)

    it("is canceled when the function fails, which is thrown as it is", function()
      inside(function()
        local log, thrown = {}, {}
        local ok, value = pcall(task.scope, function(scope)
          scope:spawn(function()
            local _ <close> = closing(log, "child")
            task.sleep(100)
          end)
          task.yield()
          error(thrown)
        end)
        assert.is_false(ok)
        assert.equal(thrown, value)
        assert.same({ "child" }, log)
      end)
    end)

    it("is canceled when the task is, however long that takes", function()
      inside(function()
        local log = {}
        local worker = task.spawn(function()
          task.scope(function(scope)
            scope:spawn(function()
              local _ <close> = setmetatable({}, { __close = function()
                task.shield(5, task.sleep, 1)
                table.insert(log, "child")
              end })
              task.sleep(100)
            end)
          end)
        end)
        task.yield()
        task.yield()
        worker:cancel()
        assert.same(CANCELED, { worker:join() })
        assert.same({ "child" }, log)
      end)
    end)

    it("inherits the deadline", function()
      inside(function()
        local ended
        local results = { task.deadline(1, task.scope, function(scope)
          local child = scope:spawn(task.sleep, 100)
          scope:spawn(function() ended = { child:join() } end)
        end) }
        assert.same(TIMEOUT, results)
        assert.is_nil(ended)
      end)
    end)

    it("can be canceled on purpose, and then the scope says so", function()
      inside(function()
        local child
        local results = { task.scope(function(scope)
          child = scope:spawn(task.sleep, 100)
          task.yield()
          scope:cancel()
          task.sleep(1)
        end) }
        assert.same(CANCELED, results)
        assert.same(CANCELED, { child:join() })
      end)
    end)

    it("can be canceled alone, which is no failure", function()
      inside(function()
        assert.equal("fine", task.scope(function(scope)
          local child = scope:spawn(task.sleep, 100)
          task.yield()
          child:cancel()
          assert.same(CANCELED, { child:join() })
          return "fine"
        end))
      end)
    end)

    it("may spawn more into the same", function()
      inside(function()
        local count = 0
        task.scope(function(scope)
          local function spread(depth)
            count = count + 1
            if depth > 0 then
              scope:spawn(spread, depth - 1)
              scope:spawn(spread, depth - 1)
            end
          end
          scope:spawn(spread, 5)
        end)
        assert.equal(63, count)
      end)
    end)

    it("is not spawned into one that has ended", function()
      inside(function()
        local kept
        task.scope(function(scope) kept = scope end)
        assert.has_error(function() kept:spawn(print) end,
          "the scope has ended; its tasks are spawned while its function runs")
        assert.equal(0, #kept)
      end)
    end)

    it("leaves the errors of others than the first to on_error", function()
      inside(function()
        local ok, text = pcall(task.scope, function(scope)
          for i = 1, 2 do
            scope:spawn(function()
              local function close() error("close " .. i, 0) end
              local _ <close> = setmetatable({}, { __close = close })
              task.sleep(i)
              error("error " .. i, 0)
            end)
          end
        end)
        assert.is_false(ok)
        assert.matches("^close 1\n", text)
      end)
      assert.matches("^task: close 2\n", scene.error())
    end)
  end)

  describe("whose loop is closed", function()
    it("closes what it has, and cannot wait for that", function()
      local loop, log = scene.loop(), {}
      local handle = loop:spawn(function()
        local _ <close> = setmetatable({}, { __close = function()
          table.insert(log, (select(2, pcall(task.sleep, 1))))
        end })
        task.sleep(100)
      end)
      loop:turn()
      loop:close()
      assert.same({ "only a task can wait; task.spawn(function() ... end) makes one" }, log)
      assert.same(CANCELED, { handle:join() })
    end)

    it("may wait in anything", function()
      local loop = scene.loop()
      local channel, mutex = task.channel(0), task.mutex()
      local _, future = loop:future()
      local sleeper = loop:spawn(task.sleep, 100)
      for _, fn in ipairs {
        function() channel:recv() end,
        function() channel:recv() end,
        function() mutex:lock() task.sleep(100) end,
        function() mutex:lock() end,
        function() future:await() end,
        function() sleeper:join() end,
        function() task.select { { recv = channel }, { await = future }, { after = 100 } } end,
        function() task.scope(function(scope) scope:spawn(task.sleep, 100) task.sleep(100) end) end,
        function() task.scope(function(scope) scope:spawn(task.sleep, 100) end) end,
        function() task.deadline(50, task.sleep, 100) end,
      } do
        loop:spawn(fn)
      end
      loop:turn()
      loop:turn()
      loop:close()
      assert.is_nil(mutex.owner)
    end)

    it("may never have begun", function()
      local loop = scene.loop()
      local handle = loop:spawn(error, "never")
      loop:close()
      assert.same(CANCELED, { handle:join() })
    end)
  end)

  it("leaves nothing when there were a hundred thousand, of which a scope cancels some", function()
    local loop = scene.loop()
    local channel = task.channel(0)
    local parked, scoped = 0, 0
    local function park()
      parked = parked + 1
      channel:recv()
    end
    loop:spawn(function()
      for _ = 1, 90000 do task.spawn(park) end
      local results = { task.scope(function(scope)
        for _ = 1, 10000 do
          scope:spawn(function()
            scoped = scoped + 1
            local _ <close> = setmetatable({}, { __close = function() scoped = scoped - 1 end })
            channel:recv()
          end)
        end
        while scoped < 10000 do task.yield() end
        scope:cancel()
        task.sleep(100)
      end) }
      assert.same(CANCELED, results)
      assert.equal(0, scoped)
      assert.equal(90000, parked)
      channel:close()
    end)
    support.run(loop)
    assert.equal(0, loop:count())
  end)
end)
