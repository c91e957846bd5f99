/* A network's devices.
 *
 * Bridge: no STP, no multicast snooping, no address.  vxlan port of it: no learning (the
 * map knows), ARP and ND suppression, unknown unicast only where the network asks for it.
 * A local port does not learn either: a guest cannot draw a remote MAC to itself by sending
 * with it; that also marks the ports that xtr has put here, since others' learn.  A borrowed
 * port, which others have put here, learns on: what the kernel learns is how it was found.
 *
 * The VNI and UDP port of a vxlan device are fixed when it is made; another value means a new
 * device, and its FDB is sent again from the shadow.  Its address can be changed in place. */
#include "kernel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define IPV6_LEAST_MTU 1280u /* RFC 8200 section 5 */
#define LOOPBACK_MTU   1500u /* an RLOC on lo says nothing about the wire */

static struct dp_brport vxlan_port_flags(enum em_flood flood)
{
    return (struct dp_brport){.neigh_suppress = true,
                              .unicast_flood = flood == EM_FLOOD_ALL,
                              .mcast_flood = flood != EM_FLOOD_NONE,
                              .bcast_flood = flood != EM_FLOOD_NONE};
}

static struct dp_brport local_port_flags(bool is_borrowed)
{
    return (struct dp_brport){
        .learning = is_borrowed, .unicast_flood = true, .mcast_flood = true, .bcast_flood = true};
}

static struct dp_link want_vxlan(const struct dp *dp, const struct dp_network *want, uint32_t mtu)
{
    return (struct dp_link){.kind = DP_LINK_VXLAN,
                            .network_id = want->id,
                            .mtu = mtu,
                            .vni = want->segmentation_id,
                            .udp_port = dp->udp_port,
                            .local = dp->rloc};
}

/* What cannot be changed on a vxlan device that stands. */
static bool is_same_device(const struct dp_link *a, const struct dp_link *b)
{
    return a->kind == b->kind && a->vni == b->vni && a->udp_port == b->udp_port &&
           a->is_learning == b->is_learning && a->local.size == b->local.size;
}

static bool is_same_tunnel(const struct dp_link *a, const struct dp_link *b)
{
    return is_same_device(a, b) && em_ip_equal(&a->local, &b->local);
}

/* -EMSGSIZE if the network wants larger packets than the underlay can carry. */
static int fit_mtu(struct dp *dp, const struct dp_network *want, uint32_t *ret_mtu)
{
    uint32_t overhead = dp_overhead(&dp->rloc);
    struct dp_link underlay;

    int r = dp_link_find_address(dp->nl, &dp->rloc, &dp->underlay);
    if (r == 0)
        r = dp_link_get_index(dp->nl, dp->underlay, &underlay);
    if (r)
        return r;
    uint32_t most = underlay.mtu > overhead ? underlay.mtu - overhead : 0;
    if (want->mtu > most && !underlay.is_loopback)
        return -EMSGSIZE;
    if (underlay.is_loopback)
        most = LOOPBACK_MTU - overhead;
    *ret_mtu = want->mtu ? want->mtu : most;
    return 0;
}

/* Forwarding does not look at a bridge's own MTU, but IPv6 on it has a least one. */
static uint32_t bridge_mtu(uint32_t mtu)
{
    return mtu < IPV6_LEAST_MTU ? IPV6_LEAST_MTU : mtu;
}

static int put_bridge(struct dp *dp, uint32_t network_id, uint32_t mtu, struct dp_link *ret_bridge)
{
    char name[IFNAMSIZ];

    int r = dp_link_get(dp->nl, dp_bridge_name(network_id, name), ret_bridge);
    if (r == -ENODEV)
        r = dp_link_make_bridge(dp->nl, network_id, mtu, ret_bridge);
    else if (r == 0 && (ret_bridge->network_id != network_id || ret_bridge->kind != DP_LINK_BRIDGE))
        r = -EEXIST;
    if (r == 0 && ret_bridge->mtu != mtu)
        r = dp_link_set_mtu(dp->nl, ret_bridge->ifindex, mtu);
    if (r == 0 && !ret_bridge->is_up)
        r = dp_link_set_up(dp->nl, ret_bridge->ifindex);
    return r;
}

