/* An array that grows without copying: items of one size in segments of about 16 KiB.
 *
 * Only the first segment, while it is the only one, grows by doubling, so that a small
 * array is small.  A pointer to an item is good until the next push or pop. */
#ifndef XTR_SEGMENTS_H
#define XTR_SEGMENTS_H

#include <stddef.h>
#include <stdint.h>

struct xtr_segments {
    uint8_t **segments;
    uint32_t n_segments;
    uint32_t len;
    uint32_t first_size; /* items that the first segment has room for */
    uint32_t item_size;
    uint8_t shift; /* a segment has 1 << shift items */
};

void xtr_segments_init(struct xtr_segments *array, size_t item_size);
void xtr_segments_fini(struct xtr_segments *array);

/* One more item at the end, not cleared. */
void *xtr_segments_push(struct xtr_segments *array);

/* The last item goes; a segment that is empty then is freed. */
void xtr_segments_pop(struct xtr_segments *array);

/* Bytes on the heap. */
size_t xtr_segments_memory(const struct xtr_segments *array);

static inline void *xtr_segments_at(const struct xtr_segments *array, uint32_t i)
{
    return array->segments[i >> array->shift] +
           (size_t)(i & ((1u << array->shift) - 1)) * array->item_size;
}

#endif
