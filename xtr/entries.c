/* From the map-cache to operations: each note is answered with what has to stand now. */
#include "cache_state.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OPS_OF_NOTE 3 /* most that one address, or any other note, needs at once */

struct sink {
    struct xtr_mapcache *cache;
    struct dp_op *ops;
    size_t n, max;
};

static struct dp_op *emit(struct sink *sink, enum dp_verb verb, uint32_t network_id)
{
    assert(sink->n < sink->max);
    struct dp_op *op = &sink->ops[sink->n++];
    *op = (struct dp_op){.verb = verb, .network.id = network_id};
    return op;
}

static void emit_set(struct sink *sink, struct xtr_set *set)
{
    struct xtr_mapcache *cache = sink->cache;
    struct dp_target *targets = cache->targets[sink->n];
    size_t n = xtr_set_targets(set, &cache->nodes, cache->udp_port, targets);
    struct dp_op *op = emit(sink, DP_SET_PUT, cache->nets[set->network]->dp.id);
    op->set = (struct dp_set){set->id, targets, n};
    set->is_sent = true;
}

static void emit_device(struct sink *sink, uint32_t slot, const char *device, uint16_t vlan)
{
    bool is_wanted = xtr_locals_has_device(&sink->cache->locals, slot, device, vlan);
    struct dp_op *op =
        emit(sink, is_wanted ? DP_PORT_PUT : DP_PORT_DELETE, sink->cache->nets[slot]->dp.id);
    memcpy(op->device, device, sizeof op->device);
    op->vlan = vlan;
    op->is_borrowed =
        is_wanted && !xtr_locals_owns_device(&sink->cache->locals, slot, device, vlan);
}

/* The copies of a network */

static uint32_t find_copy(const struct xtr_net *net, const struct em_eid *mac)
{
    uint32_t i = 0;
    while (i < net->n_copies && memcmp(net->copies[i].mac, mac->addr, EM_MAC_SIZE) != 0)
        i++;
    return i;
}

void xtr_cache_copy_stands(struct xtr_net *net, const struct em_eid *mac)
{
    if (find_copy(net, mac) < net->n_copies)
        return;
    net->copies = em_realloc(net->copies, (net->n_copies + 1) * sizeof *net->copies);
    memcpy(net->copies[net->n_copies++].mac, mac->addr, EM_MAC_SIZE);
}

static void emit_copy_delete(struct sink *sink, struct xtr_net *net, const struct em_eid *mac)
{
    uint32_t i = find_copy(net, mac);
    if (i == net->n_copies)
        return;
    net->copies[i] = net->copies[--net->n_copies];
    memcpy(emit(sink, DP_COPY_DELETE, net->dp.id)->mac, mac->addr, EM_MAC_SIZE);
}

/* Of a local port too, for those who send to it from this host. */
static void emit_copy_put(struct sink *sink, struct xtr_net *net, const struct em_eid *mac,
                          const struct dp_target *target, const struct xtr_local *local)
{
    xtr_cache_copy_stands(net, mac);
    struct dp_op *op = emit(sink, DP_COPY_PUT, net->dp.id);
    memcpy(op->mac, mac->addr, EM_MAC_SIZE);
    op->target = *target;
    if (local) {
        memcpy(op->device, local->device, sizeof op->device);
        op->vlan = local->vlan;
    }
}

/* The set of a port's record in the map, local or not. */
static struct xtr_set *set_of(const struct xtr_mapcache *cache, const struct xtr_net *net,
                              uint32_t record)
{
    return record == XTR_SLOT_NONE
               ? NULL
               : xtr_sets_get(&cache->sets, xtr_table_at(&net->table, record)->set);
}

/* Of an address of the map; 'holder' is a record that has it, XTR_SLOT_NONE: none is known. */
static uint32_t owner_of(const struct xtr_net *net, const struct em_eid *eid, uint32_t holder)
{
    return holder == XTR_SLOT_NONE ? xtr_table_owner(&net->table, eid)
                                   : xtr_table_owner_of(&net->table, holder, eid);
}

/* 'was' says where the MAC was last if that was local, else it is NULL. */
static void emit_mac(struct sink *sink, uint32_t slot, const struct em_eid *mac, uint32_t holder,
                     const struct xtr_key *was)
{
    struct xtr_mapcache *cache = sink->cache;
    struct xtr_net *net = cache->nets[slot];
    struct xtr_local *local = xtr_locals_owner(&cache->locals, slot, mac);
    const struct xtr_set *known = NULL; /* what the map says, also of a local port */
    struct xtr_set *set = NULL;
    struct dp_target copy;
    if (local)
        known = set_of(cache, net, xtr_table_find(&net->table, &local->id));
    else
        known = set = set_of(cache, net, owner_of(net, mac, holder));
    bool has_copy = known && xtr_set_pending(known, &cache->nodes, cache->udp_port, &copy);
    if (set && !set->is_sent)
        emit_set(sink, set);
    if (local && !local->is_sent) {
        local->is_sent = true;
        emit_device(sink, slot, local->device, local->vlan);
    }

    if (!has_copy)
        emit_copy_delete(sink, net, mac);
    enum dp_verb verb = local ? DP_LOCAL_PUT
                        : set ? DP_MAC_PUT
                        : was ? DP_LOCAL_DELETE
                              : DP_MAC_DELETE;
    struct dp_op *op = emit(sink, verb, net->dp.id);
    memcpy(op->mac, mac->addr, sizeof op->mac);
    op->set.id = set ? set->id : 0;
    if (local || (!set && was)) {
        memcpy(op->device, local ? local->device : was->device, sizeof op->device);
        op->vlan = local ? local->vlan : was->vlan;
    }
    if (has_copy)
        emit_copy_put(sink, net, mac, &copy, local);
}

