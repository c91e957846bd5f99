/* Few compared with the map's ports, so each is an object of its own; but found by address
 * for every entry that goes to the data plane, hence the index. */
#include "locals.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct wanted {
    uint32_t network;
    const struct em_eid *eid;
};

void xtr_locals_init(struct xtr_locals *locals)
{
    *locals = (struct xtr_locals){0};
    em_index_init(&locals->by_id);
    em_index_init(&locals->by_eid);
}

void xtr_local_free(struct xtr_local *local)
{
    if (local)
        free(local->eids);
    free(local);
}

void xtr_locals_fini(struct xtr_locals *locals)
{
    for (uint32_t i = 0; i < locals->n_items; i++)
        xtr_local_free(locals->items[i]);
    free(locals->items);
    em_index_fini(&locals->by_id);
    em_index_fini(&locals->by_eid);
}

static uint64_t id_hash(const struct em_port_id *id)
{
    return em_hash(id->bytes, id->size);
}

static uint64_t eid_hash(uint32_t network, const struct em_eid *eid)
{
    uint32_t head[2] = {network, (uint32_t)eid->kind};
    return em_hash_more(em_hash(head, sizeof head), eid->addr, eid->size);
}

static bool is_entry(const struct em_eid *eid)
{
    return eid->kind == EM_EID_MAC || eid->kind == EM_EID_IPV4 || eid->kind == EM_EID_IPV6;
}

/* Is the port found by this address? */
static bool is_indexed(const struct xtr_local *local, const struct em_eid *eid)
{
    return is_entry(eid) && !local->is_pending;
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_locals *locals = aux;
    const struct em_port_id *a = &locals->items[slot]->id, *b = key;
    return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

static bool has_eid(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_local *local = ((const struct xtr_locals *)aux)->items[slot];
    const struct wanted *wanted = key;
    if (local->network != wanted->network)
        return false;
    for (size_t i = 0; i < local->n_eids; i++)
        if (!em_eid_compare(&local->eids[i], wanted->eid))
            return true;
    return false;
}

static uint32_t free_slot(struct xtr_locals *locals)
{
    if (locals->n_used < locals->n_items)
        for (uint32_t i = 0; i < locals->n_items; i++)
            if (!locals->items[i])
                return i;
    uint32_t old = locals->n_items;
    locals->n_items = old ? old * 2 : 16;
    locals->items = em_realloc(locals->items, locals->n_items * sizeof(struct xtr_local *));
    memset(locals->items + old, 0, (locals->n_items - old) * sizeof(struct xtr_local *));
    return old;
}

void xtr_locals_add(struct xtr_locals *locals, const struct xtr_local *local)
{
    assert(!xtr_locals_find(locals, &local->id));
    struct xtr_local *copy = em_memdup(local, sizeof *local);
    copy->eids = em_memdup(local->eids, local->n_eids * sizeof *local->eids);
    uint32_t slot = free_slot(locals);
    locals->items[slot] = copy;
    locals->n_used++;
    em_index_insert(&locals->by_id, id_hash(&copy->id), slot);
    for (size_t i = 0; i < copy->n_eids; i++)
        if (is_indexed(copy, &copy->eids[i]))
            em_index_insert(&locals->by_eid, eid_hash(copy->network, &copy->eids[i]), slot);
}

struct xtr_local *xtr_locals_take(struct xtr_locals *locals, const struct em_port_id *id)
{
    uint32_t slot = em_index_find(&locals->by_id, id_hash(id), has_id, locals, id);
    if (slot == EM_INDEX_NONE)
        return NULL;
    struct xtr_local *local = locals->items[slot];
    em_index_remove(&locals->by_id, id_hash(id), slot);
    for (size_t i = 0; i < local->n_eids; i++)
        if (is_indexed(local, &local->eids[i]))
            em_index_remove(&locals->by_eid, eid_hash(local->network, &local->eids[i]), slot);
    locals->items[slot] = NULL;
    locals->n_used--;
    return local;
}

const struct xtr_local *xtr_locals_find(const struct xtr_locals *locals,
                                        const struct em_port_id *id)
{
    uint32_t slot = em_index_find(&locals->by_id, id_hash(id), has_id, locals, id);
    return slot == EM_INDEX_NONE ? NULL : locals->items[slot];
}

struct xtr_local *xtr_locals_owner(const struct xtr_locals *locals, uint32_t network,
                                   const struct em_eid *eid)
{
    struct wanted wanted = {network, eid};
    uint32_t slot =
        em_index_find(&locals->by_eid, eid_hash(network, eid), has_eid, locals, &wanted);
    return slot == EM_INDEX_NONE ? NULL : locals->items[slot];
}

static bool is_on_device(const struct xtr_local *local, uint32_t network, const char *device,
                         uint16_t vlan)
{
    return local && local->network == network && local->vlan == vlan &&
           !strcmp(local->device, device);
}

bool xtr_locals_has_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                           uint16_t vlan)
{
    for (uint32_t i = 0; i < locals->n_items; i++)
        if (is_on_device(locals->items[i], network, device, vlan))
            return true;
    return false;
}

bool xtr_locals_owns_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                            uint16_t vlan)
{
    for (uint32_t i = 0; i < locals->n_items; i++)
        if (is_on_device(locals->items[i], network, device, vlan) && !locals->items[i]->is_borrowed)
            return true;
    return false;
}
