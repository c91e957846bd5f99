/* The miss port: a tap device "emt7" in the bridge of network 7, that the bridge floods what it
 * does not know the way for to, and that the agent reads.
 *
 * The kernel's own miss events are no use (one for each dropped frame, and none for ARP that is
 * not answered).  With "neigh_suppress" the kernel keeps what it has answered itself from this
 * port too.  The tap lives as long as its descriptor: with the agent gone, what is programmed
 * goes on forwarding, and nothing is left behind.
 *
 * A filter in front of the tap's queue keeps out the network's other broadcast, so that a guest
 * that shouts fills the queue with nothing but ARP, ND and unicast. */
#include "kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TYPE_ARP   0x0806
#define TYPE_IPV6  0x86dd
#define ICMPV6     58
#define ND_SOLICIT 135
#define WHOLE      0x40000

static const struct dp_brport flags = {
    .neigh_suppress = true, .unicast_flood = true, .mcast_flood = true, .bcast_flood = true};

/* Unicast; of the rest ARP and neighbour solicitations without extension headers. */
static int attach_filter(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 7),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_ARP, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_IPV6, 0, 5),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMPV6, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_SOLICIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, WHOLE),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return ioctl(fd, TUNATTACHFILTER, &program) ? -errno : 0;
}

/* Its descriptor, or -errno.  Not one that is there already: it would be another agent's, or a
 * stranger's. */
static int make_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    memcpy(request.ifr_name, name, strlen(name));
    int r = ioctl(fd, TUNSETIFF, &request) ? -errno : attach_filter(fd);
    if (r)
        close(fd);
    return r ? r : fd;
}

static int join(struct dp *dp, const struct dp_network_rec *network, const struct dp_link *tap)
{
    int r = tap->mtu == network->mtu ? 0 : dp_link_set_mtu(dp->nl, tap->ifindex, network->mtu);
    return r ? r : dp_link_enslave(dp->nl, tap->ifindex, network->bridge, &flags);
}

int dp_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    struct dp_link tap = {0};
    char name[IFNAMSIZ];

    if (!network || dp_is_nobodys(network->flags))
        return -ENOENT;
    if (network->miss) {
        *ret_fd = network->miss_fd;
        return 0;
    }
    dp_miss_name(network_id, name);
    int fd = make_tap(name);
    if (fd < 0)
        return fd;
    int r = dp_link_mark(dp->nl, name, network_id, &tap);
    if (r == 0)
        r = join(dp, network, &tap);
    if (r) {
        close(fd);
        return r;
    }
    network->miss = tap.ifindex;
    *ret_fd = network->miss_fd = fd;
    return 0;
}

void dp_miss_close(struct dp_network_rec *network)
{
    if (network->miss)
        close(network->miss_fd);
    network->miss = 0;
}

int dp_miss_rejoin(struct dp *dp, const struct dp_network_rec *network)
{
    struct dp_link tap = {0};
    int r = network->miss ? dp_link_get_index(dp->nl, network->miss, &tap) : 0;
    return r || !network->miss ? r : join(dp, network, &tap);
}

bool dp_miss_stands(struct dp *dp, const struct dp_network_rec *network)
{
    struct dp_link tap = {0};
    return !network->miss || (dp_link_get_index(dp->nl, network->miss, &tap) == 0 && tap.is_up &&
                              tap.master == network->bridge && tap.mtu == network->mtu &&
                              dp_link_is_same_brport(&tap.brport, &flags));
}

int dp_mac_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms)
{
    const struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    const struct dp_mac_rec *rec = dp_shadow_mac(&dp->shadow, network_id, mac);
    struct dp_fdb fdb;

    if (!network || !rec || rec->flags & (DP_LOCAL | DP_FOREIGN))
        return -ENOENT;
    int r = dp_fdb_lookup(dp, network->vxlan, mac, NTF_MASTER, &fdb);
    if (r == 0)
        *ret_ms = fdb.used_ms;
    return r;
}
