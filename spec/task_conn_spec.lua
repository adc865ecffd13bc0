local task = require "rotor.task"
local sockets = require "spec.task_sockets"
local support = require "spec.support"

local EOF = { nil, "EEOF: peer closed before the expected bytes came", "EEOF" }
local LIMIT = { nil, "ELIMIT: limit reached before the expected bytes came", "ELIMIT" }
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

  describe("reads", function()
    it("so many bytes", function()
      between(function(here, there)
        there:write("abc", "defg")
        assert.equal("ab", here:read(2))
        assert.equal("cdef", here:read(4))
        assert.equal("", here:read(0))
        there:write("hi")
        assert.equal("ghi", here:read(3))
      end)
    end)

    it("up to a delimiter, without it", function()
      between(function(here, there)
        there:write("one\r\ntwo\r\n\r\nfour")
        assert.equal("one", here:read_until("\r\n"))
        assert.equal("two", here:read_until("\r\n"))
        assert.equal("", here:read_until("\r\n"))
        local line
        local reader = task.spawn(function() line = here:read_until("\r\n") end)
        task.yield()
        there:write("\r")
        task.sleep(0.01)
        assert.is_nil(line)
        there:write("\n")
        reader:join()
        assert.equal("four", line)
      end)
    end)

    it("what there is", function()
      between(function(here, there)
        there:write("abcdef")
        assert.equal("abc", here:read_some(3))
        assert.equal("def", here:read_some())
      end)
    end)

    it("all there is until the peer closes", function()
      between(function(here, there)
        task.spawn(function()
          for _ = 1, 10 do
            there:write(("x"):rep(10000))
            task.yield()
          end
          there:close()
        end)
        assert.equal(100000, #here:read_all())
        assert.equal("", here:read_all())
      end)
    end)

    it("lines, of which the last need not end", function()
      between(function(here, there)
        there:write("a\n\nb\nlast")
        there:close()
        local lines = {}
        for line in here:lines() do lines[#lines + 1] = line end
        assert.same({ "a", "", "b", "last" }, lines)
        assert.same(EOF, { here:read(1) })
      end)
    end)

    it("no line that is too long, which stays", function()
      between(function(here, there)
        there:write("ab\nabcd\n")
        local next_line = here:lines(3)
        assert.equal("ab", next_line())
        assert.same(LIMIT, { next_line() })
        assert.same(LIMIT, { here:read_until("\n", 3) })
        assert.equal("abcd", here:read_until("\n", 4))
        there:write("abcdef")
        assert.same(LIMIT, { here:read_until("\n", 3, 1) })
        assert.equal("abcdef", here:read(6))
      end)
    end)

    it("not more than it is to of all", function()
      between(function(here, there)
        there:write("abcdef")
        assert.same(LIMIT, { here:read_all(5) })
        there:close()
        assert.equal("abcdef", here:read_all(6))
      end)
    end)

    it("nothing if its time is over before it has come", function()
      between(function(here, there)
        there:write("ab")
        assert.same(TIMEOUT, { here:read(3, 0.01) })
        assert.same(TIMEOUT, { here:read_until("\n", 10, 0.01) })
        assert.same(TIMEOUT, { here:read_all(10, 0.01) })
        assert.equal("ab", here:read_some(nil, 0))
        assert.same(TIMEOUT, { here:read_some(nil, 0) })
      end)
    end)

    it("what came before the end, which is told as often as one asks", function()
      between(function(here, there)
        there:write("abc")
        there:shutdown()
        assert.same(EOF, { here:read(4) })
        assert.same(EOF, { here:read_until("\n") })
        assert.equal("ab", here:read(2))
        assert.equal("c", here:read_some())
        assert.same(EOF, { here:read_some() })
        assert.same(EOF, { here:read(1) })
        here:write("still")
        assert.equal("still", there:read(5))
      end)
    end)

    it("in one task at a time", function()
      between(function(here, there)
        local reader = task.spawn(function() return here:read(1) end)
        task.yield()
        local message = "another task reads from this connection; one at a time can"
        assert.error_matches(function() here:read(1) end, message)
        assert.error_matches(function() here:read_until("\n") end, message)
        there:write("x")
        assert.equal("x", reader:join())
      end)
    end)

    it("what is there at once, but lets others have their turn", function()
      between(function(here, there)
        there:write(("x"):rep(1000))
        assert.equal("x", here:read(1, 1))
        local turns = 0
        local other = task.spawn(function()
          while true do
            turns = turns + 1
            task.yield()
          end
        end)
        for _ = 1, 999 do assert(here:read(1)) end
        other:cancel()
        assert(turns > 5, turns)
        assert(turns < 100, turns)
      end)
    end)

    it("what tells that the peer has reset it, after what came before", function()
      between(function(here, there)
        there:write("abc")
        assert.equal("a", here:read(1))
        there:write("rest")
        there:flush()
        there:abort()
        assert.equal("bc", here:read_some())
        local data, _, code = here:read(1000)
        assert.same({ nil, "ECONNRESET" }, { data, code })
        assert.equal("ECONNRESET", (select(3, here:read(1000))))
        assert.equal("ECONNRESET", (select(3, here:write("x"))))
      end)
    end)

    it("only what it is told to in a way that makes sense", function()
      between(function(here)
        assert.has_error(function() here:read() end)
        assert.has_error(function() here:read(-1) end)
        assert.has_error(function() here:read(1 << 40) end)
        assert.has_error(function() here:read(1, -1) end)
        assert.has_error(function() here:read_until("") end)
        assert.has_error(function() here:read_until("x", -1) end)
        assert.has_error(function() here:read_some(0) end)
        assert.has_error(function() here.read({}, 1) end)
      end)
    end)

    it("for a task only", function()
      local conn
      between(function(here, there)
        conn = here
        assert.error_matches(function() coroutine.wrap(function() conn:read(1) end)() end,
          "a coroutine inside of a task cannot wait, only the task itself can")
        there:write("x")
        assert.equal("x", here:read(1))
      end)
      assert.has_error(function() conn:read(1) end,
        "only a task can wait; task.spawn(function() ... end) makes one")
    end)
  end)

  describe("writes", function()
    it("a mebibyte both ways at once", function()
      between(function(here, there)
        local sent = {}
        for i = 1, 1024 do sent[i] = ("%04d"):format(i):rep(256) end
        local all = table.concat(sent)
        local function both(conn)
          local writer = task.spawn(function()
            for _, piece in ipairs(sent) do assert(conn:write(piece)) end
          end)
          local got = conn:read(#all)
          writer:join()
          return got == all
        end
        local one, other = task.spawn(both, here), task.spawn(both, there)
        assert.is_true(one:join())
        assert.is_true(other:join())
      end)
    end)

    it("both ways without reading first, as reading does not wait for writing", function()
      between(function(here, there)
        local block = ("x"):rep(1 << 20)
        local function both(conn)
          local writer = task.spawn(function()
            for _ = 1, 16 do assert(conn:write(block)) end
            conn:shutdown()
          end)
          task.sleep(0.01)
          local n = #conn:read_all(1 << 25)
          writer:join()
          return n
        end
        local one, other = task.spawn(both, here), task.spawn(both, there)
        assert.equal(1 << 24, one:join())
        assert.equal(1 << 24, other:join())
      end)
    end)

    it("many small pieces of which all are read", function()
      between(function(here, there)
        local pieces = {}
        for i = 1, 1000 do
          pieces[i] = i .. "\n"
          here:write(pieces[i])
        end
        here:shutdown()
        for i = 1, 1000 do assert.equal(tostring(i), there:read_until("\n")) end
        assert.same(EOF, { there:read_until("\n") })
      end)
    end)

    it("and waits while much is unsent", function()
      between(function(here, there)
        local done = false
        local writer = task.spawn(function()
          task.deadline(0.02, sockets.stuff, here)
          done = true
        end)
        writer:join()
        assert.is_true(done)
        local unsent = here:unsent()
        assert(unsent >= 65536 and unsent < 2 * 65536, unsent)
        assert.same(TIMEOUT, { here:flush(0.01) })
        local reader = task.spawn(function() return #there:read_all(1 << 30) end)
        assert.is_true(here:write("x"))
        assert.is_true(here:flush())
        assert.equal(0, here:unsent())
        here:close()
        assert(reader:join() % 65536 == 1)
      end)
    end)

    it("from several tasks that wait", function()
      between(function(here, there)
        local block, writers = ("x"):rep(1 << 20), {}
        for i = 1, 4 do
          writers[i] = task.spawn(function()
            for _ = 1, 4 do assert(here:write(block)) end
          end)
        end
        local flusher = task.spawn(function()
          task.yield()
          return here:flush()
        end)
        assert.equal(1 << 24, #there:read(1 << 24))
        for _, writer in ipairs(writers) do writer:join() end
        assert.is_true(flusher:join())
      end)
    end)

    it("nothing after it was shut down, and reads on", function()
      between(function(here, there)
        here:write("last")
        assert.is_true(here:shutdown())
        assert.equal("ECLOSED", (select(3, here:write("more"))))
        assert.equal("last", there:read_all())
        there:write("answer")
        there:close()
        assert.equal("answer", here:read_all())
      end)
    end)

    it("what tells that the peer is gone", function()
      between(function(here, there)
        there:close()
        local code
        while not code do
          local ok, _, name = here:write("x")
          code = not ok and name
          task.yield()
        end
        assert(code == "EPIPE" or code == "ECONNRESET", code)
        assert.equal(code, (select(3, here:flush())))
      end)
    end)

    it("to a peer that is gone, and reads what that has said before", function()
      between(function(here, there)
        here:write("x")
        there:write("Not now.\n")
        assert.is_true(there:flush())
        there:close() -- with a byte unread, which resets the connection
        repeat
          local ok = here:write("y")
          task.yield()
        until not ok
        assert.equal("Not now.", here:read_until("\n"))
        local data, _, code = here:read_some()
        assert.is_nil(data)
        assert(code == "EPIPE" or code == "ECONNRESET", code)
      end)
    end)

    it("strings only", function()
      between(function(here)
        assert.has_error(function() here:write("a", {}) end)
        assert.is_true(here:write())
      end)
    end)
  end)

  describe("whose peer leaves while a task waits", function()
    local BROKEN = { EPIPE = true, ECONNRESET = true }

    local function code(value, _, name) return name or value end

    local waits = {
      read = function(conn) return code(conn:read(3)) end,
      read_until = function(conn) return code(conn:read_until("\n")) end,
      read_some = function(conn)
        assert.equal("ab", conn:read_some())
        return code(conn:read_some())
      end,
      read_all = function(conn) return code(conn:read_all()) end,
      lines = function(conn) return code(conn:lines()()) end,
      select = function(conn)
        assert.equal("ab", conn:read_some())
        task.select { { readable = conn } }
        return code(conn:read_some())
      end,
      write = function(conn) return select(2, pcall(sockets.stuff, conn)):match("E%u+") end,
      flush = function(conn)
        task.deadline(0.02, sockets.stuff, conn)
        return code(conn:flush())
      end,
      ["select of writable"] = function(conn)
        task.deadline(0.02, sockets.stuff, conn)
        task.select { { writable = conn } }
        return code(conn:write("x"))
      end,
    }

    for name, wait in pairs(waits) do
      local writes = name:find "writ" or name == "flush"

      local function leaves(how)
        local result
        between(function(here, there)
          there:write("ab")
          assert.equal("come", (task.select { come = { readable = here } }))
          local waiting = task.spawn(wait, here)
          task.sleep(0.03)
          assert.is_false(waiting:done())
          there[how](there)
          if how == "shutdown" and writes then
            task.sleep(0.01)
            assert.is_false(waiting:done())
            there:abort()
          end
          result = waiting:join()
        end)
        return result
      end

      it("in " .. name .. " tells that it has reset the connection", function()
        local result = leaves("abort")
        if writes then assert(BROKEN[result], result) else assert.equal("ECONNRESET", result) end
      end)

      it("in " .. name .. " tells that it has closed it", function()
        local all = name == "read_all" or name == "lines"
        local result = leaves("close")
        if writes then assert(BROKEN[result], result)
        else assert.equal(all and "ab" or "EEOF", result) end
      end)

      it("in " .. name .. " tells that it has closed its direction", function()
        local all = name == "read_all" or name == "lines"
        local result = leaves("shutdown")
        if writes then assert(BROKEN[result], result)
        else assert.equal(all and "ab" or "EEOF", result) end
      end)
    end
  end)

  describe("that is closed", function()
    it("sends what was written", function()
      between(function(here, there)
        local data = ("x"):rep(1 << 21)
        task.spawn(function()
          local conn <close> = here
          conn:write(data)
        end)
        assert.equal(#data, #there:read_all(1 << 22))
      end)
    end)

    it("tells whoever waits", function()
      for _, wait in ipairs {
        function(conn) return conn:read(1) end,
        function(conn) return conn:read_until("\n") end,
        function(conn) return conn:read_all() end,
        function(conn) return sockets.stuff(conn) end,
        function(conn) task.deadline(0.01, sockets.stuff, conn) return conn:flush() end,
      } do
        between(function(here)
          local waiting = task.spawn(function()
            local ok, value, text = pcall(wait, here)
            return ok and text or value
          end)
          task.sleep(0.03)
          assert.is_false(waiting:done())
          here:abort()
          assert.matches("already closed", waiting:join())
        end)
      end
    end)

    it("is good for nothing", function()
      between(function(here)
        assert.is_false(here:closed())
        assert.is_true(here:close())
        assert.is_true(here:close())
        assert.is_true(here:closed())
        for _, method in ipairs { "read_some", "read_all", "write", "flush", "shutdown", "peer",
                                  "address" } do
          assert.same(CLOSED, { here[method](here) })
        end
        assert.same(CLOSED, { here:read(1) })
        assert.equal("rotor.task.conn (closed)", tostring(here))
        assert.equal(0, here:unsent())
        assert.equal("read", (task.select { read = { readable = here } }))
        assert.equal("write", (task.select { write = { writable = here } }))
      end)
    end)

    it("may be so by the task that runs inside of its own transition", function()
      for _, how in ipairs { "close", "abort" } do
        between(function(here, there)
          local reader = task.spawn(function()
            local byte = here:read(1)
            here[how](here)
            return byte
          end)
          task.yield()
          there:write("x")
          assert.equal("x", reader:join())
          there:read(1)
        end)
      end
    end)

    it("drops what was written when that is asked for", function()
      between(function(here, there)
        task.deadline(0.02, sockets.stuff, here)
        assert.is_true(here:abort())
        local _, _, code = there:read_all(1 << 30)
        assert.equal("ECONNRESET", code)
      end)
    end)

    it("may be aborted while it sends", function()
      between(function(here)
        task.deadline(0.02, sockets.stuff, here)
        here:close()
        assert(here:unsent() > 0)
        here:abort()
      end)
    end)

    it("is so when it is collected", function()
      between(function(_, there)
        local ends = table.pack(sockets.pair())
        ends[1]:write("what was written")
        ends[1] = nil
        collectgarbage()
        collectgarbage()
        assert.equal("what was written", ends[2]:read_all(100, 1))
        ends[2] = nil
        collectgarbage()
        there:write("x")
      end)
    end)

    it("is so when it is collected in the middle of its transition", function()
      between(function(_, there)
        local peer
        do
          local conn
          conn, peer = sockets.pair()
          task.spawn(function(mine)
            mine:read(1)
            mine:write("y")
            mine = nil -- luacheck: ignore mine
            collectgarbage()
            collectgarbage()
          end, conn)
        end
        peer:write("x")
        assert.equal("y", peer:read(1))
        collectgarbage()
        collectgarbage()
        assert.same(EOF, { peer:read(1, 1) })
        peer:close()
        there:write("x")
      end)
    end)
  end)

  describe("as one of several that are waited for", function()
    it("is readable when something has come, or the end", function()
      between(function(here, there)
        local function wait()
          return (task.select { come = { readable = here }, late = { after = 0.01 } })
        end
        assert.equal("late", wait())
        there:write("x")
        assert.equal("come", wait())
        assert.equal("come", wait())
        assert.equal("x", here:read_some())
        assert.equal("late", wait())
        there:close()
        assert.equal("come", wait())
        assert.same(EOF, { here:read_some() })
      end)
    end)

    it("is told to all who wait", function()
      between(function(here, there)
        local waiting = {}
        for i = 1, 3 do
          waiting[i] = task.spawn(function()
            return (task.select { come = { readable = here } })
          end)
        end
        task.yield()
        there:close()
        for i = 1, 3 do assert.equal("come", waiting[i]:join()) end
      end)
    end)

    it("is writable while little is unsent", function()
      between(function(here, there)
        local function wait()
          return (task.select { room = { writable = here }, late = { after = 0.01 } })
        end
        assert.equal("room", wait())
        task.deadline(0.02, sockets.stuff, here)
        assert.equal("late", wait())
        task.spawn(function() there:read_all(1 << 30) end)
        assert.equal("room", (task.select { room = { writable = here } }))
      end)
    end)

    it("loses nothing to the others", function()
      between(function(here, there)
        local channel = task.channel()
        local got, n = {}, 0
        task.spawn(function()
          for i = 1, 50 do
            there:write(i .. "\n")
            channel:send(i)
            task.yield()
          end
        end)
        while n < 100 do
          if task.select { line = { readable = here }, value = { recv = channel } } == "line" then
            got[#got + 1] = here:read_until("\n")
          end
          n = n + 1
        end
        local rest = here:read_some(nil, 0.01)
        for line in (rest or ""):gmatch("%d+") do got[#got + 1] = line end
        for i = 1, 50 do assert.equal(tostring(i), got[i]) end
      end)
    end)
  end)

  it("is of one loop", function()
    local other, handle, text = scene.loop(), nil, nil
    between(function(here)
      handle = other:spawn(function() return here:read(1) end)
    end)
    other:spawn(function() text = select(2, handle:join()) end)
    support.run(other)
    assert.matches("a socket of another loop than the task's", text)
  end)

  it("is left in peace by the end of its loop", function()
    local kept
    loop:spawn(function()
      local here, there = sockets.pair()
      local closing <close> = here -- luacheck: ignore closing
      kept = there
      task.spawn(function() there:read_until("\n") end)
      task.spawn(function() sockets.stuff(there) end)
      here:read(1 << 30)
    end)
    for _ = 1, 10 do loop:turn() end
    loop:close()
    assert.same(CLOSED, { kept:peer() })
    kept:close()
  end)

  it("is waited for by tasks of its own loop only", function()
    local other, wanted = scene.loop(), "a socket of another loop than the task's"
    loop:spawn(function()
      local listener <close> = assert(task.listen("127.0.0.1:0"))
      local conn <close> = assert(task.connect(listener:address()))
      local udp <close> = assert(task.udp("127.0.0.1:0"))
      other:spawn(function()
        assert.error_matches(function() conn:read(1) end, wanted)
        for _, case in ipairs { { readable = conn }, { accept = listener }, { recv = udp } } do
          assert.error_matches(function() task.select { case, late = { after = 1 } } end, wanted)
        end
      end)
      other:run()
    end)
    loop:run()
  end)

  it("does not mind that the program ends in its transition", function()
    local output, status = support.program([[
      local rotor, task = require "rotor", require "rotor.task"
      task.spawn(function()
        local listener = assert(task.listen("127.0.0.1:0"))
        task.spawn(function()
          local conn = listener:accept()
          conn:write(conn:read_until("\n"):upper())
          os.exit(7, true)
        end)
        local conn = task.connect(listener:address())
        conn:write("hello\n")
        print(conn:read_some())
      end)
      rotor.run()
    ]])
    assert.equal("", output)
    assert.equal(7, status)
  end)
end)
