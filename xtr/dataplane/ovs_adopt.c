/* What an earlier run has left: flows say by match and cookie what they stand for. */
#include "ovs.h"

#include "base/clock.h"
#include "base/mem.h"
#include "ovs/bridge.h"
#include "ovs_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t field(const struct of_seen_flow *flow, enum of_field field)
{
    return of_seen_int(flow->match, flow->match_size, field);
}

static uint32_t network_of(const struct of_seen_flow *flow)
{
    return (uint32_t)field(flow, OF_REG0);
}

static void adopt_network(struct dp *dp, const struct of_seen_flow *flow, uint64_t value)
{
    uint32_t id = (uint32_t)value;

    if (flow->table != OVS_TUNNEL || !id || ovs_network(dp, id))
        return;
    struct ovs_network_rec *rec = dp_table_put(&dp->networks, &id);
    rec->want = (struct dp_network){.id = id, .segmentation_id = (uint32_t)field(flow, OF_TUN_ID)};
    rec->miss_fd = rec->miss_in = -1;
    rec->flags = DP_ADOPTED;
}

static const char *name_of(const struct dp *dp, uint32_t number)
{
    for (uint32_t i = 0; i < dp->numbers.len; i++) {
        const struct ovs_number_rec *rec = dp_table_at(&dp->numbers, i);
        if (rec->number == number)
            return rec->name;
    }
    return NULL;
}

static void adopt_port(struct dp *dp, const struct of_seen_flow *flow, uint64_t value)
{
    uint32_t number = (uint32_t)field(flow, OF_IN_PORT);
    uint16_t vlan = (uint16_t)(field(flow, OF_VLAN_VID) & 0xfff);
    const char *name = name_of(dp, number);
    uint32_t network_id = (uint32_t)value;

    if (flow->table != OVS_CLASSIFY || !name || ovs_port(dp, network_id, name, vlan))
        return;
    struct ovs_port_rec *rec = ovs_new_port(dp, network_id, name, vlan);
    rec->ofport = number;
    rec->flags = DP_ADOPTED | DP_BORROWED;
}

/* The place of a local one is put right when all ports are known. */
static void adopt_mac(struct dp *dp, const struct of_seen_flow *flow, uint64_t value,
                      uint16_t flags)
{
    const uint8_t *mac = of_seen_field(flow->match, flow->match_size, OF_ETH_DST);
    struct dp_mac_rec key = {.network_id = network_of(flow)};

    if (flow->table != OVS_FORWARD || !mac)
        return;
    memcpy(key.mac, mac, sizeof key.mac);
    if (dp_table_find(&dp->macs, &key))
        return;
    struct dp_mac_rec *rec = dp_table_put(&dp->macs, &key);
    rec->place = (uint32_t)value;
    rec->flags = DP_ADOPTED | flags;
}

static void adopt_address(struct dp *dp, const struct of_seen_flow *flow, uint64_t value)
{
    const uint8_t *v4 = of_seen_field(flow->match, flow->match_size, OF_ARP_TPA);
    const uint8_t *v6 = of_seen_field(flow->match, flow->match_size, OF_ND_TARGET);
    struct em_ip ip = {.size = v4 ? 4 : 16};

    if (flow->table != OVS_RESPOND || flow->priority != 10 || (!v4 && !v6))
        return;
    memcpy(ip.addr, v4 ? v4 : v6, ip.size);
    if (ovs_neigh(dp, network_of(flow), &ip).record)
        return;
    uint8_t mac[EM_MAC_SIZE];
    for (size_t i = EM_MAC_SIZE; i-- > 0; value >>= 8)
        mac[i] = (uint8_t)value;
    *ovs_neigh_set(dp, network_of(flow), &ip, mac).flags = DP_ADOPTED;
}

static void adopt_place(struct dp *dp, uint32_t network_id, struct ovs_flood_rec *place,
                        uint32_t ofport)
{
    for (size_t i = 0; i < dp->n_tunnels && place->size; i++) {
        if (dp->tunnels[i].ofport != ofport)
            continue;
        place->network_id = network_id;
        place->udp_port = dp->tunnels[i].udp_port;
        place->encap = (uint8_t)dp->tunnels[i].encap;
        if (!dp_table_find(&dp->floods, place))
            ((struct ovs_flood_rec *)dp_table_put(&dp->floods, place))->flags = DP_ADOPTED;
    }
}

