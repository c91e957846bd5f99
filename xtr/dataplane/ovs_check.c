/* Is what stands in the switch what the shadow says?  A dump, read and compared in turns.
 *
 * The dump shows the switch as it was when it was asked for; what is sent later is noted beside
 * it, so anything may be applied between two turns.  Nothing is cleared first: what is missing or
 * wrong is sent again, and what is ours and nobody's is removed at the end.  The same walk brings
 * everything back after ovs-vswitchd has been restarted: then the dump is empty. */
#include "ovs_check.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES 262144 /* of a turn: a millisecond or two */

static void judge(struct dp *dp, void *aux, struct of_flow *flow)
{
    struct dp_check *check = aux;
    enum ovs_verdict verdict = ovs_mirror_judge(check, flow);

    if (verdict > check->worst)
        check->worst = verdict;
}

static void tell(struct dp_check *check, uint32_t network_id, const char *table, const char *kind,
                 const char *entry)
{
    struct dp_difference difference = {
        .network_id = network_id, .table = table, .kind = kind, .entry = entry};
    check->visit(check->aux, &difference);
}

/* All flows of a record have been judged; true if it has to be sent again. */
static bool conclude(struct dp_check *check, bool is_claimed, uint32_t network_id,
                     const char *table, const char *entry)
{
    static const char *const kinds[] = {
        [OVS_MISSING] = "missing", [OVS_WRONG] = "wrong", [OVS_FOREIGN] = "foreign"};
    enum ovs_verdict worst = check->worst;

    check->worst = OVS_STANDS;
    if (!is_claimed)
        return false;
    check->result.n_compared++;
    if (worst == OVS_STANDS)
        return false;
    check->result.n_blocked += worst == OVS_FOREIGN;
    tell(check, network_id, table, kinds[worst], entry);
    return check->is_repair && worst != OVS_FOREIGN;
}

static void note_foreign(const struct dp_check *check, uint16_t *flags)
{
    *flags = (uint16_t)(check->worst == OVS_FOREIGN ? *flags | DP_FOREIGN : *flags & ~DP_FOREIGN);
}

/* What cannot be repaired does not keep the rest from it, unless nobody answers.  That a device is
 * missing has been told. */
static void note_trouble(struct dp_check *check, int err)
{
    int *first = err == -ENOTCONN || err == -ETIMEDOUT || err == -ENOBUFS ? &check->result.err
                                                                          : &check->trouble;
    if (err && err != -ENODEV && !*first)
        *first = err;
}

/* ---- the walk, record by record */

/* Is it still there? */
static void check_stranger(struct dp_check *check)
{
    uint64_t *key = dp_table_at(&check->dp->strangers, --check->at);
    const struct ovs_seen_rec *seen = dp_table_find(&check->flows, key);

    if (!seen || seen->flags & OVS_SEEN_OURS)
        dp_table_remove(&check->dp->strangers, key);
}

static void check_set(struct dp_check *check)
{
    struct dp *dp = check->dp;
    struct ovs_set_rec *set = dp_table_at(&dp->sets, --check->at);
    uint64_t key = set->group_id;
    struct ovs_seen_rec *seen = dp_table_find(&check->groups, &key);
    char entry[48];

    if (seen)
        seen->flags |= OVS_SEEN_KNOWN;
    if (set->serial > check->serial)
        return;
    bool stands =
        seen && seen->value == em_hash(em_buf_head(&set->buckets), em_buf_size(&set->buckets));
    snprintf(entry, sizeof entry, "group 0x%x of set %u", set->group_id, set->set_id);
    check->worst = stands ? OVS_STANDS : seen ? OVS_WRONG : OVS_MISSING;
    set->is_unsure &= !stands;
    if (conclude(check, true, 0, "group", entry))
        ovs_put_group(dp, seen ? OF_GROUP_MODIFY : OF_GROUP_ADD, set);
}

static void check_base(struct dp_check *check)
{
    check->at = 0;
    ovs_base_flows(check->dp, judge, check);
    if (conclude(check, true, 0, "flow", "flows of all networks"))
        ovs_base_flows(check->dp, ovs_add, NULL);
}

static void check_network(struct dp_check *check)
{
    struct dp *dp = check->dp;
    struct ovs_network_rec *rec = dp_table_at(&dp->networks, --check->at);
    bool is_claimed = !(rec->flags & DP_ADOPTED);
    char entry[48];

    ovs_network_flows(dp, rec, judge, check);
    snprintf(entry, sizeof entry, "segmentation-id %u", rec->want.segmentation_id);
    if (conclude(check, is_claimed, rec->network_id, "flow", entry))
        ovs_network_flows(dp, rec, ovs_add, NULL);
    ovs_flood_flows(dp, rec, judge, check);
    if (conclude(check, is_claimed && !rec->is_behind, rec->network_id, "flood", "list of places"))
        ovs_flood_flows(dp, rec, ovs_add, NULL);
}

