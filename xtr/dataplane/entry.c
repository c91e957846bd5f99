/* FDB, neighbour and nexthop entries.  Sources: linux/neighbour.h, linux/nexthop.h. */
#include "entry.h"

#include "netlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static uint8_t family_of(const struct em_ip *ip)
{
    return ip->size == 16 ? AF_INET6 : AF_INET;
}

void dp_fdb_message(struct dp_nl *nl, uint16_t type, uint16_t flags, const struct dp_fdb *fdb)
{
    struct nlmsghdr *message = dp_nl_begin(nl, type, flags, sizeof(struct ndmsg));
    struct ndmsg *ndm = mnl_nlmsg_get_payload(message);

    ndm->ndm_family = AF_BRIDGE;
    ndm->ndm_ifindex = (int)fdb->ifindex;
    ndm->ndm_flags = fdb->flags;
    ndm->ndm_state = fdb->state;
    mnl_attr_put(message, NDA_LLADDR, EM_MAC_SIZE, fdb->mac);
    if (fdb->nhid)
        mnl_attr_put_u32(message, NDA_NH_ID, fdb->nhid);
    if (fdb->dst.size)
        mnl_attr_put(message, NDA_DST, fdb->dst.size, fdb->dst.addr);
    if (fdb->vni)
        mnl_attr_put_u32(message, NDA_VNI, fdb->vni);
    if (fdb->port)
        mnl_attr_put_u16(message, NDA_PORT, htons(fdb->port));
}

void dp_neigh_message(struct dp_nl *nl, uint16_t type, uint16_t flags, const struct dp_neigh *neigh)
{
    struct nlmsghdr *message = dp_nl_begin(nl, type, flags, sizeof(struct ndmsg));
    struct ndmsg *ndm = mnl_nlmsg_get_payload(message);

    ndm->ndm_family = family_of(&neigh->ip);
    ndm->ndm_ifindex = (int)neigh->ifindex;
    ndm->ndm_state = neigh->state;
    mnl_attr_put(message, NDA_DST, neigh->ip.size, neigh->ip.addr);
    if (type == RTM_NEWNEIGH) {
        mnl_attr_put(message, NDA_LLADDR, EM_MAC_SIZE, neigh->mac);
        mnl_attr_put_u8(message, NDA_PROTOCOL, neigh->protocol);
    }
}

void dp_nexthop_message(struct dp_nl *nl, uint16_t type, uint16_t flags,
                        const struct dp_nexthop *nexthop)
{
    struct nlmsghdr *message = dp_nl_begin(nl, type, flags, sizeof(struct nhmsg));
    struct nhmsg *nhm = mnl_nlmsg_get_payload(message);

    mnl_attr_put_u32(message, NHA_ID, nexthop->id);
    if (type != RTM_NEWNEXTHOP)
        return;
    nhm->nh_protocol = nexthop->protocol;
    mnl_attr_put(message, NHA_FDB, 0, NULL);
    if (nexthop->ip.size) {
        nhm->nh_family = family_of(&nexthop->ip);
        mnl_attr_put(message, NHA_GATEWAY, nexthop->ip.size, nexthop->ip.addr);
    } else {
        nhm->nh_family = AF_UNSPEC;
        mnl_attr_put(message, NHA_GROUP, nexthop->n_members * sizeof(nexthop->members[0]),
                     nexthop->members);
    }
}

void dp_neigh_dump_message(struct dp_nl *nl, uint8_t family)
{
    struct nlmsghdr *message = dp_nl_begin(nl, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
    ((struct ndmsg *)mnl_nlmsg_get_payload(message))->ndm_family = family;
}

void dp_fdb_dump_message(struct dp_nl *nl, uint32_t bridge)
{
    struct nlmsghdr *message = dp_nl_begin(nl, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));

    ((struct ndmsg *)mnl_nlmsg_get_payload(message))->ndm_family = AF_BRIDGE;
    mnl_attr_put_u32(message, NDA_MASTER, bridge);
}

