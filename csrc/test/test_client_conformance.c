/* What a client must make of the bytes it gets, by the sections of RFC 9110 and 9112: each case whole and
** split at every byte, over sockets. Behind each the client asks again: over the same connection, if it
** may be kept; else over another, so that what was hidden behind the first response is never taken for
** the second. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "sockets.h"
#include "support.h"

/* What becomes of the connection: the server closes behind the bytes; the client keeps it. */
enum { OPEN, END = 1, KEPT = 2 };

typedef struct conversation {
    const char *name, *method, *bytes;
    size_t len;
    int connection;
    const char
        *verdict; /* "STATUS BODY", "ERROR" or "STATUS ERROR"; after interim ones, "1xx " each */
} conversation;

#define TEXT(text) (text), sizeof(text) - 1
#define GETS(name, text, connection, verdict)                                                      \
    {                                                                                              \
        name, "GET", TEXT(text), connection, verdict                                               \
    }
#define HEADS(name, text, connection, verdict)                                                     \
    {                                                                                              \
        name, "HEAD", TEXT(text), connection, verdict                                              \
    }
#define HTTP      "HTTP/1.1 "
#define LENGTH(n) "Content-Length: " #n "\r\n"
#define CHUNKED   "Transfer-Encoding: chunked\r\n"
#define CLOSE     "Connection: close\r\n"
/* 200 with a field and its body; in chunks; and what somebody might take for the next response. */
#define R200(fields, body) HTTP "200 OK\r\n" fields "\r\n" body
#define CHUNKS(text)       R200(CHUNKED, text)
#define HIDDEN             HTTP "200 OK\r\n" LENGTH(6) "\r\nhidden"

