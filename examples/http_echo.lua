-- Usage: http_echo.lua PORT | ADDR:PORT
-- An HTTP server that answers any method and path with 200 and the request's own body: when it is
-- there, or, below /stream, piece by piece as it comes, of any size, and no faster than the client
-- takes it back.
local rotor = require "rotor"
local http = require "rotor.http"

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: http_echo.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local HIGH, LOW = 65536, 16384 -- bytes of output at which the body is held, and goes on

local function copy_type(req, res)
  local content_type = req.headers["content-type"]
  return content_type and res:header("Content-Type", content_type) or res
end

local Echo = http.handler "Echo" {
  headers_received = function(_, req)
    return req.path:find("^/stream") and req:progressive() or req:buffered()
  end,
  request_received = function(_, req, res)
    copy_type(req, res):send(200, req.body)
    return req:done()
  end,
  request_chunk = function(self, req, res, data)
    if not self.started then self.started = copy_type(req, res):start(200) end
    res:write(data)
    if res:unsent() < HIGH then return req:ok() end
    return req:and_flush(req:hold(), LOW)
  end,
  flushed = function(_, req) return req:ok() end,
  request_end = function(self, req, res)
    if not self.started then copy_type(req, res):start(200) end
    if req.version == "1.1" then -- there are no trailers in HTTP/1.0
      for name, value in pairs(req.trailers) do res:trailer(name, value) end
    end
    res:finish()
    return req:done()
  end,
}

local server, message = http.serve(address, Echo)
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