void dp_nexthop_dump_message(struct dp_nl *nl)
{
    (void)dp_nl_begin(nl, RTM_GETNEXTHOP, NLM_F_DUMP, sizeof(struct nhmsg));
}

static bool take_ip(const struct nlattr *attr, struct em_ip *ret_ip)
{
    size_t size = mnl_attr_get_payload_len(attr);

    if (size != 4 && size != 16)
        return false;
    memset(ret_ip, 0, sizeof(*ret_ip));
    ret_ip->size = (uint8_t)size;
    memcpy(ret_ip->addr, mnl_attr_get_payload(attr), size);
    return true;
}

static bool take_mac(const struct nlattr *attr, uint8_t *mac)
{
    if (mnl_attr_get_payload_len(attr) != EM_MAC_SIZE)
        return false;
    memcpy(mac, mnl_attr_get_payload(attr), EM_MAC_SIZE);
    return true;
}

/* The kernel counts in hundredths of a second for the outside (USER_HZ). */
static void take_times(const struct nlattr *attr, struct dp_fdb *ret_fdb)
{
    struct nda_cacheinfo info = {0};

    if (mnl_attr_get_payload_len(attr) >= sizeof(info))
        memcpy(&info, mnl_attr_get_payload(attr), sizeof(info));
    ret_fdb->age_ms = info.ndm_updated * UINT64_C(10);
    ret_fdb->used_ms = info.ndm_used * UINT64_C(10);
}

bool dp_fdb_parse(const struct nlmsghdr *message, struct dp_fdb *ret_fdb)
{
    const struct ndmsg *ndm = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr;
    bool has_mac = false;

    if (message->nlmsg_type != RTM_NEWNEIGH || ndm->ndm_family != AF_BRIDGE)
        return false;
    *ret_fdb = (struct dp_fdb){
        .ifindex = (uint32_t)ndm->ndm_ifindex, .flags = ndm->ndm_flags, .state = ndm->ndm_state};
    mnl_attr_for_each(attr, message, sizeof(*ndm))
    {
        switch (mnl_attr_get_type(attr)) {
        case NDA_LLADDR:
            has_mac = take_mac(attr, ret_fdb->mac);
            break;
        case NDA_DST:
            (void)take_ip(attr, &ret_fdb->dst);
            break;
        case NDA_NH_ID:
            ret_fdb->nhid = mnl_attr_get_u32(attr);
            break;
        case NDA_VNI:
            ret_fdb->vni = mnl_attr_get_u32(attr);
            break;
        case NDA_PORT:
            ret_fdb->port = ntohs(mnl_attr_get_u16(attr));
            break;
        case NDA_MASTER:
            ret_fdb->master = mnl_attr_get_u32(attr);
            break;
        case NDA_CACHEINFO:
            take_times(attr, ret_fdb);
            break;
        }
    }
    /* A dump of a bridge's table gives no flag for "master"; the attribute tells. */
    if (!(ret_fdb->flags & NTF_SELF) && ret_fdb->master)
        ret_fdb->flags |= NTF_MASTER;
    return has_mac;
}

bool dp_neigh_parse(const struct nlmsghdr *message, struct dp_neigh *ret_neigh)
{
    const struct ndmsg *ndm = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr;
    bool has_ip = false;

    if (message->nlmsg_type != RTM_NEWNEIGH ||
        (ndm->ndm_family != AF_INET && ndm->ndm_family != AF_INET6))
        return false;
    *ret_neigh = (struct dp_neigh){.ifindex = (uint32_t)ndm->ndm_ifindex, .state = ndm->ndm_state};
    mnl_attr_for_each(attr, message, sizeof(*ndm))
    {
        switch (mnl_attr_get_type(attr)) {
        case NDA_DST:
            has_ip = take_ip(attr, &ret_neigh->ip);
            break;
        case NDA_LLADDR:
            (void)take_mac(attr, ret_neigh->mac);
            break;
        case NDA_PROTOCOL:
            ret_neigh->protocol = mnl_attr_get_u8(attr);
            break;
        }
    }
    return has_ip;
}

