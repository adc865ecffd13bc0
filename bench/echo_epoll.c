/* The floor: echo on epoll alone. */
#include <sys/epoll.h>

#include "echo.h"

typedef struct connection {
    peer peer;
    next waits; /* for what the kernel was told */
} connection;

static int watch(int epoll, int operation, connection *c)
{
    struct epoll_event event = {.events = c->waits == TO_READ ? EPOLLIN : EPOLLOUT, .data.ptr = c};
    return epoll_ctl(epoll, operation, c->peer.fd, &event);
}

static void end(connection *c)
{
    forget(&c->peer);
    free(c);
}

static void serve(int epoll, connection *c)
{
    next waits = echo(&c->peer);
    if (waits == c->waits)
        return;
    c->waits = waits;
    if (waits == OVER || watch(epoll, EPOLL_CTL_MOD, c))
        end(c);
}

static void greet(int epoll, int listener)
{
    connection *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->peer.fd = accept_on(listener);
    c->waits = TO_READ;
    if (watch(epoll, EPOLL_CTL_ADD, c))
        end(c);
}

int main(int argc, char **argv)
{
    struct epoll_event events[1024];
    connection listener = {.peer.fd = listen_on(argc > 1 ? argv[1] : "7000"), .waits = TO_READ};
    int epoll = epoll_create1(0);
    if (watch(epoll, EPOLL_CTL_ADD, &listener))
        return 1;
    for (;;) {
        int n = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &listener)
                greet(epoll, listener.peer.fd);
            else
                serve(epoll, events[i].data.ptr);
        }
    }
}