/* clang-format off */
static const conversation conversations[] = {
    GETS("9112 6.3: a body by its length", R200(LENGTH(3), "abc"), KEPT, "200 abc"),
    GETS("9112 6.3: a length of 0", R200(LENGTH(0), ""), KEPT, "200 "),
    GETS("9112 6.3: neither length nor coding: until the end", R200("", "abc"), END, "200 abc"),
    GETS("9112 6.3: and nothing until then", R200("", ""), END, "200 "),
    GETS("9112 6.3: and keep-alive does not change that",
         R200("Connection: keep-alive\r\n", "abc"), END, "200 abc"),
    GETS("9112 6.3: what looks like a response is the body", R200("", HIDDEN), END, "200 " HIDDEN),
    GETS("9112 6.3: in the body by its length, too", R200(LENGTH(44), HIDDEN), KEPT, "200 " HIDDEN),
    HEADS("9112 6.3: to HEAD no body", R200(LENGTH(3), ""), KEPT, "200 "),
    HEADS("9112 6.3: to HEAD no chunks", CHUNKS(""), KEPT, "200 "),
    HEADS("9112 6.3: to HEAD nothing until the end", R200("", ""), KEPT, "200 "),
    HEADS("9112 6.3: to HEAD a body all the same", R200(LENGTH(44), HIDDEN), OPEN, "200 "),
    HEADS("9112 6.3: to HEAD chunks all the same", CHUNKS("0\r\n\r\n"), OPEN, "200 "),
    HEADS("9112 6.3: to HEAD an error", HTTP "404 Not Found\r\n" LENGTH(9) "\r\n", KEPT, "404 "),
    GETS("9110 15.3.5: 204 has no body", HTTP "204 No Content\r\n\r\n", KEPT, "204 "),
    GETS("9110 15.3.5: 204 with a length", HTTP "204 No Content\r\n" LENGTH(44) "\r\n" HIDDEN, OPEN,
         "204 "),
    GETS("9110 15.3.5: 204 with chunks", HTTP "204 No Content\r\n" CHUNKED "\r\n0\r\n\r\n", OPEN,
         "204 "),
    GETS("9110 15.4.5: 304 has no body", HTTP "304 Not Modified\r\n" LENGTH(44) "\r\n", KEPT, "304 "),
    GETS("9110 15.4.5: 304 with a body all the same",
         HTTP "304 Not Modified\r\n" LENGTH(44) "\r\n" HIDDEN, OPEN, "304 "),
    GETS("9110 15.3.6: 205 by its length", HTTP "205 Reset Content\r\n" LENGTH(0) "\r\n", KEPT, "205 "),
    GETS("9112 6.3: an error has a body", HTTP "500 x\r\n" LENGTH(3) "\r\nabc", KEPT, "500 abc"),
    GETS("9112 6.3: more than the body", R200(LENGTH(3), "abc" HIDDEN), OPEN, "200 abc"),
    GETS("9112 6.3: a byte more", R200(LENGTH(3), "abcd"), OPEN, "200 abc"),
    GETS("9112 6.3: a line end more", R200(LENGTH(3), "abc\r\n"), OPEN, "200 abc"),
    GETS("9110 8.6: equal lengths", R200(LENGTH(3) LENGTH(3), "abc"), KEPT, "200 abc"),
    GETS("9110 8.6: a list of equal lengths", R200("Content-Length: 3, 3\r\n", "abc"), KEPT, "200 abc"),
    GETS("9112 6.3: unequal lengths", R200(LENGTH(3) LENGTH(4), "abc" HIDDEN), OPEN, "HTTP_ELENGTH"),
    GETS("9112 6.3: a list of unequal lengths", R200("Content-Length: 3, 4\r\n", "abc"), OPEN,
         "HTTP_ELENGTH"),
    GETS("9112 6.3: length empty", R200("Content-Length:\r\n", HIDDEN), OPEN, "HTTP_ELENGTH"),
    GETS("9112 6.3: length signed", R200("Content-Length: +3\r\n", "abc"), OPEN, "HTTP_ELENGTH"),
    GETS("9112 6.3: length negative", R200("Content-Length: -3\r\n", "abc"), OPEN, "HTTP_ELENGTH"),
    GETS("9112 6.3: length in hex", R200("Content-Length: 0x3\r\n", "abc"), OPEN, "HTTP_ELENGTH"),
    GETS("9112 6.3: length with a fraction", R200("Content-Length: 3.0\r\n", "abc"), OPEN, "HTTP_ELENGTH"),
    GETS("9110 8.6: length that overflows", R200("Content-Length: 18446744073709551619\r\n", "abc"), OPEN,
         "HTTP_ELENGTH"),
    GETS("9112 6.3: length and chunked", R200(LENGTH(5) CHUNKED, "0\r\n\r\n" HIDDEN), OPEN,
         "HTTP_ESMUGGLE"),
    GETS("9112 6.3: chunked and length", R200(CHUNKED LENGTH(5), "0\r\n\r\n" HIDDEN), OPEN,
         "HTTP_ESMUGGLE"),
    GETS("9112 6.1: an unknown coding", R200("Transfer-Encoding: gzip\r\n", "abc"), OPEN,
         "HTTP_ECODING"),
    GETS("9112 6.1: an unknown coding and chunked", R200("Transfer-Encoding: gzip, chunked\r\n",
         "0\r\n\r\n"), OPEN, "HTTP_ECODING"),
    GETS("9112 6.3: chunked is not last", R200("Transfer-Encoding: chunked, gzip\r\n",
         "0\r\n\r\n"), OPEN, "HTTP_ESMUGGLE"),
    GETS("9112 7.1: chunked twice", R200(CHUNKED CHUNKED, "0\r\n\r\n"), OPEN, "HTTP_ESMUGGLE"),
    GETS("9112 7: coding quoted", R200("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), OPEN,
         "HTTP_ESMUGGLE"),
    GETS("9112 6.1: chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\n" CHUNKED "\r\n0\r\n\r\n", OPEN,
         "HTTP_ECODING10"),

    GETS("9112 7.1: chunks", CHUNKS("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), KEPT, "200 abc"),
    GETS("9112 7.1: no chunk but the last", CHUNKS("0\r\n\r\n"), KEPT, "200 "),
    GETS("9112 7.1: leading zeros, either case", CHUNKS("00A\r\n0123456789\r\n000\r\n\r\n"), KEPT,
         "200 0123456789"),
    GETS("9110 10.1.4: chunked has no case", R200("transfer-encoding: ChUnKeD\r\n",
         "1\r\nx\r\n0\r\n\r\n"), KEPT, "200 x"),
    GETS("9112 7.1: data like framing", CHUNKS("7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), KEPT,
         "200 0\r\n\r\n\r\n"),
    GETS("9112 7.1.1: extensions", CHUNKS("3;a;b=c;d=\"e\\\"f\"\r\nabc\r\n0;x\r\n\r\n"), KEPT, "200 abc"),
    GETS("9112 7.1.2: trailers", CHUNKS("1\r\nx\r\n0\r\nA: b\r\n\r\n"), KEPT, "200 x, trailer A=b"),
    GETS("9110 6.5.1: what is no trailer", CHUNKS("1\r\nx\r\n0\r\nContent-Length: 9\r\nA: b\r\n\r\n"),
         KEPT, "200 x, trailer A=b"),
    GETS("9112 7.1: behind the last chunk", CHUNKS("1\r\nx\r\n0\r\n\r\n" HIDDEN), OPEN, "200 x"),
    GETS("9112 7.1: no size", CHUNKS("\r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: size signed", CHUNKS("+1\r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: size with 0x", CHUNKS("0x1\r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: white space before the size", CHUNKS(" 1\r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: white space behind the size", CHUNKS("1 \r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: size that overflows", CHUNKS("10000000000000001\r\nx\r\n0\r\n\r\n"), OPEN,
         "200 HTTP_ECHUNK"),
    GETS("9112 7.1: bare LF behind the size", CHUNKS("1\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: bare CR behind the size", CHUNKS("1\rx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: more data", CHUNKS("1\r\nxy\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: bare LF behind data", CHUNKS("1\r\nx\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1: LF for CR behind data", CHUNKS("1\r\nx\n\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1.1: extension without a name", CHUNKS("1;\r\nx\r\n0\r\n\r\n"), OPEN, "200 HTTP_ECHUNK"),
    GETS("9112 7.1.1: a line break in quotes", CHUNKS("1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n"), OPEN,
         "200 HTTP_ECHUNK"),
    GETS("9112 7.1.2: a trailer without a colon", CHUNKS("0\r\nA\r\n\r\n"), OPEN, "200 HTTP_EFIELD"),
    GETS("9112 7.1.2: a folded trailer", CHUNKS("0\r\nA: b\r\n c\r\n\r\n"), OPEN, "200 HTTP_EFOLD"),
    GETS("9112 7.1.2: the next response is no trailer", CHUNKS("0\r\n" HIDDEN), OPEN, "200 HTTP_EFIELD"),
    GETS("9110 15.5.14: a chunk too large", CHUNKS("800001\r\n"), OPEN, "200 HTTP_EBODYSIZE"),
    GETS("a length too large", R200("Content-Length: 8388609\r\n", ""), OPEN, "200 HTTP_EBODYSIZE"),

    GETS("9112 8: no response", "", END, "HTTP_ENORESPONSE"),
    GETS("9112 8: half a status line", "HTTP/1.1 20", END, "HTTP_ETRUNCATED"),
    GETS("9112 8: half a head", HTTP "200 OK\r\n" LENGTH(0), END, "HTTP_ETRUNCATED"),
    GETS("9112 8: half a body", R200(LENGTH(3), "ab"), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: no body", R200(LENGTH(3), ""), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: half a chunk", CHUNKS("3\r\nab"), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: no last chunk", CHUNKS("3\r\nabc\r\n"), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: half a last chunk", CHUNKS("3\r\nabc\r\n0\r\n"), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: half a trailer", CHUNKS("0\r\nA: b\r\n"), END, "200 HTTP_ETRUNCATED"),
    GETS("9112 8: nothing behind an interim response", HTTP "100 Continue\r\n\r\n", END, "100 HTTP_ETRUNCATED"),

    GETS("9112 9.3: HTTP/1.1 goes on", R200(LENGTH(1), "x"), KEPT, "200 x"),
    GETS("9112 9.6: close", R200(CLOSE LENGTH(1), "x"), OPEN, "200 x"),
    GETS("9110 7.6.1: close among others", R200("Connection: x, CLOSE\r\n" LENGTH(1), "x"), OPEN, "200 x"),
    GETS("9112 9.6: what is behind close", R200(CLOSE LENGTH(1), "x" HIDDEN), OPEN, "200 x"),
    GETS("9112 9.3: HTTP/1.0 closes", "HTTP/1.0 200 OK\r\n" LENGTH(1) "\r\nx", OPEN, "200 x"),
    GETS("9112 9.3: HTTP/1.0 with keep-alive",
         "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" LENGTH(1) "\r\nx", KEPT, "200 x"),
    GETS("9112 6.3: HTTP/1.0 until the end", "HTTP/1.0 200 OK\r\n\r\nabc", END, "200 abc"),

    GETS("9110 15.2: interim responses", HTTP "100 Continue\r\n\r\n" HTTP "102 x\r\n\r\n" HTTP
         "103 Early Hints\r\nLink: </x>\r\n\r\n" R200(LENGTH(1), "x"), KEPT, "100 102 103 200 x"),
    GETS("9110 15.2: one that nobody knows", HTTP "199 x\r\n\r\n" R200(LENGTH(1), "x"), KEPT, "199 200 x"),
    HEADS("9110 15.2: to HEAD", HTTP "100 Continue\r\n\r\n" R200(LENGTH(1), ""), KEPT, "100 200 "),
    GETS("9110 15.2.2: 101 that was not asked for", HTTP "101 Switching Protocols\r\nUpgrade: x\r\n"
         "Connection: upgrade\r\n\r\n" HIDDEN, OPEN, "HTTP_EUPGRADE"),

    GETS("9112 4: an empty reason", HTTP "200 \r\n" LENGTH(0) "\r\n", KEPT, "200 "),
    GETS("9110 15: a status of no class", HTTP "999 x\r\n" LENGTH(0) "\r\n", KEPT, "999 "),
    GETS("9110 2.5: a higher minor version", "HTTP/1.9 200 OK\r\n" LENGTH(0) "\r\n", KEPT, "200 "),
    GETS("9110 5.5: bytes above ASCII", HTTP "200 \xc3\xa9\r\nA: \xff\r\n" LENGTH(0) "\r\n", KEPT, "200 "),
    GETS("9112 4: two digits", HTTP "20 OK\r\n\r\n", OPEN, "HTTP_ESTATUS"),
    GETS("9112 4: four digits", HTTP "2000 OK\r\n\r\n", OPEN, "HTTP_ESTATUS"),
    GETS("9112 4: no digits", HTTP "OK\r\n\r\n", OPEN, "HTTP_ESTATUS"),
    GETS("9110 15: below 100", HTTP "099 x\r\n\r\n", OPEN, "HTTP_ESTATUS"),
    GETS("9112 4: two spaces", "HTTP/1.1  200 OK\r\n\r\n", OPEN, "HTTP_ESTATUS"),
    GETS("9112 2.3: the name has a case", "http/1.1 200 OK\r\n\r\n", OPEN, "HTTP_EVERSION"),
    GETS("9112 2.3: two digits of minor", "HTTP/1.10 200 OK\r\n\r\n", OPEN, "HTTP_EVERSION"),
    GETS("9112 2.3: another major version", "HTTP/2.0 200 OK\r\n\r\n", OPEN, "HTTP_EUNSUPPORTED"),
    GETS("9112 2.3: no HTTP", "ICY 200 OK\r\n\r\n", OPEN, "HTTP_EVERSION"),
    GETS("9112 2.3: an SSH server", "SSH-2.0-OpenSSH_9.2p1\r\n", OPEN, "HTTP_EVERSION"),
    GETS("9112 2.2: bare LF behind the status line", HTTP "200 OK\n" LENGTH(0) "\r\n", OPEN,
         "HTTP_ECONTROL"),
    GETS("9112 2.2: bare CR in the reason", HTTP "200 O\rK\r\n" LENGTH(0) "\r\n", OPEN, "HTTP_ECONTROL"),
    GETS("9112 2.2: bare LF ends the head", HTTP "200 OK\r\n" LENGTH(0) "\n", OPEN, "HTTP_ECONTROL"),
    GETS("9110 5.5: bare LF in a value", R200("A: b\nc\r\n" LENGTH(0), ""), OPEN, "HTTP_ECONTROL"),
    GETS("9110 5.5: NUL in a value", R200("A: b\0c\r\n" LENGTH(0), ""), OPEN, "HTTP_ECONTROL"),
    GETS("9112 5.1: white space before the colon", R200("Content-Length : 3\r\n", "abc"), OPEN,
         "HTTP_ESPACE"),
    GETS("9112 5.2: a folded line", R200("A: b\r\n c\r\n" LENGTH(0), ""), OPEN, "HTTP_EFOLD"),
    GETS("9112 5: no colon", R200("A\r\n" LENGTH(0), ""), OPEN, "HTTP_EFIELD"),
    GETS("9110 5.6.2: no token for a name", R200("A(: b\r\n" LENGTH(0), ""), OPEN, "HTTP_EFIELD"),
    GETS("9112 2.2: white space before the first field", HTTP "200 OK\r\n " LENGTH(0) "\r\n", OPEN,
         "HTTP_EFOLD"),
};
/* clang-format on */

/* What the log says of that verdict: "head 200, received abc, over" and so on. */
static const char *log_of(const char *verdict)
{
    static char log[512];
    char *p = log;
    while (verdict[0] == '1' && strchr(verdict, ' ')) {
        p += sprintf(p, "%.3s, ", verdict);
        verdict += 4;
    }
    if (verdict[0] >= '2' && verdict[0] <= '9') {
        p += sprintf(p, "head %.3s, ", verdict);
        verdict += 4;
        if (strncmp(verdict, "HTTP_", 5) != 0) {
            sprintf(p, "received %s, over", verdict);
            return log;
        }
    }
    sprintf(p, "failed %s, over", verdict);
    return log;
}

/* The server sends `bytes`, split behind the first `split` of them; or each by itself. */
static void say(calls *k, int fd, const conversation *c, size_t split)
{
    size_t step = split > 0 ? c->len - split : 1;
    for (size_t at = 0, n = split > 0 ? split : 1; at < c->len; at += n, n = step) {
        ssize_t sent = send(fd, c->bytes + at, n, MSG_NOSIGNAL);
        assert_true(sent == (ssize_t)n || k->log[0]); /* it may have failed already */
        calls_turn(k);
    }
    if (c->connection & END)
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

static void call(calls *k, const char *method)
{
    rotor_http_ask ask;
    assert_int_equal(calls_ask(k, &ask, method, "/"), 0);
    assert_int_equal(calls_start(k, &ask), 0);
}

static void converse(calls *k, const conversation *c, size_t split)
{
    bool kept = c->connection & KEPT;
    call(k, c->method);
    int fd = calls_accept(k), next = fd;
    sockets_expect(k->loop, fd, calls_request(k, c->method, "/", ""));
    say(k, fd, c, split);
    calls_expect(k, log_of(c->verdict));
    assert_int_equal(rotor_http_client_connections(k->client), kept);

    call(k, "GET");
    if (!kept)
        next = calls_accept(k);
    sockets_expect(k->loop, next, calls_request(k, "GET", "/", ""));
    sockets_send(next, R200(LENGTH(5), "clean"));
    calls_expect(k, "head 200, received clean, over");
    close(next);
    if (!kept)
        close(fd);
    TURN_UNTIL(k->loop, rotor_http_client_connections(k->client) == 0);
}

static void whole_and_split(void **state)
{
    const conversation *c = *state;
    calls k = {0};
    assert_int_equal(calls_open(&k), 0);
    for (size_t split = 0; split <= c->len; split++)
        converse(&k, c, split);
    calls_close(&k);
}

int main(void)
{
    enum { N = sizeof conversations / sizeof *conversations };
    static struct CMUnitTest tests[N];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){.name = conversations[i].name,
                                       .test_func = whole_and_split,
                                       .setup_func = test_begin,
                                       .teardown_func = test_end,
                                       .initial_state = (void *)&conversations[i]};
    return cmocka_run_group_tests_name("client_conformance", tests, NULL, NULL);
}
