/* What an earlier run has left: read at open into the shadow, marked DP_ADOPTED.  An op that
 * says the same later clears the mark and sends nothing; what nobody has put when the
 * snapshot is complete is swept.
 *
 * Neighbours are dumped whole.  A dump of FDBs is quadratic in a device's entries, and a
 * million take a minute, so it is broken off: first of all at once, then of each network.
 * What it has not shown of a large network is guessed from its neighbours: their MACs are
 * thought to stand somewhere (DP_GUESSED), and are sent when they are put, over what is there. */
#include "kernel.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DUMP_MOST 32768 /* entries of a dump of FDBs: some 30 ms */

static void adopt_network(void *aux, const struct dp_link *link)
{
    struct dp *dp = aux;
    char bridge[IFNAMSIZ], vxlan[IFNAMSIZ];

    if (link->network_id == 0)
        return;
    bool is_bridge = link->kind == DP_LINK_BRIDGE &&
                     strcmp(link->name, dp_bridge_name(link->network_id, bridge)) == 0;
    bool is_vxlan = link->kind == DP_LINK_VXLAN &&
                    strcmp(link->name, dp_vxlan_name(link->network_id, vxlan)) == 0;
    if (!is_bridge && !is_vxlan)
        return;
    struct dp_network_rec *rec = dp_shadow_network(&dp->shadow, link->network_id);
    if (!rec)
        rec = dp_table_put(&dp->shadow.networks, &link->network_id);
    rec->flags = DP_ADOPTED;
    rec->want.id = link->network_id;
    if (is_bridge) {
        rec->bridge = link->ifindex;
    } else {
        rec->vxlan = link->ifindex;
        rec->mtu = link->mtu;
        rec->want.segmentation_id = link->vni;
    }
    dp_shadow_set_device(&dp->shadow, link->ifindex, link->network_id,
                         is_bridge ? DP_DEVICE_BRIDGE : DP_DEVICE_VXLAN);
    dp_shadow_device(&dp->shadow, link->ifindex)->state = link->is_up ? DP_LINK_UP : DP_LINK_DOWN;
}

/* A port in a bridge of ours; one that learns was put there by others, and may have been
 * borrowed: see network.c. */
static void adopt_port(void *aux, const struct dp_link *link)
{
    struct dp *dp = aux;
    const struct dp_device_rec *master = dp_shadow_device(&dp->shadow, link->master);

    if (!master || master->role != DP_DEVICE_BRIDGE || link->network_id)
        return;
    struct dp_port_rec key = {.network_id = master->network_id};
    memcpy(key.device, link->name, sizeof(key.device));
    if (dp_table_find(&dp->shadow.ports, &key))
        return; /* as below */
    struct dp_port_rec *rec = dp_table_put(&dp->shadow.ports, &key);
    rec->ifindex = link->ifindex;
    rec->flags = DP_ADOPTED | (link->brport.learning ? DP_BORROWED : 0);
    dp_shadow_set_device(&dp->shadow, link->ifindex, key.network_id, DP_DEVICE_PORT);
}

/* First the addresses, then the groups made of them. */
static void adopt_address(void *aux, const struct nlmsghdr *message)
{
    struct dp *dp = aux;
    struct dp_nexthop nexthop;

    if (!dp_nexthop_parse(message, &nexthop))
        return;
    if (dp_table_find(&dp->shadow.nexthop_ids, &nexthop.id))
        return; /* a dump may show an entry twice when the table changes under it */
    (void)dp_table_put(&dp->shadow.nexthop_ids, &nexthop.id);
    if (nexthop.protocol != DP_PROTOCOL || !nexthop.is_fdb || nexthop.ip.size == 0)
        return;
    struct dp_nexthop_rec key = {.size = nexthop.ip.size};
    memcpy(key.addr, nexthop.ip.addr, nexthop.ip.size);
    if (dp_table_find(&dp->shadow.nexthops, &key)) {
        /* A second one for the same address: nothing will claim it. */
        (void)dp_table_put(&dp->shadow.groups, &nexthop.id);
        return;
    }
    struct dp_nexthop_rec *rec = dp_table_put(&dp->shadow.nexthops, &key);
    rec->id = nexthop.id;
    rec->flags = DP_ADOPTED;
}

