-- tasks.lua LIBRARY OPERATION: what tasks cost in rotor, and coroutines under cqueues, luv, or
-- bare, in ns (parked: bytes), for bench/run. It is done often in a row, by a process that does
-- nothing else.
local library, which = arg[1], arg[2]
local SWITCHES, SPAWNS, PARKED = 2000000, 1000000, 100000

-- Each has spawn(fn), yield(), and run(), which returns when all have ended.
local libraries = {}

function libraries.rotor()
  local rotor, task = require "rotor", require "rotor.task"
  local port, future
  return {
    spawn = task.spawn, yield = task.yield, run = rotor.run,
    park = function()
      if not future then port, future = rotor.future() end
      future:await()
    end,
    unpark = function() port:set(true) end,
    channel = task.channel,
  }
end

function libraries.cqueues()
  local cqueues = require "cqueues"
  local queue, condition = cqueues.new(), require("cqueues.condition").new()
  return {
    spawn = function(fn) queue:wrap(fn) end,
    yield = function() cqueues.sleep(0) end,
    run = function() assert(queue:loop()) end,
    park = function() condition:wait() end,
    unpark = function() condition:signal() end,
  }
end

-- What somebody would write on luv: a queue of coroutines, run by an idle handle.
function libraries.luv()
  local uv = require "luv"
  local idle, ready, parked, alive = uv.new_idle(), {}, {}, 0
  local function resume(co)
    assert(coroutine.resume(co))
    if coroutine.status(co) == "dead" then alive = alive - 1 end
  end
  return {
    spawn = function(fn)
      alive = alive + 1
      ready[#ready + 1] = coroutine.create(fn)
    end,
    yield = function()
      ready[#ready + 1] = coroutine.running()
      coroutine.yield()
    end,
    park = function()
      parked[#parked + 1] = coroutine.running()
      coroutine.yield()
    end,
    unpark = function() table.move(parked, 1, #parked, #ready + 1, ready) end,
    run = function()
      idle:start(function()
        local now = ready
        ready = {}
        for _, co in ipairs(now) do resume(co) end
        if alive == 0 then idle:stop() end
      end)
      uv.run()
    end,
  }
end

-- Coroutines that are resumed by a loop in Lua, which nothing else can be in.
function libraries.bare()
  local ready, parked = {}, {}
  return {
    spawn = function(fn) ready[#ready + 1] = coroutine.create(fn) end,
    yield = coroutine.yield,
    park = function()
      parked[coroutine.running()] = true
      coroutine.yield()
    end,
    unpark = function() end,
    run = function()
      while #ready > 0 do
        local now = ready
        ready = {}
        for _, co in ipairs(now) do
          assert(coroutine.resume(co))
          if coroutine.status(co) ~= "dead" and not parked[co] then ready[#ready + 1] = co end
        end
      end
    end,
  }
end

local lib = assert(libraries[library], "no such library")()
local operations = {}

-- Two take turns; how long from the one to the other.
function operations.switch()
  for _ = 1, 2 do
    lib.spawn(function() for _ = 1, SWITCHES / 2 do lib.yield() end end)
  end
  local began = os.clock()
  lib.run()
  return (os.clock() - began) / SWITCHES * 1e9
end

-- One spawns others that do nothing, a hundred at a time.
function operations.spawn()
  local function nothing() end
  lib.spawn(function()
    for _ = 1, SPAWNS / 100 do
      for _ = 1, 100 do lib.spawn(nothing) end
      lib.yield()
    end
  end)
  local began = os.clock()
  lib.run()
  return (os.clock() - began) / SPAWNS * 1e9
end

local function resident()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s+(%d+)")
    if kib then return tonumber(kib) * 1024 end
  end
end

-- Growth of the resident set for each that waits.
function operations.parked()
  local bytes
  lib.spawn(function()
    collectgarbage()
    collectgarbage()
    local before = resident()
    for _ = 1, PARKED do lib.spawn(lib.park) end
    for _ = 1, 3 * PARKED / 256 do lib.yield() end
    collectgarbage()
    collectgarbage()
    bytes = (resident() - before) / PARKED
    lib.unpark()
  end)
  lib.run()
  return bytes
end

local function hand_over(channel)
  lib.spawn(function()
    for i = 1, SWITCHES / 2 do channel:send(i) end
    channel:close()
  end)
  lib.spawn(function() for _ in channel do end end)
  local began = os.clock()
  lib.run()
  return (os.clock() - began) / (SWITCHES / 2) * 1e9
end

if lib.channel then
  operations["channel-0"] = function() return hand_over(lib.channel(0)) end
  operations["channel-1"] = function() return hand_over(lib.channel(1)) end
  operations["channel-64"] = function() return hand_over(lib.channel(64)) end
end

local operation = assert(operations[which], "no such operation")
print(("tasks\t%s\t%s\t%.0f"):format(library, which, operation()))
