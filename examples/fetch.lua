-- Usage: fetch.lua URL...
-- Fetches http:// URLs, all at once, and prints what they name in their order.
local rotor = require "rotor"

local LONGEST_HEAD, LONGEST_LINE, PATIENCE = 65536, 4096, 30 -- bytes, bytes, seconds

local failures = 0

local function complain(page, why)
  failures = failures + 1
  io.stderr:write("fetch.lua: ", page.url, ": ", why, "\n")
end

local function fail(self, stream, why)
  complain(self.page, why)
  return stream:abort()
end

local Fetch = rotor.protocol "Fetch" {
  create = function(self, stream, page)
    self.page = page
    stream:write("GET ", page.path, " HTTP/1.1\r\nHost: ", page.host, "\r\n")
    stream:write("Connection: close\r\n\r\n")
    return stream:become("head"):expect_delimiter("\r\n\r\n", LONGEST_HEAD, PATIENCE)
  end,
  exception = function(self, stream, _, message)
    return fail(self, stream, message)
  end,
  timeout = function(self, stream)
    return fail(self, stream, "no answer")
  end,
  fatal = function(self, _, _, message, page)
    complain(self.page or page, message)
  end,
  states = {
    head = {
      bytes_read = function(self, stream, n)
        local head = stream:take(n + 4):lower()
        local status = tonumber(head:match("^http/1%.%d (%d%d%d)"))
        if not status or status >= 300 then return fail(self, stream, head:match("^[^\r]*")) end
        if status < 200 then return stream:same() end -- the answer is still to come
        self.left = tonumber(head:match("\ncontent%-length:%s*(%d+)"))
        self.chunked = head:find("\ntransfer-encoding:", 1, true)
        if self.chunked then
          return stream:become("chunk"):expect_delimiter("\r\n", LONGEST_LINE)
        end
        return stream:become(self.left and "body" or "rest"):expect_bytes(self.left == 0 and 0 or 1)
      end,
    },
    body = { -- of which so much is left, or of its present chunk
      bytes_read = function(self, stream)
        local text = stream:take(math.min(#stream, self.left))
        self.page.out:write(text)
        self.left = self.left - #text
        if self.left > 0 then return stream:expect_bytes(1) end
        return self.chunked and stream:become("gap"):expect_delimiter("\r\n", 0) or stream:done()
      end,
    },
    rest = { -- until the end of the connection
      bytes_read = function(self, stream)
        self.page.out:write(stream:take())
        return stream:expect_bytes(1)
      end,
      exception = function(_, stream)
        return stream:done()
      end,
    },
    chunk = { -- its size
      bytes_read = function(self, stream, n)
        self.left = tonumber(stream:take(n + 2):match("^%x+") or "none", 16)
        if not self.left then return fail(self, stream, "malformed chunk") end
        return self.left > 0 and stream:become("body"):expect_bytes(1) or stream:done()
      end,
    },
    gap = { -- a line break behind a chunk
      bytes_read = function(_, stream)
        stream:consume(2)
        return stream:become("chunk"):expect_delimiter("\r\n", LONGEST_LINE)
      end,
    },
  },
}

local function fetch(url, out)
  local host, path = url:match("^http://([^/?#@%s]+)([^#]*)")
  local page = { url = url, host = host, path = path, out = out }
  if not host or path:find("^@") or path:find("[%s%c]") then
    return complain(page, "not an http:// URL")
  end
  if not path:find("^/") then page.path = "/" .. path end
  local address = host:find(":%d+$") and host or host .. ":80"
  local ok, message = rotor.connect(address, Fetch, { seed = page })
  if not ok then complain(page, message) end
end

if not arg[1] then
  io.stderr:write("usage: fetch.lua URL...\n")
  os.exit(2)
end

local outs = { io.stdout } -- the others wait for their turn in files
for i, url in ipairs(arg) do
  outs[i] = outs[i] or assert(io.tmpfile())
  fetch(url, outs[i])
end
rotor.run()
for i = 2, #outs do
  outs[i]:seek("set")
  for block in outs[i]:lines(65536) do io.stdout:write(block) end
end
os.exit(io.stdout:flush() ~= nil and failures == 0)
