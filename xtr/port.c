/* The phase is a conclusion from facts, drawn anew after each event, so that no order of
 * events can leave a port behind; the table of edges says which conclusions may follow
 * each other, and an assert holds it up.
 *
 *   waiting ---> registering ---> installing ---> installed
 *      ^  \____________|_______________|               |
 *      |________________|_______________|_______________|   the device or network went
 *   refused <--- from everywhere: moved, conflict, denied; an attach leads out of it
 *   pending <--- from everywhere by an attach that says so; the guest's arrival leads out of it
 */
#include "port.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TO(phase) (1u << XTR_##phase)

/* Where a port may go from each phase. */
static const unsigned edges[] = {
    [XTR_WAITING] = TO(REGISTERING) | TO(INSTALLING) | TO(REFUSED) | TO(PENDING),
    [XTR_REGISTERING] = TO(WAITING) | TO(INSTALLING) | TO(REFUSED) | TO(PENDING),
    [XTR_INSTALLING] = TO(WAITING) | TO(REGISTERING) | TO(INSTALLED) | TO(REFUSED) | TO(PENDING),
    [XTR_INSTALLED] = TO(WAITING) | TO(REGISTERING) | TO(INSTALLING) | TO(REFUSED) | TO(PENDING),
    [XTR_REFUSED] = TO(WAITING) | TO(REGISTERING) | TO(PENDING),
    [XTR_PENDING] = TO(WAITING) | TO(REGISTERING) | TO(INSTALLING) | TO(REFUSED),
};

const char *xtr_phase_name(enum xtr_phase phase)
{
    switch (phase) {
    case XTR_WAITING:
        return "waiting";
    case XTR_REGISTERING:
        return "registering";
    case XTR_INSTALLING:
        return "installing";
    case XTR_INSTALLED:
        return "installed";
    case XTR_REFUSED:
        return "refused";
    case XTR_PENDING:
        return "pending";
    }
    return "unknown";
}

static const char *const source_names[] = {
    [XTR_SOURCE_CONFIG] = "config", [XTR_SOURCE_SOCKET] = "socket", [XTR_SOURCE_WATCH] = "watch",
    [XTR_SOURCE_OVS] = "ovs",       [XTR_SOURCE_TRUNK] = "trunk",
};

const char *xtr_source_name(enum xtr_source source)
{
    return source_names[source];
}

enum xtr_source xtr_source_parse(const char *name)
{
    for (size_t i = 0; i < sizeof source_names / sizeof source_names[0]; i++)
        if (!strcmp(source_names[i], name))
            return (enum xtr_source)i;
    return XTR_SOURCE_SOCKET;
}

/* Wishes, and what is saved */

bool xtr_port_is_as_wished(const struct xtr_port *port, const struct xtr_wish *wish)
{
    if (strcmp(port->network, wish->network) || strcmp(port->device, wish->device) ||
        port->n_eids != wish->n_eids || port->priority != wish->priority ||
        port->weight != wish->weight || port->is_multihomed != wish->is_multihomed ||
        port->vlan != wish->vlan || !em_port_id_equal(&port->parent, &wish->parent) ||
        (port->is_pending && !wish->is_pending))
        return false;
    for (size_t i = 0; i < wish->n_eids; i++)
        if (em_eid_compare(&port->eids[i], &wish->eids[i]))
            return false;
    return true;
}

void xtr_port_restore(struct xtr_port *port, uint64_t epoch)
{
    port->epoch = epoch;
    port->is_attach = !epoch;
    port->change++;
    xtr_port_wake(port);
}

/* The file may say something else from now on, even if nobody waits for that. */
void xtr_port_forget_packed(struct xtr_port *port)
{
    free(port->packed);
    port->packed = NULL;
}

/* Facts */

static void set_problem(struct xtr_port *port, const char *problem)
{
    char *old = port->problem;
    port->problem = em_strdup(problem);
    free(old);
}

void xtr_port_network(struct xtr_port *port, uint32_t network_id, uint32_t segmentation_id)
{
    if (port->network_id != network_id || port->segmentation_id != segmentation_id) {
        port->has_position = false;
        port->is_due = !xtr_port_is_child(port);
        xtr_port_wake(port);
    }
    port->network_id = network_id;
    port->segmentation_id = segmentation_id;
}

