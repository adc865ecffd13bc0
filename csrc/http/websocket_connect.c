/* The client's side of the handshake (RFC 6455 section 4.1): a stream that connects, asks, judges the answer,
** and then is a WebSocket. */
#include <stdio.h>

#include "ask.h"
#include "websocket_private.h"

enum { TIMEOUT_MS = 10000, FIELDS = 128 };

/* What a client has until its handshake is through. */
struct rotor__websocket_opening {
    rotor_websocket_seed seed; /* first, as this is the stream's seed */
    void (*release)(void *seed);
    bool held; /* by the WebSocket */
    uint64_t deadline;
    rotor_buf request;
    char *protocols; /* the list that was asked for, or NULL */
    char accept[ROTOR_WEBSOCKET_ACCEPT];
    rotor_http_progress progress;
    rotor_http_field fields[FIELDS];
};

typedef struct rotor__websocket_opening opening;

static void free_opening(opening *o)
{
    rotor_buf_fini(&o->request);
    rotor_free(o->protocols);
    rotor_free(o);
}

/* The stream needs the seed no longer; but the WebSocket may. */
static void on_seed_used(void *data)
{
    opening *o = data;
    if (o->held)
        return;
    if (o->release)
        o->release(o->seed.seed);
    free_opening(o);
}

void rotor__websocket_drop_opening(rotor_websocket *ws)
{
    opening *o = ws->opening;
    ws->opening = NULL;
    if (!o)
        return;
    o->held = false;
    on_seed_used(o);
}

/* -- the answer -------------------------------------------------------------------------------- */

rotor_intent rotor__websocket_give_up(rotor_websocket *ws, int error, const char *why)
{
    bool heard = rotor__websocket_handler(ws)->close != NULL;
    if (!why)
        why = rotor_strerror(error);
    rotor__websocket_tell(ws, error, ROTOR_WEBSOCKET_ABNORMAL, (rotor_text){why, strlen(why)});
    return heard ? rotor_intent_abort() : rotor_intent_error(error);
}

typedef struct answer {
    const char *data; /* the input */
    rotor_http_response_head head;
} answer;

static rotor_text text_at(const answer *a, rotor_http_span span)
{
    return (rotor_text){a->data + span.at, span.len};
}

/* How many fields there are of that name; `value` is that of the first. */
static int find(const answer *a, const char *name, rotor_text *value)
{
    int n = 0;
    for (uint32_t i = 0; i < a->head.nfields; i++)
        if (rotor__is_named(text_at(a, a->head.fields[i].name), name, strlen(name)) && n++ == 0)
            *value = text_at(a, a->head.fields[i].value);
    return n;
}

static bool is_listed(const char *list, rotor_text word)
{
    rotor_text rest = {list, list ? strlen(list) : 0}, item;
    while (rotor__next_item(&rest, &item))
        if (item.len == word.len && memcmp(item.data, word.data, word.len) == 0)
            return true;
    return false;
}

/* What is wrong with an answer of 101, or NULL. */
static const char *judge(const answer *a, const opening *o, rotor_text *protocol)
{
    rotor_text value;
    if (find(a, "upgrade", &value) != 1 || !rotor__is_named(value, "websocket", 9))
        return "the server has not upgraded to websocket";
    if (!a->head.upgrade)
        return "the server's Connection does not list Upgrade";
    if (find(a, "sec-websocket-accept", &value) != 1 || value.len != sizeof o->accept ||
        memcmp(value.data, o->accept, value.len) != 0)
        return "the server's Sec-WebSocket-Accept does not fit the key";
    if (find(a, "sec-websocket-extensions", &value) > 0)
        return "the server uses an extension that was not asked for";
    int n = find(a, "sec-websocket-protocol", protocol);
    if (n > 1 || (n == 1 && !is_listed(o->protocols, *protocol)))
        return "the server speaks a subprotocol that was not asked for";
    return NULL;
}

static rotor_intent await_answer(rotor_websocket *ws, size_t n)
{
    return rotor_intent_until(rotor_expect_bytes(n), ws->deadline);
}

