/* Opening what a listener listens on: for each address of a list, a socket of our own or one that was
** inherited. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/private.h"
#include "address.h"
#include "private.h"

enum { DEFAULT_BACKLOG = 1024, FIRST_PASSED = 3 };

typedef struct opening {
    rotor__listenings *set;
    rotor_loop *loop;
    const rotor_listen_options *options;
    const char *asked;
} opening;

/* Room for one more, so that no socket is opened that could not be noted. */
static int reserve(rotor__listenings *set)
{
    rotor__listening *all = rotor_realloc(set->all, (set->n + 1) * sizeof *all);
    if (!all)
        return UV_ENOMEM;
    set->all = all;
    return 0;
}

/* -- sockets of our own ------------------------------------------------------------------------ */

static bool has_file(const rotor_address *address)
{
    return address->any.sa_family == AF_UNIX &&
           address->len > offsetof(struct sockaddr_un, sun_path) && address->un.sun_path[0];
}

/* Remove the file in the way of `address` if it is a socket that nobody listens on. It is looked at
** twice, since somebody else may have found it so and be listening by now. */
static bool remove_stale(const rotor_address *address, int type)
{
    struct stat before, after;
    const char *path = address->un.sun_path;
    if (!has_file(address) || lstat(path, &before) || !S_ISSOCK(before.st_mode))
        return false;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, &address->any, address->len) && errno == ECONNREFUSED;
    close(fd);
    return refused && !lstat(path, &after) && before.st_dev == after.st_dev &&
           before.st_ino == after.st_ino && !unlink(path);
}

int rotor__bind(int fd, const rotor_address *address, int type)
{
    if (!bind(fd, &address->any, address->len))
        return 0;
    int error = -errno;
    if (error != UV_EADDRINUSE || !remove_stale(address, type))
        return error;
    return bind(fd, &address->any, address->len) ? -errno : 0;
}

/* Connections inherit these, which saves calls for each (Linux, BSD). */
static int set_for_connections(int fd, int family, const rotor_listen_options *options)
{
    int on = 1, idle = (int)options->keepalive_s;
    if (family != AF_INET && family != AF_INET6)
        return 0;
    if ((!options->delay && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) ||
        (idle && setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on)) ||
        (idle && setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle)))
        return -errno;
    return 0;
}

static int set_before_bind(int fd, int family, const rotor_listen_options *options)
{
    int on = 1, ipv6_only = options->ipv6_only;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) ||
        (family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, sizeof ipv6_only)))
        return -errno;
    return 0;
}

/* False when it has no file. */
static bool file_of(int fd, rotor_address *address, struct stat *info)
{
    address->len = sizeof address->storage;
    return !getsockname(fd, &address->any, &address->len) && has_file(address) &&
           !lstat(address->un.sun_path, info);
}

void rotor__file_find(int fd, dev_t *device, ino_t *inode)
{
    rotor_address address;
    struct stat info;
    bool found = file_of(fd, &address, &info);
    *device = found ? info.st_dev : 0;
    *inode = found ? info.st_ino : 0;
}

void rotor__file_remove(int fd, dev_t device, ino_t inode)
{
    rotor_address address;
    struct stat info;
    /* As long as the socket is open, no other file gets its inode, and nobody takes it for stale. */
    if (inode && file_of(fd, &address, &info) && info.st_dev == device && info.st_ino == inode)
        unlink(address.un.sun_path);
}

/* 0 or UV_ENOMEM: then the file is gone. */
static int note_file(rotor__listening *l)
{
    dev_t device;
    ino_t inode;
    rotor__file_find(l->fd, &device, &inode);
    if (!inode)
        return 0;
    l->file = rotor_alloc(sizeof *l->file);
    if (!l->file) {
        rotor__file_remove(l->fd, device, inode);
        return UV_ENOMEM;
    }
    l->file->device = device;
    l->file->inode = inode;
    atomic_init(&l->file->users, 1);
    return 0;
}

static int open_address(const opening *o, const rotor_address *address)
{
    int family = address->any.sa_family;
    rotor__listening l = {.asked = o->asked};
    int error = reserve(o->set);
    if (error)
        return error;
    l.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l.fd < 0)
        return -errno;
    error = set_before_bind(l.fd, family, o->options);
    if (!error)
        error = set_for_connections(l.fd, family, o->options);
    if (!error)
        error = rotor__bind(l.fd, address, SOCK_STREAM);
    if (!error)
        error = note_file(&l);
    if (!error && listen(l.fd, o->options->backlog ? o->options->backlog : DEFAULT_BACKLOG))
        error = -errno;
    if (error)
        rotor__listening_close(&l);
    else
        o->set->all[o->set->n++] = l;
    return error;
}

