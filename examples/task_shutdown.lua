-- Usage: task_shutdown.lua PORT | ADDR:PORT | unix:PATH [SECONDS]
-- Sends lines back in capitals. When it is to end (SIGINT, SIGTERM) it accepts nobody any more,
-- says goodbye and closes its direction; whoever has not closed the other in 10 SECONDS is cut off.
local rotor = require "rotor"
local task = require "rotor.task"

local LONGEST_LINE, PATIENCE = 4096, 60 -- bytes, seconds

local function drop_what_comes(conn)
  repeat
    local data = conn:read_some()
  until not data
end

local function serve(accepted, ending)
  local conn <close> = accepted
  while task.select { said = { readable = conn }, ended = { recv = ending },
                      idle = { after = PATIENCE } } == "said" do
    local line = conn:read_until("\n", LONGEST_LINE, PATIENCE)
    if not line then return end
    conn:write(line:upper(), "\n")
  end
  conn:write("Goodbye.\n")
  conn:shutdown()
  drop_what_comes(conn) -- or the last line might be taken from the peer by a reset
end

-- Until the listener is closed, and all who were served are gone. How many were cut off.
local function run(listener, patience)
  local ending, open = task.channel(), task.wait_group()
  local cut_off = 0
  task.scope(function(scope)
    for conn in listener do
      open:add()
      scope:spawn(function()
        serve(conn, ending)
        open:done()
      end)
    end
    ending:close() -- which all of them hear
    if not open:wait(patience) then
      cut_off = #scope
      scope:cancel()
    end
  end)
  return cut_off
end

local address, patience = arg[1], tonumber(arg[2] or 10)
if not address or not patience or arg[3] then
  io.stderr:write("usage: task_shutdown.lua PORT | ADDR:PORT | unix:PATH [SECONDS]\n")
  os.exit(2)
end
local listener, message = task.listen(address)
if not listener then
  io.stderr:write("task_shutdown.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, function() listener:close() end)
end
print("listening on " .. listener:address())
io.stdout:flush()
task.spawn(function()
  print(("cut off: %d"):format(run(listener, patience)))
end)
rotor.run()
