/* The kernel data plane in a kernel of its own, witnessed by iproute2. */
#include "dataplane/kernel.h"

#include "base/mem.h"
#include "xtr/checks.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
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

/* ---- sets */

Test(kernel, set_change_is_one_group_replace_for_all_macs)
{
    struct dp_target targets[] = {test_target("192.0.2.2", 100, 1),
                                  test_target("192.0.2.3", 100, 9)};

    put_basics();
    cr_assert_eq(apply(op_mac(1, M2, 1)), 0);
    char *before = netns_run("bridge fdb show dev emx1");
    cr_assert_eq(apply(op_set(1, targets, 2)), 0);
    char *after = netns_run("bridge fdb show dev emx1");
    cr_assert_str_eq(before, after);
    cr_assert(netns_has_line("ip nexthop show", "group", ",9"));
    cr_assert_eq(apply(op_set(1, targets + 1, 1)), 0);
    cr_assert_not(netns_shows("ip nexthop show", "via 192.0.2.2"), "no set needs it any more");
    free(before);
    free(after);
}

Test(kernel, nexthop_is_shared_between_sets_and_counted)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    struct dp_target pair[] = {target, test_target("192.0.2.3", 100, 1)};

    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_set(2, pair, 2)), 0);
    char *count = netns_run("ip nexthop show | grep -c via");
    cr_assert_str_eq(count, "2\n");
    free(count);
    cr_assert_eq(apply(op_set_delete(1)), 0);
    cr_assert(netns_shows("ip nexthop show", "via 192.0.2.2"));
    cr_assert_eq(apply(op_set_delete(2)), 0);
    char *rest = netns_run("ip nexthop show");
    cr_assert_str_eq(rest, "");
    free(rest);
}

Test(kernel, address_that_is_listed_twice_is_one_member_with_both_weights)
{
    struct dp_target twice[] = {test_target("192.0.2.2", 100, 3), test_target("192.0.2.2", 100, 4)};

    cr_assert_eq(apply(op_set(1, twice, 2)), 0);
    cr_assert(netns_has_line("ip nexthop show", "group", ",7 "));
}

Test(kernel, set_in_use_is_not_deleted)
{
    put_basics();
    cr_assert_eq(apply(op_set_delete(1)), -EBUSY);
    cr_assert_eq(apply(op_mac_delete(1, M1)), 0);
    cr_assert_eq(apply(op_set_delete(1)), 0);
    cr_assert_eq(apply(op_set_delete(1)), 0, "a delete of what is absent succeeds");
}

Test(kernel, strangers_nexthop_id_is_stepped_over)
{
    cr_assert(netns_ok("ip nexthop add id %u via 192.0.2.99 fdb", 0x0e100000u));
    put_basics();
    cr_assert(netns_has_line("ip nexthop show", "id 235929600 ", "via 192.0.2.99"));
    cr_assert(netns_shows("ip nexthop show", "via 192.0.2.2"));
}

Test(kernel, target_with_its_own_vni_gets_an_entry_by_address)
{
    struct dp_target target = test_target("192.0.2.2", 555, 1);

    put_basics();
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "dst 192.0.2.2 vni 555 self"));
    target.segmentation_id = 556;
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "vni 556 self"));
    target.segmentation_id = 100;
    target.udp_port = 4790;
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "dst 192.0.2.2 port 4790 self"));
    target.udp_port = 0;
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
}

Test(kernel, one_set_serves_networks_with_different_vnis)
{
    put_basics();
    cr_assert_eq(apply(op_network(2, 200)), 0);
    cr_assert_eq(apply(op_mac(2, M1, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx2", M1, "dst 192.0.2.2 vni 100 self"));
}

Test(kernel, target_of_the_other_family_is_refused)
{
    struct dp_target v6 = test_target("2001:db8::2", 100, 1);

    cr_assert_eq(apply(op_set(1, &v6, 1)), -EAFNOSUPPORT);
    char *rest = netns_run("ip nexthop show");
    cr_assert_str_eq(rest, "");
    free(rest);
}

/* ---- MACs and ports */

static void put_port(void)
{
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
}

Test(kernel, port_is_put_into_the_bridge_without_learning)
{
    put_basics();
    put_port();
    cr_assert(netns_has_line("ip link show p0", "master emb1", "UP"));
    cr_assert(netns_shows("bridge -d link show dev p0", "learning off"));
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_not(netns_shows("ip link show p0", "master"));
}

Test(kernel, borrowed_port_learns_on_and_stays_where_it_was_put)
{
    put_basics();
    cr_assert_eq(apply(op_borrowed(1, "p0")), -ENODEV, "it is in no bridge");
    cr_assert(netns_ok("ip link set p0 master emb1"));
    cr_assert_eq(apply(op_borrowed(1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert(netns_shows("bridge -d link show dev p0", "learning on"));
    cr_assert(netns_has_line("bridge fdb show dev p0", M2, "extern_learn"));
    cr_assert_eq(apply(op_local(DP_LOCAL_DELETE, 1, "p0", M2)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert(netns_has_line("ip link show p0", "master emb1", "UP"));
    cr_assert_not(netns_shows("bridge fdb show dev p0", M2));
}

Test(kernel, borrowed_port_can_become_an_owned_one)
{
    put_basics();
    cr_assert(netns_ok("ip link set p0 master emb1"));
    cr_assert_eq(apply(op_borrowed(1, "p0")), 0);
    put_port();
    cr_assert(netns_shows("bridge -d link show dev p0", "learning off"));
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_not(netns_shows("ip link show p0", "master"));
}

Test(kernel, what_an_earlier_run_put_on_a_borrowed_port_is_swept_and_the_port_stays)
{
    put_basics();
    cr_assert(netns_ok("ip link set p0 master emb1"));
    cr_assert_eq(apply(op_borrowed(1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M3)), 0);
    dp_kernel.close(dp);
    dp = open_dp("192.0.2.1");
    put_basics();
    cr_assert_eq(apply(op_borrowed(1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(dp_kernel.sweep(dp, 1), 1);
    cr_assert(netns_shows("bridge fdb show dev p0", M2));
    cr_assert_not(netns_shows("bridge fdb show dev p0", M3));
    cr_assert(netns_shows("ip link show p0", "master emb1"));
}

Test(kernel, port_that_cannot_be_used_is_refused_with_a_reason)
{
    put_basics();
    cr_assert(netns_ok("ip link add br9 type bridge && ip link set p0 master br9"));
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), -EBUSY);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "none")), -ENODEV);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "u0")), -EBUSY, "the underlay's own device");
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 9, "p0")), -ENOENT);
    cr_assert(netns_shows("ip link show p0", "master br9"));
}

