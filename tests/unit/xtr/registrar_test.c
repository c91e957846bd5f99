#include "registrar.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct xtr_ports ports;
static struct xtr_registrar registrar;
static struct em_claim claims[XTR_BATCH];
static struct em_location locations[XTR_BATCH];
static const struct em_port_ref *refs;
static size_t n;
static uint64_t epochs[XTR_BATCH];

static void setup(void)
{
    xtr_ports_init(&ports);
    xtr_registrar_init(&registrar);
    for (size_t i = 0; i < XTR_BATCH; i++)
        epochs[i] = 100 + i;
}

static void teardown(void)
{
    xtr_registrar_fini(&registrar);
    xtr_ports_fini(&ports);
}

static struct xtr_port *add(int i)
{
    struct em_eid mac = {
        .kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
    char id[16];
    snprintf(id, sizeof id, "p%d", i);
    struct xtr_wish wish = {.network = "blue", .device = "tap0", .eids = &mac, .n_eids = 1};
    em_port_id_parse(id, &wish.id, NULL);
    bool is_changed;
    struct xtr_port *port = xtr_ports_attach(&ports, &wish, 0, &is_changed);
    xtr_port_network(port, 7, 100);
    xtr_port_plugged(port, 0);
    return port;
}

static enum xtr_step next_at(uint64_t now_ms, bool knows_map)
{
    return xtr_registrar_next(&registrar, &ports, knows_map, now_ms, claims, locations, &refs, &n);
}

static enum xtr_step next(void)
{
    return next_at(1, true);
}

static void reply(int err, uint32_t record)
{
    struct em_reply r = {.err = err,
                         .message = "a sentence",
                         .record = record,
                         .epochs = epochs,
                         .n_epochs = err ? 0 : n};
    xtr_registrar_registered(&registrar, &ports, &r, 1);
}

static void announce(void)
{
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    while (next() == XTR_STEP_REGISTER)
        reply(0, 0);
    cr_assert(registrar.is_busy, "the end is under way");
    xtr_registrar_ended(&registrar, 0, 1);
}

TestSuite(registrar, .init = setup, .fini = teardown);

Test(registrar, nothing_is_sent_without_a_session)
{
    add(1);
    cr_assert(eq(int, next(), XTR_STEP_NONE));
}

Test(registrar, a_session_announces_all_between_begin_and_end)
{
    struct xtr_port *port = add(1);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(sz, n, 1));
    cr_assert(claims[0].is_attach);
    cr_assert(eq(u32, claims[0].port.network_id, 7));
    cr_assert(eq(u32, locations[0].segmentation_id, 100));
    cr_assert(eq(int, next(), XTR_STEP_NONE), "one request at a time");
    reply(0, 0);
    cr_assert(port->is_acked);
    cr_assert(eq(u64, port->epoch, 100));
    cr_assert(eq(int, next(), XTR_STEP_END));
    xtr_registrar_ended(&registrar, 0, 1);
    cr_assert(eq(int, next(), XTR_STEP_NONE));
}

Test(registrar, a_later_session_presents_the_epoch_and_is_no_attach)
{
    add(1);
    announce();
    xtr_registrar_down(&registrar);
    xtr_registrar_up(&registrar, &ports);
    next();
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(not(claims[0].is_attach));
    cr_assert(eq(u64, claims[0].epoch, 100));
}

Test(registrar, an_attach_that_was_never_acknowledged_stays_one)
{
    add(1);
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    xtr_registrar_down(&registrar);
    xtr_registrar_up(&registrar, &ports);
    next();
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(claims[0].is_attach);
}

Test(registrar, the_announce_does_not_end_while_a_port_is_undecided)
{
    struct xtr_port *port = add(1);
    xtr_port_network(port, 0, 0);
    xtr_registrar_up(&registrar, &ports);
    next();
    cr_assert(eq(int, next_at(1, false), XTR_STEP_NONE), "its network may still turn up");
    xtr_port_network(port, 7, 100);
    xtr_port_unplugged(port);
    cr_assert(eq(int, next(), XTR_STEP_NONE), "its device has not been tried");
    xtr_port_plugged(port, -ENODEV);
    cr_assert(eq(int, next(), XTR_STEP_END), "without its device it is not here");
}

