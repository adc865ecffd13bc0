/* The WebSocket object: what a handler's transitions, and whoever else holds it, can do with it. */
#include "lua_websocket.h"

const rotor__kind rotor__kind_websocket = {.name = "rotor.websocket"};

static rotor__lua_websocket *check_open(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    if (!object->w)
        luaL_error(L, "the WebSocket has ended");
    return object->w;
}

/* -- sending ----------------------------------------------------------------------------------- */

static rotor_text check_text(lua_State *L, int index)
{
    rotor_text text;
    text.data = rotor__lua_check_bytes(L, index, &text.len);
    return text;
}

/* [-0, +1 or 3, e] */
static int sent(lua_State *L, int error)
{
    if (error == ROTOR_WEBSOCKET_EUTF8)
        return luaL_argerror(L, 2, "text is not UTF-8; send_binary sends any bytes");
    if (error == ROTOR_ESTATE)
        return luaL_error(L, "a message is being sent in fragments; it has to end first");
    return rotor__lua_result(L, error);
}

/* [-0, +1 or 3, e] send(text) */
static int ws_send(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    rotor_text text = check_text(L, 2);
    return sent(L, object->w ? rotor_websocket_send_text(&object->w->ws, text) : ROTOR_ECLOSED);
}

/* [-0, +1 or 3, e] send_binary(data) */
static int ws_send_binary(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    rotor_text data = check_text(L, 2);
    return sent(L, object->w ? rotor_websocket_send_binary(&object->w->ws, data) : ROTOR_ECLOSED);
}

/* [-0, +1 or 3, e] send_fragment(data, last[, kind]) */
static int ws_send_fragment(lua_State *L)
{
    static const char *const kinds[] = {"text", "binary", NULL};
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    rotor_text data = check_text(L, 2);
    luaL_checktype(L, 3, LUA_TBOOLEAN);
    bool last = lua_toboolean(L, 3), is_text = luaL_checkoption(L, 4, "text", kinds) == 0;
    return sent(L, object->w ? rotor_websocket_send_fragment(&object->w->ws, data, is_text, last)
                             : ROTOR_ECLOSED);
}

/* [-0, +1 or 3, e] ping([data]) */
static int ws_ping(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    rotor_text data;
    data.data = luaL_optlstring(L, 2, "", &data.len);
    luaL_argcheck(L, data.len <= ROTOR_WEBSOCKET_CONTROL_MOST, 2, "at most 125 bytes expected");
    return sent(L, object->w ? rotor_websocket_ping(&object->w->ws, data) : ROTOR_ECLOSED);
}

/* -- intents ----------------------------------------------------------------------------------- */

/* The WebSocket at index 1, which must have been asked: an intent is an answer. */
static rotor__lua_websocket *check_asked(lua_State *L)
{
    rotor__lua_websocket *w = check_open(L);
    if (!w->asked)
        luaL_error(L,
                   "only a WebSocket's own transitions may say what it waits for; from elsewhere, "
                   "send, ping or close, or wake it by its handle()");
    return w;
}

/* What a transition has to return is a light userdata that only its WebSocket gives. */
static int intend(lua_State *L, rotor__lua_websocket *w, rotor_intent intent)
{
    w->intent = intent;
    w->intents++;
    lua_pushlightuserdata(L, rotor__lua_token(w, w->intents));
    return 1;
}

static uint64_t check_deadline(lua_State *L, int index, const rotor__lua_websocket *w)
{
    return rotor__lua_check_deadline(L, index, w->ws.stream.machine.loop);
}

static size_t check_size(lua_State *L, int index)
{
    lua_Integer n = luaL_checkinteger(L, index);
    luaL_argcheck(L, n >= 0 && n <= (lua_Integer)ROTOR_BUF_MAX, index,
                  "a number of bytes expected");
    return (size_t)n;
}

/* [-0, +1, e] expect_message([seconds]) */
static int ws_expect_message(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    return intend(L, w, rotor_intent_until(rotor_expect_message(), check_deadline(L, 2, w)));
}

/* [-0, +1, e] expect_flush([n[, seconds]]) */
static int ws_expect_flush(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    size_t n = lua_isnoneornil(L, 2) ? 0 : check_size(L, 2);
    return intend(L, w, rotor_intent_until(rotor_expect_flush(n), check_deadline(L, 3, w)));
}

/* [-0, +1, e] and_flush(intent, n): what was asked for just now, and a flush mark */
static int ws_and_flush(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    bool is_intent = rotor__lua_is_token(L, 2, w, w->intents);
    luaL_argcheck(L, is_intent && w->intent.kind <= ROTOR_INTENT_SLEEP, 2,
                  "what expect_message or sleep of this WebSocket returns expected");
    return intend(L, w, rotor_and_flush(w->intent, check_size(L, 3)));
}

/* [-0, +1, e] sleep([seconds]) */
static int ws_sleep(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    return intend(L, w, rotor_intent_until(rotor_intent_sleep(), check_deadline(L, 2, w)));
}

/* [-0, +1, e] */
static int ws_same(lua_State *L)
{
    return intend(L, check_asked(L), rotor_intent_same());
}

/* [-0, +1, e] done([seconds]) */
static int ws_done(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    return intend(L, w, rotor_intent_until(rotor_intent_done(), check_deadline(L, 2, w)));
}

