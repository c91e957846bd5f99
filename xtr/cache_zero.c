/* The feed of network 0: what the map says of nodes and networks, and which sets, flood lists
 * and open networks have to be looked at again when it says something else. */
#include "notes.h"
#include "record.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Nodes */

/* What of a node its locations depend on. */
struct sight {
    bool is_usable, is_reachable;
    struct em_ip ip;
    enum em_encap encap;
    uint16_t udp_port;
};

static struct sight look(const struct xtr_node *node)
{
    struct sight s = {.is_usable = node->is_usable, .is_reachable = xtr_node_is_reachable(node)};
    if (s.is_usable) {
        s.ip = node->ip;
        s.encap = node->encap;
        s.udp_port = node->udp_port;
    }
    return s;
}

static bool same_place(const struct sight *a, const struct sight *b)
{
    return a->is_usable == b->is_usable && a->udp_port == b->udp_port && a->encap == b->encap &&
           em_ip_equal(&a->ip, &b->ip);
}

/* Of the sets that name the node, as it was or is. */
static void note_node_floods(struct xtr_mapcache *cache, struct xtr_node *node,
                             const struct sight *sight)
{
    struct xtr_node seen = {.is_usable = sight->is_usable,
                            .ip = sight->ip,
                            .encap = sight->encap,
                            .udp_port = sight->udp_port};
    EM_FOREACH (loc, &node->locations, struct xtr_setloc, by_node)
        if (loc->set->refs)
            xtr_notes_node_flood(cache, loc->set->network, &seen, loc->segmentation_id);
}

static void note_node_sets(struct xtr_mapcache *cache, struct xtr_node *node)
{
    EM_FOREACH (loc, &node->locations, struct xtr_setloc, by_node) {
        if (loc->set->is_sent)
            xtr_notes_set(cache, loc->set);
        xtr_notes_pending(cache, loc);
    }
}

/* The labels of this node have changed: any set with a view may mean something else. */
static void note_viewed_sets(struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->sets.n_items; i++) {
        struct xtr_set *set = cache->sets.items[i];
        bool has_view = false;
        for (size_t k = 0; set && k < set->n_locations; k++)
            has_view |= set->locations[k].label.key != NULL;
        if (has_view && set->is_sent)
            xtr_notes_set(cache, set);
        for (size_t k = 0; has_view && k < set->n_locations; k++)
            xtr_notes_pending(cache, &set->locations[k]);
    }
}

/* 'record' NULL: the map does not know the node any more. */
static void node_update(struct xtr_mapcache *cache, const char *id, const struct em_node *record)
{
    struct xtr_node *node = xtr_nodes_ref(&cache->nodes, id);
    struct sight before = look(node);
    if (record)
        xtr_nodes_put(&cache->nodes, record)->generation = cache->generation;
    else
        xtr_nodes_forget(&cache->nodes, node);
    struct sight after = look(node);
    bool is_elsewhere = !same_place(&before, &after);
    if (is_elsewhere) {
        note_node_floods(cache, node, &before);
        note_node_floods(cache, node, &after);
    }
    if (is_elsewhere || before.is_reachable != after.is_reachable)
        note_node_sets(cache, node);
    if (node == cache->nodes.self)
        note_viewed_sets(cache);
    xtr_nodes_unref(&cache->nodes, node);
}

/* Networks */

static uint64_t name_hash(const char *name)
{
    return em_hash(name, strlen(name));
}

static bool has_name(const void *aux, uint32_t i, const void *name)
{
    return !strcmp(((const struct xtr_mapcache *)aux)->known[i].record->name, name);
}

static bool has_number(const void *aux, uint32_t i, const void *id)
{
    return ((const struct xtr_mapcache *)aux)->known[i].record->id == *(const uint32_t *)id;
}

const struct em_network *xtr_mapcache_network(const struct xtr_mapcache *cache, const char *name)
{
    uint32_t i = em_index_find(&cache->known_by_name, name_hash(name), has_name, cache, name);
    return i == EM_INDEX_NONE ? NULL : cache->known[i].record;
}

static uint32_t find_known(const struct xtr_mapcache *cache, uint32_t id)
{
    uint32_t i =
        em_index_find(&cache->known_by_id, xtr_cache_number_hash(id), has_number, cache, &id);
    return i == EM_INDEX_NONE ? XTR_SLOT_NONE : i;
}

