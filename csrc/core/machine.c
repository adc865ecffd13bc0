/* The life of machines: slots and handles, creating, running, ending.
**
** Every transition is called from here, through `settle`, which does what the response says. */
#include <string.h>

#include "private.h"

enum { NO_SLOT = UINT32_MAX, FIRST_SLOTS = 64 };

/* -- slots ------------------------------------------------------------------------------------- */

static int grow_slots(rotor_loop *loop)
{
    uint32_t n = loop->nslots ? 2 * loop->nslots : FIRST_SLOTS;
    if (n > loop->capacity)
        n = loop->capacity;
    rotor__slot *slots = rotor_realloc(loop->slots, n * sizeof *slots);
    if (!slots)
        return UV_ENOMEM;
    for (uint32_t i = loop->nslots; i < n; i++)
        slots[i] = (rotor__slot){NULL, 1, i + 1 < n ? i + 1 : NO_SLOT};
    loop->free_slot = loop->nslots;
    loop->slots = slots;
    loop->nslots = n;
    return 0;
}

const char *rotor_machine_name(const rotor_machine *m)
{
    bool created = m->flags & ROTOR__CREATED;
    return created && m->type->name_of ? m->type->name_of(m) : m->type->name;
}

rotor_machine *rotor_find(rotor_loop *loop, rotor_handle handle)
{
    if (handle.slot >= loop->nslots || loop->slots[handle.slot].generation != handle.generation)
        return NULL;
    return loop->slots[handle.slot].machine;
}

/* -- queues ------------------------------------------------------------------------------------ */

static void push(rotor__queue *queue, rotor_machine *m)
{
    m->next = NULL;
    *queue->last = m;
    queue->last = &m->next;
}

static rotor_machine *pop(rotor__queue *queue)
{
    rotor_machine *m = queue->first;
    if (m && !(queue->first = m->next))
        queue->last = &queue->first;
    return m;
}

/* Somebody outside an event has queued work: have a turn soon. Otherwise rotor__loop_leave does. */
static void ensure_turn(rotor_loop *loop);

static void enqueue_in(rotor__queue *queue, rotor_machine *m, uint32_t why)
{
    if (!(m->flags & ROTOR__QUEUED))
        push(queue, m);
    m->flags |= why | ROTOR__QUEUED;
    ensure_turn(m->loop);
}

static void enqueue(rotor_machine *m, uint32_t why)
{
    enqueue_in(&m->loop->queue, m, why);
}

/* -- families ---------------------------------------------------------------------------------- */

/* Stands before a machine that owns others or is owned by one, in the same block; the rest do without. */
typedef struct family {
    rotor_machine *owner, *children;
    rotor_machine *next, **link; /* among the owner's children; link is NULL when in none */
} family;

_Static_assert(sizeof(family) % _Alignof(max_align_t) == 0, "a machine follows");

static family *family_of(rotor_machine *m)
{
    return (family *)(void *)m - 1;
}

static bool owns_children(const rotor_machine *m)
{
    return m && m->type->child_done;
}

static void join_family(rotor_machine *m, rotor_machine *owner)
{
    family *f = family_of(m);
    f->owner = owner;
    f->link = &family_of(owner)->children;
    f->next = *f->link;
    if (f->next)
        family_of(f->next)->link = &f->next;
    *f->link = m;
}

static void leave_family(rotor_machine *m)
{
    if (!(m->flags & ROTOR__KIN) || !family_of(m)->link)
        return;
    family *f = family_of(m);
    *f->link = f->next;
    if (f->next)
        family_of(f->next)->link = f->link;
    f->link = NULL;
}

/* All zero, with room for its family in front if it has one; NULL: no memory. */
static rotor_machine *new_body(bool kin, size_t size)
{
    char *memory = rotor_alloc_zero(kin ? sizeof(family) + size : size);
    if (!memory)
        return NULL;
    rotor_machine *m = (rotor_machine *)(void *)(kin ? memory + sizeof(family) : memory);
    m->flags = kin ? ROTOR__KIN : 0;
    m->deadline.at = ROTOR_NEVER;
    return m;
}

static void free_body(rotor_machine *m)
{
    rotor_free(m->flags & ROTOR__KIN ? (void *)family_of(m) : m);
}

