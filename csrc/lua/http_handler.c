/* HTTP handlers that are tables of transitions: from the connection's to the table's. */
#include "lua_http.h"

const rotor__kind rotor__kind_handler = {.name = "rotor.http.handler"};

enum {
    HEADERS_RECEIVED,
    REQUEST_RECEIVED,
    REQUEST_CHUNK,
    REQUEST_END,
    FLUSHED,
    WAKEUP,
    TIMEOUT,
    HANGUP,
    BAD_REQUEST,
    ERROR_PAGE,
    REQUEST_OVER
};
static const char *const names[] = {"headers_received", "request_received", "request_chunk",
                                    "request_end",      "flushed",          "wakeup",
                                    "timeout",          "hangup",           "bad_request",
                                    "error_page",       "request_over",     NULL};

_Static_assert(sizeof names / sizeof *names - 1 <= ROTOR__LUA_TRANSITIONS, "room for all");

typedef struct call {
    rotor_http *h;
    rotor__lua_server *server;
    rotor__lua_exchange *e;
    int which;
    rotor_text data; /* REQUEST_CHUNK */
    int code;        /* BAD_REQUEST: the error; ERROR_PAGE: the status */
    const char *why; /* ERROR_PAGE */
} call;

static const char *wanted(int which)
{
    return which == HEADERS_RECEIVED ? "what req:buffered, progressive, hold, done or error does"
                                     : "what req:ok, hold, and_flush, same, done or error does";
}

static bool returns_nothing(int which)
{
    return which >= BAD_REQUEST;
}

/* [-0, +3, m] self, req, res */
static void push_objects(lua_State *D, const call *c)
{
    rotor__lua_exchange *e = c->e;
    rotor__lua_loop *ll = c->server->ll;
    if (e->self == LUA_NOREF) {
        rotor__lua_push_self(D, c->server->class);
        e->self = luaL_ref(D, LUA_REGISTRYINDEX);
    }
    if (e->request == LUA_NOREF) {
        rotor__lua_new_exchange_object(D, &rotor__kind_request, ll, c->h);
        e->request = luaL_ref(D, LUA_REGISTRYINDEX);
    }
    if (e->response == LUA_NOREF) {
        rotor__lua_new_exchange_object(D, &rotor__kind_response, ll, c->h);
        e->response = luaL_ref(D, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->self);
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->request);
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->response);
}

/* [-0, +n, m] Returns n, at most 2. */
static int push_more(lua_State *D, const call *c)
{
    switch (c->which) {
    case REQUEST_CHUNK:
        lua_pushlstring(D, c->data.data, c->data.len);
        return 1;
    case BAD_REQUEST:
        lua_pushstring(D, rotor_err_name(c->code));
        lua_pushstring(D, rotor_strerror(c->code));
        return 2;
    case ERROR_PAGE:
        lua_pushinteger(D, c->code);
        lua_pushstring(D, c->why);
        return 2;
    default:
        return 0;
    }
}

static int run(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    rotor__lua_exchange *e = c->e;
    rotor__lua_push_transition(D, c->server->class, c->which);
    push_objects(D, c);
    if (c->which == REQUEST_OVER)
        ((rotor__exchange_object *)lua_touserdata(D, -2))->over = c->h;
    lua_call(D, 3 + push_more(D, c), 1);
    if (returns_nothing(c->which))
        return 0;
    bool fits = e->asked == ROTOR__ASKED_EITHER ||
                (e->asked == ROTOR__ASKED_RECEIVE) == (c->which == HEADERS_RECEIVED);
    if (!rotor__lua_is_token(D, -1, e, e->answers) || !fits)
        return rotor__lua_no_verdict(D, c->server->class, c->which, wanted(c->which));
    return 0;
}

static int call_it(call *c)
{
    c->server = rotor_http_context(c->h);
    c->e = rotor__lua_exchange_of(c->h);
    if (!c->e)
        return UV_ENOMEM;
    c->e->asking = !returns_nothing(c->which);
    c->e->answers = 0;
    int error = rotor__lua_run(c->server->ll, run, c, c->server->class->title, names[c->which]);
    c->e->asking = false;
    return error;
}

/* What the handler said by req:error(value) goes where errors go. */
static void report(const call *c)
{
    lua_State *D = c->server->ll->vm->D;
    if (c->e->error == LUA_NOREF)
        return;
    lua_rawgeti(D, LUA_REGISTRYINDEX, c->e->error);
    rotor__lua_report(c->server->ll, c->server->class->title, names[c->which]);
    luaL_unref(D, LUA_REGISTRYINDEX, c->e->error);
    c->e->error = LUA_NOREF;
}

