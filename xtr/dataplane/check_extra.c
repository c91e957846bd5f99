/* What only a dump shows: entries of ours that the shadow does not know, strangers' entries
 * that are in nobody's way, and the places for broadcast.
 *
 * One dump holds the loop until it is read, so a table is dumped only while the shadow has
 * at most DP_SMALL entries in it.  While a dump runs nothing can be sent: what has to be
 * deleted is collected. */
#include "check.h"

#include "base/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct dump {
    struct dp_check *check;
    uint32_t network_id;
    struct dp_fdb *fdbs; /* to delete, and so on */
    struct dp_neigh *neighs;
    uint32_t *nexthops;
    size_t n;
};

#define KEEP(dump, array, value)                                                                   \
    do {                                                                                           \
        (dump)->array = em_realloc((dump)->array, ((dump)->n + 1) * sizeof((dump)->array[0]));     \
        (dump)->array[(dump)->n++] = (value);                                                      \
    } while (0)

/* An inconsistent dump is still a true list of entries. */
static void read_dump(struct dump *dump, dp_nl_fn *see)
{
    int r = dp_nl_read(dump->check->dp->nl, see, dump);
    if (r != -EAGAIN)
        dp_check_note(dump->check, r);
}

/* ---- nexthops */

static void see_nexthop(void *aux, const struct nlmsghdr *message)
{
    struct dump *dump = aux;
    struct dp_nexthop stands;
    char text[DP_ENTRY_TEXT];

    if (!dp_nexthop_parse(message, &stands) || stands.protocol != DP_PROTOCOL ||
        dp_table_find(&dump->check->dp->shadow.nexthop_ids, &stands.id))
        return;
    dp_check_tell(dump->check, 0, "nexthop", "extra", dp_nexthop_format(&stands, text));
    KEEP(dump, nexthops, stands.id);
}

void dp_check_extra_nexthops(struct dp_check *check)
{
    struct dump dump = {.check = check};

    if (check->dp->shadow.nexthop_ids.len > DP_SMALL)
        return;
    dp_nexthop_dump_message(check->dp->nl);
    read_dump(&dump, see_nexthop);
    for (size_t i = 0; check->is_repair && i < dump.n; i++) {
        struct dp_nexthop extra = {.id = dump.nexthops[i]};
        dp_nexthop_message(check->dp->nl, RTM_DELNEXTHOP, 0, &extra);
        dp_check_note(check, dp_nl_commit(check->dp->nl));
    }
    free(dump.nexthops);
}

/* ---- FDBs */

static void see_flood(struct dump *dump, const struct dp_fdb *fdb)
{
    struct dp *dp = dump->check->dp;
    struct dp_flood_rec key = dp_flood_key(dp, dump->network_id, &fdb->dst, fdb->vni, fdb->port);
    struct dp_flood_rec *rec = dp_table_find(&dp->shadow.floods, &key);

    if (rec) {
        rec->flags |= DP_SEEN;
        return;
    }
    bool is_ours = fdb->flags & DP_FDB_MARK;
    dp_check_tell_fdb(dump->check, is_ours ? "extra" : "foreign", dump->network_id, fdb);
    if (is_ours)
        KEEP(dump, fdbs, *fdb);
}

/* A MAC that has a record is looked up later, and a stranger's gets one. */
static void see_mac(struct dump *dump, const struct dp_fdb *fdb)
{
    struct dp_shadow *shadow = &dump->check->dp->shadow;
    const struct dp_mac_rec *rec = dp_shadow_mac(shadow, dump->network_id, fdb->mac);
    bool is_ours = fdb->flags & DP_FDB_MARK;

    if (is_ours && (!rec || rec->flags & DP_FOREIGN)) {
        dp_check_tell_fdb(dump->check, "extra", dump->network_id, fdb);
        KEEP(dump, fdbs, *fdb);
    } else if (!is_ours && !rec && (fdb->flags & NTF_SELF || fdb->state & NUD_NOARP)) {
        dp_shadow_put_mac(shadow, dump->network_id, fdb->mac)->flags = DP_FOREIGN;
    }
}

