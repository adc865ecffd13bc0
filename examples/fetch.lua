-- Usage: fetch.lua URL...
-- Gets http:// URLs, all at once, by HTTP/1.1, and writes their bodies to standard output, each as
-- soon as all of it is there. An answer other than 2xx is an error.
local rotor = require "rotor"

local WAIT, LONGEST_HEAD, LARGEST = 120, 65536, 1 << 30 -- seconds, bytes, bytes

local failures = 0

local function fail(url, why)
  io.stderr:write("fetch.lua: ", url, ": ", why, "\n")
  failures = failures + 1
end

local function give_up(self, stream, why)
  fail(self.url, why)
  return stream:abort()
end

local function print_body(self, stream, ...)
  local ok, message = io.stdout:write(...)
  if ok then ok, message = io.stdout:flush() end
  if not ok then fail(self.url, message) end
  return stream:done()
end

local function expect_line(stream)
  return stream:expect_delimiter("\r\n", 4096, WAIT)
end

local Get = rotor.protocol "Get" {
  create = function(self, stream, seed)
    self.url, self.parts, self.size = seed.url, {}, 0
    stream:write("GET ", seed.path, " HTTP/1.1\r\nConnection: close\r\n")
    stream:write("Host: ", seed.host, "\r\n\r\n")
    return stream:become("head"):expect_delimiter("\r\n\r\n", LONGEST_HEAD, WAIT)
  end,
  timeout = function(self, stream)
    return give_up(self, stream, "no answer, or not the rest of it")
  end,
  exception = function(self, stream, _, message)
    return give_up(self, stream, message)
  end,
  fatal = function(self, _, _, message, seed) fail(self.url or seed.url, message) end,
  states = {
    head = {
      bytes_read = function(self, stream, n)
        local text = stream:take(n + 4)
        local status = text:match "^HTTP/1%.[01] (%d%d%d[^\r]*)"
        local fields = text:lower()
        local length = fields:match "\ncontent%-length:[ \t]*([^\r]*)"
        local chunked = fields:find("\ntransfer-encoding:", 1, true)
        self.to_the_end = not chunked and not length
        if status and status:find "^1" then return stream:same() end -- another head follows
        if not status or status:find "^[^2]" then
          return give_up(self, stream, status or "not an answer in HTTP/1")
        elseif chunked then
          return expect_line(stream:become "chunk")
        end
        local size = math.tointeger(length or LARGEST)
        if not size or size < 0 or size > LARGEST then
          return give_up(self, stream, "malformed or too large Content-Length")
        end
        return stream:become("body"):expect_bytes(size, WAIT)
      end,
    },
    body = {
      bytes_read = function(self, stream, n)
        if n == LARGEST then return give_up(self, stream, "too large") end
        return print_body(self, stream, stream:take(n))
      end,
      exception = function(self, stream, _, message)
        if self.to_the_end then return print_body(self, stream, stream:take()) end
        return give_up(self, stream, message)
      end,
    },
    chunk = {
      bytes_read = function(self, stream, n)
        local digits = stream:take(n + 2):match "^(%x+)[ \t;\r]"
        local size = digits and #digits < 9 and tonumber(digits, 16)
        if size == 0 then return expect_line(stream:become "trailer") end
        self.size = self.size + (size or LARGEST)
        if self.size < LARGEST then return stream:become("data"):expect_bytes(size + 2, WAIT) end
        return give_up(self, stream, size and "too large" or "malformed chunk")
      end,
    },
    data = {
      bytes_read = function(self, stream, n)
        table.insert(self.parts, stream:take(n - 2))
        if stream:take(2) == "\r\n" then return expect_line(stream:become "chunk") end
        return give_up(self, stream, "malformed chunk")
      end,
    },
    trailer = {
      bytes_read = function(self, stream, n)
        stream:consume(n + 2)
        if n > 0 then return expect_line(stream) end
        return print_body(self, stream, table.concat(self.parts))
      end,
    },
  },
}

if not arg[1] then
  io.stderr:write("usage: fetch.lua URL...\n")
  os.exit(2)
end
for _, url in ipairs(arg) do
  local host, path = url:match "^http://([^/?#%s]+)([^#%s]*)#?%S*$"
  local ok, message = nil, "not an http:// URL"
  if host then
    local address = host:find ":%d*$" and host or host .. ":80"
    path = path:gsub("^[^/]", "/%0"):gsub("^$", "/")
    ok, message = rotor.connect(address, Get, { seed = { url = url, host = host, path = path } })
  end
  if not ok then fail(url, message) end
end
rotor.run()
os.exit(failures == 0 and 0 or 1)