static void check_port(struct dp_check *check)
{
    struct dp *dp = check->dp;
    struct ovs_port_rec rec = *(struct ovs_port_rec *)dp_table_at(&dp->ports, --check->at);
    struct dp_op op = {.network.id = rec.network_id, .vlan = rec.vlan};
    char entry[IFNAMSIZ + 32];

    memcpy(op.device, rec.device, sizeof op.device);
    op.is_borrowed = rec.flags & DP_BORROWED;
    snprintf(entry, sizeof entry, "%s on %s", rec.device, dp->bridge);
    ovs_port_flows(dp, &rec, judge, check);
    note_foreign(check, &((struct ovs_port_rec *)dp_table_at(&dp->ports, check->at))->flags);
    if (!ovs_number(dp, rec.device))
        check->worst = OVS_MISSING;
    if (!conclude(check, !(rec.flags & DP_ADOPTED), rec.network_id, "device", entry))
        return;
    if (!rec.ofport)
        note_trouble(check, ovs_port_put(dp, &op));
    if (rec.ofport)
        ovs_port_flows(dp, &rec, ovs_add, NULL);
}

static void check_mac(struct dp_check *check)
{
    struct dp *dp = check->dp;
    struct dp_mac_rec *rec = dp_table_at(&dp->macs, --check->at);
    char mac[EM_MAC_TEXT];

    ovs_mac_flows(dp, rec, judge, check);
    note_foreign(check, &rec->flags);
    if (conclude(check, !(rec->flags & DP_ADOPTED), rec->network_id, "fdb",
                 em_mac_format(rec->mac, mac)))
        ovs_mac_flows(dp, rec, ovs_add, NULL);
}

static void check_neigh(struct dp_check *check, struct dp_table *table)
{
    struct dp *dp = check->dp;
    uint32_t id;
    struct em_ip ip;
    struct dp_neigh_ref ref = dp_shadow_neigh_at(table, --check->at, &id, &ip);
    bool is_local = ovs_local(dp, id, ref.mac);
    char text[EM_IP_TEXT], mac[EM_MAC_TEXT], entry[EM_IP_TEXT + EM_MAC_TEXT + 8];

    ovs_neigh_flows(dp, id, &ip, ref.mac, judge, check);
    if (is_local)
        ovs_guard_flows(dp, id, &ip, ref.mac, judge, check);
    note_foreign(check, ref.flags);
    snprintf(entry, sizeof entry, "%s lladdr %s", em_ip_format(ip.addr, ip.size, text),
             em_mac_format(ref.mac, mac));
    if (!conclude(check, !(*ref.flags & DP_ADOPTED), id, "neighbour", entry))
        return;
    ovs_neigh_flows(dp, id, &ip, ref.mac, ovs_add, NULL);
    if (is_local)
        ovs_guard_flows(dp, id, &ip, ref.mac, ovs_add, NULL);
}

static void check_neigh4(struct dp_check *check)
{
    check_neigh(check, &check->dp->neighs4);
}

static void check_neigh6(struct dp_check *check)
{
    check_neigh(check, &check->dp->neighs6);
}

/* ---- what nobody's record stands for */

static void tell_extra(struct dp *dp, void *aux, const struct of_seen_flow *seen)
{
    struct dp_check *check = aux;
    uint64_t key = ovs_flow_key(seen->table, seen->priority, seen->match, seen->match_size);
    const struct ovs_seen_rec *rec = key ? dp_table_find(&check->flows, &key) : NULL;
    bool is_ours = (seen->cookie & OVS_COOKIE_MASK) == OVS_COOKIE;
    char entry[96];

    if (!rec || rec->flags & (OVS_SEEN_KNOWN | OVS_SEEN_LATER) ||
        (!is_ours && seen->table < OVS_TUNNEL))
        return;
    snprintf(entry, sizeof entry, "cookie=0x%llx table=%u priority=%u",
             (unsigned long long)seen->cookie, seen->table, seen->priority);
    tell(check, (uint32_t)of_seen_int(seen->match, seen->match_size, OF_REG0), "flow",
         is_ours ? "extra" : "foreign", entry);
    if (!is_ours && !dp_table_find(&dp->strangers, &key))
        dp_table_put(&dp->strangers, &key);
    if (!is_ours || !check->is_repair)
        return;
    of_flow_begin(&dp->flow, seen->table, seen->priority, seen->cookie);
    memcpy(dp->flow.match, seen->match, seen->match_size); /* a damaged one has no key */
    dp->flow.match_size = seen->match_size;
    ovs_remove(dp, NULL, &dp->flow);
}

