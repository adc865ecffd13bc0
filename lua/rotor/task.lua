--- Tasks: straight-line code. `task.spawn(function() … end)`, and in there whatever waits.
local core = require "rotor.core"
local locks = require "rotor.task.locks"
local of_core = core.task

---@class rotor.task
local task = {}

task.spawn = core.spawn
task.running = of_core.running
task.is_cancellation = of_core.is_cancellation

task.sleep = of_core.sleep
task.yield = of_core.yield
task.check = of_core.check
task.signal = of_core.signal

task.scope = of_core.scope
task.deadline = of_core.deadline
task.shield = of_core.shield

task.channel = of_core.channel
task.select = of_core.select

task.connect = of_core.connect
task.listen = of_core.listen
task.udp = of_core.udp

--- Call a function in a Lua state of its own on the thread pool, while others run here.
function task.offload(fn, ...)
  local ok, begun = pcall(of_core.check) -- only a task can wait
  if ok then ok, begun = pcall(core.offload, fn, ...) end
  if not ok then error(begun, 2) end -- at the line of the program
  local future <close> = begun
  local results, message = future:await()
  if not results then error(message, 0) end
  return table.unpack(results, 1, results.n)
end

task.mutex = locks.mutex
task.rwlock = locks.rwlock
task.semaphore = locks.semaphore
task.condition = locks.condition
task.wait_group = locks.wait_group
task.once = locks.once
task.barrier = locks.barrier

--- What belongs to the task that runs. One that is spawned begins with a copy of its parent's.
task.locals = setmetatable({}, {
  __metatable = "the locals of the task that runs",
  __index = function(_, name)
    local values = of_core.locals()
    return values and values[name]
  end,
  __newindex = function(_, name, value)
    of_core.locals(true)[name] = value
  end,
})

return task
