/* What the kernel data plane sees of a path, and another underlay address, in a kernel of its
 * own; iproute2 breaks things and is the witness. */
#include "dataplane/kernel.h"

#include "dataplane/news.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M1 "02:00:00:00:00:01"
#define M2 "02:00:00:00:00:02"

static struct dp *dp;
static char seen[4096]; /* "name:ok name:WRONG " of the last look */
static char wrong[512]; /* what the first wrong step has found */

static void open_host(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why = NULL;

    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip link set u1 up && ip addr add 192.0.2.1/24 dev u0"));
    cr_assert(netns_ok("ip link add p0 type veth peer name p1 && ip link set p1 up"));
    cr_assert_eq(dp_kernel.open(&config, &dp, &why), 0, "%s", why);
}

static void close_host(void)
{
    dp_kernel.close(dp);
}

TestSuite(look, .init = open_host, .fini = close_host);

static int apply(struct dp_op op)
{
    return op_apply(&dp_kernel, dp, op);
}

/* Network 1 (VNI 100): M1 at 192.0.2.2 with 10.0.0.1, M2 behind p0. */
static void put_basics(void)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);

    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
}

static void keep(void *aux, const struct dp_step *step)
{
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof(seen) - used, "%s:%s ", step->name,
             step->is_wrong ? "WRONG" : "ok");
    if (step->is_wrong && !wrong[0])
        snprintf(wrong, sizeof(wrong), "%s", step->found);
    cr_assert_eq(step->is_wrong, step->advice[0] != '\0', "%s", step->name);
}

/* Looks along the path to M1. */
static struct dp_path remote_path(const struct dp_target *targets, size_t n)
{
    return (struct dp_path){.network = {.id = 1, .segmentation_id = 100},
                            .from = "p0",
                            .mac = {0x02, 0, 0, 0, 0, 0x01},
                            .ip = test_ip("10.0.0.1"),
                            .targets = targets,
                            .n_targets = n};
}

static void look(const struct dp_path *path)
{
    seen[0] = wrong[0] = '\0';
    dp_kernel.look(dp, path, keep, NULL);
}

static void look_at_m1(void)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    struct dp_path path = remote_path(&target, 1);
    look(&path);
}

/* The command makes 'step' the first wrong one; "" for the path as it is. */
static void breaks(const char *command, const char *step, const char *found)
{
    char first[64];
    look_at_m1();
    cr_assert_null(strstr(seen, "WRONG"), "before %s: %s", command, seen);
    cr_assert(netns_ok("%s", command), "%s", command);
    look_at_m1();
    snprintf(first, sizeof(first), "%s:WRONG", step);
    char *at = strstr(seen, "WRONG");
    char *here = strstr(seen, first);
    cr_assert(at && here && at == here + strlen(step) + 1, "%s: %s", command, seen);
    cr_assert(strstr(wrong, found) != NULL, "%s: %s", command, wrong);
}

Test(look, a_good_path_has_every_step_and_none_wrong)
{
    put_basics();
    look_at_m1();
    cr_assert_str_eq(seen, "bridge:ok sender:ok neighbour:ok bridge-fdb:ok tunnel:ok vxlan-fdb:ok "
                           "nexthops:ok route:ok underlay:ok ");
}

Test(look, changes_nothing)
{
    put_basics();
    uint64_t n = dp_nl_n_sent(dp->nl);
    look_at_m1();
    cr_assert_eq(dp_nl_n_sent(dp->nl), n);
}

Test(look, entries_that_somebody_deletes_are_missing)
{
    put_basics();
    breaks("bridge fdb del " M1 " dev emx1 self", "vxlan-fdb", "missing");
}

Test(look, the_bridges_half_is_looked_for_too)
{
    put_basics();
    breaks("bridge fdb del " M1 " dev emx1 master", "bridge-fdb", "missing");
}

Test(look, a_mac_behind_another_port_is_astray)
{
    put_basics();
    breaks("bridge fdb replace " M1 " dev p0 master static", "bridge-fdb", "the map wants emx1");
}

Test(look, a_neighbour_with_another_mac_is_wrong)
{
    put_basics();
    breaks("ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 dev emb1 nud permanent", "neighbour",
           "the map wants " M1);
}

Test(look, a_bridge_that_is_down_is_the_first)
{
    put_basics();
    breaks("ip link set emb1 down", "bridge", "down");
}

Test(look, without_a_bridge_there_is_nothing_more_to_see)
{
    put_basics();
    breaks("ip link del emb1", "bridge", "No such device");
    cr_assert_str_eq(seen, "bridge:WRONG ");
}

Test(look, a_tunnel_out_of_its_bridge_is_wrong)
{
    put_basics();
    cr_assert(netns_ok("ip link set emx1 nomaster"));
    look_at_m1();
    cr_assert(strstr(seen, "tunnel:WRONG") != NULL, "%s", seen);
}

Test(look, a_device_of_a_port_without_its_other_end_is_wrong)
{
    put_basics();
    breaks("ip link set p1 down", "sender", "other end");
}

Test(look, a_route_that_refuses_is_wrong)
{
    put_basics();
    breaks("ip route add blackhole 192.0.2.2", "route", "192.0.2.2");
}

Test(look, the_mtu_of_a_route_counts)
{
    put_basics();
    breaks("ip route add 192.0.2.2 dev u0 mtu lock 1400", "underlay", "mtu 1400");
}