Test(kernel, mac_moves_from_remote_to_local_and_back)
{
    put_basics();
    put_port();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev p0", M1, "extern_learn master emb1"));
    cr_assert_not(netns_shows("bridge fdb show dev emx1", M1));
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_not(netns_shows("bridge fdb show dev p0", M1));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "master emb1"));
}

Test(kernel, delete_of_one_side_spares_the_other)
{
    put_basics();
    put_port();
    cr_assert_eq(apply(op_local(DP_LOCAL_DELETE, 1, "p0", M1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert_eq(apply(op_mac_delete(1, M1)), 0);
    cr_assert(netns_shows("bridge fdb show dev p0", M1));
    cr_assert_eq(apply(op_local(DP_LOCAL_DELETE, 1, "p0", M1)), 0);
    cr_assert_not(netns_shows("bridge fdb show", M1));
}

Test(kernel, put_and_delete_of_one_mac_in_one_batch_end_deleted)
{
    put_basics();
    struct dp_op ops[] = {op_mac(1, M2, 1), op_mac_delete(1, M2), op_mac(1, M3, 1),
                          op_mac(1, M3, 1)};

    dp_kernel.apply(dp, ops, 4);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(ops[i].err, 0, "op %d: %d", i, ops[i].err);
    cr_assert_not(netns_shows("bridge fdb show", M2));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M3, "nhid"));
}

Test(kernel, failure_of_one_op_does_not_stop_the_rest)
{
    put_basics();
    cr_assert(netns_ok("bridge fdb add " M2 " dev emx1 dst 192.0.2.77 self"));
    struct dp_op ops[] = {op_mac(1, M2, 1), op_mac(1, M3, 77), op_neigh(1, "10.0.0.3", M3),
                          op_mac(1, M3, 1)};

    dp_kernel.apply(dp, ops, 4);
    cr_expect_eq(ops[0].err, -EEXIST);
    cr_expect_eq(ops[1].err, -ENOENT, "no such set");
    cr_expect_eq(ops[2].err, 0);
    cr_expect_eq(ops[3].err, 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M3, "nhid"));
}

/* MACs of network 1 by number, each a put to set 1. */
static void fill_macs(struct dp_op *ops, uint32_t first, uint32_t n)
{
    char mac[EM_MAC_TEXT];

    for (uint32_t i = first; i < first + n; i++) {
        snprintf(mac, sizeof(mac), "02:00:00:01:%02x:%02x", i >> 8, i & 255);
        *ops++ = op_mac(1, mac, 1);
    }
}

static void await(uint64_t start)
{
    struct pollfd descriptor = {.fd = dp_kernel.fd(dp), .events = POLLIN};

    while (dp_kernel.reached(dp) < start) {
        cr_assert_eq(poll(&descriptor, 1, 10000), 1, "nothing tells that more is done");
        cr_assert_not(dp_kernel.serve(dp));
    }
}

static void count_macs(const char *expected)
{
    char *n = netns_run("bridge fdb show dev emx1 | grep -c '02:00:00:01.*nhid'");
    cr_assert_str_eq(n, expected);
    free(n);
}

Test(kernel, what_is_started_is_done_in_order)
{
    enum { CALLS = 20, N = 128 };
    static struct dp_op ops[CALLS][N], last[2];
    uint64_t start = 0;

    put_basics();
    for (uint32_t i = 0; i < CALLS; i++) {
        fill_macs(ops[i], i * N, N);
        start = dp_kernel.start(dp, ops[i], N);
    }
    await(start);
    for (uint32_t i = 0; i < CALLS * N; i++)
        cr_assert_eq(ops[i / N][i % N].err, 0);
    count_macs("2560\n");

    /* An op on an entry that is on its way waits for that. */
    static struct dp_op more[N];
    fill_macs(more, CALLS * N, N);
    (void)dp_kernel.start(dp, more, N);
    last[0] = more[N - 1];
    last[0].verb = DP_MAC_DELETE;
    last[1] = op_network(2, 200);
    await(dp_kernel.start(dp, last, 2));
    cr_assert(last[0].err == 0 && last[1].err == 0);
    count_macs("2687\n");
}

static void allow_no_difference(void *aux, const struct dp_difference *difference)
{
    cr_assert_fail("%s %s: %s", difference->table, difference->kind, difference->entry);
}

Test(kernel, a_check_comes_after_what_was_started)
{
    enum { N = 128 };
    static struct dp_op ops[4][N];

    put_basics();
    for (uint32_t i = 0; i < 4; i++) {
        fill_macs(ops[i], i * N, N);
        (void)dp_kernel.start(dp, ops[i], N);
    }
    struct dp_check_result result = check_all(&dp_kernel, dp, false, allow_no_difference, NULL);
    cr_assert_eq(result.err, 0);
    cr_assert_geq(result.n_compared, 4 * N);
    for (uint32_t i = 0; i < 4 * N; i++)
        cr_assert_eq(ops[i / N][i % N].err, 0);
}

Test(kernel, a_strangers_entry_among_many_is_told_of_by_its_op)
{
    enum { N = 128 };
    static struct dp_op ops[4][N];
    uint64_t start = 0;

    put_basics();
    cr_assert(netns_ok("bridge fdb add 02:00:00:01:00:05 dev emx1 self dst 198.51.100.1"));
    cr_assert(netns_ok("bridge fdb add 02:00:00:01:01:7f dev emx1 self dst 198.51.100.1"));
    for (uint32_t i = 0; i < 4; i++) {
        fill_macs(ops[i], i * N, N);
        start = dp_kernel.start(dp, ops[i], N);
    }
    await(start);
    for (uint32_t i = 0; i < 4 * N; i++)
        cr_assert_eq(ops[i / N][i % N].err, i == 5 || i == 0x17f ? -EEXIST : 0, "op %u: %d", i,
                     ops[i / N][i % N].err);
    count_macs("510\n");
}

