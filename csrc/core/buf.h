/* rotor_buf: a contiguous queue of bytes, consumed at the front and filled at the back.
**
** A buf is one pointer; an empty buf holds no memory. Its bytes live in a block, which the buf
** either owns or has been lent (the loop lends its large read and write blocks for the length of
** one dispatch, so that an idle connection holds no buffer). A buf is not thread-safe.
**
** Pointers into a buf stay valid until the next call that may change it. */
#ifndef ROTOR_CORE_BUF_H
#define ROTOR_CORE_BUF_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* The largest number of bytes a buf can hold. */
#define ROTOR_BUF_MAX ((size_t)INT32_MAX)

typedef struct rotor_block {
    /* private */
    uint32_t start, end; /* the bytes held are data[start .. end) */
    uint32_t capacity;   /* bytes in data */
    /* rotor_buf_find: no match begins in data[scan_from .. scanned) of the delimiter that scan_len
    ** and scan_key stand for; scan_len 0: nothing is known. */
    uint32_t scan_from, scanned;
    uint16_t scan_len;
    uint16_t lent; /* 1 while a buf uses this block without owning it */
    uint64_t scan_key;
    char data[];
} rotor_block;

typedef struct rotor_buf {
    rotor_block *block; /* private; NULL: empty */
} rotor_buf;

#define ROTOR_BUF_INIT                                                                             \
    {                                                                                              \
        NULL                                                                                       \
    }

/* private: the cases that the functions of the same name below leave to them. */
char *rotor__buf_reserve(rotor_buf *b, size_t n);
int rotor__buf_extend(rotor_buf *b, const void *data, size_t n);
int rotor__buf_return(rotor_buf *b);
void rotor__buf_fini(rotor_buf *b);

/* private: drop all bytes, but stay in a lent block. */
static inline void rotor__buf_clear(rotor_buf *b)
{
    if (b->block && b->block->lent) {
        b->block->start = 0;
        b->block->end = 0;
        b->block->scan_len = 0;
    } else {
        rotor__buf_fini(b);
    }
}

/* The bytes held, not NUL-terminated; not to be looked at (and perhaps NULL) when empty. */
static inline char *rotor_buf_data(const rotor_buf *b)
{
    return b->block ? b->block->data + b->block->start : NULL;
}

/* How many bytes are held. */
static inline size_t rotor_buf_len(const rotor_buf *b)
{
    return b->block ? b->block->end - b->block->start : 0;
}

/* How many bytes fit behind the bytes held without another reserve. */
static inline size_t rotor_buf_room(const rotor_buf *b)
{
    return b->block ? b->block->capacity - b->block->end : 0;
}

/* Make room for at least `n` > 0 more bytes and return where they go, or NULL when memory is
** short or the buf would pass ROTOR_BUF_MAX; the bytes held are intact either way. Write up to
** rotor_buf_room() bytes there, then rotor_buf_commit() what was written, be it nothing. A lent
** block that is too small is left to its lender, and the bytes move to memory of the buf's own. */
static inline char *rotor_buf_reserve(rotor_buf *b, size_t n)
{
    /* n - 1 is huge for 0, which is thus left to the other function: one comparison does for
    ** both. */
    if (n - 1 < rotor_buf_room(b))
        return b->block->data + b->block->end;
    return rotor__buf_reserve(b, n);
}

/* Add the first `n` bytes of what rotor_buf_reserve() returned; `n` must fit its room. When the
** buf is empty and stays so, it gives the memory reserved back (but keeps a lent block). */
static inline void rotor_buf_commit(rotor_buf *b, size_t n)
{
    assert(n <= rotor_buf_room(b));
    if (n > 0)
        b->block->end += (uint32_t)n;
    else if (rotor_buf_len(b) == 0)
        rotor__buf_clear(b);
}

/* Append `n` bytes of `data`, which must not lie in this buf. 0, or UV_ENOMEM with the buf
** unchanged (also when it would pass ROTOR_BUF_MAX). */
static inline int rotor_buf_extend(rotor_buf *b, const void *data, size_t n)
{
    if (n - 1 < rotor_buf_room(b)) {
        memcpy(b->block->data + b->block->end, data, n);
        b->block->end += (uint32_t)n;
        return 0;
    }
    return rotor__buf_extend(b, data, n);
}

/* Drop the first `n` bytes; `n` must not exceed rotor_buf_len(). O(1). Cannot fail. When the buf
** becomes empty, a block it owns is freed and a lent one is kept until rotor_buf_return(). */
static inline void rotor_buf_consume(rotor_buf *b, size_t n)
{
    assert(n <= rotor_buf_len(b));
    if (n < rotor_buf_len(b))
        b->block->start += (uint32_t)n;
    else
        rotor__buf_clear(b);
}

/* Keep only the first `len` bytes; `len` must not exceed rotor_buf_len(). Cannot fail. */
void rotor_buf_truncate(rotor_buf *b, size_t len);

/* Remove the bytes [from, to); both within rotor_buf_len(). Moves the bytes of the shorter side. */
void rotor_buf_remove_range(rotor_buf *b, size_t from, size_t to);

/* Move the first `n` bytes of `b` (no more than rotor_buf_len()) into `head`, which must be empty
** and in no lent block. Copies the shorter part, or nothing when all goes, unless `b` is in a lent
** block. 0, or UV_ENOMEM with both unchanged. */
int rotor_buf_split(rotor_buf *b, size_t n, rotor_buf *head);

/* Where `delim` (of `len` > 0 bytes) first occurs at or behind `offset`, counted from the front;
** -1 when it does not. Repeating a search after more bytes came (or some were consumed) looks
** only at what is new, so that a peer that sends a byte at a time costs O(n) in total;
** truncating, removing or searching for something else forgets the place. */
ssize_t rotor_buf_find(rotor_buf *b, const void *delim, size_t len, size_t offset);

/* A block of `capacity` bytes to lend, or NULL when memory is short or `capacity` more than
** ROTOR_BUF_MAX. Freed by rotor_free(). */
rotor_block *rotor_block_new(size_t capacity);

/* Let the empty buf `b` work in `block`, which nobody else may be using. */
static inline void rotor_buf_lend(rotor_buf *b, rotor_block *block)
{
    assert(!b->block && !block->lent);
    block->start = 0;
    block->end = 0;
    block->scan_len = 0;
    block->lent = 1;
    b->block = block;
}

/* True while `b` works in a lent block. */
static inline bool rotor_buf_is_lent(const rotor_buf *b)
{
    return b->block && b->block->lent;
}

/* Drop all bytes and hold nothing: memory the buf owns is freed, a lent block is its lender's
** again. */
static inline void rotor_buf_fini(rotor_buf *b)
{
    if (!rotor_buf_is_lent(b)) {
        rotor__buf_fini(b);
        return;
    }
    b->block->lent = 0;
    b->block = NULL;
}

/* End a lending: bytes still held move to memory of the buf's own. 0, or UV_ENOMEM: then those
** bytes are gone and the buf is empty. The block is free for the next in both cases. Without
** effect on a buf that is not in a lent block. */
static inline int rotor_buf_return(rotor_buf *b)
{
    if (!rotor_buf_is_lent(b))
        return 0;
    if (rotor_buf_len(b) > 0)
        return rotor__buf_return(b);
    rotor_buf_fini(b);
    return 0;
}

#endif
