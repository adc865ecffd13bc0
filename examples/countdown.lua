-- Usage: countdown.lua PORT | ADDR:PORT
-- Counts down from five, a second a step, for whoever connects (try telnet). The counting is a
-- machine that waits for nothing but deadlines; it writes to the visitor's stream.
local rotor = require "rotor"

local FROM, STEP = 5, 1.0 -- seconds

local Countdown = rotor.machine "Countdown" {
  create = function(self, scope, stream)
    self.left, self.stream = FROM, stream
    stream:write(self.left, "\r\n")
    return scope:ok(STEP)
  end,
  timeout = function(self, scope)
    self.left = self.left - 1
    if not self.stream:write(self.left > 0 and self.left or "lift-off", "\r\n") then
      return scope:done() -- the visitor has left
    end
    if self.left > 0 then return scope:ok(STEP) end
    self.stream:handle():wake()
    return scope:done()
  end,
}

local Visitor = rotor.protocol "Visitor" {
  create = function(_, stream)
    stream:loop():add(Countdown, stream)
    return stream:expect_bytes(1) -- nothing is expected, but so the stream hears of its end
  end,
  bytes_read = function(_, stream)
    stream:consume(#stream)
    return stream:expect_bytes(1)
  end,
  wakeup = function(_, stream)
    return stream:done()
  end,
}

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: countdown.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local listener, message = rotor.listen(address, Visitor)
if not listener then
  io.stderr:write("countdown.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
print("listening on " .. listener:address())
io.stdout:flush()
rotor.run()
