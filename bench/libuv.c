/* Bare libuv: uv_read_start, a search for blank lines and one uv_try_write of the fixed answers. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "peer.h"

typedef struct {
    uv_tcp_t tcp;
    size_t since; /* see answers_to() */
} connection;

static void check(int status)
{
    if (status < 0) {
        fprintf(stderr, "libuv: %s\n", uv_strerror(status));
        exit(1);
    }
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

/* One buffer serves all: what is read is used before the next read. */
static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char data[READ_SIZE];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(data, sizeof data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    connection *c = (connection *)stream;
    if (n >= 0) {
        size_t size = answers_to(buf->base, (size_t)n, &c->since);
        uv_buf_t out = uv_buf_init(answers, (unsigned)size);
        if (size == 0 || uv_try_write(stream, &out, 1) == (int)size)
            return;
    }
    uv_close((uv_handle_t *)stream, on_close);
}

static void on_connection(uv_stream_t *listener, int status)
{
    connection *c = malloc(sizeof *c);
    check(status);
    if (!c)
        abort();
    c->since = 2;
    check(uv_tcp_init(listener->loop, &c->tcp));
    check(uv_accept(listener, (uv_stream_t *)&c->tcp));
    check(uv_tcp_nodelay(&c->tcp, 1));
    check(uv_read_start((uv_stream_t *)&c->tcp, lend, on_read));
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    uv_tcp_t listener;
    fill_answers(NULL);
    check(uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 8080, &address));
    check(uv_tcp_init(uv_default_loop(), &listener));
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0));
    check(uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection));
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
