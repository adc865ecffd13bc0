-- Usage: chat.lua PORT | ADDR:PORT
-- A chat for telnet and nc: what one says goes to all; there are /who, /nick NAME and /quit.
-- Whoever reads too slowly, or never ends a line, is dropped before that takes much memory.
local rotor = require "rotor"

local SEATS, LONGEST_NAME, LONGEST_LINE, MOST_UNSENT = 1000, 16, 1024, 256 * 1024 -- bytes

local members = {} -- by their streams

-- To one, or to all but `from`; without control characters, for their terminals.
local function tell(to, from, ...)
  local text = table.concat({ ... }):gsub("%c", " ") .. "\n"
  for stream in pairs(to and { [to] = true } or members) do
    if stream:unsent() > MOST_UNSENT then
      stream:handle():close()
    elseif stream ~= from then
      stream:write(text)
    end
  end
end

local function is_free(name)
  for _, other in pairs(members) do
    if other.name:lower() == name:lower() then return false end
  end
  return true
end

local function take_line(stream, n)
  local line = stream:take(n + 1)
  return line:match("^[^\r\n]*")
end

-- The line is the name one wants, perhaps behind "/nick ".
local function take_name(self, stream, line)
  local name = line:gsub("^/nick ", "")
  if name ~= "" and #name <= LONGEST_NAME and not name:find("[ :/]") and is_free(name) then
    tell(nil, nil, self.name, " is now ", name)
    self.name = name
    stream:become "talking"
  else
    tell(stream, nil, name, " is no name, or somebody has it.")
  end
end

local Chat = rotor.protocol "Chat" {
  create = function(self, stream)
    members[stream], self.name = self, "Somebody"
    tell(stream, nil, "Welcome! What is your name?")
    return stream:become("greeting"):expect_delimiter("\n", LONGEST_LINE)
  end,
  drop = function(self, stream)
    members[stream] = nil
    tell(nil, nil, self.name, " has left")
  end,
  states = {
    greeting = {
      bytes_read = function(self, stream, n)
        take_name(self, stream, take_line(stream, n))
        return stream:same()
      end,
    },
    talking = {
      bytes_read = function(self, stream, n)
        local line = take_line(stream, n)
        if line == "/quit" then
          return stream:done()
        elseif line == "/who" then
          for _, member in pairs(members) do tell(stream, nil, member.name) end
        elseif line:find("^/nick ") then
          take_name(self, stream, line)
        elseif not line:find("^/") then
          tell(nil, stream, self.name, ": ", line)
        end
        return stream:same()
      end,
    },
  },
}

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: chat.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local listener, message = rotor.listen(address, Chat, { connections = SEATS })
if not listener then
  io.stderr:write("chat.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, rotor.stop)
end
print("listening on " .. listener:address())
io.stdout:flush()
rotor.run()
