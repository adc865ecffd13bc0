/* Usage: static PORT|ADDR:PORT ROOT
** An HTTP server of the files below ROOT: conditional requests, ranges, large files by sendfile(), "x.gz" in
** place of "x" to who accepts it. Hidden files and symbolic links are not served. */
#include <signal.h>
#include <stdio.h>

#include <rotor.h>

static rotor_response received(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_files_send(rotor_http_context(h), h, scope, NULL);
}

static const rotor_http_handler handler = {.name = "static", .request_received = received};

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
    static const rotor_http_files_options options = {.precompressed = true};
    rotor_http_config config = {0};
    rotor_http_files *files = NULL;
    rotor_loop *loop = NULL;
    rotor_handle listener;
    char where[128];
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT|ADDR:PORT ROOT\n", argv[0]);
        return 2;
    }
    const char *what = argv[2];
    int error = rotor_http_files_new(&files, argv[2], &options);
    if (!error)
        error = rotor_loop_new(&loop, NULL);
    if (!error) {
        what = argv[1];
        config.context = files;
        error = rotor_http_serve(loop, argv[1], &handler, &config, &listener);
    }
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], what, rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGINT, stop, &listener);
    rotor_loop_on_signal(loop, SIGTERM, stop, &listener);
    rotor_listener_address(loop, listener, where, sizeof where);
    printf("%s: listening on http://%s/\n", argv[2], where);
    fflush(stdout);
    rotor_loop_run(loop);
    error = rotor_loop_free(loop);
    rotor_http_files_free(files);
    return error ? 1 : 0;
}
