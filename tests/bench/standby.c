/* How long a node's death takes from the verdict of the probes to the last group replaced, in
 * the kernel's own tables, with few and with many endpoints at the node.
 *
 *     map-cache ── operations ──> kernel data plane, in a network namespace of its own
 *         ^                          bridge, vxlan, FDB entries ──> nexthop groups
 *         └ "node a is silent"
 *
 * Every endpoint is at node a, with node b as standby.  rtnetlink tells what the kernel has
 * changed, so the count of messages is a stranger's. */
#include "base/mem.h"
#include "bench.h"
#include "dataplane/dataplane.h"
#include "mapcache.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETWORK 1
#define PAGE    1000
#define SKIPPED 77

struct scene {
    struct dataplane *plane;
    struct xtr_mapcache *cache;
    int witness;
};

/* What the kernel has told of. */
struct told {
    unsigned n_groups, n_nexthops, n_entries;
};

static void feed(struct scene *scene, uint32_t network_id, const struct em_change *changes,
                 size_t n)
{
    static uint64_t revision;
    const struct em_feed page = {.network_id = network_id,
                                 .revision = ++revision,
                                 .changes = changes,
                                 .n_changes = n,
                                 .is_complete = true};
    xtr_mapcache_feed(scene->cache, &page);
}

static void feed_node(struct scene *scene, const char *id, uint8_t number)
{
    const struct em_rloc rloc = {.ip = {.size = 4, .addr = {10, 99, 0, number}},
                                 .encap = EM_ENCAP_VXLAN};
    const struct em_node node = {
        .id = id, .rlocs = &rloc, .n_rlocs = 1, .state = EM_NODE_REACHABLE};
    feed(scene, 0, &(struct em_change){.object = EM_OBJECT_NODE, .node = &node}, 1);
}

/* Ports that differ in the weight at b lie in different sets. */
static void feed_ports(struct scene *scene, uint32_t first, uint32_t n, unsigned n_sets)
{
    static struct em_port ports[PAGE];
    static struct em_eid eids[PAGE][2];
    static struct em_location locations[PAGE][2];
    static struct em_change changes[PAGE];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = first + i;
        const uint8_t b[4] = {(uint8_t)(k >> 24), (uint8_t)(k >> 16), (uint8_t)(k >> 8),
                              (uint8_t)k};
        eids[i][0] =
            (struct em_eid){.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, b[0], b[1], b[2], b[3]}};
        eids[i][1] =
            (struct em_eid){.kind = EM_EID_IPV4, .size = 4, .addr = {10, b[1], b[2], b[3]}};
        locations[i][0] = (struct em_location){.node_id = "a", .segmentation_id = 100};
        locations[i][1] = (struct em_location){
            .node_id = "b", .segmentation_id = 100, .priority = 1, .weight = (uint8_t)(k % n_sets)};
        ports[i] = (struct em_port){.id = {.size = 16},
                                    .network_id = NETWORK,
                                    .eids = eids[i],
                                    .n_eids = 2,
                                    .locations = locations[i],
                                    .n_locations = 2};
        memcpy(ports[i].id.bytes + 1, b, sizeof(b));
        changes[i] = (struct em_change){.object = EM_OBJECT_PORT, .port = &ports[i]};
    }
    feed(scene, NETWORK, changes, n);
}

static void drain(struct scene *scene)
{
    struct dp_op ops[XTR_OPS_MAX];
    while (xtr_mapcache_done(scene->cache) != xtr_mapcache_tail(scene->cache)) {
        size_t n = xtr_mapcache_next_ops(scene->cache, ops, XTR_OPS_MAX);
        if (dataplane_apply(scene->plane, ops, n))
            real_fail("the kernel refuses an operation");
        xtr_mapcache_applied(scene->cache);
    }
}

static int watch_kernel(void)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_NEIGH};
    int size = 64 << 20, group = RTNLGRP_NEXTHOP;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
        setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
        real_fail("rtnetlink: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return fd;
}

