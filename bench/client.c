/* The client of the measurements that must repeat exactly. Each connection is tried for ten seconds.
**
**   client lockstep PORT COUNT   COUNT requests on one connection, each after the whole answer to
**                                the last, or each on its own when the answers say that they close it;
**                                prints the size of an answer
**   client echo PORT COUNT       COUNT messages of 64 bytes to an echo server on one connection,
**                                each after the whole of the last has come back
**   client idle PORT COUNT       COUNT connections with one request on each; prints "ready" and
**                                holds them until its input ends
**
** In the environment: REQUEST, if it is not to be a GET of /, and BYTES of the body that answers it:
** the alphabet over and over, if it is not to be "Hello, World!". Every byte of it is checked. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char hello[128];
static const char *request = hello;
static size_t request_size;

/* The body of an answer, and of the answer itself the most that is looked for. */
static char body[65536];
static size_t body_size;
static char length[64];

enum { MOST = sizeof body + 4096 };

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("client: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int open_connection(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {.tv_sec = 30};
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int tries = 0; tries < 1000; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0)
            fail("socket: %s", strerror(errno));
        if (!connect(fd, (struct sockaddr *)&address, sizeof address)) {
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            return fd;
        }
        close(fd);
        nanosleep(&pause, NULL);
    }
    fail("nothing answers on port %d", port);
    return -1;
}

/* Whether `line` is in the head that ends at `behind`. */
static bool has(const char *head, const char *behind, const char *line)
{
    const char *found = strcasestr(head, line);
    return found && found < behind;
}

/* Send one request and return the size of the answer, which must be the one expected. */
static size_t ask(int fd, bool *closes)
{
    static char answer[MOST];
    const char *behind = NULL; /* the head */
    size_t size = 0;
    if (send(fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        fail("send: %s", strerror(errno));
    while (!behind || size < (size_t)(behind - answer) + body_size) {
        ssize_t n = recv(fd, answer + size, sizeof answer - 1 - size, 0);
        if (n <= 0)
            fail("no whole answer: %s", n < 0 ? strerror(errno) : "closed");
        size += (size_t)n;
        answer[size] = 0;
        if (behind || !(behind = strstr(answer, "\r\n\r\n")))
            continue;
        behind += 4;
        if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !has(answer, behind, length))
            fail("not the answer expected:\n%s", answer);
        *closes = has(answer, behind, "\r\nConnection: close\r\n");
    }
    if (size != (size_t)(behind - answer) + body_size || memcmp(behind, body, body_size) != 0)
        fail("not the body expected: %.100s", behind);
    return size;
}

/* Close and wait until the server has closed too, so that both ends have seen the end. */
static void close_connection(int fd)
{
    char byte;
    shutdown(fd, SHUT_WR);
    if (recv(fd, &byte, 1, 0) != 0)
        fail("more than the answers came, or no end");
    close(fd);
}

static void lockstep(int port, int count)
{
    int fd = open_connection(port);
    bool closes = false;
    size_t size = ask(fd, &closes);
    while (--count > 0) {
        if (closes) {
            close_connection(fd);
            fd = open_connection(port);
        }
        size = ask(fd, &closes);
    }
    close_connection(fd);
    printf("%zu\n", size);
}

static void echo(int port, int count)
{
    int fd = open_connection(port);
    char message[64], answer[sizeof message];
    while (count-- > 0) {
        memset(message, 'a' + count % 26, sizeof message);
        if (send(fd, message, sizeof message, MSG_NOSIGNAL) != sizeof message)
            fail("send: %s", strerror(errno));
        if (recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer ||
            memcmp(message, answer, sizeof answer) != 0)
            fail("the message did not come back");
    }
    close_connection(fd);
    printf("%zu\n", sizeof message);
}

static void idle(int port, int count)
{
    char byte;
    bool closes;
    int *fds = malloc((size_t)count * sizeof *fds);
    if (!fds)
        fail("out of memory");
    for (int i = 0; i < count; i++) {
        fds[i] = open_connection(port);
        ask(fds[i], &closes);
    }
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (int i = 0; i < count; i++) {
        if (recv(fds[i], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
            fail("connection %d of %d was not held", i + 1, count);
        close_connection(fds[i]);
    }
    free(fds);
}

static void set_up(int port)
{
    const char *other = getenv("REQUEST"), *bytes = getenv("BYTES");
    snprintf(hello, sizeof hello, "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
    if (other)
        request = other;
    request_size = strlen(request);
    body_size = bytes ? strtoul(bytes, NULL, 10) : (size_t)sprintf(body, "Hello, World!");
    if (body_size == 0 || body_size > sizeof body)
        fail("BYTES: 1 to %zu expected", sizeof body);
    for (size_t i = 0; bytes && i < body_size; i++)
        body[i] = (char)('a' + i % 26);
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", body_size);
}

int main(int argc, char **argv)
{
    int port = argc > 2 ? atoi(argv[2]) : 0, count = argc > 3 ? atoi(argv[3]) : 0;
    if (port <= 0 || count <= 0)
        fail("usage: client lockstep|echo|idle PORT COUNT");
    set_up(port);
    if (!strcmp(argv[1], "lockstep"))
        lockstep(port, count);
    else if (!strcmp(argv[1], "echo"))
        echo(port, count);
    else if (!strcmp(argv[1], "idle"))
        idle(port, count);
    else
        fail("no mode %s", argv[1]);
    return 0;
}
