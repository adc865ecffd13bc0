/* The Lua module when memory runs out: any allocation of Lua's, and any of rotor's, may fail. An error
** is thrown, returned or told to on_error; nothing panics, crashes or leaks. What the module does
** otherwise is in spec/. */
#include "test.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <unistd.h>

#include "support.h"

int luaopen_rotor_core(lua_State *L);

static struct {
    size_t blocks;  /* alive */
    size_t calls;   /* that may fail */
    size_t fail_at; /* 0: none */
    bool for_good;
    bool failed;
} lua_memory;

/* A lua_Alloc, of which making a block smaller never fails (Lua's manual, lua_Alloc). */
static void *lua_resize(void *context, void *ptr, size_t old, size_t size)
{
    if (size == 0) {
        lua_memory.blocks -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    if (!ptr || size > old) {
        size_t call = ++lua_memory.calls, at = lua_memory.fail_at;
        if (at && (call == at || (lua_memory.for_good && call > at))) {
            lua_memory.failed = true;
            return NULL;
        }
    }
    void *block = realloc(ptr, size);
    assert_non_null(block);
    lua_memory.blocks += ptr == NULL;
    return block;
}

/* Everything that takes references or calls back, a bounded number of turns. */
static const char script[] =
    "local core, address, module, all = ...\n"
    "local errors, answers = {}, 0\n"
    "local loop = core.loop { capacity = 64, context = {} }\n"
    "loop:on_error(function(message) errors[#errors + 1] = message end)\n"
    "local Echo = core.protocol('Echo', {\n"
    "  create = function(_, s) return s:expect_delimiter('\\r' .. '\\n', 100, 10) end,\n"
    "  bytes_read = function(_, s, n) s:write(s:take(n + 2)); return s:done() end,\n"
    "})\n"
    "local Client = core.protocol('Client', {\n"
    "  create = function(self, s, seed) self.seed = seed; s:write('hi\\r\\n')\n"
    "    return s:expect_bytes(4) end,\n"
    "  bytes_read = function(self, s) self.notifier = s:notifier(); self.notifier:wakeup()\n"
    "    return s:sleep() end,\n"
    "  wakeup = function() error('thrown') end,\n"
    "  fatal = function() end,\n"
    "  drop = function() end,\n"
    "})\n"
    "core.state('unused', { timeout = function() end }, Client)\n"
    "core.trace(Client)\n"
    "local Child = core.type('Child', {\n"
    "  create = function(self, scope) self.left = 1; return scope:ok(60) end,\n"
    "  wakeup = function(_, scope) return scope:done('done') end,\n"
    "})\n"
    "local Parent = core.type('Parent', {\n"
    "  create = function(_, scope) return scope:spawn(Child, {}) end,\n"
    "  spawned = function(_, scope, child) child:wake(); return scope:ok() end,\n"
    "  child_done = function(_, scope, _, value) return scope:error(value) end,\n"
    "})\n"
    "local Browser = core.protocol('Browser', {\n"
    "  create = function(_, s)\n"
    "    s:write('GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\nGET /later HTTP/1.1\\r\\nHost: "
    "h\\r\\n\\r\\n')\n"
    "    return s:expect_bytes(1000) end,\n"
    "})\n"
    "local Kept = core.protocol('Kept', {\n"
    "  create = function(_, s) return s:done() end,\n"
    "  fatal = function() end,\n"
    "})\n"
    "local up, down = nil, {}\n"
    "local function on_down(_, message, seconds) down[#down + 1] = { message, seconds } end\n"
    "loop:listen(address, Echo, { seed = {} })\n"
    "loop:connect(address, Client, { seed = {} })\n"
    "loop:persist(address, Kept, { up = function(h) up = h end, down = on_down })\n"
    "loop:persist(address .. 'x', Kept, { seed = {}, down = on_down })\n"
    "loop:add(Parent)\n"
    "local loaded, value = assert(core.load(module)), nil\n"
    "loop:listen(address .. 'm', loaded.Marks, { seed = 'hello' })\n"
    "loop:connect(address .. 'm', loaded.Marks, { seed = 'quit\\n' })\n"
    "loop:persist(address .. 'm', loaded.Marks, { seed = 'quit\\n' })\n"
    "loop:add(loaded.Delay, {})\n"
    "loop:add(core.type('Waiting', {\n"
    "  create = function(_, scope) return scope:spawn(loaded.Delay, { value = 2 }) end,\n"
    "  child_done = function(_, scope, _, v) value = v; return scope:done() end,\n"
    "}))\n"
    "local file, line = assert(io.open('/proc/self/mounts')), nil\n" /* which can be watched */
    "loop:add(core.type('Reader', {\n"
    "  create = function(_, scope) assert(scope:open(file)):want('r'); return scope:ok() end,\n"
    "  ready = function(_, scope, watched) line = watched:read(9); return scope:done() end,\n"
    "}))\n"
    "local port, future = loop:future()\n"
    "local late = future:map(function(v) return { v } end):and_then(function(v) return v end)\n"
    "port:set({})\n"
    "local failing, failed = loop:future()\n"
    "failed:and_then(function(_, _, name) assert(name == 'ENAME') end)\n"
    "failing:fail({}, 'ENAME')\n"
    "local kept\n"
    "loop:serve(address .. 'h', function(req, res)\n"
    "  if req.path == '/' then res:header('X', req.headers.host):send('now') else kept = res end\n"
    "end)\n"
    "loop:connect(address .. 'h', Browser)\n"
    "local files = core.files('/proc/self', { index = false, types = { x = 'a/b' } })\n"
    "loop:serve(address .. 'f', function(req, res)\n"
    "  if not files:try(req, res) then files(req, res, 'comm') end\n"
    "end)\n"
    "loop:connect(address .. 'f', Browser)\n"
    "local logged, overs, left = 0, 0, 3\n"
    "local Handler = core.handler('Handler', {\n"
    "  headers_received = function(self, req) self.parts = {}; return req:progressive(99, 9) end,\n"
    "  request_chunk = function(self, req, _, data) self.parts[#self.parts + 1] = data\n"
    "    req:handle():wake(); return req:hold(9) end,\n"
    "  wakeup = function(_, req) return req:ok() end,\n"
    "  request_end = function(self, req, res)\n"
    "    res:start(200); for name in pairs(req.trailers) do res:trailer(name, name) end\n"
    "    res:write(table.concat(self.parts)); res:finish(); return req:done() end,\n"
    "  bad_request = function() end,\n"
    "  error_page = function(_, _, res, status, why) res:send(status, why or '') end,\n"
    "  request_over = function(_, req) if req.host then overs = overs + 1 end end,\n"
    "})\n"
    "loop:serve(address .. 'i', Handler, { log = function() logged = logged + 1 end })\n"
    "local Poster = core.protocol('Poster', {\n"
    "  create = function(_, s)\n"
    "    s:write('POST / HTTP/1.1\\r\\nHost: h\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n'\n"
    "      .. '3\\r\\nabc\\r\\n0\\r\\nSum: 3\\r\\n\\r\\nbad\\r\\n\\r\\n')\n"
    "    return s:expect_bytes(1000) end,\n"
    "})\n"
    "loop:connect(address .. 'i', Poster)\n"
    "local function piece() left = left - 1; return left > 0 and 'piece' or nil end\n"
    "loop:serve(address .. 'j', function(req, res)\n"
    "  if req.path == '/' then return res:send(piece) end\n"
    "  req:on_hangup(function() res:send('late') end) end)\n"
    "loop:connect(address .. 'j', Browser)\n"
    "local drained = loop:serve(address .. 'k', print)\n"
    "drained = drained and drained:close { drain = 1 }\n"
    "core.metrics()\n"
    "local web, ask, body, taken, streamed = loop:client(), { address = address .. 'h' }, { 'x' }\n"
    "ask.headers, ask.on_body = { A = { 'b' } }, function(data) taken = data end\n"
    "local got = web:get('http://h/', ask)\n"
    "local posted = web:request { url = 'http://h/', method = 'POST', address = address .. 'h',\n"
    "  body = function() return table.remove(body) end }\n"
    "local refused = web:get('http://h/', { address = address .. 'x' })\n"
    "web:request(core.requester('Put', {\n"
    "  body_wanted = function(_, c) c:trailer('A', 'b'):finish('x'); return c:same() end,\n"
    "  response_received = function(_, c) streamed = c.body .. c.headers.x; return c:done() end,\n"
    "  failed = function() end,\n"
    "  call_over = function() end,\n"
    "}), { url = 'http://h/', address = address .. 'h', method = 'PUT', streamed = true, seed = {} "
    "})\n"
    "local closed = 0\n"
    "local Socket = core.websocket_handler('Socket', {\n"
    "  open = function(self, ws, seed) self.ws = ws; if seed == 'client' then ws:send('x') end\n"
    "    return ws:expect_message(60) end,\n"
    "  message = function(self, ws, data) ws:ping(data); ws:send(data .. '!')\n"
    "    return #data < 4 and ws:expect_message() or ws:close(4000, data) end,\n"
    "  pong = function(_, ws) return ws:same() end,\n"
    "  close = function(_, _, code, _, name) closed = closed + (code or name and 1) end,\n"
    "  drop = function(self) self.ws:send('late') end,\n"
    "}, { max_message = 100 })\n"
    "loop:serve(address .. 'w', function(req, res)\n"
    "  core.websocket_upgrade(req, res, Socket, { protocols = { 'a', 'b' }, seed = {} }) end)\n"
    "core.websocket_connect(loop, 'ws://h/', Socket, { address = address .. 'w', seed = 'client',\n"
    "  protocols = 'b', headers = { Number = 1, Text = '2' } })\n"
    "core.websocket_connect(loop, 'ws://h/', Socket, { address = address .. 'nobody', seed = {} "
    "})\n"
    "local talked = 0\n"
    "local Talk = core.datagram('Talk', {\n"
    "  create = function(self, s, first) self.socket = s\n"
    "    if first then s:send(first) end; return s:ok(60) end,\n"
    "  datagram = function(_, s, data, from, size) talked = talked + (size or 0)\n"
    "    s:send(data .. '!', from); return talked < 9 and s:same() or s:error({}) end,\n"
    "  drop = function(self) self.socket:send('bye', address .. 'd') end,\n"
    "})\n"
    "loop:udp(address .. 'd', Talk, { max = 1 })\n"
    "loop:udp(nil, Talk, { max = 1, peer = address .. 'd', seed = 'hi' })\n"
    "for _ = 1, 60 do\n"
    "  loop:turn()\n"
    "  if kept and kept:send('late') then answers = answers + 1 end\n"
    "  kept = nil\n"
    "end\n"
    "local dot = core.diagram(Client)\n"
    "assert(not all or dot:find('ELUA 1'))\n"
    "assert(not all or (#errors == 4 and answers == 1 and talked >= 9 and\n"
    "  type(late:get()) == 'table'))\n"
    "assert(not all or (up and #down >= 2))\n"
    "assert(not all or (logged == 2 and overs == 2 and left == 0 and drained:get() == 0))\n"
    "assert(not all or (got:get().status == 200 and posted:get().body == 'now' and taken == "
    "'now'))\n"
    "assert(not all or (select(3, refused:get()) == 'ECONNREFUSED' and streamed == 'nowh'))\n"
    "assert(not all or closed == 4000 + 4000 + 1006)\n"
    "assert(not all or (value == 4 and #line == 9 and file:close()))\n";

/* [-0, +1, m] The path of loaded.so, which is beside this program. */
static void push_module(lua_State *L)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    lua_pushfstring(L, "%s/loaded.so", path);
}

