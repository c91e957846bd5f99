/* Copies in a kernel of its own: what stands, by tc and bridge; and what really goes out. */
#include "dataplane/kernel.h"
#include "dataplane/tc.h"

#include "xtr/checks.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M1 "02:00:00:00:00:01"
#define M2 "02:00:00:00:00:02"

static struct dp *dp;
static struct dp_target to;

static void open_dp(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why = NULL;
    cr_assert_eq(dp_kernel.open(&config, &dp, &why), 0, "%s", why);
}

static int apply(struct dp_op op)
{
    return op_apply(&dp_kernel, dp, op);
}

/* A network with a remote M1 at 192.0.2.2 and a port p0, whose guest is p1; 192.0.2.2 and .3
 * answer nothing, but they are neighbours. */
static void setup(void)
{
    static struct dp_target target;

    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip link set u1 up && ip addr add 192.0.2.1/24 dev u0 && "
                       "ip neigh add 192.0.2.2 lladdr 02:ee:00:00:00:02 dev u0 && "
                       "ip neigh add 192.0.2.3 lladdr 02:ee:00:00:00:03 dev u0 && "
                       "ip link add p0 type veth peer name p1 && ip link set p1 up && "
                       "ip link add q0 type veth peer name q1 && ip link set q1 up"));
    open_dp();
    target = test_target("192.0.2.2", 100, 1);
    to = test_target("192.0.2.3", 300, 1);
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "q0")), 0);
}

static void teardown(void)
{
    dp_kernel.close(dp);
}

TestSuite(copy, .init = setup, .fini = teardown);

/* A frame to 'mac' from the guest at 'device': IPv4, UDP to port 9, by a neighbour entry. */
static void say(const char *device, const char *mac)
{
    cr_assert(netns_ok("ip addr replace 10.9.0.9/24 dev %s && "
                       "ip neigh replace 10.9.0.1 lladdr %s dev %s && "
                       "bash -c 'echo hello >/dev/udp/10.9.0.1/9'",
                       device, mac, device));
}

Test(copy, frames_that_leave_by_the_tunnel_go_to_the_target_too)
{
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    cr_assert(netns_has_line("tc filter show dev emx1 egress", "Mirror to device emc1", ""));
    cr_assert(netns_has_line("bridge fdb show dev emc1", M1, "dst 192.0.2.3 port 4789 vni 300"));
    cr_assert(netns_shows("ip -d link show emc1", "alias eidmap:1"));
    struct netns_tap *tap = netns_tap_open("u1");
    say("p1", M1);
    cr_assert_eq(netns_tap_close(tap).n_unicast, 2);
    cr_assert_eq(apply(op_copy_delete(1, M1)), 0);
    tap = netns_tap_open("u1");
    say("p1", M1);
    cr_assert_eq(netns_tap_close(tap).n_unicast, 1);
    cr_assert_not(netns_ok("ip link show emc1"), "nothing is left");
    cr_assert_not(netns_shows("tc filter show dev emx1 egress", "u32"));
}

Test(copy, what_a_local_port_sends_to_a_local_guest_goes_to_the_target_too)
{
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "q0", M2)), 0);
    cr_assert_eq(apply(op_copy(1, M2, to, "q0")), 0);
    struct netns_tap *tap = netns_tap_open("u1");
    say("p1", M2);
    cr_assert_eq(netns_tap_close(tap).n_unicast, 1);
}

/* A sender elsewhere copies for itself: once more from here, and the guest has it twice. */
Test(copy, what_comes_by_the_tunnel_is_not_copied_again)
{
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "q0", M2)), 0);
    cr_assert_eq(apply(op_copy(1, M2, to, "q0")), 0);
    struct netns_tap *tap = netns_tap_open("u1");
    /* As if it had come in by emx1: injected on the receiving side of the tunnel device. */
    cr_assert(netns_ok("tc qdisc add dev p0 clsact && tc filter add dev p0 ingress u32 match u32 "
                       "0 0 action mirred ingress redirect dev emx1"));
    say("p1", M2);
    cr_assert_eq(netns_tap_close(tap).n_unicast, 0);
    cr_assert(netns_shows("tc -s filter show dev q0 egress", "Sent 0 bytes 0 pkt"));
}

Test(copy, a_strangers_filter_stays)
{
    cr_assert(netns_ok("tc qdisc add dev emx1 clsact && tc filter add dev emx1 egress pref 7 u32 "
                       "match u32 1 1 at 0 flowid 1:1"));
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    cr_assert_eq(apply(op_copy_delete(1, M1)), 0);
    cr_assert(netns_shows("tc filter show dev emx1 egress", "pref 7 u32"));
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    dp_kernel.close(dp);
    open_dp();
    cr_assert(netns_shows("tc filter show dev emx1 egress", "pref 7 u32"));
    cr_assert_not(netns_shows("tc filter show dev emx1 egress", "mirred"));
    cr_assert_not(netns_ok("ip link show emc1"));
}