static rotor_intent refused(rotor_websocket *ws, const answer *a)
{
    char why[200];
    rotor_text reason = text_at(a, a->head.reason);
    int most = reason.len < 100 && rotor_is_utf8(reason.data, reason.len) ? (int)reason.len : 0;
    snprintf(why, sizeof why, "the server has answered %d%s%.*s", a->head.status,
             most > 0 ? " " : "", most, most > 0 ? reason.data : "");
    return rotor__websocket_give_up(ws, ROTOR_WEBSOCKET_EREFUSED, why);
}

static rotor_intent accepted(rotor_websocket *ws, rotor_scope *scope, const answer *a, size_t n)
{
    opening *o = ws->opening;
    rotor_text protocol = {NULL, 0};
    const char *wrong = judge(a, o, &protocol);
    if (wrong)
        return rotor__websocket_give_up(ws, ROTOR_WEBSOCKET_EHANDSHAKE, wrong);
    if (protocol.data && rotor__websocket_set_subprotocol(ws, protocol))
        return rotor__websocket_give_up(ws, UV_ENOMEM, NULL);
    rotor_buf_consume(rotor_stream_input(&ws->stream), n);
    ws->opening = NULL;
    rotor_intent intent = rotor__websocket_open(ws, scope, o->seed.seed);
    o->held = false;
    on_seed_used(o);
    return intent;
}

rotor_intent rotor__websocket_shake(rotor_websocket *ws, rotor_scope *scope)
{
    static const rotor_http_limits limits = ROTOR_HTTP_LIMITS_DEFAULT;
    opening *o = ws->opening;
    rotor_buf *input = rotor_stream_input(&ws->stream);
    while (rotor_buf_len(input) > 0) {
        size_t len = rotor_buf_len(input);
        answer a = {.data = rotor_buf_data(input), .head.fields = o->fields};
        ptrdiff_t n = rotor_http_parse_response(&a.head, a.data, len, &limits, &o->progress);
        if (n < 0)
            return rotor__websocket_give_up(ws, (int)n, NULL);
        if (n == ROTOR_MORE)
            return await_answer(ws, len + 1);
        if (a.head.status == 101)
            return accepted(ws, scope, &a, (size_t)n);
        if (a.head.status >= 200)
            return refused(ws, &a);
        rotor_buf_consume(input, (size_t)n); /* an interim response says nothing yet */
    }
    return await_answer(ws, 1);
}

rotor_intent rotor__websocket_ask(rotor_websocket *ws, opening *o)
{
    o->held = true;
    ws->opening = o;
    ws->deadline = o->deadline;
    int error =
        rotor_stream_write(&ws->stream, rotor_buf_data(&o->request), rotor_buf_len(&o->request));
    rotor_buf_fini(&o->request);
    return error ? rotor__websocket_give_up(ws, error, NULL) : await_answer(ws, 1);
}

/* -- the request ------------------------------------------------------------------------------- */

/* "ws://…" is asked for by HTTP as "http://…". */
static int init_request(rotor_http_ask *ask, const char *url)
{
    if (strncasecmp(url, "wss:", 4) == 0)
        return ROTOR_WEBSOCKET_ETLS;
    if (strncasecmp(url, "ws:", 3) != 0 || strchr(url, '#'))
        return ROTOR_WEBSOCKET_EURL;
    size_t size = strlen(url) + sizeof "http:";
    char *text = rotor_alloc(size);
    if (!text)
        return UV_ENOMEM;
    snprintf(text, size, "http:%s", url + 3);
    int error = rotor_http_ask_init_text(ask, "GET", text);
    rotor_free(text);
    return error == ROTOR_HTTP_EURL ? ROTOR_WEBSOCKET_EURL : error;
}

/* What is not for the caller to set. */
static bool is_ours(const char *name)
{
    return strncasecmp(name, "sec-websocket-", 14) == 0 || strcasecmp(name, "upgrade") == 0 ||
           strcasecmp(name, "connection") == 0 || strcasecmp(name, "expect") == 0;
}