static int put_vxlan(struct dp *dp, const struct dp_link *want, struct dp_link *ret_vxlan)
{
    char name[IFNAMSIZ];

    int r = dp_link_get(dp->nl, dp_vxlan_name(want->network_id, name), ret_vxlan);
    if (r == 0 && ret_vxlan->network_id != want->network_id)
        return -EEXIST;
    if (r == 0 && is_same_device(ret_vxlan, want) && !is_same_tunnel(ret_vxlan, want) &&
        dp_link_set_local(dp->nl, ret_vxlan->ifindex, &want->local) == 0)
        ret_vxlan->local = want->local;
    if (r == 0 && !is_same_tunnel(ret_vxlan, want)) {
        r = dp_link_delete(dp->nl, ret_vxlan->ifindex);
        r = r ? r : -ENODEV;
    }
    if (r == -ENODEV)
        r = dp_link_make_vxlan(dp->nl, want, name, ret_vxlan);
    if (r == 0 && ret_vxlan->mtu != want->mtu)
        r = dp_link_set_mtu(dp->nl, ret_vxlan->ifindex, want->mtu);
    return r;
}

static int join_vxlan(struct dp *dp, const struct dp_link *vxlan, uint32_t bridge,
                      enum em_flood flood)
{
    struct dp_brport brport = vxlan_port_flags(flood);

    if (vxlan->master == bridge && vxlan->is_up && dp_link_is_same_brport(&vxlan->brport, &brport))
        return 0;
    return dp_link_enslave(dp->nl, vxlan->ifindex, bridge, &brport);
}

static void set_device(struct dp *dp, uint32_t *ifindex, uint32_t now, uint32_t network_id,
                       int role)
{
    if (*ifindex && *ifindex != now)
        dp_shadow_drop_device(&dp->shadow, *ifindex);
    *ifindex = now;
    dp_shadow_set_device(&dp->shadow, now, network_id, role);
}

/* What many entries would hold the loop up with is left to a check, that comes at once. */
static bool is_left_to_check(struct dp *dp, uint32_t network_id)
{
    if (dp_shadow_network(&dp->shadow, network_id)->n_macs <= DP_SMALL)
        return false;
    dp->is_torn = true;
    return true;
}

static int resend_mac(struct dp *dp, struct dp_mac_rec *rec, bool is_later)
{
    if (!is_later)
        return dp_mac_resend(dp, rec);
    rec->flags |= DP_DIRTY;
    return 0;
}

/* A new vxlan device has empty tables. */
static int resend_vxlan(struct dp *dp, uint32_t network_id)
{
    bool is_later = is_left_to_check(dp, network_id);
    int r = 0;

    for (uint32_t i = dp->shadow.macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (rec->network_id != network_id || rec->flags & (DP_LOCAL | DP_FOREIGN))
            continue;
        if (rec->flags & DP_ADOPTED) {
            dp_mac_forget(dp, rec); /* it was on the old device */
            continue;
        }
        struct dp_set_rec *set = dp_shadow_set(&dp->shadow, rec->place);
        bool was_by_dst = rec->flags & DP_BY_DST;
        bool is_by_dst = dp_set_is_by_dst(set, dp_shadow_network(&dp->shadow, network_id));
        set->n_by_dst = set->n_by_dst + is_by_dst - was_by_dst;
        rec->flags = (uint16_t)((rec->flags & ~DP_BY_DST) | (is_by_dst ? DP_BY_DST : 0));
        int err = resend_mac(dp, rec, is_later);
        r = r ? r : err;
    }
    for (uint32_t i = dp->shadow.floods.len; i-- > 0;) {
        struct dp_flood_rec *rec = dp_table_at(&dp->shadow.floods, i);
        if (rec->network_id != network_id)
            continue;
        int err = dp_flood_resend(dp, rec);
        r = r ? r : err;
    }
    return r;
}

static int resend_neighs(struct dp *dp, struct dp_table *table, uint32_t network_id)
{
    bool is_later = is_left_to_check(dp, network_id);
    int r = 0;

    for (uint32_t i = 0; i < table->len; i++) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, &id, &ip);
        if (id != network_id)
            continue;
        *ref.flags |= is_later ? DP_DIRTY : 0;
        int err = is_later ? 0 : dp_neigh_resend(dp, id, &ip, ref.mac);
        r = r ? r : err;
    }
    return r;
}

/* A new bridge has neither ports nor local MACs nor neighbours. */
static int resend_bridge(struct dp *dp, uint32_t network_id)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    int r = 0;

    for (uint32_t i = 0; i < dp->shadow.ports.len; i++) {
        const struct dp_port_rec *port = dp_table_at(&dp->shadow.ports, i);
        if (port->network_id != network_id)
            continue;
        struct dp_brport brport = local_port_flags(port->flags & DP_BORROWED);
        int err = dp_link_enslave(dp->nl, port->ifindex, network->bridge, &brport);
        r = r ? r : err;
    }
    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (rec->network_id != network_id || !(rec->flags & DP_LOCAL))
            continue;
        int err = dp_mac_resend(dp, rec);
        r = r ? r : err;
    }
    int err = resend_neighs(dp, &dp->shadow.neighs4, network_id);
    r = r ? r : err;
    err = resend_neighs(dp, &dp->shadow.neighs6, network_id);
    return r ? r : err;
}

