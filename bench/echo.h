/* What the echo servers on plain sockets share, so that they differ in nothing but the event loop.
**
** What could not be sent is kept, and nothing is read before it has gone: READ_SIZE bytes at most. */
#ifndef ROTOR_BENCH_ECHO_H
#define ROTOR_BENCH_ECHO_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 65536 };

typedef struct peer {
    int fd;
    char *rest; /* what is still to be sent, or NULL */
    size_t size;
} peer;

/* What to wait for. */
typedef enum next { OVER, TO_READ, TO_WRITE } next;

static inline int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, SOMAXCONN)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static inline int accept_on(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Send, and keep what the socket does not take. `data` is the peer's own rest, or not. */
static inline next answer(peer *p, const char *data, size_t n)
{
    ssize_t sent = send(p->fd, data, n, MSG_NOSIGNAL);
    if (sent == (ssize_t)n) {
        free(p->rest);
        p->rest = NULL;
        return TO_READ;
    }
    if (sent < 0 && errno != EAGAIN)
        return OVER;
    p->size = n - (size_t)(sent > 0 ? sent : 0);
    if (!p->rest && !(p->rest = malloc(p->size)))
        return OVER;
    memmove(p->rest, data + n - p->size, p->size);
    return TO_WRITE;
}

/* The socket is ready: read what is there and send it back, or send more of what was read. */
static inline next echo(peer *p)
{
    static char data[READ_SIZE];
    if (p->rest)
        return answer(p, p->rest, p->size);
    ssize_t n = recv(p->fd, data, sizeof data, 0);
    if (n > 0)
        return answer(p, data, (size_t)n);
    return n < 0 && errno == EAGAIN ? TO_READ : OVER;
}

static inline void forget(peer *p)
{
    close(p->fd);
    free(p->rest);
}

#endif
