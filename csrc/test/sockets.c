#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include "../core/private.h"
#include "../stream/address.h"
#include "test.h"

void sockets_wait(rotor_loop *loop)
{
    struct pollfd backend = {.fd = uv_backend_fd(loop->uv), .events = POLLIN};
    if (!uv_is_active((uv_handle_t *)&loop->idle))
        (void)poll(&backend, 1, 1);
}

void sockets_turn(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_turn(loop), 0);
    sockets_wait(loop);
}

static void set_non_blocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&address, len), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    close(listener);
}

void sockets_pair(int family, int *near, int *far)
{
    int fds[2];
    if (family == AF_UNIX)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    else
        tcp_pair(fds);
    set_non_blocking(fds[0]);
    set_non_blocking(fds[1]);
    *near = fds[0];
    *far = fds[1];
}

int sockets_connect(const char *text)
{
    rotor_address address;
    rotor_host host;
    assert_int_equal(rotor_address_parse(text, &address, &host), 0);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &address.any, address.len), 0);
    set_non_blocking(fd);
    return fd;
}

int sockets_listen(const char *text, int backlog, char where[128])
{
    rotor_address address;
    rotor_host host;
    assert_int_equal(rotor_address_parse(text, &address, &host), 0);
    int on = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    /* A port that is asked for may have been left by connections that linger. */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, &address.any, address.len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    address.len = sizeof address.storage;
    assert_int_equal(getsockname(fd, &address.any, &address.len), 0);
    if (where)
        assert_int_equal(rotor_address_format(&address, where, 128), 0);
    return fd;
}

int sockets_accept(rotor_loop *loop, int listener)
{
    int fd = -1;
    TURN_UNTIL(loop, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

void sockets_gather(sockets_crowd *crowd, const char *address)
{
    rotor_address to = {.len = sizeof to.storage};
    crowd->listener = sockets_listen(address, 0, crowd->where);
    assert_int_equal(getsockname(crowd->listener, &to.any, &to.len), 0);
    for (crowd->n = 0; crowd->n < 4; crowd->n++) {
        int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        crowd->waiting[crowd->n] = fd;
        (void)connect(fd, &to.any, to.len); /* the last ones find it full */
    }
}

void sockets_disperse(sockets_crowd *crowd)
{
    while (crowd->n > 0)
        close(crowd->waiting[--crowd->n]);
    close(crowd->listener);
}

void sockets_send(int fd, const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

void sockets_expect(rotor_loop *loop, int fd, const char *text)
{
    char buffer[4096];
    size_t want = strlen(text), have = 0;
    assert_true(want < sizeof buffer);
    while (have < want) {
        ssize_t n = -1;
        TURN_UNTIL(loop, (n = recv(fd, buffer + have, sizeof buffer - 1 - have, 0)) >= 0);
        buffer[have + (size_t)n] = '\0';
        if (n == 0)
            assert_string_equal(buffer, text);
        have += (size_t)n;
    }
    assert_string_equal(buffer, text);
}

int sockets_end(rotor_loop *loop, int fd, size_t *dropped)
{
    char buffer[65536];
    size_t total = 0;
    for (;;) {
        ssize_t n = -1;
        TURN_UNTIL(loop, (n = recv(fd, buffer, sizeof buffer, 0)) >= 0 || errno != EAGAIN);
        int error = n < 0 ? -errno : 0;
        if (n <= 0) {
            if (dropped)
                *dropped = total;
            return error;
        }
        total += (size_t)n;
    }
}

void sockets_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    assert_int_equal(close(fd), 0);
}