static bool has_unknown(const struct dp_check *check)
{
    for (uint32_t i = 0; i < check->flows.len; i++) {
        const struct ovs_seen_rec *rec = dp_table_at(&check->flows, i);
        if (!(rec->flags & (OVS_SEEN_KNOWN | OVS_SEEN_LATER)))
            return true;
    }
    return false;
}

static void check_extra_groups(struct dp_check *check)
{
    struct dp *dp = check->dp;
    char entry[32];

    for (uint32_t i = 0; i < check->groups.len; i++) {
        const struct ovs_seen_rec *rec = dp_table_at(&check->groups, i);
        uint32_t id = (uint32_t)rec->key;
        if (rec->flags & OVS_SEEN_KNOWN || id < OVS_GROUP_FIRST || id > OVS_GROUP_LAST ||
            dp_table_find(&dp->group_ids, &id))
            continue;
        snprintf(entry, sizeof entry, "group 0x%x", id);
        tell(check, 0, "group", "extra", entry);
        if (check->is_repair && dp->conn)
            of_put_group(of_out(dp->conn), ovs_xid(dp), OF_GROUP_DELETE, OF_GROUP_ALL, id, NULL, 0);
    }
}

/* Hashes do not show what a flow was: those that nobody knows are looked at again. */
static void check_extra(struct dp_check *check)
{
    check->at = 0;
    check_extra_groups(check);
    if (!has_unknown(check) || !check->dp->conn)
        return;
    check->on_flow = tell_extra;
    check->xid_flows = of_xid(check->dp->conn);
    of_put_flow_dump(of_out(check->dp->conn), check->xid_flows, OF_TABLE_ALL, 0, 0, NULL);
}

/* ---- */

#define TABLE(member) offsetof(struct dp, member)

/* Each is called as long as 'at', which begins as the length of 'table', is not 0; those without
 * a table once. */
static const struct phase {
    size_t table;
    void (*look)(struct dp_check *check);
} phases[] = {
    {TABLE(strangers), check_stranger}, {TABLE(sets), check_set},       {0, check_base},
    {TABLE(networks), check_network},   {TABLE(ports), check_port},     {TABLE(macs), check_mac},
    {TABLE(neighs4), check_neigh4},     {TABLE(neighs6), check_neigh6}, {0, check_extra},
};
#define N_PHASES (int)(sizeof phases / sizeof phases[0])

static uint32_t length(const struct dp_check *check)
{
    const uint8_t *dp = (const void *)check->dp;
    size_t table = phases[check->phase].table;
    return table ? ((const struct dp_table *)(const void *)(dp + table))->len : 1;
}

struct dp_check *ovs_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux)
{
    struct dp_check *check = em_calloc(1, sizeof *check);

    *check = (struct dp_check){
        .dp = dp, .next = dp->checks, .is_repair = repair, .visit = visit, .aux = aux};
    dp_table_init(&check->flows, sizeof(struct ovs_seen_rec), sizeof(uint64_t));
    dp_table_init(&check->groups, sizeof(struct ovs_seen_rec), sizeof(uint64_t));
    dp->checks = check;
    return check;
}

static bool find_work(struct dp_check *check)
{
    while (check->phase < N_PHASES) {
        if (check->at > length(check))
            check->at = length(check);
        if (check->at > 0)
            return true;
        if (++check->phase < N_PHASES)
            check->at = length(check);
    }
    return check->xid_flows != 0;
}

bool ovs_check_step(struct dp_check *check, uint64_t budget_us)
{
    uint64_t begin = em_now_us();

    if (!check->dp->conn)
        check->result.err = check->result.err ? check->result.err : -ENOTCONN;
    if (check->result.err)
        return false;
    if (!check->is_asked) {
        check->dp->is_db_slow = false;
        if (check->is_repair)
            note_trouble(check, ovs_mend_tunnels(check->dp));
        ovs_mirror_ask(check);
        check->at = length(check);
    }
    if (ovs_mirror_read(check, READ_BYTES))
        return true;
    while (!check->result.err && find_work(check)) {
        if (check->phase >= N_PHASES)
            return ovs_mirror_read(check, READ_BYTES);
        phases[check->phase].look(check);
        if (em_now_us() - begin >= budget_us)
            break;
    }
    (void)ovs_write(check->dp);
    return !check->result.err && find_work(check);
}

struct dp_check_result ovs_check_end(struct dp_check *check)
{
    struct dp_check_result result = check->result;
    result.err = result.err ? result.err : check->trouble;
    struct dp_check **link = &check->dp->checks;

    while (*link != check)
        link = &(*link)->next;
    *link = check->next;
    if (check->dp->conn && check->is_repair)
        (void)of_barrier(check->dp->conn);
    dp_table_fini(&check->flows);
    dp_table_fini(&check->groups);
    free(check);
    return result;
}
