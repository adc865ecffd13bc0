local rotor = require "rotor"
local task = require "rotor.task"
local support = require "spec.support"

describe("dump", function()
  local scene = support.scene()
  before_each(scene.begin)
  after_each(scene.finish)

  local Sleeper = rotor.machine "Sleeper" {
    create = function(_, scope, seconds) return scope:ok(seconds) end,
    timeout = function(_, scope) return scope:done() end,
  }

  it("is empty where there is no machine", function()
    assert.equal("", scene.loop():dump())
    assert.equal("", rotor.dump(scene.loop()))
    assert.equal("0\n", (support.program "print(#require('rotor').dump())"))
  end)

  it("has a line for each machine", function()
    local loop = scene.loop { virtual = true }
    assert(loop:add(Sleeper, 2.5))
    local second = assert(loop:add(Sleeper))
    loop:advance(1)
    assert.equal("Sleeper 0.1: its deadline; for 1.000 s; deadline in 1.500 s\n"
      .. "Sleeper 1.1: a wakeup; for 1.000 s\n", loop:dump())
    second:wake()
    loop:turn()
    assert.matches("Sleeper 1.1: a wakeup; for 1.000 s\n", loop:dump(), 1, true)
    loop:advance(1.5)
    assert.equal("Sleeper 1.1: a wakeup; for 2.500 s\n", loop:dump())
  end)

  it("tells protocols, states and addresses", function()
    local loop = scene.loop()
    local there
    local Server = rotor.protocol "Server" {
      states = { body = { bytes_read = function(_, stream) return stream:sleep() end } },
      create = function(_, stream)
        stream:become "body"
        there = true
        return stream:expect_delimiter("\r\n", 100, 60)
      end,
    }
    local Client = rotor.protocol "Client" {
      create = function(_, stream) return stream:expect_bytes(5) end,
      hangup = function(_, stream) return stream:done() end,
    }
    local server = assert(loop:listen("127.0.0.1:0", Server))
    local client = assert(loop:connect(server:address(), Client))
    assert.matches("\nClient 1.1: connecting to 127.0.0.1:%d+; for 0.%d+ s; deadline in %d+.%d+ s",
                   loop:dump())
    while not there do loop:turn() end
    local dump = loop:dump()
    assert.matches("^listener 0.1: connections on 127.0.0.1:%d+; for ", dump)
    assert.matches("\nClient 1.1: 5 bytes, peer " .. server:address() .. "; for ", dump, 1, true)
    assert.matches("\nServer %d+.1: \"\\r\\n\" within 100 bytes, in state body, "
      .. "peer 127.0.0.1:%d+; for %d+.%d+ s; deadline in %d+.%d+ s\n", dump)
    server:close()
    client:close()
  end)

  it("tells what connections of HTTP wait for", function()
    local loop = scene.loop()
    local kept
    local server = assert(loop:serve("127.0.0.1:0", function(req, res)
      if req.path == "/slow" then kept = res else res:send("fast") end
    end))
    local Half = rotor.protocol "Half" {
      create = function(_, stream)
        stream:write("GET / HTTP/1.1\r\nHo")
        return stream:expect_bytes(1)
      end,
      exception = function(_, stream) return stream:done() end,
    }
    local half = assert(loop:connect(server:address(), Half))
    local client = loop:client()
    local url = "http://" .. server:address()
    local answer = client:get(url .. "/slow?secret=1")
    local function has(line)
      for _ = 1, 1000 do
        if loop:dump():find(line) then return true end
        loop:turn()
      end
      assert.matches(line, loop:dump())
    end
    has "\nhttp %d+.%d+: the handler %(GET /slow%), %d+ unread, peer 127.0.0.1:%d+; "
    has "\nhttp client %d+.%d+: a response, peer 127.0.0.1:%d+; "
    has "\nhttp %d+.%d+: a response; "
    has "\nhttp %d+.%d+: the rest of a request's head, 18 unread, peer "
    kept:send("slow")
    has "\nhttp %d+.%d+: a request, peer 127.0.0.1:%d+; "
    has "\nhttp client %d+.%d+: a request to send, peer "
    while answer:status() == "pending" do loop:turn() end
    assert.equal("slow", answer:get().body)
    half:close()
    server:close()
    client:close()
  end)

  it("tells where tasks wait, and where they were spawned", function()
    local loop = scene.loop { virtual = true }
    local channel, mutex = task.channel(), task.mutex()
    local spawned = debug.getinfo(1, "l").currentline
    local receiver = loop:spawn(function() channel:recv() end)
    local named = loop:spawn(function()
      task.deadline(5, function() task.sleep(10) end)
    end)
    local holder = loop:spawn(function()
      local _ <close> = mutex:lock()
      task.sleep(3)
    end)
    local waiter = loop:spawn(function() local _ <close> = mutex:lock() end)
    local unborn = loop:spawn(function() end)
    assert.matches(("\ntask 4.1: its turn, a task spawned at spec/dump_spec.lua:%d; for 0.000 s\n")
      :format(spawned + 10), loop:dump(), 1, true)
    loop:turn()
    loop:advance(1)
    local function line(name, what, at, from, rest)
      return ("%s: %s at spec/dump_spec.lua:%d, a task spawned at spec/dump_spec.lua:%d; %s\n")
        :format(name, what, spawned + at, spawned + from, rest)
    end
    assert.equal(line("task 0.1", "recv", 1, 1, "for 1.000 s")
      .. line("task 1.1", "sleep", 3, 2, "for 1.000 s; deadline in 4.000 s")
      .. line("task 2.1", "sleep", 7, 5, "for 1.000 s; deadline in 2.000 s")
      .. line("task 3.1", "lock", 9, 9, "for 1.000 s"), loop:dump())
    for _, handle in ipairs { receiver, named, holder, waiter, unborn } do handle:cancel() end
    loop:turn()
    loop:run()
  end)

  it("tells the names of tasks", function()
    local loop = scene.loop()
    local handle = loop:spawn(function()
      assert.matches("^reader 0.1: running, a task spawned at ", loop:dump())
    end)
    handle.name = "reader"
    assert.matches("^reader 0.1: its turn, a task spawned at ", loop:dump())
    loop:run()
    assert.is_true(handle:done())
  end)

  it("can be taken inside of a transition", function()
    local loop = scene.loop()
    local inside
    assert(loop:add(rotor.machine "Looker" {
      create = function(_, scope)
        inside = scope.loop:dump()
        return scope:done()
      end,
    }))
    assert.matches("^Looker 0.1: a wakeup; for 0.000 s\n$", inside)
  end)

  it("refuses what is no loop", function()
    assert.error_matches(function() scene.loop().dump() end, "rotor.loop expected, got no value")
    local loop = rotor.loop()
    loop:close()
    assert.error_matches(function() loop:dump() end, "the loop is closed")
  end)

  describe("on a signal", function()
    local program = [[
      local rotor = require "rotor"
      local kill = "kill -USR1 " .. io.open("/proc/self/stat"):read("n")
      local Machine = rotor.machine "Machine" {
        create = function(self, scope) self.n = 0 return scope:ok(0.001) end,
        timeout = function(self, scope)
          self.n = self.n + 1
          if self.n == 1 then os.execute(kill) end
          if self.n == 50 then return scope:done() end
          return scope:ok(0.001)
        end,
      }
      assert(rotor.dump_on_signal "USR1")
      %s
      rotor.add(Machine)
      rotor.run()
    ]]

    it("is printed", function()
      local output, status = support.program(program:format "")
      assert.equal(0, status)
      assert.matches("^rotor: what machines wait for:\nMachine 0.1: its deadline; for 0.%d+ s; "
        .. "deadline in 0.%d+ s\n$", output)
    end)

    it("is printed besides what a function does", function()
      local output, status = support.program(program:format [[
        rotor.on_signal("USR1", function(name) io.stderr:write(name, "\n") end)]])
      assert.equal(0, status)
      assert.matches("^rotor: what machines wait for:\nMachine 0.1: .*\nUSR1\n$", output)
    end)

    it("is not printed any more", function()
      local output, status = support.program(program:format [[
        rotor.on_signal("USR1", function(name) io.stderr:write(name, "\n") end)
        rotor.dump_on_signal("USR1", false)]])
      assert.equal("USR1\n", output)
      assert.equal(0, status)
    end)

    it("takes the name of a signal", function()
      local loop = scene.loop()
      assert.error_matches(function() loop:dump_on_signal("SIGUSR1") end, "a signal expected: HUP")
      assert.error_matches(function() loop:dump_on_signal("USR1", 1) end, "boolean expected")
    end)
  end)
end)