static bool take_members(const struct nlattr *attr, struct dp_nexthop *nexthop)
{
    size_t size = mnl_attr_get_payload_len(attr);

    if (size > sizeof(nexthop->members))
        return false;
    nexthop->n_members = size / sizeof(nexthop->members[0]);
    memcpy(nexthop->members, mnl_attr_get_payload(attr),
           nexthop->n_members * sizeof(nexthop->members[0]));
    return true;
}

bool dp_nexthop_parse(const struct nlmsghdr *message, struct dp_nexthop *ret_nexthop)
{
    const struct nhmsg *nhm = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr;
    bool has_target = false;

    if (message->nlmsg_type != RTM_NEWNEXTHOP && message->nlmsg_type != RTM_DELNEXTHOP)
        return false;
    *ret_nexthop = (struct dp_nexthop){.protocol = nhm->nh_protocol};
    mnl_attr_for_each(attr, message, sizeof(*nhm))
    {
        switch (mnl_attr_get_type(attr)) {
        case NHA_ID:
            ret_nexthop->id = mnl_attr_get_u32(attr);
            break;
        case NHA_FDB:
            ret_nexthop->is_fdb = true;
            break;
        case NHA_GATEWAY:
            has_target = take_ip(attr, &ret_nexthop->ip);
            break;
        case NHA_GROUP:
            has_target = take_members(attr, ret_nexthop);
            break;
        }
    }
    return has_target && ret_nexthop->id != 0;
}

/* snprintf() behind what 'text' holds already. */
__attribute__((format(printf, 2, 3))) static void add(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, DP_ENTRY_TEXT - used, format, args);
    va_end(args);
}

char *dp_fdb_format(const struct dp_fdb *fdb, const char *device, const char *master, char *text)
{
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];

    snprintf(text, DP_ENTRY_TEXT, "%s dev %s", em_mac_format(fdb->mac, mac), device);
    if (fdb->dst.size)
        add(text, " dst %s", em_ip_format(fdb->dst.addr, fdb->dst.size, ip));
    if (fdb->port)
        add(text, " port %u", fdb->port);
    if (fdb->vni)
        add(text, " vni %u", fdb->vni);
    if (fdb->nhid)
        add(text, " nhid %u", fdb->nhid);
    if (fdb->flags & NTF_SELF)
        add(text, " self");
    if (fdb->flags & NTF_EXT_LEARNED)
        add(text, " extern_learn");
    if (master)
        add(text, " master %s", master);
    if (fdb->state & NUD_PERMANENT)
        add(text, " permanent");
    return text;
}

char *dp_neigh_format(const struct dp_neigh *neigh, const char *device, char *text)
{
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];

    snprintf(text, DP_ENTRY_TEXT, "%s dev %s lladdr %s%s",
             em_ip_format(neigh->ip.addr, neigh->ip.size, ip), device,
             em_mac_format(neigh->mac, mac), neigh->state & NUD_PERMANENT ? " PERMANENT" : "");
    if (neigh->protocol)
        add(text, " proto %u", neigh->protocol);
    return text;
}

char *dp_nexthop_format(const struct dp_nexthop *nexthop, char *text)
{
    char ip[EM_IP_TEXT];

    snprintf(text, DP_ENTRY_TEXT, "id %u", nexthop->id);
    if (nexthop->ip.size)
        add(text, " via %s scope link", em_ip_format(nexthop->ip.addr, nexthop->ip.size, ip));
    for (size_t i = 0; i < nexthop->n_members; i++)
        add(text, "%s%u,%u", i == 0 ? " group " : "/", nexthop->members[i].id,
            nexthop->members[i].weight + 1u);
    add(text, " proto %u%s", nexthop->protocol, nexthop->is_fdb ? " fdb" : "");
    return text;
}
