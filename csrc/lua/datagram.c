/* Datagram sockets written in Lua: from the socket's transitions to the table's, and opening them. */
#include <limits.h>
#include <string.h>

#include "lua_datagram.h"

const rotor__kind rotor__kind_datagram = {.name = "rotor.datagram"};

enum { CREATE, DATAGRAM, WRITABLE, TIMEOUT, WAKEUP, EXCEPTION, DROP };
static const char *const names[] = {"create", "datagram",  "writable", "timeout",
                                    "wakeup", "exception", "drop",     NULL};

static rotor__lua_class *class_of(const rotor_datagram_protocol *protocol)
{
    return (rotor__lua_class *)((char *)protocol - offsetof(rotor__lua_class, datagram));
}

/* -- calling transitions ----------------------------------------------------------------------- */

typedef struct call {
    rotor__lua_socket *s;
    int which;
    int ref; /* CREATE: the seed */
    /* DATAGRAM */
    const char *data;
    size_t n;
    const rotor_datagram_info *info;
    int error; /* EXCEPTION */
} call;

/* [-0, +1, m] */
static void push_object(lua_State *D, rotor__lua_socket *s)
{
    if (!s->object) {
        rotor__socket_object *object =
            rotor__lua_new(D, &rotor__kind_socket, sizeof *object, ROTOR__SOCKET_USERVALUES);
        rotor__lua_push_self(D, s->class);
        lua_setiuservalue(D, -2, ROTOR__SOCKET_SELF);
        s->object_ref = luaL_ref(D, LUA_REGISTRYINDEX);
        s->object = object;
        object->s = s;
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, s->object_ref);
}

/* [-0, +1, m] The sender's address, with the socket at `index`. */
static void push_from(lua_State *D, int index, rotor__lua_socket *s, const rotor_address *from)
{
    const rotor_address *last = &s->from.address;
    if (s->from.text && last->len == from->len &&
        memcmp(&last->storage, &from->storage, from->len) == 0) {
        lua_getiuservalue(D, index, ROTOR__SOCKET_FROM);
        return;
    }
    char text[ROTOR_ADDRESS_SIZE];
    (void)rotor_address_format(from, text, sizeof text);
    lua_pushstring(D, text);
    rotor__lua_keep_address(D, index, ROTOR__SOCKET_FROM, &s->from, from);
}

/* With the socket on top. */
static int push_arguments(lua_State *D, const call *c)
{
    int socket = lua_gettop(D);
    switch (c->which) {
    case CREATE:
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 1;
    case DATAGRAM:
        lua_pushlstring(D, c->data, c->n);
        push_from(D, socket, c->s, &c->info->from);
        if (c->info->size == c->n)
            return 2;
        lua_pushinteger(D, (lua_Integer)c->info->size);
        return 3;
    case EXCEPTION: {
        char peer[ROTOR_ADDRESS_SIZE];
        bool known = rotor_datagram_peer(&c->s->datagram, peer, sizeof peer) == 0;
        lua_pushstring(D, rotor_err_name(c->error));
        lua_pushfstring(D, known ? "%s (%s)" : "%s", rotor_strerror(c->error), peer);
        return 2;
    }
    default:
        return 0;
    }
}

static int run(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    rotor__lua_socket *s = c->s;
    rotor__lua_push_transition(D, s->class, c->which);
    push_object(D, s);
    lua_getiuservalue(D, -1, ROTOR__SOCKET_SELF);
    lua_insert(D, -2);
    lua_call(D, 2 + push_arguments(D, c), 1);
    if (c->which == DROP)
        return 0;
    if (!rotor__lua_is_token(D, -1, s, s->responses))
        return rotor__lua_no_verdict(D, s->class, c->which,
                                     "what socket:ok, same, done or error does");
    return 0;
}

static int call_it(call *c)
{
    rotor__lua_socket *s = c->s;
    s->asked = c->which != DROP;
    s->responses = 0;
    int error = rotor__lua_run(s->ll, run, c, s->class->datagram.name, names[c->which]);
    s->asked = false;
    return error;
}

static rotor_response transition(call *c)
{
    rotor__lua_socket *s = c->s;
    int error = call_it(c);
    if (error)
        return rotor_error(error);
    if (s->response.kind == ROTOR_ERROR) { /* socket:error(value) */
        lua_rawgeti(s->ll->vm->D, LUA_REGISTRYINDEX, s->error_ref);
        rotor__lua_report(s->ll, s->class->datagram.name, names[c->which]);
    }
    return s->response;
}

static rotor_response on_create(rotor_datagram *d, rotor_scope *scope, void *data)
{
    rotor__lua_socket *s = (rotor__lua_socket *)d;
    const rotor__lua_seed *seed = data;
    s->ll = seed->ll;
    s->class = class_of(d->protocol);
    s->object_ref = s->error_ref = LUA_NOREF;
    s->class->uses++; /* the seed, which has retained it, goes when this returns */
    return transition(&(call){.s = s, .which = CREATE, .ref = seed->ref});
}

static rotor_response on_datagram(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                                  const rotor_datagram_info *info)
{
    return transition(&(call){
        .s = (rotor__lua_socket *)d, .which = DATAGRAM, .data = data, .n = n, .info = info});
}

static rotor_response on_writable(rotor_datagram *d, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_socket *)d, .which = WRITABLE});
}

static rotor_response on_timeout(rotor_datagram *d, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_socket *)d, .which = TIMEOUT});
}

