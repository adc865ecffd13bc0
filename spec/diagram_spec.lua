local lfs = require "lfs"
local rotor = require "rotor"
local support = require "spec.support"

local function unescape(name)
  return (name:gsub("&#(%d+);", function(code) return string.char(math.tointeger(code)) end))
end

-- What a diagram says, from the lines that make it; anything that is not one of those is an error.
--   nodes: name → counts; ends: name → count; moves: "from > to" → label; dashed: name → true;
--   inside: name → the names of the boxes around it, from the outside in
local function parse(dot)
  local seen = { nodes = {}, ends = {}, moves = {}, inside = {}, dashed = {} }
  local ids, boxes, waits_for_label = { start = "start" }, {}, false
  local lines = {}
  for line in dot:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  assert.equal(dot, table.concat(lines, "\n") .. "\n")
  assert.equal("}", table.remove(lines))
  seen.title = assert(table.remove(lines, 1):match('^digraph "(.*)" {$'))
  for _, line in ipairs(lines) do
    local id, label, rest = line:match("^  (%w+) %[label=(%b<>)(.*)%];$")
    if not id then id, label, rest = line:match('^  (%w+) %[label="(.*)"(.*)%];$') end
    local from, to, by = line:match('^  (%w+) %-> (%w+) %[label=" (.*)"%];$')
    if waits_for_label then
      boxes[#boxes + 1] = unescape(assert(line:match("^  label=<<b>(.*)</b>>;$"), line))
      waits_for_label = false
    elseif line:find("^  subgraph cluster_%d+ {$") then
      waits_for_label = true
    elseif line == "  }" then
      assert(table.remove(boxes))
    elseif from then
      assert(ids[from] and ids[to], "an arrow between what is not there: " .. line)
      local move = ids[from] .. " > " .. ids[to]
      assert.is_nil(seen.moves[move])
      seen.moves[move] = by
    elseif id == "start" or line:find("^  %l+ %[fontname=.*%];$")
      or line == "  { rank=source; start }" then
      assert.equal(0, #boxes)
    elseif id:find("^state") then
      local name, counts = label:match("^<<table[^>]*><tr><td><b>(.-)</b></td></tr>(.*)</table>>$")
      name = unescape(name)
      counts = counts:gsub("^<hr/><tr><td[^>]*>", ""):gsub("</td></tr>$", "")
        :gsub("</td></tr><hr/><tr><td>", "; "):gsub("<br/>", ", ")
      assert.is_nil(ids[id])
      assert.is_nil(seen.nodes[name])
      ids[id], seen.nodes[name] = name, counts
      seen.inside[name] = table.concat(boxes, " ")
      seen.dashed[name] = rest == ', style="rounded,dashed"' or nil
    else
      local name, count = label:match("^(%u+) (%d+)$")
      if name then
        assert.equal(", shape=ellipse, color=red", rest)
      else
        name, count = assert(label:match("^(%l+) (%d+)$"))
        assert.equal(", shape=ellipse", rest)
      end
      assert.is_nil(ids[id])
      ids[id], seen.ends[name] = name, tonumber(count)
    end
  end
  assert.equal(0, #boxes)
  return seen
end

describe("a diagram", function()
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

  local Line = {
    create = function(_, stream) return stream:expect_delimiter("\n", 10) end,
    bytes_read = function(_, stream, n)
      stream:write(stream:take(n + 1))
      return stream:expect_delimiter("\n", 10)
    end,
    exception = function(_, stream) return stream:done() end,
    timeout = function(_, stream) return stream:done() end,
  }

  -- Sends a text and closes its direction; then it waits for the other to close.
  local Caller = rotor.protocol "Caller" {
    create = function(_, stream, text)
      stream:write(text)
      stream:shutdown()
      return stream:expect_bytes(1 << 20)
    end,
    exception = function(_, stream) return stream:done() end,
    drop = function() loop:stop() end,
  }

  local function call(address, ...)
    for _, text in ipairs { ... } do
      assert(loop:connect(address, Caller, { seed = text }))
      support.run(loop)
    end
  end

  it("counts transitions and ends", function()
    local P = rotor.trace(rotor.protocol "Line" (Line))
    local listener = assert(loop:listen("127.0.0.1:0", P))
    call(listener:address(), "a\nb\n", "much too long a line", "c\nand half")
    assert.same({
      title = "Line",
      nodes = { Line = "bytes_read 3, timeout 0, exception 3" },
      inside = { Line = "" },
      dashed = {},
      ends = { done = 3 },
      moves = { ["start > Line"] = "create 3", ["Line > done"] = "exception 3" },
    }, parse(rotor.diagram(P)))
  end)

  it("shows who is where at present", function()
    local P = rotor.protocol "Line" {
      create = Line.create,
      bytes_read = function(_, stream)
        loop:stop()
        stream:take()
        return stream:sleep()
      end,
    }
    local listener = assert(loop:listen("127.0.0.1:0", rotor.trace(P)))
    call(listener:address(), "a\n")
    assert.same({ Line = "bytes_read 1; 1 here now" }, parse(rotor.diagram(P)).nodes)
    loop:close()
    local seen = parse(rotor.diagram(P))
    assert.same({ Line = "bytes_read 1" }, seen.nodes)
    assert.same({ ECANCELED = 1 }, seen.ends)
    assert.equal("1", seen.moves["Line > ECANCELED"])
  end)

  local function mail()
    return rotor.protocol "Mail" {
      create = function(_, stream) return stream:become("command"):expect_delimiter("\n", 20) end,
      exception = function(_, stream) return stream:done() end,
      states = {
        session = {
          exception = function(_, stream, code) return stream:error(code) end,
        },
        command = {
          parent = "session",
          bytes_read = function(_, stream, n)
            local line = stream:take(n)
            stream:consume(1)
            if line == "QUIT" then return stream:become():expect_bytes(1) end
            return stream:become("body"):expect_delimiter("\n.\n", 1000)
          end,
        },
        body = {
          parent = "session",
          bytes_read = function(_, stream, n)
            stream:consume(n + 3)
            return stream:become("command"):expect_delimiter("\n", 20)
          end,
        },
        ["never|{there}"] = { timeout = function(_, stream) return stream:abort() end },
      },
    }
  end

  it("shows states, and moves between them", function()
    local P = rotor.trace(mail())
    assert.same({
      title = "Mail",
      nodes = { body = "bytes_read 0", command = "bytes_read 0",
                ["never|{there}"] = "timeout 0" },
      inside = { body = "Mail session", command = "Mail session", ["never|{there}"] = "Mail" },
      dashed = { body = true, command = true, ["never|{there}"] = true },
      ends = {},
      moves = {},
    }, parse(rotor.diagram(P)))
    local listener = assert(loop:listen("127.0.0.1:0", P))
    call(listener:address(), "DATA\nx\n.\nQUIT\n", "DATA\nx\n.\nDATA\ny\n.\nDATA\nz", "DATA")
    assert.same({
      title = "Mail",
      nodes = { Mail = "exception 1", body = "bytes_read 3, exception 1",
                command = "bytes_read 5, exception 1",
                ["never|{there}"] = "timeout 0" },
      inside = { Mail = "Mail", body = "Mail session", command = "Mail session",
                 ["never|{there}"] = "Mail" },
      dashed = { ["never|{there}"] = true },
      ends = { done = 1, ELUA = 2 },
      moves = {
        ["start > command"] = "create 3",
        ["command > body"] = "bytes_read 4",
        ["body > command"] = "bytes_read 3",
        ["command > Mail"] = "bytes_read 1",
        ["Mail > done"] = "exception 1",
        ["body > ELUA"] = "exception 1",
        ["command > ELUA"] = "exception 1",
      },
    }, parse(rotor.diagram(P)))
    assert.equal(2, #scene.errors)
    assert.equal("Mail.session: exception: EEOF", scene.errors[1])
    scene.errors = {}
  end)

  it("is drawn by dot, where that is installed", function()
    if not os.execute("command -v dot >/dev/null") then
      pending "there is no dot"
      return
    end
    local odd = rotor.trace(rotor.protocol 'A "name" <with> \\l{|} & more\1\xff' {
      create = function() end, states = { ["\n"] = {}, [""] = { parent = "\n" }, ["\xff"] = {} },
    })
    for _, P in ipairs { rotor.trace(mail()), odd } do
      local path = os.tmpname()
      local pipe = assert(io.popen("LD_PRELOAD= dot -Tsvg >" .. path .. " 2>&1", "w"))
      pipe:write(rotor.diagram(P))
      assert(pipe:close())
      local file <close> = assert(io.open(path))
      os.remove(path)
      local svg = file:read("a")
      assert(svg:find("<svg", 1, true), svg)
      assert.is_nil(svg:find("Warning", 1, true), svg)
      if P == odd then
        assert(svg:find("A &quot;name&quot; &lt;with&gt; \\l{|} &amp; more", 1, true), svg)
      end
    end
  end)

  it("has connections that were never made, which are reported as ever", function()
    local listener = assert(loop:listen("127.0.0.1:0", Caller))
    local address = listener:address()
    listener:close()
    loop:turn()
    local heard
    local Silent = rotor.protocol "Silent" { create = Line.create }
    local Told = rotor.protocol "Told" {
      create = Line.create,
      fatal = function(_, _, code, _, seed) heard = code .. seed end,
    }
    for _, P in ipairs { Silent, Told } do
      assert(loop:connect(address, rotor.trace(P), { seed = "!" }))
      support.run(loop)
      local seen = parse(rotor.diagram(P))
      assert.same({ ECONNREFUSED = 1 }, seen.ends)
      assert.same({ ["start > ECONNREFUSED"] = "1" }, seen.moves)
    end
    assert.equal("ECONNREFUSED!", heard)
    assert.equal(("Silent: ECONNREFUSED: connection refused (%s)"):format(address), scene.error())
  end)

  it("has the connections that are made anew", function()
    local server = assert(loop:listen("127.0.0.1:0", rotor.protocol "Server" {
      create = function(_, stream) return stream:done() end,
    }))
    local P = rotor.trace(rotor.protocol "Kept" { create = Line.create })
    local times, kept = 0, nil
    kept = assert(loop:persist(server:address(), P, {
      backoff = 0.001,
      backoff_max = 0.001,
      down = function()
        times = times + 1
        if times == 3 then
          kept:close()
          server:close()
        end
      end,
    }))
    support.run(loop)
    local seen = parse(rotor.diagram(P))
    assert.same({ ["start > Kept"] = "create 3", ["Kept > done"] = "EEOF 3" }, seen.moves)
  end)

  it("leaves a stream's own view as it is", function()
    local states, other = {}, nil
    local Other = rotor.machine "Other" {
      create = function(_, scope) return scope:ok() end,
      wakeup = function(_, scope)
        states[#states + 1] = other:state() or "none"
        return scope:ok()
      end,
    }
    local watcher = assert(loop:add(Other))
    local P = rotor.trace(rotor.protocol "P" {
      create = function(_, stream)
        other = stream
        watcher:wake()
        states[#states + 1] = stream:state() or "none"
        assert.equal("rotor.stream: P", tostring(stream))
        return stream:expect_bytes(1)
      end,
      bytes_read = function(_, stream)
        stream:consume(1)
        watcher:wake()
        return stream:become("inner"):expect_bytes(1)
      end,
      states = { inner = {
        exception = function(_, stream)
          states[#states + 1] = stream:state()
          return stream:done()
        end,
      } },
    })
    local listener = assert(loop:listen("127.0.0.1:0", P))
    local client
    assert(loop:connect(listener:address(), rotor.protocol "Client" {
      create = function(_, stream) client = stream; return stream:sleep() end,
      wakeup = function(_, stream)
        if #states == 2 then stream:write("a") else stream:shutdown() end
        return stream:sleep()
      end,
    }))
    while #states < 2 do loop:turn() end
    client:handle():wake()
    while #states < 3 do loop:turn() end
    client:handle():wake()
    while #states < 4 do loop:turn() end
    assert.same({ "none", "none", "inner", "inner" }, states)
  end)

  describe("begins", function()
    it("with tracing", function()
      local P = rotor.protocol "Untraced" (Line)
      local ok, message = pcall(rotor.diagram, P)
      assert.is_false(ok)
      assert.equal('protocol "Untraced" was never traced; call rotor.trace(protocol) before it is '
        .. "listened or connected with", message)
      assert.equal(P, rotor.trace(P, false))
      assert.is_false(pcall(rotor.diagram, P))
    end)

    it("with what listens from then on", function()
      local P = rotor.protocol "Line" (Line)
      local before = assert(loop:listen("127.0.0.1:0", P))
      rotor.trace(P)
      local meanwhile = assert(loop:listen("127.0.0.1:0", P))
      rotor.trace(P, false)
      local after = assert(loop:listen("127.0.0.1:0", P))
      call(before:address(), "a\n", "b\n")
      assert.same({}, parse(rotor.diagram(P)).moves)
      call(after:address(), "a\n")
      assert.same({}, parse(rotor.diagram(P)).moves)
      call(meanwhile:address(), "a\n")
      assert.equal("create 1", parse(rotor.diagram(P)).moves["start > Line"])
      rotor.trace(P)
      call(assert(loop:listen("127.0.0.1:0", P)):address(), "b\n", "c\n")
      assert.equal("create 3", parse(rotor.diagram(P)).moves["start > Line"])
    end)

    it("with a protocol", function()
      local M = rotor.machine "M" { create = function() end }
      for _, fn in ipairs { rotor.trace, rotor.diagram } do
        for _, wrong in ipairs { M, {}, "P", loop } do
          local ok, message = pcall(fn, wrong)
          assert.is_false(ok)
          assert(message:find("rotor.protocol expected", 1, true), message)
        end
      end
      assert.is_false(pcall(rotor.trace, Caller, "on"))
    end)
  end)

  describe("in a program", function()
    local folder
    before_each(function()
      folder = os.tmpname()
      os.remove(folder)
      assert(lfs.mkdir(folder))
    end)
    after_each(function()
      for name in lfs.dir(folder) do os.remove(folder .. "/" .. name) end
      assert(lfs.rmdir(folder))
    end)

    local function program(environment, code)
      local i = 0
      while arg[i - 1] do i = i - 1 end
      local script = os.tmpname()
      local file = assert(io.open(script, "w"))
      file:write(code)
      file:close()
      local command = ("%s exec timeout 20 %s %s 2>&1"):format(environment, arg[i], script)
      local pipe = assert(io.popen(command))
      local output = pipe:read("a")
      local _, _, status = pipe:close()
      os.remove(script)
      return output, status
    end

    local function written()
      local files = {}
      for name in lfs.dir(folder) do
        local file = not name:find("^%.") and assert(io.open(folder .. "/" .. name))
        if file then
          files[name] = parse(file:read("a"))
          file:close()
        end
      end
      return files
    end

    local converse = [[
      local rotor = require "rotor"
      local function protocol(name)
        return rotor.protocol(name) {
          create = function(_, stream) return stream:expect_bytes(1) end,
          exception = function(_, stream) return stream:done() end,
        }
      end
      local listener = assert(rotor.listen("127.0.0.1:0", protocol "Server"))
      assert(rotor.connect(listener:address(), rotor.protocol "Client" {
        create = function(_, stream)
          stream:shutdown()
          return stream:expect_bytes(1)
        end,
        drop = function() rotor.stop() end,
      }))
      rotor.run()
    ]]

    it("is written at the end, if the environment asks for it", function()
      assert.same({ "", 0 }, { program("ROTOR_TRACE=" .. folder, converse) })
      local files = written()
      assert.same({ "Client.dot", "Server.dot" }, (function()
        local names = {}
        for name in pairs(files) do names[#names + 1] = name end
        table.sort(names)
        return names
      end)())
      assert.same({ ["start > Server"] = "create 1", ["Server > done"] = "exception 1" },
        files["Server.dot"].moves)
      assert.same({ ["start > Client"] = "create 1", ["Client > done"] = "EEOF 1" },
        files["Client.dot"].moves)
    end)

    it("is not written if not", function()
      assert.same({ "", 0 }, { program("", converse) })
      assert.same({ "", 0 }, { program("ROTOR_TRACE=", converse) })
      assert.same({}, written())
    end)

    it("has a file of its own for each protocol, dead or alive", function()
      local output = program("ROTOR_TRACE=" .. folder, converse .. [[
        protocol "Server"
        collectgarbage()
        collectgarbage()
        local file = assert(io.open(os.getenv "ROTOR_TRACE" .. "/Server-2.dot"))
        file:close()
        protocol "../a b"
        protocol "../a.b"
        os.exit(0, true)
      ]])
      assert.equal("", output)
      local files = written()
      assert.equal("Server", files["Server-2.dot"].title)
      assert.same({}, files["Server-2.dot"].moves)
      assert.equal("../a b", files["___a_b.dot"].title)
      assert.equal("../a.b", files["___a_b-2.dot"].title)
    end)

    it("is written when there are no finalizers any more", function()
      assert.same({ "", 3 }, { program("ROTOR_TRACE=" .. folder, converse .. "os.exit(3)") })
      assert.same({ ["start > Server"] = "create 1", ["Server > done"] = "exception 1" },
        written()["Server.dot"].moves)
    end)

    it("says when it cannot be written, and ends as ever", function()
      local output, status = program("ROTOR_TRACE=" .. folder .. "/nowhere", converse)
      assert.equal(0, status)
      assert.equal(4, select(2, output:gsub("rotor: ROTOR_TRACE: [^\n]*No such file[^\n]*\n", "")))
    end)

    it("may end while a protocol written in C connects", function()
      assert.same({ "", 0 }, { program("ROTOR_TRACE=", ([[
        local rotor = require "rotor"
        local P = rotor.trace(assert(rotor.load %q).Marks)
        local listener = assert(rotor.listen("127.0.0.1:0", P, { seed = "hello" }))
        assert(rotor.connect(listener:address(), P, { seed = "hello" }))
        for _ = 1, 5 do rotor.turn() end
        assert(rotor.connect(listener:address(), P, { seed = "hello" }))
        assert(rotor.persist(listener:address(), P, { seed = "hello" }))
      ]]):format(support.shared "loaded")) })
    end)

    it("may end at any time", function()
      for _, how in ipairs { "", "os.exit(0, true)", "error 'enough'" } do
        local output = program("ROTOR_TRACE=" .. folder, ([[
          local rotor
          local first = setmetatable({}, { __gc = function(self)
            -- The last of all finalizers: everything of rotor's has ended.
            print(pcall(rotor.diagram, self.P))
            print(pcall(rotor.trace, self.P))
          end })
          rotor = require "rotor"
          local P
          P = rotor.protocol "P" {
            create = function(_, stream) return stream:become("inner"):expect_bytes(1) end,
            bytes_read = function(_, stream)
              %s
              rotor.stop()
              return stream:sleep()
            end,
            drop = function() rotor.diagram(P) end,
            states = { inner = {} },
          }
          first.P = P
          local listener = assert(rotor.listen("127.0.0.1:0", P))
          local Caller = rotor.protocol "Caller" {
            create = function(_, stream) stream:write "a" return stream:sleep() end,
          }
          assert(rotor.connect(listener:address(), Caller))
          rotor.on_error(rotor.stop)
          rotor.run()
          assert(rotor.connect(listener:address(), P)) -- under way for ever
        ]]):format(how))
        assert.is_nil(output:find("ERROR", 1, true), output)
        assert.equal(2, select(2, output:gsub("no trace: the Lua state closes", "")), output)
        local files = written()
        assert.equal("create 1", files["P.dot"].moves["start > inner"], output)
      end
    end)
  end)
end)
