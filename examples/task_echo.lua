-- Usage: task_echo.lua PORT | ADDR:PORT | unix:PATH
-- Sends back whatever comes, over TCP or a Unix socket: one task for each connection.
local rotor = require "rotor"
local task = require "rotor.task"

local PATIENCE = 60 -- seconds until one that says nothing is closed

local function serve(accepted)
  local conn <close> = accepted
  repeat
    local data = conn:read_some(nil, PATIENCE)
  until not data or not conn:write(data) -- which waits for those who are slow to take it back
end

local function listen(address)
  local listener, message = task.listen(address)
  if not listener then
    io.stderr:write("task_echo.lua: ", message, "\n")
    os.exit(1)
  end
  print("listening on " .. listener:address())
  io.stdout:flush()
  for conn in listener do
    task.spawn(serve, conn)
  end
end

if not arg[1] or arg[2] then
  io.stderr:write("usage: task_echo.lua PORT | ADDR:PORT | unix:PATH\n")
  os.exit(2)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
task.spawn(listen, arg[1])
rotor.run()
os.exit(0, true) -- by which the file of a Unix socket is removed