const struct em_network *xtr_mapcache_network_by_id(const struct xtr_mapcache *cache, uint32_t id)
{
    uint32_t i = find_known(cache, id);
    return i == XTR_SLOT_NONE ? NULL : cache->known[i].record;
}

static void net_refresh(struct xtr_mapcache *cache, const struct em_network *record)
{
    uint32_t slot = xtr_cache_slot(cache, record->id);
    if (slot == XTR_SLOT_NONE)
        return;
    struct xtr_net *net = cache->nets[slot];
    struct dp_network dp = xtr_cache_describe(record, net->own_segment);
    bool is_same = dp.segmentation_id == net->dp.segmentation_id && dp.mtu == net->dp.mtu &&
                   dp.flood == net->dp.flood;
    net->dp = dp;
    if (!is_same)
        xtr_cache_queue_net(cache, slot);
}

static uint32_t add_known(struct xtr_mapcache *cache, uint32_t id)
{
    if (cache->n_known == cache->known_size) {
        cache->known_size = cache->known_size ? cache->known_size * 2 : 8;
        cache->known = em_realloc(cache->known, cache->known_size * sizeof *cache->known);
    }
    em_index_insert(&cache->known_by_id, xtr_cache_number_hash(id), cache->n_known);
    cache->known[cache->n_known].record = NULL;
    return cache->n_known++;
}

void xtr_cache_network_gone(struct xtr_mapcache *cache, uint32_t id)
{
    uint32_t i = find_known(cache, id);
    if (i == XTR_SLOT_NONE)
        return;
    struct em_network *record = cache->known[i].record;
    cache->n_gone++;
    em_index_remove(&cache->known_by_id, xtr_cache_number_hash(id), i);
    em_index_remove(&cache->known_by_name, name_hash(record->name), i);
    xtr_record_free_network(record);
    uint32_t last = --cache->n_known;
    if (i == last)
        return;
    cache->known[i] = cache->known[last];
    em_index_move(&cache->known_by_id, xtr_cache_number_hash(cache->known[i].record->id), last, i);
    em_index_move(&cache->known_by_name, name_hash(cache->known[i].record->name), last, i);
}

/* A name is of one network: who had it, and has not been shown since this pass began, is gone,
 * even if the guard would keep it. */
static void drop_namesake(struct xtr_mapcache *cache, const struct em_network *record)
{
    uint32_t i = em_index_find(&cache->known_by_name, name_hash(record->name), has_name, cache,
                               record->name);
    if (i != EM_INDEX_NONE && cache->known[i].record->id != record->id &&
        cache->known[i].generation != cache->generation)
        xtr_cache_network_gone(cache, cache->known[i].record->id);
}

/* Number 0 is the feed of nodes and networks: as a network it would be that feed's twin. */
static void network_put(struct xtr_mapcache *cache, const struct em_network *record)
{
    if (!record->id)
        return;
    drop_namesake(cache, record);
    uint32_t i = find_known(cache, record->id);
    if (i == XTR_SLOT_NONE)
        i = add_known(cache, record->id);
    struct em_network *old = cache->known[i].record, *copy = xtr_record_copy_network(record);
    if (old)
        em_index_remove(&cache->known_by_name, name_hash(old->name), i);
    em_index_insert(&cache->known_by_name, name_hash(copy->name), i);
    xtr_record_free_network(old);
    cache->known[i] = (struct xtr_known_network){copy, cache->generation};
    net_refresh(cache, copy);
}

void xtr_cache_node_gone(struct xtr_mapcache *cache, const char *id)
{
    node_update(cache, id, NULL);
}

static void change_zero(struct xtr_mapcache *cache, const struct em_change *change)
{
    switch (change->object) {
    case EM_OBJECT_PORT:
        break;
    case EM_OBJECT_NODE:
        if (!change->is_gone)
            node_update(cache, change->node->id, change->node);
        else
            node_update(cache, change->gone_node, NULL);
        break;
    case EM_OBJECT_NETWORK:
        if (change->is_gone)
            xtr_cache_network_gone(cache, change->gone_network);
        else
            network_put(cache, change->network);
        break;
    }
}

void xtr_cache_feed_zero(struct xtr_mapcache *cache, const struct em_feed *page)
{
    if (page->is_start_over)
        xtr_cache_begin_zero(cache);
    for (size_t i = 0; i < page->n_changes; i++)
        change_zero(cache, &page->changes[i]);
    if (!page->is_complete)
        return;
    if (cache->is_in_pass)
        xtr_cache_end_zero(cache);
    cache->is_complete = true;
}
