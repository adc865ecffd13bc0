/* The request and the response of the HTTP server in Lua.
**
** They are userdata that name the exchange (rotor_http_ref) and look it up at each use: one that is over
** is found to be over, whoever still holds it. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_http.h"

const rotor__kind rotor__kind_request = {.name = "rotor.http.request"};
const rotor__kind rotor__kind_response = {.name = "rotor.http.response"};
static const rotor__kind kind_headers = {.name = "rotor.http.headers"};
static const rotor__kind kind_trailers = {.name = "rotor.http.trailers"};

static rotor_http *find(const rotor__exchange_object *object)
{
    return object->ll->loop ? rotor_http_find(object->ll->loop, object->ref) : NULL;
}

rotor_http *rotor__lua_check_request(lua_State *L, int index)
{
    return find(rotor__lua_check(L, index, &rotor__kind_request));
}

rotor_http *rotor__lua_check_response(lua_State *L, int index)
{
    return find(rotor__lua_check(L, index, &rotor__kind_response));
}

rotor__exchange_object *rotor__lua_new_exchange_object(lua_State *L, const rotor__kind *kind,
                                                       rotor__lua_loop *ll, const rotor_http *h)
{
    rotor__exchange_object *object = rotor__lua_new(L, kind, sizeof *object, 0);
    object->ll = ll;
    object->ref = rotor_http_ref_of(h);
    object->status = 200;
    return object;
}

rotor__lua_exchange *rotor__lua_exchange_of(rotor_http *h)
{
    void **data = rotor_http_data(h);
    if (!*data) {
        rotor__lua_exchange *e = *data = rotor_alloc_zero(sizeof *e);
        if (e)
            e->self = e->request = e->response = e->body = e->hangup = e->error = LUA_NOREF;
    }
    return *data;
}

void rotor__lua_free_exchange(rotor__lua_loop *ll, rotor_http *h)
{
    rotor__lua_exchange *e = *rotor_http_data(h);
    if (!e)
        return;
    lua_State *D = ll->vm->D;
    const int refs[] = {e->self, e->request, e->response, e->body, e->hangup, e->error};
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        luaL_unref(D, LUA_REGISTRYINDEX, refs[i]);
    rotor__task *t = e->task;
    if (t)
        rotor__lua_leave_exchange(h);
    rotor__task_complete_all(&e->writers);
    if (!t)
        rotor_free(e);
    *rotor_http_data(h) = NULL;
}

/* -- the request ------------------------------------------------------------------------------- */

static void push_text(lua_State *L, rotor_text text)
{
    if (text.data)
        lua_pushlstring(L, text.data, text.len);
    else
        lua_pushnil(L);
}

/* A request that is open, or in request_over. */
static const rotor_http *find_seen(const rotor__exchange_object *object)
{
    return object->over ? object->over : find(object);
}

static const char over[] = "the request is over; copy what is needed of it before it is answered";

/* Its headers or trailers. */
typedef struct fields_object {
    rotor__object object;
    const rotor__exchange_object *request; /* which is its uservalue */
} fields_object;

/* [-0, +1, e] The method that index 2 names, if there is one; or else say what there is. */
static int request_method(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    if (!find_seen(lua_touserdata(L, 1)))
        return luaL_error(L, over);
    return luaL_error(L,
                      "a request has no '%s'; it has method, path, query, target, version, host, "
                      "headers, has_body, length, body, trailers and remote",
                      lua_tostring(L, 2));
}

