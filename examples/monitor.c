/* Usage: monitor ADDRESS [PATH [SECONDS]]
** Asks an HTTP server over one connection, made again when lost; prints status, latency, up, down. */
#define _GNU_SOURCE 1 /* for strcasestr */
#include <stdio.h>
#include <time.h>

#include <rotor.h>

enum { WAIT_MS = 10000, LONGEST_HEAD = 65536, LARGEST = 64 << 20 };

typedef struct monitor {
    rotor_stream stream;
    char status[80];
    rotor_http_chunked chunks;
} monitor;

static char request[4096];
static double seconds = 5;
static uint64_t asked, due; /* in ms of the loop's clock */
static const rotor_protocol idle, head, body, chunk;

static const char *now(void)
{
    return ctime(&(time_t){time(NULL)}) + 11; /* eight characters of it are the time of day */
}

static rotor_intent create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    rotor_become(s, &idle);
    return rotor_intent_until(rotor_expect_bytes(1), due);
}

static rotor_intent ask(rotor_stream *s, rotor_scope *scope)
{
    due = (asked = rotor_now(scope)) + (uint64_t)(seconds * 1000);
    rotor_become(s, &head);
    rotor_stream_write(s, request, strlen(request)); /* if it fails, there will be no answer */
    return rotor_intent_until(rotor_expect_delimiter("\r\n\r\n", 4, LONGEST_HEAD), asked + WAIT_MS);
}

static rotor_intent answered(rotor_stream *s, rotor_scope *scope, size_t n)
{
    printf("%.8s %s, %d ms\n", now(), ((monitor *)s)->status, (int)(rotor_now(scope) - asked));
    rotor_buf_consume(rotor_stream_input(s), n);
    return s->protocol == &head ? rotor_intent_done() : create(s, scope, NULL);
}

static rotor_intent head_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    monitor *m = (monitor *)s;
    char *text = rotor_buf_data(rotor_stream_input(s));
    text[n] = '\0'; /* where the delimiter begins */
    const char *chunked = strcasestr(text, "\nTransfer-Encoding:");
    const char *length = chunked ? NULL : strcasestr(text, "\nContent-Length:");
    size_t size = 1;
    m->chunks = (rotor_http_chunked){0};
    if (sscanf(text, "HTTP/1.%*1[01] %79[^\r]", m->status) != 1 ||
        (length && (sscanf(length + 16, "%zu", &size) != 1 || size > LARGEST)))
        return rotor_intent_error(UV_EPROTO);
    rotor_buf_consume(rotor_stream_input(s), n + 4);
    if (*m->status == '1') /* another head follows */
        return rotor_intent_same();
    bool empty = !strncmp(m->status, "204", 3) || !strncmp(m->status, "304", 3);
    if (!chunked && !length && !empty) /* the body ends with the connection */
        return answered(s, scope, 0);
    rotor_become(s, chunked && !empty ? &chunk : &body);
    return rotor_intent_until(rotor_expect_bytes(empty ? 0 : size), asked + WAIT_MS);
}

static rotor_intent chunk_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_http_limits limits = ROTOR_HTTP_LIMITS_DEFAULT;
    rotor_http_chunked *chunks = &((monitor *)s)->chunks;
    rotor_buf *input = rotor_stream_input(s);
    size_t len = rotor_buf_len(input);
    ptrdiff_t end = rotor_http_chunked_decode(chunks, rotor_buf_data(input), len, &limits,
                                              limits.body, &n, NULL);
    if (end != ROTOR_MORE)
        return end < 0 ? rotor_intent_error((int)end) : answered(s, scope, (size_t)end);
    rotor_buf_consume(input, len);
    return rotor_intent_same();
}

static const rotor_protocol client = {.name = "monitor", .size = sizeof(monitor), .create = create};
static const rotor_protocol idle = {.name = "idle", .parent = &client, .timeout = ask};
static const rotor_protocol head = {.name = "head", .parent = &client, .bytes_read = head_read};
static const rotor_protocol body = {.name = "body", .parent = &client, .bytes_read = answered};
static const rotor_protocol chunk = {.name = "chunk", .parent = &client, .bytes_read = chunk_read};

static void up(rotor_scope *scope, rotor_handle stream, void *context)
{
    printf("%.8s up\n", now());
}

static void down(rotor_scope *scope, int error, uint64_t wait_ms, void *context)
{
    printf("%.8s down: %s; next try in %.1f s\n", now(), error ? rotor_strerror(error) : "closed",
           (double)wait_ms / 1000);
}

int main(int argc, char **argv)
{
    const char *path = argc > 2 ? argv[2] : "/";
    rotor_persist_options options = {.up = up, .down = down};
    rotor_loop *loop;
    if (argc < 2 || argc > 4 || *path != '/' || strlen(path) > 2000 || strpbrk(path, " \r\n") ||
        (argc > 3 && !sscanf(argv[3], "%lf", &seconds)) || !(seconds > 0 && seconds < 86400)) {
        fprintf(stderr, "usage: %s ADDRESS [PATH [SECONDS]]\n", argv[0]);
        return 2;
    }
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %.255s\r\n\r\n", path,
             strncmp(argv[1], "unix:", 5) ? argv[1] : "localhost");
    int error = rotor_loop_new(&loop, NULL);
    error = error ? error : rotor_persist(loop, argv[1], &client, &options, NULL);
    if (error) {
        fprintf(stderr, "%s: %s: %s\n", argv[0], argv[1], rotor_strerror(error));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return rotor_loop_run(loop) || rotor_loop_free(loop);
}
