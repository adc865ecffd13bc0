-- Usage: statsd.lua PORT | ADDR:PORT [SECONDS]
-- Adds up what statsd_send sends, and prints it every so many seconds (10) and at its end: counters
-- (NAME:NUMBER|c) as their sum, gauges (|g, changed by +1 or -1) as they are, times (|ms) as their
-- mean.
local rotor = require "rotor"

local MOST, FORM = 1000, "expected NAME:NUMBER|c, |g or |ms, then perhaps |@ and a rate up to 1"

local interval = tonumber(arg[2] or 10)
local metrics, by_key = {}, {}

-- What is wrong with the line, or nil.
local function add_line(line)
  local name, number, type, rest = line:match("^([%w_.-]+):([-+.%d]+)|(%l+)(.*)$")
  local known = type == "c" or type == "g" or type == "ms"
  local value = known and tonumber(number)
  local rate = known and tonumber(rest == "" and 1 or rest:match("^|@([.%d]+)$"))
  if not value or not rate or rate <= 0 or rate > 1 then return FORM end
  local key = name .. "|" .. type
  local metric = by_key[key]
  if not metric then
    if #metrics == MOST then return "too many names" end
    metric = { key = key, type = type, sum = 0, count = 0 }
    metrics[#metrics + 1], by_key[key] = metric, metric
  end
  if type == "g" and not number:find("^[-+]") then metric.sum = 0 end
  metric.sum = metric.sum + value / rate -- one that was sent at a rate of 0.1 stands for ten
  metric.count = metric.count + 1 / rate
end

-- Gauges stay, the others begin anew.
local function print_summary()
  print("-- metrics: " .. #metrics)
  local old = metrics
  metrics, by_key = {}, {}
  for _, metric in ipairs(old) do
    local value = metric.type == "ms" and metric.sum / metric.count or metric.sum
    print(("%s %.10g"):format(metric.key, value))
    if metric.type == "g" then
      metrics[#metrics + 1], by_key[metric.key] = metric, metric
    end
  end
end

local Statsd = rotor.datagram "Statsd" {
  create = function(_, socket)
    return socket:ok(interval)
  end,
  datagram = function(_, socket, data, from)
    for line in data:gmatch("[^\r\n\27]+") do
      local wrong = add_line(line)
      if wrong then io.stderr:write(('statsd.lua: %s: "%s": %s\n'):format(from, line, wrong)) end
    end
    return socket:same()
  end,
  timeout = function(_, socket)
    print_summary()
    return socket:ok(interval)
  end,
  drop = print_summary,
}

local address = arg[1]
if not address or arg[3] or not interval or interval <= 0 then
  io.stderr:write("usage: statsd.lua PORT | ADDR:PORT [SECONDS]\n")
  os.exit(2)
end

local server, message = rotor.udp(address, Statsd)
if not server then
  io.stderr:write("statsd.lua: ", message, "\n")
  os.exit(1)
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, function() server:close() end)
end
io.stdout:setvbuf("line")
print("listening on " .. server:address())
rotor.run()
