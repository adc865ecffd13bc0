-- Usage: static.lua PORT|ADDR:PORT ROOT
-- An HTTP server of the files below ROOT: conditional requests, ranges, large files by sendfile(),
-- "x.gz" in place of "x" to who accepts it. Hidden files and symbolic links are not served.
local rotor = require "rotor"
local http = require "rotor.http"

local address, root = arg[1], arg[2]
if not root or arg[3] then
  io.stderr:write("usage: static.lua PORT|ADDR:PORT ROOT\n")
  os.exit(2)
end

local function check(object, message)
  if object then return object end
  io.stderr:write("static.lua: ", message, "\n")
  os.exit(1)
end
local files = check(http.files(root, { precompressed = true }))
local server = check(http.serve(address, files))

-- The first time: end when the requests under way are answered. The second time: end now.
local drained
local function stop()
  local draining = server:close { drain = 30 }
  if draining then drained = draining else rotor.stop() end
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, stop)
end
print(root .. ": listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
local cut = drained and drained:get()
if cut and cut > 0 then io.stderr:write("requests cut off: ", cut, "\n") end
