/* The HTTP client in Lua: clients, what is asked for, and the calls whose responses are futures. Those of
** requesters are in http_call.c. */
#include <math.h>
#include <string.h>

#include "../core/alloc.h"
#include "lua_future.h"
#include "lua_http_client.h"

static const rotor__kind kind_client = {.name = "rotor.http.client"};
static const rotor__kind kind_ask = {.name = "rotor.http.ask"};

/* -- calls that end in a future ---------------------------------------------------------------- */

/* As for servers, see http_serve.c. */
enum { LOW = 16384, HIGH = 65536, PIECES = 64 };

/* What a protected function works on. */
typedef struct working {
    rotor__lua_call *lc;
    rotor_http_call *c;
    rotor_text data;
    int error;
    rotor_future *future; /* that is to be waited for */
    bool ended;
} working;

static rotor__lua_call *of(rotor_http_call *c)
{
    return rotor_http_call_data(c);
}

/* [-0, +1, m] The response: the same table each time, as far as it is known. */
static void push_response(lua_State *L, rotor__lua_call *lc, const rotor_http_call *c)
{
    if (lua_rawgeti(L, LUA_REGISTRYINDEX, lc->response) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 7);
    lua_pushinteger(L, rotor_http_call_status(c));
    lua_setfield(L, -2, "status");
    rotor__lua_push_text(L, rotor_http_call_reason(c));
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, rotor_http_call_minor(c) ? "1.1" : "1.0");
    lua_setfield(L, -2, "version");
    lua_pushstring(L, rotor_http_call_url(c));
    lua_setfield(L, -2, "url");
    rotor__lua_push_fields(L, c, rotor_http_call_header_at);
    lua_setfield(L, -2, "headers");
    lua_pushvalue(L, -1);
    lc->response = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int resolve(lua_State *D)
{
    const working *w = lua_touserdata(D, 1);
    rotor__lua_call *lc = w->lc;
    push_response(D, lc, w->c);
    rotor__lua_push_fields(D, w->c, rotor_http_call_trailer_at);
    lua_setfield(D, -2, "trailers");
    if (lc->on_body == LUA_NOREF) {
        rotor_text body = rotor_http_call_body(w->c);
        lua_pushlstring(D, body.data, body.len);
        lua_setfield(D, -2, "body");
    }
    rotor__lua_box *box = rotor__lua_new_box(D, lc->ll->vm);
    rotor_port *port = lc->port;
    lc->port = NULL;
    (void)rotor_port_set(port, box);
    return 0;
}

/* [-0, +0, m] An error whose message tells the URL, too. */
static rotor__lua_box *box_error(lua_State *L, rotor__vm *vm, int error, const char *url)
{
    const char *name = rotor_err_name(error);
    lua_createtable(L, 2, 0);
    lua_pushfstring(L, "%s: %s (%s)", name, rotor_strerror(error), url);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, name);
    lua_rawseti(L, -2, 2);
    rotor__lua_box *box = rotor__lua_new_box(L, vm);
    box->named = true;
    return box;
}

static int fail(lua_State *D)
{
    const working *w = lua_touserdata(D, 1);
    rotor__lua_call *lc = w->lc;
    rotor__lua_box *box = box_error(D, lc->ll->vm, w->error, rotor_http_call_url(w->c));
    (void)rotor_port_fail_with(lc->port, w->error, box);
    lc->port = NULL;
    return 0;
}

/* [-0, +1, e] A future that has failed. */
static int failed_future(lua_State *L, rotor__lua_loop *ll, int error, const char *url)
{
    rotor__lua_future_object *future = rotor__lua_push_future(L, ll);
    rotor__lua_box *box = box_error(L, ll->vm, error, url);
    rotor_port *port;
    if (rotor_future_new(ll->loop, &future->future, &port, rotor__lua_free_box)) {
        rotor__lua_free_box(box);
        return luaL_error(L, "not enough memory");
    }
    (void)rotor_port_fail_with(port, error, box);
    return 1;
}

static int run(working *w, lua_CFunction fn, const char *what)
{
    return rotor__lua_run(w->lc->ll, fn, w, "http", what);
}

/* What was thrown in Lua has been reported; the future fails with that, and the call ends. */
static rotor_response give_up(rotor_http_call *c, int error)
{
    rotor__lua_call *lc = of(c);
    working w = {.lc = lc, .c = c, .error = error};
    if (lc->port)
        (void)run(&w, fail, NULL);
    return rotor_done();
}

