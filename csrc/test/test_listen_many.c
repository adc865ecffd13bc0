/* 5,000 connections at once to a process that may have 1,024 descriptors: all of them are served in
** the end, and nothing spins meanwhile. The clients are a process of their own. Time does not pass for
** the loop, so who waits is served because a descriptor was freed, not because it tries again. */
#include "test.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../core/private.h"
#include "../stream/address.h"
#include "greeter.h"
#include "sockets.h"
#include "support.h"

enum { CLIENTS = 5000, LIMIT = 1024, BACKLOG = 4096, SPARE = 64 };

/* -- what is counted --------------------------------------------------------------------------- */

static int accepts, refusals, waits;

/* What the program would have called if it were not replaced here. */
static void *replaced(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol)
        abort();
    return symbol;
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict len, int flags)
{
    union { /* which C has no cast for */
        void *symbol;
        int (*call)(int, struct sockaddr *, socklen_t *, int);
    } real = {replaced("accept4")};
    int result = real.call(fd, address, len, flags);
    accepts++;
    refusals += result < 0 && errno == EMFILE;
    return result;
}

/* libuv waits in one or the other, as it is old or new. */
int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    union {
        void *symbol;
        int (*call)(int, struct epoll_event *, int, int);
    } real = {replaced("epoll_wait")};
    waits++;
    return real.call(epoll, events, most, timeout);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *set)
{
    union {
        void *symbol;
        int (*call)(int, struct epoll_event *, int, int, const sigset_t *);
    } real = {replaced("epoll_pwait")};
    waits++;
    return real.call(epoll, events, most, timeout, set);
}

/* -- the clients ------------------------------------------------------------------------------- */

/* What the system leaves of the backlog asked for. */
static int backlog(void)
{
    int n = 128;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    if (file) {
        if (fscanf(file, "%d", &n) != 1)
            n = 128;
        fclose(file);
    }
    return n < BACKLOG ? n : BACKLOG;
}

/* Each says "x", expects "ok\n" and the end, and closes. All 5,000 are under way at once, unless the
** machine allows less: a hard limit of descriptors, or a backlog below the usual 4,096, which Linux
** would lose some from (it forgets who stays behind it for too long). Then one comes for each that leaves.
*/
typedef struct crowd {
    int epoll, under_way, started, served;
    rotor_address to[2];
    int got[CLIENTS];
    int fd[CLIENTS];
} crowd;

static bool start(crowd *c)
{
    const rotor_address *to = &c->to[c->started % 2];
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = (uint32_t)c->started};
    if (fd < 0)
        return false;
    c->fd[c->started++] = fd;
    c->under_way++;
    return (connect(fd, &to->any, to->len) == 0 || errno == EINPROGRESS) &&
           epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool go_on(crowd *c, uint32_t i, uint32_t events)
{
    char text[4];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (events & EPOLLOUT)
        return send(c->fd[i], "x", 1, MSG_NOSIGNAL) == 1 &&
               epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->fd[i], &event) == 0;
    ssize_t n = recv(c->fd[i], text, sizeof text - (size_t)c->got[i], 0);
    if (n < 0 || memcmp(text, &"ok\n"[c->got[i]], (size_t)n) != 0)
        return false;
    c->got[i] += (int)n;
    if (n == 0) {
        close(c->fd[i]);
        c->under_way--;
        c->served += c->got[i] == 3;
    }
    return true;
}

/* How many were served; -1: something failed. */
static int run_crowd(const char *list, int most)
{
    static crowd c;
    char text[ROTOR_ADDRESS_SIZE];
    rotor_host host;
    struct epoll_event events[256];
    const char *rest = rotor_address_split(list, text, sizeof text);
    c.epoll = epoll_create1(0);
    if (rotor_address_parse(text, &c.to[0], &host) ||
        rotor_address_parse(rest ? rest : text, &c.to[1], &host))
        return -1;
    while (c.under_way > 0 || c.started < CLIENTS) {
        while (c.started < CLIENTS && c.under_way < most)
            if (!start(&c))
                return -1;
        int n = epoll_wait(c.epoll, events, 256, -1);
        for (int i = 0; i < n; i++)
            if (!go_on(&c, events[i].data.u32, events[i].events))
                return -1;
    }
    return c.served;
}

/* A process that waits for addresses on the pipe `orders`, and ends with 0 when all were served. */
static pid_t fork_clients(int *orders)
{
    int ends[2];
    struct rlimit limit;
    char list[256] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    *orders = ends[1];
    if (child > 0) {
        close(ends[0]);
        return child;
    }
    close(ends[1]);
    if (read(ends[0], list, sizeof list - 1) <= 0 || getrlimit(RLIMIT_NOFILE, &limit))
        _exit(2);
    rlim_t most = limit.rlim_cur - SPARE + (rlim_t)backlog();
    if (most > CLIENTS)
        most = CLIENTS;
    if (most > limit.rlim_max - SPARE)
        most = limit.rlim_max - SPARE;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        _exit(3);
    _exit(run_crowd(list, (int)most) == CLIENTS ? 0 : 1);
}

