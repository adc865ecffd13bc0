/* A server of static files under test: a folder with files, and conversations about them. */
#ifndef ROTOR_TEST_FILES_SITE_H
#define ROTOR_TEST_FILES_SITE_H

#include "../http/files.h"
#include "folder.h"
#include "web.h"

typedef struct site {
    /* What the test sets before site_open(). */
    rotor_http_files_options options;
    const char *name; /* what the handler gives; NULL: the request's path counts */
    bool tries;       /* the handler tries, and answers 299 itself with the error's name */
    bool walks;       /* without openat2() */

    web web;
    folder folder; /* its "root" is served */
    rotor_http_files *files;
} site;

/* The handler: answers by `files` as the above says. */
rotor_response site_received(rotor_http *h, rotor_scope *scope);

/* Make the folder; put something into "root"; then open, with a client. */
void site_begin(site *s);
void site_open(site *s);
void site_close(site *s);

/* The answer to a request in the client's name, whose `fields` have each its CRLF (NULL: none): head and
** body. Static; valid until the next. */
const char *site_ask(site *s, const char *method, const char *path, const char *fields);
const char *site_get(site *s, const char *path, const char *fields);

/* Of an answer: its status; the value of a field, or NULL (one of the last four that were asked for); its
** body. */
int site_status(const char *answer);
const char *site_field(const char *answer, const char *name);
const char *site_body(const char *answer);

/* The answer to GET must have that status, and that body (NULL: any). */
void site_gives(site *s, const char *path, const char *fields, int status, const char *body);

/* The field must have that value; NULL: it must not be there. */
void site_has(const char *answer, const char *name, const char *expected);

/* Between site_begin() and site_open(): files of many kinds, in "root", and "secret" beside it, which says
** "outside". All three at once. */
void site_fill(site *s);
void site_open_filled(site *s);

#endif
