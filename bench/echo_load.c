/* Usage: echo_load PORT CONNECTIONS DEPTH SECONDS
** Loads an echo server: each connection keeps DEPTH messages in flight, and sends the next ones when
** as many have come back. Every byte is checked. After a warm-up it counts for SECONDS, and ends
** with one line: "result", round trips, microseconds, median and p99 of a round trip in microseconds,
** round trips including the warm-up, errors (wrong bytes, ended connections). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE = 64,
    MOST_DEPTH = 32,
    MOST_CONNECTIONS = 1000,
    PERIOD = 4093, /* a prime: no two messages in flight are the same */
    ROOM = 4096,   /* more than can be in flight, so that one recv takes all there is */
    WARM_UP_MS = 500,
    PATIENCE_MS = 5000,
    LONGEST_US = 100000
};

/* A connection sends this over and over, each from a place of its own. */
static char pattern[PERIOD + ROOM];

typedef struct connection {
    int fd;
    uint64_t start, sent, received;
    uint64_t sent_at[MOST_DEPTH]; /* in ns, of each message in flight */
} connection;

static connection connections[MOST_CONNECTIONS];
static uint32_t took[LONGEST_US]; /* how many round trips took so many microseconds */
static uint64_t round_trips, errors;
static int depth;

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("echo_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fill_pattern(void)
{
    uint32_t x = 2463534242;
    for (size_t i = 0; i < sizeof pattern; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        pattern[i] = i < PERIOD ? (char)x : pattern[i - PERIOD];
    }
}

static void end(connection *c, const char *why)
{
    if (errors++ == 0)
        fprintf(stderr, "echo_load: %s\n", why);
    close(c->fd);
}

static void send_messages(connection *c, uint64_t count, uint64_t now)
{
    size_t size = count * MESSAGE;
    const char *data = pattern + (c->start + c->sent) % PERIOD;
    for (uint64_t i = 0; i < count; i++)
        c->sent_at[(c->sent / MESSAGE + i) % (uint64_t)depth] = now;
    c->sent += size;
    if (send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
        end(c, strerror(errno));
}

static void receive(connection *c)
{
    char data[ROOM];
    ssize_t n = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        end(c, n < 0 ? strerror(errno) : "closed by the server");
        return;
    }
    const char *expected = pattern + (c->start + c->received) % PERIOD;
    if (c->received + (uint64_t)n > c->sent || memcmp(data, expected, (size_t)n) != 0) {
        end(c, "what came back is not what was sent");
        return;
    }
    uint64_t now = now_ns(), from = c->received / MESSAGE;
    c->received += (uint64_t)n;
    uint64_t whole = c->received / MESSAGE - from;
    for (uint64_t i = from; i < from + whole; i++) {
        uint64_t us = (now - c->sent_at[i % (uint64_t)depth]) / 1000;
        took[us < LONGEST_US ? us : LONGEST_US - 1]++;
    }
    round_trips += whole;
    if (whole > 0)
        send_messages(c, whole, now);
}

static void open_connection(connection *c, int epoll, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    /* Edges only: a recv takes all there is, and the kernel need not look again. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = c};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        fail("port %d: %s", port, strerror(errno));
}

/* Returns how many ns it was. */
static uint64_t run_for(int epoll, uint64_t ns)
{
    struct epoll_event events[MOST_CONNECTIONS];
    uint64_t start = now_ns(), now = start;
    for (; now - start < ns; now = now_ns()) {
        int n = epoll_wait(epoll, events, MOST_CONNECTIONS, PATIENCE_MS);
        if (n == 0)
            fail("no answer for %d ms", PATIENCE_MS);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr);
    }
    return now - start;
}

static unsigned percentile(uint64_t percent)
{
    uint64_t seen = 0;
    for (unsigned us = 0; us < LONGEST_US; us++) {
        seen += took[us];
        if (seen * 100 >= round_trips * percent)
            return us;
    }
    return LONGEST_US;
}

static long number(char **argv, int i, long most)
{
    char *end;
    long n = strtol(argv[i], &end, 10);
    if (*end || n < 1 || n > most)
        fail("argument %d: 1 to %ld expected", i, most);
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage: echo_load PORT CONNECTIONS DEPTH SECONDS");
    int port = (int)number(argv, 1, 65535), count = (int)number(argv, 2, MOST_CONNECTIONS);
    depth = (int)number(argv, 3, MOST_DEPTH);
    uint64_t seconds = (uint64_t)number(argv, 4, 3600);
    int epoll = epoll_create1(0);
    fill_pattern();
    for (int i = 0; i < count; i++)
        open_connection(&connections[i], epoll, port);
    for (int i = 0; i < count; i++) {
        connections[i].start = (uint64_t)i * 41;
        send_messages(&connections[i], (uint64_t)depth, now_ns());
    }
    run_for(epoll, (uint64_t)WARM_UP_MS * 1000000);
    uint64_t warm_up = round_trips;
    round_trips = 0;
    memset(took, 0, sizeof took);
    uint64_t ns = run_for(epoll, seconds * 1000000000);
    printf("result %llu %llu %u %u %llu %llu\n", (unsigned long long)round_trips,
           (unsigned long long)(ns / 1000), percentile(50), percentile(99),
           (unsigned long long)(round_trips + warm_up), (unsigned long long)errors);
    return errors > 0;
}
