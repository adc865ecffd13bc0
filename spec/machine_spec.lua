local rotor = require "rotor"
local support = require "spec.support"

describe("a machine", function()
  local scene = support.scene()
  local loop
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  -- Add a machine with these transitions and run the loop until all machines have ended.
  local function play(transitions, seed)
    local handle = assert(loop:add(rotor.machine "M" (transitions), seed))
    support.run(loop)
    return handle
  end

  it("is created from its seed, at once outside of transitions", function()
    local seen
    local M = rotor.machine "M" {
      create = function(self, scope, seed)
        seen = { type(self), type(scope), seed }
        return scope:ok()
      end,
    }
    local handle = assert(loop:add(M, "seed"))
    assert.same({ "table", "userdata", "seed" }, seen)
    assert.is_true(handle:alive())
    assert.equal(1, loop:count())
    assert(loop:add(M))
    assert.same({ "table", "userdata" }, seen)
  end)

  it("is created after the transition that adds it", function()
    local order = {}
    local Second = rotor.machine "Second" {
      create = function(_, scope, seed)
        order[#order + 1] = "second " .. seed
        return scope:done()
      end,
    }
    play {
      create = function(_, scope)
        assert(scope.loop:add(Second, "seed"))
        order[#order + 1] = "first"
        return scope:done()
      end,
    }
    assert.same({ "first", "second seed" }, order)
  end)

  it("waits for a deadline in seconds, and hears timeout", function()
    local began, ended
    play {
      create = function(_, scope)
        began = scope:now()
        return scope:ok(0.003)
      end,
      timeout = function(_, scope)
        ended = scope:now()
        return scope:done()
      end,
    }
    assert.is_true(ended - began > 0.003 - 1e-6) -- the clock counts in ms, a float does not
    assert.equal("float", math.type(ended))
  end)

  it("has no deadline after ok() without one, and keeps it by same()", function()
    local heard = {}
    local function hear(what)
      heard[#heard + 1] = what
    end
    play {
      create = function(_, scope)
        scope:handle():wake()
        return scope:ok(0.002)
      end,
      wakeup = function(self, scope)
        hear "wakeup"
        self.woken = (self.woken or 0) + 1
        if self.woken == 1 then return scope:same() end
        return scope:done()
      end,
      timeout = function(self, scope)
        hear "timeout"
        self.notifier = scope:notifier()
        assert(self.notifier:wakeup())
        return scope:ok()
      end,
    }
    assert.same({ "wakeup", "timeout", "wakeup" }, heard)
  end)

  it("is woken once for all wakes before", function()
    local n = 0
    local handle = assert(loop:add(rotor.machine "M" {
      create = function(_, scope) return scope:ok() end,
      wakeup = function(_, scope)
        n = n + 1
        return scope:ok()
      end,
    }))
    for _ = 1, 5 do assert.is_true(handle:wake()) end
    assert.equal(0, n)
    loop:turn()
    assert.equal(1, n)
  end)

  it("has defaults: woken, it goes on waiting; without timeout, a deadline ends it", function()
    play {
      create = function(_, scope)
        scope:handle():wake()
        return scope:ok(0.001)
      end,
    }
    assert.equal("M: ETIMEDOUT: deadline passed", scene.error())
  end)

  it("is given the loop, its context and its own handle", function()
    local context, seen = {}, nil
    local other = scene.loop { context = context }
    local handle = assert(other:add(rotor.machine "M" {
      create = function(_, scope)
        seen = { scope.context, scope.loop, scope:handle(), scope.nonsense }
        return scope:ok()
      end,
    }))
    assert.equal(context, seen[1])
    assert.equal(context, other.context)
    assert.equal(other, seen[2])
    assert.are_not_equal(loop, seen[2])
    assert.equal(handle, seen[3])
    assert.is_nil(seen[4])
    assert.is_nil(loop.context)
  end)

  describe("that spawns", function()
    local Child = rotor.machine "Child" {
      create = function(self, scope, seed)
        self.seed = seed
        return scope:ok()
      end,
      wakeup = function(self, scope)
        if self.seed.fail then return scope:error(self.seed.fail) end
        return scope:done(self.seed.value)
      end,
    }

    it("hears spawned with the child's handle, and child_done with its value", function()
      local order = {}
      play {
        create = function(_, scope) return scope:spawn(Child, { value = { 42 } }) end,
        spawned = function(self, scope, child)
          order[#order + 1] = "spawned"
          self.known = { [child] = "mine" } -- a handle may be a key
          assert(child:alive() and child:wake())
          return scope:ok()
        end,
        child_done = function(self, scope, child, value, ...)
          order[#order + 1] = self.known[child]
          order[#order + 1] = value[1]
          order[#order + 1] = select("#", ...)
          order[#order + 1] = child:alive()
          return scope:done()
        end,
      }
      assert.same({ "spawned", "mine", 42, 0, false }, order)
    end)

    it("hears why a child failed", function()
      local reason, heard = {}, nil
      play {
        create = function(_, scope) return scope:spawn(Child, { fail = reason }) end,
        spawned = function(_, scope, child)
          child:wake()
          return scope:ok()
        end,
        child_done = function(_, scope, _, ...)
          heard = table.pack(...)
          return scope:done()
        end,
      }
      assert.equal(reason, heard[2])
      assert.same({ nil, reason, "ELUA", n = 3 }, heard)
    end)

    it("hears the code of an error that is not the child's own", function()
      local heard
      play {
        create = function(_, scope)
          return scope:spawn(rotor.machine "Late" {
            create = function(_, child) return child:ok(0.001) end,
          })
        end,
        child_done = function(_, scope, _, ...)
          heard = table.pack(...)
          return scope:done()
        end,
      }
      assert.same({ nil, "ETIMEDOUT: deadline passed", "ETIMEDOUT", n = 3 }, heard)
    end)

    it("ends, and is reported, when its child throws and it has no spawn_error", function()
      local Bad = rotor.machine "Bad" { create = function() error("no good") end }
      play { create = function(_, scope) return scope:spawn(Bad) end }
      assert.equal(2, #scene.errors)
      assert.matches("^Bad: create: .*no good", scene.errors[1])
      assert.matches("^M: ELUA: .* %(of the machine it spawned%)$", scene.errors[2])
      scene.errors = {}
    end)

    it("takes its children with it if it hears of them", function()
      for _, owner in ipairs { true, false } do
        local dropped = {}
        local Sleeper = rotor.machine "Sleeper" {
          create = function(self, scope, name)
            self.name = name
            return scope:ok()
          end,
          drop = function(self) dropped[#dropped + 1] = self.name end,
        }
        local parent = assert(loop:add(rotor.machine "Parent" {
          create = function(self, scope)
            self.n = 1
            return scope:spawn(Sleeper, "child 1")
          end,
          spawned = function(self, scope)
            self.n = self.n + 1
            return self.n <= 3 and scope:spawn(Sleeper, "child " .. self.n) or scope:ok()
          end,
          child_done = owner and function() error "nobody has ended by itself" end or nil,
          drop = function() dropped[#dropped + 1] = "parent" end,
        }))
        loop:turn()
        parent:close()
        loop:turn()
        if owner then
          assert.same({ "child 3", "child 2", "child 1", "parent" }, dropped)
          assert.equal(0, loop:count())
        else
          assert.same({ "parent" }, dropped)
          assert.equal(3, loop:count())
        end
      end
    end)

    it("may spawn from any transition, again and again", function()
      local n = 0
      local Short = rotor.machine "Short" {
        create = function(_, scope, i) return scope:done(i) end,
      }
      play {
        create = function(_, scope) return scope:spawn(Short, 1) end,
        spawned = function(_, scope) return scope:ok() end,
        child_done = function(_, scope, _, i)
          n = n + i
          return i < 100 and scope:spawn(Short, i + 1) or scope:done()
        end,
      }
      assert.equal(5050, n)
    end)

    it("hears spawn_error when create fails, and what was thrown is reported", function()
      local heard
      local Bad = rotor.machine "Bad" {
        create = function() error("no good") end,
      }
      play {
        create = function(_, scope) return scope:spawn(Bad, "seed") end,
        spawn_error = function(_, scope, code)
          heard = code
          return scope:done()
        end,
      }
      assert.equal("ELUA", heard)
      assert.matches("^Bad: create: .*: no good\nstack traceback:", scene.error())
    end)

    it("hears spawn_error at the loop's capacity, the seed intact, and wakeup later", function()
      local small = scene.loop { capacity = 2 }
      local heard, seed = {}, {}
      local filler = assert(small:add(Child, { value = 1 }))
      assert(small:add(rotor.machine "M" {
        create = function(_, scope) return scope:spawn(Child, seed) end,
        spawn_error = function(_, scope, code, intact)
          heard[#heard + 1] = code
          heard[#heard + 1] = intact == seed
          filler:wake()
          return scope:ok()
        end,
        wakeup = function(_, scope)
          heard[#heard + 1] = "wakeup"
          return scope:spawn(Child, seed)
        end,
        spawned = function(_, scope, child)
          heard[#heard + 1] = "spawned"
          child:wake()
          return scope:done()
        end,
      }))
      small:run()
      assert.same({ "ECAPACITY", true, "wakeup", "spawned" }, heard)
      assert.equal(0, small:count())
    end)

    it("ends with the error when it has no spawn_error", function()
      local small = scene.loop { capacity = 1 }
      assert(small:add(rotor.machine "M" {
        create = function(_, scope) return scope:spawn(Child, {}) end,
      }))
      small:run()
      assert.equal("M: ECAPACITY: the loop's capacity is used up", scene.error())
    end)
  end)

  it("that cannot be added is a failure", function()
    local small = scene.loop { capacity = 1 }
    local M = rotor.machine "M" { create = function(_, scope) return scope:ok() end }
    assert(small:add(M))
    assert.same({ nil, "ECAPACITY: the loop's capacity is used up", "ECAPACITY" },
      { small:add(M, {}) })
  end)

  it("ends by error(value), which reaches on_error", function()
    play {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function(_, scope) return scope:error("out of cheese") end,
    }
    assert.equal("M: out of cheese", scene.error())
  end)

  it("whose create fails is no machine", function()
    local M = rotor.machine "M" {
      create = function(_, scope) return scope:error("not today") end,
    }
    assert.same({ nil, "ELUA: error in a Lua transition, told to on_error", "ELUA" },
      { loop:add(M) })
    assert.equal("M: create: not today", scene.error())
    -- Inside a transition create comes later, and its failure goes the same way.
    play {
      create = function(_, scope)
        assert(scope.loop:add(M))
        return scope:done()
      end,
    }
    assert.equal("M: create: not today", scene.error())
  end)

  it("that thinks better of error(value) has not failed", function()
    play {
      create = function(_, scope)
        scope:error("never mind")
        return scope:ok(0.001)
      end,
    }
    assert.equal("M: ETIMEDOUT: deadline passed", scene.error())
  end)

  it("is dropped exactly once, whatever ended it", function()
    local dropped = {}
    local M = rotor.machine "M" {
      create = function(self, scope, how)
        self.how = how
        if how == "create" then return scope:done() end
        if how == "create error" then error(how) end
        return scope:ok(0)
      end,
      timeout = function(self, scope)
        if self.how == "done" then return scope:done() end
        if self.how == "error" then return scope:error(self.how) end
        if self.how == "thrown" then error(self.how) end
        if self.how == "nonsense" then return 42 end
        return scope:ok()
      end,
      drop = function(self, ...)
        assert(select("#", ...) == 0)
        dropped[self.how] = (dropped[self.how] or 0) + 1
      end,
    }
    for _, how in ipairs { "create", "create error", "done", "error", "thrown", "nonsense",
                           "close", "loop" } do
      local handle = loop:add(M, how)
      if how == "close" then assert(handle:close()) end
    end
    for _ = 1, 3 do loop:turn() end
    assert.equal(1, loop:count())
    assert.is_nil(dropped.loop)
    loop:close()
    assert.same({ create = 1, ["create error"] = 1, done = 1, error = 1, thrown = 1, nonsense = 1,
                  close = 1, loop = 1 }, dropped)
    assert.equal(4, #scene.errors)
    scene.errors = {}
  end)

  it("that throws in drop is reported, and the others are dropped", function()
    local n = 0
    local M = rotor.machine "M" {
      create = function(_, scope) return scope:ok() end,
      drop = function()
        n = n + 1
        error("butterfingers")
      end,
    }
    for _ = 1, 3 do assert(loop:add(M)) end
    loop:close()
    assert.equal(3, n)
    assert.equal(3, #scene.errors)
    assert.matches("^M: drop: .*: butterfingers\n", scene.errors[3])
    scene.errors = {}
  end)

  it("that throws ends alone, and the report names it and the transition", function()
    local survived = false
    local function throw() error("kaputt") end
    local M = rotor.machine "M" {
      create = function(self, scope, which)
        self.which = which
        if which == "create" then throw() end
        if which == "spawned" or which == "child_done" then
          return scope:spawn(rotor.machine "Child" {
            create = function(_, child) return child:done() end,
          })
        elseif which == "spawn_error" then
          return scope:spawn(rotor.machine "Child" { create = function() error("child") end })
        end
        scope:handle():wake()
        return scope:ok(0)
      end,
      spawned = function(self, scope)
        if self.which == "spawned" then throw() end
        return scope:ok()
      end,
      spawn_error = throw,
      child_done = throw,
      wakeup = function(self, scope)
        if self.which == "wakeup" then throw() end
        return scope:same()
      end,
      timeout = throw,
      drop = function(self)
        if self.which == "drop" then throw() end
      end,
    }
    assert(loop:add(rotor.machine "Survivor" {
      create = function(_, scope) return scope:ok(0.005) end,
      timeout = function(_, scope)
        survived = true
        return scope:done()
      end,
    }))
    for _, which in ipairs { "create", "spawned", "spawn_error", "timeout", "wakeup",
                             "child_done" } do
      local handle = loop:add(M, which)
      for _ = 1, 5 do loop:turn() end
      assert.is_false(handle and handle:alive() or false)
      local message
      for _, candidate in ipairs(scene.errors) do
        if candidate:find("^M: ") then message = candidate end
      end
      scene.errors = {}
      local place = debug.getinfo(throw, "S")
      assert.equal(("M: %s: %s:%d: kaputt\nstack traceback:\n"):format(which, place.short_src,
        place.linedefined), message:match("^.-\n.-\n"))
      assert.matches("machine_spec.lua:", message:match("\n.*$"))
    end
    support.run(loop)
    assert.is_true(survived)
  end)

  it("may throw any value", function()
    local named = setmetatable({}, { __tostring = function() return "named" end })
    for _, value in ipairs { {}, true, 42, named } do
      play {
        create = function(_, scope) return scope:ok(0) end,
        timeout = function() error(value) end,
      }
      assert.equal("M: timeout: " .. tostring(value), scene.error():match("^[^\n]*"))
    end
    play {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function() error() end,
    }
    assert.equal("M: timeout: nil", scene.error():match("^[^\n]*"))
    play {
      create = function(_, scope) return scope:ok(0) end,
      timeout = function()
        error(setmetatable({}, { __tostring = function() error("worse") end }))
      end,
    }
    assert.matches("^M: timeout: ", scene.error())
  end)

  describe("whose transition returns no verdict", function()
    local wanted = "; it returns what scope:ok, same, spawn, done or error does"

    local function verdict(transition)
      play {
        create = function(_, scope) return scope:ok(0) end,
        timeout = transition,
      }
      local place = debug.getinfo(transition, "S")
      local prefix = ("M: timeout: %s:%d: timeout returned "):format(place.short_src,
        place.linedefined)
      local message = scene.error():match("^[^\n]*")
      assert.equal(prefix, message:sub(1, #prefix))
      assert.equal(wanted, message:sub(-#wanted))
      return message:sub(#prefix + 1, -#wanted - 1)
    end

    it("is told what it could return", function()
      assert.equal("nothing", verdict(function() end))
      assert.equal("nothing", verdict(function(_, scope) scope:ok() end))
      assert.equal("number", verdict(function() return 1.5 end))
      assert.equal("table", verdict(function(self) return self end))
      assert.equal("userdata", verdict(function(_, scope) return scope end))
    end)

    it("gets no other scope's verdict past", function()
      local what = "what another has asked for, or asked for earlier"
      local kept
      play {
        create = function(_, scope)
          kept = scope:ok()
          return scope:done()
        end,
      }
      assert.equal(what, verdict(function() return kept end))
      local other = scene.loop()
      local foreign
      assert(other:add(rotor.machine "Other" {
        create = function(_, scope)
          foreign = scope
          play {
            create = function(_, own) return own:ok(0) end,
            timeout = function(_, own)
              own:done()
              return foreign:ok()
            end,
          }
          return scope:done()
        end,
      }))
      assert.matches("returned " .. what, scene.error())
    end)
  end)

  it("has a scope during its transitions only", function()
    local kept
    play {
      create = function(_, scope)
        kept = scope
        return scope:done()
      end,
    }
    for _, method in ipairs { "ok", "same", "done", "now", "handle", "notifier" } do
      assert.has_error(function() kept[method](kept) end,
        "a scope is valid during its transition only")
    end
    assert.equal(loop, kept.loop)
  end)

  it("checks what its scope is given, at the caller's line", function()
    local said = {}
    play {
      create = function(_, scope)
        local env = { scope = scope, nan = 0 / 0 }
        for i, call in ipairs {
          "scope:ok('soon')", "scope:ok(-1)", "scope:ok(nan)", "scope:spawn()", "scope:spawn({})",
          "scope:error()", "scope.ok(3)",
        } do
          local _, message = pcall(load("\n_ = " .. call, "=there", "t", env))
          said[i] = message:match("^there:2: bad argument (.*)$") or message
        end
        return scope:done()
      end,
    }
    assert.same({
      "#1 to 'ok' (number expected, got string)",
      "#1 to 'ok' (seconds expected, at least 0)",
      "#1 to 'ok' (seconds expected, at least 0)",
      "#1 to 'spawn' (rotor.machine type expected, got no value)",
      "#1 to 'spawn' (rotor.machine type expected, got table)",
      "#1 to 'error' (value expected)",
      "#1 to 'ok' (rotor.scope expected, got number)",
    }, said)
  end)

  it("may wait for ever, and spawn nothing after all", function()
    local Child = rotor.machine "Child" { create = function() error("never") end }
    local handle = assert(loop:add(rotor.machine "M" {
      create = function(_, scope)
        scope:spawn(Child, {})
        return scope:ok(math.huge)
      end,
      wakeup = function(_, scope) return scope:done() end,
    }))
    loop:turn()
    assert.equal(1, loop:count())
    handle:wake()
    loop:turn()
    assert.equal(0, loop:count())
  end)
end)
