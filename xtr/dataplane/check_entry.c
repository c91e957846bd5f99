/* MACs and neighbours, looked up a batch at a time and sent again a batch at a time. */
#include "check.h"

#include <linux/rtnetlink.h>
#include <string.h>

#define MAC_MESSAGES 2 /* of a MAC, to look it up and to send it again */
#define SHARE        (DP_NL_BATCH / MAC_MESSAGES)

void dp_check_tell_fdb(struct dp_check *check, const char *kind, uint32_t network_id,
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
    dp_check_tell(check, network_id, is_flood ? "flood" : "fdb", kind,
                  dp_fdb_format(fdb, device, fdb->flags & NTF_SELF ? NULL : bridge, text));
}

void dp_check_tell_neigh(struct dp_check *check, const char *kind, uint32_t network_id,
                         const struct dp_neigh *neigh)
{
    char bridge[IFNAMSIZ], text[DP_ENTRY_TEXT];
    dp_check_tell(check, network_id, "neighbour", kind,
                  dp_neigh_format(neigh, dp_bridge_name(network_id, bridge), text));
}

/* ---- MACs */

struct half {
    struct dp_fdb fdb;
    bool is_shown;
    enum dp_found found;
};

/* A MAC's halves: in the vxlan device's table and in the bridge's. */
struct halves {
    struct half vxlan, bridge;
};

static void take_half(void *aux, size_t i, const struct nlmsghdr *message)
{
    struct halves *all = aux;
    struct half *half = i % 2 ? &all[i / 2].bridge : &all[i / 2].vxlan;
    half->is_shown = dp_fdb_parse(message, &half->fdb);
}

static bool is_adopted(const struct dp_mac_rec *rec)
{
    return rec->flags & DP_ADOPTED && !(rec->flags & DP_FOREIGN);
}

/* Of the records from 'first' on. */
static void ask_halves(struct dp_check *check, uint32_t first, uint32_t n, struct halves *all)
{
    int errs[DP_NL_BATCH];

    for (uint32_t i = 0; i < n; i++) {
        const struct dp_mac_rec *rec = dp_table_at(&check->dp->shadow.macs, first + i);
        struct dp_fdb key = {.ifindex =
                                 dp_shadow_network(&check->dp->shadow, rec->network_id)->vxlan};
        memcpy(key.mac, rec->mac, EM_MAC_SIZE);
        key.flags = NTF_SELF;
        dp_fdb_message(check->dp->nl, RTM_GETNEIGH, 0, &key);
        key.flags = NTF_MASTER;
        dp_fdb_message(check->dp->nl, RTM_GETNEIGH, 0, &key);
    }
    (void)dp_nl_ask(check->dp->nl, errs, take_half, all);
    for (uint32_t i = 0; i < n; i++) {
        all[i].vxlan.found = dp_check_found(errs[2 * i], all[i].vxlan.is_shown);
        all[i].bridge.found = dp_check_found(errs[2 * i + 1], all[i].bridge.is_shown);
    }
}

/* A half that somebody has set.  What the bridge keeps for itself (learned addresses, those
 * of its ports) is its own business. */
static bool is_foreign(const struct half *half)
{
    if (half->found != DP_FOUND_ONE || half->fdb.flags & DP_FDB_MARK)
        return false;
    return half->fdb.flags & NTF_SELF || half->fdb.state & NUD_NOARP;
}

static bool is_as_wanted(const struct dp_fdb *want, const struct dp_fdb *fdb)
{
    if (!(fdb->flags & NTF_SELF))
        return fdb->ifindex == want->ifindex;
    return fdb->nhid == want->nhid && fdb->vni == want->vni && fdb->port == want->port &&
           fdb->dst.size == want->dst.size &&
           memcmp(fdb->dst.addr, want->dst.addr, want->dst.size) == 0;
}

/* True if it has to be sent again. */
static bool judge_half(struct dp_check *check, uint32_t network_id, const struct half *half,
                       const struct dp_fdb *want)
{
    bool is_ours = half->found == DP_FOUND_ONE && half->fdb.flags & DP_FDB_MARK;

    if (half->found == DP_FOUND_UNKNOWN || (is_ours && is_as_wanted(want, &half->fdb)))
        return false;
    dp_check_tell_fdb(check, is_ours ? "wrong" : "missing", network_id,
                      is_ours ? &half->fdb : want);
    return true;
}