/* The head-end list is there as actions only: address, segmentation-id, out. */
static void adopt_flood(struct dp *dp, const struct of_seen_flow *flow, uint64_t value)
{
    struct of_parts actions = of_applied(flow->instructions, flow->instructions_size);
    struct ovs_flood_rec place = {0};
    struct of_action action;

    if (flow->table != OVS_FORWARD || flow->priority != 10)
        return;
    while (of_next_action(&actions, &action)) {
        if (action.field == OF_TUN_IPV4_DST || action.field == OF_TUN_IPV6_DST) {
            place = (struct ovs_flood_rec){.size = action.field == OF_TUN_IPV4_DST ? 4 : 16};
            memcpy(place.addr, action.value, place.size);
        } else if (action.field == OF_TUN_ID) {
            place.vni =
                (uint32_t)action.value[5] << 16 | (uint32_t)action.value[6] << 8 | action.value[7];
        } else if (action.kind == OF_ACT_OUTPUT) {
            adopt_place(dp, (uint32_t)value, &place, action.number);
        }
    }
}

static void adopt_stranger(struct dp *dp, const struct of_seen_flow *flow)
{
    uint64_t key = ovs_flow_key(flow->table, flow->priority, flow->match, flow->match_size);
    if (key && !dp_table_find(&dp->strangers, &key))
        dp_table_put(&dp->strangers, &key);
}

static void adopt_flow(struct dp *dp, void *aux, const struct of_seen_flow *flow)
{
    uint64_t value = flow->cookie & 0xffffffffffffu;

    if ((flow->cookie & OVS_COOKIE_MASK) != OVS_COOKIE) {
        adopt_stranger(dp, flow);
        return;
    }
    switch ((enum ovs_kind)(flow->cookie >> 48 & 0xf)) {
    case OVS_NETWORK:
        adopt_network(dp, flow, value);
        break;
    case OVS_PORT:
        adopt_port(dp, flow, value);
        break;
    case OVS_LOCAL:
        adopt_mac(dp, flow, value, DP_LOCAL);
        break;
    case OVS_REMOTE:
        adopt_mac(dp, flow, value, 0);
        break;
    case OVS_ADDR:
        adopt_address(dp, flow, value);
        break;
    case OVS_FLOOD:
        adopt_flood(dp, flow, value);
        break;
    case OVS_BASE:
        break;
    }
}

static void adopt_group(struct dp *dp, void *aux, const struct of_seen_group *group)
{
    uint32_t id = group->group_id;

    if (dp_table_find(&dp->group_ids, &id))
        return;
    dp_table_put(&dp->group_ids, &id);
    if (id < OVS_GROUP_FIRST || id > OVS_GROUP_LAST)
        return;
    struct ovs_group_rec *rec = dp_table_put(&dp->groups, &id);
    em_buf_init(&rec->buckets);
    em_buf_append(&rec->buckets, group->buckets, group->size);
}

/* ---- afterwards */

static uint32_t port_at(const struct dp *dp, uint32_t network_id, uint32_t place)
{
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *port = dp_table_at(&dp->ports, i);
        if (port->network_id == network_id && ovs_place(port->ofport, port->vlan) == place)
            return port->id;
    }
    return 0;
}

/* A MAC behind a port that has gone is left to the first check, as flows that are nobody's. */
static void settle_macs(struct dp *dp)
{
    for (uint32_t i = dp->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (!(rec->flags & DP_LOCAL))
            continue;
        rec->place = port_at(dp, rec->network_id, rec->place);
        if (rec->place)
            ovs_count_addresses(dp, rec->network_id, rec->mac);
        else
            dp_table_remove(&dp->macs, rec);
    }
}

static void drop_stray(struct dp *dp, struct dp_table *table, void *record)
{
    if (table == &dp->neighs4 || table == &dp->neighs6) {
        ovs_neigh_drop(dp, dp_shadow_refer(table, record)); /* they are found by MAC, too */
        return;
    }
    if (table == &dp->ports)
        dp_table_remove(&dp->port_ids,
                        dp_table_find(&dp->port_ids, &((struct ovs_port_rec *)record)->id));
    dp_table_remove(table, record);
}

