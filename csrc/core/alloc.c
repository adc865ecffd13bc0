/* The allocator in force, and the C library's as the default. */
#include "alloc.h"

#include <stdlib.h>
#include <string.h>

static void *libc_resize(void *context, void *ptr, size_t size)
{
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}

static const rotor_allocator libc_allocator = {libc_resize, NULL};
static rotor_allocator current = {libc_resize, NULL};

void rotor_allocator_set(const rotor_allocator *allocator)
{
    current = allocator ? *allocator : libc_allocator;
}

void *rotor_alloc(size_t size)
{
    return rotor_realloc(NULL, size);
}

void *rotor_alloc_zero(size_t size)
{
    void *ptr = rotor_alloc(size);
    if (ptr)
        memset(ptr, 0, size);
    return ptr;
}

void *rotor_realloc(void *ptr, size_t size)
{
    if (!ptr && size == 0)
        return NULL;
    return current.resize(current.context, ptr, size);
}

void rotor_free(void *ptr)
{
    rotor_realloc(ptr, 0);
}
