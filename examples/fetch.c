/* Usage: fetch URL...
** Gets http:// URLs, all at once, by HTTP/1.1, and writes their bodies to standard output, each as
** soon as all of it is there. An answer other than 2xx is an error. */
#define _GNU_SOURCE 1 /* for strcasestr */
#include <stdio.h>

#include <rotor.h>

enum { WAIT_MS = 120000, LONGEST_HEAD = 65536, LARGEST = 1 << 30 };

typedef struct fetch {
    rotor_stream stream;
    const char *url;
    char status[80];
    size_t size, decoded; /* of the body; LARGEST: it ends with the connection */
    rotor_http_chunked chunks;
} fetch;

static int failures;
static const rotor_protocol head, body, chunk;

static void failed(rotor_loop *loop, rotor_machine *m, int error)
{
    const fetch *f = (fetch *)m;
    const char *url = f->url ? f->url : rotor_stream_seed_left(&f->stream);
    fprintf(stderr, "fetch: %s: %s\n", url, *f->status > '2' ? f->status : rotor_strerror(error));
    failures++;
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    const char *host = (((fetch *)s)->url = seed) + 7, *path = host + strcspn(host, "/?#");
    char text[4096];
    int len = snprintf(text, sizeof text, "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\n%s\r\n\r\n",
                       *path == '/' ? "" : "/", (int)strcspn(path, "#"), path, (int)(path - host),
                       host, "Connection: close");
    int error = len < (int)sizeof text ? rotor_stream_write(s, text, (size_t)len) : UV_E2BIG;
    rotor_become(s, &head);
    rotor_intent end = rotor_expect_delimiter("\r\n\r\n", 4, LONGEST_HEAD);
    return error ? rotor_intent_error(error) : rotor_intent_until(end, rotor_now(scope) + WAIT_MS);
}

static rotor_intent head_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    fetch *f = (fetch *)s;
    char *text = rotor_buf_data(rotor_stream_input(s));
    text[n] = '\0'; /* where the delimiter begins */
    const char *coding = strcasestr(text, "\nTransfer-Encoding:");
    const char *length = coding ? NULL : strcasestr(text, "\nContent-Length:");
    f->size = coding ? 1 : LARGEST;
    if (sscanf(text, "HTTP/1.%*1[01] %79[^\r]", f->status) != 1 ||
        (length && sscanf(length + 16, "%zu", &f->size) != 1))
        return rotor_intent_error(UV_EPROTO);
    if (*f->status > '2' || f->size > LARGEST)
        return rotor_intent_error(UV_EFBIG);
    rotor_buf_consume(rotor_stream_input(s), n + 4);
    if (*f->status == '1') /* another head follows */
        return rotor_intent_same();
    rotor_become(s, coding ? &chunk : &body);
    return rotor_intent_until(rotor_expect_bytes(f->size), rotor_now(scope) + WAIT_MS);
}

static rotor_intent print(rotor_stream *s, rotor_scope *scope, size_t n)
{
    fwrite(rotor_buf_data(rotor_stream_input(s)), 1, n, stdout);
    return fflush(stdout) ? rotor_intent_error(uv_translate_sys_error(errno)) : rotor_intent_done();
}

static rotor_intent chunk_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_http_limits limits = ROTOR_HTTP_LIMITS_DEFAULT;
    fetch *f = (fetch *)s;
    rotor_buf *input = rotor_stream_input(s);
    char *data = rotor_buf_data(input) + f->decoded;
    size_t len = rotor_buf_len(input) - f->decoded;
    limits.body = LARGEST;
    ptrdiff_t end = rotor_http_chunked_decode(&f->chunks, data, len, &n, &limits);
    rotor_buf_truncate(input, f->decoded += n);
    if (end == ROTOR_MORE)
        return rotor_intent_until(rotor_expect_bytes(f->decoded + 1), rotor_now(scope) + WAIT_MS);
    return end < 0 ? rotor_intent_error((int)end) : print(s, scope, f->decoded);
}

static rotor_intent exception(rotor_stream *s, rotor_scope *scope, int reason)
{
    bool whole = s->protocol == &body && ((fetch *)s)->size == LARGEST;
    return whole ? print(s, scope, rotor_buf_len(rotor_stream_input(s)))
                 : rotor_intent_error(reason);
}

static const rotor_protocol get = {
    .name = "get", .size = sizeof(fetch), .create = create, .exception = exception};
static const rotor_protocol head = {.name = "head", .parent = &get, .bytes_read = head_read};
static const rotor_protocol body = {.name = "body", .parent = &get, .bytes_read = print};
static const rotor_protocol chunk = {.name = "chunk", .parent = &get, .bytes_read = chunk_read};

int main(int argc, char **argv)
{
    rotor_loop *loop;
    if (argc < 2) {
        fprintf(stderr, "usage: %s URL...\n", argv[0]);
        return 2;
    }
    if (rotor_loop_new(&loop, &(rotor_config){.on_error = failed}))
        return 1;
    while (*++argv) {
        char host[260] = "";
        int error = UV_EPROTONOSUPPORT;
        if (sscanf(*argv, "http://%255[^/?#]", host) == 1 && !strpbrk(*argv, " \r\n")) {
            if (!strchr(host, ':') || host[strlen(host) - 1] == ']')
                memcpy(host + strlen(host), ":80", sizeof ":80");
            error = rotor_connect(loop, host, &get, &(rotor_connect_options){.seed = *argv}, NULL);
        }
        if (error)
            failures += fprintf(stderr, "fetch: %s: %s\n", *argv, rotor_strerror(error));
    }
    rotor_loop_run(loop);
    return rotor_loop_free(loop) || failures;
}