static rotor_http_receive on_headers(rotor_http_call *c, rotor_scope *scope)
{
    const rotor__lua_call *lc = of(c);
    return lc->on_body == LUA_NOREF ? rotor_http_buffered(lc->max)
                                    : rotor_http_progressive(lc->max);
}

static rotor_response on_complete(rotor_http_call *c, rotor_scope *scope)
{
    working w = {.lc = of(c), .c = c};
    int error = run(&w, resolve, NULL);
    return error ? give_up(c, error) : rotor_done();
}

static void on_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    (void)give_up(c, error);
}

static void on_over(rotor_http_call *c)
{
    rotor__lua_free_call(of(c));
}

/* -- functions that take the body, or give it ---------------------------------------------------- */

/* [-0, +0, v] What the function has returned, on top, is a future to wait for: take it. */
static bool take_future(lua_State *D, working *w)
{
    rotor__lua_future_object *object = rotor__lua_test(D, -1, &rotor__kind_future);
    if (!object)
        return false;
    if (!object->future || object->ll != w->lc->ll)
        luaL_error(D, "the function returned a future that %s",
                   object->future ? "is of another loop" : rotor__lua_future_gone);
    w->future = rotor__lua_take_future(object);
    return true;
}

static int call_on_body(lua_State *D)
{
    working *w = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, w->lc->on_body);
    lua_pushlstring(D, w->data.data, w->data.len);
    push_response(D, w->lc, w->c);
    lua_call(D, 2, 1);
    if (!lua_isnil(D, -1) && !take_future(D, w))
        return luaL_error(D,
                          "on_body returned a %s; it returns nothing, or a future that has to be "
                          "resolved before there is more",
                          luaL_typename(D, -1));
    return 0;
}

static rotor_response on_chunk(rotor_http_call *c, rotor_scope *scope, rotor_text data)
{
    rotor__lua_call *lc = of(c);
    working w = {.lc = lc, .c = c, .data = data};
    int error = run(&w, call_on_body, "on_body");
    if (error)
        return give_up(c, error);
    if (!w.future)
        return rotor_ok();
    lc->room = w.future;
    (void)rotor_future_watch(lc->room, rotor_http_call_handle(c));
    return rotor_http_hold(rotor_ok());
}

/* [value] The piece of a body that is on top is written; or the body ends, by nil. */
static void write_piece(lua_State *D, working *w)
{
    rotor_text data;
    w->ended = lua_isnil(D, -1);
    if (w->ended)
        return;
    data.data = lua_tolstring(D, -1, &data.len);
    if (!data.data)
        luaL_error(D,
                   "a function that gives a body returned a %s; it returns a string, a future of "
                   "one, or nil at its end",
                   luaL_typename(D, -1));
    int error = rotor_http_call_write(w->c, data);
    if (error == ROTOR_ECLOSED) /* the server has answered before, and wants no more */
        w->ended = true;
    else if (error)
        luaL_error(D, "%s: %s", rotor_err_name(error), rotor_strerror(error));
}

/* [v] What a future has failed with, of which `n` values are on top. */
static int throw_outcome(lua_State *D, int n)
{
    lua_pop(D, n - 2); /* all but nil and the error */
    return luaL_error(D, "%s", luaL_tolstring(D, -1, NULL));
}

static int ask_for_body(lua_State *D)
{
    working *w = lua_touserdata(D, 1);
    rotor__lua_call *lc = w->lc;
    if (lc->more) {
        int status = rotor_future_status(lc->more);
        int n = rotor__lua_push_outcome(D, status, rotor_future_peek(lc->more));
        rotor_future_drop(lc->more);
        lc->more = NULL;
        if (status)
            return throw_outcome(D, n);
        write_piece(D, w);
        lua_settop(D, 1);
    }
    for (int left = PIECES; left > 0 && !w->ended && rotor_http_call_unsent(w->c) < HIGH; left--) {
        lua_rawgeti(D, LUA_REGISTRYINDEX, lc->e.body);
        lua_call(D, 0, 1);
        if (take_future(D, w))
            return 0;
        write_piece(D, w);
        lua_pop(D, 1);
    }
    if (w->ended) {
        int error = rotor_http_call_finish(w->c);
        if (error && error != ROTOR_ECLOSED)
            return luaL_error(D, "%s: %s", rotor_err_name(error), rotor_strerror(error));
    }
    return 0;
}

