/* What the files of this folder share and do not install: the sockets that a listener has. */
#ifndef ROTOR_STREAM_PRIVATE_H
#define ROTOR_STREAM_PRIVATE_H

#include <sys/types.h>

#include "listen.h"

/* One socket that listens. */
typedef struct rotor__listening {
    int fd;
    bool inherited;
    dev_t device;      /* of the file that was made for it */
    ino_t inode;       /* 0: none was */
    const char *asked; /* where in the list of addresses it was asked for */
} rotor__listening;

typedef struct rotor__listenings {
    rotor__listening *all;
    size_t n;
} rotor__listenings;

/* Open all addresses of `list` into the empty `set`, as rotor_listen() says. 0 or an error; the set is
** to be released in either case. */
int rotor__listenings_open(rotor__listenings *set, rotor_loop *loop, const char *list,
                           const rotor_listen_options *options);

/* Close those that are in the set and were not inherited; free its memory. */
void rotor__listenings_release(rotor__listenings *set);

/* It is a listener's now, and not for another program, nor for another "inherited". */
void rotor__listening_take(const rotor__listening *l);

/* Close the socket, and remove the file that was made for it if it is still there. */
void rotor__listening_close(const rotor__listening *l);

#endif
