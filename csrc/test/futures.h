/* What the tests of futures share: values that are counted, and functions for combinators. */
#ifndef ROTOR_TEST_FUTURES_H
#define ROTOR_TEST_FUTURES_H

#include <stdatomic.h>

#include "../core/future.h"

extern atomic_int values_alive; /* made, and not yet destroyed */
int *value_new(int n);
void value_destroy(void *value);

/* Take the value of a future that must have one, and destroy it. */
int value_taken(rotor_future *f);

/* Take from a future that must have failed with `error`, and no detail. */
void future_fails(rotor_future *f, int error);

/* A loop with the virtual clock at 1,000 ms, and a pair whose values are the counted ones. */
rotor_loop *future_loop(size_t capacity);
void future_pair(rotor_loop *loop, rotor_future **f, rotor_port **p);

/* The context of the functions below. */
typedef struct future_helper {
    rotor_loop *loop;
    rotor_future *f; /* map: to be dropped inside, if any; then: to be returned */
    rotor_port *p;
    int error; /* what to fail with */
    int calls, released, status;
} future_helper;

int future_add_one(void *context, void *value, void **result);                  /* map */
rotor_future *future_go_on(void *context, int status, void *value, int *error); /* then */
void future_release(void *context);

#endif
