-- Usage: compose.lua ECHO_ADDRESS HTTP_ADDRESS
-- An echo server, an HTTP page with its numbers, and a supervisor that owns a ticker, in one loop.
-- A POST to the page makes the ticker fail; the supervisor hears of it and starts another.
local rotor = require "rotor"
local http = require "rotor.http"

local TICK = 1.0 -- seconds

local service = { echoed = 0, ticks = 0, failures = 0 }

local Echo = rotor.protocol "Echo" {
  create = function(_, stream)
    return stream:expect_bytes(1)
  end,
  bytes_read = function(_, stream)
    service.echoed = service.echoed + #stream
    stream:write(stream:take())
    return stream:expect_bytes(1)
  end,
}

local function page(req, res)
  if req.method == "POST" then
    service.ticker:wake()
    return res:send(200, "failing\n")
  end
  res:send(200, ("%d ticks, %d failures, %d bytes echoed\n"):format(
    service.ticks, service.failures, service.echoed))
end

local Ticker = rotor.machine "Ticker" {
  create = function(_, scope)
    service.ticker = scope:handle()
    return scope:ok(TICK)
  end,
  timeout = function(_, scope)
    service.ticks = service.ticks + 1
    return scope:ok(TICK)
  end,
  wakeup = function(_, scope)
    return scope:error("interrupted")
  end,
  drop = function()
    io.stderr:write("ticker: gone\n")
  end,
}

local Supervisor = rotor.machine "Supervisor" {
  create = function(_, scope)
    return scope:spawn(Ticker)
  end,
  -- Having this transition, it owns what it spawns: wherever it ends, its ticker ends before it.
  child_done = function(_, scope, _, _, message)
    io.stderr:write("ticker: ", tostring(message), "\n")
    service.failures = service.failures + 1
    return scope:spawn(Ticker)
  end,
  drop = function()
    io.stderr:write("supervisor: gone\n")
  end,
}

local function check(handle, message)
  if handle then return handle end
  io.stderr:write("compose.lua: ", message, "\n")
  os.exit(1)
end

if #arg ~= 2 then
  io.stderr:write("usage: compose.lua ECHO_ADDRESS HTTP_ADDRESS\n")
  os.exit(2)
end
local lines = check(rotor.listen(arg[1], Echo))
local pages = check(http.serve(arg[2], page))
local supervisor = check(rotor.add(Supervisor))

for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, function()
    supervisor:close()
    rotor.stop()
  end)
end
print(("listening on %s (echo) and http://%s/ (status)"):format(lines:address(), pages:address()))
io.stdout:flush()
rotor.run()
