#include "ports.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct xtr_ports ports;
static struct xtr_facts facts;
static struct em_eid eids[4];
static char why[EM_ADDR_WHY];

static void setup(void)
{
    xtr_ports_init(&ports);
    facts =
        (struct xtr_facts){.is_up = true, .knows_map = true, .is_complete = true, .now_us = 1000};
}

static void teardown(void)
{
    xtr_ports_fini(&ports);
}

static struct xtr_wish wish(const char *id, const char *network, const char *device, uint8_t mac)
{
    static struct em_eid room[16][2];
    static unsigned next;
    struct em_eid *e = room[next++ % 16];
    e[0] = (struct em_eid){.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, mac}};
    e[1] = (struct em_eid){.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, mac}};
    struct xtr_wish w = {
        .network = network, .device = device, .eids = e, .n_eids = 2, .source = XTR_SOURCE_SOCKET};
    em_port_id_parse(id, &w.id, NULL);
    return w;
}

static struct xtr_port *attach(const char *id, const char *network, const char *device, uint8_t mac)
{
    struct xtr_wish w = wish(id, network, device, mac);
    bool is_changed;
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), 0), "%s", why);
    return xtr_ports_attach(&ports, &w, 500, &is_changed);
}

static void save(void)
{
    xtr_ports_saving(&ports);
    xtr_ports_saved(&ports);
}

/* A port that has come all the way. */
static struct xtr_port *installed(void)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    xtr_port_network(port, 7, 100);
    xtr_port_plugged(port, 0);
    xtr_port_update(port, &facts);
    xtr_port_acked(port, 42);
    save();
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    return port;
}

TestSuite(ports, .init = setup, .fini = teardown);

static struct xtr_port *attach_child(const char *network, uint16_t vlan)
{
    struct xtr_wish w = wish("c1", network, "tap0", 9);
    bool is_changed;
    w.source = XTR_SOURCE_TRUNK;
    w.vlan = vlan;
    em_port_id_parse("p1", &w.parent, NULL);
    struct xtr_port *child = xtr_ports_attach(&ports, &w, 500, &is_changed);
    xtr_port_network(child, 8, 200);
    xtr_port_plugged(child, 0);
    save();
    return child;
}

static void show_child(struct xtr_port *child, const char *node, bool is_pending, uint32_t vni)
{
    struct em_location l = {
        .node_id = node, .is_pending = is_pending, .segmentation_id = vni, .epoch = 50};
    struct em_port seen = {.locations = &l, .n_locations = 1};
    xtr_port_child_seen(child, &seen, "h0");
    xtr_port_update(child, &facts);
}

Test(ports, a_child_is_here_when_the_map_says_so)
{
    attach("p1", "blue", "tap0", 1);
    struct xtr_port *child = attach_child("red", 101);
    cr_assert(not(child->is_attach));
    cr_assert(not(child->is_due));
    xtr_port_update(child, &facts);
    cr_assert(eq(int, child->phase, XTR_REGISTERING));
    show_child(child, "h1", false, 200);
    cr_assert(eq(int, child->phase, XTR_REGISTERING), "its parent has still to arrive");
    show_child(child, "h0", true, 200);
    cr_assert(eq(int, child->phase, XTR_REGISTERING));
    show_child(child, "h0", false, 200);
    save();
    xtr_port_update(child, &facts);
    cr_assert(eq(int, child->phase, XTR_INSTALLED));
    cr_assert(eq(u64, child->epoch, 50));
    cr_assert(eq(str, child->problem, ""));
    facts.is_up = false;
    xtr_port_update(child, &facts);
    cr_assert(eq(int, child->phase, XTR_INSTALLED), "as any other");
    show_child(child, "h0", false, 999);
    cr_assert(ne(ptr, strstr(child->problem, "others send to it on VNI 999"), NULL));
    show_child(child, "", false, 200);
    cr_assert(eq(str, child->problem, ""), "any-local is here, too");
}

Test(ports, a_child_on_a_plane_without_tags_says_so)
{
    struct xtr_port *child = attach_child("red", 101);
    xtr_port_plugged(child, -EOPNOTSUPP);
    xtr_port_update(child, &facts);
    cr_assert(eq(int, child->phase, XTR_WAITING));
    cr_assert(ne(ptr, strstr(child->problem, "no tagged ports"), NULL));
}

Test(ports, nobody_else_may_attach_a_child_or_is_hindered_by_its_tag)
{
    attach("p1", "blue", "tap0", 1);
    attach_child("red", 101);
    struct xtr_wish w = wish("c1", "red", "tap1", 9);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EBUSY));
    cr_assert(ne(ptr, strstr(why, "child of port p1"), NULL));
    w = wish("p2", "blue", "tap0", 2);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), 0), "untagged on the parent's device");
    w = wish("p2", "red", "tap0", 2);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EBUSY), "the parent's network only");
}