/* What the map would withdraw meanwhile is cut off, though its flows stand. */
Test(registrar, the_announce_waits_a_while_for_a_data_plane_that_has_not_answered)
{
    struct xtr_port *port = add(1);
    xtr_registrar_up(&registrar, &ports);
    next();
    xtr_port_plugged(port, -ENOBUFS);
    cr_assert(eq(int, next_at(5000, true), XTR_STEP_NONE));
    cr_assert(eq(int, next_at(15000, true), XTR_STEP_END));
}

Test(registrar, the_others_are_tried_again_without_the_one_that_is_refused)
{
    struct xtr_port *a = add(1), *b = add(2), *c = add(3);
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    cr_assert(eq(sz, n, 3));
    reply(EM_E_CONFLICT, 1);
    cr_assert(b->is_refused);
    cr_assert(eq(str, b->problem, "a sentence"));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(sz, n, 2));
    reply(0, 0);
    cr_assert(a->is_acked && c->is_acked && !b->is_acked);
}

Test(registrar, moved_names_the_node)
{
    struct xtr_port *port = add(1);
    struct em_location l = {.node_id = "h9"};
    struct em_port current = {.locations = &l, .n_locations = 1};
    struct em_reply r = {.err = EM_E_MOVED, .message = "x", .current = &current};
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    xtr_registrar_registered(&registrar, &ports, &r, 1);
    cr_assert(eq(str, port->problem, "moved to h9"));
    cr_assert(eq(int, next(), XTR_STEP_END));
}

Test(registrar, a_busy_server_is_asked_again_after_a_second)
{
    add(1);
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    reply(EM_E_BUSY, 0);
    cr_assert(eq(int, next_at(1000, true), XTR_STEP_NONE));
    cr_assert(eq(int, next_at(1001, true), XTR_STEP_REGISTER));
}

Test(registrar, a_port_changed_under_way_is_registered_again)
{
    struct xtr_port *port = add(1);
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    port->version++;
    port->is_due = true;
    reply(0, 0);
    cr_assert(not(port->is_acked));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
}

Test(registrar, a_port_detached_under_way_is_survived)
{
    struct xtr_port *port = add(1);
    xtr_registrar_up(&registrar, &ports);
    next();
    next();
    struct em_port_id id = port->id;
    xtr_ports_remove(&ports, port);
    xtr_registrar_withdraw(&registrar, &id, 0);
    reply(0, 0);
    cr_assert(eq(int, next(), XTR_STEP_WITHDRAW));
    cr_assert(eq(sz, n, 1));
    xtr_registrar_withdrawn(&registrar, 0, 1);
    cr_assert(eq(int, next(), XTR_STEP_END));
}

Test(registrar, a_withdrawal_goes_before_a_new_attach)
{
    struct xtr_port *port = add(1);
    struct em_port_id id = port->id;
    cr_assert(not(xtr_registrar_is_withdrawn(&registrar, &id)), "nobody has heard of it");
    announce();
    cr_assert(xtr_registrar_is_withdrawn(&registrar, &id), "nothing waits");
    xtr_registrar_withdraw(&registrar, &port->id, port->epoch);
    xtr_ports_remove(&ports, port);
    add(1);
    cr_assert(eq(int, next(), XTR_STEP_WITHDRAW));
    cr_assert(eq(u64, refs[0].epoch, 100));
    cr_assert(not(xtr_registrar_is_withdrawn(&registrar, &id)));
    xtr_registrar_withdrawn(&registrar, EM_E_TIMEOUT, 1);
    cr_assert(eq(int, next_at(2000, true), XTR_STEP_WITHDRAW), "a lost answer: again");
    cr_assert(not(xtr_registrar_is_withdrawn(&registrar, &id)));
    xtr_registrar_withdrawn(&registrar, 0, 1);
    cr_assert(xtr_registrar_is_withdrawn(&registrar, &id));
    cr_assert(eq(int, next_at(4000, true), XTR_STEP_REGISTER));
}

Test(registrar, many_ports_go_in_batches)
{
    for (int i = 0; i < 1100; i++)
        add(i);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    size_t sizes[] = {512, 512, 76};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(eq(int, next(), XTR_STEP_REGISTER));
        cr_assert(eq(sz, n, sizes[i]));
        reply(0, 0);
    }
    cr_assert(eq(int, next(), XTR_STEP_END));
}

Test(registrar, detaching_offline_leaves_it_to_the_next_announce)
{
    struct xtr_port *port = add(1);
    announce();
    xtr_registrar_down(&registrar);
    xtr_registrar_withdraw(&registrar, &port->id, port->epoch);
    xtr_ports_remove(&ports, port);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_END));
}

