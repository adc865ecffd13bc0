/* The queue in channels between threads. */
#include "test.h"

#include <pthread.h>

#include "../lua/thread_queue.h"
#include "support.h"

enum { SENDERS = 3, RECEIVERS = 3, TIMES = 5000 };

typedef struct number {
    rotor__item item;
    int n;
} number;

static rotor__item *make(int n)
{
    number *made = rotor_alloc(sizeof *made);
    assert_non_null(made);
    made->n = n;
    return &made->item;
}

static int take(rotor__item *item)
{
    number *taken = ROTOR__CONTAINER(item, number, item);
    int n = taken->n;
    rotor_free(taken);
    return n;
}

static void destroy(rotor__item *item)
{
    (void)take(item);
}

static int receive_one(rotor__thread_queue *q)
{
    rotor__item *item;
    int error = rotor__thread_queue_receive(q, &item);
    return error ? error : take(item);
}

static int send_one(rotor__thread_queue *q, int n)
{
    rotor__item *item = make(n);
    int error = rotor__thread_queue_send(q, item);
    if (error)
        destroy(item);
    return error;
}

/* -- in one thread ----------------------------------------------------------------------------- */

static void values_come_in_order(void **state)
{
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    assert_int_equal(receive_one(q), UV_EAGAIN);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(send_one(q, i), 0);
    assert_int_equal(rotor__thread_queue_count(q), 1000);
    for (int i = 0; i < 990; i++)
        assert_int_equal(receive_one(q), i);
    rotor__thread_queue_unref(q); /* with 10 in it */
    rotor__thread_queue_unref(NULL);
}

static void capacity_bounds(void **state)
{
    rotor__thread_queue *q = rotor__thread_queue_new(2, destroy);
    assert_int_equal(send_one(q, 1), 0);
    assert_int_equal(send_one(q, 2), 0);
    assert_int_equal(send_one(q, 3), UV_EAGAIN);
    assert_false(rotor__thread_queue_is_ready(q, ROTOR__SEND));
    assert_int_equal(receive_one(q), 1);
    assert_true(rotor__thread_queue_is_ready(q, ROTOR__SEND));
    assert_int_equal(send_one(q, 3), 0);
    rotor__thread_queue_unref(q);
}

static void a_closed_one_drains(void **state)
{
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    assert_int_equal(send_one(q, 1), 0);
    assert_true(rotor__thread_queue_close(q));
    assert_false(rotor__thread_queue_close(q));
    assert_true(rotor__thread_queue_is_closed(q));
    assert_int_equal(send_one(q, 2), ROTOR_ECLOSED);
    assert_int_equal(receive_one(q), 1);
    assert_int_equal(receive_one(q), ROTOR_ECLOSED);
    rotor__thread_queue_unref(q);
}

static void blocking_may_end_by_time(void **state)
{
    rotor__item *item = NULL;
    rotor__thread_queue *q = rotor__thread_queue_new(1, destroy);
    assert_int_equal(rotor__thread_queue_receive_blocking(q, &item, 0, NULL), UV_ETIMEDOUT);
    assert_int_equal(rotor__thread_queue_receive_blocking(q, &item, 1, NULL), UV_ETIMEDOUT);
    assert_int_equal(rotor__thread_queue_send_blocking(q, make(1), ROTOR_NEVER, NULL), 0);
    item = make(2);
    assert_int_equal(rotor__thread_queue_send_blocking(q, item, 1, NULL), UV_ETIMEDOUT);
    destroy(item);
    assert_int_equal(rotor__thread_queue_receive_blocking(q, &item, 0, NULL), 0);
    assert_int_equal(take(item), 1);
    rotor__thread_queue_unref(q);
}

static void memory_may_run_out(void)
{
    rotor__thread_queue *q = rotor__thread_queue_new(1, destroy);
    rotor__thread_queue_unref(q);
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(memory_may_run_out);
}

/* -- stations ---------------------------------------------------------------------------------- */

/* Wants that many, and has got so much. */
typedef struct taker {
    rotor__station station;
    int wants, arrived, got;
    bool destroyed;
} taker;

static void on_arrive(rotor__station *s, rotor_loop *loop)
{
    taker *t = ROTOR__CONTAINER(s, taker, station);
    t->arrived++;
    if (!loop)
        return;
    for (int n = 0; t->wants > 0 && n >= 0; t->wants -= n > 0) {
        n = receive_one(s->queue);
        t->got += n > 0 ? n : 0;
    }
    if (t->wants > 0)
        rotor__station_wait(s);
}

static void on_destroy(rotor__station *s)
{
    ROTOR__CONTAINER(s, taker, station)->destroyed = true;
}

static void open_station(taker *t, rotor__thread_queue *q, rotor_loop *loop, int wants)
{
    memset(t, 0, sizeof *t);
    rotor__station_init(&t->station, q, ROTOR__RECEIVE, loop);
    t->station.arrive = on_arrive;
    t->station.destroy = on_destroy;
    t->wants = wants;
    rotor__station_wait(&t->station);
}

