-- Usage: build/lua bench/redis_client.lua PORT COMMANDS
-- Sends so many SET, and then GET, by rotor.redis on one connection, sixteen at a time as
-- `redis-benchmark -P 16 -c 1` does, and with its key and value. Ends with two lines: "result", the
-- command, how many of them a second.
local rotor = require "rotor"
local redis = require "rotor.redis"

local DEPTH = 16
local KEY, VALUE = "key:__rand_int__", "xxx"

local port, total = arg[1], math.tointeger(arg[2])
assert(total and total > 0, "usage: redis_client.lua PORT COMMANDS")
local client = assert(redis.connect("127.0.0.1:" .. port))

-- Call `finished` with how many commands were answered in a second.
local function measure(call, expected, finished)
  local begun, answered, due = rotor.now(), 0, 0
  local burst
  local function on_reply(reply, why)
    assert(reply == expected, why)
    answered = answered + 1
    if answered < due then return end
    if answered < total then return burst() end
    return finished(answered / (rotor.now() - begun))
  end
  function burst()
    due = math.min(answered + DEPTH, total)
    for _ = answered + 1, due do call():and_then(on_reply) end
  end
  burst()
end

local function report(name, rate) print(("result %s %.0f"):format(name, rate)) end
local function set() return client:call("SET", KEY, VALUE) end
local function get() return client:call("GET", KEY) end

rotor.on_error(function(message)
  io.stderr:write("redis_client: ", message, "\n")
  os.exit(1)
end)
client:ready():and_then(function(ready, why)
  assert(ready, why)
  measure(set, "OK", function(sets)
    report("SET", sets)
    measure(get, VALUE, function(gets)
      report("GET", gets)
      client:close()
    end)
  end)
end)
rotor.run()
