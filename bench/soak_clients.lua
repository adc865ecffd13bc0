-- Usage: [SEED=NUMBER] [ONLY=PATTERN] soak_clients.lua ADDR:PORT SECONDS CLIENTS
-- The clients of bench/soak, good ones and bad ones in turn. Ends with what each kind has done, and
-- with status 1 when a good one did not get what is due to it.
local rotor = require "rotor"
local reader = require "spec.http_reader"
local cases = require "spec.conformance_cases"

local address, seconds, clients = arg[1], tonumber(arg[2]), tonumber(arg[3])
local started, ended, faults = {}, {}, {}
local deadline

-- -- one that goes step by step -------------------------------------------------------------------

local LATEST = 30 -- seconds that any wait may take

-- Runs a script, which yields what it waits for as a function of the stream.
local Client = rotor.protocol "Client" {
  create = function(self, stream, visit)
    self.visit = visit
    visit.stream = stream
    visit.script = coroutine.create(visit.kind.script)
    return visit:go_on(stream, visit)
  end,
  bytes_read = function(self, stream) return self.visit:go_on(stream, stream:take()) end,
  bytes_flushed = function(self, stream) return self.visit:go_on(stream, true) end,
  timeout = function(self, stream) return self.visit:go_on(stream, nil, "late") end,
  exception = function(self, stream) return self.visit:go_on(stream, nil, "end", stream:take()) end,
  fatal = function(self, stream, code, _, visit)
    visit = self.visit or visit
    visit:go_on(stream, nil, code)
    if not self.visit then visit:over() end
  end,
  drop = function(self) self.visit:over() end,
}

local Visit = {}
Visit.__index = Visit

function Visit:go_on(stream, ...)
  if not self.script or coroutine.status(self.script) == "dead" then return stream:abort() end
  local ok, wait = coroutine.resume(self.script, ...)
  if not ok then
    table.insert(faults, ("%s: %s"):format(self.kind.name, wait))
    return stream:abort()
  end
  return wait and wait(stream) or stream:abort()
end

function Visit:say(...) return self.stream:write(...) end

--- Some bytes; or nil, and "end" with what came before it, "late", or the name of an error.
function Visit.hear(_, patience)
  return coroutine.yield(function(stream) return stream:expect_bytes(1, patience or LATEST) end)
end

function Visit.sleep(_, time)
  return coroutine.yield(function(stream) return stream:sleep(time) end)
end

