/* The client's requests with bodies: from memory and streamed, in time and too late. */
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

enum { MUCH = 3000000, TOO_MUCH = 40000000 }; /* for sockets to hold, that is */

static rotor_text text_of(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

/* Take `n` bytes of body from `fd`, which are all the same but the last. */
static void drain(calls *k, int fd, size_t n, char last)
{
    static char buffer[65536];
    while (n > 0) {
        ssize_t got = -1;
        TURN_UNTIL(k->loop,
                   (got = recv(fd, buffer, n < sizeof buffer ? n : sizeof buffer, 0)) >= 0);
        assert_int_not_equal(got, 0);
        n -= (size_t)got;
        assert_int_equal(buffer[got - 1], n > 0 ? 'x' : last);
    }
}

/* Just these bytes, whatever follows them. */
static void expect_head(calls *k, int fd, const char *text)
{
    for (; *text; text++) {
        char byte;
        TURN_UNTIL(k->loop, recv(fd, &byte, 1, 0) == 1);
        assert_int_equal(byte, *text);
    }
}

static char *make_much(size_t n)
{
    char *much = malloc(n);
    assert_non_null(much);
    memset(much, 'x', n);
    much[n - 1] = 'z';
    return much;
}

/* -- from memory ------------------------------------------------------------------------------- */

static void bodies_from_memory(void **state)
{
    calls k = {0};
    rotor_http_ask ask;
    char *much = make_much(MUCH);
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, text_of("abc")), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    char expected[256];
    snprintf(expected, sizeof expected, "%sabc",
             calls_request(&k, "POST", "/", "Content-Length: 3\r\n"));
    sockets_expect(k.loop, fd, expected);
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);

    assert_int_equal(calls_ask(&k, &ask, "PUT", "/"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, (rotor_text){much, MUCH}), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    expect_head(&k, fd, calls_request(&k, "PUT", "/", "Content-Length: 3000000\r\n"));
    drain(&k, fd, MUCH, 'z');
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    assert_int_equal(rotor_http_client_idle(k.client), 1);
    free(much);
    close(fd);
    calls_close(&k);
}

/* -- streamed ---------------------------------------------------------------------------------- */

static rotor_response write_in_pieces(rotor_http_call *c, rotor_scope *scope)
{
    calls *k = calls_of(c);
    if (*k->body) {
        assert_int_equal(rotor_http_call_write(c, (rotor_text){k->body, 1}), 0);
        k->body++;
        return rotor_ok();
    }
    assert_int_equal(rotor_http_call_finish(c), 0);
    assert_int_equal(rotor_http_call_finish(c), ROTOR_ESTATE);
    assert_int_equal(rotor_http_call_write(c, text_of("x")), ROTOR_ESTATE);
    return rotor_ok();
}

static void start_stream(calls *k, uint64_t length, const char *body)
{
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_stream(&ask, length), 0);
    k->body = body;
    assert_int_equal(calls_start(k, &ask), 0);
}

static void bodies_that_are_streamed(void **state)
{
    static const struct {
        uint64_t length;
        const char *body, *header, *sent, *log;
    } cases[] = {
        {3, "abc", "Content-Length: 3\r\n", "abc", "wanted, wanted, wanted, wanted, " DONE},
        {0, "", "Content-Length: 0\r\n", "", "wanted, " DONE},
        {ROTOR_HTTP_NO_LENGTH, "ab", "Transfer-Encoding: chunked\r\n",
         "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "wanted, wanted, wanted, " DONE},
        {ROTOR_HTTP_NO_LENGTH, "", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "wanted, " DONE},
    };
    calls k = {.body_wanted = write_in_pieces};
    assert_int_equal(calls_open(&k), 0);
    int fd = -1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start_stream(&k, cases[i].length, cases[i].body);
        if (fd < 0)
            fd = calls_accept(&k);
        char expected[256];
        snprintf(expected, sizeof expected, "%s%s", calls_request(&k, "POST", "/", cases[i].header),
                 cases[i].sent);
        sockets_expect(k.loop, fd, expected);
        sockets_send(fd, EMPTY);
        calls_expect(&k, cases[i].log);
        assert_int_equal(rotor_http_client_idle(k.client), 1);
    }
    close(fd);
    calls_close(&k);
}