Test(kernel, more_ops_than_a_batch_holds_all_arrive)
{
    enum { N = 500 };
    static struct dp_op ops[2 * N];
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT];

    put_basics();
    for (int i = 0; i < N; i++) {
        snprintf(mac, sizeof(mac), "02:00:00:01:%02x:%02x", i >> 8, i & 255);
        snprintf(ip, sizeof(ip), "10.1.%d.%d", i >> 8, i & 255);
        ops[2 * i] = op_mac(1, mac, 1);
        ops[2 * i + 1] = op_neigh(1, ip, mac);
    }
    dp_kernel.apply(dp, ops, 2 * N);
    for (int i = 0; i < 2 * N; i++)
        cr_assert_eq(ops[i].err, 0, "op %d: %d", i, ops[i].err);
    char *n = netns_run("bridge fdb show dev emx1 | grep -c '02:00:00:01.*nhid'; ip neigh show dev "
                        "emb1 | grep -c 'proto 225'");
    cr_assert_str_eq(n, "500\n500\n");
    free(n);
}

/* ---- neighbours and flood lists */

Test(kernel, neighbours_of_both_families_are_permanent_and_marked)
{
    put_basics();
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(op_neigh(1, "2001:db8:a::1", M1)), 0);
    cr_assert(
        netns_has_line("ip neigh show", "10.0.0.1 dev emb1 lladdr " M1, "PERMANENT proto 225"));
    cr_assert(netns_has_line("ip neigh show", "2001:db8:a::1 dev emb1", "PERMANENT proto 225"));
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M2)), 0);
    cr_assert(netns_shows("ip neigh show", "10.0.0.1 dev emb1 lladdr " M2));
    cr_assert_eq(apply(op_neigh_delete(1, "10.0.0.1")), 0);
    cr_assert_not(netns_shows("ip neigh show", "10.0.0.1 "));
}

Test(kernel, neighbours_and_macs_outlive_a_loss_of_carrier)
{
    put_basics();
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert(netns_ok("ip link set emx1 down"));
    for (int i = 0; i < 100 && !netns_shows("ip link show emb1", "NO-CARRIER"); i++)
        usleep(20000);
    cr_assert(netns_shows("ip link show emb1", "NO-CARRIER"));
    cr_assert(netns_shows("ip neigh show", "10.0.0.1 dev emb1"));
    cr_assert(netns_ok("ip link set emx1 up"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
}

Test(kernel, flood_list_grows_and_shrinks_by_target)
{
    const char *zero = "00:00:00:00:00:00";

    put_basics();
    for (int i = 0; i < 2; i++) /* a second time changes nothing */
        cr_assert_eq(apply(op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.2", 100, 1))), 0);
    cr_assert_eq(apply(op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.3", 777, 1))), 0);
    char *n = netns_run("bridge fdb show dev emx1 | grep -c ^00:00:00:00:00:00");
    cr_assert_str_eq(n, "2\n");
    free(n);
    cr_assert(netns_has_line("bridge fdb show dev emx1", zero, "dst 192.0.2.3 vni 777"));
    cr_assert_eq(apply(op_flood(DP_FLOOD_DELETE, 1, test_target("192.0.2.2", 100, 1))), 0);
    cr_assert_not(netns_has_line("bridge fdb show dev emx1", zero, "dst 192.0.2.2"));
    cr_assert_eq(apply(op_flood(DP_FLOOD_DELETE, 1, test_target("192.0.2.3", 777, 1))), 0);
    cr_assert_not(netns_shows("bridge fdb show dev emx1", zero));
}

/* ---- networks */

Test(kernel, mtu_that_does_not_fit_the_underlay_is_refused)
{
    struct dp_op op = op_network(1, 100);

    op.network.mtu = 1451;
    cr_assert_eq(apply(op), -EMSGSIZE);
    cr_assert_not(netns_ok("ip link show emb1"));
    op.network.mtu = 1400;
    cr_assert_eq(apply(op), 0);
    cr_assert(netns_shows("ip link show emx1", "mtu 1400"));
    op.network.mtu = 1300;
    cr_assert_eq(apply(op), 0);
    cr_assert(netns_shows("ip link show emx1", "mtu 1300"));
}

Test(kernel, flood_setting_is_the_vxlan_ports)
{
    struct dp_op op = op_network(1, 100);

    op.network.flood = EM_FLOOD_NONE;
    cr_assert_eq(apply(op), 0);
    cr_assert(netns_has_line("bridge -d link show dev emx1", " flood off", "bcast_flood off"));
    op.network.flood = EM_FLOOD_ALL;
    cr_assert_eq(apply(op), 0);
    cr_assert(netns_has_line("bridge -d link show dev emx1", " flood on", "bcast_flood on"));
}

Test(kernel, another_vni_means_a_new_device_with_the_same_entries)
{
    put_basics();
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.2", 0, 1))), 0);
    cr_assert_eq(apply(op_network(1, 101)), 0);
    cr_assert(netns_shows("ip -d link show emx1", "vxlan id 101 "));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "dst 192.0.2.2 vni 100 self"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "master emb1"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", "00:00:00:00:00:00", "dst 192.0.2.2"));
    cr_assert(netns_shows("ip neigh show", "10.0.0.1 dev emb1"));
}

Test(kernel, network_delete_takes_all_that_hangs_on_it)
{
    put_basics();
    put_port();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(op_network_delete(1)), 0);
    cr_assert_not(netns_ok("ip link show emb1"));
    cr_assert_not(netns_ok("ip link show emx1"));
    cr_assert_not(netns_shows("ip link show p0", "master"));
    cr_assert_eq(apply(op_set_delete(1)), 0, "its MACs are forgotten, so the set is free");
    cr_assert_eq(dp_kernel.count(dp), 0);
}

Test(kernel, strangers_device_of_our_name_stays)
{
    cr_assert(netns_ok("ip link add emb1 type bridge"));
    cr_assert_eq(apply(op_network(1, 100)), -EEXIST);
    cr_assert_not(netns_shows("ip link show emb1", "UP"));
    cr_assert(netns_ok("ip link del emb1 && ip link add emx1 type vxlan id 5 dstport 4789"));
    cr_assert_eq(apply(op_network(1, 100)), -EEXIST);
    cr_assert(netns_shows("ip -d link show emx1", "vxlan id 5 "));
    cr_assert_not(netns_ok("ip link show emb1"), "what was made for nothing is gone again");
}

Test(kernel, bad_network_is_refused)
{
    cr_assert_eq(apply(op_network(0, 100)), -EINVAL);
    cr_assert_eq(apply(op_network(1, 0)), -EINVAL);
    cr_assert_eq(apply(op_network(1, EM_SEGMENT_MAX + 1)), -EINVAL);
    cr_assert_eq(apply(op_mac(1, M1, 1)), -ENOENT);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), -ENOENT);
    cr_assert_eq(apply(op_network_delete(1)), 0);
}

/* ---- strangers' entries */

Test(kernel, strangers_mac_stays_and_is_reported)
{
    put_basics();
    cr_assert(netns_ok("bridge fdb add " M2 " dev emx1 dst 192.0.2.77 self"));
    cr_assert_eq(apply(op_mac(1, M2, 1)), -EEXIST);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M2, "dst 192.0.2.77"));
    cr_assert_not(netns_has_line("bridge fdb show dev emx1", M2, "master"));
    cr_assert(netns_ok("bridge fdb del " M2 " dev emx1 self"));
    cr_assert_eq(apply(op_mac(1, M2, 1)), 0);
}

Test(kernel, strangers_vxlan_entry_sends_a_local_mac_back_to_its_port)
{
    put_basics();
    put_port();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert(netns_ok("bridge fdb add " M2 " dev emx1 dst 192.0.2.77 self"));
    cr_assert_eq(apply(op_mac(1, M2, 1)), -EEXIST);
    cr_assert(netns_shows("bridge fdb show dev p0", M2));
}

Test(kernel, strangers_bridge_entry_stops_a_local_mac)
{
    put_basics();
    put_port();
    cr_assert(netns_ok("bridge fdb add " M2 " dev emx1 master static"));
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), -EEXIST);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M2, "static"));
}

