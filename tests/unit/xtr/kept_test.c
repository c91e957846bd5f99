/* What the map-cache keeps when a full pass is doubted. */
#include "mapcache.h"

#include "xtr/saved_map.h"
#include "xtr/tables.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct xtr_mapcache *cache;
static struct tables *tables;

static void setup(void)
{
    cache = saved_map_new();
    tables = tables_new();
    xtr_guard_session(xtr_mapcache_guard(cache), "ms1");
}

static void teardown(void)
{
    xtr_mapcache_free(cache);
    tables_free(tables);
}

TestSuite(kept, .init = setup, .fini = teardown);

static void drain(void)
{
    struct dp_op ops[XTR_OPS_MAX];
    while (xtr_mapcache_done(cache) != xtr_mapcache_tail(cache)) {
        size_t n = xtr_mapcache_next_ops(cache, ops, XTR_OPS_MAX);
        tables_apply(tables, ops, n);
        xtr_mapcache_applied(cache);
    }
}

static uint64_t n_remote(void)
{
    return xtr_mapcache_counts(cache).n_remote;
}

/* A pass of network 1 that shows so many of its ports, from the first on. */
static void pass(uint32_t n)
{
    saved_map_feed_ports(cache, 1, 0, n, true, true);
    drain();
}

static void feed_gone(uint8_t i)
{
    struct em_change change = {.object = EM_OBJECT_PORT, .is_gone = true, .gone_port.size = 17};
    change.gone_port.bytes[8] = 1;
    change.gone_port.bytes[16] = i;
    struct em_feed page = {
        .network_id = 1, .changes = &change, .n_changes = 1, .is_complete = true};
    xtr_mapcache_feed(cache, &page);
    drain();
}

static void attach(uint8_t i)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, i}};
    struct em_port_id id = {.size = 17};
    id.bytes[8] = 1;
    id.bytes[16] = i;
    xtr_mapcache_attach(cache, &id, 1, "tap0", &mac, 1);
}

/* A pass of network 0 that shows the networks and nodes of 'n' numbers. */
static void pass_zero(uint8_t n)
{
    struct em_change changes[2 * 9];
    struct em_node nodes[9];
    struct em_network networks[9];
    char names[2 * 9][8];
    struct em_feed page = {.changes = changes, .is_start_over = true, .is_complete = true};
    for (uint8_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "h%u", i + 1);
        nodes[i] = (struct em_node){.id = names[i], .state = EM_NODE_REACHABLE};
        changes[page.n_changes++] = (struct em_change){.object = EM_OBJECT_NODE, .node = &nodes[i]};
        if (i >= 3)
            continue;
        snprintf(names[9 + i], sizeof names[i], "net%u", i + 1);
        networks[i] =
            (struct em_network){.id = i + 1u, .name = names[9 + i], .segmentation_id = 1001u + i};
        changes[page.n_changes++] =
            (struct em_change){.object = EM_OBJECT_NETWORK, .network = &networks[i]};
    }
    xtr_mapcache_feed(cache, &page);
    drain();
}

Test(kept, an_empty_pass_takes_nothing_out_of_the_data_plane)
{
    pass(100);
    uint64_t tail = xtr_mapcache_tail(cache);
    pass(0);
    cr_assert(eq(u64, n_remote(), 100));
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 100));
    cr_assert(eq(u64, xtr_mapcache_tail(cache), tail), "no entry was even looked at");
    cr_assert(xtr_mapcache_verdict(cache, 1) == XTR_DOUBTED);
    cr_assert(xtr_mapcache_is_complete(cache, 1));
}

Test(kept, a_loss_that_is_believed_goes_at_once)
{
    pass(100);
    pass(60);
    cr_assert(eq(u64, n_remote(), 60));
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 0));
}

Test(kept, what_is_new_is_taken_and_what_is_shown_again_is_not_kept_any_more)
{
    pass(100);
    pass(10);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 90));
    saved_map_feed_ports(cache, 1, 95, 10, false, true);
    drain();
    cr_assert(eq(u64, n_remote(), 105));
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 85));
    cr_assert(eq(u64, xtr_mapcache_let_go(cache, 1), 85));
    drain();
    cr_assert(eq(u64, n_remote(), 20));
    cr_assert(xtr_mapcache_doubt(cache, 1) == NULL);
}

