/* Ports as they come and go: by the control socket, the configuration, and what an earlier run
 * has saved.  Here they are only noted; the next turn does the rest. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "static.h"

#include <errno.h>
#include <string.h>

/* Whoever attaches it once more may have made its device anew. */
static void look_again(struct xtr_agent *agent, struct xtr_port *port)
{
    if (!port->plane_network)
        return;
    xtr_mapcache_touch(agent->cache, &port->id);
    xtr_port_replugged(port);
    port->attached_us = em_now_us();
    port->attach_us = 0;
    xtr_agent_kick(agent);
}

int xtr_agent_attach(struct xtr_agent *agent, const struct xtr_wish *wish,
                     const struct xtr_port **ret_port, char *why)
{
    int r = xtr_ports_check(&agent->ports, wish, why);
    if ((!r || r == -EBUSY) && xtr_agent_watch_yield(agent, wish))
        r = xtr_ports_check(&agent->ports, wish, why);
    if (r)
        return r;
    bool is_changed;
    struct xtr_port *port = xtr_ports_attach(&agent->ports, wish, em_now_us(), &is_changed);
    if (is_changed) {
        agent->is_trunk_due = true;
        xtr_agent_save_soon(agent);
        xtr_agent_kick(agent);
    } else if (wish->source == XTR_SOURCE_SOCKET) {
        look_again(agent, port);
    }
    *ret_port = port;
    return 0;
}

static void detach(struct xtr_agent *agent, struct xtr_port *port)
{
    struct em_port_id id = port->id;
    xtr_agent_leave_plane(agent, port);
    /* What a refused one was before it changed may be on the map still. */
    uint64_t held = port->is_acked || port->is_refused ? port->epoch : 0;
    if (!port->is_refused || held)
        xtr_registrar_withdraw(&agent->registrar, &id, held);
    em_info("port %s: detached", xtr_agent_id_text(&id));
    xtr_ports_remove(&agent->ports, port);
    xtr_agent_tell(agent, &id, NULL);
    agent->is_trunk_due = true;
    xtr_agent_save_soon(agent);
    xtr_agent_kick(agent);
}

int xtr_agent_detach(struct xtr_agent *agent, const struct em_port_id *id)
{
    struct xtr_port *port = xtr_ports_find(&agent->ports, id);
    if (!port)
        return EM_E_NOT_FOUND;
    if (xtr_port_is_child(port))
        return EM_E_IN_USE;
    detach(agent, port);
    return 0;
}

bool xtr_agent_is_withdrawn(const struct xtr_agent *agent, const struct em_port_id *id)
{
    return xtr_registrar_is_withdrawn(&agent->registrar, id);
}

static uint64_t saved_epoch(const struct xtr_saved *saved, const struct em_port_id *id)
{
    for (size_t i = 0; saved && i < saved->n_ports; i++)
        if (em_port_id_equal(&saved->ports[i].wish.id, id))
            return saved->ports[i].epoch;
    return 0;
}

static bool is_configured(const struct xtr_config *config, const struct em_port_id *id)
{
    for (size_t i = 0; i < config->n_ports; i++) {
        struct em_port_id other;
        if (!em_port_id_parse(config->ports[i].id, &other, NULL) && em_port_id_equal(&other, id))
            return true;
    }
    return false;
}

static int attach_configured(struct xtr_agent *agent, const struct xtr_config_port *configured,
                             const struct xtr_saved *saved, char *why)
{
    struct em_eid eids[XTR_PORT_EIDS];
    struct xtr_wish wish;
    const struct xtr_port *port;
    int r = xtr_static_wish(configured, eids, &wish, why);
    if (r)
        return r;
    struct xtr_port *old = xtr_ports_find(&agent->ports, &wish.id);
    if (old && xtr_port_is_as_wished(old, &wish))
        return 0; /* reading a file again is no evidence that a port came back */
    r = xtr_agent_attach(agent, &wish, &port, why);
    uint64_t epoch = r ? 0 : saved_epoch(saved, &wish.id);
    if (epoch)
        xtr_port_restore(xtr_ports_find(&agent->ports, &wish.id), epoch);
    return r;
}

/* An address may pass from one port to another that is read first: hence the second look. */
void xtr_agent_attach_configured(struct xtr_agent *agent, const struct xtr_config *config,
                                 const struct xtr_saved *saved)
{
    bool is_second = false, is_any_busy;
    do {
        is_any_busy = false;
        for (size_t i = 0; i < config->n_ports; i++) {
            char why[EM_ADDR_WHY] = "";
            int r = attach_configured(agent, &config->ports[i], saved, why);
            is_any_busy |= r == -EBUSY;
            if (r && (is_second || r != -EBUSY))
                em_error("ports[%zu] of the configuration: %s", i, why[0] ? why : em_strerror(r));
        }
        is_second = !is_second;
    } while (is_second && is_any_busy);
}

void xtr_agent_restore_attached(struct xtr_agent *agent, const struct xtr_saved *saved)
{
    for (size_t i = 0; i < saved->n_ports; i++) {
        const struct xtr_saved_port *from = &saved->ports[i];
        const struct xtr_port *port;
        char why[EM_ADDR_WHY];
        if (from->wish.source == XTR_SOURCE_CONFIG || from->wish.source == XTR_SOURCE_TRUNK ||
            is_configured(agent->config, &from->wish.id))
            continue;
        if (from->wish.source == XTR_SOURCE_WATCH && !xtr_agent_watch_restore(agent, &from->wish))
            continue;
        if (from->wish.source == XTR_SOURCE_OVS && !xtr_agent_ovs_restore(agent))
            continue;
        if (xtr_agent_attach(agent, &from->wish, &port, why)) {
            em_error("port %s of an earlier run: %s", xtr_agent_id_text(&from->wish.id), why);
            continue;
        }
        xtr_port_restore(xtr_ports_find(&agent->ports, &from->wish.id), from->epoch);
        xtr_agent_watch_restored(agent, port);
        xtr_agent_ovs_restored(agent, port);
    }
}

void xtr_agent_reload(struct xtr_agent *agent, const struct xtr_config *config)
{
    for (uint32_t i = 0; i < agent->ports.n_items; i++) {
        struct xtr_port *port = xtr_ports_at(&agent->ports, i);
        if (port && port->source == XTR_SOURCE_CONFIG && !is_configured(config, &port->id))
            detach(agent, port);
    }
    xtr_agent_attach_configured(agent, config, NULL);
    xtr_ports_wake(&agent->ports);
}