static void see_fdb(void *aux, const struct nlmsghdr *message)
{
    static const uint8_t zero[EM_MAC_SIZE];
    struct dump *dump = aux;
    struct dp_fdb fdb;

    if (!dp_fdb_parse(message, &fdb))
        return;
    const struct dp_device_rec *device = dp_shadow_device(&dump->check->dp->shadow, fdb.ifindex);
    if (!device || device->network_id != dump->network_id ||
        (fdb.flags & NTF_SELF && device->role != DP_DEVICE_VXLAN))
        return;
    if (memcmp(fdb.mac, zero, EM_MAC_SIZE) == 0)
        see_flood(dump, &fdb);
    else
        see_mac(dump, &fdb);
}

static void judge_flood(struct dp_check *check, struct dp_flood_rec *rec, bool is_dumped)
{
    check->result.n_compared++;
    if (is_dumped && rec->flags & DP_SEEN && !(rec->flags & DP_DIRTY))
        return;
    struct dp_fdb fdb = dp_flood_entry(check->dp, rec);
    if (is_dumped)
        dp_check_tell_fdb(check, "missing", rec->network_id, &fdb);
    if (check->is_repair)
        dp_check_note(check, dp_flood_resend(check->dp, rec));
    else if (is_dumped)
        rec->flags |= DP_DIRTY;
}

static void judge_floods(struct dp_check *check, uint32_t network_id, bool is_dumped)
{
    for (uint32_t i = 0; i < check->dp->shadow.floods.len; i++) {
        struct dp_flood_rec *rec = dp_table_at(&check->dp->shadow.floods, i);
        if (rec->network_id != network_id)
            continue;
        if (!(rec->flags & DP_ADOPTED))
            judge_flood(check, rec, is_dumped);
        rec->flags &= (uint16_t)~DP_SEEN;
    }
}

/* False: guests have filled it with more than we know of. */
static bool dump_fdb(struct dp_check *check, const struct dp_network_rec *network)
{
    struct dump dump = {.check = check, .network_id = network->network_id};
    size_t most = 4 * DP_SMALL + check->dp->shadow.floods.len;

    dp_fdb_dump_message(check->dp->nl, network->bridge);
    int r = dp_nl_read_most(check->dp->nl, most, see_fdb, &dump);
    if (r != -EAGAIN && r != -EFBIG)
        dp_check_note(check, r);
    for (size_t i = 0; check->is_repair && i < dump.n; i++) {
        dp_fdb_message(check->dp->nl, RTM_DELNEIGH, 0, &dump.fdbs[i]);
        dp_check_note(check, dp_nl_commit(check->dp->nl));
    }
    free(dump.fdbs);
    return r != -EFBIG;
}

void dp_check_extra_fdb(struct dp_check *check)
{
    const struct dp_network_rec *network = dp_table_at(&check->dp->shadow.networks, --check->at);

    if (network->flags & DP_ADOPTED)
        return;
    bool is_dumped = network->n_macs <= DP_SMALL && dump_fdb(check, network);
    check->result.n_undumped += !is_dumped;
    judge_floods(check, network->network_id, is_dumped);
}

/* ---- neighbours */

static void see_neigh(void *aux, const struct nlmsghdr *message)
{
    struct dump *dump = aux;
    struct dp_shadow *shadow = &dump->check->dp->shadow;
    struct dp_neigh neigh;

    if (!dp_neigh_parse(message, &neigh) || neigh.protocol != DP_PROTOCOL)
        return;
    const struct dp_device_rec *device = dp_shadow_device(shadow, neigh.ifindex);
    if (!device || device->role != DP_DEVICE_BRIDGE ||
        dp_shadow_network(shadow, device->network_id)->flags & DP_ADOPTED ||
        dp_shadow_neigh(shadow, device->network_id, &neigh.ip).record)
        return;
    dp_check_tell_neigh(dump->check, "extra", device->network_id, &neigh);
    KEEP(dump, neighs, neigh);
}

/* The kernel has one table for all networks. */
void dp_check_extra_neighs(struct dp_check *check, uint8_t family)
{
    const struct dp_shadow *shadow = &check->dp->shadow;
    struct dump dump = {.check = check};

    if ((family == AF_INET ? &shadow->neighs4 : &shadow->neighs6)->len > DP_SMALL)
        return;
    dp_neigh_dump_message(check->dp->nl, family);
    read_dump(&dump, see_neigh);
    for (size_t i = 0; check->is_repair && i < dump.n; i++) {
        dp_neigh_message(check->dp->nl, RTM_DELNEIGH, 0, &dump.neighs[i]);
        dp_check_note(check, dp_nl_commit(check->dp->nl));
    }
    free(dump.neighs);
}
