#include "test.h"

#include <stdbool.h>

#include "../core/deadline.h"

static rotor_wheel wheel;

static uint64_t random_state;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(uint64_t n)
{
    return random64() % n;
}

/* A number whose magnitude is as random as its digits, of at most `bits` bits. */
static uint64_t any_size(unsigned bits)
{
    return random64() >> (64 - 1 - below(bits));
}

static uint64_t later(uint64_t time, uint64_t by)
{
    return by < ROTOR_NEVER - 1 - time ? time + by : ROTOR_NEVER - 1;
}

/* Every bucket's bit, every link and the level of everything queued are as they should be. */
static size_t check_wheel(const rotor_wheel *w)
{
    size_t count = 0;
    for (unsigned level = 0; level < ROTOR_WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < 64; slot++) {
            rotor_deadline *const *link = &w->buckets[level][slot];
            assert_int_equal(w->occupied[level] >> slot & 1, *link != NULL);
            for (; *link; link = &(*link)->next) {
                const rotor_deadline *d = *link;
                assert_ptr_equal(d->link, link);
                assert_int_equal(d->queued >> (6 * level) & 63, slot);
                assert_true(d->queued >= w->now);
                uint64_t steps = (d->queued >> (6 * level)) - (w->now >> (6 * level));
                assert_true(steps < 64 && (steps > 0 || level == 0));
                count++;
            }
        }
    }
    return count;
}

/* -- one thing at a time ----------------------------------------------------------------------- */

static void empty(void **state)
{
    rotor_wheel_init(&wheel, 1000);
    assert_true(rotor_wheel_next(&wheel) == ROTOR_NEVER);
    assert_null(rotor_wheel_expire(&wheel, 1000));
    assert_null(rotor_wheel_expire(&wheel, UINT64_C(1) << 60));
    assert_true(rotor_wheel_next(&wheel) == ROTOR_NEVER);
}

static void comes_out_on_its_millisecond(void **state)
{
    static const uint64_t starts[] = {0, 63, 64, 4095, 123456789, (UINT64_C(1) << 48) - 1};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (unsigned bit = 0; bit < 62; bit++) {
            rotor_deadline d = ROTOR_DEADLINE_INIT;
            uint64_t at = starts[i] + (UINT64_C(1) << bit);
            rotor_wheel_init(&wheel, starts[i]);
            assert_int_equal(rotor_wheel_set(&wheel, &d, at), 1);
            assert_true(rotor_wheel_next(&wheel) <= at);
            assert_null(rotor_wheel_expire(&wheel, at - 1));
            assert_true(rotor_wheel_next(&wheel) == at);
            assert_ptr_equal(rotor_wheel_expire(&wheel, at), &d);
            assert_true(d.at == at);
            assert_null(d.link);
            assert_null(rotor_wheel_expire(&wheel, at));
            assert_int_equal(check_wheel(&wheel), 0);
        }
    }
}

static void a_past_time_is_due_at_once(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 5000);
    assert_int_equal(rotor_wheel_set(&wheel, &d, 7), 1);
    assert_true(rotor_wheel_next(&wheel) <= 5000);
    assert_ptr_equal(rotor_wheel_expire(&wheel, 5000), &d);
    assert_true(d.at == 7);
    assert_null(rotor_wheel_expire(&wheel, 5000));

    rotor_wheel_set(&wheel, &d, 5000);
    assert_ptr_equal(rotor_wheel_expire(&wheel, 5000), &d);
    assert_null(rotor_wheel_expire(&wheel, 5000));
}

static void time_never_goes_back(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 0);
    assert_null(rotor_wheel_expire(&wheel, 9000));
    rotor_wheel_set(&wheel, &d, 9001);
    assert_null(rotor_wheel_expire(&wheel, 10));
    assert_true(rotor_wheel_next(&wheel) == 9001);
    rotor_wheel_set(&wheel, &d, 20);
    assert_ptr_equal(rotor_wheel_expire(&wheel, 10), &d);
    assert_null(rotor_wheel_expire(&wheel, 9001));
}

