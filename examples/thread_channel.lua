-- Usage: thread_channel.lua FILE …     ("-" is the standard input)
-- Counts lines, words and bytes, as wc does. Files can be read by blocking only, so a plain thread
-- does that, and what it reads goes through a channel to a task; its loop is never kept waiting.
local rotor = require "rotor"
local task = require "rotor.task"
local threads = require "rotor.threads"

if not arg[1] then
  io.stderr:write("usage: thread_channel.lua FILE ...\n")
  os.exit(2)
end

local PIECE, AHEAD, PATIENCE = 65536, 16, 5 -- bytes; pieces that are read ahead; seconds

-- The thread. It waits in send() when the task is behind, and in recv() for the next file.
local function read(_, paths, pieces, size)
  local _ <close> = pieces -- also if it dies
  for path in paths do
    local file, message = io.stdin, nil
    if path ~= "-" then file, message = io.open(path, "rb") end
    while file do
      local piece
      piece, message = file:read(size)
      if not piece then break end
      pieces:send { data = piece }
    end
    if file and file ~= io.stdin then file:close() end
    pieces:send { over = path, error = message }
  end
end

local paths, pieces = threads.channel(), threads.channel(AHEAD)
local reader = assert(threads(1, read, paths, pieces, PIECE))
local failed = false

task.spawn(function()
  for _, path in ipairs(arg) do paths:send(path) end
  paths:close()
end)

task.spawn(function()
  local lines, words, bytes, inside = 0, 0, 0, false
  while true do
    local what, piece = task.select { piece = { recv = pieces }, late = { after = PATIENCE } }
    if what == "late" then
      io.stderr:write("still reading ...\n")
    elseif not piece then -- the channel is closed
      break
    elseif piece.data then
      local _, ends = piece.data:gsub("\n", "")
      local _, begun = piece.data:gsub("%S+", "")
      if inside and piece.data:find("^%S") then begun = begun - 1 end -- the rest of a word
      lines, words, bytes = lines + ends, words + begun, bytes + #piece.data
      inside = piece.data:find("%S$") ~= nil
    else
      if piece.error then
        failed = true
        io.stderr:write("thread_channel.lua: ", piece.error, "\n")
      else
        print(("%8d%8d%8d %s"):format(lines, words, bytes, piece.over))
      end
      lines, words, bytes, inside = 0, 0, 0, false
    end
  end
end)

rotor.run()
local _, errors = assert(reader:join())
os.exit(not (failed or errors), true)