static rotor_response pump(rotor_http_call *c)
{
    rotor__lua_call *lc = of(c);
    working w = {.lc = lc, .c = c};
    int error = run(&w, ask_for_body, "body");
    if (error)
        return give_up(c, error);
    rotor_handle self = rotor_http_call_handle(c);
    if (w.ended) {
        luaL_unref(lc->ll->vm->D, LUA_REGISTRYINDEX, lc->e.body);
        lc->e.body = LUA_NOREF;
    } else if (w.future) {
        lc->more = w.future;
        (void)rotor_future_watch(lc->more, self);
    } else if (rotor_http_call_unsent(c) < HIGH) { /* others have their turn */
        (void)rotor_wake(lc->ll->loop, self);
    }
    return rotor_same();
}

static rotor_response on_body_wanted(rotor_http_call *c, rotor_scope *scope)
{
    return of(c)->more || of(c)->e.body == LUA_NOREF ? rotor_same() : pump(c);
}

static int throw_failed_room(lua_State *D)
{
    const working *w = lua_touserdata(D, 1);
    return throw_outcome(D, rotor__lua_push_outcome(D, w->error, rotor_future_peek(w->lc->room)));
}

/* There is room for more of the response, or there will be none. */
static rotor_response end_hold(rotor_http_call *c)
{
    rotor__lua_call *lc = of(c);
    working w = {.lc = lc, .c = c, .error = rotor_future_status(lc->room)};
    if (w.error == UV_EAGAIN)
        return rotor_same();
    int error = w.error ? run(&w, throw_failed_room, "on_body") : 0;
    rotor_future_drop(lc->room);
    lc->room = NULL;
    return error ? give_up(c, error) : rotor_ok();
}

static bool is_ready(const rotor_future *f)
{
    return f && rotor_future_status(f) != UV_EAGAIN;
}

static rotor_response on_wakeup(rotor_http_call *c, rotor_scope *scope)
{
    rotor__lua_call *lc = of(c);
    rotor_response r = rotor_same();
    if (!lc->port || rotor_port_is_canceled(lc->port))
        return rotor_done();
    if (lc->room)
        r = end_hold(c);
    bool more = is_ready(lc->more) ||
                (!lc->more && lc->e.body != LUA_NOREF && rotor_http_call_wants_body(c));
    if (r.kind == ROTOR_DONE || !more)
        return r;
    rotor_response other = pump(c);
    return other.kind == ROTOR_DONE ? other : r;
}

static const rotor_http_requester function = {
    .name = "http",
    .headers_received = on_headers,
    .response_received = on_complete,
    .response_chunk = on_chunk,
    .response_end = on_complete,
    .body_wanted = on_body_wanted,
    .wakeup = on_wakeup,
    .failed = on_failed,
    .call_over = on_over,
};

/* -- what is asked for --------------------------------------------------------------------------- */

static int ask_gc(lua_State *L)
{
    rotor__ask_object *object = rotor__lua_check(L, 1, &kind_ask);
    rotor_http_ask_fini(&object->ask);
    return 0;
}

static const char *const request_options[] = {
    "url",     "method", "headers", "body",    "timeout",  "max_body", "redirects",
    "address", "proxy",  "expect",  "on_body", "streamed", "seed",     NULL};

/* [-0, +0, v] Add the field that is named `name`; its value is on top. */
static void add_header(lua_State *L, rotor_http_ask *ask, rotor_text name)
{
    rotor_text value;
    value.data = lua_tolstring(L, -1, &value.len);
    if (!value.data)
        luaL_error(L, "header '%s': a string expected, got %s", name.data, luaL_typename(L, -1));
    int error = rotor_http_ask_add(ask, name, value);
    if (error)
        luaL_error(L, "header '%s': %s", name.data, rotor_strerror(error));
}