/* -- ending ------------------------------------------------------------------------------------ */

static void release(rotor_machine *m)
{
    if (!m->ios && !(m->flags & (ROTOR__QUEUED | ROTOR__MOURNED)))
        free_body(m);
}

static void finish(rotor_machine *m)
{
    for (rotor_io *io = m->ios; io; io = io->next)
        rotor_io_close(io);
    leave_family(m);
    if (m->flags & ROTOR__CREATED && m->type->drop)
        m->type->drop(m);
    release(m);
}

void rotor__machine_io_closed(rotor_machine *m)
{
    rotor_loop *loop = m->loop;
    if (m->flags & ROTOR__ENDED)
        release(m);
    rotor__loop_handle_closed(loop);
}

/* `slot` became free: whoever was refused one may try again, from there on, so that not always the same
** is first. */
static void wake_waiting(rotor_loop *loop, uint32_t slot)
{
    for (uint32_t i = 0; loop->waiting && i < loop->nslots; i++) {
        rotor_machine *m = loop->slots[(slot + i) % loop->nslots].machine;
        if (m && m->flags & ROTOR__WAITS) {
            m->flags &= ~(uint32_t)ROTOR__WAITS;
            loop->waiting--;
            enqueue(m, ROTOR__WAKE);
        }
    }
}

static void leave_slot(rotor_machine *m)
{
    rotor_loop *loop = m->loop;
    rotor__slot *slot = &loop->slots[m->self.slot];
    slot->machine = NULL;
    slot->generation++;
    if (slot->generation == 0) /* 2^32 lives later: generation 0 is no machine's */
        slot->generation = 1;
    slot->next_free = loop->free_slot;
    loop->free_slot = m->self.slot;
    if (m->flags & ROTOR__WAITS)
        loop->waiting--;
    if (m->flags & ROTOR__IDLE)
        loop->idlers--;
    if (--loop->count == loop->idlers)
        uv_unref((uv_handle_t *)&loop->bell);
    if (loop->waiting)
        wake_waiting(loop, m->self.slot);
}

static void report(rotor_machine *m)
{
    if (m->status < 0 && !(m->flags & ROTOR__QUIET) && m->loop->config.on_error)
        m->loop->config.on_error(m->loop, m, m->status);
}

static void end(rotor_machine *m, int status, bool told);

static void end_child(rotor_machine *m)
{
    if (m->flags & ROTOR__MOURNED) { /* it has ended, and its owner has not heard of it yet */
        if (!m->loop->closing)
            report(m);
        m->flags &= ~(uint32_t)ROTOR__MOURNED;
        finish(m);
        return;
    }
    if (m->flags & ROTOR__SPAWN) {
        m->flags &= ~(uint32_t)ROTOR__SPAWN;
        m->deadline = (rotor_deadline)ROTOR_DEADLINE_INIT;
    }
    end(m, ROTOR_ECANCELED, true);
}

/* Those without children first and not by recursion, as they may be a long chain. */
static void end_children(rotor_machine *owner)
{
    for (rotor_machine *m = owner;;) {
        while (family_of(m)->children)
            m = family_of(m)->children;
        if (m == owner)
            return;
        rotor_machine *above = family_of(m)->owner;
        end_child(m);
        m = above;
    }
}

/* `told`: the caller passes the failure on itself, so neither the parent nor on_error hears it. */
static void end(rotor_machine *m, int status, bool told)
{
    rotor_loop *loop = m->loop;
    if (m->flags & ROTOR__ENDED)
        return;
    m->flags |= ROTOR__ENDED;
    m->status = status;
    if (owns_children(m))
        end_children(m);
    rotor_wheel_remove(&loop->wheel, &m->deadline);
    leave_slot(m);
    if (!told && !loop->closing) {
        rotor_machine *parent = rotor_find(loop, m->parent);
        if (parent && parent->type->child_done) {
            m->flags |= ROTOR__MOURNED;
            for (rotor_io *io = m->ios; io; io = io->next)
                rotor_io_want(io, 0);
            enqueue(m, 0);
            return;
        }
        report(m);
    }
    finish(m);
}

