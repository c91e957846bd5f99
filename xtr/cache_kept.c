/* Full passes: how they begin and end, and what of the map-cache is kept although the last one
 * did not show it.
 *
 * The record of a node or network carries the number of the pass that showed it last.  So its
 * age tells all: 0 is shown, and what is older is gone when the pass ends, or is kept and stays
 * one pass old until it is shown again or let go.  That of a port has two flags for the same:
 * shown, and kept. */
#include "cache_state.h"

static uint8_t age_of(uint8_t now, uint8_t shown)
{
    return (uint8_t)(now - shown);
}

/* While a pass is under way all that it has not shown yet is one older than otherwise. */
static bool is_kept(bool has_kept, bool is_in_pass, uint8_t age)
{
    return has_kept && age > (is_in_pass ? 1 : 0);
}

/* A local port's own record is no loss: the port is here, whatever the map says. */
static bool is_remote(const struct xtr_record *record)
{
    return record->flags & XTR_RECORD_USED && !(record->flags & XTR_RECORD_IS_LOCAL);
}

static bool keeps_record(const struct xtr_net *net, uint32_t index)
{
    const struct xtr_record *record = xtr_table_at(&net->table, index);
    return net->has_kept && is_remote(record) && record->flags & XTR_RECORD_KEPT;
}

bool xtr_cache_keeps_port(const struct xtr_net *net, uint32_t index)
{
    return keeps_record(net, index);
}

/* Ports */

void xtr_cache_begin_pass(struct xtr_net *net)
{
    if (!net->is_in_pass) {
        net->n_before = 0;
        for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++)
            net->n_before += is_remote(xtr_table_at(&net->table, i));
    }
    xtr_table_begin_pass(&net->table);
    net->is_in_pass = true;
    net->is_complete = false;
    net->n_left_out = 0;
}

static enum xtr_verdict judge(struct xtr_mapcache *cache, const struct xtr_net *net)
{
    struct xtr_loss loss = {.n_known = net->n_before};
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++) {
        const struct xtr_record *record = xtr_table_at(&net->table, i);
        loss.n_missing += is_remote(record) && !(record->flags & XTR_RECORD_FRESH);
    }
    return xtr_guard_judge(&cache->guard, net->dp.id, &loss, 1);
}

void xtr_cache_end_pass(struct xtr_mapcache *cache, uint32_t slot)
{
    struct xtr_net *net = cache->nets[slot];
    net->verdict = judge(cache, net);
    net->has_kept = net->verdict == XTR_DOUBTED;
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++) {
        struct xtr_record *record = xtr_table_at(&net->table, i);
        if (!(record->flags & XTR_RECORD_USED) || record->flags & XTR_RECORD_FRESH)
            continue;
        if (net->has_kept && is_remote(record))
            record->flags |= XTR_RECORD_KEPT;
        else
            xtr_cache_port_remove(cache, slot, i);
    }
    net->is_in_pass = false;
}

static uint64_t ports_let_go(struct xtr_mapcache *cache, uint32_t slot)
{
    struct xtr_net *net = cache->nets[slot];
    uint64_t n = 0;
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++)
        if (keeps_record(net, i)) {
            xtr_cache_port_remove(cache, slot, i);
            n++;
        }
    net->has_kept = false;
    return n;
}

/* Nodes and networks */

/* This node's own record is no loss either. */
static bool is_other_node(const struct xtr_mapcache *cache, const struct xtr_node *node)
{
    return node && node->record && node != cache->nodes.self;
}

static bool keeps(const struct xtr_mapcache *cache, uint8_t generation)
{
    return is_kept(cache->has_kept, cache->is_in_pass, age_of(cache->generation, generation));
}

static uint64_t n_other_nodes(const struct xtr_mapcache *cache)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < cache->nodes.n_items; i++)
        n += is_other_node(cache, cache->nodes.items[i]);
    return n;
}

void xtr_cache_begin_zero(struct xtr_mapcache *cache)
{
    if (!cache->is_in_pass) {
        cache->n_nodes_before = n_other_nodes(cache);
        cache->n_known_before = cache->n_known;
    }
    cache->generation++;
    cache->is_in_pass = true;
    cache->is_complete = false;
}

static enum xtr_verdict judge_zero(struct xtr_mapcache *cache)
{
    struct xtr_loss nodes = {.n_known = cache->n_nodes_before};
    struct xtr_loss networks = {.n_known = cache->n_known_before};
    for (uint32_t i = 0; i < cache->nodes.n_items; i++) {
        const struct xtr_node *node = cache->nodes.items[i];
        nodes.n_missing += is_other_node(cache, node) && node->generation != cache->generation;
    }
    for (uint32_t i = 0; i < cache->n_known; i++) {
        if (cache->known[i].generation == cache->generation)
            continue;
        networks.n_missing++;
        networks.is_vital |= xtr_mapcache_has_locals(cache, cache->known[i].record->id);
    }
    return xtr_guard_judge(&cache->guard, 0, (struct xtr_loss[]){nodes, networks}, 2);
}

