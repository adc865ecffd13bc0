/* WebSockets whose handlers are written in Lua: from the WebSocket's transitions to the table's; declaring
** handlers, upgrading requests, connecting. */
#include <string.h>

#include "lua_http.h"
#include "lua_websocket.h"

const rotor__kind rotor__kind_websocket_handler = {.name = "rotor.websocket.handler"};

enum { OPEN, MESSAGE, MESSAGE_CHUNK, PING, PONG, FLUSHED, TIMEOUT, WAKEUP, CLOSE, DROP };
static const char *const names[] = {"open",    "message", "message_chunk", "ping",  "pong",
                                    "flushed", "timeout", "wakeup",        "close", "drop",
                                    NULL};

_Static_assert(sizeof names / sizeof *names - 1 <= ROTOR__LUA_TRANSITIONS, "room for all");

typedef struct call {
    rotor__lua_websocket *w;
    int which;
    int ref;         /* OPEN: the seed; CLOSE: the same, if `open` was not called */
    rotor_text data; /* of a message, ping or pong; CLOSE: the reason */
    bool is_text, last;
    int code; /* CLOSE */
} call;

/* [-0, +1, m] */
static void push_object(lua_State *D, rotor__lua_websocket *w)
{
    if (!w->object) {
        rotor__websocket_object *object =
            rotor__lua_new(D, &rotor__kind_websocket, sizeof *object, 1);
        rotor__lua_push_self(D, w->class);
        lua_setiuservalue(D, -2, 1);
        w->object_ref = luaL_ref(D, LUA_REGISTRYINDEX);
        w->object = object;
        object->w = w;
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, w->object_ref);
}

static int push_close(lua_State *D, const call *c)
{
    int error = rotor_websocket_error(&c->w->ws);
    lua_pushinteger(D, c->code);
    lua_pushlstring(D, c->data.data, c->data.len);
    if (error)
        lua_pushstring(D, rotor_err_name(error));
    else
        lua_pushnil(D);
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
    return 4;
}

static int push_arguments(lua_State *D, const call *c)
{
    switch (c->which) {
    case OPEN:
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 1;
    case MESSAGE:
    case MESSAGE_CHUNK:
        lua_pushlstring(D, c->data.data, c->data.len);
        lua_pushstring(D, c->is_text ? "text" : "binary");
        lua_pushboolean(D, c->last);
        return c->which == MESSAGE ? lua_pop(D, 1), 2 : 3;
    case PING:
    case PONG:
        lua_pushlstring(D, c->data.data, c->data.len);
        return 1;
    case CLOSE:
        return push_close(D, c);
    default:
        return 0;
    }
}

static int run(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    rotor__lua_websocket *w = c->w;
    rotor__lua_push_transition(D, w->class, c->which);
    push_object(D, w);
    lua_getiuservalue(D, -1, 1);
    lua_insert(D, -2);
    lua_call(D, 2 + push_arguments(D, c), 1);
    if (c->which == CLOSE || c->which == DROP)
        return 0;
    if (!rotor__lua_is_token(D, -1, w, w->intents))
        return rotor__lua_no_verdict(
            D, w->class, c->which,
            "what ws:expect_message, expect_flush, and_flush, sleep, same, "
            "done, close, abort or error does");
    return 0;
}

static int call_it(const call *c)
{
    rotor__lua_websocket *w = c->w;
    w->asked = c->which < CLOSE;
    w->intents = 0;
    int error = rotor__lua_run(w->ll, run, (void *)c, w->class->title, names[c->which]);
    w->asked = false;
    return error;
}

static rotor_intent transition(const call *c)
{
    rotor__lua_websocket *w = c->w;
    int error = call_it(c);
    if (error)
        return rotor_intent_error(error);
    if (w->intent.kind == ROTOR_INTENT_ERROR) { /* ws:error(value) */
        lua_rawgeti(w->ll->vm->D, LUA_REGISTRYINDEX, w->error_ref);
        rotor__lua_report(w->ll, w->class->title, names[c->which]);
    }
    return w->intent;
}

static void init(rotor__lua_websocket *w)
{
    w->ll = rotor_loop_context(w->ws.stream.machine.loop);
    w->class = (rotor__lua_class *)((char *)w->ws.stream.protocol -
                                    offsetof(rotor__lua_class, websocket.protocol));
    w->object_ref = w->error_ref = LUA_NOREF;
}

