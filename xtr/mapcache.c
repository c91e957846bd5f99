/* What goes in: pages of the feed and local ports; entries.c has what comes out.  Nodes and
 * networks are cache_zero.c's, sets cache_place.c's. */
#include "mapcache.h"

#include "base/mem.h"
#include "notes.h"
#include "record.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 8 /* changes: the memory of a large network is far away */

struct xtr_mapcache *xtr_mapcache_new(const struct xtr_mapcache_config *config)
{
    struct xtr_mapcache *cache = em_calloc(1, sizeof *cache);
    cache->udp_port = config->udp_port;
    xtr_guard_init(&cache->guard, config->shrink_percent);
    xtr_nodes_init(&cache->nodes, config->node_id, config->has_ipv4, config->has_ipv6);
    cache->nodes.has_all_encaps = config->has_all_encaps;
    xtr_sets_init(&cache->sets);
    xtr_locals_init(&cache->locals);
    xtr_queue_init(&cache->queue);
    xtr_queue_init(&cache->first);
    em_index_init(&cache->known_by_id);
    em_index_init(&cache->known_by_name);
    em_index_init(&cache->open_by_id);
    return cache;
}

static void net_clear(struct xtr_net *net)
{
    xtr_table_fini(&net->table);
    xtr_trunks_fini(&net->trunks);
    free(net->floods);
    net->floods = NULL;
    net->n_floods = net->floods_size = 0;
    free(net->copies);
    net->copies = NULL;
    net->n_copies = 0;
}

void xtr_mapcache_free(struct xtr_mapcache *cache)
{
    if (!cache)
        return;
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i]) {
            if (!cache->nets[i]->is_closed)
                net_clear(cache->nets[i]);
            free(cache->nets[i]);
        }
    for (uint32_t i = 0; i < cache->n_known; i++)
        xtr_record_free_network(cache->known[i].record);
    free(cache->nets);
    free(cache->known);
    free(cache->marks);
    xtr_guard_fini(&cache->guard);
    xtr_sets_fini(&cache->sets, &cache->nodes);
    xtr_locals_fini(&cache->locals);
    xtr_nodes_fini(&cache->nodes);
    xtr_queue_fini(&cache->queue);
    xtr_queue_fini(&cache->first);
    em_index_fini(&cache->known_by_id);
    em_index_fini(&cache->known_by_name);
    em_index_fini(&cache->open_by_id);
    free(cache);
}

/* Open networks */

static bool is_open_net(const void *aux, uint32_t slot, const void *key)
{
    return ((const struct xtr_mapcache *)aux)->nets[slot]->dp.id == *(const uint32_t *)key;
}

uint32_t xtr_cache_slot(const struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = em_index_find(&cache->open_by_id, xtr_cache_number_hash(network_id),
                                  is_open_net, cache, &network_id);
    return slot == EM_INDEX_NONE ? XTR_SLOT_NONE : slot;
}

static uint32_t free_net_slot(struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (!cache->nets[i])
            return i;
    cache->nets = em_realloc(cache->nets, (cache->n_nets + 1) * sizeof(struct xtr_net *));
    cache->nets[cache->n_nets] = NULL;
    return cache->n_nets++;
}

bool xtr_mapcache_is_leaving(const struct xtr_mapcache *cache, uint32_t network_id)
{
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i] && cache->nets[i]->is_closed && cache->nets[i]->dp.id == network_id)
            return true;
    return false;
}

/* Who has a port in a network that is resolved is not known: there is nobody to flood to. */
static enum em_flood flood_of(const struct em_network *record)
{
    if (record->fill == EM_FILL_RESOLVE)
        return EM_FLOOD_NONE;
    return record->flood ? record->flood : EM_FLOOD_BROADCAST;
}

struct dp_network xtr_cache_describe(const struct em_network *record, uint32_t own_segment)
{
    return (struct dp_network){
        .id = record->id,
        .segmentation_id = own_segment ? own_segment : record->segmentation_id,
        .mtu = record->mtu,
        .flood = flood_of(record),
    };
}

int xtr_mapcache_open(struct xtr_mapcache *cache, uint32_t network_id, uint32_t segmentation_id)
{
    const struct em_network *record = xtr_mapcache_network_by_id(cache, network_id);
    if (!record)
        return EM_E_NOT_FOUND;
    if (xtr_cache_slot(cache, network_id) != XTR_SLOT_NONE)
        return -EALREADY;
    struct xtr_net *net = em_calloc(1, sizeof *net);
    net->dp = xtr_cache_describe(record, segmentation_id);
    net->own_segment = segmentation_id;
    net->is_second = xtr_mapcache_is_leaving(cache, network_id);
    xtr_table_init(&net->table);
    xtr_trunks_init(&net->trunks);
    uint32_t slot = free_net_slot(cache);
    cache->nets[slot] = net;
    em_index_insert(&cache->open_by_id, xtr_cache_number_hash(network_id), slot);
    xtr_notes_network(cache, slot);
    return 0;
}

