#include "test.h"

#include <stdbool.h>

#include "../core/alloc.h"
#include "../core/buf.h"
#include "../core/error.h"

/* An allocator that counts what is alive and fails when told to; each piece knows its size.
** Resizing always moves, so that a pointer kept too long shows under ASan. */
#define HEADER 16

static struct {
    size_t pieces, bytes; /* alive */
    size_t calls;         /* other than to free */
    size_t largest;       /* ever asked for */
    size_t fail_at;       /* the call that fails, counted from 1; 0: none */
} memory;

static void *counted_resize(void *context, void *ptr, size_t size)
{
    size_t *old = ptr ? (size_t *)(void *)((char *)ptr - HEADER) : NULL;
    size_t *piece = NULL;
    if (size > 0) {
        memory.largest = size > memory.largest ? size : memory.largest;
        if (++memory.calls == memory.fail_at || size > (1u << 28))
            return NULL;
        piece = malloc(HEADER + size);
        assert_non_null(piece);
        *piece = size;
        memory.pieces++;
        memory.bytes += size;
        memset((char *)piece + HEADER, 0xa5, size);
        if (old)
            memcpy((char *)piece + HEADER, ptr, *old < size ? *old : size);
    }
    if (old) {
        memory.pieces--;
        memory.bytes -= *old;
        free(old);
    }
    return piece ? (char *)piece + HEADER : NULL;
}

static int setup(void **state)
{
    memset(&memory, 0, sizeof memory);
    rotor_allocator_set(&(rotor_allocator){counted_resize, NULL});
    return 0;
}

static int teardown(void **state)
{
    rotor_allocator_set(NULL);
    return memory.pieces == 0 && memory.bytes == 0 ? 0 : -1;
}

static uint64_t random_state;

static size_t below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n;
}

static rotor_buf buf_of(const char *text)
{
    rotor_buf b = ROTOR_BUF_INIT;
    assert_int_equal(rotor_buf_extend(&b, text, strlen(text)), 0);
    return b;
}

static void assert_holds(const rotor_buf *b, const char *text)
{
    assert_int_equal(rotor_buf_len(b), strlen(text));
    if (*text)
        assert_memory_equal(rotor_buf_data(b), text, strlen(text));
}

/* -- one function at a time -------------------------------------------------------------------- */

static void empty_holds_no_memory(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT;
    assert_int_equal(rotor_buf_len(&b), 0);
    assert_int_equal(rotor_buf_room(&b), 0);
    assert_null(rotor_buf_data(&b));
    assert_false(rotor_buf_is_lent(&b));
    rotor_buf_consume(&b, 0);
    rotor_buf_truncate(&b, 0);
    rotor_buf_remove_range(&b, 0, 0);
    rotor_buf_commit(&b, 0);
    assert_int_equal(rotor_buf_extend(&b, NULL, 0), 0);
    assert_int_equal(rotor_buf_find(&b, "x", 1, 0), -1);
    assert_int_equal(rotor_buf_return(&b), 0);
    rotor_buf_fini(&b);
    assert_null(b.block);
    assert_int_equal(memory.calls, 0);
}

static void extend_and_consume(void **state)
{
    rotor_buf b = buf_of("hello");
    assert_int_equal(rotor_buf_extend(&b, " world", 6), 0);
    assert_int_equal(rotor_buf_extend(&b, NULL, 0), 0);
    assert_holds(&b, "hello world");
    rotor_buf_consume(&b, 0);
    rotor_buf_consume(&b, 6);
    assert_holds(&b, "world");
    rotor_buf_consume(&b, 5);
    assert_null(b.block);
    assert_int_equal(memory.pieces, 0);
}

static void reserve_and_commit(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT;
    char *to = rotor_buf_reserve(&b, 100);
    assert_non_null(to);
    assert_true(rotor_buf_room(&b) >= 100);
    assert_int_equal(rotor_buf_len(&b), 0);
    memset(to, 'a', rotor_buf_room(&b));
    rotor_buf_commit(&b, 3);
    assert_holds(&b, "aaa");
    size_t room = rotor_buf_room(&b);
    assert_ptr_equal(rotor_buf_reserve(&b, room), to + 3);
    rotor_buf_commit(&b, 0);
    assert_holds(&b, "aaa");
    rotor_buf_commit(&b, room);
    assert_int_equal(rotor_buf_room(&b), 0);
    assert_int_equal(rotor_buf_len(&b), room + 3);
    assert_non_null(rotor_buf_reserve(&b, 0));
    rotor_buf_fini(&b);
}

