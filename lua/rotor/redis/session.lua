--- A client as its connections see it: what holds from one of them to the next.
local rotor = require "rotor"
local command = require "rotor.redis.command"
local connection = require "rotor.redis.connection"
local subscription = require "rotor.redis.subscription"

local Session = {}
Session.__index = Session

--- A session that connects, and connects again when it has to; or nil, message, name.
function Session.open(client, address, options)
  local self = setmetatable({
    client = client, loop = options.loop, address = address, options = options,
    channels = {}, patterns = {}, -- the functions of what is subscribed to
    waiting = {}, -- ports of those who wait until it is connected
    why = { text = ("still connecting (%s)"):format(address) }, -- it is not connected
  }, Session)
  local handle, message, name = rotor.persist(self.loop, address, connection.Protocol, {
    seed = self, timeout = options.timeout, keepalive = options.keepalive,
    backoff = options.backoff, backoff_max = options.backoff_max,
    down = function(...) self:down(...) end,
  })
  if not handle then return nil, message, name end
  self.handle = handle
  return self
end

-- Call a function of the user's, outside of any transition, and after the replies that came before;
-- but nothing after close(). What it throws is told to the loop's on_error, and harms nobody else.
local function later(self, fn, ...)
  if not fn then return end
  local arguments = table.pack(...)
  local port, future = self.loop:future()
  future:map(function()
    if not self.closed then fn(table.unpack(arguments, 1, arguments.n)) end
  end)
  port:set()
end

-- -- for the program ------------------------------------------------------------------------------

--- A future that fails.
function Session:failed(text, name)
  if not tostring(self.loop):find("^rotor.loop: ") then command.misuse("the loop is closed") end
  local port, future = self.loop:future()
  port:fail(text, name)
  return future
end

local function not_connected(self)
  if self.closed then return self:failed(self.over.text, self.over.name) end
  return self:failed("ENOTCONN: not connected: " .. self.why.text, "ENOTCONN")
end

--- Send `bytes`; a future of the reply. A `waiter`, if there is one, is given the reply, and then
--- resolves the future by its `port`.
function Session:send(bytes, waiter)
  local link = self.link
  if not link then return not_connected(self) end
  if link.protocol == 2 and not (waiter and waiter.confirms)
      and (next(self.channels) or next(self.patterns)) then
    return self:failed("EBUSY: under RESP2 a subscribed client takes no other commands", "EBUSY")
  end
  local port, future = self.loop:future()
  local sent, message, code = connection.send(link, waiter or port, bytes)
  if not sent then
    port:fail(message, code)
  elseif waiter then
    waiter.port, waiter.link = port, link
  end
  return future
end

--- A future of the client, when it is connected and greeted.
function Session:ready()
  if self.over then return self:failed(self.over.text, self.over.name) end
  local port, future = self.loop:future()
  if self.link then
    port:set(self.client)
    return future
  end
  local waiting = { port }
  for _, other in ipairs(self.waiting) do
    if not other:canceled() then waiting[#waiting + 1] = other end
  end
  self.waiting = waiting
  return future
end

-- There will be no other connection, for a reason.
local function finish(self, reason)
  self.over, self.why, self.channels, self.patterns = reason, reason, {}, {}
  for _, port in ipairs(self.waiting) do port:fail(reason.text, reason.name) end
  self.waiting = {}
  self.handle:close()
end

function Session:close()
  if self.over then return nil, "ECLOSED: already closed", "ECLOSED" end
  local reason = { name = "ECANCELED", text = "ECANCELED: the client was closed" }
  local link = self.link
  self.link, self.closed = nil, true
  if link then connection.lose(link, reason) end
  finish(self, reason)
  self.over = { name = "ECLOSED", text = "ECLOSED: the client is closed" }
  return true
end

-- -- for the connection ---------------------------------------------------------------------------

--- The greeting is through.
function Session:greeted(link)
  if not subscription.resume(self, link) then self:up(link) end
end

--- So is all that was subscribed to before.
function Session:up(link)
  link.deadline = nil
  self.link = link
  local waiting = self.waiting
  self.waiting = {}
  later(self, self.options.on_up, self.client)
  for _, port in ipairs(waiting) do port:set(self.client) end
end

--- The server does not want this client, and would say the same the next time.
function Session:refused(reason)
  finish(self, reason)
  later(self, self.options.on_down, self.client, reason.name, reason.text)
end

-- Nobody may have subscribed to it any more.
local function hear(functions, name, ...)
  local fn = functions[name]
  if fn then fn(...) end
end

--- Something has come that is no reply.
function Session:pushed(push)
  local kind = push[1]
  if kind == "message" then
    later(self, hear, self.channels, push[2], push[3], push[2])
  elseif kind == "pmessage" then
    later(self, hear, self.patterns, push[2], push[4], push[3], push[2])
  else
    later(self, self.options.on_push, self.client, push)
  end
end

--- The connection has ended.
function Session:ended(link)
  local reason = link.reason or { name = "ECANCELED", text = "ECANCELED: the connection was ended" }
  if self.link == link then self.link = nil end
  self.why = reason
  connection.lose(link, reason)
end

--- It has ended, or there was none to be had; in so many seconds there will be another attempt.
function Session:down(code, text, seconds)
  if self.over then return end
  local why = self.lost
    or { name = code or "EEOF", text = text or "EEOF: the connection has ended" }
  self.lost, self.why = nil, why
  later(self, self.options.on_down, self.client, why.name, why.text, seconds)
end

return Session
