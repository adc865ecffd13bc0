local lfs = require "lfs"
local http = require "rotor.http"
local rotor = require "rotor"
local support = require "spec.support"

-- A folder that is gone when the test is over, with all that is left in it.
local function with_folder(fn)
  local folder = os.tmpname()
  os.remove(folder)
  assert(lfs.mkdir(folder))
  local ok, message = pcall(fn, folder)
  for name in lfs.dir(folder) do
    if not name:find("^%.") then os.remove(folder .. "/" .. name) end
  end
  assert(lfs.rmdir(folder))
  assert(ok, message)
end

local function split(list)
  local parts = {}
  for part in list:gmatch("[^,]+") do parts[#parts + 1] = part end
  return parts
end

describe("listening", function()
  local scene = support.scene()
  local loop
  -- Says where it was reached, and which seed the listener was given.
  local Where = rotor.protocol "Where" {
    create = function(_, stream, seed)
      stream:write(stream:address(), " ", tostring(seed))
      return stream:done()
    end,
  }
  before_each(function()
    scene.begin()
    loop = scene.loop()
  end)
  after_each(function()
    loop = nil
    scene.finish()
  end)

  describe("on several addresses", function()
    it("is one listener", function()
      with_folder(function(folder)
        local unix = "unix:" .. folder .. "/socket"
        local listener = assert(loop:listen("127.0.0.1:0, 0," .. unix, Where, { seed = "S" }))
        assert.equal(1, loop:count())
        local parts = split(listener:address())
        assert.equal(3, #parts)
        assert.equal(unix, parts[3])
        for _, address in ipairs(parts) do
          assert.equal(address .. " S", support.exchange(loop, address, ""))
        end
        listener:close()
        loop:turn()
        assert.is_nil(lfs.attributes(folder .. "/socket"))
        for _, address in ipairs(parts) do
          local code = address == unix and "ENOENT" or "ECONNREFUSED"
          assert.equal(code, support.exchange(loop, address, ""))
        end
      end)
    end)

    it("has an address of any length", function()
      for n = 1, 60 do
        local listener = assert(loop:listen(("0,"):rep(n - 1) .. "0", Where))
        local parts = split(listener:address())
        assert.equal(n, #parts)
        for _, address in ipairs(parts) do assert.matches("^127%.0%.0%.1:[1-9]%d+$", address) end
        listener:close()
      end
      loop:turn()
      assert.equal(0, loop:count())
    end)

    it("is no address with a NUL in it, nor is any other", function()
      local Datagram = rotor.datagram "Datagram" { create = function() end }
      for method, protocol in pairs { listen = Where, connect = Where, persist = Where,
                                      udp = Datagram, serve = print } do
        local ok, message = pcall(loop[method], loop, "127.0.0.1:0\0x", protocol)
        assert.is_false(ok)
        assert.matches("an address has no NUL in it", message, 1, true)
      end
      assert.equal(0, loop:count())
    end)

    it("names the one that fails, and listens on none", function()
      local busy = assert(loop:listen("127.0.0.1:0", Where))
      local taken = busy:address()
      with_folder(function(folder)
        local unix = "unix:" .. folder .. "/socket"
        for address, code in pairs {
          [taken] = "EADDRINUSE: address already in use",
          ["192.0.2.1:80"] = "EADDRNOTAVAIL: address not available",
          ["127.0.0.1"] = "EADDRESS: not an address: "
            .. "expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH",
          ["unix:" .. folder .. "/none/socket"] = "ENOENT: no such file or directory",
          ["fd:99999999"] = "EBADF: bad file descriptor",
          ["fd:0"] = "ELISTENING: not a stream socket that listens",
          ["inherited"] = "EINHERIT: "
            .. "no sockets were passed: LISTEN_PID is not this process, or no LISTEN_FDS",
        } do
          local wanted = { nil, code .. " (" .. address .. ")", code:match("%w+") }
          for _, list in ipairs { "%s", "0, %s", unix .. ",0,%s", "%s," .. unix } do
            list = list:format(address)
            assert.same(wanted, { loop:listen(list, Where) })
            assert.same(wanted, { loop:serve(list, print) })
          end
        end
        assert.is_nil(lfs.attributes(folder .. "/socket"))
      end)
      assert.equal(1, loop:count())
      assert.equal(taken .. " nil", support.exchange(loop, taken, ""))
    end)

    it("shows the list when what fails is empty, or is none of them", function()
      local _, message = loop:listen("0,,0", Where)
      assert.matches(" %(0,,0%)$", message)
      local full = scene.loop { capacity = 1 }
      assert(full:listen("0", Where))
      assert.same({ nil, "ECAPACITY: the loop's capacity is used up (0,0)", "ECAPACITY" },
        { full:listen("0,0", Where) })
      assert.same({ nil, "ECAPACITY: the loop's capacity is used up (0,0)", "ECAPACITY" },
        { full:serve("0,0", print) })
    end)

    it("serves HTTP", function()
      local server = assert(http.serve(loop, "0,0", function(req, res)
        res:send(req.headers.host)
      end, { keepalive = 60, ipv6_only = true }))
      for i, address in ipairs(split(server:address())) do
        local answer = support.exchange(loop, address,
          "GET / HTTP/1.1\r\nHost: h" .. i .. "\r\nConnection: close\r\n\r\n")
        assert.matches("\r\n\r\nh" .. i .. "$", answer)
      end
      server:close { drain = 1 }
    end)
  end)

  it("has options about TCP, which do nothing to Unix sockets", function()
    with_folder(function(folder)
      local list = "0,unix:" .. folder .. "/socket"
      local listener = assert(loop:listen(list, Where, {
        backlog = 16, keepalive = 60, ipv6_only = true, delay = true, reuse_port = true,
        connections = 100,
      }))
      for _, address in ipairs(split(listener:address())) do
        assert.equal(address .. " nil", support.exchange(loop, address, ""))
      end
    end)
  end)

  it("refuses options that cannot be", function()
    for option, message in pairs {
      ["keepalive = 0"] = "option 'keepalive': an integer from 1 to 32767 expected, got 0",
      ["keepalive = 0.5"] = "option 'keepalive': an integer from 1 to 32767 expected, got 0.5",
      ["keepalive = 32768"] = "option 'keepalive': an integer from 1 to 32767 expected, got 32768",
      ["keepalive = true"] = "option 'keepalive': an integer from 1 to 32767 expected, got true",
      ["ipv6_only = 1"] = "option 'ipv6_only': a boolean expected, got number",
    } do
      local options = load("return {" .. option .. "}")()
      assert.has_error(function() loop:listen("0", Where, options) end, message)
      assert.has_error(function() loop:serve("0", print, options) end, message)
    end
  end)

  it("is for IPv4, too, on [::], unless ipv6_only", function()
    local listener, _, code = loop:listen("[::]:0,[::1]:0", Where)
    if not listener then
      assert.is_true(code == "EADDRNOTAVAIL" or code == "EAFNOSUPPORT", code)
      pending("this machine has no IPv6")
      return
    end
    local port = split(listener:address())[1]:match("%d+$")
    assert.equal("[::ffff:127.0.0.1]:" .. port .. " nil",
      support.exchange(loop, "127.0.0.1:" .. port, ""))
    local only = assert(loop:listen("[::]:0", Where, { ipv6_only = true }))
    port = only:address():match("%d+$")
    assert.equal("[::1]:" .. port .. " nil", support.exchange(loop, "[::1]:" .. port, ""))
    assert.equal("ECONNREFUSED", support.exchange(loop, "127.0.0.1:" .. port, ""))
  end)

  it("replaces the socket of a program that was killed, and no other", function()
    with_folder(function(folder)
      local file = folder .. "/socket"
      local address = "unix:" .. file
      local output = support.program([[
        local rotor = require "rotor"
        local P = rotor.protocol "P" { create = function(_, stream) return stream:done() end }
        print(rotor.listen(arg[1], P):address())
        io.stdout:flush()
        os.exit(0, false)
      ]], address)
      assert.equal(address .. "\n", output)
      assert.equal("socket", lfs.attributes(file, "mode"))
      local listener = assert(loop:listen(address, Where))
      assert.equal(address .. " nil", support.exchange(loop, address, ""))
      assert.same({ nil, "EADDRINUSE: address already in use (" .. address .. ")", "EADDRINUSE" },
        { loop:listen(address, Where) })
      listener:close()
      loop:turn()
      assert.is_nil(lfs.attributes(file))

      io.open(file, "w"):close()
      assert.same({ nil, "EADDRINUSE: address already in use (" .. address .. ")", "EADDRINUSE" },
        { loop:listen(address, Where) })
      assert.equal("file", lfs.attributes(file, "mode"))
    end)
  end)
end)
