-- check_urls.lua [-n TASKS] [-t SECONDS] URL … or -: what http:// URLs answer, those given or (-)
-- those of standard input's lines; TASKS (8) at a time, within SECONDS (10); exits 1 if not well
local rotor = require "rotor"
local http = require "rotor.http"
local task = require "rotor.task"

local function usage()
  io.stderr:write("usage: check_urls.lua [-n TASKS] [-t SECONDS] URL … or -\n")
  os.exit(2)
end

local tasks, seconds, urls = 8, 10, {}
local i = 1
while arg[i] do
  if arg[i] == "-n" or arg[i] == "-t" then
    local number = tonumber(arg[i + 1])
    if not number or number <= 0 then usage() end
    if arg[i] == "-n" then tasks = number else seconds = number end
    i = i + 1
  else
    urls[#urls + 1] = arg[i]
  end
  i = i + 1
end
if #urls == 0 then usage() end

-- Those who get take from `todo`, as they have time; what came of it goes to `results`.
local todo, results = task.channel(tasks), task.channel()

local function get_all()
  for url in todo do
    local began = rotor.now()
    local reply, message, name = task.deadline(seconds, function()
      local future, message, name = http.get(url)
      if not future then return nil, message, name end
      return future:await()
    end)
    local text = reply and ("%d %s, %d bytes"):format(reply.status, reply.reason, #reply.body)
      or name == "ETIMEDOUT" and ("no answer within %g s"):format(seconds) or message
    results:send({ url = url, text = text, ok = reply and reply.status < 400,
                   seconds = rotor.now() - began })
  end
end

local function feed()
  if urls[1] ~= "-" then
    for _, url in ipairs(urls) do todo:send(url) end
  else
    for line in io.lines() do todo:send(line) end
  end
  todo:close()
end

local all_ok = true

local function print_all()
  for result in results do
    print(("%-40s %6.3f s  %s"):format(result.url, result.seconds, result.text))
    all_ok = all_ok and result.ok
  end
end

task.spawn(function()
  local printer = task.spawn(print_all)
  task.scope(function(scope)
    scope:spawn(feed)
    for _ = 1, tasks do scope:spawn(get_all) end
  end)
  results:close()
  printer:join()
end)

rotor.on_signal("INT", rotor.stop)
rotor.run()
os.exit(all_ok and 0 or 1)
