/* What slow clients do to others: a steady load on 50 connections, alone, and then beside many
** connections that send a byte of a request head each second, never come to its end, and do not close.
**
**   slow_clients PORT SLOW SECONDS PID
**
** Prints a line each for the times before ("alone"), with all of them there ("beside") and while the
** server ends them ("ending"): requests, and the median, the 99th percentile and the greatest of their
** latencies in µs, from when each was due. Then "slow", how many there were at once, the bytes that
** the server, process PID, grew by for each, and the seconds from the last one's first byte until the
** server had closed them all. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    GOOD = 50,
    RATE = 2000,    /* requests in a second, on all of them */
    OPENING = 5000, /* slow connections made in a second */
    PATIENCE = 20   /* seconds for the server to end them */
};

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char head[] = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";

typedef struct connection {
    int fd;     /* -1: gone */
    double due; /* a good one: when its request was due, 0: it has none; else when it was made */
    double gone;
} connection;

typedef struct samples {
    double *values;
    size_t n, size;
} samples;

static connection good[GOOD], *slow;
static int epoll, port, wanted, made;
static const char *server;
static double next_request, next_slow, next_byte;
static int dripping; /* the next one to send a byte */
static samples *measured;

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("slow_clients: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add_sample(samples *s, double value)
{
    if (s->n == s->size) {
        s->size = s->size ? 2 * s->size : 4096;
        s->values = realloc(s->values, s->size * sizeof *s->values);
        if (!s->values)
            fail("out of memory");
    }
    s->values[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(samples *s, double q)
{
    if (s->n == 0)
        return 0;
    qsort(s->values, s->n, sizeof *s->values, compare);
    return s->values[(size_t)(q * (double)(s->n - 1))];
}

static long resident(void)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%s/statm", server);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%*s %ld", &pages) != 1)
        fail("%s: %s", path, strerror(errno));
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Counting them takes milliseconds when they are many; since Linux 6.2 the folder's size is their
** number. */
static int descriptors(void)
{
    char path[64];
    struct stat folder;
    int n = 0;
    snprintf(path, sizeof path, "/proc/%s/fd", server);
    DIR *dir = opendir(path);
    if (!dir || fstat(dirfd(dir), &folder))
        fail("%s: %s", path, strerror(errno));
    if (folder.st_size > 0)
        n = (int)folder.st_size;
    else
        while (readdir(dir))
            n++;
    closedir(dir);
    return n;
}

static void open_connection(connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail("connection %d: %s", made, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        fail("epoll: %s", strerror(errno));
}

static void say(int fd, const char *text, size_t n)
{
    /* A slow one may be gone already, which is then read. */
    if (send(fd, text, n, MSG_NOSIGNAL) != (ssize_t)n && errno != EPIPE && errno != ECONNRESET)
        fail("send: %s", strerror(errno));
}

static void hear(connection *c, double t)
{
    char answer[4096];
    ssize_t n = recv(c->fd, answer, sizeof answer, 0);
    if (c >= good && c < good + GOOD) {
        if (n <= 0 || c->due == 0 || strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
            fail("a good client got no answer");
        if (measured)
            add_sample(measured, (t - c->due) * 1e6);
        c->due = 0;
    } else if (n == 0 || (n < 0 && errno != EAGAIN)) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
    }
}

/* Whether a request that is due could be sent. All connections have their turn: one that is not used
** for long is closed. */
static int ask(double due)
{
    static int turn;
    for (int i = 0; i < GOOD; i++) {
        connection *c = &good[turn++ % GOOD];
        if (c->due == 0) {
            c->due = due;
            say(c->fd, request, sizeof request - 1);
            return 1;
        }
    }
    return 0;
}

/* Do what is due, and what comes, until `end`. */
static void run(double end, int (*until)(void))
{
    struct epoll_event events[256];
    for (double t = now(); t < end && !(until && until()); t = now()) {
        while (next_request <= t && ask(next_request))
            next_request += 1.0 / RATE;
        for (; made < wanted && next_slow <= t; next_slow += 1.0 / OPENING) {
            open_connection(&slow[made]);
            say(slow[made++].fd, head, sizeof head - 1);
        }
        for (; made > 0 && next_byte <= t; next_byte += 1.0 / made) {
            dripping = (dripping + 1) % made;
            say(slow[dripping].fd, "a", 1);
        }
        double due = made > 0 && next_byte < next_request ? next_byte : next_request;
        if (made < wanted && next_slow < due)
            due = next_slow;
        double left = due - now();
        struct timespec wait = {.tv_nsec = left > 0 ? (long)(left * 1e9) : 0};
        int n = epoll_pwait2(epoll, events, 256, &wait, NULL);
        t = now();
        for (int i = 0; i < n; i++)
            hear(events[i].data.ptr, t);
    }
}

static int all_made(void)
{
    return made == wanted;
}

/* How many descriptors the server has without them; looked at ten times a second. */
static int usual;
static int all_ended(void)
{
    static double next_look;
    double t = now();
    if (t < next_look)
        return 0;
    next_look = t + 0.1;
    return descriptors() <= usual;
}

static void measure(const char *name, double seconds, int (*until)(void))
{
    samples latencies = {0};
    measured = &latencies;
    next_request = now();
    run(now() + seconds, until);
    measured = NULL;
    double p50 = quantile(&latencies, 0.5), p99 = quantile(&latencies, 0.99);
    printf("%s %zu %.0f %.0f %.0f\n", name, latencies.n, p50, p99, quantile(&latencies, 1));
    free(latencies.values);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    double seconds = argc > 3 ? atof(argv[3]) : 0;
    port = argc > 1 ? atoi(argv[1]) : 0;
    wanted = argc > 2 ? atoi(argv[2]) : 0;
    server = argc > 4 ? argv[4] : NULL;
    if (argc != 5 || port <= 0 || wanted <= 0 || seconds <= 0)
        fail("usage: slow_clients PORT SLOW SECONDS PID");
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll = epoll_create1(0);
    int count = wanted;
    wanted = 0; /* not yet */
    slow = calloc((size_t)count, sizeof *slow);
    if (!slow)
        fail("out of memory");
    for (int i = 0; i < GOOD; i++)
        open_connection(&good[i]);

    next_request = now();
    run(now() + 0.5, NULL);
    long before = resident();
    usual = descriptors();
    measure("alone", seconds, NULL);
    wanted = count;
    next_slow = next_byte = now();
    run(now() + PATIENCE, all_made);
    double last = now();
    next_request = last;
    run(last + 0.5, NULL);
    int most = descriptors() - usual;
    measure("beside", seconds, NULL);
    long after = resident();
    measure("ending", PATIENCE, all_ended);
    printf("slow %d %ld %.2f\n", most, (after - before) / (most ? most : 1), now() - last);
    return 0;
}