const struct em_eid *xtr_cache_first_mac(const struct em_eid *eids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (eids[i].kind == EM_EID_MAC)
            return &eids[i];
    return NULL;
}

static struct em_eid mac_of(const struct xtr_mapcache *cache, uint32_t slot,
                            const struct em_eid *ip, uint32_t holder)
{
    const struct xtr_net *net = cache->nets[slot];
    const struct xtr_local *local = xtr_locals_owner(&cache->locals, slot, ip);
    struct em_eid eids[XTR_EIDS_MAX];
    const struct em_eid *mac = NULL;
    if (local) {
        mac = xtr_cache_first_mac(local->eids, local->n_eids);
    } else {
        uint32_t owner = owner_of(net, ip, holder);
        if (owner != XTR_SLOT_NONE)
            mac = xtr_cache_first_mac(eids, xtr_table_eids(&net->table, owner, eids));
    }
    return mac ? *mac : (struct em_eid){0};
}

struct em_eid xtr_cache_mac_of(const struct xtr_mapcache *cache, uint32_t slot,
                               const struct em_eid *ip)
{
    return mac_of(cache, slot, ip, XTR_SLOT_NONE);
}

static void emit_ip(struct sink *sink, uint32_t slot, const struct em_eid *ip, uint32_t holder)
{
    struct em_eid mac = mac_of(sink->cache, slot, ip, holder);
    enum dp_verb verb = mac.kind ? DP_NEIGHBOUR_PUT : DP_NEIGHBOUR_DELETE;
    struct dp_op *op = emit(sink, verb, sink->cache->nets[slot]->dp.id);
    memcpy(op->mac, mac.addr, sizeof op->mac);
    op->ip.size = ip->size;
    memcpy(op->ip.addr, ip->addr, ip->size);
}

static void emit_eid(struct sink *sink, uint32_t slot, const struct em_eid *eid, uint32_t holder,
                     const struct xtr_key *was)
{
    if (eid->kind == EM_EID_MAC)
        emit_mac(sink, slot, eid, holder, was);
    else
        emit_ip(sink, slot, eid, holder);
}

static void emit_flood(struct sink *sink, const struct xtr_net *net, const struct dp_target *target)
{
    bool is_wanted = false;
    for (uint32_t i = 0; i < net->n_floods && net->dp.flood != EM_FLOOD_NONE && !is_wanted; i++) {
        const struct xtr_flood *flood = &net->floods[i];
        if (!flood->node->is_usable)
            continue;
        struct dp_target t =
            xtr_node_target(flood->node, flood->segmentation_id, 1, sink->cache->udp_port);
        is_wanted = xtr_is_same_target(&t, target);
    }
    struct dp_op *op = emit(sink, is_wanted ? DP_FLOOD_PUT : DP_FLOOD_DELETE, net->dp.id);
    op->target = *target;
}

/* Its number may have another one by now. */
static void emit_gone(struct sink *sink, const struct xtr_key *key)
{
    struct xtr_mapcache *cache = sink->cache;
    if (key->kind == XTR_KEY_SET_GONE) {
        if (!xtr_sets_get(&cache->sets, key->id))
            emit(sink, DP_SET_DELETE, 0)->set.id = key->id;
    } else if (!xtr_mapcache_is_open(cache, key->id) && !xtr_mapcache_is_leaving(cache, key->id)) {
        emit(sink, DP_NETWORK_DELETE, key->id);
    }
}

static void emit_key(struct sink *sink, uint32_t slot, const struct xtr_key *key)
{
    const struct xtr_net *net = sink->cache->nets ? sink->cache->nets[slot] : NULL;
    bool has_gone = key->kind == XTR_KEY_SET_GONE || key->kind == XTR_KEY_NETWORK_GONE;
    /* All that a closed network has goes with it, but a device may be waited for by another. */
    if (!has_gone && (!net || (net->is_closed && key->kind != XTR_KEY_DEVICE)))
        return;
    switch (key->kind) {
    case XTR_KEY_EID:
        emit_eid(sink, slot, &key->eid, XTR_SLOT_NONE, NULL);
        break;
    case XTR_KEY_LOCAL:
        emit_eid(sink, slot, &key->eid, XTR_SLOT_NONE, key);
        break;
    case XTR_KEY_FLOOD:
        emit_flood(sink, sink->cache->nets[slot], &key->target);
        break;
    case XTR_KEY_DEVICE:
        emit_device(sink, slot, key->device, key->vlan);
        break;
    case XTR_KEY_SET_GONE:
    case XTR_KEY_NETWORK_GONE:
        emit_gone(sink, key);
        break;
    }
}