/* Networks without their own flow are none. */
static void drop_strays(struct dp *dp)
{
    struct dp_table *tables[] = {&dp->macs, &dp->neighs4, &dp->neighs6, &dp->floods, &dp->ports};

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (uint32_t i = tables[t]->len; i-- > 0;) {
            void *record = dp_table_at(tables[t], i);
            uint32_t network_id;
            memcpy(&network_id, record, sizeof network_id); /* the first of every key */
            if (!ovs_network(dp, network_id))
                drop_stray(dp, tables[t], record);
        }
}

static void judge(struct dp *dp, void *aux, struct of_flow *flow)
{
    struct dp_check *check = aux;
    enum ovs_verdict verdict = ovs_mirror_judge(check, flow);
    if (verdict > check->worst)
        check->worst = verdict;
}

/* What hangs on what is counted when all of it is known. */
static void count_uses(struct dp *dp)
{
    for (uint32_t i = 0; i < dp->macs.len; i++) {
        const struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        struct ovs_group_rec *group =
            rec->flags & DP_LOCAL ? NULL : dp_table_find(&dp->groups, &rec->place);
        if (group)
            group->n_macs++;
    }
    for (uint32_t i = 0; i < dp->floods.len; i++) {
        const struct ovs_flood_rec *rec = dp_table_at(&dp->floods, i);
        ovs_network(dp, rec->network_id)->n_places++;
    }
}

static void mark_places(struct dp_check *check)
{
    struct dp *dp = check->dp;

    for (uint32_t i = 0; i < dp->networks.len; i++) {
        struct ovs_network_rec *rec = dp_table_at(&dp->networks, i);
        check->worst = OVS_STANDS;
        ovs_network_flows(dp, rec, judge, check);
        rec->flags = (uint16_t)(rec->flags | (check->worst ? DP_DIRTY : 0));
    }
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
        check->worst = OVS_STANDS;
        ovs_port_flows(dp, rec, judge, check);
        rec->flags = (uint16_t)(rec->flags | (check->worst ? DP_DIRTY : 0));
    }
}

/* What is not as this run would make it is sent again when it is put. */
static void mark_dirty(struct dp_check *check)
{
    struct dp *dp = check->dp;
    struct dp_table *neighs[] = {&dp->neighs4, &dp->neighs6};

    mark_places(check);
    for (uint32_t i = 0; i < dp->macs.len; i++) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        check->worst = OVS_STANDS;
        ovs_mac_flows(dp, rec, judge, check);
        rec->flags = (uint16_t)(rec->flags | (check->worst ? DP_DIRTY : 0));
    }
    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = 0; i < neighs[t]->len; i++) {
            uint32_t id;
            struct em_ip ip;
            struct dp_neigh_ref ref = dp_shadow_neigh_at(neighs[t], i, &id, &ip);
            check->worst = OVS_STANDS;
            ovs_neigh_flows(dp, id, &ip, ref.mac, judge, check);
            *ref.flags = (uint16_t)(*ref.flags | (check->worst ? DP_DIRTY : 0));
        }
}

/* Which devices were put on the bridge by us. */
static int find_ours(struct dp *dp)
{
    struct ovs_port_seen *seen = NULL;
    size_t n = 0;
    char *why = NULL;
    int r = ovs_db_ports(dp, &seen, &n, &why);

    for (uint32_t i = 0; i < dp->ports.len && r == 0; i++) {
        struct ovs_port_rec *port = dp_table_at(&dp->ports, i);
        for (size_t s = 0; s < n; s++)
            if (strcmp(seen[s].name, port->device) == 0)
                port->flags &= (uint16_t)~DP_BORROWED;
    }
    free(seen);
    free(why);
    return r;
}

static void visit_nothing(void *aux, const struct dp_difference *difference)
{
}

