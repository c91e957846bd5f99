/* Ops, from the messages that are made for them to the switch's answers.
 *
 * A switch with thousands of ports takes a second over some hundred flow-mods, and nobody here
 * waits for it: a barrier ends the messages of each call, and its reply, or the loss of the
 * connection, the flight.  The shadow is what it will be when all flights have landed: what an op
 * is refused for is distrusted then, and sent again by the next put.
 *
 * Of such a switch it is the turns of its main loop that take the time: it takes 50 messages in
 * each, and if they change flows it makes a copy of what it knows of all ports.  In a bundle only
 * the commit changes any.  Nothing of a bundle stands if a part of it is refused: its ops are to be
 * tried again, a check is due, and for a while there are no bundles, so that each op gets what is
 * its own. */
#include "ovs.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

#define MANY_OPS   32    /* are worth a bundle, ... */
#define MANY_PORTS 200   /* ... where the bridge has so many */
#define PLAIN_MS   60000 /* without bundles after one was refused */

static int do_op(struct dp *dp, const struct dp_op *op)
{
    switch (op->verb) {
    case DP_NETWORK_PUT:
        return ovs_network_put(dp, &op->network);
    case DP_NETWORK_DELETE:
        return ovs_network_delete(dp, op->network.id);
    case DP_SET_PUT:
        return ovs_set_put(dp, &op->set);
    case DP_SET_DELETE:
        return ovs_set_delete(dp, op->set.id);
    case DP_MAC_PUT:
        return ovs_mac_put(dp, op);
    case DP_MAC_DELETE:
        return ovs_mac_delete(dp, op);
    case DP_NEIGHBOUR_PUT:
        return ovs_neigh_put(dp, op);
    case DP_NEIGHBOUR_DELETE:
        return ovs_neigh_delete(dp, op);
    case DP_FLOOD_PUT:
        return ovs_flood_put(dp, op);
    case DP_FLOOD_DELETE:
        return ovs_flood_delete(dp, op);
    case DP_PORT_PUT:
        return ovs_port_put(dp, op);
    case DP_PORT_DELETE:
        return ovs_port_delete(dp, op->network.id, op->device, op->vlan);
    case DP_LOCAL_PUT:
        return ovs_local_put(dp, op);
    case DP_LOCAL_DELETE:
        return ovs_local_delete(dp, op);
    case DP_COPY_PUT:
        return ovs_copy_put(dp, op);
    case DP_COPY_DELETE:
        return ovs_copy_delete(dp, op);
    }
    return -EINVAL;
}

/* ---- whose message it is */

uint32_t ovs_xid(struct dp *dp)
{
    struct ovs_flight *flight = dp->filling;
    uint32_t xid = of_xid(dp->conn);

    if (!flight)
        return xid;
    if (flight->n_senders == 0)
        flight->first_xid = xid;
    size_t i = xid - flight->first_xid;
    if (i >= flight->max_senders) {
        flight->max_senders = i + i / 2 + 64;
        flight->senders =
            em_realloc(flight->senders, flight->max_senders * sizeof *flight->senders);
    }
    while (flight->n_senders <= i)
        flight->senders[flight->n_senders++] = dp->at;
    return xid;
}

static struct ovs_flight *flight_at(const struct dp *dp, uint64_t i)
{
    return (struct ovs_flight *)&dp->flights[i % OVS_FLIGHTS];
}

static struct ovs_flight *find_flight(const struct dp *dp, uint32_t xid)
{
    for (uint64_t k = dp->n_done; k < dp->n_started; k++)
        if (xid - flight_at(dp, k)->first_xid < flight_at(dp, k)->n_senders)
            return flight_at(dp, k);
    return NULL;
}

bool ovs_flight_refused(struct dp *dp, uint32_t xid, int err)
{
    struct ovs_flight *flight = find_flight(dp, xid);

    if (!flight)
        return false;
    uint32_t i = flight->senders[xid - flight->first_xid];
    if (i < flight->n && !flight->ops[i].err)
        flight->ops[i].err = err;
    if (flight->is_bundled)
        dp->plain_ms = em_now_ms() + PLAIN_MS;
    flight->is_broken = flight->is_bundled;
    return i < flight->n || flight->is_bundled;
}

