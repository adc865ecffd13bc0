/* The watchdog. Nothing here depends on how fast the machine is: who is to be slow looks at the clock. */
#include "test.h"

#include <signal.h>

#include "../core/private.h"
#include "../core/watchdog.h"
#include "support.h"

typedef struct spinner {
    rotor_machine machine;
    uint64_t ns;
} spinner;

static struct {
    int calls, named; /* all, and of those who were slow and are the one that is expected */
    const char *expected;
    rotor_lag lag; /* the last of those */
    rotor_loop *loop;
    bool off;
} told;

static uint64_t spun; /* how long the last one has taken */

static void spin(uint64_t ns)
{
    uint64_t began = uv_hrtime();
    do
        spun = uv_hrtime() - began;
    while (spun < ns);
}

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    ((spinner *)m)->ns = *(uint64_t *)seed;
    return rotor_ok();
}

/* 1: longer than whoever was before. */
static rotor_response on_wakeup(rotor_machine *m, rotor_scope *scope)
{
    uint64_t ns = ((spinner *)m)->ns;
    spin(ns == 1 ? 3 * spun : ns);
    return rotor_ok();
}

static const rotor_type type = {
    .name = "spinner", .size = sizeof(spinner), .create = on_create, .wakeup = on_wakeup};

static void on_lag(rotor_loop *loop, const rotor_lag *lag, void *context)
{
    uint64_t ns = 0;
    told.calls++;
    if (strcmp(lag->name, told.expected) == 0 && lag->ms >= 20) {
        told.named++;
        told.lag = *lag;
    }
    assert_ptr_equal(context, &told);
    assert_true(rotor_loop_busy(loop));
    assert_int_equal(rotor_loop_free(loop), UV_EBUSY);
    if (told.off)
        assert_int_equal(rotor_loop_watchdog(loop, 0, NULL, NULL), 0);
    else
        assert_int_equal(rotor_add(loop, &type, &ns, NULL), 0);
}

static void begin(const char *expected)
{
    memset(&told, 0, sizeof told);
    told.expected = expected;
    assert_int_equal(rotor_loop_new(&told.loop, NULL), 0);
}

static rotor_handle add(uint64_t ns)
{
    rotor_handle handle;
    assert_int_equal(rotor_add(told.loop, &type, &ns, &handle), 0);
    return handle;
}

static void watch(uint64_t limit_ms)
{
    assert_int_equal(rotor_loop_watchdog(told.loop, limit_ms, on_lag, &told), 0);
}

static void run(rotor_handle handle)
{
    assert_int_equal(rotor_wake(told.loop, handle), 0);
    assert_int_equal(rotor_loop_turn(told.loop), 0);
}

static void finish(void)
{
    assert_int_equal(rotor_loop_free(told.loop), 0);
}

enum { MS = 1000000 };

static void it_tells_who_has_kept_the_loop(void **state)
{
    begin("spinner 0.1");
    watch(5);
    rotor_handle handle = add(20 * MS);
    run(handle);
    assert_int_equal(told.named, 1);
    assert_true(told.lag.machine_ms >= 20 && told.lag.machine_ms <= told.lag.ms);
    assert_null(told.lag.transition);
    assert_int_equal(rotor_loop_count(told.loop), 1 + told.calls); /* what on_lag adds is created */
    run(handle);
    assert_int_equal(told.named, 2);
    finish();
}

static void it_names_the_slowest_of_an_event(void **state)
{
    begin("spinner 1.1");
    watch(5);
    rotor_handle first = add(10 * MS), second = add(1);
    assert_int_equal(rotor_wake(told.loop, first), 0);
    run(second);
    assert_int_equal(told.named, 1);
    finish();
}

static void spin_on_signal(rotor_loop *loop, int signum, void *context)
{
    spin(20 * MS);
}

static void not_only_machines_take_time(void **state)
{
    begin("");
    watch(5);
    assert_int_equal(rotor_loop_on_signal(told.loop, SIGUSR1, spin_on_signal, NULL), 0);
    rotor_handle handle = add(0);
    assert_int_equal(raise(SIGUSR1), 0);
    while (told.named == 0)
        run(handle);
    finish();
}

static void it_is_quiet_otherwise(void **state)
{
    begin("spinner 0.1");
    rotor_handle handle = add(20 * MS);
    run(handle);
    watch(1000000000);
    run(handle);
    assert_int_equal(told.calls, 0);
    watch(5);
    told.off = true;
    run(handle);
    run(handle);
    assert_int_equal(told.calls, 1);
    watch(5);
    run(handle);
    assert_int_equal(told.calls, 2);
    finish();
}

static void nonsense_is_refused(void **state)
{
    begin("");
    assert_int_equal(rotor_loop_watchdog(told.loop, 0, on_lag, NULL), UV_EINVAL);
    assert_int_equal(rotor_loop_watchdog(told.loop, UINT64_MAX, on_lag, NULL), UV_EINVAL);
    assert_int_equal(rotor_loop_watchdog(told.loop, 0, NULL, NULL), 0);
    finish();
}

static void scenario(void)
{
    rotor_loop *loop;
    if (rotor_loop_new(&loop, NULL))
        return;
    int error = rotor_loop_watchdog(loop, 1, on_lag, NULL);
    assert_int_equal(error, test_alloc_failed() ? UV_ENOMEM : 0);
    assert_int_equal(rotor_loop_free(loop), 0);
}

static void memory_may_run_out(void **state)
{
    test_out_of_memory(scenario);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(it_tells_who_has_kept_the_loop),
        TEST(it_names_the_slowest_of_an_event),
        TEST(not_only_machines_take_time),
        TEST(it_is_quiet_otherwise),
        TEST(nonsense_is_refused),
        TEST(memory_may_run_out),
    };
    /* The first loop with a signal opens what libuv keeps. */
    begin("");
    (void)rotor_loop_on_signal(told.loop, SIGUSR1, spin_on_signal, NULL);
    (void)rotor_loop_free(told.loop);
    return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
