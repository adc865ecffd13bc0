--- WebSockets, of servers and clients: `websocket.handler "Name" { message = …, … }`, which
--- `websocket.upgrade(req, res, Name)` puts behind a request, and `websocket.connect(url, Name)` in
--- front of a server. In tasks `websocket.accept(req, res)` and `websocket.dial(url)` need none.
local core = require "rotor.core"
local declare = require "rotor.declare"
local straight = require "rotor.websocket.straight"

---@class rotor.websocket
local websocket = {}

--- Answer a request that asks for a WebSocket; true, or nil, message, name.
websocket.upgrade = core.websocket_upgrade

--- Connect to "ws://…"; returns the WebSocket's handle, or nil, message, name.
websocket.connect = core.websocket_connect

--- The same in a task, which gets what it sends and receives by, or nil, message, name.
websocket.accept = straight.accept
websocket.dial = straight.dial

local transitions = {
  "open", "message", "message_chunk", "ping", "pong", "flushed", "timeout", "wakeup", "close",
  "drop",
}

local function make_handler(name, given, options)
  if given.message and given.message_chunk then
    error("message is never called next to message_chunk, which gets messages in pieces", 0)
  end
  return core.websocket_handler(name, given, options)
end

--- Declare what a WebSocket does: `websocket.handler "Name" { message = …, … }`; or with options,
--- `websocket.handler("Name", { max_message = 1 << 16 }) { … }`.
function websocket.handler(name, options)
  return (declare.class("websocket", "handler", make_handler, transitions, name, options,
                        "WebSocket"))
end

return websocket
