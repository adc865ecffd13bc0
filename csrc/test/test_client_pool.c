/* The client's connections: kept, used again, dropped, limited and waited for. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

#define HTTP  "HTTP/1.1 "
#define EMPTY HTTP "200 OK\r\nContent-Length: 0\r\n\r\n"
#define DONE  "head 200, received , over"

/* The server receives a GET for `path`. */
static void expect_get(calls *k, int fd, const char *path)
{
    sockets_expect(k->loop, fd, calls_request(k, "GET", path, ""));
}

/* A connection that has served a request and is kept. */
static int keep_one(calls *k)
{
    calls_get(k, "/first");
    int fd = calls_accept(k);
    expect_get(k, fd, "/first");
    sockets_send(fd, EMPTY);
    calls_expect(k, DONE);
    assert_int_equal(rotor_http_client_idle(k->client), 1);
    return fd;
}

static void serve(calls *k, int fd, const char *path)
{
    expect_get(k, fd, path);
    sockets_send(fd, EMPTY);
    calls_expect(k, DONE);
}

/* -- again and again --------------------------------------------------------------------------- */

static void connections_are_used_again(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    int fd = keep_one(&k);
    for (int i = 0; i < 3; i++) {
        calls_get(&k, "/again");
        serve(&k, fd, "/again");
    }
    assert_false(calls_is_asked_for_more(&k));
    assert_int_equal(rotor_http_client_connections(k.client), 1);
    close(fd);
    calls_close(&k);
}

static rotor_response ask_again(rotor_http_call *c, rotor_scope *scope)
{
    calls *k = calls_of(c);
    if (k->started < 3)
        calls_get(k, "/again");
    return rotor_ok();
}

static void the_next_call_from_a_transition_finds_the_connection(void **state)
{
    calls k = {.received = ask_again};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/again");
    int fd = calls_accept(&k);
    for (int i = 0; i < 3; i++)
        serve(&k, fd, "/again");
    assert_false(calls_is_asked_for_more(&k));
    close(fd);
    calls_close(&k);
}

static void the_last_one_used_is_the_first(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/a");
    int a = calls_accept(&k);
    calls_get(&k, "/b");
    int b = calls_accept(&k);
    serve(&k, b, "/b");
    serve(&k, a, "/a");
    assert_int_equal(rotor_http_client_idle(k.client), 2);
    calls_get(&k, "/c");
    serve(&k, a, "/c");
    close(a);
    close(b);
    calls_close(&k);
}

