/* What becomes of a request that is redirected (RFC 9110 section 15.4). */
#include "../core/alloc.h"
#include "ask.h"
#include "put.h"

bool rotor_http_is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool is_one_of(rotor_text name, const char *const *names)
{
    for (; *names; names++)
        if (rotor__is_named(name, *names, strlen(*names)))
            return true;
    return false;
}

static void remove_headers(rotor_buf *headers, const char *const *names)
{
    size_t at = 0;
    while (at < rotor_buf_len(headers)) {
        /* Whole lines, as the builder has written them. */
        const char *line = rotor_buf_data(headers) + at;
        size_t rest = rotor_buf_len(headers) - at;
        const char *colon = memchr(line, ':', rest), *end = memchr(line, '\n', rest);
        size_t len = (size_t)(end - line) + 1;
        if (is_one_of((rotor_text){line, (size_t)(colon - line)}, names))
            rotor_buf_remove_range(headers, at, at + len);
        else
            at += len;
    }
}

static bool becomes_get(const rotor_http_ask *ask, int status)
{
    if (status == 303)
        return !rotor__asks(ask, "HEAD");
    return (status == 301 || status == 302) && rotor__asks(ask, "POST");
}

static void become_get(rotor_http_ask *ask)
{
    static const char *const of_the_body[] = {"content-encoding",
                                              "content-language",
                                              "content-location",
                                              "content-type",
                                              "digest",
                                              "content-digest",
                                              "repr-digest",
                                              "content-range",
                                              "trailer",
                                              "last-modified",
                                              NULL};
    memcpy(ask->method, "GET", 3);
    ask->method_len = 3;
    rotor_buf_fini(&ask->body);
    ask->has_body = ask->streamed = ask->has_length = ask->expect_continue = false;
    ask->length = 0;
    remove_headers(&ask->headers, of_the_body);
}

static void leave_origin(rotor_http_ask *ask)
{
    static const char *const credentials[] = {"authorization", "cookie", "proxy-authorization",
                                              NULL};
    remove_headers(&ask->headers, credentials);
    rotor_free(ask->address);
    ask->address = NULL;
}

int rotor_http_ask_redirect(rotor_http_ask *ask, int status, rotor_text location, bool sent)
{
    rotor_http_url url = {0};
    bool get = becomes_get(ask, status);
    if (sent && !get && ask->streamed)
        return ROTOR_HTTP_EREPLAY;
    int error = rotor_http_url_resolve(&url, &ask->url, location);
    if (error)
        return error;
    if (!rotor_http_url_same_origin(&url, &ask->url))
        leave_origin(ask);
    if (get)
        become_get(ask);
    rotor_http_url_fini(&ask->url);
    ask->url = url;
    return 0;
}