static void reserved_for_nothing(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT;
    assert_non_null(rotor_buf_reserve(&b, 1000));
    rotor_buf_commit(&b, 0);
    assert_int_equal(memory.pieces, 0);
    assert_non_null(rotor_buf_reserve(&b, 1000));
    rotor_buf_consume(&b, 0);
    assert_int_equal(memory.pieces, 0);
    assert_non_null(rotor_buf_reserve(&b, 1000));
    rotor_buf_fini(&b);
}

static void truncate_keeps_the_front(void **state)
{
    rotor_buf b = buf_of("0123456789");
    rotor_buf_consume(&b, 2);
    rotor_buf_truncate(&b, 8);
    assert_holds(&b, "23456789");
    rotor_buf_truncate(&b, 3);
    assert_holds(&b, "234");
    rotor_buf_extend(&b, "x", 1);
    assert_holds(&b, "234x");
    rotor_buf_truncate(&b, 0);
    assert_int_equal(memory.pieces, 0);
}

static void remove_range_everywhere(void **state)
{
    const char text[] = "0123456789";
    for (size_t from = 0; from <= 10; from++) {
        for (size_t to = from; to <= 10; to++) {
            char expected[16];
            memcpy(expected, text, from);
            strcpy(expected + from, text + to);
            rotor_buf b = buf_of(text);
            const char *data = rotor_buf_data(&b);
            rotor_buf_remove_range(&b, from, to);
            assert_holds(&b, expected);
            if (from < to && to < 10) /* the shorter side moved */
                assert_ptr_equal(rotor_buf_data(&b), from < 10 - to ? data + (to - from) : data);
            rotor_buf_fini(&b);
        }
    }
}

static void split_everywhere(void **state)
{
    const char text[] = "0123456789";
    for (int lent = 0; lent < 2; lent++) {
        for (size_t n = 0; n <= 10; n++) {
            rotor_buf b = ROTOR_BUF_INIT, head = ROTOR_BUF_INIT;
            rotor_block *block = lent ? rotor_block_new(20) : NULL;
            if (lent)
                rotor_buf_lend(&b, block);
            rotor_buf_extend(&b, "..", 2);
            rotor_buf_extend(&b, text, 10);
            rotor_buf_consume(&b, 2);
            size_t calls = memory.calls;
            const rotor_block *was = b.block;
            assert_int_equal(rotor_buf_split(&b, n, &head), 0);
            assert_int_equal(rotor_buf_len(&head), n);
            assert_memory_equal(n ? rotor_buf_data(&head) : "", text, n);
            assert_holds(&b, text + n);
            assert_false(rotor_buf_is_lent(&head));
            assert_int_equal(rotor_buf_is_lent(&b), lent);
            if (n == 10 && !lent) {
                assert_ptr_equal(head.block, was);
                assert_null(b.block);
                assert_int_equal(memory.calls, calls);
            }
            assert_int_equal(rotor_buf_extend(&head, "h", 1), 0);
            assert_int_equal(rotor_buf_extend(&b, "b", 1), 0);
            assert_int_equal(rotor_buf_data(&head)[n], 'h');
            assert_int_equal(rotor_buf_data(&b)[10 - n], 'b');
            rotor_buf_fini(&head);
            rotor_buf_fini(&b);
            rotor_free(block);
            assert_int_equal(memory.pieces, 0);
        }
    }
}

