#include "party.h"

#include <unistd.h>

#include "sockets.h"
#include "support.h"
#include "test.h"

static int depth;
int party_errors, party_last_error;

static rotor_response run(rotor_datagram *d, party *p, rotor_scope *scope, party_event event)
{
    assert_int_equal(depth, 0);
    assert_ptr_equal(scope->machine, &d->machine);
    assert_true(rotor_loop_busy(scope->loop));
    depth++;
    p->count[event]++;
    assert_int_equal(p->count[PARTY_CREATE], 1);
    rotor_response r = p->on[event] ? p->on[event](p, scope) : rotor_ok();
    depth--;
    return r;
}

typedef struct guest {
    rotor_datagram d;
    party *p;
} guest;

static party *party_of(rotor_datagram *d)
{
    return ((guest *)d)->p;
}

static rotor_response on_create(rotor_datagram *d, rotor_scope *scope, void *seed)
{
    party *p = seed;
    assert_null(party_of(d));
    ((guest *)d)->p = p;
    p->d = d;
    p->self = d->machine.self;
    return run(d, p, scope, PARTY_CREATE);
}

static rotor_response on_datagram(rotor_datagram *d, rotor_scope *scope, void *data, size_t n,
                                  const rotor_datagram_info *info)
{
    party *p = party_of(d);
    assert_non_null(data);
    assert_true(n < sizeof p->data);
    memcpy(p->data, data, n);
    p->data[n] = '\0';
    p->n = n;
    p->info = *info;
    size_t used = strlen(p->log);
    (void)snprintf(p->log + used, sizeof p->log - used, "%s ", p->data);
    memset(data, '#', n); /* it may be changed */
    return run(d, p, scope, PARTY_DATAGRAM);
}

static rotor_response on_writable(rotor_datagram *d, rotor_scope *scope)
{
    return run(d, party_of(d), scope, PARTY_WRITABLE);
}

static rotor_response on_timeout(rotor_datagram *d, rotor_scope *scope)
{
    return run(d, party_of(d), scope, PARTY_TIMEOUT);
}

static rotor_response on_wakeup(rotor_datagram *d, rotor_scope *scope)
{
    return run(d, party_of(d), scope, PARTY_WAKEUP);
}

static rotor_response on_exception(rotor_datagram *d, rotor_scope *scope, int error)
{
    party_of(d)->error = error;
    return run(d, party_of(d), scope, PARTY_EXCEPTION);
}

static void on_drop(rotor_datagram *d)
{
    party *p = party_of(d);
    assert_int_equal(depth, 0);
    assert_int_equal(p->count[PARTY_DROP], 0);
    p->count[PARTY_DROP]++;
    if (p->on[PARTY_DROP])
        (void)p->on[PARTY_DROP](p, NULL);
    p->d = NULL;
}

const rotor_datagram_protocol party_protocol = {
    .name = "party",
    .size = sizeof(guest),
    .create = on_create,
    .datagram = on_datagram,
    .writable = on_writable,
    .timeout = on_timeout,
    .wakeup = on_wakeup,
    .exception = on_exception,
    .drop = on_drop,
};

static void on_release(void *seed)
{
    party *p = seed;
    assert_int_equal(p->released, 0);
    p->released++;
}

void party_init(party *p)
{
    memset(p, 0, sizeof *p);
    p->protocol = party_protocol;
}

int party_try(party *p, rotor_loop *loop, const char *address, const rotor_udp_options *given)
{
    rotor_udp_options options = {0};
    if (given)
        options = *given;
    options.seed = p;
    options.release = on_release;
    rotor_handle handle = {99, 99};
    int error = rotor_udp(loop, address, &p->protocol, &options, &handle);
    p->self = handle;
    return error;
}

void party_open(party *p, rotor_loop *loop, const char *address, const rotor_udp_options *options)
{
    assert_int_equal(party_try(p, loop, address, options), 0);
    p->d = (rotor_datagram *)rotor_find(loop, p->self);
    if (p->d)
        assert_int_equal(rotor_datagram_local(p->d, p->where, sizeof p->where), 0);
}

const char *party_unix(int which)
{
    static char text[4][64];
    snprintf(text[which], sizeof text[which], "unix:@rotor-test-%ld-%d", (long)getpid(), which);
    return text[which];
}

int party_send(party *p, const char *text, const char *to)
{
    rotor_address address;
    rotor_host host;
    if (to)
        assert_int_equal(rotor_address_parse(to, &address, &host), 0);
    return rotor_datagram_send(p->d, text, strlen(text), to ? &address : NULL);
}

void party_end(party *p, rotor_loop *loop)
{
    assert_int_equal(rotor_end(loop, p->self, 0), 0);
    assert_int_equal(rotor_loop_turn(loop), 0);
    assert_null(rotor_find(loop, p->self));
}

rotor_response party_done(party *p, rotor_scope *scope)
{
    return rotor_done();
}

rotor_response party_fail(party *p, rotor_scope *scope)
{
    return rotor_error(UV_EIO);
}

rotor_response party_same(party *p, rotor_scope *scope)
{
    return rotor_same();
}

rotor_response party_echo(party *p, rotor_scope *scope)
{
    assert_int_equal(rotor_datagram_send(p->d, p->data, p->n, &p->info.from), 0);
    return rotor_ok();
}

void party_expect(party *p, rotor_loop *loop, int n)
{
    TURN_UNTIL(loop, p->count[PARTY_DATAGRAM] >= n);
    assert_int_equal(p->count[PARTY_DATAGRAM], n);
}

void party_on_error(rotor_loop *loop, rotor_machine *m, int error)
{
    party_errors++;
    party_last_error = error;
}

rotor_loop *party_loop(void)
{
    rotor_loop *loop;
    rotor_config config = {.clock = &test_clock, .on_error = party_on_error};
    depth = party_errors = party_last_error = 0;
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

void party_close(rotor_loop *loop)
{
    assert_int_equal(rotor_loop_free(loop), 0);
}
