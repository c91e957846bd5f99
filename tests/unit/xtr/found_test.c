/* What the map-cache says of an EID, with its reasons. */
#include "found.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct xtr_mapcache *cache;
static struct xtr_found found;

static void feed(uint32_t network, struct em_change change)
{
    static uint64_t revision;
    struct em_feed page = {.network_id = network,
                           .revision = ++revision,
                           .changes = &change,
                           .n_changes = 1,
                           .is_complete = true};
    xtr_mapcache_feed(cache, &page);
}

static void feed_node(const char *id, const char *ip, struct em_node node)
{
    struct em_rloc rloc = {.encap = EM_ENCAP_VXLAN};
    cr_assert(eq(int, em_ip_parse(ip, &rloc.ip, NULL), 0));
    node.id = id;
    node.rlocs = &rloc;
    node.n_rlocs = 1;
    if (!node.state)
        node.state = EM_NODE_REACHABLE;
    feed(0, (struct em_change){.object = EM_OBJECT_NODE, .node = &node});
}

static void setup(void)
{
    struct xtr_mapcache_config config = {.node_id = "h0", .has_ipv4 = true, .udp_port = 4789};
    struct em_network network = {.id = 1, .name = "blue", .segmentation_id = 100};
    cache = xtr_mapcache_new(&config);
    feed(0, (struct em_change){.object = EM_OBJECT_NETWORK, .network = &network});
    feed_node("h0", "192.0.2.9", (struct em_node){0});
    feed_node("h1", "192.0.2.1", (struct em_node){0});
    feed_node("h2", "192.0.2.2", (struct em_node){.is_disabled = true});
    feed_node("h3", "2001:db8::3", (struct em_node){0});
    feed_node("h4", "192.0.2.4", (struct em_node){.state = EM_NODE_UNREACHABLE});
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
}

static void teardown(void)
{
    xtr_mapcache_free(cache);
}

TestSuite(found, .init = setup, .fini = teardown);

static struct em_eid eid(const char *text)
{
    static char buf[EM_EID_TEXT];
    struct em_eid e;
    cr_assert(eq(int, em_eid_parse(text, &e, buf, NULL), 0), "%s", text);
    return e;
}

static bool find(const char *text)
{
    struct em_eid e = eid(text);
    return xtr_mapcache_find(cache, 1, &e, &found);
}

static void feed_port_of(const char *id, const struct em_eid *eids, size_t n_eids,
                         const struct em_location *locations, size_t n)
{
    struct em_port port = {.network_id = 1,
                           .eids = (struct em_eid *)eids,
                           .n_eids = n_eids,
                           .locations = (struct em_location *)locations,
                           .n_locations = n};
    cr_assert(eq(int, em_port_id_parse(id, &port.id, NULL), 0));
    feed(1, (struct em_change){.object = EM_OBJECT_PORT, .port = &port});
}

static void feed_port(const struct em_location *locations, size_t n)
{
    struct em_eid eids[] = {eid("02:00:00:00:00:01"), eid("10.0.0.1")};
    feed_port_of("p1", eids, 2, locations, n);
}

Test(found, nobody_has_it)
{
    cr_assert(not(find("10.0.0.1")));
    struct em_eid e = eid("10.0.0.1");
    cr_assert(not(xtr_mapcache_find(cache, 2, &e, &found)), "a network that is not open");
}

Test(found, a_port_is_found_by_mac_address_and_id)
{
    struct em_location l = {.node_id = "h1", .segmentation_id = 100};
    feed_port(&l, 1);
    static const char *const ways[] = {"02:00:00:00:00:01", "10.0.0.1", "port:p1"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(find(ways[i]), "%s", ways[i]);
        cr_assert(eq(int, found.mac.addr[5], 1));
        cr_assert(eq(int, found.ip.kind, EM_EID_IPV4));
        cr_assert(eq(sz, found.n_targets, 1));
        cr_assert(eq(u32, found.network.segmentation_id, 100));
    }
    cr_assert(not(find("port:p2")));
}

/* ARP for it is answered with one MAC; the other's entry has no neighbour to be looked at. */
Test(found, an_address_is_shown_beside_the_mac_that_it_is_answered_with)
{
    struct em_location l = {.node_id = "h1", .segmentation_id = 100};
    struct em_eid two[] = {eid("02:00:00:00:00:01"), eid("02:00:00:00:00:02"), eid("10.0.0.1")};
    struct em_eid shared[] = {eid("02:00:00:00:00:03"), eid("10.0.0.1"), eid("10.0.0.3")};
    feed_port_of("p1", two, 3, &l, 1);
    feed_port_of("p2", shared, 3, &l, 1);
    cr_assert(find("02:00:00:00:00:01"));
    cr_assert(eq(int, found.ip.kind, EM_EID_IPV4));
    cr_assert(find("02:00:00:00:00:02"));
    cr_assert(eq(int, found.ip.kind, EM_EID_NONE));
    cr_assert(find("port:p2"));
    cr_assert(eq(int, found.ip.addr[3], 3));
    cr_assert(find("10.0.0.1"));
    cr_assert(eq(int, found.mac.addr[5], 1));
}

Test(found, each_location_has_its_reason)
{
    struct em_location l[] = {
        {.node_id = "h1", .segmentation_id = 100}, {.node_id = "h2", .segmentation_id = 100},
        {.node_id = "h3", .segmentation_id = 100}, {.node_id = "h4", .segmentation_id = 100},
        {.node_id = "h5", .segmentation_id = 100}, {.node_id = "h0", .segmentation_id = 100}};
    feed_port(l, 6);
    cr_assert(find("10.0.0.1"));
    cr_assert(eq(sz, found.n_places, 6));
    const struct xtr_found_place *p = found.places;
    cr_assert(p[0].why == XTR_WHY_CHOSEN && p[0].is_reachable && p[0].rloc.size == 4);
    cr_assert(p[1].why == XTR_WHY_UNUSABLE && p[1].is_disabled);
    cr_assert(p[2].why == XTR_WHY_UNUSABLE && p[2].is_stranded);
    cr_assert(p[3].why == XTR_WHY_UNREACHABLE && !p[3].is_reachable);
    cr_assert(p[4].why == XTR_WHY_UNUSABLE && !p[4].is_known);
    cr_assert(p[5].why == XTR_WHY_UNUSABLE && p[5].is_self);
    cr_assert(eq(str, (char *)p[0].location.node_id, "h1"));
}

Test(found, any_local_has_no_target_and_is_known_as_such)
{
    struct em_location l = {.node_id = "", .segmentation_id = 100};
    feed_port(&l, 1);
    cr_assert(find("10.0.0.1"));
    cr_assert(found.is_any_local);
    cr_assert(eq(sz, found.n_targets, 0));
}

Test(found, a_local_port_hides_the_maps)
{
    struct em_location l = {.node_id = "", .segmentation_id = 100};
    struct em_eid eids[] = {eid("02:00:00:00:00:01"), eid("10.0.0.1")};
    struct em_port_id id;
    feed_port(&l, 1);
    cr_assert(eq(int, em_port_id_parse("p1", &id, NULL), 0));
    xtr_mapcache_attach(cache, &id, 1, "tap0", eids, 2);
    static const char *const ways[] = {"02:00:00:00:00:01", "10.0.0.1", "port:p1"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(find(ways[i]));
        cr_assert(found.is_local);
        cr_assert(eq(str, found.device, "tap0"));
        cr_assert(eq(sz, found.n_targets, 0));
    }
}
