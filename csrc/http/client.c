/* The client: what it is set to, and its pool of connections. A connection belongs to its origin until it
** is forgotten, and is idle, a call's, or being made for one. Calls that find none wait in the order they
** came; a connection that another call is through with goes to the first of them. */
#include <assert.h>
#include <string.h>

#include "../stream/private.h"
#include "client_private.h"

enum {
    TIMEOUT_MS = 30000,
    IDLE_MS = 30000,
    CONTINUE_MS = 1000,
    REDIRECTS = 10,
    CONNECTIONS = 512,
    PER_ORIGIN = 64,
    IDLE = 256,
    IDLE_PER_ORIGIN = 32,
    /* A response is read also while a large piece of the body waits to be sent. */
    HIGH_WATER = 1 << 30
};

#define OF_NODE(node, type, member) ROTOR__CONTAINER(node, type, member)

/* -- origins ----------------------------------------------------------------------------------- */

static rotor_http__origin **bucket_of(rotor_http_client *client, const char *address)
{
    uint32_t hash = 2166136261; /* FNV-1a */
    for (; *address; address++)
        hash = (hash ^ (uint8_t)*address) * 16777619;
    return &client->origins[(hash ^ hash >> 16) % HTTP__ORIGINS];
}

static rotor_http__origin *find_origin(rotor_http_client *client, const char *address)
{
    rotor_http__origin **bucket = bucket_of(client, address), *o = *bucket;
    while (o && strcmp(o->address, address) != 0)
        o = o->next;
    if (o)
        return o;
    size_t size = strlen(address) + 1;
    o = rotor_alloc_zero(sizeof *o + size);
    if (!o)
        return NULL;
    memcpy(o->address, address, size);
    rotor_http__list_init(&o->idle);
    rotor_http__list_init(&o->waiting);
    o->link = bucket;
    o->next = *bucket;
    if (o->next)
        o->next->link = &o->next;
    *bucket = o;
    return o;
}

static void free_if_unused(rotor_http__origin *o)
{
    if (o->open > 0 || !rotor_http__list_is_empty(&o->waiting))
        return;
    rotor_http__list_remove(&o->hungry);
    *o->link = o->next;
    if (o->next)
        o->next->link = o->link;
    rotor_free(o);
}

/* Where the call's request goes to. `text` has room for ROTOR_ADDRESS_SIZE bytes. */
static const char *address_of(const rotor_http_call *c, char *text)
{
    const rotor_http_url *url = &c->ask.url;
    if (c->ask.address)
        return c->ask.address;
    snprintf(text, ROTOR_ADDRESS_SIZE, "%.*s:%u", (int)url->host.len, url->host.data, url->port);
    return text;
}

/* -- waiting ----------------------------------------------------------------------------------- */

static void wait_for(rotor_http_client *client, rotor_http__origin *o, rotor_http_call *c)
{
    if (!o->hungry.next)
        rotor_http__list_put(&client->hungry, &o->hungry);
    rotor_http__list_put(&o->waiting, &c->waiting);
    c->origin = o;
}

void rotor_http__call_unwait(rotor_http_call *c)
{
    rotor_http__origin *o = c->origin;
    if (!o)
        return;
    c->origin = NULL;
    rotor_http__list_remove(&c->waiting);
    if (rotor_http__list_is_empty(&o->waiting))
        rotor_http__list_remove(&o->hungry);
    free_if_unused(o);
}

static rotor_http_call *first_waiting(const rotor_http__origin *o)
{
    return rotor_http__list_is_empty(&o->waiting)
               ? NULL
               : OF_NODE(o->waiting.next, rotor_http_call, waiting);
}

/* -- connections ------------------------------------------------------------------------------- */

static void leave_idle(rotor_http__conn *conn)
{
    if (!conn->of_origin.next)
        return;
    rotor_http__list_remove(&conn->of_origin);
    rotor_http__list_remove(&conn->of_client);
    conn->origin->nidle--;
    conn->client->nidle--;
    rotor__machine_idle(&conn->stream.machine, false);
}

