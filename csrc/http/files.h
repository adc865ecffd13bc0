/* Static files: a folder, served. Called from a handler's request_received, for all requests or for some:
**
**     static rotor_response received(rotor_http *h, rotor_scope *scope)
**     {
**         return rotor_http_files_send(rotor_http_context(h), h, scope, NULL);
**     }
**
** GET and HEAD are answered with a file, or 206, 304, 412 and 416 as they ask (see conditions.h); a folder
** without its slash with 301, other methods with 405. What is answered otherwise:
**
**     404    nothing of that name is there to be served: also what is neither a file nor a folder with
**            an index; whose name begins with a dot (but "/.well-known/"); which is reached by a link,
**            unless links are allowed and do not leave the root; and every path that is not plain:
**            "." and ".." as a segment, however they are written, an empty segment, an escaped slash,
**            NUL or another control character
**     403    it may not be read
**     503    no descriptor or memory is left, or the file is shorter than it was a moment ago
**     500    it cannot be read; the connection is closed, and why is told to on_error
** all of them by the handler's error_page, if it has one.
**
** No more than one file is opened for a request (a few more, if there may be compressed ones), never by a
** path that could lead out of the root, whatever is renamed meanwhile. Files up to 16 KiB are read at once,
** and leave in one write with their head. Larger ones are sent piece by piece, by sendfile() where the
** transport is a socket, and keep a descriptor until then, for which `listen.connections` has to leave
** room. When such a file becomes shorter, the connection is closed before the end that was announced.
** Reading blocks the loop's thread as long as the disk takes, as in nginx by default: files that are not
** in the system's memory are better served by a loop of their own.
**
** The ETag is strong: it is made of the file's size, its time of modification in nanoseconds and its inode.
** So it changes when a file is replaced by another of the same size and time, as reproducible builds
** make them, and when one is written in place; only not by two writes within one tick of the file
** system's clock that leave the size as it was. Other machines make other tags of copies. */
#ifndef ROTOR_HTTP_FILES_H
#define ROTOR_HTTP_FILES_H

#include "mime.h"
#include "server.h"

/* A folder that is served; any number of servers and threads may use it. */
typedef struct rotor_http_files rotor_http_files;

typedef struct rotor_http_files_options {
    /* What paths of requests begin with, as in "/static": the rest is beneath the root, and other paths
    ** are not found. Not percent-encoded. NULL: all paths are. */
    const char *prefix;
    const char *index; /* the file that stands for its folder; NULL: "index.html"; "": none */
    const char *cache_control;    /* the value of Cache-Control; NULL: none is sent */
    const char *default_type;     /* for unknown extensions; NULL: "application/octet-stream" */
    const rotor_http_mime *types; /* before those of mime.h; ends with {NULL, NULL}; NULL: none */
    bool symlinks; /* follow symbolic links that are relative and stay beneath the root */
    bool dotfiles; /* serve names that begin with a dot, too */
    /* Send "x.br", "x.zst" or "x.gz" in place of "x" to who accepts that, if it is there and not older. */
    bool precompressed;
} rotor_http_files_options;

/* Open the folder `root`; it stays that one, wherever it is moved. `options` NULL: all defaults; they are
** copied. 0; UV_ENOENT, UV_ENOTDIR or what else keeps it from being opened; ROTOR_EHEADER when a type or
** `cache_control` is no header value; UV_EINVAL for a prefix without a slash in front, an index with
** one in it, an extension that is empty or has a dot or a slash; UV_ENOMEM. */
int rotor_http_files_new(rotor_http_files **files, const char *root,
                         const rotor_http_files_options *options);

/* Answers under way are not affected. NULL does nothing. */
void rotor_http_files_free(rotor_http_files *files);

/* Answer the request with the file that its path names; or `name`, unless it is NULL: a path beneath the
** root, not percent-encoded, for which the same rules hold. Header fields added before are sent, too;
** these are the files' own: Content-Type, Content-Encoding, Last-Modified, ETag, Accept-Ranges,
** Cache-Control, Vary, Content-Range, Location. Returns what the handler is to return. */
rotor_response rotor_http_files_send(const rotor_http_files *files, rotor_http *h,
                                     rotor_scope *scope, const char *name);

/* The same, but leave the request to be answered otherwise, its header fields as they were, when there is
** nothing to answer with. 0: it was answered. Or the error that stands for a status above. */
int rotor_http_files_try(const rotor_http_files *files, rotor_http *h, const char *name);

/* That status: 404, for UV_ENOENT and others; 403; 405, for ROTOR_HTTP_EREADONLY; 503; or 500. */
int rotor_http_files_status(int error);

#endif