bool xtr_mapcache_is_open(const struct xtr_mapcache *cache, uint32_t network_id)
{
    return xtr_cache_slot(cache, network_id) != XTR_SLOT_NONE;
}

bool xtr_mapcache_has_locals(const struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    return slot != XTR_SLOT_NONE && cache->nets[slot]->n_locals;
}

const struct em_port_id *xtr_mapcache_local_at(const struct xtr_mapcache *cache,
                                               uint32_t network_id, const uint8_t mac[EM_MAC_SIZE])
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    memcpy(eid.addr, mac, EM_MAC_SIZE);
    const struct xtr_local *local =
        slot == XTR_SLOT_NONE ? NULL : xtr_locals_owner(&cache->locals, slot, &eid);
    return local ? &local->id : NULL;
}

void xtr_mapcache_close(struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    if (slot == XTR_SLOT_NONE)
        return;
    struct xtr_net *net = cache->nets[slot];
    assert(!net->n_locals);
    net->is_closed = true;
    em_index_remove(&cache->open_by_id, xtr_cache_number_hash(network_id), slot);
    xtr_notes_closed(cache, slot);
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++) {
        const struct xtr_record *record = xtr_table_at(&net->table, i);
        if (record->flags & XTR_RECORD_USED)
            xtr_cache_drop_set(cache, slot, record->set);
    }
    net_clear(net);
}

/* Ports of the map */

static bool same_eid(const struct em_eid *a, const struct em_eid *b)
{
    return a->kind == b->kind && !em_eid_compare(a, b);
}

static bool has_eid(const struct em_eid *eids, size_t n, const struct em_eid *wanted)
{
    for (size_t i = 0; i < n; i++)
        if (same_eid(&eids[i], wanted))
            return true;
    return false;
}

static bool same_eids(const struct em_eid *a, size_t n_a, const struct em_eid *b, size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (!same_eid(&a[i], &b[i]))
            return false;
    return true;
}

static uint32_t obtain_record(struct xtr_mapcache *cache, uint32_t slot,
                              const struct em_port_id *id)
{
    struct xtr_net *net = cache->nets[slot];
    uint32_t index = xtr_table_find(&net->table, id);
    if (index != XTR_SLOT_NONE)
        return index;
    index = xtr_table_add(&net->table, id);
    const struct xtr_local *local = xtr_locals_find(&cache->locals, id);
    if (index != XTR_SLOT_NONE && local && local->network == slot && !local->is_pending)
        xtr_table_at(&net->table, index)->flags |= XTR_RECORD_IS_LOCAL;
    return index;
}

/* A full pass repeats what is known: that must cost no note. */
static void port_put(struct xtr_mapcache *cache, uint32_t slot, const struct em_port *port)
{
    struct xtr_net *net = cache->nets[slot];
    uint32_t index = obtain_record(cache, slot, &port->id);
    if (index == XTR_SLOT_NONE) {
        net->n_left_out++;
        return;
    }
    xtr_trunks_put(&net->trunks, &port->id, port->children, port->n_children);
    struct xtr_record *record = xtr_table_at(&net->table, index);
    struct em_eid old[XTR_EIDS_MAX];
    size_t n_old = xtr_table_eids(&net->table, index, old);
    size_t n = port->n_eids < XTR_EIDS_MAX ? port->n_eids : XTR_EIDS_MAX;
    uint32_t old_set = record->set;
    uint32_t set = xtr_cache_hold_set(cache, slot, port->locations, port->n_locations);
    net->n_left_out += !set;
    bool is_changed = set != old_set;

    if (!same_eids(old, n_old, port->eids, n)) {
        for (size_t i = 0; i < n_old; i++)
            if (!has_eid(port->eids, n, &old[i]))
                xtr_notes_eids(cache, slot, &old[i], 1);
        xtr_table_set_eids(&net->table, index, port->eids, n);
        is_changed = true;
    }
    record->set = set;
    if (set != old_set)
        xtr_notes_hiding(cache, slot, index);
    record->flags &= ~(uint32_t)XTR_RECORD_KEPT;
    if (!(record->flags & XTR_RECORD_FRESH)) {
        record->flags |= XTR_RECORD_FRESH;
        is_changed = is_changed || xtr_table_is_contested(&net->table, index);
    }
    if (is_changed)
        xtr_notes_port(cache, slot, index);
    xtr_cache_drop_set(cache, slot, old_set);
}

