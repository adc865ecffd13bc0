--- Threads: what crosses them, and what they share. See `types.lua` for every signature.
local core = require "rotor.core"

---@class rotor.threads
local threads = {}

for name, value in pairs(core.threads) do
  threads[name] = value
end

return threads
