/* The HTTP server in Lua: one function handles requests.
**
** A request and its response are two userdata that name the exchange (rotor_http_ref) and look it up at
** each use: one that is over is found to be over, whoever still holds it. Making them anew would cost
** a quarter of the whole answer, so a pair whose request was answered before its handler returned
** serves the next request, too. A pair that somebody may still answer with is never used again. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_private.h"

static const rotor__kind kind_request = {"rotor.http.request"};
static const rotor__kind kind_response = {"rotor.http.response"};
static const rotor__kind kind_headers = {"rotor.http.headers"};

/* A request, its headers, or its response. */
typedef struct exchange_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_http_ref ref;
    int status; /* response: what status() has set */
} exchange_object;

typedef struct lua_server {
    rotor__lua_loop *ll;
    int handler;
    int request_ref, response_ref; /* the pair for the next request; LUA_NOREF: to be made */
    exchange_object *request, *response;
} lua_server;

static rotor_http *find(const exchange_object *object)
{
    return object->ll->loop ? rotor_http_find(object->ll->loop, object->ref) : NULL;
}

/* -- the request ------------------------------------------------------------------------------- */

static void push_text(lua_State *L, rotor_text text)
{
    if (text.data)
        lua_pushlstring(L, text.data, text.len);
    else
        lua_pushnil(L);
}

static rotor_http *check_request(lua_State *L, const rotor__kind *kind)
{
    rotor_http *h = find(rotor__lua_check(L, 1, kind));
    if (!h)
        luaL_error(L, "the request is over; copy what is needed of it before it is answered");
    return h;
}

/* [-0, +1, e] */
static int request_index(lua_State *L)
{
    rotor_http *h = check_request(L, &kind_request);
    const char *name = luaL_checkstring(L, 2);
    char text[sizeof(struct sockaddr_un) + 8];
    if (strcmp(name, "path") == 0) {
        push_text(L, rotor_http_path(h));
    } else if (strcmp(name, "method") == 0) {
        push_text(L, rotor_http_method(h));
    } else if (strcmp(name, "body") == 0) {
        rotor_text body = rotor_http_body(h);
        lua_pushlstring(L, body.data, body.len);
    } else if (strcmp(name, "query") == 0) {
        push_text(L, rotor_http_query(h));
    } else if (strcmp(name, "headers") == 0) {
        const exchange_object *object = lua_touserdata(L, 1);
        exchange_object *headers = rotor__lua_new(L, &kind_headers, sizeof *headers, 0);
        headers->ll = object->ll;
        headers->ref = object->ref;
    } else if (strcmp(name, "target") == 0) {
        push_text(L, rotor_http_target(h));
    } else if (strcmp(name, "version") == 0) {
        lua_pushstring(L, rotor_http_minor(h) ? "1.1" : "1.0");
    } else if (strcmp(name, "remote") == 0) {
        int error = rotor_stream_peer(rotor_http_stream(h), text, sizeof text);
        lua_pushstring(L, error ? NULL : text);
    } else {
        return luaL_error(L,
                          "a request has no '%s'; it has method, path, query, target, version, "
                          "headers, body and remote",
                          name);
    }
    return 1;
}

/* [-0, +1, e] headers[name]: the first value, whatever the case of the name */
static int headers_index(lua_State *L)
{
    size_t len;
    rotor_http *h = check_request(L, &kind_headers);
    const char *name = luaL_checklstring(L, 2, &len);
    push_text(L, rotor_http_header(h, name, len));
    return 1;
}

/* [-0, +2, e] The next field; the place is in the closure. */
static int headers_next(lua_State *L)
{
    rotor_text name, value;
    rotor_http *h = check_request(L, &kind_headers);
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(1));
    if (!rotor_http_header_at(h, (size_t)i, &name, &value))
        return 0;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(1));
    push_text(L, name);
    push_text(L, value);
    return 2;
}

/* [-0, +3, e] for name, value in pairs(headers): in their order, repeated ones, too */
static int headers_pairs(lua_State *L)
{
    check_request(L, &kind_headers);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, headers_next, 1);
    lua_pushvalue(L, 1);
    return 2;
}

/* -- the response ------------------------------------------------------------------------------ */

static int misused(lua_State *L, int error)
{
    return luaL_error(L, "%s: %s", rotor_err_name(error), rotor_strerror(error));
}