/* A network that could not be made leaves nothing behind. */
static void undo_devices(struct dp *dp, uint32_t network_id, const struct dp_link *bridge,
                         const struct dp_link *vxlan)
{
    if (vxlan->ifindex && vxlan->network_id == network_id)
        (void)dp_link_delete(dp->nl, vxlan->ifindex);
    if (bridge->ifindex && bridge->network_id == network_id)
        (void)dp_link_delete(dp->nl, bridge->ifindex);
}

static int put_devices(struct dp *dp, const struct dp_network *want, uint32_t mtu)
{
    struct dp_link bridge = {0}, vxlan = {0}, tunnel = want_vxlan(dp, want, mtu);

    struct dp_network_rec *rec = dp_shadow_network(&dp->shadow, want->id);
    int r = put_bridge(dp, want->id, bridge_mtu(mtu), &bridge);
    if (r == 0)
        r = put_vxlan(dp, &tunnel, &vxlan);
    if (r == 0)
        r = join_vxlan(dp, &vxlan, bridge.ifindex, want->flood);
    if (r) {
        if (!rec)
            undo_devices(dp, want->id, &bridge, &vxlan);
        return r;
    }

    if (!rec)
        rec = dp_table_put(&dp->shadow.networks, &want->id);
    uint32_t was = rec->vxlan;
    bool is_new_bridge = rec->bridge != bridge.ifindex;
    bool is_new_vxlan = rec->vxlan != vxlan.ifindex;
    rec->want = *want;
    rec->mtu = mtu;
    rec->flags = 0;
    set_device(dp, &rec->bridge, bridge.ifindex, want->id, DP_DEVICE_BRIDGE);
    set_device(dp, &rec->vxlan, vxlan.ifindex, want->id, DP_DEVICE_VXLAN);

    r = dp_miss_rejoin(dp, rec);
    if (is_new_bridge) {
        int err = resend_bridge(dp, want->id);
        r = r ? r : err;
    }
    if (is_new_vxlan || is_new_bridge) {
        int err = resend_vxlan(dp, want->id);
        r = r ? r : err;
        err = dp_copy_resend(dp, want->id, was, rec->vxlan);
        r = r ? r : err;
    }
    return r;
}

static bool is_same_network(const struct dp_network *a, const struct dp_network *b)
{
    return a->id == b->id && a->segmentation_id == b->segmentation_id && a->mtu == b->mtu &&
           a->flood == b->flood;
}

int dp_network_put(struct dp *dp, const struct dp_network *want)
{
    struct dp_network_rec *rec = dp_shadow_network(&dp->shadow, want->id);
    uint32_t mtu;

    if (want->id == 0 || want->segmentation_id == 0 || want->segmentation_id > EM_SEGMENT_MAX)
        return -EINVAL;
    if (rec && !(rec->flags & (DP_ADOPTED | DP_DIRTY)) && is_same_network(&rec->want, want))
        return 0;
    if (rec)
        rec->flags |= DP_WANTED;
    int r = fit_mtu(dp, want, &mtu);
    if (r)
        return r;
    r = put_devices(dp, want, mtu);
    rec = dp_shadow_network(&dp->shadow, want->id);
    if (r && rec)
        rec->flags |= DP_DIRTY;
    return r;
}

static void forget_neighs(struct dp_table *table, uint32_t network_id)
{
    for (uint32_t i = table->len; i-- > 0;) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, &id, &ip);
        if (id == network_id)
            dp_table_remove(table, ref.record);
    }
}

static void forget_network(struct dp *dp, struct dp_network_rec *network)
{
    uint32_t id = network->network_id;

    for (uint32_t i = dp->shadow.macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (rec->network_id == id)
            dp_mac_forget(dp, rec);
    }
    forget_neighs(&dp->shadow.neighs4, id);
    forget_neighs(&dp->shadow.neighs6, id);
    for (uint32_t i = dp->shadow.floods.len; i-- > 0;) {
        struct dp_flood_rec *rec = dp_table_at(&dp->shadow.floods, i);
        if (rec->network_id == id)
            dp_table_remove(&dp->shadow.floods, rec);
    }
    for (uint32_t i = dp->shadow.ports.len; i-- > 0;) {
        struct dp_port_rec *rec = dp_table_at(&dp->shadow.ports, i);
        if (rec->network_id != id)
            continue;
        dp_shadow_drop_device(&dp->shadow, rec->ifindex);
        dp_table_remove(&dp->shadow.ports, rec);
    }
    dp_shadow_drop_device(&dp->shadow, network->bridge);
    dp_shadow_drop_device(&dp->shadow, network->vxlan);
    dp_miss_close(network);
    dp_table_remove(&dp->shadow.networks, network);
}