Test(registrar, what_was_denied_is_asked_again_with_the_next_session_and_is_no_attach_then)
{
    struct xtr_port *port = add(1);
    announce();
    xtr_port_acked(port, 42);
    struct xtr_port *late = add(2);
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    reply(EM_E_DENIED, 0);
    cr_assert(late->is_refused);
    cr_assert(eq(int, next(), XTR_STEP_NONE), "not in this session");
    xtr_registrar_down(&registrar);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(not(late->is_refused));
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(sz, n, 2));
    cr_assert(not(claims[1].is_attach), "hours may have passed");
    reply(EM_E_CONFLICT, 1);
    xtr_registrar_down(&registrar);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(late->is_refused, "a conflict waits for somebody to attach");
}

Test(registrar, a_network_that_changes_under_a_claim_is_told_again)
{
    announce();
    struct xtr_port *port = add(1);
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    xtr_port_network(port, 7, 200);
    reply(0, 0);
    cr_assert(not(port->is_acked));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(u32, locations[0].segmentation_id, 200));
    reply(0, 0);
    cr_assert(port->is_acked);
    cr_assert(eq(int, next(), XTR_STEP_NONE));
}

Test(registrar, nothing_is_registered_under_the_numbers_of_an_older_map)
{
    add(1);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next_at(1, false), XTR_STEP_BEGIN));
    cr_assert(eq(int, next_at(1, false), XTR_STEP_NONE));
    cr_assert(eq(int, next_at(1, true), XTR_STEP_REGISTER));
}

Test(registrar, a_pending_port_is_told_when_it_has_arrived)
{
    struct xtr_port *port = add(1);
    port->is_pending = true;
    port->is_plugged = false;
    announce(); /* which does not wait for it */
    cr_assert(eq(int, next(), XTR_STEP_NONE));
    xtr_port_plugged(port, 0);
    cr_assert(eq(int, next(), XTR_STEP_NONE));
    xtr_port_arrive(port, 5);
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(claims[0].is_attach);
}

Test(registrar, one_that_nobody_sends_to_need_not_be_plugged)
{
    struct xtr_port *late = add(1), *early = add(2);
    late->is_plugged = early->is_plugged = false;
    early->is_early = true;
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(sz, n, 1));
    cr_assert(eq(int, early->is_due, 0));
    cr_assert(eq(int, late->is_due, 1));
    reply(0, 0);
    cr_assert(eq(int, next(), XTR_STEP_NONE), "the other one is undecided");
}

Test(registrar, one_that_cannot_be_plugged_is_not_registered_early)
{
    struct xtr_port *port = add(1);
    port->is_plugged = false;
    port->is_early = true;
    xtr_port_failed(port, -ENODEV);
    announce();
    cr_assert(eq(int, next(), XTR_STEP_NONE));
    cr_assert(eq(int, port->is_acked, 0));
}

Test(registrar, a_child_is_no_ones_to_register)
{
    struct em_port_id parent;
    bool is_changed;
    em_port_id_parse("p1", &parent, NULL);
    struct xtr_wish wish = {.network = "red",
                            .device = "tap0",
                            .source = XTR_SOURCE_TRUNK,
                            .parent = parent,
                            .vlan = 101};
    em_port_id_parse("c1", &wish.id, NULL);
    add(1);
    struct xtr_port *child = xtr_ports_attach(&ports, &wish, 0, &is_changed);
    xtr_port_network(child, 8, 200);
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_REGISTER));
    cr_assert(eq(sz, n, 1), "the parent alone");
    reply(0, 0);
    cr_assert(eq(int, next(), XTR_STEP_END), "it is not waited for");
    xtr_registrar_ended(&registrar, 0, 1);
    xtr_port_plugged(child, 0);
    cr_assert(eq(int, next(), XTR_STEP_NONE));
}

Test(registrar, a_port_whose_network_the_map_does_not_show_is_left_out_of_the_announce)
{
    struct xtr_port *kept = add(1);
    kept->is_kept = true;
    xtr_registrar_up(&registrar, &ports);
    cr_assert(eq(int, next(), XTR_STEP_BEGIN));
    cr_assert(eq(int, next(), XTR_STEP_END));
    xtr_registrar_ended(&registrar, 0, 1);
    kept->is_kept = false;
    cr_assert(eq(int, next(), XTR_STEP_REGISTER), "it is shown again");
}