static rotor_response write_with_trailers(rotor_http_call *c, rotor_scope *scope)
{
    assert_int_equal(rotor_http_call_write(c, text_of("")), 0); /* not the last chunk */
    assert_int_equal(rotor_http_call_write(c, text_of("0123456789abcdef")), 0);
    assert_int_equal(rotor_http_call_trailer(c, text_of("Digest"), text_of("x")), 0);
    assert_int_equal(rotor_http_call_trailer(c, text_of("A"), text_of("")), 0);
    assert_int_equal(rotor_http_call_trailer(c, text_of("Content-Length"), text_of("1")),
                     ROTOR_EHEADER);
    assert_int_equal(rotor_http_call_trailer(c, text_of("A b"), text_of("1")), ROTOR_EHEADER);
    assert_int_equal(rotor_http_call_trailer(c, text_of("A"), text_of("1\r\nb: c")), ROTOR_EHEADER);
    assert_int_equal(rotor_http_call_finish(c), 0);
    assert_int_equal(rotor_http_call_trailer(c, text_of("B"), text_of("y")), ROTOR_ESTATE);
    return rotor_ok();
}

static void trailers(void **state)
{
    calls k = {.body_wanted = write_with_trailers};
    assert_int_equal(calls_open(&k), 0);
    start_stream(&k, ROTOR_HTTP_NO_LENGTH, "");
    int fd = calls_accept(&k);
    char expected[256];
    snprintf(expected, sizeof expected, "%s10\r\n0123456789abcdef\r\n0\r\nDigest: x\r\nA: \r\n\r\n",
             calls_request(&k, "POST", "/", "Transfer-Encoding: chunked\r\n"));
    sockets_expect(k.loop, fd, expected);
    sockets_send(fd, EMPTY);
    calls_expect(&k, "wanted, " DONE);
    close(fd);
    calls_close(&k);
}

static rotor_response write_wrongly(rotor_http_call *c, rotor_scope *scope)
{
    assert_int_equal(rotor_http_call_write(c, text_of("abcd")), ROTOR_EBODY);
    assert_int_equal(rotor_http_call_write(c, text_of("ab")), 0);
    assert_int_equal(rotor_http_call_finish(c), ROTOR_EBODY);
    assert_int_equal(rotor_http_call_trailer(c, text_of("A"), text_of("b")), ROTOR_ESTATE);
    assert_int_equal(rotor_http_call_write(c, text_of("cd")), ROTOR_EBODY);
    assert_int_equal(rotor_http_call_write(c, text_of("c")), 0);
    assert_int_equal(rotor_http_call_finish(c), 0);
    return rotor_ok();
}

static void a_body_is_as_long_as_it_was_to_be(void **state)
{
    calls k = {.body_wanted = write_wrongly};
    assert_int_equal(calls_open(&k), 0);
    start_stream(&k, 3, "");
    rotor_http_call *c = rotor_http_call_find(k.loop, k.call);
    assert_int_equal(rotor_http_call_write(c, text_of("a")), ROTOR_ESTATE); /* too early */
    assert_int_equal(rotor_http_call_unsent(c), 0);
    int fd = calls_accept(&k);
    char expected[256];
    snprintf(expected, sizeof expected, "%sabc",
             calls_request(&k, "POST", "/", "Content-Length: 3\r\n"));
    sockets_expect(k.loop, fd, expected);
    sockets_send(fd, EMPTY);
    calls_expect(&k, "wanted, " DONE);
    close(fd);
    calls_close(&k);
}

static rotor_response write_later(rotor_http_call *c, rotor_scope *scope)
{
    return write_in_pieces(c, scope);
}

static void a_body_may_come_later(void **state)
{
    calls k = {.wakeup = write_later};
    assert_int_equal(calls_open(&k), 0);
    start_stream(&k, ROTOR_HTTP_NO_LENGTH, "a");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, calls_request(&k, "POST", "/", "Transfer-Encoding: chunked\r\n"));
    calls_expect(&k, "wanted"); /* once: nothing was written */
    assert_int_equal(rotor_wake(k.loop, k.call), 0);
    sockets_expect(k.loop, fd, "1\r\na\r\n");
    calls_expect(&k, "wakeup, wanted");
    /* From anywhere else. */
    rotor_http_call *c = rotor_http_call_find(k.loop, k.call);
    assert_int_equal(rotor_http_call_write(c, text_of("b")), 0);
    sockets_expect(k.loop, fd, "1\r\nb\r\n");
    calls_expect(&k, "wanted");
    assert_int_equal(rotor_http_call_finish(c), 0);
    sockets_expect(k.loop, fd, "0\r\n\r\n");
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    close(fd);
    calls_close(&k);
}

