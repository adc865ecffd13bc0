/* Connections of tasks: connecting, writing, closing. */
#include <string.h>
#include <sys/socket.h>

#include "lua_conn.h"

static int poll_writable(lua_State *L, int index);
static rotor__waits *writable_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {
    {"readable", rotor__conn_poll_readable, rotor__conn_readable_queue},
    {"writable", poll_writable, writable_queue},
    {NULL, NULL, NULL}};
const rotor__kind rotor__kind_conn = {"rotor.task.conn", waitables};

/* -- what the files share ---------------------------------------------------------------------- */

void *rotor__cell_new(lua_State *L, const rotor__kind *kind, rotor__lua_loop *ll, size_t size)
{
    rotor__lua_check_not_closing(L, ll->vm);
    rotor__proxy *proxy = rotor__lua_new(L, kind, sizeof *proxy, 1);
    rotor__cell *cell = lua_newuserdatauv(L, size, 0);
    memset(cell, 0, size);
    cell->ll = ll;
    cell->machine = ROTOR_NO_HANDLE;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, 1);
    cell->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return proxy->cell = cell;
}

void rotor__cell_let_go(void *data)
{
    rotor__cell *cell = data;
    luaL_unref(cell->ll->vm->D, LUA_REGISTRYINDEX, cell->ref);
    cell->ref = LUA_NOREF;
}

void rotor__cell_release(void *data)
{
    if (!((rotor__cell *)data)->begun)
        rotor__cell_let_go(data);
}

rotor__conn *rotor__conn_new(lua_State *L, rotor__lua_loop *ll)
{
    return rotor__cell_new(L, &rotor__kind_conn, ll, sizeof(rotor__conn));
}

int rotor__conn_fail_at(lua_State *L, int error, const char *text)
{
    rotor__lua_fail(L, error);
    lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), text);
    lua_replace(L, -3);
    return 3;
}

rotor__task *rotor__conn_any_task(lua_State *L, const rotor__lua_loop *ll)
{
    rotor__task *t = rotor__task_here(L);
    if (rotor__task_ll(t) != ll)
        luaL_error(L, "a socket of another loop than the task's");
    return t;
}

rotor__lua_loop *rotor__conn_loop(lua_State *L)
{
    const rotor__tasks *tasks = rotor__lua_vm(L)->tasks;
    if (tasks->running || rotor__task_can_wait(L))
        return rotor__task_ll(rotor__task_here(L));
    return rotor__lua_meant(L);
}

/* -- closing ----------------------------------------------------------------------------------- */

/* Nobody uses it any more, in whichever state it is. */
static void leave(rotor__conn *c, bool abort)
{
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    c->closed = true;
    rotor_buf_fini(&c->rest);
    rotor__conn_tell_all(c);
    if (!s || (s->ending && !abort))
        return;
    s->ending = true;
    s->abort = abort;
    if (!c->open || abort) /* of one that closes, no transition would hear */
        (void)rotor_end(s->stream.machine.loop, s->stream.machine.self, 0);
    else
        rotor__conn_wake(s);
}

/* [-0, +1, e] close(): what was written is sent in the background. Idempotent. */
static int conn_close(lua_State *L)
{
    leave(rotor__conn_check(L), false);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] abort(): at once; a TCP peer sees a reset. Idempotent. */
