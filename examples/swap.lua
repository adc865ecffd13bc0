-- Usage: swap.lua [lua | c] … [LINES]
-- A store that answers lines, "GET KEY" and "SET KEY VALUE", as a prototype in Lua and then in C
-- (swap_lines.c): nothing else changes. Each is sent so many lines (1,000,000), 1,000 at a time,
-- over the loopback by a client in this program, which checks the answers.
local rotor = require "rotor"

local LONGEST_LINE, BATCH = 4096, 1000

local function next_line(stream)
  return stream:expect_delimiter("\n", LONGEST_LINE)
end

local Lines = rotor.protocol "Lines" {
  create = function(self, stream, values)
    self.values = values
    return next_line(stream)
  end,
  bytes_read = function(self, stream, n)
    local verb, key, value = stream:take(n):match("^(%u+) ([^ ]+) ?(.*)$")
    stream:consume(1)
    if verb == "GET" then
      stream:write(self.values[key] or "", "\n")
    elseif verb == "SET" then
      self.values[key] = value
      stream:write("OK\n")
    else
      stream:write("WHAT?\n")
    end
    return next_line(stream)
  end,
}

local here = arg[0]:match("^(.*/)") or ""
local protocols = {
  lua = function() return Lines end,
  c = function() return assert(rotor.load(here .. "../build/examples/swap_lines.so")).Lines end,
}

-- A batch, and what is answered.
local lines, answers = {}, {}
for i = 1, BATCH / 4 do
  local key, value = "key" .. i, ("value "):rep(i % 7) .. i
  for _, exchange in ipairs {
    { "SET " .. key .. " " .. value, "OK" }, { "GET " .. key, value },
    { "GET greeting", "good evening" }, { "GET nothing", "" },
  } do
    lines[#lines + 1], answers[#answers + 1] = exchange[1], exchange[2]
  end
end
lines, answers = table.concat(lines, "\n") .. "\n", table.concat(answers, "\n") .. "\n"

local Client = rotor.protocol "Client" {
  create = function(self, stream, batches)
    self.left = batches
    stream:write(lines)
    return stream:expect_bytes(#answers)
  end,
  bytes_read = function(self, stream, n)
    assert(stream:take(n) == answers, "a wrong answer")
    self.left = self.left - 1
    if self.left == 0 then return stream:done() end
    stream:write(lines)
    return stream:expect_bytes(#answers)
  end,
  drop = rotor.stop,
}

-- Seconds of processor time, the client's included.
local function measure(protocol, batches)
  local listener = assert(rotor.listen("127.0.0.1:0", protocol, {
    seed = { greeting = "good evening" },
  }))
  assert(rotor.connect(listener:address(), Client, { seed = batches }))
  local began = os.clock()
  rotor.run()
  listener:close()
  return os.clock() - began
end

local names, batches = {}, 1000
for _, word in ipairs(arg) do
  if protocols[word] then
    names[#names + 1] = word
  elseif math.tointeger(word) and math.tointeger(word) > 0 then
    batches = math.ceil(math.tointeger(word) / BATCH)
  else
    io.stderr:write("usage: swap.lua [lua | c] … [LINES]\n")
    os.exit(2)
  end
end
if #names == 0 then names = { "lua", "c" } end

rotor.on_error(function(message)
  io.stderr:write("swap.lua: ", message, "\n")
  os.exit(1)
end)

local first
for _, name in ipairs(names) do
  local rate = batches * BATCH / measure(protocols[name](), batches)
  first = first or rate
  print(("%-4s%8.0f thousand lines/s%7.2f times %s"):format(name, rate / 1000, rate / first,
    names[1]))
end
