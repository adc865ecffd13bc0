/* The client's handshake, over sockets: what it asks, which answers make a WebSocket, what becomes of all
** others; and rotor's own two ends with each other. Each answer comes as a whole and byte by byte. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../http/websocket.h"
#include "sockets.h"
#include "support.h"

typedef struct client {
    rotor_loop *loop;
    rotor_handle self;
    int listener, far; /* the server's sockets */
    char where[128];
    char request[2048];
    char accept[ROTOR_WEBSOCKET_ACCEPT + 1];
    rotor_websocket *ws;
    int opens, closes, drops, releases, errors, error;
    char log[1024];
} client;

static void note(client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(client *c, const char *format, ...)
{
    size_t len = strlen(c->log);
    va_list args;
    va_start(args, format);
    if (len > 0)
        c->log[len++] = ' ';
    vsnprintf(c->log + len, sizeof c->log - len, format, args);
    va_end(args);
}

/* -- the handler ------------------------------------------------------------------------------- */

static client *of(rotor_websocket *ws)
{
    return rotor_loop_context(ws->stream.machine.loop);
}

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    client *c = seed;
    const char *protocol = rotor_websocket_subprotocol(ws);
    assert_null(rotor_websocket_seed_left(ws));
    c->ws = ws;
    c->opens++;
    note(c, "open%s%s", protocol ? " " : "", protocol ? protocol : "");
    return rotor_expect_message();
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    note(of(ws), "%s(%.*s)", is_text ? "text" : "binary", (int)data.len, data.data);
    return rotor_expect_message();
}

static void on_close(rotor_websocket *ws, int code, rotor_text reason)
{
    client *c = of(ws);
    int error = rotor_websocket_error(ws);
    c->closes++;
    assert_ptr_equal(rotor_websocket_seed_left(ws), c->opens ? NULL : c);
    assert_int_equal(rotor_websocket_send_text(ws, reason), ROTOR_ECLOSED);
    note(c, "close(%d %s: %.*s)", code, rotor_err_name(error), (int)reason.len, reason.data);
}

static void on_drop(rotor_websocket *ws)
{
    client *c = of(ws);
    c->drops++;
    c->ws = NULL;
}

static const rotor_websocket_handler handler = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("client", rotor_websocket),
    .open = on_open,
    .message = on_message,
    .close = on_close,
    .drop = on_drop,
};

static void release(void *seed)
{
    client *c = seed;
    c->releases++;
}

static void on_error(rotor_loop *loop, rotor_machine *machine, int error)
{
    client *c = rotor_loop_context(loop);
    c->errors++;
    c->error = error;
}

/* -- the stage --------------------------------------------------------------------------------- */

static void open_client(client *c)
{
    rotor_config config = {.context = c, .clock = &test_clock, .on_error = on_error};
    test_monotonic_ms = 1000000;
    *c = (client){.far = -1};
    c->listener = sockets_listen("127.0.0.1:0", 5, c->where);
    assert_int_equal(rotor_loop_new(&c->loop, &config), 0);
}

static void close_client(client *c)
{
    assert_int_equal(rotor_loop_free(c->loop), 0);
    if (c->far >= 0)
        assert_int_equal(close(c->far), 0);
    assert_int_equal(close(c->listener), 0);
    assert_int_equal(c->releases, 1);
    assert_int_equal(c->opens, c->drops);
    assert_true(c->closes <= 1 && c->closes >= c->opens);
}

static int begin(client *c, const rotor_websocket_handler *with,
                 rotor_websocket_connect_options options)
{
    char url[200];
    snprintf(url, sizeof url, "ws://%s/chat?x=%%20", c->where);
    options.seed = c;
    options.release = release;
    return rotor_websocket_connect(c->loop, url, with, &options, &c->self);
}

