#include "ports.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void xtr_ports_init(struct xtr_ports *ports)
{
    *ports = (struct xtr_ports){0};
    em_index_init(&ports->by_id);
    em_index_init(&ports->by_eid);
    xtr_groups_init(&ports->by_device);
    em_list_init(&ports->awake);
}

void xtr_port_wake(struct xtr_port *port)
{
    port->is_looked_at = false;
    if (em_list_is_empty(&port->awake))
        em_list_append(&port->ports->awake, &port->awake);
}

void xtr_ports_wake(struct xtr_ports *ports)
{
    for (uint32_t i = 0; i < ports->n_items; i++)
        if (ports->items[i])
            xtr_port_wake(ports->items[i]);
}

/* What one that is being installed waits for are no facts of its own. */
void xtr_ports_rest(struct xtr_ports *ports)
{
    XTR_FOREACH_AWAKE (port, ports)
        if (port->is_looked_at && !port->is_due && port->phase != XTR_INSTALLING)
            em_list_remove(&port->awake);
}

static void port_free(struct xtr_port *port)
{
    if (!port)
        return;
    em_list_remove(&port->awake);
    free(port->network);
    free(port->eids);
    free(port->problem);
    free(port->packed);
    free(port);
}

void xtr_ports_fini(struct xtr_ports *ports)
{
    for (uint32_t i = 0; i < ports->n_items; i++)
        port_free(ports->items[i]);
    free(ports->items);
    em_index_fini(&ports->by_id);
    em_index_fini(&ports->by_eid);
    xtr_groups_fini(&ports->by_device);
}

static bool has_id(const void *aux, uint32_t slot, const void *key)
{
    return em_port_id_equal(&((const struct xtr_ports *)aux)->items[slot]->id, key);
}

static uint32_t find_slot(const struct xtr_ports *ports, const struct em_port_id *id)
{
    return em_index_find(&ports->by_id, em_hash(id->bytes, id->size), has_id, ports, id);
}

static struct xtr_port *at_or_null(const struct xtr_ports *ports, uint32_t slot)
{
    return slot == EM_INDEX_NONE ? NULL : ports->items[slot];
}

struct xtr_port *xtr_ports_find(const struct xtr_ports *ports, const struct em_port_id *id)
{
    return at_or_null(ports, find_slot(ports, id));
}

static uint32_t free_slot(struct xtr_ports *ports)
{
    while (ports->n_full < ports->n_items && ports->items[ports->n_full])
        ports->n_full++;
    if (ports->n_full < ports->n_items)
        return ports->n_full;
    uint32_t old = ports->n_items;
    ports->n_items = old ? old * 2 : 16;
    ports->items = em_realloc(ports->items, ports->n_items * sizeof(struct xtr_port *));
    memset(ports->items + old, 0, (ports->n_items - old) * sizeof(struct xtr_port *));
    return old;
}

static struct xtr_port *port_add(struct xtr_ports *ports, const struct em_port_id *id)
{
    struct xtr_port *port = em_calloc(1, sizeof *port);
    port->id = *id;
    port->ports = ports;
    em_list_init(&port->awake);
    port->phase = XTR_WAITING;
    port->problem = em_strdup("");
    port->slot = free_slot(ports);
    ports->items[port->slot] = port;
    ports->n_used++;
    em_index_insert(&ports->by_id, em_hash(id->bytes, id->size), port->slot);
    return port;
}

/* What a port has, and who has it */

struct held {
    const char *network;
    const struct em_eid *eid;
    const struct xtr_port *except;
};

static uint64_t eid_hash(const struct held *held)
{
    uint64_t network = em_hash(held->network, strlen(held->network));
    return em_hash_more(network ^ held->eid->kind, held->eid->addr, sizeof held->eid->addr);
}

static bool is_holder(const void *aux, uint32_t slot, const void *key)
{
    const struct xtr_port *port = ((const struct xtr_ports *)aux)->items[slot];
    const struct held *held = key;
    if (port == held->except || strcmp(port->network, held->network) != 0)
        return false;
    for (size_t i = 0; i < port->n_eids; i++)
        if (!em_eid_compare(&port->eids[i], held->eid))
            return true;
    return false;
}

static bool is_on(const void *aux, uint32_t slot, const void *key)
{
    return !strcmp(((const struct xtr_ports *)aux)->items[slot]->device, key);
}

static void enter(struct xtr_ports *ports, const struct xtr_port *port)
{
    for (size_t i = 0; i < port->n_eids; i++)
        em_index_insert(&ports->by_eid,
                        eid_hash(&(struct held){port->network, &port->eids[i], NULL}), port->slot);
    xtr_groups_add(&ports->by_device, em_hash(port->device, strlen(port->device)), is_on, ports,
                   port->device, port->slot);
}