static int add_callers(rotor_http_ask *ask, const char *const *headers)
{
    int error = 0;
    for (; !error && headers && headers[0]; headers += 2)
        error = !headers[1] || is_ours(headers[0])
                    ? ROTOR_EHEADER
                    : rotor_http_ask_add_text(ask, headers[0], headers[1]);
    return error;
}

/* "a, b"; each a token, and none twice. */
static int list_protocols(opening *o, const char *const *protocols)
{
    size_t size = 1;
    for (size_t i = 0; protocols && protocols[i]; i++)
        size += strlen(protocols[i]) + 2;
    if (size == 1)
        return 0;
    char *p = o->protocols = rotor_alloc_zero(size);
    if (!p)
        return UV_ENOMEM;
    for (size_t i = 0; protocols[i]; i++) {
        rotor_text name = {protocols[i], strlen(protocols[i])};
        if (!rotor_http_is_token(name.data, name.len) || is_listed(o->protocols, name))
            return UV_EINVAL;
        p += snprintf(p, size - (size_t)(p - o->protocols), "%s%s", i > 0 ? ", " : "", name.data);
    }
    return 0;
}

static int compose(opening *o, rotor_http_ask *ask, const rotor_websocket_connect_options *options)
{
    char key[ROTOR_WEBSOCKET_KEY];
    uint8_t nonce[16];
    int error = uv_random(NULL, NULL, nonce, sizeof nonce, 0, NULL);
    if (error)
        return error;
    rotor_websocket_make_key(key, nonce);
    rotor_websocket_accept(o->accept, key);
    error = list_protocols(o, options->protocols);
    if (!error)
        error = rotor_http_ask_add_text(ask, "Upgrade", "websocket");
    if (!error)
        error = rotor_http_ask_add(ask, (rotor_text){"Sec-WebSocket-Key", 17},
                                   (rotor_text){key, sizeof key});
    if (!error)
        error = rotor_http_ask_add_text(ask, "Sec-WebSocket-Version", "13");
    if (!error && o->protocols)
        error = rotor_http_ask_add_text(ask, "Sec-WebSocket-Protocol", o->protocols);
    if (!error)
        error = add_callers(ask, options->headers);
    return error ? error : rotor_http_ask_write(ask, &o->request);
}

/* -- connecting -------------------------------------------------------------------------------- */

static int connect_to(rotor_loop *loop, const rotor_http_url *url, opening *o,
                      const rotor_websocket_handler *handler,
                      const rotor_websocket_connect_options *given, rotor_handle *handle)
{
    char text[300]; /* a name has at most 253 characters */
    rotor_connect_options options = {.seed = o,
                                     .release = on_seed_used,
                                     .timeout_ms = given->timeout_ms,
                                     .delay = given->delay,
                                     .keepalive_s = given->keepalive_s};
    snprintf(text, sizeof text, "%.*s:%u", (int)url->host.len, url->host.data, url->port);
    return rotor_connect(loop, given->address ? given->address : text, &handler->protocol, &options,
                         handle);
}

int rotor_websocket_connect(rotor_loop *loop, const char *url,
                            const rotor_websocket_handler *handler,
                            const rotor_websocket_connect_options *given, rotor_handle *handle)
{
    rotor_websocket_connect_options options = {0};
    rotor_http_ask ask;
    if (given)
        options = *given;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    int error = init_request(&ask, url);
    if (error)
        return error;
    opening *o = rotor_alloc_zero(sizeof *o);
    error = o ? compose(o, &ask, &options) : UV_ENOMEM;
    if (!error) {
        uint32_t timeout_ms = options.timeout_ms ? options.timeout_ms : TIMEOUT_MS;
        o->seed = (rotor_websocket_seed){.is_client = true, .seed = options.seed, .opening = o};
        o->release = options.release;
        o->deadline = rotor_loop_now(loop) + timeout_ms;
        error = connect_to(loop, &ask.url, o, handler, &options, handle);
    }
    rotor_http_ask_fini(&ask);
    if (error && o)
        free_opening(o);
    return error;
}