static void connections_are_kept_by_where_they_lead(void **state)
{
    calls k = {0};
    char where[128], url[160];
    assert_int_equal(calls_open(&k), 0);
    int other = sockets_listen("127.0.0.1:0", 8, where);
    snprintf(url, sizeof url, "http://%s/", where);
    int fd = keep_one(&k);
    calls_get(&k, url);
    int fd_other = sockets_accept(k.loop, other);
    sockets_send(fd_other, EMPTY);
    calls_expect(&k, DONE);
    /* With an address it is the address that counts. */
    rotor_http_ask ask;
    assert_int_equal(calls_ask(&k, &ask, "GET", "http://example.org/"), 0);
    assert_int_equal(rotor_http_ask_address(&ask, k.where), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    sockets_expect(k.loop, fd, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    close(other);
    close(fd_other);
    close(fd);
    calls_close(&k);
}

static void unix_sockets(void **state)
{
    calls k = {0};
    char address[64];
    snprintf(address, sizeof address, "unix:@rotor-test-client-%d", (int)getpid());
    assert_int_equal(calls_open_at(&k, address), 0);
    int fd = keep_one(&k);
    calls_get(&k, "/again");
    serve(&k, fd, "/again");
    close(fd);
    calls_close(&k);
    /* Nobody listens there any more, which is known at once but not told at once. */
    calls gone = {0};
    assert_int_equal(calls_open(&gone), 0);
    rotor_http_ask ask;
    assert_int_equal(calls_ask(&gone, &ask, "GET", "/"), 0);
    assert_int_equal(rotor_http_ask_address(&ask, address), 0);
    assert_int_equal(calls_start(&gone, &ask), 0);
    assert_string_equal(calls_log(&gone), "");
    calls_expect(&gone, "failed ECONNREFUSED, over");
    calls_close(&gone);
}

/* -- idle -------------------------------------------------------------------------------------- */

static void idle_connections_are_closed_in_time(void **state)
{
    calls k = {.config.idle_ms = 500};
    assert_int_equal(calls_open(&k), 0);
    int fd = keep_one(&k);
    calls_wait(&k, 499);
    assert_int_equal(rotor_http_client_idle(k.client), 1);
    calls_get(&k, "/again"); /* that time is over now */
    expect_get(&k, fd, "/again");
    calls_wait(&k, 1000);
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    calls_wait(&k, 499);
    assert_int_equal(rotor_http_client_idle(k.client), 1);
    calls_wait(&k, 1);
    assert_int_equal(rotor_http_client_idle(k.client), 0);
    assert_int_equal(rotor_http_client_connections(k.client), 0);
    assert_int_equal(sockets_end(k.loop, fd, NULL), 0);
    close(fd);
    calls_close(&k);
}

static void a_loop_does_not_run_for_idle_connections(void **state)
{
    rotor_loop *loop;
    rotor_http_ask ask;
    char where[128], url[160];
    static const rotor_http_requester silent = {.name = "silent"};
    int listener = sockets_listen("127.0.0.1:0", 8, where);
    snprintf(url, sizeof url, "http://%s/", where);
    assert_int_equal(rotor_loop_new(&loop, NULL), 0);
    rotor_http_client *client = rotor_http_client_new(loop, NULL);
    assert_int_equal(rotor_http_ask_init_text(&ask, "GET", url), 0);
    assert_int_equal(rotor_http_client_call(client, &ask, &silent, NULL, NULL), 0);
    int fd = sockets_accept(loop, listener);
    sockets_send(fd, EMPTY);
    assert_int_equal(rotor_loop_run(loop), 0); /* returns */
    assert_int_equal(rotor_http_client_idle(client), 1);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(rotor_http_ask_init_text(&ask, "GET", url), 0);
    assert_int_equal(rotor_http_client_call(client, &ask, &silent, NULL, NULL), 0);
    sockets_send(fd, EMPTY); /* the request is on its way */
    close(listener);
    rotor_http_client_release(client);
    assert_int_equal(rotor_loop_free(loop), 0);
    close(fd);
}

/* What an idle connection says or does is the end of it. */
static void leave(int fd, int how)
{
    if (how == 0)
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    else if (how == 1)
        sockets_send(fd, EMPTY);
    else
        sockets_reset(fd);
}

static void idle_connections_are_dropped_when_they_end(void **state)
{
    for (int how = 0; how < 3; how++) {
        calls k = {0};
        assert_int_equal(calls_open(&k), 0);
        int fd = keep_one(&k);
        leave(fd, how);
        TURN_UNTIL(k.loop, rotor_http_client_connections(k.client) == 0);
        assert_int_equal(rotor_http_client_idle(k.client), 0);
        assert_int_equal(rotor_loop_count(k.loop), 0);
        calls_get(&k, "/again");
        int again = calls_accept(&k);
        serve(&k, again, "/again");
        assert_int_equal(k.errors, 0);
        close(again);
        if (how < 2)
            close(fd);
        calls_close(&k);
    }
}

/* … also when the loop has not seen it yet. */
static void connections_are_looked_at_before_they_are_used(void **state)
{
    for (int how = 0; how < 3; how++) {
        calls k = {0};
        rotor_http_ask ask;
        assert_int_equal(calls_open(&k), 0);
        int fd = keep_one(&k);
        leave(fd, how);
        assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0); /* which would not be repeated */
        assert_int_equal(calls_start(&k, &ask), 0);
        int again = calls_accept(&k);
        sockets_expect(k.loop, again, calls_request(&k, "POST", "/", "Content-Length: 0\r\n"));
        sockets_send(again, EMPTY);
        calls_expect(&k, DONE);
        close(again);
        if (how < 2)
            close(fd);
        calls_close(&k);
    }
}

/* -- stale ------------------------------------------------------------------------------------- */

static void start(calls *k, const char *method, const char *body, bool streamed)
{
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, method, "/"), 0);
    if (body && streamed)
        assert_int_equal(rotor_http_ask_stream(&ask, strlen(body)), 0);
    else if (body)
        assert_int_equal(rotor_http_ask_body(&ask, (rotor_text){body, strlen(body)}), 0);
    k->body = body;
    assert_int_equal(calls_start(k, &ask), 0);
}

