--- HTTP: `http.serve(address, function(req, res) … end)`, or a handler with transitions; and
--- `http.get(url)`, whose future is the response, or a requester with transitions.
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

--- A client with settings and connections of its own.
http.client = core.client

--- A future of the response to GET, or to any request, by a client that the default loop has.
http.get = core.get
http.request = core.request

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

local requests = { -- their transitions
  "headers_received", "informational", "redirected", "response_received", "response_chunk",
  "response_end", "body_wanted", "wakeup", "timeout", "failed", "call_over",
}

--- Declare a requester: `http.requester "Name" { response_chunk = …, … }`.
function http.requester(name, misplaced)
  return (declare.class("http", "requester", core.requester, requests, name, misplaced))
end

return http