Test(look, an_address_that_is_gone_is_told_at_the_tunnel)
{
    put_basics();
    breaks("ip addr del 192.0.2.1/24 dev u0", "tunnel", "none of this host's");
}

Test(look, targets_by_address_are_held_against_the_entry)
{
    struct dp_target target = test_target("192.0.2.2", 777, 1);
    struct dp_path path = remote_path(&target, 1);

    put_basics();
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    look(&path);
    cr_assert_null(strstr(seen, "WRONG"), "%s %s", seen, wrong);
    cr_assert_null(strstr(seen, "nexthops"), "%s", seen);
    target.segmentation_id = 778;
    look(&path);
    cr_assert(strstr(seen, "vxlan-fdb:WRONG") != NULL, "%s", seen);
}

Test(look, shares_are_held_against_the_groups_weights)
{
    struct dp_target targets[] = {test_target("192.0.2.2", 100, 3),
                                  test_target("192.0.2.3", 100, 1)};
    struct dp_path path = remote_path(targets, 2);

    put_basics();
    cr_assert_eq(apply(op_set(1, targets, 2)), 0);
    look(&path);
    cr_assert_null(strstr(seen, "WRONG"), "%s %s", seen, wrong);
    targets[0].weight = 4;
    look(&path);
    cr_assert(strstr(seen, "nexthops:WRONG") != NULL, "%s", seen);
}

Test(look, a_local_mac_ends_at_its_port)
{
    struct dp_path path = {.network = {.id = 1, .segmentation_id = 100},
                           .mac = {0x02, 0, 0, 0, 0, 0x02},
                           .device = "p0"};
    put_basics();
    look(&path);
    cr_assert_str_eq(seen, "bridge:ok bridge-fdb:ok receiver:ok ");
    cr_assert(netns_ok("ip link set p0 down"));
    look(&path);
    cr_assert(strstr(seen, "receiver:WRONG") != NULL, "%s", seen);
    cr_assert(netns_ok("ip link del p0"));
    look(&path);
    cr_assert(strstr(wrong, "missing") != NULL, "%s: %s", seen, wrong);
}

/* ---- another underlay address */

Test(look, another_rloc_is_taken_in_place)
{
    struct em_ip rloc = test_ip("192.0.2.9");

    put_basics();
    char *before = netns_run("cat /sys/class/net/emx1/ifindex");
    cr_assert_eq(dp_kernel.set_rloc(dp, &rloc), -EADDRNOTAVAIL, "no device has it");
    cr_assert(netns_ok("ip addr del 192.0.2.1/24 dev u0 && ip addr add 192.0.2.9/24 dev u0"));
    cr_assert_eq(dp_kernel.set_rloc(dp, &rloc), 0);
    char *after = netns_run("cat /sys/class/net/emx1/ifindex");
    cr_assert_str_eq(before, after, "the device was made anew");
    cr_assert(netns_shows("ip -d link show emx1", "local 192.0.2.9"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", M1, "nhid"));
    look_at_m1();
    cr_assert_null(strstr(seen, "WRONG"), "%s %s", seen, wrong);
    free(before);
    free(after);
}

Test(look, what_is_dropped_is_dropped_at_the_new_rloc)
{
    struct em_ip rloc = test_ip("192.0.2.9");

    put_basics();
    cr_assert_eq(apply(op_set(1, NULL, 0)), 0);
    cr_assert(netns_has_line("ip nexthop show", "via 192.0.2.1 ", "fdb"));
    cr_assert(netns_ok("ip addr del 192.0.2.1/24 dev u0 && ip addr add 192.0.2.9/24 dev u0"));
    cr_assert_eq(dp_kernel.set_rloc(dp, &rloc), 0);
    cr_assert(netns_has_line("ip nexthop show", "via 192.0.2.9 ", "fdb"));
    cr_assert_not(netns_has_line("ip nexthop show", "via 192.0.2.1 ", "fdb"));
}

static bool has_news(const struct dp_news *news)
{
    struct pollfd fd = {.fd = dp_news_fd(news), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

Test(look, news_come_of_addresses_and_routes_and_of_nothing_else)
{
    static const char *const changes[] = {
        "ip addr add 192.0.2.9/24 dev u0",
        "ip route add 198.51.100.0/24 dev u0",
        "ip -6 addr add 2001:db8::9/64 dev u0 nodad",
        "ip addr del 192.0.2.9/24 dev u0",
    };
    struct dp_news *news;
    struct em_ip ip = test_ip("192.0.2.9");

    /* Link-local addresses would make news of their own, later. */
    cr_assert(netns_ok("for d in u0 u1 p0 p1; do ip -6 addr flush dev $d; done"));
    cr_assert_eq(dp_news_open(true, &news), 0);
    dp_news_drain(news);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        cr_assert(netns_ok("%s", changes[i]));
        cr_assert(has_news(news), "%s", changes[i]);
        dp_news_drain(news);
        cr_assert_eq(dp_news_has_address(news, &ip), i < 3);
    }
    cr_assert(netns_ok("ip link set p0 mtu 1400"));
    cr_assert_not(has_news(news));
    dp_news_close(news);

    cr_assert_eq(dp_news_open(false, &news), 0);
    cr_assert(netns_ok("ip route add 203.0.113.0/24 dev u0"));
    cr_assert_not(has_news(news), "a route, and nobody asked for routes");
    cr_assert(netns_ok("ip addr add 192.0.2.9/24 dev u0"));
    cr_assert(has_news(news));
    dp_news_close(news);
}
