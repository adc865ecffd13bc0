/* Usage: fetch URL...
** Fetches http:// URLs, all at once, and prints what they name in their order. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rotor.h>

typedef struct page {
    const char *url;
    char request[4096];
    FILE *out;
} page;

typedef struct answer {
    rotor_stream stream;
    const page *page;
    rotor_http_chunked chunks;
    uint64_t left; /* of the body; UINT64_MAX or a little less: up to the end of the connection */
    bool chunked;
} answer;

static int failures;
static const rotor_protocol fetch, body;

static rotor_intent fail(const page *p, const char *why)
{
    failures++;
    fprintf(stderr, "fetch: %s: %.*s\n", p->url, (int)strcspn(why, "\r"), why);
    return rotor_intent_abort();
}

static void on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    const page *unseen = rotor_stream_seed_left((rotor_stream *)m);
    fail(unseen ? unseen : ((answer *)m)->page, rotor_strerror(error));
}

static rotor_intent ask(rotor_stream *s, rotor_scope *scope, void *seed)
{
    const page *p = ((answer *)s)->page = seed;
    rotor_stream_write(s, p->request, strlen(p->request));
    rotor_intent head = rotor_expect_delimiter("\r\n\r\n", 4, 65536);
    return rotor_intent_until(head, rotor_now(scope) + 30000);
}

static rotor_intent head(rotor_stream *s, rotor_scope *scope, size_t n)
{
    answer *a = (answer *)s;
    char *text = rotor_buf_data(rotor_stream_input(s));
    int status = 0;
    text[n] = '\0';
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (sscanf(text, "http/1.%*d %d", &status) != 1 || status >= 300)
        return fail(a->page, text);
    const char *length = strstr(text, "\ncontent-length:");
    a->chunked = strstr(text, "\ntransfer-encoding:");
    a->left = a->chunked ? 1 : length ? strtoull(length + 16, NULL, 10) : UINT64_MAX;
    rotor_buf_consume(rotor_stream_input(s), n + 4);
    rotor_become(s, status < 200 ? &fetch : &body); /* below, the answer is still to come */
    return status < 200 ? rotor_intent_same() : rotor_expect_bytes(a->left > 0);
}

static rotor_intent body_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    answer *a = (answer *)s;
    rotor_http_limits limits = ROTOR_HTTP_LIMITS_DEFAULT;
    char *data = rotor_buf_data(rotor_stream_input(s));
    size_t len = rotor_buf_len(rotor_stream_input(s)), text = len < a->left ? len : a->left;
    ptrdiff_t end = 0;
    if (a->chunked)
        end = rotor_http_chunked_decode(&a->chunks, data, len, &limits, UINT64_MAX, &text, NULL);
    fwrite(data, 1, text, a->page->out);
    rotor_buf_consume(rotor_stream_input(s), len);
    if (end < 0)
        return rotor_intent_error((int)end);
    a->left -= a->chunked ? 0 : text;
    return end > 0 || a->left == 0 ? rotor_intent_done() : rotor_expect_bytes(1);
}

static rotor_intent ended(rotor_stream *s, rotor_scope *scope, int reason)
{
    bool whole = s->protocol == &body && ((answer *)s)->left > INT64_MAX;
    return whole ? rotor_intent_done() : rotor_intent_error(reason);
}

static const rotor_protocol fetch = {
    .name = "fetch", .size = sizeof(answer), .create = ask, .bytes_read = head, .exception = ended};
static const rotor_protocol body = {.name = "body", .parent = &fetch, .bytes_read = body_read};

int main(int argc, char **argv)
{
    rotor_loop *loop;
    if (argc < 2 || rotor_loop_new(&loop, &(rotor_config){.on_error = on_error}))
        return fprintf(stderr, "usage: %s URL...\n", argv[0]), 2;
    page *pages = calloc((size_t)argc, sizeof *pages);
    if (!pages)
        return 1;
    for (int i = 1; i < argc; i++) {
        page *p = &pages[i];
        char host[200] = "", address[208];
        int at = 0;
        *p = (page){.url = argv[i], .out = i == 1 ? stdout : tmpfile()};
        sscanf(p->url, "http://%199[^/?#@ ]%n", host, &at);
        const char *port = strrchr(host, ':'), *path = p->url + at;
        snprintf(address, sizeof address, port && !strchr(port, ']') ? "%s" : "%s:80", host);
        snprintf(p->request, sizeof p->request,
                 "GET %s%.*s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                 *path == '/' ? "" : "/", (int)strcspn(path, "#"), path, host);
        if (!*host || !p->out || strpbrk(path, " \r\n") || strlen(path) > 3000 || *path == '@' ||
            rotor_connect(loop, address, &fetch, &(rotor_connect_options){.seed = p}, NULL))
            fail(p, "not an http:// URL");
    }
    rotor_loop_run(loop);
    for (int i = 2, c; i < argc; i++)
        for (rewind(pages[i].out); (c = getc(pages[i].out)) != EOF;)
            putchar(c);
    free(pages);
    return rotor_loop_free(loop) || failures > 0 || fflush(stdout) || ferror(stdout);
}
