/* The pipeline: which flows each thing on this host stands for.
 *
 *   table           match (beside reg0)                 does
 *   0   CLASSIFY    in_port [, VLAN tag of a child]     reg0 := network, reg6 := port
 *                   in_port of a tunnel                 -> TUNNEL
 *   100 TUNNEL      tun_id                              reg0 := network -> DELIVER
 *   101 SOURCE      reg6, source MAC                    -> ADDRESS; else dropped
 *   102 ADDRESS     source MAC and IP, ARP sender       -> ND; another's address is dropped
 *   103 ND          link-layer options, target          -> RESPOND; another's are dropped
 *   110 RESPOND     ARP request, neighbour solicitation reg2,3 := MAC -> REPLY; others -> FORWARD
 *   111 REPLY       ARP, ND                             turns the question into its answer
 *   112 ADVERTISE   neighbour advertisement             the option, which exists only now
 *   113 RETURN      reg4                                out where it came in, with a child's tag
 *   120 FORWARD     destination MAC                     local port, or the group of its set
 *                   broadcast, multicast                local ports and the head-end list
 *                   unknown unicast                     as the network says: dropped, flooded,
 *                                                       or to the agent (miss)
 *   121 DELIVER     destination MAC                     local ports only: what came out of a
 *                                                       tunnel goes into none
 *   122 CHILD       reg7                                out by the parent, with the tag
 *
 * Registers: 0 network-id; 2 and 3 (xreg1) MAC of an answer; 4 VLAN tag of the child that sends,
 * with bit 12 set; 5 scratch; 6 port that sends; 7 child to deliver to (both as ovs_place()).
 *
 * Local and remote destinations have the same match in FORWARD, so that a move is one replacement.
 * A group stands for a set of locations: a node that dies is one change of a group.  Tables from
 * 100 on are ours alone; of table 0 we have what names our ports. */
#include "ovs.h"

#include <string.h>

#define TYPE_IPV4 0x0800
#define TYPE_ARP  0x0806
#define TYPE_IPV6 0x86dd
#define UDP       17
#define ICMPV6    58

#define ND_SOLICIT   135 /* RFC 4861, section 4.3 */
#define ND_ADVERTISE 136
#define ND_TARGET_LL 2          /* option type, section 4.6.1 */
#define ND_FLAGS     0x60000000 /* solicited, override: section 4.4 */
#define VLAN_PRESENT 0x1000     /* in OXM_OF_VLAN_VID */

static const uint8_t any[16];
static const uint8_t multicast[EM_MAC_SIZE] = {1};
static const uint8_t broadcast[EM_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t link_local[16] = {0xfe, 0x80}, link_local_mask[16] = {0xff, 0xc0};

struct visit {
    struct dp *dp;
    ovs_flow_fn *fn;
    void *aux;
};

static struct of_flow *begin(struct dp *dp, enum ovs_table table, uint16_t priority,
                             enum ovs_kind kind, uint64_t value)
{
    of_flow_begin(&dp->flow, (uint8_t)table, priority, ovs_cookie(kind, value));
    return &dp->flow;
}

static struct of_flow *begin_network(struct dp *dp, enum ovs_table table, uint16_t priority,
                                     enum ovs_kind kind, uint64_t value, uint32_t network_id)
{
    struct of_flow *flow = begin(dp, table, priority, kind, value);
    of_match_int(flow, OF_REG0, network_id);
    return flow;
}

static void show(const struct visit *visit)
{
    visit->fn(visit->dp, visit->aux, &visit->dp->flow);
}

static void show_goto(const struct visit *visit, enum ovs_table table)
{
    of_goto(&visit->dp->flow, (uint8_t)table);
    show(visit);
}

/* ---- the same on every host */

static void match_nd(struct of_flow *flow, uint8_t type)
{
    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV6);
    of_match_int(flow, OF_IP_PROTO, ICMPV6);
    of_match_int(flow, OF_ICMPV6_TYPE, type);
    of_match_int(flow, OF_ICMPV6_CODE, 0);
}

