#include "test.h"

#include <pthread.h>

#include "../lua/shared.h"
#include "support.h"

enum { THREADS = 4, TIMES = 20000 };

static rotor__dict_value integer(int64_t n)
{
    return (rotor__dict_value){.type = ROTOR__DICT_INTEGER, .integer = n};
}

static rotor__dict_value floating(double n)
{
    return (rotor__dict_value){.type = ROTOR__DICT_FLOAT, .number = n};
}

static rotor__dict_value text(const char *s)
{
    return (rotor__dict_value){.type = ROTOR__DICT_STRING, .string = {s, strlen(s)}};
}

static const rotor__dict_value none = {.type = ROTOR__DICT_NONE};

/* A clock in ms set by hand; only one thread looks at it. */
static uint64_t now_ms;

static uint64_t now(void)
{
    return now_ms;
}

static int set(rotor__dict *d, const char *key, rotor__dict_value value, uint64_t ms)
{
    return rotor__dict_put(d, ROTOR__DICT_SET, key, strlen(key), &value, ms);
}

static int add(rotor__dict *d, const char *key, rotor__dict_value value, uint64_t ms)
{
    return rotor__dict_put(d, ROTOR__DICT_ADD, key, strlen(key), &value, ms);
}

static rotor__dict_value get(rotor__dict *d, const char *key)
{
    static char room[100];
    return rotor__dict_get(d, key, strlen(key), room, sizeof room);
}

static void assert_integer(rotor__dict *d, const char *key, int64_t n)
{
    rotor__dict_value value = get(d, key);
    assert_int_equal(value.type, ROTOR__DICT_INTEGER);
    assert_int_equal(value.integer, n);
}

static void assert_text(rotor__dict *d, const char *key, const char *s)
{
    rotor__dict_value value = get(d, key);
    assert_int_equal(value.type, ROTOR__DICT_STRING);
    assert_int_equal(value.string.len, strlen(s));
    assert_memory_equal(value.string.data, s, strlen(s));
}

static void assert_none(rotor__dict *d, const char *key)
{
    assert_int_equal(get(d, key).type, ROTOR__DICT_NONE);
}

/* -- in one thread ----------------------------------------------------------------------------- */

static void a_counter_counts(void **state)
{
    rotor__counter *c = rotor__counter_new(5);
    assert_int_equal(rotor__counter_add(c, 2), 7);
    assert_int_equal(rotor__counter_add(c, -10), -3);
    assert_false(rotor__counter_compare_and_set(c, 7, 1));
    assert_true(rotor__counter_compare_and_set(c, -3, INT64_MAX));
    assert_int_equal(rotor__counter_add(c, 1), INT64_MIN);
    rotor__counter_set(c, 4);
    rotor__counter *again = rotor__counter_ref(c);
    rotor__counter_unref(c);
    assert_int_equal(rotor__counter_get(again), 4);
    rotor__counter_unref(again);
    rotor__counter_unref(NULL);
}

static void values_are_stored(void **state)
{
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    assert_none(d, "a");
    assert_int_equal(set(d, "a", integer(1), 0), 1);
    assert_int_equal(set(d, "b", text("hello"), 0), 1);
    assert_int_equal(set(d, "", text(""), 0), 1);
    assert_integer(d, "a", 1);
    assert_text(d, "b", "hello");
    assert_text(d, "", "");
    assert_int_equal(set(d, "a", text("other"), 0), 1);
    assert_int_equal(set(d, "b", floating(2.5), 0), 1);
    assert_text(d, "a", "other");
    assert_true(get(d, "b").number == 2.5);
    assert_int_equal(add(d, "b", integer(1), 0), 0);
    assert_int_equal(add(d, "c", (rotor__dict_value){ROTOR__DICT_BOOLEAN, .boolean = true}, 0), 1);
    assert_true(get(d, "c").boolean);
    assert_int_equal(rotor__dict_count(d), 4);
    assert_true(rotor__dict_delete(d, "c", 1));
    assert_false(rotor__dict_delete(d, "c", 1));
    assert_int_equal(rotor__dict_count(d), 3);
    rotor__dict_unref(d);
    rotor__dict_unref(NULL);
}

static void a_string_that_does_not_fit_tells_its_length(void **state)
{
    char room[4];
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    (void)set(d, "a", text("hello"), 0);
    rotor__dict_value value = rotor__dict_get(d, "a", 1, room, sizeof room);
    assert_int_equal(value.type, ROTOR__DICT_STRING);
    assert_int_equal(value.string.len, 5);
    assert_null(value.string.data);
    rotor__dict_unref(d);
}

