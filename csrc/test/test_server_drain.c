/* Servers that end gently: what is under way is answered, what is idle is closed, and what takes too
** long is cut. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "support.h"
#include "web.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: h\r\n\r\n"

enum { GRACE_MS = 100 };

typedef struct site {
    web web;
    rotor_handle listener;
    char address[128];
    size_t cut;
    int drained; /* how often it was said how many were cut */
} site;

static void note_drained(void *context, size_t cut)
{
    site *s = context;
    s->cut = cut;
    s->drained++;
}

static void site_open(site *s, web_transition *received)
{
    web *w = &s->web;
    w->received = received;
    assert_int_equal(web_open_loop(w), 0);
    assert_int_equal(
        rotor_http_serve(w->loop, "127.0.0.1:0", &w->handler, &w->config, &s->listener), 0);
    assert_int_equal(rotor_listener_address(w->loop, s->listener, s->address, sizeof s->address),
                     0);
}

static void drain(site *s, uint32_t ms)
{
    assert_int_equal(rotor_http_drain(s->web.loop, s->listener, ms, note_drained, s), 0);
    web_turn(&s->web);
    assert_null(rotor_find(s->web.loop, s->listener));
}

/* The client finds the end of the connection, and closes its own. */
static void leave(site *s, int fd)
{
    assert_int_equal(sockets_end(s->web.loop, fd, NULL), 0);
    close(fd);
}

static void assert_all_gone(site *s)
{
    TURN_UNTIL(s->web.loop, rotor_loop_count(s->web.loop) == 0);
    assert_int_equal(s->web.closed, 1);
    assert_int_equal(s->drained, 1);
    assert_int_equal(rotor_loop_run(s->web.loop), 0); /* there is nothing to wait for */
    web_close(&s->web);
}

static void nothing_to_wait_for(void **state)
{
    site s = {0};
    site_open(&s, NULL);
    drain(&s, 0);
    assert_all_gone(&s);
}

static void idle_connections_are_closed(void **state)
{
    site s = {0};
    site_open(&s, NULL);
    int used = sockets_connect(s.address), silent = sockets_connect(s.address);
    sockets_send(used, GET("/"));
    sockets_expect(s.web.loop, used, OK(5, "GET /"));
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 3);
    drain(&s, 0);
    assert_int_equal(rotor_loop_count(s.web.loop), 3); /* two connections, and who waits for them */
    web_wait(&s.web, GRACE_MS);
    leave(&s, used);
    leave(&s, silent);
    assert_all_gone(&s);
}

static void what_was_on_its_way_is_answered(void **state)
{
    site s = {0};
    site_open(&s, NULL);
    int fd = sockets_connect(s.address), slow = sockets_connect(s.address);
    sockets_send(slow, "GET /slow HTTP/1.1\r\n");
    TURN_UNTIL(s.web.loop, rotor_loop_count(s.web.loop) == 3);
    for (int i = 0; i < 10; i++)
        sockets_turn(s.web.loop);
    drain(&s, 0);
    sockets_send(fd, GET("/"));
    sockets_expect(s.web.loop, fd, LAST(5, "GET /"));
    leave(&s, fd);
    web_wait(&s.web, GRACE_MS);
    sockets_send(slow, "Host: h\r\n\r\n");
    sockets_expect(s.web.loop, slow, LAST(9, "GET /slow"));
    leave(&s, slow);
    assert_all_gone(&s);
}

static void who_waits_for_an_answer_gets_it(void **state)
{
    site s = {0};
    site_open(&s, web_waits);
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/1") GET("/2"));
    TURN_UNTIL(s.web.loop, s.web.requests == 1);
    drain(&s, 0);
    web_wait(&s.web, GRACE_MS);
    rotor_http *h = rotor_http_find(s.web.loop, s.web.ref);
    assert_non_null(h);
    assert_int_equal(rotor_http_send_text(h, 200, "at last"), 0);
    sockets_expect(s.web.loop, fd, LAST(7, "at last"));
    leave(&s, fd);
    assert_all_gone(&s);
    assert_int_equal(s.web.requests, 1);
}

