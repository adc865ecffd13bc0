/* Responses that are sent piece by piece, files, and connections that become something else. */
#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "web.h"

#define HOST        "Host: h\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

#define CHUNKED(body) "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n" body

static void open_and_connect(web *w)
{
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

static void wake(web *w)
{
    assert_int_equal(rotor_wake(w->loop, w->connection), 0);
    web_turn(w);
}

static bool is(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

/* -- in one go --------------------------------------------------------------------------------- */

/* What the query says: l, with a length; t, with trailers; s, short of the length; n, nothing. */
static rotor_response in_pieces(rotor_http *h, rotor_scope *scope)
{
    rotor_text query = rotor_http_query(h);
    char how = query.len > 0 ? query.data[0] : '-';
    if (how == 'l' || how == 's')
        assert_int_equal(rotor_http_add_text(h, "Content-Length", "5"), 0);
    assert_int_equal(rotor_http_write_text(h, "early"), ROTOR_ESTATE);
    assert_int_equal(rotor_http_finish(h), ROTOR_ESTATE);
    assert_int_equal(rotor_http_start(h, 200), 0);
    assert_true(rotor_http_is_started(h) && !rotor_http_is_sent(h));
    assert_int_equal(rotor_http_start(h, 200), ROTOR_ESTATE);
    assert_int_equal(rotor_http_send_text(h, 200, ""), ROTOR_ESTATE);
    assert_int_equal(rotor_http_add_text(h, "X", "late"), ROTOR_ESTATE);
    if (how == 'n')
        return rotor_done();
    assert_int_equal(rotor_http_write_text(h, "abc"), 0);
    assert_int_equal(rotor_http_write_text(h, ""), 0);
    if (how == 's') {
        assert_int_equal(rotor_http_finish(h), ROTOR_EBODY);
        return rotor_done();
    }
    assert_int_equal(rotor_http_write_text(h, "de"), 0);
    if (how == 'l')
        assert_int_equal(rotor_http_write_text(h, "f"), ROTOR_EBODY);
    if (how == 't') {
        rotor_text sum = {"Sum", 3}, five = {"5", 1}, length = {"Content-Length", 14};
        assert_int_equal(rotor_http_trailer(h, sum, five), 0);
        assert_int_equal(rotor_http_trailer(h, length, five), ROTOR_EHEADER);
    }
    assert_int_equal(rotor_http_finish(h), 0);
    assert_true(rotor_http_is_sent(h));
    assert_int_equal(rotor_http_finish(h), ROTOR_ESTATE);
    assert_int_equal(rotor_http_write_text(h, "late"), ROTOR_ESTATE);
    return rotor_done();
}

static void a_response_in_pieces(void **state)
{
    static const char ask[] = GET("/1") GET("/?l") GET("/?t") "HEAD / HTTP/1.1\r\n" HOST "\r\n"
                                                              "HEAD /?l HTTP/1.1\r\n" HOST "\r\n";
    static const char answers[] = CHUNKED("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") OK(5, "abcde")
        CHUNKED("3\r\nabc\r\n2\r\nde\r\n0\r\nSum: 5\r\n\r\n") CHUNKED("") OK(5, "");
    web w = {.received = in_pieces};
    open_and_connect(&w);
    web_asks(&w, ask, answers);
    assert_int_equal(rotor_memory_writes(w.client), 1);
    for (size_t cut = 1; cut < sizeof ask - 1; cut++) {
        assert_int_equal(web_connect(&w), 0);
        web_send_bytes(&w, ask, cut);
        web_send(&w, ask + cut);
        assert_string_equal(web_received(&w), answers);
    }
    web_close(&w);
}

/* HTTP/1.0 knows no chunks: the end of the connection is that of the body. */
static void to_http10_the_connection_ends_the_body(void **state)
{
    web w = {.received = in_pieces};
    open_and_connect(&w);
    web_asks(&w, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/"),
             "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\nabcde");
    assert_true(web_is_shut(&w));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, "GET /?l HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
             "HTTP/1.1 200 OK\r\n" DATE "Connection: keep-alive\r\nContent-Length: 5\r\n\r\nabcde");
    assert_false(web_is_shut(&w));
    web_close(&w);
}

/* -- cut off ----------------------------------------------------------------------------------- */

static void what_is_not_finished_is_cut_off(void **state)
{
    web w = {.received = in_pieces};
    open_and_connect(&w);
    web_asks(&w, GET("/?s") GET("/"), OK(5, "abc"));
    assert_true(web_is_shut(&w));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, GET("/?n") GET("/"), CHUNKED(""));
    assert_true(web_is_shut(&w));
    assert_int_equal(web_connect(&w), 0); /* which is told by a reset only */
    web_send(&w, "GET /?n HTTP/1.0\r\n\r\n");
    assert_true(web_is_gone(&w) && !web_is_shut(&w));
    web_close(&w);
}