static rotor_response on_wakeup(rotor_datagram *d, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_socket *)d, .which = WAKEUP});
}

static rotor_response on_exception(rotor_datagram *d, rotor_scope *scope, int error)
{
    return transition(&(call){.s = (rotor__lua_socket *)d, .which = EXCEPTION, .error = error});
}

static void on_drop(rotor_datagram *d)
{
    rotor__lua_socket *s = (rotor__lua_socket *)d;
    lua_State *D = s->ll->vm->D;
    if (rotor__lua_has(s->class, DROP))
        (void)call_it(&(call){.s = s, .which = DROP});
    if (s->object)
        s->object->s = NULL; /* whoever still holds the object finds it closed */
    luaL_unref(D, LUA_REGISTRYINDEX, s->object_ref);
    luaL_unref(D, LUA_REGISTRYINDEX, s->error_ref);
    rotor__lua_release(s->ll, s->class);
}

/* [-0, +1, e] datagram(name, transitions[, options]) */
static int l_datagram(lua_State *L)
{
    static const char *const known[] = {"turns", NULL};
    rotor_datagram_protocol p = {0};
    rotor__lua_check_options(L, 3, known);
    p.turns = (uint32_t)rotor__lua_option(L, 3, "turns", 1, 1 << 20);
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_datagram, names);
    p.name = lua_tostring(L, 1);
    p.size = sizeof(rotor__lua_socket);
    p.create = on_create;
    p.datagram = rotor__lua_has(class, DATAGRAM) ? on_datagram : NULL;
    p.writable = rotor__lua_has(class, WRITABLE) ? on_writable : NULL;
    p.timeout = rotor__lua_has(class, TIMEOUT) ? on_timeout : NULL;
    p.wakeup = rotor__lua_has(class, WAKEUP) ? on_wakeup : NULL;
    p.exception = rotor__lua_has(class, EXCEPTION) ? on_exception : NULL;
    p.drop = on_drop;
    class->datagram = p;
    return 1;
}

/* -- opening ----------------------------------------------------------------------------------- */

/* [-0, +1, v] The text field `name` of the options at `index` (or none); NULL: absent. The text stays
** for as long as it is on the stack. */
static const char *push_text_option(lua_State *L, int index, const char *name)
{
    if (lua_isnoneornil(L, index))
        lua_pushnil(L);
    else if (lua_getfield(L, index, name) != LUA_TNIL && !lua_isstring(L, -1))
        luaL_error(L, "option '%s': a string expected, got %s", name, luaL_typename(L, -1));
    return lua_tostring(L, -1);
}

void rotor__lua_udp_options(lua_State *L, int index, rotor_udp_options *o)
{
    static const char *const known[] = {"peer",
                                        "max",
                                        "receive_buffer",
                                        "send_buffer",
                                        "reuse_port",
                                        "broadcast",
                                        "ipv6_only",
                                        "multicast_ttl",
                                        "multicast_interface",
                                        "no_multicast_loop",
                                        "reuse_address",
                                        "seed",
                                        NULL};
    rotor__lua_check_options(L, index, known);
    o->max = (size_t)rotor__lua_option(L, index, "max", 1, INT_MAX);
    o->receive_buffer = (int)rotor__lua_option(L, index, "receive_buffer", 1, INT_MAX);
    o->send_buffer = (int)rotor__lua_option(L, index, "send_buffer", 1, INT_MAX);
    o->reuse_port = rotor__lua_option_bool(L, index, "reuse_port");
    o->reuse_address = rotor__lua_option_bool(L, index, "reuse_address");
    o->broadcast = rotor__lua_option_bool(L, index, "broadcast");
    o->ipv6_only = rotor__lua_option_bool(L, index, "ipv6_only");
    o->multicast_ttl = (uint8_t)rotor__lua_option(L, index, "multicast_ttl", 1, UINT8_MAX);
    o->no_multicast_loop = rotor__lua_option_bool(L, index, "no_multicast_loop");
    o->multicast_interface = push_text_option(L, index, "multicast_interface");
    o->peer = push_text_option(L, index, "peer");
}

/* [-0, +1 or 3, e] udp(address or nil, datagram[, options]) */
int rotor__lua_udp(lua_State *L)
{
    int a = rotor__lua_args(L);
    const char *address = lua_isnoneornil(L, a) ? NULL : rotor__lua_check_address(L, a);
    const rotor__lua_class *class = rotor__lua_check(L, a + 1, &rotor__kind_datagram);
    rotor_udp_options options = {0};
    rotor__lua_start start;
    rotor_handle handle;
    lua_settop(L, a + 2);
    rotor__lua_udp_options(L, a + 2, &options);
    rotor__lua_loop *ll = rotor__lua_meant(L);
    int failure = rotor__lua_begin(L, ll, a + 1, &start);
    if (failure)
        return failure;
    options.seed = start.seed;
    options.release = start.release;
    int error = rotor_udp(ll->loop, address, rotor__lua_datagram(class), &options, &handle);
    if (error)
        rotor__lua_cancel(&start);
    const char *where = address ? address : options.peer ? options.peer : "any";
    if (error && address && options.peer)
        where = lua_pushfstring(L, "%s to %s", address, options.peer);
    return rotor__lua_opened(L, ll, where, error, handle);
}

static const luaL_Reg datagram_meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

void rotor__lua_open_datagram(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_datagram, NULL, datagram_meta);
    lua_pushcfunction(L, l_datagram);
    lua_setfield(L, -2, "datagram");
}