static void extending_does_not_touch_the_wheel(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT, other = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 100);
    rotor_wheel_set(&wheel, &other, 130);
    rotor_wheel_set(&wheel, &d, 130);
    rotor_wheel before = wheel;
    rotor_deadline was = d;
    for (uint64_t at = 130; at < 100000; at += 7) {
        assert_int_equal(rotor_wheel_set(&wheel, &d, at), 0);
        assert_true(d.queued == was.queued);
        assert_ptr_equal(d.link, was.link);
        assert_ptr_equal(d.next, was.next);
        assert_true(d.at == at);
    }
    assert_memory_equal(&wheel, &before, sizeof wheel);

    rotor_wheel_set(&wheel, &d, 5000);
    assert_ptr_equal(rotor_wheel_expire(&wheel, 4999), &other);
    assert_null(rotor_wheel_expire(&wheel, 4999));
    assert_ptr_equal(rotor_wheel_expire(&wheel, 5000), &d);
}

static void moving_earlier(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 0);
    rotor_wheel_set(&wheel, &d, 100000);
    assert_int_equal(rotor_wheel_set(&wheel, &d, 50), 1);
    assert_int_equal(check_wheel(&wheel), 1);
    assert_int_equal(rotor_wheel_next(&wheel), 50);
    assert_null(rotor_wheel_expire(&wheel, 49));
    assert_ptr_equal(rotor_wheel_expire(&wheel, 50), &d);
    assert_true(rotor_wheel_next(&wheel) == ROTOR_NEVER);
}

static void clearing_is_lazy_and_quiet(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 0);
    assert_int_equal(rotor_wheel_set(&wheel, &d, ROTOR_NEVER), 0);
    assert_null(d.link);

    static const uint64_t times[] = {10, 1000, 1000000};
    for (size_t i = 0; i < 3; i++) {
        rotor_wheel_init(&wheel, 0);
        rotor_wheel_set(&wheel, &d, times[i]);
        assert_int_equal(rotor_wheel_set(&wheel, &d, ROTOR_NEVER), 0);
        assert_non_null(d.link);
        assert_null(rotor_wheel_expire(&wheel, times[i]));
        assert_null(d.link);
        assert_int_equal(check_wheel(&wheel), 0);
        assert_true(rotor_wheel_next(&wheel) == ROTOR_NEVER);
    }
}

static void a_cleared_one_stays_quiet_at_the_end_of_time(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, UINT64_MAX);
    rotor_wheel_set(&wheel, &d, 5);
    rotor_wheel_set(&wheel, &d, ROTOR_NEVER);
    assert_null(rotor_wheel_expire(&wheel, UINT64_MAX));
    assert_null(d.link);
}

static void cleared_and_set_again(void **state)
{
    rotor_deadline d = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 0);
    rotor_wheel_set(&wheel, &d, 10);
    rotor_wheel_set(&wheel, &d, ROTOR_NEVER);
    assert_int_equal(rotor_wheel_set(&wheel, &d, 20), 0);
    assert_null(rotor_wheel_expire(&wheel, 19));
    assert_ptr_equal(rotor_wheel_expire(&wheel, 20), &d);
}

static void removing(void **state)
{
    rotor_deadline d[5];
    for (int skip = 0; skip < 5; skip++) {
        rotor_wheel_init(&wheel, 0);
        for (int i = 0; i < 5; i++) {
            d[i] = (rotor_deadline)ROTOR_DEADLINE_INIT;
            rotor_wheel_set(&wheel, &d[i], 40);
        }
        rotor_wheel_remove(&wheel, &d[skip]);
        assert_true(d[skip].at == ROTOR_NEVER);
        assert_null(d[skip].link);
        rotor_wheel_remove(&wheel, &d[skip]);
        assert_int_equal(check_wheel(&wheel), 4);
        memset(&d[skip], 0xff, sizeof d[skip]);
        for (int i = 0; i < 4; i++) {
            rotor_deadline *out = rotor_wheel_expire(&wheel, 40);
            assert_true(out >= d && out < d + 5 && out != &d[skip]);
        }
        assert_null(rotor_wheel_expire(&wheel, 40));
    }
    rotor_wheel_init(&wheel, 0);
    d[0] = (rotor_deadline)ROTOR_DEADLINE_INIT;
    rotor_wheel_set(&wheel, &d[0], 777777);
    rotor_wheel_remove(&wheel, &d[0]);
    assert_true(rotor_wheel_next(&wheel) == ROTOR_NEVER);
}

