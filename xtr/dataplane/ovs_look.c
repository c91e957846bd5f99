/* What a frame meets on its way through the switch, asked of the switch. */
#include "ovs.h"

#include "looking.h"
#include "netlink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT   DP_LOOK_TEXT
#define REPAIR DP_LOOK_REPAIR

struct look {
    struct dp *dp;
    const struct dp_path *path;
    struct dp_teller teller;
};
#define tell(l, ...) dp_tell(&(l)->teller, __VA_ARGS__)

static void nothing(struct dp *dp, void *aux, struct of_flow *flow)
{
}

static const char *missing(int err)
{
    return err == -ENOENT ? "the switch has no such flow" : strerror(-err);
}

static void look_responder(const struct look *l)
{
    struct dp *dp = l->dp;
    char ip[EM_IP_TEXT], mac[EM_MAC_TEXT];

    em_ip_format(l->path->ip.addr, l->path->ip.size, ip);
    em_mac_format(l->path->mac, mac);
    ovs_neigh_flows(dp, l->path->network.id, &l->path->ip, l->path->mac, nothing, NULL);
    uint64_t wanted = dp->flow.cookie;
    int r = ovs_ask(dp);
    if (r)
        tell(l, "responder", REPAIR, "%s: not answered for: %s", ip, missing(r));
    else if (dp->single.cookie != wanted)
        tell(l, "responder", REPAIR, "%s: answered with another MAC than %s", ip, mac);
    else
        tell(l, "responder", NULL, "%s is answered with %s", ip, mac);
}

static void look_port(const struct look *l, const char *name, const char *device, uint16_t vlan)
{
    const struct ovs_port_rec *port = ovs_port(l->dp, l->path->network.id, device, vlan);
    uint32_t number = ovs_number(l->dp, device);
    if (!port)
        tell(l, name, "attach the port again", "%s is in no network here", device);
    else if (!number)
        tell(l, name, "bring the device back", "%s is not on bridge %s", device, l->dp->bridge);
    else
        tell(l, name, NULL,
             vlan ? "%s on %s, OpenFlow port %u, tag %u" : "%s on %s, OpenFlow port %u", device,
             l->dp->bridge, number, vlan);
}

static void list_targets(const struct dp_path *path, char text[TEXT])
{
    size_t used = 0;
    char ip[EM_IP_TEXT];

    text[0] = '\0';
    for (size_t i = 0; i < path->n_targets && used < TEXT; i++)
        used +=
            (size_t)snprintf(text + used, TEXT - used, "%s%s weight %u", i ? ", " : "",
                             em_ip_format(path->targets[i].ip.addr, path->targets[i].ip.size, ip),
                             path->targets[i].weight);
}

static bool is_wanted_set(const struct look *l, const struct ovs_set_rec *set)
{
    struct dp_set want = {.targets = l->path->targets, .n_targets = l->path->n_targets};
    return ovs_set_is(l->dp, set, &want);
}

static void look_group(const struct look *l, const struct dp_mac_rec *rec)
{
    const struct ovs_set_rec *set = dp_table_find(&l->dp->sets, &rec->place);
    char wanted[TEXT];

    list_targets(l->path, wanted);
    if (!set || !is_wanted_set(l, set))
        tell(l, "group", REPAIR, "does not lead where the map wants: %s", wanted);
    else
        tell(l, "group", NULL, "0x%x: %s", set->group_id, wanted);
}

/* Its flow, as the switch has it. */
static bool look_forward(const struct look *l, const struct dp_mac_rec *rec)
{
    char mac[EM_MAC_TEXT];
    bool is_local = rec && rec->flags & DP_LOCAL;

    em_mac_format(l->path->mac, mac);
    if (!rec || is_local != (l->path->device != NULL)) {
        tell(l, "forward", REPAIR, "%s: %s", mac,
             !rec       ? "no flow"
             : is_local ? "local, but the map has it elsewhere"
                        : "not local");
        return false;
    }
    if (is_local)
        return true;
    ovs_mac_flows(l->dp, rec, nothing, NULL);
    uint64_t wanted = l->dp->flow.cookie;
    int r = ovs_ask(l->dp);
    if (r || l->dp->single.cookie != wanted)
        tell(l, "forward", REPAIR, "%s: %s", mac, r ? missing(r) : "leads elsewhere");
    else
        tell(l, "forward", NULL, "%s: group 0x%x, %llu packets", mac, ovs_group_of(l->dp, rec),
             (unsigned long long)l->dp->single.n_packets);
    return r == 0;
}

static void look_tunnels(const struct look *l)
{
    char ip[EM_IP_TEXT];

    for (size_t i = 0; i < l->path->n_targets; i++) {
        const struct dp_target *target = &l->path->targets[i];
        const struct ovs_tunnel *tunnel = ovs_tunnel(l->dp, target->encap, target->udp_port);
        em_ip_format(target->ip.addr, target->ip.size, ip);
        if (tunnel && tunnel->ofport)
            tell(l, "tunnel", NULL, "%s by %s, OpenFlow port %u", ip, tunnel->name, tunnel->ofport);
        else
            tell(l, "tunnel", REPAIR, "%s: bridge %s has no tunnel port for it", ip, l->dp->bridge);
    }
}

static void look_underlay(const struct look *l, uint32_t mtu)
{
    struct dp_nl *nl;

    if (dp_nl_open(&nl))
        return;
    for (size_t i = 0; i < l->path->n_targets; i++) {
        const struct em_ip *to = &l->path->targets[i].ip;
        const struct em_ip *own =
            l->dp->rlocs[0].size == to->size ? &l->dp->rlocs[0] : &l->dp->rlocs[1];
        dp_look_underlay(&l->teller, nl, own, to, mtu);
    }
    dp_nl_close(nl);
}

void ovs_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux)
{
    struct look l = {dp, path, {visit, aux}};
    const struct ovs_network_rec *network = ovs_network(dp, path->network.id);

    if (!dp->conn) {
        tell(&l, "bridge", "start ovs-vswitchd", "%s: Open vSwitch does not answer", dp->bridge);
        return;
    }
    if (!network) {
        tell(&l, "bridge", REPAIR, "%s: does not have the network", dp->bridge);
        return;
    }
    tell(&l, "bridge", NULL, "%s answers", dp->bridge);
    if (path->from)
        look_port(&l, "sender", path->from, path->from_vlan);
    if (path->ip.size)
        look_responder(&l);
    const struct dp_mac_rec *rec = ovs_mac(dp, path->network.id, path->mac);
    if (!look_forward(&l, rec))
        return;
    if (path->device) {
        look_port(&l, "receiver", path->device, path->vlan);
        return;
    }
    look_group(&l, rec);
    look_tunnels(&l);
    look_underlay(&l, network->want.mtu);
}
