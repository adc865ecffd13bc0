--- What a reply is made of besides strings, numbers, booleans and tables: the null inside of an
--- array, and errors.
local value = {}

--- Stands for a null inside of an aggregate, where nil would be a hole.
value.null = setmetatable({}, {
  __name = "redis.null",
  __tostring = function() return "redis.null" end,
})

-- `name` is the code that the server's message begins with, `message` the rest.
local Error = {
  __name = "redis.error",
  __tostring = function(self) return self.name .. ": " .. self.message end,
}

--- Whether `name` is an error of the server's own. What rotor and the C library call theirs begins
--- with an E; of the server's codes only these two do.
function value.is_reply(name)
  return name ~= nil and (name:byte() ~= 69 or name == "ERR" or name == "EXECABORT")
end

--- The error that the server has put as `text`, as in "WRONGTYPE Operation against a key …". What
--- has no code, or one that would be mistaken for rotor's, is an "ERR".
function value.error(text)
  local name, message = text:match("^(%u[%u%d_]*) ?(.*)$")
  if not name or text:find("^[^ ]", #name + 1) or not value.is_reply(name) then
    name, message = "ERR", text
  end
  return setmetatable({ name = name, message = message }, Error)
end

function value.is_error(v)
  return getmetatable(v) == Error
end

return value
