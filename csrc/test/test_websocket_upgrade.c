/* The server's handshake: which requests become WebSockets, what the others are answered, and that all
** which comes behind the request is the WebSocket's. */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "../http/websocket.h"
#include "sockets.h"
#include "support.h"
#include "web.h"

#define HOST  "Host: example.org:8080\r\n"
#define ASK   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13   "Sec-WebSocket-Version: 13\r\n"
#define GET   "GET /chat HTTP/1.1\r\n"
#define BEGIN GET HOST ASK KEY V13
#define ACCEPTED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\n" DATE "Upgrade: websocket\r\n"                           \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define SWITCHED "Connection: Upgrade\r\n\r\n"

static int releases;

static void release(void *seed)
{
    releases++;
}

/* -- the handlers ------------------------------------------------------------------------------ */

static rotor_intent on_open(rotor_websocket *ws, rotor_scope *scope, void *seed)
{
    web *w = seed;
    const char *protocol = rotor_websocket_subprotocol(ws);
    web_note(w, "open%s%s", protocol ? " " : "", protocol ? protocol : "");
    return rotor_expect_message();
}

static rotor_intent on_message(rotor_websocket *ws, rotor_scope *scope, rotor_text data,
                               bool is_text)
{
    int error = rotor_websocket_send_text(ws, data);
    return error ? rotor_intent_error(error) : rotor_expect_message();
}

static const rotor_websocket_handler echo = {
    .protocol = ROTOR_WEBSOCKET_PROTOCOL("echo", rotor_websocket),
    .open = on_open,
    .message = on_message,
};

static const char *const *protocols, *const *origins;
static int last; /* what rotor_websocket_upgrade() has returned */

static rotor_response upgrade(rotor_http *h, rotor_scope *scope)
{
    rotor_websocket_options options = {
        .protocols = protocols, .origins = origins, .seed = web_of(h), .release = release};
    last = rotor_websocket_upgrade(h, &echo, &options);
    assert_int_equal(rotor_websocket_upgrade(h, &echo, &options), ROTOR_ESTATE);
    return rotor_done();
}

static void open_web(web *w)
{
    *w = (web){.received = upgrade};
    protocols = origins = NULL;
    releases = 0;
    assert_int_equal(web_open(w), 0);
    assert_int_equal(web_connect(w), 0);
}

/* -- what is accepted -------------------------------------------------------------------------- */

static const char *const spoken[] = {"chat.v2", "chat.v1", NULL};
static const char *const sites[] = {"https://example.org", "http://other.example", NULL};
static const char *const any[] = {"*", NULL};

static const struct {
    const char *ask;
    const char *const *protocols, *const *origins;
    const char *headers, *log;
} accepted[] = {
    {BEGIN "\r\n", NULL, NULL, "", "open"},
    {GET HOST "upgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY V13 "\r\n", NULL,
     NULL, "", "open"},
    {GET HOST
     "Upgrade: h2c\r\nUpgrade: x, ,websocket\r\nConnection: close\r\nConnection: upgrade\r\n" KEY
         V13 "\r\n",
     NULL, NULL, "", "open"},
    {BEGIN "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n", NULL,
     NULL, "", "open"},

    {BEGIN "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n\r\n", spoken, NULL,
     "Sec-WebSocket-Protocol: chat.v2\r\n", "open chat.v2"},
    {BEGIN "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: chat.v1 ,more\r\n\r\n", spoken,
     NULL, "Sec-WebSocket-Protocol: chat.v1\r\n", "open chat.v1"},
    {BEGIN "Sec-WebSocket-Protocol: Chat.v1, other\r\n\r\n", spoken, NULL, "", "open"},
    {BEGIN "Sec-WebSocket-Protocol: chat.v1\r\n\r\n", NULL, NULL, "", "open"},
    {BEGIN "\r\n", spoken, NULL, "", "open"},

    {BEGIN "Origin: http://example.org:8080\r\n\r\n", NULL, NULL, "", "open"},
    {BEGIN "Origin: https://EXAMPLE.org:8080\r\n\r\n", NULL, NULL, "", "open"},
    {BEGIN "Origin: https://example.org\r\n\r\n", NULL, sites, "", "open"},
    {BEGIN "Origin: HTTP://other.example\r\n\r\n", NULL, sites, "", "open"},
    {BEGIN "\r\n", NULL, sites, "", "open"},
    {BEGIN "Origin: null\r\n\r\n", NULL, any, "", "open"},
};

