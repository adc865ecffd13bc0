--- The parser of replies, RESP2 and RESP3 alike: bytes in, values out, no input or output. It is
--- given what there is, takes all that is whole, and says what it needs to go on. An aggregate that
--- is not complete yet is kept, so that nothing is parsed twice; its depth takes no stack.
local value = require "rotor.redis.value"

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local null, new_error = value.null, value.error

-- A nested reply takes as much room as the server likes, but no more levels than this.
local MAX_DEPTH = 128
-- Of a line that is a text, and of one that is a number.
local MAX_LINE, MAX_NUMBER = 65536, 64
-- The shortest element of an aggregate: "+" and the end of the line.
local LEAST = 3

local Parser = {}
Parser.__index = Parser

--- A parser of replies of at most `max` bytes each.
function Parser.new(max)
  return setmetatable({ max = max, used = 0, depth = 0 }, Parser)
end

-- What a line says that is no length: each returns its value, or nil for one that is malformed.
local scalars = {
  ["+"] = function(text)
    if not find(text, "\r", 1, true) then return text end
  end,
  ["-"] = new_error,
  [":"] = function(text)
    local number = find(text, "^[+-]?%d+$") and tonumber(text)
    return math.type(number) == "integer" and number or nil
  end,
  ["_"] = function(text)
    if text == "" then return null end
  end,
  ["#"] = function(text)
    if text == "t" then return true elseif text == "f" then return false end
  end,
  [","] = function(text)
    if text == "inf" then return math.huge elseif text == "-inf" then return -math.huge end
    if find(text, "^-?nan$") then return 0 / 0 end
    local number = find(text, "^[+-]?%d[%d.]*[eE]?[+-]?%d*$") and tonumber(text)
    return number and number + 0.0 or nil
  end,
  ["("] = function(text)
    return find(text, "^[+-]?%d+$") and text or nil
  end,
}

-- What so many bytes behind a line are.
local bulks = {
  ["$"] = function(text) return text end,
  ["!"] = new_error,
  ["="] = function(text) return match(text, "^...:(.*)$") end,
}

-- How many values stand for each one counted. The attributes ("|") that may stand before any value
-- are not given to anybody.
local aggregates = { ["*"] = 1, ["~"] = 1, [">"] = 1, ["%"] = 2, ["|"] = 2 }

local PUSH = byte(">")

-- The usual lengths, by their text.
local lengths = {}
for n = 0, 999 do lengths[tostring(n)] = n end

local by_byte = {}
for kind, read in pairs(scalars) do
  by_byte[byte(kind)] = { scalar = read, max = find(kind, "[+(-]") and MAX_LINE or MAX_NUMBER }
end
for kind, read in pairs(bulks) do
  by_byte[byte(kind)] = { bulk = read, max = MAX_NUMBER, nullable = kind == "$" }
end
for kind, per in pairs(aggregates) do
  by_byte[byte(kind)] = {
    kind = kind, per = per, least = per * LEAST, max = MAX_NUMBER, nullable = kind == "*",
  }
end

local function malformed(data, pos, why)
  local shown = sub(data, pos, pos + 40):gsub("[^\32-\126]", function(c)
    return c == "\r" and "\\r" or c == "\n" and "\\n" or ("\\x%02x"):format(byte(c))
  end)
  return nil, pos, "malformed", ('%s: "%s"'):format(why, shown)
end

-- A value is there: what is complete now, if that is a whole reply, and its kind if it is an
-- aggregate. `v` is nil when an aggregate has just been opened.
local function complete(self, v)
  local frame = self.frame
  local kind
  while frame do
    if v ~= nil then
      local list = frame.list
      if frame.per == 1 then
        list[#list + 1] = v
      elseif frame.key == nil then
        if v ~= v then v = "nan" end -- no table takes the number as a key
        frame.key = v
      else
        list[frame.key], frame.key = v, nil
      end
      frame.left = frame.left - 1
    end
    if frame.left > 0 then return end
    v, kind = frame.list, frame.kind
    frame = frame.parent
    self.frame, self.depth = frame, self.depth - 1
    if kind == "|" then return end
  end
  self.used = 0
  return v, kind
end

-- The reply goes on behind `data`; up to `pos` it is dealt with.
local function need(self, start, pos, what, n)
  self.used = self.used + pos - start
  return nil, pos, what, n
end

--- The next reply in `data` at `pos`: the value, where it ends, and ">" if it is a push. If it is
--- not there as a whole: nil, how far `data` is used up, and
---  "bytes", n   so many bytes are needed from there on, or
---  "line", n    a line is, of at most so many bytes, or
---  "malformed", message.
function Parser:next(data, pos)
  local start = pos
  local limit = start + self.max - self.used -- where this reply has to end
  while true do
    local first = byte(data, pos)
    local type = by_byte[first]
    if not first then return need(self, start, pos, "bytes", 1) end
    if not type then return malformed(data, pos, "no type of reply") end

    local eol = find(data, "\r\n", pos, true)
    if (eol or #data) - pos > type.max then return malformed(data, pos, "too long a line") end
    if not eol then return need(self, start, pos, "line", type.max) end

    local text, behind = sub(data, pos + 1, eol - 1), eol + 2
    local v
    if type.scalar then
      v = type.scalar(text)
      if v == nil then return malformed(data, pos, "a value that is not of its type") end
    elseif text == "-1" and type.nullable then
      v = null
    else
      local n = lengths[text] or find(text, "^%d+$") and tonumber(text)
      if not n then return malformed(data, pos, "not a length") end
      if behind + (type.bulk and n + 2 or n * type.least) > limit then
        return malformed(data, pos, ("a reply of more than %d bytes"):format(self.max))
      end
      if type.bulk then
        local last = eol + 1 + n
        local b1, b2 = byte(data, last + 1, last + 2)
        if not b2 then return need(self, start, pos, "bytes", last + 3 - pos) end
        if b1 ~= 13 or b2 ~= 10 then
          return malformed(data, pos, "a text that is not of its length")
        end
        v = type.bulk(sub(data, behind, last))
        if v == nil then return malformed(data, pos, "a text without its format") end
        behind = last + 3
      else
        local parent = self.frame
        if self.depth == MAX_DEPTH then
          return malformed(data, pos, ("more than %d levels"):format(MAX_DEPTH))
        elseif first == PUSH and parent then
          return malformed(data, pos, "a push inside of a reply")
        end
        self.depth = self.depth + 1
        self.frame = {
          list = {}, left = n * type.per, per = type.per, kind = type.kind, parent = parent,
        }
      end
    end
    if behind > limit then
      return malformed(data, pos, ("a reply of more than %d bytes"):format(self.max))
    end
    pos = behind
    if self.frame then
      local kind
      v, kind = complete(self, v)
      if v ~= nil then return v, pos, kind end
    else
      self.used = 0
      return v, pos
    end
  end
end

return Parser
