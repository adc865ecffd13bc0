--- What a server for HTTP/1.1 has to do with the bytes it gets: conversations with
--- examples/http_echo, whose every answer is 200 with the request's own body and Content-Type;
--- below /stream it is sent, with trailers, as it comes.
---
--- A case is { NAME, BYTES, ANSWER … }. Its name begins with the RFC and the section it stands
--- for; what the RFCs leave to the server is marked by "(choice)". Of several BYTES each gets these
--- answers. An ANSWER is a status, or { STATUS, BODY } with the Content-Type as `type`, the
--- request's method as `to` where it matters, `length` to HEAD, and `keeps` if it says keep-alive.
--- If it is `chunked` it may have `trailers`, by their lower-case names, and how many as `n`; one
--- that is `broken` does not come to its end, or is a 400, as the case may have been known early.
---
--- What conformance_spec.lua sends behind the case is answered when the connection goes on, and
--- never after an error, nor with one of these:
---   closes = true     the last answer closes the connection
---   says = false      it does so without having said so
---   cut = true        the client closes its direction behind the bytes
---   awaits = true     BYTES are a head, and a body that the client keeps until it is told to go on
---   may_go_on = true  they are in one: whether a 100 comes depends on where it was split

-- -- what the cases are made of -------------------------------------------------------------------

local function lines(...)
  return table.concat({ ... }, "\r\n") .. "\r\n"
end

-- A request by its request line and field lines.
local function request(line, ...)
  return lines(line, ...) .. "\r\n"
end

-- The same with what it needs to be valid.
local function line(first)
  return request(first, "Host: h")
end

local function get(...)
  return request("GET / HTTP/1.1", "Host: h", ...)
end

local function old(...)
  return request("GET / HTTP/1.0", ...)
end

local function host(value)
  return request("GET / HTTP/1.1", "Host:" .. value)
end

