/* Children of this node's ports: they come and go by what the map lists in the parent's record,
 * which is in the feed of the parent's network; what a child's addresses are and whether the map
 * has it here is in its own record, in the feed of its own network, which is followed from then
 * on.  Each turn looks at what is known by then: no order of records matters.
 *
 * A parent that is refused or detached takes its children along; one of which the map has shown
 * no record yet keeps those of an earlier run. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "trunks.h"

/* The record of a local port, where the map-cache has it. */
static bool find_record(const struct xtr_agent *agent, const struct xtr_port *port,
                        struct xtr_cursor *room, struct em_port *ret_record)
{
    return port->network_id &&
           xtr_mapcache_find_port(agent->cache, port->network_id, &port->id, room, ret_record);
}

static bool is_listed(const struct xtr_agent *agent, const struct xtr_port *parent,
                      const struct xtr_port *child)
{
    size_t n;
    const struct em_child *list =
        xtr_mapcache_children(agent->cache, parent->network_id, &parent->id, &n);
    return xtr_trunks_lists(list, n, &child->id, child->vlan);
}

static bool is_parent(const struct xtr_port *port)
{
    return port && !xtr_port_is_child(port) && !port->is_refused;
}

static bool has_record(const struct xtr_agent *agent, const struct xtr_port *port)
{
    struct xtr_cursor room;
    struct em_port record;
    return port->has_record || find_record(agent, port, &room, &record);
}

static bool is_orphan(const struct xtr_agent *agent, const struct xtr_port *child)
{
    const struct xtr_port *parent = xtr_ports_find(&agent->ports, &child->parent);
    if (!is_parent(parent))
        return true;
    return has_record(agent, parent) && !is_listed(agent, parent, child);
}

/* The name is that of the map, or of an earlier run; NULL: not known yet. */
static const char *network_of(const struct xtr_agent *agent, const struct em_child *child,
                              const struct xtr_port *old)
{
    const struct em_network *network = xtr_mapcache_network_by_id(agent->cache, child->network_id);
    return network ? network->name : old ? old->network : NULL;
}

static void adopt_child(struct xtr_agent *agent, const struct xtr_port *parent,
                        const struct em_child *child)
{
    struct xtr_port *old = xtr_ports_find(&agent->ports, &child->id);
    const char *network = network_of(agent, child, old);
    bool is_changed;
    if (!network)
        return;
    if (old && !xtr_port_is_child(old)) {
        em_warn_limited("port %s is a child in the map and attached here by itself: detach it",
                        xtr_agent_id_text(&child->id));
        return;
    }
    struct xtr_wish wish = {.id = child->id,
                            .network = network,
                            .device = parent->device,
                            .eids = old ? old->eids : NULL,
                            .n_eids = old ? old->n_eids : 0,
                            .is_pending = parent->is_pending,
                            .source = XTR_SOURCE_TRUNK,
                            .parent = parent->id,
                            .vlan = child->tag};
    xtr_ports_attach(&agent->ports, &wish, em_now_us(), &is_changed);
    if (!is_changed)
        return;
    agent->is_trunk_due = true; /* its record may be there already */
    if (!old)
        em_info("port %s: a child behind tag %u of %s", xtr_agent_id_text(&child->id), child->tag,
                parent->device);
    xtr_agent_save_soon(agent);
}

static void adopt_children(struct xtr_agent *agent, const struct xtr_port *parent)
{
    size_t n;
    const struct em_child *list =
        xtr_mapcache_children(agent->cache, parent->network_id, &parent->id, &n);
    for (size_t i = 0; i < n; i++)
        adopt_child(agent, parent, &list[i]);
}

/* No names: they are for resolving, not for forwarding. */
static size_t copy_entries(const struct em_port *record, struct em_eid *ret_eids)
{
    size_t n = 0;
    for (size_t i = 0; i < record->n_eids && n < XTR_PORT_EIDS; i++)
        if (xtr_eid_is_entry(&record->eids[i]))
            ret_eids[n++] = record->eids[i];
    return n;
}

static void take_record(struct xtr_agent *agent, struct xtr_port *child,
                        const struct em_port *record)
{
    struct em_eid eids[XTR_PORT_EIDS];
    uint32_t change = child->change;
    bool is_changed;
    struct xtr_wish wish = {.id = child->id,
                            .network = child->network,
                            .device = child->device,
                            .eids = eids,
                            .n_eids = copy_entries(record, eids),
                            .is_pending = child->is_pending,
                            .source = XTR_SOURCE_TRUNK,
                            .parent = child->parent,
                            .vlan = child->vlan};
    xtr_ports_attach(&agent->ports, &wish, em_now_us(), &is_changed);
    xtr_port_child_seen(child, record, agent->config->node_id);
    if (is_changed || child->change != change)
        xtr_agent_save_soon(agent);
}

void xtr_agent_trunk_seen(struct xtr_agent *agent, struct xtr_port *port,
                          const struct em_port *record)
{
    port->has_record = agent->is_trunk_due = true;
    if (xtr_port_is_child(port))
        take_record(agent, port, record);
    else
        xtr_mapcache_set_children(agent->cache, port->network_id, record);
}

static void drop(struct xtr_agent *agent, struct xtr_port *child)
{
    struct em_port_id id = child->id;
    em_info("port %s: no child of a port here any more", xtr_agent_id_text(&id));
    xtr_agent_leave_plane(agent, child);
    xtr_ports_remove(&agent->ports, child);
    xtr_agent_tell(agent, &id, NULL);
    xtr_agent_save_soon(agent);
}

/* What an earlier run knew is no word of the map's. */
static void look_at_child(struct xtr_agent *agent, struct xtr_port *child)
{
    struct xtr_cursor room;
    struct em_port record;
    if (is_orphan(agent, child))
        drop(agent, child);
    else if (xtr_mapcache_is_complete(agent->cache, child->network_id) &&
             find_record(agent, child, &room, &record))
        take_record(agent, child, &record);
}

void xtr_agent_trunk_turn(struct xtr_agent *agent)
{
    if (!agent->is_trunk_due)
        return;
    agent->is_trunk_due = false;
    if (!agent->ports.n_children && !xtr_mapcache_has_children(agent->cache))
        return;
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (is_parent(port) && port->network_id)
            adopt_children(agent, port);
    }
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (port && xtr_port_is_child(port))
            look_at_child(agent, port);
    }
}

void xtr_agent_trunk_restore(struct xtr_agent *agent, const struct xtr_saved *saved)
{
    for (size_t i = 0; i < saved->n_ports; i++) {
        const struct xtr_saved_port *from = &saved->ports[i];
        bool is_changed;
        if (from->wish.source != XTR_SOURCE_TRUNK || !from->wish.vlan ||
            !is_parent(xtr_ports_find(&agent->ports, &from->wish.parent)) ||
            xtr_ports_find(&agent->ports, &from->wish.id))
            continue;
        struct xtr_port *port =
            xtr_ports_attach(&agent->ports, &from->wish, em_now_us(), &is_changed);
        xtr_port_restore(port, from->epoch);
    }
}