static void release(rotor__lua_websocket *w)
{
    lua_State *D = w->ll->vm->D;
    if (w->object)
        w->object->w = NULL; /* whoever still holds the object finds it closed */
    luaL_unref(D, LUA_REGISTRYINDEX, w->object_ref);
    luaL_unref(D, LUA_REGISTRYINDEX, w->error_ref);
}

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *data)
{
    rotor__lua_websocket *w = (rotor__lua_websocket *)ws;
    const rotor__lua_seed *seed = data;
    init(w);
    w->class->uses++; /* as the seed, which has retained it, goes */
    if (!rotor__lua_has(w->class, OPEN))
        return rotor_expect_message();
    return transition(&(call){.w = w, .which = OPEN, .ref = seed->ref});
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    return transition(&(call){
        .w = (rotor__lua_websocket *)ws, .which = MESSAGE, .data = data, .is_text = is_text});
}

static rotor_intent on_chunk(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text,
                             bool last)
{
    return transition(&(call){.w = (rotor__lua_websocket *)ws,
                              .which = MESSAGE_CHUNK,
                              .data = data,
                              .is_text = is_text,
                              .last = last});
}

static rotor_intent on_ping(rotor_websocket *ws, rotor_scope *scope, rotor_text data)
{
    return transition(&(call){.w = (rotor__lua_websocket *)ws, .which = PING, .data = data});
}

static rotor_intent on_pong(rotor_websocket *ws, rotor_scope *scope, rotor_text data)
{
    return transition(&(call){.w = (rotor__lua_websocket *)ws, .which = PONG, .data = data});
}

static rotor_intent on_flushed(rotor_websocket *ws, rotor_scope *scope)
{
    rotor__lua_websocket *w = (rotor__lua_websocket *)ws;
    if (rotor__lua_has(w->class, FLUSHED))
        return transition(&(call){.w = w, .which = FLUSHED});
    rotor__lua_report_error(w->ll, w->class->title, ROTOR_EUNEXPECTED, "flushed");
    return rotor_intent_error(ROTOR_ELUA);
}

static rotor_intent on_timeout(rotor_websocket *ws, rotor_scope *scope)
{
    return transition(&(call){.w = (rotor__lua_websocket *)ws, .which = TIMEOUT});
}

static rotor_intent on_wakeup(rotor_websocket *ws, rotor_scope *scope)
{
    return transition(&(call){.w = (rotor__lua_websocket *)ws, .which = WAKEUP});
}

/* There is no connection, and never was a WebSocket: `close` is all that is told. */
static void on_failed(rotor__lua_websocket *w, call *c)
{
    const rotor__lua_seed *seed = rotor_websocket_seed_left(&w->ws);
    char peer[ROTOR_ADDRESS_SIZE];
    init(w);
    c->ref = seed->ref;
    if (rotor__lua_has(w->class, CLOSE)) {
        (void)call_it(c);
    } else {
        int unknown = rotor_stream_peer(&w->ws.stream, peer, sizeof peer);
        rotor__lua_report_error(w->ll, w->class->title, rotor_websocket_error(&w->ws),
                                unknown ? NULL : peer);
    }
    release(w);
    w->object = NULL;
    w->object_ref = w->error_ref = LUA_NOREF;
}

static void on_close(rotor_websocket *ws, int code, rotor_text reason)
{
    rotor__lua_websocket *w = (rotor__lua_websocket *)ws;
    call c = {.w = w, .which = CLOSE, .data = reason, .code = code, .ref = LUA_NOREF};
    if (!w->class)
        on_failed(w, &c);
    else if (rotor__lua_has(w->class, CLOSE))
        (void)call_it(&c);
}

static void on_drop(rotor_websocket *ws)
{
    rotor__lua_websocket *w = (rotor__lua_websocket *)ws;
    if (rotor__lua_has(w->class, DROP))
        (void)call_it(&(call){.w = w, .which = DROP});
    release(w);
    rotor__lua_release(w->ll, w->class);
}

/* -- declaring --------------------------------------------------------------------------------- */

