/* The HTTP client's requesters in Lua: tables of transitions, and the call that these are told of. */
#include <string.h>

#include "lua_http_client.h"

const rotor__kind rotor__kind_requester = {.name = "rotor.http.requester"};
const rotor__kind rotor__kind_call = {.name = "rotor.http.call"};
static const rotor__kind kind_fields = {.name = "rotor.http.headers"};

/* -- fields -------------------------------------------------------------------------------------- */

void rotor__lua_push_text(lua_State *L, rotor_text text)
{
    if (text.data)
        lua_pushlstring(L, text.data, text.len);
    else
        lua_pushnil(L);
}

/* A copy, so that it is good for ever: of each field its name and its value, one behind the other. */
typedef struct fields_object {
    rotor__object object;
    size_t n;
    const char *text; /* behind the spans */
    rotor_http_field fields[];
} fields_object;

static rotor_http_span copy(char **p, char *text, rotor_text from)
{
    rotor_http_span span = {(uint32_t)(*p - text), (uint32_t)from.len};
    memcpy(*p, from.data, from.len);
    *p += from.len;
    return span;
}

void rotor__lua_push_fields(lua_State *L, const rotor_http_call *c, rotor__lua_field_at *at)
{
    rotor_text name, value;
    size_t n = 0, size = 0;
    for (; at(c, n, &name, &value); n++)
        size += name.len + value.len;
    size_t spans = n * sizeof(rotor_http_field);
    fields_object *object = rotor__lua_new(L, &kind_fields, sizeof *object + spans + size, 0);
    char *text = (char *)object->fields + spans, *p = text;
    object->text = text;
    for (object->n = 0; object->n < n; object->n++) {
        rotor_http_field *field = &object->fields[object->n];
        (void)at(c, object->n, &name, &value);
        field->name = copy(&p, text, name);
        field->value = copy(&p, text, value);
    }
}

static rotor_text text_of(const fields_object *object, rotor_http_span span)
{
    return (rotor_text){object->text + span.at, span.len};
}

