/* With n buckets, and 'half' the greatest power of two that is not above n, a key's bucket
 * is given by as many low bits of its hash as 2 * half has, or by one less if there is no
 * such bucket yet.  Bucket n comes from splitting bucket n - half by the next bit.
 *
 * A bucket ends with cells that are empty, or with its block. */
#include "index.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CELLS     64u /* of a bucket, on average, at most */
#define MIN_CELLS 24u /* below, buckets are put together */
#define EMPTY     UINT32_MAX
#define SLOT_BITS 24
#define SLOT_MASK ((1u << SLOT_BITS) - 1)

#define CACHE_LINE 64

/* The cells of a bucket, where they lie. */
struct bucket {
    uint32_t *ref;
    uint32_t *cells;
    size_t n, room;
};

void xtr_index_init(struct xtr_index *index, xtr_index_keys_fn *keys, size_t max_keys)
{
    *index = (struct xtr_index){.keys = keys, .max_keys = max_keys};
    xtr_segments_init(&index->buckets, sizeof(uint32_t));
    xtr_slab_init(&index->blocks);
}

void xtr_index_fini(struct xtr_index *index)
{
    xtr_segments_fini(&index->buckets);
    xtr_slab_fini(&index->blocks);
    index->used = 0;
}

static uint32_t cell_of(uint64_t hash, uint32_t slot)
{
    return (uint32_t)(hash >> 56) << SLOT_BITS | slot;
}

/* The greatest power of two that is not above n > 0. */
static uint32_t half_of(uint32_t n)
{
    return 1u << (31 - __builtin_clz(n));
}

static uint32_t bucket_of(const struct xtr_index *index, uint64_t hash)
{
    uint32_t half = half_of(index->buckets.len);
    uint32_t i = (uint32_t)hash & (2 * half - 1);
    return i < index->buckets.len ? i : i - half;
}

static struct bucket bucket_at(const struct xtr_index *index, uint32_t i)
{
    struct bucket bucket = {.ref = xtr_segments_at(&index->buckets, i)};
    if (*bucket.ref == XTR_SLAB_NONE)
        return bucket;
    bucket.cells = xtr_slab_at(&index->blocks, *bucket.ref);
    bucket.n = bucket.room = xtr_slab_room(*bucket.ref) / sizeof(uint32_t);
    while (bucket.cells[bucket.n - 1] == EMPTY)
        bucket.n--;
    return bucket;
}

static void free_block(struct xtr_index *index, uint32_t ref)
{
    uint32_t owner = xtr_slab_free(&index->blocks, ref);
    if (owner != XTR_SLAB_NONE)
        *(uint32_t *)xtr_segments_at(&index->buckets, owner) = ref;
}

/* Gives the bucket another block, with room for 'room' cells: 'n' that are copied, and empty
 * ones.  'cells' may lie in the block that it has, unless that is of this size. */
static void place_cells(struct xtr_index *index, uint32_t i, const uint32_t *cells, size_t n,
                        size_t room)
{
    uint32_t *ref = xtr_segments_at(&index->buckets, i), old = *ref;
    *ref = XTR_SLAB_NONE;
    if (room) {
        *ref = xtr_slab_alloc(&index->blocks, room * sizeof *cells, i);
        uint32_t *to = xtr_slab_at(&index->blocks, *ref);
        if (n)
            memcpy(to, cells, n * sizeof *cells);
        memset(to + n, 0xff, xtr_slab_room(*ref) - n * sizeof *cells);
    }
    if (old != XTR_SLAB_NONE)
        free_block(index, old);
}

static void append(struct xtr_index *index, uint32_t i, const uint32_t *cells, size_t n)
{
    struct bucket bucket = bucket_at(index, i);
    if (bucket.room - bucket.n < n) {
        place_cells(index, i, bucket.cells, bucket.n, bucket.n + n);
        bucket.cells = xtr_slab_at(&index->blocks, *bucket.ref);
    }
    memcpy(bucket.cells + bucket.n, cells, n * sizeof *cells);
}

/* Growing and shrinking */

static size_t count_equal(const uint32_t *cells, size_t n, uint32_t cell)
{
    size_t n_equal = 0;
    for (size_t i = 0; i < n; i++)
        n_equal += cells[i] == cell;
    return n_equal;
}

/* Does the k-th cell of bucket 'from' go to bucket from + half?  If its record has several
 * keys that look alike here, equal cells stand for one after the other. */