/* A large body with the next message behind it: the few bytes are copied, not the many. */
static void split_copies_the_shorter_part(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT, head = ROTOR_BUF_INIT;
    memset(rotor_buf_reserve(&b, 100000), 'x', 100000);
    rotor_buf_commit(&b, 100000);
    rotor_buf_extend(&b, "next", 4);
    const char *data = rotor_buf_data(&b);
    size_t bytes = memory.bytes;
    assert_int_equal(rotor_buf_split(&b, 100000, &head), 0);
    assert_ptr_equal(rotor_buf_data(&head), data);
    assert_int_equal(rotor_buf_len(&head), 100000);
    assert_holds(&b, "next");
    assert_true(memory.bytes - bytes < 100);
    rotor_buf_fini(&head);
    rotor_buf_fini(&b);
}

static void growth_doubles(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT;
    const size_t total = 1u << 20;
    for (size_t i = 0; i < total; i++)
        assert_int_equal(rotor_buf_extend(&b, &(char){(char)i}, 1), 0);
    assert_true(memory.calls <= 20);
    assert_true(memory.bytes <= 4 * total);
    for (size_t i = 0; i < total; i++)
        assert_int_equal(rotor_buf_data(&b)[i], (char)i);
    rotor_buf_fini(&b);
}

static void a_left_over_costs_little(void **state)
{
    rotor_block *lent = rotor_block_new(65536);
    rotor_buf b = ROTOR_BUF_INIT;
    rotor_buf_lend(&b, lent);
    size_t before = memory.bytes;
    rotor_buf_extend(&b, "GET / HTTP/1.1\r\nHost: example.org\r\nAccep", 40);
    assert_int_equal(rotor_buf_return(&b), 0);
    assert_true(memory.bytes - before <= 80);
    rotor_buf_fini(&b);
    rotor_free(lent);
}

/* However full the buf is kept, bytes that pass through it are copied a bounded number of times. */
static void a_queue_stays_in_its_memory(void **state)
{
    for (size_t held = 1; held < 300; held += 13) {
        rotor_buf b = ROTOR_BUF_INIT;
        for (size_t i = 0; i < held; i++)
            rotor_buf_extend(&b, &(char){(char)i}, 1);
        size_t copied = 0;
        for (size_t i = held; i < 20000; i++) {
            uint32_t start = b.block->start;
            const rotor_block *block = b.block;
            assert_int_equal(rotor_buf_extend(&b, &(char){(char)i}, 1), 0);
            if (b.block != block || b.block->start != start)
                copied += held;
            assert_int_equal(*rotor_buf_data(&b), (char)(i - held));
            rotor_buf_consume(&b, 1);
        }
        assert_true(copied <= 20000 + 4 * held);
        assert_true(memory.bytes < 8 * held + 100);
        rotor_buf_fini(&b);
    }
}

static void limits(void **state)
{
    rotor_buf b = buf_of("0123456789");
    size_t calls = memory.calls;
    assert_null(rotor_buf_reserve(&b, SIZE_MAX));
    assert_null(rotor_buf_reserve(&b, ROTOR_BUF_MAX - 9));
    for (size_t i = 0; i < 2; i++) {
        volatile size_t too_many = i ? SIZE_MAX : ROTOR_BUF_MAX - 9; /* or gcc warns of the copy */
        assert_int_equal(rotor_buf_extend(&b, "", too_many), UV_ENOMEM);
    }
    assert_null(rotor_block_new(ROTOR_BUF_MAX + 1));
    assert_null(rotor_block_new(SIZE_MAX));
    assert_int_equal(memory.calls, calls);

    /* Within the limit it is for the allocator to say; this one says no. */
    assert_null(rotor_buf_reserve(&b, ROTOR_BUF_MAX - 10));
    assert_int_equal(memory.calls, calls + 1);
    assert_int_equal(memory.largest, ROTOR_BUF_MAX + sizeof(rotor_block));
    assert_holds(&b, "0123456789");
    rotor_buf_fini(&b);
}

/* -- lending ----------------------------------------------------------------------------------- */

