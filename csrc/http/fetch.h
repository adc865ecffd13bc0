/* Calls as futures: a whole response, or why there is none. */
#ifndef ROTOR_HTTP_FETCH_H
#define ROTOR_HTTP_FETCH_H

#include "../core/future.h"
#include "client.h"

/* A whole response; all of it is read-only. */
typedef struct rotor_http_answer {
    int status;
    int minor;         /* HTTP/1.minor: 0 or 1 */
    const char *url;   /* that was answered: of the last redirect */
    rotor_text reason; /* as sent; often empty */
    rotor_text body;   /* data NULL: none */
} rotor_http_answer;

/* Start a call (see rotor_http_client_call) whose response, of a body of at most `max` bytes (0:
** limits.body), is the future's value: a rotor_http_answer, to be freed by whoever takes it. It fails with
** what a requester's `failed` would be told; ROTOR_ECANCELED: somebody has ended the call. Dropping the
** future cancels the call. `ask` is taken over in any case.
** 0; UV_EINVAL: the body is streamed, for which there are requesters; or what rotor_http_client_call()
** returns; then `*future` is NULL. */
int rotor_http_fetch(rotor_http_client *client, rotor_http_ask *ask, uint64_t max,
                     rotor_future **future);

/* GET `url`: 0, or also what rotor_http_ask_init() returns. */
int rotor_http_get(rotor_http_client *client, const char *url, rotor_future **future);

/* The value of the first field named `name` (any case; `len` bytes); data NULL when there is none. */
rotor_text rotor_http_answer_header(const rotor_http_answer *a, const char *name, size_t len);

/* The i-th field, from 0, of the header or the trailer section; false when there are no more. */
bool rotor_http_answer_header_at(const rotor_http_answer *a, size_t i, rotor_text *name,
                                 rotor_text *value);
bool rotor_http_answer_trailer_at(const rotor_http_answer *a, size_t i, rotor_text *name,
                                  rotor_text *value);

/* Free it; NULL is fine. */
void rotor_http_answer_free(rotor_http_answer *a);

#endif
