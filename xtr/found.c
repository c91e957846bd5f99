/* The same look-ups that make entries for the data plane, with their reasons kept. */
#include "found.h"

#include "cache_state.h"

#include <string.h>

static bool is_ip(const struct em_eid *eid)
{
    return eid->kind == EM_EID_IPV4 || eid->kind == EM_EID_IPV6;
}

/* Of the port's addresses one that is answered with this MAC: not each is, where the port has
 * several MACs or shares the address. */
static void keep_eids(const struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eids,
                      size_t n, const struct em_eid *asked, struct xtr_found *found)
{
    const struct em_eid *mac = asked->kind == EM_EID_MAC ? asked : xtr_cache_first_mac(eids, n);
    if (mac)
        found->mac = *mac;
    if (is_ip(asked))
        found->ip = *asked;
    for (size_t i = 0; i < n && mac && found->ip.kind == EM_EID_NONE; i++) {
        struct em_eid answer =
            is_ip(&eids[i]) ? xtr_cache_mac_of(cache, slot, &eids[i]) : (struct em_eid){0};
        if (em_eid_compare(&answer, mac) == 0)
            found->ip = eids[i];
    }
}

static struct xtr_found_place place_of(const struct xtr_mapcache *cache,
                                       const struct xtr_setloc *loc)
{
    const struct xtr_node *node = loc->node;
    return (struct xtr_found_place){
        .location = xtr_setloc_show(loc, &cache->nodes),
        .is_self = node == cache->nodes.self,
        .is_known = node->record,
        .is_disabled = node->record && node->record->is_disabled,
        .is_stranded = node->is_stranded,
        .is_reachable = xtr_node_is_reachable(node),
        .rloc = node->is_usable ? node->ip : (struct em_ip){0},
    };
}

static void keep_places(const struct xtr_mapcache *cache, const struct xtr_set *set,
                        struct xtr_found *found)
{
    enum xtr_why whys[XTR_SET_LOCATIONS];
    xtr_set_whys(set, &cache->nodes, whys);
    found->n_places = set->n_locations;
    for (size_t i = 0; i < set->n_locations; i++) {
        found->places[i] = place_of(cache, &set->locations[i]);
        found->places[i].why = whys[i];
        found->is_any_local |= em_location_is_any_local(&found->places[i].location);
    }
    found->n_targets = xtr_set_targets(set, &cache->nodes, cache->udp_port, found->targets);
}

static void find_local(const struct xtr_mapcache *cache, const struct xtr_local *local,
                       const struct em_eid *eid, struct xtr_found *found)
{
    found->id = local->id;
    found->is_local = true;
    memcpy(found->device, local->device, sizeof found->device);
    found->vlan = local->vlan;
    keep_eids(cache, local->network, local->eids, local->n_eids, eid, found);
}

static bool find_remote(const struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eid,
                        uint32_t index, struct xtr_found *found)
{
    const struct xtr_table *table = &cache->nets[slot]->table;
    struct em_eid eids[XTR_EIDS_MAX];
    if (index == XTR_SLOT_NONE)
        return false;
    const struct xtr_set *set = xtr_sets_get(&cache->sets, xtr_table_at(table, index)->set);
    found->id = xtr_table_id(table, index);
    found->is_kept = xtr_cache_keeps_port(cache->nets[slot], index);
    keep_eids(cache, slot, eids, xtr_table_eids(table, index, eids), eid, found);
    if (set)
        keep_places(cache, set, found);
    return true;
}

bool xtr_mapcache_find(const struct xtr_mapcache *cache, uint32_t network_id,
                       const struct em_eid *eid, struct xtr_found *ret_found)
{
    uint32_t slot = xtr_cache_slot(cache, network_id), index;
    const struct xtr_local *local;
    if (slot == XTR_SLOT_NONE)
        return false;
    const struct xtr_net *net = cache->nets[slot];
    *ret_found = (struct xtr_found){.network = net->dp};
    if (eid->kind == EM_EID_PORT_ID) {
        struct em_port_id id = {.size = eid->size};
        memcpy(id.bytes, eid->name, eid->size);
        local = xtr_locals_find(&cache->locals, &id);
        if (local && local->network != slot)
            local = NULL;
        index = xtr_table_find(&net->table, &id);
    } else {
        local = xtr_locals_owner(&cache->locals, slot, eid);
        index = xtr_table_owner(&net->table, eid);
    }
    if (!local)
        return find_remote(cache, slot, eid, index, ret_found);
    find_local(cache, local, eid, ret_found);
    return true;
}
