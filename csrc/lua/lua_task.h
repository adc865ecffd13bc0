/* Tasks: what the files about them share with each other, and with those about what tasks wait for.
**
** A task is a coroutine that a machine drives. It waits by a rotor__wait in the queue of whatever it
** waits for. Who has that takes the first of the queue, puts what the wait is to return on top of the
** task's stack, and completes the wait. A wait that was completed has happened, whatever comes before
** the task runs; one that was not is withdrawn by its deadline or by a cancellation as if it had never
** been. */
#ifndef ROTOR_LUA_TASK_H
#define ROTOR_LUA_TASK_H

#include "../core/private.h"
#include "lua_private.h"

typedef struct rotor__task rotor__task;

/* -- waiting (task.c) -------------------------------------------------------------------------- */

/* A member of a ring whose head is one, too. All zero: in none; or a head of nobody. */
typedef struct rotor__link {
    struct rotor__link *next, *prev;
} rotor__link;

void rotor__link_add(rotor__link *head, rotor__link *link); /* as the last */
void rotor__link_remove(rotor__link *link);                 /* also if it is in none */

/* The first; NULL: nobody. */
static inline rotor__link *rotor__link_first(const rotor__link *head)
{
    return head->next != head ? head->next : NULL;
}

/* A place in a queue. */
typedef struct rotor__wait {
    rotor__link link; /* first */
    uint32_t slot;    /* where on the task's stack that is which it offers; or 0 */
    uint32_t which;   /* of a select: its case, from 1 on; 0: the task's own wait */
} rotor__wait;

/* Who waits for something, first come first served. All zero: nobody. Stays at its place in memory.
** Nobody is told when a wait is withdrawn, but its `k` is called soon: what happens meanwhile to what
** nobody waits for must do no harm, and be there for the next. */
typedef struct rotor__waits {
    rotor__link head;
} rotor__waits;

static inline rotor__wait *rotor__waits_first(const rotor__waits *queue)
{
    return (rotor__wait *)rotor__link_first(&queue->head);
}

/* [-0, +0, v] The task that runs, whose thread `L` must be: anywhere else, as in the main program, in
** a transition, or in a coroutine inside of a task, that is an error which says so. Raises also if
** the task is to unwind. So it comes first in whatever may wait, once the arguments are checked. */
rotor__task *rotor__task_here(lua_State *L);

/* [-0, +0, -] Whether it would find one: for what does not have to wait. */
bool rotor__task_can_wait(lua_State *L);

/* [-0, +0, -] The task whose thread `L` is, if it runs. */
rotor__task *rotor__task_on(lua_State *L);

/* [-0, +0, -] Wait in `queue` (NULL: for the deadline only) until somebody completes that, but not
** longer than until `deadline`, in ms of the loop's clock. `slot`: see rotor__wait. Does not return: as
** in `return rotor__task_wait(…)`; when the wait is over, `k` is called, with what the completer has put
** on top of the stack. */
int rotor__task_wait(lua_State *L, rotor__task *t, rotor__waits *queue, uint32_t slot,
                     uint64_t deadline, lua_KContext context, lua_KFunction k);

/* [-0, +0, v] First of all in `k`: whether the wait was completed; false: its deadline has passed. Raises
** if the task is to unwind instead. */
bool rotor__task_completed(lua_State *L);

/* [-0, +0, v] The same for what has to clean up before it raises: then this was false, and *unwinds is
** set, and `return rotor__task_unwind(L)` is to follow. */
bool rotor__task_was_completed(lua_State *L, bool *unwinds);

/* [-0, +0, v] Throw that somebody else has resumed a task. */
int rotor__task_blame_resumer(lua_State *L);

/* [-0, +0, v] Throw what unwinds the running task. */
int rotor__task_unwind(lua_State *L);

/* [-0, +0, -] What a function returns that need not wait after all, with `n` results on top: if this
** task had too many such in a row, others have their turn before. */
int rotor__task_breathe(lua_State *L, rotor__task *t, int n);

