--- Threads: a Lua state and a loop each; what crosses them, and what they share. See `types.lua`
--- for every signature.
local core = require "rotor.core"

---@class rotor.threads
local threads = {}

for name, value in pairs(core.threads) do
  threads[name] = value
end

threads.start = nil

return setmetatable(threads, { __call = core.threads.start }) -- threads(n, fn, …)