/* [-0, +0, v] An option in seconds, or false: never. */
static uint32_t option_ms(lua_State *L, int index, const char *name)
{
    bool never = false;
    if (!lua_isnoneornil(L, index)) {
        never = lua_getfield(L, index, name) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return never ? ROTOR_WEBSOCKET_NEVER : rotor__lua_option_ms(L, index, name);
}

/* [-0, +1, e] websocket_handler(name, transitions[, options]) */
static int l_handler(lua_State *L)
{
    static const char *const known[] = {"max_message",   "max_fragments", "ping_interval",
                                        "pong_timeout",  "close_timeout", "high_water",
                                        "stall_timeout", "turns",         NULL};
    rotor_websocket_handler h = {.protocol = ROTOR_WEBSOCKET_PROTOCOL(NULL, rotor__lua_websocket),
                                 .open = on_open,
                                 .flushed = on_flushed,
                                 .close = on_close,
                                 .drop = on_drop};
    lua_settop(L, 3);
    rotor__lua_check_options(L, 3, known);
    h.max_message = (uint64_t)rotor__lua_option(L, 3, "max_message", 1, LUA_MAXINTEGER);
    h.max_fragments = (uint32_t)rotor__lua_option(L, 3, "max_fragments", 1, UINT32_MAX);
    h.ping_ms = option_ms(L, 3, "ping_interval");
    h.pong_ms = option_ms(L, 3, "pong_timeout");
    h.close_ms = option_ms(L, 3, "close_timeout");
    h.protocol.high_water = (size_t)rotor__lua_option(L, 3, "high_water", 1, 1 << 30);
    h.protocol.stall_ms = rotor__lua_option_ms(L, 3, "stall_timeout");
    h.protocol.turns = (uint32_t)rotor__lua_option(L, 3, "turns", 1, 1 << 20);
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_websocket_handler, names);
    h.protocol.name = class->title;
    h.message = rotor__lua_has(class, MESSAGE) ? on_message : NULL;
    h.message_chunk = rotor__lua_has(class, MESSAGE_CHUNK) ? on_chunk : NULL;
    h.ping = rotor__lua_has(class, PING) ? on_ping : NULL;
    h.pong = rotor__lua_has(class, PONG) ? on_pong : NULL;
    h.timeout = rotor__lua_has(class, TIMEOUT) ? on_timeout : NULL;
    h.wakeup = rotor__lua_has(class, WAKEUP) ? on_wakeup : NULL;
    class->websocket = h;
    return 1;
}

/* -- upgrading and connecting ------------------------------------------------------------------ */

/* [-0, +1, e] The strings of the option `name`, up to a NULL: one, or a list of them; NULL: it is absent. What
** is pushed keeps them. */
static const char **check_list(lua_State *L, int index, const char *name)
{
    int type = lua_isnoneornil(L, index) ? LUA_TNIL : lua_getfield(L, index, name);
    if (type == LUA_TNIL) {
        lua_settop(L, lua_gettop(L) - !lua_isnoneornil(L, index));
        lua_pushnil(L);
        return NULL;
    }
    if (type == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
    } else if (type != LUA_TTABLE) {
        luaL_error(L, "option '%s': a string or a list of strings expected, got %s", name,
                   luaL_typename(L, -1));
    }
    size_t n = lua_rawlen(L, -1);
    const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 1);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        int is_string = lua_rawgeti(L, -2, (lua_Integer)i + 1) == LUA_TSTRING;
        list[i] = is_string ? lua_tolstring(L, -1, &len) : NULL;
        if (!is_string || strlen(list[i]) != len)
            luaL_error(L, "option '%s': a list of strings without NULs expected", name);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    return list;
}

/* [-0, +1, e] The headers of the options, as name, value, …, up to a NULL. */
static const char **check_headers(lua_State *L, int index)
{
    int type = lua_isnoneornil(L, index) ? LUA_TNIL : lua_getfield(L, index, "headers");
    if (type == LUA_TNIL) {
        lua_settop(L, lua_gettop(L) - !lua_isnoneornil(L, index));
        lua_pushnil(L);
        return NULL;
    }
    if (type != LUA_TTABLE)
        luaL_error(L, "option 'headers': a table expected, got %s", luaL_typename(L, -1));
    int table = lua_gettop(L), kept = table + 1, made = table + 2;
    size_t n = 0, i = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        n++;
    lua_newtable(
        L); /* keeps the values, which may be numbers made strings; the caller's, the names */
    const char **list = lua_newuserdatauv(L, (2 * n + 1) * sizeof *list, 1);
    for (lua_pushnil(L); lua_next(L, table);) {
        size_t len[2];
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
            luaL_error(L, "option 'headers': names and values that are strings expected");
        list[2 * i] = lua_tolstring(L, -2, &len[0]);
        list[2 * i + 1] = lua_tolstring(L, -1, &len[1]);
        if (strlen(list[2 * i]) != len[0] || strlen(list[2 * i + 1]) != len[1])
            luaL_error(L, "option 'headers': a NUL in '%s'", list[2 * i]);
        lua_rawseti(L, kept, (lua_Integer)++i);
    }
    list[2 * n] = NULL;
    lua_pushvalue(L, kept);
    lua_setiuservalue(L, made, 1);
    lua_replace(L, table);
    lua_pop(L, 1);
    return list;
}