static void open_scene(struct scene *scene, uint32_t n_ports, unsigned n_sets)
{
    const struct dp_config plane = {.rlocs = {{.size = 4, .addr = {10, 99, 0, 1}}},
                                    .udp_port = EM_VXLAN_UDP_PORT};
    const struct xtr_mapcache_config cache = {
        .node_id = "self", .has_ipv4 = true, .udp_port = EM_VXLAN_UDP_PORT};
    const struct em_network network = {.id = NETWORK, .name = "bench", .segmentation_id = 100};
    char *why = NULL;
    if (unshare(CLONE_NEWNET) || system("ip link set lo up && ip link add u0 type veth && "
                                        "ip address add 10.99.0.1/24 dev u0 && ip link set u0 up"))
        real_fail("cannot make a network namespace: %s", strerror(errno));
    if (dataplane_open(&dp_kernel, &plane, &scene->plane, &why))
        real_fail("%s", why);
    scene->cache = xtr_mapcache_new(&cache);
    feed(scene, 0, &(struct em_change){.object = EM_OBJECT_NETWORK, .network = &network}, 1);
    feed_node(scene, "a", 2);
    feed_node(scene, "b", 3);
    if (xtr_mapcache_open(scene->cache, NETWORK, 0))
        real_fail("the network cannot be opened");
    for (uint32_t i = 0; i < n_ports; i += PAGE)
        feed_ports(scene, i, n_ports - i < PAGE ? n_ports - i : PAGE, n_sets);
    drain(scene);
    scene->witness = watch_kernel();
}

static void close_scene(struct scene *scene)
{
    close(scene->witness);
    xtr_mapcache_free(scene->cache);
    dataplane_close(scene->plane);
}

static bool is_group(const struct nlmsghdr *header)
{
    int size = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(struct nhmsg)));
    struct rtattr *attr = (struct rtattr *)((char *)NLMSG_DATA(header) + sizeof(struct nhmsg));
    for (; RTA_OK(attr, size); attr = RTA_NEXT(attr, size))
        if (attr->rta_type == NHA_GROUP)
            return true;
    return false;
}

static void listen_to_kernel(int fd, struct told *told)
{
    _Alignas(struct nlmsghdr) char bytes[65536];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        unsigned left = (unsigned)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)bytes; NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == RTM_NEWNEIGH || h->nlmsg_type == RTM_DELNEIGH)
                told->n_entries++;
            else if (is_group(h))
                told->n_groups++;
            else
                told->n_nexthops++;
        }
    }
}

/* Node a dies and comes back, 'bench->n_times' times; deaths are measured. */
static void measure(const struct bench *bench, const char *name, uint32_t n_ports, unsigned n_sets)
{
    struct scene scene = {0};
    struct told told = {0};
    struct hist *hist = em_calloc(1, sizeof(*hist));
    char part[48], what[96];
    open_scene(&scene, n_ports, n_sets);
    for (unsigned i = 0; i < bench->n_times; i++) {
        struct told back = {0};
        uint64_t begin = bench_now_ns();
        xtr_mapcache_silence(scene.cache, "a", true);
        drain(&scene);
        hist_add(hist, bench_now_ns() - begin);
        listen_to_kernel(scene.witness, &told);
        xtr_mapcache_silence(scene.cache, "a", false);
        drain(&scene);
        listen_to_kernel(scene.witness, &back);
    }
    if (told.n_groups != bench->n_times * n_sets || told.n_entries)
        real_fail("%u deaths with %u sets: %u groups were replaced, and %u entries changed",
                  bench->n_times, n_sets, told.n_groups, told.n_entries);
    snprintf(what, sizeof(what), "verdict to last group, %u endpoints in %u sets", n_ports, n_sets);
    bench_latency(bench, name, hist, 0, what);
    snprintf(part, sizeof(part), "%s.messages", name);
    snprintf(what, sizeof(what), "a death: %.2f groups, %.2f nexthops, %u FDB entries",
             (double)told.n_groups / bench->n_times, (double)told.n_nexthops / bench->n_times,
             told.n_entries);
    bench_figure(bench, part, (double)(told.n_groups + told.n_nexthops) / bench->n_times, "", what);
    close_scene(&scene);
    free(hist);
}

int main(int argc, char **argv)
{
    struct bench bench =
        bench_parse(argc, argv, "standby", "a node dies: from the verdict to the last group");
    if (geteuid() != 0) {
        puts("skipped: only root can make network namespaces");
        return SKIPPED;
    }
    measure(&bench, "few", 10, 1);
    measure(&bench, "many", bench.n_ports, 1);
    measure(&bench, "mixed", bench.n_ports, 250);
    return 0;
}
