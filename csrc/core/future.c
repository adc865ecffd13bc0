/* Futures and ports: the pair, and what combinators build on.
**
** A port resolves by posting the future's letter to the loop. From then on everything is in the loop's
** thread, where a resolved future wakes its watcher, or calls the combinator that follows it. That
** call goes through loop->letters, so a long chain of combinators takes no stack. */
#include "future.h"
#include "private.h"

struct rotor_port {
    rotor_future future;
};

static bool has_ended(const rotor_future *f)
{
    return atomic_load(&f->mailbox->closed);
}

static void destroy_value(rotor_future *f)
{
    void *value = f->value;
    f->value = NULL;
    if (value && f->destroy)
        f->destroy(value);
}

/* -- for combinators --------------------------------------------------------------------------- */

rotor_future *rotor__future_make(size_t size, rotor_loop *loop, rotor__mailbox *mailbox,
                                 void (*destroy)(void *value),
                                 rotor_future *(*abandon)(rotor_future *f))
{
    rotor_future *f = rotor_alloc_zero(size);
    if (!f)
        return NULL;
    atomic_init(&f->refs, 1);
    f->loop = loop;
    f->mailbox = rotor__mailbox_ref(mailbox);
    f->destroy = destroy;
    f->abandon = abandon;
    return f;
}

rotor_future *rotor__future_ref(rotor_future *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void rotor__future_unref(rotor_future *f)
{
    if (atomic_fetch_sub(&f->refs, 1) == 1) {
        rotor__mailbox_unref(f->mailbox);
        rotor_free(f);
    }
}

int rotor__future_error(int code)
{
    return code < 0 && code != UV_EAGAIN ? code : ROTOR_EUNEXPECTED;
}

static void deliver_to_follower(rotor__letter *letter, rotor_loop *loop)
{
    rotor_future *f = ROTOR__CONTAINER(letter, rotor_future, letter);
    f->announced = false;
    if (loop && !atomic_load(&f->dropped)) {
        if (f->follow) /* whoever it is by now */
            f->follow(f, f->context);
        else
            (void)rotor_wake(loop, f->watcher);
    }
    rotor__future_unref(f);
}

/* `f` has been resolved. */
static void announce(rotor_future *f)
{
    if (f->follow && f->announced)
        return;
    if (f->follow) {
        f->announced = true;
        f->letter.deliver = deliver_to_follower;
        rotor__loop_post(f->loop, &rotor__future_ref(f)->letter);
    } else {
        (void)rotor_wake(f->loop, f->watcher);
    }
}

void rotor__future_follow(rotor_future *f, void (*follow)(rotor_future *, void *), void *context)
{
    f->follow = follow;
    f->context = context;
    if (f->resolved && !has_ended(f))
        announce(f);
}

void rotor__future_resolve(rotor_future *f, int status, void *value)
{
    f->resolved = true;
    f->status = status;
    f->value = value;
    if (atomic_load(&f->dropped)) /* by the very call that it comes from */
        destroy_value(f);
    else
        announce(f);
}

/* -- the port ---------------------------------------------------------------------------------- */

static void deliver_result(rotor__letter *letter, rotor_loop *loop)
{
    rotor_future *f = ROTOR__CONTAINER(letter, rotor_future, letter);
    f->resolved = true;
    if (atomic_load(&f->dropped))
        destroy_value(f);
    else if (loop)
        announce(f);
    rotor__future_unref(f);
}

int rotor__port_resolve(rotor_port *port, int status, void *value)
{
    rotor_future *f = &port->future;
    f->status = status;
    f->value = value;
    int error = ROTOR_ECANCELED;
    if (!atomic_load(&f->dropped))
        error = rotor__mailbox_post(f->mailbox, &f->letter);
    if (error) {
        f->value = NULL;
        rotor__future_unref(f);
    } /* else the letter has the port's reference */
    return error;
}

static int resolve(rotor_port *port, int status, void *value)
{
    void (*destroy)(void *) = port->future.destroy;
    int error = rotor__port_resolve(port, status, value);
    if (error && value && destroy)
        destroy(value);
    return error;
}

int rotor_future_new(rotor_loop *loop, rotor_future **future, rotor_port **port,
                     void (*destroy)(void *value))
{
    rotor_port *p = (rotor_port *)rotor__future_make(sizeof *p, loop, loop->mailbox, destroy, NULL);
    *future = NULL;
    *port = p;
    if (!p)
        return UV_ENOMEM;
    p->future.letter.deliver = deliver_result;
    *future = rotor__future_ref(&p->future);
    return 0;
}

int rotor_port_set(rotor_port *port, void *value)
{
    return resolve(port, 0, value);
}

int rotor_port_fail(rotor_port *port, int code)
{
    return rotor_port_fail_with(port, code, NULL);
}

int rotor_port_fail_with(rotor_port *port, int code, void *detail)
{
    return resolve(port, rotor__future_error(code), detail);
}

void rotor_port_drop(rotor_port *port)
{
    if (port)
        (void)resolve(port, ROTOR_ECANCELED, NULL);
}

bool rotor_port_is_canceled(const rotor_port *port)
{
    return atomic_load(&port->future.dropped) || has_ended(&port->future);
}

/* Whether it can be told. */
static int judge_watcher(const rotor_future *f, rotor_handle machine)
{
    bool nobody = machine.generation == 0;
    return has_ended(f) || (!nobody && !rotor_find(f->loop, machine)) ? ROTOR_ECLOSED : 0;
}

int rotor_port_watch(rotor_port *port, rotor_handle machine)
{
    rotor_future *f = &port->future;
    int error = judge_watcher(f, machine);
    if (error)
        return error;
    f->tender = machine;
    bool told = machine.generation > 0 && atomic_load(&f->dropped);
    return told ? rotor_wake(f->loop, machine) : 0;
}

/* -- the future -------------------------------------------------------------------------------- */

int rotor_future_watch(rotor_future *f, rotor_handle machine)
{
    int error = judge_watcher(f, machine);
    if (error)
        return error;
    f->watcher = machine;
    return f->resolved && machine.generation > 0 ? rotor_wake(f->loop, machine) : 0;
}

int rotor_future_status(const rotor_future *f)
{
    if (f->resolved)
        return f->status;
    return has_ended(f) ? ROTOR_ECLOSED : UV_EAGAIN;
}

int rotor_future_take(rotor_future *f, void **value)
{
    int status = rotor_future_status(f);
    *value = NULL;
    if (status == UV_EAGAIN)
        return status;
    if (f->resolved) {
        *value = f->value;
        f->value = NULL;
    }
    rotor_future_drop(f);
    return status;
}

void *rotor_future_peek(const rotor_future *f)
{
    return f->resolved ? f->value : NULL;
}

void rotor_future_drop(rotor_future *f)
{
    for (rotor_future *source = NULL; f; f = source) {
        atomic_store(&f->dropped, true);
        if (f->resolved)
            destroy_value(f);
        source = !f->resolved && f->abandon ? f->abandon(f) : NULL;
        if (!f->resolved && f->tender.generation > 0 && !has_ended(f))
            (void)rotor_wake(f->loop, f->tender);
        rotor__future_unref(f);
    }
}
