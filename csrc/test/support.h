/* What test programs share: an allocator that counts and can be made to fail, a clock set by hand,
** and a look at what a test leaves behind. */
#ifndef ROTOR_TEST_SUPPORT_H
#define ROTOR_TEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/alloc.h"
#include "../core/loop.h"

/* A test after which no block may be alive, and no descriptor open that was not open before. */
#define TEST(function) cmocka_unit_test_setup_teardown(function, test_begin, test_end)
int test_begin(void **state);
int test_end(void **state);

/* Put rotor on the counting allocator. Its `fail_at`-th allocation (1: the next, 0: none) fails, and
** with `for_good` all that follow; growing a block counts, as it may fail, too. Only while nothing is
** alive. TEST installs it for a test with (0, false). */
void test_alloc_install(size_t fail_at, bool for_good);

/* How many blocks are alive, what they take with all that malloc adds, and how many allocations have
** failed since it was installed. */
size_t test_alloc_live(void);
size_t test_alloc_bytes(void);
size_t test_alloc_failed(void);

/* Call `scenario` with every single allocation of it failing, and with all from that one on, until it
** comes to its end without meeting a failure. It must leave no block alive, and may give up, but
** only where test_alloc_failed() says that something failed. */
void test_out_of_memory(void (*scenario)(void));

/* How many descriptors this process has open. */
int test_descriptors(void);

/* A clock that shows what is set here. */
extern uint64_t test_monotonic_ms, test_wall_ms;
extern const rotor_clock test_clock;

#endif
