--- Publish and subscribe. A command has a confirmation for each channel that it names; they are
--- pushes in RESP3, and in RESP2 like any reply.
local command = require "rotor.redis.command"
local connection = require "rotor.redis.connection"
local value = require "rotor.redis.value"

local subscription = {}

-- The server has confirmed one channel: how many subscriptions there are now. Nil: it has not.
local function confirmed(link, reply)
  local count = type(reply) == "table" and reply[3]
  if math.type(count) ~= "integer" then
    return connection.give_up(link, "EPROTO", "not what confirms a subscription")
  end
  link.listening = count
  return count
end

-- -- commands -------------------------------------------------------------------------------------

-- Waits for the confirmations of one command.
local Waiter = { confirms = true }
Waiter.__index = Waiter

local function forget(self)
  for _, name in ipairs(self.names) do
    if self.functions[name] == self.fn then self.functions[name] = nil end
  end
end

function Waiter:reply(reply)
  if value.is_error(reply) then
    if self.fn then forget(self) end
    self.port:fail(tostring(reply), reply.name)
    return true
  end
  local count = confirmed(self.link, reply)
  self.left = self.left - 1
  if not count or self.left > 0 then return false end
  self.port:set(count)
  return true
end

function Waiter:lost(text, name)
  if self.fn then forget(self) end
  self.port:fail(text, name)
end

local function functions(session, kind)
  return kind:find("^p") and session.patterns or session.channels
end

local function check_names(kind, names)
  local what = kind:find("^p") and "pattern" or "channel"
  if type(names) == "string" then return { names } end
  if type(names) ~= "table" or #names == 0 then
    command.misuse("argument #1 of %s: a %s or a list of some expected, got %s", kind, what,
      type(names) == "table" and "an empty table" or type(names))
  end
  for i, name in ipairs(names) do
    if type(name) ~= "string" then
      command.misuse("argument #1 of %s: item %d is no %s but a %s", kind, i, what, type(name))
    end
  end
  return { table.unpack(names) }
end

local function send(session, kind, names, fn)
  local waiter = setmetatable({
    functions = functions(session, kind), names = names, fn = fn, left = math.max(#names, 1),
  }, Waiter)
  return session:send(command.of(kind):bytes(table.unpack(names)), waiter), waiter
end

--- `kind` is "subscribe" or "psubscribe". A future of the number of subscriptions there are then.
function subscription.subscribe(session, kind, names, fn)
  names = check_names(kind, names)
  if type(fn) ~= "function" then
    command.misuse("argument #2 of %s: a function expected, got %s", kind, type(fn))
  end
  local future, waiter = send(session, kind, names, fn)
  if waiter.link then
    for _, name in ipairs(names) do waiter.functions[name] = fn end
  end
  return future
end

--- "unsubscribe" or "punsubscribe", from all without names. From now on nothing is called any more.
function subscription.unsubscribe(session, kind, names)
  local known = functions(session, kind)
  if names ~= nil then
    names = check_names(kind, names)
  else
    names = {}
    for name in pairs(known) do names[#names + 1] = name end
  end
  local future, waiter = send(session, kind, names)
  if waiter.link then
    for _, name in ipairs(names) do known[name] = nil end
  end
  return future
end

-- -- after a reconnect ----------------------------------------------------------------------------

-- Waits for the confirmations of all that was subscribed to before.
local Resumption = { confirms = true }
Resumption.__index = Resumption

function Resumption:reply(reply)
  local link = self.link
  if value.is_error(reply) then
    connection.give_up(link, reply.name, reply.message)
    link.session:refused(link.reason)
    return true
  end
  self.left = self.left - 1
  if not confirmed(link, reply) or self.left > 0 then return false end
  link.session:up(link)
  return true
end

function Resumption.lost() end

--- Subscribe on a new connection to what was subscribed to before. False if that is nothing.
function subscription.resume(session, link)
  local bytes, left = "", 0
  for kind, known in pairs { subscribe = session.channels, psubscribe = session.patterns } do
    local names = {}
    for name in pairs(known) do names[#names + 1] = name end
    if #names > 0 then bytes = bytes .. command.of(kind):bytes(table.unpack(names)) end
    left = left + #names
  end
  if left == 0 then return false end
  connection.send(link, setmetatable({ link = link, left = left }, Resumption), bytes)
  return true
end

return subscription
