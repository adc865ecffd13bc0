/* The one allocator behind all of rotor's own memory.
**
** libuv's own few allocations (its watcher table) are not routed through it: libuv aborts when they
** fail, so a failing allocator there would test nothing. */
#ifndef ROTOR_CORE_ALLOC_H
#define ROTOR_CORE_ALLOC_H

#include <stddef.h>

typedef struct rotor_allocator {
    /* Like realloc: `ptr` NULL allocates, `size` 0 frees and returns NULL; never both. On failure
    ** returns NULL and leaves `ptr` as it was. Called from every thread that uses rotor. */
    void *(*resize)(void *context, void *ptr, size_t size);
    void *context;
} rotor_allocator;

/* Replace the allocator of this process; NULL restores the C library's. Only while nothing that
** rotor allocated is alive; not thread-safe. `allocator` is copied. */
void rotor_allocator_set(const rotor_allocator *allocator);

/* Allocate, resize and free through the allocator in force. NULL when memory is short, and for a
** size of 0 (which frees `ptr`). Resizing NULL allocates; freeing NULL does nothing. */
void *rotor_alloc(size_t size);
void *rotor_alloc_zero(size_t size);
void *rotor_realloc(void *ptr, size_t size);
void rotor_free(void *ptr);

#endif
