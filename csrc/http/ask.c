/* The request builder. */
#include "../core/alloc.h"
#include "../stream/address.h"
#include "ask.h"
#include "put.h"

static rotor_text text_of(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

int rotor_http_ask_init(rotor_http_ask *ask, rotor_text method, rotor_text url)
{
    *ask = (rotor_http_ask){.redirects = -1, .method_len = method.len};
    int error = rotor_http_is_token(method.data, method.len) ? 0 : ROTOR_HTTP_EMETHOD;
    if (!error)
        error = rotor_http_url_parse(&ask->url, url);
    if (!error) {
        ask->method = rotor_alloc(method.len + 3); /* it may become GET */
        error = ask->method ? 0 : UV_ENOMEM;
    }
    if (error)
        rotor_http_ask_fini(ask);
    else
        memcpy(ask->method, method.data, method.len);
    return error;
}

int rotor_http_ask_init_text(rotor_http_ask *ask, const char *method, const char *url)
{
    return rotor_http_ask_init(ask, text_of(method), text_of(url));
}

void rotor_http_ask_fini(rotor_http_ask *ask)
{
    rotor_http_url_fini(&ask->url);
    rotor_free(ask->method);
    rotor_free(ask->address);
    rotor_buf_fini(&ask->headers);
    rotor_buf_fini(&ask->body);
    *ask = (rotor_http_ask){0};
}

int rotor_http_ask_address(rotor_http_ask *ask, const char *address)
{
    rotor_address numeric;
    rotor_host host;
    int error = rotor_address_parse(address, &numeric, &host);
    if (error < 0)
        return error;
    size_t size = strlen(address) + 1;
    char *copy = rotor_alloc(size);
    if (!copy)
        return UV_ENOMEM;
    memcpy(copy, address, size);
    rotor_free(ask->address);
    ask->address = copy;
    return 0;
}

/* -- headers ----------------------------------------------------------------------------------- */

static int add_length(rotor_http_ask *ask, rotor_text value)
{
    uint64_t length;
    bool fits = rotor__parse_length(value, &length);
    if (!fits || ask->has_length)
        return ROTOR_EHEADER;
    if (ask->has_body && (!ask->streamed || ask->length != ROTOR_HTTP_NO_LENGTH))
        return ask->length == length ? 0 : ROTOR_EHEADER;
    ask->has_length = true;
    ask->length = length;
    return 0;
}

/* Fields that are remembered rather than kept as a line: 1, when this is one and was. */
static int add_known(rotor_http_ask *ask, rotor_text name, rotor_text value)
{
    int error = ROTOR_EHEADER;
    if (rotor__is_named(name, "content-length", 14)) {
        error = add_length(ask, value);
    } else if (rotor__is_named(name, "connection", 10)) {
        if (rotor__is_named(value, "close", 5))
            error = 0;
        ask->close |= !error;
    } else if (rotor__is_named(name, "expect", 6)) {
        if (rotor__is_named(value, "100-continue", 12))
            error = 0;
        ask->expect_continue |= !error;
    } else if (!rotor__is_named(name, "host", 4) &&
               !rotor__is_named(name, "transfer-encoding", 17)) {
        return 0;
    }
    return error ? error : 1;
}

int rotor_http_ask_add(rotor_http_ask *ask, rotor_text name, rotor_text value)
{
    if (value.len == 0)
        value.data = ""; /* for memcpy, which may not be given NULL */
    if (!rotor_http_is_token(name.data, name.len) || !rotor_http_is_value(value.data, value.len))
        return ROTOR_EHEADER;
    int known = add_known(ask, name, value);
    if (known)
        return known < 0 ? known : 0;

    bool is_agent = rotor__is_named(name, "user-agent", 10);
    if (!is_agent || value.len > 0) {
        size_t size = name.len + value.len + 4;
        char *p = rotor_buf_reserve(&ask->headers, size);
        if (!p)
            return UV_ENOMEM;
        p = rotor__put(p, name.data, name.len);
        p = ROTOR__PUT(p, ": ");
        p = rotor__put(p, value.data, value.len);
        ROTOR__PUT(p, "\r\n");
        rotor_buf_commit(&ask->headers, size);
    }
    ask->has_agent |= is_agent;
    ask->has_te |= rotor__is_named(name, "te", 2);
    ask->has_upgrade |= rotor__is_named(name, "upgrade", 7);
    return 0;
}

int rotor_http_ask_add_text(rotor_http_ask *ask, const char *name, const char *value)
{
    return rotor_http_ask_add(ask, text_of(name), text_of(value));
}

/* -- the body ---------------------------------------------------------------------------------- */

static bool may_have_body(const rotor_http_ask *ask)
{
    return !ask->has_body && !rotor__asks(ask, "TRACE") && !rotor__asks(ask, "CONNECT");
}

int rotor_http_ask_body(rotor_http_ask *ask, rotor_text body)
{
    if (!may_have_body(ask) || (ask->has_length && ask->length != body.len))
        return ROTOR_EBODY;
    int error = body.len > 0 ? rotor_buf_extend(&ask->body, body.data, body.len) : 0;
    if (error)
        return error;
    ask->has_body = true;
    ask->length = body.len;
    return 0;
}

int rotor_http_ask_stream(rotor_http_ask *ask, uint64_t length)
{
    if (!may_have_body(ask))
        return ROTOR_EBODY;
    if (ask->has_length && length != ROTOR_HTTP_NO_LENGTH && length != ask->length)
        return ROTOR_EBODY;
    if (!ask->has_length)
        ask->length = length;
    ask->has_body = ask->streamed = true;
    return 0;
}

/* -- as bytes ---------------------------------------------------------------------------------- */

static char *put_target(char *p, const rotor_http_ask *ask)
{
    const rotor_http_url *url = &ask->url;
    if (rotor__asks(ask, "CONNECT")) {
        p = rotor__put(p, url->host.data, url->host.len);
        *p++ = ':';
        return rotor__put_number(p, url->port);
    }
    if (ask->absolute)
        return rotor__put(p, url->text, strlen(url->text));
    if (!url->has_path && url->target.len == 1 && rotor__asks(ask, "OPTIONS"))
        return ROTOR__PUT(p, "*"); /* of the server, not of a resource (RFC 9112 section 3.2.4) */
    return rotor__put(p, url->target.data, url->target.len);
}

static char *put_connection(char *p, const rotor_http_ask *ask)
{
    if (!ask->close && !ask->has_te && !ask->has_upgrade)
        return p;
    p = ROTOR__PUT(p, "Connection: ");
    if (ask->close)
        p = ROTOR__PUT(p, "close, ");
    if (ask->has_te)
        p = ROTOR__PUT(p, "TE, ");
    if (ask->has_upgrade)
        p = ROTOR__PUT(p, "Upgrade, ");
    return ROTOR__PUT(p - 2, "\r\n");
}

/* Whether the method is one with which the lack of a body is worth mentioning (RFC 9110 section 8.6). */
static bool anticipates_body(const rotor_http_ask *ask)
{
    return rotor__asks(ask, "POST") || rotor__asks(ask, "PUT") || rotor__asks(ask, "PATCH");
}

static char *put_framing(char *p, const rotor_http_ask *ask)
{
    if (ask->has_body && ask->length == ROTOR_HTTP_NO_LENGTH)
        p = ROTOR__PUT(p, "Transfer-Encoding: chunked\r\n");
    else if (ask->has_body || ask->has_length || anticipates_body(ask)) {
        p = ROTOR__PUT(p, "Content-Length: ");
        p = rotor__put_number(p, ask->length);
        p = ROTOR__PUT(p, "\r\n");
    }
    if (ask->has_body && ask->expect_continue)
        p = ROTOR__PUT(p, "Expect: 100-continue\r\n");
    return p;
}

int rotor_http_ask_write(const rotor_http_ask *ask, rotor_buf *out)
{
    enum { OWN = 256 }; /* more than all that is not counted here can take */
    const rotor_http_url *url = &ask->url;
    const char *authority = url->host.data;
    size_t headers = rotor_buf_len(&ask->headers), text = strlen(url->text);
    if (ask->has_length && !ask->has_body && ask->length > 0)
        return ROTOR_EBODY;
    char *start = rotor_buf_reserve(out, ask->method_len + 2 * text + headers + OWN);
    if (!start)
        return UV_ENOMEM;
    char *p = rotor__put(start, ask->method, ask->method_len);
    *p++ = ' ';
    p = put_target(p, ask);
    p = ROTOR__PUT(p, " HTTP/1.1\r\nHost: ");
    p = rotor__put(p, authority, (size_t)(url->target.data - authority));
    p = ROTOR__PUT(p, "\r\n");
    if (headers > 0)
        p = rotor__put(p, rotor_buf_data(&ask->headers), headers);
    if (!ask->has_agent)
        p = ROTOR__PUT(p, "User-Agent: rotor\r\n");
    p = put_connection(p, ask);
    p = put_framing(p, ask);
    p = ROTOR__PUT(p, "\r\n");
    rotor_buf_commit(out, (size_t)(p - start));
    return 0;
}

bool rotor_http_ask_is_idempotent(const rotor_http_ask *ask)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (rotor__asks(ask, methods[i]))
            return true;
    return false;
}
