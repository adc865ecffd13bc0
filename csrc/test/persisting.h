/* A rig for connections that are kept alive: a loop with the clock that is set by hand, a script as the
** protocol, and a log of it all: "fatal(ECONNREFUSED) down(ECONNREFUSED) create up". */
#ifndef ROTOR_TEST_PERSISTING_H
#define ROTOR_TEST_PERSISTING_H

#include "../stream/persist.h"
#include "script.h"

enum { MOST_WAITS = 256 };

typedef struct persisting {
    stage st; /* its `self` is the machine's */
    script sc;
    script_line lines[2]; /* expect five bytes; done */
    rotor_persist_options options;
    /* NULL, or called in `up` and `down`, after they were written down. */
    void (*act)(struct persisting *f, rotor_scope *scope);
    int ups, downs, releases, closes;
    rotor_handle stream;        /* as `up` was told last */
    int error;                  /* as `down` was told last */
    uint64_t waits[MOST_WAITS]; /* as `down` was told */
} persisting;

/* A loop for so many machines (0: the usual), and nothing in it yet; or all but a loop. */
void persisting_begin(persisting *f, size_t capacity);
void persisting_init(persisting *f);
int persisting_try(persisting *f, const char *address);
void persisting_to(persisting *f, const char *address); /* the same, which must succeed */

/* Free the loop. Everything must have been given back, and nothing told to on_error. */
void persisting_end(persisting *f);

/* Turn the loop until `down` was called the `n`-th time, or `up`. */
void persisting_await_down(persisting *f, int n);
void persisting_await_up(persisting *f, int n);

/* Wait for as long as `down` has said, less a millisecond: nothing may happen. Then move the clock by
** that, clear the log, and begin the script anew. */
void persisting_wait(persisting *f);

bool persisting_is_up(persisting *f);

/* A port that refuses, and its address; who has it may listen on it. */
int persisting_reserve(char where[128]);

#endif