Test(kernel, strangers_neighbour_stays_but_a_learned_one_gives_way)
{
    put_basics();
    cr_assert(netns_ok("ip neigh add 10.0.0.1 lladdr " M3 " dev emb1 nud permanent"));
    cr_assert(netns_ok("ip neigh add 10.0.0.2 lladdr " M3 " dev emb1 nud stale"));
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), -EEXIST);
    cr_assert(netns_shows("ip neigh show", "10.0.0.1 dev emb1 lladdr " M3));
    cr_assert_eq(apply(op_neigh(1, "10.0.0.2", M1)), 0);
    cr_assert(netns_shows("ip neigh show", "10.0.0.2 dev emb1 lladdr " M1));
}

/* ---- restart */

static struct dp_target same_target(void)
{
    return test_target("192.0.2.2", 100, 1);
}

/* Everything there is, with sets numbered from 'base'. */
static size_t list_all(struct dp_op *ops, const struct dp_target *target,
                       const struct dp_target *other, uint32_t base)
{
    size_t n = 0;

    ops[n++] = op_network(1, 100);
    ops[n++] = op_set(base, target, 1);
    ops[n++] = op_set(base + 1, other, 1);
    ops[n++] = op_set(base + 2, NULL, 0);
    ops[n++] = op_port(DP_PORT_PUT, 1, "p0");
    ops[n++] = op_local(DP_LOCAL_PUT, 1, "p0", M2);
    ops[n++] = op_mac(1, M1, base);
    ops[n++] = op_mac(1, M3, base + 1);
    ops[n++] = op_neigh(1, "10.0.0.1", M1);
    ops[n++] = op_neigh(1, "2001:db8:a::1", M1);
    ops[n++] = op_flood(DP_FLOOD_PUT, 1, *target);
    ops[n++] = op_flood(DP_FLOOD_PUT, 1, *other);
    return n;
}

static void apply_all(struct dp_op *ops, size_t n)
{
    dp_kernel.apply(dp, ops, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ops[i].err, 0, "op %zu: %d", i, ops[i].err);
}

static void restart(void)
{
    dp_kernel.close(dp);
    dp = open_dp("192.0.2.1");
}

/* The kernel announces each change: a monitor that stays silent has seen none.  Not of
 * links, whose carrier is announced up to a second late.  What the tools say on standard
 * error is of namespaces that end elsewhere while they list the links. */
static char *monitor_start(void)
{
    return netns_run(
        "(timeout 20 ip monitor neigh nexthop >/tmp/em-mon-%d 2>/dev/null & echo $!); "
        "(timeout 20 bridge monitor fdb >/tmp/em-fdb-%d 2>/dev/null & echo $!); sleep 0.3",
        getpid(), getpid());
}

static char *monitor_stop(char *pids)
{
    char *first = strtok(pids, "\n"), *second = strtok(NULL, "\n");
    char *seen = netns_run("sleep 0.2; kill %s %s; cat /tmp/em-mon-%d /tmp/em-fdb-%d; rm -f "
                           "/tmp/em-mon-%d /tmp/em-fdb-%d",
                           first, second, getpid(), getpid(), getpid(), getpid());
    free(pids);
    return seen;
}

Test(kernel, restart_with_other_set_numbers_changes_nothing)
{
    struct dp_target target = same_target(), other = test_target("192.0.2.3", 300, 1);
    struct dp_op ops[16];

    apply_all(ops, list_all(ops, &target, &other, 1));
    uint64_t n = dp_kernel.count(dp);
    restart();
    cr_assert_eq(dp_kernel.count(dp), n, "%llu", (unsigned long long)dp_kernel.count(dp));
    char *pids = monitor_start();
    apply_all(ops, list_all(ops, &target, &other, 71));
    cr_assert_eq(sweep_all(&dp_kernel, dp, 1), 0);
    cr_assert_eq(sweep_all(&dp_kernel, dp, 0), 0);
    cr_assert_eq(dp_nl_n_sent(dp->nl), 0, "messages that could change something");
    char *seen = monitor_stop(pids);
    cr_assert_str_eq(seen, "");
    free(seen);
    cr_assert_eq(dp_kernel.count(dp), n);
}

Test(kernel, sweep_removes_what_was_adopted_and_not_put_again)
{
    struct dp_target target = same_target(), other = test_target("192.0.2.3", 100, 1);
    struct dp_op ops[16];

    apply_all(ops, list_all(ops, &target, &other, 1));
    cr_assert_eq(apply(op_network(2, 200)), 0);
    restart();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(5, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 5)), 0);
    /* First the sets: a group that an unswept MAC uses must outlive that. */
    cr_assert_gt(sweep_all(&dp_kernel, dp, 0), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M3, "nhid"));
    cr_assert_not(netns_ok("ip link show emb2"));
    cr_assert_gt(sweep_all(&dp_kernel, dp, 1), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    cr_assert_not(netns_shows("bridge fdb show dev emx1", M3));
    cr_assert_not(netns_shows("bridge fdb show dev emx1", "00:00:00:00:00:00"));
    cr_assert_not(netns_shows("ip neigh show", "proto 225"));
    cr_assert_not(netns_shows("ip link show p0", "master"));
    cr_assert_not(netns_shows("ip nexthop show", "via 192.0.2.3"));
    cr_assert_eq(sweep_all(&dp_kernel, dp, 1), 0);
}

