/* HTTP servers in Lua: what those whose requests one function handles (http_function.c) have in common with
** those of a handler that is a table (http_handler.c). */
#include "../core/alloc.h"
#include "lua_future.h"
#include "lua_http.h"
#include "lua_threads.h"

/* -- bodies that a function gives -------------------------------------------------------------- */

/* A function is asked for more when less than LOW bytes are unsent, until HIGH are, and not more often
** than PIECES times in a row. */
enum { LOW = 16384, HIGH = 65536, PIECES = 64 };

typedef struct pumped {
    rotor_http *h;
    rotor__lua_exchange *e;
    bool ended;
} pumped;

static int ask_for_body(lua_State *D)
{
    pumped *p = lua_touserdata(D, 1);
    for (int left = PIECES; left > 0 && rotor_http_unsent(p->h) < HIGH; left--) {
        rotor_text data;
        lua_rawgeti(D, LUA_REGISTRYINDEX, p->e->body);
        lua_call(D, 0, 1);
        p->ended = lua_isnil(D, -1);
        if (p->ended)
            return 0;
        data.data = lua_tolstring(D, -1, &data.len);
        if (!data.data)
            return luaL_error(D,
                              "a function that gives a body returned a %s; it returns a string, "
                              "or nil at its end",
                              luaL_typename(D, -1));
        int error = rotor_http_write(p->h, data);
        if (error)
            return luaL_error(D, "%s: %s", rotor_err_name(error), rotor_strerror(error));
        lua_pop(D, 1);
    }
    return 0;
}

/* Tasks that wait to write go on together when there is room again. */
static bool wait_for_room(rotor_http *h, rotor__lua_exchange *e, rotor_response *r)
{
    if (e && rotor_http_unsent(h) <= LOW)
        rotor__task_complete_all(&e->writers);
    if (!e || !rotor__waits_first(&e->writers))
        return false;
    *r = rotor_http_and_flush(rotor_ok(), LOW);
    return true;
}

bool rotor__lua_pump(rotor_http *h, rotor_response *r)
{
    const rotor__lua_server *server = rotor_http_context(h);
    rotor__lua_exchange *e = *rotor_http_data(h);
    if (!e || e->body == LUA_NOREF)
        return wait_for_room(h, e, r);
    pumped p = {.h = h, .e = e};
    int error = rotor__lua_run(server->ll, ask_for_body, &p, "http", "body");
    if (!error && p.ended) {
        luaL_unref(server->ll->vm->D, LUA_REGISTRYINDEX, e->body);
        e->body = LUA_NOREF;
        error = rotor_http_finish(h);
    }
    rotor_stream *s = rotor_http_stream(h);
    if (!error && !p.ended && rotor_http_unsent(h) < HIGH) /* others have their turn */
        (void)rotor_wake(s->machine.loop, s->machine.self);
    *r = error     ? rotor_error(error)
         : p.ended ? rotor_done()
                   : rotor_http_and_flush(rotor_ok(), LOW);
    return true;
}

/* -- tasks that write -------------------------------------------------------------------------- */

static int wrote(lua_State *L, int status, lua_KContext context)
{
    (void)rotor__task_completed(L);
    return rotor__lua_result(L, rotor__lua_check_response(L, 1) ? 0 : ROTOR_ECLOSED);
}

int rotor__lua_wrote(lua_State *L, rotor_http *h)
{
    bool may_wait = rotor__task_can_wait(L);
    rotor__task *t = may_wait ? rotor__task_on(L) : NULL;
    bool full = h && rotor_http_unsent(h) > HIGH && may_wait;
    if (t || full)
        t = rotor__task_here(L);
    rotor__lua_exchange *e = full ? rotor__lua_exchange_of(h) : h ? *rotor_http_data(h) : NULL;
    if (full && !e)
        return luaL_error(L, "not enough memory");
    if (full || (e && e->task)) { /* whose time begins anew */
        rotor_stream *s = rotor_http_stream(h);
        (void)rotor_wake(s->machine.loop, s->machine.self);
    }
    if (full)
        return rotor__task_wait(L, t, &e->writers, 0, ROTOR_NEVER, 0, wrote);
    int n = rotor__lua_result(L, h ? 0 : ROTOR_ECLOSED);
    return t ? rotor__task_breathe(L, t, n) : n;
}

