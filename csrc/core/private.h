/* What the files of rotor share among themselves and do not install: the loop's struct, the mailbox
** and the few calls that other layers need to be told from the inside. */
#ifndef ROTOR_CORE_PRIVATE_H
#define ROTOR_CORE_PRIVATE_H

#include <stdatomic.h>

#include "alloc.h"
#include "io.h"
#include "loop.h"
#include "watchdog.h"

#define ROTOR__CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* rotor_machine.flags */
enum {
    ROTOR__QUEUED = 1,   /* in loop->now_queue or loop->later_queue */
    ROTOR__WAKE = 2,     /* `wakeup` is owed */
    ROTOR__AGAIN = 4,    /* `ready` with no io is owed */
    ROTOR__END = 8,      /* rotor_end() was called: m->status says how */
    ROTOR__CREATED = 16, /* `create` was called, so `drop` is owed */
    ROTOR__ENDED = 32,   /* out of its slot; memory goes when ios and queue have let go of it */
    ROTOR__MOURNED = 64, /* ended; its parent's `child_done` is owed before `drop` */
    ROTOR__WAITS = 128,  /* heard ROTOR_ECAPACITY; woken when a slot gets free */
    ROTOR__LATER = 256,  /* ROTOR__AGAIN is owed from the next turn on */
    ROTOR__CREATE = 512, /* `create` is to come: m->deferred */
    ROTOR__SPAWN = 1024, /* what `create` asked to spawn is to come: m->deferred */
    ROTOR__KIN = 2048,   /* owns others or is owned: a family stands before it in memory */
    ROTOR__QUIET = 4096, /* on_error is not told of its end, as somebody else is */
    ROTOR__IDLE = 8192   /* does not keep the loop running */
};

/* A message to a loop from any thread; embedded in what it is about. */
typedef struct rotor__letter {
    struct rotor__letter *next;
    /* In the loop's thread; `loop` is NULL when the loop ends instead. */
    void (*deliver)(struct rotor__letter *letter, rotor_loop *loop);
} rotor__letter;

/* Where other threads leave letters: a stack that they push to and the loop takes as a whole, so
** there is no ABA and no lock. Outlives the loop for as long as somebody holds a reference. */
typedef struct rotor__mailbox {
    _Atomic(rotor__letter *) head;
    atomic_uint refs;
    atomic_uint senders; /* threads inside rotor__mailbox_post */
    atomic_bool closed;
    int bell[2]; /* a pipe; rung only while senders > 0 and not closed */
} rotor__mailbox;

/* 0 or an error. */
int rotor__mailbox_new(rotor__mailbox **box);
rotor__mailbox *rotor__mailbox_ref(rotor__mailbox *box);
void rotor__mailbox_unref(rotor__mailbox *box);

/* Leave a letter that is in no mailbox; 0, or ROTOR_ECLOSED: then it was not taken. Any thread. */
int rotor__mailbox_post(rotor__mailbox *box, rotor__letter *letter);

/* Deliver what is there, oldest first. Loop's thread. */
void rotor__mailbox_deliver(rotor__mailbox *box, rotor_loop *loop);

/* The bell was rung: it is silent again. Loop's thread, before it delivers. */
void rotor__mailbox_hear(rotor__mailbox *box);

/* Whether there is a letter. */
bool rotor__mailbox_has_mail(rotor__mailbox *box);

/* Refuse further letters and deliver the last ones with loop NULL. Loop's thread. */
void rotor__mailbox_close(rotor__mailbox *box);

typedef struct rotor__slot {
    rotor_machine *machine; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
} rotor__slot;

typedef struct rotor__queue {
    rotor_machine *first, **last;
} rotor__queue;

typedef struct rotor__signal {
    struct rotor__signal *next;
    uv_signal_t handle; /* handle.data is this struct's loop */
    int signum;         /* handle.signum is 0 while it is stopped */
    void (*fn)(rotor_loop *loop, int signum, void *context);
    void *context;
} rotor__signal;