static void set_again_while_looping(void **state)
{
    rotor_deadline a = ROTOR_DEADLINE_INIT, b = ROTOR_DEADLINE_INIT;
    rotor_wheel_init(&wheel, 0);
    rotor_wheel_set(&wheel, &a, 100);
    rotor_wheel_set(&wheel, &b, 300);
    assert_ptr_equal(rotor_wheel_expire(&wheel, 500), &a);
    rotor_wheel_set(&wheel, &a, 200); /* due, and before b */
    assert_ptr_equal(rotor_wheel_expire(&wheel, 500), &a);
    rotor_wheel_set(&wheel, &a, 400); /* due, and behind b */
    assert_ptr_equal(rotor_wheel_expire(&wheel, 500), &b);
    rotor_wheel_set(&wheel, &b, 1); /* long past: next */
    assert_ptr_equal(rotor_wheel_expire(&wheel, 500), &b);
    rotor_wheel_set(&wheel, &b, 501); /* not due */
    assert_ptr_equal(rotor_wheel_expire(&wheel, 500), &a);
    assert_null(rotor_wheel_expire(&wheel, 500));
    assert_ptr_equal(rotor_wheel_expire(&wheel, 501), &b);
}

/* A wheel that looked at every millisecond would never finish this one. */
static void a_huge_gap(void **state)
{
    rotor_deadline d[62];
    rotor_wheel_init(&wheel, 3);
    for (unsigned i = 0; i < 62; i++) {
        d[i] = (rotor_deadline)ROTOR_DEADLINE_INIT;
        rotor_wheel_set(&wheel, &d[i], 4 + (UINT64_C(1) << i));
    }
    for (unsigned i = 0; i < 62; i++)
        assert_ptr_equal(rotor_wheel_expire(&wheel, UINT64_C(1) << 63), &d[i]);
    assert_null(rotor_wheel_expire(&wheel, UINT64_C(1) << 63));
}

static void beyond_the_wheel(void **state)
{
    static const uint64_t starts[] = {0, (UINT64_C(1) << 48) - 1, UINT64_C(63) << 42,
                                      UINT64_C(0xffffffff) << 32};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        rotor_deadline far = ROTOR_DEADLINE_INIT, last = ROTOR_DEADLINE_INIT;
        rotor_wheel_init(&wheel, starts[i]);
        rotor_wheel_set(&wheel, &far, later(starts[i], UINT64_C(1) << 55));
        rotor_wheel_set(&wheel, &last, ROTOR_NEVER - 1);
        assert_int_equal(check_wheel(&wheel), 2);
        uint64_t now = starts[i];
        unsigned found = 0, steps = 0;
        for (uint64_t next; (next = rotor_wheel_next(&wheel)) != ROTOR_NEVER; steps++) {
            assert_true(next > now);
            now = next;
            for (rotor_deadline *d; (d = rotor_wheel_expire(&wheel, now)); found++)
                assert_true(d->at == now);
        }
        assert_int_equal(found, 2);
        assert_true(steps < (1u << 17)); /* each round of the ring is one step, not 63 */
    }
}

/* -- against a model --------------------------------------------------------------------------- */

#define COUNT 200

/* The reference: when each deadline is due, which is the time it was set to, but none earlier than
** the time at which it was set. */
static rotor_deadline deadlines[COUNT];
static uint64_t due[COUNT];
static uint64_t model_now;