/* [-0, +1, e] status(code): of a send() without one */
static int response_status(lua_State *L)
{
    exchange_object *object = rotor__lua_check(L, 1, &kind_response);
    lua_Integer status = luaL_checkinteger(L, 2);
    luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status from 200 to 599 expected");
    object->status = (int)status;
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] header(name, value) */
static int response_header(lua_State *L)
{
    exchange_object *object = rotor__lua_check(L, 1, &kind_response);
    rotor_text name, value;
    name.data = luaL_checklstring(L, 2, &name.len);
    value.data = luaL_checklstring(L, 3, &value.len);
    rotor_http *h = find(object);
    int error = h ? rotor_http_add(h, name, value) : 0; /* a client that left is no misuse */
    if (error == ROTOR_EHEADER)
        return luaL_error(L, "header '%s': %s", name.data, rotor_strerror(error));
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "the request was answered before; headers come before send");
    if (error)
        return misused(L, error);
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1 or 3, e] send([status,] [body]) */
static int response_send(lua_State *L)
{
    exchange_object *object = rotor__lua_check(L, 1, &kind_response);
    lua_Integer status = object->status;
    int type = lua_type(L, 2);
    int a = type == LUA_TNUMBER || type == LUA_TNIL ? 3 : 2;
    if (type == LUA_TNUMBER) {
        status = lua_tointeger(L, 2); /* 0 for a fraction, which is refused, too */
        luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status from 200 to 599 expected");
    }
    rotor_text body;
    body.data = lua_tolstring(L, a, &body.len); /* NULL and 0, if it is none */
    if (!body.data && !lua_isnoneornil(L, a))
        luaL_checkstring(L, a);
    if (a == 2 && !lua_isnoneornil(L, 3))
        luaL_argerror(L, 3, "nothing more expected; a status comes before the body");
    rotor_http *h = find(object);
    if (!h)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    int error = rotor_http_send(h, (int)status, body);
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "the request was answered before; it is answered once");
    if (error == ROTOR_EBODY)
        return misused(L, error);
    return rotor__lua_result(L, error);
}

/* [-0, +1, e] whether it was sent, or cannot be any more */
static int response_sent(lua_State *L)
{
    rotor_http *h = find(rotor__lua_check(L, 1, &kind_response));
    lua_pushboolean(L, !h || rotor_http_is_sent(h));
    return 1;
}

/* -- the server -------------------------------------------------------------------------------- */

static exchange_object *new_exchange(lua_State *D, const rotor__kind *kind, int *ref)
{
    exchange_object *object = rotor__lua_new(D, kind, sizeof *object, 0);
    *ref = luaL_ref(D, LUA_REGISTRYINDEX);
    return object;
}

static int make_pair(lua_State *D)
{
    lua_server *server = lua_touserdata(D, 1);
    if (server->request_ref == LUA_NOREF)
        server->request = new_exchange(D, &kind_request, &server->request_ref);
    server->response = new_exchange(D, &kind_response, &server->response_ref);
    return 0;
}

/* Leave the pair to whoever holds it. */
static void give_pair_away(lua_server *server)
{
    lua_State *D = server->ll->vm->D;
    luaL_unref(D, LUA_REGISTRYINDEX, server->request_ref);
    luaL_unref(D, LUA_REGISTRYINDEX, server->response_ref);
    server->request_ref = server->response_ref = LUA_NOREF;
}

static rotor_response on_request(rotor_http *h, rotor_scope *scope)
{
    lua_server *server = rotor_http_context(h);
    rotor__lua_loop *ll = server->ll;
    lua_State *D = ll->vm->D;
    if (server->response_ref == LUA_NOREF && rotor__lua_run(ll, make_pair, server, "http", NULL))
        return rotor_error(ROTOR_ELUA);
    exchange_object exchange = {.ll = ll, .ref = rotor_http_ref_of(h), .status = 200};
    exchange.object.kind = &kind_request;
    *server->request = exchange;
    exchange.object.kind = &kind_response;
    *server->response = exchange;
    rotor__lua_push_handler(D);
    lua_rawgeti(D, LUA_REGISTRYINDEX, server->handler);
    lua_rawgeti(D, LUA_REGISTRYINDEX, server->request_ref);
    lua_rawgeti(D, LUA_REGISTRYINDEX, server->response_ref);
    int error = rotor__lua_protect(ll, 2, "http", "handler");
    if (!error && rotor_http_is_sent(h))
        return rotor_done();
    give_pair_away(server);
    return error ? rotor_error(error) : rotor_ok();
}

