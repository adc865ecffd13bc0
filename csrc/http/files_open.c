/* Names of files out of paths of URLs, and opening them beneath a folder. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <uv.h>

#include "files_private.h"
#include "scan.h"

/* -- names ------------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* The byte at `*p`, escaped or not, or -1 for one that no name may have. */
static int read_byte(const char **p, const char *end, bool encoded)
{
    unsigned char c = (unsigned char)*(*p)++;
    if (c == '%' && encoded) {
        if (end - *p < 2 || !rotor__is((*p)[0], ROTOR__HEX) || !rotor__is((*p)[1], ROTOR__HEX))
            return -1;
        c = (unsigned char)(hex((*p)[0]) << 4 | hex((*p)[1]));
        *p += 2;
        if (c == '/')
            return -1;
    }
    return c < 0x20 || c == 0x7f ? -1 : c;
}

static bool is_allowed(const char *segment, size_t len, bool first, int rules)
{
    if (len == 0 || segment[0] != '.')
        return len > 0;
    if (len == 1 || (len == 2 && segment[1] == '.'))
        return false;
    return (rules & ROTOR__NAME_DOTS) ||
           (first && len == 11 && memcmp(segment, ".well-known", 11) == 0);
}

ssize_t rotor__file_name(char name[ROTOR__NAME_SIZE], rotor_text path, int rules)
{
    bool encoded = rules & ROTOR__NAME_ENCODED;
    const char *p = path.data, *end = p + path.len;
    size_t len = 0, segment = 0;
    if (p < end && *p == '/')
        p++;
    else if (encoded)
        return UV_ENOENT;
    while (p < end) {
        bool is_slash = *p == '/';
        int c = read_byte(&p, end, encoded);
        if (c < 0 || (is_slash && !is_allowed(name + segment, len - segment, segment == 0, rules)))
            return UV_ENOENT;
        if (len + 1 == ROTOR__NAME_SIZE)
            return UV_ENAMETOOLONG;
        name[len++] = (char)c;
        if (is_slash)
            segment = len;
    }
    if (segment < len && !is_allowed(name + segment, len - segment, segment == 0, rules))
        return UV_ENOENT;
    name[len] = '\0';
    return (ssize_t)len;
}

/* -- opening at once --------------------------------------------------------------------------- */

/* As <linux/openat2.h> has it, which older systems lack. */
struct how {
    uint64_t flags, mode, resolve;
};
enum { NO_MAGICLINKS = 0x02, NO_SYMLINKS = 0x04, BENEATH = 0x08 };

enum {
    AS_FILE = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
    AS_FOLDER = O_PATH | O_DIRECTORY | O_CLOEXEC,
    TRIES = 32
};