/* What a guest may send from before it has an address, and what is neither ARP nor IP. */
static void address_flows(const struct visit *visit)
{
    static const uint16_t types[] = {TYPE_ARP, TYPE_IPV4, TYPE_IPV6};
    struct dp *dp = visit->dp;
    struct of_flow *flow = begin(dp, OVS_ADDRESS, 15, OVS_BASE, 0);

    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV4);
    of_match_int(flow, OF_IP_PROTO, UDP);
    of_match(flow, OF_IPV4_SRC, any);
    of_match(flow, OF_IPV4_DST, broadcast);
    of_match_int(flow, OF_UDP_SRC, 68); /* DHCP, RFC 2131 section 4.1 */
    of_match_int(flow, OF_UDP_DST, 67);
    show_goto(visit, OVS_RESPOND);
    flow = begin(dp, OVS_ADDRESS, 15, OVS_BASE, 0);
    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV6);
    of_match_masked(flow, OF_IPV6_SRC, link_local, link_local_mask);
    show_goto(visit, OVS_ND);
    flow = begin(dp, OVS_ADDRESS, 15, OVS_BASE, 0);
    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV6);
    of_match_int(flow, OF_IP_PROTO, ICMPV6); /* duplicate address detection */
    of_match(flow, OF_IPV6_SRC, any);
    show_goto(visit, OVS_ND);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        of_match_int(begin(dp, OVS_ADDRESS, 10, OVS_BASE, 0), OF_ETH_TYPE, types[i]);
        show(visit);
    }
    begin(dp, OVS_ADDRESS, 5, OVS_BASE, 0);
    show_goto(visit, OVS_RESPOND);
}

static void nd_flows(const struct visit *visit)
{
    struct of_flow *flow = begin(visit->dp, OVS_ND, 10, OVS_BASE, 0);

    match_nd(flow, ND_SOLICIT);
    of_match(flow, OF_ND_SLL, any); /* it has no such option */
    show_goto(visit, OVS_RESPOND);
    match_nd(begin(visit->dp, OVS_ND, 5, OVS_BASE, 0), ND_SOLICIT);
    show(visit);
    match_nd(begin(visit->dp, OVS_ND, 5, OVS_BASE, 0), ND_ADVERTISE);
    show(visit);
    begin(visit->dp, OVS_ND, 1, OVS_BASE, 0);
    show_goto(visit, OVS_RESPOND);
}

/* The frame goes back to who sent it, from the MAC in xreg1. */
static void turn_round(struct em_buf *actions)
{
    of_move(actions, OF_ETH_SRC, OF_ETH_DST, 48);
    of_move(actions, OF_XREG1, OF_ETH_SRC, 48);
}

static void reply_flows(const struct visit *visit)
{
    struct of_flow *flow = begin(visit->dp, OVS_REPLY, 10, OVS_BASE, 0);
    struct em_buf *actions = &flow->actions;

    of_match_int(flow, OF_ETH_TYPE, TYPE_ARP);
    turn_round(actions);
    of_set_int(actions, OF_ARP_OP, 2);
    of_move(actions, OF_ARP_SHA, OF_ARP_THA, 48);
    of_move(actions, OF_XREG1, OF_ARP_SHA, 48);
    of_move(actions, OF_ARP_TPA, OF_REG5, 32);
    of_move(actions, OF_ARP_SPA, OF_ARP_TPA, 32);
    of_move(actions, OF_REG5, OF_ARP_SPA, 32);
    show_goto(visit, OVS_RETURN);
    match_nd(begin(visit->dp, OVS_REPLY, 10, OVS_BASE, 0), ND_SOLICIT);
    turn_round(actions);
    of_move(actions, OF_IPV6_SRC, OF_IPV6_DST, 128);
    of_move(actions, OF_ND_TARGET, OF_IPV6_SRC, 128);
    of_set_int(actions, OF_ND_RESERVED, ND_FLAGS);
    of_set_int(actions, OF_ND_OPTIONS_TYPE, ND_TARGET_LL);
    of_set_int(actions, OF_ICMPV6_TYPE, ND_ADVERTISE);
    show_goto(visit, OVS_ADVERTISE);
    match_nd(begin(visit->dp, OVS_ADVERTISE, 10, OVS_BASE, 0), ND_ADVERTISE);
    of_move(actions, OF_XREG1, OF_ND_TLL, 48);
    show_goto(visit, OVS_RETURN);
}

