/* The kernel data plane with a network of many endpoints: in turns that are short, and in a
 * time that is linear. */
#include "dataplane/kernel.h"

#include "base/clock.h"
#include "base/mem.h"
#include "xtr/checks.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC "02:00:00:00:00:01"

static struct dp *dp;
static struct dp_target target;

static void adopt(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why = NULL;

    dp_kernel.close(dp);
    cr_assert_eq(dp_kernel.open(&config, &dp, &why), 0, "%s", why);
}

static void apply_all(struct dp_op *ops, size_t n)
{
    dp_kernel.apply(dp, ops, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(ops[i].err, 0, "op %zu: %d", i, ops[i].err);
}

static void put_network(void)
{
    struct dp_op ops[] = {op_network(1, 100), op_set(1, &target, 1)};
    apply_all(ops, 2);
}

static void open_network(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && ip link set "
                       "u1 up && ip addr add 192.0.2.1/24 dev u0"));
    target = test_target("192.0.2.2", 100, 1);
    adopt();
    put_network();
}

static void close_network(void)
{
    dp_kernel.close(dp);
}

TestSuite(kernel_large, .init = open_network, .fini = close_network);

/* MAC and IPv4 each; ops are the caller's to free. */
static struct dp_op *many_endpoints(uint32_t n)
{
    struct dp_op *ops = em_calloc(2 * n, sizeof(*ops));

    for (uint32_t i = 0; i < n; i++) {
        ops[2 * i] = op_mac(1, MAC, 1);
        memcpy(ops[2 * i].mac + 2, &i, sizeof(i));
        ops[2 * i].mac[1] = 0x44;
        ops[2 * i + 1] = op_neigh(1, "10.1.0.0", MAC);
        memcpy(ops[2 * i + 1].ip.addr + 1, (uint8_t *)&i, 3);
        memcpy(ops[2 * i + 1].mac, ops[2 * i].mac, EM_MAC_SIZE);
    }
    return ops;
}

static void put_many(uint32_t n)
{
    struct dp_op *ops = many_endpoints(n);
    apply_all(ops, 2 * (size_t)n);
    free(ops);
}

struct kinds {
    int n_missing, n_wrong, n_extra, n_foreign;
};

static void count_kind(void *aux, const struct dp_difference *difference)
{
    struct kinds *kinds = aux;

    kinds->n_missing += strcmp(difference->kind, "missing") == 0;
    kinds->n_wrong += strcmp(difference->kind, "wrong") == 0;
    kinds->n_extra += strcmp(difference->kind, "extra") == 0;
    kinds->n_foreign += strcmp(difference->kind, "foreign") == 0;
}

static struct kinds check(bool is_repair)
{
    struct kinds kinds = {0};
    struct dp_check_result result = check_all(&dp_kernel, dp, is_repair, count_kind, &kinds);
    cr_assert_eq(result.err, 0, "%d", result.err);
    return kinds;
}

static bool is_clean(void)
{
    struct kinds kinds = check(false);
    return kinds.n_missing + kinds.n_wrong + kinds.n_extra + kinds.n_foreign == 0;
}

Test(kernel_large, all_that_was_flushed_is_found_and_put_back)
{
    put_many(3000);
    cr_assert(netns_ok("bridge fdb flush dev emx1 self && ip neigh flush dev emb1 nud permanent") ||
              netns_ok("for i in 1 2 3; do bridge fdb | awk '/^02:44.* self/ { print \"fdb del \" "
                       "$1 \" dev emx1 self\" }' | bridge -force -batch -; done; "
                       "ip neigh flush dev emb1 nud permanent"));
    struct kinds kinds = check(true);
    cr_assert_eq(kinds.n_missing, 6000, "%d", kinds.n_missing);
    cr_assert(is_clean());
}

Test(kernel_large, devices_that_were_deleted_come_back_with_all_entries)
{
    put_many(3000);
    cr_assert(netns_ok("ip link del emb1 && ip link del emx1"));
    (void)check(true);
    cr_assert(is_clean());
    char *n = netns_run("bridge fdb show dev emx1 | grep -c '02:44.*nhid'; "
                        "ip neigh show dev emb1 | grep -c 'proto 225'");
    cr_assert_str_eq(n, "3000\n3000\n");
    free(n);
}

Test(kernel_large, another_vni_leaves_the_entries_to_a_check)
{
    struct dp_op op = op_network(1, 101);

    put_many(3000);
    (void)dp_kernel.is_disturbed(dp);
    apply_all(&op, 1);
    cr_assert(dp_kernel.is_disturbed(dp), "a check is due at once");
    (void)check(true);
    cr_assert(is_clean());
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44", "vni 100 self"));
}

