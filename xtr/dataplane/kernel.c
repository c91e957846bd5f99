/* The Linux kernel as a data plane: bridge, vxlan device, FDB nexthop groups.
 *
 *   dataplane.c   the way in: counts and logs
 *   kernel.c      the class: open, ops
 *   flight.c      batches on their way    writer.c   a thread that sends them
 *   network.c     bridges, vxlan devices, ports       link.c     devices as messages
 *   set.c         nexthops and groups                 entry.c    entries as messages
 *   endpoint.c    ops on entries, to each kind's      netlink.c  batches and dumps
 *   mac.c         remote and local MACs               neigh.c    what ARP is answered with
 *   flood.c       where broadcast goes
 *   adopt.c       what an earlier run has left        shadow.c   what is programmed
 *   check.c       look, compare, repair               watch.c    what others take away
 *   look.c        what a frame meets                  route.c    routes, one at a time
 *   limits.c      which of the kernel's are near      neightable.c  and where they stand
 *   missport.c    a tap for what nobody knows
 *   copy.c        frames to where a guest will be     tc.c       filters as messages
 *
 * For each network there is a bridge "emb7" and on it a vxlan device "emx7" (the id in hex),
 * both with the alias "eidmap:7".  A vxlan device speaks one address family: IPv4 when the
 * node has an IPv4 RLOC, else IPv6; a target of the other family is refused.
 *
 * Ours by mark: devices by alias, FDB entries by extern_learn on such a device, neighbours
 * and nexthops by their protocol number.  All else is a stranger's and stays.
 *
 * Ops on entries are collected, up to DP_NL_BATCH messages, and completed together.  Ops on
 * networks, sets and ports are few, need answers on the way, and so are done at once, after what
 * was collected before them. */
#include "kernel.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static size_t most_messages(enum dp_verb verb)
{
    bool is_mac = verb == DP_MAC_PUT || verb == DP_MAC_DELETE || verb == DP_LOCAL_PUT ||
                  verb == DP_LOCAL_DELETE;
    return is_mac ? DP_OP_MESSAGES : 1;
}

static void queue_op(struct dp *dp, struct dp_op *op)
{
    if (dp_endpoint_is_pending(dp, op))
        dp_flush(dp);
    if (!dp_nl_has_room(dp->nl, most_messages(op->verb)))
        dp_take_off(dp);
    op->err = dp_endpoint_queue(dp, op);

    /* Queueing may have flushed, so the place is asked for only now. */
    struct dp_flight *flight = dp_flight(dp);
    const struct dp_queued *last = flight->n_queued ? &flight->queue[flight->n_queued - 1] : NULL;
    size_t first = last ? (size_t)last->first + last->n : 0;
    size_t n = dp_nl_len(dp->nl) - first;
    assert(n <= most_messages(op->verb) && (n == 0 || op->err == 0));
    if (n > 0)
        flight->queue[flight->n_queued++] =
            (struct dp_queued){.op = op, .first = (uint8_t)first, .n = (uint8_t)n};
}

/* Bridge ports without VLAN filtering have no tags: nothing of such a port ever stands. */
static int refuse_tagged(const struct dp_op *op)
{
    bool is_put = op->verb == DP_PORT_PUT || op->verb == DP_LOCAL_PUT || op->verb == DP_COPY_PUT;
    return is_put ? -EOPNOTSUPP : 0;
}

static void apply_op(struct dp *dp, struct dp_op *op)
{
    assert(dp_flight(dp)->n_queued > 0 || dp_nl_len(dp->nl) == 0);
    if (op->vlan) {
        op->err = refuse_tagged(op);
        return;
    }
    switch (op->verb) {
    case DP_MAC_PUT:
    case DP_MAC_DELETE:
    case DP_LOCAL_PUT:
    case DP_LOCAL_DELETE:
    case DP_NEIGHBOUR_PUT:
    case DP_NEIGHBOUR_DELETE:
    case DP_FLOOD_PUT:
    case DP_FLOOD_DELETE:
        queue_op(dp, op);
        return;
    case DP_NETWORK_PUT:
        dp_flush(dp);
        op->err = dp_network_put(dp, &op->network);
        return;
    case DP_NETWORK_DELETE:
        dp_flush(dp);
        op->err = dp_network_delete(dp, op->network.id);
        return;
    case DP_SET_PUT:
        dp_flush(dp);
        op->err = dp_set_put(dp, &op->set);
        return;
    case DP_SET_DELETE:
        dp_flush(dp);
        op->err = dp_set_delete(dp, op->set.id);
        return;
    case DP_PORT_PUT:
        dp_flush(dp);
        op->err = dp_network_put_port(dp, op->network.id, op->device, op->is_borrowed);
        return;
    case DP_PORT_DELETE:
        dp_flush(dp);
        op->err = dp_network_delete_port(dp, op->network.id, op->device);
        return;
    case DP_COPY_PUT:
        dp_flush(dp);
        op->err = dp_copy_put(dp, op);
        return;
    case DP_COPY_DELETE:
        dp_flush(dp);
        op->err = dp_copy_delete(dp, op);
        return;
    }
}

