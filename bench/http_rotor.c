/* Usage: http_rotor PORT ROOT
** The answers that the loads of bench/run ask for: /, /1k, /64k, POST /echo, and below /files/ what is in
** the folder ROOT. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rotor.h>

static char letters[65536];

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

static rotor_response answer(rotor_http *h, rotor_scope *scope)
{
    rotor_text path = rotor_http_path(h), body = {letters, 0};
    if (is(path, "/"))
        body = (rotor_text){"Hello, World!", 13};
    else if (is(path, "/1k"))
        body.len = 1024;
    else if (is(path, "/64k"))
        body.len = sizeof letters;
    else if (is(path, "/echo") && is(rotor_http_method(h), "POST"))
        body = rotor_http_body(h);
    else
        return rotor_http_files_send(rotor_http_context(h), h, scope, NULL);
    int error = rotor_http_add_text(h, "Content-Type", "text/plain");
    if (!error)
        error = rotor_http_send(h, 200, body);
    return error ? rotor_error(error) : rotor_done();
}

static const rotor_http_handler handler = {.name = "http_rotor", .request_received = answer};

static void stop(rotor_loop *loop, int signum, void *context)
{
    rotor_loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const rotor_http_files_options options = {.prefix = "/files"};
    rotor_loop *loop;
    rotor_http_files *files;
    rotor_http_config config = {0};
    const char *address = argc > 1 ? argv[1] : "8080", *root = argc > 2 ? argv[2] : ".";
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)('a' + i % 26);
    int error = rotor_loop_new(&loop, NULL);
    if (!error)
        error = rotor_http_files_new(&files, root, &options);
    if (!error) {
        config.context = files;
        error = rotor_http_serve(loop, address, &handler, &config, NULL);
    }
    if (error) {
        fprintf(stderr, "http_rotor: %s, %s: %s\n", address, root, rotor_strerror(error));
        return 1;
    }
    rotor_loop_on_signal(loop, SIGTERM, stop, NULL);
    rotor_loop_run(loop);
    error = rotor_loop_free(loop);
    rotor_http_files_free(files);
    return error ? 1 : 0;
}
