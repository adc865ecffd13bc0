#include "test.h"

#include "../core/alloc.h"

/* An allocator that writes down how it was called, counts what is alive and can be told to fail. */
typedef struct recorder {
    int calls;
    int alive;
    int fail;
    void *last_ptr;
    size_t last_size;
} recorder;

static void *record(void *context, void *ptr, size_t size)
{
    recorder *r = context;
    r->calls++;
    r->last_ptr = ptr;
    r->last_size = size;
    if (size == 0) {
        r->alive--;
        free(ptr);
        return NULL;
    }
    if (r->fail)
        return NULL;
    if (!ptr)
        r->alive++;
    void *got = realloc(ptr, size);
    assert_non_null(got);
    if (!ptr)
        memset(got, 0xa5, size);
    return got;
}

static recorder rec;

static int setup(void **state)
{
    memset(&rec, 0, sizeof rec);
    rotor_allocator_set(&(rotor_allocator){record, &rec});
    return 0;
}

static int teardown(void **state)
{
    rotor_allocator_set(NULL);
    return rec.alive == 0 ? 0 : -1;
}

static void alloc_passes_the_size(void **state)
{
    char *p = rotor_alloc(123);
    assert_non_null(p);
    assert_null(rec.last_ptr);
    assert_int_equal(rec.last_size, 123);
    memset(p, 1, 123);
    rotor_free(p);
    assert_ptr_equal(rec.last_ptr, p);
    assert_int_equal(rec.last_size, 0);
    assert_int_equal(rec.calls, 2);
    assert_int_equal(rec.alive, 0);
}

static void alloc_zero_clears(void **state)
{
    unsigned char *p = rotor_alloc_zero(300);
    assert_non_null(p);
    for (int i = 0; i < 300; i++)
        assert_int_equal(p[i], 0);
    rotor_free(p);
}

static void realloc_keeps_the_bytes(void **state)
{
    char *p = rotor_realloc(NULL, 8);
    assert_int_equal(rec.alive, 1);
    memcpy(p, "rotor...", 8);
    p = rotor_realloc(p, 4096);
    assert_int_equal(rec.last_size, 4096);
    assert_memory_equal(p, "rotor...", 8);
    assert_null(rotor_realloc(p, 0));
    assert_int_equal(rec.alive, 0);
}

static void nothing_is_nothing(void **state)
{
    rotor_free(NULL);
    assert_null(rotor_alloc(0));
    assert_null(rotor_alloc_zero(0));
    assert_null(rotor_realloc(NULL, 0));
    assert_int_equal(rec.calls, 0);
}

static void failure_is_null(void **state)
{
    char *p = rotor_alloc(16);
    memset(p, 'x', 16);
    rec.fail = 1;
    assert_null(rotor_alloc(16));
    assert_null(rotor_alloc_zero(16));
    assert_null(rotor_realloc(p, 32));
    assert_memory_equal(p, "xxxxxxxxxxxxxxxx", 16);
    rotor_free(p);
    assert_int_equal(rec.alive, 0);
}

static void the_allocator_is_copied(void **state)
{
    rotor_allocator mine = {record, &rec};
    rotor_allocator_set(&mine);
    memset(&mine, 0, sizeof mine);
    rotor_free(rotor_alloc(1));
    assert_int_equal(rec.calls, 2);
}

static void null_restores_the_default(void **state)
{
    rotor_allocator_set(NULL);
    char *p = rotor_alloc(10);
    assert_non_null(p);
    memset(p, 'a', 10);
    p = rotor_realloc(p, 100000);
    assert_non_null(p);
    assert_memory_equal(p, "aaaaaaaaaa", 10);
    rotor_free(p);
    unsigned char *zero = rotor_alloc_zero(64);
    assert_non_null(zero);
    for (int i = 0; i < 64; i++)
        assert_int_equal(zero[i], 0);
    rotor_free(zero);
    rotor_free(NULL);
    assert_int_equal(rec.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alloc_passes_the_size, setup, teardown),
        cmocka_unit_test_setup_teardown(alloc_zero_clears, setup, teardown),
        cmocka_unit_test_setup_teardown(realloc_keeps_the_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(the_allocator_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(null_restores_the_default, setup, teardown),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
