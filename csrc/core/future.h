/* Futures: a value that comes later, once. The two ends are a port, which resolves, and a future,
** which is read.
**
** A value is a pointer with a destructor. A port may be used from any thread; a future belongs to the
** loop it was made for and is used in that loop's thread only. Whatever happens the value is destroyed
** exactly once unless somebody took it: a future dropped unread destroys it, and a port dropped unset
** resolves the future with ROTOR_ECANCELED.
**
** Both ends may outlive the loop. A future not resolved by then counts as resolved with
** ROTOR_ECLOSED, and is still to be given back. */
#ifndef ROTOR_CORE_FUTURE_H
#define ROTOR_CORE_FUTURE_H

#include "loop.h"

typedef struct rotor_future rotor_future;
typedef struct rotor_port rotor_port;

/* Make a pair. `destroy` (may be NULL) is called with a value nobody took, unless that is NULL: in
** the loop's thread, or in the port's when the value did not get that far. 0 or UV_ENOMEM.
** Both ends must be given back: the future by take or drop, the port by set, fail or drop. */
int rotor_future_new(rotor_loop *loop, rotor_future **future, rotor_port **port,
                     void (*destroy)(void *value));

/* Resolve with `value`, or with the error `code` < 0 (but UV_EAGAIN, which stands for not resolved);
** the port is gone afterwards, and the value is not the caller's any more, whatever is returned. 0;
** ROTOR_ECANCELED when the future was dropped; ROTOR_ECLOSED when its loop has ended. Any thread. */
int rotor_port_set(rotor_port *port, void *value);
int rotor_port_fail(rotor_port *port, int code);

/* As fail, with a `detail` that says more: it goes the way of a value, to be taken, looked at or
** destroyed, but with an error beside it. */
int rotor_port_fail_with(rotor_port *port, int code, void *detail);

/* Give the port up: the future is resolved with ROTOR_ECANCELED. NULL is fine. Any thread. */
void rotor_port_drop(rotor_port *port);

/* Whether nobody waits for the value any more, so that work on it may stop. Any thread. */
bool rotor_port_is_canceled(const rotor_port *port);

/* Have `machine` woken when that is so, in place of any other; nobody for ROTOR_NO_HANDLE. Loop's thread
** only. 0, or ROTOR_ECLOSED when the machine or the loop has ended. */
int rotor_port_watch(rotor_port *port, rotor_handle machine);

/* Have `machine` woken when the future is resolved (now if it is), in place of any other; nobody
** for ROTOR_NO_HANDLE. 0, or ROTOR_ECLOSED when the machine or the loop has ended. */
int rotor_future_watch(rotor_future *f, rotor_handle machine);

/* 0 when it has a value; its error when it was resolved with one; UV_EAGAIN when neither yet. */
int rotor_future_status(const rotor_future *f);

/* Take the value and end the future: 0 with *value set (the caller's now), or its error with *value its
** detail (the caller's, too) or NULL. UV_EAGAIN: not resolved yet, and the future goes on. */
int rotor_future_take(rotor_future *f, void **value);

/* Look at the value, or the error's detail, without taking it; NULL when there is none (yet). */
void *rotor_future_peek(const rotor_future *f);

/* End the future unread: what it waits for is canceled, a value already there destroyed. NULL is
** fine. */
void rotor_future_drop(rotor_future *f);

/* The combinators take over the futures given to them, also when they fail with UV_ENOMEM (then those
** are dropped, and `release` is called), and resolve in the loop's thread, outside any transition: there
** the functions given are called. Dropping what they return drops what they took. They return NULL
** when memory is short. */

/* `fn` gets the value, to keep, and returns what becomes of it: 0 with *result set (destroyed by
** `destroy` if nobody takes it), or an error with *result its detail or NULL. An error of `f` goes
** through untouched. `context` goes to `release` (may be NULL), once, when `fn` has run or cannot run
** any more. */
typedef int (*rotor_map_fn)(void *context, void *value, void **result);
rotor_future *rotor_future_map(rotor_future *f, rotor_map_fn fn, void *context,
                               void (*release)(void *context), void (*destroy)(void *value));

/* As map, but `fn` starts more work: it returns another future, which the result follows; or NULL
** with *error set. It is called on errors, too: then `status` is the error and `value` its
** detail or NULL, to keep. */
typedef rotor_future *(*rotor_then_fn)(void *context, int status, void *value, int *error);
rotor_future *rotor_future_then(rotor_future *f, rotor_then_fn fn, void *context,
                                void (*release)(void *context), void (*destroy)(void *value));

/* All of `n` futures: its value is a `rotor_values`. The first error drops the others. */
typedef struct rotor_values {
    size_t n;
    void (*destroy)(void *value); /* for each value not taken (set to NULL) */
    void *values[];
} rotor_values;
rotor_future *rotor_future_all(rotor_loop *loop, rotor_future **futures, size_t n,
                               void (*destroy)(void *value));

/* Free a rotor_values, which rotor_future_all() resolved with, and the values left in it. */
void rotor_values_free(rotor_values *values);

/* The first of `n` > 0 futures that has a value, which is passed on; the others are dropped. When all
** fail, the error of the last. */
rotor_future *rotor_future_first(rotor_loop *loop, rotor_future **futures, size_t n,
                                 void (*destroy)(void *value));

/* `f`, or ROTOR_ETIMEDOUT at `deadline` (in ms of the loop's clock); `f` is dropped then. Until one
** of them comes a machine counts it down, which keeps the loop running; NULL also when the loop's
** capacity is used up. */
rotor_future *rotor_future_timeout(rotor_future *f, uint64_t deadline);

#endif