Test(kernel_large, strangers_entry_in_the_way_is_left_and_extra_ones_are_not_looked_for)
{
    struct kinds kinds = {0};

    put_many(1001);
    cr_assert(
        netns_ok("bridge fdb del 02:44:05:00:00:00 dev emx1 self && "
                 "bridge fdb add 02:44:05:00:00:00 dev emx1 dst 192.0.2.77 self && "
                 "ip neigh del 10.9.0.0 dev emb1 && ip neigh add 10.9.0.0 lladdr " MAC
                 " dev emb1 nud permanent && "
                 "bridge fdb add 02:77:00:00:00:00 dev emx1 dst 192.0.2.2 self extern_learn"));
    struct dp_check_result result = check_all(&dp_kernel, dp, true, count_kind, &kinds);
    cr_assert_eq(result.n_undumped, 1);
    cr_assert_eq(result.n_blocked, 2);
    cr_assert_eq(kinds.n_foreign, 2);
    cr_assert_eq(kinds.n_missing + kinds.n_wrong + kinds.n_extra, 0);
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44:05:00:00:00", "dst 192.0.2.77"));
    cr_assert(netns_shows("ip neigh show 10.9.0.0 dev emb1", MAC));
}

/* Half of the entries are told once more, half are swept. */
Test(kernel_large, twenty_thousand_entries_of_an_earlier_run_are_adopted)
{
    enum { N = 10000 };
    struct dp_op *ops = many_endpoints(N);

    apply_all(ops, 2 * N);
    uint64_t n = dp_kernel.count(dp);
    cr_assert_gt(n, 2 * N);
    uint64_t begin = em_now_ms();
    adopt();
    fprintf(stderr, "adopted %d entries in %d ms\n", 2 * N, (int)(em_now_ms() - begin));
    cr_assert_eq(dp_kernel.count(dp), n);
    put_network();
    apply_all(ops, N);
    cr_assert_eq(dp_nl_n_sent(dp->nl), 0, "what stands is not sent again");
    cr_assert_eq(sweep_all(&dp_kernel, dp, 1), N);
    cr_assert_eq(dp_kernel.count(dp), n - N);
    cr_assert(is_clean());
    free(ops);
}

/* A MAC of the network, with no address; by the number that none of many_endpoints() has. */
static struct dp_op lone_mac(uint8_t number)
{
    struct dp_op op = op_mac(1, MAC, 1);
    op.mac[4] = 0x77;
    op.mac[5] = number;
    return op;
}

static uint32_t count_guessed(const struct dp_op *ops, uint32_t n)
{
    uint32_t n_guessed = 0;

    for (uint32_t i = 0; i < n; i++)
        if (ops[i].verb == DP_MAC_PUT)
            n_guessed += !!(dp_shadow_mac(&dp->shadow, 1, ops[i].mac)->flags & DP_GUESSED);
    return n_guessed;
}

/* 40,000 FDB entries: too many for a dump.  Each MAC that it has not shown whole is told by one
 * message, over what stands. */
Test(kernel_large, entries_of_an_earlier_run_that_are_too_many_to_dump_are_guessed)
{
    enum { N = 20000 };
    struct dp_op *ops = many_endpoints(N);

    apply_all(ops, 2 * N);
    uint64_t n = dp_kernel.count(dp);
    adopt();
    cr_assert_eq(dp_kernel.count(dp), n);
    put_network();
    uint32_t n_guessed = count_guessed(ops, N);
    cr_assert_gt(n_guessed, 0);
    apply_all(ops, N);
    cr_assert_eq(dp_nl_n_sent(dp->nl), n_guessed, "one message each, so no delete");
    cr_assert_eq(sweep_all(&dp_kernel, dp, 0), 0, "nothing that may be in use");
    cr_assert_eq(sweep_all(&dp_kernel, dp, 1), N);
    cr_assert_eq(dp_kernel.count(dp), n - N);
    cr_assert(is_clean());
    char *left = netns_run("bridge fdb show dev emx1 | grep -c '02:44.*nhid'");
    cr_assert_eq(atoi(left), N / 2, "%s", left);
    free(left);
    free(ops);
}

Test(kernel_large, entry_that_was_neither_dumped_nor_guessed_can_be_put_and_deleted)
{
    struct dp_op kept = lone_mac(1), gone = lone_mac(2), moved = lone_mac(3);

    put_many(20000);
    apply_all(&kept, 1);
    apply_all(&gone, 1);
    apply_all(&moved, 1);
    cr_assert(
        netns_ok("bridge fdb del 02:00:00:00:77:03 dev emx1 self && "
                 "bridge fdb add 02:00:00:00:77:03 dev emx1 dst 192.0.2.9 self extern_learn"));
    adopt();
    put_network();
    apply_all(&kept, 1);
    apply_all(&moved, 1);
    gone.verb = DP_MAC_DELETE;
    apply_all(&gone, 1);
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:00:00:00:77:01", "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:00:00:00:77:03", "nhid"));
    cr_assert_not(netns_shows("bridge fdb show", "02:00:00:00:77:02"));
}