/* False: there is nothing of a stranger's. */
static bool tell_foreign(struct dp_check *check, uint32_t network_id, const struct halves *halves)
{
    bool is_vxlan = is_foreign(&halves->vxlan), is_bridge = is_foreign(&halves->bridge);

    if (is_vxlan)
        dp_check_tell_fdb(check, "foreign", network_id, &halves->vxlan.fdb);
    if (is_bridge)
        dp_check_tell_fdb(check, "foreign", network_id, &halves->bridge.fdb);
    return is_vxlan || is_bridge;
}

/* Told and marked DP_DIRTY if it is not as it should be; before a stranger's entry we step
 * back.  A record of a stranger's goes with the entry. */
static bool is_out_of_place(const struct dp_check *check, const struct dp_mac_rec *rec)
{
    const struct dp_device_rec *device =
        rec->flags & DP_LOCAL ? dp_shadow_device(&check->dp->shadow, rec->place) : NULL;
    return device && device->role == DP_DEVICE_PORT && device->state == DP_LINK_DOWN;
}

static void judge_mac(struct dp_check *check, struct dp_mac_rec *rec, const struct halves *halves)
{
    if (is_out_of_place(check, rec))
        return;
    bool is_foreigner = tell_foreign(check, rec->network_id, halves);

    if (rec->flags & DP_FOREIGN) {
        if (!is_foreigner)
            dp_shadow_remove_mac(&check->dp->shadow, rec);
        return;
    }
    check->result.n_compared++;
    if (is_foreigner) {
        check->result.n_blocked++;
        rec->flags &= (uint16_t)~DP_DIRTY;
        return;
    }
    struct dp_fdb want = dp_mac_bridge_entry(check->dp, rec);
    bool is_bad = judge_half(check, rec->network_id, &halves->bridge, &want);
    if (!(rec->flags & DP_LOCAL)) {
        want = dp_mac_vxlan_entry(check->dp, rec);
        is_bad |= judge_half(check, rec->network_id, &halves->vxlan, &want);
    } else if (halves->vxlan.found == DP_FOUND_ONE) {
        dp_check_tell_fdb(check, "extra", rec->network_id, &halves->vxlan.fdb);
        is_bad = true;
    }
    if (is_bad)
        rec->flags |= DP_DIRTY;
    else if (halves->vxlan.found != DP_FOUND_UNKNOWN && halves->bridge.found != DP_FOUND_UNKNOWN)
        rec->flags &= (uint16_t)~DP_DIRTY;
}

/* Those of the records from 'first' on that are dirty. */
static void resend_macs(struct dp_check *check, uint32_t first, uint32_t n)
{
    struct dp_mac_rec *sent[SHARE];
    int errs[DP_NL_BATCH];
    uint32_t n_sent = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct dp_mac_rec *rec = dp_table_at(&check->dp->shadow.macs, first + i);
        if (is_adopted(rec) || rec->flags & DP_FOREIGN || !(rec->flags & DP_DIRTY))
            continue;
        dp_mac_resend_messages(check->dp, rec);
        sent[n_sent++] = rec;
    }
    (void)dp_nl_send(check->dp->nl, errs);
    for (uint32_t i = 0; i < n_sent; i++) {
        int r = errs[2 * i] ? errs[2 * i] : errs[2 * i + 1];
        dp_check_note(check, r);
        if (r == 0)
            sent[i]->flags &= (uint16_t)~DP_DIRTY;
    }
}

void dp_check_macs(struct dp_check *check)
{
    struct dp_table *macs = &check->dp->shadow.macs;
    uint32_t n = dp_check_share(check, macs, MAC_MESSAGES);
    struct halves all[SHARE] = {0};

    check->at -= n;
    ask_halves(check, check->at, n, all);
    for (uint32_t i = n; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(macs, check->at + i);
        if (!is_adopted(rec))
            judge_mac(check, rec, &all[i]);
    }
    n = n < macs->len - check->at ? n : macs->len - check->at;
    if (check->is_repair)
        resend_macs(check, check->at, n);
}

/* ---- neighbours */

struct neighs {
    struct dp_neigh stands[DP_NL_BATCH];
    bool is_there[DP_NL_BATCH];
    int errs[DP_NL_BATCH];
};

