/* Echo on bare libuv: uv_try_write, which sends at once and makes no request; uv_write only for what
** the socket did not take, and then nothing is read before that has gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { READ_SIZE = 65536 };

typedef struct {
    uv_tcp_t tcp;
    uv_write_t request;
    char *rest; /* of the request under way, or NULL */
} connection;

static void check(int status)
{
    if (status < 0) {
        fprintf(stderr, "echo_libuv: %s\n", uv_strerror(status));
        exit(1);
    }
}

static void on_close(uv_handle_t *handle)
{
    free(((connection *)handle)->rest);
    free(handle);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* One buffer serves all: what is read is used before the next read. */
static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char data[READ_SIZE];
    *buf = uv_buf_init(data, sizeof data);
}

static void on_written(uv_write_t *request, int status)
{
    connection *c = request->data;
    free(c->rest);
    c->rest = NULL;
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    if (status || uv_read_start((uv_stream_t *)&c->tcp, lend, on_read))
        uv_close((uv_handle_t *)&c->tcp, on_close);
}

/* 0, or an error. */
static int send_later(connection *c, const char *data, size_t n)
{
    uv_buf_t out = uv_buf_init(c->rest = malloc(n), (unsigned)n);
    if (!c->rest)
        return UV_ENOMEM;
    memcpy(c->rest, data, n);
    c->request.data = c;
    uv_read_stop((uv_stream_t *)&c->tcp);
    return uv_write(&c->request, (uv_stream_t *)&c->tcp, &out, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    if (n == 0)
        return;
    if (n > 0) {
        uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
        ssize_t sent = uv_try_write(stream, &out, 1);
        if (sent == n)
            return;
        if (sent == UV_EAGAIN)
            sent = 0;
        if (sent >= 0 && !send_later((connection *)stream, buf->base + sent, (size_t)(n - sent)))
            return;
    }
    uv_close((uv_handle_t *)stream, on_close);
}

static void on_connection(uv_stream_t *listener, int status)
{
    connection *c = calloc(1, sizeof *c);
    check(status);
    if (!c)
        abort();
    check(uv_tcp_init(listener->loop, &c->tcp));
    check(uv_accept(listener, (uv_stream_t *)&c->tcp));
    check(uv_tcp_nodelay(&c->tcp, 1));
    check(uv_read_start((uv_stream_t *)&c->tcp, lend, on_read));
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    uv_tcp_t listener;
    check(uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 7000, &address));
    check(uv_tcp_init(uv_default_loop(), &listener));
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0));
    check(uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection));
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
