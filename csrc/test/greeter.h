/* A listener for tests: who connects is greeted with "hi\n", and then has his lines echoed. */
#ifndef ROTOR_TEST_GREETER_H
#define ROTOR_TEST_GREETER_H

#include "../stream/listen.h"
#include "script.h"

typedef struct greeter {
    stage st;
    script sc; /* serves all connections */
    rotor_handle listener;
    char where[1024];   /* its address, once it listens */
    const char *failed; /* see rotor_listen_options */
    int closed;         /* how often its options' `closed` was called */
} greeter;

/* A loop of `capacity` machines (0: the usual), and nothing that listens. */
void greeter_prepare(greeter *g, size_t capacity);

/* Listen; what that has returned. `options` but for what is the greeter's. */
int greeter_listen(greeter *g, const char *address, rotor_listen_options options);

/* Both, without fail. */
void greeter_begin(greeter *g, const char *address, rotor_listen_options options, size_t capacity);

/* All goes with the loop, in proper order. */
void greeter_end(greeter *g);

/* Listen on `address` on a loop of its own, which must give `error` and leave nothing behind. Returns
** how far into `address` the one is that has failed, -1: none. */
int greeter_fails(const char *address, rotor_listen_options options, int error);

/* The `i`-th address of the list in `where`. */
const char *greeter_where(const greeter *g, int i);

/* Connect there, and be greeted. */
int greeter_visit(greeter *g, const char *address);

/* A line sent by `fd` is echoed. */
void greeter_assert_echoes(greeter *g, int fd);

/* Nothing happens, although somebody waits: no descriptor wakes the loop, and nothing is queued. */
void greeter_assert_quiet(stage *st);

#endif