/* The kernel takes FDB and neighbours with the devices, and lets go of the ports. */
int dp_network_delete(struct dp *dp, uint32_t network_id)
{
    struct dp_network_rec *rec = dp_shadow_network(&dp->shadow, network_id);

    if (!rec)
        return 0;
    dp_copy_forget_network(dp, rec);
    int r = rec->vxlan ? dp_link_delete(dp->nl, rec->vxlan) : 0;
    if (r == 0 && rec->bridge)
        r = dp_link_delete(dp->nl, rec->bridge);
    if (r) {
        rec->flags |= DP_DIRTY;
        return r;
    }
    forget_network(dp, rec);
    return 0;
}

static struct dp_port_rec *find_port(struct dp *dp, uint32_t network_id, const char *device,
                                     struct dp_port_rec *ret_key)
{
    *ret_key = (struct dp_port_rec){.network_id = network_id};
    memcpy(ret_key->device, device, strnlen(device, IFNAMSIZ - 1));
    return dp_table_find(&dp->shadow.ports, ret_key);
}

struct dp_port_rec *dp_network_find_port(struct dp *dp, uint32_t network_id, const char *device)
{
    struct dp_port_rec key;
    return find_port(dp, network_id, device, &key);
}

/* Its MACs went with the device, or with its place in the bridge. */
static void forget_locals(struct dp *dp, uint32_t ifindex)
{
    for (uint32_t i = dp->shadow.macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (rec->flags & DP_LOCAL && rec->place == ifindex)
            dp_shadow_remove_mac(&dp->shadow, rec);
    }
}

/* The device has been out of the bridge, or is another one of the same name. */
static int resend_locals(struct dp *dp, uint32_t was, uint32_t ifindex)
{
    int r = 0;

    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (!(rec->flags & DP_LOCAL) || rec->place != was)
            continue;
        rec->place = ifindex;
        int err = dp_mac_resend(dp, rec);
        r = r ? r : err;
    }
    return r;
}

static bool is_in_place(const struct dp_link *link, const struct dp_network_rec *network,
                        const struct dp_brport *brport)
{
    return link->master == network->bridge && link->is_up &&
           dp_link_is_same_brport(&link->brport, brport);
}

/* Never a device that the tunnels run over: the host would be cut off. */
static int check_port(const struct dp *dp, const struct dp_link *link,
                      const struct dp_network_rec *network)
{
    if (link->master && link->master != network->bridge)
        return -EBUSY;
    if (link->ifindex == dp->underlay || link->is_loopback || link->network_id)
        return -EBUSY;
    return 0;
}

/* Has another port the same device?  It was renamed, or it has several names. */
static bool has_twin(const struct dp *dp, const struct dp_port_rec *rec)
{
    for (uint32_t i = 0; i < dp->shadow.ports.len; i++) {
        const struct dp_port_rec *other = dp_table_at(&dp->shadow.ports, i);
        if (other != rec && other->ifindex == rec->ifindex)
            return true;
    }
    return false;
}

/* Not one that was renamed: what it is under its old name goes on until the port is detached. */
static bool is_out(struct dp *dp, const struct dp_port_rec *rec,
                   const struct dp_network_rec *network)
{
    struct dp_link link = {0};
    return dp_link_get_index(dp->nl, rec->ifindex, &link) != 0 || link.master != network->bridge;
}

int dp_network_delete_port(struct dp *dp, uint32_t network_id, const char *device)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    struct dp_port_rec key, *rec = find_port(dp, network_id, device, &key);
    struct dp_link link = {0};

    if (!rec)
        return 0;
    assert(network);
    if (has_twin(dp, rec)) {
        dp_table_remove(&dp->shadow.ports, rec);
        return 0;
    }
    int r = dp_link_get_index(dp->nl, rec->ifindex, &link);
    if (r == 0 && link.master == network->bridge && !(rec->flags & DP_BORROWED))
        r = dp_link_release(dp->nl, rec->ifindex);
    if (r && r != -ENODEV)
        return r;
    dp_copy_forget_port(dp, rec->ifindex);
    forget_locals(dp, rec->ifindex);
    dp_shadow_drop_device(&dp->shadow, rec->ifindex);
    dp_table_remove(&dp->shadow.ports, rec);
    return 0;
}

