/* Channels between the tasks of a loop.
**
** A value that somebody waits for goes from the stack of the one to the stack of the other. Others are in
** a ring: a table with a power of two as its size, which is made anew when it is full. */
#include "lua_task.h"

static int poll_recv(lua_State *L, int index);
static int poll_send(lua_State *L, int index);
static rotor__waits *recv_queue(lua_State *L, int index);
static rotor__waits *send_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {
    {"recv", poll_recv, recv_queue}, {"send", poll_send, send_queue}, {NULL, NULL, NULL}};
const rotor__kind rotor__kind_channel = {"rotor.task.channel", waitables};

enum { RING = 1 }; /* the uservalue */
enum { SMALLEST = 8, KEPT = 64 };

typedef struct channel {
    rotor__object object;
    lua_Integer capacity;
    lua_Integer count, first, size; /* in the ring */
    rotor__waits senders, receivers;
    bool closed;
} channel;

static channel *check_channel(lua_State *L, int index)
{
    return rotor__lua_check(L, index, &rotor__kind_channel);
}

/* [-0, +1, e] channel([capacity]): none: there is no bound; 0: a sender waits for a receiver */
static int l_channel(lua_State *L)
{
    lua_Integer capacity = luaL_optinteger(L, 1, LUA_MAXINTEGER);
    luaL_argcheck(L, capacity >= 0, 1, "a capacity of at least 0 expected");
    channel *ch = rotor__lua_new(L, &rotor__kind_channel, sizeof *ch, 1);
    ch->capacity = capacity;
    return 1;
}

/* -- the ring ---------------------------------------------------------------------------------- */

/* [-0, +0, m] */
static void resize(lua_State *L, channel *ch, int index, lua_Integer size)
{
    lua_createtable(L, (int)size, 0);
    if (ch->size >= size) { /* a finalizer has sent, too */
        lua_pop(L, 1);
        return;
    }
    if (ch->count > 0)
        lua_getiuservalue(L, index, RING);
    for (lua_Integer i = 0; i < ch->count; i++) {
        lua_rawgeti(L, -1, (ch->first + i) % ch->size + 1);
        lua_rawseti(L, -3, i + 1);
    }
    if (ch->count > 0)
        lua_pop(L, 1);
    lua_setiuservalue(L, index, RING);
    ch->first = 0;
    ch->size = size;
}

/* [-1, +0, m] Into the ring of the channel at `index` goes what is on top. */
static void put(lua_State *L, channel *ch, int index)
{
    while (ch->count == ch->size)
        resize(L, ch, index, ch->size ? 2 * ch->size : SMALLEST);
    lua_getiuservalue(L, index, RING);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (ch->first + ch->count) % ch->size + 1);
    lua_pop(L, 1);
    ch->count++;
}

/* [-0, +1, m] */
static void get(lua_State *L, channel *ch, int index)
{
    lua_getiuservalue(L, index, RING);
    lua_rawgeti(L, -1, ch->first + 1);
    lua_pushnil(L);
    lua_rawseti(L, -3, ch->first + 1);
    lua_remove(L, -2);
    ch->first = (ch->first + 1) % ch->size;
    ch->count--;
}

/* [-0, +0, -] What a crowd has left behind goes when it is over. */
static void shrink(lua_State *L, channel *ch, int index)
{
    if (ch->count > 0 || ch->size <= KEPT)
        return;
    lua_pushnil(L);
    lua_setiuservalue(L, index, RING);
    ch->size = 0;
}

/* -- sending ----------------------------------------------------------------------------------- */

static int push_closed(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
}

/* [-0, +0, m] What is at `value` is received, or goes into the ring; false: there is no room. */
static bool give(lua_State *L, channel *ch, int index, int value)
{
    rotor__wait *receiver = rotor__waits_first(&ch->receivers);
    if (!receiver && ch->count >= ch->capacity)
        return false;
    lua_pushvalue(L, value);
    if (receiver) {
        lua_xmove(L, rotor__task_thread(receiver), 1);
        rotor__task_complete(receiver, 1);
    } else {
        put(L, ch, index);
    }
    return true;
}

/* [-0, +1 or 2 or 0, m] As poll of a waitable. */
static int offer(lua_State *L, channel *ch, int index, int value)
{
    if (ch->closed)
        return push_closed(L);
    if (!give(L, ch, index, value))
        return -1;
    lua_pushboolean(L, 1);
    return 1;
}

static void check_value(lua_State *L, int index)
{
    luaL_argcheck(L, !lua_isnoneornil(L, index), index, "a value that is not nil expected");
}

static int poll_send(lua_State *L, int index)
{
    channel *ch = check_channel(L, index);
    if (lua_isnoneornil(L, index + 1))
        return luaL_error(L, "what is to be sent is missing: { send = channel, value = ... }");
    return offer(L, ch, index, index + 1);
}