static void a_lent_block_is_kept_until_returned(void **state)
{
    rotor_block *block = rotor_block_new(64);
    rotor_buf b = ROTOR_BUF_INIT;
    size_t calls = memory.calls;
    rotor_buf_lend(&b, block);
    assert_true(rotor_buf_is_lent(&b));
    assert_int_equal(rotor_buf_len(&b), 0);
    assert_int_equal(rotor_buf_room(&b), 64);
    rotor_buf_commit(&b, 0);
    assert_ptr_equal(b.block, block);
    for (int i = 0; i < 3; i++) {
        rotor_buf_extend(&b, "0123456789", 10);
        if (i == 0)
            rotor_buf_consume(&b, 10);
        else if (i == 1)
            rotor_buf_truncate(&b, 0);
        else
            rotor_buf_remove_range(&b, 0, 10);
        assert_ptr_equal(b.block, block);
        assert_int_equal(rotor_buf_room(&b), 64);
    }
    assert_int_equal(rotor_buf_return(&b), 0);
    assert_null(b.block);
    assert_int_equal(block->lent, 0);
    assert_int_equal(memory.calls, calls);
    rotor_free(block);
}

static void what_is_left_moves_out(void **state)
{
    rotor_block *block = rotor_block_new(64);
    rotor_buf a = ROTOR_BUF_INIT, b = ROTOR_BUF_INIT;
    rotor_buf_lend(&a, block);
    rotor_buf_extend(&a, "done rest", 9);
    rotor_buf_consume(&a, 5);
    assert_int_equal(rotor_buf_return(&a), 0);
    assert_false(rotor_buf_is_lent(&a));
    assert_ptr_not_equal(a.block, block);

    rotor_buf_lend(&b, block);
    assert_int_equal(rotor_buf_room(&b), 64);
    rotor_buf_extend(&b, "overwrites it", 13);
    assert_holds(&a, "rest");
    assert_int_equal(rotor_buf_return(&a), 0);
    assert_holds(&a, "rest");
    rotor_buf_fini(&a);
    rotor_buf_fini(&b); /* gives the block back, and does not free it */
    assert_int_equal(block->lent, 0);
    assert_int_equal(memory.pieces, 1);
    rotor_free(block);
}

static void a_lent_block_too_small_is_left(void **state)
{
    for (size_t held = 0; held <= 16; held++) {
        rotor_block *block = rotor_block_new(16);
        rotor_buf b = ROTOR_BUF_INIT;
        rotor_buf_lend(&b, block);
        rotor_buf_extend(&b, "0123456789abcdef", held);
        assert_true(rotor_buf_is_lent(&b));
        assert_int_equal(rotor_buf_extend(&b, "0123456789abcdefg", 17 - held), 0);
        assert_false(rotor_buf_is_lent(&b));
        assert_int_equal(block->lent, 0);
        assert_int_equal(rotor_buf_len(&b), 17);
        assert_memory_equal(rotor_buf_data(&b), "0123456789abcdef", held);
        assert_memory_equal(rotor_buf_data(&b) + held, "0123456789abcdefg", 17 - held);
        assert_int_equal(rotor_buf_return(&b), 0);
        assert_int_equal(rotor_buf_len(&b), 17);
        rotor_buf_fini(&b);
        rotor_free(block);
    }
}

static void a_lent_block_is_compacted(void **state)
{
    rotor_block *block = rotor_block_new(16);
    rotor_buf b = ROTOR_BUF_INIT;
    rotor_buf_lend(&b, block);
    size_t calls = memory.calls;
    rotor_buf_extend(&b, "0123456789abcdef", 16);
    rotor_buf_consume(&b, 12);
    rotor_buf_extend(&b, "ghijklmnopqr", 12);
    assert_ptr_equal(b.block, block);
    assert_holds(&b, "cdefghijklmnopqr");
    assert_int_equal(memory.calls, calls);
    rotor_buf_fini(&b);
    rotor_free(block);
}

/* -- memory runs out --------------------------------------------------------------------------- */

typedef struct shortage {
    const char *name;
    size_t consumed; /* of the 100 bytes the buf is given first */
    int lent;        /* in a block of 100 bytes */
    size_t n;        /* the argument of `act` */
    int (*act)(rotor_buf *b, size_t n, rotor_buf *head);
    bool loses; /* the bytes are gone after the failure */
} shortage;

static int act_extend(rotor_buf *b, size_t n, rotor_buf *head)
{
    static const char zeros[1000];
    return rotor_buf_extend(b, zeros, n);
}

