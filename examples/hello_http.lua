-- Usage: hello_http.lua PORT | ADDR:PORT
-- An HTTP server that answers every request with "Hello, World!".
local rotor = require "rotor"
local http = require "rotor.http"

local address = arg[1]
if not address then
  io.stderr:write("usage: hello_http.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local server = assert(http.serve(address, function(_, res)
  res:send(200, "Hello, World!")
end))

for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