Test(ports, a_wish_may_point_to_what_is_there)
{
    struct xtr_port *child = attach_child("red", 101);
    bool is_changed;
    struct xtr_wish w = {.id = child->id,
                         .network = child->network,
                         .device = child->device,
                         .eids = child->eids,
                         .n_eids = child->n_eids,
                         .parent = child->parent,
                         .vlan = 102,
                         .source = XTR_SOURCE_TRUNK};
    xtr_ports_attach(&ports, &w, 500, &is_changed);
    cr_assert(is_changed && child->vlan == 102 && child->eids[0].addr[5] == 9);
    cr_assert(eq(str, child->device, "tap0"));
    cr_assert(eq(str, child->network, "red"));
}

Test(ports, a_port_waits_for_a_map_server_then_for_its_network)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    facts.knows_map = facts.is_up = false;
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_WAITING));
    cr_assert(eq(str, port->problem, "no map server reachable"));
    facts.knows_map = facts.is_up = true;
    cr_assert(xtr_port_update(port, &facts));
    cr_assert(eq(str, port->problem, "the map has no network blue"));
    xtr_port_network(port, 7, 100);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
    cr_assert(eq(str, port->problem, ""));
}

Test(ports, installed_needs_the_map_the_feed_and_the_data_plane)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    xtr_port_network(port, 7, 100);
    xtr_port_plugged(port, 0);
    facts.is_complete = false;
    facts.tail = 10;
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
    xtr_port_acked(port, 42);
    save();
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
    facts.is_complete = true;
    facts.done = 9;
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
    facts.done = 10;
    facts.tail = 99;
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLED), "what is queued later does not count");
    cr_assert(eq(u64, port->attach_us, 500));
}

Test(ports, what_is_plugged_anew_is_installed_when_the_data_plane_has_seen_that)
{
    struct xtr_port *port = installed();
    facts.tail = facts.done + 1;
    xtr_port_replugged(port);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
    facts.done = facts.tail;
    cr_assert(xtr_port_update(port, &facts), "and that is said again");
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    cr_assert(port->is_acked, "the map is not asked again");
}

Test(ports, installed_follows_the_write_that_has_the_epoch)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    xtr_port_network(port, 7, 100);
    xtr_port_plugged(port, 0);
    xtr_port_update(port, &facts);
    xtr_ports_saving(&ports);
    xtr_port_acked(port, 42);
    xtr_ports_saved(&ports);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING), "the file has it without its epoch");
    xtr_ports_saving(&ports);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
    xtr_ports_saved(&ports);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    xtr_port_acked(port, 42);
    cr_assert(not(xtr_port_update(port, &facts)), "another session told the map the same");
}

Test(ports, a_port_that_cannot_be_saved_is_installed_with_a_problem)
{
    struct xtr_port *port = installed();
    facts.save_err = -ENOSPC;
    cr_assert(xtr_port_update(port, &facts));
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    cr_assert(strstr(port->problem, "cannot be saved") != NULL, "%s", port->problem);
    facts.save_err = 0;
    cr_assert(xtr_port_update(port, &facts));
    cr_assert(eq(str, port->problem, ""));
}

Test(ports, what_is_installed_stays_so_without_a_server)
{
    struct xtr_port *port = installed();
    facts.is_up = false;
    cr_assert(not(xtr_port_update(port, &facts)));
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
}

Test(ports, a_missing_device_is_waited_for)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    xtr_port_network(port, 7, 100);
    xtr_port_plugged(port, -ENODEV);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_WAITING));
    cr_assert(eq(str, port->problem, "device tap0 does not exist"));
    xtr_port_plugged(port, 0);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
}

Test(ports, a_local_entry_that_fails_takes_installed_back)
{
    struct xtr_port *port = installed();
    xtr_port_failed(port, -EEXIST);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_WAITING));
    facts.tail = facts.done + 3;
    xtr_port_plugged(port, 0);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLING));
}

Test(ports, a_port_that_the_map_shows_elsewhere_with_a_newer_epoch_has_moved)
{
    struct xtr_port *port = installed();
    struct em_location l = {.node_id = "h2", .epoch = 41};
    struct em_port seen = {.id = port->id, .locations = &l, .n_locations = 1};
    cr_assert(not(xtr_port_seen(port, &seen, "h1")), "older than what we hold");
    l.epoch = 43;
    cr_assert(xtr_port_seen(port, &seen, "h1"));
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REFUSED));
    cr_assert(eq(str, port->problem, "moved to h2"));
    cr_assert(not(port->is_due));
}

