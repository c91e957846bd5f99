/* Open-addressing hash index: from a key's hash to a slot number of the caller's array.
 *
 * The index holds only (hash, slot) pairs of 8 bytes; keys stay with the caller, who
 * compares.  Hashes are seeded per process, so that a peer cannot choose collisions. */
#ifndef EM_HASH_H
#define EM_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_INDEX_NONE UINT32_MAX

struct em_index {
    uint64_t *cells; /* hash << 32 | slot + 1; 0 is free */
    uint32_t mask;
    uint32_t used;
};

/* Keyed hash of 'size' bytes (SipHash-1-3 with a random key drawn once per process). */
uint64_t em_hash(const void *data, size_t size);
/* Of several parts: the result of one call goes into the next. */
uint64_t em_hash_more(uint64_t seed, const void *data, size_t size);

/* The same under a key of the caller's, for tests and for hashes that must not differ
 * between processes. */
uint64_t em_siphash13(const uint64_t key[2], const void *data, size_t size);

/* True if the key in 'slot' is the one that is looked for. */
typedef bool em_index_equal_fn(const void *aux, uint32_t slot, const void *key);

void em_index_init(struct em_index *index);
void em_index_fini(struct em_index *index);

/* The slot whose key equals, or EM_INDEX_NONE. */
uint32_t em_index_find(const struct em_index *index, uint64_t hash, em_index_equal_fn *equal,
                       const void *aux, const void *key);

/* Soon to be found or inserted: the memory for it is fetched meanwhile. */
static inline void em_index_prefetch(const struct em_index *index, uint64_t hash)
{
    if (index->cells)
        __builtin_prefetch(&index->cells[(uint32_t)hash & index->mask]);
}

/* The slot that will most likely be found: the keys are not compared. */
uint32_t em_index_peek(const struct em_index *index, uint64_t hash);

/* The key must not be there yet.  'slot' < EM_INDEX_NONE - 1. */
void em_index_insert(struct em_index *index, uint64_t hash, uint32_t slot);

/* The pair must be there. */
void em_index_remove(struct em_index *index, uint64_t hash, uint32_t slot);

/* The pair is there under 'from' and gets slot 'to'. */
void em_index_move(struct em_index *index, uint64_t hash, uint32_t from, uint32_t to);

#endif
