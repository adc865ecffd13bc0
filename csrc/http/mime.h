/* Media types of files by the extension of their names. Pure. */
#ifndef ROTOR_HTTP_MIME_H
#define ROTOR_HTTP_MIME_H

#include <stddef.h>

/* An extension, in lower case and without its dot, and a value of Content-Type. */
typedef struct rotor_http_mime {
    const char *extension, *type;
} rotor_http_mime;

/* The extension of a name or path of `len` bytes: what follows the last dot of its last segment, which
** does not count when it is the first character (".profile"). Its length is put into `ext_len`; NULL,
** and 0, when there is none. */
const char *rotor_http_extension(const char *name, size_t len, size_t *ext_len);

/* The media type for that name, by IANA's registry, whatever the extension's case; NULL when it is not
** one of the common ones. Those that are text say that it is in UTF-8. Static. */
const char *rotor_http_mime_type(const char *name, size_t len);

#endif