static int act_reserve(rotor_buf *b, size_t n, rotor_buf *head)
{
    return rotor_buf_reserve(b, n) ? 0 : UV_ENOMEM;
}

static int act_split(rotor_buf *b, size_t n, rotor_buf *head)
{
    return rotor_buf_split(b, n, head);
}

static int act_return(rotor_buf *b, size_t n, rotor_buf *head)
{
    return rotor_buf_return(b);
}

static void failing_allocations(void **state)
{
    static const shortage cases[] = {
        {"extend, resized", 0, 0, 1000, act_extend, false},
        {"extend, copied", 30, 0, 1000, act_extend, false},
        {"extend, empty", 100, 0, 1000, act_extend, false},
        {"extend, out of a lent block", 0, 1, 1, act_extend, false},
        {"extend, out of an empty lent block", 100, 1, 101, act_extend, false},
        {"reserve, resized", 0, 0, 1000, act_reserve, false},
        {"reserve, copied", 10, 0, 1000, act_reserve, false},
        {"reserve, out of a lent block", 10, 1, 50, act_reserve, false},
        {"split, less than half", 10, 0, 10, act_split, false},
        {"split, more than half", 10, 0, 80, act_split, false},
        {"split, less than half of a lent block", 10, 1, 10, act_split, false},
        {"split, all of a lent block", 10, 1, 90, act_split, false},
        {"return", 10, 1, 0, act_return, true},
    };
    char text[100];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const shortage *c = &cases[i];
        for (int fail = 1; fail >= 0; fail--) {
            rotor_buf b = ROTOR_BUF_INIT, head = ROTOR_BUF_INIT;
            rotor_block *block = rotor_block_new(100);
            if (c->lent)
                rotor_buf_lend(&b, block);
            assert_int_equal(rotor_buf_extend(&b, text, 100), 0);
            rotor_buf_consume(&b, c->consumed);
            memory.fail_at = fail ? memory.calls + 1 : 0;
            size_t pieces = memory.pieces, calls = memory.calls;
            int result = c->act(&b, c->n, &head);
            if (memory.calls != calls + 1)
                fail_msg("%s: %zu allocations", c->name, memory.calls - calls);
            assert_int_equal(result, fail ? UV_ENOMEM : 0);
            if (fail) {
                size_t held = c->loses ? 0 : 100 - c->consumed;
                assert_int_equal(memory.pieces, pieces);
                assert_int_equal(rotor_buf_len(&b), held);
                if (held > 0)
                    assert_memory_equal(rotor_buf_data(&b), text + c->consumed, held);
                assert_null(head.block);
                assert_int_equal(rotor_buf_is_lent(&b), c->lent && !c->loses);
                assert_int_equal(block->lent, c->lent && !c->loses);
            }
            memory.fail_at = 0;
            rotor_buf_fini(&b);
            rotor_buf_fini(&head);
            assert_int_equal(block->lent, 0);
            rotor_free(block);
            assert_int_equal(memory.pieces, 0);
        }
    }
    memory.fail_at = memory.calls + 1;
    assert_null(rotor_block_new(10));
}

/* -- find -------------------------------------------------------------------------------------- */

static ssize_t naive_find(const char *data, size_t n, const char *delim, size_t len, size_t offset)
{
    for (size_t i = offset; i + len <= n; i++)
        if (memcmp(data + i, delim, len) == 0)
            return (ssize_t)i;
    return -1;
}

static const char *const delims[] = {
    "\n", "\r\n", "\r\n\r\n", "aab", "aaaa", "aabaaab", "aaabaaab", "aabaabaab", "aabaaabaaabaaab",
};
#define DELIMS (sizeof delims / sizeof *delims)

static const char search_text[] = "aaaabaaa\r\r\n\raabaaabaab\r\n\r\naabaabaaabaaabaaab\n";

