local task = require "rotor.task"
local support = require "spec.support"

local TIMEOUT = { nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }
local CLOSED = { nil, "closed" }

describe("a channel", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)
  local inside = scene.inside

  it("gives values in the order in which they were sent, whatever they are", function()
    inside(function()
      local channel, sent = task.channel(), { false, 0, "", {}, print, 1.5 }
      for _, value in ipairs(sent) do assert.is_true(channel:send(value)) end
      assert.equal(6, #channel)
      for _, value in ipairs(sent) do assert.equal(value, (channel:recv())) end
      assert.equal(0, #channel)
    end)
  end)

  it("may be sent to by finalizers while it grows", function()
    inside(function()
      local channel, sent = task.channel(), 0
      collectgarbage("generational")
      for _ = 1, 300 do
        setmetatable({}, { __gc = function()
          sent = sent + 1
          channel:try_send("collected")
        end })
        sent = sent + 1
        channel:try_send("sent")
      end
      collectgarbage("incremental")
      local n = 0
      while channel:try_recv() do n = n + 1 end
      assert.equal(sent, n)
    end)
  end)

  it("takes no nil, which would be its end", function()
    inside(function()
      local channel = task.channel()
      assert.error_matches(function() channel:send(nil) end, "a value that is not nil expected")
      assert.error_matches(function() channel:try_send() end, "a value that is not nil expected")
      assert.error_matches(function() task.select { { send = channel } } end,
        "what is to be sent is missing: { send = channel, value = ... }", 1, true)
      assert.error_matches(function() task.channel(-1) end, "a capacity of at least 0 expected")
    end)
  end)

  it("holds as many as it may, then senders wait", function()
    inside(function()
      local channel, log = task.channel(2), {}
      local sender = task.spawn(function()
        for i = 1, 4 do
          channel:send(i)
          table.insert(log, i)
        end
      end)
      task.sleep(1)
      assert.same({ 1, 2 }, log)
      assert.is_false(channel:try_send("x"))
      assert.equal(1, (channel:recv()))
      assert.equal(2, #channel)
      task.sleep(1)
      assert.same({ 1, 2, 3 }, log)
      for i = 2, 4 do assert.equal(i, (channel:recv())) end
      sender:join()
      assert.same(TIMEOUT, { channel:recv(1) })
    end)
  end)

  it("of no capacity hands over from one to the other", function()
    inside(function()
      local channel, log = task.channel(0), {}
      assert.is_false(channel:try_send(1))
      assert.same({ nil, "empty" }, { channel:try_recv() })
      assert.same(TIMEOUT, { channel:send(1, 1) })
      task.spawn(function()
        channel:send("value")
        table.insert(log, "sent")
      end)
      task.sleep(1)
      assert.same({}, log)
      assert.equal("value", (channel:try_recv()))
      task.yield()
      assert.same({ "sent" }, log)
    end)
  end)

  it("gives to who has waited longest", function()
    inside(function()
      local channel, log = task.channel(), {}
      for i = 1, 3 do
        task.spawn(function() table.insert(log, i .. channel:recv()) end)
      end
      task.yield()
      for _, value in ipairs { "a", "b", "c" } do channel:send(value) end
      task.yield()
      assert.same({ "1a", "2b", "3c" }, log)
    end)
  end)

  it("is drained after it was closed, and then says so", function()
    inside(function()
      local channel = task.channel(2)
      channel:send(1)
      channel:send(2)
      local sender = task.spawn(channel.send, channel, 3)
      task.yield()
      channel:close()
      channel:close()
      assert.is_true(channel:closed())
      assert.same(CLOSED, { sender:join() })
      assert.same(CLOSED, { channel:send(4) })
      assert.same(CLOSED, { channel:try_send(4) })
      assert.equal(1, (channel:recv()))
      assert.equal(2, (channel:try_recv()))
      assert.same(CLOSED, { channel:recv() })
      assert.same(CLOSED, { channel:try_recv() })
    end)
  end)

  it("ends the wait of receivers when it is closed", function()
    inside(function()
      local channel = task.channel(0)
      local receiver = task.spawn(channel.recv, channel)
      local loop = task.spawn(function()
        local n = 0
        for _ in channel do n = n + 1 end
        return n
      end)
      task.yield()
      channel:close()
      assert.same(CLOSED, { receiver:join() })
      assert.equal(0, (loop:join()))
    end)
  end)

  it("is closed by its variable, and iterated over", function()
    inside(function()
      local sum = 0
      local results = task.channel(3)
      task.spawn(function()
        local channel <close> = results
        for i = 1, 100 do channel:send(i) end
      end)
      for i in results do sum = sum + i end
      assert.equal(5050, sum)
    end)
  end)

  it("keeps no room for a crowd that has gone", function()
    inside(function()
      local channel = task.channel()
      collectgarbage()
      local before = collectgarbage("count")
      for i = 1, 100000 do channel:send(i) end
      assert.is_true(collectgarbage("count") > before + 1000)
      for _ = 1, 100000 do channel:recv() end
      collectgarbage()
      assert.is_true(collectgarbage("count") < before + 100)
    end)
  end)

  it("works between loops of one program", function()
    local one, other, got = scene.loop(), scene.loop(), nil
    local channel = task.channel(0)
    one:spawn(function() got = channel:recv() end)
    one:turn()
    other:spawn(function() channel:send("across") end)
    other:run()
    one:run()
    assert.equal("across", got)
  end)

  it("does not let who is always served keep others from their turn", function()
    inside(function()
      local channel, others = task.channel(), 0
      local other = task.spawn(function()
        while true do
          others = others + 1
          task.yield()
        end
      end)
      for i = 1, 6400 do
        channel:send(i)
        channel:recv()
      end
      assert.is_true(others >= 100)
      other:cancel()
    end)
  end)
end)

describe("select", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)
  local inside = scene.inside

  it("takes what is there, and says which by its key", function()
    inside(function()
      local a, b = task.channel(), task.channel()
      b:send("value")
      local key = {}
      assert.same({ key, "value" }, { task.select { { recv = a }, [key] = { recv = b } } })
      local sending = { send = b, value = 1 }
      assert.same({ "sent", true }, { task.select { { recv = a }, sent = sending } })
      assert.equal(1, (b:recv()))
    end)
  end)

  it("waits for the first to come, and for one only", function()
    inside(function()
      local a, b = task.channel(0), task.channel(0)
      local chooser = task.spawn(function() return task.select { { recv = a }, { recv = b } } end)
      task.yield()
      assert.is_true(a:send("a"))
      assert.is_false(b:try_send("b"))
      assert.same({ 1, "a" }, { chooser:join() })
    end)
  end)

  it("sends or receives, whichever is first", function()
    inside(function()
      local channel = task.channel(0)
      local function exchange(value)
        return task.select { got = { recv = channel }, sent = { send = channel, value = value } }
      end
      local one, other = task.spawn(exchange, 1), task.spawn(exchange, 2)
      local results = { [one:join()] = true, [other:join()] = true }
      assert.same({ got = true, sent = true }, results)
    end)
  end)

  it("gives up after a while, or at once", function()
    inside(function()
      local channel = task.channel()
      local late, later = { after = 1 }, { after = 2 }
      assert.same({ "late" }, { task.select { { recv = channel }, late = late, later = later } })
      assert.same({ "default" }, { task.select { { recv = channel }, default = true } })
      assert.same({ "default" }, { task.select { default = true } })
      assert.same({ "late" }, { task.select { late = { after = 0 } } })
    end)
  end)

  it("waits for futures, tasks and queues of one's own as well", function()
    inside(function()
      local loop = scene.loop { virtual = true }
      loop:close()
      local sleeper = task.spawn(function() task.sleep(1) return "slept", 2 end)
      local channel = task.channel()
      local results = { task.select { { recv = channel }, done = { join = sleeper } } }
      assert.same({ "done", "slept", 2 }, results)
      assert.same({ "done", "slept", 2 }, { task.select { done = { join = sleeper } } })
    end)
    local loop = scene.loop()
    local port, future = loop:future()
    local got
    loop:spawn(function()
      got = { task.select { f = { await = future }, t = { after = 10 } } }
    end)
    loop:spawn(function() port:fail("no", "ENO") end)
    loop:run()
    assert.same({ "f", nil, "no", "ENO" }, got)
  end)

  it("prefers none of those that are there", function()
    inside(function()
      local channels, counts = {}, {}
      for i = 1, 4 do
        channels[i], counts[i] = task.channel(), 0
        for _ = 1, 4000 do channels[i]:send(i) end
      end
      for _ = 1, 4000 do
        local key = task.select {
          { recv = channels[1] }, { recv = channels[2] }, { recv = channels[3] },
          { recv = channels[4] },
        }
        counts[key] = counts[key] + 1
      end
      for i = 1, 4 do assert.is_true(counts[i] > 800, counts[i]) end
    end)
  end)

  it("says what is wrong with a case", function()
    inside(function()
      local channel = task.channel()
      local function wrong(case, message)
        assert.error_matches(function() task.select { case } end, message, 1, true)
      end
      wrong(channel, "a case of task.select is a table such as { recv = channel }, not a userdata")
      wrong({}, "a case of task.select is empty")
      wrong({ recv = channel, after = 1 }, "a case of task.select waits for one thing, not for '")
      wrong({ recv = 1 }, "task.select cannot wait for { recv = 1 }")
      wrong({ await = channel }, "it can be: recv, send")
      wrong({ recv = io.stdout }, "task.select cannot wait for { recv = file")
      wrong({ after = -1 }, "seconds expected, at least 0")
      assert.error_matches(function() task.select {} end, "would wait for ever")
      assert.error_matches(function() task.select(1) end, "table expected, got number")
      local many = {}
      for i = 1, 65 do many[i] = { recv = channel } end
      assert.error_matches(function() task.select(many) end, "65 cases; it takes 64")
    end)
  end)
end)

-- What channels are to do, said simply; asked what each operation of a crowd of tasks may come to.
describe("channels under a million operations", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  local OPERATIONS = support.sanitized() and 100000 or 1000000
  local CAPACITIES = { 0, 0, 1, 3, math.maxinteger }

  local function new_model()
    local channels, waiting = {}, {}
    for i, capacity in ipairs(CAPACITIES) do
      channels[i] = { capacity = capacity, values = {}, senders = {}, receivers = {} }
    end

    -- Take the first that waits, out of everything it waits in.
    local function withdraw(actor)
      for _, case in ipairs(waiting[actor]) do
        local channel = channels[case.channel]
        local queue = case.send and channel.senders or channel.receivers
        for i, entry in ipairs(queue) do
          if entry == case then
            table.remove(queue, i)
            break
          end
        end
      end
      waiting[actor] = nil
    end

    local model = {}

    -- Whether a case can be done now.
    function model.is_ready(case)
      local channel = channels[case.channel]
      if case.send then
        return channel.closed or channel.receivers[1] or #channel.values < channel.capacity
      end
      return channel.values[1] or channel.senders[1] or channel.closed
    end

    local function finish(case, ...)
      local actor = case.actor
      withdraw(actor)
      model.expected[actor] = { case = case, ... }
    end

    -- Do it: what it is to return.
    function model.perform(case)
      local channel = channels[case.channel]
      if case.send then
        if channel.closed then return nil, "closed" end
        local receiver = channel.receivers[1]
        if receiver then
          finish(receiver, case.send)
        else
          table.insert(channel.values, case.send)
        end
        return true
      end
      local sender = channel.senders[1]
      local value = table.remove(channel.values, 1)
      if value then
        if sender then table.insert(channel.values, sender.send) end
      elseif sender then
        value = sender.send
      else
        return nil, "closed"
      end
      if sender then finish(sender, true) end
      return value
    end

    function model.wait(actor, cases)
      waiting[actor] = cases
      for _, case in ipairs(cases) do
        case.actor = actor
        local channel = channels[case.channel]
        table.insert(case.send and channel.senders or channel.receivers, case)
      end
    end

    function model.close(i)
      local channel = channels[i]
      channel.closed = true
      while channel.senders[1] do finish(channel.senders[1], nil, "closed") end
      while channel.receivers[1] do finish(channel.receivers[1], nil, "closed") end
    end

    function model.reopen(i)
      channels[i] = { capacity = CAPACITIES[i], values = {}, senders = {}, receivers = {} }
    end

    function model.count(i) return #channels[i].values end
    function model.is_closed(i) return channels[i].closed end
    function model.give_up(actor)
      assert(waiting[actor], "it was to be completed, and has given up")
      withdraw(actor)
    end
    function model.waits(actor) return waiting[actor] ~= nil end

    model.expected = {}
    return model
  end

  it("do what a simple model of them says", function()
    local random = support.random(20261127)
    local model = new_model()
    local channels, actors, operations = {}, {}, 0
    for i, capacity in ipairs(CAPACITIES) do channels[i] = task.channel(capacity) end
    local value = 0

    local function any_case()
      local case = { channel = random(#CAPACITIES) }
      if random(2) == 1 then
        value = value + 1
        case.send = value
      end
      return case
    end

    local function same(expected, results)
      for i = 1, math.max(#expected, results.n) do
        if expected[i] ~= results[i] then
          error(("operation %d: %s, not %s"):format(operations, tostring(results[i]),
            tostring(expected[i])), 0)
        end
      end
    end

    local function rest(results) return table.pack(table.unpack(results, 2, results.n)) end

    -- What one actor does once: try, wait, select.
    local function operate(actor)
      local cases = {}
      for i = 1, random(4) == 1 and random(3) + 1 or 1 do cases[i] = any_case() end
      local first = cases[1]
      local channel = channels[first.channel]
      local kind = #cases > 1 and "select" or random(4) == 1 and "try" or "wait"
      local seconds = random(3) == 1 and random(3) / 1000 or nil
      local ready = {}
      for i, case in ipairs(cases) do ready[i] = model.is_ready(case) and true or nil end

      if kind == "try" then
        local results
        if first.send then
          results = table.pack(channel:try_send(first.send))
        else
          results = table.pack(channel:try_recv())
        end
        if ready[1] then
          same(table.pack(model.perform(first)), results)
        elseif first.send then
          same({ false }, results)
        else
          same({ nil, "empty" }, results)
        end
        return
      end

      -- What is ready is done before anybody else runs, so the model is asked after; of a wait it
      -- is told before, as this runs next when that is over.
      if not next(ready) then model.wait(actor, cases) end
      local results
      if kind == "wait" then
        if first.send then
          results = table.pack(channel:send(first.send, seconds))
        else
          results = table.pack(channel:recv(seconds))
        end
      else
        local list = { late = seconds and { after = seconds } }
        for i, case in ipairs(cases) do
          local key = case.send and "send" or "recv"
          list[i] = { [key] = channels[case.channel], value = case.send }
        end
        if random(5) == 1 then list.default = true end
        if list.default and not next(ready) then model.give_up(actor) end
        results = table.pack(task.select(list))
        if results[1] == "default" then
          assert(not next(ready), "there was no need for the default")
          return
        end
      end
      if next(ready) then
        local chosen = kind == "wait" and 1 or results[1]
        if kind == "select" then results = rest(results) end
        assert(ready[chosen], "that was not ready")
        same(table.pack(model.perform(cases[chosen])), results)
        return
      end
      local late = kind == "wait" and results[3] == "ETIMEDOUT" or results[1] == "late"
      if late then
        model.give_up(actor)
        return
      end
      local expected = model.expected[actor]
      model.expected[actor] = nil
      assert(expected, "nobody has completed this")
      if kind == "select" then
        assert(cases[results[1]] == expected.case, "another case was completed")
        results = rest(results)
      end
      same(expected, results)
    end

    local function live(actor)
      local n = 0
      while operations < OPERATIONS do
        n, operations = n + 1, operations + 1
        operate(actor)
        -- Before it would be made to, in the middle of an operation.
        if random(8) == 1 or n % 32 == 0 then task.yield() end
      end
    end

    local function disturb()
      while operations < OPERATIONS do
        task.sleep(0.001)
        local i = random(#CAPACITIES)
        assert(#channels[i] == model.count(i))
        if random(20) == 1 then
          channels[i]:close()
          model.close(i)
        elseif model.is_closed(i) then
          channels[i] = task.channel(CAPACITIES[i])
          model.reopen(i)
        end
        -- One that a value is on its way to would keep that, and be canceled at its next wait.
        local k = random(#actors)
        if random(4) == 1 and model.waits(k) then
          actors[k]:cancel()
          model.give_up(k)
          local results = table.pack(actors[k]:join())
          assert(results[3] == "ECANCELED", results[2])
          actors[k] = task.spawn(live, k)
        end
      end
      for i, channel in ipairs(channels) do
        channel:close()
        model.close(i)
      end
    end

    local ok, message = scene.inside(function()
      return pcall(task.scope, function(scope)
        for k = 1, 12 do actors[k] = task.spawn(live, k) end
        scope:spawn(disturb)
        for k = 1, #actors do
          scope:spawn(function()
            while operations < OPERATIONS do
              local worker = actors[k]
              local _, text, name = worker:join()
              assert(name ~= "ELUA", text)
            end
          end)
        end
      end)
    end)
    assert(ok, message)
    assert.is_true(operations >= OPERATIONS)
  end)
end)