/* ---- the end */

/* The list of places to flood to went with it.  Without its device a port is put again and again,
 * and nothing is sent. */
static bool is_about_places(const struct dp_op *op)
{
    return op->verb == DP_NETWORK_PUT || op->verb == DP_FLOOD_PUT || op->verb == DP_FLOOD_DELETE ||
           (op->verb == DP_PORT_PUT && op->err != -ENODEV) || op->verb == DP_PORT_DELETE;
}

/* What the switch has refused, or may not have got, the next put has to send; what was to be
 * removed is for a check. */
static void distrust(struct dp *dp, const struct dp_op *op)
{
    struct dp_neigh_ref ref = {0};
    struct dp_mac_rec *mac = NULL;
    struct ovs_set_rec *set = NULL;
    struct ovs_port_rec *port = NULL;
    struct ovs_network_rec *network = ovs_network(dp, op->network.id);

    if (op->verb == DP_MAC_PUT || op->verb == DP_LOCAL_PUT)
        mac = ovs_mac(dp, op->network.id, op->mac);
    else if (op->verb == DP_NEIGHBOUR_PUT)
        ref = ovs_neigh(dp, op->network.id, &op->ip);
    else if (op->verb == DP_SET_PUT)
        set = dp_table_find(&dp->sets, &op->set.id);
    else if (op->verb == DP_PORT_PUT)
        port = ovs_port(dp, op->network.id, op->device, op->vlan);
    else if (op->verb == DP_NETWORK_PUT && network)
        network->flags |= DP_DIRTY;
    if (network && is_about_places(op))
        network->is_behind = true;
    if (port)
        port->flags |= DP_DIRTY;
    if (mac)
        mac->flags |= DP_DIRTY;
    if (ref.record)
        *ref.flags |= DP_DIRTY;
    if (set)
        set->is_unsure = true;
}

/* Would the one have found what the other has asked for? */
static bool is_alike(const struct dp_op *a, const struct dp_op *b)
{
    if (a->verb != b->verb || a->network.id != b->network.id)
        return false;
    switch (a->verb) {
    case DP_NETWORK_PUT:
        return true;
    case DP_SET_PUT:
        return a->set.id == b->set.id;
    case DP_PORT_PUT:
        return a->vlan == b->vlan && strcmp(a->device, b->device) == 0;
    case DP_MAC_PUT:
    case DP_LOCAL_PUT:
    case DP_COPY_PUT:
        return memcmp(a->mac, b->mac, EM_MAC_SIZE) == 0;
    case DP_NEIGHBOUR_PUT:
        return em_ip_equal(&a->ip, &b->ip);
    default:
        return false;
    }
}

/* A later put of the same, in the flight that lands or one behind it, was no news to the shadow,
 * and has sent nothing. */
static void pass_on(struct dp *dp, const struct dp_op *failed)
{
    for (uint64_t k = dp->n_done - 1; k < dp->n_started; k++) {
        const struct ovs_flight *flight = flight_at(dp, k);
        for (size_t i = 0; i < flight->n; i++)
            if (!flight->ops[i].err && is_alike(failed, &flight->ops[i]))
                flight->ops[i].err = failed->err;
    }
}

/* Of a bundle that is refused nothing stands. */
static void break_bundle(const struct ovs_flight *flight)
{
    for (size_t i = 0; i < flight->n_senders; i++) {
        uint32_t at = flight->senders[i];
        if (at < flight->n && !flight->ops[at].err)
            flight->ops[at].err = -ENOBUFS;
    }
}

static void land(struct dp *dp)
{
    const struct ovs_flight *flight = flight_at(dp, dp->n_done++);

    if (flight->is_broken)
        break_bundle(flight);
    for (size_t i = 0; i < flight->n; i++)
        if (flight->ops[i].err) {
            distrust(dp, &flight->ops[i]);
            pass_on(dp, &flight->ops[i]);
        }
    if (!dp->is_serving)
        ovs_alert(dp);
}

