/* A reference is the class in the upper 8 bits and the place in the class's array below.
 * Classes go by 16 bytes up to 1 KiB and by eighths of a power of two from there on. */
#include "slab.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define UNIT       16u
#define N_LINEAR   64u /* classes that go by one unit */
#define PLACE_BITS 24
#define PLACE_MASK ((1u << PLACE_BITS) - 1)
#define OWNER_SIZE sizeof(uint32_t)
#define LARGEST    (64u << 20)

static uint32_t class_of(size_t size)
{
    assert(size <= LARGEST);
    uint32_t units = (uint32_t)((size + OWNER_SIZE + UNIT - 1) / UNIT);
    if (units <= N_LINEAR)
        return units - 1;
    uint32_t shift = 28u - (uint32_t)__builtin_clz(units - 1);
    return N_LINEAR + (shift - 3) * 8 + ((units - 1) >> shift) - 8;
}

static size_t size_of(uint32_t class)
{
    if (class < N_LINEAR)
        return (size_t)(class + 1) * UNIT;
    uint32_t above = class - N_LINEAR;
    return (size_t)(above % 8 + 9) << (above / 8 + 3) << 4;
}

void xtr_slab_init(struct xtr_slab *slab)
{
    *slab = (struct xtr_slab){0};
}

void xtr_slab_fini(struct xtr_slab *slab)
{
    for (uint32_t i = 0; i < slab->n_classes; i++)
        xtr_segments_fini(&slab->classes[i]);
    free(slab->classes);
    xtr_slab_init(slab);
}

static uint8_t *block(const struct xtr_slab *slab, uint32_t ref)
{
    return xtr_segments_at(&slab->classes[ref >> PLACE_BITS], ref & PLACE_MASK);
}

void *xtr_slab_at(const struct xtr_slab *slab, uint32_t ref)
{
    return block(slab, ref) + OWNER_SIZE;
}

size_t xtr_slab_room(uint32_t ref)
{
    return size_of(ref >> PLACE_BITS) - OWNER_SIZE;
}

size_t xtr_slab_room_for(size_t size)
{
    return size_of(class_of(size)) - OWNER_SIZE;
}

static struct xtr_segments *obtain_class(struct xtr_slab *slab, uint32_t class)
{
    if (class >= slab->n_classes) {
        slab->classes = em_realloc(slab->classes, (class + 1) * sizeof *slab->classes);
        for (; slab->n_classes <= class; slab->n_classes++)
            xtr_segments_init(&slab->classes[slab->n_classes], size_of(slab->n_classes));
    }
    return &slab->classes[class];
}

uint32_t xtr_slab_alloc(struct xtr_slab *slab, size_t size, uint32_t owner)
{
    uint32_t class = class_of(size);
    struct xtr_segments *blocks = obtain_class(slab, class);
    uint32_t place = blocks->len;
    assert(place <= PLACE_MASK && owner != XTR_SLAB_NONE);
    memcpy(xtr_segments_push(blocks), &owner, OWNER_SIZE);
    return class << PLACE_BITS | place;
}

uint32_t xtr_slab_free(struct xtr_slab *slab, uint32_t ref)
{
    struct xtr_segments *blocks = &slab->classes[ref >> PLACE_BITS];
    uint32_t last = blocks->len - 1, owner = XTR_SLAB_NONE;
    assert((ref & PLACE_MASK) <= last);
    if ((ref & PLACE_MASK) != last) {
        const uint8_t *moved = xtr_segments_at(blocks, last);
        memcpy(&owner, moved, OWNER_SIZE);
        memcpy(block(slab, ref), moved, blocks->item_size);
    }
    xtr_segments_pop(blocks);
    return owner;
}

size_t xtr_slab_memory(const struct xtr_slab *slab)
{
    size_t size = slab->n_classes * sizeof *slab->classes;
    for (uint32_t i = 0; i < slab->n_classes; i++)
        size += xtr_segments_memory(&slab->classes[i]);
    return size;
}
