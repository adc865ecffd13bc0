-- Usage: task_udp_echo.lua PORT | ADDR:PORT | unix:PATH
-- Sends every datagram back to whoever sent it, and says at the end how many that were.
local rotor = require "rotor"
local task = require "rotor.task"

local echoed, failed, socket = 0, 0, nil

local function echo()
  for data, from in socket do
    if socket:send(data, from) then
      echoed = echoed + 1
    else -- it has no address, say
      failed = failed + 1
    end
  end
end

if not arg[1] or arg[2] then
  io.stderr:write("usage: task_udp_echo.lua PORT | ADDR:PORT | unix:PATH\n")
  os.exit(2)
end
local message
socket, message = task.udp(arg[1])
if not socket then
  io.stderr:write("task_udp_echo.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, function() socket:close() end)
end
print("listening on " .. socket:address())
io.stdout:flush()
task.spawn(echo)
rotor.run() -- until the socket is closed
print(("%d echoed, %d not, %d dropped"):format(echoed, failed, socket:dropped()))
