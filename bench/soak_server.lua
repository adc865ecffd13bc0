-- Usage: soak_server.lua ADDR:PORT ROOT
-- The server of bench/soak: does all that a server can do, with the files of ROOT below /files, and
-- tells what it holds at /figures.
local rotor = require "rotor"
local http = require "rotor.http"
local websocket = require "rotor.websocket"
local allocated = require "figures".allocated

-- How many references luaL_ref() holds in the registry: its integer keys but the predefined ones,
-- less those that are free, each of which names the next.
local function references()
  local registry = debug.getregistry()
  local header = registry[0] == nil and 3 or 0
  local n = 0
  for key in pairs(registry) do
    if math.type(key) == "integer" and key > 2 and key ~= header then n = n + 1 end
  end
  local free = registry[header] or 0
  while free ~= 0 do
    n, free = n - 1, registry[free]
  end
  return n
end

-- "NAME VALUE" a line: of what may not grow at all, and then of what may grow by a little.
local function figures()
  for _ = 1, 3 do collectgarbage() end
  return ("references %d\nmachines %d\nbytes %d\nlua %d\n"):format(references(),
    rotor.default():count(), allocated(), collectgarbage "count" * 1024)
end

-- -- what there is to ask for --------------------------------------------------------------------

local BLOCK = ("0123456789abcdef"):rep(1024)
local HIGH, LOW = 65536, 16384

-- A connection that was upgraded: what comes goes back.
local Raw = rotor.protocol "Raw" {
  create = function(_, stream) return stream:expect_bytes(1, 5) end,
  bytes_read = function(_, stream)
    stream:write(stream:take())
    return stream:expect_bytes(1, 5)
  end,
}

local routes = {}

-- Answered when a deadline of the request's own has passed; or not at all, if the client leaves.
routes["/late"] = {
  request_received = function(_, req) return req:ok(0.02) end,
  timeout = function(_, req, res)
    res:send(200, "late")
    return req:done()
  end,
  hangup = function(_, req) return req:done() end,
}

-- Answered by somebody else, who may find that the request is over.
routes["/elsewhere"] = {
  request_received = function(_, req, res)
    assert(rotor.add(rotor.machine "Elsewhere" {
      create = function(_, scope) return scope:ok(0.02) end,
      timeout = function(_, scope)
        res:send(200, "elsewhere")
        return scope:done()
      end,
    }))
    return req:ok()
  end,
}

-- Four megabytes, no faster than the client takes them.
local function more(self, req, res)
  while self.left > 0 do
    if res:unsent() >= HIGH then return req:and_flush(req:ok(), LOW) end
    res:write(BLOCK)
    self.left = self.left - 1
  end
  res:finish()
  return req:done()
end

routes["/big"] = {
  request_received = function(self, req, res)
    self.left = 256
    res:start(200)
    return more(self, req, res)
  end,
  flushed = more,
}

-- A body is read no faster than it is sent back.
routes["/stream"] = {
  headers_received = function(_, req) return req:progressive(0) end,
  request_chunk = function(self, req, res, data)
    if not self.started then self.started = res:start(200) end
    res:write(data)
    return res:unsent() < HIGH and req:ok() or req:and_flush(req:hold(), LOW)
  end,
  flushed = function(_, req) return req:ok() end,
  request_end = function(self, req, res)
    if not self.started then res:start(200) end
    res:finish()
    return req:done()
  end,
}

routes["/upgrade"] = {
  request_received = function(_, req, res)
    if not res:header("Upgrade", "raw"):upgrade(Raw) then res:send(426, "upgrade") end
    return req:done()
  end,
}

-- Answered with what this server answers to its own client.
local own_url, client

routes["/proxied"] = {
  request_received = function(self, req, res)
    -- Kept, as a future that nobody has any more is canceled.
    self.reply = client:request({ url = own_url, method = "PUT", body = req.body }):map(
      function(reply) res:send(reply.status, reply.body) end)
    return req:ok()
  end,
}

-- What comes goes back.
local Socket = websocket.handler("Socket", {
  ping_interval = 2.5, pong_timeout = 2.5, close_timeout = 2.5, stall_timeout = 5,
}) {
  message = function(_, ws, data, kind)
    if kind == "text" then ws:send(data) else ws:send_binary(data) end
    return ws:expect_message()
  end,
}

routes["/socket"] = {
  request_received = function(_, req, res)
    websocket.upgrade(req, res, Socket) -- or it says what is wrong
    return req:done()
  end,
}

routes["/throws"] = {
  request_received = function() error("as it should") end,
}

routes["/figures"] = {
  request_received = function(_, req, res)
    res:send(200, figures())
    return req:done()
  end,
}

local files = assert(http.files(arg[2], { prefix = "/files", precompressed = true }))

local usual = {
  request_received = function(_, req, res)
    if req.path:find "^/files/" then
      files(req, res)
      return req:done()
    end
    res:send(200, req.body)
    return req:done()
  end,
}

-- Each transition is that of the path's.
local function route(transition)
  return function(self, req, res, ...)
    return (self.route[transition] or usual[transition])(self, req, res, ...)
  end
end

local Handler = http.handler "Soak" {
  headers_received = function(self, req)
    self.route = routes[req.path] or usual
    local receive = self.route.headers_received
    return receive and receive(self, req) or req:buffered()
  end,
  request_received = route "request_received",
  request_chunk = route "request_chunk",
  request_end = route "request_end",
  flushed = route "flushed",
  timeout = route "timeout",
  hangup = function(self, req, res)
    local hangup = self.route.hangup
    return hangup and hangup(self, req, res) or req:same()
  end,
}

-- But for what /throws says, and what clients do.
rotor.on_error(function(message)
  for _, usual_one in ipairs { "as it should", "ECONNRESET", "EPIPE" } do
    if message:find(usual_one, 1, true) then return end
  end
  io.stderr:write(message, "\n")
end)
local server = assert(http.serve(arg[1], Handler, {
  head_timeout = 5, body_timeout = 5, idle_timeout = 5, handler_timeout = 5, stall_timeout = 5,
}))
own_url = "http://" .. server:address() .. "/"
client = http.client { timeout = 5, idle_timeout = 5 }
rotor.on_signal("TERM", function() server:close { drain = 5 } end)
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