/* [-0, +1, e] fields[name]: the first value, whatever the case of the name */
static int fields_index(lua_State *L)
{
    const fields_object *object = rotor__lua_check(L, 1, &kind_fields);
    rotor_text wanted;
    wanted.data = luaL_checklstring(L, 2, &wanted.len);
    for (size_t i = 0; i < object->n; i++) {
        rotor_text name = text_of(object, object->fields[i].name);
        if (name.len == wanted.len && rotor_http_name_equal(name.data, wanted.data, name.len)) {
            rotor__lua_push_text(L, text_of(object, object->fields[i].value));
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

/* [-0, +2, e] The next field; the place is in the closure. */
static int fields_next(lua_State *L)
{
    const fields_object *object = rotor__lua_check(L, 1, &kind_fields);
    size_t i = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    if (i >= object->n)
        return 0;
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_replace(L, lua_upvalueindex(1));
    rotor__lua_push_text(L, text_of(object, object->fields[i].name));
    rotor__lua_push_text(L, text_of(object, object->fields[i].value));
    return 2;
}

/* [-0, +2, e] for name, value in pairs(fields): in their order, repeated ones, too */
static int fields_pairs(lua_State *L)
{
    (void)rotor__lua_check(L, 1, &kind_fields);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, fields_next, 1);
    lua_pushvalue(L, 1);
    return 2;
}

/* -- transitions --------------------------------------------------------------------------------- */

enum {
    HEADERS_RECEIVED,
    INFORMATIONAL,
    REDIRECTED,
    RESPONSE_RECEIVED,
    RESPONSE_CHUNK,
    RESPONSE_END,
    BODY_WANTED,
    WAKEUP,
    TIMEOUT,
    FAILED,
    CALL_OVER
};
static const char *const names[] = {
    "headers_received", "informational", "redirected",  "response_received",
    "response_chunk",   "response_end",  "body_wanted", "wakeup",
    "timeout",          "failed",        "call_over",   NULL};

_Static_assert(sizeof names / sizeof *names - 1 <= ROTOR__LUA_TRANSITIONS, "room for all");

typedef struct calling {
    rotor_http_call *c;
    rotor__lua_call *lc;
    int which;
    rotor_text data; /* RESPONSE_CHUNK */
    int error;       /* FAILED */
} calling;

static bool returns_nothing(int which)
{
    return which >= FAILED;
}

/* [-0, +2, m] self, call */
static rotor__call_object *push_objects(lua_State *D, const calling *k)
{
    rotor__lua_call *lc = k->lc;
    if (lc->e.self == LUA_NOREF) {
        rotor__lua_push_self(D, lc->class);
        lc->e.self = luaL_ref(D, LUA_REGISTRYINDEX);
    }
    if (lc->e.request == LUA_NOREF) {
        rotor__call_object *object = rotor__lua_new(D, &rotor__kind_call, sizeof *object, 0);
        object->ll = lc->ll;
        object->handle = rotor_http_call_handle(k->c);
        lc->e.request = luaL_ref(D, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, lc->e.self);
    lua_rawgeti(D, LUA_REGISTRYINDEX, lc->e.request);
    return lua_touserdata(D, -1);
}

static int run(lua_State *D)
{
    const calling *k = lua_touserdata(D, 1);
    rotor__lua_call *lc = k->lc;
    rotor__lua_exchange *e = &lc->e;
    int n = 2;
    rotor__lua_push_transition(D, lc->class, k->which);
    rotor__call_object *object = push_objects(D, k);
    if (k->which == RESPONSE_CHUNK) {
        lua_pushlstring(D, k->data.data, k->data.len);
        n = 3;
    } else if (k->which == FAILED) {
        lua_pushstring(D, rotor_err_name(k->error));
        lua_pushstring(D, rotor_strerror(k->error));
        n = 4;
    }
    if (returns_nothing(k->which)) {
        object->over = k->c;
        lua_call(D, n, 0);
        return 0;
    }
    lua_call(D, n, 1);
    bool fits = e->asked == ROTOR__ASKED_EITHER ||
                (e->asked == ROTOR__ASKED_RECEIVE) == (k->which == HEADERS_RECEIVED);
    if (!rotor__lua_is_token(D, -1, e, e->answers) || !fits)
        return rotor__lua_no_verdict(
            D, lc->class, k->which,
            k->which == HEADERS_RECEIVED
                ? "what call:buffered, progressive, hold, done or error does"
                : "what call:ok, hold, same, done or error does");
    return 0;
}

/* [-0, +0, -] The call cannot be looked at by its object any more. */
static void forget(const rotor__lua_call *lc)
{
    lua_State *D = lc->ll->vm->D;
    lua_rawgeti(D, LUA_REGISTRYINDEX, lc->e.request);
    rotor__call_object *object = lua_touserdata(D, -1);
    if (object)
        object->over = NULL;
    lua_pop(D, 1);
}

static int call_it(calling *k)
{
    k->lc = rotor_http_call_data(k->c);
    rotor__lua_exchange *e = &k->lc->e;
    e->asking = !returns_nothing(k->which);
    e->answers = 0;
    int error = rotor__lua_run(k->lc->ll, run, k, k->lc->class->title, names[k->which]);
    e->asking = false;
    if (returns_nothing(k->which))
        forget(k->lc);
    return error;
}

/* What the requester said by call:error(value) goes where errors go. */
static void report(const calling *k)
{
    rotor__lua_exchange *e = &k->lc->e;
    lua_State *D = k->lc->ll->vm->D;
    if (e->error == LUA_NOREF)
        return;
    lua_rawgeti(D, LUA_REGISTRYINDEX, e->error);
    rotor__lua_report(k->lc->ll, k->lc->class->title, names[k->which]);
    luaL_unref(D, LUA_REGISTRYINDEX, e->error);
    e->error = LUA_NOREF;
}

static rotor_response transition(calling *k)
{
    int error = call_it(k);
    if (error)
        return rotor_error(error);
    report(k);
    return k->lc->e.response_asked;
}

static rotor_http_receive on_headers_received(rotor_http_call *c, rotor_scope *scope)
{
    calling k = {.c = c, .which = HEADERS_RECEIVED};
    int error = call_it(&k);
    if (error)
        return rotor_http_failed(error);
    report(&k);
    return k.lc->e.receive_asked;
}

static rotor_response on_informational(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = INFORMATIONAL});
}

static rotor_response on_redirected(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = REDIRECTED});
}

static rotor_response on_response_received(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = RESPONSE_RECEIVED});
}

static rotor_response on_response_chunk(rotor_http_call *c, rotor_scope *scope, rotor_text data)
{
    return transition(&(calling){.c = c, .which = RESPONSE_CHUNK, .data = data});
}

static rotor_response on_response_end(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = RESPONSE_END});
}

static rotor_response on_body_wanted(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = BODY_WANTED});
}

static rotor_response on_wakeup(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = WAKEUP});
}

static rotor_response on_timeout(rotor_http_call *c, rotor_scope *scope)
{
    return transition(&(calling){.c = c, .which = TIMEOUT});
}

static void on_failed(rotor_http_call *c, rotor_scope *scope, int error)
{
    (void)call_it(&(calling){.c = c, .which = FAILED, .error = error});
}

