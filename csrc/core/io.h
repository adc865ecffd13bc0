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
    ROTOR_WRITABLE = 2, /* or failed: writing tells */
    ROTOR_HANGUP = 4    /* the peer has closed its direction, or it failed: SO_ERROR tells */
};

struct rotor_io {
    uv_poll_t poll;    /* private; poll.data is the machine */
    rotor_io *next;    /* private: the machine's next */
    int fd;            /* read-only */
    uint16_t interest; /* read-only: the events waited for */
    uint8_t open;      /* private: 1; 2 while it is closing */
    uint8_t heap;      /* private: made by rotor_io_new() */
};

/* Watch the non-blocking descriptor `fd` for the machine `m`, of which `io` (all zero) is a member.
** Nothing is waited for yet. 0, or an error of libuv: then `io` is as before. UV_EBUSY: it is open, or
** was closed in this turn. */
int rotor_io_open(rotor_io *io, rotor_machine *m, int fd);

/* The same with memory of its own, for machines that watch now more descriptors and now fewer: `size`
** bytes that begin with a rotor_io, zero behind it. Closing it frees it, and so does the end of its
** machine. 0, UV_ENOMEM or an error of libuv (UV_EPERM: a descriptor that is always ready, such as a
** file's); then `*io` is NULL. */
int rotor_io_new(rotor_io **io, size_t size, rotor_machine *m, int fd);

/* Wait for `events`, until told otherwise (level-triggered); 0: for nothing. Costs nothing when
** nothing changes. 0, or an error of libuv. */
int rotor_io_want(rotor_io *io, unsigned events);

/* Stop watching; the descriptor may be closed afterwards. Without effect when not open. The struct
** must stay in place until its machine is released, which the loop sees to; but for one from
** rotor_io_new(), which is not to be touched any more. */
void rotor_io_close(rotor_io *io);

#endif
