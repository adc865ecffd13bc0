-- Usage: telnet.lua ADDR:PORT
-- What is typed goes to the peer, a line's end as CR LF, and what the peer sends is printed.
-- Options that it would negotiate are refused (RFC 854). Ends when the peer does, or by ^C.
local rotor = require "rotor"

local HIGH, LOW = 65536, 16384
local SE, SB, WILL, WONT, DO, DONT, IAC = 240, 250, 251, 252, 253, 254, 255

local session, console -- the stream, false when it has ended; a handle
local heard = "" -- by the session and not yet printed, so that it does not read
local full = false -- it has to send what was typed, so that no more is taken
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
  if full and stream:unsent() <= LOW then
    full = false
    console:wake()
  end
  local intent = heard == "" and stream:expect_bytes(1) or stream:sleep()
  return full and stream:and_flush(intent, LOW) or intent
end

local Telnet = rotor.protocol("Telnet", { high_water = 4 * HIGH }) {
  create = function(self, stream)
    session = stream
    console:wake()
    return go_on(self, stream)
  end,
  bytes_read = function(self, stream)
    heard = without_commands(self, stream, stream:take())
    console:wake()
    return go_on(self, stream)
  end,
  bytes_flushed = go_on,
  wakeup = go_on,
  fatal = function(_, _, _, message)
    io.stderr:write("telnet.lua: ", message, "\n")
    status, session = 1, false
    console:wake()
  end,
  drop = function()
    session = false
    console:wake()
  end,
}

-- A watched descriptor is non-blocking for all who share it, so it is opened anew. A file cannot be
-- watched and is always ready.
local function watch(scope, file, name, mode)
  if not os.execute("test -f " .. name) then file = io.open(name, mode) or file end
  file:setvbuf("no")
  return scope:open(file) or {
    read = function(_, n) return file:read(n) end,
    write = function(_, text)
      local ok, message = file:write(text)
      return ok and #text, message
    end,
    want = function() end,
  }
end

local function print_on(output)
  local n, message, name = output:write(heard)
  if not n and name ~= "EAGAIN" then
    io.stderr:write("telnet.lua: ", message, "\n")
    status, n = 1, #heard
    rotor.stop()
  end
  heard = heard:sub((n or 0) + 1)
  output:want(heard == "" and "" or "w")
  if heard == "" and session then session:handle():wake() end
end

local function type_on(self, input)
  local typed, _, name = ""
  while typed and not full do
    typed, _, name = input:read(4096)
    if typed then
      session:write((typed:gsub("[\n\255]", { ["\n"] = "\r\n", ["\255"] = "\255\255" })))
      full = session:unsent() >= HIGH
    elseif name ~= "EAGAIN" then
      session:shutdown()
      self.input = nil
    end
  end
  input:want(self.input and not full and "r" or "")
  if full then session:handle():wake() end
end

local function step(self, scope)
  if heard ~= "" then print_on(self.output) end
  if session and self.input then type_on(self, self.input) end
  return session == false and heard == "" and scope:done() or scope:ok()
end

local Console = rotor.machine "Console" {
  create = function(self, scope)
    self.input = watch(scope, io.stdin, "/dev/stdin", "r")
    self.output = watch(scope, io.stdout, "/dev/stdout", "w")
    return scope:ok()
  end,
  ready = step,
  wakeup = step,
}

if #arg ~= 1 then
  io.stderr:write("usage: telnet.lua ADDR:PORT\n")
  os.exit(2)
end
console = rotor.add(Console)
local connecting, message = rotor.connect(arg[1], Telnet)
if not connecting then
  io.stderr:write("telnet.lua: ", message, "\n")
  os.exit(2)
end
rotor.on_signal("INT", function()
  status = 130
  rotor.stop()
end)
rotor.run()
os.exit(status)