static uint64_t zero_let_go(struct xtr_mapcache *cache)
{
    uint64_t n = 0;
    for (uint32_t i = cache->n_known; i-- > 0;)
        if (keeps(cache, cache->known[i].generation)) {
            xtr_cache_network_gone(cache, cache->known[i].record->id);
            n++;
        }
    for (uint32_t i = 0; i < cache->nodes.n_items; i++) {
        struct xtr_node *node = cache->nodes.items[i];
        if (node && node->record && keeps(cache, node->generation)) {
            xtr_cache_node_gone(cache, node->id);
            n++;
        }
    }
    cache->has_kept = false;
    return n;
}

void xtr_cache_end_zero(struct xtr_mapcache *cache)
{
    cache->verdict = judge_zero(cache);
    uint8_t old = (uint8_t)(cache->generation - 1);
    for (uint32_t i = 0; i < cache->n_known; i++)
        if (cache->known[i].generation != cache->generation)
            cache->known[i].generation = old;
    for (uint32_t i = 0; i < cache->nodes.n_items; i++) {
        struct xtr_node *node = cache->nodes.items[i];
        if (node && node->record && node->generation != cache->generation)
            node->generation = old;
    }
    cache->is_in_pass = false;
    cache->has_kept = true;
    if (cache->verdict != XTR_DOUBTED)
        zero_let_go(cache);
}

bool xtr_mapcache_keeps_node(const struct xtr_mapcache *cache, const char *id)
{
    const struct xtr_node *node = xtr_nodes_find(&cache->nodes, id);
    return node && node->record && keeps(cache, node->generation);
}

bool xtr_mapcache_keeps_network(const struct xtr_mapcache *cache, uint32_t id)
{
    for (uint32_t i = 0; cache->has_kept && i < cache->n_known; i++)
        if (cache->known[i].record->id == id)
            return keeps(cache, cache->known[i].generation);
    return false;
}

/* All feeds alike */

static uint64_t count_zero(const struct xtr_mapcache *cache)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < cache->n_known; i++)
        n += keeps(cache, cache->known[i].generation);
    for (uint32_t i = 0; i < cache->nodes.n_items; i++) {
        const struct xtr_node *node = cache->nodes.items[i];
        n += node && node->record && keeps(cache, node->generation);
    }
    return n;
}

uint64_t xtr_mapcache_kept(const struct xtr_mapcache *cache, uint32_t network_id)
{
    if (!network_id)
        return cache->has_kept ? count_zero(cache) : 0;
    uint32_t slot = xtr_cache_slot(cache, network_id);
    if (slot == XTR_SLOT_NONE || !cache->nets[slot]->has_kept)
        return 0;
    uint64_t n = 0;
    for (uint32_t i = 0; i < xtr_table_slots(&cache->nets[slot]->table); i++)
        n += keeps_record(cache->nets[slot], i);
    return n;
}

uint64_t xtr_mapcache_let_go(struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = network_id ? xtr_cache_slot(cache, network_id) : XTR_SLOT_NONE;
    xtr_guard_forget(&cache->guard, network_id);
    if (!network_id)
        return cache->has_kept ? zero_let_go(cache) : 0;
    return slot != XTR_SLOT_NONE && cache->nets[slot]->has_kept ? ports_let_go(cache, slot) : 0;
}

enum xtr_verdict xtr_mapcache_verdict(const struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = network_id ? xtr_cache_slot(cache, network_id) : XTR_SLOT_NONE;
    if (network_id)
        return slot == XTR_SLOT_NONE ? XTR_BELIEVED : cache->nets[slot]->verdict;
    return cache->verdict;
}

const struct xtr_doubt *xtr_mapcache_doubt(const struct xtr_mapcache *cache, uint32_t network_id)
{
    return xtr_guard_find(&cache->guard, network_id);
}

struct xtr_guard *xtr_mapcache_guard(struct xtr_mapcache *cache)
{
    return &cache->guard;
}

static void keep_port(struct xtr_mapcache *cache, uint32_t network_id, const struct em_port_id *id)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    if (slot == XTR_SLOT_NONE)
        return;
    struct xtr_net *net = cache->nets[slot];
    uint32_t index = xtr_table_find(&net->table, id);
    if (index == XTR_SLOT_NONE)
        return;
    net->has_kept = true;
    struct xtr_record *record = xtr_table_at(&net->table, index);
    record->flags &= ~(uint32_t)XTR_RECORD_FRESH;
    record->flags |= XTR_RECORD_KEPT;
}

static void keep(struct xtr_mapcache *cache, uint32_t network_id, const struct em_change *change)
{
    uint8_t old = (uint8_t)(cache->generation - 1);
    if (network_id && change->object == EM_OBJECT_PORT && !change->is_gone)
        keep_port(cache, network_id, &change->port->id);
    if (network_id || change->is_gone)
        return;
    struct xtr_node *node =
        change->object == EM_OBJECT_NODE ? xtr_nodes_find(&cache->nodes, change->node->id) : NULL;
    if (node)
        node->generation = old;
    for (uint32_t i = 0; change->object == EM_OBJECT_NETWORK && i < cache->n_known; i++)
        if (cache->known[i].record->id == change->network->id)
            cache->known[i].generation = old;
    cache->has_kept = true;
}

void xtr_mapcache_restore(struct xtr_mapcache *cache, const struct em_feed *page, bool is_kept_page)
{
    xtr_mapcache_feed(cache, page);
    for (size_t i = 0; is_kept_page && i < page->n_changes; i++)
        keep(cache, page->network_id, &page->changes[i]);
}
