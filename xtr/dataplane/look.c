/* What a frame meets in this kernel on its way to one MAC: each thing is read from the kernel
 * and held against what the map wants, in the order in which the frame comes by.
 *
 * Nothing is taken from the shadow: it would only repeat what this agent believes.  All reads
 * are of single entries, so that a table of a million costs no more than one of ten. */
#include "kernel.h"

#include "looking.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define REPAIR DP_LOOK_REPAIR
#define TEXT   DP_LOOK_TEXT

struct look {
    struct dp *dp;
    const struct dp_path *path;
    struct dp_teller teller;
    struct dp_link bridge, vxlan;
};
#define tell(l, ...) dp_tell(&(l)->teller, __VA_ARGS__)

/* ---- this host's half */

static bool look_bridge(struct look *l)
{
    char name[IFNAMSIZ];
    uint32_t id = l->path->network.id;

    dp_bridge_name(id, name);
    int r = dp_link_get(l->dp->nl, name, &l->bridge);
    if (r)
        tell(l, "bridge", REPAIR, "%s: %s", name, strerror(-r));
    else if (l->bridge.kind != DP_LINK_BRIDGE || l->bridge.network_id != id)
        tell(l, "bridge", "remove the device that has the bridge's name", "%s: not made by xtr",
             name);
    else if (!l->bridge.is_up)
        tell(l, "bridge", REPAIR, "%s: down", name);
    else
        tell(l, "bridge", NULL, "%s: up, mtu %u", name, l->bridge.mtu);
    return r == 0;
}

/* Is the device of a local port where it should be? */
static void look_port(struct look *l, const char *name, const char *device)
{
    struct dp_link port = {0};

    int r = dp_link_get(l->dp->nl, device, &port);
    if (r)
        tell(l, name, "start the endpoint, so that its device is there", "%s: %s", device,
             strerror(-r));
    else if (!port.is_up)
        tell(l, name, "ip link set it up", "%s: down", device);
    else if (port.master != l->bridge.ifindex)
        tell(l, name, "take it out of the other bridge, and attach it again",
             "%s: it is no port of %s", device, l->bridge.name);
    else if (!port.is_running)
        tell(l, name, "start the endpoint, or set its interface up", "%s: its other end is down",
             device);
    else
        tell(l, name, NULL, "%s: up, port of %s", device, l->bridge.name);
}

static void look_neighbour(struct look *l)
{
    const struct dp_path *path = l->path;
    struct dp_neigh neigh;
    char text[DP_ENTRY_TEXT], ip[EM_IP_TEXT], mac[EM_MAC_TEXT];

    em_ip_format(path->ip.addr, path->ip.size, ip);
    em_mac_format(path->mac, mac);
    int r = dp_neigh_lookup(l->dp, l->bridge.ifindex, &path->ip, &neigh);
    if (r) {
        tell(l, "neighbour", REPAIR, "%s dev %s: missing, so nobody answers for it", ip,
             l->bridge.name);
        return;
    }
    dp_neigh_format(&neigh, l->bridge.name, text);
    bool is_valid = neigh.state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE);
    if (memcmp(neigh.mac, path->mac, EM_MAC_SIZE) != 0 || !is_valid)
        tell(l, "neighbour",
             neigh.protocol == DP_PROTOCOL ? REPAIR : "remove the entry, it was not made by xtr",
             "%s: the map wants %s", text, mac);
    else
        tell(l, "neighbour", NULL, "%s", text);
}

static void look_bridge_fdb(struct look *l, uint32_t wanted, const char *wanted_name)
{
    const struct dp_path *path = l->path;
    struct dp_link other = {0};
    struct dp_fdb fdb;
    char mac[EM_MAC_TEXT];

    em_mac_format(path->mac, mac);
    int r = dp_fdb_lookup(l->dp, l->vxlan.ifindex, path->mac, NTF_MASTER, &fdb);
    if (r) {
        tell(l, "bridge-fdb", REPAIR, "%s master %s: missing, so frames are flooded", mac,
             l->bridge.name);
    } else if (fdb.ifindex != wanted) {
        (void)dp_link_get_index(l->dp->nl, fdb.ifindex, &other);
        tell(l, "bridge-fdb",
             fdb.flags & DP_FDB_MARK ? REPAIR : "remove the entry, it was not made by xtr",
             "%s dev %s master %s: the map wants %s", mac, other.name, l->bridge.name, wanted_name);
    } else {
        tell(l, "bridge-fdb", NULL, "%s dev %s master %s", mac, wanted_name, l->bridge.name);
    }
}