static rotor__waits *send_queue(lua_State *L, int index)
{
    return &check_channel(L, index)->senders;
}

/* Completed with true, or with nil and "closed". */
static int sent(lua_State *L, int status, lua_KContext top)
{
    return rotor__task_completed(L) ? lua_gettop(L) - (int)top
                                    : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
}

/* [-0, +1 to 3, e] send(value[, seconds]) */
static int channel_send(lua_State *L)
{
    channel *ch = check_channel(L, 1);
    check_value(L, 2);
    uint64_t ms = rotor__lua_check_ms(L, 3);
    rotor__task *t = rotor__task_here(L);
    int n = offer(L, ch, 1, 2);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    uint64_t deadline = rotor__task_deadline(t, ms);
    lua_settop(L, 2);
    return rotor__task_wait(L, t, &ch->senders, 2, deadline, 2, sent);
}

/* [-0, +1 or 2, e] try_send(value): true; false: there is no room; nil, "closed" */
static int channel_try_send(lua_State *L)
{
    channel *ch = check_channel(L, 1);
    check_value(L, 2);
    int n = offer(L, ch, 1, 2);
    if (n >= 0)
        return n;
    lua_pushboolean(L, 0);
    return 1;
}

/* -- receiving --------------------------------------------------------------------------------- */

/* [-0, +1, -] Take what the first sender offers, who has sent it now. */
static void take_offer(lua_State *L, rotor__wait *sender)
{
    lua_State *from = rotor__task_thread(sender);
    lua_pushvalue(from, (int)sender->slot);
    lua_xmove(from, L, 1);
    lua_pushboolean(from, 1);
    rotor__task_complete(sender, 1);
}

static int poll_recv(lua_State *L, int index)
{
    channel *ch = check_channel(L, index);
    rotor__wait *sender = rotor__waits_first(&ch->senders);
    if (ch->count > 0) {
        get(L, ch, index);
        if (sender) { /* for which there is room now */
            take_offer(L, sender);
            put(L, ch, index);
        }
        shrink(L, ch, index);
        return 1;
    }
    if (sender) {
        take_offer(L, sender);
        return 1;
    }
    return ch->closed ? push_closed(L) : -1;
}

static rotor__waits *recv_queue(lua_State *L, int index)
{
    return &check_channel(L, index)->receivers;
}

/* [-0, +1 to 3, e] recv([seconds]) */
static int channel_recv(lua_State *L)
{
    channel *ch = check_channel(L, 1);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__task_here(L);
    int n = poll_recv(L, 1);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    uint64_t deadline = rotor__task_deadline(t, ms);
    lua_settop(L, 1);
    return rotor__task_wait(L, t, &ch->receivers, 0, deadline, 1, sent);
}

/* [-0, +1 or 2, e] try_recv(): a value; nil, "empty"; nil, "closed" */
static int channel_try_recv(lua_State *L)
{
    (void)check_channel(L, 1);
    int n = poll_recv(L, 1);
    if (n >= 0)
        return n;
    lua_pushnil(L);
    lua_pushliteral(L, "empty");
    return 2;
}

/* -- the rest ---------------------------------------------------------------------------------- */

/* [-0, +0, e] close(): what is in it can still be received. Idempotent. */
static int channel_close(lua_State *L)
{
    channel *ch = check_channel(L, 1);
    ch->closed = true;
    for (rotor__wait *wait; (wait = rotor__waits_first(&ch->senders)) ||
                            (wait = rotor__waits_first(&ch->receivers));) {
        int n = push_closed(L);
        lua_xmove(L, rotor__task_thread(wait), n);
        rotor__task_complete(wait, n);
    }
    return 0;
}

/* [-0, +1, e] */
static int channel_closed(lua_State *L)
{
    lua_pushboolean(L, check_channel(L, 1)->closed);
    return 1;
}

/* [-0, +1, e] for value in channel do */
static int iterate(lua_State *L)
{
    lua_settop(L, 1);
    return channel_recv(L);
}

/* [-0, +1, e] #channel: values in it */
static int channel_len(lua_State *L)
{
    lua_pushinteger(L, check_channel(L, 1)->count);
    return 1;
}

static const luaL_Reg methods[] = {{"send", channel_send},
                                   {"try_send", channel_try_send},
                                   {"recv", channel_recv},
                                   {"try_recv", channel_try_recv},
                                   {"close", channel_close},
                                   {"closed", channel_closed},
                                   {NULL, NULL}};
static const luaL_Reg meta[] = {
    {"__len", channel_len}, {"__call", iterate}, {"__close", channel_close}, {NULL, NULL}};

void rotor__lua_open_channel(lua_State *L)
{
    lua_pushcfunction(L, l_channel);
    lua_setfield(L, -2, "channel");
    rotor__lua_kind(L, &rotor__kind_channel, methods, meta);
}