static void return_flows(const struct visit *visit)
{
    static const uint8_t present[4] = {0, 0, VLAN_PRESENT >> 8, 0};
    struct of_flow *flow = begin(visit->dp, OVS_RETURN, 10, OVS_BASE, 0);

    of_match_masked(flow, OF_REG4, present, present);
    of_push_vlan(&flow->actions);
    of_move(&flow->actions, OF_REG4, OF_VLAN_VID, 12);
    of_output(&flow->actions, OF_PORT_IN_PORT);
    show(visit);
    of_output(&begin(visit->dp, OVS_RETURN, 1, OVS_BASE, 0)->actions, OF_PORT_IN_PORT);
    show(visit);
}

static void respond_flows(const struct visit *visit)
{
    struct of_flow *flow = begin(visit->dp, OVS_RESPOND, 30, OVS_BASE, 0);

    match_nd(flow, ND_SOLICIT);
    of_match(flow, OF_IPV6_SRC, any); /* duplicate address detection has no one to answer to */
    show_goto(visit, OVS_FORWARD);
    begin(visit->dp, OVS_RESPOND, 1, OVS_BASE, 0);
    show_goto(visit, OVS_FORWARD);
}

void ovs_tunnel_flows(struct dp *dp, const struct ovs_tunnel *tunnel, ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};

    of_match_int(begin(dp, OVS_CLASSIFY, 100, OVS_BASE, 0), OF_IN_PORT, tunnel->ofport);
    show_goto(&visit, OVS_TUNNEL);
}

void ovs_base_flows(struct dp *dp, ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};

    for (size_t i = 0; i < dp->n_tunnels; i++)
        if (dp->tunnels[i].ofport)
            ovs_tunnel_flows(dp, &dp->tunnels[i], fn, aux);
    address_flows(&visit);
    nd_flows(&visit);
    respond_flows(&visit);
    reply_flows(&visit);
    return_flows(&visit);
}

/* ---- networks */

void ovs_network_flows(struct dp *dp, const struct ovs_network_rec *rec, ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};
    struct of_flow *flow = begin(dp, OVS_TUNNEL, 10, OVS_NETWORK, rec->network_id);

    of_match_int(flow, OF_TUN_ID, rec->want.segmentation_id);
    of_set_int(&flow->actions, OF_REG0, rec->network_id);
    show_goto(&visit, OVS_DELIVER);
}

static void deliver(struct em_buf *actions, uint32_t place)
{
    if (place >> 16) {
        of_set_int(actions, OF_REG7, place);
        of_resubmit(actions, OVS_CHILD);
    } else {
        of_output(actions, place);
    }
}

static void to_ports(struct dp *dp, struct em_buf *actions, uint32_t network_id)
{
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *port = dp_table_at(&dp->ports, i);
        if (port->network_id == network_id && port->ofport)
            deliver(actions, ovs_place(port->ofport, port->vlan));
    }
}

/* IPv6 first: an IPv4 address that is set outranks it, and stays set. */
static void to_places(struct dp *dp, struct em_buf *actions, uint32_t network_id)
{
    for (uint8_t size = 16; size >= 4; size = size == 16 ? 4 : 0)
        for (uint32_t i = 0; i < dp->floods.len; i++) {
            const struct ovs_flood_rec *rec = dp_table_at(&dp->floods, i);
            if (rec->network_id != network_id || rec->size != size)
                continue;
            struct dp_target target = {.ip.size = size,
                                       .udp_port = rec->udp_port,
                                       .encap = (enum em_encap)rec->encap,
                                       .segmentation_id = rec->vni};
            memcpy(target.ip.addr, rec->addr, sizeof target.ip.addr);
            ovs_to_target(dp, actions, &target);
        }
}