Test(ports, a_location_beside_ours_is_no_move)
{
    struct xtr_port *port = installed();
    struct em_location l[] = {{.node_id = "h2", .epoch = 50}, {.node_id = "h1", .epoch = 42}};
    struct em_port seen = {.id = port->id, .locations = l, .n_locations = 2};
    cr_assert(not(xtr_port_seen(port, &seen, "h1")));
}

Test(ports, an_any_local_location_is_ours)
{
    struct xtr_port *port = installed();
    struct em_location l = {.node_id = "", .epoch = 50};
    struct em_port seen = {.id = port->id, .locations = &l, .n_locations = 1};
    cr_assert(not(xtr_port_seen(port, &seen, "h1")));
}

Test(ports, a_claim_under_way_is_not_judged_by_the_feed)
{
    struct xtr_port *port = attach("p1", "blue", "tap0", 1);
    struct em_location l = {.node_id = "h2", .epoch = 50};
    struct em_port seen = {.id = port->id, .locations = &l, .n_locations = 1};
    cr_assert(not(xtr_port_seen(port, &seen, "h1")));
}

Test(ports, attaching_a_refused_port_again_is_fresh_evidence)
{
    struct xtr_port *port = installed();
    xtr_port_refuse(port, "moved to h2");
    xtr_port_update(port, &facts);
    struct xtr_wish w = wish("p1", "blue", "tap0", 1);
    bool is_changed;
    xtr_ports_attach(&ports, &w, 600, &is_changed);
    cr_assert(is_changed);
    cr_assert(port->is_attach && port->is_due && !port->is_refused);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
}

Test(ports, the_same_attach_twice_changes_nothing)
{
    struct xtr_port *port = installed();
    uint32_t version = port->version;
    struct xtr_wish w = wish("p1", "blue", "tap0", 1);
    bool is_changed = true;
    cr_assert(xtr_ports_attach(&ports, &w, 600, &is_changed) == port);
    cr_assert(not(is_changed));
    cr_assert(eq(u32, port->version, version));
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
}

Test(ports, an_attach_with_another_address_registers_again)
{
    struct xtr_port *port = installed();
    cr_assert(attach("p1", "blue", "tap0", 9) == port);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
    cr_assert(eq(sz, ports.n_used, 1));
}

Test(ports, what_cannot_be_is_refused_with_a_sentence)
{
    attach("p1", "blue", "tap0", 1);
    struct xtr_wish w = wish("p2", "red", "tap0", 2);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EBUSY));
    cr_assert(eq(str, why, "device tap0 belongs to port p1 in another network"));
    w = wish("p2", "blue", "tap1", 1);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EBUSY));
    cr_assert(strstr(why, "belongs to port p1 of this host") != NULL, "%s", why);
    w = wish("p2", "blue", "a-name-that-is-too-long", 2);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EINVAL));
    w = wish("p2", "blue", "tap1", 2);
    w.n_eids = 0;
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EINVAL));
    cr_assert(strstr(why, "at least one MAC") != NULL, "%s", why);
    eids[0] = (struct em_eid){.kind = EM_EID_MAC, .size = 6, .addr = {1}};
    w.eids = eids;
    w.n_eids = 1;
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EINVAL), "a multicast MAC");
    w = wish("p2", "bl ue", "tap1", 2);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EINVAL));
}

Test(ports, overlapping_addresses_in_two_networks_are_fine)
{
    attach("p1", "blue", "tap0", 1);
    struct xtr_wish w = wish("p2", "red", "tap1", 1);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), 0), "%s", why);
}

Test(ports, a_network_of_another_segment_is_registered_again)
{
    struct xtr_port *port = installed();
    cr_assert(not(port->is_due));
    xtr_port_network(port, 7, 101);
    cr_assert(port->is_due);
}

Test(ports, many_ports_come_and_go)
{
    char id[16];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            snprintf(id, sizeof id, "p%d", i);
            attach(id, i % 2 ? "blue" : "red", i % 2 ? "tapb" : "tapr", (uint8_t)i);
        }
        cr_assert(eq(sz, ports.n_used, 100));
        for (uint32_t i = 0; i < ports.n_items; i++)
            if (xtr_ports_at(&ports, i))
                xtr_ports_remove(&ports, xtr_ports_at(&ports, i));
        cr_assert(eq(sz, ports.n_used, 0));
    }
    cr_assert(le(u32, ports.n_items, 128));
}

