/* Operations that Open vSwitch is told and that nobody waits for, on a real one: their results, in
 * their order, and when it is slow, hangs or dies meanwhile.  The witness is ovs-ofctl. */
#include "base/clock.h"
#include "xtr/netns.h"
#include "xtr/ops.h"
#include "xtr/ovs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define A_BATCH   100
#define N_BATCHES 40
#define LARGE     3000  /* MACs: their flow-mods are more than a socket takes */
#define WAIT_MS   20000 /* more than the patience with a switch that hangs */
#define N_WAITS   5000  /* of the loops that look on, at most */

static struct ovs *ovs;
static struct dp *dp;
static struct dp_op ops[N_BATCHES * A_BATCH];

static void open_plane(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")},
                               .udp_port = 4789,
                               .database = ovs->remote,
                               .run_dir = ovs->dir,
                               .datapath_type = "netdev"};
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    char *why = NULL;

    dp_ovs.close(dp);
    cr_assert_eq(dp_ovs.open(&config, &dp, &why), 0, "%s", why);
    cr_assert_eq(op_apply(&dp_ovs, dp, op_network(1, 100)), 0);
    cr_assert_eq(op_apply(&dp_ovs, dp, op_set(1, &target, 1)), 0);
}

static void set_up(void)
{
    if (!ovs_is_permitted())
        cr_skip_test("no Open vSwitch, or no permission to make a network namespace");
    ovs = ovs_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                       "ip link set u1 up && ip addr add 192.0.2.1/24 dev u0"));
    open_plane();
    for (unsigned i = 0; i < N_BATCHES * A_BATCH; i++) {
        char mac[EM_MAC_TEXT];
        snprintf(mac, sizeof mac, "02:00:00:00:%02x:%02x", i >> 8, i & 0xff);
        ops[i] = op_mac(1, mac, 1);
        ops[i].err = 1;
    }
}

static void tear_down(void)
{
    dp_ovs.close(dp);
    ovs_stop(ovs);
}

TestSuite(ovs_flight, .init = set_up, .fini = tear_down, .timeout = 100);

/* As the agent's loop does: serves the data plane when its descriptor says so, and then only. */
static bool is_reached(uint64_t start)
{
    struct pollfd fd = {.fd = dp_ovs.fd(dp), .events = POLLIN};
    for (int i = 0; dp_ovs.reached(dp) < start && i < N_WAITS; i++) {
        if (poll(&fd, 1, WAIT_MS) != 1)
            return false;
        (void)dp_ovs.serve(dp);
    }
    return dp_ovs.reached(dp) >= start;
}

static unsigned n_flows(void)
{
    char *text = netns_run("ovs-ofctl -O OpenFlow14 dump-flows unix:%s/br-int.mgmt table=120 | "
                           "grep -c dl_dst=02:",
                           ovs->dir);
    unsigned n = (unsigned)atoi(text);
    free(text);
    return n;
}

static void assert_results(size_t n, int err)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ops[i].err, err, "%zu: %d", i, ops[i].err);
}

Test(ovs_flight, nobody_waits_for_a_switch_that_does_nothing_now)
{
    uint64_t last = 0;

    kill(ovs->vswitchd, SIGSTOP);
    uint64_t begin_ms = em_now_ms();
    for (int i = 0; i < 3; i++)
        last = dp_ovs.start(dp, ops + i * A_BATCH, A_BATCH);
    cr_assert_lt(em_now_ms() - begin_ms, 4000);
    cr_assert_eq(dp_ovs.reached(dp), last - 3);
    kill(ovs->vswitchd, SIGCONT);
    cr_assert(is_reached(last));
    assert_results(3 * A_BATCH, 0);
    cr_assert_eq(n_flows(), 3 * A_BATCH);
}

Test(ovs_flight, what_is_no_news_to_the_switch_is_done_at_once)
{
    dp_ovs.apply(dp, ops, A_BATCH);
    kill(ovs->vswitchd, SIGSTOP);
    uint64_t start = dp_ovs.start(dp, ops, A_BATCH);
    cr_assert_eq(dp_ovs.reached(dp), start);
    start = dp_ovs.start(dp, ops, A_BATCH + 1);
    cr_assert_lt(dp_ovs.reached(dp), start);
    start = dp_ovs.start(dp, ops, A_BATCH);
    cr_assert_lt(dp_ovs.reached(dp), start, "not before what came before");
    kill(ovs->vswitchd, SIGCONT);
    cr_assert(is_reached(start));
    assert_results(A_BATCH + 1, 0);
}