static const struct {
    const char *method, *body;
    bool streamed, repeated;
} requests[] = {
    {"GET", NULL, false, true},   {"HEAD", NULL, false, true},   {"OPTIONS", NULL, false, true},
    {"TRACE", NULL, false, true}, {"DELETE", NULL, false, true}, {"PUT", "abc", false, true},
    {"POST", NULL, false, false}, {"POST", "abc", false, false}, {"PATCH", NULL, false, false},
    {"PUT", "abc", true, false},  {"get", NULL, false, false},   {"PROPFIND", NULL, false, false},
};

static void requests_are_repeated_on_stale_connections(void **state)
{
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        for (int reset = 0; reset < 2; reset++) {
            calls k = {.body_wanted = calls_write_body};
            assert_int_equal(calls_open(&k), 0);
            int fd = keep_one(&k);
            start(&k, requests[i].method, requests[i].body, requests[i].streamed);
            char request[2048];
            snprintf(request, sizeof request, "%s%s",
                     calls_request(&k, requests[i].method, "/",
                                   requests[i].body ? "Content-Length: 3\r\n"
                                   : !strncmp(requests[i].method, "P", 1) &&
                                           strcmp(requests[i].method, "PROPFIND") != 0
                                       ? "Content-Length: 0\r\n"
                                       : ""),
                     requests[i].body ? requests[i].body : "");
            sockets_expect(k.loop, fd, request);
            if (reset)
                sockets_reset(fd);
            else
                close(fd);
            const char *wanted = requests[i].streamed ? "wanted, " : "";
            char log[256];
            if (requests[i].repeated) {
                int again = calls_accept(&k);
                sockets_expect(k.loop, again, request);
                sockets_send(again, EMPTY);
                calls_expect(&k, DONE);
                close(again);
            } else {
                snprintf(log, sizeof log, "%sfailed %s, over", wanted,
                         reset ? "ECONNRESET" : "HTTP_ENORESPONSE");
                calls_expect(&k, log);
                assert_false(calls_is_asked_for_more(&k));
            }
            calls_close(&k);
        }
    }
}

static void requests_are_repeated_once(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    int fd = keep_one(&k);
    start(&k, "GET", NULL, false);
    expect_get(&k, fd, "/");
    close(fd);
    fd = calls_accept(&k);
    expect_get(&k, fd, "/");
    close(fd);
    calls_expect(&k, "failed HTTP_ENORESPONSE, over");
    assert_false(calls_is_asked_for_more(&k));
    calls_close(&k);
}

static void nothing_is_repeated_after_a_byte_of_the_response(void **state)
{
    static const char *const beginnings[] = {"H", HTTP "100\r\n\r\n", HTTP "200\r\n\r"};
    for (int i = 0; i < 3; i++) {
        calls k = {0};
        assert_int_equal(calls_open(&k), 0);
        int fd = keep_one(&k);
        start(&k, "GET", NULL, false);
        expect_get(&k, fd, "/");
        sockets_send(fd, beginnings[i]);
        close(fd);
        calls_expect(&k,
                     i == 1 ? "100, failed HTTP_ETRUNCATED, over" : "failed HTTP_ETRUNCATED, over");
        assert_false(calls_is_asked_for_more(&k));
        calls_close(&k);
    }
}

