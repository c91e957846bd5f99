/* Where the ports of a network are: the sets of locations that its records hold, and the flood
 * list that follows from them. */
#include "cache_state.h"

#include "base/mem.h"
#include "notes.h"

#include <assert.h>

static void flood_ref(struct xtr_mapcache *cache, uint32_t slot, struct xtr_node *node,
                      uint32_t segmentation_id)
{
    struct xtr_net *net = cache->nets[slot];
    for (uint32_t i = 0; i < net->n_floods; i++)
        if (net->floods[i].node == node && net->floods[i].segmentation_id == segmentation_id) {
            net->floods[i].refs++;
            return;
        }
    if (net->n_floods == net->floods_size) {
        net->floods_size = net->floods_size ? net->floods_size * 2 : 8;
        net->floods = em_realloc(net->floods, net->floods_size * sizeof *net->floods);
    }
    net->floods[net->n_floods++] = (struct xtr_flood){node, segmentation_id, 1};
    xtr_notes_node_flood(cache, slot, node, segmentation_id);
}

static void flood_unref(struct xtr_mapcache *cache, uint32_t slot, struct xtr_node *node,
                        uint32_t segmentation_id)
{
    struct xtr_net *net = cache->nets[slot];
    uint32_t i = 0;
    while (i < net->n_floods &&
           (net->floods[i].node != node || net->floods[i].segmentation_id != segmentation_id))
        i++;
    assert(i < net->n_floods);
    if (--net->floods[i].refs)
        return;
    net->floods[i] = net->floods[--net->n_floods];
    xtr_notes_node_flood(cache, slot, node, segmentation_id);
}

uint32_t xtr_cache_hold_set(struct xtr_mapcache *cache, uint32_t slot,
                            const struct em_location *locations, size_t n)
{
    struct xtr_set *set = xtr_sets_ref(&cache->sets, &cache->nodes, slot, locations, n);
    if (!set)
        return 0;
    if (set->refs > 1)
        return set->id;
    set->is_leaving = false;
    for (size_t i = 0; i < set->n_locations; i++)
        flood_ref(cache, slot, set->locations[i].node, set->locations[i].segmentation_id);
    return set->id;
}

void xtr_cache_drop_set(struct xtr_mapcache *cache, uint32_t slot, uint32_t id)
{
    struct xtr_set *set = xtr_sets_get(&cache->sets, id);
    if (!set || --set->refs)
        return;
    if (!cache->nets[slot]->is_closed)
        for (size_t i = 0; i < set->n_locations; i++)
            flood_unref(cache, slot, set->locations[i].node, set->locations[i].segmentation_id);
    xtr_notes_set(cache, set);
}
