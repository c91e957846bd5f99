/* Ports where they belong: in the map-cache, and so in the data plane, as long as their network is
 * there and the map does not refuse them; and what is concluded of each. */
#include "agent_misses.h"

#include "base/clock.h"
#include "base/log.h"

void xtr_agent_leave_plane(struct xtr_agent *agent, struct xtr_port *port)
{
    if (!port->plane_network)
        return;
    xtr_misses_detach(agent, port);
    xtr_mapcache_detach(agent->cache, &port->id);
    xtr_port_unplugged(port);
    port->plane_network = 0;
}

/* Somebody else has plugged its device, and will unplug it. */
static bool is_borrowed(const struct xtr_port *port)
{
    return port->source == XTR_SOURCE_WATCH || port->source == XTR_SOURCE_OVS;
}

static void enter_plane(struct xtr_agent *agent, struct xtr_port *port)
{
    if (port->plane_network == port->network_id && port->plane_version == port->version)
        return;
    if (port->plane_network != port->network_id)
        xtr_agent_leave_plane(agent, port);
    xtr_agent_open_network(agent, port->network_id,
                           xtr_config_segment(agent->config, port->network));
    if (port->vlan)
        xtr_mapcache_attach_child(agent->cache, &port->id, port->network_id, port->device,
                                  port->vlan, port->is_pending, port->eids, port->n_eids);
    else
        (port->is_pending    ? xtr_mapcache_attach_pending
         : is_borrowed(port) ? xtr_mapcache_attach_borrowed
                             : xtr_mapcache_attach)(agent->cache, &port->id, port->network_id,
                                                    port->device, port->eids, port->n_eids);
    xtr_misses_attach(agent, port);
    port->plane_network = port->network_id;
    port->plane_version = port->version;
}

static void place_port(struct xtr_agent *agent, struct xtr_port *port)
{
    const struct em_network *network = xtr_mapcache_network(agent->cache, port->network);
    uint32_t own = xtr_config_segment(agent->config, port->network);
    if (network)
        xtr_port_network(port, network->id, own ? own : network->segmentation_id);
    else
        xtr_port_network(port, 0, 0);
    port->is_kept = network && xtr_mapcache_keeps_network(agent->cache, network->id);
    if (network && !port->is_refused)
        enter_plane(agent, port);
    else
        xtr_agent_leave_plane(agent, port);
}

static void place_those(struct xtr_agent *agent, bool are_children)
{
    XTR_FOREACH_AWAKE (port, &agent->ports) {
        if (xtr_port_is_child(port) != are_children)
            continue;
        port->is_looked_at = true;
        place_port(agent, port);
    }
}

/* A device is plugged in by the parent of those behind it. */
void xtr_agent_place_ports(struct xtr_agent *agent)
{
    place_those(agent, false);
    place_those(agent, true);
    xtr_agent_mind_networks(agent);
    xtr_store_recalled(agent);
}

static void log_port(const struct xtr_port *port)
{
    if (port->phase == XTR_REFUSED)
        em_warn("port %s: refused: %s", xtr_agent_id_text(&port->id), port->problem);
    else if (port->phase == XTR_WAITING)
        em_info("port %s: waiting: %s", xtr_agent_id_text(&port->id), port->problem);
    else if (port->phase == XTR_PENDING)
        em_info("port %s: pending on %s until the guest is there", xtr_agent_id_text(&port->id),
                port->device);
    else if (port->phase == XTR_INSTALLED)
        em_info("port %s: installed on %s", xtr_agent_id_text(&port->id), port->device);
    else
        em_debug("port %s: %s", xtr_agent_id_text(&port->id), xtr_phase_name(port->phase));
}

void xtr_agent_tell(struct xtr_agent *agent, const struct em_port_id *id,
                    const struct xtr_port *port)
{
    EM_FOREACH (listener, &agent->listeners, struct xtr_listener, item)
        listener->on_port(listener->aux, id, port);
}

void xtr_agent_update_ports(struct xtr_agent *agent)
{
    struct xtr_facts facts = {
        .is_up = agent->registrar.session != XTR_SESSION_DOWN,
        .knows_map = xtr_mapcache_is_complete(agent->cache, 0),
        .done = xtr_mapcache_done(agent->cache),
        .tail = xtr_mapcache_tail(agent->cache),
        .save_err = agent->save_err,
        .now_us = em_now_us(),
    };
    XTR_FOREACH_AWAKE (port, &agent->ports) {
        facts.is_complete =
            port->plane_network && xtr_mapcache_is_complete(agent->cache, port->plane_network);
        if (!xtr_port_update(port, &facts))
            continue;
        agent->is_trunk_due = true;
        log_port(port);
        xtr_agent_tell(agent, &port->id, port);
        if (port->phase == XTR_REFUSED)
            xtr_agent_watch_refused(agent, port);
    }
}