static void leave(struct xtr_ports *ports, const struct xtr_port *port)
{
    for (size_t i = 0; i < port->n_eids; i++)
        em_index_remove(&ports->by_eid,
                        eid_hash(&(struct held){port->network, &port->eids[i], NULL}), port->slot);
    xtr_groups_remove(&ports->by_device, em_hash(port->device, strlen(port->device)), port->slot);
}

struct xtr_port *xtr_ports_holder(const struct xtr_ports *ports, const char *network,
                                  const struct em_eid *eid, const struct xtr_port *except)
{
    struct held held = {network, eid, except};
    return at_or_null(ports,
                      em_index_find(&ports->by_eid, eid_hash(&held), is_holder, ports, &held));
}

static uint32_t first_on(const struct xtr_ports *ports, const char *device)
{
    return xtr_groups_find(&ports->by_device, em_hash(device, strlen(device)), is_on, ports,
                           device);
}

struct xtr_port *xtr_ports_on(const struct xtr_ports *ports, const char *device)
{
    return at_or_null(ports, first_on(ports, device));
}

struct xtr_port *xtr_ports_next_on(const struct xtr_ports *ports, const struct xtr_port *port)
{
    return at_or_null(
        ports, xtr_groups_next(&ports->by_device, port->slot, first_on(ports, port->device)));
}

void xtr_ports_remove(struct xtr_ports *ports, struct xtr_port *port)
{
    uint32_t slot = find_slot(ports, &port->id);
    assert(slot != EM_INDEX_NONE && ports->items[slot] == port);
    em_index_remove(&ports->by_id, em_hash(port->id.bytes, port->id.size), slot);
    leave(ports, port);
    ports->items[slot] = NULL;
    ports->n_used--;
    ports->n_children -= xtr_port_is_child(port);
    if (slot < ports->n_full)
        ports->n_full = slot;
    port_free(port);
}

/* Wishes */

static void take_wish(struct xtr_ports *ports, struct xtr_port *port, const struct xtr_wish *wish)
{
    char *network = em_strdup(wish->network); /* what is wished may be what is there */
    struct em_eid *eids = em_memdup(wish->eids, wish->n_eids * sizeof *wish->eids);
    char device[IFNAMSIZ] = "";
    memcpy(device, wish->device, strlen(wish->device));
    if (port->network && strcmp(port->network, wish->network))
        port->network_id = 0;
    if (port->network)
        leave(ports, port);
    free(port->network);
    free(port->eids);
    port->network = network;
    port->eids = eids;
    port->n_eids = wish->n_eids;
    memcpy(port->device, device, sizeof port->device);
    port->priority = wish->priority;
    port->weight = wish->weight;
    port->is_multihomed = wish->is_multihomed;
    port->is_pending = wish->is_pending;
    port->parent = wish->parent;
    port->vlan = wish->vlan;
    port->has_record = false;
    port->version++;
    enter(ports, port);
}

struct xtr_port *xtr_ports_attach(struct xtr_ports *ports, const struct xtr_wish *wish,
                                  uint64_t now_us, bool *ret_is_changed)
{
    struct xtr_port *port = xtr_ports_find(ports, &wish->id);
    bool is_same = port && xtr_port_is_as_wished(port, wish) &&
                   (port->source == XTR_SOURCE_WATCH) == (wish->source == XTR_SOURCE_WATCH);
    *ret_is_changed = !is_same || port->is_refused;
    if (!port)
        port = port_add(ports, &wish->id);
    xtr_port_forget_packed(port);
    ports->n_children -= xtr_port_is_child(port);
    port->source = wish->source;
    ports->n_children += xtr_port_is_child(port);
    if (!*ret_is_changed)
        return port;
    xtr_port_wake(port);
    take_wish(ports, port, wish);
    port->is_attach = port->is_due = !xtr_port_is_child(port);
    port->is_acked = port->is_refused = port->is_denied = false;
    port->change++;
    xtr_port_unplugged(port);
    port->is_early = wish->is_early;
    port->attached_us = now_us;
    port->attach_us = 0;
    return port;
}

void xtr_ports_saving(struct xtr_ports *ports)
{
    for (uint32_t i = 0; i < ports->n_items; i++)
        if (ports->items[i])
            ports->items[i]->saving = ports->items[i]->change;
}

void xtr_ports_saved(struct xtr_ports *ports)
{
    for (uint32_t i = 0; i < ports->n_items; i++) {
        struct xtr_port *port = ports->items[i];
        if (!port || port->saved == port->saving)
            continue;
        port->saved = port->saving;
        xtr_port_wake(port);
    }
}
