/* Dump, compare, repair: is what stands what the shadow says?
 *
 * Devices first, since repairing one sends its entries again; then nexthops, FDBs and
 * neighbours, each by one dump.  While a dump runs nothing can be sent: differences are
 * told at once, what has to be deleted is collected, and records that have to be sent again
 * are marked DP_DIRTY.  What was adopted and not put yet is nobody's claim: it is skipped. */
#include "kernel.h"

#include "base/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* An id of ours, and which record it is. */
struct id_rec {
    uint32_t id;
    const struct dp_table *table;
    uint32_t i;
};

struct check {
    struct dp *dp;
    bool is_repair;
    dp_visit_fn *visit;
    void *aux;
    int64_t n; /* compared */
    int err;   /* first failure to repair */
    struct dp_table ids;
    struct dp_fdb *fdbs; /* to delete, and so on */
    struct dp_neigh *neighs;
    uint32_t *nexthops;
    size_t n_fdbs, n_neighs, n_nexthops;
};

static void tell(struct check *check, uint32_t network_id, const char *table, const char *kind,
                 const char *entry)
{
    struct dp_difference difference = {
        .network_id = network_id, .table = table, .kind = kind, .entry = entry};
    check->visit(check->aux, &difference);
}

static void note(struct check *check, int r)
{
    if (r && check->err == 0)
        check->err = r;
}

/* ---- devices */

static void check_network(struct check *check, const struct dp_network_rec *network)
{
    char bridge[IFNAMSIZ], vxlan[IFNAMSIZ], entry[3 * IFNAMSIZ];
    uint32_t id = network->network_id;

    check->n++;
    const char *fault = dp_network_fault(check->dp, network);
    if (!fault)
        return;
    snprintf(entry, sizeof(entry), "%s master %s", dp_vxlan_name(id, vxlan),
             dp_bridge_name(id, bridge));
    tell(check, id, "device", fault, entry);
    if (check->is_repair)
        note(check, dp_network_repair(check->dp, id));
}

static void check_port(struct check *check, struct dp_port_rec *port)
{
    char bridge[IFNAMSIZ], device[IFNAMSIZ], entry[3 * IFNAMSIZ];

    check->n++;
    if (dp_network_port_stands(check->dp, port))
        return;
    memcpy(device, port->device, sizeof(device));
    snprintf(entry, sizeof(entry), "%s master %s", device,
             dp_bridge_name(port->network_id, bridge));
    tell(check, port->network_id, "device", "missing", entry);
    if (check->is_repair)
        note(check,
             dp_network_put_port(check->dp, port->network_id, device, port->flags & DP_BORROWED));
}

static void check_devices(struct check *check)
{
    const struct dp_shadow *shadow = &check->dp->shadow;

    for (uint32_t i = 0; i < shadow->networks.len; i++) {
        const struct dp_network_rec *network = dp_table_at(&shadow->networks, i);
        if (!(network->flags & DP_ADOPTED))
            check_network(check, network);
    }
    for (uint32_t i = 0; i < shadow->ports.len; i++) {
        struct dp_port_rec *port = dp_table_at(&shadow->ports, i);
        const struct dp_network_rec *network = dp_shadow_network(shadow, port->network_id);
        if (!((port->flags | network->flags) & DP_ADOPTED))
            check_port(check, port);
    }
}

/* ---- nexthops */

static void index_id(struct check *check, uint32_t id, const struct dp_table *table, uint32_t i)
{
    struct id_rec *rec = dp_table_put(&check->ids, &id);
    rec->table = table;
    rec->i = i;
}

static void index_ids(struct check *check)
{
    struct dp_shadow *shadow = &check->dp->shadow;

    for (uint32_t i = 0; i < shadow->nexthops.len; i++) {
        struct dp_nexthop_rec *rec = dp_table_at(&shadow->nexthops, i);
        rec->flags &= ~DP_SEEN;
        index_id(check, rec->id, &shadow->nexthops, i);
    }
    for (uint32_t i = 0; i < shadow->sets.len; i++) {
        struct dp_set_rec *rec = dp_table_at(&shadow->sets, i);
        rec->flags &= ~DP_SEEN;
        index_id(check, rec->group_id, &shadow->sets, i);
    }
    for (uint32_t i = 0; i < shadow->groups.len; i++) {
        const struct dp_group_rec *rec = dp_table_at(&shadow->groups, i);
        index_id(check, rec->group_id, &shadow->groups, i);
    }
}