/* [-0, +0, e] A seed for the handler at `index`, with the value in the options behind it. */
static rotor__lua_seed *new_seed(lua_State *L, rotor__lua_loop *ll, int index)
{
    if (lua_isnoneornil(L, index + 1))
        lua_pushnil(L);
    else
        lua_getfield(L, index + 1, "seed");
    return rotor__lua_new_seed(L, ll, index);
}

/* [-0, +1 or 3, e] websocket_upgrade(req, res, handler[, options]) */
static int l_upgrade(lua_State *L)
{
    static const char *const known[] = {"origins", "protocols", "seed", NULL};
    rotor_http *h = rotor__lua_check_request(L, 1);
    if (h != rotor__lua_check_response(L, 2))
        luaL_argerror(L, 2, "the response to that request expected");
    rotor__lua_class *class = rotor__lua_check(L, 3, &rotor__kind_websocket_handler);
    rotor__lua_check_options(L, 4, known);
    lua_settop(L, 4);
    rotor_websocket_options options = {.release = rotor__lua_free_seed};
    options.protocols = check_list(L, 4, "protocols");
    options.origins = check_list(L, 4, "origins");
    rotor__lua_loop *ll = ((rotor__exchange_object *)lua_touserdata(L, 1))->ll;
    if (!h)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    rotor__lua_seed *seed = new_seed(L, ll, 3);
    options.seed = seed;
    int error = rotor_websocket_upgrade(h, &class->websocket, &options);
    if (error)
        rotor__lua_free_seed(seed);
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "the request was answered before; it is answered once");
    return rotor__lua_result(L, error);
}

/* [-0, +1 or 3, e] websocket_connect([loop,] url, handler[, options]) */
static int l_connect(lua_State *L)
{
    static const char *const known[] = {"address",   "delay", "headers", "keepalive",
                                        "protocols", "seed",  "timeout", NULL};
    int a = rotor__lua_args(L);
    const char *url = rotor__lua_check_address(L, a);
    rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_websocket_handler);
    rotor__lua_check_options(L, a + 2, known);
    lua_settop(L, a + 2);
    rotor_websocket_connect_options options = {.release = rotor__lua_free_seed};
    options.timeout_ms = rotor__lua_option_ms(L, a + 2, "timeout");
    options.delay = rotor__lua_option_bool(L, a + 2, "delay");
    options.keepalive_s = (uint32_t)rotor__lua_option(L, a + 2, "keepalive", 1, 32767);
    if (!lua_isnil(L, a + 2) && lua_getfield(L, a + 2, "address") != LUA_TNIL)
        options.address = rotor__lua_check_address(L, -1);
    options.protocols = check_list(L, a + 2, "protocols");
    options.headers = check_headers(L, a + 2);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    rotor__lua_seed *seed = new_seed(L, ll, a + 1);
    rotor_handle handle;
    options.seed = seed;
    int error = rotor_websocket_connect(ll->loop, url, &class->websocket, &options, &handle);
    if (error)
        rotor__lua_free_seed(seed);
    if (error == ROTOR_EHEADER)
        return luaL_error(L, "option 'headers': %s", rotor_strerror(error));
    if (error == UV_EINVAL)
        return luaL_error(L, "option 'protocols': tokens expected, and none of them twice");
    return rotor__lua_opened(
        L, ll, options.address && error == ROTOR_EADDRESS ? options.address : url, error, handle);
}

static const luaL_Reg handler_meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"websocket_handler", l_handler},
                                     {"websocket_upgrade", l_upgrade},
                                     {"websocket_connect", l_connect},
                                     {NULL, NULL}};

void rotor__lua_open_websocket(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_websocket_handler, NULL, handler_meta);
    luaL_setfuncs(L, functions, 0);
    rotor__lua_open_websocket_object(L);
}
