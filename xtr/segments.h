/* An array that grows without copying: items of one size in segments of 16 KiB.
 *
 * Segments come from the system page by page and, but for a few, go back to it, so that what is
 * freed here is really free: in a heap the holes would add up.  Only the first segment, while it is
 * the only one and not full, lies in the heap and grows by doubling, so that a small array is
 * small.  A pointer to an item is good until the next push or pop. */
#ifndef XTR_SEGMENTS_H
#define XTR_SEGMENTS_H

#include <stddef.h>
#include <stdint.h>

struct xtr_segments {
    uint8_t **segments;
    uint32_t n_segments;
    uint32_t len;
    uint32_t item_size;
    uint32_t per_segment; /* items */
    uint32_t first_size;  /* items that the first segment has room for */
};

void xtr_segments_init(struct xtr_segments *array, size_t item_size);
void xtr_segments_fini(struct xtr_segments *array);

/* One more item at the end, not cleared. */
void *xtr_segments_push(struct xtr_segments *array);

/* The last item goes, and the last segment when it is empty and the one before it is not
 * about to be full. */
void xtr_segments_pop(struct xtr_segments *array);

/* A segment by itself, for what is no array; not cleared. */
#define XTR_SEGMENT_BYTES 16384u
void *xtr_segment_map(void);
void xtr_segment_unmap(void *segment);

/* Bytes allocated. */
size_t xtr_segments_memory(const struct xtr_segments *array);

static inline void *xtr_segments_at(const struct xtr_segments *array, uint32_t i)
{
    return array->segments[i / array->per_segment] +
           (size_t)(i % array->per_segment) * array->item_size;
}

#endif
