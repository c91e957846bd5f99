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

struct device {
    uint32_t network;
    char name[IFNAMSIZ];
    uint16_t vlan;
};

void xtr_locals_init(struct xtr_locals *locals)
{
    *locals = (struct xtr_locals){0};
    em_index_init(&locals->by_id);
    em_index_init(&locals->by_eid);
    xtr_groups_init(&locals->by_device);
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
    xtr_groups_fini(&locals->by_device);
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

static struct device device_of(uint32_t network, const char *name, uint16_t vlan)
{
    struct device device = {.network = network, .vlan = vlan};
    memcpy(device.name, name, strlen(name));
    return device;
}

static uint64_t device_hash(const struct device *device)
{
    uint32_t head[2] = {device->network, device->vlan};
    return em_hash_more(em_hash(head, sizeof head), device->name, sizeof device->name);
}

static bool is_on_device(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_local *local = ((const struct xtr_locals *)aux)->items[slot];
    const struct device *device = key;
    return local->network == device->network && local->vlan == device->vlan &&
           !strcmp(local->device, device->name);
}

static uint32_t free_slot(struct xtr_locals *locals)
{
    while (locals->n_full < locals->n_items && locals->items[locals->n_full])
        locals->n_full++;
    if (locals->n_full < locals->n_items)
        return locals->n_full;
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
    struct device device = device_of(copy->network, copy->device, copy->vlan);
    uint32_t slot = free_slot(locals);
    locals->items[slot] = copy;
    locals->n_used++;
    em_index_insert(&locals->by_id, id_hash(&copy->id), slot);
    xtr_groups_add(&locals->by_device, device_hash(&device), is_on_device, locals, &device, slot);
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
    struct device device = device_of(local->network, local->device, local->vlan);
    em_index_remove(&locals->by_id, id_hash(id), slot);
    xtr_groups_remove(&locals->by_device, device_hash(&device), slot);
    for (size_t i = 0; i < local->n_eids; i++)
        if (is_indexed(local, &local->eids[i]))
            em_index_remove(&locals->by_eid, eid_hash(local->network, &local->eids[i]), slot);
    locals->items[slot] = NULL;
    locals->n_used--;
    if (slot < locals->n_full)
        locals->n_full = slot;
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

static uint32_t first_on(const struct xtr_locals *locals, uint32_t network, const char *name,
                         uint16_t vlan)
{
    struct device device = device_of(network, name, vlan);
    return xtr_groups_find(&locals->by_device, device_hash(&device), is_on_device, locals, &device);
}

bool xtr_locals_has_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                           uint16_t vlan)
{
    return first_on(locals, network, device, vlan) != EM_INDEX_NONE;
}

bool xtr_locals_owns_device(const struct xtr_locals *locals, uint32_t network, const char *device,
                            uint16_t vlan)
{
    uint32_t first = first_on(locals, network, device, vlan);
    for (uint32_t slot = first; slot != EM_INDEX_NONE;
         slot = xtr_groups_next(&locals->by_device, slot, first))
        if (!locals->items[slot]->is_borrowed)
            return true;
    return false;
}