static struct dp_nexthop_rec *nexthop_by_id(struct dp *dp, uint32_t id)
{
    for (uint32_t i = 0; i < dp->shadow.nexthops.len; i++) {
        struct dp_nexthop_rec *rec = dp_table_at(&dp->shadow.nexthops, i);
        if (rec->id == id)
            return rec;
    }
    return NULL;
}

/* A group with a member that is not ours is kept without members: no set can claim it. */
static void adopt_group(void *aux, const struct nlmsghdr *message)
{
    struct dp *dp = aux;
    struct dp_nexthop group;

    if (!dp_nexthop_parse(message, &group) || group.protocol != DP_PROTOCOL || !group.is_fdb ||
        group.ip.size || dp_table_find(&dp->shadow.groups, &group.id))
        return;
    struct dp_group_rec *rec = dp_table_put(&dp->shadow.groups, &group.id);
    for (size_t i = 0; i < group.n_members; i++)
        if (!nexthop_by_id(dp, group.members[i].id))
            return;
    dp_set_sort(group.members, group.n_members);
    for (size_t i = 0; i < group.n_members; i++)
        nexthop_by_id(dp, group.members[i].id)->n_refs++;
    rec->n_members = (uint32_t)group.n_members;
    rec->members = em_memdup(group.members, group.n_members * sizeof(group.members[0]));
}

static bool is_zero(const uint8_t *mac)
{
    static const uint8_t zero[EM_MAC_SIZE];
    return memcmp(mac, zero, EM_MAC_SIZE) == 0;
}

static void adopt_flood(struct dp *dp, uint32_t network_id, const struct dp_fdb *fdb)
{
    struct dp_flood_rec key = dp_flood_key(dp, network_id, &fdb->dst, fdb->vni, fdb->port);

    if (!(fdb->flags & DP_FDB_MARK) || fdb->dst.size == 0 ||
        dp_table_find(&dp->shadow.floods, &key))
        return;
    struct dp_flood_rec *rec = dp_table_put(&dp->shadow.floods, &key);
    rec->flags = DP_ADOPTED;
}

/* One half of a MAC.  A static entry of somebody else is in the way. */
static void adopt_mac(struct dp *dp, const struct dp_device_rec *device, const struct dp_fdb *fdb)
{
    bool is_ours = fdb->flags & DP_FDB_MARK;
    bool is_vxlan_half = fdb->flags & NTF_SELF;

    if (is_vxlan_half && device->role != DP_DEVICE_VXLAN)
        return;
    if (!is_ours && !is_vxlan_half && !(fdb->state & (NUD_NOARP | NUD_PERMANENT)))
        return;
    struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, device->network_id, fdb->mac);
    if (!rec)
        rec = dp_shadow_put_mac(&dp->shadow, device->network_id, fdb->mac);
    if (!is_ours) {
        rec->flags |= DP_FOREIGN;
        return;
    }
    rec->flags |= DP_ADOPTED;
    if (is_vxlan_half) {
        rec->flags |= DP_ON_VXLAN | (fdb->nhid ? 0 : DP_BY_DST);
        if (!(rec->flags & DP_LOCAL))
            rec->place = fdb->nhid;
    } else {
        rec->flags |= DP_ON_BRIDGE | (device->role == DP_DEVICE_PORT ? DP_LOCAL : 0);
        if (device->role == DP_DEVICE_PORT)
            rec->place = fdb->ifindex;
    }
}

static void adopt_fdb(void *aux, const struct nlmsghdr *message)
{
    struct dp *dp = aux;
    struct dp_fdb fdb;

    if (!dp_fdb_parse(message, &fdb))
        return;
    const struct dp_device_rec *device = dp_shadow_device(&dp->shadow, fdb.ifindex);
    if (!device || (device->role == DP_DEVICE_BRIDGE && fdb.flags & NTF_SELF))
        return;
    if (is_zero(fdb.mac))
        adopt_flood(dp, device->network_id, &fdb);
    else
        adopt_mac(dp, device, &fdb);
}