static struct of_flow *begin_flood(struct dp *dp, enum ovs_table table, uint16_t priority,
                                   uint32_t network_id)
{
    struct of_flow *flow = begin_network(dp, table, priority, OVS_FLOOD, network_id, network_id);
    if (priority > 5)
        of_match_masked(flow, OF_ETH_DST, multicast, multicast);
    return flow;
}

static void miss_flows(const struct visit *visit, uint32_t network_id)
{
    struct dp *dp = visit->dp;
    struct of_flow *flow = begin_network(dp, OVS_RESPOND, 5, OVS_FLOOD, network_id, network_id);

    of_match_int(flow, OF_ETH_TYPE, TYPE_ARP);
    of_match_int(flow, OF_ARP_OP, 1);
    of_match_masked(flow, OF_ETH_DST, multicast, multicast);
    of_output(&flow->actions, OF_PORT_CONTROLLER);
    show_goto(visit, OVS_FORWARD);
    flow = begin_network(dp, OVS_RESPOND, 5, OVS_FLOOD, network_id, network_id);
    match_nd(flow, ND_SOLICIT);
    of_match_masked(flow, OF_ETH_DST, multicast, multicast);
    of_output(&flow->actions, OF_PORT_CONTROLLER);
    show_goto(visit, OVS_FORWARD);
    of_output(&begin_flood(dp, OVS_FORWARD, 5, network_id)->actions, OF_PORT_CONTROLLER);
    show(visit);
}

void ovs_flood_flows(struct dp *dp, const struct ovs_network_rec *rec, ovs_flow_fn *fn, void *aux)
{
    static const enum ovs_table tables[] = {OVS_FORWARD, OVS_DELIVER};
    struct visit visit = {dp, fn, aux};
    bool has_all = rec->want.flood == EM_FLOOD_ALL;

    for (size_t i = 0; i < 2; i++)
        for (uint16_t priority = 10; priority >= 5; priority -= 5) {
            if (priority == 5 && (!has_all || (rec->miss_in >= 0 && tables[i] == OVS_FORWARD)))
                continue;
            struct of_flow *flow = begin_flood(dp, tables[i], priority, rec->network_id);
            to_ports(dp, &flow->actions, rec->network_id);
            if (tables[i] == OVS_FORWARD)
                to_places(dp, &flow->actions, rec->network_id);
            show(&visit);
        }
    if (rec->miss_in >= 0)
        miss_flows(&visit, rec->network_id);
}

/* ---- ports */

static void child_flows(const struct visit *visit, const struct ovs_port_rec *rec)
{
    uint32_t place = ovs_place(rec->ofport, rec->vlan);
    struct of_flow *flow = begin(visit->dp, OVS_CHILD, 10, OVS_PORT, rec->network_id);
    of_match_int(flow, OF_REG7, place);
    size_t clone = of_clone_begin(&flow->actions);
    of_push_vlan(&flow->actions);
    of_set_int(&flow->actions, OF_VLAN_VID, VLAN_PRESENT | rec->vlan);
    of_forget_in_port(&flow->actions); /* it may have come in by the same trunk */
    of_output(&flow->actions, rec->ofport);
    of_clone_end(&flow->actions, clone);
    show(visit);
    flow = begin(visit->dp, OVS_CHILD, 20, OVS_PORT, rec->network_id);
    of_match_int(flow, OF_REG6, place); /* but not from itself */
    of_match_int(flow, OF_REG7, place);
    show(visit);
}

void ovs_port_flows(struct dp *dp, const struct ovs_port_rec *rec, ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};

    if (!rec->ofport)
        return;
    struct of_flow *flow =
        begin(dp, OVS_CLASSIFY, rec->vlan ? 110 : 100, OVS_PORT, rec->network_id);
    of_match_int(flow, OF_IN_PORT, rec->ofport);
    if (rec->vlan) {
        of_match_int(flow, OF_VLAN_VID, VLAN_PRESENT | rec->vlan);
        of_pop_vlan(&flow->actions);
        of_set_int(&flow->actions, OF_REG4, VLAN_PRESENT | rec->vlan);
    }
    of_set_int(&flow->actions, OF_REG0, rec->network_id);
    of_set_int(&flow->actions, OF_REG6, ovs_place(rec->ofport, rec->vlan));
    show_goto(&visit, dp->is_secure ? OVS_SOURCE : OVS_RESPOND);
    if (rec->vlan)
        child_flows(&visit, rec);
}

