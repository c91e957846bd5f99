/* Copies: frames to a guest that migrates also go to where it is about to be.
 *
 * A vxlan FDB entry of a unicast MAC has one destination, and a group of nexthops picks one.  So a
 * filter on the way out mirrors the frame to a second vxlan device of the network, "emc7",
 * whose FDB leads to the target.  That device has the network's VNI and a UDP port of its own
 * to be different by, and it is there only while the network has copies.
 *
 *   tunnel   filter on the vxlan device: what this host sends to a guest elsewhere
 *   port     filter on the guest's device: what others on this host send to it; what comes in
 *            by the tunnel is spared, its sender has made a copy already
 *
 * Nothing of this is adopted: it is for seconds, the map says it again, and frames that are
 * copied to where nobody wants them any more come twice.  So what an earlier run has left goes at
 * open. */
#include "kernel.h"
#include "tc.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UDP_PORTS 8 /* that are tried, from the one above the data plane's */
#define PREFS     ((DP_TC_PREF_LAST - DP_TC_PREF_FIRST + 1) / 2)

static struct dp_copy_rec *find(const struct dp *dp, uint32_t network_id, const uint8_t *mac)
{
    struct dp_copy_rec key = {.network_id = network_id};
    memcpy(key.mac, mac, EM_MAC_SIZE);
    return dp_table_find(&dp->shadow.copies, &key);
}

/* 0: all are taken. */
static uint16_t free_pref(const struct dp *dp)
{
    for (uint32_t slot = 0; slot < PREFS; slot++) {
        uint16_t pref = (uint16_t)(DP_TC_PREF_FIRST + 2 * slot);
        bool is_taken = false;
        for (uint32_t i = 0; i < dp->shadow.copies.len && !is_taken; i++)
            is_taken = ((struct dp_copy_rec *)dp_table_at(&dp->shadow.copies, i))->pref == pref;
        if (!is_taken)
            return pref;
    }
    return 0;
}

/* The copy device */

/* By a program, which shows when the device goes up, or by another vxlan device. */
static bool is_port_taken(int r)
{
    return r == -EADDRINUSE || r == -EEXIST;
}

static int try_device(struct dp *dp, const struct dp_link *want, const char *name,
                      struct dp_link *ret_device)
{
    int r = dp_link_make_vxlan(dp->nl, want, name, ret_device);
    if (r)
        return r;
    r = dp_link_set_up(dp->nl, ret_device->ifindex);
    if (r)
        (void)dp_link_delete(dp->nl, ret_device->ifindex);
    return r;
}

static int make_device(struct dp *dp, struct dp_network_rec *network)
{
    struct dp_link device, want = {.kind = DP_LINK_VXLAN,
                                   .network_id = network->network_id,
                                   .mtu = network->mtu,
                                   .vni = network->want.segmentation_id,
                                   .udp_port = dp->udp_port,
                                   .local = dp->rloc};
    char name[IFNAMSIZ];
    int r = dp_link_get(dp->nl, dp_copy_device_name(network->network_id, name), &device);

    if (r != -ENODEV)
        return r ? r : -EEXIST;
    do {
        want.udp_port++;
        r = try_device(dp, &want, name, &device);
    } while (is_port_taken(r) && want.udp_port < dp->udp_port + UDP_PORTS);
    if (r)
        return r;
    network->copy = device.ifindex;
    dp_shadow_set_device(&dp->shadow, device.ifindex, network->network_id, DP_DEVICE_COPY);
    return 0;
}

int dp_copy_rehome(struct dp *dp)
{
    int r = 0;
    for (uint32_t i = 0; i < dp->shadow.networks.len; i++) {
        const struct dp_network_rec *network = dp_table_at(&dp->shadow.networks, i);
        int err = network->copy ? dp_link_set_local(dp->nl, network->copy, &dp->rloc) : 0;
        r = r ? r : err;
    }
    return r;
}

static int drop_device(struct dp *dp, struct dp_network_rec *network)
{
    int r = network->copy ? dp_link_delete(dp->nl, network->copy) : 0;
    if (r == 0) {
        dp_shadow_drop_device(&dp->shadow, network->copy);
        network->copy = 0;
    }
    return r;
}

static bool has_copies(const struct dp *dp, uint32_t network_id)
{
    for (uint32_t i = 0; i < dp->shadow.copies.len; i++)
        if (((struct dp_copy_rec *)dp_table_at(&dp->shadow.copies, i))->network_id == network_id)
            return true;
    return false;
}

/* One copy */

static struct dp_fdb fdb_of(const struct dp *dp, const struct dp_copy_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb fdb = {.ifindex = network->copy,
                         .flags = NTF_SELF | DP_FDB_MARK,
                         .state = DP_FDB_STATE,
                         .dst = rec->target.ip,
                         .vni = rec->target.segmentation_id,
                         .port = rec->target.udp_port ? rec->target.udp_port : dp->udp_port};
    memcpy(fdb.mac, rec->mac, EM_MAC_SIZE);
    return fdb;
}

