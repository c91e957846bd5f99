/* Networks, the ports in them, and the tunnel ports of the bridge. */
#include "ovs.h"

#include "base/mem.h"
#include "ovs/bridge.h"
#include "ovs/ovsdb.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENEVE_UDP_PORT 6081 /* RFC 8926, section 3.3 */
#define PATIENCE_MS     5000
#define NEWS_BYTES      1048576
/* What Geneve, the largest, adds to a packet without its options: outer IP, UDP 8, Geneve 8, inner
 * Ethernet 14. */
#define OVERHEAD(rloc) ((rloc)->size == 16 ? 70u : 50u)

/* ---- tunnels */

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

static int add_ports(struct dp *dp, struct ovs_port *ports, size_t n, char **ret_why)
{
    struct ovsdb *db = NULL;
    int r = ovsdb_open(dp->db, PATIENCE_MS, &db, ret_why);

    if (r == 0)
        r = ovs_bridge_add_ports(db, dp->bridge, ports, n, ret_why);
    ovsdb_close(db);
    return r;
}

static int make_tunnel_port(struct dp *dp, struct ovs_tunnel *tunnel, char **ret_why)
{
    static const char *const types[] = {
        [EM_ENCAP_VXLAN] = "vxlan", [EM_ENCAP_GENEVE] = "geneve", [EM_ENCAP_GRE] = "gre"};
    const char *type = types[tunnel->encap];
    struct ovs_port port = {
        .name = tunnel->name, .type = type, .mark = "tunnel", .udp_port = tunnel->udp_port};

    if (tunnel->udp_port)
        snprintf(tunnel->name, sizeof tunnel->name, "em%.6s%u", type, tunnel->udp_port);
    else
        snprintf(tunnel->name, sizeof tunnel->name, "em%.6s", type);
    int r = add_ports(dp, &port, 1, ret_why);
    if (r == 0 && !port.ofport) {
        *ret_why = em_asprintf("ovs-vswitchd cannot make the tunnel port %s: %s", tunnel->name,
                               port.problem);
        r = -ENODEV;
    }
    tunnel->ofport = port.ofport;
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

static bool is_address(const struct sockaddr *name, const struct em_ip *ip)
{
    const struct sockaddr_in *v4 = (const void *)name;
    const struct sockaddr_in6 *v6 = (const void *)name;

    if (ip->size == 4)
        return name->sa_family == AF_INET && memcmp(&v4->sin_addr, ip->addr, 4) == 0;
    return name->sa_family == AF_INET6 && memcmp(&v6->sin6_addr, ip->addr, 16) == 0;
}

bool ovs_device_of(const struct em_ip *ip, char ret_name[IFNAMSIZ])
{
    struct ifaddrs *all, *a;
    bool is_found = false;

    if (getifaddrs(&all))
        return false;
    for (a = all; a && !is_found; a = a->ifa_next) {
        if (!a->ifa_addr || !is_address(a->ifa_addr, ip))
            continue;
        snprintf(ret_name, IFNAMSIZ, "%s", a->ifa_name);
        is_found = true;
    }
    freeifaddrs(all);
    return is_found;
}

/* ---- networks */

struct ovs_network_rec *ovs_network(const struct dp *dp, uint32_t network_id)
{
    return dp_table_find(&dp->networks, &network_id);
}

static bool is_taken(const struct dp *dp, const struct dp_network *want)
{
    for (uint32_t i = 0; i < dp->networks.len; i++) {
        const struct ovs_network_rec *other = dp_table_at(&dp->networks, i);
        if (other->network_id != want->id && other->want.segmentation_id == want->segmentation_id)
            return true;
    }
    return false;
}

/* Of the device that has this address; 0: not known. */
static uint32_t mtu_of(const struct em_ip *ip)
{
    struct ifreq request = {0};
    if (!ovs_device_of(ip, request.ifr_name))
        return 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = ioctl(fd, SIOCGIFMTU, &request);
    close(fd);
    return r ? 0 : (uint32_t)request.ifr_mtu;
}

static int check_network(const struct dp *dp, const struct dp_network *want)
{
    if (want->id == 0 || want->segmentation_id == 0 || want->segmentation_id > EM_SEGMENT_MAX)
        return -EINVAL;
    if (is_taken(dp, want))
        return -EEXIST;
    for (size_t i = 0; i < 2 && want->mtu; i++) {
        uint32_t mtu = dp->rlocs[i].size ? mtu_of(&dp->rlocs[i]) : 0;
        if (mtu && want->mtu + OVERHEAD(&dp->rlocs[i]) > mtu)
            return -EMSGSIZE;
    }
    return 0;
}

/* Those of the flows for what no other flow has a way for. */
static void remove_unknown(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (flow->priority == 5)
        ovs_remove(dp, aux, flow);
}

int ovs_network_put(struct dp *dp, const struct dp_network *want)
{
    struct ovs_network_rec *rec = ovs_network(dp, want->id);
    int r = check_network(dp, want);

    if (r)
        return r;
    if (!rec) {
        rec = dp_table_put(&dp->networks, &want->id);
        rec->miss_fd = rec->miss_in = -1;
        rec->is_behind = true;
    }
    struct ovs_network_rec old = *rec;
    rec->want = *want;
    rec->flags &= (uint16_t)~DP_ADOPTED;
    if (old.want.segmentation_id != want->segmentation_id) {
        ovs_network_flows(dp, rec, ovs_add, NULL);
        if (old.want.segmentation_id)
            ovs_network_flows(dp, &old, ovs_remove, NULL);
    }
    if (old.want.flood != want->flood) {
        if (old.want.flood == EM_FLOOD_ALL)
            ovs_flood_flows(dp, &old, remove_unknown, NULL);
        rec->is_behind = true;
    }
    return 0;
}

static void remove_entries(struct dp *dp, uint32_t network_id)
{
    struct dp_table *neighs[] = {&dp->neighs4, &dp->neighs6};

    for (uint32_t i = dp->copies.len; i-- > 0;) {
        struct ovs_copy_rec *rec = dp_table_at(&dp->copies, i);
        if (rec->network_id == network_id)
            dp_table_remove(&dp->copies, rec);
    }
    for (size_t t = 0; t < 2; t++)
        for (uint32_t i = neighs[t]->len; i-- > 0;) {
            struct em_ip ip;
            uint32_t id;
            struct dp_neigh_ref ref = dp_shadow_neigh_at(neighs[t], i, &id, &ip);
            if (id == network_id)
                ovs_neigh_remove(dp, ref, id, &ip);
        }
    for (uint32_t i = dp->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (rec->network_id == network_id)
            ovs_mac_remove(dp, rec);
    }
}

int ovs_network_delete(struct dp *dp, uint32_t network_id)
{
    struct ovs_network_rec *rec = ovs_network(dp, network_id);

    if (!rec)
        return 0;
    remove_entries(dp, network_id);
    rec = ovs_network(dp, network_id);
    ovs_network_flows(dp, rec, ovs_remove, NULL);
    ovs_flood_flows(dp, rec, ovs_remove, NULL);
    ovs_miss_forget(dp, rec);
    for (uint32_t i = dp->floods.len; i-- > 0;) {
        struct ovs_flood_rec *flood = dp_table_at(&dp->floods, i);
        if (flood->network_id == network_id)
            dp_table_remove(&dp->floods, flood);
    }
    for (uint32_t i = dp->ports.len; i-- > 0;) {
        struct ovs_port_rec port = *(struct ovs_port_rec *)dp_table_at(&dp->ports, i);
        if (port.network_id == network_id)
            (void)ovs_port_delete(dp, network_id, port.device, port.vlan);
    }
    dp_table_remove(&dp->networks, ovs_network(dp, network_id));
    return 0;
}

/* ---- ports */

static struct ovs_port_rec port_key(uint32_t network_id, const char *device, uint16_t vlan)
{
    struct ovs_port_rec key = {.network_id = network_id, .vlan = vlan};
    snprintf(key.device, sizeof key.device, "%s", device);
    return key;
}

struct ovs_port_rec *ovs_port(const struct dp *dp, uint32_t network_id, const char *device,
                              uint16_t vlan)
{
    struct ovs_port_rec key = port_key(network_id, device, vlan);
    return dp_table_find(&dp->ports, &key);
}

struct ovs_port_rec *ovs_new_port(struct dp *dp, uint32_t network_id, const char *device,
                                  uint16_t vlan)
{
    struct ovs_port_rec key = port_key(network_id, device, vlan);
    struct ovs_port_rec *rec = dp_table_put(&dp->ports, &key);

    rec->id = ++dp->last_port_id;
    struct ovs_port_id_rec *id = dp_table_put(&dp->port_ids, &rec->id);
    id->network_id = network_id;
    id->vlan = vlan;
    memcpy(id->device, rec->device, sizeof id->device);
    return rec;
}

const struct ovs_port_rec *ovs_port_at(const struct dp *dp, uint32_t id)
{
    const struct ovs_port_id_rec *rec = dp_table_find(&dp->port_ids, &id);
    return rec ? ovs_port(dp, rec->network_id, rec->device, rec->vlan) : NULL;
}

static struct ovs_number_rec number_key(const char *device)
{
    struct ovs_number_rec key = {.number = 0};
    memcpy(key.name, device, strnlen(device, sizeof key.name - 1));
    return key;
}

uint32_t ovs_number(const struct dp *dp, const char *device)
{
    struct ovs_number_rec key = number_key(device);
    const struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);
    return rec ? rec->number : 0;
}

