/* Protocols written in Lua: from the stream's transitions to the table's. */
#include "lua_stream.h"

const rotor__kind rotor__kind_protocol = {.name = "rotor.protocol"};

enum { CREATE, BYTES_READ, BYTES_FLUSHED, TIMEOUT, WAKEUP, EXCEPTION, HANGUP, FATAL, DROP };
static const char *const names[] = {"create",    "bytes_read", "bytes_flushed", "timeout", "wakeup",
                                    "exception", "hangup",     "fatal",         "drop",    NULL};
_Static_assert(sizeof names / sizeof names[0] <= ROTOR__LUA_TRANSITIONS + 1, "each has a place");

typedef struct call {
    rotor__lua_stream *s;
    const rotor__lua_class *class; /* the state, or the protocol, whose transition it is */
    int which;
    int ref;             /* CREATE, FATAL: the seed */
    size_t n;            /* BYTES_READ */
    int error;           /* EXCEPTION, FATAL */
    const char *address; /* FATAL: what could not be connected to */
} call;

/* [-0, +1, m] */
static void push_object(lua_State *D, rotor__lua_stream *s)
{
    if (!s->object) {
        rotor__stream_object *object =
            rotor__lua_new(D, &rotor__kind_stream, sizeof *object, ROTOR__STREAM_USERVALUES);
        rotor__lua_push_self(D, s->class);
        lua_setiuservalue(D, -2, ROTOR__STREAM_SELF);
        s->object_ref = luaL_ref(D, LUA_REGISTRYINDEX);
        s->object = object;
        object->s = s;
    }
    lua_rawgeti(D, LUA_REGISTRYINDEX, s->object_ref);
}

static int push_arguments(lua_State *D, const call *c)
{
    switch (c->which) {
    case CREATE:
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 1;
    case BYTES_READ:
        lua_pushinteger(D, (lua_Integer)c->n);
        return 1;
    case EXCEPTION:
    case FATAL:
        lua_pushstring(D, rotor_err_name(c->error));
        lua_pushfstring(D, c->address ? "%s (%s)" : "%s", rotor_strerror(c->error), c->address);
        if (c->which == EXCEPTION)
            return 2;
        lua_rawgeti(D, LUA_REGISTRYINDEX, c->ref);
        return 3;
    default:
        return 0;
    }
}

static int run(lua_State *D)
{
    const call *c = lua_touserdata(D, 1);
    rotor__lua_stream *s = c->s;
    rotor__lua_push_transition(D, c->class, c->which);
    push_object(D, s);
    lua_getiuservalue(D, -1, ROTOR__STREAM_SELF);
    lua_insert(D, -2);
    lua_call(D, 2 + push_arguments(D, c), 1);
    if (c->which == FATAL || c->which == DROP)
        return 0;
    if (!rotor__lua_is_token(D, -1, s, s->intents))
        return rotor__lua_no_verdict(D, c->class, c->which,
                                     "what stream:expect_bytes, expect_delimiter, expect_flush, "
                                     "and_flush, sleep, same, done, linger, abort or error does");
    return 0;
}

static int call_it(call *c)
{
    rotor__lua_stream *s = c->s;
    c->class = ROTOR__LUA_CLASS_OF(s->stream.protocol);
    while (!rotor__lua_has(c->class, c->which))
        c->class = ROTOR__LUA_CLASS_OF(c->class->protocol.parent);
    s->asked = true;
    s->intents = 0;
    int error = rotor__lua_run(s->ll, run, c, c->class->title, names[c->which]);
    s->asked = false;
    return error;
}

static rotor_intent transition(call *c)
{
    rotor__lua_stream *s = c->s;
    int error = call_it(c);
    if (error)
        return rotor_intent_error(error);
    if (s->intent.kind == ROTOR_EXPECT_DELIMITER) {
        s->second = !s->second;
    } else if (s->intent.kind == ROTOR_INTENT_ERROR) { /* stream:error(value) */
        lua_rawgeti(s->ll->vm->D, LUA_REGISTRYINDEX, s->error_ref);
        rotor__lua_report(s->ll, c->class->title, names[c->which]);
    }
    return s->intent;
}

static void init(rotor__lua_stream *s)
{
    s->ll = rotor_loop_context(s->stream.machine.loop);
    s->class = ROTOR__LUA_CLASS_OF(s->stream.protocol);
    s->object_ref = s->error_ref = LUA_NOREF;
}

static rotor_intent on_create(rotor_stream *base, rotor_scope *scope, void *data)
{
    rotor__lua_stream *s = (rotor__lua_stream *)base;
    const rotor__lua_seed *seed = data;
    init(s);
    s->class->uses++; /* the listener, whose seed has retained it, may go while this stream lives */
    return transition(&(call){.s = s, .which = CREATE, .ref = seed->ref});
}

static rotor_intent on_bytes_read(rotor_stream *base, rotor_scope *scope, size_t n)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = BYTES_READ, .n = n});
}

static rotor_intent on_bytes_flushed(rotor_stream *base, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = BYTES_FLUSHED});
}

static rotor_intent on_timeout(rotor_stream *base, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = TIMEOUT});
}

static rotor_intent on_wakeup(rotor_stream *base, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = WAKEUP});
}