Test(kept, a_removal_in_the_feed_is_obeyed_for_what_is_kept_and_what_is_not)
{
    pass(100);
    pass(10);
    feed_gone(50);
    feed_gone(5);
    cr_assert(eq(u64, n_remote(), 98));
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 89));
}

Test(kept, many_doubted_passes_keep_the_same)
{
    pass(100);
    for (int i = 0; i < 600; i++) {
        saved_map_feed_ports(cache, 1, 0, 10, true, false);
        cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), i ? 90 : 0), "pass %d", i);
        saved_map_feed_ports(cache, 1, 0, 0, false, true);
        cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 90), "pass %d", i);
    }
    pass(100);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 0));
    cr_assert(xtr_mapcache_doubt(cache, 1) == NULL);
}

Test(kept, new_ports_do_not_outweigh_what_is_missing)
{
    pass(100);
    saved_map_feed_ports(cache, 1, 1000, 300, true, true);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 100));
    cr_assert(eq(u64, n_remote(), 400));
}

Test(kept, a_port_of_this_node_is_no_loss)
{
    pass(2);
    attach(0);
    saved_map_feed_ports(cache, 1, 1, 1, true, true);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 0));
    cr_assert(xtr_mapcache_verdict(cache, 1) == XTR_BELIEVED);
    saved_map_feed_ports(cache, 1, 0, 1, true, true);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 1), 1), "of two ports the other one is all");
}

Test(kept, another_server_ends_it)
{
    pass(100);
    pass(10);
    xtr_guard_session(xtr_mapcache_guard(cache), "ms2");
    pass(10);
    cr_assert(xtr_mapcache_verdict(cache, 1) == XTR_CONFIRMED);
    cr_assert(eq(u64, n_remote(), 10));
}

Test(kept, nodes_and_networks_are_kept_likewise)
{
    pass_zero(0);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 0), 12));
    cr_assert(xtr_mapcache_keeps_node(cache, "h7"));
    cr_assert(xtr_mapcache_keeps_network(cache, 2));
    pass_zero(4);
    cr_assert(eq(u64, xtr_mapcache_kept(cache, 0), 5));
    cr_assert(not(xtr_mapcache_keeps_node(cache, "h4")));
    cr_assert(not(xtr_mapcache_keeps_network(cache, 2)));
    cr_assert(eq(u64, xtr_mapcache_let_go(cache, 0), 5));
    drain();
    const struct em_node *node;
    uint32_t at = 0, n = 0;
    while (xtr_mapcache_next_node(cache, &at, &node))
        n++;
    cr_assert(eq(u32, n, 4));
}

Test(kept, a_network_with_local_ports_is_not_lost_among_others)
{
    pass_zero(3);
    attach(1);
    struct em_network networks[] = {{.id = 2, .name = "net2", .segmentation_id = 1002},
                                    {.id = 3, .name = "net3", .segmentation_id = 1003}};
    struct em_change changes[] = {{.object = EM_OBJECT_NETWORK, .network = &networks[0]},
                                  {.object = EM_OBJECT_NETWORK, .network = &networks[1]}};
    struct em_feed page = {
        .changes = changes, .n_changes = 2, .is_start_over = true, .is_complete = true};
    xtr_mapcache_feed(cache, &page);
    cr_assert(xtr_mapcache_keeps_network(cache, 1));
    /* Its name under another number is the map's word. */
    networks[0] = (struct em_network){.id = 9, .name = "net1", .segmentation_id = 1009};
    page.is_start_over = false;
    page.n_changes = 1;
    xtr_mapcache_feed(cache, &page);
    cr_assert(xtr_mapcache_network_by_id(cache, 1) == NULL);
    cr_assert(eq(u32, xtr_mapcache_network(cache, "net1")->id, 9));
}
