local http = require "rotor.http"
local task = require "rotor.task"
local websocket = require "rotor.websocket"
local support = require "spec.support"

describe("websocket in tasks", function()
  local scene = support.scene()
  local loop, url
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  -- Serve WebSockets by `serve`, and run `fn` as a task.
  local function run(serve, fn)
    local listener = assert(http.serve(loop, "127.0.0.1:0", serve))
    url = "ws://" .. listener:address() .. "/"
    local handle = loop:spawn(function()
      local _ <close> = setmetatable({}, {
        __close = function() listener:close { drain = 0.01 } end,
      })
      local _, late = task.deadline(10, fn)
      return late or "done"
    end)
    support.run(loop)
    assert.same({ "done" }, { handle:join() })
  end

  local function echo(req, res)
    local ws <close> = assert(websocket.accept(req, res))
    for data, kind in ws:messages() do ws:send(data, kind) end
  end

  it("sends and receives in a line", function()
    run(echo, function()
      local ws <close> = assert(websocket.dial(url))
      assert.is_true(ws:send("hello"))
      assert.same({ "hello", "text" }, { ws:recv() })
      assert.is_true(ws:send("\0\255", "binary"))
      assert.same({ "\0\255", "binary" }, { ws:recv() })
      assert.equal("ETIMEDOUT", select(3, ws:recv(0.001)))
      ws:send("last")
      assert.equal("last", ws:recv())
      ws:close(4000, "enough")
      local _, message, name = ws:recv()
      assert.same({ "ECLOSED: the WebSocket is closed (4000)", "ECLOSED" }, { message, name })
      assert.equal("ECLOSED", select(3, ws:send("x")))
    end)
  end)

  it("tells why it could not connect", function()
    run(echo, function()
      assert.same({ nil, "ECONNREFUSED: connection refused", "ECONNREFUSED" },
        { websocket.dial("ws://127.0.0.1:1/") })
    end)
  end)

  it("is closed when the task that accepts it is unwound", function()
    run(function(req, res)
      task.scope(function(s)
        s:spawn(function() s:cancel() end)
        websocket.accept(req, res)
      end)
    end, function()
      local ws, message = websocket.dial(url)
      if ws then message = select(2, ws:recv(5)) end
      assert.matches("^ECLOSED: ", message)
    end)
  end)

  it("slows each other down, and loses nothing", function()
    local most = 0
    run(function(req, res)
      local ws <close> = assert(websocket.accept(req, res))
      for i = 1, 300 do
        ws:send(("%06d"):format(i) .. ("x"):rep(30000))
        most = math.max(most, ws.ws:unsent())
      end
      ws:recv()
    end, function()
      local ws <close> = assert(websocket.dial(url))
      task.sleep(0.01)
      for i = 1, 300 do assert.equal(i, tonumber(ws:recv():sub(1, 6))) end
    end)
    assert.is_true(most <= 65536 + 31000, tostring(most))
  end)

  it("receives what came before the end", function()
    run(function(req, res)
      local ws <close> = assert(websocket.accept(req, res))
      for i = 1, 40 do ws:send(tostring(i)) end
      ws:close(4000, "enough")
    end, function()
      local ws <close> = assert(websocket.dial(url))
      task.sleep(0.01)
      for i = 1, 40 do assert.equal(tostring(i), ws:recv()) end
      assert.equal("ECLOSED: enough (4000)", select(2, ws:recv()))
    end)
  end)

  it("closes when its task is canceled", function()
    local code
    run(function(req, res)
      local ws <close> = assert(websocket.accept(req, res))
      ws:recv()
      code = ws.code
    end, function()
      local waits
      local client = task.spawn(function()
        local ws <close> = assert(websocket.dial(url))
        waits = true
        ws:recv()
      end)
      while not waits do task.yield() end
      client:cancel()
      assert.equal("ECANCELED", select(3, client:join()))
      while not code do task.yield() end
      assert.equal(1000, code)
    end)
  end)

  it("says why there is none", function()
    local refused
    run(function(req, res)
      local ws, _, name = websocket.accept(req, res)
      assert(not ws)
      refused = name
    end, function()
      assert.equal("ECONNREFUSED", select(3, websocket.dial("ws://127.0.0.1:1/")))
      assert.equal("WEBSOCKET_EURL", select(3, websocket.dial("no url")))
      assert.equal(426, http.get((url:gsub("^ws", "http"))):await().status)
    end)
    assert.equal("WEBSOCKET_EHANDSHAKE", refused)
  end)

  it("is given up when its task is canceled before it is there", function()
    run(function() task.sleep(1000) end, function()
      assert.equal("ETIMEDOUT", select(3, task.deadline(0.02, websocket.dial, url)))
    end)
  end)

  it("is for tasks only, and blames who misuses it", function()
    local ok, message = pcall(websocket.dial, "ws://127.0.0.1:1/")
    assert.is_false(ok)
    assert.matches("only a task can wait", message)
    run(echo, function()
      local bad, why = pcall(function() websocket.dial(url, { nonsense = true }) end)
      assert.is_false(bad)
      assert.matches("^spec/websocket_task_spec.lua:%d+: unknown option 'nonsense'", why)
    end)
  end)
end)
