/* Each turn of the loop moves a few batches, so that heartbeats and answers are never late
 * however much is queued.  What a stranger's entry blocks is counted and not tried again:
 * it stays until a person looks (mapctl xtr check --repair).  A network is: its VNI may be
 * that of another network of ours that is about to change, too.
 *
 * A put that is forgotten is made good by all that is queued again; a delete is not, since what it
 * is about is in the map-cache no more. */
#include "pump.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void xtr_pump_init(struct xtr_pump *pump, struct dataplane *plane, struct xtr_mapcache *cache,
                   struct xtr_ports *ports)
{
    *pump = (struct xtr_pump){.plane = plane, .cache = cache, .ports = ports};
}

void xtr_pump_fini(struct xtr_pump *pump)
{
    free(pump->failed);
    free(pump->refused);
}

static size_t find_refused(const struct xtr_pump *pump, uint32_t network_id)
{
    size_t i = 0;
    while (i < pump->n_refused && pump->refused[i] != network_id)
        i++;
    return i;
}

static bool is_refused(const struct xtr_pump *pump, uint32_t network_id)
{
    return find_refused(pump, network_id) < pump->n_refused;
}

/* Why a network cannot be made is more telling than that its device is missing then. */
static void tell_network(const struct xtr_pump *pump, const struct dp_op *op)
{
    for (uint32_t i = 0; i < pump->ports->n_items; i++) {
        struct xtr_port *port = xtr_ports_at(pump->ports, i);
        if (port && port->plane_network == op->network.id)
            xtr_port_failed(port, op->err);
    }
}

static bool is_of_device(const struct dp_op *op)
{
    return op->verb == DP_PORT_PUT || op->verb == DP_LOCAL_PUT;
}

/* The port put comes first: its success takes an old complaint back, and a local MAC that
 * then fails makes a new one; where the put has failed it has said why. */
static void tell_ports(const struct xtr_pump *pump, const struct dp_op *op)
{
    for (struct xtr_port *port = xtr_ports_on(pump->ports, op->device); port;
         port = xtr_ports_next_on(pump->ports, port)) {
        if (port->plane_network != op->network.id || port->vlan != op->vlan)
            continue;
        bool is_follower = op->err == -ENOENT || (op->err == -ENODEV && op->verb == DP_LOCAL_PUT);
        if (is_follower && port->device_err)
            continue;
        if (!op->err && port->device_err && is_refused(pump, op->network.id))
            xtr_port_stands(port);
        else if (op->verb == DP_PORT_PUT)
            xtr_port_plugged(port, op->err);
        else if (op->err)
            xtr_port_failed(port, op->err);
    }
}

/* Migration does without: no kernel learns it later. */
static bool is_hopeless(const struct dp_op *op)
{
    return op->verb == DP_COPY_PUT && op->err == -EOPNOTSUPP;
}

/* A network that comes after all brings with it what could not be put without it. */
static void note_network(struct xtr_pump *pump, const struct dp_op *op)
{
    size_t i = find_refused(pump, op->network.id);
    bool was_refused = i < pump->n_refused;
    if (!op->err == !was_refused)
        return;
    if (!op->err) {
        pump->refused[i] = pump->refused[--pump->n_refused];
        xtr_mapcache_repeat(pump->cache, op->network.id);
        return;
    }
    if (pump->n_refused == pump->refused_size) {
        pump->refused_size = pump->refused_size ? 2 * pump->refused_size : 8;
        pump->refused = em_realloc(pump->refused, pump->refused_size * sizeof *pump->refused);
    }
    pump->refused[pump->n_refused++] = op->network.id;
}

static bool is_delete(const struct dp_op *op)
{
    switch (op->verb) {
    case DP_NETWORK_DELETE:
    case DP_SET_DELETE:
    case DP_MAC_DELETE:
    case DP_NEIGHBOUR_DELETE:
    case DP_FLOOD_DELETE:
    case DP_PORT_DELETE:
    case DP_LOCAL_DELETE:
    case DP_COPY_DELETE:
        return true;
    case DP_NETWORK_PUT:
    case DP_SET_PUT:
    case DP_MAC_PUT:
    case DP_NEIGHBOUR_PUT:
    case DP_FLOOD_PUT:
    case DP_PORT_PUT:
    case DP_LOCAL_PUT:
    case DP_COPY_PUT:
        break;
    }
    return false;
}

