/* Network devices.  Sources: linux/if_link.h, linux/ip.h, and net/core/rtnetlink.c for the
 * order: alias and address-family options are not taken when a device is created, port
 * flags only once it has its bridge.
 *
 * The host has no part in a tenant's network.  Its bridge gets no address: IPv6 by
 * addr_gen_mode "none"; and since the kernel answers ARP on any device for any address of
 * the host, and would take a tenant's packet to it, IPv4 input is shut by arp_ignore 8 and
 * a strict rp_filter, which a device without addresses cannot pass.  IPv6 has no such
 * filter: a packet for the host is taken if the frame is for the bridge's own address, which
 * is drawn and never shown, or for a multicast one, which drop_unicast_in_l2_multicast shuts
 * (Documentation/networking/ip-sysctl.rst; there is no netlink for it). */
#include "link.h"

#include "entry.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ALIAS "eidmap:"
/* IFLA_BR_FDB_MAX_LEARNED, which older headers lack. */
#define BR_FDB_MAX_LEARNED (IFLA_BR_MCAST_QUERIER_STATE + 2)

char *dp_bridge_name(uint32_t network_id, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "emb%x", network_id);
    return name;
}

char *dp_vxlan_name(uint32_t network_id, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "emx%x", network_id);
    return name;
}

char *dp_miss_name(uint32_t network_id, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "emt%x", network_id);
    return name;
}

bool dp_link_is_same_brport(const struct dp_brport *a, const struct dp_brport *b)
{
    return a->learning == b->learning && a->neigh_suppress == b->neigh_suppress &&
           a->unicast_flood == b->unicast_flood && a->mcast_flood == b->mcast_flood &&
           a->bcast_flood == b->bcast_flood;
}

char *dp_copy_device_name(uint32_t network_id, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "emc%x", network_id);
    return name;
}

static uint32_t parse_alias(const char *alias)
{
    char *end;

    if (strncmp(alias, ALIAS, strlen(ALIAS)) != 0)
        return 0;
    unsigned long id = strtoul(alias + strlen(ALIAS), &end, 10);
    return *end == '\0' && id <= UINT32_MAX ? (uint32_t)id : 0;
}

static void parse_vxlan(const struct nlattr *data, struct dp_link *link)
{
    const struct nlattr *attr;

    mnl_attr_for_each_nested(attr, data)
    {
        switch (mnl_attr_get_type(attr)) {
        case IFLA_VXLAN_ID:
            link->vni = mnl_attr_get_u32(attr);
            break;
        case IFLA_VXLAN_PORT:
            link->udp_port = ntohs(mnl_attr_get_u16(attr));
            break;
        case IFLA_VXLAN_LEARNING:
            link->is_learning = mnl_attr_get_u8(attr) != 0;
            break;
        case IFLA_VXLAN_LOCAL:
        case IFLA_VXLAN_LOCAL6:
            link->local.size = mnl_attr_get_type(attr) == IFLA_VXLAN_LOCAL ? 4 : 16;
            memcpy(link->local.addr, mnl_attr_get_payload(attr), link->local.size);
            break;
        }
    }
}

static void parse_brport(const struct nlattr *data, struct dp_brport *brport)
{
    const struct nlattr *attr;

    mnl_attr_for_each_nested(attr, data)
    {
        switch (mnl_attr_get_type(attr)) {
        case IFLA_BRPORT_LEARNING:
            brport->learning = mnl_attr_get_u8(attr) != 0;
            break;
        case IFLA_BRPORT_NEIGH_SUPPRESS:
            brport->neigh_suppress = mnl_attr_get_u8(attr) != 0;
            break;
        case IFLA_BRPORT_UNICAST_FLOOD:
            brport->unicast_flood = mnl_attr_get_u8(attr) != 0;
            break;
        case IFLA_BRPORT_MCAST_FLOOD:
            brport->mcast_flood = mnl_attr_get_u8(attr) != 0;
            break;
        case IFLA_BRPORT_BCAST_FLOOD:
            brport->bcast_flood = mnl_attr_get_u8(attr) != 0;
            break;
        }
    }
}