void xtr_port_failed(struct xtr_port *port, int err)
{
    assert(err);
    port->device_err = err;
    port->has_position = false;
    xtr_port_wake(port);
}

void xtr_port_plugged(struct xtr_port *port, int err)
{
    port->is_plugged = !err;
    if (err)
        xtr_port_failed(port, err);
    port->device_err = err;
    xtr_port_wake(port);
}

void xtr_port_stands(struct xtr_port *port)
{
    port->is_plugged = true;
    xtr_port_wake(port);
}

void xtr_port_unplugged(struct xtr_port *port)
{
    port->is_plugged = port->is_early = port->has_position = false;
    port->device_err = 0;
    xtr_port_wake(port);
}

void xtr_port_due(struct xtr_port *port)
{
    port->is_due = !port->is_refused;
    xtr_port_wake(port);
}

/* A re-registration that changes nothing asks for no new file. */
void xtr_port_acked(struct xtr_port *port, uint64_t epoch)
{
    if (port->epoch != epoch || port->is_attach)
        port->change++;
    port->epoch = epoch;
    port->is_acked = true;
    port->is_attach = port->is_due = false;
    xtr_port_wake(port);
}

void xtr_port_refuse(struct xtr_port *port, const char *why)
{
    port->is_refused = true;
    port->is_acked = port->is_due = port->has_position = false;
    set_problem(port, why);
    xtr_port_wake(port);
}

void xtr_port_deny(struct xtr_port *port, const char *why)
{
    xtr_port_refuse(port, why);
    port->is_denied = true;
}

void xtr_port_ask_again(struct xtr_port *port)
{
    if (!port->is_denied)
        return;
    port->is_denied = port->is_refused = port->is_attach = false;
    xtr_port_forget_packed(port);
    xtr_port_wake(port);
}

/* The map-cache takes it as a new version: the addresses are here from now on. */
void xtr_port_arrive(struct xtr_port *port, uint64_t now_us)
{
    assert(port->is_pending);
    port->is_pending = false;
    port->is_attach = port->is_due = true;
    port->version++;
    port->change++;
    port->attached_us = now_us;
    port->attach_us = 0;
    xtr_port_wake(port);
}

bool xtr_port_activated(struct xtr_port *port, const struct em_port *seen, const char *own_id,
                        uint64_t now_us)
{
    if (!port->is_pending || port->is_refused)
        return false;
    for (size_t i = 0; i < seen->n_locations; i++)
        if (!seen->locations[i].is_pending && !strcmp(seen->locations[i].node_id, own_id)) {
            xtr_port_arrive(port, now_us);
            port->is_attach = false;
            return true;
        }
    return false;
}

bool xtr_port_seen(struct xtr_port *port, const struct em_port *seen, const char *own_id)
{
    const struct em_location *newest = NULL;
    /* A claim that is under way decides for itself. */
    if (!port->is_acked || port->is_refused)
        return false;
    for (size_t i = 0; i < seen->n_locations; i++) {
        const struct em_location *l = &seen->locations[i];
        if (!strcmp(l->node_id, own_id) || em_location_is_any_local(l))
            return false;
        if (!l->is_pending && l->epoch > port->epoch && (!newest || l->epoch > newest->epoch))
            newest = l;
    }
    if (!newest)
        return false;
    char why[EM_ADDR_WHY];
    snprintf(why, sizeof why, "moved to %s", newest->node_id);
    xtr_port_refuse(port, why);
    return true;
}

void xtr_port_child_seen(struct xtr_port *port, const struct em_port *seen, const char *own_id)
{
    assert(xtr_port_is_child(port));
    port->is_acked = false;
    xtr_port_wake(port);
    for (size_t i = 0; i < seen->n_locations; i++) {
        const struct em_location *l = &seen->locations[i];
        if (l->is_pending || (strcmp(l->node_id, own_id) && !em_location_is_any_local(l)))
            continue;
        port->map_segment = l->segmentation_id;
        xtr_port_acked(port, l->epoch);
    }
}

/* Conclusions */