static bool is_same_nexthop(const struct dp_nexthop *a, const struct dp_nexthop *b)
{
    if (a->ip.size != b->ip.size || memcmp(a->ip.addr, b->ip.addr, a->ip.size) != 0 ||
        a->n_members != b->n_members || a->is_fdb != b->is_fdb)
        return false;
    for (size_t i = 0; i < a->n_members; i++)
        if (a->members[i].id != b->members[i].id || a->members[i].weight != b->members[i].weight)
            return false;
    return true;
}

static uint16_t *nexthop_flags(const struct check *check, const struct id_rec *rec)
{
    return rec->table == &check->dp->shadow.sets
               ? &((struct dp_set_rec *)dp_table_at(rec->table, rec->i))->flags
               : &((struct dp_nexthop_rec *)dp_table_at(rec->table, rec->i))->flags;
}

static struct dp_nexthop nexthop_of(const struct check *check, const struct id_rec *rec)
{
    const void *record = dp_table_at(rec->table, rec->i);
    return rec->table == &check->dp->shadow.sets ? dp_set_group_entry(record)
                                                 : dp_set_nexthop_entry(record);
}

static void see_nexthop(void *aux, const struct nlmsghdr *message)
{
    struct check *check = aux;
    struct dp_nexthop stands;
    char text[DP_ENTRY_TEXT];

    if (!dp_nexthop_parse(message, &stands))
        return;
    const struct id_rec *rec = dp_table_find(&check->ids, &stands.id);
    bool is_ours = stands.protocol == DP_PROTOCOL;
    if (!rec && is_ours) {
        tell(check, 0, "nexthop", "extra", dp_nexthop_format(&stands, text));
        check->nexthops =
            em_realloc(check->nexthops, (check->n_nexthops + 1) * sizeof(check->nexthops[0]));
        check->nexthops[check->n_nexthops++] = stands.id;
    }
    if (!rec || rec->table == &check->dp->shadow.groups)
        return;
    dp_set_sort(stands.members, stands.n_members);
    struct dp_nexthop want = nexthop_of(check, rec);
    uint16_t *flags = nexthop_flags(check, rec);
    *flags |= DP_SEEN;
    if (is_ours && is_same_nexthop(&stands, &want))
        return;
    tell(check, 0, "nexthop", is_ours ? "wrong" : "foreign", dp_nexthop_format(&stands, text));
    if (is_ours)
        *flags |= DP_DIRTY;
}

static void judge_nexthop(struct check *check, const struct id_rec *rec)
{
    char text[DP_ENTRY_TEXT];
    uint16_t *flags = nexthop_flags(check, rec);
    struct dp_nexthop want = nexthop_of(check, rec);

    check->n++;
    if (!(*flags & DP_SEEN)) {
        tell(check, 0, "nexthop", "missing", dp_nexthop_format(&want, text));
        *flags |= DP_DIRTY;
    }
    if (!check->is_repair || !(*flags & DP_DIRTY))
        return;
    dp_nexthop_message(check->dp->nl, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, &want);
    int r = dp_nl_commit(check->dp->nl);
    note(check, r);
    if (r == 0)
        *flags &= ~DP_DIRTY;
}

/* Addresses before the groups that name them: the order in which they were indexed. */
static int check_nexthops(struct check *check)
{
    index_ids(check);
    dp_nexthop_dump_message(check->dp->nl);
    int r = dp_nl_read(check->dp->nl, see_nexthop, check);
    if (r)
        return r;
    for (uint32_t i = 0; i < check->ids.len; i++) {
        const struct id_rec *rec = dp_table_at(&check->ids, i);
        if (rec->table != &check->dp->shadow.groups)
            judge_nexthop(check, rec);
    }
    for (size_t i = 0; check->is_repair && i < check->n_nexthops; i++) {
        struct dp_nexthop extra = {.id = check->nexthops[i]};
        dp_nexthop_message(check->dp->nl, RTM_DELNEXTHOP, 0, &extra);
        note(check, dp_nl_commit(check->dp->nl));
    }
    return 0;
}

/* ---- FDBs */

