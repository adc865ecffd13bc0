--- Commands as they are sent: checked first, so that a mistake throws before anything is written.
local command = {}

local type, tonumber, math_type = type, tonumber, math.type

local FOLDER = debug.getinfo(1, "S").source:match("^(.*)command%.lua$")

--- Throw, naming the line of the program that has called into these files.
function command.misuse(message, ...)
  local level = 2
  local function inside()
    local info = debug.getinfo(level + 1, "S")
    return info and info.source:sub(1, #FOLDER - 1) == FOLDER:sub(1, -2)
  end
  while inside() do level = level + 1 end
  error(message:format(...), level)
end
local misuse = command.misuse

-- The line that says how long an argument is.
local lengths = setmetatable({}, {
  __index = function(t, n)
    local line = ("%d\r\n"):format(n)
    if n < 1024 then t[n] = line end
    return line
  end,
})

-- A number in the shortest form that is the same number when it is read.
local function decimal(number)
  local integer = math.tointeger(number)
  if integer then return ("%d"):format(integer) end
  if number == math.huge then return "inf" elseif number == -math.huge then return "-inf" end
  for digits = 14, 17 do
    local text = ("%%.%dg"):format(digits):format(number)
    if tonumber(text) == number then return text end
  end
end

-- An argument that is not a string.
local function as_text(value, i, name)
  if not math_type(value) then
    misuse("argument #%d of %s: a string or a number expected, got %s", i, name, type(value))
  elseif value ~= value then
    misuse("argument #%d of %s: not a number", i, name)
  end
  return decimal(value)
end

-- `heads[n]` is how the command begins with n arguments.
local Command = {}
Command.__index = Command

local function head_of(self, n)
  local head = ("*%d\r\n$%d\r\n%s\r\n"):format(n + 1, #self.name, self.name)
  if n > 0 then head = head .. "$" end
  if n < 32 then self.heads[n] = head end
  return head
end

--- The command with its arguments, as it is sent.
function Command:bytes(...)
  local n = select("#", ...)
  local head = self.heads[n] or head_of(self, n)
  if n == 0 then
    return head
  elseif n == 1 then
    local a = ...
    if type(a) ~= "string" then a = as_text(a, 1, self.name) end
    return head .. lengths[#a] .. a .. "\r\n"
  elseif n == 2 then
    local a, b = ...
    if type(a) ~= "string" then a = as_text(a, 1, self.name) end
    if type(b) ~= "string" then b = as_text(b, 2, self.name) end
    return head .. lengths[#a] .. a .. "\r\n$" .. lengths[#b] .. b .. "\r\n"
  end
  local parts, arguments = { head }, { ... }
  for i = 1, n do
    local a = arguments[i]
    if type(a) ~= "string" then a = as_text(a, i, self.name) end
    local at = 3 * i
    parts[at - 1], parts[at], parts[at + 1] = lengths[#a], a, i < n and "\r\n$" or "\r\n"
  end
  return table.concat(parts)
end

-- Commands that the client does not send for anybody, as it would not know any more what its
-- connection is in the middle of, or would not be the same after it has connected again.
local instead = {
  AUTH = "the options password and username", HELLO = "the option protocol",
  SELECT = "the option database", RESET = "close()", QUIT = "close()",
  SUBSCRIBE = "subscribe(channel, fn)", UNSUBSCRIBE = "unsubscribe(channel)",
  PSUBSCRIBE = "psubscribe(pattern, fn)", PUNSUBSCRIBE = "punsubscribe(pattern)",
}
local guards = {
  CLIENT = function(what)
    if type(what) == "string" and what:upper() == "REPLY" then
      misuse("CLIENT REPLY is not for this client, which waits for every reply")
    end
  end,
}
for name, other in pairs(instead) do
  guards[name] = function() misuse("%s is the client's own; use %s", name, other) end
end
for _, name in ipairs { "MONITOR", "PSYNC", "SSUBSCRIBE", "SUNSUBSCRIBE", "SYNC" } do
  guards[name] = function() misuse("%s is not for this client", name) end
end

local known = setmetatable({}, { __mode = "v" })

--- The command of that name, in whatever case. Its `guard`, if it has one, throws when it is not
--- for users.
function command.of(name)
  local found = known[name]
  if not found then
    if type(name) ~= "string" then
      misuse("the name of a command expected, got %s", type(name))
    end
    local upper = name:upper()
    found = known[upper]
      or setmetatable({ name = upper, heads = {}, guard = guards[upper] }, Command)
    known[upper], known[name] = found, found
  end
  return found
end

--- What to find the methods of an object in: `own`, and any command by its name, which calls
--- send(object, command, …).
function command.methods(own, send)
  local made = setmetatable({}, {
    __index = function(t, name)
      if type(name) ~= "string" then return nil end
      local this = command.of(name)
      t[name] = function(object, ...) return send(object, this, ...) end
      return t[name]
    end,
  })
  return setmetatable(own, { __index = made })
end

return command