static int open_at_once(int root, const char *name, int flags, bool links)
{
#ifdef SYS_openat2
    struct how how = {.flags = (uint64_t)flags,
                      .resolve = BENEATH | NO_MAGICLINKS | (links ? 0u : NO_SYMLINKS)};
    /* EAGAIN: something was renamed just while ".." in a link was being resolved. */
    for (int tries = 0; tries < TRIES; tries++) {
        long fd = syscall(SYS_openat2, root, name, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
            return fd >= 0 ? (int)fd : -errno;
    }
    return -EAGAIN;
#else
    return -ENOSYS;
#endif
}

int rotor__open_how(int root, bool links)
{
    int how = links ? ROTOR__OPEN_LINKS : 0;
    int fd = open_at_once(root, ".", AS_FOLDER, links);
    if (fd < 0)
        return how | ROTOR__OPEN_WALK;
    close(fd);
    return how;
}

/* -- opening folder by folder ------------------------------------------------------------------ */

/* A look-up. No link is ever followed by the system: what one says takes its place in `rest`. So all
** that `done` names are true folders, and ".." is the one before. */
typedef struct walk {
    int root;
    int at; /* the folder that `done` names: `root`, or one of our own; -1: not open */
    bool links;
    int followed;
    size_t done_len;
    char done[ROTOR__NAME_SIZE], rest[ROTOR__NAME_SIZE]; /* each segment of `done` with a slash */
} walk;

enum { LINKS = 40 }; /* as many as Linux follows */

static int open_in(int folder, const char *name, int flags)
{
    int fd;
    do
        fd = openat(folder, name, flags | O_NOFOLLOW);
    while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

static void move_to(walk *w, int folder)
{
    if (w->at >= 0 && w->at != w->root)
        close(w->at);
    w->at = folder;
}

/* Open the folder that `done` names, if we have gone up to it. 0 or an error. */
static int be_here(walk *w)
{
    if (w->at >= 0)
        return 0;
    w->at = w->root;
    char *p = w->done, *slash;
    while ((slash = memchr(p, '/', (size_t)(w->done + w->done_len - p)))) {
        *slash = '\0';
        int fd = open_in(w->at, p, AS_FOLDER);
        *slash = '/';
        move_to(w, fd);
        if (fd < 0)
            return fd;
        p = slash + 1;
    }
    return 0;
}

static int go_up(walk *w)
{
    if (w->done_len == 0)
        return -EXDEV;
    do
        w->done_len--;
    while (w->done_len > 0 && w->done[w->done_len - 1] != '/');
    move_to(w, -1);
    return 0;
}

static int go_down(walk *w, const char *segment, int folder)
{
    size_t len = strlen(segment);
    move_to(w, folder);
    if (w->done_len + len + 1 > sizeof w->done)
        return -ENAMETOOLONG;
    memcpy(w->done + w->done_len, segment, len);
    w->done[w->done_len + len] = '/';
    w->done_len += len + 1;
    return 0;
}

/* `segment` could not be opened, with `error`; perhaps as it is a link. Then what it says goes in front of
** the rest, from which a slash divides it unless the segment was the last. 0 or an error. */
static int follow(walk *w, const char *segment, bool last, int error)
{
    char link[ROTOR__NAME_SIZE];
    ssize_t len = w->links ? readlinkat(w->at, segment, link, sizeof link - 1) : -1;
    if (len < 0)
        return error;
    if (len == 0 || link[0] == '/')
        return -EXDEV;
    if (w->followed++ == LINKS)
        return -ELOOP;
    if (!last)
        link[len++] = '/';
    size_t rest_size = strlen(w->rest) + 1;
    if ((size_t)len + rest_size > sizeof w->rest)
        return -ENAMETOOLONG;
    memmove(w->rest + len, w->rest, rest_size);
    memcpy(w->rest, link, (size_t)len);
    return 0;
}

/* Take the first segment off the rest. 0, with `*fd` set if that was the last; or an error. */
static int step(walk *w, int *fd)
{
    char segment[ROTOR__NAME_SIZE];
    size_t len = strcspn(w->rest, "/");
    bool last = w->rest[len] == '\0'; /* a slash behind it has only a folder */
    const char *behind = w->rest + len + !last;
    memcpy(segment, w->rest, len);
    segment[len] = '\0';
    memmove(w->rest, behind, strlen(behind) + 1);
    if (len == 0 || strcmp(segment, ".") == 0)
        return 0;
    if (strcmp(segment, "..") == 0)
        return go_up(w);
    int error = be_here(w);
    if (error)
        return error;
    int got = open_in(w->at, segment, last ? AS_FILE : AS_FOLDER);
    if (got < 0)
        return follow(w, segment, last, got);
    if (!last)
        return go_down(w, segment, got);
    *fd = got;
    return 0;
}

static int open_by_walking(int root, const char *name, bool links)
{
    walk w = {.root = root, .at = root, .links = links};
    int fd = -1, error = name[0] == '/' ? -EXDEV : 0;
    size_t size = strlen(name) + 1;
    if (size > sizeof w.rest)
        error = -ENAMETOOLONG;
    if (!error)
        memcpy(w.rest, name, size);
    while (!error && fd < 0 && w.rest[0])
        error = step(&w, &fd);
    if (!error && fd < 0) { /* a link to a folder, by way of ".." or with a slash behind */
        error = be_here(&w);
        fd = error ? -1 : open_in(w.at, ".", AS_FILE);
    }
    move_to(&w, -1);
    return error ? error : fd;
}

int rotor__open_beneath(int root, const char *name, int how)
{
    bool links = how & ROTOR__OPEN_LINKS;
    return how & ROTOR__OPEN_WALK ? open_by_walking(root, name, links)
                                  : open_at_once(root, name, AS_FILE, links);
}
