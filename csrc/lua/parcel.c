/* The memory of parcels.
**
** What a block of memory costs that goes to another core and back is more than all else there is to sending a number.
** So small parcels, which are not to grow, share one: a slab, which is freed with the last of them. */
#include <stdatomic.h>
#include <string.h>

#include "../core/alloc.h"
#include "travel.h"

enum { CELLS = 16, CELL_SIZE = 64 };

/* A cell is a line of the cache, which has nothing in it that somebody else writes to meanwhile. */
typedef struct rotor__slab {
    atomic_uint left; /* cells that are in use, or will be */
    char bytes[(CELLS + 1) * CELL_SIZE];
} slab;

static void leave(slab *s, unsigned cells)
{
    if (atomic_fetch_sub(&s->left, cells) == cells)
        rotor_free(s);
}

void rotor__slab_leave(rotor__vm *vm)
{
    if (vm->slab)
        leave(vm->slab, CELLS - vm->cells);
    vm->slab = NULL;
}

/* NULL: no memory. */
static rotor__parcel *next_cell(rotor__vm *vm)
{
    slab *s = vm->slab;
    if (!s) {
        s = rotor_alloc(sizeof *s);
        if (!s)
            return NULL;
        atomic_init(&s->left, CELLS);
        vm->slab = s;
        vm->cells = 0;
    }
    char *first = s->bytes + (CELL_SIZE - (uintptr_t)s->bytes % CELL_SIZE);
    rotor__parcel *parcel = (rotor__parcel *)(first + (size_t)vm->cells++ * CELL_SIZE);
    memset(parcel, 0, sizeof *parcel);
    parcel->slab = s;
    if (vm->cells == CELLS)
        vm->slab = NULL;
    return parcel;
}

rotor__parcel *rotor__parcel_new(rotor__vm *vm, size_t size, bool may_share)
{
    if (may_share && sizeof(rotor__parcel) + size <= CELL_SIZE && !vm->closed)
        return next_cell(vm);
    rotor__parcel *parcel = rotor_alloc(sizeof *parcel + size);
    if (parcel)
        memset(parcel, 0, sizeof *parcel);
    return parcel;
}

/* Those that are to be freed, as one may be all that another is held by, and that one another. */
static _Thread_local rotor__parcel *doomed;
static _Thread_local bool freeing;

void rotor__parcel_free(rotor__parcel *parcel)
{
    if (!parcel)
        return;
    parcel->item.next = doomed ? &doomed->item : NULL;
    doomed = parcel;
    if (freeing)
        return;
    freeing = true;
    while ((parcel = doomed)) {
        doomed = rotor__parcel_of(parcel->item.next);
        for (uint32_t i = 0; i < parcel->objects; i++)
            parcel->carried[i].passage->release(parcel->carried[i].thing);
        rotor_free(parcel->carried);
        if (parcel->slab)
            leave(parcel->slab, 1);
        else
            rotor_free(parcel);
    }
    freeing = false;
}

void rotor__parcel_depart(rotor__parcel *parcel)
{
    for (uint32_t i = 0; i < parcel->objects; i++) {
        struct rotor__carried *c = &parcel->carried[i];
        if (c->passage->moving)
            c->thing = c->passage->moving->depart(c->origin, c->thing);
    }
}

void rotor__parcel_return(rotor__parcel *parcel)
{
    for (uint32_t i = 0; i < parcel->objects; i++) {
        struct rotor__carried *c = &parcel->carried[i];
        if (c->passage->moving) {
            c->passage->moving->restore(c->origin, c->thing);
            c->thing = NULL;
        }
    }
    rotor__parcel_free(parcel);
}