Test(kernel, sweep_spares_strangers)
{
    put_basics();
    cr_assert(netns_ok("bridge fdb add " M2 " dev emx1 dst 192.0.2.77 self"));
    cr_assert(netns_ok("ip neigh add 10.0.0.9 lladdr " M3 " dev emb1 nud permanent"));
    cr_assert(netns_ok("ip nexthop add id 7 via 192.0.2.7 fdb"));
    cr_assert(netns_ok("ip link set p0 master emb1 && ip link add br9 type bridge"));
    restart();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_mac(1, M2, 1)), -ENOENT);
    cr_assert_gt(sweep_all(&dp_kernel, dp, 1), 0);
    cr_assert_gt(sweep_all(&dp_kernel, dp, 0), 0);
    cr_assert_not(netns_shows("bridge fdb show dev emx1", M1));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M2, "dst 192.0.2.77"));
    cr_assert(netns_shows("ip neigh show", "10.0.0.9"));
    cr_assert(netns_shows("ip nexthop show", "id 7 via 192.0.2.7"));
    cr_assert(netns_shows("ip link show p0", "master emb1"));
    cr_assert(netns_ok("ip link show br9"));
}

Test(kernel, adopted_mac_with_one_half_is_made_whole)
{
    struct dp_target target = same_target();

    put_basics();
    cr_assert(netns_ok("bridge fdb del " M1 " dev emx1 master"));
    restart();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "master emb1"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
}

/* ---- check */

struct differences {
    int n;
    char text[4096];
};

static void collect(void *aux, const struct dp_difference *difference)
{
    struct differences *all = aux;
    size_t used = strlen(all->text);

    all->n++;
    snprintf(all->text + used, sizeof(all->text) - used, "%s %s: %s\n", difference->table,
             difference->kind, difference->entry);
}

static struct differences check(bool repair)
{
    struct differences all = {0};
    struct dp_check_result result = check_all(&dp_kernel, dp, repair, collect, &all);
    cr_assert_eq(result.err, 0, "%d", result.err);
    cr_assert_gt(result.n_compared, 0);
    return all;
}

static void put_everything(void)
{
    static struct dp_target target, other;
    struct dp_op ops[16];

    target = same_target();
    other = test_target("192.0.2.3", 300, 1);
    apply_all(ops, list_all(ops, &target, &other, 1));
}

Test(kernel, check_finds_nothing_after_programming)
{
    put_everything();
    struct differences all = check(false);
    cr_assert_eq(all.n, 0, "%s", all.text);
}

/* Breaks with a command, expects a line from check, repairs, and expects none. */
static void break_and_repair(const char *command, const char *expected)
{
    put_everything();
    cr_assert(netns_ok("%s", command));
    struct differences all = check(false);
    cr_assert(strstr(all.text, expected), "expected \"%s\" in:\n%s", expected, all.text);
    all = check(true);
    cr_assert(strstr(all.text, expected), "expected \"%s\" in:\n%s", expected, all.text);
    all = check(false);
    cr_assert_eq(all.n, 0, "not repaired:\n%s", all.text);
}

Test(kernel, check_repairs_a_missing_vxlan_entry)
{
    break_and_repair("bridge fdb del " M1 " dev emx1 self", "fdb missing: " M1 " dev emx1 nhid ");
}

Test(kernel, check_repairs_a_missing_bridge_entry)
{
    break_and_repair("bridge fdb del " M2 " dev p0 master",
                     "fdb missing: " M2 " dev p0 extern_learn master emb1");
}

Test(kernel, check_repairs_a_wrong_entry)
{
    break_and_repair("bridge fdb replace " M3 " dev emx1 dst 192.0.2.44 self extern_learn dynamic",
                     "fdb wrong: " M3 " dev emx1 dst 192.0.2.44 self extern_learn");
}

Test(kernel, check_removes_an_extra_entry)
{
    break_and_repair("bridge fdb add 02:00:00:00:00:77 dev emx1 dst 192.0.2.2 self extern_learn",
                     "fdb extra: 02:00:00:00:00:77 dev emx1 dst 192.0.2.2 self extern_learn");
}

Test(kernel, check_repairs_flood_lists)
{
    break_and_repair("bridge fdb del 00:00:00:00:00:00 dev emx1 dst 192.0.2.3 vni 300 self",
                     "flood missing: 00:00:00:00:00:00 dev emx1 dst 192.0.2.3 vni 300");
}

Test(kernel, check_repairs_neighbours)
{
    break_and_repair("ip neigh del 10.0.0.1 dev emb1",
                     "neighbour missing: 10.0.0.1 dev emb1 lladdr " M1 " PERMANENT proto 225");
}

Test(kernel, check_repairs_a_wrong_neighbour)
{
    break_and_repair("ip neigh replace 2001:db8:a::1 lladdr " M3 " dev emb1 nud permanent",
                     "neighbour wrong: 2001:db8:a::1 dev emb1 lladdr " M3);
}

Test(kernel, check_removes_an_extra_neighbour)
{
    break_and_repair("ip neigh add 10.0.0.8 lladdr " M3 " dev emb1 nud permanent protocol 225",
                     "neighbour extra: 10.0.0.8 dev emb1");
}

Test(kernel, check_repairs_a_deleted_nexthop_and_the_entries_that_fell_with_it)
{
    break_and_repair("ip nexthop del id $(ip nexthop show | sed -n "
                     "'s/^id \\([0-9]*\\) via 192.0.2.2 .*/\\1/p')",
                     "nexthop missing: id 235929600 via 192.0.2.2");
}

Test(kernel, check_removes_an_extra_nexthop)
{
    break_and_repair("ip nexthop add id 99 via 192.0.2.99 fdb protocol 225",
                     "nexthop extra: id 99 via 192.0.2.99");
}

