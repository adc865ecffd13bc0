-- soak_tasks.lua [SECONDS [TASKS]]: TASKS (64) do at random whatever tasks can do, alone and with
-- threads, servers and the thread pool, for SECONDS (600); another cancels them at random, and
-- every wait may be cut off. After a tenth of the time, and at the end, all is quiet for a moment:
-- then the same must be there, and no message be missing. Prints what there is; exits 1 if not.
local rotor, task = require "rotor", require "rotor.task"
local threads, http = require "rotor.threads", require "rotor.http"
local core = require "rotor.core"
local support = require "spec.support"

local SECONDS, TASKS = tonumber(arg[1]) or 600, tonumber(arg[2]) or 64
local WORKERS = 2
local random = support.random(os.time())

local counts = setmetatable({}, { __index = function() return 0 end })
local function count(what) counts[what] = counts[what] + 1 end

-- -- what there is to wait for --------------------------------------------------------------------

local channels = { task.channel(0), task.channel(1), task.channel(16) }
local mutex, rwlock, semaphore = task.mutex(), task.rwlock(), task.semaphore(3)

-- Threads that send back what they are sent.
local outward, homeward = threads.channel(64), threads.channel(64)
local crew = threads(WORKERS, function(_, incoming, outgoing)
  local inner = require "rotor.task"
  inner.spawn(function()
    for message in incoming do outgoing:send(message) end
  end)
end, outward, homeward)

local listener = assert(task.listen("127.0.0.1:0"))
local server = assert(http.serve("127.0.0.1:0", function(_, res)
  task.sleep(random(10) / 1000)
  res:send(200, "late")
end))
local url = "http://" .. server:address() .. "/"
local client = http.client { idle_timeout = 0.2 }

-- -- what they do ---------------------------------------------------------------------------------

local function short() return random(20) / 1000 end

local scenes = {}

function scenes.sleep() task.sleep(short()) end

function scenes.scope()
  local failing = random(3) == 1
  local ok, value = pcall(task.scope, function(scope)
    for i = 1, random(5) do
      scope:spawn(function()
        task.sleep(short())
        if failing and i == 1 then error({ "on purpose" }) end
      end)
    end
  end)
  if not ok and (task.is_cancellation(value) or type(value) ~= "table") then error(value, 0) end
end

function scenes.channel()
  local channel = channels[random(#channels)]
  if random(2) == 1 then
    if channel:send(random(1000), short()) then count "values sent" end
  elseif channel:recv(short()) then
    count "values received"
  end
end

function scenes.select()
  local key = task.select {
    got = { recv = channels[random(#channels)] },
    sent = { send = channels[random(#channels)], value = 1 },
    late = { after = short() },
  }
  if key == "sent" then count "values sent" elseif key == "got" then count "values received" end
end

function scenes.locks()
  local which = random(4)
  if which == 1 then
    local _ <close> = mutex:lock(short())
    task.sleep(short() / 10)
  elseif which == 2 then
    local _ <close> = rwlock:read(short())
    task.sleep(short() / 10)
  elseif which == 3 then
    local _ <close> = rwlock:write(short())
    task.sleep(short() / 10)
  else
    local _ <close> = semaphore:acquire(short())
    task.sleep(short() / 10)
  end
end

function scenes.threads()
  local text = ("x"):rep(random(100))
  local port, future = rotor.future()
  local message = { text = text, buf = rotor.buf(text), future = future }
  if outward:send(message, short()) then
    count "messages sent"
    port:set { #text }
  else
    assert(message.buf:take() == text and future:status() == "pending")
  end
end

function scenes.connect()
  local conn <close> = assert(task.connect(listener:address()))
  conn:write("hello ", random(1000), "\n")
  if random(3) > 1 then assert(conn:read_until("\n"):find("^hello ")) end
end

function scenes.http()
  local reply = client:get(url):await(random(2) == 1 and short() or nil)
  assert(not reply or reply.body == "late")
end

function scenes.offload()
  assert(task.offload(function(n) return n * 2 end, 21) == 42)
end

function scenes.future()
  local port, future = rotor.future()
  task.spawn(function()
    task.sleep(short())
    port:set(true)
  end)
  future:await(short())
end

function scenes.shield()
  task.shield(1, task.sleep, short())
end

local names = {}
for name in pairs(scenes) do names[#names + 1] = name end
table.sort(names)

-- -- who does it ----------------------------------------------------------------------------------

local quiet, ended, busy, actors = false, false, 0, {}

local function act()
  while not ended do
    while quiet do task.sleep(0.005) end
    local name = names[random(#names)]
    busy = busy + 1
    do
      local _ <close> = setmetatable({}, { __close = function() busy = busy - 1 end })
      if random(4) == 1 then
        task.deadline(short(), scenes[name])
      else
        scenes[name]()
      end
    end
    count(name)
  end
end

local function supervise(i)
  while not ended do
    actors[i] = task.spawn(act)
    local _, text, name = actors[i]:join()
    if name == "ECANCELED" then count "canceled" elseif name then error(text, 0) end
  end
end

local function disturb()
  while not ended do
    task.sleep(short() / 4)
    if not quiet then actors[random(#actors)]:cancel() end
  end
end

local function serve()
  for conn in listener do
    task.spawn(function()
      local _ <close> = conn
      local line = conn:read_until("\n", 1000, 5)
      if line then conn:write(line, "\n") end
    end)
  end
end

local function count_messages()
  for message in homeward do
    assert(message.buf:take() == message.text)
    assert(assert(message.future:await())[1] == #message.text)
    count "messages received"
  end
end

-- -- looking --------------------------------------------------------------------------------------

local function look()
  quiet = true
  while busy > 0 do task.sleep(0.01) end
  for _, channel in ipairs(channels) do
    while channel:try_recv() do count "values received" end
  end
  while counts["messages received"] < counts["messages sent"] do task.sleep(0.01) end
  task.sleep(1) -- for what ends by itself, such as connections
  collectgarbage()
  collectgarbage()
  local _, open = support.descriptors():gsub("\n", "")
  local seen = { machines = rotor.count(), references = support.references(), descriptors = open }
  seen.bytes = collectgarbage("count") * 1024
  seen.spare = core.task.spare()
  quiet = false
  return seen
end

local function show(seen)
  local form = "%d machines, %d references, %d spare threads, %d descriptors, %.0f bytes of Lua's"
  print(form:format(seen.machines, seen.references, seen.spare, seen.descriptors, seen.bytes))
end

local function is_same(a, b)
  return a.machines == b.machines and a.references == b.references and
    a.descriptors == b.descriptors and math.abs(a.bytes - b.bytes) < 32768 and
    counts["values sent"] == counts["values received"] and
    counts["messages sent"] == counts["messages received"]
end

rotor.on_error(function(message)
  io.stderr:write(message, "\n")
  os.exit(1)
end)

task.spawn(function()
  task.spawn(serve)
  task.spawn(count_messages)
  for i = 1, TASKS do task.spawn(supervise, i) end
  task.spawn(disturb)
  task.sleep(SECONDS / 10)
  local first = look()
  show(first)
  task.sleep(SECONDS * 9 / 10)
  local last = look()
  show(last)
  local same = is_same(first, last) -- before the tasks go on
  for _, name in ipairs { "values sent", "values received", "messages sent", "messages received",
                          "canceled", table.unpack(names) } do
    print(("%12d %s"):format(counts[name], name))
  end
  ended = true
  outward:close()
  crew:join()
  print(same and "the same" or "NOT the same")
  os.exit(same and 0 or 1)
end)
rotor.run()
