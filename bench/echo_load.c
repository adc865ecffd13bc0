/* Usage: echo_load PORT CONNECTIONS DEPTH SECONDS
** Keeps DEPTH messages of 64 bytes in flight on each connection to an echo server, and checks every
** byte that comes back. Prints "result MESSAGES MICROSECONDS P99_MICROSECONDS", where the latency is
** from a burst's write to its last byte. The first tenth of the time is not counted. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, MOST_DEPTH = 64, EVENTS = 256, SLOTS = 100000 /* of 1 µs: latencies */ };

typedef struct {
    int fd;
    size_t have; /* bytes of the burst that have come back */
    unsigned serial;
    double since;
    char burst[MESSAGE * MOST_DEPTH];
} connection;

static size_t burst_size;
static unsigned latencies[SLOTS + 1];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
    fprintf(stderr, "echo_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Each burst differs from the last, so that what comes back late or twice is found out. */
static void send_burst(connection *c)
{
    c->serial++;
    for (size_t at = 0; at < burst_size; at += sizeof c->serial)
        memcpy(c->burst + at, &c->serial, sizeof c->serial);
    c->have = 0;
    c->since = now();
    if (send(c->fd, c->burst, burst_size, MSG_NOSIGNAL) != (ssize_t)burst_size)
        die("send");
}

static void open_connection(connection *c, int port, int epoll)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        die("connect");
}

/* True when the whole burst is back. */
static int receive(connection *c)
{
    char data[sizeof c->burst];
    ssize_t n = recv(c->fd, data, burst_size - c->have, MSG_DONTWAIT);
    if (n <= 0)
        die("recv");
    if (memcmp(data, c->burst + c->have, (size_t)n) != 0) {
        fprintf(stderr, "echo_load: other bytes came back than were sent\n");
        exit(1);
    }
    c->have += (size_t)n;
    return c->have == burst_size;
}

static unsigned percentile(double part, unsigned long bursts)
{
    unsigned long seen = 0;
    for (unsigned us = 0; us <= SLOTS; us++)
        if ((seen += latencies[us]) >= (unsigned long)(part * (double)bursts))
            return us;
    return SLOTS;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS DEPTH SECONDS\n", argv[0]);
        return 2;
    }
    int connections = atoi(argv[2]), depth = atoi(argv[3]), epoll = epoll_create1(0);
    connection *all = calloc((size_t)connections, sizeof *all);
    struct epoll_event events[EVENTS];
    if (depth < 1 || depth > MOST_DEPTH || connections < 1 || !all || epoll < 0)
        die("arguments");
    burst_size = (size_t)depth * MESSAGE;
    for (int i = 0; i < connections; i++)
        open_connection(&all[i], atoi(argv[1]), epoll);
    double begin = now(), end = begin + atof(argv[4]) * 1e6;
    double counted_from = begin + (end - begin) / 10, at = begin;
    unsigned long bursts = 0;
    for (int i = 0; i < connections; i++)
        send_burst(&all[i]);
    while ((at = now()) < end) {
        int n = epoll_wait(epoll, events, EVENTS, 5000);
        if (n <= 0)
            die("epoll_wait: nothing comes back");
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (!receive(c))
                continue;
            double us = now() - c->since;
            if (at >= counted_from) {
                latencies[us < SLOTS ? (unsigned)us : SLOTS]++;
                bursts++;
            }
            send_burst(c);
        }
    }
    printf("result %lu %.0f %u\n", bursts * (unsigned long)depth, at - counted_from,
           percentile(0.99, bursts));
    return 0;
}
