local lfs = require "lfs"
local rotor = require "rotor"
local support = require "spec.support"
local descriptors = assert(package.loadlib(support.shared "descriptors", "luaopen_descriptors"))()

local ECLOSED = { nil, "ECLOSED: already closed", "ECLOSED" }
local EEOF = { nil, "EEOF: end of file", "EEOF" }
local EAGAIN = { nil, "EAGAIN: resource temporarily unavailable", "EAGAIN" }

describe("a machine that watches descriptors", function()
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

  local function none()
    error("nothing to be told of")
  end

  -- Add a machine with these transitions, unless it fails in `create`, and run the loop until all
  -- machines have ended.
  local function play(transitions)
    transitions.ready = transitions.ready or none
    loop:add(rotor.machine "M" (transitions))
    support.run(loop)
  end

  -- Call `fn` with the scope of a machine that can be told of descriptors; it ends then.
  local function with_scope(fn)
    play {
      create = function(_, scope)
        fn(scope)
        return scope:done()
      end,
    }
  end

  -- Watch what `open` returns and gather what can be read until there is no more: the text, and how
  -- that was said. `each` is called with every piece.
  local function gather(open, each)
    local gathered, last = {}, nil
    play {
      create = function(_, scope)
        local watched = assert(scope:open(open()))
        assert(watched:want("r"))
        return scope:ok(10)
      end,
      ready = function(_, scope, watched, readable, writable)
        assert(readable and not writable)
        local result = table.pack(watched:read())
        if not result[1] then
          last = { table.unpack(result, 1, 3) }
          return scope:done()
        end
        gathered[#gathered + 1] = result[1]
        if each then each(result[1], watched, scope) end
        return scope:ok(10)
      end,
    }
    return table.concat(gathered), last
  end

  -- A folder for the length of the test.
  local function in_folder(test)
    local folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
    local ok, message = pcall(test, folder)
    for name in lfs.dir(folder) do os.remove(folder .. "/" .. name) end
    assert(lfs.rmdir(folder))
    assert(ok, message)
  end

  describe("reads", function()
    it("from a pipe what there is, until there is nothing more", function()
      local near, far = descriptors.pipe()
      local text, last = gather(function()
        descriptors.write(far, "one")
        return near
      end, function(piece, watched)
        assert.same(EAGAIN, { watched:read() })
        if piece == "one" then descriptors.write(far, "two") else descriptors.close(far) end
      end)
      assert.equal("onetwo", text)
      assert.same(EEOF, last)
      assert.is_false(descriptors.is_open(near)) -- it was taken over
    end)

    it("as much as it asks for, and is told of the rest", function()
      local near, far = descriptors.pipe()
      descriptors.write(far, "abcdef")
      local pieces = {}
      play {
        create = function(_, scope)
          local watched = assert(scope:open(near))
          for _, n in ipairs { 0, -1, (1 << 30) + 1, 1.5, "x" } do
            assert(not pcall(watched.read, watched, n))
          end
          watched:want("r")
          return scope:ok()
        end,
        ready = function(_, scope, watched)
          pieces[#pieces + 1] = watched:read(#pieces + 1)
          return #pieces < 3 and scope:ok() or scope:done()
        end,
      }
      assert.same({ "a", "bc", "def" }, pieces)
      descriptors.close(far)
    end)

    it("what a program prints, whose file stays Lua's", function()
      local file = assert(io.popen("printf 'hello '; printf world; exit 3"))
      assert.is_true(descriptors.is_blocking(descriptors.fileno(file)))
      local text, last = gather(function() return file end, function()
        assert.is_false(descriptors.is_blocking(descriptors.fileno(file)))
      end)
      assert.equal("hello world", text)
      assert.same(EEOF, last)
      assert.equal("file", io.type(file))
      assert.is_true(descriptors.is_blocking(descriptors.fileno(file)))
      assert.same({ nil, "exit", 3 }, { file:close() })
    end)

    it("from a FIFO, which is a file of Lua's, too", function()
      in_folder(function(folder)
        local path = folder .. "/fifo"
        descriptors.mkfifo(path)
        local file <close> = assert(io.open(path, "r+"))
        local writer <close> = assert(io.open(path, "w"))
        writer:setvbuf("no")
        local text = gather(function()
          writer:write("one ")
          return file
        end, function(piece, watched, scope)
          if piece == "two" then return watched:close() and scope:handle():close() end
          writer:write("two")
        end)
        assert.equal("one two", text)
        writer:write("three\n")
        assert.equal("three", file:read()) -- it blocks again, as it did before
      end)
    end)

    it("from an eventfd", function()
      local fd = descriptors.eventfd(3)
      local counts = {}
      gather(function() return fd end, function(piece, watched, scope)
        counts[#counts + 1] = string.unpack("=I8", piece)
        if #counts == 2 then
          scope:handle():close()
        else
          assert.same(EAGAIN, { watched:read(8) })
          assert.same({ 8 }, { watched:write(string.pack("=I8", 39)) })
        end
      end)
      assert.same({ 3, 39 }, counts)
    end)

    it("from inotify", function()
      in_folder(function(folder)
        local told = {}
        local function make(name) assert(io.open(folder .. "/" .. name, "w")):close() end
        gather(function()
          local fd = descriptors.inotify(folder)
          make("a")
          make("b")
          return fd
        end, function(piece, _, scope)
          told[#told + 1] = descriptors.names(piece)
          if #told == 2 then scope:handle():close() end
          os.remove(folder .. "/a")
        end)
        assert.same({ "+a +b", "-a" }, told)
      end)
    end)

    it("from a pty, and writes to it", function()
      local has_ptys, program, terminal = pcall(descriptors.pty)
      if not has_ptys then return pending(program) end -- a container without /dev/pts, say
      local screen, typed = {}, nil
      play {
        create = function(self, scope)
          self.program = assert(scope:open(program))
          self.terminal = assert(scope:open(terminal))
          assert(self.program:want("r"))
          assert(self.terminal:want("r"))
          assert.same({ 5 }, { self.program:write("echo\n") })
          return scope:ok(10)
        end,
        ready = function(self, scope, watched, readable)
          assert(readable)
          if watched == self.terminal then
            typed = watched:read()
            assert.same({ 7 }, { watched:write("answer\n") })
            return scope:ok(10)
          end
          local text, _, name = watched:read()
          screen[#screen + 1] = text or name
          if not text then return scope:done() end
          if table.concat(screen):find("answer") then assert(self.terminal:close()) end
          return scope:ok(10)
        end,
      }
      assert.equal("echo\n", typed)
      assert.equal("echo\r\nanswer\r\nEIO", table.concat(screen)) -- Linux's end of a terminal
    end)
  end)

  describe("writes", function()
    it("as much as there is room for, and is told when there is more", function()
      local near, far = descriptors.pipe()
      local rest, received, rounds = ("x"):rep(1 << 20), 0, 0
      play {
        create = function(self, scope)
          self.from, self.to = assert(scope:open(near)), assert(scope:open(far))
          self.to:want("w")
          return scope:ok(10)
        end,
        ready = function(self, scope, watched, readable, writable)
          assert(readable == (watched == self.from) and writable == (watched == self.to))
          if writable then
            rounds = rounds + 1
            while #rest > 0 do
              local n, _, name = watched:write(rest)
              if not n then
                assert.equal("EAGAIN", name)
                break
              end
              rest = rest:sub(n + 1)
            end
            self.from:want("r")
            self.to:want("")
            if #rest == 0 then self.to:close() end
            return scope:ok(10)
          end
          local text, _, name = watched:read(1 << 16)
          if name == "EEOF" then return scope:done() end
          received = received + #text
          if #rest > 0 then self.to:want("w") end
          return scope:ok(10)
        end,
      }
      assert.equal(1 << 20, received)
      assert.is_true(rounds > 1)
    end)

    it("to nobody, which is an error and no signal", function()
      local near, far = descriptors.pipe()
      local told
      descriptors.close(near)
      play {
        create = function(_, scope)
          local watched = assert(scope:open(far))
          assert.same({ nil, "EPIPE: broken pipe", "EPIPE" }, { watched:write("x") })
          watched:want("w")
          return scope:ok(10)
        end,
        ready = function(_, scope, watched, _, writable)
          told = { writable, select(3, watched:write("x")) }
          return scope:done()
        end,
      }
      assert.same({ true, "EPIPE" }, told)
    end)
  end)

  describe("waits", function()
    it("for nothing until it says so, and for nothing any more when it says that", function()
      local near, far = descriptors.pipe()
      descriptors.write(far, "x")
      local log = {}
      play {
        create = function(self, scope)
          self.io = assert(scope:open(near))
          return scope:ok(0.002)
        end,
        timeout = function(self, scope)
          log[#log + 1] = "timeout"
          if #log == 4 then return scope:done() end
          assert(self.io:want("r"))
          return scope:ok()
        end,
        ready = function(self, scope) -- again and again, as nothing is read
          log[#log + 1] = "ready"
          if #log == 2 then return scope:same() end
          assert(self.io:want(""))
          return scope:ok(0.002)
        end,
      }
      assert.same({ "timeout", "ready", "ready", "timeout" }, log)
      descriptors.close(far)
    end)

    it("for either of two", function()
      local has_ptys, program, terminal = pcall(descriptors.pty)
      if not has_ptys then return pending(program) end -- a container without /dev/pts, say
      local log = {}
      play {
        create = function(_, scope)
          local watched = assert(scope:open(program))
          watched:want("rw")
          return scope:ok(10)
        end,
        ready = function(_, scope, watched, readable, writable)
          log[#log + 1] = (readable and "r" or "") .. (writable and "w" or "")
          if #log == 1 then descriptors.write(terminal, "x") end
          if #log == 2 then watched:want("r") end
          return #log < 3 and scope:ok(10) or scope:done()
        end,
      }
      assert.same({ "w", "rw", "r" }, log)
      descriptors.close(terminal)
    end)

    it("until its deadline, or for a wakeup", function()
      local near, far = descriptors.pipe()
      local log = {}
      play {
        create = function(_, scope)
          assert(scope:open(near)):want("r")
          scope:handle():wake()
          return scope:ok()
        end,
        wakeup = function(_, scope)
          log[#log + 1] = "wakeup"
          return scope:ok(0)
        end,
        timeout = function(_, scope)
          log[#log + 1] = "timeout"
          return scope:done()
        end,
      }
      assert.same({ "wakeup", "timeout" }, log)
      descriptors.close(far)
    end)
  end)

  describe("cannot watch", function()
    it("what is always ready", function()
      local failure = {
        nil, "EPERM: operation not permitted (it is always ready, as regular files are)", "EPERM",
      }
      local file <close> = assert(io.open("Makefile"))
      local fd = descriptors.open("Makefile")
      with_scope(function(scope)
        assert.same(failure, { scope:open(file) })
        assert.same(failure, { scope:open(file) })
        assert.same(failure, { scope:open(fd) })
      end)
      assert.is_string(file:read())
      assert.is_true(descriptors.is_open(fd)) -- it was not taken over
      descriptors.close(fd)
    end)

    it("what is not there", function()
      local near, far = descriptors.pipe()
      descriptors.close(near)
      descriptors.close(far)
      with_scope(function(scope)
        assert.same({ nil, "EBADF: bad file descriptor", "EBADF" }, { scope:open(near) })
      end)
    end)

    it("what is watched already", function()
      local file <close> = assert(io.popen(":"))
      with_scope(function(scope)
        local watched = assert(scope:open(file))
        assert.same({ nil, "EEXIST: file already exists (it is watched already)", "EEXIST" },
          { scope:open(file) })
        assert(watched:close())
        assert(scope:open(file))
      end)
    end)

    it("what is no descriptor", function()
      local closed = assert(io.popen(":"))
      closed:close()
      with_scope(function(scope)
        for _, case in ipairs {
          { nil, "file or descriptor expected, got nil" },
          { {}, "file or descriptor expected, got table" },
          { 1.5, "file or descriptor expected, got number" },
          { loop, "file or descriptor expected, got rotor.loop" },
          { -1, "not a descriptor" },
          { 1 << 31, "not a descriptor" },
          { closed, "a closed file" },
        } do
          local ok, message = pcall(scope.open, scope, case[1])
          assert.is_false(ok)
          assert.equal(case[2], message:match("%((.*)%)$"))
        end
      end)
    end)

    it("anything, without a transition to be told by", function()
      local near, far = descriptors.pipe()
      loop:add(rotor.machine "Deaf" { create = function(_, scope) scope:open(near) end })
      assert.matches("^Deaf: create: .*Deaf has no transition ready, which would be told\n",
        scene.error())
      descriptors.close(near)
      descriptors.close(far)
    end)

    it("for anything but reading and writing", function()
      local near, far = descriptors.pipe()
      with_scope(function(scope)
        local watched = assert(scope:open(near))
        for _, events in ipairs { "x", "rx", 1, {} } do
          assert.has_error(function() watched:want(events) end)
        end
        assert.has_error(function() watched:want() end)
        assert.has_error(function() watched:write() end)
        assert.has_error(function() watched.read(scope) end)
      end)
      descriptors.close(far)
    end)
  end)

  describe("ends watching", function()
    local function assert_closed(watched)
      assert.equal("rotor.io (closed)", tostring(watched))
      for _, call in ipairs { "read", "fd", "close" } do
        assert.same(ECLOSED, { watched[call](watched) })
      end
      assert.same(ECLOSED, { watched:want("r") })
      assert.same(ECLOSED, { watched:write("x") })
    end

    it("by closing the io", function()
      local near, far = descriptors.pipe()
      local file <close> = assert(io.popen(":"))
      with_scope(function(scope)
        for _, what in ipairs { near, file } do
          local watched = assert(scope:open(what))
          watched:want("r")
          assert.same({ true }, { watched:close() })
          assert_closed(watched)
        end
        assert.is_false(descriptors.is_open(near))
      end)
      assert.equal("file", io.type(file))
      descriptors.close(far)
    end)

    it("by closing the file", function()
      local kept
      local file = assert(io.popen("exit 4"))
      play {
        create = function(_, scope)
          kept = assert(scope:open(file))
          kept:want("r")
          assert.same({ nil, "exit", 4 }, { file:close() })
          assert_closed(kept)
          assert.equal("closed file", io.type(file))
          return scope:ok(0.001)
        end,
        timeout = function(_, scope) return scope:done() end,
      }
      assert_closed(kept)
    end)

    it("with the machine, in whatever way that ends", function()
      for _, how in ipairs { "done", "error", "throw", "create", "close", "loop" } do
        local near, far = descriptors.pipe()
        local file = assert(io.popen("exit 5"))
        local kept, other = {}, scene.loop()
        local handle = other:add(rotor.machine "M" {
          create = function(_, scope)
            for i, what in ipairs { near, file } do
              kept[i] = assert(scope:open(what))
              kept[i]:want("r")
            end
            if how == "create" then return scope:error(how) end
            return scope:ok(how ~= "close" and how ~= "loop" and 0 or nil)
          end,
          ready = function(_, scope) return scope:ok(0) end,
          timeout = function(_, scope)
            if how == "throw" then error(how) end
            return scope[how](scope, how)
          end,
          drop = function() assert_closed(kept[1]) end,
        })
        if how == "close" then handle:close() end
        if how == "loop" then other:close() else support.run(other) end
        for _, watched in ipairs(kept) do assert_closed(watched) end
        if how ~= "done" and how ~= "close" and how ~= "loop" then
          assert.matches(how, scene.error())
        end
        assert.is_false(descriptors.is_open(near))
        assert.is_true(descriptors.is_blocking(descriptors.fileno(file)))
        assert.same({ nil, "exit", 5 }, { file:close() })
        descriptors.close(far)
      end
    end)

    it("with its own transition, or another's", function()
      local near, far = descriptors.pipe()
      local also, beyond = descriptors.pipe()
      local told = 0
      descriptors.write(far, "x")
      descriptors.write(beyond, "x")
      play {
        create = function(self, scope)
          self.ios = { assert(scope:open(near)), assert(scope:open(also)) }
          for _, watched in ipairs(self.ios) do watched:want("r") end
          return scope:ok(0.005)
        end,
        ready = function(self, scope) -- whichever was first, the other is not told of any more
          told = told + 1
          for _, watched in ipairs(self.ios) do watched:close() end
          return scope:ok(0.005)
        end,
        timeout = function(_, scope) return scope:done() end,
      }
      assert.equal(1, told)
      descriptors.close(far)
      descriptors.close(beyond)
    end)

    it("and may watch the same file again", function()
      local file = assert(io.popen("printf abc"))
      local texts = {}
      for _ = 1, 3 do
        gather(function() return file end, function(piece, watched, scope)
          texts[#texts + 1] = piece
          watched:close()
          scope:handle():close()
        end)
      end
      assert.same({ "abc" }, texts)
      file:close()
    end)

    it("not before, however much is collected", function()
      local text = gather(function()
        return assert(io.popen("printf one; printf two"))
      end, function()
        collectgarbage()
        collectgarbage()
      end)
      assert.equal("onetwo", text)
      collectgarbage()
      collectgarbage() -- and now the file is closed: the scene counts descriptors
    end)
  end)

  it("may watch many, each on its own", function()
    local heard, all = {}, {}
    play {
      create = function(self, scope)
        self.which = {}
        for i = 1, 50 do
          local near, far = descriptors.pipe()
          local watched = assert(scope:open(near))
          watched:want("r")
          self.which[watched], all[i] = i, far
        end
        for i = 50, 1, -1 do descriptors.write(all[i], tostring(i)) end
        return scope:ok(10)
      end,
      ready = function(self, scope, watched)
        heard[self.which[watched]] = watched:read()
        watched:close()
        self.which[watched] = nil
        return next(self.which) and scope:ok(10) or scope:done()
      end,
    }
    for i = 1, 50 do
      assert.equal(tostring(i), heard[i])
      descriptors.close(all[i])
    end
  end)

  it("is named when it throws", function()
    local near, far = descriptors.pipe()
    descriptors.write(far, "x")
    play {
      create = function(_, scope)
        assert(scope:open(near)):want("r")
        return scope:ok()
      end,
      ready = function() error("kaputt") end,
    }
    assert.matches("^M: ready: .*kaputt\n", scene.error())
    descriptors.close(far)
  end)

  -- A program that watches a pipe's end and a file of Lua's; `code` is what `ready` does.
  local function program(code, after, before)
    return { support.program(([[
      %s
      local rotor = require "rotor"
      local descriptors = assert(package.loadlib("%s", "luaopen_descriptors"))()
      local near, far = descriptors.pipe()
      local file = file or io.popen("echo x; sleep 0; echo y")
      local kept = {}
      rotor.add(rotor.machine "M" {
        create = function(_, scope)
          for i, what in ipairs { near, file } do
            kept[i] = assert(scope:open(what))
            kept[i]:want("r")
          end
          descriptors.write(far, "hello")
          return scope:ok()
        end,
        ready = function(_, scope, io) %s end,
        drop = function() print(tostring(kept[1]), io.type(file)) end,
      })
      %s
      rotor.run()
    ]]):format(before or "", support.shared "descriptors", code, after or "")) }
  end

  it("may be there when the state closes, from any of its transitions", function()
    local dropped = "rotor.io (closed)\tfile\n"
    local collected = "rotor.io (closed)\tclosed file\n" -- before rotor, which was there first
    assert.same({ collected, 0 }, program("", "os.exit(0, true)"))
    assert.same({ collected, 0 }, program("rotor.stop() return scope:ok()"))
    assert.same({ "", 5 }, program("os.exit(5, true)"))
    assert.same({ "", 5 }, program("io:close() file:close() os.exit(5, true)"))
    assert.same({ "", 5 }, program("os.exit(5)"))
    assert.same({ dropped, 0 }, program("", "rotor.default():close() os.exit(0)"))
    assert.same({ dropped, 0 }, program("return scope:done()"))
    local before = "local file = io.popen('echo x; echo y')" -- and now it goes after rotor
    assert.same({ dropped, 0 }, program("", "os.exit(0, true)", before))
    assert.same({ "", 5 }, program("os.exit(5, true)", "", before))
  end)

  it("works while garbage is collected all the time", function()
    assert.same({ "rotor.io (closed)\tfile\n", 0 }, program([[
      local text, _, name = io:read(1)
      for i = 1, 2 do
        if kept[i] == io and not text and name == "EEOF" then return scope:done() end
      end
      if io == kept[1] and not text then io:close() end
      return scope:ok()
    ]], [[
      local function collect() collectgarbage() end
      debug.sethook(collect, "", 7)
      rotor.add(rotor.machine "Hook" {
        create = function(_, scope)
          debug.sethook(collect, "", 5)
          return scope:done()
        end,
      })
    ]]))
  end)
end)
