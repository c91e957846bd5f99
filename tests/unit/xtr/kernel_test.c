/* The kernel data plane in a kernel of its own, witnessed by iproute2. */
#include "dataplane/dp.h"

#include "base/clock.h"
#include "base/mem.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define M1 "02:00:00:00:00:01"
#define M2 "02:00:00:00:00:02"
#define M3 "02:00:00:00:00:03"

/* Opened in each test's own namespace: a host with the RLOC 192.0.2.1 on u0, and a tap-like
 * device p0 whose other end p1 stands for the guest. */
static struct dp *dp;

static struct dp *open_dp(const char *rloc)
{
    struct dp_config config = {.rlocs = {test_ip(rloc)}, .udp_port = 4789};
    struct dp *opened = NULL;
    char *why = NULL;

    int r = dp_kernel.open(&config, &opened, &why);
    cr_assert_eq(r, 0, "%s", why);
    return opened;
}

static void make_host(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1"));
    cr_assert(netns_ok("ip link set u0 up && ip link set u1 up"));
    cr_assert(netns_ok("ip addr add 192.0.2.1/24 dev u0"));
    cr_assert(netns_ok("ip link add p0 type veth peer name p1 && ip link set p1 up"));
}

static void open_host(void)
{
    make_host();
    dp = open_dp("192.0.2.1");
}

static void close_host(void)
{
    dp_kernel.close(dp);
}

static int apply(struct dp_op op)
{
    return op_apply(&dp_kernel, dp, op);
}

TestSuite(kernel, .init = open_host, .fini = close_host);

/* Network 1 (VNI 100) with one remote MAC at 192.0.2.2, as most tests begin. */
static void put_basics(void)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);

    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
}

Test(kernel, network_is_a_bridge_and_a_vxlan_device_without_learning)
{
    struct dp_op op = op_network(0xab, 100);

    cr_assert_eq(apply(op), 0);
    cr_assert(netns_shows("ip -d link show embab", "alias eidmap:171"));
    cr_assert(
        netns_has_line("ip -d link show emxab", "vxlan id 100 local 192.0.2.1", "dstport 4789"));
    cr_assert(netns_shows("ip -d link show emxab", " nolearning "));
    cr_assert(netns_shows("ip -d link show emxab", "learning off flood off"));
    cr_assert(netns_shows("ip -d link show emxab", "neigh_suppress on"));
    cr_assert(netns_has_line("ip link show embab", "mtu 1450", "UP"));
    cr_assert(netns_has_line("ip link show emxab", "mtu 1450", "master embab"));
}

Test(kernel, remote_mac_stands_in_both_tables_by_group)
{
    put_basics();
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "extern_learn master emb1"));
    cr_assert(netns_has_line("ip nexthop show", "via 192.0.2.2", "proto 225"));
    cr_assert(netns_has_line("ip nexthop show", "group", "fdb"));
}
