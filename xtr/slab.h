/* Blocks of bytes of many sizes, without holes.
 *
 * Each size has an array of its own; when a block is freed, the last of its array moves
 * into its place.  So memory follows what is in use, whatever came and went, and each block
 * carries the number of its owner, whose reference has to follow a move.  A block has at
 * most 15 bytes more than were asked for, or an eighth of it beyond 1 KiB. */
#ifndef XTR_SLAB_H
#define XTR_SLAB_H

#include "segments.h"

#define XTR_SLAB_NONE UINT32_MAX

struct xtr_slab {
    struct xtr_segments *classes; /* by size */
    uint32_t n_classes;
};

void xtr_slab_init(struct xtr_slab *slab);
void xtr_slab_fini(struct xtr_slab *slab);

/* A block with room for 'size' bytes (at most 64 MiB), not cleared; its reference.
 * 'owner' != XTR_SLAB_NONE. */
uint32_t xtr_slab_alloc(struct xtr_slab *slab, size_t size, uint32_t owner);

/* Returns the owner of the block that is at 'ref' from now on, or XTR_SLAB_NONE. */
uint32_t xtr_slab_free(struct xtr_slab *slab, uint32_t ref);

/* Lent until the next alloc or free. */
void *xtr_slab_at(const struct xtr_slab *slab, uint32_t ref);

/* Bytes that the block has room for; and that a block for 'size' bytes would have. */
size_t xtr_slab_room(uint32_t ref);
size_t xtr_slab_room_for(size_t size);

/* Bytes on the heap. */
size_t xtr_slab_memory(const struct xtr_slab *slab);

#endif
