--- HTTP: `http.serve(address, function(req, res) … end)`, or a handler with transitions.
local core = require "rotor.core"
local declare = require "rotor.declare"

---@class rotor.http
local http = {}

--- Serve HTTP on `address`; returns the listener's handle, or nil, message, name.
http.serve = core.serve

--- What all servers have counted, in Prometheus' text form.
http.metrics = core.metrics

--- A folder that is served: `http.serve(address, http.files "public")`, or, within another handler,
--- `files(req, res)`.
http.files = core.files

local transitions = {
  "headers_received", "request_received", "request_chunk", "request_end", "flushed", "wakeup",
  "timeout", "hangup", "bad_request", "error_page", "request_over",
}

local function make_handler(name, given)
  if not given.request_received and not given.request_end then
    error("request_received is missing, or, to get bodies as they come, request_end", 0)
  end
  return core.handler(name, given)
end

--- Declare a handler: `http.handler "Name" { request_received = …, … }`.
function http.handler(name, misplaced)
  return (declare.class("http", "handler", make_handler, transitions, name, misplaced))
end

return http