/* Not one that is kept, too, which may be as stale. */
static void requests_are_repeated_on_new_connections(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/a");
    int a = calls_accept(&k);
    calls_get(&k, "/b");
    int b = calls_accept(&k);
    serve(&k, a, "/a");
    serve(&k, b, "/b");
    start(&k, "GET", NULL, false);
    expect_get(&k, b, "/");
    close(b);
    int fd = calls_accept(&k);
    serve(&k, fd, "/");
    close(a);
    close(fd);
    calls_close(&k);
}

/* -- limits ------------------------------------------------------------------------------------ */

static void calls_wait_for_their_turn(void **state)
{
    calls k = {.config.per_origin = 2};
    assert_int_equal(calls_open(&k), 0);
    for (int i = 0; i < 5; i++) {
        char path[] = {'/', (char)('1' + i), '\0'};
        calls_get(&k, path);
    }
    int a = calls_accept(&k), b = calls_accept(&k);
    assert_false(calls_is_asked_for_more(&k));
    serve(&k, a, "/1");
    serve(&k, b, "/2");
    serve(&k, b, "/4");
    serve(&k, b, "/5");
    expect_get(&k, a, "/3");
    close(a);
    a = calls_accept(&k); /* it is asked again, on a new one: there is room for it now */
    serve(&k, a, "/3");
    close(a);
    close(b);
    calls_close(&k);
}