/* [-0, +0, v] headers = { name = value, name = { value, … }, { name, value }, … } */
static void add_headers(lua_State *L, int o, rotor_http_ask *ask)
{
    int type = lua_getfield(L, o, "headers");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(L, "option 'headers': a table expected, got %s", luaL_typename(L, -1));
    int headers = lua_gettop(L);
    lua_pushnil(L);
    while (type == LUA_TTABLE && lua_next(L, headers)) {
        rotor_text name;
        bool many = lua_istable(L, -1), named = lua_type(L, -2) == LUA_TSTRING;
        if (!named && (!many || lua_rawgeti(L, -1, 1) != LUA_TSTRING))
            luaL_error(L, "option 'headers': NAME = VALUE or { NAME, VALUE } expected");
        name.data = lua_tolstring(L, named ? -2 : -1, &name.len);
        if (!many) {
            add_header(L, ask, name);
        } else if (!named) {
            lua_rawgeti(L, -2, 2);
            add_header(L, ask, name);
        } else {
            for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
                add_header(L, ask, name);
                lua_pop(L, 1);
            }
        }
        lua_settop(L, headers + 1);
    }
    lua_settop(L, headers - 1);
}

/* [-0, +0, v] The body, if it is a string, or that there is one. Whether it is a function. */
static bool add_body(lua_State *L, int o, rotor_http_ask *ask)
{
    rotor_text body;
    int error = 0, type = lua_getfield(L, o, "body");
    bool streamed = rotor__lua_option_bool(L, o, "streamed");
    body.data = lua_tolstring(L, -1, &body.len);
    if (type == LUA_TFUNCTION || streamed)
        error = rotor_http_ask_stream(ask, ROTOR_HTTP_NO_LENGTH);
    else if (body.data)
        error = rotor_http_ask_body(ask, body);
    else if (type != LUA_TNIL)
        luaL_error(L, "option 'body': a string or a function expected, got %s",
                   luaL_typename(L, -1));
    if (error)
        luaL_error(L, "option 'body': %s", rotor_strerror(error));
    lua_pop(L, 1);
    return type == LUA_TFUNCTION;
}

/* [-0, +0, v] The address in the option `name`, if there is one. 0 or an error. */
static int set_address(lua_State *L, int o, const char *name, rotor_http_ask *ask)
{
    size_t len;
    int error = 0, type = lua_getfield(L, o, name);
    const char *address = lua_tolstring(L, -1, &len);
    if (type != LUA_TNIL && (!address || strlen(address) != len))
        luaL_error(L, "option '%s': an address expected", name);
    if (address)
        error = rotor_http_ask_address(ask, address);
    lua_pop(L, 1);
    return error;
}

/* [-0, +0, v] */
static uint32_t timeout_option(lua_State *L, int index)
{
    bool none = lua_getfield(L, index, "timeout") == LUA_TNUMBER && lua_tonumber(L, -1) == HUGE_VAL;
    lua_pop(L, 1);
    return none ? UINT32_MAX : rotor__lua_option_ms(L, index, "timeout");
}

/* [-0, +0, v] What the options at `o` say, for the URL at `u` and the method at `m` (or nil), in the object
** on top. 0, or an error of the URL or an address. */
static int check_ask(lua_State *L, int u, int m, int o, rotor_http_ask *ask)
{
    rotor_text url, method = {"GET", 3};
    url.data = lua_tolstring(L, u, &url.len);
    if (!lua_isnil(L, m))
        method.data = lua_tolstring(L, m, &method.len);
    int error = rotor_http_ask_init(ask, method, url);
    if (error == ROTOR_HTTP_EMETHOD)
        luaL_error(L, "option 'method': a token expected, got '%s'", method.data);
    if (error)
        return error;
    ask->timeout_ms = timeout_option(L, o);
    ask->expect_continue = rotor__lua_option_bool(L, o, "expect");
    if (lua_getfield(L, o, "redirects") != LUA_TNIL)
        ask->redirects = (int)rotor__lua_option(L, o, "redirects", 0, 1000);
    lua_pop(L, 1);
    add_headers(L, o, ask);
    error = set_address(L, o, "address", ask);
    if (!error)
        error = set_address(L, o, "proxy", ask);
    ask->absolute = lua_getfield(L, o, "proxy") != LUA_TNIL;
    lua_pop(L, 1);
    return error;
}

/* -- starting ------------------------------------------------------------------------------------ */

static rotor__client_object *usual_client(lua_State *L);

/* [-0, +0, e] Where the arguments begin: behind a client; or, in a function of the module, behind a loop, or
** at 1. */
static int args(lua_State *L)
{
    bool method = lua_toboolean(L, lua_upvalueindex(1));
    if (rotor__lua_test(L, 1, &kind_client) ||
        (!method && rotor__lua_test(L, 1, &rotor__kind_loop)))
        return 2;
    if (method)
        luaL_typeerror(L, 1, kind_client.name);
    return 1;
}

