--- ROTOR_TRACE=FOLDER: every protocol is traced, and its diagram written to FOLDER/NAME.dot when
--- rotor.run() returns, and at the protocol's end, which is at the latest that of the program.
local core = require "rotor.core"

local function write(path, text)
  local file, message = io.open(path, "w")
  if file then
    message = select(2, file:write(text))
    file:close()
  end
  if message then io.stderr:write("rotor: ROTOR_TRACE: ", message, "\n") end
end

-- A function that is given each protocol when it is declared, and one that writes all there is.
return function(folder)
  local taken = {} -- how often each name is
  -- Objects are finalized in the opposite order of their making: a sentinel, which is as old as its
  -- protocol and made after it, can still ask for the diagram.
  local sentinels = setmetatable({}, { __mode = "k" })

  local function watch(name, protocol)
    local base = name:gsub("[^%w_-]", "_")
    taken[base] = (taken[base] or 0) + 1
    if taken[base] > 1 then base = base .. "-" .. taken[base] end
    local path = ("%s/%s.dot"):format(folder, base)
    core.trace(protocol)
    local function save() write(path, core.diagram(protocol)) end
    sentinels[protocol] = setmetatable({ save = save }, { __gc = save })
  end

  return watch, function()
    for _, sentinel in pairs(sentinels) do sentinel.save() end
  end
end