int dp_network_put_port(struct dp *dp, uint32_t network_id, const char *device, bool is_borrowed)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    struct dp_port_rec key, *rec = find_port(dp, network_id, device, &key);
    struct dp_brport brport = local_port_flags(is_borrowed);
    struct dp_link link = {0};

    if (!network)
        return -ENOENT;
    /* The address may have moved to another device meanwhile: a bond, a bridge. */
    (void)dp_link_find_address(dp->nl, &dp->rloc, &dp->underlay);
    int r = dp_link_get(dp->nl, key.device, &link);
    if (r == 0)
        r = check_port(dp, &link, network);
    if (r == 0 && is_borrowed && !link.master)
        r = -ENODEV;
    if (r == -ENODEV && rec && is_out(dp, rec, network)) {
        dp_lost_add(&dp->lost, key.device);
        (void)dp_network_delete_port(dp, network_id, device);
    }
    if (r)
        return r;
    if (!is_in_place(&link, network, &brport)) {
        r = dp_link_enslave(dp->nl, link.ifindex, network->bridge, &brport);
        if (r)
            return r;
    }
    if (!rec)
        rec = dp_table_put(&dp->shadow.ports, &key);
    else if (rec->ifindex != link.ifindex || link.master != network->bridge)
        r = resend_locals(dp, rec->ifindex, link.ifindex);
    if (rec->ifindex && rec->ifindex != link.ifindex) {
        int err = dp_copy_resend(dp, network_id, rec->ifindex, link.ifindex);
        r = r ? r : err;
    }
    rec->flags = is_borrowed ? DP_BORROWED : 0;
    set_device(dp, &rec->ifindex, link.ifindex, network_id, DP_DEVICE_PORT);
    return r;
}

bool dp_network_port_stands(struct dp *dp, struct dp_port_rec *port)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, port->network_id);
    struct dp_brport brport = local_port_flags(port->flags & DP_BORROWED);
    struct dp_link link = {0};

    return dp_link_get(dp->nl, port->device, &link) == 0 && link.ifindex == port->ifindex &&
           is_in_place(&link, network, &brport);
}

const char *dp_network_fault(struct dp *dp, const struct dp_network_rec *network)
{
    struct dp_link want = want_vxlan(dp, &network->want, network->mtu);
    struct dp_brport brport = vxlan_port_flags(network->want.flood);
    struct dp_link bridge = {0}, vxlan = {0};
    char name[IFNAMSIZ];

    int r = dp_link_get(dp->nl, dp_bridge_name(network->network_id, name), &bridge);
    if (r == 0)
        r = dp_link_get(dp->nl, dp_vxlan_name(network->network_id, name), &vxlan);
    if (r)
        return "missing";
    if (bridge.network_id != network->network_id || vxlan.network_id != network->network_id)
        return "foreign";
    if (bridge.ifindex != network->bridge || vxlan.ifindex != network->vxlan ||
        !is_same_tunnel(&vxlan, &want) || vxlan.master != bridge.ifindex || !bridge.is_up ||
        !vxlan.is_up || vxlan.mtu != network->mtu || bridge.mtu != bridge_mtu(network->mtu) ||
        !dp_link_is_same_brport(&vxlan.brport, &brport) || !dp_miss_stands(dp, network))
        return "wrong";
    return NULL;
}

int dp_network_repair(struct dp *dp, uint32_t network_id)
{
    struct dp_network_rec *rec = dp_shadow_network(&dp->shadow, network_id);
    struct dp_network want = rec->want;

    rec->flags |= DP_DIRTY;
    return dp_network_put(dp, &want);
}

/* Networks that an earlier run has left follow when they are put. */
int dp_network_set_rloc(struct dp *dp, const struct em_ip *rloc)
{
    if (rloc->size != dp->rloc.size)
        return -EAFNOSUPPORT;
    int r = dp_link_find_address(dp->nl, rloc, &dp->underlay);
    if (r)
        return r;
    dp->rloc = *rloc;
    for (uint32_t i = 0; i < dp->shadow.networks.len; i++) {
        const struct dp_network_rec *rec = dp_table_at(&dp->shadow.networks, i);
        int err = rec->flags & DP_ADOPTED ? 0 : dp_network_repair(dp, rec->network_id);
        r = r ? r : err;
    }
    int err = dp_copy_rehome(dp);
    r = r ? r : err;
    err = dp_set_rehome(dp);
    return r ? r : err;
}