void rotor_http__forget(rotor_http__conn *conn)
{
    rotor_http__origin *o = conn->origin;
    if (!o)
        return;
    leave_idle(conn);
    conn->origin = NULL;
    conn->client->open--;
    o->open--;
    free_if_unused(o);
}

static void close_oldest(rotor_http__node *of_client)
{
    rotor_http__conn_close(OF_NODE(of_client, rotor_http__conn, of_client));
}

/* Whether there may be one more connection to the origin. One that is idle elsewhere makes room. */
static bool may_open(rotor_http__origin *o, rotor_http_client *client)
{
    if (o->open >= client->config.per_origin)
        return false;
    if (client->open >= client->config.connections && client->nidle > 0) {
        o->open++; /* so that it stays, if it is one of its own */
        close_oldest(client->idle.next);
        o->open--;
    }
    return client->open < client->config.connections;
}

/* The connection was made, or will not be. */
static void on_connected(void *client)
{
    rotor_http__serve(client);
    rotor_http__client_unref(client);
}

/* Make a connection for the call. 0 or an error. */
static int open_for(rotor_http_call *c, rotor_http__origin *o)
{
    rotor_http_client *client = c->client;
    rotor_loop *loop = client->loop;
    rotor_connect_options options = {
        .seed = client,
        .release = on_connected,
        .timeout_ms = UINT32_MAX, /* the call has a deadline of its own */
    };
    rotor_stream_seed seed;
    rotor_handle handle;
    assert(loop->busy); /* so that nothing runs before this returns */
    int error = rotor__connect_seed(loop, o->address, &client->protocol, &options, &seed);
    if (error)
        return error;
    error = rotor__add_now(loop, &rotor_stream_type, &seed, &handle);
    if (error) {
        rotor__connect_seed_free(&seed);
        return error;
    }
    rotor_http__conn *conn = (rotor_http__conn *)rotor_find(loop, handle);
    conn->stream.machine.flags |= ROTOR__QUIET;
    conn->client = client;
    conn->origin = o;
    conn->call = c;
    c->conn = conn;
    client->refs++;
    client->open++;
    o->open++;
    return 0;
}

/* One that is idle, the last that was used, as it is the likeliest to last. */
static rotor_http__conn *take_idle(rotor_http__origin *o)
{
    while (o->nidle > 0) {
        rotor_http__conn *conn = OF_NODE(o->idle.prev, rotor_http__conn, of_origin);
        if (rotor_http__conn_is_quiet(conn)) {
            leave_idle(conn);
            return conn;
        }
        o->open++; /* so that the origin stays */
        rotor_http__conn_close(conn);
        o->open--;
    }
    return NULL;
}

int rotor_http__acquire(rotor_http_call *c, bool anew)
{
    char text[ROTOR_ADDRESS_SIZE];
    rotor_http_client *client = c->client;
    rotor_http__origin *o = find_origin(client, address_of(c, text));
    if (!o)
        return UV_ENOMEM;
    int error = 0;
    rotor_http__conn *conn = anew ? NULL : take_idle(o);
    if (conn)
        error = rotor_http__conn_begin(conn, c);
    else if (may_open(o, client))
        error = open_for(c, o);
    else
        wait_for(client, o, c);
    if (conn && error) {
        rotor_http__conn_close(conn);
        return error;
    }
    free_if_unused(o);
    return error;
}

/* -- when there is room ------------------------------------------------------------------------ */

/* Give the first call that waits at `o` a connection. False: there can be none now. */
static bool serve_one(rotor_http_client *client, rotor_http__origin *o)
{
    rotor_http_call *c = first_waiting(o);
    if (!c || !may_open(o, client))
        return false;
    int error = open_for(c, o);
    if (error == ROTOR_ECAPACITY && client->open > 0) /* there will be when one of ours has ended */
        return false;
    rotor_http__call_unwait(c);
    if (error)
        rotor_http__call_fail(c, error);
    return true;
}

