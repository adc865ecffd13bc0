/* Futures on their way to another thread.
**
** A future is of its loop, so one that is sent stays at home, where a relay follows it in place of the object that
** it had. Who receives it gets a future of the loop there, and when the first is resolved, the relay resolves the
** other: with the value, which it packs at home. To end the other unresolved cancels the first. */
#include <stdatomic.h>

#include "../core/alloc.h"
#include "lua_future.h"

/* Its references are of home, while that follows the future; of what is on its way or has arrived; and of each letter
** that is on its way. */
typedef struct rotor__lua_relay {
    rotor__letter outcome_letter; /* to where it has gone */
    rotor__letter cancel_letter;  /* home */
    atomic_uint refs;
    uv_mutex_t lock;
    bool resolved; /* under the lock, as is all that follows: */
    int status;
    rotor__lua_box *box;
    rotor_future *away; /* NULL: it has not arrived, has been resolved, or is not wanted any more */
    /* At home: */
    rotor__mailbox *mailbox;
    rotor__lua_loop *ll;
    rotor_future *source;                  /* NULL: it is not followed any more */
    struct rotor__lua_relay *next, **link; /* among the loop's, while it is */
} relay;

/* The future that has arrived. */
typedef struct arrival {
    rotor_future future;
    relay *relay; /* NULL: it is resolved, or is not to be any more */
} arrival;

