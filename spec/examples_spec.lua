local lfs = require "lfs"
local rotor = require "rotor"
local support = require "spec.support"

-- Each example as a process, in both languages, and a conversation with it.
describe("the example", function()
  local scene = support.scene()
  local loop, running
  before_each(function()
    scene.begin()
    loop, running = scene.loop(), {}
  end)
  after_each(function()
    for program in pairs(running) do program:stop() end
    loop = nil
    scene.finish()
  end)

  local interpreter
  do
    local i = 0
    while arg[i - 1] do i = i - 1 end
    interpreter = arg[i]
  end

  -- The command that runs an example. Those in C are not built with the sanitizers of this process.
  local function command(language, name)
    if language == "Lua" then return ("'%s' examples/%s.lua"):format(interpreter, name) end
    return "env -u LD_PRELOAD build/examples/" .. name
  end

  local Program = {}
  Program.__index = Program

  -- Ends with a minute at the latest, whatever happens to this process. Its first line is its pid.
  local function start(language, name, arguments)
    local pipe = assert(io.popen(("echo $$; exec timeout --foreground 60 %s %s 2>&1"):format(
      command(language, name), arguments)))
    local program = setmetatable({ pipe = pipe, pid = pipe:read("n", "l") }, Program)
    running[program] = true
    return program
  end

  -- The same for a server: with where it listens.
  local function serve(language, name, arguments)
    local program = start(language, name, arguments or "127.0.0.1:0")
    program.line = program.pipe:read("l")
    program.address = assert(program.line:match("listening on [a-z:/]*([%d.]+:%d+)"), program.line)
    return program
  end

  -- What else it has printed, and its status.
  function Program:stop(signal)
    running[self] = nil
    os.execute(("kill -%s %d"):format(signal or "TERM", self.pid))
    local output = self.pipe:read("a")
    return output, select(3, self.pipe:close())
  end

  -- Run it to its end: what it printed, and its status.
  local function run(language, name, arguments)
    local pipe = assert(io.popen(("timeout 60 %s %s 2>&1"):format(command(language, name),
                                                                 arguments)))
    local output = pipe:read("a")
    return output, select(3, pipe:close())
  end

  local LEAVE = {}

  -- Says each of the strings when what is before it, a pattern, has come.
  local Visitor = rotor.protocol "Visitor" {
    create = function(self, stream, visit)
      self.visit, self.step, self.heard = visit, 0, ""
      visit.handle = stream:handle()
      return self.visit.go_on(self, stream)
    end,
    bytes_read = function(self, stream)
      self.heard = self.heard .. stream:take()
      return self.visit.go_on(self, stream)
    end,
    exception = function(_, stream)
      return stream:done()
    end,
    drop = function(self)
      self.visit.heard = self.heard
      self.visit.over()
    end,
  }

  local function go_on(self, stream)
    local visit = self.visit
    while self.step < #visit do
      local wanted = visit[self.step + 1][1]
      if wanted and not self.heard:find(wanted) then return stream:expect_bytes(1) end
      self.step = self.step + 1
      local said = visit[self.step][2]
      if said == LEAVE then return stream:abort() end
      if said then stream:write(said) else stream:shutdown() end
      if visit[self.step].after then visit[self.step].after() end
    end
    return stream:expect_bytes(1)
  end

  -- Have visits to `address` until all are over: each a list of { PATTERN or nil, what then: TEXT,
  -- LEAVE, or nil: half-close }.
  local function visit(address, ...)
    local left = select("#", ...)
    local visits = { ... }
    for _, each in ipairs(visits) do
      each.go_on = go_on
      each.over = function()
        left = left - 1
        if left == 0 then loop:stop() end
      end
      if not each.later then assert(loop:connect(address, Visitor, { seed = each })) end
    end
    support.run(loop)
    return visits
  end

  for _, language in ipairs { "Lua", "C" } do
    local is_built = language == "Lua" or lfs.attributes("build/examples/echo")

    local function works(what, test)
      it(("%s in %s"):format(what, language), function()
        if not is_built then return pending("the examples in C are not built") end
        test()
      end)
    end

    -- Ended by a signal it has nothing more to say, and no error.
    local function ends_well(program, signal)
      local output, status = program:stop(signal)
      assert.same({ "", 0 }, { output, status })
    end

    works("echo sends lines back", function()
      local echo = serve(language, "echo")
      local there = visit(echo.address, { { nil, "hello\nworld\n" }, { "world\n" } })
      assert.equal("hello\nworld\n", there[1].heard)
      ends_well(echo, "INT")
    end)

    works("proxy hands on what is said, both ways, and ends", function()
      local echo = serve(language, "echo")
      local proxy = serve(language, "proxy", "127.0.0.1:0 " .. echo.address)
      local line = ("x"):rep(4000) .. "\n"
      local lines = line:rep(500) -- two MB, more than both proxy and sockets hold
      local there = visit(proxy.address, { { nil, lines }, { nil, nil } },
                          { { nil, "hello\n" }, { "hello\n" } })
      assert.equal(#lines, #there[1].heard)
      assert.equal(lines, there[1].heard)
      assert.equal("hello\n", there[2].heard)
      ends_well(echo)
      visit(proxy.address, { { nil, "nobody is there" } })
      local output, status = proxy:stop()
      assert.matches("connection refused", output)
      assert.equal(0, status)
    end)

    works("chat passes on what each says", function()
      local chat = serve(language, "chat")
      local bob
      local ann = { { "name%?\n", "Ann\n" },
        { "now Ann\n", "/who\n", after = function()
          assert(loop:connect(chat.address, Visitor, { seed = bob }))
        end },
        { "Bob: hello\n", "hi, Bob\n/quit\n" } }
      bob = { later = true, { "name%?\n", "Ann\n" }, { "no name", "Bob\n" },
              { "now Bob\n", "hello\n" }, { "Ann: hi, Bob\n.*Ann has left\n" } }
      visit(chat.address, ann, bob)
      assert.matches("Bob: hello\n", ann.heard)
      assert.matches("now Bob\nAnn: hi, Bob\nAnn has left\n", bob.heard)
      ends_well(chat)
    end)

    works("countdown counts for its visitors", function()
      local countdown = serve(language, "countdown")
      local there = visit(countdown.address, { { "^5\r?\n", LEAVE } })
      assert.matches("^5\r?\n$", there[1].heard)
      ends_well(countdown)
    end)

    works("fetch gets a page, or says why not", function()
      local hello = serve(language, "hello_http")
      local url = ("http://%s/"):format(hello.address)
      local output, status = run(language, "fetch", url .. " " .. url)
      assert.same({ "Hello, World!Hello, World!", 0 }, { output, status })
      ends_well(hello)
      output, status = run(language, "fetch", url)
      assert.matches("connection refused", output)
      assert.equal(1, status)
      assert.equal(2, select(2, run(language, "fetch", "")))
    end)

    works("telnet passes on a pipe and a file", function()
      local echo = serve(language, "echo")
      assert.same({ "a\r\nb\r\n", 0 },
                  { run(language, "telnet", echo.address .. " <<'END'\na\nb\nEND\n") })
      ends_well(echo)
    end)

    works("monitor tells what becomes of a server", function()
      local hello = serve(language, "hello_http")
      local monitor = start(language, "monitor", hello.address .. " / 0.01")
      local lines = {}
      local function wait_for(pattern)
        repeat
          lines[#lines + 1] = monitor.pipe:read("l")
        until not lines[#lines] or lines[#lines]:find(pattern)
      end
      wait_for " up"
      wait_for " 200 OK"
      wait_for " 200 OK"
      ends_well(hello)
      wait_for "connection refused"
      assert.matches("connection refused.*next try in", lines[#lines])
      monitor:stop()
    end)

    works("statsd adds up what statsd_send sends", function()
      local statsd = serve(language, "statsd")
      assert.same({ "", 0 }, { run(language, "statsd_send",
                                   statsd.address .. " 'hits:1|c' 'hits:2|c' 'heat:7|g'") })
      local output, status = statsd:stop()
      assert.equal(0, status)
      assert.matches("hits|c 3\n", output, 1, true)
      assert.matches("heat|g 7\n", output, 1, true)
    end)

    works("compose serves both, and a ticker", function()
      local compose = serve(language, "compose", "127.0.0.1:0 127.0.0.1:0")
      local page = compose.line:match("http://([%d.:]+)/")
      local there = visit(compose.address, { { nil, "hello" }, { "hello" } })
      assert.equal("hello", there[1].heard)
      there = visit(page, { { nil, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" } })
      assert.matches("%d+ ticks, 0 failures, 5 bytes echoed\n$", there[1].heard)
      local output, status = compose:stop()
      assert.same({ "ticker: gone\nsupervisor: gone\n", 0 }, { output, status })
    end)
  end

  it("swap gives the same answers in both languages", function()
    if not lfs.attributes("build/examples/swap_lines.so") then
      return pending("the examples in C are not built")
    end
    if os.getenv("LD_PRELOAD") then return pending("its module is built without sanitizers") end
    local output, status = run("Lua", "swap", "lua c 5000")
    assert.equal(0, status)
    assert.matches("lua .*c .*times lua", output)
  end)
end)
