/* What the parts of serving files share: names out of paths, and opening what they name. */
#ifndef ROTOR_HTTP_FILES_PRIVATE_H
#define ROTOR_HTTP_FILES_PRIVATE_H

#include <sys/types.h>

#include "files.h"

struct rotor_http_files {
    int root;
    int how;   /* to open names beneath it */
    int rules; /* for names */
    bool precompressed;
    size_t prefix_len;
    const char *prefix; /* with a slash behind and none in front, or "" */
    const char *index, *cache_control, *default_type;
    const rotor_http_mime *types;
};

/* -- names (files_open.c) ---------------------------------------------------------------------- */

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

/* -- opening (files_open.c) -------------------------------------------------------------------- */

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

/* -- content codings (files_encoding.c) -------------------------------------------------------- */

/* A content coding that files may be there in, and what their names have behind them then. */
typedef struct rotor__coding {
    const char *name, *suffix;
} rotor__coding;

enum { ROTOR__CODINGS = 3 };
extern const rotor__coding rotor__codings[ROTOR__CODINGS]; /* the best first */

/* What a client accepts: weights in thousandths, -1 for what it has said nothing of. */
typedef struct rotor__accepted {
    int weight[ROTOR__CODINGS], identity, any;
} rotor__accepted;

#define ROTOR__ACCEPTED_INIT                                                                       \
    {                                                                                              \
        {-1, -1, -1}, -1, -1                                                                       \
    }

/* Take notice of one Accept-Encoding. What is malformed in it is passed over. Pure. */
void rotor__accept_encoding(rotor__accepted *a, rotor_text value);

/* The coding that the client likes best, and as much as no coding at least; each is told once. -1: no
** more. */
int rotor__best_coding(rotor__accepted *a);

#endif
