/* Channels between threads: one object of each for every Lua state that has it. */
#include "../core/alloc.h"
#include "lua_threads.h"

static const rotor__kind kind_channel = {.name = "rotor.threads.channel"};

typedef struct channel_object {
    rotor__object object;
    rotor__thread_queue *queue; /* NULL while it is made, and once it is collected */
    rotor__parcel *held;        /* was received, and not unpacked yet: memory has run out */
} channel_object;

static void free_item(rotor__item *item)
{
    rotor__parcel_free(ROTOR__CONTAINER(item, rotor__parcel, item));
}

static channel_object *check_channel(lua_State *L, int index)
{
    channel_object *ch = rotor__lua_check(L, index, &kind_channel);
    if (!ch->queue)
        luaL_error(L, "the channel was closed with its Lua state");
    return ch;
}

/* [-0, +1, e] channel([capacity]) */
static int l_channel(lua_State *L)
{
    lua_Integer capacity = luaL_optinteger(L, 1, LUA_MAXINTEGER);
    luaL_argcheck(L, capacity >= 1, 1, "a capacity of at least 1 expected, or none");
    channel_object *ch = rotor__lua_new(L, &kind_channel, sizeof *ch, 0);
    ch->queue = rotor__thread_queue_new((size_t)capacity, free_item);
    return ch->queue ? 1 : luaL_error(L, "not enough memory");
}

/* -- results ----------------------------------------------------------------------------------- */

static int push_closed(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
}

/* [-0, +1, m] What is held. It is given up only when it is unpacked: else the next receiver gets it. */
static int push_held(lua_State *L, channel_object *ch)
{
    rotor__unpack(L, ch->held);
    rotor__parcel *parcel = ch->held;
    ch->held = NULL;
    rotor__parcel_free(parcel);
    return 1;
}

/* [-0, +1 or 2, m] */
static int received(lua_State *L, channel_object *ch, int error, rotor__item *item)
{
    if (error == ROTOR_ECLOSED)
        return push_closed(L);
    if (error)
        return rotor__lua_fail(L, error);
    ch->held = ROTOR__CONTAINER(item, rotor__parcel, item);
    return push_held(L, ch);
}

static void check_value(lua_State *L, int index)
{
    luaL_argcheck(L, !lua_isnoneornil(L, index), index, "a value that is not nil expected");
}

/* [-0, +n or 0, m] Receive what is there; -1: there is nothing. */
static int poll_receive(lua_State *L, channel_object *ch)
{
    rotor__item *item = NULL;
    if (ch->held)
        return push_held(L, ch);
    int error = rotor__thread_queue_receive(ch->queue, &item);
    return error == UV_EAGAIN ? -1 : received(L, ch, error, item);
}

/* [-0, +1 or 2, e] try_recv(): a value; nil, "empty"; nil, "closed" */
static int channel_try_recv(lua_State *L)
{
    int n = poll_receive(L, check_channel(L, 1));
    if (n >= 0)
        return n;
    lua_pushnil(L);
    lua_pushliteral(L, "empty");
    return 2;
}

/* [-0, +1 or 2, e] try_send(value): true; false: there is no room; nil, "closed" */
static int channel_try_send(lua_State *L)
{
    channel_object *ch = check_channel(L, 1);
    check_value(L, 2);
    rotor__parcel *parcel = rotor__pack(L, 2, "msg");
    int error = rotor__thread_queue_send(ch->queue, &parcel->item);
    if (error)
        rotor__parcel_free(parcel);
    if (error == ROTOR_ECLOSED)
        return push_closed(L);
    lua_pushboolean(L, !error);
    return 1;
}

/* -- the rest ---------------------------------------------------------------------------------- */

/* [-0, +0, e] close(): what is in it can still be received. Idempotent. */
static int channel_close(lua_State *L)
{
    (void)rotor__thread_queue_close(check_channel(L, 1)->queue);
    return 0;
}

/* [-0, +1, e] #channel: values in it */
static int channel_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rotor__thread_queue_count(check_channel(L, 1)->queue));
    return 1;
}

static int channel_gc(lua_State *L)
{
    channel_object *ch = rotor__lua_check(L, 1, &kind_channel);
    rotor__thread_queue_unref(ch->queue);
    rotor__parcel_free(ch->held);
    ch->queue = NULL;
    ch->held = NULL;
    return 0;
}

static void *take_channel(lua_State *L, void *object)
{
    channel_object *ch = object;
    if (!ch->queue)
        luaL_error(L, "the channel was closed with its Lua state");
    return rotor__thread_queue_ref(ch->queue);
}

static void release_channel(void *queue)
{
    rotor__thread_queue_unref(queue);
}

static void push_channel(lua_State *L, void *queue)
{
    channel_object *ch = rotor__lua_new(L, &kind_channel, sizeof *ch, 0);
    ch->queue = rotor__thread_queue_ref(queue);
}

const rotor__passage rotor__passage_channel = {&kind_channel, take_channel, release_channel,
                                               push_channel};

static const luaL_Reg methods[] = {{"try_send", channel_try_send},
                                   {"try_recv", channel_try_recv},
                                   {"close", channel_close},
                                   {NULL, NULL}};
static const luaL_Reg meta[] = {
    {"__len", channel_len}, {"__gc", channel_gc}, {"__close", channel_close}, {NULL, NULL}};

void rotor__lua_open_thread_channel(lua_State *L)
{
    rotor__lua_kind(L, &kind_channel, methods, meta);
    lua_pushcfunction(L, l_channel);
    lua_setfield(L, -2, "channel");
}