/* What the ops will look for is scattered over memory: half of their time would be waiting. */
static void prefetch(struct dp *dp, const struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].verb == DP_MAC_PUT)
            dp_shadow_prefetch_mac(&dp->shadow, ops[i].network.id, ops[i].mac);
        else if (ops[i].verb == DP_NEIGHBOUR_PUT && (ops[i].ip.size == 4 || ops[i].ip.size == 16))
            dp_shadow_prefetch_neigh(&dp->shadow, ops[i].network.id, &ops[i].ip);
}

static uint64_t kernel_start(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i % DP_NL_BATCH == 0)
            prefetch(dp, ops + i, n - i < DP_NL_BATCH ? n - i : DP_NL_BATCH);
        apply_op(dp, &ops[i]);
    }
    dp_take_off(dp);
    return dp->n_put;
}

static void kernel_apply(struct dp *dp, struct dp_op *ops, size_t n)
{
    (void)kernel_start(dp, ops, n);
    dp_flush(dp);
}

static bool has_net_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}

struct port_search {
    uint16_t udp_port;
    bool is_found;
};

static void match_vxlan(void *aux, const struct dp_link *link)
{
    struct port_search *search = aux;
    if (link->kind == DP_LINK_VXLAN && link->udp_port == search->udp_port)
        search->is_found = true;
}

/* The kernel binds the port when a vxlan device goes up.  vxlan devices share it; a
 * program that holds it would leave every device of ours down. */