Test(kernel, check_makes_a_deleted_vxlan_device_again)
{
    break_and_repair("ip link del emx1", "device missing: emx1 master emb1");
}

Test(kernel, check_makes_a_deleted_bridge_again)
{
    break_and_repair("ip link del emb1", "device missing: emx1 master emb1");
}

Test(kernel, check_sets_a_device_up_again)
{
    break_and_repair("ip link set emb1 down", "device wrong: emx1 master emb1");
}

static void disturb(const char *command, bool is_ours)
{
    put_everything();
    (void)dp_kernel.is_disturbed(dp);
    cr_assert(!dp_kernel.is_disturbed(dp), "before %s", command);
    cr_assert(netns_ok("%s", command));
    cr_assert_eq(dp_kernel.is_disturbed(dp), is_ours, "%s", command);
    (void)check(true);
    (void)dp_kernel.is_disturbed(dp);
    cr_assert(!dp_kernel.is_disturbed(dp), "after the repair of %s", command);
}

Test(kernel, what_somebody_takes_away_is_noticed)
{
    disturb("ip link del emx1", true);
    disturb("ip link del emb1", true);
    disturb("ip link set emx1 nomaster", true);
    disturb("ip nexthop flush protocol 225", true);
    disturb("ip link set emx1 down", true);
    disturb("ip link set u0 down", true);
}

Test(kernel, what_is_not_ours_is_nobodys_news)
{
    disturb("ip link add x0 type bridge && ip link del x0", false);
    disturb("ip nexthop add id 9 via 192.0.2.9 fdb && ip nexthop del id 9", false);
    disturb("ip link set p0 down", false);
}

Test(kernel, own_deletions_are_no_disturbance)
{
    put_everything();
    cr_assert_eq(apply(op_mac_delete(1, M1)), 0);
    cr_assert_eq(apply(op_network_delete(1)), 0);
    cr_assert(!dp_kernel.is_disturbed(dp));
}

Test(kernel, own_devices_that_come_up_are_no_disturbance)
{
    put_everything();
    cr_assert(!dp_kernel.is_disturbed(dp));
}

Test(kernel, underlay_that_comes_back_is_a_disturbance)
{
    put_everything();
    cr_assert(netns_ok("ip link set u0 down"));
    cr_assert(dp_kernel.is_disturbed(dp));
    cr_assert(!dp_kernel.is_disturbed(dp));
    cr_assert(netns_ok("ip link set u0 up"));
    cr_assert(dp_kernel.is_disturbed(dp));
}

Test(kernel, news_that_were_lost_count_as_a_disturbance)
{
    put_everything();
    (void)dp_kernel.is_disturbed(dp);
    cr_assert(netns_ok(
        "for i in $(seq 2000); do echo link set u1 mtu $((1400 + i %% 2)); done | ip -batch -"));
    cr_assert(dp_kernel.is_disturbed(dp));
    cr_assert(!dp_kernel.is_disturbed(dp));
}

/* ---- devices of ports */

static bool is_lost(const char *device)
{
    char name[IFNAMSIZ];
    (void)dp_kernel.is_disturbed(dp);
    bool is_told = dp_kernel.lost(dp, name);
    cr_assert(!is_told || strcmp(name, device) == 0, "%s", name);
    cr_assert(!dp_kernel.lost(dp, name), "once");
    return is_told;
}

static void put_guest(void)
{
    put_basics();
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    (void)is_lost("p0");
    cr_assert(!is_lost("p0"));
}

Test(kernel, a_device_that_goes_is_told_of_and_forgotten_when_it_is_put)
{
    put_guest();
    cr_assert(netns_ok("ip link del p0"));
    cr_assert(is_lost("p0"));
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), -ENODEV);
    cr_assert_eq(check(true).n, 0, "there is nothing to be repaired");
    cr_assert(netns_ok("ip link add p0 type veth peer name p1"));
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(check(false).n, 0);
}

Test(kernel, a_device_that_leaves_the_bridge_is_told_of)
{
    put_guest();
    cr_assert(netns_ok("ip link set p0 nomaster"));
    cr_assert(is_lost("p0"));
}

Test(kernel, a_device_that_was_renamed_stays_where_it_is)
{
    put_guest();
    cr_assert(netns_ok("ip link set p0 down && ip link set p0 name p9 && ip link set p9 up"));
    (void)check(true);
    cr_assert(netns_has_line("ip link show p9", "master emb1", ""));
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p9")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p9", M2)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert(netns_has_line("ip link show p9", "master emb1", ""));
    cr_assert(netns_has_line("bridge fdb show dev p9", M2, "master emb1"));
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p9")), 0);
    cr_assert(!netns_has_line("ip link show p9", "master emb1", ""));
}

Test(kernel, the_underlays_device_is_no_port_also_when_the_address_has_moved_to_it)
{
    put_basics();
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "u0")), -EBUSY);
    cr_assert(netns_ok("ip addr del 192.0.2.1/24 dev u0 && ip addr add 192.0.2.1/24 dev p0 && "
                       "ip link set p0 up"));
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), -EBUSY);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "u0")), 0);
}

Test(kernel, nothing_is_written_into_a_strangers_bridge)
{
    struct differences all = {0};
    put_guest();
    cr_assert(netns_ok("ip link add br9 type bridge && ip link set p0 master br9"));
    (void)check_all(&dp_kernel, dp, true, collect, &all);
    cr_assert(!netns_has_line("bridge fdb show dev p0", M2, "master br9"));
    cr_assert(netns_ok("ip link set p0 nomaster"));
    (void)check(true);
    (void)check(true);
    cr_assert(netns_has_line("bridge fdb show dev p0", M2, "master emb1"));
}

Test(kernel, port_with_a_small_mtu_is_no_fault)
{
    cr_assert(netns_ok("ip link set p0 mtu 1000"));
    put_everything();
    struct differences all = check(false);
    cr_assert_eq(all.n, 0, "%s", all.text);
}

Test(kernel, check_puts_a_port_back)
{
    break_and_repair("ip link set p0 nomaster", "device missing: p0 master emb1");
}

