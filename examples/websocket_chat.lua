-- Usage: websocket_chat.lua PORT | ADDR:PORT
-- A chat for browsers: at / is its page, at /chat its WebSocket. The first message is one's name,
-- and what one says then goes to all. Whoever reads too slowly is dropped before that takes much
-- memory.
local rotor = require "rotor"
local http = require "rotor.http"
local websocket = require "rotor.websocket"

local LONGEST_NAME, LONGEST_MESSAGE, MOST_UNSENT = 16, 1024, 256 * 1024 -- bytes

local PAGE = [[
<!DOCTYPE html>
<meta charset="utf-8">
<title>rotor: chat</title>
<pre id="said"></pre>
<form id="form"><input id="text" placeholder="your name" autofocus autocomplete="off"></form>
<script>
const said = document.getElementById("said"), text = document.getElementById("text");
const socket = new WebSocket("ws://" + location.host + "/chat");
function show(line) { said.append(line + "\n"); }
socket.onmessage = event => show(event.data);
socket.onclose = event => show("(closed: " + event.code + " " + event.reason + ")");
document.getElementById("form").onsubmit = event => {
  event.preventDefault();
  if (text.value) socket.send(text.value);
  text.value = "";
  text.placeholder = "say something";
};
</script>
]]

local ending = false
local members = {} -- names, or false before there is one, by their WebSockets

local function tell_all(...)
  local text = table.concat({ ... })
  for ws, name in pairs(members) do
    if ws:unsent() > MOST_UNSENT then
      ws:handle():close()
    elseif name then
      ws:send(text)
    end
  end
end

local function is_free(name)
  for _, other in pairs(members) do
    if other and other:lower() == name:lower() then return false end
  end
  return true
end

local function take_name(ws, name)
  if name == "" or #name > LONGEST_NAME or name:find("[%c:]") or not is_free(name) then
    return ws:send(name .. " is no name, or somebody has it.")
  end
  members[ws] = name
  tell_all(name, " is here")
end

local Chat = websocket.handler("Chat", { max_message = LONGEST_MESSAGE }) {
  open = function(_, ws)
    if ending then return ws:close(1001, "the server ends") end
    members[ws] = false
    ws:send("Welcome! What is your name?")
    return ws:expect_message()
  end,
  message = function(_, ws, data, kind)
    if kind ~= "text" then return ws:close(1003, "only text is said here") end
    if members[ws] then tell_all(members[ws], ": ", data) else take_name(ws, data) end
    return ws:expect_message()
  end,
  close = function(_, ws)
    local name = members[ws]
    members[ws] = nil
    if name then tell_all(name, " has left") end
  end,
}

local function serve(req, res)
  if req.path == "/chat" then
    websocket.upgrade(req, res, Chat) -- or it says what is wrong with the request
  elseif req.path ~= "/" then
    res:send(404, "404 Not Found\n")
  elseif req.method ~= "GET" and req.method ~= "HEAD" then
    res:header("Allow", "GET, HEAD"):send(405, "405 Method Not Allowed\n")
  else
    res:header("Content-Type", "text/html"):send(PAGE)
  end
end

local address = arg[1]
if not address or arg[2] then
  io.stderr:write("usage: websocket_chat.lua PORT | ADDR:PORT\n")
  os.exit(2)
end

local server, message = http.serve(address, serve)
if not server then
  io.stderr:write("websocket_chat.lua: ", message, "\n")
  os.exit(1)
end

-- The first time: say goodbye to all, and end when they and the requests under way are through. The
-- second time: end now.
local function stop()
  if not server:close { drain = 30 } then return rotor.stop() end
  ending = true
  for ws in pairs(members) do ws:close(1001, "the server ends") end
end
for _, signal in ipairs { "INT", "TERM" } do
  rotor.on_signal(signal, stop)
end
print("listening on http://" .. server:address() .. "/")
io.stdout:flush()
rotor.run()