static int throw_unanswered(lua_State *D)
{
    const rotor_http *h = lua_touserdata(D, 1);
    push_text(D, rotor_http_method(h));
    push_text(D, rotor_http_path(h));
    return luaL_error(D, "%s %s was not answered in time", lua_tostring(D, -2),
                      lua_tostring(D, -1));
}

/* Most likely a handler that has forgotten to answer, so its author is told. */
static rotor_response on_timeout(rotor_http *h, rotor_scope *scope)
{
    lua_server *server = rotor_http_context(h);
    (void)rotor__lua_run(server->ll, throw_unanswered, h, "http", NULL);
    (void)rotor_http_add_text(h, "Connection", "close");
    (void)rotor_http_add_text(h, "Content-Type", "text/plain");
    int error = rotor_http_send_text(h, 503, "503 Service Unavailable\n");
    return error ? rotor_error(error) : rotor_done();
}

static const rotor_http_handler handler = {
    .name = "http", .request_received = on_request, .timeout = on_timeout};

static void on_closed(void *context)
{
    lua_server *server = context;
    luaL_unref(server->ll->vm->D, LUA_REGISTRYINDEX, server->handler);
    give_pair_away(server);
    rotor_free(server);
}

/* [-0, +1 or 3, e] serve(address, function(req, res) … end[, options]) */
int rotor__lua_serve(lua_State *L)
{
    static const char *const known[] = {
        "max_request_line", "max_head",   "max_fields",      "max_body",     "head_timeout",
        "body_timeout",     "body_rate",  "handler_timeout", "idle_timeout", "stall_timeout",
        "backlog",          "reuse_port", "ipv6_only",       "delay",        "keepalive",
        "connections",      NULL};
    int a = rotor__lua_args(L);
    int o = a + 2;
    const char *address = rotor__lua_check_address(L, a);
    luaL_checktype(L, a + 1, LUA_TFUNCTION);
    rotor__lua_check_options(L, o, known);
    const char *failed = NULL;
    rotor_http_config config = {.closed = on_closed, .listen.failed = &failed};
    config.limits.request_line = (uint32_t)rotor__lua_option(L, o, "max_request_line", 16, 1 << 24);
    config.limits.head = (uint32_t)rotor__lua_option(L, o, "max_head", 16, 1 << 24);
    config.limits.fields = (uint32_t)rotor__lua_option(L, o, "max_fields", 1, 1 << 16);
    config.limits.body = (uint64_t)rotor__lua_option(L, o, "max_body", 1, 1 << 30);
    config.head_ms = rotor__lua_option_ms(L, o, "head_timeout");
    config.body_ms = rotor__lua_option_ms(L, o, "body_timeout");
    config.body_rate = (uint32_t)rotor__lua_option(L, o, "body_rate", 1, 1 << 30);
    config.handler_ms = rotor__lua_option_ms(L, o, "handler_timeout");
    config.idle_ms = rotor__lua_option_ms(L, o, "idle_timeout");
    config.stall_ms = rotor__lua_option_ms(L, o, "stall_timeout");
    rotor__lua_listen_options(L, o, &config.listen);

    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_pushvalue(L, a + 1);
    int handler_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_server *server = rotor_alloc_zero(sizeof *server);
    if (!server) {
        luaL_unref(L, LUA_REGISTRYINDEX, handler_ref);
        return luaL_error(L, "not enough memory");
    }
    server->ll = ll;
    server->handler = handler_ref;
    server->request_ref = server->response_ref = LUA_NOREF;
    config.context = server;
    rotor_handle handle;
    int error = rotor_http_serve(ll->loop, address, &handler, &config, &handle);
    if (error)
        on_closed(server);
    return rotor__lua_listening(L, ll, address, failed, error, handle);
}

static const luaL_Reg request_meta[] = {{"__index", request_index}, {NULL, NULL}};
static const luaL_Reg headers_meta[] = {
    {"__index", headers_index}, {"__pairs", headers_pairs}, {NULL, NULL}};
static const luaL_Reg response_methods[] = {{"send", response_send},
                                            {"status", response_status},
                                            {"header", response_header},
                                            {"sent", response_sent},
                                            {NULL, NULL}};

void rotor__lua_open_http(lua_State *L)
{
    rotor__lua_kind(L, &kind_request, NULL, request_meta);
    rotor__lua_kind(L, &kind_headers, NULL, headers_meta);
    rotor__lua_kind(L, &kind_response, response_methods, NULL);
}