/* -- requests that nobody answers -------------------------------------------------------------- */

static int throw_unanswered(lua_State *D)
{
    const rotor_http *h = lua_touserdata(D, 1);
    rotor_text method = rotor_http_method(h), path = rotor_http_path(h);
    lua_pushlstring(D, method.data, method.len);
    lua_pushlstring(D, path.data, path.len);
    return luaL_error(D, "%s %s was not answered in time", lua_tostring(D, -2),
                      lua_tostring(D, -1));
}

/* Most likely a handler that has forgotten to answer, so its author is told. */
rotor_response rotor__lua_unanswered(rotor_http *h)
{
    const rotor__lua_server *server = rotor_http_context(h);
    (void)rotor__lua_run(server->ll, throw_unanswered, h, "http", NULL);
    return rotor__lua_unavailable(h);
}

rotor_response rotor__lua_unavailable(rotor_http *h)
{
    if (rotor_http_is_started(h))
        return rotor_done();
    (void)rotor_http_add_text(h, "Connection", "close");
    (void)rotor_http_add_text(h, "Content-Type", "text/plain");
    int error = rotor_http_send_text(h, 503, "503 Service Unavailable\n");
    return error ? rotor_error(error) : rotor_done();
}

/* -- the log ----------------------------------------------------------------------------------- */

typedef struct logged {
    rotor_http *h;
    const rotor_http_record *record;
    int fn;
} logged;

static void set_text(lua_State *D, const char *name, rotor_text text)
{
    if (!text.data)
        return;
    lua_pushlstring(D, text.data, text.len);
    lua_setfield(D, -2, name);
}

static int call_log(lua_State *D)
{
    const logged *l = lua_touserdata(D, 1);
    const rotor_http_record *record = l->record;
    char remote[ROTOR_ADDRESS_SIZE];
    lua_rawgeti(D, LUA_REGISTRYINDEX, l->fn);
    lua_createtable(D, 0, 12);
    if (rotor_http_method(l->h).len > 0) { /* else it was refused unread */
        set_text(D, "method", rotor_http_method(l->h));
        set_text(D, "target", rotor_http_target(l->h));
        set_text(D, "host", rotor_http_host(l->h));
        set_text(D, "user_agent", rotor_http_header(l->h, "user-agent", 10));
        set_text(D, "referer", rotor_http_header(l->h, "referer", 7));
        lua_pushstring(D, rotor_http_minor(l->h) ? "1.1" : "1.0");
        lua_setfield(D, -2, "version");
    }
    if (rotor_stream_peer(rotor_http_stream(l->h), remote, sizeof remote) == 0) {
        lua_pushstring(D, remote);
        lua_setfield(D, -2, "remote");
    }
    lua_pushinteger(D, record->status);
    lua_setfield(D, -2, "status");
    lua_pushboolean(D, record->whole);
    lua_setfield(D, -2, "whole");
    lua_pushinteger(D, (lua_Integer)record->received);
    lua_setfield(D, -2, "received");
    lua_pushinteger(D, (lua_Integer)record->sent);
    lua_setfield(D, -2, "sent");
    lua_pushnumber(D, (lua_Number)record->ns / 1e9);
    lua_setfield(D, -2, "seconds");
    lua_call(D, 1, 0);
    return 0;
}

static void on_log(rotor_http *h, const rotor_http_record *record)
{
    const rotor__lua_server *server = rotor_http_context(h);
    logged l = {h, record, server->log};
    (void)rotor__lua_run(server->ll, call_log, &l, "http", "log");
}

/* -- serving ----------------------------------------------------------------------------------- */

static void give_back(rotor__lua_server *server)
{
    luaL_unref(server->ll->vm->D, LUA_REGISTRYINDEX, server->log);
    if (server->class)
        rotor__lua_release(server->ll, server->class);
    rotor__lua_free_function(server);
}