/* [-0, +0, e] With the arguments checked: that client, which must be open. */
static rotor__client_object *meant(lua_State *L)
{
    rotor__client_object *object = rotor__lua_test(L, 1, &kind_client);
    if (!object)
        object = usual_client(L);
    if (!object->ll->loop)
        luaL_error(L, "the loop is closed");
    if (!object->client)
        luaL_error(L, "the client is closed");
    return object;
}

/* [-0, +1, v] The function that is the option `name`, or nil. */
static bool push_function(lua_State *L, int o, const char *name)
{
    int type = lua_getfield(L, o, name);
    if (type != LUA_TFUNCTION && type != LUA_TNIL)
        luaL_error(L, "option '%s': a function expected, got %s", name, luaL_typename(L, -1));
    return type == LUA_TFUNCTION;
}

static const rotor__lua_call no_call = {.e = {.self = LUA_NOREF,
                                              .request = LUA_NOREF,
                                              .response = LUA_NOREF,
                                              .body = LUA_NOREF,
                                              .hangup = LUA_NOREF,
                                              .error = LUA_NOREF},
                                        .seed = LUA_NOREF,
                                        .on_body = LUA_NOREF,
                                        .response = LUA_NOREF};

static void give_back(rotor__lua_call *lc)
{
    lua_State *D = lc->ll->vm->D;
    const int refs[] = {lc->e.self, lc->e.request, lc->e.body,  lc->e.error,
                        lc->seed,   lc->on_body,   lc->response};
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        luaL_unref(D, LUA_REGISTRYINDEX, refs[i]);
    if (lc->class)
        rotor__lua_release(lc->ll, lc->class);
    rotor_port_drop(lc->port);
    rotor_future_drop(lc->more);
    rotor_future_drop(lc->room);
}

void rotor__lua_free_call(rotor__lua_call *lc)
{
    give_back(lc);
    rotor_free(lc);
}

/* [-0, +0, e] A copy of `begun` on the heap. */
static rotor__lua_call *keep_call(lua_State *L, rotor__lua_call *begun)
{
    rotor__lua_call *lc = rotor_alloc(sizeof *lc);
    if (!lc) {
        give_back(begun);
        luaL_error(L, "not enough memory");
    }
    *lc = *begun;
    return lc;
}

/* [-0, +0, v] That something that nobody but a Content-Length speaks of is no body. */
static void check_length(lua_State *L, const rotor_http_ask *ask)
{
    if (ask->has_length && !ask->has_body && ask->length > 0)
        luaL_error(L, "header 'Content-Length': %s", rotor_strerror(ROTOR_EBODY));
}

