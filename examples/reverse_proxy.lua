-- Usage: reverse_proxy.lua PORT | ADDR:PORT UPSTREAM...
-- Passes HTTP requests on to the servers UPSTREAM (HOST:PORT), to each in its turn, by connections
-- that are kept; bodies go both ways as they come, and who sends is slowed down by who reads.
local rotor = require "rotor"
local http = require "rotor.http"

local HIGH, LOW = 65536, 16384 -- unsent bytes at which a sender is held, and goes on

local address, upstreams, turn = arg[1], { table.unpack(arg, 2) }, 0
if not upstreams[1] then
  io.stderr:write("usage: reverse_proxy.lua PORT | ADDR:PORT UPSTREAM...\n")
  os.exit(2)
end
local client = http.client()

-- Fields of one connection only (RFC 9110 section 7.6.1), those that are made anew, and names that
-- some take for others.
local kept_back = {}
for name in ([[connection keep-alive proxy-connection te trailer transfer-encoding upgrade
    content-length host expect x-forwarded-for x-forwarded-host]]):gmatch "%S+" do
  kept_back[name] = true
end

local function passed_on(headers)
  local listed, passed = {}, {}
  for name in (headers.connection or ""):lower():gmatch "[^%s,]+" do listed[name] = true end
  for name, value in pairs(headers) do
    local lower = name:lower()
    if not kept_back[lower] and not listed[lower] and not lower:find "_" then
      passed[#passed + 1] = { name, value }
    end
  end
  passed[#passed + 1] = { "Via", "1.1 rotor" }
  return passed
end

-- What the upstream says. The seed is the handler's self.
local Upstream = http.requester "Upstream" {
  headers_received = function(_, call)
    local x = call.seed
    for _, field in ipairs(passed_on(call.headers)) do x.res:header(field[1], field[2]) end
    local length = call.headers["content-length"]
    if length and call.status ~= 204 then x.res:header("Content-Length", length) end
    x.started = x.res:start(call.status)
    x.req:handle():wake() -- to say anew what it waits for
    return x.started and call:progressive() or call:done()
  end,
  response_chunk = function(_, call, data)
    local x = call.seed
    if not x.res:write(data) then return call:done() end -- the client has left
    x.req:handle():wake()
    return x.res:unsent() > HIGH and call:hold() or call:ok()
  end,
  response_end = function(_, call)
    local x = call.seed
    if not call.length and x.version == "1.1" then
      for name, value in pairs(call.trailers) do x.res:trailer(name, value) end
    end
    x.res:finish()
    return call:done()
  end,
  body_wanted = function(_, call)
    call.seed.call = call
    call.seed.req:handle():wake()
    return call:same()
  end,
  wakeup = function(_, call) return call:ok() end,
  failed = function(_, call, name, message)
    local x = call.seed
    io.stderr:write("reverse_proxy.lua: ", call.url, ": ", message, "\n")
    x.failed = true -- what was begun is cut off
    if not x.started then x.res:send(name == "ETIMEDOUT" and 504 or 502, "no answer\n") end
    x.req:handle():wake()
  end,
}

-- What a request waits for, as things are.
local function wait_on(self, req, res)
  if self.failed then return req:done() end
  local answer = self.call and self.call:unsent() > LOW and req:hold() or req:ok()
  if res:unsent() > LOW then return req:and_flush(answer, LOW) end
  if self.started then self.handle:wake() end -- it may have been held
  return answer
end

local Proxy = http.handler "Proxy" {
  headers_received = function(self, req, res)
    if req.method == "CONNECT" then
      res:send(405, "not passed on\n")
      return req:done()
    end
    self.req, self.res, self.version = req, res, req.version
    local headers = passed_on(req.headers)
    headers["X-Forwarded-For"] = (req.remote or ""):gsub(":%d*$", "")
    headers["X-Forwarded-Host"] = req.host
    if req.has_body then headers["Content-Length"] = req.length end
    turn = turn % #upstreams + 1
    local path = req.path .. (req.query and "?" .. req.query or "")
    local handle, message = client:request(Upstream, {
      url = "http://" .. upstreams[turn] .. path, method = req.method, headers = headers,
      streamed = req.has_body, redirects = 0, seed = self,
      timeout = math.huge, -- the request has a deadline
    })
    if not handle then
      res:send(502, message .. "\n")
      return req:done()
    end
    self.handle = handle
    return req:hold() -- the body waits until it is wanted
  end,
  request_chunk = function(self, req, res, data)
    self.call:write(data)
    return wait_on(self, req, res)
  end,
  request_end = function(self, req, res)
    if self.call then self.call:finish() end
    return wait_on(self, req, res)
  end,
  flushed = wait_on,
  wakeup = wait_on,
  timeout = function(self, req, res)
    if not self.started then res:send(504, "no answer in time\n") end
    return req:done()
  end,
  hangup = function(_, req) return req:done() end, -- the client has left
  request_over = function(self)
    if self.handle then self.handle:close() end
  end,
}

local server, message = http.serve(address, Proxy)
if not server then
  io.stderr:write("reverse_proxy.lua: ", message, "\n")
  os.exit(1)
end

-- The first time: end when the requests under way are answered. The second time: end now.
local function stop()
  if not server:close { drain = 30 } then rotor.stop() end
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, stop)
end
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
