local reader = require "spec.http_reader"

-- The judge of the conformance specs is judged here: what it must not let pass.
describe("the reader of responses", function()
  local DATE = os.date("!%a, %d %b %Y %H:%M:%S GMT")

  local function read(text, method)
    return reader.response((text:gsub("\n", "\r\n"):gsub("DATE", "Date: " .. DATE)), 1, method)
  end

  it("takes what is right", function()
    local text = "HTTP/1.1 200 OK\nDATE\nContent-Length: 3\nConnection: close\n\nabcde"
    local r, behind = read(text)
    assert.same({ 200, "OK", "abc", 3, true, false, DATE },
      { r.status, r.reason, r.body, r.length, r.closes, r.keeps, r.fields.date })
    assert.equal(#text - 4 + #"Date: " + #DATE + 5 - 1, behind) -- five CRs more
    r = read("HTTP/1.1 200 \nDATE\nTransfer-Encoding: chunked\n\n" ..
      "3\nabc\nA\n0123456789\n0\nX: y\n\n")
    assert.same({ "abc0123456789", 2, "y" }, { r.body, r.chunks, r.trailers.x })
    assert.equal("", read("HTTP/1.1 200 OK\nDATE\nContent-Length: 3\n\n", "HEAD").body)
    assert.equal("", read("HTTP/1.1 304 Not Modified\nDATE\nContent-Length: 3\n\n").body)
    assert.equal("", read("HTTP/1.1 200 OK\nDATE\n\nabc", "CONNECT").body)
    assert.equal("abc", read("HTTP/1.1 200 OK\nDATE\n\nabc").body)
    assert.equal(500, read("HTTP/1.1 500 Internal Server Error\nContent-Length: 0\n\n").status)
  end)

  for text, why in pairs {
    ["HTTP/1.0 200 OK\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1 200\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1 20 OK\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1 600 OK\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1  200 OK\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["\nHTTP/1.1 200 OK\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1 200 O\1K\nDATE\nContent-Length: 0\n\n"] = "no status line",
    ["HTTP/1.1 200 OK\nDATE\nContent-Length: 0\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nContent-Length:0\n\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nA : b\nContent-Length: 0\n\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nA: b\n c\nContent-Length: 0\n\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nA: b\0\nContent-Length: 0\n\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nA: b\rc\nContent-Length: 0\n\n"] = "no field line",
    ["HTTP/1.1 200 OK\nDATE\nA: b \nContent-Length: 0\n\n"] = "white space around a value",
    ["HTTP/1.1 200 OK\nDATE\nContent-Length: 0\ncontent-length: 0\n\n"] = "a second content-length",
    ["HTTP/1.1 200 OK\nDATE\nContent-Length: +1\n\na"] = "Content-Length: +1",
    ["HTTP/1.1 200 OK\nDATE\nContent-Length: 2\n\na"] = "1 bytes of 2",
    ["HTTP/1.1 200 OK\nDATE\nTransfer-Encoding: gzip\n\n"] = "Transfer-Encoding: gzip",
    ["HTTP/1.1 200 OK\nDATE\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n"] = "both",
    ["HTTP/1.1 200 OK\nDATE\nTransfer-Encoding: chunked\n\nx\n"] = "no chunk",
    ["HTTP/1.1 200 OK\nDATE\nTransfer-Encoding: chunked\n\n1\nab\n0\n\n"] = "as long as it says",
    ["HTTP/1.1 200 OK\nDATE\nTransfer-Encoding: chunked\n\n1\na\n0\n"] = "no field line",
    ["HTTP/1.1 204 No Content\nDATE\nContent-Length: 0\n\n"] = "204 with a length",
    ["HTTP/1.1 100 Continue\nContent-Length: 0\n\n"] = "100 with a length",
    ["HTTP/1.1 200 OK\nContent-Length: 0\n\n"] = "no Date",
    ["HTTP/1.1 404 Not Found\nContent-Length: 0\n\n"] = "no Date",
    ["HTTP/1.1 200 OK\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nContent-Length: 0\n\n"] = "Date: Thu",
    ["HTTP/1.1 200 OK\nDate: Thursday, 01-Jan-70 00:00:00 GMT\nContent-Length: 0\n\n"] = "Date: ",
    ["HTTP/1.1 200 OK\nDATE\nConnection: close, keep-alive\nContent-Length: 0\n\n"] = "says both",
  } do
    it(("refuses %q"):format(text), function()
      local response, reason = read(text)
      assert.is_nil(response)
      assert.truthy(reason:find(why, 1, true), reason)
    end)
  end

  it("refuses a 2xx to CONNECT that has a length", function()
    assert.is_nil(read("HTTP/1.1 200 OK\nDATE\nContent-Length: 0\n\n", "CONNECT"))
  end)

  it("knows its calendar", function()
    for time = 1, 4 << 30, 86399 * 101 do
      assert.equal(time, reader.date(os.date("!%a, %d %b %Y %H:%M:%S GMT", time)))
    end
    for _, text in ipairs { "Fri, 01 Jan 1970 00:00:00 GMT", "Thu, 1 Jan 1970 00:00:00 GMT",
                            "Thu, 01 Jan 1970 24:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 UTC",
                            "Thu, 01 jan 1970 00:00:00 GMT", "Thu Jan  1 00:00:00 1970",
                            "Wed, 00 Jan 1970 00:00:00 GMT" } do
      assert.is_nil(reader.date(text))
    end
  end)
end)
