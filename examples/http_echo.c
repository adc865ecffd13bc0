/* Usage: http_echo PORT | ADDR:PORT
** An HTTP server that answers any method and path with 200 and the request's own body. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

static rotor_response echo(rotor_http *h, rotor_scope *scope)
{
    static const rotor_text name = {"Content-Type", 12};
    rotor_text type = rotor_http_header(h, name.data, name.len);
    int error = type.data ? rotor_http_add(h, name, type) : 0;
    if (!error)
        error = rotor_http_send(h, 200, rotor_http_body(h));
    return error ? rotor_error(error) : rotor_done();
}

static const rotor_http_handler handler = {.name = "http_echo", .request_received = echo};

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
