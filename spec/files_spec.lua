local lfs = require "lfs"
local rotor = require "rotor"
local http = require "rotor.http"
local reader = require "spec.http_reader"
local support = require "spec.support"

-- What Lua has of it. How files are served is tested in csrc/test/test_files*.c.
describe("http.files", function()
  local scene = support.scene()
  local loop, address, folder, opened
  local big = ("0123456789abcdef"):rep(1 << 15) -- 512 KiB

  local function write(name, text)
    local file <close> = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
  end

  local function remove(path)
    if lfs.symlinkattributes(path, "mode") ~= "directory" then return assert(os.remove(path)) end
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then remove(path .. "/" .. name) end
    end
    assert(lfs.rmdir(path))
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder) and lfs.mkdir(folder .. "/root") and lfs.mkdir(folder .. "/root/dir"))
    write("secret", "outside")
    write("root/index.html", "index")
    write("root/a.txt", "a text")
    write("root/notes.md", "notes")
    write("root/a.txt.gz", "compressed")
    write("root/.hidden", "hidden")
    write("root/dir/index.html", "index of dir")
    write("root/big.bin", big)
    assert(lfs.link("a.txt", folder .. "/root/link.txt", true))
    assert(lfs.link("../secret", folder .. "/root/out.txt", true))
    scene.begin()
    loop, opened = scene.loop(), {}
  end)
  after_each(function()
    for _, files in ipairs(opened) do files:close() end
    loop, opened = nil, nil
    scene.finish()
    remove(folder)
  end)

  local function files(options)
    local object = assert(http.files(folder .. "/root", options))
    opened[#opened + 1] = object
    return object
  end

  local function serve(handler)
    address = assert(loop:serve("127.0.0.1:0", handler)):address()
  end

  -- The response to one request, read strictly.
  local function ask(method, path, headers)
    local bytes = support.exchange(loop, address, ("%s %s HTTP/1.1\r\nHost: spec\r\n%sConnection: "
      .. "close\r\n\r\n"):format(method, path, headers or ""))
    local response, behind = reader.response(bytes, 1, method)
    assert(response, behind)
    assert.equal(#bytes + 1, behind)
    return response
  end

  local function get(path, headers)
    local response = ask("GET", path, headers)
    return response.status, response.body, response.fields
  end

  local function page(path, headers)
    local status, body = get(path, headers)
    return { status, body }
  end

  describe("handles requests", function()
    it("as a server's handler", function()
      serve(files())
      local status, body, fields = get "/a.txt"
      assert.same({ 200, "a text" }, { status, body })
      assert.equal("text/plain; charset=utf-8", fields["content-type"])
      assert.same({ 200, "index" }, page "/")
      assert.same({ 200, "index of dir" }, page "/dir/")
      status, body, fields = get "/dir?x"
      assert.same({ 301, "301 Moved Permanently\n" }, { status, body })
      assert.equal("./dir/?x", fields.location)
      assert.same({ 404, "404 Not Found\n" }, page "/nothing")
      assert.same({ 404, "404 Not Found\n" }, page "/../secret")
      assert.same({ 404, "404 Not Found\n" }, page "/%2e%2e/secret")
      assert.same({ 404, "404 Not Found\n" }, page "/.hidden")
      assert.same({ 404, "404 Not Found\n" }, page "/link.txt")
      local response = ask("DELETE", "/a.txt")
      assert.same({ 405, "GET, HEAD" }, { response.status, response.fields.allow })
    end)

    it("called by a handler, for some of them", function()
      local static = files { prefix = "/static" }
      local returned
      serve(function(req, res)
        if req.path:find "^/static/" then
          res:header("X-Static", "yes")
          returned = static(req, res)
        else
          res:send("dynamic")
        end
      end)
      local status, body, fields = get "/static/a.txt"
      assert.same({ 200, "a text", "yes" }, { status, body, fields["x-static"] })
      assert.is_true(returned)
      assert.same({ 200, "dynamic" }, page "/a.txt")
      assert.same({ 404, "404 Not Found\n" }, page "/static/nothing")
      assert.is_true(returned)
    end)

    it("called by a handler that is a table", function()
      local static = files()
      serve(http.handler "Static" {
        request_received = function(_, req, res)
          static(req, res)
          return req:done()
        end,
      })
      assert.same({ 200, "a text" }, page "/a.txt")
      assert.same({ 200, big }, page "/big.bin")
      assert.same({ 404, "404 Not Found\n" }, page "/nothing")
    end)

    it("later", function()
      local static = files()
      serve(function(req, res)
        assert(loop:add(rotor.machine "Later" {
          create = function(_, scope) return scope:ok(0.001) end,
          timeout = function(_, scope)
            assert(static(req, res) == true)
            return scope:done()
          end,
        }))
      end)
      assert.same({ 200, "a text" }, page "/a.txt")
      assert.same({ 200, big }, page "/big.bin")
    end)

    it("with what the program names", function()
      local static, name = files(), nil
      serve(function(req, res) static(req, res, name) end)
      for given, expected in pairs {
        ["a.txt"] = "a text", ["/a.txt"] = "a text", ["dir/"] = "index of dir", [""] = "index",
      } do
        name = given
        assert.same({ 200, expected }, page "/whatever")
      end
      for _, given in ipairs { "../secret", "a%2etxt", "nothing", ".hidden", "dir//index.html" } do
        name = given
        assert.equal(404, (get "/a.txt"))
      end
    end)

    it("or leaves them to be answered otherwise", function()
      local static, tried = files(), nil
      serve(function(req, res)
        tried = table.pack(static:try(req, res))
        if not tried[1] then res:send(200, "app") end
      end)
      assert.same({ 200, "a text" }, page "/a.txt")
      assert.same({ true, n = 1 }, tried)
      assert.same({ 200, "app" }, page "/route/in/the/app")
      assert.same({ nil, "ENOENT: no such file or directory", "ENOENT", n = 3 }, tried)
      assert.same({ 200, "app" }, page "/../secret")
      assert.equal("ENOENT", tried[3])
      assert.equal("app", ask("POST", "/a.txt").body)
      assert.equal("HTTP_EREADONLY", tried[3])
    end)

    it("with all of HTTP", function()
      serve(files())
      local _, _, fields = get "/a.txt"
      local etag, modified = fields.etag, fields["last-modified"]
      assert.matches('^"%x+%-%x+"$', etag)
      assert.equal(lfs.attributes(folder .. "/root/a.txt", "modification"), reader.date(modified))
      assert.same({ 304, "" }, page("/a.txt", "If-None-Match: " .. etag .. "\r\n"))
      assert.same({ 304, "" }, page("/a.txt", "If-Modified-Since: " .. modified .. "\r\n"))
      assert.equal(412, (get("/a.txt", 'If-Match: "x"\r\n')))
      local status, body, part = get("/a.txt", "Range: bytes=2-3\r\n")
      assert.same({ 206, "te", "bytes 2-3/6" }, { status, body, part["content-range"] })
      status, _, part = get("/a.txt", "Range: bytes=6-\r\n")
      assert.same({ 416, "bytes */6" }, { status, part["content-range"] })
      local head = ask("HEAD", "/a.txt")
      assert.same({ 200, 6, etag }, { head.status, head.length, head.fields.etag })
      head = ask("HEAD", "/big.bin")
      assert.same({ 200, #big }, { head.status, head.length })
      assert.same({ 206, big:sub(101, 400001) }, page("/big.bin", "Range: bytes=100-400000\r\n"))
    end)

    it("to which nobody listens any more", function()
      local static, kept = files(), nil
      serve(function(req, res)
        kept = { req, res }
        res:send("first")
      end)
      get "/"
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { static(kept[1], kept[2]) })
      assert.same({ nil, "ECLOSED: already closed", "ECLOSED" }, { static:try(kept[1], kept[2]) })
    end)
  end)

  describe("is told by options", function()
    -- The status, and the value of a header or the body.
    local function outcome(options, path, what, headers)
      serve(files(options))
      local status, body, fields = get(path, headers)
      return { status, what and fields[what] or not what and body or nil }
    end

    it("what to serve", function()
      assert.same({ 200, "hidden" }, outcome({ dotfiles = true }, "/.hidden"))
      assert.same({ 200, "a text" }, outcome({ symlinks = true }, "/link.txt"))
      assert.equal(404, outcome({ symlinks = true }, "/out.txt")[1])
      assert.same({ 200, "a text" }, outcome({ index = "a.txt" }, "/"))
      assert.equal(404, outcome({ index = false }, "/")[1])
      assert.equal(404, outcome({ prefix = "/x" }, "/a.txt")[1])
      assert.same({ 200, "a text" }, outcome({ prefix = "/x/" }, "/x/a.txt"))
    end)

    it("what to say of it", function()
      local types = { md = "text/x-notes", TXT = "text/x-mine" }
      assert.same({ 200, "text/x-notes" }, outcome({ types = types }, "/notes.md", "content-type"))
      assert.same({ 200, "text/x-mine" }, outcome({ types = types }, "/a.txt", "content-type"))
      assert.same({ 200, "text/markdown; charset=utf-8" },
        outcome({ types = {} }, "/notes.md", "content-type"))
      assert.same({ 200, "max-age=60" },
        outcome({ cache_control = "max-age=60" }, "/a.txt", "cache-control"))
      write("root/what", "?")
      assert.same({ 200, "text/x-what" },
        outcome({ default_type = "text/x-what" }, "/what", "content-type"))
    end)

    it("to send what is there compressed", function()
      assert.same({ 200, "compressed" },
        outcome({ precompressed = true }, "/a.txt", nil, "Accept-Encoding: gzip\r\n"))
      assert.same({ 200, "gzip" },
        outcome({ precompressed = true }, "/a.txt", "content-encoding",
          "Accept-Encoding: gzip\r\n"))
      assert.same({ 200, "a text" }, outcome({ precompressed = true }, "/a.txt"))
      assert.same({ 200, "a text" }, outcome({}, "/a.txt", nil, "Accept-Encoding: gzip\r\n"))
    end)
  end)

  describe("refuses", function()
    it("a root that cannot be opened", function()
      local none = folder .. "/none"
      assert.same({ nil, "ENOENT: no such file or directory (" .. none .. ")", "ENOENT" },
        { http.files(none) })
      assert.same({ nil, "ENOTDIR: not a directory (" .. folder .. "/secret)", "ENOTDIR" },
        { http.files(folder .. "/secret") })
      assert.has_error(function() http.files(none, { symlink = true }) end, "unknown option "
        .. "'symlink'; known are: prefix, index, cache_control, default_type, types, symlinks, "
        .. "dotfiles, precompressed")
    end)

    it("what is no option's value", function()
      for message, options in pairs {
        ["option 'prefix': a string expected, got boolean"] = { prefix = true },
        ["option 'prefix': a path as in '/static' expected, got 'static'"] = { prefix = "static" },
        ["option 'prefix': a path as in '/static' expected, got '/..'"] = { prefix = "/.." },
        ["option 'prefix': a string without a NUL expected"] = { prefix = "/a\0" },
        ["option 'index': the name of a file, or false, expected, got 'a/b'"] = { index = "a/b" },
        ["option 'index': the name of a file, or false, expected, got ''"] = { index = "" },
        ["option 'index': the name of a file expected, got '..'"] = { index = ".." },
        ["option 'index': a string expected, got boolean"] = { index = true },
        ["option 'index': a string expected, got number"] = { index = 1 },
        ["option 'cache_control': a value of a header field expected, got 'a\r\nb'"] =
          { cache_control = "a\r\nb" },
        ["option 'default_type': a value of a header field expected, got ''"] =
          { default_type = "" },
        ["option 'types': a table expected, got string"] = { types = "text/plain" },
        ["option 'types': an extension without its dot expected, got '.md'"] =
          { types = { [".md"] = "text/plain" } },
        ["option 'types': a media type expected for 'md', got 'a\nb'"] =
          { types = { md = "a\nb" } },
        ['option \'types\': extensions and types as in { md = "text/markdown" } expected, got a '
          .. "string for a number"] = { types = { "text/plain" } },
        ["option 'symlinks': a boolean expected, got number"] = { symlinks = 1 },
      } do
        local ok, got = pcall(http.files, folder, options)
        assert.is_false(ok)
        assert.equal(message, got)
      end
    end)

    it("other arguments", function()
      local static, said = files(), {}
      local calls = {
        ["static()"] = "bad argument #1 to 'static' (rotor.http.request expected, got nil)",
        ["static(res, req)"] = "bad argument #1 to 'static' (rotor.http.request expected, got "
          .. "rotor.http.response)",
        ["static(req)"] = "bad argument #2 to 'static' (rotor.http.response expected, got nil)",
        ["static(req, res, {})"] = "bad argument #3 to 'static' (string expected, got table)",
        ["static(req, res, 'a\\0')"] = "bad argument #3 to 'static' (a name has no NUL in it)",
        ["static:try(req)"] = "bad argument #2 to 'try' (rotor.http.response expected, got no "
          .. "value)",
        ["static.try(req)"] = "bad argument #1 to 'try' (rotor.http.files expected, got "
          .. "rotor.http.request)",
      }
      serve(function(req, res)
        for call in pairs(calls) do
          local env = { static = static, req = req, res = res }
          local ok, message = pcall(load("\n" .. call, "=there", "t", env))
          said[call] = ok and "" or message:gsub("^there:2: ", "")
        end
        res:send("after all")
      end)
      assert.same({ 200, "after all" }, page "/")
      assert.same(calls, said)
      assert.has_error(function() http.files() end,
        "bad argument #1 to 'files' (string expected, got no value)")
      assert.has_error(function() http.files("a\0b") end,
        "bad argument #1 to 'files' (a path has no NUL in it)")
      assert.has_error(function() loop:serve("127.0.0.1:0", {}) end)
    end)

    it("to answer twice", function()
      local static, messages = files(), {}
      serve(function(req, res)
        res:send("first")
        for i, fn in ipairs { static, static.try } do
          local ok, message = pcall(fn, table.unpack({ static, req, res }, i == 1 and 2 or 1))
          messages[i] = ok or message
        end
      end)
      assert.same({ 200, "first" }, page "/a.txt")
      for i = 1, 2 do
        assert.equal("the request was answered before; it is answered once", messages[i])
      end
    end)

    it("to serve what is closed", function()
      local static = files()
      static:close()
      static:close()
      serve(static)
      assert.equal(500, (get "/a.txt"))
      assert.matches("^http: handler: the files are closed\n", scene.error())
    end)
  end)

  it("holds one descriptor, until it is closed or collected", function()
    local before = support.descriptors()
    do
      local static <close> = assert(http.files(folder))
      assert.are_not_equal(before, support.descriptors())
      assert.equal("function", type(static.try))
    end
    assert.equal(before, support.descriptors())
    assert(http.files(folder))
    collectgarbage()
    collectgarbage()
    assert.equal(before, support.descriptors())
  end)
end)