static void a_large_answer_is_sent_whole(void **state)
{
    static char body[4 << 20], buffer[65536];
    site s = {0};
    site_open(&s, web_waits);
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/"));
    TURN_UNTIL(s.web.loop, s.web.requests == 1);
    rotor_http *h = rotor_http_find(s.web.loop, s.web.ref);
    assert_int_equal(rotor_http_send(h, 200, (rotor_text){body, sizeof body}), 0);
    web_turn(&s.web);
    drain(&s, 0);
    web_wait(&s.web, GRACE_MS);
    size_t got = 0;
    for (ssize_t n = -1; n != 0;) {
        n = recv(fd, buffer, sizeof buffer, 0);
        assert_true(n >= 0 || errno == EAGAIN);
        got += n > 0 ? (size_t)n : 0;
        if (n < 0)
            sockets_turn(s.web.loop);
    }
    assert_in_range(got, sizeof body, sizeof body + 200);
    close(fd);
    assert_all_gone(&s);
}

static void what_takes_too_long_is_cut(void **state)
{
    site s = {0};
    site_open(&s, web_waits);
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/"));
    TURN_UNTIL(s.web.loop, s.web.requests == 1);
    drain(&s, 5000);
    web_wait(&s.web, 4999);
    assert_int_equal(s.web.overs, 0);
    web_wait(&s.web, 1);
    assert_int_equal(s.web.overs, 1);
    assert_int_equal(s.web.errors, 0);
    leave(&s, fd);
    assert_all_gone(&s);
    assert_int_equal(s.cut, 1);
}

static void an_answer_that_is_not_taken_is_cut(void **state)
{
    static char body[8 << 20];
    site s = {0};
    site_open(&s, web_waits);
    int fd = sockets_connect(s.address), idle = sockets_connect(s.address);
    sockets_send(fd, GET("/"));
    TURN_UNTIL(s.web.loop, s.web.requests == 1);
    rotor_http *h = rotor_http_find(s.web.loop, s.web.ref);
    assert_int_equal(rotor_http_send(h, 200, (rotor_text){body, sizeof body}), 0);
    web_turn(&s.web);
    drain(&s, 5000);
    web_wait(&s.web, 5000);
    assert_all_gone(&s);
    assert_int_equal(s.cut, 1);
    close(fd);
    close(idle);
}

static void a_loop_may_end_while_it_drains(void **state)
{
    site s = {0};
    site_open(&s, web_waits);
    int fd = sockets_connect(s.address);
    sockets_send(fd, GET("/"));
    TURN_UNTIL(s.web.loop, s.web.requests == 1);
    drain(&s, 0);
    web_close(&s.web);
    assert_int_equal(s.web.closed, 1);
    assert_int_equal(s.drained, 1);
    close(fd);
}

static rotor_intent other_create(rotor_stream *s, rotor_scope *scope, void *seed)
{
    return rotor_intent_done();
}

static const rotor_protocol other = {
    .name = "other", .size = sizeof(rotor_stream), .create = other_create};

static void only_servers_drain_and_only_once(void **state)
{
    site s = {0};
    rotor_handle listener;
    site_open(&s, NULL);
    assert_int_equal(rotor_listen(s.web.loop, "127.0.0.1:0", &other, NULL, &listener), 0);
    assert_int_equal(rotor_http_drain(s.web.loop, listener, 0, NULL, NULL), UV_EINVAL);
    assert_int_equal(rotor_http_drain(s.web.loop, ROTOR_NO_HANDLE, 0, NULL, NULL), ROTOR_ECLOSED);
    assert_int_equal(rotor_http_drain(s.web.loop, s.listener, 0, note_drained, &s), 0);
    assert_int_equal(rotor_http_drain(s.web.loop, s.listener, 0, NULL, NULL), ROTOR_ECLOSED);
    assert_int_equal(rotor_end(s.web.loop, listener, 0), 0);
    assert_all_gone(&s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(nothing_to_wait_for),
        TEST(idle_connections_are_closed),
        TEST(what_was_on_its_way_is_answered),
        TEST(who_waits_for_an_answer_gets_it),
        TEST(a_large_answer_is_sent_whole),
        TEST(what_takes_too_long_is_cut),
        TEST(an_answer_that_is_not_taken_is_cut),
        TEST(a_loop_may_end_while_it_drains),
        TEST(only_servers_drain_and_only_once),
    };
    return cmocka_run_group_tests_name("server_drain", tests, NULL, NULL);
}
