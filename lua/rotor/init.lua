--- rotor: state machines over libuv. See README.md for a tour and `types.lua` for every signature.
local core = require "rotor.core"

local rotor = {}

for name, value in pairs(core) do
  rotor[name] = value
end
rotor.type, rotor.serve = nil, nil -- reached by `machine` below and by rotor.http

local machine_transitions = {
  "create", "spawned", "spawn_error", "timeout", "wakeup", "child_done", "drop",
}
local protocol_transitions = {
  "create", "bytes_read", "bytes_flushed", "timeout", "wakeup", "exception", "fatal", "drop",
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

local function nearest(name, known)
  local best = known[1]
  for _, candidate in ipairs(known) do
    if distance(name, candidate) < distance(name, best) then best = candidate end
  end
  return best
end

-- Every function in the table must be a transition: a misspelt one would never be called. Other values
-- are what `self` begins with.
local function check(what, name, transitions, known)
  if type(transitions) ~= "table" then
    error(('%s "%s": a table of transitions expected, got %s'):format(what, name, type(transitions)), 3)
  end
  local is_known = {}
  for _, transition in ipairs(known) do
    is_known[transition] = true
    local given = transitions[transition]
    if given ~= nil and type(given) ~= "function" then
      error(('%s "%s": %s is a %s, not a function'):format(what, name, transition, type(given)), 3)
    end
  end
  for key, value in pairs(transitions) do
    if type(value) == "function" and not is_known[key] then
      error(('%s "%s": no transition is called %s; did you mean %s?'):format(
        what, name, tostring(key), nearest(tostring(key), known)), 3)
    end
  end
  if not transitions.create then
    error(('%s "%s": no create, with which every %s begins'):format(what, name, what), 3)
  end
end

local function check_name(what, name)
  if type(name) ~= "string" then
    error(("%s: a name expected, got %s"):format(what, type(name)), 3)
  end
end

--- Declare a type of machine: `rotor.machine "Name" { create = …, … }`.
function rotor.machine(name)
  check_name("machine", name)
  return function(transitions)
    check("machine", name, transitions, machine_transitions)
    return core.type(name, transitions)
  end
end

--- Declare a protocol: `rotor.protocol "Name" { create = …, bytes_read = …, … }`.
function rotor.protocol(name, options)
  check_name("protocol", name)
  return function(transitions)
    check("protocol", name, transitions, protocol_transitions)
    return core.protocol(name, transitions, options)
  end
end

return rotor
