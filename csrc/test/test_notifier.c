#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "../core/notifier.h"
#include "probe.h"
#include "support.h"

enum { THREADS = 4, TIMES = 10000, ROUNDS = 500 };

static rotor_loop *new_loop(uv_loop_t *uv)
{
    rotor_loop *loop;
    probe_reset();
    assert_int_equal(rotor_loop_new(&loop, &(rotor_config){.uv = uv, .buffer = 64}), 0);
    return loop;
}

/* -- in one thread ----------------------------------------------------------------------------- */

static void many_wakeups_are_one(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a"};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rotor_wakeup(n), 0);
    assert_int_equal(a.count[WAKEUP], 0); /* never at once */
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 1);
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 1);
    rotor_wakeup(n);
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 2);
    rotor_notifier_release(n);
    rotor_notifier_release(NULL);
    probe_free(loop);
}

static rotor_response wake_context(probe *p, rotor_scope *scope)
{
    assert_int_equal(rotor_wakeup(p->plan->context), 0);
    return p->plan->count[WAKEUP] == 3 ? rotor_done() : rotor_ok();
}

static void a_wakeup_during_wakeup_is_another(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a", .on[WAKEUP] = wake_context};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    a.context = n;
    rotor_wakeup(n);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(a.count[WAKEUP], 3);
    rotor_notifier_release(n);
    probe_free(loop);
}

static void each_reference_is_released_on_its_own(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a"};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    rotor_notifier *copy = rotor_notifier_copy(n);
    rotor_notifier_release(n);
    assert_int_equal(rotor_wakeup(copy), 0);
    rotor_notifier_release(copy); /* the wakeup is on its way all the same */
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], 1);
    probe_free(loop);
}

static void never_the_wrong_machine(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a"}, b = {.name = "b"};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    rotor_notifier *none = rotor_notifier_new(loop, ROTOR_NO_HANDLE);
    rotor_end(loop, a.self, 0);
    rotor_wakeup(n); /* it ends before that arrives */
    probe_turn(loop);
    probe_add(loop, &b);
    assert_int_equal(b.self.slot, a.self.slot);
    assert_int_equal(rotor_wakeup(n), 0);
    assert_int_equal(rotor_wakeup(none), 0);
    probe_turn(loop);
    assert_string_equal(probe_log(), "a.create a.drop b.create");
    rotor_notifier_release(n);
    rotor_notifier_release(none);
    probe_free(loop);
}

static void a_notifier_outlives_its_loop(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a"};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    assert_int_equal(rotor_wakeup(n), 0); /* on its way when the loop ends */
    probe_free(loop);
    assert_int_equal(rotor_wakeup(n), ROTOR_ECLOSED);
    assert_int_equal(rotor_wakeup(n), ROTOR_ECLOSED);
    assert_int_equal(a.count[WAKEUP], 0);
    rotor_notifier_release(n);
}

static void wake_from_drop(probe *p)
{
    p->plan->status = rotor_wakeup(p->plan->context);
}

static void a_wakeup_from_drop(void **state)
{
    rotor_loop *loop = new_loop(NULL);
    probe_plan a = {.name = "a", .dropped = wake_from_drop};
    probe_add(loop, &a);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    a.context = n;
    probe_free(loop);
    assert_int_equal(a.status, 0);
    assert_int_equal(rotor_wakeup(n), ROTOR_ECLOSED);
    rotor_notifier_release(n);
}

/* -- from threads ------------------------------------------------------------------------------ */

typedef struct storm {
    rotor_notifier *notifier;
    atomic_int left; /* threads that are not through */
    atomic_int closed;
} storm;

static void *wake_many_times(void *context)
{
    storm *s = context;
    for (int i = 0; i < TIMES; i++)
        rotor_wakeup(s->notifier);
    atomic_fetch_sub_explicit(&s->left, 1, memory_order_relaxed);
    rotor_wakeup(s->notifier); /* the last one must not be lost */
    return NULL;
}

static rotor_response until_all_are_through(probe *p, rotor_scope *scope)
{
    storm *s = p->plan->context;
    return atomic_load_explicit(&s->left, memory_order_relaxed) ? rotor_ok() : rotor_done();
}

static void no_wakeup_is_lost(void **state)
{
    pthread_t threads[THREADS];
    rotor_loop *loop = new_loop(NULL);
    storm s = {.left = THREADS};
    probe_plan a = {.name = "a", .on[WAKEUP] = until_all_are_through, .context = &s};
    probe_add(loop, &a);
    s.notifier = rotor_notifier_new(loop, a.self);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_many_times, &s), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_in_range(a.count[WAKEUP], 1, THREADS * (TIMES + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    rotor_notifier_release(s.notifier);
    probe_free(loop);
}

/* A thread and its machine take turns with `value`; nothing but the notifier orders the thread's
** write before the machine's read, which the thread sanitizer checks. */
typedef struct exchange {
    rotor_notifier *notifier;
    sem_t answered;
    int value;
    int sum;
} exchange;

static void *write_values(void *context)
{
    exchange *e = context;
    for (int i = 1; i <= ROUNDS; i++) {
        e->value = i;
        rotor_wakeup(e->notifier);
        while (sem_wait(&e->answered))
            continue;
    }
    rotor_notifier_release(e->notifier);
    return NULL;
}

static rotor_response read_value(probe *p, rotor_scope *scope)
{
    exchange *e = p->plan->context;
    int value = e->value;
    e->sum += value;
    sem_post(&e->answered);
    return value == ROUNDS ? rotor_done() : rotor_ok();
}

static void a_wakeup_sees_what_was_written_before(void **state)
{
    pthread_t threads[THREADS];
    rotor_loop *loop = new_loop(NULL);
    probe_plan plans[THREADS];
    exchange exchanges[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        plans[i] = (probe_plan){.name = "x", .on[WAKEUP] = read_value, .context = &exchanges[i]};
        probe_add(loop, &plans[i]);
        sem_init(&exchanges[i].answered, 0, 0);
        exchanges[i].notifier = rotor_notifier_new(loop, plans[i].self);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_values, &exchanges[i]), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(plans[i].count[WAKEUP], ROUNDS);
        assert_int_equal(exchanges[i].sum, ROUNDS * (ROUNDS + 1) / 2);
        sem_destroy(&exchanges[i].answered);
    }
    probe_free(loop);
}

