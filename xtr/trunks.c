/* Sorted by tag whatever the order of the record was, so that a child is found without a walk. */
#include "trunks.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct xtr_trunk {
    struct em_port_id id;
    size_t n;
    struct em_child children[];
};

void xtr_trunks_init(struct xtr_trunks *trunks)
{
    *trunks = (struct xtr_trunks){0};
    em_index_init(&trunks->by_id);
}

void xtr_trunks_fini(struct xtr_trunks *trunks)
{
    for (uint32_t i = 0; i < trunks->n_items; i++)
        free(trunks->items[i]);
    free(trunks->items);
    em_index_fini(&trunks->by_id);
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct em_port_id *a = &((const struct xtr_trunks *)aux)->items[slot]->id, *b = key;
    return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

static uint32_t find_slot(const struct xtr_trunks *trunks, const struct em_port_id *id)
{
    if (!trunks->n_used)
        return EM_INDEX_NONE;
    return em_index_find(&trunks->by_id, em_hash(id->bytes, id->size), has_id, trunks, id);
}

static uint32_t free_slot(struct xtr_trunks *trunks)
{
    for (uint32_t i = 0; trunks->n_used < trunks->n_items && i < trunks->n_items; i++)
        if (!trunks->items[i])
            return i;
    uint32_t old = trunks->n_items;
    trunks->n_items = old ? old * 2 : 4;
    trunks->items = em_realloc(trunks->items, trunks->n_items * sizeof(struct xtr_trunk *));
    memset(trunks->items + old, 0, (trunks->n_items - old) * sizeof(struct xtr_trunk *));
    return old;
}

static void remove_slot(struct xtr_trunks *trunks, uint32_t slot)
{
    const struct em_port_id *id = &trunks->items[slot]->id;
    em_index_remove(&trunks->by_id, em_hash(id->bytes, id->size), slot);
    free(trunks->items[slot]);
    trunks->items[slot] = NULL;
    trunks->n_used--;
}

static int compare_tags(const void *a, const void *b)
{
    return (int)((const struct em_child *)a)->tag - (int)((const struct em_child *)b)->tag;
}

void xtr_trunks_put(struct xtr_trunks *trunks, const struct em_port_id *id,
                    const struct em_child *children, size_t n)
{
    uint32_t slot = find_slot(trunks, id);
    struct em_port_id key = *id; /* may be the one in the slot */
    if (slot != EM_INDEX_NONE)
        remove_slot(trunks, slot);
    if (!n)
        return;
    struct xtr_trunk *trunk = em_malloc(sizeof *trunk + n * sizeof *children);
    trunk->id = key;
    trunk->n = n;
    memcpy(trunk->children, children, n * sizeof *children);
    qsort(trunk->children, n, sizeof *children, compare_tags);
    slot = free_slot(trunks);
    trunks->items[slot] = trunk;
    trunks->n_used++;
    em_index_insert(&trunks->by_id, em_hash(key.bytes, key.size), slot);
}

const struct em_child *xtr_trunks_find(const struct xtr_trunks *trunks, const struct em_port_id *id,
                                       size_t *ret_n)
{
    uint32_t slot = find_slot(trunks, id);
    *ret_n = slot == EM_INDEX_NONE ? 0 : trunks->items[slot]->n;
    return slot == EM_INDEX_NONE ? NULL : trunks->items[slot]->children;
}

bool xtr_trunks_lists(const struct em_child *children, size_t n, const struct em_port_id *id,
                      uint16_t tag)
{
    const struct em_child key = {.tag = tag};
    const struct em_child *found = n ? bsearch(&key, children, n, sizeof key, compare_tags) : NULL;
    return found && em_port_id_equal(&found->id, id);
}