static void requests_are_accepted(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        web w;
        char log[100], answer[500];
        open_web(&w);
        protocols = accepted[i].protocols;
        origins = accepted[i].origins;
        snprintf(answer, sizeof answer, ACCEPTED "%s" SWITCHED, accepted[i].headers);
        web_asks(&w, accepted[i].ask, answer);
        assert_int_equal(last, 0);
        snprintf(log, sizeof log, "GET /chat over %s", accepted[i].log);
        assert_string_equal(w.log, log);
        assert_int_equal(releases, 1);
        web_asks(&w, "\x81\x81\1\1\1\1x", "\x81\1y"); /* 'y' masked by 1 */
        rotor_memory_shutdown(w.client);
        web_turn(&w);
        assert_true(web_is_gone(&w));
        web_close(&w);
    }
}

/* A client that does not wait for the answer. */
static void what_comes_behind_the_request_is_the_websockets(void **state)
{
    static const char ask[] = BEGIN "\r\n\x81\x82\1\1\1\1xy\x89\x80\1\1\1\1\x88\x80\1\1\1\1";
    static const char answer[] = ACCEPTED SWITCHED "\x81\2yx\x8a\0\x88";
    for (size_t cut = 0; cut < sizeof ask; cut++)
        for (size_t split = 0; split < 2; split++) {
            web w;
            open_web(&w);
            rotor_memory_split(w.client, split);
            web_send_bytes(&w, ask, cut);
            web_send_bytes(&w, ask + cut, sizeof ask - 1 - cut);
            rotor_buf *received = rotor_memory_received(w.client);
            assert_int_equal(rotor_buf_len(received), sizeof answer);
            assert_memory_equal(rotor_buf_data(received), answer, sizeof answer); /* and a NUL */
            assert_true(web_is_shut(&w));
            web_close(&w);
        }
}

/* -- what is refused --------------------------------------------------------------------------- */

static const struct {
    const char *ask;
    int status;
    const char *headers, *why;
    int error;
} refused[] = {
#define NO(ask, status, headers, why)                                                              \
    {                                                                                              \
        ask, status, headers, why, ROTOR_WEBSOCKET_EHANDSHAKE                                      \
    }
#define UPGRADE_TO "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    NO(GET HOST "\r\n", 426, UPGRADE_TO, "this is for WebSockets"),
    NO(GET HOST "Connection: Upgrade\r\n" KEY V13 "\r\n", 426, UPGRADE_TO,
       "this is for WebSockets"),
    NO(GET HOST "Upgrade: websocket\r\n" KEY V13 "\r\n", 426, UPGRADE_TO, "this is for WebSockets"),
    NO(GET HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY V13 "\r\n", 426, UPGRADE_TO,
       "this is for WebSockets"),
    NO("GET / HTTP/1.0\r\n" HOST ASK KEY V13 "\r\n", 426, UPGRADE_TO, "this is for WebSockets"),
    NO("POST / HTTP/1.1\r\n" HOST ASK KEY V13 "\r\n", 405, "Allow: GET\r\n",
       "a WebSocket begins with a GET"),
    NO("get / HTTP/1.1\r\n" HOST ASK KEY V13 "\r\n", 405, "Allow: GET\r\n",
       "a WebSocket begins with a GET"),
    NO(BEGIN "Content-Length: 1\r\n\r\nx", 400, "", "a WebSocket begins without a body"),
    NO(BEGIN "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 400, "",
       "a WebSocket begins without a body"),
    NO(GET HOST ASK KEY "\r\n", 426, UPGRADE_TO, "the version of WebSockets is 13"),
    NO(GET HOST ASK KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426, UPGRADE_TO,
       "the version of WebSockets is 13"),
    NO(GET HOST ASK KEY "Sec-WebSocket-Version: 13, 8\r\n\r\n", 426, UPGRADE_TO,
       "the version of WebSockets is 13"),
    NO(GET HOST ASK KEY V13 V13 "\r\n", 426, UPGRADE_TO, "the version of WebSockets is 13"),
    NO(GET HOST ASK V13 "\r\n", 400, "", "Sec-WebSocket-Key is not 16 bytes in base64"),
    NO(GET HOST ASK V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n", 400, "",
       "Sec-WebSocket-Key is not 16 bytes in base64"),
    NO(GET HOST ASK V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!\r\n\r\n", 400, "",
       "Sec-WebSocket-Key is not 16 bytes in base64"),
    NO(BEGIN KEY "\r\n", 400, "", "Sec-WebSocket-Key is not 16 bytes in base64"),
    NO(BEGIN "Sec-WebSocket-Protocol: a b\r\n\r\n", 400, "",
       "Sec-WebSocket-Protocol is not a list of tokens"),
#undef NO
#define NO(ask)                                                                                    \
    {                                                                                              \
        ask, 403, "", "not for pages of that origin", ROTOR_WEBSOCKET_EORIGIN                      \
    }
    NO(BEGIN "Origin: http://example.org\r\n\r\n"),
    NO(BEGIN "Origin: http://evil.example\r\n\r\n"),
    NO(BEGIN "Origin: http://example.org:8080.evil.example\r\n\r\n"),
    NO(BEGIN "Origin: example.org:8080\r\n\r\n"),
    NO(BEGIN "Origin: null\r\n\r\n"),
    NO(BEGIN "Origin:\r\n\r\n"),
};