/* Whose wait that is, and its thread, on which there is room for a few results. */
rotor__task *rotor__task_of(const rotor__wait *wait);
lua_State *rotor__task_thread(const rotor__wait *wait);

/* The wait is over: it leaves its queue, and the task runs soon, with `n` results, at most 255, on top of its stack.
** Nothing is thrown, and nothing but pushes and rotor__task_complete may be between. */
void rotor__task_complete(rotor__wait *wait, int n);

/* The same, but the task runs before this returns: for C that the loop has called, outside of Lua. */
void rotor__task_complete_now(rotor__wait *wait, int n);

/* Complete all waits of a queue, with no results. */
void rotor__task_complete_all(rotor__waits *queue);

/* -- what can be waited for (select.c) --------------------------------------------------------- */

/* A verb of task.select, for one kind of object. A kind has an array of them, ended by one without verb. */
typedef struct rotor__waitable {
    const char *verb; /* as in { recv = channel } */
    /* [-0, +n, v] If it is there, take it: push the results, and return how many. -1: it is not. The object is at `index`, and at
    ** `index` + 1 what a case has as its `value`, or nil. Also called when a wait was completed without results. */
    int (*poll)(lua_State *L, int index);
    /* [-0, +0, v] Where to wait for it. */
    rotor__waits *(*queue)(lua_State *L, int index);
} rotor__waitable;

/* -- tasks ------------------------------------------------------------------------------------- */

/* Bounds what is called inside of it: a deadline, a scope, a shield. */
typedef struct rotor__frame {
    struct rotor__frame *prev; /* the one around it */
    struct rotor__task *task;  /* whose it is */
    uint64_t at;               /* when it is over, or ROTOR_NEVER */
    bool canceled;             /* it is over */
    bool shield;               /* what is around it does not count inside of it */
} rotor__frame;

enum rotor__task_state {
    ROTOR__TASK_READY, /* to run soon, for the first time or after a wait */
    ROTOR__TASK_RUNNING,
    ROTOR__TASK_WAITING,
    ROTOR__TASK_ENDED,
    ROTOR__TASK_FAILED /* ended with an error of which nobody has been told yet */
};

/* rotor__task.flags */
enum {
    ROTOR__TASK_COMPLETED = 1, /* its last wait */
    ROTOR__TASK_CANCELED = 2,
    ROTOR__TASK_SELECTS = 4, /* it waits by `cases` */
    ROTOR__TASK_TAIL = 8,    /* a rotor__task_tail is behind it in memory */
    ROTOR__TASK_THROWN = 16, /* what it has returned is an error */
    ROTOR__TASK_HOLDS = 32,  /* locks, which may be left when it ends */
    ROTOR__TASK_TRACED = 64, /* a trace is kept for its thread */
    ROTOR__TASK_TELLS = 128  /* its handles of its end */
};

/* It is small, as there may be very many. */
struct rotor__task {
    rotor_machine machine;
    lua_State *L;
    rotor__frame *frame;                /* the innermost, or NULL */
    struct rotor__task_object *handles; /* all that there are in Lua */
    union {
        rotor__wait wait;
        struct rotor__cases *cases; /* while it SELECTS */
    };
    int ref;        /* reference to the thread; of one that FAILED, to its error as text */
    int extra;      /* reference to the table of its locals and its name, or LUA_NOREF */
    uint32_t place; /* where it was spawned, see task_trace.c */
    uint8_t state, flags;
    uint8_t streak; /* waits in a row that were none */
    uint8_t values; /* results of the wait, on its stack */
};

