--- Reads HTTP/1.1 responses by the letter of RFC 9110 and 9112, one byte string at a time. It
--- shares nothing with the code that it judges, and forgives nothing: what a sender must not do is
--- an error, even where a recipient would have to cope with it.
local reader = {}

local TOKEN = "[!#$%%&'*+%-.^_`|~%w]+"
local VALUE = "[^\0-\8\10-\31\127]*"
local WEEKDAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = {}
for i, name in ipairs { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
                        "Dec" } do
  MONTHS[name] = i
end

--- The time that an IMF-fixdate (RFC 9110 5.6.7) tells, or nil.
function reader.date(text)
  local weekday, day, name, year, hour, min, sec =
    text:match("^(%a%a%a), (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local month = MONTHS[name]
  if not month then return nil end
  day, year = tonumber(day), tonumber(year)
  if day < 1 or day > 31 or hour > "23" or min > "59" or sec > "60" then return nil end
  -- Years that begin in March have their odd day at the end.
  local y = month > 2 and year or year - 1
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day
    - 719469
  if WEEKDAYS[(days + 4) % 7 + 1] ~= weekday then return nil end
  return days * 86400 + hour * 3600 + min * 60 + sec
end

-- The field lines from `at` to the empty line, and what is behind it.
local function read_fields(bytes, at)
  local fields = { n = 0 }
  while true do
    local behind = bytes:match("^\r\n()", at)
    if behind then return fields, behind end
    local name, value, next_line = bytes:match("^(" .. TOKEN .. "): (" .. VALUE .. ")\r\n()", at)
    if not name then
      return nil, ("no field line: %q"):format(bytes:sub(at, at + 60))
    elseif value:find("^[ \t]") or value:find("[ \t]$") then
      return nil, ("white space around a value: %q"):format(value)
    end
    local key = name:lower()
    if fields[key] then return nil, "a second " .. name end
    fields[key], fields.n, at = value, fields.n + 1, next_line
  end
end

-- The chunked body at `at`; what is behind it, the trailer fields, the number of chunks. Or nil,
-- what is wrong, and the body as far as it is there.
local function read_chunked(bytes, at)
  local parts = {}
  while true do
    local size, data = bytes:match("^(%x+)\r\n()", at)
    if not size then
      return nil, ("no chunk: %q"):format(bytes:sub(at, at + 30)), table.concat(parts)
    end
    size = tonumber(size, 16)
    if size == 0 then
      local trailers, behind = read_fields(bytes, data)
      if not trailers then return nil, behind end
      return table.concat(parts), behind, trailers, #parts
    end
    at = data + size
    if bytes:sub(at, at + 1) ~= "\r\n" then return nil, "a chunk is not as long as it says" end
    parts[#parts + 1] = bytes:sub(data, at - 1)
    at = at + 2
  end
end

local function has_option(fields, option)
  for each in (fields.connection or ""):gmatch("[^,%s]+") do
    if each:lower() == option then return true end
  end
  return false
end

--- The response at `at` to a request by `method`, and what is behind it; or nil, what is wrong, and
--- of a body in chunks that does not end what there is. Without a length it takes all the rest.
--- `closes`, `keeps`: what its Connection says.
function reader.response(bytes, at, method)
  local status, reason, first = bytes:match("^HTTP/1%.1 ([1-5]%d%d) ([ -~]*)\r\n()", at)
  if not status then return nil, ("no status line: %q"):format(bytes:sub(at, at + 60)) end
  local fields, behind = read_fields(bytes, first)
  if not fields then return nil, behind end
  local r = { status = tonumber(status), reason = reason, fields = fields, body = "",
              closes = has_option(fields, "close"), keeps = has_option(fields, "keep-alive") }
  local length, coding = fields["content-length"], fields["transfer-encoding"]
  local bodiless = r.status < 200 or r.status == 204
    or (method == "CONNECT" and r.status < 300)
  if length and not length:find("^%d+$") then return nil, "Content-Length: " .. length end
  if coding and coding ~= "chunked" then return nil, "Transfer-Encoding: " .. coding end
  if length and coding then return nil, "both Content-Length and Transfer-Encoding" end
  if bodiless and (length or coding) then return nil, status .. " with a length" end -- 9110 8.6
  if r.status >= 200 and r.status < 500 and not fields.date then return nil, "no Date" end -- 6.6.1
  if fields.date then
    local time = reader.date(fields.date)
    if not time or math.abs(os.time() - time) > 60 then return nil, "Date: " .. fields.date end
  end
  if r.closes and r.keeps then return nil, "Connection says both" end
  r.length = tonumber(length)
  if bodiless or method == "HEAD" or r.status == 304 then return r, behind end
  if coding then
    r.body, behind, r.trailers, r.chunks = read_chunked(bytes, behind)
    if r.body then return r, behind end
    return nil, behind, r.trailers
  end
  local last = length and behind + r.length - 1 or #bytes
  if last > #bytes then return nil, ("%d bytes of %s"):format(#bytes - behind + 1, length) end
  r.body = bytes:sub(behind, last)
  return r, last + 1
end

return reader
