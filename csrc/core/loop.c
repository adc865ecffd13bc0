/* The loop's own life and its events: queue, deadlines, letters, signals. */
#include <string.h>

#include "private.h"

enum { DEFAULT_CAPACITY = 1 << 20, DEFAULT_BUFFER = 65536, RUNS_PER_EVENT = 256 };

/* -- clocks ------------------------------------------------------------------------------------ */

static uint64_t system_wall(void *context)
{
    uv_timeval64_t now;
    uv_gettimeofday(&now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static void expire(rotor_loop *loop)
{
    rotor__loop_enter(loop);
    loop->expiring = true;
    for (rotor_deadline *d; (d = rotor_wheel_expire(&loop->wheel, loop->now));)
        rotor__machine_timeout(ROTOR__CONTAINER(d, rotor_machine, deadline));
    rotor__loop_leave(loop);
    loop->expiring = false;
}

static void on_timer(uv_timer_t *timer)
{
    rotor_loop *loop = timer->data;
    loop->timer_at = ROTOR_NEVER;
    expire(loop);
    uint64_t next = rotor_wheel_next(&loop->wheel);
    if (next < loop->timer_at)
        rotor__loop_arm(loop, next);
}

void rotor__loop_arm(rotor_loop *loop, uint64_t at)
{
    if (loop->clock.monotonic_ms || loop->closing)
        return;
    uint64_t now = uv_now(loop->uv);
    loop->timer_at = at;
    uv_timer_start(&loop->timer, on_timer, at > now ? at - now : 0, 0);
}

/* -- events ------------------------------------------------------------------------------------ */

static void on_idle(uv_idle_t *idle)
{
    rotor_loop *loop = idle->data;
    rotor__loop_enter(loop);
    rotor__machines_next_turn(loop);
    rotor__loop_leave(loop);
}

void rotor__loop_turn_soon(rotor_loop *loop)
{
    if (!loop->turning)
        uv_idle_start(&loop->idle, on_idle);
    loop->turning = true;
}

void rotor__loop_run_queued(rotor_loop *loop)
{
    /* What is queued runs now, but a bounded number: machines that wake each other for ever must
    ** not keep the loop from its descriptors. */
    bool more = rotor__machines_run(loop, RUNS_PER_EVENT);
    loop->busy = false;
    if (more) {
        rotor__loop_turn_soon(loop);
    } else if (loop->turning) {
        loop->turning = false;
        uv_idle_stop(&loop->idle);
    }
}

static void deliver(rotor_loop *loop)
{
    rotor__loop_enter(loop);
    rotor__mailbox_deliver(loop->mailbox, loop);
    rotor__loop_leave(loop);
}

static void on_bell(uv_poll_t *bell, int status, int events)
{
    rotor_loop *loop = bell->data;
    rotor__mailbox_hear(loop->mailbox);
    deliver(loop);
}

/* -- life -------------------------------------------------------------------------------------- */

static void free_memory(rotor_loop *loop)
{
    rotor_free(loop->slots);
    rotor_free(loop->watched);
    rotor_free(loop->read_block);
    rotor_free(loop->write_block);
    if (loop->mailbox)
        rotor__mailbox_unref(loop->mailbox);
    rotor_free(loop);
}

void rotor__loop_handle_closed(rotor_loop *loop)
{
    if (--loop->handles == 0 && loop->closing && !loop->owns_uv)
        free_memory(loop);
}

static void on_handle_closed(uv_handle_t *handle)
{
    rotor__loop_handle_closed(handle->data);
}

static void adopt(rotor_loop *loop, uv_handle_t *handle)
{
    handle->data = loop;
    uv_unref(handle); /* machines keep a loop running, not its own machinery */
    loop->handles++;
}

static int open_handles(rotor_loop *loop)
{
    /* Only the bell can fail, so it goes first. */
    int error = uv_poll_init(loop->uv, &loop->bell, loop->mailbox->bell[0]);
    if (error)
        return error;
    uv_poll_start(&loop->bell, UV_READABLE, on_bell);
    adopt(loop, (uv_handle_t *)&loop->bell);
    uv_timer_init(loop->uv, &loop->timer);
    adopt(loop, (uv_handle_t *)&loop->timer);
    uv_idle_init(loop->uv, &loop->idle);
    adopt(loop, (uv_handle_t *)&loop->idle);
    uv_ref((uv_handle_t *)&loop->idle); /* active only while there is something to run */
    return 0;
}

int rotor_loop_new(rotor_loop **result, const rotor_config *config)
{
    *result = NULL;
    rotor_loop *loop = rotor_alloc_zero(sizeof *loop);
    if (!loop)
        return UV_ENOMEM;
    if (config)
        loop->config = *config;
    if (loop->config.clock)
        loop->clock = *loop->config.clock;
    if (!loop->clock.wall_ms)
        loop->clock.wall_ms = system_wall;
    size_t capacity = loop->config.capacity ? loop->config.capacity : DEFAULT_CAPACITY;
    loop->capacity = capacity < UINT32_MAX ? (uint32_t)capacity : UINT32_MAX - 1;
    loop->free_slot = UINT32_MAX;
    loop->queue.last = &loop->queue.first;
    loop->later.last = &loop->later.first;
    loop->letters_last = &loop->letters;
    loop->timer_at = ROTOR_NEVER;

    size_t buffer = loop->config.buffer ? loop->config.buffer : DEFAULT_BUFFER;
    loop->read_block = rotor_block_new(buffer);
    loop->write_block = rotor_block_new(buffer);
    int error = loop->read_block && loop->write_block ? 0 : UV_ENOMEM;
    if (!error)
        error = rotor__mailbox_new(&loop->mailbox);
    if (!error && !loop->config.uv) {
        error = uv_loop_init(&loop->own_uv);
        loop->owns_uv = !error;
    }
    if (!error) {
        loop->uv = loop->owns_uv ? &loop->own_uv : loop->config.uv;
        error = open_handles(loop);
    }
    if (error) {
        if (loop->mailbox)
            rotor__mailbox_close(loop->mailbox);
        if (loop->owns_uv)
            uv_loop_close(&loop->own_uv);
        free_memory(loop);
        return error;
    }
    rotor__loop_read_clock(loop);
    rotor_wheel_init(&loop->wheel, loop->now);
    *result = loop;
    return 0;
}

static void on_signal_closed(uv_handle_t *handle)
{
    rotor_loop *loop = handle->data;
    rotor_free(ROTOR__CONTAINER((uv_signal_t *)handle, rotor__signal, handle));
    rotor__loop_handle_closed(loop);
}

int rotor_loop_free(rotor_loop *loop)
{
    if (loop->busy || loop->running)
        return UV_EBUSY;
    loop->closing = true;
    loop->watch = NULL;
    loop->busy = true; /* destructors are the user's code, too */
    rotor__machines_drop(loop);
    rotor__children_close(loop);
    uv_close((uv_handle_t *)&loop->bell, on_handle_closed); /* before its descriptor */
    rotor__mailbox_close(loop->mailbox);
    rotor__letters_drop(loop);
    for (rotor__signal *s = loop->signals, *next; s; s = next) {
        next = s->next;
        uv_close((uv_handle_t *)&s->handle, on_signal_closed);
    }
    uv_close((uv_handle_t *)&loop->timer, on_handle_closed);
    uv_close((uv_handle_t *)&loop->idle, on_handle_closed);
    if (!loop->owns_uv)
        return 0;
    do /* again, if a stop was still pending */
        uv_run(loop->uv, UV_RUN_DEFAULT);
    while (loop->handles > 0);
    int error = uv_loop_close(loop->uv);
    if (!error)
        free_memory(loop);
    return error;
}

/* -- running ----------------------------------------------------------------------------------- */

static int run(rotor_loop *loop, uv_run_mode mode)
{
    if (loop->running || loop->busy)
        return UV_EBUSY;
    loop->running = true;
    do {
        uv_update_time(loop->uv);
        if (!loop->stopping)
            deliver(loop); /* letters need no machine to be alive */
        if (!loop->stopping && loop->clock.monotonic_ms)
            expire(loop);
        uv_run(loop->uv, mode); /* after uv_stop() does nothing but forget it */
    } while (mode == UV_RUN_DEFAULT && !loop->stopping && !uv_loop_alive(loop->uv) &&
             rotor__mailbox_has_mail(loop->mailbox));
    loop->stopping = false;
    loop->running = false;
    return 0;
}

int rotor_loop_run(rotor_loop *loop)
{
    return run(loop, UV_RUN_DEFAULT);
}

int rotor_loop_turn(rotor_loop *loop)
{
    /* These are to have their turn, too, where libuv would see nothing alive. */
    if (loop->idlers > 0 || loop->children)
        uv_ref((uv_handle_t *)&loop->bell);
    int error = run(loop, UV_RUN_NOWAIT);
    if (loop->count == loop->idlers)
        uv_unref((uv_handle_t *)&loop->bell);
    return error;
}

void rotor_loop_stop(rotor_loop *loop)
{
    loop->stopping = true;
    uv_stop(loop->uv);
}

/* -- signals ----------------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int signum)
{
    rotor_loop *loop = handle->data;
    rotor__signal *s = ROTOR__CONTAINER(handle, rotor__signal, handle);
    rotor__loop_enter(loop);
    if (s->fn)
        s->fn(loop, signum, s->context);
    rotor__loop_leave(loop);
}

int rotor_loop_on_signal(rotor_loop *loop, int signum,
                         void (*fn)(rotor_loop *loop, int signum, void *context), void *context)
{
    rotor__signal *s = loop->signals;
    while (s && s->signum != signum)
        s = s->next;
    if (s) {
        s->fn = fn;
        s->context = context;
        return fn ? uv_signal_start(&s->handle, on_signal, signum) : uv_signal_stop(&s->handle);
    }
    if (!fn)
        return 0;
    s = rotor_alloc_zero(sizeof *s);
    if (!s)
        return UV_ENOMEM;
    s->signum = signum;
    s->fn = fn;
    s->context = context;
    int error = uv_signal_init(loop->uv, &s->handle);
    if (error) {
        rotor_free(s);
        return error;
    }
    adopt(loop, (uv_handle_t *)&s->handle);
    error = uv_signal_start(&s->handle, on_signal, signum);
    if (error) {
        uv_close((uv_handle_t *)&s->handle, on_signal_closed);
        return error;
    }
    s->next = loop->signals;
    loop->signals = s;
    return 0;
}

/* -- looking ----------------------------------------------------------------------------------- */

uint64_t rotor_now(const rotor_scope *scope)
{
    return scope->loop->now;
}

uint64_t rotor_loop_now(const rotor_loop *loop)
{
    return loop->now;
}

uint64_t rotor_loop_wall(const rotor_loop *loop)
{
    return loop->clock.wall_ms(loop->clock.context);
}

void *rotor_context(const rotor_scope *scope)
{
    return scope->loop->config.context;
}

void *rotor_loop_context(const rotor_loop *loop)
{
    return loop->config.context;
}

size_t rotor_loop_count(const rotor_loop *loop)
{
    return loop->count;
}

size_t rotor_loop_capacity(const rotor_loop *loop)
{
    return loop->capacity;
}

bool rotor_loop_busy(const rotor_loop *loop)
{
    return loop->busy;
}

uv_loop_t *rotor_loop_uv(rotor_loop *loop)
{
    return loop->uv;
}