void rotor__machine_idle(rotor_machine *m, bool idle)
{
    rotor_loop *loop = m->loop;
    uint32_t before = loop->count - loop->idlers;
    if (idle == ((m->flags & ROTOR__IDLE) != 0))
        return;
    m->flags ^= ROTOR__IDLE;
    for (rotor_io *io = m->ios; io; io = io->next) {
        if (idle)
            uv_unref((uv_handle_t *)&io->poll);
        else
            uv_ref((uv_handle_t *)&io->poll);
    }
    loop->idlers = idle ? loop->idlers + 1 : loop->idlers - 1;
    if (idle && before == 1)
        uv_unref((uv_handle_t *)&loop->bell);
    else if (before == 0)
        uv_ref((uv_handle_t *)&loop->bell);
}

void rotor__machine_wait_slot(rotor_machine *m)
{
    if (!(m->flags & ROTOR__WAITS))
        m->loop->waiting++;
    m->flags |= ROTOR__WAITS;
}

/* -- succession -------------------------------------------------------------------------------- */

rotor_machine *rotor__heir_new(rotor_machine *m, size_t size)
{
    rotor_machine *heir = new_body(m->flags & ROTOR__KIN, size);
    if (!heir)
        return NULL;
    heir->type = m->type;
    heir->loop = m->loop;
    heir->self = m->self;
    heir->parent = m->parent;
    return heir;
}

void rotor__heir_free(rotor_machine *heir)
{
    free_body(heir);
}

/* The heir takes the place of `m` among its owner's children. */
static void inherit_family(rotor_machine *heir, rotor_machine *m)
{
    family *f = family_of(heir), *of = family_of(m);
    assert(!of->children);
    *f = *of;
    *of = (family){0};
    if (f->link)
        *f->link = heir;
    if (f->next)
        family_of(f->next)->link = &f->next;
}

static void succeed(rotor_machine *m, rotor_machine *heir)
{
    const uint32_t owed = ROTOR__WAKE | ROTOR__END;
    rotor_loop *loop = m->loop;
    assert(!(m->flags & (ROTOR__WAITS | ROTOR__IDLE)));
    if (m->flags & ROTOR__KIN)
        inherit_family(heir, m);
    heir->flags |= ROTOR__CREATED;
    heir->status = m->status; /* if it is to end; or else since when it waits */
    m->status = 0;
    loop->slots[m->self.slot].machine = heir;
    enqueue(heir, ROTOR__AGAIN | (m->flags & owed));
    m->flags = (m->flags & ~owed) | ROTOR__ENDED;
    rotor_wheel_remove(&loop->wheel, &m->deadline);
    finish(m);
}

/* -- creating and settling --------------------------------------------------------------------- */

static inline void settle(rotor_machine *m, rotor_scope *scope, rotor_response r);

static int allocate(rotor_loop *loop, const rotor_type *type, void *seed, rotor_handle parent,
                    rotor_machine **result)
{
    if (loop->closing)
        return ROTOR_ECLOSED;
    if (loop->count >= loop->capacity)
        return ROTOR_ECAPACITY;
    size_t size = type->size_of ? type->size_of(seed) : type->size;
    if (size < sizeof(rotor_machine) || !type->create)
        return UV_EINVAL;
    if (loop->free_slot == NO_SLOT && grow_slots(loop))
        return UV_ENOMEM;
    rotor_machine *owner = rotor_find(loop, parent);
    if (!owns_children(owner))
        owner = NULL;
    bool kin = owner || type->child_done;
    rotor_machine *m = new_body(kin, size);
    if (!m)
        return UV_ENOMEM;
    if (owner)
        join_family(m, owner);
    rotor__slot *slot = &loop->slots[loop->free_slot];
    m->type = type;
    m->loop = loop;
    m->self = (rotor_handle){loop->free_slot, slot->generation};
    m->parent = parent;
    m->since = (uint32_t)loop->now;
    slot->machine = m;
    loop->free_slot = slot->next_free;
    if (loop->count++ == loop->idlers)
        uv_ref((uv_handle_t *)&loop->bell);
    *result = m;
    return 0;
}

