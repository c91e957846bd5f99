/* The entries that there are many of: which file knows them.
 *
 * Records are changed when the kernel has answered.  Until then they are DP_PENDING, and an
 * op on the same entry waits for the answer. */
#include "kernel.h"

struct kind {
    bool (*is_pending)(struct dp *dp, const struct dp_op *op);
    int (*queue)(struct dp *dp, const struct dp_op *op);
    int (*done)(struct dp *dp, const struct dp_op *op, int err);
};

static const struct kind macs = {dp_mac_is_pending, dp_mac_queue, dp_mac_done};
static const struct kind neighs = {dp_neigh_is_pending, dp_neigh_queue, dp_neigh_done};
static const struct kind floods = {dp_flood_is_pending, dp_flood_queue, dp_flood_done};

/* NULL: no such entry. */
static const struct kind *kind_of(const struct dp_op *op)
{
    switch (op->verb) {
    case DP_MAC_PUT:
    case DP_MAC_DELETE:
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
        return &macs;
    case DP_NEIGHBOUR_PUT:
    case DP_NEIGHBOUR_DELETE:
        return &neighs;
    case DP_FLOOD_PUT:
    case DP_FLOOD_DELETE:
        return &floods;
    case DP_NETWORK_PUT:
    case DP_NETWORK_DELETE:
    case DP_SET_PUT:
    case DP_SET_DELETE:
    case DP_PORT_PUT:
    case DP_PORT_DELETE:
    case DP_COPY_PUT:
    case DP_COPY_DELETE:
        break;
    }
    return NULL;
}

bool dp_endpoint_is_pending(struct dp *dp, const struct dp_op *op)
{
    return kind_of(op)->is_pending(dp, op);
}

int dp_endpoint_queue(struct dp *dp, const struct dp_op *op)
{
    return kind_of(op)->queue(dp, op);
}

int dp_endpoint_done(struct dp *dp, const struct dp_op *op, int err)
{
    return kind_of(op)->done(dp, op, err);
}