/* A MAC that has not exactly the halves it should have is sent again in any case. */
static void judge_macs(struct dp *dp)
{
    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        uint16_t halves = rec->flags & (DP_ON_BRIDGE | DP_ON_VXLAN);
        uint16_t whole = rec->flags & DP_LOCAL ? DP_ON_BRIDGE : DP_ON_BRIDGE | DP_ON_VXLAN;
        bool is_cut = dp_shadow_network(&dp->shadow, rec->network_id)->is_cut;
        rec->flags &= (uint16_t)~halves;
        if (rec->flags & DP_FOREIGN)
            rec->flags = DP_FOREIGN;
        else if (halves != whole)
            rec->flags |= is_cut ? DP_GUESSED : DP_DIRTY;
    }
}

static void adopt_neigh(void *aux, const struct nlmsghdr *message)
{
    struct dp *dp = aux;
    struct dp_neigh neigh;

    if (!dp_neigh_parse(message, &neigh) || neigh.protocol != DP_PROTOCOL)
        return;
    const struct dp_device_rec *device = dp_shadow_device(&dp->shadow, neigh.ifindex);
    if (!device || device->role != DP_DEVICE_BRIDGE)
        return;
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, device->network_id, &neigh.ip);
    if (ref.record)
        return;
    ref = dp_shadow_put_neigh(&dp->shadow, device->network_id, &neigh.ip);
    memcpy(ref.mac, neigh.mac, EM_MAC_SIZE);
    *ref.flags = DP_ADOPTED;
}

/* An inconsistent dump is still a true list of entries; check() finds what it missed. */
static int tolerate(int r)
{
    return r == -EAGAIN ? 0 : r;
}

static int adopt_fdbs(struct dp *dp)
{
    dp_neigh_dump_message(dp->nl, AF_BRIDGE);
    int r = tolerate(dp_nl_read_most(dp->nl, DUMP_MOST, adopt_fdb, dp));
    for (uint32_t i = 0; i < dp->shadow.networks.len && r == -EFBIG; i++) {
        struct dp_network_rec *network = dp_table_at(&dp->shadow.networks, i);
        int err = -EFBIG;
        if (network->bridge) {
            dp_fdb_dump_message(dp->nl, network->bridge);
            err = tolerate(dp_nl_read_most(dp->nl, DUMP_MOST, adopt_fdb, dp));
        }
        network->is_cut = err != 0;
    }
    return r == -EFBIG ? 0 : r;
}

static void guess_macs(struct dp *dp, struct dp_table *neighs)
{
    for (uint32_t i = 0; i < neighs->len; i++) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(neighs, i, &id, &ip);
        if (dp_shadow_network(&dp->shadow, id)->is_cut && !dp_shadow_mac(&dp->shadow, id, ref.mac))
            dp_shadow_put_mac(&dp->shadow, id, ref.mac)->flags = DP_ADOPTED;
    }
}

int dp_adopt(struct dp *dp)
{
    int r = tolerate(dp_link_dump(dp->nl, adopt_network, dp));
    if (r == 0)
        r = tolerate(dp_link_dump(dp->nl, adopt_port, dp));
    if (r == 0)
        r = dp_copy_clean(dp);
    for (int pass = 0; pass < 2 && r == 0; pass++) {
        dp_nexthop_dump_message(dp->nl);
        r = tolerate(dp_nl_read(dp->nl, pass == 0 ? adopt_address : adopt_group, dp));
    }
    if (r || dp->shadow.networks.len == 0)
        return r;

    static const uint8_t families[] = {AF_INET, AF_INET6};
    r = adopt_fdbs(dp);
    for (size_t i = 0; i < sizeof(families) && r == 0; i++) {
        dp_neigh_dump_message(dp->nl, families[i]);
        r = tolerate(dp_nl_read(dp->nl, adopt_neigh, dp));
    }
    guess_macs(dp, &dp->shadow.neighs4);
    guess_macs(dp, &dp->shadow.neighs6);
    judge_macs(dp);
    return r;
}

