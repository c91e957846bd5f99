/* Which nodes are to be probed, and what follows when one of them is silent. */
#include "cache_state.h"
#include "notes.h"

/* The places of broadcast are the nodes that locations in use name. */
static void want_probes(struct xtr_mapcache *cache, const struct xtr_net *net)
{
    const struct em_network *record = xtr_mapcache_network_by_id(cache, net->dp.id);
    uint32_t ms = record ? record->probe_ms : 0;
    if (!ms || net->is_closed)
        return;
    ms = ms < EM_PROBE_MS_MIN ? EM_PROBE_MS_MIN : ms > EM_PROBE_MS_MAX ? EM_PROBE_MS_MAX : ms;
    for (uint32_t i = 0; i < net->n_floods; i++) {
        struct xtr_node *node = net->floods[i].node;
        if (!node->probe_ms || ms < node->probe_ms)
            node->probe_ms = ms;
    }
}

void xtr_mapcache_plan_probes(struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->nodes.n_items; i++)
        if (cache->nodes.items[i])
            cache->nodes.items[i]->probe_ms = 0;
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i])
            want_probes(cache, cache->nets[i]);
}

bool xtr_mapcache_next_peer(const struct xtr_mapcache *cache, uint32_t *cursor,
                            struct xtr_peer *ret_peer)
{
    while (*cursor < cache->nodes.n_items) {
        const struct xtr_node *node = cache->nodes.items[(*cursor)++];
        if (!node || !node->record || node == cache->nodes.self)
            continue;
        *ret_peer = (struct xtr_peer){.node = node->record,
                                      .ip = node->is_usable ? node->ip : (struct em_ip){0},
                                      .encap = node->encap,
                                      .udp_port = node->udp_port,
                                      .probe_ms = node->is_usable ? node->probe_ms : 0,
                                      .n_locations = node->refs};
        return true;
    }
    return false;
}

/* Ahead of what the feed has queued: traffic is being lost. */
void xtr_mapcache_silence(struct xtr_mapcache *cache, const char *node_id, bool is_silent)
{
    struct xtr_node *node = xtr_nodes_find(&cache->nodes, node_id);
    if (!node || node->is_silent == is_silent)
        return;
    bool was_reachable = xtr_node_is_reachable(node);
    node->is_silent = is_silent;
    if (xtr_node_is_reachable(node) == was_reachable)
        return;
    EM_FOREACH (loc, &node->locations, struct xtr_setloc, by_node)
        if (loc->set->is_sent && loc->set->refs)
            xtr_notes_set_first(cache, loc->set);
}
