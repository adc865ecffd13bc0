/* Real sockets for tests: the far end of a connection, served by the same thread that turns the loop. */
#ifndef ROTOR_TEST_SOCKETS_H
#define ROTOR_TEST_SOCKETS_H

#include "../core/loop.h"

/* Turn `loop` until `condition` holds; fail the test when it never does. */
#define TURN_UNTIL(loop, condition)                                                                \
    for (int left_ = 10000; !(condition); left_--) {                                               \
        assert_true(left_ > 0);                                                                    \
        sockets_turn(loop);                                                                        \
    }
/* One turn; when nothing is queued, after waiting (not for long) for a descriptor to be ready. */
void sockets_turn(rotor_loop *loop);

/* Two connected, non-blocking sockets: AF_UNIX a pair, AF_INET over TCP. */
void sockets_pair(int family, int *near, int *far);

/* A connected, non-blocking socket. */
int sockets_connect(const char *address);

/* All of it must fit the socket's buffer. */
void sockets_send(int fd, const char *text);

/* Turn `loop` until exactly the bytes of `text` have come from `fd`; no other may come. */
void sockets_expect(rotor_loop *loop, int fd, const char *text);

/* Turn `loop` until `fd` is at its end: 0, or the error found in its place. Drops what comes before,
** and says how much that was (unless `dropped` is NULL). */
int sockets_end(rotor_loop *loop, int fd, size_t *dropped);

/* Close `fd` so that its peer gets a reset (TCP). */
void sockets_reset(int fd);

#endif
