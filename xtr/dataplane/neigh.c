/* Neighbours: what ARP and ND are answered with on this host.  A new one is made with
 * NLM_F_EXCL, so that a stranger's is not overwritten. */
#include "kernel.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct dp_neigh dp_neigh_entry(const struct dp_network_rec *network, const struct em_ip *ip,
                               const uint8_t *mac)
{
    struct dp_neigh neigh = {
        .ifindex = network->bridge, .ip = *ip, .state = DP_NEIGH_STATE, .protocol = DP_PROTOCOL};
    memcpy(neigh.mac, mac, EM_MAC_SIZE);
    return neigh;
}

static int queue_neigh_put(struct dp *dp, const struct dp_op *op)
{
    const struct dp_network_rec *network = dp_network_of(dp, op);

    if (!network)
        return -ENOENT;
    if (op->ip.size != 4 && op->ip.size != 16)
        return -EINVAL;
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, op->network.id, &op->ip);
    if (ref.record && !(*ref.flags & DP_DIRTY) && memcmp(ref.mac, op->mac, EM_MAC_SIZE) == 0) {
        *ref.flags &= ~DP_ADOPTED;
        return 0;
    }
    struct dp_neigh neigh = dp_neigh_entry(network, &op->ip, op->mac);
    dp_neigh_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | (ref.record ? NLM_F_REPLACE : NLM_F_EXCL),
                     &neigh);
    if (!ref.record) {
        ref = dp_shadow_put_neigh(&dp->shadow, op->network.id, &op->ip);
        *ref.flags = DP_NEW;
    }
    *ref.flags |= DP_PENDING;
    return 0;
}

struct neigh_answer {
    struct dp_neigh neigh;
    bool is_there;
};

static void take_neigh(void *aux, const struct nlmsghdr *message)
{
    struct neigh_answer *answer = aux;
    answer->is_there = dp_neigh_parse(message, &answer->neigh);
}

int dp_neigh_lookup(struct dp *dp, uint32_t bridge, const struct em_ip *ip,
                    struct dp_neigh *ret_neigh)
{
    struct dp_neigh key = {.ifindex = bridge, .ip = *ip};
    struct neigh_answer answer = {.is_there = false};

    dp_neigh_message(dp->nl, RTM_GETNEIGH, 0, &key);
    int r = dp_nl_read(dp->nl, take_neigh, &answer);
    if (r)
        return r;
    if (!answer.is_there)
        return -ENOENT;
    *ret_neigh = answer.neigh;
    return 0;
}

/* There was a neighbour already: ours and what the kernel has found out by itself are
 * replaced, what somebody has set stays. */
static int settle_neigh(struct dp *dp, const struct dp_op *op)
{
    struct dp_neigh neigh = dp_neigh_entry(dp_network_of(dp, op), &op->ip, op->mac), stands;

    int r = dp_neigh_lookup(dp, neigh.ifindex, &neigh.ip, &stands);
    if (r && r != -ENOENT)
        return r;
    if (r == 0 && stands.protocol != DP_PROTOCOL && stands.state & (NUD_PERMANENT | NUD_NOARP))
        return -EEXIST;
    dp_neigh_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neigh);
    return dp_nl_commit(dp->nl);
}

static int done_neigh_put(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, op->network.id, &op->ip);

    assert(ref.record && *ref.flags & DP_PENDING);
    if (err == -EEXIST)
        err = settle_neigh(dp, op);
    if (!err) {
        *ref.flags = 0;
        memcpy(ref.mac, op->mac, EM_MAC_SIZE);
    } else if (*ref.flags & DP_NEW) {
        dp_table_remove(ref.table, ref.record);
    } else {
        *ref.flags = DP_DIRTY;
    }
    return err;
}

static int queue_neigh_delete(struct dp *dp, const struct dp_op *op)
{
    if (op->ip.size != 4 && op->ip.size != 16)
        return -EINVAL;
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, op->network.id, &op->ip);
    if (!ref.record)
        return 0;
    struct dp_neigh neigh = dp_neigh_entry(dp_network_of(dp, op), &op->ip, ref.mac);
    dp_neigh_message(dp->nl, RTM_DELNEIGH, 0, &neigh);
    *ref.flags |= DP_PENDING;
    return 0;
}

static int done_neigh_delete(struct dp *dp, const struct dp_op *op, int err)
{
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, op->network.id, &op->ip);

    if (err && err != -ENODEV) {
        *ref.flags = DP_DIRTY;
        return err;
    }
    dp_table_remove(ref.table, ref.record);
    return 0;
}

bool dp_neigh_is_pending(struct dp *dp, const struct dp_op *op)
{
    if (op->ip.size != 4 && op->ip.size != 16)
        return false;
    struct dp_neigh_ref ref = dp_shadow_neigh(&dp->shadow, op->network.id, &op->ip);
    return ref.record && *ref.flags & DP_PENDING;
}

int dp_neigh_queue(struct dp *dp, const struct dp_op *op)
{
    return op->verb == DP_NEIGHBOUR_PUT ? queue_neigh_put(dp, op) : queue_neigh_delete(dp, op);
}

int dp_neigh_done(struct dp *dp, const struct dp_op *op, int err)
{
    return op->verb == DP_NEIGHBOUR_PUT ? done_neigh_put(dp, op, err)
                                        : done_neigh_delete(dp, op, err);
}

int dp_neigh_resend(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac)
{
    struct dp_neigh neigh = dp_neigh_entry(dp_shadow_network(&dp->shadow, network_id), ip, mac);
    dp_neigh_message(dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neigh);
    return dp_nl_commit(dp->nl);
}

int dp_neigh_remove(struct dp *dp, struct dp_neigh_ref ref, uint32_t network_id,
                    const struct em_ip *ip)
{
    struct dp_neigh neigh = dp_neigh_entry(dp_shadow_network(&dp->shadow, network_id), ip, ref.mac);
    dp_neigh_message(dp->nl, RTM_DELNEIGH, 0, &neigh);
    int r = dp_nl_commit(dp->nl);
    if (r && r != -ENODEV)
        return r;
    dp_table_remove(ref.table, ref.record);
    return 0;
}
