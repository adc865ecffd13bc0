/* Echo on libev: read what is there and write it back; a peer that does not take it all is dropped. */
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    static char data[65536];
    ssize_t n = recv(w->fd, data, sizeof data, 0);
    if (n > 0 && send(w->fd, data, (size_t)n, MSG_NOSIGNAL) == n)
        return;
    ev_io_stop(loop, w);
    close(w->fd);
    free(w);
}

static void on_connection(struct ev_loop *loop, ev_io *listener, int events)
{
    int on = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ev_io *w = fd < 0 ? NULL : malloc(sizeof *w);
    if (!w)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ev_io_init(w, on_readable, fd, EV_READ);
    ev_io_start(loop, w);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 7000)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!loop || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, SOMAXCONN)) {
        perror("echo_libev");
        return 1;
    }
    ev_io_init(&listener, on_connection, fd, EV_READ);
    ev_io_start(loop, &listener);
    return !ev_run(loop, 0);
}
