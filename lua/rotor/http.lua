--- HTTP: `http.serve(address, function(req, res) … end)`.
local core = require "rotor.core"

---@class rotor.http
local http = {}

--- Serve HTTP on `address`; returns the listener's handle, or nil, message, name.
http.serve = core.serve

return http