static rotor_response transition(call *c)
{
    int error = call_it(c);
    if (error)
        return rotor_error(error);
    report(c);
    return c->e->response_asked;
}

static rotor_http_receive on_headers_received(rotor_http *h, rotor_scope *scope)
{
    call c = {.h = h, .which = HEADERS_RECEIVED};
    int error = call_it(&c);
    if (error)
        return rotor_http_failed(error);
    report(&c);
    return c.e->receive_asked;
}

static rotor_response on_request_received(rotor_http *h, rotor_scope *scope)
{
    return transition(&(call){.h = h, .which = REQUEST_RECEIVED});
}

static rotor_response on_request_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    return transition(&(call){.h = h, .which = REQUEST_CHUNK, .data = data});
}

static rotor_response on_request_end(rotor_http *h, rotor_scope *scope)
{
    return transition(&(call){.h = h, .which = REQUEST_END});
}

static bool has(rotor_http *h, int which)
{
    const rotor__lua_server *server = rotor_http_context(h);
    return rotor__lua_has(server->class, which);
}

static rotor_response on_flushed(rotor_http *h, rotor_scope *scope)
{
    rotor_response r;
    if (rotor__lua_pump(h, &r))
        return r;
    return has(h, FLUSHED) ? transition(&(call){.h = h, .which = FLUSHED}) : rotor_same();
}

static rotor_response on_wakeup(rotor_http *h, rotor_scope *scope)
{
    rotor_response r;
    if (rotor__lua_pump(h, &r))
        return r;
    return has(h, WAKEUP) ? transition(&(call){.h = h, .which = WAKEUP}) : rotor_same();
}

static rotor_response on_timeout(rotor_http *h, rotor_scope *scope)
{
    return has(h, TIMEOUT) ? transition(&(call){.h = h, .which = TIMEOUT})
                           : rotor__lua_unanswered(h);
}

static rotor_response on_hangup(rotor_http *h, rotor_scope *scope)
{
    return transition(&(call){.h = h, .which = HANGUP});
}

static void on_bad_request(rotor_http *h, rotor_scope *scope, int error)
{
    (void)call_it(&(call){.h = h, .which = BAD_REQUEST, .code = error});
}

static void on_error_page(rotor_http *h, rotor_scope *scope, int status, const char *why)
{
    (void)call_it(&(call){.h = h, .which = ERROR_PAGE, .code = status, .why = why});
}

/* [-0, +0, -] The request has been looked at for the last time. */
static void end_over(rotor__lua_loop *ll, rotor__lua_exchange *e)
{
    lua_State *D = ll->vm->D;
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->request);
    rotor__exchange_object *object = lua_touserdata(D, -1);
    if (object)
        object->over = NULL;
    lua_pop(D, 1);
}

static void on_request_over(rotor_http *h)
{
    const rotor__lua_server *server = rotor_http_context(h);
    if (has(h, REQUEST_OVER))
        (void)call_it(&(call){.h = h, .which = REQUEST_OVER});
    if (*rotor_http_data(h))
        end_over(server->ll, *rotor_http_data(h));
    rotor__lua_free_exchange(server->ll, h);
}

static void set_transitions(rotor__lua_class *class)
{
    class->handler = (rotor_http_handler){
        .name = class->title,
        .headers_received = rotor__lua_has(class, HEADERS_RECEIVED) ? on_headers_received : NULL,
        .request_received = rotor__lua_has(class, REQUEST_RECEIVED) ? on_request_received : NULL,
        .request_chunk = rotor__lua_has(class, REQUEST_CHUNK) ? on_request_chunk : NULL,
        .request_end = rotor__lua_has(class, REQUEST_END) ? on_request_end : NULL,
        .flushed = on_flushed,
        .wakeup = on_wakeup,
        .timeout = on_timeout,
        .hangup = rotor__lua_has(class, HANGUP) ? on_hangup : NULL,
        .bad_request = rotor__lua_has(class, BAD_REQUEST) ? on_bad_request : NULL,
        .error_page = rotor__lua_has(class, ERROR_PAGE) ? on_error_page : NULL,
        .request_over = on_request_over,
    };
}

/* [-0, +1, e] handler(name, transitions) */
static int l_handler(lua_State *L)
{
    set_transitions(rotor__lua_new_class(L, &rotor__kind_handler, names));
    return 1;
}

static const luaL_Reg meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

void rotor__lua_open_handler(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_handler, NULL, meta);
    lua_pushcfunction(L, l_handler);
    lua_setfield(L, -2, "handler");
}
