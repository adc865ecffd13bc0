-- Usage: http_threads.lua PORT | ADDR:PORT [THREADS]
-- An HTTP server on several threads, which share the port and what they count. When it is to end,
-- it answers the requests under way first; told so a second time, it ends at once.
local rotor = require "rotor"
local threads = require "rotor.threads"

local address, n = arg[1], math.tointeger(tonumber(arg[2] or 4))
if not address or not n or arg[3] then
  io.stderr:write("usage: http_threads.lua PORT | ADDR:PORT [THREADS]\n")
  os.exit(2)
end

-- Runs in each thread, which has a Lua state of its own, with copies of the arguments. The counter
-- and the channel are the same ones for all.
local function serve(i, where, visitors, report)
  local http = require "rotor.http"
  local server, message = http.serve(where, function(_, res)
    res:send(200, ("Hello from thread %d, visitor %d.\n"):format(i, visitors:add()))
  end)
  report:send { address = server and server:address(), error = message }
end

local report = threads.channel()
local crew = assert(threads(n, serve, address, threads.counter(), report))
for i = 1, n do
  local told = report:recv(10)
  if not told or told.error then
    local message = told and told.error or "a thread does not begin" -- the exit tells if it died
    io.stderr:write("http_threads.lua: ", message, "\n")
    os.exit(1, true)
  end
  if i == n then print("listening on http://" .. told.address .. "/") end
end
io.stdout:flush()

local patience = 30
rotor.on_signal("INT", function() -- as join() does on SIGTERM
  crew:stop(patience)
  patience = 0
end)
local _, errors = assert(crew:join())
for i in pairs(errors or {}) do io.stderr:write("thread ", i, " has died\n") end
os.exit(not errors, true)
