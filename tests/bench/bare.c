#include "bare.h"

#include "bench.h"
#include "server/numbered.h"

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
    struct numbered_port port;
    numbered_port_init(&port, 0, i + 1, NULL);
    memcpy(mac, port.eids[0].addr, EM_MAC_SIZE);
}

uint32_t bare_ip_be(uint32_t i)
{
    uint32_t ip_be;
    struct em_eid ip = numbered_ip(i + 1);
    memcpy(&ip_be, ip.addr, sizeof(ip_be));
    return ip_be;
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

static void add_fdb_entry(struct bare *bare, unsigned device, const uint8_t mac[6], uint32_t group)
{
    struct nlmsghdr *message = begin(bare, RTM_NEWNEIGH);
    struct ndmsg *ndm = mnl_nlmsg_put_extra_header(message, sizeof(*ndm));
    ndm->ndm_family = AF_BRIDGE;
    ndm->ndm_ifindex = (int)device;
    ndm->ndm_flags = NTF_MASTER;
    ndm->ndm_state = NUD_REACHABLE;
    if (group) {
        ndm->ndm_flags |= NTF_SELF | NTF_EXT_LEARNED;
        ndm->ndm_state |= NUD_NOARP;
    }
    mnl_attr_put(message, NDA_LLADDR, EM_MAC_SIZE, mac);
    if (group)
        mnl_attr_put_u32(message, NDA_NH_ID, group);
    end(bare);
}

static void add_neighbour(struct bare *bare, unsigned bridge, const uint8_t mac[6], uint32_t ip_be)
{
    struct nlmsghdr *message = begin(bare, RTM_NEWNEIGH);
    struct ndmsg *ndm = mnl_nlmsg_put_extra_header(message, sizeof(*ndm));
    ndm->ndm_family = AF_INET;
    ndm->ndm_ifindex = (int)bridge;
    ndm->ndm_state = NUD_PERMANENT;
    mnl_attr_put_u32(message, NDA_DST, ip_be);
    mnl_attr_put(message, NDA_LLADDR, EM_MAC_SIZE, mac);
    mnl_attr_put_u8(message, NDA_PROTOCOL, 4); /* static */
    end(bare);
}

static struct bare *open_bare(void)
{
    static struct bare bare;
    bare = (struct bare){.socket = mnl_socket_open(NETLINK_ROUTE)};
    if (!bare.socket || mnl_socket_bind(bare.socket, 0, MNL_SOCKET_AUTOPID) < 0)
        real_fail("netlink: %s", strerror(errno));
    bare.portid = mnl_socket_get_portid(bare.socket);
    return &bare;
}

static void close_bare(struct bare *bare)
{
    flush(bare);
    mnl_socket_close(bare->socket);
}

void bare_devices(void)
{
    bench_run("ip link add b0 type bridge && ip link add x0 type vxlan id 100 dstport 4789 "
              "local 192.168.0.1 nolearning && ip link set x0 master b0 && ip link set b0 up && "
              "ip link set x0 up && bridge link set dev x0 neigh_suppress on learning off");
}

void bare_install(unsigned vxlan, unsigned bridge, uint32_t n, uint32_t n_groups)
{
    struct bare *bare = open_bare();
    uint8_t mac[EM_MAC_SIZE];
    for (uint32_t k = 0; k < n_groups; k++)
        add_group(bare, k);
    for (uint32_t i = 0; i < n; i++) {
        bare_mac(i, mac);
        add_fdb_entry(bare, vxlan, mac, 2 * (i % n_groups) + 2);
        add_neighbour(bare, bridge, mac, bare_ip_be(i));
    }
    close_bare(bare);
}

uint64_t bare_learn(unsigned device, unsigned bridge, uint32_t first, uint32_t n)
{
    struct bare *bare = open_bare();
    uint64_t start = bench_now_ns();
    for (uint32_t i = 0; i < n; i++) {
        struct numbered_port port;
        uint32_t ip_be;
        numbered_port_init(&port, 0, first + i, NULL);
        memcpy(&ip_be, port.eids[1].addr, sizeof(ip_be));
        add_fdb_entry(bare, device, port.eids[0].addr, 0);
        add_neighbour(bare, bridge, port.eids[0].addr, ip_be);
    }
    close_bare(bare);
    return start;
}