static int scenario(lua_State *L)
{
    bool all = lua_toboolean(L, 1); /* that the script begins must happen */
    luaL_openlibs(L);
    luaL_requiref(L, "rotor.core", luaopen_rotor_core, 0);
    if (luaL_loadstring(L, script) != LUA_OK)
        return lua_error(L);
    lua_insert(L, -2);
    lua_pushfstring(L, "unix:@rotor-test-lua-%d", (int)getpid());
    push_module(L);
    lua_pushboolean(L, all);
    lua_call(L, 4, 0);
    return 0;
}

/* True when it came to its end without an error. */
static bool run(bool all)
{
    lua_State *L = lua_newstate(lua_resize, NULL);
    if (!L)
        return false;
    lua_pushcfunction(L, scenario); /* a light C function: allocates nothing */
    lua_pushboolean(L, all);
    bool ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
    if (!ok && !lua_memory.failed && test_alloc_failed() == 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    return ok;
}

/* TSan keeps more of each allocation than there is memory for when all are tried; ASan sees to those. */
#if defined(__SANITIZE_THREAD__)
enum { STEP = 16 };
#else
enum { STEP = 1 };
#endif

static void lua_fails(bool for_good)
{
    size_t n = 0;
    do {
        memset(&lua_memory, 0, sizeof lua_memory);
        n += STEP;
        lua_memory.fail_at = n;
        lua_memory.for_good = for_good;
        (void)run(false);
        assert_int_equal(lua_memory.blocks, 0);
        assert_int_equal(test_alloc_live(), 0);
    } while (lua_memory.failed);
    assert_true(n > 500); /* or it was not the scenario that ran */
}

static void an_allocation_of_luas_fails(void **state)
{
    lua_fails(false);
}

static void all_allocations_of_luas_fail_from_one_on(void **state)
{
    lua_fails(true);
}

static void once(void)
{
    memset(&lua_memory, 0, sizeof lua_memory);
    (void)run(false);
    assert_int_equal(lua_memory.blocks, 0);
}

static void allocations_of_rotors_fail(void **state)
{
    test_out_of_memory(once);
}

static void without_a_failure(void **state)
{
    memset(&lua_memory, 0, sizeof lua_memory);
    assert_true(run(true));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_a_failure),
        TEST(an_allocation_of_luas_fails),
        TEST(all_allocations_of_luas_fail_from_one_on),
        TEST(allocations_of_rotors_fail),
    };
    return cmocka_run_group_tests_name("lua", tests, NULL, NULL);
}