static rotor_intent on_exception(rotor_stream *base, rotor_scope *scope, int reason)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = EXCEPTION, .error = reason});
}

static rotor_intent on_hangup(rotor_stream *base, rotor_scope *scope)
{
    return transition(&(call){.s = (rotor__lua_stream *)base, .which = HANGUP});
}

static void release(rotor__lua_stream *s)
{
    lua_State *D = s->ll->vm->D;
    if (s->object)
        s->object->s = NULL; /* whoever still holds the object finds it closed */
    luaL_unref(D, LUA_REGISTRYINDEX, s->object_ref);
    luaL_unref(D, LUA_REGISTRYINDEX, s->error_ref);
}

static void on_fatal(rotor_stream *base, rotor_scope *scope, int error)
{
    rotor__lua_stream *s = (rotor__lua_stream *)base;
    call c = {.s = s, .which = FATAL, .error = error, .ref = LUA_NOREF};
    bool created = s->class != NULL;
    char peer[ROTOR_ADDRESS_SIZE];
    if (!created) { /* the connection was never made: fatal is all this stream hears */
        init(s);
        c.ref = ((const rotor__lua_seed *)rotor_stream_seed_left(base))->ref;
    }
    /* A socket that was reset does not know its peer any more. */
    c.address = rotor_stream_peer(base, peer, sizeof peer) ? NULL : peer;
    (void)call_it(&c);
    if (!created)
        release(s);
}

static void on_drop(rotor_stream *base)
{
    rotor__lua_stream *s = (rotor__lua_stream *)base;
    s->stream.protocol = &s->class->protocol; /* states have no `drop` */
    if (rotor__lua_has(s->class, DROP))
        (void)call_it(&(call){.s = s, .which = DROP});
    release(s);
    rotor__lua_release(s->ll, s->class);
}

/* -- declaring --------------------------------------------------------------------------------- */

static void set_transitions(rotor__lua_class *class)
{
    rotor_protocol *p = &class->protocol;
    p->bytes_read = rotor__lua_has(class, BYTES_READ) ? on_bytes_read : NULL;
    p->bytes_flushed = rotor__lua_has(class, BYTES_FLUSHED) ? on_bytes_flushed : NULL;
    p->timeout = rotor__lua_has(class, TIMEOUT) ? on_timeout : NULL;
    p->wakeup = rotor__lua_has(class, WAKEUP) ? on_wakeup : NULL;
    p->exception = rotor__lua_has(class, EXCEPTION) ? on_exception : NULL;
    p->hangup = rotor__lua_has(class, HANGUP) ? on_hangup : NULL;
    p->fatal = rotor__lua_has(class, FATAL) ? on_fatal : NULL;
}

/* [-0, +1, e] protocol(name, transitions[, options[, states]]), where `states` lists their names for
** messages */
static int l_protocol(lua_State *L)
{
    static const char *const known[] = {"high_water", "stall", "turns", NULL};
    rotor_protocol p = {0};
    lua_settop(L, 4);
    rotor__lua_check_options(L, 3, known);
    p.high_water = (size_t)rotor__lua_option(L, 3, "high_water", 1, 1 << 30);
    p.stall_ms = rotor__lua_option_ms(L, 3, "stall");
    p.turns = (uint32_t)rotor__lua_option(L, 3, "turns", 1, 1 << 20);
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_protocol, names);
    p.name = class->title;
    p.size = sizeof(rotor__lua_stream);
    p.create = on_create;
    p.drop = on_drop;
    class->protocol = p;
    set_transitions(class);
    lua_newtable(L);
    if (!lua_isnoneornil(L, 4)) {
        lua_pushvalue(L, 4);
        lua_rawseti(L, -2, 1);
    }
    lua_setiuservalue(L, -2, ROTOR__CLASS_STATES);
    return 1;
}

/* [-0, +0, e] state(name, transitions, protocol[, parent]): declare a state of the protocol, whose
** parent is the state of that name or the protocol. */
static int l_state(lua_State *L)
{
    rotor__lua_class *root = rotor__lua_check(L, 3, &rotor__kind_protocol);
    rotor__lua_class *parent = root;
    lua_settop(L, 4);
    lua_getiuservalue(L, 3, ROTOR__CLASS_STATES);
    if (!lua_isnil(L, 4)) {
        lua_pushvalue(L, 4);
        lua_rawget(L, 5);
        parent = rotor__lua_check(L, -1, &rotor__kind_protocol);
    }
    rotor__lua_class *class = rotor__lua_new_class(L, &rotor__kind_protocol, names);
    class->root = root;
    class->protocol.name = class->title; /* which lives on as a key of the table of states */
    class->protocol.parent = &parent->protocol;
    set_transitions(class);
    lua_pushfstring(L, "%s.%s", root->title, class->title);
    rotor__lua_set_title(L, class);
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    lua_rawset(L, 5);
    return 0;
}

static const luaL_Reg protocol_meta[] = {{"__gc", rotor__lua_class_gc}, {NULL, NULL}};

void rotor__lua_open_protocol(lua_State *L)
{
    rotor__lua_kind(L, &rotor__kind_protocol, NULL, protocol_meta);
    lua_pushcfunction(L, l_protocol);
    lua_setfield(L, -2, "protocol");
    lua_pushcfunction(L, l_state);
    lua_setfield(L, -2, "state");
}