static relay *ref(relay *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

static void unref(relay *r)
{
    if (atomic_fetch_sub(&r->refs, 1) > 1)
        return;
    if (r->box)
        rotor__lua_free_box(r->box);
    rotor__mailbox_unref(r->mailbox);
    uv_mutex_destroy(&r->lock);
    rotor_free(r);
}

/* -- where it has gone ------------------------------------------------------------------------- */

static void resolve(arrival *a, int status, rotor__lua_box *box)
{
    relay *r = a->relay;
    a->relay = NULL;
    rotor__future_resolve(&a->future, status, box);
    unref(r);
}

static void deliver_outcome(rotor__letter *letter, rotor_loop *loop)
{
    relay *r = ROTOR__CONTAINER(letter, relay, outcome_letter);
    uv_mutex_lock(&r->lock);
    rotor_future *away = r->away;
    r->away = NULL;
    uv_mutex_unlock(&r->lock);
    if (away && loop && !atomic_load(&away->dropped)) {
        rotor__lua_box *box = r->box;
        r->box = NULL;
        resolve(ROTOR__CONTAINER(away, arrival, future), r->status, box);
    }
    if (away)
        rotor__future_unref(away);
    unref(r);
}

/* Nobody there wants it any more. Any thread. */
static void give_up(relay *r)
{
    uv_mutex_lock(&r->lock);
    bool resolved = r->resolved;
    rotor_future *away = r->away;
    r->away = NULL;
    uv_mutex_unlock(&r->lock);
    if (away)
        rotor__future_unref(away);
    if (!resolved && rotor__mailbox_post(r->mailbox, &ref(r)->cancel_letter))
        unref(r);
    unref(r);
}

static rotor_future *on_abandon(rotor_future *f)
{
    arrival *a = ROTOR__CONTAINER(f, arrival, future);
    relay *r = a->relay;
    a->relay = NULL;
    if (r)
        give_up(r);
    return NULL;
}

/* -- at home ----------------------------------------------------------------------------------- */

static rotor_future *stop_following(relay *r)
{
    rotor_future *source = r->source;
    r->source = NULL;
    source->follow = NULL;
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    return source;
}

static void deliver_cancel(rotor__letter *letter, rotor_loop *loop)
{
    relay *r = ROTOR__CONTAINER(letter, relay, cancel_letter);
    if (loop && r->source) {
        rotor_future_drop(stop_following(r));
        unref(r);
    }
    unref(r);
}

typedef struct packing {
    const rotor__lua_box *box;
    int status;
    bool named;
    rotor__parcel *parcel;
} packing;

/* [packing] */
static int pack_box(lua_State *D)
{
    packing *p = lua_touserdata(D, 1);
    lua_rawgeti(D, LUA_REGISTRYINDEX, p->box->ref);
    p->parcel = rotor__pack(D, -1, p->status ? "error" : "value", ROTOR__TO_ONE);
    return 0;
}

/* [packing, why it could not be packed] That is the error; unless it was one already, which goes as text. */
static int pack_text(lua_State *D)
{
    packing *p = lua_touserdata(D, 1);
    if (p->status) {
        lua_rawgeti(D, LUA_REGISTRYINDEX, p->box->ref);
        if (p->named)
            lua_rawgeti(D, -1, 1);
        luaL_tolstring(D, -1, NULL);
        lua_replace(D, 2);
    }
    if (p->named) {
        lua_createtable(D, 2, 0);
        lua_pushvalue(D, 2);
        lua_rawseti(D, -2, 1);
        lua_rawgeti(D, 3, 2);
        lua_rawseti(D, -2, 2);
        lua_replace(D, 2);
    }
    p->parcel = rotor__pack(D, 2, "error", ROTOR__TO_ONE);
    p->status = p->status ? p->status : ROTOR_ELUA;
    return 0;
}

/* Another box, which can travel, for that one. *status may be another, too. As the Lua state closes, when finalizers have
** taken what is in it apart, there is none. */
static rotor__lua_box *exchange(const relay *r, rotor__lua_box *box, int *status)
{
    lua_State *D = r->ll->vm->D;
    packing p = {box, *status, box->named, NULL};
    if (r->ll->vm->closed) {
        rotor__lua_free_box(box);
        *status = ROTOR_ECLOSED;
        return NULL;
    }
    lua_pushcfunction(D, pack_box);
    lua_pushlightuserdata(D, &p);
    if (lua_pcall(D, 1, 0, 0) != LUA_OK) {
        lua_pushcfunction(D, pack_text);
        lua_insert(D, -2);
        lua_pushlightuserdata(D, &p);
        lua_insert(D, -2);
        if (lua_pcall(D, 2, 0, 0) != LUA_OK)
            lua_pop(D, 1);
    }
    rotor__lua_free_box(box);
    box = p.parcel ? rotor__lua_box_parcel(p.parcel, p.named) : NULL;
    if (!box)
        rotor__parcel_free(p.parcel);
    *status = box ? p.status : UV_ENOMEM;
    return box;
}

static void on_resolved(rotor_future *f, void *context)
{
    relay *r = context;
    void *value;
    int status = rotor_future_take(stop_following(r), &value);
    rotor__lua_box *box = value;
    if (box && !box->parcel)
        box = exchange(r, box, &status);
    uv_mutex_lock(&r->lock);
    r->resolved = true;
    r->status = status;
    r->box = box;
    rotor__mailbox *there = r->away ? rotor__mailbox_ref(r->away->mailbox) : NULL;
    uv_mutex_unlock(&r->lock);
    if (there) {
        if (rotor__mailbox_post(there, &ref(r)->outcome_letter))
            deliver_outcome(&r->outcome_letter, NULL);
        rotor__mailbox_unref(there);
    }
    unref(r);
}

void rotor__lua_end_relays(rotor__lua_loop *ll)
{
    while (ll->relays)
        on_resolved(ll->relays->source, ll->relays);
}

/* -- travelling -------------------------------------------------------------------------------- */

static const char *refusal(const void *data, rotor__way way)
{
    const rotor__lua_future_object *object = data;
    if (!object->future)
        return "is a future that is not here any more: it was canceled, sent or combined";
    if (!object->ll->loop)
        return "is a future whose loop is closed";
    if (rotor__waits_first(&object->waits))
        return "is a future that a task waits for";
    if (rotor__lua_is_opening(object))
        return "is a future whose value is being looked at";
    switch (way) {
    case ROTOR__TO_POOL:
        return "is a future, which an offloaded function could not wait for";
    case ROTOR__FROM_POOL:
        return "is a future of an offloaded function, whose loop nobody runs";
    case ROTOR__TO_SEVERAL:
        return "is a future, which only one can have; a channel passes it on";
    default:
        return NULL;
    }
}

static void *take(lua_State *L, void *data)
{
    const rotor__lua_future_object *object = data;
    relay *r = rotor_alloc_zero(sizeof *r);
    if (!r || uv_mutex_init(&r->lock)) {
        rotor_free(r);
        luaL_error(L, "not enough memory");
    }
    atomic_init(&r->refs, 1);
    r->resolved = true; /* unless it departs there is nothing to give up */
    r->outcome_letter.deliver = deliver_outcome;
    r->cancel_letter.deliver = deliver_cancel;
    r->ll = object->ll;
    r->mailbox = rotor__mailbox_ref(r->ll->loop->mailbox);
    return r;
}

static void *depart(void *object, void *data)
{
    relay *r = ref(data);
    r->resolved = false;
    r->source = rotor__lua_take_future(object);
    r->next = r->ll->relays;
    if (r->next)
        r->next->link = &r->next;
    r->link = &r->ll->relays;
    r->ll->relays = r;
    rotor__future_follow(r->source, on_resolved, r);
    return r;
}

static void restore(void *object, void *data)
{
    relay *r = data;
    ((rotor__lua_future_object *)object)->future = stop_following(r);
    unref(r);
    unref(r);
}

/* It has not departed, or nobody has received it. */
static void release(void *data)
{
    if (data)
        give_up(data);
}

static void push(lua_State *L, void *data)
{
    rotor__lua_loop *ll = rotor__lua_present_loop(L);
    rotor__lua_future_object *object = rotor__lua_push_future(L, ll);
    object->future = rotor__future_make(sizeof(arrival), ll->loop, ll->loop->mailbox,
                                        rotor__lua_free_box, on_abandon);
    if (!object->future)
        luaL_error(L, "not enough memory");
}

/* The loop may have been closed meanwhile, by a finalizer. */
static void arrive(void *object, void *data)
{
    relay *r = data;
    rotor_future *f = ((rotor__lua_future_object *)object)->future;
    arrival *a = ROTOR__CONTAINER(f, arrival, future);
    a->relay = r;
    uv_mutex_lock(&r->lock);
    bool resolved = r->resolved;
    if (!resolved)
        r->away = rotor__future_ref(f);
    uv_mutex_unlock(&r->lock);
    if (resolved && !atomic_load(&f->mailbox->closed)) {
        rotor__lua_box *box = r->box;
        r->box = NULL;
        resolve(a, r->status, box);
    }
}

static const rotor__moving moving = {depart, restore, arrive};
const rotor__passage rotor__passage_future = {.kind = &rotor__kind_future,
                                              .refusal = refusal,
                                              .take = take,
                                              .release = release,
                                              .push = push,
                                              .moving = &moving};
