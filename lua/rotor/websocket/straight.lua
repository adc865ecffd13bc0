--- WebSockets for tasks: `ws:recv()` and `ws:send()` in place of transitions, which are here.
local core = require "rotor.core"

-- Messages that are kept for a task that does not take them, and bytes that it may leave unsent.
local MOST, HIGH, LOW = 16, 65536, 16384

local Straight = {}
Straight.__index = Straight
Straight.__name = "rotor.websocket.straight"

-- -- its transitions ------------------------------------------------------------------------------

-- What it waits for: messages, as long as there is room for them, and room for more output.
local function expect(self, ws)
  local straight = self.straight
  if #straight.output > 0 then
    if ws:unsent() <= LOW then
      while straight.output:wake() do end
    else
      return ws:and_flush(straight.held and ws:sleep() or ws:expect_message(), LOW)
    end
  end
  return straight.held and ws:sleep() or ws:expect_message()
end

local transitions = { flushed = expect, wakeup = expect }

function transitions.open(self, ws, straight)
  self.straight, straight.ws = straight, ws
  straight.opened:close()
  if straight.left then ws:close(1001, "") end
  return ws:expect_message()
end

function transitions.message(self, ws, data, kind)
  local straight = self.straight
  straight.input:try_send { data, kind }
  straight.held = #straight.input >= MOST
  return expect(self, ws)
end

function transitions.close(self, _, code, reason, name, seed)
  local straight = self.straight or seed
  straight.code, straight.reason, straight.name = code, reason, name or "ECLOSED"
  straight.opened:close()
  straight.input:close()
  while straight.output:wake() do end
end

local Handler = core.websocket_handler("straight", transitions)

-- -- for the task ---------------------------------------------------------------------------------

local function failure(self)
  local text = self.reason ~= "" and self.reason or "the WebSocket is closed"
  local code = self.ws and (" (%d)"):format(self.code) or "" -- it was never open
  return nil, ("%s: %s%s"):format(self.name, text, code), self.name
end

--- The next message, and "text" or "binary"; nil, message, name when it is closed, by either side,
--- or the time is over. Messages that came before the end are not lost.
function Straight:recv(seconds)
  local message, text, name = self.input:recv(seconds)
  if self.held and #self.input < MOST then
    self.held = false
    self.ws:handle():wake()
  end
  if message then return message[1], message[2] end
  if name then return nil, text, name end
  return failure(self)
end

--- Send a text, or "binary" data; waits when too much is unsent. True; or nil, message, name.
function Straight:send(data, kind)
  if self.code then return failure(self) end
  local ok, message, name
  if kind == "binary" then
    ok, message, name = self.ws:send_binary(data)
  else
    ok, message, name = self.ws:send(data)
  end
  if not ok then return nil, message, name end
  if self.ws:unsent() > HIGH then
    self.ws:handle():wake()
    self.output:wait()
    if self.code then return failure(self) end
  end
  return true
end

--- Begin to close, as of code and reason.
function Straight:close(code, reason)
  if self.code or not self.ws:is_open() then return true end
  return self.ws:close(code, reason)
end

function Straight:__close() self:close() end

--- `for data, kind in ws:messages() do`
function Straight:messages()
  return function() return self:recv() end
end

local straight = {}

local function new()
  return setmetatable({
    input = core.task.channel(), opened = core.task.channel(), output = core.task.queue(),
  }, Straight)
end

-- Wait until the handshake is through. If the task is unwound meanwhile, nobody will have it.
local function opened(self, handle)
  local _ <close> = setmetatable({}, { __close = function(_, thrown)
    if thrown == nil then return end
    self.left = true
    if self.ws then
      self:close(1001)
    elseif handle then
      handle:close()
    end
  end })
  self.opened:recv()
  if self.code then return failure(self) end
  return self
end

local function with_seed(options, seed)
  local copy = {}
  for key, value in pairs(options or {}) do copy[key] = value end
  copy.seed = seed
  return copy
end

-- What a function of the core has returned; what it has thrown names the line of the program.
local function blamed(ok, ...)
  if not ok then error((...), 3) end
  return ...
end

function straight.accept(req, res, options)
  blamed(pcall(core.task.check)) -- only a task can wait
  local self = new()
  local ok, message, name =
    blamed(pcall(core.websocket_upgrade, req, res, Handler, with_seed(options, self)))
  if not ok then return nil, message, name end
  return opened(self)
end

function straight.dial(url, options)
  blamed(pcall(core.task.check))
  local self = new()
  local handle, message, name =
    blamed(pcall(core.websocket_connect, url, Handler, with_seed(options, self)))
  if not handle then return nil, message, name end
  return opened(self, handle)
end

return straight
