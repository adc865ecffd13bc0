--- Servers for the specs of rotor.redis: real ones in a process of their own, and one written here
--- that sends what it is told to.
local lfs = require "lfs"
local rotor = require "rotor"
local support = require "spec.support"

local server = {}

-- -- real ones ------------------------------------------------------------------------------------

-- The shell holds the server: it ends it when its own input ends, which is when stop() is called,
-- or this process is gone in whatever way.
local SCRIPT = [[
  dir='%s'
  env -u LD_PRELOAD redis-server --bind 127.0.0.1 --port %d --unixsocket "$dir/socket" \
    --save '' --appendonly no --dir "$dir" %s >"$dir/log" 2>&1 </dev/null &
  pid=$!
  read -r end
  kill "$pid"
  wait "$pid"
  rm -rf "$dir"
]]

-- Ends when a connection is made.
local Knock = rotor.protocol "Knock" {
  create = function(_, stream, opened)
    opened()
    return stream:done()
  end,
  fatal = function() end,
}

local function free_port()
  local loop <close> = rotor.loop()
  local listener = assert(loop:listen("127.0.0.1:0", Knock))
  return math.tointeger(listener:address():match("%d+$"))
end

local Server = {}
Server.__index = Server

--- A redis-server with these arguments, which takes connections. `port`: that one.
function server.start(arguments, port)
  local dir = os.tmpname()
  os.remove(dir)
  assert(lfs.mkdir(dir))
  port = port or free_port()
  local self = setmetatable({
    dir = dir, port = port, address = "127.0.0.1:" .. port, socket = "unix:" .. dir .. "/socket",
    pipe = assert(io.popen(SCRIPT:format(dir, port, arguments or ""), "w")),
  }, Server)
  local loop <close> = rotor.loop()
  local knocking
  knocking = assert(loop:persist(self.socket, Knock, {
    seed = function() knocking:close() end, backoff = 0.005, backoff_max = 0.02,
  }))
  local ok, message = pcall(support.run, loop)
  if not ok then
    local log = io.open(dir .. "/log")
    message = message .. ":\n" .. (log and log:read("a") or "")
    if log then log:close() end
    self:stop()
    error(message)
  end
  return self
end

--- End it, and wait until it has.
function Server:stop()
  if not self.pipe then return end
  self.pipe:close()
  self.pipe = nil
end

--- Run the loop until the future is resolved; what it has.
function server.wait(loop, future)
  local result
  future:and_then(function(...)
    result = table.pack(...)
    loop:stop()
  end)
  support.run(loop)
  return table.unpack(result, 1, result.n)
end

-- -- one that is not real -------------------------------------------------------------------------

-- What is said is cut into pieces, each of which is sent in a turn of its own.
local function cut(bytes, size)
  local pieces = {}
  if size == "whole" then
    pieces[1] = bytes
  elseif size == "bytes" then
    for i = 1, #bytes do pieces[i] = bytes:sub(i, i) end
  else
    pieces[1], pieces[2] = bytes:sub(1, size), bytes:sub(size + 1)
  end
  return pieces
end

local speak

local function advance(self, stream)
  local talk = self.talk
  self.turn = self.turn + 1
  local now = talk[self.turn]
  if not now and talk.close == "reset" then return stream:abort() end
  if not now then return talk.close and stream:done() or stream:expect_bytes(1) end
  self.pieces = cut(now.say, talk.how or "whole")
  if now.hear then return stream:expect_delimiter(now.hear, 1 << 20) end
  return speak(self, stream)
end

function speak(self, stream)
  local piece = table.remove(self.pieces, 1)
  if not piece then return advance(self, stream) end
  stream:write(piece)
  return stream:sleep(0)
end

local Fake = rotor.protocol "Fake" {
  create = function(self, stream, talks)
    self.talk, self.turn = table.remove(talks, 1), 0
    if #talks == 0 then talks.listener:close() end
    return advance(self, stream)
  end,
  bytes_read = function(self, stream, n)
    local now = self.talk[self.turn]
    if not now then return stream:abort() end -- more was sent than was to be heard
    stream:consume(n + #now.hear)
    return speak(self, stream)
  end,
  timeout = speak,
  exception = function(_, stream) return stream:done() end,
  fatal = function() end,
}

local fakes = 0

--- A server whose n-th connection goes like the n-th of the talks. Each is a list of turns, in
--- which it waits until it has heard `hear` (nil: it does not) and then sends `say`. With `close`
--- it then ends the connection, with "reset" without having read the rest. `how` is what it cuts
--- into: "whole", "bytes", or two pieces, the first of so many bytes. Its address.
function server.fake(loop, ...)
  fakes = fakes + 1
  local talks = { ... }
  local address = ("unix:@rotor-redis-%s-%d"):format(tostring(talks):match("0x(%x+)"), fakes)
  talks.listener = assert(loop:listen(address, Fake, { seed = talks }))
  return talks.listener:address()
end

return server
