#include "cache_state.h"

#include "choose.h"
#include "xtr/tables.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct xtr_mapcache *cache;
static struct tables *tables;

static void setup(void)
{
    struct xtr_mapcache_config config = {.node_id = "h0", .has_ipv4 = true, .udp_port = 4789};
    cache = xtr_mapcache_new(&config);
    tables = tables_new();
}

static void teardown(void)
{
    xtr_mapcache_free(cache);
    tables_free(tables);
}

static size_t drain(size_t max_batches)
{
    struct dp_op ops[XTR_OPS_MAX];
    size_t n_ops = 0;
    while (max_batches-- && xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MIN + (size_t)rand() % 61);
        tables_apply(tables, ops, n);
        xtr_mapcache_applied(cache);
        n_ops += n;
    }
    return n_ops;
}

/* Records */

static struct em_port_id port_id(const char *text)
{
    struct em_port_id id;
    cr_assert(eq(int, em_port_id_parse(text, &id, NULL), 0), "%s", text);
    return id;
}

static struct em_eid eid(const char *text)
{
    char buf[EM_EID_TEXT];
    struct em_eid e;
    cr_assert(eq(int, em_eid_parse(text, &e, buf, NULL), 0), "%s", text);
    return e;
}

static struct em_rloc rloc(const char *text)
{
    struct em_rloc r = {.encap = EM_ENCAP_VXLAN};
    cr_assert(eq(int, em_ip_parse(text, &r.ip, NULL), 0));
    return r;
}

static void feed(uint32_t network, const struct em_change *changes, size_t n, bool is_start_over,
                 bool is_complete)
{
    static uint64_t revision;
    struct em_feed page = {.network_id = network,
                           .revision = ++revision,
                           .changes = changes,
                           .n_changes = n,
                           .is_start_over = is_start_over,
                           .is_complete = is_complete};
    xtr_mapcache_feed(cache, &page);
}

static void feed_node(const char *id, const char *ip, enum em_node_state state)
{
    struct em_rloc r = rloc(ip);
    struct em_node node = {.id = id, .rlocs = &r, .n_rlocs = 1, .state = state};
    struct em_change change = {.object = EM_OBJECT_NODE, .node = &node};
    feed(0, &change, 1, false, true);
}

static void feed_network(uint32_t id, uint32_t vni, enum em_flood flood)
{
    char name[16];
    snprintf(name, sizeof name, "net%u", id);
    struct em_network network = {.id = id, .name = name, .segmentation_id = vni, .flood = flood};
    struct em_change change = {.object = EM_OBJECT_NETWORK, .network = &network};
    feed(0, &change, 1, false, true);
}

static struct em_location at(const char *node, uint32_t vni)
{
    return (struct em_location){.node_id = node, .segmentation_id = vni};
}

static void feed_port(uint32_t network, const char *id, const char *mac, const char *ip,
                      const struct em_location *locations, size_t n)
{
    struct em_eid eids[2] = {eid(mac)};
    if (ip)
        eids[1] = eid(ip);
    struct em_port port = {.id = port_id(id),
                           .network_id = network,
                           .eids = eids,
                           .n_eids = ip ? 2 : 1,
                           .locations = locations,
                           .n_locations = n};
    struct em_change change = {.object = EM_OBJECT_PORT, .port = &port};
    feed(network, &change, 1, false, true);
}

static void feed_gone(uint32_t network, const char *id)
{
    struct em_change change = {.object = EM_OBJECT_PORT, .is_gone = true, .gone_port = port_id(id)};
    feed(network, &change, 1, false, true);
}

static void two_networks(void)
{
    feed_network(1, 100, EM_FLOOD_BROADCAST);
    feed_network(2, 200, EM_FLOOD_BROADCAST);
    feed_node("h1", "192.0.2.1", EM_NODE_REACHABLE);
    feed_node("h2", "192.0.2.2", EM_NODE_REACHABLE);
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
    cr_assert(eq(int, xtr_mapcache_open(cache, 2, 0), 0));
}

static void stands(const char *expected)
{
    drain(SIZE_MAX);
    char *shown = tables_show(tables);
    cr_assert(eq(str, shown, (char *)expected));
    free(shown);
}

TestSuite(mapcache, .init = setup, .fini = teardown);

