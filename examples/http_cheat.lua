-- Usage: http_cheat.lua PORT | ADDR:PORT [THREADS]
-- An HTTP server that cheats: it does not look at what it reads, but sends the same answer for
-- whatever comes at once. It costs what reading and writing cost, which shows what there is to be
-- gained by a faster one. (Two requests in one packet find it out.)
local threads = require "rotor.threads"

local address, n = arg[1], math.tointeger(tonumber(arg[2] or 4))
if not address or not n or arg[3] then
  io.stderr:write("usage: http_cheat.lua PORT | ADDR:PORT [THREADS]\n")
  os.exit(2)
end

local BODY = "Hello, World!"
local ANSWER = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#BODY, BODY)

local report = threads.channel()
local crew = assert(threads(n, function(_, where, answer, tell)
  local rotor = require "rotor"
  local IDLE = 60 -- seconds
  local Cheat = rotor.protocol "Cheat" {
    create = function(_, stream) return stream:expect_bytes(1, IDLE) end,
    bytes_read = function(_, stream)
      stream:take()
      stream:write(answer)
      return stream:expect_bytes(1, IDLE)
    end,
    timeout = function(_, stream) return stream:done() end,
    exception = function(_, stream) return stream:done() end,
  }
  local listener, message = rotor.listen(where, Cheat)
  tell:send { address = listener and listener:address(), error = message }
end, address, ANSWER, report))

for i = 1, n do
  local told = report:recv()
  if told.error then
    io.stderr:write("http_cheat.lua: ", told.error, "\n")
    os.exit(1, true)
  end
  if i == n then print("listening on http://" .. told.address .. "/") end
end
io.stdout:flush()
require "rotor".on_signal("INT", function() crew:stop(0) end)
crew:join { drain = 1 } -- what SIGTERM ends is not waited for longer
