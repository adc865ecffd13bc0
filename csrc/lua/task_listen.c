/* Listening for tasks: connections are accepted when somebody asks for one, and wait in the system's backlog
** until then. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../stream/address.h"
#include "../stream/private.h"
#include "lua_conn.h"
#include "lua_threads.h"

enum { RETRY_MS = 100 };

static int poll_accept(lua_State *L, int index);
static rotor__waits *accept_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {{"accept", poll_accept, accept_queue},
                                            {NULL, NULL, NULL}};
static const rotor__kind kind_listener = {"rotor.task.listener", waitables};

/* One of its sockets. */
typedef struct door {
    rotor_io io;
    rotor__listening socket;
} door;

/* The machine that watches them. It knows nothing of the object, which may be collected unseen when there is
** no memory to tell. */
typedef struct listener {
    rotor_machine machine;
    rotor__waits accepting;
    bool closed;
    uint32_t connections;
    int fd;       /* accepted, but no connection yet; -1: none */
    bool scarce;  /* of something that is needed to accept there was none left */
    bool pausing; /* therefore */
    bool inside;  /* its transition runs a task */
    size_t turn;  /* the socket to be asked next */
    size_t n;
    door doors[];
} listener;

/* What Lua has of it. */
typedef struct listener_object {
    rotor__object object;
    rotor__lua_loop *ll;
    rotor_handle listener;
} listener_object;

typedef struct listener_seed {
    const rotor_listen_options *options;
    rotor__listenings *sockets;
} listener_seed;

static listener_object *check_listener(lua_State *L, int index)
{
    return rotor__lua_check(L, index, &kind_listener);
}

static listener *listener_of(const listener_object *o)
{
    listener *l = o->ll->loop ? (listener *)rotor_find(o->ll->loop, o->listener) : NULL;
    return l && !l->closed ? l : NULL;
}

/* -- the machine ------------------------------------------------------------------------------- */

static rotor_response wait_on(listener *l)
{
    bool wanted = rotor__waits_first(&l->accepting) != NULL;
    if (l->closed)
        return rotor_done();
    l->pausing = wanted && l->scarce;
    l->scarce = false;
    for (size_t i = 0; i < l->n; i++) {
        int error = rotor_io_want(&l->doors[i].io, wanted && !l->pausing ? ROTOR_READABLE : 0);
        if (error)
            return rotor_error(error);
    }
    if (!l->pausing)
        return rotor_ok();
    rotor__machine_wait_slot(&l->machine);
    return rotor_ok_until(l->machine.loop->now + RETRY_MS);
}

/* Have the first who waits accept; mostly it does until nobody is left, and waits again. */
static rotor_response serve(listener *l)
{
    rotor__wait *wait = rotor__waits_first(&l->accepting);
    if (wait) {
        l->inside = true;
        rotor__task_complete_now(wait, 0);
        l->inside = false;
    }
    return wait_on(l);
}

static int open_doors(listener *l, const listener_seed *seed)
{
    for (size_t i = 0; i < seed->sockets->n; i++) {
        door *d = &l->doors[i];
        d->socket = seed->sockets->all[i];
        int error = rotor_io_open(&d->io, &l->machine, d->socket.fd);
        if (error) {
            *seed->options->failed = d->socket.asked;
            return error == UV_EEXIST ? ROTOR_ETAKEN : error;
        }
    }
    return 0;
}

static size_t size_of(const void *data)
{
    return sizeof(listener) + ((const listener_seed *)data)->sockets->n * sizeof(door);
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    listener *l = (listener *)m;
    const listener_seed *seed = data;
    l->fd = -1;
    l->connections = seed->options->connections;
    int error = open_doors(l, seed);
    if (error) /* the sockets stay whose they are */
        return rotor_error(error);
    l->n = seed->sockets->n;
    seed->sockets->n = 0;
    for (size_t i = 0; i < l->n; i++)
        rotor__listening_take(&l->doors[i].socket);
    return rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    return serve((listener *)m);
}

/* Somebody waits from now on; or something was scarce, and may be there again. */
static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    listener *l = (listener *)m;
    return l->pausing ? serve(l) : wait_on(l);
}