/* The server accepts the connection and reads the request. */
static void read_request(client *c)
{
    size_t n = 0;
    c->far = sockets_accept(c->loop, c->listener);
    while (!strstr(c->request, "\r\n\r\n")) {
        ssize_t got = recv(c->far, c->request + n, sizeof c->request - n - 1, MSG_DONTWAIT);
        assert_true(got > 0 || errno == EAGAIN);
        n += got > 0 ? (size_t)got : 0;
        assert_int_equal(rotor_loop_turn(c->loop), 0);
    }
    const char *key = strstr(c->request, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    assert_true(rotor_websocket_is_key(key + 19, ROTOR_WEBSOCKET_KEY));
    rotor_websocket_accept(c->accept, key + 19);
}

/* The server answers, with the right Accept in place of "%A"; `step` bytes at a time. */
static void answer(client *c, const char *text, size_t len, size_t step)
{
    char bytes[2048];
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (i + 1 < len && text[i] == '%' && text[i + 1] == 'A') {
            memcpy(bytes + n, c->accept, ROTOR_WEBSOCKET_ACCEPT);
            n += ROTOR_WEBSOCKET_ACCEPT;
            i++;
        } else {
            bytes[n++] = text[i];
        }
    }
    for (size_t at = 0; at < n; at += step) {
        size_t part = step < n - at ? step : n - at;
        if (send(c->far, bytes + at, part, MSG_NOSIGNAL) < 0)
            break; /* it has been given up already */
        assert_int_equal(rotor_loop_turn(c->loop), 0);
    }
}

/* -- what is asked ----------------------------------------------------------------------------- */

static void check_request(client *c, const char *host, const char *more)
{
    char expected[1024];
    char *key = strstr(c->request, "Sec-WebSocket-Key: ");
    memset(key + 19, 'k', 24);
    snprintf(expected, sizeof expected,
             "GET /chat?x=%%20 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Key: kkkkkkkkkkkkkkkkkkkkkkkk\r\nSec-WebSocket-Version: 13\r\n"
             "%sUser-Agent: rotor\r\nConnection: Upgrade\r\n\r\n",
             host, more);
    assert_string_equal(c->request, expected);
}

static void the_request(void **state)
{
    static const char *const protocols[] = {"b.v2", "a", NULL};
    static const char *const headers[] = {"Origin", "http://here", "Cookie", "a=b", NULL};
    client c;
    open_client(&c);
    assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){0}), 0);
    read_request(&c);
    check_request(&c, c.where, "");
    close_client(&c);
    assert_string_equal(c.log, "");
    open_client(&c);
    assert_int_equal(
        begin(&c, &handler,
              (rotor_websocket_connect_options){.protocols = protocols, .headers = headers}),
        0);
    read_request(&c);
    check_request(&c, c.where,
                  "Sec-WebSocket-Protocol: b.v2, a\r\nOrigin: http://here\r\nCookie: a=b\r\n");
    close_client(&c);
}

static void elsewhere_than_the_url_says(void **state)
{
    client c;
    open_client(&c);
    rotor_websocket_connect_options options = {.address = c.where, .seed = &c, .release = release};
    assert_int_equal(
        rotor_websocket_connect(c.loop, "WS://Example.org/chat?x=%20", &handler, &options, NULL),
        0);
    read_request(&c);
    check_request(&c, "example.org", "");
    close_client(&c);
}

static void what_cannot_be_asked(void **state)
{
    static const struct {
        const char *url;
        int error;
    } urls[] = {
        {"", ROTOR_WEBSOCKET_EURL},
        {"http://h/", ROTOR_WEBSOCKET_EURL},
        {"wss://h/", ROTOR_WEBSOCKET_ETLS},
        {"WSS://h/", ROTOR_WEBSOCKET_ETLS},
        {"ws:/h/", ROTOR_WEBSOCKET_EURL},
        {"ws://", ROTOR_WEBSOCKET_EURL},
        {"ws://h:99999/", ROTOR_WEBSOCKET_EURL},
        {"ws://h/#fragment", ROTOR_WEBSOCKET_EURL},
        {"ws://h/\r\n", ROTOR_WEBSOCKET_EURL},
        {"h:80", ROTOR_WEBSOCKET_EURL},
        {"ws://user@h/", ROTOR_HTTP_EUSERINFO},
    };
    static const char *const bad_protocols[][3] = {{"a b", NULL}, {"", NULL}, {"a", "a", NULL}};
    static const char *const bad_headers[][3] = {
        {"Sec-WebSocket-Key", "x", NULL},
        {"upgrade", "h2c", NULL},
        {"Connection", "close", NULL},
        {"Host", "x", NULL},
        {"A", "b\r\nC: d", NULL},
        {"A b", "c", NULL},
        {"A", NULL, NULL},
    };
    client c;
    open_client(&c);
    rotor_handle handle = {1, 1};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_int_equal(rotor_websocket_connect(c.loop, urls[i].url, &handler, NULL, &handle),
                         urls[i].error);
    assert_int_equal(handle.generation, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            begin(&c, &handler, (rotor_websocket_connect_options){.protocols = bad_protocols[i]}),
            UV_EINVAL);
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++)
        assert_int_equal(
            begin(&c, &handler, (rotor_websocket_connect_options){.headers = bad_headers[i]}),
            ROTOR_EHEADER);
    assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){.address = "a:b"}),
                     ROTOR_EADDRESS);
    assert_int_equal(c.releases, 0);
    c.releases = 1; /* as none was to be */
    close_client(&c);
}