static void take_neigh(void *aux, size_t i, const struct nlmsghdr *message)
{
    struct neighs *neighs = aux;
    neighs->is_there[i] = dp_neigh_parse(message, &neighs->stands[i]);
}

static struct dp_neigh wanted_neigh(const struct dp_check *check, struct dp_table *table,
                                    uint32_t i, uint32_t *ret_network)
{
    struct em_ip ip;
    struct dp_neigh_ref ref = dp_shadow_neigh_at(table, i, ret_network, &ip);
    return dp_neigh_entry(dp_shadow_network(&check->dp->shadow, *ret_network), &ip, ref.mac);
}

static void ask_neighs(struct dp_check *check, struct dp_table *table, uint32_t n,
                       struct neighs *neighs)
{
    memset(neighs->is_there, 0, sizeof(neighs->is_there));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id;
        struct dp_neigh want = wanted_neigh(check, table, check->at + i, &id);
        struct dp_neigh key = {.ifindex = want.ifindex, .ip = want.ip};
        dp_neigh_message(check->dp->nl, RTM_GETNEIGH, 0, &key);
    }
    (void)dp_nl_ask(check->dp->nl, neighs->errs, take_neigh, neighs);
}

/* NULL: as it should be, or not known.  One that the kernel has found by itself gives way. */
static const char *judge_neigh(const struct dp_neigh *want, const struct neighs *neighs, uint32_t i)
{
    const struct dp_neigh *stands = &neighs->stands[i];

    switch (dp_check_found(neighs->errs[i], neighs->is_there[i])) {
    case DP_FOUND_NONE:
        return "missing";
    case DP_FOUND_UNKNOWN:
        return NULL;
    case DP_FOUND_ONE:
        break;
    }
    if (stands->protocol != DP_PROTOCOL)
        return stands->state & (NUD_PERMANENT | NUD_NOARP) ? "foreign" : "wrong";
    bool is_same =
        memcmp(want->mac, stands->mac, EM_MAC_SIZE) == 0 && stands->state & DP_NEIGH_STATE;
    return is_same ? NULL : "wrong";
}

static void settle_neigh(struct dp_check *check, struct dp_table *table, uint32_t i,
                         const struct neighs *neighs)
{
    uint32_t id;
    struct em_ip ip;
    uint16_t *flags = dp_shadow_neigh_at(table, check->at + i, &id, &ip).flags;
    struct dp_neigh want = wanted_neigh(check, table, check->at + i, &id);

    if (*flags & DP_ADOPTED)
        return;
    const char *kind = judge_neigh(&want, neighs, i);
    check->result.n_compared++;
    check->result.n_blocked += kind && *kind == 'f';
    if (kind)
        dp_check_tell_neigh(check, kind, id, *kind == 'm' ? &want : &neighs->stands[i]);
    if (kind && *kind == 'f')
        *flags &= (uint16_t)~DP_DIRTY;
    else if (kind)
        *flags |= DP_DIRTY;
}

static void resend_neighs(struct dp_check *check, struct dp_table *table, uint32_t n)
{
    uint16_t *sent[DP_NL_BATCH];
    int errs[DP_NL_BATCH];
    uint32_t n_sent = 0, id;
    struct em_ip ip;

    for (uint32_t i = 0; i < n; i++) {
        uint16_t *flags = dp_shadow_neigh_at(table, check->at + i, &id, &ip).flags;
        if (*flags & DP_ADOPTED || !(*flags & DP_DIRTY))
            continue;
        struct dp_neigh want = wanted_neigh(check, table, check->at + i, &id);
        dp_neigh_message(check->dp->nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &want);
        sent[n_sent++] = flags;
    }
    (void)dp_nl_send(check->dp->nl, errs);
    for (uint32_t i = 0; i < n_sent; i++) {
        dp_check_note(check, errs[i]);
        if (errs[i] == 0)
            *sent[i] &= (uint16_t)~DP_DIRTY;
    }
}

void dp_check_neighs(struct dp_check *check, struct dp_table *table)
{
    uint32_t n = dp_check_share(check, table, 1);
    struct neighs neighs;

    check->at -= n;
    ask_neighs(check, table, n, &neighs);
    for (uint32_t i = 0; i < n; i++)
        settle_neigh(check, table, i, &neighs);
    if (check->is_repair)
        resend_neighs(check, table, n);
}
