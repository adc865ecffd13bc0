#include "support.h"

#include <dirent.h>
#include <malloc.h>
#include <stdatomic.h>

#include "test.h"

static atomic_size_t live, bytes, attempts, failed;
static size_t fail_at;
static bool fail_for_good;

/* With the word that malloc keeps before each block. */
static size_t size_of(void *ptr)
{
    return ptr ? malloc_usable_size(ptr) + sizeof(size_t) : 0;
}

static void *resize(void *context, void *ptr, size_t size)
{
    size_t before = size_of(ptr);
    if (size == 0) {
        atomic_fetch_sub(&live, 1);
        atomic_fetch_sub(&bytes, before);
        free(ptr);
        return NULL;
    }
    size_t attempt = atomic_fetch_add(&attempts, 1) + 1;
    if (fail_at > 0 && (attempt == fail_at || (fail_for_good && attempt > fail_at))) {
        atomic_fetch_add(&failed, 1);
        return NULL;
    }
    void *result = realloc(ptr, size);
    if (!ptr && result)
        atomic_fetch_add(&live, 1);
    if (result)
        atomic_fetch_add(&bytes, size_of(result) - before);
    return result;
}

void test_alloc_install(size_t nth, bool for_good)
{
    fail_at = nth;
    fail_for_good = for_good;
    atomic_store(&live, 0);
    atomic_store(&bytes, 0);
    atomic_store(&attempts, 0);
    atomic_store(&failed, 0);
    rotor_allocator_set(&(rotor_allocator){resize, NULL});
}

size_t test_alloc_live(void)
{
    return atomic_load(&live);
}

size_t test_alloc_bytes(void)
{
    return atomic_load(&bytes);
}

size_t test_alloc_failed(void)
{
    return atomic_load(&failed);
}

void test_out_of_memory(void (*scenario)(void))
{
    for (int for_good = 0; for_good <= 1; for_good++) {
        size_t nth = 1;
        do {
            test_alloc_install(nth++, for_good);
            scenario();
            assert_int_equal(test_alloc_live(), 0);
        } while (test_alloc_failed() > 0);
        assert_true(nth > 2); /* or the scenario allocates nothing */
    }
}

int test_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    int n = -3; /* ".", ".." and the one of `dir` */
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static int descriptors_before;

int test_begin(void **state)
{
    /* What libuv opens once in a process and keeps is not the test's. */
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    descriptors_before = test_descriptors();
    test_alloc_install(0, false);
    return 0;
}

int test_end(void **state)
{
    size_t blocks = test_alloc_live();
    int descriptors = test_descriptors() - descriptors_before;
    rotor_allocator_set(NULL);
    if (blocks || descriptors)
        print_error("left behind: %zu blocks, %d descriptors\n", blocks, descriptors);
    return blocks || descriptors ? -1 : 0;
}

static uint64_t monotonic(void *context)
{
    return test_monotonic_ms;
}

static uint64_t wall(void *context)
{
    return test_wall_ms;
}

uint64_t test_monotonic_ms, test_wall_ms;
const rotor_clock test_clock = {monotonic, wall, NULL};
