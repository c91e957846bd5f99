/* Each turn of the loop moves a few batches, so that heartbeats and answers are never late
 * however much is queued.  What a stranger's entry blocks is counted and not tried again:
 * it stays until a person looks (mapctl xtr check --repair).  A network is: its VNI may be
 * that of another network of ours that is about to change, too. */
#include "pump.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

void xtr_pump_init(struct xtr_pump *pump, struct dataplane *plane, struct xtr_mapcache *cache,
                   struct xtr_ports *ports)
{
    *pump = (struct xtr_pump){.plane = plane, .cache = cache, .ports = ports};
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
 * then fails makes a new one. */
static void tell_ports(const struct xtr_pump *pump, const struct dp_op *op)
{
    for (struct xtr_port *port = xtr_ports_on(pump->ports, op->device); port;
         port = xtr_ports_next_on(pump->ports, port)) {
        if (port->plane_network != op->network.id || port->vlan != op->vlan)
            continue;
        if (op->err == -ENOENT && port->device_err)
            continue;
        if (op->verb == DP_PORT_PUT)
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

static void note_failure(struct xtr_pump *pump, const struct dp_op *op)
{
    if (is_hopeless(op))
        return;
    if (op->err == -EEXIST && op->verb != DP_NETWORK_PUT) {
        pump->n_foreign++;
    } else if (pump->n_failed < XTR_PUMP_RETRIES) {
        pump->failed[pump->n_failed] = *op;
        pump->failed[pump->n_failed++].set.targets = NULL;
    } else {
        pump->has_overflow = true;
    }
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
    else
        for (size_t i = 0; i < pump->n_failed; i++)
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