Test(ports, a_device_name_is_one_that_a_kernel_takes_and_a_log_can_show)
{
    static const char *const bad[] = {"",    ".",     "..",      "a/b",   "a:b",
                                      "a b", "tap\n", "\x1b[2J", "a\x7f", "sixteen-letters."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct xtr_wish w = wish("p1", "blue", bad[i], 1);
        cr_assert(eq(int, xtr_ports_check(&ports, &w, why), -EINVAL), "\"%s\"", bad[i]);
        cr_assert(strstr(why, "printable") != NULL);
    }
    struct xtr_wish w = wish("p1", "blue", "fifteen-letters", 1);
    cr_assert(eq(int, xtr_ports_check(&ports, &w, why), 0));
}

Test(ports, a_refused_port_may_come_all_the_way_between_two_looks)
{
    struct xtr_port *port = installed();
    xtr_port_refuse(port, "moved to h2");
    xtr_port_update(port, &facts);
    attach("p1", "blue", "tap0", 1);
    xtr_port_plugged(port, 0);
    xtr_port_acked(port, 50);
    save();
    cr_assert(xtr_port_update(port, &facts));
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
}

/* A pending port whose device is in place. */
static struct xtr_port *pending(void)
{
    struct xtr_wish w = wish("p1", "blue", "tap0", 1);
    bool is_changed;
    w.is_pending = true;
    struct xtr_port *port = xtr_ports_attach(&ports, &w, 500, &is_changed);
    xtr_port_network(port, 7, 100);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_WAITING), "for its device");
    xtr_port_plugged(port, 0);
    save();
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_PENDING));
    return port;
}

Test(ports, a_pending_port_that_is_attached_again_waits_for_its_device_anew)
{
    struct xtr_port *port = pending();
    xtr_port_replugged(port);
    cr_assert(eq(int, port->phase, XTR_WAITING), "at once: who attaches is answered by it");
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_WAITING));
    xtr_port_plugged(port, 0);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_PENDING));
}

Test(ports, a_pending_port_is_registered_when_its_guest_arrives)
{
    struct xtr_port *port = pending();
    uint32_t version = port->version;
    xtr_port_arrive(port, 900);
    cr_assert(port->is_attach);
    cr_assert(port->is_due);
    cr_assert(ne(u32, port->version, version), "the map-cache takes it anew");
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
    xtr_port_acked(port, 42);
    save();
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    cr_assert(eq(u64, port->attach_us, 100), "from the arrival on");
}

Test(ports, a_pending_port_arrives_when_the_map_says_so)
{
    struct xtr_port *port = pending();
    struct em_location l[] = {{.node_id = "h1", .epoch = 5}, {.node_id = "h0", .epoch = 9}};
    struct em_port seen = {.locations = l, .n_locations = 2};
    l[1].is_pending = true;
    cr_assert(not(xtr_port_activated(port, &seen, "h0", 900)));
    cr_assert(not(xtr_port_seen(port, &seen, "h0")), "nor is it refused for being elsewhere");
    l[1].is_pending = false;
    seen.locations = &l[1];
    seen.n_locations = 1;
    cr_assert(xtr_port_activated(port, &seen, "h0", 900));
    cr_assert(not(port->is_pending));
    cr_assert(not(port->is_attach), "no evidence of ours");
    cr_assert(not(xtr_port_activated(port, &seen, "h0", 901)), "once");
}

Test(ports, an_attach_without_pending_ends_the_waiting_but_not_the_other_way_round)
{
    struct xtr_port *port = pending();
    struct xtr_wish w = wish("p1", "blue", "tap0", 1);
    bool is_changed;
    w.is_pending = true;
    xtr_ports_attach(&ports, &w, 600, &is_changed);
    cr_assert(not(is_changed));
    w.is_pending = false;
    xtr_ports_attach(&ports, &w, 600, &is_changed);
    cr_assert(is_changed);
    cr_assert(not(port->is_pending));
    w.is_pending = true;
    xtr_ports_attach(&ports, &w, 700, &is_changed);
    cr_assert(not(is_changed), "it has arrived");
    cr_assert(not(port->is_pending));
}

Test(ports, a_port_that_has_moved_may_come_back_pending)
{
    struct xtr_port *port = installed();
    xtr_port_refuse(port, "moved to h2");
    xtr_port_update(port, &facts);
    cr_assert(eq(ptr, pending(), port));
}

Test(ports, a_target_that_is_pending_has_not_taken_the_port)
{
    struct xtr_port *port = installed();
    struct em_location l = {.node_id = "h2", .epoch = 99, .is_pending = true};
    struct em_port seen = {.locations = &l, .n_locations = 1};
    cr_assert(not(xtr_port_seen(port, &seen, "h0")));
    l.is_pending = false;
    cr_assert(xtr_port_seen(port, &seen, "h0"));
}