static size_t written;

static rotor_response write_much(rotor_http_call *c, rotor_scope *scope)
{
    static char data[10000];
    memset(data, 'x', sizeof data);
    assert_int_equal(rotor_http_call_write(c, (rotor_text){data, sizeof data}), 0);
    written += sizeof data;
    calls_log(calls_of(c));
    return rotor_ok();
}

/* A server that does not read is not written to without end. */
static void a_body_is_wanted_as_it_is_taken(void **state)
{
    calls k = {.body_wanted = write_much, .config.stall_ms = 1000};
    assert_int_equal(calls_open(&k), 0);
    start_stream(&k, UINT64_MAX / 2, "");
    int fd = calls_accept(&k);
    written = 0;
    for (size_t before = 1; before != written;) {
        before = written;
        calls_turn(&k);
    }
    assert_true(written > 10000 && written < 64 << 20);
    size_t unsent = rotor_http_call_unsent(rotor_http_call_find(k.loop, k.call));
    assert_in_range(unsent, 16384 + 1, 16384 + 10000 + 256);
    size_t before = written;
    expect_head(&k, fd, calls_request(&k, "POST", "/", "Content-Length: 9223372036854775807\r\n"));
    drain(&k, fd, before - unsent, 'x');
    calls_turn(&k);
    assert_true(written > before);
    calls_wait(&k, 1000);
    calls_wait(&k, 1000);
    calls_expect(&k, "failed ESTALLED, over");
    close(fd);
    calls_close(&k);
}

/* -- Expect: 100-continue ------------------------------------------------------------------------ */

static void start_expecting(calls *k, const char *body)
{
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, "PUT", "/"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, text_of(body)), 0);
    ask.expect_continue = true;
    assert_int_equal(calls_start(k, &ask), 0);
}

static const char *expecting(const calls *k)
{
    return calls_request(k, "PUT", "/", "Content-Length: 3\r\nExpect: 100-continue\r\n");
}

static void a_body_waits_to_be_welcome(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    start_expecting(&k, "abc");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, expecting(&k));
    calls_wait(&k, 999);
    sockets_send(fd, HTTP "103\r\n\r\n"); /* is no answer to that */
    calls_expect(&k, "103");
    sockets_send(fd, HTTP "100 Continue\r\n\r\n");
    sockets_expect(k.loop, fd, "abc");
    calls_expect(&k, "100");
    sockets_send(fd, EMPTY);
    calls_expect(&k, DONE);
    assert_int_equal(rotor_http_client_idle(k.client), 1);
    close(fd);
    calls_close(&k);
}

static void a_body_does_not_wait_for_ever(void **state)
{
    calls k = {.config.continue_ms = 50};
    assert_int_equal(calls_open(&k), 0);
    start_expecting(&k, "abc");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, expecting(&k));
    calls_wait(&k, 49);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
    calls_wait(&k, 1);
    sockets_expect(k.loop, fd, "abc");
    sockets_send(fd, HTTP "100 Continue\r\n\r\n" EMPTY);
    calls_expect(&k, "100, " DONE);
    close(fd);
    calls_close(&k);
}

static void a_body_that_is_not_welcome_is_not_sent(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    start_expecting(&k, "abc");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, expecting(&k));
    sockets_send(fd, HTTP "403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    calls_expect(&k, "head 403, received , over");
    size_t n;
    assert_int_equal(sockets_end(k.loop, fd, &n), 0);
    assert_int_equal(n, 0);
    close(fd);
    calls_close(&k);
}