static uint64_t first_due(void)
{
    uint64_t first = ROTOR_NEVER;
    for (size_t i = 0; i < COUNT; i++)
        first = due[i] < first ? due[i] : first;
    return first;
}

static void set(size_t i, uint64_t at)
{
    bool was_linked = deadlines[i].link != NULL;
    uint64_t was_queued = deadlines[i].queued;
    bool stays = was_linked ? at >= was_queued : at == ROTOR_NEVER;
    assert_int_equal(rotor_wheel_set(&wheel, &deadlines[i], at), !stays);
    if (stays && was_linked)
        assert_true(deadlines[i].link && deadlines[i].queued == was_queued);
    due[i] = at > model_now ? at : model_now;
    assert_true(rotor_wheel_next(&wheel) <= due[i]);
}

static uint64_t random_time(void)
{
    switch (below(10)) {
    case 0:
        return ROTOR_NEVER;
    case 1:
        return model_now - below(model_now < 1000 ? model_now + 1 : 1000);
    case 2:
        return later(model_now, any_size(63));
    case 3:
        return later(model_now, any_size(44));
    case 4:
    case 5:
        return later(model_now, below(64));
    default:
        return later(model_now, any_size(20));
    }
}

static void change_one(void)
{
    size_t i = (size_t)below(COUNT);
    uint64_t at = deadlines[i].at;
    switch (below(8)) {
    case 0:
        rotor_wheel_remove(&wheel, &deadlines[i]);
        assert_true(deadlines[i].at == ROTOR_NEVER);
        due[i] = ROTOR_NEVER;
        break;
    case 1:
    case 2:
        set(i, at == ROTOR_NEVER ? at : later(at, any_size(16)));
        break;
    case 3:
        set(i, at == ROTOR_NEVER ? at : at - below(at < 100 ? at + 1 : 100));
        break;
    default:
        set(i, random_time());
    }
}

/* Everything due comes out, in the order of the model, and nothing else, while the wheel is changed
** in between. Now and then the loop is left before its end. */
static void advance(uint64_t now, uint64_t *seen)
{
    rotor_deadline *d;
    while ((d = rotor_wheel_expire(&wheel, now))) {
        size_t i = (size_t)(d - deadlines);
        assert_true(i < COUNT);
        assert_true(due[i] <= now);
        assert_true(due[i] == first_due());
        assert_null(d->link);
        assert_true(d->at <= due[i]);
        model_now = due[i];
        due[i] = ROTOR_NEVER;
        ++*seen;
        if (below(4) == 0)
            set(i, random_time());
        if (below(8) == 0)
            change_one();
        if (below(500) == 0)
            return;
    }
    assert_true(first_due() > now);
    model_now = now;
}

static uint64_t random_step(void)
{
    switch (below(200)) {
    case 0:
        return any_size(56);
    case 1:
    case 2:
        return any_size(40);
    case 3:
    case 4:
    case 5:
        return any_size(20);
    default:
        return below(40);
    }
}

static void run_model(uint64_t seed, uint64_t start, unsigned operations)
{
    random_state = seed;
    model_now = start;
    rotor_wheel_init(&wheel, start);
    for (size_t i = 0; i < COUNT; i++) {
        deadlines[i] = (rotor_deadline)ROTOR_DEADLINE_INIT;
        due[i] = ROTOR_NEVER;
    }
    uint64_t seen = 0;
    for (unsigned op = 0; op < operations; op++) {
        if (below(6) == 0) {
            uint64_t now = later(model_now, random_step());
            if (below(4) == 0 && first_due() != ROTOR_NEVER)
                now = first_due() - below(2);
            advance(now > model_now ? now : model_now, &seen);
        } else {
            change_one();
        }
        if (op % 64 == 0) {
            uint64_t first = first_due();
            uint64_t next = rotor_wheel_next(&wheel);
            assert_true(next <= first);
            assert_true(next >= model_now);
            assert_int_equal(next == ROTOR_NEVER, check_wheel(&wheel) == 0);
        }
    }
    assert_true(seen > operations / 20);
}

