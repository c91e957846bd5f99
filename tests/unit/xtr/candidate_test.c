#include "candidate.h"

#include "xtr/saved_map.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct xtr_mapcache *cache;
static struct xtr_candidate candidate;

static void setup(void)
{
    cache = saved_map_new();
}

static void teardown(void)
{
    xtr_candidate_fini(&candidate);
    xtr_mapcache_free(cache);
}

TestSuite(candidate, .init = setup, .fini = teardown);

static void feed(uint32_t id, const char *name, uint32_t vni, bool is_start_over)
{
    struct em_network network = {.id = id, .name = name, .segmentation_id = vni};
    struct em_change change = {.object = EM_OBJECT_NETWORK, .network = &network};
    struct em_feed page = {.changes = &change,
                           .n_changes = name ? 1 : 0,
                           .is_start_over = is_start_over,
                           .is_complete = true};
    xtr_candidate_feed(&candidate, &page);
}

static void feed_gone(uint32_t id)
{
    struct em_change change = {.object = EM_OBJECT_NETWORK, .is_gone = true, .gone_network = id};
    struct em_feed page = {.changes = &change, .n_changes = 1, .is_complete = true};
    xtr_candidate_feed(&candidate, &page);
}

static void attach_to(uint32_t network_id)
{
    struct em_eid mac = {
        .kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 9, (uint8_t)network_id}};
    struct em_port_id id = {.size = 2, .bytes = {'p', (uint8_t)('0' + network_id)}};
    xtr_mapcache_attach(cache, &id, network_id, "tap0", &mac, 1);
}

static uint32_t lacks(void)
{
    const struct em_network *network = xtr_candidate_lacks(&candidate, cache);
    return network ? network->id : 0;
}

Test(candidate, any_map_fits_where_no_port_is)
{
    feed(0, NULL, 0, true);
    cr_assert(candidate.is_complete);
    cr_assert(eq(u32, lacks(), 0));
}

Test(candidate, networks_with_ports_must_be_there_as_they_are_here)
{
    attach_to(2);
    feed(0, NULL, 0, true);
    cr_assert(eq(u32, lacks(), 2));
    feed(2, "green", 1002, false);
    cr_assert(eq(u32, lacks(), 2), "the number of another one");
    feed(3, "net2", 1002, false);
    cr_assert(eq(u32, lacks(), 2), "another number");
    feed(2, "net2", 77, false);
    cr_assert(eq(u32, lacks(), 2), "another VNI");
    feed(2, "net2", 1002, false);
    cr_assert(eq(u32, lacks(), 0));
    attach_to(3);
    cr_assert(eq(u32, lacks(), 3));
    feed(3, "net3", 1003, false);
    cr_assert(eq(u32, lacks(), 0));
    feed_gone(2);
    cr_assert(eq(u32, lacks(), 2));
    feed(2, "net2", 1002, true);
    cr_assert(eq(u32, lacks(), 3), "a new pass begins with nothing");
}
