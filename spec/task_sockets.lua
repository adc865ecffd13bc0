--- What the specs of tasks' sockets share: pairs of connections, and what can be waited in.
local task = require "rotor.task"

local sockets = { waits = {} }

--- Two ends of a connection, over TCP unless `address` says otherwise.
function sockets.pair(address)
  local listener <close> = assert(task.listen(address or "127.0.0.1:0"))
  local here = assert(task.connect(listener:address()))
  return here, assert(listener:accept(1))
end

--- Write until the peer would have to read.
function sockets.stuff(conn)
  local block = ("x"):rep(65536)
  while true do assert(conn:write(block)) end
end

--- A listener that answers nobody any more, as its backlog is full; and those that are in it.
function sockets.busy()
  local listener = assert(task.listen("127.0.0.1:0", { backlog = 1 }))
  local conns = {}
  while true do
    local conn, _, code = task.connect(listener:address(), { timeout = 0.02 })
    if not conn then
      assert(code == "ETIMEDOUT", code)
      return listener, conns
    end
    conns[#conns + 1] = conn
  end
end

-- As the primitives of task_cancel_spec.lua.
local waits = sockets.waits

function waits.connect()
  local listener, conns = sockets.busy()
  local address = listener:address()
  return {
    wait = function() task.connect(address) error("nobody was to answer") end,
    check = function()
      for _ = 1, #conns do assert(listener:accept(1)):close() end
    end,
    close = function()
      for _, conn in ipairs(conns) do conn:close() end
      listener:close()
    end,
  }
end

function waits.accept()
  local listener = assert(task.listen("127.0.0.1:0"))
  local address = listener:address()
  return {
    wait = function() listener:accept() error("nobody has come") end,
    check = function()
      local here <close> = assert(task.connect(address))
      local there <close> = assert(listener:accept(1))
      here:write("kept")
      assert(there:read(4, 1) == "kept")
    end,
    close = function() listener:close() end,
  }
end

-- A wait for bytes of which the first have come: none of them is lost.
local function reading(wait)
  return function()
    local here, there = sockets.pair()
    there:write("ab")
    assert(task.select { come = { readable = here }, late = { after = 1 } } == "come")
    return {
      wait = function() wait(here) error("it has not come") end,
      check = function()
        there:write("cd\r\n")
        assert(here:read_until("\r\n", 10, 1) == "abcd")
      end,
      close = function()
        here:close()
        there:close()
      end,
    }
  end
end

waits["read"] = reading(function(conn) return conn:read(4) end)
waits["read_until"] = reading(function(conn) return conn:read_until("\n") end)
waits["read_until of a string that goes"] = reading(function(conn)
  local delimiter = ("-"):rep(100) .. tostring({})
  return conn:read_until(delimiter)
end)
waits["read_all"] = reading(function(conn) return conn:read_all() end)
waits["lines"] = reading(function(conn) return conn:lines()() end)

waits["read_some"] = function()
  local here, there = sockets.pair()
  return {
    wait = function() here:read_some() error("nothing has come") end,
    check = function()
      there:write("kept")
      assert(here:read(4, 1) == "kept")
    end,
    close = function()
      here:close()
      there:close()
    end,
  }
end

waits["select of readable"] = function()
  local here, there = sockets.pair()
  local listener = assert(task.listen("127.0.0.1:0"))
  local socket = assert(task.udp("127.0.0.1:0"))
  return {
    wait = function()
      task.select { { readable = here }, { accept = listener }, { recv = socket } }
      error("nothing has come")
    end,
    check = function()
      there:write("kept")
      assert(here:read_some(10, 1) == "kept")
    end,
    close = function()
      for _, object in ipairs { here, there, listener, socket } do object:close() end
    end,
  }
end

-- Of a peer that reads nothing meanwhile, and everything then.
local function writing(wait, stuffed)
  return function()
    local here, there = sockets.pair()
    if stuffed then task.deadline(0.02, sockets.stuff, here) end
    return {
      wait = function() wait(here) error("the peer does not read") end,
      check = function()
        here:shutdown()
        local n = 0
        while true do
          local data, _, code = there:read_some(nil, 1)
          if not data then
            assert(code == "EEOF", code)
            break
          end
          n = n + #data
        end
        assert(n > 65536 and n % 65536 == 0)
        assert(here:unsent() == 0)
      end,
      close = function()
        here:abort()
        there:abort()
      end,
    }
  end
end

waits["write"] = writing(sockets.stuff)
waits["flush"] = writing(function(conn) conn:flush() end, true)
waits["select of writable"] = writing(function(conn)
  task.select { { writable = conn } }
end, true)

waits["recv of a datagram"] = function()
  local socket, other = assert(task.udp("127.0.0.1:0")), assert(task.udp("127.0.0.1:0"))
  return {
    wait = function() socket:recv() error("nothing has come") end,
    check = function()
      assert(other:send("kept", socket:address()))
      assert(socket:recv(1) == "kept")
    end,
    close = function()
      socket:close()
      other:close()
    end,
  }
end

return sockets
