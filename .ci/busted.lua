-- Runs busted however it was installed: its own launcher may be a shell script or for another Lua.
require "busted.runner" { standalone = false }
