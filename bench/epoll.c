/* Usage: epoll PORT [BYTES of body]
** The floor: epoll, recv, a search for blank lines and one send of the fixed answers. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "peer.h"

static size_t since[65536]; /* by descriptor, of which bench/run allows 20,000; see peer.h */

static int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, SOMAXCONN)) {
        perror("epoll");
        exit(1);
    }
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        close(fd);
}

static void serve(int fd)
{
    static char data[READ_SIZE];
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n > 0) {
        size_t size = answers_to(data, (size_t)n, &since[fd]);
        if (size == 0 || send(fd, answers, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size)
            return;
    }
    close(fd); /* also when a send is cut short: a floor keeps no output */
}

int main(int argc, char **argv)
{
    struct epoll_event events[1024];
    int listener = listen_on(argc > 1 ? argv[1] : "8080"), epoll = epoll_create1(0), on = 1;
    fill_answers(argc > 2 ? argv[2] : NULL);
    watch(epoll, listener);
    for (;;) {
        int n = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                serve(fd);
            } else if ((fd = accept(listener, NULL, NULL)) >= 0) {
                since[fd] = 2;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(epoll, fd);
            }
        }
    }
}