/* Every delimiter from every offset, in a block without a byte to spare: ASan sees who reads on. */
static void find_whole(void **state)
{
    size_t n = sizeof search_text - 1;
    rotor_block *block = rotor_block_new(n);
    rotor_buf b = ROTOR_BUF_INIT;
    rotor_buf_lend(&b, block);
    rotor_buf_extend(&b, search_text, n);
    for (size_t d = 0; d < DELIMS; d++) {
        size_t len = strlen(delims[d]);
        for (size_t offset = 0; offset <= n + 2; offset++) {
            ssize_t expected = naive_find(search_text, n, delims[d], len, offset);
            assert_int_equal(rotor_buf_find(&b, delims[d], len, offset), expected);
            assert_int_equal(rotor_buf_find(&b, delims[d], len, offset), expected);
        }
    }
    assert_int_equal(rotor_buf_find(&b, "\n", 1, SIZE_MAX), -1);
    rotor_buf_fini(&b);
    rotor_free(block);
}

/* The text arrives in two parts, split at each byte, and byte by byte; with a search after each. */
static void find_at_every_split(void **state)
{
    size_t n = sizeof search_text - 1;
    for (size_t d = 0; d < DELIMS; d++) {
        size_t len = strlen(delims[d]);
        for (size_t offset = 0; offset < n; offset++) {
            for (size_t split = 0; split <= n; split++) {
                rotor_buf b = ROTOR_BUF_INIT;
                rotor_buf_extend(&b, search_text, split);
                assert_int_equal(rotor_buf_find(&b, delims[d], len, offset),
                                 naive_find(search_text, split, delims[d], len, offset));
                rotor_buf_extend(&b, search_text + split, n - split);
                assert_int_equal(rotor_buf_find(&b, delims[d], len, offset),
                                 naive_find(search_text, n, delims[d], len, offset));
                rotor_buf_fini(&b);
            }
            rotor_buf b = ROTOR_BUF_INIT;
            for (size_t i = 0; i < n; i++) {
                rotor_buf_extend(&b, search_text + i, 1);
                assert_int_equal(rotor_buf_find(&b, delims[d], len, offset),
                                 naive_find(search_text, i + 1, delims[d], len, offset));
            }
            rotor_buf_fini(&b);
        }
    }
}

/* A search looks at no byte twice but the last len - 1: the delimiter is written, behind the buf's
** back, over what has been searched, and is not seen there. */
static void find_looks_only_at_what_is_new(void **state)
{
    for (size_t d = 0; d < DELIMS; d++) {
        size_t len = strlen(delims[d]);
        rotor_block *block = rotor_block_new(1000);
        rotor_buf b = ROTOR_BUF_INIT;
        rotor_buf_lend(&b, block);
        for (size_t i = 1; i <= 500; i++) {
            rotor_buf_extend(&b, "x", 1);
            assert_int_equal(rotor_buf_find(&b, delims[d], len, 0), -1);
            size_t searched = i < len ? 0 : i - len + 1;
            assert_int_equal(block->scanned, searched);
            if (searched >= len)
                memcpy(block->data + searched - len, delims[d], len);
        }
        rotor_buf_consume(&b, 100);
        rotor_buf_extend(&b, "x", 1);
        assert_int_equal(rotor_buf_find(&b, delims[d], len, 0), -1);
        assert_int_equal(block->scanned, 501 - len + 1);
        rotor_buf_extend(&b, delims[d], len);
        assert_int_equal(rotor_buf_find(&b, delims[d], len, 0), 401);
        assert_int_equal(rotor_buf_find(&b, delims[d], len, 0), 401);
        rotor_buf_fini(&b);
        rotor_free(block);
    }
}

/* However the buf grows meanwhile, a byte at a time costs O(n): what is searched again, because the
** bytes moved, is no more than what was copied. */
static void find_is_linear(void **state)
{
    rotor_buf b = ROTOR_BUF_INIT;
    const size_t n = 100000;
    random_state = 1;
    size_t looked_at = 0;
    for (size_t i = 1; i <= n; i++) {
        rotor_buf_extend(&b, "\r", 1);
        bool resumes = b.block->scan_len != 0;
        size_t from = resumes ? b.block->scanned : b.block->start;
        assert_int_equal(rotor_buf_find(&b, "\r\n", 2, 0), -1);
        looked_at += b.block->end - from;
        if (below(3) == 0 && rotor_buf_len(&b) > 1)
            rotor_buf_consume(&b, 1);
    }
    assert_true(looked_at <= 5 * n);
    rotor_buf_fini(&b);
}