static void parse_info(const struct nlattr *info, struct dp_link *link)
{
    const struct nlattr *attr, *data = NULL, *slave_data = NULL;
    const char *kind = "", *slave_kind = "";

    mnl_attr_for_each_nested(attr, info)
    {
        switch (mnl_attr_get_type(attr)) {
        case IFLA_INFO_KIND:
            kind = mnl_attr_get_str(attr);
            break;
        case IFLA_INFO_DATA:
            data = attr;
            break;
        case IFLA_INFO_SLAVE_KIND:
            slave_kind = mnl_attr_get_str(attr);
            break;
        case IFLA_INFO_SLAVE_DATA:
            slave_data = attr;
            break;
        }
    }
    if (strcmp(kind, "bridge") == 0)
        link->kind = DP_LINK_BRIDGE;
    if (strcmp(kind, "vxlan") == 0 && data) {
        link->kind = DP_LINK_VXLAN;
        parse_vxlan(data, link);
    }
    if (strcmp(slave_kind, "bridge") == 0 && slave_data)
        parse_brport(slave_data, &link->brport);
}

bool dp_link_parse(const struct nlmsghdr *message, struct dp_link *ret_link)
{
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr;

    if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
        return false;
    *ret_link = (struct dp_link){.ifindex = (uint32_t)ifi->ifi_index,
                                 .is_up = ifi->ifi_flags & IFF_UP,
                                 .is_running = ifi->ifi_flags & IFF_RUNNING,
                                 .is_loopback = ifi->ifi_flags & IFF_LOOPBACK};
    mnl_attr_for_each(attr, message, sizeof(*ifi))
    {
        switch (mnl_attr_get_type(attr)) {
        case IFLA_IFNAME:
            snprintf(ret_link->name, sizeof(ret_link->name), "%s", mnl_attr_get_str(attr));
            break;
        case IFLA_MASTER:
            ret_link->master = mnl_attr_get_u32(attr);
            break;
        case IFLA_MTU:
            ret_link->mtu = mnl_attr_get_u32(attr);
            break;
        case IFLA_IFALIAS:
            ret_link->network_id = parse_alias(mnl_attr_get_str(attr));
            break;
        case IFLA_LINKINFO:
            parse_info(attr, ret_link);
            break;
        }
    }
    return true;
}

static void take_link(void *aux, const struct nlmsghdr *message)
{
    (void)dp_link_parse(message, aux);
}

static struct nlmsghdr *begin(struct dp_nl *nl, uint16_t type, uint16_t flags, uint32_t ifindex)
{
    struct nlmsghdr *message = dp_nl_begin(nl, type, flags, sizeof(struct ifinfomsg));
    ((struct ifinfomsg *)mnl_nlmsg_get_payload(message))->ifi_index = (int)ifindex;
    return message;
}

int dp_link_get(struct dp_nl *nl, const char *name, struct dp_link *ret_link)
{
    struct nlmsghdr *message = begin(nl, RTM_GETLINK, 0, 0);
    mnl_attr_put_strz(message, IFLA_IFNAME, name);
    return dp_nl_read(nl, take_link, ret_link);
}

int dp_link_get_index(struct dp_nl *nl, uint32_t ifindex, struct dp_link *ret_link)
{
    begin(nl, RTM_GETLINK, 0, ifindex);
    return dp_nl_read(nl, take_link, ret_link);
}

struct link_visit {
    dp_link_fn *on_link;
    void *aux;
};

static void visit_link(void *aux, const struct nlmsghdr *message)
{
    const struct link_visit *visit = aux;
    struct dp_link link;

    if (dp_link_parse(message, &link))
        visit->on_link(visit->aux, &link);
}

int dp_link_dump(struct dp_nl *nl, dp_link_fn *on_link, void *aux)
{
    struct link_visit visit = {on_link, aux};
    begin(nl, RTM_GETLINK, NLM_F_DUMP, 0);
    return dp_nl_read(nl, visit_link, &visit);
}

struct address_search {
    const struct em_ip *ip;
    uint32_t ifindex;
};

static void match_address(void *aux, const struct nlmsghdr *message)
{
    struct address_search *search = aux;
    const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr, *local = NULL;

    if (message->nlmsg_type != RTM_NEWADDR)
        return;
    /* IFA_ADDRESS is the peer's on a point-to-point device, where IFA_LOCAL is ours. */
    mnl_attr_for_each(attr, message, sizeof(*ifa))
    {
        uint16_t type = mnl_attr_get_type(attr);
        if (type == IFA_LOCAL || (type == IFA_ADDRESS && !local))
            local = attr;
    }
    if (local && mnl_attr_get_payload_len(local) == search->ip->size &&
        memcmp(mnl_attr_get_payload(local), search->ip->addr, search->ip->size) == 0)
        search->ifindex = ifa->ifa_index;
}