static void tell_fdb(struct check *check, const char *kind, uint32_t network_id,
                     const struct dp_fdb *fdb)
{
    static const uint8_t zero[EM_MAC_SIZE];
    const struct dp_network_rec *network = dp_shadow_network(&check->dp->shadow, network_id);
    char bridge[IFNAMSIZ], device[IFNAMSIZ] = "?", text[DP_ENTRY_TEXT];
    bool is_flood = memcmp(fdb->mac, zero, EM_MAC_SIZE) == 0;

    dp_bridge_name(network_id, bridge);
    if (fdb->ifindex == network->vxlan)
        dp_vxlan_name(network_id, device);
    for (uint32_t i = 0; i < check->dp->shadow.ports.len; i++) {
        const struct dp_port_rec *port = dp_table_at(&check->dp->shadow.ports, i);
        if (port->ifindex == fdb->ifindex)
            memcpy(device, port->device, sizeof(device));
    }
    tell(check, network_id, is_flood ? "flood" : "fdb", kind,
         dp_fdb_format(fdb, device, fdb->flags & NTF_SELF ? NULL : bridge, text));
}

static void add_extra_fdb(struct check *check, uint32_t network_id, const struct dp_fdb *fdb)
{
    tell_fdb(check, "extra", network_id, fdb);
    check->fdbs = em_realloc(check->fdbs, (check->n_fdbs + 1) * sizeof(check->fdbs[0]));
    check->fdbs[check->n_fdbs++] = *fdb;
}

static void see_flood(struct check *check, uint32_t network_id, const struct dp_fdb *fdb)
{
    struct dp_flood_rec key = dp_flood_key(check->dp, network_id, &fdb->dst, fdb->vni, fdb->port);
    struct dp_flood_rec *rec = dp_table_find(&check->dp->shadow.floods, &key);
    if (rec)
        rec->flags |= DP_SEEN;
    else if (fdb->flags & DP_FDB_MARK)
        add_extra_fdb(check, network_id, fdb);
    else
        tell_fdb(check, "foreign", network_id, fdb);
}

/* A half without our mark: strangers' are told; what the bridge keeps for itself (learned
 * addresses, those of its ports) is its own business. */
static void see_foreign(struct check *check, uint32_t network_id, const struct dp_fdb *fdb,
                        struct dp_mac_rec *rec)
{
    if (!(fdb->flags & NTF_SELF) && !(fdb->state & NUD_NOARP))
        return;
    tell_fdb(check, "foreign", network_id, fdb);
    if (rec)
        rec->flags |= fdb->flags & NTF_SELF ? DP_ON_VXLAN : DP_ON_BRIDGE;
    else
        dp_shadow_put_mac(&check->dp->shadow, network_id, fdb->mac)->flags = DP_FOREIGN;
}

static bool is_as_wanted(const struct check *check, const struct dp_mac_rec *rec,
                         const struct dp_fdb *fdb)
{
    if (!(fdb->flags & NTF_SELF))
        return fdb->ifindex == dp_mac_bridge_entry(check->dp, rec).ifindex;
    struct dp_fdb want = dp_mac_vxlan_entry(check->dp, rec);
    return fdb->nhid == want.nhid && fdb->vni == want.vni && fdb->port == want.port &&
           fdb->dst.size == want.dst.size &&
           memcmp(fdb->dst.addr, want.dst.addr, want.dst.size) == 0;
}

static void see_mac(struct check *check, uint32_t network_id, const struct dp_fdb *fdb)
{
    struct dp_mac_rec *rec = dp_shadow_mac(&check->dp->shadow, network_id, fdb->mac);
    bool is_vxlan_half = fdb->flags & NTF_SELF;

    if (!(fdb->flags & DP_FDB_MARK)) {
        see_foreign(check, network_id, fdb, rec);
        return;
    }
    if (rec && rec->flags & DP_ADOPTED)
        return;
    if (!rec || rec->flags & DP_FOREIGN || (is_vxlan_half && rec->flags & DP_LOCAL)) {
        add_extra_fdb(check, network_id, fdb);
        return;
    }
    rec->flags |= is_vxlan_half ? DP_ON_VXLAN : DP_ON_BRIDGE;
    if (!is_as_wanted(check, rec, fdb)) {
        tell_fdb(check, "wrong", network_id, fdb);
        rec->flags |= DP_DIRTY;
    }
}

