-- Usage: proxy.lua LISTEN TARGET
-- Hands every connection on to TARGET, both ways at once. What one side does not take is not read
-- from the other: at most HIGH bytes and what is read at once wait on each. An end is handed on,
-- too.
local rotor = require "rotor"

local HIGH, LOW = 65536, 16384

local listen, target = arg[1], arg[2]
if not target or arg[3] then
  io.stderr:write("usage: proxy.lua LISTEN TARGET\n")
  os.exit(2)
end

-- Each side's `self` has the other's `self`, and its own stream. What it waits for next, whatever
-- has happened:
local function go_on(self, stream)
  local other = self.other
  if not other then return stream:same() end -- still connecting to the target
  if other.stream:ended() or self.at_end and other.at_end then
    return stream:done() -- when what is left has been sent
  end
  if self.other_waits and stream:unsent() <= LOW then
    self.other_waits = false
    other.stream:handle():wake()
  end
  local is_full = other.stream:unsent() >= HIGH
  if is_full and not other.other_waits then
    other.other_waits = true
    other.stream:handle():wake()
  end
  local input = (self.at_end or is_full) and stream:sleep() or stream:expect_bytes(1)
  return self.other_waits and stream:and_flush(input, LOW) or input
end

local function declare(name, create, fatal)
  return rotor.protocol(name, { high_water = 4 * HIGH }) {
    create = create,
    fatal = fatal,
    bytes_read = function(self, stream)
      if not self.other.stream:write(stream:take()) then return stream:done() end
      return go_on(self, stream)
    end,
    bytes_flushed = go_on,
    wakeup = go_on,
    exception = function(self, stream)
      local other = self.other.stream
      self.at_end = true
      if not other:ended() then
        other:shutdown()
        other:handle():wake()
      end
      return go_on(self, stream)
    end,
    -- However a side ends, the other one sends what it still has, and ends.
    drop = function(self)
      local other = self.other and self.other.stream
      if other and not other:ended() then other:handle():wake() end
    end,
  }
end

local Target = declare("Target", function(self, stream, client)
  self.stream, self.other, client.other = stream, client, self
  if not client.stream:ended() then client.stream:handle():wake() end
  return go_on(self, stream)
end, function(_, _, _, message, client)
  if not client then return end
  io.stderr:write("proxy.lua: ", message, "\n") -- never connected
  if not client.stream:ended() then client.stream:handle():close() end
end)

local Client = declare("Client", function(self, stream)
  self.stream = stream
  local connecting, message = rotor.connect(target, Target, { seed = self })
  if not connecting then return stream:error(message) end
  return stream:sleep()
end)

local listener, message = rotor.listen(listen, Client)
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
