/* MACs, addresses, places for broadcast and copies of frames. */
#include "ovs.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* For broadcast in one network: what a message can hold besides some hundred ports.  Each frame is
 * copied to each of them: with more hosts than that a network should not flood at all. */
#define MOST_PLACES 1000

static bool is_put(const struct ovs_network_rec *network)
{
    return network && !dp_is_nobodys(network->flags);
}

/* ---- addresses */

struct ovs_local_rec *ovs_local(const struct dp *dp, uint32_t network_id, const uint8_t *mac)
{
    struct ovs_local_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    return dp_table_find(&dp->locals, &key);
}

static void remove_guard(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                         const uint8_t *mac)
{
    ovs_guard_flows(dp, network_id, ip, mac, ovs_remove, NULL);
}

static void add_guard(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                      const uint8_t *mac)
{
    ovs_guard_flows(dp, network_id, ip, mac, ovs_add, NULL);
}

void ovs_count_addresses(struct dp *dp, uint32_t network_id, const uint8_t *mac)
{
    struct ovs_local_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    struct ovs_local_rec *local = dp_table_find(&dp->locals, &key);
    if (!local)
        local = dp_table_put(&dp->locals, &key);
    local->n_addrs = ovs_neighs_of_mac(dp, network_id, mac, NULL);
}

/* Flows of a MAC that are there only if it has told addresses. */
static void remove_guards(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (flow->table == OVS_ADDRESS || flow->table == OVS_ND)
        ovs_remove(dp, aux, flow);
}

/* A local MAC has one address more or less: its first makes the guard stricter. */
static void note_address(struct dp *dp, uint32_t network_id, const uint8_t *mac, int change)
{
    struct ovs_local_rec *local = ovs_local(dp, network_id, mac);
    const struct dp_mac_rec *rec = ovs_mac(dp, network_id, mac);

    if (!local || !rec)
        return;
    bool is_edge = local->n_addrs == (change > 0 ? 0 : 1);
    if (is_edge && change < 0)
        ovs_mac_flows(dp, rec, remove_guards, NULL);
    local->n_addrs += (uint32_t)change;
    if (is_edge)
        ovs_mac_flows(dp, rec, ovs_add, NULL);
}

static void leave_mac(struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                      const uint8_t *mac)
{
    if (!ovs_local(dp, network_id, mac))
        return;
    ovs_guard_flows(dp, network_id, ip, mac, ovs_remove, NULL);
    note_address(dp, network_id, mac, -1);
}

static void resend_mac(struct dp *dp, const struct dp_op *op)
{
    const struct dp_mac_rec *rec = ovs_mac(dp, op->network.id, op->mac);
    if (rec)
        ovs_mac_flows(dp, rec, ovs_add, NULL);
}

int ovs_neigh_put(struct dp *dp, const struct dp_op *op)
{
    uint32_t id = op->network.id;
    struct dp_neigh_ref ref = ovs_neigh(dp, id, &op->ip);

    if (!is_put(ovs_network(dp, id)))
        return -ENOENT;
    bool is_same = ref.record && memcmp(ref.mac, op->mac, EM_MAC_SIZE) == 0;
    if (is_same && !(*ref.flags & (DP_DIRTY | DP_FOREIGN))) {
        *ref.flags = 0;
        return 0;
    }
    if (ref.record && !is_same) {
        uint8_t old[EM_MAC_SIZE];
        memcpy(old, ref.mac, sizeof old);
        leave_mac(dp, id, &op->ip, old);
    }
    if (!is_same)
        ref = ovs_neigh_set(dp, id, &op->ip, op->mac);
    *ref.flags = 0;
    ovs_neigh_flows(dp, id, &op->ip, op->mac, ovs_add, NULL);
    if (dp->is_blocked)
        *ref.flags = DP_FOREIGN;
    if (ovs_local(dp, id, op->mac)) {
        ovs_guard_flows(dp, id, &op->ip, op->mac, ovs_add, NULL);
        if (is_same)
            resend_mac(dp, op); /* its guard may have been lost with this */
        else
            note_address(dp, id, op->mac, 1);
    }
    return dp->is_blocked ? -EEXIST : 0;
}

