--- A Redis client: `redis.connect(address, options)`. Commands go out at once, any number of them,
--- and each has a future of its reply.
local Session = require "rotor.redis.session"
local command = require "rotor.redis.command"
local subscription = require "rotor.redis.subscription"
local transaction = require "rotor.redis.transaction"
local value = require "rotor.redis.value"
local core = require "rotor.core"

---@class rotor.redis
local redis = {}

redis.null = value.null
redis.is_error = value.is_error
redis.is_reply = value.is_reply

local misuse = command.misuse

-- -- the client -----------------------------------------------------------------------------------

local SESSION = {} -- the key to what a client is; no command has such a name

local function session_of(client, method)
  local session = client[SESSION]
  if not session then misuse("a method of a client: client:%s(…), with a colon", method) end
  return session
end

local function send(client, this, ...)
  local session = client[SESSION] or session_of(client, this.name)
  if this.guard then this.guard(...) end
  return session:send(this:bytes(...))
end

local Client = {}

function Client:ready()
  return session_of(self, "ready"):ready()
end

function Client:call(name, ...)
  return (send(self, command.of(name), ...))
end

function Client:transaction(fn, options)
  local session = session_of(self, "transaction")
  return (transaction(session, fn, options))
end

function Client:subscribe(channels, fn)
  return (subscription.subscribe(session_of(self, "subscribe"), "subscribe", channels, fn))
end

function Client:psubscribe(patterns, fn)
  return (subscription.subscribe(session_of(self, "psubscribe"), "psubscribe", patterns, fn))
end

function Client:unsubscribe(channels)
  return (subscription.unsubscribe(session_of(self, "unsubscribe"), "unsubscribe", channels))
end

function Client:punsubscribe(patterns)
  return (subscription.unsubscribe(session_of(self, "punsubscribe"), "punsubscribe", patterns))
end

function Client:protocol()
  local link = session_of(self, "protocol").link
  return link and link.protocol
end

function Client:close()
  return session_of(self, "close"):close()
end

local metatable = {
  __name = "redis.client",
  __index = command.methods(Client, send),
  __close = Client.close,
  __tostring = function(self)
    return "redis.client: " .. self[SESSION].address
  end,
}

-- -- connecting -----------------------------------------------------------------------------------

-- What each option has to be: in words, and whether it is.
local seconds = { "seconds, more than 0 and less than 46 days,", function(v)
  return type(v) == "number" and v > 0 and v < 4e6
end }
local text = { "a string", function(v) return type(v) == "string" end }
local callback = { "a function", function(v) return type(v) == "function" end }
local function integer(least, most)
  return { ("an integer from %d to %d"):format(least, most), function(v)
    return math.type(v) == "integer" and v >= least and v <= most
  end }
end
local known = {
  backoff = seconds,
  backoff_max = seconds,
  database = integer(0, 1 << 31),
  keepalive = integer(1, 32767),
  loop = { "an open loop", function(v) return tostring(v):find("^rotor%.loop: ") end },
  max_reply = integer(1, 1 << 30),
  name = text,
  on_down = callback,
  on_push = callback,
  on_up = callback,
  password = text,
  protocol = integer(2, 3),
  timeout = seconds,
  username = text,
}

local function check_options(given)
  if given ~= nil and type(given) ~= "table" then
    misuse("a table of options expected, got %s", type(given))
  end
  local options = { max_reply = 512 << 20, protocol = 3, timeout = 10 }
  for name, v in pairs(given or {}) do
    local expected = known[name]
    if not expected then
      local names = {}
      for other in pairs(known) do names[#names + 1] = other end
      table.sort(names)
      misuse("unknown option '%s'; known are: %s", name, table.concat(names, ", "))
    elseif not expected[2](v) then
      misuse("option '%s': %s expected, got %s", name, expected[1], v)
    end
    options[name] = v
  end
  if options.username and not options.password then
    misuse("option 'username': there is no password with it")
  end
  options.loop = options.loop or core.task.present()
  return options
end

--- A client of the server at `address`, which connects, and connects again when it has to; or nil,
--- message, name.
function redis.connect(address, options)
  if address == nil then address = "127.0.0.1:6379" end
  if type(address) ~= "string" and math.type(address) ~= "integer" then
    misuse("an address expected, got %s", type(address))
  end
  local client = {}
  local session, message, name = Session.open(client, tostring(address), check_options(options))
  if not session then return nil, message, name end
  client[SESSION] = session
  return setmetatable(client, metatable)
end

return redis
