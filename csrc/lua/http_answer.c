/* What the transitions of a handler written in Lua may return: methods of the request; and those of a
** requester, which are methods of the call. */
#include "lua_http_client.h"

static rotor__lua_exchange *check_asking(lua_State *L)
{
    if (rotor__lua_test(L, 1, &rotor__kind_call)) {
        rotor_http_call *c = rotor__lua_check_call(L, 1);
        rotor__lua_call *lc = c ? rotor_http_call_data(c) : NULL;
        if (!lc || !lc->e.asking)
            luaL_error(L,
                       "only a requester's own transitions may say what the call waits for; from "
                       "elsewhere wake it by its handle()");
        return &lc->e;
    }
    rotor_http *h = rotor__lua_check_request(L, 1);
    rotor__lua_exchange *e = h ? *rotor_http_data(h) : NULL;
    if (!e || !e->asking)
        luaL_error(L, "only a handler's own transitions may say what it waits for; from elsewhere "
                      "answer by the response, or wake it by its handle()");
    return e;
}

static int answer(lua_State *L, rotor__lua_exchange *e, rotor__lua_asked asked)
{
    e->asked = asked;
    e->answers++;
    lua_pushlightuserdata(L, rotor__lua_token(e, e->answers));
    return 1;
}

static uint64_t check_deadline(lua_State *L, int index)
{
    const rotor__exchange_object *object = lua_touserdata(L, 1); /* or a call's, as far as that */
    return rotor__lua_check_deadline(L, index, object->ll->loop);
}

static uint64_t check_max(lua_State *L, int index)
{
    lua_Integer max = luaL_optinteger(L, index, 0);
    luaL_argcheck(L, max >= 0, index, "a number of bytes expected");
    return (uint64_t)max;
}

/* [-0, +1, e] ok([seconds]) */
static int answer_ok(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    e->response_asked = rotor_ok_until(check_deadline(L, 2));
    return answer(L, e, ROTOR__ASKED_RESPONSE);
}

/* [-0, +1, e] hold([seconds[, max]]): wait, but for nothing of the body */
static int answer_hold(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    uint64_t deadline = check_deadline(L, 2), max = check_max(L, 3);
    rotor_http_receive receive = rotor_http_receive_hold(rotor_http_progressive(max));
    e->response_asked = rotor_http_hold(rotor_ok_until(deadline));
    e->receive_asked = rotor_http_receive_until(receive, deadline);
    return answer(L, e, ROTOR__ASKED_EITHER);
}

/* [-0, +1, e] and_flush(answer, n): what was asked for just now, and a flush mark */
static int answer_and_flush(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    bool waits = rotor__lua_is_token(L, 2, e, e->answers) && e->response_asked.kind == ROTOR_OK &&
                 e->asked != ROTOR__ASKED_RECEIVE;
    luaL_argcheck(L, waits, 2, "what ok or hold of this request returns expected");
    lua_Integer n = luaL_checkinteger(L, 3);
    luaL_argcheck(L, n >= 0 && n < ROTOR_HTTP__MARK, 3, "a number of bytes expected");
    e->response_asked = rotor_http_and_flush(e->response_asked, (size_t)n);
    return answer(L, e, ROTOR__ASKED_RESPONSE);
}

/* [-0, +1, e] */
static int answer_same(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    e->response_asked = rotor_same();
    return answer(L, e, ROTOR__ASKED_RESPONSE);
}

/* [-0, +1, e] */
static int answer_done(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    e->response_asked = rotor_done();
    e->receive_asked = rotor_http_answered();
    return answer(L, e, ROTOR__ASKED_EITHER);
}

/* [-0, +1, e] error(value) */
static int answer_error(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, e->error);
    e->error = LUA_NOREF;
    e->error = luaL_ref(L, LUA_REGISTRYINDEX);
    e->response_asked = rotor_error(ROTOR_ELUA);
    e->receive_asked = rotor_http_failed(ROTOR_ELUA);
    return answer(L, e, ROTOR__ASKED_EITHER);
}

/* [-0, +1, e] buffered([max[, seconds]]) */
static int answer_buffered(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    rotor_http_receive receive = rotor_http_buffered(check_max(L, 2));
    e->receive_asked = rotor_http_receive_until(receive, check_deadline(L, 3));
    return answer(L, e, ROTOR__ASKED_RECEIVE);
}

/* [-0, +1, e] progressive([max[, seconds]]) */
static int answer_progressive(lua_State *L)
{
    rotor__lua_exchange *e = check_asking(L);
    rotor_http_receive receive = rotor_http_progressive(check_max(L, 2));
    e->receive_asked = rotor_http_receive_until(receive, check_deadline(L, 3));
    return answer(L, e, ROTOR__ASKED_RECEIVE);
}

const luaL_Reg rotor__lua_answers[] = {{"ok", answer_ok},
                                       {"hold", answer_hold},
                                       {"and_flush", answer_and_flush},
                                       {"same", answer_same},
                                       {"done", answer_done},
                                       {"error", answer_error},
                                       {"buffered", answer_buffered},
                                       {"progressive", answer_progressive},
                                       {NULL, NULL}};
