-- diagrams.lua FOLDER: run the examples that have protocols, let somebody talk to each, and leave
-- diagrams of what went on in FOLDER/EXAMPLE/PROTOCOL.dot. Run by `make diagrams`.
local rotor = require "rotor"

-- Who plays with each example: `visitors` connect to it, and it connects to `hosts`, whose address
-- is %s in its arguments. Each of them has a list of what he does: ">text" sends it; "<text" waits
-- until it comes, and drops what came before; "|" closes his direction; "." leaves when all is
-- sent, "!" at once; "+" lets the next visitor in, who otherwise comes at the same time. At the end
-- of his list he waits for the other to close. An example that `ends` by itself is waited for.
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
  { "proxy", "127.0.0.1:0 %s", visitors = {
    { ">question\n", "<answer\n", "|" },
    { ">question\n", "<answer\n", "!" },
  }, hosts = {
    { "<question\n", ">answer\n" },
    { "<question\n", ">answer\n" },
  } },
  { "compose", "127.0.0.1:0 127.0.0.1:0", visitors = { { ">hello", "<hello", "|" } } },
  { "fetch", "http://%s/1 http://%s/2 http://%s/3 http://%s/4", ends = true, hosts = {
    { "<\r\n\r\n", ">HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" },
    { "<\r\n\r\n", ">HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      ">5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" },
    { "<\r\n\r\n", ">HTTP/1.1 200 OK\r\n\r\nall there is", "." },
    { "<\r\n\r\n", ">HTTP/1.1 404 Not Found\r\n\r\n", "." },
  } },
  { "monitor", "%s / 0.02", hosts = {
    { "<\r\n\r\n", ">HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "<\r\n\r\n", ">HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      ">5\r\nhello\r\n0\r\n\r\n", "<\r\n\r\n", ">nonsense\r\n\r\n" },
    { "<\r\n\r\n", ">HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "<\r\n\r\n", "!" },
  } },
  { "telnet", "%s", ends = true, input = "guest\nlogout\n", hosts = {
    { ">\255\253\1login: ", "<guest\r\n", ">welcome\r\n", "<logout\r\n", ">bye\r\n" },
  } },
}

local PATIENCE = 30 -- seconds, for all of it

local folder = assert(arg[1], "usage: diagrams.lua FOLDER")
local programs = {} -- the examples' processes
local busy = {} -- what is waited for, by the lists of those who wait

local function finish(kill)
  for _, program in ipairs(programs) do
    if kill or not program.ends then os.execute("kill " .. program.pid .. " 2>&-") end
  end
  for _, program in ipairs(programs) do
    program.pipe:read("a")
    program.pipe:close()
  end
end

local function fail(...)
  finish(true)
  io.stderr:write("diagrams: ", table.concat({ ... }), "\n")
  os.exit(1)
end

-- Its first line is the number of its process, which lasts for a minute at most, come what may. An
-- example that leaves signals to the system would end without a diagram.
local function start(play, arguments)
  local own = ("%s/%s"):format(folder, play[1])
  local pipe = assert(io.popen(([[
    mkdir -p '%s'
    export ROTOR_TRACE='%s'
    exec 2>'%s/log'
    echo $$
    exec timeout --foreground 60 '%s' -e '%s' examples/%s.lua %s <<'END'
%sEND
]]):format(own, own, own, arg[-1], 'local r = require "rotor" r.on_signal("TERM", r.stop)',
           play[1], arguments, play.input or "")))
  programs[#programs + 1] = { pipe = pipe, pid = pipe:read("n", "l"), ends = play.ends }
  return pipe
end

local function go_on(self, stream)
  while true do
    self.step = self.step + 1
    local step = self.steps[self.step] or "the end"
    local act, text = step:match("^(.)(.*)$")
    busy[self.steps] = ("%s: %q"):format(self.name, step)
    if act == ">" then
      stream:write(text)
    elseif act == "<" then
      return stream:expect_delimiter(text, 1 << 20)
    elseif act == "|" then
      stream:shutdown()
    elseif act == "+" then
      self.let_in()
    elseif act == "." then
      return stream:done()
    elseif act == "!" then
      return stream:abort()
    else
      return stream:expect_bytes(1 << 20)
    end
  end
end

local Player = rotor.protocol "Player" {
  create = function(self, stream, part)
    self.name, self.let_in, self.step = part.name, part.let_in, 0
    self.steps = part.steps or part.take_steps()
    return go_on(self, stream)
  end,
  bytes_read = function(self, stream, n)
    stream:consume(n + #self.steps[self.step] - 1)
    return go_on(self, stream)
  end,
  fatal = function() end,
  drop = function(self)
    if (self.steps[self.step] or "."):find("^<") then fail("in vain: ", busy[self.steps]) end
    busy[self.steps] = nil
    if not next(busy) then rotor.stop() end
  end,
}

local function let_in(address, name, visitors, i)
  local steps = visitors[i]
  if not steps then return end
  local function next_one() let_in(address, name, visitors, i + 1) end
  assert(rotor.connect(address, Player, {
    seed = { name = name, steps = steps, let_in = next_one },
  }))
  if not table.concat(steps, "\0"):find("%z%+") then next_one() end
end

-- The address where the hosts are, who come in their order, and each once.
local function open(name, hosts)
  local listener, n = nil, 0
  listener = assert(rotor.listen("127.0.0.1:0", Player, { seed = {
    name = name,
    take_steps = function()
      n = n + 1
      if n == #hosts then listener:close() end
      return hosts[n]
    end,
  } }))
  return listener:address()
end

for _, play in ipairs(plays) do
  local name, arguments, hosts, visitors = play[1], play[2], play.hosts or {}, play.visitors or {}
  for _, list in ipairs { hosts, visitors } do
    for _, steps in ipairs(list) do busy[steps] = name .. ": a connection" end
  end
  local host = hosts[1] and open(name, hosts) or ""
  local pipe = start(play, (arguments or "127.0.0.1:0"):gsub("%%s", host))
  if visitors[1] then
    local line = pipe:read() or ""
    local address = line:match("^listening on ([%d.:]+)") or fail(name, " does not listen: ", line)
    let_in(address, name, visitors, 1)
  end
end

rotor.on_error(fail)
assert(rotor.add(rotor.machine "Watchdog" {
  create = function(_, scope) return scope:ok(PATIENCE) end,
  timeout = function()
    local waiting = {}
    for _, what in pairs(busy) do waiting[#waiting + 1] = what end
    fail("in vain: ", table.concat(waiting, "; "))
  end,
}))
rotor.run()
finish()
