/* The stream object: what a protocol's transitions, and whoever else holds it, can do with a stream. */
#include <string.h>

#include "lua_stream.h"

const rotor__kind rotor__kind_stream = {.name = "rotor.stream"};

static rotor__lua_stream *check_open(lua_State *L)
{
    rotor__stream_object *object = rotor__lua_check(L, 1, &rotor__kind_stream);
    if (!object->s)
        luaL_error(L, "the stream has ended");
    return object->s;
}

/* -- bytes ------------------------------------------------------------------------------------- */

/* [-0, +1 or 3, e] write(...) strings and bufs */
static int stream_write(lua_State *L)
{
    rotor__stream_object *object = rotor__lua_check(L, 1, &rotor__kind_stream);
    int last = lua_gettop(L);
    size_t len;
    for (int i = 2; i <= last; i++)
        (void)rotor__lua_check_bytes(L, i, &len);
    if (!object->s)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    for (int i = 2; i <= last; i++) {
        const char *data = rotor__lua_check_bytes(L, i, &len);
        int error = rotor_stream_write(&object->s->stream, data, len);
        if (error)
            return rotor__lua_fail(L, error);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1, e] take([n]): the first n bytes of the input, consumed */
static int stream_take(lua_State *L)
{
    return rotor__lua_buf_take(L, rotor_stream_input(&check_open(L)->stream));
}

/* [-0, +1, e] peek([n]) */
static int stream_peek(lua_State *L)
{
    return rotor__lua_buf_peek(L, rotor_stream_input(&check_open(L)->stream));
}

/* [-0, +0, e] consume(n) */
static int stream_consume(lua_State *L)
{
    return rotor__lua_buf_consume(L, rotor_stream_input(&check_open(L)->stream));
}

/* [-0, +1, e] split([n]): the first n bytes of the input, consumed, in a buf */
static int stream_split(lua_State *L)
{
    return rotor__lua_buf_split(L, rotor_stream_input(&check_open(L)->stream));
}

/* [-0, +1, e] #stream: bytes of input */
static int stream_len(lua_State *L)
{
    rotor_buf *input = rotor_stream_input(&check_open(L)->stream);
    lua_pushinteger(L, (lua_Integer)rotor_buf_len(input));
    return 1;
}

/* [-0, +1, e] */
static int stream_unsent(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor_stream_unsent(&check_open(L)->stream));
    return 1;
}

/* [-0, +0, e] */
static int stream_shutdown(lua_State *L)
{
    rotor_stream_shutdown(&check_open(L)->stream);
    return 0;
}

/* -- intents ----------------------------------------------------------------------------------- */

/* The stream at index 1, which must have been asked: an intent is an answer. */
static rotor__lua_stream *check_asked(lua_State *L)
{
    rotor__lua_stream *s = check_open(L);
    if (!s->asked)
        luaL_error(L, "only a stream's own transitions may say what it waits for; to reach it from "
                      "elsewhere, wake it or close it by its handle()");
    return s;
}

/* What a transition has to return is a light userdata that only its stream gives. */
static int intend(lua_State *L, rotor__lua_stream *s, rotor_intent intent)
{
    s->intent = intent;
    s->intents++;
    lua_pushlightuserdata(L, rotor__lua_token(s, s->intents));
    return 1;
}

static uint64_t check_deadline(lua_State *L, int index, const rotor__lua_stream *s)
{
    return rotor__lua_check_deadline(L, index, s->stream.machine.loop);
}

static size_t check_size(lua_State *L, int index, size_t most)
{
    lua_Integer n = luaL_checkinteger(L, index);
    if (n < 0 || (lua_Unsigned)n > most) {
        lua_pushfstring(L, "0 to %I expected, got %I", (LUAI_UACINT)most, (LUAI_UACINT)n);
        luaL_argerror(L, index, lua_tostring(L, -1));
    }
    return (size_t)n;
}