Test(mapcache, a_remote_port_gives_mac_neighbour_and_flood_entry)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", "10.0.0.1", &l, 1);
    stands("flood 1 192.0.2.1:0/100\n"
           "ip 1 10.0.0.1 02:00:00:00:00:01\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, overlapping_addresses_of_two_networks_are_separate)
{
    two_networks();
    struct em_location a = at("h1", 100), b = at("h2", 200);
    feed_port(1, "p1", "02:00:00:00:00:01", "10.0.0.1", &a, 1);
    feed_port(2, "p2", "02:00:00:00:00:01", "10.0.0.1", &b, 1);
    feed_gone(1, "p1");
    stands("flood 2 192.0.2.2:0/200\n"
           "ip 2 10.0.0.1 02:00:00:00:00:01\n"
           "mac 2 02:00:00:00:00:01 -> 192.0.2.2:0/200*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, ports_at_the_same_places_share_a_set_and_a_node_change_is_one_op)
{
    two_networks();
    struct em_location l = at("h1", 100);
    for (int i = 0; i < 50; i++) {
        char id[16], mac[32];
        snprintf(id, sizeof id, "p%d", i);
        snprintf(mac, sizeof mac, "02:00:00:00:00:%02x", i);
        feed_port(1, id, mac, NULL, &l, 1);
    }
    drain(SIZE_MAX);
    cr_assert(eq(sz, tables_n_sets(tables), 1));
    feed_node("h1", "192.0.2.77", EM_NODE_REACHABLE);
    cr_assert(eq(sz, drain(SIZE_MAX), 3), "one set, and one flood entry out and in");
    feed_node("h2", "192.0.2.78", EM_NODE_REACHABLE);
    cr_assert(eq(sz, drain(SIZE_MAX), 0), "nobody is at h2");
}

Test(mapcache, a_standby_takes_over_when_the_first_node_is_unreachable)
{
    two_networks();
    struct em_location l[] = {at("h1", 100), at("h2", 100)};
    l[1].priority = 1;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
    drain(SIZE_MAX);
    feed_node("h1", "192.0.2.1", EM_NODE_UNREACHABLE);
    stands("flood 1 192.0.2.1:0/100\nflood 1 192.0.2.2:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.2:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

static size_t n_probed(uint32_t *ret_ms)
{
    struct xtr_peer peer;
    size_t n = 0;
    xtr_mapcache_plan_probes(cache);
    for (uint32_t at = 0; xtr_mapcache_next_peer(cache, &at, &peer);)
        if (peer.probe_ms) {
            *ret_ms = peer.probe_ms;
            n++;
        }
    return n;
}

static void feed_probe(uint32_t id, uint32_t vni, uint32_t probe_ms)
{
    char name[16];
    snprintf(name, sizeof name, "net%u", id);
    struct em_network network = {
        .id = id, .name = name, .segmentation_id = vni, .probe_ms = probe_ms};
    struct em_change change = {.object = EM_OBJECT_NETWORK, .network = &network};
    feed(0, &change, 1, false, true);
}

Test(mapcache, a_standby_takes_over_when_the_first_node_is_silent_before_what_waits)
{
    two_networks();
    struct em_location l[] = {at("h1", 100), at("h2", 100)};
    l[1].priority = 1;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
    drain(SIZE_MAX);
    feed_port(2, "p2", "02:00:00:00:00:02", NULL, &l[1], 1);
    feed_port(2, "p3", "02:00:00:00:00:03", NULL, &l[1], 1);
    xtr_mapcache_silence(cache, "h1", true);
    struct dp_op ops[XTR_OPS_MIN];
    size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MIN);
    cr_assert(eq(int, (int)ops[0].verb, DP_SET_PUT));
    cr_assert(eq(u32, ops[0].network.id, 1));
    cr_assert(eq(sz, ops[0].set.n_targets, 1));
    cr_assert(eq(u8, ops[0].set.targets[0].ip.addr[3], 2));
    tables_apply(tables, ops, n);
    xtr_mapcache_applied(cache);
    drain(SIZE_MAX);
    xtr_mapcache_silence(cache, "h1", true);
    cr_assert(eq(sz, drain(SIZE_MAX), 0), "it is known already");
    xtr_mapcache_silence(cache, "h1", false);
    cr_assert(eq(sz, drain(SIZE_MAX), 1), "one set");
    feed_gone(2, "p2");
    feed_gone(2, "p3");
    stands("flood 1 192.0.2.1:0/100\nflood 1 192.0.2.2:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, silence_cuts_no_port_that_has_no_better_place)
{
    two_networks();
    struct em_location l[] = {at("h1", 100), at("h2", 100)};
    l[1].priority = 1;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 1);
    feed_port(1, "p2", "02:00:00:00:00:02", NULL, l, 2);
    feed_node("h2", "192.0.2.2", EM_NODE_UNREACHABLE);
    drain(SIZE_MAX);
    xtr_mapcache_silence(cache, "h1", true);
    xtr_mapcache_silence(cache, "nobody", true);
    stands("flood 1 192.0.2.1:0/100\nflood 1 192.0.2.2:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n"
           "mac 1 02:00:00:00:00:02 -> 192.0.2.1:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, a_silent_node_of_a_set_that_goes_is_no_harm)
{
    two_networks();
    struct em_location l[] = {at("h1", 100), at("h2", 100)};
    l[1].priority = 1;
    for (int i = 0; i < 100; i++) {
        feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
        drain((size_t)rand() % 3);
        xtr_mapcache_silence(cache, "h1", rand() % 2);
        drain((size_t)rand() % 2);
        if (rand() % 2)
            feed_gone(1, "p1");
        xtr_mapcache_silence(cache, "h1", rand() % 2);
        drain((size_t)rand() % 3);
    }
    feed_gone(1, "p1");
    stands("net 1 vni 100\nnet 2 vni 200\n");
    cr_assert(eq(sz, tables_n_sets(tables), 0));
}

Test(mapcache, nodes_in_use_are_probed_as_often_as_the_most_eager_network_asks)
{
    uint32_t ms = 0;
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    feed_port(2, "p2", "02:00:00:00:00:02", NULL, &l, 1);
    cr_assert(eq(sz, n_probed(&ms), 0), "nobody asks");
    feed_probe(1, 100, 500);
    cr_assert(eq(sz, n_probed(&ms), 1), "h2 has no port");
    cr_assert(eq(u32, ms, 500));
    feed_probe(2, 200, 300);
    cr_assert(eq(sz, n_probed(&ms), 1));
    cr_assert(eq(u32, ms, 300));
    feed_probe(2, 200, 1);
    cr_assert(eq(sz, n_probed(&ms), 1));
    cr_assert(eq(u32, ms, EM_PROBE_MS_MIN), "a map that says less is not believed");
    feed_gone(2, "p2");
    feed_probe(3, 300, 100); /* not open here */
    cr_assert(eq(sz, n_probed(&ms), 1));
    cr_assert(eq(u32, ms, 500));
    feed_gone(1, "p1");
    cr_assert(eq(sz, n_probed(&ms), 0));
}

Test(mapcache, a_location_may_come_before_its_node)
{
    two_networks();
    struct em_location l = at("h9", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    stands("mac 1 02:00:00:00:00:01 -> \nnet 1 vni 100\nnet 2 vni 200\n");
    feed_node("h9", "192.0.2.9", EM_NODE_REACHABLE);
    stands("flood 1 192.0.2.9:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.9:0/100*1\nnet 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, a_local_port_hides_the_maps_view_of_it)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", "10.0.0.1", &l, 1);
    drain(SIZE_MAX);
    struct em_eid eids[] = {eid("02:00:00:00:00:01"), eid("10.0.0.7")};
    struct em_port_id id = port_id("p1");
    xtr_mapcache_attach(cache, &id, 1, "tap0", eids, 2);
    stands("dev 1 tap0\nflood 1 192.0.2.1:0/100\n"
           "ip 1 10.0.0.7 02:00:00:00:00:01\nlocal 1 02:00:00:00:00:01 tap0\n"
           "net 1 vni 100\nnet 2 vni 200\n");
    xtr_mapcache_detach(cache, &id);
    stands("flood 1 192.0.2.1:0/100\n"
           "ip 1 10.0.0.1 02:00:00:00:00:01\nmac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

/* p1 is at h1 and about to move to h2. */
static void feed_migration(void)
{
    struct em_location l[] = {at("h1", 100), at("h2", 300)};
    l[1].is_pending = true;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
}

#define NETWORKS "net 1 vni 100\nnet 2 vni 200\n"

Test(mapcache, what_goes_to_a_port_that_migrates_is_copied_to_the_target)
{
    two_networks();
    feed_migration();
    stands("copy 1 02:00:00:00:00:01 192.0.2.2:0/300\n"
           "flood 1 192.0.2.1:0/100\nflood 1 192.0.2.2:0/300\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n" NETWORKS);
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    stands("flood 1 192.0.2.1:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n" NETWORKS);
}

Test(mapcache, copies_end_before_the_traffic_moves)
{
    two_networks();
    feed_migration();
    drain(SIZE_MAX);
    struct em_location l = at("h2", 300);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    struct dp_op ops[XTR_OPS_MAX];
    size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX), end = n, moved = n;
    for (size_t i = 0; i < n; i++) {
        end = ops[i].verb == DP_COPY_DELETE ? i : end;
        moved = ops[i].verb == DP_MAC_PUT ? i : moved;
    }
    cr_assert(lt(sz, end, moved));
    cr_assert(lt(sz, moved, n));
}

Test(mapcache, the_end_of_a_copy_that_was_not_taken_is_told_again)
{
    two_networks();
    feed_migration();
    drain(SIZE_MAX);
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    struct dp_op ops[XTR_OPS_MAX], failed = {0};
    for (int round = 0; round < 2; round++) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX), n_ends = 0;
        for (size_t i = 0; i < n; i++)
            if (ops[i].verb == DP_COPY_DELETE) {
                failed = ops[i];
                n_ends++;
            }
        cr_assert(eq(sz, n_ends, 1), "round %d", round);
        xtr_mapcache_retry(cache, &failed);
    }
    feed_migration();
    drain(SIZE_MAX);
    xtr_mapcache_retry(cache, &failed);
    size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
    for (size_t i = 0; i < n; i++)
        cr_assert(ne(int, ops[i].verb, DP_COPY_DELETE), "it is to stand again");
}

Test(mapcache, what_local_ports_send_to_a_local_port_that_migrates_is_copied_too)
{
    two_networks();
    struct em_eid mac = eid("02:00:00:00:00:01");
    struct em_port_id id = port_id("p1");
    xtr_mapcache_attach(cache, &id, 1, "tap0", &mac, 1);
    struct em_location l[] = {at("h0", 100), at("h2", 300)};
    l[1].is_pending = true;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
    stands("copy 1 02:00:00:00:00:01 192.0.2.2:0/300 tap0\ndev 1 tap0\n"
           "flood 1 192.0.2.2:0/300\nlocal 1 02:00:00:00:00:01 tap0\n" NETWORKS);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l[0], 1);
    stands("dev 1 tap0\nlocal 1 02:00:00:00:00:01 tap0\n" NETWORKS);
}

Test(mapcache, of_a_pending_port_only_the_device_is_here)
{
    two_networks();
    struct em_eid mac = eid("02:00:00:00:00:01");
    struct em_port_id id = port_id("p1");
    struct em_location l[] = {at("h1", 100), at("h0", 100)};
    l[1].is_pending = true;
    xtr_mapcache_attach_pending(cache, &id, 1, "tap0", &mac, 1);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
    stands("dev 1 tap0\nflood 1 192.0.2.1:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n" NETWORKS);
    xtr_mapcache_attach(cache, &id, 1, "tap0", &mac, 1);
    stands("dev 1 tap0\nflood 1 192.0.2.1:0/100\n"
           "local 1 02:00:00:00:00:01 tap0\n" NETWORKS);
    xtr_mapcache_attach_pending(cache, &id, 1, "tap0", &mac, 1);
    xtr_mapcache_detach(cache, &id);
    stands("flood 1 192.0.2.1:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n" NETWORKS);
}

Test(mapcache, copies_follow_the_target_when_its_address_changes)
{
    two_networks();
    feed_migration();
    drain(SIZE_MAX);
    feed_node("h2", "192.0.2.22", EM_NODE_REACHABLE);
    stands("copy 1 02:00:00:00:00:01 192.0.2.22:0/300\n"
           "flood 1 192.0.2.1:0/100\nflood 1 192.0.2.22:0/300\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n" NETWORKS);
}

Test(mapcache, an_address_stays_with_its_new_holder_when_the_old_one_goes_later)
{
    two_networks();
    struct em_location a = at("h1", 100), b = at("h2", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &a, 1);
    feed_port(1, "p2", "02:00:00:00:00:01", NULL, &b, 1);
    drain(SIZE_MAX);
    feed_gone(1, "p1");
    stands("flood 1 192.0.2.2:0/100\nmac 1 02:00:00:00:00:01 -> 192.0.2.2:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, nothing_stale_goes_before_a_full_pass_is_complete)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    drain(SIZE_MAX);
    feed(1, NULL, 0, true, false);
    stands("flood 1 192.0.2.1:0/100\nmac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
    cr_assert(not(xtr_mapcache_is_complete(cache, 1)));
    feed(1, NULL, 0, false, true);
    stands("net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, a_full_pass_that_repeats_what_is_known_queues_nothing)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", "10.0.0.1", &l, 1);
    drain(SIZE_MAX);
    uint64_t tail = xtr_mapcache_tail(cache);
    feed(1, NULL, 0, true, false);
    feed_port(1, "p1", "02:00:00:00:00:01", "10.0.0.1", &l, 1);
    cr_assert(eq(u64, xtr_mapcache_tail(cache), tail));
}

Test(mapcache, ports_without_room_are_counted_until_the_next_full_pass)
{
    two_networks();
    struct em_location l = at("h1", 100);
    cache->nets[0]->table.max = 1;
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    cr_assert(eq(u64, xtr_mapcache_left_out(cache, 1), 0));
    feed_port(1, "p2", "02:00:00:00:00:02", NULL, &l, 1);
    feed_port(2, "p3", "02:00:00:00:00:03", NULL, &l, 1);
    cr_assert(eq(u64, xtr_mapcache_left_out(cache, 1), 1));
    cr_assert(eq(u64, xtr_mapcache_left_out(cache, 2), 0));
    feed(1, NULL, 0, true, false);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    cr_assert(eq(u64, xtr_mapcache_left_out(cache, 1), 0));
    cr_assert(eq(u64, xtr_mapcache_left_out(cache, 9), 0), "not open");
}

Test(mapcache, another_view_needs_another_label_of_this_node)
{
    two_networks();
    struct em_location l[] = {at("h1", 100), at("h2", 100)};
    l[1].view_label = (struct em_label){"zone", "b"};
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, l, 2);
    drain(SIZE_MAX);
    struct em_label label = {"zone", "b"};
    struct em_node self = {.id = "h0", .labels = &label, .n_labels = 1};
    struct em_change change = {.object = EM_OBJECT_NODE, .node = &self};
    feed(0, &change, 1, false, true);
    stands("flood 1 192.0.2.1:0/100\nflood 1 192.0.2.2:0/100\n"
           "mac 1 02:00:00:00:00:01 -> 192.0.2.2:0/100*1\n"
           "net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, a_network_that_does_not_flood_has_no_flood_list)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    drain(SIZE_MAX);
    feed_network(1, 100, EM_FLOOD_NONE);
    stands("mac 1 02:00:00:00:00:01 -> 192.0.2.1:0/100*1\nnet 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, closing_and_opening_again_leaves_no_old_entry)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    drain(SIZE_MAX);
    xtr_mapcache_close(cache, 1);
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 777), 0));
    stands("net 1 vni 777\nnet 2 vni 200\n");
    cr_assert(eq(sz, tables_n_sets(tables), 0));
}

static void feed_named(uint32_t id, const char *name, bool is_gone)
{
    struct em_network network = {.id = id, .name = name, .segmentation_id = id};
    struct em_change change = {.object = EM_OBJECT_NETWORK, .is_gone = is_gone, .gone_network = id};
    if (!is_gone)
        change.network = &network;
    feed(0, &change, 1, false, true);
}

Test(mapcache, a_network_is_found_by_its_number_and_its_latest_name)
{
    char name[16];
    for (uint32_t id = 1; id <= 1000; id++) {
        snprintf(name, sizeof name, "n%u", id);
        feed_named(id, name, false);
    }
    for (uint32_t id = 1; id <= 1000; id += 3)
        feed_named(id, NULL, true);
    feed_named(2, "renamed", false);
    for (uint32_t id = 3; id <= 1000; id++) {
        snprintf(name, sizeof name, "n%u", id);
        const struct em_network *by_name = xtr_mapcache_network(cache, name);
        cr_assert(eq(ptr, (void *)by_name, (void *)xtr_mapcache_network_by_id(cache, id)));
        cr_assert(id % 3 == 1 ? !by_name : by_name && by_name->id == id, "%s", name);
    }
    cr_assert(eq(u32, xtr_mapcache_network(cache, "renamed")->id, 2));
    cr_assert(xtr_mapcache_network(cache, "n2") == NULL);
}

Test(mapcache, a_network_with_the_number_of_the_feed_of_networks_is_none)
{
    feed_named(0, "zero", false);
    cr_assert(xtr_mapcache_network(cache, "zero") == NULL);
    cr_assert(lt(int, xtr_mapcache_open(cache, 0, 0), 0));
}

/* Operations until one has this verb, itself included. */
static size_t ops_until(enum dp_verb verb)
{
    struct dp_op ops[XTR_OPS_MAX];
    size_t n_before = 0;
    while (xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
        tables_apply(tables, ops, n);
        xtr_mapcache_applied(cache);
        for (size_t i = 0; i < n; i++)
            if (ops[i].verb == verb)
                return n_before + i + 1;
        n_before += n;
    }
    return SIZE_MAX;
}

static void feed_many(uint32_t network, int n)
{
    struct em_location l = at("h1", 100);
    for (int i = 0; i < n; i++) {
        char id[16], mac[32];
        snprintf(id, sizeof id, "m%d", i);
        snprintf(mac, sizeof mac, "02:00:00:01:%02x:%02x", i / 256, i % 256);
        feed_port(network, id, mac, NULL, &l, 1);
    }
}

static void attach_local(uint32_t network)
{
    struct em_eid eids[] = {eid("02:00:00:00:00:99"), eid("10.0.0.99")};
    struct em_port_id id = port_id("p99");
    xtr_mapcache_attach(cache, &id, network, "tap0", eids, 2);
}

Test(mapcache, a_local_port_does_not_wait_behind_a_burst_of_the_feed)
{
    two_networks();
    drain(SIZE_MAX);
    feed_many(1, 1000);
    uint64_t before = xtr_mapcache_tail(cache);
    attach_local(1);
    cr_assert(gt(u64, xtr_mapcache_tail(cache), before), "positions count local ports");
    cr_assert(eq(sz, ops_until(DP_LOCAL_PUT), 3), "the device, and it and the MAC");
    struct em_port_id id = port_id("p99");
    xtr_mapcache_detach(cache, &id);
    cr_assert(eq(sz, ops_until(DP_LOCAL_DELETE), 1));
    drain(SIZE_MAX);
    feed_network(3, 300, EM_FLOOD_BROADCAST);
    feed_many(1, 1);
    cr_assert(eq(int, xtr_mapcache_open(cache, 3, 0), 0));
    attach_local(3);
    cr_assert(eq(sz, ops_until(DP_LOCAL_PUT), 4), "the new network before");
}

Test(mapcache, a_network_opened_again_comes_after_its_own_end)
{
    two_networks();
    feed_many(1, 200);
    drain(SIZE_MAX);
    xtr_mapcache_close(cache, 1);
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
    attach_local(1);
    stands("dev 1 tap0\nip 1 10.0.0.99 02:00:00:00:00:99\nlocal 1 02:00:00:00:00:99 tap0\n"
           "net 1 vni 100\nnet 2 vni 200\n");
    feed_many(1, 200);
    struct em_port_id id = port_id("p99");
    xtr_mapcache_detach(cache, &id);
    cr_assert(eq(sz, ops_until(DP_LOCAL_DELETE), 1), "and from then on its ports go first");
}

Test(mapcache, the_installed_revision_waits_for_the_data_plane_and_for_every_feed)
{
    two_networks();
    feed_node("h1", "192.0.2.1", EM_NODE_REACHABLE);
    drain(SIZE_MAX);
    cr_assert(lt(u64, xtr_mapcache_installed(cache), xtr_mapcache_revision(cache)),
              "the feeds of 1 and 2 are not complete");
    feed(1, NULL, 0, true, true);
    feed(2, NULL, 0, true, true);
    cr_assert(eq(u64, xtr_mapcache_installed(cache), xtr_mapcache_revision(cache)));
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    cr_assert(lt(u64, xtr_mapcache_installed(cache), xtr_mapcache_revision(cache)));
    drain(SIZE_MAX);
    cr_assert(eq(u64, xtr_mapcache_installed(cache), xtr_mapcache_revision(cache)));
}

Test(mapcache, another_map_begins_with_its_own_revisions_and_drops_what_it_has_not)
{
    two_networks();
    struct em_location l = at("h1", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    feed_port(1, "p2", "02:00:00:00:00:02", NULL, &l, 1);
    feed(2, NULL, 0, true, true);
    drain(SIZE_MAX);
    cr_assert(gt(u64, xtr_mapcache_installed(cache), 1));
    xtr_mapcache_restart(cache);
    cr_assert(not(xtr_mapcache_is_complete(cache, 0)));
    cr_assert(not(xtr_mapcache_is_complete(cache, 1)));
    cr_assert(eq(u64, xtr_mapcache_revision(cache), 0));
    struct em_feed page = {.network_id = 2, .revision = 1, .is_start_over = true};
    page.is_complete = true;
    xtr_mapcache_feed(cache, &page);
    cr_assert(eq(u64, xtr_mapcache_revision(cache), 1));
    cr_assert(eq(u64, xtr_mapcache_installed(cache), 0), "network 1 has not been shown");
    cr_assert(eq(sz, drain(SIZE_MAX), 0), "nothing goes before its feed is complete");
    page.network_id = 1;
    xtr_mapcache_feed(cache, &page);
    stands("net 1 vni 100\nnet 2 vni 200\n");
}

Test(mapcache, a_node_with_addresses_of_the_other_family_only_is_told)
{
    two_networks();
    feed_node("h3", "2001:db8::3", EM_NODE_REACHABLE);
    uint32_t cursor = 0;
    cr_assert(xtr_mapcache_is_stranded(cache, "h3"));
    cr_assert(not(xtr_mapcache_is_stranded(cache, "h1")));
    cr_assert(not(xtr_mapcache_is_stranded(cache, "h0")), "this node");
    cr_assert(xtr_mapcache_next_stranded(cache, &cursor) == NULL, "no port is there");
    struct em_location l = at("h3", 100);
    feed_port(1, "p1", "02:00:00:00:00:01", NULL, &l, 1);
    cursor = 0;
    cr_assert(eq(str, (char *)xtr_mapcache_next_stranded(cache, &cursor), "h3"));
    cr_assert(xtr_mapcache_next_stranded(cache, &cursor) == NULL);
    feed_node("h3", "192.0.2.3", EM_NODE_REACHABLE);
    cr_assert(not(xtr_mapcache_is_stranded(cache, "h3")));
}

Test(mapcache, a_device_leaves_its_old_network_before_it_enters_another)
{
    two_networks();
    attach_local(1);
    drain(SIZE_MAX);
    struct em_port_id id = port_id("p99");
    xtr_mapcache_detach(cache, &id);
    attach_local(2);
    xtr_mapcache_close(cache, 1);
    struct dp_op ops[XTR_OPS_MAX];
    size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX), put = n, gone = n;
    for (size_t i = n; i-- > 0;)
        if (ops[i].verb == DP_PORT_PUT)
            put = i;
        else if (ops[i].verb == DP_PORT_DELETE)
            gone = i;
    cr_assert(put < n && gone < put, "out at %zu, in at %zu of %zu", gone, put, n);
    cr_assert(eq(u32, ops[gone].network.id, 1));
    tables_apply(tables, ops, n);
    xtr_mapcache_applied(cache);
    stands("dev 2 tap0\nip 2 10.0.0.99 02:00:00:00:00:99\nlocal 2 02:00:00:00:00:99 tap0\n"
           "net 2 vni 200\n");
}

/* Is the last order for the device to borrow it? */
static bool is_borrowed(const char *device)
{
    struct dp_op ops[XTR_OPS_MAX];
    bool is = false;
    while (xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
        tables_apply(tables, ops, n);
        xtr_mapcache_applied(cache);
        for (size_t i = 0; i < n; i++)
            if (ops[i].verb == DP_PORT_PUT && !strcmp(ops[i].device, device))
                is = ops[i].is_borrowed;
    }
    return is;
}

Test(mapcache, a_device_is_borrowed_while_all_its_ports_have_borrowed_it)
{
    struct em_eid macs[] = {eid("02:00:00:00:00:01"), eid("02:00:00:00:00:02")};
    struct em_port_id a = port_id("a"), b = port_id("b");
    feed_network(1, 100, EM_FLOOD_BROADCAST);
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
    xtr_mapcache_attach_borrowed(cache, &a, 1, "tap0", &macs[0], 1);
    cr_assert(is_borrowed("tap0"));
    xtr_mapcache_attach(cache, &b, 1, "tap0", &macs[1], 1);
    cr_assert(not(is_borrowed("tap0")));
    xtr_mapcache_detach(cache, &b);
    cr_assert(is_borrowed("tap0"));
    xtr_mapcache_attach(cache, &a, 1, "tap0", &macs[0], 1);
    cr_assert(not(is_borrowed("tap0")));
}

Test(mapcache, names_prefixes_and_services_are_kept_and_give_no_entry)
{
    two_networks();
    struct em_eid eids[] = {eid("10.1.0.0/16"), eid("tcp/10.0.0.9:443"), {0}};
    eids[2] = (struct em_eid){.kind = EM_EID_NAME, .size = 7, .name = "www.lan"};
    struct em_location l = at("h1", 100);
    struct em_port port = {.id = port_id("f6f4b2ac-56c0-4a3e-9b0c-2f3c1c8d0001"),
                           .network_id = 1,
                           .eids = eids,
                           .n_eids = 3,
                           .locations = &l,
                           .n_locations = 1};
    struct em_change change = {.object = EM_OBJECT_PORT, .port = &port};
    feed(1, &change, 1, false, true);
    stands("flood 1 192.0.2.1:0/100\nnet 1 vni 100\nnet 2 vni 200\n");

    struct xtr_cursor cursor = {0};
    struct em_port shown;
    char text[EM_EID_TEXT];
    cr_assert(xtr_mapcache_next_port(cache, &cursor, &shown));
    cr_assert(eq(sz, shown.n_eids, 3));
    cr_assert(eq(str, em_eid_format(&shown.eids[0], text), "10.1.0.0/16"));
    cr_assert(eq(str, em_eid_format(&shown.eids[1], text), "tcp/10.0.0.9:443"));
    cr_assert(eq(str, em_eid_format(&shown.eids[2], text), "www.lan"));
    cr_assert(eq(str, (char *)shown.locations[0].node_id, "h1"));
    cr_assert(eq(int, memcmp(&shown.id, &port.id, sizeof port.id), 0));
    cr_assert(not(xtr_mapcache_next_port(cache, &cursor, &shown)));
}

/* A world that changes at random, shown to the cache in pages of every kind; at the end
 * the tables must be those that the world and the local ports ask for. */

enum { N_NODES = 6, N_NETS = 3, N_PORTS = 18, N_MACS = 24 };

struct world_port {
    bool exists, is_dirty, is_local;
    struct em_port_id id;
    struct em_eid eids[4];
    size_t n_eids;
    struct em_location locations[3];
    size_t n_locations;
};

static struct {
    bool is_node[N_NODES];
    struct em_rloc rlocs[N_NODES];
    struct em_node nodes[N_NODES];
    struct em_label label; /* of h0 */
    bool is_open[N_NETS + 1];
    struct world_port ports[N_PORTS];
} world;

static const char *const node_ids[N_NODES] = {"h0", "h1", "h2", "h3", "h4", "h5"};

static unsigned pick(unsigned n)
{
    return (unsigned)rand() % n;
}

static uint32_t net_of(size_t port)
{
    return (uint32_t)(port % N_NETS) + 1;
}

static struct em_eid a_mac(unsigned i)
{
    return (struct em_eid){.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, (uint8_t)i}};
}

static struct em_eid an_ip(unsigned i)
{
    struct em_eid e = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, (uint8_t)(i + 1)}};
    if (i % 4 == 3)
        e = (struct em_eid){
            .kind = EM_EID_IPV6, .size = 16, .addr = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)(i + 1)}};
    return e;
}

static void world_init(void)
{
    memset(&world, 0, sizeof world);
    for (unsigned i = 0; i < N_PORTS; i++) {
        char text[40];
        snprintf(text, sizeof text, i % 2 ? "p%u" : "aaaaaaaa-0000-0000-0000-0000000000%02u", i);
        world.ports[i].id = port_id(text);
    }
    for (uint32_t id = 1; id <= N_NETS; id++)
        feed_network(id, id * 100, EM_FLOOD_BROADCAST);
}

static void change_node(void)
{
    unsigned i = pick(N_NODES);
    world.is_node[i] = pick(6) != 0;
    char ip[32];
    snprintf(ip, sizeof ip, "192.0.2.%u", 10 * (i + 1) + pick(2));
    world.rlocs[i] = rloc(ip);
    world.rlocs[i].udp_port = pick(4) ? 0 : 8472;
    world.label = (struct em_label){"zone", pick(2) ? "a" : "b"};
    world.nodes[i] = (struct em_node){.id = node_ids[i],
                                      .rlocs = &world.rlocs[i],
                                      .n_rlocs = pick(8) ? 1 : 0,
                                      .labels = &world.label,
                                      .n_labels = 1,
                                      .state = 1 + pick(2),
                                      .is_disabled = !pick(8)};
    world.nodes[0].labels = &world.label;
    struct em_change changes[2] = {{.object = EM_OBJECT_NODE,
                                    .node = &world.nodes[i],
                                    .is_gone = !world.is_node[i],
                                    .gone_node = node_ids[i]},
                                   {.object = EM_OBJECT_NODE,
                                    .node = &world.nodes[0],
                                    .is_gone = !world.is_node[0],
                                    .gone_node = node_ids[0]}};
    feed(0, changes, 2, false, true);
}

static struct em_location random_location(uint32_t net)
{
    struct em_location l = {.node_id = node_ids[pick(N_NODES)],
                            .segmentation_id = net * 100 + !pick(5),
                            .priority = (uint8_t)(pick(6) ? pick(2) : 255),
                            .weight = (uint8_t)pick(3),
                            .is_pending = !pick(6)};
    if (!pick(6))
        l.view_node = node_ids[pick(2)];
    else if (!pick(6))
        l.view_label = (struct em_label){"zone", pick(2) ? "a" : "b"};
    return l;
}

static void change_port(void)
{
    size_t i = pick(N_PORTS);
    struct world_port *p = &world.ports[i];
    p->is_dirty = true;
    p->exists = pick(4) != 0;
    if (pick(2)) {
        p->n_eids = 0;
        if (pick(6))
            p->eids[p->n_eids++] = a_mac(pick(N_MACS));
        for (unsigned n = pick(3); n; n--)
            p->eids[p->n_eids++] = an_ip(pick(N_MACS));
    }
    p->n_locations = pick(4);
    for (size_t k = 0; k < p->n_locations; k++)
        p->locations[k] = random_location(net_of(i));
}

static struct em_port as_port(size_t i)
{
    const struct world_port *p = &world.ports[i];
    return (struct em_port){.id = p->id,
                            .network_id = net_of(i),
                            .eids = p->eids,
                            .n_eids = p->n_eids,
                            .locations = p->locations,
                            .n_locations = p->n_locations};
}

/* In any order, and of the dirty ones (in a full pass: of all) only some, unless the page
 * is the last. */
static void show_net(uint32_t net, bool is_start_over, bool is_complete)
{
    struct em_change changes[N_PORTS];
    struct em_port ports[N_PORTS];
    size_t n = 0;
    unsigned from = pick(N_PORTS);
    for (unsigned k = 0; k < N_PORTS; k++) {
        size_t i = (from + k) % N_PORTS;
        struct world_port *p = &world.ports[i];
        if (is_start_over && net_of(i) == net)
            p->is_dirty = true;
        if (net_of(i) != net || !p->is_dirty || (!is_complete && pick(2)))
            continue;
        p->is_dirty = false;
        ports[n] = as_port(i);
        changes[n] = (struct em_change){
            .object = EM_OBJECT_PORT, .is_gone = !p->exists, .port = &ports[n], .gone_port = p->id};
        n += !is_start_over || p->exists;
    }
    feed(net, changes, n, is_start_over, is_complete);
}

static void local_eids(size_t i, struct em_eid eids[2])
{
    eids[0] = a_mac((unsigned)i);
    eids[1] = an_ip((unsigned)i);
}

static void change_local(void)
{
    size_t i = pick(N_PORTS);
    struct world_port *p = &world.ports[i];
    if (!world.is_open[net_of(i)])
        return;
    p->is_local = pick(2);
    struct em_eid eids[2];
    char device[IFNAMSIZ];
    snprintf(device, sizeof device, "tap%zu", i);
    local_eids(i, eids);
    if (p->is_local)
        xtr_mapcache_attach(cache, &p->id, net_of(i), device, eids, 2);
    else
        xtr_mapcache_detach(cache, &p->id);
}

static void change_open(void)
{
    uint32_t net = 1 + pick(N_NETS);
    if (!world.is_open[net]) {
        cr_assert(eq(int, xtr_mapcache_open(cache, net, 0), 0));
        world.is_open[net] = true;
        show_net(net, true, pick(2));
        return;
    }
    if (pick(3))
        return;
    for (size_t i = 0; i < N_PORTS; i++)
        if (net_of(i) == net && world.ports[i].is_local) {
            world.ports[i].is_local = false;
            xtr_mapcache_detach(cache, &world.ports[i].id);
        }
    xtr_mapcache_close(cache, net);
    world.is_open[net] = false;
}

static unsigned node_index(const char *id)
{
    return (unsigned)(id[1] - '0');
}

static bool is_usable(unsigned node)
{
    return node && world.is_node[node] && world.nodes[node].n_rlocs &&
           !world.nodes[node].is_disabled;
}

static struct dp_target expected_target(unsigned node, uint32_t vni, uint8_t weight)
{
    uint16_t port = world.rlocs[node].udp_port;
    return (struct dp_target){
        .ip = world.rlocs[node].ip, .udp_port = port, .weight = weight, .segmentation_id = vni};
}

static void list_places(const struct world_port *p, struct xtr_contender c[3])
{
    for (size_t k = 0; k < p->n_locations; k++) {
        const struct em_location *l = &p->locations[k];
        unsigned node = node_index(l->node_id);
        c[k] = (struct xtr_contender){node,
                                      l->segmentation_id,
                                      l->priority,
                                      l->weight,
                                      em_location_view(l, "h0", &world.label, world.is_node[0]),
                                      l->is_pending,
                                      is_usable(node),
                                      world.nodes[node].state == EM_NODE_REACHABLE};
    }
}

static char *expected_targets(const struct world_port *p, char *text)
{
    struct xtr_contender c[3];
    struct xtr_choice choices[3];
    struct dp_target targets[3];
    size_t n = 0;
    list_places(p, c);
    size_t n_choices = xtr_choose(c, p->n_locations, choices);
    for (size_t k = 0; k < n_choices; k++) {
        struct dp_target t =
            expected_target(choices[k].node, choices[k].segmentation_id, choices[k].weight);
        if (n && choices[k].node == choices[k - 1].node &&
            t.segmentation_id == targets[n - 1].segmentation_id)
            targets[n - 1].weight = (uint8_t)(targets[n - 1].weight + t.weight);
        else
            targets[n++] = t;
    }
    return tables_targets(targets, n, text);
}

static bool holds(const struct world_port *p, const struct em_eid *e)
{
    for (size_t k = 0; k < p->n_eids; k++)
        if (!em_eid_compare(&p->eids[k], e))
            return true;
    return false;
}

/* The holder by the map, local ports left out; NULL if there is none. */
static const struct world_port *holder(uint32_t net, const struct em_eid *e)
{
    const struct world_port *best = NULL;
    for (size_t i = 0; i < N_PORTS; i++) {
        const struct world_port *p = &world.ports[i];
        if (net_of(i) != net || !p->exists || p->is_local || !holds(p, e))
            continue;
        if (!best || memcmp(p->id.bytes, best->id.bytes, sizeof p->id.bytes) < 0)
            best = p;
    }
    return best;
}

static size_t local_holder(uint32_t net, unsigned i)
{
    return i < N_PORTS && net_of(i) == net && world.ports[i].is_local ? i : SIZE_MAX;
}

static void expect_copy(struct tables *t, const char *mac, const struct world_port *p,
                        bool is_local)
{
    struct xtr_contender c[3];
    char target[96], device[IFNAMSIZ + 1] = "";
    size_t i = (size_t)(p - world.ports);
    list_places(p, c);
    const struct xtr_contender *pending = xtr_choose_pending(c, p->n_locations);
    if (!pending || !p->exists)
        return;
    struct dp_target to = expected_target(pending->node, pending->segmentation_id, 1);
    if (is_local)
        snprintf(device, sizeof device, " tap%zu", i);
    tables_expect(t, "copy %u %s %s%s", net_of(i), mac, tables_target(&to, false, target), device);
}

static void expect_mac(struct tables *t, uint32_t net, unsigned i)
{
    struct em_eid mac = a_mac(i);
    char text[EM_EID_TEXT], targets[400];
    em_eid_format(&mac, text);
    const struct world_port *p = holder(net, &mac);
    if (local_holder(net, i) != SIZE_MAX)
        tables_expect(t, "local %u %s tap%u", net, text, i);
    else if (p)
        tables_expect(t, "mac %u %s -> %s", net, text, expected_targets(p, targets));
    if (local_holder(net, i) != SIZE_MAX)
        expect_copy(t, text, &world.ports[i], true);
    else if (p)
        expect_copy(t, text, p, false);
}

static void expect_ip(struct tables *t, uint32_t net, unsigned i)
{
    struct em_eid ip = an_ip(i), mac = a_mac(i);
    char text[EM_EID_TEXT], mac_text[EM_EID_TEXT];
    const struct world_port *p = holder(net, &ip);
    if (local_holder(net, i) == SIZE_MAX) {
        if (!p || !p->n_eids || p->eids[0].kind != EM_EID_MAC)
            return;
        mac = p->eids[0];
    }
    tables_expect(t, "ip %u %s %s", net, em_eid_format(&ip, text), em_eid_format(&mac, mac_text));
}

static void expect_flood(struct tables *t, uint32_t net)
{
    char text[96];
    for (size_t i = 0; i < N_PORTS; i++) {
        const struct world_port *p = &world.ports[i];
        if (net_of(i) != net || !p->exists)
            continue;
        for (size_t k = 0; k < p->n_locations; k++) {
            const struct em_location *l = &p->locations[k];
            unsigned node = node_index(l->node_id);
            if (!is_usable(node) || (l->view_node && strcmp(l->view_node, "h0")))
                continue;
            struct dp_target target = expected_target(node, l->segmentation_id, 1);
            tables_expect(t, "flood %u %s", net, tables_target(&target, false, text));
        }
    }
}

static void compare_with_world(unsigned seed)
{
    struct tables *expected = tables_new();
    for (uint32_t net = 1; net <= N_NETS; net++) {
        if (!world.is_open[net])
            continue;
        tables_expect(expected, "net %u vni %u", net, net * 100);
        for (unsigned i = 0; i < N_MACS; i++) {
            expect_mac(expected, net, i);
            expect_ip(expected, net, i);
        }
        for (size_t i = 0; i < N_PORTS; i++)
            if (net_of(i) == net && world.ports[i].is_local)
                tables_expect(expected, "dev %u tap%zu", net, i);
        expect_flood(expected, net);
    }
    char *want = tables_show(expected), *got = tables_show(tables);
    cr_assert(eq(int, strcmp(want, got), 0), "seed %u: expected\n%s\nfound\n%s", seed, want, got);
    free(want);
    free(got);
    tables_free(expected);
}

static void step(void)
{
    switch (pick(8)) {
    case 0:
        change_node();
        break;
    case 1:
    case 2:
    case 3:
        change_port();
        break;
    case 4:
        change_local();
        break;
    case 5:
        change_open();
        break;
    case 6:
        show_net(1 + pick(N_NETS), !pick(3), false);
        break;
    case 7:
        drain(pick(4));
        break;
    }
}

static void settle(void)
{
    for (uint32_t net = 1; net <= N_NETS; net++)
        if (world.is_open[net])
            show_net(net, false, true);
    drain(SIZE_MAX);
}

Test(mapcache, any_history_ends_in_the_tables_that_the_map_asks_for, .timeout = 60)
{
    unsigned first = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
    for (unsigned seed = first; seed < first + 150; seed++) {
        srand(seed);
        teardown();
        setup();
        world_init();
        for (unsigned round = 0; round < 8; round++) {
            for (unsigned n = pick(60); n; n--)
                step();
            settle();
            compare_with_world(seed);
        }
    }
}

/* Children */

static struct em_port_id parent_id(void)
{
    return port_id("vm");
}

static void attach_child(uint16_t vlan, bool is_pending)
{
    struct em_eid e = eid("02:00:00:00:01:01");
    struct em_port_id id = port_id("c1");
    xtr_mapcache_attach_child(cache, &id, 2, "tap1", vlan, is_pending, &e, 1);
}

/* "verb network device.vlan" of what has to be done about devices and the MACs behind them. */
static const char *device_ops(void)
{
    static char text[512];
    struct dp_op ops[XTR_OPS_MAX];
    size_t size = 0;
    text[0] = 0;
    while (xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
        for (size_t i = 0; i < n; i++) {
            const char *verb = ops[i].verb == DP_PORT_PUT       ? "port"
                               : ops[i].verb == DP_PORT_DELETE  ? "-port"
                               : ops[i].verb == DP_LOCAL_PUT    ? "mac"
                               : ops[i].verb == DP_LOCAL_DELETE ? "-mac"
                                                                : NULL;
            if (verb)
                size += (size_t)snprintf(text + size, sizeof text - size, "%s %u %s.%u, ", verb,
                                         ops[i].network.id, ops[i].device, ops[i].vlan);
        }
        tables_apply(tables, ops, n);
        xtr_mapcache_applied(cache);
    }
    return text;
}

Test(mapcache, a_child_is_behind_a_tag_of_its_parents_device)
{
    struct em_eid e = eid("02:00:00:00:00:01");
    struct em_port_id vm = parent_id(), c1 = port_id("c1");
    two_networks();
    drain(SIZE_MAX);
    xtr_mapcache_attach(cache, &vm, 1, "tap1", &e, 1);
    attach_child(101, false);
    cr_assert(eq(str, (char *)device_ops(),
                 "port 1 tap1.0, port 1 tap1.0, mac 1 tap1.0, "
                 "port 2 tap1.101, port 2 tap1.101, mac 2 tap1.101, "));
    attach_child(102, false);
    cr_assert(eq(str, (char *)device_ops(),
                 "port 2 tap1.102, mac 2 tap1.102, -port 2 tap1.101, port 2 tap1.102, "
                 "mac 2 tap1.102, "));
    xtr_mapcache_detach(cache, &c1);
    cr_assert(eq(str, (char *)device_ops(), "-mac 2 tap1.102, -port 2 tap1.102, "));
    xtr_mapcache_detach(cache, &vm);
    cr_assert(eq(str, (char *)device_ops(), "-mac 1 tap1.0, -port 1 tap1.0, "));
}

Test(mapcache, the_device_is_the_parents_to_plug)
{
    struct dp_op ops[XTR_OPS_MAX];
    two_networks();
    drain(SIZE_MAX);
    attach_child(101, false);
    cr_assert(gt(sz, xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX), 0));
    cr_assert(ops[0].verb == DP_PORT_PUT && ops[0].is_borrowed);
}

