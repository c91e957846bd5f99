/* Flood lists: the places that a network's broadcast goes to, as entries of the zero MAC. */
#include "kernel.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct dp_fdb dp_flood_entry(const struct dp *dp, const struct dp_flood_rec *rec)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, rec->network_id);
    struct dp_fdb fdb = {.ifindex = network->vxlan,
                         .flags = NTF_SELF | DP_FDB_MARK,
                         .state = DP_FDB_STATE,
                         .dst = {.size = rec->size},
                         .vni = rec->vni == network->want.segmentation_id ? 0 : rec->vni,
                         .port = rec->port == dp->udp_port ? 0 : rec->port};
    memcpy(fdb.dst.addr, rec->addr, rec->size);
    return fdb;
}

struct dp_flood_rec dp_flood_key(const struct dp *dp, uint32_t network_id, const struct em_ip *ip,
                                 uint32_t vni, uint16_t port)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    struct dp_flood_rec key = {.network_id = network_id,
                               .vni = vni ? vni : network->want.segmentation_id,
                               .port = port ? port : dp->udp_port,
                               .size = ip->size};
    memcpy(key.addr, ip->addr, ip->size);
    return key;
}

static struct dp_flood_rec flood_key(const struct dp *dp, const struct dp_op *op)
{
    return dp_flood_key(dp, op->network.id, &op->target.ip, op->target.segmentation_id,
                        op->target.udp_port);
}

int dp_flood_queue(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);
    bool is_put = op->verb == DP_FLOOD_PUT;

    if (!network)
        return is_put ? -ENOENT : 0;
    if (op->target.ip.size != dp->rloc.size)
        return is_put ? -EAFNOSUPPORT : 0;
    struct dp_flood_rec key = flood_key(dp, op);
    struct dp_flood_rec *rec = dp_table_find(&dp->shadow.floods, &key);
    if (is_put && rec && !(rec->flags & DP_DIRTY)) {
        rec->flags &= ~DP_ADOPTED;
        return 0;
    }
    if (!is_put && !rec)
        return 0;
    struct dp_fdb fdb = dp_flood_entry(dp, &key);
    if (is_put)
        dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, &fdb);
    else
        dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &fdb);
    if (!rec) {
        rec = dp_table_put(&dp->shadow.floods, &key);
        rec->flags = DP_NEW;
    }
    rec->flags |= DP_PENDING;
    return 0;
}

int dp_flood_done(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_flood_rec key = flood_key(dp, op);
    struct dp_flood_rec *rec = dp_table_find(&dp->shadow.floods, &key);
    bool is_put = op->verb == DP_FLOOD_PUT;

    assert(rec && rec->flags & DP_PENDING);
    if (!is_put && err == -ENODEV)
        err = 0;
    if (is_put ? err && rec->flags & DP_NEW : !err)
        dp_table_remove(&dp->shadow.floods, rec);
    else
        rec->flags = err ? DP_DIRTY : 0;
    return err;
}

bool dp_flood_is_pending(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);

    if (!network || op->target.ip.size != dp->rloc.size)
        return false;
    struct dp_flood_rec key = flood_key(dp, op);
    const struct dp_flood_rec *rec = dp_table_find(&dp->shadow.floods, &key);
    return rec && rec->flags & DP_PENDING;
}

int dp_flood_resend(struct dp *dp, struct dp_flood_rec *rec)
{
    struct dp_fdb fdb = dp_flood_entry(dp, rec);
    dp_fdb_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, &fdb);
    int r = dp_nl_commit(dp->nl);
    rec->flags = r ? rec->flags | DP_DIRTY : rec->flags & ~DP_DIRTY;
    return r;
}

int dp_flood_remove(struct dp *dp, struct dp_flood_rec *rec)
{
    struct dp_fdb fdb = dp_flood_entry(dp, rec);
    dp_fdb_message(dp->nl, RTM_DELNEIGH, 0, &fdb);
    int r = dp_nl_commit(dp->nl);
    if (r && r != -ENODEV)
        return r;
    dp_table_remove(&dp->shadow.floods, rec);
    return 0;
}
