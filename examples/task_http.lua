-- Usage: task_http.lua PORT | ADDR:PORT URL... [SECONDS]
-- Answers each GET with what all URLs have, one after the other. They are asked at once, and have
-- 2 SECONDS in all; when one of them fails, the others are given up, and 502 is answered.
local rotor = require "rotor"
local http = require "rotor.http"
local task = require "rotor.task"

local arguments = { table.unpack(arg) }
local patience = tonumber(arguments[#arguments])
if #arguments > 1 and patience then table.remove(arguments) else patience = 2 end
local address, urls = table.remove(arguments, 1), arguments
if not address or #urls == 0 then
  io.stderr:write("usage: task_http.lua PORT | ADDR:PORT URL... [SECONDS]\n")
  os.exit(2)
end

-- What is there; or throw.
local function fetch(url)
  local answer, message = http.get(url):await()
  if not answer then error({ url = url, why = message }, 0) end
  if answer.status ~= 200 then error({ url = url, why = "answered " .. answer.status }, 0) end
  return answer.body
end

-- All of them, in their order, as soon as the last has come.
local function fetch_all()
  local bodies = {}
  task.scope(function(scope)
    for i, url in ipairs(urls) do
      scope:spawn(function() bodies[i] = fetch(url) end)
    end
  end)
  return table.concat(bodies)
end

-- Waits like any task: others are served meanwhile. If the client leaves, it is canceled, and so is
-- what it has asked for.
local function handle(req, res)
  res:header("Content-Type", "text/plain")
  if req.method ~= "GET" then
    return res:header("Allow", "GET"):send(405, "only GET\n")
  end
  local ok, page, message, name = pcall(task.deadline, patience, fetch_all)
  if ok and page then
    res:send(200, page)
  elseif ok and name == "ETIMEDOUT" then
    res:send(504, "not all have answered in time\n")
  elseif type(page) == "table" then
    res:send(502, ("%s: %s\n"):format(page.url, page.why))
  else -- a cancellation, or a mistake
    error(page or message, 0)
  end
end

local server, message = http.serve(address, handle)
if not server then
  io.stderr:write("task_http.lua: ", message, "\n")
  os.exit(1)
end

-- The first time: end when the requests under way are answered. The second time: end now.
local function stop()
  if not server:close { drain = 30 } then rotor.stop() end
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, stop)
end
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
