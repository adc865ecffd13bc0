-- Run by `make rock` with nothing on the paths but the installed rock: does it load, does it echo,
-- and does a module in C find rotor's functions in it?
local rotor = require "rotor"

for _, found in ipairs {
  package.searchpath("rotor", package.path), package.searchpath("rotor.core", package.cpath),
} do
  assert(found:find("build/rock/", 1, true), found)
end

local Echo = rotor.protocol "Echo" {
  create = function(_, stream)
    return stream:expect_delimiter("\n", 4096)
  end,
  bytes_read = function(_, stream, n)
    stream:write(stream:take(n + 1))
    return stream:expect_delimiter("\n", 4096)
  end,
}

local answer
local Client = rotor.protocol "Client" {
  create = function(_, stream)
    stream:write("hello\n")
    return stream:expect_delimiter("\n", 4096, 10)
  end,
  bytes_read = function(_, stream, n)
    answer = stream:take(n)
    return stream:done()
  end,
  drop = function() -- also when the answer does not come in 10 s
    rotor.stop()
  end,
}

local server = assert(rotor.listen("127.0.0.1:0", Echo))
assert(rotor.connect(server:address(), Client))
rotor.run()
assert(answer == "hello", "no echo came")
assert(assert(rotor.load("build/examples/swap_lines.so")).Lines)
print("rotor " .. rotor.version .. " from build/rock: echo works, modules load")
