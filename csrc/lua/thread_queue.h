/* The queue in a channel between threads: bounded or not, closed by anybody. Nothing here knows of Lua.
**
** Whoever waits for it waits in one of two ways. A plain thread blocks. A loop leaves a station at the
** queue, one for all that wait in that loop in one direction; when there may be something for it, a letter
** goes to the loop, one however much has come, and in the loop's thread `arrive` is called. Nothing is
** taken out for a station: it looks itself, for those that still wait, and takes no more than they want.
** So nothing is lost with who gave up, and what is left wakes the next station. */
#ifndef ROTOR_LUA_THREAD_QUEUE_H
#define ROTOR_LUA_THREAD_QUEUE_H

#include "../core/private.h"

typedef struct rotor__thread_queue rotor__thread_queue;

/* Begins what is queued. */
typedef struct rotor__item {
    struct rotor__item *next;
} rotor__item;

typedef enum rotor__direction { ROTOR__RECEIVE, ROTOR__SEND } rotor__direction;

/* `destroy` is called with what is left when the last reference goes. NULL: no memory. */
rotor__thread_queue *rotor__thread_queue_new(size_t capacity, void (*destroy)(rotor__item *item));
rotor__thread_queue *rotor__thread_queue_ref(rotor__thread_queue *q);
void rotor__thread_queue_unref(rotor__thread_queue *q); /* NULL is fine */

/* 0; UV_EAGAIN when it is full, or empty; ROTOR_ECLOSED: to send, or to receive when it is empty, too. */
int rotor__thread_queue_send(rotor__thread_queue *q, rotor__item *item);
int rotor__thread_queue_receive(rotor__thread_queue *q, rotor__item **item);

/* Nothing more can be sent; what is there can be received. Whether it was open. */
bool rotor__thread_queue_close(rotor__thread_queue *q);

bool rotor__thread_queue_is_closed(rotor__thread_queue *q);

/* Without the locks, so it may be otherwise in a moment. */
size_t rotor__thread_queue_count(const rotor__thread_queue *q);
bool rotor__thread_queue_seems_full(const rotor__thread_queue *q);

/* Whether something other than UV_EAGAIN would come of it. */
bool rotor__thread_queue_is_ready(rotor__thread_queue *q, rotor__direction direction);

/* -- plain threads ----------------------------------------------------------------------------- */

/* What a thread is blocked on, so that another can have it give up. NULL where one may be given: it blocks
** for as long as it takes. */
typedef struct rotor__blocker {
    uv_mutex_t lock;
    rotor__thread_queue *on;
    atomic_bool stop;
} rotor__blocker;

int rotor__blocker_init(rotor__blocker *b); /* 0 or UV_ENOMEM */
void rotor__blocker_fini(rotor__blocker *b);

/* Make the thread's call end with ROTOR_ECANCELED, and all its later ones. */
void rotor__blocker_stop(rotor__blocker *b);

/* For another use of the thread, while it is in no call: whether that is so. */
void rotor__blocker_reset(rotor__blocker *b, bool stopped);

/* As above, but wait up to `ms` (ROTOR_NEVER: for ever), then UV_ETIMEDOUT. */
int rotor__thread_queue_send_blocking(rotor__thread_queue *q, rotor__item *item, uint64_t ms,
                                      rotor__blocker *b);
int rotor__thread_queue_receive_blocking(rotor__thread_queue *q, rotor__item **item, uint64_t ms,
                                         rotor__blocker *b);

/* -- loops ------------------------------------------------------------------------------------- */

/* In the loop's thread only, but for what happens inside. */
typedef struct rotor__station {
    rotor__letter letter;
    atomic_uint refs;
    rotor__thread_queue *queue;
    rotor__direction direction;
    struct rotor__station *next, **link; /* among those that wait there; link NULL: it does not */
    bool posted;                         /* the letter is on its way, with a reference */
    rotor__mailbox *mailbox;
    /* There may be something for it. `loop` is NULL when the loop ends instead. */
    void (*arrive)(struct rotor__station *s, rotor_loop *loop);
    void (*destroy)(struct rotor__station *s); /* with the last reference */
} rotor__station;

/* Make one, in memory of the caller's, with one reference. */
void rotor__station_init(rotor__station *s, rotor__thread_queue *q, rotor__direction direction,
                         rotor_loop *loop);
void rotor__station_unref(rotor__station *s);

/* Have `arrive` called once there may be something: soon, if there is now. Once: then it is to wait again. */
void rotor__station_wait(rotor__station *s);

/* Nobody waits there any more. */
void rotor__station_leave(rotor__station *s);

#endif
