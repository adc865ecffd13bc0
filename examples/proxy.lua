-- Usage: proxy.lua PORT | ADDR:PORT TARGET
-- Passes connections on to TARGET (ADDR:PORT or unix:PATH), in both directions at once and each at
-- its own pace: who sends faster than the other side reads is not read from for a while.
local rotor = require "rotor"

local HIGH, LOW, PATIENCE = 65536, 16384, 600 -- bytes, bytes, seconds

local address, target = arg[1], arg[2]

-- Each connection, to a client or to the target, has a peer, and may be
--   full: its output was above HIGH and is not yet down to LOW, so that the peer is not read from;
--   ended: there is no more input.
local function next(self, stream)
  local peer = self.peer
  if peer and peer.stream:ended() then peer, self.peer = nil, nil end
  if self.ended and peer then peer.stream:shutdown() end
  if self.ended and (not peer or peer.ended) then return stream:done() end
  -- What the peer has sent shall arrive, which closing with unread input could prevent.
  if not peer then return stream:linger(PATIENCE) end
  local sent = self.full and stream:unsent() <= LOW
  local fills = not peer.full and peer.stream:unsent() > HIGH
  if sent or fills then peer.stream:handle():wake() end
  self.full = self.full and not sent
  peer.full = peer.full or fills
  local intent = (peer.full or self.ended) and stream:sleep() or stream:expect_bytes(1)
  return self.full and stream:and_flush(intent, LOW) or intent
end

local Proxy
Proxy = rotor.protocol("Proxy", { high_water = 4 * HIGH, stall = PATIENCE }) {
  -- For the target the seed is the client's `self`; that sleeps, and so cannot end, until then.
  create = function(self, stream, client)
    self.stream = stream
    if client then
      self.peer, client.peer = client, self
      client.stream:handle():wake()
      return next(self, stream)
    end
    local connecting, message = rotor.connect(target, Proxy, { seed = self })
    return connecting and stream:sleep() or stream:error(message)
  end,
  bytes_read = function(self, stream)
    local input, peer = stream:take(), self.peer
    if peer and not peer.stream:ended() then assert(peer.stream:write(input)) end
    return next(self, stream)
  end,
  bytes_flushed = next,
  wakeup = next,
  exception = function(self, stream)
    self.ended = true
    return next(self, stream)
  end,
  fatal = function(_, _, _, message, client)
    if client then
      io.stderr:write("proxy.lua: ", message, "\n")
      client.stream:handle():close()
    end
  end,
  drop = function(self)
    local peer = self.peer
    if peer and not peer.stream:ended() then peer.stream:handle():wake() end
  end,
}

if not target or arg[3] then
  io.stderr:write("usage: proxy.lua PORT | ADDR:PORT TARGET\n")
  os.exit(2)
end

local listener, message = rotor.listen(address, Proxy)
if not listener then
  io.stderr:write("proxy.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
print("listening on " .. listener:address())
io.stdout:flush()
rotor.run()