static int send_fdb(struct dp *dp, const struct dp_copy_rec *rec)
{
    struct dp_fdb fdb = fdb_of(dp, rec);
    dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &fdb);
    return dp_nl_commit(dp->nl);
}

/* All that the record stands for, which must not be there. */
static int send_all(struct dp *dp, const struct dp_copy_rec *rec)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    bool is_tunnel = rec->ifindex == network->vxlan;

    int r = network->copy ? 0 : make_device(dp, network);
    if (r == 0)
        r = send_fdb(dp, rec);
    if (r)
        return r;
    struct dp_tc_mirror mirror = {.ifindex = rec->ifindex,
                                  .pref = rec->pref,
                                  .mac = rec->mac,
                                  .except = is_tunnel ? 0 : network->vxlan,
                                  .copies = network->copy};
    return dp_tc_mirror_put(dp->nl, &mirror);
}

/* The filter goes first: from then on nothing is copied. */
static int remove_rec(struct dp *dp, struct dp_copy_rec *rec)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb fdb = fdb_of(dp, rec);

    int r = dp_tc_mirror_delete(dp->nl, rec->ifindex, rec->pref);
    if (r)
        return r;
    dp_table_remove(&dp->shadow.copies, rec);
    if (!has_copies(dp, network->network_id))
        return drop_device(dp, network);
    dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &fdb);
    return dp_nl_commit(dp->nl);
}

static bool is_same(const struct dp_target *a, const struct dp_target *b)
{
    return a->segmentation_id == b->segmentation_id && a->udp_port == b->udp_port &&
           a->ip.size == b->ip.size && memcmp(a->ip.addr, b->ip.addr, a->ip.size) == 0;
}

/* Where the filter goes. */
static int find_device(struct dp *dp, const struct dp_op *op, uint32_t *ret_ifindex)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, op->network.id);
    if (!network)
        return -ENOENT;
    *ret_ifindex = network->vxlan;
    if (!op->device[0])
        return 0;
    const struct dp_port_rec *port = dp_network_find_port(dp, op->network.id, op->device);
    if (!port)
        return -ENODEV;
    *ret_ifindex = port->ifindex;
    return 0;
}

static int add(struct dp *dp, const struct dp_op *op, uint32_t ifindex)
{
    struct dp_copy_rec key = {.network_id = op->network.id};
    uint16_t pref = free_pref(dp);
    if (!pref)
        return -ENOSPC;
    memcpy(key.mac, op->mac, EM_MAC_SIZE);
    struct dp_copy_rec *rec = dp_table_put(&dp->shadow.copies, &key);
    rec->pref = pref;
    rec->ifindex = ifindex;
    rec->target = op->target;
    int r = send_all(dp, rec);
    if (r) {
        int err = remove_rec(dp, rec);
        (void)err; /* what could not be made in the first place */
    }
    return r;
}

int dp_copy_put(struct dp *dp, const struct dp_op *op)
{
    struct dp_copy_rec *rec = find(dp, op->network.id, op->mac);
    uint32_t ifindex;

    int r = find_device(dp, op, &ifindex);
    if (r)
        return r;
    if (op->target.ip.size != dp->rloc.size)
        return -EAFNOSUPPORT;
    if (rec && (rec->ifindex != ifindex || rec->flags & DP_DIRTY)) {
        r = remove_rec(dp, rec);
        rec = NULL;
    }
    if (r)
        return r;
    if (!rec)
        return add(dp, op, ifindex);
    if (is_same(&rec->target, &op->target))
        return 0;
    rec->target = op->target;
    return send_fdb(dp, rec);
}

int dp_copy_delete(struct dp *dp, const struct dp_op *op)
{
    struct dp_copy_rec *rec = find(dp, op->network.id, op->mac);
    return rec ? remove_rec(dp, rec) : 0;
}

/* What goes with other things */

void dp_copy_forget_network(struct dp *dp, struct dp_network_rec *network)
{
    for (uint32_t i = dp->shadow.copies.len; i-- > 0;) {
        struct dp_copy_rec *rec = dp_table_at(&dp->shadow.copies, i);
        if (rec->network_id != network->network_id)
            continue;
        (void)dp_tc_mirror_delete(dp->nl, rec->ifindex, rec->pref);
        dp_table_remove(&dp->shadow.copies, rec);
    }
    (void)drop_device(dp, network);
}

void dp_copy_forget_port(struct dp *dp, uint32_t ifindex)
{
    for (uint32_t i = dp->shadow.copies.len; i-- > 0;) {
        struct dp_copy_rec *rec = dp_table_at(&dp->shadow.copies, i);
        if (rec->ifindex == ifindex)
            (void)remove_rec(dp, rec);
    }
}

