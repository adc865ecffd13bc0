/* The queue in a channel between threads.
**
** It has two ends with a lock each. What is sent goes to the back, and who finds the front empty moves all that is at
** the back there. So a sender and a receiver seldom meet, and what either touches stays in the cache of its core.
** Who waits to receive stands at the back, where things come, and who waits to send at the front, where room comes.
** To look at both ends the front is locked first. */
#include "thread_queue.h"

typedef struct end {
    uv_mutex_t lock;
    rotor__item *first, **last; /* `last` at the back only */
    atomic_size_t moved;        /* how many have gone in, or out, there; changes under the lock */
    atomic_size_t seen; /* at the back: how many had gone out when that was last looked at */
    rotor__station *first_station, **last_station;
    unsigned blocked;
    uv_cond_t cond;
    char apart[64]; /* from what else there is: the ends are in different lines of the cache */
} end;

struct rotor__thread_queue {
    end ends[2]; /* by what is done there: the front is ends[ROTOR__RECEIVE] */
    size_t capacity;
    bool closed; /* changes under both locks */
    atomic_uint refs;
    void (*destroy)(rotor__item *item);
};

/* A lock is held for a moment only, so on glibc who finds it taken looks again a few times before it sleeps. */
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

static bool init_end(end *e)
{
    e->last = &e->first;
    e->last_station = &e->first_station;
    if (init_lock(&e->lock))
        return false;
    if (uv_cond_init(&e->cond) == 0)
        return true;
    uv_mutex_destroy(&e->lock);
    return false;
}

static void destroy_end(end *e, void (*destroy)(rotor__item *item))
{
    for (rotor__item *item = e->first, *next; item; item = next) {
        next = item->next;
        destroy(item);
    }
    uv_cond_destroy(&e->cond);
    uv_mutex_destroy(&e->lock);
}

