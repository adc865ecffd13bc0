local rotor = require "rotor"
local reader = require "spec.http_reader"
local cases = require "spec.conformance_cases"
local support = require "spec.support"

-- Every case of conformance_cases.lua against examples/http_echo in both languages: its bytes
-- whole, in two parts at every place, and byte by byte, each on a connection of its own: those in
-- two parts by a Unix socket, as there are so many, the others by TCP. Behind the bytes goes a
-- probe, by whose answer it shows that the connection has gone on, and at the right byte. What
-- comes back until the end of the connection is judged by a reader of our own.
--
-- The parts are received one by one: between them another connection has some requests answered,
-- which the server cannot do before it has read what came earlier. Should that fail, a test would
-- see less, but no verdict depends on it.

-- Of a long text not every place is taken, but each one near its ends; see places().
local LONG, ENDS, PIECE = 600, 100, 97
local NEAR, FEW = 8, 11
local AT_ONCE = 256 -- connections
local ACCEPTED = 64 -- connections that the server takes in one event
local PATIENCE = 5

local PROBE = "GET /probe HTTP/1.1\r\nHost: h\r\nContent-Type: text/probe\r\n" ..
  "Connection: close\r\n\r\n"
local PROBED = { 200, "", type = "text/probe" }
local BARRIER = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
local GO_ON = "HTTP/1.1 100 Continue\r\n\r\n"

-- -- the conversations ----------------------------------------------------------------------------