static void random_operations(void **state)
{
    static const uint64_t starts[] = {
        0, 1700000000000, (UINT64_C(1) << 42) - 5, (UINT64_C(1) << 48) - 100, UINT64_C(63) << 42,
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        run_model(i + 1, starts[i], 200000);
}

/* Who only sleeps until rotor_wheel_next() finds every deadline exactly on its millisecond, and in
** few wake-ups: one for itself and at most one for each level each time it is queued. */
static void sleeping_until_next(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_state = seed;
        uint64_t now = any_size(48);
        rotor_wheel_init(&wheel, now);
        unsigned queued = COUNT;
        for (size_t i = 0; i < COUNT; i++) {
            deadlines[i] = (rotor_deadline)ROTOR_DEADLINE_INIT;
            rotor_wheel_set(&wheel, &deadlines[i], now + 1 + any_size(47));
        }
        for (size_t i = 0; i < COUNT; i += 2) {
            rotor_wheel_set(&wheel, &deadlines[i], deadlines[i].at + any_size(20));
            queued++;
        }
        rotor_wheel_set(&wheel, &deadlines[7], ROTOR_NEVER);
        unsigned found = 0, wakeups = 0;
        uint64_t next;
        while ((next = rotor_wheel_next(&wheel)) != ROTOR_NEVER) {
            assert_true(next > now);
            now = next;
            wakeups++;
            for (rotor_deadline *d; (d = rotor_wheel_expire(&wheel, now)); found++) {
                assert_true(d->at == now);
                assert_true(d != &deadlines[7]);
            }
        }
        assert_int_equal(found, COUNT - 1);
        assert_true(wakeups <= queued * ROTOR_WHEEL_LEVELS);
    }
}

/* Who sets a clock to `at` whenever rotor_wheel_set() says so, and otherwise to rotor_wheel_next()
** after it has rung, misses nothing either; the wheel meanwhile lags behind the clock. Three
** deadlines, so that each is often the one the clock is set for. */
static void sleeping_until_told(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_state = seed;
        uint64_t now = any_size(48), wake_at = ROTOR_NEVER;
        rotor_wheel_init(&wheel, now);
        for (size_t i = 0; i < COUNT; i++)
            deadlines[i] = (rotor_deadline)ROTOR_DEADLINE_INIT;
        for (unsigned op = 0; op < 5000; op++) {
            if (below(4) == 0) {
                uint64_t step = any_size(24);
                now = wake_at - now <= step ? wake_at : now + step;
            }
            if (now == wake_at) {
                for (rotor_deadline *d; (d = rotor_wheel_expire(&wheel, now));)
                    assert_true(d->at == now);
                wake_at = rotor_wheel_next(&wheel);
                assert_true(wake_at > now);
            }
            rotor_deadline *d = &deadlines[below(3)];
            uint64_t at = below(8) == 0 ? ROTOR_NEVER : now + 1 + any_size(30);
            if (rotor_wheel_set(&wheel, d, at) && at < wake_at)
                wake_at = at;
            assert_true(wake_at <= at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(comes_out_on_its_millisecond),
        cmocka_unit_test(a_past_time_is_due_at_once),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(extending_does_not_touch_the_wheel),
        cmocka_unit_test(moving_earlier),
        cmocka_unit_test(clearing_is_lazy_and_quiet),
        cmocka_unit_test(a_cleared_one_stays_quiet_at_the_end_of_time),
        cmocka_unit_test(cleared_and_set_again),
        cmocka_unit_test(removing),
        cmocka_unit_test(set_again_while_looping),
        cmocka_unit_test(a_huge_gap),
        cmocka_unit_test(beyond_the_wheel),
        cmocka_unit_test(random_operations),
        cmocka_unit_test(sleeping_until_next),
        cmocka_unit_test(sleeping_until_told),
    };
    return cmocka_run_group_tests_name("deadline", tests, NULL, NULL);
}
