-- threads.lua OPERATION: channels between two threads, for bench/run. `batched`: values a second,
-- of many in a row; `idle`: ns from one thread to the other, which waits: half of there and back,
-- the median (by luv's clock).
local rotor, task, threads = require "rotor", require "rotor.task", require "rotor.threads"

local MESSAGES, ROUNDS = 4000000, 20000
local operation = arg[1]

local there, back = threads.channel(1024), threads.channel(1024)

-- In the other thread: count what comes, or send it back.
local worker = threads(1, function(_, batched, incoming, outgoing)
  local inner = require "rotor.task"
  inner.spawn(function()
    local n = 0
    for message in incoming do
      n = n + 1
      if not batched then outgoing:send(message) end
    end
    outgoing:send(n)
  end)
end, operation == "batched", there, back)

local function seconds()
  local file <close> = assert(io.open("/proc/uptime"))
  return file:read("n")
end

task.spawn(function()
  if operation == "batched" then
    local began = seconds()
    for i = 1, MESSAGES do there:send(i) end
    there:close()
    assert(back:recv() == MESSAGES)
    print(("tasks\trotor\tthreads-batched\t%.0f"):format(MESSAGES / (seconds() - began)))
  else
    local now, times = require("luv").hrtime, {}
    for i = 1, ROUNDS do
      local began = now()
      there:send(i)
      back:recv()
      times[i] = now() - began
    end
    table.sort(times)
    print(("tasks\trotor\tthreads-idle\t%.0f"):format(times[ROUNDS // 2] / 2))
    there:close()
    back:recv()
  end
  worker:join()
end)
rotor.run()
