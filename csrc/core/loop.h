/* The loop: runs machines over a uv_loop_t. One thread at a time; several loops may run in several
** threads. Only notifiers and ports may be used from other threads. */
#ifndef ROTOR_CORE_LOOP_H
#define ROTOR_CORE_LOOP_H

#include <uv.h>

#include "buf.h"
#include "machine.h"

/* Where a loop reads the time. Replace it to run machines in a time of your own. */
typedef struct rotor_clock {
    uint64_t (*monotonic_ms)(void *context); /* never steps back; its zero is arbitrary */
    uint64_t (*wall_ms)(void *context);      /* ms since 1970-01-01 UTC */
    void *context;
} rotor_clock;

typedef struct rotor_config {
    size_t capacity; /* how many machines may be alive at once; 0: 1,048,576 */
    void *context;   /* the user's, see rotor_context() */

    /* A loop to adopt: it is the user's to run and to close; NULL: rotor's own. */
    uv_loop_t *uv;

    /* NULL: the system's clocks. With a clock of your own nothing wakes the loop when a deadline
    ** comes: move the clock, then call rotor_loop_turn(). */
    const rotor_clock *clock;

    /* Told of every machine that ended with an error which no parent's child_done hears; and by a
    ** listener, in its own name, of a connection whose protocol's `create` has failed.
    ** `machine` may be read during the call. NULL: not told. */
    void (*on_error)(rotor_loop *loop, rotor_machine *machine, int error);

    size_t buffer; /* bytes of the read and of the write buffer that streams borrow; 0: 65,536 */
} rotor_config;

/* Make a loop. `config` is copied, NULL: all defaults. 0, or UV_ENOMEM, or an error of libuv. */
int rotor_loop_new(rotor_loop **loop, const rotor_config *config);

/* Run until no machine is left or rotor_loop_stop() was called. 0, or UV_EBUSY when it runs already
** (from inside a transition, say). May be called again. */
int rotor_loop_run(rotor_loop *loop);

/* One turn without waiting: what is queued, ready or due. 0 or UV_EBUSY. */
int rotor_loop_turn(rotor_loop *loop);

/* Make rotor_loop_run() return once the present event is dealt with; machines stay as they are.
** When the loop is not running, the next run or turn returns at once. */
void rotor_loop_stop(rotor_loop *loop);

/* Drop every machine, each exactly once, close every handle and free the loop. From inside a
** transition or rotor_loop_run(): UV_EBUSY, and nothing is done. Of an adopted uv loop the handles are
** closed, and the memory is freed when the user's uv_run() has seen them closed. Otherwise returns
** what uv_loop_close() returned, which is 0. */
int rotor_loop_free(rotor_loop *loop);

/* Add a machine of `type`, created from `seed`; from here on the loop owns it. `handle` may be NULL.
**
** Outside a transition `create` runs at once, and its failure is returned (after `drop`). Inside one
** it is queued: `seed` must stay valid until the present transition has returned and the new
** machine's `create` was called, and a failure of create goes to on_error. `create` is called in any
** case, also when the machine is ended or the loop freed before.
** ROTOR_ECAPACITY, UV_ENOMEM, UV_EINVAL (the type has no create, or a size below a machine's) and,
** while the loop is being freed, ROTOR_ECLOSED: nothing was created
** and the seed not touched. */
int rotor_add(rotor_loop *loop, const rotor_type *type, void *seed, rotor_handle *handle);

/* Have the machine's `wakeup` called, once for all wakes until then. Loop's thread only; from another
** thread use a notifier. 0, or ROTOR_ECLOSED when the machine has ended. */
int rotor_wake(rotor_loop *loop, rotor_handle handle);

/* End a machine from outside with `status` (0 or an error), as if it had returned done or error.
** Queued. 0, or ROTOR_ECLOSED when it has ended already. */
int rotor_end(rotor_loop *loop, rotor_handle handle, int status);

/* The machine that `handle` names, or NULL when it has ended. */
rotor_machine *rotor_find(rotor_loop *loop, rotor_handle handle);

/* Have the scope's machine's `ready` called again (with io NULL) after others had their turn. */
void rotor_again(rotor_scope *scope);

/* The loop's time in ms, as of the present event; monotonic. */
uint64_t rotor_now(const rotor_scope *scope);
uint64_t rotor_loop_now(const rotor_loop *loop);

/* The wall clock in ms since 1970, read at each call. */
uint64_t rotor_loop_wall(const rotor_loop *loop);

/* config.context */
void *rotor_context(const rotor_scope *scope);
void *rotor_loop_context(const rotor_loop *loop);

/* How many machines are alive, and how many may be. */
size_t rotor_loop_count(const rotor_loop *loop);
size_t rotor_loop_capacity(const rotor_loop *loop);

/* Whether a transition is running now. */
bool rotor_loop_busy(const rotor_loop *loop);

/* The uv loop underneath. */
uv_loop_t *rotor_loop_uv(rotor_loop *loop);

/* Call `fn` when the process gets `signum`, in place of what was set for that signal in this loop; a
** NULL `fn` takes it away. Does not keep the loop running. 0 or an error of libuv or UV_ENOMEM.
** `fn` runs as a transition does: nothing else runs meanwhile. */
int rotor_loop_on_signal(rotor_loop *loop, int signum,
                         void (*fn)(rotor_loop *loop, int signum, void *context), void *context);

#endif
