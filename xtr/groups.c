/* See groups.h. */
#include "groups.h"

#include "base/mem.h"

#include <stdlib.h>

void xtr_groups_init(struct xtr_groups *groups)
{
    *groups = (struct xtr_groups){0};
    em_index_init(&groups->first);
}

void xtr_groups_fini(struct xtr_groups *groups)
{
    em_index_fini(&groups->first);
    free(groups->links);
}

uint32_t xtr_groups_find(const struct xtr_groups *groups, uint64_t hash, em_index_equal_fn *equal,
                         const void *aux, const void *key)
{
    return em_index_find(&groups->first, hash, equal, aux, key);
}

uint32_t xtr_groups_next(const struct xtr_groups *groups, uint32_t slot, uint32_t first)
{
    uint32_t next = groups->links[slot].next;
    return next == first ? EM_INDEX_NONE : next;
}

static void make_room(struct xtr_groups *groups, uint32_t slot)
{
    if (slot < groups->n_links)
        return;
    while (groups->n_links <= slot)
        groups->n_links = groups->n_links ? groups->n_links * 2 : 16;
    groups->links = em_realloc(groups->links, groups->n_links * sizeof *groups->links);
}

void xtr_groups_add(struct xtr_groups *groups, uint64_t hash, em_index_equal_fn *equal,
                    const void *aux, const void *key, uint32_t slot)
{
    uint32_t first = xtr_groups_find(groups, hash, equal, aux, key);
    make_room(groups, slot);
    struct xtr_group_link *link = &groups->links[slot];
    if (first == EM_INDEX_NONE) {
        *link = (struct xtr_group_link){slot, slot};
        em_index_insert(&groups->first, hash, slot);
        return;
    }
    *link = (struct xtr_group_link){groups->links[first].prev, first};
    groups->links[link->prev].next = groups->links[first].prev = slot;
}

static bool is_slot(const void *aux, uint32_t slot, const void *key)
{
    return slot == *(const uint32_t *)key;
}

void xtr_groups_remove(struct xtr_groups *groups, uint64_t hash, uint32_t slot)
{
    struct xtr_group_link link = groups->links[slot];
    bool is_first = em_index_find(&groups->first, hash, is_slot, NULL, &slot) == slot;
    groups->links[link.prev].next = link.next;
    groups->links[link.next].prev = link.prev;
    if (is_first && link.next == slot)
        em_index_remove(&groups->first, hash, slot);
    else if (is_first)
        em_index_move(&groups->first, hash, slot, link.next);
}