/* [-0, +1, m] The headers or trailers of the request at index 1. */
static void push_fields(lua_State *L, const rotor__kind *kind)
{
    fields_object *fields = rotor__lua_new(L, kind, sizeof *fields, 1);
    fields->request = lua_touserdata(L, 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
}

/* [-0, +1, e] A method, or what is known of the request. */
static int request_index(lua_State *L)
{
    const rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_request);
    const char *name = luaL_checkstring(L, 2);
    const rotor_http *h = find_seen(object);
    if (!h)
        return request_method(L);
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
        push_fields(L, &kind_headers);
    } else if (strcmp(name, "trailers") == 0) {
        push_fields(L, &kind_trailers);
    } else if (strcmp(name, "host") == 0) {
        push_text(L, rotor_http_host(h));
    } else if (strcmp(name, "has_body") == 0) {
        lua_pushboolean(L, rotor_http_has_body(h));
    } else if (strcmp(name, "length") == 0) {
        uint64_t length = rotor_http_body_length(h);
        if (length <= LUA_MAXINTEGER)
            lua_pushinteger(L, (lua_Integer)length);
        else
            lua_pushnil(L);
    } else if (strcmp(name, "target") == 0) {
        push_text(L, rotor_http_target(h));
    } else if (strcmp(name, "version") == 0) {
        lua_pushstring(L, rotor_http_minor(h) ? "1.1" : "1.0");
    } else if (strcmp(name, "remote") == 0) {
        int error = rotor_stream_peer(rotor_http_stream((rotor_http *)h), text, sizeof text);
        lua_pushstring(L, error ? NULL : text);
    } else {
        return request_method(L);
    }
    return 1;
}

/* [-0, +0, v] The i-th field of the headers or trailers at index 1. */
static bool check_field(lua_State *L, size_t i, rotor_text *name, rotor_text *value)
{
    bool trailers = rotor__lua_test(L, 1, &kind_trailers);
    const fields_object *fields = rotor__lua_check(L, 1, trailers ? &kind_trailers : &kind_headers);
    const rotor_http *h = find_seen(fields->request);
    if (!h)
        luaL_error(L, over);
    return trailers ? rotor_http_trailer_at(h, i, name, value)
                    : rotor_http_header_at(h, i, name, value);
}

/* [-0, +1, e] fields[name]: the first value, whatever the case of the name */
static int fields_index(lua_State *L)
{
    rotor_text wanted, name, value = {NULL, 0};
    wanted.data = luaL_checklstring(L, 2, &wanted.len);
    for (size_t i = 0; check_field(L, i, &name, &value); i++) {
        if (name.len == wanted.len && rotor_http_name_equal(name.data, wanted.data, name.len)) {
            push_text(L, value);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

/* [-0, +2, e] The next field; the place is in the closure. */
static int fields_next(lua_State *L)
{
    rotor_text name, value;
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(1));
    if (!check_field(L, (size_t)i, &name, &value))
        return 0;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(1));
    push_text(L, name);
    push_text(L, value);
    return 2;
}

/* [-0, +3, e] for name, value in pairs(fields): in their order, repeated ones, too */
static int fields_pairs(lua_State *L)
{
    rotor_text name, value;
    (void)check_field(L, 0, &name, &value);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, fields_next, 1);
    lua_pushvalue(L, 1);
    return 2;
}

/* [-0, +1, e] on_hangup(fn): to be called when the client leaves while the request waits */
static int request_on_hangup(lua_State *L)
{
    rotor_http *h = rotor__lua_check_request(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (h) {
        rotor__lua_exchange *e = rotor__lua_exchange_of(h);
        if (!e)
            return luaL_error(L, "not enough memory");
        int fn = luaL_ref(L, LUA_REGISTRYINDEX);
        luaL_unref(L, LUA_REGISTRYINDEX, e->hangup);
        e->hangup = fn;
    }
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] handle(): of the connection */
static int request_handle(lua_State *L)
{
    const rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_request);
    rotor__lua_push_handle(L, object->ll, object->ref.stream);
    return 1;
}

/* -- the response ------------------------------------------------------------------------------ */

static int misused(lua_State *L, int error)
{
    return luaL_error(L, "%s: %s", rotor_err_name(error), rotor_strerror(error));
}

/* [-0, +1, e] status(code): of a send() without one */
static int response_status(lua_State *L)
{
    rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_response);
    lua_Integer status = luaL_checkinteger(L, 2);
    luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status from 200 to 599 expected");
    object->status = (int)status;
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] header(name, value) */
static int response_header(lua_State *L)
{
    rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_response);
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

