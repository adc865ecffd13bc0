/* Datagram sockets for tasks.
**
** What comes while nobody receives is kept, so many datagrams and so many bytes; what comes then is lost, as
** in the system's own buffer, and counted. */
#include <string.h>

#include "../core/alloc.h"
#include "lua_conn.h"
#include "lua_datagram.h"

enum { MOST_KEPT = 256, MOST_BYTES = 1 << 20 };

static int poll_recv(lua_State *L, int index);
static rotor__waits *recv_queue(lua_State *L, int index);

static const rotor__waitable waitables[] = {{"recv", poll_recv, recv_queue}, {NULL, NULL, NULL}};
static const rotor__kind kind_udp = {"rotor.task.udp", waitables};

/* One that was received. */
typedef struct letter {
    struct letter *next;
    rotor_address from;
    size_t size; /* its true one */
    size_t n;
    const char *data; /* mostly behind this */
} letter;

typedef struct udp udp;

typedef struct udp_socket {
    rotor_datagram datagram;
    udp *udp;
} udp_socket;

/* What it shares with the object. */
struct udp {
    rotor__cell cell;
    bool closed;
    letter *coming;        /* of which the transition runs: before the others, if there are none */
    letter *first, **last; /* that wait */
    uint32_t kept;
    size_t bytes;
    lua_Integer dropped;
    int error; /* what has become of one that was sent */
    rotor__waits receiving, sending;
};

static udp *check_udp(lua_State *L, int index)
{
    return rotor__cell_check(L, index, &kind_udp);
}

static udp_socket *socket_of(const udp *u)
{
    return u->closed ? NULL : (udp_socket *)rotor__cell_machine(&u->cell);
}

/* -- what has come ----------------------------------------------------------------------------- */

static void keep(udp *u, const letter *coming)
{
    letter *kept = NULL;
    if (u->kept < MOST_KEPT && u->bytes + coming->n <= MOST_BYTES)
        kept = rotor_alloc(sizeof *kept + coming->n);
    if (!kept) {
        u->dropped++;
        return;
    }
    *kept = *coming;
    kept->data = memcpy(kept + 1, coming->data, coming->n);
    kept->next = NULL;
    *u->last = kept;
    u->last = &kept->next;
    u->kept++;
    u->bytes += kept->n;
}

static void drop_first(udp *u)
{
    letter *kept = u->first;
    u->first = kept->next;
    if (!u->first)
        u->last = &u->first;
    u->kept--;
    u->bytes -= kept->n;
    rotor_free(kept);
}

static void drop_all(udp *u)
{
    while (u->first)
        drop_first(u);
}

/* [-0, +2 or 3, m] data, from[, its true size] */
static int push_letter(lua_State *L, const letter *it)
{
    char from[ROTOR_ADDRESS_SIZE];
    (void)rotor_address_format(&it->from, from, sizeof from);
    size_t n = it->n, size = it->size;
    lua_pushlstring(L, it->data, n); /* and a finalizer may close the socket */
    lua_pushstring(L, from);
    if (size == n)
        return 2;
    lua_pushinteger(L, (lua_Integer)size);
    return 3;
}

/* -- the protocol ------------------------------------------------------------------------------ */

static rotor_response answer(const udp_socket *s)
{
    return s->udp->closed ? rotor_done() : rotor_same();
}

static void tell(udp_socket *s)
{
    rotor__wait *wait = rotor__waits_first(&s->udp->receiving);
    if (wait)
        rotor__task_complete_now(wait, 0);
}

static rotor_response on_create(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    udp *u = ((udp_socket *)d)->udp = seed;
    u->cell.begun = true;
    return rotor_ok();
}

static rotor_response on_datagram(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                                  const rotor_datagram_info *info)
{
    udp_socket *s = (udp_socket *)d;
    letter coming = {.from = info->from, .size = info->size, .n = n, .data = data};
    udp *u = s->udp;
    if (u->closed)
        return rotor_done();
    bool queued = u->first != NULL;
    if (!queued) {
        u->coming = &coming;
        tell(s);
    }
    if (u->closed)
        return rotor_done();
    if (queued || u->coming)
        keep(u, &coming);
    u->coming = NULL;
    return rotor_same();
}

static rotor_response on_writable(rotor_datagram *d, rotor_scope *scope)
{
    udp_socket *s = (udp_socket *)d;
    rotor__task_complete_all(&s->udp->sending);
    return answer(s);
}

