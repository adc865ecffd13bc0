local rotor = require "rotor"
local http = require "rotor.http"
local redis = require "rotor.redis"
local task = require "rotor.task"
local websocket = require "rotor.websocket"

-- What is annotated must be there, and what is there must be annotated.
describe("types.lua", function()
  local path = assert(package.searchpath("rotor.types", package.path))
  local source
  do
    local file <close> = assert(io.open(path))
    source = file:read("a")
  end

  local function sorted(set)
    local names = {}
    for name in pairs(set) do names[#names + 1] = name end
    table.sort(names)
    return names
  end

  -- The functions of `what`, joined to it by "." or ":".
  local function annotated_functions(what, by)
    local names = {}
    for name in source:gmatch("\nfunction " .. what .. "%" .. by .. "([%w_]+)%(") do
      names[name] = true
    end
    return sorted(names)
  end

  local function annotated_fields(class)
    local from = assert(select(2, source:find("\n---@class " .. class .. "\n", 1, true)), class)
    local fields = {}
    for line in source:sub(from + 1):gmatch("([^\n]*)\n") do
      if line:sub(1, 3) ~= "---" or line:find("^%-%-%-@class") then break end
      local name = line:match("^%-%-%-@field ([%w_]+)")
      if name then fields[name] = true end
    end
    return sorted(fields)
  end

  -- The methods behind __index, which is a table, or a function that has the table as an upvalue.
  local function methods(object)
    local index = debug.getmetatable(object).__index
    if type(index) == "function" then index = select(2, debug.getupvalue(index, 1)) end
    return sorted(index)
  end

  local function functions(module)
    local names = {}
    for name, value in pairs(module) do
      if type(value) == "function" then names[name] = true end
    end
    return sorted(names)
  end

  it("is Lua", function()
    assert(load(source))
  end)

  it("knows the functions of the modules", function()
    assert.same(functions(rotor), annotated_functions("rotor", "."))
    assert.same(functions(http), annotated_functions("http", "."))
    assert.same(functions(redis), annotated_functions("redis", "."))
    assert.same(functions(websocket), annotated_functions("websocket", "."))
    assert.same(functions(rotor.threads), annotated_functions("threads", "."))
    assert.same(functions(task), annotated_functions("task", "."))
    assert.same({ "threads", "version" }, annotated_fields "rotor")
    assert.same({ "locals" }, annotated_fields "rotor.task")
    assert.same({ "null" }, annotated_fields "rotor.redis")
    assert.equal("string", type(rotor.version))
  end)

  local request, response

  it("knows the methods of every object", function()
    local loop <close> = rotor.loop()
    local port, future = loop:future()
    local client <close> = assert(redis.connect("127.0.0.1:1", { loop = loop }))
    local files <close> = assert(http.files ".")
    local objects = { Loop = loop, Port = port, Future = future, RedisClient = client,
                      Process = assert(loop:process { "true" }),
                      Files = files, Counter = rotor.threads.counter(),
                      Dict = rotor.threads.dict { max_bytes = 4096 },
                      ThreadChannel = rotor.threads.channel(),
                      Crew = rotor.threads(1, type) }
    client:transaction(function(tx) objects.RedisTransaction = tx end)
    objects.Task, objects.TaskChannel = loop:spawn(type, 1), task.channel()

    objects.Mutex, objects.RWLock = task.mutex(), task.rwlock()
    objects.RWGuard, objects.Condition = objects.RWLock:read(), task.condition(objects.Mutex)
    objects.Semaphore, objects.WaitGroup = task.semaphore(1), task.wait_group()
    objects.Once, objects.Barrier = task.once(), task.barrier(1)
    loop:spawn(task.scope, function(scope) objects.TaskScope = scope end)
    loop:spawn(function()
      objects.TaskListener = assert(task.listen("127.0.0.1:0"))
      objects.TaskConn = assert(task.connect(objects.TaskListener:address()))
      objects.TaskUdp = assert(task.udp("127.0.0.1:0"))
    end)
    local Protocol = rotor.protocol "Protocol" {
      create = function(_, stream)
        objects.Stream = stream
        stream:write("GET /?q HTTP/1.1\r\nHost: x\r\n\r\n")
        return stream:expect_bytes(1)
      end,
      bytes_read = function(_, stream)
        loop:stop()
        return stream:done()
      end,
    }
    objects.Handle = assert(loop:add(rotor.machine "Machine" {
      create = function(_, scope)
        objects.Scope, objects.Notifier = scope, scope:notifier()
        local pipe <close> = assert(io.popen(":"))
        objects.Io = assert(scope:open(pipe))
        return scope:done()
      end,
      ready = print,
    }))
    local fields = {}
    local server = assert(loop:serve("127.0.0.1:0", function(req, res)
      if req.path ~= "/" then return res:send() end
      request, response = req, res
      objects.Request, objects.Response = req, res
      for _, name in ipairs(annotated_fields "rotor.http.Request") do fields[name] = req[name] end
      local _, message = pcall(function() return req.nonsense end)
      for name in message:match("it has (.*)$"):gmatch("[%w_]+") do
        if name ~= "and" and fields[name] == nil then fields[name] = "not annotated" end
      end
      res:send()
    end))
    assert(loop:connect(server:address(), Protocol))
    local called, url = {}, "http://" .. server:address() .. "/client"
    objects.Client = loop:client()
    assert(objects.Client:request(http.requester "Requester" {
      response_received = function(_, call)
        objects.Call = call
        for _, name in ipairs(annotated_fields "rotor.http.Call") do
          called[name] = call[name] or false -- as is `remote`, with the connection given back
        end
        local _, message = pcall(function() return call.nonsense end)
        for name in message:match("it has (.*)$"):gmatch("[%w_]+") do
          if name ~= "and" and called[name] == nil then called[name] = "not annotated" end
        end
        return call:done()
      end,
    }, { url = url, seed = "seed" }))
    local reply = objects.Client:get(url)
    assert(websocket.connect(loop, "ws://127.0.0.1:1", websocket.handler "WebSocket" {
      close = function(_, ws) objects.WebSocket = ws end,
    }))
    assert(loop:udp("127.0.0.1:0", rotor.datagram "Datagram" {
      create = function(_, socket)
        objects.Socket = socket
        return socket:done()
      end,
    }))
    loop:run() -- until the protocol has got its answer
    while reply:status() == "pending"
      or not (objects.Call and objects.WebSocket and objects.TaskUdp) do
      loop:turn()
    end
    for name, object in pairs(objects) do
      assert.same(methods(object), annotated_functions(name, ":"), name)
    end
    assert.same({ "context", "loop" }, annotated_fields "rotor.Scope")
    assert.same({ "context" }, annotated_fields "rotor.Loop")
    for name, value in pairs(fields) do assert.are_not_equal("not annotated", value, name) end
    for name, value in pairs(called) do assert.are_not_equal("not annotated", value, name) end
    assert.same({ "headers", "trailers" }, { type(called.headers) == "userdata" and "headers",
                                             type(called.trailers) == "userdata" and "trailers" })
    called.headers, called.trailers = nil, nil
    assert.same({ status = 200, reason = "OK", version = "1.1", body = "", length = 0,
                  seed = "seed", url = url,
                  remote = false }, called)
    assert.same(annotated_fields "rotor.http.Reply", sorted(reply:get()))
    assert.equal("userdata", type(fields.headers))
    assert.equal("userdata", type(fields.trailers))
    fields.headers, fields.trailers, fields.remote = nil, nil, nil
    assert.same({ method = "GET", path = "/", query = "q", target = "/?q", version = "1.1",
                  host = "x", has_body = false, length = 0, body = "" }, fields)
  end)

  it("knows all options", function()
    local loop <close> = rotor.loop()
    local P = rotor.protocol "P" { create = function() end }
    for class, call in pairs {
      ["rotor.threads.DictOptions"] = rotor.threads.dict,
      ["rotor.threads.JoinOptions"] = function(options)
        rotor.threads(1, type, 1):join(options)
      end,
      ["rotor.LoopOptions"] = function(options) rotor.loop(options) end,
      ["rotor.ListenOptions"] = function(options) rotor.listen("0", P, options) end,
      ["rotor.ConnectOptions"] = function(options) rotor.connect("0", P, options) end,
      ["rotor.PersistOptions"] = function(options) rotor.persist("0", P, options) end,
      ["rotor.ProtocolOptions"] = function(options)
        rotor.protocol("P", options) { create = function() end }
      end,
      ["rotor.DatagramOptions"] = function(options)
        rotor.datagram("D", options) { create = function() end }
      end,
      ["rotor.UdpOptions"] = function(options)
        rotor.udp("0", rotor.datagram "D" { create = function() end }, options)
      end,
      ["rotor.http.ServeOptions"] = function(options) http.serve("0", print, options) end,
      ["rotor.http.FilesOptions"] = function(options) http.files(".", options) end,
      ["rotor.http.ClientOptions"] = function(options) http.client(options) end,
      ["rotor.http.RequestOptions"] = function(options) http.request(options) end,
      ["rotor.websocket.HandlerOptions"] = function(options)
        websocket.handler("W", options) {}
      end,
      ["rotor.websocket.UpgradeOptions"] = function(options)
        websocket.upgrade(request, response, websocket.handler "W" {}, options)
      end,
      ["rotor.websocket.ConnectOptions"] = function(options)
        websocket.connect("ws://h", websocket.handler "W" {}, options)
      end,
      ["rotor.redis.Options"] = function(options) redis.connect("0", options) end,
      ["rotor.redis.TransactionOptions"] = function(options)
        local client <close> = assert(redis.connect("0", { loop = loop }))
        client:transaction(print, options)
      end,
    } do
      local _, message = pcall(call, { nonsense = true })
      local known = {}
      for name in message:match("known are: (.*)$"):gmatch("[%w_]+") do known[name] = true end
      assert.same(sorted(known), annotated_fields(class), class)
    end
  end)

  it("knows all transitions", function()
    local counts = { Machine = 8, Protocol = 10, Datagram = 7, ["http.Handler"] = 11,
                     ["http.Requester"] = 11, ["websocket.Handler"] = 10 }
    for class, declare in pairs {
      ["rotor.MachineTransitions"] = rotor.machine "M",
      ["rotor.ProtocolTransitions"] = rotor.protocol "P",
      ["rotor.DatagramTransitions"] = rotor.datagram "D",
      ["rotor.http.HandlerTransitions"] = http.handler "H",
      ["rotor.http.RequesterTransitions"] = http.requester "R",
      ["rotor.websocket.HandlerTransitions"] = websocket.handler "W",
    } do
      local fields = annotated_fields(class)
      assert.equal(counts[class:match("^rotor%.(.*)Transitions$")], #fields)
      local transitions = {}
      for _, name in ipairs(fields) do transitions[name] = print end
      if transitions.states then transitions.states = {} end
      if transitions.message_chunk then transitions.message = nil end -- it is either of them
      assert(declare(transitions))
    end
    local state = { parent = "outer" }
    for _, name in ipairs(annotated_fields "rotor.State") do state[name] = state[name] or print end
    assert(rotor.protocol "P" { create = print, states = { outer = {}, inner = state } })
  end)
end)