/* [-0, +0, v] The status at index 2, if it is one; *body is where what follows is. */
static int check_status(lua_State *L, const rotor__exchange_object *object, int *body)
{
    lua_Integer status = object->status;
    int type = lua_type(L, 2);
    *body = type == LUA_TNUMBER || type == LUA_TNIL ? 3 : 2;
    if (type == LUA_TNUMBER) {
        status = lua_tointeger(L, 2); /* 0 for a fraction, which is refused, too */
        luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status from 200 to 599 expected");
    }
    return (int)status;
}

/* [-0, +1 or 3, e] What has come of answering. */
static int outcome(lua_State *L, int error)
{
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "the request was answered before; it is answered once");
    if (error == ROTOR_EBODY || error == ROTOR_EUPGRADE || error == UV_EINVAL)
        return misused(L, error);
    return rotor__lua_result(L, error);
}

/* [-0, +1 or 3, e] Answer with what the function at `index` gives, called from the connection's own
** transitions. */
static int send_from(lua_State *L, rotor_http *h, int status, int index)
{
    rotor__lua_exchange *e = rotor__lua_exchange_of(h);
    if (!e)
        return luaL_error(L, "not enough memory");
    lua_pushvalue(L, index);
    int fn = luaL_ref(L, LUA_REGISTRYINDEX);
    int error = rotor_http_start(h, status);
    if (error) {
        luaL_unref(L, LUA_REGISTRYINDEX, fn);
        return outcome(L, error);
    }
    e->body = fn;
    rotor_stream *s = rotor_http_stream(h);
    (void)rotor_wake(s->machine.loop, s->machine.self);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1 or 3, e] send([status,] [body]): a string or buf, or a function that gives one piece after the other */
static int response_send(lua_State *L)
{
    const rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_response);
    int a, status = check_status(L, object, &a);
    bool from = lua_isfunction(L, a);
    rotor_text body;
    body.data = rotor__lua_bytes(L, a, &body.len);
    if (!body.data) {
        if (!from && !lua_isnoneornil(L, a))
            return luaL_typeerror(L, a, "string, buf or function");
        body.len = 0;
    }
    if (a == 2 && !lua_isnoneornil(L, 3))
        luaL_argerror(L, 3, "nothing more expected; a status comes before the body");
    rotor_http *h = find(object);
    if (!h)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    return from ? send_from(L, h, status, a) : outcome(L, rotor_http_send(h, status, body));
}

/* [-0, +1 or 3, e] start([status]): the body follows, by write() and finish() */
static int response_start(lua_State *L)
{
    const rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_response);
    int a, status = check_status(L, object, &a);
    luaL_argcheck(L, lua_isnoneornil(L, a), a, "nothing but a status expected");
    rotor_http *h = find(object);
    return h ? outcome(L, rotor_http_start(h, status)) : rotor__lua_fail(L, ROTOR_ECLOSED);
}

/* [-0, +0, v] Strings and bufs at 2 and behind it, and that the response is in the making. */
static rotor_http *check_writing(lua_State *L)
{
    size_t len;
    (void)rotor__lua_check(L, 1, &rotor__kind_response);
    for (int i = 2; i <= lua_gettop(L); i++)
        (void)rotor__lua_check_bytes(L, i, &len);
    rotor_http *h = rotor__lua_check_response(L, 1); /* not before: finalizers may run */
    if (h && (!rotor_http_is_started(h) || rotor_http_is_sent(h)))
        luaL_error(L, "start() comes before, and finish() ends it");
    return h;
}

static int write_all(lua_State *L, rotor_http *h)
{
    int error = 0, last = lua_gettop(L);
    for (int i = 2; !error && i <= last; i++) {
        rotor_text data;
        data.data = rotor__lua_check_bytes(L, i, &data.len);
        error = rotor_http_write(h, data);
    }
    return error;
}

