-- Usage: redis_client.lua PORT DEPTH COMMANDS
-- Sends SET and then GET through rotor.redis, DEPTH of them in flight on one connection, and prints
-- a line "result NAME COMMANDS MICROSECONDS" for each.
local redis = require "rotor.redis"
local rotor = require "rotor"

local client = assert(redis.connect("127.0.0.1:" .. arg[1]))
local depth, total = tonumber(arg[2]), tonumber(arg[3])

local function measure(name, ask, wanted, next_one)
  local left, pending = total, 0
  local began = rotor.now()
  local burst
  local function answered(reply)
    assert(reply == wanted, reply)
    left, pending = left - 1, pending - 1
    if pending > 0 then return end
    if left > 0 then return burst() end
    print(("result %s %d %.0f"):format(name, total, (rotor.now() - began) * 1e6))
    next_one()
  end
  function burst()
    for _ = 1, math.min(depth, left) do
      pending = pending + 1
      ask():map(answered)
    end
  end
  burst()
end

client:ready():map(function()
  local function set() return client:set("key:bench", "xxx") end
  local function get() return client:get("key:bench") end
  measure("SET", set, "OK", function()
    measure("GET", get, "xxx", function() client:close() end)
  end)
end)
rotor.run()