int dp_copy_resend(struct dp *dp, uint32_t network_id, uint32_t was, uint32_t ifindex)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    int r = 0;

    if (was != ifindex && network->vxlan == ifindex)
        (void)drop_device(dp, network); /* its VNI may be another */
    for (uint32_t i = 0; i < dp->shadow.copies.len; i++) {
        struct dp_copy_rec *rec = dp_table_at(&dp->shadow.copies, i);
        if (rec->network_id != network_id)
            continue;
        (void)dp_tc_mirror_delete(dp->nl, rec->ifindex, rec->pref);
        rec->ifindex = rec->ifindex == was ? ifindex : rec->ifindex;
        int err = send_all(dp, rec);
        rec->flags = err ? DP_DIRTY : 0;
        r = r ? r : err;
    }
    return r;
}

/* At open */

struct leftovers {
    struct dp_link *links;
    size_t n;
};

static void collect(void *aux, const struct dp_link *link)
{
    struct leftovers *left = aux;
    char name[IFNAMSIZ];
    if (link->network_id == 0 || link->kind != DP_LINK_VXLAN ||
        strcmp(link->name, dp_copy_device_name(link->network_id, name)) != 0)
        return;
    left->links = em_realloc(left->links, (left->n + 1) * sizeof(*left->links));
    left->links[left->n++] = *link;
}

static int clean_filters(struct dp *dp, uint32_t ifindex)
{
    uint16_t prefs[64];
    int n;
    do {
        n = dp_tc_list(dp->nl, ifindex, prefs, sizeof(prefs) / sizeof(prefs[0]));
        for (int i = 0; i < n; i++) {
            /* The even one of a pair, which the deletion counts from. */
            uint16_t pref = (uint16_t)(prefs[i] & ~1u);
            int r = dp_tc_mirror_delete(dp->nl, ifindex, pref);
            if (r)
                return r;
        }
    } while (n == (int)(sizeof(prefs) / sizeof(prefs[0])));
    return n < 0 ? n : 0;
}

static int clean_network(struct dp *dp, uint32_t network_id)
{
    int r = 0;
    for (uint32_t i = 0; i < dp->shadow.devices.len && r == 0; i++) {
        const struct dp_device_rec *device = dp_table_at(&dp->shadow.devices, i);
        if (device->network_id == network_id && device->role != DP_DEVICE_BRIDGE)
            r = clean_filters(dp, device->ifindex);
    }
    return r;
}

int dp_copy_clean(struct dp *dp)
{
    struct leftovers left = {0};
    int r = dp_link_dump(dp->nl, collect, &left);
    r = r == -EAGAIN ? 0 : r;
    for (size_t i = 0; i < left.n && r == 0; i++) {
        r = clean_network(dp, left.links[i].network_id);
        if (r == 0)
            r = dp_link_delete(dp->nl, left.links[i].ifindex);
    }
    free(left.links);
    return r;
}

/* Checks */

bool dp_copy_stands(struct dp *dp, const struct dp_copy_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb want = fdb_of(dp, rec), stands = {0};
    struct dp_link device;
    uint16_t prefs[2 * PREFS];

    /* The kernel leaves out what is the device's own. */
    if (!network->copy || dp_link_get_index(dp->nl, network->copy, &device) || !device.is_up ||
        !em_ip_equal(&device.local, &dp->rloc) ||
        dp_fdb_lookup(dp, network->copy, rec->mac, NTF_SELF, &stands) ||
        (stands.vni ? stands.vni : device.vni) != want.vni ||
        (stands.port ? stands.port : device.udp_port) != want.port ||
        stands.dst.size != want.dst.size ||
        memcmp(stands.dst.addr, want.dst.addr, want.dst.size) != 0)
        return false;
    int n = dp_tc_list(dp->nl, rec->ifindex, prefs, sizeof(prefs) / sizeof(prefs[0]));
    for (int i = 0; i < n; i++)
        if (prefs[i] == rec->pref + 1)
            return true;
    return false;
}

int dp_copy_repair(struct dp *dp, struct dp_copy_rec *rec)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_link device = {0};

    (void)dp_tc_mirror_delete(dp->nl, rec->ifindex, rec->pref);
    if (network->copy && dp_link_get_index(dp->nl, network->copy, &device) == -ENODEV) {
        dp_shadow_drop_device(&dp->shadow, network->copy);
        network->copy = 0;
    } else if (network->copy && !em_ip_equal(&device.local, &dp->rloc)) {
        (void)dp_link_set_local(dp->nl, network->copy, &dp->rloc);
    }
    int r = send_all(dp, rec);
    rec->flags = r ? DP_DIRTY : 0;
    return r;
}