void ovs_neigh_remove(struct dp *dp, struct dp_neigh_ref ref, uint32_t network_id,
                      const struct em_ip *ip)
{
    uint8_t mac[EM_MAC_SIZE];
    memcpy(mac, ref.mac, sizeof mac);
    ovs_neigh_flows(dp, network_id, ip, mac, ovs_remove, NULL);
    leave_mac(dp, network_id, ip, mac);
    ovs_neigh_drop(dp, ref);
}

int ovs_neigh_delete(struct dp *dp, const struct dp_op *op)
{
    struct dp_neigh_ref ref = ovs_neigh(dp, op->network.id, &op->ip);
    if (ref.record)
        ovs_neigh_remove(dp, ref, op->network.id, &op->ip);
    return 0;
}

/* ---- MACs */

struct dp_mac_rec *ovs_mac(const struct dp *dp, uint32_t network_id, const uint8_t *mac)
{
    struct dp_mac_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    return dp_table_find(&dp->macs, &key);
}

uint32_t ovs_group_of(const struct dp *dp, const struct dp_mac_rec *rec)
{
    if (rec->flags & DP_ADOPTED)
        return rec->place;
    const struct ovs_set_rec *set = dp_table_find(&dp->sets, &rec->place);
    return set ? set->group_id : 0;
}

static void leave_set(struct dp *dp, const struct dp_mac_rec *rec)
{
    if (rec->flags & DP_LOCAL)
        return;
    if (rec->flags & DP_ADOPTED) {
        struct ovs_group_rec *group = dp_table_find(&dp->groups, &rec->place);
        if (group)
            group->n_macs--;
        return;
    }
    struct ovs_set_rec *set = dp_table_find(&dp->sets, &rec->place);
    if (set)
        set->n_macs--;
}

/* What will be replaced in place stays until then. */
static void remove_but_way(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (flow->table != OVS_FORWARD)
        ovs_remove(dp, aux, flow);
}

/* The MAC was local: 'visit' removes its own flows, and those of its addresses go. */
static void leave_port(struct dp *dp, const struct dp_mac_rec *old, ovs_flow_fn *visit)
{
    struct ovs_local_rec *local = ovs_local(dp, old->network_id, old->mac);

    ovs_mac_flows(dp, old, visit, NULL);
    if (!local)
        return;
    (void)ovs_neighs_of_mac(dp, old->network_id, old->mac, remove_guard);
    dp_table_remove(&dp->locals, local);
}

static struct dp_mac_rec *obtain_mac(struct dp *dp, uint32_t network_id, const uint8_t *mac)
{
    struct dp_mac_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    struct dp_mac_rec *rec = dp_table_find(&dp->macs, &key);
    return rec ? rec : dp_table_put(&dp->macs, &key);
}

static int settle(struct dp *dp, struct dp_mac_rec *rec)
{
    ovs_mac_flows(dp, rec, ovs_add, NULL);
    if (!dp->is_blocked)
        return 0;
    rec->flags |= DP_FOREIGN;
    return -EEXIST;
}