static uint32_t index_of(struct look *l, const char *device)
{
    struct dp_link link = {0};
    return dp_link_get(l->dp->nl, device, &link) ? 0 : link.ifindex;
}

/* ---- the tunnel */

/* What is wrong with the vxlan device as a device, or NULL. */
static const char *tunnel_fault(const struct look *l)
{
    const struct dp_link *vxlan = &l->vxlan;
    const struct dp_network *network = &l->path->network;

    if (vxlan->kind != DP_LINK_VXLAN || vxlan->network_id != network->id)
        return "not made by xtr";
    if (!vxlan->is_up)
        return "down";
    if (vxlan->master != l->bridge.ifindex)
        return "no port of the bridge";
    if (vxlan->vni != network->segmentation_id)
        return "its VNI is another";
    if (!em_ip_equal(&vxlan->local, &l->dp->rloc) || vxlan->udp_port != l->dp->udp_port)
        return "its own address or port is another";
    if (network->mtu && vxlan->mtu < network->mtu)
        return "its mtu is less than the network's";
    return NULL;
}

static void look_tunnel(struct look *l)
{
    const char *fault = tunnel_fault(l);
    char ip[EM_IP_TEXT];
    uint32_t ifindex;

    em_ip_format(l->vxlan.local.addr, l->vxlan.local.size, ip);
    if (!fault && dp_link_find_address(l->dp->nl, &l->vxlan.local, &ifindex) == -EADDRNOTAVAIL)
        tell(l, "tunnel", "give the host its underlay address back, or change rloc",
             "%s: its local address %s is none of this host's", l->vxlan.name, ip);
    else
        tell(l, "tunnel", fault ? REPAIR : NULL, "%s: VNI %u local %s port %u mtu %u%s%s",
             l->vxlan.name, l->vxlan.vni, ip, l->vxlan.udp_port, l->vxlan.mtu, fault ? ": " : "",
             fault ? fault : "");
}

static bool get_vxlan(struct look *l)
{
    char name[IFNAMSIZ];

    dp_vxlan_name(l->path->network.id, name);
    int r = dp_link_get(l->dp->nl, name, &l->vxlan);
    if (r)
        tell(l, "tunnel", REPAIR, "%s: %s", name, strerror(-r));
    return r == 0;
}

/* "10.0.0.2 10.0.0.3" */
static void list_targets(const struct look *l, char text[TEXT])
{
    size_t used = 0;
    char ip[EM_IP_TEXT];

    text[0] = '\0';
    for (size_t i = 0; i < l->path->n_targets && used < TEXT; i++) {
        const struct em_ip *to = &l->path->targets[i].ip;
        used += (size_t)snprintf(text + used, TEXT - used, "%s%s", i ? " " : "",
                                 em_ip_format(to->addr, to->size, ip));
    }
}

static bool is_wanted(const struct look *l, const struct em_ip *ip, unsigned weight)
{
    for (size_t i = 0; i < l->path->n_targets; i++)
        if (em_ip_equal(&l->path->targets[i].ip, ip) &&
            (l->path->n_targets == 1 || l->path->targets[i].weight == weight))
            return true;
    return false;
}

struct nexthop_answer {
    struct dp_nexthop nexthop;
    bool is_there;
};

static void take_nexthop(void *aux, const struct nlmsghdr *message)
{
    struct nexthop_answer *answer = aux;
    answer->is_there = dp_nexthop_parse(message, &answer->nexthop);
}

static int get_nexthop(struct look *l, uint32_t id, struct dp_nexthop *ret_nexthop)
{
    struct nexthop_answer answer = {.nexthop.id = id};

    dp_nexthop_message(l->dp->nl, RTM_GETNEXTHOP, 0, &answer.nexthop);
    int r = dp_nl_read(l->dp->nl, take_nexthop, &answer);
    if (r == 0 && !answer.is_there)
        r = -ENOENT;
    if (r == 0)
        *ret_nexthop = answer.nexthop;
    return r;
}