/* What the watchdog notes, of the present event. */
typedef struct rotor__watch {
    uint64_t limit, began; /* in ns; began is 0 between events, when `event` still tells it */
    uint64_t event;
    uint64_t marked; /* when the machine that is named began to run */
    char name[ROTOR_LAG_NAME];
    uint64_t longest; /* of those before */
    rotor_lag lag;
    const char **transition; /* NULL, or where its name is put while it runs */
    void (*fn)(rotor_loop *loop, const rotor_lag *lag, void *context);
    void *context;
} rotor__watch;

struct rotor_loop {
    uv_loop_t *uv;
    uint64_t now;
    bool busy;     /* in an event: transitions may be running */
    bool turning;  /* `idle` is active: there is work for the next turn */
    bool expiring; /* in the event of the timer: a deadline set now is due in a later one */
    bool running;  /* inside rotor_loop_run or _turn */
    bool stopping;
    bool closing;
    bool owns_uv;
    rotor__watch *watch; /* NULL: no event is watched */

    rotor_block *read_block, *write_block; /* lent to one stream at a time */

    rotor_wheel wheel;
    uint64_t timer_at; /* when `timer` fires, ROTOR_NEVER: it is not armed */

    rotor__queue queue;                     /* to run before the present event ends */
    rotor__queue later;                     /* to run in the next turn */
    rotor__letter *letters, **letters_last; /* of the loop's own thread, likewise */
    uint32_t waiting;                       /* machines with ROTOR__WAITS */

    rotor__slot *slots;
    uint32_t nslots, free_slot;
    uint32_t count, capacity;
    uint32_t idlers; /* of those, machines with ROTOR__IDLE */

    rotor__mailbox *mailbox;
    rotor__signal *signals;
    struct rotor__child *children; /* programs that run, see process.c */
    rotor__watch *watched;         /* the memory of that */
    rotor_config config;
    rotor_clock clock;

    unsigned handles; /* uv handles not yet closed */
    uv_timer_t timer;
    uv_idle_t idle;
    uv_poll_t bell; /* the mailbox's */
    uv_loop_t own_uv;
};

static inline void rotor__loop_read_clock(rotor_loop *loop)
{
    loop->now =
        loop->clock.monotonic_ms ? loop->clock.monotonic_ms(loop->clock.context) : uv_now(loop->uv);
}

void rotor__loop_run_queued(rotor_loop *loop);

/* For the watchdog: an event begins, and ends; and a machine is about to run in it. */
void rotor__watch_enter(rotor_loop *loop);
void rotor__watch_leave(rotor_loop *loop);
void rotor__watch_mark(rotor_machine *m);

/* Bracket an event from libuv: read the clock, and at the end run what was queued. */
static inline void rotor__loop_enter(rotor_loop *loop)
{
    rotor__loop_read_clock(loop);
    loop->busy = true;
    if (__builtin_expect(loop->watch != NULL, 0))
        rotor__watch_enter(loop);
}

static inline void rotor__loop_settle(rotor_loop *loop)
{
    if (loop->queue.first || loop->letters || loop->later.first || loop->turning)
        rotor__loop_run_queued(loop);
    else
        loop->busy = false;
}

static inline void rotor__loop_leave(rotor_loop *loop)
{
    rotor__loop_settle(loop);
    if (__builtin_expect(loop->watch != NULL, 0))
        rotor__watch_leave(loop);
}

/* Tell `m` of events on `io`; between enter and leave. */
void rotor__machine_ready(rotor_machine *m, rotor_io *io, unsigned events);

/* Have m->type->ready called with no io: in the next turn, or before the present event ends. */
void rotor__machine_again(rotor_machine *m);
void rotor__machine_soon(rotor_machine *m);

/* Memory for a machine to take the place of `m`, whose transition runs and which never spawns: `size`
** bytes, all zero but for its rotor_machine; NULL when there is none. Its ios may be opened; those of `m`
** that watch the same descriptors must be closed before. */
rotor_machine *rotor__heir_new(rotor_machine *m, size_t size);
void rotor__heir_free(rotor_machine *heir); /* before any io was opened */

/* What that transition then answers: `m` ends, of which only its `drop` hears, and `heir` has its handle,
** its parent and what it was owed. Its `create` is not called, but soon its `ready`, with no io. */
static inline rotor_response rotor__succeed(rotor_scope *scope, rotor_machine *heir)
{
    scope->spawn_seed = heir;
    return (rotor_response){ROTOR__SUCCEED, 0, 0};
}