static void on_call_over(rotor_http_call *c)
{
    rotor__lua_call *lc = rotor_http_call_data(c);
    if (rotor__lua_has(lc->class, CALL_OVER))
        (void)call_it(&(calling){.c = c, .which = CALL_OVER});
    rotor__lua_free_call(lc);
}

#define IF_THERE(which, function) (rotor__lua_has(class, which) ? (function) : NULL)

/* [-0, +1, e] requester(name, transitions) */
static int l_requester(lua_State *L)
{
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_requester, names);
    class->requester = (rotor_http_requester){
        .name = class->title,
        .headers_received = IF_THERE(HEADERS_RECEIVED, on_headers_received),
        .informational = IF_THERE(INFORMATIONAL, on_informational),
        .redirected = IF_THERE(REDIRECTED, on_redirected),
        .response_received = IF_THERE(RESPONSE_RECEIVED, on_response_received),
        .response_chunk = IF_THERE(RESPONSE_CHUNK, on_response_chunk),
        .response_end = IF_THERE(RESPONSE_END, on_response_end),
        .body_wanted = IF_THERE(BODY_WANTED, on_body_wanted),
        .wakeup = IF_THERE(WAKEUP, on_wakeup),
        .timeout = IF_THERE(TIMEOUT, on_timeout),
        .failed = IF_THERE(FAILED, on_failed),
        .call_over = on_call_over,
    };
    return 1;
}

/* -- the call ------------------------------------------------------------------------------------ */

rotor_http_call *rotor__lua_check_call(lua_State *L, int index)
{
    const rotor__call_object *object = rotor__lua_check(L, index, &rotor__kind_call);
    return object->ll->loop ? rotor_http_call_find(object->ll->loop, object->handle) : NULL;
}

static const char over[] = "the call is over; copy what is needed of it before";

/* [-0, +1, e] The method that index 2 names, if there is one; or else say what there is. */
static int call_method(lua_State *L, bool open)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    if (!open)
        return luaL_error(L, over);
    return luaL_error(L,
                      "a call has no '%s'; it has url, status, reason, version, headers, length, "
                      "body, trailers, remote and seed",
                      lua_tostring(L, 2));
}

/* [-0, +1, e] A method, or what is known of the response. */
static int call_index(lua_State *L)
{
    const rotor__call_object *object = rotor__lua_check(L, 1, &rotor__kind_call);
    const char *name = luaL_checkstring(L, 2);
    rotor_http_call *c = object->over ? object->over : rotor__lua_check_call(L, 1);
    char text[ROTOR_ADDRESS_SIZE];
    if (!c)
        return call_method(L, false);
    if (strcmp(name, "status") == 0) {
        lua_pushinteger(L, rotor_http_call_status(c));
    } else if (strcmp(name, "headers") == 0) {
        rotor__lua_push_fields(L, c, rotor_http_call_header_at);
    } else if (strcmp(name, "body") == 0) {
        rotor_text body = rotor_http_call_body(c);
        lua_pushlstring(L, body.data, body.len);
    } else if (strcmp(name, "url") == 0) {
        lua_pushstring(L, rotor_http_call_url(c));
    } else if (strcmp(name, "reason") == 0) {
        rotor_text reason = rotor_http_call_reason(c);
        lua_pushlstring(L, reason.data, reason.len);
    } else if (strcmp(name, "version") == 0) {
        lua_pushstring(L, rotor_http_call_minor(c) ? "1.1" : "1.0");
    } else if (strcmp(name, "length") == 0) {
        uint64_t length = rotor_http_call_length(c);
        if (length <= LUA_MAXINTEGER)
            lua_pushinteger(L, (lua_Integer)length);
        else
            lua_pushnil(L);
    } else if (strcmp(name, "trailers") == 0) {
        rotor__lua_push_fields(L, c, rotor_http_call_trailer_at);
    } else if (strcmp(name, "remote") == 0) {
        rotor_stream *s = rotor_http_call_stream(c);
        lua_pushstring(L, s && rotor_stream_peer(s, text, sizeof text) == 0 ? text : NULL);
    } else if (strcmp(name, "seed") == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, ((rotor__lua_call *)rotor_http_call_data(c))->seed);
    } else {
        return call_method(L, true);
    }
    return 1;
}

/* [-0, +1, e] handle(): to wake the call by */
static int call_handle(lua_State *L)
{
    const rotor__call_object *object = rotor__lua_check(L, 1, &rotor__kind_call);
    rotor__lua_push_handle(L, object->ll, object->handle);
    return 1;
}

