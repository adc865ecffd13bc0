/* Echo on libev. */
#include <ev.h>

#include "echo.h"

typedef struct connection {
    ev_io io;
    peer peer;
} connection;

static void on_ready(struct ev_loop *loop, ev_io *io, int events)
{
    connection *c = (connection *)io;
    next waits = echo(&c->peer);
    int interest = waits == TO_READ ? EV_READ : EV_WRITE;
    if (waits == OVER) {
        ev_io_stop(loop, io);
        forget(&c->peer);
        free(c);
    } else if (!(io->events & interest)) {
        ev_io_stop(loop, io);
        ev_io_set(io, c->peer.fd, interest);
        ev_io_start(loop, io);
    }
}

static void on_connection(struct ev_loop *loop, ev_io *listener, int events)
{
    int fd = accept_on(listener->fd);
    connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    if (fd < 0)
        return;
    if (!c)
        abort();
    c->peer.fd = fd;
    ev_io_init(&c->io, on_ready, fd, EV_READ);
    ev_io_start(loop, &c->io);
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    if (!loop)
        return 1;
    ev_io_init(&listener, on_connection, listen_on(argc > 1 ? argv[1] : "7000"), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
    return 0;
}
