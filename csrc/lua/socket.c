/* The socket object: what a datagram socket's transitions, and whoever else holds it, can do with it. */
#include "lua_datagram.h"

const rotor__kind rotor__kind_socket = {.name = "rotor.socket"};

static rotor__lua_socket *check_open(lua_State *L)
{
    rotor__socket_object *object = rotor__lua_check(L, 1, &rotor__kind_socket);
    if (!object->s)
        luaL_error(L, "the socket has ended");
    return object->s;
}

/* [-0, +3, m] nil, "NAME: message (text)", "NAME". Returns 3. */
static int fail_at(lua_State *L, int error, const char *text)
{
    rotor__lua_fail(L, error);
    lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), text);
    lua_replace(L, -3);
    return 3;
}

/* [-0, +0, m] The address at index 3, whose text is `text`; NULL with `error` set. */
static const rotor_address *find_to(lua_State *L, rotor__lua_socket *s, const char *text,
                                    int *error)
{
    rotor_address address;
    rotor_host host;
    if (text == s->to.text)
        return &s->to.address;
    if (text == s->from.text)
        return &s->from.address;
    *error = rotor_address_parse(text, &address, &host);
    if (*error)
        return NULL;
    lua_pushvalue(L, 3);
    rotor__lua_keep_address(L, 1, ROTOR__SOCKET_TO, &s->to, &address);
    lua_pop(L, 1);
    return &s->to.address;
}

/* [-0, +1 or 3, e] send(data[, to]) */
static int socket_send(lua_State *L)
{
    rotor__socket_object *object = rotor__lua_check(L, 1, &rotor__kind_socket);
    size_t n;
    (void)rotor__lua_check_bytes(L, 2, &n);
    const char *text = lua_isnoneornil(L, 3) ? NULL : rotor__lua_check_address(L, 3);
    const rotor_address *to = NULL;
    int error = 0;
    if (!object->s)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    if (text)
        to = find_to(L, object->s, text, &error);
    if (error > 0)
        return luaL_argerror(L, 3, "a name is not looked up here; rotor.udp looks up its peer's");
    if (!error) { /* now that nothing runs any more that could change them */
        const char *data = rotor__lua_check_bytes(L, 2, &n);
        error = rotor_datagram_send(&object->s->datagram, data, n, to);
    }
    if (error)
        return text ? fail_at(L, error, text) : rotor__lua_fail(L, error);
    lua_pushboolean(L, 1);
    return 1;
}

static int change_group(lua_State *L, int (*change)(rotor_datagram *, const char *, const char *))
{
    rotor__lua_check(L, 1, &rotor__kind_socket);
    const char *group = luaL_checkstring(L, 2);
    const char *interface = luaL_optstring(L, 3, NULL);
    int error = change(&check_open(L)->datagram, group, interface);
    if (error && interface)
        return fail_at(L, error, lua_pushfstring(L, "%s by %s", group, interface));
    if (error)
        return fail_at(L, error, group);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1 or 3, e] join(group[, interface]) */
static int socket_join(lua_State *L)
{
    return change_group(L, rotor_datagram_join);
}

/* [-0, +1 or 3, e] leave(group[, interface]) */
static int socket_leave(lua_State *L)
{
    return change_group(L, rotor_datagram_leave);
}

/* -- responses --------------------------------------------------------------------------------- */

/* The socket at index 1, which must have been asked: a response is an answer. */
static rotor__lua_socket *check_asked(lua_State *L)
{
    rotor__lua_socket *s = check_open(L);
    if (!s->asked)
        luaL_error(L, "only a socket's own transitions may say what it waits for; to reach it from "
                      "elsewhere, wake it or close it by its handle()");
    return s;
}

/* What a transition has to return is a light userdata that only its socket gives. */
static int respond(lua_State *L, rotor__lua_socket *s, rotor_response response)
{
    s->response = response;
    s->responses++;
    lua_pushlightuserdata(L, rotor__lua_token(s, s->responses));
    return 1;
}

/* [-0, +1, e] ok([seconds]) */
static int socket_ok(lua_State *L)
{
    rotor__lua_socket *s = check_asked(L);
    rotor_loop *loop = s->datagram.machine.loop;
    return respond(L, s, rotor_ok_until(rotor__lua_check_deadline(L, 2, loop)));
}

/* [-0, +1, e] */
static int socket_same(lua_State *L)
{
    return respond(L, check_asked(L), rotor_same());
}

/* [-0, +1, e] */
static int socket_done(lua_State *L)
{
    return respond(L, check_asked(L), rotor_done());
}

/* [-0, +1, e] error(value) */
static int socket_error(lua_State *L)
{
    rotor__lua_socket *s = check_asked(L);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, s->error_ref);
    s->error_ref = LUA_NOREF;
    s->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return respond(L, s, rotor_error(ROTOR_ELUA));
}

/* -- looking ----------------------------------------------------------------------------------- */

static int push_address(lua_State *L, int (*get)(const rotor_datagram *, char *, size_t))
{
    rotor__lua_socket *s = check_open(L);
    char text[ROTOR_ADDRESS_SIZE];
    int error = get(&s->datagram, text, sizeof text);
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

/* [-0, +1 or 3, e] */
static int socket_address(lua_State *L)
{
    return push_address(L, rotor_datagram_local);
}

/* [-0, +1 or 3, e] */
static int socket_peer(lua_State *L)
{
    return push_address(L, rotor_datagram_peer);
}

/* [-0, +1, e] */
static int socket_now(lua_State *L)
{
    rotor_loop *loop = check_open(L)->datagram.machine.loop;
    lua_pushnumber(L, (lua_Number)rotor_loop_now(loop) / 1000);
    return 1;
}

/* [-0, +1, e] */
static int socket_handle(lua_State *L)
{
    rotor__lua_socket *s = check_open(L);
    rotor__lua_push_handle(L, s->ll, s->datagram.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int socket_notifier(lua_State *L)
{
    rotor__lua_socket *s = check_open(L);
    rotor__lua_push_notifier(L, s->ll, s->datagram.machine.self);
    return 1;
}

/* [-0, +1, e] */
static int socket_loop(lua_State *L)
{
    rotor__lua_push_loop(L, check_open(L)->ll);
    return 1;
}

/* [-0, +1, e] */
static int socket_context(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, check_open(L)->ll->context);
    return 1;
}

/* [-0, +1, e] */
static int socket_ended(lua_State *L)
{
    rotor__socket_object *object = rotor__lua_check(L, 1, &rotor__kind_socket);
    lua_pushboolean(L, !object->s);
    return 1;
}

/* [-0, +1, m] */
static int socket_tostring(lua_State *L)
{
    rotor__socket_object *object = rotor__lua_check(L, 1, &rotor__kind_socket);
    lua_pushfstring(L, "rotor.socket: %s", object->s ? object->s->class->datagram.name : "(ended)");
    return 1;
}

static const luaL_Reg methods[] = {{"send", socket_send},       {"join", socket_join},
                                   {"leave", socket_leave},     {"ok", socket_ok},
                                   {"same", socket_same},       {"done", socket_done},
                                   {"error", socket_error},     {"peer", socket_peer},
                                   {"address", socket_address}, {"now", socket_now},
                                   {"handle", socket_handle},   {"notifier", socket_notifier},
                                   {"loop", socket_loop},       {"context", socket_context},
                                   {"ended", socket_ended},     {NULL, NULL}};

static const luaL_Reg meta[] = {{"__tostring", socket_tostring}, {NULL, NULL}};

void rotor__lua_open_socket(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_socket, methods, meta);
}