static void remember(struct xtr_pump *pump, const struct dp_op *op)
{
    if (pump->n_failed >= XTR_PUMP_RETRIES && !is_delete(op)) {
        pump->has_overflow = true;
        return;
    }
    if (pump->n_failed == pump->failed_size) {
        pump->failed_size = pump->failed_size ? 2 * pump->failed_size : 8;
        pump->failed = em_realloc(pump->failed, pump->failed_size * sizeof *pump->failed);
    }
    pump->failed[pump->n_failed] = *op;
    pump->failed[pump->n_failed++].set.targets = NULL;
}

static void note_failure(struct xtr_pump *pump, const struct dp_op *op)
{
    bool waits_for_network = op->err == -ENOENT && is_refused(pump, op->network.id);
    if (is_hopeless(op) || waits_for_network)
        return;
    if (op->err == -EEXIST && op->verb != DP_NETWORK_PUT)
        pump->n_foreign++;
    else
        remember(pump, op);
}

/* Answers of a kernel that does not have the bridge, vxlan device or nexthop group that the
 * operation builds on.  A device that its owner has not made yet is no such thing. */
static bool is_shaken(const struct dp_op *op)
{
    if (op->verb == DP_NETWORK_PUT || is_hopeless(op) || (op->vlan && is_of_device(op)))
        return false;
    if (op->err == -ENODEV)
        return !is_of_device(op);
    return op->err == -EINVAL || op->err == -EOPNOTSUPP;
}

static void look_at(struct xtr_pump *pump, const struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].verb == DP_NETWORK_PUT)
            note_network(pump, &ops[i]);
        if (is_of_device(&ops[i]))
            tell_ports(pump, &ops[i]);
        else if (ops[i].err)
            note_failure(pump, &ops[i]);
        if (ops[i].err && ops[i].verb == DP_NETWORK_PUT)
            tell_network(pump, &ops[i]);
        pump->is_shaken |= is_shaken(&ops[i]);
    }
}

/* In the order in which they were started. */
static void finish(struct xtr_pump *pump)
{
    while (pump->n_flights) {
        struct xtr_pump_flight *flight = &pump->flights[pump->first];
        if (!dataplane_finish(pump->plane, flight->start, flight->ops, flight->n))
            return;
        look_at(pump, flight->ops, flight->n);
        xtr_mapcache_applied_to(pump->cache, flight->position);
        pump->first = (pump->first + 1) % XTR_PUMP_FLIGHTS;
        pump->n_flights--;
    }
}

static void start(struct xtr_pump *pump)
{
    struct xtr_pump_flight *flight =
        &pump->flights[(pump->first + pump->n_flights++) % XTR_PUMP_FLIGHTS];
    flight->n = xtr_mapcache_next_ops(pump->cache, flight->ops, XTR_OPS_MAX);
    flight->position = xtr_mapcache_taken(pump->cache);
    flight->start = flight->n ? dataplane_start(pump->plane, flight->ops, flight->n) : 0;
}

bool xtr_pump_turn(struct xtr_pump *pump, uint64_t budget_us)
{
    uint64_t begin = em_now_us();
    finish(pump);
    do {
        if (xtr_mapcache_taken(pump->cache) == xtr_mapcache_tail(pump->cache) ||
            pump->n_flights == XTR_PUMP_FLIGHTS)
            return false;
        start(pump);
        finish(pump);
    } while (em_now_us() - begin < budget_us);
    return true;
}

void xtr_pump_retry(struct xtr_pump *pump)
{
    if (pump->has_overflow)
        xtr_mapcache_retry_all(pump->cache);
    for (size_t i = 0; i < pump->n_failed; i++)
        if (!pump->has_overflow || is_delete(&pump->failed[i]))
            xtr_mapcache_retry(pump->cache, &pump->failed[i]);
    pump->has_overflow = false;
    pump->n_failed = 0;
    for (uint32_t i = 0; i < pump->ports->n_items; i++) {
        struct xtr_port *port = xtr_ports_at(pump->ports, i);
        if (port && port->device_err)
            xtr_mapcache_touch(pump->cache, &port->id);
    }
}

void xtr_pump_forgive(struct xtr_pump *pump)
{
    pump->n_foreign = 0;
    xtr_mapcache_retry_all(pump->cache);
}
