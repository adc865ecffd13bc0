-- Bare luv: read_start, a search for blank lines and one try_write of the fixed answers.
-- Usage: lua5.4 bench/bare_luv.lua PORT
local uv = require "luv"

local ANSWER = "HTTP/1.1 200 OK\r\n"
  .. "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
  .. "Content-Length: 13\r\n"
  .. "\r\n"
  .. "Hello, World!"

local find = string.find
local bursts = setmetatable({}, {
  __index = function(t, n)
    t[n] = ANSWER:rep(n)
    return t[n]
  end,
})

local listener = assert(uv.new_tcp())
assert(listener:bind("127.0.0.1", tonumber(arg[1] or 8080)))
assert(listener:listen(4096, function(err)
  assert(not err, err)
  local client = assert(uv.new_tcp())
  local rest = "" -- of a request that is split between reads
  assert(listener:accept(client))
  client:nodelay(true)
  client:read_start(function(failed, data)
    if failed or not data then return client:close() end
    if rest ~= "" then data = rest .. data end
    local count, start = 0, 1
    local _, last = find(data, "\r\n\r\n", 1, true)
    while last do
      count, start = count + 1, last + 1
      _, last = find(data, "\r\n\r\n", start, true)
    end
    rest = data:sub(start)
    if count > 0 and client:try_write(bursts[count]) ~= count * #ANSWER then client:close() end
  end)
end))
uv.run()