static int conn_abort(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    const rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (s && c->open) {
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(s->stream.io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    leave(c, true);
    lua_pushboolean(L, 1);
    return 1;
}

static int conn_gc(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    if (c)
        leave(c, false);
    return 0;
}

/* -- connecting -------------------------------------------------------------------------------- */

static int push_connected(lua_State *L, const rotor__conn *c)
{
    if (c->error)
        return rotor__conn_fail_at(L, c->error, lua_tostring(L, 1));
    lua_settop(L, 2);
    return 1;
}

/* [address, conn] */
static int connected(lua_State *L, int status, lua_KContext context)
{
    rotor__conn *c = rotor__cell_check(L, 2, &rotor__kind_conn);
    bool unwinds;
    if (!rotor__task_was_completed(L, &unwinds)) {
        leave(c, false);
        return unwinds ? rotor__task_unwind(L) : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    }
    return push_connected(L, c);
}

/* [-0, +1 or 3, e] connect(address[, options]) */
static int l_connect(lua_State *L)
{
    static const char *const known[] = {"timeout", "delay", "keepalive", NULL};
    const char *address = rotor__lua_check_address(L, 1);
    rotor_connect_options options = {0};
    lua_settop(L, 2);
    rotor__lua_check_options(L, 2, known);
    options.timeout_ms = rotor__lua_option_ms(L, 2, "timeout");
    options.delay = rotor__lua_option_bool(L, 2, "delay");
    options.keepalive_s = (uint32_t)rotor__lua_option(L, 2, "keepalive", 1, 32767);
    options.release = rotor__cell_release;
    rotor__task *t = rotor__task_here(L);
    rotor__lua_loop *ll = rotor__task_ll(t);
    rotor__conn *c = options.seed = rotor__conn_new(L, ll);
    lua_replace(L, 2);
    int error = rotor__lua_dial(ll, address, &rotor__conn_protocol, &options, &c->cell.machine);
    if (error) {
        rotor__cell_let_go(c);
        return rotor__conn_fail_at(L, error, address);
    }
    if (c->open || c->error)
        return push_connected(L, c);
    return rotor__task_wait(L, t, &c->reading, 0, ROTOR_NEVER, 0, connected);
}

/* -- writing ----------------------------------------------------------------------------------- */

/* [-0, +3, m] Why nothing can be written. */
static int fail_write(lua_State *L, const rotor__conn *c)
{
    return rotor__lua_fail(L, c->error && !c->closed ? c->error : ROTOR_ECLOSED);
}

static int written(lua_State *L, int status, lua_KContext context)
{
    const rotor__conn *c = rotor__conn_check(L);
    if (!rotor__task_completed(L))
        return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    if (c->closed || !rotor__conn_stream_of(c))
        return fail_write(L, c);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1 or 3, e] write(...) strings and bufs: waits while too much is unsent */
static int conn_write(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    int last = lua_gettop(L);
    size_t len;
    for (int i = 2; i <= last; i++)
        (void)rotor__lua_check_bytes(L, i, &len);
    rotor__task *t = rotor__conn_task(L, c->cell.ll);
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (c->closed || !s)
        return fail_write(L, c);
    for (int i = 2; i <= last; i++) {
        const char *data = rotor__lua_check_bytes(L, i, &len);
        int error = rotor_stream_write(&s->stream, data, len);
        if (error)
            return rotor__lua_fail(L, error);
    }
    if (rotor_stream_unsent(&s->stream) < ROTOR__HIGH_WATER) {
        lua_pushboolean(L, 1);
        return rotor__task_breathe(L, t, 1);
    }
    rotor__conn_wake(s);
    lua_settop(L, 1);
    return rotor__task_wait(L, t, &c->writing, 0, ROTOR_NEVER, 0, written);
}

/* [-0, +1 or 3, e] flush([seconds]): until all that was written is sent */
static int conn_flush(lua_State *L)
{
    rotor__conn *c = rotor__conn_check(L);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__conn_task(L, c->cell.ll);
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (c->closed || !s)
        return fail_write(L, c);
    if (rotor_stream_unsent(&s->stream) == 0) {
        lua_pushboolean(L, 1);
        return rotor__task_breathe(L, t, 1);
    }
    rotor__conn_wake(s);
    return rotor__task_wait(L, t, &c->flushing, 0, rotor__task_deadline(t, ms), 0, written);
}

/* [-0, +1 or 3, e] shutdown(): when all is sent, tell the peer that no more comes */
static int conn_shutdown(lua_State *L)
{
    const rotor__conn *c = rotor__conn_check(L);
    rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (c->closed || !s)
        return fail_write(L, c);
    rotor_stream_shutdown(&s->stream);
    lua_pushboolean(L, 1);
    return 1;
}

static int poll_writable(lua_State *L, int index)
{
    const rotor__conn *c = rotor__cell_check(L, index, &rotor__kind_conn);
    (void)rotor__conn_task(L, c->cell.ll);
    const rotor__conn_stream *s = rotor__conn_stream_of(c);
    if (!c->closed && s && rotor_stream_unsent(&s->stream) >= ROTOR__HIGH_WATER)
        return -1;
    lua_pushboolean(L, 1); /* or writing tells */
    return 1;
}

static rotor__waits *writable_queue(lua_State *L, int index)
{
    rotor__conn *c = rotor__cell_check(L, index, &rotor__kind_conn);
    rotor__conn_wake(rotor__conn_stream_of(c));
    return &c->writing;
}

/* -- looking ----------------------------------------------------------------------------------- */

static int push_address(lua_State *L, int (*get)(const rotor_stream *, char *, size_t))
{
    const rotor__conn *c = rotor__conn_check(L);
    const rotor__conn_stream *s = rotor__conn_stream_of(c);
    char text[ROTOR_ADDRESS_SIZE];
    int error = c->closed || !s ? ROTOR_ECLOSED : get(&s->stream, text, sizeof text);
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

/* [-0, +1 or 3, e] */
static int conn_peer(lua_State *L)
{
    return push_address(L, rotor_stream_peer);
}

/* [-0, +1 or 3, e] */
static int conn_address(lua_State *L)
{
    return push_address(L, rotor_stream_local);
}

/* [-0, +1, e] */
static int conn_closed(lua_State *L)
{
    lua_pushboolean(L, rotor__conn_check(L)->closed);
    return 1;
}

/* [-0, +1, e] unsent(): bytes that were written and are still to be sent */
static int conn_unsent(lua_State *L)
{
    const rotor__conn *c = rotor__conn_check(L);
    const rotor__conn_stream *s = rotor__conn_stream_of(c);
    lua_pushinteger(L, s ? (lua_Integer)rotor_stream_unsent(&s->stream) : 0);
    return 1;
}

static int conn_tostring(lua_State *L)
{
    const rotor__conn *c = rotor__conn_check(L);
    const rotor__conn_stream *s = rotor__conn_stream_of(c);
    char peer[ROTOR_ADDRESS_SIZE];
    if (c->closed || !s || rotor_stream_peer(&s->stream, peer, sizeof peer))
        lua_pushliteral(L, "rotor.task.conn (closed)");
    else
        lua_pushfstring(L, "rotor.task.conn: %s", peer);
    return 1;
}

static const luaL_Reg methods[] = {{"write", conn_write},       {"flush", conn_flush},
                                   {"shutdown", conn_shutdown}, {"close", conn_close},
                                   {"abort", conn_abort},       {"peer", conn_peer},
                                   {"address", conn_address},   {"closed", conn_closed},
                                   {"unsent", conn_unsent},     {NULL, NULL}};

static const luaL_Reg meta[] = {
    {"__gc", conn_gc}, {"__close", conn_close}, {"__tostring", conn_tostring}, {NULL, NULL}};

void rotor__lua_open_task_conn(lua_State *L)
{
    lua_pushcfunction(L, l_connect);
    lua_setfield(L, -2, "connect");
    rotor__lua_kind(L, &rotor__kind_conn, methods, meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_conn);
    lua_getfield(L, -1, "__index");
    luaL_setfuncs(L, rotor__conn_read_methods, 0);
    lua_pop(L, 2);
}