/* Have `m` wait until `at` from outside its transitions, for those that belong to it. */
void rotor__machine_until(rotor_machine *m, uint64_t at);

/* Whether `m` lets rotor_loop_run() return when there are only such machines: for what is kept in case it
** is needed again. Its ios must be open already. */
void rotor__machine_idle(rotor_machine *m, bool idle);

/* Let `m` be woken when a slot gets free, as after ROTOR_ECAPACITY. */
void rotor__machine_wait_slot(rotor_machine *m);

/* As rotor_add, but `create` runs at once inside a transition, too, and outside of one nothing else does: for
** types whose `create` is rotor's own and calls nothing of the user's. */
int rotor__add_now(rotor_loop *loop, const rotor_type *type, void *seed, rotor_handle *handle);

/* Deliver `letter`, which is in no mailbox, before the present event ends but outside of transitions.
** In the loop's thread, and not after its mailbox was closed. */
void rotor__loop_post(rotor_loop *loop, rotor__letter *letter);

/* An io of `m` has closed: release the machine if it was waiting for that. */
void rotor__machine_io_closed(rotor_machine *m);

/* One allocation for both ends, and the first member of what a combinator makes. */
struct rotor_future {
    rotor__letter letter; /* in the mailbox when its port has resolved it, then in loop->letters */
    atomic_uint refs;     /* of the future's holder, its port, and the letter on its way */
    atomic_bool dropped;  /* by its holder */
    bool resolved;        /* in the loop's thread: `status` and `value` have arrived */
    bool announced;       /* the letter is on its way to who follows it */
    int status;
    void *value;
    void (*destroy)(void *value);
    rotor__mailbox *mailbox;
    rotor_loop *loop;     /* not to be touched once the mailbox is closed */
    rotor_handle watcher; /* to be woken when it is resolved; */
    rotor_handle tender;  /* when it is dropped before */
    void (*follow)(struct rotor_future *f, void *context); /* instead of waking the watcher */
    void *context;
    /* Dropped unresolved: give up what it waits for, and return the last of that for the caller to
    ** drop, so that a long chain takes no stack. NULL: it waits for its port. */
    struct rotor_future *(*abandon)(struct rotor_future *f);
};

/* A zeroed struct of `size`, which begins with a future that has no port; NULL: no memory. */
struct rotor_future *rotor__future_make(size_t size, rotor_loop *loop, rotor__mailbox *mailbox,
                                        void (*destroy)(void *value),
                                        struct rotor_future *(*abandon)(struct rotor_future *f));
struct rotor_future *rotor__future_ref(struct rotor_future *f);
void rotor__future_unref(struct rotor_future *f);

/* Call `follow` once `f` is resolved, outside of transitions: also if it is resolved now. */
void rotor__future_follow(struct rotor_future *f, void (*follow)(struct rotor_future *, void *),
                          void *context);

/* Resolve `f`, which has no port. `status` is 0, or an error. Loop's thread, loop alive. */
void rotor__future_resolve(struct rotor_future *f, int status, void *value);

struct rotor_port;

/* Resolve the future of that port, which is gone afterwards. 0, or an error: then the value is still the caller's. */
int rotor__port_resolve(struct rotor_port *port, int status, void *value);

/* `code` if it can stand for an error of a future. */
int rotor__future_error(int code);

/* Between loop.c and machine.c. */
void rotor__machine_timeout(rotor_machine *m);
bool rotor__machines_run(rotor_loop *loop, unsigned most); /* true: there is more to run */
void rotor__machines_next_turn(rotor_loop *loop);
void rotor__machines_drop(rotor_loop *loop);
void rotor__children_close(rotor_loop *loop); /* the programs go on */
void rotor__letters_drop(rotor_loop *loop);   /* deliver them with loop NULL */
void rotor__loop_arm(rotor_loop *loop, uint64_t at);
void rotor__loop_turn_soon(rotor_loop *loop);
void rotor__loop_handle_closed(rotor_loop *loop); /* may free an adopted, closing loop */

#endif