static bool has_master(const char *device)
{
    char path[64];
    struct stat info;
    snprintf(path, sizeof path, "/sys/class/net/%s/master", device);
    return stat(path, &info) == 0;
}

static bool is_underlay(const struct dp *dp, const char *device)
{
    char name[IFNAMSIZ];
    for (size_t i = 0; i < 2; i++)
        if (dp->rlocs[i].size && ovs_device_of(&dp->rlocs[i], name) && strcmp(name, device) == 0)
            return true;
    return false;
}

/* A port that is down loses what is sent to it; one that cannot be set up is shown by its
 * carrier. */
static void set_device_up(const char *device)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
        request.ifr_flags |= IFF_UP;
        (void)ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

/* Onto the bridge, if it is not there yet; 'ret_is_ours' says whether it goes with the port. */
static int plug(struct dp *dp, const struct dp_op *op, bool *ret_is_ours)
{
    struct ovs_port port = {.name = op->device, .type = "", .mark = "port"};
    char *why = NULL;

    *ret_is_ours = false;
    int r = of_receive(dp->conn, NEWS_BYTES); /* it may have been put there just now */
    if (r >= 0 && !dp->has_port_news && ovs_number(dp, op->device))
        return 0;
    r = r < 0 ? r : ovs_read_ports(dp);
    if (r || ovs_number(dp, op->device))
        return r;
    if (op->is_borrowed || !if_nametoindex(op->device))
        return -ENODEV;
    if (has_master(op->device) || is_underlay(dp, op->device))
        return -EBUSY;
    r = add_ports(dp, &port, 1, &why);
    free(why);
    if (r)
        return r == -EEXIST ? -EBUSY : r;
    *ret_is_ours = port.is_ours;
    set_device_up(op->device);
    return port.ofport ? ovs_read_ports(dp) : -ENODEV;
}