void xtr_cache_port_remove(struct xtr_mapcache *cache, uint32_t slot, uint32_t index)
{
    struct xtr_net *net = cache->nets[slot];
    struct em_eid eids[XTR_EIDS_MAX];
    struct em_port_id id = xtr_table_id(&net->table, index);
    size_t n = xtr_table_eids(&net->table, index, eids);
    uint32_t set = xtr_table_at(&net->table, index)->set;
    if (!(xtr_table_at(&net->table, index)->flags & XTR_RECORD_IS_LOCAL))
        xtr_trunks_put(&net->trunks, &id, NULL, 0); /* else only another record has a say */
    xtr_notes_eids(cache, slot, eids, n);
    xtr_notes_hiding(cache, slot, index);
    xtr_table_remove(&net->table, index);
    xtr_cache_drop_set(cache, slot, set);
}

static void port_gone(struct xtr_mapcache *cache, uint32_t slot, const struct em_port_id *id)
{
    uint32_t index = xtr_table_find(&cache->nets[slot]->table, id);
    if (index != XTR_SLOT_NONE)
        xtr_cache_port_remove(cache, slot, index);
}

static void prefetch(const struct xtr_table *table, const struct em_change *change)
{
    if (change->object == EM_OBJECT_PORT && !change->is_gone)
        xtr_table_prefetch(table, &change->port->id, change->port->eids, change->port->n_eids);
}

static void feed_ports(struct xtr_mapcache *cache, const struct em_feed *page)
{
    uint32_t slot = xtr_cache_slot(cache, page->network_id);
    if (slot == XTR_SLOT_NONE)
        return;
    struct xtr_net *net = cache->nets[slot];
    if (page->is_start_over)
        xtr_cache_begin_pass(net);
    for (size_t i = 0; i < page->n_changes; i++) {
        const struct em_change *change = &page->changes[i];
        if (i + AHEAD < page->n_changes)
            prefetch(&net->table, &page->changes[i + AHEAD]);
        if (change->object != EM_OBJECT_PORT)
            continue;
        if (change->is_gone)
            port_gone(cache, slot, &change->gone_port);
        else
            port_put(cache, slot, change->port);
    }
    if (!page->is_complete)
        return;
    if (net->is_in_pass)
        xtr_cache_end_pass(cache, slot);
    net->is_complete = true;
}

/* Revisions */

static bool all_complete(const struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i] && !cache->nets[i]->is_closed && !cache->nets[i]->is_complete)
            return false;
    return cache->is_complete;
}

static void mark(struct xtr_mapcache *cache)
{
    struct xtr_mark now = {cache->revision, cache->queue.tail};
    if (now.position <= cache->done) {
        cache->installed = now.revision;
        return;
    }
    if (cache->n_marks && cache->marks[cache->n_marks - 1].position == now.position)
        cache->n_marks--;
    if (cache->n_marks == cache->marks_size) {
        cache->marks_size = cache->marks_size ? cache->marks_size * 2 : 16;
        cache->marks = em_realloc(cache->marks, cache->marks_size * sizeof *cache->marks);
    }
    cache->marks[cache->n_marks++] = now;
}

void xtr_mapcache_feed(struct xtr_mapcache *cache, const struct em_feed *page)
{
    if (page->err || page->is_removed)
        return;
    if (page->network_id)
        feed_ports(cache, page);
    else
        xtr_cache_feed_zero(cache, page);
    if (page->revision > cache->revision)
        cache->revision = page->revision;
    if (all_complete(cache))
        mark(cache);
}

void xtr_mapcache_restart(struct xtr_mapcache *cache)
{
    cache->revision = cache->installed = 0;
    cache->n_marks = 0;
    cache->is_complete = false;
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i])
            cache->nets[i]->is_complete = false;
}

bool xtr_mapcache_is_complete(const struct xtr_mapcache *cache, uint32_t network_id)
{
    if (!network_id)
        return cache->is_complete;
    uint32_t slot = xtr_cache_slot(cache, network_id);
    return slot != XTR_SLOT_NONE && cache->nets[slot]->is_complete;
}

uint64_t xtr_mapcache_tail(const struct xtr_mapcache *cache)
{
    return cache->queue.tail;
}

