/* Echo on bare libuv: uv_read_start and uv_try_write; a peer that does not take it all is dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static void check(int status)
{
    if (status < 0) {
        fprintf(stderr, "echo_libuv: %s\n", uv_strerror(status));
        exit(1);
    }
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

/* One buffer serves all: what is read is written before the next read. */
static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char data[65536];
    *buf = uv_buf_init(data, sizeof data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
    if (n == 0 || (n > 0 && uv_try_write(stream, &out, 1) == (int)n))
        return;
    uv_close((uv_handle_t *)stream, on_close);
}

static void on_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    check(status);
    if (!tcp)
        abort();
    check(uv_tcp_init(listener->loop, tcp));
    check(uv_accept(listener, (uv_stream_t *)tcp));
    check(uv_tcp_nodelay(tcp, 1));
    check(uv_read_start((uv_stream_t *)tcp, lend, on_read));
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
