/* Where the kernel's tables stand, for the limits of limits.c.  RTM_GETNEIGHTBL shows the
 * thresholds in every namespace; the sysctls that set them are in the first one only. */
#include "kernel.h"

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tables {
    struct dp *dp;
    struct dp_neigh_table v4, v6;
};

/* An attribute is aligned to four bytes only. */
static void take_attr(const struct nlattr *attr, struct dp_neigh_table *table)
{
    uint16_t type = mnl_attr_get_type(attr), size = mnl_attr_get_payload_len(attr);
    struct ndt_config config;
    struct ndt_stats stats;

    if (type == NDTA_THRESH3 && size == sizeof(table->thresh)) {
        table->thresh = mnl_attr_get_u32(attr);
    } else if (type == NDTA_CONFIG && size >= sizeof(config)) {
        memcpy(&config, mnl_attr_get_payload(attr), sizeof(config));
        table->n_entries = config.ndtc_entries;
    } else if (type == NDTA_STATS && size >= sizeof(stats)) {
        memcpy(&stats, mnl_attr_get_payload(attr), sizeof(stats));
        table->n_refused = stats.ndts_table_fulls;
    }
}

static void see_table(void *aux, const struct nlmsghdr *message)
{
    struct tables *tables = aux;
    const struct ndtmsg *ndtm = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr;
    struct dp_neigh_table seen = {0};

    if (message->nlmsg_type != RTM_NEWNEIGHTBL)
        return;
    mnl_attr_for_each(attr, message, sizeof(*ndtm)) take_attr(attr, &seen);
    /* The same table is told of once more for each device, without these. */
    if (seen.thresh == 0)
        return;
    if (ndtm->ndtm_family == AF_INET)
        tables->v4 = seen;
    else if (ndtm->ndtm_family == AF_INET6)
        tables->v6 = seen;
}

static int read_tables(struct dp *dp, struct tables *tables)
{
    struct nlmsghdr *message =
        dp_nl_begin(dp->nl, RTM_GETNEIGHTBL, NLM_F_DUMP, sizeof(struct ndtmsg));

    *tables = (struct tables){.dp = dp};
    ((struct ndtmsg *)mnl_nlmsg_get_payload(message))->ndtm_family = AF_UNSPEC;
    return dp_nl_read(dp->nl, see_table, tables);
}

/* Of a table that all namespaces share, another one than the first cannot tell its own part:
 * what lies in the others are guests' or other agents' entries, permanent as ours. */
static bool is_first_namespace(void)
{
    return access("/proc/sys/net/ipv4/neigh/default/gc_thresh3", F_OK) == 0;
}

static void limit_neigh(struct tables *tables, bool is_v6, dp_limit_fn *visit, void *aux)
{
    struct dp *dp = tables->dp;
    struct dp_neigh_table *table = is_v6 ? &tables->v6 : &tables->v4;
    char text[DP_LIMIT_TEXT];

    table->is_v6 = is_v6;
    table->n_ours = (is_v6 ? &dp->shadow.neighs6 : &dp->shadow.neighs4)->len;
    table->n_rlocs = (dp->rloc.size == 16) == is_v6 ? dp->shadow.nexthops.len : 0;
    if (table->thresh != dp->thresh[is_v6]) /* what was refused before is no sign any more */
        dp->n_refused[is_v6] = table->n_refused;
    dp->thresh[is_v6] = table->thresh;
    table->n_refused -= dp->n_refused[is_v6];
    if (!is_first_namespace())
        table->n_entries = table->n_ours;
    if (dp_limit_neigh(dp->version, table, text))
        visit(aux, is_v6 ? "IPv6" : "IPv4", text);
}

void dp_limits_begin(struct dp *dp)
{
    struct tables tables;

    if (read_tables(dp, &tables))
        return; /* refused ones are then counted from the host's start */
    dp->n_refused[false] = tables.v4.n_refused;
    dp->n_refused[true] = tables.v6.n_refused;
    dp->thresh[false] = tables.v4.thresh;
    dp->thresh[true] = tables.v6.thresh;
}

void dp_limits(struct dp *dp, dp_limit_fn *visit, void *aux)
{
    struct tables tables;
    char device[IFNAMSIZ], text[DP_LIMIT_TEXT];

    for (uint32_t i = 0; i < dp->shadow.networks.len; i++) {
        const struct dp_network_rec *network = dp_table_at(&dp->shadow.networks, i);
        dp_vxlan_name(network->network_id, device);
        if (dp_limit_vxlan(dp->version, device, network->n_macs, text))
            visit(aux, device, text);
    }
    if (read_tables(dp, &tables))
        return; /* they are asked again after the next check */
    limit_neigh(&tables, false, visit, aux);
    limit_neigh(&tables, true, visit, aux);
}