/* [-0, +1 or 3, e] write(...): some of the body */
static int response_write(lua_State *L)
{
    rotor_http *h = check_writing(L);
    int error = h ? write_all(L, h) : 0;
    return error ? outcome(L, error) : rotor__lua_wrote(L, h);
}

/* [-0, +1 or 3, e] finish(...): the rest of the body */
static int response_finish(lua_State *L)
{
    rotor_http *h = check_writing(L);
    int error = h ? write_all(L, h) : ROTOR_ECLOSED;
    return outcome(L, error ? error : rotor_http_finish(h));
}

/* [-0, +1, e] trailer(name, value) */
static int response_trailer(lua_State *L)
{
    rotor_http *h = rotor__lua_check_response(L, 1);
    rotor_text name, value;
    name.data = luaL_checklstring(L, 2, &name.len);
    value.data = luaL_checklstring(L, 3, &value.len);
    int error = h ? rotor_http_trailer(h, name, value) : 0;
    if (error == ROTOR_EHEADER)
        return luaL_error(L, "trailer '%s': %s", name.data, rotor_strerror(error));
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "trailers are for a body in chunks, between start and finish");
    if (error)
        return misused(L, error);
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] bytes written on the connection that are still to be sent */
static int response_unsent(lua_State *L)
{
    const rotor_http *h = rotor__lua_check_response(L, 1);
    lua_pushinteger(L, h ? (lua_Integer)rotor_http_unsent(h) : 0);
    return 1;
}

/* [-0, +1 or 3, e] upgrade(protocol[, options]): the connection becomes a stream */
static int response_upgrade(lua_State *L)
{
    const rotor__exchange_object *object = rotor__lua_check(L, 1, &rotor__kind_response);
    static const char *const known[] = {"seed", NULL};
    const rotor__lua_class *class = rotor__lua_check(L, 2, &rotor__kind_protocol);
    rotor__lua_start start;
    rotor__lua_check_options(L, 3, known);
    rotor_http *h = find(object);
    if (!h)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    int failure = rotor__lua_begin(L, object->ll, 2, &start);
    if (failure)
        return failure;
    rotor_text method = rotor_http_method(h);
    bool connect = method.len == 7 && memcmp(method.data, "CONNECT", 7) == 0;
    int error = rotor_http_upgrade(h, connect ? 200 : 101, rotor__lua_protocol(class), start.seed,
                                   start.release);
    if (error)
        rotor__lua_cancel(&start);
    return outcome(L, error);
}

/* [-0, +1, e] whether it was sent, or cannot be any more */
static int response_sent(lua_State *L)
{
    rotor_http *h = find(rotor__lua_check(L, 1, &rotor__kind_response));
    lua_pushboolean(L, !h || rotor_http_is_sent(h));
    return 1;
}

static const luaL_Reg request_methods[] = {
    {"on_hangup", request_on_hangup}, {"handle", request_handle}, {NULL, NULL}};
static const luaL_Reg fields_meta[] = {
    {"__index", fields_index}, {"__pairs", fields_pairs}, {NULL, NULL}};
static const luaL_Reg response_methods[] = {{"send", response_send},
                                            {"status", response_status},
                                            {"header", response_header},
                                            {"sent", response_sent},
                                            {"start", response_start},
                                            {"write", response_write},
                                            {"finish", response_finish},
                                            {"trailer", response_trailer},
                                            {"unsent", response_unsent},
                                            {"upgrade", response_upgrade},
                                            {NULL, NULL}};

void rotor__lua_open_http(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_request, NULL, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_request);
    lua_newtable(L);
    luaL_setfuncs(L, request_methods, 0);
    luaL_setfuncs(L, rotor__lua_answers, 0);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    rotor__lua_kind(L, &kind_headers, NULL, fields_meta);
    rotor__lua_kind(L, &kind_trailers, NULL, fields_meta);
    rotor__lua_kind(L, &rotor__kind_response, response_methods, NULL);
}