/* Of a task that belongs to a scope, or that C has made. */
typedef struct rotor__task_tail {
    rotor__link link; /* among the children of the scope */
    struct rotor__scope *scope;
    uint64_t at; /* the deadline it has inherited */
    int kept;    /* values at the bottom of its stack that are none of its results */
    /* NULL, or told of the end, in place of anybody in Lua: `status` is 0; ROTOR_ELUA: it has failed, with the error as text
    ** on top of vm->D, to be popped; ROTOR_ECANCELED, ROTOR_ETIMEDOUT: it was unwound, or (also before it ran) dropped. */
    void (*ended)(void *context, int status);
    void *context;
} rotor__task_tail;

static inline rotor__task_tail *rotor__task_tail_of(rotor__task *t)
{
    return t->flags & ROTOR__TASK_TAIL ? (rotor__task_tail *)(t + 1) : NULL;
}

static inline rotor__lua_loop *rotor__task_ll(const rotor__task *t)
{
    return t->machine.loop->config.context;
}

/* When `ms` from now are over; ROTOR_NEVER stays that. */
static inline uint64_t rotor__task_deadline(const rotor__task *t, uint64_t ms)
{
    return ms == ROTOR_NEVER ? ms : t->machine.loop->now + ms;
}

enum { ROTOR__TASKS_SPARE = 128 };

/* A thread that runs, and is no task, but is to become one when it first waits: then `adopt` makes it,
** with seed.running, and so that it is tasks->running; or throws on L. */
typedef struct rotor__candidate {
    lua_State *L;
    rotor__lua_loop *ll;
    rotor__task *(*adopt)(struct rotor__candidate *candidate);
} rotor__candidate;

/* What the tasks of one Lua state share. */
struct rotor__tasks {
    rotor__task *running;
    rotor__candidate *candidate; /* or NULL */
    const lua_State *dropped;    /* the thread of a task that is being dropped, or NULL */
    /* private */
    struct rotor__spare {
        lua_State *L;
        int ref;
    } spare[ROTOR__TASKS_SPARE]; /* threads to use again */
    unsigned nspare;
    struct rotor__places *places;
    rotor__link handles;   /* all there are */
    int canceled, expired; /* references to what is thrown to unwind */
    int guard;             /* reference to what is closed with a task's stack */
    int held;              /* reference to the function that gives back locks */
    uint32_t random;
};

extern const rotor_type rotor__task_type;
extern const rotor__kind rotor__kind_task, rotor__kind_channel;

/* How to make one in C. */
typedef struct rotor__task_seed {
    lua_State *L; /* a thread, with the function and its arguments on its stack; or running */
    int ref;      /* reference to it; the task's, if it could be made */
    uint32_t place;
    const rotor__task_tail *tail; /* or NULL */
    bool running;                 /* it is to become a task where it runs now */
} rotor__task_seed;

/* [-0, +0, -] Make it; unless it is running, it runs soon. 0 or an error. */
int rotor__task_new(rotor__lua_loop *ll, const rotor__task_seed *seed, rotor__task **task);

/* [-0, +0, m] A thread whose stack is empty, which `ref` keeps; and give it back, empty again. */
lua_State *rotor__task_take_thread(lua_State *L, rotor__tasks *tasks, int *ref);
void rotor__task_give_thread(lua_State *L, rotor__tasks *tasks, lua_State *thread, int ref);

/* What a task's thread runs: call the function below its arguments, which are all on the stack, above
** `guard`. */
int rotor__task_main(lua_State *L);

/* [-0, +0, -] The same for a main of another's: what its function has thrown is on top. Returns 1. */
int rotor__task_thrown(lua_State *L);

/* [-0, +0, -] A thread that has become a task while it ran by lua_resume(), which has returned this. */
void rotor__task_adopted(rotor__task *t, int status, int results);

/* [-0, +n, -] What a function returns that lets others have their turn first, with `n` results on top. */
int rotor__task_take_turns(lua_State *L, rotor__task *t, int n);

/* Cancel it: it unwinds when it next waits, or at once if it does. */
void rotor__task_cancel(rotor__task *t);

/* It waits no more, though what it waits for has not happened; it is to be woken. */
void rotor__task_interrupt(rotor__task *t);

