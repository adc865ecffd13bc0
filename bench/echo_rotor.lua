-- Echo as a protocol of rotor in Lua: whatever has come is written back.
local rotor = require "rotor"

local Echo = rotor.protocol "Echo" {
  create = function(_, stream) return stream:expect_bytes(1) end,
  bytes_read = function(_, stream)
    stream:write(stream:take())
    return stream:expect_bytes(1)
  end,
}

assert(rotor.listen(arg[1] or "7000", Echo))
rotor.on_signal("TERM", rotor.stop)
rotor.run()