static int check_udp_port(struct dp *dp)
{
    bool is_v6 = dp->rloc.size == 16;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(dp->udp_port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(dp->udp_port)};
    const int on = 1;

    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (is_v6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    int r = is_v6 ? bind(fd, (struct sockaddr *)&v6, sizeof(v6))
                  : bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    int err = r < 0 ? errno : 0;
    close(fd);
    if (err != EADDRINUSE)
        return -err;

    struct port_search search = {.udp_port = dp->udp_port};
    r = dp_link_dump(dp->nl, match_vxlan, &search);
    return r ? r : search.is_found ? 0 : -EADDRINUSE;
}

static int check_underlay(struct dp *dp, char **ret_why)
{
    char ip[EM_IP_TEXT];

    if (!has_net_admin()) {
        *ret_why = em_strdup("no permission to program the kernel: run xtr as root or give it "
                             "the capability CAP_NET_ADMIN");
        return -EPERM;
    }
    int r = dp_link_find_address(dp->nl, &dp->rloc, &dp->underlay);
    if (r == -EADDRNOTAVAIL) {
        *ret_why = em_asprintf("RLOC %s is not an address of this host: set rloc: in the "
                               "configuration or add the address to a device",
                               em_ip_format(dp->rloc.addr, dp->rloc.size, ip));
        return r;
    }
    if (r == 0)
        r = check_udp_port(dp);
    if (r == -EADDRINUSE)
        *ret_why = em_asprintf("UDP port %u, which VXLAN needs, is held by another program: stop "
                               "it or set another VXLAN port in the configuration",
                               dp->udp_port);
    return r;
}

static void kernel_close(struct dp *dp)
{
    if (!dp)
        return;
    dp_flights_close(dp);
    dp_nl_close(dp->nl);
    for (uint32_t i = 0; i < dp->shadow.networks.len; i++)
        dp_miss_close(dp_table_at(&dp->shadow.networks, i));
    dp_shadow_fini(&dp->shadow);
    dp_lost_fini(&dp->lost);
    free(dp);
}

static const struct em_ip *choose_rloc(const struct dp_config *config)
{
    for (unsigned size = 4; size <= 16; size += 12)
        for (size_t i = 0; i < 2; i++)
            if (config->rlocs[i].size == size)
                return &config->rlocs[i];
    return NULL;
}

static struct dp_version own_version(void)
{
    struct utsname name;
    return uname(&name) == 0 ? dp_version_parse(name.release) : (struct dp_version){0};
}

static int kernel_open(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    const struct em_ip *rloc = choose_rloc(config);
    char *why = NULL;

    if (!rloc) {
        *ret_why = em_strdup("no RLOC is known: set rloc: in the configuration to the underlay "
                             "address of this host");
        return -EADDRNOTAVAIL;
    }
    struct dp *dp = em_calloc(1, sizeof(*dp));
    dp_shadow_init(&dp->shadow);
    dp->rloc = *rloc;
    dp->udp_port = config->udp_port ? config->udp_port : EM_VXLAN_UDP_PORT;
    dp->next_nexthop_id = DP_NEXTHOP_FIRST;
    dp->underlay_state = DP_LINK_UP;
    dp->version = own_version();
    int r = dp_nl_open(&dp->nl);
    if (r)
        goto out;
    r = check_underlay(dp, &why);
    if (r)
        goto out;
    r = dp_nl_listen(dp->nl);
    if (r == 0)
        r = dp_flights_open(dp);
    if (r == 0)
        r = dp_adopt(dp);
    if (r)
        goto out;
    dp_limits_begin(dp);
    *ret_dp = dp;
    return 0;
out:
    *ret_why = why ? why : em_asprintf("the kernel's tables cannot be read: %s", strerror(-r));
    kernel_close(dp);
    return r;
}

/* What looks at the shadow, or changes what stands, comes after all that is on its way. */

static int kernel_sweep(struct dp *dp, uint32_t network_id)
{
    dp_flush(dp);
    return dp_sweep(dp, network_id);
}

static int kernel_set_rloc(struct dp *dp, const struct em_ip *rloc)
{
    dp_flush(dp);
    return dp_network_set_rloc(dp, rloc);
}

static void kernel_look(struct dp *dp, const struct dp_path *path, dp_step_fn *visit, void *aux)
{
    dp_flush(dp);
    dp_look(dp, path, visit, aux);
}

static int kernel_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms)
{
    dp_flush(dp);
    return dp_mac_idle(dp, network_id, mac, ret_ms);
}

static void kernel_adopted(struct dp *dp, uint32_t network_id, dp_eid_fn *visit, void *aux)
{
    dp_flush(dp);
    dp_adopted(dp, network_id, visit, aux);
}

static int kernel_fd(const struct dp *dp)
{
    return dp_writer_fd(dp->writer);
}

static bool kernel_serve(struct dp *dp)
{
    dp_writer_serve(dp->writer);
    return false;
}

static void kernel_miss_close(struct dp *dp, uint32_t network_id)
{
    struct dp_network_rec *network = dp_shadow_network(&dp->shadow, network_id);
    if (network)
        dp_miss_close(network);
}

static uint64_t kernel_count(const struct dp *dp)
{
    return dp_shadow_count(&dp->shadow);
}

static bool kernel_lost(struct dp *dp, char ret_device[IFNAMSIZ])
{
    return dp_lost_next(&dp->lost, ret_device);
}

const struct dp_class dp_kernel = {
    .name = "kernel",
    .open = kernel_open,
    .close = kernel_close,
    .apply = kernel_apply,
    .start = kernel_start,
    .reached = dp_flights_reached,
    .sweep = kernel_sweep,
    .set_rloc = kernel_set_rloc,
    .look = kernel_look,
    .check_start = dp_check_start,
    .check_step = dp_check_step,
    .check_end = dp_check_end,
    .is_disturbed = dp_is_disturbed,
    .lost = kernel_lost,
    .fd = kernel_fd,
    .serve = kernel_serve,
    .limits = dp_limits,
    .miss_open = dp_miss_open,
    .miss_close = kernel_miss_close,
    .idle = kernel_idle,
    .adopted = kernel_adopted,
    .count = kernel_count,
};