static void a_server_that_knows_no_expectations(void **state)
{
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    start_expecting(&k, "abc");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, expecting(&k));
    sockets_send(fd, HTTP "417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
    int again = calls_accept(&k);
    char expected[256];
    snprintf(expected, sizeof expected, "%sabc",
             calls_request(&k, "PUT", "/", "Content-Length: 3\r\n"));
    sockets_expect(k.loop, again, expected);
    sockets_send(again, HTTP "417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
    calls_expect(&k, "head 417, received no, over");
    close(fd);
    close(again);
    calls_close(&k);
}

/* -- a response that comes early ----------------------------------------------------------------- */

static void a_response_before_the_end_of_a_large_body(void **state)
{
    calls k = {0};
    rotor_http_ask ask;
    char *much = make_much(TOO_MUCH);
    assert_int_equal(calls_open(&k), 0);
    assert_int_equal(calls_ask(&k, &ask, "POST", "/"), 0);
    assert_int_equal(rotor_http_ask_body(&ask, (rotor_text){much, TOO_MUCH}), 0);
    assert_int_equal(calls_start(&k, &ask), 0);
    int fd = calls_accept(&k);
    expect_head(&k, fd, calls_request(&k, "POST", "/", "Content-Length: 40000000\r\n"));
    sockets_send(fd, HTTP "413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
    calls_expect(&k, "head 413, received no!, over");
    assert_int_equal(rotor_http_client_connections(k.client), 0);
    size_t n;
    int error = sockets_end(k.loop, fd, &n);
    assert_true(error == 0 || error == -ECONNRESET);
    assert_true(n < TOO_MUCH);
    free(much);
    close(fd);
    calls_close(&k);
}

static void a_response_before_the_end_of_a_stream(void **state)
{
    for (int refused = 0; refused < 2; refused++) {
        calls k = {.headers = calls_progressive};
        assert_int_equal(calls_open(&k), 0);
        start_stream(&k, ROTOR_HTTP_NO_LENGTH, "");
        int fd = calls_accept(&k);
        sockets_expect(k.loop, fd,
                       calls_request(&k, "POST", "/", "Transfer-Encoding: chunked\r\n"));
        rotor_http_call *c = rotor_http_call_find(k.loop, k.call);
        assert_int_equal(rotor_http_call_write(c, text_of("a")), 0);
        sockets_expect(k.loop, fd, "1\r\na\r\n");
        calls_expect(&k, "wanted, wanted");
        sockets_send(fd, refused ? HTTP "300\r\nContent-Length: 2\r\n\r\nb"
                                 : HTTP "299\r\nContent-Length: 2\r\n\r\nb");
        calls_expect(&k, refused ? "head 300, chunk b" : "head 299, chunk b");
        int error = refused ? ROTOR_ECLOSED : 0;
        assert_int_equal(rotor_http_call_write(c, text_of("c")), error);
        if (!refused)
            sockets_expect(k.loop, fd, "1\r\nc\r\n");
        calls_expect(&k, refused ? "" : "wanted");
        if (refused)
            assert_int_equal(rotor_http_call_finish(c), ROTOR_ECLOSED);
        sockets_send(fd, "c");
        calls_expect(&k, "chunk c, end, over");
        assert_int_equal(sockets_end(k.loop, fd, NULL), 0);
        close(fd);
        calls_close(&k);
    }
}

static void a_response_that_overlaps_the_stream(void **state)
{
    calls k = {.headers = calls_progressive};
    assert_int_equal(calls_open(&k), 0);
    start_stream(&k, ROTOR_HTTP_NO_LENGTH, "");
    int fd = calls_accept(&k);
    sockets_expect(k.loop, fd, calls_request(&k, "POST", "/", "Transfer-Encoding: chunked\r\n"));
    calls_expect(&k, "wanted");
    sockets_send(fd, HTTP "200\r\nContent-Length: 2\r\n\r\na");
    calls_expect(&k, "head 200, chunk a");
    assert_int_equal(rotor_http_call_finish(rotor_http_call_find(k.loop, k.call)), 0);
    sockets_expect(k.loop, fd, "0\r\n\r\n");
    sockets_send(fd, "b");
    calls_expect(&k, "chunk b, end, over");
    assert_int_equal(rotor_http_client_idle(k.client), 1); /* which is kept then */
    close(fd);
    calls_close(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(bodies_from_memory),
        TEST(bodies_that_are_streamed),
        TEST(trailers),
        TEST(a_body_is_as_long_as_it_was_to_be),
        TEST(a_body_may_come_later),
        TEST(a_body_is_wanted_as_it_is_taken),
        TEST(a_body_waits_to_be_welcome),
        TEST(a_body_does_not_wait_for_ever),
        TEST(a_body_that_is_not_welcome_is_not_sent),
        TEST(a_server_that_knows_no_expectations),
        TEST(a_response_before_the_end_of_a_large_body),
        TEST(a_response_before_the_end_of_a_stream),
        TEST(a_response_that_overlaps_the_stream),
    };
    return cmocka_run_group_tests_name("client_send", tests, NULL, NULL);
}
