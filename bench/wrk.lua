-- For wrk: DEPTH=… CONNECTIONS=… [REQUEST=…] wrk -c… -s bench/wrk.lua URL
-- Sends a GET of the URL, or REQUEST as it is, DEPTH at a time. Ends with one line: "result",
-- requests, microseconds, bytes received, median and p99 in microseconds, socket errors, bad
-- answers.
-- luacheck: globals wrk init request done

local depth = tonumber(os.getenv("DEPTH"))
local connections = tonumber(os.getenv("CONNECTIONS"))
local given = os.getenv("REQUEST")

function init()
  if given then wrk.format = function() return given end end
  if depth > 1 then
    local burst = wrk.format():rep(depth)
    function request() return burst end
  end
end

-- wrk adds samples below each long one, to make up for the requests a waiting connection did not
-- send: for a latency l at l - i, l - 2i, … with i the mean time between two answers. For bursts
-- that i is DEPTH times too small, and latency:percentile() is then far off or 0. So the additions
-- are taken out again; what remains is one sample for each request or burst.
local function true_samples(latency, interval)
  local values, counts, total = {}, {}, 0
  for n = 1, #latency do
    local value, count = latency(n)
    values[n], counts[value] = value, count
  end
  for _, value in ipairs(values) do -- upwards: what is above is still as wrk left it
    if value > interval then counts[value] = counts[value] - (counts[value + interval] or 0) end
    total = total + counts[value]
  end
  return values, counts, total
end

local function percentile(p, values, counts, total)
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
  local values, counts, total = true_samples(latency, interval)
  print(("result %d %d %d %d %d %d %d"):format(summary.requests, summary.duration, summary.bytes,
    percentile(50, values, counts, total), percentile(99, values, counts, total),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