void ovs_flight_landed(struct dp *dp, uint32_t barrier)
{
    for (uint64_t k = dp->n_done; k < dp->n_started; k++)
        if (flight_at(dp, k)->barrier == barrier)
            while (dp->n_done <= k)
                land(dp);
}

void ovs_flights_fail(struct dp *dp)
{
    for (; dp->n_done < dp->n_started; land(dp)) {
        const struct ovs_flight *flight = flight_at(dp, dp->n_done);
        for (size_t i = 0; i < flight->n; i++)
            flight->ops[i].err = flight->ops[i].err ? flight->ops[i].err : -ENOBUFS;
    }
    dp->bundle_id = 0;
}

bool ovs_flights_are_overdue(struct dp *dp)
{
    return dp->n_done < dp->n_started && of_is_overdue(dp->conn);
}

static void await(struct dp *dp, uint64_t n)
{
    if (dp->n_done < n && of_wait(dp->conn, flight_at(dp, n - 1)->barrier))
        ovs_flights_fail(dp);
}

void ovs_flights_land(struct dp *dp)
{
    await(dp, dp->n_started);
}

/* ---- the beginning */

static struct ovs_flight *begin(struct dp *dp, struct dp_op *ops, size_t n)
{
    if (dp->n_started - dp->n_done == OVS_FLIGHTS)
        await(dp, dp->n_done + 1);
    struct ovs_flight *flight = flight_at(dp, dp->n_started);
    flight->ops = ops;
    flight->n = n;
    flight->n_senders = 0;
    flight->barrier = 0;
    flight->is_bundled = flight->is_broken = false;
    if (dp->n_done == dp->n_started && dp->conn)
        of_expect(dp->conn);
    return flight;
}

/* Ops that were no news to the switch: there is nothing to wait for. */
static bool is_empty(const struct dp *dp, const struct ovs_flight *flight)
{
    return flight->n_senders == 0 && dp->n_done + 1 == dp->n_started && !dp->checks &&
           em_buf_size(of_out(dp->conn)) == 0;
}

static void send_off(struct dp *dp, struct ovs_flight *flight)
{
    if (is_empty(dp, flight)) {
        land(dp);
        return;
    }
    flight->barrier = of_xid(dp->conn);
    of_put_barrier(of_out(dp->conn), flight->barrier);
    if (ovs_write(dp))
        ovs_flights_fail(dp);
}

uint64_t ovs_start(struct dp *dp, struct dp_op *ops, size_t n)
{
    bool is_up = ovs_reconnect(dp);
    struct ovs_flight *flight = begin(dp, ops, n);

    dp->n_started++;
    dp->filling = flight;
    dp->has_dumped_ports = false;
    dp->is_bundling = n >= MANY_OPS && dp->numbers.len >= MANY_PORTS && em_now_ms() >= dp->plain_ms;
    dp->is_db_slow = false;
    for (size_t i = 0; i < n; i++) {
        dp->at = (uint32_t)i;
        dp->is_blocked = false;
        ops[i].err = 0;
        int r = is_up ? do_op(dp, &ops[i]) : -ENOBUFS;
        if (r)
            ops[i].err = r == -ENOTCONN || r == -ETIMEDOUT ? -ENOBUFS : r;
    }
    if (is_up)
        (void)ovs_flush_floods(dp);
    if (is_up)
        ovs_bundle_interrupt(dp);
    dp->is_bundling = false;
    dp->filling = NULL;
    if (is_up)
        send_off(dp, flight);
    else
        ovs_flights_fail(dp);
    return dp->n_started;
}

uint64_t ovs_reached(struct dp *dp)
{
    return dp->n_done;
}

void ovs_apply(struct dp *dp, struct dp_op *ops, size_t n)
{
    (void)ovs_start(dp, ops, n);
    ovs_flights_land(dp);
}
