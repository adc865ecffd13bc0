-- Usage: telnet.lua ADDR:PORT
-- What is typed goes to the peer, a line's end as CR LF, and what the peer sends is printed.
-- Options that it would negotiate are refused (RFC 854). Ends when the peer does, or by ^C.
local rotor = require "rotor"

local HIGH, LOW = 65536, 16384
local SE, SB, WILL, WONT, DO, DONT, IAC = 240, 250, 251, 252, 253, 254, 255

local session, keyboard -- the stream while there is one; a handle
local status = 0

-- What the peer sends without its commands, which begin with IAC and may come in pieces. What is
-- negotiated in detail is skipped up to SE.
local function without_commands(self, stream, text)
  if not self.command and not text:find("\255", 1, true) then return text end
  local out = {}
  for i = 1, #text do
    local byte, command = text:byte(i), self.command
    if command == WILL or command == DO then
      stream:write(string.char(IAC, command == WILL and DONT or WONT, byte))
    elseif not command and byte ~= IAC or command == IAC and byte == IAC then
      out[#out + 1] = string.char(byte)
    end
    if not command then
      self.command = byte == IAC and IAC or nil
    elseif command == IAC then
      self.command = byte >= SB and byte < IAC and byte or nil
    elseif command ~= SB or byte == SE then
      self.command = nil
    end
  end
  return table.concat(out)
end

local function go_on(_, stream)
  local intent = stream:expect_bytes(1)
  if stream:unsent() >= HIGH then return stream:and_flush(intent, LOW) end
  keyboard:wake()
  return intent
end

local Telnet = rotor.protocol "Telnet" {
  create = function(self, stream)
    session = stream
    return go_on(self, stream)
  end,
  bytes_read = function(self, stream)
    io.write(without_commands(self, stream, stream:take()))
    io.flush()
    return go_on(self, stream)
  end,
  bytes_flushed = go_on,
  wakeup = go_on,
  fatal = function(_, _, _, message)
    io.stderr:write("telnet.lua: ", message, "\n")
    status = 1
    keyboard:close()
  end,
  drop = function() keyboard:close() end,
}

-- Sends what is typed, as long as the session takes it; it wakes this machine when it does again.
local function type_on(self, scope)
  while session and not session:ended() and session:unsent() < HIGH do
    local typed, _, name
    if self.input then
      typed, _, name = self.input:read(4096)
    else
      typed = io.read(4096)
    end
    if name == "EAGAIN" then
      self.input:want("r")
      return scope:ok()
    elseif not typed then
      session:shutdown()
      return scope:done()
    end
    session:write((typed:gsub("[\n\255]", { ["\n"] = "\r\n", ["\255"] = "\255\255" })))
  end
  if self.input then self.input:want("") end
  if session and not session:ended() then session:handle():wake() end
  return scope:ok()
end

local Keyboard = rotor.machine "Keyboard" {
  -- A terminal is opened anew, as it would become non-blocking for whoever prints to it, too. A
  -- file is always ready, and cannot be watched.
  create = function(self, scope)
    local is_terminal = os.execute("test -t 0")
    local message, name
    self.input, message, name = scope:open(is_terminal and assert(io.open("/dev/tty")) or io.stdin)
    if not self.input and name ~= "EPERM" then return scope:error(message) end
    return scope:ok()
  end,
  ready = type_on,
  wakeup = type_on,
}

if #arg ~= 1 then
  io.stderr:write("usage: telnet.lua ADDR:PORT\n")
  os.exit(2)
end
local connecting, message = rotor.connect(arg[1], Telnet)
if not connecting then
  io.stderr:write("telnet.lua: ", message, "\n")
  os.exit(2)
end
keyboard = rotor.add(Keyboard)
rotor.on_signal("INT", rotor.stop)
rotor.run()
os.exit(status)
