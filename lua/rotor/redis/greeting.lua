--- What is said before a connection is anybody's: HELLO, or AUTH and the like; and what the answers
--- mean.
local command = require "rotor.redis.command"
local value = require "rotor.redis.value"

local greeting = {}

--- The commands of the greeting, each a list of words.
function greeting.commands(options, protocol)
  local commands = {}
  local username, password, name = options.username, options.password, options.name
  if protocol == 3 then
    local hello = { "HELLO", "3" }
    if password then table.move({ "AUTH", username or "default", password }, 1, 3, 3, hello) end
    if name then table.move({ "SETNAME", name }, 1, 2, #hello + 1, hello) end
    commands[1] = hello
  else
    if password then
      commands[1] = username and { "AUTH", username, password } or { "AUTH", password }
    end
    if name then commands[#commands + 1] = { "CLIENT", "SETNAME", name } end
  end
  if options.database then commands[#commands + 1] = { "SELECT", options.database } end
  -- An answer there has to be: a server that does not want us says so by the first one.
  if #commands == 0 then commands[1] = { "PING" } end
  return commands
end

function greeting.bytes(commands)
  local bytes = {}
  for i, words in ipairs(commands) do
    bytes[i] = command.of(words[1]):bytes(table.unpack(words, 2))
  end
  return table.concat(bytes)
end

-- Errors that say nothing about who we are, and may be gone the next time.
local passing = { LOADING = true, BUSY = true, MASTERDOWN = true, CLUSTERDOWN = true }

--- What has come of it: "ready"; "older", the server does not know HELLO or RESP3; or "later" or
--- "refused", with the name and message of the error that says so.
function greeting.outcome(commands, replies)
  for i, words in ipairs(commands) do
    local reply = replies[i]
    if value.is_error(reply) then
      local name, message = reply.name, reply.message
      if passing[name] or message:find("max number of clients", 1, true) then
        return "later", name, message
      elseif words[1] == "HELLO" and (name == "NOPROTO" or message:find("^unknown command")) then
        return "older"
      elseif name == "NOAUTH" then
        return "refused", name, "the server asks for a password, which is an option of connect"
      elseif words[1] ~= "PING" then
        return "refused", name, message
      end
    end
  end
  return "ready"
end

return greeting