static void *wake_until_closed(void *context)
{
    storm *s = context;
    /* Every thread has a reference of its own: this one may well be the last. */
    while (rotor_wakeup(s->notifier) != ROTOR_ECLOSED)
        continue;
    atomic_fetch_add(&s->closed, 1);
    rotor_notifier_release(s->notifier);
    return NULL;
}

static void wake_while_it_ends(uv_loop_t *uv)
{
    pthread_t threads[THREADS];
    rotor_loop *loop = new_loop(uv);
    storm s = {.left = 0};
    probe_plan a = {.name = "a"};
    probe_add(loop, &a);
    s.notifier = rotor_notifier_new(loop, a.self);
    for (int i = 0; i < THREADS; i++) {
        rotor_notifier_copy(s.notifier);
        assert_int_equal(pthread_create(&threads[i], NULL, wake_until_closed, &s), 0);
    }
    rotor_notifier_release(s.notifier);
    while (a.count[WAKEUP] == 0)
        probe_turn(loop);
    probe_free(loop);
    if (uv)
        assert_int_equal(uv_run(uv, UV_RUN_DEFAULT), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.closed, THREADS);
}

static void wakeups_while_the_loop_ends(void **state)
{
    uv_loop_t uv;
    assert_int_equal(uv_loop_init(&uv), 0);
    for (int i = 0; i < 10; i++) {
        wake_while_it_ends(NULL);
        wake_while_it_ends(&uv);
    }
    assert_int_equal(uv_loop_close(&uv), 0);
}

/* Machines come and go in one slot, while threads wake those that are gone. */
typedef struct relay {
    _Atomic(rotor_notifier *) notifier; /* to be taken by a thread */
    atomic_bool over;
} relay;

static void *wake_the_departed(void *context)
{
    relay *r = context;
    while (!atomic_load(&r->over)) {
        rotor_notifier *n = atomic_exchange(&r->notifier, NULL);
        if (!n)
            sched_yield();
        for (int i = 0; n && i < 10; i++)
            rotor_wakeup(n);
        rotor_notifier_release(n);
    }
    return NULL;
}

static void a_reused_slot_hears_nothing_of_its_past(void **state)
{
    pthread_t threads[THREADS];
    rotor_loop *loop = new_loop(NULL);
    relay r = {NULL, false};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_the_departed, &r), 0);
    uint32_t slot = UINT32_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        probe_plan a = {.name = "a"}, b = {.name = "b"};
        probe_add(loop, &a);
        rotor_notifier_release(atomic_exchange(&r.notifier, rotor_notifier_new(loop, a.self)));
        probe_turn(loop);
        rotor_end(loop, a.self, 0);
        probe_turn(loop);
        assert_int_equal(a.count[DROP], 1);
        probe_add(loop, &b); /* nobody has a notifier for it */
        assert_true(slot == UINT32_MAX || slot == b.self.slot);
        slot = b.self.slot;
        probe_turn(loop);
        assert_int_equal(b.count[WAKEUP], 0);
        rotor_end(loop, b.self, 0);
        probe_turn(loop);
    }
    atomic_store(&r.over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    rotor_notifier_release(atomic_load(&r.notifier));
    probe_free(loop);
}

/* -- out of memory ----------------------------------------------------------------------------- */

static void notify(void)
{
    rotor_loop *loop;
    probe_plan a = {.name = "a"};
    probe_reset();
    if (rotor_loop_new(&loop, &(rotor_config){.buffer = 64}))
        return;
    int error = rotor_add(loop, &probe_type, &a, NULL);
    rotor_notifier *n = rotor_notifier_new(loop, a.self);
    if (test_alloc_failed() == 0)
        assert_true(!error && n);
    if (n)
        assert_int_equal(rotor_wakeup(n), 0); /* which allocates nothing */
    probe_turn(loop);
    assert_int_equal(a.count[WAKEUP], n && !error);
    rotor_notifier_release(n);
    probe_free(loop);
}

static void out_of_memory(void **state)
{
    test_out_of_memory(notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_wakeups_are_one),
        TEST(a_wakeup_during_wakeup_is_another),
        TEST(each_reference_is_released_on_its_own),
        TEST(never_the_wrong_machine),
        TEST(a_notifier_outlives_its_loop),
        TEST(a_wakeup_from_drop),
        TEST(no_wakeup_is_lost),
        TEST(a_wakeup_sees_what_was_written_before),
        TEST(wakeups_while_the_loop_ends),
        TEST(a_reused_slot_hears_nothing_of_its_past),
        TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("notifier", tests, NULL, NULL);
}