/* The port's flows, and those of the MACs behind it. */
static void port_flows(struct dp *dp, const struct ovs_port_rec *rec, ovs_flow_fn *visit)
{
    struct ovs_network_rec *network = ovs_network(dp, rec->network_id);

    if (network)
        network->is_behind = true;
    ovs_port_flows(dp, rec, visit, NULL);
    for (uint32_t i = 0; i < dp->macs.len; i++) {
        const struct dp_mac_rec *mac = dp_table_at(&dp->macs, i);
        if (mac->flags & DP_LOCAL && mac->place == rec->id)
            ovs_mac_flows(dp, mac, visit, NULL);
    }
}

int ovs_port_put(struct dp *dp, const struct dp_op *op)
{
    struct ovs_network_rec *network = ovs_network(dp, op->network.id);
    struct ovs_port_rec *rec = ovs_port(dp, op->network.id, op->device, op->vlan);
    bool is_ours = false;

    if (!network || network->flags & DP_ADOPTED)
        return -ENOENT;
    if (rec && rec->ofport && rec->ofport == ovs_number(dp, op->device)) {
        rec->flags &= (uint16_t)~DP_ADOPTED;
        return 0;
    }
    int r = plug(dp, op, &is_ours);
    if (r)
        return r;
    rec = ovs_port(dp, op->network.id, op->device, op->vlan); /* may have moved */
    bool is_new = !rec;
    if (is_new) {
        rec = ovs_new_port(dp, op->network.id, op->device, op->vlan);
        rec->flags = is_ours ? 0 : DP_BORROWED;
    }
    rec->ofport = ovs_number(dp, op->device);
    rec->flags &= (uint16_t)~DP_ADOPTED;
    network->is_behind = true;
    if (is_new) /* there are no MACs behind it */
        ovs_port_flows(dp, rec, ovs_add, NULL);
    else
        port_flows(dp, rec, ovs_add);
    return 0;
}

static int unplug(struct dp *dp, const char *device)
{
    struct ovsdb *db = NULL;
    char *why = NULL;

    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *other = dp_table_at(&dp->ports, i);
        if (strcmp(other->device, device) == 0)
            return 0; /* a child, or its parent, is still there */
    }
    int r = ovsdb_open(dp->db, PATIENCE_MS, &db, &why);
    if (r == 0)
        r = ovs_bridge_del_ports(db, dp->bridge, &device, 1, &why);
    ovsdb_close(db);
    free(why);
    dp->has_port_news = true;
    return r;
}