/* Have it unwind if it waits where it is to. */
void rotor__task_kick(rotor__task *t);

/* Whether it has a deadline. */
bool rotor__task_is_bounded(const rotor__task *t);

/* Why it is to unwind: 0, ROTOR_ECANCELED, ROTOR_ETIMEDOUT. */
int rotor__task_why(const rotor__task *t);

/* Whether the value at `index` is what unwinds tasks. */
bool rotor__task_is_unwinding(lua_State *L, int index);

/* [-0, +0, -] Wait, once the waits are in their queues. As rotor__task_wait(). */
int rotor__task_park(lua_State *L, rotor__task *t, uint64_t deadline, lua_KContext context,
                     lua_KFunction k);

/* The waits of a select. */
typedef struct rotor__cases {
    rotor__task *task;
    rotor__wait *completed; /* or NULL */
    uint32_t n;
    rotor__wait waits[];
} rotor__cases;

/* All failures that nobody has been told of are reported: the loop has nothing more to run. */
void rotor__tasks_settle(rotor__lua_loop *ll);

/* -- handles (task_handle.c) ------------------------------------------------------------------- */

/* The task has ended: with the `n` results on top of its thread; or unwound, or failed, with its text on
** top of vm->D, which stays. Whether somebody has been told of that. */
bool rotor__task_tell_handles(rotor__task *t, int status, int n);

/* [-n, +1, v] Spawn the function at `first` with the arguments behind it: its handle. */
int rotor__task_spawn(lua_State *L, rotor__lua_loop *ll, int first, const rotor__task_tail *tail);

/* The first that waits for its end, or NULL. */
const rotor__task *rotor__task_joiner(const rotor__task *t);

/* [-0, +0, v] Whose handle that is; NULL once it has ended. */
rotor__task *rotor__task_of_handle(lua_State *L, int index);

/* They hear no more of it. */
void rotor__task_leave_handles(rotor__task *t);

/* The Lua state closes: what is left of its handles goes. */
void rotor__task_free_handles(rotor__vm *vm);

/* -- scopes (task_scope.c) --------------------------------------------------------------------- */

/* A child has ended, or was dropped. Of one that failed the error is on top of vm->D, to be popped. */
void rotor__scope_child_ended(rotor__task *t, int status);

/* -- traces (task_trace.c) --------------------------------------------------------------------- */

/* [-0, +0, m] Where L is, as seen from the function that was called, and where what runs was spawned. */
uint32_t rotor__task_place(lua_State *L, rotor__tasks *tasks);

/* [-0, +0, -] Its file and line; NULL: not known. */
const char *rotor__task_place_of(const rotor__tasks *tasks, uint32_t place, int *line);

/* For the type of tasks, see rotor_type (dump.c). */
const char *rotor__task_name_of(const rotor_machine *m);
void rotor__task_describe(const rotor_machine *m, char *text, size_t size);

/* [-0, +1, m] "file:line", or nil. */
void rotor__task_push_place(lua_State *L, const rotor__tasks *tasks, uint32_t place);

/* [-0, +1, m] The message handler: what was thrown, as it is; where is remembered. */
int rotor__task_catch(lua_State *L);

/* [-1, +0, m] Remember the text on top as the place where the value below it was thrown. */
void rotor__task_keep_trace(lua_State *L);

/* [-0, +0, -] Forget it: the thread is another's from now on. */
void rotor__task_forget_trace(lua_State *D, lua_State *thread);

/* [-1, +1, m] What the thread of task `t` (or NULL) has thrown, on top, as text with all that is known of
** where. */
void rotor__task_explain(lua_State *D, lua_State *thread, rotor__task *t);

/* [-0, +1, m] Its name, or nil; its table of extras, made if it has none. */
void rotor__task_push_name(lua_State *L, const rotor__task *t);
void rotor__task_push_extra(lua_State *L, rotor__task *t);

#endif