static void describe_device(const struct xtr_port *port, char *why)
{
    if (port->device_err == -EMSGSIZE)
        snprintf(why, EM_ADDR_WHY, "the mtu of network %s does not fit the underlay",
                 port->network);
    else if (port->device_err == -ENOENT)
        snprintf(why, EM_ADDR_WHY, "network %s cannot be made here; see the log", port->network);
    else if (port->device_err == -ENODEV)
        snprintf(why, EM_ADDR_WHY, "device %s does not exist", port->device);
    else if (port->device_err == -EOPNOTSUPP && port->vlan)
        snprintf(why, EM_ADDR_WHY,
                 "this data plane has no tagged ports: a child needs dataplane: ovs");
    else if (port->device_err == -EBUSY)
        snprintf(why, EM_ADDR_WHY, "device %s is in another bridge", port->device);
    else
        snprintf(why, EM_ADDR_WHY, "device %s: %s", port->device, em_strerror(port->device_err));
}

/* 'why' is the sentence for the phase. */
static enum xtr_phase conclude(const struct xtr_port *port, const struct xtr_facts *facts,
                               char *why)
{
    why[0] = 0;
    if (port->is_refused) {
        snprintf(why, EM_ADDR_WHY, "%s", port->problem);
        return XTR_REFUSED;
    }
    if (!port->network_id) {
        snprintf(why, EM_ADDR_WHY, "%s%s",
                 facts->knows_map ? "the map has no network " : "no map server reachable",
                 facts->knows_map ? port->network : "");
        return XTR_WAITING;
    }
    if (port->device_err) {
        describe_device(port, why);
        return XTR_WAITING;
    }
    if (port->is_pending)
        return port->is_plugged && port->saved == port->change ? XTR_PENDING : XTR_WAITING;
    if (!port->is_acked && !facts->is_up) {
        snprintf(why, EM_ADDR_WHY, "no map server reachable");
        return XTR_WAITING;
    }
    if (!port->is_acked && port->is_kept) {
        snprintf(why, EM_ADDR_WHY, "the map does not show network %s any more", port->network);
        return XTR_WAITING;
    }
    if (!port->is_acked)
        return XTR_REGISTERING;
    if (!port->has_position || facts->done < port->position || port->saved != port->change)
        return XTR_INSTALLING;
    if (facts->save_err)
        snprintf(why, EM_ADDR_WHY, "would be lost with a restart: it cannot be saved: %s",
                 em_strerror(facts->save_err));
    else if (xtr_port_is_child(port) && port->map_segment != port->segmentation_id)
        snprintf(why, EM_ADDR_WHY,
                 "others send to it on VNI %u, and this node receives network %s on %u",
                 port->map_segment, port->network, port->segmentation_id);
    return XTR_INSTALLED;
}

static void move(struct xtr_port *port, enum xtr_phase phase)
{
    bool is_edge = edges[port->phase] & 1u << phase;
    assert(is_edge);
    (void)is_edge;
    port->phase = phase;
}

void xtr_port_replugged(struct xtr_port *port)
{
    xtr_port_unplugged(port);
    if (port->phase == XTR_INSTALLED)
        move(port, XTR_INSTALLING);
    else if (port->phase == XTR_PENDING)
        move(port, XTR_WAITING);
}

bool xtr_port_update(struct xtr_port *port, const struct xtr_facts *facts)
{
    char why[EM_ADDR_WHY];
    enum xtr_phase before = port->phase;
    if (port->is_acked && !port->has_position && facts->is_complete && !port->device_err) {
        port->has_position = true;
        port->position = facts->tail;
    }
    enum xtr_phase phase = conclude(port, facts, why);
    if (before == XTR_REFUSED && (phase == XTR_INSTALLING || phase == XTR_INSTALLED))
        move(port, XTR_WAITING);
    if (phase == XTR_INSTALLED && before != XTR_INSTALLED && before != XTR_INSTALLING)
        move(port, XTR_INSTALLING);
    if (phase != port->phase)
        move(port, phase);
    if (phase == XTR_INSTALLED && !port->attach_us)
        port->attach_us = facts->now_us > port->attached_us ? facts->now_us - port->attached_us : 1;
    bool has_news = phase != before || strcmp(port->problem, why);
    if (strcmp(port->problem, why))
        set_problem(port, why);
    return has_news;
}
