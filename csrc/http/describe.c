/* What the connections of servers and clients wait for, in words, for those who dump a loop. */
#include <stdio.h>

#include "client_private.h"
#include "private.h"

enum { SHOWN = 80 }; /* bytes of a path */

void rotor_http__describe(const rotor_stream *s, char *text, size_t size)
{
    static const char *const words[] = {
        [HTTP__HEAD] = "a request",
        [HTTP__CLOSING] = "its output to be sent",
        [HTTP__BODY] = "the body of a request",
        [HTTP__CALLING] = "the handler",
        [HTTP__WAITING] = "the handler",
        [HTTP__SENDING] = "its answer to be sent",
    };
    const rotor_http *h = (const rotor_http *)s;
    bool begun = h->state == HTTP__HEAD && h->head_begun;
    int n = snprintf(text, size, "%s", begun ? "the rest of a request's head" : words[h->state]);
    if (!rotor_http__is_handled(h) || n < 0 || (size_t)n >= size)
        return;
    /* Without its query, in which there may be what is not for everybody. */
    rotor_text method = rotor_http_method(h), path = rotor_http_path(h);
    snprintf(text + n, size - (size_t)n, " (%.*s %.*s)", (int)method.len, method.data,
             path.len < SHOWN ? (int)path.len : SHOWN, path.data);
}

void rotor_http__conn_describe(const rotor_stream *s, char *text, size_t size)
{
    static const char *const words[] = {
        [CONN__CONNECTING] = "its connection", [CONN__IDLE] = "a request to send",
        [CONN__HEAD] = "a response",           [CONN__BODY] = "the body of a response",
        [CONN__PASSING] = "being handed over", [CONN__CLOSED] = "its end",
    };
    snprintf(text, size, "%s", words[((const rotor_http__conn *)s)->state]);
}
