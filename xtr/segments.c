/* Pages of a segment that nothing was written to yet are not resident.
 *
 * Some segments that were freed last are kept for the next that is needed: an index that grows
 * moves its buckets from size to size, and for each segment that goes there another one comes.
 * They are the process's, and so only one thread may have such arrays. */
#include "segments.h"

#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SPARE_MAX 8u

static struct {
    void *segments[SPARE_MAX];
    uint32_t n;
} spare;

void xtr_segments_init(struct xtr_segments *array, size_t item_size)
{
    assert(item_size && item_size < UINT32_MAX);
    *array = (struct xtr_segments){
        .item_size = (uint32_t)item_size,
        .per_segment = item_size < XTR_SEGMENT_BYTES ? XTR_SEGMENT_BYTES / (uint32_t)item_size : 1,
    };
}

/* An item that is larger than a segment has one of its own. */
static size_t segment_bytes(const struct xtr_segments *array)
{
    return array->item_size < XTR_SEGMENT_BYTES ? XTR_SEGMENT_BYTES : array->item_size;
}

static void *map_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        fputs("eidmap: out of memory\n", stderr);
        abort(); /* as em_malloc() */
    }
    return pages;
}

void *xtr_segment_map(void)
{
    return spare.n ? spare.segments[--spare.n] : map_pages(XTR_SEGMENT_BYTES);
}

void xtr_segment_unmap(void *segment)
{
    if (spare.n < SPARE_MAX)
        spare.segments[spare.n++] = segment;
    else
        munmap(segment, XTR_SEGMENT_BYTES);
}

static void *map_items(const struct xtr_segments *array)
{
    size_t size = segment_bytes(array);
    return size == XTR_SEGMENT_BYTES ? xtr_segment_map() : map_pages(size);
}

static void unmap_items(const struct xtr_segments *array, void *items)
{
    size_t size = segment_bytes(array);
    if (size == XTR_SEGMENT_BYTES)
        xtr_segment_unmap(items);
    else
        munmap(items, size);
}

static bool is_mapped(const struct xtr_segments *array, uint32_t i)
{
    return i || array->first_size == array->per_segment;
}

static void drop_segment(struct xtr_segments *array, uint32_t i)
{
    if (is_mapped(array, i))
        unmap_items(array, array->segments[i]);
    else
        free(array->segments[i]);
}

void xtr_segments_fini(struct xtr_segments *array)
{
    for (uint32_t i = 0; i < array->n_segments; i++)
        drop_segment(array, i);
    free(array->segments);
    array->segments = NULL;
    array->n_segments = array->len = array->first_size = 0;
}

static void grow_first(struct xtr_segments *array)
{
    uint32_t size = array->first_size ? array->first_size * 2 : 1;
    uint8_t *old = array->segments[0];
    if (size < array->per_segment) {
        array->segments[0] = em_realloc(old, (size_t)size * array->item_size);
        array->first_size = size;
        return;
    }
    array->segments[0] = map_items(array);
    if (array->len)
        memcpy(array->segments[0], old, (size_t)array->len * array->item_size);
    free(old);
    array->first_size = array->per_segment;
}

static void add_segment(struct xtr_segments *array)
{
    uint32_t n = array->n_segments++;
    if (!(n & (n - 1)))
        array->segments = em_realloc(array->segments, (n ? n * 2 : 1) * sizeof(uint8_t *));
    array->segments[n] = n ? map_items(array) : NULL;
}

void *xtr_segments_push(struct xtr_segments *array)
{
    if (array->len / array->per_segment == array->n_segments)
        add_segment(array);
    if (array->len == array->first_size && array->n_segments == 1)
        grow_first(array);
    return xtr_segments_at(array, array->len++);
}

void xtr_segments_pop(struct xtr_segments *array)
{
    assert(array->len > 0);
    array->len--;
    if (!array->len)
        xtr_segments_fini(array);
    else if (array->len + array->per_segment / 4 <= (array->n_segments - 1) * array->per_segment)
        drop_segment(array, --array->n_segments);
}

size_t xtr_segments_memory(const struct xtr_segments *array)
{
    if (!array->n_segments)
        return 0;
    size_t first = array->first_size == array->per_segment
                       ? segment_bytes(array)
                       : (size_t)array->first_size * array->item_size;
    return first + (array->n_segments - 1) * segment_bytes(array) +
           array->n_segments * sizeof(uint8_t *);
}