int dp_link_find_address(struct dp_nl *nl, const struct em_ip *ip, uint32_t *ret_ifindex)
{
    struct address_search search = {.ip = ip};
    struct nlmsghdr *message = dp_nl_begin(nl, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
    ((struct ifaddrmsg *)mnl_nlmsg_get_payload(message))->ifa_family =
        ip->size == 16 ? AF_INET6 : AF_INET;

    int r = dp_nl_read(nl, match_address, &search);
    if (r)
        return r;
    if (search.ifindex == 0)
        return -EADDRNOTAVAIL;
    *ret_ifindex = search.ifindex;
    return 0;
}

static void set_flags(struct nlmsghdr *message, unsigned flags)
{
    struct ifinfomsg *ifi = mnl_nlmsg_get_payload(message);
    ifi->ifi_flags = flags;
    ifi->ifi_change = flags;
}

/* The mark, and no part for the host. */
static void add_mark(struct dp_nl *nl, uint32_t ifindex, uint32_t network_id)
{
    struct nlmsghdr *message = begin(nl, RTM_SETLINK, 0, ifindex);
    char alias[32];

    snprintf(alias, sizeof(alias), ALIAS "%u", network_id);
    mnl_attr_put_strz(message, IFLA_IFALIAS, alias);
    struct nlattr *families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
    struct nlattr *inet = mnl_attr_nest_start(message, AF_INET);
    struct nlattr *conf = mnl_attr_nest_start(message, IFLA_INET_CONF);
    mnl_attr_put_u32(message, IPV4_DEVCONF_ARP_IGNORE, 8);
    mnl_attr_put_u32(message, IPV4_DEVCONF_RP_FILTER, 1);
    mnl_attr_put_u32(message, IPV4_DEVCONF_FORWARDING, 0);
    mnl_attr_nest_end(message, conf);
    mnl_attr_nest_end(message, inet);
    mnl_attr_nest_end(message, families);

    /* Apart: a host without IPv6 refuses this one, and has no need of it. */
    message = begin(nl, RTM_SETLINK, 0, ifindex);
    families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(message, AF_INET6);
    mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(message, inet6);
    mnl_attr_nest_end(message, families);
}

static int mark(struct dp_nl *nl, uint32_t ifindex, uint32_t network_id)
{
    int errs[DP_NL_BATCH];

    add_mark(nl, ifindex, network_id);
    dp_nl_send(nl, errs);
    if (errs[0])
        return errs[0];
    return errs[1] == -EAFNOSUPPORT ? 0 : errs[1];
}

/* A host without IPv6 has no such file, and no need of it. */
static int shut_multicast(const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/drop_unicast_in_l2_multicast", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = write(fd, "1", 1) == 1 ? 0 : -errno;
    close(fd);
    return r;
}

/* Reads back what was just made, marks it, and takes it away again if that fails. */
int dp_link_mark(struct dp_nl *nl, const char *name, uint32_t network_id, struct dp_link *ret_link)
{
    int r = dp_link_get(nl, name, ret_link);
    if (r)
        return r;
    r = mark(nl, ret_link->ifindex, network_id);
    if (!r)
        r = shut_multicast(name);
    if (r)
        (void)dp_link_delete(nl, ret_link->ifindex);
    ret_link->network_id = network_id;
    return r;
}

/* The address is given, since a bridge otherwise takes the lowest of its ports', and drawn,
 * so that a tenant cannot know where to send frames for the host.  The MTU is changed once,
 * because a bridge whose MTU nobody has changed follows its smallest port, and with less
 * than 1280 the kernel takes no IPv6 neighbours on it. */
int dp_link_make_bridge(struct dp_nl *nl, uint32_t network_id, uint32_t mtu,
                        struct dp_link *ret_link)
{
    char name[IFNAMSIZ];
    uint8_t mac[EM_MAC_SIZE];

    if (getrandom(mac, sizeof(mac), 0) != (ssize_t)sizeof(mac))
        return -errno;
    mac[0] = 0x02; /* locally administered, unicast */
    struct nlmsghdr *message = begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
    mnl_attr_put_strz(message, IFLA_IFNAME, dp_bridge_name(network_id, name));
    mnl_attr_put(message, IFLA_ADDRESS, sizeof(mac), mac);
    mnl_attr_put_u32(message, IFLA_MTU, mtu + 1);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    mnl_attr_put_u32(message, IFLA_BR_STP_STATE, 0);
    mnl_attr_put_u8(message, IFLA_BR_MCAST_SNOOPING, 0);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);

    int r = dp_nl_commit(nl);
    return r ? r : dp_link_mark(nl, name, network_id, ret_link);
}

