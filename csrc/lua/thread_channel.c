/* Channels between threads: one object of each for every Lua state that has it.
**
** A task that waits is in the queue of a station, which is the loop's place at the channel. When something
** may be there, the first of them runs, and takes it itself: so what is taken out is never lost with a task
** that was canceled, nor kept from the other threads by one that is not going to want it. */
#include "../core/alloc.h"
#include "lua_task.h"
#include "lua_threads.h"

static int poll_receive(lua_State *L, int index);
static int poll_send(lua_State *L, int index);
static rotor__waits *receive_queue(lua_State *L, int index);
static rotor__waits *send_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {
    {"recv", poll_receive, receive_queue}, {"send", poll_send, send_queue}, {NULL, NULL, NULL}};
static const rotor__kind kind_channel = {"rotor.threads.channel", waitables};

typedef struct station {
    rotor__station station;
    rotor__waits waits;
    const rotor__lua_loop *ll;
    struct station *next; /* of the object */
} station;

typedef struct channel_object {
    rotor__object object;
    rotor__thread_queue *queue; /* NULL while it is made, and once it is collected */
    rotor__parcel *held;        /* what was received and not unpacked, as memory has run out */
    station *stations;
} channel_object;

static void free_item(rotor__item *item)
{
    rotor__parcel_free(rotor__parcel_of(item));
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

/* [-0, +1, m] The first of what is held. If it cannot be unpacked the next receiver gets it. */
static int push_held(lua_State *L, channel_object *ch)
{
    luaL_checkstack(L, 2, "not enough memory");
    rotor__parcel *parcel = ch->held;
    ch->held = rotor__parcel_of(parcel->item.next);
    if (rotor__try_unpack(L, parcel) != LUA_OK) {
        parcel->item.next = ch->held ? &ch->held->item : NULL;
        ch->held = parcel;
        return lua_error(L);
    }
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
    item->next = NULL;
    ch->held = rotor__parcel_of(item);
    return push_held(L, ch);
}

/* [-0, +n, m] Receive what is there; -1: there is nothing. */
static int poll_receive(lua_State *L, int index)
{
    channel_object *ch = check_channel(L, index);
    rotor__item *item = NULL;
    if (ch->held)
        return push_held(L, ch);
    int error = rotor__thread_queue_receive(ch->queue, &item);
    return error == UV_EAGAIN ? -1 : received(L, ch, error, item);
}

/* [-0, +1 or 2, m] Whether it could be sent; if not, what has moved is back. */
static int sent(lua_State *L, int error, rotor__parcel *parcel)
{
    if (error)
        rotor__parcel_return(parcel);
    if (error == ROTOR_ECLOSED)
        return push_closed(L);
    return rotor__lua_result(L, error);
}

/* [-0, +1 or 2, e] Send what is behind the channel; -1: there is no room. */
static int poll_send(lua_State *L, int index)
{
    channel_object *ch = check_channel(L, index);
    if (lua_isnoneornil(L, index + 1)) /* of task.select */
        return luaL_error(L, "what is to be sent is missing: { send = channel, value = ... }");
    /* So that it is not packed in vain. */
    if (rotor__thread_queue_seems_full(ch->queue) && !rotor__thread_queue_is_closed(ch->queue))
        return -1;
    rotor__parcel *parcel = rotor__pack(L, index + 1, "msg", ROTOR__TO_ONE);
    int error = rotor__thread_queue_send(ch->queue, &parcel->item);
    if (error == UV_EAGAIN) {
        rotor__parcel_return(parcel);
        return -1;
    }
    return sent(L, error, parcel);
}

static void check_value(lua_State *L, int index)
{
    luaL_argcheck(L, !lua_isnoneornil(L, index), index, "a value that is not nil expected");
}

/* -- stations ---------------------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

static void arrive(rotor__station *base, rotor_loop *loop)
{
    station *s = ROTOR__CONTAINER(base, station, station);
    rotor__wait *wait = NULL;
    for (int i = 0; loop && i < AT_ONCE && (wait = rotor__waits_first(&s->waits)) &&
                    rotor__thread_queue_is_ready(base->queue, base->direction);
         i++)
        rotor__task_complete_now(wait, 0);
    if (loop && rotor__waits_first(&s->waits))
        rotor__station_wait(base);
}

static void free_station(rotor__station *base)
{
    rotor_free(ROTOR__CONTAINER(base, station, station));
}

/* Those of loops that are closed; or `all`: when the Lua state closes, the object goes before the tasks do that
** wait at it. */
static void leave_stations(channel_object *ch, bool all)
{
    for (station **at = &ch->stations, *s; (s = *at);) {
        if (!all && s->ll->loop) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        for (rotor__wait *wait; (wait = rotor__waits_first(&s->waits));)
            rotor__link_remove(&wait->link);
        rotor__station_leave(&s->station);
        rotor__station_unref(&s->station);
    }
}

/* [-0, +0, m] */
static station *station_of(lua_State *L, channel_object *ch, const rotor__lua_loop *ll,
                           rotor__direction direction)
{
    station *s = ch->stations;
    while (s && (s->ll != ll || s->station.direction != direction))
        s = s->next;
    if (s)
        return s;
    leave_stations(ch, false);
    s = rotor_alloc_zero(sizeof *s);
    if (!s)
        luaL_error(L, "not enough memory");
    rotor__station_init(&s->station, ch->queue, direction, ll->loop);
    s->station.arrive = arrive;
    s->station.destroy = free_station;
    s->ll = ll;
    s->next = ch->stations;
    ch->stations = s;
    return s;
}

static rotor__waits *queue(lua_State *L, int index, rotor__direction direction)
{
    channel_object *ch = check_channel(L, index);
    const rotor__task *t = rotor__lua_vm(L)->tasks->running;
    station *s = station_of(L, ch, rotor__task_ll(t), direction);
    rotor__station_wait(&s->station);
    return &s->waits;
}

static rotor__waits *receive_queue(lua_State *L, int index)
{
    return queue(L, index, ROTOR__RECEIVE);
}

static rotor__waits *send_queue(lua_State *L, int index)
{
    return queue(L, index, ROTOR__SEND);
}

/* -- waiting ----------------------------------------------------------------------------------- */

bool rotor__may_block(const rotor__vm *vm)
{
    for (const rotor__lua_loop *ll = vm->loops; ll; ll = ll->next)
        if (ll->loop && (ll->loop->running || ll->loop->busy))
            return false;
    return true;
}

typedef struct way {
    rotor__direction direction;
    int (*poll)(lua_State *L, int index);
    lua_KFunction k;
} way;

/* [-0, +n, e] In a task, with the channel at 1 and what is to be sent at 2: do it, or wait for it. Whoever
** waits there already comes first. */
static int do_or_wait(lua_State *L, rotor__task *t, const way *w, uint64_t deadline, bool again)
{
    station *s = station_of(L, check_channel(L, 1), rotor__task_ll(t), w->direction);
    int n = again || !rotor__waits_first(&s->waits) ? w->poll(L, 1) : -1;
    if (n >= 0)
        return again ? n : rotor__task_breathe(L, t, n);
    rotor__station_wait(&s->station);
    return rotor__task_wait(L, t, &s->waits, 0, deadline, (lua_KContext)deadline, w->k);
}

/* The wait is over: there was something, and most likely still is. */
static int go_on(lua_State *L, const way *w, lua_KContext deadline)
{
    if (!rotor__task_completed(L))
        return rotor__lua_fail(L, UV_ETIMEDOUT);
    return do_or_wait(L, rotor__lua_vm(L)->tasks->running, w, (uint64_t)deadline, true);
}

static int resume_receive(lua_State *L, int status, lua_KContext deadline);
static int resume_send(lua_State *L, int status, lua_KContext deadline);

static const way receiving = {ROTOR__RECEIVE, poll_receive, resume_receive};
static const way sending = {ROTOR__SEND, poll_send, resume_send};

static int resume_receive(lua_State *L, int status, lua_KContext deadline)
{
    return go_on(L, &receiving, deadline);
}

static int resume_send(lua_State *L, int status, lua_KContext deadline)
{
    return go_on(L, &sending, deadline);
}

/* [-0, +1 to 3, e] recv([seconds]): a value; nil, "closed"; nil, …, "ETIMEDOUT" */
static int channel_recv(lua_State *L)
{
    channel_object *ch = check_channel(L, 1);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    lua_settop(L, 1);
    if (!rotor__may_block(rotor__lua_vm(L))) {
        rotor__task *t = rotor__task_here(L);
        return do_or_wait(L, t, &receiving, rotor__task_deadline(t, ms), false);
    }
    rotor__item *item = NULL;
    if (ch->held)
        return push_held(L, ch);
    int error =
        rotor__thread_queue_receive_blocking(ch->queue, &item, ms, rotor__lua_vm(L)->blocker);
    return received(L, ch, error, item);
}

/* [-0, +1 to 3, e] send(value[, seconds]): true; nil, "closed"; nil, …, "ETIMEDOUT" */
static int channel_send(lua_State *L)
{
    channel_object *ch = check_channel(L, 1);
    check_value(L, 2);
    uint64_t ms = rotor__lua_check_ms(L, 3);
    lua_settop(L, 2);
    if (!rotor__may_block(rotor__lua_vm(L))) {
        rotor__task *t = rotor__task_here(L);
        return do_or_wait(L, t, &sending, rotor__task_deadline(t, ms), false);
    }
    rotor__parcel *parcel = rotor__pack(L, 2, "msg", ROTOR__TO_ONE);
    rotor__blocker *blocker = rotor__lua_vm(L)->blocker;
    return sent(L, rotor__thread_queue_send_blocking(ch->queue, &parcel->item, ms, blocker),
                parcel);
}

/* [-0, +1 or 2, e] for value in channel do */
static int iterate(lua_State *L)
{
    lua_settop(L, 1);
    return channel_recv(L);
}

/* [-0, +1 or 2, e] try_recv(): a value; nil, "empty"; nil, "closed" */
static int channel_try_recv(lua_State *L)
{
    (void)check_channel(L, 1);
    int n = poll_receive(L, 1);
    if (n >= 0)
        return n;
    lua_pushnil(L);
    lua_pushliteral(L, "empty");
    return 2;
}

/* [-0, +1 or 2, e] try_send(value): true; false: there is no room; nil, "closed" */
static int channel_try_send(lua_State *L)
{
    (void)check_channel(L, 1);
    check_value(L, 2);
    int n = poll_send(L, 1);
    if (n >= 0)
        return n;
    lua_pushboolean(L, 0);
    return 1;
}

/* -- the rest ---------------------------------------------------------------------------------- */

/* [-0, +0, e] close(): what is in it can still be received. Idempotent. */
static int channel_close(lua_State *L)
{
    (void)rotor__thread_queue_close(check_channel(L, 1)->queue);
    return 0;
}

/* [-0, +1, e] whether it is */
static int channel_closed(lua_State *L)
{
    lua_pushboolean(L, rotor__thread_queue_is_closed(check_channel(L, 1)->queue));
    return 1;
}

/* [-0, +1, e] whether both are the same channel */
static int channel_eq(lua_State *L)
{
    const channel_object *a = rotor__lua_test(L, 1, &kind_channel);
    const channel_object *b = rotor__lua_test(L, 2, &kind_channel);
    lua_pushboolean(L, a && b && a->queue == b->queue);
    return 1;
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
    leave_stations(ch, true);
    rotor__thread_queue_unref(ch->queue);
    ch->queue = NULL;
    for (rotor__parcel *parcel; (parcel = ch->held);) {
        ch->held = rotor__parcel_of(parcel->item.next);
        rotor__parcel_free(parcel);
    }
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

const rotor__passage rotor__passage_channel = {
    .kind = &kind_channel, .take = take_channel, .release = release_channel, .push = push_channel};

static const luaL_Reg methods[] = {{"send", channel_send},
                                   {"try_send", channel_try_send},
                                   {"recv", channel_recv},
                                   {"try_recv", channel_try_recv},
                                   {"close", channel_close},
                                   {"closed", channel_closed},
                                   {NULL, NULL}};
static const luaL_Reg meta[] = {{"__len", channel_len},     {"__call", iterate},
                                {"__eq", channel_eq},       {"__gc", channel_gc},
                                {"__close", channel_close}, {NULL, NULL}};

void rotor__lua_open_thread_channel(lua_State *L)
{
    rotor__lua_kind(L, &kind_channel, methods, meta);
    lua_pushcfunction(L, l_channel);
    lua_setfield(L, -2, "channel");
}
