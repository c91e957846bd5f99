/* See dptable.h. */
#include "dptable.h"

#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE 32u /* the longest */

/* What the last call was about.  An op looks for its record several times, and is completed
 * in the order in which it was queued: half of an installation would be hashing. */
struct dp_memo {
    bool has_key, has_hash;
    uint8_t key[KEY_SIZE];
    uint64_t hash;
    uint32_t slot; /* of the key, or EM_INDEX_NONE */
    uint32_t last; /* that was found or put */
};

void dp_table_init(struct dp_table *table, size_t record_size, size_t key_size)
{
    assert(key_size <= record_size && record_size <= UINT16_MAX && key_size <= KEY_SIZE);
    *table =
        (struct dp_table){.record_size = (uint16_t)record_size, .key_size = (uint16_t)key_size};
    table->memo = em_calloc(1, sizeof(*table->memo));
    for (size_t i = 0; i < DP_PARTS; i++)
        em_index_init(&table->index[i]);
}

void dp_table_fini(struct dp_table *table)
{
    for (uint32_t i = 0; i < table->n_chunks; i++)
        free(table->chunks[i]);
    free(table->chunks);
    free(table->memo);
    for (size_t i = 0; i < DP_PARTS; i++)
        em_index_fini(&table->index[i]);
}

/* The sizes of the large tables' keys are spelled out: the compiler then needs no call. */
static inline bool is_same_key(const struct dp_table *table, const void *a, const void *b)
{
    switch (table->key_size) {
    case 4:
        return memcmp(a, b, 4) == 0;
    case 8:
        return memcmp(a, b, 8) == 0;
    case 10:
        return memcmp(a, b, 10) == 0;
    }
    return memcmp(a, b, table->key_size) == 0;
}

static bool has_key(const void *aux, uint32_t slot, const void *key)
{
    const struct dp_table *table = aux;
    return is_same_key(table, dp_table_at(table, slot), key);
}

static struct em_index *part_of(const struct dp_table *table, uint64_t hash)
{
    return (struct em_index *)&table->index[(hash >> 32) % DP_PARTS];
}

static uint64_t hash_of(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;

    if (!memo->has_hash) {
        memo->hash = em_hash(key, table->key_size);
        memo->has_hash = true;
    }
    return memo->hash;
}

/* Makes 'key' the memo's. */
static void look_for(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;
    uint32_t next = memo->last + 1;

    if (memo->has_key && is_same_key(table, memo->key, key))
        return;
    memo->has_key = true;
    memo->has_hash = false;
    memcpy(memo->key, key, table->key_size);
    if (next < table->len && has_key(table, next, key))
        memo->slot = next;
    else
        memo->slot = em_index_find(part_of(table, hash_of(table, key)), hash_of(table, key),
                                   has_key, table, key);
}

void *dp_table_find(const struct dp_table *table, const void *key)
{
    struct dp_memo *memo = table->memo;

    look_for(table, key);
    if (memo->slot == EM_INDEX_NONE)
        return NULL;
    memo->last = memo->slot;
    return dp_table_at(table, memo->slot);
}

void dp_table_prefetch(const struct dp_table *table, const void *key)
{
    uint64_t hash = em_hash(key, table->key_size);
    em_index_prefetch(part_of(table, hash), hash);
}

uint32_t dp_table_slot(const struct dp_table *table, const void *record)
{
    look_for(table, record);
    return table->memo->slot;
}

void *dp_table_put(struct dp_table *table, const void *key)
{
    look_for(table, key);
    assert(table->memo->slot == EM_INDEX_NONE);
    if (table->len / DP_CHUNK == table->n_chunks) {
        table->chunks = em_realloc(table->chunks, (table->n_chunks + 1) * sizeof(uint8_t *));
        table->chunks[table->n_chunks++] = em_malloc((size_t)DP_CHUNK * table->record_size);
    }
    uint8_t *record = dp_table_at(table, table->len);
    memcpy(record, key, table->key_size);
    memset(record + table->key_size, 0, table->record_size - table->key_size);
    em_index_insert(part_of(table, hash_of(table, key)), hash_of(table, key), table->len);
    table->memo->slot = table->memo->last = table->len++;
    return record;
}

void dp_table_remove(struct dp_table *table, void *record)
{
    uint32_t last = table->len - 1;

    look_for(table, record);
    uint32_t slot = table->memo->slot;
    assert(slot <= last && dp_table_at(table, slot) == record);
    em_index_remove(part_of(table, hash_of(table, record)), hash_of(table, record), slot);
    table->memo->has_key = false;
    if (slot != last) {
        const void *moved = dp_table_at(table, last);
        uint64_t hash = em_hash(moved, table->key_size);
        em_index_move(part_of(table, hash), hash, last, slot);
        memcpy(record, moved, table->record_size);
    }
    table->len = last;
}
