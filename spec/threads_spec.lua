local rotor = require "rotor"
local http = require "rotor.http"
local support = require "spec.support"
local task = require "rotor.task"
local threads = rotor.threads

describe("threads", function()
  local scene = support.scene()
  before_each(function()
    scene.begin()
    rotor.on_error(function(message) table.insert(scene.errors, message) end)
  end)
  after_each(function()
    rotor.default():close()
    scene.finish()
  end)

  -- Run fn in a task of the default loop, to its end.
  local function in_task(fn)
    local ended
    task.spawn(function()
      fn()
      ended = true
    end)
    rotor.run()
    assert(ended, scene.errors[1])
  end

  it("return what their functions do, one for each", function()
    local crew = threads(3, function(i, a, b) return { i, a.x, b } end, { x = "x" }, nil)
    assert.equal(3, #crew)
    local results, errors = crew:join()
    assert.is_nil(errors)
    assert.same({ { 1, "x" }, { 2, "x" }, { 3, "x" } }, results)
    assert.same(results, (crew:join())) -- as often as one likes
  end)

  it("have copies of bufs, and their own results move", function()
    local buf = rotor.buf("here")
    local crew = threads(2, function(i, own)
      own:append(i)
      return { own, own }
    end, buf)
    local results = crew:join()
    assert.equal("here", buf:peek())
    for i = 1, 2 do
      assert.equal(results[i][1], results[i][2])
      assert.equal("here" .. i, results[i][1]:take())
    end
    assert.equal(results[2][1], (crew:join())[2][1])
  end)

  it("are joined by a finalizer while they are joined", function()
    local crew = threads(2, function(i) return { i } end)
    local inner
    local _, outer = support.finalized(function() inner = crew:join() end, crew.join, crew)
    assert.same({ { 1 }, { 2 } }, outer)
    assert.same(outer, inner)
  end)

  it("may stop those that only wait for threads, without a loop", function()
    local crew = threads(1, function()
      local own = require "rotor"
      local inner = own.threads(1, function()
        local loop = require "rotor"
        loop.threads.channel():recv()
      end)
      own.default():close()
      return (select(3, inner:join()))
    end)
    crew:join { timeout = 0.05 }
    crew:stop(0)
    assert.same({ "ECANCELED" }, (crew:join()))
  end)

  it("pass bufs on and on, and none is lost", function()
    local there, back = threads.channel(4), threads.channel(4)
    local crew = threads(2, function(_, from, to)
      for buf in from do
        buf:append(#buf)
        to:send { buf = buf }
      end
    end, there, back)
    in_task(function()
      local _ <close> = there
      task.spawn(function()
        for i = 1, 300 do
          local buf = rotor.buf(("x"):rep(i))
          assert(there:send(buf))
          assert(#buf == 0)
        end
      end)
      local sum = 0
      for _ = 1, 300 do
        local buf = back:recv().buf
        local xs, i = buf:take():match("^(x+)(%d+)$")
        assert(#xs == tonumber(i))
        sum = sum + #xs
      end
      assert.equal(300 * 301 // 2, sum)
    end)
    assert.is_nil(select(2, crew:join()))
  end)

  it("wait for each other's futures, some of which are canceled or come late", function()
    -- Each thread sends futures to the next, and sets them once they are sent.
    local N, EACH = 3, 200
    local channels = {}
    for i = 1, N do channels[i] = threads.channel(2) end
    local crew = threads(N, function(me, all, each)
      local r = require "rotor"
      local t = require "rotor.task"
      local to, from = all[me % #all + 1], all[me]
      local count = { set = 0, canceled = 0, got = 0, dropped = 0, late = 0 }
      t.spawn(function()
        for i = 1, each do
          local port, future = r.future()
          if i % 4 == 0 then port:set(i) end
          to:send(i % 3 == 0 and { future } or future)
          if i % 4 ~= 0 and i % 5 == 0 then t.yield() end
          if i % 4 ~= 0 then
            local way = port:canceled() and "canceled" or "set"
            if not port:set { i } then way = "canceled" end
            count[way] = count[way] + 1
          end
        end
      end)
      t.spawn(function()
        for i = 1, each do
          local future = from:recv()
          if type(future) == "table" then future = future[1] end
          if i % 7 == 0 then
            future:cancel()
            count.dropped = count.dropped + 1
          else
            t.spawn(function()
              local value = assert(future:await())
              assert((type(value) == "table" and value[1] or value) == i)
              count.got = count.got + 1
            end)
          end
        end
      end)
      return count
    end, channels, EACH)
    local results, errors = crew:join()
    assert.is_nil(errors)
    for i = 1, N do
      local count = results[i]
      assert.equal(EACH, count.got + count.dropped)
      assert.equal(EACH // 4 * 3, count.set + count.canceled)
    end
  end)

  it("run their loops until there is nothing to do", function()
    local crew = threads(2, function(i)
      local result = {}
      local loops = require "rotor"
      loops.add(loops.machine "Later" {
        create = function(_, scope) return scope:ok(0.001) end,
        timeout = function(_, scope)
          result.i = i
          return scope:done()
        end,
      })
      return result
    end)
    assert.same({ { i = 1 }, { i = 2 } }, (crew:join()))
  end)

  it("may run a module's function", function()
    package.path = package.path .. ";spec/?.lua"
    local results = threads(2, "threads_module", "!"):join()
    package.path = package.path:gsub(";spec/%?%.lua$", "")
    assert.same({ "module 1!", "module 2!" }, results)
    local crew = threads(1, "rotor.http")
    local _, errors = crew:join()
    local why = "the module rotor.http returns a table, not the function"
    assert.truthy(errors[1]:find(why, 1, true))
    rotor.run()
    scene.error()
  end)

  it("die alone, and are reported with their names", function()
    local crew = threads(3, function(i)
      if i == 2 then error("no") end
      if i == 3 then return print end
      return i
    end)
    local results, errors = crew:join()
    assert.same({ 1 }, results)
    assert.truthy(errors[2]:find("threads_spec.lua:%d+: no\nstack traceback:"))
    assert.truthy(errors[3]:find("the thread's result is a function", 1, true))
    assert.is_nil(errors[1])
    rotor.turn()
    table.sort(scene.errors)
    assert.equal(2, #scene.errors)
    assert.truthy(scene.errors[1]:find("^thread 2 of 3: .*threads_spec.lua:%d+: no"))
    assert.truthy(scene.errors[2]:find("^thread 3 of 3: the thread's result is a function"))
    scene.errors = {}
  end)

  it("are joined by tasks, of which any number may wait", function()
    local gate, order = threads.channel(), {}
    local crew = threads(1, function(_, ch) return (ch:recv()) end, gate)
    in_task(function()
      for i = 1, 3 do
        task.spawn(function() order[i] = crew:join()[1] end)
      end
      task.yield()
      assert.same({}, order)
      local nothing, _, name = crew:join { timeout = 0.001 }
      assert.same({ nil, "ETIMEDOUT" }, { nothing, name })
      gate:send("done")
      crew:join()
    end)
    assert.same({ "done", "done", "done" }, order)
  end)

  it("are not kept waiting for by a task that is canceled", function()
    local gate = threads.channel()
    local crew = threads(1, function(_, ch) return (ch:recv()) end, gate)
    in_task(function()
      local waiting = task.spawn(function() crew:join() end)
      task.yield()
      waiting:cancel()
      assert.equal("ECANCELED", (select(3, waiting:join())))
    end)
    gate:send(1)
    assert.same({ 1 }, (crew:join()))
  end)

  it("are joined within a time, or until the loop is stopped", function()
    local gate = threads.channel()
    local crew = threads(1, function(_, ch) return (ch:recv()) end, gate)
    assert.equal("ETIMEDOUT", (select(3, crew:join { timeout = 0.001 })))
    rotor.add(rotor.machine "Stop" {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope)
        assert.has_error(function() crew:join() end,
          "only a task can wait; task.spawn(function() ... end) makes one")
        rotor.stop()
        return scope:done()
      end,
    })
    assert.equal("ECANCELED", (select(3, crew:join())))
    gate:close()
    rotor.default():close() -- and without a loop
    assert.same({}, (crew:join()))
  end)

  it("stop when they are asked to", function()
    local crew = threads(2, function()
      local tasks, machines = require "rotor.task", require "rotor"
      tasks.spawn(function() tasks.sleep(1000) end)
      machines.run()
      return "stopped"
    end)
    crew:stop(0)
    assert.same({ "stopped", "stopped" }, (crew:join()))
    crew:stop(0)
  end)

  it("stop when they block", function()
    local crew = threads(2, function(_, ch) return { ch:recv() } end, threads.channel())
    crew:stop()
    local results = crew:join()
    assert.same({ nil, "ECANCELED" }, { results[1][1], results[1][3] })
  end)

  it("stop at the end of the time that they were given to drain", function()
    local crew = threads(1, function()
      local tasks = require "rotor.task"
      tasks.spawn(function() tasks.sleep(1000) end)
    end)
    crew:stop(0.001)
    assert.same({}, (crew:join()))
  end)

  it("are asked to stop when the Lua state closes, and waited for #process", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local threads = rotor.threads
      local ready = threads.channel()
      threads(2, function(i, channel)
        local task = require "rotor.task"
        local kept = setmetatable({}, { __gc = function() io.write("end ") end })
        task.spawn(function()
          channel:send(i)
          task.sleep(1000)
          print(kept)
        end)
      end, ready)
      threads(1, function(_, channel) channel:recv() end, threads.channel())
      ready:recv()
      ready:recv()
      io.write("main ")
      io.flush()
    ]]
    assert.same({ "main end end ", 0 }, { output, status })
  end)

  it("whose error nobody has heard are told of at the end #process", function()
    local output, status = support.program [[
      local crew = require "rotor".threads(1, function() error("unheard") end)
      crew = nil
      collectgarbage()
    ]]
    assert.equal(0, status)
    assert.truthy(output:find("rotor: a thread has died: .*unheard"), output)
  end)

  it("may end with the process in a transition #process", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      rotor.threads(2, function() require "rotor.task".spawn(function()
        require "rotor.task".sleep(1000)
      end) end)
      rotor.add(rotor.machine "Exit" {
        create = function(_, scope) return scope:ok(0) end,
        timeout = function() os.exit(7, true) end,
      })
      rotor.run()
    ]]
    assert.same({ "", 7 }, { output, status })
  end)

  it("drain on SIGTERM when they are joined #process", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local http = require "rotor.http"
      local threads = rotor.threads
      local address = threads.channel()
      local crew = threads(2, function(i, channel)
        local loops = require "rotor"
        local Later = loops.machine "Later" {
          create = function(self, scope, res)
            self.res = res
            return scope:ok(0.05)
          end,
          timeout = function(self, scope)
            self.res:send(200, "answered")
            return scope:done()
          end,
        }
        local server = assert(require "rotor.http".serve("127.0.0.1:0", function(req, res)
          loops.add(Later, res)
          channel:try_send("arrived")
        end))
        channel:send(server:address())
        return "drained"
      end, address)
      local client = http.client()
      local url = "http://" .. address:recv() .. "/"
      address:recv()
      local reply = client:get(url)
      require "rotor.task".spawn(function()
        assert(address:recv() == "arrived")
        os.execute("kill -TERM $PPID")
        print(assert(reply:await()).body)
        client:close()
      end)
      print(table.unpack(crew:join { drain = 5 }))
      rotor.default():close()
    ]]
    assert.same({ "answered\ndrained\tdrained\n", 0 }, { output, status })
  end)

  -- Have three threads listen by `how` on `address`: how often each has answered of 60 times, and
  -- where they have listened.
  local function listen(how, address, ask)
    local ready = threads.channel()
    local crew = threads(3, function(i, name, where, channel)
      local loops, tasks = require "rotor", require "rotor.task"
      local answer = tostring(i)
      local listener
      if name == "serve" then
        local served = require "rotor.http"
        listener = assert(served.serve(where, function(_, res) res:send(200, answer) end))
      elseif name == "task" then
        listener = assert(tasks.listen(where))
        tasks.spawn(function()
          for conn in listener do
            conn:write(answer)
            conn:close()
          end
        end)
      else
        listener = assert(loops.listen(where, loops.protocol "Answer" {
          create = function(_, stream)
            stream:write(answer)
            return stream:done()
          end,
        }))
      end
      channel:send(listener:address())
      return "ended"
    end, how, address, ready)
    local found = ready:recv()
    assert.same({ found, found }, { ready:recv(), ready:recv() })
    local heard, asked = {}, false
    task.spawn(function()
      for _ = 1, 60 do
        local answer = ask(found)
        heard[answer] = (heard[answer] or 0) + 1
      end
      asked = true
    end)
    rotor.run()
    assert(asked, scene.errors[1])
    crew:stop(5)
    assert.same({ "ended", "ended", "ended" }, (crew:join()))
    return heard, found
  end

  local function connect(address)
    local conn <close> = assert(task.connect(address))
    return (conn:read_some())
  end

  it("share an address, also the free port that the first has got", function()
    for _, how in ipairs { "listen", "task" } do
      local heard = listen(how, "127.0.0.1:0", connect)
      local total = 0
      for answer, n in pairs(heard) do
        assert.truthy(answer:find("^[123]$"))
        total = total + n
      end
      assert.equal(60, total)
      assert.truthy(next(heard, next(heard))) -- not all of one
    end
  end)

  it("share an address over HTTP", function()
    local heard = listen("serve", "127.0.0.1:0", function(address)
      local client <close> = http.client()
      return assert(client:get("http://" .. address .. "/"):await()).body
    end)
    assert.truthy(next(heard, next(heard)))
  end)

  it("share a Unix socket", function()
    local path = os.tmpname()
    os.remove(path)
    for _, how in ipairs { "listen", "task" } do
      local heard, found = listen(how, "unix:" .. path, connect)
      assert.equal("unix:" .. path, found)
      local total = 0
      for _, n in pairs(heard) do total = total + n end
      assert.equal(60, total)
    end
    assert.is_nil(io.open(path))
  end)

  it("do not share what is not to be shared", function()
    local ready = threads.channel()
    local crew = threads(2, function(_, channel)
      local loops = require "rotor"
      local P = loops.protocol "P" { create = function(_, stream) return stream:done() end }
      local mine = assert(loops.listen("127.0.0.1:0", P, { reuse_port = false })):address()
      local first = assert(loops.listen("127.0.0.1:0", P)):address()
      local second = assert(loops.listen("127.0.0.1:0", P)):address()
      channel:send(mine)
      return { first, second, (select(3, loops.listen(mine, P, { reuse_port = false }))) }
    end, ready)
    assert.are_not_equal(ready:recv(), (ready:recv()))
    crew:stop(0)
    local results = crew:join()
    assert.same(results[1], results[2])
    assert.are_not_equal(results[1][1], results[1][2])
    assert.equal("EADDRINUSE", results[1][3])
  end)

  it("refuse what is none", function()
    for _, wrong in ipairs { 0, 1025, 1.5, "x" } do
      local ok, message = pcall(threads, wrong, print)
      assert.is_false(ok)
      assert.truthy(message:find("how many threads expected, from 1 to 1024", 1, true), message)
    end
    local _, message = pcall(threads, 1, {})
    assert.truthy(message:find("a function, or the name of a module", 1, true), message)
    local crew = threads(1, function() end)
    assert.has_error(function() crew:join { nonsense = 1 } end,
      "unknown option 'nonsense'; known are: timeout, drain")
    crew:join()
  end)

  it("may have threads of their own", function()
    local results = threads(2, function(i)
      local inner = require "rotor".threads(2, function(j, outer) return outer * 10 + j end, i)
      return (inner:join())
    end):join()
    assert.same({ { 11, 12 }, { 21, 22 } }, results)
  end)
end)

describe("what threads share", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(function()
    rotor.default():close()
    scene.finish()
  end)

  it("is a counter", function()
    local counter = threads.counter(5)
    assert.equal(5, counter:get())
    assert.same({ 6, 16, 15 }, { counter:add(), counter:add(10), counter:add(-1) })
    counter:set(2)
    assert.is_false(counter:compare_and_set(5, 1))
    assert.is_true(counter:compare_and_set(2, 1))
    assert.equal(1, counter:get())
    threads(4, function(_, shared)
      for _ = 1, 10000 do shared:add() end
    end, counter):join()
    assert.equal(40001, counter:get())
  end)

  it("is a dictionary", function()
    local dict = threads.dict { max_bytes = 1 << 20 }
    assert.is_nil(dict:get("a"))
    for _, value in ipairs { 1, 1.5, true, false, "", "text\0", ("x"):rep(10000) } do
      assert.is_true(dict:set("a", value))
      assert.equal(value, dict:get("a"))
      assert.equal(math.type(value), math.type(dict:get("a")))
    end
    assert.is_false(dict:add("a", 1))
    assert.is_true(dict:add("b", 1))
    assert.equal(2, dict:incr("b"))
    assert.equal(4.5, dict:incr("b", 2.5))
    assert.equal("ENOENT", (select(3, dict:incr("c"))))
    assert.equal(11, dict:incr("c", 1, 10))
    assert.equal("EINVAL", (select(3, dict:incr("a", 1))))
    assert.is_false(dict:compare_and_set("c", 1, 2))
    assert.is_true(dict:compare_and_set("c", 11, "eleven"))
    assert.is_true(dict:compare_and_set("d", nil, 1))
    assert.is_false(dict:compare_and_set("d", nil, 1))
    assert.is_true(dict:compare_and_set("d", 1, nil))
    assert.is_nil(dict:get("d"))
    local keys = dict:keys()
    table.sort(keys)
    assert.same({ "a", "b", "c" }, keys)
    assert.equal(3, dict:count())
    assert.is_true(dict:delete("a"))
    assert.is_false(dict:delete("a"))
    assert.same({ nil, "E2BIG: the value is larger than a part of the dictionary", "E2BIG" },
      { dict:set("a", ("x"):rep(1 << 17)) })
    assert.equal(0, dict:flush())
    assert.has_error(function() dict:set("a", {}) end)
    assert.has_error(function() dict:set(1, 1) end)
    assert.has_error(function() dict:set("a", 1, 0) end)
    assert.has_error(function() threads.dict {} end)
    for i = 1, 1000 do dict:set("key " .. i, i) end
    assert.equal(1002, #dict:keys())
  end)

  it("is what threads count in together", function()
    local dict = threads.dict { max_bytes = 1 << 16 }
    threads(4, function(i, shared)
      for _ = 1, 5000 do shared:incr("sum", 1, 0) end
      shared:set("thread " .. i, true)
    end, dict):join()
    assert.equal(20000, dict:get("sum"))
    assert.is_true(dict:get("thread 3"))
  end)

  it("is a port of a future, and a notifier", function()
    local port, future = rotor.future()
    local woken, notifier = 0, nil
    local handle = assert(rotor.add(rotor.machine "Woken" {
      create = function(_, scope)
        notifier = scope:notifier()
        return scope:ok()
      end,
      wakeup = function(_, scope)
        woken = woken + 1
        return scope:done()
      end,
    }))
    local crew = threads(1, function(_, there, bell)
      bell:wakeup()
      return { there:set { "from", { "there" } } }
    end, port, notifier)
    rotor.run()
    assert.equal(1, woken)
    assert.is_false(handle:alive())
    assert.same({ { true } }, (crew:join()))
    rotor.turn()
    assert.same({ "from", { "there" } }, future:get())
  end)
end)

describe("a channel between threads", function()
  local scene = support.scene()
  before_each(function()
    scene.begin()
    rotor.on_error(function(message) table.insert(scene.errors, message) end)
  end)
  after_each(function()
    rotor.default():close()
    scene.finish()
  end)

  local function in_task(fn)
    local ended
    task.spawn(function()
      fn()
      ended = true
    end)
    rotor.run()
    assert(ended, scene.errors[1])
  end

  it("is full, empty, closed", function()
    local channel = threads.channel(2)
    assert.same({ nil, "empty" }, { channel:try_recv() })
    assert.is_true(channel:try_send(1))
    assert.is_true(channel:send(2))
    assert.is_false(channel:try_send(3))
    assert.equal("ETIMEDOUT", (select(3, channel:send(3, 0.001))))
    assert.equal(2, #channel)
    assert.is_false(channel:closed())
    channel:close()
    channel:close()
    assert.is_true(channel:closed())
    assert.same({ nil, "closed" }, { channel:try_send(1) })
    assert.same({ nil, "closed" }, { channel:send(1) })
    assert.equal(1, channel:try_recv())
    assert.equal(2, channel:recv())
    assert.same({ nil, "closed" }, { channel:try_recv() })
    assert.same({ nil, "closed" }, { channel:recv() })
    assert.has_error(function() threads.channel():send(nil) end)
    assert.has_error(function() threads.channel(0) end)
    assert.has_error(function() threads.channel():send { x = print } end, "msg.x is a function")
  end)

  it("waits for time when nobody sends", function()
    local channel = threads.channel()
    assert.equal("ETIMEDOUT", (select(3, channel:recv(0.001))))
    in_task(function()
      assert.equal("ETIMEDOUT", (select(3, channel:recv(0.001))))
    end)
  end)

  it("is for tasks where the loop runs, and says so elsewhere", function()
    local channel = threads.channel()
    local message
    rotor.add(rotor.machine "Other" {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope)
        message = select(2, pcall(channel.recv, channel))
        return scope:done()
      end,
    })
    rotor.run()
    assert.equal("only a task can wait; task.spawn(function() ... end) makes one", message)
  end)

  it("serves the tasks of a loop in turn", function()
    local channel, got = threads.channel(1), {}
    in_task(function()
      task.scope(function(scope)
        for i = 1, 3 do
          scope:spawn(function()
            for value in channel do got[#got + 1] = i .. value end
          end)
        end
        scope:spawn(function()
          for i = 1, 6 do channel:send(i) end
          channel:close()
        end)
      end)
    end)
    table.sort(got)
    assert.equal(6, #got)
  end)

  it("loses nothing to tasks that give up", function()
    local channel = threads.channel()
    in_task(function()
      local first = task.spawn(function() return channel:recv() end)
      local second = task.spawn(function() return channel:recv() end)
      task.yield()
      first:cancel()
      channel:send("kept")
      assert.equal("kept", second:join())
      assert.equal("ECANCELED", (select(3, first:join())))
    end)
    assert.equal(0, #channel)
  end)

  it("is one of what task.select waits for", function()
    local channel, other, full = threads.channel(), threads.channel(), threads.channel(1)
    full:send("in the way")
    in_task(function()
      local key, value = task.select { a = { recv = channel }, default = true }
      assert.same({ "default" }, { key, value })
      task.spawn(function() other:send("there") end)
      key, value = task.select { a = { recv = channel }, b = { recv = other } }
      assert.same({ "b", "there" }, { key, value })
      channel:send("first")
      key, value = task.select { a = { recv = channel }, b = { recv = other } }
      assert.same({ "a", "first" }, { key, value })
      task.spawn(function() full:recv() end)
      key, value = task.select { a = { recv = channel }, s = { send = full, value = { "mine" } } }
      assert.same({ "s", true }, { key, value })
      assert.same({ "mine" }, full:recv())
      other:close()
      key, value = task.select { a = { recv = channel }, b = { recv = other } }
      assert.same({ "b" }, { key, value })
    end)
  end)

  it("carries everything between threads and tasks, each once", function()
    for _, capacity in ipairs { 1, 16, false } do
      local there = threads.channel(capacity or nil)
      local back = threads.channel(capacity or nil)
      local crew = threads(3, function(i, from, to)
        if i == 1 then -- a plain thread
          for message in from do to:send { message[1], i } end
        else -- tasks of a loop
          local tasks = require "rotor.task"
          for _ = 1, 2 do
            tasks.spawn(function()
              for message in from do to:send { message[1], i } end
            end)
          end
        end
      end, there, back)
      local seen, n = {}, 0
      in_task(function()
        task.spawn(function()
          for i = 1, 3000 do there:send { i } end
          there:close()
        end)
        task.spawn(function()
          for _ = 1, 3000 do
            local message = back:recv()
            assert(not seen[message[1]])
            seen[message[1]], n = true, n + 1
          end
        end)
      end)
      assert.equal(3000, n)
      crew:join()
    end
  end)

  it("may be closed over tasks that wait, and its loop under them", function()
    local channel = threads.channel(1)
    channel:send(1)
    local ended = {}
    in_task(function()
      task.spawn(function() ended.sender = select(2, channel:send(2)) end)
      task.spawn(function()
        task.yield()
        channel:close()
      end)
    end)
    assert.same({ sender = "closed" }, ended)
    local empty = threads.channel()
    task.spawn(function() empty:recv() end)
    rotor.turn()
    rotor.default():close()
    empty:send(1)
    assert.equal(1, empty:recv())
  end)

  it("do not keep what they were started with", function()
    local crew, future
    do
      local port
      port, future = rotor.future()
      crew = threads(1, function() error "dies" end, port)
    end
    local _, errors = crew:join()
    assert.matches("dies", errors[1])
    assert.matches("dies", scene.error())
    collectgarbage()
    collectgarbage()
    in_task(function() assert.equal("ECANCELED", (select(3, future:await(10)))) end)
    assert.equal(1, #crew)
  end)

  it("serve on at a Unix socket when the first has ended", function()
    local path = os.tmpname()
    os.remove(path)
    local listens, leave, left = threads.channel(), threads.channel(), threads.channel()
    local crew = threads(2, function(i, ...)
      local inner = require "rotor.task"
      local where, up, go, gone = ...
      local listener = assert(inner.listen(where))
      inner.spawn(function()
        up:send(i)
        if i == 1 then
          go:recv()
        else
          local conn <close> = assert(listener:accept(10))
          conn:write("here")
        end
        listener:close()
        gone:send(i)
      end)
    end, "unix:" .. path, listens, leave, left)
    in_task(function()
      listens:recv()
      listens:recv()
      leave:send(true)
      assert.equal(1, left:recv())
      local conn <close> = assert(task.connect("unix:" .. path))
      assert.equal("here", conn:read(4))
      assert.equal(2, left:recv())
      crew:join()
    end)
    assert.is_nil(io.open(path))
  end)

  it("may be left with tasks that wait when the Lua state closes #process", function()
    local output, status = support.program [[
      local rotor = require "rotor"
      local task = require "rotor.task"
      local channel = rotor.threads.channel()
      task.spawn(function() channel:recv() end)
      local crew = rotor.threads(1, function(_, ch) ch:recv() end, rotor.threads.channel())
      task.spawn(function() crew:join() end)
      rotor.turn()
    ]]
    assert.same({ "", 0 }, { output, status })
  end)
end)
