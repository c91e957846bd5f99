/* Tables of records that are found by their key: what a data plane remembers is made of these. */
#ifndef DP_TABLE_H
#define DP_TABLE_H

#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

/* Records of one size, whose first 'key_size' bytes are the key (no padding inside).  A
 * pointer to a record is good until the next remove in its table.  To find one again, or the
 * one that was put after it, costs next to nothing.  No put waits until a large table has been
 * copied: records lie in chunks, and an index grows for each part of the keys by itself. */
#define DP_CHUNK 256 /* records */
#define DP_PARTS 64

struct dp_table {
    uint8_t **chunks;
    uint32_t len, n_chunks;
    uint16_t record_size, key_size;
    struct em_index index[DP_PARTS]; /* by the upper bits of the hash */
    struct dp_memo *memo;
};

void dp_table_init(struct dp_table *table, size_t record_size, size_t key_size);
void dp_table_fini(struct dp_table *table);

/* NULL if there is none.  'key' may be a whole record. */
void *dp_table_find(const struct dp_table *table, const void *key);

/* The record's number for dp_table_at(). */
uint32_t dp_table_slot(const struct dp_table *table, const void *record);

/* Soon to be found or put: see em_index_prefetch(). */
void dp_table_prefetch(const struct dp_table *table, const void *key);

/* Makes a record with all else zero; the key must not be there yet. */
void *dp_table_put(struct dp_table *table, const void *key);

/* The last record takes its place: walk backwards when removing on the way. */
void dp_table_remove(struct dp_table *table, void *record);

static inline void *dp_table_at(const struct dp_table *table, uint32_t i)
{
    return table->chunks[i / DP_CHUNK] + (size_t)(i % DP_CHUNK) * table->record_size;
}

#endif