/* ---- endpoints */

void ovs_to_target(struct dp *dp, struct em_buf *actions, const struct dp_target *target)
{
    uint32_t tunnel = ovs_find_tunnel(dp, target);

    if (!tunnel)
        return;
    of_set(actions, target->ip.size == 16 ? OF_TUN_IPV6_DST : OF_TUN_IPV4_DST, target->ip.addr);
    of_set_int(actions, OF_TUN_ID, target->segmentation_id);
    of_output(actions, tunnel);
}

static struct of_flow *begin_source(struct dp *dp, enum ovs_table table, uint16_t priority,
                                    const struct dp_mac_rec *rec)
{
    struct of_flow *flow = begin_network(dp, table, priority, OVS_LOCAL, 0, rec->network_id);
    of_match(flow, OF_ETH_SRC, rec->mac);
    return flow;
}

/* Link-local addresses are nobody's in the map. */
static void link_local_flows(const struct visit *visit, const struct dp_mac_rec *rec)
{
    for (int i = 0; i < 2; i++) {
        struct of_flow *flow = begin_source(visit->dp, OVS_ND, 10, rec);
        match_nd(flow, ND_ADVERTISE);
        of_match_masked(flow, OF_ND_TARGET, link_local, link_local_mask);
        of_match(flow, OF_ND_TLL, i ? rec->mac : any);
        show_goto(visit, OVS_RESPOND);
    }
}

/* A port that has told no address may use any. */
static void source_flows(const struct visit *visit, const struct dp_mac_rec *rec, uint32_t place)
{
    struct dp *dp = visit->dp;
    const struct ovs_local_rec *local = ovs_local(dp, rec->network_id, rec->mac);
    bool has_addresses = local && local->n_addrs > 0;
    struct of_flow *flow = begin_source(dp, OVS_SOURCE, 10, rec);

    of_match_int(flow, OF_REG6, place);
    show_goto(visit, has_addresses ? OVS_ADDRESS : OVS_RESPOND);
    if (!has_addresses)
        return;
    flow = begin_source(dp, OVS_ADDRESS, 20, rec);
    of_match_int(flow, OF_ETH_TYPE, TYPE_ARP);
    of_match(flow, OF_ARP_SPA, any); /* a probe, RFC 5227 section 2.1.1 */
    of_match(flow, OF_ARP_SHA, rec->mac);
    show_goto(visit, OVS_RESPOND);
    flow = begin_source(dp, OVS_ND, 10, rec);
    match_nd(flow, ND_SOLICIT);
    of_match(flow, OF_ND_SLL, rec->mac);
    show_goto(visit, OVS_RESPOND);
    link_local_flows(visit, rec);
}

static void local_flows(const struct visit *visit, const struct dp_mac_rec *rec,
                        const struct ovs_copy_rec *copy)
{
    static const enum ovs_table tables[] = {OVS_FORWARD, OVS_DELIVER};

    const struct ovs_port_rec *port = ovs_port_at(visit->dp, rec->place);
    if (!port || !port->ofport)
        return;
    uint32_t place = ovs_place(port->ofport, port->vlan);
    if (visit->dp->is_secure)
        source_flows(visit, rec, place);
    for (size_t i = 0; i < 2; i++) {
        struct of_flow *flow =
            begin_network(visit->dp, tables[i], 20, OVS_LOCAL, place, rec->network_id);
        of_match(flow, OF_ETH_DST, rec->mac);
        deliver(&flow->actions, place);
        if (copy && tables[i] == OVS_FORWARD)
            ovs_to_target(visit->dp, &flow->actions, &copy->target);
        show(visit);
    }
}