Test(kernel, check_only_reports_strangers)
{
    put_everything();
    cr_assert(netns_ok("bridge fdb add 02:00:00:00:00:66 dev emx1 dst 192.0.2.77 self"));
    for (int i = 0; i < 2; i++) {
        struct differences all = check(true);
        cr_assert_eq(all.n, 1, "%s", all.text);
        cr_assert(strstr(all.text, "fdb foreign: 02:00:00:00:00:66 dev emx1 dst 192.0.2.77 self"));
    }
    cr_assert_eq(apply(op_mac(1, "02:00:00:00:00:66", 1)), -EEXIST);
    cr_assert(netns_ok("bridge fdb del 02:00:00:00:00:66 dev emx1 self"));
    cr_assert_eq(apply(op_mac(1, "02:00:00:00:00:66", 1)), 0, "the stranger has gone");
}

/* ---- what open says */

static int open_fails(struct dp_config config, char **ret_why)
{
    struct dp *opened = NULL;
    int r = dp_kernel.open(&config, &opened, ret_why);
    cr_assert_null(opened);
    return r;
}

Test(kernel_open, missing_address_is_named, .init = make_host)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.200")}, .udp_port = 4789};
    char *why;

    cr_assert_eq(open_fails(config, &why), -EADDRNOTAVAIL);
    cr_assert(strstr(why, "RLOC 192.0.2.200 is not an address of this host"), "%s", why);
    free(why);
    config.rlocs[0].size = 0;
    cr_assert_eq(open_fails(config, &why), -EADDRNOTAVAIL);
    cr_assert(strstr(why, "no RLOC"), "%s", why);
    free(why);
}

Test(kernel_open, taken_udp_port_is_named_but_another_vxlan_device_is_fine, .init = make_host)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(4789)};
    char *why;

    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(open_fails(config, &why), -EADDRINUSE);
    cr_assert(strstr(why, "UDP port 4789"), "%s", why);
    free(why);
    close(fd);
    cr_assert(netns_ok("ip link add other type vxlan id 9 dstport 4789 && ip link set other up"));
    dp_kernel.close(open_dp("192.0.2.1"));
}

Test(kernel_open, no_permission_is_said, .init = make_host)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why;

    cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    cr_assert_eq(open_fails(config, &why), -EPERM);
    cr_assert(strstr(why, "CAP_NET_ADMIN"), "%s", why);
    free(why);
}

Test(kernel_open, ipv6_underlay_makes_ipv6_tunnels, .init = make_host)
{
    struct dp_target target = test_target("2001:db8::2", 100, 1);

    cr_assert(netns_ok("ip addr add 2001:db8::1/64 dev u0 nodad"));
    dp = open_dp("2001:db8::1");
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert(netns_shows("ip -d link show emx1", "local 2001:db8::1"));
    cr_assert(netns_shows("ip link show emx1", "mtu 1430"));
    cr_assert(netns_shows("ip nexthop show", "via 2001:db8::2"));
    close_host();
}

/* ---- real frames
 *
 *    guest a (10.0.0.1)                       guest b (10.0.0.2)
 *      ga |                                     | gb
 *      pa |  host a: emb1, emx1                 | pb   host b: emb1, emx1
 *         |  u0 192.0.2.1 ------------ u0 192.0.2.2 |
 */
struct host {
    int ns, guest;
    struct dp *dp;
    const char *rloc, *mac;
};

static void make_guest(struct host *host, unsigned number)
{
    host->guest = netns_new();
    netns_connect(host->ns, "tap0", host->guest, "eth0");
    netns_enter(host->guest);
    cr_assert(netns_ok("ip link set eth0 address %s mtu 1450", host->mac));
    cr_assert(netns_ok("ip addr add 10.0.0.%u/24 dev eth0", number));
    cr_assert(netns_ok("ip addr add 2001:db8:a::%u/64 dev eth0 nodad", number));
}

static void start_host(struct host *host)
{
    netns_enter(host->ns);
    cr_assert(netns_ok("ip addr add %s/24 dev u0", host->rloc));
    host->dp = open_dp(host->rloc);
}

static void program_host(struct host *host, const struct host *other, unsigned other_number)
{
    struct dp_target target = test_target(other->rloc, 100, 1);
    char v4[EM_IP_TEXT], v6[EM_IP_TEXT];
    snprintf(v4, sizeof(v4), "10.0.0.%u", other_number);
    snprintf(v6, sizeof(v6), "2001:db8:a::%u", other_number);
    struct dp_op ops[] = {op_network(1, 100),
                          op_set(1, &target, 1),
                          op_port(DP_PORT_PUT, 1, "tap0"),
                          op_local(DP_LOCAL_PUT, 1, "tap0", host->mac),
                          op_mac(1, other->mac, 1),
                          op_neigh(1, v4, other->mac),
                          op_neigh(1, v6, other->mac),
                          op_flood(DP_FLOOD_PUT, 1, target)};

    dp = host->dp;
    netns_enter(host->ns); /* sysctls are those of the thread's namespace */
    apply_all(ops, sizeof(ops) / sizeof(ops[0]));
}

static struct host a = {.rloc = "192.0.2.1", .mac = M1}, b = {.rloc = "192.0.2.2", .mac = M2};

static void make_pair(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    a.ns = netns_new();
    b.ns = netns_new();
    netns_connect(a.ns, "u0", b.ns, "u0");
    make_guest(&a, 1);
    make_guest(&b, 2);
    start_host(&a);
    start_host(&b);
    program_host(&a, &b, 2);
    program_host(&b, &a, 1);
}

static void close_pair(void)
{
    dp_kernel.close(a.dp);
    dp_kernel.close(b.dp);
}

TestSuite(frames, .init = make_pair, .fini = close_pair);

static bool ping(const char *target)
{
    return netns_ok("ping -c 3 -i 0.1 -W 2 %s", target);
}

Test(frames, guests_reach_each_other_and_resolution_stays_on_the_host)
{
    netns_enter(a.ns);
    struct netns_tap *tap = netns_tap_open("u0");
    netns_enter(a.guest);
    cr_assert(ping("10.0.0.2"));
    cr_assert(ping("2001:db8:a::2"));
    cr_assert(netns_shows("ip neigh show", "10.0.0.2 dev eth0 lladdr " M2));
    struct netns_seen seen = netns_tap_close(tap);
    cr_assert_geq(seen.n_unicast, 12, "two pings of three packets, both ways: %u", seen.n_unicast);
    cr_assert_eq(seen.n_resolution, 0, "%u ARP or ND frames", seen.n_resolution);
}

