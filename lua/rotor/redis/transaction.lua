--- Transactions: MULTI, the commands and EXEC leave in one go, and have one future.
local command = require "rotor.redis.command"
local value = require "rotor.redis.value"

local misuse = command.misuse

-- -- the commands ---------------------------------------------------------------------------------

local LIST = {} -- the key to what a tx has gathered; no command has such a name
local outside = { DISCARD = true, EXEC = true, MULTI = true, UNWATCH = true, WATCH = true }

local function add(tx, this, ...)
  local list = tx[LIST]
  if not list then misuse("a method of the transaction: call it with a colon") end
  if list.over then misuse("the transaction is on its way; nothing can be added any more") end
  if this.guard then this.guard(...) end
  if outside[this.name] then misuse("%s has no place inside of a transaction", this.name) end
  list[#list + 1] = this:bytes(...)
  return #list
end

local Tx = {}

--- Add a command. Where among the results its own will be.
function Tx:call(name, ...)
  return (add(self, command.of(name), ...))
end

local tx_metatable = { __name = "redis.transaction", __index = command.methods(Tx, add) }

-- Calls `fn` at the end of a block, with what was thrown.
local function finally(fn)
  return setmetatable({}, { __close = function(_, thrown) fn(thrown) end })
end

-- What `fn` wants to have done, and in how many commands.
local function gather(fn, ...)
  local list = {}
  local _ <close> = finally(function() list.over = true end)
  fn(setmetatable({ [LIST] = list }, tx_metatable), ...)
  return table.concat(list), #list
end

-- -- its replies ----------------------------------------------------------------------------------

-- Waits for `left` replies, of which the last is EXEC's.
local Waiter = {}
Waiter.__index = Waiter

function Waiter:reply(reply)
  self.left = self.left - 1
  local failed = value.is_error(reply)
  if self.left > 0 then
    if failed and not self.first then self.first = tostring(reply) end
    return false
  end
  if failed then
    local first = self.first and (" (%s)"):format(self.first) or ""
    self.port:fail(tostring(reply) .. first, reply.name)
  elseif reply == value.null then
    self.port:set()
  else
    self.port:set(reply)
  end
  return true
end

function Waiter:lost(text, name)
  self.port:fail(text, name)
end

local MULTI, EXEC = command.of "MULTI":bytes(), command.of "EXEC":bytes()
local UNWATCH = command.of "UNWATCH":bytes()

-- `before` is a command that leaves in front of it, or "".
local function exec(session, before, fn, ...)
  local bytes, n = gather(fn, ...)
  local left = n + (before == "" and 2 or 3)
  return session:send(before .. MULTI .. bytes .. EXEC, setmetatable({ left = left }, Waiter))
end

-- -- with a look at what is watched ---------------------------------------------------------------

-- WATCH and what `read` asks for leave together; with what comes of that, `fn` makes the commands.
-- Meanwhile `link.watching` keeps other transactions away, any of which would end the watching.
local function look_first(session, watch, read, fn)
  local link, loop = session.link, session.loop
  local watched = session:send(watch)
  if not link then return watched end

  local function stop()
    link.watching = false
    if session.link == link then session:send(UNWATCH) end
  end
  local function stop_if(thrown)
    if thrown ~= nil then stop() end
  end

  local looked
  do
    local _ <close> = finally(stop_if)
    link.watching = true
    looked = read(session.client)
    local is_future, both = pcall(loop.all, loop, { watched, looked })
    if not is_future then misuse("option 'read': its function has to return a future: %s", both) end
    looked = both
  end

  local port, future = loop:future()
  looked:and_then(function(values, message, name)
    local _ <close> = finally(stop_if)
    if name or port:canceled() then
      stop()
      return session:failed(message, name)
    elseif session.link ~= link then
      return session:failed("ENOTCONN: the connection that watched has ended", "ENOTCONN")
    end
    link.watching = false
    return exec(session, "", fn, values[2])
  end):and_then(function(results, message, name)
    if name then port:fail(message, name) else port:set(results) end
  end)
  return future
end

local function check_options(options)
  if options == nil then return {} end
  if type(options) ~= "table" then misuse("a table of options expected, got %s", type(options)) end
  for name in pairs(options) do
    if name ~= "watch" and name ~= "read" then
      misuse("unknown option '%s'; known are: read, watch", name)
    end
  end
  local watch, read = options.watch, options.read
  if watch ~= nil and type(watch) ~= "string" and (type(watch) ~= "table" or #watch == 0) then
    misuse("option 'watch': a key or a list of keys expected, got %s", type(watch))
  elseif read ~= nil and type(read) ~= "function" then
    misuse("option 'read': a function expected, got %s", type(read))
  elseif read and not watch then
    misuse("option 'read': there is nothing to watch")
  end
  return options
end

--- A future of the results of the commands that `fn` makes.
return function(session, fn, options)
  if type(fn) ~= "function" then misuse("a function expected, got %s", type(fn)) end
  options = check_options(options)
  local watch = options.watch
  if session.link and session.link.watching then
    return session:failed("EBUSY: another transaction of this client watches its keys", "EBUSY")
  elseif type(watch) == "table" then
    watch = command.of "WATCH":bytes(table.unpack(watch))
  elseif watch then
    watch = command.of "WATCH":bytes(watch)
  end
  if options.read then return look_first(session, watch, options.read, fn) end
  return exec(session, watch or "", fn)
end
