--- rotor: state machines over libuv. See README.md for a tour and `types.lua` for every signature.
local core = require "rotor.core"

---@class rotor
local rotor = {}

for name, value in pairs(core) do
  rotor[name] = value
end
rotor.type, rotor.state, rotor.serve = nil, nil, nil -- reached by what is below and by rotor.http

-- With ROTOR_TRACE=FOLDER in the environment every protocol is traced.
local folder = os.getenv "ROTOR_TRACE"
local watch, save
if folder and folder ~= "" then
  watch, save = require "rotor.trace"(folder)
  rotor.run = function()
    core.run()
    save()
    return true
  end
end

if watch then
  local watched = {}
  function rotor.load(path)
    local loaded, message, code = core.load(path)
    for name, class in pairs(loaded or {}) do
      if not watched[class] and tostring(class):find("^rotor%.protocol: ") then
        watched[class] = true
        watch(name, class)
      end
    end
    return loaded, message, code
  end
end

local machine_transitions = {
  "create", "ready", "spawned", "spawn_error", "timeout", "wakeup", "child_done", "drop",
}
local state_transitions = {
  "bytes_read", "bytes_flushed", "timeout", "wakeup", "exception", "hangup", "fatal",
}
local protocol_transitions = {
  "create", "bytes_read", "bytes_flushed", "timeout", "wakeup", "exception", "hangup", "fatal",
  "drop",
}
local datagram_transitions = {
  "create", "datagram", "writable", "timeout", "wakeup", "exception", "drop",
}

-- How many letters to insert, delete or replace to get from `a` to `b`.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

-- "read_bytes" and "bytes_read" alike.
local function sorted_words(name)
  local words = {}
  for word in name:gmatch("[^_]+") do words[#words + 1] = word end
  table.sort(words)
  return table.concat(words, "_")
end

local function nearest(name, known)
  local best, least = nil, math.huge
  for _, candidate in ipairs(known) do
    local d = math.min(distance(name, candidate),
                       distance(sorted_words(name), sorted_words(candidate)))
    if d < least then best, least = candidate, d end
  end
  return least <= math.max(2, #name // 3) and best or nil
end

local function is_in(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function hint(name, known, what)
  if #known == 0 then return "there is no other" end
  local near = nearest(tostring(name), known)
  return near and ("did you mean %s?"):format(near)
    or ("%s %s"):format(what, table.concat(known, ", "))
end

-- What is wrong with the table, or nil. Every function in it must be a transition: a misspelt one
-- would never be called. Other values are what `self` begins with.
local function mistake(transitions, known, what)
  if type(transitions) ~= "table" then
    return "a table of transitions expected, got " .. type(transitions)
  end
  for _, name in ipairs(known) do
    local given = transitions[name]
    if given ~= nil and type(given) ~= "function" then
      return ("%s is a transition, so a function is expected, got %s"):format(name, type(given))
    end
  end
  for name, value in pairs(transitions) do
    if type(value) == "function" and not is_in(known, name) then
      return ("no transition is called %s; %s (other functions go outside the table)"):format(
        tostring(name), hint(name, known, "a " .. what .. " has"))
    end
  end
  if what ~= "state" and not transitions.create then
    return ("create is missing, with which every %s begins"):format(what)
  end
end

local function others(list, name)
  local rest = {}
  for _, item in ipairs(list) do
    if item ~= name then rest[#rest + 1] = item end
  end
  return rest
end

-- The same for the states of a protocol, which are named by strings and may have a parent.
local function mistake_in_states(states, names)
  for _, name in ipairs(names) do
    local state = states[name]
    local wrong = mistake(state, state_transitions, "state")
    if wrong then return ("state %s: %s"):format(name, wrong) end
    for key, value in pairs(state) do
      if key == "parent" then
        if not is_in(names, value) then
          return ("state %s: no state is called %s, which is to be its parent; %s"):format(
            name, tostring(value), hint(value, others(names, name), "there are"))
        end
      elseif not is_in(state_transitions, key) then
        return ("state %s: %s is neither a transition nor parent; what belongs to the connection "
          .. "goes into self"):format(name, tostring(key))
      end
    end
    local above, steps = name, 0
    while above do
      above, steps = states[above] and states[above].parent, steps + 1
      if steps > #names then return ("state %s: it is its own parent"):format(name) end
    end
  end
end

local function sorted_names(states)
  if type(states) ~= "table" then
    return nil, "states: a table of states by their names expected, got " .. type(states)
  end
  local names = {}
  for name in pairs(states) do
    if type(name) ~= "string" then
      return nil, "states: NAME = { … } expected, got a key that is a " .. type(name)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Make a protocol, and then its states, each after its parent.
local function make_protocol(name, transitions, options)
  local states, made = transitions.states, {}
  local names = {}
  if states ~= nil then
    local sorted, wrong = sorted_names(states)
    names = sorted or names
    wrong = wrong or mistake_in_states(states, names)
    if wrong then error(wrong, 0) end
  end
  local listing = names[1] and table.concat(names, ", ")
  local ok, protocol = pcall(core.protocol, name, transitions, options, listing)
  if not ok then error(protocol, 0) end -- without this file's name and line
  local function make(state)
    if made[state] then return end
    made[state] = true
    if states[state].parent then make(states[state].parent) end
    core.state(state, states[state], protocol, states[state].parent)
  end
  for _, state in ipairs(names) do make(state) end
  if watch then watch(name, protocol) end
  return protocol
end

local function declare(what, make, known, name, options)
  if type(name) ~= "string" then
    error(('rotor.%s: a name expected, got %s'):format(what, type(name)), 3)
  elseif options ~= nil and type(options) ~= "table" then
    error(('%s "%s": a table of options expected, got %s'):format(what, name, type(options)), 3)
  elseif options and (what == "machine" or options.create) then
    error(('%s "%s": the transitions go behind the name: rotor.%s "%s" { … }'):format(
      what, name, what, name), 3)
  end
  return function(transitions)
    local kind = what == "datagram" and "datagram protocol" or what
    local wrong, class = mistake(transitions, known, kind), nil
    if not wrong then
      local ok, result = pcall(make, name, transitions, options)
      if ok then class = result else wrong = result end
    end
    if wrong then error(('%s "%s": %s'):format(what, name, wrong), 2) end
    return class
  end
end

-- In parentheses, which keep them from being tail calls: the caller's line is what errors name.

--- Declare a type of machine: `rotor.machine "Name" { create = …, … }`.
function rotor.machine(name, misplaced)
  return (declare("machine", core.type, machine_transitions, name, misplaced))
end

--- Declare a protocol: `rotor.protocol "Name" { create = …, bytes_read = …, … }`; or with options,
--- `rotor.protocol("Name", { high_water = 1 << 20 }) { … }`. `states = { body = { … } }` among
--- the transitions splits it into states.
function rotor.protocol(name, options)
  return (declare("protocol", make_protocol, protocol_transitions, name, options))
end

--- Declare what a datagram socket does: `rotor.datagram "Name" { create = …, datagram = … }`; or
--- with options, `rotor.datagram("Name", { turns = 16 }) { … }`.
function rotor.datagram(name, options)
  return (declare("datagram", core.datagram, datagram_transitions, name, options))
end

return rotor
