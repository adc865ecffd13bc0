local rotor = require "rotor"
local task = require "rotor.task"
local support = require "spec.support"

describe("a process", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  -- Reads until its peer closes.
  local Reader = rotor.protocol "Reader" {
    create = function(self, stream, into)
      self.into = into
      return stream:expect_bytes(1 << 20)
    end,
    exception = function(self, stream)
      self.into.text = stream:take()
      return stream:done()
    end,
  }

  local Writer = rotor.protocol "Writer" {
    create = function(_, stream, text)
      stream:write(text)
      return stream:done()
    end,
  }

  local Later = rotor.protocol "Later" {
    create = function(self, stream, text)
      self.text = text
      return stream:sleep(0.001)
    end,
    timeout = function(self, stream)
      stream:write(self.text)
      return stream:done()
    end,
  }

  it("keeps its pipes for who connects, whatever the collector does", function()
    local loop, got = scene.loop(), {}
    loop:spawn(function()
      for i = 1, 3 do
        local where = loop:process({ "echo", i, stdout = "pipe" }).stdout
        collectgarbage()
        collectgarbage()
        local conn <close> = assert(task.connect(where))
        got[i] = conn:read_all()
      end
    end)
    loop:run()
    assert.same({ "1\n", "2\n", "3\n" }, got)
  end)

  it("does not believe what its table says of its length", function()
    local args = setmetatable({ "true" }, { __len = function() return math.maxinteger end })
    local loop = scene.loop()
    local ended
    loop:spawn(function() ended = loop:process(args):wait() end)
    loop:run()
    assert.same({ status = 0 }, ended)
  end)

  local function output_of(loop, options)
    local got = {}
    options.stdout = "pipe"
    local process = assert(loop:process(options))
    assert(loop:connect(process.stdout, Reader, { seed = got }))
    support.run(loop)
    return got.text, process.exited:get()
  end

  it("ends with a status", function()
    local loop = scene.loop()
    local process = assert(loop:process { "sh", "-c", "exit 7" })
    assert.equal("pending", process.exited:status())
    assert.equal("rotor.process: " .. process.pid, tostring(process))
    assert.matches("^process 0.1: the end of process " .. process.pid .. "; for ", loop:dump())
    support.run(loop)
    assert.same({ status = 7 }, process.exited:get())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { process:kill() })
  end)

  it("ends by a signal", function()
    local loop = scene.loop()
    for name, expected in pairs { TERM = "TERM", KILL = "KILL", USR1 = "USR1" } do
      local process = assert(loop:process { "cat", stdin = "pipe" })
      assert.is_true(process:kill(name))
      support.run(loop)
      assert.same({ signal = expected }, process.exited:get())
    end
  end)

  it("talks to protocols", function()
    local loop = scene.loop()
    local got = {}
    -- Without the runtime of a sanitizer, which would find what sort does not free.
    local process = assert(loop:process { "sort", "-n", stdin = "pipe", stdout = "pipe",
                                          env = { LD_PRELOAD = false } })
    assert.is_nil(process.stderr)
    assert.matches("^fd:%d+$", process.stdin)
    assert.equal(process.stdin, process.stdin)
    assert(loop:connect(process.stdin, Writer, { seed = "3\n1\n2\n" }))
    assert.is_nil(process.stdin)
    assert(loop:connect(process.stdout, Reader, { seed = got }))
    support.run(loop)
    assert.equal("1\n2\n3\n", got.text)
    assert.same({ status = 0 }, process.exited:get())
  end)

  it("is given arguments, a folder, and an environment", function()
    local loop = scene.loop()
    assert.equal("a b|c\n", (output_of(loop, { "sh", "-c", 'echo "$1|$2"', "sh", "a b", "c" })))
    assert.equal("12\n", (output_of(loop, { "echo", 12 })))
    assert.equal("/usr/bin\n", (output_of(loop, { "pwd", cwd = "/usr/bin" })))
    assert.equal("7 on none\n", (output_of(loop, {
      "sh", "-c", 'echo "$NUMBER $SWITCH ${HOME-none}"',
      env = { NUMBER = 7, SWITCH = "on", HOME = false },
    })))
    local path = output_of(loop, { "sh", "-c", "echo $PATH", env = {} })
    assert.equal(os.getenv "PATH" .. "\n", path)
  end)

  it("reads and writes files, or nothing", function()
    local loop = scene.loop()
    local name = os.tmpname()
    do
      local file <close> = assert(io.open(name, "w"))
      local process = assert(loop:process { "sh", "-c", "cat; echo done", stdin = "null",
                                            stdout = file })
      support.run(loop)
      assert.same({ status = 0 }, process.exited:get())
    end
    local file <close> = assert(io.open(name))
    assert.equal("done\n", (output_of(loop, { "cat", stdin = file })))
    os.remove(name)
  end)

  it("is waited for by tasks", function()
    local loop = scene.loop()
    local process = assert(loop:process { "cat", stdin = "pipe" })
    local log, late = {}, nil
    for i = 1, 2 do
      loop:spawn(function()
        table.insert(log, { i, process:wait() })
        table.insert(log, { i, process:wait() })
      end)
    end
    loop:spawn(function()
      late = { process:wait(0) }
      local key = task.select { ended = { await = process.exited }, late = { after = 10 } }
      assert.equal("ended", key)
    end)
    loop:spawn(function()
      assert(process:kill "INT")
    end)
    support.run(loop)
    local ended = { signal = "INT" }
    table.sort(log, function(a, b) return a[1] < b[1] end)
    assert.same({ { 1, ended }, { 1, ended }, { 2, ended }, { 2, ended } }, log)
    assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT" }, late)
  end)

  it("talks to tasks", function()
    local loop = scene.loop()
    local got
    loop:spawn(function()
      local process <close> = assert(loop:process { "cat", stdin = "pipe", stdout = "pipe" })
      local stdin <close> = assert(task.connect(process.stdin))
      local stdout <close> = assert(task.connect(process.stdout))
      assert(stdin:write("one\ntwo\n"))
      assert(stdin:shutdown())
      got = { stdout:read_until("\n"), stdout:read_until("\n"), process:wait().status }
    end)
    support.run(loop)
    assert.same({ "one", "two", 0 }, got)
  end)

  it("keeps its pipes while nobody has connected to them", function()
    local loop = scene.loop { capacity = 1 }
    local process = assert(loop:process { "cat", stdin = "pipe" })
    local address = process.stdin
    assert.equal("ECAPACITY", select(3, loop:connect(address, Writer, { seed = "" })))
    assert.equal(address, process.stdin)
    process:close()
    assert.is_nil(process.stdin)
    loop:run()
  end)

  it("is killed when it is closed", function()
    local loop = scene.loop()
    local exited
    do
      local process <close> = assert(loop:process { "cat", stdin = "pipe", stdout = "pipe" })
      exited = process.exited
    end
    support.run(loop)
    assert.same({ signal = "KILL" }, exited:get())
  end)

  it("goes on when nobody has it any more", function()
    local loop = scene.loop()
    local got = {}
    local process = assert(loop:process { "sh", "-c", "read x; echo $x", stdin = "pipe",
                                          stdout = "pipe" })
    assert(loop:connect(process.stdin, Later, { seed = "still there\n" }))
    assert(loop:connect(process.stdout, Reader, { seed = got }))
    process = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    support.run(loop)
    assert.equal("still there\n", got.text)
  end)

  it("is given up with its loop", function()
    local loop = scene.loop()
    local process = assert(loop:process { "cat", stdin = "pipe", stdout = "pipe" })
    loop:close()
    assert.equal("failed", process.exited:status())
    assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { process:kill() })
    process:close() -- and so it reads its end
    process:close()
  end)

  it("may not be possible", function()
    local loop = scene.loop()
    assert.same({ nil, "ENOENT: no such file or directory (no-such-program)", "ENOENT" },
                { loop:process { "no-such-program", stdin = "pipe" } })
    assert.same({ nil, "EACCES: permission denied (/)", "EACCES" }, { loop:process { "/" } })
    assert.equal("ENOENT", select(3, loop:process { "cat", cwd = "/no/such/folder" }))
    assert.equal(0, loop:count())
  end)

  it("is asked for in a sensible way", function()
    local loop = scene.loop()
    for message, options in pairs {
      ["the name of a program expected, and its arguments"] = {},
      ["an argument: a string expected, got table"] = { "cat", {} },
      ["an argument: a string without NUL expected"] = { "cat\0" },
      ["unknown option 'user'; known are: env, cwd, stdin, stdout, stderr"] = { "cat", user = 1 },
      ["option 'stdin': 'inherit', 'null', 'pipe', an open file or a descriptor expected, got tube"]
        = { "cat", stdin = "tube" },
      ["option 'stderr': .* expected, got %-1"] = { "cat", stderr = -1 },
      ["option 'env': a table expected, got string"] = { "cat", env = "PATH=x" },
      ["option 'env': a table of values by the names of variables expected"] =
        { "cat", env = { "PATH=x" } },
      ["option 'env': a string expected, got boolean"] = { "cat", env = { PATH = true } },
      ["option 'cwd': a string expected, got table"] = { "cat", cwd = {} },
    } do
      assert.error_matches(function() loop:process(options) end, message)
    end
    assert.error_matches(function() loop:process "cat" end, "table expected, got string")
    local process = assert(loop:process { "cat", stdin = "null" })
    assert.error_matches(function() process:kill "SIGTERM" end, "a signal expected, such as TERM")
    assert.error_matches(function() process:wait() end, "only a task can wait")
    support.run(loop)
  end)
end)