Test(mapcache, a_pending_child_has_its_device_only)
{
    two_networks();
    drain(SIZE_MAX);
    attach_child(101, true);
    cr_assert(eq(str, (char *)device_ops(), "port 2 tap1.101, "));
}

static size_t n_children(void)
{
    struct em_port_id vm = parent_id();
    size_t n;
    xtr_mapcache_children(cache, 1, &vm, &n);
    return n;
}

Test(mapcache, the_children_of_a_port_are_known_as_long_as_its_record_lists_them)
{
    const struct em_child children[] = {{port_id("c1"), 7, 2}, {port_id("c2"), 8, 1}};
    struct em_port vm = {.id = parent_id(), .children = children, .n_children = 2};
    struct em_change change = {.object = EM_OBJECT_PORT, .port = &vm};
    two_networks();
    cr_assert(eq(sz, n_children(), 0));
    feed(1, &change, 1, false, true);
    cr_assert(eq(sz, n_children(), 2));
    vm.n_children = 1;
    feed(1, &change, 1, false, true);
    cr_assert(eq(sz, n_children(), 1));
    feed(1, NULL, 0, true, true);
    cr_assert(eq(sz, n_children(), 0), "a pass did not show the port");
    feed(1, &change, 1, false, true);
    feed_gone(1, "vm");
    cr_assert(eq(sz, n_children(), 0));
}