static void visit_neighs(struct dp_table *table, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    for (uint32_t i = 0; i < table->len; i++) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, &id, &ip);
        struct em_eid eid = {.kind = ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip.size};
        if (id != network_id || !(*ref.flags & DP_ADOPTED))
            continue;
        memcpy(eid.addr, ip.addr, ip.size);
        visit(aux, &eid);
    }
}

void dp_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    visit_neighs(&dp->shadow.neighs4, network_id, visit, aux);
    visit_neighs(&dp->shadow.neighs6, network_id, visit, aux);
    for (uint32_t i = 0; i < dp->shadow.macs.len; i++) {
        const struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
        if (rec->network_id != network_id || !(rec->flags & DP_ADOPTED) || rec->flags & DP_LOCAL)
            continue;
        memcpy(eid.addr, rec->mac, EM_MAC_SIZE);
        visit(aux, &eid);
    }
}

/* ---- sweep */

#define SWEEP_US 2000 /* of one call */

struct tally {
    int n, err;
    uint64_t end_us;
};

static bool is_over(const struct tally *tally)
{
    return tally->n > 0 && em_now_us() >= tally->end_us;
}

static void count_result(struct tally *tally, int r)
{
    if (r == 0)
        tally->n++;
    else if (tally->err == 0)
        tally->err = r;
}

static void sweep_neighs(struct dp *dp, struct dp_table *table, uint32_t network_id,
                         struct tally *tally)
{
    for (uint32_t i = table->len; i-- > 0 && !is_over(tally);) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, &id, &ip);
        if (id == network_id && *ref.flags & DP_ADOPTED)
            count_result(tally, dp_neigh_remove(dp, ref, id, &ip));
    }
}

static void sweep_network(struct dp *dp, uint32_t network_id, struct tally *tally)
{
    for (uint32_t i = dp->shadow.macs.len; i-- > 0 && !is_over(tally);) {
        struct dp_mac_rec *rec = dp_table_at(&dp->shadow.macs, i);
        if (rec->network_id == network_id && rec->flags & DP_ADOPTED)
            count_result(tally, dp_mac_remove(dp, rec));
    }
    sweep_neighs(dp, &dp->shadow.neighs4, network_id, tally);
    sweep_neighs(dp, &dp->shadow.neighs6, network_id, tally);
    for (uint32_t i = dp->shadow.floods.len; i-- > 0 && !is_over(tally);) {
        struct dp_flood_rec *rec = dp_table_at(&dp->shadow.floods, i);
        if (rec->network_id == network_id && rec->flags & DP_ADOPTED)
            count_result(tally, dp_flood_remove(dp, rec));
    }
    for (uint32_t i = dp->shadow.ports.len; i-- > 0 && !is_over(tally);) {
        struct dp_port_rec *rec = dp_table_at(&dp->shadow.ports, i);
        char device[IFNAMSIZ];
        if (rec->network_id != network_id || !(rec->flags & DP_ADOPTED))
            continue;
        bool is_borrowed = rec->flags & DP_BORROWED;
        memcpy(device, rec->device, sizeof(device));
        int r = dp_network_delete_port(dp, network_id, device);
        if (r || !is_borrowed)
            count_result(tally, r);
    }
}

static void sweep_networks(struct dp *dp, struct tally *tally)
{
    for (uint32_t i = dp->shadow.networks.len; i-- > 0 && !is_over(tally);) {
        const struct dp_network_rec *rec = dp_table_at(&dp->shadow.networks, i);
        if (dp_is_nobodys(rec->flags))
            count_result(tally, dp_network_delete(dp, rec->network_id));
    }
}

int dp_sweep(struct dp *dp, uint32_t network_id)
{
    struct tally tally = {.end_us = em_now_us() + SWEEP_US};

    if (network_id == 0) {
        sweep_networks(dp, &tally);
        dp->is_swept = true;
    } else if (dp_shadow_network(&dp->shadow, network_id)) {
        sweep_network(dp, network_id, &tally);
    }
    /* Sets go last: the kernel would flush with a group what waits for the next call. */
    if (dp->is_swept && tally.n == 0) {
        int n = dp_set_sweep(dp);
        if (n < 0)
            count_result(&tally, n);
        else
            tally.n += n;
    }
    return tally.err ? tally.err : tally.n;
}
