/* The queue in a channel between threads. */
#include "thread_queue.h"

/* One side of the queue: who waits to receive, or to send. */
typedef struct side {
    rotor__station *first, **last;
    unsigned blocked;
    uv_cond_t cond;
} side;

struct rotor__thread_queue {
    uv_mutex_t lock; /* what every call touches is behind it, in the same line of the cache */
    rotor__item *first, **last;
    atomic_size_t count; /* changes under the lock */
    size_t capacity;
    bool closed;
    side sides[2];
    atomic_uint refs;
    void (*destroy)(rotor__item *item);
};

/* It is held for a moment only, so on glibc who finds it taken looks again a few times before it sleeps. */
static int init_lock(uv_mutex_t *lock)
{
#ifdef __GLIBC__
    pthread_mutexattr_t kind;
    int error = pthread_mutexattr_init(&kind);
    if (error)
        return error;
    (void)pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
    error = pthread_mutex_init(lock, &kind);
    (void)pthread_mutexattr_destroy(&kind);
    return error;
#else
    return uv_mutex_init(lock);
#endif
}

rotor__thread_queue *rotor__thread_queue_new(size_t capacity, void (*destroy)(rotor__item *item))
{
    rotor__thread_queue *q = rotor_alloc_zero(sizeof *q);
    if (!q)
        return NULL;
    atomic_init(&q->refs, 1);
    q->capacity = capacity;
    q->destroy = destroy;
    q->last = &q->first;
    for (int i = 0; i < 2; i++)
        q->sides[i].last = &q->sides[i].first;
    if (init_lock(&q->lock)) {
        rotor_free(q);
        return NULL;
    }
    if (uv_cond_init(&q->sides[0].cond)) {
        uv_mutex_destroy(&q->lock);
        rotor_free(q);
        return NULL;
    }
    if (uv_cond_init(&q->sides[1].cond)) {
        uv_cond_destroy(&q->sides[0].cond);
        uv_mutex_destroy(&q->lock);
        rotor_free(q);
        return NULL;
    }
    return q;
}

rotor__thread_queue *rotor__thread_queue_ref(rotor__thread_queue *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    return q;
}

void rotor__thread_queue_unref(rotor__thread_queue *q)
{
    if (!q || atomic_fetch_sub(&q->refs, 1) > 1)
        return;
    for (rotor__item *item = q->first, *next; item; item = next) {
        next = item->next;
        q->destroy(item);
    }
    uv_cond_destroy(&q->sides[0].cond);
    uv_cond_destroy(&q->sides[1].cond);
    uv_mutex_destroy(&q->lock);
    rotor_free(q);
}

/* -- under the lock ---------------------------------------------------------------------------- */

static size_t count_of(const rotor__thread_queue *q)
{
    return atomic_load_explicit(&q->count, memory_order_relaxed);
}

static void set_count(rotor__thread_queue *q, size_t count)
{
    atomic_store_explicit(&q->count, count, memory_order_relaxed);
}

/* 0, UV_EAGAIN or ROTOR_ECLOSED: what would happen there. */
static int look(const rotor__thread_queue *q, rotor__direction direction)
{
    if (direction == ROTOR__SEND)
        return q->closed ? ROTOR_ECLOSED : count_of(q) < q->capacity ? 0 : UV_EAGAIN;
    return count_of(q) > 0 ? 0 : q->closed ? ROTOR_ECLOSED : UV_EAGAIN;
}

static void unlink_station(rotor__station *s)
{
    side *one = &s->queue->sides[s->direction];
    *s->link = s->next;
    *(s->next ? &s->next->link : &one->last) = s->link;
    s->link = NULL;
}