void rotor_http__serve(rotor_http_client *client)
{
    if (client->loop->closing || client->open >= client->config.connections + client->nidle)
        return;
    for (rotor_http__node *node = client->hungry.next, *next; node != &client->hungry;
         node = next) {
        rotor_http__origin *o = OF_NODE(node, rotor_http__origin, hungry);
        next = node->next;
        bool more = o->waiting.next != o->waiting.prev;
        if (serve_one(client, o) && more) { /* the others first */
            rotor_http__list_remove(&o->hungry);
            rotor_http__list_put(&client->hungry, &o->hungry);
            if (next == &client->hungry)
                next = &o->hungry;
        }
    }
}

static void keep(rotor_http__conn *conn)
{
    rotor_http_client *client = conn->client;
    rotor_http__origin *o = conn->origin;
    conn->state = CONN__IDLE;
    conn->until = client->loop->now + client->config.idle_ms;
    rotor_http__list_put(&o->idle, &conn->of_origin);
    rotor_http__list_put(&client->idle, &conn->of_client);
    o->nidle++;
    client->nidle++;
    rotor__machine_idle(&conn->stream.machine, true);
    if (o->nidle > client->config.idle_per_origin)
        close_oldest(&OF_NODE(o->idle.next, rotor_http__conn, of_origin)->of_client);
    if (client->nidle > client->config.idle)
        close_oldest(client->idle.next);
}

void rotor_http__release(rotor_http__conn *conn)
{
    rotor_http_client *client = conn->client;
    for (rotor_http_call *c; (c = first_waiting(conn->origin));) {
        rotor_http__call_unwait(c);
        int error = rotor_http__conn_begin(conn, c);
        if (!error)
            return;
        rotor_http__call_fail(c, error);
    }
    if (client->released)
        rotor_http__conn_close(conn);
    else
        keep(conn);
    rotor_http__serve(client); /* who waits for another origin, for which it would make room */
}

/* -- the client -------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t given, uint32_t usual)
{
    return given ? given : usual;
}

static void set_defaults(rotor_http_client_config *config)
{
    rotor_http_limits_complete(&config->limits);
    config->timeout_ms = or_default(config->timeout_ms, TIMEOUT_MS);
    config->idle_ms = or_default(config->idle_ms, IDLE_MS);
    config->continue_ms = or_default(config->continue_ms, CONTINUE_MS);
    config->connections = or_default(config->connections, CONNECTIONS);
    config->per_origin = or_default(config->per_origin, PER_ORIGIN);
    config->idle = or_default(config->idle, IDLE);
    config->idle_per_origin = or_default(config->idle_per_origin, IDLE_PER_ORIGIN);
    if (config->redirects == 0)
        config->redirects = REDIRECTS;
}

rotor_http_client *rotor_http_client_new(rotor_loop *loop, const rotor_http_client_config *given)
{
    rotor_http_client_config config = {0};
    if (given)
        config = *given;
    set_defaults(&config);
    rotor_http_client *client =
        rotor_alloc_zero(sizeof *client + config.limits.fields * sizeof *client->fields);
    if (!client)
        return NULL;
    client->refs = 1;
    client->loop = loop;
    client->config = config;
    client->protocol = rotor_http__conn_protocol;
    client->protocol.high_water = HIGH_WATER;
    client->protocol.stall_ms = config.stall_ms;
    rotor_http__list_init(&client->idle);
    rotor_http__list_init(&client->hungry);
    return client;
}

void rotor_http__client_unref(rotor_http_client *client)
{
    if (--client->refs == 0)
        rotor_free(client);
}

void rotor_http_client_release(rotor_http_client *client)
{
    client->released = true;
    while (client->nidle > 0)
        close_oldest(client->idle.next);
    rotor_http__client_unref(client);
}

size_t rotor_http_client_connections(const rotor_http_client *client)
{
    return client->open;
}

size_t rotor_http_client_idle(const rotor_http_client *client)
{
    return client->nidle;
}