int dp_link_make_vxlan(struct dp_nl *nl, const struct dp_link *want, const char *name,
                       struct dp_link *ret_link)
{
    struct nlmsghdr *message = begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);

    mnl_attr_put_strz(message, IFLA_IFNAME, name);
    mnl_attr_put_u32(message, IFLA_MTU, want->mtu);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    mnl_attr_put_u32(message, IFLA_VXLAN_ID, want->vni);
    mnl_attr_put(message, want->local.size == 16 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL,
                 want->local.size, want->local.addr);
    mnl_attr_put_u16(message, IFLA_VXLAN_PORT, htons(want->udp_port));
    mnl_attr_put_u8(message, IFLA_VXLAN_LEARNING, 0);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);

    int r = dp_nl_commit(nl);
    return r ? r : dp_link_mark(nl, name, want->network_id, ret_link);
}

int dp_link_enslave(struct dp_nl *nl, uint32_t ifindex, uint32_t bridge,
                    const struct dp_brport *brport)
{
    struct nlmsghdr *message = begin(nl, RTM_SETLINK, 0, ifindex);
    mnl_attr_put_u32(message, IFLA_MASTER, bridge);

    message = begin(nl, RTM_NEWLINK, 0, ifindex);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_SLAVE_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_SLAVE_DATA);
    mnl_attr_put_u8(message, IFLA_BRPORT_LEARNING, brport->learning);
    mnl_attr_put_u8(message, IFLA_BRPORT_NEIGH_SUPPRESS, brport->neigh_suppress);
    mnl_attr_put_u8(message, IFLA_BRPORT_UNICAST_FLOOD, brport->unicast_flood);
    mnl_attr_put_u8(message, IFLA_BRPORT_MCAST_FLOOD, brport->mcast_flood);
    mnl_attr_put_u8(message, IFLA_BRPORT_BCAST_FLOOD, brport->bcast_flood);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);

    set_flags(begin(nl, RTM_SETLINK, 0, ifindex), IFF_UP);
    return dp_nl_commit(nl);
}

int dp_link_release(struct dp_nl *nl, uint32_t ifindex)
{
    mnl_attr_put_u32(begin(nl, RTM_SETLINK, 0, ifindex), IFLA_MASTER, 0);
    return dp_nl_commit(nl);
}

int dp_link_set_local(struct dp_nl *nl, uint32_t ifindex, const struct em_ip *local)
{
    struct nlmsghdr *message = begin(nl, RTM_NEWLINK, 0, ifindex);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    mnl_attr_put(message, local->size == 16 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, local->size,
                 local->addr);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);
    return dp_nl_commit(nl);
}

int dp_link_limit_bridge(struct dp_nl *nl, uint32_t ifindex, uint32_t most)
{
    struct nlmsghdr *message = begin(nl, RTM_NEWLINK, 0, ifindex);
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    mnl_attr_put_u32(message, BR_FDB_MAX_LEARNED, most);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);
    return dp_nl_commit(nl);
}

int dp_link_set_mtu(struct dp_nl *nl, uint32_t ifindex, uint32_t mtu)
{
    mnl_attr_put_u32(begin(nl, RTM_SETLINK, 0, ifindex), IFLA_MTU, mtu);
    return dp_nl_commit(nl);
}

int dp_link_set_up(struct dp_nl *nl, uint32_t ifindex)
{
    set_flags(begin(nl, RTM_SETLINK, 0, ifindex), IFF_UP);
    return dp_nl_commit(nl);
}

int dp_link_delete(struct dp_nl *nl, uint32_t ifindex)
{
    begin(nl, RTM_DELLINK, 0, ifindex);
    int r = dp_nl_commit(nl);
    return r == -ENODEV ? 0 : r;
}
