-- Usage: http_echo.lua PORT | ADDR:PORT
-- An HTTP server that answers any method and path with 200 and the request's own body.
local rotor = require "rotor"
local http = require "rotor.http"

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: http_echo.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local server, message = http.serve(address, function(req, res)
  local content_type = req.headers["content-type"]
  if content_type then res:header("Content-Type", content_type) end
  res:send(200, req.body)
end)
if not server then
  io.stderr:write("http_echo.lua: ", message, "\n")
  os.exit(1)
end

-- The first time: end when the requests under way are answered. The second time: end now.
local drained
local function stop()
  local draining = server:close { drain = 30 }
  if draining then drained = draining else rotor.stop() end
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, stop)
end
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
local cut = drained and drained:get()
if cut and cut > 0 then io.stderr:write("requests cut off: ", cut, "\n") end
