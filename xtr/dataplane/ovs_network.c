/* Networks.  What one stands for by itself is little: what hangs on it is in other files. */
#include "ovs.h"

#include <errno.h>

/* What Geneve, the largest, adds to a packet without its options: outer IP, UDP 8, Geneve 8, inner
 * Ethernet 14. */
#define OVERHEAD(rloc) ((rloc)->size == 16 ? 70u : 50u)

struct ovs_network_rec *ovs_network(const struct dp *dp, uint32_t network_id)
{
    return dp_table_find(&dp->networks, &network_id);
}

static bool is_taken(const struct dp *dp, const struct dp_network *want)
{
    for (uint32_t i = 0; i < dp->networks.len; i++) {
        const struct ovs_network_rec *other = dp_table_at(&dp->networks, i);
        if (other->network_id != want->id && other->want.segmentation_id == want->segmentation_id)
            return true;
    }
    return false;
}

static int check_network(const struct dp *dp, const struct dp_network *want)
{
    if (want->id == 0 || want->segmentation_id == 0 || want->segmentation_id > EM_SEGMENT_MAX)
        return -EINVAL;
    if (is_taken(dp, want))
        return -EEXIST;
    for (size_t i = 0; i < 2 && want->mtu; i++) {
        uint32_t mtu = dp->rlocs[i].size ? ovs_device_mtu(&dp->rlocs[i]) : 0;
        if (mtu && want->mtu + OVERHEAD(&dp->rlocs[i]) > mtu)
            return -EMSGSIZE;
    }
    return 0;
}

/* Those of the flows for what no other flow has a way for. */
static void remove_unknown(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (flow->priority == 5)
        ovs_remove(dp, aux, flow);
}

int ovs_network_put(struct dp *dp, const struct dp_network *want)
{
    struct ovs_network_rec *rec = ovs_network(dp, want->id);
    int r = check_network(dp, want);

    if (r && rec)
        rec->flags |= DP_WANTED;
    if (r)
        return r;
    if (!rec) {
        rec = dp_table_put(&dp->networks, &want->id);
        rec->miss_fd = rec->miss_in = -1;
        rec->is_behind = true;
    }
    struct ovs_network_rec old = *rec;
    rec->want = *want;
    rec->flags &= (uint16_t) ~(DP_ADOPTED | DP_WANTED | DP_DIRTY);
    bool is_new = old.want.segmentation_id != want->segmentation_id;
    if (is_new || old.flags & DP_DIRTY)
        ovs_network_flows(dp, rec, ovs_add, NULL);
    if (is_new && old.want.segmentation_id)
        ovs_network_flows(dp, &old, ovs_remove, NULL);
    if (old.want.flood != want->flood) {
        if (old.want.flood == EM_FLOOD_ALL)
            ovs_flood_flows(dp, &old, remove_unknown, NULL);
        rec->is_behind = true;
    }
    if (!dp->is_blocked)
        return 0;
    rec->flags |= DP_DIRTY;
    return -EEXIST;
}

static void remove_entries(struct dp *dp, uint32_t network_id)
{
    struct dp_table *neighs[] = {&dp->neighs4, &dp->neighs6};

    for (uint32_t i = dp->copies.len; i-- > 0;) {
        struct ovs_copy_rec *rec = dp_table_at(&dp->copies, i);
        if (rec->network_id == network_id)
            dp_table_remove(&dp->copies, rec);
    }
    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = neighs[t]->len; i-- > 0;) {
            struct em_ip ip;
            uint32_t id;
            struct dp_neigh_ref ref = dp_shadow_neigh_at(neighs[t], i, &id, &ip);
            if (id == network_id)
                ovs_neigh_remove(dp, ref, id, &ip);
        }
    for (uint32_t i = dp->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (rec->network_id == network_id)
            ovs_mac_remove(dp, rec);
    }
}

int ovs_network_delete(struct dp *dp, uint32_t network_id)
{
    struct ovs_network_rec *rec = ovs_network(dp, network_id);
    int err = 0;

    if (!rec)
        return 0;
    remove_entries(dp, network_id);
    rec = ovs_network(dp, network_id);
    ovs_network_flows(dp, rec, ovs_remove, NULL);
    ovs_flood_flows(dp, rec, ovs_remove, NULL);
    ovs_miss_forget(dp, rec);
    for (uint32_t i = dp->floods.len; i-- > 0;) {
        struct ovs_flood_rec *flood = dp_table_at(&dp->floods, i);
        if (flood->network_id == network_id)
            ovs_remove_place(dp, flood);
    }
    for (uint32_t i = dp->ports.len; i-- > 0;) {
        struct ovs_port_rec port = *(struct ovs_port_rec *)dp_table_at(&dp->ports, i);
        int r = port.network_id == network_id
                    ? ovs_port_delete(dp, network_id, port.device, port.vlan)
                    : 0;
        err = err ? err : r;
    }
    dp_table_remove(&dp->networks, ovs_network(dp, network_id));
    return err;
}