void ovs_mac_flows(struct dp *dp, const struct dp_mac_rec *rec, ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};
    const struct ovs_copy_rec *copy = dp_table_find(&dp->copies, rec);

    if (rec->flags & DP_LOCAL) {
        local_flows(&visit, rec, copy);
        return;
    }
    uint32_t group_id = ovs_group_of(dp, rec);
    struct of_flow *flow =
        begin_network(dp, OVS_FORWARD, 20, OVS_REMOTE, group_id, rec->network_id);
    of_match(flow, OF_ETH_DST, rec->mac);
    if (group_id)
        of_group(&flow->actions, group_id);
    if (copy)
        ovs_to_target(dp, &flow->actions, &copy->target);
    show(&visit);
}

static uint64_t mac_number(const uint8_t *mac)
{
    uint64_t n = 0;
    for (size_t i = 0; i < EM_MAC_SIZE; i++)
        n = n << 8 | mac[i];
    return n;
}

static void match_question(struct of_flow *flow, const struct em_ip *ip)
{
    if (ip->size == 4) {
        of_match_int(flow, OF_ETH_TYPE, TYPE_ARP);
        of_match_int(flow, OF_ARP_OP, 1);
        of_match(flow, OF_ARP_TPA, ip->addr);
    } else {
        match_nd(flow, ND_SOLICIT);
        of_match(flow, OF_ND_TARGET, ip->addr);
    }
}

/* A question to one station is a test whether it lives: only that can answer it. */
void ovs_neigh_flows(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac,
                     ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};
    struct of_flow *flow =
        begin_network(dp, OVS_RESPOND, 10, OVS_ADDR, mac_number(mac), network_id);

    match_question(flow, ip);
    of_match_masked(flow, OF_ETH_DST, multicast, multicast);
    of_set_int(&flow->actions, OF_XREG1, mac_number(mac));
    show_goto(&visit, OVS_REPLY);
}

static struct of_flow *begin_guard(struct dp *dp, enum ovs_table table, uint32_t network_id,
                                   const uint8_t *mac)
{
    struct of_flow *flow = begin_network(dp, table, 20, OVS_ADDR, mac_number(mac), network_id);
    of_match(flow, OF_ETH_SRC, mac);
    return flow;
}

static void guard4_flows(const struct visit *visit, uint32_t network_id, const struct em_ip *ip,
                         const uint8_t *mac)
{
    struct of_flow *flow = begin_guard(visit->dp, OVS_ADDRESS, network_id, mac);

    of_match_int(flow, OF_ETH_TYPE, TYPE_ARP);
    of_match(flow, OF_ARP_SPA, ip->addr);
    of_match(flow, OF_ARP_SHA, mac);
    show_goto(visit, OVS_RESPOND);
    flow = begin_guard(visit->dp, OVS_ADDRESS, network_id, mac);
    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV4);
    of_match(flow, OF_IPV4_SRC, ip->addr);
    show_goto(visit, OVS_RESPOND);
}

static void guard6_flows(const struct visit *visit, uint32_t network_id, const struct em_ip *ip,
                         const uint8_t *mac)
{
    struct of_flow *flow = begin_guard(visit->dp, OVS_ADDRESS, network_id, mac);

    of_match_int(flow, OF_ETH_TYPE, TYPE_IPV6);
    of_match(flow, OF_IPV6_SRC, ip->addr);
    show_goto(visit, OVS_ND);
    for (int i = 0; i < 2; i++) {
        flow = begin_guard(visit->dp, OVS_ND, network_id, mac);
        match_nd(flow, ND_ADVERTISE);
        of_match(flow, OF_ND_TARGET, ip->addr);
        of_match(flow, OF_ND_TLL, i ? mac : any);
        show_goto(visit, OVS_RESPOND);
    }
}

void ovs_guard_flows(struct dp *dp, uint32_t network_id, const struct em_ip *ip, const uint8_t *mac,
                     ovs_flow_fn *fn, void *aux)
{
    struct visit visit = {dp, fn, aux};
    struct of_flow *flow = begin_guard(dp, OVS_RESPOND, network_id, mac);

    match_question(flow, ip); /* about itself: an announcement, for all to hear */
    show_goto(&visit, OVS_FORWARD);
    if (!dp->is_secure)
        return;
    if (ip->size == 4)
        guard4_flows(&visit, network_id, ip, mac);
    else
        guard6_flows(&visit, network_id, ip, mac);
}