static void other_requests_are_answered(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        web w;
        char body[200], answer[600];
        open_web(&w);
        web_send(&w, refused[i].ask);
        assert_int_equal(last, refused[i].error);
        snprintf(body, sizeof body, "%d %s: %s\n", refused[i].status,
                 rotor_http_reason(refused[i].status), refused[i].why);
        bool closes = strstr(refused[i].ask, "HTTP/1.0");
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %d %s\r\n%s" DATE "%sContent-Type: text/plain\r\n%sContent-Length: %zu"
                 "\r\n\r\n%s",
                 refused[i].status, rotor_http_reason(refused[i].status),
                 refused[i].status == 426 ? "Connection: Upgrade\r\n" : "",
                 closes ? "Connection: close\r\n" : "", refused[i].headers, strlen(body), body);
        assert_string_equal(web_received(&w), answer);
        assert_null(strstr(w.log, "open"));
        assert_int_equal(releases, 0);
        if (!closes) /* HTTP goes on */
            web_asks(&w, BEGIN "\r\n", ACCEPTED SWITCHED);
        web_close(&w);
    }
}

static void other_sites_are_refused_by_list(void **state)
{
    web w;
    open_web(&w);
    origins = sites;
    web_send(&w, BEGIN "Origin: http://example.org:8080\r\n\r\n");
    assert_int_equal(last, ROTOR_WEBSOCKET_EORIGIN);
    web_send(&w, BEGIN "Origin: https://example.org.evil.example\r\n\r\n");
    assert_int_equal(last, ROTOR_WEBSOCKET_EORIGIN);
    web_close(&w);
}

static rotor_response answer_first(rotor_http *h, rotor_scope *scope)
{
    assert_true(rotor_websocket_is_asked(h));
    rotor_response r = web_answer(h, scope);
    assert_int_equal(rotor_websocket_upgrade(h, &echo, NULL), ROTOR_ESTATE);
    return r;
}

static void what_was_answered_is_not_upgraded(void **state)
{
    web w = {.received = answer_first};
    assert_int_equal(web_open(&w), 0);
    assert_int_equal(web_connect(&w), 0);
    web_asks(&w, BEGIN "\r\n", OK(9, "GET /chat"));
    web_close(&w);
}

/* -- over sockets, and without memory ---------------------------------------------------------- */

static void over_tcp(void **state)
{
    int near, far;
    web w;
    open_web(&w);
    sockets_pair(AF_INET, &near, &far);
    web_adopt(&w, near);
    sockets_send(far, BEGIN "\r\n");
    sockets_expect(w.loop, far, ACCEPTED SWITCHED);
    sockets_send(far, "\x81\x81\1\1\1\1x");
    sockets_expect(w.loop, far, "\x81\1y");
    sockets_send(far, "\x88\x82\1\1\1\1\x02\xe9");
    sockets_expect(w.loop, far, "\x88\2\x03\xe8");
    size_t more;
    assert_int_equal(sockets_end(w.loop, far, &more), 0); /* and no reset */
    assert_int_equal(more, 0);
    assert_int_equal(close(far), 0);
    TURN_UNTIL(w.loop, !rotor_find(w.loop, w.connection));
    web_close(&w);
}

static rotor_response upgrade_if_possible(rotor_http *h, rotor_scope *scope)
{
    rotor_websocket_options options = {
        .protocols = spoken, .origins = NULL, .seed = web_of(h), .release = release};
    int error = rotor_websocket_upgrade(h, &echo, &options);
    bool answered =
        !error || error == ROTOR_WEBSOCKET_EHANDSHAKE || error == ROTOR_WEBSOCKET_EORIGIN;
    return answered ? rotor_done() : rotor_error(error);
}

static void converse(void)
{
    web w = {.received = upgrade_if_possible};
    releases = 0;
    if (web_open(&w))
        return;
    static const char ask[] =
        GET HOST "\r\n" BEGIN "Sec-WebSocket-Protocol: chat.v1\r\n\r\n\x81\x81\1\1\1\1x";
    if (web_connect(&w) == 0 && rotor_memory_send(w.client, ask, sizeof ask - 1) == 0) {
        web_turn(&w);
        if (test_alloc_failed() == 0)
            assert_non_null(strstr(web_received(&w), "chat.v1\r\n" SWITCHED "\x81\1y"));
    }
    web_close(&w);
    assert_in_range(releases, 0, 1);
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(converse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_accepted),
        TEST(what_comes_behind_the_request_is_the_websockets),
        TEST(other_requests_are_answered),
        TEST(other_sites_are_refused_by_list),
        TEST(what_was_answered_is_not_upgraded),
        TEST(over_tcp),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("websocket_upgrade", tests, NULL, NULL);
}
