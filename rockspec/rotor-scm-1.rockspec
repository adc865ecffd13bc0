rockspec_format = "3.0"
package = "rotor"
version = "scm-1"

source = {
  url = "git+https://github.com/rotor-lua/rotor.git",
}

description = {
  summary = "State machines over libuv: streams, HTTP, timers and futures in C and Lua",
  detailed = [[
A machine is a Lua table (or a C struct) with transition functions. The loop calls a transition when
something happens to the machine; what the transition returns says what it waits for next. On that
stand buffered streams with declared expectations, an HTTP/1 server, deadlines and futures.]],
  homepage = "https://github.com/rotor-lua/rotor",
  license = "MIT",
  labels = { "async", "http", "libuv", "network", "server", "state-machine" },
}

dependencies = {
  "lua >= 5.4",
}

external_dependencies = {
  LIBUV = { header = "uv.h", library = "uv" },
}

build = {
  type = "builtin",
  modules = {
    ["rotor.core"] = {
      -- `make lint` compares this list and the modules below with the tree.
      sources = {
        "csrc/core/alloc.c",
        "csrc/core/buf.c",
        "csrc/core/deadline.c",
        "csrc/core/error.c",
        "csrc/core/future.c",
        "csrc/core/future_combine.c",
        "csrc/core/io.c",
        "csrc/core/loop.c",
        "csrc/core/machine.c",
        "csrc/core/notifier.c",
        "csrc/http/ask.c",
        "csrc/http/call.c",
        "csrc/http/chunked.c",
        "csrc/http/client.c",
        "csrc/http/client_conn.c",
        "csrc/http/conditions.c",
        "csrc/http/connection.c",
        "csrc/http/date.c",
        "csrc/http/drain.c",
        "csrc/http/fetch.c",
        "csrc/http/files.c",
        "csrc/http/files_encoding.c",
        "csrc/http/files_open.c",
        "csrc/http/files_send.c",
        "csrc/http/message.c",
        "csrc/http/metrics.c",
        "csrc/http/mime.c",
        "csrc/http/parse_fields.c",
        "csrc/http/parse_request.c",
        "csrc/http/parse_response.c",
        "csrc/http/redirect.c",
        "csrc/http/request.c",
        "csrc/http/respond.c",
        "csrc/http/scan.c",
        "csrc/http/server.c",
        "csrc/http/trailers.c",
        "csrc/http/url.c",
        "csrc/http/websocket.c",
        "csrc/http/websocket_accept.c",
        "csrc/http/websocket_connect.c",
        "csrc/http/websocket_frame.c",
        "csrc/http/websocket_send.c",
        "csrc/http/websocket_upgrade.c",
        "csrc/http/websocket_utf8.c",
        "csrc/lua/class.c",
        "csrc/lua/connect.c",
        "csrc/lua/core.c",
        "csrc/lua/datagram.c",
        "csrc/lua/descriptor.c",
        "csrc/lua/future.c",
        "csrc/lua/future_combine.c",
        "csrc/lua/handle.c",
        "csrc/lua/http.c",
        "csrc/lua/http_answer.c",
        "csrc/lua/http_files.c",
        "csrc/lua/http_call.c",
        "csrc/lua/http_client.c",
        "csrc/lua/http_handler.c",
        "csrc/lua/http_serve.c",
        "csrc/lua/load.c",
        "csrc/lua/loop.c",
        "csrc/lua/machine.c",
        "csrc/lua/offload.c",
        "csrc/lua/persist.c",
        "csrc/lua/program.c",
        "csrc/lua/protocol.c",
        "csrc/lua/shared.c",
        "csrc/lua/shared_object.c",
        "csrc/lua/socket.c",
        "csrc/lua/stream.c",
        "csrc/lua/thread.c",
        "csrc/lua/thread_channel.c",
        "csrc/lua/thread_listen.c",
        "csrc/lua/thread_queue.c",
        "csrc/lua/trace.c",
        "csrc/lua/travel.c",
        "csrc/lua/websocket.c",
        "csrc/lua/websocket_object.c",
        "csrc/stream/address.c",
        "csrc/stream/connect.c",
        "csrc/stream/datagram.c",
        "csrc/stream/datagram_open.c",
        "csrc/stream/listen.c",
        "csrc/stream/listen_open.c",
        "csrc/stream/memory.c",
        "csrc/stream/persist.c",
        "csrc/stream/plain.c",
        "csrc/stream/stream.c",
        "csrc/stream/stream_pass.c",
        "csrc/stream/stream_pull.c",
        "csrc/stream/trace.c",
        "csrc/stream/trace_diagram.c",
      },
      defines = { "_GNU_SOURCE", "NDEBUG" },
      incdirs = { "csrc", "$(LIBUV_INCDIR)" },
      libdirs = { "$(LIBUV_LIBDIR)" },
      libraries = { "uv" },
    },
    rotor = "lua/rotor/init.lua",
    ["rotor.declare"] = "lua/rotor/declare.lua",
    ["rotor.http"] = "lua/rotor/http.lua",
    ["rotor.redis"] = "lua/rotor/redis.lua",
    ["rotor.redis.command"] = "lua/rotor/redis/command.lua",
    ["rotor.redis.connection"] = "lua/rotor/redis/connection.lua",
    ["rotor.redis.greeting"] = "lua/rotor/redis/greeting.lua",
    ["rotor.redis.parser"] = "lua/rotor/redis/parser.lua",
    ["rotor.redis.session"] = "lua/rotor/redis/session.lua",
    ["rotor.redis.subscription"] = "lua/rotor/redis/subscription.lua",
    ["rotor.redis.transaction"] = "lua/rotor/redis/transaction.lua",
    ["rotor.redis.value"] = "lua/rotor/redis/value.lua",
    ["rotor.threads"] = "lua/rotor/threads.lua",
    ["rotor.trace"] = "lua/rotor/trace.lua",
    ["rotor.types"] = "lua/rotor/types.lua",
    ["rotor.websocket"] = "lua/rotor/websocket.lua",
  },
}

test_dependencies = {
  "busted >= 2.1",
}

test = {
  type = "busted",
}