Test(frames, unknown_addresses_are_asked_for_by_the_flood_list)
{
    netns_enter(a.ns);
    struct netns_tap *tap = netns_tap_open("u0");
    netns_enter(a.guest);
    cr_assert_not(netns_ok("ping -c 1 -W 1 10.0.0.77"));
    struct netns_seen seen = netns_tap_close(tap);
    cr_assert_gt(seen.n_resolution, 0, "which also shows that the counter counts");
}

Test(frames, full_size_packets_pass)
{
    netns_enter(a.guest);
    cr_assert(netns_ok("ping -c 2 -i 0.1 -W 2 -M do -s 1422 10.0.0.2"));
}

Test(frames, host_does_not_answer_arp_in_the_tenants_network)
{
    netns_enter(a.guest);
    cr_assert(netns_ok("ip route add 192.0.2.1 dev eth0"));
    cr_assert_not(netns_ok("ping -c 1 -W 1 192.0.2.1"));
    cr_assert_not(netns_shows("ip neigh show 192.0.2.1", "lladdr"), "ARP for the host's RLOC");
}

static int udp_socket(int ns)
{
    netns_enter(ns);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

/* Even a guest that knows the bridge's address cannot reach the host with it. */
Test(frames, host_takes_no_packet_from_the_tenants_network)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(7777)};
    struct em_ip rloc = test_ip(a.rloc);
    int on_host = udp_socket(a.ns), in_guest = udp_socket(a.guest);

    cr_assert_eq(bind(on_host, (struct sockaddr *)&addr, sizeof(addr)), 0);
    netns_enter(a.ns);
    char *mac = netns_run("ip link show emb1 | sed -n 's/.*ether \\([0-9a-f:]*\\) .*/\\1/p'");
    mac[strcspn(mac, "\n")] = '\0';
    netns_enter(a.guest);
    cr_assert(netns_ok("ip route add %s dev eth0", a.rloc));
    cr_assert(netns_ok("ip neigh replace %s lladdr %s dev eth0", a.rloc, mac));
    free(mac);
    memcpy(&addr.sin_addr, rloc.addr, 4);
    cr_assert_eq(sendto(in_guest, "x", 1, 0, (struct sockaddr *)&addr, sizeof(addr)), 1);
    struct pollfd poll_host = {.fd = on_host, .events = POLLIN};
    cr_assert_eq(poll(&poll_host, 1, 300), 0, "the host has taken the packet");
    close(on_host);
    close(in_guest);
}

/* A guest cannot know the bridge's address, but a multicast one reaches every device. */
Test(frames, host_takes_no_ipv6_packet_from_a_multicast_frame)
{
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons(7777)};
    netns_enter(a.ns);
    cr_assert(netns_ok("ip addr add fd99::1/128 dev lo nodad"));
    int on_host = socket(AF_INET6, SOCK_DGRAM, 0);
    cr_assert_eq(bind(on_host, (struct sockaddr *)&addr, sizeof(addr)), 0);
    netns_enter(a.guest);
    int in_guest = socket(AF_INET6, SOCK_DGRAM, 0);
    cr_assert(netns_ok("ip route add fd99::1 dev eth0"));
    cr_assert(netns_ok("ip neigh replace fd99::1 lladdr 33:33:00:00:00:01 dev eth0"));
    cr_assert_eq(inet_pton(AF_INET6, "fd99::1", &addr.sin6_addr), 1);
    cr_assert_eq(sendto(in_guest, "x", 1, 0, (struct sockaddr *)&addr, sizeof(addr)), 1);
    struct pollfd poll_host = {.fd = on_host, .events = POLLIN};
    cr_assert_eq(poll(&poll_host, 1, 300), 0, "the host has taken the packet");
    close(on_host);
    close(in_guest);
}

Test(frames, empty_set_drops_and_does_not_flood)
{
    netns_enter(a.ns);
    dp = a.dp;
    cr_assert_eq(apply(op_set(1, NULL, 0)), 0);
    struct netns_tap *tap = netns_tap_open("u0");
    netns_enter(a.guest);
    cr_assert_not(netns_ok("ping -c 2 -i 0.1 -W 1 10.0.0.2"));
    struct netns_seen seen = netns_tap_close(tap);
    cr_assert_eq(seen.n_unicast, 0, "%u frames left the host", seen.n_unicast);
    struct dp_target target = test_target(b.rloc, 100, 1);
    netns_enter(a.ns);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    netns_enter(a.guest);
    cr_assert(ping("10.0.0.2"));
}

Test(frames, segmentation_id_of_the_target_is_used)
{
    netns_enter(b.ns);
    dp = b.dp;
    cr_assert_eq(apply(op_network(1, 900)), 0);
    netns_enter(a.guest);
    cr_assert_not(netns_ok("ping -c 1 -W 1 10.0.0.2"));
    netns_enter(a.ns);
    dp = a.dp;
    struct dp_target target = test_target(b.rloc, 900, 1);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    netns_enter(a.guest);
    cr_assert(ping("10.0.0.2"));
}

Test(frames, spoofed_source_does_not_draw_traffic)
{
    netns_enter(a.guest);
    cr_assert(
        netns_ok("ip link set eth0 address %s && ping -c 2 -i 0.1 -W 1 10.0.0.77; ip link set "
                 "eth0 address %s",
                 M2, M1));
    netns_enter(a.ns);
    cr_assert_not(netns_shows("bridge fdb show dev tap0", M2));
    netns_enter(a.guest);
    cr_assert(ping("10.0.0.2"));
}

Test(frames, restart_of_the_agent_loses_no_packet)
{
    netns_enter(a.guest);
    cr_assert(ping("10.0.0.2"));
    char *pid =
        netns_run("(ping -i 0.01 -c 120 -W 1 10.0.0.2 >/tmp/em-ping-%d 2>&1 & echo $!)", getpid());
    netns_enter(a.ns);
    for (int i = 0; i < 5; i++) {
        dp_kernel.close(a.dp);
        a.dp = open_dp(a.rloc);
        program_host(&a, &b, 2);
        cr_assert_eq(sweep_all(&dp_kernel, a.dp, 1), 0);
        cr_assert_eq(sweep_all(&dp_kernel, a.dp, 0), 0);
    }
    char *seen = netns_run("tail --pid=%d -f /dev/null; cat /tmp/em-ping-%d; rm /tmp/em-ping-%d",
                           atoi(pid), getpid(), getpid());
    cr_assert(strstr(seen, "120 received, 0% packet loss"), "%s", seen);
    free(seen);
    free(pid);
}