uint64_t xtr_mapcache_done(const struct xtr_mapcache *cache)
{
    return cache->done;
}

uint64_t xtr_mapcache_installed(const struct xtr_mapcache *cache)
{
    return cache->installed;
}

uint64_t xtr_mapcache_revision(const struct xtr_mapcache *cache)
{
    return cache->revision;
}

/* Local ports */

static void set_local_flag(struct xtr_mapcache *cache, uint32_t slot, const struct em_port_id *id,
                           bool is_local)
{
    struct xtr_table *table = &cache->nets[slot]->table;
    uint32_t index = xtr_table_find(table, id);
    if (index == XTR_SLOT_NONE)
        return;
    struct xtr_record *record = xtr_table_at(table, index);
    record->flags &= ~(uint32_t)XTR_RECORD_IS_LOCAL;
    if (is_local)
        record->flags |= XTR_RECORD_IS_LOCAL;
    xtr_notes_port(cache, slot, index);
}

static struct xtr_local *take_local(struct xtr_mapcache *cache, const struct em_port_id *id)
{
    struct xtr_local *old = xtr_locals_take(&cache->locals, id);
    if (!old)
        return NULL;
    cache->nets[old->network]->n_locals--;
    set_local_flag(cache, old->network, id, false);
    return old;
}

/* MACs leave before their device does. */
static void note_old_local(struct xtr_mapcache *cache, const struct xtr_local *old)
{
    if (!old)
        return;
    xtr_notes_locals(cache, old->network, old->eids, old->n_eids, old->device, old->vlan);
    xtr_notes_device(cache, old->network, old->device, old->vlan);
}

static void put_local(struct xtr_mapcache *cache, struct xtr_local *local, uint32_t network_id,
                      const char *device)
{
    local->network = xtr_cache_slot(cache, network_id);
    assert(local->network != XTR_SLOT_NONE && strlen(device) < IFNAMSIZ);
    memcpy(local->device, device, strlen(device));
    struct xtr_local *old = take_local(cache, &local->id);
    xtr_locals_add(&cache->locals, local);
    cache->nets[local->network]->n_locals++;
    note_old_local(cache, old);
    xtr_local_free(old);
    xtr_mapcache_touch(cache, &local->id);
    set_local_flag(cache, local->network, &local->id, !local->is_pending);
}

void xtr_mapcache_attach(struct xtr_mapcache *cache, const struct em_port_id *id,
                         uint32_t network_id, const char *device, const struct em_eid *eids,
                         size_t n_eids)
{
    struct xtr_local local = {
        .id = *id, .eids = (struct em_eid *)(uintptr_t)eids, .n_eids = n_eids};
    put_local(cache, &local, network_id, device);
}

void xtr_mapcache_attach_borrowed(struct xtr_mapcache *cache, const struct em_port_id *id,
                                  uint32_t network_id, const char *device,
                                  const struct em_eid *eids, size_t n_eids)
{
    struct xtr_local local = {
        .id = *id, .eids = (struct em_eid *)(uintptr_t)eids, .n_eids = n_eids, .is_borrowed = true};
    put_local(cache, &local, network_id, device);
}

void xtr_mapcache_attach_pending(struct xtr_mapcache *cache, const struct em_port_id *id,
                                 uint32_t network_id, const char *device, const struct em_eid *eids,
                                 size_t n_eids)
{
    struct xtr_local local = {
        .id = *id, .eids = (struct em_eid *)(uintptr_t)eids, .n_eids = n_eids, .is_pending = true};
    put_local(cache, &local, network_id, device);
}

void xtr_mapcache_attach_child(struct xtr_mapcache *cache, const struct em_port_id *id,
                               uint32_t network_id, const char *device, uint16_t vlan,
                               bool is_pending, const struct em_eid *eids, size_t n_eids)
{
    struct xtr_local local = {.id = *id,
                              .vlan = vlan,
                              .eids = (struct em_eid *)(uintptr_t)eids,
                              .n_eids = n_eids,
                              .is_borrowed = true, /* the device is its parent's to plug */
                              .is_pending = is_pending};
    put_local(cache, &local, network_id, device);
}

void xtr_mapcache_detach(struct xtr_mapcache *cache, const struct em_port_id *id)
{
    struct xtr_local *old = take_local(cache, id);
    note_old_local(cache, old);
    xtr_local_free(old);
}