static void close_station(taker *t)
{
    rotor__station_leave(&t->station);
    rotor__station_unref(&t->station);
}

static rotor_loop *new_loop(void)
{
    rotor_loop *loop;
    assert_int_equal(rotor_loop_new(&loop, &(rotor_config){.buffer = 64}), 0);
    return loop;
}

static void many_values_are_one_letter(void **state)
{
    taker t;
    rotor_loop *loop = new_loop();
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    open_station(&t, q, loop, 200);
    (void)rotor_loop_turn(loop);
    assert_int_equal(t.arrived, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(send_one(q, 1), 0);
    (void)rotor_loop_turn(loop);
    assert_int_equal(t.arrived, 1);
    assert_int_equal(t.got, 100);
    assert_int_equal(send_one(q, 1), 0);
    (void)rotor_loop_turn(loop);
    assert_int_equal(t.arrived, 2);
    assert_int_equal(t.got, 101);
    close_station(&t);
    assert_true(t.destroyed);
    rotor__thread_queue_unref(q);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void what_one_does_not_want_goes_to_the_next(void **state)
{
    taker a, b;
    rotor_loop *one = new_loop(), *other = new_loop();
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    open_station(&a, q, one, 1);
    open_station(&b, q, other, 1);
    assert_int_equal(send_one(q, 5), 0);
    (void)rotor_loop_turn(other);
    assert_int_equal(b.arrived, 0); /* the first was called */
    a.wants = 0;                    /* and gives up before it comes */
    (void)rotor_loop_turn(one);
    (void)rotor_loop_turn(other);
    assert_int_equal(a.got, 0);
    assert_int_equal(b.got, 5);
    close_station(&a);
    close_station(&b);
    rotor__thread_queue_unref(q);
    assert_int_equal(rotor_loop_free(one), 0);
    assert_int_equal(rotor_loop_free(other), 0);
}

static void a_loop_that_ends_passes_on(void **state)
{
    taker a, b, c;
    rotor_loop *one = new_loop(), *two = new_loop(), *three = new_loop();
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    open_station(&a, q, one, 1);
    open_station(&b, q, two, 1);
    open_station(&c, q, three, 1);
    assert_int_equal(rotor_loop_free(two), 0); /* while its station stands there */
    assert_int_equal(send_one(q, 5), 0);
    assert_int_equal(rotor_loop_free(one), 0); /* while the letter is on its way */
    (void)rotor_loop_turn(three);
    assert_int_equal(a.got + b.got, 0);
    assert_int_equal(c.got, 5);
    close_station(&a);
    close_station(&b);
    close_station(&c);
    assert_true(a.destroyed && b.destroyed && c.destroyed);
    rotor__thread_queue_unref(q);
    assert_int_equal(rotor_loop_free(three), 0);
}

static void one_that_waits_where_something_is_is_called(void **state)
{
    taker t;
    rotor_loop *loop = new_loop();
    rotor__thread_queue *q = rotor__thread_queue_new(SIZE_MAX, destroy);
    assert_int_equal(send_one(q, 5), 0);
    open_station(&t, q, loop, 1);
    rotor__station_leave(&t.station); /* too late for the letter, which is no harm */
    (void)rotor_loop_turn(loop);
    assert_int_equal(t.got, 5);
    rotor__station_wait(&t.station);
    assert_true(rotor__thread_queue_close(q));
    close_station(&t);
    assert_false(t.destroyed); /* the letter has it */
    (void)rotor_loop_turn(loop);
    assert_true(t.destroyed);
    rotor__thread_queue_unref(q);
    assert_int_equal(rotor_loop_free(loop), 0);
}

/* -- in several threads ------------------------------------------------------------------------ */

static atomic_long sum;
static atomic_int received;

static void *send_many(void *q)
{
    for (int i = 1; i <= TIMES; i++)
        assert_int_equal(rotor__thread_queue_send_blocking(q, make(i), ROTOR_NEVER, NULL), 0);
    return NULL;
}

static void *receive_blocking(void *q)
{
    rotor__item *item;
    while (rotor__thread_queue_receive_blocking(q, &item, ROTOR_NEVER, NULL) == 0) {
        atomic_fetch_add(&sum, take(item));
        atomic_fetch_add(&received, 1);
    }
    return NULL;
}

/* A machine that receives until the channel is closed; it gives up waiting now and then. */
typedef struct receiver {
    rotor_machine machine;
    rotor__station *station;
    bool over;
} receiver;

typedef struct receiver_station {
    rotor__station station;
    rotor_handle machine;
} receiver_station;

static void wake_receiver(rotor__station *s, rotor_loop *loop)
{
    if (loop)
        (void)rotor_wake(loop, ROTOR__CONTAINER(s, receiver_station, station)->machine);
}

static void free_receiver_station(rotor__station *s)
{
    rotor_free(ROTOR__CONTAINER(s, receiver_station, station));
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *q)
{
    receiver *r = (receiver *)m;
    receiver_station *s = rotor_alloc_zero(sizeof *s);
    assert_non_null(s);
    rotor__station_init(&s->station, q, ROTOR__RECEIVE, m->loop);
    s->station.arrive = wake_receiver;
    s->station.destroy = free_receiver_station;
    s->machine = m->self;
    r->station = &s->station;
    rotor__station_wait(r->station);
    return rotor_ok();
}

static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    receiver *r = (receiver *)m;
    for (int n, i = 0; i < 100; i++) {
        n = receive_one(r->station->queue);
        if (n == ROTOR_ECLOSED)
            return rotor_done();
        if (n == UV_EAGAIN)
            break;
        atomic_fetch_add(&sum, n);
        atomic_fetch_add(&received, 1);
        if (n % 7 == 0) {
            rotor__station_wait(r->station);
            rotor__station_leave(r->station);
        }
    }
    rotor__station_wait(r->station);
    return rotor_ok();
}

static void on_drop(rotor_machine *m)
{
    receiver *r = (receiver *)m;
    rotor__station_leave(r->station);
    rotor__station_unref(r->station);
}

static const rotor_type receiver_type = {.name = "receiver",
                                         .size = sizeof(receiver),
                                         .create = on_create,
                                         .wakeup = on_wakeup,
                                         .drop = on_drop};

static void *receive_in_a_loop(void *q)
{
    rotor_loop *loop = new_loop();
    assert_int_equal(rotor_add(loop, &receiver_type, q, NULL), 0);
    assert_int_equal(rotor_add(loop, &receiver_type, q, NULL), 0);
    assert_int_equal(rotor_loop_run(loop), 0);
    assert_int_equal(rotor_loop_free(loop), 0);
    return NULL;
}

static void race(size_t capacity, void *(*receive_half)(void *), void *(*receive_rest)(void *))
{
    pthread_t senders[SENDERS], receivers[RECEIVERS];
    rotor__thread_queue *q = rotor__thread_queue_new(capacity, destroy);
    atomic_store(&sum, 0);
    atomic_store(&received, 0);
    for (int i = 0; i < RECEIVERS; i++)
        assert_int_equal(
            pthread_create(&receivers[i], NULL, i % 2 ? receive_half : receive_rest, q), 0);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_many, q), 0);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(senders[i], NULL), 0);
    assert_true(rotor__thread_queue_close(q));
    for (int i = 0; i < RECEIVERS; i++)
        assert_int_equal(pthread_join(receivers[i], NULL), 0);
    assert_int_equal(atomic_load(&received), SENDERS * TIMES);
    assert_int_equal(atomic_load(&sum), (long)SENDERS * TIMES * (TIMES + 1) / 2);
    rotor__thread_queue_unref(q);
}

