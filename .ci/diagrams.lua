-- diagrams.lua FOLDER: run the examples that have protocols, let somebody talk to each, and leave
-- diagrams of what went on there. Run by `make diagrams`.
local rotor = require "rotor"

-- For each example its visitors, and for each of them what he does: ">text" sends it; "<text"
-- waits until it comes, and drops what comes before; "|" closes his direction; "!" leaves at once;
-- "+" lets the next one in, who otherwise comes at the same time. At the end he waits for the
-- other to close. An example that connects by itself has `arguments`, in which %s is the address of
-- `server`, another example, and is run to its end, or until it has printed `lines`.
local plays = {
  { "echo", visitors = {
    { ">hello\nworld\n", "<world\n", "|" },
    { ">half a li", "|" },
    { ">" .. ("too long "):rep(1000) },
    { ">hello\n", "<hello\n", "!" },
  } },
  { "countdown", visitors = {
    { ">What is this?", "<lift-off" },
    { "<5", "|" },
    { "<4", "!" },
  } },
  { "chat", visitors = {
    { "<name?\n", ">Ann\n", "<now Ann\n", "+", "<Bob: hello\n", ">/who\n", "<Bob\n",
      ">hello, Bob\n/quit\n" },
    { "<name?\n", ">no good name\n", "<no name", ">Bob\n", "<now Bob\n", "+", ">hello\n",
      "<hello, Bob\n", "|" },
    { "<name?\n", "!" },
  } },
}

local PATIENCE = 20 -- seconds, for each step

local folder = assert(arg[1], "usage: diagrams.lua FOLDER")
local running = {} -- programs

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local function stop_all()
  for _, program in ipairs(running) do os.execute("kill " .. program.pid .. " 2>&-") end
  for _, program in ipairs(running) do program.pipe:close() end
end

local function fail(...)
  stop_all()
  io.stderr:write("diagrams: ", table.concat({ ... }), "\n")
  os.exit(1)
end

-- The first line is the number of its process, which lasts for a minute at most, come what may.
local function start(example, arguments)
  local pipe = assert(io.popen(
    ("echo $$; ROTOR_TRACE='%s' exec timeout --foreground 60 '%s' examples/%s.lua %s"):format(
      folder, arg[-1], example, arguments)))
  local program = { name = example, pipe = pipe, pid = pipe:read("n", "l") }
  running[#running + 1] = program
  return program
end

local function read_address(program)
  for line in program.pipe:lines() do
    local address = line:match("^listening on [%a:]*/*([^/]+)")
    if address then return address end
  end
  fail(program.name, " does not listen")
end

local function go_on(self, stream)
  while true do
    self.step = self.step + 1
    local act, text = (self.steps[self.step] or ""):match("^(.?)(.*)$")
    if act == ">" then
      stream:write(text)
    elseif act == "<" then
      return stream:expect_delimiter(text, 1 << 20, PATIENCE)
    elseif act == "|" then
      stream:shutdown()
    elseif act == "+" then
      self.let_in()
    elseif act == "!" then
      return stream:abort()
    else
      return stream:expect_bytes(1 << 20, PATIENCE)
    end
  end
end

local function give_up(self, _, code)
  if self.steps[self.step] then
    fail(self.name, ": ", self.steps[self.step], ": ", code or "it does not come")
  end
end

local Visitor = rotor.protocol "Visitor" {
  create = function(self, stream, visit)
    self.name, self.steps, self.step, self.let_in = visit.name, visit.steps, 0, visit.let_in
    return go_on(self, stream)
  end,
  bytes_read = function(self, stream, n)
    stream:consume(n + #self.steps[self.step] - 1)
    return go_on(self, stream)
  end,
  timeout = function(self)
    fail(self.name, ": ", self.steps[self.step] or "the end", " does not come")
  end,
  exception = function(self, stream, code)
    give_up(self, stream, code)
    return stream:done()
  end,
  fatal = give_up,
}

local function let_in(address, name, visitors, i)
  local steps = visitors[i]
  if not steps then return end
  local function next_one() let_in(address, name, visitors, i + 1) end
  assert(rotor.connect(address, Visitor, {
    seed = { name = name, steps = steps, let_in = next_one },
  }))
  if not table.concat(steps, "\0"):find("%z%+") then next_one() end
end

rotor.on_error(fail)
for _, play in ipairs(plays) do
  local name = play[1]
  if not exists("examples/" .. name .. ".lua") then
    goto continue
  elseif play.arguments then
    local address = play.server and read_address(start(play.server, "127.0.0.1:0"))
    local program = start(name, play.arguments:format(address))
    for _ = 1, play.lines or math.huge do
      if not program.pipe:read() then break end
    end
  else
    let_in(read_address(start(name, "127.0.0.1:0")), name, play.visitors, 1)
  end
  ::continue::
end
rotor.run()
stop_all()