/* Leave a create or a spawn for later. Until then the machine has no deadline, so that there is room
** for what is to be remembered. */
static void defer(rotor_machine *m, uint32_t what, const rotor_type *type, void *seed)
{
    m->deferred.type = type;
    m->deferred.seed = seed;
    enqueue(m, what);
}

static int error_of(rotor_response r)
{
    return r.error < 0 ? r.error : ROTOR_EUNEXPECTED;
}

/* `m` is about to run. */
static inline void mark(rotor_machine *m)
{
    if (__builtin_expect(m->loop->watch != NULL, 0))
        rotor__watch_mark(m);
}

/* Call `create` and do what it says, but for a spawn, which is left for later so that machines which
** spawn from `create` do not pile up on the stack. Returns its error; the machine is gone then. */
static int create(rotor_machine *m, void *seed)
{
    rotor_scope scope = {m->loop, m, NULL, NULL};
    mark(m);
    m->flags |= ROTOR__CREATED;
    rotor_response r = m->type->create(m, &scope, seed);
    if (r.kind == ROTOR_SPAWN) {
        defer(m, ROTOR__SPAWN, scope.spawn_type, scope.spawn_seed);
        return 0;
    }
    if (r.kind == ROTOR_ERROR) {
        int error = error_of(r);
        end(m, error, true);
        return error;
    }
    settle(m, &scope, r);
    return 0;
}

static rotor_response spawn(rotor_machine *m, rotor_scope *scope)
{
    rotor_loop *loop = m->loop;
    const rotor_type *type = scope->spawn_type;
    void *seed = scope->spawn_seed;
    rotor_machine *child = NULL;
    rotor_handle handle = ROTOR_NO_HANDLE;
    int error = allocate(loop, type, seed, m->self, &child);
    if (error == ROTOR_ECAPACITY)
        rotor__machine_wait_slot(m);
    if (!error) {
        handle = child->self;
        error = create(child, seed);
    }
    if (error)
        return m->type->spawn_error ? m->type->spawn_error(m, scope, error, seed)
                                    : rotor_error(error);
    return m->type->spawned ? m->type->spawned(m, scope, handle) : rotor_ok();
}

static inline void set_deadline(rotor_machine *m, uint64_t at)
{
    rotor_loop *loop = m->loop;
    if (loop->expiring && at <= loop->now)
        at = loop->now + 1; /* or the wheel would hand it out again in this very turn */
    if (rotor_wheel_set(&loop->wheel, &m->deadline, at) && at < loop->timer_at)
        rotor__loop_arm(loop, at);
}

/* It waits from now on. */
static inline void wait_until(rotor_machine *m, uint64_t at)
{
    if (!(m->flags & ROTOR__END))
        m->since = (uint32_t)m->loop->now;
    set_deadline(m, at);
}

void rotor__machine_until(rotor_machine *m, uint64_t at)
{
    wait_until(m, at);
}

static void settle_rest(rotor_machine *m, rotor_scope *scope, rotor_response r)
{
    while (r.kind == ROTOR_SPAWN) {
        set_deadline(m, ROTOR_NEVER);
        r = spawn(m, scope);
    }
    switch (r.kind) {
    case ROTOR_OK:
        wait_until(m, r.deadline);
        break;
    case ROTOR_DONE:
        end(m, 0, false);
        break;
    case ROTOR_ERROR:
        end(m, error_of(r), false);
        break;
    case ROTOR__SUCCEED:
        succeed(m, scope->spawn_seed);
        break;
    case ROTOR_SAME:
    case ROTOR_SPAWN:
        break;
    }
}

/* Do what a transition has answered; nearly always that is to wait. */
static inline void settle(rotor_machine *m, rotor_scope *scope, rotor_response r)
{
    if (r.kind == ROTOR_OK)
        wait_until(m, r.deadline);
    else
        settle_rest(m, scope, r);
}

/* -- running ----------------------------------------------------------------------------------- */

void rotor__machine_ready(rotor_machine *m, rotor_io *io, unsigned events)
{
    if (m->flags & (ROTOR__ENDED | ROTOR__SPAWN) || !m->type->ready)
        return; /* a machine that awaits `spawned` hears nothing else before */
    rotor_scope scope = {m->loop, m, NULL, NULL};
    mark(m);
    settle(m, &scope, m->type->ready(m, &scope, io, events));
}

