-- Usage: echo.lua PORT | ADDR:PORT
-- Sends every line back to whoever sent it.
local rotor = require "rotor"

local LONGEST_LINE, PATIENCE = 4096, 60 -- bytes, seconds

local function next_line(stream)
  return stream:expect_delimiter("\n", LONGEST_LINE, PATIENCE)
end

local Echo = rotor.protocol "Echo" {
  create = function(_, stream)
    return next_line(stream)
  end,
  bytes_read = function(_, stream, n)
    stream:write(stream:take(n + 1))
    return next_line(stream)
  end,
  -- Nothing came for a minute, or too long a line, or the peer has closed in the middle of one.
  timeout = function(_, stream)
    return stream:done()
  end,
  exception = function(_, stream)
    return stream:done()
  end,
}

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: echo.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local listener, message = rotor.listen(address, Echo)
if not listener then
  io.stderr:write("echo.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
print("listening on " .. listener:address())
io.stdout:flush()
rotor.run()