static rotor_response begin_and_wait(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_start(h, 200), 0);
    assert_int_equal(rotor_http_write_text(h, "abc"), 0);
    return rotor_http_query(h).data ? rotor_error(UV_EIO) : rotor_ok();
}

static void a_handler_that_fails_or_is_late_cuts_off(void **state)
{
    web w = {.received = begin_and_wait};
    open_and_connect(&w);
    web_asks(&w, GET("/?"), CHUNKED("3\r\nabc\r\n"));
    assert_true(web_is_shut(&w));
    assert_int_equal(w.error, UV_EIO);
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, GET("/"), CHUNKED("3\r\nabc\r\n"));
    web_wait(&w, 29999);
    assert_false(web_is_shut(&w));
    web_wait(&w, 1);
    assert_true(web_is_shut(&w));
    assert_string_equal(web_received(&w), "");
    web_close(&w);
}

/* -- over time --------------------------------------------------------------------------------- */

static rotor_response one_more(rotor_http *h, rotor_scope *scope)
{
    static int n;
    assert_int_equal(rotor_http_write_text(h, "x"), 0);
    if (++n % 3 > 0)
        return rotor_ok();
    assert_int_equal(rotor_http_finish(h), 0);
    return rotor_done();
}

static void a_response_over_several_wakeups(void **state)
{
    web w = {.received = begin_and_wait, .wakeup = one_more};
    open_and_connect(&w);
    web_asks(&w, GET("/1") GET("/2"), CHUNKED("3\r\nabc\r\n"));
    wake(&w);
    assert_string_equal(web_received(&w), "1\r\nx\r\n");
    wake(&w);
    assert_string_equal(web_received(&w), "1\r\nx\r\n");
    wake(&w);
    assert_string_equal(web_received(&w), "1\r\nx\r\n0\r\n\r\n" CHUNKED("3\r\nabc\r\n"));
    web_close(&w);
}

/* From outside of the connection's transitions, too. */
static void a_response_from_elsewhere(void **state)
{
    web w = {.received = begin_and_wait};
    open_and_connect(&w);
    web_asks(&w, GET("/1") GET("/2?"), CHUNKED("3\r\nabc\r\n"));
    rotor_http *h = rotor_http_find(w.loop, w.ref);
    assert_non_null(h);
    assert_int_equal(rotor_http_write_text(h, "de"), 0);
    web_turn(&w);
    assert_string_equal(web_received(&w), "2\r\nde\r\n");
    assert_int_equal(rotor_http_write_text(h, "f"), 0);
    assert_int_equal(rotor_http_finish(h), 0);
    web_turn(&w);
    assert_string_equal(web_received(&w), "1\r\nf\r\n0\r\n\r\n" CHUNKED("3\r\nabc\r\n"));
    web_close(&w);
}

enum { PIECE = 1000, PIECES = 200, MARK = 4000 };

static size_t written, greatest;

static rotor_response fill(rotor_http *h, rotor_scope *scope)
{
    static char piece[PIECE];
    memset(piece, 'p', sizeof piece);
    while (written < PIECES && rotor_http_unsent(h) < 2 * MARK) {
        assert_int_equal(rotor_http_write(h, (rotor_text){piece, sizeof piece}), 0);
        written++;
    }
    if (rotor_http_unsent(h) > greatest)
        greatest = rotor_http_unsent(h);
    if (written < PIECES)
        return rotor_http_and_flush(rotor_ok(), MARK);
    assert_int_equal(rotor_http_finish(h), 0);
    return rotor_done();
}