/* [-0, +1, e] */
static int ws_abort(lua_State *L)
{
    return intend(L, check_asked(L), rotor_intent_abort());
}

/* [-0, +1, e] error(value) */
static int ws_error(lua_State *L)
{
    rotor__lua_websocket *w = check_asked(L);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, w->error_ref);
    w->error_ref = LUA_NOREF;
    w->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return intend(L, w, rotor_intent_error(ROTOR_ELUA));
}

/* [-0, +1 or 3, e] close([code[, reason]]): in a transition of its own, an intent, too */
static int ws_close(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    lua_Integer code = luaL_optinteger(L, 2, ROTOR_WEBSOCKET_NORMAL);
    rotor_text reason;
    reason.data = luaL_optlstring(L, 3, "", &reason.len);
    luaL_argcheck(L, code >= 0 && code < 5000 && rotor_websocket_is_code((int)code), 2,
                  "a code that may be sent expected: 1000 to 1003, 1007 to 1014, 3000 to 4999");
    luaL_argcheck(
        L, reason.len <= ROTOR_WEBSOCKET_CONTROL_MOST - 2 && rotor_is_utf8(reason.data, reason.len),
        3, "at most 123 bytes of UTF-8 expected");
    rotor__lua_websocket *w = object->w;
    int error = w ? rotor_websocket_close(&w->ws, (int)code, reason) : ROTOR_ECLOSED;
    if (w && w->asked && (!error || error == ROTOR_ECLOSED)) /* it closes already */
        return intend(L, w, rotor_intent_same());
    return rotor__lua_result(L, error);
}

/* -- looking ----------------------------------------------------------------------------------- */

static int push_address(lua_State *L, int (*get)(const rotor_stream *, char *, size_t))
{
    rotor__lua_websocket *w = check_open(L);
    char text[ROTOR_ADDRESS_SIZE];
    int error = get(&w->ws.stream, text, sizeof text);
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

/* [-0, +1 or 3, e] */
static int ws_peer(lua_State *L)
{
    return push_address(L, rotor_stream_peer);
}

/* [-0, +1 or 3, e] */
static int ws_address(lua_State *L)
{
    return push_address(L, rotor_stream_local);
}

/* [-0, +1, e] the subprotocol, or nil */
static int ws_protocol(lua_State *L)
{
    lua_pushstring(L, rotor_websocket_subprotocol(&check_open(L)->ws));
    return 1;
}

/* [-0, +1, e] */
static int ws_unsent(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor_websocket_unsent(&check_open(L)->ws));
    return 1;
}

/* [-0, +1, e] */
static int ws_now(lua_State *L)
{
    rotor_loop *loop = check_open(L)->ws.stream.machine.loop;
    lua_pushnumber(L, (lua_Number)rotor_loop_now(loop) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int ws_handle(lua_State *L)
{
    rotor__lua_websocket *w = check_open(L);
    rotor__lua_push_handle(L, w->ll, w->ws.stream.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int ws_notifier(lua_State *L)
{
    rotor__lua_websocket *w = check_open(L);
    rotor__lua_push_notifier(L, w->ll, w->ws.stream.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int ws_loop(lua_State *L)
{
    rotor__lua_push_loop(L, check_open(L)->ll);
    return 1;
}

/* [-0, +1, e] */
static int ws_context(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, check_open(L)->ll->context);
    return 1;
}

/* [-0, +1, e] whether messages can be sent */
static int ws_is_open(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    lua_pushboolean(L, object->w && rotor_websocket_is_open(&object->w->ws));
    return 1;
}

/* [-0, +1, e] */
static int ws_ended(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    lua_pushboolean(L, !object->w);
    return 1;
}

/* [-0, +1, m] */
static int ws_tostring(lua_State *L)
{
    rotor__websocket_object *object = rotor__lua_check(L, 1, &rotor__kind_websocket);
    lua_pushfstring(L, "rotor.websocket: %s", object->w ? object->w->class->title : "(ended)");
    return 1;
}

static const luaL_Reg methods[] = {{"send", ws_send},
                                   {"send_binary", ws_send_binary},
                                   {"send_fragment", ws_send_fragment},
                                   {"ping", ws_ping},
                                   {"close", ws_close},
                                   {"expect_message", ws_expect_message},
                                   {"expect_flush", ws_expect_flush},
                                   {"and_flush", ws_and_flush},
                                   {"sleep", ws_sleep},
                                   {"same", ws_same},
                                   {"done", ws_done},
                                   {"abort", ws_abort},
                                   {"error", ws_error},
                                   {"unsent", ws_unsent},
                                   {"protocol", ws_protocol},
                                   {"peer", ws_peer},
                                   {"address", ws_address},
                                   {"now", ws_now},
                                   {"handle", ws_handle},
                                   {"notifier", ws_notifier},
                                   {"loop", ws_loop},
                                   {"context", ws_context},
                                   {"is_open", ws_is_open},
                                   {"ended", ws_ended},
                                   {NULL, NULL}};

static const luaL_Reg meta[] = {{"__tostring", ws_tostring}, {NULL, NULL}};

void rotor__lua_open_websocket_object(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_websocket, methods, meta);
}
