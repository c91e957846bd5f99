/* Two queues: what concerns local ports goes before a burst of the feed. */
#include "notes.h"

#include <string.h>

/* The queue for what must not wait behind a burst of the feed.  A network that was opened
 * again while it waits to leave would overtake its own end there. */
static struct xtr_queue *front_queue(struct xtr_mapcache *cache, uint32_t slot)
{
    if (cache->nets[slot]->is_second)
        return &cache->queue;
    xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_MARK, slot, 0, 0});
    return &cache->first;
}

void xtr_notes_network(struct xtr_mapcache *cache, uint32_t slot)
{
    cache->nets[slot]->n_notes++;
    xtr_queue_push(front_queue(cache, slot), (struct xtr_note){XTR_NOTE_NETWORK, slot, 0, 0});
}

void xtr_notes_closed(struct xtr_mapcache *cache, uint32_t slot)
{
    cache->nets[slot]->n_notes++;
    xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_NETWORK, slot, 0, 0});
}

void xtr_notes_set(struct xtr_mapcache *cache, struct xtr_set *set)
{
    if (set->refs && set->n_notes)
        return;
    set->n_notes++;
    xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_SET, set->network, set->id, 0});
}

void xtr_notes_set_first(struct xtr_mapcache *cache, struct xtr_set *set)
{
    set->n_notes++;
    xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_MARK, set->network, 0});
    xtr_queue_push(&cache->first, (struct xtr_note){XTR_NOTE_SET, set->network, set->id});
}

void xtr_notes_port(struct xtr_mapcache *cache, uint32_t slot, uint32_t index)
{
    struct xtr_record *record = xtr_table_at(&cache->nets[slot]->table, index);
    if (record->flags & XTR_RECORD_QUEUED)
        return;
    record->flags |= XTR_RECORD_QUEUED;
    xtr_queue_push(&cache->queue, (struct xtr_note){XTR_NOTE_PORT, slot, index, 0});
}

void xtr_notes_hiding(struct xtr_mapcache *cache, uint32_t slot, uint32_t index)
{
    const struct xtr_table *table = &cache->nets[slot]->table;
    if (!(xtr_table_at(table, index)->flags & XTR_RECORD_IS_LOCAL))
        return;
    struct em_port_id id = xtr_table_id(table, index);
    const struct xtr_local *local = xtr_locals_find(&cache->locals, &id);
    if (local)
        xtr_notes_locals(cache, slot, local->eids, local->n_eids, NULL, 0);
}

/* Migrations are few: a walk over the network's ports will do. */
void xtr_notes_pending(struct xtr_mapcache *cache, const struct xtr_setloc *loc)
{
    uint32_t slot = loc->set->network;
    const struct xtr_net *net = cache->nets[slot];
    if (!loc->is_pending || !net || net->is_closed)
        return;
    for (uint32_t i = 0; i < xtr_table_slots(&net->table); i++) {
        const struct xtr_record *record = xtr_table_at(&net->table, i);
        if (!(record->flags & XTR_RECORD_USED) || record->set != loc->set->id)
            continue;
        xtr_notes_port(cache, slot, i);
        xtr_notes_hiding(cache, slot, i);
    }
}

void xtr_notes_eids(struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct xtr_key key = {.kind = XTR_KEY_EID, .eid = eids[i]};
        if (xtr_eid_is_entry(&eids[i]))
            xtr_queue_push_key(&cache->queue, slot, &key);
    }
}

void xtr_notes_locals(struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eids,
                      size_t n, const char *device, uint16_t vlan)
{
    for (size_t i = 0; i < n; i++) {
        struct xtr_key key = {
            .kind = device ? XTR_KEY_LOCAL : XTR_KEY_EID, .eid = eids[i], .vlan = vlan};
        if (!xtr_eid_is_entry(&eids[i]))
            continue;
        if (device)
            memcpy(key.device, device, sizeof key.device);
        xtr_queue_push_key(front_queue(cache, slot), slot, &key);
    }
}

void xtr_notes_device(struct xtr_mapcache *cache, uint32_t slot, const char *device, uint16_t vlan)
{
    struct xtr_key key = {.kind = XTR_KEY_DEVICE, .vlan = vlan};
    memcpy(key.device, device, sizeof key.device);
    xtr_queue_push_key(front_queue(cache, slot), slot, &key);
}

void xtr_notes_gone(struct xtr_mapcache *cache, enum xtr_key_kind kind, uint32_t id)
{
    struct xtr_key key = {.kind = kind, .id = id};
    xtr_queue_push_key(&cache->queue, 0, &key);
}

void xtr_notes_flood(struct xtr_mapcache *cache, uint32_t slot, const struct dp_target *target)
{
    struct xtr_key key = {.kind = XTR_KEY_FLOOD, .target = *target};
    xtr_queue_push_key(&cache->queue, slot, &key);
}

void xtr_notes_node_flood(struct xtr_mapcache *cache, uint32_t slot, const struct xtr_node *node,
                          uint32_t segmentation_id)
{
    if (!node->is_usable)
        return;
    struct dp_target target = xtr_node_target(node, segmentation_id, 1, cache->udp_port);
    xtr_notes_flood(cache, slot, &target);
}
