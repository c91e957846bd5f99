/* What is Open vSwitch's own in its data plane, beside the contract (dp_contract_test.c), on a real
 * one.  The witness is ovs-ofctl. */
#include "base/clock.h"
#include "base/mem.h"
#include "xtr/checks.h"
#include "xtr/netns.h"
#include "xtr/ops.h"
#include "xtr/ovs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define M1    "02:00:00:00:00:01"
#define M2    "02:00:00:00:00:02"
#define TRIES 2000 /* of 10 ms */

static struct ovs *ovs;
static struct dp *dp;
static bool is_open; /* no port security */

static void open_plane(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")},
                               .udp_port = 4789,
                               .database = ovs->remote,
                               .run_dir = ovs->dir,
                               .datapath_type = "netdev",
                               .is_open = is_open};
    char *why = NULL;

    dp_ovs.close(dp);
    cr_assert_eq(dp_ovs.open(&config, &dp, &why), 0, "%s", why);
}

/* A host with an underlay address and three devices. */
static void set_up(void)
{
    if (!ovs_is_permitted())
        cr_skip_test("no Open vSwitch, or no permission to make a network namespace");
    ovs = ovs_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip link set u1 up && ip addr add 192.0.2.1/24 dev u0 && "
                       "ip link add p0 type veth peer name p1 && "
                       "ip link add p2 type veth peer name p3"));
    open_plane();
}

static void tear_down(void)
{
    dp_ovs.close(dp);
    ovs_stop(ovs);
}

TestSuite(ovs_plane, .init = set_up, .fini = tear_down, .timeout = 100);

static int apply(struct dp_op op)
{
    return op_apply(&dp_ovs, dp, op);
}

static void put_basics(void)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);

    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
}

/* Without what changes by itself, sorted; free() it. */
static char *dump(const char *what)
{
    return netns_run(
        "ovs-ofctl -O OpenFlow14 --no-stats dump-%s unix:%s/br-int.mgmt | grep -v '^OFP' | "
        "sort",
        what, ovs->dir);
}

static bool has_line(const char *what, const char *text, const char *more)
{
    char *output = dump(what);
    bool is_there = false;
    for (char *rest = output, *line; !is_there && (line = strsep(&rest, "\n"));)
        is_there = strstr(line, text) && strstr(line, more);
    free(output);
    return is_there;
}
#define has_flow(text, more) has_line("flows", text, more)

static bool do_ofctl(const char *command, const char *flow)
{
    return netns_ok("ovs-ofctl -O OpenFlow14 %s unix:%s/br-int.mgmt '%s'", command, ovs->dir, flow);
}

static unsigned ofport(const char *device)
{
    char *text = ovs_vsctl(ovs, "get Interface %s ofport", device);
    unsigned number = (unsigned)atoi(text);
    free(text);
    return number;
}

static bool has_port_flow(const char *device, const char *more)
{
    char match[40];
    snprintf(match, sizeof match, "in_port=%u actions", ofport(device));
    return has_flow(match, more);
}

static void note(void *aux, const struct dp_difference *difference)
{
    (*(unsigned *)aux)++;
    fprintf(stderr, "%s: %s %s\n", difference->table, difference->kind, difference->entry);
}

static unsigned n_differences(bool repair)
{
    unsigned n = 0;
    struct dp_check_result result = check_all(&dp_ovs, dp, repair, note, &n);
    cr_assert_eq(result.err, 0, "%d", result.err);
    return n;
}

/* As the agent does it: news are served until there is a disturbance, which a check repairs. */
static void await_disturbance(void)
{
    for (int i = 0; i < TRIES; i++) {
        dp_ovs.serve(dp);
        if (dp_ovs.is_disturbed(dp))
            return;
        usleep(10000);
    }
    cr_assert_fail("no disturbance");
}

static bool is_repaired(void)
{
    unsigned n = 0;
    (void)check_all(&dp_ovs, dp, true, note, &n);
    n = 0;
    struct dp_check_result result = check_all(&dp_ovs, dp, false, note, &n);
    return result.err == 0 && n == 0;
}

static void await_repair(void)
{
    for (int i = 0; i < TRIES; i++) {
        dp_ovs.serve(dp);
        (void)dp_ovs.is_disturbed(dp);
        if (is_repaired())
            return;
        usleep(10000);
    }
    cr_assert_fail("not repaired");
}

