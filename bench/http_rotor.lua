-- Usage: build/lua bench/http_rotor.lua PORT ROOT
-- The answers that the loads of bench/run ask for: /, /1k, /64k, POST /echo, and below /files/ what
-- is in the folder ROOT.
local rotor = require "rotor"
local http = require "rotor.http"

local letters = ("abcdefghijklmnopqrstuvwxyz"):rep(65536 // 26 + 1)
local bodies = {
  ["/"] = "Hello, World!",
  ["/1k"] = letters:sub(1, 1024),
  ["/64k"] = letters:sub(1, 65536),
}

local files = assert(http.files(arg[2] or ".", { prefix = "/files" }))

assert(http.serve(arg[1] or "8080", function(req, res)
  local path = req.path
  local body = bodies[path]
  if body then
    res:header("Content-Type", "text/plain")
    res:send(200, body)
  elseif path == "/echo" and req.method == "POST" then
    res:header("Content-Type", "text/plain")
    res:send(200, req.body)
  else
    return files(req, res)
  end
end))
rotor.on_signal("TERM", rotor.stop)
rotor.run()