static void on_closed(void *server)
{
    give_back(server);
    rotor_free(server);
}

/* [-0, +0, v] The options at `o`. */
static void check_config(lua_State *L, int o, rotor_http_config *config)
{
    static const char *const known[] = {"max_request_line",
                                        "max_head",
                                        "max_fields",
                                        "max_body",
                                        "max_trailers",
                                        "head_timeout",
                                        "body_timeout",
                                        "body_rate",
                                        "idle_timeout",
                                        "handler_timeout",
                                        "stall_timeout",
                                        "pipelined",
                                        "log",
                                        "metrics",
                                        "backlog",
                                        "reuse_port",
                                        "ipv6_only",
                                        "delay",
                                        "keepalive",
                                        "connections",
                                        NULL};
    rotor__lua_check_options(L, o, known);
    config->limits.request_line =
        (uint32_t)rotor__lua_option(L, o, "max_request_line", 16, 1 << 24);
    config->limits.head = (uint32_t)rotor__lua_option(L, o, "max_head", 16, 1 << 24);
    config->limits.fields = (uint32_t)rotor__lua_option(L, o, "max_fields", 1, 1 << 16);
    config->limits.body = (uint64_t)rotor__lua_option(L, o, "max_body", 1, 1 << 30);
    config->limits.trailers = (uint32_t)rotor__lua_option(L, o, "max_trailers", 2, 1 << 24);
    config->head_ms = rotor__lua_option_ms(L, o, "head_timeout");
    config->body_ms = rotor__lua_option_ms(L, o, "body_timeout");
    config->body_rate = (uint32_t)rotor__lua_option(L, o, "body_rate", 1, 1 << 30);
    config->handler_ms = rotor__lua_option_ms(L, o, "handler_timeout");
    config->idle_ms = rotor__lua_option_ms(L, o, "idle_timeout");
    config->stall_ms = rotor__lua_option_ms(L, o, "stall_timeout");
    config->pipelined = (uint32_t)rotor__lua_option(L, o, "pipelined", 1, 1 << 20);
    rotor__lua_listen_options(L, o, &config->listen);
}

/* [-0, +1, v] The function `name` of the options at `o`, or nil. */
static void push_function(lua_State *L, int o, const char *name)
{
    if (lua_isnoneornil(L, o))
        lua_pushnil(L);
    else if (lua_getfield(L, o, name) != LUA_TNIL && lua_type(L, -1) != LUA_TFUNCTION)
        luaL_error(L, "option '%s': a function expected, got %s", name, luaL_typename(L, -1));
}

/* [-0, +0, -] A function, or what is called as one: http.files returns such. */
static bool is_callable(lua_State *L, int index)
{
    if (lua_isfunction(L, index))
        return true;
    int type = luaL_getmetafield(L, index, "__call");
    if (type != LUA_TNIL)
        lua_pop(L, 1);
    return type != LUA_TNIL;
}

/* [-0, +0, e] Of the function or handler at `index`, and the function for the log, or nil, on top. */
static rotor__lua_server *new_server(lua_State *L, rotor__lua_loop *ll, int index)
{
    rotor__lua_server begun = {.ll = ll};
    begun.log = lua_isnil(L, -1) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    begun.function = LUA_NOREF;
    if (is_callable(L, index)) {
        lua_pushvalue(L, index);
        begun.function = luaL_ref(L, LUA_REGISTRYINDEX);
    } else {
        begun.class = rotor__lua_retain(L, index);
    }
    rotor__lua_server *server = rotor_alloc(sizeof *server);
    if (!server) {
        give_back(&begun);
        luaL_error(L, "not enough memory");
    }
    *server = begun;
    return server;
}

