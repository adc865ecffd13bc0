/* rotor_buf, but for the paths short enough to be inline.
**
** Making room copies the bytes held only when at least as many were appended or removed in front
** since the last time, so that its cost stays in proportion to the bytes that pass through the
** buf. */
#include "buf.h"

#include "alloc.h"
#include "error.h"

/* The smallest piece of memory that a growing buf asks for, and what of it is not for bytes: the
** block's header, and 8 bytes for malloc's own, so that both together fill a power of two. */
#define GROW_MIN      64
#define GROW_OVERHEAD (sizeof(rotor_block) + 8)

static size_t grown_capacity(size_t need)
{
    uint64_t size = GROW_MIN;
    while (size - GROW_OVERHEAD < need)
        size *= 2;
    size -= GROW_OVERHEAD;
    return size < ROTOR_BUF_MAX ? (size_t)size : ROTOR_BUF_MAX;
}

/* A block with room for `capacity` bytes that holds the `n` at `data`. */
static rotor_block *block_with(size_t capacity, const char *data, size_t n)
{
    rotor_block *block = rotor_block_new(capacity);
    if (block && n > 0) {
        memcpy(block->data, data, n);
        block->end = (uint32_t)n;
    }
    return block;
}

static void release(rotor_block *block)
{
    if (!block)
        return;
    if (block->lent)
        block->lent = 0;
    else
        rotor_free(block);
}

rotor_block *rotor_block_new(size_t capacity)
{
    if (capacity > ROTOR_BUF_MAX)
        return NULL;
    rotor_block *block = rotor_alloc(sizeof *block + capacity);
    if (block)
        *block = (rotor_block){.capacity = (uint32_t)capacity};
    return block;
}

char *rotor__buf_reserve(rotor_buf *b, size_t n)
{
    rotor_block *block = b->block;
    size_t held = rotor_buf_len(b);
    if (n > ROTOR_BUF_MAX - held)
        return NULL;

    /* What is in front of the bytes held was consumed since the last time this was done, so
    ** moving no more bytes than that is paid for. */
    if (block && block->start >= held && block->capacity - held >= n) {
        memcpy(block->data, rotor_buf_data(b), held);
        block->start = 0;
        block->end = (uint32_t)held;
        block->scan_len = 0;
        return block->data + held;
    }

    /* Grow even where the room in front would do: so large a move for so little room might be
    ** needed again at once. */
    size_t need = held + n;
    if (block && need <= block->capacity)
        need = (size_t)block->capacity + 1;
    size_t capacity = grown_capacity(need);

    if (block && !block->lent && block->start == 0) {
        block = rotor_realloc(block, sizeof *block + capacity);
        if (!block)
            return NULL;
        block->capacity = (uint32_t)capacity;
    } else {
        block = block_with(capacity, rotor_buf_data(b), held);
        if (!block)
            return NULL;
        release(b->block);
    }
    b->block = block;
    return block->data + held;
}

int rotor__buf_extend(rotor_buf *b, const void *data, size_t n)
{
    if (n == 0)
        return 0;
    char *to = rotor__buf_reserve(b, n);
    if (!to)
        return UV_ENOMEM;
    memcpy(to, data, n);
    b->block->end += (uint32_t)n;
    return 0;
}

void rotor_buf_truncate(rotor_buf *b, size_t len)
{
    size_t held = rotor_buf_len(b);
    assert(len <= held);
    if (len == held)
        return;
    if (len == 0) {
        rotor__buf_clear(b);
        return;
    }
    b->block->end = b->block->start + (uint32_t)len;
    b->block->scan_len = 0;
}

void rotor_buf_remove_range(rotor_buf *b, size_t from, size_t to)
{
    size_t held = rotor_buf_len(b);
    assert(from <= to && to <= held);
    size_t n = to - from;
    if (n == 0)
        return;
    if (n == held) {
        rotor__buf_clear(b);
        return;
    }
    char *data = rotor_buf_data(b);
    if (from < held - to) {
        memmove(data + n, data, from);
        b->block->start += (uint32_t)n;
    } else {
        memmove(data + from, data + to, held - to);
        b->block->end -= (uint32_t)n;
    }
    b->block->scan_len = 0;
}

int rotor_buf_split(rotor_buf *b, size_t n, rotor_buf *head)
{
    size_t held = rotor_buf_len(b);
    assert(n <= held && !head->block);
    if (n == 0)
        return 0;
    size_t rest = held - n;
    if (rest >= n || rotor_buf_is_lent(b)) {
        head->block = block_with(n, rotor_buf_data(b), n);
        if (!head->block)
            return UV_ENOMEM;
        rotor_buf_consume(b, n);
        return 0;
    }
    rotor_block *tail = NULL;
    if (rest > 0) {
        tail = block_with(rest, rotor_buf_data(b) + n, rest);
        if (!tail)
            return UV_ENOMEM;
    }
    rotor_buf_truncate(b, n);
    head->block = b->block;
    b->block = tail;
    return 0;
}

/* A delimiter of up to 8 bytes stands for itself, a longer one for its FNV-1a hash. */
static uint64_t key_of(const unsigned char *delim, size_t len)
{
    uint64_t key = 0;
    if (len <= sizeof key) {
        memcpy(&key, delim, len);
        return key;
    }
    key = UINT64_C(0xcbf29ce484222325) ^ len;
    for (size_t i = 0; i < len; i++)
        key = (key ^ delim[i]) * UINT64_C(0x100000001b3);
    return key;
}

ssize_t rotor_buf_find(rotor_buf *b, const void *delim, size_t len, size_t offset)
{
    assert(len > 0);
    rotor_block *block = b->block;
    if (offset >= rotor_buf_len(b))
        return -1;

    uint32_t from = block->start + (uint32_t)offset;
    uint64_t key = key_of(delim, len);
    uint16_t scan_len = (uint16_t)(len <= sizeof key ? len : sizeof key + 1);
    if (block->scan_len != scan_len || block->scan_key != key || from < block->scan_from ||
        from > block->scanned) {
        block->scan_len = scan_len;
        block->scan_key = key;
        block->scan_from = from;
        block->scanned = from;
    }

    const char *at = block->data + block->scanned;
    size_t left = block->end - block->scanned;
    const char *match =
        len == 1 ? memchr(at, *(const char *)delim, left) : memmem(at, left, delim, len);
    if (match) {
        block->scanned = (uint32_t)(match - block->data);
        return (ssize_t)(block->scanned - block->start);
    }
    if (left >= len)
        block->scanned += (uint32_t)(left - len + 1);
    return -1;
}

void rotor__buf_fini(rotor_buf *b)
{
    release(b->block);
    b->block = NULL;
}

int rotor__buf_return(rotor_buf *b)
{
    rotor_block *lent = b->block;
    size_t held = rotor_buf_len(b);
    b->block = block_with(held, rotor_buf_data(b), held);
    lent->lent = 0;
    return b->block ? 0 : UV_ENOMEM;
}