/* The members' addresses as text; false: they are not those that the map wants. */
static bool read_members(struct look *l, const struct dp_nexthop *group, char text[TEXT])
{
    bool is_right = group->n_members == l->path->n_targets;
    size_t used = 0;
    char ip[EM_IP_TEXT];

    text[0] = '\0';
    for (size_t i = 0; i < group->n_members && used < TEXT; i++) {
        unsigned weight = group->members[i].weight + 1u;
        struct dp_nexthop member;
        if (get_nexthop(l, group->members[i].id, &member)) {
            is_right = false;
            continue;
        }
        is_right = is_right && is_wanted(l, &member.ip, weight);
        used += (size_t)snprintf(text + used, TEXT - used, " %s weight %u",
                                 em_ip_format(member.ip.addr, member.ip.size, ip), weight);
    }
    return is_right;
}

static void look_nexthops(struct look *l, uint32_t id)
{
    struct dp_nexthop group;
    char members[TEXT], wanted[TEXT];

    int r = get_nexthop(l, id, &group);
    if (r) {
        tell(l, "nexthops", REPAIR, "group %u: %s", id, strerror(-r));
        return;
    }
    list_targets(l, wanted);
    if (read_members(l, &group, members))
        tell(l, "nexthops", NULL, "group %u:%s", id, members);
    else
        tell(l, "nexthops", REPAIR, "group %u:%s: the map wants %s", id, members, wanted);
}

/* Does an entry by address lead where the map wants? */
static bool is_right_dst(const struct look *l, const struct dp_fdb *fdb)
{
    const struct dp_target *target = &l->path->targets[0];
    uint32_t vni = fdb->vni ? fdb->vni : l->path->network.segmentation_id;
    uint16_t port = fdb->port ? fdb->port : l->dp->udp_port;

    return em_ip_equal(&fdb->dst, &target->ip) && vni == target->segmentation_id &&
           port == (target->udp_port ? target->udp_port : l->dp->udp_port);
}

static void look_vxlan_fdb(struct look *l)
{
    struct dp_fdb fdb;
    char text[DP_ENTRY_TEXT], wanted[TEXT], mac[EM_MAC_TEXT];

    int r = dp_fdb_lookup(l->dp, l->vxlan.ifindex, l->path->mac, NTF_SELF, &fdb);
    if (r) {
        tell(l, "vxlan-fdb", REPAIR, "%s dev %s: missing", em_mac_format(l->path->mac, mac),
             l->vxlan.name);
        return;
    }
    dp_fdb_format(&fdb, l->vxlan.name, NULL, text);
    list_targets(l, wanted);
    if (fdb.nhid || is_right_dst(l, &fdb))
        tell(l, "vxlan-fdb", NULL, "%s", text);
    else
        tell(l, "vxlan-fdb",
             fdb.flags & DP_FDB_MARK ? REPAIR : "remove the entry, it was not made by xtr",
             "%s: the map wants %s, VNI %u", text, wanted, l->path->targets[0].segmentation_id);
    if (fdb.nhid)
        look_nexthops(l, fdb.nhid);
}

void dp_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux)
{
    struct look l = {.dp = dp, .path = path, .teller = {visit, aux}};

    if (!look_bridge(&l))
        return;
    if (path->from)
        look_port(&l, "sender", path->from);
    if (path->ip.size)
        look_neighbour(&l);
    if (!get_vxlan(&l))
        return;
    if (path->device) {
        look_bridge_fdb(&l, index_of(&l, path->device), path->device);
        look_port(&l, "receiver", path->device);
        return;
    }
    look_bridge_fdb(&l, l.vxlan.ifindex, l.vxlan.name);
    look_tunnel(&l);
    if (path->n_targets == 0)
        return;
    look_vxlan_fdb(&l);
    for (size_t i = 0; i < path->n_targets; i++)
        dp_look_underlay(&l.teller, dp->nl, &dp->rloc, &path->targets[i].ip, l.vxlan.mtu);
}