/* ---- what an earlier run has left */

Test(ovs_plane, groups_are_claimed_by_content_whatever_the_sets_are_numbered)
{
    struct dp_target a = test_target("192.0.2.2", 100, 1), b = test_target("192.0.2.3", 100, 1);

    put_basics();
    cr_assert_eq(apply(op_set(2, &b, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_mac(1, M2, 2)), 0);
    char *flows = dump("flows"), *groups = dump("groups");
    open_plane();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(7, &b, 1)), 0);
    cr_assert_eq(apply(op_set(9, &a, 1)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(op_mac(1, M1, 9)), 0);
    cr_assert_eq(apply(op_mac(1, M2, 7)), 0);
    cr_assert_eq(sweep_all(&dp_ovs, dp, 1), 0);
    cr_assert_eq(sweep_all(&dp_ovs, dp, 0), 0);
    char *flows_now = dump("flows"), *groups_now = dump("groups");
    cr_assert_str_eq(flows_now, flows);
    cr_assert_str_eq(groups_now, groups);
    cr_assert_eq(n_differences(false), 0);
    free(flows);
    free(groups);
    free(flows_now);
    free(groups_now);
}

Test(ovs_plane, groups_of_networks_that_are_not_complete_yet_stay)
{
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    open_plane();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(sweep_all(&dp_ovs, dp, 0), 0);
    cr_assert(has_flow("dl_dst=" M1, "group:"), "the switch removes flows with their group");
    cr_assert_eq(sweep_all(&dp_ovs, dp, 1), 2, "MAC and group");
    cr_assert_not(has_line("groups", "group_id", ""));
}

Test(ovs_plane, flow_that_does_something_else_is_sent_again)
{
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert(
        do_ofctl("--strict mod-flows", "table=120,priority=20,reg0=1,dl_dst=" M1 ",actions=drop"));
    cr_assert(do_ofctl("--strict mod-flows",
                       "table=110,priority=10,reg0=1,arp,arp_op=1,"
                       "arp_tpa=10.0.0.1,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=drop"));
    char match[80];
    snprintf(match, sizeof match, "table=0,priority=100,in_port=%u,actions=drop", ofport("p0"));
    cr_assert(do_ofctl("--strict mod-flows", match));
    cr_assert(has_flow("dl_dst=" M1, "drop"));
    open_plane();
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert(has_flow("dl_dst=" M1, "group:"));
    cr_assert(has_flow("arp_tpa=10.0.0.1", "goto_table:111"));
    cr_assert(has_port_flow("p0", "goto_table:101"));
}

Test(ovs_plane, tunnels_and_their_places_are_adopted)
{
    struct dp_target geneve = test_target("192.0.2.9", 100, 1);

    geneve.encap = EM_ENCAP_GENEVE;
    put_basics();
    cr_assert_eq(apply(op_flood(DP_FLOOD_PUT, 1, geneve)), 0);
    cr_assert(has_flow("table=120, priority=10,reg0=0x1", "192.0.2.9->tun_dst"));
    open_plane();
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert(has_flow("table=120, priority=10,reg0=0x1", "192.0.2.9->tun_dst"), "until the sweep");
    cr_assert_eq(sweep_all(&dp_ovs, dp, 1), 2, "the place and the port");
    cr_assert_not(has_flow("table=120, priority=10,reg0=0x1", "192.0.2.9->tun_dst"));
}

/* What is left of the addresses is found by their MAC. */
Test(ovs_plane, network_without_its_own_flow_is_none)
{
    char ip[EM_IP_TEXT];

    put_basics();
    cr_assert_eq(apply(op_network(2, 200)), 0);
    for (unsigned i = 0; i < 32; i++) {
        snprintf(ip, sizeof ip, "10.0.0.%u", i + 1);
        cr_assert_eq(apply(op_neigh(1 + i % 2, ip, i % 4 < 2 ? M1 : M2)), 0);
    }
    cr_assert(do_ofctl("del-flows", "table=100,tun_id=200"));
    open_plane();
    put_basics();
    for (unsigned i = 0; i < 32; i += 2) {
        snprintf(ip, sizeof ip, "10.0.0.%u", i + 1);
        cr_assert_eq(apply(op_neigh(1, ip, M2)), 0);
        cr_assert_eq(apply(op_neigh_delete(1, ip)), 0);
    }
    cr_assert_not(has_flow("reg0=0x1,", "arp_tpa"));
}

