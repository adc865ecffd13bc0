/* Real sockets for tests: the far end of a connection, served by the same thread that turns the loop. */
#ifndef ROTOR_TEST_SOCKETS_H
#define ROTOR_TEST_SOCKETS_H

#include "../core/loop.h"

/* Turn `loop` until `condition` holds; fail the test when it never does. */
#define TURN_UNTIL(loop, condition)                                                                \
    for (int left_ = 10000; !(condition); left_--) {                                               \
        assert_true(left_ > 0);                                                                    \
        assert_int_equal(rotor_loop_turn(loop), 0);                                                \
        if (condition)                                                                             \
            break;                                                                                 \
        sockets_wait(loop);                                                                        \
    }
/* Unless something is queued, wait (not for long) until a descriptor that the loop polls is ready. */
void sockets_wait(rotor_loop *loop);

/* One turn, and such a wait. */
void sockets_turn(rotor_loop *loop);

/* Two connected, non-blocking sockets: AF_UNIX a pair, AF_INET over TCP. */
void sockets_pair(int family, int *near, int *far);

/* A connected, non-blocking socket. */
int sockets_connect(const char *address);

/* A listening, non-blocking socket, and its address with the true port (unless `where` is NULL). */
int sockets_listen(const char *address, int backlog, char where[128]);

/* Turn `loop` until a connection comes in: a non-blocking socket. */
int sockets_accept(rotor_loop *loop, int listener);

/* A listener whose backlog is full, and those in it: who connects to it now is not accepted. Over TCP,
** he is neither refused, but under way for as long as a test runs. */
typedef struct sockets_crowd {
    int listener, n;
    int waiting[8];
    char where[128];
} sockets_crowd;
void sockets_gather(sockets_crowd *crowd, const char *address);
void sockets_disperse(sockets_crowd *crowd);

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