static void see_fdb(void *aux, const struct nlmsghdr *message)
{
    static const uint8_t zero[EM_MAC_SIZE];
    struct check *check = aux;
    struct dp_fdb fdb;

    if (!dp_fdb_parse(message, &fdb))
        return;
    const struct dp_device_rec *device = dp_shadow_device(&check->dp->shadow, fdb.ifindex);
    if (!device || (fdb.flags & NTF_SELF && device->role != DP_DEVICE_VXLAN))
        return;
    const struct dp_network_rec *network =
        dp_shadow_network(&check->dp->shadow, device->network_id);
    if (network->flags & DP_ADOPTED)
        return;
    if (memcmp(fdb.mac, zero, EM_MAC_SIZE) == 0)
        see_flood(check, device->network_id, &fdb);
    else
        see_mac(check, device->network_id, &fdb);
}

static void judge_mac(struct check *check, struct dp_mac_rec *rec)
{
    uint16_t whole = rec->flags & DP_LOCAL ? DP_ON_BRIDGE : DP_ON_BRIDGE | DP_ON_VXLAN;
    uint16_t missing = whole & ~rec->flags;

    check->n++;
    rec->flags &= (uint16_t) ~(DP_ON_BRIDGE | DP_ON_VXLAN);
    if (missing & DP_ON_BRIDGE) {
        struct dp_fdb fdb = dp_mac_bridge_entry(check->dp, rec);
        tell_fdb(check, "missing", rec->network_id, &fdb);
    }
    if (missing & DP_ON_VXLAN) {
        struct dp_fdb fdb = dp_mac_vxlan_entry(check->dp, rec);
        tell_fdb(check, "missing", rec->network_id, &fdb);
    }
    if (missing)
        rec->flags |= DP_DIRTY;
    if (check->is_repair && rec->flags & DP_DIRTY)
        note(check, dp_mac_resend(check->dp, rec));
}

static void judge_flood(struct check *check, struct dp_flood_rec *rec)
{
    check->n++;
    if (rec->flags & DP_SEEN && !(rec->flags & DP_DIRTY))
        return;
    struct dp_fdb fdb = dp_flood_entry(check->dp, rec);
    tell_fdb(check, "missing", rec->network_id, &fdb);
    if (check->is_repair)
        note(check, dp_flood_resend(check->dp, rec));
    else
        rec->flags |= DP_DIRTY;
}

/* Before a dump: what strangers have is found anew. */
static void forget_what_was_seen(struct dp_shadow *shadow)
{
    for (uint32_t i = shadow->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&shadow->macs, i);
        rec->flags &= (uint16_t) ~(DP_ON_BRIDGE | DP_ON_VXLAN);
        if (rec->flags & DP_FOREIGN)
            dp_table_remove(&shadow->macs, rec);
    }
    for (uint32_t i = 0; i < shadow->floods.len; i++)
        ((struct dp_flood_rec *)dp_table_at(&shadow->floods, i))->flags &= ~DP_SEEN;
}

static int check_fdbs(struct check *check)
{
    struct dp_shadow *shadow = &check->dp->shadow;

    forget_what_was_seen(shadow);
    dp_neigh_dump_message(check->dp->nl, AF_BRIDGE);
    int r = dp_nl_read(check->dp->nl, see_fdb, check);
    if (r)
        return r;
    for (size_t i = 0; check->is_repair && i < check->n_fdbs; i++) {
        dp_fdb_message(check->dp->nl, RTM_DELNEIGH, 0, &check->fdbs[i]);
        note(check, dp_nl_commit(check->dp->nl));
    }
    for (uint32_t i = 0; i < shadow->macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&shadow->macs, i);
        if (!(rec->flags & (DP_ADOPTED | DP_FOREIGN)))
            judge_mac(check, rec);
    }
    for (uint32_t i = 0; i < shadow->floods.len; i++) {
        struct dp_flood_rec *rec = dp_table_at(&shadow->floods, i);
        if (!(rec->flags & DP_ADOPTED))
            judge_flood(check, rec);
    }
    return 0;
}

/* ---- neighbours */

static void tell_neigh(struct check *check, const char *kind, uint32_t network_id,
                       const struct dp_neigh *neigh)
{
    char bridge[IFNAMSIZ], text[DP_ENTRY_TEXT];
    tell(check, network_id, "neighbour", kind,
         dp_neigh_format(neigh, dp_bridge_name(network_id, bridge), text));
}

