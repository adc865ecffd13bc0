--- The protocol of one connection: the greeting, then replies to what was asked, and pushes.
---
--- `self.queue` holds, from `head` to `tail`, who waits for a reply, in the order in which they
--- asked: a port; or a table whose `reply` is given each reply and returns true with its last one,
--- and whose `lost` is told when there will be none.
local rotor = require "rotor"
local Parser = require "rotor.redis.parser"
local greeting = require "rotor.redis.greeting"
local value = require "rotor.redis.value"

local connection = {}

local type = type
local null, is_error = value.null, value.is_error

--- Send `bytes`, and have `waiter` wait for the reply; or nil, message, name.
function connection.send(self, waiter, bytes)
  local sent, message, name = self.stream:write(bytes)
  if not sent then return nil, message, name end
  local tail = self.tail + 1
  self.tail, self.queue[tail] = tail, waiter
  return true
end

--- Note why the connection ends. The transition that runs then ends it.
function connection.give_up(self, name, message)
  self.reason = {
    name = name, text = ("%s: %s (%s)"):format(name, message, self.session.address),
  }
  self.session.lost = self.reason
end
local give_up = connection.give_up

--- No reply will come any more, for a reason.
function connection.lose(self, reason)
  local queue, head, tail = self.queue, self.head, self.tail
  local text = reason.text .. "; the command may or may not have been executed"
  self.queue, self.head, self.tail = {}, 1, 0
  for i = head, tail do
    local waiter = queue[i]
    if type(waiter) == "userdata" then
      waiter:fail(text, reason.name)
    else
      waiter:lost(text, reason.name)
    end
  end
end

-- What is waited for next. The greeting has one deadline for all of it.
local function expect(self, stream, what, n)
  local left = self.deadline and math.max(0, self.deadline - stream:now())
  if what == "line" then return stream:expect_delimiter("\r\n", n, left) end
  return stream:expect_bytes(n, left)
end

-- -- the greeting ---------------------------------------------------------------------------------

local Greeting = {}
Greeting.__index = Greeting

local function greet(self, protocol)
  local commands = greeting.commands(self.session.options, protocol)
  self.protocol = protocol
  return connection.send(self,
    setmetatable({ commands = commands, replies = {}, link = self }, Greeting),
    greeting.bytes(commands))
end

function Greeting:reply(reply)
  local replies, link = self.replies, self.link
  replies[#replies + 1] = reply
  if #replies < #self.commands then return false end
  local outcome, name, message = greeting.outcome(self.commands, replies)
  if outcome == "older" then
    greet(link, 2)
  elseif outcome == "ready" then
    link.session:greeted(link)
  else
    give_up(link, name, message)
    if outcome == "refused" then link.session:refused(link.reason) end
  end
  return true
end

function Greeting.lost() end

-- -- replies --------------------------------------------------------------------------------------

local confirmations = {
  subscribe = true, unsubscribe = true, psubscribe = true, punsubscribe = true,
}

-- The first in the queue is given its reply.
local function answer(self, reply)
  local head, queue = self.head, self.queue
  local waiter = queue[head]
  if type(waiter) ~= "userdata" then
    if not waiter then return give_up(self, "EPROTO", "a reply that nobody has asked for") end
    if not waiter:reply(reply) then return end
  end
  queue[head] = nil
  if head == self.tail then self.head, self.tail = 1, 0 else self.head = head + 1 end
  if type(waiter) ~= "userdata" then return end
  if reply == null then
    waiter:set()
  elseif type(reply) == "table" and is_error(reply) then
    waiter:fail(tostring(reply), reply.name)
  else
    waiter:set(reply)
  end
end

-- What comes unasked. RESP3 has confirmations of subscriptions among it.
local function pushed(self, push)
  local waiter = self.queue[self.head]
  if confirmations[push[1]] and type(waiter) == "table" and waiter.confirms then
    return answer(self, push)
  end
  self.session:pushed(push)
end

local Protocol = {}

function Protocol.create(self, stream, session)
  self.session, self.stream = session, stream
  self.queue, self.head, self.tail = {}, 1, 0
  self.parser = Parser.new(session.options.max_reply)
  self.deadline = stream:now() + session.options.timeout
  self.listening = 0 -- subscriptions that have been confirmed
  greet(self, session.options.protocol)
  return expect(self, stream, "bytes", 1)
end

function Protocol.bytes_read(self, stream)
  local data, parser, pos = stream:peek(), self.parser, 1
  while true do
    local reply, behind, what, n = parser:next(data, pos)
    pos = behind
    if reply == nil then
      if what ~= "malformed" then
        stream:consume(pos - 1)
        return expect(self, stream, what, n)
      end
      give_up(self, "EPROTO", n)
    elseif what == ">" or self.listening > 0 and self.protocol == 2
        and type(reply) == "table" and (reply[1] == "message" or reply[1] == "pmessage") then
      pushed(self, reply)
    else
      answer(self, reply)
    end
    if self.reason then return stream:abort() end
  end
end

function Protocol.timeout(self, stream)
  give_up(self, "ETIMEDOUT", "the server has not answered the greeting")
  return stream:abort()
end

function Protocol.exception(self, stream, code, message)
  if code == "EEOF" then
    give_up(self, "EEOF", "the server has closed the connection")
  else -- a line goes on and on, which the parser says better
    give_up(self, "EPROTO", select(4, self.parser:next(stream:peek(), 1)) or message)
  end
  return stream:abort()
end

function Protocol.fatal(self, _, code, message, session)
  if session then -- there was no connection
    session.lost = { name = code, text = code .. ": " .. message }
  else
    give_up(self, code, message)
  end
end

function Protocol.drop(self)
  self.session:ended(self)
end

-- What is sent is bounded by who sends it. To stop reading as long as much of it has not left could
-- have both ends wait for one another.
connection.Protocol = rotor.protocol("redis", { high_water = 1 << 30 })(Protocol)

return connection