/* -- what is answered -------------------------------------------------------------------------- */

#define SWITCH     "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT     "Sec-WebSocket-Accept: %A\r\n"
#define SHAKEN     SWITCH UPGRADE ACCEPT
#define FAILS(why) "close(1006 WEBSOCKET_EHANDSHAKE: " why ")"

static const struct {
    const char *answer;
    size_t len;
    const char *log;
} answers[] = {
#define ANSWER(text, log)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, log                                                                \
    }
    ANSWER(SHAKEN "\r\n", "open"),
    ANSWER("HTTP/1.1 101\r\nUPGRADE: WebSocket\r\nconnection: x, upgrade\r\n" ACCEPT "X: y\r\n\r\n",
           "open"),
    ANSWER(SHAKEN "\r\n\x81\x05Hello\x82\x01", "open text(Hello)"),
    ANSWER(SHAKEN "\r\n\x81\x05Hello\x88\x05\x03\xe8"
                  "bye",
           "open text(Hello) close(1000 OK: bye)"),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol: v1\r\n\r\n", "open v1"),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol: v2\r\n\r\n\x82\x01x", "open v2 binary(x)"),
    ANSWER("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" SHAKEN
           "\r\n\x81\x00",
           "open text()"),
    ANSWER(SHAKEN "\r\n\x81\x81",
           "open close(1002 WEBSOCKET_EMASK: frame of a client not masked, or "
           "of a server masked (section 5.1))"),

    ANSWER("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
           "close(1006 WEBSOCKET_EREFUSED: the server has answered 403 Forbidden)"),
    ANSWER("HTTP/1.1 200 OK\r\n\r\n<html>",
           "close(1006 WEBSOCKET_EREFUSED: the server has answered 200 OK)"),
    ANSWER("HTTP/1.1 302\r\nLocation: /\r\n\r\n",
           "close(1006 WEBSOCKET_EREFUSED: the server has answered 302)"),
    ANSWER("HTTP/1.1 500 \xff\r\n\r\n",
           "close(1006 WEBSOCKET_EREFUSED: the server has answered 500)"),
    ANSWER("HTTP/1.0 426 Upgrade Required\r\n\r\n",
           "close(1006 WEBSOCKET_EREFUSED: the server has answered 426 Upgrade Required)"),

    ANSWER(SWITCH "Connection: Upgrade\r\n" ACCEPT "\r\n",
           FAILS("the server has not upgraded to websocket")),
    ANSWER(SWITCH "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n",
           FAILS("the server has not upgraded to websocket")),
    ANSWER(SWITCH "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n",
           FAILS("the server has not upgraded to websocket")),
    ANSWER(SWITCH "Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT
                  "\r\n",
           FAILS("the server has not upgraded to websocket")),
    ANSWER(SWITCH "Upgrade: websocket\r\n" ACCEPT "\r\n",
           FAILS("the server's Connection does not list Upgrade")),
    ANSWER("HTTP/1.0 101 x\r\n" UPGRADE ACCEPT "\r\n",
           FAILS("the server's Connection does not list Upgrade")),
    ANSWER(SWITCH UPGRADE "\r\n", FAILS("the server's Sec-WebSocket-Accept does not fit the key")),
    ANSWER(SWITCH UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
           FAILS("the server's Sec-WebSocket-Accept does not fit the key")),
    ANSWER(SWITCH UPGRADE "Sec-WebSocket-Accept: x%A\r\n\r\n",
           FAILS("the server's Sec-WebSocket-Accept does not fit the key")),
    ANSWER(SHAKEN ACCEPT "\r\n", FAILS("the server's Sec-WebSocket-Accept does not fit the key")),
    ANSWER(SHAKEN "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
           FAILS("the server uses an extension that was not asked for")),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol: v3\r\n\r\n",
           FAILS("the server speaks a subprotocol that was not asked for")),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol: v1, v2\r\n\r\n",
           FAILS("the server speaks a subprotocol that was not asked for")),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v1\r\n\r\n",
           FAILS("the server speaks a subprotocol that was not asked for")),
    ANSWER(SHAKEN "Sec-WebSocket-Protocol:\r\n\r\n",
           FAILS("the server speaks a subprotocol that was not asked for")),

    ANSWER("SSH-2.0-x\r\n", "close(1006 HTTP_EVERSION: malformed HTTP version (section 2.3))"),
    ANSWER(SWITCH " folded\r\n\r\n", "close(1006 HTTP_EFOLD: folded header line (section 5.2))"),
};

