-- Echo by tasks of rotor in Lua: whatever has come is written back.
local rotor = require "rotor"
local task = require "rotor.task"

local function serve(conn)
  local data = conn:read_some()
  while data do
    conn:write(data)
    data = conn:read_some()
  end
  conn:close()
end

task.spawn(function()
  local listener = assert(task.listen(arg[1] or "7000"))
  rotor.on_signal("TERM", rotor.stop)
  for conn in listener do
    task.spawn(serve, conn)
  end
end)
rotor.run()