/* The first of the name's addresses that can be listened on. */
static int open_name(const opening *o, const rotor_host *host)
{
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int error = uv_getaddrinfo(o->loop->uv, &request, NULL, host->name, host->port, &hints);
    if (error)
        return error;
    error = UV_EAI_NODATA;
    for (const struct addrinfo *info = request.addrinfo; info && error; info = info->ai_next) {
        rotor_address address = {.len = info->ai_addrlen};
        memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
        error = open_address(o, &address);
    }
    uv_freeaddrinfo(request.addrinfo);
    return error;
}

void rotor__listening_close(const rotor__listening *l)
{
    if (l->file && atomic_fetch_sub(&l->file->users, 1) == 1) {
        rotor__file_remove(l->fd, l->file->device, l->file->inode);
        rotor_free(l->file);
    }
    close(l->fd);
}

/* -- inherited ones ---------------------------------------------------------------------------- */

static int open_descriptor(const opening *o, int fd)
{
    int listens = 0, type = 0, family = 0;
    socklen_t len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len))
        return errno == EBADF ? UV_EBADF : ROTOR_ELISTENING;
    if (!listens || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
        return ROTOR_ELISTENING;
    for (size_t i = 0; i < o->set->n; i++)
        if (o->set->all[i].fd == fd)
            return ROTOR_ETAKEN;
    int error = reserve(o->set);
    if (!error)
        error = set_for_connections(fd, family, o->options);
    if (error)
        return error;
    if (o->options->backlog && listen(fd, o->options->backlog))
        return -errno;
    o->set->all[o->set->n++] = (rotor__listening){.fd = fd, .inherited = true, .asked = o->asked};
    return 0;
}

void rotor__listening_take(const rotor__listening *l)
{
    if (l->inherited) /* rotor_io_open() has made it non-blocking */
        (void)fcntl(l->fd, F_SETFD, FD_CLOEXEC);
}

/* Digits, and nothing else; -1: not so, or too many. */
static long number(const char *text)
{
    size_t len = text ? strspn(text, "0123456789") : 0;
    return len > 0 && len < 10 && !text[len] ? atol(text) : -1;
}

/* The first of the names, which it takes off. */
static bool next_name_is(const char **names, const char *name)
{
    size_t len = strcspn(*names, ":");
    bool same = strlen(name) == len && memcmp(*names, name, len) == 0;
    *names = (*names)[len] ? *names + len + 1 : NULL;
    return same;
}

/* sd_listen_fds(3). `name` NULL: all that were passed. */
static int open_passed(const opening *o, const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    long n = number(getenv("LISTEN_PID")) == (long)getpid() ? number(getenv("LISTEN_FDS")) : -1;
    if (n <= 0)
        return ROTOR_EINHERIT;
    int error = name ? ROTOR_EFDNAME : 0;
    for (int fd = FIRST_PASSED; fd < FIRST_PASSED + n && (!name || names); fd++) {
        if (name && !next_name_is(&names, name))
            continue;
        int flags = fcntl(fd, F_GETFD);
        error = flags < 0 || flags & FD_CLOEXEC ? ROTOR_ETAKEN : open_descriptor(o, fd);
        if (error)
            break;
    }
    return error;
}

/* -- lists ------------------------------------------------------------------------------------- */

static int open_one(const opening *o, const char *text)
{
    rotor_address address;
    rotor_host host;
    if (strncmp(text, "fd:", 3) == 0) {
        long fd = number(text + 3);
        return fd < 0 ? ROTOR_EADDRESS : open_descriptor(o, (int)fd);
    }
    if (strcmp(text, "inherited") == 0)
        return open_passed(o, NULL);
    if (strncmp(text, "inherited:", 10) == 0)
        return text[10] ? open_passed(o, text + 10) : ROTOR_EADDRESS;
    int kind = rotor_address_parse(text, &address, &host);
    if (kind < 0)
        return kind;
    return kind > 0 ? open_name(o, &host) : open_address(o, &address);
}

int rotor__listenings_open(rotor__listenings *set, rotor_loop *loop, const char *list,
                           const rotor_listen_options *options)
{
    char text[ROTOR_ADDRESS_SIZE];
    int error = 0;
    for (const char *next, *at = list; at && !error; at = next) {
        next = rotor_address_split(at, text, sizeof text);
        error = open_one(&(opening){set, loop, options, at}, text);
        if (error && options->failed)
            *options->failed = at;
    }
    return error;
}

void rotor__listenings_release(rotor__listenings *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (!set->all[i].inherited)
            rotor__listening_close(&set->all[i]);
    rotor_free(set->all);
    *set = (rotor__listenings){0};
}