int ovs_adopt(struct dp *dp)
{
    struct dp_check *check = ovs_check_start(dp, false, visit_nothing, NULL);

    check->on_flow = adopt_flow;
    check->on_group = adopt_group;
    ovs_mirror_ask(check);
    int r = of_wait(dp->conn, check->xid_flows);
    if (r == 0) {
        drop_strays(dp);
        settle_macs(dp);
        count_uses(dp);
        mark_dirty(check);
        r = dp->ports.len ? find_ours(dp) : 0;
    }
    (void)ovs_check_end(check);
    return r;
}

void ovs_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    struct dp_table *tables[] = {&dp->neighs4, &dp->neighs6};

    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = 0; i < tables[t]->len; i++) {
            uint32_t id;
            struct em_ip ip;
            struct dp_neigh_ref ref = dp_shadow_neigh_at(tables[t], i, &id, &ip);
            struct em_eid eid = {.kind = t == 0 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip.size};
            memcpy(eid.addr, ip.addr, ip.size);
            if (id == network_id && *ref.flags & DP_ADOPTED)
                visit(aux, &eid);
        }
    for (uint32_t i = 0; i < dp->macs.len; i++) {
        const struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        struct em_eid eid = {.kind = EM_EID_MAC, .size = EM_MAC_SIZE};
        if (rec->network_id != network_id || !(rec->flags & DP_ADOPTED) || rec->flags & DP_LOCAL)
            continue;
        memcpy(eid.addr, rec->mac, EM_MAC_SIZE);
        visit(aux, &eid);
    }
}

/* ---- sweep */

#define SWEEP_US 2000 /* of one call */

static bool is_over(int n, uint64_t end_us)
{
    return n > 0 && em_now_us() >= end_us;
}

static int sweep_network(struct dp *dp, uint32_t network_id, uint64_t end_us)
{
    struct dp_table *neighs[] = {&dp->neighs4, &dp->neighs6};
    int n = 0;

    for (uint32_t i = dp->macs.len; i-- > 0 && !is_over(n, end_us);) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (rec->network_id == network_id && rec->flags & DP_ADOPTED) {
            ovs_mac_remove(dp, rec);
            n++;
        }
    }
    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = neighs[t]->len; i-- > 0 && !is_over(n, end_us);) {
            uint32_t id;
            struct em_ip ip;
            struct dp_neigh_ref ref = dp_shadow_neigh_at(neighs[t], i, &id, &ip);
            if (id == network_id && *ref.flags & DP_ADOPTED) {
                ovs_neigh_remove(dp, ref, id, &ip);
                n++;
            }
        }
    for (uint32_t i = dp->floods.len; i-- > 0;) {
        struct ovs_flood_rec *rec = dp_table_at(&dp->floods, i);
        if (rec->network_id == network_id && rec->flags & DP_ADOPTED) {
            ovs_remove_place(dp, rec);
            n++;
        }
    }
    for (uint32_t i = dp->ports.len; i-- > 0 && !is_over(n, end_us);) {
        struct ovs_port_rec rec = *(struct ovs_port_rec *)dp_table_at(&dp->ports, i);
        if (rec.network_id == network_id && rec.flags & DP_ADOPTED) {
            int r = ovs_port_delete(dp, network_id, rec.device, rec.vlan);
            if (r)
                return r;
            n++;
        }
    }
    return n;
}

int ovs_sweep(struct dp *dp, uint32_t network_id)
{
    uint64_t end_us = em_now_us() + SWEEP_US;
    int n = 0;

    if (!dp->conn)
        return -ENOTCONN;
    if (network_id && ovs_network(dp, network_id))
        n = sweep_network(dp, network_id, end_us);
    for (uint32_t i = dp->networks.len; i-- > 0 && !network_id && !is_over(n, end_us);) {
        const struct ovs_network_rec *rec = dp_table_at(&dp->networks, i);
        if (dp_is_nobodys(rec->flags)) {
            (void)ovs_network_delete(dp, rec->network_id);
            n++;
        }
    }
    dp->is_swept |= network_id == 0;
    /* Groups go last: the switch would take the flows along that name them. */
    if (n == 0 && dp->is_swept)
        n = ovs_set_sweep(dp);
    bool has_sent = ovs_flush_floods(dp) || n > 0;
    int r = has_sent && n >= 0 ? of_barrier(dp->conn) : 0;
    return r ? r : n;
}
