#include "futures.h"

#include "probe.h"
#include "support.h"
#include "test.h"

atomic_int values_alive;

int *value_new(int n)
{
    int *value = malloc(sizeof *value);
    assert_non_null(value);
    *value = n;
    atomic_fetch_add(&values_alive, 1);
    return value;
}

void value_destroy(void *value)
{
    free(value);
    atomic_fetch_sub(&values_alive, 1);
}

int value_taken(rotor_future *f)
{
    void *value;
    assert_int_equal(rotor_future_take(f, &value), 0);
    int n = *(int *)value;
    value_destroy(value);
    return n;
}

void future_fails(rotor_future *f, int error)
{
    void *value = &values_alive;
    assert_int_equal(rotor_future_status(f), error);
    assert_null(rotor_future_peek(f));
    assert_int_equal(rotor_future_take(f, &value), error);
    assert_null(value);
}

rotor_loop *future_loop(size_t capacity)
{
    rotor_loop *loop;
    probe_reset();
    test_monotonic_ms = 1000;
    rotor_config config = {.capacity = capacity, .clock = &test_clock, .buffer = 64};
    assert_int_equal(rotor_loop_new(&loop, &config), 0);
    return loop;
}

void future_pair(rotor_loop *loop, rotor_future **f, rotor_port **p)
{
    assert_int_equal(rotor_future_new(loop, f, p, value_destroy), 0);
}

int future_add_one(void *context, void *value, void **result)
{
    future_helper *h = context;
    assert_int_equal(h->released, 0);
    assert_true(!h->loop || rotor_loop_busy(h->loop));
    h->calls++;
    if (h->f)
        rotor_future_drop(h->f);
    if (!h->error)
        *result = value_new(*(int *)value + 1);
    value_destroy(value);
    return h->error;
}

rotor_future *future_go_on(void *context, int status, void *value, int *error)
{
    future_helper *h = context;
    assert_int_equal(h->released, 0);
    h->calls++;
    h->status = status;
    if (value)
        value_destroy(value);
    *error = h->error;
    return h->f;
}

void future_release(void *context)
{
    ((future_helper *)context)->released++;
}
