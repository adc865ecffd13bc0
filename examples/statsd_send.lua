-- Usage: statsd_send.lua PORT | ADDR:PORT NAME:NUMBER|c …
-- Sends its arguments to a statsd, as many in one datagram as fit. Nobody answers; but that nobody
-- is there is told by the system, for which it waits a moment.
local rotor = require "rotor"

local LARGEST, MOMENT = 1400, 0.1 -- bytes that every network carries in one piece, seconds

local status = 0 -- of the program

local function fail(socket, message)
  io.stderr:write("statsd_send.lua: ", message, "\n")
  status = 1
  return socket:done()
end

local function send_lines(self, socket)
  while self.lines[1] do
    local n, size = 0, 0
    while self.lines[n + 1] and size + #self.lines[n + 1] < LARGEST do
      n = n + 1
      size = size + #self.lines[n] + 1
    end
    if n == 0 then return fail(socket, "a line is too long") end
    local sent, message, name = socket:send(table.concat(self.lines, "\n", 1, n) .. "\n")
    if name == "EAGAIN" then return socket:ok() end -- then goes on in `writable`
    if not sent then return fail(socket, message) end
    self.lines = table.move(self.lines, n + 1, #self.lines, 1, {})
  end
  return socket:ok(MOMENT)
end

local Sender = rotor.datagram "Sender" {
  create = function(self, socket, lines)
    self.lines = lines
    return send_lines(self, socket)
  end,
  writable = send_lines,
  exception = function(_, socket, _, message)
    return fail(socket, message)
  end,
  timeout = function(_, socket)
    return socket:done()
  end,
}

local address = arg[1]
if not arg[2] then
  io.stderr:write("usage: statsd_send.lua PORT | ADDR:PORT NAME:NUMBER|c …\n")
  os.exit(2)
end

local lines = table.move(arg, 2, #arg, 1, {})
local sender, message = rotor.udp(nil, Sender, { peer = address, seed = lines })
if not sender then
  io.stderr:write("statsd_send.lua: ", message, "\n")
  os.exit(1)
end
rotor.run()
os.exit(status, true)
