-- Usage: monitor.lua ADDRESS [PATH [SECONDS]]
-- Asks an HTTP server over one connection, made again when lost; prints status, latency, up, down.
local rotor = require "rotor"

local WAIT, LONGEST_HEAD, LARGEST = 10, 65536, 64 << 20 -- seconds, bytes, bytes

local address, path, interval = arg[1], arg[2] or "/", tonumber(arg[3] or 5)
if not address or arg[4] or not path:find "^/[\x21-\x7e]*$"
  or not interval or interval <= 0 or interval >= 86400 then
  io.stderr:write("usage: monitor.lua ADDRESS [PATH [SECONDS]]\n")
  os.exit(2)
end
local host = address:find "^[^:]+:%d" and address or "localhost"
local asked, due, trouble = 0, 0, nil

local function say(...)
  print(os.date "%H:%M:%S " .. string.format(...))
  io.stdout:flush()
end

local function patience(stream)
  return math.max(0, asked + WAIT - stream:now())
end

-- In no state: only the end of the connection is expected, until it is time to ask.
local function rest(stream)
  return stream:become():expect_bytes(1, math.max(0, due - stream:now()))
end

local function answered(self, stream, n)
  stream:consume(n)
  say("%s, %.0f ms", self.status, (stream:now() - asked) * 1000)
  return rest(stream)
end

local function give_up(stream, why)
  trouble = why
  return stream:abort()
end

local function expect_line(stream)
  return stream:expect_delimiter("\r\n", 4096, patience(stream))
end

local Client = rotor.protocol "Client" {
  create = function(_, stream) return rest(stream) end,
  timeout = function(_, stream)
    asked = stream:now()
    due = asked + interval
    stream:write("GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\n\r\n")
    return stream:become("head"):expect_delimiter("\r\n\r\n", LONGEST_HEAD, WAIT)
  end,
  states = {
    answer = { timeout = function(_, stream) return give_up(stream, "no answer in time") end },
    head = {
      parent = "answer",
      bytes_read = function(self, stream, n)
        local text = stream:take(n + 4)
        local fields = text:lower()
        local chunked = fields:find("\ntransfer-encoding:", 1, true)
        local length = fields:match "\ncontent%-length:[ \t]*([^\r]*)"
        local size = math.tointeger(length)
        self.status = text:match "^HTTP/1%.[01] ([^\r]+)"
        if not self.status then return give_up(stream, "not an answer in HTTP/1") end
        if self.status:find "^1" then return stream:same() end -- another head follows
        if self.status:find "^[23]04" then return answered(self, stream, 0) end -- without a body
        if chunked then return expect_line(stream:become "chunk") end
        if not length then -- the body ends with the connection
          answered(self, stream, 0)
          return stream:done()
        elseif not size or size < 0 or size > LARGEST then
          return give_up(stream, "malformed or too large Content-Length")
        end
        return stream:become("body"):expect_bytes(size, patience(stream))
      end,
    },
    body = {
      parent = "answer",
      bytes_read = answered,
    },
    chunk = {
      parent = "answer",
      bytes_read = function(_, stream, n)
        local size = tonumber(stream:take(n + 2):match "^(%x+)[ \t;\r]" or "x", 16)
        if not size or size > LARGEST then return give_up(stream, "malformed chunk") end
        if size == 0 then return expect_line(stream:become "trailer") end
        return stream:become("data"):expect_bytes(size + 2, patience(stream))
      end,
    },
    data = {
      parent = "answer",
      bytes_read = function(_, stream, n)
        if stream:take(n):sub(-2) ~= "\r\n" then return give_up(stream, "malformed chunk") end
        return expect_line(stream:become "chunk")
      end,
    },
    trailer = {
      parent = "answer",
      bytes_read = function(self, stream, n)
        if n == 0 then return answered(self, stream, 2) end
        stream:consume(n + 2)
        return expect_line(stream)
      end,
    },
  },
}

local client, message = rotor.persist(address, Client, {
  up = function() say("up") end,
  down = function(_, why, seconds)
    say("down: %s; next try in %.1f s", why or trouble or "closed", seconds)
    trouble = nil
  end,
})
if not client then
  io.stderr:write("monitor.lua: ", message, "\n")
  os.exit(1)
end
rotor.on_signal("INT", rotor.stop)
rotor.run()