/* -- the server -------------------------------------------------------------------------------- */

static struct {
    stage st;
    rotor_handle listener;
    bool open; /* connections are served, not only held */
    int creates, drops;
    rotor_handle held[LIMIT];
} sv;

static rotor_intent on_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    if (sv.open) {
        sv.creates++;
        return rotor_expect_bytes(1);
    }
    assert_in_range(sv.creates, 0, LIMIT - 1);
    sv.held[sv.creates++] = s->machine.self;
    return rotor_intent_sleep();
}

static rotor_intent on_wakeup(rotor_stream *s, rotor_scope *scope)
{
    return rotor_expect_bytes(1);
}

static rotor_intent on_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf_consume(rotor_stream_input(s), n);
    assert_int_equal(rotor_stream_write(s, "ok\n", 3), 0);
    return rotor_intent_done();
}

static void on_drop(rotor_stream *s)
{
    sv.drops++;
}

static const rotor_protocol protocol = {.name = "many",
                                        .size = sizeof(rotor_stream),
                                        .create = on_create,
                                        .bytes_read = on_bytes_read,
                                        .wakeup = on_wakeup,
                                        .drop = on_drop};

static void on_child(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

static struct rlimit usual;

static int limit_at_the_beginning(void **state)
{
    struct rlimit lower;
    if (getrlimit(RLIMIT_NOFILE, &usual))
        return -1;
    lower = usual;
    /* So that the clients may always have more than this process. */
    lower.rlim_cur = usual.rlim_max >= 2 * LIMIT ? LIMIT : usual.rlim_max / 2;
    return setrlimit(RLIMIT_NOFILE, &lower) || test_begin(state);
}

static int unlimit_at_the_end(void **state)
{
    return setrlimit(RLIMIT_NOFILE, &usual) || test_end(state);
}

/* All that have room come, and nothing happens while the others wait; then all are served. */
static void serve_all(const char *list, rotor_listen_options options, bool to_the_last)
{
    int orders, status = -1;
    char where[256];
    pid_t clients = fork_clients(&orders);
    memset(&sv, 0, sizeof sv);
    accepts = refusals = waits = 0;
    stage_open_loop(&sv.st, 0);
    rotor_loop *loop = sv.st.loop;
    assert_int_equal(rotor_loop_on_signal(loop, SIGCHLD, on_child, NULL), 0);
    options.backlog = BACKLOG;
    assert_int_equal(rotor_listen(loop, list, &protocol, &options, &sv.listener), 0);
    assert_int_equal(rotor_listener_address(loop, sv.listener, where, sizeof where), 0);
    assert_int_equal(write(orders, where, strlen(where)), (ssize_t)strlen(where));
    close(orders);

    int room = (int)rotor__listener_options(loop, sv.listener)->connections - 1;
    while (to_the_last ? refusals == 0 : sv.creates < room) {
        assert_int_equal(waitpid(clients, &status, WNOHANG), 0);
        sockets_turn(loop);
    }
    greeter_assert_quiet(&sv.st);
    assert_int_equal(refusals, to_the_last);
    assert_in_range(accepts, sv.creates, 2 * sv.creates + 1);

    sv.open = true;
    waits = 0;
    for (int i = 0; i < sv.creates; i++)
        assert_int_equal(rotor_wake(loop, sv.held[i]), 0);
    assert_int_equal(rotor_loop_run(loop), 0); /* until the clients have ended */
    assert_int_equal(waitpid(clients, &status, 0), clients);
    assert_int_equal(status, 0);
    assert_int_equal(sv.creates, CLIENTS);
    assert_int_equal(sv.drops, CLIENTS);
    assert_int_equal(sv.st.errors, 0);
    /* For each client: he comes, nobody else does at one address or the other, and there is no
    ** descriptor for the next. And the loop is woken when he comes and when he says something. */
    assert_in_range(accepts, CLIENTS, 4 * CLIENTS);
    assert_in_range(waits, 1, 3 * CLIENTS);
    stage_close(&sv.st);
}

static void with_no_descriptor_left(void **state)
{
    serve_all("0", (rotor_listen_options){.connections = UINT32_MAX}, true);
}

static void on_two_addresses(void **state)
{
    serve_all("0,0", (rotor_listen_options){.connections = UINT32_MAX}, true);
}

static void with_the_usual_limit(void **state)
{
    serve_all("0", (rotor_listen_options){0}, false);
}

#define LIMITED_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, limit_at_the_beginning, unlimit_at_the_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMITED_TEST(with_no_descriptor_left),
        LIMITED_TEST(on_two_addresses),
        LIMITED_TEST(with_the_usual_limit),
    };
    return cmocka_run_group_tests_name("listen_many", tests, NULL, NULL);
}