static rotor_response on_exception(rotor_datagram *d, rotor_scope *scope, int error)
{
    udp_socket *s = (udp_socket *)d;
    if (!s->udp->closed) {
        s->udp->error = error;
        tell(s);
    }
    return answer(s);
}

static void on_drop(rotor_datagram *d)
{
    udp *u = ((udp_socket *)d)->udp;
    drop_all(u);
    rotor__cell_let_go(u);
}

static const rotor_datagram_protocol protocol = {
    .name = "task.udp",
    .size = sizeof(udp_socket),
    .create = on_create,
    .datagram = on_datagram,
    .writable = on_writable,
    .exception = on_exception,
    .drop = on_drop,
};

/* -- receiving --------------------------------------------------------------------------------- */

static int poll_recv(lua_State *L, int index)
{
    udp *u = check_udp(L, index);
    int n;
    (void)rotor__conn_task(L, u->cell.ll);
    if (u->first) {
        const letter *first = u->first;
        n = push_letter(L, first);
        if (u->first == first)
            drop_first(u);
        return n;
    }
    if (u->coming) {
        n = push_letter(L, u->coming);
        u->coming = NULL;
        return n;
    }
    if (!socket_of(u))
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    if (!u->error)
        return -1;
    n = u->error;
    u->error = 0;
    return rotor__lua_fail(L, n);
}

static rotor__waits *recv_queue(lua_State *L, int index)
{
    return &check_udp(L, index)->receiving;
}

static int received(lua_State *L, int status, lua_KContext deadline)
{
    if (!rotor__task_completed(L))
        return rotor__lua_fail(L, ROTOR_ETIMEDOUT);
    int n = poll_recv(L, 1);
    if (n >= 0)
        return n;
    return rotor__task_wait(L, rotor__task_here(L), recv_queue(L, 1), 0, (uint64_t)deadline,
                            deadline, received);
}

/* [-0, +2 or 3, e] recv([seconds]) data, from[, its true size if it was cut] */
static int udp_recv(lua_State *L)
{
    udp *u = check_udp(L, 1);
    uint64_t ms = rotor__lua_check_ms(L, 2);
    rotor__task *t = rotor__conn_task(L, u->cell.ll);
    int n = poll_recv(L, 1);
    if (n >= 0)
        return rotor__task_breathe(L, t, n);
    uint64_t deadline = rotor__task_deadline(t, ms);
    return rotor__task_wait(L, t, &u->receiving, 0, deadline, (lua_KContext)deadline, received);
}

/* [-0, +2 or 3, e] for data, from in socket do */
static int iterate(lua_State *L)
{
    lua_settop(L, 1);
    return udp_recv(L);
}

/* -- sending ----------------------------------------------------------------------------------- */

static int send_it(lua_State *L, rotor__task *t);

static int writable(lua_State *L, int status, lua_KContext context)
{
    return rotor__task_completed(L) ? send_it(L, rotor__task_here(L))
                                    : rotor__lua_fail(L, ROTOR_ETIMEDOUT);
}

/* [socket, data, to or nil] */
static int send_it(lua_State *L, rotor__task *t)
{
    udp *u = check_udp(L, 1);
    udp_socket *s = socket_of(u);
    const char *text = lua_tostring(L, 3);
    rotor_address to;
    rotor_host host;
    size_t n;
    const char *data = rotor__lua_check_bytes(L, 2, &n);
    if (!s)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    int error = text ? rotor_address_parse(text, &to, &host) : 0;
    if (error > 0)
        return luaL_argerror(L, 3, "a name is not looked up here; task.udp looks up its peer's");
    if (!error)
        error = rotor_datagram_send(&s->datagram, data, n, text ? &to : NULL);
    if (error == UV_EAGAIN)
        return rotor__task_wait(L, t, &u->sending, 0, ROTOR_NEVER, 0, writable);
    if (error)
        return text ? rotor__conn_fail_at(L, error, text) : rotor__lua_fail(L, error);
    lua_pushboolean(L, 1);
    return rotor__task_breathe(L, t, 1);
}

/* [-0, +1 or 3, e] send(data[, to]) */
static int udp_send(lua_State *L)
{
    const udp *u = check_udp(L, 1);
    size_t n;
    (void)rotor__lua_check_bytes(L, 2, &n);
    if (!lua_isnoneornil(L, 3))
        (void)rotor__lua_check_address(L, 3);
    lua_settop(L, 3);
    return send_it(L, rotor__conn_task(L, u->cell.ll));
}