/* ---- strangers */

Test(ovs_plane, flow_of_a_stranger_is_not_overwritten_and_its_place_is_taken_when_it_goes)
{
    char match[80];

    cr_assert(ovs_vsctl_ok(ovs, "add-port br-int p0"));
    snprintf(match, sizeof match, "table=0,priority=100,in_port=%u,actions=drop", ofport("p0"));
    cr_assert(do_ofctl("add-flow", match));
    cr_assert(do_ofctl("add-flow", "table=120,priority=20,reg0=1,dl_dst=" M1 ",actions=drop"));
    open_plane();
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    cr_assert_eq(apply(op_network(1, 100)), 0);
    cr_assert_eq(apply(op_set(1, &target, 1)), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(apply(op_borrowed(1, "p0")), -EEXIST);
        cr_assert_eq(apply(op_mac(1, M1, 1)), -EEXIST);
    }
    cr_assert_eq(n_differences(true), 2, "the port and the MAC");
    cr_assert(has_port_flow("p0", "drop"));
    cr_assert(has_flow("dl_dst=" M1, "drop"));
    *strstr(match, ",actions") = '\0';
    cr_assert(do_ofctl("--strict del-flows", match));
    cr_assert(do_ofctl("--strict del-flows", "table=120,priority=20,reg0=1,dl_dst=" M1));
    (void)n_differences(true);
    cr_assert(has_port_flow("p0", "goto_table:101"));
    cr_assert(has_flow("dl_dst=" M1, "group:"));
    cr_assert_eq(apply(op_borrowed(1, "p0")), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_mac_delete(1, M1)), 0);
    cr_assert_not(has_flow("dl_dst=" M1, ""));
}

Test(ovs_plane, other_flows_and_groups_stay)
{
    cr_assert(do_ofctl("add-flow", "table=0,priority=7,tcp,actions=drop"));
    cr_assert(do_ofctl("add-group", "group_id=5,type=all,bucket=actions=drop"));
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    (void)n_differences(true);
    cr_assert_eq(apply(op_network_delete(1)), 0);
    open_plane();
    (void)sweep_all(&dp_ovs, dp, 0);
    cr_assert(has_flow("priority=7,tcp", "drop"));
    cr_assert(has_line("groups", "group_id=5", ""));
}

/* ---- numbers of ports */

Test(ovs_plane, numbers_are_exchanged_while_the_switch_is_down)
{
    put_basics();
    cr_assert_eq(apply(op_network(2, 200)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 2, "p2")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 2, "p2", M2)), 0);
    unsigned first = ofport("p0"), second = ofport("p2");
    ovs_kill_vswitchd(ovs);
    cr_assert(ovs_vsctl_ok(ovs,
                           "--no-wait set Interface p0 ofport_request=%u -- set Interface p2 "
                           "ofport_request=%u -- set Interface p0 ofport=%u -- set Interface p2 "
                           "ofport=%u",
                           second, first, second, first));
    ovs_start_vswitchd(ovs);
    await_disturbance();
    await_repair();
    cr_assert_eq(ofport("p0"), second, "the test's own premise");
    cr_assert(has_port_flow("p0", "set_field:0x1->reg0"));
    cr_assert(has_port_flow("p2", "set_field:0x2->reg0"));
    char output[32];
    snprintf(output, sizeof output, "output:%u", second);
    cr_assert(has_flow("reg0=0x1,dl_dst=" M1, output));
}

Test(ovs_plane, port_that_is_plugged_anew_has_its_flows_under_its_new_number)
{
    put_basics();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(ovs_vsctl_ok(ovs, "del-port p0 -- --id=@i create Interface name=p0 "
                                "ofport_request=77 -- --id=@p create Port name=p0 interfaces=@i -- "
                                "add Bridge br-int ports @p"));
    for (int i = 0; i < TRIES && !has_flow("in_port=77", "set_field:0x1->reg0"); i++) {
        usleep(10000);
        dp_ovs.serve(dp);
        (void)dp_ovs.is_disturbed(dp);
    }
    cr_assert(has_flow("in_port=77", "set_field:0x1->reg0"));
    cr_assert(has_flow("reg0=0x1,dl_dst=" M1, "output:77"));
    cr_assert_eq(n_differences(false), 0);
}

