/* Slots of a table by a key that several may have: found by the key, visited one after the other.
 *
 * The index holds one slot of each group and the others are linked to it, so that ten thousand
 * with one key are no worse than one.  Keys stay with the caller, as in base/hash.h. */
#ifndef XTR_GROUPS_H
#define XTR_GROUPS_H

#include "base/hash.h"

struct xtr_groups {
    struct em_index first; /* of each group */
    struct xtr_group_link {
        uint32_t prev, next; /* a ring */
    } * links;               /* by slot */
    uint32_t n_links;
};

void xtr_groups_init(struct xtr_groups *groups);
void xtr_groups_fini(struct xtr_groups *groups);

/* The first of the group, or EM_INDEX_NONE; and the one behind 'slot', which is in it. */
uint32_t xtr_groups_find(const struct xtr_groups *groups, uint64_t hash, em_index_equal_fn *equal,
                         const void *aux, const void *key);
uint32_t xtr_groups_next(const struct xtr_groups *groups, uint32_t slot, uint32_t first);

/* The slot joins those that have its key; leaves them. */
void xtr_groups_add(struct xtr_groups *groups, uint64_t hash, em_index_equal_fn *equal,
                    const void *aux, const void *key, uint32_t slot);
void xtr_groups_remove(struct xtr_groups *groups, uint64_t hash, uint32_t slot);

#endif