/* [-0, +1, e] expect_bytes(n[, seconds]) */
static int stream_expect_bytes(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    rotor_intent intent = rotor_expect_bytes(check_size(L, 2, ROTOR_BUF_MAX));
    return intend(L, s, rotor_intent_until(intent, check_deadline(L, 3, s)));
}

/* [-0, +1, e] expect_delimiter(delimiter, max[, seconds[, offset]]) */
static int stream_expect_delimiter(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    size_t len;
    const char *delimiter = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0 && len <= UINT16_MAX, 2, "1 to 65535 bytes expected");
    size_t max = check_size(L, 3, ROTOR_BUF_MAX);
    uint64_t deadline = check_deadline(L, 4, s);
    size_t offset = lua_isnoneornil(L, 5) ? 0 : check_size(L, 5, max);
    rotor_intent intent =
        rotor_expect_delimiter_at(delimiter, (uint16_t)len, max, (uint32_t)offset);
    intent.deadline = deadline;
    lua_pushvalue(L, 2); /* the bytes must stay while they are waited for */
    lua_setiuservalue(L, 1, s->second ? ROTOR__STREAM_DELIMITER : ROTOR__STREAM_DELIMITER + 1);
    return intend(L, s, intent);
}

/* [-0, +1, e] expect_flush([n[, seconds]]) */
static int stream_expect_flush(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    size_t n = lua_isnoneornil(L, 2) ? 0 : check_size(L, 2, ROTOR_BUF_MAX);
    return intend(L, s, rotor_intent_until(rotor_expect_flush(n), check_deadline(L, 3, s)));
}

/* [-0, +1, e] and_flush(intent, n): what was asked for just now, and a flush mark */
static int stream_and_flush(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    bool is_intent = rotor__lua_is_token(L, 2, s, s->intents);
    luaL_argcheck(L, is_intent && s->intent.kind <= ROTOR_INTENT_SLEEP, 2,
                  "what expect_bytes, expect_delimiter or sleep of this stream returns expected");
    return intend(L, s, rotor_and_flush(s->intent, check_size(L, 3, ROTOR_BUF_MAX)));
}

/* [-0, +1, e] sleep([seconds]) */
static int stream_sleep(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    return intend(L, s, rotor_intent_until(rotor_intent_sleep(), check_deadline(L, 2, s)));
}

/* [-0, +1, e] */
static int stream_same(lua_State *L)
{
    return intend(L, check_asked(L), rotor_intent_same());
}

/* [-0, +1, e] done([seconds]) */
static int stream_done(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    return intend(L, s, rotor_intent_until(rotor_intent_done(), check_deadline(L, 2, s)));
}

/* [-0, +1, e] linger(seconds) */
static int stream_linger(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    luaL_checknumber(L, 2);
    return intend(L, s, rotor_intent_linger(check_deadline(L, 2, s)));
}

/* [-0, +1, e] */
static int stream_abort(lua_State *L)
{
    return intend(L, check_asked(L), rotor_intent_abort());
}

/* [-0, +1, e] error(value) */
static int stream_error(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, s->error_ref);
    s->error_ref = LUA_NOREF;
    s->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return intend(L, s, rotor_intent_error(ROTOR_ELUA));
}

/* -- states ------------------------------------------------------------------------------------ */

/* [-0, +1, m] The table of the states of the stream's protocol, by name. */
static void push_states(lua_State *L, const rotor__lua_stream *s)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->class->anchor);
    lua_getiuservalue(L, -1, ROTOR__CLASS_STATES);
    lua_remove(L, -2);
}

/* [-0, +1, e] become([state]): move to the state of that name, or to the protocol itself; the stream
** again, whose intent comes next */
static int stream_become(lua_State *L)
{
    rotor__lua_stream *s = check_asked(L);
    const rotor__lua_class *state = s->class;
    if (!lua_isnoneornil(L, 2)) {
        const char *name = luaL_checkstring(L, 2);
        push_states(L, s);
        lua_getfield(L, -1, name);
        state = lua_touserdata(L, -1);
        if (!state) {
            lua_rawgeti(L, -2, 1);
            luaL_error(L, "protocol \"%s\" has no state \"%s\"; it has: %s", s->class->title, name,
                       luaL_optstring(L, -1, "none"));
        }
    }
    (void)rotor_become(&s->stream, &state->protocol);
    lua_settop(L, 1);
    return 1;
}