static rotor__station *hand_out(rotor__station *s)
{
    s->posted = true;
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* The station that waits longest, to be posted once the lock is free; or NULL. */
static rotor__station *call(side *one)
{
    rotor__station *s = one->first;
    if (!s)
        return NULL;
    unlink_station(s);
    return hand_out(s);
}

/* There is something for one of those on that side. */
static rotor__station *wake_one(side *one)
{
    if (one->blocked > 0)
        uv_cond_signal(&one->cond);
    return call(one);
}

/* -- without it -------------------------------------------------------------------------------- */

/* What is left there is for the next that waits: the one before did not want it. */
static void pass_on(rotor__thread_queue *q, rotor__direction direction);

static void post(rotor__station *s)
{
    if (!s || rotor__mailbox_post(s->mailbox, &s->letter) == 0)
        return;
    rotor__thread_queue *q = rotor__thread_queue_ref(s->queue); /* its loop has ended */
    rotor__direction direction = s->direction;
    uv_mutex_lock(&q->lock);
    s->posted = false;
    uv_mutex_unlock(&q->lock);
    rotor__station_unref(s);
    pass_on(q, direction);
    rotor__thread_queue_unref(q);
}

static void pass_on(rotor__thread_queue *q, rotor__direction direction)
{
    uv_mutex_lock(&q->lock);
    rotor__station *s = look(q, direction) == UV_EAGAIN ? NULL : wake_one(&q->sides[direction]);
    uv_mutex_unlock(&q->lock);
    post(s);
}

static void put_in(rotor__thread_queue *q, rotor__item *item)
{
    item->next = NULL;
    *q->last = item;
    q->last = &item->next;
    set_count(q, count_of(q) + 1);
}

static rotor__item *take_out(rotor__thread_queue *q)
{
    rotor__item *item = q->first;
    q->first = item->next;
    if (!q->first)
        q->last = &q->first;
    set_count(q, count_of(q) - 1);
    return item;
}

/* With the lock, which it gives back: do it if it can be done. */
static int act(rotor__thread_queue *q, rotor__direction direction, rotor__item **item)
{
    rotor__station *s = NULL;
    int error = look(q, direction);
    if (!error && direction == ROTOR__SEND) {
        put_in(q, *item);
        s = wake_one(&q->sides[ROTOR__RECEIVE]);
    } else if (!error) {
        *item = take_out(q);
        if (!q->closed && count_of(q) < q->capacity)
            s = wake_one(&q->sides[ROTOR__SEND]);
    }
    uv_mutex_unlock(&q->lock);
    if (s)
        post(s);
    return error;
}

int rotor__thread_queue_send(rotor__thread_queue *q, rotor__item *item)
{
    uv_mutex_lock(&q->lock);
    return act(q, ROTOR__SEND, &item);
}

int rotor__thread_queue_receive(rotor__thread_queue *q, rotor__item **item)
{
    uv_mutex_lock(&q->lock);
    return act(q, ROTOR__RECEIVE, item);
}

bool rotor__thread_queue_close(rotor__thread_queue *q)
{
    uv_mutex_lock(&q->lock);
    bool was_open = !q->closed;
    q->closed = true;
    for (int i = 0; i < 2; i++)
        uv_cond_broadcast(&q->sides[i].cond);
    for (int i = 0; i < 2; i++)
        for (rotor__station *s; (s = call(&q->sides[i]));) {
            uv_mutex_unlock(&q->lock); /* it stays closed, and none comes that would wait */
            post(s);
            uv_mutex_lock(&q->lock);
        }
    uv_mutex_unlock(&q->lock);
    return was_open;
}

size_t rotor__thread_queue_count(const rotor__thread_queue *q)
{
    return count_of(q);
}

bool rotor__thread_queue_seems_full(const rotor__thread_queue *q)
{
    return count_of(q) >= q->capacity;
}

bool rotor__thread_queue_is_closed(rotor__thread_queue *q)
{
    uv_mutex_lock(&q->lock);
    bool closed = q->closed;
    uv_mutex_unlock(&q->lock);
    return closed;
}

bool rotor__thread_queue_is_ready(rotor__thread_queue *q, rotor__direction direction)
{
    uv_mutex_lock(&q->lock);
    bool ready = look(q, direction) != UV_EAGAIN;
    uv_mutex_unlock(&q->lock);
    return ready;
}

/* -- plain threads ----------------------------------------------------------------------------- */

int rotor__blocker_init(rotor__blocker *b)
{
    b->on = NULL;
    atomic_init(&b->stop, false);
    return uv_mutex_init(&b->lock) ? UV_ENOMEM : 0;
}

void rotor__blocker_fini(rotor__blocker *b)
{
    uv_mutex_destroy(&b->lock);
}

void rotor__blocker_reset(rotor__blocker *b, bool stopped)
{
    atomic_store(&b->stop, stopped);
}

void rotor__blocker_stop(rotor__blocker *b)
{
    atomic_store(&b->stop, true);
    uv_mutex_lock(&b->lock);
    rotor__thread_queue *q = b->on;
    if (q) { /* which its thread keeps as long as it stands there */
        uv_mutex_lock(&q->lock);
        for (int i = 0; i < 2; i++)
            uv_cond_broadcast(&q->sides[i].cond);
        uv_mutex_unlock(&q->lock);
    }
    uv_mutex_unlock(&b->lock);
}

static void stand_at(rotor__blocker *b, rotor__thread_queue *q)
{
    if (!b)
        return;
    uv_mutex_lock(&b->lock);
    b->on = q;
    uv_mutex_unlock(&b->lock);
}

static int block(rotor__thread_queue *q, rotor__direction direction, rotor__item **item,
                 uint64_t ms, rotor__blocker *b)
{
    side *one = &q->sides[direction];
    uint64_t now = uv_hrtime();
    uint64_t until = ms < (UINT64_MAX - now) / 1000000 ? now + ms * 1000000 : UINT64_MAX;
    int error = 0;
    stand_at(b, q);
    uv_mutex_lock(&q->lock);
    while (look(q, direction) == UV_EAGAIN && !error) {
        now = uv_hrtime();
        if (b && atomic_load(&b->stop)) {
            error = ROTOR_ECANCELED;
        } else if (now >= until) {
            error = UV_ETIMEDOUT;
        } else {
            one->blocked++;
            if (until == UINT64_MAX)
                uv_cond_wait(&one->cond, &q->lock);
            else
                (void)uv_cond_timedwait(&one->cond, &q->lock, until - now);
            one->blocked--;
        }
    }
    if (error)
        uv_mutex_unlock(&q->lock);
    else
        error = act(q, direction, item);
    stand_at(b, NULL);
    return error;
}

int rotor__thread_queue_send_blocking(rotor__thread_queue *q, rotor__item *item, uint64_t ms,
                                      rotor__blocker *b)
{
    return block(q, ROTOR__SEND, &item, ms, b);
}

int rotor__thread_queue_receive_blocking(rotor__thread_queue *q, rotor__item **item, uint64_t ms,
                                         rotor__blocker *b)
{
    return block(q, ROTOR__RECEIVE, item, ms, b);
}

/* -- loops ------------------------------------------------------------------------------------- */

static void deliver(rotor__letter *letter, rotor_loop *loop)
{
    rotor__station *s = ROTOR__CONTAINER(letter, rotor__station, letter);
    uv_mutex_lock(&s->queue->lock);
    s->posted = false;
    uv_mutex_unlock(&s->queue->lock);
    s->arrive(s, loop);
    pass_on(s->queue, s->direction);
    rotor__station_unref(s);
}

void rotor__station_init(rotor__station *s, rotor__thread_queue *q, rotor__direction direction,
                         rotor_loop *loop)
{
    s->letter.deliver = deliver;
    atomic_init(&s->refs, 1);
    s->queue = rotor__thread_queue_ref(q);
    s->direction = direction;
    s->link = NULL;
    s->posted = false;
    s->mailbox = rotor__mailbox_ref(loop->mailbox);
}

void rotor__station_unref(rotor__station *s)
{
    if (atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    rotor__mailbox_unref(s->mailbox);
    rotor__thread_queue_unref(s->queue);
    s->destroy(s);
}

void rotor__station_wait(rotor__station *s)
{
    rotor__thread_queue *q = s->queue;
    rotor__station *ready = NULL;
    uv_mutex_lock(&q->lock);
    if (!s->link && !s->posted) {
        side *one = &q->sides[s->direction];
        if (look(q, s->direction) != UV_EAGAIN) {
            ready = hand_out(s);
        } else {
            s->next = NULL;
            s->link = one->last;
            *one->last = s;
            one->last = &s->next;
        }
    }
    uv_mutex_unlock(&q->lock);
    post(ready);
}

void rotor__station_leave(rotor__station *s)
{
    uv_mutex_lock(&s->queue->lock);
    if (s->link)
        unlink_station(s);
    uv_mutex_unlock(&s->queue->lock);
}
