/* Threads of rotor.threads that listen on one address. The first of a crew opens it, and the others follow:
** on the port that this one has got, with SO_REUSEPORT; or where there is no such thing, as with Unix sockets and
** inherited ones, with a duplicate of its descriptor. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/alloc.h"
#include "../stream/address.h"
#include "lua_threads.h"

/* An address on which each thread may listen once; again, and it is another. */
typedef struct rotor__door {
    struct rotor__door *next;
    char address[ROTOR_ADDRESS_SIZE]; /* as they have asked for it, */
    char found[ROTOR_ADDRESS_SIZE];   /* and as it is to be done by all but the first; or "" */
    rotor__listening socket;          /* to be duplicated; its fd is -1 if it is not to be */
    unsigned left;                    /* threads that have not come yet */
    bool came[];                      /* by their numbers, from 0 */
} rotor__door;

static rotor__door *find_door(rotor__doors *doors, const char *address, unsigned index)
{
    rotor__door *d = doors->first;
    while (d && (d->came[index] || strcmp(d->address, address) != 0))
        d = d->next;
    return d;
}

static void close_door(rotor__door *d)
{
    if (d->socket.fd >= 0)
        rotor__listening_close(&d->socket);
    d->socket.fd = -1;
}

static void come_in(rotor__door *d, unsigned index)
{
    d->came[index] = true;
    if (--d->left == 0)
        close_door(d);
}

int rotor__doors_init(rotor__doors *doors, unsigned threads)
{
    *doors = (rotor__doors){.threads = threads};
    return uv_mutex_init(&doors->lock);
}

void rotor__doors_close(rotor__doors *doors)
{
    for (rotor__door *d = doors->first, *next; d; d = next) {
        next = d->next;
        close_door(d);
        rotor_free(d);
    }
    doors->first = NULL;
}

void rotor__doors_fini(rotor__doors *doors)
{
    rotor__doors_close(doors);
    uv_mutex_destroy(&doors->lock);
}

const char *rotor__share_begin(rotor__share *s, rotor__vm *vm, const char *address, bool shared)
{
    *s = (rotor__share){.address = address, .fd = -1};
    if (!shared || !vm->thread || strchr(address, ',') || strlen(address) >= ROTOR_ADDRESS_SIZE)
        return address;
    s->doors = rotor__doors_of(vm->thread, &s->index);
    uv_mutex_lock(&s->doors->lock);
    s->door = find_door(s->doors, address, s->index);
    if (!s->door)
        return address;
    if (s->door->socket.fd >= 0) {
        s->fd = fcntl(s->door->socket.fd, F_DUPFD_CLOEXEC, 0);
        (void)snprintf(s->text, sizeof s->text, "fd:%d", s->fd);
        return s->text; /* if it is -1, that is said there */
    }
    return s->door->found;
}

/* What the others are to do; without it they try by themselves. */
static void open_door(rotor__share *s, const rotor__listening *l)
{
    rotor_address address = {.len = sizeof address.storage};
    rotor__door *d = rotor_alloc_zero(sizeof *d + s->doors->threads * sizeof *d->came);
    if (!d)
        return;
    d->socket.fd = -1;
    d->left = s->doors->threads;
    memcpy(d->address, s->address, strlen(s->address) + 1);
    int error = getsockname(l->fd, &address.any, &address.len);
    if (!error)
        error = rotor_address_format(&address, d->found, sizeof d->found);
    if (!error && (address.any.sa_family == AF_UNIX || strncmp(s->address, "fd:", 3) == 0 ||
                   strncmp(s->address, "inherited", 9) == 0)) {
        d->socket.fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
        error = d->socket.fd < 0;
    }
    if (error) {
        rotor_free(d);
        return;
    }
    if (d->socket.fd >= 0)
        d->socket.file = rotor__file_ref(l->file);
    come_in(d, s->index);
    rotor__door **last = &s->doors->first;
    while (*last)
        last = &(*last)->next;
    *last = d;
}

void rotor__share_end(rotor__share *s, int error, rotor__listening *l)
{
    if (!s->doors)
        return;
    if (l && s->fd >= 0)
        l->file = rotor__file_ref(s->door->socket.file);
    if (s->door && !error)
        come_in(s->door, s->index);
    else if (!s->door && l)
        open_door(s, l);
    uv_mutex_unlock(&s->doors->lock);
    if (error && s->fd >= 0)
        (void)close(s->fd); /* which it has left to us */
}