Test(copy, what_a_run_has_left_on_guests_devices_goes_at_open)
{
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "q0", M2)), 0);
    cr_assert_eq(apply(op_copy(1, M2, to, "q0")), 0);
    cr_assert(netns_shows("tc filter show dev q0 egress", "mirred"));
    dp_kernel.close(dp);
    open_dp();
    cr_assert_not(netns_shows("tc filter show dev q0 egress", "u32"));
}

Test(copy, another_udp_port_is_taken_where_one_is_held)
{
    cr_assert(netns_ok("ip link add busy type vxlan id 100 dstport 4790 local 192.0.2.1 && "
                       "ip link set busy up"));
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0, "a vxlan device with this VNI and port");
    cr_assert(netns_shows("ip -d link show emc1", "dstport 4791"));
}

Test(copy, a_target_of_the_other_family_is_refused)
{
    cr_assert_eq(apply(op_copy(1, M1, test_target("2001:db8::3", 300, 1), NULL)), -EAFNOSUPPORT);
    cr_assert_not(netns_ok("ip link show emc1"));
}

Test(copy, a_new_tunnel_device_gets_its_copies)
{
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    cr_assert_eq(apply(op_network(1, 101)), 0, "another VNI");
    cr_assert(netns_shows("tc filter show dev emx1 egress", "Mirror to device emc1"));
    cr_assert(netns_shows("ip -d link show emc1", "vxlan id 101"));
    cr_assert(netns_has_line("bridge fdb show dev emc1", M1, "dst 192.0.2.3 port 4789 vni 300"));
}

struct told {
    int n;
    char text[256];
};

static void collect(void *aux, const struct dp_difference *difference)
{
    struct told *told = aux;
    if (strcmp(difference->table, "copy") != 0)
        return;
    told->n++;
    snprintf(told->text, sizeof(told->text), "%s %s: %s", difference->table, difference->kind,
             difference->entry);
}

static void break_and_repair(const char *command)
{
    struct told told = {0};

    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    cr_assert_eq(check_all(&dp_kernel, dp, false, collect, &told).err, 0);
    cr_assert_eq(told.n, 0, "%s", told.text);
    cr_assert(netns_ok("%s", command));
    cr_assert_eq(check_all(&dp_kernel, dp, true, collect, &told).err, 0);
    cr_assert_eq(told.n, 1);
    cr_assert_str_eq(told.text, "copy missing: " M1 " also 192.0.2.3");
    cr_assert_eq(check_all(&dp_kernel, dp, false, collect, &told).err, 0);
    cr_assert_eq(told.n, 1, "not repaired: %s", told.text);
}

Test(copy, check_repairs_a_missing_filter)
{
    break_and_repair("tc qdisc del dev emx1 clsact");
}

Test(copy, check_repairs_a_missing_device)
{
    break_and_repair("ip link del emc1");
}

Test(copy, check_repairs_a_device_that_sends_from_elsewhere)
{
    break_and_repair("ip link set emc1 type vxlan local 192.0.2.77");
}

/* The kernel does not show the VNI and the port then. */
Test(copy, one_to_the_networks_own_vni_stands)
{
    struct told told = {0};
    cr_assert_eq(apply(op_copy(1, M1, test_target("192.0.2.3", 100, 1), NULL)), 0);
    cr_assert_eq(check_all(&dp_kernel, dp, false, collect, &told).err, 0);
    cr_assert_eq(told.n, 0, "%s", told.text);
}

Test(copy, copies_are_sent_from_a_new_rloc)
{
    struct em_ip rloc = test_ip("192.0.2.99");
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    cr_assert(netns_shows("ip -d link show emc1", "local 192.0.2.1 "));
    cr_assert(netns_ok("ip addr add 192.0.2.99/24 dev u0"));
    cr_assert_eq(dp_kernel.set_rloc(dp, &rloc), 0);
    cr_assert(netns_shows("ip -d link show emc1", "local 192.0.2.99 "));
    cr_assert(netns_has_line("bridge fdb show dev emc1", M1, "dst 192.0.2.3 port 4789 vni 300"));
}

Test(copy, check_repairs_a_missing_entry)
{
    break_and_repair("bridge fdb del " M1 " dev emc1 self");
}

/* Six bytes, and no more of them than that. */
Test(copy, only_the_one_mac_is_copied)
{
    static const char *const others[] = {"02:00:00:00:00:03", "02:00:00:00:01:01",
                                         "02:01:00:00:00:01", "06:00:00:00:00:01"};
    cr_assert_eq(apply(op_copy(1, M1, to, NULL)), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cr_assert_eq(apply(op_mac(1, others[i], 1)), 0);
        say("p1", others[i]);
        cr_assert(netns_shows("tc -s filter show dev emx1 egress", "Sent 0 bytes 0 pkt"), "%s",
                  others[i]);
    }
    say("p1", M1);
    cr_assert_not(netns_shows("tc -s filter show dev emx1 egress", "Sent 0 bytes 0 pkt"));
}