Test(ovs_plane, tunnel_port_that_somebody_takes_away_is_made_again)
{
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.2", 100, 1))), 0);
    unsigned before = ofport("emvxlan4789");
    cr_assert(ovs_vsctl_ok(ovs, "del-port emvxlan4789"));
    cr_assert(
        ovs_vsctl_ok(ovs, "add-port br-int p2 -- set Interface p2 ofport_request=%u", before));
    await_disturbance();
    await_repair();
    unsigned number = ofport("emvxlan4789");
    cr_assert_neq(number, before, "it is taken");
    char output[32], in_port[32];
    snprintf(output, sizeof output, "output:%u", number);
    snprintf(in_port, sizeof in_port, "in_port=%u", number);
    cr_assert(has_line("groups", "192.0.2.2", output));
    cr_assert(has_flow("table=120, priority=10,reg0=0x1", output));
    cr_assert(has_flow(in_port, "goto_table:100"));
}

/* ---- ports */

Test(ovs_plane, port_is_in_one_network)
{
    put_basics();
    cr_assert_eq(apply(op_network(2, 200)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 2, "p0")), -EBUSY);
    cr_assert(has_port_flow("p0", "set_field:0x1->reg0"));
    open_plane();
    cr_assert_eq(apply(op_network(2, 200)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_PUT, 2, "p0")), 0, "the earlier run's gives way");
    cr_assert(has_port_flow("p0", "set_field:0x2->reg0"));
    (void)sweep_all(&dp_ovs, dp, 0);
    cr_assert(has_port_flow("p0", "set_field:0x2->reg0"));
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 2, "p0")), 0);
    cr_assert_not(ovs_vsctl_shows(ovs, "list-ports br-int", "p0"));
}

static struct dp_op child(enum dp_verb verb, uint16_t vlan)
{
    struct dp_op op = op_port(verb, 1, "p0");
    op.vlan = vlan;
    return op;
}

Test(ovs_plane, children_are_told_by_their_tag)
{
    struct dp_op local = op_local(DP_LOCAL_PUT, 1, "p0", M1);

    put_basics();
    cr_assert_eq(apply(child(DP_PORT_PUT, 12)), 0);
    local.vlan = 12;
    cr_assert_eq(apply(local), 0);
    cr_assert(has_flow("dl_vlan=12", "pop_vlan"));
    cr_assert(has_flow("table=122, priority=10", "set_field:4108->vlan_vid"));
    cr_assert(has_flow("reg0=0x1,dl_dst=" M1, "resubmit(,122)"));
    cr_assert_eq(n_differences(false), 0);
    open_plane();
    put_basics();
    cr_assert_eq(apply(child(DP_PORT_PUT, 12)), 0);
    cr_assert_eq(apply(local), 0);
    cr_assert_eq(n_differences(false), 0);
    cr_assert_eq(apply(child(DP_PORT_DELETE, 12)), 0);
    cr_assert_not(has_flow("dl_vlan=12", ""));
    cr_assert_not(has_flow("dl_dst=" M1, ""));
    cr_assert_not(has_flow("table=122", ""));
    cr_assert(has_port_flow("p0", "set_field:0x1->reg0"));
}

Test(ovs_plane, device_stays_until_its_last_port_goes)
{
    put_basics();
    cr_assert_eq(apply(child(DP_PORT_PUT, 12)), 0);
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert(ovs_vsctl_shows(ovs, "list-ports br-int", "p0"));
    cr_assert_eq(apply(child(DP_PORT_DELETE, 12)), 0);
    cr_assert_not(ovs_vsctl_shows(ovs, "list-ports br-int", "p0"));
}

