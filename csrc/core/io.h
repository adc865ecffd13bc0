/* rotor_io: readiness of one descriptor, embedded in the machine that is told of it.
**
** A machine may embed any number. The descriptor stays the machine's: rotor never reads, writes or
** closes it here. */
#ifndef ROTOR_CORE_IO_H
#define ROTOR_CORE_IO_H

#include <uv.h>

#include "machine.h"

enum {
    ROTOR_READABLE = 1, /* or at end of file, or failed: reading tells */
    ROTOR_WRITABLE = 2  /* or failed: writing tells */
};

struct rotor_io {
    uv_poll_t poll;    /* private; poll.data is the machine */
    rotor_io *next;    /* private: the machine's next */
    int fd;            /* read-only */
    uint16_t interest; /* read-only: the events waited for */
    uint16_t open;     /* private: 1; 2 while it is closing */
};

/* Watch the non-blocking descriptor `fd` for the machine `m`, of which `io` (all zero) is a member.
** Nothing is waited for yet. 0, or an error of libuv: then `io` is as before. UV_EBUSY: it is open, or
** was closed in this turn. */
int rotor_io_open(rotor_io *io, rotor_machine *m, int fd);

/* Wait for `events`, until told otherwise (level-triggered); 0: for nothing. Costs nothing when
** nothing changes. 0, or an error of libuv. */
int rotor_io_want(rotor_io *io, unsigned events);

/* Stop watching; the descriptor may be closed afterwards. Without effect when not open. The struct
** must stay in place until its machine is released, which the loop sees to. */
void rotor_io_close(rotor_io *io);

#endif
