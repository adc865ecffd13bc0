/* Usage: http_echo PORT | ADDR:PORT
** An HTTP server that answers any method and path with 200 and the request's own body: when it is there, or,
** below /stream, piece by piece as it comes, of any size, and no faster than the client takes it back. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rotor.h>

enum { HIGH = 65536, LOW = 16384 }; /* bytes of output at which the body is held, and goes on */

static const rotor_text content_type = {"Content-Type", 12};

static int copy_type(rotor_http *h)
{
    rotor_text type = rotor_http_header(h, content_type.data, content_type.len);
    return type.data ? rotor_http_add(h, content_type, type) : 0;
}

static rotor_http_receive headers_received(rotor_http *h, rotor_scope *scope)
{
    rotor_text path = rotor_http_path(h);
    bool streams = path.len >= 7 && memcmp(path.data, "/stream", 7) == 0;
    return streams ? rotor_http_progressive(0) : rotor_http_buffered(0);
}

static rotor_response request_received(rotor_http *h, rotor_scope *scope)
{
    int error = copy_type(h);
    if (!error)
        error = rotor_http_send(h, 200, rotor_http_body(h));
    return error ? rotor_error(error) : rotor_done();
}

static int begin(rotor_http *h)
{
    if (rotor_http_is_started(h))
        return 0;
    int error = copy_type(h);
    return error ? error : rotor_http_start(h, 200);
}

static rotor_response request_chunk(rotor_http *h, rotor_scope *scope, rotor_text data)
{
    int error = begin(h);
    if (!error)
        error = rotor_http_write(h, data);
    if (error)
        return rotor_error(error);
    if (rotor_http_unsent(h) < HIGH)
        return rotor_ok();
    return rotor_http_and_flush(rotor_http_hold(rotor_ok()), LOW);
}

static rotor_response flushed(rotor_http *h, rotor_scope *scope)
{
    return rotor_ok();
}

static rotor_response request_end(rotor_http *h, rotor_scope *scope)
{
    rotor_text name, value;
    int error = begin(h);
    for (size_t i = 0; !error && rotor_http_trailer_at(h, i, &name, &value); i++) {
        error = rotor_http_trailer(h, name, value);
        if (error == ROTOR_ESTATE) /* there are none in HTTP/1.0 */
            error = 0;
    }
    if (!error)
        error = rotor_http_finish(h);
    return error ? rotor_error(error) : rotor_done();
}

static const rotor_http_handler handler = {.name = "http_echo",
                                           .headers_received = headers_received,
                                           .request_received = request_received,
                                           .request_chunk = request_chunk,
                                           .flushed = flushed,
                                           .request_end = request_end};

static void drained(void *context, size_t cut)
{
    if (cut > 0)
        fprintf(stderr, "requests cut off: %zu\n", cut);
}

/* The first time: end when the requests under way are answered. The second time: end now. */
static void stop(rotor_loop *loop, int signum, void *context)
{
    const rotor_handle *listener = context;
    if (rotor_http_drain(loop, *listener, 0, drained, NULL))
        rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    rotor_loop *loop;
    rotor_handle listener;
    char where[128];
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT | ADDR:PORT\n", argv[0]);
        return 2;
    }
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_http_serve(loop, argv[1], &handler, NULL, &listener);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, &listener);
    rotor_loop_on_signal(loop, SIGTERM, stop, &listener);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("listening on http://%s/\n", where);
    fflush(stdout);
    rotor_loop_run(loop);
    return rotor_loop_free(loop) ? 1 : 0;
}