Test(ovs_plane, device_that_an_earlier_run_has_plugged_is_ours_without_its_flows_too)
{
    put_basics();
    dp_ovs.close(dp);
    dp = NULL;
    cr_assert(do_ofctl("del-flows", ""));
    open_plane();
    put_basics();
    cr_assert_eq(apply(op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_not(ovs_vsctl_shows(ovs, "list-ports br-int", "p0"));
}

/* ---- networks */

Test(ovs_plane, segmentation_id_and_mtu_are_looked_at)
{
    struct dp_op large = op_network(3, 300);

    put_basics();
    cr_assert_eq(apply(op_network(2, 100)), -EEXIST);
    cr_assert(has_flow("tun_id=0x64", "set_field:0x1->reg0"));
    cr_assert_eq(apply(op_mac(2, M1, 1)), -ENOENT);
    large.network.mtu = 1450;
    cr_assert_eq(apply(large), 0, "with 50 bytes more it just fits");
    large.network.mtu = 1451;
    cr_assert_eq(apply(large), -EMSGSIZE);
    cr_assert_eq(apply(op_network(1, 101)), 0);
    cr_assert_not(has_flow("tun_id=0x64", ""));
    cr_assert(has_flow("tun_id=0x65", "set_field:0x1->reg0"));
    cr_assert_eq(apply(op_network(2, 100)), 0);
}

/* ---- MACs and addresses */

Test(ovs_plane, port_security_is_as_configured_after_a_restart_too)
{
    put_basics();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(has_flow("table=101", "dl_src=" M1));
    is_open = true;
    open_plane();
    put_basics();
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(has_port_flow("p0", "goto_table:110"));
    (void)n_differences(true);
    cr_assert_not(has_flow("table=101", ""));
}

Test(ovs_plane, addresses_are_guarded_whenever_they_come)
{
    put_basics();
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(op_neigh(1, "2001:db8::1", M1)), 0);
    cr_assert_not(has_flow("table=102", "dl_src=" M1));
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(has_flow("table=102", "nw_src=10.0.0.1"));
    char *first = dump("flows");
    cr_assert_eq(apply(op_local(DP_LOCAL_DELETE, 1, "p0", M1)), 0);
    cr_assert_not(has_flow("table=102", "dl_src=" M1));
    cr_assert_eq(apply(op_neigh_delete(1, "10.0.0.1")), 0);
    cr_assert_eq(apply(op_neigh_delete(1, "2001:db8::1")), 0);
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert(has_flow("table=101", "goto_table:110"), "it has told none: it may use any");
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert(has_flow("table=101", "goto_table:102"));
    cr_assert_eq(apply(op_neigh(1, "2001:db8::1", M1)), 0);
    char *second = dump("flows");
    cr_assert_str_eq(first, second);
    cr_assert_eq(n_differences(false), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M2)), 0, "it is another's by now");
    cr_assert_not(has_flow("table=102", "nw_src=10.0.0.1"));
    cr_assert_eq(n_differences(false), 0);
    free(first);
    free(second);
}