static void every_answer(void **state)
{
    static const char *const protocols[] = {"v1", "v2", NULL};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (size_t step = 1; step < 10000; step = step * 30) {
            client c;
            open_client(&c);
            assert_int_equal(
                begin(&c, &handler, (rotor_websocket_connect_options){.protocols = protocols}), 0);
            read_request(&c);
            answer(&c, answers[i].answer, answers[i].len, step);
            TURN_UNTIL(c.loop, strlen(c.log) >= strlen(answers[i].log));
            assert_string_equal(c.log, answers[i].log);
            if (!c.opens)
                TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
            assert_int_equal(c.errors, 0);
            close_client(&c);
        }
}

/* -- no answer --------------------------------------------------------------------------------- */

static void the_server_leaves(void **state)
{
    for (int how = 0; how < 4; how++) {
        client c;
        open_client(&c);
        assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){0}), 0);
        read_request(&c);
        if (how % 2)
            answer(&c, SWITCH "Upgr", sizeof SWITCH + 3, 100);
        if (how < 2)
            assert_int_equal(close(c.far), 0);
        else
            sockets_reset(c.far);
        c.far = -1;
        TURN_UNTIL(c.loop, c.closes > 0);
        assert_string_equal(c.log,
                            how < 2 ? "close(1006 EEOF: peer closed before the expected bytes came)"
                                    : "close(1006 ECONNRESET: connection reset by peer)");
        TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
        close_client(&c);
    }
}

static void nobody_answers_in_time(void **state)
{
    client c;
    open_client(&c);
    assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){.timeout_ms = 500}), 0);
    read_request(&c);
    static const char some[] = "HTTP/1.1 100 Continue\r\n\r\n" SWITCH;
    answer(&c, some, sizeof some - 1, 1);
    test_monotonic_ms += 499;
    assert_int_equal(rotor_loop_turn(c.loop), 0);
    assert_string_equal(c.log, "");
    test_monotonic_ms += 1;
    assert_int_equal(rotor_loop_turn(c.loop), 0);
    assert_string_equal(c.log, "close(1006 ETIMEDOUT: deadline passed)");
    TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
    close_client(&c);
}

static void nobody_listens(void **state)
{
    client c;
    open_client(&c);
    assert_int_equal(shutdown(c.listener, SHUT_RDWR), 0); /* which refuses from now on */
    assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){0}), 0);
    TURN_UNTIL(c.loop, c.closes > 0);
    assert_string_equal(c.log, "close(1006 ECONNREFUSED: connection refused)");
    TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
    close_client(&c);
}

static void without_a_close_the_error_is_reported(void **state)
{
    rotor_websocket_handler deaf = handler;
    deaf.close = NULL;
    client c;
    open_client(&c);
    assert_int_equal(begin(&c, &deaf, (rotor_websocket_connect_options){0}), 0);
    read_request(&c);
    answer(&c, "HTTP/1.1 404 Not Found\r\n\r\n", 26, 100);
    TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
    assert_int_equal(c.errors, 1);
    assert_int_equal(c.error, ROTOR_WEBSOCKET_EREFUSED);
    close_client(&c);
}

static void it_may_be_called_off(void **state)
{
    for (int when = 0; when < 3; when++) {
        client c;
        open_client(&c);
        assert_int_equal(begin(&c, &handler, (rotor_websocket_connect_options){0}), 0);
        if (when > 0)
            read_request(&c);
        if (when > 1)
            answer(&c, SWITCH, 10, 100);
        assert_int_equal(rotor_wake(c.loop, c.self), 0); /* does nothing yet */
        assert_int_equal(rotor_loop_turn(c.loop), 0);
        assert_int_equal(rotor_end(c.loop, c.self, 0), 0);
        TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
        assert_string_equal(c.log, "");
        assert_int_equal(c.releases, 1);
        close_client(&c);
    }
}

/* -- rotor with itself ------------------------------------------------------------------------- */

static rotor_intent echo(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text)
{
    int error =
        is_text ? rotor_websocket_send_text(ws, data) : rotor_websocket_send_binary(ws, data);
    return error ? rotor_intent_error(error) : rotor_expect_message();
}