static void find_forgets_when_it_must(void **state)
{
    rotor_buf b = buf_of("one two three");
    assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), -1);
    assert_int_equal(rotor_buf_find(&b, " ", 1, 0), 3); /* another delimiter */
    assert_int_equal(rotor_buf_find(&b, " ", 1, 4), 7); /* another offset, onwards … */
    assert_int_equal(rotor_buf_find(&b, " ", 1, 0), 3); /* … and back */
    assert_int_equal(rotor_buf_find(&b, "three\n", 6, 0), -1);
    assert_int_equal(rotor_buf_find(&b, "three", 5, 0), 8);
    assert_int_equal(rotor_buf_find(&b, "two three", 9, 0), 4);
    assert_int_equal(rotor_buf_find(&b, "one three", 9, 0), -1);
    assert_int_equal(rotor_buf_find(&b, "o\0", 2, 0), -1); /* a delimiter's length counts */
    assert_int_equal(rotor_buf_find(&b, "o", 1, 0), 0);
    assert_int_equal(rotor_buf_find(&b, "one three", 9, 0), -1);
    rotor_buf_remove_range(&b, 4, 8);
    assert_int_equal(rotor_buf_find(&b, "one three", 9, 0), 0);
    assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), -1);
    rotor_buf_truncate(&b, 3);
    rotor_buf_extend(&b, "\nfour", 5);
    assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), 3);
    rotor_buf_consume(&b, 4);
    assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), -1);
    rotor_buf_fini(&b);
}

/* The same memory, lent again, holds other bytes. */
static void find_forgets_a_lent_block(void **state)
{
    rotor_block *block = rotor_block_new(64);
    rotor_buf b = ROTOR_BUF_INIT;
    for (int i = 0; i < 4; i++) {
        rotor_buf_lend(&b, block);
        rotor_buf_extend(&b, "xxxxxxx", 7);
        assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), -1);
        if (i % 2) {
            rotor_buf_consume(&b, 7);
        } else {
            rotor_buf_fini(&b);
            rotor_buf_lend(&b, block);
        }
        rotor_buf_extend(&b, "a\nb\nccc", 7);
        assert_int_equal(rotor_buf_find(&b, "\n", 1, 0), 1);
        rotor_buf_fini(&b);
    }
    rotor_free(block);
}

/* -- against a model --------------------------------------------------------------------------- */

#define MODEL_MAX 4096

typedef struct model {
    char bytes[MODEL_MAX];
    size_t len;
    rotor_buf buf;
    rotor_block *block; /* the lender's */
} model;

static void check_model(const model *m)
{
    const rotor_buf *b = &m->buf;
    assert_int_equal(rotor_buf_len(b), m->len);
    if (m->len > 0)
        assert_memory_equal(rotor_buf_data(b), m->bytes, m->len);
    bool lent = b->block == m->block;
    assert_int_equal(m->block->lent, lent);
    assert_int_equal(rotor_buf_is_lent(b), lent);
    if (m->len == 0)
        assert_true(lent || !b->block);
    assert_int_equal(memory.pieces, b->block && !lent ? 2 : 1);
    if (b->block) {
        assert_true(b->block->start <= b->block->end && b->block->end <= b->block->capacity);
        assert_int_equal(rotor_buf_room(b), b->block->capacity - b->block->end);
    }
}

static void fill(char *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = "aaaaabbb\r\n"[below(10)];
}

static void model_append(model *m, bool by_reserve)
{
    char bytes[400];
    size_t n = below(8) == 0 ? below(sizeof bytes) : below(20);
    if (n > MODEL_MAX - m->len)
        return;
    fill(bytes, n);
    if (!by_reserve) {
        if (rotor_buf_extend(&m->buf, bytes, n) != 0)
            return;
    } else {
        char *to = rotor_buf_reserve(&m->buf, n + below(3));
        if (!to)
            return;
        assert_true(rotor_buf_room(&m->buf) >= n);
        assert_ptr_equal(to, rotor_buf_data(&m->buf) + m->len);
        memset(to, 0, rotor_buf_room(&m->buf));
        memcpy(to, bytes, n);
        rotor_buf_commit(&m->buf, n);
    }
    memcpy(m->bytes + m->len, bytes, n);
    m->len += n;
}

