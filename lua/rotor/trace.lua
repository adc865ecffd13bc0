--- ROTOR_TRACE=FOLDER: every protocol is traced, and its diagram written to FOLDER/NAME.dot at its
--- end, which is at the latest that of the program.
local core = require "rotor.core"

local function write(path, text)
  local file, message = io.open(path, "w")
  if file then
    message = select(2, file:write(text))
    file:close()
  end
  if message then io.stderr:write("rotor: ROTOR_TRACE: ", message, "\n") end
end

-- A function that is given each protocol when it is declared.
return function(folder)
  local taken = {} -- how often each name is
  -- Objects are finalized in the opposite order of their making: a sentinel, which is as old as its
  -- protocol and made after it, can still ask for the diagram.
  local sentinels = setmetatable({}, { __mode = "k" })
  return function(name, protocol)
    local base = name:gsub("[^%w_-]", "_")
    taken[base] = (taken[base] or 0) + 1
    if taken[base] > 1 then base = base .. "-" .. taken[base] end
    local path = ("%s/%s.dot"):format(folder, base)
    core.trace(protocol)
    sentinels[protocol] = setmetatable({}, {
      __gc = function() write(path, core.diagram(protocol)) end,
    })
  end
end