static const rotor_websocket_handler echoing = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("echo", rotor_websocket), .message = echo};

static rotor_response upgrade(rotor_http *h, rotor_scope *scope)
{
    static const char *const protocols[] = {"echo", NULL};
    (void)rotor_websocket_upgrade(h, &echoing, &(rotor_websocket_options){.protocols = protocols});
    return rotor_done();
}

static const rotor_http_handler web_handler = {.name = "web", .request_received = upgrade};

static size_t echoed;

static rotor_intent on_echo(rotor_websocket *ws, rotor_scope *scope, rotor_text data, bool is_text)
{
    client *c = of(ws);
    for (size_t i = 0; i < data.len; i++)
        assert_int_equal((uint8_t)data.data[i], i * 7 % 251);
    echoed = data.len;
    if (echoed > 100000) {
        note(c, "all");
        return rotor_intent_done();
    }
    char *next = malloc(echoed * 2 + 1);
    assert_non_null(next);
    for (size_t i = 0; i < echoed * 2 + 1; i++)
        next[i] = (char)(i * 7 % 251);
    assert_int_equal(rotor_websocket_send_fragment(ws, (rotor_text){next, echoed}, false, false),
                     0);
    assert_int_equal(
        rotor_websocket_send_fragment(ws, (rotor_text){next + echoed, echoed + 1}, false, true), 0);
    free(next);
    return rotor_expect_message();
}

static rotor_intent begin_echo(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    rotor_intent intent = on_open(ws, scope, seed);
    assert_int_equal(rotor_websocket_send_binary(ws, (rotor_text){NULL, 0}), 0);
    return intent;
}

static void both_ends_are_rotors(void **state)
{
    static const char *const protocols[] = {"other", "echo", NULL};
    rotor_websocket_handler asking = handler;
    rotor_handle listener;
    client c;
    asking.open = begin_echo;
    asking.message = on_echo;
    open_client(&c);
    assert_int_equal(rotor_http_serve(c.loop, "127.0.0.1:0", &web_handler, NULL, &listener), 0);
    assert_int_equal(rotor_listener_address(c.loop, listener, c.where, sizeof c.where), 0);
    assert_int_equal(begin(&c, &asking, (rotor_websocket_connect_options){.protocols = protocols}),
                     0);
    TURN_UNTIL(c.loop, !rotor_find(c.loop, c.self));
    assert_string_equal(c.log, "open echo all close(1000 OK: )");
    assert_int_equal(echoed, 131071);
    assert_int_equal(c.errors, 0);
    close_client(&c);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void converse(void)
{
    static const char *const protocols[] = {"v1", NULL};
    rotor_config config;
    client c = {.far = -1};
    config = (rotor_config){.context = &c, .clock = &test_clock, .on_error = on_error};
    test_monotonic_ms = 1000000;
    if (rotor_loop_new(&c.loop, &config))
        return;
    c.listener = sockets_listen("127.0.0.1:0", 5, c.where);
    if (begin(&c, &handler, (rotor_websocket_connect_options){.protocols = protocols}))
        c.releases = 1;
    size_t n = 0;
    for (int i = 0; i < 1000 && rotor_find(c.loop, c.self) && !strstr(c.log, "text("); i++) {
        if (c.far < 0)
            c.far = accept4(c.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ssize_t got =
            c.far < 0 ? 0 : recv(c.far, c.request + n, sizeof c.request - n - 1, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
        const char *key = strstr(c.request, "Sec-WebSocket-Key: ");
        if (key && !c.accept[0] && strstr(c.request, "\r\n\r\n")) {
            static const char text[] = SHAKEN "Sec-WebSocket-Protocol: v1\r\n\r\n\x81\x01x";
            rotor_websocket_accept(c.accept, key + 19);
            answer(&c, text, sizeof text - 1, 50);
        }
        if (rotor_loop_turn(c.loop))
            break;
        sockets_wait(c.loop);
    }
    assert_true(test_alloc_failed() > 0 || strcmp(c.log, "open v1 text(x)") == 0);
    close_client(&c);
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(converse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_request),
        TEST(elsewhere_than_the_url_says),
        TEST(what_cannot_be_asked),
        TEST(every_answer),
        TEST(the_server_leaves),
        TEST(nobody_answers_in_time),
        TEST(nobody_listens),
        TEST(without_a_close_the_error_is_reported),
        TEST(it_may_be_called_off),
        TEST(both_ends_are_rotors),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("websocket_connect", tests, NULL, NULL);
}