void rotor__machine_timeout(rotor_machine *m)
{
    rotor_scope scope = {m->loop, m, NULL, NULL};
    m->deadline.at = ROTOR_NEVER;
    mark(m);
    settle(m, &scope,
           m->type->timeout ? m->type->timeout(m, &scope) : rotor_error(ROTOR_ETIMEDOUT));
}

static void mourn(rotor_machine *child)
{
    rotor_machine *parent = rotor_find(child->loop, child->parent);
    leave_family(child); /* it stays for as long as its parent looks at it, also if that ends */
    if (parent) {
        rotor_scope scope = {parent->loop, parent, NULL, NULL};
        mark(parent);
        settle(parent, &scope, parent->type->child_done(parent, &scope, child, child->status));
    } else {
        report(child);
    }
    child->flags &= ~(uint32_t)ROTOR__MOURNED;
    finish(child);
}

static void run_deferred(rotor_machine *m, uint32_t what)
{
    rotor_scope scope = {m->loop, m, m->deferred.type, m->deferred.seed};
    m->flags &= ~what;
    m->flags |= ROTOR__CREATED;
    m->deadline = (rotor_deadline)ROTOR_DEADLINE_INIT;
    mark(m);
    if (what == ROTOR__SPAWN)
        settle(m, &scope, (rotor_response){ROTOR_SPAWN, 0, 0});
    else /* nobody is there to be returned an error, so it ends like any other */
        settle(m, &scope, m->type->create(m, &scope, scope.spawn_seed));
}

/* Whether `m` has ended. If another has its handle, what it is still owed is for that. */
static bool has_ended(rotor_loop *loop, const rotor_machine *m, rotor_handle self, uint32_t owed)
{
    rotor_machine *now = rotor_find(loop, self);
    if (now && now != m)
        enqueue(now, owed);
    return now != m;
}

static void run(rotor_machine *m)
{
    uint32_t owed = m->flags & (ROTOR__WAKE | ROTOR__AGAIN | ROTOR__END);
    uint32_t deferred = m->flags & (ROTOR__CREATE | ROTOR__SPAWN);
    m->flags &= ~(owed | ROTOR__QUEUED);
    if (m->flags & ROTOR__MOURNED) {
        mourn(m);
        return;
    }
    if (m->flags & ROTOR__ENDED) {
        release(m);
        return;
    }
    rotor_handle self = m->self;
    rotor_loop *loop = m->loop;
    int status = m->status;      /* if it is to end, as what comes before may have it wait */
    if (m->flags & ROTOR__LATER) /* asked for while it was queued for now */
        enqueue_in(&loop->later, m, 0);
    if (deferred) { /* also before rotor_end(): whoever gave a seed relies on `create` to see it */
        run_deferred(m, deferred);
        if (has_ended(loop, m, self, owed))
            return;
    }
    if (owed & ROTOR__END) {
        end(m, status, false);
        return;
    }
    if (owed & ROTOR__AGAIN) {
        rotor__machine_ready(m, NULL, 0);
        if (has_ended(loop, m, self, owed & ROTOR__WAKE))
            return;
    }
    if (owed & ROTOR__WAKE && m->type->wakeup) {
        rotor_scope scope = {loop, m, NULL, NULL};
        mark(m);
        settle(m, &scope, m->type->wakeup(m, &scope));
    }
}

static bool run_letter(rotor_loop *loop)
{
    rotor__letter *letter = loop->letters;
    if (!letter)
        return false;
    if (!(loop->letters = letter->next))
        loop->letters_last = &loop->letters;
    letter->deliver(letter, loop->closing ? NULL : loop);
    return true;
}

static bool run_machine(rotor_loop *loop)
{
    rotor_machine *m = pop(&loop->queue);
    if (m)
        run(m);
    return m;
}

bool rotor__machines_run(rotor_loop *loop, unsigned most)
{
    for (bool more = true; more && most > 0; most--) {
        more = run_letter(loop);
        more |= run_machine(loop);
    }
    return loop->queue.first || loop->later.first || loop->letters;
}