static rotor_response begin_to_fill(rotor_http *h, rotor_scope *scope)
{
    written = greatest = 0;
    assert_int_equal(rotor_http_add_text(h, "Content-Length", "200000"), 0);
    assert_int_equal(rotor_http_start(h, 200), 0);
    return fill(h, scope);
}

/* A slow client has the handler wait, for as long as it takes something now and then. */
static void a_slow_client_slows_the_handler(void **state)
{
    web w = {.received = begin_to_fill, .flushed = fill};
    open_and_connect(&w);
    rotor_memory_window(w.client, 0);
    web_send(&w, GET("/"));
    size_t got = 0;
    while (w.overs == 0) {
        rotor_memory_window(w.client, 777);
        web_wait(&w, 29000);
        rotor_buf *received = rotor_memory_received(w.client);
        assert_in_range(rotor_buf_len(received), 1, 777);
        got += rotor_buf_len(received);
        rotor_buf_consume(received, rotor_buf_len(received));
    }
    assert_in_range(greatest, PIECE, 2 * MARK + PIECE + 200);
    rotor_memory_window(w.client, SIZE_MAX);
    web_turn(&w);
    got += rotor_buf_len(rotor_memory_received(w.client));
    assert_int_equal(got, PIECE * PIECES + strlen(OK(200000, "")));
    web_close(&w);
}

static rotor_http_receive hold_it(rotor_http *h, rotor_scope *scope)
{
    static char piece[2 * MARK];
    assert_int_equal(rotor_http_start(h, 200), 0);
    assert_int_equal(rotor_http_write(h, (rotor_text){piece, sizeof piece}), 0);
    return rotor_http_receive_hold(rotor_http_progressive(0));
}

static rotor_response read_and_flush(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_and_flush(rotor_ok(), MARK);
}

static rotor_response finish(rotor_http *h, rotor_scope *scope)
{
    assert_int_equal(rotor_http_finish(h), 0);
    return rotor_done();
}

/* Who goes on with a body may wait for output as well, though nothing of the body has come. */
static void a_mark_holds_while_a_body_goes_on(void **state)
{
    web w = {.headers = hold_it, .wakeup = read_and_flush, .flushed = finish, .end = finish};
    open_and_connect(&w);
    rotor_memory_window(w.client, 0);
    web_send(&w, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n");
    wake(&w);
    assert_string_equal(w.log, "POST / wakeup");
    rotor_memory_window(w.client, 2 * MARK - 100);
    web_turn(&w);
    assert_string_equal(w.log, "POST / wakeup flushed over");
    web_close(&w);
}

static void a_client_that_takes_nothing_is_left(void **state)
{
    web w = {.received = begin_to_fill, .flushed = fill};
    open_and_connect(&w);
    rotor_memory_window(w.client, 0);
    web_send(&w, GET("/"));
    web_wait(&w, 29999);
    assert_false(web_is_gone(&w));
    web_wait(&w, 1);
    assert_true(web_is_gone(&w));
    assert_string_equal(w.log, "GET / over");
    web_close(&w);
}

/* -- clients that leave ------------------------------------------------------------------------ */

static rotor_response note_hangup(rotor_http *h, rotor_scope *scope)
{
    return rotor_http_query(h).data ? rotor_error(UV_ECONNABORTED) : rotor_same();
}

static void a_client_that_leaves_tells_the_handler(void **state)
{
    web w = {.received = web_waits, .hangup = note_hangup, .wakeup = web_answer};
    open_and_connect(&w);
    web_send(&w, GET("/1"));
    rotor_memory_shutdown(w.client);
    web_turn(&w);
    assert_string_equal(w.log, "GET /1 hangup");
    web_wait(&w, 1000);
    assert_string_equal(w.log, "GET /1 hangup"); /* once */
    wake(&w);
    assert_string_equal(web_received(&w), OK(6, "GET /1"));

    assert_int_equal(web_connect(&w), 0);
    w.log[0] = '\0';
    web_send(&w, GET("/?"));
    rotor_memory_shutdown(w.client);
    web_turn(&w);
    assert_string_equal(w.log, "GET /? hangup over");

    assert_int_equal(web_connect(&w), 0);
    w.log[0] = '\0';
    web_send(&w, GET("/3"));
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    assert_string_equal(w.log, "GET /3 over");
    assert_true(web_is_gone(&w));
    web_close(&w);
}

/* -- files ------------------------------------------------------------------------------------- */

enum { FILE_SIZE = 300000 };

static int open_file(void)
{
    char path[] = "/tmp/rotor-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    for (unsigned i = 0; i < FILE_SIZE / 4; i++)
        assert_int_equal(write(fd, &i, 4), 4);
    return fd;
}

/* From 4 on, of the length that the query says. */
static rotor_response send_file(rotor_http *h, rotor_scope *scope)
{
    rotor_text query = rotor_http_query(h);
    uint64_t length = 0;
    for (size_t i = 0; i < query.len; i++)
        length = length * 10 + (uint64_t)(query.data[i] - '0');
    assert_int_equal(rotor_http_send_file(h, 200, open_file(), 4, length), 0);
    assert_true(rotor_http_is_sent(h));
    return rotor_done();
}

static void check_file(web *w, size_t length)
{
    char head[256];
    rotor_buf *got = rotor_memory_received(w->client);
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: %zu\r\n\r\n",
                     length);
    assert_int_equal(rotor_buf_len(got), (size_t)n + length);
    assert_memory_equal(rotor_buf_data(got), head, (size_t)n);
    for (unsigned i = 0; i < length / 4; i++) {
        unsigned word;
        memcpy(&word, rotor_buf_data(got) + n + 4 * i, 4);
        assert_int_equal(word, i + 1);
    }
    rotor_buf_consume(got, rotor_buf_len(got));
}