static void model_remove(model *m, size_t from, size_t to)
{
    memmove(m->bytes + from, m->bytes + to, m->len - to);
    m->len -= to - from;
}

static void model_split(model *m)
{
    rotor_buf head = ROTOR_BUF_INIT;
    size_t n = below(3) == 0 ? m->len : below(m->len + 1);
    if (rotor_buf_split(&m->buf, n, &head) != 0) {
        assert_null(head.block);
        return;
    }
    assert_int_equal(rotor_buf_len(&head), n);
    if (n > 0)
        assert_memory_equal(rotor_buf_data(&head), m->bytes, n);
    model_remove(m, 0, n);
    rotor_buf_fini(&head);
}

static void model_find(model *m)
{
    const char *delim = delims[below(DELIMS)];
    size_t len = strlen(delim);
    size_t offset = below(3) == 0 ? below(m->len + 3) : 0;
    assert_int_equal(rotor_buf_find(&m->buf, delim, len, offset),
                     naive_find(m->bytes, m->len, delim, len, offset));
}

static void model_step(model *m)
{
    size_t from, to;
    switch (below(16)) {
    case 0:
    case 1:
    case 2:
        model_append(m, false);
        break;
    case 3:
    case 4:
        model_append(m, true);
        break;
    case 5:
    case 6:
    case 7:
        to = below(6) == 0 ? m->len : below(m->len / 3 + 1);
        rotor_buf_consume(&m->buf, to);
        model_remove(m, 0, to);
        break;
    case 8:
        to = below(4) == 0 ? below(m->len + 1) : m->len - below(m->len / 8 + 1);
        rotor_buf_truncate(&m->buf, to);
        m->len = to;
        break;
    case 9:
        from = below(m->len + 1);
        to = from + below(m->len - from + 1);
        rotor_buf_remove_range(&m->buf, from, to);
        model_remove(m, from, to);
        break;
    case 10:
        model_split(m);
        break;
    case 11:
        if (!m->buf.block)
            rotor_buf_lend(&m->buf, m->block);
        break;
    case 12:
        if (rotor_buf_return(&m->buf) != 0)
            m->len = 0;
        assert_false(rotor_buf_is_lent(&m->buf));
        break;
    default:
        model_find(m);
    }
}

static void random_operations(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        random_state = seed;
        static model m;
        m = (model){.block = rotor_block_new((size_t)64 << seed)};
        for (int i = 0; i < 50000; i++) {
            memory.fail_at = below(4) == 0 ? memory.calls + 1 : 0;
            model_step(&m);
            memory.fail_at = 0;
            check_model(&m);
        }
        rotor_buf_fini(&m.buf);
        rotor_free(m.block);
        assert_int_equal(memory.pieces, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_holds_no_memory),
        TEST(extend_and_consume),
        TEST(reserve_and_commit),
        TEST(reserved_for_nothing),
        TEST(truncate_keeps_the_front),
        TEST(remove_range_everywhere),
        TEST(split_everywhere),
        TEST(split_copies_the_shorter_part),
        TEST(growth_doubles),
        TEST(a_left_over_costs_little),
        TEST(a_queue_stays_in_its_memory),
        TEST(limits),
        TEST(a_lent_block_is_kept_until_returned),
        TEST(what_is_left_moves_out),
        TEST(a_lent_block_too_small_is_left),
        TEST(a_lent_block_is_compacted),
        TEST(failing_allocations),
        TEST(find_whole),
        TEST(find_at_every_split),
        TEST(find_looks_only_at_what_is_new),
        TEST(find_is_linear),
        TEST(find_forgets_when_it_must),
        TEST(find_forgets_a_lent_block),
        TEST(random_operations),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
