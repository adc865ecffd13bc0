/* The client with memory running out. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

#define HTTP  "HTTP/1.1 "
#define EMPTY HTTP "200 OK\r\nContent-Length: 0\r\n\r\n"

/* Read and answer whatever there is to read, on each connection that there is. */
typedef struct server {
    int fds[8], n;
    const char *const *answers; /* one for each request, which ends with an empty line, or by "!" */
    int asked;
} server;

static void serve_once(calls *k, server *s)
{
    int fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 && s->n < 8)
        s->fds[s->n++] = fd;
    for (int i = 0; i < s->n; i++) {
        char text[65536];
        ssize_t n = recv(s->fds[i], text, sizeof text - 1, 0);
        if (n <= 0)
            continue;
        text[n] = '\0';
        bool whole = (n > 3 && strcmp(text + n - 4, "\r\n\r\n") == 0) || text[n - 1] == '!';
        if (whole && s->answers[s->asked])
            (void)send(s->fds[i], s->answers[s->asked], strlen(s->answers[s->asked]), MSG_NOSIGNAL);
        s->asked += whole && s->answers[s->asked];
    }
}

static void serve_all(calls *k, server *s)
{
    for (int left = 400; left > 0 && k->overs < k->started; left--) {
        serve_once(k, s);
        assert_int_equal(rotor_loop_turn(k->loop), 0);
    }
    test_monotonic_ms += 100000; /* what did not come to its end fails now */
    for (int left = 10; left > 0 && k->overs < k->started; left--)
        assert_int_equal(rotor_loop_turn(k->loop), 0);
    assert_int_equal(k->overs, k->started);
    while (s->n > 0)
        close(s->fds[--s->n]);
}

static void out_of_memory_with(calls k, const char *const *answers, int requests, const char *body,
                               bool streamed)
{
    server s = {.answers = answers};
    if (calls_open(&k))
        return;
    for (int i = 0; i < requests; i++) {
        rotor_http_ask ask;
        if (calls_ask(&k, &ask, body ? "PUT" : "GET", "/"))
            continue;
        if (body && streamed)
            (void)rotor_http_ask_stream(&ask, ROTOR_HTTP_NO_LENGTH);
        else if (body)
            (void)rotor_http_ask_body(&ask, (rotor_text){body, strlen(body)});
        k.body = body;
        int error = calls_start(&k, &ask);
        assert_true(error == 0 || test_alloc_failed() > 0);
    }
    serve_all(&k, &s);
    /* Every call was either told of its response or of its failure. */
    assert_true(test_alloc_failed() > 0 || !strstr(k.log, "failed"));
    calls_close(&k);
}

static void buffered(void)
{
    static const char *const answers[] = {
        HTTP "103\r\nA: b\r\n\r\n" HTTP "302\r\nLocation: /x\r\nContent-Length: 3\r\n\r\nabc",
        HTTP "200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        HTTP "200\r\nContent-Length: 3\r\n\r\nabc",
        EMPTY,
        EMPTY,
        NULL};
    out_of_memory_with((calls){.config.per_origin = 2}, answers, 4, NULL, false);
}

static void streamed(void)
{
    static const char *const answers[] = {
        HTTP "200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n", EMPTY, NULL};
    out_of_memory_with((calls){.headers = calls_progressive, .body_wanted = calls_write_body},
                       answers, 2, "abc", true);
}

static void sent(void)
{
    static char body[100001];
    static const char *const answers[] = {EMPTY, EMPTY, NULL};
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 2] = '!';
    out_of_memory_with((calls){0}, answers, 2, body, false);
}

static void memory_that_is_short(void **state)
{
    test_out_of_memory(buffered);
    test_out_of_memory(streamed);
    test_out_of_memory(sent);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests_name("client_memory", tests, NULL, NULL);
}