Test(ovs_plane, mac_that_goes_and_comes_back_is_as_it_was)
{
    put_basics();
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    char *remote = dump("flows");
    cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    char *local = dump("flows");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
        char *now = dump("flows");
        cr_assert_str_eq(now, remote);
        free(now);
        cr_assert_eq(apply(op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
        now = dump("flows");
        cr_assert_str_eq(now, local);
        free(now);
    }
    cr_assert_eq(apply(op_set_delete(1)), 0, "nobody is there any more");
    free(remote);
    free(local);
}

Test(ovs_plane, put_is_a_use)
{
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
    uint64_t ms = 0, begin_ms = em_now_ms();

    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    while (ms < 50 && em_now_ms() - begin_ms < 20000)
        cr_assert_eq(dp_ovs.idle(dp, 1, mac, &ms), 0);
    cr_assert_geq(ms, 50);
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(dp_ovs.idle(dp, 1, mac, &ms), 0);
    cr_assert_eq(ms, 0);
}

Test(ovs_plane, question_between_the_turns_of_a_check_is_answered)
{
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
    uint64_t ms;
    unsigned n = 0;

    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert(do_ofctl("add-flow",
                       "cookie=0xe1d4000000000000,table=120,priority=20,reg0=8,dl_dst=" M2
                       ",actions=drop"));
    struct dp_check *check = dp_ovs.check_start(dp, true, note, &n);
    while (dp_ovs.check_step(check, 0))
        cr_assert_eq(dp_ovs.idle(dp, 1, mac, &ms), 0);
    cr_assert_eq(dp_ovs.check_end(check).err, 0);
    cr_assert_eq(n, 1);
    cr_assert_not(has_flow("dl_dst=" M2, ""));
}

/* ---- sets and places */

Test(ovs_plane, each_target_has_the_tunnel_that_it_takes)
{
    struct dp_target targets[4];

    for (int i = 0; i < 4; i++)
        targets[i] = test_target("192.0.2.2", 100, (uint8_t)(i + 2));
    targets[1].udp_port = 4790;
    targets[2].encap = EM_ENCAP_GENEVE;
    targets[3].encap = EM_ENCAP_GRE;
    put_basics();
    cr_assert_eq(apply(op_set(2, targets, 4)), 0);
    static const char *const names[] = {"emvxlan4789", "emvxlan4790", "emgeneve6081", "emgre"};
    for (int i = 0; i < 4; i++) {
        char output[32], weight[32];
        cr_assert_neq(ofport(names[i]), 0, "%s", names[i]);
        snprintf(output, sizeof output, "output:%u", ofport(names[i]));
        snprintf(weight, sizeof weight, "weight:%d", i + 2);
        cr_assert(has_line("groups", output, weight), "%s", names[i]);
        cr_assert(has_port_flow(names[i], "goto_table:100"));
    }
}

Test(ovs_plane, sets_of_up_to_64_targets)
{
    struct dp_target targets[65];

    for (int i = 0; i < 65; i++) {
        targets[i] = test_target("192.0.2.2", 100, 1);
        targets[i].ip.addr[3] = (uint8_t)(i + 2);
    }
    put_basics();
    cr_assert_eq(apply(op_set(2, targets, 64)), 0);
    cr_assert(has_line("groups", "set_field:192.0.2.65->tun_dst", "type=select"));
    cr_assert_eq(apply(op_set(2, targets, 65)), -E2BIG);
    cr_assert_eq(n_differences(false), 0);
}

static struct dp_op place(int i, const char *base)
{
    struct dp_op op = op_flood(DP_FLOOD_PUT, 1, test_target(base, 100, 1));
    op.target.ip.addr[op.target.ip.size - 2] = (uint8_t)(i >> 8);
    op.target.ip.addr[op.target.ip.size - 1] = (uint8_t)i;
    return op;
}

static size_t n_places(void)
{
    size_t n = 0;
    char *flows = dump("flows");
    for (const char *at = flows; (at = strstr(at, "->tun_id")); at++)
        n++;
    free(flows);
    return n;
}

Test(ovs_plane, places_are_as_many_as_a_message_holds_and_no_more)
{
    static struct dp_op ops[1002];

    put_basics();
    for (int i = 0; i < 1002; i++)
        ops[i] = place(i, "10.1.0.0");
    dp_ovs.apply(dp, ops, 500);
    cr_assert_eq(n_places(), 500);
    dp_ovs.apply(dp, ops, 1002);
    for (int i = 0; i < 1002; i++)
        cr_assert_eq(ops[i].err, i < 1000 ? 0 : -E2BIG, "%d: %d", i, ops[i].err);
    cr_assert_eq(n_places(), 1000);
    ops[0].verb = DP_FLOOD_DELETE;
    cr_assert_eq(apply(ops[0]), 0);
    cr_assert_eq(apply(ops[1001]), 0, "there is room again");
    cr_assert_eq(n_places(), 1000);
    open_plane();
    put_basics();
    cr_assert_eq(apply(ops[1000]), -E2BIG, "those of the earlier run count");
}

/* IPv6 places are larger, and children of a port than a port. */
Test(ovs_plane, list_that_is_too_long_is_an_error_of_the_last_op_and_the_old_one_stays)
{
    static struct dp_op ops[1301];

    put_basics();
    for (int i = 0; i < 1000; i++)
        ops[i] = place(i, "2001:db8::");
    for (int i = 0; i < 300; i++)
        ops[1000 + i] = child(DP_PORT_PUT, (uint16_t)(i + 1));
    ops[1300] = op_network(2, 200);
    dp_ovs.apply(dp, ops, 900);
    cr_assert_eq(n_places(), 900);
    dp_ovs.apply(dp, ops, 1301);
    for (int i = 0; i < 1301; i++)
        cr_assert_eq(ops[i].err, i == 1299 ? -E2BIG : 0, "%d: %d", i, ops[i].err);
    cr_assert_eq(n_places(), 900);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(apply(child(DP_PORT_DELETE, (uint16_t)(i + 1))), 0);
    cr_assert_eq(n_places(), 1000);
}

/* ---- a switch that dies or hangs */

Test(ovs_plane, switch_that_dies_is_put_right_when_it_is_back)
{
    struct dp_op ops[200];
    char mac[EM_MAC_TEXT];

    put_basics();
    for (int i = 0; i < 200; i++) {
        snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", i);
        ops[i] = op_mac(1, mac, 1);
    }
    kill(ovs->vswitchd, SIGKILL);
    dp_ovs.apply(dp, ops, 200);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(ops[i].err, -ENOBUFS);
    cr_assert_eq(apply(op_mac_delete(1, "02:00:00:00:01:00")), -ENOBUFS);
    ovs_kill_vswitchd(ovs);
    ovs_start_vswitchd(ovs);
    await_disturbance();
    await_repair();
    dp_ovs.apply(dp, ops, 200);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(ops[i].err, 0);
    cr_assert(has_flow("dl_dst=02:00:00:00:01:c7", "group:"));
    cr_assert(has_flow("dl_dst=02:00:00:00:01:00", "group:"));
    cr_assert_eq(n_differences(false), 0);
}

/* Its device has gone for good: the rest comes back without it. */
Test(ovs_plane, port_without_its_device_does_not_keep_a_check_from_the_rest)
{
    put_basics();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert(ovs_vsctl_ok(ovs, "del-port p0"));
    cr_assert(netns_ok("ip link del p0"));
    ovs_kill_vswitchd(ovs);
    ovs_start_vswitchd(ovs);
    await_disturbance();
    unsigned n = 0;
    cr_assert_eq(check_all(&dp_ovs, dp, true, note, &n).err, 0);
    cr_assert(has_flow("dl_dst=" M1, "group:"));
    cr_assert(has_flow("arp_tpa=10.0.0.1", "actions"));
    cr_assert_eq(n_differences(false), 1, "what is missing is told");
}

Test(ovs_plane, check_ends_when_the_switch_dies)
{
    unsigned n = 0;

    put_basics();
    struct dp_check *check = dp_ovs.check_start(dp, true, note, &n);
    (void)dp_ovs.check_step(check, 0);
    ovs_kill_vswitchd(ovs);
    ovs_start_vswitchd(ovs);
    await_disturbance();
    for (int i = 0; i < TRIES && dp_ovs.check_step(check, 0); i++)
        continue;
    cr_assert_eq(dp_ovs.check_end(check).err, -ENOTCONN);
    await_repair();
}

Test(ovs_plane, switch_that_hangs_holds_nobody_for_long)
{
    uint64_t begin_ms = em_now_ms();

    put_basics();
    kill(ovs->vswitchd, SIGSTOP);
    cr_assert_eq(apply(op_mac(1, M1, 1)), -ENOBUFS);
    cr_assert_eq(apply(op_mac(1, M2, 1)), -ENOBUFS);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(apply(op_mac(1, M2, 1)), -ENOBUFS);
        dp_ovs.serve(dp);
    }
    cr_assert_lt(em_now_ms() - begin_ms, 20000, "but for each of them");
    kill(ovs->vswitchd, SIGCONT);
    await_disturbance();
    await_repair();
    cr_assert_eq(apply(op_mac(1, M1, 1)), 0);
    cr_assert(has_flow("dl_dst=" M1, "group:"));
}

Test(ovs_plane, ports_and_tunnels_of_a_switch_that_hangs_cost_its_patience_once)
{
    struct dp_op ops[11];
    struct dp_target targets[10];
    uint64_t begin_ms = em_now_ms();

    put_basics();
    for (int i = 0; i < 10; i++) {
        targets[i] = test_target("192.0.2.2", 100, 1);
        targets[i].udp_port = (uint16_t)(5000 + i);
        ops[i] = op_set((uint32_t)i + 2, &targets[i], 1);
    }
    ops[10] = op_port(DP_PORT_PUT, 1, "p2");
    kill(ovs->vswitchd, SIGSTOP);
    dp_ovs.apply(dp, ops, 11);
    cr_assert_lt(em_now_ms() - begin_ms, 20000);
    for (int i = 0; i < 11; i++)
        cr_assert_eq(ops[i].err, -ENOBUFS, "%d: %d", i, ops[i].err);
    kill(ovs->vswitchd, SIGCONT);
    await_disturbance();
    dp_ovs.apply(dp, ops, 11);
    for (int i = 0; i < 11; i++)
        cr_assert_eq(ops[i].err, 0, "%d: %d", i, ops[i].err);
}
