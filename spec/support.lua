--- What the specs share: counting what is left behind, loops that must come to an end, clients, and
--- programs that run in a process of their own.
local lfs = require "lfs"
local rotor = require "rotor"
local core = require "rotor.core"

local support = {}

-- The first loop with a signal opens what libuv keeps for as long as the process runs.
do
  local loop <close> = rotor.loop()
  loop:on_signal("USR2", function() end)
end

--- How many references luaL_ref() holds in the registry: its integer keys but the predefined ones,
--- less those that are free, each of which names the next, and those of threads for tasks to come.
function support.references()
  local registry = debug.getregistry()
  local header = registry[0] == nil and 3 or 0 -- since Lua 5.4.3, or before
  local n = 0
  for key in pairs(registry) do
    if math.type(key) == "integer" and key > 2 and key ~= header then n = n + 1 end
  end
  local free = registry[header] or 0
  while free ~= 0 do
    n, free = n - 1, registry[free]
  end
  return n - core.task.spare() -- threads that the next tasks will use
end

--- The open descriptors of this process, and what each is.
function support.descriptors()
  local open = {}
  for name in lfs.dir("/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if target and not target:find("/fd$") then open[#open + 1] = name .. " " .. target end
  end
  table.sort(open)
  return table.concat(open, "\n")
end

--- A scene for each test: `before_each(scene.begin)`, `after_each(scene.finish)`. What it leaves
--- behind is an error: a descriptor, a reference, an error that it has not expected.
function support.scene()
  local scene = {}
  local loops, references, descriptors

  function scene.begin()
    collectgarbage()
    collectgarbage()
    loops, scene.errors = {}, {}
    references, descriptors = support.references(), support.descriptors()
  end

  --- A loop that is closed when the test is over. Its errors are collected in scene.errors.
  function scene.loop(options)
    local loop = rotor.loop(options)
    loops[#loops + 1] = loop
    loop:on_error(function(message) table.insert(scene.errors, message) end)
    return loop
  end

  --- Run `fn` as a task in a loop whose time is virtual, for an hour: what it returns; or throw
  --- what it has thrown.
  function scene.inside(fn)
    local loop = scene.loop { virtual = true }
    local handle = loop:spawn(fn)
    loop:advance(3600)
    assert(handle:done(), "the task still waits after an hour")
    local results = table.pack(handle:join())
    loop:close()
    if results[3] == "ELUA" then error(results[2], 0) end
    return table.unpack(results, 1, results.n)
  end

  --- The only error there was, taken away.
  function scene.error()
    local errors = scene.errors
    scene.errors = {}
    assert(#errors == 1, #errors .. " errors, not 1:\n" .. table.concat(errors, "\n"))
    return errors[1]
  end

  function scene.finish()
    for _, loop in ipairs(loops) do loop:close() end
    loops = nil
    collectgarbage()
    collectgarbage()
    assert(#scene.errors == 0, "unexpected: " .. table.concat(scene.errors, "\n"))
    local now = support.references()
    assert(now == references, ("%d references before, %d after"):format(references, now))
    now = support.descriptors()
    assert(now == descriptors, ("before:\n%s\nafter:\n%s"):format(descriptors, now))
  end

  return scene
end

-- Ends with the last of the other machines, and barks when that takes too long.
local Watchdog = rotor.machine "Watchdog" {
  create = function(self, scope, bark)
    self.bark, self.patience = bark, scope:now() + 10
    return scope:ok(0.001)
  end,
  timeout = function(self, scope)
    if scope:now() > self.patience then self.bark() end
    return scope.loop:count() > 1 and scope:ok(0.001) or scope:done()
  end,
}

--- Run `loop` until it is stopped or has nothing left to do; ten seconds are an error.
function support.run(loop)
  local late = false
  local watchdog = assert(loop:add(Watchdog, function()
    late = true
    loop:stop()
  end))
  loop:run()
  assert(not late, "the loop has run for ten seconds")
  watchdog:close()
  loop:turn()
end

-- Sends what it is told to, and gathers what comes until the peer closes.
local Caller = rotor.protocol "Caller" {
  create = function(self, stream, call)
    self.call = call
    stream:write(call.bytes)
    return stream:expect_bytes(1 << 20)
  end,
  exception = function(self, stream)
    self.call.answer = stream:take()
    return stream:done()
  end,
  fatal = function(self, _, code, _, seed)
    local call = self.call or seed
    call.answer = code
    call.over()
  end,
  drop = function(self)
    self.call.over()
  end,
}

--- Send `bytes` to `address` and run the loop until the peer has closed; what it sent meanwhile.
function support.exchange(loop, address, bytes)
  local call = { bytes = bytes, over = function() loop:stop() end }
  assert(loop:connect(address, Caller, { seed = call }))
  support.run(loop)
  return call.answer
end

--- Whether this runs under a sanitizer, which makes everything some ten times slower.
function support.sanitized()
  return package.cpath:find("build/[at]san/") ~= nil
end

--- A function that gives random integers from 1 to n, the same for the same seed. (xorshift)
function support.random(seed)
  local x = seed
  return function(n)
    x = x ~ (x << 13)
    x = x ~ (x >> 7)
    x = x ~ (x << 17)
    return (x >> 1) % n + 1
  end
end

--- The path of a shared object that was built for the specs.
function support.shared(name)
  local path = assert(package.searchpath("rotor.core", package.cpath))
  return (path:gsub("rotor/core%.so$", "test/" .. name .. ".so"))
end

--- What pcall(fn, …) returns, in which the first allocation calls `finalizer`.
function support.finalized(finalizer, fn, ...)
  collectgarbage()
  collectgarbage("incremental", 1, 1000, 30)
  collectgarbage("stop")
  setmetatable({}, { __gc = finalizer })
  collectgarbage("restart")
  local results = table.pack(pcall(fn, ...))
  collectgarbage("incremental", 200, 100, 13)
  return table.unpack(results, 1, results.n)
end

--- Run Lua code in a process of its own: what it printed, errors included, and its exit status.
function support.program(code, ...)
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(code)
  file:close()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  local command = { "exec", arg[i], script, ... }
  local pipe = assert(io.popen(table.concat(command, " ") .. " 2>&1"))
  local output = pipe:read("a")
  local _, _, status = pipe:close()
  os.remove(script)
  return output, status
end

return support