/* [-0, +1 or 3, e] serve(address, function(req, res) … end or handler[, options]) */
int rotor__lua_serve(lua_State *L)
{
    int a = rotor__lua_args(L), o = a + 2;
    const char *address = rotor__lua_check_address(L, a);
    rotor__lua_class *class = rotor__lua_test(L, a + 1, &rotor__kind_handler);
    if (!class && !is_callable(L, a + 1))
        luaL_typeerror(L, a + 1, "function or handler");
    const char *failed = NULL;
    rotor_http_config config = {.closed = on_closed, .listen.failed = &failed};
    check_config(L, o, &config);
    bool counted = rotor__lua_option_bool(L, o, "metrics");
    push_function(L, o, "log");
    rotor__lua_loop *ll = rotor__lua_meant(L);
    config.log = lua_isnil(L, -1) ? NULL : on_log;
    config.metrics = counted ? &ll->vm->metrics : NULL;
    rotor__lua_server *server = config.context = new_server(L, ll, a + 1);
    server->place = rotor__task_place(L, ll->vm->tasks);
    rotor_handle handle;
    rotor__share share;
    const char *where = rotor__share_begin(&share, ll->vm, address, config.listen.reuse_port);
    int error = rotor_http_serve(ll->loop, where, class ? &class->handler : &rotor__lua_function,
                                 &config, &handle);
    rotor__share_end(&share, error, error ? NULL : rotor__listener_socket(ll->loop, handle));
    if (error)
        on_closed(server);
    return rotor__lua_listening(L, ll, address, failed, error, handle);
}

/* -- ending ------------------------------------------------------------------------------------ */

typedef struct draining {
    rotor__lua_loop *ll;
    rotor_port *port;
    size_t cut;
} draining;

static int resolve_drained(lua_State *D)
{
    draining *d = lua_touserdata(D, 1);
    lua_pushinteger(D, (lua_Integer)d->cut);
    rotor__lua_box *box = rotor__lua_new_box(D, d->ll->vm);
    rotor_port *port = d->port;
    d->port = NULL;
    (void)rotor_port_set(port, box);
    return 0;
}

static void on_drained(void *context, size_t cut)
{
    draining *d = context;
    d->cut = cut;
    (void)rotor__lua_run(d->ll, resolve_drained, d, "http", "close");
    rotor_port_drop(d->port);
    rotor_free(d);
}

int rotor__lua_drain(lua_State *L, rotor__lua_loop *ll, rotor_handle listener, uint32_t drain_ms)
{
    rotor__lua_future_object *future = rotor__lua_push_future(L, ll);
    draining *d = rotor_alloc_zero(sizeof *d);
    if (!d || rotor_future_new(ll->loop, &future->future, &d->port, rotor__lua_free_box)) {
        rotor_free(d);
        return luaL_error(L, "not enough memory");
    }
    d->ll = ll;
    int error = rotor_http_drain(ll->loop, listener, drain_ms, on_drained, d);
    if (error) {
        rotor_port_drop(d->port);
        rotor_free(d);
    }
    if (error == UV_EINVAL)
        return luaL_error(L, "only what http.serve returned can drain");
    return error ? rotor__lua_fail(L, error) : 1;
}

/* -- counters ---------------------------------------------------------------------------------- */

/* More than all that can be counted takes. */
enum { METRICS_SIZE = 1 << 16 };

/* [-0, +1, m] metrics(): what all servers have counted, for Prometheus. In memory of Lua's, so that it
** is not lost when that runs out. */
static int l_metrics(lua_State *L)
{
    rotor_block *block = lua_newuserdatauv(L, sizeof *block + METRICS_SIZE, 0);
    rotor_buf text = ROTOR_BUF_INIT;
    *block = (rotor_block){.capacity = METRICS_SIZE};
    rotor_buf_lend(&text, block);
    if (rotor_http_metrics_text(&rotor__lua_vm(L)->metrics, &text))
        return luaL_error(L, "not enough memory");
    lua_pushlstring(L, rotor_buf_data(&text), rotor_buf_len(&text));
    return 1;
}

void rotor__lua_open_serve(lua_State *L)
{
    lua_pushcfunction(L, l_metrics);
    lua_setfield(L, -2, "metrics");
}