Test(kernel_large, guess_that_is_wrong_is_put_right_and_strangers_stay)
{
    struct dp_op *ops = many_endpoints(20000);

    apply_all(ops, 40000);
    cr_assert(
        netns_ok("bridge fdb del 02:44:05:00:00:00 dev emx1 self && "
                 "bridge fdb add 02:44:05:00:00:00 dev emx1 dst 192.0.2.9 self extern_learn && "
                 "bridge fdb del 02:44:06:00:00:00 dev emx1 self && "
                 "bridge fdb add 02:44:06:00:00:00 dev emx1 dst 192.0.2.77 self && "
                 "bridge fdb del 02:44:07:00:00:00 dev emx1 master && "
                 "bridge fdb del 02:44:07:00:00:00 dev emx1 self"));
    adopt();
    put_network();
    dp_kernel.apply(dp, ops, 40000);
    cr_assert_eq(ops[2 * 6].err, -EEXIST);
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44:05:00:00:00", "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44:06:00:00:00", "dst 192.0.2.77"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44:07:00:00:00", "nhid"));
    cr_assert(netns_has_line("bridge fdb show dev emx1", "02:44:07:00:00:00", "master emb1"));
    free(ops);
}

static void keep_limit(void *aux, const char *object, const char *text)
{
    snprintf(aux, 400, "%s: %s", object, text);
}

Test(kernel_large, device_with_too_many_entries_for_its_kernel_is_told)
{
    char limit[400] = "";

    put_many(16001);
    dp->version = (struct dp_version){6, 16};
    dp_kernel.limits(dp, keep_limit, limit);
    cr_assert_not(strstr(limit, "emx1"), "%s", limit);
    dp->version = (struct dp_version){6, 1};
    dp_kernel.limits(dp, keep_limit, limit);
    cr_assert(strstr(limit, "emx1: vxlan device emx1 has 16001 entries"), "%s", limit);
}

Test(kernel_large, thresholds_of_the_neighbour_tables_are_read_in_any_namespace)
{
    char limit[400] = "";
    uint32_t n_nexthops = dp->shadow.nexthops.len;

    put_many(1100);
    dp->version = (struct dp_version){6, 1};
    dp->shadow.nexthops.len = 1u << 31; /* as if there were as many nodes */
    dp_kernel.limits(dp, keep_limit, limit);
    dp->shadow.nexthops.len = n_nexthops;
    cr_assert(strstr(limit, "IPv4: ") && strstr(limit, "gc_thresh3"), "%s", limit);
}

/* Not asserted: the machine's figure, for the log. */
Test(kernel_large, install_rate_is_shown)
{
    enum { N = 20000 };
    struct dp_op *ops = many_endpoints(N);

    for (int pass = 0; pass < 2; pass++) {
        uint64_t start = em_now_us();
        apply_all(ops, 2 * N);
        uint64_t took = em_now_us() - start;
        fprintf(stderr, "%s %d endpoints (MAC + IPv4): %.0f/s\n", pass ? "unchanged" : "installed",
                N, N * 1e6 / (double)(took ? took : 1));
    }
    free(ops);
}

static uint64_t longest_turn(bool is_repair)
{
    struct kinds kinds = {0};
    struct dp_check *check = dp_kernel.check_start(dp, is_repair, count_kind, &kinds);
    uint64_t longest = 0;
    int n_turns = 0;

    for (bool has_more = true; has_more; n_turns++) {
        uint64_t begin = em_now_us();
        has_more = dp_kernel.check_step(check, 1000);
        longest = em_now_us() - begin > longest ? em_now_us() - begin : longest;
    }
    cr_assert_eq(dp_kernel.check_end(check).err, 0);
    cr_assert_gt(n_turns, 5);
    return longest / 1000;
}

static uint64_t longest_sweep(int expected)
{
    uint64_t longest = 0;
    int n_calls = 0;

    for (int n = 1; n > 0; expected -= n) {
        uint64_t begin = em_now_us();
        n = dp_kernel.sweep(dp, 1);
        cr_assert_geq(n, 0);
        n_calls++;
        longest = em_now_us() - begin > longest ? em_now_us() - begin : longest;
    }
    cr_assert_eq(expected, 0);
    cr_assert_gt(n_calls, 5);
    return longest / 1000;
}

/* Each of these holds the agent's loop: a heartbeat is due every five seconds.  A loaded
 * machine adds tens of milliseconds to any turn. */
Test(kernel_large, ten_thousand_endpoints_hold_no_heartbeat_up)
{
    enum { N = 10000, LIMIT_MS = 500 };

    put_many(N);
    uint64_t check = longest_turn(false);
    cr_assert(netns_ok("ip link del emb1; ip link del emx1"));
    uint64_t repair = longest_turn(true);
    adopt();
    put_network();
    uint64_t sweep = longest_sweep(2 * N);
    fprintf(stderr,
            "%d endpoints: longest turn of a check %d ms, of a repair %d ms, of a sweep %d "
            "ms\n",
            N, (int)check, (int)repair, (int)sweep);
    cr_assert(check < LIMIT_MS && repair < LIMIT_MS && sweep < LIMIT_MS);
}