static void a_file_is_sent_whole(void **state)
{
    static const char asks[] = GET("/?299996") GET("/?0") GET("/?4");
    web w = {.received = send_file};
    open_and_connect(&w);
    web_send(&w, GET("/?299996"));
    check_file(&w, FILE_SIZE - 4);
    web_send(&w, GET("/?0"));
    check_file(&w, 0);
    web_send(&w, "HEAD /?299996 HTTP/1.1\r\n" HOST "\r\n");
    assert_string_equal(web_received(&w), OK(299996, ""));
    web_send(&w, asks);
    rotor_buf *got = rotor_memory_received(w.client);
    assert_int_equal(rotor_buf_len(got),
                     strlen(OK(299996, "") OK(0, "") OK(4, "")) + FILE_SIZE - 4 + 4);
    web_close(&w);
}

static void a_slow_client_gets_the_file_as_it_likes(void **state)
{
    web w = {.received = send_file};
    open_and_connect(&w);
    rotor_memory_window(w.client, 1);
    web_send(&w, GET("/?299996") GET("/?4"));
    size_t got = 0;
    while (w.overs < 2) {
        rotor_memory_window(w.client, 1999);
        web_wait(&w, 29000);
        rotor_buf *received = rotor_memory_received(w.client);
        assert_in_range(rotor_buf_len(received), 1, 2000);
        got += rotor_buf_len(received);
        rotor_buf_consume(received, rotor_buf_len(received));
    }
    assert_int_equal(got, strlen(OK(299996, "") OK(0, "")) + FILE_SIZE - 4 + 4);
    web_close(&w);
}

static void a_client_that_leaves_a_file(void **state)
{
    web w = {.received = send_file};
    open_and_connect(&w);
    rotor_memory_window(w.client, 1000);
    web_send(&w, GET("/?299996"));
    assert_string_equal(w.log, "GET /?299996");
    rotor_memory_fail(w.client, UV_ECONNRESET);
    web_turn(&w);
    assert_string_equal(w.log, "GET /?299996 over");
    assert_int_equal(web_connect(&w), 0);
    rotor_memory_window(w.client, 1000);
    web_send(&w, GET("/?299996"));
    web_close(&w); /* in the middle */
}

/* It cannot be answered otherwise any more, and the next response must not stand in its place. */
static void a_file_that_is_too_short_ends_the_connection(void **state)
{
    web w = {.received = send_file};
    open_and_connect(&w);
    web_send(&w, GET("/?300000") GET("/?4"));
    assert_true(web_is_gone(&w));
    assert_int_equal(w.requests, 1);
    web_close(&w);
}

