--- What tasks wait for each other with. All are fair: who has waited longest is next, and what is
--- free is handed over, so that nobody comes in between.
---
--- Who takes one gets an object to close: `local _ <close> = mutex:lock()`. A mutex or a read-write
--- lock that a task still holds when it ends, however it does, is free again.
local core = require "rotor.core"
local queue, hold, shield = core.task.queue, core.task.hold, core.task.shield
local running = core.task.identity -- also in a coroutine inside of a task

local locks = {}

-- What each task holds that it must not keep: by its thread, how to give each of it back.
local held = setmetatable({}, { __mode = "k" })

hold(function(thread)
  local list = held[thread]
  held[thread] = nil
  for lock, release in pairs(list or {}) do release(lock) end
end)

local function note(thread, lock, release)
  local list = held[thread] or {}
  held[thread] = list
  list[lock] = release
  return thread
end

-- The thread that runs, which holds `lock` from now on: a task's, or the program's.
local function take(lock, release)
  local thread = running()
  return hold() and note(thread, lock, release) or thread
end

local function forget(lock, thread)
  local list = held[thread]
  if list then
    list[lock] = nil
    if not next(list) then held[thread] = nil end
  end
end

local function class(methods, close)
  return { __index = methods, __close = close, __metatable = "a lock" }
end

-- -- mutex ----------------------------------------------------------------------------------------

local Mutex = {}

local release_mutex
function release_mutex(mutex)
  mutex.owner = mutex.waiting:hand()
  if mutex.owner then note(mutex.owner, mutex, release_mutex) end
end

--- Wait until it is free, and take it: the mutex; or nil, message, "ETIMEDOUT".
function Mutex:lock(seconds)
  if self.owner == running() then error("the task holds this mutex already", 2) end
  if self.owner then
    local ok, message, name = self.waiting:wait(seconds)
    if not ok then return nil, message, name end
  else
    self.owner = take(self, release_mutex)
  end
  return self
end

--- Take it if it is free: the mutex, or false.
function Mutex:try_lock()
  if self.owner then return false end
  self.owner = take(self, release_mutex)
  return self
end

function Mutex:unlock()
  local thread = running()
  if self.owner ~= thread then error("only who holds a mutex can unlock it", 2) end
  forget(self, thread)
  release_mutex(self)
end

function Mutex:locked()
  return self.owner ~= nil
end

-- It is not held if it was unlocked before, or if the loop has ended in a condition's wait().
local mutex_class = class(Mutex, function(mutex)
  if mutex.owner == running() then mutex:unlock() end
end)

function locks.mutex()
  return setmetatable({ waiting = queue() }, mutex_class)
end

-- -- read-write lock ------------------------------------------------------------------------------

-- Readers wait behind a writer that waits; after a writer all readers come that wait.
local RWLock = {}

-- What a reader or the writer holds.
local Guard = {}

--- Give it back.
function Guard:unlock()
  local thread = self.thread
  if not thread then error("this was unlocked before", 2) end
  forget(self, thread)
  self.release(self)
end

local guard_class = class(Guard, function(guard)
  if guard.thread then guard:unlock() end
end)

local release_reader, release_writer

local function admit_readers(rw)
  local thread = rw.waiting_readers:hand()
  while thread do
    rw.readers = rw.readers + 1
    local guard = setmetatable({ rwlock = rw, release = release_reader }, guard_class)
    guard.thread = note(thread, guard, release_reader)
    rw.handed[thread] = guard
    thread = rw.waiting_readers:hand()
  end
end

local function admit_writer(rw)
  local thread = rw.waiting_writers:hand()
  if thread then
    rw.writer = setmetatable({ rwlock = rw, release = release_writer }, guard_class)
    rw.writer.thread = note(thread, rw.writer, release_writer)
    rw.handed[thread] = rw.writer
  end
end

function release_reader(guard)
  local rw = guard.rwlock
  guard.thread = nil
  rw.readers = rw.readers - 1
  if rw.readers == 0 then admit_writer(rw) end
end

function release_writer(guard)
  local rw = guard.rwlock
  guard.thread = nil
  rw.writer = nil
  admit_readers(rw)
  if rw.readers == 0 then admit_writer(rw) end
end

-- What the task that runs was handed while it was waiting.
local function accept(rw)
  local thread = running()
  local guard = rw.handed[thread]
  rw.handed[thread] = nil
  return guard
end

local function new_guard(rw, release)
  local guard = setmetatable({ rwlock = rw, release = release }, guard_class)
  guard.thread = take(guard, release)
  return guard
end

--- Wait until nobody writes: an object to unlock or close; or nil, message, "ETIMEDOUT".
function RWLock:read(seconds)
  if not self.writer and #self.waiting_writers == 0 then
    self.readers = self.readers + 1
    return new_guard(self, release_reader)
  end
  local ok, message, name = self.waiting_readers:wait(seconds)
  if not ok then return nil, message, name end
  return accept(self)
end