static bool is_upper(const struct xtr_index *index, const void *aux, const uint32_t *cells,
                     size_t k, uint32_t from, uint32_t half, uint64_t *hashes)
{
    uint32_t cell = cells[k];
    size_t n = index->keys(aux, cell & SLOT_MASK, hashes), n_alike = 0;
    assert(n <= index->max_keys);
    for (size_t i = 0; i < n; i++)
        if (hashes[i] >> 56 == cell >> SLOT_BITS && ((uint32_t)hashes[i] & (half - 1)) == from)
            hashes[n_alike++] = hashes[i];
    size_t which = n_alike > 1 ? count_equal(cells, k, cell) : 0;
    assert(which < n_alike);
    return hashes[which] & half;
}

static void split(struct xtr_index *index, const void *aux)
{
    uint32_t n_buckets = index->buckets.len, half = half_of(n_buckets), from = n_buckets - half;
    uint32_t *ref = xtr_segments_push(&index->buckets);
    *ref = XTR_SLAB_NONE;
    struct bucket bucket = bucket_at(index, from);
    uint64_t *hashes = em_malloc(index->max_keys * sizeof *hashes);
    uint32_t *lower = em_malloc((2 * bucket.n + 1) * sizeof *lower), *upper = lower + bucket.n;
    size_t n_lower = 0, n_upper = 0;
    for (size_t k = 0; k < bucket.n; k++)
        (void)index->keys(aux, bucket.cells[k] & SLOT_MASK, NULL);
    for (size_t k = 0; k < bucket.n; k++)
        if (is_upper(index, aux, bucket.cells, k, from, half, hashes))
            upper[n_upper++] = bucket.cells[k];
        else
            lower[n_lower++] = bucket.cells[k];
    if (n_upper) {
        place_cells(index, from, lower, n_lower, n_lower);
        place_cells(index, n_buckets, upper, n_upper, n_upper);
    }
    free(lower);
    free(hashes);
}

static void merge(struct xtr_index *index)
{
    uint32_t last = index->buckets.len - 1, into = last - half_of(last);
    struct bucket bucket = bucket_at(index, last);
    if (bucket.n) {
        uint32_t *cells = em_memdup(bucket.cells, bucket.n * sizeof *cells);
        place_cells(index, last, NULL, 0, 0);
        append(index, into, cells, bucket.n);
        free(cells);
    }
    xtr_segments_pop(&index->buckets);
}

/* Keys */

uint32_t xtr_index_find(const struct xtr_index *index, uint64_t hash, xtr_index_equal_fn *equal,
                        const void *aux, const void *key)
{
    if (!index->used)
        return XTR_INDEX_NONE;
    struct bucket bucket = bucket_at(index, bucket_of(index, hash));
    for (size_t i = 0; i < bucket.n; i++)
        if (bucket.cells[i] >> SLOT_BITS == hash >> 56 &&
            equal(aux, bucket.cells[i] & SLOT_MASK, key))
            return bucket.cells[i] & SLOT_MASK;
    return XTR_INDEX_NONE;
}

void xtr_index_prefetch(const struct xtr_index *index, uint64_t hash)
{
    if (!index->used)
        return;
    uint32_t ref = *(uint32_t *)xtr_segments_at(&index->buckets, bucket_of(index, hash));
    if (ref == XTR_SLAB_NONE)
        return;
    const char *cells = xtr_slab_at(&index->blocks, ref);
    size_t size = xtr_slab_room(ref);
    for (size_t at = 0; at < size; at += CACHE_LINE)
        __builtin_prefetch(cells + at);
    __builtin_prefetch(cells + size - 1);
}

void xtr_index_insert(struct xtr_index *index, uint64_t hash, uint32_t slot, const void *aux)
{
    assert(slot <= XTR_INDEX_SLOT_MAX);
    if (!index->buckets.len)
        *(uint32_t *)xtr_segments_push(&index->buckets) = XTR_SLAB_NONE;
    uint32_t cell = cell_of(hash, slot);
    append(index, bucket_of(index, hash), &cell, 1);
    if (++index->used > index->buckets.len * CELLS)
        split(index, aux);
}

void xtr_index_remove(struct xtr_index *index, uint64_t hash, uint32_t slot)
{
    assert(index->used > 0);
    uint32_t i = bucket_of(index, hash), cell = cell_of(hash, slot);
    struct bucket bucket = bucket_at(index, i);
    size_t k = 0;
    while (k < bucket.n && bucket.cells[k] != cell)
        k++;
    assert(k < bucket.n);
    bucket.cells[k] = bucket.cells[--bucket.n];
    bucket.cells[bucket.n] = EMPTY;
    if (xtr_slab_room_for(bucket.n * sizeof cell) < bucket.room * sizeof cell || !bucket.n)
        place_cells(index, i, bucket.cells, bucket.n, bucket.n);
    if (--index->used < (index->buckets.len - 1) * MIN_CELLS)
        merge(index);
}

size_t xtr_index_memory(const struct xtr_index *index)
{
    return xtr_segments_memory(&index->buckets) + xtr_slab_memory(&index->blocks);
}