static void values_expire(void **state)
{
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    now_ms = 1000;
    (void)set(d, "a", integer(1), 10);
    (void)set(d, "b", integer(1), 20);
    (void)set(d, "c", integer(1), UINT64_MAX);
    now_ms = 1009;
    assert_integer(d, "a", 1);
    now_ms = 1010;
    assert_int_equal(rotor__dict_count(d), 2);
    assert_none(d, "a");
    assert_int_equal(add(d, "a", integer(2), 0), 1);
    now_ms = 1020;
    assert_int_equal(rotor__dict_flush(d), 1);
    assert_int_equal(rotor__dict_flush(d), 0);
    assert_integer(d, "a", 2);
    assert_none(d, "b");
    assert_integer(d, "c", 1);
    rotor__dict_unref(d);
}

static void numbers_are_added_to(void **state)
{
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    rotor__dict_value one = integer(1), half = floating(0.5), zero = integer(0), result;
    now_ms = 0;
    assert_int_equal(rotor__dict_incr(d, "a", 1, &one, NULL, 0, &result), 0);
    assert_int_equal(rotor__dict_incr(d, "a", 1, &one, &zero, 10, &result), 1);
    assert_int_equal(result.integer, 1);
    now_ms = 9; /* the expiry stays */
    assert_int_equal(rotor__dict_incr(d, "a", 1, &one, &zero, 10, &result), 1);
    assert_integer(d, "a", 2);
    now_ms = 10;
    assert_none(d, "a");
    assert_int_equal(rotor__dict_incr(d, "a", 1, &one, &zero, 0, &result), 1);
    assert_int_equal(rotor__dict_incr(d, "a", 1, &half, &zero, 0, &result), 1);
    assert_int_equal(result.type, ROTOR__DICT_FLOAT);
    assert_true(get(d, "a").number == 1.5);
    (void)set(d, "b", text("x"), 0);
    assert_int_equal(rotor__dict_incr(d, "b", 1, &one, &zero, 0, &result), UV_EINVAL);
    (void)set(d, "b", integer(INT64_MAX), 0);
    assert_int_equal(rotor__dict_incr(d, "b", 1, &one, NULL, 0, &result), 1);
    assert_integer(d, "b", INT64_MIN);
    rotor__dict_unref(d);
}

static int swap(rotor__dict *d, rotor__dict_value expected, rotor__dict_value to)
{
    return rotor__dict_compare_and_set(d, "k", 1, &expected, &to, 0);
}

static void values_are_compared_and_set(void **state)
{
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    assert_int_equal(swap(d, integer(1), integer(2)), 0);
    assert_int_equal(swap(d, none, integer(1)), 1);
    assert_int_equal(swap(d, none, integer(1)), 0);
    assert_int_equal(swap(d, floating(1.5), integer(2)), 0);
    assert_int_equal(swap(d, floating(1), text("one")), 1); /* as in Lua 1 == 1.0 */
    assert_int_equal(swap(d, text("on"), integer(2)), 0);
    assert_int_equal(swap(d, text("one"), integer(INT64_MAX)), 1);
    assert_int_equal(swap(d, floating(9223372036854775808.0), none), 0);
    assert_int_equal(swap(d, integer(INT64_MAX), none), 1);
    assert_none(d, "k");
    assert_int_equal(swap(d, none, none), 1);
    rotor__dict_unref(d);
}

static void what_was_not_used_for_longest_goes(void **state)
{
    char key[20];
    rotor__dict *d = rotor__dict_new(ROTOR__DICT_LEAST, now);
    (void)set(d, "used", integer(1), 0);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        assert_int_equal(set(d, key, integer(i), 0), 1);
        assert_integer(d, "used", 1);
        assert_true(rotor__dict_bytes(d) <= ROTOR__DICT_LEAST);
    }
    assert_none(d, "0");
    assert_integer(d, "999", 999);
    assert_true(rotor__dict_count(d) > 10);
    rotor__dict_unref(d);
}