Test(ports, a_port_whose_network_the_map_does_not_show_waits_but_what_is_installed_stays)
{
    struct xtr_port *port = attach("p9", "blue", "tap9", 9);
    facts.is_up = facts.knows_map = true;
    xtr_port_network(port, 7, 700);
    port->is_kept = true;
    cr_assert(xtr_port_update(port, &facts));
    cr_assert(eq(int, port->phase, XTR_WAITING));
    cr_assert(eq(str, port->problem, "the map does not show network blue any more"));
    port = installed();
    port->is_kept = true;
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
}

/* A turn that looks at all who are awake; how many those were. */
static uint32_t look(void)
{
    uint32_t n = 0;
    XTR_FOREACH_AWAKE (port, &ports) {
        n++;
        port->is_looked_at = true;
        xtr_port_update(port, &facts);
    }
    xtr_ports_rest(&ports);
    return n;
}

Test(ports, what_is_installed_sleeps_until_something_happens_to_it)
{
    struct xtr_port *port = installed(), *other = attach("p2", "blue", "tap1", 2);
    (void)look();
    cr_assert(eq(uint, look(), 1), "the other waits to be registered");
    xtr_ports_remove(&ports, other);
    cr_assert(eq(uint, look(), 0));
    xtr_port_plugged(port, -ENODEV);
    cr_assert(eq(uint, look(), 1));
    cr_assert(eq(int, port->phase, XTR_WAITING));
    cr_assert(eq(uint, look(), 0));
    xtr_port_refuse(port, "moved");
    cr_assert(eq(uint, look(), 1));
    cr_assert(eq(uint, look(), 0));
    xtr_ports_wake(&ports);
    cr_assert(eq(uint, look(), 1), "a fact of all");
}

Test(ports, what_is_being_installed_stays_awake)
{
    struct xtr_port *port = installed();
    (void)look();
    facts.tail = 9;
    xtr_port_replugged(port);
    for (int i = 0; i < 3; i++)
        cr_assert(eq(uint, look(), 1), "the data plane has not got there");
    facts.done = 9;
    (void)look();
    cr_assert(eq(int, port->phase, XTR_INSTALLED));
    cr_assert(eq(uint, look(), 0));
}

Test(ports, one_that_something_happens_to_in_a_turn_is_looked_at_in_the_next)
{
    struct xtr_port *port = installed();
    (void)look();
    xtr_ports_wake(&ports);
    port->is_looked_at = true;
    xtr_port_plugged(port, -ENODEV); /* behind the look */
    xtr_ports_rest(&ports);
    cr_assert(eq(uint, look(), 1));
    cr_assert(eq(int, port->phase, XTR_WAITING));
}

Test(ports, holders_and_devices_are_found_whatever_came_and_went)
{
    static char names[64][8], devices[4][8];
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 64; i++) {
            snprintf(names[i], sizeof names[i], "q%u", i);
            snprintf(devices[i % 4], sizeof devices[0], "dev%u", (i + round) % 4);
            if (round && i % 3 == 0) {
                struct xtr_wish w = wish(names[i], "blue", "dev0", (uint8_t)i);
                xtr_ports_remove(&ports, xtr_ports_find(&ports, &w.id));
            }
            attach(names[i], "blue", devices[i % 4], (uint8_t)(i + round % 2 * 100));
        }
    unsigned n_on = 0;
    for (unsigned i = 0; i < 4; i++)
        for (struct xtr_port *port = xtr_ports_on(&ports, devices[i]); port;
             port = xtr_ports_next_on(&ports, port), n_on++)
            cr_assert(eq(str, port->device, devices[i]));
    cr_assert(eq(uint, n_on, 64));
    for (unsigned i = 0; i < 64; i++) {
        struct xtr_wish w = wish(names[i], "blue", "dev0", (uint8_t)i);
        struct xtr_port *port = xtr_ports_find(&ports, &w.id);
        cr_assert(eq(ptr, xtr_ports_holder(&ports, "blue", &w.eids[0], NULL), port));
        cr_assert(eq(ptr, xtr_ports_holder(&ports, "blue", &w.eids[1], port), NULL));
        cr_assert(eq(ptr, xtr_ports_holder(&ports, "red", &w.eids[0], NULL), NULL));
        w = wish(names[i], "blue", "dev0", (uint8_t)(i + 100));
        cr_assert(eq(ptr, xtr_ports_holder(&ports, "blue", &w.eids[0], NULL), NULL), "an old one");
    }
}