-- Says the parts of its job as the conductor has it, and listens until the other side closes.
local Client = rotor.protocol "Client" {
  create = function(self, stream, job)
    self.job = job
    job.stream, job.handle = stream, stream:handle()
    job.began()
    if job.awaits then return stream:expect_delimiter(GO_ON, 4096, PATIENCE) end
    return stream:expect_bytes(1 << 20, PATIENCE)
  end,
  bytes_read = function(self, stream, n)
    self.heard = stream:take(n + #GO_ON)
    stream:write(self.job.awaits)
    return stream:expect_bytes(1 << 20, PATIENCE)
  end,
  -- What is said to a server that has closed must do no harm.
  exception = function(self, stream)
    self.job.heard = (self.heard or "") .. stream:take()
    return self.job.left > 0 and stream:sleep(PATIENCE) or stream:done()
  end,
  wakeup = function(self, stream)
    return self.job.heard and stream:done() or stream:same()
  end,
  timeout = function(self, stream)
    self.job.trouble = "the connection stays open: " .. (self.heard or "") .. stream:take()
    return stream:done()
  end,
  fatal = function(self, stream, code, message, seed)
    local job = self.job or seed
    if not job.heard then
      -- Where the server closes behind its answer, the probe may be what resets the connection, and
      -- what comes behind that finds it so.
      local reset = code == "ECONNRESET" or code == "EPIPE"
      if job.closes and reset and #stream > 0 then
        job.heard = (self.heard or "") .. stream:take()
      else
        job.trouble = code .. ": " .. message
      end
    end
    if not self.job then
      job.began()
      job.over()
    end
  end,
  drop = function(self)
    self.job.over()
  end,
}

-- Has the jobs say their next part whenever the server has read the last one.
local Conductor = rotor.protocol "Conductor" {
  create = function(self, stream, wave)
    self.wave, self.step = wave, 0
    wave.conductor = stream:handle()
    wave.began()
    return stream:sleep(PATIENCE)
  end,
  wakeup = function(self, stream) return self.wave.go_on(self, stream) end,
  bytes_read = function(self, stream, n)
    stream:consume(n + 4)
    return self.wave.go_on(self, stream)
  end,
  drop = function(self) self.wave.over() end,
}

local function go_on(self, stream)
  if not self.pings or self.pings == 0 then
    local left = 0
    self.step = self.step + 1
    for _, job in ipairs(self.wave) do
      local part = job.parts[self.step]
      if part then
        job.left = #job.parts - self.step
        left = math.max(left, job.left)
        job.stream:write(part)
        if job.left == 0 then
          if job.cut then job.stream:shutdown() end
          job.handle:wake()
        end
      end
    end
    if left == 0 then return stream:done() end
    -- The first has everything sent; then those are accepted that are not yet, and read.
    self.pings = self.step == 1 and #self.wave // ACCEPTED + 4 or 2
  end
  self.pings = self.pings - 1
  stream:write(BARRIER)
  return stream:expect_delimiter("\r\n\r\n", 4096, PATIENCE)
end

-- Have all the jobs done: each gets `heard`, or `trouble`.
local function converse(loop, server, jobs)
  for at = 1, #jobs, AT_ONCE do
    local wave = table.move(jobs, at, math.min(at + AT_ONCE - 1, #jobs), 1, { go_on = go_on })
    local coming, going = #wave + 1, #wave + 1
    function wave.began()
      coming = coming - 1
      if coming == 0 then wave.conductor:wake() end
    end
    function wave.over()
      going = going - 1
      if going == 0 then loop:stop() end
    end
    for _, job in ipairs(wave) do
      job.left, job.began, job.over = #job.parts, wave.began, wave.over
      assert(loop:connect(job.by or server.tcp, Client, { seed = job }))
    end
    assert(loop:connect(server.tcp, Conductor, { seed = wave }))
    support.run(loop)
  end
end

-- -- what is said ---------------------------------------------------------------------------------

-- How many bytes at the start, and then at the end, two texts have in common.
local function common(a, b)
  local shorter = math.min(#a, #b)
  local front, back = 0, 0
  while front < shorter and a:byte(front + 1) == b:byte(front + 1) do front = front + 1 end
  while back < shorter - front and a:byte(-back - 1) == b:byte(-back - 1) do back = back + 1 end
  return front, back
end

-- The places at which a text is split: all; but of long ones some, and of one that is much like the
-- first of its case only those near to where it is not.
local function places(text, first)
  local result, n = {}, #text
  local front, back = common(text, first)
  local from, to = 1, n
  if text ~= first then from, to = front - NEAR, n - back + NEAR end
  for i = 1, n do
    local near = i >= from and i <= to and (n <= LONG or i <= ENDS or i > n - ENDS)
    if near or i % math.max(FEW, n // 64) == 0 then result[#result + 1] = i end
  end
  return result
end

local function pieces(text, size)
  local result = {}
  for i = 1, #text, size do result[#result + 1] = text:sub(i, i + size - 1) end
  return result
end

-- What there is to say for one text, with `behind` behind it.
local function jobs_of(case, text, first, behind, server)
  local jobs = {}
  local function add(name, parts, by)
    jobs[#jobs + 1] = { name = name, parts = parts, by = by, text = text,
      cut = case.cut, closes = case.closes }
  end
  local function last(part) return case.awaits and part or part .. behind end
  add("in one", { last(text) })
  for _, i in ipairs(places(text, first)) do
    if not (case.awaits and i == #text) then
      add("split behind byte " .. i, { text:sub(1, i), last(text:sub(i + 1)) }, server.unix)
    end
  end
  local bytes = pieces(text, #text <= LONG and 1 or PIECE)
  bytes[#bytes + 1] = last ""
  add("piece by piece", bytes)
  if behind ~= "" and case.ends then add("with nothing behind it", { text }) end
  return jobs
end

local function conversation(case, server)
  local jobs = {}
  local texts = case[2]
  if case.awaits then
    for _, job in ipairs(jobs_of(case, texts[1], texts[1], PROBE, server)) do
      job.awaits = texts[2] .. PROBE
      jobs[#jobs + 1] = job
    end
    return jobs
  end
  if type(texts) == "string" then texts = { texts } end
  for _, text in ipairs(texts) do
    local more = jobs_of(case, text, texts[1], case.cut and "" or PROBE, server)
    table.move(more, 1, #more, #jobs + 1, jobs)
  end
  return jobs
end

-- -- what is heard --------------------------------------------------------------------------------

-- The answers a case must get, in full: those that it names, and that to the probe.
local function expected(case)
  local answers = {}
  for i = 3, #case do
    local answer = type(case[i]) == "table" and case[i] or { case[i] }
    answers[#answers + 1] = answer
  end
  local final = answers[#answers]
  case.ends = case.closes or case.cut or final[1] >= 400 or final.broken
  if not case.ends then answers[#answers + 1] = PROBED end
  return answers
end

-- What is wrong with a response, or nil.
local function judge(response, answer, last, case)
  local status = answer[1]
  if response.status ~= status then return ("%d, not %d"):format(response.status, status) end
  if status == 100 then
    return response.fields.n > 0 and "fields in a 100"
  end
  local closes = last and case.says ~= false
  if response.closes ~= closes then return (closes and "no " or "") .. "Connection: close" end
  if response.keeps ~= (answer.keeps or false) then return "Connection: keep-alive" end
  if status >= 400 then
    if response.fields["content-type"] ~= "text/plain" then return "an error is not text/plain" end
    if answer.to == "HEAD" then return nil end
    local text = ("%d %s"):format(status, response.reason)
    return response.body:sub(1, #text) ~= text and ("the body %q"):format(response.body)
  end
  if response.fields["content-type"] ~= answer.type then
    return ("Content-Type: %s"):format(response.fields["content-type"])
  end
  if answer.to then
    return response.length ~= answer.length and ("Content-Length: %s"):format(response.length)
  end
  if (response.chunks ~= nil) ~= (answer.chunked or false) then
    return response.chunks and "chunks" or "no chunks"
  end
  for name, value in pairs(answer.trailers or {}) do
    if response.trailers[name] ~= value then return "no trailer " .. name end
  end
  if response.chunks and response.trailers.n ~= (answer.trailers and answer.trailers.n or 0) then
    return ("%d trailers"):format(response.trailers.n)
  end
  return response.body ~= (answer[2] or "") and ("the body %q"):format(response.body)
end

-- An answer that was begun before its request turned out to be bad must be cut off.
local function judge_broken(heard, at, answer, case)
  local response, behind, part = reader.response(heard, at, "GET")
  if not response then
    return (not part or answer[2]:sub(1, #part) ~= part) and behind
  end
  return behind <= #heard and "more than the error" or judge(response, { 400 }, true, case)
end

local function judge_all(heard, answers, case)
  local at = 1
  for i, answer in ipairs(answers) do
    if at > #heard then return ("%d answers, not %d"):format(i - 1, #answers) end
    if answer.broken then return judge_broken(heard, at, answer, case) or nil end
    local response, behind = reader.response(heard, at, answer.to or "GET")
    if response and response.status == 100 and case.may_go_on and answer[1] ~= 100 then
      response, behind = reader.response(heard, behind, answer.to or "GET")
    end
    if not response then return ("answer %d: %s"):format(i, behind) end
    local wrong = judge(response, answer, i == #answers, case)
    if wrong then return ("answer %d: %s"):format(i, wrong) end
    at = behind
  end
  return at <= #heard and "more than was to be answered" or nil
end

-- -- the server -----------------------------------------------------------------------------------

-- The server in C is that of the sanitizer, where this process has one.
local function command(language)
  local i = 0
  while arg[i - 1] do i = i - 1 end
  if language == "Lua" then return ("'%s' examples/http_echo.lua"):format(arg[i]) end
  local core = assert(package.searchpath("rotor.core", package.cpath))
  return "env -u LD_PRELOAD " .. core:gsub("rotor/core%.so$", "examples/http_echo")
end

local function start(language)
  local pipe = assert(io.popen(("echo $$; exec timeout --foreground 300 %s " ..
    "127.0.0.1:0,unix:@rotor-conformance-$$ 2>&1"):format(command(language))))
  local server = { pipe = pipe, pid = pipe:read("n", "l") }
  local line = pipe:read("l")
  server.tcp, server.unix = (line or ""):match("^listening on http://([%d.]+:%d+),(unix:%S+)/$")
  assert(server.tcp, line)
  return server
end

-- What else it has said, and its status.
local function stop(server)
  os.execute("kill -TERM " .. server.pid)
  local output = server.pipe:read("a")
  return output, select(3, server.pipe:close())
end

for _, language in ipairs { "C", "Lua" } do
  describe("http_echo in " .. language, function()
    local server, loop
    setup(function()
      server = start(language)
      loop = rotor.loop()
    end)
    teardown(function()
      loop:close()
      stop(server)
    end)

    for _, case in ipairs(cases) do
      it("RFC " .. case[1], function()
        local answers, faults = expected(case), {}
        local jobs = conversation(case, server)
        converse(loop, server, jobs)
        local verdicts = {} -- most have heard the same
        for _, job in ipairs(jobs) do
          local heard = job.heard or ""
          local wrong = job.trouble or verdicts[heard]
          if wrong == nil then
            wrong = judge_all(heard, answers, case) or false
            verdicts[heard] = wrong
          end
          if wrong and #faults < 3 then
            faults[#faults + 1] = ("%q, %s: %s"):format(job.text:sub(1, 200), job.name, wrong)
          end
        end
        assert(#faults == 0, table.concat(faults, "\n"))
      end)
    end

    it("has nothing to say about all this, and ends well", function()
      local output, status = stop(server)
      assert.same({ "", 0 }, { output, status })
      server = start(language)
    end)
  end)
end