--- Wait until nobody reads or writes: likewise.
function RWLock:write(seconds)
  if not self.writer and self.readers == 0 then
    self.writer = new_guard(self, release_writer)
    return self.writer
  end
  -- Readers may wait only because of this writer.
  local _ <close> = setmetatable({}, { __close = function()
    if not self.writer and #self.waiting_writers == 0 then admit_readers(self) end
  end })
  local ok, message, name = self.waiting_writers:wait(seconds)
  if not ok then return nil, message, name end
  return accept(self)
end

local rwlock_class = class(RWLock)

function locks.rwlock()
  return setmetatable({
    readers = 0,
    waiting_readers = queue(),
    waiting_writers = queue(),
    handed = setmetatable({}, { __mode = "k" }),
  }, rwlock_class)
end

-- -- semaphore ------------------------------------------------------------------------------------

local Semaphore = {}

--- Wait until one is free, and take it: the semaphore; or nil, message, "ETIMEDOUT".
function Semaphore:acquire(seconds)
  if self.free > 0 then
    self.free = self.free - 1
    return self
  end
  local ok, message, name = self.waiting:wait(seconds)
  if not ok then return nil, message, name end
  return self
end

function Semaphore:try_acquire()
  if self.free == 0 then return false end
  self.free = self.free - 1
  return self
end

--- Give one back, whoever has taken it.
function Semaphore:release()
  if not self.waiting:wake() then self.free = self.free + 1 end
end

local semaphore_class = class(Semaphore, Semaphore.release)

function locks.semaphore(n)
  if math.type(n) ~= "integer" or n < 0 then
    error("bad argument #1 to 'semaphore' (a number of at least 0 expected)", 2)
  end
  return setmetatable({ free = n, waiting = queue() }, semaphore_class)
end

-- -- condition ------------------------------------------------------------------------------------

local Condition = {}

--- Unlock the mutex, wait until signaled, and lock it again, also if the wait is given up, but not
--- if the loop has ended: true; or nil, message, "ETIMEDOUT".
function Condition:wait(seconds)
  local mutex = self.mutex
  mutex:unlock()
  local _ <close> = setmetatable({}, { __close = function()
    if not mutex:try_lock() and hold() then shield(nil, mutex.lock, mutex) end
  end })
  return self.waiting:wait(seconds)
end

--- Wake the one that has waited longest; whether there was one.
function Condition:signal()
  return self.waiting:wake()
end

--- Wake all; how many.
function Condition:broadcast()
  local n = #self.waiting
  for _ = 1, n do self.waiting:wake() end
  return n
end

local condition_class = class(Condition)

function locks.condition(mutex)
  if getmetatable(mutex) ~= "a lock" or not mutex.lock then
    error("bad argument #1 to 'condition' (a mutex expected)", 2)
  end
  return setmetatable({ mutex = mutex, waiting = queue() }, condition_class)
end

-- -- wait group -----------------------------------------------------------------------------------

local WaitGroup = {}

local function wake_all(waiting)
  while waiting:wake() do end
end

--- So many more, 1 if absent, are to be done.
function WaitGroup:add(n)
  n = n or 1
  if math.type(n) ~= "integer" or self.count + n < 0 then
    error("a wait group counts down to 0, not below", 2)
  end
  self.count = self.count + n
  if self.count == 0 then wake_all(self.waiting) end
end

function WaitGroup:done()
  if self.count == 0 then error("more are done than were added", 2) end
  self:add(-1)
end

--- Wait until all are done: true; or nil, message, "ETIMEDOUT".
function WaitGroup:wait(seconds)
  if self.count == 0 then return true end
  return self.waiting:wait(seconds)
end

local wait_group_class = class(WaitGroup)

function locks.wait_group()
  return setmetatable({ count = 0, waiting = queue() }, wait_group_class)
end

-- -- once -----------------------------------------------------------------------------------------

local Once = {}

--- What `fn(…)` has returned, which is called by the first; the others wait for that. If it throws,
--- the next calls it.
function Once:run(fn, ...)
  if self.running == running() then error("it is this task that runs it", 2) end
  while self.running do self.waiting:wait() end
  if not self.results then
    self.running = running()
    local _ <close> = setmetatable({}, { __close = function()
      self.running = false
      if self.results then wake_all(self.waiting) else self.waiting:wake() end
    end })
    self.results = table.pack(fn(...))
  end
  return table.unpack(self.results, 1, self.results.n)
end

local once_class = class(Once)

function locks.once()
  return setmetatable({ waiting = queue() }, once_class)
end

-- -- barrier --------------------------------------------------------------------------------------

local Barrier = {}

--- Wait until as many do as the barrier was made for: whether this was the last; or nil, message,
--- "ETIMEDOUT".
function Barrier:wait(seconds)
  if #self.waiting + 1 < self.n then
    local ok, message, name = self.waiting:wait(seconds)
    if not ok then return nil, message, name end
    return false
  end
  wake_all(self.waiting)
  return true
end

local barrier_class = class(Barrier)

function locks.barrier(n)
  if math.type(n) ~= "integer" or n < 1 then
    error("bad argument #1 to 'barrier' (a number of at least 1 expected)", 2)
  end
  return setmetatable({ n = n, waiting = queue() }, barrier_class)
end

return locks