/* [-0, +1, e] the name of the state it is in, or nil */
static int stream_state(lua_State *L)
{
    const rotor_protocol *state = check_open(L)->stream.protocol;
    if (state->parent)
        lua_pushstring(L, state->name);
    else
        lua_pushnil(L);
    return 1;
}

/* -- looking ----------------------------------------------------------------------------------- */

static int push_address(lua_State *L, int (*get)(const rotor_stream *, char *, size_t))
{
    rotor__lua_stream *s = check_open(L);
    char text[sizeof(struct sockaddr_un) + 8];
    int error = get(&s->stream, text, sizeof text);
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

/* [-0, +1 or 3, e] */
static int stream_peer(lua_State *L)
{
    return push_address(L, rotor_stream_peer);
}

/* [-0, +1 or 3, e] */
static int stream_address(lua_State *L)
{
    return push_address(L, rotor_stream_local);
}

/* [-0, +1, e] */
static int stream_now(lua_State *L)
{
    rotor_loop *loop = check_open(L)->stream.machine.loop;
    lua_pushnumber(L, (lua_Number)rotor_loop_now(loop) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int stream_handle(lua_State *L)
{
    rotor__lua_stream *s = check_open(L);
    rotor__lua_push_handle(L, s->ll, s->stream.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int stream_notifier(lua_State *L)
{
    rotor__lua_stream *s = check_open(L);
    rotor__lua_push_notifier(L, s->ll, s->stream.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int stream_loop(lua_State *L)
{
    rotor__lua_push_loop(L, check_open(L)->ll);
    return 1;
}

/* [-0, +1, e] */
static int stream_context(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, check_open(L)->ll->context);
    return 1;
}

/* [-0, +1, e] */
static int stream_ended(lua_State *L)
{
    rotor__stream_object *object = rotor__lua_check(L, 1, &rotor__kind_stream);
    lua_pushboolean(L, !object->s);
    return 1;
}

/* [-0, +1, m] */
static int stream_tostring(lua_State *L)
{
    rotor__stream_object *object = rotor__lua_check(L, 1, &rotor__kind_stream);
    lua_pushfstring(L, "rotor.stream: %s", object->s ? object->s->class->protocol.name : "(ended)");
    return 1;
}

static const luaL_Reg methods[] = {{"write", stream_write},
                                   {"take", stream_take},
                                   {"peek", stream_peek},
                                   {"consume", stream_consume},
                                   {"split", stream_split},
                                   {"unsent", stream_unsent},
                                   {"shutdown", stream_shutdown},
                                   {"expect_bytes", stream_expect_bytes},
                                   {"expect_delimiter", stream_expect_delimiter},
                                   {"expect_flush", stream_expect_flush},
                                   {"and_flush", stream_and_flush},
                                   {"sleep", stream_sleep},
                                   {"same", stream_same},
                                   {"done", stream_done},
                                   {"linger", stream_linger},
                                   {"abort", stream_abort},
                                   {"error", stream_error},
                                   {"become", stream_become},
                                   {"state", stream_state},
                                   {"peer", stream_peer},
                                   {"address", stream_address},
                                   {"now", stream_now},
                                   {"handle", stream_handle},
                                   {"notifier", stream_notifier},
                                   {"loop", stream_loop},
                                   {"context", stream_context},
                                   {"ended", stream_ended},
                                   {NULL, NULL}};

static const luaL_Reg meta[] = {
    {"__len", stream_len}, {"__tostring", stream_tostring}, {NULL, NULL}};

void rotor__lua_open_stream(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_stream, methods, meta);
}