/* The last of a closed network's own notes is the last of all that name its slot. */
static void emit_network(struct sink *sink, uint32_t slot)
{
    struct xtr_mapcache *cache = sink->cache;
    struct xtr_net *net = cache->nets[slot];
    assert(net && net->n_notes > 0);
    net->n_notes--;
    if (!net->is_closed) {
        net->is_second = false;
        emit(sink, DP_NETWORK_PUT, net->dp.id)->network = net->dp;
    } else if (!net->n_notes) {
        emit(sink, DP_NETWORK_DELETE, net->dp.id);
        free(net);
        cache->nets[slot] = NULL;
    }
}

/* False: the sink is full, go on here with the next one. */
static bool emit_port(struct sink *sink, uint32_t slot, uint32_t index)
{
    struct xtr_mapcache *cache = sink->cache;
    struct xtr_table *table = &cache->nets[slot]->table;
    if (index >= xtr_table_slots(table) || !(xtr_table_at(table, index)->flags & XTR_RECORD_USED))
        return true;
    /* A change from here on has to queue the port again. */
    xtr_table_at(table, index)->flags &= ~(uint32_t)XTR_RECORD_QUEUED;
    struct em_eid eids[XTR_EIDS_MAX];
    size_t n = xtr_table_eids(table, index, eids);
    for (; cache->eid_cursor < n; cache->eid_cursor++) {
        if (sink->max - sink->n < OPS_OF_NOTE)
            return false;
        if (xtr_eid_is_entry(&eids[cache->eid_cursor]))
            emit_eid(sink, slot, &eids[cache->eid_cursor], index, NULL);
    }
    return true;
}

/* An entry that stands and still names a set without references has a note of its own
 * somewhere in the queue.  So the set goes once around before it is deleted. */
static void emit_set_note(struct sink *sink, uint32_t id)
{
    struct xtr_mapcache *cache = sink->cache;
    struct xtr_set *set = xtr_sets_get(&cache->sets, id);
    assert(set && set->n_notes > 0);
    set->n_notes--;
    if (set->refs) {
        if (set->is_sent)
            emit_set(sink, set);
        return;
    }
    if (set->n_notes)
        return;
    if (set->is_sent && !set->is_leaving) {
        set->is_leaving = true;
        set->n_notes++;
        xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_SET, set->network, id, 0});
        return;
    }
    if (set->is_sent)
        emit(sink, DP_SET_DELETE, 0)->set.id = id;
    xtr_sets_free(&cache->sets, &cache->nodes, set);
}

static bool is_open_in(const struct xtr_mapcache *cache, uint32_t slot)
{
    return cache->nets[slot] && !cache->nets[slot]->is_closed;
}

static bool answer(struct sink *sink, const struct xtr_queue *queue, const struct xtr_note *note)
{
    switch (note->kind) {
    case XTR_NOTE_NETWORK:
        emit_network(sink, note->network);
        return true;
    case XTR_NOTE_SET:
        emit_set_note(sink, note->index);
        return true;
    case XTR_NOTE_PORT:
        return !is_open_in(sink->cache, note->network) ||
               emit_port(sink, note->network, note->index);
    case XTR_NOTE_KEY:
        emit_key(sink, note->network, xtr_queue_key(queue, note));
        return true;
    case XTR_NOTE_MARK:
        return true;
    }
    assert(false);
    return true;
}

size_t xtr_mapcache_next_ops(struct xtr_mapcache *cache, struct dp_op *ops, size_t max)
{
    assert(max >= XTR_OPS_MIN && max <= XTR_OPS_MAX);
    struct sink sink = {cache, ops, 0, max};
    struct xtr_note note;
    while (sink.max - sink.n >= OPS_OF_NOTE && xtr_queue_peek(&cache->first, &note)) {
        (void)answer(&sink, &cache->first, &note);
        xtr_queue_pop(&cache->first);
    }
    while (sink.max - sink.n >= OPS_OF_NOTE && xtr_queue_peek(&cache->queue, &note)) {
        if (!answer(&sink, &cache->queue, &note))
            break;
        cache->eid_cursor = 0;
        xtr_queue_pop(&cache->queue);
    }
    return sink.n;
}

static uint32_t passed_marks(const struct xtr_mapcache *cache)
{
    uint32_t n = 0;
    while (n < cache->n_marks && cache->marks[n].position <= cache->done)
        n++;
    return n;
}

uint64_t xtr_mapcache_taken(const struct xtr_mapcache *cache)
{
    return cache->queue.head;
}

void xtr_mapcache_applied(struct xtr_mapcache *cache)
{
    xtr_mapcache_applied_to(cache, cache->queue.head);
}

void xtr_mapcache_applied_to(struct xtr_mapcache *cache, uint64_t position)
{
    cache->done = position;
    uint32_t n = passed_marks(cache);
    if (!n)
        return;
    cache->installed = cache->marks[n - 1].revision;
    cache->n_marks -= n;
    memmove(cache->marks, cache->marks + n, cache->n_marks * sizeof *cache->marks);
}