static void threads_lose_nothing(void **state)
{
    race(1, receive_blocking, receive_blocking);
    race(16, receive_blocking, receive_blocking);
    race(SIZE_MAX, receive_blocking, receive_blocking);
}

static void loops_lose_nothing(void **state)
{
    race(1, receive_in_a_loop, receive_in_a_loop);
    race(16, receive_in_a_loop, receive_in_a_loop);
    race(SIZE_MAX, receive_in_a_loop, receive_in_a_loop);
}

static void threads_and_loops_lose_nothing(void **state)
{
    race(1, receive_in_a_loop, receive_blocking);
    race(16, receive_in_a_loop, receive_blocking);
}

typedef struct blocked {
    rotor__thread_queue *q;
    rotor__blocker blocker;
    int error;
} blocked;

static void *block(void *data)
{
    blocked *b = data;
    rotor__item *item = NULL;
    b->error = rotor__thread_queue_receive_blocking(b->q, &item, ROTOR_NEVER, &b->blocker);
    return NULL;
}

static void a_blocked_thread_is_stopped(void **state)
{
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        blocked b = {.q = rotor__thread_queue_new(1, destroy)};
        assert_int_equal(rotor__blocker_init(&b.blocker), 0);
        assert_int_equal(pthread_create(&thread, NULL, block, &b), 0);
        rotor__blocker_stop(&b.blocker); /* before it blocks, or after */
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(b.error, ROTOR_ECANCELED);
        rotor__blocker_fini(&b.blocker);
        rotor__thread_queue_unref(b.q);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(values_come_in_order),
        TEST(capacity_bounds),
        TEST(a_closed_one_drains),
        TEST(blocking_may_end_by_time),
        TEST(memory_runs_out),
        TEST(many_values_are_one_letter),
        TEST(what_one_does_not_want_goes_to_the_next),
        TEST(a_loop_that_ends_passes_on),
        TEST(one_that_waits_where_something_is_is_called),
        TEST(threads_lose_nothing),
        TEST(loops_lose_nothing),
        TEST(threads_and_loops_lose_nothing),
        TEST(a_blocked_thread_is_stopped),
    };
    return cmocka_run_group_tests_name("thread channel", tests, NULL, NULL);
}