local function post(body, ...)
  return request("POST / HTTP/1.1", "Host: h", "Content-Length: " .. #body, ...) .. body
end

local function old_post(body, ...)
  return request("POST / HTTP/1.0", "Content-Length: " .. #body, ...) .. body
end

-- A request whose body is framed already.
local function chunked(text, ...)
  return request("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", ...) .. text
end

-- One that is ambiguous, and what somebody might take for the next request.
local HIDDEN = request("POST /hidden HTTP/1.1", "Host: h", "Content-Length: 6") .. "hidden"
local function ambiguous(...)
  return request("POST / HTTP/1.1", "Host: h", ...) .. "0\r\n\r\n" .. HIDDEN
end

-- The same for an answer that comes as its request does.
local function stream(body, ...)
  return request("POST /stream HTTP/1.1", "Host: h", "Content-Length: " .. #body, ...) .. body
end

local function stream_chunks(text, ...)
  return request("POST /stream HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", ...) .. text
end

local function each(values, fn)
  local result = {}
  for i, value in ipairs(values) do result[i] = fn(value) end
  return result
end

local function all(fn, values)
  return each(values, fn)
end

-- Each of the characters, between `before` and `behind`.
local function around(characters, before, behind)
  local result = {}
  for c in characters:gmatch "[%z\1-\255]" do result[#result + 1] = before .. c .. behind end
  return result
end

local function range(first, last)
  local result = {}
  for c = first, last do result[#result + 1] = string.char(c) end
  return table.concat(result)
end

-- Control characters but HTAB, LF and CR.
local CONTROLS = range(0, 8) .. "\11\12" .. range(14, 31) .. "\127"
local NOT_ASCII = "\128\160\195\255"

local function ok(body, content_type)
  return { 200, body, type = content_type }
end

-- So many answers; only at the end of a case.
local function times(n, answer)
  if n == 0 then return end
  return answer, times(n - 1, answer)
end

local function pieces(body, trailers)
  return { 200, body, chunked = true, trailers = trailers }
end

local function broken(body)
  return { 200, body, broken = true }
end

local CLOSE, KEEP_ALIVE = "Connection: close", "Connection: keep-alive"
local LARGEST_BODY = 8 << 20

return {
  -- -- 9112 2: messages ---------------------------------------------------------------------------

  { "9112 2.1: the least there is", get(), 200 },
  { "9112 2.1: a body", post "hello", ok "hello" },
  { "9112 2.1: what browsers send", request("GET /a/b.html?x=%20&y=z HTTP/1.1",
      "Host: www.example.com",
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd", "DNT: 1",
      "Connection: keep-alive", "Cookie: id=\"a b\"; t=1", "Upgrade-Insecure-Requests: 1",
      "Sec-Fetch-Dest: document", "Priority: u=0, i"), 200 },
  { "9112 2.1: what curl sends", request("POST /form HTTP/1.1", "Host: localhost:8080",
      "User-Agent: curl/7.88.1", "Accept: */*", "Content-Length: 3",
      "Content-Type: application/x-www-form-urlencoded") .. "a=b", ok("a=b",
      "application/x-www-form-urlencoded") },
  { "9112 2.2: an empty line before the request", "\r\n" .. get(), 200 },
  { "9112 2.2: four of them", "\r\n\r\n\r\n\r\n" .. get(), 200 },
  { "9112 2.2: five of them (choice)", "\r\n\r\n\r\n\r\n\r\n" .. get(), 400 },
  { "9112 2.2: an empty line behind a body", post "x" .. "\r\n" .. post "y", ok "x", ok "y" },
  { "9112 2.2: bare LF before the request", "\n" .. get(), 400 },
  { "9112 2.2: bare LF ends each line", "GET / HTTP/1.1\nHost: h\n\n", 400 },
  { "9112 2.2: bare LF ends the request line (choice)", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400 },
  { "9112 2.2: bare LF ends a field line (choice)", "GET / HTTP/1.1\r\nHost: h\n\r\n", 400 },
  { "9112 2.2: bare LF ends the head (choice)", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400 },
  { "9112 2.2: bare CR before the request", { "\r" .. get(), "\r\r\n" .. get() }, 400 },
  { "9112 2.2: bare CR in the request line", { line "GET\r / HTTP/1.1", line "GET /\r HTTP/1.1",
      line "GET / HTTP/1.1\r", "GET / HTTP/1.1\rHost: h\r\n\r\n" }, 400 },
  { "9112 2.2: bare CR in a field name", get "A\rB: c", 400 },
  { "9112 2.2: bare CR in a value", all(get, { "A: b\rc", "A: \rb", "A: b\r" }), 400 },
  { "9112 2.2: bare CR for the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\rA: b\r\n\r\n", 400 },
  { "9112 2.2: LF before CR", "GET / HTTP/1.1\n\rHost: h\n\r\n\r", 400 },
  { "9112 2.2: white space before the request line", each({ " ", "\t", "\r\n " }, function(space)
      return space .. get()
    end), 400 },
  { "9112 2.2: white space before the first field", each({ " Host: h", "\tHost: h",
        " X: y\r\nHost: h", " \r\nHost: h", "\t\r\nHost: h" }, function(first)
      return request("GET / HTTP/1.1", first)
    end), 400 },
  { "9112 2.2: what is no HTTP at all", { "hello\r\n\r\n", "\22\3\1\2\0\1\0\1\252\3\3\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "\128\46\1\3\1\r\n\r\n", "{}\r\n\r\n", "EHLO h\r\n\r\n" },
    400 },
  { "9112 2.2: a response", "HTTP/1.1 200 OK\r\nHost: h\r\n\r\n", 400 },
  { "9112 2.2: bytes above ASCII are no letters", all(line, { "G\195\169T / HTTP/1.1",
        "GET /\195\169 HTTP/1.1", "\239\187\191GET / HTTP/1.1", "GET\194\160/ HTTP/1.1",
        "GET / HTTP/1.\217\161" }), 400 },

  { "9112 2.3: HTTP/1.0", old(), 200, closes = true },
  { "9110 2.5: a higher minor version is read as 1.1", all(line, { "GET / HTTP/1.2",
        "GET / HTTP/1.9" }), 200 },
  { "9110 2.5: and closes as that does", request("GET / HTTP/1.2", "Host: h", "Connection: close"),
    200, closes = true },
  { "9110 15.6.6: another major version", all(line, { "GET / HTTP/2.0", "GET / HTTP/3.0",
        "GET / HTTP/0.9", "GET / HTTP/9.9", "GET / HTTP/2.1" }), 505 },
  { "9113 3.4: the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
  { "9112 2.3: the name has a case", all(line, { "GET / http/1.1", "GET / Http/1.1",
        "GET / hTTP/1.1" }), 400 },
  { "9112 2.3: another name", all(line, { "GET / HTTPS/1.1", "GET / HTCPCP/1.0", "GET / ICY/1.1",
        "GET / RTSP/1.0", "GET / XHTTP/1.1" }), 400 },
  { "9112 2.3: one digit, a dot, one digit", all(line, { "GET / HTTP/1.10", "GET / HTTP/01.1",
        "GET / HTTP/1.01", "GET / HTTP/11", "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/.1",
        "GET / HTTP/1,1", "GET / HTTP/1.1.1" }), 400 },
  { "9112 2.3: digits", all(line, { "GET / HTTP/1.x", "GET / HTTP/x.1", "GET / HTTP/+1.1",
        "GET / HTTP/-1.1", "GET / HTTP/1.-1", "GET / HTTP/ 1.1" }), 400 },
  { "9112 2.3: no version", all(line, { "GET / HTTP", "GET / HTTP/", "GET / HTTP-1.1",
        "GET / 1.1" }), 400 },

  -- -- 9112 3: the request line -------------------------------------------------------------------

  { "9112 3: no version (HTTP/0.9)", { "GET /\r\n\r\n", line "GET /", line "GET / " }, 400 },
  { "9112 3: no target", all(line, { "GET HTTP/1.1", "GET  HTTP/1.1" }), 400 },
  { "9112 3: no method", all(line, { "/ HTTP/1.1", " / HTTP/1.1" }), 400 },
  { "9112 3: nothing but a method", all(line, { "GET", "GET " }), 400 },
  { "9112 3: two spaces", all(line, { "GET  / HTTP/1.1", "GET /  HTTP/1.1" }), 400 },
  { "9112 3: a space at the end", line "GET / HTTP/1.1 ", 400 },
  { "9112 3: more than three parts", all(line, { "GET / HTTP/1.1 x", "GET / x HTTP/1.1",
        "GET /a b HTTP/1.1" }), 400 },
  { "9112 3: HTAB for a space (choice)", all(line, { "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t" }), 400 },
  { "9112 3: VT and FF for a space (choice)", all(line, { "GET\v/ HTTP/1.1", "GET /\fHTTP/1.1" }),
    400 },
  { "9112 3: control characters in the method", around(CONTROLS, "GE",
      "T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400 },
  { "9112 3: control characters in the target", around(CONTROLS, "GET /a",
      "b HTTP/1.1\r\nHost: h\r\n\r\n"), 400 },
  { "9112 3: control characters in the version", around(CONTROLS, "GET / HTTP/1",
      ".1\r\nHost: h\r\n\r\n"), 400 },
  { "9112 3: a line of 8,000 bytes", line("GET /" .. ("a"):rep(8000 - 14) .. " HTTP/1.1"), 200 },
  { "9112 3: the longest line", line("GET /" .. ("a"):rep(8192 - 14) .. " HTTP/1.1"), 200 },
  { "9110 15.5.15: a longer line", line("GET /" .. ("a"):rep(8193 - 14) .. " HTTP/1.1"), 414 },
  { "9110 15.5.15: one that never ends", "GET /" .. ("a"):rep(8192), 414 },
  { "9112 3: a method that never ends (choice)", ("A"):rep(8193), 414 },

  { "9112 3.1: the methods of RFC 9110", each({ "GET", "POST", "PUT", "DELETE", "OPTIONS",
        "TRACE" }, function(method)
      return line(method .. " / HTTP/1.1")
    end), 200 },
  { "9110 16.1: other methods", each({ "PATCH", "PROPFIND", "M-SEARCH", "VERSION-CONTROL", "G",
        "GETX", "FROB" }, function(method)
      return line(method .. " / HTTP/1.1")
    end), 200 },
  { "9110 9.1: any token is a method", { line "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1",
      line "0 / HTTP/1.1", line(("M"):rep(100) .. " / HTTP/1.1") }, 200 },
  { "9110 9.1: and may have a body", request("FROB / HTTP/1.1", "Host: h", "Content-Length: 1") ..
    "x",
    ok "x" },
  { "9110 9.1: methods have a case: head is not HEAD", { request("head / HTTP/1.1", "Host: h",
        "Content-Length: 1") .. "x", request("Head / HTTP/1.1", "Host: h", "Content-Length: 1") ..
      "x" }, ok "x" },
  { "9110 5.6.2: delimiters in a method", around("(),/:;<=>?@[\\]{}\"", "GE",
      "T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400 },
  { "9110 5.6.2: bytes above ASCII in a method", around(NOT_ASCII, "GE",
      "T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400 },

  { "9112 3.2.1: origin form", all(line, { "GET /a/b;c=1/@:!$&'()*+,=~-._ HTTP/1.1",
        "GET //a HTTP/1.1", "GET /a//b/ HTTP/1.1", "GET /. HTTP/1.1",
        "GET /../../etc/passwd HTTP/1.1" }), 200 },
  { "9112 3.2.1: with a query", all(line, { "GET /? HTTP/1.1", "GET /a?b=c&d HTTP/1.1",
        "GET /?a/b?c HTTP/1.1", "GET /?http://a/ HTTP/1.1" }), 200 },
  { "3986 2.1: escapes", all(line, { "GET /%41%2f%2F%ff%00 HTTP/1.1", "GET /?%41 HTTP/1.1" }),
    200 },
  { "3986 2.1: escapes without two digits", all(line, { "GET /% HTTP/1.1", "GET /%4 HTTP/1.1",
        "GET /%zz HTTP/1.1", "GET /%4z HTTP/1.1", "GET /%?41 HTTP/1.1", "GET /%%41 HTTP/1.1",
        "GET /%u0041 HTTP/1.1" }), 400 },
  { "3986 3.4: '%' alone in a query (choice)", line "GET /?50% HTTP/1.1", 200 },
  { "3986 2: what browsers do not escape (choice)", all(line, { "GET /|\"<>\\^`{}[] HTTP/1.1",
        "GET /?|\"<>\\^`{}[] HTTP/1.1" }), 200 },
  { "9112 3.2: a fragment", all(line, { "GET /#a HTTP/1.1", "GET /?#a HTTP/1.1",
        "GET # HTTP/1.1" }), 400 },
  { "3986 2: bytes above ASCII in the target", all(line, { "GET /\195\169 HTTP/1.1",
        "GET /?\195\169 HTTP/1.1", "GET /\255 HTTP/1.1" }), 400 },
  { "9112 3.2.1: a path begins with a slash", all(line, { "GET a HTTP/1.1", "GET ?a HTTP/1.1",
        "GET .. HTTP/1.1", "GET \\ HTTP/1.1", "GET %2f HTTP/1.1" }), 400 },
  { "9112 3.2.2: absolute form", all(line, { "GET http://o/p?q HTTP/1.1",
        "GET http://o:80/ HTTP/1.1", "GET https://o/ HTTP/1.1",
        "GET http://[2001:db8::1]:8/x HTTP/1.1", "POST http://o/ HTTP/1.1" }), 200 },
  { "9110 4.2.3: the scheme has no case", all(line, { "GET HTTP://o/ HTTP/1.1",
        "GET hTTpS://o/ HTTP/1.1" }), 200 },
  { "9112 3.2.2: absolute form without a path", all(line, { "GET http://o HTTP/1.1",
        "GET http://o?q HTTP/1.1" }), 200 },
  { "9112 3.2.2: with another Host, which counts for nothing", request("GET http://o/ HTTP/1.1",
      "Host: other"), 200 },
  { "9112 3.2.2: with an empty Host", request("GET http://o/ HTTP/1.1", "Host:"), 200 },
  { "9112 3.2: it has a Host all the same", request "GET http://o/ HTTP/1.1", 400 },
  { "9112 3.2: and a valid one", request("GET http://o/ HTTP/1.1", "Host: a b"), 400 },
  { "9112 3.2.2: in HTTP/1.0", "GET http://o/ HTTP/1.0\r\n\r\n", 200, closes = true },
  { "9110 4.2.1: no host", all(line, { "GET http:// HTTP/1.1", "GET http:///p HTTP/1.1",
        "GET http://?q HTTP/1.1", "GET http://:80/ HTTP/1.1", "GET https:// HTTP/1.1" }), 400 },
  { "9110 4.2.4: user information", all(line, { "GET http://u@o/ HTTP/1.1",
        "GET http://u:p@o/ HTTP/1.1" }), 400 },
  { "9112 3.2.2: another scheme", all(line, { "GET ftp://o/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1", "GET mailto:a@b HTTP/1.1", "GET urn:x HTTP/1.1" }),
    400 },
  { "9112 3.2.2: not even that", all(line, { "GET http HTTP/1.1", "GET http: HTTP/1.1",
        "GET http:/o/ HTTP/1.1", "GET http//o/ HTTP/1.1" }), 400 },
  { "3986 3.2: a malformed authority", all(line, { "GET http://o:x/ HTTP/1.1",
        "GET http://o:65536/ HTTP/1.1", "GET http://o%2/ HTTP/1.1", "GET http://[::1/ HTTP/1.1",
        "GET http://[g]/ HTTP/1.1", "GET http://a,b:1:2/ HTTP/1.1" }), 400 },
  { "9112 3.2.3: authority form is for CONNECT", all(line, { "GET o:80 HTTP/1.1",
        "POST o:80 HTTP/1.1", "connect o:80 HTTP/1.1", "CONNECTX o:80 HTTP/1.1",
        "OPTIONS o:80 HTTP/1.1" }), 400 },
  { "9112 3.2.3: CONNECT has no other form", all(line, { "CONNECT / HTTP/1.1",
        "CONNECT http://o:80/ HTTP/1.1", "CONNECT o:80/ HTTP/1.1", "CONNECT o:80?q HTTP/1.1",
        "CONNECT * HTTP/1.1" }), 400 },
  { "9112 3.2.3: CONNECT has a port", all(line, { "CONNECT o HTTP/1.1", "CONNECT 80 HTTP/1.1",
        "CONNECT [::1] HTTP/1.1" }), 400 },
  { "9110 9.3.6: CONNECT to an empty or invalid port", all(line, { "CONNECT o: HTTP/1.1",
        "CONNECT o:0 HTTP/1.1", "CONNECT o:65536 HTTP/1.1", "CONNECT o:x HTTP/1.1",
        "CONNECT :80 HTTP/1.1" }), 400 },
  { "9112 3.2.4: asterisk form", line "OPTIONS * HTTP/1.1", 200 },
  { "9112 3.2.4: with a body", request("OPTIONS * HTTP/1.1", "Host: h", "Content-Length: 2") ..
    "hi", ok "hi" },
  { "9112 3.2.4: is for OPTIONS", all(line, { "GET * HTTP/1.1", "POST * HTTP/1.1",
        "HEAD_ * HTTP/1.1", "options * HTTP/1.1", "OPTIONSX * HTTP/1.1" }), 400 },
  { "9112 3.2.4: and nothing behind it", all(line, { "OPTIONS *x HTTP/1.1", "OPTIONS */ HTTP/1.1",
        "OPTIONS *?x HTTP/1.1" }), 400 },

  -- -- 9110 7.2: Host -----------------------------------------------------------------------------

  { "9112 3.2: Host", all(host, { " h", "h", " \t h \t ", " www.example.com", " h:80", " h:65535",
        " 127.0.0.1", " 127.0.0.1:8080", " [::1]", " [::1]:8080", " [2001:db8::1]" }), 200 },
  { "3986 3.2.2: a registered name", all(host, { " a-b_c.~!$&'()*+,;=%2a", " localhost.",
        " xn--bcher-kva.example" }), 200 },
  { "3986 3.2.3: an empty port", host " h:", 200 },
  { "9112 3.2: in HTTP/1.0", old "Host: h", 200, closes = true },
  { "9112 3.2: none in HTTP/1.0", old "X: y", 200, closes = true },
  { "9112 3.2: behind others", request("GET / HTTP/1.1", "A: b", "C: d", "host: h"), 200 },
  { "9112 3.2: none", { request "GET / HTTP/1.1", request("GET / HTTP/1.1", "A: b"),
      request("GET / HTTP/1.1", "Hos: h"), request("GET / HTTP/1.1", "Hosts: h"),
      request "GET / HTTP/1.2" }, 400 },
  { "9112 3.2: two", { get "Host: i", get "host: h", request("GET / HTTP/1.1", "Host:", "Host: h"),
      get "Host:" }, 400 },
  { "9112 3.2: two in HTTP/1.0", old("Host: h", "Host: h"), 400 },
  { "9112 3.2: a list", all(host, { " a, b", " a b" }), 400 },
  { "9112 3.2: empty (choice)", all(host, { "", " ", " \t " }), 400 },
  { "9112 3.2: more than a host and a port", all(host, { " http://a", " a/b", " a/", " u@a", " a?b",
        " a#b", " \"a\"", " <a>", " a\\b", " a^", " {a}", " a|b" }), 400 },
  { "3986 3.2.2: bytes above ASCII", all(host, { " \195\164", " a\255" }), 400 },
  { "3986 2.1: escapes without two digits, in Host", all(host, { " a%", " a%4", " a%4g" }), 400 },
  { "3986 3.2.3: an invalid port", all(host, { " a:b", " a:-1", " a:+1", " a:1:2", " :80",
        " a:65536", " a:99999", " a:0x50", " a: 80", " a :80" }), 400 },
  { "3986 3.2.2: an invalid IPv6 address", all(host, { " ::1", " [::1", " ::1]", " [::1]x", " []",
        " [:::1]", " [1:2:3]", " [1:2:3:4:5:6:7:8:9]", " [fe80::1%25eth0]", " [127.0.0.1]",
        " [12345::]" }), 400 },

  -- -- 9112 5: fields -----------------------------------------------------------------------------

  { "9112 5: names have no case", request("POST / HTTP/1.1", "hOsT: h", "CONTENT-length: 1",
      "content-TYPE: a") .. "x", ok("x", "a") },
  { "9112 5: no space behind the colon", get "Content-Type:a/b", ok("", "a/b") },
  { "9112 5.1: white space around a value is none of it", all(get, { "Content-Type:  a/b",
        "Content-Type:\ta/b", "Content-Type: a/b ", "Content-Type: a/b\t",
        "Content-Type: \t a/b \t " }), ok("", "a/b") },
  { "9110 5.5: white space in a value stays", get "Content-Type: a \t b  c", ok("", "a \t b  c") },
  { "9110 5.5: an empty value", all(get, { "A:", "A: ", "A: \t " }), 200 },
  { "9110 5.5: any visible character", get "Content-Type: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    ok("", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") },
  { "9110 5.5: bytes above ASCII", get "Content-Type: \128\195\164\255", ok("",
      "\128\195\164\255") },
  { "9110 5.5: colons", all(get, { "A::", "A: b: c" }), 200 },
  { "9110 5.6.2: any token is a name", all(get, { "!#$%&'*+-.^_`|~09azAZ: b", "0: b", "-: b" }),
    200 },
  { "9110 5.1: fields nobody knows are passed over", get("X-A: 1", "Foo: bar",
      "Proxy-Connection: close", "Content-Lengths: 5", "Transfer_Encoding: chunked",
      "Expects: magic"), 200 },
  { "9110 5.3: repeated fields", get("A: 1", "B: 2", "A: 3", "Cookie: a", "Cookie: b"), 200 },
  { "9110 7.6.2: Max-Forwards is for proxies", { request("TRACE / HTTP/1.1", "Host: h",
        "Max-Forwards: 0"), request("OPTIONS * HTTP/1.1", "Host: h", "Max-Forwards: 0") }, 200 },
  { "9110 7.6.3: Via says how it came", get("Via: 1.0 a, 1.1 b (c)", "X-Forwarded-For: ::1"), 200 },
  { "9110 14.2: Range may be passed over", all(get, { "Range: bytes=0-1", "Range: x", "Range: " }),
    200 },
  { "9110 8.4: so may a Content-Encoding, to give it back as it came",
    post("\31\139\8\0", "Content-Encoding: gzip"), ok "\31\139\8\0" },
  { "9110 12.5: so may what the client would like", get("Accept: text/x;q=0", "Accept-Language: *",
      "Accept-Encoding: identity;q=0", "Accept-Charset: x"), 200 },
  { "9112 5: no colon", all(get, { "A", "A b", "A=b", "GET / HTTP/1.1" }), 400 },
  { "9112 5: no name", all(get, { ": b", ":" }), 400 },
  { "9110 5.6.2: delimiters in a name", around("(),/;<=>?@[\\]{}\"",
      "GET / HTTP/1.1\r\nHost: h\r\nA", "B: c\r\n\r\n"), 400 },
  { "9110 5.6.2: control characters in a name", around(CONTROLS, "GET / HTTP/1.1\r\nHost: h\r\nA",
      "B: c\r\n\r\n"), 400 },
  { "9110 5.6.2: bytes above ASCII in a name", around(NOT_ASCII, "GET / HTTP/1.1\r\nHost: h\r\nA",
      "B: c\r\n\r\n"), 400 },
  { "9110 5.5: control characters in a value", around(CONTROLS, "GET / HTTP/1.1\r\nHost: h\r\nA: b",
      "c\r\n\r\n"), 400 },
  { "9110 5.5: control characters before a value", around(CONTROLS,
      "GET / HTTP/1.1\r\nHost: h\r\nA:", "c\r\n\r\n"), 400 },
  { "9110 5.5: bare LF in a value", all(get, { "A: b\nc", "A: \nb",
        "A: b\nTransfer-Encoding: chunked" }), 400 },
  { "9112 5.1: white space before the colon", { get "A : b", get "A\t: b", get "A  : b",
      request("GET / HTTP/1.1", "Host : h"), get "Content-Length : 5",
      get "Transfer-Encoding : chunked", get "Content-Length\t: 5" }, 400 },
  { "9112 5.1: white space in a name", all(get, { "A B: c", "Content Length: 5", "X Host: i" }),
    400 },
  { "9112 5.2: a folded line", { get "A: b\r\n c", get "A: b\r\n\tc", get "A: b\r\n  \t c",
      get "A: b\r\n ", get "A:\r\n b", get "A: b\r\n Host: i", get "Transfer-Encoding:\r\n chunked",
      get "Content-Length: 1\r\n 0", "GET / HTTP/1.1\r\nHost: h\r\n i\r\n\r\n" }, 400 },
  { "9112 5.2: folded behind the head, which is the next request", get() .. " A: b\r\n\r\n", 200,
    400 },
  { "6585 5: as many fields as may be", get(("A: b\r\n"):rep(126) .. "A: b"), 200 },
  { "6585 5: one more", get(("A: b\r\n"):rep(127) .. "A: b"), 431 },
  { "6585 5: as many bytes as may be", get("A: " .. ("x"):rep(32768 - #"Host: h\r\n" - #"A: \r\n")),
    200 },
  { "6585 5: one more byte", get("A: " .. ("x"):rep(32769 - #"Host: h\r\n" - #"A: \r\n")), 431 },
  { "6585 5: a line that never ends", "GET / HTTP/1.1\r\nHost: h\r\nA: " .. ("x"):rep(32768), 431 },
  { "6585 5: a name that never ends", "GET / HTTP/1.1\r\nHost: h\r\n" .. ("x"):rep(32768), 431 },

  -- -- 9112 6: bodies -----------------------------------------------------------------------------

  { "9112 6.3: neither length nor coding: no body", { get(), line "POST / HTTP/1.1",
      line "PUT / HTTP/1.1" }, 200 },
  { "9110 8.6: a length of 0", { get "Content-Length: 0", post "", get "Content-Length: 000" },
    200 },
  { "9110 8.6: a body by its length", post "hello world", ok "hello world" },
  { "9110 8.6: leading zeros", request("POST / HTTP/1.1", "Host: h",
      "Content-Length: 0000000000000000000000003") .. "abc", ok "abc" },
  { "9110 8.6: any bytes are a body", { post(range(0, 255)) }, ok(range(0, 255)) },
  { "9110 8.6: white space around a length", request("POST / HTTP/1.1", "Host: h",
      "Content-Length: \t 3 \t ") .. "abc", ok "abc" },
  { "9110 9.3.1: GET with a body", request("GET / HTTP/1.1", "Host: h", "Content-Length: 3") ..
    "abc", ok "abc" },
  { "9110 9.3.5: DELETE with a body", request("DELETE / HTTP/1.1", "Host: h",
      "Content-Length: 3") .. "abc", ok "abc" },
  { "9110 9.3.8: TRACE with a body (choice)", request("TRACE / HTTP/1.1", "Host: h",
      "Content-Length: 3") .. "abc", ok "abc" },
  { "9112 6: a body in HTTP/1.0", old_post "abc", ok "abc", closes = true },
  { "9112 6: a larger body", post(("0123456789abcdef"):rep(5000)),
    ok(("0123456789abcdef"):rep(5000)) },
  { "9110 8.6: equal lengths (choice)", { request("POST / HTTP/1.1", "Host: h", "Content-Length: 3",
        "Content-Length: 3") .. "abc", request("POST / HTTP/1.1", "Host: h",
        "Content-Length: 3, 3") .. "abc", request("POST / HTTP/1.1", "Host: h",
        "Content-Length: 3 ,03") .. "abc" }, ok "abc" },
  { "9112 6.3: unequal lengths", { ambiguous "Content-Length: 5, 6", ambiguous("Content-Length: 5",
        "Content-Length: 6"), ambiguous("Content-Length: 0", "Content-Length: 5"),
      ambiguous("Content-Length: 5", "content-length: 0"), ambiguous("Content-Length: 5", "A: b",
        "Content-Length: 6", "Content-Length: 5") }, 400 },
  { "9112 6.3: unequal lengths in HTTP/1.0", old_post("abc", "Content-Length: 4"), 400 },
  { "9112 6.3: a list of lengths with an empty element (choice)", all(ambiguous,
      { "Content-Length: 5,,5", "Content-Length: 5,", "Content-Length: ,5" }), 400 },
  { "9112 6.3: an invalid length", each({ "", "+5", "-5", "-0", "0x5", "5a", "a", "5.0", "5.", ".5",
        "5 5", "5;", "\"5\"", "5e0", "5_0", "1,000", "\217\165", "5\160", "#5", "5\t0" },
      function(length)
      return ambiguous("Content-Length: " .. length)
    end), 400 },
  { "9112 6.3: a length with a control character", around("\0\v\f",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ", "5\r\n\r\nhello" .. HIDDEN), 400 },
  { "9110 8.6: a length that overflows", { ambiguous "Content-Length: 18446744073709551616",
      ambiguous "Content-Length: 18446744073709551621",
      ambiguous "Content-Length: 99999999999999999999999", ambiguous("Content-Length: 1" ..
        ("0"):rep(100)) }, 400 },
  { "9110 15.5.14: a body too large", { ambiguous("Content-Length: " .. LARGEST_BODY + 1),
      ambiguous "Content-Length: 4294967296", ambiguous "Content-Length: 4294967301",
      ambiguous "Content-Length: 9223372036854775807",
      ambiguous "Content-Length: 9223372036854775808",
      ambiguous "Content-Length: 18446744073709551615" }, 413 },

  { "9112 6.1: both length and coding", { ambiguous("Content-Length: 5",
        "Transfer-Encoding: chunked"), ambiguous("Transfer-Encoding: chunked", "Content-Length: 5"),
      ambiguous("Content-Length: 0", "Transfer-Encoding: chunked"),
      ambiguous("Transfer-Encoding: chunked", "content-length: 52"),
      ambiguous("transfer-encoding: CHUNKED", "Content-Length: 6"), ambiguous("Content-Length: 5",
        "Transfer-Encoding: gzip"), ambiguous("Content-Length: 5", "Transfer-Encoding: identity"),
      ambiguous("Content-Length: 5", "Content-Length: 5", "Transfer-Encoding: chunked"),
      ambiguous("Content-Length: 5", "Transfer-Encoding: x"), ambiguous("Content-Length: 5",
        "Transfer-Encoding:") }, 400 },
  { "9112 6.1: a coding in HTTP/1.0", { request("POST / HTTP/1.0", "Transfer-Encoding: chunked") ..
      "0\r\n\r\n" .. HIDDEN, request("POST / HTTP/1.0", "Transfer-Encoding: chunked", KEEP_ALIVE) ..
      "0\r\n\r\n" .. HIDDEN, request("POST / HTTP/1.0", "Transfer-Encoding: chunked",
        "Content-Length: 5") .. "0\r\n\r\n" .. HIDDEN, request("POST / HTTP/1.0",
        "Transfer-Encoding: gzip") .. HIDDEN }, 400 },
  { "9112 6.1: a coding nobody knows", all(ambiguous, { "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunke", "Transfer-Encoding: chunk", "Transfer-Encoding: cow",
        "Transfer-Encoding: x-chunked", "Transfer-Encoding: gzip;q=1" }), 501 },
  { "9112 6.1: a coding nobody knows, and chunked", all(ambiguous,
      { "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: x ; a=\"b\" , chunked", "Transfer-Encoding: cow,chunked" }), 501 },
  { "9112 6.3: chunked is not the last coding", all(ambiguous, { "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, identity", "Transfer-Encoding: chunked, cow" }), 400 },
  { "9112 7.1: chunked twice", { ambiguous "Transfer-Encoding: chunked, chunked",
      ambiguous "Transfer-Encoding: chunked,chunked", ambiguous("Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked") }, 400 },
  { "9112 6.3: codings in two fields (choice)", { ambiguous("Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked"), ambiguous("Transfer-Encoding: chunked",
        "Transfer-Encoding: identity"), ambiguous("Transfer-Encoding: x",
        "transfer-encoding: chunked") }, 400 },
  { "9112 7: chunked and what is no list", all(ambiguous, { "Transfer-Encoding:",
        "Transfer-Encoding: ", "Transfer-Encoding: chunked,", "Transfer-Encoding: , chunked",
        "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked' x",
        "Transfer-Encoding: chunked x", "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: gzip chunked", "Transfer-Encoding: chunked\160",
        "Transfer-Encoding: \160chunked", "Transfer-Encoding: chunked=1" }), 400 },
  { "9112 7: chunked hidden by a control character", all(ambiguous, { "Transfer-Encoding:\vchunked",
        "Transfer-Encoding: chunked\f", "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: \0chunked", "Transfer-Encoding: \127chunked",
        "\0Transfer-Encoding: chunked", "Transfer-Encoding\0: chunked",
        "Transfer-Encoding: chunk\bed" }), 400 },
  { "9112 7: chunked hidden by a line end", all(ambiguous, { "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked", "Transfer-Encoding:\nchunked",
        "Transfer-Encoding: chunked\n", "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding\n: chunked", "\nTransfer-Encoding: chunked" }), 400 },
  { "9112 7: chunked hidden by white space", all(ambiguous, { " Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked", "Transfer- Encoding: chunked", "Transfer Encoding: chunked",
        "Transfer-Encoding\t:chunked", "X: y\r\n\tTransfer-Encoding: chunked" }), 400 },

  -- -- 9112 7.1: chunks ---------------------------------------------------------------------------

  { "9112 7.1: no chunk but the last", chunked "0\r\n\r\n", 200 },
  { "9112 7.1: one chunk", chunked "5\r\nhello\r\n0\r\n\r\n", ok "hello" },
  { "9112 7.1: several", chunked "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n",
    ok "hello world" },
  { "9110 10.1.4: chunked has no case", request("POST / HTTP/1.1", "Host: h",
      "transfer-encoding:ChUnKeD") .. "1\r\nx\r\n0\r\n\r\n", ok "x" },
  { "9112 7.1: white space around chunked", request("POST / HTTP/1.1", "Host: h",
      "Transfer-Encoding: \tchunked \t") .. "1\r\nx\r\n0\r\n\r\n", ok "x" },
  { "9112 7.1: sizes in hex", { chunked("a\r\n0123456789\r\n0\r\n\r\n"),
      chunked("A\r\n0123456789\r\n0\r\n\r\n") }, ok "0123456789" },
  { "9112 7.1: two digits of it, of either case", { chunked("1b\r\n" .. ("x"):rep(27) ..
        "\r\n0\r\n\r\n"), chunked("1B\r\n" .. ("x"):rep(27) .. "\r\n0\r\n\r\n") },
    ok(("x"):rep(27)) },
  { "9112 7.1: leading zeros", chunked "005\r\nhello\r\n000\r\n\r\n", ok "hello" },
  { "9112 7.1: as many digits as may be (choice)",
    chunked "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", ok "hello" },
  { "9112 7.1: what looks like framing is data",
    chunked "19\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\n0\r\n\r\n",
    ok "0\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n" },
  { "9112 7.1: any bytes are data", chunked("100\r\n" .. range(0, 255) .. "\r\n0\r\n\r\n"),
    ok(range(0, 255)) },
  { "9112 7.1: chunked with any method", { request("GET / HTTP/1.1", "Host: h",
        "Transfer-Encoding: chunked") .. "1\r\nx\r\n0\r\n\r\n", request("DELETE / HTTP/1.1",
        "Host: h", "Transfer-Encoding: chunked") .. "1\r\nx\r\n0\r\n\r\n" }, ok "x" },
  { "9112 7.1: chunks of one byte", chunked(("1\r\nx\r\n"):rep(60) .. "0\r\n\r\n"),
    ok(("x"):rep(60)) },
  { "9112 7.1.1: extensions are passed over",
    chunked "5;a\r\nhello\r\n1;b=c;d=\"e f\"\r\n!\r\n0;end\r\n\r\n", ok "hello!" },
  { "9112 7.1.1: white space in them", chunked "5 ; a = b \t;\tc\r\nhello\r\n0 ;x\r\n\r\n",
    ok "hello" },
  { "9112 7.1.1: quoted strings", all(chunked, { "5;a=\"\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\\\"\\\\;\t\255\"\r\nhello\r\n0\r\n\r\n" }), ok "hello" },
  { "9112 7.1.1: malformed extensions", each({ "5;", "5; ", "5;;", "5;=", "5;a=", "5;a=\"",
        "5;a=\"b", "5;a=\"b\"c", "5;a b", "5;a=b c", "5 ", "5\t", "5 a", "5;(a)", "5;a=(b)",
        "5;a=\"\\\"", "5;a=b=c", "5,a" }, function(size)
      return chunked(size .. "\r\nhello\r\n0\r\n\r\n" .. HIDDEN)
    end), 400 },
  { "9112 7.1.1: line ends in extensions", { chunked "5;a\nhello\r\n0\r\n\r\n",
      chunked "5;a\rb\r\nhello\r\n0\r\n\r\n", chunked "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
      chunked "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", chunked "5;\nhello\r\n0\r\n\r\n",
      chunked "5;a=\n\r\nhello\r\n0\r\n\r\n", chunked("0;\n\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1.1: control characters in extensions", around("\0\1\v\f\127",
      "POST / HTTP/1.1\r\nHost: h\r\n" .. "Transfer-Encoding: chunked\r\n\r\n5;a=\"",
      "\"\r\nhello\r\n0\r\n\r\n"), 400 },
  { "9112 7.1.1: a line as long as may be (choice)", chunked("5;" .. ("a"):rep(254) ..
      "\r\nhello\r\n0\r\n\r\n"), ok "hello" },
  { "9112 7.1.1: a longer line (choice)", chunked("5;" .. ("a"):rep(255) ..
      "\r\nhello\r\n0\r\n\r\n"), 400 },
  { "9112 7.1.1: extensions as long as may be, in all (choice)", chunked(("1;" .. ("a"):rep(127) ..
        "\r\nx\r\n"):rep(128) .. "0\r\n\r\n"), ok(("x"):rep(128)) },
  { "9112 7.1.1: longer extensions (choice)", chunked(("1;" .. ("a"):rep(127) ..
        "\r\nx\r\n"):rep(128) .. "0;a\r\n\r\n"), 400 },
  { "9112 7.1: an invalid size", each({ "", " 5", "\t5", "+5", "-5", "-0", "0x5", "x", "g", "5g",
        "5h", "5.", "5_0", "\"5\"", "\217\165", "5\160" }, function(size)
      return chunked(size .. "\r\nhello\r\n0\r\n\r\n" .. HIDDEN)
    end), 400 },
  { "9112 7.1: an invalid size, in the second chunk", each({ "", " 5", "-5", "x", ";a" },
      function(size)
      return chunked("1\r\nx\r\n" .. size .. "\r\nhello\r\n0\r\n\r\n" .. HIDDEN)
    end), 400 },
  { "9112 7.1: a size that overflows", each({ "10000000000000005", "fffffffffffffffff",
        "100000000000000000000000000000005", "00000000000000005" }, function(size)
      return chunked(size .. "\r\nhello\r\n0\r\n\r\n" .. HIDDEN)
    end), 400 },
  { "9110 15.5.14: a chunk too large", { chunked("800001\r\n" .. HIDDEN), chunked("fffffff\r\n" ..
        HIDDEN), chunked("100000005\r\nhello\r\n0\r\n\r\n" .. HIDDEN),
      chunked("7fffffffffffffff\r\n" .. HIDDEN), chunked("ffffffffffffffff\r\n" .. HIDDEN),
      chunked("fffffffffffffffb\r\nhello\r\n0\r\n\r\n" .. HIDDEN) }, 413 },
  { "9110 15.5.14: chunks too large together", { chunked("1\r\nx\r\n800000\r\n" .. HIDDEN),
      chunked("5\r\nhello\r\nfffffffffffffffc\r\n" .. HIDDEN) }, 413 },
  { "9112 7.1: bare LF behind a size", { chunked("5\nhello\r\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello\r\n0\n\r\n" .. HIDDEN), chunked("5\n\nhello\r\n0\r\n\r\n" .. HIDDEN),
      chunked("5;a\n\nhello\r\n0\r\n\r\n" .. HIDDEN), chunked("0\n\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: bare CR behind a size", { chunked("5\rhello\r\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\r\nhello\r\n0\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: bare LF behind data", { chunked("5\r\nhello\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello\n\r\n0\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: bare CR behind data", { chunked("5\r\nhello\r0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello\r\r\n0\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: nothing behind data", chunked("5\r\nhello0\r\n\r\n" .. HIDDEN), 400 },
  { "9112 7.1: other bytes behind data", { chunked("5\r\nhelloXX0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello  \r\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhelloX\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello\n\n0\r\n\r\n" .. HIDDEN),
      chunked("5\r\nhello\rX0\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: more data than was said", { chunked("3\r\nhello\r\n0\r\n\r\n" .. HIDDEN),
      chunked("4\r\nhello\r\n0\r\n\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: less data than was said", chunked("6\r\nhello\r\n0\r\n\r\n" .. HIDDEN), 400 },
  { "9112 7.1: bare LF at the end", { chunked("0\r\n\n" .. HIDDEN),
      chunked("5\r\nhello\r\n0\r\n\n" .. HIDDEN) }, 400 },
  { "9112 7.1: bare CR at the end", chunked("0\r\n\r" .. HIDDEN), 400 },
  { "9112 7.1: no end but the next request, which is no trailer", chunked("0\r\n" .. HIDDEN), 400 },

  { "9112 7.1.2: trailers", all(chunked, { "5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: b\r\nC:\r\nD: \t e \r\n\r\n" }), ok "hello" },
  { "9110 6.5.1: trailers that change nothing", all(chunked,
      { "5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: x y\r\n\r\n", "5\r\nhello\r\n0\r\nConnection: close\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Type: a/b\r\n\r\n",
        "5\r\nhello\r\n0\r\nExpect: magic\r\n\r\n" }), ok "hello" },
  { "9110 6.6.2: trailers that were announced", chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n",
      "Trailer: A", "TE: trailers"), ok "hello" },
  { "9110 6.6.2: and that do not come", chunked("5\r\nhello\r\n0\r\n\r\n", "Trailer: A, B"),
    ok "hello" },
  { "9112 7.1.2: malformed trailers", each({ "A", ": b", "A : b", " A: b", "\tA: b", "A: b\r\n c",
        "A B: c", "A(: b", "A: b\0", "A\1: b", "A: b\rc", "A: b\nc", "A: b\n", "A: b\n\nC: d",
        "\195: b", "=" },
      function(field)
      return chunked("5\r\nhello\r\n0\r\n" .. field .. "\r\n\r\n" .. HIDDEN)
    end), 400 },
  { "9112 7.1.2: trailers as long as may be (choice)", chunked("0\r\nA: " .. ("x"):rep(8192 - 5) ..
      "\r\n\r\n"), 200 },
  { "9112 7.1.2: longer trailers (choice)", { chunked("0\r\nA: " .. ("x"):rep(8193 - 5) ..
        "\r\n\r\n" .. HIDDEN) }, 400 },

  -- -- 9112 8: messages that are not complete -----------------------------------------------------

  { "9112 8: nothing at all", "", cut = true, closes = true },
  { "9112 8: half a request line", { "G", "GET / HTT", "GET / HTTP/1.1\r" }, 400, cut = true },
  { "9112 8: half a head", { "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n\r" }, 400, cut = true },
  { "9112 8: half a body", { request("POST / HTTP/1.1", "Host: h", "Content-Length: 5"),
      post("hello"):sub(1, -2) }, 400, cut = true },
  { "9112 8: half a body in HTTP/1.0", old_post("hello"):sub(1, -2), 400, cut = true },
  { "9112 8: half a chunked body", each({ "", "5", "5\r", "5\r\n", "5\r\nhell", "5\r\nhello",
        "5\r\nhello\r\n", "5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\nA: b\r\n",
        "5\r\nhello\r\n0\r\n\r" }, chunked), 400, cut = true },
  { "9112 8: half a second request", { get() .. "GET", get() .. "GET / HTTP/1.1\r\nHost: h\r\n" },
    200, 400, cut = true },
  { "9112 9.6: whole requests, and then no more", { get() .. post "hello" }, 200, ok "hello",
    cut = true, closes = true, says = false },
  { "9112 9.6: nothing but empty lines", { "\r\n", "\r\n\r\n\r\n" }, 400, cut = true },

  -- -- 9112 9: connections ------------------------------------------------------------------------

  { "9112 9.3: HTTP/1.1 goes on", get() .. get(), 200, 200 },
  { "9112 9.3: with keep-alive, too", get(KEEP_ALIVE) .. get "Keep-Alive: timeout=5", 200, 200 },
  { "9112 9.6: close", get(CLOSE), 200, closes = true },
  { "9112 9.6: close, with a body", { post("hello", CLOSE), chunked("5\r\nhello\r\n0\r\n\r\n",
        CLOSE) }, ok "hello", closes = true },
  { "9110 7.6.1: close has no case", all(get, { "Connection: CLOSE", "connection:Close" }), 200,
    closes = true },
  { "9110 7.6.1: close among others", { get "Connection: x, close", get "Connection: close, x",
      get "Connection: ,close,,", get "Connection: \tclose\t,keep-alive",
      get "Connection: keep-alive, close", get("Connection: close", "Connection: keep-alive"),
      get("Connection: keep-alive", "Connection: close"),
      get "Connection: Upgrade,HTTP2-Settings, close" }, 200, closes = true },
  { "9110 7.6.1: what is almost close", all(get, { "Connection: closed", "Connection: clos",
        "Connection: x-close", "Connection:", "Connection: ,", "Connection: upgrade",
        "Proxy-Connection: close", "Connection: keep-alive, x" }), 200 },
  { "9110 7.6.1: options that are no tokens", all(get, { "Connection: a=b", "Connection: \"close\"",
        "Connection: close; x", "Connection: close keep-alive", "Connection: close,\255",
        "Connection: (close)" }), 400 },
  { "9112 9.6: nothing behind close is looked at", { get(CLOSE) .. HIDDEN, get(CLOSE) ..
      "garbage\r\n\r\n", get(CLOSE) .. "\0" }, 200, closes = true },
  { "9112 9.6: those before close are answered", post "1" .. post "2" .. post("3", CLOSE) .. HIDDEN,
    ok "1", ok "2", ok "3", closes = true },
  { "9112 9.3: HTTP/1.0 closes", { old(), old "Connection: x", old "Connection: close" }, 200,
    closes = true },
  { "9112 9.3: keep-alive in HTTP/1.0", { old(KEEP_ALIVE), old "Connection: Keep-Alive",
      old "Connection: x, keep-alive" }, { 200, "", keeps = true } },
  { "9112 9.3: keep-alive in HTTP/1.0, with a body", old_post("hello", KEEP_ALIVE) ..
    old_post("again", KEEP_ALIVE), { 200, "hello", keeps = true }, { 200, "again", keeps = true } },
  { "9112 9.3: close outdoes keep-alive in HTTP/1.0", { old "Connection: keep-alive, close",
      old(KEEP_ALIVE, CLOSE) }, 200, closes = true },
  { "9112 9.3: versions may change", old(KEEP_ALIVE) .. get() .. old(), { 200, "", keeps = true },
    200, 200, closes = true },
  { "9112 9.3: nothing behind HTTP/1.0 is looked at", old() .. HIDDEN, 200, closes = true },
  { "9110 7.6.1: Keep-Alive alone says nothing in HTTP/1.0", old "Keep-Alive: timeout=5", 200,
    closes = true },

  { "9112 9.3.2: pipelined requests are answered in order", post "1" .. post "2" ..
    chunked "1\r\n3\r\n0\r\n\r\n" .. get() .. post "5", ok "1", ok "2", ok "3", 200, ok "5" },
  { "9112 9.3.2: many of them", (get()):rep(100), times(100, 200) },
  { "9112 9.3.2: many of them, with bodies", (post "x" .. chunked "1\r\ny\r\n0\r\n\r\n"):rep(3),
    ok "x", ok "y", ok "x", ok "y", ok "x", ok "y" },
  { "9112 9.3.2: with empty lines between them", post "1" .. "\r\n" .. post "2" ..
      "\r\n\r\n\r\n\r\n" .. get(), ok "1", ok "2", 200 },
  { "9112 9.3.2: with too many of them (choice)", get() .. ("\r\n"):rep(5) .. HIDDEN, 200, 400 },
  { "9112 9.3.2: those before a bad one are answered", post "1" .. post "2" ..
    "GET / HTTP/1.1\r\nHost : h\r\n\r\n" .. HIDDEN, ok "1", ok "2", 400 },
  { "9112 9.3.2: and before one that is too large", post "1" .. line("GET /" .. ("a"):rep(8192) ..
      " HTTP/1.1") .. HIDDEN, ok "1", 414 },
  { "9112 9.3.2: and before one with a bad body", post "1" .. chunked("x\r\n" .. HIDDEN), ok "1",
    400 },
  { "9112 9.3.2: and before one without Host", post "1" .. request("GET / HTTP/1.1") .. HIDDEN,
    ok "1", 400 },

  -- -- 9110 6, 8, 9, 15: answers ------------------------------------------------------------------

  { "9110 9.3.2: no body to HEAD", line "HEAD / HTTP/1.1", { 200, to = "HEAD" } },
  { "9110 9.3.2: but its length", request("HEAD / HTTP/1.1", "Host: h", "Content-Length: 5") ..
    "hello", { 200, to = "HEAD", length = 5 } },
  { "9110 9.3.2: of a chunked one, too", request("HEAD / HTTP/1.1", "Host: h",
      "Transfer-Encoding: chunked") .. "5\r\nhello\r\n0\r\n\r\n", { 200, to = "HEAD",
      length = 5 } },
  { "9110 9.3.2: and what follows it is answered", line "HEAD / HTTP/1.1" .. post "x" ..
    line "HEAD / HTTP/1.1", { 200, to = "HEAD" }, ok "x", { 200, to = "HEAD" } },
  { "9110 9.3.2: HEAD in HTTP/1.0", request "HEAD / HTTP/1.0", { 200, to = "HEAD" },
    closes = true },
  { "9110 9.3.2: HEAD in HTTP/1.0 that goes on", request("HEAD / HTTP/1.0", KEEP_ALIVE),
    { 200, to = "HEAD", keeps = true } },
  { "9110 9.3.2: no body to a HEAD that is refused", { request "HEAD / HTTP/1.1",
      request("HEAD / HTTP/1.1", "Host: h", "A : b"), "\r\n" .. request "HEAD / HTTP/1.1",
      request("HEAD / HTTP/1.1", "Host: a b"), request("HEAD * HTTP/1.1", "Host: h"),
      request("HEAD / HTTP/1.1", "Host: h", "Content-Length: x"), request("HEAD / HTTP/1.1",
        "Host: h", "Transfer-Encoding: chunked") .. "x\r\n" }, { 400, to = "HEAD" } },
  { "9110 9.3.2: nor to one with an unknown coding", request("HEAD / HTTP/1.1", "Host: h",
      "Transfer-Encoding: x"), { 501, to = "HEAD" } },
  { "9110 9.3.2: nor to one that is too long", "HEAD /" .. ("a"):rep(8192), { 414, to = "HEAD" } },
  { "9110 9.3.2: nor to one that is too large", request("HEAD / HTTP/1.1", "Host: h",
      "Content-Length: " .. LARGEST_BODY + 1), { 413, to = "HEAD" } },
  { "9110 8.3: a Content-Type comes back", post("x", "Content-Type: text/x; charset=utf-8"), ok("x",
      "text/x; charset=utf-8") },
  { "9110 9.3.6: 2xx to CONNECT has neither body nor length", line "CONNECT o:80 HTTP/1.1", { 200,
      to = "CONNECT" }, closes = true },
  { "9110 9.3.6: CONNECT to IPv6", all(line, { "CONNECT [::1]:443 HTTP/1.1",
        "CONNECT 127.0.0.1:1 HTTP/1.1" }), { 200, to = "CONNECT" }, closes = true },
  { "9110 9.3.6: nothing behind CONNECT is a request", line "CONNECT o:80 HTTP/1.1" .. HIDDEN,
    { 200, to = "CONNECT" }, closes = true },
  { "9110 9.3.6: CONNECT has a Host", request "CONNECT o:80 HTTP/1.1", 400 },

  -- -- 9110 7.8, 10: upgrades, expectations -------------------------------------------------------

  { "9110 7.8: an upgrade to what nobody knows is passed over", { get("Connection: upgrade",
        "Upgrade: h2c"), get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), get("Connection: upgrade",
        "Upgrade: websocket"), get "Upgrade: websocket", get("Connection: upgrade",
        "Upgrade: a/1, b") }, 200 },
  { "9110 7.8: also with a body", post("hello", "Connection: upgrade", "Upgrade: h2c") .. post "x",
    ok "hello", ok "x" },
  { "9110 7.8: in HTTP/1.0 it counts for nothing", old("Connection: upgrade", "Upgrade: websocket"),
    200, closes = true },
  { "9110 10.1.1: 100 comes before the body", { request("POST / HTTP/1.1", "Host: h",
        "Content-Length: 5", "Expect: 100-continue"), "hello" }, 100, ok "hello", awaits = true },
  { "9110 10.1.1: also before chunks", { request("POST / HTTP/1.1", "Host: h",
        "Transfer-Encoding: chunked", "Expect: 100-continue"), "5\r\nhello\r\n0\r\n\r\n" }, 100,
    ok "hello", awaits = true },
  { "9110 10.1.1: it has no case", { request("POST / HTTP/1.1", "Host: h", "Content-Length: 1",
        "expect: 100-CONTINUE"), "x" }, 100, ok "x", awaits = true },
  { "9110 10.1.1: and it may close", { request("PUT / HTTP/1.1", "Host: h", "Content-Length: 1",
        "Expect: 100-continue", CLOSE), "x" }, 100, ok "x", awaits = true, closes = true },
  { "9110 10.1.1: HEAD with a body", { request("HEAD / HTTP/1.1", "Host: h", "Content-Length: 1",
        "Expect: 100-continue"), "x" }, 100, { 200, to = "HEAD", length = 1 }, awaits = true },
  { "9110 10.1.1: behind another request", { post "first" .. request("PUT / HTTP/1.1", "Host: h",
        "Content-Length: 1", "Expect: 100-continue"), "x" }, ok "first", 100, ok "x",
    awaits = true },
  { "9110 10.1.1: no 100 where there is no body", { get "Expect: 100-continue", post("",
        "Expect: 100-continue") }, 200 },
  { "9110 10.1.1: 100 may be left out when the body is there", { post("hello",
        "Expect: 100-continue"), chunked("5\r\nhello\r\n0\r\n\r\n", "Expect: 100-continue") },
    ok "hello", may_go_on = true },
  { "9110 10.1.1: no 100 to HTTP/1.0", { old_post("hello", "Expect: 100-continue") }, ok "hello",
    closes = true },
  { "9110 10.1.1: any expectation is passed over in HTTP/1.0", old "Expect: magic", 200,
    closes = true },
  { "9110 15.5.18: another expectation (choice)", { get "Expect: magic" .. HIDDEN,
      get "Expect: 100-continue, magic" .. HIDDEN, get("Expect: 100-continue", "Expect: magic") ..
      HIDDEN, get "Expect: 100" .. HIDDEN, get "Expect: 100-continue;a=b" .. HIDDEN }, 417 },
  { "9110 15.5.18: an empty expectation (choice)", get "Expect:" .. HIDDEN, 417 },
  { "9110 10.1.1: no 100 to what is refused", { request("POST / HTTP/1.1", "Host: h",
        "Expect: 100-continue", "Content-Length: x"), request("POST / HTTP/1.1",
        "Expect: 100-continue", "Content-Length: 5"), request("POST / HTTP/1.1", "Host: h",
        "Expect: 100-continue", "Content-Length: 5", "Transfer-Encoding: chunked") }, 400 },
  { "9110 10.1.1: nor to what is too large", request("POST / HTTP/1.1", "Host: h",
      "Expect: 100-continue", "Content-Length: " .. LARGEST_BODY + 1), 413 },
  { "9110 10.1.1: nor to an unknown coding", request("POST / HTTP/1.1", "Host: h",
      "Expect: 100-continue", "Transfer-Encoding: gzip"), 501 },
  { "9110 10.1.4: TE", { get "TE: trailers", get("TE: trailers, deflate;q=0.5", "Connection: TE"),
      get "TE:" }, 200 },

  -- -- 9112 7: answers as their requests come -----------------------------------------------------

  { "9112 7.1: an answer in chunks", stream "hello", pieces "hello" },
  { "9112 7.1: of chunks", stream_chunks "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", pieces "hello!" },
  { "9112 7.1: of nothing", { line "GET /stream HTTP/1.1", stream "", stream_chunks "0\r\n\r\n" },
    pieces "" },
  { "9112 7.1: of any bytes", stream(range(0, 255)), pieces(range(0, 255)) },
  { "9112 7.1: of much", { stream(("0123456789abcdef"):rep(5000)),
      stream_chunks("13880\r\n" .. ("0123456789abcdef"):rep(5000) .. "\r\n0\r\n\r\n") },
    pieces(("0123456789abcdef"):rep(5000)) },
  { "9110 8.3: with its Content-Type", stream("x", "Content-Type: a/b"),
    { 200, "x", type = "a/b", chunked = true } },
  { "9112 7.1.2: with trailers", stream_chunks "1\r\nx\r\n0\r\nX-A: b\r\nx-c:\td e \r\n\r\n",
    pieces("x", { ["x-a"] = "b", ["x-c"] = "d e", n = 2 }) },
  { "9112 7.1.2: with trailers and nothing else", stream_chunks "0\r\nX-A: b\r\n\r\n",
    pieces("", { ["x-a"] = "b", n = 1 }) },
  { "9110 6.5.1: but not with what is none", stream_chunks "1\r\nx\r\n0\r\nContent-Length: 1\r\n" ..
      "Transfer-Encoding: x\r\nHost: i\r\nX-A: b\r\n\r\n", pieces("x", { ["x-a"] = "b", n = 1 }) },
  { "9112 9.3.2: in the order of the requests", stream "1" .. post "2" ..
    stream_chunks "1\r\n3\r\n" ..
      "0\r\n\r\n" .. get() .. stream "5", pieces "1", ok "2", pieces "3", 200, pieces "5" },
  { "9112 9.6: and with close", stream("x", CLOSE), pieces "x", closes = true },
  { "9112 9.6: nothing behind close is looked at", stream("x", CLOSE) .. HIDDEN, pieces "x",
    closes = true },
  { "9110 9.3.2: no body to HEAD", request("HEAD /stream HTTP/1.1", "Host: h",
    "Content-Length: 1") ..
      "x", { 200, to = "HEAD" } },
  { "9112 6.1: no chunks to HTTP/1.0", { request("POST /stream HTTP/1.0", "Content-Length: 5") ..
      "hello", request("POST /stream HTTP/1.0", "Content-Length: 5", KEEP_ALIVE) .. "hello" },
    ok "hello", closes = true },
  { "9110 10.1.1: 100 comes before the body",
    { request("POST /stream HTTP/1.1", "Host: h", "Content-Length: 5", "Expect: 100-continue"),
      "hello" }, 100, pieces "hello", awaits = true },
  { "9110 10.1.1: also before chunks",
    { request("POST /stream HTTP/1.1", "Host: h", "Transfer-Encoding: chunked",
        "Expect: 100-continue"), "5\r\nhello\r\n0\r\nX-A: b\r\n\r\n" }, 100,
    pieces("hello", { ["x-a"] = "b", n = 1 }), awaits = true },
  { "9110 10.1.1: 100 may be left out", stream("hello", "Expect: 100-continue"), pieces "hello",
    may_go_on = true },
  { "9112 6.3: what is refused before it begins", { request("POST /stream HTTP/1.1", "Host: h",
        "Content-Length: 5", "Transfer-Encoding: chunked") .. HIDDEN,
      request("POST /stream HTTP/1.1", "Host: h", "Content-Length: x") .. HIDDEN,
      stream_chunks("x\r\n" .. HIDDEN), stream_chunks("5;\r\n" .. HIDDEN),
      stream_chunks("5\nhello" .. HIDDEN), stream_chunks("0\r\nA b\r\n" .. HIDDEN) }, 400 },
  { "9112 7.1: what turns out to be bad is cut off", each({ "x", "", " 1", "5;", "-1", "1\n",
        "00000000000000001", "0\r\nA b", "0\r\n b", "0\r\n\0" }, function(what)
      return stream_chunks("5\r\nhello\r\n" .. what .. "\r\nx\r\n0\r\n\r\n" .. HIDDEN)
    end), broken "hello" },
  { "9112 7.1: also within a chunk's end", all(stream_chunks, { "5\r\nhello!0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n" }), broken "hello" },
  { "9112 8: half a body is cut off", { stream("hello"):sub(1, -2), stream_chunks "5\r\nhell",
      stream_chunks "5\r\nhello\r\n", stream_chunks "5\r\nhello\r\n0\r\n" }, broken "hello",
    cut = true },

  -- -- 9112 11: requests hidden in others ---------------------------------------------------------

  { "9112 11.2: in a body by its length", post(HIDDEN), ok(HIDDEN) },
  { "9112 11.2: in a body of GET", request("GET / HTTP/1.1", "Host: h", "Content-Length: " ..
      #HIDDEN) .. HIDDEN, ok(HIDDEN) },
  { "9112 11.2: in a body of HEAD", request("HEAD / HTTP/1.1", "Host: h", "Content-Length: " ..
      #HIDDEN) .. HIDDEN, { 200, to = "HEAD", length = #HIDDEN } },
  { "9112 11.2: in a body of OPTIONS *", request("OPTIONS * HTTP/1.1", "Host: h",
      "Content-Length: " .. #HIDDEN) .. HIDDEN, ok(HIDDEN) },
  { "9112 11.2: in a chunk", chunked(("%x\r\n%s\r\n0\r\n\r\n"):format(#HIDDEN, HIDDEN)),
    ok(HIDDEN) },
  { "9112 11.2: in an extension's quoted string",
    chunked "5;a=\"GET /hidden HTTP/1.1\"\r\nhello\r\n0\r\n\r\n", ok "hello" },
  { "9112 11.2: in a trailer", chunked "0\r\nA: GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", 200 },
  { "9112 11.2: in a value", get "A: GET /hidden HTTP/1.1", 200 },
  { "9112 11.2: behind a body that is one byte longer", request("POST / HTTP/1.1", "Host: h",
      "Content-Length: 5") .. "hello@" .. HIDDEN, ok "hello", 400 },
  { "9112 11.2: behind a chunked body that is one byte longer",
    chunked("5\r\nhello\r\n0\r\n\r\n@" .. HIDDEN), ok "hello", 400 },
  { "9112 11.2: behind what is too large", request("POST / HTTP/1.1", "Host: h",
      "Content-Length: " .. LARGEST_BODY + 1) .. HIDDEN, 413 },
  { "9112 11.2: behind HTTP/0.9", "GET /\r\n" .. HIDDEN, 400 },
  { "9112 11.2: behind another version", line "GET / HTTP/2.0" .. HIDDEN, 505 },
  { "9112 11.2: behind two Hosts", get "Host: h" .. HIDDEN, 400 },
  { "9112 11.2: behind too many fields", get(("A: b\r\n"):rep(128)) .. HIDDEN, 431 },
  { "9112 11.2: behind a NUL", get() .. "\0" .. HIDDEN, 200, 400 },
  { "9112 11.2: behind a bare LF in the second", get() ..
    "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n" ..
      HIDDEN, 200, 400 },
  { "9112 11.2: behind a Host that names another one", all(get, { "X-Host: other",
    "Hostx: other" }),
    200 },
  { "9112 11.2: behind an unknown expectation with a body", request("POST / HTTP/1.1", "Host: h",
      "Content-Length: 5", "Expect: x") .. "hello" .. HIDDEN, 417 },
  { "9112 11.2: behind HTTP/1.0 with a body", old_post "hello" .. HIDDEN, ok "hello",
    closes = true },
  { "9112 11.2: behind a line end too many", get() .. "\n" .. HIDDEN, 200, 400 },
  { "9112 11.1: a line break in the target", all(line, { "GET /\r\nX: y HTTP/1.1",
        "GET /\nX: HTTP/1.1", "GET /?\r\nHost: i HTTP/1.1" }), 400 },
  { "9112 11.1: escaped line breaks are none", all(line, { "GET /%0d%0aX:%20y HTTP/1.1",
        "GET /?%0d%0a%0d%0aGET HTTP/1.1" }), 200 },
}
