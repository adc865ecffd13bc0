local rotor = require "rotor"
local support = require "spec.support"
local threads = rotor.threads

-- What crosses between Lua states, held here against a copy made in Lua. threads.copy() packs and
-- unpacks as everything does that crosses.
describe("a value that travels", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  -- Whether `b` is to `a` what a deep copy is: the same values, and the same tables and bufs where
  -- those of `a` are the same; none of `a` is in it. Without recursion, as tables may be deep.
  local is_shared = { table = true, userdata = true }
  local function is_copy(a, b)
    local there, back, todo = {}, {}, {}
    local function same(x, y)
      if type(x) ~= type(y) or not is_shared[type(x)] then
        return math.type(x) == math.type(y) and (x == y or (x ~= x and y ~= y))
      end
      if there[x] or back[y] then return there[x] == y and back[y] == x end
      there[x], back[y] = y, x
      if type(x) == "table" then todo[#todo + 1] = x
      elseif x:peek() ~= y:peek() then return false end
      return x ~= y
    end
    if not same(a, b) then return false end
    while #todo > 0 do
      local x = table.remove(todo)
      local y = there[x]
      local loose = {} -- pairs whose key is a table
      local n, m = 0, 0
      for key, value in next, x do
        n = n + 1
        if type(key) == "table" then loose[#loose + 1] = { key, value }
        elseif not same(value, rawget(y, key)) then return false end
      end
      for key, value in next, y do
        m = m + 1
        if type(key) == "table" and not back[key] then
          -- The only one of its kind that can be paired: the generator puts a mark into keys.
          for _, pair in ipairs(loose) do
            if rawget(pair[1], "mark") == rawget(key, "mark") and not there[pair[1]] then
              if not same(pair[1], key) or not same(pair[2], value) then return false end
              break
            end
          end
        end
      end
      for _, pair in ipairs(loose) do
        if not there[pair[1]] or not same(pair[2], rawget(y, there[pair[1]])) then return false end
      end
      if n ~= m then return false end
    end
    return true
  end

  -- Random values, with tables that are met again, as values and as keys.
  local function generator(seed)
    math.randomseed(seed)
    local random, marks = math.random, 0
    local strings = { "", "a", "two\0parts", ("x"):rep(255), ("y"):rep(256), ("z"):rep(5000) }
    local function plain()
      local kind = random(9)
      if kind == 1 then return random(0) end
      if kind == 2 then return random(-3, 12) end
      if kind == 3 then return random() * 1e10 end
      if kind == 4 then return random(2) == 1 end
      if kind == 5 then
        return ({ 0 / 0, 1 / 0, -1 / 0, -0.0, 2 ^ 53, math.mininteger })[random(6)]
      end
      if kind == 6 then return strings[random(#strings)] end
      return tostring(random(100))
    end
    return function()
      local pool, size = { {} }, random(0, 12)
      local bufs = { rotor.buf() }
      for _ = 1, size do
        local t = pool[random(#pool)]
        for _ = 1, random(6) do
          local key, value = random(8), plain()
          if key == 1 then
            key = plain()
            if key ~= key then key = "nan" end
          elseif key == 2 then
            marks = marks + 1
            key = { mark = marks }
            if random(2) == 1 then pool[#pool + 1] = key end
          elseif key == 3 then
            key = tostring(random(5))
          else
            key = #t + 1
          end
          if random(3) == 1 then
            value = pool[random(#pool)]
          elseif random(3) == 1 then
            value = {}
            pool[#pool + 1] = value
          end
          if random(9) == 1 then
            value = bufs[random(#bufs)]
          elseif random(9) == 1 then
            value = rotor.buf(strings[random(#strings)])
            bufs[#bufs + 1] = value
          end
          t[key] = value
        end
      end
      return size == 0 and plain() or pool[1]
    end
  end

  it("is what a deep copy is: 10,000 random ones, with cycles and what they share", function()
    local make = generator(5)
    local channel, tables = threads.channel(), 0
    for i = 1, 10000 do
      local value = make()
      local copy = threads.copy(value)
      if not is_copy(value, copy) then error("the copy of value " .. i .. " differs") end
      if value ~= nil then -- the copy moves, and is the same after that
        channel:send(copy)
        if not is_copy(value, channel:recv()) then error("value " .. i .. " differs, moved") end
      end
      tables = tables + (type(value) == "table" and 1 or 0)
    end
    assert(tables > 5000)
  end)

  it("is judged by a check that sees what differs", function()
    local shared = {}
    assert.is_true(is_copy({ shared, shared }, threads.copy { shared, shared }))
    assert.is_false(is_copy({ shared, shared }, { {}, {} }))
    assert.is_false(is_copy({ {}, {} }, { shared, shared }))
    assert.is_false(is_copy({ 1 }, { 1.0 }))
    local buf = rotor.buf("x")
    assert.is_true(is_copy({ buf, buf }, threads.copy { buf, buf }))
    assert.is_false(is_copy({ buf, buf }, { rotor.buf("x"), rotor.buf("x") }))
    assert.is_false(is_copy({ buf }, { rotor.buf("y") }))
    assert.is_false(is_copy(buf, buf))
    assert.is_false(is_copy({ 1 }, { 1, 2 }))
    assert.is_false(is_copy(shared, shared))
    local cycle = {}
    cycle[1] = cycle
    assert.is_false(is_copy(cycle, { {} }))
  end)

  it("is a table in itself", function()
    local t = {}
    t.t, t[t] = t, 1
    local copy = threads.copy(t)
    assert.equal(copy, copy.t)
    assert.equal(1, copy[copy])
    assert.are_not_equal(t, copy)
  end)

  it("is as deep as memory allows", function()
    local deep = {}
    for _ = 1, 200000 do deep = { deep } end
    local copy, depth = threads.copy(deep), 0
    while copy[1] do copy, depth = copy[1], depth + 1 end
    assert.equal(200000, depth)
  end)

  it("names the path to what cannot travel", function()
    local function message(value)
      return select(2, pcall(threads.copy, value))
    end
    assert.equal("value is a function", message(print))
    assert.equal("value is a coroutine", message(coroutine.create(print)))
    assert.equal("value.handlers[2] is a function", message { handlers = { 1, print } })
    assert.equal("value.handlers[1] is a function", message { handlers = { print, 1 } })
    assert.equal("value[\"not a name\"].x is a coroutine",
      message { ["not a name"] = { x = coroutine.create(print) } })
    assert.equal("value[1][1][1].f is a function", message { { { { f = print } } } })
    assert.equal("value.file is a FILE*, which cannot travel", message { file = io.stdout })
    assert.equal("value[true] is a function", message { [true] = print })
    assert.equal("value[2.5] is a function", message { [2.5] = print })
    assert.equal("a key of value.x is a function", message { x = { [print] = 1 } })
    assert.equal("value[a table].y is a function", message { [{ y = print }] = 1 })
    assert.equal("value.x has a metatable, which cannot travel",
      message { x = setmetatable({}, {}) })
    assert.equal("value has a metatable, which cannot travel", message(setmetatable({}, {})))
    assert.equal("value.loop is a rotor.loop, which cannot travel", message { loop = scene.loop() })
    assert.equal("value is a light userdata, which is nothing to another Lua state",
      message(debug.upvalueid(is_copy, 1) or debug.upvalueid(generator, 1)))
    local deep = { print }
    for _ = 1, 100000 do deep = { deep } end
    assert.equal("value…" .. ("[1]"):rep(25) .. " is a function", message(deep))
  end)

  it("keeps references of what cannot travel as a whole", function()
    local counter = threads.counter(3)
    assert.has_error(function() threads.copy { counter, print } end, "value[2] is a function")
    local copy = threads.copy { counter, counter, again = counter }
    assert.equal(copy[1], copy[2])
    assert.equal(copy[1], copy.again)
    copy[1]:add(4)
    assert.equal(7, counter:get())
  end)

  it("may be a buf, which moves to who receives it", function()
    local channel = threads.channel(1)
    local buf, other = rotor.buf("one"), rotor.buf("other")
    assert.is_true(channel:try_send { buf, other, again = buf })
    assert.same({ 0, 0 }, { #buf, #other })
    local got = channel:try_recv()
    assert.same({ "one", "other" }, { got[1]:peek(), got[2]:peek() })
    assert.equal(got[1], got.again)
    got[1]:append("!")
    assert.equal(0, #buf)
    buf:append("it goes on")
    channel:try_send(buf)
    assert.equal("it goes on", channel:try_recv():take())
    channel:try_send(buf)
    assert.equal(0, #channel:try_recv())
  end)

  it("stays where it was if it could not be sent", function()
    local channel = threads.channel(1)
    local buf = rotor.buf("here")
    assert.has_error(function() channel:try_send { buf, print } end, "msg[2] is a function")
    assert.has_error(function() channel:try_send { print, buf } end, "msg[1] is a function")
    channel:try_send(1)
    assert.is_false(channel:try_send { buf })
    assert.equal("ETIMEDOUT", (select(3, channel:send({ buf, { buf } }, 0.001))))
    scene.inside(function()
      assert.equal("ETIMEDOUT", (select(3, channel:send({ buf }, 0.001))))
    end)
    channel:close()
    assert.same({ nil, "closed" }, { channel:try_send { buf } })
    assert.same({ nil, "closed" }, { channel:send { buf } })
    assert.equal("here", buf:peek())
  end)

  it("is copied where there may be several receivers", function()
    local buf = rotor.buf("here")
    local copy = threads.copy { buf, buf }
    assert.equal(copy[1], copy[2])
    copy[1]:append("!")
    assert.same({ "here!", "here" }, { copy[1]:peek(), buf:peek() })
  end)

  it("may be a buf that a future is resolved with", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local buf = rotor.buf("value")
    assert.is_true(threads.copy(port):set { buf })
    assert.equal(0, #buf)
    loop:turn()
    assert.equal("value", future:get()[1]:peek())
    assert.equal(future:get()[1], future:get()[1])
  end)

  it("is where it was if nobody wants what the future is resolved with", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local there = threads.copy(port)
    local _, inner = loop:future()
    local buf = rotor.buf("value")
    future:cancel()
    assert.equal("ECANCELED", (select(3, there:set { buf, inner })))
    assert.same({ 5, "pending" }, { #buf, inner:status() })
    port = loop:future()
    there = threads.copy(port)
    loop:close()
    assert.equal("ECLOSED", (select(3, there:fail { buf })))
    assert.equal(5, #buf)
  end)

  local used = "the port was used before; it resolves its future once"

  it("may be a port, whose future is resolved by copy", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local there = threads.copy { port = port }.port
    local value = { 1, { 2 } }
    assert.is_false(there:canceled())
    assert.is_true(there:set(value))
    loop:turn()
    local got = future:get()
    assert.same(value, got)
    assert.are_not_equal(value, got)
    assert.equal(got, future:get())
    assert.is_true(port:canceled())
    assert.has_error(function() port:set(1) end, used)
    assert.has_error(function() threads.copy { port } end,
      "value[1] is a port that was used before")
  end)

  it("may be a port that fails, or is used at home after all", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local there = threads.copy(port)
    assert.has_error(function() there:set(print) end, "value is a function")
    assert.is_true(there:fail({ "why" }, "EWHY"))
    loop:turn()
    local nothing, why, name = future:get()
    assert.same({ nil, { "why" }, "EWHY" }, { nothing, why, name })
    port, future = loop:future()
    there = threads.copy(port)
    assert.is_true(port:set(print))
    loop:turn()
    assert.equal(print, future:get())
    assert.has_error(function() there:set(1) end, used)
  end)

  it("may be a port that nobody uses: the last who drops it cancels", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local there = threads.copy(port)
    port = nil
    collectgarbage()
    collectgarbage()
    loop:turn()
    assert.equal("pending", future:status())
    there = assert(there) and nil
    collectgarbage()
    collectgarbage()
    loop:turn()
    assert.equal("ECANCELED", (select(3, future:get())))
    assert(port == nil and there == nil)
  end)

  it("may be a port whose future is dropped, or its loop closed", function()
    local loop = scene.loop()
    local port, future = loop:future()
    local there = threads.copy(port)
    future:cancel()
    assert.is_true(there:canceled())
    assert.equal("ECANCELED", (select(3, there:set { 1 })))
    port, future = loop:future()
    there = threads.copy(port)
    loop:close()
    assert.equal("ECLOSED", (select(3, there:set { 1 })))
    assert.equal("ECLOSED", (select(3, future:get())))
    assert.is_true(port:canceled())
  end)

  it("may be a notifier", function()
    local loop, woken = scene.loop(), 0
    local notifier
    assert(loop:add(rotor.machine "Woken" {
      create = function(_, scope)
        notifier = scope:notifier()
        return scope:ok()
      end,
      wakeup = function(_, scope)
        woken = woken + 1
        return scope:ok()
      end,
    }))
    assert.is_true(threads.copy { notifier }[1]:wakeup())
    loop:turn()
    assert.equal(1, woken)
  end)

  it("may be a channel that holds itself", function()
    local channel = threads.channel()
    assert.is_true(channel:try_send { channel = channel })
    local got = channel:try_recv().channel
    got:try_send(5)
    assert.equal(5, channel:try_recv())
  end)
end)
