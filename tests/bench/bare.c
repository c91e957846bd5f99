#include "bare.h"

#include "server/real_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64

struct bare {
    struct mnl_socket *socket;
    uint32_t seq, portid;
    size_t n, size;
    struct nlmsghdr *last;
    _Alignas(NLMSG_ALIGNTO) char out[BATCH * 256];
};

void bare_mac(uint32_t i, uint8_t mac[6])
{
    uint32_t i_be = htonl(i);
    mac[0] = 2;
    mac[1] = 0xbe;
    memcpy(mac + 2, &i_be, 4);
}

uint32_t bare_ip_be(uint32_t i)
{
    return htonl((10u << 24) + 256 + i);
}

uint32_t bare_rloc_be(uint32_t k)
{
    return htonl((192u << 24) + (168u << 16) + 256 + k);
}

static void flush(struct bare *bare)
{
    char in[8192];

    if (!bare->n)
        return;
    bare->last->nlmsg_flags |= NLM_F_ACK;
    if (mnl_socket_sendto(bare->socket, bare->out, bare->size) < 0)
        real_fail("netlink: %s", strerror(errno));
    for (int r = MNL_CB_OK; r == MNL_CB_OK;) {
        ssize_t got = mnl_socket_recvfrom(bare->socket, in, sizeof(in));
        r = got < 0 ? -1 : mnl_cb_run(in, (size_t)got, 0, bare->portid, NULL, NULL);
        if (r < 0)
            real_fail("the kernel refuses: %s", strerror(errno));
    }
    bare->n = bare->size = 0;
}

static struct nlmsghdr *begin(struct bare *bare, uint16_t type)
{
    if (bare->n == BATCH)
        flush(bare);
    struct nlmsghdr *message = mnl_nlmsg_put_header(bare->out + bare->size);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
    message->nlmsg_seq = ++bare->seq;
    bare->last = message;
    return message;
}

static void end(struct bare *bare)
{
    bare->size += NLMSG_ALIGN(bare->last->nlmsg_len);
    bare->n++;
}

static void add_group(struct bare *bare, uint32_t k)
{
    struct nexthop_grp member = {.id = 2 * k + 1};
    struct nlmsghdr *message = begin(bare, RTM_NEWNEXTHOP);
    struct nhmsg *nhm = mnl_nlmsg_put_extra_header(message, sizeof(*nhm));
    nhm->nh_family = AF_INET;
    mnl_attr_put_u32(message, NHA_ID, member.id);
    mnl_attr_put(message, NHA_FDB, 0, NULL);
    mnl_attr_put_u32(message, NHA_GATEWAY, bare_rloc_be(k));
    end(bare);

    message = begin(bare, RTM_NEWNEXTHOP);
    mnl_nlmsg_put_extra_header(message, sizeof(*nhm));
    mnl_attr_put_u32(message, NHA_ID, member.id + 1);
    mnl_attr_put(message, NHA_FDB, 0, NULL);
    mnl_attr_put(message, NHA_GROUP, sizeof(member), &member);
    end(bare);
}

static void add_endpoint(struct bare *bare, unsigned vxlan, unsigned bridge, uint32_t i,
                         uint32_t group)
{
    uint8_t mac[6];
    bare_mac(i, mac);
    struct nlmsghdr *message = begin(bare, RTM_NEWNEIGH);
    struct ndmsg *ndm = mnl_nlmsg_put_extra_header(message, sizeof(*ndm));
    ndm->ndm_family = AF_BRIDGE;
    ndm->ndm_ifindex = (int)vxlan;
    ndm->ndm_flags = NTF_SELF | NTF_MASTER | NTF_EXT_LEARNED;
    ndm->ndm_state = NUD_NOARP | NUD_REACHABLE;
    mnl_attr_put(message, NDA_LLADDR, sizeof(mac), mac);
    mnl_attr_put_u32(message, NDA_NH_ID, group);
    end(bare);

    message = begin(bare, RTM_NEWNEIGH);
    ndm = mnl_nlmsg_put_extra_header(message, sizeof(*ndm));
    ndm->ndm_family = AF_INET;
    ndm->ndm_ifindex = (int)bridge;
    ndm->ndm_state = NUD_PERMANENT;
    mnl_attr_put_u32(message, NDA_DST, bare_ip_be(i));
    mnl_attr_put(message, NDA_LLADDR, sizeof(mac), mac);
    mnl_attr_put_u8(message, NDA_PROTOCOL, 4); /* static */
    end(bare);
}

void bare_install(unsigned vxlan, unsigned bridge, uint32_t n, uint32_t n_groups)
{
    static struct bare bare;
    bare = (struct bare){.socket = mnl_socket_open(NETLINK_ROUTE)};
    if (!bare.socket || mnl_socket_bind(bare.socket, 0, MNL_SOCKET_AUTOPID) < 0)
        real_fail("netlink: %s", strerror(errno));
    bare.portid = mnl_socket_get_portid(bare.socket);
    for (uint32_t k = 0; k < n_groups; k++)
        add_group(&bare, k);
    for (uint32_t i = 0; i < n; i++)
        add_endpoint(&bare, vxlan, bridge, i, 2 * (i % n_groups) + 2);
    flush(&bare);
    mnl_socket_close(bare.socket);
}