--- All that comes until the other side closes; or nil and why that is not known.
function Visit:rest()
  local parts = {}
  while true do
    local bytes, why, last = self:hear()
    if not bytes then
      parts[#parts + 1] = last
      return why == "end" and table.concat(parts) or nil, why
    end
    parts[#parts + 1] = bytes
  end
end

--- Responses until the end, which must be { STATUS, BODY, to = METHOD } each.
function Visit:expect(...)
  local bytes, why = self:rest()
  assert(bytes, why)
  local at = 1
  for i, wanted in ipairs { ... } do
    local response, behind = reader.response(bytes, at, wanted.to or "GET")
    assert(response, behind)
    assert(response.status == wanted[1], response.status)
    assert(not wanted[2] or response.body == wanted[2], "another body in answer " .. i)
    at = behind
  end
  assert(at > #bytes, "more than was asked for")
end

-- -- what they do ---------------------------------------------------------------------------------

local function request(method, path, fields, body)
  return ("%s %s HTTP/1.1\r\nHost: soak\r\n%s%s\r\n%s"):format(method, path, fields or "",
    body and ("Content-Length: %d\r\n"):format(#body) or "", body or "")
end

local function in_chunks(path, fields, ...)
  local parts = { ("POST %s HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n%s\r\n"):format(
    path, fields) }
  for _, chunk in ipairs { ... } do parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#chunk, chunk) end
  parts[#parts + 1] = "0\r\n\r\n"
  return table.concat(parts)
end

local CLOSE = "Connection: close\r\n"

local function random_bytes(n)
  local bytes = {}
  for i = 1, n do bytes[i] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

local LETTERS = ("abcdefghijklmnopqrstuvwxyz0123456789"):rep(16384)
local function text(n) return LETTERS:sub(1, n) end

-- Any text of the conformance cases.
local TEXTS = {}
for _, case in ipairs(cases) do
  local bytes = case[2]
  if type(bytes) == "string" then bytes = { bytes } end
  if not case.awaits then
    for _, each in ipairs(bytes) do TEXTS[#TEXTS + 1] = each end
  end
end

local good, bad = {}, {}

function good.gets(v)
  local n = math.random(1, 30)
  v:say(request("GET", "/"):rep(n), request("GET", "/", CLOSE))
  local answers = {}
  for i = 1, n + 1 do answers[i] = { 200, "" } end
  v:expect(table.unpack(answers))
end

function good.one_after_the_other(v)
  for _ = 1, math.random(1, 20) do
    local body = text(math.random(0, 2000))
    v:say(request("POST", "/", "", body))
    local heard = ""
    repeat
      heard = heard .. assert(v:hear())
    until heard:find("\r\n\r\n", 1, true) and heard:sub(-#body - 1):sub(2) == body
    assert(reader.response(heard, 1, "POST"))
  end
  v:say(request("HEAD", "/", CLOSE))
  v:expect { 200, to = "HEAD" }
end

function good.posts(v)
  local body = text(math.random(1, #LETTERS))
  v:say(request("POST", "/", "", body), request("PUT", "/", CLOSE, "last"))
  v:expect({ 200, body }, { 200, "last" })
end

function good.chunks(v)
  local first, second = text(math.random(1, 100)), text(math.random(1, 100000))
  v:say(in_chunks("/", "", first, second), in_chunks("/", CLOSE))
  v:expect({ 200, first .. second }, { 200, "" })
end

function good.slowly(v)
  local bytes = request("POST", "/", CLOSE, "slow")
  for i = 1, #bytes, 9 do
    v:say(bytes:sub(i, i + 8))
    v:sleep(0.01)
  end
  v:expect { 200, "slow" }
end

function good.expects(v)
  v:say(request("POST", "/", CLOSE .. "Expect: 100-continue\r\nContent-Length: 4\r\n"))
  assert(assert(v:hear()):find("^HTTP/1.1 100 "))
  v:say("body")
  v:expect { 200, "body" }
end

function good.old(v)
  v:say("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nold")
  v:expect { 200, "old" }
end

function good.streams(v)
  local body = text(math.random(0, #LETTERS))
  v:say(request("POST", "/stream", "", body), in_chunks("/stream", CLOSE, body))
  v:expect({ 200, body }, { 200, body })
end

function good.downloads(v)
  v:say(request("GET", "/big", CLOSE))
  v:expect { 200, ("0123456789abcdef"):rep(256 * 1024) }
end

function good.waits(v)
  v:say(request("GET", "/late"), request("GET", "/elsewhere"), request("GET", "/late", CLOSE))
  v:expect({ 200, "late" }, { 200, "elsewhere" }, { 200, "late" })
end

function good.upgrades(v)
  v:say(request("GET", "/upgrade", "Connection: upgrade\r\nUpgrade: raw\r\n"), "behind")
  local heard = ""
  repeat heard = heard .. assert(v:hear()) until heard:find("\r\n\r\nbehind$")
  assert(heard:find("^HTTP/1.1 101 "))
  v:say("and more")
  assert(v:hear() == "and more")
end

function good.half_closes(v)
  v:say(request("GET", "/"), request("POST", "/", "", "last"))
  v.stream:shutdown()
  v:expect({ 200, "" }, { 200, "last" })
end

-- The server throws, answers 500, and goes on.
function good.provokes(v)
  v:say(request("GET", "/throws"), request("GET", "/"))
  v:expect { 500 }
end

function good.asks_by_another(v)
  local body = text(math.random(0, 100000))
  v:say(request("POST", "/proxied", "", body), request("POST", "/proxied", CLOSE, "again"))
  v:expect({ 200, body }, { 200, "again" })
end

local FILE = assert(io.open "examples/README.md"):read "a"

function good.gets_files(v)
  local first = math.random(0, #FILE - 2)
  local last = math.random(first, #FILE - 1)
  v:say(request("GET", "/files/README.md"), request("HEAD", "/files/README.md"),
    request("GET", "/files/none"), request("GET", "/files/../bench/soak"),
    request("GET", "/files/README.md", ("Range: bytes=%d-%d\r\n%s"):format(first, last, CLOSE)))
  v:expect({ 200, FILE }, { 200, to = "HEAD" }, { 404 }, { 404 },
    { 206, FILE:sub(first + 1, last + 1) })
end

-- A frame of a WebSocket, masked; `first` is its first byte.
local function frame(first, data)
  local n, key = #data, random_bytes(4)
  local length = n < 126 and string.pack("B", n | 128) or n < 65536 and string.pack(">BI2", 254, n)
    or string.pack(">BI8", 255, n)
  local masked = {}
  for i = 1, n do masked[i] = string.char(data:byte(i) ~ key:byte((i - 1) % 4 + 1)) end
  return string.char(first) .. length .. key .. table.concat(masked)
end

local SOCKET = request("GET", "/socket", "Connection: upgrade\r\nUpgrade: websocket\r\n" ..
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")

function good.talks(v)
  v:say(SOCKET, frame(0x81, "first"))
  local heard = ""
  local function until_heard(what)
    while #heard < #what do heard = heard .. assert(v:hear()) end
    assert(heard:sub(1, #what) == what, "something else")
    heard = heard:sub(#what + 1)
  end
  repeat heard = heard .. assert(v:hear()) until heard:find("\r\n\r\n", 1, true)
  assert(heard:find("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 1, true))
  heard = heard:match("\r\n\r\n(.*)$")
  until_heard "\x81\5first"
  for _ = 1, math.random(1, 10) do
    local data = text(math.random(200, 3000))
    v:say(frame(0x02, data:sub(1, 100)), frame(0x89, "ping"), frame(0x80, data:sub(101)))
    until_heard("\x8a\4ping" .. string.pack(">BBI2", 0x82, 126, #data) .. data)
  end
  v:say(frame(0x88, "\3\xe8bye"))
  until_heard "\x88\2\3\xe8"
  assert(v:rest() == "")
end

function bad.talks_nonsense(v)
  v:say(SOCKET, frame(0x81, "first"))
  local kinds = {
    function() return "\x81\5first" end, -- not masked
    function() return frame(0xf1, "reserved") end,
    function() return frame(0x81, "\xff\xfe") end,
    function() return frame(0x80, "nothing to go on with") end,
    function() return "\x82\xff\x7f" .. ("\xff"):rep(7) end,
    function() return frame(0x89, text(126)) end,
    function() return frame(0x88, "x") end,
    function() return frame(0x01, text(1000)) .. frame(0x01, text(1000)) end,
    function() return random_bytes(1000) end,
    function() return frame(0x02, text(100000)):sub(1, math.random(1, 100000)) end,
  }
  v:say(kinds[math.random(#kinds)]())
  v:hear(0.5)
end

-- Its pings are not answered either.
function bad.falls_silent(v)
  v:say(SOCKET, frame(0x81, "first"))
  v:sleep(8)
end

function bad.talks_and_leaves(v)
  v:say(SOCKET, frame(0x82, text(100000)):rep(math.random(1, 20)))
  v:sleep(math.random() * 0.2)
end

function bad.does_not_wait_for_another(v)
  v:say(request("POST", "/proxied", "", text(100000)))
  v:sleep(math.random() * 0.02)
end

function bad.says_nothing(v) v:hear(8) end

function bad.never_ends_its_head(v)
  for _ = 1, math.random(1, 100) do
    if not v:say(math.random(2) == 1 and "GET /" or "a") then return end
    local bytes, why = v:hear(0.05)
    if bytes or why ~= "late" then return end
  end
end

function bad.half_closes_in_a_head(v)
  v:say(request("GET", "/"):sub(1, math.random(1, 30)))
  v.stream:shutdown()
  v:rest()
end

function bad.half_closes_in_a_body(v)
  v:say(request("POST", math.random(2) == 1 and "/" or "/stream", "", text(50000)):sub(1,
    math.random(100, 40000)))
  v.stream:shutdown()
  v:rest()
end

function bad.leaves_in_a_body(v)
  v:say(request("POST", math.random(2) == 1 and "/" or "/stream", "", text(500000)):sub(1,
    math.random(100, 400000)))
  v:sleep(math.random() * 0.1)
end

-- With what was sent unread, which makes it a reset.
function bad.resets_in_an_answer(v)
  v:say(request("GET", "/big"), request("GET", "/"))
  v:sleep(math.random() * 0.1)
end

function bad.stops_reading(v)
  v:say(request("GET", "/big"):rep(5))
  v:sleep(7)
end

function bad.leaves_a_download(v)
  v:say(request("GET", "/big"))
  for _ = 1, math.random(1, 20) do
    if not v:hear() then return end
  end
end

function bad.leaves_files(v)
  v:say(request("GET", "/files/README.md"):rep(math.random(1, 500)))
  if math.random(2) == 1 then v:hear() end
end

function bad.does_not_wait(v)
  v:say(request("GET", math.random(2) == 1 and "/late" or "/elsewhere"), request("GET", "/"))
  v:sleep(math.random() * 0.03)
end

function bad.half_closes_and_does_not_wait(v)
  v:say(request("GET", math.random(2) == 1 and "/late" or "/elsewhere"))
  v.stream:shutdown()
  v:sleep(math.random() * 0.03)
end

function bad.says_garbage(v)
  v:say(random_bytes(math.random(1, 3000)))
  v:hear(0.5)
end

function bad.says_too_much(v)
  local kinds = {
    function() return "GET /" .. text(20000) end,
    function() return request("GET", "/", ("X: y\r\n"):rep(1000)) end,
    function() return request("GET", "/", "X: " .. text(100000) .. "\r\n") end,
    function() return request("POST", "/", "Content-Length: 99999999\r\n") .. text(100000) end,
    function() return in_chunks("/", "", text(100)):gsub("\r\n0\r\n", "\r\nfffffff\r\n") end,
    function() return ("\r\n"):rep(1000) end,
  }
  v:say((kinds[math.random(#kinds)]()))
  v:rest()
end

-- Any of the conformance cases, of which some bytes are others, or missing.
function bad.mumbles(v)
  local bytes = TEXTS[math.random(#TEXTS)]
  for _ = 1, math.random(0, 3) do
    local at = math.random(1, #bytes + 1)
    bytes = bytes:sub(1, at - 1) .. random_bytes(math.random(0, 2)) .. bytes:sub(at + math.random(0,
    2))
  end
  local at = math.random(0, #bytes)
  v:say(bytes:sub(1, at))
  v:sleep(0.01)
  v:say(bytes:sub(at + 1))
  v:hear(0.2)
end

function bad.upgrades_and_leaves(v)
  v:say(request("GET", "/upgrade", "Connection: upgrade\r\nUpgrade: raw\r\n"), text(math.random(1,
    100000)))
  v:sleep(math.random() * 0.1)
end

-- -------------------------------------------------------------------------------------------------

local kinds = {}
for manners, scripts in pairs { good = good, bad = bad } do
  for name, script in pairs(scripts) do
    local kind = { name = manners .. ": " .. name, script = script }
    if kind.name:find(os.getenv "ONLY" or "") then kinds[#kinds + 1] = kind end
  end
end
table.sort(kinds, function(a, b) return a.name < b.name end)

local visit
local running = 0

function Visit:over()
  if self.is_over then return end
  self.is_over = true
  ended[self.kind.name] = (ended[self.kind.name] or 0) + 1
  running = running - 1
  if rotor.now() < deadline then visit() end
end

function visit()
  local kind = kinds[math.random(#kinds)]
  started[kind.name] = (started[kind.name] or 0) + 1
  running = running + 1
  assert(rotor.connect(address, Client, { seed = setmetatable({ kind = kind }, Visit) }))
end

math.randomseed(tonumber(os.getenv "SEED") or os.time())
deadline = rotor.now() + seconds
rotor.on_error(function(message) table.insert(faults, message) end)
for _ = 1, clients do visit() end
rotor.run()

for _, kind in ipairs(kinds) do
  print(("%-40s %6d"):format(kind.name, ended[kind.name] or 0))
end
for i = 1, math.min(#faults, 20) do print("FAULT " .. faults[i]) end
os.exit(#faults == 0)