void rotor__machines_next_turn(rotor_loop *loop)
{
    if (!loop->later.first)
        return;
    for (rotor_machine *m = loop->later.first; m; m = m->next)
        if (m->flags & ROTOR__LATER) /* it may be owed now as well */
            m->flags = (m->flags & ~(uint32_t)ROTOR__LATER) | ROTOR__AGAIN;
    *loop->queue.last = loop->later.first;
    loop->queue.last = loop->later.last;
    loop->later = (rotor__queue){NULL, &loop->later.first};
}

void rotor__machines_drop(rotor_loop *loop)
{
    for (uint32_t i = 0; i < loop->nslots; i++) {
        rotor_machine *m = loop->slots[i].machine;
        uint32_t deferred = m ? m->flags & (ROTOR__CREATE | ROTOR__SPAWN) : 0;
        if (deferred)
            run_deferred(m, deferred);
        m = loop->slots[i].machine;
        if (m)
            end(m, ROTOR_ECANCELED, true);
    }
    rotor__machines_next_turn(loop);
    for (rotor_machine *m; (m = pop(&loop->queue));) {
        bool mourned = m->flags & ROTOR__MOURNED;
        m->flags &= ~(uint32_t)(ROTOR__QUEUED | ROTOR__MOURNED);
        if (mourned)
            finish(m);
        else
            release(m);
    }
}

static void ensure_turn(rotor_loop *loop)
{
    if (!loop->busy && !loop->closing)
        rotor__loop_turn_soon(loop);
}

void rotor__loop_post(rotor_loop *loop, rotor__letter *letter)
{
    letter->next = NULL;
    *loop->letters_last = letter;
    loop->letters_last = &letter->next;
    ensure_turn(loop);
}

void rotor__letters_drop(rotor_loop *loop)
{
    while (run_letter(loop))
        continue;
}

/* -- public ------------------------------------------------------------------------------------ */

int rotor_add(rotor_loop *loop, const rotor_type *type, void *seed, rotor_handle *handle)
{
    rotor_machine *m;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    int error = allocate(loop, type, seed, ROTOR_NO_HANDLE, &m);
    if (error)
        return error;
    rotor_handle self = m->self;
    if (!loop->busy) {
        uv_update_time(loop->uv); /* the present event is this call */
        rotor__loop_enter(loop);
        m->since = (uint32_t)loop->now;
        error = create(m, seed);
        rotor__loop_leave(loop);
    } else {
        defer(m, ROTOR__CREATE, NULL, seed);
    }
    if (handle && !error)
        *handle = self;
    return error;
}

int rotor_wake(rotor_loop *loop, rotor_handle handle)
{
    rotor_machine *m = rotor_find(loop, handle);
    if (!m)
        return ROTOR_ECLOSED;
    enqueue(m, ROTOR__WAKE);
    return 0;
}

int rotor_end(rotor_loop *loop, rotor_handle handle, int status)
{
    rotor_machine *m = rotor_find(loop, handle);
    if (!m)
        return ROTOR_ECLOSED;
    m->status = status;
    enqueue(m, ROTOR__END);
    return 0;
}

int rotor__add_now(rotor_loop *loop, const rotor_type *type, void *seed, rotor_handle *handle)
{
    bool outside = !loop->busy;
    rotor_machine *m;
    if (outside) {
        uv_update_time(loop->uv);
        rotor__loop_enter(loop);
    }
    int error = allocate(loop, type, seed, ROTOR_NO_HANDLE, &m);
    rotor_handle self = error ? ROTOR_NO_HANDLE : m->self;
    if (!error)
        error = create(m, seed);
    if (handle)
        *handle = error ? ROTOR_NO_HANDLE : self;
    if (outside) {
        loop->busy = false;
        if (loop->watch)
            loop->watch->began = 0;
        if (loop->queue.first || loop->later.first || loop->letters)
            ensure_turn(loop);
    }
    return error;
}

void rotor__machine_again(rotor_machine *m)
{
    enqueue_in(&m->loop->later, m, ROTOR__LATER);
}

void rotor__machine_soon(rotor_machine *m)
{
    enqueue(m, ROTOR__AGAIN);
}

void rotor_again(rotor_scope *scope)
{
    rotor__machine_again(scope->machine);
}
