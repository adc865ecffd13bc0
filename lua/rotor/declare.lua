-- What the functions share that declare machines, protocols and handlers by a name and a table:
-- finding mistakes, and saying what was meant.
local declare = {}

-- By module and what it declares.
local takes_options = {
  ["rotor.protocol"] = true, ["rotor.datagram"] = true, ["websocket.handler"] = true,
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

function declare.is_in(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

function declare.hint(name, known, what)
  if #known == 0 then return "there is no other" end
  local near = nearest(tostring(name), known)
  return near and ("did you mean %s?"):format(near)
    or ("%s %s"):format(what, table.concat(known, ", "))
end

-- What is wrong with the table, or nil. Every function in it must be a transition: a misspelt one
-- would never be called. Other values are what `self` begins with.
function declare.mistake(transitions, known, what)
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
    if type(value) == "function" and not declare.is_in(known, name) then
      return ("no transition is called %s; %s (other functions go outside the table)"):format(
        tostring(name), declare.hint(name, known, "a " .. what .. " has"))
    end
  end
  if declare.is_in(known, "create") and not transitions.create then
    return ("create is missing, with which every %s begins"):format(what)
  end
end

-- Whether the table is of transitions, where one of options may stand.
local function is_misplaced(options, known)
  for _, name in ipairs(known) do
    if type(options[name]) == "function" then return true end
  end
  return false
end

--- Check the name, then the table of transitions, of what `module.what "Name" { … }` declares, and
--- make it. `kind` is what it is called in messages, where that is not `what`.
function declare.class(module, what, make, known, name, options, kind)
  if type(name) ~= "string" then
    error(('%s.%s: a name expected, got %s'):format(module, what, type(name)), 3)
  elseif options ~= nil and type(options) ~= "table" then
    error(('%s "%s": a table of options expected, got %s'):format(what, name, type(options)), 3)
  elseif options and (not takes_options[module .. "." .. what] or is_misplaced(options, known)) then
    error(('%s "%s": the transitions go behind the name: %s.%s "%s" { … }'):format(
      what, name, module, what, name), 3)
  end
  return function(transitions)
    local wrong, class = declare.mistake(transitions, known, kind or what), nil
    if not wrong then
      local ok, result = pcall(make, name, transitions, options)
      if ok then class = result else wrong = result end
    end
    if wrong then error(('%s "%s": %s'):format(what, name, wrong), 2) end
    return class
  end
end

return declare
