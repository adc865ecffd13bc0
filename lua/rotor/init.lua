--- rotor: state machines over libuv. See README.md for a tour and `types.lua` for every signature.
local core = require "rotor.core"
local declare = require "rotor.declare"
local hint, is_in, mistake = declare.hint, declare.is_in, declare.mistake

---@class rotor
local rotor = {}

for name, value in pairs(core) do
  rotor[name] = value
end
-- Reached by what is below, and by rotor.http, rotor.websocket and rotor.task.
for _, name in ipairs {
  "type", "state", "serve", "handler", "metrics", "files", "client", "get", "request", "requester",
  "websocket_handler", "websocket_upgrade", "websocket_connect", "task", "spawn", "offload",
} do
  rotor[name] = nil
end

rotor.threads = require "rotor.threads"

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

-- In parentheses, which keep them from being tail calls: the caller's line is what errors name.

--- Declare a type of machine: `rotor.machine "Name" { create = …, … }`.
function rotor.machine(name, misplaced)
  return (declare.class("rotor", "machine", core.type, machine_transitions, name, misplaced))
end

--- Declare a protocol: `rotor.protocol "Name" { create = …, bytes_read = …, … }`; or with options,
--- `rotor.protocol("Name", { high_water = 1 << 20 }) { … }`. `states = { body = { … } }` among
--- the transitions splits it into states.
function rotor.protocol(name, options)
  return (declare.class("rotor", "protocol", make_protocol, protocol_transitions, name, options))
end

--- Declare what a datagram socket does: `rotor.datagram "Name" { create = …, datagram = … }`; or
--- with options, `rotor.datagram("Name", { turns = 16 }) { … }`.
function rotor.datagram(name, options)
  return (declare.class("rotor", "datagram", core.datagram, datagram_transitions, name, options,
                        "datagram protocol"))
end

return rotor