rotor__thread_queue *rotor__thread_queue_new(size_t capacity, void (*destroy)(rotor__item *item))
{
    rotor__thread_queue *q = rotor_alloc_zero(sizeof *q);
    if (!q)
        return NULL;
    atomic_init(&q->refs, 1);
    q->capacity = capacity;
    q->destroy = destroy;
    if (!init_end(&q->ends[0])) {
        rotor_free(q);
        return NULL;
    }
    if (!init_end(&q->ends[1])) {
        destroy_end(&q->ends[0], destroy);
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
    for (int i = 0; i < 2; i++)
        destroy_end(&q->ends[i], q->destroy);
    rotor_free(q);
}

/* -- under the locks --------------------------------------------------------------------------- */

static end *front(rotor__thread_queue *q)
{
    return &q->ends[ROTOR__RECEIVE];
}

static end *back(rotor__thread_queue *q)
{
    return &q->ends[ROTOR__SEND];
}

/* Where those wait that want to do that. */
static end *opposite(rotor__thread_queue *q, rotor__direction direction)
{
    return direction == ROTOR__SEND ? front(q) : back(q);
}

static void lock_both(rotor__thread_queue *q)
{
    uv_mutex_lock(&front(q)->lock);
    uv_mutex_lock(&back(q)->lock);
}

static void unlock_both(rotor__thread_queue *q)
{
    uv_mutex_unlock(&back(q)->lock);
    uv_mutex_unlock(&front(q)->lock);
}

static size_t get(const atomic_size_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void set(atomic_size_t *n, size_t value)
{
    atomic_store_explicit(n, value, memory_order_relaxed);
}

/* With the lock of the back. */
static bool has_room(rotor__thread_queue *q)
{
    end *e = back(q);
    size_t sent = get(&e->moved);
    if (sent - get(&e->seen) < q->capacity)
        return true;
    set(&e->seen, get(&front(q)->moved));
    return sent - get(&e->seen) < q->capacity;
}

/* With both: 0, UV_EAGAIN or ROTOR_ECLOSED: what would happen there. */
static int look(rotor__thread_queue *q, rotor__direction direction)
{
    if (direction == ROTOR__SEND)
        return q->closed ? ROTOR_ECLOSED : has_room(q) ? 0 : UV_EAGAIN;
    return front(q)->first || back(q)->first ? 0 : q->closed ? ROTOR_ECLOSED : UV_EAGAIN;
}

/* With the lock of the end where it stands. */
static void unlink_station(rotor__station *s)
{
    *s->link = s->next;
    *(s->next ? &s->next->link : &opposite(s->queue, s->direction)->last_station) = s->link;
    s->link = NULL;
}

static rotor__station *hand_out(rotor__station *s)
{
    s->posted = true;
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* The station that waits longest there, to be posted once the lock is free; or NULL. */
static rotor__station *call(end *e)
{
    rotor__station *s = e->first_station;
    if (!s)
        return NULL;
    unlink_station(s);
    return hand_out(s);
}

/* There is something for one of those that stand there. */
static rotor__station *wake_one(end *e)
{
    if (e->blocked > 0)
        uv_cond_signal(&e->cond);
    return call(e);
}

/* -- without them ------------------------------------------------------------------------------ */

/* What is left there is for the next that waits: the one before did not want it. */
static void pass_on(rotor__thread_queue *q, rotor__direction direction);

static void post(rotor__station *s)
{
    if (!s || rotor__mailbox_post(s->mailbox, &s->letter) == 0)
        return;
    rotor__thread_queue *q = rotor__thread_queue_ref(s->queue); /* its loop has ended */
    rotor__direction direction = s->direction;
    end *e = opposite(q, direction);
    uv_mutex_lock(&e->lock);
    s->posted = false;
    uv_mutex_unlock(&e->lock);
    rotor__station_unref(s);
    pass_on(q, direction);
    rotor__thread_queue_unref(q);
}

static void pass_on(rotor__thread_queue *q, rotor__direction direction)
{
    lock_both(q);
    rotor__station *s = look(q, direction) == UV_EAGAIN ? NULL : wake_one(opposite(q, direction));
    unlock_both(q);
    post(s);
}

/* With the lock of the back, which it gives back: do it if it can be done. */
static int put_in(rotor__thread_queue *q, rotor__item *item)
{
    end *e = back(q);
    rotor__station *s = NULL;
    int error = q->closed ? ROTOR_ECLOSED : has_room(q) ? 0 : UV_EAGAIN;
    if (!error) {
        item->next = NULL;
        *e->last = item;
        e->last = &item->next;
        set(&e->moved, get(&e->moved) + 1);
        s = wake_one(e);
    }
    uv_mutex_unlock(&e->lock);
    post(s);
    return error;
}

/* With the lock of the front, likewise. */
static int take_out(rotor__thread_queue *q, rotor__item **item)
{
    end *e = front(q), *from = back(q);
    rotor__station *s = NULL;
    int error = 0;
    if (!e->first) {
        uv_mutex_lock(&from->lock);
        e->first = from->first;
        from->first = NULL;
        from->last = &from->first;
        if (!e->first)
            error = q->closed ? ROTOR_ECLOSED : UV_EAGAIN;
        uv_mutex_unlock(&from->lock);
    }
    if (!error) {
        *item = e->first;
        e->first = (*item)->next;
        set(&e->moved, get(&e->moved) + 1);
        s = wake_one(e);
    }
    uv_mutex_unlock(&e->lock);
    post(s);
    return error;
}

int rotor__thread_queue_send(rotor__thread_queue *q, rotor__item *item)
{
    uv_mutex_lock(&back(q)->lock);
    return put_in(q, item);
}

int rotor__thread_queue_receive(rotor__thread_queue *q, rotor__item **item)
{
    uv_mutex_lock(&front(q)->lock);
    return take_out(q, item);
}

bool rotor__thread_queue_close(rotor__thread_queue *q)
{
    lock_both(q);
    bool was_open = !q->closed;
    q->closed = true;
    for (int i = 0; i < 2; i++)
        uv_cond_broadcast(&q->ends[i].cond);
    for (int i = 0; i < 2; i++)
        for (rotor__station *s; (s = call(&q->ends[i]));) {
            unlock_both(q); /* it stays closed, and none comes that would wait */
            post(s);
            lock_both(q);
        }
    unlock_both(q);
    return was_open;
}

size_t rotor__thread_queue_count(const rotor__thread_queue *q)
{
    size_t taken = get(&q->ends[ROTOR__RECEIVE].moved), sent = get(&q->ends[ROTOR__SEND].moved);
    return sent > taken ? sent - taken : 0;
}

bool rotor__thread_queue_seems_full(const rotor__thread_queue *q)
{
    const end *e = &q->ends[ROTOR__SEND];
    return get(&e->moved) - get(&e->seen) >= q->capacity &&
           rotor__thread_queue_count(q) >= q->capacity;
}

bool rotor__thread_queue_is_closed(rotor__thread_queue *q)
{
    uv_mutex_lock(&back(q)->lock);
    bool closed = q->closed;
    uv_mutex_unlock(&back(q)->lock);
    return closed;
}

bool rotor__thread_queue_is_ready(rotor__thread_queue *q, rotor__direction direction)
{
    lock_both(q);
    bool ready = look(q, direction) != UV_EAGAIN;
    unlock_both(q);
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
        lock_both(q);
        for (int i = 0; i < 2; i++)
            uv_cond_broadcast(&q->ends[i].cond);
        unlock_both(q);
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

/* With both locks, which it gives back: sleep until something has happened at the end where that is waited for, or
** the time is over. */
static void sleep_at(rotor__thread_queue *q, rotor__direction direction, uint64_t now,
                     uint64_t until)
{
    end *e = opposite(q, direction);
    e->blocked++;
    uv_mutex_unlock(&q->ends[direction].lock);
    if (until == UINT64_MAX)
        uv_cond_wait(&e->cond, &e->lock);
    else
        (void)uv_cond_timedwait(&e->cond, &e->lock, until - now);
    e->blocked--;
    uv_mutex_unlock(&e->lock);
}

static int block(rotor__thread_queue *q, rotor__direction direction, rotor__item **item,
                 uint64_t ms, rotor__blocker *b)
{
    uint64_t now = uv_hrtime();
    uint64_t until = ms < (UINT64_MAX - now) / 1000000 ? now + ms * 1000000 : UINT64_MAX;
    int error = 0;
    stand_at(b, q);
    for (lock_both(q); look(q, direction) == UV_EAGAIN; lock_both(q)) {
        now = uv_hrtime();
        error = b && atomic_load(&b->stop) ? ROTOR_ECANCELED : now >= until ? UV_ETIMEDOUT : 0;
        if (error)
            break;
        sleep_at(q, direction, now, until);
    }
    if (error) {
        unlock_both(q);
    } else { /* nobody gets in between, as its own end stays locked */
        uv_mutex_unlock(&opposite(q, direction)->lock);
        error = direction == ROTOR__SEND ? put_in(q, *item) : take_out(q, item);
    }
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
    end *e = opposite(s->queue, s->direction);
    uv_mutex_lock(&e->lock);
    s->posted = false;
    uv_mutex_unlock(&e->lock);
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
    lock_both(q);
    if (!s->link && !s->posted) {
        end *e = opposite(q, s->direction);
        if (look(q, s->direction) != UV_EAGAIN) {
            ready = hand_out(s);
        } else {
            s->next = NULL;
            s->link = e->last_station;
            *e->last_station = s;
            e->last_station = &s->next;
        }
    }
    unlock_both(q);
    post(ready);
}

void rotor__station_leave(rotor__station *s)
{
    end *e = opposite(s->queue, s->direction);
    uv_mutex_lock(&e->lock);
    if (s->link)
        unlink_station(s);
    uv_mutex_unlock(&e->lock);
}
