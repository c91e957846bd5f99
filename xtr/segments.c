/* A segment is small enough for the allocator to give it from what others have freed, and
 * large enough for its overhead not to count. */
#include "segments.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define SEGMENT_BYTES 16384u

void xtr_segments_init(struct xtr_segments *array, size_t item_size)
{
    assert(item_size && item_size < UINT32_MAX);
    *array = (struct xtr_segments){.item_size = (uint32_t)item_size};
    while ((uint64_t)item_size << (array->shift + 1) <= SEGMENT_BYTES)
        array->shift++;
}

void xtr_segments_fini(struct xtr_segments *array)
{
    for (uint32_t i = 0; i < array->n_segments; i++)
        free(array->segments[i]);
    free(array->segments);
    array->segments = NULL;
    array->n_segments = array->len = array->first_size = 0;
}

static void grow_first(struct xtr_segments *array)
{
    array->first_size = array->first_size ? array->first_size * 2 : 1;
    array->segments[0] =
        em_realloc(array->segments[0], (size_t)array->first_size * array->item_size);
}

static void add_segment(struct xtr_segments *array)
{
    uint32_t n = array->n_segments++;
    if (!(n & (n - 1)))
        array->segments = em_realloc(array->segments, (n ? n * 2 : 1) * sizeof(uint8_t *));
    if (n)
        array->segments[n] = em_malloc((size_t)array->item_size << array->shift);
    else
        array->segments[n] = NULL;
}

void *xtr_segments_push(struct xtr_segments *array)
{
    if (array->len >> array->shift == array->n_segments)
        add_segment(array);
    if (array->n_segments == 1 && array->len == array->first_size)
        grow_first(array);
    return xtr_segments_at(array, array->len++);
}

void xtr_segments_pop(struct xtr_segments *array)
{
    assert(array->len > 0);
    array->len--;
    if (!array->len)
        xtr_segments_fini(array);
    else if (array->len == (array->n_segments - 1) << array->shift)
        free(array->segments[--array->n_segments]);
}

size_t xtr_segments_memory(const struct xtr_segments *array)
{
    if (!array->n_segments)
        return 0;
    size_t items =
        array->n_segments == 1 ? array->first_size : (size_t)array->n_segments << array->shift;
    return items * array->item_size + array->n_segments * sizeof(uint8_t *);
}
