/* Tunnel ports of the bridge: one for each encapsulation and UDP port that is in use.  Each takes
 * any remote address and segmentation-id from the flow. */
#include "ovs.h"

#include "base/mem.h"
#include "ovs/bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENEVE_UDP_PORT 6081 /* RFC 8926, section 3.3 */

static const char *const types[] = {
    [EM_ENCAP_VXLAN] = "vxlan", [EM_ENCAP_GENEVE] = "geneve", [EM_ENCAP_GRE] = "gre"};
#define N_TYPES (sizeof types / sizeof types[0])

static enum em_encap encap_of(enum em_encap encap)
{
    return encap ? encap : EM_ENCAP_VXLAN;
}

static uint16_t udp_port_of(const struct dp *dp, enum em_encap encap, uint16_t udp_port)
{
    switch (encap_of(encap)) {
    case EM_ENCAP_VXLAN:
        return udp_port ? udp_port : dp->udp_port;
    case EM_ENCAP_GENEVE:
        return udp_port ? udp_port : GENEVE_UDP_PORT;
    case EM_ENCAP_GRE:
        break;
    }
    return 0;
}

const struct ovs_tunnel *ovs_tunnel(const struct dp *dp, enum em_encap encap, uint16_t udp_port)
{
    uint16_t wanted = udp_port_of(dp, encap, udp_port);

    for (size_t i = 0; i < dp->n_tunnels; i++)
        if (dp->tunnels[i].encap == encap_of(encap) && dp->tunnels[i].udp_port == wanted)
            return &dp->tunnels[i];
    return NULL;
}

uint32_t ovs_find_tunnel(const struct dp *dp, const struct dp_target *target)
{
    const struct ovs_tunnel *tunnel = ovs_tunnel(dp, target->encap, target->udp_port);
    return tunnel ? tunnel->ofport : 0;
}

static int make_tunnel_port(struct dp *dp, struct ovs_tunnel *tunnel, char **ret_why)
{
    const char *type = types[tunnel->encap];
    struct ovs_port port = {
        .name = tunnel->name, .type = type, .mark = "tunnel", .udp_port = tunnel->udp_port};

    if (tunnel->udp_port)
        snprintf(tunnel->name, sizeof tunnel->name, "em%.6s%u", type, tunnel->udp_port);
    else
        snprintf(tunnel->name, sizeof tunnel->name, "em%.6s", type);
    int r = ovs_db_add_port(dp, &port, ret_why);
    if (r == 0 && !port.ofport) {
        *ret_why = em_asprintf("ovs-vswitchd cannot make the tunnel port %s: %s", tunnel->name,
                               port.problem);
        r = -ENODEV;
    }
    if (r == 0 && !port.is_ours) {
        *ret_why = em_asprintf("the port %s is somebody else's: remove it", tunnel->name);
        r = -EEXIST;
    }
    tunnel->ofport = r ? 0 : port.ofport;
    return r;
}

int ovs_make_tunnel(struct dp *dp, enum em_encap encap, uint16_t udp_port, char **ret_why)
{
    struct ovs_tunnel tunnel = {.encap = encap_of(encap),
                                .udp_port = udp_port_of(dp, encap, udp_port)};

    if (ovs_tunnel(dp, encap, udp_port))
        return 0;
    if (dp->n_tunnels == OVS_TUNNELS)
        return -ENOSPC;
    int r = make_tunnel_port(dp, &tunnel, ret_why);
    if (r)
        return r;
    dp->tunnels[dp->n_tunnels++] = tunnel;
    ovs_base_flows(dp, ovs_add, NULL);
    return 0;
}

/* Those that an earlier run has made: what it has left is taken apart by their numbers. */
int ovs_adopt_tunnels(struct dp *dp, char **ret_why)
{
    struct ovs_port_seen *ports = NULL;
    size_t n = 0;
    int r = ovs_db_ports(dp, &ports, &n, ret_why);

    for (size_t i = 0; i < n && dp->n_tunnels < OVS_TUNNELS; i++) {
        struct ovs_tunnel tunnel = {.udp_port = ports[i].udp_port, .ofport = ports[i].ofport};
        for (size_t type = 0; type < N_TYPES; type++)
            if (types[type] && strcmp(types[type], ports[i].type) == 0)
                tunnel.encap = (enum em_encap)type;
        if (!tunnel.encap || !tunnel.ofport || ovs_tunnel(dp, tunnel.encap, tunnel.udp_port))
            continue;
        snprintf(tunnel.name, sizeof tunnel.name, "%.*s", (int)sizeof tunnel.name - 1,
                 ports[i].name);
        dp->tunnels[dp->n_tunnels++] = tunnel;
    }
    free(ports);
    return r;
}

bool ovs_renumber_tunnels(struct dp *dp)
{
    bool has_moved = false;

    for (size_t i = 0; i < dp->n_tunnels; i++) {
        struct ovs_tunnel *tunnel = &dp->tunnels[i];
        uint32_t number = ovs_number(dp, tunnel->name);
        if (number == tunnel->ofport)
            continue;
        if (tunnel->ofport)
            ovs_tunnel_flows(dp, tunnel, ovs_remove, NULL);
        tunnel->ofport = number;
        has_moved = true;
    }
    return has_moved;
}

void ovs_follow_tunnels(struct dp *dp)
{
    ovs_base_flows(dp, ovs_add, NULL);
    ovs_sets_follow(dp);
    for (uint32_t i = 0; i < dp->networks.len; i++)
        ((struct ovs_network_rec *)dp_table_at(&dp->networks, i))->is_behind = true;
    dp->is_disturbed = true; /* copies, and tunnel ports that somebody has taken away */
}

int ovs_mend_tunnels(struct dp *dp)
{
    int r = 0;
    bool has_moved = false;

    for (size_t i = 0; i < dp->n_tunnels && r == 0; i++) {
        char *why = NULL;
        if (dp->tunnels[i].ofport)
            continue;
        r = make_tunnel_port(dp, &dp->tunnels[i], &why);
        free(why);
        has_moved |= r == 0;
    }
    if (has_moved) {
        ovs_follow_tunnels(dp);
        (void)ovs_flush_floods(dp);
    }
    return r;
}