static void what_is_too_large_is_refused(void **state)
{
    static char large[ROTOR__DICT_LEAST + 1];
    memset(large, 'x', sizeof large - 1);
    rotor__dict *d = rotor__dict_new(ROTOR__DICT_LEAST, now);
    (void)set(d, "a", integer(1), 0);
    assert_int_equal(set(d, "a", text(large), 0), UV_E2BIG);
    assert_int_equal(set(d, large, integer(1), 0), UV_E2BIG);
    assert_integer(d, "a", 1);
    large[ROTOR__DICT_LEAST / 2] = '\0';
    assert_int_equal(set(d, "a", text(large), 0), 1);
    assert_int_equal(set(d, "b", text(large), 0), 1); /* and "a" goes */
    assert_int_equal(rotor__dict_count(d), 1);
    rotor__dict_unref(d);
}

static void keys_are_listed(void **state)
{
    char room[4000], key[20];
    bool seen[100] = {false};
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    now_ms = 0;
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        (void)set(d, key, integer(i), i < 10 ? 5 : 0);
    }
    now_ms = 5;
    size_t used, found = 0;
    assert_true(rotor__dict_keys(d, 0, room, 1, &used));
    assert_true(used > 1);
    for (unsigned part = 0; rotor__dict_keys(d, part, room, sizeof room, &used); part++)
        for (size_t at = 0, len; at < used; at += sizeof len + len, found++) {
            memcpy(&len, room + at, sizeof len);
            (void)snprintf(key, sizeof key, "%.*s", (int)len, room + at + sizeof len);
            assert_false(seen[atoi(key)]);
            seen[atoi(key)] = true;
        }
    assert_int_equal(found, 90);
    rotor__dict_unref(d);
}

static void without_memory(void)
{
    char key[20];
    rotor__counter *c = rotor__counter_new(0);
    rotor__counter_unref(c);
    rotor__dict *d = rotor__dict_new(1 << 20, now);
    for (int i = 0; d && i < 300; i++) {
        (void)snprintf(key, sizeof key, "%d", i % 200);
        int stored = set(d, key, text(key), 0);
        if (stored == 1)
            assert_text(d, key, key);
        else
            assert_int_equal(stored, UV_ENOMEM);
    }
    rotor__dict_unref(d);
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(without_memory);
}

/* -- in several threads ------------------------------------------------------------------------ */

typedef struct shared_things {
    rotor__counter *counter;
    rotor__dict *dict;
} shared_things;

static void *use(void *data)
{
    shared_things *s = data;
    rotor__counter *counter = rotor__counter_ref(s->counter);
    rotor__dict *dict = rotor__dict_ref(s->dict);
    rotor__dict_value one = integer(1), zero = integer(0), result;
    char room[64], key[20];
    size_t used;
    for (int i = 0; i < TIMES; i++) {
        (void)rotor__counter_add(counter, 1);
        (void)rotor__dict_incr(dict, "sum", 3, &one, &zero, 0, &result);
        (void)snprintf(key, sizeof key, "%d", i % 500);
        (void)set(dict, key, text(key), i % 3 ? 0 : 1);
        rotor__dict_value value = rotor__dict_get(dict, key, strlen(key), room, sizeof room);
        if (value.type == ROTOR__DICT_STRING)
            assert_memory_equal(value.string.data, key, value.string.len);
        if (i % 1000 == 0) {
            (void)rotor__dict_flush(dict);
            (void)rotor__dict_count(dict);
            (void)rotor__dict_keys(dict, 3, room, sizeof room, &used);
        }
        rotor__dict_value old; /* a compare_and_set that another thread beats is done again */
        do {
            old = rotor__dict_get(dict, "swapped", 7, room, sizeof room);
            result = integer(old.type == ROTOR__DICT_NONE ? 1 : old.integer + 1);
        } while (!rotor__dict_compare_and_set(dict, "swapped", 7, &old, &result, 0));
    }
    rotor__counter_unref(counter);
    rotor__dict_unref(dict);
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    pthread_t threads[THREADS];
    shared_things s = {rotor__counter_new(0), rotor__dict_new(1 << 20, NULL)};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, &s), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(rotor__counter_get(s.counter), THREADS * TIMES);
    assert_integer(s.dict, "sum", THREADS * TIMES);
    assert_integer(s.dict, "swapped", THREADS * TIMES);
    rotor__counter_unref(s.counter);
    rotor__dict_unref(s.dict);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_counter_counts),
        TEST(values_are_stored),
        TEST(a_string_that_does_not_fit_tells_its_length),
        TEST(values_expire),
        TEST(numbers_are_added_to),
        TEST(values_are_compared_and_set),
        TEST(what_was_not_used_for_longest_goes),
        TEST(what_is_too_large_is_refused),
        TEST(keys_are_listed),
        TEST(memory_runs_out),
        TEST(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