Test(ovs_flight, batches_may_be_more_than_there_is_room_for)
{
    uint64_t last = 0;

    for (int i = 0; i < N_BATCHES; i++)
        last = dp_ovs.start(dp, ops + i * A_BATCH, A_BATCH);
    cr_assert(is_reached(last));
    assert_results(N_BATCHES * A_BATCH, 0);
    cr_assert_eq(n_flows(), N_BATCHES * A_BATCH);
}

Test(ovs_flight, what_the_socket_does_not_take_follows_by_itself)
{
    kill(ovs->vswitchd, SIGSTOP);
    uint64_t start = dp_ovs.start(dp, ops, LARGE);
    kill(ovs->vswitchd, SIGCONT);
    cr_assert(is_reached(start));
    assert_results(LARGE, 0);
    cr_assert_eq(n_flows(), LARGE);
}

/* Somebody has removed our groups. */
Test(ovs_flight, refusal_is_the_error_of_its_op_and_the_next_put_sends_it_again)
{
    struct dp_target target = test_target("192.0.2.3", 100, 1);
    struct dp_op set = op_set(2, &target, 1);

    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 del-groups unix:%s/br-int.mgmt", ovs->dir));
    ops[1].set.id = ops[A_BATCH + 1].set.id = 2;
    (void)dp_ovs.start(dp, &set, 1);
    (void)dp_ovs.start(dp, ops, 2);
    cr_assert(is_reached(dp_ovs.start(dp, ops + A_BATCH, 2)));
    cr_assert_eq(set.err, 0);
    cr_assert_eq(ops[0].err, -ENOENT, "%d", ops[0].err);
    cr_assert_eq(ops[A_BATCH].err, -ENOENT, "%d", ops[A_BATCH].err);
    cr_assert_eq(ops[1].err, 0);
    cr_assert_eq(ops[A_BATCH + 1].err, 0);
    cr_assert_eq(n_flows(), 2);
    set.set.id = 1;
    cr_assert_eq(op_apply(&dp_ovs, dp, set), -ENOENT, "there is nothing to change");
    cr_assert_eq(op_apply(&dp_ovs, dp, set), 0);
    cr_assert(is_reached(dp_ovs.start(dp, ops, 2)));
    assert_results(2, 0);
    cr_assert_eq(n_flows(), 3);
}

/* The second put finds the shadow as it wants it, and sends nothing. */
Test(ovs_flight, refusal_is_that_of_the_same_put_again_meanwhile)
{
    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 del-groups unix:%s/br-int.mgmt", ovs->dir));
    ops[1] = ops[0];
    (void)dp_ovs.start(dp, ops, 1);
    cr_assert(is_reached(dp_ovs.start(dp, ops + 1, 1)));
    cr_assert_eq(ops[0].err, -ENOENT, "%d", ops[0].err);
    cr_assert_eq(ops[1].err, -ENOENT, "%d", ops[1].err);
}

Test(ovs_flight, refusal_is_that_of_the_same_put_in_one_batch)
{
    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 del-groups unix:%s/br-int.mgmt", ovs->dir));
    ops[1] = ops[0];
    dp_ovs.apply(dp, ops, 2);
    assert_results(2, -ENOENT);
}

Test(ovs_flight, port_without_its_device_sends_nothing)
{
    (void)dp_ovs.is_disturbed(dp);
    cr_assert_eq(op_apply(&dp_ovs, dp, op_port(DP_PORT_PUT, 1, "none")), -ENODEV);
    kill(ovs->vswitchd, SIGSTOP);
    uint64_t begin_ms = em_now_ms();
    (void)dp_ovs.is_disturbed(dp);
    kill(ovs->vswitchd, SIGCONT);
    cr_assert_lt(em_now_ms() - begin_ms, 4000, "it has waited for the switch");
}

Test(ovs_flight, what_lands_while_another_waits_is_news)
{
    struct pollfd fd = {.fd = dp_ovs.fd(dp), .events = POLLIN};
    uint64_t start = dp_ovs.start(dp, ops, A_BATCH);
    dp_ovs.apply(dp, ops + A_BATCH, A_BATCH);
    cr_assert_geq(dp_ovs.reached(dp), start);
    cr_assert_eq(poll(&fd, 1, WAIT_MS), 1, "the descriptor says nothing");
}

/* ---- a switch with many ports: flow-mods go in bundles */

static void add_many_ports(void)
{
    cr_assert(netns_ok("for i in $(seq 200); do echo \"-- add-port br-int x$i -- set Interface x$i "
                       "type=patch options:peer=y$i\"; done | xargs ovs-vsctl --db=%s",
                       ovs->remote));
    open_plane();
}