static rotor_response send_file_late(rotor_http *h, rotor_scope *scope)
{
    int fd = open_file();
    assert_int_equal(rotor_http_send_file(h, 99, fd, 0, 4), UV_EINVAL);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(rotor_http_send_file(h, 200, open_file(), 4, 299996), 0);
    assert_int_equal(rotor_http_send_file(h, 200, open_file(), 4, 4), ROTOR_ESTATE);
    return rotor_done();
}

static void a_file_after_a_wakeup(void **state)
{
    web w = {.received = web_waits, .wakeup = send_file_late};
    open_and_connect(&w);
    web_send(&w, GET("/"));
    wake(&w);
    check_file(&w, FILE_SIZE - 4);
    web_close(&w);
}

/* -- other protocols --------------------------------------------------------------------------- */

static int releases;

static void release(void *given)
{
    assert_string_equal(given, "seed");
    releases++;
}

static rotor_intent shout_create(rotor_stream *s, rotor_scope *scope, void *given)
{
    assert_string_equal(given, "seed");
    assert_int_equal(rotor_stream_write(s, "hello\n", 6), 0);
    return rotor_expect_delimiter("\n", 1, 100);
}

static rotor_intent shout_bytes_read(rotor_stream *s, rotor_scope *scope, size_t n)
{
    rotor_buf *input = rotor_stream_input(s);
    for (size_t i = 0; i < n; i++) {
        char c = rotor_buf_data(input)[i];
        rotor_buf_data(input)[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    assert_int_equal(rotor_stream_write(s, rotor_buf_data(input), n + 1), 0);
    rotor_buf_consume(input, n + 1);
    return rotor_expect_delimiter("\n", 1, 100);
}

static const rotor_protocol shout = {.name = "shout",
                                     .size = sizeof(rotor_stream) + 4096,
                                     .create = shout_create,
                                     .bytes_read = shout_bytes_read};

static char seed[] = "seed";

static rotor_intent quiet_create(rotor_stream *s, rotor_scope *scope, void *given)
{
    assert_ptr_equal(given, seed);
    return rotor_expect_bytes(10);
}

static const rotor_protocol quiet = {
    .name = "quiet", .size = sizeof(rotor_stream), .create = quiet_create};

static rotor_response upgrade(rotor_http *h, rotor_scope *scope)
{
    bool connect = is(rotor_http_method(h), "CONNECT"), up = is(rotor_http_path(h), "/up");
    if (connect) {
        assert_int_equal(rotor_http_upgrade(h, 101, &shout, seed, release), UV_EINVAL);
        assert_int_equal(rotor_http_upgrade(h, 200, &shout, seed, release), 0);
        return rotor_done();
    }
    assert_int_equal(rotor_http_upgrade(h, 200, &shout, seed, release),
                     up ? UV_EINVAL : ROTOR_EUPGRADE);
    assert_int_equal(rotor_http_add_text(h, "Upgrade", "shout"), 0);
    if (!up)
        return web_answer(h, scope);
    assert_int_equal(rotor_http_upgrade(h, 101, &shout, seed, release), 0);
    assert_int_equal(rotor_http_upgrade(h, 101, &shout, seed, release), ROTOR_ESTATE);
    return rotor_done();
}

#define UPGRADE "GET /up HTTP/1.1\r\n" HOST "Connection: Upgrade, close\r\nUpgrade: shout\r\n\r\n"
#define UPGRADED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\n" DATE "Upgrade: shout\r\nConnection: Upgrade\r\n\r\n"

static void a_connection_becomes_a_stream(void **state)
{
    static const char ask[] = GET("/1") UPGRADE "one\ntwo\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\n" DATE "Upgrade: shout\r\n"
                                 "Content-Length: 6\r\n\r\nGET /1" UPGRADED "hello\nONE\nTWO\n";
    web w = {.received = upgrade};
    open_and_connect(&w);
    releases = 0;
    web_asks(&w, ask, answer);
    assert_string_equal(w.log, "GET /1 over GET /up over");
    assert_int_equal(releases, 1);
    web_asks(&w, "three\n", "THREE\n");
    for (size_t cut = 1; cut < sizeof ask - 1; cut++) {
        char all[sizeof answer + 1] = "";
        assert_int_equal(web_connect(&w), 0);
        web_send_bytes(&w, ask, cut);
        strcat(all, web_received(&w));
        web_send(&w, ask + cut);
        strcat(all, web_received(&w));
        assert_string_equal(all, answer);
    }
    assert_int_equal(releases, sizeof ask - 1);
    web_close(&w);
}

static void connect_becomes_a_tunnel(void **state)
{
    static const char ask[] = "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\none\n";
    web w = {.received = upgrade};
    open_and_connect(&w);
    web_asks(&w, ask, "HTTP/1.1 200 OK\r\n" DATE "\r\nhello\nONE\n");
    web_close(&w);
}

/* The one that waits is woken from elsewhere; and what was read ahead is there. */
static void a_late_upgrade(void **state)
{
    web w = {.received = web_waits, .wakeup = upgrade};
    open_and_connect(&w);
    web_send(&w, UPGRADE "one\n");
    wake(&w);
    assert_string_equal(web_received(&w), UPGRADED "hello\nONE\n");
    web_close(&w);
}

static rotor_http_receive upgrade_unread(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_upgrade(h, 101, &shout, seed, release);
    assert_int_equal(error, !is(rotor_http_path(h), "/up") ? ROTOR_EUPGRADE
                            : rotor_http_has_body(h)       ? ROTOR_ESTATE
                                                           : 0);
    return error ? rotor_http_buffered(0) : rotor_http_answered();
}

static void a_body_is_in_the_way_of_an_upgrade(void **state)
{
    web w = {.headers = upgrade_unread};
    open_and_connect(&w);
    web_asks(&w,
             "GET /up HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: shout\r\n"
             "Content-Length: 1\r\n\r\nx" GET("/2"),
             OK(9, "GET /up x") OK(6, "GET /2"));
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, UPGRADE,
             "HTTP/1.1 101 Switching Protocols\r\n" DATE "Connection: Upgrade\r\n\r\nhello\n");
    web_close(&w);
}

static rotor_response try_to_upgrade(rotor_http *h, rotor_scope *scope)
{
    int error = rotor_http_add_text(h, "Upgrade", "shout");
    if (!error)
        error = rotor_http_upgrade(h, 101, &quiet, seed, release);
    return error ? rotor_error(error) : rotor_done();
}

static void upgrades_without_memory(void)
{
    web w = {.received = try_to_upgrade};
    releases = 0;
    if (web_open(&w))
        return;
    if (web_connect(&w) == 0 &&
        rotor_memory_send(w.client, UPGRADE "one\n", strlen(UPGRADE "one\n")) == 0) {
        web_turn(&w);
        if (test_alloc_failed() == 0)
            assert_string_equal(web_received(&w), UPGRADED);
    }
    web_close(&w);
    assert_in_range(releases, 0, 1);
}

static void memory_may_run_out(void **state)
{
    test_out_of_memory(upgrades_without_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_response_in_pieces),
        TEST(to_http10_the_connection_ends_the_body),
        TEST(what_is_not_finished_is_cut_off),
        TEST(a_handler_that_fails_or_is_late_cuts_off),
        TEST(a_response_over_several_wakeups),
        TEST(a_response_from_elsewhere),
        TEST(a_slow_client_slows_the_handler),
        TEST(a_mark_holds_while_a_body_goes_on),
        TEST(a_client_that_takes_nothing_is_left),
        TEST(a_client_that_leaves_tells_the_handler),
        TEST(a_file_is_sent_whole),
        TEST(a_slow_client_gets_the_file_as_it_likes),
        TEST(a_client_that_leaves_a_file),
        TEST(a_file_that_is_too_short_ends_the_connection),
        TEST(a_file_after_a_wakeup),
        TEST(a_connection_becomes_a_stream),
        TEST(connect_becomes_a_tunnel),
        TEST(a_late_upgrade),
        TEST(a_body_is_in_the_way_of_an_upgrade),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