int ovs_mac_put(struct dp *dp, const struct dp_op *op)
{
    struct ovs_set_rec *set = dp_table_find(&dp->sets, &op->set.id);
    struct dp_mac_rec *rec = ovs_mac(dp, op->network.id, op->mac);

    if (!is_put(ovs_network(dp, op->network.id)) || !set)
        return -ENOENT;
    if (rec)
        ovs_forget_use(dp, rec); /* a put is a use */
    if (rec && !(rec->flags & (DP_LOCAL | DP_ADOPTED | DP_DIRTY | DP_FOREIGN)) &&
        rec->place == set->set_id)
        return 0;
    bool is_adopted = rec && rec->flags == DP_ADOPTED && rec->place == set->group_id;
    if (!rec)
        rec = obtain_mac(dp, op->network.id, op->mac);
    else
        leave_set(dp, rec);
    struct dp_mac_rec old = *rec;
    rec->flags = 0;
    rec->place = set->set_id;
    set->n_macs++;
    if (is_adopted)
        return 0;
    int r = settle(dp, rec);
    if (old.flags & DP_LOCAL)
        leave_port(dp, &old, remove_but_way);
    return r;
}

void ovs_mac_remove(struct dp *dp, struct dp_mac_rec *rec)
{
    struct dp_mac_rec old = *rec;

    leave_set(dp, rec);
    ovs_forget_use(dp, rec);
    dp_table_remove(&dp->macs, rec);
    if (old.flags & DP_LOCAL)
        leave_port(dp, &old, ovs_remove);
    else
        ovs_mac_flows(dp, &old, ovs_remove, NULL);
}

int ovs_mac_delete(struct dp *dp, const struct dp_op *op)
{
    struct dp_mac_rec *rec = ovs_mac(dp, op->network.id, op->mac);
    if (rec && !(rec->flags & DP_LOCAL))
        ovs_mac_remove(dp, rec);
    return 0;
}

int ovs_local_put(struct dp *dp, const struct dp_op *op)
{
    const struct ovs_port_rec *port = ovs_port(dp, op->network.id, op->device, op->vlan);
    struct dp_mac_rec *rec = ovs_mac(dp, op->network.id, op->mac);

    if (!is_put(ovs_network(dp, op->network.id)))
        return -ENOENT;
    if (!port || port->flags & DP_ADOPTED)
        return -ENODEV;
    if (rec && rec->flags & DP_LOCAL && rec->place == port->id &&
        !(rec->flags & (DP_DIRTY | DP_FOREIGN))) {
        rec->flags &= (uint16_t)~DP_ADOPTED;
        return 0;
    }
    if (!rec)
        rec = obtain_mac(dp, op->network.id, op->mac);
    else
        leave_set(dp, rec);
    struct dp_mac_rec old = *rec;
    if (old.flags & DP_LOCAL)
        leave_port(dp, &old, remove_but_way);
    rec->flags = DP_LOCAL;
    rec->place = port->id;
    ovs_count_addresses(dp, op->network.id, op->mac);
    int r = settle(dp, rec);
    (void)ovs_neighs_of_mac(dp, op->network.id, op->mac, add_guard);
    return r;
}

int ovs_local_delete(struct dp *dp, const struct dp_op *op)
{
    const struct ovs_port_rec *port = ovs_port(dp, op->network.id, op->device, op->vlan);
    struct dp_mac_rec *rec = ovs_mac(dp, op->network.id, op->mac);

    if (port && rec && rec->flags & DP_LOCAL && rec->place == port->id)
        ovs_mac_remove(dp, rec);
    return 0;
}

/* ---- places for broadcast */

static struct ovs_flood_rec flood_key(const struct dp *dp, const struct dp_op *op)
{
    const struct dp_target *target = &op->target;
    const struct ovs_tunnel *tunnel = ovs_tunnel(dp, target->encap, target->udp_port);
    const struct ovs_network_rec *network = ovs_network(dp, op->network.id);
    struct ovs_flood_rec key = {.network_id = op->network.id,
                                .vni = target->segmentation_id,
                                .udp_port = tunnel ? tunnel->udp_port : target->udp_port,
                                .encap = tunnel ? (uint8_t)tunnel->encap : (uint8_t)target->encap,
                                .size = target->ip.size};
    if (!key.vni && network)
        key.vni = network->want.segmentation_id;
    memcpy(key.addr, target->ip.addr, target->ip.size);
    return key;
}

