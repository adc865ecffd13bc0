/* What the parts of serving files share: names out of paths, and opening what they name. */
#ifndef ROTOR_HTTP_FILES_PRIVATE_H
#define ROTOR_HTTP_FILES_PRIVATE_H

#include <sys/types.h>

#include "message.h"

/* No path is longer for the system, its NUL included (PATH_MAX of Linux). */
enum { ROTOR__NAME_SIZE = 4096 };

/* The rules for a name: */
enum {
    ROTOR__NAME_ENCODED = 1, /* it is a path of a URL: begins with '/', is percent-encoded */
    ROTOR__NAME_DOTS = 2     /* its segments may begin with a dot */
};

/* The file name that `path` stands for, without a slash in front and with a NUL behind: "" for "/", and
** with a slash behind if `path` has one. Its length; or UV_ENAMETOOLONG; or UV_ENOENT for what is to name
** nothing: an empty segment, "." or "..", a control character, an escaped slash, '%' without two
** digits; a segment that begins with a dot, unless that is allowed, or it is the first and ".well-known"
** (RFC 8615). Other bytes stand for themselves. Pure. */
ssize_t rotor__file_name(char name[ROTOR__NAME_SIZE], rotor_text path, int rules);

/* How a file is to be opened: */
enum {
    ROTOR__OPEN_LINKS = 1, /* symbolic links are followed as long as they stay beneath the root */
    ROTOR__OPEN_WALK = 2   /* without openat2(), folder by folder */
};

/* Open `name` for reading, as a descriptor that does not block; `name` is not empty. It is opened only
** if it is beneath the folder `root` at all times of the look-up, whatever is renamed meanwhile: never
** by a link that is absolute or leaves it. A descriptor, of anything that can be opened; or a negative
** code of libuv: UV_ELOOP for a link that is not to be followed, UV_EXDEV for one that leads away. */
int rotor__open_beneath(int root, const char *name, int how);

/* How to: with ROTOR__OPEN_WALK where openat2() is missing, as in kernels before 5.6 and in containers that
** forbid what they do not know. */
int rotor__open_how(int root, bool links);

#endif