void xtr_mapcache_touch(struct xtr_mapcache *cache, const struct em_port_id *id)
{
    const struct xtr_local *local = xtr_locals_find(&cache->locals, id);
    if (!local)
        return;
    xtr_notes_device(cache, local->network, local->device, local->vlan);
    xtr_notes_locals(cache, local->network, local->eids, local->n_eids, NULL, 0);
}

void xtr_mapcache_set_children(struct xtr_mapcache *cache, uint32_t network_id,
                               const struct em_port *port)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    if (slot != XTR_SLOT_NONE)
        xtr_trunks_put(&cache->nets[slot]->trunks, &port->id, port->children, port->n_children);
}

/* Repeats */

void xtr_cache_queue_net(struct xtr_mapcache *cache, uint32_t slot)
{
    struct xtr_net *net = cache->nets[slot];
    xtr_notes_network(cache, slot);
    for (uint32_t i = 0; i < net->n_floods; i++)
        xtr_notes_node_flood(cache, slot, net->floods[i].node, net->floods[i].segmentation_id);
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++)
        if (xtr_table_at(&net->table, i)->flags & XTR_RECORD_USED)
            xtr_notes_port(cache, slot, i);
    for (uint32_t i = 0; i < cache->locals.n_items; i++)
        if (cache->locals.items[i] && cache->locals.items[i]->network == slot)
            xtr_mapcache_touch(cache, &cache->locals.items[i]->id);
}

static void retry_eid(struct xtr_mapcache *cache, uint32_t slot, const struct dp_op *op)
{
    struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
    if (op->verb == DP_NEIGHBOUR_PUT || op->verb == DP_NEIGHBOUR_DELETE) {
        eid.kind = op->ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6;
        eid.size = op->ip.size;
        memcpy(eid.addr, op->ip.addr, op->ip.size);
    } else {
        memcpy(eid.addr, op->mac, EM_MAC_SIZE);
    }
    if (op->verb == DP_COPY_DELETE)
        xtr_cache_copy_stands(cache->nets[slot], &eid);
    if (op->verb == DP_LOCAL_DELETE)
        xtr_notes_locals(cache, slot, &eid, 1, op->device, op->vlan);
    else
        xtr_notes_eids(cache, slot, &eid, 1);
}

void xtr_mapcache_retry(struct xtr_mapcache *cache, const struct dp_op *op)
{
    uint32_t slot = xtr_cache_slot(cache, op->network.id);
    struct xtr_set *set = xtr_sets_get(&cache->sets, op->set.id);
    switch (op->verb) {
    case DP_SET_PUT:
        if (set)
            xtr_notes_set(cache, set);
        return;
    case DP_SET_DELETE:
        xtr_notes_gone(cache, XTR_KEY_SET_GONE, op->set.id);
        return;
    case DP_NETWORK_DELETE:
        xtr_notes_gone(cache, XTR_KEY_NETWORK_GONE, op->network.id);
        return;
    case DP_NETWORK_PUT:
    case DP_MAC_PUT:
    case DP_MAC_DELETE:
    case DP_NEIGHBOUR_PUT:
    case DP_NEIGHBOUR_DELETE:
    case DP_FLOOD_PUT:
    case DP_FLOOD_DELETE:
    case DP_PORT_PUT:
    case DP_PORT_DELETE:
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
    case DP_COPY_PUT:
    case DP_COPY_DELETE:
        break;
    }
    if (slot == XTR_SLOT_NONE)
        return;
    if (op->verb == DP_NETWORK_PUT)
        xtr_notes_network(cache, slot);
    else if (op->verb == DP_FLOOD_PUT || op->verb == DP_FLOOD_DELETE)
        xtr_notes_flood(cache, slot, &op->target);
    else if (op->verb == DP_PORT_PUT || op->verb == DP_PORT_DELETE)
        xtr_notes_device(cache, slot, op->device, op->vlan);
    else
        retry_eid(cache, slot, op);
}

void xtr_mapcache_repeat(struct xtr_mapcache *cache, uint32_t network_id)
{
    uint32_t slot = xtr_cache_slot(cache, network_id);
    if (slot != XTR_SLOT_NONE)
        xtr_cache_queue_net(cache, slot);
}

void xtr_mapcache_retry_all(struct xtr_mapcache *cache)
{
    for (uint32_t i = 0; i < cache->n_nets; i++)
        if (cache->nets[i] && !cache->nets[i]->is_closed)
            xtr_cache_queue_net(cache, i);
    for (uint32_t i = 0; i < cache->sets.n_items; i++)
        if (cache->sets.items[i] && cache->sets.items[i]->is_sent)
            xtr_notes_set(cache, cache->sets.items[i]);
}