static void remove_behind(struct dp *dp, const struct ovs_port_rec *port)
{
    for (uint32_t i = dp->copies.len; i-- > 0;) {
        struct ovs_copy_rec *rec = dp_table_at(&dp->copies, i);
        if (rec->place == port->id)
            dp_table_remove(&dp->copies, rec);
    }
    for (uint32_t i = dp->macs.len; i-- > 0;) {
        struct dp_mac_rec *rec = dp_table_at(&dp->macs, i);
        if (rec->flags & DP_LOCAL && rec->place == port->id)
            ovs_mac_remove(dp, rec);
    }
}

int ovs_port_delete(struct dp *dp, uint32_t network_id, const char *device, uint16_t vlan)
{
    struct ovs_port_rec *rec = ovs_port(dp, network_id, device, vlan);

    if (!rec)
        return 0;
    struct ovs_port_rec old = *rec;
    remove_behind(dp, &old);
    ovs_port_flows(dp, &old, ovs_remove, NULL);
    dp_table_remove(&dp->ports, rec);
    dp_table_remove(&dp->port_ids, dp_table_find(&dp->port_ids, &old.id));
    struct ovs_network_rec *network = ovs_network(dp, network_id);
    if (network)
        network->is_behind = true;
    return old.flags & DP_BORROWED ? 0 : unplug(dp, old.device);
}

/* ---- numbers */

static void set_number(struct dp *dp, const struct of_port *port)
{
    struct ovs_number_rec key = number_key(port->name);
    struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);

    if (port->number == 0 || port->number >= OF_PORT_MAX)
        return;
    if (!rec)
        rec = dp_table_put(&dp->numbers, &key);
    rec->number = port->number;
}

void ovs_on_ports(struct dp *dp, struct of_parts *parts)
{
    struct of_port port;

    while (of_next_port(parts, &port))
        set_number(dp, &port);
}

static bool is_ours(const struct dp *dp, const char *device)
{
    for (size_t i = 0; i < dp->n_tunnels; i++)
        if (strcmp(dp->tunnels[i].name, device) == 0)
            return true;
    for (uint32_t i = 0; i < dp->ports.len; i++) {
        const struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
        if (strcmp(rec->device, device) == 0)
            return true;
    }
    return false;
}

/* A port that is none of ours is only noted: there may be thousands of them at once. */
void ovs_on_port_status(struct dp *dp, const struct of_message *message)
{
    enum { DELETED = 1 };
    struct of_port port;
    uint8_t reason;

    if (!of_parse_port_status(message, &reason, &port))
        return;
    struct ovs_number_rec key = number_key(port.name);
    struct ovs_number_rec *rec = dp_table_find(&dp->numbers, &key);
    if (reason != DELETED && rec && rec->number == port.number)
        return;
    dp->has_port_news |= is_ours(dp, port.name);
    if (reason != DELETED)
        set_number(dp, &port);
    else if (rec && rec->number == port.number)
        dp_table_remove(&dp->numbers, rec);
}

/* All old flows go before the first new one comes: numbers may have been exchanged. */
static void renumber(struct dp *dp)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < dp->ports.len; i++) {
            struct ovs_port_rec *rec = dp_table_at(&dp->ports, i);
            uint32_t number = ovs_number(dp, rec->device);
            if (pass == 0 ? number == rec->ofport : !(rec->flags & DP_DIRTY))
                continue;
            if (pass == 0 && rec->ofport)
                port_flows(dp, rec, ovs_remove);
            rec->flags = (uint16_t)(pass == 0 ? rec->flags | DP_DIRTY : rec->flags & ~DP_DIRTY);
            rec->ofport = number;
            if (pass == 1)
                port_flows(dp, rec, ovs_add);
        }
}

int ovs_read_ports(struct dp *dp)
{
    uint32_t xid = of_xid(dp->conn);

    while (dp->numbers.len)
        dp_table_remove(&dp->numbers, dp_table_at(&dp->numbers, dp->numbers.len - 1));
    dp->has_port_news = false;
    of_put_port_dump(of_out(dp->conn), xid);
    int r = of_wait(dp->conn, xid);
    if (r)
        return r;
    bool has_moved = false;
    for (size_t i = 0; i < dp->n_tunnels; i++) {
        uint32_t number = ovs_number(dp, dp->tunnels[i].name);
        has_moved |= number && number != dp->tunnels[i].ofport;
        if (number)
            dp->tunnels[i].ofport = number;
    }
    if (has_moved)
        dp->is_unsure = dp->is_disturbed = true;
    renumber(dp);
    return 0;
}