static void who_waits_takes_the_place_of_what_has_ended(void **state)
{
    calls k = {.config.per_origin = 1};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/1");
    calls_get(&k, "/2");
    calls_get(&k, "/3");
    int fd = calls_accept(&k);
    expect_get(&k, fd, "/1");
    sockets_send(fd, HTTP "200\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    calls_expect(&k, DONE);
    close(fd);
    fd = calls_accept(&k);
    expect_get(&k, fd, "/2");
    sockets_reset(fd);
    calls_expect(&k, "failed ECONNRESET, over");
    fd = calls_accept(&k);
    serve(&k, fd, "/3");
    close(fd);
    calls_close(&k);
}

static void the_deadline_runs_while_a_call_waits(void **state)
{
    calls k = {.config = {.per_origin = 1, .timeout_ms = 100}};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/1");
    calls_wait(&k, 50);
    calls_get(&k, "/2");
    calls_turn(&k);
    calls_wait(&k, 49);
    calls_expect(&k, "");
    calls_wait(&k, 1);
    calls_expect(&k, "failed ETIMEDOUT, over");
    int fd = calls_accept(&k);
    close(fd); /* of the first */
    fd = calls_accept(&k);
    expect_get(&k, fd, "/2");
    calls_get(&k, "/3");
    calls_wait(&k, 50);
    calls_expect(&k, "failed ETIMEDOUT, over");
    calls_wait(&k, 50);
    calls_expect(&k, "failed ETIMEDOUT, over");
    close(fd);
    calls_close(&k);
}

static void who_waits_may_give_up(void **state)
{
    calls k = {.config.per_origin = 1};
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/1");
    calls_get(&k, "/2");
    rotor_handle second = k.call;
    calls_get(&k, "/3");
    int fd = calls_accept(&k);
    expect_get(&k, fd, "/1");
    assert_int_equal(rotor_end(k.loop, second, 0), 0);
    calls_expect(&k, "over");
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    serve(&k, fd, "/3");
    close(fd);
    calls_close(&k);
}

static void connections_are_limited_in_all(void **state)
{
    calls k = {.config.connections = 1};
    char where[128], url[160];
    assert_int_equal(calls_open(&k), 0);
    int other = sockets_listen("127.0.0.1:0", 8, where);
    snprintf(url, sizeof url, "http://%s/", where);
    /* One that is idle makes room; */
    int fd = keep_one(&k);
    calls_get(&k, url);
    int there = sockets_accept(k.loop, other);
    assert_int_equal(sockets_end(k.loop, fd, NULL), 0);
    close(fd);
    /* one that is not is waited for, by origins in turn. */
    calls_get(&k, "/1");
    calls_get(&k, "/2");
    calls_get(&k, url);
    assert_false(calls_is_asked_for_more(&k));
    sockets_send(there, EMPTY);
    calls_expect(&k, "head 200, received , over"); /* and there is one who waits for it */
    sockets_send(there, EMPTY);
    calls_expect(&k, "head 200, received , over");
    fd = calls_accept(&k);
    assert_int_equal(sockets_end(k.loop, there, &(size_t){0}), 0);
    close(there);
    serve(&k, fd, "/1");
    serve(&k, fd, "/2");
    assert_int_equal(rotor_http_client_connections(k.client), 1);
    close(fd);
    close(other);
    calls_close(&k);
}

static void only_so_many_are_kept(void **state)
{
    calls k = {.config = {.idle_per_origin = 2, .idle = 3}};
    char where[128], url[160];
    int fds[3], there[2];
    assert_int_equal(calls_open(&k), 0);
    int other = sockets_listen("127.0.0.1:0", 8, where);
    snprintf(url, sizeof url, "http://%s/", where);
    for (int i = 0; i < 3; i++) {
        calls_get(&k, "/");
        fds[i] = calls_accept(&k);
    }
    for (int i = 0; i < 3; i++)
        serve(&k, fds[i], "/");
    assert_int_equal(rotor_http_client_idle(k.client), 2);
    assert_int_equal(sockets_end(k.loop, fds[0], NULL), 0);
    for (int i = 0; i < 2; i++) {
        calls_get(&k, url);
        there[i] = sockets_accept(k.loop, other);
    }
    for (int i = 0; i < 2; i++) {
        sockets_send(there[i], EMPTY);
        calls_expect(&k, DONE);
    }
    assert_int_equal(rotor_http_client_idle(k.client), 3);
    assert_int_equal(sockets_end(k.loop, fds[1], NULL), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(there[0]);
    close(there[1]);
    close(other);
    calls_close(&k);
}

static void a_loop_that_is_full(void **state)
{
    calls k = {.capacity = 2};
    rotor_http_ask ask;
    assert_int_equal(calls_open(&k), 0);
    calls_get(&k, "/1"); /* for which there is no connection */
    calls_get(&k, "/2");
    calls_expect(&k, "failed ECAPACITY, over");
    assert_int_equal(calls_ask(&k, &ask, "GET", "/3"), 0);
    assert_int_equal(calls_start(&k, &ask), ROTOR_ECAPACITY);
    calls_close(&k);
}

/* -- what cannot be reached -------------------------------------------------------------------- */

static void nobody_listens(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    close(k.listener);
    k.listener = -1;
    calls_get(&k, "/");
    calls_expect(&k, "failed ECONNREFUSED, over");
    assert_int_equal(rotor_http_client_connections(k.client), 0);
    assert_int_equal(k.errors, 0);
    calls_close(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(connections_are_used_again),
        TEST(the_next_call_from_a_transition_finds_the_connection),
        TEST(the_last_one_used_is_the_first),
        TEST(connections_are_kept_by_where_they_lead),
        TEST(unix_sockets),
        TEST(idle_connections_are_closed_in_time),
        TEST(a_loop_does_not_run_for_idle_connections),
        TEST(idle_connections_are_dropped_when_they_end),
        TEST(connections_are_looked_at_before_they_are_used),
        TEST(requests_are_repeated_on_stale_connections),
        TEST(requests_are_repeated_once),
        TEST(nothing_is_repeated_after_a_byte_of_the_response),
        TEST(requests_are_repeated_on_new_connections),
        TEST(calls_wait_for_their_turn),
        TEST(who_waits_takes_the_place_of_what_has_ended),
        TEST(the_deadline_runs_while_a_call_waits),
        TEST(who_waits_may_give_up),
        TEST(connections_are_limited_in_all),
        TEST(only_so_many_are_kept),
        TEST(a_loop_that_is_full),
        TEST(nobody_listens),
    };
    return cmocka_run_group_tests_name("client_pool", tests, NULL, NULL);
}
