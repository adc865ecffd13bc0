/* The mailbox, and notifiers on it.
**
** Its bell is not a uv_async_t: whom that wakes waits, in libuv 1.44 in a loop that burns 20 us, until the
** sender is back from its write(); on a core that both share that is always. */
#include <sched.h>
#include <unistd.h>

#include "notifier.h"
#include "private.h"

/* If there is no room for it, it rings already. */
static void ring(const rotor__mailbox *box)
{
    ssize_t written = write(box->bell[1], "", 1);
    (void)written;
}

void rotor__mailbox_hear(rotor__mailbox *box)
{
    char rung[16];
    ssize_t taken = read(box->bell[0], rung, sizeof rung);
    (void)taken; /* what is left rings again */
}

int rotor__mailbox_new(rotor__mailbox **result)
{
    rotor__mailbox *box = rotor_alloc_zero(sizeof *box);
    if (!box)
        return UV_ENOMEM;
    int error = uv_pipe(box->bell, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE);
    if (error) {
        rotor_free(box);
        return error;
    }
    atomic_init(&box->refs, 1);
    *result = box;
    return 0;
}

rotor__mailbox *rotor__mailbox_ref(rotor__mailbox *box)
{
    atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
    return box;
}

void rotor__mailbox_unref(rotor__mailbox *box)
{
    if (atomic_fetch_sub(&box->refs, 1) == 1)
        rotor_free(box);
}

int rotor__mailbox_post(rotor__mailbox *box, rotor__letter *letter)
{
    if (atomic_load(&box->closed)) /* who goes on calling must not keep the closer waiting */
        return ROTOR_ECLOSED;
    /* Announced before `closed` is read, as the closer reads `senders` after it has set `closed`: one
    ** of the two sees the other, so the bell is there while anybody may ring it. */
    atomic_fetch_add(&box->senders, 1);
    int error = ROTOR_ECLOSED;
    if (!atomic_load(&box->closed)) {
        rotor__letter *head = atomic_load(&box->head);
        do
            letter->next = head;
        while (!atomic_compare_exchange_weak(&box->head, &head, letter));
        if (!head) /* who finds it empty rings the bell */
            ring(box);
        error = 0;
    }
    atomic_fetch_sub(&box->senders, 1);
    return error;
}

bool rotor__mailbox_has_mail(rotor__mailbox *box)
{
    return atomic_load(&box->head);
}

static rotor__letter *take_oldest_first(rotor__mailbox *box)
{
    rotor__letter *letter = atomic_exchange(&box->head, NULL);
    rotor__letter *reversed = NULL;
    while (letter) {
        rotor__letter *next = letter->next;
        letter->next = reversed;
        reversed = letter;
        letter = next;
    }
    return reversed;
}

void rotor__mailbox_deliver(rotor__mailbox *box, rotor_loop *loop)
{
    for (rotor__letter *letter = take_oldest_first(box), *next; letter; letter = next) {
        next = letter->next; /* delivering may free the letter, or post it again */
        letter->deliver(letter, loop);
    }
}

void rotor__mailbox_close(rotor__mailbox *box)
{
    atomic_store(&box->closed, true);
    while (atomic_load(&box->senders) > 0)
        sched_yield();
    (void)close(box->bell[0]);
    (void)close(box->bell[1]);
    rotor__mailbox_deliver(box, NULL);
}

struct rotor_notifier {
    rotor__letter letter;
    atomic_uint refs;
    atomic_bool posted; /* in the mailbox, which then holds a reference */
    rotor__mailbox *mailbox;
    rotor_handle machine;
};

static void deliver(rotor__letter *letter, rotor_loop *loop)
{
    rotor_notifier *n = ROTOR__CONTAINER(letter, rotor_notifier, letter);
    /* Cleared before the machine looks around: a wakeup that comes later is a new one. An exchange,
    ** as a store would not see what those wrote who found it posted already. */
    (void)atomic_exchange(&n->posted, false);
    if (loop)
        (void)rotor_wake(loop, n->machine);
    rotor_notifier_release(n);
}

rotor_notifier *rotor_notifier_new(rotor_loop *loop, rotor_handle machine)
{
    rotor_notifier *n = rotor_alloc_zero(sizeof *n);
    if (!n)
        return NULL;
    n->letter.deliver = deliver;
    n->mailbox = rotor__mailbox_ref(loop->mailbox);
    n->machine = machine;
    atomic_init(&n->refs, 1);
    return n;
}

rotor_notifier *rotor_notifier_copy(rotor_notifier *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

void rotor_notifier_release(rotor_notifier *n)
{
    if (n && atomic_fetch_sub(&n->refs, 1) == 1) {
        rotor__mailbox_unref(n->mailbox);
        rotor_free(n);
    }
}

int rotor_wakeup(rotor_notifier *n)
{
    if (atomic_exchange(&n->posted, true))
        return 0;
    int error = rotor__mailbox_post(n->mailbox, &rotor_notifier_copy(n)->letter);
    if (error) {
        atomic_store(&n->posted, false);
        rotor_notifier_release(n);
    }
    return error;
}