static rotor_response on_timeout(rotor_machine *m, rotor_scope *scope)
{
    return serve((listener *)m);
}

static void on_drop(rotor_machine *m)
{
    listener *l = (listener *)m;
    rotor__task_complete_all(&l->accepting);
    if (l->fd >= 0)
        close(l->fd);
    for (size_t i = 0; i < l->n; i++)
        rotor__listening_close(&l->doors[i].socket);
}

static const rotor_type listener_type = {
    .name = "task.listener",
    .size_of = size_of,
    .create = on_create,
    .ready = on_ready,
    .wakeup = on_wakeup,
    .timeout = on_timeout,
    .drop = on_drop,
};

/* -- accepting --------------------------------------------------------------------------------- */

/* Have a connection in hand: l->fd. False: there is none, or it is not the time. */
static bool accept_one(listener *l)
{
    rotor_loop *loop = l->machine.loop;
    l->scarce = rotor_loop_count(loop) >= l->connections;
    for (size_t silent = 0; l->fd < 0 && silent < l->n && !l->scarce; silent++) {
        l->fd = accept4(l->doors[l->turn].socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        /* As rotor_listen(): or nobody is left, or who came has gone again. */
        if (l->fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED &&
            errno != EINTR)
            l->scarce = true;
        l->turn = (l->turn + 1) % l->n;
    }
    return l->fd >= 0 && !l->scarce;
}

/* [-0, +1 or 3 or 0, m] A connection; why there are none any more; -1: there is none now. */
static int poll_accept(lua_State *L, int index)
{
    listener_object *o = check_listener(L, index);
    (void)rotor__conn_task(L, o->ll);
    listener *l = listener_of(o);
    if (!l)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    while (accept_one(l)) {
        rotor__conn *c = rotor__conn_new(L, o->ll); /* or l->fd is for the next */
        rotor_stream_seed seed = {.protocol = &rotor__conn_protocol,
                                  .fd = l->fd,
                                  .seed = c,
                                  .release = rotor__cell_release};
        int error = rotor__add_now(o->ll->loop, &rotor_stream_type, &seed, &c->cell.machine);
        l->fd = seed.fd;
        if (!error)
            return 1;
        rotor__cell_let_go(c);
        lua_pop(L, 1);
        if (l->fd >= 0) { /* it waits in hand until there is memory for it */
            l->scarce = true;
            return -1;
        }
    }
    return -1;
}

static rotor__waits *accept_queue(lua_State *L, int index)
{
    listener_object *o = check_listener(L, index);
    listener *l = listener_of(o);
    if (!l->inside)
        (void)rotor_wake(o->ll->loop, o->listener);
    return &l->accepting;
}

static int wait(lua_State *L, rotor__task *t, uint64_t deadline);

static int accepted(lua_State *L, int status, lua_KContext deadline)
{
    if (!rotor__task_completed(L))
        return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    int n = poll_accept(L, 1);
    return n >= 0 ? n : wait(L, rotor__task_here(L), (uint64_t)deadline);
}

static int wait(lua_State *L, rotor__task *t, uint64_t deadline)
{
    return rotor__task_wait(L, t, accept_queue(L, 1), 0, deadline, (lua_KContext)deadline,
                            accepted);
}

/* [-0, +1 or 3, e] accept([seconds]) */
static int listener_accept(lua_State *L)
{
    const listener_object *o = check_listener(L, 1);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__conn_task(L, o->ll);
    int n = poll_accept(L, 1);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    return wait(L, t, rotor__task_deadline(t, ms));
}

/* [-0, +1 or 3, e] for conn in listener do */
static int iterate(lua_State *L)
{
    lua_settop(L, 1);
    return listener_accept(L);
}

/* -- opening and closing ----------------------------------------------------------------------- */

static void leave(listener *l)
{
    if (!l || l->closed)
        return;
    l->closed = true;
    rotor__task_complete_all(&l->accepting);
    (void)rotor_end(l->machine.loop, l->machine.self, 0);
}

bool rotor__close_task_listener(rotor_machine *m)
{
    if (m->type != &listener_type)
        return false;
    leave((listener *)m);
    return true;
}

/* [-0, +1, e] close(): who waits in accept() is told. Idempotent. */
static int listener_close(lua_State *L)
{
    leave(listener_of(check_listener(L, 1)));
    lua_pushboolean(L, 1);
    return 1;
}

static int listener_gc(lua_State *L)
{
    leave(listener_of(check_listener(L, 1)));
    return 0;
}

static int open_listener(listener_object *o, const char *address, rotor_listen_options *options)
{
    rotor_loop *loop = o->ll->loop;
    rotor__listenings sockets = {0};
    uint32_t most = rotor__listen_most(loop, options->connections);
    if (options->connections == 0 && most <= rotor_loop_capacity(loop) / 2)
        most *= 2; /* mostly there is a task for each connection, which needs no descriptor */
    options->connections = most;
    int error = rotor__listenings_open(&sockets, loop, address, options);
    if (!error) {
        listener_seed seed = {options, &sockets};
        error = rotor__add_now(loop, &listener_type, &seed, &o->listener);
    }
    rotor__listenings_release(&sockets);
    return error;
}

/* [-0, +1 or 3, e] listen(address[, options]) */
static int l_listen(lua_State *L)
{
    static const char *const known[] = {"backlog",   "reuse_port",  "ipv6_only", "delay",
                                        "keepalive", "connections", NULL};
    const char *address = rotor__lua_check_address(L, 1), *failed = NULL;
    rotor_listen_options options = {.failed = &failed};
    rotor__lua_check_options(L, 2, known);
    rotor__lua_listen_options(L, 2, &options);
    rotor__lua_loop *ll = rotor__conn_loop(L);
    rotor__lua_check_not_closing(L, ll->vm);
    listener_object *o = rotor__lua_new(L, &kind_listener, sizeof *o, 0);
    o->ll = ll;
    o->listener = ROTOR_NO_HANDLE;
    rotor__share share;
    const char *where = rotor__share_begin(&share, ll->vm, address, options.reuse_port);
    int error = open_listener(o, where, &options);
    listener *l = listener_of(o);
    rotor__share_end(&share, error, l && l->n == 1 ? &l->doors[0].socket : NULL);
    if (!error)
        return 1;
    size_t len = failed ? strcspn(failed, ",") : 0;
    return rotor__conn_fail_at(L, error, len > 0 ? lua_pushlstring(L, failed, len) : address);
}

/* -- looking ----------------------------------------------------------------------------------- */

/* [-0, +1 or 3, e] address(): as text, with the true port; a list if there are several */
static int listener_address(lua_State *L)
{
    const listener *l = listener_of(check_listener(L, 1));
    luaL_Buffer list;
    if (!l)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    luaL_buffinit(L, &list);
    for (size_t i = 0; i < l->n; i++) {
        char text[ROTOR_ADDRESS_SIZE];
        rotor_address address = {.len = sizeof address.storage};
        int error = getsockname(l->doors[i].socket.fd, &address.any, &address.len) ? -errno : 0;
        if (!error)
            error = rotor_address_format(&address, text, sizeof text);
        if (error)
            return rotor__lua_fail(L, error);
        if (i > 0)
            luaL_addchar(&list, ',');
        luaL_addstring(&list, text);
    }
    luaL_pushresult(&list);
    return 1;
}

/* [-0, +1, e] */
static int listener_closed(lua_State *L)
{
    lua_pushboolean(L, !listener_of(check_listener(L, 1)));
    return 1;
}

static const luaL_Reg methods[] = {{"accept", listener_accept},
                                   {"address", listener_address},
                                   {"close", listener_close},
                                   {"closed", listener_closed},
                                   {NULL, NULL}};

static const luaL_Reg meta[] = {
    {"__call", iterate}, {"__gc", listener_gc}, {"__close", listener_close}, {NULL, NULL}};

void rotor__lua_open_task_listen(lua_State *L)
{
    lua_pushcfunction(L, l_listen);
    lua_setfield(L, -2, "listen");
    rotor__lua_kind(L, &kind_listener, methods, meta);
}
