/* The hash index of a table of records: from the hash of a key to the slots of the records
 * that may have it.  A record may have several keys, and several records one key.
 *
 * Linear hashing (Litwin, 1980): the index grows and shrinks by one bucket at a time, so
 * that no moment needs both an old and a new one, and no insert waits for a rehash.  A
 * bucket is a block of cells of 4 bytes, 8 bits of the hash and the slot.  The rest of the
 * hash is asked for again when a bucket splits. */
#ifndef XTR_INDEX_H
#define XTR_INDEX_H

#include "slab.h"

#include <stdbool.h>

#define XTR_INDEX_NONE     UINT32_MAX
#define XTR_INDEX_SLOT_MAX 0xfffffeu /* the greatest slot */

/* The hashes of all keys of the record in 'slot' that are in the index go to 'ret_hashes',
 * of 'max_keys'; their number.  NULL: they will be asked for soon. */
typedef size_t xtr_index_keys_fn(const void *aux, uint32_t slot, uint64_t *ret_hashes);

/* True ends the search: the record in 'slot' is the one. */
typedef bool xtr_index_equal_fn(const void *aux, uint32_t slot, const void *key);

struct xtr_index {
    struct xtr_segments buckets; /* uint32_t: the block, or XTR_SLAB_NONE */
    struct xtr_slab blocks;
    uint32_t used; /* cells */
    xtr_index_keys_fn *keys;
    size_t max_keys;
};

void xtr_index_init(struct xtr_index *index, xtr_index_keys_fn *keys, size_t max_keys);
void xtr_index_fini(struct xtr_index *index);

/* Shows 'equal' each record that may have the key, until it says yes; that slot, or
 * XTR_INDEX_NONE. */
uint32_t xtr_index_find(const struct xtr_index *index, uint64_t hash, xtr_index_equal_fn *equal,
                        const void *aux, const void *key);

/* A key will be looked for or inserted soon: memory for it is fetched meanwhile. */
void xtr_index_prefetch(const struct xtr_index *index, uint64_t hash);

/* The record must have the key already, and still have it, for 'keys' to tell. */
void xtr_index_insert(struct xtr_index *index, uint64_t hash, uint32_t slot, const void *aux);
void xtr_index_remove(struct xtr_index *index, uint64_t hash, uint32_t slot);

/* Bytes on the heap. */
size_t xtr_index_memory(const struct xtr_index *index);

#endif
