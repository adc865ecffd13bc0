-- For wrk: DEPTH=… CONNECTIONS=… wrk -c… -s bench/wrk.lua URL
-- Sends DEPTH requests at a time and ends with one line: "result", requests, microseconds, p99 in
-- microseconds, socket errors, bad answers.
-- luacheck: globals wrk init request done

local depth = tonumber(os.getenv("DEPTH"))
local connections = tonumber(os.getenv("CONNECTIONS"))

function init()
  if depth > 1 then
    local burst = wrk.format():rep(depth)
    function request() return burst end
  end
end

-- wrk adds samples below each long one, to make up for the requests a waiting connection did not
-- send: for a latency l at l - i, l - 2i, … with i the mean time between two answers. For bursts
-- that i is DEPTH times too small, and latency:percentile() is then far off or 0. So the additions
-- are taken out again; what remains is one sample for each request or burst.
local function percentile(p, latency, interval)
  local values, counts, total = {}, {}, 0
  for n = 1, #latency do
    local value, count = latency(n)
    values[n], counts[value] = value, count
  end
  for _, value in ipairs(values) do -- upwards: what is above is still as wrk left it
    if value > interval then counts[value] = counts[value] - (counts[value + interval] or 0) end
    total = total + counts[value]
  end
  local seen = 0
  for _, value in ipairs(values) do
    seen = seen + counts[value]
    if seen >= total * p / 100 then return value end
  end
  return 0
end

function done(summary, latency)
  local errors = summary.errors
  local interval = math.floor(summary.duration / math.floor(summary.requests / connections))
  print(("result %d %d %d %d %d"):format(summary.requests, summary.duration,
    percentile(99, latency, interval), errors.connect + errors.read + errors.write + errors.timeout,
    errors.status))
end