void ovs_remove_place(struct dp *dp, struct ovs_flood_rec *rec)
{
    struct ovs_network_rec *network = ovs_network(dp, rec->network_id);

    dp_table_remove(&dp->floods, rec);
    if (!network)
        return;
    network->n_places--;
    network->is_behind = true;
}

int ovs_flood_put(struct dp *dp, const struct dp_op *op)
{
    struct ovs_network_rec *network = ovs_network(dp, op->network.id);
    char *why = NULL;

    if (!is_put(network))
        return -ENOENT;
    int r = ovs_make_tunnel(dp, op->target.encap, op->target.udp_port, &why);
    free(why);
    if (r)
        return r;
    struct ovs_flood_rec key = flood_key(dp, op);
    struct ovs_flood_rec *rec = dp_table_find(&dp->floods, &key);
    if (rec) {
        rec->flags = 0;
        return 0;
    }
    if (network->n_places >= MOST_PLACES)
        return -E2BIG;
    dp_table_put(&dp->floods, &key);
    network->n_places++;
    network->is_behind = true;
    return 0;
}

int ovs_flood_delete(struct dp *dp, const struct dp_op *op)
{
    struct ovs_flood_rec key = flood_key(dp, op);
    struct ovs_flood_rec *rec = dp_table_find(&dp->floods, &key);

    if (rec)
        ovs_remove_place(dp, rec);
    return 0;
}

/* A list is sent once for all ops that change it: the last of those that make it longer answers
 * for it. */
static void blame_last(struct dp *dp, uint32_t network_id)
{
    const struct ovs_flight *flight = dp->filling;

    if (!flight)
        return;
    dp->at = (uint32_t)flight->n;
    for (size_t i = 0; i < flight->n; i++) {
        enum dp_verb verb = flight->ops[i].verb;
        if (flight->ops[i].network.id == network_id &&
            (verb == DP_FLOOD_PUT || verb == DP_PORT_PUT))
            dp->at = (uint32_t)i;
    }
}

bool ovs_flush_floods(struct dp *dp)
{
    bool has_some = false;

    for (uint32_t i = 0; i < dp->networks.len; i++) {
        struct ovs_network_rec *rec = dp_table_at(&dp->networks, i);
        if (!rec->is_behind || rec->flags & DP_ADOPTED)
            continue;
        rec->is_behind = false;
        has_some = true;
        blame_last(dp, rec->network_id);
        ovs_flood_flows(dp, rec, ovs_add, NULL);
    }
    return has_some;
}

/* ---- copies */

static struct ovs_copy_rec copy_key(const struct dp_op *op)
{
    struct ovs_copy_rec key = {.network_id = op->network.id};
    memcpy(key.mac, op->mac, EM_MAC_SIZE);
    return key;
}

int ovs_copy_put(struct dp *dp, const struct dp_op *op)
{
    const struct ovs_port_rec *port = NULL;
    struct ovs_copy_rec key = copy_key(op), *rec;
    char *why = NULL;

    if (!is_put(ovs_network(dp, op->network.id)))
        return -ENOENT;
    if (op->device[0] && !(port = ovs_port(dp, op->network.id, op->device, op->vlan)))
        return -ENODEV;
    uint32_t place = port ? port->id : 0;
    int r = ovs_make_tunnel(dp, op->target.encap, op->target.udp_port, &why);
    free(why);
    if (r)
        return r;
    rec = dp_table_find(&dp->copies, &key);
    if (!rec)
        rec = dp_table_put(&dp->copies, &key);
    rec->place = place;
    rec->target = op->target;
    resend_mac(dp, op);
    return 0;
}

int ovs_copy_delete(struct dp *dp, const struct dp_op *op)
{
    struct ovs_copy_rec key = copy_key(op), *rec = dp_table_find(&dp->copies, &key);

    if (!rec)
        return 0;
    dp_table_remove(&dp->copies, rec);
    resend_mac(dp, op);
    return 0;
}