/* -- opening and closing ----------------------------------------------------------------------- */

static void leave(udp *u)
{
    udp_socket *s = socket_of(u);
    u->closed = true;
    u->coming = NULL;
    drop_all(u);
    rotor__task_complete_all(&u->receiving);
    rotor__task_complete_all(&u->sending);
    if (!s)
        return;
    (void)rotor_end(s->datagram.machine.loop, s->datagram.machine.self, 0);
}

/* [-0, +1, e] close(): who waits is told. Idempotent. */
static int udp_close(lua_State *L)
{
    leave(check_udp(L, 1));
    lua_pushboolean(L, 1);
    return 1;
}

static int udp_gc(lua_State *L)
{
    udp *u = check_udp(L, 1);
    if (u)
        leave(u);
    return 0;
}

/* [-0, +1 or 3, e] udp(address or nil[, options]) */
static int l_udp(lua_State *L)
{
    const char *address = lua_isnoneornil(L, 1) ? NULL : rotor__lua_check_address(L, 1);
    rotor_udp_options options = {0};
    lua_settop(L, 2);
    rotor__lua_udp_options(L, 2, &options);
    rotor__lua_loop *ll = rotor__conn_loop(L);
    udp *u = options.seed = rotor__cell_new(L, &kind_udp, ll, sizeof *u);
    u->last = &u->first;
    options.release = rotor__cell_release;
    int error = rotor_udp(ll->loop, address, &protocol, &options, &u->cell.machine);
    if (!error)
        return 1;
    rotor__cell_let_go(u);
    const char *where = address ? address : options.peer ? options.peer : "any";
    if (address && options.peer)
        where = lua_pushfstring(L, "%s to %s", address, options.peer);
    return rotor__conn_fail_at(L, error, where);
}

/* -- looking ----------------------------------------------------------------------------------- */

static int push_address(lua_State *L, int (*get)(const rotor_datagram *, char *, size_t))
{
    const udp_socket *s = socket_of(check_udp(L, 1));
    char text[ROTOR_ADDRESS_SIZE];
    int error = s ? get(&s->datagram, text, sizeof text) : ROTOR_ECLOSED;
    if (error)
        return rotor__lua_fail(L, error);
    lua_pushstring(L, text);
    return 1;
}

/* [-0, +1 or 3, e] */
static int udp_address(lua_State *L)
{
    return push_address(L, rotor_datagram_local);
}

/* [-0, +1 or 3, e] */
static int udp_peer(lua_State *L)
{
    return push_address(L, rotor_datagram_peer);
}

/* [-0, +1, e] dropped(): how many have come while too many were kept */
static int udp_dropped(lua_State *L)
{
    lua_pushinteger(L, check_udp(L, 1)->dropped);
    return 1;
}

/* [-0, +1, e] #socket: how many wait to be received */
static int udp_len(lua_State *L)
{
    lua_pushinteger(L, check_udp(L, 1)->kept);
    return 1;
}

static int change_group(lua_State *L, int (*change)(rotor_datagram *, const char *, const char *))
{
    udp *u = check_udp(L, 1);
    const char *group = luaL_checkstring(L, 2);
    const char *interface = luaL_optstring(L, 3, NULL);
    udp_socket *s = socket_of(u);
    int error = s ? change(&s->datagram, group, interface) : ROTOR_ECLOSED;
    if (error)
        return rotor__conn_fail_at(L, error, group);
    lua_pushboolean(L, 1);
    return 1;
}

/* [-0, +1 or 3, e] join(group[, interface]) */
static int udp_join(lua_State *L)
{
    return change_group(L, rotor_datagram_join);
}

/* [-0, +1 or 3, e] leave(group[, interface]) */
static int udp_leave(lua_State *L)
{
    return change_group(L, rotor_datagram_leave);
}

static const luaL_Reg methods[] = {
    {"recv", udp_recv},       {"send", udp_send},   {"close", udp_close},
    {"address", udp_address}, {"peer", udp_peer},   {"dropped", udp_dropped},
    {"join", udp_join},       {"leave", udp_leave}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__call", iterate},
                                {"__len", udp_len},
                                {"__gc", udp_gc},
                                {"__close", udp_close},
                                {NULL, NULL}};

void rotor__lua_open_task_udp(lua_State *L)
{
    lua_pushcfunction(L, l_udp);
    lua_setfield(L, -2, "udp");
    rotor__lua_kind(L, &kind_udp, methods, meta);
}
