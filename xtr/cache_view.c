/* The map-cache as people see it: counts and records, one by one.  Nothing changes here. */
#include "cache_state.h"

/* Local ports that the map shows too. */
static uint32_t n_shadowed(const struct xtr_mapcache *cache, uint32_t slot)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < cache->locals.n_items; i++) {
        const struct xtr_local *local = cache->locals.items[i];
        if (local && local->network == slot)
            n += xtr_table_find(&cache->nets[slot]->table, &local->id) != XTR_SLOT_NONE;
    }
    return n;
}

struct xtr_mapcache_counts xtr_mapcache_counts(const struct xtr_mapcache *cache)
{
    struct xtr_mapcache_counts counts = {.n_locals = cache->locals.n_used};
    for (uint32_t i = 0; i < cache->n_nets; i++) {
        const struct xtr_net *net = cache->nets[i];
        if (!net || net->is_closed)
            continue;
        counts.n_open++;
        counts.n_remote += net->table.n_used - n_shadowed(cache, i);
        counts.memory += xtr_table_memory(&net->table);
    }
    return counts;
}

static void show_port(const struct xtr_mapcache *cache, const struct xtr_net *net, uint32_t slot,
                      struct xtr_cursor *cursor, struct em_port *ret_port)
{
    const struct xtr_record *record = xtr_table_at(&net->table, slot);
    const struct xtr_set *set = xtr_sets_get(&cache->sets, record->set);
    cursor->is_kept = xtr_cache_keeps_port(net, slot);
    *ret_port = (struct em_port){.id = xtr_table_id(&net->table, slot),
                                 .network_id = net->dp.id,
                                 .eids = cursor->eids,
                                 .n_eids = xtr_table_eids(&net->table, slot, cursor->eids),
                                 .locations = cursor->locations,
                                 .n_locations = set ? set->n_locations : 0};
    for (size_t i = 0; i < ret_port->n_locations; i++)
        cursor->locations[i] = xtr_setloc_show(&set->locations[i], &cache->nodes);
    ret_port->children = xtr_trunks_find(&net->trunks, &ret_port->id, &ret_port->n_children);
}

bool xtr_mapcache_has_children(const struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i] && !cache->nets[i]->is_closed && cache->nets[i]->trunks.n_used)
            return true;
    return false;
}

const struct em_child *xtr_mapcache_children(const struct xtr_mapcache *cache, uint32_t network_id,
                                             const struct em_port_id *id, size_t *ret_n)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    *ret_n = 0;
    return slot == XTR_SLOT_NONE ? NULL : xtr_trunks_find(&cache->nets[slot]->trunks, id, ret_n);
}

bool xtr_mapcache_next_port(const struct xtr_mapcache *cache, struct xtr_cursor *cursor,
                            struct em_port *ret_port)
{
    for (; cursor->network < cache->n_nets; cursor->network++, cursor->slot = 0) {
        const struct xtr_net *net = cache->nets[cursor->network];
        if (!net || net->is_closed)
            continue;
        while (cursor->slot < xtr_table_slots(&net->table)) {
            uint32_t slot = cursor->slot++;
            if (!(xtr_table_at(&net->table, slot)->flags & XTR_RECORD_USED))
                continue;
            show_port(cache, net, slot, cursor, ret_port);
            return true;
        }
    }
    return false;
}

bool xtr_mapcache_find_port(const struct xtr_mapcache *cache, uint32_t network_id,
                            const struct em_port_id *id, struct xtr_cursor *room,
                            struct em_port *ret_port)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    uint32_t index =
        slot == XTR_SLOT_NONE ? XTR_SLOT_NONE : xtr_table_find(&cache->nets[slot]->table, id);
    if (index == XTR_SLOT_NONE)
        return false;
    show_port(cache, cache->nets[slot], index, room, ret_port);
    return true;
}

bool xtr_mapcache_next_node(const struct xtr_mapcache *cache, uint32_t *cursor,
                            const struct em_node **ret_node)
{
    while (*cursor < cache->nodes.n_items) {
        const struct xtr_node *node = cache->nodes.items[(*cursor)++];
        if (node && node->record) {
            *ret_node = node->record;
            return true;
        }
    }
    return false;
}

bool xtr_mapcache_is_stranded(const struct xtr_mapcache *cache, const char *node_id)
{
    const struct xtr_node *node = xtr_nodes_find(&cache->nodes, node_id);
    return node && node->is_stranded;
}

uint64_t xtr_mapcache_left_out(const struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    return slot == XTR_SLOT_NONE ? 0 : cache->nets[slot]->n_left_out;
}

const char *xtr_mapcache_next_stranded(const struct xtr_mapcache *cache, uint32_t *cursor)
{
    while (*cursor < cache->nodes.n_items) {
        const struct xtr_node *node = cache->nodes.items[(*cursor)++];
        if (node && node->is_stranded && node->refs)
            return node->id;
    }
    return NULL;
}

uint32_t xtr_mapcache_networks_gone(const struct xtr_mapcache *cache)
{
    return cache->n_gone;
}

bool xtr_mapcache_next_network(const struct xtr_mapcache *cache, uint32_t *cursor,
                               const struct em_network **ret_network)
{
    if (*cursor >= cache->n_known)
        return false;
    *ret_network = cache->known[(*cursor)++].record;
    return true;
}
