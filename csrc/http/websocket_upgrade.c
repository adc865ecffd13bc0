/* The server's side of the handshake (RFC 6455 section 4.2): a request is judged, and answered. */
#include <stdio.h>

#include "websocket_private.h"

/* -- lists ------------------------------------------------------------------------------------- */

/* The next field named `name`, from the `*i`-th on; false: there are no more. */
static bool next_field(const rotor_http *h, const char *name, size_t *i, rotor_text *value)
{
    rotor_text other;
    while (rotor_http_header_at(h, (*i)++, &other, value))
        if (rotor__is_named(other, name, strlen(name)))
            return true;
    return false;
}

/* Whether the lists in all fields of that name have `word`, in any case. */
static bool lists(const rotor_http *h, const char *name, const char *word)
{
    rotor_text list, item;
    for (size_t i = 0; next_field(h, name, &i, &list);)
        while (rotor__next_item(&list, &item))
            if (rotor__is_named(item, word, strlen(word)))
                return true;
    return false;
}

/* The value of the only field of that name; data NULL: there is none, or there are several. */
static rotor_text only(const rotor_http *h, const char *name)
{
    rotor_text value, other;
    size_t i = 0;
    if (!next_field(h, name, &i, &value) || next_field(h, name, &i, &other))
        return (rotor_text){NULL, 0};
    return value;
}

/* -- the judgement ----------------------------------------------------------------------------- */

typedef struct verdict {
    int status; /* 0: it is accepted */
    int error;
    const char *why;
} verdict;