Test(ovs_flight, bundles_come_into_force_with_all_that_is_in_them)
{
    uint64_t last = 0;

    add_many_ports();
    for (int i = 0; i < N_BATCHES; i++)
        last = dp_ovs.start(dp, ops + i * A_BATCH, A_BATCH);
    cr_assert(is_reached(last));
    assert_results(N_BATCHES * A_BATCH, 0);
    cr_assert_eq(n_flows(), N_BATCHES * A_BATCH);
}

/* A group is gone: the flow that leads there would take all that are in its bundle with it. */
Test(ovs_flight, refusal_of_one_in_a_bundle_is_found_and_the_others_are_put_without)
{
    struct dp_target target = test_target("192.0.2.3", 100, 1);
    struct dp_op set = op_set(2, &target, 1);

    add_many_ports();
    (void)dp_ovs.is_disturbed(dp);
    cr_assert_eq(op_apply(&dp_ovs, dp, set), 0);
    dp_ovs.apply(dp, ops + 90, 10); /* these are no news any more */
    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 del-groups unix:%s/br-int.mgmt group_id=%u",
                       ovs->dir, 0x0e100001));
    ops[5].set.id = 2;
    dp_ovs.apply(dp, ops, A_BATCH);
    cr_assert_eq(ops[5].err, -ENOENT, "%d", ops[5].err);
    cr_assert_eq(ops[0].err, -ENOBUFS, "%d", ops[0].err);
    cr_assert_eq(ops[89].err, -ENOBUFS, "%d", ops[89].err);
    cr_assert_eq(ops[90].err, 0, "%d", ops[90].err);
    cr_assert_eq(n_flows(), 10);
    cr_assert(dp_ovs.is_disturbed(dp));
    dp_ovs.apply(dp, ops, A_BATCH);
    for (int i = 0; i < A_BATCH; i++)
        cr_assert_eq(ops[i].err, i == 5 ? -ENOENT : 0, "%d: %d", i, ops[i].err);
    cr_assert_eq(n_flows(), A_BATCH - 1);
}

Test(ovs_flight, network_in_a_bundle_that_is_refused_is_put_by_the_next_op)
{
    static struct dp_op batch[A_BATCH];

    add_many_ports();
    (void)dp_ovs.is_disturbed(dp);
    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 del-groups unix:%s/br-int.mgmt", ovs->dir));
    batch[0] = op_network(2, 200);
    for (int i = 1; i < A_BATCH; i++)
        batch[i] = ops[i];
    dp_ovs.apply(dp, batch, A_BATCH);
    cr_assert_eq(batch[0].err, -ENOBUFS, "%d", batch[0].err);
    cr_assert(netns_ok(
        "! ovs-ofctl -O OpenFlow14 dump-flows unix:%s/br-int.mgmt | grep tun_id=0xc8", ovs->dir));
    cr_assert_eq(op_apply(&dp_ovs, dp, op_network(2, 200)), 0);
    cr_assert(netns_ok("ovs-ofctl -O OpenFlow14 dump-flows unix:%s/br-int.mgmt | grep tun_id=0xc8",
                       ovs->dir));
}

/* ---- a switch that dies or hangs */

Test(ovs_flight, connection_that_is_lost_ends_them_all)
{
    uint64_t last = 0;

    kill(ovs->vswitchd, SIGSTOP);
    for (int i = 0; i < 3; i++)
        last = dp_ovs.start(dp, ops + i * A_BATCH, A_BATCH);
    ovs_kill_vswitchd(ovs);
    cr_assert(is_reached(last));
    assert_results(3 * A_BATCH, -ENOBUFS);
    cr_assert_eq(dp_ovs.start(dp, ops, A_BATCH), last + 1);
    cr_assert_eq(dp_ovs.reached(dp), last + 1, "nobody is there to wait for");
    assert_results(A_BATCH, -ENOBUFS);
}

/* The agent asks once a second. */
Test(ovs_flight, switch_that_hangs_ends_them_when_patience_is_over)
{
    kill(ovs->vswitchd, SIGSTOP);
    uint64_t start = dp_ovs.start(dp, ops, A_BATCH), begin_ms = em_now_ms();
    while (dp_ovs.reached(dp) < start && em_now_ms() - begin_ms < WAIT_MS) {
        (void)poll(NULL, 0, 100);
        (void)dp_ovs.is_disturbed(dp);
    }
    cr_assert_eq(dp_ovs.reached(dp), start);
    assert_results(A_BATCH, -ENOBUFS);
    kill(ovs->vswitchd, SIGCONT);
}

Test(ovs_flight, close_waits_for_what_is_under_way)
{
    (void)dp_ovs.start(dp, ops, LARGE);
    dp_ovs.close(dp);
    dp = NULL;
    assert_results(LARGE, 0);
    cr_assert_eq(n_flows(), LARGE);
}