/* [-0, +1 or 3, e] What has come of writing. */
static int outcome(lua_State *L, int error)
{
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "there is nothing to be written now: the option streamed comes first, "
                             "then body_wanted is told, and finish() ends it");
    if (error == ROTOR_EBODY)
        return luaL_error(L, "%s: %s", rotor_err_name(error), rotor_strerror(error));
    return rotor__lua_result(L, error);
}

/* [-0, +0, e] Write the strings and bufs at 2 and behind it. 0 or an error; *found is the call, or NULL. */
static int write_all(lua_State *L, rotor_http_call **found)
{
    int last = lua_gettop(L);
    size_t len;
    (void)rotor__lua_check(L, 1, &rotor__kind_call);
    for (int i = 2; i <= last; i++)
        (void)rotor__lua_check_bytes(L, i, &len);
    rotor_http_call *c = *found = rotor__lua_check_call(L, 1); /* not before: finalizers may run */
    int error = c ? 0 : ROTOR_ECLOSED;
    for (int i = 2; !error && i <= last; i++) {
        rotor_text data;
        data.data = rotor__lua_check_bytes(L, i, &data.len);
        error = rotor_http_call_write(c, data);
    }
    return error;
}

/* [-0, +1 or 3, e] write(...): some of the body */
static int call_write(lua_State *L)
{
    rotor_http_call *c;
    return outcome(L, write_all(L, &c));
}

/* [-0, +1 or 3, e] finish(...): the rest of the body */
static int call_finish(lua_State *L)
{
    rotor_http_call *c;
    int error = write_all(L, &c);
    return outcome(L, error ? error : rotor_http_call_finish(c));
}

/* [-0, +1, e] trailer(name, value) */
static int call_trailer(lua_State *L)
{
    rotor_http_call *c = rotor__lua_check_call(L, 1);
    rotor_text name, value;
    name.data = luaL_checklstring(L, 2, &name.len);
    value.data = luaL_checklstring(L, 3, &value.len);
    int error = c ? rotor_http_call_trailer(c, name, value) : 0;
    if (error == ROTOR_EHEADER)
        return luaL_error(L, "trailer '%s': %s", name.data, rotor_strerror(error));
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "trailers are for a body in chunks, until finish()");
    if (error == UV_ENOMEM)
        return luaL_error(L, "not enough memory");
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] bytes written that are still to be sent */
static int call_unsent(lua_State *L)
{
    const rotor_http_call *c = rotor__lua_check_call(L, 1);
    lua_pushinteger(L, c ? (lua_Integer)rotor_http_call_unsent(c) : 0);
    return 1;
}

/* [-0, +1 or 3, e] upgrade(protocol[, options]): the connection becomes a stream */
static int call_upgrade(lua_State *L)
{
    static const char *const known[] = {"seed", NULL};
    const rotor__call_object *object = rotor__lua_check(L, 1, &rotor__kind_call);
    const rotor__lua_class *class = rotor__lua_check(L, 2, &rotor__kind_protocol);
    rotor__lua_start start;
    rotor__lua_check_options(L, 3, known);
    rotor_http_call *c = rotor__lua_check_call(L, 1);
    if (!c)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    int failure = rotor__lua_begin(L, object->ll, 2, &start);
    if (failure)
        return failure;
    int error = rotor_http_call_upgrade(c, rotor__lua_protocol(class), start.seed, start.release);
    if (error)
        rotor__lua_cancel(&start);
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "a connection is taken over once, in headers_received, after 101 or a "
                             "2xx to CONNECT");
    return rotor__lua_result(L, error);
}

static const luaL_Reg methods[] = {{"handle", call_handle},
                                   {"write", call_write},
                                   {"finish", call_finish},
                                   {"trailer", call_trailer},
                                   {"unsent", call_unsent},
                                   {"upgrade", call_upgrade},
                                   {NULL, NULL}};
static const luaL_Reg fields_meta[] = {
    {"__index", fields_index}, {"__pairs", fields_pairs}, {NULL, NULL}};
static const luaL_Reg class_meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

void rotor__lua_open_requester(lua_State *L)
{
    rotor__lua_kind(L, &kind_fields, NULL, fields_meta);
    rotor__lua_kind(L, &rotor__kind_requester, NULL, class_meta);
    rotor__lua_kind(L, &rotor__kind_call, NULL, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rotor__kind_call);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    luaL_setfuncs(L, rotor__lua_answers, 0);
    lua_pushnil(L); /* body_wanted tells by itself */
    lua_setfield(L, -2, "and_flush");
    lua_pushcclosure(L, call_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_requester);
    lua_setfield(L, -2, "requester");
}