static bool equals(rotor_text text, const char *other)
{
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

static verdict judge_handshake(const rotor_http *h)
{
    rotor_text version = only(h, "sec-websocket-version");
    rotor_text key = only(h, "sec-websocket-key");
    const int error = ROTOR_WEBSOCKET_EHANDSHAKE;
    if (!rotor_websocket_is_asked(h))
        return (verdict){426, error, "this is for WebSockets"};
    if (!equals(rotor_http_method(h), "GET"))
        return (verdict){405, error, "a WebSocket begins with a GET"};
    if (rotor_http_has_body(h))
        return (verdict){400, error, "a WebSocket begins without a body"};
    if (!version.data || !equals(version, "13"))
        return (verdict){426, error, "the version of WebSockets is 13"};
    if (!key.data || !rotor_websocket_is_key(key.data, key.len))
        return (verdict){400, error, "Sec-WebSocket-Key is not 16 bytes in base64"};
    return (verdict){0};
}

/* Behind "https://", say. */
static rotor_text authority_of(rotor_text origin)
{
    const char *p = origin.len > 0 ? memmem(origin.data, origin.len, "://", 3) : NULL;
    size_t scheme = p ? (size_t)(p - origin.data) + 3 : origin.len;
    return (rotor_text){origin.data + scheme, origin.len - scheme};
}

/* A browser says on behalf of which site it asks, and sends the cookies of ours along. */
static bool is_origin_fine(const rotor_http *h, const char *const *origins)
{
    rotor_text host = only(h, "host"), origin;
    size_t i = 0;
    if (!next_field(h, "origin", &i, &origin))
        return true;
    if (!origins) {
        rotor_text authority = authority_of(origin);
        return host.len > 0 && authority.len == host.len &&
               rotor_http_name_equal(authority.data, host.data, host.len);
    }
    for (; *origins; origins++)
        if (strcmp(*origins, "*") == 0 || rotor__is_named(origin, *origins, strlen(*origins)))
            return true;
    return false;
}

/* The first of ours that the client has asked for, or NULL. */
static const char *choose(const rotor_http *h, const char *const *protocols)
{
    rotor_text list, item;
    for (; protocols && *protocols; protocols++)
        for (size_t i = 0; next_field(h, "sec-websocket-protocol", &i, &list);)
            while (rotor__next_item(&list, &item))
                if (equals(item, *protocols))
                    return *protocols;
    return NULL;
}

static bool are_protocols_valid(const rotor_http *h)
{
    rotor_text list, item;
    for (size_t i = 0; next_field(h, "sec-websocket-protocol", &i, &list);)
        while (rotor__next_item(&list, &item))
            if (!rotor_http_is_token(item.data, item.len))
                return false;
    return true;
}

static verdict judge(const rotor_http *h, const rotor_websocket_options *options)
{
    verdict v = judge_handshake(h);
    if (v.status)
        return v;
    if (!are_protocols_valid(h))
        return (verdict){400, ROTOR_WEBSOCKET_EHANDSHAKE,
                         "Sec-WebSocket-Protocol is not a list of tokens"};
    if (!is_origin_fine(h, options->origins))
        return (verdict){403, ROTOR_WEBSOCKET_EORIGIN, "not for pages of that origin"};
    return (verdict){0};
}

/* -- the answer -------------------------------------------------------------------------------- */

/* 0 or an error: then the request was not answered. */
static int refuse(rotor_http *h, const verdict *v)
{
    char text[128];
    int len =
        snprintf(text, sizeof text, "%d %s: %s\n", v->status, rotor_http_reason(v->status), v->why);
    int error = rotor_http_add_text(h, "Content-Type", "text/plain");
    if (!error && v->status == 405)
        error = rotor_http_add_text(h, "Allow", "GET");
    if (!error && v->status == 426)
        error = rotor_http_add_text(h, "Upgrade", "websocket");
    if (!error && v->status == 426)
        error = rotor_http_add_text(h, "Sec-WebSocket-Version", "13");
    return error ? error : rotor_http_send(h, v->status, (rotor_text){text, (size_t)len});
}

static int add_headers(rotor_http *h, const char *protocol)
{
    char accept[ROTOR_WEBSOCKET_ACCEPT];
    rotor_websocket_accept(accept, only(h, "sec-websocket-key").data);
    int error = rotor_http_add_text(h, "Upgrade", "websocket");
    if (!error)
        error = rotor_http_add(h, (rotor_text){"Sec-WebSocket-Accept", 20},
                               (rotor_text){accept, sizeof accept});
    if (!error && protocol)
        error = rotor_http_add_text(h, "Sec-WebSocket-Protocol", protocol);
    return error;
}

/* What the WebSocket is created from. */
typedef struct passed {
    rotor_websocket_seed seed;
    void (*release)(void *seed);
    char subprotocol[];
} passed;

static void free_passed(void *data)
{
    passed *p = data;
    if (p->release)
        p->release(p->seed.seed);
    rotor_free(p);
}

static int accept_it(rotor_http *h, const rotor_websocket_handler *handler,
                     const rotor_websocket_options *options)
{
    const char *protocol = choose(h, options->protocols);
    size_t size = protocol ? strlen(protocol) + 1 : 0;
    passed *p = rotor_alloc_zero(sizeof *p + size);
    if (!p)
        return UV_ENOMEM;
    p->seed.seed = options->seed;
    p->release = options->release;
    if (protocol)
        p->seed.subprotocol = memcpy(p->subprotocol, protocol, size);
    int error = add_headers(h, protocol);
    if (!error)
        error = rotor_http_upgrade(h, 101, &handler->protocol, p, free_passed);
    if (error)
        rotor_free(p);
    return error;
}

int rotor_websocket_upgrade(rotor_http *h, const rotor_websocket_handler *handler,
                            const rotor_websocket_options *given)
{
    rotor_websocket_options options = {0};
    if (given)
        options = *given;
    if (rotor_http_is_started(h))
        return ROTOR_ESTATE;
    verdict v = judge(h, &options);
    if (!v.status)
        return accept_it(h, handler, &options);
    int error = refuse(h, &v);
    return error ? error : v.error;
}

bool rotor_websocket_is_asked(const rotor_http *h)
{
    return rotor_http_minor(h) > 0 && lists(h, "upgrade", "websocket") &&
           lists(h, "connection", "upgrade");
}