static void see_neigh(void *aux, const struct nlmsghdr *message)
{
    struct check *check = aux;
    struct dp_neigh neigh;

    if (!dp_neigh_parse(message, &neigh))
        return;
    const struct dp_device_rec *device = dp_shadow_device(&check->dp->shadow, neigh.ifindex);
    if (!device || device->role != DP_DEVICE_BRIDGE)
        return;
    uint32_t id = device->network_id;
    struct dp_neigh_ref ref = dp_shadow_neigh(&check->dp->shadow, id, &neigh.ip);
    bool is_ours = neigh.protocol == DP_PROTOCOL;
    if (ref.record && !is_ours) {
        bool is_set = neigh.state & (NUD_PERMANENT | NUD_NOARP);
        tell_neigh(check, is_set ? "foreign" : "wrong", id, &neigh);
        *ref.flags |= DP_SEEN | (is_set ? 0 : DP_DIRTY);
    } else if (ref.record) {
        *ref.flags |= DP_SEEN;
        if (*ref.flags & DP_ADOPTED ||
            (memcmp(ref.mac, neigh.mac, EM_MAC_SIZE) == 0 && neigh.state & DP_NEIGH_STATE))
            return;
        tell_neigh(check, "wrong", id, &neigh);
        *ref.flags |= DP_DIRTY;
    } else if (is_ours && !(dp_shadow_network(&check->dp->shadow, id)->flags & DP_ADOPTED)) {
        tell_neigh(check, "extra", id, &neigh);
        check->neighs = em_realloc(check->neighs, (check->n_neighs + 1) * sizeof(check->neighs[0]));
        check->neighs[check->n_neighs++] = neigh;
    }
}

static void judge_neighs(struct check *check, struct dp_table *table)
{
    for (uint32_t i = 0; i < table->len; i++) {
        uint32_t id;
        struct em_ip ip;
        struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, &id, &ip);
        if (*ref.flags & DP_ADOPTED)
            continue;
        check->n++;
        if (!(*ref.flags & DP_SEEN)) {
            struct dp_neigh neigh =
                dp_neigh_entry(dp_shadow_network(&check->dp->shadow, id), &ip, ref.mac);
            tell_neigh(check, "missing", id, &neigh);
            *ref.flags |= DP_DIRTY;
        }
        if (!check->is_repair || !(*ref.flags & DP_DIRTY))
            continue;
        int r = dp_neigh_resend(check->dp, id, &ip, ref.mac);
        note(check, r);
        if (r == 0)
            *ref.flags &= ~DP_DIRTY;
    }
}

static int check_neighs(struct check *check, struct dp_table *table, uint8_t family)
{
    for (uint32_t i = 0; i < table->len; i++) {
        uint32_t id;
        struct em_ip ip;
        *dp_shadow_neigh_at(table, i, &id, &ip).flags &= ~DP_SEEN;
    }
    check->n_neighs = 0;
    dp_neigh_dump_message(check->dp->nl, family);
    int r = dp_nl_read(check->dp->nl, see_neigh, check);
    if (r)
        return r;
    for (size_t i = 0; check->is_repair && i < check->n_neighs; i++) {
        dp_neigh_message(check->dp->nl, RTM_DELNEIGH, 0, &check->neighs[i]);
        note(check, dp_nl_commit(check->dp->nl));
    }
    judge_neighs(check, table);
    return 0;
}

int64_t dp_check(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux)
{
    struct check check = {.dp = dp, .is_repair = repair, .visit = visit, .aux = aux};

    dp_table_init(&check.ids, sizeof(struct id_rec), sizeof(uint32_t));
    check_devices(&check);
    int r = check_nexthops(&check);
    if (r == 0)
        r = check_fdbs(&check);
    if (r == 0)
        r = check_neighs(&check, &dp->shadow.neighs4, AF_INET);
    if (r == 0)
        r = check_neighs(&check, &dp->shadow.neighs6, AF_INET6);
    free(check.fdbs);
    free(check.neighs);
    free(check.nexthops);
    dp_table_fini(&check.ids);
    r = r ? r : check.err;
    return r ? r : check.n;
}