/* [-0, +1, e] Call what the ask on top says; the options are at `o`. */
static int start_future(lua_State *L, int u, int m, int o)
{
    if (lua_getfield(L, o, "streamed") != LUA_TNIL || lua_getfield(L, o, "seed") != LUA_TNIL)
        return luaL_error(L, "the options streamed and seed are for requesters; a body may be a "
                             "function here");
    uint64_t max = (uint64_t)rotor__lua_option(L, o, "max_body", 1, LUA_MAXINTEGER);
    bool takes = push_function(L, o, "on_body");
    int on_body = lua_gettop(L);
    rotor__ask_object *object = rotor__lua_new(L, &kind_ask, sizeof *object, 0);
    int error = check_ask(L, u, m, o, &object->ask);
    bool gives = !error && add_body(L, o, &object->ask);
    if (!error)
        check_length(L, &object->ask);
    rotor__client_object *client = meant(L);

    if (error)
        return failed_future(L, client->ll, error, lua_tostring(L, u));
    rotor__lua_future_object *future = rotor__lua_push_future(L, client->ll);
    future->asked = true;
    rotor__lua_call begun = no_call;
    begun.ll = client->ll;
    begun.max = max;
    if (takes) {
        lua_pushvalue(L, on_body);
        begun.on_body = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    if (gives) {
        lua_getfield(L, o, "body");
        begun.e.body = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    rotor__lua_call *lc = keep_call(L, &begun);
    rotor_loop *loop = client->ll->loop;
    if (rotor_future_new(loop, &future->future, &lc->port, rotor__lua_free_box)) {
        rotor__lua_free_call(lc);
        return luaL_error(L, "not enough memory");
    }
    rotor_handle handle;
    error = rotor_http_client_call(client->client, &object->ask, &function, lc, &handle);
    if (error) {
        (void)rotor_port_fail(lc->port, error);
        lc->port = NULL;
        rotor__lua_free_call(lc);
    } else {
        (void)rotor_port_watch(lc->port, handle);
    }
    return 1;
}

/* [-0, +1 or 3, e] The same for the requester at `r`: a handle, or the failure. */
static int start_requester(lua_State *L, int r, int u, int m, int o)
{
    if (lua_getfield(L, o, "on_body") != LUA_TNIL || lua_getfield(L, o, "max_body") != LUA_TNIL)
        return luaL_error(L, "the options on_body and max_body are for futures; a requester has "
                             "transitions for that");
    rotor__ask_object *object = rotor__lua_new(L, &kind_ask, sizeof *object, 0);
    int error = check_ask(L, u, m, o, &object->ask);
    if (!error && add_body(L, o, &object->ask))
        return luaL_error(L, "option 'body': a string expected; a requester streams by the option "
                             "streamed and the transition body_wanted");
    if (!error)
        check_length(L, &object->ask);
    rotor__client_object *client = meant(L);
    rotor_handle handle = ROTOR_NO_HANDLE;
    if (!error) {
        rotor__lua_call begun = no_call;
        begun.ll = client->ll;
        lua_getfield(L, o, "seed");
        begun.seed = luaL_ref(L, LUA_REGISTRYINDEX);
        begun.class = rotor__lua_retain(L, r);
        rotor__lua_call *lc = keep_call(L, &begun);
        error = rotor_http_client_call(client->client, &object->ask, &lc->class->requester, lc,
                                       &handle);
        if (error)
            rotor__lua_free_call(lc);
    }
    return rotor__lua_opened(L, client->ll, lua_tostring(L, u), error, handle);
}

/* [-0, +1 or 3, e] request([requester,] options) */
static int l_request(lua_State *L)
{
    int a = args(L);
    bool transitions = rotor__lua_test(L, a, &rotor__kind_requester);
    int o = transitions ? a + 1 : a;
    luaL_checktype(L, o, LUA_TTABLE);
    rotor__lua_check_options(L, o, request_options);
    lua_settop(L, o);
    if (lua_getfield(L, o, "url") != LUA_TSTRING)
        return luaL_error(L, "option 'url': a string expected, got %s", luaL_typename(L, -1));
    int type = lua_getfield(L, o, "method");
    if (type != LUA_TNIL && type != LUA_TSTRING)
        return luaL_error(L, "option 'method': a string expected, got %s", luaL_typename(L, -1));
    return transitions ? start_requester(L, a, o + 1, o + 2, o) : start_future(L, o + 1, o + 2, o);
}

/* [-0, +1, e] get(url[, options]) */
static int l_get(lua_State *L)
{
    int a = args(L);
    luaL_checkstring(L, a);
    lua_settop(L, a + 1);
    rotor__lua_check_options(L, a + 1, request_options);
    if (lua_isnil(L, a + 1)) {
        lua_newtable(L);
        lua_replace(L, a + 1);
    }
    if (lua_getfield(L, a + 1, "url") != LUA_TNIL || lua_getfield(L, a + 1, "method") != LUA_TNIL)
        return luaL_error(L, "get(url, options): the options have no url and no method");
    lua_settop(L, a + 1);
    lua_pushnil(L);
    return start_future(L, a, a + 2, a + 1);
}

/* -- clients ------------------------------------------------------------------------------------- */

/* [-0, +0, v] */
static void check_config(lua_State *L, int o, rotor_http_client_config *config)
{
    static const char *const known[] = {"max_status_line",
                                        "max_head",
                                        "max_fields",
                                        "max_body",
                                        "max_trailers",
                                        "timeout",
                                        "idle_timeout",
                                        "continue_timeout",
                                        "stall_timeout",
                                        "redirects",
                                        "connections",
                                        "connections_per_origin",
                                        "idle",
                                        "idle_per_origin",
                                        NULL};
    rotor__lua_check_options(L, o, known);
    if (lua_isnoneornil(L, o))
        return;
    config->limits.request_line = (uint32_t)rotor__lua_option(L, o, "max_status_line", 16, 1 << 24);
    config->limits.head = (uint32_t)rotor__lua_option(L, o, "max_head", 16, 1 << 24);
    config->limits.fields = (uint32_t)rotor__lua_option(L, o, "max_fields", 1, 1 << 16);
    config->limits.body = (uint64_t)rotor__lua_option(L, o, "max_body", 1, 1 << 30);
    config->limits.trailers = (uint32_t)rotor__lua_option(L, o, "max_trailers", 2, 1 << 24);
    config->timeout_ms = timeout_option(L, o);
    config->idle_ms = rotor__lua_option_ms(L, o, "idle_timeout");
    config->continue_ms = rotor__lua_option_ms(L, o, "continue_timeout");
    config->stall_ms = rotor__lua_option_ms(L, o, "stall_timeout");
    if (lua_getfield(L, o, "redirects") != LUA_TNIL) {
        config->redirects = (int)rotor__lua_option(L, o, "redirects", 0, 1000);
        if (config->redirects == 0)
            config->redirects = -1;
    }
    lua_pop(L, 1);
    config->connections = (uint32_t)rotor__lua_option(L, o, "connections", 1, 1 << 30);
    config->per_origin = (uint32_t)rotor__lua_option(L, o, "connections_per_origin", 1, 1 << 30);
    config->idle = (uint32_t)rotor__lua_option(L, o, "idle", 1, 1 << 30);
    config->idle_per_origin = (uint32_t)rotor__lua_option(L, o, "idle_per_origin", 1, 1 << 30);
}

/* [-0, +1, e] */
static rotor__client_object *new_client(lua_State *L, rotor__lua_loop *ll,
                                        const rotor_http_client_config *config)
{
    rotor__lua_check_not_closing(L, ll->vm);
    rotor__client_object *object = rotor__lua_new(L, &kind_client, sizeof *object, 0);
    object->ll = ll;
    object->client = rotor_http_client_new(ll->loop, config);
    if (!object->client)
        luaL_error(L, "not enough memory");
    return object;
}

/* [-0, +1, e] client([options]) */
int rotor__lua_client(lua_State *L)
{
    int a = rotor__lua_args(L);
    rotor_http_client_config config = {0};
    check_config(L, a, &config);
    new_client(L, rotor__lua_meant(L), &config);
    return 1;
}

/* [-0, +0, e] That of the loop at 1, or of the default loop; it stays as long as the loop. */
static rotor__client_object *usual_client(lua_State *L)
{
    rotor__lua_loop *ll = rotor__lua_meant(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ll->client);
    rotor__client_object *object = rotor__lua_test(L, -1, &kind_client);
    if (!object) {
        object = new_client(L, ll, NULL);
        lua_pushvalue(L, -1);
        ll->client = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return object;
}

/* [-0, +1, e] Also when collected; the calls under way go on. */
static int client_close(lua_State *L)
{
    rotor__client_object *object = rotor__lua_check(L, 1, &kind_client);
    rotor_http_client *client = object->client;
    object->client = NULL;
    if (client)
        rotor_http_client_release(client);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +2, e] connections(): how many, and how many of them are kept for later */
static int client_connections(lua_State *L)
{
    const rotor__client_object *object = rotor__lua_check(L, 1, &kind_client);
    bool open = object->client && object->ll->loop;
    lua_pushinteger(L, open ? (lua_Integer)rotor_http_client_connections(object->client) : 0);
    lua_pushinteger(L, open ? (lua_Integer)rotor_http_client_idle(object->client) : 0);
    return 2;
}

static const luaL_Reg both[] = {{"get", l_get}, {"request", l_request}, {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"close", client_close}, {"connections", client_connections}, {NULL, NULL}};
static const luaL_Reg client_meta[] = {
    {"__gc", client_close}, {"__close", client_close}, {NULL, NULL}};
static const luaL_Reg ask_meta[] = {{"__gc", ask_gc}, {NULL, NULL}};

void rotor__lua_open_client(lua_State *L)
{
    luaL_setfuncs(L, both, 0);
    rotor__lua_kind(L, &kind_ask, NULL, ask_meta);
    rotor__lua_kind(L, &kind_client, methods, client_meta);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kind_client);
    lua_getfield(L, -1, "__index");
    lua_pushboolean(L, 1); /* methods want their client */
    luaL_setfuncs(L, both, 1);
    lua_pop(L, 2);
}
